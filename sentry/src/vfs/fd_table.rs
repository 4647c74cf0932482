//! A process's table of open files.
//!
//! [`FdTable::get`] is on the path of most system calls: a shared lock and one reference. Files are never dropped
//! under the lock (closing may ask the Gofer); what is taken out is handed to the caller.
//!
//! A number may be reserved before its file is there, so that EMFILE comes before anything has happened.
//!
//! References do not tell who uses a table: whoever looks at /proc/PID/fd holds one for a moment. Tasks therefore
//! [`join`](FdTable::join) and [`leave`](FdTable::leave) it; the last to leave closes the files, whoever still looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use abi::Errno;
use sync::RwLock;

use super::file::File;
use crate::Result;

/// What becomes of a descriptor when its process calls exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExec {
    /// It stays.
    Keep,
    /// It is closed (FD_CLOEXEC).
    Close,
}

impl OnExec {
    /// As `O_CLOEXEC` (or a flag of the same value) in `flags` says.
    pub fn from_flags(flags: abi::open::OpenFlags) -> OnExec {
        if flags.contains(abi::open::OpenFlags::CLOEXEC) { OnExec::Close } else { OnExec::Keep }
    }
}

/// An upper bound of descriptor numbers whatever RLIMIT_NOFILE says (`/proc/sys/fs/nr_open`).
pub const NR_OPEN: u64 = 1 << 20;

/// Open files by number.
pub struct FdTable {
    /// Unique in the sandbox: the owner of POSIX locks.
    pub id: u64,
    /// Tasks that have it.
    users: AtomicUsize,
    slots: RwLock<Slots, sync::levels::FdTable>,
}

#[derive(Clone, Default)]
struct Slots {
    files: Vec<Option<Arc<File>>>,
    /// Bit `n`: number `n` is taken, by a file or a reservation.
    taken: Vec<u64>,
    /// Bit `n`: number `n` is closed by exec.
    close_on_exec: Vec<u64>,
    /// Nothing below is free.
    lowest: usize,
}

