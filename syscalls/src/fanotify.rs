//! Listening to files: fanotify_init(2), fanotify_mark(2).

use std::sync::Arc;

use abi::Errno;
use abi::capability::{CAP_AUDIT_WRITE, CAP_SYS_ADMIN};
use abi::fanotify::{FanInit, FanMark, FanMask};
use abi::open::{O_ACCMODE, OpenFlags};
use sentry::SysResult;
use sentry::mm::UserCStr;
use sentry::task::CurrentTask;
use sentry::vfs::fanotify::{Change, EVENT_FILE_FLAGS, Fanotify, Founder, Kind, Object};
use sentry::vfs::resolve::{LookupFlags, lookup};
use sentry::vfs::{OnExec, Path, Want, handle};

use crate::arg::{DirFd, Fd, Flags, OpenArg};

/// Groups that are told handles.
const FIDS: FanInit = FanInit::REPORT_FID
    .union(FanInit::REPORT_DIR_FID)
    .union(FanInit::REPORT_NAME)
    .union(FanInit::REPORT_TARGET_FID);

/// Groups that may be asked for permission.
const CLASSES: FanInit = FanInit::CLASS_CONTENT.union(FanInit::CLASS_PRE_CONTENT);

/// What only CAP_SYS_ADMIN may ask for.
const ADMIN: FanInit = CLASSES
    .union(FanInit::UNLIMITED_QUEUE)
    .union(FanInit::UNLIMITED_MARKS)
    .union(FanInit::REPORT_PIDFD)
    .union(FanInit::REPORT_TID)
    .union(FanInit::REPORT_FD_ERROR);

/// Events through a file, which can be shown with a descriptor.
const FILE_EVENTS: FanMask = FanMask::ACCESS
    .union(FanMask::MODIFY)
    .union(FanMask::CLOSE_WRITE)
    .union(FanMask::CLOSE_NOWRITE)
    .union(FanMask::OPEN)
    .union(FanMask::OPEN_EXEC);

/// Events of names in a directory.
const ENTRY_EVENTS: FanMask = FanMask::CREATE
    .union(FanMask::DELETE)
    .union(FanMask::MOVED_FROM)
    .union(FanMask::MOVED_TO)
    .union(FanMask::RENAME);

const PERMISSION_EVENTS: FanMask =
    FanMask::OPEN_PERM.union(FanMask::ACCESS_PERM).union(FanMask::OPEN_EXEC_PERM).union(FanMask::PRE_ACCESS);

const MOUNT_EVENTS: FanMask = FanMask::MNT_ATTACH.union(FanMask::MNT_DETACH);

/// To what the events of a mask apply.
const REACH: FanMask = FanMask::ONDIR.union(FanMask::EVENT_ON_CHILD);

const IGNORING: FanMark = FanMark::IGNORED_MASK.union(FanMark::IGNORE);

/// FAN_MARK_MNTNS is both at once.
const KINDS: FanMark = FanMark::MOUNT.union(FanMark::FILESYSTEM);

fn is_admin(task: &CurrentTask) -> bool {
    let creds = task.own_creds();
    creds.user_ns.parent().is_none() && creds.has_cap(CAP_SYS_ADMIN)
}

/// fanotify_init(2)
pub fn fanotify_init(task: &mut CurrentTask, flags: Flags<FanInit>, event_flags: OpenArg) -> SysResult<Fd> {
    let given = flags.retain();
    let privileged = is_admin(task);
    if !privileged && (given.intersects(ADMIN) || !given.intersects(FIDS | FanInit::REPORT_MNT)) {
        return Err(Errno::EPERM.into());
    }
    let flags = flags.known()?;
    check_init(flags)?;
    let event_flags = OpenFlags::from_bits_retain(event_flags.0) | OpenFlags::LARGEFILE;
    let mode = event_flags.bits() & O_ACCMODE;
    if !EVENT_FILE_FLAGS.contains(event_flags - OpenFlags::from_bits_retain(O_ACCMODE)) || mode == O_ACCMODE {
        return Err(Errno::EINVAL.into());
    }
    if flags.contains(FanInit::ENABLE_AUDIT) && !task.own_creds().has_cap(CAP_AUDIT_WRITE) {
        return Err(Errno::EPERM.into());
    }
    let founder = Founder { uid: task.own_creds().euid, privileged };
    let group = Fanotify::new(flags, event_flags, founder)?;
    let on_exec = if flags.contains(FanInit::CLOEXEC) { OnExec::Close } else { OnExec::Keep };
    let reserved = task.reserve_fd(on_exec)?;
    let mut file_flags = OpenFlags::RDWR;
    file_flags.set(OpenFlags::NONBLOCK, flags.contains(FanInit::NONBLOCK));
    let file = task.kernel().internal.anonymous(Box::new(group), file_flags, task.own_creds());
    Ok(Fd(reserved.fill(file)))
}

