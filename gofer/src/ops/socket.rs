//! Unix sockets of the host, where a tree's options open them.

use gofer_protocol::{Errno, FileType, Handle, Name, Reply, SocketKind};
use rustix::fs::AtFlags;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind as host_bind, connect as host_connect,
    socket_with,
};
use std::os::fd::OwnedFd;

use super::create::{self, New};
use super::{Answer, Gift};
use crate::server::Server;

/// A socket connected to the one that a held node names. Host calls: socket, connect.
///
/// It does not wait: EAGAIN where the listener's queue is full.
pub fn connect<'s>(server: &Server, handle: Handle, kind: SocketKind) -> Result<Answer<'s>, Errno> {
    let node = server.table.get(handle)?;
    if node.kind != FileType::Socket || !node.options.host_sockets {
        return Err(Errno::CONNREFUSED);
    }
    let socket = new_socket(kind)?;
    host_connect(&socket, &SocketAddrUnix::new(server.self_fds.path(&node.fd))?)?;
    Ok(Answer { reply: Reply::Done {}, gift: Gift::File(socket) })
}

/// A socket bound to a new name. Host calls: socket, fchmodat, bind, openat2, statx, statx; more for another owner.
///
/// The host takes a path of 107 bytes, which begins with the directory: ENAMETOOLONG for a name of more than about 95.
pub fn bind<'s>(
    server: &Server,
    dir: Handle,
    name: Name<'_>,
    kind: SocketKind,
    new: New,
) -> Result<Answer<'s>, Errno> {
    let dir = create::parent(server, dir)?;
    if !dir.options.bound_sockets {
        return Err(Errno::ACCESS);
    }
    let socket = new_socket(kind)?;
    // The node gets the socket's own permissions.
    create::chmod(server, &socket, new.perm)?;
    let path = [server.self_fds.path(&dir.fd).as_bytes(), b"/", name.as_bytes()].concat();
    host_bind(&socket, &SocketAddrUnix::new(path)?).map_err(|errno| match errno {
        Errno::ADDRINUSE => Errno::EXIST,
        errno => errno,
    })?;
    let made = create::finish_named(server, &dir, name, FileType::Socket, Some(new.perm), new.owner);
    let answer = made.inspect_err(|_| create::undo(&dir, name, AtFlags::empty()))?;
    Ok(Answer { gift: Gift::File(socket), ..answer })
}

fn new_socket(kind: SocketKind) -> Result<OwnedFd, Errno> {
    let kind = match kind {
        SocketKind::Stream => SocketType::STREAM,
        SocketKind::Datagram => SocketType::DGRAM,
        SocketKind::Seqpacket => SocketType::SEQPACKET,
    };
    socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}
