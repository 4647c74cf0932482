//! A small server, over raw system calls: a tree in memory, in a child of the case.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::filesystems::own_mounts;
use crate::kit::prelude::*;

pub const LOOKUP: u32 = 1;
pub const FORGET: u32 = 2;
pub const GETATTR: u32 = 3;
pub const SETATTR: u32 = 4;
pub const READLINK: u32 = 5;
pub const SYMLINK: u32 = 6;
pub const MKNOD: u32 = 8;
pub const MKDIR: u32 = 9;
pub const UNLINK: u32 = 10;
pub const RMDIR: u32 = 11;
pub const RENAME: u32 = 12;
pub const LINK: u32 = 13;
pub const OPEN: u32 = 14;
/// What a server tells without being asked: the contents of a node have changed.
const NOTIFY_INVAL_INODE: i32 = 2;

pub const READ: u32 = 15;
pub const WRITE: u32 = 16;
pub const STATFS: u32 = 17;
pub const RELEASE: u32 = 18;
pub const FSYNC: u32 = 20;
pub const SETXATTR: u32 = 21;
pub const GETXATTR: u32 = 22;
pub const LISTXATTR: u32 = 23;
pub const REMOVEXATTR: u32 = 24;
pub const FLUSH: u32 = 25;
pub const INIT: u32 = 26;
pub const OPENDIR: u32 = 27;
pub const READDIR: u32 = 28;
pub const RELEASEDIR: u32 = 29;
pub const FSYNCDIR: u32 = 30;
pub const ACCESS: u32 = 34;
pub const CREATE: u32 = 35;
pub const INTERRUPT: u32 = 36;
pub const BATCH_FORGET: u32 = 42;
pub const FALLOCATE: u32 = 43;
pub const READDIRPLUS: u32 = 44;
pub const RENAME2: u32 = 45;
pub const LSEEK: u32 = 46;

/// The server applies the umask itself.
pub const DONT_MASK: u32 = 1 << 6;
/// READDIRPLUS may be used.
pub const DO_READDIRPLUS: u32 = 1 << 13;
pub const DIRECT_IO: u32 = 1;
pub const KEEP_CACHE: u32 = 2;

/// What case and server share.
pub struct Control {
    /// How often each request has come.
    pub counts: [AtomicU32; 64],
    /// Seconds for which entries and attributes are good.
    pub entry_valid: AtomicU64,
    pub attr_valid: AtomicU64,
    /// Flags of the answer to INIT.
    pub init_flags: AtomicU32,
    /// Flags of answers to OPEN and CREATE.
    pub open_flags: AtomicU32,
    /// A request that is not answered.
    pub silent: AtomicU32,
    /// A request that fails, and how.
    pub failing: AtomicU32,
    pub errno: AtomicU32,
    /// Who asked last: uid, gid, pid.
    pub asker: [AtomicU32; 3],
    /// Arguments of the last ACCESS, OPEN and FSYNC.
    pub access: AtomicU32,
    pub opened: AtomicU32,
    /// Nodes with references that the kernel holds, and all those references.
    pub held: AtomicU64,
    /// The last RENAME2's flags, and the last WRITE's size.
    pub rename_flags: AtomicU32,
    pub written: AtomicU32,
    /// It goes by paths: what LINK makes is a node of its own.
    pub by_path: AtomicU32,
    /// The umask that came with the last MKNOD, MKDIR or CREATE.
    pub umask: AtomicU32,
    /// A node whose first byte the server changes at the next STATFS, and tells the kernel so.
    pub changes: AtomicU32,
    /// Answers an INTERRUPT by letting the interrupted request fail with EINTR.
    pub obeys: AtomicU32,
}

impl Control {
    pub fn count(&self, opcode: u32) -> u32 {
        self.counts[opcode as usize].load(Ordering::SeqCst)
    }
}

/// A mounted file system and its server.
pub struct Fuse {
    pub control: &'static Control,
    pub child: Child,
}

