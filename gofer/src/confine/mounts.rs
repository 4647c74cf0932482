//! The Gofer's file system: its trees under numbers, its descriptors, and nothing else.
//!
//! The trees are taken as detached copies first (open_tree(2)), restricted, and then moved below an empty tmpfs that
//! becomes the root. No mount is made writable or followable that was not so before; devices can't be opened in
//! any of them, and symbolic links are not followed, whoever asks.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use host::namespace::{MountAttr, MountFlags};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::{ADVICE_REPORT, step};
use crate::config::TreeConfig;
use crate::error::GoferError;
use crate::tree::{SelfFds, Tree, TreeOptions};

const ADVICE_MOUNT: &str = "the host has to allow mounts, in user namespaces unless runsc runs as root, and to be Linux 5.14 or newer";

/// Name of the directory of descriptors in the root.
const FD: &str = "fd";

/// What there is to serve from.
pub(super) struct Mounted {
    pub trees: Vec<Tree>,
    pub self_fds: SelfFds,
}

/// Makes a root with these trees and enters it.
pub(super) fn enter(trees: &[TreeConfig]) -> Result<Mounted, GoferError> {
    let none = Path::new("none");
    host::namespace::mount(none, Path::new("/"), "", MountFlags::PRIVATE | MountFlags::REC, "")
        .map_err(step("making mounts private", ADVICE_MOUNT))?;

    let sources = trees.iter().map(take).collect::<Result<Vec<_>, _>>()?;
    let fds =
        open_tree(CWD, "/proc/self/fd", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
            .map_err(step("taking the directory of own descriptors", "the host has to have /proc mounted"))?;

    // Any directory will do to mount on; this one has just been used.
    let place = Path::new("/proc");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    host::namespace::mount(none, place, "tmpfs", flags, "size=64k,mode=755")
        .map_err(step("mounting an empty root", ADVICE_MOUNT))?;
    attach(&fds, &place.join(FD), OFlags::DIRECTORY)?;
    for (number, source) in sources.iter().enumerate() {
        attach(source, &place.join(number.to_string()), OFlags::empty())?;
    }
    host::namespace::mount(
        none,
        place,
        "",
        flags | MountFlags::REMOUNT | MountFlags::BIND | MountFlags::RDONLY,
        "",
    )
    .map_err(step("making the root read-only", ADVICE_MOUNT))?;
    host::namespace::replace_root(place).map_err(step("entering the root", ADVICE_MOUNT))?;
    check_root(trees.len())?;

    let mut served = Vec::new();
    for (tree, source) in trees.iter().zip(sources) {
        for path in &tree.hide {
            hide(&source, path)?;
        }
        let root = Tree::new(source, TreeOptions::of(tree))
            .map_err(|errno| GoferError::source(&tree.source, errno))?;
        served.push(root);
    }
    Ok(Mounted { trees: served, self_fds: SelfFds::new(fds, "/fd/") })
}

/// A detached copy of a tree, with all that is mounted in it.
fn take(tree: &TreeConfig) -> Result<OwnedFd, GoferError> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let fd = open_tree(CWD, &tree.source, flags).map_err(|errno| GoferError::source(&tree.source, errno))?;
    let mut attr = MountAttr::NODEV | MountAttr::NOSUID | MountAttr::NOSYMFOLLOW;
    attr.set(MountAttr::RDONLY, tree.read_only);
    host::namespace::restrict_mounts(&fd, attr).map_err(step("restricting a tree's mounts", ADVICE_MOUNT))?;
    Ok(fd)
}

/// Mounts a detached tree at `place`, which is made: a directory, or a file for a file.
fn attach(tree: &OwnedFd, place: &Path, kind: OFlags) -> Result<(), GoferError> {
    let is_dir = kind.contains(OFlags::DIRECTORY)
        || rustix::fs::fstat(tree)
            .map(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
            .map_err(step("looking at a tree", ADVICE_REPORT))?;
    let made = if is_dir { std::fs::create_dir(place) } else { std::fs::File::create(place).map(drop) };
    made.map_err(step("making a mount point", ADVICE_REPORT))?;
    move_mount(tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(step("mounting a tree", ADVICE_MOUNT))
}

/// Covers a directory below a tree's root with an empty one.
fn hide(tree: &OwnedFd, path: &Path) -> Result<(), GoferError> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match openat2(tree, path, flags, Mode::empty(), resolve) {
        Ok(dir) => dir,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        Err(errno) => return Err(step("opening a directory to hide", ADVICE_REPORT)(errno)),
    };
    let empty = empty_dir().map_err(step("making an empty directory", ADVICE_MOUNT))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&empty, "", &dir, "", flags).map_err(step("hiding a directory", ADVICE_MOUNT))
}

fn empty_dir() -> Result<OwnedFd, Errno> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "size", "4k")?;
    fsconfig_set_string(&fs, "nr_inodes", "1")?;
    fsconfig_set_string(&fs, "mode", "555")?;
    fsconfig_create(&fs)?;
    let attr = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attr)
}

/// Trust, but look: the descriptors and the trees, nothing more.
fn check_root(trees: usize) -> Result<(), GoferError> {
    let entries = std::fs::read_dir("/").map_err(step("reading the root", ADVICE_REPORT))?;
    let names = entries
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(step("reading the root", ADVICE_REPORT))?;
    let expected = |name: &OsStr| {
        name == FD || name.to_str().and_then(|name| name.parse::<usize>().ok()).is_some_and(|n| n < trees)
    };
    if names.len() != trees + 1 || !names.iter().all(|name| expected(name)) {
        return Err(GoferError::NotConfined("the root holds more than the trees"));
    }
    Ok(())
}
