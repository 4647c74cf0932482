//! A guest thread's area: control words, and the stack on which the host puts signal frames.
//!
//! The guest can write all of it at any time. Nothing that is read here is trusted: a wrong word is [`PlatformError::Tampered`]
//! or, where it is only a wrong register, the guest's own affair.
//!
//! While it is the Sentry's turn the stub waits. A thread that a signal has stopped returns through the signal frame when it gets
//! its turn: what the Sentry writes there become its registers. One that has come through the gate has its registers in control words
//! and no signal frame; it is made to have one (`Area::want_frame`) when the Sentry wants what only a frame holds.

use std::time::Duration;

use super::answers::Answers;
use super::layout::{AREA, Layout, area_offset, known_offset};
use super::shm::{Part, Shm};
use super::stub;
use crate::api::{PlatformError, Registers};
use crate::guest_process::TASK_SIZE;
use crate::guest_process::registers::{USER_CS, USER_DS, USER32_CS};
use crate::guest_process::xstate::Layout as Extended;

/// Control words.
pub(super) mod control {
    /// Whose turn it is.
    pub(in crate::systrap) const TURN: u64 = 0;
    /// The Sentry thread sleeps: to be woken when it has its turn.
    pub(in crate::systrap) const SENTRY_WAITS: u64 = 4;
    /// The stub sleeps.
    pub(in crate::systrap) const STUB_WAITS: u64 = 8;
    /// How many times the stub looks whether it has its turn before it sleeps.
    pub(in crate::systrap) const SPIN: u64 = 12;
    /// The stub shall load the segment bases.
    pub(in crate::systrap) const SET_BASES: u64 = 16;
    /// The signal that the thread was stopped by.
    pub(in crate::systrap) const SIGNAL: u64 = 20;
    /// Eight bytes into the signal frame: where rt_sigreturn(2) wants the stack pointer.
    pub(in crate::systrap) const FRAME: u64 = 24;
    /// Segment bases.
    pub(in crate::systrap) const FS_BASE: u64 = 32;
    pub(in crate::systrap) const GS_BASE: u64 = 40;
    /// [`MARK`](super::MARK): the segment GS is the area.
    pub(in crate::systrap) const MARK: u64 = 48;
    /// Somebody sent the thread a signal when it was in the Sentry's hands by way of the gate.
    pub(in crate::systrap) const KICKED: u64 = 56;
    /// Counts calls that were signals and answered by the stub.
    pub(in crate::systrap) const ANSWERED: u64 = 60;
    /// Registers of a thread that came through the gate: in the order of a signal frame, up to the flags.
    pub(in crate::systrap) const REGISTERS: u64 = 64;
    /// The guest's signal mask.
    pub(in crate::systrap) const MASK: u64 = 208;
    /// Its robust list.
    pub(in crate::systrap) const ROBUST_LIST: u64 = 216;
    /// One past the last.
    pub(super) const END: u64 = 256;
}

/// What [`control::MARK`] holds: a number that a guest's own GS segment does not have there, and whose negative an instruction can add.
pub(super) const MARK: i64 = 0x52ab_9e37;

/// Values of [`control::TURN`].
const TO_SENTRY: u32 = 0;
pub(super) const TO_GUEST: u32 = 1;
const TO_EXIT: u32 = 2;
/// To guest code, out of the gate.
pub(super) const TO_GATE: u32 = 3;
/// Out of the gate and into a signal frame, for the Sentry.
pub(super) const TO_FRAME: u32 = 4;

