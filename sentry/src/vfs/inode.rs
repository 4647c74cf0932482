//! Inodes: a file itself, apart from its names.
//!
//! [`Inode`] holds what every file system has (type, number, owner for permission checks, locks); [`InodeOps`] is what
//! a file system does. One `Inode` per file: two names of it, and two mounts of its file system, give the same object,
//! because locks, mappings and watches hang on it.
//!
//! **No method is called with a levelled lock held**, so a file system may wait for a Gofer in each. Changes in one
//! directory (create, link, unlink, rmdir, rename) come one at a time: the VFS holds [`Inode::lock`] of the directory.
//! Lookups run beside them.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::open::{OpenFlags, RenameFlags};
use abi::stat::FileType;
use once_cell::race::OnceBox;
use smallvec::SmallVec;
use sync::{Mutex, SleepMutex, SleepMutexGuard};

use super::acl::{Acl, AclChange, AclKind};
use super::attr::{Attr, NewNode, SetAttr};
use super::caller::Caller;
use super::dnotify::Requests;
use super::fanotify::Marks;
use super::file::FileOps;
use super::inotify::Watches;
use super::path::Path;
use super::permission::{Want, generic_permission};
use super::registry::OpenedOps;
use super::super_block::SuperBlock;
use crate::Result;
use crate::fs::host::HostSocket;
use crate::net::SocketKind;

/// A list has been set: what was known before to be missing does not count any more.
const ACL_WAS_SET: u8 = 0x80;

/// A file.
pub struct Inode {
    /// The file system it is in.
    pub sb: Arc<SuperBlock>,
    /// Its number, unique in the file system.
    pub ino: u64,
    /// Its type, which never changes.
    pub kind: FileType,
    /// Mode in the upper half, owner in the lower: what permission checks read without a lock.
    mode_and_uid: AtomicU64,
    gid: AtomicU32,
    /// It has no name yet and may get its first (O_TMPFILE without O_EXCL). What has lost its last name does not come
    /// back.
    linkable: AtomicBool,
    /// Which access control lists it has not, as far as that is known: bits of [`AclKind`], and [`ACL_WAS_SET`].
    no_acls: AtomicU8,
    /// Changes of a directory, writes of a regular file: one at a time.
    lock: SleepMutex<()>,
    /// Made when the first of it is needed: a cached tree has very many inodes.
    more: OnceBox<More>,
    ops: Box<dyn InodeOps>,
}

/// What an inode needs that is not only looked at.
#[derive(Default)]
struct More {
    /// Above zero: open for writing so often; below: so often being executed (ETXTBSY).
    writers: AtomicI32,
    /// Files open for reading only.
    readers: AtomicU32,
    /// Of a directory: how often its entries have changed. Of a device node: its number.
    changes_or_rdev: AtomicU64,
    rare: OnceBox<Rare>,
}

/// What few inodes have.
#[derive(Default)]
struct Rare {
    /// How long what is written to it is expected to live (F_SET_RW_HINT).
    write_hint: AtomicU32,
    /// What other parts of the kernel hang on a file: a FIFO's pipe, a socket's address.
    attachment: Mutex<Option<Arc<dyn Any + Send + Sync>>, sync::levels::Leaf>,
    /// flock(2) and fcntl(2) locks.
    locks: super::lock::FileLocks,
    /// Who watches it, made when the first comes.
    watches: OnceLock<Box<Watches>>,
    /// Marks of fanotify(7), likewise.
    marks: OnceLock<Box<Marks>>,
    /// Of a directory: requests for signals, likewise.
    requests: OnceLock<Box<Requests>>,
}

