//! The stub: the one page of code that every guest process has beside the guest's own, and the process that all
//! others are forked from.
//!
//! The page is read-only and executable, lies above the addresses that guests may use, and holds position-independent
//! code without data. A guest may read it and jump into it; a `syscall` instruction there then means no more than
//! anywhere else in a guest.

use std::arch::{asm, global_asm};
use std::io;
use std::ptr;

use host::ptrace::{Resume, Stop};

use super::filter;
use crate::api::PAGE_SIZE;
use crate::guest_process::TASK_SIZE;
use crate::guest_process::prepare::{self, Setup, Signals};

// `init`: r12 = address of this page, r13 = TASK_SIZE. Unmaps all else, then reports with int3 and parks.
// `call`: the Sentry has set rax and the arguments; int3 reports back.
// `maps`: the same for up to three calls of mmap with the same flags and fd. The second and third are in
//   (rbx, rbp, r12) and (r13, r14, r15): address with the protection in its low bits, length, offset; an address of 0 ends
//   them. rax is the first error, or an address.
// `fork`: the same for a clone that makes a process; r12 = the Sentry's pid. The child asks to die with the Sentry,
//   and ends at once when that has died already.
// `thread`: the same for a clone that makes a thread.
// `park`: waits for a tracer.
global_asm!(
    ".pushsection .rodata.runsc_ptrace_stub,\"a\",@progbits",
    ".balign 64",
    ".hidden runsc_ptrace_stub_begin",
    ".globl runsc_ptrace_stub_begin",
    "runsc_ptrace_stub_begin:",
    "    mov eax, {munmap}",
    "    xor edi, edi",
    "    mov rsi, r12",
    "    syscall",
    "    test rax, rax",
    "    jnz 9f",
    "    mov eax, {munmap}",
    "    lea rdi, [r12 + {page}]",
    "    mov rsi, r13",
    "    sub rsi, rdi",
    "    jz 2f",
    "    syscall",
    "    test rax, rax",
    "    jnz 9f",
    "2:  int3",
    ".hidden runsc_ptrace_stub_park",
    ".globl runsc_ptrace_stub_park",
    "runsc_ptrace_stub_park:",
    "    mov eax, {pause}",
    "    syscall",
    "    jmp runsc_ptrace_stub_park",
    "9:  mov edi, 1",
    "    mov eax, {exit_group}",
    "    syscall",
    "    hlt",
    ".hidden runsc_ptrace_stub_call",
    ".globl runsc_ptrace_stub_call",
    "runsc_ptrace_stub_call:",
    "    syscall",
    "    int3",
    "    hlt",
    ".hidden runsc_ptrace_stub_maps",
    ".globl runsc_ptrace_stub_maps",
    "runsc_ptrace_stub_maps:",
    "    syscall",
    "    cmp rax, -4096",
    "    ja 4f",
    "    test rbx, rbx",
    "    jz 4f",
    "    mov rdi, rbx",
    "    and rdi, -4096",
    "    mov edx, ebx",
    "    and edx, 7",
    "    mov rsi, rbp",
    "    mov r9, r12",
    "    mov eax, {mmap}",
    "    syscall",
    "    cmp rax, -4096",
    "    ja 4f",
    "    test r13, r13",
    "    jz 4f",
    "    mov rdi, r13",
    "    and rdi, -4096",
    "    mov edx, r13d",
    "    and edx, 7",
    "    mov rsi, r14",
    "    mov r9, r15",
    "    mov eax, {mmap}",
    "    syscall",
    "4:  int3",
    "    hlt",
    ".hidden runsc_ptrace_stub_fork",
    ".globl runsc_ptrace_stub_fork",
    "runsc_ptrace_stub_fork:",
    "    syscall",
    "    test rax, rax",
    "    jz 3f",
    "    int3",
    "    hlt",
    "3:  mov eax, {prctl}",
    "    mov edi, {set_pdeathsig}",
    "    mov esi, {sigkill}",
    "    syscall",
    "    mov eax, {getppid}",
    "    syscall",
    "    cmp eax, r12d",
    "    jne 9b",
    "    jmp runsc_ptrace_stub_park",
    ".hidden runsc_ptrace_stub_thread",
    ".globl runsc_ptrace_stub_thread",
    "runsc_ptrace_stub_thread:",
    "    syscall",
    "    test rax, rax",
    "    jz runsc_ptrace_stub_park",
    "    int3",
    "    hlt",
    ".hidden runsc_ptrace_stub_end",
    ".globl runsc_ptrace_stub_end",
    "runsc_ptrace_stub_end:",
    ".popsection",
    mmap = const libc::SYS_mmap,
    munmap = const libc::SYS_munmap,
    page = const PAGE_SIZE,
    pause = const libc::SYS_pause,
    exit_group = const libc::SYS_exit_group,
    prctl = const libc::SYS_prctl,
    set_pdeathsig = const libc::PR_SET_PDEATHSIG,
    sigkill = const libc::SIGKILL,
    getppid = const libc::SYS_getppid,
);

