//! Runs cases one after the other, each in a process, a session and a scratch directory of its own, and writes for each
//! a line `\x1ecase NAME STATUS MICROSECONDS LENGTH` and LENGTH bytes of what it printed.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{EINTR, O_APPEND, O_CREAT, O_RDWR, O_TRUNC, SIGALRM, SIGKILL, c_int, siginfo_t, ucontext_t};

use super::case::{Run, Scratch};
use super::check::{SKIPPED, exit_now, say};
use super::child::describe;
use super::files::{close, open, read, remove_tree, write_all};
use super::signal;
use super::wait::now_ns;
use crate::sys;

/// A case that takes longer has hung.
const LIMIT_SECONDS: u64 = 15;

/// Bytes of output that are kept.
const MOST_OUTPUT: usize = 64 << 10;

/// The variable that names the folder with the volumes, one of each kind.
const VOLUMES: &str = "CASES_VOLUMES";

static TIMED_OUT: AtomicBool = AtomicBool::new(false);

extern "C" fn on_alarm(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
    TIMED_OUT.store(true, Ordering::SeqCst);
}

/// Runs them all; gives the exit status: 0 when each passed or was skipped.
pub fn run(runs: &[Run], program: &CStr) -> c_int {
    let (Some(memory), Some(disk)) = (scratch_base(&memory_parents()), scratch_base(&["/var/tmp"])) else {
        say("no directory for scratch files: need /var/tmp, and /tmp or /dev/shm, writable");
        return 2;
    };
    let [exclusive, shared, layer] = ["exclusive", "shared", "layer"].map(|kind| {
        let parent = format!("{}/{kind}", std::env::var(VOLUMES).ok()?);
        scratch_base(&[&parent])
    });
    signal::on(SIGALRM, on_alarm, 0);
    let mut failed = false;
    for (i, run) in runs.iter().enumerate() {
        let start = now_ns(libc::CLOCK_MONOTONIC);
        let base = match run.scratch {
            Scratch::Memory => Some(&memory),
            Scratch::Disk => Some(&disk),
            Scratch::Exclusive => exclusive.as_ref(),
            Scratch::Shared => shared.as_ref(),
            Scratch::Layer => layer.as_ref(),
        };
        let dir = format!("{}/{i}", base.map_or("", |base| base));
        let (status, output) = match base {
            Some(base) => run_one(run, program, &dir, base),
            None => ("skip", format!("skipped: no volumes in ${VOLUMES}\n").into_bytes()),
        };
        let micros = (now_ns(libc::CLOCK_MONOTONIC) - start) / 1000;
        failed |= status == "fail";
        let mut report = format!("\x1ecase {} {status} {micros} {}\n", run.name(), output.len()).into_bytes();
        report.extend(output);
        write_all(1, &report);
        remove_tree(&dir);
    }
    remove_tree(&memory);
    remove_tree(&disk);
    [exclusive, shared, layer].iter().flatten().for_each(|base| remove_tree(base));
    c_int::from(failed)
}

fn run_one(run: &Run, program: &CStr, dir: &str, base: &str) -> (&'static str, Vec<u8>) {
    if run.case.needs_root() && !super::files::is_root() {
        return ("skip", b"skipped: needs root\n".to_vec());
    }
    let name = c_string(&run.name());
    let dir = c_string(dir);
    let out_name = c_string(&format!("{base}/output"));
    let out = open(&out_name, O_CREAT | O_TRUNC | O_RDWR | O_APPEND);
    let pid = match sys!(fork) {
        Ok(0) => start(program, &name, &dir, out),
        Ok(pid) => pid as c_int,
        Err(e) => return ("fail", format!("the runner can't fork: {e:?}\n").into_bytes()),
    };
    let (status, timed_out) = wait(pid);
    // Whatever it left behind goes with it.
    let _ = sys!(kill, -pid, SIGKILL);
    let mut none: c_int = 0;
    while matches!(sys!(wait4, -1, &mut none, libc::WNOHANG, 0), Ok(1..)) {}
    let _ = sys!(lseek, out, 0, libc::SEEK_SET);
    // What a case does to its own output must not hurt this process.
    let mut output = read(out, MOST_OUTPUT);
    close(out);
    let word = if timed_out {
        output.extend(format!("no end after {LIMIT_SECONDS} seconds\n").bytes());
        "fail"
    } else if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 {
        "pass"
    } else if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == SKIPPED {
        "skip"
    } else {
        output.extend(format!("the case {}\n", describe(status)).bytes());
        "fail"
    };
    (word, output)
}

