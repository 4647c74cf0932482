//! What is kept of a container between commands.
//!
//! The file is written beside its place and renamed into it: whoever is killed meanwhile leaves the old one or the new one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::{ContainerError, disk};
use crate::cgroup::Cgroup;
use crate::sandbox::control::Ended;

/// Name of the file in the container's directory.
pub const FILE: &str = "state.json";
/// How its process ended.
const ENDED: &str = "ended.json";
/// The copy of its configuration.
pub const CONFIG: &str = "config.json";
/// The socket of the sandbox.
pub const SOCKET: &str = "control.sock";

/// A host process, told apart from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProcess {
    /// Its pid.
    pub pid: i32,
    /// When it started, in the host's clock ticks.
    pub started: u64,
}

impl HostProcess {
    /// The process with this pid, if there is one.
    pub fn of(pid: i32) -> Option<HostProcess> {
        stat(pid).map(|(_, started)| HostProcess { pid, started })
    }

    /// Whether it lives. One that waits to be reaped does not.
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }
}

/// State and start time of a process.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also parentheses.
    let mut fields = text[text.rfind(')')? + 2..].split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// How far a container was when its state was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Being created.
    Creating,
    /// Created; its sandbox knows more.
    Created,
}

/// The state of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// Version of the specification that its configuration was written for.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// The command that makes it: what is being created is given up with that.
    pub maker: Option<HostProcess>,
    /// Its monitor, once there is one.
    pub monitor: Option<HostProcess>,
    /// What that has started, and what dies with it.
    pub helpers: Vec<HostProcess>,
    /// How far it was.
    pub stage: Stage,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: PathBuf,
    /// When it was created.
    pub created: String,
    /// The user who created it.
    pub owner: String,
    /// The container that began its sandbox: itself, or another.
    pub sandbox: String,
    /// Its cgroups.
    pub cgroup: Option<Cgroup>,
    /// What the engine noted.
    pub annotations: BTreeMap<String, String>,
}

impl Saved {
    /// Whether the sandbox began with it.
    pub fn began_sandbox(&self) -> bool {
        self.sandbox == self.id
    }

    /// Reads the state in a container's directory.
    pub fn read(dir: &Path) -> Result<Saved, ContainerError> {
        let path = dir.join(FILE);
        let text = std::fs::read(&path).map_err(disk(&path, "reading"))?;
        serde_json::from_slice(&text).map_err(|error| disk(&path, "reading")(error.into()))
    }

    /// Writes it.
    pub fn write(&self, dir: &Path) -> Result<(), ContainerError> {
        write_json(&dir.join(FILE), self)
    }
}

/// Notes how a container's process ended, in its directory.
pub fn write_ended(dir: &OwnedFd, ended: &Ended) -> io::Result<()> {
    let beside = format!("{ENDED}.{}", std::process::id());
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, &beside, flags, Mode::from_raw_mode(0o644))?;
    File::from(fd).write_all(&serde_json::to_vec(ended)?)?;
    Ok(rustix::fs::renameat(dir, &beside, dir, ENDED)?)
}

/// How a container's process ended, if that was seen.
pub fn read_ended(dir: &Path) -> Option<Ended> {
    serde_json::from_slice(&std::fs::read(dir.join(ENDED)).ok()?).ok()
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ContainerError> {
    write_whole(path, &serde_json::to_vec(value).map_err(|error| disk(path, "writing")(error.into()))?)
        .map_err(disk(path, "writing"))
}

/// Writes a file that is not there whole or not at all, and leaves nothing else, whenever this is killed.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let written = (|| {
        let fd = rustix::fs::openat(CWD, dir, flags, Mode::from_raw_mode(0o644))?;
        let mut file = File::from(fd);
        file.write_all(bytes)?;
        let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
        Ok::<_, io::Error>(rustix::fs::linkat(CWD, nameless, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    })();
    // It is there, or the file system has no files without a name.
    if written.is_ok() { Ok(()) } else { write_whole(path, bytes) }
}

/// Writes a file whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let written = (|| {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        // An error: it is not there.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_apart() {
        let own = HostProcess::of(std::process::id() as i32).unwrap();
        assert!(own.is_alive());
        assert!(!HostProcess { started: own.started + 1, ..own }.is_alive());
        assert_eq!(HostProcess::of(i32::MAX), None);
    }
}
