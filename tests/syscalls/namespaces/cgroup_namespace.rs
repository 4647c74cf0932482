//! Cgroup namespaces.

use super::{link, path};
use crate::kit::prelude::*;

/// The hierarchy of version 2 at `c`, and a group of the case's own in it.
#[track_caller]
fn group() -> String {
    ok(sys!(unshare, CLONE_NEWNS));
    ok(sys!(mount, c"none", c"/", 0, MS_REC | MS_PRIVATE, 0));
    mkdir(c"c");
    ok(sys!(mount, c"none", c"c", c"cgroup2", 0, 0));
    let group = format!("c/ns.{}", ok(sys!(getpid)));
    mkdir(&path(&group));
    group
}

#[track_caller]
fn enter(group: &str) {
    let fd = open(&path(&format!("{group}/cgroup.procs")), O_WRONLY);
    match sys!(write, fd, b"0".as_slice(), 1) {
        Ok(_) => {}
        // Controllers on, or threads.
        Err(_) => skip("this host lets nobody into a new group of version 2"),
    }
    close(fd);
}

/// The path in the hierarchy of version 2.
#[track_caller]
fn own_path(file: &std::ffi::CStr) -> String {
    let all = text(file);
    let line = all.lines().find_map(|line| line.strip_prefix("0::"));
    line.unwrap_or_default().to_owned()
}

case!(the_own_group_becomes_the_root: unshare, mount; root);
fn the_own_group_becomes_the_root() {
    let group = group();
    let inside = path(&format!("{group}/inside"));
    let before = own_path(c"/proc/self/cgroup");
    let me = ok(sys!(getpid));
    let child = fork(|| {
        enter(&group);
        let old = link("self", "cgroup");
        ok(sys!(unshare, CLONE_NEWCGROUP));
        check(link("self", "cgroup") != old, "the same namespace");
        eq(own_path(c"/proc/self/cgroup"), "/");
        // Who is outside is shown from here.
        let others = own_path(&path(&format!("/proc/{me}/cgroup")));
        check(others.starts_with("/.."), others);
        mkdir(&inside);
        mkdir(c"m");
        ok(sys!(mount, c"none", c"m", c"cgroup2", 0, 0));
        check(exists(c"m/inside"), "the group inside is not below the mount");
        let all = text(c"/proc/self/mountinfo");
        let root_of = |name: &str| {
            let at = absolute(name).to_string_lossy().into_owned();
            let line = all.lines().find(|line| line.split(' ').nth(4) == Some(&at));
            line.and_then(|line| line.split(' ').nth(3)).unwrap_or_default().to_owned()
        };
        eq(root_of("m"), "/");
        check(root_of("c").starts_with("/.."), root_of("c"));
        // Into the group inside: the root stays.
        enter("m/inside");
        eq(own_path(c"/proc/self/cgroup"), "/inside");
        in_child(|| {
            ok(sys!(unshare, CLONE_NEWCGROUP));
            eq(own_path(c"/proc/self/cgroup"), "/");
            eq(own_path(&path(&format!("/proc/{}/cgroup", ok(sys!(getppid))))), "/");
        });
        enter("c");
    });
    let status = child.status();
    let gone = |dir: &std::ffi::CStr| {
        eventually("the group is empty", || sys!(rmdir, dir).is_ok() || !exists(dir));
    };
    gone(&inside);
    gone(&path(&group));
    eq(own_path(c"/proc/self/cgroup"), before);
    if status != 0 {
        eq(describe(status), "exited with 0".to_owned());
    }
}

case!(users_outside_see_the_whole_path: unshare; root);
fn users_outside_see_the_whole_path() {
    let group = group();
    let name = group.trim_start_matches("c").to_owned();
    let [r, w] = pipe(O_CLOEXEC);
    let child = fork(|| {
        enter(&group);
        ok(sys!(unshare, CLONE_NEWCGROUP));
        write_all(w, b"x");
        sleep_ms(100_000);
    });
    close(w);
    let there = !read(r, 1).is_empty();
    if there {
        check(own_path(&path(&format!("/proc/{}/cgroup", child.pid))).ends_with(&name), "another path");
        child.end();
    } else {
        child.succeeds();
    }
    eventually("the group is empty", || sys!(rmdir, path(&group).as_c_str()).is_ok());
}