/// A number that is taken and has no file yet. Given back when dropped.
pub struct ReservedFd {
    table: Arc<FdTable>,
    fd: usize,
    filled: bool,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl FdTable {
    /// An empty table.
    pub fn new() -> Arc<FdTable> {
        Self::with(Slots::default())
    }

    fn with(slots: Slots) -> Arc<FdTable> {
        Arc::new(FdTable {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            users: AtomicUsize::new(0),
            slots: RwLock::new(slots),
        })
    }

    /// One more task has it.
    pub fn join(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    /// One task less has it; the last one closes what is open.
    pub fn leave(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close_all();
        }
    }

    /// Whether more than one task has it.
    pub fn is_shared(&self) -> bool {
        self.users.load(Ordering::Acquire) > 1
    }

    fn close_all(&self) {
        let files: Vec<_> = self.slots.write().files.iter_mut().filter_map(Option::take).collect();
        for file in files {
            let _ = self.closed(file);
        }
    }

    /// The file with this number.
    pub fn get(&self, fd: i32) -> Option<Arc<File>> {
        let at = usize::try_from(fd).ok()?;
        self.slots.read().files.get(at)?.clone()
    }

    /// Takes the lowest free number from `from` on; EMFILE when that is not below `limit`, EINVAL when `from` isn't.
    pub fn reserve(self: &Arc<Self>, from: u32, limit: u64, on_exec: OnExec) -> Result<ReservedFd> {
        let fd = self.slots.write().take_lowest(from, limit, on_exec)?;
        Ok(ReservedFd { table: Arc::clone(self), fd, filled: false })
    }

    /// Puts `file` under the lowest free number from `from` on; errors as [`reserve`](Self::reserve).
    pub fn add_from(&self, from: u32, file: Arc<File>, limit: u64, on_exec: OnExec) -> Result<i32> {
        let added = {
            let mut slots = self.slots.write();
            slots.take_lowest(from, limit, on_exec).map(|fd| {
                slots.files[fd] = Some(Arc::clone(&file));
                fd as i32
            })
        };
        // On an error this may be the last reference: not under the lock.
        drop(file);
        added
    }

    /// Puts `file` under the lowest free number.
    pub fn add(&self, file: Arc<File>, limit: u64, on_exec: OnExec) -> Result<i32> {
        self.add_from(0, file, limit, on_exec)
    }

    /// Puts `file` under this number (dup2(2)); answers what was there, to be [`closed`](Self::closed). EBADF when the
    /// number is not below `limit`, EBUSY when it is reserved.
    pub fn replace(
        &self,
        fd: u32,
        file: Arc<File>,
        limit: u64,
        on_exec: OnExec,
    ) -> Result<Option<Arc<File>>> {
        if u64::from(fd) >= limit.min(NR_OPEN) {
            return Err(Errno::EBADF);
        }
        let fd = fd as usize;
        let mut slots = self.slots.write();
        slots.grow(fd);
        if slots.is_taken(fd) && slots.files[fd].is_none() {
            return Err(Errno::EBUSY);
        }
        slots.mark(fd, on_exec);
        Ok(slots.files[fd].replace(file))
    }

    /// Takes a file out; to be [`closed`](Self::closed).
    pub fn remove(&self, fd: i32) -> Option<Arc<File>> {
        let fd = usize::try_from(fd).ok()?;
        let mut slots = self.slots.write();
        let file = slots.files.get_mut(fd)?.take()?;
        slots.free(fd);
        Some(file)
    }

    /// What close(2) does to a file that has been taken out: gives up POSIX locks of this table on it and its requests
    /// for signals, flushes it.
    pub fn closed(&self, file: Arc<File>) -> Result<()> {
        if file.is_path() {
            return Ok(());
        }
        if let Some(locks) = file.path.inode().locks_if_any() {
            locks.release_posix(self.id);
        }
        super::dnotify::end(file.path.inode(), self.id, file.id);
        file.ops().flush(&file)
    }

    /// close(2).
    pub fn close(&self, fd: i32) -> Result<()> {
        let file = self.remove(fd).ok_or(Errno::EBADF)?;
        self.closed(file)
    }

    /// Whether exec closes `fd`; `None` when there is no such file.
    pub fn on_exec(&self, fd: i32) -> Option<OnExec> {
        let fd = usize::try_from(fd).ok()?;
        let slots = self.slots.read();
        slots.files.get(fd)?.as_ref()?;
        Some(if bit(&slots.close_on_exec, fd) { OnExec::Close } else { OnExec::Keep })
    }

    /// fcntl(F_SETFD).
    pub fn set_on_exec(&self, fd: i32, on_exec: OnExec) -> Result<()> {
        let fd = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        let mut slots = self.slots.write();
        slots.files.get(fd).and_then(Option::as_ref).ok_or(Errno::EBADF)?;
        slots.mark(fd, on_exec);
        Ok(())
    }

    /// Closes all numbers from `first` to `last`.
    pub fn close_range(&self, first: u32, last: u32) {
        let mut at = first as usize;
        // A bounded number at a time, so that the lock is never held long.
        while at <= last as usize {
            let mut out = smallvec::SmallVec::<[Arc<File>; 32]>::new();
            {
                let mut slots = self.slots.write();
                let end = slots.files.len().min((last as usize).saturating_add(1));
                while at < end && out.len() < 32 {
                    if let Some(file) = slots.files[at].take() {
                        slots.free(at);
                        out.push(file);
                    }
                    at += 1;
                }
                if at >= end {
                    at = usize::MAX;
                }
            }
            for file in out {
                // close_range(2) reports no errors of single files.
                let _ = self.closed(file);
            }
        }
    }

    /// Makes exec close all numbers from `first` to `last`.
    pub fn close_range_on_exec(&self, first: u32, last: u32) {
        let mut slots = self.slots.write();
        let end = slots.files.len().min((last as usize).saturating_add(1));
        for fd in first as usize..end {
            if slots.files[fd].is_some() {
                slots.mark(fd, OnExec::Close);
            }
        }
    }

    /// A copy for a new process. Reserved numbers are free in it.
    pub fn fork(&self) -> Arc<FdTable> {
        self.fork_without(u32::MAX, 0)
    }

    /// A copy without the numbers from `first` to `last`.
    pub fn fork_without(&self, first: u32, last: u32) -> Arc<FdTable> {
        let mut copy = self.slots.read().clone();
        let mut out = Vec::new();
        for fd in 0..copy.files.len() {
            if (first as usize..=last as usize).contains(&fd)
                && let Some(file) = copy.files[fd].take()
            {
                out.push(file);
            }
            if copy.files[fd].is_none() {
                copy.free(fd);
            }
        }
        // Still open in the other table: dropping these closes nothing.
        drop(out);
        Self::with(copy)
    }

    /// exec: closes what is to be closed.
    pub fn close_on_exec(&self) {
        let mut out = Vec::new();
        {
            let mut slots = self.slots.write();
            for word in 0..slots.close_on_exec.len() {
                let mut bits = std::mem::take(&mut slots.close_on_exec[word]);
                while bits != 0 {
                    let fd = word * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    if let Some(file) = slots.files.get_mut(fd).and_then(Option::take) {
                        slots.free(fd);
                        out.push(file);
                    }
                }
            }
        }
        for file in out {
            let _ = self.closed(file);
        }
    }

    /// The first open number from `from` on, with its file: for /proc/PID/fd.
    pub fn next_open(&self, from: u32) -> Option<(u32, Arc<File>)> {
        let slots = self.slots.read();
        let (at, file) =
            slots.files.iter().enumerate().skip(from as usize).find_map(|(at, f)| Some((at, f.as_ref()?)))?;
        Some((at as u32, Arc::clone(file)))
    }

    /// How many numbers the table has room for (`FDSize` of /proc/PID/status).
    pub fn size(&self) -> usize {
        self.slots.read().taken.len() * 64
    }
}

impl ReservedFd {
    /// The number.
    pub fn fd(&self) -> i32 {
        self.fd as i32
    }

