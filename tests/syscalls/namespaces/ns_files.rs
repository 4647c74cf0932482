//! /proc/PID/ns: links, files, bind mounts, and what ioctl(2) tells.

use super::{
    NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_PARENT, NS_GET_USERNS, is_same, link, new_user_namespace, own,
    path,
};
use crate::kit::prelude::*;

const KINDS: [(&str, i32); 7] = [
    ("cgroup", CLONE_NEWCGROUP),
    ("ipc", CLONE_NEWIPC),
    ("mnt", CLONE_NEWNS),
    ("net", CLONE_NEWNET),
    ("pid", CLONE_NEWPID),
    ("user", CLONE_NEWUSER),
    ("uts", CLONE_NEWUTS),
];

case!(links_tell_kind_and_inode: readlink, openat, fstat, ioctl);
fn links_tell_kind_and_inode() {
    let mut seen = Vec::new();
    for (kind, flag) in KINDS {
        let fd = own(kind);
        let st = fstat(fd);
        eq(link("self", kind), format!("{kind}:[{}]", st.st_ino));
        eq_of(kind, st.st_mode & (S_IFMT | 0o777), S_IFREG | 0o444);
        check(
            is_same(fd, &path(&format!("/proc/thread-self/ns/{kind}"))),
            "another inode at the second time",
        );
        eq(ok(sys!(ioctl, fd, NS_GET_NSTYPE)), i64::from(flag));
        fails(sys!(read, fd, &mut [0u8; 8], 8), EINVAL);
        let writing = sys!(openat, AT_FDCWD, path(&format!("/proc/self/ns/{kind}")).as_c_str(), O_RDWR);
        // Older kernels look at the mode.
        fails_any(writing, &[EPERM, EACCES]);
        seen.push(st.st_ino);
        close(fd);
    }
    seen.sort_unstable();
    seen.dedup();
    eq(seen.len(), KINDS.len());
    eq(link("self", "pid_for_children"), link("self", "pid"));
    let mut st: statfs = zeroed();
    ok(sys!(statfs, c"/proc/self/ns/net", &mut st));
    eq(st.f_type, 0x6e73_6673);
}

case!(children_share_what_is_not_made_new: fork, readlink);
fn children_share_what_is_not_made_new() {
    let mine: Vec<String> = KINDS.iter().map(|(kind, _)| link("self", kind)).collect();
    in_child(|| {
        let theirs: Vec<String> = KINDS.iter().map(|(kind, _)| link("self", kind)).collect();
        eq(theirs, mine);
    });
}

case!(relatives_of_namespaces: ioctl, unshare);
fn relatives_of_namespaces() {
    let user = own("user");
    in_child(|| {
        let outer = own("user");
        new_user_namespace();
        let inner = own("user");
        check(fstat(inner).st_ino != fstat(outer).st_ino, "the same user namespace");
        // Its parent is outside of what can be seen from here.
        fails(sys!(ioctl, inner, NS_GET_PARENT), EPERM);
        fails(sys!(ioctl, inner, NS_GET_USERNS), EPERM);
        let mut uid = 0u32;
        ok(sys!(ioctl, inner, NS_GET_OWNER_UID, &mut uid));
        // It has no number here yet.
        eq(uid, 65_534);
        ok(sys!(unshare, CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET));
        for kind in ["uts", "ipc", "net"] {
            let fd = own(kind);
            let owner = ok_i32(sys!(ioctl, fd, NS_GET_USERNS));
            check(is_same(owner, c"/proc/self/ns/user"), "another owner");
            eq(ok(sys!(fcntl, owner, F_GETFD)), i64::from(FD_CLOEXEC));
            fails(sys!(ioctl, fd, NS_GET_PARENT), EINVAL);
            fails(sys!(ioctl, fd, NS_GET_OWNER_UID, &mut uid), EINVAL);
        }
        fails(sys!(ioctl, inner, 0x5401), ENOTTY);
    });
    close(user);
}

