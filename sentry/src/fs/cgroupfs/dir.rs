//! A group as a directory: mkdir(2) makes one, rmdir(2) takes it away.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::dirent::DT_DIR;
use abi::open::OpenFlags;
use abi::stat::S_IFDIR;
use sync::Mutex;

use super::hierarchy::{Hierarchy, Version};
use super::{Cgroup, control};
use crate::fs::pseudo::StaticDir;
use crate::vfs::{
    Attr, Blocking, Caller, Dentry, File, FileOps, Inode, InodeOps, IoSink, NewKind, NewNode, SeekFrom,
    SetAttr, StatFs, SuperBlock, SuperBlockOps,
};
use crate::{Kernel, Result};

/// What statfs says of versions 1 and 2.
const MAGICS: [i64; 2] = [0x0027_e0eb, 0x6367_7270];
/// Positions: groups come behind all files.
const FIRST_GROUP: u64 = 1 << 20;
const FIRST: u64 = 2;

/// The super block of a hierarchy.
struct Super {
    version: Version,
    options: String,
}

impl SuperBlockOps for Super {
    fn kind(&self) -> &'static str {
        if self.version == Version::One { "cgroup" } else { "cgroup2" }
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs::uncounted(MAGICS[usize::from(self.version == Version::Two)]))
    }

    fn options(&self) -> String {
        self.options.clone()
    }

    /// A hierarchy goes when nobody uses it.
    fn keeps_unused(&self) -> bool {
        self.version == Version::Two
    }
}

struct Dir {
    kernel: Weak<Kernel>,
    hierarchy: Arc<Hierarchy>,
    cgroup: Arc<Cgroup>,
    files: StaticDir,
    groups: Mutex<BTreeMap<Box<[u8]>, Arc<Inode>>, sync::levels::InodeData>,
    attr: Mutex<Attr, sync::levels::Inode>,
}

/// The root of the hierarchy.
pub(super) fn new_root(kernel: &Arc<Kernel>, hierarchy: &Arc<Hierarchy>) -> Arc<Dentry> {
    let sb = SuperBlock::new(Box::new(Super { version: hierarchy.version, options: hierarchy.options() }));
    Dentry::new_root(inode(&sb, &Arc::downgrade(kernel), hierarchy, &hierarchy.root, (0o755, 0, 0)))
}

/// The group that a directory is.
pub(super) fn group_of(inode: &Inode) -> Option<&Arc<Cgroup>> {
    inode.downcast::<Dir>().map(|dir| &dir.cgroup)
}

fn inode(
    sb: &Arc<SuperBlock>,
    kernel: &Weak<Kernel>,
    hierarchy: &Arc<Hierarchy>,
    cgroup: &Arc<Cgroup>,
    (mode, uid, gid): (u32, u32, u32),
) -> Arc<Inode> {
    let attr = Attr { nlink: 2, ..Attr::new(sb.next_ino(), S_IFDIR | mode, uid, gid) };
    let files = control::files(sb, kernel, hierarchy, cgroup);
    let ops = Dir {
        kernel: Weak::clone(kernel),
        hierarchy: Arc::clone(hierarchy),
        cgroup: Arc::clone(cgroup),
        files,
        groups: Mutex::default(),
        attr: Mutex::new(attr),
    };
    Inode::new(sb, &attr, Box::new(ops))
}

/// The group with this path below that of a directory: ENOENT when there is none, EINVAL for a path that leads up.
pub(super) fn below(root: &Dentry, path: &[u8]) -> Result<Arc<Cgroup>> {
    let mut inode = Arc::clone(&root.inode);
    for name in path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")) {
        if name == b".." {
            return Err(Errno::EINVAL);
        }
        let dir = inode.downcast::<Dir>().ok_or(Errno::EIO)?;
        let next = dir.groups.lock().get(name).cloned();
        inode = next.ok_or(Errno::ENOENT)?;
    }
    Ok(Arc::clone(&inode.downcast::<Dir>().ok_or(Errno::EIO)?.cgroup))
}

impl InodeOps for Dir {
    fn attr(&self, _inode: &Inode) -> Result<Attr> {
        let groups = self.groups.lock().len() as u32;
        Ok(Attr { nlink: 2 + groups, ..*self.attr.lock() })
    }

    fn set_attr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<()> {
        let mut attr = self.attr.lock();
        attr.apply(change);
        inode.set_owner(attr.mode, attr.uid, attr.gid);
        Ok(())
    }

    fn lookup(&self, _dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        if let Some(file) = self.files.get(name) {
            return Ok(Some(Arc::clone(file)));
        }
        Ok(self.groups.lock().get(name).cloned())
    }

    fn create(&self, dir: &Arc<Inode>, name: &[u8], node: &NewNode<'_>) -> Result<Arc<Inode>> {
        if node.kind != NewKind::Directory {
            return Err(Errno::EPERM);
        }
        // It would end a line of /proc/PID/cgroup.
        if name.contains(&b'\n') {
            return Err(Errno::EINVAL);
        }
        let kernel = self.kernel.upgrade().ok_or(Errno::ENODEV)?;
        if self.cgroup.removed.load(Ordering::Acquire) {
            return Err(Errno::ENODEV);
        }
        self.cgroup.may_grow(kernel.cgroups.count())?;
        if self.groups.lock().contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let cgroup = Cgroup::new(self.hierarchy.id, Some(Arc::clone(&self.cgroup)), name);
        for above in self.cgroup.upwards() {
            above.descendants.fetch_add(1, Ordering::Relaxed);
        }
        let owner = (node.masked_permissions(), node.uid, node.gid);
        let made = inode(&dir.sb, &self.kernel, &self.hierarchy, &cgroup, owner);
        self.groups.lock().insert(name.into(), Arc::clone(&made));
        Ok(made)
    }

    fn rmdir(&self, _dir: &Arc<Inode>, name: &[u8], victim: &Arc<Inode>) -> Result<()> {
        let kernel = self.kernel.upgrade().ok_or(Errno::ENODEV)?;
        let group = victim.downcast::<Dir>().ok_or(Errno::ENOTDIR)?;
        // The VFS holds the lock of this directory only: a group made below meanwhile finds its parent removed.
        let _below = victim.lock();
        if !group.groups.lock().is_empty() {
            return Err(Errno::EBUSY);
        }
        kernel.cgroups.remove(&kernel, &group.cgroup)?;
        let removed = self.groups.lock().remove(name);
        drop(removed);
        Ok(())
    }

    fn open(&self, inode: &Arc<Inode>, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        Ok(Box::new(DirFile(Arc::clone(inode))))
    }
}

struct DirFile(Arc<Inode>);

impl FileOps for DirFile {
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
        let dir = self.0.downcast::<Dir>().ok_or(Errno::EIO)?;
        let mut list: Vec<(u64, Vec<u8>, u64, u8)> = dir
            .files
            .entries(FIRST)
            .map(|entry| (entry.position, entry.name, entry.ino, entry.kind))
            .collect();
        // Numbers only rise: they make positions that stay.
        let mut groups: Vec<(u64, Vec<u8>, u64, u8)> = {
            let groups = dir.groups.lock();
            groups.iter().map(|(name, i)| (FIRST_GROUP + i.ino, name.to_vec(), i.ino, DT_DIR)).collect()
        };
        groups.sort();
        list.append(&mut groups);
        let mut at = offset;
        for (position, name, ino, kind) in list {
            if position < at {
                continue;
            }
            if !emit(&name, ino, position + 1, kind) {
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
