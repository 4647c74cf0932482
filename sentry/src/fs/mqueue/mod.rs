//! POSIX message queues (mq_overview(7)) and the file system that shows them.
//!
//! - [`Mqueues`]: all queues of an IPC namespace. Every mount that is made in it shows the same tree, and the calls
//!   (mq_open(2) and so on) look names up there.
//! - [`Queue`]: messages by priority, who is to be told of the first one. Calls wait outside, on [`Queue::wait_queue`].
//! - `node`: the inodes. `limits`: what /proc/sys/fs/mqueue sets, and what users have taken of RLIMIT_MSGQUEUE.
//!
//! Lock levels: `Inode` for attributes, `InodeData` for the names, `FileState` for a queue, `Leaf` for the accounts.

mod limits;
mod node;
mod queue;

use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use abi::capability::CAP_SYS_ADMIN;
use abi::open::{O_ACCMODE, OpenFlags};

use crate::ipc::acting;
use crate::vfs::open::Opening;
use crate::vfs::resolve::{LookupFlags, lookup};
use crate::vfs::{
    AccessMode, Caller, Dentry, File, FileSystemType, Mount, MountFlags, MountRequest, NewKind, Path, Roots,
    Want,
};
use crate::{Kernel, Result};
pub use limits::{Accounts, Limits};
pub use node::QueueFile;
pub use queue::{Message, Notify, PRIORITIES, Queue};

/// What mq_open(2) asks of a new queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Messages at most.
    pub max_messages: i64,
    /// Bytes of a message at most.
    pub message_size: i64,
}

/// The queues of a namespace.
pub struct Mqueues {
    /// Limits and accounts.
    pub limits: Arc<Limits>,
    mount: OnceLock<Arc<Mount>>,
}

impl Mqueues {
    /// None yet, of a namespace whose users are charged in `accounts`.
    pub fn new(accounts: Arc<Accounts>) -> Mqueues {
        Mqueues { limits: Arc::new(Limits::new(accounts)), mount: OnceLock::new() }
    }

    /// The mount that the calls look names up in.
    fn mount(&self) -> &Arc<Mount> {
        self.mount.get_or_init(|| {
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            Mount::new(node::new_root(&self.limits), b"mqueue", flags)
        })
    }

    fn root(&self) -> Path {
        let mount = self.mount();
        Path::new(Arc::clone(mount), Arc::clone(&mount.root))
    }

    /// mq_open(2). `mode` is without the caller's umask yet.
    pub fn open(
        &self,
        caller: &Caller<'_>,
        name: &[u8],
        flags: OpenFlags,
        mode: u32,
        shape: Option<Shape>,
    ) -> Result<Arc<File>> {
        check_name(name)?;
        let root = self.root();
        let roots = Roots { root: root.clone(), cwd: root.clone() };
        let caller = Caller { roots: &roots, ..*caller };
        let creates = flags.contains(OpenFlags::CREAT);
        let opened = flags - OpenFlags::CREAT - OpenFlags::EXCL;
        loop {
            match lookup(&caller, &root, name, LookupFlags::empty()) {
                Ok(_) if creates && flags.contains(OpenFlags::EXCL) => return Err(Errno::EEXIST),
                Ok(_) if flags.bits() & O_ACCMODE == O_ACCMODE => return Err(Errno::EINVAL),
                Ok(place) => {
                    let access = AccessMode::from_flags(flags);
                    let mut want = Want::empty();
                    want.set(Want::READ, access.read);
                    want.set(Want::WRITE, access.write);
                    return caller.open_place(place, opened, want).and_then(Opening::now);
                }
                Err(Errno::ENOENT) if creates => {}
                Err(errno) => return Err(errno),
            }
            let dir = root.inode();
            dir.permission(&caller, Want::WRITE | Want::EXEC)?;
            let new = caller.new_node(dir, NewKind::Regular, mode);
            let made = {
                let _lock = dir.lock();
                let made = node::create(dir, name, &new, shape, caller.creds);
                dir.entries_changed();
                made
            };
            match made {
                Ok(_) => {
                    let place = lookup(&caller, &root, name, LookupFlags::empty())?;
                    return caller.open_place(place, opened, Want::empty()).and_then(Opening::now);
                }
                // Somebody else was faster.
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// mq_unlink(2).
    pub fn unlink(&self, caller: &Caller<'_>, name: &[u8]) -> Result<()> {
        check_name(name)?;
        let root = self.root();
        let roots = Roots { root: root.clone(), cwd: root.clone() };
        Caller { roots: &roots, ..*caller }.unlink(&root, name)
    }
}

/// One name, no path. The C library has taken the slash in front away.
fn check_name(name: &[u8]) -> Result<()> {
    if name.is_empty() {
        Err(Errno::ENOENT)
    } else if name.contains(&b'/') || name == b"." || name == b".." {
        Err(Errno::EACCES)
    } else if name.len() > abi::NAME_MAX {
        Err(Errno::ENAMETOOLONG)
    } else {
        Ok(())
    }
}

/// The kind of file system.
pub struct MqueueFs {
    kernel: Weak<Kernel>,
}

impl MqueueFs {
    /// For this kernel.
    pub fn new(kernel: &Arc<Kernel>) -> Arc<MqueueFs> {
        Arc::new(MqueueFs { kernel: Arc::downgrade(kernel) })
    }
}

impl FileSystemType for MqueueFs {
    fn name(&self) -> &'static str {
        "mqueue"
    }

    fn allowed_in_user_ns(&self) -> bool {
        true
    }

    fn mount(&self, request: &MountRequest<'_>, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        if !request.options.is_empty() {
            return Err(Errno::EINVAL);
        }
        let kernel = self.kernel.upgrade().ok_or(Errno::ENODEV)?;
        let ipc = acting(&kernel);
        if !caller.creds.has_cap_in(CAP_SYS_ADMIN, &ipc.user_ns) {
            return Err(Errno::EPERM);
        }
        Ok(Arc::clone(&ipc.mqueues.mount().root))
    }
}
