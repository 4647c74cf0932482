//! What a program does with files, and what the server is asked for.

use std::ffi::CStr;
use std::sync::atomic::Ordering::SeqCst;

use super::fuse_server::{
    ACCESS, CREATE, DIRECT_IO, DO_READDIRPLUS, DONT_MASK, FALLOCATE, FLUSH, FSYNC, FSYNCDIR, Fuse, GETATTR,
    KEEP_CACHE, LINK, LOOKUP, LSEEK, MKNOD, OPEN, OPENDIR, READ, READDIR, READDIRPLUS, RELEASE, RELEASEDIR,
    RENAME2, SETATTR, UNLINK, WRITE, serve,
};
use crate::filesystems::names;
use crate::kit::prelude::*;

fn plain() -> Fuse {
    serve("", |_, _| {})
}

case!(files_are_read: mount, openat, read, pread64, lseek, newfstatat; root);
fn files_are_read() {
    let fuse = plain();
    eq(content(c"m/f"), b"contents");
    let st = stat(c"m/f");
    eq(st.st_mode, S_IFREG | 0o644);
    eq((st.st_size, st.st_nlink, st.st_ino, st.st_mtime), (8, 1, 2, 1000));
    let fd = open(c"m/f", O_RDONLY);
    let mut buf = [0u8; 4];
    eq(ok(sys!(pread64, fd, &mut buf, 4, 2)), 4);
    eq(&buf, b"nten");
    eq(ok(sys!(pread64, fd, &mut buf, 4, 8)), 0);
    eq(ok(sys!(lseek, fd, -2, SEEK_END)), 6);
    eq(read(fd, 10), b"ts");
    close(fd);
    fails(sys!(openat, AT_FDCWD, c"m/none", O_RDONLY, 0), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"m/f/x", O_RDONLY, 0), ENOTDIR);
    fails(sys!(openat, AT_FDCWD, c"m/d", O_WRONLY, 0), EISDIR);
    fuse.unmount();
}

case!(files_are_written: write, pwrite64, ftruncate, openat; root);
fn files_are_written() {
    let fuse = plain();
    let fd = open(c"m/f", O_RDWR);
    eq(ok(sys!(pwrite64, fd, c"XY", 2, 6)), 2);
    eq(content(c"m/f"), b"contenXY");
    eq(ok(sys!(pwrite64, fd, c"Z", 1, 10)), 1);
    eq(content(c"m/f"), b"contenXY\0\0Z");
    eq(fstat(fd).st_size, 11);
    ok(sys!(ftruncate, fd, 3));
    eq(content(c"m/f"), b"con");
    close(fd);
    let fd = open(c"m/f", O_WRONLY | O_APPEND);
    write_all(fd, b"cat");
    eq(fstat(fd).st_size, 6);
    close(fd);
    eq(content(c"m/f"), b"concat");
    let fd = open(c"m/f", O_WRONLY | O_TRUNC);
    eq(fstat(fd).st_size, 0);
    close(fd);
    ok(sys!(truncate, c"m/f", 5));
    eq(content(c"m/f"), [0; 5]);
    fuse.unmount();
}

case!(large_writes_come_in_pieces: write, read; root);
fn large_writes_come_in_pieces() {
    let fuse = plain();
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let fd = ok_i32(sys!(openat, AT_FDCWD, c"m/big", O_CREAT | O_RDWR, 0o600));
    write_all(fd, &bytes);
    check(fuse.control.count(WRITE) >= 5, "the server takes 64 KiB at a time");
    check(fuse.control.written.load(SeqCst) <= 65536, "at most");
    close(fd);
    check(content(c"m/big") == bytes, "what was written is read");
    fuse.unmount();
}

