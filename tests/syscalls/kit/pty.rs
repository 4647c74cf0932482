//! Pseudoterminals.

use std::ffi::CString;

use libc::{O_NOCTTY, O_RDWR, POLLIN, c_int, pollfd};

use super::check::{fail, ok};
use super::files::{open, read};
use crate::sys;

/// `struct termios` as TCGETS gives it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Termios {
    /// Input modes.
    pub input: u32,
    /// Output modes.
    pub output: u32,
    /// Control modes.
    pub control: u32,
    /// Local modes.
    pub local: u32,
    /// Line discipline.
    pub line: u8,
    /// Control characters.
    pub chars: [u8; 19],
}

/// A pair of master and slave.
#[derive(Clone, Copy, Debug)]
pub struct Pty {
    /// The end of the terminal emulator.
    pub master: c_int,
    /// The end of the programs.
    pub slave: c_int,
    /// N of /dev/pts/N.
    pub number: c_int,
}

impl Pty {
    /// A new pair, which is nobody's controlling terminal.
    #[track_caller]
    pub fn new() -> Pty {
        let master = open(c"/dev/ptmx", O_RDWR | O_NOCTTY);
        ok(sys!(ioctl, master, libc::TIOCSPTLCK, &0i32));
        let mut number = -1;
        ok(sys!(ioctl, master, libc::TIOCGPTN, &mut number));
        let slave = open(&name(number), O_RDWR | O_NOCTTY);
        Pty { master, slave, number }
    }

    /// /dev/pts/N
    pub fn name(&self) -> CString {
        name(self.number)
    }

    /// Types at the terminal.
    #[track_caller]
    pub fn type_in(&self, bytes: &[u8]) {
        super::files::write_all(self.master, bytes);
    }

    /// What is on the screen within a short time; waits for as many bytes as are expected.
    #[track_caller]
    pub fn screen(&self, expected: &[u8]) {
        let mut got = Vec::new();
        while got.len() < expected.len() && readable(self.master, 5000) {
            got.extend(read(self.master, 4096));
        }
        if got != expected {
            fail(format_args!(
                "on the screen: expected {:?}, got {:?}",
                String::from_utf8_lossy(expected),
                String::from_utf8_lossy(&got)
            ));
        }
        if readable(self.master, 0) {
            fail(format_args!("more on the screen: {:?}", String::from_utf8_lossy(&read(self.master, 4096))));
        }
    }

    /// What a program reads, in one call.
    #[track_caller]
    pub fn line(&self) -> Vec<u8> {
        if !readable(self.slave, 5000) {
            fail("there is nothing to read");
        }
        read(self.slave, 4096)
    }

    /// Whether a program would wait for input.
    #[track_caller]
    pub fn has_input(&self) -> bool {
        readable(self.slave, 0)
    }

    /// The modes.
    #[track_caller]
    pub fn modes(&self) -> Termios {
        let mut modes = Termios::default();
        ok(sys!(ioctl, self.slave, libc::TCGETS, &mut modes));
        modes
    }

    /// Sets modes.
    #[track_caller]
    pub fn set_modes(&self, modes: Termios) {
        ok(sys!(ioctl, self.slave, libc::TCSETS, &modes));
    }

    /// Changes modes.
    #[track_caller]
    pub fn change(&self, change: impl FnOnce(&mut Termios)) {
        let mut modes = self.modes();
        change(&mut modes);
        self.set_modes(modes);
    }

    /// No echo, so that the screen shows only what programs write.
    #[track_caller]
    pub fn quiet(self) -> Pty {
        self.change(|m| m.local &= !(libc::ECHO | libc::ECHONL));
        self
    }
}

fn name(number: c_int) -> CString {
    CString::new(format!("/dev/pts/{number}")).unwrap_or_default()
}

/// Whether there is input within some milliseconds.
#[track_caller]
pub fn readable(fd: c_int, timeout_ms: c_int) -> bool {
    let mut p = pollfd { fd, events: POLLIN, revents: 0 };
    ok(sys!(poll, &mut p, 1, timeout_ms)) == 1
}
