//! Options that sockets of all families have (socket(7)).

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use abi::Errno;
use abi::capability::{CAP_NET_ADMIN, CAP_NET_RAW};
use abi::socket::{
    Linger, SO_BROADCAST, SO_BUSY_POLL, SO_DEBUG, SO_DONTROUTE, SO_KEEPALIVE, SO_LINGER, SO_MARK,
    SO_NO_CHECK, SO_OOBINLINE, SO_PASSCRED, SO_PASSPIDFD, SO_PASSSEC, SO_PEEK_OFF, SO_PRIORITY, SO_RCVBUF,
    SO_RCVBUFFORCE, SO_RCVLOWAT, SO_RCVTIMEO, SO_RCVTIMEO_NEW, SO_REUSEADDR, SO_REUSEPORT, SO_RXQ_OVFL,
    SO_SNDBUF, SO_SNDBUFFORCE, SO_SNDLOWAT, SO_SNDTIMEO, SO_SNDTIMEO_NEW, SO_TIMESTAMP, SO_TIMESTAMPNS,
};
use abi::time::Timeval;
use zerocopy::{FromBytes, IntoBytes};

use crate::task::Credentials;

/// Default of SO_SNDBUF and SO_RCVBUF (net.core.wmem_default).
pub const DEFAULT_BUFFER: u32 = 212_992;
/// Upper bound without privilege (net.core.wmem_max); what is stored is twice as much.
const MAX_BUFFER: u32 = 4_194_304;
/// Least SO_SNDBUF.
const MIN_SEND_BUFFER: u32 = 4608;
/// Least SO_RCVBUF.
const MIN_RECEIVE_BUFFER: u32 = 2304;
/// CAP_NET_ADMIN is needed for priorities above.
const MAX_PRIORITY: i32 = 6;

/// Values of options. Each is its own atomic: options are read on every message and hardly ever set.
pub struct SocketOptions {
    flags: AtomicU32,
    send_buffer: AtomicU32,
    receive_buffer: AtomicU32,
    low_water: AtomicU32,
    receive_timeout_ns: AtomicU64,
    send_timeout_ns: AtomicU64,
    linger: AtomicBool,
    linger_s: AtomicI32,
    priority: AtomicI32,
    mark: AtomicU32,
    busy_poll: AtomicI32,
    /// SO_PEEK_OFF: where the next peek starts; negative: off.
    pub(super) peek_offset: AtomicI32,
}

/// Options that are on or off, each with its bit.
const FLAGS: [u32; 14] = [
    SO_DEBUG,
    SO_REUSEADDR,
    SO_DONTROUTE,
    SO_BROADCAST,
    SO_KEEPALIVE,
    SO_OOBINLINE,
    SO_NO_CHECK,
    SO_REUSEPORT,
    SO_PASSCRED,
    SO_PASSSEC,
    SO_TIMESTAMP,
    SO_TIMESTAMPNS,
    SO_RXQ_OVFL,
    SO_PASSPIDFD,
];

fn flag(option: u32) -> Option<u32> {
    FLAGS.iter().position(|name| *name == option).map(|bit| 1 << bit)
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            flags: AtomicU32::new(0),
            send_buffer: AtomicU32::new(DEFAULT_BUFFER),
            receive_buffer: AtomicU32::new(DEFAULT_BUFFER),
            low_water: AtomicU32::new(1),
            receive_timeout_ns: AtomicU64::new(0),
            send_timeout_ns: AtomicU64::new(0),
            linger: AtomicBool::new(false),
            linger_s: AtomicI32::new(0),
            priority: AtomicI32::new(0),
            mark: AtomicU32::new(0),
            busy_poll: AtomicI32::new(0),
            peek_offset: AtomicI32::new(-1),
        }
    }
}

impl SocketOptions {
    /// Whether an option that is on or off is on.
    pub fn is_on(&self, option: u32) -> bool {
        flag(option).is_some_and(|bit| self.flags.load(Ordering::Relaxed) & bit != 0)
    }

    /// Whether messages carry their sender's identity.
    pub fn passes_creds(&self) -> bool {
        self.is_on(SO_PASSCRED) || self.is_on(SO_PASSPIDFD)
    }

    /// With other sizes of buffers, as accounted.
    pub fn with_buffers(send: u32, receive: u32) -> SocketOptions {
        let (send_buffer, receive_buffer) = (AtomicU32::new(send), AtomicU32::new(receive));
        SocketOptions { send_buffer, receive_buffer, ..SocketOptions::default() }
    }

