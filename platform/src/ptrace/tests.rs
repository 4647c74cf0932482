use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::context::with_own_tracee;
use super::*;
use crate::conformance::guest::{DATA, Guest, count_in_memory, run_to_call, spin, start};
use crate::{Registers, Trap};

fn platform() -> Arc<dyn Platform> {
    let memory = MemoryFile::new(None).expect("memory file");
    Arc::new(PtracePlatform::new(memory).expect("platform"))
}

crate::conformance::suite!(platform());

/// The host process and thread behind a context of the calling thread.
fn host_ids(space: &Arc<dyn AddressSpace>) -> (i32, i32) {
    let space = PtraceSpace::of(space).expect("ptrace");
    with_own_tracee(&space, |own| (own.tracee.pid(), own.tracee.tid())).expect("own tracee")
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_killed_process_is_gone() {
    let platform = platform();
    let guest = Guest::new(&platform, crate::conformance::guest::call_loop());
    let mut context = guest.context();
    run_to_call(&mut *context, &guest.space, &mut start());
    let (pid, _) = host_ids(&guest.space);
    host::signal::kill(pid, libc::SIGKILL).expect("kill");
    for _ in 0..2 {
        assert!(matches!(context.run(&guest.space, &mut start()), Err(PlatformError::Gone)));
    }
    assert!(matches!(guest.space.unmap(DATA, 4096), Err(PlatformError::Gone)));
    assert!(guest.space.fork().is_err());
    // Others go on.
    let other = Guest::new(&platform, crate::conformance::guest::call_loop());
    run_to_call(&mut *context, &other.space, &mut start());
}

#[test]
fn a_process_killed_while_it_runs_is_gone() {
    let platform = platform();
    let guest = Guest::new(&platform, spin());
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut context = guest.context();
                let mut regs = start();
                // An interrupt also ends the wait for a host thread.
                let space = PtraceSpace::of(&guest.space).expect("ptrace");
                while with_own_tracee(&space, |_| ()).is_none() {
                    context.interrupter().interrupt();
                    assert_eq!(context.run(&guest.space, &mut regs).expect("run"), Trap::Interrupted);
                }
                sender.send(host_ids(&guest.space).0).expect("send");
                assert!(matches!(context.run(&guest.space, &mut regs), Err(PlatformError::Gone)));
            });
        }
        let pid = receiver.recv().expect("pid");
        assert_eq!(receiver.recv().expect("pid"), pid);
        std::thread::sleep(Duration::from_millis(20));
        host::signal::kill(pid, libc::SIGKILL).expect("kill");
    });
}

#[test]
fn signals_from_outside_are_not_seen() {
    let platform = platform();
    let guest = Guest::new(&platform, count_in_memory());
    let mut context = guest.context();
    let interrupter = context.interrupter();
    interrupter.interrupt();
    let mut regs = Registers { rdi: DATA, ..start() };
    assert_eq!(context.run(&guest.space, &mut regs).expect("run"), Trap::Interrupted);
    let (pid, tid) = host_ids(&guest.space);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for signal in (1..=64).filter(|&s| s != libc::SIGKILL && !(32..34).contains(&s)) {
                let before = guest.word(0);
                host::thread::tgkill(pid, tid, signal).expect("tgkill");
                wait_until("it runs on", || guest.word(0) > before + 100);
                let before = guest.word(0);
                host::signal::kill(pid, signal).expect("kill");
                wait_until("it runs on", || guest.word(0) > before + 100);
            }
            interrupter.interrupt();
        });
        assert_eq!(context.run(&guest.space, &mut regs).expect("run"), Trap::Interrupted);
    });
    // Nor by a process that nobody traces.
    drop(context);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD, libc::SIGUSR1] {
        host::signal::kill(pid, signal).expect("kill");
    }
    let mut context = guest.context();
    context.interrupter().interrupt();
    assert_eq!(context.run(&guest.space, &mut start()).expect("run"), Trap::Interrupted);
    assert_eq!(host_ids(&guest.space).0, pid);
}

/// What the stub's filter does not allow ends the process.
#[test]
fn the_stub_makes_no_other_calls() {
    let platform = platform();
    for (number, first) in [
        (libc::SYS_getpid, 0),
        (libc::SYS_openat, 0),
        (libc::SYS_execve, 0),
        (libc::SYS_clone, libc::CLONE_NEWUSER as u64),
        (libc::SYS_clone, crate::guest_process::THREAD_FLAGS | 1 << 40),
        (libc::SYS_prctl, libc::PR_SET_DUMPABLE as u64),
        (libc::SYS_ptrace, 0),
    ] {
        let guest = Guest::new(&platform, spin());
        let mut context = guest.context();
        context.interrupter().interrupt();
        context.run(&guest.space, &mut start()).expect("run");
        context.interrupter().interrupt();
        // The first run was interrupted before it attached its thread's mappings; this one has.
        context.run(&guest.space, &mut start()).expect("run");
        let space = PtraceSpace::of(&guest.space).expect("ptrace");
        let done = with_own_tracee(&space, |own| own.tracee.call(number, [first, 0, 0, 0, 0, 0]));
        assert!(matches!(done, Some(Err(PlatformError::Gone))), "call {number}: {done:?}");
    }
}