/// Places in a signal frame (struct rt_sigframe in arch/x86/include/asm/sigframe.h), from where FRAME points:
/// struct ucontext, then siginfo.
pub(super) mod frame {
    pub(super) const FLAGS: u64 = 0;
    pub(super) const STACK: u64 = 16;
    pub(super) const REGISTERS: u64 = 40;
    /// Words of the registers: r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, flags, selectors, error, trap number,
    /// mask, cr2.
    pub(super) const WORDS: usize = 23;
    /// The word of rax.
    pub(in crate::systrap) const RAX: u64 = REGISTERS + 13 * 8;
    /// The word of r11.
    pub(in crate::systrap) const R11: u64 = REGISTERS + 3 * 8;
    /// The word of rip.
    pub(in crate::systrap) const RIP: u64 = REGISTERS + 16 * 8;
    /// The word of the flags.
    pub(in crate::systrap) const EFLAGS: u64 = REGISTERS + 17 * 8;
    pub(super) const EXTENDED: u64 = 224;
    pub(super) const MASK: u64 = 296;
    pub(super) const INFO: u64 = 304;
    pub(super) const SIZE: u64 = 432;
}

/// Places in a siginfo.
pub(super) mod info {
    pub(in crate::systrap) const CODE: u64 = 8;
    pub(super) const ADDRESS: u64 = 16;
    /// Of SIGSYS.
    pub(super) const CALL: u64 = 24;
    pub(in crate::systrap) const ARCHITECTURE: u64 = 28;
}

/// uc_flags: there is an XSAVE area, and the stack segment is to be loaded.
const UC_FLAGS: u64 = 7;
const SS_AUTODISARM: u32 = 1 << 31;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
/// Where the host's own words are in the XSAVE area (struct _fpx_sw_bytes).
const SOFTWARE: u64 = 464;

/// How long a Sentry thread waits before it looks whether the guest thread is still there.
const LOOK: Duration = Duration::from_millis(100);

/// A guest thread stopped by a signal, as its frame says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stopped {
    /// 0: by the gate, at a call.
    pub(super) signal: i32,
    pub(super) code: i32,
    pub(super) address: u64,
    /// Of SIGSYS: number and architecture of the call.
    pub(super) call: i32,
    pub(super) architecture: u32,
    /// Of exceptions: error code and vector.
    pub(super) error: u64,
    pub(super) vector: u64,
}

/// See the module.
pub(super) struct Area {
    part: Part,
    /// What the frame holds, as far as the Sentry knows.
    held_bases: (u64, u64),
    frame: u64,
    /// Its thread came through the gate last, and has no frame.
    in_gate: bool,
    /// Whose turn the Sentry has made it last.
    turn: u32,
}

/// Of flags: single step.
pub(super) const TRAP_FLAG: u64 = 1 << 8;

const ENOSYS: u64 = -(libc::ENOSYS as i64) as u64;

