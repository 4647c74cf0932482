//! /proc/PID/mem: the memory of a process, at the offsets of its addresses.

use std::any::Any;
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::S_IFREG;

use crate::Result;
use crate::fs::pseudo::attr;
use crate::mm::{MemoryManager, UserAddr};
use crate::task::Task;
use crate::vfs::permission::{Want, generic_permission};
use crate::vfs::{
    Attr, Blocking, Caller, File, FileOps, Inode, InodeOps, IoSink, IoSource, SeekFrom, SuperBlock,
};

const MODE: u32 = S_IFREG | 0o600;
/// Bytes that are copied at once.
const CHUNK: usize = 4096;

/// The file.
pub(super) struct MemNode(Weak<Task>);

impl MemNode {
    pub fn inode(sb: &Arc<SuperBlock>, task: &Arc<Task>) -> Arc<Inode> {
        let node = MemNode(Arc::downgrade(task));
        let (uid, gid) = node.owner();
        Inode::new(sb, &attr(sb.next_ino(), MODE, 1, uid, gid), Box::new(node))
    }

    fn owner(&self) -> (u32, u32) {
        let (_, uid, gid) = super::task::owner(&self.0, MODE);
        (uid, gid)
    }
}

impl InodeOps for MemNode {
    fn attr(&self, inode: &Inode) -> Result<Attr> {
        let (uid, gid) = self.owner();
        inode.set_owner(MODE, uid, gid);
        Ok(attr(inode.ino, MODE, 1, uid, gid))
    }

    fn permission(&self, inode: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        let (uid, gid) = self.owner();
        inode.set_owner(MODE, uid, gid);
        generic_permission(inode, caller.creds, want)
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags, caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        let task = self.0.upgrade().ok_or(Errno::ESRCH)?;
        super::link::may_look_into(caller, &task)?;
        // The memory as it is now: after an exec the file still shows the old one, which is gone then.
        let mm = task.resources().map(|r| Arc::downgrade(&r.mm)).unwrap_or_default();
        Ok(Box::new(MemFile(mm)))
    }
}

struct MemFile(Weak<MemoryManager>);

impl FileOps for MemFile {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, offset: u64) -> Result<usize> {
        let Some(mm) = self.0.upgrade() else { return Ok(0) };
        let mut buffer = [0u8; CHUNK];
        let mut done = 0;
        while dst.remaining() > 0 {
            let len = dst.remaining().min(CHUNK);
            let got = mm.force_in(UserAddr(offset.wrapping_add(done as u64)), &mut buffer[..len]);
            let n = match got {
                Ok(n) if n > 0 => n,
                _ if done > 0 => break,
                _ => return Err(Errno::EIO),
            };
            done += dst.put(&buffer[..n])?;
            if n < len {
                break;
            }
        }
        Ok(done)
    }

    fn write(&self, _file: &File, src: &mut dyn IoSource, offset: &mut u64) -> Result<usize> {
        let Some(mm) = self.0.upgrade() else { return Ok(0) };
        let mut buffer = [0u8; CHUNK];
        let mut done = 0;
        while src.remaining() > 0 {
            let len = src.take(&mut buffer)?;
            match mm.force_out(UserAddr(offset.wrapping_add(done as u64)), &buffer[..len]) {
                Ok(n) if n > 0 => done += n,
                _ if done > 0 => break,
                _ => return Err(Errno::EIO),
            }
        }
        Ok(done)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        // Addresses are not signed: any number is a place.
        match to {
            SeekFrom::Start(offset) => Ok(offset as u64),
            SeekFrom::Current(offset) => Ok(current.wrapping_add(offset as u64)),
            _ => Err(Errno::EINVAL),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