case!(create_opens_in_one_go: openat, umask; root);
fn create_opens_in_one_go() {
    let fuse = plain();
    ok(sys!(umask, 0o027));
    let fd = ok_i32(sys!(openat, AT_FDCWD, c"m/new", O_CREAT | O_EXCL | O_RDWR, 0o666));
    eq((fuse.control.count(CREATE), fuse.control.count(OPEN), fuse.control.count(MKNOD)), (1, 0, 0));
    eq(fstat(fd).st_mode, S_IFREG | 0o640);
    write_all(fd, b"x");
    close(fd);
    eq(content(c"m/new"), b"x");
    fails(sys!(openat, AT_FDCWD, c"m/new", O_CREAT | O_EXCL | O_RDWR, 0o666), EEXIST);
    fuse.unmount();
}

case!(servers_may_apply_the_umask: openat, mkdirat, mknodat, umask; root);
fn servers_may_apply_the_umask() {
    for (flags, file, dir) in [(0, 0o640, 0o750), (DONT_MASK, 0o666, 0o777)] {
        let fuse = serve("", |control, _| control.init_flags.store(flags, SeqCst));
        let umask = || fuse.control.umask.swap(0, SeqCst);
        ok(sys!(umask, 0o027));
        close(ok_i32(sys!(openat, AT_FDCWD, c"m/new", O_CREAT | O_EXCL | O_RDWR, 0o666)));
        eq((stat(c"m/new").st_mode, umask()), (S_IFREG | file, 0o027));
        ok(sys!(mkdirat, AT_FDCWD, c"m/dir", 0o777));
        eq((stat(c"m/dir").st_mode, umask()), (S_IFDIR | dir, 0o027));
        ok(sys!(mknodat, AT_FDCWD, c"m/fifo", S_IFIFO | 0o666, 0));
        eq((lstat(c"m/fifo").st_mode, umask()), (S_IFIFO | file, 0o027));
        ok(sys!(symlinkat, c"new", AT_FDCWD, c"m/link"));
        fuse.unmount();
        ok(sys!(umask, 0));
        ok(sys!(rmdir, c"m"));
    }
}

case!(servers_without_create_get_mknod: openat; root);
fn servers_without_create_get_mknod() {
    let fuse = serve("", |control, _| {
        control.failing.store(CREATE, SeqCst);
        control.errno.store(ENOSYS as u32, SeqCst);
    });
    for name in [c"m/n1", c"m/n2"] {
        let fd = ok_i32(sys!(openat, AT_FDCWD, name, O_CREAT | O_WRONLY, 0o644));
        write_all(fd, b"y");
        close(fd);
    }
    eq((fuse.control.count(CREATE), fuse.control.count(MKNOD), fuse.control.count(OPEN)), (1, 2, 2));
    eq(content(c"m/n2"), b"y");
    fuse.unmount();
}

case!(nodes_are_made: mknodat, mkdirat, symlinkat, readlinkat; root);
fn nodes_are_made() {
    let fuse = plain();
    ok(sys!(mkdirat, AT_FDCWD, c"m/dir", 0o750));
    eq(stat(c"m/dir").st_mode, S_IFDIR | 0o750);
    ok(sys!(symlinkat, c"../elsewhere", AT_FDCWD, c"m/dir/link"));
    let mut buf = [0u8; 64];
    eq(ok(sys!(readlinkat, AT_FDCWD, c"m/dir/link", &mut buf, 64)), 12);
    eq(&buf[..12], b"../elsewhere");
    ok(sys!(mknodat, AT_FDCWD, c"m/fifo", S_IFIFO | 0o600, 0));
    eq(lstat(c"m/fifo").st_mode, S_IFIFO | 0o600);
    ok(sys!(mknodat, AT_FDCWD, c"m/null", S_IFCHR | 0o600, makedev(1, 3)));
    eq(lstat(c"m/null").st_rdev, makedev(1, 3));
    eq(content(c"m/null"), b"");
    fails(sys!(mkdirat, AT_FDCWD, c"m/dir", 0o750), EEXIST);
    eq(content(c"m/l"), b"contents");
    fuse.unmount();
}

