//! Interrupts from other threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::guest::{Guest, call_loop, spin, start};
use crate::{Interrupter, Platform, Registers, Trap};

pub(crate) fn an_early_interrupt_is_kept(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, spin());
    let mut context = guest.context();
    context.interrupter().interrupt();
    context.interrupter().interrupt();
    let mut regs = start();
    assert_eq!(context.run(&guest.space, &mut regs).expect("run"), Trap::Interrupted);
    // Both were the same one: the next run ends only with the next.
    let interrupter = context.interrupter();
    let (sender, receiver) = mpsc::channel();
    let other = std::thread::spawn(move || {
        receiver.recv_timeout(Duration::from_millis(20)).unwrap_err();
        interrupter.interrupt();
        receiver.recv_timeout(Duration::from_secs(10))
    });
    assert_eq!(context.run(&guest.space, &mut regs).expect("run"), Trap::Interrupted);
    sender.send(()).expect("the other waits");
    assert_eq!(other.join().expect("join"), Ok(()));
}

pub(crate) fn a_spinning_guest_is_interrupted(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, spin());
    let mut context = guest.context();
    let interrupter = context.interrupter();
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        interrupter.interrupt();
    });
    let mut regs = start();
    assert_eq!(context.run(&guest.space, &mut regs).expect("run"), Trap::Interrupted);
    other.join().expect("join");
    assert!(regs.rbx > 1000, "it ran: {}", regs.rbx);
    assert_eq!(regs.orig_rax, u64::MAX);
    // Nothing is left over, and it goes on where it was.
    let before = regs.rbx;
    let interrupter = context.interrupter();
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        interrupter.interrupt();
    });
    assert_eq!(context.run(&guest.space, &mut regs).expect("run"), Trap::Interrupted);
    assert!(regs.rbx > before + 1000, "it ran on");
    other.join().expect("join");
}

/// One side interrupts and waits until that has been seen before it does so again, at every point of a guest that
/// makes calls or spins.
pub(crate) fn no_interrupt_is_lost(platform: &Arc<dyn Platform>) {
    const ROUNDS: u64 = 2000;
    for code in [call_loop(), spin()] {
        let guest = Guest::new(platform, code);
        let seen = Arc::new(AtomicU64::new(0));
        let done = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel::<Arc<dyn Interrupter>>();
        let (seen_too, done_too) = (seen.clone(), done.clone());
        let other = std::thread::spawn(move || {
            let interrupter = receiver.recv().expect("interrupter");
            for round in 1..=ROUNDS {
                for _ in 0..round % 50 * 20 {
                    std::hint::spin_loop();
                }
                interrupter.interrupt();
                let began = std::time::Instant::now();
                while seen_too.load(Ordering::SeqCst) < round {
                    if began.elapsed() > Duration::from_secs(10) {
                        panic!("interrupt {round} was lost");
                    }
                    std::thread::yield_now();
                }
            }
            done_too.store(true, Ordering::SeqCst);
            interrupter.interrupt();
        });
        let mut context = guest.context();
        sender.send(context.interrupter()).expect("send");
        let mut regs = Registers { rbx: 39, ..start() };
        while !done.load(Ordering::SeqCst) && !other.is_finished() {
            match context.run(&guest.space, &mut regs).expect("run") {
                Trap::Interrupted => drop(seen.fetch_add(1, Ordering::SeqCst)),
                trap => assert_eq!(trap, Trap::Syscall),
            }
        }
        other.join().expect("no interrupt is lost");
    }
}
