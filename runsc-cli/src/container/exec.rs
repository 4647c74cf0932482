//! One more process in a container.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, bail};
use host::namespace::Namespaces;
use host::process::Child;

use super::create::{created, write_pid};
use super::descriptors::Descriptors;
use super::monitor::{self, End, Go, Job, Plan};
use super::namespaces::Network;
use super::notes::{Note, NotePlace};
use super::state_file::{self, HostProcess};
use super::status::{Status, status};
use super::store::Store;
use super::{Settings, console};
use crate::config::{self, Text};
use crate::report;
use crate::sandbox::control::{Exec, SubCgroup};
use crate::sandbox::{streams, user};
use crate::spec;

/// What is to run.
#[derive(Debug, Default)]
pub struct Wanted {
    /// The container.
    pub id: String,
    /// The specification of the process; the container's own, changed by what follows, without one.
    pub process: Option<PathBuf>,
    /// Name and arguments.
    pub args: Vec<String>,
    /// Working directory.
    pub cwd: Option<PathBuf>,
    /// `NAME=value` strings, added.
    pub env: Vec<String>,
    /// User and group.
    pub user: Option<String>,
    /// Groups, added.
    pub groups: Vec<u32>,
    /// Capabilities, added.
    pub capabilities: Vec<String>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Where the monitor's pid is written.
    pub pid_file: Option<PathBuf>,
    /// Where the master of its terminal is sent.
    pub console_socket: Option<PathBuf>,
    /// Whether the command stays.
    pub attached: bool,
    /// What to do in a paused container.
    pub ignore_paused: bool,
    /// Its cgroups, of those that the container has made.
    pub cgroups: Vec<SubCgroup>,
    /// What the command was started with besides standard streams.
    pub descriptors: Descriptors,
}

/// Starts it; its monitor, a child of this process, and the master of its terminal for a command that stays.
pub fn exec(settings: &Settings, wanted: Wanted) -> anyhow::Result<(Child, Option<OwnedFd>)> {
    let store = Store::new(&settings.root);
    let (dir, saved) = store.load(&wanted.id)?;
    match status(&store, &saved) {
        Status::Running | Status::Created => {}
        Status::Paused if wanted.ignore_paused => {}
        Status::Paused => bail!("cannot exec in a paused container (use --ignore-paused to override)"),
        Status::Stopped => bail!("cannot exec in a stopped container; delete it and create it anew"),
        Status::Creating => bail!("cannot exec in a container that is being created; wait for that"),
    }
    let path = dir.join(state_file::CONFIG);
    let (spec, _) = spec::parse(&path, &spec::read(&path)?)?;
    let linux = spec.linux().as_ref();
    let filter = linux.and_then(|linux| linux.seccomp().as_ref());
    let mut notes = Vec::new();
    let (process, terminal, size) = match &wanted.process {
        Some(path) => {
            let (process, mut found) = spec::parse_process(path)?;
            notes.append(&mut found);
            let size = process.console_size();
            let terminal = process.terminal().unwrap_or(false) || wanted.terminal;
            (spec::process::convert(&process, filter, &saved.rootfs, &mut notes)?, terminal, size)
        }
        None => {
            let Some(process) = spec.process() else {
                bail!("the container has no process; please report this")
            };
            let mut process = spec::process::convert(process, filter, &saved.rootfs, &mut notes)?;
            change(&mut process, &wanted, &saved.rootfs, &mut notes)?;
            (process, wanted.terminal, None)
        }
    };
    spec::process::check_env(&process.env)?;
    for note in notes {
        report::warn(&note);
    }
    if wanted.console_socket.is_some() && !terminal {
        bail!(
            "cannot use console socket if runc will not detach or allocate tty; give --tty too, or leave it out"
        );
    }
    if terminal && !wanted.attached && wanted.console_socket.is_none() {
        bail!(
            "cannot allocate tty if runc will detach without setting console socket; give --console-socket"
        );
    }
    let program = process.args.first().map(|name| name.display().into_owned()).unwrap_or_default();
    let size = size.map(|size| (size.height() as u16, size.width() as u16));
    let console =
        terminal.then(|| console::open(size, process.user.uid)).transpose().context("a terminal")?;
    let Descriptors { passed, others: mut not_kept, .. } = wanted.descriptors;
    let passed = streams::passed(passed)?;
    let (mut master, mut slave) = (None, None);
    if let Some(console) = console {
        match &wanted.console_socket {
            Some(path) => console::send(path, &console).with_context(|| {
                format!("console socket {}; the engine has to listen there", path.display())
            })?,
            None => not_kept.push(console.master.as_raw_fd()),
        }
        slave = Some(console.slave);
        master = wanted.console_socket.is_none().then_some(console.master);
    }
    let (stdio, session) = match slave {
        Some(slave) => (streams::of_terminal(&slave)?, Some(slave)),
        None => (streams::for_sandbox()?, None),
    };
    let seen = stdio.each_ref().map(|stream| stream.seen);
    let job = Job::Exec {
        exec: Box::new(Exec {
            process,
            streams: seen,
            passed: passed.iter().map(|stream| stream.seen).collect(),
            cgroups: wanted.cgroups,
        }),
        container: wanted.id.clone(),
        ignore_paused: wanted.ignore_paused,
        sandbox: store.dir(&saved.sandbox)?,
    };
    // Until its monitor is noted, the container can't be deleted.
    let locked = store.lock_shared(&wanted.id)?;
    let noted = |error| super::disk(&dir, "noting a process")(error);
    let note = NotePlace::new(&dir).map_err(noted)?;
    let place = note.try_clone().map_err(noted)?;
    let plan = Plan {
        job,
        stdio,
        passed,
        store: None,
        terminal: session,
        cgroup: saved.cgroup.clone(),
        network: Network::Host,
        hooks: None,
        own_namespaces: Namespaces::empty(),
        view: None,
        lock: locked.number(),
        log: None,
        started_ns: config::monotonic_ns(),
        not_kept,
    };
    let (monitor, line) = monitor::start(plan, End::Forgotten(note)).context("starting the monitor")?;
    if let Some(process) = HostProcess::of(monitor.pid()) {
        place.write(&Note { process, leads_group: false }).map_err(noted)?;
    }
    // An error: it has ended, and says why.
    let _ = line.send(&Go::Begin);
    drop(locked);
    if let Err(error) = created(&line, &program) {
        // It ends by itself.
        let _ = monitor.wait();
        return Err(error);
    }
    if let Some(path) = &wanted.pid_file {
        write_pid(path, monitor.pid())?;
    }
    line.send(&Go::Stay)?;
    Ok((monitor, master))
}

