//! prctl and arch_prctl.

use std::arch::asm;

use crate::kit::prelude::*;

fn name() -> String {
    let mut name = [0xffu8; 16];
    ok(sys!(prctl, PR_GET_NAME, &mut name));
    let end = name.iter().position(|b| *b == 0).unwrap_or(16);
    String::from_utf8_lossy(&name[..end]).into_owned()
}

case!(name_is_cut: prctl);
fn name_is_cut() {
    ok(sys!(prctl, PR_SET_NAME, c"short"));
    eq(name(), "short");
    ok(sys!(prctl, PR_SET_NAME, c"a-name-that-is-far-too-long"));
    eq(name(), "a-name-that-is-");
    eq(text(c"/proc/self/comm"), "a-name-that-is-\n");
    in_child(|| eq(name(), "a-name-that-is-"));
    fails(sys!(prctl, PR_SET_NAME, 8), EFAULT);
    fails(sys!(prctl, PR_GET_NAME, 8), EFAULT);
}

case!(name_of_a_thread: prctl);
fn name_of_a_thread() {
    ok(sys!(prctl, PR_SET_NAME, c"leader"));
    let (_, handle) = thread::spawn(|| {
        eq(name(), "leader");
        ok(sys!(prctl, PR_SET_NAME, c"other"));
        eq(name(), "other");
    });
    thread::join(handle);
    eq(name(), "leader");
}

case!(dumpable: prctl);
fn dumpable() {
    eq(ok(sys!(prctl, PR_GET_DUMPABLE)), 1);
    ok(sys!(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0));
    eq(ok(sys!(prctl, PR_GET_DUMPABLE)), 0);
    fails(sys!(prctl, PR_SET_DUMPABLE, 2, 0, 0, 0), EINVAL);
}

case!(no_new_privs: prctl);
fn no_new_privs() {
    in_child(|| {
        eq(ok(sys!(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)), 0);
        fails(sys!(prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
        fails(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), EINVAL);
        fails(sys!(prctl, PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0), EINVAL);
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        eq(ok(sys!(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)), 1);
        in_child(|| eq_of("inherited", ok(sys!(prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)), 1));
    });
}

case!(subreaper: prctl);
fn subreaper() {
    let mut value: c_int = -1;
    ok(sys!(prctl, PR_GET_CHILD_SUBREAPER, &mut value, 0, 0, 0));
    eq(value, 0);
    ok(sys!(prctl, PR_SET_CHILD_SUBREAPER, 5, 0, 0, 0));
    ok(sys!(prctl, PR_GET_CHILD_SUBREAPER, &mut value, 0, 0, 0));
    eq(value, 1);
    in_child(|| {
        let mut value: c_int = -1;
        ok(sys!(prctl, PR_GET_CHILD_SUBREAPER, &mut value, 0, 0, 0));
        eq_of("not inherited", value, 0);
    });
}

case!(timer_slack: prctl);
fn timer_slack() {
    let default = ok(sys!(prctl, PR_GET_TIMERSLACK));
    ok(sys!(prctl, PR_SET_TIMERSLACK, 12345, 0, 0, 0));
    eq(ok(sys!(prctl, PR_GET_TIMERSLACK)), 12345);
    ok(sys!(prctl, PR_SET_TIMERSLACK, 0, 0, 0, 0));
    eq(ok(sys!(prctl, PR_GET_TIMERSLACK)), default);
}

case!(unknown_options: prctl, arch_prctl);
fn unknown_options() {
    fails(sys!(prctl, 0x7fff_fff0, 0, 0, 0, 0), EINVAL);
    fails(sys!(prctl, -1, 0, 0, 0, 0), EINVAL);
    fails(sys!(arch_prctl, 0, 0), EINVAL);
    fails(sys!(arch_prctl, 0x7fff_0000, 0), EINVAL);
}

case!(fs_and_gs: arch_prctl);
fn fs_and_gs() {
    let mut fs = 0u64;
    ok(sys!(arch_prctl, 0x1003, &mut fs));
    let first: u64;
    // SAFETY: the C library keeps its own address at the start of the thread's block.
    unsafe { asm!("mov {}, fs:[0]", out(reg) first) };
    eq(fs, first);
    let area = map(PAGE, RW);
    poke64(area + 16, 0xfeed);
    ok(sys!(arch_prctl, 0x1001, area));
    let mut gs = 0u64;
    ok(sys!(arch_prctl, 0x1004, &mut gs));
    eq(gs, area as u64);
    let read: u64;
    // SAFETY: gs points at the page above.
    unsafe { asm!("mov {}, gs:[16]", out(reg) read) };
    eq(read, 0xfeed);
    fails(sys!(arch_prctl, 0x1001, 0xffff_8000_0000_0000u64), EPERM);
    fails(sys!(arch_prctl, 0x1002, 0x8000_0000_0000_0000u64), EPERM);
    fails(sys!(arch_prctl, 0x1003, 8), EFAULT);
}

case!(gs_is_kept_by_fork_and_calls: arch_prctl, fork);
fn gs_is_kept_by_fork_and_calls() {
    let area = map(PAGE, RW);
    poke64(area, 77);
    ok(sys!(arch_prctl, 0x1001, area));
    let read = || -> u64 {
        let value;
        // SAFETY: gs points at the page above.
        unsafe { asm!("mov {}, gs:[0]", out(reg) value) };
        value
    };
    sleep_ms(2);
    eq(read(), 77);
    in_child(|| eq(read(), 77));
}

case!(seccomp_mode: prctl);
fn seccomp_mode() {
    eq(ok(sys!(prctl, PR_GET_SECCOMP)), 0);
    fork(|| {
        ok(sys!(prctl, PR_SET_SECCOMP, 1, 0, 0, 0));
        // Strict mode leaves read, write, exit and sigreturn.
        ok(sys!(write, 2, b"", 0));
        let _ = sys!(getpid);
    })
    .dies_of(SIGKILL);
}

case!(tsc_can_be_forbidden: prctl);
fn tsc_can_be_forbidden() {
    let mut value: c_int = 0;
    ok(sys!(prctl, PR_GET_TSC, &mut value, 0, 0, 0));
    eq(value, PR_TSC_ENABLE);
    fails(sys!(prctl, PR_SET_TSC, 9, 0, 0, 0), EINVAL);
}
