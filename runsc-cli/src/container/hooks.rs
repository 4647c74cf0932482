//! Hooks of the specification that run on the host: with the container's state on standard input, in order, and stopped when
//! they take longer than they may. Where the specification leaves it open, they find what they find with runc: the bundle as
//! working directory and, unless they are given an environment, that of the runtime.
//!
//! Those of createContainer run in the container's namespaces: in those of its monitor, before Gofer and Sentry are started, so
//! that what they mount below the root is seen in the container.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::namespace::Namespaces;
use host::process::{Child, Status};
use host::signal::SignalSet;
use oci_spec::runtime::Hook;
use rustix::pipe::{PipeFlags, pipe_with};

use super::notes::{Note, NotePlace};
use super::state_file::{HostProcess, Saved};

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
    /// The directory of the container, in which each is noted while it runs.
    pub container: PathBuf,
}

impl Place {
    /// That of hooks in the runtime's namespaces. A bundle that is gone is no reason for an error.
    pub fn of_runtime(bundle: &Path, container: &Path) -> Place {
        let dir = if bundle.is_dir() { bundle } else { Path::new("/") };
        Place { dir: dir.to_owned(), env: None, container: container.to_owned() }
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
    let prepare = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let output = tempfile().map_err(prepare("a file for its output"))?;
    let note = NotePlace::new(&place.container).map_err(prepare("a note of it"))?;
    let (stdin, state_end) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| error.to_string())?;
    let (gate, opener) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| error.to_string())?;
    let opener_number = opener.as_raw_fd();
    let child = host::process::fork(Namespaces::empty(), || {
        // With it open here, the end of the other side would not be seen. An error: it is not open.
        let _ = host::process::close_range(opener_number, opener_number);
        let error = become_hook(hook, place, &stdin, &output, &gate);
        // An error: nobody reads it then.
        let _ = writeln!(&output, "{error}");
        NOT_EXECUTED
    })
    .map_err(prepare("starting it"))?;
    let process = HostProcess::of(child.pid());
    let noted = process.map_or(Ok(()), |process| note.write(&Note { process, leads_group: true }));
    if let Err(error) = noted {
        drop(opener);
        // An error: it has been collected.
        let _ = child.wait();
        return Err(format!("a note of it: {error}"));
    }
    let ran = attend(hook, state, &child, [opener, state_end], [gate, stdin]);
    note.remove();
    match ran? {
        Status::Exited(0) => Ok(()),
        Status::Exited(status) => Err(format!("exit status: {status}{}", said(output))),
        Status::Signaled(signal, _) => Err(format!("killed by signal {signal}{}", said(output))),
        other => Err(format!("{other:?}{}", said(output))),
    }
}

/// Lets a hook go, tells it the state, and waits for its end.
fn attend(
    hook: &Hook,
    state: &str,
    child: &Child,
    [opener, state_end]: [OwnedFd; 2],
    its_ends: [OwnedFd; 2],
) -> Result<Status, String> {
    drop(its_ends);
    // Errors: it has ended, or does not want to know. The state fits into a pipe, unless annotations are very long.
    let _ = rustix::io::write(&opener, b"!");
    let _ = File::from(state_end).write_all(state.as_bytes());
    let deadline =
        hook.timeout().filter(|s| *s > 0).map(|s| Instant::now() + Duration::from_secs(s.unsigned_abs()));
    let mut pause = Duration::from_micros(200);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            // Errors: it has just ended.
            let _ = host::signal::kill(-child.pid(), libc::SIGKILL);
            let _ = child.wait();
            return Err(format!("took longer than its time-out of {} s", hook.timeout().unwrap_or(0)));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Exit status of a hook that could not be executed, as a shell has it.
const NOT_EXECUTED: i32 = 127;

/// In a fork of this process: becomes the hook, once it is noted. Returns only with an error.
fn become_hook(hook: &Hook, place: &Place, stdin: &OwnedFd, output: &File, gate: &OwnedFd) -> io::Error {
    let prepared = (|| {
        // A group of its own, so that what it started ends with it.
        rustix::process::setpgid(None, None)?;
        rustix::stdio::dup2_stdin(stdin)?;
        rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
        rustix::stdio::dup2_stderr(output)?;
        host::signal::reset(libc::SIGPIPE)?;
        host::signal::set_mask(&SignalSet::empty())?;
        let text = |text: &[u8]| CString::new(text).map_err(io::Error::from);
        let path = hook.path().as_os_str().as_bytes();
        let args = match hook.args().as_deref() {
            Some(args @ [_, ..]) => args.iter().map(|arg| text(arg.as_bytes())).collect::<io::Result<_>>()?,
            _ => vec![text(path)?],
        };
        let env: io::Result<Vec<CString>> = match hook.env().as_ref().or(place.env.as_ref()) {
            Some(given) => given.iter().map(|entry| text(entry.as_bytes())).collect(),
            None => std::env::vars_os()
                .map(|(name, value)| text(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
                .collect(),
        };
        rustix::process::chdir(&place.dir)?;
        Ok::<_, io::Error>((args, env?))
    })();
    let (args, env) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return error,
    };
    match rustix::io::read(gate, &mut [0; 1]) {
        Ok(1) => host::process::exec(hook.path(), &args, &env),
        // Its maker is gone.
        _ => io::ErrorKind::UnexpectedEof.into(),
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
