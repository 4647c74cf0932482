//! A process's terminal: the runtime sends its master's end over a socket, and two threads copy between it and FIFOs.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::streams::{Names, open_for_copy};

/// Where the runtime sends the terminal to.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

/// Begin of the sockets' names.
const PREFIX: &str = "runsc-console-";

/// The shim that made a socket of this name for a terminal.
pub fn owner_of_socket(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Socket {
    /// The path is short: a socket's may have 107 bytes, which a bundle's path may exceed.
    pub fn new(folder: &Path) -> Result<Socket> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{PREFIX}{}-{number}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).with_context(|| format!("can't make {}", path.display()))?;
        Ok(Socket { listener, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal, which the runtime has sent before its command ended.
    pub fn receive(&self) -> Result<OwnedFd> {
        let mut ready = [PollFd::new(&self.listener, PollFlags::IN)];
        let limit = rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 };
        if poll(&mut ready, Some(&limit))? == 0 {
            bail!("the runtime sent no terminal");
        }
        let (connection, _) = self.listener.accept()?;
        connection.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; 4096];
        let mut parts = [rustix::io::IoSliceMut::new(&mut name)];
        recvmsg(&connection, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message
                && let Some(fd) = fds.into_iter().next()
            {
                return Ok(fd);
            }
        }
        bail!("the runtime sent no terminal")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A terminal in use.
pub struct Console {
    master: File,
    /// Closed when this is dropped, which ends the thread that copies the input.
    _stop: OwnedFd,
    /// Disconnected when all output has been copied.
    copied: Receiver<()>,
}

impl Console {
    pub fn start(master: OwnedFd, names: &Names) -> Result<Console> {
        let master = File::from(master);
        let (stopped, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (done, copied) = channel();
        if !names.stdout.is_empty() {
            let (from, to) = (master.try_clone()?, open_for_copy(&names.stdout)?);
            spawn("console-output", move || {
                copy(from, to);
                drop(done);
            })?;
        }
        if !names.stdin.is_empty() {
            let (from, to) = (open_for_copy(&names.stdin)?, master.try_clone()?);
            spawn("console-input", move || copy_until(&from, to, &stopped))?;
        }
        Ok(Console { master, _stop: stop, copied })
    }

    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).context("can't set the size of the terminal")
    }

    /// Waits until everything that was printed has gone to the client, but not for ever.
    pub fn drain(&self) {
        let _ = self.copied.recv_timeout(Duration::from_secs(2));
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new().name(name.to_owned()).stack_size(64 << 10).spawn(work)?;
    Ok(())
}

/// Copies until either side fails: a terminal without users gives EIO.
fn copy(mut from: File, mut to: File) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(count @ 1..) if to.write_all(&buffer[..count]).is_ok() => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

/// Copies until the other end of `stop` is closed.
fn copy_until(from: &File, mut to: File, stop: &OwnedFd) {
    let mut buffer = vec![0; 4 << 10];
    loop {
        let mut ready =
            [PollFd::new(from, PollFlags::IN), PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::empty())];
        match poll(&mut ready, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if !ready[1].revents().is_empty() {
            return;
        }
        let mut from = from;
        match from.read(&mut buffer) {
            Ok(count @ 1..) if to.write_all(&buffer[..count]).is_ok() => {}
            _ => return,
        }
    }
}
