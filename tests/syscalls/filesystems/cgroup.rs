//! Control groups: version 2, without any controller, and hierarchies of version 1.

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

/// The hierarchy of version 1 with the controller `pids` at `p`, and a group of the case's own in it.
#[track_caller]
fn pids_group() -> String {
    own_mounts();
    mkdir(c"p");
    ok(sys!(mount, c"none", c"p", c"cgroup", 0, c"pids"));
    let group = format!("p/case.{}", ok(sys!(getpid)));
    mkdir(&path(&group));
    group
}

case!(hierarchies_of_version_1: mount, statfs, mkdir, rmdir; root);
fn hierarchies_of_version_1() {
    let group = pids_group();
    let mut st: statfs = zeroed();
    ok(sys!(statfs, path(&group).as_c_str(), &mut st));
    eq(st.f_type, 0x0027_e0eb);
    for file in
        ["cgroup.procs", "tasks", "cgroup.clone_children", "notify_on_release", "pids.max", "pids.current"]
    {
        check(exists(&path(&format!("{group}/{file}"))), file);
    }
    eq(text(c"p/cgroup.sane_behavior"), "0\n");
    check(text(c"/proc/self/mountinfo").contains(" - cgroup none rw,pids\n"), "its controllers are shown");
    check(text(c"/proc/self/cgroup").contains(":pids:/"), "it is listed");
    check(text(c"/proc/cgroups").lines().any(|line| line.starts_with("pids\t")), "the controller is known");
    fails(sys!(rmdir, c"p"), EBUSY);
    eq(text(&path(&format!("{group}/cgroup.clone_children"))), "0\n");
    ok(write(format!("{group}/cgroup.clone_children"), "1"));
    mkdir(&path(&format!("{group}/below")));
    eq(text(&path(&format!("{group}/below/cgroup.clone_children"))), "1\n");
    gone(&format!("{group}/below"));
    gone(&group);
}

case!(options_of_version_1: mount; root);
fn options_of_version_1() {
    let group = pids_group();
    mkdir(c"q");
    let wrong = [
        (c"nothing", EINVAL),
        (c"none", EINVAL),
        (c"none,pids", EINVAL),
        (c"all,pids", EINVAL),
        (c"name=", EINVAL),
        (c"name=a/b", EINVAL),
        (c"name=x,name=y", EINVAL),
        (c"name=case-nobody-made", EINVAL),
        (c"pids,memory", EBUSY),
        (c"pids,name=case", EBUSY),
    ];
    for (options, errno) in wrong {
        fails(sys!(mount, c"none", c"q", c"cgroup", 0, options), errno);
    }
    // The same again is the same hierarchy.
    for options in [c"pids", c"pids,pids", c"pids,xattr"] {
        ok(sys!(mount, c"none", c"q", c"cgroup", 0, options));
        check(exists(&path(&group.replacen('p', "q", 1))), "the same groups");
        ok(sys!(umount2, c"q", 0));
    }
    gone(&group);
}

case!(hierarchies_with_a_name: mount, umount2; root);
fn hierarchies_with_a_name() {
    own_mounts();
    mkdir(c"n");
    let name = format!("case.{}", ok(sys!(getpid)));
    let options = path(&format!("none,name={name}"));
    ok(sys!(mount, c"none", c"n", c"cgroup", 0, options.as_c_str()));
    let line = format!(":name={name}:/\n");
    check(text(c"/proc/self/cgroup").contains(&line), "it is listed");
    check(text(c"/proc/self/mountinfo").contains(&format!(" - cgroup none rw,name={name}\n")), "and shown");
    mkdir(c"n/a");
    let child = fork(|| {
        ok(write("n/a/tasks".to_owned(), "0"));
        check(text(c"/proc/self/cgroup").contains(&format!(":name={name}:/a\n")), "it has moved");
        check(text(c"/proc/self/cgroup").contains("0::/"), "in that hierarchy alone");
        ok(write("n/cgroup.procs".to_owned(), "0"));
        check(text(c"/proc/self/cgroup").contains(&line), "and back");
    });
    child.succeeds();
    gone("n/a");
    // It goes with its last mount, unless that finds the group not quite gone.
    ok(sys!(umount2, c"n", 0));
    eventually("nobody uses it any more", || {
        ok(sys!(mount, c"none", c"n", c"cgroup", 0, options.as_c_str()));
        ok(sys!(umount2, c"n", 0));
        sleep_ms(50);
        !text(c"/proc/self/cgroup").contains(&line)
    });
}

case!(threads_are_limited: fork, clone, write; root);
fn threads_are_limited() {
    let group = pids_group();
    let max = format!("{group}/pids.max");
    eq(text(&path(&max)), "max\n");
    for wrong in ["abc", "-1", "4194305"] {
        fails(write(max.clone(), wrong), EINVAL);
    }
    ok(write(max.clone(), "2"));
    eq(text(&path(&max)), "2\n");
    mkdir(&path(&format!("{group}/below")));
    let child = fork(|| {
        ok(write(format!("{group}/below/cgroup.procs"), "0"));
        eq(text(&path(&format!("{group}/pids.current"))), "1\n");
        let [r, w] = pipe(0);
        let one = fork(|| {
            close(w);
            read_to_end(r);
        });
        // It is counted in both groups; the limit is the upper one's.
        eq(text(&path(&format!("{group}/below/pids.current"))), "2\n");
        fails(sys!(fork), EAGAIN);
        fails(sys!(clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, 0, 0, 0), EAGAIN);
        close(r);
        close(w);
        one.succeeds();
        fork(|| {}).succeeds();
    });
    child.succeeds();
    // A process moves in even so.
    ok(write(max, "0"));
    let [r, w] = pipe(0);
    let mover = fork(|| {
        close(w);
        ok(write(format!("{group}/cgroup.procs"), "0"));
        fails(sys!(fork), EAGAIN);
        read_to_end(r);
    });
    close(r);
    eventually("it is in the group", || text(&path(&format!("{group}/tasks"))) == format!("{}\n", mover.pid));
    fails(sys!(rmdir, path(&group).as_c_str()), EBUSY);
    close(w);
    mover.succeeds();
    gone(&format!("{group}/below"));
    gone(&group);
}