#[test]
fn nothing_of_the_sentry_is_left_in_a_stub() {
    let platform = platform();
    let guest = Guest::new(&platform, crate::conformance::guest::call_loop());
    let mut context = guest.context();
    run_to_call(&mut *context, &guest.space, &mut start());
    let (pid, _) = host_ids(&guest.space);
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    for line in maps.lines() {
        assert!(
            line.contains("/memfd:runsc-memory") || line.ends_with("[vsyscall]") || line.contains("r-xp"),
            "{line}"
        );
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let field = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).expect("field");
        line.split_whitespace().nth(1).expect("value").to_owned()
    };
    assert_eq!(field("CapEff:"), "0000000000000000");
    assert_eq!(field("CapPrm:"), "0000000000000000");
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    assert_eq!(field("SigBlk:"), "0000000000000000");
    assert_eq!(field("SigCgt:"), "0000000000000000");
}

const IN_CHILD: &str = "RUNSC_TEST_SENTRY";

/// Not a test of its own: the Sentry of the next one.
#[test]
fn sentry_that_is_killed() {
    if std::env::var_os(IN_CHILD).is_none() {
        return;
    }
    let platform = platform();
    let guest = Guest::new(&platform, spin());
    let mut context = guest.context();
    context.interrupter().interrupt();
    context.run(&guest.space, &mut start()).expect("run");
    let forked = guest.space.fork().expect("fork");
    guest.space.prepare_thread().expect("thread");
    println!("\nready");
    let _ = context.run(&guest.space, &mut start());
    drop(forked);
}

#[test]
fn guests_die_with_the_sentry() {
    let children = |pid: u32| -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("tasks");
        let lists =
            tasks.filter_map(|t| std::fs::read_to_string(t.expect("task").path().join("children")).ok());
        lists
            .flat_map(|l| l.split_whitespace().map(|p| p.parse().expect("pid")).collect::<Vec<_>>())
            .collect()
    };
    let mut sentry = Command::new(std::env::current_exe().expect("self"))
        .args(["--exact", "ptrace::tests::sentry_that_is_killed", "--nocapture"])
        .env(IN_CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut lines = BufReader::new(sentry.stdout.take().expect("stdout")).lines();
    assert!(lines.by_ref().any(|line| line.is_ok_and(|l| l == "ready")));
    let mut stubs = Vec::new();
    // The first stub, the guest, and its child.
    wait_until("three processes", || {
        stubs = children(sentry.id());
        stubs.len() == 3
    });
    sentry.kill().expect("kill");
    sentry.wait().expect("wait");
    let alive = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Orphans may stay zombies where nobody reaps.
        !stat.is_empty() && !stat.contains(") Z ") && !stat.contains(") X ")
    };
    wait_until("all are dead", || !stubs.iter().any(alive));
}

/// Dense calls hold the pair on one processor; a guest that computes is let go, and so is a context that waits.
#[test]
fn pairs_are_held_and_let_go() {
    if host::thread::initial_affinity().count() < 2 {
        return;
    }
    let platform = platform();
    let guest = Guest::new(&platform, crate::conformance::guest::call_loop());
    let mut context = guest.context();
    let mut regs = start();
    let cpus = |tid: i32| host::thread::affinity(tid).expect("affinity").count();
    let mut held = || {
        for _ in 0..200 {
            run_to_call(&mut *context, &guest.space, &mut regs);
        }
        let (_, tid) = host_ids(&guest.space);
        cpus(0) == 1 && cpus(tid) == 1
    };
    wait_until("the pair is held", &mut held);
    let (_, tid) = host_ids(&guest.space);
    let me = host::thread::gettid();
    wait_until("a waiting pair is let go", || cpus(me) > 1 && cpus(tid) > 1);
    wait_until("the pair is held again", &mut held);
    platform.memory().write(guest.code.offset, spin()).expect("write");
    let interrupter = context.interrupter();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("a computing pair is let go", || cpus(me) > 1 && cpus(tid) > 1);
            interrupter.interrupt();
        });
        assert_eq!(context.run(&guest.space, &mut regs).expect("run"), Trap::Interrupted);
    });
}
