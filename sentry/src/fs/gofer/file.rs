//! Regular files of a Gofer's tree: reads and writes go to the donated descriptor.
//!
//! A file that nobody writes, and of which small parts are read again and again, is read through the window that the Sentry has on it: a host
//! call costs more than the copy of a few pages.

use std::any::Any;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::open::OpenFlags;
use platform::HostFile;

use super::inode::GoferInode;
use crate::Result;
use crate::mm::{FileMappings, Mappable, PAGE, Place, Run};
use crate::vfs::io::host_errno;
use crate::vfs::{Blocking, File, FileOps, Inode, InodeOps, IoSink, IoSource, SeekFrom, SetAttr};

/// Set-user-ID and set-group-ID.
const SET_ID: u32 = 0o6000;

/// An open regular file.
pub(super) struct GoferFile {
    inode: Arc<Inode>,
    host: Arc<HostFile>,
    /// In a tree that others write to as well: a description that the host appends to, made when it is needed. Whoever
    /// asks for the length first and writes there would overwrite what came in between.
    appender: OnceLock<HostFile>,
    /// Short reads so far, up to [`OFTEN`].
    short_reads: AtomicU32,
    /// Its length, where nobody changes that and it was read often.
    length: OnceLock<u64>,
    /// What `O_DIRECT` asks of offsets and lengths; 1 where it asks for nothing.
    direct_block: OnceLock<u64>,
}

/// What `O_DIRECT` asks of addresses at the least: no driver takes less of its own accord. Some ask for more, which they do not tell exactly.
const DIRECT_WORD: u64 = 4;

/// Reads of at most this many bytes are short.
const SHORT: usize = 16 << 10;
/// No file system has a bound below.
const FAR: u64 = 1 << 40;
/// Short reads after which a file is read through its window.
const OFTEN: u32 = 16;

impl GoferFile {
    pub fn new(inode: &Arc<Inode>, host: Arc<HostFile>) -> GoferFile {
        GoferFile {
            inode: Arc::clone(inode),
            host,
            appender: OnceLock::new(),
            short_reads: AtomicU32::new(0),
            length: OnceLock::new(),
            direct_block: OnceLock::new(),
        }
    }

    /// See the field; `None` where nobody else writes.
    fn appender(&self) -> Result<Option<&HostFile>> {
        let Some(ops) = self.inode.downcast::<GoferInode>().filter(|ops| ops.is_shared()) else {
            return Ok(None);
        };
        if let Some(there) = self.appender.get() {
            return Ok(Some(there));
        }
        let made = ops.open_to_append(&self.inode)?;
        Ok(Some(self.appender.get_or_init(|| made)))
    }

    /// The permission bits of a file that has set-user-ID or set-group-ID among them. The VFS has taken them away where the
    /// writer may not keep them.
    fn set_id_bits(&self) -> Result<Option<u32>> {
        let mode = self.inode.owner().0;
        match self.inode.downcast::<GoferInode>() {
            Some(_) if mode & SET_ID == 0 => Ok(None),
            // Rare enough to ask: others may have taken them away.
            Some(ops) => Ok(Some(ops.attr(&self.inode)?.mode & 0o7777).filter(|perm| perm & SET_ID != 0)),
            None => Ok(None),
        }
    }

    /// The host takes these bits away when the Sentry writes, which has no privilege there: gives them back.
    fn keep_set_id_bits(&self, bits: Option<u32>) -> Result<()> {
        let (Some(bits), Some(ops)) = (bits, self.inode.downcast::<GoferInode>()) else { return Ok(()) };
        ops.set_attr(&self.inode, &SetAttr { permissions: Some(bits), ..SetAttr::default() })
    }

    fn written(&self) {
        if let Some(ops) = self.inode.downcast::<GoferInode>() {
            ops.written(&self.inode);
        }
    }

