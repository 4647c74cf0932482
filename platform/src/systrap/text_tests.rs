//! Rewritten calls, seen from the Sentry: as if nothing had been rewritten.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::conformance::guest::{CODE, DATA, guest_code, run_to_call};
use crate::{Backing, HostFile, PAGE_SIZE, Prot, Registers, Trap};

guest_code! {
    /// Makes calls 95 and 96 in turn, rdi times each, then call 97; all registers are used. The stack pointer is rbp.
    rewritable:
        "2: mov eax, 95" "syscall" "cmp rax, -4095"
        "mov eax, 96" "syscall" "cmp rax, -4095"
        "dec rdi" "jnz 2b" "mov eax, 97" "syscall" "ud2"
}
guest_code! {
    /// The same, with numbers that the instruction before does not tell; then padding, up to a multiple of 16.
    by_rax:
        "2: mov al, 95" "movzx eax, al" "syscall" "cmp rax, -4095"
        "mov al, 96" "movzx eax, al" "syscall" "cmp rax, -4095"
        "dec rdi" "jnz 2b" "mov eax, 97" "syscall" "jmp 2b"
        ".fill 24, 1, 0x90"
}

/// Tests that are done with both.
macro_rules! both {
    ($($name:ident)*) => {
        mod told { $(#[test] fn $name() { super::$name(super::rewritable()) })* }
        mod in_rax { $(#[test] fn $name() { super::$name(super::by_rax()) })* }
    };
}

both! {
    calls_through_the_gate_look_like_others
    registers_can_be_read_and_changed_at_a_call_through_the_gate
    a_jump_to_the_instruction_itself_is_a_call
    interrupts_on_the_way_show_guest_code
    answers_and_interrupts_through_the_gate
    places_of_answered_calls_are_rewritten
    a_guest_may_use_gs
    single_steps_go_over_a_call
    rewritten_code_can_go_at_any_time
    files_that_may_change_are_left_alone
    threads_in_the_gate_are_used_again
}

/// Bytes of their code.
const LEN: u64 = 40;

/// Where the calls above return to.
const BACK: [u64; 2] = [CODE + 7, CODE + 20];

/// A program with that code in the first of two pages.
fn program(code: &[u8]) -> Arc<HostFile> {
    let mut elf = vec![0; 3 * PAGE_SIZE as usize];
    let put = |elf: &mut Vec<u8>, at: usize, bytes: &[u8]| elf[at..at + bytes.len()].copy_from_slice(bytes);
    put(&mut elf, 0, b"\x7fELF\x02\x01\x01");
    put(&mut elf, 18, &62u16.to_le_bytes());
    put(&mut elf, 32, &64u64.to_le_bytes());
    put(&mut elf, 54, &56u16.to_le_bytes());
    put(&mut elf, 56, &1u16.to_le_bytes());
    // PT_LOAD, readable and executable: offset, and sizes.
    put(&mut elf, 64, &1u32.to_le_bytes());
    put(&mut elf, 68, &5u32.to_le_bytes());
    put(&mut elf, 72, &PAGE_SIZE.to_le_bytes());
    let len = PAGE_SIZE + 100;
    put(&mut elf, 96, &len.to_le_bytes());
    put(&mut elf, 104, &len.to_le_bytes());
    put(&mut elf, PAGE_SIZE as usize, code);
    let mut file = tempfile::tempfile().expect("file");
    file.write_all(&elf).expect("write");
    let file = HostFile::new(file.into(), false);
    file.set_fixed();
    Arc::new(file)
}

pub(super) struct Program {
    pub(super) platform: SystrapPlatform,
    pub(super) space: Arc<dyn AddressSpace>,
    file: Arc<HostFile>,
    /// Frames at `DATA`.
    pub(super) data: crate::Frames,
}

impl Program {
    pub(super) fn new(rewriting: Rewriting, code: &[u8]) -> Program {
        let memory = MemoryFile::new(None).expect("memory file");
        let platform = SystrapPlatform::with(memory, rewriting).expect("platform");
        let space = platform.new_address_space().expect("space");
        let data = platform.memory().allocate(PAGE_SIZE).expect("data");
        space.map(DATA, PAGE_SIZE, Prot::READ | Prot::WRITE, Backing::Memory(data.offset)).expect("map");
        let program = Program { platform, space, file: program(code), data };
        program.map();
        program
    }

    fn map(&self) {
        let backing = Backing::File(&self.file, PAGE_SIZE);
        self.space.map(CODE, 2 * PAGE_SIZE, Prot::READ | Prot::EXEC, backing).expect("map");
    }

    fn own(&self) -> Arc<SystrapSpace> {
        SystrapSpace::of(&self.space).expect("systrap")
    }

    pub(super) fn context(&self) -> SystrapContext {
        SystrapContext::new(Arc::clone(&self.platform.shared))
    }

    /// Runs calls until they come through the gate.
    fn warm_up(&self, context: &mut SystrapContext) {
        let mut regs = begin(u64::MAX);
        for _ in 0..200 {
            run_to_call(context, &self.space, &mut regs);
            regs.rax = 0;
        }
        assert!(context.is_in_gate(), "calls come through the gate");
    }
}

/// Registers that differ from each other.
fn begin(rdi: u64) -> Registers {
    Registers {
        rip: CODE,
        rdi,
        rsi: 2,
        rdx: 3,
        r10: 4,
        r8: 5,
        r9: 6,
        rbx: 7,
        rbp: 8,
        r12: 9,
        r13: 10,
        r14: 11,
        r15: 12,
        rsp: DATA + 0x800,
        fs_base: 0x5000,
        ..Registers::default()
    }
}

/// Checks what a call shows, and that nothing else has changed.
#[track_caller]
fn check(regs: &Registers, before: &Registers, number: u64) {
    let back = BACK[(number - 95) as usize];
    assert_eq!((regs.orig_rax, regs.rip, regs.rcx), (number, back, back), "{regs:x?}");
    assert_eq!(regs.r11, regs.eflags);
    let seen = Registers {
        rip: before.rip,
        rcx: before.rcx,
        r11: before.r11,
        rax: before.rax,
        orig_rax: before.orig_rax,
        rdi: before.rdi,
        eflags: before.eflags,
        cs: before.cs,
        ss: before.ss,
        ..*regs
    };
    assert_eq!(seen, *before);
}

/// Makes all calls of `rounds` rounds, each as it should be; `between` is done before each.
fn calls(
    context: &mut SystrapContext,
    space: &Arc<dyn AddressSpace>,
    regs: &mut Registers,
    rounds: u64,
    mut between: impl FnMut(&mut SystrapContext, &mut Registers),
) {
    let before = *regs;
    regs.rdi = rounds;
    for round in 0..rounds {
        for number in [95, 96] {
            loop {
                match context.run(space, regs).expect("run") {
                    Trap::Syscall => break,
                    Trap::Interrupted => {
                        let code = CODE..CODE + LEN;
                        assert!(code.contains(&regs.rip), "{regs:x?}");
                    }
                    other => panic!("{other:?} {regs:x?}"),
                }
            }
            check(regs, &before, number);
            assert_eq!(regs.rdi, rounds - round);
            regs.rax = round;
            between(context, regs);
        }
    }
    loop {
        match context.run(space, regs).expect("run") {
            Trap::Syscall => break assert_eq!(regs.orig_rax, 97),
            Trap::Interrupted => {}
            other => panic!("{other:?} {regs:x?}"),
        }
    }
    *regs = before;
}

fn calls_through_the_gate_look_like_others(code: &'static [u8]) {
    for rewriting in [Rewriting::Off, Rewriting::On] {
        let program = Program::new(rewriting, code);
        let mut context = program.context();
        let mut gate = 0;
        calls(&mut context, &program.space, &mut begin(0), 300, |context, _| {
            gate += u32::from(context.is_in_gate())
        });
        assert_eq!(gate > 400, rewriting == Rewriting::On, "{gate}");
        // Where the file is known, all further spaces have the copy at once.
        let space = program.platform.new_address_space().expect("space");
        let backing = Backing::File(&program.file, PAGE_SIZE);
        space.map(CODE, 2 * PAGE_SIZE, Prot::READ | Prot::EXEC, backing).expect("map");
        calls(&mut program.context(), &space, &mut begin(0), 3, |context, _| {
            assert_eq!(context.is_in_gate(), rewriting == Rewriting::On);
        });
        // And children.
        let child = program.space.fork().expect("fork");
        calls(&mut program.context(), &child, &mut begin(0), 3, |context, _| {
            assert_eq!(context.is_in_gate(), rewriting == Rewriting::On);
        });
    }
}

fn registers_can_be_read_and_changed_at_a_call_through_the_gate(code: &'static [u8]) {
    let program = Program::new(Rewriting::On, code);
    let mut context = program.context();
    program.warm_up(&mut context);
    let (mut step, mut given) = (0u8, 0u8);
    calls(&mut context, &program.space, &mut begin(0), 200, |context, _| {
        step = step.wrapping_add(1);
        if step.is_multiple_of(3) {
            let mut area = context.fpu().expect("fpu").to_vec();
            // xmm0
            assert_eq!(area[160], given);
            given = step;
            area[160] = given;
            // The SSE registers are there.
            area[512] |= 3;
            context.set_fpu(&area).expect("fpu");
        }
    });
    // Somewhere else, with everything different, and back.
    let mut regs = begin(5);
    run_to_call(&mut context, &program.space, &mut regs);
    assert!(context.is_in_gate());
    let mut other = Registers { rip: BACK[0], rcx: 77, r11: 78, rax: 79, rsp: DATA, ..begin(9) };
    run_to_call(&mut context, &program.space, &mut other);
    assert_eq!((other.orig_rax, other.rsp, other.rdi), (96, DATA, 9));
    // A call that is to be made again.
    other.rip -= 2;
    other.rax = 400;
    run_to_call(&mut context, &program.space, &mut other);
    assert_eq!((other.orig_rax, other.rip), (400, BACK[1]));
}

fn a_jump_to_the_instruction_itself_is_a_call(code: &'static [u8]) {
    let program = Program::new(Rewriting::On, code);
    let mut context = program.context();
    program.warm_up(&mut context);
    let mut regs = Registers { rip: CODE + 5, rax: 200, ..begin(9) };
    run_to_call(&mut context, &program.space, &mut regs);
    assert_eq!((regs.orig_rax, regs.rip, regs.rdi), (200, CODE + 7, 9));
}

fn interrupts_on_the_way_show_guest_code(code: &'static [u8]) {
    let program = Program::new(Rewriting::On, code);
    let mut context = program.context();
    program.warm_up(&mut context);
    let interrupter = context.interrupter();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                interrupter.interrupt();
                for _ in 0..200 {
                    std::hint::spin_loop();
                }
            }
        });
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(800) {
            calls(&mut context, &program.space, &mut begin(0), 100, |_, _| {});
        }
        over.store(true, Ordering::Relaxed);
    });
}

