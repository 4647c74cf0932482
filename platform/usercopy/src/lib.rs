//! Copies that survive a fault on the host mapping.
//!
//! Guest memory is mapped into the Sentry, but the host may refuse to back a page of it: a donated file was
//! truncated behind our back, or the host is out of memory. The routines here are the only code that touches such
//! memory. They are written in assembly, take no stack, and lie in one known range of code: [`install`] sets a
//! handler for SIGSEGV and SIGBUS that, for a fault inside that range, continues at a common fix-up that returns an
//! error. A fault anywhere else is a bug of the Sentry: a line goes to stderr and the default action follows.
//!
//! Threads that use these routines must not block SIGSEGV or SIGBUS.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod handler;

use core::arch::global_asm;

pub use handler::install;

/// The host mapping faulted; part of the bytes may have been copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

// Contract of every routine between the two markers: System V arguments, result in rax, no use of the stack but the
// return address, so that the handler may move rip from any instruction straight to the fix-up.
// Sizes up to 256 bytes go through SSE registers (the common system call structures), larger ones through the
// string instructions, which are fastest there on every CPU with ERMS.
global_asm!(
    ".pushsection .text.runsc_usercopy,\"ax\",@progbits",
    ".balign 64",
    ".hidden runsc_usercopy_begin",
    ".globl runsc_usercopy_begin",
    "runsc_usercopy_begin:",
    // copy(rdi: dst, rsi: src, rdx: len)
    ".hidden runsc_usercopy_copy",
    ".globl runsc_usercopy_copy",
    "runsc_usercopy_copy:",
    "    cmp rdx, 16",
    "    jb 4f",
    "    cmp rdx, 256",
    "    ja 3f",
    "    movups xmm0, [rsi + rdx - 16]",
    "    lea rcx, [rdi + rdx - 16]",
    "2:  movups xmm1, [rsi]",
    "    movups [rdi], xmm1",
    "    add rsi, 16",
    "    add rdi, 16",
    "    cmp rdi, rcx",
    "    jb 2b",
    "    movups [rcx], xmm0",
    "    xor eax, eax",
    "    ret",
    "3:  mov rcx, rdx",
    "    rep movsb",
    "    xor eax, eax",
    "    ret",
    "4:  cmp edx, 8",
    "    jb 5f",
    "    mov rax, [rsi]",
    "    mov rcx, [rsi + rdx - 8]",
    "    mov [rdi], rax",
    "    mov [rdi + rdx - 8], rcx",
    "    xor eax, eax",
    "    ret",
    "5:  cmp edx, 4",
    "    jb 6f",
    "    mov eax, [rsi]",
    "    mov ecx, [rsi + rdx - 4]",
    "    mov [rdi], eax",
    "    mov [rdi + rdx - 4], ecx",
    "    xor eax, eax",
    "    ret",
    // One to three bytes: first, middle and last, which may be the same.
    "6:  test edx, edx",
    "    jz 7f",
    "    mov r8, rdx",
    "    shr r8, 1",
    "    movzx eax, byte ptr [rsi]",
    "    movzx ecx, byte ptr [rsi + rdx - 1]",
    "    movzx r9d, byte ptr [rsi + r8]",
    "    mov [rdi], al",
    "    mov [rdi + r8], r9b",
    "    mov [rdi + rdx - 1], cl",
    "7:  xor eax, eax",
    "    ret",
    // zero(rdi: dst, rsi: len)
    ".hidden runsc_usercopy_zero",
    ".globl runsc_usercopy_zero",
    "runsc_usercopy_zero:",
    "    mov rcx, rsi",
    "    xor eax, eax",
    "    rep stosb",
    "    ret",
    // load_u32(rdi) -> value
    ".hidden runsc_usercopy_load_u32",
    ".globl runsc_usercopy_load_u32",
    "runsc_usercopy_load_u32:",
    "    mov eax, [rdi]",
    "    ret",
    // compare_exchange_u32(rdi, esi: current, edx: new) -> seen | swapped << 32
    ".hidden runsc_usercopy_cmpxchg_u32",
    ".globl runsc_usercopy_cmpxchg_u32",
    "runsc_usercopy_cmpxchg_u32:",
    "    mov eax, esi",
    "    xor ecx, ecx",
    "    lock cmpxchg [rdi], edx",
    "    sete cl",
    "    shl rcx, 32",
    "    or rax, rcx",
    "    ret",
    ".hidden runsc_usercopy_end",
    ".globl runsc_usercopy_end",
    "runsc_usercopy_end:",
    ".hidden runsc_usercopy_fixup",
    ".globl runsc_usercopy_fixup",
    "runsc_usercopy_fixup:",
    "    mov rax, -1",
    "    ret",
    ".popsection",
);

