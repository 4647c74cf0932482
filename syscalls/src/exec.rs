//! Executing programs.

use std::sync::Arc;

use abi::Errno;
use abi::elf::{MAX_ARG_STRINGS, MAX_ARG_STRLEN};
use abi::open::{AT_FDCWD, AtFlags};
use sentry::SysResult;
use sentry::mm::{CStrError, UserAddr, UserCStr, UserRef};
use sentry::task::file_lock::Wait;
use sentry::task::{CurrentTask, ExecArgs};
use sentry::vfs::open_exec;
use sentry::vfs::{Caller, File};

use crate::arg::{DirFd, Flags, StringArray};

pub fn execve(
    task: &mut CurrentTask,
    path: UserCStr,
    argv: StringArray,
    envp: StringArray,
) -> SysResult<u64> {
    execveat(task, DirFd(AT_FDCWD), path, argv, envp, Flags::of(AtFlags::empty()))
}

pub fn execveat(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    argv: StringArray,
    envp: StringArray,
    flags: Flags<AtFlags>,
) -> SysResult<u64> {
    let flags = flags.retain();
    let path = crate::path::read(task, path)?;
    if path.is_empty() && !flags.contains(AtFlags::EMPTY_PATH) {
        return Err(Errno::ENOENT.into());
    }
    if !(AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::EXECVE_CHECK).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    let file = open_program(task, dir, &path, flags)?;
    // Executing is a way of opening for reading.
    task.break_leases(file.path.inode(), false, Wait::Yes)?;
    if flags.contains(AtFlags::EXECVE_CHECK) {
        return Ok(0);
    }
    let mut room = Room::default();
    let argv = strings(task, argv, &mut room)?;
    let envp = strings(task, envp, &mut room)?;
    let (name, name_is_closed) = program_name(task, dir, &path);
    let (fs, creds, asker) = (Arc::clone(task.fs()), Arc::clone(task.own_creds()), Arc::clone(task.task()));
    let open = |path: &[u8]| -> Result<Arc<File>, Errno> {
        let roots = fs.roots();
        let vfs = &asker.kernel().vfs;
        let caller = Caller { creds: &creds, vfs, roots: &roots, umask: 0, task: Some(&asker) };
        open_exec(&caller, &roots.cwd, path, AtFlags::empty())
    };
    task.exec(ExecArgs { open: &open, file, name, name_is_closed, argv, envp })?;
    // The registers are the new program's: what a call answers goes to rax, which starts as 0.
    Ok(0)
}

fn open_program(task: &CurrentTask, dir: DirFd, path: &[u8], flags: AtFlags) -> Result<Arc<File>, Errno> {
    let roots = task.fs().roots();
    let caller = task.caller(&roots);
    let at = crate::path::start(task, &roots, dir, path, flags)?;
    open_exec(&caller, &at, path, flags)
}

/// What the program is called: for a descriptor `/dev/fd/N` or `/dev/fd/N/path`; and whether exec closes that.
fn program_name(task: &CurrentTask, dir: DirFd, path: &[u8]) -> (Vec<u8>, bool) {
    if dir.0 == AT_FDCWD || path.starts_with(b"/") {
        return (path.to_vec(), false);
    }
    let mut name = format!("/dev/fd/{}", dir.0).into_bytes();
    if !path.is_empty() {
        name.push(b'/');
        name.extend_from_slice(path);
    }
    let closed = task.files().on_exec(dir.0) == Some(sentry::vfs::OnExec::Close);
    (name, closed)
}

/// How much the strings of one exec have taken so far: bounded here, so that a guest can't make the Sentry hold more
/// than the stack could (the exact limit is the loader's).
#[derive(Default)]
struct Room {
    bytes: usize,
}

impl Room {
    /// Three quarters of 8 MiB is the most that any stack limit allows.
    const MOST: usize = 6 << 20;

    fn take(&mut self, bytes: usize) -> Result<(), Errno> {
        self.bytes += bytes;
        if self.bytes > Room::MOST { Err(Errno::E2BIG) } else { Ok(()) }
    }
}

fn strings(task: &CurrentTask, array: StringArray, room: &mut Room) -> Result<Vec<Vec<u8>>, Errno> {
    let mut list = Vec::new();
    // A null array is an empty one.
    let Some(array) = array.0.non_null() else { return Ok(list) };
    for index in 0..MAX_ARG_STRINGS as u64 {
        let pointer = UserRef::<u64>::new(array.at(index)?.addr());
        let address: u64 = task.read_obj(pointer)?;
        if address == 0 {
            return Ok(list);
        }
        let string = match task.mm().copy_in_cstr(UserAddr(address), MAX_ARG_STRLEN) {
            Ok(string) => string.to_vec(),
            Err(CStrError::Fault) => return Err(Errno::EFAULT),
            Err(CStrError::TooLong) => return Err(Errno::E2BIG),
        };
        room.take(string.len() + 1 + size_of::<u64>())?;
        list.push(string);
    }
    Err(Errno::E2BIG)
}
