//! A guest thread: a host thread in the process of its address space, which waits in the stub while the Sentry has its
//! turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::address_space::{SystrapSpace, changes};
use super::answers::Answers;
use super::area::Stopped;
use super::pool::{KICK, Shared, Thread};
use crate::api::{Access, AddressSpace, Answer, Context, Interrupter, PlatformError, Registers, Trap};
use crate::guest_process::bpf::AUDIT_ARCH_X86_64;
use crate::guest_process::placement::Seat;

/// The host thread of a context is, or is about to be, in guest code.
const RUNNING: u32 = 1;
/// The next stop, or the next attempt to run, answers [`Trap::Interrupted`].
const INTERRUPT: u32 = 2;

/// SI_KERNEL: si_code of general-protection faults.
const SI_KERNEL: i32 = 0x80;
const BUS_ADRALN: i32 = 1;
/// si_code of a call that a seccomp filter made a signal of.
pub(super) const SYS_SECCOMP: i32 = 1;
/// Vector of page faults, and bits of their error code.
const PAGE_FAULT: u64 = 14;
const BY_WRITE: u64 = 1 << 1;
const BY_FETCH: u64 = 1 << 4;

/// What other threads know of a context.
#[derive(Default)]
struct Remote {
    state: AtomicU32,
    pid: AtomicI32,
    tid: AtomicI32,
    answers: Answers,
}

impl Remote {
    /// Before guest code runs; false when the context shall stop instead.
    fn begin(&self) -> bool {
        if self.state.compare_exchange(0, RUNNING, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return true;
        }
        self.state.store(0, Ordering::SeqCst);
        false
    }

    /// After guest code has stopped; whether an interrupt is waiting.
    fn end(&self) -> bool {
        self.state.fetch_and(!RUNNING, Ordering::SeqCst) & INTERRUPT != 0
    }

    /// Takes an interrupt that is waiting.
    fn take_interrupt(&self) {
        self.state.fetch_and(!INTERRUPT, Ordering::SeqCst);
    }
}

impl Interrupter for Remote {
    fn interrupt(&self) {
        // The RUNNING bit orders this against `begin`: either that sees INTERRUPT, or we see RUNNING, and then the
        // thread ids are those of the thread that is running. A kick that comes when it has stopped already waits until
        // it runs again, and is then one that nobody asked for.
        if self.state.fetch_or(INTERRUPT, Ordering::SeqCst) == RUNNING {
            let (pid, tid) = (self.pid.load(Ordering::Relaxed), self.tid.load(Ordering::Relaxed));
            // Fails only when the thread is dead, and then the context finds out itself.
            let _ = host::thread::tgkill(pid, tid, KICK);
        }
    }

    fn silence(&self) {
        self.answers.silence();
    }
}

/// A context's thread in a space.
struct Attachment {
    space: Arc<SystrapSpace>,
    thread: Thread,
    pid: i32,
}

/// Where the newest vector registers are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fpu {
    /// In the frame only.
    Frame,
    /// In the buffer and in the frame.
    Both,
    /// In the buffer only.
    Buffer,
}

/// See the module.
pub(super) struct SystrapContext {
    shared: Arc<Shared>,
    remote: Arc<Remote>,
    attachment: Option<Attachment>,
    fpu: Fpu,
    buffer: Vec<u8>,
    seat: Seat,
    /// Changes of mappings that the thread had made when it ran last.
    changes: u32,
}

impl SystrapContext {
    pub(super) fn new(shared: Arc<Shared>) -> SystrapContext {
        let buffer = shared.extended.initial().to_vec();
        let seat = Seat::new(&shared.placement);
        SystrapContext {
            shared,
            remote: Arc::default(),
            attachment: None,
            fpu: Fpu::Buffer,
            buffer,
            seat,
            changes: 0,
        }
    }