case!(names_go: unlinkat, openat, newfstatat; root);
fn names_go() {
    let fuse = plain();
    let fd = open(c"m/f", O_RDONLY);
    ok(sys!(unlinkat, AT_FDCWD, c"m/f", 0));
    eq(fuse.control.count(UNLINK), 1);
    check(!exists(c"m/f"), "the name");
    eq(read(fd, 8), b"contents");
    eq(fstat(fd).st_nlink, 0);
    close(fd);
    fails(sys!(unlinkat, AT_FDCWD, c"m/d", 0), EISDIR);
    fails(sys!(unlinkat, AT_FDCWD, c"m/d", AT_REMOVEDIR), ENOTEMPTY);
    ok(sys!(unlinkat, AT_FDCWD, c"m/d/a", 0));
    ok(sys!(unlinkat, AT_FDCWD, c"m/d/b", 0));
    ok(sys!(unlinkat, AT_FDCWD, c"m/d", AT_REMOVEDIR));
    eq(names(c"m"), ["l"]);
    fuse.unmount();
}

case!(names_move: renameat, renameat2; root);
fn names_move() {
    let fuse = plain();
    ok(sys!(renameat, AT_FDCWD, c"m/f", AT_FDCWD, c"m/d/g"));
    check(!exists(c"m/f"), "the old name");
    eq(content(c"m/d/g"), b"contents");
    ok(sys!(renameat, AT_FDCWD, c"m/d/g", AT_FDCWD, c"m/d/a"));
    eq(content(c"m/d/a"), b"contents");
    eq(names(c"m/d"), ["a", "b"]);
    ok(sys!(renameat2, AT_FDCWD, c"m/d/a", AT_FDCWD, c"m/d/b", 2));
    eq((fuse.control.count(RENAME2), fuse.control.rename_flags.load(SeqCst)), (1, 2));
    eq((content(c"m/d/a"), content(c"m/d/b")), (b"bb".to_vec(), b"contents".to_vec()));
    fails(sys!(renameat2, AT_FDCWD, c"m/d/a", AT_FDCWD, c"m/d/b", 1), EEXIST);
    ok(sys!(mkdirat, AT_FDCWD, c"m/e", 0o755));
    ok(sys!(renameat, AT_FDCWD, c"m/d", AT_FDCWD, c"m/e/d"));
    eq(content(c"m/e/d/b"), b"contents");
    fails(sys!(renameat, AT_FDCWD, c"m/e", AT_FDCWD, c"m/e/d/e"), EINVAL);
    fuse.unmount();
}

case!(files_get_more_names: linkat; root);
fn files_get_more_names() {
    let fuse = plain();
    ok(sys!(linkat, AT_FDCWD, c"m/f", AT_FDCWD, c"m/d/hard", 0));
    eq(fuse.control.count(LINK), 1);
    eq((stat(c"m/f").st_nlink, stat(c"m/d/hard").st_ino), (2, stat(c"m/f").st_ino));
    fails(sys!(linkat, AT_FDCWD, c"m/f", AT_FDCWD, c"m/d/hard", 0), EEXIST);
    fuse.unmount();
}

case!(names_may_have_nodes_of_their_own: linkat, openat; root);
fn names_may_have_nodes_of_their_own() {
    for valid in [0, 100] {
        let fuse = serve("", |control, _| {
            control.by_path.store(1, SeqCst);
            control.entry_valid.store(valid, SeqCst);
        });
        put(c"m/one", b"text");
        ok(sys!(linkat, AT_FDCWD, c"m/one", AT_FDCWD, c"m/two", 0));
        eq((content(c"m/two"), content(c"m/one")), (b"text".to_vec(), b"text".to_vec()));
        check(stat(c"m/two").st_ino != stat(c"m/one").st_ino, "each its node");
        fuse.unmount();
        ok(sys!(rmdir, c"m"));
    }
}

case!(attributes_change: fchmodat, fchownat, utimensat; root);
fn attributes_change() {
    let fuse = plain();
    ok(sys!(fchmodat, AT_FDCWD, c"m/f", 0o4711));
    eq(stat(c"m/f").st_mode, S_IFREG | 0o4711);
    ok(sys!(fchownat, AT_FDCWD, c"m/f", 12, 13, 0));
    let st = stat(c"m/f");
    eq((st.st_uid, st.st_gid), (12, 13));
    let times = [timespec { tv_sec: 7, tv_nsec: 8 }, timespec { tv_sec: 9, tv_nsec: 10 }];
    ok(sys!(utimensat, AT_FDCWD, c"m/f", &times, 0));
    let st = stat(c"m/f");
    eq((st.st_atime, st.st_atime_nsec, st.st_mtime, st.st_mtime_nsec), (7, 8, 9, 10));
    check(fuse.control.count(SETATTR) >= 3, "the server did it");
    fuse.unmount();
}

