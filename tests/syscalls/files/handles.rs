//! name_to_handle_at, open_by_handle_at.

use crate::kit::prelude::*;

const FOLLOW: i32 = 0x400;

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; 128],
}

fn try_handle(dir: i32, path: &std::ffi::CStr, flags: i32) -> Result<(Handle, i32), Errno> {
    let mut handle = Handle { bytes: 128, kind: 0, data: [0; 128] };
    let mut mount = 0i32;
    sys!(name_to_handle_at, dir, path, &mut handle, &mut mount, flags).map(|_| (handle, mount))
}

#[track_caller]
fn handle(path: &std::ffi::CStr) -> Handle {
    match try_handle(AT_FDCWD, path, 0) {
        Ok((handle, _)) => handle,
        Err(Errno(EOPNOTSUPP)) => skip("the file system has no handles"),
        Err(e) => fail(format_args!("{e:?}")),
    }
}

fn open_handle(handle: &Handle, flags: i32) -> Answer {
    let here = open(c".", O_RDONLY);
    let answer = sys!(open_by_handle_at, here, handle, flags);
    close(here);
    answer
}

case!(a_handle_opens_its_file: name_to_handle_at, open_by_handle_at; root; disk);
fn a_handle_opens_its_file() {
    put(c"f", b"x");
    let h = handle(c"f");
    let fd = ok_i32(open_handle(&h, O_RDWR | O_CLOEXEC));
    eq(read(fd, 4), b"x");
    eq(ok_i32(sys!(fcntl, fd, F_GETFD)), FD_CLOEXEC);
    eq(fstat(fd).st_ino, stat(c"f").st_ino);
    // The same file has one handle, whatever its name.
    ok(sys!(linkat, AT_FDCWD, c"f", AT_FDCWD, c"g", 0));
    eq(handle(c"g").data, h.data);
    put(c"other", b"");
    check(handle(c"other").data != h.data, "others have others");
    ok(sys!(renameat2, AT_FDCWD, c"f", AT_FDCWD, c"renamed", 0));
    close(ok_i32(open_handle(&h, O_RDONLY)));
}

case!(a_handle_of_a_directory: name_to_handle_at, open_by_handle_at; root; disk);
fn a_handle_of_a_directory() {
    mkdir(c"d");
    put(c"d/f", b"x");
    let h = handle(c"d");
    let fd = ok_i32(open_handle(&h, O_RDONLY | O_DIRECTORY));
    close(ok_i32(sys!(openat, fd, c"f", O_RDONLY, 0)));
    let place = ok_i32(open_handle(&h, O_PATH));
    eq(fstat(place).st_ino, stat(c"d").st_ino);
    fails(open_handle(&h, O_RDWR), EISDIR);
    fails(open_handle(&handle(c"d/f"), O_RDONLY | O_DIRECTORY), ENOTDIR);
}

case!(a_handle_of_what_is_gone_is_stale: open_by_handle_at, unlinkat; root; disk);
fn a_handle_of_what_is_gone_is_stale() {
    put(c"f", b"x");
    let h = handle(c"f");
    ok(sys!(unlinkat, AT_FDCWD, c"f", 0));
    fails(open_handle(&h, O_RDONLY), ESTALE);
    mkdir(c"d");
    let h = handle(c"d");
    ok(sys!(unlinkat, AT_FDCWD, c"d", AT_REMOVEDIR));
    fails(open_handle(&h, O_RDONLY), ESTALE);
}

case!(the_room_for_a_handle: name_to_handle_at; disk);
fn the_room_for_a_handle() {
    put(c"f", b"");
    handle(c"f");
    let mut small = Handle { bytes: 0, kind: 0, data: [0; 128] };
    let mut mount = 0i32;
    fails(sys!(name_to_handle_at, AT_FDCWD, c"f", &mut small, &mut mount, 0), EOVERFLOW);
    check(small.bytes > 0 && small.bytes <= 128, "how much it takes");
    check(mount != 0, "the mount is told all the same");
    ok(sys!(name_to_handle_at, AT_FDCWD, c"f", &mut small, &mut mount, 0));
    let mut large = Handle { bytes: 129, ..small };
    fails(sys!(name_to_handle_at, AT_FDCWD, c"f", &mut large, &mut mount, 0), EINVAL);
}

case!(handles_and_links: name_to_handle_at; disk);
fn handles_and_links() {
    put(c"f", b"");
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"l"));
    let h = handle(c"f");
    check(handle(c"l").data != h.data, "the link itself");
    eq(try_handle(AT_FDCWD, c"l", FOLLOW).map(|(h, _)| h.data), Ok(h.data));
    let fd = open(c"f", O_PATH);
    eq(try_handle(fd, c"", AT_EMPTY_PATH).map(|(h, _)| h.data), Ok(h.data));
    eq(try_handle(fd, c"", 0), Err(Errno(ENOENT)));
}

case!(handle_errors: name_to_handle_at, open_by_handle_at; root; disk);
fn handle_errors() {
    put(c"f", b"");
    let h = handle(c"f");
    eq(try_handle(AT_FDCWD, c"missing", 0), Err(Errno(ENOENT)));
    eq(try_handle(999, c"f", 0), Err(Errno(EBADF)));
    eq(try_handle(AT_FDCWD, c"f", 0x10), Err(Errno(EINVAL)));
    fails(sys!(name_to_handle_at, AT_FDCWD, c"f", 8, &mut 0i32, 0), EFAULT);
    fails(sys!(open_by_handle_at, 999, &h, O_RDONLY), EBADF);
    fails(sys!(open_by_handle_at, open(c".", O_PATH), &h, O_RDONLY), EBADF);
    fails(sys!(open_by_handle_at, AT_FDCWD, 8, O_RDONLY), EFAULT);
    fails(sys!(open_by_handle_at, AT_FDCWD, &Handle { bytes: 0, ..h }, O_RDONLY), EINVAL);
    fails(sys!(open_by_handle_at, AT_FDCWD, &Handle { bytes: 200, ..h }, O_RDONLY), EINVAL);
    fails(sys!(open_by_handle_at, AT_FDCWD, &Handle { kind: -1, ..h }, O_RDONLY), EINVAL);
    unprivileged(|| fails(open_handle(&h, O_RDONLY), EPERM));
    eq(try_handle(AT_FDCWD, c"/proc/version", 0), Err(Errno(EOPNOTSUPP)));
}
