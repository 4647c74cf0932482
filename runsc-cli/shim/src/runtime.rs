//! The OCI runtime's command line.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::MemfdFlags;

use crate::config::Config;
use crate::reaper::Reaper;
use crate::streams::Given;

/// So long the host has to end a process that was killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where states are kept, a folder a namespace of containerd.
const ROOT: &str = "/run/containerd/runsc";

/// The runtime, as one container's options say to call it.
#[derive(Clone)]
pub struct Runtime {
    config: Config,
    root: PathBuf,
    /// Where it writes its errors, in JSON.
    log: PathBuf,
    reaper: Arc<Reaper>,
}

impl Runtime {
    pub fn new(config: Config, namespace: &str, bundle: &Path, reaper: &Arc<Reaper>) -> Runtime {
        let root = config.root.clone().unwrap_or_else(|| PathBuf::from(ROOT)).join(namespace);
        Runtime { config, root, log: bundle.join("log.json"), reaper: Arc::clone(reaper) }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.config.program);
        command.arg("--root").arg(&self.root).arg("--log").arg(&self.log).args(["--log-format", "json"]);
        if self.config.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        command.args(&self.config.flags).args(words);
        command
    }

    /// Runs a command whose streams are those of a container's process. Its errors come by the log.
    fn run_with(&self, mut command: Command, streams: Given) -> Result<()> {
        // The log of what came before is not of interest.
        let before = std::fs::metadata(&self.log).map_or(0, |meta| meta.len());
        let Given { stdin, stdout, stderr } = streams;
        command.stdin(stdin).stdout(stdout).stderr(stderr);
        let exit = self
            .reaper
            .run(&mut command)
            .with_context(|| format!("can't start the runtime {}", self.config.program.display()))?;
        drop(command);
        if exit.status != 0 {
            let said = self.last_error(before);
            bail!(
                "{}",
                said.unwrap_or_else(|| format!(
                    "the runtime ended with status {} and said nothing",
                    exit.status
                ))
            );
        }
        Ok(())
    }

    /// Runs a command that tells something.
    fn ask(&self, words: &[&str], input: &[u8]) -> Result<String> {
        let mut stdin = memory_file()?;
        stdin.write_all(input)?;
        stdin.seek(SeekFrom::Start(0))?;
        let output = memory_file()?;
        let errors = memory_file()?;
        let before = std::fs::metadata(&self.log).map_or(0, |meta| meta.len());
        let mut command = self.command(words);
        command.stdin(stdin).stdout(output.try_clone()?).stderr(errors.try_clone()?);
        let exit = self
            .reaper
            .run(&mut command)
            .with_context(|| format!("can't start the runtime {}", self.config.program.display()))?;
        if exit.status != 0 {
            let said =
                self.last_error(before).or_else(|| read_back(errors).ok().filter(|text| !text.is_empty()));
            bail!(
                "{}",
                said.unwrap_or_else(|| format!("the runtime's {words:?} ended with status {}", exit.status))
            );
        }
        read_back(output)
    }

    /// The last error in the log after this place.
    pub fn last_error(&self, after: u64) -> Option<String> {
        let mut file = File::open(&self.log).ok()?;
        file.seek(SeekFrom::Start(after)).ok()?;
        let mut text = String::new();
        file.take(1 << 20).read_to_string(&mut text).ok()?;
        text.lines().rev().find_map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).ok()?;
            let level = entry.get("level")?.as_str()?;
            matches!(level, "error" | "fatal" | "panic")
                .then(|| entry.get("msg")?.as_str().map(str::to_owned))?
        })
    }

    /// Kills the commands of a shim that died which are still under way, and waits for their end. They are known by the log, which
    /// is that of one container alone.
    pub fn end_commands(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.commands()?;
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("commands of the runtime do not end: {left:?}");
            }
            for pid in left {
                // An error: it has ended.
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn commands(&self) -> Result<Vec<i32>> {
        let log = self.log.as_os_str().as_bytes();
        let pids = std::fs::read_dir("/proc").context("/proc")?.flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        // One that has ended has no command line any more.
        let is_command = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            words.windows(2).any(|pair| pair == [b"--log".as_slice(), log])
        };
        Ok(pids.filter(is_command).collect())
    }

    /// Makes a container; `pid_file` then holds its process.
    pub fn create(
        &self,
        id: &str,
        bundle: &Path,
        pid_file: &Path,
        console: Option<&Path>,
        streams: Given,
    ) -> Result<()> {
        let mut command = self.command(&["create", "--bundle"]);
        command.arg(bundle).arg("--pid-file").arg(pid_file);
        if let Some(console) = console {
            command.arg("--console-socket").arg(console);
        }
        command.arg(id);
        self.run_with(command, streams)
    }

    /// Starts a process in a container.
    pub fn exec(
        &self,
        id: &str,
        spec: &Path,
        pid_file: &Path,
        console: Option<&Path>,
        streams: Given,
    ) -> Result<()> {
        let mut command = self.command(&["exec", "--detach", "--process"]);
        command.arg(spec).arg("--pid-file").arg(pid_file);
        if let Some(console) = console {
            command.arg("--console-socket").arg(console);
        }
        command.arg(id);
        self.run_with(command, streams)
    }

    pub fn start(&self, id: &str) -> Result<()> {
        self.ask(&["start", id], &[]).map(drop)
    }

    pub fn kill(&self, id: &str, signal: u32, all: bool) -> Result<()> {
        let signal = signal.to_string();
        let words = if all { vec!["kill", "--all", id, &signal] } else { vec!["kill", id, &signal] };
        self.ask(&words, &[]).map(drop)
    }

    pub fn delete(&self, id: &str) -> Result<()> {
        self.ask(&["delete", id], &[]).map(drop)
    }

    pub fn delete_by_force(&self, id: &str) -> Result<()> {
        self.ask(&["delete", "--force", id], &[]).map(drop)
    }

    pub fn pause(&self, id: &str) -> Result<()> {
        self.ask(&["pause", id], &[]).map(drop)
    }

    pub fn resume(&self, id: &str) -> Result<()> {
        self.ask(&["resume", id], &[]).map(drop)
    }

    /// Changes the limits; `resources` is the OCI specification's JSON.
    pub fn update(&self, id: &str, resources: &[u8]) -> Result<()> {
        self.ask(&["update", "--resources", "-", id], resources).map(drop)
    }

    /// The host's processes of a container.
    pub fn processes(&self, id: &str) -> Result<Vec<u32>> {
        let text = self.ask(&["ps", "--format", "json", id], &[])?;
        // No process at all is `null` with runc.
        let pids: Option<Vec<u32>> =
            serde_json::from_str(text.trim()).context("the runtime's list of processes")?;
        Ok(pids.unwrap_or_default())
    }
}

fn memory_file() -> Result<File> {
    Ok(File::from(rustix::fs::memfd_create("runtime", MemfdFlags::CLOEXEC)?))
}

fn read_back(mut file: File) -> Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Streams of a process that has a terminal instead.
pub fn no_streams() -> Given {
    Given { stdin: Stdio::null(), stdout: Stdio::null(), stderr: Stdio::null() }
}
