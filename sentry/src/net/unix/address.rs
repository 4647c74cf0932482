//! Addresses: `struct sockaddr_un` with its length, and finding the socket behind one.

use std::sync::{Arc, Weak};

use abi::Errno;
use abi::socket::{AF_UNIX, UNIX_PATH_MAX};
use abi::stat::FileType;

use super::UnixSocket;
use crate::net::actor::Actor;
use crate::net::namespace::NetNamespace;
use crate::net::socket::SocketKind;
use crate::vfs::Inode;
use crate::vfs::permission::Want;
use crate::vfs::resolve::{LookupFlags, lookup};

/// Bytes before `sun_path`.
const PATH_AT: usize = 2;

/// A checked address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// A path, up to its NUL.
    Path(&'a [u8]),
    /// All bytes of the address, which has an abstract name.
    Abstract(&'a [u8]),
}

/// The family alone; without one the address says nothing at all.
pub fn family(address: &[u8]) -> Option<u32> {
    Some(u32::from(u16::from_ne_bytes([*address.first()?, *address.get(1)?])))
}

/// Takes an address apart; EINVAL when it is too short, too long, or of another family.
pub fn parse(address: &[u8]) -> Result<Name<'_>, Errno> {
    if address.len() <= PATH_AT || address.len() > PATH_AT + UNIX_PATH_MAX || family(address) != Some(AF_UNIX)
    {
        return Err(Errno::EINVAL);
    }
    let name = &address[PATH_AT..];
    if name[0] == 0 {
        return Ok(Name::Abstract(address));
    }
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    Ok(Name::Path(&name[..end]))
}

/// The address of a path as it is told to others: with its NUL.
pub fn of_path(path: &[u8]) -> Arc<[u8]> {
    let mut address = Vec::with_capacity(PATH_AT + path.len() + 1);
    address.extend_from_slice(&(AF_UNIX as u16).to_ne_bytes());
    address.extend_from_slice(path);
    address.push(0);
    address.into()
}

/// The address of a socket without a name.
pub fn unnamed() -> Arc<[u8]> {
    Arc::from((AF_UNIX as u16).to_ne_bytes())
}

/// What hangs on the inode of a bound socket.
pub struct BoundHere(pub Weak<UnixSocket>);

/// What has an address.
pub enum Found {
    /// A socket of the sandbox.
    Own(Arc<UnixSocket>),
    /// A node that leads to the host, if anywhere.
    Node(Arc<Inode>),
}

/// The socket with this address: ECONNREFUSED when there is none, EPROTOTYPE when it is of another type.
pub fn find(net: &NetNamespace, actor: &Actor<'_>, address: &[u8], kind: SocketKind) -> Result<Found, Errno> {
    let path = match parse(address)? {
        Name::Abstract(address) => {
            return net.find(kind, address).map(Found::Own).ok_or(Errno::ECONNREFUSED);
        }
        Name::Path(path) => path,
    };
    actor.with_caller(|caller| {
        let place = lookup(caller, &caller.roots.cwd, path, LookupFlags::FOLLOW)?;
        let inode = place.inode();
        inode.permission(caller, Want::WRITE)?;
        if inode.kind != FileType::Socket {
            return Err(Errno::ECONNREFUSED);
        }
        match inode.attachment::<BoundHere>().and_then(|bound| bound.0.upgrade()) {
            Some(socket) if socket.kind == kind => Ok(Found::Own(socket)),
            Some(_) => Err(Errno::EPROTOTYPE),
            None if inode.ops().leads_to_host(inode) => Ok(Found::Node(Arc::clone(inode))),
            None => Err(Errno::ECONNREFUSED),
        }
    })
}
