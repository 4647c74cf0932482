//! Trees of the host, as the Gofer serves them.
//!
//! A tree is *exclusive* when nobody else changes it while the sandbox runs: then attributes, names and negative answers
//! are kept for ever. In a *shared* tree every lookup and stat asks the Gofer.
//!
//! Listings of an exclusive tree bring what is known of the files in it ([`listing`]).
//!
//! Files are read and written through descriptors that the Gofer donates; it sees none of that. Descriptors for reading
//! are kept for a while after the last close, so that opening a file again costs no request.

mod attr;
mod dir;
mod entries;
mod fifo;
mod file;
mod inode;
mod listing;
mod pace;
mod sequence;
mod socket;

use std::cell::Cell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use gofer_protocol::client::Walked;
use gofer_protocol::{Client, FileId, Handle, Leaf, Name, Node, TreeFlags};
use platform::HostFile;
use sync::Mutex;

use crate::Result;
use crate::fs::host::Reactor;
use crate::vfs::{Dentry, Inode, NameHash, StatFs, SuperBlock, SuperBlockOps};
use attr::Seen;
use inode::GoferInode;
use listing::{Found, Listing, More};
use pace::Pace;
pub use socket::permit_binding;

/// Descriptors that are kept open though no guest has the file open.
const KEPT_OPEN: usize = 1024;

/// After so many inodes the heap is widened: with what the VFS makes for a name, they take about as much room as that gives.
const WIDEN_EVERY: u32 = 128;

thread_local! {
    /// Inodes that this thread has made of what was listed.
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// How often a request is made again when there was no room for it. Other threads fill room up too.
const ROOM_TRIES: u32 = 3;

/// Whether others change the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody else does.
    Exclusive,
    /// Somebody may.
    Shared,
}

/// One tree, as a file system.
pub struct GoferFs {
    client: Arc<Client>,
    sharing: Sharing,
    root: Handle,
    /// Host device numbers in the tree, each with its place, which tells its inode numbers apart from the others'.
    devices: Mutex<HashMap<u64, u16>, sync::levels::Leaf>,
    /// The one inode of each file that is known.
    inodes: Mutex<HashMap<FileId, Weak<Inode>, NameHash>, sync::levels::Leaf>,
    /// Files kept open for reading, oldest first.
    kept: Mutex<VecDeque<Weak<Inode>>, sync::levels::Leaf>,
    /// Directories that keep their listing, oldest first, with the number of entries.
    listings: Mutex<Listings, sync::levels::Leaf>,
    /// How eagerly directories are listed.
    pace: Arc<Pace>,
    /// The last listing that was made for lookups.
    looked_up: Mutex<Weak<Listing>, sync::levels::Leaf>,
    /// FIFOs are the host's; otherwise they only lead from guest to guest.
    host_fifos: bool,
    /// Sockets lead to the host.
    host_sockets: bool,
    /// New sockets are the host's.
    bound_sockets: bool,
    /// Watches FIFOs and sockets of the host, once one is open.
    reactor: Mutex<Option<Arc<Reactor>>, sync::levels::Leaf>,
    /// Counts changes that the sandbox makes: attributes in older listings don't hold.
    changes: AtomicU64,
}

#[derive(Default)]
struct Listings {
    dirs: VecDeque<(Weak<Inode>, usize)>,
    entries: usize,
}

/// Mounts tree number `tree` of a Gofer: its root.
pub fn mount(client: &Arc<Client>, tree: u16, sharing: Sharing) -> Result<Arc<Dentry>> {
    client.give_up_when(caller_is_dying);
    let node = client.attach(tree).map_err(errno)?;
    let flags = client.trees().get(usize::from(tree)).copied().ok_or(Errno::EINVAL)?;
    let ops = GoferFs {
        client: Arc::clone(client),
        sharing,
        root: node.handle,
        devices: Mutex::default(),
        inodes: Mutex::default(),
        kept: Mutex::default(),
        listings: Mutex::default(),
        pace: Arc::default(),
        looked_up: Mutex::default(),
        host_fifos: flags.contains(TreeFlags::HOST_FIFOS),
        host_sockets: flags.contains(TreeFlags::HOST_SOCKETS),
        bound_sockets: flags.contains(TreeFlags::BOUND_SOCKETS) && socket::may_bind(),
        reactor: Mutex::default(),
        changes: AtomicU64::new(0),
    };
    let sb = SuperBlock::new(Box::new(ops));
    sb.set_read_only(flags.contains(TreeFlags::READ_ONLY));
    let fs = sb.downcast::<GoferFs>().ok_or(Errno::EIO)?;
    let root = fs.inode(&sb, &node);
    Ok(Dentry::new_root(root))
}

