//! semctl(2).

use super::{Perm, STAT_ANY_SEM, SemStat, Set, key, seconds};
use crate::kit::prelude::*;

const NO_SUCH: i32 = 77;

case!(all_values_at_once: semctl);
fn all_values_at_once() {
    let set = Set::new(3);
    let mut values = [9u16; 4];
    ok(sys!(semctl, set.0, 0, GETALL, &mut values));
    eq(values, [0, 0, 0, 9]);
    ok(sys!(semctl, set.0, 99, SETALL, &[1u16, 32_767, 3]));
    ok(sys!(semctl, set.0, -5, GETALL, &mut values));
    eq(values, [1, 32_767, 3, 9]);
    fails(sys!(semctl, set.0, 0, SETALL, &[4u16, 32_768, 4]), ERANGE);
    fails(sys!(semctl, set.0, 0, SETALL, 8), EFAULT);
    fails(sys!(semctl, set.0, 0, GETALL, 8), EFAULT);
    ok(sys!(semctl, set.0, 0, GETALL, &mut values));
    eq(values, [1, 32_767, 3, 9]);
    eq(set.waiting(2, GETPID), ok(sys!(getpid)));
}

case!(single_values: semctl);
fn single_values() {
    let set = Set::new(2);
    eq(set.waiting(0, GETPID), 0);
    ok(sys!(semctl, set.0, 0, SETVAL, 32_767));
    eq(set.value(0), 32_767);
    eq(set.waiting(0, GETPID), ok(sys!(getpid)));
    eq(set.waiting(1, GETPID), 0);
    fails(sys!(semctl, set.0, 0, SETVAL, 32_768), ERANGE);
    fails(sys!(semctl, set.0, 0, SETVAL, -1), ERANGE);
    fails(sys!(semctl, set.0, 2, SETVAL, 1), EINVAL);
    fails(sys!(semctl, set.0, -1, SETVAL, 1), EINVAL);
    fails(sys!(semctl, set.0, 2, SETVAL, -1), ERANGE);
    fails(sys!(semctl, 0x7fff_ffff, 0, SETVAL, -1), ERANGE);
    for command in [GETVAL, GETPID, GETNCNT, GETZCNT] {
        fails(sys!(semctl, set.0, 2, command), EINVAL);
        fails(sys!(semctl, set.0, -1, command), EINVAL);
        fails(sys!(semctl, 0x7fff_ffff, 0, command), EINVAL);
    }
    fails(sys!(semctl, set.0, 0, NO_SUCH), EINVAL);
    fails(sys!(semctl, -1, 0, GETVAL), EINVAL);
    fails(sys!(semctl, -1, 0, IPC_SET, 8), EINVAL);
    fails(sys!(semctl, 0x7fff_ffff, 0, IPC_SET, 8), EFAULT);
    fails(sys!(semctl, 0x7fff_ffff, 0, IPC_RMID, 8), EINVAL);
}

case!(what_stat_says: semctl);
fn what_stat_says() {
    let begin = seconds();
    let (uid, gid) = (ok(sys!(geteuid)) as u32, ok(sys!(getegid)) as u32);
    let set = Set(ok_i32(sys!(semget, IPC_PRIVATE, 7, 0o1654)));
    let stat = set.stat();
    let Perm { key, uid: u, gid: g, cuid, cgid, mode, .. } = stat.perm;
    eq((key, u, g, cuid, cgid, mode), (0, uid, gid, uid, gid, 0o654));
    eq((stat.count, stat.otime), (7, 0));
    within("ctime", stat.ctime, begin - 1, begin + 100);
    eq(i32::from(stat.perm.seq), set.0 >> 15);
    fails(sys!(semctl, set.0, 0, IPC_STAT, 8), EFAULT);
    fails(sys!(semctl, 0x7fff_ffff, 0, IPC_STAT, 8), EINVAL);
    // By place in the table.
    let mut by_place = SemStat::default();
    for command in [SEM_STAT, STAT_ANY_SEM] {
        eq(sys!(semctl, set.0 & 0x7fff, 0, command, &mut by_place), Ok(i64::from(set.0)));
        eq((by_place.count, by_place.perm.mode), (7, 0o654));
        fails(sys!(semctl, set.0 & 0x7fff, 0, command, 8), EFAULT);
    }
}

