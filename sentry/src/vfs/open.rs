//! open(2), openat(2), openat2(2): from a path to an open file description.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::open::{O_ACCMODE, OpenFlags, ResolveFlags};
use abi::stat::S_IALLUGO;

use super::attr::{FileType, NewKind, SetAttr};
use super::caller::Caller;
use super::dentry::Dentry;
use super::file::{AccessMode, Blocking, Claim, File, FileOps};
use super::mount::MountFlags;
use super::notify::{Entry, Events, ask_to_open, notify, notify_entry, notify_path};
use super::path::Path;
use super::permission::Want;
use super::registry::{OpenedOps, PendingOpen};
use super::resolve::{Entered, Last, LookupFlags, Walk};
use crate::Result;
use crate::task::Credentials;
use crate::wait::WaitQueue;

/// How to open. Made from what the guest gives by [`How::new`].
#[derive(Clone, Copy, Debug)]
pub struct How {
    flags: OpenFlags,
    mode: u32,
    resolve: ResolveFlags,
    want: Option<Want>,
}

/// All flags that open(2) knows, the access mode apart. Others it ignores.
const KNOWN: OpenFlags = OpenFlags::all();

/// What `O_PATH` leaves of the other flags.
const WITH_PATH: OpenFlags =
    OpenFlags::PATH.union(OpenFlags::DIRECTORY).union(OpenFlags::NOFOLLOW).union(OpenFlags::CLOEXEC);

impl How {
    /// From the arguments of open(2), which ignores what it does not know and what does not go together.
    pub fn open(flags: u32, mode: u32) -> Result<How> {
        let mut flags = OpenFlags::from_bits_truncate(flags);
        if flags.contains(OpenFlags::PATH) {
            flags &= WITH_PATH;
        }
        let mode = if creates(flags) { mode & S_IALLUGO } else { 0 };
        Self::new(flags, mode, ResolveFlags::empty())
    }

    /// From the arguments of openat2(2), which refuses them.
    pub fn openat2(flags: u64, mode: u64, resolve: u64) -> Result<How> {
        let known = u64::from(KNOWN.bits() | O_ACCMODE);
        let resolve = ResolveFlags::from_bits(resolve).ok_or(Errno::EINVAL)?;
        if flags & !known != 0 || resolve.contains(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
            return Err(Errno::EINVAL);
        }
        let flags = OpenFlags::from_bits_retain(flags as u32);
        if mode & !u64::from(S_IALLUGO) != 0 || (mode != 0 && !creates(flags)) {
            return Err(Errno::EINVAL);
        }
        if flags.contains(OpenFlags::PATH) && !WITH_PATH.contains(flags) {
            return Err(Errno::EINVAL);
        }
        Self::new(flags, mode as u32, resolve)
    }

