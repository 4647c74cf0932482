//! Answering what is asked at the sandbox's socket.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use abi::signal::{SI_USER, SigInfo, Signal};
use anyhow::{anyhow, bail};
use rustix::net::SocketFlags;
use sentry::KernelEvent;
use sentry::signal::send_to_group;
use sentry::task::ThreadGroup;

use super::exec::Paused;
use super::start::AsksIfReady;
use super::{Entry, Pod};
use crate::sandbox::control::{Answer, AnsweringEnd, Ended, Request, State, Whom};
use crate::sandbox::kernel;

/// Bytes of stack of a thread that answers.
const STACK: usize = 256 << 10;

impl Pod {
    /// Takes connections for ever.
    pub(super) fn serve(self: &Arc<Self>, listener: &OwnedFd) -> std::io::Result<()> {
        loop {
            let connection = rustix::net::accept_with(listener, SocketFlags::CLOEXEC)?;
            let pod = Arc::clone(self);
            let answer = move || {
                if let Err(error) = pod.answer(AnsweringEnd::new(connection)) {
                    tracing::warn!("control socket: {error:#}");
                }
            };
            let thread = std::thread::Builder::new().name("asked".to_owned()).stack_size(STACK);
            if let Err(error) = thread.spawn(answer) {
                // The connection is closed: whoever asked sees that.
                tracing::error!("no thread to answer: {error}");
            }
        }
    }

    fn answer(self: &Arc<Self>, connection: AnsweringEnd) -> anyhow::Result<()> {
        let Some((request, fds)) = connection.receive_with()? else { return Ok(()) };
        tracing::debug!(?request, "asked");
        let starts = matches!(request, Request::Start { .. });
        let answer = match request {
            Request::Create => return self.create_asked(connection.into_other(), fds),
            Request::Exec { container, ignore_paused } => {
                let paused = if ignore_paused { Paused::Wait } else { Paused::Refuse };
                return self.exec_asked(&container, paused, connection.into_other(), fds);
            }
            Request::Profile { time_ms } => self.profile(Duration::from_millis(time_ms), &connection),
            other => self.act(other).unwrap_or_else(|error| Answer::Refused(format!("{error:#}"))),
        };
        connection.send_with(&answer, &[])?;
        if starts {
            std::thread::sleep(kernel::STARTED);
            host::memory::forget_code();
        }
        Ok(())
    }

    fn act(&self, request: Request) -> anyhow::Result<Answer> {
        match request {
            Request::Create | Request::Exec { .. } | Request::Profile { .. } => bail!("please report this"),
            Request::Start { container, notified } => {
                let asks = if notified { AsksIfReady::Yes } else { AsksIfReady::No };
                self.start(&self.find(&container)?, asks)?;
                Ok(Answer::Done)
            }
            Request::Ready { container } => Ok(Answer::Ready(self.await_ready(&self.find(&container)?))),
            Request::State { container } => Ok(Answer::State(self.find(&container)?.state())),
            Request::Signal { container, signal, to } => {
                self.signal(&self.find(&container)?, signal, to)?;
                Ok(Answer::Done)
            }
            Request::Freeze { container } => {
                let entry = self.find(&container)?;
                if entry.state() == State::Stopped {
                    bail!("container not running");
                }
                self.kernel.freeze(&entry.tag);
                Ok(Answer::Done)
            }
            Request::Thaw { container } => {
                let entry = self.find(&container)?;
                if !entry.tag.is_frozen() {
                    bail!("container not paused");
                }
                self.kernel.thaw(&entry.tag);
                Ok(Answer::Done)
            }
            Request::Processes { container } => {
                Ok(Answer::Processes(self.processes(&self.find(&container)?)))
            }
            Request::Stats { container } => Ok(Answer::Stats(self.stats(&self.find(&container)?))),
            Request::Wait { container, pid } => Ok(Answer::Ended(self.wait(&self.find(&container)?, pid)?)),
            Request::Limit { container, limits } => {
                super::limits::set(&self.find(&container)?.tag, &limits);
                Ok(Answer::Done)
            }
            Request::Remove { container } => {
                self.remove(&self.find(&container)?);
                Ok(Answer::Done)
            }
        }
    }

    fn signal(&self, entry: &Arc<Entry>, signal: i32, to: Whom) -> anyhow::Result<()> {
        if let (Whom::Pid(pid), 0) = (to, signal) {
            return self.process(entry, pid).map(drop);
        }
        let signal = Signal::new(signal.unsigned_abs()).ok_or_else(|| anyhow!("no signal {signal}"))?;
        let info = SigInfo::kill(signal, SI_USER, 0, 0);
        match to {
            Whom::Init | Whom::All if entry.end_unstarted(signal) => {}
            // Nobody is there to take another.
            Whom::Init if entry.is_unstarted() => {}
            Whom::Init => {
                let _ = send_to_group(&entry.init()?, signal, info);
            }
            Whom::All => self.kernel.signal_container(&entry.tag, signal),
            Whom::Pid(pid) => {
                let _ = send_to_group(&self.process(entry, pid)?, signal, info);
            }
        }
        Ok(())
    }

    fn process(&self, entry: &Arc<Entry>, pid: i32) -> anyhow::Result<Arc<ThreadGroup>> {
        let found = entry.namespaces.pid_for_children.thread_group(pid);
        let own = found.filter(|group| Arc::ptr_eq(&group.container, &entry.tag));
        own.ok_or_else(|| anyhow!("no process {pid} in the container; 'runsc ps' lists them"))
    }

    /// Waits for the end of a process.
    fn wait(&self, entry: &Arc<Entry>, pid: Option<i32>) -> anyhow::Result<Ended> {
        let group = match pid {
            Some(pid) => self.process(entry, pid)?,
            None => entry.init()?,
        };
        let (ended, end) = std::sync::mpsc::channel();
        let also = Box::new(move |event| {
            if let KernelEvent::Exited(status) = event {
                // An error: nobody waits any more.
                let _ = ended.send(kernel::ended(status));
            }
        });
        self.kernel.watch(&group, also);
        if group.pid.has_ended() {
            self.kernel.unwatch(&group);
            bail!("process has ended already");
        }
        Ok(end.recv()?)
    }
}
