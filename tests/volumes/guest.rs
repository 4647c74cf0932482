//! A Python in a sandbox that a test tells what to do, a line at a time.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use conformance::build;

/// The longest that an answer may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers each line with the value of the expression in it, `None` for a statement, the name of the error number for an
/// OSError.
const LOOP: &str = "
import sys, os, mmap, errno, stat
for line in sys.stdin:
    try:
        try:
            code = compile(line, 'line', 'eval')
            answer = eval(code)
        except SyntaxError:
            answer = exec(line)
        print(repr(answer), flush=True)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
    except Exception as error:
        print('!!', repr(error), flush=True)
";

/// See the module.
pub struct Guest {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    errors: Option<std::thread::JoinHandle<String>>,
}

/// An empty folder, gone with this.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = PathBuf::from(format!("/var/tmp/volumes-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether Python is there; says loudly when it is not.
pub fn has_python(test: &str) -> bool {
    let there = Path::new("/usr/bin/python3").exists();
    if !there {
        eprintln!("*** SKIPPED {test}: python3 is not installed");
    }
    there
}

impl Guest {
    /// Starts one with these flags of `runsc do`.
    pub fn start(flags: &[String]) -> Guest {
        let mut command = Command::new(build::runsc().expect("runsc"));
        command.arg("do").args(flags).args(["--cwd", "/", "--", "/usr/bin/python3", "-u", "-c", LOOP]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("runsc");
        let orders = child.stdin.take();
        let (sender, answers) = channel();
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        std::thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = child.stderr.take().expect("a pipe");
        let errors = std::thread::spawn(move || std::io::read_to_string(errors).unwrap_or_default());
        Guest { child, orders, answers, errors: Some(errors) }
    }

    /// Does what the line says; its answer.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        let orders = self.orders.as_mut().expect("a guest that was not ended");
        writeln!(orders, "{line}").expect("a guest that listens");
        self.answers.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("no answer to {line}: {error}"))
    }

    /// The answer has to be this.
    #[track_caller]
    pub fn expect(&mut self, line: &str, answer: &str) {
        assert_eq!(self.ask(line), answer, "{line}");
    }

    /// The process ids of the Sentry and the Gofer on the host.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        let line = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| Some((pid.parse().ok()?, line(pid)))).collect()
    }

    /// Lets it end by itself: its exit status, and what came on standard error.
    pub fn end(mut self) -> (Option<i32>, String) {
        drop(self.orders.take());
        let status = self.child.wait().expect("a child");
        let errors = self.errors.take().map(|thread| thread.join().unwrap_or_default());
        (status.code(), errors.unwrap_or_default())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
