//! The directories of containers, and the lock on each.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::state_file::{self, Saved};
use super::{ContainerError, disk};

/// The longest id.
const LONGEST: usize = 1024;

/// Where containers are kept.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A container's directory, locked against other commands until this is dropped.
#[derive(Debug)]
pub struct Locked {
    /// The directory.
    pub dir: PathBuf,
    lock: File,
}

impl Locked {
    /// The number of the descriptor that holds the lock: a fork that keeps it open holds the lock too.
    pub fn number(&self) -> RawFd {
        self.lock.as_raw_fd()
    }

    /// Takes the directory away.
    pub fn remove(&self) -> Result<(), ContainerError> {
        self.clear()?;
        std::fs::remove_dir(&self.dir).map_err(disk(&self.dir, "removing it"))
    }

    /// Takes away what is in it, the state last: whoever is killed meanwhile leaves a container that is stopped, or none.
    fn clear(&self) -> Result<(), ContainerError> {
        let failed = || disk(&self.dir, "emptying it");
        for entry in std::fs::read_dir(&self.dir).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            if entry.file_name() == state_file::FILE {
                continue;
            }
            let is_dir = entry.file_type().map_err(failed())?.is_dir();
            let path = entry.path();
            let removed = if is_dir { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(disk(&path, "removing it"))?,
            }
        }
        match std::fs::remove_file(self.dir.join(state_file::FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(failed()),
        }
    }
}

impl Store {
    /// Below this directory.
    pub fn new(root: &Path) -> Store {
        Store { root: root.to_owned() }
    }

    /// A container's directory, whether it is there or not.
    pub fn dir(&self, id: &str) -> Result<PathBuf, ContainerError> {
        Ok(self.root.join(checked(id)?))
    }

    /// Makes the directory of a new container.
    pub fn make(&self, id: &str) -> Result<Locked, ContainerError> {
        let dir = self.dir(id)?;
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o711).create(&self.root).map_err(disk(&self.root, "making it"))?;
        loop {
            // Only the owner may come near the socket in it.
            match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(disk(&dir, "making it"))?,
            }
            // Without a state it is no container: what is there was left by a command that was killed.
            let is_container = || dir.join(state_file::FILE).exists();
            if is_container() {
                return Err(ContainerError::Exists);
            }
            match self.lock(id) {
                Ok(_) if is_container() => return Err(ContainerError::Exists),
                Ok(locked) => {
                    locked.clear()?;
                    return Ok(locked);
                }
                Err(ContainerError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Locks the directory of a container that is there; waits for other commands on it.
    pub fn lock(&self, id: &str) -> Result<Locked, ContainerError> {
        self.lock_as(id, FlockOperation::LockExclusive)
    }

    /// Keeps others from deleting it, and no more.
    pub fn lock_shared(&self, id: &str) -> Result<Locked, ContainerError> {
        self.lock_as(id, FlockOperation::LockShared)
    }

    fn lock_as(&self, id: &str, operation: FlockOperation) -> Result<Locked, ContainerError> {
        let dir = self.dir(id)?;
        loop {
            let lock = File::open(&dir).map_err(|error| missing(&dir, error))?;
            loop {
                match rustix::fs::flock(&lock, operation) {
                    Ok(()) => break,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(errno) => return Err(disk(&dir, "locking it")(errno.into())),
                }
            }
            // It may have been deleted meanwhile, and made anew.
            let same = |meta: io::Result<std::fs::Metadata>| {
                use std::os::unix::fs::MetadataExt;
                meta.is_ok_and(|there| lock.metadata().is_ok_and(|own| own.ino() == there.ino()))
            };
            if same(std::fs::metadata(&dir)) {
                return Ok(Locked { dir, lock });
            }
        }
    }

    /// The state of a container.
    pub fn load(&self, id: &str) -> Result<(PathBuf, Saved), ContainerError> {
        let dir = self.dir(id)?;
        std::fs::metadata(&dir).map_err(|error| missing(&dir, error))?;
        let saved = Saved::read(&dir).map_err(|error| match error {
            // Its maker was killed, or has not come that far.
            ContainerError::Disk { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                ContainerError::Missing
            }
            other => other,
        })?;
        Ok((dir, saved))
    }

    /// All ids, in order.
    pub fn ids(&self) -> Result<Vec<String>, ContainerError> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(disk(&self.root, "reading"))?,
        };
        let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut ids: Vec<String> = directories
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|id| checked(id).is_ok())
            .collect();
        ids.sort();
        Ok(ids)
    }
}

fn missing(dir: &Path, error: io::Error) -> ContainerError {
    match error.kind() {
        io::ErrorKind::NotFound => ContainerError::Missing,
        _ => disk(dir, "opening it")(error),
    }
}

/// An id that is safe as the name of a directory.
fn checked(id: &str) -> Result<&str, ContainerError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    let good = !id.is_empty() && id.len() <= LONGEST && id.bytes().all(plain) && id != "." && id != "..";
    if good { Ok(id) } else { Err(ContainerError::Id(id.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for good in ["a", "0123", "a_b+c-d.e", "..a"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for odd in ["", ".", "..", "a/b", "a b", "ü", "a\n"] {
            assert!(matches!(checked(odd), Err(ContainerError::Id(_))), "{odd:?}");
        }
    }

    #[test]
    fn a_container_is_made_once() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(&root.path().join("deep/er"));
        assert!(store.ids().unwrap().is_empty());
        let locked = store.make("x").unwrap();
        std::fs::write(locked.dir.join(state_file::FILE), "{}").unwrap();
        drop(locked);
        assert!(matches!(store.make("x"), Err(ContainerError::Exists)));
        store.lock("x").unwrap().remove().unwrap();
        assert!(matches!(store.load("x"), Err(ContainerError::Missing)));
        // A command was killed that had made no more than this.
        let dir = store.make("x").unwrap().dir;
        std::fs::write(dir.join(state_file::CONFIG), "{}").unwrap();
        std::fs::create_dir(dir.join("more")).unwrap();
        assert!(matches!(store.load("x"), Err(ContainerError::Missing)));
        assert!(!store.make("x").unwrap().dir.join(state_file::CONFIG).exists());
        assert!(matches!(store.lock("y"), Err(ContainerError::Missing)));
        assert_eq!(store.ids().unwrap(), ["x"]);
    }
}