/// Makes of the container's process the one that is wanted.
fn change(
    process: &mut config::Process,
    wanted: &Wanted,
    rootfs: &std::path::Path,
    notes: &mut Vec<String>,
) -> anyhow::Result<()> {
    if wanted.args.is_empty() {
        bail!("process args cannot be empty; name a program");
    }
    process.args = wanted.args.iter().cloned().map(Text::Utf8).collect();
    if let Some(cwd) = &wanted.cwd {
        if !cwd.is_absolute() {
            bail!("--cwd {}: no absolute path; give one that begins with /", cwd.display());
        }
        process.cwd = cwd.clone().into();
    }
    if let Some(name) = &wanted.user {
        let groups = std::mem::take(&mut process.user.groups);
        process.user = user::find(Some(name), rootfs)?;
        process.user.groups.extend(groups);
        let home = user::home(process.user.uid, rootfs).unwrap_or_else(|| "/".to_owned());
        process.env.retain(|entry| !entry.as_bytes().starts_with(b"HOME="));
        process.env.push(Text::Utf8(format!("HOME={home}")));
    }
    process.user.groups.extend(&wanted.groups);
    for entry in &wanted.env {
        let name = entry.split('=').next().unwrap_or_default();
        let same = |old: &Text| old.as_bytes().split(|byte| *byte == b'=').next() == Some(name.as_bytes());
        process.env.retain(|old| !same(old));
        process.env.push(Text::Utf8(entry.clone()));
    }
    if let Some(sets) = &mut process.capabilities {
        for name in &wanted.capabilities {
            let bit = spec::process::bit(name);
            if bit == 0 {
                notes.push(format!("ignoring unknown capability {name}; see capabilities(7)"));
            }
            for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
                *set |= bit;
            }
        }
    }
    if wanted.no_new_privileges {
        process.no_new_privileges = true;
    }
    Ok(())
}
