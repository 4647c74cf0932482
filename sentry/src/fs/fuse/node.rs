//! Inodes: what the server says of its nodes, for as long as it says that may be believed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use abi::Errno;
use abi::fuse::{
    FUSE_ACCESS, FUSE_CREATE, FUSE_GETATTR, FUSE_GETXATTR, FUSE_LINK, FUSE_LISTXATTR, FUSE_LOOKUP,
    FUSE_MKDIR, FUSE_MKNOD, FUSE_OPEN, FUSE_OPENDIR, FUSE_READLINK, FUSE_REMOVEXATTR, FUSE_RENAME,
    FUSE_RENAME2, FUSE_RMDIR, FUSE_ROOT_ID, FUSE_SETATTR, FUSE_SETXATTR, FUSE_SYMLINK, FUSE_UNLINK,
    FuseAccessIn, FuseAttr, FuseAttrOut, FuseCreateIn, FuseEntryOut, FuseGetattrIn, FuseGetxattrIn,
    FuseInitFlags, FuseMkdirIn, FuseMknodIn, FuseOpenFlags, FuseOpenIn, FuseOpenOut, FuseRename2In,
    FuseSetattr, FuseSetattrIn,
};
use abi::open::{OpenFlags, RenameFlags};
use abi::stat::{FileType, S_IALLUGO, S_IXUGO};
use sync::Mutex;
use zerocopy::{FromBytes, IntoBytes};

use super::Shared;
use super::connection::Ask;
use super::dir::FuseDirFile;
use super::file::{FuseFile, Handle};
use super::pages::Pages;
use crate::Result;
use crate::task::{Credentials, OVERFLOW_ID, current_task};
use crate::vfs::permission::generic_permission;
use crate::vfs::{
    Attr, Caller, Created, FileOps, Inode, InodeOps, NewKind, NewNode, RenameEnd, SetAttr, SuperBlock,
    Timestamp, Want, XattrSet,
};

/// Longest target of a symbolic link.
const LINK_MAX: usize = 4095;
/// Longest value of an attribute, and list of names.
const XATTR_MAX: usize = 65536;
/// Names that one directory keeps in mind.
const NAMES_MAX: usize = 4096;
/// Directories below each other: a server may pretend that there are ever more.
const DEPTH_MAX: u32 = 4096;
/// So long at most something is believed.
const VALID_MAX: u64 = 1 << 30;
/// What an answer that is an entry has.
const ENTRY: usize = size_of::<FuseEntryOut>();

/// What the server has said, and until when it holds.
struct State {
    attr: Attr,
    fresh_until: Option<Instant>,
    /// References that the server counts.
    lookups: u64,
    /// Changes made here: what was asked for before one of them says nothing about size any more.
    version: u64,
}

/// A name that was looked up.
struct Known {
    /// `None`: it is not there.
    inode: Option<Weak<Inode>>,
    until: Instant,
}

#[derive(Default)]
struct Names {
    known: HashMap<Box<[u8]>, Known>,
    /// Changes: an answer to what was asked before one is not kept.
    version: u64,
}

/// A node of the server.
pub(super) struct FuseNode {
    pub fs: Arc<Shared>,
    pub nodeid: u64,
    generation: u64,
    /// Directories above.
    depth: AtomicU32,
    /// The server has said that it is something else meanwhile.
    bad: AtomicBool,
    state: Mutex<State, sync::levels::Inode>,
    names: Mutex<Names, sync::levels::InodeData>,
    pages: OnceLock<Arc<Pages>>,
}

/// The operations of an inode of such a file system; EXDEV for others.
pub(super) fn node(inode: &Inode) -> Result<&FuseNode> {
    inode.downcast::<FuseNode>().ok_or(Errno::EXDEV)
}

fn after(seconds: u64, nanoseconds: u32) -> Option<Instant> {
    let valid = Duration::new(seconds.min(VALID_MAX), nanoseconds.min(999_999_999));
    if valid.is_zero() { None } else { Instant::now().checked_add(valid) }
}

/// Whether an answer can be an attribute at all.
fn check_attr(attr: &FuseAttr) -> Result<FileType> {
    if attr.size > i64::MAX as u64 {
        return Err(Errno::EIO);
    }
    FileType::from_mode(attr.mode).ok_or(Errno::EIO)
}

