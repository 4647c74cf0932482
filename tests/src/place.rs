//! Where a program can run: on the host, or in the sandbox on one of its platforms.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::batch::wait_or_kill;

/// The platforms, the reference first.
pub const PLATFORMS: [&str; 3] = ["ptrace", "systrap", "kvm"];

/// Where to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The host, which is the oracle.
    Native,
    /// `runsc do` on a platform.
    Sandbox {
        /// The program `runsc`.
        runsc: PathBuf,
        /// The platform's name.
        platform: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Native => f.write_str("native"),
            Place::Sandbox { platform, .. } => f.write_str(platform),
        }
    }
}

impl Place {
    /// Whether it is the platform that is taken where nothing else is said.
    pub fn is_default(&self) -> bool {
        matches!(self, Place::Sandbox { platform, .. } if platform == "systrap")
    }

    /// A command that runs the program here.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_with(&[], program)
    }

    /// The same with more flags for `runsc do`, which the host ignores.
    pub fn command_with(&self, flags: &[&str], program: impl AsRef<OsStr>) -> Command {
        match self {
            Place::Native => Command::new(program),
            Place::Sandbox { runsc, platform } => {
                let mut command = Command::new(runsc);
                command.arg("do").arg(format!("--platform={platform}")).args(flags).arg("--").arg(program);
                command
            }
        }
    }

    /// A command that runs the program here and prints each of its system calls to stderr.
    pub fn strace(&self, program: &Path) -> Command {
        match self {
            Place::Native => {
                let mut command = Command::new("strace");
                command.args(["-f", "--"]).arg(program);
                command
            }
            Place::Sandbox { .. } => self.command_with(&["--strace"], program),
        }
    }

    /// Whether `/bin/echo` runs here; if not, what was said instead.
    pub fn probe(&self) -> Result<(), String> {
        match self.echo() {
            Ok((true, said)) if said == "booted\n" => Ok(()),
            Ok((_, said)) => Err(format!("/bin/echo booted gave {:?}", said.trim())),
            Err(e) => Err(format!("{e:#}")),
        }
    }

    /// Whether it succeeded, and its output, the errors last.
    fn echo(&self) -> Result<(bool, String)> {
        let mut command = self.command("/bin/echo");
        command.arg("booted").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("can't start {command:?}"))?;
        let streams = (child.stdout.take(), child.stderr.take());
        let status = wait_or_kill(&mut child, Duration::from_secs(20))?;
        let mut said = streams.0.and_then(|s| std::io::read_to_string(s).ok()).unwrap_or_default();
        said += &streams.1.and_then(|s| std::io::read_to_string(s).ok()).unwrap_or_default();
        Ok((status.is_some_and(|s| s.success()), said))
    }
}

/// The platforms that a machine may lack. Every other one works wherever the sandbox does: where it does not, the tests
/// have failed, not been skipped.
const OPTIONAL: [&str; 2] = ["systrap", "kvm"];

/// The sandboxes to test. `CONFORMANCE_PLATFORMS` (or `names`) lists platforms that must work, separated by commas; without
/// it each platform on which `/bin/echo` runs is taken, and the others are named loudly. The reference must work in any case.
pub fn sandboxes(runsc: &Path, names: Option<&str>) -> Result<Vec<Place>> {
    let place = |name: &str| Place::Sandbox { runsc: runsc.to_path_buf(), platform: name.to_string() };
    let asked = names.map(str::to_string).or_else(|| std::env::var("CONFORMANCE_PLATFORMS").ok());
    if let Some(asked) = asked {
        let places: Vec<Place> = asked.split(',').filter(|n| !n.is_empty()).map(place).collect();
        for place in &places {
            if let Err(why) = place.probe() {
                anyhow::bail!("the platform {place} was asked for and does not run: {why}");
            }
        }
        return Ok(places);
    }
    let mut places = Vec::new();
    for name in PLATFORMS {
        let place = place(name);
        match place.probe() {
            Ok(()) => places.push(place),
            Err(why) if !OPTIONAL.contains(&name) => {
                anyhow::bail!("the platform {place} does not run: {why}")
            }
            Err(why) => eprintln!("*** SKIPPED: nothing is run on the platform {place}: {why}"),
        }
    }
    Ok(places)
}
