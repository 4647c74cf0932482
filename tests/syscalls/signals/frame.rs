//! What a handler finds in its ucontext, and what sigreturn makes of it.

use std::arch::asm;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::kit::prelude::*;

fn registers<'a>(context: *mut ucontext_t) -> &'a mut [i64; 23] {
    // SAFETY: the kernel passes a context that lives as long as the handler runs.
    unsafe { &mut (*context).uc_mcontext.gregs }
}

static SEEN: [AtomicU64; 23] = [const { AtomicU64::new(0) }; 23];

extern "C" fn save(_: c_int, _: *mut siginfo_t, context: *mut ucontext_t) {
    for (slot, value) in SEEN.iter().zip(registers(context)) {
        slot.store(*value as u64, Ordering::SeqCst);
    }
    // SAFETY: clobbers everything that the frame must bring back.
    unsafe {
        asm!(
            "mov rdi, -1", "mov rsi, -1", "mov rdx, -1", "mov r8, -1", "mov r9, -1", "mov r10, -1", "mov r11, -1",
            "std", "stc", "cld",
            out("rdi") _, out("rsi") _, out("rdx") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
}

case!(registers_are_kept_over_a_handler: rt_sigaction, rt_sigreturn, tgkill);
fn registers_are_kept_over_a_handler() {
    sig::on(SIGUSR1, save, 0);
    let (pid, tid) = (ok(sys!(getpid)), ok(sys!(gettid)));
    let (rax, r8, r9, r10, r12, r13, r14, r15): (i64, u64, u64, u64, u64, u64, u64, u64);
    // SAFETY: tgkill to this thread; the handler runs on the way back.
    unsafe {
        asm!(
            "mov r8, 0x808", "mov r9, 0x909", "mov r10, 0x1010", "mov r12, 0x1212", "mov r13, 0x1313",
            "mov r14, 0x1414", "mov r15, 0x1515",
            "syscall",
            inlateout("rax") nr::tgkill => rax, in("rdi") pid, in("rsi") tid, in("rdx") SIGUSR1,
            out("r8") r8, out("r9") r9, out("r10") r10, out("r12") r12, out("r13") r13, out("r14") r14, out("r15") r15,
            out("rcx") _, out("r11") _,
        );
    }
    eq(rax, 0);
    eq([r8, r9, r10, r12, r13, r14, r15], [0x808, 0x909, 0x1010, 0x1212, 0x1313, 0x1414, 0x1515]);
    let seen = |reg: c_int| SEEN[reg as usize].load(Ordering::SeqCst);
    eq(seen(REG_R8), 0x808);
    eq(seen(REG_R15), 0x1515);
    eq_of("rax holds the result", seen(REG_RAX), 0);
    eq_of("rdi is kept", seen(REG_RDI), pid as u64);
    eq_of("rcx is rip", seen(REG_RCX), seen(REG_RIP));
    eq_of("r11 is rflags", seen(REG_R11) & 0xcd5, seen(REG_EFL) & 0xcd5);
}

extern "C" fn change(_: c_int, _: *mut siginfo_t, context: *mut ucontext_t) {
    let registers = registers(context);
    registers[REG_R12 as usize] = 0xc12;
    registers[REG_RAX as usize] = 0xaa;
    registers[REG_RBX as usize] ^= 0;
    registers[REG_EFL as usize] |= 1;
}

case!(changes_take_effect: rt_sigreturn);
fn changes_take_effect() {
    sig::on(SIGUSR1, change, 0);
    let (pid, tid) = (ok(sys!(getpid)), ok(sys!(gettid)));
    let (rax, r12, carry): (i64, u64, u8);
    // SAFETY: as above; the handler changes what is declared as output.
    unsafe {
        asm!(
            "clc", "syscall", "setc {carry}",
            carry = out(reg_byte) carry,
            inlateout("rax") nr::tgkill => rax, in("rdi") pid, in("rsi") tid, in("rdx") SIGUSR1,
            out("r12") r12, out("rcx") _, out("r11") _,
        );
    }
    eq((rax, r12, carry), (0xaa, 0xc12, 1));
}

extern "C" fn redirect(_: c_int, _: *mut siginfo_t, context: *mut ucontext_t) {
    registers(context)[REG_RIP as usize] = TARGET.load(Ordering::SeqCst) as i64;
}
static TARGET: AtomicUsize = AtomicUsize::new(0);

case!(instruction_pointer_can_be_moved: rt_sigreturn);
fn instruction_pointer_can_be_moved() {
    sig::on(SIGUSR1, redirect, 0);
    let (pid, tid) = (ok(sys!(getpid)), ok(sys!(gettid)));
    let which: u64;
    // SAFETY: the handler moves rip to the second label.
    unsafe {
        asm!(
            "lea r12, [rip + 3f]",
            "mov [r13], r12",
            "syscall",
            "mov r12, 1",
            "jmp 4f",
            "3: mov r12, 2",
            "4: nop",
            inlateout("rax") nr::tgkill => _, in("rdi") pid, in("rsi") tid, in("rdx") SIGUSR1,
            in("r13") TARGET.as_ptr(), out("r12") which, out("rcx") _, out("r11") _,
        );
    }
    eq(which, 2);
}

extern "C" fn change_mask(_: c_int, _: *mut siginfo_t, context: *mut ucontext_t) {
    // SAFETY: uc_sigmask follows the registers; its first 8 bytes are the kernel's mask.
    let mask = unsafe { &mut *(&raw mut (*context).uc_sigmask).cast::<u64>() };
    MASK.store(*mask, Ordering::SeqCst);
    *mask = u64::MAX;
}
static MASK: AtomicU64 = AtomicU64::new(0);

case!(mask_is_in_the_frame: rt_sigreturn, rt_sigprocmask);
fn mask_is_in_the_frame() {
    sig::set_mask(sig::bit(SIGHUP));
    sig::on(SIGUSR1, change_mask, 0);
    sig::raise(SIGUSR1);
    eq_of("the mask of before", MASK.load(Ordering::SeqCst), sig::bit(SIGHUP));
    eq(sig::mask(), !(sig::bit(SIGKILL) | sig::bit(SIGSTOP)));
}

static FRAME: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

extern "C" fn inspect(_: c_int, info: *mut siginfo_t, context: *mut ucontext_t) {
    let context_at = context as u64;
    // SAFETY: the kernel passes a whole context.
    let (flags, stack, fp) =
        unsafe { ((*context).uc_flags, (*context).uc_stack.ss_flags, (*context).uc_mcontext.fpregs as u64) };
    // SAFETY: the frame begins with the return address, just below the context.
    let return_address = unsafe { *(context_at as *const u64).sub(1) };
    let segments = registers(context)[REG_CSGSFS as usize] as u64;
    for (slot, value) in
        FRAME.iter().zip([flags, stack as u64, fp, return_address, segments, context_at, info as u64, 0])
    {
        slot.store(value, Ordering::SeqCst);
    }
}

case!(layout: rt_sigaction);
fn layout() {
    sig::on(SIGUSR1, inspect, 0);
    sig::raise(SIGUSR1);
    let word = |i: usize| FRAME[i].load(Ordering::SeqCst);
    eq_of("uc_flags: XSAVE state, SS saved and honoured", word(0), 7);
    eq_of("flags of an alternate stack that was never set", word(1), 0);
    eq_of("state is aligned to 64 bytes", word(2) % 64, 0);
    eq_of("return address", word(3), sig::restorer() as u64);
    eq_of("code segment", word(4) & 0xffff, 0x33);
    eq_of("stack segment", word(4) >> 48, 0x2b);
    eq_of("the frame starts 8 below a 16-byte border", (word(5) - 8) % 16, 8);
    check(word(6) > word(5), "siginfo lies behind the context");
}

extern "C" fn break_stack(_: c_int, _: *mut siginfo_t, context: *mut ucontext_t) {
    registers(context)[REG_RSP as usize] = 0;
    registers(context)[REG_CSGSFS as usize] = 0;
}

case!(broken_segments_kill: rt_sigreturn);
fn broken_segments_kill() {
    fork(|| {
        sig::on(SIGUSR1, break_stack, 0);
        sig::raise(SIGUSR1);
        // With the selectors gone the kernel puts usable ones in or kills; the null stack kills in any case.
        let _ = sys!(getpid);
    })
    .dies_of(SIGSEGV);
}

case!(sigreturn_without_a_frame: rt_sigreturn);
fn sigreturn_without_a_frame() {
    fork(|| {
        let area = map(PAGE, RW);
        // SAFETY: the case wants the kernel to find no frame: rsp is put at the end of a page with nothing behind.
        unsafe {
            asm!("mov rsp, {}", "syscall", "ud2", in(reg) area + PAGE - 16, in("rax") nr::rt_sigreturn, options(noreturn))
        }
    })
    .dies_of(SIGSEGV);
}

case!(no_restorer_kills: rt_sigaction);
fn no_restorer_kills() {
    fork(|| {
        let mut action = sig::action(sig::record, 0, 0);
        action.flags &= !sig::SA_RESTORER;
        action.restorer = 0;
        sig::set(SIGUSR1, action);
        sig::raise(SIGUSR1);
    })
    .dies_of(SIGSEGV);
}

extern "C" fn wild_rip(_: c_int, _: *mut siginfo_t, context: *mut ucontext_t) {
    registers(context)[REG_RIP as usize] = 0x8000_0000_0000_0000u64 as i64;
}

case!(non_canonical_rip: rt_sigreturn);
fn non_canonical_rip() {
    fork(|| {
        sig::on(SIGUSR1, wild_rip, 0);
        sig::raise(SIGUSR1);
    })
    .dies_of(SIGSEGV);
}

case!(flags_that_user_space_may_not_set: rt_sigreturn);
fn flags_that_user_space_may_not_set() {
    extern "C" fn set_all(_: c_int, _: *mut siginfo_t, context: *mut ucontext_t) {
        // IOPL, NT, VIF and so on; not the trap flag, nor direction.
        registers(context)[REG_EFL as usize] |= 0x3000 | 0x4000 | 0x2_0000 | 0x8_0000;
    }
    sig::on(SIGUSR1, set_all, 0);
    sig::raise(SIGUSR1);
    let flags: u64;
    // SAFETY: reads the flags.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags) };
    eq(flags & (0x3000 | 0x4000 | 0x2_0000 | 0x8_0000), 0);
}

case!(direction_flag_is_clear_in_a_handler: rt_sigaction);
fn direction_flag_is_clear_in_a_handler() {
    static FLAGS: AtomicU64 = AtomicU64::new(u64::MAX);
    extern "C" fn note(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
        let flags: u64;
        // SAFETY: reads the flags.
        unsafe { asm!("pushfq", "pop {}", out(reg) flags) };
        FLAGS.store(flags, Ordering::SeqCst);
    }
    sig::on(SIGUSR1, note, 0);
    let (pid, tid) = (ok(sys!(getpid)), ok(sys!(gettid)));
    let after: u64;
    // SAFETY: direction is cleared again at the end.
    unsafe {
        asm!(
            "std", "syscall", "pushfq", "pop {after}", "cld", after = out(reg) after,
            inlateout("rax") nr::tgkill => _, in("rdi") pid, in("rsi") tid, in("rdx") SIGUSR1,
            out("rcx") _, out("r11") _,
        );
    }
    eq(FLAGS.load(Ordering::SeqCst) & 0x400, 0);
    eq_of("and set again afterwards", after & 0x400, 0x400);
}

case!(red_zone_is_kept: rt_sigaction);
fn red_zone_is_kept() {
    sig::on(SIGALRM, sig::record, 0);
    let timer = [0i64, 1000, 0, 1000];
    ok(sys!(setitimer, ITIMER_REAL, &timer, 0));
    let mut bad: u64 = 0;
    while sig::count() < 20 && bad == 0 {
        // SAFETY: the 128 bytes below the stack pointer belong to the function; a handler must not touch them.
        unsafe {
            asm!(
                "sub rsp, 256",
                "mov rax, 0x5a5a",
                "mov [rsp - 8], rax", "mov [rsp - 64], rax", "mov [rsp - 128], rax",
                "mov ecx, 20000",
                "2: dec ecx", "jnz 2b",
                "cmp [rsp - 8], rax", "jne 3f",
                "cmp [rsp - 64], rax", "jne 3f",
                "cmp [rsp - 128], rax", "je 4f",
                "3: mov {bad}, 1",
                "4: add rsp, 256",
                bad = inout(reg) bad, out("rax") _, out("rcx") _,
            );
        }
    }
    eq(bad, 0);
}
