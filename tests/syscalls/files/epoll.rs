//! epoll: level and edge, once, nested, exclusive, waiting.

use crate::kit::prelude::*;

fn new() -> i32 {
    ok_i32(sys!(epoll_create1, EPOLL_CLOEXEC))
}

fn event(events: i32, data: u64) -> epoll_event {
    epoll_event { events: events as u32, u64: data }
}

fn add(ep: i32, fd: i32, events: i32) {
    ok(sys!(epoll_ctl, ep, EPOLL_CTL_ADD, fd, &event(events, fd as u64)));
}

/// What is ready now, as pairs of data and events.
fn ready(ep: i32) -> Vec<(u64, i32)> {
    ready_within(ep, 0)
}

fn ready_within(ep: i32, timeout_ms: i32) -> Vec<(u64, i32)> {
    let mut list = [event(0, 0); 8];
    let n = ok(sys!(epoll_wait, ep, &mut list, 8, timeout_ms)) as usize;
    list[..n].iter().map(|e| (e.u64, e.events as i32)).collect()
}

fn counter(value: u64) -> i32 {
    ok_i32(sys!(eventfd2, value, EFD_NONBLOCK))
}

case!(level_triggered: epoll_create1, epoll_ctl, epoll_wait);
fn level_triggered() {
    let (ep, [r, w]) = (new(), pipe(0));
    add(ep, r, EPOLLIN);
    eq(ready(ep), vec![]);
    write_all(w, b"ab");
    eq(ready(ep), vec![(r as u64, EPOLLIN)]);
    eq(ready(ep), vec![(r as u64, EPOLLIN)]);
    read(r, 1);
    eq(ready(ep), vec![(r as u64, EPOLLIN)]);
    read(r, 1);
    eq(ready(ep), vec![]);
}

case!(edge_triggered: epoll_ctl, epoll_wait);
fn edge_triggered() {
    let (ep, [r, w]) = (new(), pipe(0));
    add(ep, r, EPOLLIN | EPOLLET);
    write_all(w, b"a");
    eq(ready(ep), vec![(r as u64, EPOLLIN)]);
    eq(ready(ep), vec![]);
    // Each write is an edge, whether or not anything was read.
    write_all(w, b"b");
    eq(ready(ep), vec![(r as u64, EPOLLIN)]);
    read(r, 1);
    eq(ready(ep), vec![]);
    // What is ready when it is added, or changed, is an edge.
    ok(sys!(epoll_ctl, ep, EPOLL_CTL_MOD, r, &event(EPOLLIN | EPOLLET, 9)));
    eq(ready(ep), vec![(9, EPOLLIN)]);
    eq(ready(ep), vec![]);
}

case!(once: epoll_ctl, epoll_wait);
fn once() {
    let (ep, fd) = (new(), counter(1));
    add(ep, fd, EPOLLIN | EPOLLONESHOT);
    eq(ready(ep), vec![(fd as u64, EPOLLIN)]);
    eq(ready(ep), vec![]);
    ok(sys!(write, fd, &1u64, 8));
    eq(ready(ep), vec![]);
    ok(sys!(epoll_ctl, ep, EPOLL_CTL_MOD, fd, &event(EPOLLIN | EPOLLONESHOT, 4)));
    eq(ready(ep), vec![(4, EPOLLIN)]);
}

case!(several_and_their_order: epoll_wait);
fn several_and_their_order() {
    let ep = new();
    let fds: Vec<i32> = (0..4).map(|_| counter(0)).collect();
    fds.iter().for_each(|fd| add(ep, *fd, EPOLLIN));
    for i in [2, 0, 3] {
        ok(sys!(write, fds[i], &1u64, 8));
    }
    // In the order of becoming ready.
    let got: Vec<u64> = ready(ep).iter().map(|e| e.0).collect();
    eq(got, vec![fds[2] as u64, fds[0] as u64, fds[3] as u64]);
    // With room for one at a time they take turns.
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut one = [event(0, 0)];
        eq(ok(sys!(epoll_wait, ep, &mut one, 1, 0)), 1);
        let data = one[0].u64;
        seen.push(data);
    }
    seen.sort_unstable();
    eq(seen, vec![fds[0] as u64, fds[2] as u64, fds[3] as u64]);
}

