//! The terminal that `runsc` was started on.
//!
//! Line discipline, echo and size are the host terminal's; job control is the kernel's own, because process groups and
//! sessions of the guest mean nothing to the host. The signals of the host's line discipline reach the `runsc` command,
//! which passes them on ([`Kernel::send_external_signal`](crate::Kernel::send_external_signal)).

use std::any::Any;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::ioctl as request;
use abi::ioctl::WinSize;
use abi::poll::PollEvents;
use abi::termios::{LocalFlags, Termios, Termios2};
use host::tty::When;
use platform::HostFile;
use zerocopy::{FromBytes, IntoBytes};

use super::file::poll_host;
use super::reactor::Reactor;
use crate::SysResult;
use crate::fs::devpts;
use crate::mm::{UserAddr, UserRef};
use crate::task::{ControllingTty, CurrentTask, ProcessGroup, Session};
use crate::tty::{Background, JobControl};
use crate::vfs::io::host_errno;
use crate::vfs::{Attr, Caller, Path};
use crate::vfs::{Blocking, File, FileOps, IoSink, IoSource};
use crate::wait::WaitQueue;

/// Writes longer than this could make the Sentry wait for a terminal that is stopped.
const CHUNK: usize = 2048;

/// A terminal of the host: what the open files of it share.
pub struct HostTty {
    /// Session and foreground group in the sandbox.
    pub jobs: JobControl,
    /// Device number outside.
    pub(super) host_device: u64,
    /// Device number here, once it has a name.
    device: OnceLock<u64>,
    /// The first descriptor that can be read and written: /dev/tty stands for it.
    first: OnceLock<(Arc<HostFile>, Arc<WaitQueue>)>,
}

impl HostTty {
    pub(super) fn new(host_device: u64) -> Arc<HostTty> {
        Arc::new(HostTty {
            jobs: JobControl::default(),
            host_device,
            device: OnceLock::new(),
            first: OnceLock::new(),
        })
    }

    /// Gives it a name in the devpts at `dir`; `None` when that is none.
    pub(super) fn name_in(self: &Arc<Self>, dir: &Path, like: &Attr, caller: &Caller<'_>) -> Option<Path> {
        let device = match self.device.get() {
            Some(device) => *device,
            None => {
                let made = devpts::show_host_terminal(dir.inode(), self, like).ok()?;
                *self.device.get_or_init(|| made)
            }
        };
        let name = abi::stat::minor(device).to_string();
        let dentry = dir.dentry.lookup(name.as_bytes(), caller).ok()??;
        Some(Path::new(Arc::clone(&dir.mount), dentry))
    }

    /// One more file of it, over a descriptor that is there already; ENXIO when none can be read and written.
    pub fn open(self: &Arc<Self>) -> Result<Box<dyn FileOps>, Errno> {
        let (host, queue) = self.first.get().ok_or(Errno::ENXIO)?;
        Ok(Box::new(HostTtyFile { tty: Arc::clone(self), host: Arc::clone(host), queue: Arc::clone(queue) }))
    }
}

/// An open file of it, over a descriptor of its own.
pub(super) struct HostTtyFile {
    tty: Arc<HostTty>,
    host: Arc<HostFile>,
    queue: Arc<WaitQueue>,
}

impl HostTtyFile {
    pub(super) fn new(tty: &Arc<HostTty>, host: &Arc<HostFile>, reactor: &Reactor) -> HostTtyFile {
        let queue = Arc::new(WaitQueue::new());
        reactor.watch(host.fd(), &queue);
        if host.writable() {
            // A second one is as good: the first stays.
            let _ = tty.first.set((Arc::clone(host), Arc::clone(&queue)));
        }
        HostTtyFile { tty: Arc::clone(tty), host: Arc::clone(host), queue }
    }

    fn attributes(&self) -> Result<Termios2, Errno> {
        let bytes = host::tty::attributes(self.host.fd()).map_err(host_errno)?;
        Termios2::read_from_bytes(&bytes).map_err(|_| Errno::EIO)
    }

    fn set_attributes(&self, when: When, termios: &Termios2) -> Result<(), Errno> {
        let mut bytes = [0u8; host::tty::TERMIOS2];
        bytes.copy_from_slice(termios.as_bytes());
        host::tty::set_attributes(self.host.fd(), when, &bytes).map_err(host_errno)
    }
}

impl ControllingTty for HostTty {
    fn foreground(&self) -> Option<Arc<ProcessGroup>> {
        self.jobs.foreground()
    }

    fn session_begins(&self, session: &Arc<Session>, foreground: &Arc<ProcessGroup>) {
        self.jobs.set(session, Arc::clone(foreground));
    }

    fn session_gone(&self, session: &Arc<Session>) {
        self.jobs.clear(Some(session));
    }

