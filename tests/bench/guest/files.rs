//! Files: of the host (in a sandbox: of the Gofer), and in memory.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::time::Instant;

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

/// Opening so many files, all of which stay open: for each.
pub fn open_many(path: &CStr, count: usize) -> f64 {
    let limit = libc::rlimit { rlim_cur: count as u64 + 100, rlim_max: count as u64 + 100 };
    // SAFETY: the limit is read during the call; the path ends with a NUL.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0, "so many may be open");
        let begun = Instant::now();
        for _ in 0..count {
            assert!(libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) >= 0);
        }
        begun.elapsed().as_nanos() as f64 / count as f64
    }
}

/// Making, looking at and removing so many files of a folder in memory: for each.
pub fn make_many(count: usize) -> f64 {
    let folder = in_memory();
    std::fs::create_dir(&folder).expect("the folder can be written");
    let names: Vec<CString> = (0..count)
        .map(|file| CString::new(format!("{folder}/file-{file}")).expect("no NUL in the path"))
        .collect();
    let begun = Instant::now();
    // SAFETY: the paths end with a NUL.
    unsafe {
        for name in &names {
            assert_eq!(libc::mknod(name.as_ptr(), libc::S_IFREG | 0o600, 0), 0);
        }
        names.iter().for_each(|name| stat(name));
        names.iter().for_each(|name| assert_eq!(libc::unlink(name.as_ptr()), 0));
    }
    let ns = begun.elapsed().as_nanos() as f64 / count as f64;
    let _ = std::fs::remove_dir(folder);
    ns
}

/// A path in a tmpfs at which there is nothing.
fn in_memory() -> String {
    let folder = ["/dev/shm", "/tmp"].into_iter().find(|dir| Path::new(dir).is_dir());
    format!("{}/bench-{}", folder.expect("there is a folder in memory"), std::process::id())
}

/// With a file of 64 KiB on a tmpfs.
pub fn on_tmpfs(measure: impl FnOnce(&CStr) -> f64) -> f64 {
    let path = in_memory();
    std::fs::write(&path, [1; 65536]).expect("the folder can be written");
    let ns = measure(&CString::new(path.as_str()).expect("no NUL in the path"));
    let _ = std::fs::remove_file(path);
    ns
}
