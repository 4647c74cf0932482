//! Places to mount at: made on the host, before the root is served, since the sandbox may not be allowed to write to it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::config::{ContainerMount, MountKind, Tree};

/// Makes what is missing below `rootfs`, following no link out of it. What can't be made is told by the Sentry, which then has
/// no place for the mount.
pub fn make(rootfs: &Path, mounts: &[ContainerMount], trees: &[Tree]) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(root) = rustix::fs::openat(CWD, rootfs, flags, Mode::empty()) else { return };
    let mut covered: Vec<PathBuf> = Vec::new();
    for mount in mounts.iter().skip(1) {
        let target = PathBuf::from(mount.target.clone().into_os_string());
        let Ok(below) = target.strip_prefix("/").map(Path::to_owned) else { continue };
        // It lies in something that is mounted before it.
        let inside = covered.iter().any(|other| below.starts_with(other));
        covered.push(below.clone());
        if inside {
            continue;
        }
        let is_dir = match &mount.what {
            MountKind::Tree { tree, .. } => {
                trees.get(*tree).is_none_or(|tree| Path::new(&tree.source.clone().into_os_string()).is_dir())
            }
            MountKind::Own { .. } => true,
        };
        if let Err(errno) = make_one(&root, &below, is_dir, MOST_LINKS) {
            tracing::debug!("mount point {}: {errno}", target.display());
        }
    }
}

/// A place below `root`, whatever links lead to it.
pub fn open(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Links to what is not there that are followed at most.
const MOST_LINKS: u32 = 40;

fn make_one(root: &OwnedFd, path: &Path, is_dir: bool, links: u32) -> Result<(), Errno> {
    match open(root, path, OFlags::empty()) {
        Err(Errno::NOENT) => {}
        found => return found.map(drop),
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
    make_one(root, parent, true, links)?;
    let dir = open(root, parent, OFlags::DIRECTORY)?;
    let mode = Mode::from_raw_mode(if is_dir { 0o755 } else { 0o644 });
    let made = if is_dir {
        rustix::fs::mkdirat(&dir, name, mode)
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&dir, name, flags, mode).map(drop)
    };
    match made {
        // A link to what is not there: that is made, as seen from within the root.
        Err(Errno::EXIST) => {
            let link = match rustix::fs::readlinkat(&dir, name, Vec::new()) {
                Ok(link) => PathBuf::from(OsStr::from_bytes(link.as_bytes())),
                // Somebody was faster.
                Err(Errno::INVAL) => return Ok(()),
                Err(errno) => return Err(errno),
            };
            let links = links.checked_sub(1).ok_or(Errno::LOOP)?;
            let place = link.strip_prefix("/").map_or_else(|_| parent.join(&link), Path::to_owned);
            make_one(root, &place, is_dir, links)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_do_not_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let rootfs = dir.path().join("rootfs");
        std::fs::create_dir(&rootfs).unwrap();
        std::os::unix::fs::symlink("/../..", rootfs.join("out")).unwrap();
        let root = rustix::fs::openat(CWD, &rootfs, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        make_one(&root, Path::new("a/b/c"), true, 9).unwrap();
        make_one(&root, Path::new("out/d"), true, 9).unwrap();
        make_one(&root, Path::new("a/file"), false, 9).unwrap();
        assert!(
            rootfs.join("a/b/c").is_dir() && rootfs.join("d").is_dir() && rootfs.join("a/file").is_file()
        );
        assert!(!dir.path().join("d").exists());
    }

    #[test]
    fn what_links_miss_is_made() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let rootfs = dir.path().join("rootfs");
        std::fs::create_dir(&rootfs).unwrap();
        for (link, to) in
            [("abs", "/run/x/y"), ("rel", "../deep/er"), ("loop", "loop"), ("file", "/etc/resolv")]
        {
            symlink(to, rootfs.join(link)).unwrap();
        }
        let root = rustix::fs::openat(CWD, &rootfs, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        make_one(&root, Path::new("abs/more"), true, 9).unwrap();
        make_one(&root, Path::new("rel"), true, 9).unwrap();
        make_one(&root, Path::new("file"), false, 9).unwrap();
        assert!(make_one(&root, Path::new("loop"), true, 9).is_err());
        assert!(rootfs.join("run/x/y/more").is_dir() && rootfs.join("deep/er").is_dir());
        assert!(rootfs.join("etc/resolv").is_file() && !dir.path().join("deep").exists());
    }
}
