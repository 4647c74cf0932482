//! access, chmod, chown, the sticky bit, set-id bits, capabilities over files.

use crate::kit::prelude::*;

case!(access_as_root_and_other: access, faccessat, faccessat2; disk);
fn access_as_root_and_other() {
    put(c"f", b"");
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o640));
    ok(sys!(access, c"f", F_OK));
    ok(sys!(faccessat, AT_FDCWD, c"f", R_OK | W_OK));
    // Not even root may run what nobody may.
    fails(sys!(access, c"f", X_OK), EACCES);
    if is_root() {
        unprivileged(|| {
            ok(sys!(access, c"f", F_OK));
            fails(sys!(access, c"f", R_OK), EACCES);
            fails(sys!(access, c"f", W_OK), EACCES);
            fails(sys!(faccessat2, AT_FDCWD, c"f", R_OK, 0), EACCES);
            ok(sys!(access, c".", R_OK | W_OK | X_OK));
        });
    }
}

case!(access_errors: access, faccessat2; disk);
fn access_errors() {
    put(c"f", b"");
    fails(sys!(access, c"missing", F_OK), ENOENT);
    fails(sys!(access, c"f/x", F_OK), ENOTDIR);
    fails(sys!(access, c"f", 8), EINVAL);
    fails(sys!(access, 8, F_OK), EFAULT);
    fails(sys!(faccessat2, AT_FDCWD, c"f", F_OK, 1), EINVAL);
    fails(sys!(faccessat2, 999, c"f", F_OK, 0), EBADF);
    let fd = open(c"f", O_PATH);
    ok(sys!(faccessat2, fd, c"", R_OK, AT_EMPTY_PATH));
    ok(sys!(symlinkat, c"nowhere", AT_FDCWD, c"l"));
    fails(sys!(access, c"l", F_OK), ENOENT);
    ok(sys!(faccessat2, AT_FDCWD, c"l", F_OK, AT_SYMLINK_NOFOLLOW));
}

case!(access_is_about_real_ids: access, faccessat2, setresuid; root; disk);
fn access_is_about_real_ids() {
    put(c"f", b"");
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o600));
    in_child(|| {
        ok(sys!(setresuid, NOBODY, 0, 0));
        fails(sys!(access, c"f", R_OK), EACCES);
        ok(sys!(faccessat2, AT_FDCWD, c"f", R_OK, AT_EACCESS));
        close(open(c"f", O_RDONLY));
    });
}

case!(chmod_sets_all_bits: chmod, fchmod, fchmodat; disk);
fn chmod_sets_all_bits() {
    let fd = create(c"f", b"");
    for mode in [0o0, 0o777, 0o4755, 0o2750, 0o1644] {
        ok(sys!(chmod, c"f", mode));
        eq(fstat(fd).st_mode, S_IFREG | mode);
    }
    ok(sys!(fchmod, fd, 0o600));
    eq(fstat(fd).st_mode & 0o7777, 0o600);
    // The kind can't be changed by it.
    ok(sys!(fchmod, fd, S_IFDIR | 0o644));
    eq(fstat(fd).st_mode, S_IFREG | 0o644);
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"l"));
    ok(sys!(chmod, c"l", 0o640));
    eq(fstat(fd).st_mode & 0o7777, 0o640);
    fails(sys!(chmod, c"missing", 0o600), ENOENT);
    fails(sys!(fchmod, 999, 0o600), EBADF);
}

case!(chmod_without_following: fchmodat2; disk);
fn chmod_without_following() {
    let fd = create(c"f", b"");
    ok(sys!(fchmodat2, AT_FDCWD, c"f", 0o600, AT_SYMLINK_NOFOLLOW));
    ok(sys!(fchmodat2, fd, c"", 0o640, AT_EMPTY_PATH));
    eq(fstat(fd).st_mode & 0o7777, 0o640);
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"l"));
    fails(sys!(fchmodat2, AT_FDCWD, c"l", 0o600, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
    fails(sys!(fchmodat2, AT_FDCWD, c"f", 0o600, 1), EINVAL);
}

case!(chmod_only_for_the_owner: chmod; root; disk);
fn chmod_only_for_the_owner() {
    put(c"f", b"");
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o666));
    unprivileged(|| {
        fails(sys!(chmod, c"f", 0o777), EPERM);
        put(c"mine", b"");
        ok(sys!(chmod, c"mine", 0o700));
        // The set-group bit goes where the group is not one's own.
        ok(sys!(chmod, c"mine", 0o2700));
        eq(stat(c"mine").st_mode & 0o7777, 0o2700);
    });
    ok(sys!(fchownat, AT_FDCWD, c"f", NOBODY, 1234, 0));
    unprivileged(|| {
        ok(sys!(chmod, c"f", 0o2755));
        eq(stat(c"f").st_mode & 0o7777, 0o755);
    });
}

