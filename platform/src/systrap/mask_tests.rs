//! rt_sigprocmask(2) and set_robust_list(2) as the stub answers them, seen from the Sentry.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::text_tests::Program;
use super::*;
use crate::conformance::guest::{CODE, DATA, guest_code, run_to_call};
use crate::{Answer, Interrupter, PAGE_SIZE, Prot, Registers, SignalMask, Trap};

guest_code! {
    /// Makes call 14 with the registers as they are, rbp times, and keeps its answer in r15; then call 97.
    told_14: "2: mov eax, 14" "syscall" "mov r15, rax" "dec rbp" "jnz 2b" "mov eax, 97" "syscall" "ud2"
}
guest_code! {
    /// The same, with numbers that the instruction before does not tell; then padding, up to a multiple of 16.
    by_rax_14:
        "2: mov al, 14" "movzx eax, al" "syscall" "cmp rax, -4095" "mov r15, rax" "dec rbp" "jnz 2b" "mov eax, 97" "syscall"
        "jmp 2b" ".balign 16, 0x90" ".fill 16, 1, 0x90"
}
guest_code! {
    /// As `told_14`, with call 273.
    told_273: "2: mov eax, 273" "syscall" "mov r15, rax" "dec rbp" "jnz 2b" "mov eax, 97" "syscall" "ud2"
}
guest_code! {
    /// As `take_turns`, with a second half that jumps right to the instruction.
    take_turns_by_signal:
        "2: mov rsi, rbx" "mov eax, 14" "syscall" "test rax, rax" "jnz 9f" "mov r15, [rdx]" "cmp r15, [rbx + 8]" "jne 9f"
        "lea rsi, [rbx+8]" "mov eax, 14" "jmp 4f" "3: mov eax, 14" "4: syscall" "test rax, rax" "jnz 9f" "mov r15, [rdx]"
        "cmp r15, [rbx]" "jne 9f" "dec rbp" "jnz 2b" "mov eax, 97" "syscall" "9: mov eax, 98" "syscall" "ud2"
}
guest_code! {
    /// Puts the mask at [rbx] in place and then that at [rbx + 8], rbp times, and looks each time whether the old one, at [rdx], is the
    /// other of them; then call 97, or 98 when it is not.
    take_turns:
        "2: mov rsi, rbx" "mov eax, 14" "syscall" "test rax, rax" "jnz 9f" "mov r15, [rdx]" "cmp r15, [rbx + 8]" "jne 9f"
        "lea rsi, [rbx + 8]" "mov eax, 14" "syscall" "test rax, rax" "jnz 9f" "mov r15, [rdx]" "cmp r15, [rbx]" "jne 9f"
        "dec rbp" "jnz 2b" "mov eax, 97" "syscall" "9: mov eax, 98" "syscall" "ud2"
}

const SET: u64 = DATA;
const OLD: u64 = DATA + 16;
const ANSWERS: [Answer; 1] = [Answer { number: 39, value: 1 }];

fn word(program: &Program, at: u64) -> u64 {
    let mut bytes = [0; 8];
    program.platform.memory().read(program.data.offset + (at - DATA), &mut bytes).expect("read");
    u64::from_le_bytes(bytes)
}

fn set_word(program: &Program, at: u64, value: u64) {
    program.platform.memory().write(program.data.offset + (at - DATA), &value.to_le_bytes()).expect("write");
}

/// A call with these arguments.
fn call(how: i32, set: u64, old: u64) -> Registers {
    let rdi = how as u32 as u64;
    Registers {
        rip: CODE,
        rdi,
        rsi: set,
        rdx: old,
        r10: 8,
        r8: 5,
        r9: 6,
        rbx: 7,
        rbp: 1,
        ..Registers::default()
    }
}

/// A context whose calls come through the gate, and its mask.
fn warm(program: &Program) -> (SystrapContext, Arc<dyn SignalMask>) {
    let mut context = program.context();
    let mut regs = Registers { rbp: u64::MAX, ..call(0, 0, 0) };
    for _ in 0..200 {
        run_to_call(&mut context, &program.space, &mut regs);
        assert!([14, 273].contains(&regs.orig_rax));
        regs.rax = 0;
    }
    assert!(context.is_in_gate(), "calls come through the gate");
    let mask = context.signal_mask().expect("a mask");
    (context, mask)
}

fn for_both(test: impl Fn(&Program)) {
    for code in [told_14(), by_rax_14()] {
        test(&Program::new(Rewriting::On, code));
    }
}

