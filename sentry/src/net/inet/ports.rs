//! Who has which port: a table a protocol in each network namespace.
//!
//! Sockets of one port may be several: bound to different addresses, sharing it (SO_REUSEADDR, SO_REUSEPORT), or accepted
//! from one listener. A socket's place is given back when its [`Port`] is dropped.
//!
//! Lock level: `Leaf`. References to sockets are looked at after the lock is let go.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use abi::Errno;
use smallvec::SmallVec;
use sync::Mutex;

/// Ports that are given to sockets that ask for none (net.ipv4.ip_local_port_range).
pub const EPHEMERAL: std::ops::RangeInclusive<u16> = 32768..=60999;

/// How long a port is kept after a connection to it was ended from this side.
const TIME_WAIT: Duration = Duration::from_secs(60);

/// How a socket wants to have a port.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Address; the port is 0 when any will do.
    pub address: SocketAddr,
    /// IPV6_V6ONLY
    pub v6_only: bool,
    /// SO_REUSEADDR
    pub reuse_address: bool,
    /// SO_REUSEPORT
    pub reuse_port: bool,
    /// Who asks: sharing by SO_REUSEPORT is within a user.
    pub uid: u32,
}

struct Place<S> {
    claim: Claim,
    listening: bool,
    socket: Weak<S>,
}

impl<S> Place<S> {
    fn takes(&self, ip: IpAddr) -> bool {
        covers(self.claim.address.ip(), self.claim.v6_only, ip)
    }
}

/// Whether a socket bound to `bound` gets what is for `ip`.
fn covers(bound: IpAddr, v6_only: bool, ip: IpAddr) -> bool {
    match bound {
        _ if bound == ip => true,
        IpAddr::V4(v4) if v4.is_unspecified() => ip.is_ipv4(),
        IpAddr::V6(v6) if v6.is_unspecified() => ip.is_ipv6() || !v6_only,
        _ => false,
    }
}

struct PortState<S> {
    places: HashMap<u64, Place<S>>,
    /// Until when connections of this port may linger, and whether they let others have it.
    time_wait: Option<(Instant, bool)>,
}

struct Table<S> {
    ports: HashMap<u16, PortState<S>>,
    next_id: u64,
}

/// The ports of one protocol.
pub struct Ports<S> {
    table: Mutex<Table<S>, sync::levels::Leaf>,
    /// Whether a socket that listens shares its port with nobody, as TCP's.
    exclusive_listeners: bool,
}

/// A socket's hold on a port.
pub struct Port<S> {
    ports: Arc<Ports<S>>,
    number: u16,
    id: u64,
}

impl<S> Ports<S> {
    /// No port is taken.
    pub fn new(exclusive_listeners: bool) -> Arc<Ports<S>> {
        let table = Table { ports: HashMap::new(), next_id: 0 };
        Arc::new(Ports { table: Mutex::new(table), exclusive_listeners })
    }

    /// Takes a port: the one asked for, or a free one. EADDRINUSE.
    pub fn bind(self: &Arc<Self>, mut claim: Claim, socket: Weak<S>) -> Result<Port<S>, Errno> {
        let mut table = self.table.lock();
        let number = match claim.address.port() {
            0 => table.free_port(&claim, self.exclusive_listeners)?,
            number if table.conflicts(number, &claim, self.exclusive_listeners) => {
                return Err(Errno::EADDRINUSE);
            }
            number => number,
        };
        claim.address.set_port(number);
        Ok(self.insert(&mut table, number, Place { claim, listening: false, socket }))
    }

    fn insert(self: &Arc<Self>, table: &mut Table<S>, number: u16, place: Place<S>) -> Port<S> {
        let id = table.next_id;
        table.next_id += 1;
        let state = table.ports.entry(number);
        let state = state.or_insert_with(|| PortState { places: HashMap::new(), time_wait: None });
        state.places.insert(id, place);
        Port { ports: Arc::clone(self), number, id }
    }

