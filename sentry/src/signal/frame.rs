//! What a handler finds on its stack, and the way back (sigreturn(2)); x86-64.
//!
//! From high to low addresses: the XSAVE area in standard form (64-byte aligned) with Linux's software bytes and end
//! mark, then `struct rt_sigframe` = return address, `struct ucontext`, `siginfo_t`, such that rsp + 8 is 16-byte
//! aligned at the handler's entry. The same layout as Linux's: unwinders, Go and the JVM read it.

use abi::Errno;
use abi::signal::{SaFlags, SigAction, SigInfo, SigSet, SigStack, Signal, SsFlags};
use abi::ucontext::{
    FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2, FPX_SW_OFFSET, FXSAVE_SIZE, FpxSwBytes, SigContext, UContext,
    UcFlags, XSAVE_HEADER_SIZE,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::{AltStack, flags, force};
use crate::mm::{UserAddr, UserRef};
use crate::task::CurrentTask;

const RED_ZONE: u64 = 128;
const RETURN_ADDRESS: u64 = 8;
const UCONTEXT: u64 = size_of::<UContext>() as u64;
const FRAME: u64 = RETURN_ADDRESS + UCONTEXT + size_of::<SigInfo>() as u64;
const USER_CS: u64 = 0x33;
const USER_SS: u64 = 0x2b;
/// Flags that a handler starts without: direction, resume, trap.
const EFLAGS_CLEARED: u64 = 0x400 | 0x1_0000 | 0x100;
/// Flags that sigreturn may change (FIX_EFLAGS of Linux).
const EFLAGS_RESTORED: u64 = 0x5_0dd5;

impl CurrentTask {
    /// Puts a frame on the stack and sends the task into the handler. EFAULT when the stack does not take it.
    pub(super) fn push_signal_frame(
        &mut self,
        signal: Signal,
        info: &SigInfo,
        action: &SigAction,
        old_mask: SigSet,
    ) -> Result<(), Errno> {
        let action_flags = flags(action);
        if !action_flags.contains(SaFlags::RESTORER) {
            return Err(Errno::EFAULT);
        }
        let alt = self.task().signals.lock().alt_stack;
        let rsp = self.regs.rsp;
        let on_alt = alt.in_use(rsp);
        let mut top = rsp.wrapping_sub(RED_ZONE);
        let mut entering_alt = false;
        if action_flags.contains(SaFlags::ONSTACK) && alt.size != 0 && !alt.in_use(rsp) {
            top = alt.base.wrapping_add(alt.size);
            entering_alt = true;
        }
        let area = self.fpu()?.to_vec();
        let fp_at = top.wrapping_sub(area.len() as u64 + 4) & !63;
        let at = (fp_at.wrapping_sub(FRAME) & !15).wrapping_sub(8);
        if (on_alt || entering_alt) && !alt.contains(at) {
            return Err(Errno::EFAULT);
        }
        self.write_fp_area(fp_at, area)?;

        let context = UContext {
            uc_flags: (UcFlags::FP_XSTATE | UcFlags::SIGCONTEXT_SS | UcFlags::STRICT_RESTORE_SS).bits(),
            uc_link: 0,
            uc_stack: SigStack { ss_sp: alt.base, ss_flags: alt.flags.bits(), pad: 0, ss_size: alt.size },
            uc_mcontext: self.signal_context(old_mask, fp_at),
            uc_sigmask: old_mask,
        };
        let mut frame = [0u8; FRAME as usize];
        frame[..8].copy_from_slice(&action.sa_restorer.to_ne_bytes());
        frame[8..8 + UCONTEXT as usize].copy_from_slice(context.as_bytes());
        frame[8 + UCONTEXT as usize..].copy_from_slice(info.as_bytes());
        self.copy_out(UserAddr(at), &frame)?;

        if alt.flags.contains(SsFlags::AUTODISARM) {
            self.task().signals.lock().alt_stack = AltStack::RESET;
        }
        self.regs.rdi = u64::from(signal.number());
        self.regs.rsi = at + RETURN_ADDRESS + UCONTEXT;
        self.regs.rdx = at + RETURN_ADDRESS;
        self.regs.rax = 0;
        self.regs.rip = action.sa_handler;
        self.regs.rsp = at;
        self.regs.cs = USER_CS;
        self.regs.ss = USER_SS;
        self.regs.eflags &= !EFLAGS_CLEARED;
        self.regs.orig_rax = u64::MAX;
        self.reset_fpu()
    }

    /// The XSAVE area with the software bytes that say how long it is, and the end mark.
    fn write_fp_area(&self, at: u64, mut area: Vec<u8>) -> Result<(), Errno> {
        let len = area.len();
        let software = FpxSwBytes {
            magic1: FP_XSTATE_MAGIC1,
            extended_size: len as u32 + 4,
            xfeatures: self.kernel().xstate().features,
            xstate_size: len as u32,
            padding: [0; 7],
        };
        if let Some(place) = area.get_mut(FPX_SW_OFFSET..FPX_SW_OFFSET + size_of::<FpxSwBytes>()) {
            place.copy_from_slice(software.as_bytes());
        }
        // Linux always says that x87 and SSE state are there.
        if let Some(xstate_bv) = area.get_mut(FXSAVE_SIZE) {
            *xstate_bv |= 3;
        }
        area.extend_from_slice(&FP_XSTATE_MAGIC2.to_ne_bytes());
        self.copy_out(UserAddr(at), &area)
    }

    fn signal_context(&self, old_mask: SigSet, fpstate: u64) -> SigContext {
        let regs = &self.regs;
        let fault = self.last_fault;
        SigContext {
            r8: regs.r8,
            r9: regs.r9,
            r10: regs.r10,
            r11: regs.r11,
            r12: regs.r12,
            r13: regs.r13,
            r14: regs.r14,
            r15: regs.r15,
            di: regs.rdi,
            si: regs.rsi,
            bp: regs.rbp,
            bx: regs.rbx,
            dx: regs.rdx,
            ax: regs.rax,
            cx: regs.rcx,
            sp: regs.rsp,
            ip: regs.rip,
            flags: regs.eflags,
            cs: regs.cs as u16,
            gs: 0,
            fs: 0,
            ss: regs.ss as u16,
            err: fault.error,
            trapno: fault.trap,
            oldmask: old_mask.0,
            cr2: fault.address,
            fpstate,
            reserved1: [0; 8],
        }
    }

    /// rt_sigreturn(2): back to where the handler was entered. A broken frame is SIGSEGV.
    pub fn signal_return(&mut self) -> u64 {
        let at = self.regs.rsp.wrapping_sub(RETURN_ADDRESS);
        if self.restore_frame(at).is_err() {
            tracing::debug!(pid = self.tgid(), at, "broken signal frame");
            force(self.task(), Signal::SIGSEGV, SigInfo::kernel(Signal::SIGSEGV));
        }
        self.regs.orig_rax = u64::MAX;
        self.regs.rax
    }

    fn restore_frame(&mut self, at: u64) -> Result<(), Errno> {
        let context: UContext = self.read_obj(UserRef::new(UserAddr(at).add(RETURN_ADDRESS)?))?;
        self.set_mask(context.uc_sigmask);
        let m = &context.uc_mcontext;
        let regs = &mut self.regs;
        regs.r8 = m.r8;
        regs.r9 = m.r9;
        regs.r10 = m.r10;
        regs.r11 = m.r11;
        regs.r12 = m.r12;
        regs.r13 = m.r13;
        regs.r14 = m.r14;
        regs.r15 = m.r15;
        regs.rdi = m.di;
        regs.rsi = m.si;
        regs.rbp = m.bp;
        regs.rbx = m.bx;
        regs.rdx = m.dx;
        regs.rax = m.ax;
        regs.rcx = m.cx;
        regs.rsp = m.sp;
        regs.rip = m.ip;
        regs.eflags = regs.eflags & !EFLAGS_RESTORED | m.flags & EFLAGS_RESTORED;
        // 32-bit code segments are not supported: the selectors stay those of 64-bit code.
        regs.cs = USER_CS;
        regs.ss = USER_SS;
        self.restore_fp_area(m.fpstate)?;
        self.restore_alt_stack(&context.uc_stack);
        Ok(())
    }

    fn restore_fp_area(&mut self, at: u64) -> Result<(), Errno> {
        if at == 0 {
            return self.reset_fpu();
        }
        let whole = self.kernel().xstate().size;
        let mut area = vec![0u8; whole.max(FXSAVE_SIZE)];
        self.copy_in(UserAddr(at), &mut area[..FXSAVE_SIZE])?;
        let software = area.get(FPX_SW_OFFSET..FXSAVE_SIZE).ok_or(Errno::EFAULT)?;
        let software =
            FpxSwBytes::read_from_prefix(software).map_or_else(|_| FpxSwBytes::new_zeroed(), |s| s.0);
        let size = software.xstate_size as usize;
        let extended = software.magic1 == FP_XSTATE_MAGIC1
            && size >= FXSAVE_SIZE + XSAVE_HEADER_SIZE
            && size <= whole
            && software.extended_size as usize >= size + 4;
        let mut used = FXSAVE_SIZE;
        if extended {
            let end: u32 = self.read_obj(UserRef::new(UserAddr(at).add(size as u64)?))?;
            if end == FP_XSTATE_MAGIC2 {
                self.copy_in(UserAddr(at).add(FXSAVE_SIZE as u64)?, &mut area[FXSAVE_SIZE..size])?;
                used = size;
            }
        }
        area.truncate(used);
        if !self.kernel().xstate().accepts(&area) {
            return Err(Errno::EFAULT);
        }
        self.set_fpu(&area)
    }

    /// As sigaltstack(2) would set it; Linux ignores what that would refuse.
    fn restore_alt_stack(&mut self, stack: &SigStack) {
        let stack_flags = SsFlags::from_bits_retain(stack.ss_flags);
        let alt = AltStack { base: stack.ss_sp, size: stack.ss_size, flags: stack_flags - SsFlags::ONSTACK };
        let mut signals = self.task().signals.lock();
        if !signals.alt_stack.in_use(self.regs.rsp) && (SsFlags::all() - SsFlags::ONSTACK).contains(alt.flags)
        {
            signals.alt_stack = if alt.flags.contains(SsFlags::DISABLE) { AltStack::RESET } else { alt };
        }
    }
}
