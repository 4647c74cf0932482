//! A process between Sentry and Gofer that lies, without the product knowing: the Gofer that `runsc` has started is stopped before it
//! has answered anything, the test takes a copy of its end of the connection (pidfd_getfd), and relays what comes there to
//! a Gofer of its own. What that answers goes back as it is, or as a [`Lie`] makes it.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use gofer::server::{Parts, Ready};
use gofer::{Config, TreeConfig};
use gofer_protocol::socket::{inbox, receive, receive_fds, send};
use gofer_protocol::{MAX_MESSAGE, Op, Reply, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd, pidfd_open};

/// Where a Gofer has its end of the connection.
const GOFER_END: i32 = 5;

/// The longest that an answer of the guest may take, on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a Gofer may have answered before it was stopped.
const TRIES: u32 = 200;

/// Answers each line as the guest of `tests/volumes` does.
const LOOP: &str = "
import sys, os, mmap, errno, stat, threading, signal
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

/// An answer on its way to the Sentry.
pub struct Answer {
    /// The message, its id and kind in the first six bytes.
    pub bytes: Vec<u8>,
    /// What comes along.
    pub fds: Vec<OwnedFd>,
    /// How often it is sent: 0 is silence.
    pub times: u32,
}

impl Answer {
    /// Says this instead.
    pub fn say(&mut self, reply: Reply<'_>) {
        let id = self.id();
        reply.encode(id, &mut self.bytes).expect("a reply that fits");
    }

    /// The number of the request.
    pub fn id(&self) -> u32 {
        self.bytes.first_chunk().map_or(0, |id| u32::from_le_bytes(*id))
    }
}

