//! Several threads that make, link and remove files in the same directories at once.

use std::ffi::CString;
use std::thread;

use crate::kit::prelude::*;

const ROUNDS: usize = 12;
const THREADS: usize = 8;
const FILES: usize = 4;

fn path(folder: &str, round: usize, thread: usize, file: usize) -> CString {
    CString::new(format!("{folder}/{round}-{thread}-{file}")).unwrap_or_default()
}

fn each(round: usize, mut visit: impl FnMut(usize, usize, usize)) {
    for thread in 0..THREADS {
        for file in 0..FILES {
            visit(round, thread, file);
        }
    }
}

case!(threads_make_files_in_one_directory: openat, write, close; disk);
fn threads_make_files_in_one_directory() {
    // By a long path: each thread finds the directories anew.
    let here = absolute("made").into_string().unwrap_or_default();
    let kept = absolute("kept").into_string().unwrap_or_default();
    mkdir(c"kept");
    for round in 0..ROUNDS {
        let made = sys!(mkdir, c"made", 0o777);
        if round > 0 {
            fails(made, EEXIST);
        }
        let here = here.as_str();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for file in 0..FILES {
                        let name = path(here, round, thread, file);
                        let fd = ok_i32(sys!(
                            openat,
                            AT_FDCWD,
                            name.as_c_str(),
                            O_WRONLY | O_CREAT | O_TRUNC,
                            0o600
                        ));
                        write_all(fd, b"x");
                        close(fd);
                    }
                });
            }
        });
        each(round, |round, thread, file| {
            let (name, link) = (path(here, round, thread, file), path(&kept, round, thread, file));
            ok(sys!(link, name.as_c_str(), link.as_c_str()));
            eq((stat(&name).st_size, stat(&link).st_nlink), (1, 2));
        });
        each(round, |round, thread, file| {
            ok(sys!(unlink, path(here, round, thread, file).as_c_str()));
        });
    }
}

case!(threads_look_a_directory_up_at_once: openat, mkdir, rmdir; disk);
fn threads_look_a_directory_up_at_once() {
    for round in 0..ROUNDS {
        ok(sys!(mkdir, c"a", 0o777));
        ok(sys!(mkdir, c"a/b", 0o777));
        ok(sys!(mkdir, c"a/b/c", 0o777));
        // Whatever was known of the inner names is forgotten with the name of the outer one.
        ok(sys!(rename, c"a", c"d"));
        let here = absolute("d/b/c").into_string().unwrap_or_default();
        let here = here.as_str();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    let name = path(here, round, thread, 0);
                    close(ok_i32(sys!(openat, AT_FDCWD, name.as_c_str(), O_WRONLY | O_CREAT, 0o600)));
                    ok(sys!(unlink, name.as_c_str()));
                });
            }
        });
        ok(sys!(rmdir, c"d/b/c"));
        ok(sys!(rmdir, c"d/b"));
        ok(sys!(rmdir, c"d"));
    }
}
