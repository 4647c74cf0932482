//! What can be asked of an open file.

use std::io::Result;
use std::os::fd::{AsFd, AsRawFd};

use crate::{check, check_int, retry};

/// What fstat(2) says, as far as a kernel in front of the file needs it.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub mode: u32,
    pub nlink: u64,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: u64,
    pub blocks: u64,
    pub block_size: u32,
    /// Seconds and nanoseconds.
    pub atime: (i64, u32),
    pub mtime: (i64, u32),
    pub ctime: (i64, u32),
}

/// fstat(2).
pub fn stat(fd: impl AsFd) -> Result<Stat> {
    let s = rustix::fs::fstat(fd)?;
    Ok(Stat {
        dev: s.st_dev,
        ino: s.st_ino,
        mode: s.st_mode,
        nlink: s.st_nlink,
        uid: s.st_uid,
        gid: s.st_gid,
        rdev: s.st_rdev,
        size: s.st_size as u64,
        blocks: s.st_blocks as u64,
        block_size: s.st_blksize as u32,
        atime: (s.st_atime as i64, s.st_atime_nsec as u32),
        mtime: (s.st_mtime as i64, s.st_mtime_nsec as u32),
        ctime: (s.st_ctime as i64, s.st_ctime_nsec as u32),
    })
}

/// What offsets and lengths of reads and writes past the cache must be multiples of (statx(2), STATX_DIOALIGN), in bytes. `None` where
/// the file system asks for nothing or does not say.
pub fn direct_block(fd: impl AsFd) -> Result<Option<u32>> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    const DIOALIGN: u32 = 0x2000;
    let told = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::from_bits_retain(DIOALIGN))?;
    let block = told.stx_dio_offset_align;
    Ok((told.stx_mask & DIOALIGN != 0 && block != 0).then_some(block))
}

/// F_GETFL: access mode and status flags.
pub fn status_flags(fd: impl AsFd) -> Result<u32> {
    // SAFETY: numbers only.
    Ok(check_int(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) })? as u32)
}

/// lseek(2), `whence` as there.
pub fn seek(fd: impl AsFd, offset: i64, whence: i32) -> Result<u64> {
    // SAFETY: numbers only.
    Ok(check(unsafe { libc::lseek(fd.as_fd().as_raw_fd(), offset, whence) })? as u64)
}

/// ftruncate(2).
pub fn truncate(fd: impl AsFd, size: u64) -> Result<()> {
    Ok(rustix::fs::ftruncate(fd, size)?)
}

/// fallocate(2), `mode` as there.
pub fn allocate(fd: impl AsFd, mode: u32, offset: u64, len: u64) -> Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: numbers only.
    check_int(unsafe { libc::fallocate(fd, mode as i32, offset as i64, len as i64) }).map(drop)
}

/// fsync(2), or fdatasync(2).
pub fn sync(fd: impl AsFd, data_only: bool) -> Result<()> {
    if data_only {
        rustix::fs::fdatasync(fd)?
    } else {
        rustix::fs::fsync(fd)?
    }
    Ok(())
}

/// Which of `events` (`POLL*` bits), errors and hang-ups are there now; never waits.
pub fn poll_now(fd: impl AsFd, events: u16) -> Result<u16> {
    let mut poll = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: events as i16, revents: 0 };
    retry(|| {
        // SAFETY: one structure, valid for the call.
        check_int(unsafe { libc::poll(&mut poll, 1, 0) })
    })?;
    Ok(poll.revents as u16)
}
