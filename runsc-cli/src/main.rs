//! OCI runtime and one-line sandbox command.
//!
//! `runsc` is one binary with several lives: the command that a person or an engine types, and the two processes that it
//! starts by executing itself again, the Sentry (`boot`) and the Gofer (`gofer`). Sub-commands are in [`cmd`], containers in
//! [`container`], what they are built of in [`sandbox`], what is handed to the processes in [`config`].

#![forbid(unsafe_code)]
// Whether the kernel's objects may go to another thread is many types deep.
#![recursion_limit = "256"]

use std::process::ExitCode;

mod cgroup;
mod cmd;
mod config;
mod container;
mod log;
mod overlay;
mod profile;
mod report;
mod sandbox;
mod spec;

use cmd::{Command, Global};
use container::descriptors::Descriptors;

fn main() -> ExitCode {
    let (global, command) = match cmd::parse() {
        Ok(parsed) => parsed,
        Err(status) => return status,
    };
    let name = command.name();
    run(&global, command).unwrap_or_else(|error| cmd::fail(name, &error))
}

fn run(global: &Global, command: Command) -> anyhow::Result<ExitCode> {
    // Those that know no containers.
    let command = match command {
        Command::Do(args) => return cmd::r#do::run(*args, global),
        Command::Syscalls(args) => return cmd::syscalls::run(&args),
        Command::Platforms(args) => return cmd::platforms::run(&args),
        Command::Version => return cmd::version::run(),
        Command::SelfTest(args) => return cmd::self_test::run(&args),
        Command::Boot => return cmd::boot::run(),
        Command::Gofer => return cmd::gofer::run(),
        Command::Owners => return cmd::gofer::run_owners(),
        Command::Spec(args) => return cmd::spec::run(&args),
        Command::Features => return cmd::features::run(),
        Command::Install(args) => return cmd::install::install(&args),
        Command::Uninstall(args) => return cmd::install::uninstall(&args),
        other => other,
    };
    // Before anything is opened.
    let descriptors = match &command {
        Command::Create(args) => args.descriptors(),
        Command::Run(args) => args.descriptors(),
        Command::Exec(args) => args.descriptors(),
        _ => Ok(Descriptors::default()),
    };
    let settings = global.settings()?;
    let descriptors = descriptors?;
    match command {
        Command::Create(args) => cmd::create::run(&settings, &args, descriptors),
        Command::Start(args) => cmd::start::run(&settings, &args),
        Command::Run(args) => cmd::run::run(&settings, &args, descriptors),
        Command::Exec(args) => cmd::exec::run(&settings, args, descriptors),
        Command::State(args) => cmd::state::run(&settings, &args),
        Command::Kill(args) => cmd::kill::run(&settings, &args),
        Command::Delete(args) => cmd::delete::run(&settings, &args),
        Command::List(args) => cmd::list::run(&settings, &args),
        Command::Ps(args) => cmd::ps::run(&settings, &args),
        Command::Pause(args) => cmd::pause::pause(&settings, &args),
        Command::Resume(args) => cmd::pause::resume(&settings, &args),
        Command::Events(args) => cmd::events::run(&settings, &args),
        Command::Update(args) => cmd::update::run(&settings, &args),
        Command::Wait(args) => cmd::wait::run(&settings, &args),
        Command::Usage(args) => cmd::usage::run(&settings, &args),
        Command::Debug(args) => cmd::debug::run(&settings, &args),
        _ => cmd::unsupported::run(),
    }
}