/// An open device; skips without one.
#[track_caller]
pub fn device() -> c_int {
    match sys!(openat, AT_FDCWD, c"/dev/fuse", O_RDWR | O_CLOEXEC, 0) {
        Ok(fd) => fd as c_int,
        Err(e) => skip(format_args!("/dev/fuse: {e:?}")),
    }
}

/// Options for a mount by `fd`.
pub fn options(fd: c_int, more: &str) -> CString {
    CString::new(format!("fd={fd},rootmode=40000,user_id=0,group_id=0{more}")).unwrap_or_default()
}

/// Serves a tree with a few files at `m`; `prepare` sets knobs and more files.
#[track_caller]
pub fn serve(more: &str, prepare: impl FnOnce(&'static Control, &mut Tree)) -> Fuse {
    own_mounts();
    let control = shared::<Control>();
    let fd = device();
    let mut tree = Tree::new();
    prepare(control, &mut tree);
    mkdir(c"m");
    let child = fork(|| Server { fd, control, tree, waiting: None }.run());
    ok(sys!(mount, c"server", c"m", c"fuse", 0, options(fd, more).as_c_str()));
    close(fd);
    Fuse { control, child }
}

impl Fuse {
    /// Unmounts; the server finds its device gone and ends.
    #[track_caller]
    pub fn unmount(self) {
        ok(sys!(umount2, c"m", 0));
        self.child.succeeds();
    }
}

#[derive(Default)]
pub struct Node {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub data: Vec<u8>,
    pub children: BTreeMap<Vec<u8>, u64>,
    pub nlink: u32,
    pub rdev: u32,
    pub times: [(u64, u32); 2],
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub lookups: u64,
}

/// The tree, by node.
pub struct Tree {
    pub nodes: BTreeMap<u64, Node>,
    next: u64,
}

impl Tree {
    fn new() -> Tree {
        let root = Node { mode: S_IFDIR | 0o755, nlink: 2, times: [(1000, 0); 2], ..Node::default() };
        let mut tree = Tree { nodes: BTreeMap::new(), next: 2 };
        tree.nodes.insert(1, root);
        tree.file(1, "f", b"contents");
        let dir = tree.add(1, b"d", S_IFDIR | 0o755);
        tree.file(dir, "a", b"a");
        tree.file(dir, "b", b"bb");
        let link = tree.add(1, b"l", S_IFLNK | 0o777);
        if let Some(node) = tree.nodes.get_mut(&link) {
            node.data = b"f".to_vec();
        }
        tree
    }

    /// A new file in `dir`.
    pub fn file(&mut self, dir: u64, name: &str, data: &[u8]) -> u64 {
        let id = self.add(dir, name.as_bytes(), S_IFREG | 0o644);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.data = data.to_vec();
        }
        id
    }

    pub fn add(&mut self, dir: u64, name: &[u8], mode: u32) -> u64 {
        let id = self.next;
        self.next += 1;
        let nlink = if mode & S_IFMT == S_IFDIR { 2 } else { 1 };
        self.nodes.insert(id, Node { mode, nlink, times: [(1000, 0); 2], ..Node::default() });
        if let Some(parent) = self.nodes.get_mut(&dir) {
            parent.children.insert(name.to_vec(), id);
        }
        id
    }

    fn child(&self, dir: u64, name: &[u8]) -> Option<u64> {
        self.nodes.get(&dir)?.children.get(name).copied()
    }
}

