//! stat, statx, times, statfs.

use crate::kit::prelude::*;

const NOW: i64 = 0x3fff_ffff;
const OMIT: i64 = 0x3fff_fffe;

case!(stat_family_agrees: stat, fstat, lstat, newfstatat; disk);
fn stat_family_agrees() {
    let fd = create(c"f", &[1; 5000]);
    let mut all: [stat; 3] = [zeroed(); 3];
    ok(sys!(stat, c"f", &mut all[0]));
    ok(sys!(lstat, c"f", &mut all[1]));
    ok(sys!(fstat, fd, &mut all[2]));
    for st in &all {
        eq((st.st_size, st.st_nlink, st.st_mode), (5000, 1, S_IFREG | 0o644));
        eq((st.st_ino, st.st_dev), (all[0].st_ino, all[0].st_dev));
        check(st.st_blocks >= 10 && st.st_blksize >= 512, "blocks of 512 bytes");
    }
    let st = all[0];
    eq((i64::from(st.st_uid), i64::from(st.st_gid)), (ok(sys!(geteuid)), ok(sys!(getegid))));
}

case!(stat_errors: stat, fstat, newfstatat; disk);
fn stat_errors() {
    fails(sys!(stat, c"missing", &mut [0u64; 18]), ENOENT);
    fails(sys!(stat, c".", 8), EFAULT);
    fails(sys!(stat, 8, &mut [0u64; 18]), EFAULT);
    fails(sys!(stat, c"", &mut [0u64; 18]), ENOENT);
    fails(sys!(fstat, 999, &mut [0u64; 18]), EBADF);
    fails(sys!(fstat, 0, 8), EFAULT);
    fails(sys!(newfstatat, AT_FDCWD, c".", &mut [0u64; 18], 1), EINVAL);
    fails(sys!(newfstatat, 999, c"x", &mut [0u64; 18], 0), EBADF);
}

case!(inode_numbers_tell_files_apart: stat; disk);
fn inode_numbers_tell_files_apart() {
    for name in [c"a", c"b", c"c"] {
        put(name, b"");
    }
    let (a, b, c) = (stat(c"a"), stat(c"b"), stat(c"c"));
    check(a.st_ino != b.st_ino && b.st_ino != c.st_ino && a.st_ino != c.st_ino, "three files");
    eq((a.st_dev, b.st_dev), (c.st_dev, stat(c".").st_dev));
}

fn statx_of(fd: i32, path: &std::ffi::CStr, flags: i32, mask: u32) -> statx {
    let mut st: statx = zeroed();
    ok(sys!(statx, fd, path, flags, mask, &mut st));
    st
}

