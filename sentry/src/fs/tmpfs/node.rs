//! Inodes of tmpfs.

use std::collections::BTreeMap;
use std::sync::Arc;

use abi::Errno;
use abi::fcntl::Seals;
use abi::open::{OpenFlags, RenameFlags};
use platform::PAGE_SIZE;
use sync::Mutex;

use super::Shared;
use super::budget::Budget;
use super::data::{FileData, MAX_SIZE};
use super::dir::Entries;
use super::file::{TmpfsDirFile, TmpfsFile};
use crate::Result;
use crate::vfs::acl::{self, Inherited};
use crate::vfs::file::AccessTime;
use crate::vfs::{
    Acl, AclChange, AclKind, Attr, Caller, FileOps, Inode, InodeOps, NewKind, NewNode, RenameEnd, SetAttr,
    SuperBlock, Timestamp, XattrSet,
};

/// Bytes of names and values of extended attributes that an inode may have.
const XATTR_MAX: usize = 128 * 1024;

/// An inode in memory.
pub struct TmpfsNode {
    shared: Arc<Shared>,
    state: Mutex<State, sync::levels::Inode>,
    body: Body,
}

struct State {
    attr: Attr,
    extended: Option<Box<Extended>>,
}

/// What few inodes have.
#[derive(Default)]
struct Extended {
    xattrs: BTreeMap<Box<[u8]>, Box<[u8]>>,
    access: Option<Arc<Acl>>,
    default: Option<Arc<Acl>>,
    /// What all of it counts for.
    bytes: usize,
}

/// Access control lists up to this size count for nothing, as on Linux all do.
const FREE_ACL_BYTES: usize = 512;

fn acl_bytes(acl: Option<&Arc<Acl>>) -> usize {
    acl.map(|acl| acl.bytes()).filter(|bytes| *bytes > FREE_ACL_BYTES).unwrap_or(0)
}

impl Extended {
    fn acl(&mut self, kind: AclKind) -> &mut Option<Arc<Acl>> {
        match kind {
            AclKind::Access => &mut self.access,
            AclKind::Default => &mut self.default,
        }
    }
}

enum Body {
    File(Arc<FileData>),
    Directory(Mutex<Entries, sync::levels::InodeData>),
    Symlink(Arc<[u8]>),
    Special,
}

impl TmpfsNode {
    /// A new inode of `sb` without a name, but for a directory's own.
    pub(super) fn new_inode(
        sb: &Arc<SuperBlock>,
        shared: &Arc<Shared>,
        node: &NewNode<'_>,
        seals: Seals,
    ) -> Result<Arc<Inode>> {
        Self::new_with(sb, shared, node, acl::inherit(None, node), seals)
    }

    /// A new inode without a name that inherits what this directory has for it.
    fn new_child(&self, dir: &Inode, node: &NewNode<'_>) -> Result<Arc<Inode>> {
        let default = if dir.may_have_acl(AclKind::Default) {
            self.state.lock().extended.as_ref().and_then(|extended| extended.default.clone())
        } else {
            None
        };
        let inherited = acl::inherit(default.as_ref(), node);
        Self::new_with(&dir.sb, &self.shared, node, inherited, super::memfd::UNSEALABLE)
    }