case!(chown_by_root: chown, fchown, lchown, fchownat; root; disk);
fn chown_by_root() {
    let fd = create(c"f", b"");
    ok(sys!(chown, c"f", 1000, 2000));
    eq((fstat(fd).st_uid, fstat(fd).st_gid), (1000, 2000));
    ok(sys!(fchown, fd, -1, 3000));
    eq((fstat(fd).st_uid, fstat(fd).st_gid), (1000, 3000));
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"l"));
    ok(sys!(lchown, c"l", 5, 6));
    eq((lstat(c"l").st_uid, lstat(c"l").st_gid, fstat(fd).st_uid), (5, 6, 1000));
    ok(sys!(fchownat, AT_FDCWD, c"l", 7, -1, 0));
    eq((lstat(c"l").st_uid, fstat(fd).st_uid), (5, 7));
    fails(sys!(fchownat, AT_FDCWD, c"f", 1, 1, 1), EINVAL);
    fails(sys!(fchown, 999, 1, 1), EBADF);
}

case!(chown_clears_set_id_bits: chown, fchown; root; disk);
fn chown_clears_set_id_bits() {
    put(c"f", b"");
    ok(sys!(chmod, c"f", 0o6755));
    ok(sys!(chown, c"f", 1000, 1000));
    eq(stat(c"f").st_mode & 0o7777, 0o755);
    // Without group execution the bit is no set-group bit.
    ok(sys!(chmod, c"f", 0o6745));
    ok(sys!(chown, c"f", 1001, 1000));
    eq(stat(c"f").st_mode & 0o7777, 0o2745);
    mkdir(c"d");
    ok(sys!(chmod, c"d", 0o6755));
    ok(sys!(chown, c"d", 1000, 1000));
    eq(stat(c"d").st_mode & 0o7777, 0o6755);
}

case!(chown_without_privileges: chown, setgroups; root; disk);
fn chown_without_privileges() {
    put(c"f", b"");
    ok(sys!(chown, c"f", NOBODY, NOBODY));
    ok(sys!(fchmodat, AT_FDCWD, c".", 0o777));
    in_child(|| {
        ok(sys!(setgroups, 1, &[4321u32]));
        ok(sys!(setresgid, NOBODY, NOBODY, NOBODY));
        ok(sys!(setresuid, NOBODY, NOBODY, NOBODY));
        fails(sys!(chown, c"f", 0, -1), EPERM);
        fails(sys!(chown, c"f", -1, 0), EPERM);
        ok(sys!(chown, c"f", -1, 4321));
        ok(sys!(chown, c"f", NOBODY, -1));
        eq(stat(c"f").st_gid, 4321);
    });
}

case!(writing_clears_set_id_bits: write, truncate; root; disk);
fn writing_clears_set_id_bits() {
    put(c"f", b"content");
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o6777));
    // Root's writes leave them.
    let fd = open(c"f", O_RDWR);
    write_all(fd, b"x");
    eq(fstat(fd).st_mode & 0o7777, 0o6777);
    unprivileged(|| write_all(open(c"f", O_WRONLY), b"y"));
    eq(fstat(fd).st_mode & 0o7777, 0o777);
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o4777));
    unprivileged(|| done(sys!(truncate, c"f", 2)));
    eq(fstat(fd).st_mode & 0o7777, 0o777);
}

case!(sticky_directory: unlinkat, renameat, rmdir; root; disk);
fn sticky_directory() {
    mkdir(c"t");
    ok(sys!(fchmodat, AT_FDCWD, c"t", 0o1777));
    put(c"t/roots", b"");
    mkdir(c"t/dir");
    unprivileged(|| {
        put(c"t/mine", b"");
        fails(sys!(unlinkat, AT_FDCWD, c"t/roots", 0), EPERM);
        fails(sys!(rmdir, c"t/dir"), EPERM);
        fails(sys!(renameat, AT_FDCWD, c"t/roots", AT_FDCWD, c"t/x"), EPERM);
        fails(sys!(renameat, AT_FDCWD, c"t/mine", AT_FDCWD, c"t/roots"), EPERM);
        ok(sys!(renameat, AT_FDCWD, c"t/mine", AT_FDCWD, c"t/y"));
        ok(sys!(unlinkat, AT_FDCWD, c"t/y", 0));
    });
}

