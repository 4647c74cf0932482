//! Extended attributes (xattr(7)).

use abi::Errno;
use abi::open::{AT_FDCWD, AtFlags};
use abi::xattr::{XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_SIZE_MAX, XattrArgs, XattrFlags};
use sentry::SysResult;
use sentry::mm::{CStrError, PAGE, UserAddr, UserCStr, UserString};
use sentry::task::CurrentTask;
use sentry::vfs::{Path, XattrSet};
use zerocopy::IntoBytes;

use crate::arg::{DirFd, Fd, Flags, In, InBuf, InString, OutBuf};
use crate::path::{At, at};

fn name_of(task: &CurrentTask, name: InString) -> Result<UserString, Errno> {
    let name = task.mm().copy_in_cstr(*name, XATTR_NAME_MAX + 1).map_err(|error| match error {
        CStrError::Fault => Errno::EFAULT,
        CStrError::TooLong => Errno::ERANGE,
    })?;
    if name.is_empty() { Err(Errno::ERANGE) } else { Ok(name) }
}

struct Change {
    name: UserString,
    value: Vec<u8>,
    mode: XattrSet,
    /// It is to be new, and to replace an old one.
    contradicts: bool,
}

fn change(
    task: &CurrentTask,
    name: InString,
    value: UserAddr,
    size: usize,
    flags: Flags<XattrFlags>,
) -> Result<Change, Errno> {
    let flags = flags.known()?;
    let mode = match (flags.contains(XattrFlags::CREATE), flags.contains(XattrFlags::REPLACE)) {
        (false, false) => XattrSet::Any,
        (true, _) => XattrSet::Create,
        (false, true) => XattrSet::Replace,
    };
    let name = name_of(task, name)?;
    if size > XATTR_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    let mut bytes = vec![0; size];
    task.copy_in(value, &mut bytes)?;
    let contradicts = flags.contains(XattrFlags::CREATE | XattrFlags::REPLACE);
    Ok(Change { name, value: bytes, mode, contradicts })
}

fn set(task: &CurrentTask, place: &Path, change: &Change) -> SysResult<()> {
    let roots = task.fs().roots();
    let caller = task.caller(&roots);
    if change.contradicts {
        caller.get_xattr(place, &change.name)?;
        return Err(Errno::EEXIST.into());
    }
    Ok(caller.set_xattr(place, &change.name, &change.value, change.mode)?)
}

/// setxattr(2)
pub fn setxattr(
    task: &mut CurrentTask,
    path: UserCStr,
    name: InString,
    value: InBuf,
    size: usize,
    flags: Flags<XattrFlags>,
) -> SysResult<()> {
    let change = change(task, name, *value, size, flags)?;
    let place = at(task, DirFd(AT_FDCWD), path, At::FOLLOW)?;
    set(task, &place, &change)
}

/// lsetxattr(2)
pub fn lsetxattr(
    task: &mut CurrentTask,
    path: UserCStr,
    name: InString,
    value: InBuf,
    size: usize,
    flags: Flags<XattrFlags>,
) -> SysResult<()> {
    let change = change(task, name, *value, size, flags)?;
    let place = at(task, DirFd(AT_FDCWD), path, At::NO_FOLLOW)?;
    set(task, &place, &change)
}

/// fsetxattr(2)
pub fn fsetxattr(
    task: &mut CurrentTask,
    fd: Fd,
    name: InString,
    value: InBuf,
    size: usize,
    flags: Flags<XattrFlags>,
) -> SysResult<()> {
    let change = change(task, name, *value, size, flags)?;
    set(task, &of_descriptor(task, fd)?, &change)
}

/// Whose attributes a descriptor means where they are got and set: to Linux it is a directory and an empty path, so that
/// AT_FDCWD is the working directory. (Not so where they are listed and removed.)
fn of_descriptor(task: &CurrentTask, fd: Fd) -> Result<Path, Errno> {
    if fd.0 == AT_FDCWD { Ok(task.fs().roots().cwd.clone()) } else { Ok(task.file(fd.0)?.path.clone()) }
}

/// Copies a value or a list out; a size of zero only asks how long it is.
fn give(task: &CurrentTask, bytes: &[u8], to: UserAddr, size: usize, max: usize) -> SysResult<usize> {
    if size == 0 {
        return Ok(bytes.len());
    }
    if bytes.len() > size {
        // A buffer as big as can be is never too small: the value is too big.
        return Err(if size >= max { Errno::E2BIG } else { Errno::ERANGE }.into());
    }
    task.copy_out(to, bytes)?;
    Ok(bytes.len())
}

fn get(task: &CurrentTask, place: &Path, name: &[u8], value: UserAddr, size: usize) -> SysResult<usize> {
    let roots = task.fs().roots();
    let bytes = task.caller(&roots).get_xattr(place, name)?;
    give(task, &bytes, value, size, XATTR_SIZE_MAX)
}

/// getxattr(2)
pub fn getxattr(
    task: &mut CurrentTask,
    path: UserCStr,
    name: InString,
    value: OutBuf,
    size: usize,
) -> SysResult<usize> {
    let name = name_of(task, name)?;
    let place = at(task, DirFd(AT_FDCWD), path, At::FOLLOW)?;
    get(task, &place, &name, *value, size)
}

/// lgetxattr(2)
pub fn lgetxattr(
    task: &mut CurrentTask,
    path: UserCStr,
    name: InString,
    value: OutBuf,
    size: usize,
) -> SysResult<usize> {
    let name = name_of(task, name)?;
    let place = at(task, DirFd(AT_FDCWD), path, At::NO_FOLLOW)?;
    get(task, &place, &name, *value, size)
}

