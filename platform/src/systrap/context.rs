//! A guest thread: a host thread in the process of its address space, which waits in the stub while the Sentry has its
//! turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::address_space::{SystrapSpace, changes};
use super::answers::Answers;
use super::area::Stopped;
use super::pool::{KICK, Shared, Thread};
use super::stub::{self, Place};
use super::text::Call;
use crate::api::{
    Access, AddressSpace, Answer, Context, Interrupter, PlatformError, Registers, RobustList, SignalMask,
    Trap,
};
use crate::guest_process::bpf::AUDIT_ARCH_X86_64;
use crate::guest_process::placement::Seat;

const ENOSYS: u64 = -(libc::ENOSYS as i64) as u64;

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
pub(super) struct Remote {
    state: AtomicU32,
    /// How often guest code has stopped.
    stops: AtomicU32,
    /// Nobody wants it to run any more.
    given_up: AtomicBool,
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

    /// It shall not run yet, after [`begin`](Self::begin). An interrupt stays.
    fn hold_back(&self) {
        self.state.fetch_and(!RUNNING, Ordering::SeqCst);
    }

    /// After guest code has stopped; whether an interrupt is waiting.
    fn end(&self) -> bool {
        self.stops.fetch_add(1, Ordering::SeqCst);
        self.state.fetch_and(!RUNNING, Ordering::SeqCst) & INTERRUPT != 0
    }

    /// Whether its guest code runs, or may be about to; then a number that is another when it has stopped.
    pub(super) fn running(&self) -> Option<u32> {
        // In this order: who has stopped in between is seen as running, with an old number.
        let stops = self.stops.load(Ordering::SeqCst);
        (self.state.load(Ordering::SeqCst) & RUNNING != 0).then_some(stops)
    }

    /// Whether nobody wants it to run any more.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Makes running guest code stop, although nobody wants to know.
    pub(super) fn kick(&self) {
        let (pid, tid) = (self.pid.load(Ordering::Relaxed), self.tid.load(Ordering::Relaxed));
        // Fails only when the thread is dead, and then the context finds out itself.
        let _ = host::thread::tgkill(pid, tid, KICK);
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
            self.kick();
        }
    }

    fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
        self.interrupt();
    }

    fn silence(&self) {
        self.answers.silence();
    }
}

impl SignalMask for Remote {
    fn get(&self) -> u64 {
        self.answers.mask()
    }

    fn set(&self, mask: u64) {
        self.answers.set_mask(mask);
    }

    fn open(&self) {
        self.answers.open_mask(true);
    }

    fn close(&self) {
        self.answers.open_mask(false);
    }
}

impl RobustList for Remote {
    fn head(&self) -> u64 {
        self.answers.robust_list()
    }

    fn set_head(&self, address: u64) {
        self.answers.set_robust_list(address);
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

/// Calls of one place after which its code is rewritten: if a copy is there already, and each time that one is to be made or may be there
/// by now.
const OFTEN: u32 = 4;
const VERY_OFTEN: u32 = 64;

/// Counts calls by the place that they come from, as long as not too many places have the same slot.
#[derive(Default)]
struct Counts([(u64, u32); 32]);

impl Counts {
    fn count(&mut self, rip: u64) -> u32 {
        let slot = (rip ^ rip >> 5 ^ rip >> 10) as usize % self.0.len();
        let entry = &mut self.0[slot];
        if entry.0 != rip {
            *entry = (rip, 0);
        }
        entry.1 = entry.1.wrapping_add(1);
        entry.1
    }
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
    counts: Counts,
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
            counts: Counts::default(),
        }
    }

    /// Whether the last call came through the gate.
    #[cfg(test)]
    pub(super) fn is_in_gate(&self) -> bool {
        self.attachment.as_ref().is_some_and(|attachment| attachment.thread.area.in_gate())
    }

    /// Makes `space` the one that this context runs in.
    fn attach(&mut self, space: Arc<SystrapSpace>) -> Result<(), PlatformError> {
        if self.fpu == Fpu::Frame && self.fpu().is_err() {
            // The thread is dead, and its registers with it.
            self.reset_fpu()?;
        }
        self.fpu = Fpu::Buffer;
        self.detach();
        let (pid, mut thread) = space.enter(&self.remote)?;
        self.remote.pid.store(pid, Ordering::Relaxed);
        self.remote.tid.store(thread.tid, Ordering::Relaxed);
        self.counts = Counts::default();
        if thread.area.in_gate() {
            let mut watch = Watch::new(pid, thread.tid, &self.remote, &space);
            let done = thread.area.want_frame(self.shared.layout, 0, || watch.look());
            if let Err(error) = done {
                let lost = space.fail();
                space.leave(thread, &self.remote);
                return Err(if let PlatformError::Tampered(_) = error { error } else { lost });
            }
        }
        // An area that can't be written has no memory: the thread goes with its space.
        thread.area.build(self.shared.layout, &self.buffer, &self.shared.extended)?;
        thread.area.show(&self.remote.answers);
        self.fpu = Fpu::Both;
        self.seat.attach(thread.tid);
        self.attachment = Some(Attachment { space, thread, pid });
        Ok(())
    }

