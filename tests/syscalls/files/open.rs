//! open, openat, creat: flags, modes, and which error wins.

use crate::kit::prelude::*;

case!(lowest_free_number: openat, open; disk);
fn lowest_free_number() {
    put(c"f", b"");
    let a = open(c"f", O_RDONLY);
    let b = open(c"f", O_RDONLY);
    eq(b, a + 1);
    close(a);
    eq(ok_i32(sys!(open, c"f", O_RDONLY, 0)), a);
}

case!(create_applies_umask: openat, creat, umask; disk);
fn create_applies_umask() {
    eq(ok(sys!(umask, 0o027)), 0o22);
    close(ok_i32(sys!(openat, AT_FDCWD, c"a", O_CREAT | O_WRONLY, 0o7777)));
    eq(stat(c"a").st_mode, S_IFREG | 0o7750);
    close(ok_i32(sys!(creat, c"b", 0o666)));
    eq(stat(c"b").st_mode, S_IFREG | 0o640);
    eq(ok(sys!(umask, 0o1777)), 0o27);
    eq(ok(sys!(umask, 0)), 0o777);
}

case!(creat_truncates_and_writes_only: creat, read; disk);
fn creat_truncates_and_writes_only() {
    put(c"f", b"content");
    let fd = ok_i32(sys!(creat, c"f", 0o600));
    eq(fstat(fd).st_size, 0);
    eq(fstat(fd).st_mode & 0o777, 0o644);
    fails(sys!(read, fd, &mut [0u8; 4], 4), EBADF);
    write_all(fd, b"x");
}

case!(exclusive: openat; disk);
fn exclusive() {
    let flags = O_CREAT | O_EXCL | O_RDWR;
    close(open(c"f", flags));
    fails(sys!(openat, AT_FDCWD, c"f", flags, 0o600), EEXIST);
    ok(sys!(symlinkat, c"nowhere", AT_FDCWD, c"dangling"));
    fails(sys!(openat, AT_FDCWD, c"dangling", flags, 0o600), EEXIST);
    check(!exists(c"nowhere"), "nothing was made behind the link");
    // Without O_EXCL the link is followed and its target made.
    close(open(c"dangling", O_CREAT | O_RDWR));
    check(exists(c"nowhere"), "made through the link");
    mkdir(c"d");
    fails(sys!(openat, AT_FDCWD, c"d", flags, 0o600), EEXIST);
    fails(sys!(openat, AT_FDCWD, c"new/", flags, 0o600), EISDIR);
}

case!(truncate_keeps_inode: openat, fstat; disk);
fn truncate_keeps_inode() {
    put(c"f", b"12345");
    let before = stat(c"f");
    let fd = open(c"f", O_RDWR | O_TRUNC);
    let after = fstat(fd);
    eq((after.st_ino, after.st_size), (before.st_ino, 0));
    // Even where only reading is asked for.
    put(c"g", b"12345");
    close(open(c"g", O_RDONLY | O_TRUNC));
    eq(stat(c"g").st_size, 0);
}

case!(append_goes_to_the_end: openat, write, lseek, pwrite64; disk);
fn append_goes_to_the_end() {
    put(c"f", b"abc");
    let fd = open(c"f", O_RDWR | O_APPEND);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 0);
    write_all(fd, b"de");
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 5);
    ok(sys!(lseek, fd, 0, SEEK_SET));
    write_all(fd, b"f");
    // Linux's pwrite appends too, against POSIX, and leaves the position alone.
    eq(ok(sys!(pwrite64, fd, c"gh", 2, 0)), 2);
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 6);
    eq(content(c"f"), b"abcdefgh");
}

