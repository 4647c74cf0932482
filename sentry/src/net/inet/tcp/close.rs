//! shutdown(2), close(2), resets.

use std::sync::Arc;

use abi::Errno;

use super::{EVERYTHING, Role, TcpSocket, listen};
use crate::net::condition::{self, SHUT_BOTH, SHUT_RECEIVE, SHUT_SEND};

impl TcpSocket {
    pub(super) fn shut_down(&self, how: u32) -> Result<(), Errno> {
        let which = condition::directions(how)?;
        let peer = {
            let state = self.state.lock();
            match &state.role {
                Role::Listening(_) => None,
                Role::Connected | Role::Connecting { succeeded: true } if !self.is_over() => {
                    state.peer.clone()
                }
                _ => {
                    drop(state);
                    // Linux does it, too, and says that there is no connection.
                    self.condition.add_shutdown(which);
                    self.wait.notify(EVERYTHING);
                    return Err(Errno::ENOTCONN);
                }
            }
        };
        let Some(peer) = peer else {
            if which & SHUT_RECEIVE != 0 {
                self.stop_listening();
            }
            return Ok(());
        };
        self.condition.add_shutdown(which);
        if which & SHUT_SEND != 0 {
            peer.finish();
        }
        self.wait.notify(EVERYTHING);
        Ok(())
    }

    /// The peer has ended its direction.
    pub(super) fn finish(&self) {
        self.queue.lock().finished = true;
        self.condition.add_shutdown(SHUT_RECEIVE);
        self.wait.notify(EVERYTHING);
    }

    /// Both directions have ended, or the connection was reset.
    pub(super) fn is_over(&self) -> bool {
        self.condition.shut() & SHUT_SEND != 0 && self.queue.lock().finished
    }

    /// The peer has reset the connection.
    pub(super) fn reset(&self) {
        let seen_end = {
            let mut queue = self.queue.lock();
            std::mem::replace(&mut queue.finished, true)
        };
        self.condition.set_error(if seen_end { Errno::EPIPE } else { Errno::ECONNRESET });
        self.condition.add_shutdown(SHUT_BOTH);
        self.wait.notify(EVERYTHING);
    }

    fn stop_listening(&self) {
        let (role, port) = {
            let mut state = self.state.lock();
            if let Some(port) = &state.port {
                // It only stops: nobody can be in its way.
                let _ = port.set_listening(false);
            }
            (std::mem::replace(&mut state.role, Role::Idle), state.release_port())
        };
        drop(port);
        self.drop_role(role);
        self.wait.notify(EVERYTHING);
    }

    /// What a role held: connections that nobody has accepted are reset.
    fn drop_role(&self, role: Role) {
        if let Role::Listening(listener) = role {
            for connection in listener.waiting {
                connection.end(true);
                connection.leave();
            }
            listen::tell(listener.blocked);
        }
    }

    /// Ends the connection, with a reset if asked for, or if there is data that nobody has read.
    pub(super) fn end(&self, by_reset: bool) {
        let (role, peer, port_given) = {
            let mut state = self.state.lock();
            let role = std::mem::replace(&mut state.role, Role::Over);
            if matches!(role, Role::Listening(_))
                && let Some(port) = &state.port
            {
                let _ = port.set_listening(false);
            }
            (role, state.peer.take(), state.port_given)
        };
        let (unread, pieces, finished) = {
            let mut queue = self.queue.lock();
            (queue.close(), queue.take_all(), queue.finished)
        };
        drop(pieces);
        let was_over = finished && self.condition.shut() & SHUT_SEND != 0;
        self.condition.add_shutdown(SHUT_BOTH);
        if let Some(peer) = peer
            && !was_over
        {
            if by_reset || unread > 0 {
                peer.reset();
            } else {
                // Who ends first keeps the port for a while. One of the kernel's choice can be given to others at once.
                if !finished
                    && port_given
                    && let Some(port) = &self.state.lock().port
                {
                    port.linger();
                }
                peer.finish();
            }
        }
        self.drop_role(role);
    }

    /// The open file is gone.
    pub(super) fn close_socket(&self) {
        let by_reset = self.options.lingers_for() == Some(0);
        self.end(by_reset);
        self.leave();
        self.wait.notify(EVERYTHING);
    }

    /// Gives everything back.
    fn leave(&self) {
        let (port, peer): (_, Option<Arc<TcpSocket>>) = {
            let mut state = self.state.lock();
            state.role = Role::Closed;
            (state.port.take(), state.peer.take())
        };
        drop(port);
        drop(peer);
    }
}