/// In the child: a session, a directory and output of its own, then the program again.
fn start(program: &CStr, name: &CStr, dir: &CStr, out: c_int) -> ! {
    let _ = sys!(setsid);
    // Whatever the harness was started with.
    for number in 1..=64 {
        let _ = sys!(rt_sigaction, number, &signal::Action::default(), 0, 8);
    }
    signal::set_mask(0);
    let _ = sys!(umask, 0o22);
    let _ = sys!(setpriority, 0, 0, 0);
    let null = open(c"/dev/null", O_RDWR);
    let _ = sys!(dup3, null, 0, 0);
    let _ = sys!(dup3, out, 1, 0);
    let _ = sys!(dup3, out, 2, 0);
    let _ = sys!(close_range, 3, u32::MAX, 0);
    let argv = [program.as_ptr(), c"exec".as_ptr(), name.as_ptr(), dir.as_ptr(), std::ptr::null()];
    let env = [std::ptr::null::<u8>()];
    let why = sys!(execve, program, &argv, &env);
    say(&format!("the runner can't start {program:?}: {why:?}"));
    exit_now(1)
}

fn wait(pid: c_int) -> (c_int, bool) {
    TIMED_OUT.store(false, Ordering::SeqCst);
    let _ = sys!(alarm, LIMIT_SECONDS);
    let mut killed = false;
    loop {
        let mut status: c_int = 0;
        match sys!(wait4, -1, &mut status, 0, 0) {
            Ok(got) if got == i64::from(pid) => {
                let _ = sys!(alarm, 0);
                return (status, killed);
            }
            // An orphan, where we are process 1.
            Ok(_) => {}
            Err(e) if e.0 == EINTR => {}
            Err(e) => {
                say(&format!("the runner can't wait: {e:?}"));
                return (1 << 8, killed);
            }
        }
        if TIMED_OUT.swap(false, Ordering::SeqCst) {
            let _ = sys!(kill, -pid, SIGKILL);
            let _ = sys!(kill, pid, SIGKILL);
            killed = true;
        }
    }
}

/// First a tmpfs that programs can be started from if there is one, so that the oracle is the file system that the sandbox
/// has at /tmp; then whatever there is.
fn memory_parents() -> Vec<&'static str> {
    let tmpfs = ["/tmp", "/dev/shm"].into_iter().find(|dir| {
        // Type and mount flags are the words 0 and 10 of struct statfs.
        let mut st = [0u64; 15];
        sys!(statfs, c_string(dir).as_c_str(), &mut st)
            .is_ok_and(|_| st[0] == libc::TMPFS_MAGIC as u64 && st[10] & libc::ST_NOEXEC == 0)
    });
    tmpfs.into_iter().chain(["/tmp", "/dev/shm"]).collect()
}

/// A fresh directory, in memory if possible.
pub fn scratch() -> Option<String> {
    scratch_base(&memory_parents())
}

/// A fresh directory in the first of the parents where that goes.
fn scratch_base<P: AsRef<str>>(parents: &[P]) -> Option<String> {
    let pid = sys!(getpid).unwrap_or(0);
    for parent in parents {
        let base = format!("{}/cases.{pid}", parent.as_ref());
        remove_tree(&base);
        if sys!(mkdirat, libc::AT_FDCWD, c_string(&base).as_c_str(), 0o755).is_ok() {
            return Some(base);
        }
    }
    None
}

fn c_string(text: &str) -> CString {
    CString::new(text.bytes().filter(|b| *b != 0).collect::<Vec<u8>>()).unwrap_or_default()
}
