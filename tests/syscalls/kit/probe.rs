//! `cases probe WHAT`: what a fresh program finds, for cases about execve.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{c_char, c_int};

use super::check::{ok, say};
use super::files::write_all;
use super::signal;
use super::wait::sleep_ms;
use crate::sys;

static PROGRAM: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Remembers the path under which this program was started.
pub fn remember(program: &'static CStr) {
    PROGRAM.store(program.as_ptr().cast_mut(), Ordering::SeqCst);
}

/// The path of this program.
pub fn program() -> &'static CStr {
    // SAFETY: set before any case runs, from argv, which lives as long as the process.
    unsafe { CStr::from_ptr(PROGRAM.load(Ordering::SeqCst)) }
}

static AUXV: AtomicPtr<u64> = AtomicPtr::new(std::ptr::null_mut());

/// Remembers where the auxiliary vector is.
pub fn remember_auxv(first: *const u64) {
    AUXV.store(first.cast_mut(), Ordering::SeqCst);
}

/// The auxiliary vector from the stack, its end included.
pub fn auxv() -> Vec<u64> {
    let first = AUXV.load(Ordering::SeqCst);
    let mut words = Vec::new();
    loop {
        // SAFETY: the kernel has put pairs there up to one whose first word is zero, and nobody changes them.
        let pair = unsafe { [*first.add(words.len()), *first.add(words.len() + 1)] };
        words.extend(pair);
        if pair[0] == 0 {
            return words;
        }
    }
}

/// As the interpreter of a script: prints what the first argument asks for.
pub fn interpret(args: &[&CStr], words: &[&str]) -> c_int {
    let text = match words[1] {
        "argv-name" => {
            let mut name = [0u8; 16];
            ok(sys!(prctl, libc::PR_GET_NAME, &mut name));
            let exe = std::fs::read_link("/proc/self/exe").unwrap_or_default();
            format!("{} {}", String::from_utf8_lossy(&name).trim_end_matches('\0'), exe.display())
        }
        "argv-creds" => format!("{} {}", ok(sys!(geteuid)), ok(sys!(getegid))),
        _ => args.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join("|"),
    };
    write_all(1, text.as_bytes());
    0
}

/// Answers on stdout; the exit status is 0 if it knows the word.
pub fn run(words: &[&CStr], env: &[&CStr]) -> c_int {
    let all: Vec<&str> = words.iter().map(|w| w.to_str().unwrap_or("?")).collect();
    let text = match all.as_slice() {
        ["args", ..] => {
            let env: Vec<&str> = env.iter().map(|e| e.to_str().unwrap_or("?")).collect();
            format!("{}\n{}", all.join("|"), env.join("|"))
        }
        ["mask"] => format!("{:x}", signal::mask()),
        ["pending"] => format!("{:x}", signal::pending()),
        ["actions"] => {
            let actions: Vec<String> = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGCHLD]
                .iter()
                .map(|s| format!("{:x}:{:x}", signal::get(*s).handler, signal::get(*s).flags))
                .collect();
            actions.join(" ")
        }
        ["altstack"] => {
            // SAFETY: a structure of integers and a pointer that is not followed.
            let mut stack: libc::stack_t = unsafe { std::mem::zeroed() };
            ok(sys!(sigaltstack, 0, &mut stack));
            format!("{:x}", stack.ss_flags)
        }
        ["ids"] => format!(
            "{} {} {} {}",
            ok(sys!(getpid)),
            ok(sys!(getppid)),
            ok(sys!(getpgid, 0)),
            ok(sys!(getsid, 0))
        ),
        ["threads"] => std::fs::read_dir("/proc/self/task").map_or(0, |d| d.count()).to_string(),
        ["fds"] => (0..32)
            .filter(|fd| sys!(fcntl, *fd, libc::F_GETFD).is_ok())
            .map(|fd| fd.to_string())
            .collect::<Vec<String>>()
            .join(" "),
        ["creds"] => {
            let mut ids = [0u32; 6];
            let (uids, gids) = ids.split_at_mut(3);
            ok(sys!(getresuid, &mut uids[0], &mut uids[1], &mut uids[2]));
            ok(sys!(getresgid, &mut gids[0], &mut gids[1], &mut gids[2]));
            format!("{ids:?}")
        }
        ["name"] => {
            let mut name = [0u8; 16];
            ok(sys!(prctl, libc::PR_GET_NAME, &mut name));
            String::from_utf8_lossy(&name).trim_end_matches('\0').to_string()
        }
        ["dumpable"] => ok(sys!(prctl, libc::PR_GET_DUMPABLE)).to_string(),
        ["timers"] => {
            let mut left = [0i64; 4];
            ok(sys!(getitimer, 0, &mut left));
            format!("{}", i32::from(left[2] != 0 || left[3] != 0))
        }
        ["cwd"] => std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default(),
        ["umask"] => format!("{:o}", ok(sys!(umask, 0))),
        ["auxv"] => {
            auxv().chunks_exact(2).map(|p| format!("{:x}={:x}", p[0], p[1])).collect::<Vec<_>>().join(" ")
        }
        ["random"] => {
            let words = auxv();
            let at = words.chunks_exact(2).find(|p| p[0] == libc::AT_RANDOM).map_or(0, |p| p[1] as usize);
            (0..16).map(|i| format!("{:02x}", super::memory::peek(at + i))).collect()
        }
        ["places"] => {
            let on_stack = 0u8;
            let mapped = super::memory::map(4096, libc::PROT_READ);
            let vdso = auxv().chunks_exact(2).find(|p| p[0] == libc::AT_SYSINFO_EHDR).map_or(0, |p| p[1]);
            format!("{:p} {mapped:x} {vdso:x} {:x}", &raw const on_stack, ok(sys!(brk, 0)))
        }
        ["sleep"] => {
            sleep_ms(20_000);
            String::new()
        }
        ["nice"] => ok(sys!(getpriority, 0, 0)).to_string(),
        _ => {
            say(&format!("no such probe: {all:?}"));
            return 1;
        }
    };
    write_all(1, text.as_bytes());
    0
}
