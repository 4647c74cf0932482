//! Several guest threads, and changes by threads that are not among them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::guest::{DATA, Guest, count_and_call, count_in_memory, load, run_to_call, start, store};
use crate::{AddressSpace, Backing, Interrupter, PAGE_SIZE, Platform, Prot, Registers, Trap};

pub(crate) fn several_threads_share_a_space(platform: &Arc<dyn Platform>) {
    const CALLS: u64 = 300;
    let guest = Guest::new(platform, count_and_call());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut context = guest.context();
                let mut regs = Registers { rdi: DATA, ..start() };
                for _ in 0..CALLS {
                    run_to_call(&mut *context, &guest.space, &mut regs);
                }
            });
        }
    });
    assert_eq!(guest.word(0), 4 * CALLS);
}

/// A thread that runs guest code for ever, until told to end.
struct Runner {
    interrupter: Arc<dyn Interrupter>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Trap>>,
}

impl Runner {
    fn new(guest: &Guest, space: &Arc<dyn AddressSpace>, rdi: u64) -> Runner {
        let (platform, space) = (guest.platform.clone(), space.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let stop_too = stop.clone();
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut context = platform.new_context().expect("context");
            sender.send(context.interrupter()).expect("send");
            let mut regs = Registers { rdi, rsi: 5, ..start() };
            let mut others = Vec::new();
            while !stop_too.load(Ordering::SeqCst) {
                match context.run(&space, &mut regs).expect("run") {
                    Trap::Syscall | Trap::Interrupted => {}
                    trap => {
                        others.push(trap);
                        break;
                    }
                }
            }
            others
        });
        Runner { interrupter: receiver.recv().expect("interrupter"), stop, thread }
    }

    fn finish(self) -> Vec<Trap> {
        self.stop.store(true, Ordering::SeqCst);
        self.interrupter.interrupt();
        self.thread.join().expect("join")
    }
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what} does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn prepared_threads_start_while_the_first_is_away(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, count_and_call());
    let mut context = guest.context();
    let mut regs = Registers { rdi: DATA, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    // The first context stays out of guest code from here on.
    for _ in 0..3 {
        guest.space.prepare_thread().expect("prepare");
    }
    let runners: Vec<Runner> =
        (1..4).map(|i| Runner::new(&guest, &guest.space, DATA + i * PAGE_SIZE)).collect();
    for i in 1..4 {
        wait_for("a thread's start", || guest.word(i * PAGE_SIZE) > 10);
    }
    for runner in runners {
        assert_eq!(runner.finish(), []);
    }
    run_to_call(&mut *context, &guest.space, &mut regs);
}

pub(crate) fn threads_come_and_go(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, count_and_call());
    let mut context = guest.context();
    let mut regs = Registers { rdi: DATA, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    for _ in 0..40 {
        guest.space.prepare_thread().expect("prepare");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut context = guest.context();
                let mut regs = Registers { rdi: DATA, ..start() };
                for _ in 0..3 {
                    run_to_call(&mut *context, &guest.space, &mut regs);
                }
            });
        });
    }
    assert_eq!(guest.word(0), 1 + 40 * 3);
    // The first thread goes, another takes its place.
    drop(context);
    let mut context = guest.context();
    let mut regs = Registers { rdi: DATA, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
}

pub(crate) fn two_contexts_on_one_thread(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, count_and_call());
    let (mut a, mut b) = (guest.context(), guest.context());
    let (mut regs_a, mut regs_b) =
        (Registers { rdi: DATA, ..start() }, Registers { rdi: DATA + PAGE_SIZE, ..start() });
    for _ in 0..5 {
        run_to_call(&mut *a, &guest.space, &mut regs_a);
        run_to_call(&mut *b, &guest.space, &mut regs_b);
    }
    assert_eq!((guest.word(0), guest.word(PAGE_SIZE)), (5, 5));
}

pub(crate) fn changes_from_outside_reach_running_threads(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, count_in_memory());
    let runners: Vec<Runner> =
        (0..3).map(|i| Runner::new(&guest, &guest.space, DATA + i * PAGE_SIZE)).collect();
    for i in 0..3 {
        wait_for("a thread's start", || guest.word(i * PAGE_SIZE) > 1000);
    }
    // Somewhere else, without disturbing anybody.
    for i in 0..200 {
        let at = 0x1000_0000 + i * PAGE_SIZE;
        guest.space.map(at, PAGE_SIZE, Prot::READ, Backing::Memory(guest.data.offset)).expect("map");
        guest.space.protect(at, PAGE_SIZE, Prot::empty()).expect("protect");
        guest.space.unmap(at, PAGE_SIZE).expect("unmap");
    }
    // Once `unmap` has returned, nobody writes there any more.
    guest.space.unmap(DATA, PAGE_SIZE).expect("unmap");
    let last = guest.word(0);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(guest.word(0), last);
    guest.space.protect(DATA + PAGE_SIZE, PAGE_SIZE, Prot::READ).expect("protect");
    let last = guest.word(PAGE_SIZE);
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(guest.word(PAGE_SIZE), last);
    let (before, mut runners) = (guest.word(2 * PAGE_SIZE), runners);
    wait_for("the third thread's work", || guest.word(2 * PAGE_SIZE) > before);
    assert_eq!(runners.pop().expect("three").finish(), []);
    for (i, runner) in runners.into_iter().enumerate() {
        wait_for("the fault", || runner.thread.is_finished());
        match runner.finish()[..] {
            [Trap::Fault { address, .. }] => assert_eq!(address, DATA + i as u64 * PAGE_SIZE),
            ref other => panic!("no fault: {other:?}"),
        }
    }
}

pub(crate) fn changes_from_outside_wait_for_the_next_run(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, load());
    guest.set_word(PAGE_SIZE, 7);
    let mut context = guest.context();
    let mut regs = Registers { rdi: DATA, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!(regs.rbx, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let backing = Backing::Memory(guest.data.offset + PAGE_SIZE);
            guest.space.map(DATA, PAGE_SIZE, Prot::READ, backing).expect("map");
            guest.space.unmap(DATA + 2 * PAGE_SIZE, PAGE_SIZE).expect("unmap");
        });
    });
    regs.rip = start().rip;
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!(regs.rbx, 7);
    regs = Registers { rdi: DATA + 2 * PAGE_SIZE, ..start() };
    assert!(matches!(context.run(&guest.space, &mut regs).expect("run"), Trap::Fault { .. }));
}

/// Threads of two spaces run guest code and change the other's mappings, all at once.
pub(crate) fn two_spaces_change_each_other(platform: &Arc<dyn Platform>) {
    let guests: Vec<Guest> = (0..2).map(|_| Guest::new(platform, store())).collect();
    std::thread::scope(|scope| {
        for (own, other) in [(0, 1), (1, 0), (0, 1), (1, 0)] {
            let (own, other) = (&guests[own], &guests[other]);
            scope.spawn(move || {
                let mut context = own.context();
                for i in 0..300 {
                    let mut regs = Registers { rdi: DATA, rsi: i, ..start() };
                    run_to_call(&mut *context, &own.space, &mut regs);
                    let at = 0x1000_0000 + i % 7 * PAGE_SIZE;
                    let backing = Backing::Memory(other.data.offset);
                    other.space.map(at, PAGE_SIZE, Prot::READ, backing).expect("map");
                    own.space.protect(at, PAGE_SIZE, Prot::empty()).expect("protect");
                    other.space.unmap(at, PAGE_SIZE).expect("unmap");
                }
            });
        }
    });
}
