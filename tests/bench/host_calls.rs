//! Calls that the host's kernel sees for one operation of a guest: those of Sentry, Gofer and stubs together.
//!
//! Counted by perf(1): strace(1) can't follow the processes of a sandbox that traces them itself.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::measure::{Held, Measured};
use crate::subject::Subject;
use crate::{deadline, memory};

const ALL: &str = "raw_syscalls:sys_enter";

/// Calls that are told apart; the others are in the sum only.
const APART: [&str; 24] = [
    "clone",
    "clone3",
    "close",
    "exit",
    "exit_group",
    "fallocate",
    "futex",
    "ioctl",
    "kill",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "openat2",
    "pread64",
    "ptrace",
    "read",
    "recvmsg",
    "rt_sigprocmask",
    "sendmsg",
    "tgkill",
    "wait4",
    "waitid",
    "write",
];

/// How long perf gets to attach.
const ATTACH: Duration = Duration::from_millis(400);

/// Why calls can't be counted here.
pub fn obstacle() -> Option<String> {
    let mut perf = Command::new("perf");
    perf.args(["stat", "-e", ALL, "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match perf.status() {
        Ok(status) if status.success() => None,
        Ok(_) => Some("perf may not count system calls here (it takes root)".to_owned()),
        Err(_) => Some("perf is not installed".to_owned()),
    }
}

/// Counts.
pub fn count(subject: &Subject, guest: &str, operation: &str, times: u32) -> Result<Measured> {
    let mut held = Held::start(subject, &[guest, "count", operation, &times.to_string()])?;
    let counted = counted(&mut held);
    held.end();
    let counts = counted?;
    let each = |name: &str| counts.get(name).copied().unwrap_or(0) as f64 / f64::from(times);
    let mut parts: Vec<(f64, &str)> =
        APART.iter().map(|name| (each(&event(name)), *name)).filter(|(n, _)| *n >= 0.05).collect();
    parts.sort_by(|a, b| b.0.total_cmp(&a.0));
    let note = parts.iter().map(|(n, name)| format!("{name} {n:.1}")).collect::<Vec<_>>().join(", ");
    Ok(Measured { value: each(ALL), note: Some(note) })
}

fn event(name: &str) -> String {
    format!("syscalls:sys_enter_{name}")
}

fn counted(held: &mut Held) -> Result<HashMap<String, u64>> {
    let pids: Vec<String> = memory::descendants(held.child.id())?.iter().map(u32::to_string).collect();
    let events = APART.iter().map(|name| event(name)).chain([ALL.to_owned()]).collect::<Vec<_>>().join(",");
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ";", "-e", &events, "-p", &pids.join(",")]);
    let perf = deadline::spawn(perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()))?;
    std::thread::sleep(ATTACH);
    let went_on = held.go_on();
    kill(Pid::from_raw(perf.id() as i32), Signal::SIGINT).context("stopping perf")?;
    let output = perf.wait_with_output()?;
    went_on?;
    let text = String::from_utf8_lossy(&output.stderr);
    let counts: HashMap<String, u64> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(';');
            let count = fields.next()?.parse().ok()?;
            Some((fields.nth(1)?.to_owned(), count))
        })
        .collect();
    if !counts.contains_key(ALL) {
        bail!("perf said: {}", text.trim());
    }
    Ok(counts)
}
