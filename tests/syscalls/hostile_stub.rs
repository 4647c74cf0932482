//! A guest that turns on what the platform keeps in its process: it scribbles over everything there that can be written, from
//! several threads that make calls meanwhile, and jumps to every byte of the code, with registers that point to the same
//! places.
//!
//! `hostile-stub SEED` does this in children and prints `survived` when all of them have ended or could be killed, and this
//! process still works. Only for a sandbox: natively there is nothing to attack.

use std::arch::global_asm;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libc::{c_int, c_void};

/// Where a platform may keep something: the end of the lower half.
const TOP: u64 = 0x7fff_ffff_f000;
const SEARCHED: u64 = 512 << 20;
/// What is looked for is aligned to this, or ends at [`TOP`].
const STEP: u64 = 16 << 10;
const PAGE: u64 = 4096;
/// Longest time for a child.
const SCRIBBLE: Duration = Duration::from_millis(300);
/// Longest time at one offset.
const STUCK: Duration = Duration::from_millis(20);
/// Longest time to the first of them.
const SLOW: Duration = Duration::from_secs(20);
const THREADS: usize = 4;

// `probe`: whether the byte at rdi can be read (rsi = 0) or written (rsi = 1); a fault goes on at `probe_failed` with 0.
// `leap`: jumps to rdi with all registers from [rsi], stack pointer included; a fault goes on at `leap_failed`.
global_asm!(
    ".globl probe",
    "probe:",
    "    mov al, [rdi]",
    "    test esi, esi",
    "    jz 2f",
    "    lock add byte ptr [rdi], 0",
    "2:  mov eax, 1",
    "    ret",
    ".globl probe_failed",
    "probe_failed:",
    "    xor eax, eax",
    "    ret",
    ".globl leap",
    "leap:",
    "    push rbx",
    "    push rbp",
    "    push r12",
    "    push r13",
    "    push r14",
    "    push r15",
    "    mov [rip + leap_stack], rsp",
    "    mov [rip + leap_to], rdi",
    "    mov rax, [rsi]",
    "    mov rbx, [rsi + 8]",
    "    mov rcx, [rsi + 16]",
    "    mov rdx, [rsi + 24]",
    "    mov rdi, [rsi + 40]",
    "    mov rbp, [rsi + 48]",
    "    mov rsp, [rsi + 56]",
    "    mov r8, [rsi + 64]",
    "    mov r9, [rsi + 72]",
    "    mov r10, [rsi + 80]",
    "    mov r11, [rsi + 88]",
    "    mov r12, [rsi + 96]",
    "    mov r13, [rsi + 104]",
    "    mov r14, [rsi + 112]",
    "    mov r15, [rsi + 120]",
    "    mov rsi, [rsi + 32]",
    "    jmp [rip + leap_to]",
    ".globl leap_failed",
    "leap_failed:",
    "    mov rsp, [rip + leap_stack]",
    "    pop r15",
    "    pop r14",
    "    pop r13",
    "    pop r12",
    "    pop rbp",
    "    pop rbx",
    "    cld",
    "    ret",
    ".pushsection .bss",
    ".balign 8",
    "leap_stack: .zero 8",
    "leap_to: .zero 8",
    ".popsection",
);

unsafe extern "C" {
    fn probe(at: u64, write: u32) -> u32;
    fn probe_failed();
    fn leap(to: u64, registers: *const [u64; 16]);
    fn leap_failed();
}

/// Whether this process leaps, and does not probe.
static LEAPING: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_fault(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let leaping = LEAPING.load(Ordering::SeqCst) != 0;
    let on = if leaping { leap_failed as *const () } else { probe_failed as *const () };
    // SAFETY: what the kernel passes to a handler.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    context.uc_mcontext.gregs[libc::REG_RIP as usize] = on as i64;
}

fn handle_faults() {
    // SAFETY: the handler changes only the context that it is given; the stack stays for ever.
    unsafe {
        let len = 64 << 10;
        let stack = libc::stack_t { ss_sp: map(len), ss_flags: 0, ss_size: len };
        libc::sigaltstack(&stack, std::ptr::null_mut());
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_fault;
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGTRAP, libc::SIGFPE, libc::SIGSYS] {
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// Memory that children share.
fn map(len: usize) -> *mut c_void {
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, wherever the kernel likes.
    unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, -1, 0) }
}

/// What the kernel says that is mapped.
fn own_mappings() -> Vec<(u64, u64)> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let range = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    };
    maps.lines().filter_map(range).collect()
}

/// Pages that are there although the kernel tells of none: those that can be written, and those that can't.
fn hidden(from: u64, step: u64) -> (Vec<u64>, Vec<u64>) {
    let own = own_mappings();
    let (mut writable, mut readable) = (Vec::new(), Vec::new());
    for at in (from..TOP).step_by(step as usize) {
        if own.iter().any(|&(start, end)| (start..end).contains(&at)) {
            continue;
        }
        // SAFETY: faults are handled; a write that succeeds changes nothing.
        unsafe {
            if probe(at, 1) != 0 {
                writable.push(at);
            } else if probe(at, 0) != 0 {
                readable.push(at);
            }
        }
    }
    (writable, readable)
}

/// How far from those of another process those of this process's threads are looked for.
const NEARBY: u64 = 64;

