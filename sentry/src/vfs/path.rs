//! Places: a dentry as seen through a mount, and the text that names it.

use std::sync::Arc;

use super::dentry::{Dentry, moves};
use super::inode::Inode;
use super::mount::Mount;
use crate::fs::nsfs;

/// A place in the tree of a mount namespace.
#[derive(Clone)]
pub struct Path {
    /// Through which mount.
    pub mount: Arc<Mount>,
    /// Where in it.
    pub dentry: Arc<Dentry>,
}

/// How a place is reached from some root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathText {
    /// The text, with a leading slash; for places without a name, what stands for it (`pipe:[7]`).
    pub text: Vec<u8>,
    /// Whether the root was met on the way up. If not, the text starts at the top of the mount tree.
    pub reachable: bool,
    /// Whether the name is gone.
    pub deleted: bool,
}

impl PathText {
    /// As /proc shows it: ` (deleted)` behind names that are gone.
    pub fn for_proc(mut self) -> Vec<u8> {
        if self.deleted && self.text.first() == Some(&b'/') {
            self.text.extend_from_slice(b" (deleted)");
        }
        self.text
    }
}

impl Path {
    /// A place.
    pub fn new(mount: Arc<Mount>, dentry: Arc<Dentry>) -> Path {
        Path { mount, dentry }
    }

    /// The file there.
    pub fn inode(&self) -> &Arc<Inode> {
        &self.dentry.inode
    }

    /// Whether it is the top of what its mount shows.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, &self.mount.root)
    }

    /// The place one up. Leaves mounts; `None` at the top of the mount tree, and for what has no parent.
    pub fn parent(&self) -> Option<Path> {
        let mut at = self.clone();
        while at.is_mount_root() {
            at = at.mount.mount_point()?;
        }
        let dentry = at.dentry.parent()?;
        Some(Path { mount: at.mount, dentry })
    }

    /// The root of what was mounted here last; the place itself where nothing was.
    pub fn topmost(mut self) -> Path {
        while self.dentry.is_mount_point() {
            let Some(above) = self.mount.child_at(&self.dentry) else { break };
            let dentry = Arc::clone(&above.root);
            self = Path::new(above, dentry);
        }
        self
    }

    /// Whether the way up from here meets `root`.
    pub fn is_below(&self, root: &Path) -> bool {
        let mut at = self.clone();
        while !Arc::ptr_eq(&at.mount, &root.mount) {
            let Some(point) = at.mount.mount_point() else { return false };
            at = point;
        }
        root.dentry.is_ancestor_of(&at.dentry)
    }

    /// The text that leads here from `root`.
    pub fn text(&self, root: &Path) -> PathText {
        // A move may tear the way up apart: then again, but not for ever.
        for _ in 0..16 {
            let before = moves();
            let text = self.text_once(root);
            if before.is_multiple_of(2) && moves() == before {
                return text;
            }
        }
        self.text_once(root)
    }

    fn text_once(&self, root: &Path) -> PathText {
        // A namespace that is mounted somewhere has its name from there.
        let named = self.is_mount_root() && nsfs::of_inode(self.inode()).is_some();
        let deleted = self.dentry.is_unlinked() && !named;
        let mut names: Vec<super::Name> = Vec::new();
        let mut at = self.clone();
        let mut reachable = true;
        while at != *root {
            if at.is_mount_root() {
                let Some(point) = at.mount.mount_point() else {
                    reachable = false;
                    break;
                };
                at = point;
                continue;
            }
            let (parent, name) =
                at.dentry.with_place(|parent, name| (parent.cloned(), super::Name::new(name)));
            let Some(parent) = parent else {
                // Outside of what the mount shows, or nothing that has a place.
                if names.is_empty() && deleted {
                    return PathText { text: name.as_bytes().to_vec(), reachable: true, deleted };
                }
                reachable = false;
                break;
            };
            names.push(name);
            at.dentry = parent;
        }
        let mut text = Vec::with_capacity(names.iter().map(|n| n.as_bytes().len() + 1).sum::<usize>().max(1));
        for name in names.iter().rev() {
            text.push(b'/');
            text.extend_from_slice(name.as_bytes());
        }
        if text.is_empty() {
            text.push(b'/');
        }
        PathText { text, reachable, deleted }
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Path) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mount, &other.mount)
    }
}

impl Eq for Path {}

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{:?}", self.mount.id, self.dentry)
    }
}
