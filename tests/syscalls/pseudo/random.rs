//! getrandom.

use crate::kit::prelude::*;

case!(fills_the_buffer: getrandom);
fn fills_the_buffer() {
    let (mut a, mut b) = ([0u8; 64], [0u8; 64]);
    eq(ok(sys!(getrandom, &mut a, 64, 0)), 64);
    eq(ok(sys!(getrandom, &mut b, 64, 0)), 64);
    check(a != b && a != [0; 64], "different each time");
    let mut big = vec![0u8; 100_000];
    eq(ok(sys!(getrandom, big.as_mut_slice(), big.len(), 0)), 100_000);
    check(big[99_900..].iter().any(|x| *x != 0), "to its end");
    eq(ok(sys!(getrandom, 8, 0, 0)), 0);
}

case!(random_flags: getrandom);
fn random_flags() {
    let mut a = [0u8; 16];
    for flags in [GRND_NONBLOCK, GRND_RANDOM, GRND_NONBLOCK | GRND_RANDOM, 4, 5] {
        eq_of(flags, ok(sys!(getrandom, &mut a, 16, flags)), 16);
    }
    fails(sys!(getrandom, &mut a, 16, 6), EINVAL);
    fails(sys!(getrandom, &mut a, 16, 8), EINVAL);
    fails(sys!(getrandom, 8, 16, 0), EFAULT);
    // Flags are looked at first.
    fails(sys!(getrandom, 8, 16, 8), EINVAL);
}

case!(children_differ: getrandom, fork);
fn children_differ() {
    let both = shared::<[std::sync::atomic::AtomicU64; 2]>();
    let draw = |slot: usize| {
        let mut value = 0u64;
        ok(sys!(getrandom, &mut value, 8, 0));
        both[slot].store(value, std::sync::atomic::Ordering::SeqCst);
    };
    in_child(|| draw(0));
    in_child(|| draw(1));
    check(
        both[0].load(std::sync::atomic::Ordering::SeqCst)
            != both[1].load(std::sync::atomic::Ordering::SeqCst),
        "two",
    );
}

case!(hole_in_the_buffer: getrandom);
fn hole_in_the_buffer() {
    let pages = map(2 * PAGE, RW);
    unmap(pages + PAGE, PAGE);
    // What fits is given.
    let got = ok(sys!(getrandom, pages, 2 * PAGE, 0));
    within("bytes", got, 1, PAGE as i64);
}