    /// Takes over all of another socket's.
    pub fn copy_from(&self, other: &SocketOptions) {
        let copy =
            |to: &AtomicU32, from: &AtomicU32| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        copy(&self.flags, &other.flags);
        copy(&self.send_buffer, &other.send_buffer);
        copy(&self.receive_buffer, &other.receive_buffer);
        copy(&self.low_water, &other.low_water);
        copy(&self.mark, &other.mark);
        let copy =
            |to: &AtomicU64, from: &AtomicU64| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        copy(&self.receive_timeout_ns, &other.receive_timeout_ns);
        copy(&self.send_timeout_ns, &other.send_timeout_ns);
        let copy =
            |to: &AtomicI32, from: &AtomicI32| to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        copy(&self.linger_s, &other.linger_s);
        copy(&self.priority, &other.priority);
        copy(&self.busy_poll, &other.busy_poll);
        copy(&self.peek_offset, &other.peek_offset);
        self.linger.store(other.linger.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// SO_LINGER: how many seconds a close waits, if it does.
    pub fn lingers_for(&self) -> Option<i32> {
        self.linger.load(Ordering::Relaxed).then(|| self.linger_s.load(Ordering::Relaxed))
    }

    /// Takes over what an accepted socket inherits from its listener.
    pub fn inherit_from(&self, listener: &SocketOptions) {
        for option in [SO_PASSCRED, SO_PASSPIDFD, SO_PASSSEC] {
            if listener.is_on(option) {
                self.set_flag(option, true);
            }
        }
    }

    /// SO_SNDBUF, as accounted.
    pub fn send_buffer(&self) -> usize {
        self.send_buffer.load(Ordering::Relaxed) as usize
    }

    /// SO_RCVBUF, as accounted.
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer.load(Ordering::Relaxed) as usize
    }

    /// SO_RCVLOWAT
    pub fn low_water(&self) -> usize {
        self.low_water.load(Ordering::Relaxed) as usize
    }

    /// SO_RCVTIMEO; `None`: for ever.
    pub fn receive_timeout(&self) -> Option<Duration> {
        timeout(&self.receive_timeout_ns)
    }

    /// SO_SNDTIMEO; `None`: for ever.
    pub fn send_timeout(&self) -> Option<Duration> {
        timeout(&self.send_timeout_ns)
    }

    fn set_flag(&self, option: u32, on: bool) {
        let bit = flag(option).unwrap_or(0);
        if on {
            self.flags.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Sets an option of level SOL_SOCKET; ENOPROTOOPT for unknown ones and those that can't be set. `value` has at
    /// least four bytes (checked by the caller, as Linux does first).
    pub fn set(&self, option: u32, value: &[u8], creds: &Credentials) -> Result<(), Errno> {
        let (number, _) = i32::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
        let need = |cap| if creds.has_cap(cap) { Ok(()) } else { Err(Errno::EPERM) };
        match option {
            SO_DEBUG if number != 0 => need(CAP_NET_ADMIN)?,
            SO_PRIORITY if !(0..=MAX_PRIORITY).contains(&number) => {
                need(CAP_NET_ADMIN).or_else(|_| need(CAP_NET_RAW))?;
            }
            SO_MARK => need(CAP_NET_ADMIN).or_else(|_| need(CAP_NET_RAW))?,
            SO_SNDBUFFORCE | SO_RCVBUFFORCE => need(CAP_NET_ADMIN)?,
            _ => {}
        }
        match option {
            _ if flag(option).is_some() => self.set_flag(option, number != 0),
            SO_SNDBUF => set_buffer(&self.send_buffer, number, MAX_BUFFER, MIN_SEND_BUFFER),
            SO_RCVBUF => set_buffer(&self.receive_buffer, number, MAX_BUFFER, MIN_RECEIVE_BUFFER),
            // What the Sentry's memory has to hold is bounded all the same.
            SO_SNDBUFFORCE => set_buffer(&self.send_buffer, number, 8 * MAX_BUFFER, MIN_SEND_BUFFER),
            SO_RCVBUFFORCE => set_buffer(&self.receive_buffer, number, 8 * MAX_BUFFER, MIN_RECEIVE_BUFFER),
            SO_RCVLOWAT => {
                let low = if number < 0 { i32::MAX } else { number.max(1) };
                self.low_water.store(low as u32, Ordering::Relaxed);
            }
            SO_RCVTIMEO | SO_RCVTIMEO_NEW => set_timeout(&self.receive_timeout_ns, value)?,
            SO_SNDTIMEO | SO_SNDTIMEO_NEW => set_timeout(&self.send_timeout_ns, value)?,
            SO_LINGER => {
                let (linger, _) = Linger::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
                self.linger.store(linger.l_onoff != 0, Ordering::Relaxed);
                if linger.l_onoff != 0 {
                    self.linger_s.store(linger.l_linger, Ordering::Relaxed);
                }
            }
            SO_PRIORITY => self.priority.store(number, Ordering::Relaxed),
            SO_MARK => self.mark.store(number as u32, Ordering::Relaxed),
            SO_BUSY_POLL => {
                if number > self.busy_poll.load(Ordering::Relaxed) {
                    need(CAP_NET_ADMIN)?;
                }
                if number < 0 {
                    return Err(Errno::EINVAL);
                }
                self.busy_poll.store(number, Ordering::Relaxed);
            }
            SO_PEEK_OFF => {
                if number < -1 {
                    return Err(Errno::EINVAL);
                }
                self.peek_offset.store(number, Ordering::Relaxed);
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    /// The value of an option of level SOL_SOCKET that is the same for all families; `None` for others.
    pub fn get(&self, option: u32) -> Option<OptionValue> {
        let number = |value: i32| Some(OptionValue::number(value));
        match option {
            _ if flag(option).is_some() => number(i32::from(self.is_on(option))),
            SO_SNDBUF => number(self.send_buffer() as i32),
            SO_RCVBUF => number(self.receive_buffer() as i32),
            SO_RCVLOWAT => number(self.low_water() as i32),
            SO_SNDLOWAT => number(1),
            SO_RCVTIMEO | SO_RCVTIMEO_NEW => Some(OptionValue::of(&timeval(&self.receive_timeout_ns))),
            SO_SNDTIMEO | SO_SNDTIMEO_NEW => Some(OptionValue::of(&timeval(&self.send_timeout_ns))),
            SO_LINGER => Some(OptionValue::of(&Linger {
                l_onoff: i32::from(self.linger.load(Ordering::Relaxed)),
                l_linger: self.linger_s.load(Ordering::Relaxed),
            })),
            SO_PRIORITY => number(self.priority.load(Ordering::Relaxed)),
            SO_MARK => number(self.mark.load(Ordering::Relaxed) as i32),
            SO_BUSY_POLL => number(self.busy_poll.load(Ordering::Relaxed)),
            SO_PEEK_OFF => number(self.peek_offset.load(Ordering::Relaxed)),
            _ => None,
        }
    }
}

/// The bytes of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionValue(pub smallvec::SmallVec<[u8; 16]>);

impl OptionValue {
    /// An `int`.
    pub fn number(value: i32) -> OptionValue {
        OptionValue::of(&value)
    }

    /// A structure.
    pub fn of<T: IntoBytes + zerocopy::Immutable>(value: &T) -> OptionValue {
        OptionValue(smallvec::SmallVec::from_slice(value.as_bytes()))
    }
}

fn set_buffer(buffer: &AtomicU32, number: i32, max: u32, min: u32) {
    // As on Linux a negative number is a large one, and twice as much is stored, for what the accounting itself costs.
    let asked = (number as u32).min(max).min(i32::MAX as u32 / 2);
    buffer.store((asked * 2).max(min), Ordering::Relaxed);
}

fn timeout(ns: &AtomicU64) -> Option<Duration> {
    match ns.load(Ordering::Relaxed) {
        0 => None,
        ns => Some(Duration::from_nanos(ns)),
    }
}

fn set_timeout(ns: &AtomicU64, value: &[u8]) -> Result<(), Errno> {
    let (time, _) = Timeval::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
    if !(0..1_000_000).contains(&time.tv_usec) {
        return Err(Errno::EDOM);
    }
    let new = match time.tv_sec {
        // Linux takes a negative time as none at all.
        sec if sec < 0 => 1,
        sec => (sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_usec as u64 * 1000),
    };
    ns.store(new, Ordering::Relaxed);
    Ok(())
}

fn timeval(ns: &AtomicU64) -> Timeval {
    let ns = ns.load(Ordering::Relaxed);
    Timeval { tv_sec: (ns / 1_000_000_000) as i64, tv_usec: (ns % 1_000_000_000 / 1000) as i64 }
}