case!(directory_flag: openat; disk);
fn directory_flag() {
    mkdir(c"d");
    put(c"f", b"");
    close(open(c"d", O_RDONLY | O_DIRECTORY));
    fails(sys!(openat, AT_FDCWD, c"f", O_RDONLY | O_DIRECTORY, 0), ENOTDIR);
    fails(sys!(openat, AT_FDCWD, c"missing", O_RDONLY | O_DIRECTORY, 0), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"d", O_RDWR | O_DIRECTORY, 0), EISDIR);
    fails(sys!(openat, AT_FDCWD, c"d", O_WRONLY, 0), EISDIR);
    fails(sys!(openat, AT_FDCWD, c"d", O_RDONLY | O_CREAT, 0o600), EISDIR);
    fails(sys!(openat, AT_FDCWD, c"d", O_RDONLY | O_TRUNC, 0), EISDIR);
    fails(sys!(openat, AT_FDCWD, c"f/", O_RDONLY, 0), ENOTDIR);
    fails(sys!(openat, AT_FDCWD, c"new/", O_RDWR | O_CREAT, 0o600), EISDIR);
}

case!(create_and_directory_do_not_mix: openat; disk);
fn create_and_directory_do_not_mix() {
    fails(sys!(openat, AT_FDCWD, c"new", O_CREAT | O_DIRECTORY, 0o600), EINVAL);
    check(!exists(c"new"), "nothing was made");
    mkdir(c"d");
    fails(sys!(openat, AT_FDCWD, c"d", O_CREAT | O_DIRECTORY, 0o600), EINVAL);
}

case!(nofollow: openat; disk);
fn nofollow() {
    put(c"f", b"x");
    mkdir(c"d");
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"link"));
    ok(sys!(symlinkat, c"d", AT_FDCWD, c"dlink"));
    put(c"d/inside", b"y");
    fails(sys!(openat, AT_FDCWD, c"link", O_RDONLY | O_NOFOLLOW, 0), ELOOP);
    fails(sys!(openat, AT_FDCWD, c"dlink", O_RDONLY | O_NOFOLLOW, 0), ELOOP);
    // ENOTDIR is found first where both flags are wrong.
    fails(sys!(openat, AT_FDCWD, c"dlink", O_RDONLY | O_NOFOLLOW | O_DIRECTORY, 0), ENOTDIR);
    close(open(c"f", O_RDONLY | O_NOFOLLOW));
    // Only the last component counts, and a slash behind it makes it not the last.
    close(open(c"dlink/inside", O_RDONLY | O_NOFOLLOW));
    close(open(c"dlink/", O_RDONLY | O_NOFOLLOW));
}

case!(path_descriptor: openat, fstat, fcntl, read, fchmod, fchdir; disk);
fn path_descriptor() {
    put(c"f", b"x");
    let fd = open(c"f", O_PATH);
    eq(fstat(fd).st_size, 1);
    eq(ok_i32(sys!(fcntl, fd, F_GETFL)) & !0o100_000, O_PATH);
    fails(sys!(read, fd, &mut [0u8; 1], 1), EBADF);
    fails(sys!(write, fd, c"x", 1), EBADF);
    fails(sys!(fchmod, fd, 0o600), EBADF);
    fails(sys!(fsync, fd), EBADF);
    fails(sys!(ioctl, fd, FIONREAD, &mut 0i32), EBADF);
    fails(sys!(lseek, fd, 0, SEEK_SET), EBADF);
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), EBADF);
    mkdir(c"d");
    let dir = open(c"d", O_PATH);
    ok(sys!(mkdirat, dir, c"e", 0o755));
    fails(sys!(getdents64, dir, &mut [0u8; 256], 256), EBADF);
    ok(sys!(fchdir, dir));
    check(exists(c"e"), "the directory has become the current one");
}

case!(path_descriptor_of_a_link: openat, readlinkat, fstat; disk);
fn path_descriptor_of_a_link() {
    ok(sys!(symlinkat, c"target", AT_FDCWD, c"link"));
    let fd = open(c"link", O_PATH | O_NOFOLLOW);
    eq(fstat(fd).st_mode & S_IFMT, S_IFLNK);
    let mut buf = [0u8; 16];
    eq(ok(sys!(readlinkat, fd, c"", &mut buf, buf.len())), 6);
    eq(&buf[..6], b"target");
    // O_PATH pays no heed to any other flag.
    close(open(c"link", O_PATH | O_NOFOLLOW | O_RDWR | O_TRUNC | O_CREAT));
}

