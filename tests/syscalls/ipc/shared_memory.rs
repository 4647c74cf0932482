//! shmget(2), shmat(2), shmdt(2), shmctl(2).

use super::{Perm, STAT_ANY_SHM, STAT_SHM, ShmStat, key, seconds};
use crate::kit::prelude::*;

/// A segment that is removed with the value.
struct Segment(i32);

impl Segment {
    #[track_caller]
    fn new(size: usize) -> Segment {
        Segment(ok_i32(sys!(shmget, IPC_PRIVATE, size, 0o600)))
    }

    #[track_caller]
    fn attach(&self) -> usize {
        ok(sys!(shmat, self.0, 0, 0)) as usize
    }

    #[track_caller]
    fn stat(&self) -> ShmStat {
        let mut stat = ShmStat::default();
        ok(sys!(shmctl, self.0, IPC_STAT, &mut stat));
        stat
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let _ = sys!(shmctl, self.0, IPC_RMID);
    }
}

case!(processes_share_a_segment: shmget, shmat, shmdt);
fn processes_share_a_segment() {
    let segment = Segment::new(3 * PAGE);
    let at = segment.attach();
    poke(at, 1);
    in_child(|| {
        eq(peek(at), 1);
        poke(at, 2);
        let again = segment.attach();
        check(again != at, "attached twice at one place");
        eq(peek(again), 2);
        poke(again + 2 * PAGE, 3);
        ok(sys!(shmdt, again));
        fails(sys!(shmdt, again), EINVAL);
    });
    eq((peek(at), peek(at + 2 * PAGE)), (2, 3));
    ok(sys!(shmdt, at));
    faults(|| touch(at), SIGSEGV, 1, at);
    let at = segment.attach();
    eq(peek(at), 2);
}

case!(segments_are_attached_where_asked: shmat);
fn segments_are_attached_where_asked() {
    let segment = Segment::new(PAGE + 1);
    let room = map(8 * PAGE, RW);
    unmap(room, 8 * PAGE);
    eq(sys!(shmat, segment.0, room, 0), Ok(room as i64));
    // The place is taken; SHM_REMAP takes it all the same.
    fails(sys!(shmat, segment.0, room, 0), EINVAL);
    eq(sys!(shmat, segment.0, room, SHM_REMAP), Ok(room as i64));
    fails(sys!(shmat, segment.0, room + 4 * PAGE + 5, 0), EINVAL);
    eq(sys!(shmat, segment.0, room + 4 * PAGE + 5, SHM_RND), Ok((room + 4 * PAGE) as i64));
    fails(sys!(shmat, segment.0, 0, SHM_REMAP), EINVAL);
    fails(sys!(shmat, -1, 0, 0), EINVAL);
    fails(sys!(shmat, 0x7fff_ffff, 0, 0), EINVAL);
    fails(sys!(shmdt, room + 1), EINVAL);
    fails(sys!(shmdt, room + PAGE), EINVAL);
    ok(sys!(shmdt, room));
    ok(sys!(shmdt, room + 4 * PAGE));
}

case!(read_only_is_read_only: shmat);
fn read_only_is_read_only() {
    let segment = Segment::new(PAGE);
    let at = ok(sys!(shmat, segment.0, 0, SHM_RDONLY)) as usize;
    eq(peek(at), 0);
    faults(|| poke(at, 1), SIGSEGV, 2, at);
    fails(sys!(mprotect, at, PAGE, PROT_READ | PROT_WRITE), EACCES);
}

case!(attachments_are_counted: shmat, shmdt, shmctl, fork);
fn attachments_are_counted() {
    let begin = seconds();
    let pid = ok(sys!(getpid)) as i32;
    let segment = Segment::new(100);
    let stat = segment.stat();
    let Perm { key, mode, .. } = stat.perm;
    eq((key, mode, stat.size, stat.attached), (0, 0o600, 100, 0));
    eq((stat.creator, stat.last, stat.atime, stat.dtime), (pid, 0, 0, 0));
    within("ctime", stat.ctime, begin - 1, begin + 100);
    let (a, b) = (segment.attach(), segment.attach());
    let stat = segment.stat();
    eq((stat.attached, stat.last, stat.dtime), (2, pid, 0));
    within("atime", stat.atime, begin - 1, begin + 100);
    in_child(|| {
        eq(segment.stat().attached, 4);
        ok(sys!(shmdt, a));
        eq(segment.stat().attached, 3);
    });
    eq(segment.stat().attached, 2);
    ok(sys!(shmdt, a));
    ok(sys!(shmdt, b));
    let stat = segment.stat();
    eq((stat.attached, stat.last), (0, pid));
    within("dtime", stat.dtime, begin - 1, begin + 100);
}

case!(the_end_of_a_process_detaches: shmat, shmctl, munmap);
fn the_end_of_a_process_detaches() {
    let segment = Segment::new(PAGE);
    let child = fork(|| {
        segment.attach();
    });
    let pid = child.pid;
    child.succeeds();
    let stat = segment.stat();
    eq((stat.attached, stat.last), (0, pid));
    check(stat.dtime > 0, "no time of the end");
    // So does munmap.
    let other = Segment::new(PAGE);
    let at = other.attach();
    unmap(at, PAGE);
    let stat = other.stat();
    eq(stat.attached, 0);
    check(stat.dtime > 0, "no time of munmap");
}

