//! The shim's log: a FIFO in the bundle that containerd reads and adds to its own log, in logfmt.

use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{Mode, OFlags};

static LOG: OnceLock<Mutex<File>> = OnceLock::new();

/// Opens the log in the working directory, which is the bundle. Without a reader nothing is lost but the log.
pub fn open() {
    // Opened for reading, too, so that neither this waits for containerd nor a containerd that ends kills the shim.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(fd) = rustix::fs::open("log", flags, Mode::empty()) {
        let _ = LOG.set(Mutex::new(File::from(fd)));
    }
    std::panic::set_hook(Box::new(|info| error(&format!("the shim has an error of its own: {info}"))));
}

fn line(level: &str, message: &str) {
    if let Some(log) = LOG.get() {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // What doesn't fit now is dropped: nobody may wait for a log.
        let _ = writeln!(log, "level={level} msg={message:?} shim=runsc pid={}", std::process::id());
    }
}

/// Something went wrong.
pub fn error(message: &str) {
    line("error", message);
}

/// Something that is worth knowing.
pub fn info(message: &str) {
    line("info", message);
}
