//! Calls as C libraries make them: the number is loaded right before the instruction, or comes in a register and the result is compared
//! with the lowest error right after. A sandbox may rewrite such places when
//! they are used often; a program can't tell, but by reading its own code.

use std::arch::{asm, global_asm};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::kit::filter::{ALLOW, ERRNO, JEQ, LOAD, Op, RET, TRAP, install, on_call, op};
use crate::kit::prelude::*;

// `site_loop(rounds)`: umask(022) that often; how often something was not as the instruction leaves it.
// `site()`: getppid. `site_jump()`: its instruction, with the number of getpid.
global_asm!(
    // Around the call of a loop: what it must leave as it is, and whether it has.
    ".macro site_loop_begins",
    "    push rbx",
    "    push r12",
    "    push r13",
    "    mov rbx, rdi",
    "    xor r12d, r12d",
    "    mov r13, rsp",
    "2:  mov qword ptr [rsp - 8], 0x1234567",
    "    mov [rsp - 128], rbx",
    "    mov edi, 0x12",
    ".endm",
    ".macro site_loop_ends",
    "    test r11, 1",
    "    jz 3f",
    "    cmp qword ptr [rsp - 8], 0x1234567",
    "    jne 3f",
    "    cmp [rsp - 128], rbx",
    "    jne 3f",
    "    cmp rsp, r13",
    "    jne 3f",
    "    cmp edi, 0x12",
    "    je 4f",
    "3:  inc r12",
    "4:  dec rbx",
    "    jnz 2b",
    "    mov rax, r12",
    "    pop r13",
    "    pop r12",
    "    pop rbx",
    "    ret",
    ".endm",
    ".balign 64",
    ".globl site_loop",
    "site_loop:",
    "    site_loop_begins",
    "    stc",
    ".globl site_loop_number",
    "site_loop_number:",
    "    mov eax, 95",
    ".globl site_loop_call",
    "site_loop_call:",
    "    syscall",
    ".globl site_loop_back",
    "site_loop_back:",
    "    jnc 3f",
    "    cmp rax, 0x12",
    "    jne 3f",
    "    lea rax, [rip + site_loop_back]",
    "    cmp rax, rcx",
    "    jne 3f",
    "    site_loop_ends",
    ".globl site_loop_end",
    "site_loop_end:",
    ".balign 64",
    // The same with the number in a register.
    ".globl site_by_rax_loop",
    "site_by_rax_loop:",
    "    site_loop_begins",
    "    mov ecx, 95",
    "    stc",
    "    mov eax, ecx",
    ".globl site_by_rax_call",
    "site_by_rax_call:",
    "    syscall",
    ".globl site_by_rax_back",
    "site_by_rax_back:",
    "    cmp rax, -4095",
    "    jae 3f",
    "    cmp rax, 0x12",
    "    jne 3f",
    "    lea rax, [rip + site_by_rax_back]",
    "    cmp rax, rcx",
    "    jne 3f",
    "    site_loop_ends",
    ".balign 16",
    "    nop",
    ".balign 64",
    // `site_by_rax(number)`: the call without arguments.
    ".globl site_by_rax",
    "site_by_rax:",
    "    mov rax, rdi",
    "    syscall",
    "    cmp rax, -4095",
    "    jae 5f",
    "5:  ret",
    ".balign 64",
    ".globl site",
    "site:",
    "    mov eax, 110",
    "site_call:",
    "    syscall",
    ".globl site_back",
    "site_back:",
    "    ret",
    ".globl site_jump",
    "site_jump:",
    "    mov eax, 39",
    "    jmp site_call",
);

unsafe extern "C" {
    fn site_loop(rounds: u64) -> u64;
    fn site_by_rax_loop(rounds: u64) -> u64;
    fn site_by_rax(number: i64) -> i64;
    fn site() -> i64;
    fn site_jump() -> i64;
    static site_loop_number: u8;
    static site_loop_call: u8;
    static site_loop_back: u8;
    static site_loop_end: u8;
    static site_by_rax_call: u8;
    static site_by_rax_back: u8;
    static site_back: u8;
    static __executable_start: u8;
    static etext: u8;
}

/// More than it takes to find that a place is used often.
const OFTEN: u64 = 200;

/// Makes calls, each checked.
#[track_caller]
fn calls(rounds: u64) {
    // SAFETY: keeps the rules of the C ABI and makes calls that do no harm.
    eq(unsafe { [site_loop(rounds), site_by_rax_loop(rounds)] }, [0, 0]);
}

fn parent_by_site() -> i64 {
    // SAFETY: as above.
    unsafe { site() }
}

fn warm_up() {
    for _ in 0..OFTEN {
        parent_by_site();
    }
}

/// umask(2) answers what was set before.
fn set_umask() {
    ok(sys!(umask, 0o22));
}

case!(leave_registers_flags_and_stack: umask);
fn leave_registers_flags_and_stack() {
    set_umask();
    calls(OFTEN);
    calls(OFTEN);
}

