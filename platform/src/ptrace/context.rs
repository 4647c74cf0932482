//! A guest thread: the Sentry thread that made the context is the tracer of a host thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use host::ptrace::Stop;

use super::address_space::{Attachment, PtraceSpace};
use super::pool::Shared;
use crate::api::{Access, AddressSpace, Context, Interrupter, PlatformError, Registers, Trap};
use crate::guest_process::placement::Seat;
use crate::guest_process::registers::came_by_syscall;

/// The host thread of a context is, or is about to be, in guest code.
const RUNNING: u32 = 1;
/// The next stop, or the next attempt to run, answers [`Trap::Interrupted`].
const INTERRUPT: u32 = 2;

/// Makes a running guest thread stop. It is ignored by default, so that a late one does no harm to a thread that
/// nobody traces; a tracer sees it all the same.
const KICK: i32 = libc::SIGCHLD;

/// SI_KERNEL: si_code of general-protection faults.
const SI_KERNEL: i32 = 0x80;
const BUS_ADRALN: i32 = 1;

/// What other threads know of a context.
#[derive(Default)]
pub(super) struct Remote {
    state: AtomicU32,
    pid: AtomicI32,
    tid: AtomicI32,
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
    pub(super) fn take_interrupt(&self) -> bool {
        self.state.fetch_and(!INTERRUPT, Ordering::SeqCst) & INTERRUPT != 0
    }

    /// Makes the context stop if it is in guest code; whether it was.
    pub(super) fn kick(&self) -> bool {
        let running = self.state.load(Ordering::SeqCst) & RUNNING != 0;
        if running {
            self.send_kick();
        }
        running
    }

    fn send_kick(&self) {
        let (pid, tid) = (self.pid.load(Ordering::Relaxed), self.tid.load(Ordering::Relaxed));
        // Fails only when the thread is dead, and then its tracer knows already.
        let _ = host::thread::tgkill(pid, tid, KICK);
    }

    pub(super) fn set_thread(&self, pid: i32, tid: i32) {
        self.pid.store(pid, Ordering::Relaxed);
        self.tid.store(tid, Ordering::Relaxed);
    }
}

impl Interrupter for Remote {
    fn interrupt(&self) {
        // The RUNNING bit orders this against `begin`: either that sees INTERRUPT, or we see RUNNING, and then the
        // thread ids are those of the thread that is running.
        if self.state.fetch_or(INTERRUPT, Ordering::SeqCst) == RUNNING {
            self.send_kick();
        }
    }
}

/// Where the newest vector registers are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fpu {
    /// In the host thread only.
    Thread,
    /// In the buffer and in the thread.
    Both,
    /// In the buffer only.
    Buffer,
}

