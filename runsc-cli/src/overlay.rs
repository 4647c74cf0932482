//! `--overlay2`: which trees of the host have a layer for changes above them, and where that is.
//!
//! The layer is a file system of the Sentry's. What is in its files is in the sandbox's memory, or in a file of the host that
//! has no name: it is made here, before anything is confined, handed to the Sentry, and gone with that.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use rustix::fs::{AtFlags, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use crate::config::Upper;

/// What `--overlay2` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlays {
    which: Which,
    medium: Medium,
    /// Bytes that each layer holds at most.
    size: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    None,
    Root,
    All,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Medium {
    /// The sandbox's memory.
    Memory,
    /// A file in the root.
    Root,
    /// A file in this directory.
    Dir(PathBuf),
}

impl Overlays {
    /// No tree has one.
    pub const NONE: Overlays = Overlays { which: Which::None, medium: Medium::Memory, size: None };
    /// The root has one in memory.
    pub const ROOT_IN_MEMORY: Overlays = Overlays { which: Which::Root, medium: Medium::Memory, size: None };

    /// The layer above the root.
    pub fn of_root(&self) -> Option<Upper> {
        (self.which != Which::None).then(|| self.upper())
    }

    /// The layer above other trees.
    pub fn of_others(&self) -> Option<Upper> {
        (self.which == Which::All).then(|| self.upper())
    }

    fn upper(&self) -> Upper {
        Upper { on_disk: self.medium != Medium::Memory, size: self.size }
    }

    /// The file of the host for the layers of a sandbox whose root is at `root`, if they are in one.
    pub fn open_store(&self, root: &Path) -> anyhow::Result<Option<OwnedFd>> {
        let dir = match (&self.medium, self.which) {
            (_, Which::None) | (Medium::Memory, _) => return Ok(None),
            (Medium::Root, _) => root,
            (Medium::Dir(dir), _) => dir,
        };
        let store = nameless_file(dir).with_context(|| {
            format!(
                "--overlay2: a file in {}; name a directory that can be written, with dir=PATH, or take memory",
                dir.display()
            )
        })?;
        Ok(Some(store))
    }
}

impl FromStr for Overlays {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Overlays> {
        if text == "none" {
            return Ok(Overlays::NONE);
        }
        let (which, medium) =
            text.split_once(':').context("not of the form root:MEDIUM or all:MEDIUM; see runsc help")?;
        let which = match which {
            "root" => Which::Root,
            "all" => Which::All,
            other => bail!("{other:?} is none of root, all; give one of them"),
        };
        let (medium, size) = match medium.rsplit_once(",size=") {
            Some((medium, size)) => (medium, Some(bytes(size)?)),
            None => (medium, None),
        };
        let medium = match (medium, medium.strip_prefix("dir=")) {
            ("memory", _) => Medium::Memory,
            ("self", _) => Medium::Root,
            (_, Some(dir)) if dir.starts_with('/') => Medium::Dir(PathBuf::from(dir)),
            (_, Some(dir)) => bail!("dir={dir} is no absolute path; give one that begins with /"),
            (other, None) => bail!("{other:?} is none of memory, self, dir=PATH; give one of them"),
        };
        Ok(Overlays { which, medium, size })
    }
}

/// A number of bytes, with K, M, G or T behind it.
fn bytes(text: &str) -> anyhow::Result<u64> {
    let (digits, shift) = match text.as_bytes().last().map(u8::to_ascii_lowercase) {
        Some(b'k') => (&text[..text.len() - 1], 10),
        Some(b'm') => (&text[..text.len() - 1], 20),
        Some(b'g') => (&text[..text.len() - 1], 30),
        Some(b't') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number: Option<u64> = digits.parse().ok();
    match number.and_then(|number| number.checked_mul(1 << shift)) {
        Some(bytes @ 1..) => Ok(bytes),
        _ => bail!("size={text}: not a number of bytes; give one like 512M or 2G"),
    }
}

/// A new file in `dir` that has no name, and can't be given one.
fn nameless_file(dir: &Path) -> anyhow::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::from(0o600);
    let dir = File::open(dir)?;
    if rustix::fs::fstatvfs(&dir)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        bail!("the file system is read-only");
    }
    match rustix::fs::openat(&dir, ".", flags | OFlags::TMPFILE | OFlags::EXCL, mode) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => {}
        made => return Ok(made?),
    }
    // A file system that can't do that: the name is there for a moment.
    let name = format!(".runsc.filestore.{}", std::process::id());
    let made =
        rustix::fs::openat(&dir, &name, flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW, mode)?;
    rustix::fs::unlinkat(&dir, &name, AtFlags::empty())?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_flag() {
        let parse = |text: &str| text.parse::<Overlays>();
        let of = |which, medium, size| Overlays { which, medium, size };
        assert_eq!(parse("none").unwrap(), Overlays::NONE);
        assert_eq!(parse("root:memory").unwrap(), Overlays::ROOT_IN_MEMORY);
        assert_eq!(parse("all:self").unwrap(), of(Which::All, Medium::Root, None));
        assert_eq!(
            parse("root:dir=/a,b,size=2g").unwrap(),
            of(Which::Root, Medium::Dir("/a,b".into()), Some(2 << 30))
        );
        assert_eq!(parse("all:memory,size=64K").unwrap(), of(Which::All, Medium::Memory, Some(64 << 10)));
        for wrong in [
            "",
            "root",
            "root:",
            "some:memory",
            "root:disk",
            "root:dir=x",
            "root:memory,size=",
            "root:memory,size=0",
            "root:self,size=-1",
            "root:memory,size=99999999999999G",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_file_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let overlays: Overlays = format!("root:dir={}", dir.path().display()).parse().unwrap();
        let store = overlays.open_store(Path::new("/nowhere")).unwrap().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(rustix::fs::fstat(&store).unwrap().st_nlink, 0);
        assert!("root:dir=/nowhere/at/all".parse::<Overlays>().unwrap().open_store(dir.path()).is_err());
        assert!(Overlays::ROOT_IN_MEMORY.open_store(dir.path()).unwrap().is_none());
    }
}
