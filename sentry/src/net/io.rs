//! Calls on sockets that wait.
//!
//! A time-out (SO_RCVTIMEO, SO_SNDTIMEO) ends a wait with EAGAIN; and a call that has one is not done again after a
//! signal, it answers EINTR.

use std::sync::Arc;
use std::time::{Duration, Instant};

use abi::Errno;
use abi::poll::PollEvents;
use abi::signal::Signal;
use abi::socket::MsgFlags;

use super::actor::Actor;
use super::message::{Received, SendMessage};
use super::socket::{Connected, Socket, SocketKind};
use crate::error::{Restart, SysError, SysResult};
use crate::mm::{UserSink, UserSlice, UserSource};
use crate::task::io::{Broken, Patience};
use crate::task::{CurrentTask, WaitEnd};
use crate::vfs::File;
use crate::vfs::io::{IoSink, IoSource};

const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM).union(PollEvents::RDHUP);
const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);

/// The socket that a file is: ENOTSOCK.
pub fn of_file(file: &File) -> Result<&Socket, Errno> {
    file.downcast::<Socket>().ok_or(Errno::ENOTSOCK)
}

fn flags_of(patience: Patience) -> MsgFlags {
    match patience {
        Patience::AsFile => MsgFlags::empty(),
        Patience::None => MsgFlags::DONTWAIT,
    }
}

fn waits(file: &File, flags: MsgFlags) -> bool {
    !flags.contains(MsgFlags::DONTWAIT) && !file.nonblocking()
}

fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(timeout?)
}

/// How a wait that gave nothing ends the call.
fn ended(end: WaitEnd, timeout: Option<Duration>) -> SysError {
    match (end, timeout) {
        (WaitEnd::TimedOut, _) => Errno::EAGAIN.into(),
        (WaitEnd::Interrupted, Some(_)) => Errno::EINTR.into(),
        (WaitEnd::Interrupted, None) => SysError::Restart(Restart::Sys),
    }
}

impl CurrentTask {
    /// Receives into guest memory; what came with the bytes goes to `got`. The slices have been checked.
    pub fn receive(
        &mut self,
        file: &Arc<File>,
        slices: &[UserSlice],
        mut flags: MsgFlags,
        got: &mut Received,
    ) -> SysResult<usize> {
        let ops = of_file(file)?.ops();
        let mm = Arc::clone(self.mm());
        let mut sink = UserSink::new(&mm, slices);
        let total = sink.remaining();
        let may_wait = waits(file, flags);
        flags.set(MsgFlags::DONTWAIT, !may_wait);
        let target =
            if flags.contains(MsgFlags::WAITALL) { total } else { ops.options().low_water().min(total) };
        let stream = ops.kind() == SocketKind::Stream;
        let mut done = 0;
        let mut step = || match ops.receive(&mut sink, flags, got) {
            Err(Errno::EAGAIN) => None,
            Ok(n) => {
                done += n;
                let enough = !stream || n == 0 || done >= target || got.complete;
                (enough || flags.contains(MsgFlags::PEEK)).then_some(Ok(done))
            }
            Err(_) if done > 0 => Some(Ok(done)),
            Err(errno) => Some(Err(errno)),
        };
        if let Some(result) = step() {
            return Ok(result?);
        }
        if !may_wait {
            return if done > 0 { Ok(done) } else { Err(Errno::EAGAIN.into()) };
        }
        let timeout = ops.options().receive_timeout();
        match self.wait_for_file(file, READABLE, deadline(timeout), |_| step()) {
            Ok(result) => Ok(result?),
            Err(_) if done > 0 => Ok(done),
            Err(end) => Err(ended(end, timeout)),
        }
    }