fn word(bytes: &[u8], at: u64) -> u64 {
    let at = at as usize;
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn half(bytes: &[u8], at: u64) -> u32 {
    let at = at as usize;
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// Where guest code can be.
fn is_user_address(address: u64) -> bool {
    address < TASK_SIZE
}

/// What the gate has stored.
fn stored(head: &[u8], regs: &mut Registers) {
    let r = |n: u64| word(head, control::REGISTERS + n * 8);
    *regs = Registers {
        r8: r(0),
        r9: r(1),
        r10: r(2),
        // As the CPU's `syscall` leaves them.
        r11: r(17),
        rcx: r(16),
        r12: r(4),
        r13: r(5),
        r14: r(6),
        r15: r(7),
        rdi: r(8),
        rsi: r(9),
        rbp: r(10),
        rbx: r(11),
        rdx: r(12),
        rax: r(13),
        rsp: r(15),
        rip: r(16),
        eflags: r(17),
        cs: USER_CS,
        ss: USER_DS,
        orig_rax: u64::MAX,
        ..Registers::default()
    };
}

fn tampered() -> PlatformError {
    PlatformError::Tampered("a word of its area is not what the stub writes")
}

impl Area {
    pub(super) fn new(part: Part) -> Area {
        Area { part, held_bases: (0, 0), frame: 0, in_gate: false, turn: TO_GUEST }
    }

    pub(super) fn slot(&self) -> u32 {
        self.part.slot()
    }

    fn at(&self, word: u64) -> u64 {
        self.part.offset() + word
    }

    fn shm(&self) -> &Shm {
        self.part.shm()
    }

    fn read_word(&self, word: u64) -> Result<u64, PlatformError> {
        let mut bytes = [0; 8];
        self.shm().read(self.at(word), &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write_word(&self, word: u64, value: u64) -> Result<(), PlatformError> {
        self.shm().write(self.at(word), &value.to_le_bytes())
    }

    /// Whether its thread waits in the gate, without a frame.
    pub(super) fn in_gate(&self) -> bool {
        self.in_gate
    }

    /// Whether a thread that waits in the gate can go on with these registers from there: as after a `syscall` instruction.
    pub(super) fn leaves_by_gate(&self, regs: &Registers) -> bool {
        regs.rcx == regs.rip
            && regs.r11 == regs.eflags
            && regs.eflags & TRAP_FLAG == 0
            && regs.cs == USER_CS
            && is_user_address(regs.rip)
    }

    /// Makes a thread that waits in the gate wait in the handler, with a frame that shows its vector registers. It is there within
    /// microseconds, so it is looked for as `spin` says, as for any other hand-over, before the calling thread sleeps.
    pub(super) fn want_frame(
        &mut self,
        layout: Layout,
        spin: u32,
        look: impl FnMut() -> Result<(), PlatformError>,
    ) -> Result<(), PlatformError> {
        self.turn = TO_FRAME;
        self.pass(TO_FRAME);
        self.wait(spin, look)?;
        let mut regs = Registers::default();
        let stopped = self.fetch(layout, &mut regs)?;
        let there = stopped.signal == libc::SIGSEGV && regs.rip == stub::stop(layout) && !self.in_gate;
        if there { Ok(()) } else { Err(tampered()) }
    }

    /// Registers that the gate has stored.
    pub(super) fn stored(&self, regs: &mut Registers) -> Result<(), PlatformError> {
        let mut head = [0u8; control::END as usize];
        self.shm().read(self.at(0), &mut head)?;
        stored(&head, regs);
        Ok(())
    }

    /// The stack pointer that the gate has stored.
    pub(super) fn stored_rsp(&self) -> Result<u64, PlatformError> {
        self.read_word(control::REGISTERS + 15 * 8)
    }

    /// Makes a frame for a thread that waits and has none, or none that matters any more.
    pub(super) fn build(
        &mut self,
        layout: Layout,
        xsave: &[u8],
        shape: &Extended,
    ) -> Result<(), PlatformError> {
        let base = layout.area(self.slot());
        let size = shape.shape.size as u64;
        let extended = (AREA - size - 4) & !63;
        // As the host aligns it: so that the stack is as after a call.
        self.frame = (extended - frame::SIZE - 8) & !15;
        self.write_word(control::MARK, MARK as u64)?;
        self.write_word(control::FRAME, base + self.frame)?;
        self.write_word(self.frame + frame::FLAGS, UC_FLAGS)?;
        self.write_word(self.frame + frame::FLAGS + 8, 0)?;
        self.write_word(self.frame + frame::STACK, base + control::END)?;
        self.write_word(self.frame + frame::STACK + 8, SS_AUTODISARM.into())?;
        self.write_word(self.frame + frame::STACK + 16, AREA - control::END)?;
        self.write_word(self.frame + frame::MASK, 0)?;
        self.write_word(self.frame + frame::EXTENDED, base + extended)?;
        self.shm().write(self.at(self.frame + frame::REGISTERS), &[0; frame::WORDS * 8])?;
        self.set_extended(layout, xsave, shape)?;
        // The thread's own are unknown.
        self.held_bases = (u64::MAX, u64::MAX);
        Ok(())
    }

    /// Where the frame's XSAVE area is.
    fn extended(&self, layout: Layout, size: usize) -> Result<u64, PlatformError> {
        let at = self.read_word(self.frame + frame::EXTENDED)?.wrapping_sub(layout.area(self.slot()));
        let fits = at.is_multiple_of(64) && at >= control::END && at <= AREA - size as u64 - 4;
        if fits { Ok(at) } else { Err(tampered()) }
    }

    /// Replaces the XSAVE area, which must be one that the host takes.
    pub(super) fn set_extended(
        &mut self,
        layout: Layout,
        xsave: &[u8],
        shape: &Extended,
    ) -> Result<(), PlatformError> {
        let size = shape.shape.size;
        let at = self.extended(layout, size)?;
        self.shm().write(self.at(at), &xsave[..size])?;
        let mut software = [0u8; 48];
        software[..4].copy_from_slice(&MAGIC1.to_le_bytes());
        software[4..8].copy_from_slice(&(size as u32 + 4).to_le_bytes());
        software[8..16].copy_from_slice(&shape.shape.features.to_le_bytes());
        software[16..20].copy_from_slice(&(size as u32).to_le_bytes());
        self.shm().write(self.at(at + SOFTWARE), &software)?;
        self.shm().write(self.at(at + size as u64), &MAGIC2.to_le_bytes())
    }

    /// Reads the XSAVE area, as the guest may have changed it.
    pub(super) fn read_extended(&self, layout: Layout, xsave: &mut [u8]) -> Result<(), PlatformError> {
        let at = self.extended(layout, xsave.len())?;
        self.shm().read(self.at(at), xsave)
    }

    /// Gives the thread these registers. `gate`: calls may come through the gate, so that GS, if the guest does not use it, is
    /// the area.
    pub(super) fn load(&mut self, layout: Layout, regs: &Registers, gate: bool) -> Result<(), PlatformError> {
        let cs = if regs.cs == USER32_CS { USER32_CS } else { USER_CS };
        let words = [
            regs.r8,
            regs.r9,
            regs.r10,
            regs.r11,
            regs.r12,
            regs.r13,
            regs.r14,
            regs.r15,
            regs.rdi,
            regs.rsi,
            regs.rbp,
            regs.rbx,
            regs.rdx,
            regs.rax,
            regs.rcx,
            regs.rsp,
            regs.rip,
            regs.eflags,
            cs | USER_DS << 48,
        ];
        let mut bytes = [0u8; 19 * 8];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        if self.in_gate {
            let words = &bytes[..18 * 8];
            self.shm().write(self.at(control::REGISTERS), words)?;
        } else {
            self.shm().write(self.at(self.frame + frame::REGISTERS), &bytes)?;
        }
        // What a guest has set itself and the CPU would not take from the stub stays as it is.
        let canonical = |base: u64| (base as i64) << 16 >> 16 == base as i64;
        let gs_base = if gate && regs.gs_base == 0 { layout.area(self.slot()) } else { regs.gs_base };
        let want = (regs.fs_base, gs_base);
        let change = want != self.held_bases && canonical(want.0) && canonical(want.1);
        if change {
            self.write_word(control::FS_BASE, want.0)?;
            self.write_word(control::GS_BASE, want.1)?;
        }
        self.shm().store(self.at(control::SET_BASES), change.into());
        Ok(())
    }

    /// Reads what stopped the thread, and its registers.
    pub(super) fn fetch(&mut self, layout: Layout, regs: &mut Registers) -> Result<Stopped, PlatformError> {
        let mut head = [0u8; control::END as usize];
        self.shm().read(self.at(0), &mut head)?;
        self.held_bases = (word(&head, control::FS_BASE), word(&head, control::GS_BASE));
        let gs_base = if self.held_bases.1 == layout.area(self.slot()) { 0 } else { self.held_bases.1 };
        let signal = half(&head, control::SIGNAL) as i32;
        self.in_gate = signal == 0;
        if self.in_gate {
            stored(&head, regs);
            (regs.fs_base, regs.gs_base) = (self.held_bases.0, gs_base);
            regs.orig_rax = std::mem::replace(&mut regs.rax, ENOSYS);
            return Ok(Stopped::default());
        }
        self.frame = word(&head, control::FRAME).wrapping_sub(layout.area(self.slot()));
        if !self.frame.is_multiple_of(8) || self.frame < control::END || self.frame > AREA - frame::SIZE {
            return Err(tampered());
        }
        let mut saved = [0u8; frame::WORDS * 8];
        self.shm().read(self.at(self.frame + frame::REGISTERS), &mut saved)?;
        let mut signal_info = [0u8; 32];
        self.shm().read(self.at(self.frame + frame::INFO), &mut signal_info)?;
        let r = |n: u64| word(&saved, n * 8);
        *regs = Registers {
            r8: r(0),
            r9: r(1),
            r10: r(2),
            r11: r(3),
            r12: r(4),
            r13: r(5),
            r14: r(6),
            r15: r(7),
            rdi: r(8),
            rsi: r(9),
            rbp: r(10),
            rbx: r(11),
            rdx: r(12),
            rax: r(13),
            rcx: r(14),
            rsp: r(15),
            rip: r(16),
            eflags: r(17),
            cs: r(18) & 0xffff,
            ss: r(18) >> 48,
            orig_rax: u64::MAX,
            fs_base: self.held_bases.0,
            gs_base,
            ds: 0,
            es: 0,
            fs: 0,
            gs: 0,
        };
        Ok(Stopped {
            signal,
            code: half(&signal_info, info::CODE) as i32,
            address: word(&signal_info, info::ADDRESS),
            call: half(&signal_info, info::CALL) as i32,
            architecture: half(&signal_info, info::ARCHITECTURE),
            error: r(19),
            vector: r(20),
        })
    }

    /// For a thread that does not exist yet.
    pub(super) fn begin(&mut self) {
        // The last one may have ended in the gate.
        self.in_gate = false;
        self.shm().store(self.at(control::STUB_WAITS), 0);
        self.shm().store(self.at(control::SENTRY_WAITS), 0);
        self.shm().store(self.at(control::TURN), TO_SENTRY);
    }

    /// Gives the thread its turn; next time it looks that often before it sleeps. Whether it was awake.
    pub(super) fn resume(&mut self, stub_spin: u32) -> bool {
        self.shm().store(self.at(control::SPIN), stub_spin);
        self.turn = if self.in_gate { TO_GATE } else { TO_GUEST };
        self.pass(self.turn)
    }

    /// Makes a waiting thread end.
    pub(super) fn end(&self) {
        self.pass(TO_EXIT);
    }

    fn pass(&self, turn: u32) -> bool {
        self.shm().swap(self.at(control::TURN), turn);
        let waits = self.shm().load(self.at(control::STUB_WAITS)) != 0;
        if waits {
            host::futex::wake(self.shm().word(self.at(control::TURN)));
        }
        !waits
    }

    /// Whether it is the Sentry's turn.
    fn is_back(&self) -> Result<bool, PlatformError> {
        match self.shm().load(self.at(control::TURN)) {
            TO_SENTRY => Ok(true),
            turn if turn == self.turn => Ok(false),
            _ => Err(tampered()),
        }
    }

    /// Waits until the thread has stopped: looks `spin` times, then sleeps. From time to time, calls `look`. Whether it came
    /// while spinning.
    pub(super) fn wait(
        &self,
        spin: u32,
        mut look: impl FnMut() -> Result<(), PlatformError>,
    ) -> Result<bool, PlatformError> {
        for _ in 0..spin {
            if self.is_back()? {
                return Ok(true);
            }
            std::hint::spin_loop();
        }
        let (turn, waits) = (self.shm().word(self.at(control::TURN)), self.at(control::SENTRY_WAITS));
        self.shm().swap(waits, 1);
        while !self.is_back()? {
            let waited = host::futex::wait(turn, self.turn, LOOK);
            if waited.is_err_and(|e| e.raw_os_error() == Some(libc::ETIMEDOUT)) {
                look()?;
            }
        }
        self.shm().store(waits, 0);
        Ok(false)
    }

    /// Shows its thread what `answers` holds. The thread waits.
    pub(super) fn show(&self, answers: &Answers) {
        answers.attach(self.part.shm(), known_offset(self.slot()), area_offset(self.slot()));
    }

    /// Where it is in a process, and in the file.
    pub(super) fn place(&self, layout: Layout) -> (u64, u64) {
        (layout.area(self.slot()), area_offset(self.slot()))
    }
}
