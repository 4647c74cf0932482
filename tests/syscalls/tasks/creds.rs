//! User and group ids.

use crate::kit::prelude::*;

fn uids() -> [u32; 3] {
    let [mut r, mut e, mut s] = [0u32; 3];
    ok(sys!(getresuid, &mut r, &mut e, &mut s));
    [r, e, s]
}

fn gids() -> [u32; 3] {
    let [mut r, mut e, mut s] = [0u32; 3];
    ok(sys!(getresgid, &mut r, &mut e, &mut s));
    [r, e, s]
}

case!(the_four_getters_agree: getuid, geteuid, getgid, getegid, getresuid, getresgid);
fn the_four_getters_agree() {
    eq(uids()[..2].to_vec(), vec![ok(sys!(getuid)) as u32, ok(sys!(geteuid)) as u32]);
    eq(gids()[..2].to_vec(), vec![ok(sys!(getgid)) as u32, ok(sys!(getegid)) as u32]);
    fails(sys!(getresuid, 8, 8, 8), EFAULT);
}

case!(root_sets_all_with_setuid: setuid, setgid; root);
fn root_sets_all_with_setuid() {
    in_child(|| {
        ok(sys!(setgid, 77));
        eq(gids(), [77; 3]);
        ok(sys!(setuid, 66));
        eq(uids(), [66; 3]);
        fails(sys!(setuid, 0), EPERM);
        fails(sys!(setgid, 0), EPERM);
        ok(sys!(setuid, 66));
    });
}

case!(setresuid_moves_between_the_three: setresuid; root);
fn setresuid_moves_between_the_three() {
    in_child(|| {
        ok(sys!(setresuid, 10, 20, 30));
        eq(uids(), [10, 20, 30]);
        ok(sys!(setresuid, -1, 30, -1));
        eq(uids(), [10, 30, 30]);
        ok(sys!(setresuid, 30, 10, 10));
        eq(uids(), [30, 10, 10]);
        fails(sys!(setresuid, 20, -1, -1), EPERM);
        fails(sys!(setresuid, -1, 0, -1), EPERM);
    });
}

case!(setreuid_sets_the_saved_id: setreuid; root);
fn setreuid_sets_the_saved_id() {
    in_child(|| {
        ok(sys!(setreuid, -1, 40));
        eq_of("only the effective id and the saved one", uids(), [0, 40, 40]);
    });
    in_child(|| {
        ok(sys!(setresuid, 10, 20, 30));
        ok(sys!(setreuid, 20, 10));
        eq(uids(), [20, 10, 10]);
        fails(sys!(setreuid, 30, -1), EPERM);
    });
}

case!(setgids: setresgid, setregid; root);
fn setgids() {
    in_child(|| {
        ok(sys!(setresgid, 10, 20, 30));
        eq(gids(), [10, 20, 30]);
        ok(sys!(setregid, 5, -1));
        eq(gids(), [5, 20, 20]);
    });
}

case!(invalid_ids: setuid, setresuid, setgid);
fn invalid_ids() {
    fails(sys!(setuid, -1), EINVAL);
    fails(sys!(setgid, -1), EINVAL);
    // -1 means "leave it".
    ok(sys!(setresuid, -1, -1, -1));
    ok(sys!(setresgid, -1, -1, -1));
}

case!(ordinary_user_changes_nothing: setuid, setresuid, setgroups);
fn ordinary_user_changes_nothing() {
    unprivileged(|| {
        let [me, _, _] = uids();
        ok(sys!(setuid, me));
        ok(sys!(setresuid, me, me, me));
        fails(sys!(setuid, me + 1), EPERM);
        fails(sys!(setresuid, -1, me + 1, -1), EPERM);
        fails(sys!(setreuid, me + 1, -1), EPERM);
        fails(sys!(setgid, 12345), EPERM);
        fails(sys!(setgroups, 1, &[5u32]), EPERM);
    });
}

case!(groups: getgroups, setgroups; root);
fn groups() {
    in_child(|| {
        ok(sys!(setgroups, 3, &[30u32, 10, 20]));
        let mut list = [0u32; 8];
        eq(ok(sys!(getgroups, 0, 0)), 3);
        eq(ok(sys!(getgroups, 8, &mut list)), 3);
        // The kernel keeps them sorted.
        eq(list[..3].to_vec(), vec![10, 20, 30]);
        fails(sys!(getgroups, 2, &mut list), EINVAL);
        fails(sys!(getgroups, -1, &mut list), EINVAL);
        fails(sys!(getgroups, 8, 8), EFAULT);
        fails(sys!(setgroups, 65537, &list), EINVAL);
        fails(sys!(setgroups, 1, 8), EFAULT);
        ok(sys!(setgroups, 0, 0));
        eq(ok(sys!(getgroups, 0, 0)), 0);
    });
}

case!(fsuid: setfsuid, setfsgid; root);
fn fsuid() {
    ok(sys!(fchmodat, AT_FDCWD, c".", 0o777));
    in_child(|| {
        // They return the old value, whatever happens.
        eq(ok(sys!(setfsuid, 55)), 0);
        eq(ok(sys!(setfsuid, -1)), 55);
        eq(ok(sys!(setfsgid, 56)), 0);
        eq(ok(sys!(setfsgid, -1)), 56);
        put(c"mine", b"");
        let st = stat(c"mine");
        eq((st.st_uid, st.st_gid), (55, 56));
        // A change of the effective id takes it along.
        ok(sys!(setresuid, -1, 66, -1));
        eq(ok(sys!(setfsuid, -1)), 66);
    });
}

case!(files_belong_to_the_effective_ids: setresuid, openat; root);
fn files_belong_to_the_effective_ids() {
    ok(sys!(fchmodat, AT_FDCWD, c".", 0o777));
    in_child(|| {
        ok(sys!(setresgid, 1, 2, 3));
        ok(sys!(setresuid, 4, 5, 6));
        put(c"f", b"");
        let st = stat(c"f");
        eq((st.st_uid, st.st_gid), (5, 2));
    });
}

case!(threads_have_their_own: setresuid; root);
fn threads_have_their_own() {
    // The kernel's ids belong to the thread; only the C library makes them the process's.
    in_child(|| {
        let (_, handle) = thread::spawn(|| {
            ok(sys!(setresuid, 9, 9, 9));
            eq(uids(), [9; 3]);
        });
        thread::join(handle);
        eq(uids(), [0; 3]);
    });
}

case!(changing_ids_clears_dumpable: setresuid, prctl; root);
fn changing_ids_clears_dumpable() {
    in_child(|| {
        eq(ok(sys!(prctl, PR_GET_DUMPABLE)), 1);
        ok(sys!(setresuid, 5, 5, 5));
        check(ok(sys!(prctl, PR_GET_DUMPABLE)) != 1, "no longer dumpable");
    });
}
