//! Mappings, volatile access, memory shared with children, and the fault that an access raises.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use libc::{MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, c_int, siginfo_t, ucontext_t};

use super::check::{exit_now, fail, ok};
use super::child::{describe, fork};
use super::files::{close, pipe};
use super::signal::{Info, on};
use crate::sys;

/// Bytes in a page.
pub const PAGE: usize = 4096;
/// Readable and writable.
pub const RW: c_int = PROT_READ | PROT_WRITE;
/// Private anonymous.
pub const ANON: c_int = MAP_PRIVATE | MAP_ANONYMOUS;
/// Shared anonymous.
pub const SHARED_ANON: c_int = MAP_SHARED | MAP_ANONYMOUS;

/// A private anonymous mapping where the kernel likes.
#[track_caller]
pub fn map(length: usize, prot: c_int) -> usize {
    ok(sys!(mmap, 0, length, prot, ANON, -1, 0)) as usize
}

/// A mapping of a file, at any address.
#[track_caller]
pub fn map_file(fd: c_int, offset: usize, length: usize, prot: c_int, flags: c_int) -> usize {
    ok(sys!(mmap, 0, length, prot, flags, fd, offset)) as usize
}

/// Unmaps.
#[track_caller]
pub fn unmap(addr: usize, length: usize) {
    ok(sys!(munmap, addr, length));
}

/// Reads a byte; may fault.
pub fn peek(addr: usize) -> u8 {
    // SAFETY: a volatile access; the case wants either the byte or the fault.
    unsafe { (addr as *const u8).read_volatile() }
}

/// Writes a byte; may fault.
pub fn poke(addr: usize, value: u8) {
    // SAFETY: as in `peek`; no Rust reference points into the pages that cases map themselves.
    unsafe { (addr as *mut u8).write_volatile(value) }
}

/// Reads 8 aligned bytes.
pub fn peek64(addr: usize) -> u64 {
    // SAFETY: as in `peek`.
    unsafe { (addr as *const u64).read_volatile() }
}

/// Writes 8 aligned bytes.
pub fn poke64(addr: usize, value: u64) {
    // SAFETY: as in `poke`.
    unsafe { (addr as *mut u64).write_volatile(value) }
}

/// Calls code at an address, with no arguments; gives rax.
pub fn call(addr: usize) -> u64 {
    // SAFETY: the case has put a function there, or wants the fault.
    let code: extern "C" fn() -> u64 = unsafe { std::mem::transmute(addr) };
    code()
}

/// A zeroed `T` in memory that children share.
#[track_caller]
pub fn shared<T: Sync>() -> &'static T {
    let addr = ok(sys!(mmap, 0, size_of::<T>().max(1), RW, SHARED_ANON, -1, 0)) as usize;
    // SAFETY: fresh zeroed pages that are never unmapped; T is made of atomics, for which zero is a value.
    unsafe { &*(addr as *const T) }
}

/// Reads a byte for the fault's sake.
pub fn touch(addr: usize) {
    peek(addr);
}

/// Calls code for the fault's sake.
pub fn jump(addr: usize) {
    call(addr);
}

static REPORT: AtomicI32 = AtomicI32::new(-1);

extern "C" fn report(_: c_int, info: *mut siginfo_t, _: *mut ucontext_t) {
    let info = Info::copy(info);
    let _ = sys!(write, REPORT.load(Ordering::SeqCst), &info, size_of::<Info>());
    exit_now(99);
}

/// The handler must run even where the stack is what faulted. It is no mapping of its own, because the next `mmap` must
/// not fill the hole that a case has made.
static STACK: [AtomicU64; 8192] = [const { AtomicU64::new(0) }; 8192];

/// Runs `body` in a child and gives the SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP that it raised, if any.
#[track_caller]
pub fn fault_of(body: impl FnOnce()) -> Option<Info> {
    let [read_end, write_end] = pipe(0);
    let child = fork(|| {
        REPORT.store(write_end, Ordering::SeqCst);
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
            on(signal, report, libc::SA_ONSTACK);
        }
        let stack =
            libc::stack_t { ss_sp: STACK.as_ptr() as *mut _, ss_flags: 0, ss_size: size_of_val(&STACK) };
        ok(sys!(sigaltstack, &stack, 0));
        body();
    });
    let status = child.status();
    close(write_end);
    let mut info = Info::default();
    let got = ok(sys!(read, read_end, &mut info, size_of::<Info>())) as usize;
    close(read_end);
    match status {
        0 => None,
        s if libc::WIFEXITED(s) && libc::WEXITSTATUS(s) == 99 && got == size_of::<Info>() => Some(info),
        s => fail(format_args!("the child that was to fault {}", describe(s))),
    }
}

/// `body` must raise this signal with this code and address.
#[track_caller]
pub fn faults(body: impl FnOnce(), signal: c_int, code: c_int, addr: usize) {
    match fault_of(body) {
        None => fail(format_args!("expected signal {signal} at {addr:#x}, got no fault")),
        Some(info) => {
            let got = (info.signal(), info.code(), info.addr());
            if got != (signal, code, addr as u64) {
                fail(format_args!(
                    "expected (signal, code, address) ({signal}, {code}, {addr:#x}), got ({}, {}, {:#x})",
                    got.0, got.1, got.2
                ));
            }
        }
    }
}

/// `body` must not fault.
#[track_caller]
pub fn does_not_fault(body: impl FnOnce()) {
    if let Some(info) = fault_of(body) {
        fail(format_args!(
            "expected no fault, got signal {} code {} at {:#x}",
            info.signal(),
            info.code(),
            info.addr()
        ));
    }
}
