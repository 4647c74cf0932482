//! Giving up what a confined process must not have: capabilities, the way to new ones, core files; and asking for
//! what it needs: descriptors.

use std::io;

use rustix::process::{Resource, Rlimit};

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {error}; the host has to allow a process to give up its privileges")]
pub struct PrivilegeError {
    step: &'static str,
    error: io::Error,
}

fn step<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> PrivilegeError {
    move |error| PrivilegeError { step, error: error.into() }
}

/// Drops every capability from every set, and sees to it that none ever comes back.
pub fn drop_all() -> Result<(), PrivilegeError> {
    host::capabilities::drop_all().map_err(step("dropping capabilities"))?;
    host::prctl::set_no_new_privileges().map_err(step("no_new_privs"))
}

/// Raises this process's soft limits where guests share them, and keeps guest memory out of core files.
pub fn set_limits() -> Result<(), PrivilegeError> {
    for resource in [Resource::Nofile, Resource::Fsize, Resource::Cpu, Resource::Data, Resource::As] {
        let limit = rustix::process::getrlimit(resource);
        rustix::process::setrlimit(resource, Rlimit { current: limit.maximum, maximum: limit.maximum })
            .map_err(step("raising a resource limit"))?;
    }
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(step("forbidding core files"))
}

/// The nice value of this process; 0 if it can't be told.
pub fn inherited_nice() -> i32 {
    rustix::process::getpriority_process(None).unwrap_or(0)
}

/// All resource limits of this process: `RLIMIT_*` number, soft, hard; `u64::MAX` where there is none.
pub fn inherited_limits() -> Vec<(u32, u64, u64)> {
    const RESOURCES: [(u32, Resource); 16] = [
        (libc::RLIMIT_CPU, Resource::Cpu),
        (libc::RLIMIT_FSIZE, Resource::Fsize),
        (libc::RLIMIT_DATA, Resource::Data),
        (libc::RLIMIT_STACK, Resource::Stack),
        (libc::RLIMIT_CORE, Resource::Core),
        (libc::RLIMIT_RSS, Resource::Rss),
        (libc::RLIMIT_NPROC, Resource::Nproc),
        (libc::RLIMIT_NOFILE, Resource::Nofile),
        (libc::RLIMIT_MEMLOCK, Resource::Memlock),
        (libc::RLIMIT_AS, Resource::As),
        (libc::RLIMIT_LOCKS, Resource::Locks),
        (libc::RLIMIT_SIGPENDING, Resource::Sigpending),
        (libc::RLIMIT_MSGQUEUE, Resource::Msgqueue),
        (libc::RLIMIT_NICE, Resource::Nice),
        (libc::RLIMIT_RTPRIO, Resource::Rtprio),
        (libc::RLIMIT_RTTIME, Resource::Rttime),
    ];
    RESOURCES
        .iter()
        .map(|&(number, resource)| {
            let limit = rustix::process::getrlimit(resource);
            (number, limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
        })
        .collect()
}
