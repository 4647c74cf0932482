//! File handles (open_by_handle_at(2)): a file named by its number in its file system.
//!
//! A handle is asked for with a place at hand. What is remembered of that is a weak reference on the dentry and the
//! names that led there, so that a handle holds no file: where the dentry has gone from the cache, the names are walked
//! again, and what lies there must still have the number. A file that was renamed after that, or that was forgotten
//! because there were too many handles since, is stale.
//!
//! Lock level: `Leaf`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Weak};

use abi::Errno;
use sync::Mutex;

use super::caller::Caller;
use super::dentry::Dentry;
use super::inode::Inode;
use super::mount::Mount;
use super::notify::Entry;
use super::path::Path;
use crate::Result;

/// Bytes of a handle: the number of the file and that of the device.
pub const HANDLE_BYTES: usize = 12;
/// Its type: a 64-bit number and 32 bits more (FILEID_INO64_GEN).
pub const HANDLE_TYPE: i32 = 0x81;
/// Files that are remembered.
const REMEMBERED_MAX: usize = 65_536;

struct Known {
    dentry: Weak<Dentry>,
    names: Vec<super::Name>,
}

type Key = (u64, u64);

#[derive(Default)]
struct Table {
    files: HashMap<Key, Known>,
    order: VecDeque<Key>,
}

static TABLE: LazyLock<Mutex<Table, sync::levels::Leaf>> = LazyLock::new(Mutex::default);

/// File systems that are nowhere on a medium have no handles.
const WITHOUT: [&str; 6] = ["proc", "devpts", "mqueue", "pipefs", "sockfs", "anon_inodefs"];

/// Whether what is at `place` has handles.
pub fn is_supported(place: &Path) -> bool {
    !WITHOUT.contains(&place.mount.sb().kind())
}

/// The handle of what is at `place`.
pub fn of(place: &Path) -> [u8; HANDLE_BYTES] {
    of_dentry(&place.dentry)
}

/// The handle of what `dentry` names.
pub(super) fn of_dentry(dentry: &Arc<Dentry>) -> [u8; HANDLE_BYTES] {
    remember(&dentry.inode, Known { dentry: Arc::downgrade(dentry), names: names_to(dentry) });
    bytes(&dentry.inode)
}

/// The handle of `inode`, which has a name in a directory.
pub(super) fn of_child(entry: Entry<'_>, inode: &Inode) -> [u8; HANDLE_BYTES] {
    let mut names = names_to(entry.dir);
    names.push(super::Name::new(entry.name));
    remember(inode, Known { dentry: Weak::new(), names });
    bytes(inode)
}

/// The handle of `inode`, whether it will be found by that or not.
pub(super) fn bytes(inode: &Inode) -> [u8; HANDLE_BYTES] {
    let mut handle = [0; HANDLE_BYTES];
    handle[..8].copy_from_slice(&inode.ino.to_ne_bytes());
    handle[8..].copy_from_slice(&(inode.sb.dev as u32).to_ne_bytes());
    handle
}

/// The names from the root of the file system to `dentry`.
fn names_to(dentry: &Arc<Dentry>) -> Vec<super::Name> {
    let mut names = Vec::new();
    let mut at = Arc::clone(dentry);
    while let Some(parent) = at.parent() {
        names.push(at.name());
        at = parent;
    }
    names.reverse();
    names
}

fn remember(inode: &Inode, known: Known) {
    let key = (inode.sb.dev, inode.ino);
    let mut table = TABLE.lock();
    if table.files.insert(key, known).is_none() {
        table.order.push_back(key);
        if table.order.len() > REMEMBERED_MAX
            && let Some(oldest) = table.order.pop_front()
        {
            table.files.remove(&oldest);
        }
    }
}

/// What a handle means in the file system of `mount`: ESTALE when there is no such file any more.
pub fn find(mount: &Arc<Mount>, handle: &[u8], caller: &Caller<'_>) -> Result<Path> {
    let dev = mount.sb().dev;
    let (Some(ino), Some(known_dev)) = (
        handle.first_chunk::<8>().map(|bytes| u64::from_ne_bytes(*bytes)),
        handle.get(8..12).and_then(|bytes| bytes.first_chunk::<4>()).map(|bytes| u32::from_ne_bytes(*bytes)),
    ) else {
        return Err(Errno::ESTALE);
    };
    if known_dev != dev as u32 {
        return Err(Errno::ESTALE);
    }
    let (dentry, names) = {
        let table = TABLE.lock();
        let known = table.files.get(&(dev, ino)).ok_or(Errno::ESTALE)?;
        (known.dentry.upgrade(), known.names.clone())
    };
    let is_it = |dentry: &Arc<Dentry>| dentry.inode.ino == ino && dentry.inode.sb.dev == dev;
    if let Some(dentry) = dentry.filter(is_it) {
        if dentry.inode.attr()?.nlink == 0 && dentry.is_unlinked() {
            // Its last name is gone; only who has it open keeps it.
            return Err(Errno::ESTALE);
        }
        return Ok(Path::new(Arc::clone(mount), dentry));
    }
    let mut at = Arc::clone(&mount.root);
    while let Some(parent) = at.parent() {
        at = parent;
    }
    for name in &names {
        at = at.lookup(name.as_bytes(), caller)?.ok_or(Errno::ESTALE)?;
    }
    if is_it(&at) { Ok(Path::new(Arc::clone(mount), at)) } else { Err(Errno::ESTALE) }
}