/// EINVAL for flags that do not go together.
fn check_init(flags: FanInit) -> Result<(), Errno> {
    let has = |flag| flags.contains(flag);
    let class = flags & CLASSES;
    let wrong = class == CLASSES
        || (flags.intersects(FIDS) && !class.is_empty())
        || (has(FanInit::REPORT_NAME) && !has(FanInit::REPORT_DIR_FID))
        || (has(FanInit::REPORT_TARGET_FID) && !has(FanInit::REPORT_NAME | FanInit::REPORT_FID))
        || (has(FanInit::REPORT_PIDFD) && has(FanInit::REPORT_TID))
        || (has(FanInit::REPORT_MNT)
            && (!class.is_empty() || flags.intersects(FIDS | FanInit::REPORT_FD_ERROR)));
    if wrong { Err(Errno::EINVAL) } else { Ok(()) }
}

/// fanotify_mark(2)
pub fn fanotify_mark(
    task: &mut CurrentTask,
    fd: Fd,
    flags: Flags<FanMark>,
    mask: Flags<FanMask>,
    dir: DirFd,
    path: UserCStr,
) -> SysResult<()> {
    let flags = flags.known()?;
    let mut mask = mask.retain();
    let command = flags & (FanMark::ADD | FanMark::REMOVE | FanMark::FLUSH);
    let ignoring = flags & IGNORING;
    match command {
        FanMark::ADD | FanMark::REMOVE if mask.is_empty() => return Err(Errno::EINVAL.into()),
        FanMark::ADD | FanMark::REMOVE => {}
        FanMark::FLUSH if (KINDS | FanMark::FLUSH).contains(flags) => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    let valid = FanMask::all() - FanMask::Q_OVERFLOW;
    if !valid.contains(mask) || ignoring == IGNORING {
        return Err(Errno::EINVAL.into());
    }
    let mut fixed = FanMask::empty();
    if ignoring == FanMark::IGNORED_MASK {
        mask -= REACH;
        fixed = REACH;
    }
    let file = task.file(fd.0)?;
    let Some(group) = file.downcast::<Fanotify>() else { return Err(Errno::EINVAL.into()) };
    let kind = kind(flags)?;
    let fids = group.flags() & FIDS;
    check_mask(group, kind, mask, is_admin(task))?;
    if flags.contains(FanMark::EVICTABLE) && kind != Kind::Inode {
        return Err(Errno::EINVAL.into());
    }
    if command == FanMark::FLUSH {
        group.flush(kind);
        return Ok(());
    }
    let place = place(task, dir, path, flags)?;
    if command == FanMark::ADD {
        check_place(group, kind, mask, flags, &place)?;
    }
    if !fids.is_empty() && kind != Kind::Inode && !handle::is_supported(&place) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let is_dir = place.inode().is_dir();
    if command == FanMark::ADD
        && ignoring == FanMark::IGNORE
        && (kind != Kind::Inode || is_dir)
        && !flags.contains(FanMark::IGNORED_SURV_MODIFY)
    {
        return Err(if kind == Kind::Inode { Errno::EISDIR } else { Errno::EINVAL }.into());
    }
    // Only directories have files in them, and whole trees are watched with them anyway.
    if kind != Kind::Inode || !is_dir {
        mask -= FanMask::EVENT_ON_CHILD;
        fixed |= FanMask::EVENT_ON_CHILD;
        if fids.contains(FanInit::REPORT_DIR_FID) && command == FanMark::ADD && ignoring.is_empty() {
            mask |= FanMask::EVENT_ON_CHILD;
        }
    }
    let object = match kind {
        Kind::Inode => Object::Inode(Arc::clone(place.inode())),
        Kind::Mount => Object::Mount(Arc::downgrade(&place.mount)),
        Kind::FileSystem => Object::FileSystem(Arc::downgrade(place.mount.sb())),
    };
    let change = Change { mask, fixed, flags };
    Ok(if command == FanMark::ADD { group.add(object, &change) } else { group.remove(&object, &change) }?)
}

fn kind(flags: FanMark) -> Result<Kind, Errno> {
    match flags & KINDS {
        FanMark::MOUNT => Ok(Kind::Mount),
        FanMark::FILESYSTEM => Ok(Kind::FileSystem),
        kind if kind.is_empty() => Ok(Kind::Inode),
        // A mount namespace.
        _ => Err(Errno::EINVAL),
    }
}

/// Whether a group can have these events of such a mark: EINVAL, or EPERM for who may only mark files.
fn check_mask(group: &Fanotify, kind: Kind, mask: FanMask, is_admin: bool) -> Result<(), Errno> {
    let fids = group.flags() & FIDS;
    if group.flags().contains(FanInit::REPORT_MNT) || mask.intersects(MOUNT_EVENTS) {
        return Err(Errno::EINVAL);
    }
    if kind != Kind::Inode && !(is_admin && group.is_privileged()) {
        return Err(Errno::EPERM);
    }
    let class = group.flags() & CLASSES;
    let beyond_class = (mask.intersects(PERMISSION_EVENTS) && class.is_empty())
        || (mask.contains(FanMask::PRE_ACCESS) && class != FanInit::CLASS_PRE_CONTENT);
    let by_descriptor = (FILE_EVENTS | PERMISSION_EVENTS | REACH).contains(mask);
    let wrong = beyond_class
        || (mask.contains(FanMask::FS_ERROR) && kind != Kind::FileSystem)
        || (!by_descriptor && (fids.is_empty() || kind == Kind::Mount))
        || (mask.contains(FanMask::RENAME) && !fids.contains(FanInit::REPORT_NAME))
        || mask.contains(FanMask::PRE_ACCESS | FanMask::ONDIR);
    if wrong { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Whether what is at `place` has such events.
fn check_place(
    group: &Fanotify,
    kind: Kind,
    mask: FanMask,
    flags: FanMark,
    place: &Path,
) -> Result<(), Errno> {
    let inode = place.inode();
    let sb_kind = place.mount.sb().kind();
    if mask.contains(FanMask::PRE_ACCESS) {
        let is_plain = inode.is_dir() || inode.is_regular();
        return Err(if is_plain { Errno::EOPNOTSUPP } else { Errno::EINVAL });
    }
    if mask.intersects(PERMISSION_EVENTS) && sb_kind == "proc" {
        return Err(Errno::EINVAL);
    }
    if kind != Kind::Inode && ["pipefs", "sockfs", "anon_inodefs"].contains(&sb_kind) {
        return Err(Errno::EINVAL);
    }
    let strict = group.flags().contains(FanInit::REPORT_TARGET_FID)
        || mask.contains(FanMask::RENAME)
        || flags.contains(FanMark::IGNORE);
    if strict && kind == Kind::Inode && !inode.is_dir() && mask.intersects(ENTRY_EVENTS | REACH) {
        return Err(Errno::ENOTDIR);
    }
    Ok(())
}

/// What a mark is to be on; the caller must be allowed to read it.
fn place(task: &CurrentTask, dir: DirFd, path: UserCStr, flags: FanMark) -> Result<Path, Errno> {
    let roots = task.fs().roots();
    let caller = task.caller(&roots);
    let only_dir = flags.contains(FanMark::ONLYDIR);
    let place = if path.0.is_null() {
        let place = task.file(dir.0)?.path.clone();
        if only_dir && !place.inode().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        place
    } else {
        let path = crate::path::read(task, path)?;
        let at = crate::path::start(task, &roots, dir, &path, abi::open::AtFlags::empty())?;
        let mut how = LookupFlags::empty();
        how.set(LookupFlags::FOLLOW, !flags.contains(FanMark::DONT_FOLLOW));
        how.set(LookupFlags::DIRECTORY, only_dir);
        lookup(&caller, &at, &path, how)?
    };
    place.inode().permission(&caller, Want::READ)?;
    Ok(place)
}