case!(a_parent_sees_its_children: ioctl, unshare);
fn a_parent_sees_its_children() {
    let [r, w] = pipe(0);
    let [go, begin] = pipe(0);
    let me = ok(sys!(geteuid)) as u32;
    let child = fork(|| {
        close(begin);
        new_user_namespace();
        write_all(w, b"x");
        let _ = read(go, 1);
    });
    close(w);
    if read(r, 1).is_empty() {
        // It has skipped.
        child.succeeds();
        skip("no user namespaces for this user on this host");
    }
    let theirs = open(&path(&format!("/proc/{}/ns/user", child.pid)), O_RDONLY);
    let parent = ok_i32(sys!(ioctl, theirs, NS_GET_PARENT));
    check(is_same(parent, c"/proc/self/ns/user"), "another parent");
    let mut uid = 0u32;
    ok(sys!(ioctl, theirs, NS_GET_OWNER_UID, &mut uid));
    eq(uid, me);
    close(begin);
    child.succeeds();
}

case!(namespaces_are_mounted_as_files: mount, umount2, setns; root);
fn namespaces_are_mounted_as_files() {
    ok(sys!(unshare, CLONE_NEWNS));
    ok(sys!(mount, c"none", c"/", 0, MS_REC | MS_PRIVATE, 0));
    put(c"place", b"");
    let old = link("self", "uts");
    in_child(|| {
        ok(sys!(unshare, CLONE_NEWUTS));
        ok(sys!(sethostname, c"kept", 4));
        ok(sys!(mount, c"/proc/self/ns/uts", c"place", 0, MS_BIND, 0));
    });
    // It lives on without any process in it.
    let fd = open(c"place", O_RDONLY);
    check(format!("uts:[{}]", fstat(fd).st_ino) != old, "not the new one");
    let at = absolute("place").to_string_lossy().into_owned();
    let all = text(c"/proc/self/mountinfo");
    let line = all.lines().find(|line| line.split(' ').nth(4) == Some(&at)).unwrap_or_default();
    eq(line.split(' ').nth(3), Some(&*format!("uts:[{}]", fstat(fd).st_ino)));
    check(line.contains(" - nsfs nsfs "), line);
    ok(sys!(setns, fd, CLONE_NEWUTS));
    let mut name: utsname = zeroed();
    ok(sys!(uname, &mut name));
    eq(name.nodename[..5].to_vec(), [107, 101, 112, 116, 0].to_vec());
    close(fd);
    ok(sys!(umount2, c"place", 0));
    eq(content(c"place"), b"");
    // A directory is no place for it.
    mkdir(c"d");
    fails(sys!(mount, c"/proc/self/ns/uts", c"d", 0, MS_BIND, 0), ENOTDIR);
}

case!(mount_namespaces_hold_no_older_ones: mount; root);
fn mount_namespaces_hold_no_older_ones() {
    // Newer Linux numbers them by processor: on one processor the newer has the higher number.
    let mut mask = [0u64; 16];
    ok(sys!(sched_getaffinity, 0, 128, &mut mask));
    let first = mask.iter().position(|word| *word != 0).unwrap_or(0);
    let bit = mask[first] & mask[first].wrapping_neg();
    mask = [0; 16];
    mask[first] = bit;
    ok(sys!(sched_setaffinity, 0, 128, &mask));
    ok(sys!(unshare, CLONE_NEWNS));
    let outer = own("mnt");
    ok(sys!(unshare, CLONE_NEWNS));
    ok(sys!(mount, c"none", c"/", 0, MS_REC | MS_PRIVATE, 0));
    put(c"place", b"");
    fails(sys!(mount, c"/proc/self/ns/mnt", c"place", 0, MS_BIND, 0), EINVAL);
    let at = path(&format!("/proc/self/fd/{outer}"));
    fails(sys!(mount, at.as_c_str(), c"place", 0, MS_BIND, 0), EINVAL);
    // A newer one is held, and is left out of copies.
    let [r, w] = pipe(0);
    let child = fork(|| {
        ok(sys!(unshare, CLONE_NEWNS));
        write_all(w, b"x");
        sleep_ms(100_000);
    });
    let _ = read(r, 1);
    let theirs = path(&format!("/proc/{}/ns/mnt", child.pid));
    ok(sys!(mount, theirs.as_c_str(), c"place", 0, MS_BIND, 0));
    child.end();
    let mounted = |file| text(file).contains(&*absolute("place").to_string_lossy());
    check(mounted(c"/proc/self/mountinfo"), "not mounted");
    in_child(|| {
        ok(sys!(unshare, CLONE_NEWNS));
        check(!mounted(c"/proc/self/mountinfo"), "copied");
    });
    ok(sys!(umount2, c"place", 0));
}