    fn device(&self) -> u64 {
        self.device.get().copied().unwrap_or(self.host_device)
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl FileOps for HostTtyFile {
    fn signals_io(&self) -> bool {
        true
    }

    fn blocking(&self) -> Blocking {
        Blocking::Stream
    }

    fn before_io(&self, _file: &File, task: &CurrentTask, writes: bool) -> SysResult<()> {
        if !writes {
            return self.tty.jobs.check(task, Background::Read);
        }
        let to_stop = self.attributes().is_ok_and(|t| t.c_lflag & LocalFlags::TOSTOP.bits() != 0);
        if to_stop { self.tty.jobs.check(task, Background::Change) } else { Ok(()) }
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize, Errno> {
        if !poll_host(&self.host).intersects(PollEvents::IN | PollEvents::HUP | PollEvents::ERR) {
            return Err(Errno::EAGAIN);
        }
        let len = dst.remaining();
        dst.put_from_host(self.host.fd().as_fd(), None, len)
    }

    fn write(&self, _file: &File, src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize, Errno> {
        if !poll_host(&self.host).intersects(PollEvents::OUT | PollEvents::HUP | PollEvents::ERR) {
            return Err(Errno::EAGAIN);
        }
        let len = src.remaining().min(CHUNK);
        src.take_to_host(self.host.fd().as_fd(), None, len)
    }

    fn poll(&self, _file: &File) -> PollEvents {
        poll_host(&self.host)
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn ioctl(&self, _file: &File, task: &mut CurrentTask, number: u32, arg: u64) -> SysResult<u64> {
        let tty = &self.tty;
        let controlling: Arc<dyn ControllingTty> = Arc::clone(tty) as _;
        if let Some(result) = tty.jobs.ioctl(&controlling, task, number, arg) {
            return result;
        }
        let fd = self.host.fd();
        let to = UserAddr(arg);
        let changes = !matches!(
            number,
            request::TCGETS | request::TCGETS2 | request::TIOCGWINSZ | request::FIONREAD | request::TIOCOUTQ
        );
        if changes && number != request::TIOCSWINSZ {
            tty.jobs.check(task, Background::Change)?;
        }
        match number {
            request::TCGETS => {
                task.write_obj(UserRef::new(to), &self.attributes()?.without_speeds())?;
            }
            request::TCGETS2 => task.write_obj(UserRef::new(to), &self.attributes()?)?,
            request::TCSETS | request::TCSETSW | request::TCSETSF => {
                let termios: Termios = task.read_obj(UserRef::new(to))?;
                let new = self.attributes()?.with_all_but_speeds(&termios);
                self.set_attributes(when(number - request::TCSETS), &new)?;
            }
            request::TCSETS2 | request::TCSETSW2 | request::TCSETSF2 => {
                let termios: Termios2 = task.read_obj(UserRef::new(to))?;
                self.set_attributes(when(number - request::TCSETS2), &termios)?;
            }
            request::TIOCGWINSZ => {
                let [ws_row, ws_col, ws_xpixel, ws_ypixel] =
                    host::tty::window_size(fd).map_err(host_errno)?;
                task.write_obj(UserRef::new(to), &WinSize { ws_row, ws_col, ws_xpixel, ws_ypixel })?;
            }
            request::TIOCSWINSZ => {
                let size: WinSize = task.read_obj(UserRef::new(to))?;
                let size = [size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel];
                // SIGWINCH comes back through `runsc`, as when the window itself changes.
                host::tty::set_window_size(fd, size).map_err(host_errno)?;
            }
            request::FIONREAD => {
                let count = host::tty::readable_bytes(fd).map_err(host_errno)?;
                task.write_obj(UserRef::<i32>::new(to), &count)?;
            }
            request::TIOCOUTQ => {
                let count = host::tty::unsent_bytes(fd).map_err(host_errno)?;
                task.write_obj(UserRef::<i32>::new(to), &count)?;
            }
            request::TCFLSH => host::tty::flush(fd, arg as i32).map_err(host_errno)?,
            request::TCXONC => host::tty::flow(fd, arg as i32).map_err(host_errno)?,
            request::TCSBRK | request::TCSBRKP => {
                host::tty::drain_or_break(fd, arg as i32).map_err(host_errno)?;
            }
            // Nobody may put characters into the mouth of the user outside.
            request::TIOCSTI => return Err(Errno::EIO.into()),
            _ => return Err(Errno::ENOTTY.into()),
        }
        Ok(0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        format!("/dev/pts/{}", abi::stat::minor(self.tty.device()))
    }
}

fn when(step: u32) -> When {
    match step {
        0 => When::Now,
        1 => When::Drain,
        _ => When::Flush,
    }
}