    /// Whether `len` bytes of a file opened with `O_DIRECT` do not lie there as the host's file system asks; `lie(word, block)` says
    /// whether their memory does.
    fn is_askew(&self, file: &File, offset: u64, len: usize, lie: impl FnOnce(u64, u64) -> bool) -> bool {
        if len == 0 || !file.flags().contains(OpenFlags::DIRECT) {
            return false;
        }
        let ask = || host::file::direct_block(self.host.fd()).ok().flatten().map_or(1, u64::from);
        let block = *self.direct_block.get_or_init(ask);
        block > 1 && !(offset.is_multiple_of(block) && lie(DIRECT_WORD, block))
    }

    /// Whether nobody writes it.
    fn is_fixed(&self) -> bool {
        self.inode.sb.is_read_only() && !self.inode.downcast::<GoferInode>().is_none_or(GoferInode::is_shared)
    }

    /// Whether a read of `len` bytes goes through the window.
    fn reads_window(&self, len: usize) -> bool {
        if len > SHORT {
            return false;
        }
        let before = self.short_reads.load(Ordering::Relaxed);
        if before < OFTEN {
            // Two at a time may count as one.
            self.short_reads.store(before + 1, Ordering::Relaxed);
            return false;
        }
        self.is_fixed()
    }

    /// Reads through the window; `None` when nothing could be, and the host has to say why.
    fn read_window(&self, dst: &mut dyn IoSink, offset: u64) -> Option<Result<usize>> {
        let length = match self.length.get() {
            Some(&length) => length,
            None => *self.length.get_or_init(|| self.size().unwrap_or(0)),
        };
        let mut buffer = [0; PAGE as usize];
        let mut done = 0;
        while dst.remaining() > 0 {
            let at = offset + done as u64;
            let part = dst.remaining().min(buffer.len()).min(length.saturating_sub(at) as usize);
            if part == 0 {
                break;
            }
            let part = &mut buffer[..part];
            if self.host.read(at, part).is_err() {
                break;
            }
            match dst.put(part) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(errno) if done == 0 => return Some(Err(errno)),
                Err(_) => break,
            }
        }
        // At the end, or where others have cut the file off all the same.
        (done > 0).then_some(Ok(done))
    }

    fn size(&self) -> Result<u64> {
        Ok(host::file::stat(self.host.fd()).map_err(host_errno)?.size)
    }
}

