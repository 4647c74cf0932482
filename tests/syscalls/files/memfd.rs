//! memfd_create and seals.

use crate::kit::prelude::*;

const SEAL: i32 = F_SEAL_SEAL;
const SHRINK: i32 = F_SEAL_SHRINK;
const GROW: i32 = F_SEAL_GROW;
const WRITE: i32 = F_SEAL_WRITE;

fn sealable(name: &std::ffi::CStr) -> i32 {
    ok_i32(sys!(memfd_create, name, MFD_ALLOW_SEALING | MFD_CLOEXEC))
}

fn seal(fd: i32, seals: i32) -> Answer {
    sys!(fcntl, fd, F_ADD_SEALS, seals)
}

case!(a_file_without_a_place: memfd_create, read, write, fstat);
fn a_file_without_a_place() {
    let fd = ok_i32(sys!(memfd_create, c"name", 0));
    write_all(fd, b"hello");
    ok(sys!(lseek, fd, 0, SEEK_SET));
    eq(read(fd, 10), b"hello");
    let st = fstat(fd);
    eq((st.st_mode, st.st_size, st.st_nlink), (S_IFREG | 0o777, 5, 0));
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    eq(link.display().to_string(), "/memfd:name (deleted)");
    eq(ok(sys!(fcntl, fd, F_GETFD)), 0);
    eq(ok_i32(sys!(fcntl, fd, F_GETFL)) & O_ACCMODE, O_RDWR);
}

case!(creation_errors: memfd_create);
fn creation_errors() {
    fails(sys!(memfd_create, c"x", 0x4000), EINVAL);
    fails(sys!(memfd_create, 8, 0), EFAULT);
    let long = std::ffi::CString::new(vec![b'a'; 250]).unwrap_or_default();
    fails(sys!(memfd_create, long.as_c_str(), 0), EINVAL);
    let longest = std::ffi::CString::new(vec![b'a'; 249]).unwrap_or_default();
    ok(sys!(memfd_create, longest.as_c_str(), 0));
    ok(sys!(memfd_create, c"", 0));
}

case!(sealed_from_the_start: memfd_create, fcntl);
fn sealed_from_the_start() {
    let fd = ok_i32(sys!(memfd_create, c"x", 0));
    eq(ok_i32(sys!(fcntl, fd, F_GET_SEALS)), SEAL);
    fails(seal(fd, WRITE), EPERM);
    let fd = sealable(c"x");
    eq(ok(sys!(fcntl, fd, F_GET_SEALS)), 0);
    let [r, _w] = pipe(0);
    fails(sys!(fcntl, r, F_GET_SEALS), EINVAL);
    fails(sys!(fcntl, r, F_ADD_SEALS, 0), EPERM);
    // A named file of the same file system takes no more seals either.
    needs_tmpfs();
    eq(ok_i32(sys!(fcntl, create(c"f", b""), F_GET_SEALS)), SEAL);
}

case!(size_seals: fcntl, ftruncate, write, fallocate);
fn size_seals() {
    let fd = sealable(c"x");
    write_all(fd, b"12345678");
    ok(seal(fd, SHRINK));
    fails(sys!(ftruncate, fd, 4), EPERM);
    ok(sys!(ftruncate, fd, 10));
    ok(seal(fd, GROW));
    fails(sys!(ftruncate, fd, 11), EPERM);
    ok(sys!(ftruncate, fd, 10));
    fails(sys!(pwrite64, fd, c"x", 1, 10), EPERM);
    // What fits below the end is written.
    eq(ok(sys!(pwrite64, fd, c"abcd", 4, 0)), 4);
    fails(sys!(fallocate, fd, 0, 0, 20), EPERM);
    eq(ok_i32(sys!(fcntl, fd, F_GET_SEALS)), SHRINK | GROW);
}

case!(write_seal: fcntl, write, mmap, fallocate);
fn write_seal() {
    let fd = sealable(c"x");
    write_all(fd, &[1; 5000]);
    ok(seal(fd, WRITE));
    fails(sys!(pwrite64, fd, c"x", 1, 0), EPERM);
    fails(sys!(mmap, 0, PAGE, RW, MAP_SHARED, fd, 0), EPERM);
    fails(sys!(fallocate, fd, 3, 0, PAGE), EPERM);
    // Reading, and private writing, go on.
    let shared = map_file(fd, 0, PAGE, PROT_READ, MAP_SHARED);
    fails(sys!(mprotect, shared, PAGE, RW), EACCES);
    let private = map_file(fd, 0, PAGE, RW, MAP_PRIVATE);
    poke(private, 9);
    eq(peek(shared), 1);
    // The size is another matter.
    ok(sys!(ftruncate, fd, 100));
}

