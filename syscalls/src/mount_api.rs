//! Mounting in steps: fsopen(2), fsconfig(2), fsmount(2), fspick(2), open_tree(2), move_mount(2), mount_setattr(2).

use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_SYS_ADMIN;
use abi::mount as m;
use abi::mount::{
    FsmountFlags, FsopenFlags, FspickFlags, MOUNT_ATTR__ATIME, MOUNT_ATTR_SIZE_VER0, MountAttr,
    MountAttrFlags, MountFlags as Ms, MoveMountFlags, OpenTreeFlags,
};
use abi::open::{AT_FDCWD, AtFlags, OpenFlags};
use sentry::SysResult;
use sentry::mm::{CStrError, PAGE, UserAddr, UserCStr, UserString};
use sentry::task::CurrentTask;
use sentry::vfs::mount_context::{DetachedTree, MountContext, Value};
use sentry::vfs::namespace::{Layer, MountNamespace, PropagationKind, Recursive};
use sentry::vfs::{File, Mount, MountFlags, OnExec, Path};
use zerocopy::IntoBytes;

use crate::arg::{DirFd, Fd, Flags, FsconfigCommand, In, InString};
use crate::mount::may_mount;
use crate::path::{At, at};

/// Bytes of the longest key and the longest text of fsconfig(2), the NUL included.
const TEXT_MAX: usize = 256;
/// Bytes of the longest binary value.
const BINARY_MAX: i32 = 1024 * 1024;

fn on_exec(close: bool) -> OnExec {
    if close { OnExec::Close } else { OnExec::Keep }
}

fn string(task: &CurrentTask, from: UserAddr, max: usize) -> Result<UserString, Errno> {
    task.mm().copy_in_cstr(from, max).map_err(|error| match error {
        CStrError::Fault => Errno::EFAULT,
        CStrError::TooLong => Errno::EINVAL,
    })
}

fn add_context(task: &CurrentTask, context: MountContext, close: bool) -> SysResult<Fd> {
    let internal = &task.kernel().internal;
    let file = internal.anonymous(Box::new(context), OpenFlags::RDWR, task.own_creds());
    Ok(Fd(task.add_file(file, on_exec(close))?))
}

/// A descriptor of a tree that is nowhere.
fn add_tree(task: &CurrentTask, tree: Arc<MountNamespace>, root: Path, close: bool) -> SysResult<Fd> {
    let ops = Box::new(DetachedTree::new(tree));
    let file = File::new(ops, root, OpenFlags::PATH, Arc::clone(task.own_creds()));
    Ok(Fd(task.add_file(file, on_exec(close))?))
}

/// fsopen(2)
pub fn fsopen(task: &mut CurrentTask, name: InString, flags: Flags<FsopenFlags>) -> SysResult<Fd> {
    may_mount(task)?;
    let flags = flags.known()?;
    let name = string(task, *name, PAGE as usize)?;
    let kind = task.kernel().vfs.file_system_type(&name)?;
    add_context(task, MountContext::create(kind), flags.contains(FsopenFlags::CLOEXEC))
}

/// fspick(2)
pub fn fspick(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    flags: Flags<FspickFlags>,
) -> SysResult<Fd> {
    may_mount(task)?;
    let flags = flags.known()?;
    let mut at_flags = AtFlags::empty();
    at_flags.set(AtFlags::SYMLINK_NOFOLLOW, flags.contains(FspickFlags::SYMLINK_NOFOLLOW));
    at_flags.set(AtFlags::EMPTY_PATH, flags.contains(FspickFlags::EMPTY_PATH));
    let place = at(task, dir, path, At::of(at_flags))?;
    if !place.is_mount_root() {
        return Err(Errno::EINVAL.into());
    }
    let kind = task.kernel().vfs.file_system_type(place.mount.sb().kind().as_bytes())?;
    let context = MountContext::pick(kind, Arc::clone(&place.mount.root));
    add_context(task, context, flags.contains(FspickFlags::CLOEXEC))
}

