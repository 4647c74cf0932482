//! Changes of what a space shows.

use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use super::super::context::with_own_tracee;
use super::super::pending::Change;
use super::super::ranges::Ranges;
use super::super::tracee::Tracee;
use super::super::user_range;
use super::{PtraceSpace, invalid};
use crate::api::{Backing, PAGE_SIZE, PlatformError};

impl PtraceSpace {
    /// Makes one change.
    pub(super) fn apply(
        &self,
        mapped: &Ranges,
        tracee: &mut Tracee,
        range: Range<u64>,
        change: &Change,
    ) -> Result<(), PlatformError> {
        let len = range.end - range.start;
        let (what, done) = match change {
            Change::Map(source, prot) => {
                let (fd, offset) = match source.as_backing() {
                    Backing::Memory(offset) => (self.shared.memory.fd().as_raw_fd(), offset),
                    Backing::File(file, offset) => (file.fd().as_raw_fd(), offset),
                };
                let flags = (libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_NORESERVE) as u64;
                let args = [range.start, len, prot.bits().into(), flags, fd as u64, offset];
                ("map guest memory", tracee.call(libc::SYS_mmap, args)?)
            }
            Change::Unmap => {
                ("unmap guest memory", tracee.call(libc::SYS_munmap, [range.start, len, 0, 0, 0, 0])?)
            }
            Change::Protect(prot) => {
                let mut done = Ok(0);
                for part in mapped.within(range) {
                    let args = [part.start, part.end - part.start, prot.bits().into(), 0, 0, 0];
                    done = tracee.call(libc::SYS_mprotect, args)?;
                    if done.is_err() {
                        break;
                    }
                }
                ("protect guest memory", done)
            }
        };
        match done {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
                Err(PlatformError::Exhausted("mappings of a guest process"))
            }
            Err(source) => Err(PlatformError::Host { what, source }),
        }
    }

    /// Makes a change in the way that fits (see the module).
    pub(super) fn change(&self, addr: u64, len: u64, change: Change) -> Result<(), PlatformError> {
        let page = |value: u64| value.is_multiple_of(PAGE_SIZE);
        let end = addr.checked_add(len).ok_or_else(|| invalid("change guest memory"))?;
        let user = user_range(self.shared.stub);
        if len == 0 || !page(addr) || !page(len) || addr < user.start || end > user.end {
            return Err(invalid("change guest memory"));
        }
        let range = addr..end;
        let own = with_own_tracee(self, |own| self.change_now(&mut own.tracee, range.clone(), &change));
        match own {
            Some(done) => done,
            None => self.change_from_outside(range, change),
        }
    }

    fn change_now(
        &self,
        tracee: &mut Tracee,
        range: Range<u64>,
        change: &Change,
    ) -> Result<(), PlatformError> {
        let mut state = self.state.lock();
        self.serve_locked(&mut state, tracee)?;
        if matches!(change, Change::Unmap) && state.mapped.within(range.clone()).next().is_none() {
            return Ok(());
        }
        self.apply(&state.mapped, tracee, range.clone(), change)?;
        state.note(range, change);
        Ok(())
    }

    fn change_from_outside(&self, range: Range<u64>, change: Change) -> Result<(), PlatformError> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(PlatformError::Gone);
        }
        if !matches!(change, Change::Map(..)) && state.mapped.within(range.clone()).next().is_none() {
            return Ok(());
        }
        state.note(range.clone(), &change);
        state.pending.add(range, change);
        self.attention.store(true, Ordering::SeqCst);
        if !state.contexts.iter().any(|context| context.kick()) {
            return Ok(());
        }
        state.asked += 1;
        let asked = state.asked;
        while state.answered < asked {
            if state.dead {
                return Err(PlatformError::Gone);
            }
            self.served.wait(&mut state);
        }
        Ok(())
    }
}
