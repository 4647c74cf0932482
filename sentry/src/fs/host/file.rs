//! Host files that are no terminals: regular files, pipes, sockets, devices.

use std::any::Any;
use std::sync::Arc;

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
use crate::vfs::{Blocking, File, FileOps, IoSink, IoSource, SeekFrom};
use crate::wait::WaitQueue;

/// What a pipe takes at once when it says that it takes anything.
const PIPE_BUF: usize = 4096;

/// An inherited descriptor.
pub(super) struct HostStream {
    host: Arc<HostFile>,
    kind: FileType,
    queue: Arc<WaitQueue>,
    /// Whether it can make a reader or writer wait.
    waits: bool,
    id: u64,
    dev_ino: (u64, u64),
}

impl HostStream {
    pub fn new(host: Arc<HostFile>, stat: &host::file::Stat, reactor: &Reactor) -> HostStream {
        let queue = Arc::new(WaitQueue::new());
        let waits = reactor.watch(host.fd(), &queue);
        let kind = FileType::from_mode(stat.mode).unwrap_or(FileType::Regular);
        HostStream {
            host,
            kind,
            queue,
            waits,
            id: crate::mm::shmem::next_futex_id(),
            dev_ino: (stat.dev, stat.ino),
        }
    }

    fn ready(&self, events: PollEvents) -> Result<(), Errno> {
        let wanted = events | PollEvents::ERR | PollEvents::HUP;
        if self.waits && !poll_host(&self.host).intersects(wanted) { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    fn regular(&self) -> bool {
        self.kind == FileType::Regular
    }

    fn keep_position(&self, offset: u64) {
        // Whoever shares the description outside goes on where the guest is.
        let _ = host::file::seek(self.host.fd(), offset as i64, 0);
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
        if self.waits { Blocking::Stream } else { Blocking::Never }
    }

    fn seekable(&self) -> bool {
        self.regular()
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, offset: u64) -> Result<usize, Errno> {
        self.ready(PollEvents::IN | PollEvents::RDHUP)?;
        let len = dst.remaining();
        use std::os::fd::AsFd;
        if !self.regular() {
            return dst.put_from_host(self.host.fd().as_fd(), None, len);
        }
        let n = dst.put_from_host(self.host.fd().as_fd(), Some(offset), len)?;
        self.keep_position(offset + n as u64);
        Ok(n)
    }

    fn write(&self, file: &File, src: &mut dyn IoSource, offset: &mut u64) -> Result<usize, Errno> {
        self.ready(PollEvents::OUT)?;
        use std::os::fd::AsFd;
        let len = src.remaining();
        if !self.regular() {
            let len = if self.waits { len.min(PIPE_BUF) } else { len };
            return src.take_to_host(self.host.fd().as_fd(), None, len);
        }
        if file.appends(*offset) {
            *offset = host::file::stat(self.host.fd()).map_err(host_errno)?.size;
        }
        let n = src.take_to_host(self.host.fd().as_fd(), Some(*offset), len)?;
        self.keep_position(*offset + n as u64);
        Ok(n)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64, Errno> {
        if !self.regular() {
            return Err(Errno::ESPIPE);
        }
        let (offset, whence) = match to {
            SeekFrom::Start(offset) => (offset, 0),
            SeekFrom::Current(offset) => (offset.checked_add(current as i64).ok_or(Errno::EOVERFLOW)?, 0),
            SeekFrom::End(offset) => (offset, 2),
            SeekFrom::Data(offset) => (offset, 3),
            SeekFrom::Hole(offset) => (offset, 4),
        };
        host::file::seek(self.host.fd(), offset, whence).map_err(host_errno)
    }

    fn shared_position(&self) -> Option<u64> {
        if self.regular() { host::file::seek(self.host.fd(), 0, 1).ok() } else { None }
    }

    fn poll(&self, _file: &File) -> PollEvents {
        poll_host(&self.host)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        self.waits.then_some(&*self.queue)
    }

    fn ioctl(&self, _file: &File, task: &mut CurrentTask, request: u32, arg: u64) -> SysResult<u64> {
        match request {
            FIONREAD => {
                let count = host::tty::readable_bytes(self.host.fd()).map_err(host_errno)?;
                task.write_obj(UserRef::<i32>::new(UserAddr(arg)), &count)?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY.into()),
        }
    }

    fn mappable(&self, _file: &File) -> Result<Arc<dyn Mappable>, Errno> {
        if !self.regular() {
            return Err(Errno::ENODEV);
        }
        Ok(Arc::new(HostPages { host: Arc::clone(&self.host), id: self.id, dev_ino: self.dev_ino }))
    }

    fn sync(&self, _file: &File, data_only: bool) -> Result<(), Errno> {
        host::file::sync(self.host.fd(), data_only).map_err(host_errno)
    }

    fn truncate(&self, _file: &File, size: u64) -> Result<(), Errno> {
        host::file::truncate(self.host.fd(), size).map_err(host_errno)
    }

    fn allocate(&self, _file: &File, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
        if !self.regular() {
            return Err(Errno::ESPIPE);
        }
        host::file::allocate(self.host.fd(), mode, offset, len).map_err(host_errno)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        let (_, ino) = self.dev_ino;
        match self.kind {
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