case!(write_seal_and_mappings: fcntl, mmap);
fn write_seal_and_mappings() {
    let fd = sealable(c"x");
    ok(sys!(ftruncate, fd, PAGE));
    let at = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    fails(seal(fd, WRITE), EBUSY);
    // One that could be made writable counts as well.
    let other = sealable(c"y");
    ok(sys!(ftruncate, other, PAGE));
    let read_only = map_file(other, 0, PAGE, PROT_READ, MAP_SHARED);
    fails(seal(other, WRITE), EBUSY);
    unmap(read_only, PAGE);
    ok(seal(other, WRITE));
    unmap(at, PAGE);
    ok(seal(fd, WRITE));
}

case!(future_write_seal: fcntl, mmap, write);
fn future_write_seal() {
    let fd = sealable(c"x");
    ok(sys!(ftruncate, fd, PAGE));
    let at = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    ok(seal(fd, 0x10));
    poke(at, 5);
    eq(peek(at), 5);
    fails(sys!(pwrite64, fd, c"x", 1, 0), EPERM);
    fails(sys!(mmap, 0, PAGE, RW, MAP_SHARED, fd, 0), EPERM);
}

case!(no_more_seals: fcntl);
fn no_more_seals() {
    let fd = sealable(c"x");
    ok(seal(fd, GROW));
    ok(seal(fd, SEAL));
    fails(seal(fd, SHRINK), EPERM);
    // Not even one that is there.
    fails(seal(fd, GROW), EPERM);
    let fd = sealable(c"y");
    fails(seal(fd, 0x1000), EINVAL);
    let name = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    let reader = open(&name, O_RDONLY);
    fails(seal(reader, GROW), EPERM);
    eq(ok(sys!(fcntl, reader, F_GET_SEALS)), 0);
}

case!(exec_seal: memfd_create, fcntl, fchmod, execveat);
fn exec_seal() {
    let fd = ok_i32(sys!(memfd_create, c"x", MFD_CLOEXEC | 0x8));
    eq(fstat(fd).st_mode & 0o777, 0o666);
    fails(sys!(fchmod, fd, 0o777), EPERM);
    ok(sys!(fchmod, fd, 0o600));
    eq(ok(sys!(fcntl, fd, F_GET_SEALS)), 0x20);
    let argv = pointers(&[c"x"]);
    fails(sys!(execveat, fd, c"", argv.as_slice(), 0, AT_EMPTY_PATH), EACCES);
    fails(sys!(memfd_create, c"x", 0x18), EINVAL);
}

case!(runs_a_program: memfd_create, execveat);
fn runs_a_program() {
    let fd = ok_i32(sys!(memfd_create, c"x", MFD_CLOEXEC));
    write_all(fd, &content(program()));
    let argv = pointers(&[c"cases", c"probe", c"mask"]);
    let null = open(c"/dev/null", O_WRONLY);
    // Open for writing it can't run.
    fails(sys!(execveat, fd, c"", argv.as_slice(), 0, AT_EMPTY_PATH), ETXTBSY);
    let name = std::ffi::CString::new(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    let reader = open(&name, O_RDONLY | O_CLOEXEC);
    close(fd);
    fork(|| {
        ok(sys!(dup3, null, 1, 0));
        ok(sys!(execveat, reader, c"", argv.as_slice(), 0, AT_EMPTY_PATH));
    })
    .succeeds();
}

case!(lives_as_long_as_a_mapping: memfd_create, mmap, close);
fn lives_as_long_as_a_mapping() {
    let fd = sealable(c"x");
    ok(sys!(ftruncate, fd, 2 * PAGE));
    let at = map_file(fd, 0, 2 * PAGE, RW, MAP_SHARED);
    close(fd);
    poke(at + PAGE, 3);
    in_child(|| {
        eq(peek(at + PAGE), 3);
        poke(at, 4);
    });
    eq(peek(at), 4);
}

case!(shrinking_under_a_mapping: ftruncate, mmap);
fn shrinking_under_a_mapping() {
    let fd = sealable(c"x");
    ok(sys!(ftruncate, fd, 2 * PAGE));
    let at = map_file(fd, 0, 2 * PAGE, RW, MAP_SHARED);
    poke(at + PAGE, 1);
    poke(at + 200, 1);
    ok(sys!(ftruncate, fd, 100));
    // The rest of the page is wiped, the page behind it gone.
    eq(peek(at + 200), 0);
    faults(|| touch(at + PAGE), SIGBUS, 2, at + PAGE);
    ok(sys!(ftruncate, fd, 2 * PAGE));
    eq(peek(at + PAGE), 0);
}
