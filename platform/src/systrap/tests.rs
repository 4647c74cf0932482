use std::time::{Duration, Instant};

use super::*;
use crate::conformance::guest::{CODE, DATA, Guest, call_loop, guest_code, run_to_call, spin, start};
use crate::{Answer, PAGE_SIZE, Prot, Registers, Trap};

fn platform() -> Arc<dyn Platform> {
    let memory = MemoryFile::new(None).expect("memory file");
    Arc::new(SystrapPlatform::new(memory).expect("platform"))
}

crate::conformance::suite!(platform());

fn pid(space: &Arc<dyn AddressSpace>) -> i32 {
    space.host_process().expect("a process")
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
    let guest = Guest::new(&platform, call_loop());
    let mut context = guest.context();
    run_to_call(&mut *context, &guest.space, &mut start());
    host::signal::kill(pid(&guest.space), libc::SIGKILL).expect("kill");
    for _ in 0..2 {
        assert!(matches!(context.run(&guest.space, &mut start()), Err(PlatformError::Gone)));
    }
    assert!(matches!(guest.space.unmap(DATA, 4096), Err(PlatformError::Gone)));
    assert!(guest.space.fork().is_err());
    // Others go on.
    let other = Guest::new(&platform, call_loop());
    run_to_call(&mut *context, &other.space, &mut start());
}

#[test]
fn ends_that_are_reserved_have_room() {
    let platform = platform();
    let guest = Guest::new(&platform, call_loop());
    let mut context = guest.context();
    run_to_call(&mut *context, &guest.space, &mut start());
    // More than may wait for their end at once, told and then dropped, by several threads that know nothing of each other.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..40 {
                    let child = guest.space.fork().expect("fork");
                    assert!(child.reserve_end());
                    assert!(!child.reserve_end());
                    drop(child);
                }
            });
        }
    });
    // One without a process has nothing to end.
    assert!(!platform.new_address_space().expect("space").reserve_end());
    // Not told, and it is ended too.
    let child = guest.space.fork().expect("fork");
    let last = pid(&child);
    drop(child);
    wait_until("the last one's end", || host::signal::kill(last, 0).is_err());
}

#[test]
fn the_segments_of_a_library_are_one_order() {
    let platform = platform();
    let guest = Guest::new(&platform, crate::conformance::guest::load());
    let mut context = guest.context();
    run_to_call(&mut *context, &guest.space, &mut Registers { rdi: DATA, ..start() });
    let file = tempfile::tempfile().expect("file");
    file.set_len(64 * PAGE_SIZE).expect("set_len");
    let file = Arc::new(crate::HostFile::new(file.into(), true));
    let orders = address_space::changes();
    let at = 0x7000_0000;
    for (first, pages) in [(0, 64), (16, 16), (32, 16)] {
        let backing = crate::Backing::File(&file, first * PAGE_SIZE);
        guest.space.map(at + first * PAGE_SIZE, pages * PAGE_SIZE, Prot::READ, backing).expect("map");
    }
    assert_eq!(address_space::changes(), orders);
    let backing = crate::Backing::Memory(guest.data.offset);
    guest.space.map(at + 48 * PAGE_SIZE, PAGE_SIZE, Prot::READ, backing).expect("map");
    assert_eq!(address_space::changes(), orders + 1);
    run_to_call(&mut *context, &guest.space, &mut Registers { rdi: at, ..start() });
    assert_eq!(address_space::changes(), orders + 1);
    // Short ones are likely to be touched at once.
    let backing = crate::Backing::File(&file, 0);
    guest.space.map(at + 100 * PAGE_SIZE, PAGE_SIZE, Prot::READ, backing).expect("map");
    assert_eq!(address_space::changes(), orders + 2);
}

#[test]
fn a_process_killed_while_it_runs_is_gone() {
    let platform = platform();
    let guest = Guest::new(&platform, spin());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut context = guest.context();
                assert!(matches!(context.run(&guest.space, &mut start()), Err(PlatformError::Gone)));
            });
        }
        wait_until("two threads", || guest.space.host_process().is_some());
        std::thread::sleep(Duration::from_millis(50));
        host::signal::kill(pid(&guest.space), libc::SIGKILL).expect("kill");
    });
}