    fn new_with(
        sb: &Arc<SuperBlock>,
        shared: &Arc<Shared>,
        node: &NewNode<'_>,
        inherited: Inherited,
        seals: Seals,
    ) -> Result<Arc<Inode>> {
        let bytes = acl_bytes(inherited.access.as_ref()) + acl_bytes(inherited.default.as_ref());
        charge(&shared.budget, 0, bytes)?;
        if !shared.budget.take_inode() {
            shared.budget.give_pages(pages(bytes));
            return Err(Errno::ENOSPC);
        }
        let mode = node.kind.file_type().mode() | inherited.permissions;
        let mut attr = Attr::new(sb.next_ino(), mode, node.uid, node.gid);
        attr.rdev = node.kind.rdev();
        attr.nlink = 0;
        let body = match node.kind {
            NewKind::Regular => {
                Body::File(FileData::new(&shared.memory, &shared.budget, sb.dev, attr.ino, seals))
            }
            NewKind::Directory => {
                attr.nlink = 1;
                Body::Directory(Mutex::default())
            }
            NewKind::Symlink(target) => {
                attr.size = target.len() as u64;
                Body::Symlink(target.into())
            }
            _ => Body::Special,
        };
        let Inherited { access, default, .. } = inherited;
        let none = [(AclKind::Access, access.is_none()), (AclKind::Default, default.is_none())];
        let extended = none
            .iter()
            .any(|(_, none)| !none)
            .then(|| Box::new(Extended { access, default, bytes, ..Extended::default() }));
        let state = Mutex::new(State { attr, extended });
        let ops = TmpfsNode { shared: Arc::clone(shared), state, body };
        let inode = Inode::new(sb, &attr, Box::new(ops));
        none.into_iter().filter(|(_, none)| *none).for_each(|(kind, _)| inode.has_no_acl(kind));
        Ok(inode)
    }

    /// Contents, of a regular file.
    pub fn data(&self) -> Option<&Arc<FileData>> {
        match &self.body {
            Body::File(data) => Some(data),
            _ => None,
        }
    }

