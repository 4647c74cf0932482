//! Inodes of a Gofer's tree.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use abi::Errno;
use abi::open::{O_ACCMODE, O_RDONLY, OpenFlags, RenameFlags};
use abi::stat::FileType;
use gofer_protocol as wire;
use gofer_protocol::{
    Client, FileId, Handle, Leaf, Name, Node, NodeKind, Owner, Perm, Place, Target, UnlinkKind,
};
use platform::HostFile;
use smallvec::SmallVec;
use sync::Mutex;

use super::dir::Directory;
use super::file::GoferFile;
use super::{GoferFs, Sharing, attr, errno};
use crate::Result;
use crate::mm::FileMappings;
use crate::vfs::{
    Attr, Caller, Created, FileOps, Inode, InodeOps, LookupRun, NewKind, NewNode, RenameEnd, SetAttr,
    XattrSet,
};

/// A file of the host, by the handle that the Gofer gave it.
pub(super) struct GoferInode {
    pub client: Arc<Client>,
    pub handle: Handle,
    pub id: FileId,
    sharing: Sharing,
    attr: Mutex<Attr, sync::levels::Inode>,
    /// The file was written through a descriptor: size and times are to be asked for again.
    stale: AtomicBool,
    /// A descriptor for reading, and one for reading and writing.
    open: Mutex<Descriptors, sync::levels::InodeData>,
    target: Mutex<Option<Arc<[u8]>>, sync::levels::Leaf>,
    futex_id: u64,
    /// Who maps the file, if it can be truncated.
    pub(super) mappings: FileMappings,
}

#[derive(Default)]
struct Descriptors {
    read: Option<Arc<HostFile>>,
    write: Option<std::sync::Weak<HostFile>>,
}

impl GoferInode {
    pub fn new(client: Arc<Client>, handle: Handle, id: FileId, attr: Attr, sharing: Sharing) -> GoferInode {
        GoferInode {
            client,
            handle,
            id,
            sharing,
            attr: Mutex::new(attr),
            stale: AtomicBool::new(false),
            open: Mutex::default(),
            target: Mutex::default(),
            futex_id: crate::mm::shmem::next_futex_id(),
            mappings: FileMappings::new(),
        }
    }

    /// Identity for futexes in shared mappings.
    pub fn futex_id(&self) -> u64 {
        self.futex_id
    }

    /// New attributes from the Gofer.
    pub fn store_attr(&self, inode: &Inode, attr: Attr) {
        *self.attr.lock() = attr;
        inode.set_owner(attr.mode, attr.uid, attr.gid);
    }

    fn store_wire(&self, inode: &Inode, from: &wire::Attr) -> Result<()> {
        let attr = attr::from_wire(from, inode.ino)?;
        self.store_attr(inode, attr);
        Ok(())
    }

    /// The contents have changed through a descriptor.
    pub fn written(&self) {
        self.stale.store(true, Ordering::Release);
    }

    /// Whether others may change the file.
    pub fn is_shared(&self) -> bool {
        self.sharing == Sharing::Shared
    }

    /// A descriptor that appends.
    pub fn open_to_append(&self) -> Result<HostFile> {
        let how = wire::OpenFlags::WRITE | wire::OpenFlags::APPEND;
        let (fd, attr) = self.client.open(self.handle, how).map_err(errno)?;
        if attr.id != self.id { Err(Errno::ESTALE) } else { Ok(HostFile::new(fd, true)) }
    }

    /// Closes the descriptor that is kept for reading.
    pub fn forget_descriptor(&self) -> Option<Arc<HostFile>> {
        self.open.lock().read.take()
    }

    /// Size and times of a file that was written.
    fn refresh(&self, inode: &Inode) -> Result<()> {
        if self.sharing == Sharing::Exclusive && !self.stale.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let descriptor = {
            let open = self.open.lock();
            open.write.as_ref().and_then(std::sync::Weak::upgrade)
        };
        if let (Some(file), Sharing::Exclusive) = (descriptor, self.sharing) {
            let stat = host::file::stat(file.fd()).map_err(crate::vfs::io::host_errno)?;
            let time = |(secs, nanos): (i64, u32)| crate::vfs::Timestamp { secs, nanos };
            let mut attr = self.attr.lock();
            attr.size = stat.size;
            attr.blocks = stat.blocks;
            (attr.atime, attr.mtime, attr.ctime) = (time(stat.atime), time(stat.mtime), time(stat.ctime));
            return Ok(());
        }
        let attr = self.client.stat(self.handle).map_err(errno)?;
        self.store_wire(inode, &attr)
    }

