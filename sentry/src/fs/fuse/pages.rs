//! What is kept of files: copies of pages in the memory file, read when they are first wanted, by read(2) or by a mapping.
//!
//! They are dropped when the server says that the contents have changed, or shows it by another size or (with AUTO_INVAL_DATA)
//! time of change; and when too many are kept. What write(2) writes is put into them too, so that mappings and readers see it.
//!
//! A shared mapping may write to its pages, and nobody tells. So of each page that such a mapping has, a digest is kept of
//! what the server has: what differs is written back at fsync(2), msync(2), close(2), when the mapping goes, and before a copy
//! is dropped. Only the last does not wait for the server, which may be who asks for it.
//!
//! Lock level: `InodeData`; `Leaf` for the list of files.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::fuse::{FUSE_WRITE, FUSE_WRITE_CACHE, FuseWriteIn, FuseWriteOut};
use platform::{Frames, MemoryFile, PAGE_SIZE, Prot};
use sync::Mutex;
use zerocopy::IntoBytes;

use super::Shared;
use super::connection::Ask;
use super::file::Handle;
use super::node::{exactly, node};
use crate::Result;
use crate::mm::{FileMappings, Mappable, Place, Run, next_futex_id};
use crate::task::current_task;
use crate::vfs::{Inode, IoSink};

/// So often a page may change while it is being read.
const ATTEMPTS: usize = 16;

/// Pages that a file system keeps at most, apart from those that shared mappings may write to (32 MiB).
const KEPT: i64 = 8192;

/// All that a file system keeps.
#[derive(Default)]
pub(super) struct Cache {
    pages: AtomicI64,
    /// Files with copies, the oldest first.
    files: Mutex<VecDeque<Weak<Pages>>, sync::levels::Leaf>,
}

impl Cache {
    /// Drops copies of the files that have had some for longest.
    fn make_room(&self) {
        while self.pages.load(Ordering::Relaxed) > KEPT {
            let oldest = self.files.lock().pop_front();
            let Some(oldest) = oldest else { return };
            if let Some(pages) = oldest.upgrade() {
                pages.evict();
            }
        }
    }
}

/// Whether who has something written back waits until the server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

#[derive(Clone, Copy)]
struct Copy {
    frames: Frames,
    /// Digest of what the server has, once a mapping may write to it.
    clean: Option<u64>,
}

#[derive(Default)]
struct Copies {
    pages: BTreeMap<u64, Copy>,
    /// Changes: what was read before one of them is not kept.
    version: u64,
    /// Who writes back.
    writer: Weak<Handle>,
}

/// The pages of one file.
pub(super) struct Pages {
    own: Weak<Pages>,
    fs: Arc<Shared>,
    identity: (u64, u64),
    futex_id: u64,
    mappings: FileMappings,
    copies: Mutex<Copies, sync::levels::InodeData>,
    /// Mappings that may write.
    writers: AtomicUsize,
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

impl Pages {
    pub fn new(fs: &Arc<Shared>, identity: (u64, u64)) -> Arc<Pages> {
        Arc::new_cyclic(|own| Pages {
            own: Weak::clone(own),
            fs: Arc::clone(fs),
            identity,
            futex_id: next_futex_id(),
            mappings: FileMappings::new(),
            copies: Mutex::default(),
            writers: AtomicUsize::new(0),
        })
    }

    fn memory(&self) -> &MemoryFile {
        &self.fs.memory
    }

    fn content(&self, frames: Frames) -> Vec<u8> {
        let mut bytes = vec![0; frames.len as usize];
        // Fails only when the host has no memory: then it reads as zeros.
        let _ = self.memory().read(frames.offset, &mut bytes);
        bytes
    }

    /// The contents of `[offset, offset + len)` have changed: the next who wants them asks. What mappings have written of
    /// the first `size` bytes of the file is not lost.
    pub fn invalidate(&self, offset: u64, len: u64, size: u64) {
        let first = offset / PAGE_SIZE;
        let end = offset.saturating_add(len).div_ceil(PAGE_SIZE);
        let unmap = || self.mappings.invalidate(offset, len.min(i64::MAX as u64 - PAGE_SIZE));
        if self.writers.load(Ordering::Acquire) > 0 {
            // Nobody may write to a copy that is no longer looked at.
            unmap();
        }
        let (gone, writer) = self.take_out(first, end);
        unmap();
        for (page, copy) in gone {
            if let (Some(clean), Some(writer)) = (copy.clean, &writer) {
                let bytes = self.content(copy.frames);
                let len = size.saturating_sub(page * PAGE_SIZE).min(PAGE_SIZE) as usize;
                if digest(&bytes) != clean && len > 0 {
                    let _ = self.send(writer, page * PAGE_SIZE, &bytes[..len], Wait::No);
                }
            }
            self.memory().decref(copy.frames);
        }
    }

