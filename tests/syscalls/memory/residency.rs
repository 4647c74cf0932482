//! mincore and the mlock family.

use crate::kit::prelude::*;

case!(mincore_of_touched_pages: mincore);
fn mincore_of_touched_pages() {
    let p = map(3 * PAGE, RW);
    poke(p, 1);
    poke(p + 2 * PAGE, 1);
    let mut resident = [0xffu8; 4];
    ok(sys!(mincore, p, 3 * PAGE, &mut resident));
    eq([resident[0] & 1, resident[2] & 1], [1, 1]);
    eq_of("the byte behind", resident[3], 0xff);
}

case!(mincore_arguments: mincore);
fn mincore_arguments() {
    let p = map(2 * PAGE, RW);
    let mut resident = [0u8; 4];
    fails(sys!(mincore, p + 1, PAGE, &mut resident), EINVAL);
    fails(sys!(mincore, p, PAGE, 8), EFAULT);
    ok(sys!(mincore, p, 0, 8));
    unmap(p + PAGE, PAGE);
    fails(sys!(mincore, p, 2 * PAGE, &mut resident), ENOMEM);
    fails(sys!(mincore, p, u64::MAX - 4095, &mut resident), ENOMEM);
}

case!(mlock_makes_resident: mlock, munlock, mincore);
fn mlock_makes_resident() {
    let p = map(4 * PAGE, RW);
    ok(sys!(mlock, p + 1, 3 * PAGE));
    let mut resident = [0u8; 4];
    ok(sys!(mincore, p, 4 * PAGE, &mut resident));
    eq(resident.map(|r| r & 1), [1; 4]);
    ok(sys!(munlock, p, 4 * PAGE));
}

case!(mlock_of_holes: mlock, munlock);
fn mlock_of_holes() {
    let p = map(3 * PAGE, RW);
    unmap(p + PAGE, PAGE);
    fails(sys!(mlock, p, 3 * PAGE), ENOMEM);
    fails(sys!(munlock, p + PAGE, PAGE), ENOMEM);
    ok(sys!(mlock, p, 0));
    // The limit is looked at first.
    let mut limit = rlimit { rlim_cur: 0, rlim_max: 0 };
    ok(sys!(prlimit64, 0, RLIMIT_MEMLOCK, 0, &mut limit));
    let limited = !is_root() && limit.rlim_cur != RLIM_INFINITY;
    fails(sys!(mlock, p, u64::MAX - 2 * PAGE as u64), if limited { ENOMEM } else { EINVAL });
    // Rounded up to whole pages this is zero.
    ok(sys!(mlock, p, u64::MAX));
}

case!(mlock_limit: mlock, mlockall, prlimit64, mmap);
fn mlock_limit() {
    unprivileged(|| {
        let p = map(8 * PAGE, RW);
        let limit = rlimit { rlim_cur: 2 * PAGE as u64, rlim_max: 2 * PAGE as u64 };
        ok(sys!(prlimit64, 0, RLIMIT_MEMLOCK, &limit, 0));
        fails(sys!(mlock, p, 8 * PAGE), ENOMEM);
        ok(sys!(mlock, p, PAGE));
        fails(sys!(mlockall, MCL_CURRENT), ENOMEM);
        fails(sys!(mmap, 0, 8 * PAGE, RW, ANON | MAP_LOCKED, -1, 0), EAGAIN);
        let none = rlimit { rlim_cur: 0, rlim_max: 0 };
        ok(sys!(prlimit64, 0, RLIMIT_MEMLOCK, &none, 0));
        fails(sys!(mlock, p, PAGE), EPERM);
        fails(sys!(mlockall, MCL_CURRENT), EPERM);
        fails(sys!(mmap, 0, PAGE, RW, ANON | MAP_LOCKED, -1, 0), EPERM);
    });
}

case!(mlock2_flags: mlock2);
fn mlock2_flags() {
    let p = map(PAGE, RW);
    ok(sys!(mlock2, p, PAGE, MLOCK_ONFAULT));
    fails(sys!(mlock2, p, PAGE, 2), EINVAL);
}

case!(mlockall_arguments: mlockall, munlockall);
fn mlockall_arguments() {
    fails(sys!(mlockall, 0), EINVAL);
    fails(sys!(mlockall, 8), EINVAL);
    fails(sys!(mlockall, MCL_ONFAULT), EINVAL);
    ok(sys!(munlockall));
}

case!(locked_pages_are_not_invalidated: mlock, msync, madvise);
fn locked_pages_are_not_invalidated() {
    let p = map(PAGE, RW);
    ok(sys!(mlock, p, PAGE));
    fails(sys!(msync, p, PAGE, MS_INVALIDATE), EBUSY);
    fails(sys!(madvise, p, PAGE, MADV_DONTNEED), EINVAL);
    ok(sys!(munlock, p, PAGE));
    ok(sys!(madvise, p, PAGE, MADV_DONTNEED));
}
