//! Reading and writing open files on behalf of a task: the one place where calls wait for files.
//!
//! Files never wait: they answer EAGAIN. Here such a call registers with the file, tries again, and parks, unless the
//! file is `O_NONBLOCK`. A signal ends the wait: with what has been done so far, or with
//! [`Restart::Sys`](crate::Restart::Sys).

use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use abi::capability::CAP_FSETID;
use abi::open::OpenFlags;
use abi::poll::PollEvents;
use abi::resource::{RLIM_INFINITY, RLIMIT_FSIZE};
use abi::signal::{SI_USER, SigInfo, Signal};
use abi::stat::{S_IALLUGO, S_ISGID, S_ISUID};

use super::{CurrentTask, WaitEnd};
use crate::error::{Restart, SysError, SysResult};
use crate::mm::{UserSink, UserSlice, UserSource};
use crate::net::Socket;
use crate::vfs::fanotify::Fanotify;
use crate::vfs::file::AT_END;
use crate::vfs::notify::{Events, ask_to_read, notify_file};
use crate::vfs::open::{Opening, WaitingOpen};
use crate::vfs::permission::without_set_id;
use crate::vfs::{Blocking, BufSink, BufSource, File, IoSink, IoSource, SetAttr};
use crate::wait::Wake;

/// Where a read or write takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At the position of the description, which moves on.
    Position,
    /// At this offset; the position stays.
    Offset(u64),
    /// As [`Position`](Self::Position) or [`Offset`](Self::Offset), and not at the end where `O_APPEND` says so
    /// (RWF_NOAPPEND). `None` is the position.
    NotAtEnd(Option<u64>),
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Read,
    Write,
}

/// Whether a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As the file's `O_NONBLOCK` says.
    AsFile,
    /// Never (RWF_NOWAIT, MSG_DONTWAIT).
    None,
}

/// What a write that nobody can read does besides EPIPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// SIGPIPE.
    Signal,
    /// Nothing (RWF_NOSIGNAL).
    Quiet,
}

pub(crate) const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM).union(PollEvents::RDHUP);
pub(super) const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);

