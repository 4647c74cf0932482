//! `cases swap DIRECTORY SECONDS`: uses a tree that somebody outside turns over meanwhile (`tests/volumes/swap.rs`), and
//! finds out whether anything of it led out: what lies inside says so.

use std::ffi::CString;

use crate::kit::prelude::*;

/// Runs; gives the exit status.
pub fn run(words: &[&str]) -> c_int {
    let seconds = words.get(1).and_then(|word| word.parse::<i64>().ok());
    let (Some(directory), Some(seconds)) = (words.first(), seconds) else {
        crate::kit::check::say("usage: cases swap DIRECTORY SECONDS");
        return 2;
    };
    ok(sys!(chdir, CString::new(*directory).unwrap_or_default().as_c_str()));
    let end = now_ns(CLOCK_MONOTONIC) + seconds * 1_000_000_000;
    let (mut seen, mut failed, mut made) = (0u64, 0u64, 0u64);
    while now_ns(CLOCK_MONOTONIC) < end {
        for name in [c"d/f", c"d/in/f", c"d/in/use/f", c"d/in/use/../f", c"link/f", c"d/in/use/../../../d/f"]
        {
            match inside(AT_FDCWD, name) {
                Some(true) => seen += 1,
                Some(false) => return leak(name),
                None => failed += 1,
            }
        }
        for name in [c"d/secret", c"link/secret", c"d/in/use/../../secret", c"d/in/use/../secret"] {
            if exists(name) {
                return leak(name);
            }
        }
        if let Ok(dir) = sys!(openat, AT_FDCWD, c"d/in/use", O_RDONLY | O_DIRECTORY | O_CLOEXEC) {
            let dir = dir as c_int;
            for name in [c"f", c"../f", c"../../f"] {
                if inside(dir, name) == Some(false) {
                    return leak(name);
                }
            }
            for name in [c"../secret", c"../../secret", c"../../../outside/secret"] {
                if sys!(faccessat, dir, name, F_OK).is_ok() {
                    return leak(name);
                }
            }
            close(dir);
        }
        for name in [c"d/made", c"link/made", c"d/in/made"] {
            if let Ok(fd) = sys!(openat, AT_FDCWD, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0o644) {
                made += 1;
                close(fd as c_int);
            }
            let _ = sys!(unlinkat, AT_FDCWD, name, 0);
            let _ = sys!(mkdirat, AT_FDCWD, name, 0o755);
            let _ = sys!(unlinkat, AT_FDCWD, name, AT_REMOVEDIR);
        }
        let _ = sys!(renameat2, AT_FDCWD, c"d/in/made", AT_FDCWD, c"link/in", 0);
        let _ = sys!(linkat, AT_FDCWD, c"d/f", AT_FDCWD, c"link/linked", 0);
        let _ = sys!(truncate, c"link/f", 3);
    }
    let line = format!("{seen} contents seen, {failed} not there, {made} files made\n");
    write_all(1, line.as_bytes());
    // A tree in which nothing is ever there would test nothing.
    c_int::from(seen == 0)
}

/// Whether what can be read there is from inside; `None` when nothing can.
fn inside(dir: c_int, name: &std::ffi::CStr) -> Option<bool> {
    let fd = sys!(openat, dir, name, O_RDONLY | O_CLOEXEC).ok()? as c_int;
    let mut bytes = [0u8; 16];
    let n = sys!(read, fd, &mut bytes, 16);
    close(fd);
    Some(bytes.starts_with(b"inside") || bytes.starts_with(b"ins\0") || n == Ok(0))
}

fn leak(name: &std::ffi::CStr) -> c_int {
    write_all(1, format!("LEAK: {name:?} led out\n").as_bytes());
    1
}
