//! Commands that end: by themselves, or because their time is over.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// What one measurement may take.
const LIMIT: Duration = Duration::from_secs(150);

/// Starts a command as a process group of its own.
pub fn spawn(command: &mut Command) -> Result<Child> {
    command.process_group(0).spawn().with_context(|| format!("can't start {:?}", command.get_program()))
}

/// Kills it with its process group, and waits for it.
pub fn kill(mut child: Child) {
    // An error means that it is gone.
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    let _ = child.wait();
}

/// Runs a command to its end, and gives what it wrote. One that fails is an error.
pub fn output(command: &mut Command) -> Result<Output> {
    let child = spawn(command)?;
    let group = Pid::from_raw(child.id() as i32);
    let (done, wait) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = wait.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            let _ = killpg(group, Signal::SIGKILL);
        }
        late
    });
    let output = child.wait_with_output();
    drop(done);
    if watch.join().unwrap_or(false) {
        bail!("not done after {} s", LIMIT.as_secs());
    }
    let output = output?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{}; {}", output.status, text.lines().last().unwrap_or("it said nothing"));
    }
    Ok(output)
}
