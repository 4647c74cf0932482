//! What the benchmark runs inside: `bench-guest METRIC` does one thing often and prints nanoseconds for each time.

use std::ffi::CString;
use std::time::Instant;

fn main() {
    let metric = std::env::args().nth(1).unwrap_or_default();
    let ns = match metric.as_str() {
        "nothing" => return,
        // SAFETY: no arguments, no effect.
        "getppid" => per_call(20_000, || unsafe { assert!(libc::getppid() >= 0) }),
        // SAFETY: as above, through the C library's general entry.
        "getppid_syscall" => per_call(20_000, || unsafe { assert!(libc::syscall(libc::SYS_getppid) >= 0) }),
        "open_close" => per_call(2_000, || open_close(c"/etc/passwd")),
        "stat" => per_call(5_000, stat),
        "pread_4k" => pread(),
        "pipe_round_trip" => pipe_round_trip(),
        "fork_wait" => per_call(200, || fork_wait(None)),
        "fork_exec_wait" => {
            let own = std::env::current_exe().expect("this program has a path");
            let own = CString::new(own.into_os_string().into_encoded_bytes()).expect("no NUL in a path");
            per_call(100, || fork_wait(Some(&own)))
        }
        "mmap_touch_munmap" => per_call(500, mmap_touch),
        other => panic!("no metric is called {other:?}"),
    };
    println!("{ns}");
}

/// Nanoseconds for each of `times` calls, after a tenth of them to get warm.
fn per_call(times: u32, mut call: impl FnMut()) -> u64 {
    for _ in 0..times / 10 {
        call();
    }
    let begun = Instant::now();
    for _ in 0..times {
        call();
    }
    (begun.elapsed().as_nanos() / u128::from(times)) as u64
}

fn open_close(path: &std::ffi::CStr) {
    // SAFETY: the path ends with a NUL; the descriptor is closed once.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        assert!(fd >= 0);
        libc::close(fd);
    }
}

fn stat() {
    // SAFETY: all zero is a valid `stat`, and the call fills it.
    unsafe {
        let mut out: libc::stat = std::mem::zeroed();
        assert_eq!(libc::stat(c"/etc/passwd".as_ptr(), &mut out), 0);
    }
}

fn pread() -> u64 {
    // SAFETY: the buffer has the length that is passed.
    unsafe {
        let fd = libc::open(c"/bin/true".as_ptr(), libc::O_RDONLY);
        assert!(fd >= 0);
        let mut buffer = [0u8; 4096];
        per_call(5_000, || assert_eq!(libc::pread(fd, buffer.as_mut_ptr().cast(), 4096, 0), 4096))
    }
}

fn pipe_round_trip() -> u64 {
    // SAFETY: descriptors are those that pipe gave; the child only uses read, write and _exit.
    unsafe {
        let (mut there, mut back) = ([0; 2], [0; 2]);
        assert_eq!(libc::pipe(there.as_mut_ptr()), 0);
        assert_eq!(libc::pipe(back.as_mut_ptr()), 0);
        let child = libc::fork();
        assert!(child >= 0);
        let mut byte = [0u8; 1];
        if child == 0 {
            libc::close(there[1]);
            while libc::read(there[0], byte.as_mut_ptr().cast(), 1) == 1 {
                libc::write(back[1], byte.as_ptr().cast(), 1);
            }
            libc::_exit(0);
        }
        let ns = per_call(2_000, || {
            assert_eq!(libc::write(there[1], byte.as_ptr().cast(), 1), 1);
            assert_eq!(libc::read(back[0], byte.as_mut_ptr().cast(), 1), 1);
        });
        libc::close(there[1]);
        libc::waitpid(child, std::ptr::null_mut(), 0);
        ns
    }
}

/// Forks a child that exits, or executes `program` with the argument `nothing`.
fn fork_wait(program: Option<&CString>) {
    // SAFETY: the child only calls functions that are safe between fork and exec.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            if let Some(program) = program {
                let argv = [program.as_ptr(), c"nothing".as_ptr(), std::ptr::null()];
                libc::execv(program.as_ptr(), argv.as_ptr());
                libc::_exit(1);
            }
            libc::_exit(0);
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        assert_eq!(status, 0);
    }
}

fn mmap_touch() {
    const PAGES: usize = 64;
    // SAFETY: the mapping is new, has that length, and is given back once.
    unsafe {
        let at = libc::mmap(
            std::ptr::null_mut(),
            PAGES * 4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert_ne!(at, libc::MAP_FAILED);
        for page in 0..PAGES {
            at.cast::<u8>().add(page * 4096).write_volatile(1);
        }
        libc::munmap(at, PAGES * 4096);
    }
}