case!(path_descriptor_needs_no_permission: openat, fstat; disk);
fn path_descriptor_needs_no_permission() {
    put(c"f", b"x");
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0));
    unprivileged(|| {
        fails(sys!(openat, AT_FDCWD, c"f", O_RDONLY, 0), EACCES);
        let fd = open(c"f", O_PATH);
        eq(fstat(fd).st_size, 1);
    });
}

case!(nameless_file: openat, linkat; disk);
fn nameless_file() {
    let fd = ok_i32(sys!(openat, AT_FDCWD, c".", O_TMPFILE | O_RDWR, 0o640));
    let st = fstat(fd);
    eq((st.st_nlink, st.st_mode), (0, S_IFREG | 0o640));
    write_all(fd, b"text");
    // Nothing is seen in the directory.
    eq(std::fs::read_dir(".").map_or(99, |d| d.count()), 0);
    let proc = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    ok(sys!(linkat, AT_FDCWD, proc.as_c_str(), AT_FDCWD, c"named", AT_SYMLINK_FOLLOW));
    eq(content(c"named"), b"text");
    eq(fstat(fd).st_nlink, 1);
    fails(sys!(openat, AT_FDCWD, c".", O_TMPFILE | O_RDONLY, 0o600), EINVAL);
    fails(sys!(openat, AT_FDCWD, c"named", O_TMPFILE | O_RDWR, 0o600), ENOTDIR);
}

case!(nameless_exclusive_can_not_be_linked: openat, linkat; disk);
fn nameless_exclusive_can_not_be_linked() {
    let fd = ok_i32(sys!(openat, AT_FDCWD, c".", O_TMPFILE | O_RDWR | O_EXCL, 0o600));
    let proc = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    fails(sys!(linkat, AT_FDCWD, proc.as_c_str(), AT_FDCWD, c"named", AT_SYMLINK_FOLLOW), ENOENT);
}

case!(both_access_bits: openat, read, write; disk);
fn both_access_bits() {
    // Access mode 3: permission to both is checked, neither is given.
    put(c"f", b"x");
    let fd = open(c"f", 3);
    eq(ok_i32(sys!(fcntl, fd, F_GETFL)) & O_ACCMODE, 3);
    fails(sys!(read, fd, &mut [0u8; 1], 1), EBADF);
    fails(sys!(write, fd, c"x", 1), EBADF);
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o444));
    unprivileged(|| fails(sys!(openat, AT_FDCWD, c"f", 3, 0), EACCES));
}

case!(flags_that_are_remembered: openat, fcntl; disk);
fn flags_that_are_remembered() {
    put(c"f", b"x");
    let large = 0o100_000;
    let all = O_RDWR | O_APPEND | O_NONBLOCK | O_CREAT | O_TRUNC | O_EXCL | O_NOCTTY | O_CLOEXEC;
    let fd = ok_i32(sys!(openat, AT_FDCWD, c"g", all, 0o600));
    eq(ok_i32(sys!(fcntl, fd, F_GETFL)), O_RDWR | O_APPEND | O_NONBLOCK | large);
    eq(ok_i32(sys!(fcntl, fd, F_GETFD)), FD_CLOEXEC);
    let fd = open(c"f", O_RDONLY | O_SYNC);
    eq(ok_i32(sys!(fcntl, fd, F_GETFL)), O_RDONLY | O_SYNC | large);
    // Bits that mean nothing are accepted and forgotten.
    let fd = open(c"f", 0x4000_0000);
    eq(ok_i32(sys!(fcntl, fd, F_GETFL)), large);
}

case!(mode_does_not_bind_the_creator: openat, write; disk);
fn mode_does_not_bind_the_creator() {
    unprivileged(|| {
        let fd = ok_i32(sys!(openat, AT_FDCWD, c"f", O_CREAT | O_RDWR, 0));
        write_all(fd, b"x");
        fails(sys!(openat, AT_FDCWD, c"f", O_RDONLY, 0), EACCES);
    });
}

