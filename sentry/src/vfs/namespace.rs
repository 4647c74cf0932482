//! Mount namespaces: a tree of mounts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use sync::RwLock;

use super::mount::{Mount, lock_tree};
use super::path::Path;
use crate::task::UserNamespace;

/// A mount namespace.
pub struct MountNamespace {
    /// What /proc/PID/ns/mnt shows.
    pub id: u64,
    /// Whose capabilities count for changes of the tree.
    pub user_ns: Arc<UserNamespace>,
    top: RwLock<Arc<Mount>, sync::levels::Leaf>,
    this: Weak<MountNamespace>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0xf000_0000);

impl MountNamespace {
    /// A namespace whose top is `top`, which is mounted nowhere.
    pub fn new(top: Arc<Mount>, user_ns: Arc<UserNamespace>) -> Arc<MountNamespace> {
        let lock = lock_tree();
        Arc::new_cyclic(|this| {
            top.make_top(this, &lock);
            let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
            MountNamespace { id, user_ns, top: RwLock::new(top), this: Weak::clone(this) }
        })
    }

    /// The top mount.
    pub fn top(&self) -> Arc<Mount> {
        Arc::clone(&self.top.read())
    }

    /// The root directory: what is mounted last on the top.
    pub fn root(&self) -> Path {
        let mut mount = self.top();
        while mount.root.is_mount_point() {
            let Some(above) = mount.child_at(&mount.root) else { break };
            mount = above;
        }
        let dentry = Arc::clone(&mount.root);
        Path { mount, dentry }
    }

    /// For mounts that are to be part of it.
    pub(super) fn weak(&self) -> &Weak<MountNamespace> {
        &self.this
    }
}

impl std::fmt::Debug for MountNamespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mnt:[{}]", self.id)
    }
}
