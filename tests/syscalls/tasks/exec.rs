//! execve and execveat: what is kept, what is reset. (What a file must look like is the loader's family.)

use crate::kit::prelude::*;

case!(arguments_and_environment: execve);
fn arguments_and_environment() {
    let out =
        exec_output(program(), &[c"cases", c"probe", c"args", c"", c"b c"], &[c"A=1", c"EMPTY="], || {});
    eq(out, "args||b c\nA=1|EMPTY=");
}

case!(missing_and_wrong_files: execve);
fn missing_and_wrong_files() {
    let args: &[&std::ffi::CStr] = &[c"x"];
    fails(exec(c"missing", args, &[]), ENOENT);
    fails(exec(c"", args, &[]), ENOENT);
    mkdir(c"d");
    fails(exec(c"d", args, &[]), EACCES);
    put(c"plain", b"#!/bin/sh\n");
    fails(exec(c"plain", args, &[]), EACCES);
    fails(exec(c"plain/x", args, &[]), ENOTDIR);
    ok(sys!(symlinkat, c"loop", AT_FDCWD, c"loop"));
    fails(exec(c"loop", args, &[]), ELOOP);
    fails(exec(c"/dev/null", args, &[]), EACCES);
}

case!(bad_pointers: execve);
fn bad_pointers() {
    let argv = pointers(&[c"x"]);
    fails(sys!(execve, 8, argv.as_slice(), 0), EFAULT);
    fails(sys!(execve, c"/bin/true", 8, 0), EFAULT);
    fails(sys!(execve, c"/bin/true", argv.as_slice(), 8), EFAULT);
    let bad = [8usize, 0];
    fails(sys!(execve, c"/bin/true", &bad, 0), EFAULT);
    // The file is looked up before the arguments are read.
    fails(sys!(execve, c"missing", 8, 0), ENOENT);
}

case!(no_arguments_at_all: execve);
fn no_arguments_at_all() {
    // Linux hands over one empty string in place of none.
    fork(|| {
        ok(sys!(execve, c"/bin/true", 0, 0));
    })
    .succeeds();
}

case!(pid_parent_and_group_are_kept: execve, getpid);
fn pid_parent_and_group_are_kept() {
    let [r, w] = pipe(0);
    let me = ok(sys!(getpid));
    let (group, session) = (ok(sys!(getpgid, 0)), ok(sys!(getsid, 0)));
    let child = fork(|| {
        ok(sys!(dup3, w, 1, 0));
        ok(exec(program(), &[c"cases", c"probe", c"ids"], &[]));
    });
    close(w);
    let out = String::from_utf8_lossy(&read_to_end(r)).into_owned();
    eq(out, format!("{} {me} {group} {session}", child.pid));
    child.succeeds();
}

case!(close_on_exec: execve, fcntl);
fn close_on_exec() {
    let out = probe(c"fds", || {
        ok(sys!(dup3, 2, 10, 0));
        ok(sys!(dup3, 2, 11, O_CLOEXEC));
        ok(sys!(fcntl, 10, F_DUPFD_CLOEXEC, 12));
        ok(sys!(dup3, 2, 13, O_CLOEXEC));
        ok(sys!(fcntl, 13, F_SETFD, 0));
    });
    eq(out, "0 1 2 10 13");
}

case!(shared_table_is_unshared: execve, clone);
fn shared_table_is_unshared() {
    ok(sys!(dup3, 2, 20, O_CLOEXEC));
    clone_child((CLONE_FILES | SIGCHLD) as u64, || {
        ok(exec(c"/bin/true", &[c"true"], &[]));
    })
    .succeeds();
    ok(sys!(fcntl, 20, F_GETFD));
}

case!(handlers_are_reset_and_ignored_stay: execve, rt_sigaction);
fn handlers_are_reset_and_ignored_stay() {
    let out = probe(c"actions", || {
        sig::on(SIGUSR1, sig::record, SA_RESTART);
        sig::ignore(SIGUSR2);
        sig::on(SIGCHLD, sig::record, 0);
    });
    eq(out, "0:0 1:0 0:0");
}

case!(mask_and_pending_stay: execve, rt_sigprocmask, rt_sigpending);
fn mask_and_pending_stay() {
    let bit = sig::bit(SIGUSR1) | sig::bit(SIGRTMIN());
    let prepare = || {
        sig::set_mask(bit);
        sig::raise(SIGUSR1);
    };
    eq(probe(c"mask", prepare), format!("{bit:x}"));
    eq(probe(c"pending", prepare), format!("{:x}", sig::bit(SIGUSR1)));
}