    /// A descriptor for the file's contents.
    fn descriptor(&self, inode: &Arc<Inode>, flags: OpenFlags) -> Result<Arc<HostFile>> {
        let writes = flags.bits() & O_ACCMODE != O_RDONLY;
        {
            let open = self.open.lock();
            let there = if writes {
                open.write.as_ref().and_then(std::sync::Weak::upgrade)
            } else {
                open.read.clone()
            };
            if let (Some(there), Sharing::Exclusive) = (there, self.sharing) {
                return Ok(there);
            }
        }
        let mut how = wire::OpenFlags::READ;
        how.set(wire::OpenFlags::WRITE, writes);
        let (fd, attr) = fs(inode)?.with_room(&inode.sb, || match self.client.open(self.handle, how) {
            // A file that may be written but not read.
            Err(wire::Errno::ACCESS) if writes => self.client.open(self.handle, wire::OpenFlags::WRITE),
            other => other,
        })?;
        if attr.id != self.id {
            return Err(Errno::ESTALE);
        }
        let file = Arc::new(HostFile::new(fd, writes));
        if self.sharing == Sharing::Shared {
            // One kept open would hold the room of a file that others remove.
            return Ok(file);
        }
        let mut open = self.open.lock();
        if writes {
            open.write = Some(Arc::downgrade(&file));
            return Ok(file);
        }
        let replaced = open.read.replace(Arc::clone(&file));
        drop(open);
        if replaced.is_none()
            && let Some(fs) = inode.sb.downcast::<GoferFs>()
        {
            fs.keep_open(inode);
        }
        Ok(file)
    }

    fn made(&self, dir: &Arc<Inode>, node: Node, parent: &wire::Attr) -> Result<Arc<Inode>> {
        self.store_wire(dir, parent)?;
        fs(dir)?.inode(&dir.sb, node)
    }

    /// Keeps the caller's answer fresh: link counts and times of a file that lost or got a name.
    fn names_changed(&self, inode: &Inode) {
        self.stale.store(true, Ordering::Release);
        // Without a descriptor for writing this asks the Gofer; a file that is gone keeps what was known.
        if let Ok(attr) = self.client.stat(self.handle) {
            self.stale.store(false, Ordering::Release);
            let _ = self.store_wire(inode, &attr);
        }
    }
}

fn fs(inode: &Inode) -> Result<&GoferFs> {
    inode.sb.downcast::<GoferFs>().ok_or(Errno::EXDEV)
}

fn ops(inode: &Inode) -> Result<&GoferInode> {
    inode.downcast::<GoferInode>().ok_or(Errno::EXDEV)
}

fn name(bytes: &[u8]) -> Result<Name<'_>> {
    Name::new(bytes).map_err(errno)
}

fn owner(node: &NewNode<'_>) -> Result<Owner> {
    Owner::new(node.uid, node.gid).ok_or(Errno::EINVAL)
}

impl InodeOps for GoferInode {
    fn attr(&self, inode: &Inode) -> Result<Attr> {
        self.refresh(inode)?;
        Ok(*self.attr.lock())
    }

    fn set_attr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<()> {
        let changes = attr::to_changes(change)?;
        let new = self.client.set_attr(self.handle, changes).map_err(errno)?;
        if let Some(size) = change.size {
            self.mappings.truncate(size);
        }
        self.store_wire(inode, &new)
    }

    fn lookup(&self, dir: &Arc<Inode>, wanted: &[u8], caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        let run = self.lookup_run(dir, &[wanted], caller)?;
        Ok(run.found.into_iter().next())
    }