fn answers_and_interrupts_through_the_gate(code: &'static [u8]) {
    let program = Program::new(Rewriting::On, code);
    let mut context = program.context();
    program.warm_up(&mut context);
    context.set_answers(&[crate::Answer { number: 95, value: 4711 }]);
    let interrupter = context.interrupter();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                interrupter.interrupt();
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        let before = begin(0);
        let mut regs = Registers { rdi: 20_000, ..before };
        let mut seen = 0;
        loop {
            let trap = context.run(&program.space, &mut regs).expect("run");
            if trap == Trap::Interrupted {
                assert!((CODE..CODE + LEN).contains(&regs.rip), "{regs:x?}");
                assert!(regs.rip != BACK[0] || regs.rax == 4711, "{regs:x?}");
                continue;
            }
            assert_eq!(trap, Trap::Syscall);
            if regs.orig_rax == 97 {
                break;
            }
            check(&regs, &before, 96);
            seen += 1;
        }
        assert_eq!(seen, 20_000);
        over.store(true, Ordering::Relaxed);
    });
}

fn places_of_answered_calls_are_rewritten(code: &'static [u8]) {
    let program = Program::new(Rewriting::On, code);
    let mut context = program.context();
    let answers = [(95, 1), (96, 2)].map(|(number, value)| crate::Answer { number, value });
    context.set_answers(&answers);
    let mut regs = begin(1000);
    run_to_call(&mut context, &program.space, &mut regs);
    assert_eq!((regs.orig_rax, regs.rdi), (97, 0));
    assert!(program.own().is_gated());
}

