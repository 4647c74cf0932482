//! Opening FIFOs (fifo(7)): each side waits for the other.
//!
//! The open does not wait here: it answers [`FifoOpen::Waiting`], and the open call parks on
//! [`FifoOpening::wait_queue`] until [`FifoOpening::ready`] gives the end. Dropping the opening (a signal came) takes
//! it back, so that a half-opened end is never seen by others once the open has failed.

use std::sync::{Arc, Weak};

use abi::Errno;
use sync::Mutex;

use super::{Pipe, PipeEnd};
use crate::vfs::file::AccessMode;
use crate::wait::WaitQueue;

/// What an inode of kind FIFO holds: the pipe, while anyone has it open.
#[derive(Default)]
pub struct Fifo {
    pipe: Mutex<Weak<Pipe>, sync::levels::Leaf>,
    /// A pipe without a name: opening it through /proc/PID/fd waits for nobody.
    unnamed: bool,
}

/// How an open of a FIFO goes on.
pub enum FifoOpen {
    /// Done.
    Ready(PipeEnd),
    /// There is no partner yet.
    Waiting(FifoOpening),
}

/// An open that waits for the other side.
pub struct FifoOpening {
    end: Option<PipeEnd>,
    /// How often the other side had been opened before.
    partners_before: u64,
}

impl Fifo {
    /// For the inode of a pipe without a name.
    pub(in crate::vfs) fn of_unnamed(pipe: &Arc<Pipe>) -> Fifo {
        Fifo { pipe: Mutex::new(Arc::downgrade(pipe)), unnamed: true }
    }

    /// Opens an end. ENXIO: for writing only, without waiting, and nobody reads.
    pub fn open(&self, access: AccessMode, nonblocking: bool) -> Result<FifoOpen, Errno> {
        let pipe = {
            let mut slot = self.pipe.lock();
            slot.upgrade().unwrap_or_else(|| {
                let pipe = Pipe::new();
                *slot = Arc::downgrade(&pipe);
                pipe
            })
        };
        let (readers, writers, reader_opens, writer_opens) = {
            let state = pipe.state.lock();
            (state.readers, state.writers, state.reader_opens, state.writer_opens)
        };
        match (access.read, access.write) {
            (false, false) => Err(Errno::EINVAL),
            (read, write) if self.unnamed || read == write => {
                Ok(FifoOpen::Ready(PipeEnd::open(&pipe, access, true)))
            }
            (true, _) => {
                let end = PipeEnd::open(&pipe, access, true);
                if writers > 0 {
                    Ok(FifoOpen::Ready(end))
                } else if nonblocking {
                    Ok(FifoOpen::Ready(end.not_hung_up_before(writer_opens)))
                } else {
                    Ok(FifoOpen::Waiting(FifoOpening { end: Some(end), partners_before: writer_opens }))
                }
            }
            (false, _) => {
                if nonblocking && readers == 0 {
                    return Err(Errno::ENXIO);
                }
                let end = PipeEnd::open(&pipe, access, true);
                if readers > 0 {
                    Ok(FifoOpen::Ready(end))
                } else {
                    Ok(FifoOpen::Waiting(FifoOpening { end: Some(end), partners_before: reader_opens }))
                }
            }
        }
    }
}

impl FifoOpening {
    /// Told when a partner comes.
    pub fn wait_queue(&self) -> Option<&WaitQueue> {
        self.end.as_ref().map(|end| end.pipe().wait_queue())
    }

    /// The end, once a partner has opened the other side since (it may have left again). Given once.
    pub fn ready(&mut self) -> Option<PipeEnd> {
        let end = self.end.as_ref()?;
        let opens = {
            let state = end.pipe().state.lock();
            if end.reads() { state.writer_opens } else { state.reader_opens }
        };
        if opens == self.partners_before { None } else { self.end.take() }
    }
}