impl Inode {
    /// An inode with these attributes; `attr.mode` says the type.
    pub fn new(sb: &Arc<SuperBlock>, attr: &Attr, ops: Box<dyn InodeOps>) -> Arc<Inode> {
        let more = OnceBox::new();
        let kind = FileType::from_mode(attr.mode).unwrap_or(FileType::Regular);
        if attr.rdev != 0 && matches!(kind, FileType::CharDevice | FileType::BlockDevice) {
            // A new one is empty.
            let _ =
                more.set(Box::new(More { changes_or_rdev: AtomicU64::new(attr.rdev), ..More::default() }));
        }
        Arc::new(Inode {
            sb: Arc::clone(sb),
            ino: attr.ino,
            kind,
            mode_and_uid: AtomicU64::new(pack(attr.mode, attr.uid)),
            gid: AtomicU32::new(attr.gid),
            linkable: AtomicBool::new(false),
            no_acls: AtomicU8::new(0),
            lock: SleepMutex::new(()),
            more,
            ops,
        })
    }

    /// What the file system does.
    pub fn ops(&self) -> &dyn InodeOps {
        &*self.ops
    }

    /// The operations as those of one file system, if they are that.
    pub fn downcast<T: InodeOps>(&self) -> Option<&T> {
        let ops: &dyn Any = &*self.ops;
        ops.downcast_ref()
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.kind == FileType::Symlink
    }

    /// Whether it is a regular file.
    pub fn is_regular(&self) -> bool {
        self.kind == FileType::Regular
    }

    /// Device number of a device node; 0 of another.
    pub fn rdev(&self) -> u64 {
        match self.kind {
            FileType::CharDevice | FileType::BlockDevice => self.changes_or_rdev(),
            _ => 0,
        }
    }

    fn changes_or_rdev(&self) -> u64 {
        self.more.get().map_or(0, |more| more.changes_or_rdev.load(Ordering::Acquire))
    }

    /// Mode, owner and group as last told by [`set_owner`](Self::set_owner).
    pub fn owner(&self) -> (u32, u32, u32) {
        let packed = self.mode_and_uid.load(Ordering::Relaxed);
        ((packed >> 32) as u32, packed as u32, self.gid.load(Ordering::Relaxed))
    }

    /// A file system says that mode, owner or group are now these. To be called on every change, also when a remote
    /// file system finds that somebody else has made it.
    pub fn set_owner(&self, mode: u32, uid: u32, gid: u32) {
        self.mode_and_uid.store(pack(mode, uid), Ordering::Relaxed);
        self.gid.store(gid, Ordering::Relaxed);
    }

    /// Whether it can have this access control list at all; false only where that is known.
    pub fn may_have_acl(&self, kind: AclKind) -> bool {
        self.no_acls.load(Ordering::Acquire) & kind.bit() == 0
    }

    /// This access control list, if there is one.
    pub fn acl(&self, kind: AclKind) -> Result<Option<Arc<Acl>>> {
        if self.is_symlink() || !self.may_have_acl(kind) {
            return Ok(None);
        }
        match self.ops.get_acl(self, kind) {
            Err(Errno::EOPNOTSUPP) => Ok(None),
            acl => acl,
        }
    }

    /// A file system says that there is no such list, and that it would tell of one that comes by
    /// [`acl_comes`](Self::acl_comes).
    pub fn has_no_acl(&self, kind: AclKind) {
        let more = |known: u8| (known & ACL_WAS_SET == 0).then_some(known | kind.bit());
        // It stays as it is where somebody sets one meanwhile.
        let _ = self.no_acls.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }

    /// A list is about to be set: from now on nobody relies on having seen none.
    pub fn acl_comes(&self) {
        self.no_acls.store(ACL_WAS_SET, Ordering::Release);
    }

    /// The attributes.
    pub fn attr(&self) -> Result<Attr> {
        self.ops.attr(self)
    }