case!(removed_segments_live_while_attached: shmctl, shmat, shmget);
fn removed_segments_live_while_attached() {
    let key = key();
    let segment = Segment(ok_i32(sys!(shmget, key, PAGE, IPC_CREAT | 0o600)));
    let at = segment.attach();
    poke(at, 7);
    ok(sys!(shmctl, segment.0, IPC_RMID));
    let stat = segment.stat();
    eq((stat.perm.key, stat.perm.mode & 0o1000, stat.attached), (0, 0o1000, 1));
    // The key is free, the id is not.
    fails(sys!(shmget, key, PAGE, 0), ENOENT);
    let again = segment.attach();
    eq(peek(again), 7);
    ok(sys!(shmdt, again));
    ok(sys!(shmdt, at));
    fails(sys!(shmctl, segment.0, IPC_STAT, &mut ShmStat::default()), EINVAL);
    fails(sys!(shmat, segment.0, 0, 0), EINVAL);
}

case!(segments_have_keys: shmget);
fn segments_have_keys() {
    let key = key();
    fails(sys!(shmget, key, PAGE, 0o600), ENOENT);
    fails(sys!(shmget, key, 0, IPC_CREAT | 0o600), EINVAL);
    let segment = Segment(ok_i32(sys!(shmget, key, PAGE, IPC_CREAT | 0o600)));
    eq(sys!(shmget, key, 0, 0), Ok(i64::from(segment.0)));
    eq(sys!(shmget, key, 100, IPC_CREAT), Ok(i64::from(segment.0)));
    fails(sys!(shmget, key, PAGE + 1, 0), EINVAL);
    fails(sys!(shmget, key, PAGE + 1, IPC_CREAT | IPC_EXCL), EEXIST);
    fails(sys!(shmget, IPC_PRIVATE, 0, 0), EINVAL);
}

case!(segments_are_changed: shmctl);
fn segments_are_changed() {
    let segment = Segment::new(PAGE);
    let mut stat = segment.stat();
    stat.perm.mode = 0o7640;
    ok(sys!(shmctl, segment.0, IPC_SET, &stat));
    eq(segment.stat().perm.mode, 0o640);
    stat.perm.uid = u32::MAX;
    fails(sys!(shmctl, segment.0, IPC_SET, &stat), EINVAL);
    fails(sys!(shmctl, segment.0, IPC_SET, 8), EFAULT);
    fails(sys!(shmctl, segment.0, IPC_STAT, 8), EFAULT);
    fails(sys!(shmctl, segment.0, 99, 0), EINVAL);
    ok(sys!(shmctl, segment.0, SHM_LOCK, 0));
    eq(segment.stat().perm.mode & 0o2000, 0o2000);
    ok(sys!(shmctl, segment.0, SHM_UNLOCK, 0));
    eq(segment.stat().perm.mode & 0o2000, 0);
    for command in [STAT_SHM, STAT_ANY_SHM] {
        let place = segment.0 & 0x7fff;
        eq(sys!(shmctl, place, command, &mut ShmStat::default()), Ok(i64::from(segment.0)));
    }
}

/// `struct shminfo64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    most_bytes: u64,
    least_bytes: u64,
    segments: u64,
    of_process: u64,
    pages: u64,
    unused: [u64; 4],
}

case!(memory_limits_are_told: shmctl);
fn memory_limits_are_told() {
    let mut limits = Limits::default();
    ok(sys!(shmctl, 0, IPC_INFO, &mut limits));
    let limit = |name| text(name).trim().parse().unwrap_or(0u64);
    eq(limits.most_bytes, limit(c"/proc/sys/kernel/shmmax"));
    eq(limits.pages, limit(c"/proc/sys/kernel/shmall"));
    eq(limits.segments, limit(c"/proc/sys/kernel/shmmni"));
    eq((limits.least_bytes, limits.of_process), (1, limits.segments));
    fails(sys!(shmctl, 0, IPC_INFO, 8), EFAULT);
    fails(sys!(shmctl, -1, IPC_INFO, &mut limits), EINVAL);
}

case!(permissions_of_a_segment: shmat, shmget, shmctl; root);
fn permissions_of_a_segment() {
    let key = key();
    let segment = Segment(ok_i32(sys!(shmget, key, PAGE, IPC_CREAT | 0o604)));
    in_child(|| {
        become_user(NOBODY);
        fails(sys!(shmat, segment.0, 0, 0), EACCES);
        ok(sys!(shmat, segment.0, 0, SHM_RDONLY));
        fails(sys!(shmget, key, PAGE, 0o600), EACCES);
        ok(sys!(shmget, key, PAGE, 0o400));
        fails(sys!(shmctl, segment.0, IPC_RMID), EPERM);
        fails(sys!(shmctl, segment.0, SHM_LOCK, 0), EPERM);
    });
}
