//! Hooks that run in a container just before its process (startContainer of the specification).

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use abi::open::OpenFlags;
use abi::signal::{SI_USER, SigInfo, Signal};
use anyhow::{anyhow, bail};
use host::process::Status;
use sentry::KernelEvent;
use sentry::task::{Credentials, Place};
use sentry::vfs::io::BufSource;
use sentry::vfs::{FdTable, FsContext, OnExec};

use super::{Entry, Pod};
use crate::config::{Process, StartHook, User};
use crate::sandbox::kernel;
use crate::sandbox::program::{self, Surroundings};

impl Pod {
    pub(super) fn run_start_hooks(&self, entry: &Arc<Entry>) -> anyhow::Result<()> {
        for hook in &entry.config.start_hooks {
            self.run_start_hook(entry, hook)
                .map_err(|error| anyhow!("startContainer hook {}: {error:#}", hook.path.display()))?;
        }
        Ok(())
    }

    fn run_start_hook(&self, entry: &Arc<Entry>, hook: &StartHook) -> anyhow::Result<()> {
        let mut args = hook.args.clone();
        match args.first_mut() {
            Some(name) => *name = hook.path.clone(),
            None => args.push(hook.path.clone()),
        }
        let process = Process {
            args,
            env: hook.env.clone(),
            user: User { uid: 0, gid: 0, groups: Vec::new() },
            capabilities: entry.config.process.capabilities,
            seccomp: None,
            ..entry.config.process.clone()
        };
        let creds = self.root();
        let fs = FsContext::new(entry.namespaces.mount.root(), 0o022);
        kernel::enter_directory(&self.kernel, &fs, &creds, &process.cwd)?;
        let (ended, end) = channel();
        let surroundings = Surroundings {
            files: self.state_on_stdin(hook, &creds)?,
            creds,
            fs,
            namespaces: entry.namespaces.clone(),
            tty: None,
            pid: None,
            container: Arc::clone(&entry.tag),
            cgroups: Vec::new(),
            place: Place::Beside,
            watcher: Box::new(move |event| {
                if let KernelEvent::Exited(status) = event {
                    // An error: the time is over, and nobody waits any more.
                    let _ = ended.send(status);
                }
            }),
        };
        let group = program::start(&self.kernel, &process, surroundings)
            .map_err(|not_started| anyhow!(not_started.text()))?;
        let status = match hook.timeout_ms {
            None => end.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(ms) => end.recv_timeout(Duration::from_millis(ms)),
        };
        match status.map(Status::from_wait) {
            Ok(Status::Exited(0)) => Ok(()),
            Ok(status) => bail!("exit status {}", status.shell_code()),
            Err(_) => {
                let info = SigInfo::kill(Signal::SIGKILL, SI_USER, 0, 0);
                let _ = sentry::signal::send_to_group(&group, Signal::SIGKILL, info);
                bail!("took longer than its time-out of {} ms", hook.timeout_ms.unwrap_or(0))
            }
        }
    }

    /// A table of files with the state at standard input. It fits into a pipe, or is cut off there.
    fn state_on_stdin(&self, hook: &StartHook, creds: &Arc<Credentials>) -> anyhow::Result<Arc<FdTable>> {
        let (read, write) = self.kernel.internal.pipe(OpenFlags::empty(), creds);
        write.ops().write(&write, &mut BufSource::new(hook.state.as_bytes()), &mut 0)?;
        drop(write);
        let files = FdTable::new();
        files.add(read, u64::MAX, OnExec::Keep)?;
        Ok(files)
    }
}
