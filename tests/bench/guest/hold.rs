//! Standing still, or doing something exactly so often, while somebody outside looks.

use std::io::{Read, Write};

use crate::{calls, files, memory, tasks};

/// Says that it is ready and waits until it is told to go on.
fn ready() {
    println!("ready");
    let _ = std::io::stdout().flush();
    let _ = std::io::stdin().read(&mut [0; 1]);
}

/// Keeps so many processes or threads.
pub fn hold(kind: &str, count: u32) {
    for _ in 0..count {
        match kind {
            "threads" => {
                std::thread::spawn(|| {
                    loop {
                        std::thread::park();
                    }
                });
            }
            "processes" => {
                // SAFETY: the child only waits; it is killed if this process dies first.
                unsafe {
                    let child = libc::fork();
                    assert!(child >= 0);
                    if child == 0 {
                        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                        loop {
                            libc::pause();
                        }
                    }
                }
            }
            other => panic!("nothing of the kind {other:?} can be held"),
        }
    }
    ready();
    // Children and threads end with this process.
}

/// Does an operation a few times, then, when told, so often.
pub fn count(operation: &str, times: u32) {
    let once = || match operation {
        "umask" => calls::umask(),
        "open_close" => files::open_close(c"/etc/passwd"),
        "stat" => files::stat(c"/etc/passwd"),
        "mmap_touch_munmap" => memory::mmap_touch_munmap(),
        "thread" => tasks::thread(),
        "fork_wait" => tasks::fork_wait(None),
        "vfork_exec_wait" => tasks::vfork_exec_true(),
        other => panic!("no operation is called {other:?}"),
    };
    for _ in 0..20 {
        once();
    }
    ready();
    for _ in 0..times {
        once();
    }
    ready();
}
