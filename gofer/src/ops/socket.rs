//! Unix sockets of the host, where a tree's options open them.

use gofer_protocol::{Errno, FileType, Handle, Reply, SocketKind};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect as host_connect, socket_with,
};

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
    let kind = match kind {
        SocketKind::Stream => SocketType::STREAM,
        SocketKind::Datagram => SocketType::DGRAM,
        SocketKind::Seqpacket => SocketType::SEQPACKET,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, kind, flags, None)?;
    host_connect(&socket, &SocketAddrUnix::new(server.self_fds.path(&node.fd))?)?;
    Ok(Answer { reply: Reply::Done {}, gift: Gift::File(socket) })
}