#[test]
fn signals_from_outside_are_not_seen() {
    let platform = platform();
    let guest = Guest::new(&platform, crate::conformance::guest::count_in_memory());
    let mut context = guest.context();
    let interrupter = context.interrupter();
    interrupter.interrupt();
    let mut regs = Registers { rdi: DATA, ..start() };
    assert_eq!(context.run(&guest.space, &mut regs).expect("run"), Trap::Interrupted);
    let pid = pid(&guest.space);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for signal in (1..=64).filter(|&s| s != libc::SIGKILL && s != libc::SIGSTOP) {
                let before = guest.word(0);
                host::signal::kill(pid, signal).expect("kill");
                wait_until("it runs on", || guest.word(0) > before + 100);
            }
            interrupter.interrupt();
        });
        assert_eq!(context.run(&guest.space, &mut regs).expect("run"), Trap::Interrupted);
    });
}

#[test]
fn nothing_of_the_sentry_is_left_in_a_stub() {
    let platform = platform();
    let guest = Guest::new(&platform, call_loop());
    let mut context = guest.context();
    run_to_call(&mut *context, &guest.space, &mut start());
    let pid = pid(&guest.space);
    let maps = match std::fs::read_to_string(format!("/proc/{pid}/maps")) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: only root may see the mappings of a stub");
            return;
        }
        maps => maps.expect("maps"),
    };
    let mut stubs = Vec::new();
    let block = crate::guest_process::TASK_SIZE - super::layout::BLOCK - (256 << 20);
    for line in maps.lines() {
        if line.contains("/memfd:runsc-stubs") {
            stubs.push(line.split_whitespace().nth(1).expect("mode"));
            continue;
        }
        // The title's page: one, in the block.
        let addresses =
            line.split_whitespace().next().and_then(|range| range.split_once('-')).expect("range");
        let [from, to] = [addresses.0, addresses.1].map(|hex| u64::from_str_radix(hex, 16).expect("address"));
        if line.contains(" rw-p 00000000 00:00 0") && from > block && to - from == 4096 {
            stubs.push("title");
            continue;
        }
        assert!(
            line.contains("/memfd:runsc-memory") || line.ends_with("[vsyscall]") || line.contains("r-xp"),
            "{line}"
        );
    }
    assert_eq!(
        stubs,
        ["rw-s", "r--s", "title"],
        "one area, what all processes show, what the host shows of this one"
    );
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let field = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).expect("field");
        line.split_whitespace().nth(1).expect("value").to_owned()
    };
    assert_eq!(field("CapEff:"), "0000000000000000");
    assert_eq!(field("CapPrm:"), "0000000000000000");
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    // A forked process shows an area of its own only.
    let areas = |pid: i32| -> Vec<String> {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
        let areas = maps.lines().filter(|l| l.contains("runsc-stubs") && l.contains("rw-s"));
        areas.map(|l| l.split_whitespace().nth(2).expect("offset").to_owned()).collect()
    };
    let child = guest.space.fork().expect("fork");
    let child = self::pid(&child);
    wait_until("the child has forgotten its parent's areas", || {
        let (own, parents) = (areas(child), areas(pid));
        own.len() == 1 && parents.len() == 1 && own != parents
    });
}

guest_code! {
    /// Makes call rbx rdi times and keeps the last answer in r15, then call 1000.
    many_calls: "2: mov rax, rbx" "syscall" "mov r15, rax" "dec rdi" "jnz 2b" "mov eax, 1000" "syscall"
}

