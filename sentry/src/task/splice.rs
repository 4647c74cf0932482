//! splice(2), tee(2), vmsplice(2): bytes between pipes and other files, without a detour over the guest's memory.

use std::sync::Arc;

use abi::Errno;
use abi::open::OpenFlags;
use abi::signal::Signal;

use super::CurrentTask;
use super::io::{At, Direction, Patience, READABLE, WRITABLE, read_seekable};
use crate::error::{Restart, SysError, SysResult};
use crate::mm::{UserSink, UserSlice, UserSource};
use crate::vfs::pipe::{Filled, Piece, Pipe, PipeEnd, splice_between, tee};
use crate::vfs::{BufSink, File};

/// The pipe that a file is an end of.
fn pipe_of(file: &File) -> Option<Arc<Pipe>> {
    file.downcast::<PipeEnd>().map(|end| Arc::clone(end.pipe()))
}

/// What happens between two pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// splice(2): bytes move.
    Move,
    /// tee(2): bytes are copied.
    Copy,
}

impl CurrentTask {
    /// Moves or copies bytes from one pipe to another.
    pub fn splice_pipes(
        &mut self,
        from: &Arc<File>,
        to: &Arc<File>,
        len: usize,
        patience: Patience,
        how: Between,
    ) -> SysResult<usize> {
        let (Some(source), Some(target)) = (pipe_of(from), pipe_of(to)) else {
            return Err(Errno::EINVAL.into());
        };
        if Arc::ptr_eq(&source, &target) {
            return Err(Errno::EINVAL.into());
        }
        let patience = if from.nonblocking() || to.nonblocking() { Patience::None } else { patience };
        loop {
            let done = match how {
                Between::Move => splice_between(&source, &target, len),
                Between::Copy => tee(&source, &target, len),
            };
            match done {
                Err(Errno::EAGAIN) if patience == Patience::AsFile => {}
                Err(Errno::EPIPE) => {
                    self.signal_self(Signal::SIGPIPE);
                    return Err(Errno::EPIPE.into());
                }
                done => return Ok(done?),
            }
            let waited = if source.readable_bytes() == 0 {
                let ready = |_: &mut Self| {
                    from.poll().intersects(READABLE | abi::poll::PollEvents::HUP).then_some(())
                };
                self.wait_for_file(from, READABLE, None, ready)
            } else {
                let ready =
                    |_: &mut Self| to.poll().intersects(WRITABLE | abi::poll::PollEvents::ERR).then_some(());
                self.wait_for_file(to, WRITABLE, None, ready)
            };
            waited.map_err(|end| end.into_error(Restart::Sys, Errno::EINTR))?;
        }
    }

    /// Moves bytes out of a pipe into a file.
    pub fn splice_from_pipe(
        &mut self,
        from: &Arc<File>,
        to: &Arc<File>,
        at: At,
        len: usize,
        patience: Patience,
    ) -> SysResult<usize> {
        let Some(pipe) = pipe_of(from) else { return Err(Errno::EINVAL.into()) };
        if to.flags().contains(OpenFlags::APPEND) {
            return Err(Errno::EINVAL.into());
        }
        let mut done = 0;
        while done < len {
            // Only for the first bytes it waits.
            let patience = if done > 0 { Patience::None } else { patience };
            let bytes =
                match self.retry_file(from, READABLE, patience, |_| pipe.take(len - done, Piece::of(to))) {
                    Ok(bytes) => bytes,
                    Err(_) if done > 0 => break,
                    Err(error) => return Err(error),
                };
            if bytes.is_empty() {
                break;
            }
            let here = match at {
                At::Position | At::NotAtEnd(_) => At::Position,
                At::Offset(offset) => At::Offset(offset + done as u64),
            };
            match self.write_from(to, &bytes, here) {
                Ok(wrote) => {
                    pipe.restore(&bytes[wrote..]);
                    done += wrote;
                    if wrote < bytes.len() {
                        break;
                    }
                }
                Err(error) => {
                    pipe.restore(&bytes);
                    if done > 0 {
                        break;
                    }
                    return Err(error);
                }
            }
        }
        Ok(done)
    }

    /// Moves bytes of a file into a pipe.
    pub fn splice_to_pipe(
        &mut self,
        from: &Arc<File>,
        at: At,
        to: &Arc<File>,
        len: usize,
        patience: Patience,
    ) -> SysResult<usize> {
        let Some(pipe) = pipe_of(to) else { return Err(Errno::EINVAL.into()) };
        let piece = Piece::of(from);
        loop {
            match self.retry_file(to, WRITABLE, patience, |_| pipe.room()) {
                Err(SysError::Errno(Errno::EPIPE)) => {
                    self.signal_self(Signal::SIGPIPE);
                    return Err(Errno::EPIPE.into());
                }
                room => room?,
            };
            let read = |buffer: &mut [u8]| match from.ops().seekable() {
                true => read_seekable(from, &mut BufSink::new(buffer), at),
                false => from.ops().read(from, &mut BufSink::new(buffer), 0),
            };
            let filled =
                self.retry_io(from, Direction::Read, Patience::AsFile, |_| pipe.fill(len, piece, read));
            match filled? {
                Filled::Bytes(done) => return Ok(done),
                // Another writer was faster.
                Filled::NoRoom => {}
            }
        }
    }

    /// vmsplice(2) into a pipe: as much as there is room for, waiting for some room.
    pub fn fill_pipe(
        &mut self,
        pipe: &Arc<File>,
        slices: &[UserSlice],
        patience: Patience,
    ) -> SysResult<usize> {
        let ops = pipe.ops();
        let wrote = self.retry_file(pipe, WRITABLE, patience, |task| {
            ops.write(pipe, &mut UserSource::new(task.mm(), slices), &mut 0)
        });
        if wrote == Err(SysError::Errno(Errno::EPIPE)) {
            self.signal_self(Signal::SIGPIPE);
        }
        wrote
    }

    /// vmsplice(2) out of a pipe.
    pub fn drain_pipe(
        &mut self,
        pipe: &Arc<File>,
        slices: &[UserSlice],
        patience: Patience,
    ) -> SysResult<usize> {
        let ops = pipe.ops();
        self.retry_file(pipe, READABLE, patience, |task| {
            ops.read(pipe, &mut UserSink::new(task.mm(), slices), 0)
        })
    }
}