/// What becomes of an answer to a request.
pub type Lie = Arc<dyn Fn(&Request<'_>, &mut Answer) + Send + Sync>;

/// A sandbox with a Python in it that a test tells what to do, and a stand-in for its Gofer.
pub struct Sandbox {
    runsc: Child,
    gofer: Pid,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    errors: Option<thread::JoinHandle<String>>,
    stand_in: Arc<StandIn>,
}

/// What all channels share.
struct StandIn {
    lies: AtomicBool,
    told: AtomicU64,
    lie: Lie,
    gofer: Pid,
}

/// Whether this can be tried here; says loudly when it can not.
pub fn possible(test: &str) -> bool {
    let missing = if !rustix::process::geteuid().is_root() {
        "taking the gofer's place needs root"
    } else if !Path::new("/usr/bin/python3").exists() {
        "python3 is not installed"
    } else {
        return true;
    };
    eprintln!("*** SKIPPED {test}: {missing}");
    false
}

impl Sandbox {
    /// Starts one with `folder` as the volume /v, shared or exclusive. Nothing is a lie before [`lie`](Self::lie).
    pub fn start(folder: &Path, mode: &str, lie: Lie) -> Sandbox {
        let (runsc, gofer, socket) = Sandbox::stopped(folder, mode);
        Sandbox::relayed(runsc, gofer, socket, folder, lie)
    }

    /// A command whose Gofer is stopped before it has answered anything; that, and a copy of its end of the connection.
    pub fn stopped(folder: &Path, mode: &str) -> (Child, Pid, OwnedFd) {
        for _ in 0..TRIES {
            let mut command = Command::new(env!("CARGO_BIN_EXE_runsc"));
            command.arg("do").arg(format!("--volume={}:/v:{mode}", folder.display()));
            command.args(["--cwd", "/", "--", "/usr/bin/python3", "-u", "-c", LOOP]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut runsc = command.spawn().expect("runsc");
            match take_place(&runsc) {
                Some((gofer, socket)) => return (runsc, gofer, socket),
                // It was faster.
                None => {
                    let _ = runsc.kill();
                    let _ = runsc.wait();
                }
            }
        }
        panic!("no gofer could be stopped in time");
    }

    fn relayed(mut runsc: Child, gofer: Pid, sentry: OwnedFd, folder: &Path, lie: Lie) -> Sandbox {
        let tree = |source: &Path, read_only| TreeConfig {
            source: source.to_path_buf(),
            read_only,
            ..TreeConfig::default()
        };
        let config = Config::new(vec![tree(Path::new("/"), true), tree(folder, false)]);
        let (ours, theirs) = pair();
        let parts = Parts::unconfined(&config).expect("trees");
        let stand_in =
            Arc::new(StandIn { lies: AtomicBool::new(false), told: AtomicU64::new(0), lie, gofer });
        thread::spawn(move || Ready::new(parts, theirs).expect("a server").run());
        let relay = Arc::clone(&stand_in);
        thread::spawn(move || relay.relay(&sentry, &ours));

        let orders = runsc.stdin.take();
        let (sender, answers) = channel();
        let mut lines = BufReader::new(runsc.stdout.take().expect("a pipe")).lines();
        thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = runsc.stderr.take().expect("a pipe");
        let errors = Some(thread::spawn(move || std::io::read_to_string(errors).unwrap_or_default()));
        Sandbox { runsc, gofer, orders, answers, errors, stand_in }
    }

    /// Lies from now on, or no more.
    pub fn lie(&self, lies: bool) {
        self.stand_in.lies.store(lies, Ordering::SeqCst);
    }

    /// How many answers were handed to the lie.
    pub fn told(&self) -> u64 {
        self.stand_in.told.load(Ordering::SeqCst)
    }

    /// Tells the guest to do what the line says.
    pub fn order(&mut self, line: &str) {
        let orders = self.orders.as_mut().expect("a guest that was not ended");
        writeln!(orders, "{line}").expect("a guest that listens");
    }

    /// Its answer, if one comes within `patience`.
    pub fn answer(&mut self, patience: Duration) -> Option<String> {
        self.answers.recv_timeout(patience).ok()
    }

    /// Does what the line says; its answer.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        self.order(line);
        match self.answer(PATIENCE) {
            Some(answer) => answer,
            None => {
                let ended = self.wait(Duration::from_secs(1));
                panic!("no answer to {line}; the command: {ended:?}")
            }
        }
    }

    /// The answer has to be this.
    #[track_caller]
    pub fn expect(&mut self, line: &str, answer: &str) {
        assert_eq!(self.ask(line), answer, "{line}");
    }

    /// The command's process.
    pub fn runsc(&self) -> Pid {
        Pid::from_child(&self.runsc)
    }

    /// The Sentry's process.
    pub fn sentry(&self) -> i32 {
        children(self.runsc()).into_iter().find(|pid| is_command(*pid, "boot")).expect("a Sentry")
    }

    /// Lets it end by itself: its exit status, and what came on standard error.
    pub fn end(mut self) -> (Option<i32>, String) {
        drop(self.orders.take());
        self.wait(PATIENCE).expect("a sandbox that ends")
    }

    /// Waits for its end, so long.
    pub fn wait(&mut self, patience: Duration) -> Option<(Option<i32>, String)> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.runsc.try_wait().expect("a child") {
                let errors = self.errors.take().map(|thread| thread.join().unwrap_or_default());
                return Some((status.code(), errors.unwrap_or_default()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.runsc.kill();
        let _ = self.runsc.wait();
        // It dies with its parent, when it runs.
        let _ = kill_process(self.gofer, Signal::CONT);
    }
}

impl StandIn {
    /// Passes on requests and answers of one channel until either side ends.
    fn relay(self: &Arc<Self>, sentry: &OwnedFd, gofer: &OwnedFd) {
        let (mut asked, mut answered) = (inbox(), inbox());
        while let Ok(request) = receive(sentry, &mut asked[..MAX_MESSAGE]) {
            if send(gofer, request, &[]).is_err() {
                break;
            }
            let (_, request) = Request::decode(request);
            let request = request.expect("a Sentry that does not lie");
            if request.kind() == Op::Close {
                continue;
            }
            let mut fds = Vec::new();
            let Ok((bytes, _)) = receive_fds(gofer, &mut answered[..MAX_MESSAGE], &mut fds) else { break };
            let mut answer = Answer { bytes: bytes.to_vec(), fds, times: 1 };
            if request.kind() == Op::Hello {
                self.relay_more(&mut answer);
            }
            if self.lies.load(Ordering::SeqCst) {
                self.told.fetch_add(1, Ordering::SeqCst);
                (self.lie)(&request, &mut answer);
            }
            let fds: Vec<_> = answer.fds.iter().map(AsFd::as_fd).collect();
            for _ in 0..answer.times {
                // The Sentry may have ended the connection for the first.
                let _ = send(sentry, &answer.bytes, &fds);
            }
        }
        // The Sentry has ended the connection: so does the Gofer whose place this has.
        let _ = kill_process(self.gofer, Signal::CONT);
    }

    /// Puts relays between the channels that come with the greeting.
    fn relay_more(self: &Arc<Self>, greeting: &mut Answer) {
        for fd in &mut greeting.fds {
            let (ours, theirs) = pair();
            let gofer = std::mem::replace(fd, theirs);
            let relay = Arc::clone(self);
            thread::spawn(move || relay.relay(&ours, &gofer));
        }
    }
}

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("sockets")
}

/// Stops the Gofer before it has read anything: it, and a copy of its end of the connection.
fn take_place(runsc: &Child) -> Option<(Pid, OwnedFd)> {
    let parent = Pid::from_child(runsc);
    let deadline = Instant::now() + Duration::from_secs(10);
    let gofer = loop {
        if let Some(pid) = children(parent).into_iter().find(|pid| is_command(*pid, "gofer")) {
            break Pid::from_raw(pid)?;
        }
        if Instant::now() > deadline {
            return None;
        }
    };
    kill_process(gofer, Signal::STOP).ok()?;
    let stat = format!("/proc/{}/stat", gofer.as_raw_pid());
    while !std::fs::read_to_string(&stat).ok()?.contains(") T ") {
        thread::yield_now();
    }
    let pidfd = pidfd_open(gofer, PidfdFlags::empty()).ok()?;
    let socket = pidfd_getfd(&pidfd, GOFER_END, PidfdGetfdFlags::empty()).ok()?;
    // The Sentry's greeting has to be there, unread.
    let mut ready = [PollFd::new(&socket, PollFlags::IN)];
    let patience = Timespec { tv_sec: 2, tv_nsec: 0 };
    if poll(&mut ready, Some(&patience)).ok()? == 0 {
        return None;
    }
    let mut bytes = [0; 64];
    let (len, _) = recv(&socket, &mut bytes, RecvFlags::PEEK | RecvFlags::DONTWAIT).ok()?;
    let first = Request::decode(bytes.get(..len)?).1.ok()?;
    (first.kind() == Op::Hello).then_some((gofer, socket))
}

fn children(parent: Pid) -> Vec<i32> {
    let file = format!("/proc/{0}/task/{0}/children", parent.as_raw_pid());
    let children = std::fs::read_to_string(file).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn is_command(pid: i32, command: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| line == format!("runsc\0{command}\0").as_bytes())
}
