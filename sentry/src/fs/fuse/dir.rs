//! Open directories.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::fuse::{
    FUSE_NAME_MAX, FUSE_READDIR, FUSE_READDIRPLUS, FUSE_ROOT_ID, FuseDirent, FuseEntryOut, FuseInitFlags,
    FuseReadIn,
};
use sync::Mutex;
use zerocopy::{FromBytes, IntoBytes};

use super::connection::Ask;
use super::file::Handle;
use super::node::{FuseNode, node};
use crate::Result;
use crate::vfs::{Blocking, File, FileOps, Inode, IoSink, SeekFrom};

/// Bytes of entries asked for at once.
const CHUNK: usize = 32 * 1024;
/// Position of the server's first entry: `.` and `..` before it are the kernel's own.
const FIRST: u64 = 2;
/// Inodes that a listing has brought along, kept so that what is looked up next need not be asked for.
const KEPT_MAX: usize = 1024;

/// An open directory.
pub(super) struct FuseDirFile {
    inode: Arc<Inode>,
    handle: Handle,
    kept: Mutex<Vec<Arc<Inode>>, sync::levels::FileState>,
}

/// An entry of an answer.
struct Entry<'a> {
    head: FuseDirent,
    name: &'a [u8],
    entry: Option<FuseEntryOut>,
}

/// The entries of an answer; EIO behind the last good one if it is no listing.
fn entries(mut bytes: &[u8], plus: bool) -> Vec<Result<Entry<'_>>> {
    let mut list = Vec::new();
    loop {
        let mut rest = bytes;
        let mut entry = None;
        if plus {
            let Ok((head, behind)) = FuseEntryOut::read_from_prefix(rest) else { return list };
            (entry, rest) = (Some(head), behind);
        }
        let Ok((head, behind)) = FuseDirent::read_from_prefix(rest) else { return list };
        let len = head.namelen as usize;
        if len == 0 || len > FUSE_NAME_MAX {
            list.push(Err(Errno::EIO));
            return list;
        }
        // One that is cut off comes again.
        let Some(name) = behind.get(..len) else { return list };
        if name.contains(&b'/') || name.contains(&0) {
            list.push(Err(Errno::EIO));
            return list;
        }
        list.push(Ok(Entry { head, name, entry }));
        bytes = behind.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
}

impl FuseDirFile {
    pub fn new(inode: &Arc<Inode>, handle: Handle) -> FuseDirFile {
        FuseDirFile { inode: Arc::clone(inode), handle, kept: Mutex::default() }
    }

    /// Keeps what a listing tells of an entry for the lookup that follows.
    fn link(&self, dir: &FuseNode, name: &[u8], entry: &FuseEntryOut, seen: u64) {
        if name == b"." || name == b".." {
            // Not counted by the server.
            return;
        }
        if entry.nodeid <= FUSE_ROOT_ID || name.len() > abi::NAME_MAX {
            return;
        }
        let Ok(inode) = dir.take_entry(&self.inode, name, entry, seen) else { return };
        let mut kept = self.kept.lock();
        let old = if kept.len() >= KEPT_MAX { std::mem::take(&mut *kept) } else { Vec::new() };
        kept.push(inode);
        drop(kept);
        drop(old);
    }
}

impl FileOps for FuseDirFile {
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

    fn read_dir(&self, _file: &File, offset: u64, emit: &mut crate::vfs::file::EmitEntry<'_>) -> Result<u64> {
        let dir = node(&self.inode)?;
        let connection = &dir.fs.connection;
        let plus = connection.agreed_terms()?.flags.contains(FuseInitFlags::DO_READDIRPLUS);
        let opcode = if plus { FUSE_READDIRPLUS } else { FUSE_READDIR };
        let mut position = offset.max(FIRST);
        loop {
            let read = FuseReadIn {
                fh: self.handle.fh(),
                offset: position - FIRST,
                size: CHUNK as u32,
                ..FuseReadIn::default()
            };
            let seen = dir.names_version();
            let ask = Ask { opcode, node: dir.nodeid, parts: &[read.as_bytes()], reply: 0..=CHUNK };
            let reply = connection.call(&ask, None)?;
            let list = entries(&reply, plus);
            if list.is_empty() {
                return Ok(position);
            }
            // Each entry of the answer counts as looked up, also those that there is no room for.
            for entry in list.iter().flatten() {
                if let Some(looked_up) = &entry.entry {
                    self.link(dir, entry.name, looked_up, seen);
                }
            }
            for entry in list {
                let Entry { head, name, .. } = entry?;
                let next = head.off.checked_add(FIRST).ok_or(Errno::EIO)?;
                let dots = name == b"." || name == b"..";
                if !dots && !emit(name, head.ino.max(1), next, head.kind as u8) {
                    return Ok(position);
                }
                position = next;
            }
        }
    }

    fn sync(&self, _file: &File, data_only: bool) -> Result<()> {
        self.handle.sync(data_only)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
