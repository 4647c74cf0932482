//! What a directory holds, as one listing told it.
//!
//! In an exclusive tree a listing brings attributes along, and handles of directories: whoever lists a directory mostly
//! looks at what is in it next, and a request for each name costs far more. The listing is kept for a while. A lookup then
//! takes what it needs out of it, once (later attributes are the inode's), and knows what is not there without asking.
//!
//! A listing is of one state of its directory ([`Inode::changes`]); its attributes are of one state of the tree
//! ([`GoferFs::changed`](super::GoferFs)).

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;
use gofer_protocol::{Client, Looked, ReaddirFlags};
use sync::Mutex;

use super::inode::GoferInode;
use super::{GoferFs, Sharing, errno};
use crate::Result;
use crate::vfs::Inode;

/// Entries of one directory that attributes are asked for.
const LOOKED_AT: usize = 16 * 1024;

/// Entries in all kept listings of a tree together.
pub(super) const KEPT_ENTRIES: usize = 64 * 1024;

/// So many names are asked for one by one before the directory is listed.
const SINGLY: u64 = 8;

/// Entries of a directory in the order that the host gives them.
pub(super) struct Listing {
    pub entries: Box<[Entry]>,
    /// Attributes of the first entries, until they are taken.
    looked: Mutex<Vec<Option<Looked>>, sync::levels::Leaf>,
    /// The entries by name.
    order: OnceLock<Box<[u32]>>,
    changes: u64,
    tree: u64,
    client: Arc<Client>,
}

/// A name, the file's number here, its `DT_*`.
pub(super) struct Entry {
    pub name: Box<[u8]>,
    pub ino: u64,
    pub kind: u8,
}

/// What a listing says of a name.
pub(super) enum Known {
    /// There; so it was when the directory was listed.
    There(Looked),
    /// Not there.
    Missing,
    /// To be asked for.
    Unknown,
}

/// What an inode of a directory keeps.
#[derive(Default)]
pub(super) struct DirState {
    listing: Mutex<Option<Arc<Listing>>, sync::levels::Leaf>,
    /// How many names were asked for singly, in the lower byte, in which state of the directory, above it.
    asked: AtomicU64,
}

impl DirState {
    /// The kept listing, if it still holds.
    pub fn listing(&self, dir: &Inode) -> Option<Arc<Listing>> {
        let listing = self.listing.lock().clone()?;
        (listing.changes == dir.changes()).then_some(listing)
    }

    /// Keeps a listing, or nothing any more; the old one is dropped by the caller, without locks.
    pub fn replace(&self, new: Option<Arc<Listing>>) -> Option<Arc<Listing>> {
        std::mem::replace(&mut *self.listing.lock(), new)
    }

    /// One more name is asked for; whether listing the directory is cheaper from now on.
    pub fn ask_singly(&self, dir: &Inode) -> bool {
        let state = dir.changes() << 8;
        let before = self.asked.load(Ordering::Relaxed);
        let count = if before & !0xff == state { before & 0xff } else { 0 };
        let more = (count + 1).min(0xff);
        self.asked.store(state | more, Ordering::Relaxed);
        more == SINGLY
    }
}

impl Listing {
    /// Asks the Gofer.
    pub fn read(fs: &GoferFs, dir: &Inode, ops: &GoferInode) -> Result<Arc<Listing>> {
        let (changes, tree) = (dir.changes(), fs.changed());
        let handle = ops.handle()?;
        let mut flags = match fs.sharing {
            Sharing::Exclusive => ReaddirFlags::ATTR | ReaddirFlags::DIR_HANDLES,
            Sharing::Shared => ReaddirFlags::empty(),
        };
        let mut entries = Vec::new();
        let mut looked = Vec::new();
        let mut cookie = 0;
        loop {
            let wanted = !flags.is_empty();
            let end = ops.client.readdir(handle, cookie, flags, |entry| {
                cookie = entry.cookie;
                let kind = entry.kind.map_or(0, |k| k as u8);
                let ino = entry.found.map_or(entry.ino, |found| fs.number(found.attr.id));
                entries.push(Entry { name: entry.name.as_bytes().into(), ino, kind });
                if wanted {
                    looked.push(entry.found);
                }
            });
            if end.map_err(errno)? {
                break;
            }
            if entries.len() >= LOOKED_AT {
                flags = ReaddirFlags::empty();
            }
        }
        Ok(Arc::new(Listing {
            entries: entries.into(),
            looked: Mutex::new(looked),
            order: OnceLock::new(),
            changes,
            tree,
            client: Arc::clone(&ops.client),
        }))
    }

    /// What it says of `name`, in state `tree` of the tree.
    pub fn find(&self, name: &[u8], tree: u64) -> Known {
        let name_of = |index: &u32| self.entries.get(*index as usize).map_or(&[][..], |entry| &entry.name);
        let order = self.order.get_or_init(|| {
            let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
            order.sort_unstable_by(|a, b| name_of(a).cmp(name_of(b)));
            order.into()
        });
        let Ok(place) = order.binary_search_by(|index| name_of(index).cmp(name)) else {
            return Known::Missing;
        };
        let Some(index) = order.get(place).map(|index| *index as usize) else { return Known::Unknown };
        if tree != self.tree {
            return Known::Unknown;
        }
        let taken = self.looked.lock().get_mut(index).and_then(Option::take);
        taken.map_or(Known::Unknown, Known::There)
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        let looked = std::mem::take(&mut *self.looked.lock());
        looked
            .iter()
            .flatten()
            .filter_map(|looked| looked.handle)
            .for_each(|handle| self.client.release(handle));
    }
}

impl GoferFs {
    /// The listing of a directory: the one that is kept, where that still holds.
    pub(super) fn list(&self, dir: &Arc<Inode>) -> Result<Arc<Listing>> {
        let ops = dir.downcast::<GoferInode>().ok_or(Errno::EIO)?;
        let state = ops.dir_state().ok_or(Errno::ENOTDIR)?;
        if self.sharing == Sharing::Shared {
            return Listing::read(self, dir, ops);
        }
        if let Some(known) = state.listing(dir) {
            return Ok(known);
        }
        let new = Listing::read(self, dir, ops)?;
        if new.entries.len() < KEPT_ENTRIES / 2 {
            let old = state.replace(Some(Arc::clone(&new)));
            drop(old);
            self.keep_listing(dir, new.entries.len());
        }
        Ok(new)
    }
}
