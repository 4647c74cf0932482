//! Options of the levels IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPPROTO_UDP.
//!
//! Only options whose meaning holds here are known. On loopback nothing is lost, late or routed, so that many (times to
//! live, keep-alive times) have nothing to act on; they keep their values. An option that would have to change what
//! arrives, and does not yet, is refused.

use std::collections::HashMap;

use abi::Errno;
use abi::inet as opt;
use abi::socket::{IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP};
use sync::Mutex;
use zerocopy::FromBytes;

use super::Family;

/// Which sockets have an option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    All,
    Tcp,
    V6,
}

struct Known {
    level: u32,
    option: u32,
    of: For,
    default: i32,
    least: i32,
    most: i32,
}

const fn known(level: u32, option: u32, of: For, default: i32, least: i32, most: i32) -> Known {
    Known { level, option, of, default, least, most }
}

const KNOWN: &[Known] = &[
    known(IPPROTO_IP, opt::IP_TOS, For::All, 0, 0, 255),
    known(IPPROTO_IP, opt::IP_TTL, For::All, 64, 1, 255),
    known(IPPROTO_IP, opt::IP_MTU_DISCOVER, For::All, 1, 0, 5),
    known(IPPROTO_IP, opt::IP_FREEBIND, For::All, 0, 0, 1),
    known(IPPROTO_IP, opt::IP_BIND_ADDRESS_NO_PORT, For::All, 0, 0, 1),
    known(IPPROTO_IP, opt::IP_MULTICAST_TTL, For::All, 1, 0, 255),
    known(IPPROTO_IP, opt::IP_MULTICAST_LOOP, For::All, 1, 0, 1),
    known(IPPROTO_IPV6, opt::IPV6_V6ONLY, For::V6, 0, 0, 1),
    known(IPPROTO_IPV6, opt::IPV6_UNICAST_HOPS, For::V6, 64, -1, 255),
    known(IPPROTO_IPV6, opt::IPV6_MULTICAST_HOPS, For::V6, 1, -1, 255),
    known(IPPROTO_IPV6, opt::IPV6_MULTICAST_LOOP, For::V6, 1, 0, 1),
    known(IPPROTO_IPV6, opt::IPV6_TCLASS, For::V6, 0, -1, 255),
    known(IPPROTO_IPV6, opt::IPV6_MTU_DISCOVER, For::V6, 1, 0, 5),
    known(IPPROTO_TCP, opt::TCP_NODELAY, For::Tcp, 0, 0, 1),
    known(IPPROTO_TCP, opt::TCP_CORK, For::Tcp, 0, 0, 1),
    known(IPPROTO_TCP, opt::TCP_KEEPIDLE, For::Tcp, 7200, 1, 32767),
    known(IPPROTO_TCP, opt::TCP_KEEPINTVL, For::Tcp, 75, 1, 32767),
    known(IPPROTO_TCP, opt::TCP_KEEPCNT, For::Tcp, 9, 1, 127),
    known(IPPROTO_TCP, opt::TCP_SYNCNT, For::Tcp, 6, 1, 127),
    known(IPPROTO_TCP, opt::TCP_LINGER2, For::Tcp, 60, i32::MIN, i32::MAX),
    known(IPPROTO_TCP, opt::TCP_QUICKACK, For::Tcp, 1, i32::MIN, i32::MAX),
    known(IPPROTO_TCP, opt::TCP_USER_TIMEOUT, For::Tcp, 0, 0, i32::MAX),
    known(IPPROTO_TCP, opt::TCP_NOTSENT_LOWAT, For::Tcp, 0, i32::MIN, i32::MAX),
];

/// The values that differ from the default.
#[derive(Default)]
pub struct InetOptions {
    values: Mutex<HashMap<(u32, u32), i32>, sync::levels::Leaf>,
}

/// What an option of a TCP socket of AF_INET is until it is set.
pub fn default_of(level: u32, option: u32) -> i32 {
    find(Family::V4, true, level, option).map_or(0, |known| known.default)
}

fn find(family: Family, tcp: bool, level: u32, option: u32) -> Option<&'static Known> {
    KNOWN.iter().find(|known| {
        known.level == level
            && known.option == option
            && match known.of {
                For::All => true,
                For::Tcp => tcp,
                For::V6 => family == Family::V6,
            }
    })
}

impl InetOptions {
    /// The value of an option; ENOPROTOOPT for those that the socket has not.
    pub fn get(&self, family: Family, tcp: bool, level: u32, option: u32) -> Result<i32, Errno> {
        let known = find(family, tcp, level, option).ok_or(Errno::ENOPROTOOPT)?;
        Ok(self.values.lock().get(&(level, option)).copied().unwrap_or(known.default))
    }

    /// Sets an option: ENOPROTOOPT, EINVAL for values that it can't have.
    pub fn set(&self, family: Family, tcp: bool, level: u32, option: u32, value: &[u8]) -> Result<(), Errno> {
        let known = find(family, tcp, level, option).ok_or(Errno::ENOPROTOOPT)?;
        let number = match (i32::read_from_prefix(value), value.first()) {
            (Ok((number, _)), _) => number,
            // Options of IP may be a byte.
            (Err(_), Some(byte)) if level == IPPROTO_IP => i32::from(*byte),
            _ => return Err(Errno::EINVAL),
        };
        let number = if (known.least, known.most) == (0, 1) { i32::from(number != 0) } else { number };
        let default_again = number == -1 && matches!(option, opt::IP_TTL) && level == IPPROTO_IP;
        let number =
            if default_again || number == -1 && level == IPPROTO_IPV6 { known.default } else { number };
        if !(known.least..=known.most).contains(&number) {
            return Err(Errno::EINVAL);
        }
        self.values.lock().insert((level, option), number);
        Ok(())
    }

    /// Whether an option that is on or off is on.
    pub fn is_on(&self, level: u32, option: u32) -> bool {
        self.values.lock().get(&(level, option)).is_some_and(|value| *value != 0)
    }

    /// Takes over all values, as an accepted connection does from its listener.
    pub fn inherit_from(&self, other: &InetOptions) {
        let values = other.values.lock().clone();
        *self.values.lock() = values;
    }
}
