//! Why guest code stops, and its registers then.

use std::sync::Arc;

use super::guest::{CODE, DATA, Guest, call_loop, guest_code, jump, load, run_to_call, start, store};
use crate::{Backing, HostFile, PAGE_SIZE, Platform, Prot, Registers, Trap};

const SEGV_MAPERR: i32 = 1;
const SEGV_ACCERR: i32 = 2;
const BUS_ADRERR: i32 = 2;
const SI_KERNEL: i32 = 0x80;

pub(crate) fn system_call_shows_registers_and_takes_the_result(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, call_loop());
    let mut context = guest.context();
    let mut regs = Registers { rbx: 39, rdi: 1, rsi: 2, rdx: 3, r10: 4, r8: 5, r9: 6, ..start() };
    for i in 0..10 {
        run_to_call(&mut *context, &guest.space, &mut regs);
        assert_eq!((regs.orig_rax, regs.rip), (39 + i, CODE + 5));
        assert_eq!((regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9), (1, 2, 3, 4, 5, 6));
        assert_eq!(regs.rcx, regs.rip, "the instruction leaves the return address in rcx");
        regs.rax = 0x1234;
        regs.rbx += 1;
    }
}

guest_code! {
    show_all: "nop" "syscall"
}

pub(crate) fn all_registers_can_be_set(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, show_all());
    let mut context = guest.context();
    let set = Registers {
        r15: 15,
        r14: 14,
        r13: 13,
        r12: 12,
        rbp: 0xdead_beef_0000,
        rbx: 3,
        r10: 10,
        r9: 9,
        r8: 8,
        rax: 0xffff_ffff_ffff_fe00,
        rdx: 2,
        rsi: 5,
        rdi: 6,
        rsp: 0xffff_8000_0000_0000,
        rip: CODE,
        eflags: 0xcd5,
        ..Registers::default()
    };
    let mut regs = set;
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!(regs.orig_rax, set.rax, "rax before the call");
    assert_eq!(regs.eflags & 0xcd5, 0xcd5);
    let same = Registers {
        rax: set.rax,
        orig_rax: 0,
        rip: CODE,
        rcx: 0,
        r11: 0,
        eflags: set.eflags,
        cs: 0,
        ss: 0,
        ..regs
    };
    assert_eq!(same, set);
}

fn fault(platform: &Arc<dyn Platform>, code: &[u8], rdi: u64) -> (Trap, Registers) {
    let guest = Guest::new(platform, code);
    guest.space.protect(DATA + PAGE_SIZE, PAGE_SIZE, Prot::READ).expect("protect");
    guest.space.protect(DATA + 2 * PAGE_SIZE, PAGE_SIZE, Prot::empty()).expect("protect");
    let mut regs = Registers { rdi, rsi: 1, ..start() };
    let trap = guest.context().run(&guest.space, &mut regs).expect("run");
    assert_eq!(regs.orig_rax, u64::MAX);
    (trap, regs)
}

#[track_caller]
fn assert_fault(platform: &Arc<dyn Platform>, code: &[u8], rdi: u64, expected_code: i32, rip: u64) {
    let (trap, regs) = fault(platform, code, rdi);
    let Trap::Fault { address, signal, code, .. } = trap else { panic!("no fault: {trap:?}") };
    assert_eq!((address, signal, code, regs.rip), (rdi, libc::SIGSEGV, expected_code, rip));
}

pub(crate) fn faults_tell_signal_code_and_address(platform: &Arc<dyn Platform>) {
    assert_fault(platform, load(), 0, SEGV_MAPERR, CODE);
    assert_fault(platform, load(), 0x1234_5678, SEGV_MAPERR, CODE);
    assert_fault(platform, store(), DATA + PAGE_SIZE + 8, SEGV_ACCERR, CODE);
    assert_fault(platform, load(), DATA + 2 * PAGE_SIZE + 8, SEGV_ACCERR, CODE);
    assert_fault(platform, store(), CODE + 100, SEGV_ACCERR, CODE);
    assert_fault(platform, jump(), DATA, SEGV_ACCERR, DATA);
    assert_fault(platform, jump(), 0x5555_0000, SEGV_MAPERR, 0x5555_0000);
    let stub = platform.user_range().end;
    let (trap, _) = fault(platform, store(), stub + 16);
    assert!(
        matches!(trap, Trap::Fault { address, .. } if address == stub + 16),
        "the stub is not writable: {trap:?}"
    );
}

pub(crate) fn a_file_that_ends_early_is_a_bus_error(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, load());
    let file = tempfile::tempfile().expect("file");
    file.set_len(10).expect("set_len");
    let file = Arc::new(HostFile::new(file.into(), false));
    guest.space.map(DATA, 2 * PAGE_SIZE, Prot::READ, Backing::File(&file, 0)).expect("map");
    let mut context = guest.context();
    let mut regs = Registers { rdi: DATA, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    let at = DATA + PAGE_SIZE;
    regs = Registers { rdi: at, ..start() };
    match context.run(&guest.space, &mut regs).expect("run") {
        Trap::Fault { address, signal, code, .. } => {
            assert_eq!((address, signal, code), (at, libc::SIGBUS, BUS_ADRERR));
        }
        trap => panic!("no fault: {trap:?}"),
    }
}

guest_code! {
    divide: "xor edx, edx" "xor ecx, ecx" "div rcx"
}
guest_code! {
    undefined: "ud2"
}
guest_code! {
    breakpoint: "int3"
}
guest_code! {
    privileged: "hlt"
}
guest_code! {
    not_canonical: "mov rax, 0x8000000000000000" "mov rbx, [rax]"
}