    /// Makes `space` the one that this context runs in.
    fn attach(&mut self, space: Arc<SystrapSpace>) -> Result<(), PlatformError> {
        if self.fpu == Fpu::Frame && self.fpu().is_err() {
            // The thread is dead, and its registers with it.
            self.reset_fpu()?;
        }
        self.fpu = Fpu::Buffer;
        self.detach();
        let (pid, mut thread) = space.enter()?;
        // An area that can't be written has no memory: the thread goes with its space.
        thread.area.build(self.shared.layout, &self.buffer, &self.shared.extended)?;
        thread.area.show(&self.remote.answers);
        self.fpu = Fpu::Both;
        self.remote.pid.store(pid, Ordering::Relaxed);
        self.remote.tid.store(thread.tid, Ordering::Relaxed);
        self.seat.attach(thread.tid);
        self.attachment = Some(Attachment { space, thread, pid });
        Ok(())
    }

    fn detach(&mut self) {
        // Before the area is another's.
        self.remote.answers.detach();
        if let Some(Attachment { space, thread, .. }) = self.attachment.take() {
            space.leave(thread);
        }
    }

    fn run_attached(&mut self, regs: &mut Registers) -> Result<Trap, PlatformError> {
        let Some(Attachment { space, thread, pid }) = &mut self.attachment else {
            return Err(PlatformError::Gone);
        };
        let layout = self.shared.layout;
        loop {
            if !self.remote.begin() {
                return Ok(Trap::Interrupted);
            }
            self.seat.enter();
            let spin = self.seat.spin();
            let stopped = (|| {
                if self.fpu == Fpu::Buffer {
                    thread.area.set_extended(layout, &self.buffer, &self.shared.extended)?;
                }
                thread.area.load(regs)?;
                let awake = thread.area.resume(spin.stub);
                let mut watch = Watch::new(*pid, thread.tid, &self.remote);
                let seen = thread.area.wait(spin.sentry, || watch.look())?;
                // A change of mappings interrupts the processor on which the stub waits, if that is another.
                let changes = changes();
                if spin.sentry != 0 && (!awake || !seen || changes != self.changes) {
                    self.seat.late();
                }
                self.changes = changes;
                thread.area.fetch(layout, regs)
            })();
            let interrupted = self.remote.end();
            self.seat.leave();
            self.fpu = Fpu::Frame;
            let stopped = match stopped {
                Ok(stopped) => stopped,
                Err(PlatformError::Tampered(what)) => {
                    space.fail();
                    return Err(PlatformError::Tampered(what));
                }
                Err(_) => return Err(space.fail()),
            };
            if let Some(trap) = trap(&stopped, regs) {
                return Ok(trap);
            }
            if interrupted {
                self.remote.take_interrupt();
                return Ok(Trap::Interrupted);
            }
        }
    }
}

/// A guest that is told to stop and does not (it has found a way to block the signal) has to go: when its process has
/// used this much processor time since, or when this long has passed.
const MAX_STUBBORN_CPU_NS: u64 = 5_000_000_000;
const MAX_STUBBORN: Duration = Duration::from_secs(60);

/// Watches a guest thread that does not stop for long.
struct Watch<'a> {
    pid: i32,
    tid: i32,
    remote: &'a Remote,
    /// Since when it should have stopped, and its process's time then.
    told: Option<(Instant, u64)>,
}

impl Watch<'_> {
    fn new(pid: i32, tid: i32, remote: &Remote) -> Watch<'_> {
        Watch { pid, tid, remote, told: None }
    }

    /// Whether it is still there, and does what it is told.
    #[cold]
    fn look(&mut self) -> Result<(), PlatformError> {
        if !host::process::is_running(self.pid) || host::thread::tgkill(self.pid, self.tid, 0).is_err() {
            return Err(PlatformError::Gone);
        }
        if self.remote.state.load(Ordering::SeqCst) & INTERRUPT == 0 {
            return Ok(());
        }
        let _ = host::thread::tgkill(self.pid, self.tid, KICK);
        let used = host::process::cpu_time_ns(self.pid).unwrap_or(0);
        let &mut (since, before) = self.told.get_or_insert_with(|| (Instant::now(), used));
        if since.elapsed() > MAX_STUBBORN || used.saturating_sub(before) > MAX_STUBBORN_CPU_NS {
            return Err(PlatformError::Tampered("it does not stop when it is told to"));
        }
        Ok(())
    }
}