struct Server {
    fd: c_int,
    control: &'static Control,
    tree: Tree,
    /// The request that is not answered.
    waiting: Option<u64>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

fn name_at(bytes: &[u8], at: usize) -> Vec<u8> {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.split(|b| *b == 0).next().unwrap_or_default().to_vec()
}

/// A structure of the wire, field by field.
#[derive(Default)]
pub struct Wire(pub Vec<u8>);

impl Wire {
    pub fn w32(mut self, value: u32) -> Wire {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub fn w64(mut self, value: u64) -> Wire {
        self.0.extend(value.to_ne_bytes());
        self
    }
}

/// Sends an answer; what write(2) says.
pub fn answer(fd: c_int, unique: u64, error: i32, body: &[u8]) -> Answer {
    let len = 16 + body.len() as u32;
    let mut bytes = Wire::default().w32(len).w32(error as u32).w64(unique).0;
    bytes.extend(body);
    sys!(write, fd, bytes.as_ptr(), bytes.len())
}

/// The answer to INIT.
pub fn init_out(flags: u32) -> Vec<u8> {
    let head = Wire::default().w32(7).w32(31).w32(65536).w32(flags).w32(16 << 16 | 12).w32(65536).w32(1);
    (0..9).fold(head, |wire, _| wire.w32(0)).0
}

/// The next request, whole. `None`: the device is gone.
pub fn next(fd: c_int) -> Option<Vec<u8>> {
    let mut buffer = vec![0u8; 256 * 1024];
    loop {
        match sys!(read, fd, buffer.as_mut_ptr(), buffer.len()) {
            Ok(n) => {
                buffer.truncate(n as usize);
                return Some(buffer);
            }
            Err(e) if e.0 == EINTR || e.0 == ENOENT => {}
            // Not mounted yet.
            Err(e) if e.0 == EPERM => sleep_ms(1),
            Err(_) => return None,
        }
    }
}

/// `(opcode, unique, node)` of a request.
pub fn header(request: &[u8]) -> (u32, u64, u64) {
    (u32_at(request, 4), u64_at(request, 8), u64_at(request, 16))
}

impl Server {
    fn run(mut self) {
        while let Some(request) = next(self.fd) {
            let (opcode, unique, node) = header(&request);
            self.control.counts[opcode as usize].fetch_add(1, Ordering::SeqCst);
            if !matches!(opcode, FORGET | BATCH_FORGET | INTERRUPT | RELEASE | RELEASEDIR) {
                for (slot, at) in self.control.asker.iter().zip([24, 28, 32]) {
                    slot.store(u32_at(&request, at), Ordering::SeqCst);
                }
            }
            if opcode == self.control.silent.load(Ordering::SeqCst) {
                self.waiting = Some(unique);
                continue;
            }
            let failing = opcode == self.control.failing.load(Ordering::SeqCst);
            let errno = self.control.errno.load(Ordering::SeqCst) as i32;
            let outcome = match failing {
                true if errno != 0 => Err(errno),
                _ => self.serve(opcode, node, &request[40..]),
            };
            self.count_held();
            let _ = match outcome {
                Ok(Some(body)) => answer(self.fd, unique, 0, &body),
                Ok(None) => Ok(0),
                Err(errno) => answer(self.fd, unique, -errno, &[]),
            };
        }
    }

    fn count_held(&self) {
        let held: u64 = self.tree.nodes.values().map(|node| node.lookups).sum();
        self.control.held.store(held, Ordering::SeqCst);
    }

    fn attr(&self, id: u64, wire: Wire) -> Wire {
        let Some(node) = self.tree.nodes.get(&id) else { return wire };
        let size = node.data.len() as u64;
        let [atime, mtime] = node.times;
        wire.w64(id)
            .w64(size)
            .w64(size.div_ceil(512))
            .w64(atime.0)
            .w64(mtime.0)
            .w64(mtime.0)
            .w32(atime.1)
            .w32(mtime.1)
            .w32(mtime.1)
            .w32(node.mode)
            .w32(node.nlink)
            .w32(node.uid)
            .w32(node.gid)
            .w32(node.rdev)
            .w32(4096)
            .w32(0)
    }

    fn entry(&mut self, id: u64) -> Vec<u8> {
        if let Some(node) = self.tree.nodes.get_mut(&id) {
            node.lookups += 1;
        }
        let entry = self.control.entry_valid.load(Ordering::SeqCst);
        let attr = self.control.attr_valid.load(Ordering::SeqCst);
        self.attr(id, Wire::default().w64(id).w64(0).w64(entry).w64(attr).w32(0).w32(0)).0
    }

    fn attr_out(&self, id: u64) -> Vec<u8> {
        let valid = self.control.attr_valid.load(Ordering::SeqCst);
        self.attr(id, Wire::default().w64(valid).w32(0).w32(0)).0
    }