pub(crate) fn exceptions_tell_signal_and_code(platform: &Arc<dyn Platform>) {
    const FPE_INTDIV: i32 = 1;
    const ILL_ILLOPN: i32 = 2;
    let cases = [
        (divide(), libc::SIGFPE, FPE_INTDIV, CODE + 4, CODE + 4),
        (undefined(), libc::SIGILL, ILL_ILLOPN, CODE, CODE),
        (breakpoint(), libc::SIGTRAP, SI_KERNEL, CODE + 1, 0),
        (privileged(), libc::SIGSEGV, SI_KERNEL, CODE, 0),
        (not_canonical(), libc::SIGSEGV, SI_KERNEL, CODE + 10, 0),
    ];
    for (code, signal, expected, rip, at) in cases {
        let (trap, regs) = fault(platform, code, 0);
        assert_eq!(trap, Trap::Exception { signal, code: expected, address: at });
        assert_eq!(regs.rip, rip);
    }
}

guest_code! {
    int80: "mov eax, 20" "int 0x80" "syscall"
}

pub(crate) fn old_system_call_instructions_are_protection_faults(platform: &Arc<dyn Platform>) {
    let (trap, regs) = fault(platform, int80(), 0);
    assert_eq!(trap, Trap::Exception { signal: libc::SIGSEGV, code: SI_KERNEL, address: 0 });
    assert_eq!(regs.rip, CODE + 5, "at the instruction");
}

guest_code! {
    set_trap_flag: "nop" "nop" "syscall"
}

pub(crate) fn single_step_flag_traps(platform: &Arc<dyn Platform>) {
    const TRAP_TRACE: i32 = 2;
    let guest = Guest::new(platform, set_trap_flag());
    let mut regs = Registers { eflags: 0x302, ..start() };
    let mut context = guest.context();
    let trap = context.run(&guest.space, &mut regs).expect("run");
    assert!(
        matches!(trap, Trap::Exception { signal: libc::SIGTRAP, code: TRAP_TRACE, .. }),
        "unexpected {trap:?}"
    );
    assert_eq!(regs.rip, CODE + 1);
    regs.eflags = 0x202;
    run_to_call(&mut *context, &guest.space, &mut regs);
}

guest_code! {
    vsyscall: "mov rax, -10485760" "call rax" "syscall"
}

pub(crate) fn the_vsyscall_page_makes_system_calls(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, vsyscall());
    let mut regs = Registers { rsp: DATA + 0x800, rdi: DATA, ..start() };
    let mut context = guest.context();
    match context.run(&guest.space, &mut regs).expect("run") {
        Trap::Syscall => {
            assert_eq!(regs.orig_rax, libc::SYS_gettimeofday as u64);
            regs.rax = 77;
            run_to_call(&mut *context, &guest.space, &mut regs);
            assert_eq!((regs.orig_rax, regs.rsp), (77, DATA + 0x800));
        }
        // A host (or back end) without the page: the kernel does it by the address.
        trap => assert!(
            matches!(trap, Trap::Fault { address: 0xffff_ffff_ff60_0000, .. }),
            "unexpected {trap:?}, {regs:x?}"
        ),
    }
}

pub(crate) fn hostile_registers_do_no_harm(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, call_loop());
    let mut context = guest.context();
    let odd = Registers {
        cs: 0x10,
        ss: 0x18,
        ds: 0x7b,
        es: 0xffff_ffff,
        fs: 0x63,
        gs: 8,
        eflags: !0x100,
        rsp: u64::MAX,
        orig_rax: 57,
        ..start()
    };
    let mut regs = odd;
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!(regs.cs, 0x33);
    assert_eq!(regs.eflags & 0x3000, 0, "no I/O privilege");
    for rip in [0x8000_0000_0000_0000, u64::MAX, 0xffff_ffff_8000_0000, 0x7fff_ffff_f000] {
        let mut regs = Registers { rip, ..odd };
        let trap = context.run(&guest.space, &mut regs).expect("run");
        assert!(
            matches!(
                trap,
                Trap::Fault { signal: libc::SIGSEGV, .. } | Trap::Exception { signal: libc::SIGSEGV, .. }
            ),
            "{rip:x}: {trap:?}"
        );
    }
    // Values that the host would take for an interrupted system call, with an interrupt.
    for rax in (-516i64..=-512).map(|v| v as u64) {
        let mut regs = Registers { rax, rbx: rax, orig_rax: 1, ..start() };
        context.interrupter().interrupt();
        assert_eq!(context.run(&guest.space, &mut regs).expect("run"), Trap::Interrupted);
        run_to_call(&mut *context, &guest.space, &mut regs);
        assert_eq!((regs.orig_rax, regs.rip), (rax, CODE + 5));
    }
    let mut regs = Registers { rbx: 5, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!(regs.orig_rax, 5);
}

guest_code! {
    // Offers its bases, then sets them itself.
    bases: "rdfsbase rax" "rdgsbase rbx" "syscall" "wrfsbase rdi" "wrgsbase rsi" "syscall" "rdfsbase rax" "syscall"
}

pub(crate) fn segment_bases_are_kept_and_settable(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, bases());
    let mut context = guest.context();
    let kernel = 0xffff_8000_0000_1000;
    let mut regs = Registers { fs_base: 0x1000_2000, gs_base: DATA, rdi: kernel, rsi: 0x3000, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!((regs.orig_rax, regs.rbx), (0x1000_2000, DATA));
    assert_eq!((regs.fs_base, regs.gs_base), (0x1000_2000, DATA));
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!((regs.fs_base, regs.gs_base), (kernel, 0x3000), "a guest may set what it likes");
    regs.rbx = 1;
    // A change of the mappings uses the thread; what the guest has set has to outlive that.
    guest.space.unmap(DATA, PAGE_SIZE).expect("unmap");
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!((regs.orig_rax, regs.gs_base), (kernel, 0x3000));
}
