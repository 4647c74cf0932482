//! The mount tree as mount(2), umount2(2) and pivot_root(2) change it.

use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_SYS_ADMIN;
use abi::mount::{MS_MGC_MSK, MS_MGC_VAL, MountFlags as Ms, UmountFlags};
use abi::open::{AT_FDCWD, AtFlags};
use sentry::SysResult;
use sentry::mm::{CStrError, PAGE, UserAddr, UserCStr, UserString};
use sentry::task::CurrentTask;
use sentry::vfs::namespace::{Layer, PropagationKind, Recursive};
use sentry::vfs::resolve::{LookupFlags, lookup};
use sentry::vfs::{Mount, MountFlags, MountRequest, Path};

use crate::arg::{DirFd, Flags, InString};
use crate::path::{At, at};

/// Flags of the mount itself, and not of the file system.
const OF_MOUNT: [(Ms, MountFlags); 7] = [
    (Ms::NOSUID, MountFlags::NOSUID),
    (Ms::NODEV, MountFlags::NODEV),
    (Ms::NOEXEC, MountFlags::NOEXEC),
    (Ms::NOATIME, MountFlags::NOATIME),
    (Ms::NODIRATIME, MountFlags::NODIRATIME),
    (Ms::NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
    (Ms::RDONLY, MountFlags::RDONLY),
];

pub(crate) fn may_mount(task: &CurrentTask) -> Result<(), Errno> {
    let namespace = &task.namespaces().mount;
    if task.own_creds().has_cap_in(CAP_SYS_ADMIN, &namespace.user_ns) { Ok(()) } else { Err(Errno::EPERM) }
}

/// A string that may be missing.
fn optional(task: &CurrentTask, string: InString) -> Result<UserString, Errno> {
    if string.is_null() {
        return Ok(UserString::new());
    }
    task.mm().copy_in_cstr(*string, PAGE as usize).map_err(|error| match error {
        CStrError::Fault => Errno::EFAULT,
        CStrError::TooLong => Errno::EINVAL,
    })
}

/// Options of the file system: at most a page, and what can't be read behind some bytes is not there.
fn options(task: &CurrentTask, data: UserAddr) -> Result<Vec<u8>, Errno> {
    if data.is_null() {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; PAGE as usize];
    let len = task.mm().copy_in_partial(data, &mut bytes)?;
    bytes.truncate(len);
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    Ok(bytes)
}

/// MS_NOUSER, which Linux has as an `int`: with it all the bits above.
const NO_USER: u64 = !0 << 31;

/// mount(2)
pub fn mount(
    task: &mut CurrentTask,
    source: InString,
    target: UserCStr,
    kind: InString,
    flags: Flags<Ms>,
    data: InString,
) -> SysResult<()> {
    let kind = optional(task, kind)?;
    let source = optional(task, source)?;
    let data = options(task, *data)?;
    let mut bits = flags.bits();
    if bits & MS_MGC_MSK == MS_MGC_VAL {
        bits &= !MS_MGC_MSK;
    }
    let flags = Ms::from_bits_retain(bits);
    let place = at(task, DirFd(AT_FDCWD), target, At::FOLLOW)?;
    if bits & NO_USER != 0 {
        return Err(Errno::EINVAL.into());
    }
    may_mount(task)?;
    if flags.contains(Ms::REMOUNT) {
        return remount(task, &place, flags, &data);
    }
    if flags.contains(Ms::BIND) {
        return bind(task, &source, &place, flags);
    }
    let kinds = [
        (Ms::SHARED, PropagationKind::Shared),
        (Ms::PRIVATE, PropagationKind::Private),
        (Ms::SLAVE, PropagationKind::Slave),
        (Ms::UNBINDABLE, PropagationKind::Unbindable),
    ];
    let mut asked = kinds.iter().filter(|(flag, _)| flags.contains(*flag));
    if let Some((flag, kind)) = asked.next() {
        let alone = *flag | Ms::REC | Ms::SILENT;
        let namespace = &task.namespaces().mount;
        let one = asked.next().is_none() && alone.contains(flags);
        if !one || !place.is_mount_root() || !namespace.holds(&place.mount) {
            return Err(Errno::EINVAL.into());
        }
        namespace.set_propagation(&place.mount, *kind, recursive(flags));
        return Ok(());
    }
    if flags.contains(Ms::MOVE) {
        let source = start(task, &source)?;
        drop(task.namespaces().mount.move_mount(&source, &place, Layer::Top)?);
        return Ok(());
    }
    new_mount(task, &kind, &source, &place, flags, &data)
}

fn recursive(flags: Ms) -> Recursive {
    if flags.contains(Ms::REC) { Recursive::Yes } else { Recursive::No }
}

fn mount_flags(flags: Ms) -> MountFlags {
    let mut of_mount = MountFlags::empty();
    for (ms, flag) in OF_MOUNT {
        of_mount.set(flag, flags.contains(ms));
    }
    of_mount.set(MountFlags::RELATIME, !flags.intersects(Ms::NOATIME | Ms::STRICTATIME));
    of_mount
}

/// Where the source of a bind mount or a move is.
fn start(task: &CurrentTask, path: &[u8]) -> Result<Path, Errno> {
    if path.is_empty() {
        return Err(Errno::EINVAL);
    }
    let roots = task.fs().roots();
    let from = crate::path::start(task, &roots, DirFd(AT_FDCWD), path, AtFlags::empty())?;
    lookup(&task.caller(&roots), &from, path, LookupFlags::FOLLOW)
}

/// How times of access are kept.
const ATIME: MountFlags = MountFlags::NOATIME.union(MountFlags::NODIRATIME).union(MountFlags::RELATIME);

fn remount(task: &CurrentTask, place: &Path, flags: Ms, data: &[u8]) -> SysResult<()> {
    let mut wanted = mount_flags(flags);
    if !flags.intersects(Ms::NOATIME | Ms::NODIRATIME | Ms::RELATIME | Ms::STRICTATIME) {
        // Nothing said: as it was.
        wanted = (wanted - ATIME) | (place.mount.flags() & ATIME);
    }
    if !place.is_mount_root() || !task.namespaces().mount.holds(&place.mount) {
        return Err(Errno::EINVAL.into());
    }
    if flags.contains(Ms::BIND) {
        return Ok(place.mount.change_flags(wanted)?);
    }
    // A file system that becomes read-only asks for writers itself.
    place.mount.may_take_off(wanted)?;
    let sb = place.mount.sb();
    if !sb.capable(task.own_creds(), CAP_SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    sb.reconfigure(data, flags.contains(Ms::RDONLY))?;
    place.mount.set_flags(wanted);
    Ok(())
}

fn bind(task: &CurrentTask, source: &[u8], place: &Path, flags: Ms) -> SysResult<()> {
    let source = start(task, source)?;
    let namespace = &task.namespaces().mount;
    drop(namespace.bind(&source, recursive(flags), place)?);
    Ok(())
}

fn new_mount(
    task: &CurrentTask,
    kind: &[u8],
    source: &[u8],
    place: &Path,
    flags: Ms,
    data: &[u8],
) -> SysResult<()> {
    if kind.is_empty() {
        return Err(Errno::EINVAL.into());
    }
    let vfs = &task.kernel().vfs;
    let kind = vfs.file_system_type(kind)?;
    if !kind.allowed_in_user_ns() && task.own_creds().user_ns.parent().is_some() {
        return Err(Errno::EPERM.into());
    }
    let read_only = flags.contains(Ms::RDONLY);
    let roots = task.fs().roots();
    let request = MountRequest { source, options: data, read_only };
    let root = kind.mount(&request, &task.caller(&roots))?;
    if read_only {
        root.inode.sb.set_read_only(true);
    }
    root.inode.sb.set_owner(&task.own_creds().user_ns);
    let source = if source.is_empty() { b"none" } else { source };
    let mount = Mount::new(root, source, mount_flags(flags));
    if place.is_mount_root()
        && Arc::ptr_eq(place.mount.sb(), mount.sb())
        && place.dentry.inode.ino == mount.root.inode.ino
    {
        // The same thing on top of itself.
        return Err(Errno::EBUSY.into());
    }
    Ok(task.namespaces().mount.attach(&mount, place)?)
}

/// umount2(2)
pub fn umount2(task: &mut CurrentTask, target: UserCStr, flags: Flags<UmountFlags>) -> SysResult<()> {
    let flags = flags.known()?;
    let how = if flags.contains(UmountFlags::UMOUNT_NOFOLLOW) { At::NO_FOLLOW } else { At::FOLLOW };
    // Also where `.` has been mounted over.
    let place = at(task, DirFd(AT_FDCWD), target, how.unused())?.topmost();
    may_mount(task)?;
    let root = task.fs().roots().root.clone();
    drop(task.namespaces().mount.unmount(place, &root, flags)?);
    Ok(())
}

/// pivot_root(2)
pub fn pivot_root(task: &mut CurrentTask, new_root: UserCStr, put_old: UserCStr) -> SysResult<()> {
    may_mount(task)?;
    let new_root = directory(task, new_root)?;
    let put_old = directory(task, put_old)?;
    let root = task.fs().roots().root.clone();
    drop(task.namespaces().mount.pivot_root(&root, &new_root, &put_old)?);
    // All who stand at the old root go to the new one.
    let groups: Vec<_> = task.kernel().tree.lock().iter().map(|node| Arc::clone(&node.group)).collect();
    for other in groups.iter().flat_map(|group| group.threads()) {
        if let Some(resources) = other.resources() {
            resources.fs.replace(&root, &new_root);
        }
    }
    Ok(())
}

fn directory(task: &CurrentTask, path: UserCStr) -> Result<Path, Errno> {
    let path = crate::path::read(task, path)?;
    let roots = task.fs().roots();
    lookup(&task.caller(&roots), &roots.cwd, &path, LookupFlags::FOLLOW | LookupFlags::DIRECTORY)
}
