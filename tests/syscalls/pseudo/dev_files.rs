//! null, zero, full, random, urandom, tty and the links beside them.

use crate::kit::prelude::*;

fn device(name: &std::ffi::CStr) -> (u32, u32, u32) {
    let st = stat(name);
    (st.st_mode & S_IFMT, major(st.st_rdev), minor(st.st_rdev))
}

case!(numbers_of_devices: newfstatat);
fn numbers_of_devices() {
    for (name, number) in
        [(c"/dev/null", 3), (c"/dev/zero", 5), (c"/dev/full", 7), (c"/dev/random", 8), (c"/dev/urandom", 9)]
    {
        eq_of(name.to_string_lossy(), device(name), (S_IFCHR, 1, number));
        eq_of(name.to_string_lossy(), stat(name).st_mode & 0o777, 0o666);
    }
    eq(device(c"/dev/tty"), (S_IFCHR, 5, 0));
    eq(device(c"/dev/ptmx").0, S_IFCHR);
}

case!(null: read, write, openat);
fn null() {
    let fd = open(c"/dev/null", O_RDWR | O_CREAT | O_TRUNC);
    eq(read(fd, 100), b"");
    eq(ok(sys!(write, fd, c"abc", 3)), 3);
    eq(ok(sys!(write, fd, 8, 1 << 20)), 1 << 20);
    eq(ok(sys!(lseek, fd, 100, SEEK_SET)), 0);
    eq(ok(sys!(pwrite64, fd, c"x", 1, 1000)), 1);
    fails(sys!(ftruncate, fd, 0), EINVAL);
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), ENODEV);
    fails(sys!(ioctl, fd, FIONREAD, &mut 0i32), ENOTTY);
}

case!(zero: read, write, mmap);
fn zero() {
    let fd = open(c"/dev/zero", O_RDWR);
    let mut buf = [7u8; 10_000];
    eq(ok(sys!(read, fd, &mut buf, 10_000)), 10_000);
    check(buf.iter().all(|b| *b == 0), "zeros");
    eq(ok(sys!(write, fd, 8, 100)), 100);
    fails(sys!(read, fd, 8, 100), EFAULT);
    let private = map_file(fd, 0, PAGE, RW, MAP_PRIVATE);
    poke(private, 1);
    let shared = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    in_child(|| poke(shared, 2));
    eq((peek(shared), peek(map_file(fd, 0, PAGE, RW, MAP_SHARED))), (2, 0));
}

case!(full: read, write);
fn full() {
    let fd = open(c"/dev/full", O_RDWR);
    eq(read(fd, 4), [0; 4]);
    fails(sys!(write, fd, c"x", 1), ENOSPC);
    fails(sys!(write, fd, c"", 0), ENOSPC);
}

case!(random_devices: read, write);
fn random_devices() {
    for name in [c"/dev/random", c"/dev/urandom"] {
        let fd = open(name, O_RDWR);
        let (a, b) = (read(fd, 64), read(fd, 64));
        eq((a.len(), b.len()), (64, 64));
        check(a != b, "different each time");
        eq(ok(sys!(write, fd, c"seed", 4)), 4);
        eq(read(fd, 100_000).len(), 100_000);
        fails(sys!(read, fd, 8, 4), EFAULT);
    }
}

case!(polling_devices: poll);
fn polling_devices() {
    for name in [c"/dev/null", c"/dev/zero", c"/dev/urandom"] {
        let mut p = pollfd { fd: open(name, O_RDWR), events: POLLIN | POLLOUT, revents: 0 };
        eq(ok(sys!(poll, &mut p, 1, 0)), 1);
        eq_of(name.to_string_lossy(), p.revents, POLLIN | POLLOUT);
    }
}

case!(links_to_descriptors: readlinkat, openat);
fn links_to_descriptors() {
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        let link = std::fs::read_link(format!("/dev/{name}")).unwrap_or_default();
        eq_of(name, link.display().to_string(), target);
    }
    let [r, w] = pipe(0);
    write_all(w, b"through");
    in_child(|| {
        ok(sys!(dup3, r, 0, 0));
        eq(read(open(c"/dev/stdin", O_RDONLY), 10), b"through");
    });
    let fd = create(c"f", b"content");
    let name = std::ffi::CString::new(format!("/dev/fd/{fd}")).unwrap_or_default();
    eq(content(&name), b"content");
}

case!(shared_memory_directory: openat, statfs);
fn shared_memory_directory() {
    let mut st: statfs = zeroed();
    ok(sys!(statfs, c"/dev/shm", &mut st));
    eq(st.f_type, TMPFS_MAGIC);
    eq(stat(c"/dev/shm").st_mode & 0o7777, 0o1777);
    let name = std::ffi::CString::new(format!("/dev/shm/case.{}", ok(sys!(getpid)))).unwrap_or_default();
    let fd = create(&name, b"");
    ok(sys!(ftruncate, fd, PAGE));
    let at = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    in_child(|| {
        let other = map_file(open(&name, O_RDWR), 0, PAGE, RW, MAP_SHARED);
        poke(other, 5);
    });
    eq(peek(at), 5);
    ok(sys!(unlinkat, AT_FDCWD, name.as_c_str(), 0));
}
