//! memfd_create(2) and the seals of fcntl(2).

use std::sync::Arc;

use abi::Errno;
use abi::fcntl::Seals;
use abi::open::OpenFlags;

use super::data::FileData;
use super::file::TmpfsFile;
use super::node::TmpfsNode;
use super::{Shared, budget::Budget, super_block};
use crate::Result;
use crate::task::Credentials;
use crate::vfs::file::Claim;
use crate::vfs::{Dentry, File, Mount, MountFlags, NewKind, NewNode, Path};

/// Seals of a file that can't be sealed further: all but those of a memfd.
pub const UNSEALABLE: Seals = Seals::SEAL;

/// What seals a new memfd has and may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// No more seals.
    Forbidden,
    /// MFD_ALLOW_SEALING.
    Allowed,
    /// MFD_NOEXEC_SEAL: not executable, and sealed so; may get more seals.
    NoExec,
}

/// The file system that memfds are in; the guest can't see it.
pub struct MemfdFs {
    mount: Arc<Mount>,
    shared: Arc<Shared>,
}

impl MemfdFs {
    /// With contents in `memory`.
    pub fn new(memory: &Arc<platform::MemoryFile>) -> Result<MemfdFs> {
        let shared = Arc::new(Shared {
            memory: Arc::clone(memory),
            budget: Arc::new(Budget::new(u64::MAX, u64::MAX)),
        });
        let sb = super_block(&shared, 0o1777, abi::stat::makedev(0, 1));
        let node = NewNode { kind: NewKind::Directory, permissions: 0o1777, umask: 0, uid: 0, gid: 0 };
        let root = TmpfsNode::new_inode(&sb, &shared, &node, UNSEALABLE)?;
        Ok(MemfdFs { mount: Mount::new(Dentry::new_root(root), b"tmpfs", MountFlags::empty()), shared })
    }

    /// A new memfd.
    pub fn create(&self, name: &[u8], sealing: Sealing, creds: &Arc<Credentials>) -> Result<Arc<File>> {
        let permissions = if sealing == Sealing::NoExec { 0o666 } else { 0o777 };
        let node =
            NewNode { kind: NewKind::Regular, permissions, umask: 0, uid: creds.fsuid, gid: creds.fsgid };
        let seals = match sealing {
            Sealing::NoExec => Seals::EXEC,
            Sealing::Allowed => Seals::empty(),
            Sealing::Forbidden => Seals::SEAL,
        };
        let inode = TmpfsNode::new_inode(self.mount.sb(), &self.shared, &node, seals)?;
        let data = inode.downcast::<TmpfsNode>().and_then(TmpfsNode::data).cloned().ok_or(Errno::EINVAL)?;
        let shown = [b"/memfd:", name].concat();
        let dentry = Dentry::new_unnamed(Arc::clone(&inode), None, &shown);
        let path = Path::new(Arc::clone(&self.mount), dentry);
        let flags = OpenFlags::RDWR | OpenFlags::LARGEFILE;
        inode.get_write()?;
        Ok(File::with_claim(
            Box::new(TmpfsFile::new(inode, data)),
            path,
            flags,
            Arc::clone(creds),
            Claim::Write,
        ))
    }
}

/// fcntl(F_GET_SEALS): EINVAL for files that have none.
pub fn get_seals(file: &File) -> Result<Seals> {
    Ok(sealable(file)?.data().seals())
}

/// The file, if it is a tmpfs's own: one of an overlay above has no seals.
fn sealable(file: &File) -> Result<&TmpfsFile> {
    file.path.inode().downcast::<TmpfsNode>().ok_or(Errno::EINVAL)?;
    file.downcast::<TmpfsFile>().ok_or(Errno::EINVAL)
}

/// fcntl(F_ADD_SEALS).
pub fn add_seals(file: &File, seals: u32) -> Result<()> {
    if !file.access().write {
        return Err(Errno::EPERM);
    }
    let seals = Seals::from_bits(seals).ok_or(Errno::EINVAL)?;
    let data = sealable(file)?.data();
    let _lock = file.path.inode().lock();
    let old = data.seals();
    if old.contains(Seals::SEAL) {
        return Err(Errno::EPERM);
    }
    if (seals - old).contains(Seals::WRITE) && data.is_mapped_writable() {
        return Err(Errno::EBUSY);
    }
    let (mode, _, _) = file.path.inode().owner();
    // A file sealed against a change of its execute bits that has some is sealed against writes too.
    let implied = Seals::SHRINK | Seals::GROW | Seals::WRITE | Seals::FUTURE_WRITE;
    let seals = if seals.contains(Seals::EXEC) && mode & 0o111 != 0 { seals | implied } else { seals };
    data.add_seals(seals);
    Ok(())
}

/// EPERM for a new size that a seal forbids.
pub(super) fn check_resize(data: &FileData, size: u64) -> Result<()> {
    let (seals, old) = (data.seals(), data.size());
    let forbidden =
        (size < old && seals.contains(Seals::SHRINK)) || (size > old && seals.contains(Seals::GROW));
    if forbidden { Err(Errno::EPERM) } else { Ok(()) }
}

/// EPERM for a write that a seal forbids.
pub(super) fn check_write(data: &FileData, offset: u64, len: u64) -> Result<()> {
    let seals = data.seals();
    if seals.intersects(Seals::WRITE | Seals::FUTURE_WRITE) {
        return Err(Errno::EPERM);
    }
    if seals.contains(Seals::GROW) && offset.saturating_add(len) > data.size() {
        Err(Errno::EPERM)
    } else {
        Ok(())
    }
}

/// EPERM when the file must not grow.
pub(super) fn check_grow(data: &FileData) -> Result<()> {
    if data.seals().contains(Seals::GROW) { Err(Errno::EPERM) } else { Ok(()) }
}
