//! Which addresses are this machine's own, and what a packet to one of them says where it comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::Errno;

use crate::net::namespace::{Loopback, NetNamespace};

/// Whether a socket may be bound to an address. That of IPv6 comes with the interface, those of IPv4 are always there.
pub fn is_own(net: &NetNamespace, ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_loopback() && (ip.is_ipv4() || net.loopback() == Loopback::Up)
}

/// What a destination means: "this host" is the loopback interface. ENETUNREACH for what is not here; EADDRNOTAVAIL where
/// there is no address to come from.
pub fn destination(net: &NetNamespace, ip: IpAddr) -> Result<IpAddr, Errno> {
    if net.loopback() == Loopback::Down {
        return Err(if ip.is_ipv4() { Errno::ENETUNREACH } else { Errno::EADDRNOTAVAIL });
    }
    let real = match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(v6) if v6.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    if real.is_loopback() { Ok(real) } else { Err(Errno::ENETUNREACH) }
}

/// The address that is put on what goes to a destination when the socket has none of its own.
pub fn source(destination: IpAddr) -> IpAddr {
    match destination {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}
