//! Processes and threads.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};
use std::time::Instant;

use crate::timing::per_call;

/// Forks a child that exits, or executes `program` with the argument `nothing`.
pub fn fork_wait(program: Option<&CString>) {
    // SAFETY: the child only calls functions that are safe between fork and exec.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            if let Some(program) = program {
                let argv = [program.as_ptr(), c"nothing".as_ptr(), null()];
                libc::execv(program.as_ptr(), argv.as_ptr());
            }
            libc::_exit(i32::from(program.is_some()));
        }
        wait(child);
    }
}

fn wait(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: the status is filled.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child failed");
}

fn own_path() -> String {
    std::env::current_exe().expect("this program has a path").to_string_lossy().into_owned()
}

pub fn fork_exec_wait() -> f64 {
    let own = CString::new(own_path()).expect("no NUL in a path");
    per_call(|| fork_wait(Some(&own)))
}

/// vfork(2), exec and wait of this program.
pub fn vfork_exec_self() -> f64 {
    let own = CString::new(own_path()).expect("no NUL in a path");
    per_call(|| vfork_exec([&own, c"nothing"]))
}

/// vfork(2), exec and wait of /bin/true, without an argument: with one it would read the locale.
pub fn vfork_exec_true() {
    vfork_exec([c"/bin/true"]);
}

/// Not through posix_spawn(3), which asks about every signal first.
fn vfork_exec<const N: usize>(program: [&CStr; N]) {
    extern "C" fn child(argv: *mut c_void) -> i32 {
        let argv: *const *const c_char = argv.cast();
        // SAFETY: the caller's list outlives the child's use of it: vfork waits.
        unsafe {
            libc::execv(*argv, argv);
            libc::_exit(1)
        }
    }
    let mut argv = [null(); 4];
    argv.iter_mut().zip(program).for_each(|(to, word)| *to = word.as_ptr());
    let mut stack = [0u64; 1024];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the child has a stack of its own, which it has left when the call returns.
    let pid = unsafe {
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        libc::clone(child, top, flags, argv.as_mut_ptr().cast())
    };
    assert!(pid > 0);
    wait(pid);
}

unsafe extern "C" {
    static environ: *const *mut c_char;
}

/// vfork, exec and wait, as posix_spawn(3) does it, with standard output thrown away.
fn spawn_wait(program: &[&str]) {
    let words: Vec<CString> =
        program.iter().map(|w| CString::new(*w).expect("no NUL in an argument")).collect();
    let mut argv: Vec<*mut c_char> = words.iter().map(|w| w.as_ptr().cast_mut()).collect();
    argv.push(null_mut());
    let mut child = 0;
    // SAFETY: all strings and lists outlive the call; the file actions are made before they are used.
    let result = unsafe {
        let mut actions: libc::posix_spawn_file_actions_t = std::mem::zeroed();
        libc::posix_spawn_file_actions_init(&mut actions);
        libc::posix_spawn_file_actions_addopen(&mut actions, 1, c"/dev/null".as_ptr(), libc::O_WRONLY, 0);
        let result = libc::posix_spawnp(&mut child, argv[0], &actions, null(), argv.as_ptr(), environ);
        libc::posix_spawn_file_actions_destroy(&mut actions);
        result
    };
    assert_eq!(result, 0, "{} can't be started", program[0]);
    wait(child);
}

/// Nanoseconds for each of some runs of a program.
pub fn run(times: u32, program: &[&str]) -> f64 {
    let begun = Instant::now();
    for _ in 0..times {
        spawn_wait(program);
    }
    begun.elapsed().as_nanos() as f64 / f64::from(times)
}

extern "C" fn nothing(_: *mut c_void) -> *mut c_void {
    null_mut()
}

/// Makes a thread and waits for its end.
pub fn thread() {
    let mut thread = 0;
    // SAFETY: the function fits; the thread is joined once.
    unsafe {
        assert_eq!(libc::pthread_create(&mut thread, null(), nothing, null_mut()), 0);
        assert_eq!(libc::pthread_join(thread, null_mut()), 0);
    }
}

/// Measures while other processes compute, so many that with this one there are as many as CPUs.
pub fn with_busy_cpus(measure: impl FnOnce() -> f64) -> f64 {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    let others: Vec<libc::pid_t> = (1..cpus.max(2))
        .map(|_| {
            // SAFETY: the child computes for ever, and is killed if this process dies first.
            unsafe {
                let child = libc::fork();
                assert!(child >= 0);
                if child == 0 {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    loop {
                        std::hint::spin_loop();
                    }
                }
                child
            }
        })
        .collect();
    let ns = measure();
    for child in others {
        // SAFETY: our own children.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, null_mut(), 0);
        }
    }
    ns
}