case!(directories_are_listed: getdents64, lseek; root);
fn directories_are_listed() {
    let fuse = serve("", |_, tree| {
        for n in 0..50 {
            tree.file(3, &format!("file{n:02}"), b"");
        }
    });
    let mut want: Vec<String> = (0..50).map(|n| format!("file{n:02}")).collect();
    want.splice(0..0, ["a".to_owned(), "b".to_owned()]);
    eq(names(c"m/d"), want);
    eq(names(c"m"), ["d", "f", "l"]);
    check(fuse.control.count(READDIR) > 17, "three at a time");
    eq((fuse.control.count(OPENDIR), fuse.control.count(READDIRPLUS)), (2, 0));
    eventually("they are closed", || fuse.control.count(RELEASEDIR) == 2);
    // What has been read can be read again.
    let fd = open(c"m/d", O_RDONLY | O_DIRECTORY);
    let mut buf = [0u8; 4096];
    let first = ok(sys!(getdents64, fd, &mut buf, buf.len()));
    ok(sys!(lseek, fd, 0, SEEK_SET));
    eq(ok(sys!(getdents64, fd, &mut buf, buf.len())), first);
    ok(sys!(fsync, fd));
    eq(fuse.control.count(FSYNCDIR), 1);
    close(fd);
    fuse.unmount();
}

case!(listings_can_bring_attributes: getdents64, newfstatat; root);
fn listings_can_bring_attributes() {
    let fuse = serve("", |control, _| {
        control.init_flags.store(DO_READDIRPLUS, SeqCst);
        control.entry_valid.store(1000, SeqCst);
        control.attr_valid.store(1000, SeqCst);
    });
    let fd = open(c"m/d", O_RDONLY | O_DIRECTORY);
    let looked_up = fuse.control.count(LOOKUP);
    let mut buf = [0u8; 4096];
    while ok(sys!(getdents64, fd, &mut buf, buf.len())) > 0 {}
    check(fuse.control.count(READDIRPLUS) > 0, "with attributes");
    eq((stat(c"m/d/a").st_size, stat(c"m/d/b").st_size), (1, 2));
    eq(fuse.control.count(LOOKUP), looked_up);
    close(fd);
    fuse.unmount();
}

case!(answers_hold_for_a_time: newfstatat; root);
fn answers_hold_for_a_time() {
    let fuse = serve("", |control, _| {
        control.entry_valid.store(1000, SeqCst);
        control.attr_valid.store(1000, SeqCst);
    });
    for _ in 0..5 {
        stat(c"m/d/a");
    }
    // `d` and `a`; their attributes came along.
    eq(fuse.control.count(LOOKUP), 2);
    let asked = fuse.control.count(GETATTR);
    stat(c"m/d/a");
    eq(fuse.control.count(GETATTR), asked);
    fuse.unmount();
}

case!(answers_without_a_time_are_asked_again: newfstatat; root);
fn answers_without_a_time_are_asked_again() {
    let fuse = plain();
    stat(c"m/f");
    let (looked_up, asked) = (fuse.control.count(LOOKUP), fuse.control.count(GETATTR));
    for _ in 0..3 {
        stat(c"m/f");
    }
    check(fuse.control.count(LOOKUP) >= looked_up + 3, "names");
    let fd = open(c"m/f", O_RDONLY);
    for _ in 0..3 {
        fstat(fd);
    }
    check(fuse.control.count(GETATTR) >= asked + 3, "attributes");
    close(fd);
    fuse.unmount();
}