impl Shared {
    fn attr(&self, from: &FuseAttr) -> Attr {
        let ns = self.connection.user_ns();
        let time = |secs: u64, nanos: u32| Timestamp { secs: secs as i64, nanos: nanos.min(999_999_999) };
        Attr {
            ino: from.ino,
            mode: from.mode,
            nlink: from.nlink,
            uid: ns.map_or(from.uid, |ns| ns.uid_kernel(from.uid).unwrap_or(OVERFLOW_ID)),
            gid: ns.map_or(from.gid, |ns| ns.gid_kernel(from.gid).unwrap_or(OVERFLOW_ID)),
            rdev: u64::from(from.rdev),
            size: from.size,
            blocks: from.blocks,
            block_size: if from.blksize == 0 { 4096 } else { from.blksize },
            atime: time(from.atime, from.atimensec),
            mtime: time(from.mtime, from.mtimensec),
            ctime: time(from.ctime, from.ctimensec),
            btime: None,
        }
    }

    /// Whether `creds` may use the file system at all: without allow_other only who has mounted it may.
    pub fn allows(&self, creds: &Credentials) -> bool {
        let (uid, gid) = (self.options.user, self.options.group);
        self.options.allow_other
            || [creds.uid, creds.euid, creds.suid].iter().all(|id| *id == uid)
                && [creds.gid, creds.egid, creds.sgid].iter().all(|id| *id == gid)
    }

    /// As [`allows`](Self::allows), for the current task: EACCES.
    pub fn check_current(&self) -> Result<()> {
        match current_task() {
            Some(task) if !self.allows(&task.creds()) => Err(Errno::EACCES),
            _ => Ok(()),
        }
    }

    /// The inode of an entry that the server has answered, which counts as one reference; EIO for one that can't be.
    /// `parent` is the directory that it was found in.
    pub fn entry(
        self: &Arc<Self>,
        sb: &Arc<SuperBlock>,
        entry: &FuseEntryOut,
        parent: &FuseNode,
    ) -> Result<Arc<Inode>> {
        let found = self.known_or_new(sb, entry, parent.depth.load(Ordering::Relaxed) + 1);
        if found.is_err() && entry.nodeid > FUSE_ROOT_ID {
            self.connection.forget(entry.nodeid, 1);
        }
        found
    }

    fn known_or_new(
        self: &Arc<Self>,
        sb: &Arc<SuperBlock>,
        entry: &FuseEntryOut,
        depth: u32,
    ) -> Result<Arc<Inode>> {
        let kind = check_attr(&entry.attr)?;
        if entry.nodeid <= FUSE_ROOT_ID {
            return Err(Errno::EIO);
        }
        if depth > DEPTH_MAX {
            return Err(Errno::ELOOP);
        }
        let attr = self.attr(&entry.attr);
        let fresh_until = after(entry.attr_valid, entry.attr_valid_nsec);
        // One that has another type or generation is another file under an old number. A directory elsewhere than it
        // was is another too: names form a tree, whatever the server says.
        let is_same = |inode: &Arc<Inode>| {
            inode.kind == kind
                && node(inode).is_ok_and(|node| {
                    node.generation == entry.generation
                        && !node.bad.load(Ordering::Relaxed)
                        && (kind != FileType::Directory || node.depth.load(Ordering::Relaxed) == depth)
                })
        };
        let ops = FuseNode {
            fs: Arc::clone(self),
            nodeid: entry.nodeid,
            generation: entry.generation,
            depth: AtomicU32::new(depth),
            bad: AtomicBool::new(false),
            state: Mutex::new(State { attr, fresh_until, lookups: 0, version: 0 }),
            names: Mutex::default(),
            pages: OnceLock::new(),
        };
        let made = Inode::new(sb, &attr, Box::new(ops));
        let mut inodes = self.inodes.lock();
        let known = inodes.get(&entry.nodeid).and_then(Weak::upgrade);
        let same = known.as_ref().is_some_and(is_same);
        if !same {
            inodes.insert(entry.nodeid, Arc::downgrade(&made));
        }
        drop(inodes);
        let inode = match known {
            Some(known) if same => {
                let seen = node(&known)?.version();
                node(&known)?.update(&known, attr, fresh_until, seen);
                known
            }
            _ => made,
        };
        node(&inode)?.state.lock().lookups += 1;
        Ok(inode)
    }
}