    fn new(mut flags: OpenFlags, mode: u32, resolve: ResolveFlags) -> Result<How> {
        if flags.contains(OpenFlags::CREAT) && flags.contains(OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        let access = AccessMode::from_flags(flags);
        if is_unnamed(flags) && (!flags.contains(OpenFlags::DIRECTORY) || !may_write(flags)) {
            return Err(Errno::EINVAL);
        }
        if resolve.contains(ResolveFlags::CACHED)
            && (flags.intersects(OpenFlags::CREAT | OpenFlags::TRUNC) || is_unnamed(flags))
        {
            return Err(Errno::EAGAIN);
        }
        if flags.contains(OpenFlags::SYNC) {
            flags |= OpenFlags::DSYNC;
        }
        // Access mode 3 asks for both permissions and grants neither.
        let any = flags.bits() & O_ACCMODE == O_ACCMODE;
        let mut want = Want::empty();
        want.set(Want::READ, access.read || any);
        want.set(Want::WRITE, access.write || any || flags.contains(OpenFlags::TRUNC));
        let want = if flags.contains(OpenFlags::PATH) { None } else { Some(want) };
        Ok(How { flags, mode, resolve, want })
    }

    /// Whether the starting place is the root of everything (RESOLVE_IN_ROOT).
    pub fn is_in_root(&self) -> bool {
        self.resolve.contains(ResolveFlags::IN_ROOT)
    }

    /// What the open is to be allowed to do; `None` with `O_PATH`.
    pub fn want(&self) -> Option<Want> {
        self.want
    }

    /// The flags.
    pub fn flags(&self) -> OpenFlags {
        self.flags
    }
}

fn is_unnamed(flags: OpenFlags) -> bool {
    flags.bits() & abi::open::O_TMPFILE_BIT != 0
}

fn creates(flags: OpenFlags) -> bool {
    flags.contains(OpenFlags::CREAT) || is_unnamed(flags)
}

fn may_write(flags: OpenFlags) -> bool {
    flags.bits() & O_ACCMODE != 0
}

/// What an open has come to.
pub enum Opening {
    /// A file.
    Done(Arc<File>),
    /// It has to wait.
    Waiting(WaitingOpen),
    /// A lease is in the way: it is to be broken, and the whole open to be done again.
    Leased(Arc<super::Inode>),
}

impl Opening {
    /// The file; EAGAIN when it would have to be waited for.
    pub fn now(self) -> Result<Arc<File>> {
        match self {
            Opening::Done(file) => Ok(file),
            Opening::Waiting(_) | Opening::Leased(_) => Err(Errno::EAGAIN),
        }
    }
}

/// An open that waits for the other end of a FIFO or the like.
pub struct WaitingOpen {
    pending: Box<dyn PendingOpen>,
    place: Path,
    flags: OpenFlags,
    opener: Arc<Credentials>,
}

impl WaitingOpen {
    /// Where to wait; `None` once it is ready.
    pub fn wait_queue(&self) -> Option<&WaitQueue> {
        self.pending.wait_queue()
    }

    /// The file, or an error, once it is ready. Given once.
    pub fn ready(&mut self) -> Option<Result<Arc<File>>> {
        let opened = self.pending.ready()?;
        let file = |ops| File::new(ops, self.place.clone(), self.flags, Arc::clone(&self.opener));
        let file = opened.map(file);
        Some(file.and_then(|file| file.check_direct().map(|()| file)))
    }
}

/// What an `O_PATH` file does: nothing.
struct PathOnly;

impl FileOps for PathOnly {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl File {
    /// An `O_PATH` file of a place.
    pub fn of_path(place: Path, opener: Arc<Credentials>) -> Arc<File> {
        File::new(Box::new(PathOnly), place, OpenFlags::PATH, opener)
    }
}

impl Caller<'_> {
    /// Opens `path`, seen from `at`.
    pub fn open(&self, at: &Path, path: &[u8], how: &How) -> Result<Opening> {
        self.open_lookup(at, path, how, LookupFlags::empty())
    }

    /// As [`open`](Self::open); with [`LookupFlags::EMPTY`] an empty path opens `at` itself (execveat(2)).
    pub fn open_lookup(&self, at: &Path, path: &[u8], how: &How, extra: LookupFlags) -> Result<Opening> {
        let mut lookup = extra;
        let exclusive = how.flags.contains(OpenFlags::CREAT | OpenFlags::EXCL);
        lookup.set(LookupFlags::FOLLOW, !how.flags.contains(OpenFlags::NOFOLLOW) && !exclusive);
        lookup.set(LookupFlags::DIRECTORY, how.flags.contains(OpenFlags::DIRECTORY));
        if how.flags.contains(OpenFlags::CREAT) && !is_unnamed(how.flags) {
            return self.open_or_create(at, path, how, lookup);
        }
        let place = Walk::new(self, at, path, lookup, how.resolve)?.to_end()?;
        if is_unnamed(how.flags) {
            return self.open_unnamed(&place, how);
        }
        let Some(want) = how.want else {
            return Ok(Opening::Done(File::new(
                Box::new(PathOnly),
                place,
                how.flags,
                Arc::clone(self.creds),
            )));
        };
        self.open_place(place, how.flags, want)
    }

