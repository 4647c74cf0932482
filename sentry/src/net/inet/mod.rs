//! AF_INET and AF_INET6 (ip(7), ipv6(7), tcp(7), udp(7)): sockets on the loopback interface, the only one there is so far.
//!
//! - [`address`]: addresses as guests give them. Inside they are `std::net::SocketAddr` with IPv4 never in the form mapped
//!   into IPv6; a socket's [`Family`] says how they look to the guest.
//! - [`route`]: which addresses are this machine's own.
//! - [`ports`]: who has which port, a table a protocol in each network namespace.
//! - [`tcp`], [`udp`]: the sockets. Between two sockets of one sandbox no packet is made: a segment is a piece of bytes in
//!   the peer's receive queue. What the wire adds (segments, acknowledgements, retransmission) belongs below
//!   [`tcp::queue`] and beside this path, not into it.
//! - [`options`]: values of options of the levels IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP and IPPROTO_UDP.

pub mod address;
pub mod options;
pub mod ports;
pub mod route;
pub mod tcp;
pub mod udp;

use std::sync::Arc;

use abi::Errno;
use abi::socket::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_PACKET, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET,
    SOCK_STREAM,
};

use super::namespace::NetNamespace;
use super::socket::Socket;

/// Which of the two families a socket is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// AF_INET
    V4,
    /// AF_INET6
    V6,
}

impl Family {
    /// AF_*
    pub fn number(self) -> u32 {
        match self {
            Family::V4 => AF_INET,
            Family::V6 => AF_INET6,
        }
    }
}

/// A new socket of a type and protocol as socket(2) takes them.
pub fn new_socket(
    net: &Arc<NetNamespace>,
    family: Family,
    kind: u32,
    protocol: u32,
) -> Result<Socket, Errno> {
    /// One more than the highest protocol that Linux has a place for.
    const IPPROTO_MAX: u32 = 263;
    if protocol >= IPPROTO_MAX {
        return Err(Errno::EINVAL);
    }
    match (kind, protocol) {
        (SOCK_STREAM, 0 | IPPROTO_TCP) => Ok(Socket::new(tcp::TcpSocket::new(net, family))),
        (SOCK_DGRAM, 0 | IPPROTO_UDP) => Ok(Socket::new(udp::UdpSocket::new(net, family))),
        (SOCK_STREAM | SOCK_DGRAM, _) => Err(Errno::EPROTONOSUPPORT),
        // As a Linux that has no other protocols.
        (SOCK_RAW | SOCK_RDM | SOCK_SEQPACKET | SOCK_PACKET, _) => Err(Errno::ESOCKTNOSUPPORT),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}