case!(permission_of_each_mode: openat; disk);
fn permission_of_each_mode() {
    for (name, mode) in [(c"r", 0o444), (c"w", 0o222), (c"none", 0o0)] {
        put(name, b"x");
        ok(sys!(fchmodat, AT_FDCWD, name, mode));
    }
    unprivileged(|| {
        close(open(c"r", O_RDONLY));
        close(open(c"w", O_WRONLY));
        for (name, flags) in [
            (c"r", O_WRONLY),
            (c"r", O_RDWR),
            (c"r", O_RDONLY | O_TRUNC),
            (c"w", O_RDONLY),
            (c"w", O_RDWR),
            (c"none", O_RDONLY),
        ] {
            fails(sys!(openat, AT_FDCWD, name, flags, 0), EACCES);
        }
    });
    eq(content(c"r"), b"x");
}

case!(noatime_only_for_the_owner: openat; disk);
fn noatime_only_for_the_owner() {
    put(c"f", b"x");
    close(open(c"f", O_RDONLY | O_NOATIME));
    if is_root() {
        unprivileged(|| fails(sys!(openat, AT_FDCWD, c"f", O_RDONLY | O_NOATIME, 0), EPERM));
    }
}

case!(devices_and_pipes: openat, mknodat; disk);
fn devices_and_pipes() {
    ok(sys!(mknodat, AT_FDCWD, c"fifo", S_IFIFO | 0o600, 0));
    fails(sys!(openat, AT_FDCWD, c"fifo", O_WRONLY | O_NONBLOCK, 0), ENXIO);
    close(open(c"fifo", O_RDONLY | O_NONBLOCK));
    ok(sys!(mknodat, AT_FDCWD, c"socket", S_IFSOCK | 0o600, 0));
    fails(sys!(openat, AT_FDCWD, c"socket", O_RDWR, 0), ENXIO);
    close(open(c"socket", O_PATH));
}

case!(bad_paths: openat, open; disk);
fn bad_paths() {
    put(c"f", b"");
    fails(sys!(openat, AT_FDCWD, c"", O_RDONLY, 0), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"missing", O_RDONLY, 0), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"missing/x", O_CREAT | O_RDWR, 0o600), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"f/x", O_CREAT | O_RDWR, 0o600), ENOTDIR);
    fails(sys!(openat, AT_FDCWD, c"f/..", O_RDONLY, 0), ENOTDIR);
    fails(sys!(openat, AT_FDCWD, 0, O_RDONLY, 0), EFAULT);
    fails(sys!(openat, AT_FDCWD, u64::MAX, O_RDONLY, 0), EFAULT);
    fails(sys!(openat, 999, c"f", O_RDONLY, 0), EBADF);
    fails(sys!(openat, -1, c"f", O_RDONLY, 0), EBADF);
    let fd = open(c"f", O_RDONLY);
    fails(sys!(openat, fd, c"x", O_RDONLY, 0), ENOTDIR);
    // An absolute path has no need of the descriptor.
    close(ok_i32(sys!(openat, 999, absolute("f").as_c_str(), O_RDONLY, 0)));
    // A bad path is found before a bad descriptor.
    fails(sys!(openat, 999, c"", O_RDONLY, 0), ENOENT);
    fails(sys!(openat, 999, 8, O_RDONLY, 0), EFAULT);
}

case!(path_at_the_end_of_a_page: openat);
fn path_at_the_end_of_a_page() {
    put(c"f", b"");
    let pages = map(2 * PAGE, RW);
    unmap(pages + PAGE, PAGE);
    poke(pages + PAGE - 2, b'f');
    close(ok_i32(sys!(openat, AT_FDCWD, pages + PAGE - 2, O_RDONLY, 0)));
    // No end before the hole.
    poke(pages + PAGE - 1, b'f');
    fails(sys!(openat, AT_FDCWD, pages + PAGE - 2, O_RDONLY, 0), EFAULT);
}

