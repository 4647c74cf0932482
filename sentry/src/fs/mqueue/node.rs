//! Inodes of the file system: the directory, and a file a queue.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::open::OpenFlags;
use abi::poll::PollEvents;
use sync::Mutex;

use super::Shape;
use super::limits::Limits;
use super::queue::Queue;
use crate::Result;
use crate::task::{Credentials, current_task};
use crate::vfs::{
    Attr, Blocking, Caller, Dentry, File, FileOps, Inode, InodeOps, IoSink, NewKind, NewNode, SeekFrom,
    SetAttr, StatFs, SuperBlock, SuperBlockOps, Timestamp,
};
use crate::wait::WaitQueue;

/// What statfs says.
const MAGIC: i64 = 0x1980_0202;
/// Size of a queue's file, and of the directory for each name.
const FILE_SIZE: u64 = 80;
const NAME_SIZE: u64 = 20;
const DT_REG: u8 = 8;

struct Super;

impl SuperBlockOps for Super {
    fn kind(&self) -> &'static str {
        "mqueue"
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs::uncounted(MAGIC))
    }
}

type Names = BTreeMap<Box<[u8]>, Arc<Inode>>;

struct Root {
    limits: Arc<Limits>,
    names: Mutex<Names, sync::levels::InodeData>,
    attr: Mutex<Attr, sync::levels::Inode>,
}

struct QueueNode {
    queue: Arc<Queue>,
    attr: Mutex<Attr, sync::levels::Inode>,
    me: OnceLock<std::sync::Weak<Inode>>,
}

/// The directory, empty.
pub(super) fn new_root(limits: &Arc<Limits>) -> Arc<Dentry> {
    let sb = SuperBlock::new(Box::new(Super));
    let node = NewNode { kind: NewKind::Directory, permissions: 0o1777, umask: 0, uid: 0, gid: 0 };
    let attr = Attr { nlink: 2, size: 2 * NAME_SIZE, ..Attr::new(sb.next_ino(), node.mode(), 0, 0) };
    let root = Root { limits: Arc::clone(limits), names: Mutex::default(), attr: Mutex::new(attr) };
    Dentry::new_root(Inode::new(&sb, &attr, Box::new(root)))
}

/// Makes a queue in `dir`, whose lock the caller holds. EEXIST when the name is taken.
pub(super) fn create(
    dir: &Arc<Inode>,
    name: &[u8],
    node: &NewNode<'_>,
    shape: Option<Shape>,
    creds: &Credentials,
) -> Result<Arc<Inode>> {
    let root = dir.downcast::<Root>().ok_or(Errno::ENOTDIR)?;
    if node.kind != NewKind::Regular {
        return Err(Errno::EPERM);
    }
    if root.names.lock().contains_key(name) {
        return Err(Errno::EEXIST);
    }
    let (shape, charge) = root.limits.charge(shape, creds)?;
    let attr = Attr { size: FILE_SIZE, ..Attr::new(dir.sb.next_ino(), node.mode(), node.uid, node.gid) };
    let queue = Queue::new(shape, charge);
    let ops = QueueNode { queue, attr: Mutex::new(attr), me: OnceLock::new() };
    let inode = Inode::new(&dir.sb, &attr, Box::new(ops));
    if let Some(node) = inode.downcast::<QueueNode>() {
        // Set once, right here.
        let _ = node.me.set(Arc::downgrade(&inode));
    }
    root.names.lock().insert(name.into(), Arc::clone(&inode));
    root.changed();
    Ok(inode)
}

impl Root {
    fn changed(&self) {
        let count = self.names.lock().len() as u64;
        let now = Timestamp::now();
        let mut attr = self.attr.lock();
        attr.size = (count + 2) * NAME_SIZE;
        (attr.atime, attr.mtime, attr.ctime) = (now, now, now);
    }
}

