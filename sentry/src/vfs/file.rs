//! Open file descriptions.
//!
//! [`File`] is what open(2) makes and dup(2) shares: status flags, position, the place in the tree. What it does is
//! its [`FileOps`]: pipes, sockets, regular files, directories, devices, epoll sets.
//!
//! **Operations never wait.** One that can't go on answers EAGAIN; the generic layer (`task::io`) waits on the
//! file's [`WaitQueue`] and tries again, unless the file is `O_NONBLOCK`. So waiting, signals, restarts and
//! checkpoint have one place, and no file holds a task.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use abi::Errno;
use abi::open::OpenFlags;
use abi::poll::PollEvents;
use sync::{Mutex, SleepMutex, SleepMutexGuard};

use super::attr::FileType;
use super::io::{IoSink, IoSource};
use super::mount::MountFlags;
use super::notify::{Events, notify, notify_file};
use crate::SysResult;
use crate::mm::Mappable;
use crate::task::{Credentials, CurrentTask, Pid};
use crate::wait::{WaitKey, WaitQueue, Wake};

/// Flags that only concern open(2) itself.
const CREATION: OpenFlags =
    OpenFlags::CREAT.union(OpenFlags::EXCL).union(OpenFlags::NOCTTY).union(OpenFlags::TRUNC);

/// Flags that F_SETFL changes.
const SETTABLE: OpenFlags = OpenFlags::APPEND
    .union(OpenFlags::ASYNC)
    .union(OpenFlags::DIRECT)
    .union(OpenFlags::NOATIME)
    .union(OpenFlags::NONBLOCK);

/// What a description may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessMode {
    /// read(2) and friends.
    pub read: bool,
    /// write(2) and friends.
    pub write: bool,
}

impl AccessMode {
    /// From `O_ACCMODE` bits; 3 (ioctl only) is neither.
    pub fn from_flags(flags: OpenFlags) -> Self {
        match flags.bits() & 3 {
            0 => AccessMode { read: true, write: false },
            1 => AccessMode { read: false, write: true },
            2 => AccessMode { read: true, write: true },
            _ => AccessMode { read: false, write: false },
        }
    }
}

/// Where lseek(2) counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekFrom {
    /// SEEK_SET
    Start(i64),
    /// SEEK_CUR
    Current(i64),
    /// SEEK_END
    End(i64),
    /// SEEK_DATA
    Data(i64),
    /// SEEK_HOLE
    Hole(i64),
}

impl SeekFrom {
    /// The new position in a file without an end to count from (a listing, a text that is made as it is read):
    /// EINVAL for anything but SEEK_SET and SEEK_CUR, and for a place before the beginning.
    pub fn without_end(self, current: u64) -> Result<u64, Errno> {
        let at = match self {
            SeekFrom::Start(offset) => offset,
            SeekFrom::Current(by) => (current as i64).checked_add(by).ok_or(Errno::EOVERFLOW)?,
            _ => return Err(Errno::EINVAL),
        };
        u64::try_from(at).map_err(|_| Errno::EINVAL)
    }
}

/// Offset of a write that goes to the end of the file (RWF_APPEND); real offsets are below 2⁶³.
pub const AT_END: u64 = u64::MAX;

/// How the generic layer treats EAGAIN and short counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// Regular files and directories: never waits.
    Never,
    /// Byte streams: read returns what there is, write goes on until everything is written.
    Stream,
    /// One operation is one message or record: a success is the end of it.
    Record,
}

/// Takes one directory entry: name, inode number, position of the next, `DT_` type; false when it has no more room.
pub type EmitEntry<'a> = dyn FnMut(&[u8], u64, u64, u8) -> bool + 'a;

/// What an open file does. No method waits; see the module. `file` is the description it is called through.
pub trait FileOps: Send + Sync + Any {
    /// How waiting works for this kind.
    fn blocking(&self) -> Blocking;

    /// Whether the file has a position: pread works, lseek moves it. Streams answer ESPIPE to both.
    fn seekable(&self) -> bool {
        false
    }

    /// Called once, after an open without O_NOCTTY: a terminal may become the controlling one of the task's session.
    fn opened(&self, _task: &CurrentTask) {}