#[test]
fn an_open_mask_is_changed_without_a_trap() {
    const UNBLOCKABLE: u64 = 1 << 8 | 1 << 18;
    for_both(|program| {
        let (mut context, mask) = warm(program);
        context.set_answers(&ANSWERS);
        let mut run = |how, set, old| {
            let before = call(how, set, old);
            let mut regs = before;
            run_to_call(&mut context, &program.space, &mut regs);
            assert_eq!((regs.orig_rax, regs.r15), (97, 0), "{regs:x?}");
            let same =
                |r: &Registers| [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9, r.rbx, r.r12, r.r13, r.r14, r.rsp];
            assert_eq!(same(&regs), same(&before));
        };
        mask.set(0b1100);
        mask.open();
        for (how, set, new) in [
            (libc::SIG_BLOCK, 0b0110, 0b1110),
            (libc::SIG_UNBLOCK, 0b0101, 0b1010),
            (libc::SIG_SETMASK, u64::MAX, !UNBLOCKABLE),
            (libc::SIG_SETMASK, 0b11, 0b11),
        ] {
            let before = mask.get();
            set_word(program, SET, set);
            run(how, SET, OLD);
            assert_eq!((word(program, OLD), mask.get(), word(program, SET)), (before, new, set));
        }
        // One of them only, or none. `how` matters only for a change.
        set_word(program, SET, 0b10000);
        run(libc::SIG_BLOCK, SET, 0);
        assert_eq!(mask.get(), 0b10011);
        run(99, 0, OLD);
        assert_eq!((word(program, OLD), mask.get()), (0b10011, 0b10011));
        run(99, 0, 0);
        // It goes along into another space, where other pages show it.
        let child = program.space.fork().expect("fork");
        let mut regs = call(libc::SIG_UNBLOCK, SET, OLD);
        run_to_call(&mut context, &child, &mut regs);
        assert_eq!((regs.orig_rax, word(program, OLD), mask.get()), (97, 0b10011, 0b11));
        drop(context);
        assert_eq!(mask.get(), 0b11);
    });
}

#[test]
fn what_the_stub_does_not_answer_is_a_call() {
    for_both(|program| {
        let (mut context, mask) = warm(program);
        mask.set(0b1100);
        set_word(program, SET, 0b11);
        let run = |context: &mut SystrapContext, before: Registers| {
            let mut regs = before;
            run_to_call(context, &program.space, &mut regs);
            let same =
                |r: &Registers| [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9, r.rbx, r.rbp, r.r12, r.r13, r.r14];
            assert_eq!((regs.orig_rax, same(&regs)), (14, same(&before)), "{regs:x?}");
            assert_eq!((mask.get(), word(program, SET)), (0b1100, 0b11));
        };
        let plain = call(libc::SIG_BLOCK, SET, OLD);
        // Closed; open, but every call is to be seen; taken away by another thread; closed again.
        run(&mut context, plain);
        mask.open();
        run(&mut context, plain);
        context.set_answers(&ANSWERS);
        context.interrupter().silence();
        run(&mut context, plain);
        context.set_answers(&ANSWERS);
        mask.close();
        run(&mut context, plain);
        mask.open();
        // A page that can be read only: the new mask can't be had back, so nothing is changed.
        let read_only = DATA + PAGE_SIZE;
        program.space.protect(DATA, PAGE_SIZE, Prot::READ).expect("protect");
        run(&mut context, plain);
        program.space.protect(DATA, PAGE_SIZE, Prot::READ | Prot::WRITE).expect("protect");
        for odd in [
            Registers { r10: 4, ..plain },
            Registers { r10: 8 | 1 << 32, ..plain },
            call(3, SET, OLD),
            call(-1, SET, OLD),
            // The same place twice, and places that overlap.
            call(libc::SIG_SETMASK, SET, SET),
            call(libc::SIG_SETMASK, SET, SET + 4),
            call(libc::SIG_SETMASK, SET + 1, OLD),
            // Nothing there, nowhere to be, and what is the platform's own.
            call(libc::SIG_SETMASK, read_only, OLD),
            call(libc::SIG_SETMASK, 8, 0),
            call(libc::SIG_BLOCK, SET, 8),
            call(0, 0, 8),
            call(0, 0, 1 << 63),
            call(libc::SIG_SETMASK, 1 << 62, 0),
            call(libc::SIG_SETMASK, SET, program.platform.shared.layout.code()),
        ] {
            run(&mut context, odd);
        }
        // And again one that it does answer.
        let mut regs = plain;
        run_to_call(&mut context, &program.space, &mut regs);
        assert_eq!((regs.orig_rax, mask.get()), (97, 0b1111));
    });
}

