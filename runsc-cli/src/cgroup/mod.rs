//! Control groups of containers: where they are, and what they limit.
//!
//! Everything of a sandbox, Sentry, Gofer and guest processes, is in its container's cgroups. Both versions are written to
//! directly (the cgroupfs driver), also where the engine names a systemd slice. The limit on processes is kept by the Sentry,
//! which knows what the guest's threads are; that of the host is there for what the Sentry itself may need.

use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

mod layout;
mod stats;
mod v1;
mod v2;

pub use stats::Stats;

use layout::{Controller, Layout};

/// Host processes and threads that a sandbox may need besides those of the guest, and a guest's thread at most.
const OWN_TASKS: i64 = 128;
const TASKS_PER_THREAD: i64 = 4;

/// Why a cgroup was not made or set.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A host call failed.
    #[error("cgroup {}: {what}: {error}; run as root, or with --ignore-cgroups", .path.display())]
    Host {
        /// The directory or file.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// The host's error.
        error: io::Error,
    },
    /// A value was refused.
    #[error("cgroup {}: setting {value}: {error}; choose another value", .path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// The host's error.
        error: io::Error,
    },
    /// A path that leads out of its hierarchy.
    #[error("cgroupsPath {0}: not a path below the hierarchy's root; leave out ..")]
    Path(String),
}

fn failed(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> CgroupError {
    move |error| CgroupError::Host { path: path.to_owned(), what, error }
}

/// A container's cgroups: one directory a hierarchy. What its state file holds of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Of version 1: controllers of the hierarchy, and the directory.
    pub v1: Vec<(String, PathBuf)>,
    /// Of version 2.
    pub v2: Option<PathBuf>,
}

impl Cgroup {
    /// Where the cgroups for `path` (cgroupsPath of the specification) are on this host. Nothing is made yet.
    pub fn find(path: &str) -> Result<Cgroup, CgroupError> {
        let layout = Layout::of_this_process()
            .map_err(failed(Path::new("/proc/self/mountinfo"), "reading where cgroups are mounted"))?;
        let below = layout::relative(path).ok_or_else(|| CgroupError::Path(path.to_owned()))?;
        let mut cgroup = Cgroup::default();
        for Controller { names, mount, own } in &layout.v1 {
            let dir = if path.starts_with('/') || path.contains(':') {
                mount.join(&below)
            } else {
                mount.join(own).join(&below)
            };
            cgroup.v1.push((names.clone(), dir));
        }
        // Beside version 1, the second version's hierarchy has no controllers: it is left alone.
        if cgroup.v1.is_empty()
            && let Some(v2) = &layout.v2
        {
            cgroup.v2 = Some(v2.mount.join(&below));
        }
        Ok(cgroup)
    }

    /// Makes the directories.
    pub fn create(&self) -> Result<(), CgroupError> {
        for (names, dir) in &self.v1 {
            v1::create(names, dir)?;
        }
        if let Some(dir) = &self.v2 {
            v2::create(dir)?;
        }
        Ok(())
    }

    /// Moves this process in, and with it all it will start.
    pub fn join(&self) -> Result<(), CgroupError> {
        let dirs = self.v1.iter().map(|(_, dir)| dir).chain(&self.v2);
        for dir in dirs {
            let file = dir.join("cgroup.procs");
            std::fs::write(&file, "0").map_err(failed(&file, "moving a process in"))?;
        }
        Ok(())
    }

    /// Sets limits.
    pub fn limit(&self, resources: &LinuxResources, notes: &mut Vec<String>) -> Result<(), CgroupError> {
        if let Some(dir) = &self.v2 {
            return v2::limit(dir, resources);
        }
        v1::limit(self, resources, notes)
    }

    /// What is used.
    pub fn stats(&self) -> Stats {
        match &self.v2 {
            Some(dir) => stats::of_v2(dir),
            None => stats::of_v1(self),
        }
    }

    /// The directory of a controller of version 1.
    fn of(&self, controller: &str) -> Option<&Path> {
        let holds = |names: &str| names.split(',').any(|name| name == controller);
        self.v1.iter().find(|(names, _)| holds(names)).map(|(_, dir)| dir.as_path())
    }

    /// Kills whatever is in it, and takes the directories away. Those that are gone are no error.
    pub fn remove(&self) -> Result<(), CgroupError> {
        for dir in self.v1.iter().map(|(_, dir)| dir).chain(&self.v2) {
            layout::remove(dir)?;
        }
        Ok(())
    }
}

/// Writes a value; the directory is there.
fn set(dir: &Path, file: &str, value: impl ToString) -> Result<(), CgroupError> {
    let (path, value) = (dir.join(file), value.to_string());
    std::fs::write(&path, &value).map_err(|error| CgroupError::Value { path, value, error })
}

/// The host's limit on tasks for a guest's limit on threads.
fn host_tasks(limit: i64) -> String {
    match limit {
        1.. => (limit.saturating_mul(TASKS_PER_THREAD).saturating_add(OWN_TASKS)).to_string(),
        _ => "max".to_owned(),
    }
}
