//! The Gofer's confinement, apart from the work it does afterwards. Each step that fails stops the start.
//!
//! Afterwards the process sees its trees and its own descriptors, and nothing else; it is alone in its PID namespace,
//! without a network; of root's rights it has those over files; no exec could bring others back.

mod mounts;

use std::io;

use host::capabilities::Sets;
use host::namespace::Namespaces;
use rustix::process::{Resource, Rlimit};

use crate::config::Config;
use crate::error::GoferError;
use crate::server::{Parts, max_handles};

/// Capabilities that are kept, each with its reason. As an ordinary user's process it has them in its own user namespace
/// only, where they reach no further than the files of the ids that are mapped there.
const KEPT: &[(u32, &str)] = &[
    (0, "CHOWN: new files belong to whom the Sentry says; chown(2)"),
    (1, "DAC_OVERRIDE: the Sentry checks permissions for its users; root in the sandbox passes them"),
    (3, "FOWNER: chmod(2), utimensat(2) and removals in sticky directories for files of any owner"),
    (4, "FSETID: set-group-ID bits survive when the group is not the Gofer's own"),
    (31, "SETFCAP: file capabilities, as package managers set them"),
];

/// Handles that even a privileged Gofer asks for, at most.
const WANTED_FDS: u64 = 1 << 20;

const ADVICE_REPORT: &str = "please report this";
const ADVICE_NAMESPACES: &str = "the host has to allow namespaces: see user.max_*_namespaces and \
     kernel.apparmor_restrict_unprivileged_userns in sysctl, or run as root";

fn step<E: Into<io::Error>>(step: &'static str, advice: &'static str) -> impl FnOnce(E) -> GoferError {
    move |error| GoferError::Confine { step, error: error.into(), advice }
}

/// Confines this process; what a server can be made of then.
pub(crate) fn confine(config: &Config) -> Result<Parts, GoferError> {
    if !rustix::process::getpid().is_init() {
        return Err(GoferError::NotConfined("the process was not started in a new PID namespace"));
    }
    raise_limits()?;
    let kinds = Namespaces::MOUNT | Namespaces::IPC | Namespaces::UTS | Namespaces::NET | Namespaces::CGROUP;
    host::namespace::unshare(kinds).map_err(step("unshare", ADVICE_NAMESPACES))?;
    let mounts::Mounted { trees, self_fds } = mounts::enter(&config.trees)?;
    rustix::process::umask(rustix::fs::Mode::empty());
    drop_privileges()?;
    Ok(Parts {
        trees,
        self_fds,
        overflow: config.overflow,
        owners: None,
        channels: config.channels,
        max_handles: max_handles(),
    })
}

/// As many descriptors as it may have; no core files.
fn raise_limits() -> Result<(), GoferError> {
    let set = |resource, current, maximum| {
        rustix::process::setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })
    };
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(WANTED_FDS);
    // More than the hard limit needs a capability; without it the limit is what there is.
    if hard >= WANTED_FDS || set(Resource::Nofile, WANTED_FDS, WANTED_FDS).is_err() {
        set(Resource::Nofile, hard, hard).map_err(step("raising the limit of descriptors", ADVICE_REPORT))?;
    }
    set(Resource::Core, 0, 0).map_err(step("forbidding core files", ADVICE_REPORT))
}

/// Keeps the capabilities of [`KEPT`], as far as they are there, and sees to it that no others come.
fn drop_privileges() -> Result<(), GoferError> {
    let keep = KEPT.iter().fold(0, |keep, &(number, _reason)| keep | 1 << number);
    host::capabilities::limit_bounding(keep).map_err(step("limiting the bounding set", ADVICE_REPORT))?;
    let now = host::capabilities::get().map_err(step("reading capabilities", ADVICE_REPORT))?;
    let kept = now.permitted & keep;
    // An empty inheritable set empties the ambient set too.
    host::capabilities::set(Sets { effective: kept, permitted: kept, inheritable: 0 })
        .map_err(step("dropping capabilities", ADVICE_REPORT))?;
    host::prctl::set_no_new_privileges().map_err(step("no_new_privs", ADVICE_REPORT))?;
    // No other process of this user may look into this one, which holds files that it may not.
    host::prctl::set_dumpable(false).map_err(step("making it undumpable", ADVICE_REPORT))?;
    host::prctl::set_parent_death_signal(libc::SIGKILL)
        .map_err(step("parent death signal", ADVICE_REPORT))?;

    // Trust, but look.
    let now = host::capabilities::get().map_err(step("reading capabilities", ADVICE_REPORT))?;
    if now != (Sets { effective: kept, permitted: kept, inheritable: 0 }) {
        return Err(GoferError::NotConfined("there are capabilities that were dropped"));
    }
    Ok(())
}