impl GoferFs {
    /// Who watches FIFOs and sockets of the host; EAGAIN when there is no thread to be had for it.
    fn reactor(&self) -> Result<Arc<Reactor>> {
        if let Some(reactor) = &*self.reactor.lock() {
            return Ok(Arc::clone(reactor));
        }
        let started = Reactor::start().map_err(|_| Errno::EAGAIN)?;
        Ok(Arc::clone(self.reactor.lock().get_or_insert(started)))
    }

    /// The inode of a file. A handle that is not needed because the file is known already is given back.
    fn inode(&self, sb: &Arc<SuperBlock>, node: &Node) -> Arc<Inode> {
        self.held_inode(sb, node.handle, node.attr.id, Seen::new(&node.attr))
    }

    fn held_inode(&self, sb: &Arc<SuperBlock>, handle: Handle, id: FileId, seen: Seen) -> Arc<Inode> {
        // A number that the host has given to another file since is another file.
        if let Some(known) = self.known(id, seen.kind()) {
            self.client.release(handle);
            if self.sharing == Sharing::Shared
                && let Some(ops) = known.downcast::<GoferInode>()
            {
                ops.store(&known, seen);
            }
            return known;
        }
        let attr = seen.attr(self.number(id));
        let ops = GoferInode::new(handle, id, seen.kept, self.sharing);
        self.register(id, Inode::new(sb, &attr, Box::new(ops)))
    }

    /// The inode of file `id`, if it is known and its type has these bits.
    fn known(&self, id: FileId, kind: u32) -> Option<Arc<Inode>> {
        let known = self.inodes.lock().get(&id).and_then(Weak::upgrade);
        known.filter(|known| known.kind.mode() == kind)
    }

    /// Whether somebody has the inode of file `id`.
    fn is_known(&self, id: FileId) -> bool {
        self.inodes.lock().get(&id).is_some_and(|inode| inode.strong_count() > 0)
    }

    /// The inode of a file that a listing of `dir` has brought, as which entry; `None` where a handle would be needed.
    fn listed_inode(
        &self,
        dir: &Arc<Inode>,
        name: &[u8],
        found: Found,
        (listing, index): (&Arc<Listing>, usize),
    ) -> Option<Arc<Inode>> {
        let Found { handle, id, seen, more, .. } = found;
        if let Some(handle) = handle {
            let inode = self.held_inode(&dir.sb, handle, id, seen);
            if let Some(state) = inode.downcast::<GoferInode>().and_then(GoferInode::dir_state) {
                state.found_in(listing, index);
                sequence::comes_to(listing, index);
            }
            if let More::Below(below) = more {
                self.listed_ahead(&inode, below);
            }
            return Some(inode);
        }
        if seen.kind() == abi::stat::S_IFDIR {
            return None;
        }
        // With one name it is hardly known already; if it is, that is found at the end, too.
        if seen.kept.nlink > 1
            && let Some(known) = self.known(id, seen.kind())
        {
            return Some(known);
        }
        if MADE.replace((MADE.get() + 1) % WIDEN_EVERY) == 0 {
            host::memory::widen_heap();
        }
        let attr = seen.attr(listing.entries.get(index).map_or_else(|| self.number(id), |(_, ino, _)| ino));
        let ops = GoferInode::listed(dir, name, id, seen.kept);
        if let More::Target(target) = more {
            ops.store_target(*target);
        }
        Some(self.register(id, Inode::new(&dir.sb, &attr, Box::new(ops))))
    }

    /// Makes `inode` the one for `id`, unless somebody else was faster: answers theirs then.
    fn register(&self, id: FileId, inode: Arc<Inode>) -> Arc<Inode> {
        let mut inodes = self.inodes.lock();
        // Entries of files that are gone are swept when the table would grow.
        if inodes.len() == inodes.capacity() {
            inodes.retain(|_, inode| inode.strong_count() > 0);
        }
        let (known, old) = match inodes.entry(id) {
            Entry::Vacant(place) => {
                place.insert(Arc::downgrade(&inode));
                (None, None)
            }
            Entry::Occupied(mut place) => match place.get().upgrade() {
                Some(known) if known.kind == inode.kind => {
                    drop(inodes);
                    return known;
                }
                known => (known, Some(place.insert(Arc::downgrade(&inode)))),
            },
        };
        drop(inodes);
        drop((known, old));
        inode
    }

