//! The standard streams, on their way to the program.
//!
//! The Sentry must never wait in a host call on a stream: a signal could not end that wait. `O_NONBLOCK` says so, but it
//! belongs to the open file description, which the caller's shell and its other programs share. So a terminal, a pipe
//! or a FIFO is opened once more through /proc, for a description of the sandbox's own.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::config;

/// Why a stream can't be passed on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A host call failed.
    #[error("{name}: {error}; give a file, a pipe or a terminal")]
    Host {
        /// Which one.
        name: String,
        /// The host's error.
        error: io::Error,
    },
    /// A directory: through its descriptor the rest of the host's files could be named.
    #[error("{0}: a directory of the host; give a file")]
    Directory(String),
    /// A socket that others connect to: the sandbox's kernel takes no connections of the host.
    #[error(
        "{0}: a listening socket of the host, which can't be used in a sandbox; accept outside and give the connection"
    )]
    Listening(String),
    /// A descriptor that only names a file.
    #[error("{0}: opened with O_PATH; open it for reading or writing")]
    Path(String),
}

/// A standard stream, or another file that the process begins with.
#[derive(Debug)]
pub struct Stream {
    /// The descriptor for the Sentry.
    pub fd: OwnedFd,
    /// What the caller sees.
    pub seen: config::Stream,
}

/// Duplicates of the three standard descriptors.
pub fn standard() -> [io::Result<OwnedFd>; 3] {
    fn own(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        fd.try_clone_to_owned()
    }
    [own(io::stdin().as_fd()), own(io::stdout().as_fd()), own(io::stderr().as_fd())]
}

/// The standard streams for the sandbox.
pub fn for_sandbox() -> Result<[Stream; 3], StreamError> {
    let [input, output, error] = standard();
    let one = |fd, name| prepare(fd, format!("standard {name}"));
    Ok([one(input, "input")?, one(output, "output")?, one(error, "error")?])
}

/// A terminal as all three.
pub fn of_terminal(terminal: &OwnedFd) -> Result<[Stream; 3], StreamError> {
    let one = |name| prepare(terminal.try_clone(), format!("standard {name}"));
    Ok([one("input")?, one("output")?, one("error")?])
}

/// Files for the process's descriptors from 3 on.
pub fn passed(fds: Vec<OwnedFd>) -> Result<Vec<Stream>, StreamError> {
    fds.into_iter()
        .map(|fd| {
            let name = format!("descriptor {}", fd.as_raw_fd());
            prepare(Ok(fd), name)
        })
        .collect()
}

fn prepare(fd: io::Result<OwnedFd>, name: String) -> Result<Stream, StreamError> {
    let failed = |error| StreamError::Host { name: name.clone(), error };
    let fd = fd.map_err(failed)?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| failed(errno.into()))?;
    let flags = rustix::fs::fcntl_getfl(&fd).map_err(|errno| failed(errno.into()))?;
    if flags.contains(OFlags::PATH) {
        return Err(StreamError::Path(name));
    }
    let reopened = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => return Err(StreamError::Directory(name)),
        FileType::Socket if rustix::net::sockopt::socket_acceptconn(&fd).unwrap_or(false) => {
            return Err(StreamError::Listening(name));
        }
        FileType::Fifo => reopen(&fd, flags),
        FileType::CharacterDevice if rustix::termios::isatty(&fd) => reopen(&fd, flags),
        _ => None,
    };
    let nonblocking = flags.contains(OFlags::NONBLOCK);
    let seen = config::Stream { uid: stat.st_uid, gid: stat.st_gid, nonblocking };
    Ok(Stream { fd: reopened.unwrap_or(fd), seen })
}

/// A description of its own, where the host allows it: a terminal can belong to another user, after su(1).
fn reopen(fd: &OwnedFd, flags: OFlags) -> Option<OwnedFd> {
    let wanted = (flags & OFlags::ACCMODE) | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::openat(CWD, path, wanted, Mode::empty()).ok()
}

/// Closes this process's own standard input and output, so that the other end of a pipe sees the end when the program
/// closes it.
pub fn let_go() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(rustix::stdio::dup2_stdout(&null)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_gets_a_description_of_its_own() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let stream = prepare(Ok(read.try_clone().unwrap()), "input".to_owned()).unwrap();
        assert!(rustix::fs::fcntl_getfl(&stream.fd).unwrap().contains(OFlags::NONBLOCK));
        assert!(!rustix::fs::fcntl_getfl(&read).unwrap().contains(OFlags::NONBLOCK));
        assert!(!stream.seen.nonblocking);
        assert_eq!(rustix::io::read(&stream.fd, &mut [0; 4]), Err(rustix::io::Errno::AGAIN));
        rustix::io::write(&write, b"abc").unwrap();
        assert_eq!(rustix::io::read(&stream.fd, &mut [0; 4]), Ok(3));
        drop(write);
        assert_eq!(rustix::io::read(&stream.fd, &mut [0; 4]), Ok(0));
    }

    #[test]
    fn a_directory_is_refused() {
        let dir = std::fs::File::open("/").unwrap();
        assert!(matches!(prepare(Ok(dir.into()), "input".to_owned()), Err(StreamError::Directory(_))));
    }

    #[test]
    fn descriptors_that_mean_nothing_in_a_sandbox_are_refused() {
        let name = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert!(matches!(passed(vec![name]), Err(StreamError::Path(_))));
        let dir = tempfile::tempdir().unwrap();
        let socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        assert!(matches!(passed(vec![socket.into()]), Err(StreamError::Listening(_))));
    }
}
