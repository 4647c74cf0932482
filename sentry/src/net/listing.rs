//! Sockets as /proc/net lists them (proc_pid_net(5)).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A socket of the Internet families.
pub struct ShownInet {
    /// IPPROTO_TCP or IPPROTO_UDP.
    pub protocol: u32,
    /// Whether it is of AF_INET6.
    pub v6: bool,
    /// Its own address.
    pub local: SocketAddr,
    /// The other end's; of the same family, unspecified without one.
    pub remote: SocketAddr,
    /// As TCP numbers states.
    pub state: u8,
    /// Bytes that have come and were not read, or connections that wait to be accepted.
    pub received: usize,
    /// Whether an open file leads to it; else it waits to be accepted.
    pub accepted: bool,
}

/// A socket of AF_UNIX.
pub struct ShownUnix {
    /// SOCK_*.
    pub kind: u32,
    /// Whether it listens.
    pub listens: bool,
    /// Whether it has, or had, a peer of its own.
    pub connected: bool,
    /// A whole `sockaddr_un`.
    pub address: Option<Arc<[u8]>>,
}

/// A socket, with those that wait behind it.
pub enum Shown {
    /// AF_UNIX.
    Unix(ShownUnix),
    /// AF_INET or AF_INET6; empty for what no table of Linux has.
    Inet(Vec<ShownInet>),
}

impl ShownInet {
    /// The state and the addresses, as a line of /proc/net/tcp or udp has them: each word of an address is a number in
    /// the machine's order.
    pub fn place(&self) -> String {
        format!("{} {} {:02X}", self.address(self.local), self.address(self.remote), self.state)
    }

    fn address(&self, at: SocketAddr) -> String {
        let port = at.port();
        match (at.ip(), self.v6) {
            (IpAddr::V4(ip), false) => format!("{:08X}:{port:04X}", u32::from_ne_bytes(ip.octets())),
            (IpAddr::V4(ip), true) if ip.is_unspecified() => format!("{:032X}:{port:04X}", 0),
            (ip, _) => {
                let ip = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                let words = ip.octets().chunks_exact(4).fold(String::new(), |words, word| {
                    let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
                    format!("{words}{word:08X}")
                });
                format!("{words}:{port:04X}")
            }
        }
    }
}

impl ShownUnix {
    /// The name, as a line of /proc/net/unix has it behind a blank: NULs of an abstract one are `@`.
    pub fn name(&self) -> Option<Vec<u8>> {
        let path = self.address.as_deref()?.get(2..)?;
        Some(match path {
            [] => return None,
            [0, rest @ ..] => {
                let rest = rest.iter().map(|byte| if *byte == 0 { b'@' } else { *byte });
                [b'@'].into_iter().chain(rest).collect()
            }
            _ => path.strip_suffix(&[0]).unwrap_or(path).to_vec(),
        })
    }
}
