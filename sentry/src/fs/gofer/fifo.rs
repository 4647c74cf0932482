//! FIFOs of the host, in trees whose options let them be opened.
//!
//! The Gofer opens without waiting. So an opening that has to wait for the other side is looked at every now and then: one for
//! writing is tried again, one for reading is open on the host already and asks whether somebody writes.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use abi::Errno;
use abi::open::OpenFlags;
use abi::poll::PollEvents;
use gofer_protocol as wire;

use super::inode::GoferInode;
use super::{GoferFs, errno};
use crate::fs::host::{HostStream, stream};
use crate::time::TimerHandle;
use crate::vfs::{AccessMode, Caller, FileOps, Inode, OpenedOps, PendingOpen};
use crate::wait::{WaitQueue, Wake};
use crate::{Kernel, Result};

/// How long it takes until an opening is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Opens `inode`. ENXIO for writing without a reader, where that must not be waited for.
pub(super) fn open(inode: &Arc<Inode>, flags: OpenFlags, caller: &Caller<'_>) -> Result<OpenedOps> {
    let mut opening = Opening { inode: Arc::clone(inode), flags, reader: None };
    if let Some(opened) = opening.go_on() {
        return opened.map(OpenedOps::Ready);
    }
    if flags.contains(OpenFlags::NONBLOCK) {
        return Err(Errno::ENXIO);
    }
    let kernel = caller.task.map(|task| Arc::downgrade(task.kernel())).ok_or(Errno::ENXIO)?;
    Ok(OpenedOps::Waiting(Box::new(Retry {
        opening,
        queue: Arc::new(WaitQueue::new()),
        kernel,
        timer: None,
    })))
}

/// An opening that may have to wait.
struct Opening {
    inode: Arc<Inode>,
    flags: OpenFlags,
    /// Open for reading, and nobody has written yet.
    reader: Option<HostStream>,
}

impl Opening {
    /// The open file, or an error; `None` while the other side is missing.
    fn go_on(&mut self) -> Option<Result<Box<dyn FileOps>>> {
        let access = AccessMode::from_flags(self.flags);
        let opened = match self.reader.take() {
            Some(reader) => reader,
            None => match open_now(&self.inode, access) {
                Err(Errno::ENXIO) => return None,
                Err(errno) => return Some(Err(errno)),
                Ok(opened) => opened,
            },
        };
        let needs_writer = access.read && !access.write && !self.flags.contains(OpenFlags::NONBLOCK);
        match !needs_writer || opened.has_met_writer().unwrap_or(true) {
            true => Some(Ok(Box::new(opened))),
            false => {
                self.reader = Some(opened);
                None
            }
        }
    }
}

fn open_now(inode: &Arc<Inode>, access: AccessMode) -> Result<HostStream> {
    let fs = inode.sb.downcast::<GoferFs>().ok_or(Errno::EXDEV)?;
    let own = inode.downcast::<GoferInode>().ok_or(Errno::EXDEV)?;
    let mut how = wire::OpenFlags::empty();
    how.set(wire::OpenFlags::READ, access.read);
    how.set(wire::OpenFlags::WRITE, access.write);
    let (fd, attr) = fs.client.open(own.handle()?, how).map_err(errno)?;
    if attr.id != own.id {
        return Err(Errno::ESTALE);
    }
    stream(fd, access.write, &*fs.reactor()?).map_err(|_| Errno::EIO)
}

/// An opening that waits for the other side.
struct Retry {
    opening: Opening,
    queue: Arc<WaitQueue>,
    kernel: Weak<Kernel>,
    timer: Option<TimerHandle>,
}

impl PendingOpen for Retry {
    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn ready(&mut self) -> Option<Result<Box<dyn FileOps>>> {
        if let Some(opened) = self.opening.go_on() {
            return Some(opened);
        }
        let kernel = self.kernel.upgrade()?;
        let again = Arc::new(Again(Arc::clone(&self.queue))) as Arc<dyn Wake>;
        match kernel.timers.set(Instant::now() + PAUSE, again) {
            Ok(timer) => self.timer = Some(timer),
            Err(errno) => return Some(Err(errno)),
        }
        None
    }
}

/// It is time to try again.
struct Again(Arc<WaitQueue>);

impl Wake for Again {
    fn wake(&self, _events: PollEvents) -> bool {
        self.0.notify(PollEvents::OUT | PollEvents::WRNORM);
        true
    }
}
