//! `cargo test -p conformance --test conformance [FILTER]`: every case natively, then in the sandbox.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use conformance::session::{self, Options};
use conformance::{build, catalog};

fn main() -> ExitCode {
    let mut options = Options::default();
    let mut only_list = false;
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            "--exact" => options.exact = true,
            "--list" => only_list = true,
            "--nocapture" | "--show-output" => options.verbose = true,
            // Flags of the standard harness that mean nothing here.
            flag if flag.starts_with('-') => {}
            _ => options.filters.push(arg),
        }
    }
    let done = if only_list {
        build::cases().and_then(|program| catalog::load(&program)).map(|cases| {
            cases.iter().for_each(|case| println!("{}: test", case.name));
            true
        })
    } else {
        session::run(&options)
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("conformance: {e:#}");
            ExitCode::from(2)
        }
    }
}
