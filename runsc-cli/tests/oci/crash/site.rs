//! A place for rounds, one after the other: its own copy of the runtime, by which its processes are known.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::left;
use crate::{Bundle, Place, describe, runtime};

/// No command takes so long, whatever was killed.
pub const LIMIT: Duration = Duration::from_secs(30);

/// What was begun ends within this time.
pub const SETTLED: Duration = Duration::from_secs(20);

/// A place for rounds.
pub struct Site {
    pub place: Place,
    pub program: PathBuf,
    /// The container that is created again and again.
    pub id: String,
    /// The container whose sandbox it joins in some rounds.
    pub pod: String,
    /// Where its control groups are, for root.
    cgroup: Option<String>,
    bundle: Bundle,
    short: Bundle,
}

/// How a bundle is to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// In the sandbox of another container.
    pub member: bool,
    /// In control groups.
    pub cgroup: bool,
}

impl Site {
    pub fn make(name: &str) -> Site {
        let place = Place::make();
        let program = place.path().join("runsc");
        if std::fs::hard_link(runtime(), &program).is_err() {
            std::fs::copy(runtime(), &program).unwrap();
        }
        let [bundle, short] = [["sleep", "1000"].as_slice(), &["true"]].map(|args| place.bundle(args));
        std::fs::create_dir(place.path().join("pids")).unwrap();
        let token = format!("crash-{}-{name}", std::process::id());
        let root = rustix::process::geteuid().is_root() && Path::new("/sys/fs/cgroup").exists();
        let cgroup = root.then(|| format!("/runsc-{token}"));
        Site { place, program, id: token.clone(), pod: format!("{token}-pod"), cgroup, bundle, short }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.state_dir());
        if let Some(platform) = std::env::var_os("CRASH_PLATFORM") {
            command.arg("--platform").arg(platform);
        }
        command.args(args);
        command
    }

    fn state_dir(&self) -> PathBuf {
        self.place.path().join("state")
    }

    /// Where pid files are.
    pub fn pid_file(&self, name: &str) -> String {
        self.place.path().join("pids").join(name).to_str().unwrap().to_owned()
    }

    pub fn bundle(&self) -> &str {
        self.bundle.path()
    }

    /// One whose process ends at once.
    pub fn short_bundle(&self) -> &str {
        self.short.path()
    }

    /// Writes the configurations of the next round.
    pub fn prepare(&mut self, kind: Kind) {
        let (id, pod) = (self.id.clone(), self.pod.clone());
        let cgroup = self.cgroup.as_ref().filter(|_| kind.cgroup);
        for bundle in [&mut self.bundle, &mut self.short] {
            bundle.config["annotations"] = match kind.member {
                true => json!({
                    "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": pod,
                }),
                false => json!({}),
            };
            let linux = bundle.config["linux"].as_object_mut().unwrap();
            linux.remove("cgroupsPath");
            if let Some(above) = cgroup {
                linux.insert("cgroupsPath".to_owned(), json!(format!("{above}/{id}")));
            }
            bundle.write();
        }
    }

    /// Runs a command; it has to end. Its output goes to files, since what it leaves behind may keep pipes open.
    pub fn run(&self, args: &[&str]) -> Output {
        let [stdout, stderr] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        let mut command = self.command(args);
        command.stdin(Stdio::null()).stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let all = left::describe(&left::processes(&self.program));
                child.kill().unwrap();
                panic!("{args:?} does not end; there are\n{all}");
            }
            std::thread::sleep(Duration::from_micros(300));
        };
        let output = Output { status, stdout: read(stdout), stderr: read(stderr) };
        let said = String::from_utf8_lossy(&output.stderr);
        let odd = ["panicked", "please report"].iter().any(|word| said.contains(word));
        let lines = said.lines().filter(|line| !line.contains("warning")).count();
        assert!(!odd && lines <= 1 && status.code().is_some(), "{args:?}: {}", describe(&output));
        output
    }

    /// The same; it has to succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", describe(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `state` says; nothing where there is no such container.
    pub fn state(&self, id: &str) -> Option<Value> {
        let output = self.run(&["state", id]);
        if output.status.success() {
            return Some(serde_json::from_slice(&output.stdout).unwrap());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("container does not exist"), "{said}");
        None
    }

    /// Its status alone, or `absent`.
    pub fn status(&self) -> String {
        let state = self.state(&self.id);
        state.map_or_else(|| "absent".to_owned(), |state| state["status"].as_str().unwrap().to_owned())
    }

    pub fn create(&self) {
        self.ok(&["create", "--bundle", self.bundle(), "--pid-file", &self.pid_file("init"), &self.id]);
    }

    /// Has a container whose sandbox others can join.
    pub fn make_pod(&self) {
        if self.state(&self.pod).is_some_and(|state| state["status"] == "running") {
            return;
        }
        self.ok(&["delete", "--force", &self.pod]);
        let mut bundle = self.place.bundle(&["sleep", "1000"]);
        bundle.config["annotations"] = json!({
            "io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": self.pod,
        });
        bundle.write();
        self.ok(&["run", "--detach", "--bundle", bundle.path(), &self.pod]);
    }

    /// The processes that a container's state names: the monitor first, then Sentry and Gofer, or the Gofer alone.
    pub fn named(&self, id: &str) -> Vec<i32> {
        let path = self.state_dir().join(id).join("state.json");
        let state: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let pid = |value: &Value| value["pid"].as_i64().unwrap() as i32;
        let helpers = state["helpers"].as_array().unwrap().iter().map(pid);
        [pid(&state["monitor"])].into_iter().chain(helpers).collect()
    }

    /// The host processes of a sandbox's programs.
    pub fn guests(&self, sentry: i32) -> Vec<i32> {
        let parent = format!("PPid:\t{sentry}\n");
        let of_sentry = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/status"))
                .is_ok_and(|status| status.contains(&parent))
        };
        left::processes(&self.program).into_iter().filter(of_sentry).collect()
    }

    /// Deletes the container, after which nothing of it may be there.
    pub fn delete_wholly(&self) {
        self.ok(&["delete", "--force", &self.id]);
        let pod = self.state_dir().join(&self.pod).exists();
        let mut expected = Vec::new();
        let mut processes = left::processes(&self.program);
        if pod {
            expected.push(self.pod.clone());
            let named = self.named(&self.pod);
            let guests = self.guests(named[1]);
            processes.retain(|pid| !named.contains(pid) && !guests.contains(pid));
        }
        // Without a PID namespace around all of it, what a monitor had begun to start ends after that, by the host's signal.
        let grace = if rustix::process::geteuid().is_root() { Duration::ZERO } else { SETTLED };
        let deadline = Instant::now() + grace;
        while !processes.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
            processes.retain(|pid| left::processes(&self.program).contains(pid));
        }
        // What has ended since it was listed is not there.
        let before = left::describe(&processes);
        processes.retain(|pid| left::processes(&self.program).contains(pid));
        assert!(processes.is_empty(), "left after delete --force:\n{before}");
        assert_eq!(left::names(&self.state_dir()), expected);
        let mounts = left::mounts(self.place.path());
        assert!(mounts.is_empty(), "{mounts:#?}");
        let cgroups = left::cgroups(&self.id);
        assert!(cgroups.is_empty(), "{cgroups:?}");
        for (dir, known) in [("pids", ["exec", "init"].as_slice()), ("bundle-0", &["config.json", "rootfs"])]
        {
            let there = left::names(&self.place.path().join(dir));
            let strange: Vec<_> = there.iter().filter(|name| !known.contains(&name.as_str())).collect();
            assert!(strange.is_empty() || dir != "pids", "{dir} has {strange:?}");
        }
        for name in left::names(&self.place.path().join("pids")) {
            std::fs::remove_file(self.pid_file(&name)).unwrap();
        }
    }

    /// Removes what the site itself has made.
    pub fn close(self) {
        self.ok(&["delete", "--force", &self.pod]);
        let processes = left::processes(&self.program);
        assert!(processes.is_empty(), "left at the end:\n{}", left::describe(&processes));
        for above in self.cgroup.iter().flat_map(|above| left::cgroups(above.trim_start_matches('/'))) {
            std::fs::remove_dir(above).unwrap();
        }
    }
}

fn read(mut file: std::fs::File) -> Vec<u8> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}