case!(group_of_new_files: openat, mkdirat; root; disk);
fn group_of_new_files() {
    mkdir(c"d");
    ok(sys!(fchownat, AT_FDCWD, c"d", -1, 4321, 0));
    ok(sys!(fchmodat, AT_FDCWD, c"d", 0o2777));
    unprivileged(|| {
        put(c"d/f", b"");
        mkdir(c"d/e");
        eq((stat(c"d/f").st_uid, stat(c"d/f").st_gid), (NOBODY, 4321));
        // Directories hand the bit on.
        eq((stat(c"d/e").st_gid, stat(c"d/e").st_mode & 0o7777), (4321, 0o2755));
        put(c"plain", b"");
        eq(stat(c"plain").st_gid, NOBODY);
    });
}

case!(group_decides_before_others: openat, access; root; disk);
fn group_decides_before_others() {
    put(c"f", b"");
    ok(sys!(fchownat, AT_FDCWD, c"f", 0, NOBODY, 0));
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o606));
    unprivileged(|| fails(sys!(openat, AT_FDCWD, c"f", O_RDONLY, 0), EACCES));
    ok(sys!(fchownat, AT_FDCWD, c"f", NOBODY, NOBODY, 0));
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o077));
    unprivileged(|| fails(sys!(openat, AT_FDCWD, c"f", O_RDONLY, 0), EACCES));
}

case!(supplementary_groups_count: openat, setgroups; root; disk);
fn supplementary_groups_count() {
    put(c"f", b"x");
    ok(sys!(fchownat, AT_FDCWD, c"f", 0, 4321, 0));
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o040));
    ok(sys!(fchmodat, AT_FDCWD, c".", 0o755));
    in_child(|| {
        ok(sys!(setgroups, 2, &[1u32, 4321]));
        ok(sys!(setresuid, NOBODY, NOBODY, NOBODY));
        eq(content(c"f"), b"x");
        fails(sys!(openat, AT_FDCWD, c"f", O_WRONLY, 0), EACCES);
    });
}

case!(file_system_ids: setfsuid, setfsgid, openat; root; disk);
fn file_system_ids() {
    put(c"f", b"");
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o600));
    ok(sys!(fchmodat, AT_FDCWD, c".", 0o777));
    in_child(|| {
        eq(ok(sys!(setfsuid, NOBODY)), 0);
        eq(ok(sys!(setfsuid, -1)), i64::from(NOBODY));
        fails(sys!(openat, AT_FDCWD, c"f", O_RDONLY, 0), EACCES);
        put(c"mine", b"");
        eq((stat(c"mine").st_uid, ok(sys!(geteuid))), (NOBODY, 0));
        ok(sys!(setfsuid, 0));
        close(open(c"f", O_RDONLY));
    });
}

case!(protected_links: link, openat; root);
fn protected_links() {
    if text(c"/proc/sys/fs/protected_hardlinks").trim() != "1" {
        skip("hard links are not protected here");
    }
    put(c"f", b"");
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o644));
    unprivileged(|| {
        // No second name for what one may not write.
        fails(sys!(link, c"f", c"g"), EPERM);
        put(c"mine", b"");
        ok(sys!(link, c"mine", c"also_mine"));
    });
}

case!(device_nodes: mknodat, mknod; root);
fn device_nodes() {
    let null = (1 << 8) | 3;
    ok(sys!(mknodat, AT_FDCWD, c"null", S_IFCHR | 0o666, null));
    let st = stat(c"null");
    eq((st.st_mode & S_IFMT, st.st_rdev), (S_IFCHR, null as u64));
    ok(sys!(mknod, c"plain", S_IFREG | 0o600, 0));
    ok(sys!(mknod, c"zero_kind", 0o600, 0));
    eq(stat(c"zero_kind").st_mode, S_IFREG | 0o600);
    fails(sys!(mknod, c"dir", S_IFDIR | 0o700, 0), EPERM);
    fails(sys!(mknod, c"link", S_IFLNK | 0o700, 0), EINVAL);
    fails(sys!(mknod, c"plain", S_IFREG | 0o600, 0), EEXIST);
    unprivileged(|| {
        fails(sys!(mknod, c"x", S_IFCHR | 0o666, null), EPERM);
        fails(sys!(mknod, c"x", S_IFBLK | 0o666, null), EPERM);
        ok(sys!(mknod, c"fifo", S_IFIFO | 0o600, 0));
        ok(sys!(mknod, c"file", S_IFREG | 0o600, 0));
    });
}