    /// Held while a directory's entries change, and while a regular file is written (so that writes are whole and
    /// appends find the end). Linux's `i_rwsem`.
    pub fn lock(&self) -> SleepMutexGuard<'_, ()> {
        self.lock.lock()
    }

    /// How often entries of this directory have changed. Cached entries are of one such state.
    pub fn changes(&self) -> u64 {
        self.changes_or_rdev()
    }

    /// Entries of this directory have changed: cached ones are looked up again. The VFS calls it for its own changes;
    /// a file system for those made behind its back (a device that comes, a layer that an overlay writes to).
    pub fn entries_changed(&self) -> u64 {
        self.more().changes_or_rdev.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// It has no name and may get one.
    pub(super) fn set_linkable(&self, linkable: bool) {
        self.linkable.store(linkable, Ordering::Release);
    }

    /// See [`set_linkable`](Self::set_linkable).
    pub(super) fn is_linkable(&self) -> bool {
        self.linkable.load(Ordering::Acquire)
    }

    /// Counts one more opening for writing; ETXTBSY while the file is being executed.
    pub fn get_write(&self) -> Result<()> {
        let more = |n: i32| if n < 0 { None } else { n.checked_add(1) };
        self.more()
            .writers
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, more)
            .map_err(|_| Errno::ETXTBSY)?;
        Ok(())
    }

    /// Takes [`get_write`](Self::get_write) back.
    pub fn put_write(&self) {
        self.more().writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// How many descriptions are open for writing.
    pub fn writers(&self) -> u32 {
        self.more.get().map_or(0, |more| more.writers.load(Ordering::Acquire).max(0) as u32)
    }

    /// How many descriptions are open for reading only.
    pub fn readers(&self) -> u32 {
        self.more.get().map_or(0, |more| more.readers.load(Ordering::Acquire))
    }

    pub(super) fn reader_comes(&self) {
        self.more().readers.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn reader_goes(&self) {
        self.more().readers.fetch_sub(1, Ordering::AcqRel);
    }

    /// How long what is written is expected to live: an `RWH_WRITE_LIFE_*`.
    pub fn write_hint(&self) -> u32 {
        self.rare_if_any().map_or(0, |rare| rare.write_hint.load(Ordering::Relaxed))
    }

    /// Sets [`write_hint`](Self::write_hint).
    pub fn set_write_hint(&self, hint: u32) {
        self.rare().write_hint.store(hint, Ordering::Relaxed);
    }

    /// The file is about to be executed: nobody may open it for writing; ETXTBSY when somebody has.
    pub fn deny_write(&self) -> Result<()> {
        let less = |n: i32| if n > 0 { None } else { n.checked_sub(1) };
        self.more()
            .writers
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, less)
            .map_err(|_| Errno::ETXTBSY)?;
        Ok(())
    }

    /// Takes [`deny_write`](Self::deny_write) back.
    pub fn allow_write(&self) {
        self.more().writers.fetch_add(1, Ordering::AcqRel);
    }

    fn more(&self) -> &More {
        self.more.get_or_init(Box::default)
    }

    fn rare(&self) -> &Rare {
        self.more().rare.get_or_init(Box::default)
    }

    fn rare_if_any(&self) -> Option<&Rare> {
        self.more.get()?.rare.get()
    }

    /// What hangs on the file, if it is a `T`.
    pub fn attachment<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.rare_if_any()?.attachment.lock().clone()?.downcast().ok()
    }

    /// What hangs on the file; `make` provides it when nothing (or something else) does. `make` takes no lock.
    pub fn attach_with<T: Any + Send + Sync>(&self, make: impl FnOnce() -> Arc<T>) -> Arc<T> {
        let mut slot = self.rare().attachment.lock();
        if let Some(there) = slot.clone().and_then(|there| there.downcast().ok()) {
            return there;
        }
        let made = make();
        let replaced = slot.replace(Arc::clone(&made) as Arc<dyn Any + Send + Sync>);
        drop(slot);
        drop(replaced);
        made
    }

    /// Takes off what hangs on the file.
    pub fn detach(&self) {
        let taken = self.rare_if_any().and_then(|rare| rare.attachment.lock().take());
        drop(taken);
    }

    /// Who watches it; made on first use.
    pub(super) fn watches(&self) -> &Watches {
        self.rare().watches.get_or_init(Box::default)
    }

    /// Who watches it, if ever somebody did.
    pub(super) fn watches_if_any(&self) -> Option<&Watches> {
        self.rare_if_any()?.watches.get().map(|watches| &**watches)
    }

    /// Its marks of fanotify(7); made on first use.
    pub(super) fn marks(&self) -> &Marks {
        self.rare().marks.get_or_init(Box::default)
    }

    /// Its marks of fanotify(7), if ever there were any.
    pub(super) fn marks_if_any(&self) -> Option<&Marks> {
        self.rare_if_any()?.marks.get().map(|marks| &**marks)
    }

    /// Requests for signals (F_NOTIFY); made on first use.
    pub(super) fn requests(&self) -> &Requests {
        self.rare().requests.get_or_init(Box::default)
    }

    /// Requests for signals, if ever there were any.
    pub(super) fn requests_if_any(&self) -> Option<&Requests> {
        self.rare_if_any()?.requests.get().map(|requests| &**requests)
    }

    /// Whether somebody watches it who has to be told that its last name has gone, now that nobody uses that.
    pub(super) fn is_watched_and_gone(&self) -> bool {
        super::notify::cares_for_the_end_of(self)
            && self.ops.attr(self).is_ok_and(|attr| attr.nlink == 0 || self.is_dir())
    }

    /// File locks; made on first use.
    pub fn locks(&self) -> &super::lock::FileLocks {
        &self.rare().locks
    }

    /// File locks, if there ever was one.
    pub fn locks_if_any(&self) -> Option<&super::lock::FileLocks> {
        self.rare_if_any().map(|rare| &rare.locks)
    }
}

