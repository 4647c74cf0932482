//! The streams of a container's process: FIFOs that containerd's client reads and writes.
//!
//! The process gets the FIFOs themselves, so nothing is copied. The shim keeps an end of each open: for the output, so that
//! the program is not killed by SIGPIPE when a client leaves, and for the input, so that its end comes when containerd says
//! so ([`Held::close_input`]) and not when no client has come yet.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::fs::{Mode, OFlags};

use crate::failure::{Code, Failure};

/// What containerd asks for.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

/// What the process gets.
pub struct Given {
    pub stdin: Stdio,
    pub stdout: Stdio,
    pub stderr: Stdio,
}

/// What the shim keeps.
#[derive(Default)]
pub struct Held {
    input: Option<OwnedFd>,
    /// Kept open, not used.
    _output: Vec<OwnedFd>,
}

impl Held {
    /// The input has no more than what has been written so far.
    pub fn close_input(&mut self) {
        self.input = None;
    }
}

fn open(path: &str, flags: OFlags) -> Result<OwnedFd, Failure> {
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)
        .map_err(|error| Failure::new(Code::Unknown, format!("can't open the stream {path}: {error}")))
}

/// A FIFO's end, and one that keeps the FIFO open meanwhile.
fn open_pair(path: &str, flags: OFlags) -> Result<(OwnedFd, OwnedFd), Failure> {
    // With both directions open never waits, and with it open neither does the other.
    let held = open(path, OFlags::RDWR | OFlags::NONBLOCK)?;
    Ok((open(path, flags)?, held))
}

fn open_output(uri: &str, held: &mut Held) -> Result<Stdio, Failure> {
    let path = match uri.split_once("://") {
        None => uri,
        Some(("fifo", path)) => path,
        Some(("file", path)) => {
            return Ok(Stdio::from(open(path, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)?));
        }
        Some((scheme, _)) => {
            let message =
                format!("streams of the kind {scheme}:// are not supported; there are FIFOs and file://");
            return Err(Failure::new(Code::Unimplemented, message));
        }
    };
    if path.is_empty() {
        return Ok(Stdio::null());
    }
    let (given, kept) = open_pair(path, OFlags::WRONLY)?;
    held._output.push(kept);
    Ok(Stdio::from(given))
}

/// Opens the streams of a process without a terminal.
pub fn open_all(names: &Names) -> Result<(Given, Held), Failure> {
    let mut held = Held::default();
    let stdin = if names.stdin.is_empty() {
        Stdio::null()
    } else {
        let (given, kept) = open_pair(&names.stdin, OFlags::RDONLY)?;
        held.input = Some(kept);
        Stdio::from(given)
    };
    let stdout = open_output(&names.stdout, &mut held)?;
    let stderr = open_output(&names.stderr, &mut held)?;
    Ok((Given { stdin, stdout, stderr }, held))
}

/// Opens one FIFO in both directions, for the copies between it and a terminal.
pub fn open_for_copy(path: &str) -> Result<File, Failure> {
    Ok(File::from(open(path, OFlags::RDWR)?))
}