fn a_guest_may_use_gs(code: &'static [u8]) {
    let program = Program::new(Rewriting::On, code);
    let mut context = program.context();
    program.warm_up(&mut context);
    let zeros = vec![0; PAGE_SIZE as usize];
    // Its own memory, and none at all.
    for gs_base in [DATA, 0x1234_5000, 1] {
        let mut regs = Registers { gs_base, ..begin(0) };
        calls(&mut context, &program.space, &mut regs, 20, |context, _| assert!(!context.is_in_gate()));
        let mut data = zeros.clone();
        program.platform.memory().read(program.data.offset, &mut data).expect("read");
        assert_eq!(data, zeros, "nothing was written there");
    }
    calls(&mut context, &program.space, &mut begin(0), 3, |_, _| {});
    assert!(context.is_in_gate());
}

fn single_steps_go_over_a_call(code: &'static [u8]) {
    const TRAP_FLAG: u64 = 1 << 8;
    let program = Program::new(Rewriting::On, code);
    let mut context = program.context();
    program.warm_up(&mut context);
    let mut regs = Registers { eflags: TRAP_FLAG, ..begin(2) };
    let mut seen = Vec::new();
    for _ in 0..40 {
        match context.run(&program.space, &mut regs).expect("run") {
            Trap::Exception { signal: libc::SIGTRAP, .. } => seen.push(regs.rip - CODE),
            Trap::Syscall => {
                seen.push(1000 + regs.orig_rax);
                if regs.orig_rax == 97 {
                    break;
                }
                regs.eflags |= TRAP_FLAG;
                regs.r11 = regs.eflags;
            }
            other => panic!("{other:?}"),
        }
    }
    let mut calls: Vec<_> = seen.iter().filter(|&&at| at >= 1000).collect();
    calls.dedup();
    assert_eq!(calls, [&1095, &1096, &1095, &1096, &1097], "{seen:?}");
    assert!(seen.iter().all(|at| !(LEN..1000).contains(at)), "{seen:?}");
}

