//! Mappings of files: sharing, truncation, offsets, memfd.

use crate::kit::prelude::*;

case!(shared_writes_reach_the_file: mmap, msync, read; disk);
fn shared_writes_reach_the_file() {
    let fd = create(c"f", &[1; 2 * PAGE]);
    let p = map_file(fd, 0, 2 * PAGE, RW, MAP_SHARED);
    poke(p + 5, 9);
    eq(content(c"f")[5], 9);
    ok(sys!(msync, p, 2 * PAGE, MS_SYNC));
    eq(content(c"f")[5], 9);
}

case!(writes_to_the_file_are_seen: mmap, pwrite64; disk);
fn writes_to_the_file_are_seen() {
    let fd = create(c"f", &[1; PAGE]);
    let shared = map_file(fd, 0, PAGE, PROT_READ, MAP_SHARED);
    let private = map_file(fd, 0, PAGE, PROT_READ, MAP_PRIVATE);
    eq(ok(sys!(pwrite64, fd, b"hello", 5, 10)), 5);
    eq(peek(shared + 10), b'h');
    eq(peek(private + 10), b'h');
}

case!(private_writes_stay_private: mmap; disk);
fn private_writes_stay_private() {
    let fd = create(c"f", &[1; 2 * PAGE]);
    let p = map_file(fd, 0, 2 * PAGE, RW, MAP_PRIVATE);
    let q = map_file(fd, 0, 2 * PAGE, RW, MAP_PRIVATE);
    poke(p, 2);
    eq([peek(q), peek(p + 1)], [1, 1]);
    eq(content(c"f")[0], 1);
    // A page that has been copied no longer follows the file; the others still do.
    ok(sys!(pwrite64, fd, &[7u8; 2], 2, 0));
    ok(sys!(pwrite64, fd, &[7u8; 2], 2, PAGE));
    eq([peek(p), peek(p + 1), peek(p + PAGE)], [2, 1, 7]);
}

case!(offset: mmap; disk);
fn offset() {
    let mut bytes = vec![0u8; 3 * PAGE];
    bytes[2 * PAGE + 1] = 42;
    let fd = create(c"f", &bytes);
    let p = map_file(fd, 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE);
    eq(peek(p + 1), 42);
}

case!(tail_of_the_last_page_is_zero: mmap; disk);
fn tail_of_the_last_page_is_zero() {
    let fd = create(c"f", b"abc");
    let p = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    eq([peek(p + 2), peek(p + 3), peek(p + PAGE - 1)], [b'c', 0, 0]);
    poke(p + 100, 5);
    // Writing there never makes the file longer.
    eq(fstat(fd).st_size, 3);
}

case!(bus_error_behind_the_end: mmap; disk);
fn bus_error_behind_the_end() {
    let fd = create(c"f", b"abc");
    let p = map_file(fd, 0, 2 * PAGE, RW, MAP_SHARED);
    faults(|| touch(p + PAGE), SIGBUS, 2, p + PAGE);
    faults(|| poke(p + PAGE + 8, 1), SIGBUS, 2, p + PAGE + 8);
    let q = map_file(fd, 0, 2 * PAGE, RW, MAP_PRIVATE);
    faults(|| touch(q + PAGE), SIGBUS, 2, q + PAGE);
    faults(|| poke(q + PAGE, 1), SIGBUS, 2, q + PAGE);
}

case!(truncated_under_a_shared_mapping: mmap, ftruncate; disk);
fn truncated_under_a_shared_mapping() {
    let fd = create(c"f", &[3; 2 * PAGE]);
    let p = map_file(fd, 0, 2 * PAGE, RW, MAP_SHARED);
    poke(p + PAGE, 4);
    ok(sys!(ftruncate, fd, 10));
    faults(|| touch(p + PAGE), SIGBUS, 2, p + PAGE);
    eq([peek(p + 9), peek(p + 10)], [3, 0]);
    ok(sys!(ftruncate, fd, 2 * PAGE));
    eq([peek(p + 9), peek(p + 10), peek(p + PAGE)], [3, 0, 0]);
}

