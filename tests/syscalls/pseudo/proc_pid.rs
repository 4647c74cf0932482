//! /proc/PID: status, stat, maps, cmdline and so on.

use std::ffi::CString;

use crate::kit::prelude::*;

fn of(pid: i32, what: &str) -> CString {
    CString::new(format!("/proc/{pid}/{what}")).unwrap_or_default()
}

fn status(pid: i32, name: &str) -> String {
    let all = text(&of(pid, "status"));
    let found = all.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    found.map_or_else(|| fail(format_args!("no {name} in status")), |v| v.trim().to_string())
}

fn fields(pid: i32) -> Vec<String> {
    let all = text(&of(pid, "stat"));
    let (head, rest) = all.trim_end().rsplit_once(") ").unwrap_or_default();
    let mut fields: Vec<String> = head.splitn(2, " (").map(str::to_string).collect();
    fields.extend(rest.split(' ').map(str::to_string));
    fields
}

fn me() -> i32 {
    ok_i32(sys!(getpid))
}

case!(self_and_thread_self: readlinkat, gettid);
fn self_and_thread_self() {
    let link = |name: &str| std::fs::read_link(name).unwrap_or_default().display().to_string();
    eq(link("/proc/self"), me().to_string());
    eq(link("/proc/thread-self"), format!("{}/task/{}", me(), me()));
    let (_, handle) = thread::spawn(|| {
        let tid = ok(sys!(gettid));
        let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
        eq(link.display().to_string(), format!("{}/task/{tid}", me()));
        eq(std::fs::read_link("/proc/self").unwrap_or_default().display().to_string(), me().to_string());
    });
    thread::join(handle);
    in_child(|| eq(link("/proc/self"), me().to_string()));
}

case!(status_of_identity: openat, read);
fn status_of_identity() {
    eq(status(me(), "Pid"), me().to_string());
    eq(status(me(), "Tgid"), me().to_string());
    eq(status(me(), "PPid"), ok(sys!(getppid)).to_string());
    eq(status(me(), "Name"), "cases");
    eq(status(me(), "Threads"), "1");
    check(status(me(), "State").starts_with('R'), "running");
    eq(status(me(), "TracerPid"), "0");
    let id = ok(sys!(getuid));
    eq(status(me(), "Uid"), format!("{id}\t{id}\t{id}\t{id}"));
    eq(status(me(), "Umask"), "0022");
    let kib: u64 = status(me(), "VmSize").trim_end_matches(" kB").parse().unwrap_or(0);
    let resident: u64 = status(me(), "VmRSS").trim_end_matches(" kB").parse().unwrap_or(0);
    check(kib >= resident && resident > 0, format_args!("{resident} of {kib}"));
}

case!(status_of_signals: rt_sigprocmask, rt_sigaction);
fn status_of_signals() {
    sig::block(sig::bit(SIGUSR1) | sig::bit(SIGRTMIN()));
    sig::ignore(SIGUSR2);
    sig::on(SIGHUP, sig::record, 0);
    sig::raise(SIGUSR1);
    eq(status(me(), "SigBlk"), format!("{:016x}", sig::bit(SIGUSR1) | sig::bit(SIGRTMIN())));
    eq(status(me(), "SigIgn"), format!("{:016x}", sig::bit(SIGUSR2)));
    eq(status(me(), "SigCgt"), format!("{:016x}", sig::bit(SIGHUP)));
    eq(status(me(), "SigPnd"), format!("{:016x}", sig::bit(SIGUSR1)));
    ok(sys!(kill, me(), SIGRTMIN()));
    eq(status(me(), "ShdPnd"), format!("{:016x}", sig::bit(SIGRTMIN())));
}

case!(stat_fields: openat, getppid, getpgid, getsid);
fn stat_fields() {
    needs_nice_0();
    let f = fields(me());
    eq((f[0].as_str(), f[1].as_str(), f[2].as_str()), (me().to_string().as_str(), "cases", "R"));
    eq(f[3].as_str(), ok(sys!(getppid)).to_string());
    eq(f[4].as_str(), ok(sys!(getpgid, 0)).to_string());
    eq(f[5].as_str(), ok(sys!(getsid, 0)).to_string());
    eq(f.len(), 52);
    eq((f[17].as_str(), f[18].as_str(), f[19].as_str()), ("20", "0", "1"));
    check(f[22].parse::<u64>().is_ok_and(|v| v > 0), "a size");
    check(f[21].parse::<u64>().is_ok(), "a start time");
}