/// The areas of this process's threads, at most `most`: near those that another process has, the nearest first. (To look costs
/// a signal each time.)
fn areas(near: u64, most: usize) -> Vec<u64> {
    let slots = (0..NEARBY).flat_map(|i| [near + i * STEP, near - (i + 1) * STEP]);
    // SAFETY: as in `hidden`.
    slots.filter(|&at| unsafe { probe(at, 1) } != 0).take(most).collect()
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Small numbers, wild ones, and places in areas.
fn value(random: &mut Random, areas: &[u64]) -> u64 {
    let area = areas.get(random.next() as usize % areas.len().max(1)).copied().unwrap_or(0);
    match random.next() % 4 {
        0 => random.next() % 4,
        1 => random.next(),
        2 => area + random.next() % STEP,
        _ => area,
    }
}

/// Threads that make calls while others write over what they make them with.
fn scribble(near: u64, seed: u64) -> ! {
    let thread = move |number: u64| {
        let mut random = Random((seed << 8 | number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let areas = areas(near, THREADS);
        // The first words are those that both sides look at: they get their part of the blows.
        for round in 0u64.. {
            for &area in &areas {
                let len = if round % 8 == 0 { STEP } else { 512 };
                let at = area + random.next() % len / 8 * 8;
                let value = value(&mut random, &areas);
                // SAFETY: none. Whatever becomes of this process, it is a child made for that.
                unsafe {
                    if number.is_multiple_of(2) {
                        (at as *mut u64).write_volatile(value);
                    } else {
                        (at as *mut u32).write_volatile(value as u32);
                    }
                }
            }
            // SAFETY: calls without effect.
            unsafe {
                libc::syscall(libc::SYS_getppid);
                libc::syscall(libc::SYS_umask, 0o22);
                libc::sched_yield();
            }
        }
    };
    for number in 1..THREADS as u64 {
        std::thread::spawn(move || thread(number));
    }
    thread(0);
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(0) }
}

/// Jumps to every byte of the page, from the one that `progress` says.
fn leap_through(page: u64, near: u64, seed: u64, progress: &AtomicU64) -> ! {
    let areas = areas(near, 1);
    LEAPING.store(1, Ordering::SeqCst);
    loop {
        let offset = progress.fetch_add(1, Ordering::SeqCst);
        if offset >= PAGE {
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(0) };
        }
        let mut random = Random((seed << 16 | offset).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut registers: [u64; 16] = std::array::from_fn(|_| value(&mut random, &areas));
        // Often a stack in an area, as the stub has it.
        if offset.is_multiple_of(2)
            && let Some(area) = areas.first()
        {
            registers[7] = area + STEP / 2;
        }
        // SAFETY: none, as above.
        unsafe { leap(page + offset, &registers) };
    }
}

fn fork(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            child();
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(0) }
        }
        -1 => {
            eprintln!("fork failed: {}", std::io::Error::last_os_error());
            std::process::exit(1);
        }
        pid => pid,
    }
}

/// Waits for the child; kills it when `is_stuck` says so.
fn wait(pid: libc::pid_t, mut is_stuck: impl FnMut() -> bool) {
    let mut status = 0;
    // SAFETY: a place for the status.
    while unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG | libc::__WALL) } == 0 {
        if is_stuck() {
            // SAFETY: numbers.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn main() {
    let Some(seed) = std::env::args().nth(1).and_then(|arg| arg.parse::<u64>().ok()) else {
        eprintln!("usage: hostile-stub SEED");
        std::process::exit(2);
    };
    handle_faults();
    let (writable, mut readable) = hidden(TOP - SEARCHED, STEP);
    // The code may be a page that is not aligned to more; it is the last that can be read.
    let last = readable.iter().chain(&writable).max().map_or(TOP - STEP, |at| at + STEP);
    readable.extend((last.saturating_sub(STEP)..(last + STEP).min(TOP)).step_by(PAGE as usize).filter(
        |&at| {
            // SAFETY: as in `hidden`.
            unsafe { probe(at, 0) != 0 }
        },
    ));
    let code = readable.iter().max().copied();
    println!("found {} writable, code {}", writable.len().min(1), u32::from(code.is_some()));
    let near = writable.first().copied().unwrap_or(TOP - NEARBY * STEP);
    if !writable.is_empty() {
        for round in 0..8 {
            let begun = Instant::now();
            let pid = fork(|| scribble(near, seed << 8 | round));
            wait(pid, || begun.elapsed() > SCRIBBLE);
        }
    }
    if let Some(code) = code {
        // SAFETY: a new mapping of zeros, for ever.
        let progress = unsafe { &*map(PAGE as usize).cast::<AtomicU64>() };
        while progress.load(Ordering::SeqCst) < PAGE {
            let (begun, first) = (Instant::now(), progress.load(Ordering::SeqCst));
            let mut last = (first, begun);
            let pid = fork(|| leap_through(code, near, seed, progress));
            wait(pid, || {
                let now = progress.load(Ordering::SeqCst);
                if now != last.0 {
                    last = (now, Instant::now());
                }
                // At first it has to get ready, which takes a busy machine a while.
                if now == first { begun.elapsed() > SLOW } else { last.1.elapsed() > STUCK }
            });
            if progress.load(Ordering::SeqCst) == first {
                eprintln!("a child died before its first leap");
                std::process::exit(1);
            }
        }
    }
    println!("survived");
}