case!(nodes_are_forgotten: umount2, newfstatat, unlinkat; root);
fn nodes_are_forgotten() {
    let fuse = plain();
    ok(sys!(mkdirat, AT_FDCWD, c"m/x", 0o755));
    for name in [c"m/x/1", c"m/x/2", c"m/x/3"] {
        put(name, b"");
        ok(sys!(unlinkat, AT_FDCWD, name, 0));
    }
    ok(sys!(unlinkat, AT_FDCWD, c"m/x", AT_REMOVEDIR));
    // A request that the server answers after them.
    eventually("all references are given back", || {
        stat(c"m");
        fuse.control.held.load(SeqCst) == 0
    });
    fuse.unmount();
}

case!(close_flushes_and_releases: close, dup, fsync, fdatasync; root);
fn close_flushes_and_releases() {
    let fuse = plain();
    let fd = open(c"m/f", O_RDWR);
    eq(fuse.control.opened.load(SeqCst) & (O_ACCMODE | O_CREAT) as u32, O_RDWR as u32);
    let other = ok_i32(sys!(dup, fd));
    ok(sys!(fsync, fd));
    eq((fuse.control.count(FSYNC), fuse.control.opened.load(SeqCst)), (1, 0));
    ok(sys!(fdatasync, fd));
    eq((fuse.control.count(FSYNC), fuse.control.opened.load(SeqCst)), (2, 1));
    close(fd);
    eq((fuse.control.count(FLUSH), fuse.control.count(RELEASE)), (1, 0));
    close(other);
    eq(fuse.control.count(FLUSH), 2);
    eventually("it is released", || fuse.control.count(RELEASE) == 1);
    fuse.unmount();
}

case!(flush_can_fail_a_close: close; root);
fn flush_can_fail_a_close() {
    let fuse = serve("", |control, _| {
        control.failing.store(FLUSH, SeqCst);
        control.errno.store(EDQUOT as u32, SeqCst);
    });
    let fd = open(c"m/f", O_RDWR);
    fails(sys!(close, fd), EDQUOT);
    fails(sys!(close, fd), EBADF);
    fuse.unmount();
}

case!(unknown_requests_are_not_made_again: close, fsync, access, fallocate, lgetxattr; root);
fn unknown_requests_are_not_made_again() {
    let fuse = serve("", |control, _| {
        control.errno.store(ENOSYS as u32, SeqCst);
    });
    let failing = &fuse.control.failing;
    let fd = open(c"m/f", O_RDWR);
    failing.store(FSYNC, SeqCst);
    ok(sys!(fsync, fd));
    ok(sys!(fsync, fd));
    eq(fuse.control.count(FSYNC), 1);
    failing.store(FALLOCATE, SeqCst);
    fails(sys!(fallocate, fd, 0, 0, 10), EOPNOTSUPP);
    fails(sys!(fallocate, fd, 0, 0, 10), EOPNOTSUPP);
    eq(fuse.control.count(FALLOCATE), 1);
    failing.store(ACCESS, SeqCst);
    ok(sys!(access, c"m/f", R_OK));
    ok(sys!(access, c"m/f", R_OK));
    eq(fuse.control.count(ACCESS), 1);
    failing.store(FLUSH, SeqCst);
    close(fd);
    close(open(c"m/f", O_RDONLY));
    eq(fuse.control.count(FLUSH), 1);
    failing.store(super::fuse_server::GETXATTR, SeqCst);
    let mut buf = [0u8; 16];
    fails(sys!(lgetxattr, c"m/f", c"user.a", &mut buf, 16), EOPNOTSUPP);
    fuse.unmount();
}

case!(errors_of_the_server_are_the_callers: openat, newfstatat, read; root);
fn errors_of_the_server_are_the_callers() {
    let fuse = serve("", |control, _| {
        control.errno.store(EREMOTEIO as u32, SeqCst);
    });
    let failing = &fuse.control.failing;
    for (opcode, call) in [(OPEN, c"m/f"), (LOOKUP, c"m/q"), (OPENDIR, c"m/d")] {
        failing.store(opcode, SeqCst);
        fails(sys!(openat, AT_FDCWD, call, O_RDONLY, 0), EREMOTEIO);
    }
    failing.store(super::fuse_server::STATFS, SeqCst);
    let mut st: statfs = zeroed();
    fails(sys!(statfs, c"m", &mut st), EREMOTEIO);
    failing.store(0, SeqCst);
    fuse.unmount();
}