    /// Called by the generic layer before each attempt to read or write: job control of terminals.
    fn before_io(&self, _file: &File, _task: &CurrentTask, _writes: bool) -> SysResult<()> {
        Ok(())
    }

    /// Whether it may be opened with `O_DIRECT`: it reads and writes bytes of a file system, which says where
    /// they may lie.
    fn direct(&self) -> bool {
        false
    }

    /// Whether RWF_DONTCACHE is for it: a file of a disk, of which the host keeps pages as it sees fit.
    fn dont_cache(&self) -> bool {
        false
    }

    /// Whether this kind of file can be read at all. Where not, EINVAL wins over what is wrong with the buffers.
    fn has_read(&self) -> bool {
        true
    }

    /// Whether it can be written at all; likewise.
    fn has_write(&self) -> bool {
        true
    }

    /// Reads at `offset` (ignored by streams). Zero is the end of the file.
    fn read(&self, _file: &File, _dst: &mut dyn IoSink, _offset: u64) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// Writes at `offset`. Where [`File::appends`] says so, regular files write at their end; they store in `offset`
    /// where that was.
    fn write(&self, _file: &File, _src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// The position, when somebody outside of the sandbox shares it and may have moved it: files inherited from the
    /// host.
    fn shared_position(&self) -> Option<u64> {
        None
    }

    /// New position; only the arithmetic, [`File`] stores it. Called with the position held. SEEK_CUR never comes here
    /// for a [`seekable`](Self::seekable) file: it is made SEEK_SET before.
    fn seek(&self, _file: &File, _current: u64, _to: SeekFrom) -> Result<u64, Errno> {
        Err(Errno::ESPIPE)
    }

    /// What is ready now.
    fn poll(&self, _file: &File) -> PollEvents {
        // Regular files are always ready, and so is whatever does not say otherwise.
        PollEvents::IN | PollEvents::OUT | PollEvents::RDNORM | PollEvents::WRNORM
    }

    /// Where to wait for [`poll`](Self::poll) to change; `None`: it never does (epoll_ctl answers EPERM).
    fn wait_queue(&self) -> Option<&WaitQueue> {
        None
    }

    /// Registers a waiter; for files whose readiness comes from somewhere else than their own queue (signalfd waits
    /// on its reader's signals, an epoll set on its own).
    fn register(&self, _file: &File, interest: PollEvents, waker: Arc<dyn Wake>) -> Option<WaitKey> {
        self.wait_queue().map(|q| q.register(interest, waker))
    }

    /// As [`register`](Self::register), but one event wakes only one of those that are registered so (EPOLLEXCLUSIVE).
    fn register_exclusive(
        &self,
        _file: &File,
        interest: PollEvents,
        waker: Arc<dyn Wake>,
    ) -> Option<WaitKey> {
        self.wait_queue().map(|q| q.register_exclusive(interest, waker))
    }

    /// Whether readiness can change at all: epoll_ctl answers EPERM for files that say no.
    fn pollable(&self) -> bool {
        self.wait_queue().is_some()
    }

    /// Whether `O_ASYNC` works for this kind: terminals, pipes, sockets.
    fn signals_io(&self) -> bool {
        false
    }

    /// Takes [`register`](Self::register) back.
    fn unregister(&self, _file: &File, key: WaitKey) {
        if let Some(queue) = self.wait_queue() {
            queue.unregister(key);
        }
    }

    /// ioctl(2); the generic ones (FIOCLEX, FIONBIO …) are done before. May copy to and from the caller.
    fn ioctl(&self, _file: &File, _task: &mut CurrentTask, _request: u32, _arg: u64) -> SysResult<u64> {
        Err(Errno::ENOTTY.into())
    }

    /// What mmap(2) maps.
    fn mappable(&self, _file: &File) -> Result<Arc<dyn Mappable>, Errno> {
        Err(Errno::ENODEV)
    }

    /// Gives directory entries from position `offset` on to `emit(name, inode, next position, DT_ type)` until that
    /// returns false; answers the new position. `.` and `..` are not its business: they have the positions 0 and 1,
    /// so the first call has `offset` 2, and positions of entries are at least 2. Called with the position held, not
    /// under a levelled lock; `emit` takes none.
    fn read_dir(&self, _file: &File, _offset: u64, _emit: &mut EmitEntry<'_>) -> Result<u64, Errno> {
        Err(Errno::ENOTDIR)
    }

    /// fsync(2), fdatasync(2).
    fn sync(&self, _file: &File, _data_only: bool) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// ftruncate(2): the file is writable and the size is in range.
    fn truncate(&self, _file: &File, _size: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    /// fallocate(2).
    fn allocate(&self, _file: &File, _mode: u32, _offset: u64, _len: u64) -> Result<(), Errno> {
        Err(Errno::EOPNOTSUPP)
    }

    /// fcntl(F_SETFL) is about to store `flags`.
    fn flags_changed(&self, _file: &File, _flags: OpenFlags) -> Result<(), Errno> {
        Ok(())
    }

    /// Each close(2) of a descriptor (not only the last): flush.
    fn flush(&self, _file: &File) -> Result<(), Errno> {
        Ok(())
    }

    /// The last reference is gone.
    fn release(&self, _file: &File) {}

    /// For `downcast` of one kind (sockets, epoll, pipes, ttys).
    fn as_any(&self) -> &dyn Any;

    /// What /proc/PID/fd shows for files without a place in a tree: `pipe:[12]`, `anon_inode:[eventpoll]`.
    fn anonymous_name(&self) -> String {
        "anon_inode:[file]".to_owned()
    }

    /// Extra lines of /proc/PID/fdinfo/N.
    fn fdinfo(&self, _file: &File) -> String {
        String::new()
    }
}

/// How a read shows in the time of access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessTime {
    /// Where it would be older than the last change, or a day old.
    Relative,
    /// Always.
    Strict,
}

/// What an open file holds of its inode until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing.
    None,
    /// [`Inode::get_write`](super::Inode::get_write): nobody may execute it.
    Write,
    /// [`Inode::deny_write`](super::Inode::deny_write): nobody may write it.
    DenyWrite,
}

