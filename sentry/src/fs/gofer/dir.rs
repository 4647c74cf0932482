//! Listings of a Gofer's directories.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use sync::Mutex;

use super::inode::GoferInode;
use super::listing::Listing;
use super::{GoferFs, errno};
use crate::Result;
use crate::vfs::{Blocking, File, FileOps, Inode, SeekFrom};

/// Positions of `.` and `..`; entries follow.
const DOTS: u64 = 2;
const DT_DIR: u8 = 4;

/// An open directory. Its entries are read as a whole when a listing begins, so that a position means the same entry
/// for as long as the listing goes on.
pub(super) struct Directory {
    inode: Arc<Inode>,
    listing: Mutex<Option<Arc<Listing>>, sync::levels::FileState>,
}

impl Directory {
    pub fn new(inode: &Arc<Inode>) -> Directory {
        Directory { inode: Arc::clone(inode), listing: Mutex::default() }
    }

    fn listing(&self, again: bool) -> Result<Arc<Listing>> {
        if let (false, Some(listing)) = (again, self.listing.lock().clone()) {
            return Ok(listing);
        }
        let listing = self.inode.sb.downcast::<GoferFs>().ok_or(Errno::EIO)?.list(&self.inode)?;
        let old = self.listing.lock().replace(Arc::clone(&listing));
        drop(old);
        Ok(listing)
    }
}

impl FileOps for Directory {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, _file: &File, _dst: &mut dyn crate::vfs::IoSink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        to.without_end(current)
    }

    fn read_dir(&self, file: &File, offset: u64, emit: &mut crate::vfs::file::EmitEntry<'_>) -> Result<u64> {
        // The kernel tells `.` and `..` itself, and asks from the first entry on.
        let listing = self.listing(offset <= DOTS)?;
        let mut at = offset;
        while at < DOTS {
            let ino = if at == 0 { self.inode.ino } else { parent_ino(file) };
            if !emit(if at == 0 { b"." } else { b".." }, ino, at + 1, DT_DIR) {
                return Ok(at);
            }
            at += 1;
        }
        while let Some((name, ino, kind)) = listing.entries.get((at - DOTS) as usize) {
            if !emit(name, ino, at + 1, kind) {
                break;
            }
            at += 1;
        }
        Ok(at)
    }

    fn sync(&self, _file: &File, _data_only: bool) -> Result<()> {
        let ops = self.inode.downcast::<GoferInode>().ok_or(Errno::EIO)?;
        let fs = self.inode.sb.downcast::<GoferFs>().ok_or(Errno::EIO)?;
        fs.client.sync(ops.handle()?, gofer_protocol::SyncKind::All).map_err(errno)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn parent_ino(file: &File) -> u64 {
    file.path.parent().map_or(file.path.inode().ino, |p| p.inode().ino)
}
