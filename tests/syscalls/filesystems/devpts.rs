//! Instances of devpts.

use std::ffi::CString;

use super::{mount_at, mountinfo, names, own_mounts};
use crate::kit::prelude::*;

/// A master of the instance at `dir`, and the number of its slave.
#[track_caller]
fn pair(dir: &str) -> (i32, u32) {
    let ptmx = CString::new(format!("{dir}/ptmx")).unwrap_or_default();
    let fd = open(&ptmx, O_RDWR | O_NOCTTY);
    let mut number = 0u32;
    ok(sys!(ioctl, fd, TIOCGPTN, &mut number));
    ok(sys!(ioctl, fd, TIOCSPTLCK, &0i32));
    (fd, number)
}

fn slave(dir: &str, number: u32) -> CString {
    CString::new(format!("{dir}/{number}")).unwrap_or_default()
}

case!(instances_are_apart: mount, openat, ioctl; root);
fn instances_are_apart() {
    own_mounts();
    mount_at(c"a", c"devpts", c"newinstance,ptmxmode=0666");
    mount_at(c"b", c"devpts", c"newinstance,ptmxmode=0666");
    check(stat(c"a").st_dev != stat(c"b").st_dev, "another device");
    let (_one, first) = pair("a");
    let (_two, second) = pair("b");
    let (_three, third) = pair("a");
    eq((first, second, third), (0, 0, 1));
    eq(names(c"a"), ["0", "1", "ptmx"]);
    eq(names(c"b"), ["0", "ptmx"]);
}

case!(a_pair_of_an_instance: openat, read, write; root);
fn a_pair_of_an_instance() {
    own_mounts();
    mount_at(c"a", c"devpts", c"ptmxmode=0666,mode=0620,gid=5");
    let (master, number) = pair("a");
    let st = stat(&slave("a", number));
    eq((st.st_mode, st.st_gid, major(st.st_rdev), minor(st.st_rdev)), (S_IFCHR | 0o620, 5, 136, number));
    let fd = open(&slave("a", number), O_RDWR | O_NOCTTY);
    write_all(fd, b"line\n");
    eq(read(master, 100), b"line\r\n");
    write_all(master, b"back\n");
    eq(read(fd, 100), b"back\n");
    close(fd);
    close(master);
    check(!exists(&slave("a", number)), "its name goes with the master");
}

case!(modes_of_an_instance: mount, fstat, statfs; root);
fn modes_of_an_instance() {
    own_mounts();
    mount_at(c"a", c"devpts", c"");
    // Nobody may open it unless that is said.
    eq(lstat(c"a/ptmx").st_mode, S_IFCHR);
    eq((lstat(c"a/ptmx").st_rdev, stat(c"a").st_mode), (0x502, S_IFDIR | 0o755));
    mount_at(c"b", c"devpts", c"ptmxmode=600,mode=600,uid=3,gid=4");
    eq(lstat(c"b/ptmx").st_mode, S_IFCHR | 0o600);
    let (_master, number) = pair("b");
    let st = stat(&slave("b", number));
    eq((st.st_mode & 0o777, st.st_uid, st.st_gid), (0o600, 3, 4));
    let mut fs: statfs = zeroed();
    ok(sys!(statfs, c"b", &mut fs));
    eq(fs.f_type, 0x1cd1);
}

case!(options_of_an_instance: mount; root);
fn options_of_an_instance() {
    own_mounts();
    mkdir(c"a");
    for options in [c"nonsense", c"mode=8", c"gid=x", c"ptmxmode=", c"max=x"] {
        match sys!(mount, c"none", c"a", c"devpts", 0, options) {
            Err(Errno(EINVAL)) => {}
            other => fail(format_args!("{options:?}: {other:?}")),
        }
    }
    ok(sys!(mount, c"none", c"a", c"devpts", 0, c"gid=5,mode=620,ptmxmode=666"));
    let shown = mountinfo("a").3;
    check(shown.starts_with("rw,gid=5,mode=620,ptmxmode=666"), &shown);
}

case!(a_limit_of_pairs: mount, openat; root);
fn a_limit_of_pairs() {
    own_mounts();
    mount_at(c"a", c"devpts", c"ptmxmode=666,max=2");
    let one = pair("a");
    let _two = pair("a");
    fails(sys!(openat, AT_FDCWD, c"a/ptmx", O_RDWR | O_NOCTTY, 0), ENOSPC);
    close(one.0);
    eq(pair("a").1, 0);
}

case!(a_link_to_ptmx_in_dev: mount, symlinkat, openat; root);
fn a_link_to_ptmx_in_dev() {
    own_mounts();
    // As containers lay it out.
    mkdir(c"dev");
    mount_at(c"dev/pts", c"devpts", c"newinstance,ptmxmode=0666,mode=0620");
    ok(sys!(symlinkat, c"pts/ptmx", AT_FDCWD, c"dev/ptmx"));
    let (_master, number) = pair("dev");
    check(exists(&slave("dev/pts", number)), "the slave is beside it");
}

case!(new_modes_by_remount: mount; root);
fn new_modes_by_remount() {
    own_mounts();
    mount_at(c"a", c"devpts", c"ptmxmode=600,mode=600");
    ok(sys!(mount, c"none", c"a", 0, MS_REMOUNT, c"ptmxmode=666,mode=620,gid=7"));
    eq(lstat(c"a/ptmx").st_mode, S_IFCHR | 0o666);
    let (_master, number) = pair("a");
    let st = stat(&slave("a", number));
    eq((st.st_mode & 0o777, st.st_gid), (0o620, 7));
}

case!(a_node_finds_the_instance_beside_it: mount, mknodat, openat; root);
fn a_node_finds_the_instance_beside_it() {
    own_mounts();
    let device = makedev(5, 2);
    for dir in [c"a", c"b"] {
        mkdir(dir);
        ok(sys!(mount, c"none", dir, c"tmpfs", 0, 0));
    }
    let node = |path: &std::ffi::CStr| ok(sys!(mknodat, AT_FDCWD, path, S_IFCHR | 0o666, device));
    node(c"a/ptmx");
    node(c"b/ptmx");
    let try_open = |path: &std::ffi::CStr| sys!(openat, AT_FDCWD, path, O_RDWR | O_NOCTTY, 0);
    fails(try_open(c"a/ptmx"), ENOENT);
    mkdir(c"a/pts");
    // It has to be known by name: a look is enough.
    stat(c"a/pts");
    fails(try_open(c"a/ptmx"), ENODEV);
    ok(sys!(mount, c"none", c"a/pts", c"devpts", 0, c"newinstance,mode=0620,gid=5"));
    mount_at(c"b/pts", c"devpts", c"newinstance,mode=0600");
    let (_one, first) = pair("a");
    let (_two, second) = pair("b");
    let (_three, third) = pair("a");
    eq((first, second, third), (0, 0, 1));
    eq(names(c"a/pts"), ["0", "1", "ptmx"]);
    eq(names(c"b/pts"), ["0", "ptmx"]);
    eq((stat(c"a/pts/0").st_mode & 0o777, stat(c"a/pts/0").st_gid), (0o620, 5));
    // One of its directories is not the root of an instance.
    ok(sys!(umount2, c"b/pts", MNT_DETACH));
    fails(try_open(c"b/ptmx"), ENODEV);
}
