//! Version 2 control groups, without any controller.

use std::ffi::CString;

use super::own_mounts;
use crate::kit::prelude::*;

/// The hierarchy at `c`, and a group of the case's own in it, which is removed by [`gone`].
#[track_caller]
fn group() -> String {
    own_mounts();
    mkdir(c"c");
    ok(sys!(mount, c"none", c"c", c"cgroup2", 0, 0));
    let group = format!("c/case.{}", ok(sys!(getpid)));
    mkdir(&path(&group));
    group
}

fn path(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// Takes a group away once the last process has left it.
#[track_caller]
fn gone(group: &str) {
    eventually("the group is empty", || sys!(rmdir, path(group).as_c_str()).is_ok());
}

fn write(file: String, text: &str) -> Answer {
    let fd = ok_i32(sys!(openat, AT_FDCWD, path(&file).as_c_str(), O_WRONLY | O_CLOEXEC));
    let answer = sys!(write, fd, text.as_ptr(), text.len());
    close(fd);
    answer
}

case!(groups_are_directories: mount, mkdir, rmdir, statfs; root);
fn groups_are_directories() {
    let group = group();
    let mut st: statfs = zeroed();
    ok(sys!(statfs, path(&group).as_c_str(), &mut st));
    eq(st.f_type, 0x6367_7270);
    for file in ["controllers", "events", "max.depth", "procs", "stat", "subtree_control", "threads", "type"]
    {
        check(exists(&path(&format!("{group}/cgroup.{file}"))), file);
    }
    eq(text(&path(&format!("{group}/cgroup.type"))), "domain\n");
    mkdir(&path(&format!("{group}/below")));
    fails(sys!(mkdir, path(&format!("{group}/below")).as_c_str(), 0o755), EEXIST);
    fails(sys!(rmdir, path(&group).as_c_str()), EBUSY);
    check(text(&path(&format!("{group}/cgroup.stat"))).starts_with("nr_descendants 1\n"), "one below");
    fails(sys!(unlink, path(&format!("{group}/cgroup.procs")).as_c_str()), EPERM);
    gone(&format!("{group}/below"));
    gone(&group);
}

case!(processes_move_and_inherit: fork, write, rmdir; root);
fn processes_move_and_inherit() {
    let group = group();
    let procs = format!("{group}/cgroup.procs");
    let [r, w] = pipe(0);
    let child = fork(|| {
        close(w);
        ok(write(procs.clone(), "0").map(|_| 0));
        let line = format!("0::{}\n", group.trim_start_matches('c'));
        check(text(c"/proc/self/cgroup").contains(&line), &line);
        let grandchild = fork(|| check(text(c"/proc/self/cgroup").contains(&line), "inherited"));
        grandchild.succeeds();
        read_to_end(r);
    });
    close(r);
    eventually("it is in the group", || text(&path(&procs)) == format!("{}\n", child.pid));
    eq(text(&path(&format!("{group}/cgroup.events"))), "populated 1\nfrozen 0\n");
    fails(sys!(rmdir, path(&group).as_c_str()), EBUSY);
    close(w);
    child.succeeds();
    eq(text(&path(&procs)), "");
    gone(&group);
}

case!(others_can_be_moved: write, kill; root);
fn others_can_be_moved() {
    let group = group();
    let child = fork(|| {
        loop {
            sleep_ms(1000);
        }
    });
    ok(write(format!("{group}/cgroup.procs"), &child.pid.to_string()));
    eq(text(&path(&format!("{group}/cgroup.threads"))), format!("{}\n", child.pid));
    fails(write(format!("{group}/cgroup.procs"), "x"), EINVAL);
    fails(write(format!("{group}/cgroup.procs"), "999999999"), ESRCH);
    fails(write(format!("{group}/cgroup.kill"), "2"), ERANGE);
    ok(write(format!("{group}/cgroup.kill"), "1"));
    child.dies_of(SIGKILL);
    gone(&group);
}

case!(limits_of_groups: mkdir, write; root);
fn limits_of_groups() {
    let group = group();
    eq(text(&path(&format!("{group}/cgroup.max.descendants"))), "max\n");
    ok(write(format!("{group}/cgroup.max.descendants"), "1"));
    mkdir(&path(&format!("{group}/a")));
    fails(sys!(mkdir, path(&format!("{group}/b")).as_c_str(), 0o755), EAGAIN);
    ok(write(format!("{group}/cgroup.max.descendants"), "max"));
    ok(write(format!("{group}/cgroup.max.depth"), "1"));
    mkdir(&path(&format!("{group}/b")));
    fails(sys!(mkdir, path(&format!("{group}/b/c")).as_c_str(), 0o755), EAGAIN);
    fails(write(format!("{group}/cgroup.max.depth"), "x"), EINVAL);
    for name in ["a", "b"] {
        gone(&format!("{group}/{name}"));
    }
    gone(&group);
}
