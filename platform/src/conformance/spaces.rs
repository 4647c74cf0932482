//! Making, copying, changing and dropping address spaces.

use std::sync::Arc;

use super::guest::{DATA, Guest, call_loop, count_and_call, load, run_to_call, spin, start};
use crate::{AddressSpace, Backing, PAGE_SIZE, Platform, Prot, Registers, Trap};

pub(crate) fn fork_copies_the_mappings(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, count_and_call());
    let mut context = guest.context();
    let mut regs = Registers { rdi: DATA, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    let child = guest.space.fork().expect("fork");
    // Mappings are shared with the memory file; what changes afterwards is each side's own.
    guest.space.unmap(DATA + PAGE_SIZE, PAGE_SIZE).expect("unmap");
    child.unmap(DATA + 2 * PAGE_SIZE, PAGE_SIZE).expect("unmap");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut context = guest.context();
            let mut regs = Registers { rdi: DATA + PAGE_SIZE, ..start() };
            run_to_call(&mut *context, &child, &mut regs);
            regs.rdi = DATA;
            run_to_call(&mut *context, &child, &mut regs);
            regs.rdi = DATA + 2 * PAGE_SIZE;
            assert!(matches!(context.run(&child, &mut regs).expect("run"), Trap::Fault { .. }));
        });
    });
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!((guest.word(0), guest.word(PAGE_SIZE)), (3, 1));
    regs.rdi = DATA + PAGE_SIZE;
    assert!(matches!(context.run(&guest.space, &mut regs).expect("run"), Trap::Fault { .. }));
}

pub(crate) fn fork_of_a_fork(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, count_and_call());
    let mut space: Arc<dyn AddressSpace> = guest.space.clone();
    for _ in 0..5 {
        let parent = space.clone();
        space = std::thread::scope(|scope| {
            let run = || {
                let mut context = guest.context();
                let mut regs = Registers { rdi: DATA, ..start() };
                run_to_call(&mut *context, &parent, &mut regs);
                parent.fork().expect("fork")
            };
            scope.spawn(run).join().expect("join")
        });
    }
    assert_eq!(guest.word(0), 5);
}

pub(crate) fn fork_from_outside(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, count_and_call());
    let run = |space: &Arc<dyn AddressSpace>| {
        let mut context = guest.context();
        let mut regs = Registers { rdi: DATA, ..start() };
        run_to_call(&mut *context, space, &mut regs);
    };
    // One that never ran, then one that nobody runs any more.
    let bare = guest.space.fork().expect("fork");
    run(&bare);
    run(&guest.space);
    let left = guest.space.fork().expect("fork");
    run(&left);
    assert_eq!(guest.word(0), 3);
    // One that somebody runs meanwhile.
    platform.memory().write(guest.code.offset, spin()).expect("write");
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut context = guest.context();
            sender.send(context.interrupter()).expect("send");
            assert_eq!(context.run(&left, &mut start()).expect("run"), Trap::Interrupted);
        });
        let interrupter = receiver.recv().expect("interrupter");
        std::thread::sleep(std::time::Duration::from_millis(50));
        let child = left.fork().expect("fork");
        interrupter.interrupt();
        platform.memory().write(guest.code.offset, count_and_call()).expect("write");
        run(&child);
    });
}

/// The memory of a dropped child's pages can be given back at once, and children that never ran go away as well.
pub(crate) fn fork_keeps_no_thread_back(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, count_and_call());
    let mut context = guest.context();
    let mut regs = Registers { rdi: DATA, ..start() };
    for _ in 0..60 {
        run_to_call(&mut *context, &guest.space, &mut regs);
        drop(guest.space.fork().expect("fork"));
    }
    assert_eq!(guest.word(0), 60);
}

pub(crate) fn a_context_changes_its_space(platform: &Arc<dyn Platform>) {
    let first = Guest::new(platform, count_and_call());
    let second = Guest::new(platform, load());
    second.set_word(0, 77);
    let mut context = first.context();
    let mut regs = Registers { rdi: DATA, ..start() };
    run_to_call(&mut *context, &first.space, &mut regs);
    // Another space, which stays in use elsewhere.
    regs = Registers { rdi: DATA, ..start() };
    run_to_call(&mut *context, &second.space, &mut regs);
    assert_eq!(regs.rbx, 77);
    regs = Registers { rdi: DATA, ..start() };
    run_to_call(&mut *context, &first.space, &mut regs);
    assert_eq!(first.word(0), 2);
    // As exec does it: the old space goes for good, nothing of it is left in the new one.
    let mut space = first.space.clone();
    drop(first.space);
    for round in 0..10 {
        let next = platform.new_address_space().expect("space");
        next.map(DATA, PAGE_SIZE, Prot::READ | Prot::EXEC, Backing::Memory(second.code.offset)).expect("map");
        // Emptied or not, by this thread or another.
        match round % 3 {
            0 => space.unmap(DATA, 16 * PAGE_SIZE).expect("unmap"),
            1 => std::thread::scope(|scope| {
                let space = &space;
                scope.spawn(move || space.unmap(DATA, 16 * PAGE_SIZE).expect("unmap"));
            }),
            _ => {}
        }
        drop(std::mem::replace(&mut space, next));
        let mut regs = Registers { rdi: DATA, rip: DATA, ..start() };
        run_to_call(&mut *context, &space, &mut regs);
        let mut regs = Registers { rdi: DATA + PAGE_SIZE, rip: DATA, ..start() };
        let trap = context.run(&space, &mut regs).expect("run");
        assert!(matches!(trap, Trap::Fault { .. }), "round {round}: {trap:?}");
        regs.rip = start().rip;
        let trap = context.run(&space, &mut regs).expect("run");
        assert!(matches!(trap, Trap::Fault { .. }), "round {round}: {trap:?}");
    }
}

pub(crate) fn many_spaces_come_and_go(platform: &Arc<dyn Platform>) {
    for _ in 0..5 {
        let guests: Vec<Guest> = (0..10).map(|_| Guest::new(platform, count_and_call())).collect();
        let mut contexts: Vec<_> = guests.iter().map(|g| g.context()).collect();
        for (guest, context) in guests.iter().zip(&mut contexts) {
            let mut regs = Registers { rdi: DATA, ..start() };
            run_to_call(&mut **context, &guest.space, &mut regs);
            assert_eq!(guest.word(0), 1);
        }
    }
}

pub(crate) fn time_is_counted(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, spin());
    let mut context = guest.context();
    let interrupter = context.interrupter();
    let other = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        interrupter.interrupt();
    });
    assert_eq!(context.run(&guest.space, &mut start()).expect("run"), Trap::Interrupted);
    other.join().expect("join");
    let used = guest.space.cpu_time_ns();
    assert!((5_000_000..10_000_000_000).contains(&used), "{used}");
    platform.memory().write(guest.code.offset, call_loop()).expect("write");
    let next = platform.new_address_space().expect("space");
    let backing = Backing::Memory(guest.code.offset);
    next.map(start().rip, PAGE_SIZE, Prot::READ | Prot::EXEC, backing).expect("map");
    drop(guest);
    run_to_call(&mut *context, &next, &mut start());
    assert!(next.cpu_time_ns() < used, "a new program starts from zero");
}