    fn detach(&mut self) {
        // Before the area is another's.
        self.remote.answers.detach();
        if let Some(Attachment { space, thread, .. }) = self.attachment.take() {
            space.leave(thread, &self.remote);
        }
    }

    fn run_attached(&mut self, regs: &mut Registers) -> Result<Trap, PlatformError> {
        let Some(Attachment { space, thread, pid }) = &mut self.attachment else {
            return Err(PlatformError::Gone);
        };
        let layout = self.shared.layout;
        loop {
            // Before it counts as running: what is sent to it from then on finds it where signals wait.
            if thread.area.in_gate() && (self.fpu == Fpu::Buffer || !thread.area.leaves_by_gate(regs)) {
                let mut watch = Watch::new(*pid, thread.tid, &self.remote, space);
                thread
                    .area
                    .want_frame(layout, self.seat.spin().sentry, || watch.look())
                    .map_err(|error| lost(space, error))?;
            }
            if !self.remote.begin() {
                return Ok(Trap::Interrupted);
            }
            if space.is_closed() {
                self.remote.hold_back();
                space.wait_until_open();
                continue;
            }
            self.seat.enter();
            let spin = self.seat.spin();
            let given = *regs;
            let by_gate = thread.area.in_gate();
            let stopped = (|| {
                if self.fpu == Fpu::Buffer {
                    thread.area.set_extended(layout, &self.buffer, &self.shared.extended)?;
                }
                thread.area.load(layout, regs, space.is_gated())?;
                let awake = thread.area.resume(spin.stub);
                let mut watch = Watch::new(*pid, thread.tid, &self.remote, space);
                let seen = thread.area.wait(spin.sentry, || watch.look())?;
                // A change of mappings interrupts the processor on which the stub waits, if that is another.
                let changes = changes();
                if spin.sentry != 0 && (!awake || !seen || changes != self.changes) {
                    self.seat.late();
                }
                self.changes = changes;
                thread.area.fetch(layout, regs)
            })();
            let call = stopped.as_ref().ok().and_then(|stopped| call_on_the_way(space, stopped, regs));
            let interrupted = self.remote.end();
            self.seat.leave();
            self.fpu = Fpu::Frame;
            let stopped = stopped.map_err(|error| lost(space, error))?;
            let touched = stopped.signal == libc::SIGSEGV && stopped.code > 0;
            if touched && stub::place(layout, regs.rip).is_none() && space.show_waiting(stopped.address)? {
                if interrupted {
                    self.remote.take_interrupt();
                    return Ok(Trap::Interrupted);
                }
                continue;
            }
            if stopped.signal == 0 {
                return Ok(Trap::Syscall);
            }
            let seen = match stub::place(layout, regs.rip) {
                Some(Place::Over) if by_gate => {
                    // It was still on its way to guest code.
                    let asked = stopped.code <= 0 || regs.rip == stub::stop(layout);
                    if !asked {
                        return Err(lost(
                            space,
                            PlatformError::Tampered("it faulted on its way out of the stub"),
                        ));
                    }
                    *regs = given;
                    None
                }
                Some(Place::Over) => trap(&stopped, regs),
                Some(Place::Done) => {
                    after_call(&thread.area, regs).map_err(|error| lost(space, error))?;
                    if stopped.code > 0 && stopped.signal == libc::SIGSEGV {
                        // It found the mask closed.
                        if interrupted {
                            self.remote.take_interrupt();
                        }
                        return Ok(Trap::Interrupted);
                    }
                    trap(&stopped, regs)
                }
                Some(place) => {
                    let call = on_the_way(place, &thread.area, regs).map_err(|error| lost(space, error))?;
                    before_call(&stopped, call, regs)
                }
                None => match call {
                    Some(call) => before_call(&stopped, call, regs),
                    None => trap(&stopped, regs),
                },
            };
            if seen == Some(Trap::Syscall)
                && let Some(value) = self.remote.answers.to(regs.orig_rax)
            {
                // The stub could have answered it, and has answered many from that place.
                space.rewrite(regs.rip, u32::MAX);
                (regs.rax, regs.orig_rax) = (value.into(), u64::MAX);
            } else if let Some(trap) = seen {
                if trap == Trap::Syscall {
                    let often = self.counts.count(regs.rip);
                    if often == OFTEN || often.is_multiple_of(VERY_OFTEN) {
                        space.rewrite(regs.rip, often);
                    }
                }
                return Ok(trap);
            }
            if interrupted {
                self.remote.take_interrupt();
                return Ok(Trap::Interrupted);
            }
        }
    }
}

/// Ends a process whose thread did not do what it should; what to say of it.
#[cold]
fn lost(space: &SystrapSpace, error: PlatformError) -> PlatformError {
    let gone = space.fail();
    if let PlatformError::Tampered(_) = error { error } else { gone }
}

