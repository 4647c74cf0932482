//! Process groups and sessions (setpgid(2), setsid(2)).

use std::sync::Arc;

use sync::Mutex;

use super::{Pid, Task};

/// A session: process groups that share a controlling terminal.
pub struct Session {
    /// Identity of its leader.
    pub pid: Arc<Pid>,
    tty: Mutex<Option<Arc<dyn ControllingTty>>, sync::levels::Leaf>,
}

/// What a session needs of its terminal; ttys implement it.
pub trait ControllingTty: Send + Sync {
    /// The foreground process group.
    fn foreground(&self) -> Option<Arc<ProcessGroup>>;
    /// From now on it controls `session`, with `foreground` in front (the runtime starts a process on it).
    fn session_begins(&self, session: &Arc<Session>, foreground: &Arc<ProcessGroup>);
    /// The session leader has exited: forget the session and its foreground group. The caller has sent the signals.
    fn session_gone(&self, session: &Arc<Session>);
    /// vhangup(2): files that are open now are cut off. Terminals outside of the sandbox are left alone.
    fn hang_up(&self) {}
    /// Device number, for `tty_nr` of /proc/PID/stat.
    fn device(&self) -> u64;
    /// For `Arc<dyn Any>` downcasts by /dev/tty.
    fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync>;
}

impl Session {
    /// A session led by the process with this identity.
    pub fn new(pid: Arc<Pid>) -> Arc<Session> {
        let session = Arc::new(Session { pid, tty: Mutex::new(None) });
        session.pid.set_session(Arc::downgrade(&session));
        session
    }

    /// The controlling terminal.
    pub fn tty(&self) -> Option<Arc<dyn ControllingTty>> {
        self.tty.lock().clone()
    }

    /// Sets or takes away the controlling terminal and gives the old one.
    pub fn set_tty(&self, tty: Option<Arc<dyn ControllingTty>>) -> Option<Arc<dyn ControllingTty>> {
        std::mem::replace(&mut *self.tty.lock(), tty)
    }

    /// Whether `task`'s process leads this session.
    pub fn is_leader(&self, task: &Task) -> bool {
        self.pid.identity == task.thread_group().pid.identity
    }
}

/// A process group. Its session never changes; who is in it is in the [`Tree`](super::Tree).
pub struct ProcessGroup {
    /// Identity of the process that founded it.
    pub pid: Arc<Pid>,
    /// The session it is in.
    pub session: Arc<Session>,
}

impl ProcessGroup {
    /// A group founded by the process with this identity.
    pub fn new(pid: Arc<Pid>, session: Arc<Session>) -> Arc<ProcessGroup> {
        let group = Arc::new(ProcessGroup { pid, session });
        group.pid.set_process_group(Arc::downgrade(&group));
        group
    }

    /// Key in the tree.
    pub fn id(&self) -> u64 {
        self.pid.identity
    }
}
