//! The files that the Sentry holds handles of.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use gofer_protocol::{Errno, FileType, Handle};

use crate::tree::TreeOptions;

/// A file that the Gofer holds: an `O_PATH` descriptor, which pins the inode. Its type can't change, whatever happens to
/// its names.
#[derive(Debug)]
pub(crate) struct Node {
    pub fd: OwnedFd,
    pub kind: FileType,
    pub options: TreeOptions,
    /// Of a directory that is being listed.
    listing: Mutex<Option<Listing>>,
}

/// An open directory, in the middle of being listed.
#[derive(Debug)]
pub(crate) struct Listing {
    pub fd: OwnedFd,
    /// The cookie at which the next getdents64(2) goes on, if that is known.
    pub position: Option<u64>,
}

impl Node {
    pub fn new(fd: OwnedFd, kind: FileType, options: TreeOptions) -> Node {
        Node { fd, kind, options, listing: Mutex::new(None) }
    }

    pub fn listing(&self) -> MutexGuard<'_, Option<Listing>> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All handles. A handle's number is its slot (from 1) and, in the upper half, how often that slot was used before;
/// a slot whose count has come to its end is not used again.
#[derive(Debug)]
pub(crate) struct Table {
    slots: RwLock<Slots>,
    max: usize,
}

#[derive(Debug, Default)]
struct Slots {
    all: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    use_count: u32,
    node: Option<Arc<Node>>,
}

impl Table {
    /// A table of up to `max` handles.
    pub fn new(max: usize) -> Table {
        Table { slots: RwLock::default(), max: max.min(1 << 24) }
    }

    pub fn max(&self) -> usize {
        self.max
    }

    /// A new handle; EMFILE when the table is full.
    pub fn insert(&self, node: Arc<Node>) -> Result<Handle, Errno> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let index = match slots.free.pop() {
            Some(index) => index,
            None if slots.all.len() < self.max => {
                slots.all.push(Slot::default());
                (slots.all.len() - 1) as u32
            }
            None => return Err(Errno::MFILE),
        };
        let slot = slots.all.get_mut(index as usize).ok_or(Errno::MFILE)?;
        slot.node = Some(node);
        Handle::new(u64::from(slot.use_count) << 32 | (u64::from(index) + 1)).ok_or(Errno::MFILE)
    }

    /// The file of a handle; EBADF for a number that is none.
    pub fn get(&self, handle: Handle) -> Result<Arc<Node>, Errno> {
        let (index, use_count) = place(handle);
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        match slots.all.get(index) {
            Some(Slot { use_count: current, node: Some(node) }) if *current == use_count => {
                Ok(Arc::clone(node))
            }
            _ => Err(Errno::BADF),
        }
    }

    /// Gives handles back; numbers that are none are passed over. The files are closed after the table's lock is
    /// given up.
    pub fn remove(&self, handles: impl Iterator<Item = Handle>) {
        let mut closed = Vec::new();
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        for handle in handles {
            let (index, use_count) = place(handle);
            let Some(slot) = slots.all.get_mut(index) else { continue };
            if slot.use_count != use_count {
                continue;
            }
            let Some(node) = slot.node.take() else { continue };
            closed.push(node);
            if let Some(next) = slot.use_count.checked_add(1) {
                slot.use_count = next;
                slots.free.push(index as u32);
            }
        }
    }
}

fn place(handle: Handle) -> (usize, u32) {
    let number = handle.number();
    // Slot 0 of a number is no slot: it becomes one that is never there.
    ((number as u32).wrapping_sub(1) as usize, (number >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Arc<Node> {
        let fd = std::fs::File::open("/").unwrap().into();
        Arc::new(Node::new(fd, FileType::Directory, TreeOptions::default()))
    }

    #[test]
    fn numbers_are_not_used_again() {
        let table = Table::new(2);
        let (a, b) = (table.insert(node()).unwrap(), table.insert(node()).unwrap());
        assert_eq!(table.insert(node()), Err(Errno::MFILE));
        table.remove([a, a].into_iter());
        assert_eq!(table.get(a).err(), Some(Errno::BADF));
        let c = table.insert(node()).unwrap();
        assert_ne!(a, c);
        assert!(table.get(b).is_ok() && table.get(c).is_ok());
        table.remove([a].into_iter());
        assert!(table.get(c).is_ok());
        assert_eq!(table.insert(node()), Err(Errno::MFILE));
    }

    #[test]
    fn any_number_is_answered() {
        let table = Table::new(4);
        let handle = table.insert(node()).unwrap();
        for number in [1u64 << 32, 2, u64::MAX, 1 << 63, 0xffff_ffff, handle.number() | 1 << 40] {
            let wrong = Handle::new(number).unwrap();
            assert_eq!(table.get(wrong).err(), Some(Errno::BADF), "{number:#x}");
            table.remove([wrong].into_iter());
        }
        assert!(table.get(handle).is_ok());
    }

    #[test]
    fn a_worn_out_slot_is_retired() {
        let table = Table::new(1);
        let first = table.insert(node()).unwrap();
        table.slots.write().unwrap().all[0].use_count = u32::MAX;
        let last = Handle::new(u64::from(u32::MAX) << 32 | 1).unwrap();
        assert_eq!(table.get(first).err(), Some(Errno::BADF));
        table.remove([last].into_iter());
        assert_eq!(table.insert(node()), Err(Errno::MFILE));
    }
}
