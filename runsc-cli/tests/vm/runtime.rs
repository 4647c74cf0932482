//! A runtime in the machine, and bundles for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest time for anything here, under emulation.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Where cgroups are mounted.
pub const ROOT: &str = "/sys/fs/cgroup";

/// Which runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Ours,
    Runc,
    Crun,
}

/// Who makes the cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    Files,
    Systemd,
}

/// A runtime with a state directory of its own.
pub struct Runtime {
    pub program: Program,
    pub driver: Driver,
    dir: tempfile::TempDir,
}

impl Runtime {
    pub fn new(program: Program, driver: Driver) -> Runtime {
        Runtime { program, driver, dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(match self.program {
            Program::Ours => "/test/runsc",
            Program::Runc => "runc",
            Program::Crun => "crun",
        });
        command.arg("--root").arg(self.path().join("state"));
        if self.driver == Driver::Systemd {
            command.arg("--systemd-cgroup");
        }
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs it; it has to succeed. What it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        succeeded(&format!("{:?} {args:?}", self.program), &self.command(args).output().unwrap())
    }

    /// Runs it; it has to fail. What it said.
    pub fn fails(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(!output.status.success(), "{args:?} went well");
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    }

    /// A bundle of busybox whose process is this, with this configuration below `linux`.
    pub fn bundle(&self, name: &str, args: &[&str], linux: &[(&str, Value)]) -> PathBuf {
        let dir = self.path().join(name);
        let bin = dir.join("rootfs/bin");
        std::fs::create_dir_all(&bin).unwrap();
        for name in ["proc", "dev", "sys", "tmp", "run"] {
            std::fs::create_dir(dir.join("rootfs").join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for name in ["sh", "sleep", "cat", "true", "nc"] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {"args": args, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}},
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"namespaces": namespaces.map(|kind| json!({"type": kind}))},
        });
        for (key, value) in linux {
            match key.strip_prefix('/') {
                Some(key) => config[key] = value.clone(),
                None => config["linux"][key] = value.clone(),
            }
        }
        std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
        dir
    }

    /// Creates and starts a container whose streams are nobody's.
    pub fn start(&self, bundle: &Path, id: &str) {
        let log = self.path().join("log");
        let streams = std::fs::File::create(&log).unwrap();
        let status = self
            .command(&["create", "--bundle", bundle.to_str().unwrap(), id])
            .stdout(Stdio::null())
            .stderr(streams)
            .status()
            .unwrap();
        assert!(status.success(), "{:?}: {}", self.program, std::fs::read_to_string(&log).unwrap());
        self.ok(&["start", id]);
    }

    /// The host's pid of a container.
    pub fn pid(&self, id: &str) -> u32 {
        let state: Value = serde_json::from_str(&self.ok(&["state", id])).unwrap();
        state["pid"].as_u64().unwrap() as u32
    }

    pub fn status(&self, id: &str) -> String {
        let state: Value = serde_json::from_str(&self.ok(&["state", id])).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }
}

pub fn succeeded(what: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {} {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a program of the machine; what it printed.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    succeeded(&format!("{program} {args:?}"), &output)
}

/// Whether version 2 is all that there is.
pub fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// The directories of a process: hierarchy (empty for version 2) and directory.
pub fn directories(pid: u32) -> BTreeMap<String, PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let lines = text.lines().map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next().unwrap(), fields.next().unwrap().trim_start_matches('/'));
        let mount = match names {
            "" if is_unified() => ROOT.to_owned(),
            "" => format!("{ROOT}/unified"),
            names => format!("{ROOT}/{}", names.trim_start_matches("name=")),
        };
        (names.to_owned(), Path::new(&mount).join(path))
    });
    lines.collect()
}

/// The directory of a controller of a process.
pub fn directory(pid: u32, controller: &str) -> PathBuf {
    let all = directories(pid);
    let found = all.iter().find(|(names, _)| names.split(',').any(|name| name == controller));
    found.or_else(|| all.iter().find(|(names, _)| names.is_empty())).unwrap().1.clone()
}

/// Waits until something is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
