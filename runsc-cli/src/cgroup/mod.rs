//! Control groups of containers: where they are, and what they limit.
//!
//! Everything of a sandbox, Sentry, Gofer and guest processes, is in its container's cgroups. Both versions are written to
//! directly (the cgroupfs driver), also where the engine names a systemd slice, unless systemd is to make the cgroups
//! ([`systemd`]): then they are its, and it is told of limits too. The limit on processes is kept by the Sentry,
//! which knows what the guest's threads are; that of the host is there for what the Sentry itself may need.

use std::io;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use crate::report;

mod layout;
mod stats;
pub mod systemd;
mod v1;
mod v2;

pub use stats::Stats;

use layout::{Controller, Layout};
use systemd::{Current, Owner, Property, SystemdError, Unit, Version};

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
    /// Somebody else's.
    #[error(
        "container's cgroup {} is not empty: {count} process(es) found; choose another cgroupsPath, or delete the container that has it",
        .path.display()
    )]
    Used {
        /// The directory.
        path: PathBuf,
        /// How many are in it.
        count: usize,
    },
    /// A limit of a controller that the container does not have.
    #[error(
        "cannot set {file}: the container has no cgroup controller {controller}; leave the limit out, or enable the controller on the host"
    )]
    Controller {
        /// The controller.
        controller: String,
        /// The file that was to be written.
        file: String,
    },
    /// systemd did not do its part.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// Something that can't be had, or means nothing.
    #[error("{0}")]
    Unusable(String),
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
    /// The unit of systemd that they belong to.
    #[serde(default)]
    pub unit: Option<Unit>,
}

impl CgroupError {
    /// Whether there is another's unit of that name, also when that was not seen before.
    pub fn is_taken(&self) -> bool {
        matches!(self, CgroupError::Systemd(error) if error.is("UnitExists"))
    }
}

impl Cgroup {
    /// Where the cgroups for `path` (cgroupsPath of the specification) are on this host. Nothing is made yet.
    pub fn find(path: &str) -> Result<Cgroup, CgroupError> {
        let layout = Layout::of("self")
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
            cgroup.v2 = Some(if path.starts_with('/') || path.contains(':') {
                v2.mount.join(&below)
            } else {
                // Beside the own cgroup: that has processes in it, and gives no controllers away.
                v2.mount.join(v2.own.parent().unwrap_or(&v2.own)).join(&below)
            });
        }
        Ok(cgroup)
    }

    /// That nobody is in it yet: what makes a container there takes it away again, with all that is in it.
    pub fn check_unused(&self) -> Result<(), CgroupError> {
        for dir in self.v1.iter().map(|(_, dir)| dir).chain(&self.v2) {
            let count = layout::processes(dir).len();
            if count != 0 {
                return Err(CgroupError::Used { path: dir.clone(), count });
            }
        }
        Ok(())
    }

    fn version(&self) -> Version {
        if self.v2.is_some() { Version::V2 } else { Version::V1 }
    }

    /// Makes them, with limits. Those of a controller that is not there are an error. A unit of systemd has this process in it from
    /// its beginning, and also these properties.
    pub fn create(
        &self,
        pid: i32,
        resources: Option<&LinuxResources>,
        given: &[Property],
    ) -> Result<(), CgroupError> {
        if let Some(unit) = &self.unit {
            unit.start(pid, self.version(), resources, given)?;
        }
        for (names, dir) in &self.v1 {
            v1::create(names, dir)?;
        }
        if let Some(dir) = &self.v2 {
            v2::create(dir)?;
        }
        resources.map_or(Ok(()), |resources| self.write_limits(resources))
    }

    /// Moves this process in, and with it all it will start.
    pub fn join(&self) -> Result<(), CgroupError> {
        let dirs = self.v1.iter().map(|(_, dir)| dir).chain(&self.v2);
        let of_user = self.unit.as_ref().is_some_and(|unit| unit.owner == Owner::User);
        for dir in dirs {
            let file = dir.join("cgroup.procs");
            match std::fs::write(&file, "0") {
                // From the scope of a login session an ordinary user may move nothing: then what only stands for a process
                // in the container stays outside. The container's own was moved by systemd.
                Err(error) if of_user && error.kind() == io::ErrorKind::PermissionDenied => {}
                joined => joined.map_err(failed(&file, "moving a process in"))?,
            }
        }
        Ok(())
    }

    /// Changes limits.
    pub fn limit(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        if let Some(unit) = &self.unit {
            unit.limit(self.version(), resources, self.current())?;
        }
        self.write_limits(resources)
    }

    /// What is set.
    fn current(&self) -> Current {
        let files = |controller| Files { controller, dir: self.of(controller).or(self.v2.as_deref()) };
        let (memory, cpu) = (files("memory"), files("cpu"));
        let (quota, period) = match self.version() {
            Version::V1 => (cpu.read("cpu.cfs_quota_us"), cpu.read("cpu.cfs_period_us")),
            Version::V2 => {
                let text = cpu.read("cpu.max").unwrap_or_default();
                let mut fields = text.split_whitespace().map(str::to_owned);
                (fields.next(), fields.next())
            }
        };
        Current {
            memory: memory.read("memory.max").and_then(|text| text.parse().ok()),
            quota: quota.and_then(|text| text.parse().ok()),
            period: period.and_then(|text| text.parse().ok()),
        }
    }

    fn write_limits(&self, resources: &LinuxResources) -> Result<(), CgroupError> {
        match &self.v2 {
            Some(dir) => v2::limit(dir, resources),
            None => v1::limit(self, resources),
        }
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
        if let Some(unit) = &self.unit
            && let Err(error) = unit.stop()
        {
            // It notices that what is removed below is gone.
            report::warn(&format!("cleaning up: {error}"));
        }
        for dir in self.v1.iter().map(|(_, dir)| dir).chain(&self.v2) {
            layout::remove(dir)?;
        }
        Ok(())
    }
}