    /// The file was `old` bytes long and is `size` now.
    pub fn resized(&self, old: u64, size: u64) {
        let first = old.min(size) / PAGE_SIZE * PAGE_SIZE;
        self.invalidate(first, i64::MAX as u64 - PAGE_SIZE - first, old.min(size));
        if size < old {
            self.mappings.truncate(size);
        }
    }

    fn take_out(&self, first: u64, end: u64) -> (BTreeMap<u64, Copy>, Option<Arc<Handle>>) {
        let mut copies = self.copies.lock();
        copies.version += 1;
        let mut gone = copies.pages.split_off(&first);
        let mut behind = gone.split_off(&end);
        copies.pages.append(&mut behind);
        let writer = copies.writer.upgrade();
        drop(copies);
        self.fs.cache.pages.fetch_sub(gone.len() as i64, Ordering::Relaxed);
        (gone, writer)
    }

    /// Drops all copies but those that mappings may write to.
    fn evict(&self) {
        let mut gone = Vec::new();
        self.copies.lock().pages.retain(|_, copy| {
            if copy.clean.is_none() {
                gone.push(copy.frames);
            }
            copy.clean.is_some()
        });
        self.fs.cache.pages.fetch_sub(gone.len() as i64, Ordering::Relaxed);
        self.mappings.invalidate(0, i64::MAX as u64 - PAGE_SIZE);
        gone.into_iter().for_each(|frames| self.memory().decref(frames));
    }

    /// `bytes` were written at `start`, and the server has them.
    pub fn wrote(&self, start: u64, bytes: &[u8]) {
        let (first, end) = (start / PAGE_SIZE, (start + bytes.len() as u64).div_ceil(PAGE_SIZE));
        let mut copies = self.copies.lock();
        copies.version += 1;
        for (page, copy) in copies.pages.range_mut(first..end) {
            let begin = page * PAGE_SIZE;
            let (from, to) = (start.max(begin), (start + bytes.len() as u64).min(begin + PAGE_SIZE));
            let (inside, new) =
                ((from - begin) as usize, &bytes[(from - start) as usize..(to - start) as usize]);
            if let Some(clean) = copy.clean {
                // What a mapping has written beside it stays to be written back.
                let mut content = self.content(copy.frames);
                if digest(&content) == clean {
                    content[inside..inside + new.len()].copy_from_slice(new);
                    copy.clean = Some(digest(&content));
                }
            }
            let _ = self.memory().write(copy.frames.offset + inside as u64, new);
        }
    }

    /// The copy of a page, if there is one, with a reference for the caller.
    fn held(&self, page: u64) -> Option<Frames> {
        let copies = self.copies.lock();
        let frames = copies.pages.get(&page)?.frames;
        // Under the lock: nobody can have taken it out yet.
        self.memory().incref(frames);
        Some(frames)
    }

    /// Asks for the pages of `[offset, end)`, which begins at one, and keeps what comes. Answers the bytes: fewer than asked
    /// for at the end of what the server has.
    ///
    /// Unlike Linux's, the last page is asked for up to the end of the file only: libfuse answers a short read with a header
    /// that it changes after vmsplice(2), which is a copy here.
    fn fill(&self, handle: &Handle, offset: u64, end: u64, interruptible: bool) -> Result<Vec<u8>> {
        let page = offset / PAGE_SIZE;
        let seen = self.copies.lock().version;
        let bytes = handle.read(offset, end.saturating_sub(offset) as usize, interruptible)?;
        let came = (bytes.len() as u64).div_ceil(PAGE_SIZE).max(1);
        let frames = self.memory().allocate(came * PAGE_SIZE).map_err(|_| Errno::ENOMEM)?;
        if self.memory().write(frames.offset, &bytes).is_err() {
            self.memory().decref(frames);
            return Err(Errno::ENOMEM);
        }
        let mut unwanted = Vec::new();
        let mut kept = 0;
        let was_empty = {
            let mut copies = self.copies.lock();
            let was_empty = copies.pages.is_empty();
            for number in 0..came {
                let one = Frames { offset: frames.offset + number * PAGE_SIZE, len: PAGE_SIZE };
                if copies.version != seen || copies.pages.contains_key(&(page + number)) {
                    unwanted.push(one);
                } else {
                    copies.pages.insert(page + number, Copy { frames: one, clean: None });
                    kept += 1;
                }
            }
            was_empty
        };
        unwanted.into_iter().for_each(|frames| self.memory().decref(frames));
        self.fs.cache.pages.fetch_add(kept, Ordering::Relaxed);
        if was_empty && kept > 0 {
            self.fs.cache.files.lock().push_back(Weak::clone(&self.own));
        }
        self.fs.cache.make_room();
        Ok(bytes)
    }