impl FileOps for GoferFile {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, file: &File, dst: &mut dyn IoSink, offset: u64) -> Result<usize> {
        let len = dst.remaining();
        if self.is_askew(file, offset, len, |word, block| dst.lies_on(word, block)) {
            // At the end nothing is read, wherever it would be put.
            return if offset >= self.size()? { Ok(0) } else { Err(Errno::EINVAL) };
        }
        if self.reads_window(len)
            && let Some(read) = self.read_window(dst, offset)
        {
            return read;
        }
        dst.put_from_host(self.host.fd().as_fd(), Some(offset), len)
    }

    fn write(&self, file: &File, src: &mut dyn IoSource, offset: &mut u64) -> Result<usize> {
        let len = src.remaining();
        let appends = file.appends(*offset);
        let at = if appends && file.flags().contains(OpenFlags::DIRECT) { self.size()? } else { *offset };
        if self.is_askew(file, at, len, |word, block| src.lies_on(word, block)) {
            return Err(Errno::EINVAL);
        }
        let appender = if appends { self.appender()? } else { None };
        let set_id = self.set_id_bits()?;
        let n = match appender {
            Some(appender) => {
                let n = src.take_to_host(appender.fd().as_fd(), None, len)?;
                let end = host::file::seek(appender.fd(), 0, 1).map_err(host_errno)?;
                *offset = end.saturating_sub(n as u64);
                n
            }
            None => {
                // One appender at a time: between asking for the end and writing there nobody may move it.
                let _lock = appends.then(|| self.inode.lock());
                if appends {
                    *offset = self.size()?;
                }
                src.take_to_host(self.host.fd().as_fd(), Some(*offset), len)?
            }
        };
        self.written();
        self.keep_set_id_bits(set_id)?;
        if file.flags().intersects(OpenFlags::SYNC | OpenFlags::DSYNC) {
            host::file::sync(self.host.fd(), true).map_err(host_errno)?;
        }
        Ok(n)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        let (base, offset) = match to {
            SeekFrom::Start(offset) => (0, offset),
            SeekFrom::Current(offset) => (current, offset),
            SeekFrom::End(offset) => (self.size()?, offset),
            // The descriptor's own position is not used: moving it does no harm.
            SeekFrom::Data(offset) => return host::file::seek(self.host.fd(), offset, 3).map_err(host_errno),
            SeekFrom::Hole(offset) => return host::file::seek(self.host.fd(), offset, 4).map_err(host_errno),
        };
        let at = (base as i64).checked_add(offset).ok_or(Errno::EOVERFLOW)?;
        match u64::try_from(at) {
            // How far a file can reach its file system knows.
            Ok(FAR..) => host::file::seek(self.host.fd(), at, 0).map_err(host_errno),
            near => near.map_err(|_| Errno::EINVAL),
        }
    }

    fn direct(&self) -> bool {
        true
    }

    fn dont_cache(&self) -> bool {
        true
    }

    fn mappable(&self, _file: &File) -> Result<Arc<dyn Mappable>> {
        if self.is_fixed() {
            self.host.set_fixed();
        }
        Ok(Arc::new(Pages { inode: Arc::clone(&self.inode), host: Arc::clone(&self.host) }))
    }

    fn sync(&self, _file: &File, data_only: bool) -> Result<()> {
        host::file::sync(self.host.fd(), data_only).map_err(host_errno)
    }

    fn truncate(&self, _file: &File, size: u64) -> Result<()> {
        let set_id = self.set_id_bits()?;
        self.written();
        host::file::truncate(self.host.fd(), size).map_err(host_errno)?;
        self.keep_set_id_bits(set_id)?;
        if let Some(ops) = self.inode.downcast::<GoferInode>() {
            ops.truncated(size);
        }
        Ok(())
    }

    fn allocate(&self, _file: &File, mode: u32, offset: u64, len: u64) -> Result<()> {
        let set_id = self.set_id_bits()?;
        self.written();
        host::file::allocate(self.host.fd(), mode, offset, len).map_err(host_errno)?;
        self.keep_set_id_bits(set_id)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The pages of a file, in the host's page cache: one copy for all who map it.
struct Pages {
    inode: Arc<Inode>,
    host: Arc<HostFile>,
}

impl Mappable for Pages {
    fn translate(&self, offset: u64, len: u64, write: bool) -> Result<Run> {
        if write && let Some(ops) = self.inode.downcast::<GoferInode>() {
            ops.written(&self.inode);
        }
        // Beyond the end the host answers with SIGBUS, page by page, as the file is at that moment.
        Ok(Run { place: Place::Host(Arc::clone(&self.host), offset), len })
    }

    fn may_change(&self) -> bool {
        !self.inode.sb.is_read_only()
    }

    fn is_eager(&self) -> bool {
        true
    }

    /// The host takes away the file's own pages when it is truncated; the private copies of them are ours.
    fn mappings(&self) -> Option<&FileMappings> {
        let ops = self.inode.downcast::<GoferInode>().filter(|_| self.may_change())?;
        Some(&ops.contents().ok()?.mappings)
    }

    fn sync(&self, _offset: u64, _len: u64) -> Result<()> {
        host::file::sync(self.host.fd(), true).map_err(host_errno)
    }

    fn device_and_inode(&self) -> (u64, u64) {
        (self.inode.sb.dev, self.inode.ino)
    }

    fn futex_id(&self) -> u64 {
        self.inode
            .downcast::<GoferInode>()
            .and_then(|ops| ops.contents().ok())
            .map_or(0, |contents| contents.futex_id)
    }
}