impl CurrentTask {
    /// Waits for `file` to have one of `interest`, or for the deadline, until `attempt` gives something.
    pub fn wait_for_file<T>(
        &mut self,
        file: &Arc<File>,
        interest: PollEvents,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, WaitEnd> {
        if let Some(value) = attempt(self) {
            return Ok(value);
        }
        let Some(key) = file.ops().register(file, interest, self.waker()) else {
            // It is never told when it changes: as if a signal had come, rather than to wait for ever.
            return Err(WaitEnd::Interrupted);
        };
        let result = loop {
            if let Some(value) = attempt(self) {
                break Ok(value);
            }
            if let Err(end) = self.park(deadline) {
                break attempt(self).ok_or(end);
            }
        };
        file.ops().unregister(file, key);
        result
    }

    /// Does `operation` until it answers something else than EAGAIN.
    pub fn retry_file<T>(
        &mut self,
        file: &Arc<File>,
        interest: PollEvents,
        patience: Patience,
        mut operation: impl FnMut(&mut Self) -> Result<T, Errno>,
    ) -> SysResult<T> {
        match operation(self) {
            Err(Errno::EAGAIN) if patience == Patience::AsFile && !file.nonblocking() => {}
            done => return Ok(done?),
        }
        let attempt = |task: &mut Self| match operation(task) {
            Err(Errno::EAGAIN) => None,
            done => Some(done),
        };
        match self.wait_for_file(file, interest, None, attempt) {
            Ok(done) => Ok(done?),
            Err(end) => Err(end.into_error(Restart::Sys, Errno::EAGAIN)),
        }
    }

    /// Does a read or write of a stream until it answers something else than EAGAIN, asking the file each time whether
    /// the task may.
    pub(super) fn retry_io<T>(
        &mut self,
        file: &Arc<File>,
        direction: Direction,
        patience: Patience,
        mut operation: impl FnMut(&mut Self) -> Result<T, Errno>,
    ) -> SysResult<T> {
        let (interest, writes) = match direction {
            Direction::Read => (READABLE, false),
            Direction::Write => (WRITABLE, true),
        };
        let mut allowed = |task: &mut Self| -> SysResult<T> {
            file.ops().before_io(file, task, writes)?;
            Ok(operation(task)?)
        };
        let not_now = |error: &SysError| *error == SysError::Errno(Errno::EAGAIN);
        match allowed(self) {
            Err(error) if not_now(&error) && patience == Patience::AsFile && !file.nonblocking() => {}
            done => return done,
        }
        let attempt = |task: &mut Self| match allowed(task) {
            Err(error) if not_now(&error) => None,
            done => Some(done),
        };
        match self.wait_for_file(file, interest, None, attempt) {
            Ok(done) => done,
            Err(end) => Err(end.into_error(Restart::Sys, Errno::EAGAIN)),
        }
    }

    /// Reads from `file` into guest memory. The file may be read; `slices` have been checked.
    pub fn read_file(
        &mut self,
        file: &Arc<File>,
        slices: &[UserSlice],
        at: At,
        patience: Patience,
    ) -> SysResult<usize> {
        let ops = file.ops();
        if file.downcast::<Socket>().is_some() {
            return self.read_socket(file, slices, patience);
        }
        if file.downcast::<Fanotify>().is_some() {
            return self.read_fanotify(file, slices, patience);
        }
        if !ops.seekable() {
            let offset = match at {
                At::Offset(offset) | At::NotAtEnd(Some(offset)) => offset,
                At::Position | At::NotAtEnd(None) => 0,
            };
            return self.retry_io(file, Direction::Read, patience, |task| {
                ops.read(file, &mut UserSink::new(task.mm(), slices), offset)
            });
        }
        let mut sink = UserSink::new(self.mm(), slices);
        Ok(read_seekable(file, &mut sink, at)?)
    }

    /// Writes guest memory to `file`. The file may be written; `slices` have been checked.
    pub fn write_file(
        &mut self,
        file: &Arc<File>,
        slices: &[UserSlice],
        at: At,
        patience: Patience,
    ) -> SysResult<usize> {
        self.write_file_or(file, slices, at, patience, Broken::Signal)
    }

    /// As [`write_file`](Self::write_file), with a word on files that nobody reads.
    pub fn write_file_or(
        &mut self,
        file: &Arc<File>,
        slices: &[UserSlice],
        at: At,
        patience: Patience,
        broken: Broken,
    ) -> SysResult<usize> {
        let ops = file.ops();
        let total = slices.iter().fold(0u64, |sum, slice| sum.saturating_add(slice.len));
        if ops.seekable() {
            return self.write_seekable(file, slices, total, at);
        }
        if file.downcast::<Socket>().is_some() {
            return self.write_socket(file, slices, patience, broken);
        }
        self.write_stream(file, total as usize, (patience, broken), |task, done| {
            let mut source = UserSource::new(task.mm(), slices);
            source.advance(done);
            ops.write(file, &mut source, &mut 0)
        })
    }

    /// Writes to a file that has a position.
    fn write_seekable(&mut self, file: &Arc<File>, from: impl Bytes, len: u64, at: At) -> SysResult<usize> {
        self.drop_set_id(file)?;
        let mut position = match at {
            At::Position | At::NotAtEnd(None) => Some(file.position()),
            At::Offset(_) | At::NotAtEnd(Some(_)) => None,
        };
        let mut offset = match (&position, at) {
            (Some(position), _) => **position,
            (None, At::Offset(offset) | At::NotAtEnd(Some(offset))) => offset,
            (None, At::Position | At::NotAtEnd(None)) => 0,
        };
        if file.flags().contains(OpenFlags::APPEND) && !matches!(at, At::NotAtEnd(_)) {
            offset = AT_END;
        }
        check_end(offset, len)?;
        let len = self.limit_size(file, offset, len)?;
        let done = from.write(self, file, len as usize, &mut offset)?;
        if done > 0 {
            notify_file(file, Events::MODIFY);
        }
        if let Some(position) = &mut position {
            **position = offset + done as u64;
        }
        Ok(done)
    }

    /// Writes `total` bytes to a stream or as a record: `write` those behind what is done.
    fn write_stream(
        &mut self,
        file: &Arc<File>,
        total: usize,
        (patience, broken): (Patience, Broken),
        mut write: impl FnMut(&mut Self, usize) -> Result<usize, Errno>,
    ) -> SysResult<usize> {
        let mut done = 0;
        loop {
            match self.retry_io(file, Direction::Write, patience, |task| write(task, done)) {
                Ok(n) => {
                    done += n;
                    if done >= total || n == 0 || file.ops().blocking() != Blocking::Stream {
                        return Ok(done);
                    }
                }
                Err(error) => {
                    if error == SysError::Errno(Errno::EPIPE) && broken == Broken::Signal {
                        self.signal_self(Signal::SIGPIPE);
                    }
                    return if done > 0 { Ok(done) } else { Err(error) };
                }
            }
        }
    }

    /// Reads from `file` into a buffer of the kernel's, as [`read_file`](Self::read_file).
    pub fn read_into(&mut self, file: &Arc<File>, buffer: &mut [u8], at: At) -> SysResult<usize> {
        if file.ops().seekable() {
            return Ok(read_seekable(file, &mut BufSink::new(buffer), at)?);
        }
        self.retry_io(file, Direction::Read, Patience::AsFile, |_| {
            file.ops().read(file, &mut BufSink::new(buffer), 0)
        })
    }

    /// Writes a buffer of the kernel's to `file`, as [`write_file`](Self::write_file).
    pub fn write_from(&mut self, file: &Arc<File>, bytes: &[u8], at: At) -> SysResult<usize> {
        let ops = file.ops();
        if ops.seekable() {
            return self.write_seekable(file, bytes, bytes.len() as u64, at);
        }
        self.write_stream(file, bytes.len(), (Patience::AsFile, Broken::Signal), |_, done| {
            ops.write(file, &mut BufSource::new(&bytes[done..]), &mut 0)
        })
    }

    /// How many of `len` bytes may be written at `offset` under RLIMIT_FSIZE: none is EFBIG, with SIGXFSZ.
    pub fn limit_size(&mut self, file: &Arc<File>, offset: u64, len: u64) -> SysResult<u64> {
        let limit = self.thread_group().limit(RLIMIT_FSIZE).rlim_cur;
        let inode = file.path.inode();
        if limit == RLIM_INFINITY || !inode.is_regular() || len == 0 {
            return Ok(len);
        }
        let offset = if file.appends(offset) { inode.attr()?.size } else { offset };
        if offset >= limit {
            self.signal_self(Signal::SIGXFSZ);
            return Err(Errno::EFBIG.into());
        }
        Ok(len.min(limit - offset))
    }

    /// A size that a file is to get, under RLIMIT_FSIZE.
    pub fn check_new_size(&mut self, size: u64, old: u64) -> SysResult<()> {
        if size > old && size > self.thread_group().limit(RLIMIT_FSIZE).rlim_cur {
            self.signal_self(Signal::SIGXFSZ);
            return Err(Errno::EFBIG.into());
        }
        Ok(())
    }

    /// A write by somebody who could not give a file its set-id bits takes them away.
    pub fn drop_set_id(&self, file: &File) -> Result<(), Errno> {
        let inode = file.path.inode();
        let (mode, _, _) = inode.owner();
        if mode & (S_ISUID | S_ISGID) == 0
            || !inode.is_regular()
            || inode.capable(self.own_creds(), CAP_FSETID)
        {
            return Ok(());
        }
        let kept = without_set_id(mode);
        if kept == mode {
            return Ok(());
        }
        inode.ops().set_attr(inode, &SetAttr { permissions: Some(kept & S_IALLUGO), ..SetAttr::default() })
    }

    /// Sends the calling thread a signal that its own call causes. It looks as if the process had sent it.
    pub fn signal_self(&self, signal: Signal) {
        let uid = self.own_creds().user_ns.uid_inside(self.own_creds().uid);
        let info = SigInfo::kill(signal, SI_USER, self.tgid(), uid);
        // A queue that is full drops it, as on Linux.
        let _ = crate::signal::send_to_task(self.task(), signal, info);
    }

    /// The file that an open gives, waited for if need be.
    pub fn finish_open(&mut self, opening: Opening) -> SysResult<Arc<File>> {
        match opening {
            Opening::Done(file) => Ok(file),
            Opening::Waiting(waiting) => self.wait_for_open(waiting),
            Opening::Leased(_) => Err(Errno::EAGAIN.into()),
        }
    }

    fn wait_for_open(&mut self, mut waiting: WaitingOpen) -> SysResult<Arc<File>> {
        loop {
            let waker: Arc<dyn Wake> = self.waker();
            let key = waiting.wait_queue().map(|queue| queue.register(READABLE | WRITABLE, waker));
            if let Some(file) = waiting.ready() {
                return Ok(file?);
            }
            let parked = self.park(None);
            if let (Some(queue), Some(key)) = (waiting.wait_queue(), key) {
                queue.unregister(key);
            }
            if let Err(end) = parked {
                return match waiting.ready() {
                    Some(file) => Ok(file?),
                    None => Err(end.into_error(Restart::Sys, Errno::EINTR)),
                };
            }
        }
    }
}

/// Where the bytes of a write come from.
trait Bytes {
    /// Writes up to `len` of them.
    fn write(self, task: &CurrentTask, file: &File, len: usize, offset: &mut u64) -> Result<usize, Errno>;
}

impl Bytes for &[UserSlice] {
    fn write(self, task: &CurrentTask, file: &File, len: usize, offset: &mut u64) -> Result<usize, Errno> {
        let mut source = Limited { inner: UserSource::new(task.mm(), self), left: len };
        file.ops().write(file, &mut source, offset)
    }
}

impl Bytes for &[u8] {
    fn write(self, _task: &CurrentTask, file: &File, len: usize, offset: &mut u64) -> Result<usize, Errno> {
        file.ops().write(file, &mut BufSource::new(&self[..len.min(self.len())]), offset)
    }
}

/// EINVAL for bytes beyond what a file can have.
fn check_end(offset: u64, len: u64) -> Result<(), Errno> {
    let beyond = offset.checked_add(len).is_none_or(|end| end > i64::MAX as u64);
    if beyond && offset != AT_END { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Reads a file that has a position.
pub fn read_seekable(file: &File, sink: &mut dyn IoSink, at: At) -> Result<usize, Errno> {
    ask_to_read(file)?;
    let done = match at {
        At::Offset(offset) | At::NotAtEnd(Some(offset)) => {
            check_end(offset, sink.remaining() as u64)?;
            file.ops().read(file, sink, offset)?
        }
        At::Position | At::NotAtEnd(None) => {
            let mut position = file.position();
            check_end(*position, sink.remaining() as u64)?;
            let done = file.ops().read(file, sink, *position)?;
            *position += done as u64;
            done
        }
    };
    if done > 0 {
        notify_file(file, Events::ACCESS);
    }
    Ok(done)
}

/// A source cut short.
pub struct Limited<S> {
    inner: S,
    left: usize,
}

impl<S: IoSource> IoSource for Limited<S> {
    fn remaining(&self) -> usize {
        self.inner.remaining().min(self.left)
    }

    fn lies_on(&self, word: u64, block: u64) -> bool {
        (self.remaining() as u64).is_multiple_of(block) && self.inner.lies_on(word, block)
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let len = buffer.len().min(self.left);
        let n = self.inner.take(&mut buffer[..len])?;
        self.left -= n;
        Ok(n)
    }

    fn peek(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let len = buffer.len().min(self.left);
        self.inner.peek(&mut buffer[..len])
    }

    fn advance(&mut self, bytes: usize) {
        let bytes = bytes.min(self.left);
        self.inner.advance(bytes);
        self.left -= bytes;
    }

    fn take_to_memory(
        &mut self,
        memory: &platform::MemoryFile,
        offset: u64,
        len: usize,
    ) -> Result<usize, Errno> {
        let n = self.inner.take_to_memory(memory, offset, len.min(self.left))?;
        self.left -= n;
        Ok(n)
    }

    fn take_to_host(
        &mut self,
        fd: std::os::fd::BorrowedFd<'_>,
        offset: Option<u64>,
        len: usize,
    ) -> Result<usize, Errno> {
        let n = self.inner.take_to_host(fd, offset, len.min(self.left))?;
        self.left -= n;
        Ok(n)
    }
}