    /// Reads for read(2): of the first `size` bytes.
    pub fn read(&self, handle: &Handle, dst: &mut dyn IoSink, offset: u64, size: u64) -> Result<usize> {
        let end = size.min(offset.saturating_add(dst.remaining() as u64));
        let most = (u64::from(self.fs.options.max_read) / PAGE_SIZE).max(1);
        let mut at = offset;
        while at < end {
            let (page, within) = (at / PAGE_SIZE, at % PAGE_SIZE);
            let step = match self.held(page) {
                Some(frames) => {
                    let len = (PAGE_SIZE - within).min(end - at);
                    let put = dst.put_memory(self.memory(), frames.offset + within, len as usize);
                    self.memory().decref(frames);
                    put.map(|n| (n as u64, (n as u64) < len))
                }
                None => {
                    let last = end.div_ceil(PAGE_SIZE).min(page + most);
                    let next = self.copies.lock().pages.range(page..last).next().map_or(last, |(at, _)| *at);
                    let upto = (next * PAGE_SIZE).min(size);
                    self.fill(handle, page * PAGE_SIZE, upto, true).and_then(|bytes| {
                        let have = bytes.get(within as usize..).unwrap_or_default();
                        let len = (have.len() as u64).min(end - at);
                        let put = if len == 0 { 0 } else { dst.put(&have[..len as usize])? as u64 };
                        Ok((put, put < len || (bytes.len() as u64) < upto.saturating_sub(page * PAGE_SIZE)))
                    })
                }
            };
            match step {
                Ok((n, is_last)) => {
                    at += n;
                    if is_last {
                        break;
                    }
                }
                Err(errno) if at == offset => return Err(errno),
                Err(_) => break,
            }
        }
        Ok((at - offset) as usize)
    }

    /// The copy of the page at `offset` of a file of `size` bytes, with a reference for the caller; `writes`: a mapping may
    /// write to it.
    fn mapped(&self, handle: &Arc<Handle>, offset: u64, size: u64, writes: bool) -> Result<u64> {
        let page = offset / PAGE_SIZE;
        for _ in 0..ATTEMPTS {
            {
                let mut copies = self.copies.lock();
                if writes {
                    copies.writer = Arc::downgrade(handle);
                }
                if let Some(copy) = copies.pages.get_mut(&page) {
                    if writes && copy.clean.is_none() {
                        copy.clean = Some(digest(&self.content(copy.frames)));
                    }
                    self.memory().incref(copy.frames);
                    return Ok(copy.frames.offset);
                }
            }
            self.fill(handle, offset, size.min(offset + PAGE_SIZE), false)?;
        }
        Err(Errno::EIO)
    }

    /// Writes back what mappings have changed of the first `size` bytes.
    pub fn write_back(&self, size: u64) -> Result<()> {
        self.write_back_and(size, Wait::Yes)
    }

