//! Telling that a container's process is ready (sd_notify(3)): its NOTIFY_SOCKET is a socket of the sandbox's own, of which
//! nothing goes out but that it said READY=1.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use abi::Errno;
use anyhow::{Context, anyhow};
use sentry::net::Actor;
use sentry::net::unix::KernelEnd;
use sentry::task::Pid;
use sentry::vfs::resolve::{LookupFlags, lookup};
use sentry::vfs::{Caller, FsContext, MountFlags};

use super::{Entry, Pod};
use crate::config::NOTIFY_DIR;
use crate::sandbox::control::State;

/// Bytes of a message that are looked at.
const LOOKED_AT: usize = 4096;
/// Bytes of stack of the thread that listens.
const STACK: usize = 64 << 10;
/// How often it is seen whether the container has ended.
const PERIOD: Duration = Duration::from_millis(100);

impl Pod {
    /// Begins to listen, before the container's process runs.
    pub(super) fn listen_for_ready(&self, entry: &Arc<Entry>, pid: &Arc<Pid>) -> anyhow::Result<()> {
        let fs = FsContext::new(entry.namespaces.mount.root(), 0);
        let creds = self.root();
        let actor = Actor { pid, creds: &creds, vfs: &self.kernel.vfs, fs: &fs, task: None, fd_limit: 0 };
        let path = format!("{NOTIFY_DIR}/notify.sock");
        let end = KernelEnd::bind(&self.kernel.net, &actor, path.as_bytes());
        let end = end.map_err(|errno| anyhow!("{path}: {errno}; the container has to have a /run"))?;
        // Nobody takes it away from others in there.
        actor.with_caller(|caller: &Caller<'_>| {
            let dir = lookup(caller, &caller.roots.cwd, NOTIFY_DIR.as_bytes(), LookupFlags::FOLLOW)?;
            dir.mount.set_flags(dir.mount.flags() | MountFlags::RDONLY);
            Ok::<_, Errno>(())
        })?;
        let (ready, told) = channel();
        *entry.ready.lock() = Some(told);
        let thread = std::thread::Builder::new().name("notify".to_owned()).stack_size(STACK);
        thread.spawn(move || listen(&end, &ready)).context("a thread; see ulimit -u")?;
        Ok(())
    }

    /// Waits until it said that it is ready: false when it has ended before, or nobody listens.
    pub(super) fn await_ready(&self, entry: &Arc<Entry>) -> bool {
        let Some(told) = entry.ready.lock().take() else { return false };
        wait(&told, || entry.state() == State::Stopped)
    }
}

fn wait(told: &Receiver<()>, has_ended: impl Fn() -> bool) -> bool {
    loop {
        match told.recv_timeout(PERIOD) {
            Ok(()) => return true,
            Err(RecvTimeoutError::Timeout) if !has_ended() => {}
            Err(_) => return false,
        }
    }
}

/// Takes messages until one says READY=1. All others are for a service manager, which a container has none of.
fn listen(end: &KernelEnd, ready: &Sender<()>) {
    let mut bytes = vec![0; LOOKED_AT];
    while let Ok(count) = end.receive(&mut bytes) {
        if bytes[..count].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            // An error: nobody waits for that any more.
            let _ = ready.send(());
            return;
        }
    }
}
