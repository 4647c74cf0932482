//! System V interprocess communication (svipc(7)) and IPC namespaces (ipc_namespaces(7)).
//!
//! - [`IpcNamespace`]: shared memory ([`shm`]), semaphores ([`sem`]), message queues ([`msg`]), and POSIX message queues
//!   ([`mqueue`](crate::fs::mqueue)), each with their limits ([`Limits`]).
//! - `registry`: objects by id and key. `permission`: who may do what.
//! - [`Budget`]: how much of the Sentry's memory all of that may take.
//!
//! Whoever waits for a semaphore or a message is served by whoever makes that possible, in the order of coming: nobody is
//! woken for nothing.
//!
//! Lock levels: `FileState` for a registry, `FileStateInner` for an object.

mod acting;
mod budget;
mod limits;
pub mod msg;
mod permission;
mod registry;
pub mod sem;
pub mod shm;
mod show;
mod woken;

use std::sync::Arc;

pub(crate) use self::acting::acting;
pub use self::acting::on_behalf_of;
pub use self::budget::Budget;
use self::budget::NamespacePlace;
pub use self::limits::Limits;
use self::msg::MsgTable;
pub use self::permission::{Anybody, Asker};
use self::sem::SemTable;
use self::shm::ShmTable;
use crate::Result;
use crate::fs::mqueue::{Accounts, Mqueues};
use crate::task::UserNamespace;

/// An IPC namespace.
pub struct IpcNamespace {
    /// Unique; what /proc/PID/ns/ipc shows.
    pub id: u64,
    /// The user namespace that owns it.
    pub user_ns: Arc<UserNamespace>,
    /// Limits of System V objects.
    pub limits: Limits,
    /// Shared memory.
    pub shm: ShmTable,
    /// Semaphores.
    pub sem: SemTable,
    /// Message queues.
    pub msg: MsgTable,
    /// POSIX message queues.
    pub mqueues: Mqueues,
    budget: Arc<Budget>,
    _place: NamespacePlace,
}

impl IpcNamespace {
    /// The first one.
    pub fn initial(user_ns: Arc<UserNamespace>) -> Result<Arc<IpcNamespace>> {
        Self::with(0xefff_ffff, user_ns, Arc::default(), Arc::default())
    }

    /// Another one without objects: ENOSPC when there are too many.
    pub fn another(&self, id: u64, user_ns: Arc<UserNamespace>) -> Result<Arc<IpcNamespace>> {
        Self::with(id, user_ns, Arc::clone(&self.budget), self.mqueues.limits.accounts())
    }

    fn with(
        id: u64,
        user_ns: Arc<UserNamespace>,
        budget: Arc<Budget>,
        accounts: Arc<Accounts>,
    ) -> Result<Arc<IpcNamespace>> {
        let place = budget.namespace()?;
        Ok(Arc::new(IpcNamespace {
            id,
            user_ns,
            limits: Limits::default(),
            shm: ShmTable::default(),
            sem: SemTable::default(),
            msg: MsgTable::default(),
            mqueues: Mqueues::new(accounts),
            budget,
            _place: place,
        }))
    }
}