unsafe extern "sysv64" {
    fn runsc_usercopy_copy(dst: *mut u8, src: *const u8, len: usize) -> u64;
    fn runsc_usercopy_zero(dst: *mut u8, len: usize) -> u64;
    fn runsc_usercopy_load_u32(src: *const u32) -> u64;
    fn runsc_usercopy_cmpxchg_u32(dst: *mut u32, current: u32, new: u32) -> u64;
    static runsc_usercopy_begin: u8;
    static runsc_usercopy_end: u8;
    static runsc_usercopy_fixup: u8;
}

/// What the fix-up returns; no routine does.
const FAULTED: u64 = u64::MAX;

/// Copies `len` bytes; the ranges must not overlap.
///
/// # Safety
///
/// [`install`] has been called. Every address of both ranges is either ordinary memory that Rust lets the caller
/// read (`src`) or write (`dst`), or belongs to a shared mapping to which no Rust reference exists (other
/// processes may change it at any time, and accesses may fault).
#[inline]
pub unsafe fn copy(dst: *mut u8, src: *const u8, len: usize) -> Result<(), Fault> {
    // SAFETY: the routine touches the two ranges only, as the caller allows; a fault comes back as an error.
    match unsafe { runsc_usercopy_copy(dst, src, len) } {
        0 => Ok(()),
        _ => Err(Fault),
    }
}

/// Fills `len` bytes with zeros.
///
/// # Safety
///
/// As for the destination of [`copy`].
#[inline]
pub unsafe fn zero(dst: *mut u8, len: usize) -> Result<(), Fault> {
    // SAFETY: the routine touches this range only, as the caller allows; a fault comes back as an error.
    match unsafe { runsc_usercopy_zero(dst, len) } {
        0 => Ok(()),
        _ => Err(Fault),
    }
}

/// Loads an aligned word with acquire order.
///
/// # Safety
///
/// As for the source of [`copy`].
#[inline]
pub unsafe fn load_u32(src: *const u32) -> Result<u32, Fault> {
    // SAFETY: the routine reads this word only, as the caller allows; a fault comes back as an error.
    match unsafe { runsc_usercopy_load_u32(src) } {
        FAULTED => Err(Fault),
        value => Ok(value as u32),
    }
}

/// Compares an aligned word with `current` and replaces it by `new` when equal, in one atomic step:
/// `Ok(Ok(current))` when it was replaced, else `Ok(Err(seen))`.
///
/// # Safety
///
/// As for the destination of [`copy`].
#[inline]
pub unsafe fn compare_exchange_u32(dst: *mut u32, current: u32, new: u32) -> Result<Result<u32, u32>, Fault> {
    // SAFETY: the routine accesses this word only, as the caller allows; a fault comes back as an error.
    match unsafe { runsc_usercopy_cmpxchg_u32(dst, current, new) } {
        FAULTED => Err(Fault),
        packed if packed >> 32 != 0 => Ok(Ok(packed as u32)),
        packed => Ok(Err(packed as u32)),
    }
}

#[cfg(test)]
mod tests;