/// What the kernel does with such a call.
fn answer(program: &Program, mask: &Arc<dyn SignalMask>, regs: &mut Registers) {
    set_word(program, regs.rdx, mask.get());
    mask.set(word(program, regs.rsi));
    regs.rax = 0;
}

const TURNS: [u64; 2] = [0x5555_aaaa_0000_0007, 0xaaaa_5555_fff8_0000];

/// The guest takes turns for ever while `other` does something; each stop is `stopped`'s, which says whether it goes on.
fn take_turns_while(
    code: &[u8],
    other: impl FnOnce(&Arc<dyn SignalMask>, &Arc<dyn Interrupter>, &AtomicBool) + Send,
    mut stopped: impl FnMut(&Program, &Arc<dyn SignalMask>, Trap, &mut Registers),
) {
    let program = Program::new(Rewriting::On, code);
    let mut context = program.context();
    let mask = context.signal_mask().expect("a mask");
    set_word(&program, SET, TURNS[0]);
    set_word(&program, SET + 8, TURNS[1]);
    mask.set(TURNS[1]);
    let mut regs = Registers { rbx: SET, rbp: u64::MAX, ..call(libc::SIG_SETMASK, 0, OLD) };
    // An odd number: the last one is the first of a turn.
    for _ in 0..201 {
        run_to_call(&mut context, &program.space, &mut regs);
        answer(&program, &mask, &mut regs);
    }
    assert!(context.is_in_gate(), "calls come through the gate");
    context.set_answers(&ANSWERS);
    let interrupter = context.interrupter();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (over, mask) = (&over, &mask);
        scope.spawn(move || {
            other(mask, &interrupter, over);
            over.store(true, Ordering::SeqCst);
            interrupter.interrupt();
        });
        while !over.load(Ordering::SeqCst) {
            let trap = context.run(&program.space, &mut regs).expect("run");
            assert!((CODE..CODE + code.len() as u64).contains(&regs.rip), "{regs:x?}");
            assert!(trap != Trap::Syscall || regs.orig_rax == 14, "the old mask was not the last: {regs:x?}");
            stopped(&program, mask, trap, &mut regs);
        }
    });
}

#[test]
fn a_call_that_is_interrupted_is_done_or_not_begun() {
    interrupted_turns(take_turns());
}

#[test]
fn a_call_that_is_a_signal_and_is_interrupted_is_done_or_not_begun() {
    interrupted_turns(take_turns_by_signal());
}

fn interrupted_turns(code: &[u8]) {
    let mut calls = 0;
    take_turns_while(
        code,
        |mask, interrupter, _| {
            let began = Instant::now();
            for round in 0.. {
                if began.elapsed() > Duration::from_millis(1500) {
                    break;
                }
                interrupter.interrupt();
                if round % 16 == 0 {
                    mask.close();
                }
                (0..200).for_each(|_| std::hint::spin_loop());
            }
        },
        |program, mask, trap, regs| {
            assert!(TURNS.contains(&mask.get()));
            if trap == Trap::Syscall {
                answer(program, mask, regs);
                calls += 1;
            } else {
                assert_eq!(trap, Trap::Interrupted);
            }
            if calls % 3 == 0 {
                mask.open();
            }
        },
    );
}

/// Who closes a mask and then reads it has seen the last change, unless the context stops for it.
#[test]
fn a_change_is_seen_by_who_closes_the_mask_or_stops() {
    const NONE: u64 = 0;
    let (wanted, ended, seen) = (AtomicBool::new(true), AtomicBool::new(false), AtomicU64::new(NONE));
    let (mut by_call, mut by_stop) = (0u32, 0u32);
    take_turns_while(
        take_turns(),
        |mask, _, _| {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(1500) {
                if !wanted.swap(false, Ordering::SeqCst) {
                    std::hint::spin_loop();
                    continue;
                }
                (0..began.elapsed().subsec_nanos() % 512).for_each(|_| std::hint::spin_loop());
                mask.close();
                seen.store(mask.get(), Ordering::SeqCst);
            }
            ended.store(true, Ordering::SeqCst);
        },
        |program, mask, trap, regs| {
            let told = loop {
                let told = seen.load(Ordering::SeqCst);
                if told != NONE || ended.load(Ordering::SeqCst) {
                    break told;
                }
                std::hint::spin_loop();
            };
            if trap == Trap::Syscall {
                // It has found the mask closed: who did that has seen what is there.
                assert!(told == mask.get() || ended.load(Ordering::SeqCst));
                answer(program, mask, regs);
                by_call += 1;
            } else {
                assert_eq!(trap, Trap::Interrupted);
                by_stop += 1;
            }
            seen.store(NONE, Ordering::SeqCst);
            mask.open();
            wanted.store(true, Ordering::SeqCst);
        },
    );
    eprintln!("{by_call} found it closed, {by_stop} stopped");
}

