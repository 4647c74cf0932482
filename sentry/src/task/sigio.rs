//! Signals for input and output: what `O_ASYNC` and fcntl(F_SETOWN, F_SETSIG) ask for.
//!
//! A file that has `O_ASYNC` set has one waker with its own wait queue. It is told of events wherever they come from,
//! perhaps with locks held; the signal is sent a moment later by the thread of the timers, where there are none.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use abi::open::OpenFlags;
use abi::poll::PollEvents;
use abi::signal::{SigInfo, Signal};
use sync::Mutex;

use super::CurrentTask;
use crate::Kernel;
use crate::error::Result;
use crate::signal::{send_to_group, send_to_process_group, send_to_task};
use crate::time::TimerHandle;
use crate::vfs::File;
use crate::vfs::file::OwnerKind;
use crate::wait::Wake;

/// `si_code` of a signal that tells of a file (sigaction(2)).
const POLL_IN: i32 = 1;
const POLL_OUT: i32 = 2;
const POLL_HUP: i32 = 6;

struct AsyncFile {
    this: Weak<AsyncFile>,
    kernel: Weak<Kernel>,
    file: Weak<File>,
    fd: i32,
    /// Events that no signal has been sent for yet.
    pending: AtomicU32,
    timer: Mutex<Option<TimerHandle>, sync::levels::Leaf>,
}

impl CurrentTask {
    /// fcntl(F_SETFL), ioctl(FIONBIO, FIOASYNC): the flags of `file`, which has number `fd` here.
    pub fn set_file_flags(&self, file: &Arc<File>, fd: i32, flags: OpenFlags) -> Result<()> {
        file.set_flags(flags)?;
        let asks = file.flags().contains(OpenFlags::ASYNC);
        if asks && !file.has_async_waker() {
            let waker = Arc::new_cyclic(|this| AsyncFile {
                this: Weak::clone(this),
                kernel: Arc::downgrade(self.kernel()),
                file: Arc::downgrade(file),
                fd,
                pending: AtomicU32::new(0),
                timer: Mutex::new(None),
            });
            let all =
                PollEvents::IN | PollEvents::OUT | PollEvents::PRI | PollEvents::RDNORM | PollEvents::WRNORM;
            let key = file.ops().register(file, all, waker);
            file.set_async_waker(key);
        } else if !asks {
            file.set_async_waker(None);
        }
        Ok(())
    }
}

impl Wake for AsyncFile {
    fn wake(&self, events: PollEvents) -> bool {
        let before = self.pending.fetch_or(events.bits() | WAKING, Ordering::AcqRel);
        if before == 0
            && let (Some(this), Some(kernel)) = (self.this.upgrade(), self.kernel.upgrade())
        {
            let due = Arc::new(Due(this)) as Arc<dyn Wake>;
            // Without a thread for it there is no signal.
            let timer = kernel.timers.set(Instant::now(), due).ok();
            let old = std::mem::replace(&mut *self.timer.lock(), timer);
            drop(old);
        }
        // Whoever waits exclusively is not served by a signal.
        false
    }
}

/// Set in [`AsyncFile::pending`] while a signal is on its way.
const WAKING: u32 = 1 << 31;

/// Sends the signal for what has come.
struct Due(Arc<AsyncFile>);

impl Wake for Due {
    fn wake(&self, _events: PollEvents) -> bool {
        let events = PollEvents::from_bits_truncate(self.0.pending.swap(0, Ordering::AcqRel) & !WAKING);
        if let (Some(file), Some(kernel)) = (self.0.file.upgrade(), self.0.kernel.upgrade()) {
            send(&kernel, &file, self.0.fd, events);
        }
        true
    }
}

fn send(kernel: &Kernel, file: &File, fd: i32, events: PollEvents) {
    let owner = file.owner.lock().clone();
    let Some((kind, pid)) = owner.who else { return };
    let (code, band) = if events.intersects(PollEvents::IN | PollEvents::RDNORM) {
        (POLL_IN, PollEvents::IN | PollEvents::RDNORM)
    } else if events.intersects(PollEvents::OUT | PollEvents::WRNORM) {
        (POLL_OUT, PollEvents::OUT | PollEvents::WRNORM | PollEvents::WRBAND)
    } else {
        (POLL_HUP, PollEvents::ERR | PollEvents::HUP)
    };
    let (signal, info) = match u32::try_from(owner.signal).ok().and_then(Signal::new) {
        Some(signal) => (signal, SigInfo::poll(signal, code, i64::from(band.bits()), fd)),
        None => (Signal::SIGIO, SigInfo::kernel(Signal::SIGIO)),
    };
    // A full queue drops it, as on Linux (which then sends SIGIO instead).
    let _ = match kind {
        OwnerKind::Thread => pid.task().map(|task| send_to_task(&task, signal, info)),
        OwnerKind::Process => pid.thread_group().map(|group| send_to_group(&group, signal, info)),
        OwnerKind::Group => {
            if let Some(group) = pid.process_group() {
                send_to_process_group(kernel, &group, signal, info);
            }
            None
        }
    };
}