unsafe extern "C" {
    static runsc_ptrace_stub_begin: u8;
    static runsc_ptrace_stub_park: u8;
    static runsc_ptrace_stub_call: u8;
    static runsc_ptrace_stub_maps: u8;
    static runsc_ptrace_stub_fork: u8;
    static runsc_ptrace_stub_thread: u8;
    static runsc_ptrace_stub_end: u8;
}

/// Where the stub lies in every guest process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stub {
    /// First address of the page.
    pub(super) base: u64,
}

impl Stub {
    fn address(self, symbol: *const u8) -> u64 {
        self.base + (symbol as u64 - &raw const runsc_ptrace_stub_begin as u64)
    }

    /// Entry that waits for a tracer.
    pub(super) fn park(self) -> u64 {
        self.address(&raw const runsc_ptrace_stub_park)
    }

    /// Entry that makes one system call.
    pub(super) fn call(self) -> u64 {
        self.address(&raw const runsc_ptrace_stub_call)
    }

    /// Entry that makes several mappings.
    pub(super) fn maps(self) -> u64 {
        self.address(&raw const runsc_ptrace_stub_maps)
    }

    /// Entry that forks.
    pub(super) fn fork(self) -> u64 {
        self.address(&raw const runsc_ptrace_stub_fork)
    }

    /// Entry that makes a thread.
    pub(super) fn thread(self) -> u64 {
        self.address(&raw const runsc_ptrace_stub_thread)
    }
}

/// A copy of the stub in the Sentry, at the place where the guests will have it.
struct Page {
    base: u64,
}

impl Page {
    /// As high as there is room, at a random place in the last 32 MiB of the address space.
    fn new() -> io::Result<Page> {
        let mut random = [0u8; 2];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let gap = u64::from(u16::from_ne_bytes(random) & 0x1fff);
        let mut base = TASK_SIZE - (1 + gap) * PAGE_SIZE;
        // The Sentry's own stack may be up there: go down until the place is free.
        for _ in 0..4096 {
            if let Some(page) = Page::at(base)? {
                return Ok(page);
            }
            base -= 16 * PAGE_SIZE;
        }
        Err(io::Error::from_raw_os_error(libc::ENOMEM))
    }

    fn at(base: u64) -> io::Result<Option<Page>> {
        let len = PAGE_SIZE as usize;
        let want = ptr::without_provenance_mut(base as usize);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: with MAP_FIXED_NOREPLACE no existing mapping is touched.
        let at = unsafe { libc::mmap(want, len, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::EEXIST) { Ok(None) } else { Err(error) };
        }
        let page = Page { base: at as u64 };
        if page.base != base {
            // A host that does not know the flag placed it elsewhere.
            return Ok(None);
        }
        let code = &raw const runsc_ptrace_stub_begin;
        let code_len = &raw const runsc_ptrace_stub_end as usize - code as usize;
        assert!(code_len <= len, "the stub fits in its page");
        // SAFETY: the page is new, writable and ours; the code lies between the two symbols.
        unsafe { ptr::copy_nonoverlapping(code, at.cast::<u8>(), code_len) };
        // SAFETY: the page is ours.
        if unsafe { libc::mprotect(at, len, libc::PROT_READ | libc::PROT_EXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Some(page))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the page is ours, and nobody has a reference into it.
        unsafe { libc::munmap(ptr::without_provenance_mut(self.base as usize), PAGE_SIZE as usize) };
    }
}

/// Makes the process that all stubs are forked from; its pid. It dies with the calling thread.
pub(super) fn spawn_master() -> io::Result<(Stub, i32)> {
    let page = Page::new()?;
    let base = page.base;
    let pid = prepare::spawn(&Setup {
        signals: Signals::Traced,
        filter: &filter::program(base),
        more: &|| Some(()),
        enter: enter_stub,
        arguments: [base, 0, 0],
    })?;
    // It has made us its tracer, and stops at the end of its set-up.
    loop {
        match host::ptrace::wait(pid)? {
            Stop::Signal(libc::SIGTRAP) => break,
            Stop::Gone => {
                return Err(io::Error::other("the first stub process ended during its set-up"));
            }
            _ => host::ptrace::resume(pid, Resume::Continue)?,
        }
    }
    Ok((Stub { base }, pid))
}

fn enter_stub([base, ..]: [u64; 3]) -> ! {
    // SAFETY: the stub page is mapped at `base` and begins with its set-up code, which does not come back and uses no
    // stack.
    unsafe {
        asm!(
            "jmp {base}",
            base = in(reg) base,
            in("r12") base,
            in("r13") TASK_SIZE,
            options(noreturn)
        )
    }
}
