//! Inodes of a Gofer's tree.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::open::{O_ACCMODE, O_RDONLY, OpenFlags, RenameFlags};
use abi::stat::{FileType, S_IALLUGO, S_ISGID};
use gofer_protocol as wire;
use gofer_protocol::{FileId, Handle, Leaf, Name, Node, NodeKind, Owner, Perm, Place, Target, UnlinkKind};
use platform::HostFile;
use smallvec::SmallVec;
use sync::Mutex;

use super::attr::{Kept, Seen};
use super::dir::Directory;
use super::file::GoferFile;
use super::listing::{DirState, Known};
use super::{GoferFs, Sharing, attr, errno};
use crate::Result;
use crate::fs::host::HostSocket;
use crate::mm::FileMappings;
use crate::net::SocketKind;
use crate::vfs::{
    Acl, AclChange, AclKind, Attr, Caller, Created, FileOps, Inode, InodeOps, LookupRun, NewKind, NewNode,
    OpenedOps, Peeked, RenameEnd, SetAttr, XattrSet,
};

/// A file of the host.
pub(super) struct GoferInode {
    pub id: FileId,
    /// What the Gofer knows it by, once it was asked for.
    handle: HandleSlot,
    known: Mutex<Facts, sync::levels::Inode>,
    more: OnceLock<Box<More>>,
    sharing: Sharing,
    /// The file was written through a descriptor: size and times are to be asked for again.
    stale: AtomicBool,
}

/// What is known of a file; one structure under one lock, since a cached tree has very many of them.
struct Facts {
    attr: Kept,
    /// As long as there is no handle: where the file was listed. No directory is without a handle.
    origin: Option<Box<Origin>>,
}

/// A handle, once there is one.
#[derive(Default)]
struct HandleSlot(AtomicU64);

impl HandleSlot {
    fn get(&self) -> Option<Handle> {
        Handle::new(self.0.load(Ordering::Acquire))
    }

