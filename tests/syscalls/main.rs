//! The conformance cases, all in one static program.
//!
//! - `cases list` prints a line a run of a case: name, covered calls, flags, separated by tabs;
//! - `cases run NAME…` runs them one by one, see [`kit::runner`];
//! - `cases run-walk FIRST LAST` makes all system calls of those numbers with hostile arguments and prints what became of them;
//! - `cases exec NAME [DIRECTORY]` runs one in this very process, for a debugger or strace.
//!
//! There is no Rust runtime before `main`: nothing ignores SIGPIPE, handles SIGSEGV or has opened anything.

#![no_main]

mod kit;

mod abuse;
mod clocks;
mod files;
mod filesystems;
mod ipc;
mod loader;
mod memory;
mod mounts;
mod namespaces;
mod pseudo;
mod signals;
mod sockets;
mod tasks;
mod terminals;

use std::ffi::CStr;

use kit::case::{Run, runs};
use kit::check::{fail, ok, say};
use libc::{c_char, c_int};

/// Called by the C library.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    // SAFETY: argv ends with a null pointer and lives as long as the process.
    let args = unsafe { strings(argv) };
    // SAFETY: the environment follows argv's null pointer and ends with another.
    let env = unsafe { strings(argv.add(argc as usize + 1)) };
    if let Some(program) = args.first() {
        kit::probe::remember(program);
    }
    // SAFETY: the auxiliary vector follows the environment's null pointer.
    kit::probe::remember_auxv(unsafe { argv.add(argc as usize + env.len() + 2) }.cast());
    let words: Vec<&str> = args.iter().map(|a| a.to_str().unwrap_or("")).collect();
    match words.as_slice() {
        [_, "list"] => list(),
        [_, "run", names @ ..] if !names.is_empty() => {
            let cases: Option<Vec<Run>> = names.iter().map(|name| find(name)).collect();
            cases.map_or(2, |cases| kit::runner::run(&cases, args[0]))
        }
        [_, "probe", _, ..] => kit::probe::run(&args[2..], &env),
        [_, "transcript", "memory", rest @ ..] => memory::transcript::run(rest),
        [_, "transcript", "numa", rest @ ..] => memory::transcript_numa::run(rest),
        [_, "calls"] => {
            let lines = kit::numbers::ALL.iter().map(|(name, number)| format!("{number} {name}\n"));
            kit::files::write_all(1, lines.collect::<String>().as_bytes());
            0
        }
        [_, "run-walk", first, last] => match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) => kit::walk::record(first, last),
            _ => 2,
        },
        [_, "transcript", "files", rest @ ..] => files::transcript::run(rest),
        [_, "swap", rest @ ..] => files::swap::run(rest),
        // An interpreter of scripts: `#!cases argv`.
        [_, word, ..] if word.starts_with("argv") => kit::probe::interpret(&args, &words),
        [_, "exec", name, rest @ ..] => match find(name) {
            Some(run) => exec(run, rest.first().copied()),
            None => 2,
        },
        _ => {
            say("usage: cases list | cases run NAME… | cases exec NAME [DIRECTORY]");
            2
        }
    }
}

/// # Safety
/// The list must end with a null pointer, and live for good.
unsafe fn strings(list: *const *const c_char) -> Vec<&'static CStr> {
    // SAFETY: by the contract.
    (0..)
        .map(|i| unsafe { *list.add(i) })
        .take_while(|s| !s.is_null())
        .map(|s| unsafe { CStr::from_ptr(s) })
        .collect()
}

fn list() -> c_int {
    let line = |r: &Run| format!("{}\t{}\t{}\n", r.name(), r.case.covers.join(","), r.case.flags.join(","));
    let lines: String = runs().iter().map(line).collect();
    kit::files::write_all(1, lines.as_bytes());
    0
}

fn find(name: &str) -> Option<Run> {
    let found = runs().into_iter().find(|run| run.name() == name);
    if found.is_none() {
        say(&format!("no case is called {name:?}; see: cases list"));
    }
    found
}

fn exec(run: Run, directory: Option<&str>) -> c_int {
    if let Some(directory) = directory {
        if let Err(e) = std::fs::create_dir_all(directory) {
            fail(format_args!("{directory}: {e}"));
        }
        ok(sys!(chdir, std::ffi::CString::new(directory).unwrap_or_default().as_c_str()));
    }
    (run.case.run)();
    0
}
