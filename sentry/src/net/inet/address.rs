//! Addresses: `struct sockaddr_in` and `struct sockaddr_in6`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use abi::Errno;
use abi::socket::{AF_INET, AF_INET6, SockAddrIn, SockAddrIn6};
use zerocopy::{FromBytes, IntoBytes};

use super::Family;

/// The least bytes of a `sockaddr_in6` that Linux takes: without the scope.
const SIN6_LEN_RFC2133: usize = 24;

/// The family that an address says to be of; EINVAL when it is too short to say.
pub fn family_of(address: &[u8]) -> Result<u32, Errno> {
    match address {
        [a, b, ..] => Ok(u32::from(u16::from_ne_bytes([*a, *b]))),
        _ => Err(Errno::EINVAL),
    }
}

fn parse_v4(address: &[u8]) -> Result<SocketAddr, Errno> {
    let (given, _) = SockAddrIn::read_from_prefix(address).map_err(|_| Errno::EINVAL)?;
    let ip = Ipv4Addr::from(given.sin_addr);
    Ok(SocketAddr::new(IpAddr::V4(ip), u16::from_be_bytes(given.sin_port)))
}

fn parse_v6(address: &[u8]) -> Result<SocketAddr, Errno> {
    if address.len() < SIN6_LEN_RFC2133 {
        return Err(Errno::EINVAL);
    }
    let mut whole = [0; size_of::<SockAddrIn6>()];
    let len = address.len().min(whole.len());
    whole[..len].copy_from_slice(&address[..len]);
    let (given, _) = SockAddrIn6::read_from_prefix(&whole).map_err(|_| Errno::EINVAL)?;
    let ip = IpAddr::V6(Ipv6Addr::from(given.sin6_addr)).to_canonical();
    Ok(SocketAddr::new(ip, u16::from_be_bytes(given.sin6_port)))
}

/// An address for a socket of a family: EINVAL when it is too short, EAFNOSUPPORT when it is of another family.
pub fn parse(family: Family, address: &[u8]) -> Result<SocketAddr, Errno> {
    let needed = if family == Family::V4 { size_of::<SockAddrIn>() } else { SIN6_LEN_RFC2133 };
    if address.len() < needed {
        return Err(Errno::EINVAL);
    }
    match (family, family_of(address)?) {
        (Family::V4, AF_INET) => parse_v4(address),
        (Family::V6, AF_INET6) => parse_v6(address),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The same for the destination of datagrams: a socket of AF_INET6 takes both kinds.
pub fn parse_destination(family: Family, address: &[u8]) -> Result<SocketAddr, Errno> {
    if family == Family::V6 && family_of(address)? == AF_INET {
        return parse_v4(address);
    }
    parse(family, address)
}

/// An address as a socket of the family shows it.
pub fn to_bytes(family: Family, address: SocketAddr) -> Arc<[u8]> {
    let port = address.port().to_be_bytes();
    match (family, address.ip()) {
        (Family::V4, ip) => {
            let v4 = if let IpAddr::V4(v4) = ip { v4 } else { Ipv4Addr::UNSPECIFIED };
            let bytes = SockAddrIn {
                sin_family: AF_INET as u16,
                sin_port: port,
                sin_addr: v4.octets(),
                sin_zero: [0; 8],
            };
            Arc::from(bytes.as_bytes())
        }
        (Family::V6, ip) => {
            let v6 = match ip {
                IpAddr::V6(v6) => v6,
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            };
            let bytes = SockAddrIn6 {
                sin6_family: AF_INET6 as u16,
                sin6_port: port,
                sin6_flowinfo: [0; 4],
                sin6_addr: v6.octets(),
                sin6_scope_id: 0,
            };
            Arc::from(bytes.as_bytes())
        }
    }
}

/// The address of a socket that has none.
pub fn unspecified(family: Family) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        Family::V6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_of_version_4_inside() {
        let shown = to_bytes(Family::V6, SocketAddr::from(([127, 0, 0, 1], 80)));
        assert_eq!(shown.len(), 28);
        assert_eq!(parse(Family::V6, &shown), Ok(SocketAddr::from(([127, 0, 0, 1], 80))));
        assert_eq!(parse(Family::V4, &shown), Err(Errno::EAFNOSUPPORT));
        assert_eq!(parse(Family::V6, &shown[..20]), Err(Errno::EINVAL));
    }
}