case!(extended_attributes: lsetxattr, lgetxattr, llistxattr, lremovexattr; root);
fn extended_attributes() {
    let fuse = plain();
    let set = |name: &CStr, value: &[u8], flags: i32| {
        sys!(lsetxattr, c"m/f", name, value.as_ptr(), value.len(), flags)
    };
    ok(set(c"user.one", b"1", 0));
    ok(set(c"trusted.two", b"22", 0));
    fails(set(c"user.one", b"x", 1), EEXIST);
    fails(set(c"user.none", b"x", 2), ENODATA);
    eq(crate::filesystems::xattr(c"m/f", c"user.one"), Some(b"1".to_vec()));
    eq(crate::filesystems::xattrs(c"m/f"), ["trusted.two", "user.one"]);
    let mut buf = [0u8; 16];
    eq(ok(sys!(lgetxattr, c"m/f", c"trusted.two", 0, 0)), 2);
    fails(sys!(lgetxattr, c"m/f", c"trusted.two", &mut buf, 1), ERANGE);
    ok(sys!(lremovexattr, c"m/f", c"user.one"));
    fails(sys!(lgetxattr, c"m/f", c"user.one", &mut buf, 16), ENODATA);
    fails(sys!(lremovexattr, c"m/f", c"user.one"), ENODATA);
    fuse.unmount();
}

case!(statfs_is_the_servers: statfs; root);
fn statfs_is_the_servers() {
    let fuse = plain();
    let mut st: statfs = zeroed();
    ok(sys!(statfs, c"m", &mut st));
    eq((st.f_type, st.f_bsize, st.f_frsize, st.f_namelen), (0x6573_5546, 4096, 1024, 200));
    eq((st.f_blocks, st.f_bfree, st.f_bavail, st.f_files, st.f_ffree), (1000, 500, 400, 30, 20));
    fuse.unmount();
}

case!(holes_are_the_servers: lseek, fallocate; root);
fn holes_are_the_servers() {
    let fuse = plain();
    let fd = open(c"m/f", O_RDWR);
    eq(ok(sys!(lseek, fd, 4, 3)), 6);
    eq(ok(sys!(lseek, fd, 0, 4)), 4);
    fails(sys!(lseek, fd, 8, 3), ENXIO);
    eq(fuse.control.count(LSEEK), 3);
    ok(sys!(fallocate, fd, 0, 0, 20));
    eq(fstat(fd).st_size, 20);
    ok(sys!(fallocate, fd, 1, 0, 40));
    eq(fstat(fd).st_size, 20);
    eq(fuse.control.count(FALLOCATE), 2);
    close(fd);
    fuse.unmount();
}

case!(files_are_mapped: mmap, pwrite64, ftruncate; root);
fn files_are_mapped() {
    let page = PAGE;
    let mut bytes = vec![b'1'; page];
    bytes.extend(vec![b'2'; 10]);
    let fuse = serve("", |_, tree| {
        tree.file(1, "map", &bytes);
    });
    let fd = open(c"m/map", O_RDWR);
    let private = map_file(fd, 0, 2 * page, RW, MAP_PRIVATE);
    let common = map_file(fd, 0, 2 * page, PROT_READ, MAP_SHARED);
    eq((peek(private), peek(private + page), peek(private + page + 10)), (b'1', b'2', 0));
    poke(private, b'p');
    eq((peek(private), peek(common)), (b'p', b'1'));
    eq(ok(sys!(pwrite64, fd, c"W", 1, page + 1)), 1);
    // Whether a private mapping follows is not said anywhere.
    eq(peek(common + page + 1), b'W');
    ok(sys!(ftruncate, fd, page));
    faults(|| touch(common + page), SIGBUS, 2, common + page);
    close(fd);
    eq(peek(common), b'1');
    unmap(common, 2 * page);
    unmap(private, 2 * page);
    eventually("it is released", || fuse.control.count(RELEASE) == 1);
    fuse.unmount();
}

