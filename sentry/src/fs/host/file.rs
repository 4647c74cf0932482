//! Host files that are no terminals: regular files, pipes, sockets, devices.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::ioctl::FIONREAD;
use abi::poll::PollEvents;
use abi::stat::FileType;
use platform::HostFile;

use super::reactor::Reactor;
use crate::SysResult;
use crate::mm::{Mappable, Place, Run, UserAddr, UserRef};
use crate::task::CurrentTask;
use crate::vfs::io::host_errno;
use crate::vfs::{AccessMode, Blocking, File, FileOps, IoSink, IoSource, SeekFrom};
use crate::wait::WaitQueue;

/// What a pipe takes at once when it says that it takes anything.
const PIPE_BUF: usize = 4096;

/// An inherited descriptor, which guests may open again by its name in /proc or /dev.
pub(super) struct Source {
    host: Arc<HostFile>,
    access: AccessMode,
    kind: FileType,
    queue: Arc<WaitQueue>,
    /// Whether it can make a reader or writer wait.
    waits: bool,
    /// Whether the description is the sandbox's own and non-blocking: the host says itself when nothing can be read yet.
    nonblocking: bool,
    id: u64,
    dev_ino: (u64, u64),
}

/// Where reading and writing of a regular file goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Where the host's description is.
    Shared,
    /// Where this guest file is: it was opened anew.
    Own,
}

/// A guest file on it.
pub(in crate::fs) struct HostStream {
    source: Arc<Source>,
    position: Position,
}

impl Source {
    pub fn new(
        host: Arc<HostFile>,
        access: AccessMode,
        stat: &host::file::Stat,
        reactor: &Reactor,
    ) -> Source {
        let queue = Arc::new(WaitQueue::new());
        let waits = reactor.watch(host.fd(), &queue);
        let kind = FileType::from_mode(stat.mode).unwrap_or(FileType::Regular);
        Source {
            host,
            access,
            kind,
            queue,
            waits,
            nonblocking: false,
            id: crate::mm::shmem::next_futex_id(),
            dev_ino: (stat.dev, stat.ino),
        }
    }

    /// The same, of a non-blocking description of the sandbox's own.
    pub fn nonblocking(self) -> Source {
        Source { nonblocking: true, ..self }
    }

    /// The file that the guest was started with.
    pub fn inherited(self: &Arc<Self>) -> HostStream {
        HostStream { source: Arc::clone(self), position: Position::Shared }
    }

    /// One more. The Sentry can open nothing of the host's, so it may do what the descriptor may: where Linux would give the
    /// other end of a pipe or write to a file that was opened for reading, this is EACCES.
    pub fn open(self: &Arc<Self>, access: AccessMode) -> Result<HostStream, Errno> {
        let denied = access.read && !self.access.read || access.write && !self.access.write;
        if denied {
            return Err(Errno::EACCES);
        }
        Ok(HostStream { source: Arc::clone(self), position: Position::Own })
    }

    /// Whether it is a pipe, FIFO or regular file: devices belong to the guest's own drivers.
    pub fn opens_again(&self) -> bool {
        matches!(self.kind, FileType::Fifo | FileType::Regular)
    }
}

impl HostStream {
    fn ready(&self, events: PollEvents) -> Result<(), Errno> {
        let wanted = events | PollEvents::ERR | PollEvents::HUP;
        let waits = self.source.waits && !poll_host(&self.source.host).intersects(wanted);
        if waits { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    /// Whether a FIFO that was opened for reading has, or has had since, somebody who writes.
    pub(in crate::fs) fn has_met_writer(&self) -> Result<bool, Errno> {
        static NOWHERE: OnceLock<Option<HostFile>> = OnceLock::new();
        if poll_host(&self.source.host).intersects(PollEvents::IN | PollEvents::HUP | PollEvents::ERR) {
            return Ok(true);
        }
        // Only a read tells a FIFO without writers (the end) from a silent one (EAGAIN). What comes in at this moment must
        // stay there.
        let nowhere = NOWHERE.get_or_init(|| HostFile::nowhere().ok()).as_ref().ok_or(Errno::ENOMEM)?;
        let mut pieces = nowhere.pieces([(0, 1)]).map_err(|_| Errno::ENOMEM)?;
        Ok(!matches!(host::io::readv(self.source.host.fd(), &mut pieces), Ok(0)))
    }

    fn regular(&self) -> bool {
        self.source.kind == FileType::Regular
    }

    /// Where a seek of a file that was opened anew goes to: the host's position is not touched. Its holes are not looked for.
    fn seek_own(&self, current: u64, to: SeekFrom) -> Result<u64, Errno> {
        let size = host::file::stat(self.source.host.fd()).map_err(host_errno)?.size;
        let beyond = |offset: i64| offset < 0 || offset.unsigned_abs() >= size;
        let place = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(offset) => offset.checked_add_unsigned(current),
            SeekFrom::End(offset) => offset.checked_add_unsigned(size),
            SeekFrom::Data(offset) | SeekFrom::Hole(offset) if beyond(offset) => return Err(Errno::ENXIO),
            SeekFrom::Data(offset) => Some(offset),
            SeekFrom::Hole(_) => i64::try_from(size).ok(),
        };
        u64::try_from(place.ok_or(Errno::EOVERFLOW)?).map_err(|_| Errno::EINVAL)
    }

    fn keep_position(&self, offset: u64) {
        if self.position == Position::Shared {
            // Whoever shares the description outside goes on where the guest is.
            let _ = host::file::seek(self.source.host.fd(), offset as i64, 0);
        }
    }
}

/// What is ready at a host descriptor.
pub(super) fn poll_host(host: &HostFile) -> PollEvents {
    let all = PollEvents::IN | PollEvents::PRI | PollEvents::OUT | PollEvents::RDHUP;
    let events = all | PollEvents::RDNORM | PollEvents::WRNORM;
    match host::file::poll_now(host.fd(), events.bits() as u16) {
        Ok(ready) => PollEvents::from_bits_truncate(u32::from(ready)),
        Err(_) => PollEvents::ERR,
    }
}

impl FileOps for HostStream {
    fn blocking(&self) -> Blocking {
        if self.source.waits { Blocking::Stream } else { Blocking::Never }
    }

