//! Files in the scratch directory, pipes, and other users.

use std::ffi::{CStr, CString};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use libc::{AT_FDCWD, O_CLOEXEC, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, c_int};

use super::check::{fail, ok, skip};
use super::child::fork;
use crate::sys;

/// Makes a file of mode 0644 with this content; the descriptor can read and write, at offset 0.
#[track_caller]
pub fn create(name: &CStr, content: &[u8]) -> c_int {
    let fd = ok(sys!(openat, AT_FDCWD, name, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0o644)) as c_int;
    write_all(fd, content);
    ok(sys!(lseek, fd, 0, libc::SEEK_SET));
    fd
}

/// Makes a file and closes it.
#[track_caller]
pub fn put(name: &CStr, content: &[u8]) {
    close(create(name, content));
}

/// Opens.
#[track_caller]
pub fn open(name: &CStr, flags: c_int) -> c_int {
    ok(sys!(openat, AT_FDCWD, name, flags, 0o644)) as c_int
}

/// Closes.
#[track_caller]
pub fn close(fd: c_int) {
    ok(sys!(close, fd));
}

/// Makes a directory.
#[track_caller]
pub fn mkdir(name: &CStr) {
    ok(sys!(mkdirat, AT_FDCWD, name, 0o755));
}

/// Writes everything.
#[track_caller]
pub fn write_all(fd: c_int, bytes: &[u8]) {
    let mut done = 0;
    while done < bytes.len() {
        done += ok(sys!(write, fd, bytes[done..].as_ptr(), bytes.len() - done)) as usize;
    }
}

/// One read of at most `limit` bytes.
#[track_caller]
pub fn read(fd: c_int, limit: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; limit];
    let n = ok(sys!(read, fd, bytes.as_mut_ptr(), limit)) as usize;
    bytes.truncate(n);
    bytes
}

/// Reads to the end.
#[track_caller]
pub fn read_to_end(fd: c_int) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let some = read(fd, 4096);
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

/// A file's content by name.
#[track_caller]
pub fn content(name: &CStr) -> Vec<u8> {
    let fd = open(name, O_RDONLY | O_CLOEXEC);
    let all = read_to_end(fd);
    close(fd);
    all
}

/// A pseudo file as text.
#[track_caller]
pub fn text(name: &CStr) -> String {
    String::from_utf8_lossy(&content(name)).into_owned()
}

/// `[read end, write end]`
#[track_caller]
pub fn pipe(flags: c_int) -> [c_int; 2] {
    let mut ends = [0; 2];
    ok(sys!(pipe2, &mut ends, flags));
    ends
}

/// `stat` of a name, links followed.
#[track_caller]
pub fn stat(name: &CStr) -> libc::stat {
    stat_at(AT_FDCWD, name, 0)
}

/// `lstat` of a name.
#[track_caller]
pub fn lstat(name: &CStr) -> libc::stat {
    stat_at(AT_FDCWD, name, libc::AT_SYMLINK_NOFOLLOW)
}

/// `fstat` of a descriptor.
#[track_caller]
pub fn fstat(fd: c_int) -> libc::stat {
    stat_at(fd, c"", libc::AT_EMPTY_PATH)
}

#[track_caller]
fn stat_at(dir: c_int, name: &CStr, flags: c_int) -> libc::stat {
    // SAFETY: a structure of integers.
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    ok(sys!(newfstatat, dir, name, &mut st, flags));
    st
}

/// Whether the name is there, links not followed.
pub fn exists(name: &CStr) -> bool {
    // SAFETY: a structure of integers.
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    sys!(newfstatat, AT_FDCWD, name, &mut st, libc::AT_SYMLINK_NOFOLLOW).is_ok()
}

/// The absolute name of something in the scratch directory.
#[track_caller]
pub fn absolute(name: &str) -> CString {
    let mut buf = vec![0u8; 4096];
    let n = ok(sys!(getcwd, buf.as_mut_ptr(), buf.len())) as usize;
    buf.truncate(n - 1);
    buf.push(b'/');
    buf.extend(name.as_bytes());
    match CString::new(buf) {
        Ok(path) => path,
        Err(e) => fail(e),
    }
}

/// Removes a directory with all that is in it, also what an ordinary user has shut himself out of.
pub fn remove_tree(dir: &str) {
    if std::fs::remove_dir_all(dir).is_err() {
        open_up(Path::new(dir));
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// Gives the owner all rights to a directory and to those in it.
pub fn open_up(dir: &Path) {
    let _ = std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755));
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// Whether this process has user id 0.
pub fn is_root() -> bool {
    ok(sys!(geteuid)) == 0
}

/// Skips the case when it was started with another nice value than 0, which only the privileged can go back to.
#[track_caller]
pub fn needs_nice_0() {
    const NICE_0: i64 = 20;
    if ok(sys!(getpriority, libc::PRIO_PROCESS, 0)) != NICE_0 {
        skip("started with a nice value that is not 0");
    }
}

/// An id that owns nothing.
pub const NOBODY: u32 = 65534;

/// Runs `body` in a child without privileges: as NOBODY where we are root, as we are otherwise. The scratch
/// directory is open to it.
#[track_caller]
pub fn unprivileged(body: impl FnOnce()) {
    ok(sys!(fchmodat, AT_FDCWD, c".", 0o777));
    fork(|| {
        if is_root() {
            become_user(NOBODY);
        }
        body();
    })
    .succeeds();
}

/// Gives up root for good.
#[track_caller]
pub fn become_user(id: u32) {
    ok(sys!(setgroups, 0, 0));
    ok(sys!(setresgid, id, id, id));
    ok(sys!(setresuid, id, id, id));
}

/// Skips the case where the scratch directory is no tmpfs.
#[track_caller]
pub fn needs_tmpfs() {
    // SAFETY: a structure of integers.
    let mut st: libc::statfs = unsafe { std::mem::zeroed() };
    ok(sys!(statfs, c".", &mut st));
    if st.f_type != libc::TMPFS_MAGIC {
        skip("the scratch directory is not on a tmpfs");
    }
}
