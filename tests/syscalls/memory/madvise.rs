//! madvise.

use crate::kit::prelude::*;

case!(dontneed_drops_private_pages: madvise);
fn dontneed_drops_private_pages() {
    let p = map(3 * PAGE, RW);
    for i in 0..3 {
        poke(p + i * PAGE, 1);
    }
    ok(sys!(madvise, p + PAGE, PAGE, MADV_DONTNEED));
    eq([peek(p), peek(p + PAGE), peek(p + 2 * PAGE)], [1, 0, 1]);
}

case!(dontneed_goes_back_to_the_file: madvise);
fn dontneed_goes_back_to_the_file() {
    let fd = create(c"f", &[5; PAGE]);
    let p = map_file(fd, 0, PAGE, RW, MAP_PRIVATE);
    poke(p, 6);
    ok(sys!(madvise, p, PAGE, MADV_DONTNEED));
    eq(peek(p), 5);
}

case!(dontneed_keeps_shared_pages: madvise);
fn dontneed_keeps_shared_pages() {
    let p = ok(sys!(mmap, 0, PAGE, RW, SHARED_ANON, -1, 0)) as usize;
    poke(p, 6);
    ok(sys!(madvise, p, PAGE, MADV_DONTNEED));
    eq(peek(p), 6);
}

case!(dontneed_after_fork_is_for_one: madvise, fork);
fn dontneed_after_fork_is_for_one() {
    let p = map(PAGE, RW);
    poke(p, 1);
    in_child(|| {
        ok(sys!(madvise, p, PAGE, MADV_DONTNEED));
        eq(peek(p), 0);
    });
    eq(peek(p), 1);
}

case!(remove_punches_shared_memory: madvise);
fn remove_punches_shared_memory() {
    let fd = ok_i32(sys!(memfd_create, c"m", 0));
    ok(sys!(ftruncate, fd, 2 * PAGE));
    let p = map_file(fd, 0, 2 * PAGE, RW, MAP_SHARED);
    poke(p, 6);
    poke(p + PAGE, 7);
    ok(sys!(madvise, p, PAGE, MADV_REMOVE));
    eq([peek(p), peek(p + PAGE)], [0, 7]);
    let q = map(PAGE, RW);
    fails(sys!(madvise, q, PAGE, MADV_REMOVE), EINVAL);
}

case!(arguments: madvise);
fn arguments() {
    let p = map(3 * PAGE, RW);
    fails(sys!(madvise, p + 1, PAGE, MADV_NORMAL), EINVAL);
    fails(sys!(madvise, p, PAGE, 1234), EINVAL);
    fails(sys!(madvise, p, u64::MAX - 4095, MADV_NORMAL), EINVAL);
    ok(sys!(madvise, p, 0, MADV_NORMAL));
    ok(sys!(madvise, p, 1, MADV_WILLNEED));
    unmap(p + PAGE, PAGE);
    // Holes are reported, the rest is done all the same.
    poke(p + 2 * PAGE, 1);
    fails(sys!(madvise, p, 3 * PAGE, MADV_DONTNEED), ENOMEM);
    eq(peek(p + 2 * PAGE), 0);
}

case!(hints_succeed: madvise);
fn hints_succeed() {
    let p = map(4 * PAGE, RW);
    poke(p, 3);
    for advice in
        [MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_COLD, MADV_DONTDUMP, MADV_DODUMP]
    {
        ok(sys!(madvise, p, 4 * PAGE, advice));
        eq(peek(p), 3);
    }
}

case!(free_keeps_what_is_written_after: madvise);
fn free_keeps_what_is_written_after() {
    let p = map(PAGE, RW);
    poke(p, 1);
    ok(sys!(madvise, p, PAGE, MADV_FREE));
    poke(p, 2);
    eq(peek(p), 2);
    let fd = create(c"f", &[1; PAGE]);
    let q = map_file(fd, 0, PAGE, RW, MAP_SHARED);
    fails(sys!(madvise, q, PAGE, MADV_FREE), EINVAL);
}

case!(wipeonfork_is_for_private_anonymous: madvise);
fn wipeonfork_is_for_private_anonymous() {
    let p = ok(sys!(mmap, 0, PAGE, RW, SHARED_ANON, -1, 0)) as usize;
    fails(sys!(madvise, p, PAGE, MADV_WIPEONFORK), EINVAL);
}

case!(populate: madvise, mincore);
fn populate() {
    let p = map(4 * PAGE, RW);
    ok(sys!(madvise, p, 4 * PAGE, MADV_POPULATE_WRITE));
    let mut resident = [0u8; 4];
    ok(sys!(mincore, p, 4 * PAGE, &mut resident));
    eq(resident.map(|r| r & 1), [1; 4]);
    ok(sys!(mprotect, p, PAGE, PROT_READ));
    fails(sys!(madvise, p, PAGE, MADV_POPULATE_WRITE), EINVAL);
    ok(sys!(madvise, p, PAGE, MADV_POPULATE_READ));
}