    /// Follows names, after making room for the handles where that is needed.
    fn walk(&self, dir: Handle, names: &[Name<'_>], leaf: Leaf) -> Result<Walked> {
        use gofer_protocol::Errno as Host;
        self.with_room(|| {
            let walked = self.client.walk(dir, names, leaf)?;
            match walked.error {
                Some(full @ (Host::MFILE | Host::NFILE)) => {
                    let held = walked.found.iter().filter_map(|found| found.handle);
                    held.for_each(|handle| self.client.release(handle));
                    Err(full)
                }
                _ => Ok(walked),
            }
        })
    }

    /// How often the sandbox has changed something in the tree, apart from the entries of directories.
    fn changed(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// See [`changed`](Self::changed).
    fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes a request; again when the Gofer has no room for one more handle, after letting go of files that are only
    /// cached.
    fn with_room<T>(
        &self,
        mut request: impl FnMut() -> std::result::Result<T, gofer_protocol::Errno>,
    ) -> Result<T> {
        use gofer_protocol::Errno as Host;
        for _ in 0..ROOM_TRIES {
            match request() {
                Err(Host::MFILE | Host::NFILE) => {
                    // An overlay above holds files of this tree as well.
                    crate::vfs::drop_all_cached();
                    self.forget_listings();
                    self.forget_kept();
                    self.client.make_room().map_err(errno)?;
                }
                done => return done.map_err(errno),
            }
        }
        request().map_err(errno)
    }

    /// Lets go of all listings, which hold handles of directories.
    fn forget_listings(&self) {
        let gone = std::mem::take(&mut *self.listings.lock());
        gone.dirs.iter().for_each(|(dir, _)| forget_listing(dir));
    }

    /// Closes descriptors that are kept though nobody uses them.
    fn forget_kept(&self) {
        let kept = std::mem::take(&mut *self.kept.lock());
        for inode in kept.iter().filter_map(Weak::upgrade) {
            if let Some(ops) = inode.downcast::<GoferInode>() {
                drop(ops.forget_descriptor());
            }
        }
    }

    /// The inode number here: the host's, with the place of its device in the upper bits.
    fn number(&self, id: FileId) -> u64 {
        let mut devices = self.devices.lock();
        let place = match (devices.get(&id.dev), u16::try_from(devices.len())) {
            (Some(&known), _) => known,
            (None, Ok(next)) => *devices.entry(id.dev).or_insert(next),
            // No host has so many: these can't be told apart.
            (None, Err(_)) => u16::MAX,
        };
        id.ino ^ (u64::from(place) << 48)
    }

    /// Keeps the inode's descriptor; the oldest kept one goes.
    fn keep_open(&self, inode: &Arc<Inode>) {
        let oldest = {
            let mut kept = self.kept.lock();
            kept.push_back(Arc::downgrade(inode));
            if kept.len() > KEPT_OPEN { kept.pop_front() } else { None }
        };
        if let Some(oldest) = oldest.and_then(|w| w.upgrade())
            && let Some(ops) = oldest.downcast::<GoferInode>()
        {
            let closed: Option<Arc<HostFile>> = ops.forget_descriptor();
            drop(closed);
        }
    }
}

impl SuperBlockOps for GoferFs {
    fn kind(&self) -> &'static str {
        "9p"
    }

    fn statfs(&self) -> Result<StatFs> {
        let figures = self.client.statfs(self.root).map_err(errno)?;
        Ok(StatFs {
            magic: figures.fs_type as i64,
            fragment_size: None,
            block_size: figures.bsize,
            blocks: figures.blocks,
            blocks_free: figures.bfree,
            blocks_available: figures.bavail,
            files: figures.files,
            files_free: figures.ffree,
            name_max: figures.namelen,
        })
    }

    fn sync(&self) -> Result<()> {
        self.client.sync(self.root, gofer_protocol::SyncKind::FileSystem).map_err(errno)
    }

    fn revalidate(&self) -> bool {
        self.sharing == Sharing::Shared
    }

    fn keeps_unused(&self) -> bool {
        self.sharing == Sharing::Exclusive
    }
}

fn forget_listing(dir: &Weak<Inode>) {
    if let Some(dir) = dir.upgrade() {
        let state = dir.downcast::<GoferInode>().and_then(GoferInode::dir_state);
        drop(state.and_then(|state| state.replace(None)));
    }
}

/// Whether the calling thread runs a guest's that is to end: it need not wait for the Gofer.
fn caller_is_dying() -> bool {
    crate::task::current_task().is_some_and(|task| task.is_dying())
}

/// The guest's error number for one of the Gofer's.
fn errno(error: gofer_protocol::Errno) -> Errno {
    Errno::new(error.raw_os_error().unsigned_abs()).unwrap_or(Errno::EIO)
}
