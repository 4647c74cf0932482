//! Calls that do next to nothing: what is left is the way there and back.

pub fn getpid() {
    // SAFETY: no arguments, no effect.
    assert!(unsafe { libc::getpid() } > 0);
}

pub fn getppid() {
    // SAFETY: as above.
    assert!(unsafe { libc::getppid() } >= 0);
}

pub fn getppid_syscall() {
    // SAFETY: as above, through the C library's general entry.
    assert!(unsafe { libc::syscall(libc::SYS_getppid) } >= 0);
}

/// From the C library's own wrapper: `mov $95, %eax; syscall`.
pub fn umask() {
    // SAFETY: changes a number.
    unsafe { libc::umask(0o22) };
}

/// From the C library's general entry, where the number comes from a register.
pub fn umask_syscall() {
    // SAFETY: changes a number.
    unsafe { libc::syscall(libc::SYS_umask, 0o22) };
}

/// From memory that stays writable: nobody may rewrite an instruction there.
pub fn unpatchable_umask() -> impl FnMut() {
    // mov $95, %eax; mov $0o22, %edi; syscall; ret
    const CODE: [u8; 13] = [0xb8, 95, 0, 0, 0, 0xbf, 0o22, 0, 0, 0, 0x0f, 0x05, 0xc3];
    // SAFETY: the mapping is new; the code keeps to the C calling convention (rcx and r11 are the caller's to save).
    let call: extern "C" fn() -> i64 = unsafe {
        let at = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(at, libc::MAP_FAILED);
        std::ptr::copy_nonoverlapping(CODE.as_ptr(), at.cast(), CODE.len());
        std::mem::transmute(at)
    };
    move || assert!(call() >= 0)
}

pub fn clock_gettime() {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the structure.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) }, 0);
}