/// An open file description.
pub struct File {
    /// Unique in the sandbox.
    pub id: u64,
    ops: Box<dyn FileOps>,
    /// The place in the tree: each open file has one (pipes and the like sit in a kernel-internal file system).
    pub path: super::path::Path,
    access: AccessMode,
    counts_as_reader: bool,
    /// The open(2) that made the description made the file too.
    created: AtomicBool,
    /// What is done through it is told nobody.
    silent: bool,
    /// Status flags: those of F_GETFL.
    flags: AtomicU32,
    position: SleepMutex<u64>,
    claim: Claim,
    /// The waker that `O_ASYNC` has registered.
    async_waker: Mutex<Option<WaitKey>, sync::levels::Leaf>,
    /// Credentials of the opener.
    pub opener: Arc<Credentials>,
    /// F_SETOWN, F_SETSIG, leases.
    pub owner: Mutex<FileOwner, sync::levels::Leaf>,
    /// Epoll items.
    pub(super) watchers: super::epoll::Watchers,
}

/// Who gets SIGIO, and which signal it is.
#[derive(Clone, Default)]
pub struct FileOwner {
    /// Whom F_SETOWN has named.
    pub who: Option<(OwnerKind, Arc<Pid>)>,
    /// Real and effective user id of who has named it: on their behalf signals are sent.
    pub by: (u32, u32),
    /// F_SETSIG; 0 is SIGIO without details.
    pub signal: i32,
}

/// What a file's owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// F_OWNER_TID
    Thread,
    /// F_OWNER_PID
    Process,
    /// F_OWNER_PGRP
    Group,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);
/// How many are gone.
static CLOSED: AtomicU64 = AtomicU64::new(0);

/// How many descriptions there are, whoever holds them: descriptors, messages on their way, programs that run
/// (`/proc/sys/fs/file-nr`).
pub fn open_files() -> u64 {
    let closed = CLOSED.load(Ordering::Relaxed);
    (NEXT_ID.load(Ordering::Relaxed) - 1).saturating_sub(closed)
}

impl File {
    /// A new description at position 0. `flags` may hold creation flags; only status flags are kept.
    pub fn new(
        ops: Box<dyn FileOps>,
        path: super::path::Path,
        flags: OpenFlags,
        opener: Arc<Credentials>,
    ) -> Arc<File> {
        Self::with_claim(ops, path, flags, opener, Claim::None)
    }

