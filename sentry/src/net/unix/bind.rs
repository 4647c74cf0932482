//! bind(2): to a path, to an abstract name, to one of the kernel's choice.

use std::sync::{Arc, Weak};

use abi::Errno;
use abi::socket::AF_UNIX;

use super::address::{self, BoundHere, Name};
use super::{Role, UnixSocket};
use crate::net::actor::Actor;

impl UnixSocket {
    /// Gives the socket a name. EINVAL when it has one, EADDRINUSE when another has it.
    pub(super) fn bind_to(&self, actor: &Actor<'_>, address: &[u8]) -> Result<(), Errno> {
        if address.len() == 2 && address::family(address) == Some(AF_UNIX) {
            return self.bind_auto();
        }
        match address::parse(address)? {
            Name::Path(path) => self.bind_path(actor, path),
            Name::Abstract(address) => {
                let _one = self.binding.lock();
                let own = self.unbound()?;
                let address: Arc<[u8]> = address.into();
                self.net.bind(self.kind, &address, &own)?;
                self.state.lock().address = Some(address);
                Ok(())
            }
        }
    }

    /// A name of the kernel's choice, unless there is one.
    pub(super) fn bind_auto(&self) -> Result<(), Errno> {
        let _one = self.binding.lock();
        if self.address().is_some() {
            return Ok(());
        }
        let own = self.unbound()?;
        let address = self.net.bind_auto(self.kind, &own)?;
        self.state.lock().address = Some(address);
        Ok(())
    }

    fn bind_path(&self, actor: &Actor<'_>, path: &[u8]) -> Result<(), Errno> {
        actor.with_caller(|caller| {
            let at = &caller.roots.cwd;
            // As on Linux the file is made first, and taken away again when the socket has a name already.
            let (place, host) = caller.bind_socket(at, path, self.kind, 0o777 & !caller.umask).map_err(
                |errno| match errno {
                    Errno::EEXIST => Errno::EADDRINUSE,
                    other => other,
                },
            )?;
            let _one = self.binding.lock();
            let own = match self.unbound() {
                Ok(own) => own,
                Err(errno) => {
                    let _ = caller.unlink(at, path);
                    return Err(errno);
                }
            };
            match host {
                // Found on the host, by others of the sandbox as well.
                Some(host) => self.bound_on_host(host)?,
                None => {
                    let bound: Weak<UnixSocket> = Arc::downgrade(&own);
                    place.inode().attach_with(|| Arc::new(BoundHere(bound)));
                }
            }
            let mut state = self.state.lock();
            state.address = Some(address::of_path(path));
            state.place = Some(place);
            Ok(())
        })
    }

    /// The socket, if it has no name yet.
    fn unbound(&self) -> Result<Arc<UnixSocket>, Errno> {
        let free = {
            let state = self.state.lock();
            state.address.is_none() && !matches!(state.role, Role::Closed)
        };
        if !free {
            return Err(Errno::EINVAL);
        }
        self.arc().ok_or(Errno::EINVAL)
    }
}