    /// Puts `file` there.
    pub fn fill(mut self, file: Arc<File>) -> i32 {
        self.filled = true;
        self.table.slots.write().files[self.fd] = Some(file);
        self.fd as i32
    }
}

impl Drop for ReservedFd {
    fn drop(&mut self) {
        if !self.filled {
            self.table.slots.write().free(self.fd);
        }
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        // Of a table that no task has had.
        self.close_all();
    }
}

impl Slots {
    fn take_lowest(&mut self, from: u32, limit: u64, on_exec: OnExec) -> Result<usize> {
        let limit = limit.min(NR_OPEN);
        if u64::from(from) >= limit && from > 0 {
            return Err(Errno::EINVAL);
        }
        let start = self.lowest.max(from as usize);
        let fd = self.first_free(start);
        if fd as u64 >= limit {
            return Err(Errno::EMFILE);
        }
        self.grow(fd);
        self.mark(fd, on_exec);
        if start == self.lowest {
            self.lowest = fd + 1;
        }
        Ok(fd)
    }

    fn first_free(&self, start: usize) -> usize {
        let mut word = start / 64;
        let mut below = (1u64 << (start % 64)) - 1;
        while let Some(taken) = self.taken.get(word) {
            let taken = taken | below;
            if taken != u64::MAX {
                return word * 64 + taken.trailing_ones() as usize;
            }
            below = 0;
            word += 1;
        }
        start.max(word * 64)
    }

    fn grow(&mut self, fd: usize) {
        if fd >= self.files.len() {
            self.files.resize(fd + 1, None);
        }
        let words = (fd / 64 + 1).max(1);
        if words > self.taken.len() {
            self.taken.resize(words, 0);
            self.close_on_exec.resize(words, 0);
        }
    }

    fn is_taken(&self, fd: usize) -> bool {
        bit(&self.taken, fd)
    }

    fn mark(&mut self, fd: usize, on_exec: OnExec) {
        self.taken[fd / 64] |= 1 << (fd % 64);
        let mask = 1 << (fd % 64);
        match on_exec {
            OnExec::Close => self.close_on_exec[fd / 64] |= mask,
            OnExec::Keep => self.close_on_exec[fd / 64] &= !mask,
        }
    }

    fn free(&mut self, fd: usize) {
        self.taken[fd / 64] &= !(1 << (fd % 64));
        self.close_on_exec[fd / 64] &= !(1 << (fd % 64));
        self.lowest = self.lowest.min(fd);
    }
}

fn bit(words: &[u64], at: usize) -> bool {
    words.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
}
