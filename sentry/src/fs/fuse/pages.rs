//! Pages of files that are mapped: copies in the memory file, read when they are first touched.
//!
//! They are dropped whenever the contents change through this kernel, or the server says that they have; whoever maps
//! them finds the new ones at the next touch. So a mapping follows write(2). Shared mappings can't be written (ENODEV):
//! there is nobody who would write the pages back.
//!
//! Lock level: `InodeData`.

use std::collections::BTreeMap;
use std::sync::Arc;

use abi::Errno;
use platform::{Frames, MemoryFile, PAGE_SIZE, Prot};
use sync::Mutex;

use super::file::Handle;
use super::node::node;
use crate::Result;
use crate::mm::{FileMappings, Mappable, Place, Run, next_futex_id};
use crate::vfs::Inode;

/// So often a page may change while it is being read.
const ATTEMPTS: usize = 16;

#[derive(Default)]
struct Copies {
    pages: BTreeMap<u64, Frames>,
    /// Changes: what was read before one of them is not kept.
    version: u64,
}

/// The pages of one file.
pub(super) struct Pages {
    memory: Arc<MemoryFile>,
    identity: (u64, u64),
    futex_id: u64,
    mappings: FileMappings,
    copies: Mutex<Copies, sync::levels::InodeData>,
}

impl Pages {
    pub fn new(memory: &Arc<MemoryFile>, identity: (u64, u64)) -> Arc<Pages> {
        Arc::new(Pages {
            memory: Arc::clone(memory),
            identity,
            futex_id: next_futex_id(),
            mappings: FileMappings::new(),
            copies: Mutex::default(),
        })
    }

    /// The contents of `[offset, offset + len)` have changed.
    pub fn invalidate(&self, offset: u64, len: u64) {
        let first = offset / PAGE_SIZE;
        let end = offset.saturating_add(len).div_ceil(PAGE_SIZE);
        self.drop_copies(first, end);
        self.mappings.invalidate(offset, len.min(i64::MAX as u64 - PAGE_SIZE));
    }

    /// The file is now `size` long.
    pub fn resized(&self, old: u64, size: u64) {
        let first = old.min(size) / PAGE_SIZE;
        self.drop_copies(first, u64::MAX);
        if size < old {
            self.mappings.truncate(size);
        }
        // The page that the end is in.
        self.mappings.invalidate(first * PAGE_SIZE, PAGE_SIZE);
    }

    fn drop_copies(&self, first: u64, end: u64) {
        let mut copies = self.copies.lock();
        copies.version += 1;
        let mut gone = copies.pages.split_off(&first);
        let mut behind = gone.split_off(&end);
        copies.pages.append(&mut behind);
        drop(copies);
        gone.into_values().for_each(|frames| self.memory.decref(frames));
    }

    /// The copy of page `page`, with a reference for the caller.
    fn copy(&self, handle: &Handle, page: u64) -> Result<u64> {
        for _ in 0..ATTEMPTS {
            let seen = {
                let copies = self.copies.lock();
                if let Some(frames) = copies.pages.get(&page) {
                    let frames = *frames;
                    self.memory.incref(frames);
                    return Ok(frames.offset);
                }
                copies.version
            };
            let bytes = handle.read(page * PAGE_SIZE, PAGE_SIZE as usize, false)?;
            let frames = self.memory.allocate(PAGE_SIZE).map_err(|_| Errno::ENOMEM)?;
            if self.memory.write(frames.offset, &bytes).is_err() {
                self.memory.decref(frames);
                return Err(Errno::ENOMEM);
            }
            let mut copies = self.copies.lock();
            if copies.version != seen || copies.pages.contains_key(&page) {
                drop(copies);
                self.memory.decref(frames);
                continue;
            }
            copies.pages.insert(page, frames);
            // Under the lock: nobody can have taken it out yet.
            self.memory.incref(frames);
            return Ok(frames.offset);
        }
        Err(Errno::EIO)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        for frames in std::mem::take(&mut self.copies.get_mut().pages).into_values() {
            self.memory.decref(frames);
        }
    }
}

/// A file as it is mapped.
pub(super) struct Mapped {
    inode: Arc<Inode>,
    pages: Arc<Pages>,
    handle: Arc<Handle>,
    direct: bool,
}

impl Mapped {
    pub fn new(inode: &Arc<Inode>, pages: Arc<Pages>, handle: &Arc<Handle>, direct: bool) -> Mapped {
        Mapped { inode: Arc::clone(inode), pages, handle: Arc::clone(handle), direct }
    }
}

impl Mappable for Mapped {
    fn translate(&self, offset: u64, _len: u64, _write: bool) -> Result<Run> {
        if offset >= node(&self.inode)?.size() {
            return Err(Errno::EFAULT);
        }
        let place = self.pages.copy(&self.handle, offset / PAGE_SIZE).map_err(|errno| match errno {
            Errno::ENOMEM => errno,
            _ => Errno::EFAULT,
        })?;
        Ok(Run { place: Place::Memory(place), len: PAGE_SIZE })
    }

    fn mappings(&self) -> Option<&FileMappings> {
        Some(&self.pages.mappings)
    }

    fn sync(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }

    fn may_map(&self, shared: bool, prot: Prot) -> Result<Prot> {
        if !shared {
            return Ok(Prot::all());
        }
        if self.direct || prot.contains(Prot::WRITE) {
            return Err(Errno::ENODEV);
        }
        Ok(Prot::all() - Prot::WRITE)
    }

    fn device_and_inode(&self) -> (u64, u64) {
        self.pages.identity
    }

    fn futex_id(&self) -> u64 {
        self.pages.futex_id
    }
}
