//! Asking a sandbox for things over its socket.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::ContainerError;
use super::state_file::SOCKET;
use crate::sandbox::control::{Answer, AskingEnd, Request};

/// A sandbox that does not answer for so long will not.
const PATIENCE: Duration = Duration::from_secs(10);

/// The address of the socket in a directory, whose own path may be longer than an address.
fn address(dir: &File) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))?)
}

fn socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Makes the socket of a new sandbox.
pub fn listen(dir: &Path) -> io::Result<OwnedFd> {
    let socket = socket()?;
    rustix::net::bind(&socket, &address(&File::open(dir)?)?)?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}

/// Connects to the sandbox that has its socket in `dir`.
pub fn connect(dir: &Path) -> io::Result<AskingEnd> {
    let socket = socket()?;
    rustix::net::connect(&socket, &address(&File::open(dir)?)?)?;
    Ok(AskingEnd::new(socket))
}

/// Asks, and waits for the answer for a while.
pub fn ask(dir: &Path, request: &Request) -> Result<Answer, ContainerError> {
    ask_for(dir, request, Some(PATIENCE))
}

/// Asks, and waits for the answer however long it takes.
pub fn ask_patiently(dir: &Path, request: &Request) -> Result<Answer, ContainerError> {
    ask_for(dir, request, None)
}

fn ask_for(dir: &Path, request: &Request, patience: Option<Duration>) -> Result<Answer, ContainerError> {
    let asked = (|| {
        let connection = connect(dir)?;
        set_socket_timeout(&connection, Timeout::Recv, patience)?;
        connection.send_with(request, &[])?;
        connection.receive_with()
    })();
    match asked {
        Ok(Some((Answer::Refused(why), _))) => Err(ContainerError::Refused(why)),
        Ok(Some((answer, _))) => Ok(answer),
        Ok(None) => Err(ContainerError::Silent(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(ContainerError::Silent(error)),
    }
}