fn pack(mode: u32, uid: u32) -> u64 {
    u64::from(mode) << 32 | u64::from(uid)
}

impl fmt::Debug for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {:?}", self.sb.kind(), self.ino, self.kind)
    }
}

/// What following a symbolic link leads to.
pub enum Link {
    /// A text to walk on with.
    Text(Arc<[u8]>),
    /// A place: the magic links of /proc (`exe`, `cwd`, `root`, `fd/N`, `ns/*`).
    Place(Path),
}

/// Answer of [`InodeOps::lookup_run`].
#[derive(Default)]
pub struct LookupRun {
    /// What was found for the first names, in their order.
    pub found: SmallVec<[Arc<Inode>; 8]>,
    /// The name after those is not there. (Otherwise the run ended before something that is no directory, or early.)
    pub missing: bool,
}

/// Answer of [`InodeOps::peek`].
pub enum Peeked {
    /// These are its attributes.
    There(Attr),
    /// It is not there.
    Missing,
    /// To be looked up.
    Unknown,
}

/// One side of a rename.
#[derive(Clone, Copy)]
pub struct RenameEnd<'a> {
    /// The directory.
    pub dir: &'a Arc<Inode>,
    /// The name in it.
    pub name: &'a [u8],
    /// What has that name now. Always there for the source.
    pub inode: Option<&'a Arc<Inode>>,
}

/// Answer of [`InodeOps::create_and_open`].
pub struct Created {
    /// The new file.
    pub inode: Arc<Inode>,
    /// Its open file, when the file system opened it in the same go.
    pub opened: Option<Box<dyn FileOps>>,
}

/// What a file system does with an inode. `inode` or `dir` is always the inode whose operations are called. Permission
/// has been checked, types and names too (no `.`, no `..`, no slash, not empty), and a mount that is read-only does
/// not get here. Names longer than the file system can store answer ENAMETOOLONG.
pub trait InodeOps: Send + Sync + Any {
    /// The attributes now. A file system that is changed from outside asks there.
    fn attr(&self, inode: &Inode) -> Result<Attr>;

    /// Changes attributes; must also call [`Inode::set_owner`].
    fn set_attr(&self, _inode: &Arc<Inode>, _change: &SetAttr) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Whether `caller` may do what it `want`s; the classic mode bits where a file system has no own rule.
    fn permission(&self, inode: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        generic_permission(inode, caller.creds, want)
    }

