//! Namespaces of the Sentry and its empty root.
//!
//! The Sentry is started in a new user namespace, and as process 1 of a new PID namespace: when it ends, the host kills
//! every guest process. In the user namespace exactly one id is mapped, and it is not root's on the host: the caller's
//! own for an ordinary user, `nobody`'s for root. The map has to be written from outside, by the command line
//! ([`map_ids`]); all else the Sentry does to itself ([`enter`]).

use std::fs;
use std::io;
use std::path::Path;

use host::namespace::{IdMap, MountFlags, Namespaces};
use host::process::Child;

use crate::config::{self, Identity};

/// uid and gid of `nobody`, who owns nothing.
const NOBODY: u32 = 65534;

/// A step of the set-up that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {error}; {advice}")]
pub struct NamespaceError {
    /// What was being done.
    step: &'static str,
    /// The host's error.
    error: io::Error,
    /// What to do.
    advice: &'static str,
}

fn step(step: &'static str, advice: &'static str) -> impl FnOnce(io::Error) -> NamespaceError {
    move |error| NamespaceError { step, error, advice }
}

const ADVICE_NAMESPACES: &str = "the host has to allow namespaces: see user.max_*_namespaces and \
     kernel.apparmor_restrict_unprivileged_userns in sysctl, or run as root";
const ADVICE_MOUNT: &str = "the host has to allow mounts in user namespaces, or run as root";
const ADVICE_REPORT: &str = "please report this";

/// As whom a Sentry that this process starts runs on the host.
pub fn identity() -> Identity {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mapped = |path| fs::read_to_string(path).is_ok_and(|map| maps(&map, NOBODY));
    if uid == 0 && may_confine_others() && mapped("/proc/self/uid_map") && mapped("/proc/self/gid_map") {
        Identity::Nobody { uid: NOBODY, gid: NOBODY }
    } else {
        Identity::Caller { uid, gid }
    }
}

/// Whether the text of an id map (`inside outside count` lines) has `id` inside.
fn maps(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut words = line.split_whitespace().map(|word| word.parse::<u64>());
        match (words.next(), words.next(), words.next()) {
            (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) => {
                (first..first.saturating_add(count)).contains(&u64::from(id))
            }
            _ => false,
        }
    })
}

/// Whether this process may map other ids than its own, and make namespaces without a user namespace around them.
fn may_confine_others() -> bool {
    const ALL: u64 = 1 << CAP_SETGID | 1 << CAP_SETUID | 1 << CAP_SYS_ADMIN;
    host::capabilities::get().is_ok_and(|sets| sets.effective & ALL == ALL)
}

const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
const CAP_SYS_ADMIN: u32 = 21;

/// Maps `identity`, and nothing else, into the new user namespace of the process `child`.
pub fn map_ids(child: &Child, identity: Identity) -> Result<(), NamespaceError> {
    let child = number(child);
    let one = |id| [IdMap { inside: id, outside: id, count: 1 }];
    let (uid, gid) = match identity {
        Identity::Caller { uid, gid } => {
            // Without this the host refuses an ordinary user's gid map: user_namespaces(7).
            host::namespace::deny_setgroups(child)
                .map_err(step("user namespace, setgroups", ADVICE_NAMESPACES))?;
            (uid, gid)
        }
        Identity::Nobody { uid, gid } => (uid, gid),
    };
    host::namespace::write_uid_map(child, &one(uid))
        .map_err(step("user namespace, uid_map", ADVICE_NAMESPACES))?;
    host::namespace::write_gid_map(child, &one(gid))
        .map_err(step("user namespace, gid_map", ADVICE_NAMESPACES))
}

/// Where /proc has a child: a monitor lives in a PID namespace of its own, and /proc is the host's.
fn number(child: &Child) -> i32 {
    child.pid_in_proc().unwrap_or(child.pid())
}

/// Maps the ids of a container's user namespace into that of the process `child`.
pub fn map_id_ranges(child: &Child, [users, groups]: &[Vec<config::IdMap>; 2]) -> Result<(), NamespaceError> {
    let child = number(child);
    let ranges = |maps: &[config::IdMap]| -> Vec<IdMap> {
        let range =
            |map: &config::IdMap| IdMap { inside: map.inside, outside: map.outside, count: map.count };
        maps.iter().map(range).collect()
    };
    if !may_confine_others() {
        // Without this the host refuses an ordinary user's gid map: user_namespaces(7).
        host::namespace::deny_setgroups(child)
            .map_err(step("user namespace, setgroups", ADVICE_NAMESPACES))?;
    }
    host::namespace::write_uid_map(child, &ranges(users))
        .map_err(step("user namespace, uid_map", ADVICE_NAMESPACES))?;
    host::namespace::write_gid_map(child, &ranges(groups))
        .map_err(step("user namespace, gid_map", ADVICE_NAMESPACES))
}

/// Has this process killed when the one that started it dies. To be repeated after a change of ids, which clears it.
pub fn die_with_parent() -> Result<(), NamespaceError> {
    host::prctl::set_parent_death_signal(libc::SIGKILL).map_err(step("parent death signal", ADVICE_REPORT))
}

/// Becomes `identity`, in the user namespace where [`map_ids`] has mapped it.
pub fn take_identity(identity: Identity) -> Result<(), NamespaceError> {
    if let Identity::Nobody { uid, gid } = identity {
        host::process::set_groups(&[]).map_err(step("setgroups", ADVICE_REPORT))?;
        host::process::set_gid(gid).map_err(step("setresgid", ADVICE_REPORT))?;
        host::process::set_uid(uid).map_err(step("setresuid", ADVICE_REPORT))?;
        die_with_parent()?;
    }
    Ok(())
}

/// Moves this process into new mount, IPC, UTS, network and cgroup namespaces. Single-threaded processes only.
pub fn enter() -> Result<(), NamespaceError> {
    let kinds = Namespaces::MOUNT | Namespaces::IPC | Namespaces::UTS | Namespaces::NET | Namespaces::CGROUP;
    host::namespace::unshare(kinds).map_err(step("unshare", ADVICE_NAMESPACES))
}

/// Makes an empty read-only directory the root, and detaches every host mount.
pub fn empty_root() -> Result<(), NamespaceError> {
    let none = Path::new("none");
    // Any directory will do to mount on: /proc is there, since this program was executed from it.
    let place = Path::new("/proc");
    host::namespace::mount(none, Path::new("/"), "", MountFlags::PRIVATE | MountFlags::REC, "")
        .map_err(step("making mounts private", ADVICE_MOUNT))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    host::namespace::mount(none, place, "tmpfs", flags, "size=4k,nr_inodes=1,mode=555")
        .map_err(step("mounting an empty root", ADVICE_MOUNT))?;
    host::namespace::replace_root(place).map_err(step("entering the empty root", ADVICE_MOUNT))?;
    // Trust, but look: nothing may be there.
    let mut entries = fs::read_dir("/").map_err(step("reading the empty root", ADVICE_REPORT))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => {
            Err(step("checking the empty root", ADVICE_REPORT)(io::ErrorKind::DirectoryNotEmpty.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_maps_are_understood() {
        assert!(maps("         0          0 4294967295\n", NOBODY));
        assert!(!maps("         0       1000          1\n", NOBODY));
        assert!(maps("0 1000 1\n1 100000 65536\n", NOBODY));
        assert!(!maps("", 0));
        assert!(!maps("nonsense\n", 0));
    }
}
