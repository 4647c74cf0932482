//! msgctl(2).

use super::{MsgStat, Perm, Queue, STAT_ANY_MSG, seconds};
use crate::kit::prelude::*;

/// `struct msginfo`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Info {
    pool: i32,
    map: i32,
    most_bytes: i32,
    queue_bytes: i32,
    queues: i32,
    segment: i32,
    headers: i32,
    segments: u16,
    pad: u16,
}

case!(message_limits_are_told: msgctl);
fn message_limits_are_told() {
    let queue = Queue::new();
    ok(queue.send(1, b"some", 0));
    let mut info = Info::default();
    let highest = ok(sys!(msgctl, 0, IPC_INFO, &mut info));
    check(highest >= i64::from(queue.0 & 0x7fff), "the highest place");
    let limit = |name| text(name).trim().parse().unwrap_or(0);
    eq(info.most_bytes, limit(c"/proc/sys/kernel/msgmax"));
    eq(info.queue_bytes, limit(c"/proc/sys/kernel/msgmnb"));
    eq(info.queues, limit(c"/proc/sys/kernel/msgmni"));
    eq((info.pool, info.map, info.headers), (512_000, 16_384, 16_384));
    eq((info.segment, info.segments), (16, 0xffff));
    let mut used = Info::default();
    ok(sys!(msgctl, 0, MSG_INFO, &mut used));
    check(used.pool >= 1 && used.map >= 1 && used.headers >= 4, "queues, messages and bytes in use");
    eq(Info { pool: info.pool, map: info.map, headers: info.headers, ..used }, info);
    fails(sys!(msgctl, 0, IPC_INFO, 8), EFAULT);
    fails(sys!(msgctl, -1, IPC_INFO, &mut info), EINVAL);
}

case!(what_a_queue_says: msgctl);
fn what_a_queue_says() {
    let begin = seconds();
    let (uid, gid) = (ok(sys!(geteuid)) as u32, ok(sys!(getegid)) as u32);
    let queue = Queue(ok_i32(sys!(msgget, IPC_PRIVATE, 0o1654)));
    let stat = queue.stat();
    let Perm { key, uid: u, gid: g, cuid, cgid, mode, .. } = stat.perm;
    eq((key, u, g, cuid, cgid, mode), (0, uid, gid, uid, gid, 0o654));
    within("ctime", stat.ctime, begin - 1, begin + 100);
    eq(i32::from(stat.perm.seq), queue.0 >> 15);
    fails(sys!(msgctl, queue.0, IPC_STAT, 8), EFAULT);
    fails(sys!(msgctl, 0x7fff_ffff, IPC_STAT, 8), EINVAL);
    let mut by_place = MsgStat::default();
    for command in [MSG_STAT, STAT_ANY_MSG] {
        eq(sys!(msgctl, queue.0 & 0x7fff, command, &mut by_place), Ok(i64::from(queue.0)));
        eq(by_place.perm.mode, 0o654);
    }
    fails(sys!(msgctl, queue.0, 99, 0), EINVAL);
    fails(sys!(msgctl, queue.0, -1, 0), EINVAL);
}

case!(queues_are_changed: msgctl);
fn queues_are_changed() {
    let queue = Queue::new();
    let mut stat = queue.stat();
    stat.most_bytes -= 1;
    stat.perm.mode = 0o7640;
    ok(sys!(msgctl, queue.0, IPC_SET, &stat));
    let now = queue.stat();
    eq((now.most_bytes, now.perm.mode), (stat.most_bytes, 0o640));
    stat.perm.gid = u32::MAX;
    fails(sys!(msgctl, queue.0, IPC_SET, &stat), EINVAL);
    fails(sys!(msgctl, queue.0, IPC_SET, 8), EFAULT);
    fails(sys!(msgctl, 0x7fff_ffff, IPC_SET, 8), EFAULT);
    fails(sys!(msgctl, 0x7fff_ffff, IPC_SET, &stat), EINVAL);
}

case!(only_the_privileged_raise_the_room: msgctl);
fn only_the_privileged_raise_the_room() {
    unprivileged(|| {
        let queue = Queue::new();
        let mut stat = queue.stat();
        stat.most_bytes += 1;
        fails(sys!(msgctl, queue.0, IPC_SET, &stat), EPERM);
        stat.perm.uid = u32::MAX;
        fails(sys!(msgctl, queue.0, IPC_SET, &stat), EPERM);
    });
    if has_sys_resource() {
        let queue = Queue::new();
        let mut stat = queue.stat();
        stat.most_bytes += 1;
        ok(sys!(msgctl, queue.0, IPC_SET, &stat));
        eq(queue.stat().most_bytes, stat.most_bytes);
    }
}

/// Whether CAP_SYS_RESOURCE is in force.
fn has_sys_resource() -> bool {
    let status = text(c"/proc/self/status");
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    u64::from_str_radix(set.trim(), 16).unwrap_or(0) & 1 << 24 != 0
}

case!(removal_loses_messages: msgctl);
fn removal_loses_messages() {
    let queue = Queue::new();
    ok(queue.send(1, b"gone", 0));
    ok(sys!(msgctl, queue.0, IPC_RMID));
    fails(sys!(msgctl, queue.0, IPC_RMID), EINVAL);
    fails(queue.receive(0, 64, IPC_NOWAIT).map(|_| 0), EINVAL);
}
