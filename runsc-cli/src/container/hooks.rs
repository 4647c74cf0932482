//! Hooks of the specification that run on the host: with the container's state on standard input, in order, and stopped when
//! they take longer than they may.

use std::io::Write;
use std::os::unix::process::CommandExt;
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
    let state = serde_json::json!({
        "ociVersion": saved.oci_version,
        "id": saved.id,
        "status": status,
        "pid": pid,
        "bundle": saved.bundle,
        "annotations": saved.annotations,
    });
    state.to_string()
}

/// Runs hooks of one kind; the first that fails ends it.
pub fn run(kind: &'static str, hooks: &Option<Vec<Hook>>, state: &str) -> Result<(), HookError> {
    for (number, hook) in hooks.iter().flatten().enumerate() {
        run_one(hook, state).map_err(|why| HookError {
            kind,
            number,
            path: hook.path().display().to_string(),
            why,
        })?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &str) -> Result<(), String> {
    let mut command = Command::new(hook.path());
    if let Some((name, args)) = hook.args().as_deref().and_then(<[String]>::split_first) {
        command.arg0(name).args(args);
    }
    command.env_clear();
    for entry in hook.env().iter().flatten() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        command.env(name, value);
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
