//! Namespaces as files, setns(2), and IPC, network and cgroup namespaces.

use std::ffi::{CStr, CString};

use crate::kit::prelude::*;

mod cgroup_namespace;
mod ipc_namespace;
mod net_namespace;
mod ns_files;
mod setns;

const NS_GET_USERNS: u32 = 0xb701;
const NS_GET_PARENT: u32 = 0xb702;
const NS_GET_NSTYPE: u32 = 0xb703;
const NS_GET_OWNER_UID: u32 = 0xb704;

/// What /proc/PID/ns says of a kind.
#[track_caller]
fn link(pid: &str, kind: &str) -> String {
    let path = path(&format!("/proc/{pid}/ns/{kind}"));
    let mut buf = [0u8; 64];
    let n = ok(sys!(readlink, path.as_c_str(), &mut buf, buf.len())) as usize;
    String::from_utf8_lossy(&buf[..n]).into_owned()
}

fn path(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// An own namespace, opened.
#[track_caller]
fn own(kind: &str) -> i32 {
    open(&path(&format!("/proc/self/ns/{kind}")), O_RDONLY)
}

/// Goes into a new user namespace, in which the caller has all capabilities.
#[track_caller]
fn new_user_namespace() {
    match sys!(unshare, CLONE_NEWUSER) {
        Ok(_) => {}
        Err(Errno(EPERM | ENOSPC | EINVAL)) => skip("no user namespaces for this user on this host"),
        other => done(other),
    }
}

/// Whether an open file and a name are of one namespace.
#[track_caller]
fn is_same(fd: i32, name: &CStr) -> bool {
    let (a, b) = (fstat(fd), stat(name));
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}