case!(too_many_open: openat, prlimit64, dup, pipe2);
fn too_many_open() {
    put(c"f", b"");
    let limit = rlimit { rlim_cur: 16, rlim_max: 64 };
    ok(sys!(prlimit64, 0, RLIMIT_NOFILE, &limit, 0));
    let mut last = 0;
    let full = loop {
        match sys!(openat, AT_FDCWD, c"f", O_RDONLY, 0) {
            Ok(fd) => last = fd,
            full => break full,
        }
    };
    fails(full, EMFILE);
    eq(last, 15);
    fails(sys!(dup, 0), EMFILE);
    fails(sys!(fcntl, 0, F_DUPFD, 0), EMFILE);
    // The file is not made when there is no number for it.
    fails(sys!(openat, AT_FDCWD, c"new", O_CREAT | O_RDWR, 0o600), EMFILE);
    check(!exists(c"new"), "nothing was made");
    // A pipe needs two, and takes none if there is but one.
    close(15);
    fails(sys!(pipe2, &mut [0i32; 2], 0), EMFILE);
    eq(ok(sys!(dup, 0)), 15);
    fails(sys!(dup2, 0, 16), EBADF);
}

case!(text_file_is_busy: openat; disk);
fn text_file_is_busy() {
    put(c"copy", &content(program()));
    ok(sys!(fchmodat, AT_FDCWD, c"copy", 0o755));
    let [r, w] = pipe(0);
    let child = fork(|| {
        ok(sys!(dup3, r, 0, 0));
        close(w);
        // Prints its list into the pipe's other end of nobody: waits at its start by reading nothing, so sleep there.
        ok(exec(c"./copy", &[c"copy", c"probe", c"sleep"], &[]));
    });
    eventually("the program runs", || {
        std::fs::read_link(format!("/proc/{}/exe", child.pid)).is_ok_and(|p| p.ends_with("copy"))
    });
    fails(sys!(openat, AT_FDCWD, c"copy", O_WRONLY, 0), ETXTBSY);
    fails(sys!(openat, AT_FDCWD, c"copy", O_RDWR, 0), ETXTBSY);
    fails(sys!(truncate, c"copy", 0), ETXTBSY);
    close(open(c"copy", O_RDONLY));
    ok(sys!(unlinkat, AT_FDCWD, c"copy", 0));
    child.end();
}

case!(direct_is_for_bytes_of_a_file_system: openat, fcntl; disk);
fn direct_is_for_bytes_of_a_file_system() {
    put(c"f", b"x");
    mkdir(c"d");
    ok(sys!(mknodat, AT_FDCWD, c"p", S_IFIFO | 0o600, 0));
    // Linux before 6.6 has none of it on a tmpfs.
    match sys!(openat, AT_FDCWD, c"f", O_RDWR | O_DIRECT, 0) {
        Ok(fd) => eq(ok(sys!(fcntl, fd, F_GETFL, 0)) as i32 & O_DIRECT, O_DIRECT),
        Err(_) => needs_tmpfs(),
    }
    let places = [c"d", c"/dev/null", c"/dev/zero", c"/proc/self/stat", c"/proc/self", c"/proc/self/mem"];
    for name in places {
        fails(sys!(openat, AT_FDCWD, name, O_RDONLY | O_DIRECT, 0), EINVAL);
        let fd = open(name, O_RDONLY);
        fails(sys!(fcntl, fd, F_SETFL, O_DIRECT), EINVAL);
        eq(ok(sys!(fcntl, fd, F_GETFL, 0)) as i32 & O_DIRECT, 0);
        close(open(name, O_PATH | O_DIRECT));
    }
    let mut ends = [0i32; 2];
    ok(sys!(socketpair, AF_UNIX, SOCK_STREAM, 0, &mut ends));
    fails(sys!(fcntl, ends[0], F_SETFL, O_DIRECT), EINVAL);
    // Of a pipe it makes packets, but a FIFO is not opened so.
    ok(sys!(fcntl, pipe(0)[1], F_SETFL, O_DIRECT));
    fails(sys!(openat, AT_FDCWD, c"p", O_RDWR | O_DIRECT, 0), EINVAL);
    ok(sys!(fcntl, open(c"p", O_RDWR), F_SETFL, O_DIRECT));
}
