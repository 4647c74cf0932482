//! Opening and closing: open(2), openat(2), openat2(2), creat(2), close(2), close_range(2).

use abi::Errno;
use abi::open::{AT_FDCWD, AtFlags, CloseRangeFlags, O_ACCMODE, OPEN_HOW_SIZE_VER0, OpenFlags, OpenHow};
use sentry::SysResult;
use sentry::mm::UserCStr;
use sentry::task::CurrentTask;
use sentry::task::file_lock::Wait;
use sentry::vfs::OnExec;
use sentry::vfs::open::{How, Opening};
use zerocopy::IntoBytes;

use crate::arg::{DirFd, Fd, Flags, In, Mode, ModeIfCreate, OpenArg};

/// open(2)
pub fn open(task: &mut CurrentTask, path: UserCStr, flags: OpenArg, mode: ModeIfCreate) -> SysResult<Fd> {
    openat(task, DirFd(AT_FDCWD), path, flags, mode)
}

/// creat(2)
pub fn creat(task: &mut CurrentTask, path: UserCStr, mode: Mode) -> SysResult<Fd> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    openat(task, DirFd(AT_FDCWD), path, OpenArg(flags.bits()), ModeIfCreate(mode.0))
}

/// openat(2)
pub fn openat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    flags: OpenArg,
    mode: ModeIfCreate,
) -> SysResult<Fd> {
    // Files are large on 64-bit machines, asked for or not.
    let how = How::open(flags.0 | OpenFlags::LARGEFILE.bits(), mode.0)?;
    open_how(task, dir, path, &how)
}

/// openat2(2)
pub fn openat2(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    how: In<OpenHow>,
    size: usize,
) -> SysResult<Fd> {
    if size < OPEN_HOW_SIZE_VER0 {
        return Err(Errno::EINVAL.into());
    }
    if size > sentry::mm::PAGE as usize {
        return Err(Errno::E2BIG.into());
    }
    let mut given = OpenHow::default();
    let known = size_of::<OpenHow>();
    task.copy_in(how.addr(), given.as_mut_bytes())?;
    // Fields of later kernels must not ask for anything.
    let mut rest = [0u8; 256];
    let mut at = known;
    while at < size {
        let len = rest.len().min(size - at);
        task.copy_in(how.addr().add(at as u64)?, &mut rest[..len])?;
        if rest[..len].iter().any(|byte| *byte != 0) {
            return Err(Errno::E2BIG.into());
        }
        at += len;
    }
    let how = How::openat2(given.flags, given.mode, given.resolve)?;
    open_how(task, dir, path, &how)
}

fn open_how(task: &mut CurrentTask, dir: DirFd, path: UserCStr, how: &How) -> SysResult<Fd> {
    let path = crate::path::read(task, path)?;
    if path.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let reserved = task.reserve_fd(OnExec::from_flags(how.flags()))?;
    let opening = loop {
        let opening = {
            let roots = task.fs().roots();
            let at = crate::path::start(task, &roots, dir, &path, AtFlags::empty())?;
            // With RESOLVE_IN_ROOT even an absolute path starts at the directory.
            let at = if how.is_in_root() && path.starts_with(b"/") {
                crate::path::start(task, &roots, dir, b".", AtFlags::empty())?
            } else {
                at
            };
            task.caller(&roots).open(&at, &path, how)?
        };
        let Opening::Leased(inode) = opening else { break opening };
        let flags = how.flags();
        let writes = flags.bits() & O_ACCMODE != 0 || flags.contains(OpenFlags::TRUNC);
        let wait = if flags.contains(OpenFlags::NONBLOCK) { Wait::No } else { Wait::Yes };
        task.break_leases(&inode, writes, wait)?;
    };
    let file = task.finish_open(opening)?;
    if !how.flags().contains(OpenFlags::NOCTTY) && !file.is_path() {
        file.ops().opened(task);
    }
    Ok(Fd(reserved.fill(file)))
}

/// close(2)
pub fn close(task: &mut CurrentTask, fd: Fd) -> SysResult<()> {
    Ok(task.files().close(fd.0)?)
}

/// close_range(2)
pub fn close_range(
    task: &mut CurrentTask,
    first: u32,
    last: u32,
    flags: Flags<CloseRangeFlags>,
) -> SysResult<()> {
    let flags = flags.known()?;
    if first > last {
        return Err(Errno::EINVAL.into());
    }
    let on_exec = flags.contains(CloseRangeFlags::CLOEXEC);
    if flags.contains(CloseRangeFlags::UNSHARE) && task.shares_files() {
        let own = if on_exec { task.files().fork() } else { task.files().fork_without(first, last) };
        task.set_files(own);
    }
    if on_exec {
        task.files().close_range_on_exec(first, last);
    } else {
        task.files().close_range(first, last);
    }
    Ok(())
}
