//! Runs a program with a time limit and takes what it printed.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// The longest that one command may take, on a machine where much else runs.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How a program ended and what it printed.
#[derive(Debug)]
pub struct Output {
    /// The exit status, or 128 + the signal.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    what: String,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} gave {}\nstdout: {}\nstderr: {}", self.what, self.status, self.stdout, self.stderr)
    }
}

impl Output {
    /// Itself, if the program ended with this status.
    pub fn status(self, wanted: i32) -> Result<Output> {
        ensure!(self.status == wanted, "wanted status {wanted}: {self}");
        Ok(self)
    }

    /// What it printed on standard output, without the white space around it; an error if it failed.
    pub fn text(self) -> Result<String> {
        Ok(self.status(0)?.stdout.trim().to_owned())
    }

    /// An error unless it printed exactly this on standard output (white space around it aside).
    pub fn prints(self, wanted: &str) -> Result<Output> {
        ensure!(self.stdout.trim() == wanted, "wanted the output {wanted:?}: {self}");
        Ok(self)
    }
}

/// Runs a command to its end. What it prints goes to files, since programs that it leaves behind may keep a pipe open.
pub fn run(command: &mut Command, input: &str) -> Result<Output> {
    let what = format!("{command:?}");
    let mut stdin = tempfile::tempfile()?;
    stdin.write_all(input.as_bytes())?;
    stdin.seek(SeekFrom::Start(0))?;
    let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut child = command.spawn().with_context(|| format!("can't start {what}"))?;
    let status = wait(&mut child, LIMIT)?;
    let (stdout, stderr) = (read(stdout)?, read(stderr)?);
    let Some(status) = status else {
        bail!("{what} had no end after {LIMIT:?}\nstdout: {stdout}\nstderr: {stderr}");
    };
    Ok(Output { status: code(status), stdout, stderr, what })
}

/// The exit status as a shell tells it.
pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Waits for a child; kills it and gives `None` when it takes longer than that.
pub fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read(mut file: File) -> Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks again and again until the answer is yes.
pub fn eventually(what: &str, ready: impl FnMut() -> Result<bool>) -> Result<()> {
    eventually_within(LIMIT, what, ready)
}

/// The same for what takes its time.
pub fn eventually_within(limit: Duration, what: &str, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !ready()? {
        ensure!(begun.elapsed() < limit, "{what}: not so after {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A program that runs until this is dropped.
pub struct Background(Child);

impl Background {
    pub fn start(command: &mut Command, log: &std::path::Path) -> Result<Background> {
        let file = File::create(log).with_context(|| format!("can't make {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Background(command.spawn().with_context(|| format!("can't start {command:?}"))?))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        if !matches!(wait(&mut self.0, Duration::from_secs(20)), Ok(Some(_))) {
            eprintln!("engines: process {} did not end when it was asked to; killed", self.0.id());
        }
    }
}
