//! The debug log: tracing events of all processes of a sandbox, appended to one file.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Mutex;

use crate::config::monotonic_ns;

/// Opens the file that `--debug-log` names, made if it is not there. Written at its end, so that several processes can
/// share it.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Sends this process's events to `file`. Without a call, events cost next to nothing and go nowhere.
pub fn start(file: File) {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Mutex::new(file))
        .with_ansi(false)
        .with_max_level(tracing::Level::DEBUG)
        .finish();
    // An error means that there is a subscriber already: tests in one process.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Logs how long each step of a start takes.
#[derive(Debug)]
pub struct Timeline {
    started_ns: u64,
    last_ns: u64,
}

impl Timeline {
    /// Of a command that was started at this time on CLOCK_MONOTONIC.
    pub fn new(started_ns: u64) -> Timeline {
        Timeline { started_ns, last_ns: monotonic_ns() }
    }

    /// A step has been taken.
    pub fn done(&mut self, step: &str) {
        let now = monotonic_ns();
        tracing::debug!(
            us = (now - self.last_ns) / 1000,
            since_start_us = now.saturating_sub(self.started_ns) / 1000,
            "start-up: {step}"
        );
        self.last_ns = now;
    }
}