/// The call that a thread in the gate has made by itself is done: the registers that it leaves.
fn after_call(area: &super::area::Area, regs: &mut Registers) -> Result<(), PlatformError> {
    let bases = (regs.fs_base, regs.gs_base);
    area.stored(regs)?;
    (regs.fs_base, regs.gs_base) = bases;
    regs.rax = 0;
    Ok(())
}

/// The call that a thread in the gate is about to make; its other registers are the guest's again.
fn on_the_way(place: Place, area: &super::area::Area, regs: &mut Registers) -> Result<Call, PlatformError> {
    let (told, start, bases) = (regs.rax as u32, regs.r11, (regs.fs_base, regs.gs_base));
    match place {
        Place::Entered => return Ok(Call::of(regs.rcx as u32, start, regs.rax)),
        Place::ByRax => return Ok(Call::by_rax(regs.rax, start)),
        Place::ByRaxSwitched => {
            regs.rsp = area.stored_rsp()?;
            return Ok(Call::by_rax(regs.rax, start));
        }
        Place::Taken => {}
        Place::Switched => regs.rsp = area.stored_rsp()?,
        Place::Stored | Place::Saved | Place::Done | Place::Over => area.stored(regs)?,
    }
    (regs.fs_base, regs.gs_base) = bases;
    if place == Place::Saved {
        // Whether the instruction is still there is not known: it may be a jump that leads here again.
        return Ok(Call::by_rax(regs.rax, regs.rip));
    }
    Ok(Call::of(told, start, regs.rax))
}

/// The same for a thread on its way to the gate. Its instructions touch no memory but themselves.
fn call_on_the_way(space: &SystrapSpace, stopped: &Stopped, regs: &Registers) -> Option<Call> {
    let possible = match stopped.signal {
        0 => false,
        libc::SIGTRAP => true,
        libc::SIGSEGV | libc::SIGBUS => stopped.code <= 0 || stopped.address == regs.rip,
        _ => stopped.code <= 0,
    };
    if possible { space.call_at(regs) } else { None }
}

/// What it means that a thread was stopped right before `call`: when the CPU could not go on there, the call is made.
fn before_call(stopped: &Stopped, call: Call, regs: &mut Registers) -> Option<Trap> {
    // One who goes step by step would never get beyond a `syscall` that is a jump.
    if stopped.code > 0 && (stopped.signal != libc::SIGTRAP || !call.stays) {
        *regs = Registers {
            rip: call.back,
            rcx: call.back,
            r11: regs.eflags,
            rax: ENOSYS,
            orig_rax: call.number,
            ..*regs
        };
        return Some(Trap::Syscall);
    }
    (regs.rip, regs.rax) = (call.instruction(), call.number);
    trap(stopped, regs)
}

/// A guest that is told to stop and does not (it has found a way to block the signal) has to go: when its process has
/// used this much processor time since, or when this long has passed.
const MAX_STUBBORN_CPU_NS: u64 = 5_000_000_000;
const MAX_STUBBORN: Duration = Duration::from_secs(60);
/// How often one that nobody wants any more is told.
const MAX_TOLD_TO_END: u32 = 5;

/// Watches a guest thread that does not stop for long.
struct Watch<'a> {
    pid: i32,
    tid: i32,
    remote: &'a Remote,
    space: &'a SystrapSpace,
    /// How often it was told to end.
    told_to_end: u32,
    /// Since when it should have stopped, and its process's time then.
    told: Option<(Instant, u64)>,
}

impl Watch<'_> {
    fn new<'a>(pid: i32, tid: i32, remote: &'a Remote, space: &'a SystrapSpace) -> Watch<'a> {
        Watch { pid, tid, remote, space, told_to_end: 0, told: None }
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
        if self.remote.is_given_up() && self.space.is_given_up() {
            self.told_to_end += 1;
            if self.told_to_end > MAX_TOLD_TO_END {
                return Err(PlatformError::Tampered("it does not end when it is told to"));
            }
        }
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
            let Some(attachment) = &mut self.attachment else { return Err(PlatformError::Gone) };
            if attachment.thread.area.in_gate() {
                let mut watch =
                    Watch::new(attachment.pid, attachment.thread.tid, &self.remote, &attachment.space);
                let spin = self.seat.spin().sentry;
                let done = attachment.thread.area.want_frame(self.shared.layout, spin, || watch.look());
                done.map_err(|error| lost(&attachment.space, error))?;
            }
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

    fn expect_wait(&mut self, waits: bool) {
        self.seat.expect_wait(waits);
    }

    fn set_answers(&mut self, answers: &[Answer]) {
        self.remote.answers.give(answers);
    }

    fn signal_mask(&self) -> Option<Arc<dyn SignalMask>> {
        Some(Arc::clone(&self.remote) as Arc<dyn SignalMask>)
    }

    fn robust_list(&self) -> Option<Arc<dyn RobustList>> {
        Some(Arc::clone(&self.remote) as Arc<dyn RobustList>)
    }

    fn rest(&mut self) {
        self.seat.rest();
    }
}

impl Drop for SystrapContext {
    fn drop(&mut self) {
        self.detach();
    }
}
