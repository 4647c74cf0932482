//! For unit tests: a mount namespace with a tmpfs as root, and somebody who uses it.

use std::sync::Arc;

use abi::Errno;
use platform::MemoryFile;

use super::attr::Attr;
use super::open::How;
use super::resolve::{LookupFlags, lookup};
use super::{BufSink, BufSource, Caller, File, Mount, MountFlags, MountNamespace, Path, Roots, Vfs};
use crate::Result;
use crate::fs::tmpfs;
use crate::task::{Credentials, UserNamespace};

/// A small world.
pub struct World {
    pub vfs: Arc<Vfs>,
    pub namespace: Arc<MountNamespace>,
    pub creds: Arc<Credentials>,
    pub roots: Roots,
}

impl World {
    /// With a tmpfs without limits as root, used by root.
    #[allow(clippy::new_without_default)]
    pub fn new() -> World {
        let options = tmpfs::Options { max_bytes: None, max_inodes: None, mode: 0o755, ..Default::default() };
        let memory = MemoryFile::new(None).expect("a memory file");
        let root = tmpfs::new_root(&memory, &options).expect("a root");
        Self::with_root(memory, root)
    }

    /// With this root.
    pub fn with_root(memory: Arc<MemoryFile>, root: Arc<super::Dentry>) -> World {
        let vfs = Vfs::new(memory);
        vfs.register_type(tmpfs::Tmpfs::new("tmpfs"));
        let user_ns = UserNamespace::initial();
        let mount = Mount::new(root, b"root", MountFlags::empty());
        let namespace = MountNamespace::new(1, mount, Arc::clone(&user_ns));
        let root = namespace.root();
        let creds = Arc::new(Credentials::for_user(0, 0, &[], user_ns));
        World { vfs, namespace, creds, roots: Roots { cwd: root.clone(), root } }
    }

    /// The same world for an ordinary user.
    pub fn user(&self, uid: u32, groups: &[u32]) -> World {
        let creds = Credentials::for_user(uid, uid, groups, Arc::clone(&self.creds.user_ns));
        World {
            vfs: Arc::clone(&self.vfs),
            namespace: Arc::clone(&self.namespace),
            creds: Arc::new(creds),
            roots: self.roots.clone(),
        }
    }

    pub fn caller(&self) -> Caller<'_> {
        Caller { creds: &self.creds, vfs: &self.vfs, roots: &self.roots, umask: 0o022, task: None }
    }

    pub fn at(&self) -> &Path {
        &self.roots.cwd
    }

    pub fn open(&self, path: &str, flags: u32, mode: u32) -> Result<Arc<File>> {
        self.caller().open(self.at(), path.as_bytes(), &How::open(flags, mode)?)?.now()
    }

    pub fn write(&self, path: &str, contents: &[u8]) -> Result<()> {
        let file = self.open(path, 0o1101, 0o644)?;
        assert_eq!(write_at(&file, 0, contents)?, contents.len());
        Ok(())
    }

    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.open(path, 0, 0)?;
        let size = file.path.inode().attr()?.size;
        let mut buffer = vec![0xaa; size as usize + 10];
        let n = read_at(&file, 0, &mut buffer)?;
        buffer.truncate(n);
        Ok(buffer)
    }

    pub fn mkdir(&self, path: &str) -> Result<()> {
        self.caller().mkdir(self.at(), path.as_bytes(), 0o777)
    }

    pub fn symlink(&self, target: &str, path: &str) -> Result<()> {
        self.caller().symlink(target.as_bytes(), self.at(), path.as_bytes())
    }

    pub fn link(&self, target: &str, path: &str) -> Result<()> {
        let target = self.lookup_no_follow(target)?;
        self.caller().link(&target, self.at(), path.as_bytes())
    }

    pub fn unlink(&self, path: &str) -> Result<()> {
        self.caller().unlink(self.at(), path.as_bytes())
    }

    pub fn rmdir(&self, path: &str) -> Result<()> {
        self.caller().rmdir(self.at(), path.as_bytes())
    }

    pub fn rename(&self, from: &str, to: &str, flags: u32) -> Result<()> {
        let flags = abi::open::RenameFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
        self.caller().rename((self.at(), from.as_bytes()), (self.at(), to.as_bytes()), flags)
    }

    pub fn lookup(&self, path: &str) -> Result<Path> {
        lookup(&self.caller(), self.at(), path.as_bytes(), LookupFlags::FOLLOW)
    }

    pub fn lookup_no_follow(&self, path: &str) -> Result<Path> {
        lookup(&self.caller(), self.at(), path.as_bytes(), LookupFlags::empty())
    }

    pub fn stat(&self, path: &str) -> Result<Attr> {
        self.lookup_no_follow(path)?.inode().attr()
    }

    pub fn readlink(&self, path: &str) -> Result<Vec<u8>> {
        let place = self.lookup_no_follow(path)?;
        Ok(place.inode().ops().read_link(place.inode(), &self.caller())?.to_vec())
    }

    /// Names in a directory, sorted, the dots left out.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        let dir = self.open(path, 0o200000, 0)?;
        let mut names = Vec::new();
        dir.ops().read_dir(&dir, 2, &mut |name, _, _, _| {
            names.push(String::from_utf8_lossy(name).into_owned());
            true
        })?;
        names.sort();
        Ok(names)
    }

    /// Mounts a new tmpfs.
    pub fn mount_tmpfs(&self, path: &str, flags: MountFlags) -> Result<Path> {
        let place = self.lookup(path)?;
        let root = tmpfs::new_root(self.vfs.memory(), &tmpfs::Options::default())?;
        self.namespace.attach(&Mount::new(root, b"tmpfs", flags), &place)?;
        self.lookup(path)
    }
}

pub fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> Result<usize> {
    file.ops().read(file, &mut BufSink::new(buffer), offset)
}

pub fn write_at(file: &File, mut offset: u64, bytes: &[u8]) -> Result<usize> {
    file.ops().write(file, &mut BufSource::new(bytes), &mut offset)
}
