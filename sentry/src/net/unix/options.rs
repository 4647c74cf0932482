//! Options of AF_UNIX sockets that are not the same for all families.

use std::sync::Arc;

use abi::Errno;
use abi::socket::{SO_PEERCRED, SO_PEERGROUPS, SOL_SOCKET, UCred};
use smallvec::SmallVec;

use super::{PeerCreds, UnixSocket};
use crate::net::options::OptionValue;
use crate::task::{OVERFLOW_ID, Pid, PidNamespace, UserNamespace};

impl UnixSocket {
    /// Who the other end is.
    fn peer_creds(&self) -> Option<PeerCreds> {
        self.state.lock().peer_creds.clone()
    }

    /// The process at the other end (SO_PEERPIDFD).
    pub fn peer_pid(&self) -> Option<Arc<Pid>> {
        self.peer_creds().map(|creds| creds.pid)
    }

    pub(super) fn own_option(
        &self,
        pid_ns: &PidNamespace,
        user_ns: &UserNamespace,
        level: u32,
        option: u32,
    ) -> Result<OptionValue, Errno> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        match option {
            // Whoever that is has no name here.
            SO_PEERCRED if self.host.peer().is_some() => {
                Ok(OptionValue::of(&UCred { pid: 0, uid: OVERFLOW_ID, gid: OVERFLOW_ID }))
            }
            SO_PEERCRED => Ok(OptionValue::of(&match self.peer_creds() {
                None => UCred { pid: 0, uid: u32::MAX, gid: u32::MAX },
                Some(peer) => UCred {
                    pid: peer.pid.number_in(pid_ns),
                    uid: user_ns.uid_inside(peer.creds.euid),
                    gid: user_ns.gid_inside(peer.creds.egid),
                },
            })),
            SO_PEERGROUPS => {
                let peer = self.peer_creds().ok_or(Errno::ENODATA)?;
                let groups = peer.creds.groups.iter().map(|gid| user_ns.gid_inside(*gid));
                let bytes: SmallVec<[u8; 16]> = groups.flat_map(u32::to_ne_bytes).collect();
                // Even where it does not fit: the caller is told how much that needs.
                Ok(OptionValue(bytes))
            }
            _ => Err(Errno::ENOPROTOOPT),
        }
    }
}
