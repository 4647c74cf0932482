//! Open files.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::fuse::{
    FUSE_FALLOCATE, FUSE_FLUSH, FUSE_FSYNC, FUSE_FSYNC_FDATASYNC, FUSE_FSYNCDIR, FUSE_LSEEK, FUSE_READ,
    FUSE_RELEASE, FUSE_RELEASEDIR, FUSE_WRITE, FuseFallocateIn, FuseFlushIn, FuseFsyncIn, FuseLseekIn,
    FuseOpenFlags, FuseReadIn, FuseReleaseIn, FuseWriteIn, FuseWriteOut,
};
use abi::open::FallocateMode;
use abi::stat::FileType;
use zerocopy::{FromBytes, IntoBytes};

use super::Shared;
use super::connection::Ask;
use super::node::{exactly, node};
use super::pages::Mapped;
use crate::Result;
use crate::mm::Mappable;
use crate::task::current_task;
use crate::vfs::{Blocking, File, FileOps, Inode, IoSink, IoSource, SeekFrom, SetAttr};

/// What the server knows an open file by. It is told when the last user has gone.
pub(super) struct Handle {
    fs: Arc<Shared>,
    nodeid: u64,
    is_dir: bool,
    /// `None`: it does not want to know.
    fh: Option<u64>,
    /// How it wants the file treated.
    pub how: FuseOpenFlags,
    flags: u32,
}

impl Handle {
    pub fn new(
        fs: &Arc<Shared>,
        nodeid: u64,
        kind: FileType,
        fh: Option<u64>,
        how: FuseOpenFlags,
        flags: u32,
    ) -> Handle {
        Handle { fs: Arc::clone(fs), nodeid, is_dir: kind == FileType::Directory, fh, how, flags }
    }

    /// The server's number for the file.
    pub fn nodeid(&self) -> u64 {
        self.nodeid
    }

    /// Flags of open(2).
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether it may write.
    pub fn is_writable(&self) -> bool {
        self.flags & abi::open::O_ACCMODE != abi::open::O_RDONLY
    }

    /// The number in requests.
    pub fn fh(&self) -> u64 {
        self.fh.unwrap_or(0)
    }

    /// Reads into the kernel. `interruptible`: the server is told of signals.
    pub fn read(&self, offset: u64, len: usize, interruptible: bool) -> Result<Vec<u8>> {
        let read = FuseReadIn {
            fh: self.fh(),
            offset,
            size: len as u32,
            flags: self.flags,
            ..FuseReadIn::default()
        };
        let ask = Ask { opcode: FUSE_READ, node: self.nodeid, parts: &[read.as_bytes()], reply: 0..=len };
        match interruptible {
            true => self.fs.connection.call(&ask, None),
            false => self.fs.connection.call_through(&ask),
        }
    }

    /// Something that only tells whether it went well; a server that does not know it says so once.
    pub fn ask_known(&self, opcode: u32, part: &[u8]) -> Result<()> {
        let ask = Ask { opcode, node: self.nodeid, parts: &[part], reply: exactly(0) };
        self.fs.connection.call_if_known(&ask, None).map(drop)
    }

    /// fsync(2); servers that don't know it have nothing to write out.
    pub fn sync(&self, data_only: bool) -> Result<()> {
        let opcode = if self.is_dir { FUSE_FSYNCDIR } else { FUSE_FSYNC };
        let fsync_flags = if data_only { FUSE_FSYNC_FDATASYNC } else { 0 };
        let fsync = FuseFsyncIn { fh: self.fh(), fsync_flags, padding: 0 };
        match self.ask_known(opcode, fsync.as_bytes()) {
            Err(Errno::ENOSYS) => Ok(()),
            done => done,
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let Some(fh) = self.fh else { return };
        let release = FuseReleaseIn { fh, flags: self.flags, ..FuseReleaseIn::default() };
        let opcode = if self.is_dir { FUSE_RELEASEDIR } else { FUSE_RELEASE };
        let ask = Ask { opcode, node: self.nodeid, parts: &[release.as_bytes()], reply: exactly(0) };
        self.fs.connection.tell(&ask);
    }
}

/// An open regular file (or whatever else is no directory).
pub(super) struct FuseFile {
    inode: Arc<Inode>,
    handle: Arc<Handle>,
}

impl FuseFile {
    pub fn new(inode: &Arc<Inode>, handle: Handle) -> FuseFile {
        if !handle.how.contains(FuseOpenFlags::KEEP_CACHE)
            && let Ok(node) = node(inode)
            && let Some(pages) = node.pages_if_any()
        {
            pages.invalidate(0, i64::MAX as u64, node.size());
        }
        FuseFile { inode: Arc::clone(inode), handle: Arc::new(handle) }
    }

