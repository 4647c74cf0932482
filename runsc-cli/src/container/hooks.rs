//! Hooks of the specification that run on the host: with the container's state on standard input, in order, and stopped when
//! they take longer than they may. Where the specification leaves it open, they find what they find with runc: the bundle as
//! working directory and, unless they are given an environment, that of the runtime.
//!
//! Those of createContainer run in the container's namespaces: in those of its monitor, before Gofer and Sentry are started, so
//! that what they mount below the root is seen in the container.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::Hook;

use super::state_file::Saved;

/// Why a hook counts as failed.
#[derive(Debug, thiserror::Error)]
#[error("error running {kind} hook #{number}: {why}; correct or remove {path}")]
pub struct HookError {
    kind: &'static str,
    number: usize,
    path: String,
    why: String,
}

/// The state as hooks get it.
pub fn state(saved: &Saved, pid: i32, status: &str) -> String {
    let mut state = serde_json::json!({
        "ociVersion": saved.oci_version,
        "id": saved.id,
        "status": status,
        "bundle": saved.bundle,
        "annotations": saved.annotations,
    });
    // Of one that has stopped there is none.
    if pid != 0 {
        state["pid"] = pid.into();
    }
    state.to_string()
}

/// What hooks find.
#[derive(Clone, Debug)]
pub struct Place {
    /// Their working directory.
    pub dir: PathBuf,
    /// The environment of those that are given none; without one that of this process.
    pub env: Option<Vec<String>>,
}

impl Place {
    /// That of hooks in the runtime's namespaces. A bundle that is gone is no reason for an error.
    pub fn of_runtime(bundle: &Path) -> Place {
        let dir = if bundle.is_dir() { bundle } else { Path::new("/") };
        Place { dir: dir.to_owned(), env: None }
    }
}

/// The createContainer hooks of a container, for its monitor.
#[derive(Clone, Debug)]
pub struct InContainer {
    /// The hooks.
    pub hooks: Vec<Hook>,
    /// What they find.
    pub place: Place,
    /// The container.
    pub saved: Saved,
}

impl InContainer {
    /// Runs them; this process stands for the container.
    pub fn run(&self) -> Result<(), HookError> {
        let state = state(&self.saved, std::process::id() as i32, "creating");
        run("createContainer", &self.hooks, &state, &self.place)
    }
}

/// Runs hooks of one kind; the first that fails ends it.
pub fn run(kind: &'static str, hooks: &[Hook], state: &str, place: &Place) -> Result<(), HookError> {
    for (number, hook) in hooks.iter().enumerate() {
        run_one(hook, state, place).map_err(|why| HookError {
            kind,
            number,
            path: hook.path().display().to_string(),
            why,
        })?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &str, place: &Place) -> Result<(), String> {
    let mut command = Command::new(hook.path());
    if let Some((name, args)) = hook.args().as_deref().and_then(<[String]>::split_first) {
        command.arg0(name).args(args);
    }
    command.current_dir(&place.dir);
    if let Some(env) = hook.env().as_ref().or(place.env.as_ref()) {
        command.env_clear();
        command.envs(env.iter().map(|entry| entry.split_once('=').unwrap_or((entry, ""))));
    }
    // A group of its own, so that what it started ends with it.
    command.process_group(0);
    let error = tempfile().map_err(|error| format!("a file for its output: {error}"))?;
    let for_child = error.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(for_child);
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", hook.path().display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // An error: it does not want to know. The state fits into a pipe, unless annotations are very long.
        let _ = stdin.write_all(state.as_bytes());
    }
    let deadline =
        hook.timeout().filter(|s| *s > 0).map(|s| Instant::now() + Duration::from_secs(s.unsigned_abs()));
    let mut pause = Duration::from_micros(200);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("{status}{}", said(error))),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            // Errors: it has just ended.
            let _ = host::signal::kill(-(child.id() as i32), libc::SIGKILL);
            let _ = child.wait();
            return Err(format!("took longer than its time-out of {} s", hook.timeout().unwrap_or(0)));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn tempfile() -> std::io::Result<std::fs::File> {
    Ok(rustix::fs::memfd_create("hook", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

/// What a hook wrote to standard error, in one line.
fn said(mut file: std::fs::File) -> String {
    use std::io::{Read, Seek};
    let mut text = Vec::new();
    let read = file.rewind().and_then(|()| file.take(4096).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text).trim().replace('\n', " ");
    if read.is_ok() && !text.is_empty() { format!(", stderr: {text}") } else { String::new() }
}