#[test]
fn a_robust_list_is_set_without_a_trap() {
    let program = Program::new(Rewriting::On, told_273());
    let (mut context, _) = warm(&program);
    let list = context.robust_list().expect("a list");
    let set = |context: &mut SystrapContext, address: u64, len: u64| {
        let mut regs = Registers { rdi: address, rsi: len, ..call(0, 0, 0) };
        run_to_call(context, &program.space, &mut regs);
        assert_eq!((regs.rdi, regs.rsi, regs.rbx), (address, len, 7));
        (regs.orig_rax, regs.r15)
    };
    list.set_head(5);
    assert_eq!(set(&mut context, 1, 24).0, 273);
    assert_eq!(list.head(), 5);
    context.set_answers(&ANSWERS);
    for address in [DATA, 0, u64::MAX] {
        assert_eq!(set(&mut context, address, 24), (97, 0));
        assert_eq!(list.head(), address);
        assert_eq!(set(&mut context, 1, 23).0, 273);
        assert_eq!(set(&mut context, 1, 24 | 1 << 32).0, 273);
        assert_eq!(list.head(), address);
    }
    context.interrupter().silence();
    assert_eq!(set(&mut context, 1, 24).0, 273);
    drop(context);
    assert_eq!(list.head(), u64::MAX);
}

/// From places that are not rewritten, which here is a jump right to the instruction.
#[test]
fn calls_that_are_signals_go_on_by_the_gate() {
    const TRAP_FLAG: u64 = 1 << 8;
    let program = Program::new(Rewriting::On, told_14());
    let (mut context, mask) = warm(&program);
    context.set_answers(&ANSWERS);
    mask.open();
    let at_call = |set, old| Registers { rip: CODE + 5, rax: 14, ..call(libc::SIG_SETMASK, set, old) };
    let (mut answered, mut seen) = (0, 0);
    for value in 1..1000 {
        let before = mask.get();
        set_word(&program, SET, value << 20);
        let mut regs = at_call(SET, OLD);
        run_to_call(&mut context, &program.space, &mut regs);
        if regs.orig_rax == 97 {
            assert_eq!((regs.r15, word(&program, OLD), mask.get()), (0, before, value << 20));
            answered += 1;
        } else {
            // One of many.
            assert_eq!((regs.orig_rax, regs.rip, mask.get()), (14, CODE + 7, before));
            seen += 1;
        }
    }
    assert!((2..6).contains(&seen) && answered > 990, "{answered} {seen}");
    // Where the gate can't go on, or has nothing to answer, the call is seen at its place.
    let before = mask.get();
    let guests_gs = Registers { gs_base: DATA, ..at_call(SET, OLD) };
    let by_steps = Registers { eflags: TRAP_FLAG, ..at_call(SET, OLD) };
    for odd in [guests_gs, by_steps, at_call(8, OLD), at_call(SET, 8), at_call(SET, SET)] {
        let mut regs = odd;
        run_to_call(&mut context, &program.space, &mut regs);
        assert_eq!((regs.orig_rax, regs.rip, regs.rcx, mask.get()), (14, CODE + 7, CODE + 7, before));
        assert_eq!([regs.rsi, regs.rdx, regs.gs_base], [odd.rsi, odd.rdx, odd.gs_base]);
    }
    mask.close();
    let mut regs = at_call(SET, OLD);
    run_to_call(&mut context, &program.space, &mut regs);
    assert_eq!((regs.orig_rax, regs.rip, mask.get()), (14, CODE + 7, before));
    let mut regs = Registers { rax: 273, rdi: DATA, rsi: 24, ..at_call(0, 0) };
    run_to_call(&mut context, &program.space, &mut regs);
    assert_eq!((regs.orig_rax, regs.r15), (97, 0));
    assert_eq!(context.robust_list().map(|list| list.head()), Some(DATA));
}
