//! Sockets.
//!
//! - [`Socket`]: a socket as an open file; [`SocketOps`]: what a family does. Operations never wait, as with all files;
//!   [`CurrentTask`](crate::task::CurrentTask) has the calls that do (`io`).
//! - [`SocketOptions`]: the options that are the same for all families.
//! - [`unix`] is AF_UNIX.
//! - [`inet`]: AF_INET and AF_INET6 on the loopback interface, the only one there is so far.

pub mod actor;
mod condition;
pub mod inet;
mod interface;
pub mod io;
pub mod listing;
pub mod message;
pub mod namespace;
pub mod options;
pub mod socket;
pub mod unix;

pub use self::actor::Actor;
pub use self::message::{Received, Rights, SendMessage, SenderCreds};
pub use self::namespace::{Loopback, NetNamespace};
pub use self::options::SocketOptions;
pub use self::socket::{Connected, Socket, SocketKind, SocketOps};

use std::sync::Arc;

use abi::Errno;
use abi::socket::{
    AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM, SOCK_PACKET, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM,
};

/// The longest backlog (net.core.somaxconn).
pub const MAX_BACKLOG: u32 = 4096;

/// A new socket of a family, type and protocol as socket(2) takes them. EAFNOSUPPORT for families that there are not.
pub fn new_socket(net: &Arc<NetNamespace>, family: u32, kind: u32, protocol: u32) -> Result<Socket, Errno> {
    match family {
        AF_INET | AF_INET6 if kind <= SOCK_PACKET => {
            let family = if family == AF_INET { inet::Family::V4 } else { inet::Family::V6 };
            inet::new_socket(net, family, kind, protocol)
        }
        _ => Ok(Socket::new(unix::UnixSocket::new(net, check(family, kind, protocol)?))),
    }
}

/// Two connected sockets (socketpair(2)).
pub fn new_pair(
    net: &Arc<NetNamespace>,
    family: u32,
    kind: u32,
    protocol: u32,
    actor: &Actor<'_>,
) -> Result<(Socket, Socket), Errno> {
    if matches!(family, AF_INET | AF_INET6) {
        // The socket is made first, and then found to have no pairs.
        drop(new_socket(net, family, kind, protocol)?);
        return Err(Errno::EOPNOTSUPP);
    }
    let kind = check(family, kind, protocol)?;
    let (a, b) = unix::UnixSocket::new_pair(net, kind, actor);
    Ok((Socket::new(a), Socket::new(b)))
}

fn check(family: u32, kind: u32, protocol: u32) -> Result<SocketKind, Errno> {
    /// One more than the highest family and type that Linux has.
    const AF_MAX: u32 = 46;
    const SOCK_MAX: u32 = SOCK_PACKET + 1;
    if family >= AF_MAX {
        return Err(Errno::EAFNOSUPPORT);
    }
    if kind >= SOCK_MAX {
        return Err(Errno::EINVAL);
    }
    if family != AF_UNIX {
        return Err(Errno::EAFNOSUPPORT);
    }
    if protocol != 0 && protocol != AF_UNIX {
        return Err(Errno::EPROTONOSUPPORT);
    }
    match kind {
        SOCK_STREAM => Ok(SocketKind::Stream),
        SOCK_DGRAM | SOCK_RAW => Ok(SocketKind::Datagram),
        SOCK_SEQPACKET => Ok(SocketKind::SeqPacket),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}
