//! mmap and munmap: placement, arguments, which errno wins.

use crate::kit::prelude::*;

const NOREPLACE: i32 = MAP_FIXED_NOREPLACE;

case!(anonymous_is_zero: mmap, munmap);
fn anonymous_is_zero() {
    let p = map(3 * PAGE, RW);
    for i in (0..3 * PAGE).step_by(64) {
        eq(peek(p + i), 0);
    }
    poke(p + 3 * PAGE - 1, 7);
    eq(peek(p + 3 * PAGE - 1), 7);
    unmap(p, 3 * PAGE);
}

case!(zero_length: mmap);
fn zero_length() {
    fails(sys!(mmap, 0, 0, RW, ANON, -1, 0), EINVAL);
}

case!(length_that_overflows: mmap);
fn length_that_overflows() {
    fails(sys!(mmap, 0, u64::MAX, RW, ANON, -1, 0), ENOMEM);
    fails(sys!(mmap, 0, u64::MAX - 4095, RW, ANON, -1, 0), ENOMEM);
    fails(sys!(mmap, 0, 1u64 << 47, PROT_NONE, ANON | MAP_NORESERVE, -1, 0), ENOMEM);
}

case!(length_is_rounded_up: mmap, munmap);
fn length_is_rounded_up() {
    let p = map(1, RW);
    poke(p + PAGE - 1, 1);
    unmap(p, 1);
    faults(|| poke(p, 1), SIGSEGV, 1, p);
}

case!(neither_shared_nor_private: mmap);
fn neither_shared_nor_private() {
    fails(sys!(mmap, 0, PAGE, RW, MAP_ANONYMOUS, -1, 0), EINVAL);
}