/// The files of a controller, in the container's directory for it.
struct Files<'a> {
    controller: &'a str,
    /// None where the container has no such controller.
    dir: Option<&'a Path>,
}

impl Files<'_> {
    fn set(&self, file: &str, value: impl ToString) -> Result<(), CgroupError> {
        match self.dir {
            Some(dir) => set(dir, file, value),
            None => {
                Err(CgroupError::Controller { controller: self.controller.to_owned(), file: file.to_owned() })
            }
        }
    }

    /// A value of zero means that nothing is asked for.
    fn set_unless_zero(&self, file: &str, value: Option<u64>) -> Result<(), CgroupError> {
        value.filter(|value| *value != 0).map_or(Ok(()), |value| self.set(file, value))
    }

    fn has(&self, file: &str) -> bool {
        self.dir.is_some_and(|dir| dir.join(file).exists())
    }

    fn read(&self, file: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.dir?.join(file)).ok()?;
        Some(text.trim().to_owned())
    }
}

/// Lines of rdma.max, which both versions have.
fn limit_rdma(files: &Files<'_>, resources: &LinuxResources) -> Result<(), CgroupError> {
    for (device, limit) in resources.rdma().iter().flatten() {
        let mut line = device.clone();
        for (name, value) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
            if let Some(value) = value {
                line += &format!(" {name}={value}");
            }
        }
        files.set("rdma.max", line)?;
    }
    Ok(())
}

/// Writes a value; the directory is there.
fn set(dir: &Path, file: &str, value: impl ToString) -> Result<(), CgroupError> {
    let (path, value) = (dir.join(file), value.to_string());
    std::fs::write(&path, &value).map_err(|error| CgroupError::Value { path, value, error })
}

/// The host's limit on tasks for a guest's limit on threads; none for one that says nothing.
fn host_tasks(limit: i64) -> Option<String> {
    host_tasks_limit(limit).map(|limit| limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string()))
}

/// The same as a number; the inner none is no limit.
fn host_tasks_limit(limit: i64) -> Option<Option<u64>> {
    match limit {
        1.. => Some(Some(limit.saturating_mul(TASKS_PER_THREAD).saturating_add(OWN_TASKS).unsigned_abs())),
        0 => None,
        _ => Some(None),
    }
}