impl FuseNode {
    /// The root, of which nothing is known but its type.
    pub fn root(fs: &Arc<Shared>, sb: &Arc<SuperBlock>, mode: u32) -> Arc<Inode> {
        let attr = Attr {
            nlink: 1,
            btime: None,
            ..Attr::new(FUSE_ROOT_ID, mode, fs.options.user, fs.options.group)
        };
        let ops = FuseNode {
            fs: Arc::clone(fs),
            nodeid: FUSE_ROOT_ID,
            generation: 0,
            depth: AtomicU32::new(0),
            bad: AtomicBool::new(false),
            state: Mutex::new(State { attr, fresh_until: None, lookups: 0, version: 0 }),
            names: Mutex::default(),
            pages: OnceLock::new(),
        };
        let root = Inode::new(sb, &attr, Box::new(ops));
        fs.inodes.lock().insert(FUSE_ROOT_ID, Arc::downgrade(&root));
        root
    }

    fn version(&self) -> u64 {
        self.state.lock().version
    }

    /// The server has answered with `attr` what was asked in state `seen`.
    fn update(&self, inode: &Inode, attr: Attr, fresh_until: Option<Instant>, seen: u64) {
        let mut state = self.state.lock();
        let (old, old_time) = (state.attr.size, state.attr.mtime);
        let mut attr = attr;
        if state.version != seen {
            attr.size = old;
        }
        state.attr = attr;
        state.fresh_until = fresh_until;
        drop(state);
        inode.set_owner(attr.mode, attr.uid, attr.gid);
        let Some(pages) = self.pages.get() else { return };
        let by_time = self.fs.connection.terms().flags.contains(FuseInitFlags::AUTO_INVAL_DATA);
        if attr.size != old {
            // Somebody else has changed it.
            pages.resized(old, attr.size);
            pages.invalidate(0, old.min(attr.size), old.min(attr.size));
        } else if by_time && attr.mtime != old_time {
            pages.invalidate(0, i64::MAX as u64, old);
        }
    }

    /// Takes over an answer that has attributes.
    fn take_attr(&self, inode: &Inode, reply: &[u8], seen: u64) -> Result<Attr> {
        let out = FuseAttrOut::read_from_bytes(reply).map_err(|_| Errno::EIO)?;
        if check_attr(&out.attr)? != inode.kind {
            self.bad.store(true, Ordering::Relaxed);
            return Err(Errno::EIO);
        }
        self.update(inode, self.fs.attr(&out.attr), after(out.attr_valid, out.attr_valid_nsec), seen);
        Ok(self.state.lock().attr)
    }

    /// EIO for one that has become something else.
    pub fn check_bad(&self) -> Result<()> {
        if self.bad.load(Ordering::Relaxed) { Err(Errno::EIO) } else { Ok(()) }
    }

    /// The attributes, asked for unless they are still good.
    pub fn fresh(&self, inode: &Inode, creds: Option<&Credentials>) -> Result<Attr> {
        self.check_bad()?;
        let seen = {
            let state = self.state.lock();
            if state.fresh_until.is_some_and(|until| Instant::now() < until) {
                return Ok(state.attr);
            }
            state.version
        };
        let getattr = FuseGetattrIn::default();
        let ask = Ask {
            opcode: FUSE_GETATTR,
            node: self.nodeid,
            parts: &[getattr.as_bytes()],
            reply: exactly(size_of::<FuseAttrOut>()),
        };
        let reply = self.fs.connection.call(&ask, creds)?;
        self.take_attr(inode, &reply, seen)
    }

    /// Size as it was last known.
    pub fn size(&self) -> u64 {
        self.state.lock().attr.size
    }

    /// What is known of the attributes is to be asked for again.
    pub fn expire(&self) {
        self.state.lock().fresh_until = None;
    }

    /// `done` bytes have been read: the server may have noted when.
    pub fn expire_access(&self, done: usize) {
        let mut state = self.state.lock();
        if done > 0 && state.attr.atime <= state.attr.mtime.max(state.attr.ctime) {
            state.fresh_until = None;
        }
    }