    /// The sockets that would get what is for an address, those that are bound to just it first.
    pub fn find(&self, to: SocketAddr, listening: bool) -> SmallVec<[Arc<S>; 2]> {
        let table = self.table.lock();
        let Some(state) = table.ports.get(&to.port()) else { return SmallVec::new() };
        let mut found: SmallVec<[(bool, u64, Arc<S>); 2]> = SmallVec::new();
        for (id, place) in &state.places {
            if place.listening == listening
                && place.takes(to.ip())
                && let Some(socket) = place.socket.upgrade()
            {
                found.push((place.claim.address.ip() != to.ip(), *id, socket));
            }
        }
        drop(table);
        found.sort_by_key(|(general, id, _)| (*general, *id));
        found.into_iter().map(|(_, _, socket)| socket).collect()
    }
}

impl<S> Table<S> {
    fn conflicts(&self, number: u16, claim: &Claim, exclusive_listeners: bool) -> bool {
        let Some(state) = self.ports.get(&number) else { return false };
        if let Some((until, shared)) = state.time_wait
            && Instant::now() < until
            && !(shared && claim.reuse_address)
            && !claim.reuse_port
        {
            return true;
        }
        state.places.values().any(|place| {
            let other = &place.claim;
            let (mine, theirs) = (claim.address.ip(), other.address.ip());
            let meet = covers(theirs, other.v6_only, mine) || covers(mine, claim.v6_only, theirs);
            let by_address =
                claim.reuse_address && other.reuse_address && !(exclusive_listeners && place.listening);
            let by_port = claim.reuse_port && other.reuse_port && claim.uid == other.uid;
            meet && !by_address && !by_port
        })
    }

    fn free_port(&self, claim: &Claim, exclusive_listeners: bool) -> Result<u16, Errno> {
        let count = u32::from(EPHEMERAL.end() - EPHEMERAL.start()) + 1;
        let mut random = [0; 4];
        // Ports that can't be guessed; without random numbers any will do.
        let _ = crate::system::fill_random(&mut random);
        let start = u32::from_ne_bytes(random) % count;
        // A port that is asked for by nobody in particular is shared with nobody.
        let alone = Claim { reuse_address: false, reuse_port: false, ..*claim };
        let port = |step: u32| EPHEMERAL.start() + ((start + step) % count) as u16;
        (0..count)
            .map(port)
            .find(|port| !self.conflicts(*port, &alone, exclusive_listeners))
            .ok_or(Errno::EADDRINUSE)
    }
}

impl<S> Port<S> {
    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The socket listens from now on, or no more. EADDRINUSE when another does that lets nobody else.
    pub fn set_listening(&self, listening: bool) -> Result<(), Errno> {
        let mut table = self.ports.table.lock();
        let Some(state) = table.ports.get_mut(&self.number) else { return Ok(()) };
        let Some(own) = state.places.get(&self.id).map(|place| place.claim) else { return Ok(()) };
        if listening {
            let refused = state.places.iter().any(|(id, place)| {
                let (mine, theirs) = (own.address.ip(), place.claim.address.ip());
                let meet = covers(theirs, place.claim.v6_only, mine) || covers(mine, own.v6_only, theirs);
                let by_port = own.reuse_port && place.claim.reuse_port && own.uid == place.claim.uid;
                *id != self.id && place.listening && meet && !by_port
            });
            if refused {
                return Err(Errno::EADDRINUSE);
            }
        }
        if let Some(place) = state.places.get_mut(&self.id) {
            place.listening = listening;
        }
        Ok(())
    }

    /// What SO_REUSEADDR and SO_REUSEPORT say now.
    pub fn set_sharing(&self, reuse_address: bool, reuse_port: bool) {
        let mut table = self.ports.table.lock();
        if let Some(place) =
            table.ports.get_mut(&self.number).and_then(|state| state.places.get_mut(&self.id))
        {
            place.claim.reuse_address = reuse_address;
            place.claim.reuse_port = reuse_port;
        }
    }