    fn seekable(&self) -> bool {
        self.regular()
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, offset: u64) -> Result<usize, Errno> {
        if !self.source.nonblocking {
            self.ready(PollEvents::IN | PollEvents::RDHUP)?;
        }
        let len = dst.remaining();
        use std::os::fd::AsFd;
        if !self.regular() {
            return dst.put_from_host(self.source.host.fd().as_fd(), None, len);
        }
        let n = dst.put_from_host(self.source.host.fd().as_fd(), Some(offset), len)?;
        self.keep_position(offset + n as u64);
        Ok(n)
    }

    fn write(&self, file: &File, src: &mut dyn IoSource, offset: &mut u64) -> Result<usize, Errno> {
        self.ready(PollEvents::OUT)?;
        use std::os::fd::AsFd;
        let len = src.remaining();
        if !self.regular() {
            let len = if self.source.waits { len.min(PIPE_BUF) } else { len };
            return src.take_to_host(self.source.host.fd().as_fd(), None, len);
        }
        if file.appends(*offset) {
            *offset = host::file::stat(self.source.host.fd()).map_err(host_errno)?.size;
        }
        let n = src.take_to_host(self.source.host.fd().as_fd(), Some(*offset), len)?;
        self.keep_position(*offset + n as u64);
        Ok(n)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64, Errno> {
        if !self.regular() {
            return Err(Errno::ESPIPE);
        }
        if self.position == Position::Own {
            return self.seek_own(current, to);
        }
        let (offset, whence) = match to {
            SeekFrom::Start(offset) => (offset, 0),
            SeekFrom::Current(offset) => (offset.checked_add(current as i64).ok_or(Errno::EOVERFLOW)?, 0),
            SeekFrom::End(offset) => (offset, 2),
            SeekFrom::Data(offset) => (offset, 3),
            SeekFrom::Hole(offset) => (offset, 4),
        };
        host::file::seek(self.source.host.fd(), offset, whence).map_err(host_errno)
    }

    fn shared_position(&self) -> Option<u64> {
        let shared = self.position == Position::Shared && self.regular();
        if shared { host::file::seek(self.source.host.fd(), 0, 1).ok() } else { None }
    }

    fn poll(&self, _file: &File) -> PollEvents {
        poll_host(&self.source.host)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        self.source.waits.then_some(&*self.source.queue)
    }

    fn ioctl(&self, _file: &File, task: &mut CurrentTask, request: u32, arg: u64) -> SysResult<u64> {
        match request {
            FIONREAD => {
                let count = host::tty::readable_bytes(self.source.host.fd()).map_err(host_errno)?;
                task.write_obj(UserRef::<i32>::new(UserAddr(arg)), &count)?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY.into()),
        }
    }

    fn direct(&self) -> bool {
        true
    }

    fn dont_cache(&self) -> bool {
        self.regular()
    }

    fn mappable(&self, _file: &File) -> Result<Arc<dyn Mappable>, Errno> {
        if !self.regular() {
            return Err(Errno::ENODEV);
        }
        Ok(Arc::new(HostPages {
            host: Arc::clone(&self.source.host),
            id: self.source.id,
            dev_ino: self.source.dev_ino,
        }))
    }

    fn sync(&self, _file: &File, data_only: bool) -> Result<(), Errno> {
        host::file::sync(self.source.host.fd(), data_only).map_err(host_errno)
    }

    fn truncate(&self, _file: &File, size: u64) -> Result<(), Errno> {
        host::file::truncate(self.source.host.fd(), size).map_err(host_errno)
    }

    fn allocate(&self, _file: &File, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        if !self.regular() {
            return Err(Errno::ESPIPE);
        }
        host::file::allocate(self.source.host.fd(), mode, offset, len).map_err(host_errno)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        let (_, ino) = self.source.dev_ino;
        match self.source.kind {
            FileType::Fifo => format!("pipe:[{ino}]"),
            FileType::Socket => format!("socket:[{ino}]"),
            FileType::CharDevice => "/dev/null".to_owned(),
            _ => format!("host:[{ino}]"),
        }
    }
}

/// The pages of an inherited regular file.
struct HostPages {
    host: Arc<HostFile>,
    id: u64,
    dev_ino: (u64, u64),
}

impl Mappable for HostPages {
    fn translate(&self, offset: u64, len: u64, _write: bool) -> Result<Run, Errno> {
        Ok(Run { place: Place::Host(Arc::clone(&self.host), offset), len })
    }

    fn sync(&self, _offset: u64, _len: u64) -> Result<(), Errno> {
        host::file::sync(self.host.fd(), true).map_err(host_errno)
    }

    fn device_and_inode(&self) -> (u64, u64) {
        self.dev_ino
    }

    fn futex_id(&self) -> u64 {
        self.id
    }
}
