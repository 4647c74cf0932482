//! mremap.

use crate::kit::prelude::*;

const MAYMOVE: i32 = MREMAP_MAYMOVE;
const FIXED: i32 = MREMAP_FIXED;
const DONTUNMAP: i32 = MREMAP_DONTUNMAP;

case!(shrinks_in_place: mremap);
fn shrinks_in_place() {
    let p = map(4 * PAGE, RW);
    poke(p, 1);
    eq(ok(sys!(mremap, p, 4 * PAGE, PAGE, 0)) as usize, p);
    eq(peek(p), 1);
    faults(|| touch(p + PAGE), SIGSEGV, 1, p + PAGE);
}

case!(grows_into_a_hole: mremap, munmap);
fn grows_into_a_hole() {
    let p = map(4 * PAGE, RW);
    unmap(p + PAGE, 3 * PAGE);
    poke(p, 1);
    eq(ok(sys!(mremap, p, PAGE, 3 * PAGE, 0)) as usize, p);
    eq(peek(p), 1);
    eq(peek(p + 2 * PAGE), 0);
    poke(p + 3 * PAGE - 1, 1);
}

case!(will_not_move_unasked: mremap);
fn will_not_move_unasked() {
    let p = map(2 * PAGE, RW);
    ok(sys!(mprotect, p + PAGE, PAGE, PROT_READ));
    fails(sys!(mremap, p, PAGE, 3 * PAGE, 0), ENOMEM);
}

case!(moves_with_content: mremap);
fn moves_with_content() {
    let p = map(2 * PAGE, RW);
    poke(p, 1);
    ok(sys!(mprotect, p + PAGE, PAGE, PROT_READ));
    let q = ok(sys!(mremap, p, PAGE, 3 * PAGE, MAYMOVE)) as usize;
    check(q != p, "it had to move");
    eq(peek(q), 1);
    poke(q + 3 * PAGE - 1, 1);
    faults(|| touch(p), SIGSEGV, 1, p);
}

case!(fixed_replaces_the_target: mremap);
fn fixed_replaces_the_target() {
    let p = map(PAGE, RW);
    let q = map(3 * PAGE, RW);
    poke(p, 1);
    poke(q + PAGE, 9);
    poke(q + 2 * PAGE, 8);
    eq(ok(sys!(mremap, p, PAGE, PAGE, MAYMOVE | FIXED, q + PAGE)) as usize, q + PAGE);
    eq([peek(q), peek(q + PAGE), peek(q + 2 * PAGE)], [0, 1, 8]);
    faults(|| touch(p), SIGSEGV, 1, p);
}

case!(fixed_arguments: mremap);
fn fixed_arguments() {
    let p = map(4 * PAGE, RW);
    fails(sys!(mremap, p, PAGE, PAGE, FIXED, p + 2 * PAGE), EINVAL);
    fails(sys!(mremap, p, PAGE, PAGE, MAYMOVE | FIXED, p + 2 * PAGE + 1), EINVAL);
    // Old and new may not overlap.
    fails(sys!(mremap, p, 2 * PAGE, 2 * PAGE, MAYMOVE | FIXED, p + PAGE), EINVAL);
    fails(sys!(mremap, p, PAGE, PAGE, MAYMOVE | FIXED, 0x7fff_ffff_f000u64), EINVAL);
}

case!(arguments: mremap);
fn arguments() {
    let p = map(2 * PAGE, RW);
    fails(sys!(mremap, p + 1, PAGE, PAGE, 0), EINVAL);
    fails(sys!(mremap, p, PAGE, 0, 0), EINVAL);
    fails(sys!(mremap, p, PAGE, 2 * PAGE, 0x80), EINVAL);
    unmap(p, 2 * PAGE);
    fails(sys!(mremap, p, PAGE, 2 * PAGE, MAYMOVE), EFAULT);
}

case!(more_than_the_mapping: mremap);
fn more_than_the_mapping() {
    let p = map(4 * PAGE, RW);
    unmap(p + PAGE, 3 * PAGE);
    fails(sys!(mremap, p, 2 * PAGE, 3 * PAGE, MAYMOVE), EFAULT);
}

case!(old_size_zero_duplicates_shared: mremap);
fn old_size_zero_duplicates_shared() {
    let p = ok(sys!(mmap, 0, PAGE, RW, SHARED_ANON, -1, 0)) as usize;
    let q = ok(sys!(mremap, p, 0, PAGE, MAYMOVE)) as usize;
    check(p != q, "a second mapping");
    poke(p, 4);
    eq(peek(q), 4);
    // A private one has nothing to share.
    let r = map(PAGE, RW);
    fails(sys!(mremap, r, 0, PAGE, MAYMOVE), EINVAL);
}

case!(dontunmap_leaves_zeroes: mremap);
fn dontunmap_leaves_zeroes() {
    let p = map(2 * PAGE, RW);
    poke(p, 1);
    let q = ok(sys!(mremap, p, 2 * PAGE, 2 * PAGE, MAYMOVE | DONTUNMAP, 0)) as usize;
    check(p != q, "moved");
    eq(peek(q), 1);
    eq(peek(p), 0);
    fails(sys!(mremap, p, 2 * PAGE, PAGE, MAYMOVE | DONTUNMAP, 0), EINVAL);
    fails(sys!(mremap, p, 2 * PAGE, 2 * PAGE, DONTUNMAP, 0), EINVAL);
}

case!(part_of_a_mapping: mremap);
fn part_of_a_mapping() {
    let p = map(4 * PAGE, RW);
    for i in 0..4 {
        poke(p + i * PAGE, i as u8 + 1);
    }
    let q = ok(sys!(mremap, p + PAGE, PAGE, 2 * PAGE, MAYMOVE)) as usize;
    eq([peek(q), peek(q + PAGE)], [2, 0]);
    eq([peek(p), peek(p + 2 * PAGE), peek(p + 3 * PAGE)], [1, 3, 4]);
    faults(|| touch(p + PAGE), SIGSEGV, 1, p + PAGE);
}

case!(file_mapping_keeps_its_offset: mremap, mmap);
fn file_mapping_keeps_its_offset() {
    let mut bytes = vec![0u8; 4 * PAGE];
    for i in 0..4 {
        bytes[i * PAGE] = i as u8 + 10;
    }
    let fd = create(c"f", &bytes);
    let p = map_file(fd, PAGE, PAGE, RW, MAP_SHARED);
    let q = ok(sys!(mremap, p, PAGE, 3 * PAGE, MAYMOVE)) as usize;
    eq([peek(q), peek(q + PAGE), peek(q + 2 * PAGE)], [11, 12, 13]);
    poke(q + PAGE, 77);
    eq(content(c"f")[2 * PAGE], 77);
}

case!(moved_mapping_survives_fork: mremap, fork);
fn moved_mapping_survives_fork() {
    let p = map(PAGE, RW);
    poke(p, 1);
    let target = map(PAGE, PROT_NONE);
    let q = ok(sys!(mremap, p, PAGE, PAGE, MAYMOVE | FIXED, target)) as usize;
    in_child(|| {
        eq(peek(q), 1);
        poke(q, 2);
    });
    eq(peek(q), 1);
}