    /// A place for a connection that came in by this port.
    pub fn for_connection(&self, local: SocketAddr, socket: Weak<S>) -> Port<S> {
        let mut table = self.ports.table.lock();
        let own = table.ports.get(&self.number).and_then(|state| state.places.get(&self.id));
        let mut claim = match own {
            Some(place) => place.claim,
            None => Claim { address: local, v6_only: true, reuse_address: true, reuse_port: false, uid: 0 },
        };
        claim.address = local;
        self.ports.insert(&mut table, self.number, Place { claim, listening: false, socket })
    }

    /// The connection was ended from this side: the port is kept for a while.
    pub fn linger(&self) {
        let mut table = self.ports.table.lock();
        let Some(state) = table.ports.get_mut(&self.number) else { return };
        let shared = state.places.get(&self.id).is_some_and(|place| place.claim.reuse_address);
        if let Some(until) = Instant::now().checked_add(TIME_WAIT) {
            let shared = shared && state.time_wait.is_none_or(|(_, before)| before);
            state.time_wait = Some((until, shared));
        }
    }
}

impl<S> Drop for Port<S> {
    fn drop(&mut self) {
        let removed = {
            let mut table = self.ports.table.lock();
            let Some(state) = table.ports.get_mut(&self.number) else { return };
            let removed = state.places.remove(&self.id);
            let kept = state.time_wait.is_some_and(|(until, _)| Instant::now() < until);
            if state.places.is_empty() && !kept {
                table.ports.remove(&self.number);
            }
            removed
        };
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(address: &str) -> Claim {
        let address = address.parse().expect("an address");
        Claim { address, v6_only: false, reuse_address: false, reuse_port: false, uid: 0 }
    }

    #[test]
    fn addresses_that_meet_conflict() {
        let ports: Arc<Ports<()>> = Ports::new(true);
        let bind = |address: &str| ports.bind(claim(address), Weak::new());
        let one = bind("127.0.0.1:80").expect("it is free");
        assert_eq!(bind("0.0.0.0:80").err(), Some(Errno::EADDRINUSE));
        assert_eq!(bind("[::]:80").err(), Some(Errno::EADDRINUSE));
        assert!(bind("127.0.0.2:80").is_ok());
        assert!(bind("[::1]:80").is_ok());
        drop(one);
        assert!(bind("0.0.0.0:80").is_ok());
    }

    #[test]
    fn any_port_is_a_free_one() {
        let ports: Arc<Ports<()>> = Ports::new(false);
        let a = ports.bind(claim("0.0.0.0:0"), Weak::new()).expect("there is one");
        let b = ports.bind(claim("0.0.0.0:0"), Weak::new()).expect("there is one");
        assert_ne!(a.number(), b.number());
        assert!(EPHEMERAL.contains(&a.number()));
    }

    #[test]
    fn a_listener_shares_by_port_alone() {
        let ports: Arc<Ports<()>> = Ports::new(true);
        let shared = Claim { reuse_address: true, ..claim("127.0.0.1:90") };
        let a = ports.bind(shared, Weak::new()).expect("it is free");
        let b = ports.bind(shared, Weak::new()).expect("both share");
        a.set_listening(true).expect("nobody else listens");
        assert_eq!(b.set_listening(true), Err(Errno::EADDRINUSE));
        assert_eq!(ports.bind(shared, Weak::new()).err(), Some(Errno::EADDRINUSE));
        let both = Claim { reuse_port: true, ..claim("127.0.0.1:91") };
        let c = ports.bind(both, Weak::new()).expect("it is free");
        c.set_listening(true).expect("nobody else listens");
        ports.bind(both, Weak::new()).expect("shared").set_listening(true).expect("shared");
    }
}
