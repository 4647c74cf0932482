//! Runs many cases in one process (natively) or one sandbox, and finds out which one took it down if it dies.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::parallel;
use crate::place::Place;
use crate::volumes::{self, Volumes};

/// Cases in one sandbox.
const BATCH: usize = 24;
/// Batches at a time.
const WORKERS: usize = 3;
/// The runner ends a case after 15 seconds; with nothing for longer than this it is dead itself.
const SILENCE: Duration = Duration::from_secs(30);

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Pass,
    /// Otherwise.
    Fail,
    /// The host or the place can't run it; it says why.
    Skip,
}

impl Outcome {
    /// The word in results.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Skip => "skip",
        }
    }

    fn from_word(word: &str) -> Option<Outcome> {
        [Outcome::Pass, Outcome::Fail, Outcome::Skip].into_iter().find(|o| o.word() == word)
    }
}

/// What became of one case.
#[derive(Clone, Debug)]
pub struct Report {
    /// The case.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What it printed, and what the harness has to say.
    pub output: String,
}

/// Runs the cases at a place; reports come in the order of `names`. With `isolated` each has a sandbox to itself.
pub fn run(place: &Place, program: &Path, names: &[String], isolated: bool) -> Vec<Report> {
    let size = if isolated { 1 } else { BATCH };
    let (on_layer, others): (Vec<String>, Vec<String>) =
        names.iter().cloned().partition(|name| volumes::wants_layer(name));
    // Sandboxes of their own, as the root of all cases in one is the same.
    let chunks: Vec<&[String]> = others.chunks(size).chain(on_layer.chunks(size)).collect();
    let reports = parallel::map(WORKERS, chunks.into_iter(), |chunk| run_chunk(place, program, chunk));
    let mut reports = reports.concat();
    reports.sort_by_key(|r: &Report| names.iter().position(|n| *n == r.name));
    reports
}

/// One batch; what is missing after its end runs again, each alone.
fn run_chunk(place: &Place, program: &Path, names: &[String]) -> Vec<Report> {
    let (mut reports, trouble) = match run_process(place, program, names) {
        Ok(done) => done,
        Err(e) => (Vec::new(), Some(format!("{e:#}"))),
    };
    let Some(trouble) = trouble else { return reports };
    let missing: Vec<String> =
        names.iter().filter(|n| !reports.iter().any(|r| r.name == **n)).cloned().collect();
    match (missing.first(), names.len()) {
        // The last case of the batch took the sandbox along after it had been reported.
        (None, _) => {
            if let Some(last) = reports.last_mut() {
                last.outcome = Outcome::Fail;
                last.output.push_str(&format!("after the end of this case or its batch: {trouble}\n"));
            }
        }
        (Some(name), 1) => {
            reports.push(Report {
                name: name.clone(),
                outcome: Outcome::Fail,
                output: format!("{trouble}\n"),
            });
        }
        (Some(_), _) => {
            for name in missing {
                reports.extend(run_chunk(place, program, std::slice::from_ref(&name)));
            }
        }
    }
    reports
}

/// One process; gives the reports that came and what went wrong beside them.
fn run_process(place: &Place, program: &Path, names: &[String]) -> Result<(Vec<Report>, Option<String>)> {
    let volumes = Volumes::new().context("can't make the volumes in /var/tmp")?;
    let flags = match names.first().is_some_and(|name| volumes::wants_layer(name)) {
        true => volumes.layer_flags(),
        false => volumes.flags(),
    };
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut command = place.command_with(&flags, program);
    command.env(volumes::VARIABLE, volumes.top());
    command.arg("run").args(names).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0);
    let mut child = command.spawn().with_context(|| format!("can't start {command:?}"))?;
    let (sender, receiver) = channel();
    let stdout = child.stdout.take().context("stdout is a pipe")?;
    let stderr = child.stderr.take().context("stderr is a pipe")?;
    let reader = std::thread::spawn(move || read_reports(stdout, &sender));
    let listener = std::thread::spawn(move || {
        let mut said = Vec::new();
        let _ = BufReader::new(stderr).read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let mut reports = Vec::new();
    let mut trouble = None;
    loop {
        match receiver.recv_timeout(SILENCE) {
            Ok(report) => reports.push(report),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                trouble = Some(format!("nothing came for {} seconds", SILENCE.as_secs()));
                kill_group(&child);
                break;
            }
        }
    }
    let status = wait_or_kill(&mut child, Duration::from_secs(10))?;
    // Should a process have escaped the group, the pipes stay open: the readers are left to themselves then.
    let said = if trouble.is_none() { listener.join().unwrap_or_default() } else { String::new() };
    if trouble.is_none() {
        let _ = reader.join();
        trouble = match status {
            None => {
                Some("all cases were reported, but the process did not end within 10 seconds".to_string())
            }
            Some(status) if !matches!(status.code(), Some(0 | 1)) || reports.len() < names.len() => {
                Some(format!("the process ended with {status}; stderr: {}", said.trim()))
            }
            Some(_) => None,
        };
    }
    Ok((reports, trouble))
}

fn read_reports(stdout: ChildStdout, sender: &Sender<Report>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        if stdout.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let Some(fields) = text.trim_end().strip_prefix("\x1ecase ") else { continue };
        let fields: Vec<&str> = fields.split(' ').collect();
        let &[name, word, _micros, length] = fields.as_slice() else { continue };
        let (Some(outcome), Ok(length)) = (Outcome::from_word(word), length.parse::<u64>()) else { continue };
        let mut output = Vec::new();
        let _ = stdout.by_ref().take(length).read_to_end(&mut output);
        let output = String::from_utf8_lossy(&output).into_owned();
        if sender.send(Report { name: name.to_string(), outcome, output }).is_err() {
            return;
        }
    }
}

fn kill_group(child: &Child) {
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
}

/// Waits; after the time limit kills it (and its group, if it leads one) and gives `None`.
pub fn wait_or_kill(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().context("can't wait")? {
            return Ok(Some(status));
        }
        if Instant::now() > end {
            kill_group(child);
            let _ = child.kill();
            child.wait().context("can't wait")?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