    fn open_or_create(&self, at: &Path, path: &[u8], how: &How, lookup: LookupFlags) -> Result<Opening> {
        let mut walk = Walk::new(self, at, path, lookup, how.resolve)?;
        loop {
            let parent = walk.go_to_parent()?;
            let Last::Name(name) = &parent.last else {
                walk.step_dots(&parent.last)?;
                // The end is a directory in any case.
                return Err(if how.flags.contains(OpenFlags::EXCL) { Errno::EEXIST } else { Errno::EISDIR });
            };
            if parent.trailing_slash {
                return Err(Errno::EISDIR);
            }
            let dir = &parent.dir;
            let dentry = match dir.dentry.lookup(name.as_bytes(), self)? {
                Some(dentry) => dentry,
                None => match self.create_to_open(dir, name.as_bytes(), how)? {
                    Opened::New(opening) => return Ok(opening),
                    Opened::There(dentry) => dentry,
                },
            };
            match walk.enter_last(dentry, lookup)? {
                Entered::Link => {}
                Entered::There(_) if how.flags.contains(OpenFlags::EXCL) => return Err(Errno::EEXIST),
                Entered::There(place) if place.inode().is_dir() => return Err(Errno::EISDIR),
                Entered::There(place) => {
                    return self.open_place(place, how.flags, how.want.unwrap_or(Want::empty()));
                }
            }
        }
    }

    /// Makes `name` in `dir` and opens it, unless somebody else has just made it.
    fn create_to_open(&self, dir: &Path, name: &[u8], how: &How) -> Result<Opened> {
        let dir_inode = dir.inode();
        let lock = dir_inode.lock();
        if let Some(there) = dir.dentry.lookup_locked(name, self, &lock)? {
            return Ok(Opened::There(there));
        }
        if dir.mount.is_read_only() {
            return Err(Errno::EROFS);
        }
        self.may_create_in(dir)?;
        let node = self.new_node(dir_inode, NewKind::Regular, how.mode);
        let created = match dir_inode.ops().create_and_open(dir_inode, name, &node, how.flags, self) {
            // Made from outside between the lookup and now.
            Err(Errno::EEXIST) => {
                dir_inode.entries_changed();
                let there = dir.dentry.lookup_locked(name, self, &lock)?.ok_or(Errno::ENOENT)?;
                return Ok(Opened::There(there));
            }
            created => created?,
        };
        let dentry = dir.dentry.added(name, Arc::clone(&created.inode));
        drop(lock);
        notify_entry(Entry { dir: &dir.dentry, name }, &created.inode, Events::CREATE);
        let place = Path::new(Arc::clone(&dir.mount), dentry);
        ask_to_open(&place, false)?;
        notify_path(&place, Events::OPEN);
        let writer = may_write(how.flags);
        if writer {
            created.inode.get_write()?;
        }
        let ops = match created.opened {
            Some(ops) => Ok(OpenedOps::Ready(ops)),
            None => self.vfs.open_place(&place, how.flags, self),
        };
        let opening = self.file(ops, place, how.flags, writer)?;
        if let Opening::Done(file) = &opening {
            file.set_created();
        }
        Ok(Opened::New(opening))
    }

    fn open_unnamed(&self, dir: &Path, how: &How) -> Result<Opening> {
        if dir.mount.is_read_only() {
            return Err(Errno::EROFS);
        }
        let dir_inode = dir.inode();
        dir_inode.permission(self, Want::WRITE | Want::EXEC)?;
        let node = self.new_node(dir_inode, NewKind::Regular, how.mode);
        let linkable = !how.flags.contains(OpenFlags::EXCL);
        let inode = dir_inode.ops().create_unnamed(dir_inode, &node, linkable)?;
        inode.set_linkable(linkable);
        let name = format!("#{}", inode.ino);
        let dentry = Dentry::new_unnamed(Arc::clone(&inode), Some(Arc::clone(&dir.dentry)), name.as_bytes());
        let place = Path::new(Arc::clone(&dir.mount), dentry);
        inode.get_write()?;
        let ops = self.vfs.open_place(&place, how.flags, self);
        self.file(ops, place, how.flags, true)
    }

