//! Capabilities.

use crate::kit::prelude::*;

const VERSION_3: u32 = 0x2008_0522;
const CHOWN: u32 = 0;
const SETUID: u32 = 7;
const KILL: u32 = 5;
const SETPCAP: u32 = 8;

/// effective, permitted, inheritable
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sets([u64; 3]);

#[track_caller]
fn get() -> Sets {
    let header = [VERSION_3, 0];
    let mut data = [0u32; 6];
    ok(sys!(capget, &header, &mut data));
    Sets(std::array::from_fn(|i| u64::from(data[i]) | u64::from(data[i + 3]) << 32))
}

fn set(sets: Sets) -> Answer {
    let header = [VERSION_3, 0];
    let data: [u32; 6] = std::array::from_fn(|i| (sets.0[i % 3] >> (i / 3 * 32)) as u32);
    sys!(capset, &header, &data)
}

case!(version_negotiation: capget);
fn version_negotiation() {
    let mut header = [0u32, 0];
    fails(sys!(capget, &mut header, &mut [0u32; 6]), EINVAL);
    eq_of("the kernel's version is put in", header[0], VERSION_3);
    header[0] = 0;
    // With no data pointer this is how one asks.
    ok(sys!(capget, &mut header, 0));
    fails(sys!(capget, 8, 0), EFAULT);
    fails(sys!(capget, &[VERSION_3, 0x3fff_fff0], &mut [0u32; 6]), ESRCH);
    fails(sys!(capget, &[VERSION_3, u32::MAX], &mut [0u32; 6]), EINVAL);
}

case!(ordinary_user_has_none: capget);
fn ordinary_user_has_none() {
    unprivileged(|| eq(get(), Sets([0; 3])));
}

case!(dropping_one: capset, capget; root);
fn dropping_one() {
    in_child(|| {
        let mut sets = get();
        check(sets.0[0] & 1 << CHOWN != 0, "root has CAP_CHOWN");
        put(c"f", b"");
        sets.0[0] &= !(1 << CHOWN);
        ok(set(sets));
        eq(get(), sets);
        fails(sys!(fchownat, AT_FDCWD, c"f", 5, 5, 0), EPERM);
        // It can be raised again while it is permitted.
        sets.0[0] |= 1 << CHOWN;
        ok(set(sets));
        sets.0[0] &= !(1 << CHOWN);
        sets.0[1] &= !(1 << CHOWN);
        ok(set(sets));
        sets.0[1] |= 1 << CHOWN;
        fails(set(sets), EPERM);
        sets.0[1] &= !(1 << CHOWN);
        sets.0[0] |= 1 << CHOWN;
        fails(set(sets), EPERM);
    });
}

case!(another_process_cannot_be_set: capset; root);
fn another_process_cannot_be_set() {
    let child = fork(|| sleep_ms(10_000));
    fails(sys!(capset, &[VERSION_3, child.pid as u32], &[0u32; 6]), EPERM);
    let mut data = [0u32; 6];
    ok(sys!(capget, &[VERSION_3, child.pid as u32], &mut data));
    check(data[0] != 0, "but read");
    child.end();
}

case!(setuid_drops_all: setresuid, capget; root);
fn setuid_drops_all() {
    in_child(|| {
        ok(sys!(setresuid, 5, 5, 5));
        eq(get(), Sets([0; 3]));
    });
    in_child(|| {
        let before = get();
        // Only the effective id leaves 0: permitted stay, effective go, and come back.
        ok(sys!(setresuid, -1, 5, -1));
        eq(get().0[..2].to_vec(), vec![0, before.0[1]]);
        ok(sys!(setresuid, -1, 0, -1));
        eq(get(), before);
    });
}

case!(keepcaps: prctl, setresuid, capget; root);
fn keepcaps() {
    in_child(|| {
        let before = get();
        eq(ok(sys!(prctl, PR_GET_KEEPCAPS)), 0);
        ok(sys!(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0));
        ok(sys!(setresuid, 5, 5, 5));
        eq(get().0[..2].to_vec(), vec![0, before.0[1]]);
        ok(set(Sets([1 << SETUID, before.0[1], 0])));
        ok(sys!(setresuid, 6, 6, 6));
        fails(sys!(prctl, PR_SET_KEEPCAPS, 2, 0, 0, 0), EINVAL);
    });
}

case!(bounding_set: prctl, execve; root);
fn bounding_set() {
    in_child(|| {
        eq(ok(sys!(prctl, PR_CAPBSET_READ, KILL, 0, 0, 0)), 1);
        ok(sys!(prctl, PR_CAPBSET_DROP, KILL, 0, 0, 0));
        eq(ok(sys!(prctl, PR_CAPBSET_READ, KILL, 0, 0, 0)), 0);
        fails(sys!(prctl, PR_CAPBSET_READ, 64, 0, 0, 0), EINVAL);
        fails(sys!(prctl, PR_CAPBSET_DROP, 64, 0, 0, 0), EINVAL);
        // Permitted is untouched until exec.
        check(get().0[1] & 1 << KILL != 0, "still permitted");
        let mut sets = get();
        sets.0[0] &= !(1 << SETPCAP);
        ok(set(sets));
        fails(sys!(prctl, PR_CAPBSET_DROP, CHOWN, 0, 0, 0), EPERM);
    });
}

case!(ambient: prctl; root);
fn ambient() {
    in_child(|| {
        let ambient = |op: i32, cap: u32| sys!(prctl, PR_CAP_AMBIENT, op, cap, 0, 0);
        eq(ok(ambient(PR_CAP_AMBIENT_IS_SET, KILL)), 0);
        // It must be permitted and inheritable.
        fails(ambient(PR_CAP_AMBIENT_RAISE, KILL), EPERM);
        let mut sets = get();
        sets.0[2] |= 1 << KILL;
        ok(set(sets));
        ok(ambient(PR_CAP_AMBIENT_RAISE, KILL));
        eq(ok(ambient(PR_CAP_AMBIENT_IS_SET, KILL)), 1);
        ok(ambient(PR_CAP_AMBIENT_LOWER, KILL));
        eq(ok(ambient(PR_CAP_AMBIENT_IS_SET, KILL)), 0);
        ok(ambient(PR_CAP_AMBIENT_RAISE, KILL));
        ok(ambient(PR_CAP_AMBIENT_CLEAR_ALL, 0));
        eq(ok(ambient(PR_CAP_AMBIENT_IS_SET, KILL)), 0);
        fails(ambient(PR_CAP_AMBIENT_RAISE, 64), EINVAL);
        fails(ambient(9, KILL), EINVAL);
    });
}

case!(secure_bits: prctl; root);
fn secure_bits() {
    in_child(|| {
        eq(ok(sys!(prctl, PR_GET_SECUREBITS)), 0);
        ok(sys!(prctl, PR_SET_SECUREBITS, 1, 0, 0, 0));
        eq(ok(sys!(prctl, PR_GET_SECUREBITS)), 1);
        fails(sys!(prctl, PR_SET_SECUREBITS, 1 << 20, 0, 0, 0), EPERM);
    });
}