case!(changes: epoll_ctl, epoll_wait);
fn changes() {
    let (ep, fd) = (new(), counter(1));
    add(ep, fd, EPOLLIN | EPOLLOUT);
    eq(ready(ep), vec![(fd as u64, EPOLLIN | EPOLLOUT)]);
    ok(sys!(epoll_ctl, ep, EPOLL_CTL_MOD, fd, &event(EPOLLOUT, 77)));
    eq(ready(ep), vec![(77, EPOLLOUT)]);
    ok(sys!(epoll_ctl, ep, EPOLL_CTL_MOD, fd, &event(0, 77)));
    eq(ready(ep), vec![]);
    ok(sys!(epoll_ctl, ep, EPOLL_CTL_DEL, fd, 0));
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_DEL, fd, 0), ENOENT);
}

case!(errors_and_hang_up_need_no_asking: epoll_wait);
fn errors_and_hang_up_need_no_asking() {
    let (ep, [r, w], [r2, w2]) = (new(), pipe(0), pipe(0));
    add(ep, r, 0);
    add(ep, w2, 0);
    eq(ready(ep), vec![]);
    close(w);
    eq(ready(ep), vec![(r as u64, EPOLLHUP)]);
    ok(sys!(epoll_ctl, ep, EPOLL_CTL_DEL, r, 0));
    close(r2);
    eq(ready(ep), vec![(w2 as u64, EPOLLERR)]);
}

case!(control_errors: epoll_ctl);
fn control_errors() {
    let (ep, fd) = (new(), counter(0));
    let e = event(EPOLLIN, 0);
    add(ep, fd, EPOLLIN);
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_ADD, fd, &e), EEXIST);
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_MOD, 0, &e), EPERM);
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_MOD, counter(0), &e), ENOENT);
    fails(sys!(epoll_ctl, ep, 99, fd, &e), EINVAL);
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_ADD, 999, &e), EBADF);
    fails(sys!(epoll_ctl, 999, EPOLL_CTL_ADD, fd, &e), EBADF);
    fails(sys!(epoll_ctl, fd, EPOLL_CTL_ADD, ep, &e), EINVAL);
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_ADD, ep, &e), EINVAL);
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_ADD, counter(0), 0), EFAULT);
    // Files and directories are always ready, and can't be watched.
    let file = create(c"f", b"");
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_ADD, file, &e), EPERM);
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_ADD, open(c".", O_RDONLY), &e), EPERM);
}

case!(wait_errors: epoll_wait, epoll_create, epoll_create1);
fn wait_errors() {
    let ep = new();
    let mut list = [event(0, 0); 4];
    fails(sys!(epoll_wait, ep, &mut list, 0, 0), EINVAL);
    fails(sys!(epoll_wait, ep, &mut list, -1, 0), EINVAL);
    fails(sys!(epoll_wait, ep, &mut list, i32::MAX, 0), EINVAL);
    fails(sys!(epoll_wait, 999, &mut list, 4, 0), EBADF);
    fails(sys!(epoll_wait, counter(0), &mut list, 4, 0), EINVAL);
    // Memory is looked at only when there is something to put there.
    eq(ok(sys!(epoll_wait, ep, 8, 4, 0)), 0);
    add(ep, counter(1), EPOLLIN);
    fails(sys!(epoll_wait, ep, 8, 4, 0), EFAULT);
    fails(sys!(epoll_create, 0), EINVAL);
    fails(sys!(epoll_create, -1), EINVAL);
    ok(sys!(epoll_create, 1));
    fails(sys!(epoll_create1, 1), EINVAL);
}

