//! The OCI runtime command line, as engines use it. `OCI_RUNTIME=runc cargo test -p runsc --test oci` runs the cases that
//! runc has to pass too on that, which proves the cases.

#![forbid(unsafe_code)]

mod bad_input;
mod crash;
mod debug;
mod descriptors;
mod exec;
mod files;
mod hooks;
mod lifecycle;
mod notify;
mod process;
mod resources;
mod subreaper;
mod wrong_input;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The static program that containers are made of.
const BUSYBOX: &str = "/bin/busybox";

/// The runtime of this workspace.
pub const OURS: &str = env!("CARGO_BIN_EXE_runsc");

/// Longest time for anything here, on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The runtime under test.
pub fn runtime() -> PathBuf {
    std::env::var_os("OCI_RUNTIME").map_or_else(|| PathBuf::from(OURS), PathBuf::from)
}

/// Whether it is another one than ours.
pub fn is_foreign() -> bool {
    std::env::var_os("OCI_RUNTIME").is_some()
}

/// Says so and gives true where the cases can't be run.
pub fn cannot() -> bool {
    if !Path::new(BUSYBOX).exists() {
        eprintln!("SKIPPED: no {BUSYBOX}; install busybox-static");
        return true;
    }
    if !rustix::process::geteuid().is_root() && is_foreign() {
        eprintln!("SKIPPED: another runtime needs root");
        return true;
    }
    false
}

/// The other runtime that cases are compared with; says so where it can't be used.
pub fn oracle() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|dir| dir.join("runc")).find(|path| path.exists());
    if found.is_none() || !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: comparing needs runc, and that root");
        return None;
    }
    found
}

/// A directory for state and bundles of one test; what is left of its containers is deleted with it.
pub struct Place {
    dir: tempfile::TempDir,
    runtime: PathBuf,
}

/// A bundle with a root of busybox.
pub struct Bundle {
    pub dir: PathBuf,
    pub config: Value,
}

impl Place {
    pub fn make() -> Place {
        Place::of(&runtime())
    }

    /// For this runtime.
    pub fn of(runtime: &Path) -> Place {
        Place { dir: tempfile::tempdir().unwrap(), runtime: runtime.to_owned() }
    }

    /// Whether its runtime is another than ours.
    pub fn is_foreign(&self) -> bool {
        self.runtime != Path::new(OURS)
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A bundle whose process is this.
    pub fn bundle(&self, args: &[&str]) -> Bundle {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = self.path().join(format!("bundle-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let bin = dir.join("rootfs/bin");
        std::fs::create_dir_all(&bin).unwrap();
        for name in ["etc", "tmp", "proc", "dev", "sys"] {
            std::fs::create_dir(dir.join("rootfs").join(name)).unwrap();
        }
        std::fs::copy(BUSYBOX, bin.join("busybox")).unwrap();
        for name in [
            "sh", "true", "false", "echo", "cat", "sleep", "id", "ls", "touch", "mount", "kill", "stty",
            "env", "hostname", "readlink",
        ] {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
        std::fs::write(
            dir.join("rootfs/etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(dir.join("rootfs/etc/group"), "root:x:0:\nuser:x:1000:\n").unwrap();
        let bundle = Bundle { config: config(args), dir };
        bundle.write();
        bundle
    }

    /// The runtime with this test's state directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(self.path().join("state")).args(args);
        command
    }

    /// Runs it with nothing at standard input.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs it; it has to succeed. What it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", describe(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs it; it has to fail. The status and the one line that it printed.
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        let text = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(!output.status.success(), "{args:?} went well");
        if !self.is_foreign() {
            assert_eq!(text.trim_end().lines().count(), 1, "{args:?}: {text}");
        }
        (output.status.code().unwrap(), text.trim_end().to_owned())
    }

    /// Creates a container whose streams are nobody's.
    pub fn create(&self, bundle: &Bundle, id: &str) {
        self.detached(&["create", "--bundle", bundle.dir.to_str().unwrap(), id]);
    }

    /// Creates and starts one.
    pub fn start(&self, bundle: &Bundle, id: &str) {
        self.create(bundle, id);
        self.ok(&["start", id]);
    }

    /// Runs a command that leaves something behind with its standard streams.
    pub fn detached(&self, args: &[&str]) {
        let log = self.path().join("detached.log");
        let status = self
            .command(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .status()
            .unwrap();
        assert!(status.success(), "{args:?}: {}", std::fs::read_to_string(&log).unwrap());
    }

    /// What `state` says.
    pub fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.ok(&["state", id])).unwrap()
    }

    /// Waits for a status.
    pub fn becomes(&self, id: &str, status: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.state(id);
            if state["status"] == status {
                return;
            }
            assert!(Instant::now() < deadline, "{id} is {} and not {status}", state["status"]);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The ids that `list` knows.
    pub fn ids(&self) -> Vec<String> {
        self.ok(&["list", "--quiet"]).lines().map(str::to_owned).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.path().join("state")) else { return };
        for entry in entries.flatten() {
            self.run(&["delete", "--force", &entry.file_name().to_string_lossy()]);
        }
    }
}

impl Bundle {
    /// Writes the configuration as it is now.
    pub fn write(&self) {
        std::fs::write(self.dir.join("config.json"), self.config.to_string()).unwrap();
    }

    pub fn path(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// Has an ordinary user's files belong to the container's root, by a user namespace.
    pub fn own_what_is_made(&mut self) {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if uid != 0 {
            let linux = &mut self.config["linux"];
            linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
            linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
            self.write();
        }
    }
}

pub fn describe(output: &Output) -> String {
    format!(
        "{:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn config(args: &[&str]) -> Value {
    let all = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": args, "cwd": "/", "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": all, "effective": all, "permitted": all},
        },
        "root": {"path": "rootfs"},
        "hostname": "inside",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        ],
        "linux": {"namespaces": [
            {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
        ]},
    })
}