thread_local! {
    /// The contexts of this thread that have a host thread.
    static ATTACHED: RefCell<Vec<Rc<RefCell<Option<Attachment>>>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with the calling thread's own tracee in `space`, if it has one.
pub(super) fn with_own_tracee<R>(space: &PtraceSpace, f: impl FnOnce(&mut Attachment) -> R) -> Option<R> {
    ATTACHED.with_borrow(|all| {
        let own = all.iter().find(|a| a.borrow().as_ref().is_some_and(|a| a.is_in(space)))?;
        own.borrow_mut().as_mut().map(f)
    })
}

/// See the module.
pub(super) struct PtraceContext {
    shared: Arc<Shared>,
    remote: Arc<Remote>,
    attachment: Rc<RefCell<Option<Attachment>>>,
    fpu: Fpu,
    area: Vec<u8>,
    seat: Seat,
}

impl PtraceContext {
    pub(super) fn new(shared: Arc<Shared>) -> PtraceContext {
        let attachment = Rc::new(RefCell::new(None));
        ATTACHED.with_borrow_mut(|all| all.push(Rc::clone(&attachment)));
        let area = shared.layout.initial().to_vec();
        let seat = Seat::new(&shared.placement);
        PtraceContext { shared, remote: Arc::default(), attachment, fpu: Fpu::Buffer, area, seat }
    }

    /// Makes `space` the one that this context runs in; false when an interrupt came while it had to wait.
    fn attach(&mut self, space: &Arc<PtraceSpace>) -> Result<bool, PlatformError> {
        // The slot stays free meanwhile: to find a thread, the space may look through this thread's contexts.
        let old = self.attachment.borrow_mut().take();
        if let Some(old) = &old
            && self.fpu == Fpu::Thread
            && old.tracee.extended_state(&mut self.area).is_err()
        {
            // The thread is dead, and its registers with it.
            self.reset_fpu()?;
        }
        self.fpu = Fpu::Buffer;
        let new = PtraceSpace::enter(space, &self.remote, old)?;
        let attached = new.is_some();
        if let Some(new) = &new {
            self.seat.attach(new.tracee.tid());
        }
        *self.attachment.borrow_mut() = new;
        Ok(attached)
    }

    fn run_attached(&mut self, regs: &mut Registers) -> Result<Trap, PlatformError> {
        let mut slot = self.attachment.borrow_mut();
        let Some(Attachment { space, tracee }) = &mut *slot else { return Err(PlatformError::Gone) };
        if self.fpu == Fpu::Buffer {
            tracee.set_extended_state(&self.area)?;
            self.fpu = Fpu::Both;
        }
        loop {
            if !self.remote.begin() {
                return Ok(Trap::Interrupted);
            }
            if space.wants_attention() {
                self.remote.end();
                space.serve(tracee)?;
                continue;
            }
            self.seat.enter();
            let stop = tracee.load(regs).and_then(|()| tracee.resume_guest()).and_then(|()| tracee.wait());
            let interrupted = self.remote.end();
            self.seat.leave();
            self.fpu = Fpu::Thread;
            let fetched = stop.and_then(|stop| tracee.fetch(regs).map(|()| stop));
            let stop = match fetched {
                Ok(stop) => stop,
                Err(error) => {
                    space.fail();
                    return Err(error);
                }
            };
            let trap = match stop {
                Stop::SystemCall => syscall(regs),
                Stop::Signal(KICK) if interrupted => {
                    regs.orig_rax = u64::MAX;
                    self.remote.take_interrupt();
                    Some(Trap::Interrupted)
                }
                Stop::Signal(signal) => {
                    regs.orig_rax = u64::MAX;
                    match signal {
                        libc::SIGSEGV
                        | libc::SIGBUS
                        | libc::SIGFPE
                        | libc::SIGILL
                        | libc::SIGTRAP
                        | libc::SIGSYS => exception(tracee.signal_info()?, regs),
                        _ => None,
                    }
                }
                Stop::Event => {
                    regs.orig_rax = u64::MAX;
                    None
                }
                Stop::Gone => return Err(PlatformError::Gone),
            };
            // Only now: it makes the thread stop anew.
            if space.wants_attention() {
                space.serve(tracee)?;
            }
            if let Some(trap) = trap {
                return Ok(trap);
            }
        }
    }
}

/// What a system call stop means.
fn syscall(regs: &mut Registers) -> Option<Trap> {
    if came_by_syscall(regs) {
        return Some(Trap::Syscall);
    }
    // `int 0x80` and `sysenter` are for 32-bit programs. As on a kernel without those: a general-protection fault at
    // the instruction.
    regs.orig_rax = u64::MAX;
    regs.rip = regs.rip.wrapping_sub(2);
    Some(Trap::Exception { signal: libc::SIGSEGV, code: SI_KERNEL, address: 0 })
}

/// What a signal stop means; `None` when somebody outside sent the signal.
fn exception(info: host::ptrace::SignalInfo, regs: &mut Registers) -> Option<Trap> {
    let host::ptrace::SignalInfo { signal, code, address, syscall } = info;
    if code <= 0 {
        return None;
    }
    match signal {
        // A call of the vsyscall page, which the stub's filter turned into a signal. The host has emulated the return.
        libc::SIGSYS => {
            regs.orig_rax = syscall as u64;
            Some(Trap::Syscall)
        }
        libc::SIGSEGV if code == SI_KERNEL => Some(Trap::Exception { signal, code, address: 0 }),
        libc::SIGBUS if code == BUS_ADRALN => Some(Trap::Exception { signal, code, address }),
        libc::SIGSEGV | libc::SIGBUS => Some(Trap::Fault { address, access: Access::Unknown, signal, code }),
        _ => Some(Trap::Exception { signal, code, address }),
    }
}

impl Context for PtraceContext {
    fn run(&mut self, space: &Arc<dyn AddressSpace>, regs: &mut Registers) -> Result<Trap, PlatformError> {
        let here = self.attachment.borrow().as_ref().is_some_and(|a| a.is_at(space));
        if !here {
            let space = PtraceSpace::of(space)?;
            if !self.attach(&space)? {
                self.remote.take_interrupt();
                return Ok(Trap::Interrupted);
            }
        }
        self.run_attached(regs)
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::clone(&self.remote) as Arc<dyn Interrupter>
    }

    fn fpu(&mut self) -> Result<&[u8], PlatformError> {
        if self.fpu == Fpu::Thread {
            let slot = self.attachment.borrow();
            let Some(attachment) = &*slot else { return Err(PlatformError::Gone) };
            attachment.tracee.extended_state(&mut self.area)?;
            self.fpu = Fpu::Both;
        }
        Ok(&self.area[..self.shared.layout.shape.size])
    }

    fn set_fpu(&mut self, area: &[u8]) -> Result<(), PlatformError> {
        self.shared.layout.sanitise(area, &mut self.area);
        self.fpu = Fpu::Buffer;
        Ok(())
    }

    fn reset_fpu(&mut self) -> Result<(), PlatformError> {
        self.area.clear();
        self.area.extend_from_slice(self.shared.layout.initial());
        self.fpu = Fpu::Buffer;
        Ok(())
    }
}

impl Drop for PtraceContext {
    fn drop(&mut self) {
        let old = self.attachment.borrow_mut().take();
        // The list is gone already when the context is dropped with the thread's other locals.
        let _ = ATTACHED.try_with(|all| all.borrow_mut().retain(|a| !Rc::ptr_eq(a, &self.attachment)));
        if let Some(old) = old {
            PtraceSpace::leave(old, &self.remote);
        }
    }
}