case!(truncated_under_a_private_copy: mmap, ftruncate; disk);
fn truncated_under_a_private_copy() {
    let fd = create(c"f", &[3; 2 * PAGE]);
    let p = map_file(fd, 0, 2 * PAGE, RW, MAP_PRIVATE);
    poke(p + PAGE, 4);
    ok(sys!(ftruncate, fd, 0));
    // Truncation takes private copies along.
    faults(|| touch(p + PAGE), SIGBUS, 2, p + PAGE);
}

case!(file_grows_under_a_mapping: mmap, ftruncate; disk);
fn file_grows_under_a_mapping() {
    let fd = create(c"f", b"");
    let p = map_file(fd, 0, 4 * PAGE, RW, MAP_SHARED);
    faults(|| touch(p), SIGBUS, 2, p);
    ok(sys!(ftruncate, fd, 4 * PAGE));
    poke(p + 3 * PAGE, 1);
    eq(content(c"f")[3 * PAGE], 1);
}

case!(kernel_access_behind_the_end_is_efault: mmap, write, read; disk);
fn kernel_access_behind_the_end_is_efault() {
    let fd = create(c"f", &[1; PAGE]);
    let p = map_file(fd, 0, 2 * PAGE, RW, MAP_SHARED);
    let [r, w] = pipe(0);
    fails(sys!(write, w, p + PAGE, 8), EFAULT);
    eq(ok(sys!(write, w, b"12345678", 8)), 8);
    fails(sys!(read, r, p + PAGE, 8), EFAULT);
}

case!(survives_close_and_unlink: mmap, close, unlink; disk);
fn survives_close_and_unlink() {
    let fd = create(c"f", &[6; PAGE]);
    let p = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    close(fd);
    ok(sys!(unlink, c"f"));
    eq(peek(p), 6);
    poke(p, 7);
    eq(peek(p), 7);
}

case!(two_processes_share_a_file: mmap, fork; disk);
fn two_processes_share_a_file() {
    put(c"f", &[0; PAGE]);
    let p = map_file(open(c"f", O_RDWR), 0, PAGE, RW, MAP_SHARED);
    in_child(|| {
        let q = map_file(open(c"f", O_RDWR), 0, PAGE, RW, MAP_SHARED);
        poke(q + 1, 55);
        ok(sys!(munmap, p, PAGE));
    });
    eq(peek(p + 1), 55);
}

case!(objects_that_cannot_be_mapped: mmap);
fn objects_that_cannot_be_mapped() {
    let [r, w] = pipe(0);
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, r, 0), ENODEV);
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, w, 0), EACCES);
    mkdir(c"d");
    let dir = open(c"d", O_RDONLY | O_DIRECTORY);
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, dir, 0), ENODEV);
    let event = ok_i32(sys!(eventfd2, 0, 0));
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_SHARED, event, 0), ENODEV);
    let path = open(c"d", O_PATH);
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, path, 0), EBADF);
}

case!(dev_zero: mmap);
fn dev_zero() {
    let fd = open(c"/dev/zero", O_RDWR);
    let p = map_file(fd, 0, 2 * PAGE, RW, MAP_PRIVATE);
    eq(peek(p), 0);
    poke(p, 1);
    let q = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    in_child(|| poke(q, 8));
    eq(peek(q), 8);
}

case!(memfd_shared_between_mappings: memfd_create, mmap, ftruncate);
fn memfd_shared_between_mappings() {
    let fd = ok_i32(sys!(memfd_create, c"m", 0));
    ok(sys!(ftruncate, fd, 2 * PAGE));
    let p = map_file(fd, 0, 2 * PAGE, RW, MAP_SHARED);
    let q = map_file(fd, PAGE, PAGE, RW, MAP_SHARED);
    poke(p + PAGE, 3);
    eq(peek(q), 3);
    let mut byte = [0u8];
    eq(ok(sys!(pread64, fd, &mut byte, 1, PAGE)), 1);
    eq(byte, [3]);
}