    fn write_back_and(&self, size: u64, wait: Wait) -> Result<()> {
        if self.writers.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let (held, writer) = {
            let copies = self.copies.lock();
            let Some(writer) = copies.writer.upgrade() else { return Ok(()) };
            let held: Vec<(u64, Copy)> = copies
                .pages
                .iter()
                .filter(|(_, copy)| copy.clean.is_some())
                .map(|(at, copy)| (*at, *copy))
                .collect();
            held.iter().for_each(|(_, copy)| self.memory().incref(copy.frames));
            (held, writer)
        };
        let mut result = Ok(());
        for (page, copy) in held {
            let bytes = self.content(copy.frames);
            let (now, len) = (digest(&bytes), size.saturating_sub(page * PAGE_SIZE).min(PAGE_SIZE) as usize);
            if Some(now) != copy.clean && len > 0 && result.is_ok() {
                result = self.send(&writer, page * PAGE_SIZE, &bytes[..len], wait);
                let mut copies = self.copies.lock();
                if let Some(there) = copies.pages.get_mut(&page)
                    && there.frames == copy.frames
                    && result.is_ok()
                {
                    there.clean = Some(now);
                }
            }
            self.memory().decref(copy.frames);
        }
        result
    }

    fn send(&self, writer: &Handle, offset: u64, bytes: &[u8], wait: Wait) -> Result<()> {
        let write = FuseWriteIn {
            fh: writer.fh(),
            offset,
            size: bytes.len() as u32,
            write_flags: FUSE_WRITE_CACHE,
            flags: writer.flags(),
            ..FuseWriteIn::default()
        };
        let parts: [&[u8]; 2] = [write.as_bytes(), bytes];
        let ask = Ask {
            opcode: FUSE_WRITE,
            node: writer.nodeid(),
            parts: &parts,
            reply: exactly(size_of::<FuseWriteOut>()),
        };
        match wait {
            Wait::Yes => self.fs.connection.call_through(&ask).map(drop),
            Wait::No => {
                self.fs.connection.tell(&ask);
                Ok(())
            }
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let gone = std::mem::take(&mut self.copies.get_mut().pages);
        self.fs.cache.pages.fetch_sub(gone.len() as i64, Ordering::Relaxed);
        for copy in gone.into_values() {
            self.memory().decref(copy.frames);
        }
    }
}

/// A file as it is mapped.
pub(super) struct Mapped {
    inode: Arc<Inode>,
    pages: Arc<Pages>,
    handle: Arc<Handle>,
    direct: bool,
    /// It may write to the file.
    writes: AtomicBool,
}

impl Mapped {
    pub fn new(inode: &Arc<Inode>, pages: Arc<Pages>, handle: &Arc<Handle>, direct: bool) -> Mapped {
        Mapped {
            inode: Arc::clone(inode),
            pages,
            handle: Arc::clone(handle),
            direct,
            writes: AtomicBool::new(false),
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if !*self.writes.get_mut() {
            return;
        }
        // Who is killed does not wait.
        let wait = if current_task().is_none_or(|task| task.is_dying()) { Wait::No } else { Wait::Yes };
        if let Ok(node) = node(&self.inode) {
            let _ = self.pages.write_back_and(node.size(), wait);
            node.expire();
        }
        if self.pages.writers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pages.copies.lock().pages.values_mut().for_each(|copy| copy.clean = None);
        }
    }
}

impl Mappable for Mapped {
    fn translate(&self, offset: u64, _len: u64, _write: bool) -> Result<Run> {
        let size = node(&self.inode)?.size();
        if offset >= size {
            return Err(Errno::EFAULT);
        }
        let writes = self.writes.load(Ordering::Acquire);
        let place = self.pages.mapped(&self.handle, offset, size, writes).map_err(|errno| match errno {
            Errno::ENOMEM => errno,
            _ => Errno::EFAULT,
        })?;
        Ok(Run { place: Place::Memory(place), len: PAGE_SIZE })
    }

    fn mappings(&self) -> Option<&FileMappings> {
        Some(&self.pages.mappings)
    }

    fn sync(&self, _offset: u64, _len: u64) -> Result<()> {
        let node = node(&self.inode)?;
        self.pages.write_back(node.size())?;
        node.expire();
        self.handle.sync(true)
    }

    fn may_map(&self, shared: bool, _prot: Prot) -> Result<Prot> {
        if shared && self.direct {
            return Err(Errno::ENODEV);
        }
        if shared && self.handle.is_writable() && !self.writes.swap(true, Ordering::AcqRel) {
            self.pages.writers.fetch_add(1, Ordering::AcqRel);
        }
        Ok(Prot::all())
    }

    fn device_and_inode(&self) -> (u64, u64) {
        self.pages.identity
    }

    fn futex_id(&self) -> u64 {
        self.pages.futex_id
    }
}