case!(work_in_threads_and_children: umask, clone, fork);
fn work_in_threads_and_children() {
    set_umask();
    let body = || {
        calls(OFTEN);
        in_child(|| calls(OFTEN));
        calls(OFTEN);
    };
    let threads: Vec<_> = (0..3).map(|_| thread::spawn(body).1).collect();
    body();
    threads.into_iter().for_each(thread::join);
}

static SIGNALS: AtomicU64 = AtomicU64::new(0);
static STRANGE: AtomicU64 = AtomicU64::new(0);

/// Where a signal finds the program: in its own code, with the registers that belong there.
extern "C" fn look(_: c_int, _: *mut libc::siginfo_t, context: *mut libc::ucontext_t) {
    // SAFETY: what the kernel passes to a handler.
    let registers = unsafe { &(*context).uc_mcontext.gregs };
    let at = |register: c_int| registers[register as usize] as u64;
    let (rip, rax) = (at(libc::REG_RIP), at(libc::REG_RAX));
    let address = |symbol: *const u8| symbol as u64;
    let program = address(&raw const __executable_start)..address(&raw const etext);
    let whole = site_loop as *const () as u64..address(&raw const site_loop_end);
    let calls = [&raw const site_loop_call, &raw const site_by_rax_call].map(address);
    let backs = [&raw const site_loop_back, &raw const site_by_rax_back].map(address);
    let right = if calls.contains(&rip) {
        rax == 95
    } else if backs.contains(&rip) {
        rax == 0x12
    } else if rip > address(&raw const site_loop_number) && rip < address(&raw const site_loop_back) {
        false
    } else {
        program.contains(&rip)
    };
    // Its stack is that of the program.
    let mine = &raw const right as u64;
    let stack = at(libc::REG_RSP);
    if !right || (whole.contains(&rip) && stack.wrapping_sub(mine) > 64 << 10) {
        STRANGE.store(rip, Ordering::Relaxed);
    }
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

case!(signals_find_the_program_itself: umask, rt_sigaction, tgkill, setitimer);
fn signals_find_the_program_itself() {
    static READY: AtomicBool = AtomicBool::new(false);
    static OVER: AtomicBool = AtomicBool::new(false);
    const ENOUGH: u64 = 2000;
    set_umask();
    sig::on(SIGUSR1, look, SA_RESTART);
    sig::on(SIGALRM, look, SA_RESTART);
    let (pid, tid) = (ok(sys!(getpid)), ok(sys!(gettid)));
    let (_, sender) = thread::spawn(move || {
        sig::block(sig::bit(SIGALRM));
        while !READY.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let begun = std::time::Instant::now();
        while SIGNALS.load(Ordering::Relaxed) < ENOUGH && begun.elapsed().as_secs() < 3 {
            let before = SIGNALS.load(Ordering::Relaxed);
            ok(sys!(tgkill, pid, tid, SIGUSR1));
            for _ in 0..10_000 {
                if SIGNALS.load(Ordering::Relaxed) != before {
                    break;
                }
                std::hint::spin_loop();
            }
        }
        OVER.store(true, Ordering::Relaxed);
    });
    // From here on this thread is in its own program alone: it does not ask the vDSO for the time.
    // Once at a time: on a slow machine it would else do nothing but handle signals.
    let timer = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
        it_value: libc::timeval { tv_sec: 0, tv_usec: 90 },
    };
    READY.store(true, Ordering::Relaxed);
    while !OVER.load(Ordering::Relaxed) {
        ok(sys!(setitimer, libc::ITIMER_REAL, &timer, 0));
        calls(100);
    }
    ok(sys!(setitimer, libc::ITIMER_REAL, &[0u64; 4], 0));
    thread::join(sender);
    check(SIGNALS.load(Ordering::Relaxed) > 10, "signals came");
    eq(STRANGE.load(Ordering::Relaxed), 0);
}

case!(take_any_number: getpid, getppid);
fn take_any_number() {
    let (own, parent) = (ok(sys!(getpid)), ok(sys!(getppid)));
    // SAFETY: the calls take no arguments, or do not exist.
    let call = |number| unsafe { site_by_rax(number) };
    for _ in 0..OFTEN {
        eq(call(nr::getpid), own);
        eq(call(nr::getppid), parent);
        // The upper half is not looked at.
        eq(call(nr::getppid | 1 << 32), parent);
        for number in [-1, u32::MAX.into(), 0xffff_fff0, 1 << 20, i64::MIN + 999] {
            eq(call(number), -i64::from(ENOSYS));
        }
    }
}

case!(may_be_jumped_into: getpid, getppid);
fn may_be_jumped_into() {
    let (own, parent) = (ok(sys!(getpid)), ok(sys!(getppid)));
    for _ in 0..OFTEN {
        eq(parent_by_site(), parent);
        // SAFETY: as in `calls`.
        eq(unsafe { site_jump() }, own);
    }
}