    /// As [`new`](Self::new); `claim` is what the opener has got of the inode.
    pub(crate) fn with_claim(
        ops: Box<dyn FileOps>,
        path: super::path::Path,
        flags: OpenFlags,
        opener: Arc<Credentials>,
        claim: Claim,
    ) -> Arc<File> {
        Self::make(ops, path, flags, opener, claim, false)
    }

    /// As [`with_claim`](Self::with_claim), to show an event: what is done through it makes no more of them.
    pub(super) fn silent(
        ops: Box<dyn FileOps>,
        path: super::path::Path,
        flags: OpenFlags,
        opener: Arc<Credentials>,
        claim: Claim,
    ) -> Arc<File> {
        Self::make(ops, path, flags, opener, claim, true)
    }

    fn make(
        ops: Box<dyn FileOps>,
        path: super::path::Path,
        flags: OpenFlags,
        opener: Arc<Credentials>,
        claim: Claim,
        silent: bool,
    ) -> Arc<File> {
        if claim == Claim::Write {
            path.mount.writer_comes();
        }
        let access = AccessMode::from_flags(flags);
        let counts_as_reader = access.read
            && claim == Claim::None
            && !flags.contains(OpenFlags::PATH)
            && path.inode().is_regular();
        if counts_as_reader {
            path.inode().reader_comes();
        }
        Arc::new(File {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            ops,
            path,
            access,
            counts_as_reader,
            created: AtomicBool::new(false),
            silent,
            flags: AtomicU32::new((flags - CREATION - OpenFlags::CLOEXEC).bits()),
            position: SleepMutex::new(0),
            claim,
            async_waker: Mutex::new(None),
            opener,
            owner: Mutex::new(FileOwner::default()),
            watchers: super::epoll::Watchers::default(),
        })
    }

    /// The operations.
    pub fn ops(&self) -> &dyn FileOps {
        &*self.ops
    }

    /// Whether what is done through it is told nobody: fanotify(7) has opened it to show an event.
    pub fn is_silent(&self) -> bool {
        self.silent
    }

    /// Whether its open(2) has made the file (F_CREATED_QUERY).
    pub fn has_created(&self) -> bool {
        self.created.load(Ordering::Relaxed)
    }

    pub(super) fn set_created(&self) {
        self.created.store(true, Ordering::Relaxed);
    }

    /// The operations as one kind, if they are that.
    pub fn downcast<T: FileOps>(&self) -> Option<&T> {
        self.ops.as_any().downcast_ref()
    }

    /// What it may be used for. An `O_PATH` file may be used for neither.
    pub fn access(&self) -> AccessMode {
        if self.is_path() { AccessMode { read: false, write: false } } else { self.access }
    }

    /// Status flags.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Opened with `O_PATH`: only a place, EBADF for everything else.
    pub fn is_path(&self) -> bool {
        self.flags().contains(OpenFlags::PATH)
    }