/// How many READs reading all of `m/f` takes, each time anew.
fn reads_of_openings(fuse: &Fuse, times: usize) -> Vec<u32> {
    let step = || {
        let before = fuse.control.count(READ);
        eq(content(c"m/f"), b"contents");
        fuse.control.count(READ) - before
    };
    (0..times).map(|_| step()).collect()
}

case!(contents_are_kept: read, openat, pread64; root);
fn contents_are_kept() {
    for (flags, openings) in [(KEEP_CACHE, [1, 0, 0]), (0, [1, 1, 1])] {
        let fuse = serve("", |control, _| {
            control.attr_valid.store(1000, SeqCst);
            control.open_flags.store(flags, SeqCst);
        });
        eq(reads_of_openings(&fuse, 3), openings);
        let fd = open(c"m/f", O_RDWR);
        let mut buf = [0u8; 8];
        eq(ok(sys!(pread64, fd, &mut buf, 8, 0)), 8);
        let before = fuse.control.count(READ);
        eq(ok(sys!(pread64, fd, &mut buf, 8, 0)), 8);
        eq(ok(sys!(pread64, fd, &mut buf, 3, 5)), 3);
        eq(ok(sys!(pread64, fd, &mut buf, 3, 8)), 0);
        eq(fuse.control.count(READ), before);
        // What is written is seen, by readers and mappings.
        let common = map_file(fd, 0, PAGE, PROT_READ, MAP_SHARED);
        eq(ok(sys!(pwrite64, fd, c"XY", 2, 6)), 2);
        eq(ok(sys!(pread64, fd, &mut buf, 8, 0)), 8);
        eq((&buf, peek(common + 7)), (b"contenXY", b'Y'));
        unmap(common, PAGE);
        close(fd);
        fuse.unmount();
        ok(sys!(rmdir, c"m"));
    }
}

case!(servers_tell_of_changes: read, mmap, statfs; root);
fn servers_tell_of_changes() {
    let fuse = serve("", |control, _| {
        control.attr_valid.store(1000, SeqCst);
        control.open_flags.store(KEEP_CACHE, SeqCst);
    });
    let fd = open(c"m/f", O_RDWR);
    let common = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    eq((content(c"m/f").as_slice(), peek(common)), (&b"contents"[..], b'c'));
    let reads = fuse.control.count(READ);
    eq(content(c"m/f"), b"contents");
    eq(fuse.control.count(READ), reads);
    fuse.control.changes.store(2, SeqCst);
    let mut st: statfs = zeroed();
    ok(sys!(statfs, c"m", &mut st));
    eq((content(c"m/f").as_slice(), peek(common)), (&b"!ontents"[..], b'!'));
    check(fuse.control.count(READ) > reads, "it is asked for again");
    poke(common + 1, b'O');
    ok(sys!(msync, common, PAGE, MS_SYNC));
    unmap(common, PAGE);
    close(fd);
    eq(content(c"m/f"), b"!Ontents");
    fuse.unmount();
}

case!(direct_reads_are_all_asked_for: read, pread64; root);
fn direct_reads_are_all_asked_for() {
    let fuse = serve("", |control, _| control.open_flags.store(DIRECT_IO | KEEP_CACHE, SeqCst));
    let fd = open(c"m/f", O_RDONLY);
    let mut buf = [0u8; 8];
    for count in 1..4 {
        eq(ok(sys!(pread64, fd, &mut buf, 8, 0)), 8);
        eq(fuse.control.count(READ), count);
    }
    close(fd);
    fuse.unmount();
}