    /// Entries, of a directory.
    pub(super) fn entries(&self) -> Result<&Mutex<Entries, sync::levels::InodeData>> {
        match &self.body {
            Body::Directory(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Changes the number of names. Each beyond the first counts as an inode, so that they have a bound: what has been
    /// taken for one is given back with it.
    fn add_links(&self, by: i32, now: Timestamp) {
        let mut state = self.state.lock();
        let before = state.attr.nlink;
        state.attr.nlink = before.saturating_add_signed(by);
        state.attr.ctime = now;
        if by < 0 && before > 1 && !matches!(self.body, Body::Directory(_)) {
            self.shared.budget.give_inode();
        }
    }

    /// Entries of the directory have changed.
    fn entries_changed(&self, links: i32, now: Timestamp) {
        let mut state = self.state.lock();
        state.attr.nlink = state.attr.nlink.saturating_add_signed(links);
        state.attr.mtime = now;
        state.attr.ctime = now;
    }

    /// The contents have changed.
    pub(super) fn written(&self) {
        let now = Timestamp::now();
        let mut state = self.state.lock();
        state.attr.mtime = now;
        state.attr.ctime = now;
    }

    /// It has been read.
    pub(super) fn read(&self, how: AccessTime) {
        let mut state = self.state.lock();
        let attr = &mut state.attr;
        let now = Timestamp::now();
        const DAY: i64 = 24 * 60 * 60;
        let is_behind = attr.atime <= attr.mtime || attr.atime <= attr.ctime;
        if how == AccessTime::Strict || is_behind || now.secs - attr.atime.secs >= DAY {
            attr.atime = now;
        }
    }

    fn insert(&self, dir: &Arc<Inode>, name: &[u8], inode: &Arc<Inode>) -> Result<()> {
        {
            let mut entries = self.entries()?.lock();
            if entries.dead {
                return Err(Errno::ENOENT);
            }
            if entries.get(name).is_some() {
                return Err(Errno::EEXIST);
            }
            // The entry is new: nothing is replaced that would be dropped under the lock.
            entries.insert(name, Arc::clone(inode));
        }
        debug_assert!(dir.is_dir());
        let now = Timestamp::now();
        self.entries_changed(i32::from(inode.is_dir()), now);
        if let Some(node) = node(inode) {
            node.add_links(1, now);
        }
        Ok(())
    }
}

/// The tmpfs part of an inode.
pub(super) fn node(inode: &Inode) -> Option<&TmpfsNode> {
    inode.downcast()
}

fn expect_node(inode: &Inode) -> Result<&TmpfsNode> {
    node(inode).ok_or(Errno::EXDEV)
}

impl InodeOps for TmpfsNode {
    fn attr(&self, _inode: &Inode) -> Result<Attr> {
        let mut attr = self.state.lock().attr;
        match &self.body {
            Body::File(data) => {
                let (size, pages) = data.size_and_pages();
                attr.size = size;
                attr.blocks = pages * (PAGE_SIZE / 512);
            }
            // 20 bytes a name, as Linux's BOGO_DIRENT_SIZE.
            Body::Directory(entries) => attr.size = (entries.lock().len() as u64 + 2) * 20,
            _ => {}
        }
        Ok(attr)
    }

    fn set_attr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<()> {
        if let (Some(size), Body::File(data)) = (change.size, &self.body) {
            if size > MAX_SIZE {
                return Err(Errno::EFBIG);
            }
            let _lock = inode.lock();
            super::memfd::check_resize(data, size)?;
            data.set_size(size);
        }
        if let (Some(permissions), Body::File(data)) = (change.permissions, &self.body)
            && data.seals().contains(Seals::EXEC)
            && (permissions ^ inode.owner().0) & 0o111 != 0
        {
            return Err(Errno::EPERM);
        }
        let mut state = self.state.lock();
        state.attr.apply(change);
        let mode = state.attr.mode;
        if change.permissions.is_some()
            && let Some(acl) = state.extended.as_mut().and_then(|extended| extended.access.as_mut())
        {
            *acl = Arc::new(acl.with_mode(mode));
        }
        inode.set_owner(state.attr.mode, state.attr.uid, state.attr.gid);
        Ok(())
    }

    fn lookup(&self, _dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        Ok(self.entries()?.lock().get(name).cloned())
    }

    fn create(&self, dir: &Arc<Inode>, name: &[u8], node: &NewNode<'_>) -> Result<Arc<Inode>> {
        if self.entries()?.lock().dead {
            return Err(Errno::ENOENT);
        }
        let inode = self.new_child(dir, node)?;
        self.insert(dir, name, &inode)?;
        Ok(inode)
    }

    fn create_unnamed(&self, dir: &Arc<Inode>, node: &NewNode<'_>, _linkable: bool) -> Result<Arc<Inode>> {
        self.new_child(dir, node)
    }

    fn link(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        let extra = expect_node(target)?.state.lock().attr.nlink > 0;
        if extra && !self.shared.budget.take_inode() {
            return Err(Errno::ENOSPC);
        }
        let linked = self.insert(dir, name, target);
        if linked.is_err() && extra {
            self.shared.budget.give_inode();
        }
        linked
    }

    fn unlink(&self, _dir: &Arc<Inode>, name: &[u8], victim: &Arc<Inode>) -> Result<()> {
        let removed = self.entries()?.lock().remove(name).ok_or(Errno::ENOENT)?;
        let now = Timestamp::now();
        self.entries_changed(0, now);
        expect_node(victim)?.add_links(-1, now);
        drop(removed);
        Ok(())
    }

    fn rmdir(&self, _dir: &Arc<Inode>, name: &[u8], victim: &Arc<Inode>) -> Result<()> {
        let victim_node = expect_node(victim)?;
        victim_node.kill_if_empty()?;
        let removed = self.entries()?.lock().remove(name);
        let now = Timestamp::now();
        self.entries_changed(-1, now);
        victim_node.add_links(-2, now);
        drop(removed);
        Ok(())
    }

    fn rename(&self, from: RenameEnd<'_>, to: RenameEnd<'_>, flags: RenameFlags) -> Result<()> {
        let source = from.inode.ok_or(Errno::ENOENT)?;
        let to_dir = expect_node(to.dir)?;
        let now = Timestamp::now();
        let is_dir = i32::from(source.is_dir());
        if flags.contains(RenameFlags::EXCHANGE) {
            let target = to.inode.ok_or(Errno::ENOENT)?;
            // The entry of each is replaced; the old references are those that `from` and `to` hold too.
            let old = self.entries()?.lock().insert(from.name, Arc::clone(target));
            drop(old);
            let old = to_dir.entries()?.lock().insert(to.name, Arc::clone(source));
            drop(old);
            let target_is_dir = i32::from(target.is_dir());
            self.entries_changed(target_is_dir - is_dir, now);
            to_dir.entries_changed(is_dir - target_is_dir, now);
            expect_node(source)?.add_links(0, now);
            expect_node(target)?.add_links(0, now);
            return Ok(());
        }
        let whiteout = if flags.contains(RenameFlags::WHITEOUT) {
            let (_, uid, gid) = from.dir.owner();
            let node = NewNode { kind: NewKind::CharDevice(0), permissions: 0, umask: 0, uid, gid };
            Some(Self::new_inode(&from.dir.sb, &self.shared, &node, super::memfd::UNSEALABLE)?)
        } else {
            None
        };
        if let Some(target) = to.inode {
            let target_node = expect_node(target)?;
            if target.is_dir() {
                target_node.kill_if_empty()?;
            }
            target_node.add_links(if target.is_dir() { -2 } else { -1 }, now);
            if target.is_dir() {
                to_dir.entries_changed(-1, now);
            }
        }
        let removed = self.entries()?.lock().remove(from.name);
        let replaced = to_dir.entries()?.lock().insert(to.name, Arc::clone(source));
        drop((removed, replaced));
        if let Some(whiteout) = whiteout {
            self.insert(from.dir, from.name, &whiteout)?;
        }
        self.entries_changed(-is_dir, now);
        to_dir.entries_changed(is_dir, now);
        expect_node(source)?.add_links(0, now);
        Ok(())
    }

    fn read_link(&self, _inode: &Inode, _caller: &Caller<'_>) -> Result<Arc<[u8]>> {
        match &self.body {
            Body::Symlink(target) => Ok(Arc::clone(target)),
            _ => Err(Errno::EINVAL),
        }
    }

    fn open(&self, inode: &Arc<Inode>, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        match &self.body {
            Body::File(data) => Ok(Box::new(TmpfsFile::new(Arc::clone(inode), Arc::clone(data)))),
            Body::Directory(_) => Ok(Box::new(TmpfsDirFile::new(Arc::clone(inode)))),
            _ => Err(Errno::ENXIO),
        }
    }

    fn keeps_acls(&self) -> bool {
        true
    }

    fn get_acl(&self, _inode: &Inode, kind: AclKind) -> Result<Option<Arc<Acl>>> {
        Ok(self.state.lock().extended.as_mut().and_then(|extended| extended.acl(kind).clone()))
    }

    fn set_acl(&self, inode: &Arc<Inode>, change: &AclChange) -> Result<()> {
        let mut state = self.state.lock();
        let mut mode = state.attr.mode;
        let new = match change.kind {
            AclKind::Access => {
                let (changed, acl) = acl::mode_of_change(mode, change);
                mode = changed;
                acl
            }
            AclKind::Default => change.acl.clone(),
        };
        if new.is_some() || state.extended.is_some() {
            let extended = state.extended.get_or_insert_default();
            let old = acl_bytes(extended.acl(change.kind).as_ref());
            let bytes = extended.bytes - old + acl_bytes(new.as_ref());
            charge(&self.shared.budget, extended.bytes, bytes)?;
            extended.bytes = bytes;
            inode.acl_comes();
            *extended.acl(change.kind) = new;
        }
        state.attr.mode = mode;
        state.attr.ctime = Timestamp::now();
        inode.set_owner(mode, state.attr.uid, state.attr.gid);
        Ok(())
    }

    fn get_xattr(&self, _inode: &Inode, name: &[u8]) -> Result<Vec<u8>> {
        supported_xattr(name)?;
        let state = self.state.lock();
        let value = state.extended.as_ref().and_then(|extended| extended.xattrs.get(name));
        value.map(|value| value.to_vec()).ok_or(Errno::ENODATA)
    }

    fn set_xattr(&self, _inode: &Arc<Inode>, name: &[u8], value: &[u8], mode: XattrSet) -> Result<()> {
        supported_xattr(name)?;
        let mut state = self.state.lock();
        let known = state.extended.as_ref();
        let old = known.and_then(|extended| extended.xattrs.get(name)).map(|value| value.len());
        match (mode, old) {
            (XattrSet::Create, Some(_)) => return Err(Errno::EEXIST),
            (XattrSet::Replace, None) => return Err(Errno::ENODATA),
            _ => {}
        }
        let before = known.map_or(0, |extended| extended.bytes);
        let bytes = before - old.map_or(0, |old| old + name.len()) + name.len() + value.len();
        if bytes > XATTR_MAX {
            return Err(Errno::ENOSPC);
        }
        charge(&self.shared.budget, before, bytes)?;
        let extended = state.extended.get_or_insert_default();
        extended.bytes = bytes;
        extended.xattrs.insert(name.into(), value.into());
        state.attr.ctime = Timestamp::now();
        Ok(())
    }

    fn remove_xattr(&self, _inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
        supported_xattr(name)?;
        let mut state = self.state.lock();
        let extended = state.extended.as_mut().ok_or(Errno::ENODATA)?;
        let old = extended.xattrs.remove(name).ok_or(Errno::ENODATA)?;
        let bytes = extended.bytes - old.len() - name.len();
        charge(&self.shared.budget, extended.bytes, bytes)?;
        extended.bytes = bytes;
        state.attr.ctime = Timestamp::now();
        Ok(())
    }

    fn list_xattr(&self, _inode: &Inode) -> Result<Vec<Vec<u8>>> {
        let mut state = self.state.lock();
        let Some(extended) = &mut state.extended else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for kind in AclKind::ALL {
            if extended.acl(kind).is_some() {
                names.push(kind.name().to_vec());
            }
        }
        names.extend(extended.xattrs.keys().map(|name| name.to_vec()));
        Ok(names)
    }
}

impl TmpfsNode {
    /// An empty directory may have nothing made in it from now on; ENOTEMPTY when it is not empty.
    fn kill_if_empty(&self) -> Result<()> {
        let mut entries = self.entries()?.lock();
        if !entries.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        entries.dead = true;
        Ok(())
    }
}

fn pages(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(PAGE_SIZE)
}

/// Extended attributes and long access control lists count as pages of the file system.
fn charge(budget: &Budget, old: usize, new: usize) -> Result<()> {
    let (old, new) = (pages(old), pages(new));
    if new > old {
        let got = budget.take_pages(new - old);
        if got < new - old {
            budget.give_pages(got);
            return Err(Errno::ENOSPC);
        }
    } else {
        budget.give_pages(old - new);
    }
    Ok(())
}

/// tmpfs keeps these as they are; POSIX access control lists are no such attributes.
fn supported_xattr(name: &[u8]) -> Result<()> {
    let known = [&b"user."[..], b"trusted.", b"security."];
    let kept = known.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
    if kept { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

impl Drop for TmpfsNode {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.shared.budget.give_pages(pages(state.extended.as_ref().map_or(0, |extended| extended.bytes)));
        self.shared.budget.give_inode();
        if let Body::Directory(entries) = &mut self.body {
            // A loop, not a recursion: trees may be deeper than any stack.
            let mut left = entries.get_mut().take_all();
            while let Some(inode) = left.pop() {
                if Arc::strong_count(&inode) == 1
                    && let Some(Ok(entries)) = node(&inode).map(TmpfsNode::entries)
                {
                    left.append(&mut entries.lock().take_all());
                }
            }
        }
    }
}

/// The root directory has a name in nothing but itself.
pub(super) fn set_root_links(root: &Inode) {
    if let Some(node) = node(root) {
        node.state.lock().attr.nlink = 2;
    }
}