case!(alternate_stack_is_dropped: execve, sigaltstack);
fn alternate_stack_is_dropped() {
    let out = probe(c"altstack", || {
        let stack = stack_t { ss_sp: map(16 * PAGE, RW) as *mut _, ss_flags: 0, ss_size: 16 * PAGE };
        ok(sys!(sigaltstack, &stack, 0));
    });
    eq(out, format!("{SS_DISABLE:x}"));
}

case!(name_becomes_the_file: execve, prctl);
fn name_becomes_the_file() {
    let out = probe(c"name", || {
        ok(sys!(prctl, PR_SET_NAME, c"another"));
    });
    eq(out, "cases");
}

case!(cwd_umask_nice_and_timer_stay: execve, setitimer);
fn cwd_umask_nice_and_timer_stay() {
    needs_nice_0();
    mkdir(c"d");
    let out = probe(c"cwd", || {
        ok(sys!(chdir, c"d"));
    });
    check(out.ends_with("/d"), &out);
    eq(probe(c"umask", || done(sys!(umask, 0o35))), "35");
    eq(probe(c"nice", || done(sys!(setpriority, 0, 0, 3))), "17");
    eq(probe(c"timers", || done(sys!(alarm, 100))), "1");
}

case!(other_threads_end: execve);
fn other_threads_end() {
    let out = probe(c"threads", || {
        for _ in 0..3 {
            std::thread::spawn(|| sleep_ms(10_000));
        }
        sleep_ms(5);
    });
    eq(out, "1");
}

case!(exec_in_a_thread_takes_the_group_id: execve);
fn exec_in_a_thread_takes_the_group_id() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        ok(sys!(dup3, w, 1, 0));
        std::thread::spawn(|| {
            ok(exec(program(), &[c"cases", c"probe", c"ids"], &[]));
        });
        sleep_ms(10_000);
    });
    close(w);
    let out = String::from_utf8_lossy(&read_to_end(r)).into_owned();
    check(out.starts_with(&format!("{} ", child.pid)), &out);
    child.succeeds();
}

case!(exec_in_a_thread_after_the_leader_has_gone: execve, exit);
fn exec_in_a_thread_after_the_leader_has_gone() {
    let [r, w] = pipe(0);
    let child = fork(|| {
        ok(sys!(dup3, w, 1, 0));
        let leader = ok_i32(sys!(getpid));
        std::thread::spawn(move || {
            until_state(leader, 'Z');
            ok(exec(program(), &[c"cases", c"probe", c"ids"], &[]));
        });
        let _ = sys!(exit, 0);
    });
    close(w);
    let out = String::from_utf8_lossy(&read_to_end(r)).into_owned();
    check(out.starts_with(&format!("{} ", child.pid)), &out);
    child.succeeds();
}

case!(failed_exec_leaves_threads_alone: execve);
fn failed_exec_leaves_threads_alone() {
    let (tid, handle) = thread::spawn(|| sleep_ms(100));
    fails(exec(c"missing", &[c"x"], &[]), ENOENT);
    ok(sys!(tgkill, ok(sys!(getpid)), tid, 0));
    thread::join(handle);
}

case!(by_descriptor: execveat);
fn by_descriptor() {
    let argv = pointers(&[c"true"]);
    fork(|| {
        let fd = open(c"/bin/true", O_PATH | O_CLOEXEC);
        ok(sys!(execveat, fd, c"", argv.as_slice(), 0, AT_EMPTY_PATH));
    })
    .succeeds();
    fork(|| {
        let dir = open(c"/bin", O_RDONLY | O_DIRECTORY);
        ok(sys!(execveat, dir, c"true", argv.as_slice(), 0, 0));
    })
    .succeeds();
}

case!(execveat_errors: execveat);
fn execveat_errors() {
    let argv = pointers(&[c"true"]);
    ok(sys!(symlinkat, c"/bin/true", AT_FDCWD, c"link"));
    fails(sys!(execveat, AT_FDCWD, c"link", argv.as_slice(), 0, AT_SYMLINK_NOFOLLOW), ELOOP);
    fails(sys!(execveat, AT_FDCWD, c"/bin/true", argv.as_slice(), 0, 0x4000_0000), EINVAL);
    fails(sys!(execveat, 999, c"true", argv.as_slice(), 0, 0), EBADF);
    fails(sys!(execveat, 999, c"", argv.as_slice(), 0, AT_EMPTY_PATH), EBADF);
    fails(sys!(execveat, AT_FDCWD, c"", argv.as_slice(), 0, 0), ENOENT);
}

