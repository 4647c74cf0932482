//! Changes of what a space shows.

use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use super::super::context::with_own_tracee;
use super::super::tracee::{MAX_PIECES, Piece, Tracee};
use super::super::user_range;
use super::{PtraceSpace, State, invalid};
use crate::api::{PAGE_SIZE, PlatformError, Prot};
use crate::guest_process::MAP_FLAGS;
use crate::guest_process::pending::{Change, Source};
use crate::guest_process::ranges::Ranges;

/// Mappings of one file that are made in one stop.
struct Batch {
    fd: i32,
    pieces: Vec<Piece>,
}

impl Batch {
    /// Takes a piece along; false when it does not fit.
    fn add(&mut self, fd: i32, piece: Piece) -> bool {
        if fd != self.fd {
            return false;
        }
        if let Some(last) = self.pieces.last_mut()
            && (last.addr + last.len, last.offset + last.len, last.prot)
                == (piece.addr, piece.offset, piece.prot)
        {
            last.len += piece.len;
            return true;
        }
        let fits = self.pieces.len() < MAX_PIECES;
        if fits {
            self.pieces.push(piece);
        }
        fits
    }

    fn make(&mut self, tracee: &mut Tracee) -> Result<(), PlatformError> {
        let done = tracee.map(self.fd, MAP_FLAGS, &self.pieces)?;
        self.pieces.clear();
        refused("map guest memory", done)
    }
}

/// What a refusal of the host means.
fn refused(what: &'static str, done: io::Result<u64>) -> Result<(), PlatformError> {
    match done {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => {
            Err(PlatformError::Exhausted("mappings of a guest process"))
        }
        Err(source) => Err(PlatformError::Host { what, source }),
    }
}

impl PtraceSpace {
    /// Makes the changes that are pending, with as few stops as possible.
    pub(super) fn apply_pending(&self, state: &mut State, tracee: &mut Tracee) -> Result<(), PlatformError> {
        let mut batch = Batch { fd: -1, pieces: Vec::with_capacity(MAX_PIECES) };
        // All of them stay until the end: they keep files open that the batch names by fd.
        let changes: Vec<_> = state.pending.take().collect();
        for (range, change) in &changes {
            let Change::Map(source, prot) = change else {
                self.apply(&state.mapped, tracee, range.clone(), change)?;
                continue;
            };
            let (fd, piece) = self.piece(range, source, *prot);
            if !batch.add(fd, piece) {
                batch.make(tracee)?;
                batch.fd = fd;
                batch.pieces.push(piece);
            }
        }
        batch.make(tracee)
    }

    /// Makes one change.
    pub(super) fn apply(
        &self,
        mapped: &Ranges,
        tracee: &mut Tracee,
        range: Range<u64>,
        change: &Change,
    ) -> Result<(), PlatformError> {
        let len = range.end - range.start;
        match change {
            Change::Map(source, prot) => {
                let (fd, piece) = self.piece(&range, source, *prot);
                Batch { fd, pieces: vec![piece] }.make(tracee)
            }
            Change::Unmap => {
                let done = tracee.call(libc::SYS_munmap, [range.start, len, 0, 0, 0, 0])?;
                refused("unmap guest memory", done)
            }
            Change::Protect(prot) => {
                for part in mapped.within(range) {
                    let args = [part.start, part.end - part.start, prot.bits().into(), 0, 0, 0];
                    refused("protect guest memory", tracee.call(libc::SYS_mprotect, args)?)?;
                }
                Ok(())
            }
        }
    }

    fn piece(&self, range: &Range<u64>, source: &Source, prot: Prot) -> (i32, Piece) {
        let (fd, offset) = match source {
            Source::Memory(offset) => {
                let (fd, offset) = self.shared.memory.host_place(*offset);
                (fd.as_raw_fd(), offset)
            }
            Source::File(file, offset) => (file.fd().as_raw_fd(), *offset),
        };
        (fd, Piece { addr: range.start, len: range.end - range.start, prot: prot.bits().into(), offset })
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
