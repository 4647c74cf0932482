//! What a process knows of the file system: root, working directory, umask. Shared by CLONE_FS.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sync::RwLock;

use super::namespace::MountMap;
use super::path::Path;

/// Where paths start. Immutable, so that a walk holds it with one reference.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Where absolute paths start and `..` stops.
    pub root: Path,
    /// Where relative paths start.
    pub cwd: Path,
}

/// Compare Linux's `fs_struct`.
#[derive(Debug)]
pub struct FsContext {
    roots: RwLock<Arc<Roots>, sync::levels::FsContext>,
    umask: AtomicU32,
}

impl FsContext {
    /// With `root` as root and working directory.
    pub fn new(root: Path, umask: u32) -> Arc<FsContext> {
        let cwd = root.clone();
        Arc::new(FsContext {
            roots: RwLock::new(Arc::new(Roots { root, cwd })),
            umask: AtomicU32::new(umask & 0o777),
        })
    }

    /// A copy for a new process.
    pub fn fork(&self) -> Arc<FsContext> {
        Arc::new(FsContext { roots: RwLock::new(self.roots()), umask: AtomicU32::new(self.umask()) })
    }

    /// Root and working directory now.
    pub fn roots(&self) -> Arc<Roots> {
        Arc::clone(&self.roots.read())
    }

    /// chdir(2).
    pub fn set_cwd(&self, cwd: Path) {
        self.update(|roots| Roots { root: roots.root.clone(), cwd });
    }

    /// chroot(2).
    pub fn set_root(&self, root: Path) {
        self.update(|roots| Roots { root, cwd: roots.cwd.clone() });
    }

    /// setns(2), unshare(2): both at once.
    pub fn set_roots(&self, root: Path, cwd: Path) {
        self.update(|_| Roots { root, cwd });
    }

    /// pivot_root(2) moves those who stand at the old root: `from` becomes `to`, in either role.
    pub fn replace(&self, from: &Path, to: &Path) {
        let moved = |path: &Path| if path == from { to.clone() } else { path.clone() };
        self.update(|roots| Roots { root: moved(&roots.root), cwd: moved(&roots.cwd) });
    }

    /// The process is in a copy of its mount namespace now: root and working directory are the same places there.
    pub fn translate(&self, mounts: &MountMap) {
        self.update(|roots| Roots { root: mounts.translate(&roots.root), cwd: mounts.translate(&roots.cwd) });
    }

    fn update(&self, change: impl FnOnce(&Roots) -> Roots) {
        let old = {
            let mut slot = self.roots.write();
            let new = Arc::new(change(&slot));
            std::mem::replace(&mut *slot, new)
        };
        // May be the last reference to a mount.
        drop(old);
    }

    /// Permission bits that new files don't get.
    pub fn umask(&self) -> u32 {
        self.umask.load(Ordering::Relaxed)
    }

    /// umask(2): the old one.
    pub fn set_umask(&self, umask: u32) -> u32 {
        self.umask.swap(umask & 0o777, Ordering::Relaxed)
    }
}