/// One thread makes calls while another takes the rewritten code away, and gives it back.
fn rewritten_code_can_go_at_any_time(code: &'static [u8]) {
    let program = Program::new(Rewriting::On, code);
    let mut context = program.context();
    program.warm_up(&mut context);
    let own = program.own();
    let over = AtomicBool::new(false);
    let copy = program.platform.memory().allocate(PAGE_SIZE).expect("copy");
    program.platform.memory().write(copy.offset, code).expect("write");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            let at = Registers { rip: CODE + PAGE_SIZE + 200, ..begin(0) };
            let mut changes = 0;
            while began.elapsed() < Duration::from_secs(1) || changes < 8 {
                let prot = Prot::READ | Prot::EXEC;
                match changes % 4 {
                    // A page of its own, as after a write.
                    0 => program.space.map(CODE, PAGE_SIZE, prot, Backing::Memory(copy.offset)),
                    1 => program.space.protect(CODE, PAGE_SIZE, prot),
                    // What the calls go to.
                    2 => program.space.unmap(CODE + PAGE_SIZE, PAGE_SIZE),
                    _ => program.space.protect(CODE, 2 * PAGE_SIZE, prot),
                }
                .expect("change");
                assert!(own.call_at(&at).is_none(), "the copy is gone");
                std::thread::sleep(Duration::from_millis(1));
                program.map();
                assert!(own.call_at(&at).is_some(), "the copy is back");
                std::thread::sleep(Duration::from_millis(1));
                changes += 1;
            }
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) {
            calls(&mut context, &program.space, &mut begin(0), 50, |_, _| {});
        }
    });
}

fn files_that_may_change_are_left_alone(code: &'static [u8]) {
    let program = Program::new(Rewriting::On, code);
    // A space of its own, as the file is known here only later.
    let space = program.platform.new_address_space().expect("space");
    let fd = program.file.fd().try_clone().expect("clone");
    let file = Arc::new(HostFile::new(fd, false));
    space.map(CODE, 2 * PAGE_SIZE, Prot::READ | Prot::EXEC, Backing::File(&file, PAGE_SIZE)).expect("map");
    calls(&mut program.context(), &space, &mut begin(0), 100, |context, _| assert!(!context.is_in_gate()));
    // Part of the code only.
    let space = program.platform.new_address_space().expect("space");
    let backing = Backing::File(&program.file, PAGE_SIZE);
    space.map(CODE, PAGE_SIZE, Prot::READ | Prot::EXEC, backing).expect("map");
    calls(&mut program.context(), &space, &mut begin(0), 100, |context, _| assert!(!context.is_in_gate()));
    assert!(!SystrapSpace::of(&space).expect("systrap").is_gated());
}

/// Threads that were left in the gate are used again by others.
fn threads_in_the_gate_are_used_again(code: &'static [u8]) {
    let program = Program::new(Rewriting::On, code);
    program.warm_up(&mut program.context());
    for round in 0..20 {
        let mut context = program.context();
        let mut regs = Registers { rbx: 100 + round, ..begin(0) };
        calls(&mut context, &program.space, &mut regs, 3, |_, _| {});
        assert!(context.is_in_gate());
    }
}