    /// Sets it, unless there is one already.
    fn set(&self, handle: Handle) -> bool {
        self.0.compare_exchange(0, handle.number(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The directory that a file was listed in, and its name there.
struct Origin {
    dir: Arc<Inode>,
    name: crate::vfs::Name,
}

/// What only some files need.
enum More {
    File(Contents),
    Link(Arc<[u8]>),
    Dir(DirState),
}

/// Of a regular file that somebody has opened.
pub(super) struct Contents {
    /// A descriptor for reading, and one for reading and writing.
    open: Mutex<Descriptors, sync::levels::InodeData>,
    pub futex_id: u64,
    /// Who maps the file, if it can be truncated.
    pub mappings: FileMappings,
}

#[derive(Default)]
struct Descriptors {
    read: Option<Arc<HostFile>>,
    write: Option<std::sync::Weak<HostFile>>,
}

impl GoferInode {
    fn with(id: FileId, attr: Kept, origin: Option<Box<Origin>>, sharing: Sharing) -> GoferInode {
        GoferInode {
            id,
            handle: HandleSlot::default(),
            known: Mutex::new(Facts { attr, origin }),
            more: OnceLock::new(),
            sharing,
            stale: AtomicBool::new(false),
        }
    }

    /// With a handle.
    pub fn new(handle: Handle, id: FileId, attr: Kept, sharing: Sharing) -> GoferInode {
        let new = GoferInode::with(id, attr, None, sharing);
        new.handle.set(handle);
        new
    }

    /// One that was listed in `dir` as `name`. It is no directory.
    pub fn listed(dir: &Arc<Inode>, name: &[u8], id: FileId, attr: Kept) -> GoferInode {
        let origin = Origin { dir: Arc::clone(dir), name: crate::vfs::Name::new(name) };
        GoferInode::with(id, attr, Some(Box::new(origin)), Sharing::Exclusive)
    }

    /// The handle; asked for where it was not needed so far.
    pub fn handle(&self) -> Result<Handle> {
        if let Some(handle) = self.handle.get() {
            return Ok(handle);
        }
        self.walk_to(Leaf::Handle)?;
        self.handle.get().ok_or(Errno::EIO)
    }

    /// Asks for what has no handle so far: with [`Leaf::Handle`] for that, with [`Leaf::Open`] for a descriptor for reading
    /// as well, with [`Leaf::Attr`] only for the target of a symbolic link. Answers the descriptor.
    fn walk_to(&self, leaf: Leaf) -> Result<Option<OwnedFd>> {
        let origin = self.known.lock().origin.as_ref().map(|at| (Arc::clone(&at.dir), at.name.clone()));
        // Without one somebody else was faster.
        let Some((dir, at)) = origin else { return Ok(None) };
        // A directory: this goes no further.
        let parent = ops(&dir)?.handle.get().ok_or(Errno::EIO)?;
        let fs = fs(&dir)?;
        let walked = fs.walk(parent, &[name(at.as_bytes())?], leaf)?;
        let looked = walked.found.first().copied().ok_or(walked.error.map_or(Errno::EIO, errno))?;
        if looked.attr.id != self.id {
            looked.handle.into_iter().for_each(|handle| fs.client.release(handle));
            return Err(Errno::ESTALE);
        }
        if let Some(target) = walked.target {
            self.store_target(target.into());
        }
        if let Some(handle) = looked.handle {
            if !self.handle.set(handle) {
                fs.client.release(handle);
            }
            let origin = self.known.lock().origin.take();
            drop(origin);
        }
        Ok(walked.opened)
    }

    pub fn store_target(&self, target: Arc<[u8]>) {
        // A symbolic link never changes: another target is another file.
        self.more.get_or_init(|| Box::new(More::Link(target)));
    }

    /// What belongs to the contents of a regular file.
    pub fn contents(&self) -> Result<&Contents> {
        let new = || Contents {
            open: Mutex::default(),
            futex_id: crate::mm::shmem::next_futex_id(),
            mappings: FileMappings::new(),
        };
        match &**self.more.get_or_init(|| Box::new(More::File(new()))) {
            More::File(contents) => Ok(contents),
            _ => Err(Errno::EIO),
        }
    }

    /// Its length, as last seen.
    fn length(&self) -> u64 {
        self.known.lock().attr.size
    }

    fn contents_if_any(&self) -> Option<&Contents> {
        match self.more.get().map(|more| &**more) {
            Some(More::File(contents)) => Some(contents),
            _ => None,
        }
    }

    /// What belongs to a directory.
    pub fn dir_state(&self) -> Option<&DirState> {
        match &**self.more.get_or_init(|| Box::new(More::Dir(DirState::default()))) {
            More::Dir(state) => Some(state),
            _ => None,
        }
    }

    /// Private pages behind the new end of the file are gone.
    pub fn truncated(&self, size: u64) {
        if let Some(contents) = self.contents_if_any() {
            contents.mappings.truncate(size);
        }
    }

    /// New attributes from the Gofer.
    pub fn store(&self, inode: &Inode, seen: Seen) {
        inode.set_owner(seen.mode, seen.uid, seen.gid);
        self.known.lock().attr = seen.kept;
    }

    fn store_wire(&self, inode: &Inode, from: &wire::Attr) {
        self.store(inode, Seen::new(from));
    }

    /// The contents have changed through a descriptor.
    pub fn written(&self, inode: &Inode) {
        if !self.stale.swap(true, Ordering::AcqRel) {
            changed(inode);
        }
    }

    /// Whether others may change the file.
    pub fn is_shared(&self) -> bool {
        self.sharing == Sharing::Shared
    }

    /// A descriptor that appends.
    pub fn open_to_append(&self, inode: &Inode) -> Result<HostFile> {
        let how = wire::OpenFlags::WRITE | wire::OpenFlags::APPEND;
        let (fd, attr) = fs(inode)?.client.open(self.handle()?, how).map_err(errno)?;
        if attr.id != self.id { Err(Errno::ESTALE) } else { Ok(HostFile::new(fd, true)) }
    }

    /// Closes the descriptor that is kept for reading.
    pub fn forget_descriptor(&self) -> Option<Arc<HostFile>> {
        self.contents_if_any()?.open.lock().read.take()
    }

    /// Size and times of a file that was written.
    fn refresh(&self, inode: &Inode) -> Result<()> {
        if self.sharing == Sharing::Exclusive && !self.stale.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let descriptor = self.contents_if_any().and_then(|contents| {
            let open = contents.open.lock();
            open.write.as_ref().and_then(std::sync::Weak::upgrade)
        });
        if let (Some(file), Sharing::Exclusive) = (descriptor, self.sharing) {
            let stat = host::file::stat(file.fd()).map_err(crate::vfs::io::host_errno)?;
            let mut known = self.known.lock();
            let kept = &mut known.attr;
            kept.size = stat.size;
            kept.blocks = stat.blocks;
            for (at, (seconds, nanoseconds)) in [stat.atime, stat.mtime, stat.ctime].into_iter().enumerate() {
                (kept.seconds[at], kept.nanoseconds[at]) = (seconds, nanoseconds);
            }
            return Ok(());
        }
        let attr = fs(inode)?.client.stat(self.handle()?).map_err(errno)?;
        self.store_wire(inode, &attr);
        Ok(())
    }

    /// A descriptor for the file's contents.
    fn descriptor(&self, inode: &Arc<Inode>, flags: OpenFlags) -> Result<Arc<HostFile>> {
        let writes = flags.bits() & O_ACCMODE != O_RDONLY;
        let contents = self.contents()?;
        {
            let open = contents.open.lock();
            let there = if writes {
                open.write.as_ref().and_then(std::sync::Weak::upgrade)
            } else {
                open.read.clone()
            };
            if let (Some(there), Sharing::Exclusive) = (there, self.sharing) {
                return Ok(there);
            }
        }
        let file = Arc::new(HostFile::new(self.open_on_host(inode, writes)?, writes));
        if self.sharing == Sharing::Shared {
            // One kept open would hold the room of a file that others remove.
            return Ok(file);
        }
        let mut open = contents.open.lock();
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

    fn open_on_host(&self, inode: &Arc<Inode>, writes: bool) -> Result<OwnedFd> {
        if !writes
            && self.handle.get().is_none()
            && let Some(fd) = self.walk_to(Leaf::Open)?
        {
            return Ok(fd);
        }
        let handle = self.handle()?;
        let mut how = wire::OpenFlags::READ;
        how.set(wire::OpenFlags::WRITE, writes);
        let fs = fs(inode)?;
        let (fd, attr) = fs.with_room(|| match fs.client.open(handle, how) {
            // A file that may be written but not read.
            Err(wire::Errno::ACCESS) if writes => fs.client.open(handle, wire::OpenFlags::WRITE),
            other => other,
        })?;
        if attr.id != self.id { Err(Errno::ESTALE) } else { Ok(fd) }
    }

    /// The permission bits that a new node in this directory is asked for with. Where the directory has a default access
    /// control list, the host makes of them what that says.
    fn perm_in(&self, dir: &Inode, node: &NewNode<'_>) -> Result<Perm> {
        let masked = node.masked_permissions();
        let inherits = masked != node.permissions && dir.acl(AclKind::Default)?.is_some();
        Ok(Perm::of_mode(if inherits { node.permissions } else { masked }))
    }

    fn made(&self, dir: &Arc<Inode>, node: Node, parent: &wire::Attr) -> Result<Arc<Inode>> {
        changed(dir);
        self.store_wire(dir, parent);
        Ok(fs(dir)?.inode(&dir.sb, &node))
    }

    /// Keeps the caller's answer fresh: link counts and times of a file that lost or got a name.
    fn names_changed(&self, inode: &Inode) {
        self.stale.store(true, Ordering::Release);
        changed(inode);
        // Without a descriptor for writing this asks the Gofer; a file that is gone keeps what was known.
        if let Ok(handle) = self.handle()
            && let Ok(fs) = fs(inode)
            && let Ok(attr) = fs.client.stat(handle)
        {
            self.stale.store(false, Ordering::Release);
            self.store_wire(inode, &attr);
        }
    }

    /// Asks the Gofer for `names`, each in the one before, from `dir` on; what is there goes into `run`.
    fn ask_run(&self, dir: &Arc<Inode>, names: &[&[u8]], run: &mut LookupRun) -> Result<()> {
        let mut checked: SmallVec<[Name<'_>; 8]> = SmallVec::new();
        for (index, bytes) in names.iter().enumerate() {
            match Name::new(bytes) {
                Ok(name) => checked.push(name),
                Err(error) if index == 0 => return Err(errno(error)),
                Err(_) => break,
            }
        }
        let fs = fs(dir)?;
        let walked = fs.walk(self.handle()?, &checked, Leaf::Handle)?;
        let last = walked.found.len().wrapping_sub(1);
        for (index, looked) in walked.found.iter().enumerate() {
            let handle = looked.handle.ok_or(Errno::EIO)?;
            let inode = fs.inode(&dir.sb, &Node { handle, attr: looked.attr });
            if let (true, Some(target)) = (index == last, &walked.target) {
                ops(&inode)?.store_target(target.as_slice().into());
            }
            run.found.push(inode);
        }
        match walked.error {
            Some(wire::Errno::NOENT) => run.missing = walked.found.len() < checked.len(),
            Some(error) if walked.found.is_empty() => return Err(errno(error)),
            _ => {}
        }
        Ok(())
    }

    /// What is known without a request of `names`, each in the one before, from `dir` on; goes into `run`. Gives the
    /// directory in which the rest is to be asked for.
    fn listed_run(&self, dir: &Arc<Inode>, names: &mut &[&[u8]], run: &mut LookupRun) -> Result<Arc<Inode>> {
        let fs = fs(dir)?;
        let mut at = Arc::clone(dir);
        while let Some((name, rest)) = names.split_first() {
            let Some(listing) = ops(&at)?.dir_state().and_then(|state| state.listing(&at)) else { break };
            match listing.find(name, fs.changed()) {
                Known::Missing => {
                    run.missing = true;
                    *names = &[];
                    break;
                }
                Known::Unknown => break,
                Known::There(found, index) => {
                    let place = (&listing, index);
                    let Some(inode) = fs.listed_inode(&at, name, found, place) else { break };
                    run.found.push(Arc::clone(&inode));
                    *names = if inode.is_dir() { rest } else { &[] };
                    at = inode;
                }
            }
        }
        Ok(at)
    }
}

/// Something in the tree has changed: attributes that listings brought are not to be trusted any more.
fn changed(inode: &Inode) {
    if let Some(fs) = inode.sb.downcast::<GoferFs>() {
        fs.note_change();
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
        Ok(self.known.lock().attr.attr(inode.ino, inode.rdev(), inode.owner()))
    }

    fn set_attr(&self, inode: &Arc<Inode>, change: &SetAttr) -> Result<()> {
        let changes = attr::to_changes(change)?;
        let new = fs(inode)?.client.set_attr(self.handle()?, changes).map_err(errno)?;
        changed(inode);
        if let Some(size) = change.size {
            self.truncated(size);
        }
        self.store_wire(inode, &new);
        Ok(())
    }

    fn lookup(&self, dir: &Arc<Inode>, wanted: &[u8], caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        let run = self.lookup_run(dir, &[wanted], caller)?;
        Ok(run.found.into_iter().next())
    }

    fn lookup_run(&self, dir: &Arc<Inode>, names: &[&[u8]], _caller: &Caller<'_>) -> Result<LookupRun> {
        let mut run = LookupRun::default();
        let mut rest = names;
        let mut at = Arc::clone(dir);
        if self.sharing == Sharing::Exclusive {
            at = self.listed_run(dir, &mut rest, &mut run)?;
            let fs = fs(&at)?;
            let asks_much = !rest.is_empty()
                && ops(&at)?.dir_state().is_some_and(|state| {
                    state.ask_singly(&at, ops(&at).map_or(0, GoferInode::length), &fs.pace)
                });
            // An error of the listing is no error of the lookup, which is then made by itself.
            if asks_much && fs.list_for_lookups(&at).is_ok() {
                at = self.listed_run(&at, &mut rest, &mut run)?;
            }
        }
        if rest.is_empty() {
            return Ok(run);
        }
        match ops(&at)?.ask_run(&at, rest, &mut run) {
            // An error is only told of the first name.
            Err(errno) if run.found.is_empty() => Err(errno),
            _ => Ok(run),
        }
    }

    fn peek(&self, dir: &Arc<Inode>, name: &[u8]) -> Peeked {
        if self.sharing == Sharing::Shared {
            return Peeked::Unknown;
        }
        let listing = self.dir_state().and_then(|state| state.listing(dir));
        let (Some(listing), Ok(fs)) = (listing, fs(dir)) else { return Peeked::Unknown };
        match listing.peek(name, fs.changed()) {
            // Who has the inode may have changed it without a word (see `evict`).
            (_, Some(id)) if fs.is_known(id) => Peeked::Unknown,
            (peeked, _) => peeked,
        }
    }

    fn create(&self, dir: &Arc<Inode>, at: &[u8], node: &NewNode<'_>) -> Result<Arc<Inode>> {
        let fs = fs(dir)?;
        let (at, perm, owner) = (name(at)?, self.perm_in(dir, node)?, owner(node)?);
        let handle = self.handle()?;
        let kind = match node.kind {
            NewKind::Directory => {
                let mkdir = || fs.client.mkdir(handle, at, perm, owner);
                let (node, parent) = fs.with_room(mkdir)?;
                return self.made(dir, node, &parent);
            }
            NewKind::Symlink(target) => {
                let target = Target::new(target).map_err(errno)?;
                let symlink = || fs.client.symlink(handle, at, owner, target);
                let (node, parent) = fs.with_room(symlink)?;
                return self.made(dir, node, &parent);
            }
            NewKind::Regular => NodeKind::Regular,
            NewKind::Fifo => NodeKind::Fifo,
            NewKind::Socket => NodeKind::Socket,
            NewKind::CharDevice(0) => NodeKind::Whiteout,
            NewKind::CharDevice(_) | NewKind::BlockDevice(_) => return Err(Errno::EPERM),
        };
        let mknod = || fs.client.mknod(handle, at, kind, perm, owner);
        let (node, parent) = fs.with_room(mknod)?;
        self.made(dir, node, &parent)
    }

    fn leads_to_host(&self, inode: &Arc<Inode>) -> bool {
        fs(inode).is_ok_and(|fs| fs.host_sockets)
    }

    fn connect_socket(&self, inode: &Arc<Inode>, kind: SocketKind) -> Result<HostSocket> {
        super::socket::connect(inode, kind)
    }

    fn bind_socket(
        &self,
        dir: &Arc<Inode>,
        at: &[u8],
        node: &NewNode<'_>,
        kind: SocketKind,
    ) -> Result<Option<(Arc<Inode>, HostSocket)>> {
        let fs = fs(dir)?;
        if !fs.bound_sockets {
            return Ok(None);
        }
        let (at, perm, owner) = (name(at)?, self.perm_in(dir, node)?, owner(node)?);
        let (handle, kind) = (self.handle()?, super::socket::on_wire(kind));
        let bind = || fs.client.bind_socket(handle, at, kind, perm, owner);
        let (fd, node, parent) = fs.with_room(bind)?;
        let inode = self.made(dir, node, &parent)?;
        Ok(Some((inode, HostSocket::new(fd, &fs.reactor()?))))
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
        let fs = fs(dir)?;
        let (at, perm, owner) = (name(at)?, self.perm_in(dir, node)?, owner(node)?);
        let handle = self.handle()?;
        let create = || fs.client.create(handle, at, perm, owner, flags);
        let (fd, node, parent) = fs.with_room(create)?;
        let inode = self.made(dir, node, &parent)?;
        let file = Arc::new(HostFile::new(fd, true));
        ops(&inode)?.contents()?.open.lock().write = Some(Arc::downgrade(&file));
        let opened: Box<dyn FileOps> = Box::new(GoferFile::new(&inode, file));
        Ok(Created { inode, opened: Some(opened) })
    }

    fn create_unnamed(&self, dir: &Arc<Inode>, node: &NewNode<'_>, _linkable: bool) -> Result<Arc<Inode>> {
        let fs = fs(dir)?;
        let (perm, owner) = (self.perm_in(dir, node)?, owner(node)?);
        let handle = self.handle()?;
        let create = || fs.client.create_unnamed(handle, perm, owner);
        let (fd, node) = fs.with_room(create)?;
        let inode = fs.inode(&dir.sb, &node);
        // Nothing but this descriptor leads to the file's contents: it stays open with the inode.
        ops(&inode)?.contents()?.open.lock().read = Some(Arc::new(HostFile::new(fd, true)));
        Ok(inode)
    }

    fn link(&self, dir: &Arc<Inode>, at: &[u8], target: &Arc<Inode>) -> Result<()> {
        let file = ops(target)?;
        let (attr, parent) =
            fs(dir)?.client.link(file.handle()?, self.handle()?, name(at)?).map_err(errno)?;
        changed(dir);
        file.store_wire(target, &attr);
        self.store_wire(dir, &parent);
        Ok(())
    }

    fn unlink(&self, dir: &Arc<Inode>, at: &[u8], victim: &Arc<Inode>) -> Result<()> {
        // Once the name is gone, nothing leads to it but a handle.
        ops(victim)?.handle()?;
        let parent = fs(dir)?.client.unlink(self.handle()?, name(at)?, UnlinkKind::File).map_err(errno)?;
        changed(dir);
        self.store_wire(dir, &parent);
        if let Ok(ops) = ops(victim) {
            ops.names_changed(victim);
        }
        fs(dir)?.client.flush();
        Ok(())
    }

    fn rmdir(&self, dir: &Arc<Inode>, at: &[u8], victim: &Arc<Inode>) -> Result<()> {
        let gone = ops(victim)?;
        // Once the name is gone, nothing leads to it but a handle.
        gone.handle()?;
        let parent =
            fs(dir)?.client.unlink(self.handle()?, name(at)?, UnlinkKind::Directory).map_err(errno)?;
        changed(dir);
        self.store_wire(dir, &parent);
        gone.names_changed(victim);
        Ok(())
    }

    fn rename(&self, from: RenameEnd<'_>, to: RenameEnd<'_>, flags: RenameFlags) -> Result<()> {
        let new_dir = ops(to.dir)?;
        for inode in [from.inode, to.inode].into_iter().flatten() {
            ops(inode)?.handle()?;
        }
        let old = Place { dir: self.handle()?, name: name(from.name)? };
        let new = Place { dir: new_dir.handle()?, name: name(to.name)? };
        let flags = wire::RenameFlags::from_bits(flags.bits() as u16).ok_or(Errno::EINVAL)?;
        let (old_parent, new_parent) = fs(from.dir)?.client.rename(old, new, flags).map_err(errno)?;
        changed(from.dir);
        self.store_wire(from.dir, &old_parent);
        new_dir.store_wire(to.dir, &new_parent);
        for inode in [from.inode, to.inode].into_iter().flatten() {
            ops(inode)?.names_changed(inode);
        }
        Ok(())
    }

    fn read_link(&self, inode: &Inode, _caller: &Caller<'_>) -> Result<Arc<[u8]>> {
        let known = || match self.more.get().map(|more| &**more) {
            Some(More::Link(target)) => Some(Arc::clone(target)),
            _ => None,
        };
        if let Some(target) = known() {
            return Ok(target);
        }
        // Its name in the listing leads to the target, without a handle.
        if self.handle.get().is_none() {
            fs(inode)?.pace.link_is_read();
            self.walk_to(Leaf::Attr)?;
        }
        if let Some(target) = known() {
            return Ok(target);
        }
        self.store_target(fs(inode)?.client.readlink(self.handle()?).map_err(errno)?.into());
        known().ok_or(Errno::EIO)
    }

    fn open(&self, inode: &Arc<Inode>, flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        match inode.kind {
            FileType::Directory => Ok(Box::new(Directory::new(inode))),
            FileType::Regular => Ok(Box::new(GoferFile::new(inode, self.descriptor(inode, flags)?))),
            _ => Err(Errno::ENXIO),
        }
    }

    fn open_fifo(&self, inode: &Arc<Inode>, flags: OpenFlags, caller: &Caller<'_>) -> Result<OpenedOps> {
        super::fifo::open(inode, flags, caller)
    }

    fn is_special(&self, inode: &Inode) -> bool {
        inode.kind != FileType::Fifo || !fs(inode).is_ok_and(|fs| fs.host_fifos)
    }

    fn keeps_acls(&self) -> bool {
        true
    }

    fn get_acl(&self, inode: &Inode, kind: AclKind) -> Result<Option<Arc<Acl>>> {
        match self.get_xattr(inode, kind.name()) {
            Ok(value) => Ok(Acl::from_storage(&value)?.map(Arc::new)),
            // With the second the host's file system has no lists at all.
            Err(none @ (Errno::ENODATA | Errno::EOPNOTSUPP)) => {
                if self.sharing == Sharing::Exclusive {
                    inode.has_no_acl(kind);
                }
                if none == Errno::ENODATA { Ok(None) } else { Err(none) }
            }
            Err(errno) => Err(errno),
        }
    }

    fn set_acl(&self, inode: &Arc<Inode>, change: &AclChange) -> Result<()> {
        inode.acl_comes();
        let name = change.kind.name();
        match &change.acl {
            Some(acl) => self.set_xattr(inode, name, &acl.to_storage(), XattrSet::Any)?,
            None => match self.remove_xattr(inode, name) {
                Ok(()) | Err(Errno::ENODATA) => {}
                Err(errno) => return Err(errno),
            },
        }
        changed(inode);
        // The host has made the mode what the list says; it would let the Gofer keep any set-group-ID bit.
        let attr = fs(inode)?.client.stat(self.handle()?).map_err(errno)?;
        self.store_wire(inode, &attr);
        let (mode, _, _) = inode.owner();
        if change.kind == AclKind::Access && !change.keeps_set_gid && mode & S_ISGID != 0 {
            let permissions = Some(mode & S_IALLUGO & !S_ISGID);
            self.set_attr(inode, &SetAttr { permissions, ..SetAttr::default() })?;
        }
        Ok(())
    }

    fn get_xattr(&self, inode: &Inode, attribute: &[u8]) -> Result<Vec<u8>> {
        let attribute = wire::XattrName::new(attribute).map_err(errno)?;
        fs(inode)?.client.get_xattr(self.handle()?, attribute).map_err(errno)
    }

    fn set_xattr(&self, inode: &Arc<Inode>, attribute: &[u8], value: &[u8], mode: XattrSet) -> Result<()> {
        let attribute = wire::XattrName::new(attribute).map_err(errno)?;
        let mode = match mode {
            XattrSet::Any => wire::SetMode::Any,
            XattrSet::Create => wire::SetMode::Create,
            XattrSet::Replace => wire::SetMode::Replace,
        };
        fs(inode)?.client.set_xattr(self.handle()?, attribute, mode, value).map_err(errno)
    }

    fn remove_xattr(&self, inode: &Arc<Inode>, attribute: &[u8]) -> Result<()> {
        let attribute = wire::XattrName::new(attribute).map_err(errno)?;
        fs(inode)?.client.remove_xattr(self.handle()?, attribute).map_err(errno)
    }

    fn list_xattr(&self, inode: &Inode) -> Result<Vec<Vec<u8>>> {
        let names = fs(inode)?.client.list_xattr(self.handle()?).map_err(errno)?;
        Ok(names.split(|b| *b == 0).filter(|n| !n.is_empty()).map(<[u8]>::to_vec).collect())
    }

    fn evict(&self, inode: &Inode) {
        // Only the first of several writes tells of itself, and no write by a mapping does.
        let is_written = |contents: &Contents| contents.open.lock().write.is_some();
        if self.stale.load(Ordering::Acquire) || self.contents_if_any().is_some_and(is_written) {
            changed(inode);
        }
        if let (Some(handle), Ok(fs)) = (self.handle.get(), fs(inode)) {
            fs.client.release(handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that malloc takes for a `T`, with `more` in front of it.
    fn allocated<T>(more: usize) -> usize {
        (size_of::<T>() + more + 8).next_multiple_of(16)
    }

    #[test]
    fn a_cached_file_is_small() {
        let counts = 2 * size_of::<usize>();
        assert_eq!(allocated::<GoferInode>(0), 144);
        assert_eq!(allocated::<Origin>(0), 48);
        assert_eq!(allocated::<Inode>(counts), 80);
        assert_eq!(allocated::<crate::vfs::Dentry>(counts), 96);
    }
}