/// fgetxattr(2)
pub fn fgetxattr(
    task: &mut CurrentTask,
    fd: Fd,
    name: InString,
    value: OutBuf,
    size: usize,
) -> SysResult<usize> {
    let name = name_of(task, name)?;
    get(task, &of_descriptor(task, fd)?, &name, *value, size)
}

fn list(task: &CurrentTask, place: &Path, to: UserAddr, size: usize) -> SysResult<usize> {
    let roots = task.fs().roots();
    let mut bytes = Vec::new();
    for name in task.caller(&roots).list_xattr(place)? {
        bytes.extend_from_slice(&name);
        bytes.push(0);
    }
    give(task, &bytes, to, size, XATTR_LIST_MAX)
}

/// listxattr(2)
pub fn listxattr(task: &mut CurrentTask, path: UserCStr, buf: OutBuf, size: usize) -> SysResult<usize> {
    let place = at(task, DirFd(AT_FDCWD), path, At::FOLLOW)?;
    list(task, &place, *buf, size)
}

/// llistxattr(2)
pub fn llistxattr(task: &mut CurrentTask, path: UserCStr, buf: OutBuf, size: usize) -> SysResult<usize> {
    let place = at(task, DirFd(AT_FDCWD), path, At::NO_FOLLOW)?;
    list(task, &place, *buf, size)
}

/// flistxattr(2)
pub fn flistxattr(task: &mut CurrentTask, fd: Fd, buf: OutBuf, size: usize) -> SysResult<usize> {
    let file = task.file(fd.0)?;
    list(task, &file.path, *buf, size)
}

fn remove(task: &CurrentTask, place: &Path, name: &[u8]) -> SysResult<()> {
    let roots = task.fs().roots();
    Ok(task.caller(&roots).remove_xattr(place, name)?)
}

/// removexattr(2)
pub fn removexattr(task: &mut CurrentTask, path: UserCStr, name: InString) -> SysResult<()> {
    let name = name_of(task, name)?;
    let place = at(task, DirFd(AT_FDCWD), path, At::FOLLOW)?;
    remove(task, &place, &name)
}

/// lremovexattr(2)
pub fn lremovexattr(task: &mut CurrentTask, path: UserCStr, name: InString) -> SysResult<()> {
    let name = name_of(task, name)?;
    let place = at(task, DirFd(AT_FDCWD), path, At::NO_FOLLOW)?;
    remove(task, &place, &name)
}

/// fremovexattr(2)
pub fn fremovexattr(task: &mut CurrentTask, fd: Fd, name: InString) -> SysResult<()> {
    let name = name_of(task, name)?;
    let file = task.file(fd.0)?;
    remove(task, &file.path, &name)
}

fn check_at_flags(flags: AtFlags) -> Result<(), Errno> {
    let known = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    if known.contains(flags) { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Where the calls that take a directory look; with AT_EMPTY_PATH it is the descriptor's own file, which must be open.
fn place_at(task: &CurrentTask, dir: DirFd, path: UserCStr, flags: Flags<AtFlags>) -> Result<Path, Errno> {
    let flags = flags.retain();
    check_at_flags(flags)?;
    if flags.contains(AtFlags::EMPTY_PATH) && dir.0 >= 0 {
        let is_empty = path.0.is_null() || crate::path::read(task, path)?.is_empty();
        if is_empty {
            return Ok(task.file(dir.0)?.path.clone());
        }
    }
    at(task, dir, path, At::of(flags))
}

/// The structure with value, size and flags, of whatever size the caller has it.
fn arguments(task: &CurrentTask, from: In<XattrArgs>, size: usize) -> Result<XattrArgs, Errno> {
    if size < size_of::<XattrArgs>() {
        return Err(Errno::EINVAL);
    }
    if size > PAGE as usize {
        return Err(Errno::E2BIG);
    }
    let mut bytes = vec![0; size];
    task.copy_in(from.addr(), &mut bytes)?;
    let (known, rest) = bytes.split_at(size_of::<XattrArgs>());
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let mut args = XattrArgs::default();
    args.as_mut_bytes().copy_from_slice(known);
    Ok(args)
}

/// setxattrat(2)
pub fn setxattrat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    flags: Flags<AtFlags>,
    name: InString,
    args: In<XattrArgs>,
    size: usize,
) -> SysResult<()> {
    let args = arguments(task, args, size)?;
    let mode = Flags::of(XattrFlags::from_bits_retain(args.flags));
    let change = change(task, name, UserAddr(args.value), args.size as usize, mode)?;
    let place = place_at(task, dir, path, flags)?;
    set(task, &place, &change)
}

/// getxattrat(2)
pub fn getxattrat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    flags: Flags<AtFlags>,
    name: InString,
    args: In<XattrArgs>,
    size: usize,
) -> SysResult<usize> {
    let args = arguments(task, args, size)?;
    if args.flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let name = name_of(task, name)?;
    let place = place_at(task, dir, path, flags)?;
    get(task, &place, &name, UserAddr(args.value), args.size as usize)
}

/// listxattrat(2)
pub fn listxattrat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    flags: Flags<AtFlags>,
    buf: OutBuf,
    size: usize,
) -> SysResult<usize> {
    let place = place_at(task, dir, path, flags)?;
    list(task, &place, *buf, size)
}

/// removexattrat(2)
pub fn removexattrat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    flags: Flags<AtFlags>,
    name: InString,
) -> SysResult<()> {
    check_at_flags(flags.retain())?;
    let name = name_of(task, name)?;
    let place = place_at(task, dir, path, flags)?;
    remove(task, &place, &name)
}
