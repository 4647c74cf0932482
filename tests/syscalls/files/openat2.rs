//! openat2: its structure and its rules of resolution.

use crate::kit::prelude::*;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct How {
    flags: u64,
    mode: u64,
    resolve: u64,
}

const NO_XDEV: u64 = 1;
const NO_MAGICLINKS: u64 = 2;
const NO_SYMLINKS: u64 = 4;
const BENEATH: u64 = 8;
const IN_ROOT: u64 = 16;
const CACHED: u64 = 32;

fn open2(dir: i32, path: &std::ffi::CStr, resolve: u64) -> Answer {
    let open = || sys!(openat2, dir, path, &How { flags: O_RDONLY as u64, mode: 0, resolve }, 24);
    // Where something is mounted or renamed on the host at that moment, Linux can't tell whether `..` leads out, and says so:
    // openat2(2) has callers try again.
    let mut answer = open();
    for _ in 0..100 {
        if resolve & (BENEATH | IN_ROOT) == 0 || !answer.is_err_and(|errno| errno.0 == EAGAIN) {
            break;
        }
        answer = open();
    }
    answer
}

case!(opens_and_creates: openat2; disk);
fn opens_and_creates() {
    let how = How { flags: (O_CREAT | O_RDWR | O_CLOEXEC) as u64, mode: 0o640, resolve: 0 };
    let fd = ok_i32(sys!(openat2, AT_FDCWD, c"f", &how, 24));
    eq((fstat(fd).st_mode, ok_i32(sys!(fcntl, fd, F_GETFD))), (S_IFREG | 0o640, FD_CLOEXEC));
    close(ok_i32(open2(AT_FDCWD, c"f", 0)));
}

case!(nothing_unknown_is_accepted: openat2; disk);
fn nothing_unknown_is_accepted() {
    put(c"f", b"");
    let try_with = |flags: u64, mode: u64, resolve: u64| {
        sys!(openat2, AT_FDCWD, c"f", &How { flags, mode, resolve }, 24)
    };
    fails(try_with(1 << 40, 0, 0), EINVAL);
    fails(try_with(0x4000_0000, 0, 0), EINVAL);
    fails(try_with(0, 0o600, 0), EINVAL);
    fails(try_with(O_CREAT as u64, 0o10_000, 0), EINVAL);
    fails(try_with(0, 0, 1 << 30), EINVAL);
    fails(try_with(0, 0, BENEATH | IN_ROOT), EINVAL);
    fails(try_with((O_PATH | O_RDWR) as u64, 0, 0), EINVAL);
    fails(try_with((O_CREAT | O_RDWR) as u64, 0o600, CACHED), EAGAIN);
}

case!(structure_sizes: openat2; disk);
fn structure_sizes() {
    put(c"f", b"");
    let mut big = [0u64; 4];
    fails(sys!(openat2, AT_FDCWD, c"f", &big, 16), EINVAL);
    fails(sys!(openat2, AT_FDCWD, c"f", &big, 0), EINVAL);
    // A longer one is fine as long as the rest is zero.
    close(ok_i32(sys!(openat2, AT_FDCWD, c"f", &big, 32)));
    big[3] = 1;
    fails(sys!(openat2, AT_FDCWD, c"f", &big, 32), E2BIG);
    fails(sys!(openat2, AT_FDCWD, c"f", &big, 1 << 20), E2BIG);
    fails(sys!(openat2, AT_FDCWD, c"f", 8, 24), EFAULT);
}

fn tree() -> i32 {
    mkdir(c"d");
    mkdir(c"d/e");
    put(c"d/f", b"f");
    put(c"outside", b"o");
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"d/inner"));
    ok(sys!(symlinkat, c"../outside", AT_FDCWD, c"d/outer"));
    ok(sys!(symlinkat, c"/f", AT_FDCWD, c"d/absolute"));
    open(c"d", O_PATH)
}

case!(beneath: openat2; disk);
fn beneath() {
    let d = tree();
    close(ok_i32(open2(d, c"f", BENEATH)));
    close(ok_i32(open2(d, c"e/../f", BENEATH)));
    close(ok_i32(open2(d, c"inner", BENEATH)));
    close(ok_i32(open2(d, c".", BENEATH)));
    for path in [c"..", c"../d/f", c"outer", c"absolute", c"/", c"e/../../d/f", c"/proc"] {
        fails(open2(d, path, BENEATH), EXDEV);
    }
    fails(open2(d, c"missing", BENEATH), ENOENT);
}

case!(in_root: openat2; disk);
fn in_root() {
    let d = tree();
    for path in [c"f", c"/f", c"../f", c"/../../f", c"absolute", c"e/../../f"] {
        let fd = ok_i32(open2(d, path, IN_ROOT));
        eq(read(fd, 4), b"f");
        close(fd);
    }
    fails(open2(d, c"outer", IN_ROOT), ENOENT);
    fails(open2(d, c"/proc/self/status", IN_ROOT), ENOENT);
}

case!(without_links: openat2; disk);
fn without_links() {
    let d = tree();
    close(ok_i32(open2(d, c"f", NO_SYMLINKS)));
    fails(open2(d, c"inner", NO_SYMLINKS), ELOOP);
    fails(open2(AT_FDCWD, c"/proc/self/status", NO_SYMLINKS), ELOOP);
    // Magic links are a kind of their own.
    close(ok_i32(open2(d, c"inner", NO_MAGICLINKS)));
    let name = std::ffi::CString::new(format!("/proc/self/fd/{d}")).unwrap_or_default();
    fails(open2(AT_FDCWD, &name, NO_MAGICLINKS), ELOOP);
    let how = How { flags: (O_PATH | O_NOFOLLOW) as u64, mode: 0, resolve: NO_SYMLINKS };
    close(ok_i32(sys!(openat2, d, c"inner", &how, 24)));
}

case!(within_one_mount: openat2);
fn within_one_mount() {
    put(c"f", b"");
    close(ok_i32(open2(AT_FDCWD, c"f", NO_XDEV)));
    if stat(c"/").st_dev != stat(c"/proc").st_dev {
        let root = open(c"/", O_PATH);
        fails(open2(root, c"proc", NO_XDEV), EXDEV);
        fails(open2(root, c"proc/version", NO_XDEV), EXDEV);
    }
}
