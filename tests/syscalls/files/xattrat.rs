//! setxattrat, getxattrat, listxattrat, removexattrat.

use crate::kit::prelude::*;

#[repr(C)]
struct Args {
    value: u64,
    size: u32,
    flags: u32,
}

fn args(value: &[u8], flags: u32) -> Args {
    Args { value: value.as_ptr() as u64, size: value.len() as u32, flags }
}

fn file() -> i32 {
    let fd = create(c"f", b"");
    match sys!(setxattrat, AT_FDCWD, c"f", 0, c"user.probe", &args(b"x", 0), 16) {
        Err(Errno(ENOSYS)) => skip("no setxattrat in this kernel"),
        Err(Errno(EOPNOTSUPP)) => skip("the file system has no user attributes"),
        answer => done(answer),
    }
    ok(sys!(removexattrat, AT_FDCWD, c"f", 0, c"user.probe"));
    fd
}

case!(attributes_below_a_directory: setxattrat, getxattrat, listxattrat, removexattrat; disk);
fn attributes_below_a_directory() {
    let fd = file();
    let dir = open(c".", O_PATH);
    ok(sys!(setxattrat, dir, c"f", 0, c"user.a", &args(b"value", 0), 16));
    let mut buf = [0u8; 64];
    let mut to = Args { value: buf.as_mut_ptr() as u64, size: 64, flags: 0 };
    eq(ok(sys!(getxattrat, dir, c"f", 0, c"user.a", &mut to, 16)), 5);
    eq(&buf[..5], b"value");
    let n = ok(sys!(listxattrat, fd, c"", AT_EMPTY_PATH, &mut buf, 64)) as usize;
    check(buf[..n].windows(7).any(|w| w == b"user.a\0"), "listed");
    fails(sys!(setxattrat, dir, c"f", 0, c"user.a", &args(b"v", XATTR_CREATE as u32), 16), EEXIST);
    ok(sys!(setxattrat, fd, 0, AT_EMPTY_PATH, c"user.b", &args(b"b", 0), 16));
    ok(sys!(removexattrat, dir, c"f", 0, c"user.b"));
    fails(sys!(removexattrat, dir, c"f", 0, c"user.b"), ENODATA);
}

case!(xattrat_arguments: setxattrat, getxattrat, listxattrat, removexattrat; disk);
fn xattrat_arguments() {
    file();
    let a = args(b"v", 0);
    fails(sys!(setxattrat, AT_FDCWD, c"f", 0x400, c"user.a", &a, 16), EINVAL);
    fails(sys!(setxattrat, AT_FDCWD, c"f", 0, c"user.a", &a, 8), EINVAL);
    fails(sys!(setxattrat, AT_FDCWD, c"f", 0, c"user.a", &a, 8192), E2BIG);
    fails(sys!(setxattrat, AT_FDCWD, c"f", 0, c"user.a", 8, 16), EFAULT);
    fails(sys!(getxattrat, AT_FDCWD, c"f", 0, c"user.a", &args(b"v", 1), 16), EINVAL);
    fails(sys!(listxattrat, AT_FDCWD, c"f", 0x400, 0, 0), EINVAL);
    fails(sys!(removexattrat, AT_FDCWD, c"f", 0x400, c"user.a"), EINVAL);
    fails(sys!(removexattrat, AT_FDCWD, c"missing", 0, c"user.a"), ENOENT);
    fails(sys!(removexattrat, 999, c"f", 0, c"user.a"), EBADF);
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"l"));
    fails(sys!(setxattrat, AT_FDCWD, c"l", AT_SYMLINK_NOFOLLOW, c"user.a", &a, 16), EPERM);
    ok(sys!(setxattrat, AT_FDCWD, c"l", 0, c"user.a", &a, 16));
    let place = open(c"f", O_PATH);
    fails(sys!(listxattrat, place, c"", AT_EMPTY_PATH, 0, 0), EBADF);
}
