//! The host's view of a container's files: the mount namespace of its monitor.
//!
//! Engines enter the mount namespace of the pid that they are given, to copy files (`podman cp` writes to `/` there), to read of
//! processes in its /proc (`podman top`), or to look around (`nsenter --mount`). With runc they find the container's root. The
//! monitor shows them the same: the bundle's root, the bind mounts in it, and a /proc with the host processes of its PID
//! namespace: those of the sandbox's programs, but not Sentry, Gofer and itself. The sandbox's own file systems (tmpfs,
//! devpts) are memory of its Sentry and can't be shown. No guest can reach this namespace; that images are hostile matters
//! all the same, so nothing follows their links out of the root.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use host::namespace::{MountAttr, MountFlags, Namespaces, restrict_mounts};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::mount_points;
use crate::config::{ContainerMount, MountKind, Tree};

const CAP_SYS_ADMIN: u32 = 21;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step} {}: {error}; the host has to allow mounts and to be Linux 5.14 or newer", .path.display())]
pub struct ViewError {
    step: &'static str,
    path: PathBuf,
    error: io::Error,
}

fn step<E: Into<io::Error>>(step: &'static str, path: &Path) -> impl FnOnce(E) -> ViewError {
    move |error| ViewError { step, path: path.to_owned(), error: error.into() }
}

/// What is to be seen where.
#[derive(Clone, Debug)]
pub struct View {
    root: Shown,
    binds: Vec<Shown>,
}

#[derive(Clone, Debug)]
struct Shown {
    source: PathBuf,
    target: PathBuf,
    read_only: bool,
}

impl View {
    /// Of a container's mounts. `None` where this process may not mount anything: an ordinary user's engines can't enter
    /// mount namespaces either.
    pub fn of(mounts: &[ContainerMount], trees: &[Tree], read_only_root: bool) -> Option<View> {
        host::capabilities::get().ok().filter(|sets| sets.effective & 1 << CAP_SYS_ADMIN != 0)?;
        let mut all = mounts.iter().filter_map(|mount| {
            let MountKind::Tree { tree, .. } = mount.what else { return None };
            let tree = trees.get(tree)?;
            Some(Shown {
                source: tree.source.clone().into_os_string().into(),
                target: mount.target.clone().into_os_string().into(),
                read_only: tree.read_only,
            })
        });
        let mut root = all.next()?;
        root.read_only |= read_only_root;
        Some(View { root, binds: all.collect() })
    }

    /// Moves this process there. The mount points have to be in the root by now; what has none, because it lies in a file system of
    /// the sandbox, is not shown. Neither are the `hidden` processes of its PID namespace.
    pub fn enter(&self, hidden: &[i32]) -> Result<(), ViewError> {
        let root = self.root.take()?;
        let binds = self.binds.iter().map(Shown::take).collect::<Result<Vec<_>, _>>()?;
        // An ordinary user may make one where the host's can be seen as a whole: so before that is out of sight.
        let processes = processes();

        host::namespace::unshare(Namespaces::MOUNT)
            .map_err(step("a mount namespace for", &self.root.source))?;
        // What is mounted here stays here.
        let none = Path::new("none");
        host::namespace::mount(none, Path::new("/"), "", MountFlags::PRIVATE | MountFlags::REC, "")
            .map_err(step("making mounts private", Path::new("/")))?;
        move_mount(&root, "", CWD, &self.root.source, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(step("mounting", &self.root.source))?;
        host::namespace::replace_root(&self.root.source)
            .map_err(step("entering the root", &self.root.source))?;
        for (shown, tree) in self.binds.iter().zip(&binds) {
            shown.attach(tree, &root)?;
        }
        let proc = Shown { source: "/proc".into(), target: "/proc".into(), read_only: true };
        match processes {
            Ok((tree, nothing)) => {
                proc.attach(&tree, &root)?;
                hide(&tree, nothing, hidden).map_err(step("hiding processes in", &proc.target))?;
            }
            // Some hosts cover parts of /proc, and then don't let it be shown anew.
            Err(errno) => tracing::debug!("the view of the container's files has no /proc: {errno}"),
        }
        Ok(())
    }
}

const MOUNT_FLAGS: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC)
    .union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// A /proc of this process's PID namespace, and an empty directory; neither is anywhere yet.
fn processes() -> Result<(OwnedFd, OwnedFd), Errno> {
    let make = |kind: &str, options: &[(&str, &str)]| {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (name, value) in options {
            fsconfig_set_string(context.as_fd(), *name, *value)?;
        }
        fsconfig_create(context.as_fd())?;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MOUNT_FLAGS)
    };
    Ok((make("proc", &[])?, make("tmpfs", &[("nr_inodes", "1"), ("size", "4k"), ("mode", "555")])?))
}

/// Puts an empty directory over each of these processes.
fn hide(proc: &OwnedFd, nothing: OwnedFd, pids: &[i32]) -> Result<(), Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mut next = nothing;
    for pid in pids {
        let moved = move_mount(&next, "", proc, pid.to_string(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
        match moved {
            // Only what is mounted somewhere can be copied.
            Ok(()) => next = open_tree(&next, "", flags | OpenTreeFlags::AT_EMPTY_PATH)?,
            // It has ended.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

impl Shown {
    /// A detached copy of what is there, with all that is mounted in it.
    fn take(&self) -> Result<OwnedFd, ViewError> {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(CWD, &self.source, flags).map_err(step("taking", &self.source))?;
        let mut attr = MountAttr::empty();
        attr.set(MountAttr::RDONLY, self.read_only);
        restrict_mounts(&tree, attr).map_err(step("making private", &self.source))?;
        Ok(tree)
    }

    fn attach(&self, tree: &OwnedFd, root: &OwnedFd) -> Result<(), ViewError> {
        let below = self.target.strip_prefix("/").unwrap_or(&self.target);
        let place = match mount_points::open(root, below, OFlags::empty()) {
            Ok(place) => place,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(()),
            Err(errno) => return Err(step("looking for", &self.target)(errno)),
        };
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        match move_mount(tree, "", place.as_fd(), "", flags) {
            // A file where a directory is to be seen, or the other way round: the sandbox has told of it.
            Err(Errno::NOTDIR) => Ok(()),
            moved => moved.map_err(step("mounting", &self.target)),
        }
    }
}