#[test]
fn answers_are_given_without_a_trap_until_they_are_taken_away() {
    let platform = platform();
    let guest = Guest::new(&platform, many_calls());
    let mut context = guest.context();
    let interrupter = context.interrupter();
    let run = |context: &mut dyn Context, rbx: u64| {
        let mut regs = Registers { rbx, rdi: 100, r14: 7, rsi: 0xabc, ..start() };
        run_to_call(context, &guest.space, &mut regs);
        assert_eq!((regs.rbx, regs.r14, regs.rsi), (rbx, 7, 0xabc));
        (regs.orig_rax, regs.r15)
    };
    let answers = [Answer { number: 39, value: 4711 }, Answer { number: 102, value: u32::MAX - 1 }];
    context.set_answers(&answers);
    assert_eq!(run(&mut *context, 39), (1000, 4711));
    assert_eq!(run(&mut *context, 102), (1000, u64::from(u32::MAX - 1)));
    // Another, and one that only looks the same in its lower half.
    assert_eq!(run(&mut *context, 40).0, 40);
    assert_eq!(run(&mut *context, 39 | 1 << 40).0, 39 | 1 << 40);
    interrupter.silence();
    assert_eq!(run(&mut *context, 39).0, 39);
    context.set_answers(&answers[..1]);
    assert_eq!(run(&mut *context, 39), (1000, 4711));
    assert_eq!(run(&mut *context, 102).0, 102);
    // A thread in another space has them as well; another context has not.
    let other = Guest::new(&platform, many_calls());
    let mut regs = Registers { rbx: 39, rdi: 2, ..start() };
    run_to_call(&mut *context, &other.space, &mut regs);
    assert_eq!((regs.orig_rax, regs.r15), (1000, 4711));
    let mut regs = Registers { rbx: 39, rdi: 2, ..start() };
    run_to_call(&mut *guest.context(), &guest.space, &mut regs);
    assert_eq!(regs.orig_rax, 39);
    // A guest that makes nothing but such calls can be stopped, and silenced.
    let mut regs = Registers { rbx: 39, rdi: u64::MAX, ..start() };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            interrupter.interrupt();
        });
        assert_eq!(context.run(&other.space, &mut regs).expect("run"), Trap::Interrupted);
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            interrupter.silence();
        });
        run_to_call(&mut *context, &other.space, &mut regs);
    });
    assert_eq!(regs.orig_rax, 39);
}

guest_code! {
    /// Makes the call at the address in rbx, with the registers as they are, and then one of its own.
    call_at: "jmp rbx"
}

/// Where the stub has `syscall` instructions.
fn syscalls(platform: &Arc<dyn Platform>) -> (u64, Vec<u64>) {
    let code = platform.user_range().end + layout::FILE;
    let bytes = stub::bytes();
    let found = (0..bytes.len() - 1).filter(|&at| bytes[at..at + 2] == [0x0f, 0x05]);
    (code, found.map(|at| code + at as u64).collect())
}

/// What runs at a place of the stub with these registers; the process may not outlive it.
fn at_stub(platform: &Arc<dyn Platform>, regs: Registers) -> Result<Trap, PlatformError> {
    let guest = Guest::new(platform, call_at());
    let mut context = guest.context();
    context.run(&guest.space, &mut Registers { rip: CODE, ..regs })
}

#[test]
fn who_has_no_secret_makes_no_calls() {
    let platform = platform();
    let (_, places) = syscalls(&platform);
    let memfd = platform.memory();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&memfd.host_place(0).0) as u64;
    let (shared, fixed) = (guest_process::MAP_FLAGS, 3);
    let calls = [
        (libc::SYS_getpid, [0; 6]),
        (libc::SYS_execve, [DATA; 6]),
        (libc::SYS_openat, [0; 6]),
        (libc::SYS_ptrace, [0; 6]),
        (libc::SYS_mmap, [DATA, PAGE_SIZE, fixed, shared, fd, 0]),
        (libc::SYS_mmap, [DATA, PAGE_SIZE, fixed, shared | 1 << 32, fd | 1 << 32, 0]),
        (libc::SYS_munmap, [DATA, PAGE_SIZE, 0, 0, 0, 0]),
        (libc::SYS_mprotect, [CODE, PAGE_SIZE, 7, 0, 0, 1]),
        (libc::SYS_clone, [guest_process::FORK_FLAGS, 0, 0, 0, 0, 0]),
        (libc::SYS_clone, [guest_process::THREAD_FLAGS, 0, 0, 0, 0, 1]),
        (libc::SYS_clone, [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]),
        (libc::SYS_write, [fd, DATA, 8, 0, 0, 0]),
        (libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 1, 0, 0, 0, 0]),
        (libc::SYS_exit_group, [0; 6]),
        (libc::SYS_futex, [DATA, 3, 1, 1, DATA, 0]),
        (libc::SYS_rt_sigaction, [11, DATA, 0, 8, 0, 0]),
    ];
    for (i, &rbx) in places.iter().enumerate() {
        // It does not matter where: all from one, then two from each.
        for (number, [rdi, rsi, rdx, r10, r8, r9]) in calls.into_iter().take(if i == 0 { 99 } else { 2 }) {
            let regs =
                Registers { rax: number as u64, rbx, rdi, rsi, rdx, r10, r8, r9, rsp: DATA, ..start() };
            let done = at_stub(&platform, regs);
            assert!(matches!(done, Err(PlatformError::Tampered(_))), "call {number}: {done:?}");
        }
    }
}