    /// Whether operations answer EAGAIN instead of waiting.
    pub fn nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::NONBLOCK)
    }

    /// Whether a write at `offset` goes to the end of the file instead. The generic layer has made it [`AT_END`] where
    /// `O_APPEND` says so.
    pub fn appends(&self, offset: u64) -> bool {
        offset == AT_END
    }

    /// How reading through it shows in the time of access; `None`: it does not.
    pub fn access_time(&self) -> Option<AccessTime> {
        let mount = self.path.mount.flags();
        let is_dir = self.path.inode().is_dir();
        if self.flags().contains(OpenFlags::NOATIME)
            || mount.contains(MountFlags::NOATIME)
            || (is_dir && mount.contains(MountFlags::NODIRATIME))
            || self.path.mount.is_read_only()
        {
            return None;
        }
        Some(if mount.contains(MountFlags::RELATIME) { AccessTime::Relative } else { AccessTime::Strict })
    }

    /// O_DIRECT is for files that can be read and written without a cache: EINVAL.
    pub(super) fn check_direct(&self) -> Result<(), Errno> {
        let asked = self.flags().contains(OpenFlags::DIRECT) && !self.is_path();
        if asked && !self.ops.direct() { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// F_SETFL: changes what it may change (`O_APPEND`, `O_ASYNC`, `O_DIRECT`, `O_NOATIME`, `O_NONBLOCK`).
    pub fn set_flags(&self, flags: OpenFlags) -> Result<(), Errno> {
        // What is a FIFO takes it for packets.
        let takes_direct = self.path.inode().kind == FileType::Fifo || self.ops.direct();
        if flags.contains(OpenFlags::DIRECT) && !takes_direct {
            return Err(Errno::EINVAL);
        }
        self.ops.flags_changed(self, flags)?;
        let mut settable = SETTABLE.bits();
        if !self.ops.signals_io() {
            settable &= !OpenFlags::ASYNC.bits();
        }
        let old = self.flags.load(Ordering::Relaxed);
        self.flags.store((old & !settable) | (flags.bits() & settable), Ordering::Relaxed);
        Ok(())
    }

    /// Whether `O_ASYNC` has registered a waker.
    pub(crate) fn has_async_waker(&self) -> bool {
        self.async_waker.lock().is_some()
    }

    /// Sets the waker that `O_ASYNC` has registered; takes the old one back.
    pub(crate) fn set_async_waker(&self, key: Option<WaitKey>) {
        let old = std::mem::replace(&mut *self.async_waker.lock(), key);
        if let Some(old) = old {
            self.ops.unregister(self, old);
        }
    }

    /// The position, locked: read(2), write(2) and lseek(2) of one description take turns. Held during the copy.
    pub fn position(&self) -> SleepMutexGuard<'_, u64> {
        let mut position = self.position.lock();
        if let Some(shared) = self.ops.shared_position() {
            *position = shared;
        }
        position
    }

    /// ftruncate(2): as [`FileOps::truncate`], and whoever watches is told.
    pub fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.ops.truncate(self, size)?;
        notify(&self.path.dentry, Events::MODIFY);
        Ok(())
    }

    /// fallocate(2): as [`FileOps::allocate`], and whoever watches is told.
    pub fn allocate(&self, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        self.ops.allocate(self, mode, offset, len)?;
        notify(&self.path.dentry, Events::MODIFY);
        Ok(())
    }

    /// It has been read by getdents64(2).
    pub fn listed(&self) {
        notify_file(self, Events::ACCESS);
    }

    /// What is ready.
    pub fn poll(&self) -> PollEvents {
        self.ops.poll(self)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::mem::take(&mut self.watchers).close(self);
        self.set_async_waker(None);
        // Releasing may close a host fd, wake the other end, or ask the Gofer: never under a lock.
        let ops = std::mem::replace(&mut self.ops, Box::new(Released));
        ops.release(self);
        if !self.is_path() {
            let events = if self.access.write { Events::CLOSE_WRITE } else { Events::CLOSE_NOWRITE };
            notify_file(self, events);
        }
        if self.counts_as_reader {
            self.path.inode().reader_goes();
        }
        match self.claim {
            Claim::None => {}
            Claim::Write => {
                self.path.inode().put_write();
                self.path.mount.writer_goes();
            }
            Claim::DenyWrite => self.path.inode().allow_write(),
        }
        if let Some(locks) = self.path.inode().locks_if_any() {
            locks.release_file(self.id);
        }
        CLOSED.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a file does once it is being dropped.
struct Released;

impl FileOps for Released {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// An open file of an object, for its unit tests.
#[cfg(test)]
pub(crate) fn test_file(ops: impl FileOps) -> Arc<File> {
    let creds = Credentials::for_user(0, 0, &[], crate::task::UserNamespace::initial());
    super::InternalFs::new().anonymous(Box::new(ops), OpenFlags::RDWR, &Arc::new(creds))
}

impl crate::mm::MappedFile for File {
    fn device_and_inode(&self) -> (u64, u64) {
        let inode = self.path.inode();
        (inode.sb.dev, inode.ino)
    }

    fn path(&self) -> Vec<u8> {
        match self.path.mount.namespace() {
            Some(namespace) => self.path.text(&namespace.root()).for_proc(),
            // A file of a kernel-internal file system.
            None => self.ops.anonymous_name().into_bytes(),
        }
    }
}
