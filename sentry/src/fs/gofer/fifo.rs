//! FIFOs of the host, in trees whose options let them be opened.
//!
//! The Gofer opens without waiting. So an opening for writing that finds no reader is tried again every now and then; and
//! one for reading does not wait for a writer, but its first read does.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use abi::Errno;
use abi::open::OpenFlags;
use abi::poll::PollEvents;
use gofer_protocol as wire;

use super::inode::GoferInode;
use super::{GoferFs, errno};
use crate::fs::host::stream;
use crate::time::TimerHandle;
use crate::vfs::{AccessMode, Caller, FileOps, Inode, OpenedOps, PendingOpen};
use crate::wait::{WaitQueue, Wake};
use crate::{Kernel, Result};

/// How long it takes until an opening is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Opens `inode`. ENXIO for writing without a reader, where that must not be waited for.
pub(super) fn open(inode: &Arc<Inode>, flags: OpenFlags, caller: &Caller<'_>) -> Result<OpenedOps> {
    match open_now(inode, flags) {
        Err(Errno::ENXIO) if !flags.contains(OpenFlags::NONBLOCK) => {
            let kernel = caller.task.map(|task| Arc::downgrade(task.kernel())).ok_or(Errno::ENXIO)?;
            let (inode, queue) = (Arc::clone(inode), Arc::new(WaitQueue::new()));
            Ok(OpenedOps::Waiting(Box::new(Retry { inode, flags, queue, kernel, timer: None })))
        }
        opened => opened.map(OpenedOps::Ready),
    }
}

fn open_now(inode: &Arc<Inode>, flags: OpenFlags) -> Result<Box<dyn FileOps>> {
    let fs = inode.sb.downcast::<GoferFs>().ok_or(Errno::EXDEV)?;
    let own = inode.downcast::<GoferInode>().ok_or(Errno::EXDEV)?;
    let access = AccessMode::from_flags(flags);
    let mut how = wire::OpenFlags::empty();
    how.set(wire::OpenFlags::READ, access.read);
    how.set(wire::OpenFlags::WRITE, access.write);
    let (fd, attr) = own.client.open(own.handle()?, how).map_err(errno)?;
    if attr.id != own.id {
        return Err(Errno::ESTALE);
    }
    stream(fd, access.write, &*fs.reactor()?).map_err(|_| Errno::EIO)
}

/// An opening that waits for a reader.
struct Retry {
    inode: Arc<Inode>,
    flags: OpenFlags,
    queue: Arc<WaitQueue>,
    kernel: Weak<Kernel>,
    timer: Option<TimerHandle>,
}

impl PendingOpen for Retry {
    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn ready(&mut self) -> Option<Result<Box<dyn FileOps>>> {
        match open_now(&self.inode, self.flags) {
            Err(Errno::ENXIO) => {}
            opened => return Some(opened),
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
