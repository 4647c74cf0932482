//! The processes of a sandbox, seen from outside: how they are confined, and that none outlives the others.

#![forbid(unsafe_code)]

mod confinement;
mod files;
mod lifetime;
mod options;
mod pty;
mod status;
mod terminal;
mod usage;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// An ordinary user's id; nothing has to exist for it.
pub const ORDINARY: u32 = 54321;

/// The program, where every user can execute it: the folders above the build's may be closed to others.
pub fn runsc() -> Command {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    let built = PathBuf::from(env!("CARGO_BIN_EXE_runsc"));
    let path = PLACE.get_or_init(|| {
        let open = |dir: &Path| std::fs::metadata(dir).is_ok_and(|m| m.permissions().mode() & 0o5 == 0o5);
        if built.ancestors().all(open) {
            return built;
        }
        // One file, whatever the number of runs; replaced in one step, for runs at the same time.
        let copy = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(&built, copy.path()).unwrap();
        std::fs::set_permissions(copy.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let place = std::env::temp_dir().join("runsc-under-test");
        copy.persist(&place).unwrap();
        place
    });
    Command::new(path)
}

pub fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs `test` as the user who runs the tests and, where that is root, as an ordinary user too.
pub fn as_each_user(test: impl Fn(u32)) {
    let me = rustix::process::geteuid().as_raw();
    test(me);
    if root() {
        test(ORDINARY);
    }
}

/// `runsc do --`, to be given a program.
pub fn in_sandbox_command() -> Command {
    let mut command = runsc();
    command.args(["do", "--"]);
    command
}

/// Gives `test` what to write before a program in a shell so that it runs in the sandbox.
pub fn in_sandbox(test: impl Fn(&str)) {
    test(&format!("{} do --", runsc().get_program().to_str().unwrap()));
}

/// The same; but first nothing, so that the host shows that the test is right.
pub fn on_host_and_in_sandbox(test: impl Fn(&str)) {
    test("");
    in_sandbox(test);
}

/// A running self-test.
pub struct SelfTest {
    pub command: Child,
    pub sentry: i32,
    pub gofer: i32,
    pub report: serde_json::Value,
}

impl SelfTest {
    pub fn start(uid: u32) -> SelfTest {
        let mut command = runsc();
        command.arg("self-test").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if uid != rustix::process::geteuid().as_raw() {
            command.uid(uid).gid(uid);
        }
        let mut command = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(command.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let output = command.wait_with_output().unwrap();
            panic!("self-test: {}", String::from_utf8_lossy(&output.stderr));
        }
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let pid = |name: &str| value[name].as_i64().unwrap() as i32;
        SelfTest { command, sentry: pid("sentry"), gofer: pid("gofer"), report: value["report"].clone() }
    }
}

impl Drop for SelfTest {
    fn drop(&mut self) {
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

/// Whether a process is there and not a zombie.
pub fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['Z', 'X'])))
}

/// Waits until a process is gone.
pub fn assert_goes(what: &str, pid: i32) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while alive(pid) {
        assert!(Instant::now() < deadline, "the {what} ({pid}) is still there");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
