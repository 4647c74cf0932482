//! Directories.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::S_IFDIR;

use super::attr;
use crate::Result;
use crate::vfs::permission::generic_permission;
use crate::vfs::{Attr, Blocking, Caller, File, FileOps, Inode, InodeOps, NewNode, SeekFrom, Want};

const DT_DIR: u8 = 4;
/// Positions of `.` and `..`; entries follow.
const DOTS: u64 = 2;

/// One name of a listing.
pub struct Entry {
    /// Name.
    pub name: Vec<u8>,
    /// Inode number; 0 is replaced by 1, which means nothing.
    pub ino: u64,
    /// DT_ type.
    pub kind: u8,
    /// Position, from which a listing goes on with what follows; rising, and the same for the same entry each time.
    pub position: u64,
}

/// What is in a directory.
pub trait Children: Send + Sync + Any {
    /// The file with this name. Asked again for a name that was found before, it must give the same inode as long as
    /// it is the same file.
    fn find(&self, dir: &Arc<Inode>, name: &[u8], caller: &Caller<'_>) -> Result<Option<Arc<Inode>>>;

    /// Entries at and after `position` (0 is the first), in the order of their positions.
    fn list(&self, dir: &Arc<Inode>, position: u64) -> Result<Vec<Entry>>;

    /// Mode, owner and group of the directory now.
    fn owner(&self) -> (u32, u32, u32) {
        (0o555, 0, 0)
    }

    /// Number of links.
    fn links(&self) -> u32 {
        2
    }

    /// Whether `caller` may do what it `want`s; the inode has the owner of now.
    fn permission(&self, dir: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        generic_permission(dir, caller.creds, want)
    }
}

/// A directory whose entries `C` knows.
pub struct PseudoDir<C>(pub C);

impl<C: Children> PseudoDir<C> {
    /// Its inode.
    pub fn inode(sb: &Arc<crate::vfs::SuperBlock>, children: C) -> Arc<Inode> {
        let (mode, uid, gid) = children.owner();
        let attr = attr(sb.next_ino(), S_IFDIR | mode, children.links(), uid, gid);
        Inode::new(sb, &attr, Box::new(PseudoDir(children)))
    }
}

impl<C: Children> InodeOps for PseudoDir<C> {
    fn attr(&self, inode: &Inode) -> Result<Attr> {
        let (mode, uid, gid) = self.0.owner();
        inode.set_owner(S_IFDIR | mode, uid, gid);
        Ok(attr(inode.ino, S_IFDIR | mode, self.0.links(), uid, gid))
    }

    fn permission(&self, inode: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        let (mode, uid, gid) = self.0.owner();
        inode.set_owner(S_IFDIR | mode, uid, gid);
        self.0.permission(inode, caller, want)
    }

    fn lookup(&self, dir: &Arc<Inode>, name: &[u8], caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        match self.0.find(dir, name, caller)? {
            // proc answers so to those who would make something: there is not even a name that is not there.
            None if dir.sb.kind() == "proc" => Err(Errno::ENOENT),
            found => Ok(found),
        }
    }

    fn create(&self, _dir: &Arc<Inode>, _name: &[u8], _node: &NewNode<'_>) -> Result<Arc<Inode>> {
        // As procfs says it: such a name is not there, and never will be.
        Err(Errno::ENOENT)
    }

    fn open(&self, inode: &Arc<Inode>, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        Ok(Box::new(OpenDir::<C> { inode: Arc::clone(inode), children: std::marker::PhantomData }))
    }
}

struct OpenDir<C> {
    inode: Arc<Inode>,
    children: std::marker::PhantomData<fn() -> C>,
}

impl<C: Children> FileOps for OpenDir<C> {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, _file: &File, _dst: &mut dyn crate::vfs::IoSink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        to.without_end(current)
    }

    fn read_dir(&self, file: &File, offset: u64, emit: &mut crate::vfs::file::EmitEntry<'_>) -> Result<u64> {
        let mut at = offset;
        while at < DOTS {
            let up = || file.path.parent().map_or(self.inode.ino, |p| p.inode().ino);
            let (name, ino): (&[u8], u64) = if at == 0 { (b".", self.inode.ino) } else { (b"..", up()) };
            if !emit(name, ino, at + 1, DT_DIR) {
                return Ok(at);
            }
            at += 1;
        }
        let dir = self.inode.downcast::<PseudoDir<C>>().ok_or(Errno::EIO)?;
        for entry in dir.0.list(&self.inode, at - DOTS)? {
            let next = entry.position + DOTS + 1;
            if !emit(&entry.name, entry.ino.max(1), next, entry.kind) {
                break;
            }
            at = next;
        }
        Ok(at)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A directory whose entries never change.
#[derive(Default)]
pub struct StaticDir {
    entries: BTreeMap<Vec<u8>, Arc<Inode>>,
}

impl StaticDir {
    /// Adds an entry.
    pub fn add(&mut self, name: &str, inode: Arc<Inode>) {
        self.entries.insert(name.as_bytes().to_vec(), inode);
    }

    /// The entry with this name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Inode>> {
        self.entries.get(name)
    }

    /// All entries, with positions from `first` on.
    pub fn entries(&self, first: u64) -> impl Iterator<Item = Entry> + '_ {
        self.entries.iter().enumerate().map(move |(index, (name, inode))| Entry {
            name: name.clone(),
            ino: inode.ino,
            kind: (inode.kind.mode() >> 12) as u8,
            position: first + index as u64,
        })
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Children for StaticDir {
    fn find(&self, _dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        Ok(self.entries.get(name).cloned())
    }

    fn list(&self, _dir: &Arc<Inode>, position: u64) -> Result<Vec<Entry>> {
        Ok(self.entries(0).skip(position as usize).collect())
    }

    fn links(&self) -> u32 {
        2 + self.entries.values().filter(|i| i.is_dir()).count() as u32
    }
}
