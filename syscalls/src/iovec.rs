//! Vectors of buffers in arguments (readv(2), process_vm_readv(2)).

use abi::Errno;
use abi::uio::{IOV_MAX, IoVec, MAX_RW_COUNT};
use sentry::mm::{UserAddr, UserRef, UserSlice};
use sentry::task::CurrentTask;
use smallvec::SmallVec;

/// Buffers, copied in and checked.
pub(crate) type Slices = SmallVec<[UserSlice; 8]>;

/// Copies a vector in. EINVAL for more than 1024 buffers or a negative length. Of the count the low 32 bits count.
pub(crate) fn read_foreign(task: &CurrentTask, from: UserRef<IoVec>, count: u64) -> Result<Slices, Errno> {
    let count = count & u64::from(u32::MAX);
    if count > IOV_MAX as u64 {
        return Err(Errno::EINVAL);
    }
    let mut slices = Slices::new();
    for index in 0..count {
        let vec = task.read_obj(from.at(index)?)?;
        if vec.iov_len > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        slices.push(UserSlice { addr: UserAddr(vec.iov_base), len: vec.iov_len });
    }
    Ok(slices)
}

/// As [`read_foreign`], for the caller's own memory: EFAULT for a buffer that is not in user space, and no more than what
/// one call moves.
pub(crate) fn read(task: &CurrentTask, from: UserRef<IoVec>, count: u64) -> Result<Slices, Errno> {
    let mut slices = read_foreign(task, from, count)?;
    let mut left = MAX_RW_COUNT as u64;
    // A single buffer is cut before it is looked at, several only after that.
    if let [slice] = slices.as_mut_slice() {
        slice.len = slice.len.min(left);
    }
    for slice in &mut slices {
        if !slice.addr.access_ok(slice.len) {
            return Err(Errno::EFAULT);
        }
        slice.len = slice.len.min(left);
        left -= slice.len;
    }
    Ok(slices)
}
