//! Reading, writing and moving the position: read(2), write(2), their vector and positioned forms, lseek(2),
//! sendfile(2), copy_file_range(2).

use std::sync::Arc;

use abi::Errno;
use abi::open::{OpenFlags, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET};
use abi::uio::{IoVec, RwFlags};
use sentry::SysResult;
use sentry::mm::{UserAddr, UserRef, UserSlice};
use sentry::task::CurrentTask;
use sentry::task::io::{At, Broken, Patience};
use sentry::vfs::file::AT_END;
use sentry::vfs::{File, SeekFrom};

use crate::arg::{Fd, Flags, InBuf, InOut, IoVecs, IoVecsOut, OutBuf, Whence};
use crate::iovec;

/// What one call moves at most.
const MAX_RW_COUNT: u64 = 0x7fff_f000;

/// Opened for reading, and of a kind that can be read. That a directory can't is seen only after the buffers.
pub(crate) fn readable(file: &File) -> Result<(), Errno> {
    match (file.access().read, file.ops().has_read()) {
        (false, _) => Err(Errno::EBADF),
        (_, false) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

fn no_directory(file: &File) -> Result<(), Errno> {
    if file.path.inode().is_dir() { Err(Errno::EISDIR) } else { Ok(()) }
}

pub(crate) fn writable(file: &File) -> Result<(), Errno> {
    match (file.access().write, file.ops().has_write()) {
        (false, _) => Err(Errno::EBADF),
        (_, false) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

pub(crate) fn one(addr: UserAddr, len: usize) -> Result<UserSlice, Errno> {
    let len = len as u64;
    if !addr.access_ok(len) {
        return Err(Errno::EFAULT);
    }
    Ok(UserSlice { addr, len: len.min(MAX_RW_COUNT) })
}

fn is_empty(slices: &[UserSlice]) -> bool {
    slices.iter().all(|slice| slice.len == 0)
}

/// A position that a guest gave: EINVAL below zero.
fn offset(given: i64) -> Result<u64, Errno> {
    u64::try_from(given).map_err(|_| Errno::EINVAL)
}

/// The file, if it has positions: ESPIPE otherwise.
fn positioned(task: &CurrentTask, fd: Fd) -> Result<Arc<File>, Errno> {
    let file = task.file(fd.0)?;
    if file.ops().seekable() { Ok(file) } else { Err(Errno::ESPIPE) }
}

fn read_one(task: &mut CurrentTask, file: &Arc<File>, slice: UserSlice, at: At) -> SysResult<usize> {
    no_directory(file)?;
    task.read_file(file, &[slice], at, Patience::AsFile)
}

/// read(2)
pub fn read(task: &mut CurrentTask, fd: Fd, buf: OutBuf, count: usize) -> SysResult<usize> {
    let file = task.file(fd.0)?;
    readable(&file)?;
    let slice = one(*buf, count)?;
    let done = read_one(task, &file, slice, At::Position);
    task.count_read(&done);
    done
}

/// write(2)
pub fn write(task: &mut CurrentTask, fd: Fd, buf: InBuf, count: usize) -> SysResult<usize> {
    let file = task.file(fd.0)?;
    writable(&file)?;
    let slice = one(*buf, count)?;
    let done = task.write_file(&file, &[slice], At::Position, Patience::AsFile);
    task.count_written(&done);
    done
}

/// pread64(2)
pub fn pread64(task: &mut CurrentTask, fd: Fd, buf: OutBuf, count: usize, pos: i64) -> SysResult<usize> {
    let at = offset(pos)?;
    let file = positioned(task, fd)?;
    readable(&file)?;
    let slice = one(*buf, count)?;
    let done = read_one(task, &file, slice, At::Offset(at));
    task.count_read(&done);
    done
}

/// pwrite64(2)
pub fn pwrite64(task: &mut CurrentTask, fd: Fd, buf: InBuf, count: usize, pos: i64) -> SysResult<usize> {
    let at = offset(pos)?;
    let file = positioned(task, fd)?;
    writable(&file)?;
    let slice = one(*buf, count)?;
    let done = task.write_file(&file, &[slice], At::Offset(at), Patience::AsFile);
    task.count_written(&done);
    done
}

/// readv(2)
pub fn readv(task: &mut CurrentTask, fd: Fd, vec: IoVecsOut, count: u64) -> SysResult<usize> {
    let done = task
        .file(fd.0)
        .map_err(Into::into)
        .and_then(|file| read_vector(task, &file, vec.array(), count, At::Position, RwFlags::empty()));
    task.count_read(&done);
    done
}

/// writev(2)
pub fn writev(task: &mut CurrentTask, fd: Fd, vec: IoVecs, count: u64) -> SysResult<usize> {
    let done = task
        .file(fd.0)
        .map_err(Into::into)
        .and_then(|file| write_vector(task, &file, vec.array(), count, At::Position, RwFlags::empty()));
    task.count_written(&done);
    done
}

/// preadv(2)
pub fn preadv(task: &mut CurrentTask, fd: Fd, vec: IoVecsOut, count: u64, pos: i64) -> SysResult<usize> {
    let at = offset(pos)?;
    let done = positioned(task, fd)
        .map_err(Into::into)
        .and_then(|file| read_vector(task, &file, vec.array(), count, At::Offset(at), RwFlags::empty()));
    task.count_read(&done);
    done
}

/// pwritev(2)
pub fn pwritev(task: &mut CurrentTask, fd: Fd, vec: IoVecs, count: u64, pos: i64) -> SysResult<usize> {
    let at = offset(pos)?;
    let done = positioned(task, fd)
        .map_err(Into::into)
        .and_then(|file| write_vector(task, &file, vec.array(), count, At::Offset(at), RwFlags::empty()));
    task.count_written(&done);
    done
}

/// preadv2(2)
pub fn preadv2(
    task: &mut CurrentTask,
    fd: Fd,
    vec: IoVecsOut,
    count: u64,
    pos: i64,
    _pos_high: u64,
    flags: Flags<RwFlags>,
) -> SysResult<usize> {
    let pos = position_or_current(pos)?;
    let done = file_at(task, fd, pos)
        .map_err(Into::into)
        .and_then(|(file, at)| read_vector(task, &file, vec.array(), count, at, flags.retain()));
    task.count_read(&done);
    done
}

/// pwritev2(2)
pub fn pwritev2(
    task: &mut CurrentTask,
    fd: Fd,
    vec: IoVecs,
    count: u64,
    pos: i64,
    _pos_high: u64,
    flags: Flags<RwFlags>,
) -> SysResult<usize> {
    let pos = position_or_current(pos)?;
    let done = file_at(task, fd, pos)
        .map_err(Into::into)
        .and_then(|(file, at)| write_vector(task, &file, vec.array(), count, at, flags.retain()));
    task.count_written(&done);
    done
}

/// -1 is the position of the description.
fn position_or_current(pos: i64) -> Result<At, Errno> {
    if pos == -1 { Ok(At::Position) } else { Ok(At::Offset(offset(pos)?)) }
}

fn file_at(task: &CurrentTask, fd: Fd, at: At) -> Result<(Arc<File>, At), Errno> {
    let file = if at == At::Position { task.file(fd.0)? } else { positioned(task, fd)? };
    Ok((file, at))
}

fn read_vector(
    task: &mut CurrentTask,
    file: &Arc<File>,
    array: UserRef<IoVec>,
    count: u64,
    at: At,
    flags: RwFlags,
) -> SysResult<usize> {
    readable(file)?;
    let slices = iovec::read(task, array, count)?;
    if is_empty(&slices) {
        return Ok(0);
    }
    // Flags are for files that know them; a directory only says that it is one.
    if file.path.inode().is_dir() && !RwFlags::HIPRI.contains(flags) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    no_directory(file)?;
    task.read_file(file, &slices, at, patience(file, flags)?)
}

/// What flags say about waiting; an error where `file` can't do them. Polling for completion and keeping no pages change nothing here.
/// What is only about writes is accepted for reads. No file here writes all or nothing: RWF_ATOMIC is refused as by a file system that
/// can't.
pub(crate) fn patience(file: &File, flags: RwFlags) -> Result<Patience, Errno> {
    let known = RwFlags::HIPRI
        | RwFlags::DONTCACHE
        | RwFlags::NOWAIT
        | RwFlags::DSYNC
        | RwFlags::SYNC
        | RwFlags::APPEND
        | RwFlags::NOAPPEND
        | RwFlags::NOSIGNAL;
    if !known.contains(flags) {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags.contains(RwFlags::APPEND | RwFlags::NOAPPEND) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(RwFlags::DONTCACHE) && !file.ops().dont_cache() {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(if flags.contains(RwFlags::NOWAIT) { Patience::None } else { Patience::AsFile })
}

fn write_vector(
    task: &mut CurrentTask,
    file: &Arc<File>,
    array: UserRef<IoVec>,
    count: u64,
    at: At,
    flags: RwFlags,
) -> SysResult<usize> {
    writable(file)?;
    let slices = iovec::read(task, array, count)?;
    if is_empty(&slices) {
        return Ok(0);
    }
    write_slices(task, file, &slices, at, flags)
}

/// Writes buffers that have been checked to a file that can be written.
pub(crate) fn write_slices(
    task: &mut CurrentTask,
    file: &Arc<File>,
    slices: &[UserSlice],
    at: At,
    flags: RwFlags,
) -> SysResult<usize> {
    let patience = patience(file, flags)?;
    let broken = if flags.contains(RwFlags::NOSIGNAL) { Broken::Quiet } else { Broken::Signal };
    let done = if flags.contains(RwFlags::APPEND) && file.ops().seekable() {
        let done = task.write_file_or(file, slices, At::Offset(AT_END), patience, broken)?;
        if at == At::Position {
            // As if it had been opened for appending.
            let mut position = file.position();
            *position = file.ops().seek(file, *position, SeekFrom::End(0))?;
        }
        done
    } else {
        let at = match at {
            _ if !flags.contains(RwFlags::NOAPPEND) => at,
            At::Offset(offset) => At::NotAtEnd(Some(offset)),
            _ => At::NotAtEnd(None),
        };
        task.write_file_or(file, slices, at, patience, broken)?
    };
    if flags.intersects(RwFlags::DSYNC | RwFlags::SYNC) && file.path.inode().is_regular() {
        file.ops().sync(file, !flags.contains(RwFlags::SYNC))?;
    }
    Ok(done)
}

/// lseek(2)
pub fn lseek(task: &mut CurrentTask, fd: Fd, offset: i64, whence: Whence) -> SysResult<u64> {
    let file = task.file(fd.0)?;
    if whence.0 > SEEK_HOLE {
        return Err(Errno::EINVAL.into());
    }
    if !file.ops().seekable() {
        return Err(Errno::ESPIPE.into());
    }
    let mut position = file.position();
    let to = match whence.0 {
        SEEK_SET => SeekFrom::Start(offset),
        SEEK_CUR if offset == 0 => return Ok(*position),
        SEEK_CUR => SeekFrom::Start((*position as i64).checked_add(offset).ok_or(Errno::EOVERFLOW)?),
        SEEK_END => SeekFrom::End(offset),
        SEEK_DATA => SeekFrom::Data(offset),
        _ => SeekFrom::Hole(offset),
    };
    let at = file.ops().seek(&file, *position, to)?;
    *position = at;
    Ok(at)
}

/// Bytes that a copy inside the kernel moves at once.
const COPY_CHUNK: usize = 64 * 1024;

/// sendfile(2)
pub fn sendfile(
    task: &mut CurrentTask,
    out: Fd,
    input: Fd,
    offset_ptr: InOut<i64>,
    count: usize,
) -> SysResult<usize> {
    let start = if offset_ptr.is_null() { None } else { Some(task.read_obj(*offset_ptr)?) };
    let input = task.file(input.0)?;
    readable(&input)?;
    let start = match start {
        None => None,
        Some(_) if !input.ops().seekable() => return Err(Errno::ESPIPE.into()),
        Some(start) => Some(offset(start)?),
    };
    let out = task.file(out.0)?;
    writable(&out)?;
    // Only files whose bytes stay where they are can be sent.
    if !input.ops().seekable() || input.path.inode().is_dir() || out.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL.into());
    }
    let mut at = start.unwrap_or_else(|| *input.position());
    let mut left = (count as u64).min(MAX_RW_COUNT) as usize;
    let mut done = 0;
    let mut buffer = vec![0; left.min(COPY_CHUNK)];
    let mut ended = Ok(());
    while left > 0 {
        let step = left.min(buffer.len());
        let got = match task.read_into(&input, &mut buffer[..step], At::Offset(at)) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) => {
                ended = Err(error);
                break;
            }
        };
        match task.write_from(&out, &buffer[..got], At::Position) {
            Ok(wrote) => {
                at += wrote as u64;
                done += wrote;
                left -= wrote;
                if wrote < got {
                    break;
                }
            }
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    task.count_read(&Ok(done));
    task.count_written(&Ok(done));
    if start.is_some() {
        task.write_obj(*offset_ptr, &(at as i64))?;
    } else if done > 0 {
        *input.position() = at;
    }
    if done == 0 {
        ended?;
    }
    Ok(done)
}

/// copy_file_range(2)
pub fn copy_file_range(
    task: &mut CurrentTask,
    input: Fd,
    input_offset: InOut<i64>,
    out: Fd,
    out_offset: InOut<i64>,
    len: usize,
    flags: u32,
) -> SysResult<usize> {
    let input = task.file(input.0)?;
    let out = task.file(out.0)?;
    let given = |task: &CurrentTask, pointer: InOut<i64>| match pointer.non_null() {
        Some(pointer) => task.read_obj(pointer).map(Some),
        None => Ok(None),
    };
    let (input_at, out_at) = (given(task, input_offset)?, given(task, out_offset)?);
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let (from, to) = (input.path.inode(), out.path.inode());
    if from.is_dir() || to.is_dir() {
        return Err(Errno::EISDIR.into());
    }
    if !from.is_regular() || !to.is_regular() {
        return Err(Errno::EINVAL.into());
    }
    if !input.access().read || !out.access().write || out.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EBADF.into());
    }
    if !Arc::ptr_eq(&from.sb, &to.sb) {
        return Err(Errno::EXDEV.into());
    }
    let start = input_at.unwrap_or_else(|| *input.position() as i64);
    let target = out_at.unwrap_or_else(|| *out.position() as i64);
    // To this check an offset below zero is a large one.
    if [start, target].iter().any(|at| (*at as u64).checked_add(len as u64).is_none()) {
        return Err(Errno::EOVERFLOW.into());
    }
    let size = from.attr()?.size;
    if target == i64::MAX {
        return Err(Errno::EFBIG.into());
    }
    let (start, target) = (offset(start)?, offset(target)?);
    let room = i64::MAX as u64 - target;
    let len = (len as u64).min(size.saturating_sub(start)).min(room).min(MAX_RW_COUNT);
    if Arc::ptr_eq(from, to) && start < target + len && target < start + len {
        return Err(Errno::EINVAL.into());
    }
    let mut buffer = vec![0; (len as usize).min(COPY_CHUNK)];
    let mut done = 0;
    let mut ended = Ok(());
    while done < len {
        let step = ((len - done) as usize).min(buffer.len());
        let moved = task
            .read_into(&input, &mut buffer[..step], At::Offset(start + done))
            .and_then(|got| task.write_from(&out, &buffer[..got], At::Offset(target + done)));
        match moved {
            Ok(0) => break,
            Ok(moved) => done += moved as u64,
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    if len > 0 {
        task.count_read(&Ok(done as usize));
        task.count_written(&Ok(done as usize));
    }
    match input_at {
        Some(_) => task.write_obj(*input_offset, &((start + done) as i64))?,
        None => *input.position() = start + done,
    }
    match out_at {
        Some(_) => task.write_obj(*out_offset, &((target + done) as i64))?,
        None => *out.position() = target + done,
    }
    if done == 0 {
        ended?;
    }
    Ok(done as usize)
}
