//! Kills a process of a command at a precise step: before its n-th system call, as ptrace(2) counts them.

use std::collections::HashMap;
use std::process::{Child, Command};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Which process of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The command itself.
    Command,
    /// The process that it forks and leaves behind.
    Monitor,
    /// The first that the monitor starts: the Sentry, or for a container in another's sandbox the Gofer.
    First,
    /// The second: the Gofer.
    Second,
}

/// What became of a traced command.
#[derive(Debug)]
pub enum Traced {
    /// The victim was killed; the command is still to be waited for.
    Killed(Child),
    /// The command ended before, so well; its process `role` made so many calls until then.
    Ended { well: bool, calls: u64 },
}

/// Runs `command`, and kills its process `role` when it is about to make its system call number `step`.
pub fn run(command: &Command, role: Role, step: u64) -> Traced {
    // It begins when it is traced, and not before.
    let mut stopped = Command::new("/bin/sh");
    stopped
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    stopped.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    stopped.stderr(std::process::Stdio::null());
    let child = stopped.spawn().unwrap();
    let root = Pid::from_raw(child.id() as i32);
    assert!(matches!(waitpid(root, Some(WaitPidFlag::WUNTRACED)).unwrap(), WaitStatus::Stopped(..)));
    // What a thread has traced is let go when it ends.
    let traced = std::thread::spawn(move || Tracer::new(root, role, step).follow()).join().unwrap();
    match traced {
        None => Traced::Killed(child),
        Some((well, calls)) => Traced::Ended { well, calls },
    }
}

/// PTRACE_EVENT_STOP: the first stop of a new process, or one by a signal that stops.
const NEW: i32 = 128;

struct Tracer {
    root: Pid,
    victim: Role,
    step: u64,
    roles: HashMap<Pid, Role>,
    /// New processes that have been seen before their parent told of them.
    early: Vec<Pid>,
    /// Of the victim: calls so far, and whether it is in one.
    calls: u64,
    inside: bool,
    /// Whether the shell has become the command.
    begun: bool,
    started_by_monitor: u32,
}

impl Tracer {
    fn new(root: Pid, victim: Role, step: u64) -> Tracer {
        let mut options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC;
        if victim != Role::Command {
            options |= Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
        }
        ptrace::seize(root, options).unwrap();
        nix::sys::signal::kill(root, Signal::SIGCONT).unwrap();
        let roles = HashMap::from([(root, Role::Command)]);
        Tracer {
            root,
            victim,
            step,
            roles,
            early: Vec::new(),
            calls: 0,
            inside: false,
            begun: false,
            started_by_monitor: 0,
        }
    }

    /// `None` when the victim was killed; else how the command ended, and the victim's calls.
    fn follow(mut self) -> Option<(bool, u64)> {
        loop {
            let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap();
            let pid = status.pid().unwrap();
            match status {
                WaitStatus::Exited(pid, code) if pid == self.root => return Some((code == 0, self.calls)),
                WaitStatus::Signaled(pid, ..) if pid == self.root => return Some((false, self.calls)),
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {}
                WaitStatus::PtraceSyscall(pid) => {
                    if self.is_time(pid) {
                        nix::sys::signal::kill(pid, Signal::SIGKILL).unwrap();
                        return None;
                    }
                    go_on(pid, None);
                }
                WaitStatus::PtraceEvent(pid, _, NEW) => self.new_process(pid),
                WaitStatus::PtraceEvent(pid, _, event) => {
                    self.event(pid, event);
                    go_on(pid, None);
                }
                WaitStatus::Stopped(pid, signal) => {
                    go_on(pid, Some(signal).filter(|signal| *signal != Signal::SIGTRAP))
                }
                _ => go_on(pid, None),
            }
        }
    }

    /// Counts a stop at a call.
    fn is_time(&mut self, pid: Pid) -> bool {
        if self.roles.get(&pid) != Some(&self.victim) || !self.begun {
            return false;
        }
        self.inside = !self.inside;
        if self.inside {
            self.calls += 1;
        }
        self.inside && self.calls > self.step
    }

    fn event(&mut self, pid: Pid, event: i32) {
        if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 {
            self.begun = true;
            // The call that is under way ends here, and is seen once more.
            if self.roles.get(&pid) == Some(&self.victim) {
                self.inside = true;
            }
            return;
        }
        let forks = [ptrace::Event::PTRACE_EVENT_FORK as i32, ptrace::Event::PTRACE_EVENT_VFORK as i32];
        if !forks.contains(&event) {
            return;
        }
        // An error: it has just been killed.
        let Ok(number) = ptrace::getevent(pid) else { return };
        let role = match self.roles.get(&pid) {
            Some(Role::Command) => Role::Monitor,
            Some(Role::Monitor) => {
                self.started_by_monitor += 1;
                if self.started_by_monitor == 1 { Role::First } else { Role::Second }
            }
            _ => return,
        };
        let child = Pid::from_raw(number as i32);
        self.roles.insert(child, role);
        if self.early.contains(&child) {
            self.new_process(child);
        }
    }

    /// Lets a process go on that stands still at its begin.
    fn new_process(&mut self, pid: Pid) {
        match self.roles.get(&pid) {
            None => return self.early.push(pid),
            Some(Role::Command | Role::Monitor) => {}
            // What these start are guest processes, which are theirs to trace. An error: it has just been killed.
            Some(Role::First | Role::Second) => drop(ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD)),
        }
        go_on(pid, None);
    }
}

fn go_on(pid: Pid, signal: Option<Signal>) {
    // An error: it has just been killed.
    let _ = ptrace::syscall(pid, signal);
}
