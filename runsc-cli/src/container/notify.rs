//! Passing on that a container is ready: the protocol of sd_notify(3), for a command that a service manager started.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ask;
use super::state_file::Saved;
use super::store::Store;
use crate::report;
use crate::sandbox::control::{Answer, Request};

/// So long the service manager has to see the message before this command goes away.
const BARRIER: Duration = Duration::from_secs(30);

/// Where the service manager listens, if there is one.
pub fn socket() -> Option<String> {
    std::env::var("NOTIFY_SOCKET").ok().filter(|path| !path.is_empty())
}

/// Waits until a container that was started says that it is ready, and tells the service manager, with the pid that
/// stands for it from now on. Nothing is told of one that ends before.
pub fn pass_on(store: &Store, id: &str, pid: i32) -> anyhow::Result<()> {
    let Some(path) = socket() else { return Ok(()) };
    let (_, saved): (_, Saved) = store.load(id)?;
    let request = Request::Ready { container: id.to_owned() };
    // An error: the sandbox has ended.
    match ask::ask_patiently(&store.dir(&saved.sandbox)?, &request) {
        Ok(Answer::Ready(true)) => {}
        _ => return Ok(()),
    }
    tell(&path, pid).with_context(|| format!("NOTIFY_SOCKET {path}; unset it, or have somebody listen there"))
}

fn tell(path: &str, pid: i32) -> io::Result<()> {
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.send(b"READY=1\n")?;
    socket.send(format!("MAINPID={pid}\n").as_bytes())?;
    // The other end of the pipe is closed when all of that has been seen.
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    host::socket::send(socket.as_fd(), &[IoSlice::new(b"BARRIER=1")], &[write.as_fd()])?;
    drop(write);
    let limit = Timespec { tv_sec: BARRIER.as_secs() as i64, tv_nsec: 0 };
    if poll(&mut [PollFd::new(&read, PollFlags::IN)], Some(&limit))? == 0 {
        report::warn("the service manager does not say that it has seen the container to be ready");
    }
    Ok(())
}
