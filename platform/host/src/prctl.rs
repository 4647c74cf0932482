//! prctl(2), by what it is used for.

use std::ffi::CStr;
use std::io::Result;

use crate::check_int;

fn prctl(option: libc::c_int, a: libc::c_ulong, b: libc::c_ulong) -> Result<libc::c_int> {
    // SAFETY: only options that take numbers are passed here (see the callers).
    check_int(unsafe { libc::prctl(option, a, b, 0 as libc::c_ulong, 0 as libc::c_ulong) })
}

/// Names the calling thread (15 bytes are kept), as `ps` and `top` show it.
pub fn set_name(name: &CStr) -> Result<()> {
    // SAFETY: the string is valid for the call.
    check_int(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }).map(drop)
}

/// The signal that the process gets when the thread that made it ends; 0 for none.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0).map(drop)
}

/// Whether others of the same user may trace this process and read its /proc files.
pub fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, dumpable.into(), 0).map(drop)
}

/// Whether this process, and those that it forks, do without transparent huge pages.
pub fn set_thp_disabled(disabled: bool) -> Result<()> {
    prctl(libc::PR_SET_THP_DISABLE, disabled.into(), 0).map(drop)
}

/// No exec may grant more rights from here on; seccomp filters may be set without a capability.
pub fn set_no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// Whether [`set_no_new_privileges`] is in force.
pub fn no_new_privileges() -> Result<bool> {
    Ok(prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0)? != 0)
}

/// Whether capabilities survive a change from uid 0 to another.
pub fn set_keep_capabilities(keep: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, keep.into(), 0).map(drop)
}

/// Makes the caller the new parent of its descendants' orphans.
pub fn set_child_subreaper(on: bool) -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, on.into(), 0).map(drop)
}

/// Takes a capability out of the bounding set.
pub(crate) fn drop_bounding(capability: u32) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).map(drop)
}

/// Whether a capability is in the bounding set; EINVAL for a number that the host does not know.
pub(crate) fn in_bounding(capability: u32) -> Result<bool> {
    Ok(prctl(libc::PR_CAPBSET_READ, capability.into(), 0)? != 0)
}

/// Empties the ambient set.
pub(crate) fn clear_ambient() -> Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0).map(drop)
}

/// Slack of the calling thread's timers, in nanoseconds (50 µs unless told).
pub fn set_timer_slack(ns: u64) -> Result<()> {
    prctl(libc::PR_SET_TIMERSLACK, ns, 0).map(drop)
}
