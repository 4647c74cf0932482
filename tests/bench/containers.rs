//! Containers of OCI runtimes: what a run, an `exec` and an idle container cost.
//!
//! The container is a static busybox. What a runtime leaves behind when its command has ended becomes a child of this
//! program, so that all processes of a container are found whatever the runtime.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::prctl;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use serde_json::{Value, json};

use crate::subject::Subject;
use crate::{deadline, memory};

const BUSYBOX: &str = "/bin/busybox";

/// How long what a container was made of has to be gone after its deletion.
const GONE: Duration = Duration::from_secs(20);

/// Why containers can't be measured here.
pub fn obstacle() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it takes root, for runc's control groups".to_owned());
    }
    (!Path::new(BUSYBOX).is_file()).then(|| "busybox-static is not installed".to_owned())
}

/// Milliseconds of a `run` of `true`, from the start of the command to its end.
pub fn run(subject: &Subject) -> Result<f64> {
    let lab = Lab::new(subject, &["true"])?;
    let begun = Instant::now();
    deadline::output(lab.command("run").arg("--bundle").arg(&lab.bundle).arg("one"))?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// Milliseconds of an `exec` of `true` in a container that waits.
pub fn exec(subject: &Subject) -> Result<f64> {
    let mut lab = Lab::new(subject, &["sleep", "1000"])?;
    lab.start("one")?;
    let begun = Instant::now();
    deadline::output(lab.command("exec").args(["one", "true"]))?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// KiB of Pss for each of so many containers that do nothing.
pub fn idle_pss(subject: &Subject, count: usize) -> Result<f64> {
    let mut lab = Lab::new(subject, &["sleep", "1000"])?;
    for container in 0..count {
        lab.start(&format!("c{container}"))?;
    }
    let all = memory::settled_below(std::process::id())?;
    Ok(all.pss_kib as f64 / count as f64)
}

/// A runtime with a bundle and a folder for its state; its containers are deleted with it.
struct Lab<'a> {
    subject: &'a Subject,
    folder: tempfile::TempDir,
    bundle: PathBuf,
    started: Vec<String>,
}

impl<'a> Lab<'a> {
    fn new(subject: &'a Subject, program: &[&str]) -> Result<Lab<'a>> {
        prctl::set_child_subreaper(true).context("can't become the parent of what is left behind")?;
        let folder = tempfile::tempdir()?;
        let bundle = folder.path().join("bundle");
        let bin = bundle.join("rootfs/bin");
        fs::create_dir_all(&bin)?;
        for empty in ["dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir(bundle.join("rootfs").join(empty))?;
        }
        fs::copy(BUSYBOX, bin.join("busybox"))?;
        for name in ["sh", "sleep", "true"] {
            symlink("busybox", bin.join(name))?;
        }
        let lab = Lab { subject, folder, bundle, started: Vec::new() };
        deadline::output(lab.command("spec").arg("--bundle").arg(&lab.bundle))?;
        let file = lab.bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file)?)?;
        config["process"]["args"] = json!(program);
        config["process"]["terminal"] = json!(false);
        fs::write(&file, config.to_string())?;
        Ok(lab)
    }

    /// A command of the runtime, with the state where nobody else has his.
    fn command(&self, verb: &str) -> Command {
        let root = self.folder.path().join("state");
        let mut command = self.subject.command(&["--root", &root.to_string_lossy(), verb]);
        command.stderr(Stdio::null());
        command
    }

    /// Starts a container and leaves it.
    fn start(&mut self, id: &str) -> Result<()> {
        self.started.push(id.to_owned());
        // Its output is nobody's: what stays behind keeps it open.
        for words in [&["create", "--bundle", &self.bundle.to_string_lossy(), id][..], &["start", id]] {
            let mut command = self.command(words[0]);
            let mut child = deadline::spawn(command.args(&words[1..]))?;
            let status = child.wait()?;
            if !status.success() {
                bail!("{words:?}: {status}");
            }
        }
        Ok(())
    }

    fn delete_all(&mut self) -> Result<()> {
        for id in std::mem::take(&mut self.started) {
            deadline::output(self.command("delete").args(["--force", &id]))?;
        }
        let begun = Instant::now();
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(nix::Error::ECHILD) => return Ok(()),
                Ok(WaitStatus::StillAlive) if begun.elapsed() > GONE => {
                    bail!("processes are left after all containers are deleted");
                }
                Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(5)),
                _ => {}
            }
        }
    }
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.delete_all() {
            eprintln!("bench: containers of {}: {error:#}", self.subject.name);
        }
    }
}
