//! The systemd driver (`--systemd-cgroup`): a container's cgroups are those of a transient scope, which systemd makes when it is
//! asked over D-Bus, and takes away when it is empty. Nothing else may write where systemd does.
//!
//! Names, properties and their order are runc's. The client of D-Bus is our own ([`wire`], [`bus`]): six methods with four
//! signatures, where a library brings an asynchronous runtime. Sentry and Gofer never come near it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use super::layout::{self, Controller, Layout};
use super::{Cgroup, CgroupError, failed};

mod annotations;
mod bus;
mod properties;
mod wire;

pub use bus::Owner;
pub use properties::{Current, Version};
pub use wire::Property;

use bus::Connection;

/// Why systemd did not do what it was to.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// There is none.
    #[error(
        "systemd not running on this host, cannot use systemd cgroups manager; leave out --systemd-cgroup, and have the engine use its cgroupfs driver"
    )]
    NotRunning,
    /// It can't be spoken to.
    #[error(
        "systemd at {address}: {what}: {error}; start the D-Bus daemon (as an ordinary user: in a login session), or use the cgroupfs driver"
    )]
    Bus {
        /// Where it was looked for, an address of D-Bus.
        address: String,
        /// What was being done.
        what: &'static str,
        /// The host's error.
        error: io::Error,
    },
    /// It does not answer.
    #[error("systemd at {address}: {what}: {error}; see 'systemctl status'")]
    Asking {
        /// Where it is.
        address: String,
        /// What it was asked.
        what: String,
        /// The host's error.
        error: io::Error,
    },
    /// It refused.
    #[error("systemd: {subject}: {message} ({name}); see 'journalctl'")]
    Refused {
        /// What it was asked about: a unit for the most part.
        subject: String,
        /// The error's name.
        name: String,
        /// The error's text.
        message: String,
    },
    /// It tried and failed.
    #[error("error creating systemd unit {unit}: got {result}; see 'journalctl --unit {unit}'")]
    Job {
        /// The unit.
        unit: String,
        /// What came of the job.
        result: String,
    },
}

impl SystemdError {
    /// Whether it is this error of systemd's.
    pub fn is(&self, error: &str) -> bool {
        matches!(self, SystemdError::Refused { name, .. } if name.strip_prefix("org.freedesktop.systemd1.") == Some(error))
    }
}

/// The unit of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name: `docker-0123.scope`.
    pub name: String,
    /// The name in that of the container.
    pub container: String,
    /// The slice that it is in.
    pub slice: String,
    /// Whose systemd has it.
    pub owner: Owner,
}

/// sd_booted(3).
fn is_running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