    /// Sends guest memory. The slices have been checked.
    pub fn send(
        &mut self,
        file: &Arc<File>,
        slices: &[UserSlice],
        flags: MsgFlags,
        message: &mut SendMessage<'_>,
    ) -> SysResult<usize> {
        let ops = of_file(file)?.ops();
        message.out_of_band = flags.contains(MsgFlags::OOB);
        let mm = Arc::clone(self.mm());
        let mut source = UserSource::new(&mm, slices);
        let stream = ops.kind() == SocketKind::Stream;
        let mut done = 0;
        let mut step = |task: &mut CurrentTask| match ops.send(Some(&Actor::of(task)), &mut source, message) {
            Err(Errno::EAGAIN) => None,
            Ok(n) => {
                done += n;
                (!stream || source.remaining() == 0).then_some(Ok(done))
            }
            Err(_) if done > 0 => Some(Ok(done)),
            Err(errno) => Some(Err(errno)),
        };
        let result = match step(self) {
            Some(result) => result,
            None if !waits(file, flags) => {
                if done > 0 {
                    Ok(done)
                } else {
                    Err(Errno::EAGAIN)
                }
            }
            None => {
                let timeout = ops.options().send_timeout();
                match self.wait_for_file(file, WRITABLE, deadline(timeout), &mut step) {
                    Ok(result) => result,
                    Err(_) if done > 0 => Ok(done),
                    Err(end) => return Err(ended(end, timeout)),
                }
            }
        };
        if result == Err(Errno::EPIPE) && stream && !flags.contains(MsgFlags::NOSIGNAL) {
            self.signal_self(Signal::SIGPIPE);
        }
        Ok(result?)
    }

    /// read(2) of a socket. Unlike recv(2), of no bytes it waits for nothing.
    pub(crate) fn read_socket(
        &mut self,
        file: &Arc<File>,
        slices: &[UserSlice],
        patience: Patience,
    ) -> SysResult<usize> {
        if slices.iter().all(|slice| slice.len == 0) {
            return Ok(0);
        }
        self.receive(file, slices, flags_of(patience), &mut Received::default())
    }

    /// write(2) of a socket.
    pub(crate) fn write_socket(
        &mut self,
        file: &Arc<File>,
        slices: &[UserSlice],
        patience: Patience,
        broken: Broken,
    ) -> SysResult<usize> {
        let mut flags = flags_of(patience);
        flags.set(MsgFlags::NOSIGNAL, broken == Broken::Quiet);
        self.send(file, slices, flags, &mut SendMessage::default())
    }

    /// connect(2)
    pub fn connect(&mut self, file: &Arc<File>, address: &[u8]) -> SysResult<()> {
        let ops = of_file(file)?.ops();
        let waits = !file.nonblocking();
        let step = |task: &mut CurrentTask| match ops.connect(&Actor::of(task), address, waits) {
            Ok(Connected::Yes) => Some(Ok(())),
            Ok(Connected::Busy) => None,
            Err(errno) => Some(Err(errno)),
        };
        if let Some(result) = step(self) {
            return Ok(result?);
        }
        if !waits {
            return Err(Errno::EAGAIN.into());
        }
        let timeout = ops.options().send_timeout();
        match self.wait_for_file(file, WRITABLE, deadline(timeout), step) {
            Ok(result) => Ok(result?),
            Err(end) => Err(ended(end, timeout)),
        }
    }

    /// accept(2): the next connection. Of several that wait one is woken for each.
    pub fn accept(&mut self, file: &Arc<File>) -> SysResult<Socket> {
        let ops = of_file(file)?.ops();
        match ops.accept() {
            Err(Errno::EAGAIN) if !file.nonblocking() => {}
            result => return Ok(result?),
        }
        let timeout = ops.options().receive_timeout();
        let deadline = deadline(timeout);
        let key = ops.wait_queue().register_exclusive(READABLE, self.waker());
        let result = loop {
            match ops.accept() {
                Err(Errno::EAGAIN) => {}
                result => break result.map_err(SysError::from),
            }
            if let Err(end) = self.park(deadline) {
                break ops.accept().map_err(|errno| match errno {
                    Errno::EAGAIN => ended(end, timeout),
                    other => other.into(),
                });
            }
        };
        ops.wait_queue().unregister(key);
        // This wait may have used up a wake-up that it did nothing with.
        if ops.poll().contains(PollEvents::IN) {
            ops.wait_queue().notify(READABLE);
        }
        result
    }
}
