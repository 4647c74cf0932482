//! Namespaces, id maps and the mount table of the calling process.

use std::ffi::CString;
use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bitflags::bitflags;

use crate::{check, check_int};

bitflags! {
    /// Kinds of namespaces (`CLONE_NEW*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Namespaces: u64 {
        /// Users and capabilities.
        const USER = libc::CLONE_NEWUSER as u64;
        /// Mounts.
        const MOUNT = libc::CLONE_NEWNS as u64;
        /// Process ids.
        const PID = libc::CLONE_NEWPID as u64;
        /// Network.
        const NET = libc::CLONE_NEWNET as u64;
        /// System V IPC and message queues.
        const IPC = libc::CLONE_NEWIPC as u64;
        /// Host and domain name.
        const UTS = libc::CLONE_NEWUTS as u64;
        /// Root of the cgroup tree.
        const CGROUP = libc::CLONE_NEWCGROUP as u64;
    }
}

bitflags! {
    /// `MS_*` of mount(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct MountFlags: u64 {
        /// No writes.
        const RDONLY = libc::MS_RDONLY;
        /// Set-user-ID bits mean nothing.
        const NOSUID = libc::MS_NOSUID;
        /// No devices.
        const NODEV = libc::MS_NODEV;
        /// No programs.
        const NOEXEC = libc::MS_NOEXEC;
        /// Change the flags of a mount.
        const REMOUNT = libc::MS_REMOUNT;
        /// Show a tree at a second place.
        const BIND = libc::MS_BIND;
        /// With all that is mounted below.
        const REC = libc::MS_REC;
        /// Move a mount.
        const MOVE = libc::MS_MOVE;
        /// Mount events stay here.
        const PRIVATE = libc::MS_PRIVATE;
        /// Mount events come in, but don't go out.
        const SLAVE = libc::MS_SLAVE;
        /// Mount events go both ways.
        const SHARED = libc::MS_SHARED;
        /// Access times are not kept.
        const NOATIME = libc::MS_NOATIME;
        /// Access times are kept once a day.
        const RELATIME = libc::MS_RELATIME;
    }
}

/// Moves the caller into new namespaces (a new PID namespace: its next children).
pub fn unshare(namespaces: Namespaces) -> Result<()> {
    // SAFETY: only namespace flags are passed, which don't touch what threads share of memory or files.
    check_int(unsafe { libc::unshare(namespaces.bits() as libc::c_int) }).map(drop)
}

/// setns(2): into the namespace that `fd` (a file of /proc/PID/ns, or a pidfd) names.
pub fn enter(fd: impl AsFd, namespaces: Namespaces) -> Result<()> {
    // SAFETY: as for `unshare`.
    check_int(unsafe { libc::setns(fd.as_fd().as_raw_fd(), namespaces.bits() as libc::c_int) }).map(drop)
}

/// One line of a uid_map or gid_map: `count` ids from `inside` are those from `outside`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// First id in the namespace.
    pub inside: u32,
    /// First id in the parent namespace.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

fn map_text(map: &[IdMap]) -> String {
    map.iter().map(|m| format!("{} {} {}\n", m.inside, m.outside, m.count)).collect()
}

/// Writes a process's uid_map (user_namespaces(7): once, in one write). `pid` 0: the caller's own.
pub fn write_uid_map(pid: i32, map: &[IdMap]) -> Result<()> {
    std::fs::write(proc_path(pid, "uid_map"), map_text(map))
}

/// Writes a process's gid_map; an unprivileged writer must have called [`deny_setgroups`] before.
pub fn write_gid_map(pid: i32, map: &[IdMap]) -> Result<()> {
    std::fs::write(proc_path(pid, "gid_map"), map_text(map))
}

/// Forbids setgroups(2) in a process's user namespace.
pub fn deny_setgroups(pid: i32) -> Result<()> {
    std::fs::write(proc_path(pid, "setgroups"), "deny")
}

fn proc_path(pid: i32, file: &str) -> String {
    if pid == 0 { format!("/proc/self/{file}") } else { format!("/proc/{pid}/{file}") }
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::from_raw_os_error(libc::EINVAL))
}

/// mount(2). `source`, `fs_type` and `data` may be empty where the kind of mount does without.
pub fn mount(source: &Path, target: &Path, fs_type: &str, flags: MountFlags, data: &str) -> Result<()> {
    let (source, target) = (c_path(source)?, c_path(target)?);
    let (fs_type, data) = (c_path(Path::new(fs_type))?, c_path(Path::new(data))?);
    // SAFETY: all strings are valid for the call.
    check_int(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            fs_type.as_ptr(),
            flags.bits(),
            data.as_ptr().cast::<libc::c_void>(),
        )
    })
    .map(drop)
}

bitflags! {
    /// `MOUNT_ATTR_*` of mount_setattr(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct MountAttr: u64 {
        /// No writes.
        const RDONLY = libc::MOUNT_ATTR_RDONLY;
        /// Set-user-ID bits mean nothing.
        const NOSUID = libc::MOUNT_ATTR_NOSUID;
        /// No devices.
        const NODEV = libc::MOUNT_ATTR_NODEV;
        /// No programs.
        const NOEXEC = libc::MOUNT_ATTR_NOEXEC;
        /// Symbolic links are not followed (Linux 5.14).
        const NOSYMFOLLOW = 0x20_0000;
    }
}

/// Sets attributes of the mount `fd` and all mounts below it, and stops mount events between them and others
/// (mount_setattr(2), Linux 5.12).
pub fn restrict_mounts(fd: impl AsFd, set: MountAttr) -> Result<()> {
    // struct mount_attr: set, clear, propagation, user namespace.
    let attr: [u64; 4] = [set.bits(), 0, libc::MS_PRIVATE, 0];
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the empty string and the structure are valid for the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            attr.as_ptr(),
            size_of_val(&attr),
        )
    })
    .map(drop)
}

/// umount2(2) with MNT_DETACH: the tree goes away now, its users keep it.
pub fn detach(target: &Path) -> Result<()> {
    let target = c_path(target)?;
    // SAFETY: the string is valid for the call.
    check_int(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// umount2(2) without flags.
pub fn unmount(target: &Path) -> Result<()> {
    let target = c_path(target)?;
    // SAFETY: the string is valid for the call.
    check_int(unsafe { libc::umount2(target.as_ptr(), libc::UMOUNT_NOFOLLOW) }).map(drop)
}

/// pivot_root(2): `new_root` becomes the root, the old one is shown at `put_old` (both may be the same directory).
pub fn pivot_root(new_root: &Path, put_old: &Path) -> Result<()> {
    let (new_root, put_old) = (c_path(new_root)?, c_path(put_old)?);
    // SAFETY: both strings are valid for the call.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, new_root.as_ptr(), put_old.as_ptr()) }).map(drop)
}

/// Makes the directory `root` (a mount point) the caller's whole file system, and forgets the old one.
pub fn replace_root(root: &Path) -> Result<()> {
    std::env::set_current_dir(root)?;
    pivot_root(Path::new("."), Path::new("."))?;
    detach(Path::new("."))?;
    std::env::set_current_dir("/")
}

/// sethostname(2).
pub fn set_hostname(name: &str) -> Result<()> {
    // SAFETY: the bytes are valid for the length that is passed.
    check_int(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}