    fn open_out(&self, id: u64) -> Vec<u8> {
        Wire::default().w64(id + 100).w32(self.control.open_flags.load(Ordering::SeqCst)).w32(0).0
    }

    fn node(&mut self, id: u64) -> Result<&mut Node, i32> {
        self.tree.nodes.get_mut(&id).ok_or(ENOENT)
    }

    fn forget(&mut self, id: u64, lookups: u64) {
        if let Some(node) = self.tree.nodes.get_mut(&id) {
            node.lookups = node.lookups.saturating_sub(lookups);
        }
    }

    fn remove(&mut self, dir: u64, name: &[u8]) -> Result<(), i32> {
        let id = self.node(dir)?.children.remove(name).ok_or(ENOENT)?;
        self.node(id)?.nlink -= 1;
        Ok(())
    }

    fn make(&mut self, dir: u64, name: &[u8], mode: u32, request: &[u8]) -> Result<u64, i32> {
        if self.tree.child(dir, name).is_some() {
            return Err(EEXIST);
        }
        let id = self.tree.add(dir, name, mode);
        let asker = &self.control.asker;
        let (uid, gid) = (asker[0].load(Ordering::SeqCst), asker[1].load(Ordering::SeqCst));
        let node = self.node(id)?;
        (node.uid, node.gid) = (uid, gid);
        let _ = request;
        Ok(id)
    }