/// fsconfig(2)
pub fn fsconfig(
    task: &mut CurrentTask,
    fd: Fd,
    command: FsconfigCommand,
    key: InString,
    value: UserAddr,
    aux: i32,
) -> SysResult<()> {
    let (has_key, has_value) = (!key.is_null(), !value.is_null());
    let fits = fd.0 >= 0
        && match command.0 {
            m::FSCONFIG_SET_FLAG => has_key && !has_value && aux == 0,
            m::FSCONFIG_SET_STRING => has_key && has_value && aux == 0,
            m::FSCONFIG_SET_BINARY => has_key && has_value && (1..=BINARY_MAX).contains(&aux),
            m::FSCONFIG_SET_PATH | m::FSCONFIG_SET_PATH_EMPTY => {
                has_key && has_value && (aux == AT_FDCWD || aux >= 0)
            }
            m::FSCONFIG_SET_FD => has_key && !has_value && aux >= 0,
            m::FSCONFIG_CMD_CREATE | m::FSCONFIG_CMD_CREATE_EXCL | m::FSCONFIG_CMD_RECONFIGURE => {
                !has_key && !has_value && aux == 0
            }
            _ => return Err(Errno::EOPNOTSUPP.into()),
        };
    if !fits {
        return Err(Errno::EINVAL.into());
    }
    let file = task.file(fd.0)?;
    let context = file.downcast::<MountContext>().ok_or(Errno::EINVAL)?;
    let key = if has_key { string(task, *key, TEXT_MAX)? } else { UserString::new() };
    match command.0 {
        m::FSCONFIG_CMD_CREATE | m::FSCONFIG_CMD_CREATE_EXCL => {
            context.may_create()?;
            // Every mount makes a file system of its own, or finds the one there is of its kind.
            let own = task.own_creds();
            let first = own.user_ns.parent().is_none();
            if !own.has_cap(CAP_SYS_ADMIN) || (!first && !context.kind().allowed_in_user_ns()) {
                return Err(Errno::EPERM.into());
            }
            let roots = task.fs().roots();
            context.make(&task.caller(&roots))?;
        }
        m::FSCONFIG_CMD_RECONFIGURE => {
            context.may_reconfigure()?;
            let sb = context.sb().ok_or(Errno::EINVAL)?;
            if !sb.capable(task.own_creds(), CAP_SYS_ADMIN) {
                return Err(Errno::EPERM.into());
            }
            context.reconfigure()?;
        }
        m::FSCONFIG_SET_FLAG => context.set(&key, Value::Flag)?,
        m::FSCONFIG_SET_STRING => {
            let text = string(task, value, TEXT_MAX)?;
            context.set(&key, Value::Text(&text))?;
        }
        m::FSCONFIG_SET_BINARY => {
            task.copy_in(value, &mut vec![0; aux as usize])?;
            context.set(&key, Value::Other)?;
        }
        m::FSCONFIG_SET_FD => {
            task.file_or_path(aux)?;
            context.set(&key, Value::Other)?;
        }
        _ => {
            let path = crate::path::read(task, UserCStr(value))?;
            if path.is_empty() && command.0 == m::FSCONFIG_SET_PATH {
                return Err(Errno::ENOENT.into());
            }
            context.set(&key, Value::Other)?;
        }
    }
    Ok(())
}

/// Attributes that fsmount(2) takes.
const OF_NEW_MOUNT: MountAttrFlags = MountAttrFlags::RDONLY
    .union(MountAttrFlags::NOSUID)
    .union(MountAttrFlags::NODEV)
    .union(MountAttrFlags::NOEXEC)
    .union(MountAttrFlags::NOATIME)
    .union(MountAttrFlags::STRICTATIME)
    .union(MountAttrFlags::NODIRATIME)
    .union(MountAttrFlags::NOSYMFOLLOW);