fn change(slot: &Mutex<Attr, sync::levels::Inode>, inode: &Inode, change: &SetAttr) {
    let mut attr = slot.lock();
    attr.apply(change);
    inode.set_owner(attr.mode, attr.uid, attr.gid);
}

impl InodeOps for Root {
    fn attr(&self, _inode: &Inode) -> Result<Attr> {
        Ok(*self.attr.lock())
    }

    fn set_attr(&self, inode: &Arc<Inode>, how: &SetAttr) -> Result<()> {
        change(&self.attr, inode, how);
        Ok(())
    }

    fn lookup(&self, _dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        Ok(self.names.lock().get(name).cloned())
    }

    fn create(&self, dir: &Arc<Inode>, name: &[u8], node: &NewNode<'_>) -> Result<Arc<Inode>> {
        let creds = current_task().map(|task| task.creds()).ok_or(Errno::EPERM)?;
        create(dir, name, node, None, &creds)
    }

    fn unlink(&self, _dir: &Arc<Inode>, name: &[u8], victim: &Arc<Inode>) -> Result<()> {
        let removed = self.names.lock().remove(name).ok_or(Errno::ENOENT)?;
        if let Some(node) = victim.downcast::<QueueNode>() {
            let mut attr = node.attr.lock();
            attr.nlink = 0;
            attr.ctime = Timestamp::now();
        }
        self.changed();
        drop(removed);
        Ok(())
    }

    fn open(&self, inode: &Arc<Inode>, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        Ok(Box::new(RootFile(Arc::clone(inode))))
    }
}

struct RootFile(Arc<Inode>);

impl FileOps for RootFile {
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
        let root = self.0.downcast::<Root>().ok_or(Errno::EIO)?;
        // Numbers only rise: they make positions that stay.
        let mut list: Vec<(u64, Box<[u8]>)> = {
            let names = root.names.lock();
            names.iter().map(|(name, inode)| (inode.ino, name.clone())).collect()
        };
        list.sort();
        let mut at = offset;
        for (ino, name) in list {
            let position = ino + 2;
            if position < at {
                continue;
            }
            if !emit(&name, ino, position + 1, DT_REG) {
                break;
            }
            at = position + 1;
        }
        Ok(at)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl InodeOps for QueueNode {
    fn attr(&self, _inode: &Inode) -> Result<Attr> {
        Ok(*self.attr.lock())
    }

    fn set_attr(&self, inode: &Arc<Inode>, how: &SetAttr) -> Result<()> {
        change(&self.attr, inode, how);
        Ok(())
    }

    fn open(&self, inode: &Arc<Inode>, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        Ok(Box::new(QueueFile { inode: Arc::clone(inode), queue: Arc::clone(&self.queue) }))
    }
}

/// An open queue.
pub struct QueueFile {
    inode: Arc<Inode>,
    queue: Arc<Queue>,
}

impl QueueFile {
    /// The queue.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// A message has been taken or added.
    pub fn touched(&self) {
        if let Some(node) = self.inode.downcast::<QueueNode>() {
            let now = Timestamp::now();
            let mut attr = node.attr.lock();
            (attr.atime, attr.mtime, attr.ctime) = (now, now, now);
        }
    }
}

impl FileOps for QueueFile {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, offset: u64) -> Result<usize> {
        let text = self.queue.text().into_bytes();
        match text.get(offset.min(usize::MAX as u64) as usize..) {
            Some(rest) if !rest.is_empty() => dst.put(rest),
            _ => Ok(0),
        }
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        match to {
            SeekFrom::End(by) => {
                u64::try_from((FILE_SIZE as i64).saturating_add(by)).map_err(|_| Errno::EINVAL)
            }
            other => other.without_end(current),
        }
    }

    fn poll(&self, _file: &File) -> PollEvents {
        self.queue.poll()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(self.queue.wait_queue())
    }

    fn flush(&self, _file: &File) -> Result<()> {
        // Who closes a descriptor does not want to be told any more.
        if let Some(task) = current_task() {
            self.queue.clear_notify(task.thread_group());
        }
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