case!(owners_change: semctl);
fn owners_change() {
    let set = Set::new(1);
    let mut stat = set.stat();
    stat.perm.mode = 0o107_444;
    ok(sys!(semctl, set.0, 0, IPC_SET, &stat));
    eq(set.stat().perm.mode, 0o444);
    stat.perm.uid = u32::MAX;
    fails(sys!(semctl, set.0, 0, IPC_SET, &stat), EINVAL);
    eq(set.stat().perm.uid, ok(sys!(geteuid)) as u32);
    if !is_root() {
        // Also to others, and then it is still its maker's.
        fails(set.one(0, 1, 0), EACCES);
        return;
    }
    stat.perm.uid = NOBODY;
    stat.perm.gid = NOBODY - 1;
    ok(sys!(semctl, set.0, 0, IPC_SET, &stat));
    let now = set.stat().perm;
    eq((now.uid, now.gid, now.cuid, now.cgid), (NOBODY, NOBODY - 1, 0, 0));
    unprivileged(|| {
        fails(set.one(0, 1, 0), EACCES);
        let mut stat = set.stat();
        stat.perm.mode = 0o600;
        ok(sys!(semctl, set.0, 0, IPC_SET, &stat));
        ok(set.one(0, 1, 0));
        ok(sys!(semctl, set.0, 0, IPC_RMID));
    });
}

case!(capabilities_overrule_modes: semctl, semop; root);
fn capabilities_overrule_modes() {
    let set = Set::new(1);
    let mut stat = set.stat();
    (stat.perm.uid, stat.perm.mode) = (NOBODY, 0);
    ok(sys!(semctl, set.0, 0, IPC_SET, &stat));
    ok(set.one(0, 1, 0));
    in_child(|| {
        become_user(NOBODY - 5);
        fails(set.one(0, 1, 0), EACCES);
        fails(sys!(semctl, set.0, 0, GETVAL), EACCES);
        fails(sys!(semctl, set.0, 0, IPC_STAT, &mut SemStat::default()), EACCES);
        fails(sys!(semctl, set.0 & 0x7fff, 0, SEM_STAT, &mut SemStat::default()), EACCES);
        eq(sys!(semctl, set.0 & 0x7fff, 0, STAT_ANY_SEM, &mut SemStat::default()), Ok(i64::from(set.0)));
        fails(sys!(semctl, set.0, 0, IPC_RMID), EPERM);
    });
}

case!(groups_count: semctl, semop; root);
fn groups_count() {
    let set = Set::new(1);
    let mut stat = set.stat();
    (stat.perm.uid, stat.perm.gid, stat.perm.mode) = (NOBODY, 4711, 0o060);
    ok(sys!(semctl, set.0, 0, IPC_SET, &stat));
    in_child(|| {
        ok(sys!(setgroups, 1, &[4711u32]));
        ok(sys!(setresgid, 4000, 4000, 4000));
        ok(sys!(setresuid, 4000, 4000, 4000));
        ok(set.one(0, 1, 0));
    });
    in_child(|| {
        // The owner's bits alone count for the owner.
        ok(sys!(setgroups, 1, &[4711u32]));
        ok(sys!(setresuid, NOBODY, NOBODY, NOBODY));
        fails(set.one(0, 1, 0), EACCES);
    });
}

/// `struct seminfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Info {
    map: i32,
    sets: i32,
    semaphores: i32,
    undo: i32,
    of_set: i32,
    ops: i32,
    undo_entries: i32,
    undo_size: i32,
    highest: i32,
    highest_undo: i32,
}

case!(limits_are_told: semctl);
fn limits_are_told() {
    let set = Set::new(11);
    let mut info = Info::default();
    let highest = ok(sys!(semctl, 0, 0, IPC_INFO, &mut info));
    check(highest >= i64::from(set.0 & 0x7fff), "the highest place");
    let limits = text(c"/proc/sys/kernel/sem");
    let numbers: Vec<i32> = limits.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    eq([info.of_set, info.semaphores, info.ops, info.sets].to_vec(), numbers);
    eq((info.highest, info.highest_undo, info.undo_size), (32_767, 32_767, 20));
    eq((info.map, info.undo, info.undo_entries), (1_024_000_000, 1_024_000_000, 500));
    let mut used = Info::default();
    ok(sys!(semctl, 0, 0, SEM_INFO, &mut used));
    check(used.undo_size >= 1 && used.highest_undo >= 11, "sets and semaphores in use");
    eq(Info { undo_size: 20, highest_undo: 32_767, ..used }, info);
    fails(sys!(semctl, 0, 0, IPC_INFO, 8), EFAULT);
    fails(sys!(semctl, -1, 0, IPC_INFO, &mut info), EINVAL);
}

case!(keys_are_kept_apart: semget, msgget, shmget);
fn keys_are_kept_apart() {
    let key = key();
    let set = Set(ok_i32(sys!(semget, key, 1, IPC_CREAT | IPC_EXCL | 0o600)));
    let queue = super::Queue(ok_i32(sys!(msgget, key, IPC_CREAT | IPC_EXCL | 0o600)));
    let segment = ok_i32(sys!(shmget, key, 100, IPC_CREAT | IPC_EXCL | 0o600));
    ok(sys!(shmctl, segment, IPC_RMID));
    eq(sys!(semget, key, 1, 0), Ok(i64::from(set.0)));
    eq(sys!(msgget, key, 0), Ok(i64::from(queue.0)));
}
