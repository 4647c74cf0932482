//! An end of a pipe as an open file.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::ioctl::FIONREAD;
use abi::open::OpenFlags;
use abi::poll::PollEvents;

use super::buffer::SlotKind;
use super::{Pipe, READABLE, WRITABLE};
use crate::SysResult;
use crate::mm::{UserAddr, UserRef};
use crate::task::CurrentTask;
use crate::vfs::file::{AccessMode, Blocking, File, FileOps};
use crate::vfs::io::{IoSink, IoSource};
use crate::wait::WaitQueue;

/// One open end of a pipe; a FIFO opened with `O_RDWR` is both.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    read: bool,
    write: bool,
    seen_writers: u64,
}

/// A pipe without a name: its reading and its writing end (pipe(2)).
pub fn new_pipe() -> (PipeEnd, PipeEnd) {
    let pipe = Pipe::new();
    let read = PipeEnd::open(&pipe, AccessMode { read: true, write: false }, false);
    let write = PipeEnd::open(&pipe, AccessMode { read: false, write: true }, false);
    (read, write)
}

impl PipeEnd {
    /// A further end; counted until it is dropped. Wakes openers that wait for it.
    pub(super) fn open(pipe: &Arc<Pipe>, access: AccessMode, named: bool) -> PipeEnd {
        {
            let mut state = pipe.state.lock();
            if access.read {
                state.readers += 1;
                state.reader_opens += 1;
            }
            if access.write {
                state.writers += 1;
                state.writer_opens += 1;
            }
        }
        if named {
            pipe.queue.notify(READABLE | WRITABLE);
        }
        // A read end without writers is at its end and has not hung up until a writer has come; see `poll`. Ends that
        // are opened while there is a writer, and pipes without a name, hang up as soon as the last one goes.
        PipeEnd { pipe: Arc::clone(pipe), read: access.read, write: access.write, seen_writers: u64::MAX }
    }

    /// The end of a FIFO that was opened for reading, without waiting, before any writer came.
    pub(super) fn not_hung_up_before(mut self, writer_opens: u64) -> PipeEnd {
        self.seen_writers = writer_opens;
        self
    }

    /// What the ends share.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }

    /// Whether it can be read from.
    pub fn reads(&self) -> bool {
        self.read
    }

    /// Whether it can be written to.
    pub fn writes(&self) -> bool {
        self.write
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        {
            let mut state = self.pipe.state.lock();
            state.readers -= u32::from(self.read);
            state.writers -= u32::from(self.write);
        }
        self.pipe.queue.notify(READABLE | WRITABLE | PollEvents::ERR | PollEvents::HUP);
    }
}

impl FileOps for PipeEnd {
    fn signals_io(&self) -> bool {
        true
    }

    fn blocking(&self) -> Blocking {
        Blocking::Stream
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize, Errno> {
        self.pipe.read(dst)
    }

    fn write(&self, file: &File, src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize, Errno> {
        let packets = file.flags().contains(OpenFlags::DIRECT);
        self.pipe.write(src, if packets { SlotKind::Packet } else { SlotKind::Stream })
    }

    fn poll(&self, _file: &File) -> PollEvents {
        self.pipe.poll(self.read, self.write, self.seen_writers)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.queue)
    }

    fn ioctl(&self, _file: &File, task: &mut CurrentTask, request: u32, arg: u64) -> SysResult<u64> {
        if request != FIONREAD {
            return Err(Errno::ENOTTY.into());
        }
        let bytes = i32::try_from(self.pipe.readable_bytes()).unwrap_or(i32::MAX);
        task.write_obj(UserRef::new(UserAddr(arg)), &bytes)?;
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
