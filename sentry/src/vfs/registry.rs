//! What the VFS of one sandbox knows of the rest of the kernel: kinds of file systems, drivers behind device nodes,
//! the memory that files in memory use.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::{major, minor};
use platform::MemoryFile;
use sync::RwLock;

use super::attr::FileType;
use super::caller::Caller;
use super::dentry::Dentry;
use super::file::{AccessMode, FileOps};
use super::path::Path;
use super::pipe::{Fifo, FifoOpen, FifoOpening};
use crate::Result;
use crate::wait::WaitQueue;

/// Opens device nodes of some numbers.
pub trait Driver: Send + Sync {
    /// Opens what is at `place`.
    fn open(&self, place: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<OpenedOps>;
}

/// How the opening of a FIFO or device goes on.
pub enum OpenedOps {
    /// It is open.
    Ready(Box<dyn FileOps>),
    /// It waits for something: the other end of a FIFO, the carrier of a line.
    Waiting(Box<dyn PendingOpen>),
}

impl OpenedOps {
    /// The operations; EAGAIN when they have to be waited for.
    pub fn now(self) -> Result<Box<dyn FileOps>> {
        match self {
            OpenedOps::Ready(ops) => Ok(ops),
            OpenedOps::Waiting(_) => Err(Errno::EAGAIN),
        }
    }
}

/// An opening that waits. Dropped when a signal came first.
pub trait PendingOpen: Send {
    /// Where to wait; `None` once it is ready.
    fn wait_queue(&self) -> Option<&WaitQueue>;

    /// The operations, or an error, once it is ready. Given once.
    fn ready(&mut self) -> Option<Result<Box<dyn FileOps>>>;
}

impl PendingOpen for FifoOpening {
    fn wait_queue(&self) -> Option<&WaitQueue> {
        FifoOpening::wait_queue(self)
    }

    fn ready(&mut self) -> Option<Result<Box<dyn FileOps>>> {
        FifoOpening::ready(self).map(|end| Ok(Box::new(end) as Box<dyn FileOps>))
    }
}

/// What mount(2) is asked for.
#[derive(Clone, Copy)]
pub struct MountRequest<'a> {
    /// The source as given.
    pub source: &'a [u8],
    /// Comma-separated options of the file system.
    pub options: &'a [u8],
    /// MS_RDONLY.
    pub read_only: bool,
}

/// A kind of file system.
pub trait FileSystemType: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Whether it needs a block device (`nodev` is missing in /proc/filesystems).
    fn needs_device(&self) -> bool {
        false
    }

    /// Whether a user namespace's root may mount it.
    fn allowed_in_user_ns(&self) -> bool {
        false
    }

    /// Whether it knows an option (`key` or `key=value`): EINVAL when not. Kinds that do not look find out when they
    /// mount.
    fn check_option(&self, _option: &[u8]) -> Result<()> {
        Ok(())
    }

    /// This kind with a name behind a dot, `fuse.sshfs`: where that means nothing more than the name.
    fn with_subtype(&self, _subtype: &[u8]) -> Option<Arc<dyn FileSystemType>> {
        None
    }

    /// Makes or finds the file system, and gives the root of it.
    fn mount(&self, request: &MountRequest<'_>, caller: &Caller<'_>) -> Result<Arc<Dentry>>;
}

struct CharDrivers {
    minors: RangeInclusive<u32>,
    driver: Arc<dyn Driver>,
}

/// The VFS of one sandbox.
pub struct Vfs {
    memory: Arc<MemoryFile>,
    types: RwLock<Vec<Arc<dyn FileSystemType>>, sync::levels::Leaf>,
    devices: RwLock<HashMap<u32, Vec<CharDrivers>>, sync::levels::Leaf>,
}

impl Vfs {
    /// Without any kind of file system and any driver.
    pub fn new(memory: Arc<MemoryFile>) -> Arc<Vfs> {
        Arc::new(Vfs { memory, types: RwLock::default(), devices: RwLock::default() })
    }

    /// Where file contents are kept.
    pub fn memory(&self) -> &Arc<MemoryFile> {
        &self.memory
    }

    /// Makes a kind of file system known to mount(2).
    pub fn register_type(&self, kind: Arc<dyn FileSystemType>) {
        self.types.write().push(kind);
    }

    /// The kind with this name; ENODEV without one.
    pub fn file_system_type(&self, name: &[u8]) -> Result<Arc<dyn FileSystemType>> {
        let types = self.types.read();
        let find = |name: &[u8]| types.iter().find(|kind| kind.name().as_bytes() == name).cloned();
        find(name)
            .or_else(|| {
                let dot = name.iter().position(|byte| *byte == b'.')?;
                find(&name[..dot])?.with_subtype(&name[dot + 1..])
            })
            .ok_or(Errno::ENODEV)
    }

    /// All kinds, for /proc/filesystems.
    pub fn file_system_types(&self) -> Vec<Arc<dyn FileSystemType>> {
        self.types.read().clone()
    }

    /// Sets the driver of character devices `major`:`minors`.
    pub fn register_char_devices(&self, major: u32, minors: RangeInclusive<u32>, driver: Arc<dyn Driver>) {
        self.devices.write().entry(major).or_default().push(CharDrivers { minors, driver });
    }

    /// Opens what is at `place`: its file system does, or the driver of what it stands for.
    pub fn open_place(&self, place: &Path, flags: OpenFlags, caller: &Caller<'_>) -> Result<OpenedOps> {
        let inode = place.inode();
        let is_special = || inode.ops().is_special(inode);
        match inode.kind {
            FileType::Socket => Err(Errno::ENXIO),
            FileType::Fifo if is_special() => {
                let fifo = inode.attach_with(Arc::<Fifo>::default);
                let nonblocking = flags.contains(OpenFlags::NONBLOCK);
                Ok(match fifo.open(AccessMode::from_flags(flags), nonblocking)? {
                    FifoOpen::Ready(end) => OpenedOps::Ready(Box::new(end)),
                    FifoOpen::Waiting(opening) => OpenedOps::Waiting(Box::new(opening)),
                })
            }
            FileType::CharDevice if is_special() => {
                let driver = {
                    let devices = self.devices.read();
                    let of_major = devices.get(&major(inode.rdev())).map_or(&[][..], Vec::as_slice);
                    let minor = minor(inode.rdev());
                    of_major.iter().find(|d| d.minors.contains(&minor)).map(|d| Arc::clone(&d.driver))
                };
                driver.ok_or(Errno::ENXIO)?.open(place, flags, caller)
            }
            FileType::BlockDevice if is_special() => Err(Errno::ENXIO),
            FileType::Fifo => inode.ops().open_fifo(inode, flags, caller),
            _ => inode.ops().open(inode, flags, caller).map(OpenedOps::Ready),
        }
    }
}