/// Attributes that are flags of a mount, the time mode apart.
const BITS: [(MountAttrFlags, MountFlags); 6] = [
    (MountAttrFlags::RDONLY, MountFlags::RDONLY),
    (MountAttrFlags::NOSUID, MountFlags::NOSUID),
    (MountAttrFlags::NODEV, MountFlags::NODEV),
    (MountAttrFlags::NOEXEC, MountFlags::NOEXEC),
    (MountAttrFlags::NODIRATIME, MountFlags::NODIRATIME),
    (MountAttrFlags::NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
];

fn plain_flags(attributes: MountAttrFlags) -> MountFlags {
    let mut flags = MountFlags::empty();
    for (attribute, flag) in BITS {
        flags.set(flag, attributes.contains(attribute));
    }
    flags
}

/// The time mode as a flag of the mount: EINVAL for one that does not exist.
fn atime(bits: u64) -> Result<MountFlags, Errno> {
    match MountAttrFlags::from_bits_retain(bits & MOUNT_ATTR__ATIME) {
        mode if mode.is_empty() => Ok(MountFlags::RELATIME),
        MountAttrFlags::NOATIME => Ok(MountFlags::NOATIME),
        MountAttrFlags::STRICTATIME => Ok(MountFlags::empty()),
        _ => Err(Errno::EINVAL),
    }
}

/// The attributes that say what `flags` do.
pub(crate) fn attributes(flags: MountFlags) -> MountAttrFlags {
    let mut attributes = MountAttrFlags::empty();
    for (attribute, flag) in BITS {
        attributes.set(attribute, flags.contains(flag));
    }
    attributes.set(MountAttrFlags::NOATIME, flags.contains(MountFlags::NOATIME));
    let strict = !flags.intersects(MountFlags::NOATIME | MountFlags::RELATIME);
    attributes.set(MountAttrFlags::STRICTATIME, strict);
    attributes
}

/// fsmount(2)
pub fn fsmount(
    task: &mut CurrentTask,
    fd: Fd,
    flags: Flags<FsmountFlags>,
    attributes: Flags<MountAttrFlags>,
) -> SysResult<Fd> {
    may_mount(task)?;
    let flags = flags.known()?;
    let attributes = attributes.retain();
    if !OF_NEW_MOUNT.contains(attributes) {
        return Err(Errno::EINVAL.into());
    }
    let mount_flags = plain_flags(attributes) | atime(attributes.bits())?;
    let file = task.file(fd.0)?;
    let context = file.downcast::<MountContext>().ok_or(Errno::EINVAL)?;
    let (root, source) = context.take_for_mount()?;
    let mount = Mount::new(Arc::clone(&root), &source, mount_flags);
    let place = Path::new(Arc::clone(&mount), root);
    let owner = Arc::clone(&task.namespaces().mount.user_ns);
    let tree = MountNamespace::detached(mount, owner);
    add_tree(task, tree, place, flags.contains(FsmountFlags::CLOEXEC))
}

/// open_tree(2)
pub fn open_tree(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    flags: Flags<OpenTreeFlags>,
) -> SysResult<Fd> {
    open_tree_at(task, dir, path, flags.bits(), None)
}

/// open_tree_attr(2)
pub fn open_tree_attr(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    flags: Flags<OpenTreeFlags>,
    attr: In<MountAttr>,
    size: usize,
) -> SysResult<Fd> {
    if attr.is_null() && size != 0 {
        return Err(Errno::EINVAL.into());
    }
    let attr = if attr.is_null() { None } else { Some((attr, size)) };
    open_tree_at(task, dir, path, flags.bits(), attr)
}

fn open_tree_at(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    bits: u32,
    attr: Option<(In<MountAttr>, usize)>,
) -> SysResult<Fd> {
    let how = OpenTreeFlags::from_bits_truncate(bits);
    let at_flags = AtFlags::from_bits_retain(bits & !(OpenTreeFlags::CLONE | OpenTreeFlags::CLOEXEC).bits());
    let known = AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT | AtFlags::RECURSIVE | AtFlags::SYMLINK_NOFOLLOW;
    let clones = how.contains(OpenTreeFlags::CLONE);
    let is_recursive = at_flags.contains(AtFlags::RECURSIVE);
    if !known.contains(at_flags) || (is_recursive && !clones) {
        return Err(Errno::EINVAL.into());
    }
    if clones {
        may_mount(task)?;
    }
    let place = at(task, dir, path, At::of(at_flags))?;
    let change = match attr {
        Some((attr, size)) => Change::read(task, attr, size)?,
        None => None,
    };
    let close = how.contains(OpenTreeFlags::CLOEXEC);
    if !clones {
        if let Some(change) = change {
            apply(task, &place, &change, recursive(is_recursive))?;
        }
        let file = File::of_path(place, Arc::clone(task.own_creds()));
        return Ok(Fd(task.add_file(file, on_exec(close))?));
    }
    let tree = task.namespaces().mount.detached_copy(&place, recursive(is_recursive))?;
    let root = tree.root_of_detached();
    if let Some(change) = change {
        change.apply(&tree, &root.mount, recursive(is_recursive))?;
    }
    add_tree(task, tree, root, close)
}

fn recursive(is_recursive: bool) -> Recursive {
    if is_recursive { Recursive::Yes } else { Recursive::No }
}

/// move_mount(2)
pub fn move_mount(
    task: &mut CurrentTask,
    from_dir: DirFd,
    from_path: UserCStr,
    to_dir: DirFd,
    to_path: UserCStr,
    flags: Flags<MoveMountFlags>,
) -> SysResult<()> {
    use MoveMountFlags as M;
    may_mount(task)?;
    let flags = flags.known()?;
    if flags.contains(M::BENEATH | M::SET_GROUP) {
        return Err(Errno::EINVAL.into());
    }
    let how = |links: M, empty: M| {
        let mut at_flags = AtFlags::empty();
        at_flags.set(AtFlags::SYMLINK_NOFOLLOW, !flags.contains(links));
        at_flags.set(AtFlags::EMPTY_PATH, flags.contains(empty));
        At::of(at_flags)
    };
    let to = at(task, to_dir, to_path, how(M::T_SYMLINKS, M::T_EMPTY_PATH))?;
    let from = at(task, from_dir, from_path, how(M::F_SYMLINKS, M::F_EMPTY_PATH))?;
    let namespace = &task.namespaces().mount;
    if flags.contains(M::SET_GROUP) {
        return Ok(namespace.set_group(&from, &to)?);
    }
    let layer = if flags.contains(M::BENEATH) { Layer::Beneath } else { Layer::Top };
    drop(namespace.move_mount(&from, &to, layer)?);
    Ok(())
}

/// What mount_setattr(2) is to change.
struct Change {
    set: MountFlags,
    clear: MountFlags,
    propagation: Option<PropagationKind>,
}

impl Change {
    /// From the structure: `None` when it asks for nothing.
    fn read(task: &CurrentTask, from: In<MountAttr>, size: usize) -> Result<Option<Change>, Errno> {
        if size > PAGE as usize {
            return Err(Errno::E2BIG);
        }
        if size < MOUNT_ATTR_SIZE_VER0 {
            return Err(Errno::EINVAL);
        }
        let mut bytes = vec![0; size];
        task.copy_in(from.addr(), &mut bytes)?;
        let (known, rest) = bytes.split_at(size_of::<MountAttr>().min(size));
        if rest.iter().any(|byte| *byte != 0) {
            return Err(Errno::E2BIG);
        }
        let mut attr = MountAttr::default();
        attr.as_mut_bytes()[..known.len()].copy_from_slice(known);
        if (attr.attr_set, attr.attr_clr, attr.propagation) == (0, 0, 0) {
            return Ok(None);
        }
        let propagation = match Ms::from_bits_retain(attr.propagation) {
            none if none.is_empty() => None,
            Ms::SHARED => Some(PropagationKind::Shared),
            Ms::PRIVATE => Some(PropagationKind::Private),
            Ms::SLAVE => Some(PropagationKind::Slave),
            Ms::UNBINDABLE => Some(PropagationKind::Unbindable),
            _ => return Err(Errno::EINVAL),
        };
        // Mounts that map ids are not there.
        let valid = OF_NEW_MOUNT.bits() | MOUNT_ATTR__ATIME;
        if (attr.attr_set | attr.attr_clr) & !valid != 0 {
            return Err(Errno::EINVAL);
        }
        let mut set = plain_flags(MountAttrFlags::from_bits_retain(attr.attr_set));
        let mut clear = plain_flags(MountAttrFlags::from_bits_retain(attr.attr_clr));
        if attr.attr_clr & MOUNT_ATTR__ATIME == 0 {
            if attr.attr_set & MOUNT_ATTR__ATIME != 0 {
                return Err(Errno::EINVAL);
            }
        } else {
            // The mode is a number: all of it is replaced.
            if attr.attr_clr & MOUNT_ATTR__ATIME != MOUNT_ATTR__ATIME {
                return Err(Errno::EINVAL);
            }
            clear |= MountFlags::RELATIME | MountFlags::NOATIME;
            set |= atime(attr.attr_set)?;
        }
        Ok(Some(Change { set, clear, propagation }))
    }

    fn apply(&self, home: &MountNamespace, mount: &Arc<Mount>, recursive: Recursive) -> Result<(), Errno> {
        let mounts = match recursive {
            Recursive::Yes => home.tree_below(mount),
            Recursive::No => vec![Arc::clone(mount)],
        };
        let new = |mount: &Mount| (mount.flags() - self.clear) | self.set;
        for mount in &mounts {
            mount.may_change_flags(new(mount))?;
        }
        for mount in &mounts {
            mount.set_flags(new(mount));
        }
        if let Some(kind) = self.propagation {
            home.set_propagation(mount, kind, recursive);
        }
        Ok(())
    }
}

fn apply(task: &CurrentTask, place: &Path, change: &Change, recursive: Recursive) -> Result<(), Errno> {
    if !place.is_mount_root() {
        return Err(Errno::EINVAL);
    }
    let own = &task.namespaces().mount;
    if own.holds(&place.mount) {
        return change.apply(own, &place.mount, recursive);
    }
    // The top of a tree that is nowhere.
    let home = place.mount.namespace().ok_or(Errno::EINVAL)?;
    if !home.is_detached() || place.mount.mount_point().is_some() {
        return Err(Errno::EINVAL);
    }
    change.apply(&home, &place.mount, recursive)
}

/// mount_setattr(2)
pub fn mount_setattr(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    flags: Flags<AtFlags>,
    attr: In<MountAttr>,
    size: usize,
) -> SysResult<()> {
    let flags = flags.retain();
    let known = AtFlags::EMPTY_PATH | AtFlags::RECURSIVE | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    if !known.contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    if size > PAGE as usize {
        return Err(Errno::E2BIG.into());
    }
    if size < MOUNT_ATTR_SIZE_VER0 {
        return Err(Errno::EINVAL.into());
    }
    may_mount(task)?;
    let Some(change) = Change::read(task, attr, size)? else { return Ok(()) };
    let place = at(task, dir, path, At::of(flags))?;
    Ok(apply(task, &place, &change, recursive(flags.contains(AtFlags::RECURSIVE)))?)
}
