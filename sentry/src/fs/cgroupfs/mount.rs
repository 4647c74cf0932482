//! The two kinds of file systems.

use std::sync::{Arc, Weak};

use abi::Errno;
use abi::capability::CAP_SYS_ADMIN;

use super::hierarchy::{Controllers, Wanted};
use crate::vfs::{Caller, Dentry, FileSystemType, MountRequest};
use crate::{Kernel, Result};

/// Bytes of a hierarchy's name at most.
const MAX_NAME: usize = 63;

/// Version 2.
pub struct Cgroup2 {
    kernel: Weak<Kernel>,
}

impl Cgroup2 {
    /// For this kernel.
    pub fn new(kernel: &Arc<Kernel>) -> Arc<Cgroup2> {
        Arc::new(Cgroup2 { kernel: Arc::downgrade(kernel) })
    }
}

impl FileSystemType for Cgroup2 {
    fn name(&self) -> &'static str {
        "cgroup2"
    }

    fn allowed_in_user_ns(&self) -> bool {
        true
    }

    fn mount(&self, request: &MountRequest<'_>, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        for option in request.options.split(|b| *b == b',').filter(|option| !option.is_empty()) {
            // Hints that change nothing where nothing is limited.
            if !matches!(option, b"nsdelegate" | b"favordynmods" | b"memory_recursiveprot") {
                return Err(Errno::EINVAL);
            }
        }
        let kernel = self.kernel.upgrade().ok_or(Errno::ENODEV)?;
        let root = kernel.cgroups.unified_root(&kernel)?;
        seen_by(&kernel, root, caller)
    }
}

/// Version 1.
pub struct Cgroup1 {
    kernel: Weak<Kernel>,
}

impl Cgroup1 {
    /// For this kernel.
    pub fn new(kernel: &Arc<Kernel>) -> Arc<Cgroup1> {
        Arc::new(Cgroup1 { kernel: Arc::downgrade(kernel) })
    }
}

impl FileSystemType for Cgroup1 {
    fn name(&self) -> &'static str {
        "cgroup"
    }

    fn allowed_in_user_ns(&self) -> bool {
        true
    }

    fn mount(&self, request: &MountRequest<'_>, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        let wanted = wanted(request.options)?;
        let kernel = self.kernel.upgrade().ok_or(Errno::ENODEV)?;
        let root = kernel.cgroups.root_for(&wanted, &kernel)?;
        seen_by(&kernel, root, caller)
    }
}

/// The part of a hierarchy that the cgroup namespace of who mounts it has: EPERM where that is not the caller's to mount in.
fn seen_by(kernel: &Kernel, root: Arc<Dentry>, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
    let resources = caller.task.and_then(|task| task.resources());
    let namespace =
        resources.map_or_else(|| Arc::clone(&kernel.cgroup_ns), |own| Arc::clone(&own.namespaces.cgroup));
    if !caller.creds.has_cap_in(CAP_SYS_ADMIN, &namespace.user_ns) {
        return Err(Errno::EPERM);
    }
    namespace.directory(root, caller)
}

/// Understands the options of a mount of version 1.
fn wanted(options: &[u8]) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    let mut all = false;
    for option in options.split(|b| *b == b',').filter(|option| !option.is_empty()) {
        match option {
            b"none" => wanted.none = true,
            b"all" => all = true,
            // These change nothing here.
            b"noprefix" | b"xattr" | b"cpuset_v2_mode" | b"clone_children" | b"favordynmods"
            | b"nofavordynmods" => {}
            _ if option.starts_with(b"release_agent=") => {}
            _ => match option.strip_prefix(b"name=") {
                Some(name) if wanted.name.is_none() && is_name(name) => wanted.name = Some(name.into()),
                Some(_) => return Err(Errno::EINVAL),
                None => wanted.controllers |= Controllers::named(option).ok_or(Errno::EINVAL)?,
            },
        }
    }
    if all && !wanted.controllers.is_empty() {
        return Err(Errno::EINVAL);
    }
    if all || (wanted.controllers.is_empty() && !wanted.none && wanted.name.is_none()) {
        wanted.controllers = Controllers::all();
    }
    // Without controllers it is told apart by its name.
    if wanted.none && (wanted.name.is_none() || !wanted.controllers.is_empty()) {
        return Err(Errno::EINVAL);
    }
    Ok(wanted)
}

fn is_name(name: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    !name.is_empty() && name.len() <= MAX_NAME && name.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_as_linux_reads_them() {
        let of = |options: &str| wanted(options.as_bytes());
        assert_eq!(of("pids").map(|w| w.controllers), Ok(Controllers::PIDS));
        assert_eq!(of("pids,pids,xattr").map(|w| w.controllers), Ok(Controllers::PIDS));
        assert_eq!(of("").map(|w| w.controllers), Ok(Controllers::all()));
        assert_eq!(of("all").map(|w| w.controllers), Ok(Controllers::all()));
        assert_eq!(of("none,name=foo").map(|w| w.name), Ok(Some((*b"foo").into())));
        for wrong in ["nothing", "none", "none,pids", "all,pids", "name=", "name=a/b", "name=x,name=y"] {
            assert_eq!(of(wrong), Err(Errno::EINVAL), "{wrong}");
        }
    }
}