impl Unit {
    /// What cgroupsPath means, `slice:prefix:name`; without one it is named after the container.
    pub fn of(path: Option<&str>, id: &str, owner: Owner) -> Result<Unit, CgroupError> {
        let parts: Vec<&str> = path.map_or_else(|| vec!["", "runc", id], |path| path.split(':').collect());
        let [slice, prefix, name] = parts[..] else {
            return Err(CgroupError::Unusable(format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {:?} instead; leave out --systemd-cgroup, or write it so",
                path.unwrap_or_default()
            )));
        };
        let by_default = match owner {
            Owner::System => "system.slice",
            Owner::User => "user.slice",
        };
        let slice = if slice.is_empty() { by_default } else { slice };
        let container = name.to_owned();
        let name = if name.ends_with(".slice") { name.to_owned() } else { format!("{prefix}-{name}.scope") };
        if name.contains('/') {
            return Err(CgroupError::Path(path.unwrap_or_default().to_owned()));
        }
        Ok(Unit { name, container, slice: slice.to_owned(), owner })
    }

    /// Its place below that of its systemd.
    fn place(&self) -> Result<PathBuf, CgroupError> {
        let wrong =
            || CgroupError::Unusable(format!("invalid slice name: {:?}; write a-b.slice", self.slice));
        let parent = layout::slices(&self.slice).ok_or_else(wrong)?;
        Ok(parent.join(&self.name))
    }

    /// The cgroups that it has: of version 1, one in each hierarchy, or the one of version 2. systemd makes them in the
    /// hierarchies that it knows of.
    pub fn cgroup(self) -> Result<Cgroup, CgroupError> {
        if !is_running() {
            return Err(SystemdError::NotRunning.into());
        }
        // Those of the first process: the system's are beside it or, in a container that runs one, below.
        let layout =
            Layout::of("1").map_err(failed(Path::new("/proc/1/cgroup"), "reading where systemd is"))?;
        let place = self.place()?;
        if !layout.v1.is_empty() {
            if self.owner == Owner::User {
                return Err(CgroupError::Unusable(
                    "cannot use rootless systemd cgroups manager on cgroup v1; leave out --systemd-cgroup"
                        .to_owned(),
                ));
            }
            let dir = |hierarchy: &Controller| {
                let own = &hierarchy.own;
                let above = if own.ends_with("init.scope") { own.parent().unwrap_or(own) } else { own };
                hierarchy.mount.join(above).join(&place)
            };
            let v1 = layout.v1.iter().map(|hierarchy| (hierarchy.names.clone(), dir(hierarchy))).collect();
            return Ok(Cgroup { v1, v2: None, unit: Some(self) });
        }
        let manager = match self.owner {
            Owner::System => String::new(),
            Owner::User => Connection::new(self.owner)?.manager_property("ControlGroup")?,
        };
        let manager = Path::new(manager.trim_start_matches('/'));
        if manager.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(CgroupError::Path(manager.display().to_string()));
        }
        let v2 = layout.v2.map(|v2| v2.mount.join(manager).join(place));
        Ok(Cgroup { v1: Vec::new(), v2, unit: Some(self) })
    }

    /// Has systemd make it, with these limits, and move a process in.
    pub fn start(
        &self,
        pid: i32,
        version: Version,
        resources: Option<&LinuxResources>,
        given: &[Property],
    ) -> Result<(), CgroupError> {
        let mut all = properties::of_unit(self, pid, version, given);
        if let Some(resources) = resources {
            all.extend(properties::of_limits(resources, version, Current::default())?);
        }
        let mut connection = Connection::new(self.owner)?;
        let mut started = connection.start_transient_unit(&self.name, &all);
        if started.as_ref().is_err_and(|error| error.is("UnitExists")) {
            // It may be one that failed and is still remembered.
            connection.reset_failed_unit(&self.name)?;
            started = connection.start_transient_unit(&self.name, &all);
        }
        match started?.as_str() {
            "done" => Ok(()),
            result => {
                // An error: it is forgotten already.
                let _ = connection.reset_failed_unit(&self.name);
                Err(SystemdError::Job { unit: self.name.clone(), result: result.to_owned() }.into())
            }
        }
    }

    /// Changes limits, of which these are set.
    pub fn limit(
        &self,
        version: Version,
        resources: &LinuxResources,
        current: Current,
    ) -> Result<(), CgroupError> {
        let all = properties::of_limits(resources, version, current)?;
        if !all.is_empty() {
            Connection::new(self.owner)?.set_unit_properties(&self.name, &all)?;
        }
        Ok(())
    }

    /// Has systemd end it. One that is gone with its last process is no error.
    pub fn stop(&self) -> Result<(), SystemdError> {
        let mut connection = Connection::new(self.owner)?;
        let stopped = connection.stop_unit(&self.name).map(drop);
        // One that failed is remembered until then.
        let reset = connection.reset_failed_unit(&self.name);
        stopped.and(reset).or_else(|error| if error.is("NoSuchUnit") { Ok(()) } else { Err(error) })
    }
}

/// The properties that annotations give a unit, `org.systemd.property.NAME`.
pub fn annotated(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>, CgroupError> {
    const PREFIX: &str = "org.systemd.property.";
    let ours = annotations.iter().filter_map(|(key, value)| Some((key, key.strip_prefix(PREFIX)?, value)));
    let property = |(key, name, value): (&String, &str, &String)| {
        annotations::property(name, value)
            .ok_or_else(|| CgroupError::Unusable(format!("annotation {key}={value}: no property of a unit in the text form of GVariant; write it like uint64 5 or 'text'")))
    };
    ours.map(property).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_as_runc_names_them() {
        let unit = |path: Option<&str>| {
            let unit = Unit::of(path, "id", Owner::System).unwrap();
            (unit.place().map(|place| place.display().to_string()).ok(), unit.slice)
        };
        let place = |text: &str| Some(text.to_owned());
        assert_eq!(unit(None).0, place("system.slice/runc-id.scope"));
        assert_eq!(unit(Some(":docker:x")).0, place("system.slice/docker-x.scope"));
        assert_eq!(unit(Some("a-b.slice:cri:x")).0, place("a.slice/a-b.slice/cri-x.scope"));
        assert_eq!(unit(Some("-.slice:cri:x")).0, place("cri-x.scope"));
        assert_eq!(unit(Some("a.slice::a-b.slice")).0, place("a.slice/a-b.slice"));
        for slice in ["a", "a/b.slice", "..slice", "a--b.slice", "-a.slice", ".slice", "a-.slice"] {
            assert_eq!(unit(Some(&format!("{slice}:p:x"))).0, None, "{slice}");
        }
        let user = Unit::of(Some(":libpod:x"), "id", Owner::User).unwrap();
        assert_eq!(user.slice, "user.slice");
        for wrong in ["/docker/x", "a.slice:x", "a:b:c:d", "a.slice:p:x/../y"] {
            assert!(Unit::of(Some(wrong), "id", Owner::System).is_err(), "{wrong}");
        }
    }
}
