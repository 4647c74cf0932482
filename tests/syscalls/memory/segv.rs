//! Faults and CPU exceptions: signal, si_code and si_addr.

use std::arch::asm;

use crate::kit::prelude::*;

case!(unmapped_address: mmap, munmap, rt_sigaction);
fn unmapped_address() {
    let p = map(PAGE, RW);
    unmap(p, PAGE);
    faults(|| touch(p + 17), SIGSEGV, 1, p + 17);
    faults(|| poke(p + 18, 1), SIGSEGV, 1, p + 18);
    faults(|| jump(p + 16), SIGSEGV, 1, p + 16);
}

case!(null_pointer: rt_sigaction);
fn null_pointer() {
    faults(
        // SAFETY: the fault is what the case wants; assembly, because Rust may take a null access for granted.
        || unsafe { asm!("mov al, [{}]", in(reg) 0usize, out("al") _) },
        SIGSEGV,
        1,
        0,
    );
}

case!(kernel_address: rt_sigaction);
fn kernel_address() {
    faults(|| touch(0xffff_ffff_8000_0000), SIGSEGV, 1, 0xffff_ffff_8000_0000);
}

case!(non_canonical_address: rt_sigaction);
fn non_canonical_address() {
    // A general protection fault: the CPU does not say which address.
    faults(|| touch(0x8000_0000_0000_0000), SIGSEGV, 128, 0);
}

case!(last_address_of_a_mapping: mmap);
fn last_address_of_a_mapping() {
    let p = map(2 * PAGE, RW);
    unmap(p + PAGE, PAGE);
    // An access across the border faults at the first byte that is missing.
    faults(
        // SAFETY: the fault is what the case wants.
        || unsafe { asm!("mov rax, [{}]", in(reg) p + PAGE - 4, out("rax") _) },
        SIGSEGV,
        1,
        p + PAGE,
    );
}

case!(division_by_zero: rt_sigaction);
fn division_by_zero() {
    let info = fault_of(|| {
        // SAFETY: the exception is what the case wants.
        unsafe { asm!("xor edx, edx", "div ecx", in("ecx") 0, inout("eax") 1 => _, out("edx") _) }
    });
    match info {
        Some(info) => {
            eq([info.signal(), info.code()], [SIGFPE, 1]);
            check(info.addr() > 0x1000, "si_addr is the instruction");
        }
        None => fail("no signal"),
    }
}

case!(invalid_instruction: rt_sigaction);
fn invalid_instruction() {
    let p = map(PAGE, RW | PROT_EXEC);
    poke(p, 0x0f);
    poke(p + 1, 0x0b);
    faults(|| jump(p), SIGILL, 2, p);
}

case!(breakpoint: rt_sigaction);
fn breakpoint() {
    // SAFETY: the exception is what the case wants.
    let info = fault_of(|| unsafe { asm!("int3") });
    match info {
        Some(info) => eq([info.signal(), info.code()], [SIGTRAP, 128]),
        None => fail("no signal"),
    }
}

case!(privileged_instruction: rt_sigaction);
fn privileged_instruction() {
    // SAFETY: the exception is what the case wants.
    let info = fault_of(|| unsafe { asm!("hlt") });
    match info {
        Some(info) => eq((info.signal(), info.code(), info.addr()), (SIGSEGV, 128, 0)),
        None => fail("no signal"),
    }
}

case!(single_step_flag: rt_sigaction);
fn single_step_flag() {
    let info = fault_of(|| {
        // SAFETY: the trap is what the case wants.
        unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop") }
    });
    match info {
        Some(info) => eq([info.signal(), info.code()], [SIGTRAP, 2]),
        None => fail("no signal"),
    }
}

case!(simd_exception: rt_sigaction);
fn simd_exception() {
    let info = fault_of(|| {
        let mxcsr: u32 = 0x1f80 & !(1 << 9);
        let (one, zero) = (1.0f64, 0.0f64);
        // SAFETY: the exception is what the case wants.
        unsafe {
            asm!("ldmxcsr [{m}]", "divsd {a}, {b}", m = in(reg) &mxcsr, a = inout(xmm_reg) one => _, b = in(xmm_reg) zero)
        }
    });
    match info {
        Some(info) => eq([info.signal(), info.code()], [SIGFPE, 3]),
        None => fail("no signal"),
    }
}

case!(kills_without_a_handler: exit_group, wait4);
fn kills_without_a_handler() {
    let p = map(PAGE, PROT_NONE);
    fork(|| poke(p, 1)).dies_of(SIGSEGV);
}

case!(blocked_fault_kills: rt_sigprocmask, rt_sigaction);
fn blocked_fault_kills() {
    let p = map(PAGE, PROT_NONE);
    fork(|| {
        sig::on(SIGSEGV, sig::record, 0);
        sig::block(sig::bit(SIGSEGV));
        poke(p, 1);
    })
    .dies_of(SIGSEGV);
    fork(|| {
        sig::ignore(SIGSEGV);
        poke(p, 1);
    })
    .dies_of(SIGSEGV);
}

extern "C" fn make_writable(_: c_int, info: *mut siginfo_t, _: *mut ucontext_t) {
    let page = sig::Info::copy(info).addr() as usize & !(PAGE - 1);
    ok(sys!(mprotect, page, PAGE, RW));
}

case!(handler_mends_and_the_access_goes_on: rt_sigaction, mprotect, rt_sigreturn);
fn handler_mends_and_the_access_goes_on() {
    sig::on(SIGSEGV, make_writable, 0);
    let p = map(4 * PAGE, PROT_READ);
    for i in 0..4 {
        poke(p + i * PAGE, i as u8 + 1);
    }
    for i in 0..4 {
        eq(peek(p + i * PAGE), i as u8 + 1);
    }
}

extern "C" fn skip_instruction(_: c_int, _: *mut siginfo_t, context: *mut ucontext_t) {
    // SAFETY: the kernel passes a context that lives as long as the handler runs.
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    eq_of("trap number of a page fault", registers[REG_TRAPNO as usize], 14);
    check(registers[REG_ERR as usize] & 6 == 6, "error code: a write from user mode");
    registers[REG_RIP as usize] += 3;
}

case!(context_tells_trap_and_error_code: rt_sigaction, rt_sigreturn);
fn context_tells_trap_and_error_code() {
    sig::on(SIGSEGV, skip_instruction, 0);
    let p = map(PAGE, PROT_NONE);
    // SAFETY: the handler steps over the 3 bytes of the store.
    unsafe { asm!("mov [rdi + 8], cl", in("ecx") 1, in("rdi") p) }
}