case!(strange_names: prctl, openat);
fn strange_names() {
    ok(sys!(prctl, PR_SET_NAME, c") R 1 2 ("));
    eq(text(c"/proc/self/comm"), ") R 1 2 (\n");
    check(text(c"/proc/self/stat").contains(" () R 1 2 () R "), "as it is in stat");
    ok(sys!(prctl, PR_SET_NAME, c"a\nb\\c"));
    eq(status(me(), "Name"), "a\\nb\\\\c");
    // A name can be written, and is cut.
    let fd = open(c"/proc/self/comm", O_WRONLY);
    write_all(fd, b"written and much too long");
    eq(
        text(c"/proc/self/comm"),
        "written and mu\n".replace("mu", "muc").get(..16).unwrap_or_default().to_string(),
    );
}

case!(states_of_others: kill, wait4, openat);
fn states_of_others() {
    let child = fork(|| sleep_ms(10_000));
    until_asleep(child.pid);
    check(status(child.pid, "State").starts_with("S (sleeping)"), "asleep");
    child.kill(SIGSTOP);
    wait_for(child.pid, WUNTRACED);
    eq(status(child.pid, "State"), "T (stopped)");
    child.kill(SIGKILL);
    until_state(child.pid, 'Z');
    eq(status(child.pid, "State"), "Z (zombie)");
    // A zombie has no memory, and no command line.
    eq(content(&of(child.pid, "cmdline")), b"");
    eq(content(&of(child.pid, "maps")), b"");
    fails(sys!(readlinkat, AT_FDCWD, of(child.pid, "exe").as_c_str(), &mut [0u8; 64], 64), ENOENT);
    let name = of(child.pid, "status");
    child.dies_of(SIGKILL);
    fails(sys!(openat, AT_FDCWD, name.as_c_str(), O_RDONLY, 0), ENOENT);
}

case!(files_of_a_process_that_has_gone: openat, read);
fn files_of_a_process_that_has_gone() {
    let child = fork(|| sleep_ms(10_000));
    let fd = open(&of(child.pid, "status"), O_RDONLY);
    let dir = open(&CString::new(format!("/proc/{}", child.pid)).unwrap_or_default(), O_RDONLY | O_DIRECTORY);
    child.end();
    fails(sys!(read, fd, &mut [0u8; 64], 64), ESRCH);
    fails_any(sys!(openat, dir, c"status", O_RDONLY, 0), &[ENOENT, ESRCH]);
}

case!(exe_cwd_and_root: readlinkat, chdir; disk);
fn exe_cwd_and_root() {
    let link = |name: &str| std::fs::read_link(name).unwrap_or_default().display().to_string();
    let own = std::fs::canonicalize(program().to_string_lossy().as_ref()).unwrap_or_default();
    eq(link("/proc/self/exe"), own.display().to_string());
    eq(link("/proc/self/root"), "/");
    mkdir(c"d");
    ok(sys!(chdir, c"d"));
    let here = absolute("").to_string_lossy().trim_end_matches('/').to_string();
    eq(link("/proc/self/cwd"), here.as_str());
    ok(sys!(rmdir, c"../d"));
    eq(link("/proc/self/cwd"), format!("{here} (deleted)"));
}

case!(maps_follow_changes: mmap, mprotect, munmap, openat);
fn maps_follow_changes() {
    let find = |at: usize| {
        let all = text(c"/proc/self/maps");
        let line = all.lines().find(|l| {
            let (first, end) = l.split(' ').next().and_then(|r| r.split_once('-')).unwrap_or_default();
            let number = |s: &str| usize::from_str_radix(s, 16).unwrap_or(0);
            number(first) <= at && at < number(end)
        });
        line.map(str::to_string)
    };
    let at = map(3 * PAGE, RW);
    ok(sys!(mprotect, at + PAGE, PAGE, PROT_READ));
    let line = find(at + PAGE).unwrap_or_default();
    check(line.starts_with(&format!("{:x}-{:x} r--p 00000000 00:00 0", at + PAGE, at + 2 * PAGE)), &line);
    unmap(at + PAGE, PAGE);
    eq(find(at + PAGE), None);
    let fd = create(c"mapped file", &[1; 2 * PAGE]);
    let at = map_file(fd, PAGE, PAGE, PROT_READ, MAP_SHARED);
    let line = find(at).unwrap_or_default();
    let st = fstat(fd);
    let want = format!(
        "{:x}-{:x} r--s 00001000 {:02x}:{:02x} {}",
        at,
        at + PAGE,
        major(st.st_dev),
        minor(st.st_dev),
        st.st_ino
    );
    check(line.starts_with(&want), format_args!("{line:?} begins with {want:?}"));
    check(line.ends_with(&format!(" {}", absolute("mapped file").to_string_lossy())), &line);
    ok(sys!(unlink, c"mapped file"));
    check(find(at).unwrap_or_default().ends_with("/mapped file (deleted)"), "it has no name any more");
}

