//! containerd's shim for runsc: the process that stands between containerd and the containers of one pod.
//!
//! containerd starts it three ways, all told apart by the last word of the command line:
//!
//! - `start`: makes sure that a shim serves this container (a new one, or that of the pod which the container belongs to),
//!   prints the address of its socket and ends.
//! - nothing: serves. Started by `start`, lives until containerd asks it to shut down.
//! - `delete`: removes what a shim left that died.
//!
//! The service is containerd's task API, version 2 (containerd 1.x) and version 3 (2.x), over ttrpc. Every action on a
//! container is a call of the OCI runtime's command line, so the shim knows nothing of sandboxes, and runc can stand in.

#![forbid(unsafe_code)]

mod api;
mod arguments;
mod cgroup;
mod config;
mod console;
mod container;
mod delete;
mod events;
mod failure;
mod log;
mod metrics;
mod mounts;
mod oom;
mod process;
mod reaper;
mod runtime;
mod serve;
mod service;
mod start;
mod streams;
mod ttrpc;

use std::process::ExitCode;

use crate::arguments::{Action, Arguments};

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => return fail(&error),
    };
    let done = match arguments.action {
        Action::Start => start::start(&arguments),
        Action::Delete => delete::delete(&arguments),
        Action::Serve => serve::serve(&arguments),
        Action::Version => {
            println!("containerd-shim-runsc-v1 {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Action::Info => start::info(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("containerd-shim-runsc-v1: {error:#}");
    ExitCode::FAILURE
}