#[test]
fn a_thread_that_ends_itself_is_tampering() {
    let platform = platform();
    let (_, places) = syscalls(&platform);
    let regs = Registers { rax: libc::SYS_exit as u64, rbx: places[0], ..start() };
    let done = at_stub(&platform, regs);
    assert!(matches!(done, Err(PlatformError::Tampered(_))), "{done:?}");
}

/// Whatever a guest finds in its stub, the Sentry gets an answer or a reason.
#[test]
fn any_place_of_the_stub_can_be_jumped_to() {
    let platform = platform();
    let (code, _) = syscalls(&platform);
    let len = stub::bytes().len() as u64;
    for rbx in (code..code + len).step_by(7) {
        let guest = Guest::new(&platform, call_at());
        let mut context = guest.context();
        context.set_answers(&[Answer { number: 39, value: 1 }]);
        let mask = context.signal_mask().expect("a mask");
        mask.open();
        let interrupter = context.interrupter();
        std::thread::scope(|scope| {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                // Some places wait for a turn that never comes, or spin.
                while stopped.recv_timeout(Duration::from_millis(3))
                    == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    interrupter.interrupt();
                }
            });
            let area = platform.user_range().end + layout::AREA;
            let regs = Registers { rbx, rsp: area + 0x3000, r15: area, r12: DATA, ..start() };
            let done = context.run(&guest.space, &mut { regs });
            if let Err(error) = done {
                let expected = matches!(error, PlatformError::Tampered(_) | PlatformError::Gone);
                assert!(expected, "at {rbx:x}: {error}");
            }
            drop(stop);
        });
    }
    // The platform lives.
    let guest = Guest::new(&platform, call_loop());
    run_to_call(&mut *guest.context(), &guest.space, &mut start());
}

guest_code! {
    /// Writes rsi all over [rdi], for ever.
    scribble: "2: mov rcx, 0x4000" "mov rbx, rdi" "3: mov [rbx], rsi" "add rbx, 8" "sub rcx, 8" "jnz 3b"
        "add rsi, 0x10001" "jmp 2b"
}

/// One thread makes calls, another scribbles over the first one's area.
#[test]
fn areas_may_hold_anything() {
    let platform = platform();
    let areas = platform.user_range().end;
    for round in 0..8u64 {
        let guest = Guest::new(&platform, call_loop());
        guest
            .space
            .map(
                CODE + PAGE_SIZE,
                PAGE_SIZE,
                Prot::READ | Prot::EXEC,
                crate::Backing::Memory(guest.data.offset),
            )
            .expect("map");
        platform.memory().write(guest.data.offset, scribble()).expect("write");
        let mut context = guest.context();
        context.set_answers(&[Answer { number: 39, value: 1 }]);
        let mask = context.signal_mask().expect("a mask");
        mask.open();
        run_to_call(&mut *context, &guest.space, &mut start());
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel();
            scope.spawn(move || {
                let mut scribbler = guest.platform.new_context().expect("context");
                sender.send((scribbler.interrupter(), guest.space.clone())).expect("send");
                // Both areas of this process are among the first.
                let rdi = areas + (1 + round % 2) * layout::AREA;
                let rsi = if round < 4 { round } else { round << 33 | round };
                let mut regs = Registers { rip: CODE + PAGE_SIZE, rdi, rsi, ..start() };
                let _ = scribbler.run(&guest.space, &mut regs);
            });
            let (interrupter, space) = receiver.recv().expect("interrupter");
            let began = Instant::now();
            let mut regs = start();
            while began.elapsed() < Duration::from_millis(300) {
                let done = context.run(&space, &mut regs);
                regs = start();
                // Whatever is there by now.
                mask.set(mask.get() ^ 1);
                if let Err(error) = done {
                    assert!(
                        matches!(error, PlatformError::Tampered(_) | PlatformError::Gone),
                        "round {round}: {error}"
                    );
                    break;
                }
            }
            interrupter.interrupt();
        });
    }
    let guest = Guest::new(&platform, call_loop());
    run_to_call(&mut *guest.context(), &guest.space, &mut start());
}