case!(shared_mappings_are_written_back: mmap, msync, munmap, fsync, close; root);
fn shared_mappings_are_written_back() {
    let fuse = serve("", |_, tree| {
        tree.file(1, "map", &vec![b'1'; PAGE + 100]);
    });
    let written = || fuse.control.count(WRITE);
    let fd = open(c"m/map", O_RDWR);
    let common = map_file(fd, 0, 2 * PAGE, RW, MAP_SHARED);
    eq(peek(common + 1), b'1');
    ok(sys!(msync, common, 2 * PAGE, MS_SYNC));
    eq(written(), 0);
    poke(common, b'a');
    poke(common + PAGE + 99, b'z');
    let mut buf = [0u8; 2];
    eq(ok(sys!(pread64, fd, &mut buf, 2, 0)), 2);
    eq(&buf, b"a1");
    ok(sys!(msync, common, 2 * PAGE, MS_SYNC));
    check(written() > 0, "the server has it");
    // Beside what write(2) writes.
    poke(common + 2, b'b');
    eq(ok(sys!(pwrite64, fd, c"W", 1, 3)), 1);
    eq(peek(common + 3), b'W');
    ok(sys!(fsync, fd));
    let before = written();
    ok(sys!(fsync, fd));
    eq(written(), before);
    poke(common + 4, b'c');
    close(fd);
    unmap(common, 2 * PAGE);
    check(written() > before, "the server has it when the mapping goes");
    eventually("it is released", || fuse.control.count(RELEASE) == 1);
    let bytes = content(c"m/map");
    eq((bytes.len(), &bytes[..6]), (PAGE + 100, &b"a1bWc1"[..]));
    eq(&bytes[PAGE + 98..], b"1z");
    // Who ends leaves it behind too; a file opened for reading can't be mapped so.
    let child = fork(|| {
        let fd = open(c"m/map", O_RDWR);
        let common = map_file(fd, 0, PAGE, RW, MAP_SHARED);
        poke(common + 5, b'd');
    });
    child.succeeds();
    eventually("the server has it", || content(c"m/map")[..7] == b"a1bWcd1"[..]);
    let fd = open(c"m/map", O_RDONLY);
    fails(sys!(mmap, 0, PAGE, RW, MAP_SHARED, fd, 0), EACCES);
    close(fd);
    // Cut off under the mapping.
    let fd = open(c"m/map", O_RDWR);
    let common = map_file(fd, 0, 2 * PAGE, RW, MAP_SHARED);
    poke(common + PAGE, b'x');
    poke(common + 1, b'y');
    ok(sys!(ftruncate, fd, 2));
    faults(|| touch(common + PAGE), SIGBUS, 2, common + PAGE);
    ok(sys!(ftruncate, fd, 4));
    eq((peek(common), peek(common + 1), peek(common + 2)), (b'a', b'y', 0));
    unmap(common, 2 * PAGE);
    close(fd);
    eq(content(c"m/map"), b"ay\0\0");
    fuse.unmount();
}

case!(direct_files_are_not_mapped_shared: mmap, read; root);
fn direct_files_are_not_mapped_shared() {
    let fuse = serve("", |control, _| control.open_flags.store(DIRECT_IO, SeqCst));
    let fd = open(c"m/f", O_RDWR);
    fails(sys!(mmap, 0, PAGE, RW, MAP_SHARED, fd, 0), ENODEV);
    let private = map_file(fd, 0, PAGE, RW, MAP_PRIVATE);
    eq(peek(private), b'c');
    unmap(private, PAGE);
    // Beyond what the kernel takes for the end, the server is asked.
    eq(read(fd, 100), b"contents");
    eq(read(fd, 100), b"");
    close(fd);
    fuse.unmount();
}

case!(programs_are_executed: execve; root);
fn programs_are_executed() {
    let program = content(c"/proc/self/exe");
    let fuse = serve("", |control, tree| {
        control.open_flags.store(KEEP_CACHE, SeqCst);
        control.attr_valid.store(1000, SeqCst);
        let id = tree.file(1, "prog", &program);
        if let Some(node) = tree.nodes.get_mut(&id) {
            node.mode = S_IFREG | 0o755;
        }
    });
    let shown = exec_output(c"m/prog", &[c"prog", c"list"], &[], || {});
    check(shown.contains("programs_are_executed"), "it lists its cases");
    fails(exec(c"m/f", &[c"f"], &[]), EACCES);
    fuse.unmount();
}