    fn serve(&mut self, opcode: u32, id: u64, body: &[u8]) -> Result<Option<Vec<u8>>, i32> {
        let done = Ok(Some(Vec::new()));
        match opcode {
            INIT => {
                let flags = self.control.init_flags.load(Ordering::SeqCst);
                Ok(Some(init_out(flags & u32_at(body, 12))))
            }
            LOOKUP => {
                let child = self.tree.child(id, &name_at(body, 0)).ok_or(ENOENT)?;
                Ok(Some(self.entry(child)))
            }
            FORGET => {
                self.forget(id, u64_at(body, 0));
                Ok(None)
            }
            BATCH_FORGET => {
                for at in 0..u32_at(body, 0) as usize {
                    self.forget(u64_at(body, 8 + at * 16), u64_at(body, 16 + at * 16));
                }
                Ok(None)
            }
            INTERRUPT => {
                let unique = u64_at(body, 0);
                if self.control.obeys.load(Ordering::SeqCst) != 0 && self.waiting == Some(unique) {
                    self.waiting = None;
                    let _ = answer(self.fd, unique, -EINTR, &[]);
                }
                Ok(None)
            }
            GETATTR => Ok(Some(self.attr_out(id))),
            SETATTR => {
                let valid = u32_at(body, 0);
                let node = self.node(id)?;
                if valid & 1 != 0 {
                    node.mode = u32_at(body, 68);
                }
                if valid & 2 != 0 {
                    node.uid = u32_at(body, 76);
                }
                if valid & 4 != 0 {
                    node.gid = u32_at(body, 80);
                }
                if valid & 8 != 0 {
                    node.data.resize(u64_at(body, 16) as usize, 0);
                }
                if valid & 0x10 != 0 && valid & 0x80 == 0 {
                    node.times[0] = (u64_at(body, 32), u32_at(body, 56));
                }
                if valid & 0x20 != 0 && valid & 0x100 == 0 {
                    node.times[1] = (u64_at(body, 40), u32_at(body, 60));
                }
                Ok(Some(self.attr_out(id)))
            }
            READLINK => Ok(Some(self.node(id)?.data.clone())),
            SYMLINK => {
                let name = name_at(body, 0);
                let target = name_at(body, name.len() + 1);
                let new = self.make(id, &name, S_IFLNK | 0o777, body)?;
                self.node(new)?.data = target;
                Ok(Some(self.entry(new)))
            }
            MKNOD => {
                let new = self.make(id, &name_at(body, 16), u32_at(body, 0), body)?;
                self.node(new)?.rdev = u32_at(body, 4);
                self.control.umask.store(u32_at(body, 8), Ordering::SeqCst);
                Ok(Some(self.entry(new)))
            }
            MKDIR => {
                let new = self.make(id, &name_at(body, 8), S_IFDIR | u32_at(body, 0), body)?;
                self.control.umask.store(u32_at(body, 4), Ordering::SeqCst);
                Ok(Some(self.entry(new)))
            }
            CREATE => {
                let new = self.make(id, &name_at(body, 16), u32_at(body, 4), body)?;
                self.control.opened.store(u32_at(body, 0), Ordering::SeqCst);
                self.control.umask.store(u32_at(body, 8), Ordering::SeqCst);
                let mut out = self.entry(new);
                out.extend(self.open_out(new));
                Ok(Some(out))
            }
            UNLINK => self.remove(id, &name_at(body, 0)).and(done),
            RMDIR => {
                let name = name_at(body, 0);
                let child = self.tree.child(id, &name).ok_or(ENOENT)?;
                if !self.node(child)?.children.is_empty() {
                    return Err(ENOTEMPTY);
                }
                self.remove(id, &name).and(done)
            }
            RENAME | RENAME2 => {
                let (to, mut at) = (u64_at(body, 0), 8);
                if opcode == RENAME2 {
                    self.control.rename_flags.store(u32_at(body, 8), Ordering::SeqCst);
                    at = 16;
                }
                let (old, new) = (name_at(body, at), name_at(body, at + name_at(body, at).len() + 1));
                let child = self.tree.child(id, &old).ok_or(ENOENT)?;
                let there = self.tree.child(to, &new);
                self.node(id)?.children.remove(&old);
                self.node(to)?.children.insert(new, child);
                if opcode == RENAME2 && u32_at(body, 8) & 2 != 0 {
                    self.node(id)?.children.insert(old, there.ok_or(ENOENT)?);
                }
                done
            }
            LINK => {
                let target = u64_at(body, 0);
                self.node(target)?.nlink += 1;
                if self.control.by_path.load(Ordering::SeqCst) != 0 {
                    let (mode, data) = (self.node(target)?.mode, self.node(target)?.data.clone());
                    let new = self.make(id, &name_at(body, 8), mode, body)?;
                    self.node(new)?.data = data;
                    return Ok(Some(self.entry(new)));
                }
                self.node(id)?.children.insert(name_at(body, 8), target);
                Ok(Some(self.entry(target)))
            }
            OPEN => {
                self.control.opened.store(u32_at(body, 0), Ordering::SeqCst);
                Ok(Some(self.open_out(id)))
            }
            OPENDIR => Ok(Some(self.open_out(id))),
            READ => {
                if u64_at(body, 0) != id + 100 {
                    return Err(EBADF);
                }
                let (from, len) = (u64_at(body, 8) as usize, u32_at(body, 16) as usize);
                let data = &self.node(id)?.data;
                let from = from.min(data.len());
                Ok(Some(data[from..(from + len).min(data.len())].to_vec()))
            }
            WRITE => {
                let (at, len) = (u64_at(body, 8) as usize, u32_at(body, 16) as usize);
                self.control.written.store(len as u32, Ordering::SeqCst);
                let data = &mut self.node(id)?.data;
                if data.len() < at + len {
                    data.resize(at + len, 0);
                }
                data[at..at + len].copy_from_slice(&body[40..40 + len]);
                Ok(Some(Wire::default().w32(len as u32).w32(0).0))
            }
            STATFS => {
                let changed = self.control.changes.swap(0, Ordering::SeqCst).into();
                if let Some(node) = self.tree.nodes.get_mut(&changed) {
                    node.data[0] = b'!';
                    let body = Wire::default().w64(changed).w64(0).w64(0).0;
                    ok(answer(self.fd, 0, NOTIFY_INVAL_INODE, &body));
                }
                let head = Wire::default().w64(1000).w64(500).w64(400).w64(30).w64(20);
                let head = head.w32(4096).w32(200).w32(1024).w32(0);
                Ok(Some((0..6).fold(head, |wire, _| wire.w32(0)).0))
            }
            RELEASE | RELEASEDIR | FLUSH => done,
            FSYNC | FSYNCDIR => {
                self.control.opened.store(u32_at(body, 8), Ordering::SeqCst);
                done
            }
            ACCESS => {
                self.control.access.store(u32_at(body, 0), Ordering::SeqCst);
                done
            }
            READDIR | READDIRPLUS => self.list(id, u64_at(body, 8), u32_at(body, 16), opcode == READDIRPLUS),
            SETXATTR => {
                let (size, flags) = (u32_at(body, 0) as usize, u32_at(body, 4));
                let name = name_at(body, 8);
                let at = 8 + name.len() + 1;
                let there = self.node(id)?.xattrs.contains_key(&name);
                if flags & 1 != 0 && there {
                    return Err(EEXIST);
                }
                if flags & 2 != 0 && !there {
                    return Err(ENODATA);
                }
                let value = body[at..at + size].to_vec();
                self.node(id)?.xattrs.insert(name, value);
                done
            }
            GETXATTR => {
                let size = u32_at(body, 0) as usize;
                let value = self.node(id)?.xattrs.get(&name_at(body, 8)).cloned().ok_or(ENODATA)?;
                sized(value, size)
            }
            LISTXATTR => {
                let size = u32_at(body, 0) as usize;
                let mut list = Vec::new();
                for name in self.node(id)?.xattrs.keys() {
                    list.extend(name);
                    list.push(0);
                }
                sized(list, size)
            }
            REMOVEXATTR => {
                self.node(id)?.xattrs.remove(&name_at(body, 0)).ok_or(ENODATA)?;
                done
            }
            FALLOCATE => {
                let end = (u64_at(body, 8) + u64_at(body, 16)) as usize;
                let data = &mut self.node(id)?.data;
                if data.len() < end && u32_at(body, 24) & 1 == 0 {
                    data.resize(end, 0);
                }
                done
            }
            LSEEK => {
                let (at, whence) = (u64_at(body, 8), u32_at(body, 16));
                let size = self.node(id)?.data.len() as u64;
                // A hole from 4 to 6.
                match whence {
                    _ if at >= size => Err(ENXIO),
                    3 if (4..6).contains(&at) => Ok(Some(Wire::default().w64(6).0)),
                    3 => Ok(Some(Wire::default().w64(at).0)),
                    _ if at < 4 => Ok(Some(Wire::default().w64(4).0)),
                    _ => Ok(Some(Wire::default().w64(size).0)),
                }
            }
            _ => Err(ENOSYS),
        }
    }

