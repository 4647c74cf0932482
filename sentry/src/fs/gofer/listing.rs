//! What a directory holds, as one listing told it.
//!
//! In an exclusive tree a listing brings attributes along, and handles of directories: whoever lists a directory mostly
//! looks at what is in it next, and a request for each name costs far more. The listing is kept for a while. A lookup then
//! takes what it needs out of it, once (later attributes are the inode's), and knows what is not there without asking.
//!
//! Who only asks for attributes ([`Listing::peek`]) takes nothing: they stay where they are, in a third of the memory that an inode with
//! its dentry takes. Such a record holds as long as nothing in the tree changes: an inode that goes away tells of changes that it did not tell of
//! before (`GoferInode::evict`), and while somebody has the inode its own attributes count.
//!
//! Who goes over a tree gets the listings of directories below along with that of a directory ([`Pace`]): they lie in it until their
//! directory is looked up.
//!
//! A listing is of one state of its directory ([`Inode::changes`]); its attributes are of one state of the tree
//! ([`GoferFs::changed`](super::GoferFs)).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use abi::stat::S_IFDIR;
use gofer_protocol::client::{Ahead, Listed};
use gofer_protocol::{self as wire, Client, FileId, Handle, Looked, ReaddirFlags};
use sync::Mutex;

use super::attr::Seen;
use super::entries::{Entries, Names};
use super::inode::GoferInode;
use super::pace::Pace;
use super::sequence::{self, Order};
use super::{GoferFs, Sharing, errno, forget_listing};
use crate::Result;
use crate::vfs::{Inode, Peeked};

/// Entries of one directory that attributes are asked for.
const LOOKED_AT: usize = 16 * 1024;

/// Entries in all kept listings of a tree together. One takes some 180 bytes with its name and what is known of it.
pub(super) const KEPT_ENTRIES: usize = 256 * 1024;

/// Who asks for the attributes of an entry so often is better off with a dentry.
const PEEKS_MAX: u8 = u8::MAX;

/// The most bytes of memory that all listings may take at a time, those of open directories included: a directory of a
/// million names takes less than a tenth.
const MOST_BYTES: usize = 1 << 30;

/// The most directories of one listing that are put in order.
const SORTED_MAX: usize = 4096;

/// How many other files may lie between two directories of which one is said to be behind the other.
const BETWEEN_MAX: usize = 256;

static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Room for a listing within [`MOST_BYTES`].
#[derive(Default)]
struct Room(usize);

