//! File systems that a program mounts itself, each in a mount namespace of the case's own.

use std::ffi::{CStr, CString};

use crate::kit::prelude::*;

mod cgroup;
mod devpts;
mod erofs;
mod fuse_limits;
mod fuse_mount;
mod fuse_server;
mod fuse_tree;
mod fuse_wait;
mod mqueue;
mod overlay_change;
mod overlay_format;
mod overlay_mount;
mod overlay_read;
mod tmpfs_limits;
mod tmpfs_mount;

/// A mount namespace that nobody else sees.
#[track_caller]
fn own_mounts() {
    ok(sys!(unshare, CLONE_NEWNS));
    ok(sys!(mount, c"none", c"/", 0, MS_REC | MS_PRIVATE, 0));
}

/// A new directory with a file system of this kind on it.
#[track_caller]
fn mount_at(at: &CStr, kind: &CStr, options: &CStr) {
    mkdir(at);
    ok(sys!(mount, c"none", at, kind, 0, options));
}

/// The line of a mount in mountinfo: options of the mount, kind, source, options of the file system.
#[track_caller]
fn mountinfo(name: &str) -> (String, String, String, String) {
    let path = absolute(name).to_string_lossy().into_owned();
    let all = text(c"/proc/self/mountinfo");
    let Some(line) = all.lines().rev().find(|line| line.split(' ').nth(4) == Some(&path)) else {
        fail(format_args!("{path} is not in mountinfo"));
    };
    let (left, right) = line.split_once(" - ").unwrap_or((line, ""));
    let own = left.split(' ').nth(5).unwrap_or_default().to_owned();
    let mut rest = right.split(' ').map(str::to_owned);
    let mut next = || rest.next().unwrap_or_default();
    (own, next(), next(), next())
}

/// Names in a directory, sorted, without the dots.
#[track_caller]
fn names(dir: &CStr) -> Vec<String> {
    let listed = match std::fs::read_dir(dir.to_string_lossy().as_ref()) {
        Ok(listed) => listed,
        Err(e) => fail(format_args!("{dir:?}: {e}")),
    };
    let mut names: Vec<String> =
        listed.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Sets an extended attribute.
fn set_xattr(path: &CStr, name: &CStr, value: &[u8]) -> Answer {
    sys!(lsetxattr, path, name, value, value.len(), 0)
}

/// An extended attribute, if it is there.
fn xattr(path: &CStr, name: &CStr) -> Option<Vec<u8>> {
    let mut buf = [0u8; 1024];
    let n = sys!(lgetxattr, path, name, &mut buf, buf.len()).ok()?;
    Some(buf[..n as usize].to_vec())
}

/// Names of extended attributes.
#[track_caller]
fn xattrs(path: &CStr) -> Vec<String> {
    let mut buf = [0u8; 4096];
    let n = ok(sys!(llistxattr, path, &mut buf, buf.len())) as usize;
    let list = buf[..n].split(|b| *b == 0).filter(|n| !n.is_empty());
    let mut names: Vec<String> = list.map(|n| String::from_utf8_lossy(n).into_owned()).collect();
    names.sort();
    names
}

/// Whether a name is a whiteout.
fn is_whiteout(path: &CStr) -> bool {
    exists(path) && {
        let st = lstat(path);
        st.st_mode & S_IFMT == S_IFCHR && st.st_rdev == 0
    }
}

/// An overlay at `m` of the lower directories `l0` (the uppermost), `l1` …, and of `u` and `w` above them.
struct Layers {
    lowers: usize,
}

impl Layers {
    /// The directories, empty, in a tmpfs of their own at the scratch directory.
    #[track_caller]
    fn new(lowers: usize) -> Layers {
        own_mounts();
        // The layers lie in a tmpfs, so that the oracle has attributes of all kinds.
        let here = absolute("");
        ok(sys!(mount, c"none", here.as_c_str(), c"tmpfs", 0, c"mode=755"));
        ok(sys!(chdir, here.as_c_str()));
        for n in 0..lowers {
            mkdir(&CString::new(format!("l{n}")).unwrap_or_default());
        }
        for dir in [c"u", c"w", c"m"] {
            mkdir(dir);
        }
        Layers { lowers }
    }

    /// The options for it.
    fn options(&self, more: &str) -> CString {
        let lowers: Vec<String> = (0..self.lowers).map(|n| format!("l{n}")).collect();
        CString::new(format!("lowerdir={},upperdir=u,workdir=w{more}", lowers.join(":"))).unwrap_or_default()
    }

    /// Mounts it.
    #[track_caller]
    fn mount(&self) {
        self.mount_with("");
    }

    /// Mounts it with more options, which begin with a comma.
    #[track_caller]
    fn mount_with(&self, more: &str) {
        ok(sys!(mount, c"none", c"m", c"overlay", 0, self.options(more).as_c_str()));
    }
}

/// One lower layer with a little in it, mounted.
#[track_caller]
fn simple() {
    let layers = Layers::new(1);
    put(c"l0/f", b"lower");
    mkdir(c"l0/d");
    put(c"l0/d/a", b"a");
    put(c"l0/d/b", b"b");
    layers.mount();
}