    fn list(&mut self, id: u64, from: u64, room: u32, plus: bool) -> Result<Option<Vec<u8>>, i32> {
        let mut entries: Vec<(Vec<u8>, u64)> = vec![(b".".to_vec(), id), (b"..".to_vec(), 1)];
        entries.extend(self.node(id)?.children.iter().map(|(name, id)| (name.clone(), *id)));
        let mut out = Vec::new();
        for (at, (name, child)) in entries.into_iter().enumerate().skip(from as usize) {
            let size = 24 + name.len().next_multiple_of(8) + if plus { 128 } else { 0 };
            // Three at a time, so that listings go on.
            if out.len() + size > room as usize || at as u64 >= from + 3 {
                break;
            }
            if plus {
                match at {
                    0 | 1 => out.extend([0; 128]),
                    _ => out.extend(self.entry(child)),
                }
            }
            let mode = self.node(child)?.mode;
            let head = Wire(std::mem::take(&mut out)).w64(child).w64(at as u64 + 1);
            out = head.w32(name.len() as u32).w32((mode & S_IFMT) >> 12).0;
            out.extend(&name);
            out.resize(out.len().next_multiple_of(8), 0);
        }
        Ok(Some(out))
    }
}

fn sized(value: Vec<u8>, size: usize) -> Result<Option<Vec<u8>>, i32> {
    if size == 0 {
        return Ok(Some(Wire::default().w32(value.len() as u32).w32(0).0));
    }
    if value.len() > size { Err(ERANGE) } else { Ok(Some(value)) }
}
