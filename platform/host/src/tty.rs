//! Terminals: attributes, size, flushing. Structures go through as the kernel's bytes.

use std::io::Result;
use std::os::fd::{AsFd, AsRawFd};

use crate::check_int;

/// Bytes of the kernel's `struct termios2`.
pub const TERMIOS2: usize = 44;

const TCGETS2: libc::c_ulong = 0x802c_542a;
const TCSETS2: libc::c_ulong = 0x402c_542b;

/// When new attributes take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now = 0,
    /// After the output is out.
    Drain = 1,
    /// After the output is out, with unread input thrown away.
    Flush = 2,
}

/// Attributes (`struct termios2`). ENOTTY for what is no terminal.
pub fn attributes(fd: impl AsFd) -> Result<[u8; TERMIOS2]> {
    let mut bytes = [0u8; TERMIOS2];
    // SAFETY: the kernel writes exactly that structure, whose size the array has.
    check_int(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), TCGETS2, bytes.as_mut_ptr()) })?;
    Ok(bytes)
}

/// Sets attributes (`struct termios2`).
pub fn set_attributes(fd: impl AsFd, when: When, bytes: &[u8; TERMIOS2]) -> Result<()> {
    // SAFETY: the kernel reads exactly that structure; the three requests follow each other.
    check_int(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), TCSETS2 + when as libc::c_ulong, bytes.as_ptr()) })
        .map(drop)
}

/// Rows, columns, and width and height in pixels.
pub fn window_size(fd: impl AsFd) -> Result<[u16; 4]> {
    let mut size = [0u16; 4];
    // SAFETY: the kernel writes four 16-bit numbers.
    check_int(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr()) })?;
    Ok(size)
}

/// Sets rows, columns, and width and height in pixels.
pub fn set_window_size(fd: impl AsFd, size: [u16; 4]) -> Result<()> {
    // SAFETY: the kernel reads four 16-bit numbers.
    check_int(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCSWINSZ, size.as_ptr()) }).map(drop)
}

/// tcflush(3): 0 input, 1 output, 2 both.
pub fn flush(fd: impl AsFd, queue: i32) -> Result<()> {
    // SAFETY: numbers only.
    check_int(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TCFLSH, libc::c_long::from(queue)) })
        .map(drop)
}

/// tcflow(3): 0 and 1 stop and start output, 2 and 3 send STOP and START.
pub fn flow(fd: impl AsFd, action: i32) -> Result<()> {
    // SAFETY: numbers only.
    check_int(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TCXONC, libc::c_long::from(action)) })
        .map(drop)
}

/// tcdrain(3) and tcsendbreak(3): 0 sends a break, others wait until the output is out.
pub fn drain_or_break(fd: impl AsFd, arg: i32) -> Result<()> {
    // SAFETY: numbers only.
    check_int(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TCSBRK, libc::c_long::from(arg)) }).map(drop)
}

/// Bytes that can be read at once (FIONREAD); for pipes and sockets as well.
pub fn readable_bytes(fd: impl AsFd) -> Result<i32> {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int.
    check_int(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONREAD, &mut count) })?;
    Ok(count)
}

/// Bytes of output that are not out yet (TIOCOUTQ).
pub fn unsent_bytes(fd: impl AsFd) -> Result<i32> {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int.
    check_int(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCOUTQ, &mut count) })?;
    Ok(count)
}