    fn lookup_run(&self, dir: &Arc<Inode>, names: &[&[u8]], _caller: &Caller<'_>) -> Result<LookupRun> {
        let mut checked: SmallVec<[Name<'_>; 8]> = SmallVec::new();
        for (index, bytes) in names.iter().enumerate() {
            match Name::new(bytes) {
                Ok(name) => checked.push(name),
                Err(error) if index == 0 => return Err(errno(error)),
                Err(_) => break,
            }
        }
        let fs = fs(dir)?;
        let walked = fs.with_room(&dir.sb, || {
            let walked = self.client.walk(self.handle, &checked, Leaf::Handle)?;
            match walked.error {
                Some(full @ (wire::Errno::MFILE | wire::Errno::NFILE)) => {
                    walked
                        .found
                        .iter()
                        .filter_map(|found| found.handle)
                        .for_each(|handle| self.client.release(handle));
                    Err(full)
                }
                _ => Ok(walked),
            }
        })?;
        let mut run = LookupRun::default();
        let last = walked.found.len().wrapping_sub(1);
        for (index, looked) in walked.found.iter().enumerate() {
            let handle = looked.handle.ok_or(Errno::EIO)?;
            let inode = fs.inode(&dir.sb, Node { handle, attr: looked.attr })?;
            if let (true, Some(target)) = (index == last, &walked.target) {
                *ops(&inode)?.target.lock() = Some(target.as_slice().into());
            }
            run.found.push(inode);
        }
        match walked.error {
            Some(wire::Errno::NOENT) => run.missing = walked.found.len() < checked.len(),
            Some(error) if walked.found.is_empty() => return Err(errno(error)),
            _ => {}
        }
        Ok(run)
    }

    fn create(&self, dir: &Arc<Inode>, at: &[u8], node: &NewNode<'_>) -> Result<Arc<Inode>> {
        let (at, perm, owner) = (name(at)?, Perm::of_mode(node.permissions), owner(node)?);
        let kind = match node.kind {
            NewKind::Directory => {
                let mkdir = || self.client.mkdir(self.handle, at, perm, owner);
                let (node, parent) = fs(dir)?.with_room(&dir.sb, mkdir)?;
                return self.made(dir, node, &parent);
            }
            NewKind::Symlink(target) => {
                let target = Target::new(target).map_err(errno)?;
                let symlink = || self.client.symlink(self.handle, at, owner, target);
                let (node, parent) = fs(dir)?.with_room(&dir.sb, symlink)?;
                return self.made(dir, node, &parent);
            }
            NewKind::Regular => NodeKind::Regular,
            NewKind::Fifo => NodeKind::Fifo,
            NewKind::Socket => NodeKind::Socket,
            NewKind::CharDevice(0) => NodeKind::Whiteout,
            NewKind::CharDevice(_) | NewKind::BlockDevice(_) => return Err(Errno::EPERM),
        };
        let mknod = || self.client.mknod(self.handle, at, kind, perm, owner);
        let (node, parent) = fs(dir)?.with_room(&dir.sb, mknod)?;
        self.made(dir, node, &parent)
    }

    fn create_and_open(
        &self,
        dir: &Arc<Inode>,
        at: &[u8],
        node: &NewNode<'_>,
        _flags: OpenFlags,
        _caller: &Caller<'_>,
    ) -> Result<Created> {
        let flags = wire::OpenFlags::READ | wire::OpenFlags::WRITE;
        let (at, perm, owner) = (name(at)?, Perm::of_mode(node.permissions), owner(node)?);
        let create = || self.client.create(self.handle, at, perm, owner, flags);
        let (fd, node, parent) = fs(dir)?.with_room(&dir.sb, create)?;
        let inode = self.made(dir, node, &parent)?;
        let file = Arc::new(HostFile::new(fd, true));
        ops(&inode)?.open.lock().write = Some(Arc::downgrade(&file));
        let opened: Box<dyn FileOps> = Box::new(GoferFile::new(&inode, file));
        Ok(Created { inode, opened: Some(opened) })
    }

    fn create_unnamed(&self, dir: &Arc<Inode>, node: &NewNode<'_>, _linkable: bool) -> Result<Arc<Inode>> {
        let (perm, owner) = (Perm::of_mode(node.permissions), owner(node)?);
        let create = || self.client.create_unnamed(self.handle, perm, owner);
        let (fd, node) = fs(dir)?.with_room(&dir.sb, create)?;
        let inode = fs(dir)?.inode(&dir.sb, node)?;
        // Nothing but this descriptor leads to the file's contents: it stays open with the inode.
        ops(&inode)?.open.lock().read = Some(Arc::new(HostFile::new(fd, true)));
        Ok(inode)
    }

    fn link(&self, dir: &Arc<Inode>, at: &[u8], target: &Arc<Inode>) -> Result<()> {
        let file = ops(target)?;
        let (attr, parent) = self.client.link(file.handle, self.handle, name(at)?).map_err(errno)?;
        file.store_wire(target, &attr)?;
        self.store_wire(dir, &parent)
    }

    fn unlink(&self, dir: &Arc<Inode>, at: &[u8], victim: &Arc<Inode>) -> Result<()> {
        let parent = self.client.unlink(self.handle, name(at)?, UnlinkKind::File).map_err(errno)?;
        self.store_wire(dir, &parent)?;
        if let Ok(ops) = ops(victim) {
            ops.names_changed(victim);
        }
        self.client.flush();
        Ok(())
    }

    fn rmdir(&self, dir: &Arc<Inode>, at: &[u8], _victim: &Arc<Inode>) -> Result<()> {
        let parent = self.client.unlink(self.handle, name(at)?, UnlinkKind::Directory).map_err(errno)?;
        self.store_wire(dir, &parent)
    }

    fn rename(&self, from: RenameEnd<'_>, to: RenameEnd<'_>, flags: RenameFlags) -> Result<()> {
        let new_dir = ops(to.dir)?;
        let old = Place { dir: self.handle, name: name(from.name)? };
        let new = Place { dir: new_dir.handle, name: name(to.name)? };
        let flags = wire::RenameFlags::from_bits(flags.bits() as u16).ok_or(Errno::EINVAL)?;
        let (old_parent, new_parent) = self.client.rename(old, new, flags).map_err(errno)?;
        self.store_wire(from.dir, &old_parent)?;
        new_dir.store_wire(to.dir, &new_parent)?;
        for inode in [from.inode, to.inode].into_iter().flatten() {
            ops(inode)?.names_changed(inode);
        }
        Ok(())
    }

    fn read_link(&self, _inode: &Inode, _caller: &Caller<'_>) -> Result<Arc<[u8]>> {
        // A symbolic link never changes: another target is another file.
        if let Some(target) = self.target.lock().clone() {
            return Ok(target);
        }
        let target: Arc<[u8]> = self.client.readlink(self.handle).map_err(errno)?.into();
        *self.target.lock() = Some(Arc::clone(&target));
        Ok(target)
    }

    fn open(&self, inode: &Arc<Inode>, flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        match inode.kind {
            FileType::Directory => Ok(Box::new(Directory::new(inode))),
            FileType::Regular => Ok(Box::new(GoferFile::new(inode, self.descriptor(inode, flags)?))),
            _ => Err(Errno::ENXIO),
        }
    }

    fn get_xattr(&self, _inode: &Inode, attribute: &[u8]) -> Result<Vec<u8>> {
        let attribute = wire::XattrName::new(attribute).map_err(errno)?;
        self.client.get_xattr(self.handle, attribute).map_err(errno)
    }

    fn set_xattr(&self, _inode: &Arc<Inode>, attribute: &[u8], value: &[u8], mode: XattrSet) -> Result<()> {
        let attribute = wire::XattrName::new(attribute).map_err(errno)?;
        let mode = match mode {
            XattrSet::Any => wire::SetMode::Any,
            XattrSet::Create => wire::SetMode::Create,
            XattrSet::Replace => wire::SetMode::Replace,
        };
        self.client.set_xattr(self.handle, attribute, mode, value).map_err(errno)
    }

    fn remove_xattr(&self, _inode: &Arc<Inode>, attribute: &[u8]) -> Result<()> {
        let attribute = wire::XattrName::new(attribute).map_err(errno)?;
        self.client.remove_xattr(self.handle, attribute).map_err(errno)
    }

    fn list_xattr(&self, _inode: &Inode) -> Result<Vec<Vec<u8>>> {
        let names = self.client.list_xattr(self.handle).map_err(errno)?;
        Ok(names.split(|b| *b == 0).filter(|n| !n.is_empty()).map(<[u8]>::to_vec).collect())
    }

    fn evict(&self) {
        self.client.release(self.handle);
    }
}