case!(shared_and_private_is_shared_validate: mmap);
fn shared_and_private_is_shared_validate() {
    // MAP_SHARED | MAP_PRIVATE is MAP_SHARED_VALIDATE, which does not go with MAP_ANONYMOUS.
    fails(sys!(mmap, 0, PAGE, RW, MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);
}

case!(shared_validate_refuses_unknown_flags: mmap);
fn shared_validate_refuses_unknown_flags() {
    let fd = create(c"f", &[1; PAGE]);
    let p = map_file(fd, 0, PAGE, RW, MAP_SHARED_VALIDATE);
    eq(peek(p), 1);
    fails(sys!(mmap, 0, PAGE, RW, MAP_SHARED_VALIDATE | 1 << 22, fd, 0), EOPNOTSUPP);
    // Without it unknown flags are ignored.
    ok(sys!(mmap, 0, PAGE, RW, MAP_SHARED | 1 << 22, fd, 0));
}

case!(bad_descriptor: mmap);
fn bad_descriptor() {
    fails(sys!(mmap, 0, PAGE, RW, MAP_PRIVATE, -1, 0), EBADF);
    fails(sys!(mmap, 0, PAGE, RW, MAP_PRIVATE, 999, 0), EBADF);
}

case!(descriptor_is_checked_before_length: mmap);
fn descriptor_is_checked_before_length() {
    fails(sys!(mmap, 0, 0, RW, MAP_PRIVATE, 999, 0), EBADF);
}

case!(offset_alignment_comes_first: mmap);
fn offset_alignment_comes_first() {
    fails(sys!(mmap, 0, PAGE, RW, ANON, -1, 1), EINVAL);
    fails(sys!(mmap, 0, PAGE, RW, MAP_PRIVATE, 999, 0x800), EINVAL);
}

case!(anonymous_ignores_the_descriptor: mmap);
fn anonymous_ignores_the_descriptor() {
    let p = ok(sys!(mmap, 0, PAGE, RW, ANON, 999, 4096)) as usize;
    eq(peek(p), 0);
}

case!(offset_plus_length_overflows: mmap);
fn offset_plus_length_overflows() {
    let fd = create(c"f", b"x");
    fails(sys!(mmap, 0, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, u64::MAX - 4095), EOVERFLOW);
}

case!(fixed_replaces: mmap);
fn fixed_replaces() {
    let p = map(3 * PAGE, RW);
    for i in 0..3 {
        poke(p + i * PAGE, 9);
    }
    eq(ok(sys!(mmap, p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0)) as usize, p + PAGE);
    eq([peek(p), peek(p + PAGE), peek(p + 2 * PAGE)], [9, 0, 9]);
}

case!(fixed_wants_a_page_boundary: mmap);
fn fixed_wants_a_page_boundary() {
    let p = map(2 * PAGE, RW);
    fails(sys!(mmap, p + 1, PAGE, RW, ANON | MAP_FIXED, -1, 0), EINVAL);
}

case!(fixed_beyond_user_space: mmap);
fn fixed_beyond_user_space() {
    fails(sys!(mmap, 0x7fff_ffff_f000u64, PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
    fails(sys!(mmap, 0xffff_8000_0000_0000u64, PAGE, RW, ANON | MAP_FIXED, -1, 0), ENOMEM);
}

case!(hint_is_used_when_free: mmap, munmap);
fn hint_is_used_when_free() {
    let p = map(4 * PAGE, RW);
    unmap(p, 4 * PAGE);
    eq(ok(sys!(mmap, p + PAGE, PAGE, RW, ANON, -1, 0)) as usize, p + PAGE);
}

case!(hint_is_rounded_down: mmap, munmap);
fn hint_is_rounded_down() {
    let p = map(4 * PAGE, RW);
    unmap(p, 4 * PAGE);
    eq(ok(sys!(mmap, p + PAGE + 5, PAGE, RW, ANON, -1, 0)) as usize, p + PAGE);
}

case!(hint_in_use_is_no_error: mmap);
fn hint_in_use_is_no_error() {
    let p = map(PAGE, RW);
    let q = ok(sys!(mmap, p, PAGE, RW, ANON, -1, 0)) as usize;
    check(q != p, "a hint never replaces");
}

case!(noreplace_refuses_a_collision: mmap, munmap);
fn noreplace_refuses_a_collision() {
    let p = map(3 * PAGE, RW);
    unmap(p + PAGE, PAGE);
    fails(sys!(mmap, p, PAGE, RW, ANON | NOREPLACE, -1, 0), EEXIST);
    fails(sys!(mmap, p + PAGE, 2 * PAGE, RW, ANON | NOREPLACE, -1, 0), EEXIST);
    eq(ok(sys!(mmap, p + PAGE, PAGE, RW, ANON | NOREPLACE, -1, 0)) as usize, p + PAGE);
}

case!(below_mmap_min_addr: mmap; root);
fn below_mmap_min_addr() {
    unprivileged(|| {
        fails(sys!(mmap, 0, PAGE, RW, ANON | MAP_FIXED, -1, 0), EPERM);
    });
}

case!(map_32bit_is_low: mmap);
fn map_32bit_is_low() {
    let p = ok(sys!(mmap, 0, PAGE, RW, ANON | MAP_32BIT, -1, 0)) as usize;
    check(p < 1 << 31, format_args!("{p:#x} is below 2 GiB"));
}

case!(huge_reservation_costs_nothing: mmap, munmap);
fn huge_reservation_costs_nothing() {
    let length = 1usize << 40;
    let p = ok(sys!(mmap, 0, length, PROT_NONE, ANON | MAP_NORESERVE, -1, 0)) as usize;
    ok(sys!(mprotect, p + length / 2, PAGE, RW));
    poke(p + length / 2, 1);
    faults(|| touch(p), SIGSEGV, 2, p);
    unmap(p, length);
}

case!(many_small_mappings: mmap, munmap);
fn many_small_mappings() {
    let p = map(2000 * PAGE, PROT_NONE);
    for i in (0..2000).step_by(2) {
        ok(sys!(mmap, p + i * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0));
        poke(p + i * PAGE, i as u8);
    }
    for i in (0..2000).step_by(2) {
        eq(peek(p + i * PAGE), i as u8);
    }
    unmap(p, 2000 * PAGE);
}

case!(munmap_arguments: munmap);
fn munmap_arguments() {
    let p = map(PAGE, RW);
    fails(sys!(munmap, p + 1, PAGE), EINVAL);
    fails(sys!(munmap, p, 0), EINVAL);
    fails(sys!(munmap, p, u64::MAX), EINVAL);
    fails(sys!(munmap, 0xffff_8000_0000_0000u64, PAGE), EINVAL);
    fails(sys!(munmap, 0x7fff_ffff_f000u64, 2 * PAGE), EINVAL);
}

case!(munmap_of_a_hole: munmap);
fn munmap_of_a_hole() {
    let p = map(PAGE, RW);
    unmap(p, PAGE);
    ok(sys!(munmap, p, PAGE));
}

case!(munmap_splits: munmap);
fn munmap_splits() {
    let p = map(3 * PAGE, RW);
    poke(p, 1);
    poke(p + 2 * PAGE, 3);
    unmap(p + PAGE, PAGE);
    eq([peek(p), peek(p + 2 * PAGE)], [1, 3]);
    faults(|| poke(p + PAGE, 1), SIGSEGV, 1, p + PAGE);
}

case!(munmap_across_several: munmap, mmap);
fn munmap_across_several() {
    let p = map(6 * PAGE, RW);
    unmap(p + 2 * PAGE, PAGE);
    ok(sys!(mprotect, p + 4 * PAGE, PAGE, PROT_READ));
    unmap(p + PAGE, 4 * PAGE);
    poke(p, 1);
    poke(p + 5 * PAGE, 1);
    for i in 1..5 {
        faults(|| poke(p + i * PAGE, 1), SIGSEGV, 1, p + i * PAGE);
    }
}

case!(address_space_limit: mmap, prlimit64);
fn address_space_limit() {
    in_child(|| {
        let limit = rlimit { rlim_cur: 64 << 20, rlim_max: RLIM_INFINITY };
        ok(sys!(prlimit64, 0, RLIMIT_AS, &limit, 0));
        fails(sys!(mmap, 0, 128 << 20, RW, ANON, -1, 0), ENOMEM);
        let p = map(1 << 20, RW);
        poke(p, 1);
    });
}

case!(populate_makes_resident: mmap, mincore);
fn populate_makes_resident() {
    let p = ok(sys!(mmap, 0, 8 * PAGE, RW, ANON | MAP_POPULATE, -1, 0)) as usize;
    let mut resident = [0u8; 8];
    ok(sys!(mincore, p, 8 * PAGE, &mut resident));
    eq(resident.map(|r| r & 1), [1; 8]);
}