case!(leave_gs_to_the_program: arch_prctl, umask);
fn leave_gs_to_the_program() {
    set_umask();
    calls(OFTEN);
    let area = map(PAGE, RW);
    ok(sys!(arch_prctl, 0x1001, area));
    let check_gs = || {
        let mut gs = 0u64;
        ok(sys!(arch_prctl, 0x1004, &mut gs));
        eq(gs, area as u64);
        poke64(area + 24, 0xfeed);
        let read: u64;
        // SAFETY: gs points at the page above.
        unsafe { asm!("mov {}, gs:[24]", out(reg) read) };
        eq(read, 0xfeed);
        poke64(area + 24, 0);
    };
    calls(OFTEN);
    check_gs();
    in_child(|| {
        calls(OFTEN);
        check_gs();
    });
    check((0..PAGE).step_by(8).all(|at| peek64(area + at) == 0), "nobody wrote there");
    ok(sys!(arch_prctl, 0x1001, 0));
    let mut gs = 1u64;
    ok(sys!(arch_prctl, 0x1004, &mut gs));
    eq(gs, 0);
    calls(OFTEN);
}

case!(may_be_changed_by_the_program: mprotect, getpid);
fn may_be_changed_by_the_program() {
    in_child(|| {
        warm_up();
        let (own, parent) = (ok(sys!(getpid)), ok(sys!(getppid)));
        let at = site as *const () as usize;
        let page = at / PAGE * PAGE;
        ok(sys!(mprotect, page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
        for _ in 0..3 {
            poke(at + 1, 39);
            eq(parent_by_site(), own);
            poke(at + 1, 110);
            eq(parent_by_site(), parent);
        }
        ok(sys!(mprotect, page, PAGE, PROT_READ | PROT_EXEC));
        set_umask();
        calls(OFTEN);
        eq(parent_by_site(), parent);
    });
}

case!(read_by_others_are_as_written: write, pread64);
fn read_by_others_are_as_written() {
    warm_up();
    let at = site as *const () as usize;
    let want = [0xb8, 110, 0, 0, 0, 0x0f, 0x05];
    let mut bytes = [0u8; 7];
    let memory = ok(sys!(openat, AT_FDCWD, c"/proc/self/mem", O_RDONLY, 0));
    eq(ok(sys!(pread64, memory, &mut bytes, 7, at)), 7);
    eq(bytes, want);
    let [r, w] = pipe(0);
    eq(ok(sys!(write, w, at, 7)), 7);
    eq(read(r, 7), want);
    // The instruction itself is there for everybody.
    eq([peek(at + 5), peek(at + 6)], [0x0f, 0x05]);
}

case!(have_their_address_in_filters: seccomp);
fn have_their_address_in_filters() {
    let back = &raw const site_back as u64;
    warm_up();
    in_child(|| {
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        sig::on(SIGSYS, sig::record, 0);
        ok(install(&on_call(nr::getppid as u32, TRAP | 5), 0));
        eq(parent_by_site(), nr::getppid);
        // si_call_addr
        eq(sig::log()[0].0[2], back);
    });
    in_child(|| {
        let parent = ok(sys!(getppid));
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        // The lower half of the instruction pointer.
        let program = [
            op(LOAD, 8),
            Op { code: JEQ, jt: 0, jf: 1, k: back as u32 },
            op(RET, ERRNO | 42),
            op(RET, ALLOW),
        ];
        ok(install(&program, 0));
        for _ in 0..OFTEN {
            eq(parent_by_site(), -42);
            eq(ok(sys!(getppid)), parent);
        }
    });
}

case!(work_in_further_mappings: mmap, munmap, mremap);
fn work_in_further_mappings() {
    let parent = ok(sys!(getppid));
    warm_up();
    let at = site as *const () as usize;
    // The mapping that the code is in: where, and which part of the program.
    let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let found = text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let number = |word: &str| usize::from_str_radix(word, 16).ok();
        let (start, end) = (number(start)?, number(end)?);
        let offset = number(words.nth(1)?)?;
        (start..end).contains(&at).then_some((start, end - start, offset))
    });
    let Some((start, len, offset)) = found else { fail("no mapping of the code") };
    let file = ok(sys!(openat, AT_FDCWD, c"/proc/self/exe", O_RDONLY, 0)) as c_int;
    let copy = map_file(file, offset, len, PROT_READ | PROT_EXEC, MAP_PRIVATE);
    let check_copy = |copy: usize| {
        // SAFETY: the same code, which does not care where it is.
        let site: extern "C" fn() -> i64 = unsafe { std::mem::transmute(copy + (at - start)) };
        for _ in 0..OFTEN {
            eq(site(), parent);
        }
    };
    check_copy(copy);
    // Without its last page, which nothing else needs.
    unmap(copy + len - PAGE, PAGE);
    check_copy(copy);
    // Whole, and then elsewhere.
    let copy = map_file(file, offset, len, PROT_READ | PROT_EXEC, MAP_PRIVATE);
    check_copy(copy);
    let place = map(len, PROT_NONE);
    let moved = ok(sys!(mremap, copy, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, place)) as usize;
    check_copy(moved);
    unmap(moved, len);
    eq(parent_by_site(), parent);
}
