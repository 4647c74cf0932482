//! Unix sockets of the host, in trees whose options lead to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::Errno;
use gofer_protocol as wire;

use super::inode::GoferInode;
use super::{GoferFs, errno};
use crate::Result;
use crate::fs::host::HostSocket;
use crate::net::SocketKind;
use crate::vfs::Inode;

/// Whether this process may make sockets listen: its filter was made for it.
static MAY_BIND: AtomicBool = AtomicBool::new(false);

/// Says that this process may call listen(2) and accept4(2) on the host. Without that, no tree's sockets are the host's,
/// whatever its options say.
pub fn permit_binding() {
    MAY_BIND.store(true, Ordering::Relaxed);
}

pub(super) fn may_bind() -> bool {
    MAY_BIND.load(Ordering::Relaxed)
}

pub(super) fn on_wire(kind: SocketKind) -> wire::SocketKind {
    match kind {
        SocketKind::Stream => wire::SocketKind::Stream,
        SocketKind::Datagram => wire::SocketKind::Datagram,
        SocketKind::SeqPacket => wire::SocketKind::Seqpacket,
    }
}

/// Connects to the socket that `inode` names. EAGAIN: its queue is full for now.
pub(super) fn connect(inode: &Arc<Inode>, kind: SocketKind) -> Result<HostSocket> {
    let fs = inode.sb.downcast::<GoferFs>().ok_or(Errno::EXDEV)?;
    let own = inode.downcast::<GoferInode>().ok_or(Errno::EXDEV)?;
    let fd = fs.client.connect_socket(own.handle()?, on_wire(kind)).map_err(errno)?;
    Ok(HostSocket::new(fd, &fs.reactor()?))
}