    /// Bytes up to `size` have been written.
    pub fn grown(&self, size: u64) {
        let mut state = self.state.lock();
        state.attr.size = state.attr.size.max(size);
        state.version += 1;
        state.fresh_until = None;
    }

    /// The contents have changed, and the size is at least `size`.
    pub fn changed(&self, start: u64, len: u64, size: u64) {
        let before = self.size();
        self.grown(size);
        if let Some(pages) = self.pages.get() {
            pages.invalidate(start, len, before);
        }
    }

    /// Pages that are kept.
    pub fn pages(&self, inode: &Arc<Inode>) -> &Arc<Pages> {
        self.pages.get_or_init(|| Pages::new(&self.fs, (inode.sb.dev, inode.ino)))
    }

    /// Pages that are kept, if there have ever been some.
    pub fn pages_if_any(&self) -> Option<&Arc<Pages>> {
        self.pages.get()
    }

    /// What is known of `name`; `Some(None)`: that it is not there.
    fn known(&self, name: &[u8]) -> Option<Option<Arc<Inode>>> {
        let names = self.names.lock();
        let known = names.known.get(name).filter(|known| Instant::now() < known.until)?;
        match &known.inode {
            None => Some(None),
            Some(inode) => inode.upgrade().map(Some),
        }
    }

    /// Keeps in mind what `name` is, asked in state `seen`.
    pub fn remember(&self, name: &[u8], inode: Option<&Arc<Inode>>, until: Option<Instant>, seen: u64) {
        let mut names = self.names.lock();
        if names.version != seen {
            return;
        }
        let Some(until) = until else {
            names.known.remove(name);
            return;
        };
        if names.known.len() >= NAMES_MAX {
            let now = Instant::now();
            names.known.retain(|_, known| now < known.until);
            if names.known.len() >= NAMES_MAX {
                names.known.clear();
            }
        }
        names.known.insert(name.into(), Known { inode: inode.map(Arc::downgrade), until });
    }

    /// The state that answers about names are of.
    pub fn names_version(&self) -> u64 {
        self.names.lock().version
    }

    /// `name` is to be looked up again; says whether it was known.
    pub fn forget_name(&self, name: &[u8]) -> bool {
        let mut names = self.names.lock();
        names.version += 1;
        names.known.remove(name).is_some()
    }

    /// An answer that is an entry: the new or known inode, kept in mind under its name.
    pub fn take_entry(
        &self,
        dir: &Arc<Inode>,
        name: &[u8],
        entry: &FuseEntryOut,
        seen: u64,
    ) -> Result<Arc<Inode>> {
        let inode = self.fs.entry(&dir.sb, entry, self)?;
        self.remember(name, Some(&inode), after(entry.entry_valid, entry.entry_valid_nsec), seen);
        Ok(inode)
    }

    /// Makes something: the answer is an entry of `kind`.
    fn make(&self, dir: &Arc<Inode>, name: &[u8], ask: &Ask<'_>, kind: FileType) -> Result<Arc<Inode>> {
        let reply = self.fs.connection.call(ask, None)?;
        self.expire();
        let entry = FuseEntryOut::read_from_bytes(&reply).map_err(|_| Errno::EIO)?;
        self.forget_name(name);
        let inode = self.take_entry(dir, name, &entry, self.names_version())?;
        if inode.kind == kind { Ok(inode) } else { Err(Errno::EIO) }
    }

    /// Type and permission bits of a new node as the server is told them: it may want to apply the umask itself.
    fn new_mode(&self, new: &NewNode<'_>) -> u32 {
        match self.fs.connection.terms().flags.contains(FuseInitFlags::DONT_MASK) {
            true => new.kind.file_type().mode() | new.permissions,
            false => new.mode(),
        }
    }

    fn call(&self, opcode: u32, parts: &[&[u8]], reply: std::ops::RangeInclusive<usize>) -> Result<Vec<u8>> {
        self.check_bad()?;
        self.fs.connection.call(&Ask { opcode, node: self.nodeid, parts, reply }, None)
    }