case!(wakes_a_waiter: epoll_wait, write);
fn wakes_a_waiter() {
    let (ep, [r, w]) = (new(), pipe(0));
    add(ep, r, EPOLLIN);
    let child = fork(|| eq(ready_within(ep, -1), vec![(r as u64, EPOLLIN)]));
    until_asleep(child.pid);
    write_all(w, b"x");
    child.succeeds();
}

case!(added_while_waiting: epoll_ctl, epoll_wait);
fn added_while_waiting() {
    let ep = new();
    let fd = counter(1);
    let (tid, handle) = thread::spawn(move || eq(ready_within(ep, 8000), vec![(fd as u64, EPOLLIN)]));
    until_asleep(tid);
    add(ep, fd, EPOLLIN);
    thread::join(handle);
}

case!(time_runs_out: epoll_wait, epoll_pwait2);
fn time_runs_out() {
    let ep = new();
    let start = now_ns(CLOCK_MONOTONIC);
    eq(ready_within(ep, 30), vec![]);
    check(now_ns(CLOCK_MONOTONIC) - start >= 30_000_000, "not before its time");
    let start = now_ns(CLOCK_MONOTONIC);
    let limit = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    eq(ok(sys!(epoll_pwait2, ep, &mut [event(0, 0)], 1, &limit, 0, 8)), 0);
    check(now_ns(CLOCK_MONOTONIC) - start >= 20_000_000, "not before its time");
    let bad = timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    fails(sys!(epoll_pwait2, ep, &mut [event(0, 0)], 1, &bad, 0, 8), EINVAL);
}

case!(interrupted_and_masked: epoll_wait, epoll_pwait, kill);
fn interrupted_and_masked() {
    let ep = new();
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, SA_RESTART);
        // Never restarted, whatever the action says.
        fails(sys!(epoll_wait, ep, &mut [event(0, 0)], 1, -1), EINTR);
        eq(sig::count(), 1);
        // A pending signal that only the call's own mask lets in.
        sig::block(sig::bit(SIGUSR1));
        sig::raise(SIGUSR1);
        fails(sys!(epoll_pwait, ep, &mut [event(0, 0)], 1, 1000, &0u64, 8), EINTR);
        eq(sig::count(), 2);
        eq(sig::mask(), sig::bit(SIGUSR1));
        fails(sys!(epoll_pwait, ep, &mut [event(0, 0)], 1, 0, &0u64, 7), EINVAL);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
}

case!(epoll_in_epoll: epoll_ctl, epoll_wait, poll);
fn epoll_in_epoll() {
    let (outer, inner, fd) = (new(), new(), counter(0));
    add(inner, fd, EPOLLIN);
    add(outer, inner, EPOLLIN);
    eq(ready(outer), vec![]);
    ok(sys!(write, fd, &1u64, 8));
    eq(ready(outer), vec![(inner as u64, EPOLLIN)]);
    let mut p = pollfd { fd: outer, events: POLLIN, revents: 0 };
    eq(ok(sys!(poll, &mut p, 1, 0)), 1);
    read(fd, 8);
    eq(ready(outer), vec![]);
    // No circles, and no deep towers.
    fails(sys!(epoll_ctl, inner, EPOLL_CTL_ADD, outer, &event(EPOLLIN, 0)), ELOOP);
    let mut below = inner;
    let mut refused = None;
    for depth in 0..10 {
        let next = new();
        if let Err(e) = sys!(epoll_ctl, next, EPOLL_CTL_ADD, below, &event(EPOLLIN, 0)) {
            refused = Some((depth, e));
            break;
        }
        below = next;
    }
    eq(refused, Some((4, Errno(ELOOP))));
}

case!(nested_waiter_is_woken: epoll_wait, write);
fn nested_waiter_is_woken() {
    let (outer, inner, fd) = (new(), new(), counter(0));
    add(inner, fd, EPOLLIN);
    add(outer, inner, EPOLLIN);
    let child = fork(|| eq(ready_within(outer, -1), vec![(inner as u64, EPOLLIN)]));
    until_asleep(child.pid);
    ok(sys!(write, fd, &1u64, 8));
    child.succeeds();
}

