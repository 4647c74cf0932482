//! Terminals of containers: a pair whose master goes to the engine, or stays here.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pty::OpenptFlags;

/// A new terminal.
#[derive(Debug)]
pub struct Console {
    /// The engine's side.
    pub master: OwnedFd,
    /// The container's side.
    pub slave: OwnedFd,
    /// Name of the slave.
    pub name: String,
}

/// Makes a terminal of this many rows and columns, if that is said, for the user with these ids.
pub fn open(size: Option<(u16, u16)>, owner: u32) -> io::Result<Console> {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&master)?;
    rustix::pty::unlockpt(&master)?;
    let name = rustix::pty::ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::openat(rustix::fs::CWD, &name, flags, Mode::empty())?;
    if let Some((rows, columns)) = size {
        host::tty::set_window_size(&slave, [rows, columns, 0, 0])?;
    }
    if owner != 0 {
        // An error: an ordinary user's runtime, whose terminal is that user's.
        let _ = rustix::fs::fchown(&slave, Some(rustix::fs::Uid::from_raw(owner)), None);
    }
    Ok(Console { master, slave, name: name.to_string_lossy().into_owned() })
}

/// Sends the master to the engine, over the socket at `path`.
pub fn send(path: &Path, console: &Console) -> io::Result<()> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    host::socket::send(&socket, &[IoSlice::new(console.name.as_bytes())], &[console.master.as_fd()]).map(drop)
}
