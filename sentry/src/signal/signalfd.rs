//! Signals as a file (signalfd(2)).
//!
//! What is read are the reader's signals, whoever made the descriptor: a child that inherited it reads its own. So the
//! file keeps only a mask, and looks at the task of the calling thread. Waiters register with the file; the file is told
//! of signals by each process that has looked at it.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::poll::PollEvents;
use abi::signal::{SI_KERNEL, SI_TIMER, SI_USER, SigInfo, SigSet, Signal, SignalfdSiginfo};
use sync::Mutex;
use zerocopy::IntoBytes;

use crate::task::{Task, ThreadGroup, current_task};
use crate::vfs::File;
use crate::vfs::file::{Blocking, FileOps};
use crate::vfs::io::IoSink;
use crate::wait::{WaitKey, WaitQueue, Wake};

/// Bytes of one record.
const RECORD: usize = size_of::<SignalfdSiginfo>();

/// A set of signals to read.
pub struct SignalFd {
    mask: AtomicU64,
    waiters: Arc<Waiters>,
    /// Processes whose signals are passed on to the waiters.
    processes: Mutex<Vec<(Weak<ThreadGroup>, WaitKey)>, sync::levels::FileStateInner>,
}

#[derive(Default)]
struct Waiters(WaitQueue);

impl Wake for Waiters {
    fn wake(&self, events: PollEvents) -> bool {
        self.0.notify(events);
        true
    }
}

impl SignalFd {
    /// For the signals in `mask`; SIGKILL and SIGSTOP never come.
    pub fn new(mask: SigSet) -> SignalFd {
        let signalfd =
            SignalFd { mask: AtomicU64::new(0), waiters: Arc::default(), processes: Mutex::default() };
        signalfd.set_mask(mask);
        signalfd
    }

    /// Changes the signals.
    pub fn set_mask(&self, mask: SigSet) {
        self.mask.store(mask.difference(SigSet::UNBLOCKABLE).0, Ordering::Relaxed);
        self.waiters.0.notify(PollEvents::IN);
    }

    fn mask(&self) -> SigSet {
        SigSet(self.mask.load(Ordering::Relaxed))
    }

    /// Sees to it that waiters are told of the signals of the caller's process.
    fn follow(&self, task: &Task) {
        let group = task.thread_group();
        let mut processes = self.processes.lock();
        processes.retain(|(process, _)| process.strong_count() > 0);
        if processes.iter().any(|(process, _)| std::ptr::eq(process.as_ptr(), Arc::as_ptr(group))) {
            return;
        }
        let key = group.signal_wait.register(PollEvents::IN, Arc::clone(&self.waiters) as Arc<dyn Wake>);
        processes.push((Arc::downgrade(group), key));
    }
}

impl Drop for SignalFd {
    fn drop(&mut self) {
        let processes = std::mem::take(&mut *self.processes.lock());
        for (process, key) in processes {
            if let Some(process) = process.upgrade() {
                process.signal_wait.unregister(key);
            }
        }
    }
}

impl FileOps for SignalFd {
    fn has_write(&self) -> bool {
        false
    }

    fn blocking(&self) -> Blocking {
        Blocking::Record
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize, Errno> {
        if dst.remaining() < RECORD {
            return Err(Errno::EINVAL);
        }
        let Some(task) = current_task() else { return Err(Errno::EAGAIN) };
        let mut done = 0;
        while dst.remaining() >= RECORD {
            let Some((signal, info)) = task.take_signal(self.mask()) else { break };
            match dst.put(record(signal, &info).as_bytes()) {
                Ok(RECORD) => done += RECORD,
                // As on Linux the signal is lost.
                _ if done == 0 => return Err(Errno::EFAULT),
                _ => break,
            }
        }
        if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) }
    }

    fn poll(&self, _file: &File) -> PollEvents {
        let pending = current_task().is_some_and(|task| task.has_pending(self.mask()));
        if pending { PollEvents::IN } else { PollEvents::empty() }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        if let Some(task) = current_task() {
            self.follow(&task);
        }
        Some(&self.waiters.0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        "anon_inode:[signalfd]".to_owned()
    }

    fn fdinfo(&self, _file: &File) -> String {
        format!("sigmask:\t{:016x}\n", self.mask().0)
    }
}

/// A record of 128 bytes; which fields it has depends on where the signal comes from.
fn record(signal: Signal, info: &SigInfo) -> SignalfdSiginfo {
    let head = SignalfdSiginfo {
        ssi_signo: signal.number(),
        ssi_errno: info.si_errno,
        ssi_code: info.si_code,
        ..SignalfdSiginfo::default()
    };
    let sender = SignalfdSiginfo { ssi_pid: info.pid() as u32, ssi_uid: info.uid(), ..head };
    match info.si_code {
        SI_TIMER => SignalfdSiginfo {
            ssi_tid: info.timer_id() as u32,
            ssi_overrun: info.overrun() as u32,
            ssi_ptr: info.value(),
            ssi_int: info.value() as i32,
            ..head
        },
        SI_USER | SI_KERNEL => sender,
        code if code < 0 => SignalfdSiginfo { ssi_ptr: info.value(), ssi_int: info.value() as i32, ..sender },
        _ => match signal {
            Signal::SIGCHLD => SignalfdSiginfo {
                ssi_status: info.status(),
                ssi_utime: info.utime() as u64,
                ssi_stime: info.stime() as u64,
                ..sender
            },
            Signal::SIGIO => SignalfdSiginfo { ssi_band: info.band() as u32, ssi_fd: info.fd(), ..head },
            Signal::SIGSYS => SignalfdSiginfo {
                ssi_call_addr: info.call_addr(),
                ssi_syscall: info.syscall(),
                ssi_arch: info.arch(),
                ..head
            },
            Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL | Signal::SIGFPE | Signal::SIGTRAP => {
                SignalfdSiginfo { ssi_addr: info.addr(), ssi_addr_lsb: info.addr_lsb(), ..head }
            }
            _ => sender,
        },
    }
}
