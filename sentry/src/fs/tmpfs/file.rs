//! Open files and directories of tmpfs.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::open::FallocateMode;
use platform::PAGE_SIZE;

use super::data::{FileData, MAX_SIZE};
use super::memfd;
use super::node::{TmpfsNode, node};
use crate::Result;
use crate::mm::Mappable;
use crate::vfs::{Blocking, File, FileOps, Inode, IoSink, IoSource, SeekFrom, SetAttr};

/// An open regular file.
pub struct TmpfsFile {
    inode: Arc<Inode>,
    data: Arc<FileData>,
}

impl TmpfsFile {
    /// Opens `inode`, whose contents are `data`.
    pub(super) fn new(inode: Arc<Inode>, data: Arc<FileData>) -> TmpfsFile {
        TmpfsFile { inode, data }
    }

    /// The contents.
    pub fn data(&self) -> &Arc<FileData> {
        &self.data
    }

    fn node(&self) -> Option<&TmpfsNode> {
        node(&self.inode)
    }
}

impl FileOps for TmpfsFile {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, file: &File, dst: &mut dyn IoSink, offset: u64) -> Result<usize> {
        let done = self.data.read(dst, offset)?;
        if let (Some(how), Some(node)) = (file.access_time(), self.node()) {
            node.read(how);
        }
        Ok(done)
    }

    fn write(&self, file: &File, src: &mut dyn IoSource, offset: &mut u64) -> Result<usize> {
        let _lock = self.inode.lock();
        if file.appends(*offset) {
            *offset = self.data.size();
        }
        if src.remaining() == 0 {
            return Ok(0);
        }
        if *offset >= MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        memfd::check_write(&self.data, *offset, src.remaining() as u64)?;
        let done = self.data.write(src, *offset);
        if let Some(node) = self.node() {
            node.written();
        }
        done
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        let offset = match to {
            SeekFrom::Start(offset) => offset,
            SeekFrom::Current(by) => (current as i64).checked_add(by).ok_or(Errno::EOVERFLOW)?,
            SeekFrom::End(by) => (self.data.size() as i64).checked_add(by).ok_or(Errno::EOVERFLOW)?,
            SeekFrom::Data(from) => {
                return self.data.next_data(u64::try_from(from).map_err(|_| Errno::ENXIO)?);
            }
            SeekFrom::Hole(from) => {
                return self.data.next_hole(u64::try_from(from).map_err(|_| Errno::ENXIO)?);
            }
        };
        u64::try_from(offset).map_err(|_| Errno::EINVAL)
    }

    fn direct(&self) -> bool {
        true
    }

    fn mappable(&self, file: &File) -> Result<Arc<dyn Mappable>> {
        if let (Some(how), Some(node)) = (file.access_time(), self.node()) {
            node.read(how);
        }
        Ok(Arc::clone(&self.data) as Arc<dyn Mappable>)
    }

    fn sync(&self, _file: &File, _data_only: bool) -> Result<()> {
        Ok(())
    }

    fn truncate(&self, _file: &File, size: u64) -> Result<()> {
        let mut change = SetAttr { size: Some(size), ..SetAttr::default() };
        change.mtime = Some(change.ctime);
        self.inode.ops().set_attr(&self.inode, &change)
    }

    fn allocate(&self, _file: &File, mode: u32, offset: u64, len: u64) -> Result<()> {
        use FallocateMode as F;
        let mode = F::from_bits(mode).ok_or(Errno::EOPNOTSUPP)?;
        if mode.intersects(F::UNSHARE_RANGE | F::NO_HIDE_STALE | F::WRITE_ZEROES) {
            return Err(Errno::EOPNOTSUPP);
        }
        let end = offset.checked_add(len).filter(|end| *end <= MAX_SIZE).ok_or(Errno::EFBIG)?;
        let _lock = self.inode.lock();
        let size = self.data.size();
        if mode.intersects(F::COLLAPSE_RANGE | F::INSERT_RANGE) {
            if !offset.is_multiple_of(PAGE_SIZE) || !len.is_multiple_of(PAGE_SIZE) {
                return Err(Errno::EINVAL);
            }
            memfd::check_write(&self.data, 0, 0)?;
        }
        if mode.contains(F::COLLAPSE_RANGE) {
            // Up to the end it would be a truncation.
            if end >= size {
                return Err(Errno::EINVAL);
            }
            memfd::check_resize(&self.data, size - len)?;
            self.data.collapse(offset, len)?;
        } else if mode.contains(F::INSERT_RANGE) {
            if offset >= size {
                return Err(Errno::EINVAL);
            }
            let grown = size.checked_add(len).filter(|size| *size <= MAX_SIZE).ok_or(Errno::EFBIG)?;
            memfd::check_resize(&self.data, grown)?;
            self.data.insert(offset, len)?;
        } else if mode.contains(F::PUNCH_HOLE) {
            memfd::check_write(&self.data, 0, 0)?;
            self.data.punch(offset, len);
        } else {
            let grows = end > size && !mode.contains(F::KEEP_SIZE);
            if end > size {
                memfd::check_grow(&self.data)?;
            }
            if mode.contains(F::ZERO_RANGE) {
                memfd::check_write(&self.data, 0, 0)?;
                self.data.punch(offset, len);
            }
            self.data.reserve(offset, len)?;
            if grows {
                self.data.set_size(end);
            }
        }
        if let Some(node) = self.node() {
            node.written();
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open directory.
pub struct TmpfsDirFile {
    inode: Arc<Inode>,
}

impl TmpfsDirFile {
    /// Opens `inode`.
    pub(super) fn new(inode: Arc<Inode>) -> TmpfsDirFile {
        TmpfsDirFile { inode }
    }
}

impl FileOps for TmpfsDirFile {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, _file: &File, _dst: &mut dyn IoSink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        to.without_end(current)
    }

    fn read_dir(&self, file: &File, offset: u64, emit: &mut crate::vfs::file::EmitEntry<'_>) -> Result<u64> {
        let Some(node) = node(&self.inode) else { return Err(Errno::ENOTDIR) };
        if let Some(how) = file.access_time() {
            node.read(how);
        }
        let mut position = offset;
        loop {
            let listed = node.entries()?.lock().list(position, 64);
            if listed.is_empty() {
                return Ok(position);
            }
            for (name, ino, kind, next) in listed {
                if !emit(name.as_bytes(), ino, next, kind) {
                    return Ok(position);
                }
                position = next;
            }
        }
    }

    fn sync(&self, _file: &File, _data_only: bool) -> Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