    /// Whether a socket's node leads to a socket of the host, if no socket of the sandbox has it.
    fn leads_to_host(&self, _inode: &Arc<Inode>) -> bool {
        false
    }

    /// Connects to the socket of the host that this node leads to. EAGAIN: its queue is full for now.
    fn connect_socket(&self, _inode: &Arc<Inode>, _kind: SocketKind) -> Result<HostSocket> {
        Err(Errno::ECONNREFUSED)
    }

    /// Makes a socket of the host at `name`, where the file system does that; `None`: a node will do.
    fn bind_socket(
        &self,
        _dir: &Arc<Inode>,
        _name: &[u8],
        _node: &NewNode<'_>,
        _kind: SocketKind,
    ) -> Result<Option<(Arc<Inode>, HostSocket)>> {
        Ok(None)
    }

    /// access(2) and chdir(2) ask for more than [`permission`](Self::permission): a file system may have somebody else
    /// decide.
    fn access(&self, _inode: &Inode, _caller: &Caller<'_>, _want: Want) -> Result<()> {
        Ok(())
    }

    /// Finds `name`; `Ok(None)` when there is nothing, which may be cached as [`SuperBlock`]'s policy says.
    fn lookup(&self, _dir: &Arc<Inode>, _name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        Err(Errno::ENOTDIR)
    }

    /// Finds several names, each in the one before: `names[0]` in `dir`, `names[1]` in that, and so on up to the
    /// first that is no directory, is missing, or is forbidden to the file system itself. An error is for the first
    /// name only; later trouble just ends the run. One request of a remote file system does it all. The VFS checks
    /// permissions as it walks over what came back.
    fn lookup_run(&self, dir: &Arc<Inode>, names: &[&[u8]], caller: &Caller<'_>) -> Result<LookupRun> {
        let mut run = LookupRun::default();
        if let Some(name) = names.first() {
            match self.lookup(dir, name, caller)? {
                Some(inode) => run.found.push(inode),
                None => run.missing = true,
            }
        }
        Ok(run)
    }

    /// The attributes of `name` for who wants nothing else, where they are known without a request and an inode: nobody
    /// has one of the file, by whatever name, that could know better. Never those of a directory.
    fn peek(&self, _dir: &Arc<Inode>, _name: &[u8]) -> Peeked {
        Peeked::Unknown
    }

    /// Makes a node. EEXIST when somebody else was faster.
    fn create(&self, _dir: &Arc<Inode>, _name: &[u8], _node: &NewNode<'_>) -> Result<Arc<Inode>> {
        Err(Errno::EPERM)
    }

    /// Makes a regular file and opens it, for file systems that save a request by that.
    fn create_and_open(
        &self,
        dir: &Arc<Inode>,
        name: &[u8],
        node: &NewNode<'_>,
        _flags: OpenFlags,
        _caller: &Caller<'_>,
    ) -> Result<Created> {
        Ok(Created { inode: self.create(dir, name, node)?, opened: None })
    }