    /// As `call`, for what not every server knows.
    fn call_if_known(
        &self,
        opcode: u32,
        parts: &[&[u8]],
        reply: std::ops::RangeInclusive<usize>,
    ) -> Result<Vec<u8>> {
        self.check_bad()?;
        self.fs.connection.call_if_known(&Ask { opcode, node: self.nodeid, parts, reply }, None)
    }

    /// OPEN or OPENDIR. `None`: the server needs none.
    fn open_handle(&self, inode: &Arc<Inode>, flags: OpenFlags, creds: &Credentials) -> Result<Handle> {
        let connection = &self.fs.connection;
        let (opcode, without) = match inode.is_dir() {
            true => (FUSE_OPENDIR, FuseInitFlags::NO_OPENDIR_SUPPORT),
            false => (FUSE_OPEN, FuseInitFlags::NO_OPEN_SUPPORT),
        };
        let dropped =
            OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::NOCTTY | OpenFlags::TRUNC | OpenFlags::CLOEXEC;
        let flags = (flags - dropped).bits() | LARGEFILE;
        let open = FuseOpenIn { flags, open_flags: 0 };
        let ask = Ask {
            opcode,
            node: self.nodeid,
            parts: &[open.as_bytes()],
            reply: exactly(size_of::<FuseOpenOut>()),
        };
        let answer = match connection.terms().flags.contains(without) {
            true => connection.call_if_known(&ask, Some(creds)),
            false => connection.call(&ask, Some(creds)),
        };
        match answer {
            Ok(reply) => {
                let out = FuseOpenOut::read_from_bytes(&reply).map_err(|_| Errno::EIO)?;
                let how = FuseOpenFlags::from_bits_truncate(out.open_flags);
                Ok(Handle::new(&self.fs, self.nodeid, inode.kind, Some(out.fh), how, flags))
            }
            Err(Errno::ENOSYS) if connection.terms().flags.contains(without) => {
                let how = FuseOpenFlags::KEEP_CACHE;
                Ok(Handle::new(&self.fs, self.nodeid, inode.kind, None, how, flags))
            }
            Err(errno) => Err(errno),
        }
    }
}

/// `O_LARGEFILE`, which every open file of a 64-bit program has.
const LARGEFILE: u32 = 0o100000;

pub(super) fn exactly(len: usize) -> std::ops::RangeInclusive<usize> {
    len..=len
}

/// A name as it goes over the wire.
fn terminated(name: &[u8]) -> Vec<u8> {
    let mut bytes = name.to_vec();
    bytes.push(0);
    bytes
}

impl InodeOps for FuseNode {
    fn attr(&self, inode: &Inode) -> Result<Attr> {
        self.fs.check_current()?;
        let attr = self.fresh(inode, None)?;
        Ok(Attr { ino: inode.ino, ..attr })
    }

    fn set_attr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<()> {
        self.fs.check_current()?;
        let ns = self.fs.connection.user_ns();
        let mut valid = FuseSetattr::empty();
        let mut setattr = FuseSetattrIn::default();
        if let Some(permissions) = change.permissions {
            valid |= FuseSetattr::MODE;
            setattr.mode = inode.kind.mode() | permissions;
        }
        if let Some(uid) = change.uid {
            valid |= FuseSetattr::UID;
            setattr.uid = ns.map_or(uid, |ns| ns.uid_inside(uid));
        }
        if let Some(gid) = change.gid {
            valid |= FuseSetattr::GID;
            setattr.gid = ns.map_or(gid, |ns| ns.gid_inside(gid));
        }
        if let Some(size) = change.size {
            valid |= FuseSetattr::SIZE;
            setattr.size = size;
        } else {
            if let Some(atime) = change.atime {
                valid |= FuseSetattr::ATIME;
                valid.set(FuseSetattr::ATIME_NOW, change.times_are_now);
                (setattr.atime, setattr.atimensec) = (atime.secs as u64, atime.nanos);
            }
            if let Some(mtime) = change.mtime {
                valid |= FuseSetattr::MTIME;
                valid.set(FuseSetattr::MTIME_NOW, change.times_are_now);
                (setattr.mtime, setattr.mtimensec) = (mtime.secs as u64, mtime.nanos);
            }
        }
        setattr.valid = valid.bits();
        let reply = self.call(FUSE_SETATTR, &[setattr.as_bytes()], exactly(size_of::<FuseAttrOut>()))?;
        let seen = {
            let mut state = self.state.lock();
            if change.size.is_some() {
                state.version += 1;
            }
            state.version
        };
        self.take_attr(inode, &reply, seen)?;
        Ok(())
    }

