//! Commands of fcntl that are rarely used.

use crate::kit::prelude::*;

const F_DUPFD_QUERY: i32 = 1027;
const F_CREATED_QUERY: i32 = 1028;
const F_SETSIG: i32 = 10;
const F_GETOWNER_UIDS: i32 = 17;
const F_GET_RW_HINT: i32 = 1035;
const F_SET_RW_HINT: i32 = 1036;

case!(who_made_the_file: fcntl; disk);
fn who_made_the_file() {
    let made = create(c"f", b"");
    match sys!(fcntl, made, F_CREATED_QUERY) {
        Err(Errno(EINVAL)) => skip("no F_CREATED_QUERY in this kernel"),
        answer => eq(ok(answer), 1),
    }
    eq(ok(sys!(fcntl, open(c"f", O_RDWR | O_CREAT), F_CREATED_QUERY)), 0);
    eq(ok(sys!(fcntl, open(c"f", O_RDONLY), F_CREATED_QUERY)), 0);
    eq(ok(sys!(fcntl, ok_i32(sys!(dup, made)), F_CREATED_QUERY)), 1);
}

case!(the_same_description: fcntl; disk);
fn the_same_description() {
    let fd = create(c"f", b"");
    let dup = ok_i32(sys!(dup, fd));
    match sys!(fcntl, fd, F_DUPFD_QUERY, dup) {
        Err(Errno(EINVAL)) => skip("no F_DUPFD_QUERY in this kernel"),
        answer => eq(ok(answer), 1),
    }
    eq(ok(sys!(fcntl, fd, F_DUPFD_QUERY, open(c"f", O_RDWR))), 0);
    fails(sys!(fcntl, fd, F_DUPFD_QUERY, 999), EBADF);
}

case!(hints_about_writes: fcntl; disk);
fn hints_about_writes() {
    let fd = create(c"f", b"");
    let mut hint = 9u64;
    ok(sys!(fcntl, fd, F_GET_RW_HINT, &mut hint));
    eq(hint, 0);
    for value in 0..=5u64 {
        ok(sys!(fcntl, fd, F_SET_RW_HINT, &value));
        ok(sys!(fcntl, open(c"f", O_RDONLY), F_GET_RW_HINT, &mut hint));
        eq(hint, value);
    }
    fails(sys!(fcntl, fd, F_SET_RW_HINT, &6u64), EINVAL);
    fails(sys!(fcntl, fd, F_SET_RW_HINT, 8), EFAULT);
}

case!(owner_and_its_user: fcntl; disk);
fn owner_and_its_user() {
    let [r, _w] = pipe(0);
    ok(sys!(fcntl, r, F_SETOWN, ok(sys!(getpid))));
    let mut ids = [9u32; 2];
    match sys!(fcntl, r, F_GETOWNER_UIDS, &mut ids) {
        Err(Errno(EINVAL)) => skip("the kernel has no F_GETOWNER_UIDS"),
        answer => done(answer),
    }
    eq(ids, [ok(sys!(getuid)) as u32, ok(sys!(geteuid)) as u32]);
}

case!(commands_that_do_not_exist: fcntl; disk);
fn commands_that_do_not_exist() {
    let fd = create(c"f", b"");
    for command in [12, 13, 14, 99, 1024 + 100, -1] {
        fails(sys!(fcntl, fd, command, 0), EINVAL);
    }
    fails(sys!(fcntl, 999, F_GETFD), EBADF);
    let place = open(c"f", O_PATH);
    fails(sys!(fcntl, place, F_SETFL, 0), EBADF);
    fails(sys!(fcntl, place, F_GETLK, 0), EBADF);
    fails(sys!(fcntl, place, F_GETPIPE_SZ), EBADF);
    ok(sys!(fcntl, place, F_GETFD));
    fails(sys!(fcntl, fd, F_GETPIPE_SZ), EBADF);
    fails(sys!(fcntl, fd, F_SETSIG, 65), EINVAL);
}