    /// A file without a name in this directory's file system (O_TMPFILE); link may give it one unless `O_EXCL`.
    fn create_unnamed(&self, _dir: &Arc<Inode>, _node: &NewNode<'_>, _linkable: bool) -> Result<Arc<Inode>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// One more name for `target`, which is in the same file system and no directory.
    fn link(&self, _dir: &Arc<Inode>, _name: &[u8], _target: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Takes away the name of something that is no directory.
    fn unlink(&self, _dir: &Arc<Inode>, _name: &[u8], _victim: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Takes away an empty directory; ENOTEMPTY when it is not.
    fn rmdir(&self, _dir: &Arc<Inode>, _name: &[u8], _victim: &Arc<Inode>) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// Moves `from` to `to`, replacing what is there, or exchanges them. Both are in the same file system. Loops,
    /// types of the two, and NOREPLACE have been checked; emptiness of a replaced directory has not.
    fn rename(&self, _from: RenameEnd<'_>, _to: RenameEnd<'_>, _flags: RenameFlags) -> Result<()> {
        Err(Errno::EPERM)
    }

    /// The text of a symbolic link as readlink(2) gives it.
    fn read_link(&self, _inode: &Inode, _caller: &Caller<'_>) -> Result<Arc<[u8]>> {
        Err(Errno::EINVAL)
    }

    /// Where a symbolic link leads.
    fn follow(&self, inode: &Inode, caller: &Caller<'_>) -> Result<Link> {
        Ok(Link::Text(self.read_link(inode, caller)?))
    }

    /// Opens it: regular files, directories, and device nodes for which [`is_special`](Self::is_special) is false.
    /// `O_TRUNC` and `O_APPEND` need nothing here: truncation comes as a `set_attr`, appending is the write's business.
    /// The result must not rely on the path of the [`File`](super::File) it will belong to: an overlay hands files of
    /// its layers out as its own.
    fn open(&self, inode: &Arc<Inode>, flags: OpenFlags, caller: &Caller<'_>) -> Result<Box<dyn FileOps>>;

    /// Opens a FIFO that is not [`special`](Self::is_special), which may have to wait for its other end.
    fn open_fifo(&self, inode: &Arc<Inode>, flags: OpenFlags, caller: &Caller<'_>) -> Result<OpenedOps> {
        self.open(inode, flags, caller).map(OpenedOps::Ready)
    }

    /// FIFOs and device nodes: whether opening goes to the kernel's pipes and drivers (by type and number) instead of
    /// to [`open`](Self::open).
    fn is_special(&self, _inode: &Inode) -> bool {
        true
    }

    /// Whether entries of this directory come and go without [`Inode::entries_changed`] being called, so that each
    /// lookup must ask (one [`lookup_run`](Self::lookup_run) a path; a dentry stays while the answer is the same
    /// inode). Default: what the super block says.
    fn revalidate(&self, inode: &Inode) -> bool {
        inode.sb.revalidate()
    }

    /// Asked before who may change attributes: whether anybody can.
    fn attributes_change(&self) -> Result<()> {
        Ok(())
    }

    /// Whether it can have POSIX access control lists: then [`get_acl`](Self::get_acl) and [`set_acl`](Self::set_acl)
    /// serve their attributes.
    fn keeps_acls(&self) -> bool {
        false
    }

    /// Whether the attributes of access control lists are like any other: somebody else makes of them what he likes.
    fn acls_are_attributes(&self) -> bool {
        false
    }

    /// An access control list; EOPNOTSUPP where there can be none.
    fn get_acl(&self, _inode: &Inode, _kind: AclKind) -> Result<Option<Arc<Acl>>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Sets an access control list, and the mode as [`mode_of_change`](super::acl::mode_of_change) says.
    fn set_acl(&self, _inode: &Arc<Inode>, _change: &AclChange) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Value of an extended attribute; ENODATA when there is none of that name. Not asked for access control lists where
    /// it [`keeps_acls`](Self::keeps_acls).
    fn get_xattr(&self, _inode: &Inode, _name: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Sets an extended attribute. `mode` says whether it must or must not exist (EEXIST, ENODATA).
    fn set_xattr(&self, _inode: &Arc<Inode>, _name: &[u8], _value: &[u8], _mode: XattrSet) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Takes an extended attribute away.
    fn remove_xattr(&self, _inode: &Arc<Inode>, _name: &[u8]) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Names of all extended attributes.
    fn list_xattr(&self, _inode: &Inode) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    /// The last open file, name and cache entry are gone. No lock is held.
    fn evict(&self, _inode: &Inode) {}
}

impl Drop for Inode {
    fn drop(&mut self) {
        self.ops.evict(self);
    }
}

/// What setxattr(2) wants to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrSet {
    /// Whatever.
    Any,
    /// XATTR_CREATE: it must be new.
    Create,
    /// XATTR_REPLACE: it must be there.
    Replace,
}