case!(statx_basics: statx; disk);
fn statx_basics() {
    let fd = create(c"f", b"12345");
    let st = statx_of(fd, c"", AT_EMPTY_PATH, STATX_BASIC_STATS);
    let old = fstat(fd);
    eq(st.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
    eq((st.stx_size, u32::from(st.stx_mode), st.stx_ino), (5, old.st_mode, old.st_ino));
    eq((st.stx_nlink, st.stx_uid, st.stx_gid), (1, old.st_uid, old.st_gid));
    eq((st.stx_mtime.tv_sec, i64::from(st.stx_mtime.tv_nsec)), (old.st_mtime, old.st_mtime_nsec));
    eq(makedev(st.stx_dev_major, st.stx_dev_minor), old.st_dev);
    // The mask is a wish: more may come.
    let st = statx_of(AT_FDCWD, c"f", 0, 0);
    eq(st.stx_size, 5);
    let st = statx_of(AT_FDCWD, c"f", AT_STATX_DONT_SYNC, STATX_ALL);
    check(st.stx_btime.tv_sec == 0 || st.stx_mask & STATX_BTIME != 0, "a birth time is announced");
}

case!(statx_errors: statx; disk);
fn statx_errors() {
    let mut st: statx = zeroed();
    put(c"f", b"");
    fails(sys!(statx, AT_FDCWD, c"f", 0, 0x8000_0000u32, &mut st), EINVAL);
    fails(sys!(statx, AT_FDCWD, c"f", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, 0, &mut st), EINVAL);
    fails(sys!(statx, AT_FDCWD, c"f", 1, 0, &mut st), EINVAL);
    fails(sys!(statx, AT_FDCWD, c"f", 0, 0, 8), EFAULT);
    fails(sys!(statx, AT_FDCWD, c"", 0, 0, &mut st), ENOENT);
    fails(sys!(statx, AT_FDCWD, c"missing", 0, 0, &mut st), ENOENT);
    fails(sys!(statx, 999, c"", AT_EMPTY_PATH, 0, &mut st), EBADF);
    ok(sys!(symlinkat, c"nowhere", AT_FDCWD, c"l"));
    eq(u32::from(statx_of(AT_FDCWD, c"l", AT_SYMLINK_NOFOLLOW, 1).stx_mode) & S_IFMT, S_IFLNK);
}

case!(times_can_be_set: utimensat, utimes, utime, futimesat; disk);
fn times_can_be_set() {
    let fd = create(c"f", b"");
    ok(sys!(utimensat, AT_FDCWD, c"f", &[100i64, 1, 200, 999_999_999], 0));
    let st = fstat(fd);
    eq((st.st_atime, st.st_atime_nsec, st.st_mtime, st.st_mtime_nsec), (100, 1, 200, 999_999_999));
    ok(sys!(utimensat, AT_FDCWD, c"f", &[0, OMIT, 300, 0], 0));
    eq((fstat(fd).st_atime, fstat(fd).st_mtime), (100, 300));
    ok(sys!(utimes, c"f", &[5i64, 6, 7, 8]));
    eq((fstat(fd).st_atime_nsec, fstat(fd).st_mtime_nsec), (6000, 8000));
    ok(sys!(utime, c"f", &[11i64, 12]));
    eq((fstat(fd).st_atime, fstat(fd).st_mtime), (11, 12));
    ok(sys!(futimesat, AT_FDCWD, c"f", &[13i64, 0, 14, 0]));
    eq((fstat(fd).st_atime, fstat(fd).st_mtime), (13, 14));
}

case!(times_now: utimensat, utime; disk);
fn times_now() {
    let fd = create(c"f", b"");
    ok(sys!(utimensat, fd, 0, &[1i64, 0, 1, 0], 0));
    // File times are of the last tick: the precise clock may be a second further.
    let before = now_ns(CLOCK_REALTIME_COARSE) / 1_000_000_000;
    ok(sys!(utimensat, AT_FDCWD, c"f", &[0, NOW, 0, OMIT], 0));
    check(fstat(fd).st_atime >= before && fstat(fd).st_mtime == 1, "only the first");
    ok(sys!(utimensat, AT_FDCWD, c"f", 0, 0));
    check(fstat(fd).st_mtime >= before, "both");
    ok(sys!(utimensat, fd, 0, &[1i64, 0, 1, 0], 0));
    ok(sys!(utime, c"f", 0));
    check(fstat(fd).st_mtime >= before, "both");
}

case!(times_errors: utimensat, utimes; disk);
fn times_errors() {
    put(c"f", b"");
    fails(sys!(utimensat, AT_FDCWD, c"f", &[0i64, 1_000_000_000, 0, 0], 0), EINVAL);
    fails(sys!(utimensat, AT_FDCWD, c"f", &[0i64, -1, 0, 0], 0), EINVAL);
    fails(sys!(utimensat, AT_FDCWD, c"f", &[0i64; 4], 1), EINVAL);
    fails(sys!(utimensat, AT_FDCWD, c"missing", &[0i64; 4], 0), ENOENT);
    fails(sys!(utimensat, AT_FDCWD, c"f", 8, 0), EFAULT);
    fails(sys!(utimensat, 999, 0, 0, 0), EBADF);
    fails(sys!(utimensat, AT_FDCWD, 0, 0, 0), EFAULT);
    fails(sys!(utimes, c"f", &[0i64, 1_000_000, 0, 0]), EINVAL);
    // With both left out nothing is looked at.
    ok(sys!(utimensat, AT_FDCWD, c"missing", &[0, OMIT, 0, OMIT], 0));
    let link = c"l";
    ok(sys!(symlinkat, c"nowhere", AT_FDCWD, link));
    ok(sys!(utimensat, AT_FDCWD, link, &[77i64, 0, 78, 0], AT_SYMLINK_NOFOLLOW));
    eq(lstat(link).st_mtime, 78);
}

case!(times_permissions: utimensat; root; disk);
fn times_permissions() {
    put(c"read", b"");
    put(c"write", b"");
    ok(sys!(fchmodat, AT_FDCWD, c"write", 0o666));
    unprivileged(|| {
        // Now may who may write; another time is the owner's.
        fails(sys!(utimensat, AT_FDCWD, c"read", 0, 0), EACCES);
        fails(sys!(utimensat, AT_FDCWD, c"read", &[0i64; 4], 0), EPERM);
        ok(sys!(utimensat, AT_FDCWD, c"write", 0, 0));
        fails(sys!(utimensat, AT_FDCWD, c"write", &[0i64; 4], 0), EPERM);
        fails(sys!(utimensat, AT_FDCWD, c"write", &[0, NOW, 0, OMIT], 0), EPERM);
    });
}

/// What changed between two looks: modification, status.
fn changed(name: &std::ffi::CStr, action: impl FnOnce()) -> (bool, bool) {
    let past = [0i64, OMIT, 1000, 0];
    ok(sys!(utimensat, AT_FDCWD, name, &past, 0));
    let before = stat(name);
    // Beyond the granularity of the clock that file systems use.
    sleep_ms(12);
    action();
    let after = stat(name);
    let ctime = |st: &stat| (st.st_ctime, st.st_ctime_nsec);
    (after.st_mtime != before.st_mtime, ctime(&after) != ctime(&before))
}

case!(what_changes_times: write, fchmod, ftruncate, link, read; disk);
fn what_changes_times() {
    let fd = create(c"f", b"12345");
    eq(changed(c"f", || write_all(fd, b"x")), (true, true));
    eq(changed(c"f", || done(sys!(ftruncate, fd, 2))), (true, true));
    eq(changed(c"f", || done(sys!(fchmod, fd, 0o600))), (false, true));
    eq(changed(c"f", || done(sys!(link, c"f", c"g"))), (false, true));
    eq(changed(c"f", || done(sys!(unlink, c"g"))), (false, true));
    let there_and_back = || {
        ok(sys!(rename, c"f", c"h"));
        ok(sys!(rename, c"h", c"f"));
    };
    eq(changed(c"f", there_and_back), (false, true));
    eq(changed(c"f", || drop(read(fd, 1))), (false, false));
    eq(changed(c"f", || done(sys!(write, fd, c"", 0))), (false, false));
    // Opening to truncate changes a file that is empty already.
    eq(changed(c"f", || close(open(c"f", O_WRONLY | O_TRUNC))), (true, true));
}

case!(what_changes_directories: openat, unlink, rename, mkdir; disk);
fn what_changes_directories() {
    mkdir(c"d");
    eq(changed(c"d", || put(c"d/f", b"x")), (true, true));
    eq(changed(c"d", || put(c"d/f", b"y")), (false, false));
    eq(changed(c"d", || done(sys!(rename, c"d/f", c"d/g"))), (true, true));
    eq(changed(c"d", || done(sys!(unlink, c"d/g"))), (true, true));
    eq(changed(c"d", || mkdir(c"d/e")), (true, true));
    eq(changed(c"d", || done(sys!(rmdir, c"d/e"))), (true, true));
}

case!(file_system: statfs, fstatfs);
fn file_system() {
    let (mut a, mut b): (statfs, statfs) = (zeroed(), zeroed());
    let fd = open(c".", O_RDONLY);
    ok(sys!(statfs, c".", &mut a));
    ok(sys!(fstatfs, fd, &mut b));
    eq((a.f_type, a.f_bsize, a.f_namelen), (b.f_type, b.f_bsize, b.f_namelen));
    eq(a.f_namelen, 255);
    check(a.f_blocks > 0 && a.f_bavail <= a.f_bfree && a.f_bfree <= a.f_blocks, "room");
    ok(sys!(statfs, c"/proc", &mut a));
    eq(a.f_type, PROC_SUPER_MAGIC);
    let [r, _w] = pipe(0);
    ok(sys!(fstatfs, r, &mut a));
    eq(a.f_type, 0x5049_5045);
    fails(sys!(statfs, c"missing", &mut a), ENOENT);
    fails(sys!(statfs, c".", 8), EFAULT);
    fails(sys!(fstatfs, 999, &mut a), EBADF);
}

case!(syncing: fsync, fdatasync, syncfs, sync_file_range, sync; disk);
fn syncing() {
    let fd = create(c"f", b"x");
    ok(sys!(fsync, fd));
    ok(sys!(fdatasync, fd));
    ok(sys!(fsync, open(c".", O_RDONLY)));
    ok(sys!(syncfs, fd));
    fails(sys!(fsync, 999), EBADF);
    fails(sys!(syncfs, 999), EBADF);
    ok(sys!(sync_file_range, fd, 0, 0, 7));
    fails(sys!(sync_file_range, fd, 0, 0, 8), EINVAL);
    fails(sys!(sync_file_range, fd, -1, 0, 0), EINVAL);
    let [r, _w] = pipe(0);
    fails(sys!(sync_file_range, r, 0, 0, 0), ESPIPE);
    fails(sys!(fsync, r), EINVAL);
}

case!(advice: fadvise64, readahead; disk);
fn advice() {
    let fd = create(c"f", &[1; 100]);
    for advice in 0..6 {
        ok(sys!(fadvise64, fd, 0, 0, advice));
    }
    fails(sys!(fadvise64, fd, 0, 0, 99), EINVAL);
    fails(sys!(fadvise64, fd, 0, -1, 0), EINVAL);
    fails(sys!(fadvise64, 999, 0, 0, 0), EBADF);
    let [r, _w] = pipe(0);
    fails(sys!(fadvise64, r, 0, 0, 0), ESPIPE);
    ok(sys!(readahead, fd, 0, 100));
    fails(sys!(readahead, r, 0, 1), EINVAL);
    fails(sys!(readahead, 999, 0, 1), EBADF);
}