    /// Opens what is at `place`: everything that open(2) does once the name is resolved.
    pub fn open_place(&self, place: Path, flags: OpenFlags, want: Want) -> Result<Opening> {
        place.mount.used();
        let inode = Arc::clone(place.inode());
        let mut truncate = flags.contains(OpenFlags::TRUNC) && inode.is_regular();
        let mount_flags = place.mount.flags();
        if truncate && place.mount.is_read_only() {
            return Err(Errno::EROFS);
        }
        match inode.kind {
            FileType::Symlink => return Err(Errno::ELOOP),
            FileType::Directory if want.contains(Want::WRITE) => return Err(Errno::EISDIR),
            FileType::CharDevice | FileType::BlockDevice if mount_flags.contains(MountFlags::NODEV) => {
                return Err(Errno::EACCES);
            }
            FileType::Regular if want.contains(Want::EXEC) && mount_flags.contains(MountFlags::NOEXEC) => {
                return Err(Errno::EACCES);
            }
            FileType::Regular => {}
            _ if want.contains(Want::EXEC) => return Err(Errno::EACCES),
            _ => {}
        }
        let asked = if want.contains(Want::EXEC) { Want::EXEC } else { want };
        inode.permission(self, asked)?;
        if flags.contains(OpenFlags::NOATIME) && !inode.owner_or_capable(self.creds) {
            return Err(Errno::EPERM);
        }
        ask_to_open(&place, false)?;
        let changes = may_write(flags) || truncate;
        if inode.is_regular() && inode.locks_if_any().is_some_and(|locks| locks.has_lease_against(changes)) {
            return Ok(Opening::Leased(inode));
        }
        let special = !inode.is_regular() && !inode.is_dir();
        let writer = may_write(flags) && !special;
        if writer {
            if place.mount.is_read_only() {
                return Err(Errno::EROFS);
            }
            inode.get_write()?;
        }
        let mut ops = self.vfs.open_place(&place, flags, self);
        if ops.is_err() {
            truncate = false;
        }
        if matches!(ops, Ok(OpenedOps::Ready(_))) {
            notify_path(&place, Events::OPEN);
        }
        if truncate {
            match self.truncate_opened(&inode, writer) {
                Ok(()) => notify(&place.dentry, Events::MODIFY),
                Err(errno) => ops = Err(errno),
            }
        }
        self.file(ops, place, flags, writer)
    }

    /// O_TRUNC of a file that is there.
    fn truncate_opened(&self, inode: &Arc<super::Inode>, writer: bool) -> Result<()> {
        if !writer {
            inode.get_write()?;
        }
        let mut change = SetAttr { size: Some(0), ..SetAttr::default() };
        change.mtime = Some(change.ctime);
        self.drop_set_id(inode, &mut change);
        let done = inode.ops().set_attr(inode, &change);
        if !writer {
            inode.put_write();
        }
        done
    }

    fn file(&self, ops: Result<OpenedOps>, place: Path, flags: OpenFlags, writer: bool) -> Result<Opening> {
        match ops {
            Ok(OpenedOps::Ready(ops)) => {
                let claim = if writer { Claim::Write } else { Claim::None };
                let file = File::with_claim(ops, place, flags, Arc::clone(self.creds), claim);
                file.check_direct()?;
                Ok(Opening::Done(file))
            }
            Ok(OpenedOps::Waiting(pending)) => {
                Ok(Opening::Waiting(WaitingOpen { pending, place, flags, opener: Arc::clone(self.creds) }))
            }
            Err(errno) => {
                if writer {
                    place.inode().put_write();
                }
                Err(errno)
            }
        }
    }
}

enum Opened {
    New(Opening),
    There(Arc<Dentry>),
}