impl Room {
    /// Takes room for `bytes` in all, no fewer than before; ENOMEM when there is none.
    fn grow(&mut self, bytes: usize) -> Result<()> {
        let more = bytes - self.0;
        self.0 = bytes;
        let before = BYTES.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > MOST_BYTES { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Hands a part of it on.
    fn part(&mut self, bytes: usize) -> Room {
        self.0 -= bytes;
        Room(bytes)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        BYTES.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Entries of a directory in the order that the host gives them.
pub(super) struct Listing {
    pub entries: Entries,
    /// What came with the first entries, until it is taken.
    looked: Mutex<Looks, sync::levels::Leaf>,
    /// Entries in memory, those included that came along with it.
    size: usize,
    changes: u64,
    tree: u64,
    /// See [`dirs_by_name`](Self::dirs_by_name).
    by_name: OnceLock<Box<[u32]>>,
    /// How often something was taken.
    used: AtomicU32,
    /// It came along with another listing: whom to tell when that was in vain.
    ahead: Option<Arc<Pace>>,
    client: Arc<Client>,
    _room: Room,
}

/// What is known of an entry.
pub(super) struct Found {
    /// Of a directory: its handle.
    pub handle: Option<Handle>,
    pub id: FileId,
    pub seen: Seen,
    pub more: More,
}

/// What only comes with some entries.
pub(super) enum More {
    Nothing,
    /// Of a directory: its listing, if that came along.
    Below(Arc<Listing>),
    /// Of a directory: somebody asks for its listing.
    Asked,
    /// Of a symbolic link: what it points to.
    Target(Box<Arc<[u8]>>),
}

/// By entry what is known of it.
#[derive(Default)]
struct Looks(Vec<Part>);

/// What is known of [`TOGETHER`] entries in turn, as long as any is left.
struct Part {
    all: Box<[Option<Found>]>,
    left: usize,
}

/// Entries that give their room back together: who asks for all of a directory has asked for the first ones before it was listed.
const TOGETHER: usize = 32;

impl Looks {
    fn get_mut(&mut self, index: usize) -> Option<&mut Found> {
        self.0.get_mut(index / TOGETHER)?.all.get_mut(index % TOGETHER)?.as_mut()
    }

    /// Takes what is known of an entry; with the last of its part, the room that they took.
    fn take(&mut self, index: usize) -> (Option<Found>, Box<[Option<Found>]>) {
        let Some(part) = self.0.get_mut(index / TOGETHER) else { return Default::default() };
        let taken = part.all.get_mut(index % TOGETHER).and_then(Option::take);
        part.left -= usize::from(taken.is_some());
        let room = if part.left == 0 { std::mem::take(&mut part.all) } else { Box::default() };
        (taken, room)
    }

    /// What is known of the entries from `from` on, each with its index.
    fn iter_mut_from(&mut self, from: usize) -> impl Iterator<Item = (usize, &mut Found)> {
        let parts = self.0.iter_mut().enumerate().skip(from / TOGETHER);
        let all = parts.flat_map(|(at, part)| (at * TOGETHER..).zip(part.all.iter_mut()));
        all.filter_map(move |(index, found)| Some((index, found.as_mut().filter(|_| index >= from)?)))
    }
}

impl From<Vec<Option<Found>>> for Looks {
    fn from(all: Vec<Option<Found>>) -> Looks {
        let mut all = all.into_iter().peekable();
        let mut parts = Vec::with_capacity(all.len().div_ceil(TOGETHER));
        while all.peek().is_some() {
            let part: Box<[_]> = all.by_ref().take(TOGETHER).collect();
            let left = part.iter().flatten().count();
            parts.push(Part { all: if left == 0 { Box::default() } else { part }, left });
        }
        Looks(parts)
    }
}

/// What a listing says of a name.
pub(super) enum Known {
    /// There; so it was when the directory was listed.
    There(Found, usize),
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
    /// The listing of the directory above in which it was found, and as which entry.
    above: Mutex<Option<(Weak<Listing>, usize)>, sync::levels::Leaf>,
}

/// In place of a count: it has been listed.
const ENOUGH: u64 = 0xff;

impl DirState {
    /// It was found in a listing.
    pub fn found_in(&self, above: &Arc<Listing>, index: usize) {
        *self.above.lock() = Some((Arc::downgrade(above), index));
    }

    /// The listing in which it was found, if that is still known, and as which entry.
    fn above(&self) -> Option<(Arc<Listing>, usize)> {
        let (listing, index) = self.above.lock().clone()?;
        Some((listing.upgrade()?, index))
    }

    /// The kept listing, if it still holds.
    pub fn listing(&self, dir: &Inode) -> Option<Arc<Listing>> {
        let listing = self.listing.lock().clone()?;
        (listing.changes == dir.changes()).then_some(listing)
    }

    /// Keeps a listing, or nothing any more; the old one is dropped by the caller, without locks.
    pub fn replace(&self, new: Option<Arc<Listing>>) -> Option<Arc<Listing>> {
        std::mem::replace(&mut *self.listing.lock(), new)
    }

    /// One more name is asked for, of a directory of this length; whether listing the directory is cheaper from now on.
    pub fn ask_singly(&self, dir: &Inode, bytes: u64, pace: &Pace) -> bool {
        let changes = dir.changes();
        let state = changes << 8;
        let before = self.asked.load(Ordering::Relaxed);
        let count = if before & !0xff == state { before & 0xff } else { 0 };
        if count == ENOUGH {
            return false;
        }
        let enough = count + 1 >= if changes == 0 { pace.singly(bytes) } else { Pace::singly_of_changed() };
        self.asked.store(state | if enough { ENOUGH } else { count + 1 }, Ordering::Relaxed);
        enough
    }
}

/// Where a directory is that is listed along with another.
#[derive(Clone, Copy)]
enum At {
    /// In one of those read before, as which entry.
    Read(usize, usize),
    /// In the listing that has the other one.
    Beside(usize),
}

/// A listing while it is read.
struct Reading {
    names: Names,
    looked: Vec<Option<Found>>,
    /// Of one that comes along with another: where its directory is.
    place: Option<At>,
    /// Listings, and entries in them, that came along with it.
    below: usize,
    /// What the entries take of memory.
    bytes: usize,
}

impl Reading {
    fn new(place: Option<At>) -> Reading {
        Reading { names: Names::default(), looked: Vec::new(), place, below: 0, bytes: 0 }
    }

    fn push(&mut self, fs: &GoferFs, entry: &wire::Entry<'_>, wanted: bool) {
        let kind = entry.kind.map_or(0, |kind| kind as u8);
        let ino = entry.found.map_or(entry.ino, |found| fs.number(found.attr.id));
        self.bytes += entry_bytes(entry, wanted);
        self.names.push(entry.name.as_bytes(), ino, kind);
        if wanted {
            let more = match entry.target {
                Some(target) => More::Target(Box::new(target.as_bytes().into())),
                None => More::Nothing,
            };
            let found = |Looked { handle, attr }| Found { handle, id: attr.id, seen: Seen::new(&attr), more };
            self.looked.push(entry.found.map(found));
        }
    }
}

/// What requests for a directory bring: itself, others below it and beside it.
struct Batch<'f> {
    fs: &'f GoferFs,
    /// The first is the directory itself.
    parts: Vec<Reading>,
    /// To which of them what comes next belongs.
    goes_to: usize,
    /// Directories that may come along.
    handles: HashMap<Handle, At>,
    /// Some may.
    is_ahead: bool,
    /// Where the directory itself goes on.
    cookie: u64,
}

impl<'f> Batch<'f> {
    fn new(fs: &'f GoferFs, is_ahead: bool) -> Batch<'f> {
        let parts = vec![Reading::new(None)];
        Batch { fs, parts, goes_to: 0, handles: HashMap::new(), is_ahead, cookie: 0 }
    }

    /// Whether it makes sense. `wanted`: attributes were asked for.
    fn take(&mut self, listed: Listed<'_>, wanted: bool) -> bool {
        let at = self.goes_to;
        match listed {
            Listed::Entry(entry) => {
                if at == 0 {
                    self.cookie = entry.cookie;
                }
                let part = &mut self.parts[at];
                if self.is_ahead
                    && let Some(handle) = entry.found.and_then(|found| found.handle)
                {
                    self.handles.insert(handle, At::Read(at, part.names.len()));
                }
                part.push(self.fs, entry, wanted);
            }
            Listed::Below(dir) => {
                // Each comes once, and before what is in it.
                let Some(place) = self.handles.remove(&dir) else { return false };
                self.goes_to = self.parts.len();
                self.parts.push(Reading::new(Some(place)));
            }
            // Nobody asks for it again along with another.
            Listed::Not(dir) => drop(self.handles.remove(&dir)),
        }
        true
    }

    /// What it takes of memory.
    fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// What an entry takes of memory: itself, its name, its places in the table, and what came with it.
fn entry_bytes(entry: &wire::Entry<'_>, wanted: bool) -> usize {
    let found = if wanted { size_of::<Option<Found>>() } else { 0 };
    let target = entry.target.map_or(0, |target| target.as_bytes().len());
    super::entries::EACH + entry.name.as_bytes().len() + found + target
}

impl Listing {
    /// Asks the Gofer, also for up to `ahead` directories more: those below, and those behind this one in the listing where it is.
    fn read(
        fs: &GoferFs,
        dir: &Inode,
        ops: &GoferInode,
        ahead: u16,
        beside: Option<(Arc<Listing>, usize, Order)>,
    ) -> Result<Arc<Listing>> {
        let (changes, tree) = (dir.changes(), fs.changed());
        let handle = ops.handle()?;
        let mut flags = match fs.sharing {
            Sharing::Exclusive if fs.pace.reads_links() => {
                ReaddirFlags::ATTR | ReaddirFlags::DIR_HANDLES | ReaddirFlags::TARGETS
            }
            Sharing::Exclusive => ReaddirFlags::ATTR | ReaddirFlags::DIR_HANDLES,
            Sharing::Shared => ReaddirFlags::empty(),
        };
        let mut batch = Batch::new(fs, ahead > 0);
        let mut next = Vec::new();
        if let (1.., Some((above, index, order))) = (ahead, &beside) {
            above.ask_behind(*index, *order, ahead.into(), |index, handle| {
                batch.handles.insert(handle, At::Beside(index));
                next.push(handle);
            });
        }
        let mut room = Room::default();
        loop {
            batch.goes_to = 0;
            let (cookie, wanted) = (batch.cookie, !flags.is_empty());
            let ahead = if wanted { Ahead { most: ahead, next: &next } } else { Ahead::default() };
            let end =
                fs.client.readdir_beside(handle, cookie, flags, ahead, |listed| batch.take(listed, wanted));
            let end = end.map_err(errno)?;
            room.grow(batch.bytes())?;
            if end {
                break;
            }
            next.retain(|handle| batch.handles.contains_key(handle));
            if batch.parts[0].names.len() >= LOOKED_AT {
                flags = ReaddirFlags::empty();
            }
        }
        let Batch { mut parts, handles, .. } = batch;
        // What found no room is for the next to ask for.
        if let Some((above, ..)) = &beside {
            let mut looked = above.looked.lock();
            for at in handles.into_values() {
                if let At::Beside(index) = at
                    && let Some(found) = looked.get_mut(index)
                    && matches!(found.more, More::Asked)
                {
                    found.more = More::Nothing;
                }
            }
        }
        let mut made = |part: Reading, changes| {
            Arc::new(Listing {
                _room: room.part(part.bytes),
                size: part.names.len() + part.below,
                entries: part.names.into(),
                looked: Mutex::new(part.looked.into()),
                changes,
                tree,
                by_name: OnceLock::new(),
                used: AtomicU32::new(0),
                ahead: part.place.map(|_| Arc::clone(&fs.pace)),
                client: Arc::clone(&fs.client),
            })
        };
        fs.pace.came_ahead(parts.len() as u32 - 1);
        let mut more_beside = 0;
        // What is in another comes behind it.
        while parts.len() > 1
            && let Some(part) = parts.pop()
        {
            let Some(place) = part.place else { continue };
            // Of a directory that has not changed since the sandbox knows of it.
            let listing = made(part, 0);
            match (place, &beside) {
                (At::Read(of, index), _) => {
                    let above = &mut parts[of];
                    above.below += 1 + listing.size;
                    if let Some(Some(found)) = above.looked.get_mut(index) {
                        found.more = More::Below(listing);
                    }
                }
                (At::Beside(index), Some((above, ..))) if above.tree == tree => {
                    // Another thread may have got it as well.
                    if let Some(found) = above.looked.lock().get_mut(index)
                        && !matches!(found.more, More::Below(_))
                    {
                        more_beside += 1 + listing.size;
                        found.more = More::Below(listing);
                    }
                }
                _ => {}
            }
        }
        parts[0].below += more_beside;
        Ok(made(parts.swap_remove(0), changes))
    }

    /// Tells of up to `most` directories behind entry `index`, in that order, which have not been looked up and whose listings nobody
    /// has asked for; in the order of names only as far as there are no others between: those are another thread's part.
    fn ask_behind(&self, index: usize, order: Order, most: usize, mut tell: impl FnMut(usize, Handle)) {
        let mut ask = |index: usize, found: &mut Found| {
            if !matches!(found.more, More::Nothing) {
                return None;
            }
            let handle = found.handle?;
            found.more = More::Asked;
            tell(index, handle);
            Some(())
        };
        let mut looked = self.looked.lock();
        match order {
            Order::Listed => {
                let all = looked.iter_mut_from(index + 1);
                all.filter_map(|(index, found)| ask(index, found)).take(most).for_each(drop);
            }
            Order::Name => {
                let dirs = self.dirs_by_name();
                let behind = self.place_by_name(index).map_or(&[][..], |at| &dirs[at + 1..]);
                let behind = behind.iter().take(most).map(|index| *index as usize);
                let _ = behind.map_while(|index| ask(index, looked.get_mut(index)?)).count();
            }
        }
    }

    fn is_dir(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|(_, _, kind)| kind == wire::FileType::Directory as u8)
    }

    /// The directory behind entry `index`, in that order; `None` where it is too far away, or there are too many.
    pub fn next_dir(&self, index: usize, order: Order) -> Option<usize> {
        match order {
            Order::Listed => (index + 1..self.entries.len()).take(BETWEEN_MAX).find(|at| self.is_dir(*at)),
            Order::Name => {
                let behind = self.dirs_by_name().get(self.place_by_name(index)? + 1)?;
                Some(*behind as usize)
            }
        }
    }

    /// The directories in the order of their names; none where there are too many.
    fn dirs_by_name(&self) -> &[u32] {
        self.by_name.get_or_init(|| {
            let dirs = (0..self.entries.len()).filter(|index| self.is_dir(*index)).take(SORTED_MAX + 1);
            let mut dirs: Vec<u32> = dirs.map(|index| index as u32).collect();
            if dirs.len() > SORTED_MAX {
                dirs = Vec::new();
            }
            dirs.sort_unstable_by_key(|index| self.name(*index));
            dirs.into()
        })
    }

    fn name(&self, index: u32) -> &[u8] {
        self.entries.get(index as usize).map_or(&[], |(name, ..)| name)
    }

    fn place_by_name(&self, index: usize) -> Option<usize> {
        let name = self.name(u32::try_from(index).ok()?);
        self.dirs_by_name().binary_search_by_key(&name, |index| self.name(*index)).ok()
    }

    /// Something of it is used.
    fn note_use(&self) {
        if self.used.fetch_add(1, Ordering::Relaxed) == 0
            && let Some(pace) = &self.ahead
        {
            pace.is_used();
        }
    }

    /// What it says of `name`, in state `tree` of the tree.
    pub fn find(&self, name: &[u8], tree: u64) -> Known {
        let Some(index) = self.entries.find(name) else { return Known::Missing };
        if tree != self.tree {
            return Known::Unknown;
        }
        self.note_use();
        let (taken, room) = self.looked.lock().take(index);
        drop(room);
        taken.map_or(Known::Unknown, |found| Known::There(found, index))
    }
}

impl Listing {
    /// What it says of `name`, in state `tree` of the tree, to who only wants attributes, and of which file; those of a file
    /// with several names may have changed by another one.
    pub fn peek(&self, name: &[u8], tree: u64) -> (Peeked, Option<FileId>) {
        let Some(index) = self.entries.find(name) else { return (Peeked::Missing, None) };
        if tree != self.tree {
            return (Peeked::Unknown, None);
        }
        let mut looked = self.looked.lock();
        let wanted = |found: &&mut Found| {
            found.seen.kind() != S_IFDIR && found.seen.kept.nlink == 1 && found.seen.peeks < PEEKS_MAX
        };
        let Some(found) = looked.get_mut(index).filter(wanted) else { return (Peeked::Unknown, None) };
        if found.seen.peeks == 0 {
            self.note_use();
        }
        found.seen.peeks += 1;
        let ino = self.entries.get(index).map_or(0, |(_, ino, _)| ino);
        (Peeked::There(found.seen.attr(ino)), Some(found.id))
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        let mut looked = std::mem::take(&mut *self.looked.lock());
        looked
            .iter_mut_from(0)
            .filter_map(|(_, found)| found.handle)
            .for_each(|handle| self.client.release(handle));
        if let Some(pace) = &self.ahead
            && self.used.load(Ordering::Relaxed) == 0
        {
            pace.was_in_vain();
        }
    }
}

impl GoferFs {
    /// The listing of a directory: the one that is kept, where that still holds.
    pub(super) fn list(&self, dir: &Arc<Inode>) -> Result<Arc<Listing>> {
        let ops = dir.downcast::<GoferInode>().ok_or(Errno::EIO)?;
        let state = ops.dir_state().ok_or(Errno::ENOTDIR)?;
        if self.sharing == Sharing::Shared {
            return Listing::read(self, dir, ops, 0, None);
        }
        if let Some(known) = state.listing(dir) {
            known.note_use();
            return Ok(known);
        }
        let above = state.above();
        if above.is_some() {
            self.pace.faster();
        }
        let (order, ahead) =
            above.as_ref().map_or_else(Default::default, |(above, index)| sequence::goes_on(above, *index));
        let beside = above.map(|(above, index)| (above, index, order));
        let new = Listing::read(self, dir, ops, ahead.max(self.pace.ahead()), beside)?;
        if new.entries.len() < KEPT_ENTRIES / 2 {
            self.keep_listing(dir, state, &new);
        }
        Ok(new)
    }

    /// The same for who has looked up several names in `dir`.
    pub(super) fn list_for_lookups(&self, dir: &Arc<Inode>) -> Result<()> {
        let last = self.looked_up.lock().upgrade();
        if let Some(last) = last {
            match Pace::is_worth(last.used.load(Ordering::Relaxed), last.entries.len()) {
                true => self.pace.faster(),
                false => self.pace.slower(),
            }
        }
        let new = self.list(dir)?;
        *self.looked_up.lock() = Arc::downgrade(&new);
        Ok(())
    }

    /// The inode of a directory comes with its listing, which is `below` that of another.
    pub(super) fn listed_ahead(&self, dir: &Arc<Inode>, below: Arc<Listing>) {
        // Whatever has changed since it was read, it may have been this.
        if below.tree != self.changed() || below.entries.len() >= KEPT_ENTRIES / 2 {
            return;
        }
        let state = dir.downcast::<GoferInode>().and_then(GoferInode::dir_state);
        if let Some(state) = state.filter(|state| state.listing(dir).is_none()) {
            self.keep_listing(dir, state, &below);
        }
    }

    /// Keeps a listing of `dir`; the oldest ones go.
    fn keep_listing(&self, dir: &Arc<Inode>, state: &DirState, new: &Arc<Listing>) {
        let size = new.size;
        let old = state.replace(Some(Arc::clone(new)));
        drop(old);
        let mut gone = Vec::new();
        {
            let mut listings = self.listings.lock();
            listings.dirs.push_back((Arc::downgrade(dir), size));
            listings.entries += size + 1;
            while listings.entries > KEPT_ENTRIES {
                let Some((oldest, size)) = listings.dirs.pop_front() else { break };
                listings.entries -= size + 1;
                gone.push(oldest);
            }
        }
        gone.iter().for_each(forget_listing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ino: u64) -> Found {
        let kept = super::super::attr::Kept {
            size: 0,
            blocks: 0,
            seconds: [0; 4],
            nanoseconds: [0; 4],
            nlink: 1,
            block_size: 4096,
        };
        let seen = Seen { mode: 0, uid: 0, gid: 0, peeks: 0, rdev: 0, kept };
        Found { handle: None, id: FileId { dev: 0, ino }, seen, more: More::Nothing }
    }

    #[test]
    fn a_record_is_small() {
        assert_eq!(size_of::<Option<Found>>(), 136);
    }

    #[test]
    fn what_was_taken_gives_its_room_back() {
        // Nothing is known of one in three.
        let known = |ino: u64| !ino.is_multiple_of(3);
        let count = 3 * TOGETHER as u64 + 5;
        let mut looks = Looks::from((0..count).map(|ino| known(ino).then(|| found(ino))).collect::<Vec<_>>());
        let from = TOGETHER as u64 + 7;
        let mut left = looks.iter_mut_from(from as usize).map(|(index, found)| (index as u64, found.id.ino));
        assert!((from..count).filter(|ino| known(*ino)).map(|ino| (ino, ino)).eq(left.by_ref()));
        drop(left);
        let mut given_back = 0;
        for ino in 0..count + TOGETHER as u64 {
            assert_eq!(looks.get_mut(ino as usize).is_some(), ino < count && known(ino));
            let (taken, room) = looks.take(ino as usize);
            assert_eq!(taken.map(|found| found.id.ino), Some(ino).filter(|ino| *ino < count && known(*ino)));
            given_back += room.len() as u64;
            assert!(looks.take(ino as usize).0.is_none());
        }
        assert_eq!(given_back, count);
    }
}
