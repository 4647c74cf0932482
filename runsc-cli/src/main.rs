//! OCI runtime and one-line sandbox command.
//!
//! `runsc` is one binary with several lives: the command that a person types, and the two processes that it starts by
//! executing itself again, the Sentry (`boot`) and the Gofer (`gofer`). Sub-commands are in [`cmd`], what they build
//! is in [`sandbox`], what they hand to the processes is in [`config`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

mod cmd;
mod config;
mod log;
mod profile;
mod sandbox;

use cmd::Command;

fn main() -> ExitCode {
    let command = match cmd::parse() {
        Ok(command) => command,
        Err(status) => return status,
    };
    let name = command.name();
    let done = match command {
        Command::Do(args) => cmd::r#do::run(*args),
        Command::Syscalls(args) => cmd::syscalls::run(&args),
        Command::Platforms(args) => cmd::platforms::run(&args),
        Command::Version => cmd::version::run(),
        Command::SelfTest(args) => cmd::self_test::run(&args),
        Command::Boot => cmd::boot::run(),
        Command::Gofer => cmd::gofer::run(),
        Command::Owners => cmd::gofer::run_owners(),
    };
    done.unwrap_or_else(|error| cmd::fail(name, &error))
}