case!(closing_takes_it_out: close, epoll_wait);
fn closing_takes_it_out() {
    let (ep, fd) = (new(), counter(1));
    add(ep, fd, EPOLLIN);
    let twin = ok_i32(sys!(dup, fd));
    close(fd);
    // The description lives on in the twin, and so does the entry.
    eq(ready(ep), vec![(fd as u64, EPOLLIN)]);
    close(twin);
    eq(ready(ep), vec![]);
}

case!(same_file_by_two_numbers: epoll_ctl, dup);
fn same_file_by_two_numbers() {
    let (ep, fd) = (new(), counter(1));
    let twin = ok_i32(sys!(dup, fd));
    add(ep, fd, EPOLLIN);
    add(ep, twin, EPOLLOUT);
    let mut got = ready(ep);
    got.sort_unstable();
    eq(got, vec![(fd as u64, EPOLLIN), (twin as u64, EPOLLOUT)]);
}

case!(shared_with_a_child: fork, epoll_wait);
fn shared_with_a_child() {
    let (ep, fd) = (new(), counter(0));
    in_child(|| {
        add(ep, fd, EPOLLIN);
        ok(sys!(write, fd, &1u64, 8));
    });
    eq(ready(ep), vec![(fd as u64, EPOLLIN)]);
}

case!(exclusive: epoll_ctl);
fn exclusive() {
    let (ep, fd) = (new(), counter(1));
    ok(sys!(epoll_ctl, ep, EPOLL_CTL_ADD, fd, &event(EPOLLIN | EPOLLEXCLUSIVE, 5)));
    eq(ready(ep), vec![(5, EPOLLIN)]);
    // It can't be changed, nor asked for by a change, nor with these.
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_MOD, fd, &event(EPOLLIN, 5)), EINVAL);
    let other = counter(0);
    add(ep, other, EPOLLIN);
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_MOD, other, &event(EPOLLIN | EPOLLEXCLUSIVE, 5)), EINVAL);
    let with = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_ADD, counter(0), &event(with, 5)), EINVAL);
    fails(sys!(epoll_ctl, ep, EPOLL_CTL_ADD, new(), &event(EPOLLIN | EPOLLEXCLUSIVE, 5)), EINVAL);
}

case!(one_event_wakes_one_waiter: epoll_wait, epoll_ctl);
fn one_event_wakes_one_waiter() {
    let (ep, fd) = (new(), counter(0));
    add(ep, fd, EPOLLIN | EPOLLET);
    let seen = shared::<std::sync::atomic::AtomicU32>();
    let children: Vec<Child> = (0..3)
        .map(|_| {
            fork(|| {
                seen.fetch_add(ready_within(ep, -1).len() as u32, std::sync::atomic::Ordering::SeqCst);
            })
        })
        .collect();
    children.iter().for_each(|c| until_asleep(c.pid));
    for count in 1..=3 {
        ok(sys!(write, fd, &1u64, 8));
        eventually("one more has seen it", || seen.load(std::sync::atomic::Ordering::SeqCst) == count);
    }
    children.into_iter().for_each(Child::succeeds);
}

case!(many_descriptors: epoll_wait, epoll_ctl);
fn many_descriptors() {
    let ep = new();
    let fds: Vec<i32> = (0..300).map(|_| counter(0)).collect();
    fds.iter().for_each(|fd| add(ep, *fd, EPOLLIN));
    for fd in fds.iter().step_by(3) {
        ok(sys!(write, *fd, &1u64, 8));
    }
    let mut list = [event(0, 0); 400];
    eq(ok(sys!(epoll_wait, ep, &mut list, 400, 0)), 100);
    let text = text(&std::ffi::CString::new(format!("/proc/self/fdinfo/{ep}")).unwrap_or_default());
    eq(text.lines().filter(|l| l.starts_with("tfd:")).count(), 300);
}
