//! Files: of the host (in a sandbox: of the Gofer), and in memory.

use std::ffi::{CStr, CString};
use std::path::Path;

use crate::timing::per_call;

pub fn open_close(path: &CStr) {
    // SAFETY: the path ends with a NUL; the descriptor is closed once.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        assert!(fd >= 0);
        libc::close(fd);
    }
}

pub fn stat(path: &CStr) {
    // SAFETY: all zero is a valid `stat`, and the call fills it.
    unsafe {
        let mut out: libc::stat = std::mem::zeroed();
        assert_eq!(libc::stat(path.as_ptr(), &mut out), 0);
    }
}

pub fn pread(path: &CStr) -> f64 {
    // SAFETY: the buffer has the length that is passed.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDONLY);
        assert!(fd >= 0);
        let mut buffer = [0u8; 4096];
        per_call(|| assert_eq!(libc::pread(fd, buffer.as_mut_ptr().cast(), 4096, 0), 4096))
    }
}

pub fn write_null() -> f64 {
    // SAFETY: the buffer has the length that is passed.
    unsafe {
        let fd = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY);
        assert!(fd >= 0);
        per_call(|| assert_eq!(libc::write(fd, b"x".as_ptr().cast(), 1), 1))
    }
}

/// With a file of 64 KiB on a tmpfs.
pub fn on_tmpfs(measure: impl FnOnce(&CStr) -> f64) -> f64 {
    let folder = ["/dev/shm", "/tmp"].into_iter().find(|dir| Path::new(dir).is_dir());
    let path = format!("{}/bench-{}", folder.expect("there is a folder in memory"), std::process::id());
    std::fs::write(&path, [1; 65536]).expect("the folder can be written");
    let ns = measure(&CString::new(path.as_str()).expect("no NUL in the path"));
    let _ = std::fs::remove_file(path);
    ns
}
