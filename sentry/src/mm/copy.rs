//! Copies to and from guest memory.
//!
//! The hot path of nearly every system call: one read lock, one look-up, one memcpy through the Sentry's window on the
//! memory file. What is not shown yet, or not writable before a copy, goes through the fault path first.

use abi::Errno;
use platform::memory_file::CopyFault;
use smallvec::SmallVec;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::fault::{Need, permits};
use super::mappable::Place;
use super::pma::Pma;
use super::user::{UserAddr, UserRef};
use super::{Inner, MemoryManager, PAGE};

/// Bytes of a string that a guest passed, without its NUL.
pub type UserString = SmallVec<[u8; 128]>;

/// Why a string could not be copied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CStrError {
    /// EFAULT.
    Fault,
    /// No NUL in as many bytes as it may have; the caller knows the error (ENAMETOOLONG, E2BIG, EINVAL).
    TooLong,
}

/// Without progress a copy tries this often: another thread may take away what has just been made ready.
const ATTEMPTS: usize = 1000;

impl MemoryManager {
    /// Copies `dst.len()` bytes in, all or EFAULT.
    pub fn copy_in(&self, addr: UserAddr, dst: &mut [u8]) -> Result<(), Errno> {
        let done = self.read_some(addr, dst, Need::Read);
        if done == dst.len() { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// Copies `src` out, all or EFAULT (part of it may have been written).
    pub fn copy_out(&self, addr: UserAddr, src: &[u8]) -> Result<(), Errno> {
        let done = self.write_some(addr, src, Need::Write);
        if done == src.len() { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// Copies in as much as can be read: the number of bytes, or EFAULT when that is none of several.
    pub fn copy_in_partial(&self, addr: UserAddr, dst: &mut [u8]) -> Result<usize, Errno> {
        partial(self.read_some(addr, dst, Need::Read), dst.len())
    }

    /// Copies out as much as can be written.
    pub fn copy_out_partial(&self, addr: UserAddr, src: &[u8]) -> Result<usize, Errno> {
        partial(self.write_some(addr, src, Need::Write), src.len())
    }

    /// Reads for a debugger: protection does not count. As [`copy_in_partial`](Self::copy_in_partial).
    pub fn force_in(&self, addr: UserAddr, dst: &mut [u8]) -> Result<usize, Errno> {
        partial(self.read_some(addr, dst, Need::ForceRead), dst.len())
    }

    /// Writes for a debugger: private pages are copied first even where the guest may not write.
    pub fn force_out(&self, addr: UserAddr, src: &[u8]) -> Result<usize, Errno> {
        partial(self.write_some(addr, src, Need::ForceWrite), src.len())
    }

    /// Writes `len` zero bytes.
    pub fn zero_out(&self, addr: UserAddr, len: u64) -> Result<(), Errno> {
        if self.zero_some(addr, len) == len { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// Copies in a NUL-terminated string of fewer than `max` bytes.
    pub fn copy_in_cstr(&self, addr: UserAddr, max: usize) -> Result<UserString, CStrError> {
        let mut string = UserString::new();
        let mut chunk = [0; 256];
        while string.len() < max {
            let at = addr.add(string.len() as u64).map_err(|_| CStrError::Fault)?;
            // Not across a page: the next one may not be there, and need not be.
            let to_page_end = (PAGE - at.0 % PAGE) as usize;
            let len = to_page_end.min(chunk.len()).min(max - string.len());
            let chunk = &mut chunk[..len];
            if self.read_some(at, chunk, Need::Read) < len {
                return Err(CStrError::Fault);
            }
            if let Some(nul) = chunk.iter().position(|&byte| byte == 0) {
                string.extend_from_slice(&chunk[..nul]);
                return Ok(string);
            }
            string.extend_from_slice(chunk);
        }
        Err(CStrError::TooLong)
    }

    /// Copies in a structure.
    pub fn read_obj<T: FromBytes + IntoBytes>(&self, from: UserRef<T>) -> Result<T, Errno> {
        let mut value = T::new_zeroed();
        self.copy_in(from.addr(), value.as_mut_bytes())?;
        Ok(value)
    }

    /// Copies out a structure.
    pub fn write_obj<T: IntoBytes + Immutable>(&self, to: UserRef<T>, value: &T) -> Result<(), Errno> {
        self.copy_out(to.addr(), value.as_bytes())
    }

    /// Copies in an array. The caller has checked that `count` is sensible.
    pub fn read_array<T: FromBytes>(&self, from: UserRef<T>, count: usize) -> Result<Vec<T>, Errno> {
        let size = size_of::<T>();
        let len = count.checked_mul(size).ok_or(Errno::EFAULT)?;
        if !from.addr().access_ok(len as u64) {
            return Err(Errno::EFAULT);
        }
        let mut items = Vec::new();
        // Piecewise: a count that lies does not make the Sentry grow.
        let at_once = (4096 / size.max(1)).max(1);
        let mut bytes = vec![0; at_once.min(count) * size];
        while items.len() < count {
            let step = at_once.min(count - items.len());
            let bytes = &mut bytes[..step * size];
            self.copy_in(from.at(items.len() as u64)?.addr(), bytes)?;
            for item in bytes.chunks_exact(size.max(1)) {
                items.push(T::read_from_bytes(item).map_err(|_| Errno::EFAULT)?);
            }
            if size == 0 {
                break;
            }
        }
        Ok(items)
    }

    /// Copies out an array.
    pub fn write_array<T: IntoBytes + Immutable>(&self, to: UserRef<T>, values: &[T]) -> Result<(), Errno> {
        self.copy_out(to.addr(), values.as_bytes())
    }

    /// Atomic load of an aligned word.
    pub fn load_u32(&self, addr: UserAddr) -> Result<u32, Errno> {
        let mut value = 0;
        self.on_word(addr, Need::Read, |place| {
            value = match place {
                Place::Memory(offset) => self.memory.load_u32(*offset)?,
                Place::Host(file, offset) => file.load_u32(*offset)?,
            };
            Ok(())
        })?;
        Ok(value)
    }

    /// Atomic compare and exchange of an aligned word: `Ok(Ok(old))` when it was `current`, else `Ok(Err(seen))`.
    pub fn compare_exchange_u32(
        &self,
        addr: UserAddr,
        current: u32,
        new: u32,
    ) -> Result<Result<u32, u32>, Errno> {
        let mut outcome = Err(current);
        self.on_word(addr, Need::Write, |place| {
            outcome = match place {
                Place::Memory(offset) => self.memory.compare_exchange_u32(*offset, current, new)?,
                Place::Host(file, offset) => file.compare_exchange_u32(*offset, current, new)?,
            };
            Ok(())
        })?;
        Ok(outcome)
    }

    fn on_word(
        &self,
        addr: UserAddr,
        need: Need,
        mut access: impl FnMut(&Place) -> Result<(), CopyFault>,
    ) -> Result<(), Errno> {
        if !addr.0.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let done = self.each_run(addr, 4, need, |place, _, _| access(place));
        if done == 4 { Ok(()) } else { Err(Errno::EFAULT) }
    }

    pub(super) fn read_some(&self, addr: UserAddr, dst: &mut [u8], need: Need) -> usize {
        let done = self.each_run(addr, dst.len() as u64, need, |place, len, done| {
            let dst = &mut dst[done as usize..][..len as usize];
            match place {
                Place::Memory(offset) => self.memory.read(*offset, dst),
                Place::Host(file, offset) => file.read(*offset, dst),
            }
        });
        done as usize
    }

    pub(super) fn write_some(&self, addr: UserAddr, src: &[u8], need: Need) -> usize {
        let done = self.each_run(addr, src.len() as u64, need, |place, len, done| {
            let src = &src[done as usize..][..len as usize];
            match place {
                Place::Memory(offset) => self.memory.write(*offset, src),
                Place::Host(file, offset) => file.write(*offset, src),
            }
        });
        done as usize
    }

    pub(super) fn zero_some(&self, addr: UserAddr, len: u64) -> u64 {
        self.each_run(addr, len, Need::Write, |place, len, _| match place {
            Place::Memory(offset) => self.memory.zero(*offset, len),
            Place::Host(file, offset) => file.write(*offset, &[0; PAGE as usize][..len as usize]),
        })
    }

    /// Calls `access(place, bytes, bytes done before)` for each run of `[addr, addr + len)` in order, under the read
    /// lock, which keeps the pages there; answers how many bytes were done.
    pub(super) fn each_run(
        &self,
        addr: UserAddr,
        len: u64,
        need: Need,
        mut access: impl FnMut(&Place, u64, u64) -> Result<(), CopyFault>,
    ) -> u64 {
        if len == 0 || !addr.access_ok(len) {
            return 0;
        }
        sync::assert_no_locks_held("copy of guest memory");
        let mut done = 0;
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            let before = done;
            {
                let inner = self.inner.read();
                while done < len {
                    let at = addr.0 + done;
                    let Some((range, pma)) = inner.pages.pmas.find(at) else { break };
                    if !inner.is_ready(at, pma, need) {
                        break;
                    }
                    let rest = (range.end - at).min(len - done);
                    let skip = at - range.start;
                    let (place, run) = match &pma.place {
                        Place::Memory(offset) => (Place::Memory(offset + skip), rest),
                        // Page by page: the end of the file may lie in between.
                        Place::Host(file, offset) => {
                            (Place::Host(file.clone(), offset + skip), rest.min(PAGE - at % PAGE))
                        }
                    };
                    if access(&place, run, done).is_err() {
                        return done;
                    }
                    done += run;
                }
            }
            if done == len || self.fault_in(addr.0 + done, need).is_err() {
                return done;
            }
            attempts = if done > before { 0 } else { attempts + 1 };
        }
        done
    }
}

impl Inner {
    /// Whether the pages at `at` can be used for `need` as they are.
    #[inline]
    pub(super) fn is_ready(&self, at: u64, pma: &Pma, need: Need) -> bool {
        match need {
            Need::Read => pma.readable(),
            Need::Write => pma.writable(),
            _ => self.vmas.find(at).is_some_and(|(_, vma)| permits(vma, need)) && !(need.writes() && pma.cow),
        }
    }
}

fn partial(done: usize, wanted: usize) -> Result<usize, Errno> {
    if done == 0 && wanted > 0 { Err(Errno::EFAULT) } else { Ok(done) }
}
