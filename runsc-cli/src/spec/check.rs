//! What would make a container other than it was asked for.

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::SpecError;

/// Refuses what can't be had.
pub fn check(spec: &Spec) -> Result<(), SpecError> {
    let refuse = |text: &str| Err(SpecError::Unusable(text.to_owned()));
    let version = spec.version();
    if !version.is_empty() && !version.starts_with("1.") {
        return Err(SpecError::Unusable(format!("ociVersion {version} is not supported; 1.0 to 1.2 are")));
    }
    let Some(linux) = spec.linux() else { return Ok(()) };
    if linux.intel_rdt().is_some() {
        return refuse("linux.intelRdt is not supported; leave it out");
    }
    if linux.time_offsets().as_ref().is_some_and(|offsets| !offsets.is_empty()) {
        return refuse("linux.timeOffsets are not supported; leave them out");
    }
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    for (at, namespace) in namespaces.iter().enumerate() {
        if namespaces[..at].iter().any(|other| other.typ() == namespace.typ()) {
            return Err(SpecError::Unusable(format!(
                "linux.namespaces has {:?} twice; leave one out",
                namespace.typ()
            )));
        }
        if namespace.path().as_ref().is_some_and(|path| !path.is_absolute()) {
            return refuse("linux.namespaces has a path that is not absolute; begin it with /");
        }
    }
    let has_user = namespaces.iter().any(|namespace| namespace.typ() == LinuxNamespaceType::User);
    let mapped = |maps: &Option<Vec<_>>| maps.as_ref().is_some_and(|maps| !maps.is_empty());
    if !has_user && (mapped(linux.uid_mappings()) || mapped(linux.gid_mappings())) {
        return refuse(
            "user namespace mappings specified, but the user namespace is not; add it or leave them out",
        );
    }
    for mount in spec.mounts().as_deref().unwrap_or_default() {
        let options = mount.options().as_deref().unwrap_or_default();
        let idmapped = options.iter().any(|option| option == "idmap" || option == "ridmap");
        if idmapped || mapped(mount.uid_mappings()) || mapped(mount.gid_mappings()) {
            return Err(SpecError::Unusable(format!(
                "mount {}: idmapped mounts are not supported; leave idmap out",
                mount.destination().display()
            )));
        }
        if !mount.destination().is_absolute() {
            return Err(SpecError::Unusable(format!(
                "mount {}: the destination is not absolute; begin it with /",
                mount.destination().display()
            )));
        }
    }
    Ok(())
}