case!(msync_arguments: msync);
fn msync_arguments() {
    let p = map(2 * PAGE, RW);
    ok(sys!(msync, p, 2 * PAGE, MS_ASYNC));
    fails(sys!(msync, p + 1, PAGE, MS_SYNC), EINVAL);
    fails(sys!(msync, p, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
    fails(sys!(msync, p, PAGE, 8), EINVAL);
    unmap(p + PAGE, PAGE);
    fails(sys!(msync, p, 2 * PAGE, MS_SYNC), ENOMEM);
    ok(sys!(msync, p, 0, MS_SYNC));
}

/// Whole file, other parts of it over that, a hole, and memory at the end: what a loader does with a library. Nothing was touched before.
fn library(fd: c_int) -> usize {
    let p = map_file(fd, 0, 64 * PAGE, PROT_READ, MAP_PRIVATE);
    let fixed = MAP_PRIVATE | MAP_FIXED;
    eq(ok(sys!(mmap, p + 8 * PAGE, 20 * PAGE, PROT_READ, fixed, fd, 30 * PAGE)) as usize, p + 8 * PAGE);
    eq(ok(sys!(mmap, p + 30 * PAGE, 20 * PAGE, RW, fixed, fd, 2 * PAGE)) as usize, p + 30 * PAGE);
    unmap(p + 52 * PAGE, 4 * PAGE);
    ok(sys!(mprotect, p + 60 * PAGE, PAGE, PROT_NONE));
    p
}

fn numbered(name: &std::ffi::CStr) -> c_int {
    let pages: Vec<u8> = (0..64).flat_map(|page| vec![page as u8 + 1; PAGE]).collect();
    create(name, &pages)
}

fn check_library(p: usize) {
    eq([0, 8, 27, 28, 30, 49, 50, 63].map(|page| peek(p + page * PAGE)), [1, 31, 50, 29, 3, 22, 51, 64]);
    faults(|| _ = peek(p + 53 * PAGE), SIGSEGV, 1, p + 53 * PAGE);
    faults(|| _ = peek(p + 60 * PAGE), SIGSEGV, 2, p + 60 * PAGE);
    faults(|| poke(p + 8 * PAGE, 1), SIGSEGV, 2, p + 8 * PAGE);
}

case!(segments_over_a_whole_file: mmap, munmap, mprotect; disk);
fn segments_over_a_whole_file() {
    let p = library(numbered(c"f"));
    check_library(p);
    poke(p + 30 * PAGE, 99);
    eq([peek(p + 30 * PAGE), peek(p + 2 * PAGE)], [99, 3]);
}

case!(a_child_touches_segments_first: mmap, fork; disk);
fn a_child_touches_segments_first() {
    let p = library(numbered(c"f"));
    fork(|| {
        check_library(p);
        poke(p + 30 * PAGE, 99);
    })
    .succeeds();
    check_library(p);
}

case!(the_kernel_touches_segments_first: mmap, read, write; disk);
fn the_kernel_touches_segments_first() {
    let p = library(numbered(c"f"));
    let out = create(c"out", b"");
    eq(write_from(out, p + 8 * PAGE), 31);
    fails(sys!(write, out, p + 53 * PAGE, 1), EFAULT);
    fails(sys!(write, out, p + 60 * PAGE, 1), EFAULT);
    ok(sys!(lseek, out, 0, libc::SEEK_SET));
    ok(sys!(read, out, p + 30 * PAGE + 1, 1));
    eq([peek(p + 30 * PAGE), peek(p + 30 * PAGE + 1)], [3, 31]);
    check_library(p);
}

/// Writes one byte from memory and reads it back.
fn write_from(fd: c_int, addr: usize) -> u8 {
    ok(sys!(write, fd, addr, 1));
    let mut byte = [0u8];
    ok(sys!(pread64, fd, &mut byte, 1, 0));
    byte[0]
}

case!(many_places_of_a_private_mapping_are_written: mmap; disk);
fn many_places_of_a_private_mapping_are_written() {
    let fd = numbered(c"f");
    let p = map_file(fd, 0, 64 * PAGE, RW, MAP_PRIVATE);
    for i in 0..32 {
        poke(p + (i * 27 % 64) * PAGE + 5, 200);
    }
    for page in 0..64 {
        let written = (0..32).any(|i| i * 27 % 64 == page);
        eq(peek(p + page * PAGE + 5), if written { 200 } else { page as u8 + 1 });
        eq(peek(p + page * PAGE), page as u8 + 1);
    }
    let mut byte = [0u8];
    ok(sys!(pread64, fd, &mut byte, 1, 5));
    eq(byte[0], 1);
}
