//! The process of a container, as the Sentry starts it.

use std::path::Path;

use abi::capability::CAPABILITIES;
use oci_spec::runtime::{Capabilities as Set, LinuxSeccomp, Process};

use super::{SpecError, seccomp};
use crate::config::{self, Capabilities, Text, User};
use crate::sandbox::{privileges, user};

/// What the specification's process means; `rootfs` is where its user's home is looked up.
pub fn convert(
    process: &Process,
    filter: Option<&LinuxSeccomp>,
    rootfs: &Path,
    notes: &mut Vec<String>,
) -> Result<config::Process, SpecError> {
    let args: Vec<Text> = texts(process.args().as_deref().unwrap_or_default());
    if args.is_empty() {
        return Err(SpecError::Unusable("process.args is empty; name a program".to_owned()));
    }
    let cwd = process.cwd();
    if !cwd.is_absolute() {
        return Err(SpecError::Unusable(
            "Cwd property must not be empty and an absolute path; set process.cwd".to_owned(),
        ));
    }
    let oci_user = process.user();
    check_env(&texts(process.env().as_deref().unwrap_or_default()))?;
    let mut env = texts(process.env().as_deref().unwrap_or_default());
    if !env.iter().any(|entry| entry.as_bytes().starts_with(b"HOME=")) {
        let home = user::home(oci_user.uid(), rootfs).unwrap_or_else(|| "/".to_owned());
        env.push(Text::Utf8(format!("HOME={home}")));
    }
    Ok(config::Process {
        args,
        env,
        cwd: cwd.clone().into(),
        user: User {
            uid: oci_user.uid(),
            gid: oci_user.gid(),
            groups: oci_user.additional_gids().clone().unwrap_or_default(),
        },
        umask: oci_user.umask().unwrap_or(0o022) & 0o777,
        limits: limits(process)?,
        blocked_signals: 0,
        ignored_signals: 0,
        job_control: false,
        foreground: true,
        capabilities: Some(capabilities(process)),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        oom_score_adj: process.oom_score_adj().unwrap_or(0),
        nice: privileges::inherited_nice(),
        seccomp: filter.map(|filter| seccomp::compile(filter, notes)).transpose()?,
    })
}

/// Refuses an environment with entries that are none.
pub fn check_env(env: &[Text]) -> Result<(), SpecError> {
    for entry in env {
        let bytes = entry.as_bytes();
        if bytes.contains(&0) || !bytes.iter().skip(1).any(|byte| *byte == b'=') || bytes[0] == b'=' {
            return Err(SpecError::Unusable(format!(
                "invalid environment variable: {:?}; write NAME=VALUE",
                entry.display()
            )));
        }
    }
    Ok(())
}

fn texts(strings: &[String]) -> Vec<Text> {
    strings.iter().cloned().map(Text::Utf8).collect()
}

/// The runtime's own limits, with those of the specification in them.
fn limits(process: &Process) -> Result<Vec<(u32, u64, u64)>, SpecError> {
    let mut limits = privileges::inherited_limits();
    let wanted = process.rlimits().as_deref().unwrap_or_default();
    for (at, limit) in wanted.iter().enumerate() {
        if wanted[..at].iter().any(|other| other.typ() == limit.typ()) {
            return Err(SpecError::Unusable(format!(
                "process.rlimits has {} twice; leave one out",
                limit.typ()
            )));
        }
        let name = limit.typ().to_string();
        let number =
            abi::resource::RLIMITS.iter().find(|(_, known)| *known == name).map(|&(number, _)| number);
        let Some(number) = number else { continue };
        if limit.soft() > limit.hard() {
            return Err(SpecError::Unusable(format!(
                "process.rlimits: {name}: the soft limit is above the hard one; lower it"
            )));
        }
        limits.retain(|(known, ..)| *known != number);
        limits.push((number, limit.soft(), limit.hard()));
    }
    Ok(limits)
}

fn capabilities(process: &Process) -> Capabilities {
    let Some(sets) = process.capabilities() else { return Capabilities::default() };
    let bits = |set: &Option<Set>| {
        set.as_ref().map_or(0, |set| set.iter().fold(0, |bits, one| bits | bit(&one.to_string())))
    };
    Capabilities {
        bounding: bits(sets.bounding()),
        effective: bits(sets.effective()),
        permitted: bits(sets.permitted()),
        inheritable: bits(sets.inheritable()),
        ambient: bits(sets.ambient()),
    }
}

/// The bit of a capability by its name, with or without `CAP_` in front; none for an unknown one.
pub fn bit(name: &str) -> u64 {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    let found = CAPABILITIES.iter().find(|(_, known)| known.strip_prefix("CAP_") == Some(name));
    found.map_or(0, |&(number, _)| 1 << number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_bits() {
        assert_eq!(bit("CAP_CHOWN"), 1);
        assert_eq!(bit("sys_admin"), 1 << 21);
        assert_eq!(bit("CAP_NOTHING"), 0);
    }
}