    fn permission(&self, inode: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        if !self.fs.allows(caller.creds) {
            return Err(Errno::EACCES);
        }
        let executes = want.contains(Want::EXEC) && inode.is_regular();
        if !self.fs.options.default_permissions && !executes {
            return Ok(());
        }
        let check = || match self.fs.options.default_permissions {
            true => generic_permission(inode, caller.creds, want),
            false if inode.owner().0 & S_IXUGO == 0 => Err(Errno::EACCES),
            false => Ok(()),
        };
        self.fresh(inode, Some(caller.creds))?;
        match check() {
            // Somebody may have changed it meanwhile.
            Err(Errno::EACCES) => {
                self.expire();
                self.fresh(inode, Some(caller.creds))?;
                check()
            }
            done => done,
        }
    }

    fn access(&self, _inode: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        if self.fs.options.default_permissions {
            return Ok(());
        }
        let access = FuseAccessIn { mask: want.bits(), padding: 0 };
        let ask =
            Ask { opcode: FUSE_ACCESS, node: self.nodeid, parts: &[access.as_bytes()], reply: exactly(0) };
        match self.fs.connection.call_if_known(&ask, Some(caller.creds)) {
            Ok(_) | Err(Errno::ENOSYS) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn lookup(&self, dir: &Arc<Inode>, name: &[u8], caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        self.check_bad()?;
        if name.len() > abi::NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        if let Some(known) = self.known(name) {
            return Ok(known);
        }
        let seen = self.names_version();
        let ask = Ask {
            opcode: FUSE_LOOKUP,
            node: self.nodeid,
            parts: &[&terminated(name)],
            reply: exactly(ENTRY),
        };
        let reply = match self.fs.connection.call(&ask, Some(caller.creds)) {
            Ok(reply) => reply,
            Err(Errno::ENOENT) => {
                self.remember(name, None, None, seen);
                return Ok(None);
            }
            Err(errno) => return Err(errno),
        };
        let entry = FuseEntryOut::read_from_bytes(&reply).map_err(|_| Errno::EIO)?;
        if entry.nodeid == 0 {
            self.remember(name, None, after(entry.entry_valid, entry.entry_valid_nsec), seen);
            return Ok(None);
        }
        self.take_entry(dir, name, &entry, seen).map(Some)
    }

    fn create(&self, dir: &Arc<Inode>, name: &[u8], new: &NewNode<'_>) -> Result<Arc<Inode>> {
        self.check_bad()?;
        let name_bytes = terminated(name);
        let umask = new.umask;
        let mode = self.new_mode(new);
        let mkdir = FuseMkdirIn { mode: mode & S_IALLUGO, umask };
        let mknod = FuseMknodIn { mode, rdev: new.kind.rdev() as u32, umask, padding: 0 };
        let target;
        let (opcode, parts): (u32, [&[u8]; 2]) = match new.kind {
            NewKind::Directory => (FUSE_MKDIR, [mkdir.as_bytes(), &name_bytes]),
            NewKind::Symlink(text) => {
                target = terminated(text);
                (FUSE_SYMLINK, [&name_bytes, &target])
            }
            _ => (FUSE_MKNOD, [mknod.as_bytes(), &name_bytes]),
        };
        let ask = Ask { opcode, node: self.nodeid, parts: &parts, reply: exactly(ENTRY) };
        self.make(dir, name, &ask, new.kind.file_type())
    }

    fn create_and_open(
        &self,
        dir: &Arc<Inode>,
        name: &[u8],
        new: &NewNode<'_>,
        flags: OpenFlags,
        caller: &Caller<'_>,
    ) -> Result<Created> {
        self.check_bad()?;
        let sent = (flags - OpenFlags::NOCTTY - OpenFlags::CLOEXEC - OpenFlags::TRUNC).bits() | LARGEFILE;
        let create = FuseCreateIn { flags: sent, mode: self.new_mode(new), umask: new.umask, open_flags: 0 };
        let ask = Ask {
            opcode: FUSE_CREATE,
            node: self.nodeid,
            parts: &[create.as_bytes(), &terminated(name)],
            reply: exactly(ENTRY + size_of::<FuseOpenOut>()),
        };
        let reply = match self.fs.connection.call_if_known(&ask, Some(caller.creds)) {
            Err(Errno::ENOSYS) => return Ok(Created { inode: self.create(dir, name, new)?, opened: None }),
            reply => reply?,
        };
        self.expire();
        let (entry, rest) = FuseEntryOut::read_from_prefix(&reply).map_err(|_| Errno::EIO)?;
        let open = FuseOpenOut::read_from_bytes(rest).map_err(|_| Errno::EIO)?;
        let kept = sent & !(OpenFlags::CREAT | OpenFlags::EXCL).bits();
        let how = FuseOpenFlags::from_bits_truncate(open.open_flags);
        let handle = Handle::new(&self.fs, entry.nodeid, FileType::Regular, Some(open.fh), how, kept);
        self.forget_name(name);
        let inode = self.take_entry(dir, name, &entry, self.names_version())?;
        if !inode.is_regular() {
            return Err(Errno::EIO);
        }
        let opened: Box<dyn FileOps> = Box::new(FuseFile::new(&inode, handle));
        Ok(Created { inode, opened: Some(opened) })
    }

    fn link(&self, dir: &Arc<Inode>, name: &[u8], target: &Arc<Inode>) -> Result<()> {
        let to = node(target)?;
        let parts: [&[u8]; 2] = [to.nodeid.as_bytes(), &terminated(name)];
        let ask = Ask { opcode: FUSE_LINK, node: self.nodeid, parts: &parts, reply: exactly(ENTRY) };
        // A server that goes by paths may give the new name a node of its own, which the next lookup finds.
        self.make(dir, name, &ask, target.kind)?;
        to.expire();
        Ok(())
    }

    fn unlink(&self, _dir: &Arc<Inode>, name: &[u8], victim: &Arc<Inode>) -> Result<()> {
        let done = self.call(FUSE_UNLINK, &[&terminated(name)], exactly(0));
        self.name_gone(name, victim, &done);
        done.map(drop)
    }

    fn rmdir(&self, _dir: &Arc<Inode>, name: &[u8], victim: &Arc<Inode>) -> Result<()> {
        let done = self.call(FUSE_RMDIR, &[&terminated(name)], exactly(0));
        self.name_gone(name, victim, &done);
        done.map(drop)
    }

    fn rename(&self, from: RenameEnd<'_>, to: RenameEnd<'_>, flags: RenameFlags) -> Result<()> {
        let target = node(to.dir)?;
        let names: [&[u8]; 2] = [&terminated(from.name), &terminated(to.name)];
        let done = if flags.is_empty() {
            let newdir = target.nodeid;
            self.call(FUSE_RENAME, &[newdir.as_bytes(), names[0], names[1]], exactly(0))
        } else {
            let head = FuseRename2In { newdir: target.nodeid, flags: flags.bits(), padding: 0 };
            if self.fs.connection.terms().minor < 23 {
                return Err(Errno::EINVAL);
            }
            match self.call_if_known(FUSE_RENAME2, &[head.as_bytes(), names[0], names[1]], exactly(0)) {
                Err(Errno::ENOSYS) => return Err(Errno::EINVAL),
                done => done,
            }
        };
        for (dir, name) in [(self, from.name), (target, to.name)] {
            dir.forget_name(name);
            dir.expire();
        }
        let moved = [(from.inode, target), (to.inode, self)];
        for (inode, dir) in moved {
            let Some(moved) = inode.and_then(|inode| node(inode).ok()) else { continue };
            moved.expire();
            if done.is_ok() {
                moved.depth.store(dir.depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
        }
        done.map(drop)
    }

    fn read_link(&self, _inode: &Inode, caller: &Caller<'_>) -> Result<Arc<[u8]>> {
        self.check_bad()?;
        let ask = Ask { opcode: FUSE_READLINK, node: self.nodeid, parts: &[], reply: 0..=LINK_MAX };
        let reply = self.fs.connection.call(&ask, Some(caller.creds))?;
        let text = reply.split(|byte| *byte == 0).next().unwrap_or_default();
        if text.is_empty() { Err(Errno::ENOENT) } else { Ok(text.into()) }
    }

    fn open(&self, inode: &Arc<Inode>, flags: OpenFlags, caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        self.check_bad()?;
        let handle = self.open_handle(inode, flags, caller.creds)?;
        if inode.is_dir() {
            return Ok(Box::new(FuseDirFile::new(inode, handle)));
        }
        Ok(Box::new(FuseFile::new(inode, handle)))
    }

    fn revalidate(&self, _inode: &Inode) -> bool {
        // Names are kept in mind here, for as long as the server says.
        true
    }

    fn acls_are_attributes(&self) -> bool {
        true
    }

    fn get_xattr(&self, _inode: &Inode, name: &[u8]) -> Result<Vec<u8>> {
        self.fs.check_current()?;
        let head = FuseGetxattrIn { size: XATTR_MAX as u32, padding: 0 };
        supported(self.call_if_known(FUSE_GETXATTR, &[head.as_bytes(), &terminated(name)], 0..=XATTR_MAX))
    }

    fn set_xattr(&self, _inode: &Arc<Inode>, name: &[u8], value: &[u8], mode: XattrSet) -> Result<()> {
        self.fs.check_current()?;
        let flags = match mode {
            XattrSet::Any => 0,
            XattrSet::Create => 1,
            XattrSet::Replace => 2,
        };
        let head = FuseGetxattrIn { size: value.len() as u32, padding: flags };
        let parts: [&[u8]; 3] = [head.as_bytes(), &terminated(name), value];
        supported(self.call_if_known(FUSE_SETXATTR, &parts, exactly(0)))?;
        self.expire();
        Ok(())
    }

    fn remove_xattr(&self, _inode: &Arc<Inode>, name: &[u8]) -> Result<()> {
        self.fs.check_current()?;
        supported(self.call_if_known(FUSE_REMOVEXATTR, &[&terminated(name)], exactly(0)))?;
        self.expire();
        Ok(())
    }

    fn list_xattr(&self, _inode: &Inode) -> Result<Vec<Vec<u8>>> {
        self.fs.check_current()?;
        let head = FuseGetxattrIn { size: XATTR_MAX as u32, padding: 0 };
        let reply = supported(self.call_if_known(FUSE_LISTXATTR, &[head.as_bytes()], 0..=XATTR_MAX))?;
        if reply.is_empty() {
            return Ok(Vec::new());
        }
        let list = reply.strip_suffix(&[0]).ok_or(Errno::EIO)?;
        let names: Vec<Vec<u8>> = list.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        if names.iter().any(Vec::is_empty) { Err(Errno::EIO) } else { Ok(names) }
    }

    fn evict(&self, _inode: &Inode) {
        if self.nodeid == FUSE_ROOT_ID {
            return;
        }
        let lookups = self.state.lock().lookups;
        let mut inodes = self.fs.inodes.lock();
        if inodes.get(&self.nodeid).is_some_and(|known| known.strong_count() == 0) {
            inodes.remove(&self.nodeid);
        }
        drop(inodes);
        self.fs.connection.forget(self.nodeid, lookups);
    }
}

/// What a server without extended attributes means.
fn supported<T>(answer: Result<T>) -> Result<T> {
    match answer {
        Err(Errno::ENOSYS) => Err(Errno::EOPNOTSUPP),
        answer => answer,
    }
}

impl FuseNode {
    /// `name` was to be taken away from `victim`.
    fn name_gone(&self, name: &[u8], victim: &Arc<Inode>, done: &Result<Vec<u8>>) {
        // After EINTR nobody knows.
        if matches!(done, Ok(_) | Err(Errno::EINTR | Errno::ENOENT)) {
            self.forget_name(name);
            self.expire();
            if let Ok(victim) = node(victim) {
                victim.expire();
                let mut state = victim.state.lock();
                if done.is_ok() {
                    state.attr.nlink = state.attr.nlink.saturating_sub(1);
                }
            }
        }
    }
}