case!(memory_through_proc: openat, pread64, pwrite64);
fn memory_through_proc() {
    let page = map(PAGE, RW);
    poke(page, 42);
    let fd = open(c"/proc/self/mem", O_RDWR);
    let mut byte = [0u8; 1];
    eq(ok(sys!(pread64, fd, &mut byte, 1, page)), 1);
    eq(byte[0], 42);
    eq(ok(sys!(pwrite64, fd, &[43u8], 1, page)), 1);
    eq(peek(page), 43);
    unmap(page, PAGE);
    fails(sys!(pread64, fd, &mut byte, 1, page), EIO);
    eq(ok(sys!(lseek, fd, -4096i64, SEEK_SET)), -4096);
}

case!(threads_have_directories: getdents64, openat);
fn threads_have_directories() {
    let (tid, handle) = thread::spawn(|| sleep_ms(200));
    let mut ids: Vec<i32> = std::fs::read_dir("/proc/self/task")
        .map(|d| d.flatten().filter_map(|e| e.file_name().to_string_lossy().parse().ok()).collect())
        .unwrap_or_default();
    ids.sort_unstable();
    eq(ids, vec![me(), tid]);
    eq(status(me(), "Threads"), "2");
    eq(text(&of(me(), &format!("task/{tid}/comm"))), "cases\n");
    // Threads are found by name, and not in the listing of /proc.
    check(exists(&CString::new(format!("/proc/{tid}")).unwrap_or_default()), "by name");
    let listed = std::fs::read_dir("/proc")
        .map(|d| d.flatten().any(|e| e.file_name().to_string_lossy() == tid.to_string()));
    eq(listed.unwrap_or(true), false);
    thread::join(handle);
}

case!(processes_are_listed: getdents64, fork);
fn processes_are_listed() {
    let child = fork(|| sleep_ms(10_000));
    let pids: Vec<i32> = std::fs::read_dir("/proc")
        .map(|d| d.flatten().filter_map(|e| e.file_name().to_string_lossy().parse().ok()).collect())
        .unwrap_or_default();
    check(pids.contains(&me()) && pids.contains(&child.pid), format_args!("{pids:?}"));
    child.end();
}

case!(limits_of_a_process: openat, prlimit64);
fn limits_of_a_process() {
    let limit = rlimit { rlim_cur: 17, rlim_max: 33 };
    ok(sys!(prlimit64, 0, RLIMIT_NOFILE, &limit, 0));
    let all = text(c"/proc/self/limits");
    let line = all.lines().find(|l| l.starts_with("Max open files")).unwrap_or_default();
    eq(line.split_whitespace().collect::<Vec<_>>().join(" "), "Max open files 17 33 files");
    check(all.lines().any(|l| l.starts_with("Max cpu time") && l.contains("unlimited")), "all of them");
}

case!(permissions_of_others: openat, readlinkat; root);
fn permissions_of_others() {
    unprivileged(|| {
        // The parent is root's.
        let parent = ok_i32(sys!(getppid));
        for name in ["environ", "fd", "mem", "auxv"] {
            fails(sys!(openat, AT_FDCWD, of(parent, name).as_c_str(), O_RDONLY, 0), EACCES);
        }
        fails(sys!(readlinkat, AT_FDCWD, of(parent, "exe").as_c_str(), &mut [0u8; 64], 64), EACCES);
        fails(sys!(readlinkat, AT_FDCWD, of(parent, "cwd").as_c_str(), &mut [0u8; 64], 64), EACCES);
        check(text(&of(parent, "status")).contains("Uid:\t0\t"), "status is for all");
        text(&of(parent, "stat"));
        text(&of(parent, "cmdline"));
    });
}

case!(nothing_can_be_made: openat, mkdir, unlink, rename);
fn nothing_can_be_made() {
    fails(sys!(openat, AT_FDCWD, c"/proc/self/new", O_CREAT | O_RDWR, 0o600), ENOENT);
    fails(sys!(mkdir, c"/proc/new", 0o755), ENOENT);
    fails(sys!(unlink, c"/proc/self/status"), EPERM);
    fails(sys!(rename, c"/proc/self/status", c"/proc/self/x"), ENOENT);
    unprivileged(|| fails(sys!(openat, AT_FDCWD, c"/proc/self/status", O_WRONLY, 0), EACCES));
    fails(sys!(openat, AT_FDCWD, c"/proc/99999999", O_RDONLY, 0), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"/proc/0", O_RDONLY, 0), ENOENT);
}