/// What a signal means; `None` when somebody sent it: we, or somebody outside.
fn trap(stopped: &Stopped, regs: &mut Registers) -> Option<Trap> {
    const ENOSYS: u64 = -(libc::ENOSYS as i64) as u64;
    let Stopped { signal, code, address, .. } = *stopped;
    if code <= 0 {
        return None;
    }
    Some(match signal {
        libc::SIGSYS if code == SYS_SECCOMP && stopped.architecture == AUDIT_ARCH_X86_64 => {
            // The number is in the register as it was, unless the host has emulated a call of the vsyscall page.
            let call = stopped.call as u64;
            regs.orig_rax = if regs.rax as i32 as u64 == call { regs.rax } else { call };
            regs.rax = ENOSYS;
            // A number that looks like an interrupted call has made the host step back, to repeat it.
            if regs.rip.wrapping_add(2) == address {
                regs.rip = address;
            }
            Trap::Syscall
        }
        libc::SIGSYS => {
            // `int 0x80` and `sysenter` are for 32-bit programs. As on a kernel without those: a general-protection
            // fault at the instruction.
            regs.rip = regs.rip.wrapping_sub(2);
            Trap::Exception { signal: libc::SIGSEGV, code: SI_KERNEL, address: 0 }
        }
        libc::SIGSEGV if code == SI_KERNEL => Trap::Exception { signal, code, address: 0 },
        libc::SIGBUS if code == BUS_ADRALN => Trap::Exception { signal, code, address },
        libc::SIGSEGV | libc::SIGBUS => Trap::Fault { address, access: access(stopped), signal, code },
        libc::SIGFPE | libc::SIGILL | libc::SIGTRAP => Trap::Exception { signal, code, address },
        _ => return None,
    })
}

fn access(stopped: &Stopped) -> Access {
    match stopped.error {
        _ if stopped.vector != PAGE_FAULT => Access::Unknown,
        error if error & BY_FETCH != 0 => Access::Execute,
        error if error & BY_WRITE != 0 => Access::Write,
        _ => Access::Read,
    }
}

impl Context for SystrapContext {
    fn run(&mut self, space: &Arc<dyn AddressSpace>, regs: &mut Registers) -> Result<Trap, PlatformError> {
        let here = self
            .attachment
            .as_ref()
            .is_some_and(|a| std::ptr::addr_eq(Arc::as_ptr(&a.space), Arc::as_ptr(space)));
        if !here {
            self.attach(SystrapSpace::of(space)?)?;
        }
        self.run_attached(regs)
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::clone(&self.remote) as Arc<dyn Interrupter>
    }

    fn fpu(&mut self) -> Result<&[u8], PlatformError> {
        if self.fpu == Fpu::Frame {
            let Some(attachment) = &self.attachment else { return Err(PlatformError::Gone) };
            attachment.thread.area.read_extended(self.shared.layout, &mut self.buffer)?;
            self.shared.extended.normalise(&mut self.buffer);
            self.fpu = Fpu::Both;
        }
        Ok(&self.buffer)
    }

    fn set_fpu(&mut self, area: &[u8]) -> Result<(), PlatformError> {
        self.shared.extended.sanitise(area, &mut self.buffer);
        self.fpu = Fpu::Buffer;
        Ok(())
    }

    fn reset_fpu(&mut self) -> Result<(), PlatformError> {
        self.buffer.clear();
        self.buffer.extend_from_slice(self.shared.extended.initial());
        self.fpu = Fpu::Buffer;
        Ok(())
    }

    fn set_answers(&mut self, answers: &[Answer]) {
        self.remote.answers.give(answers);
    }
}

impl Drop for SystrapContext {
    fn drop(&mut self) {
        self.detach();
    }
}
