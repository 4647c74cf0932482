//! A terminal with a program on it, driven like a person would.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The person's side.
pub struct Pty {
    controller: File,
    output: Receiver<Vec<u8>>,
    seen: String,
    child: Child,
}

impl Pty {
    /// Starts a shell command as the leader of a session on a new terminal of 24 lines and 80 columns.
    pub fn start(script: &str) -> Pty {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::openat(CWD, &name, flags, Mode::empty()).unwrap();
        resize(&controller, 24, 80);
        let stream = || terminal.try_clone().unwrap();
        // setsid(1) makes the terminal the controlling one, which here would need unsafe code.
        let child = Command::new("setsid")
            // Whoever runs the tests in the background ignores some signals.
            .args(["--ctty", "--wait", "env", "--default-signal", "sh", "-c", script])
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .env("PS1", "$ ")
            .env("TERM", "dumb")
            .env_remove("PROMPT_COMMAND")
            .spawn()
            .unwrap();
        let (send, output) = channel();
        let mut reader = File::from(controller.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // EIO: nobody has the terminal open any more.
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        Pty { controller: controller.into(), output, seen: String::new(), child }
    }

    /// Types.
    pub fn send(&mut self, keys: &str) {
        self.controller.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` has come since the last call, and takes everything up to it.
    pub fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => panic!("no {text:?} came, but {:?}", self.seen),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the end, and no {text:?}, but {:?}", self.seen)
                }
            }
        }
    }

    /// Changes the size of the window.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(self.controller.as_fd(), rows, columns);
    }

    /// Waits for the program's end.
    pub fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the program does not end; it wrote {:?}", self.drain());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn drain(&mut self) -> String {
        let rest: Vec<u8> = self.output.try_iter().flatten().collect();
        std::mem::take(&mut self.seen) + &String::from_utf8_lossy(&rest)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(controller: impl AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(controller, size).unwrap();
}