case!(busy_while_open_for_writing: execve, openat);
fn busy_while_open_for_writing() {
    put(c"copy", &content(program()));
    ok(sys!(fchmodat, AT_FDCWD, c"copy", 0o755));
    let fd = open(c"copy", O_WRONLY);
    fails(exec(c"copy", &[c"copy"], &[]), ETXTBSY);
    close(fd);
    fork(|| done(exec(c"copy", &[c"copy", c"list"], &[]))).succeeds();
}

case!(set_user_id_bits: execve, getresuid, mount; root);
fn set_user_id_bits() {
    // A file system of its own: that of the scratch directory may be mounted with nosuid.
    ok(sys!(unshare, CLONE_NEWNS));
    ok(sys!(mount, c"none", c"/", 0, MS_REC | MS_PRIVATE, 0));
    mkdir(c"m");
    ok(sys!(mount, c"tmpfs", c"m", c"tmpfs", 0, c"mode=755"));
    ok(sys!(chdir, c"m"));
    put(c"copy", &content(program()));
    ok(sys!(fchownat, AT_FDCWD, c"copy", 1234, 2345, 0));
    ok(sys!(fchmodat, AT_FDCWD, c"copy", 0o6755));
    let out = exec_output(c"./copy", &[c"cases", c"probe", c"creds"], &[], || become_user(NOBODY));
    eq(out, format!("[{NOBODY}, 1234, 1234, {NOBODY}, 2345, 2345]"));
    // Not with no_new_privs.
    let out = exec_output(c"./copy", &[c"cases", c"probe", c"creds"], &[], || {
        become_user(NOBODY);
        ok(sys!(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    });
    let unchanged = format!("[{NOBODY}, {NOBODY}, {NOBODY}, {NOBODY}, {NOBODY}, {NOBODY}]");
    eq(&out, &unchanged);
    // Nor where the mount forbids it.
    ok(sys!(mount, 0, c".", 0, MS_REMOUNT | MS_NOSUID, 0));
    let out = exec_output(c"./copy", &[c"cases", c"probe", c"creds"], &[], || become_user(NOBODY));
    eq(out, unchanged);
}

case!(dumpable_is_set_again: execve, prctl);
fn dumpable_is_set_again() {
    let out = probe(c"dumpable", || {
        ok(sys!(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0));
    });
    eq(out, "1");
}

case!(argument_limits: execve);
fn argument_limits() {
    // One string may take 32 pages, its end included.
    let string = |length: usize| std::ffi::CString::new(vec![b'a'; length]).unwrap_or_default();
    let most = string(32 * PAGE - 1);
    fork(|| done(exec(c"/bin/true", &[c"true", &most], &[]))).succeeds();
    let more = string(32 * PAGE);
    fails(exec(c"/bin/true", &[c"true", &more], &[]), E2BIG);
    fails(exec(c"/bin/true", &[c"true"], &[&more]), E2BIG);
}

case!(all_arguments_together: execve, prlimit64);
fn all_arguments_together() {
    // A quarter of the stack limit, but at least 32 pages.
    in_child(|| {
        let limit = rlimit { rlim_cur: 1 << 20, rlim_max: RLIM_INFINITY };
        ok(sys!(prlimit64, 0, RLIMIT_STACK, &limit, 0));
        let piece = std::ffi::CString::new(vec![b'a'; 10_000]).unwrap_or_default();
        let few: Vec<&std::ffi::CStr> = vec![&piece; 20];
        fork(|| done(exec(c"/bin/true", &few, &[]))).succeeds();
        let many: Vec<&std::ffi::CStr> = vec![&piece; 30];
        fails(exec(c"/bin/true", &many, &[]), E2BIG);
        fails(exec(c"/bin/true", &[c"true"], &many), E2BIG);
    });
}

case!(robust_exec_of_many: execve, fork, wait4);
fn robust_exec_of_many() {
    for _ in 0..8 {
        fork(|| done(exec(c"/bin/true", &[c"true"], &[]))).succeeds();
        fork(|| done(exec(c"/bin/false", &[c"false"], &[]))).exits_with(1);
    }
}
