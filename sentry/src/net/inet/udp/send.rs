//! Sending.

use std::net::SocketAddr;
use std::sync::Arc;

use abi::Errno;
use abi::socket::{SO_BROADCAST, SO_TIMESTAMP, SO_TIMESTAMPNS};

use super::{Datagram, READABLE, UdpSocket};
use crate::net::actor::Actor;
use crate::net::condition::{SHUT_RECEIVE, SHUT_SEND};
use crate::net::inet::{address, route};
use crate::net::message::SendMessage;
use crate::time::Clocks;
use crate::vfs::io::IoSource;

/// What a datagram carries at most: 65,535 bytes with its heads.
const MAX_V4: usize = 65_507;
const MAX_V6: usize = 65_487;
/// What is accounted for a datagram beside its bytes.
const OVERHEAD: usize = 768;

impl UdpSocket {
    pub(super) fn send_datagram(
        &self,
        actor: Option<&Actor<'_>>,
        src: &mut dyn IoSource,
        message: &SendMessage<'_>,
    ) -> Result<usize, Errno> {
        let len = src.remaining();
        if len > 65_535 {
            return Err(Errno::EMSGSIZE);
        }
        if message.out_of_band {
            return Err(Errno::EOPNOTSUPP);
        }
        let to = match message.address {
            Some(given) => {
                let to = address::parse_destination(self.family, given)?;
                if to.port() == 0 {
                    return Err(Errno::EINVAL);
                }
                Some(to)
            }
            None => None,
        };
        let connected = self.state.lock().remote;
        let to = to.or(connected).ok_or(Errno::EDESTADDRREQ)?;
        if let Some(errno) = self.condition.take_error() {
            return Err(errno);
        }
        if to.ip() == std::net::IpAddr::V4(std::net::Ipv4Addr::BROADCAST) && !self.options.is_on(SO_BROADCAST)
        {
            return Err(Errno::ENETUNREACH);
        }
        let to = self.destination(to)?;
        if self.condition.shut() & SHUT_SEND != 0 {
            return Err(Errno::EPIPE);
        }
        if len > if to.is_ipv4() { MAX_V4 } else { MAX_V6 } {
            return Err(Errno::EMSGSIZE);
        }
        let from = self.source(actor, to)?;
        let mut data: Arc<[u8]> = std::iter::repeat_n(0, len).collect();
        // Nobody else has it yet.
        let bytes = Arc::get_mut(&mut data).ok_or(Errno::ENOMEM)?;
        if len > 0 && src.peek(bytes)? < len {
            return Err(Errno::EFAULT);
        }
        src.advance(len);
        match self.receiver(from, to) {
            Some(receiver) => receiver.deliver(data, from),
            // The answer says that the port is unreachable; only who is connected is told.
            None if connected == Some(to) => self.set_error(Errno::ECONNREFUSED),
            None => {}
        }
        Ok(len)
    }

    /// Where a datagram comes from; a socket without a port is given one.
    fn source(&self, actor: Option<&Actor<'_>>, to: SocketAddr) -> Result<SocketAddr, Errno> {
        let mut state = self.state.lock();
        if state.port.is_none() {
            // Only calls that name a destination come without a port, and they say who asks.
            let actor = actor.ok_or(Errno::EDESTADDRREQ)?;
            self.take_port(&mut state, actor, address::unspecified(self.family))?;
        }
        let port = state.port.as_ref().map_or(0, |port| port.number());
        let bound = state.local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        let ip = bound.unwrap_or_else(|| route::source(to.ip()));
        if ip.is_ipv4() != to.ip().is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        Ok(SocketAddr::new(ip, port))
    }

    /// The socket that gets a datagram: one that is connected to the sender, then one that is bound to just this address,
    /// then any; of several that share the port one, by what tells senders apart.
    fn receiver(&self, from: SocketAddr, to: SocketAddr) -> Option<Arc<UdpSocket>> {
        let all = self.net.inet.udp.find(to, false);
        let mut best: smallvec::SmallVec<[Arc<UdpSocket>; 2]> = smallvec::SmallVec::new();
        let mut best_score = 0;
        for socket in all {
            let score = {
                let state = socket.state.lock();
                let exact = u32::from(state.local.is_some_and(|local| local.ip() == to.ip()));
                match state.remote {
                    Some(remote) if remote == from => 4 + exact,
                    Some(_) => continue,
                    None => 1 + exact,
                }
            };
            if score > best_score {
                best.clear();
                best_score = score;
            }
            if score == best_score {
                best.push(socket);
            }
        }
        let shared = best.iter().all(|socket| socket.options.is_on(abi::socket::SO_REUSEPORT));
        let index = if shared && !best.is_empty() {
            usize::from(from.port()) % best.len()
        } else {
            best.len().wrapping_sub(1)
        };
        best.get(index).cloned()
    }

    fn deliver(&self, data: Arc<[u8]>, from: SocketAddr) {
        let wants_time = self.options.is_on(SO_TIMESTAMP) || self.options.is_on(SO_TIMESTAMPNS);
        let sent_ns = wants_time.then(Clocks::realtime_now_ns);
        let cost = data.len() + OVERHEAD;
        let datagram = Datagram { data, from, sent_ns };
        let lost = {
            let mut queue = self.queue.lock();
            if self.condition.shut() & SHUT_RECEIVE == 0 && queue.cost + cost <= self.options.receive_buffer()
            {
                queue.cost += cost;
                queue.list.push_back(datagram);
                None
            } else {
                Some(datagram)
            }
        };
        if lost.is_none() {
            self.wait.notify(READABLE);
        }
    }

    /// What a datagram that is taken out has cost.
    pub(super) fn cost_of(datagram: &Datagram) -> usize {
        datagram.data.len() + OVERHEAD
    }
}