    fn is_direct(&self) -> bool {
        self.handle.how.contains(FuseOpenFlags::DIRECT_IO)
    }

    fn position(&self, whence: u32, at: i64) -> Result<u64> {
        let node = node(&self.inode)?;
        let offset = u64::try_from(at).map_err(|_| Errno::ENXIO)?;
        let lseek = FuseLseekIn { fh: self.handle.fh(), offset, whence, padding: 0 };
        let ask =
            Ask { opcode: FUSE_LSEEK, node: node.nodeid, parts: &[lseek.as_bytes()], reply: exactly(8) };
        match self.handle.fs.connection.call_if_known(&ask, None) {
            Ok(reply) => {
                let at = u64::read_from_bytes(&reply).map_err(|_| Errno::EIO)?;
                if at > i64::MAX as u64 { Err(Errno::EINVAL) } else { Ok(at) }
            }
            // Holes are not told of: there is one at the end.
            Err(Errno::ENOSYS) => {
                let size = node.fresh(&self.inode, None)?.size;
                match whence {
                    _ if offset >= size => Err(Errno::ENXIO),
                    SEEK_DATA => Ok(offset),
                    _ => Ok(size),
                }
            }
            Err(errno) => Err(errno),
        }
    }
}

const SEEK_DATA: u32 = 3;
const SEEK_HOLE: u32 = 4;

impl FileOps for FuseFile {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, offset: u64) -> Result<usize> {
        let node = node(&self.inode)?;
        if !self.is_direct() {
            let size = node.fresh(&self.inode, None)?.size;
            let done = node.pages(&self.inode).read(&self.handle, dst, offset, size)?;
            node.expire_access(done);
            return Ok(done);
        }
        // What mappings have written is on the way to the server first.
        if let Some(pages) = node.pages_if_any() {
            pages.write_back(node.size())?;
        }
        let mut left = dst.remaining();
        let most = self.handle.fs.options.max_read as usize;
        let mut done = 0;
        while left > 0 {
            let asked = left.min(most);
            let read = self.handle.read(offset + done as u64, asked, true);
            let put = read.and_then(|bytes| Ok((dst.put(&bytes)?, bytes.len())));
            match put {
                Ok((stored, came)) => {
                    done += stored;
                    left -= stored;
                    if came < asked || stored < came {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        // The server may have set its time of access.
        node.expire_access(done);
        Ok(done)
    }

    fn write(&self, file: &File, src: &mut dyn IoSource, offset: &mut u64) -> Result<usize> {
        let _lock = self.inode.lock();
        let node = node(&self.inode)?;
        if file.appends(*offset) {
            *offset = node.fresh(&self.inode, None)?.size;
        }
        let start = *offset;
        let most = self.handle.fs.connection.agreed_terms()?.max_write;
        let mut done = 0;
        while src.remaining() > 0 {
            let mut bytes = vec![0; src.remaining().min(most)];
            let wrote = src.take(&mut bytes).and_then(|taken| {
                bytes.truncate(taken);
                let write = FuseWriteIn {
                    fh: self.handle.fh(),
                    offset: start + done as u64,
                    size: taken as u32,
                    flags: self.handle.flags,
                    ..FuseWriteIn::default()
                };
                let ask = Ask {
                    opcode: FUSE_WRITE,
                    node: node.nodeid,
                    parts: &[write.as_bytes(), &bytes],
                    reply: exactly(size_of::<FuseWriteOut>()),
                };
                let reply = self.handle.fs.connection.call(&ask, None)?;
                let out = FuseWriteOut::read_from_bytes(&reply).map_err(|_| Errno::EIO)?;
                let wrote = out.size as usize;
                if wrote > taken {
                    return Err(Errno::EIO);
                }
                if let Some(pages) = node.pages_if_any() {
                    pages.wrote(start + done as u64, &bytes[..wrote]);
                }
                Ok((wrote, taken))
            });
            match wrote {
                Ok((wrote, taken)) => {
                    done += wrote;
                    if wrote < taken {
                        if done == 0 {
                            return Err(Errno::EIO);
                        }
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        if done > 0 {
            node.grown(start + done as u64);
        }
        Ok(done)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        if self.handle.how.intersects(FuseOpenFlags::NONSEEKABLE | FuseOpenFlags::STREAM) {
            return Err(Errno::ESPIPE);
        }
        let at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => (current as i64).checked_add(by).ok_or(Errno::EOVERFLOW)?,
            SeekFrom::End(by) => {
                let size = node(&self.inode)?.fresh(&self.inode, None)?.size;
                (size as i64).checked_add(by).ok_or(Errno::EOVERFLOW)?
            }
            SeekFrom::Data(at) => return self.position(SEEK_DATA, at),
            SeekFrom::Hole(at) => return self.position(SEEK_HOLE, at),
        };
        u64::try_from(at).map_err(|_| Errno::EINVAL)
    }

    fn direct(&self) -> bool {
        true
    }

    fn mappable(&self, _file: &File) -> Result<Arc<dyn Mappable>> {
        let pages = Arc::clone(node(&self.inode)?.pages(&self.inode));
        Ok(Arc::new(Mapped::new(&self.inode, pages, &self.handle, self.is_direct())))
    }

    fn sync(&self, _file: &File, data_only: bool) -> Result<()> {
        let node = node(&self.inode)?;
        if let Some(pages) = node.pages_if_any() {
            pages.write_back(node.size())?;
        }
        self.handle.sync(data_only)
    }

    fn truncate(&self, _file: &File, size: u64) -> Result<()> {
        self.inode.ops().set_attr(&self.inode, &SetAttr { size: Some(size), ..SetAttr::default() })
    }

    fn allocate(&self, _file: &File, mode: u32, offset: u64, len: u64) -> Result<()> {
        let known = FallocateMode::KEEP_SIZE | FallocateMode::PUNCH_HOLE | FallocateMode::ZERO_RANGE;
        if !known.contains(FallocateMode::from_bits(mode).ok_or(Errno::EOPNOTSUPP)?) {
            return Err(Errno::EOPNOTSUPP);
        }
        let _lock = self.inode.lock();
        let node = node(&self.inode)?;
        if let Some(pages) = node.pages_if_any() {
            pages.write_back(node.size())?;
        }
        let fallocate = FuseFallocateIn { fh: self.handle.fh(), offset, length: len, mode, padding: 0 };
        match self.handle.ask_known(FUSE_FALLOCATE, fallocate.as_bytes()) {
            Err(Errno::ENOSYS) => return Err(Errno::EOPNOTSUPP),
            done => done?,
        }
        let grown = if mode & FallocateMode::KEEP_SIZE.bits() == 0 { offset.saturating_add(len) } else { 0 };
        node.changed(offset, len, grown);
        Ok(())
    }

    fn flush(&self, file: &File) -> Result<()> {
        let node = node(&self.inode)?;
        node.check_bad()?;
        if let Some(pages) = node.pages_if_any()
            && !current_task().is_none_or(|task| task.is_dying())
        {
            pages.write_back(node.size())?;
        }
        let connection = &self.handle.fs.connection;
        if self.handle.how.contains(FuseOpenFlags::NOFLUSH) || connection.is_unknown(FUSE_FLUSH) {
            return Ok(());
        }
        let flush = FuseFlushIn { fh: self.handle.fh(), ..FuseFlushIn::default() };
        let parts: [&[u8]; 1] = [flush.as_bytes()];
        let ask = Ask { opcode: FUSE_FLUSH, node: self.handle.nodeid, parts: &parts, reply: exactly(0) };
        if current_task().is_none_or(|task| task.is_dying()) {
            // Who exits does not wait.
            connection.tell_for(&ask, &file.opener);
            return Ok(());
        }
        match connection.call_if_known(&ask, None) {
            Err(Errno::ENOSYS) => Ok(()),
            done => done.map(drop),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
