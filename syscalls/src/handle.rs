//! File handles: name_to_handle_at(2), open_by_handle_at(2).

use abi::Errno;
use abi::capability::CAP_DAC_READ_SEARCH;
use abi::open::{AT_FDCWD, AtFlags, FileHandle, MAX_HANDLE_SZ, OpenFlags};
use sentry::SysResult;
use sentry::mm::{UserAddr, UserCStr, UserRef};
use sentry::task::CurrentTask;
use sentry::vfs::handle::{self, HANDLE_BYTES, HANDLE_TYPE};
use sentry::vfs::open::How;
use sentry::vfs::{File, OnExec};

use crate::arg::{DirFd, Fd, OpenArg};
use crate::path::{At, at};

/// Flags of name_to_handle_at(2) whose bits mean something else elsewhere.
const HANDLE_MNT_ID_UNIQUE: u32 = 1;
const HANDLE_CONNECTABLE: u32 = 2;

/// name_to_handle_at(2)
pub fn name_to_handle_at(
    task: &mut CurrentTask,
    dir: DirFd,
    path: UserCStr,
    to: UserRef<FileHandle>,
    mount_id: UserAddr,
    flags: u32,
) -> SysResult<()> {
    let known = AtFlags::SYMLINK_FOLLOW | AtFlags::EMPTY_PATH | AtFlags::HANDLE_FID;
    let own = HANDLE_MNT_ID_UNIQUE | HANDLE_CONNECTABLE;
    let at_flags = AtFlags::from_bits_retain(flags & !own);
    let both = at_flags.contains(AtFlags::HANDLE_FID) && flags & HANDLE_CONNECTABLE != 0;
    if !known.contains(at_flags) || both {
        return Err(Errno::EINVAL.into());
    }
    let mut how = AtFlags::empty();
    how.set(AtFlags::SYMLINK_NOFOLLOW, !at_flags.contains(AtFlags::SYMLINK_FOLLOW));
    how.set(AtFlags::EMPTY_PATH, at_flags.contains(AtFlags::EMPTY_PATH));
    let place = at(task, dir, path, At::of(how))?;
    if !handle::is_supported(&place) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let given = task.read_obj(to)?;
    if given.handle_bytes > MAX_HANDLE_SZ {
        return Err(Errno::EINVAL.into());
    }
    let fits = given.handle_bytes as usize >= HANDLE_BYTES;
    if flags & HANDLE_MNT_ID_UNIQUE != 0 {
        task.write_obj(UserRef::new(mount_id), &place.mount.unique_id())?;
    } else {
        task.write_obj(UserRef::new(mount_id), &(place.mount.id as i32))?;
    }
    let handle_type = if fits { HANDLE_TYPE } else { given.handle_type };
    task.write_obj(to, &FileHandle { handle_bytes: HANDLE_BYTES as u32, handle_type })?;
    if !fits {
        return Err(Errno::EOVERFLOW.into());
    }
    let bytes = handle::of(&place);
    Ok(task.copy_out(to.addr().add(size_of::<FileHandle>() as u64)?, &bytes)?)
}

/// open_by_handle_at(2)
pub fn open_by_handle_at(
    task: &mut CurrentTask,
    mount: DirFd,
    from: UserRef<FileHandle>,
    flags: OpenArg,
) -> SysResult<Fd> {
    let given = task.read_obj(from)?;
    if given.handle_bytes > MAX_HANDLE_SZ || given.handle_bytes == 0 || given.handle_type < 0 {
        return Err(Errno::EINVAL.into());
    }
    let root =
        if mount.0 == AT_FDCWD { task.fs().roots().cwd.clone() } else { task.file(mount.0)?.path.clone() };
    if !root.inode().sb_capable(task.own_creds(), CAP_DAC_READ_SEARCH) {
        return Err(Errno::EPERM.into());
    }
    let mut bytes = vec![0; given.handle_bytes as usize];
    task.copy_in(from.addr().add(size_of::<FileHandle>() as u64)?, &mut bytes)?;
    if given.handle_type != HANDLE_TYPE || bytes.len() != HANDLE_BYTES {
        return Err(Errno::ESTALE.into());
    }
    let how = How::open(flags.0 | OpenFlags::LARGEFILE.bits(), 0)?;
    let reserved = task.reserve_fd(OnExec::from_flags(how.flags()))?;
    let opening = {
        let roots = task.fs().roots();
        let caller = task.caller(&roots);
        let place = handle::find(&root.mount, &bytes, &caller)?;
        if how.flags().contains(OpenFlags::DIRECTORY) && !place.inode().is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        match how.want() {
            None => {
                let file = File::of_path(place, std::sync::Arc::clone(task.own_creds()));
                return Ok(Fd(reserved.fill(file)));
            }
            Some(want) => caller.open_place(place, how.flags(), want)?,
        }
    };
    let file = task.finish_open(opening)?;
    Ok(Fd(reserved.fill(file)))
}
