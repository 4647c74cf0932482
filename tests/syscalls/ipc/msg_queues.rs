//! msgget(2), msgsnd(2), msgrcv(2).

use super::{Msg, Queue, key, seconds};
use crate::kit::prelude::*;

const COPY: i32 = 0o40000;
const EXCEPT: i32 = MSG_EXCEPT;
const NOERROR: i32 = MSG_NOERROR;

fn four() -> Queue {
    let queue = Queue::new();
    for (kind, text) in [(3, b"a"), (1, b"b"), (2, b"c"), (1, b"d")] {
        ok(queue.send(kind, text, 0));
    }
    queue
}

case!(messages_are_chosen_by_type: msgsnd, msgrcv, msgget);
fn messages_are_chosen_by_type() {
    let in_order = |kinds: &[i64], flags: i32| {
        let queue = four();
        let got: Vec<String> = kinds
            .iter()
            .map(|kind| match queue.receive(*kind, 64, IPC_NOWAIT | flags) {
                Ok((_, text)) => String::from_utf8_lossy(&text).into_owned(),
                Err(errno) => format!("{errno:?}"),
            })
            .collect();
        got.concat()
    };
    eq(in_order(&[0, 0, 0, 0], 0), "abcd");
    eq(in_order(&[1, 1, 2, 3], 0), "bdca");
    eq(in_order(&[-2, -2, -2, -9], 0), "bdca");
    eq(in_order(&[i64::MIN, i64::MIN], 0), "bd");
    eq(in_order(&[1, 1, 3], EXCEPT), "acb");
    eq(in_order(&[-3, -3, 0], EXCEPT), "bda");
    let queue = four();
    fails(queue.receive(7, 64, IPC_NOWAIT).map(|_| 0), ENOMSG);
    ok(queue.receive(2, 64, IPC_NOWAIT).map(|_| 0));
    fails(queue.receive(2, 64, IPC_NOWAIT).map(|_| 0), ENOMSG);
    fails(queue.receive(-0, 0, 0).map(|_| 0), E2BIG);
}

case!(messages_keep_type_and_size: msgsnd, msgrcv);
fn messages_keep_type_and_size() {
    let queue = Queue::new();
    ok(queue.send(i64::MAX, b"long", 0));
    ok(queue.send(5, b"", 0));
    fails(queue.receive(0, 3, 0).map(|_| 0), E2BIG);
    eq(queue.receive(0, 3, NOERROR), Ok((i64::MAX, b"lon".to_vec())));
    eq(queue.receive(0, 0, 0), Ok((5, Vec::new())));
    let largest = vec![1u8; 8 + 8192];
    let mut room = vec![0u8; 8 + 8192];
    fails(sys!(msgsnd, queue.0, &largest[..], 8193, 0), EINVAL);
    ok(sys!(msgsnd, queue.0, &largest[..], 8192, 0));
    eq(sys!(msgrcv, queue.0, &mut room[..], 8192, 0, 0), Ok(8192));
    eq(room, largest);
}

case!(calls_have_bounds: msgsnd, msgrcv);
fn calls_have_bounds() {
    let queue = Queue::new();
    let msg = Msg { kind: 1, text: [0; 64] };
    fails(sys!(msgsnd, queue.0, 8, 1, 0), EFAULT);
    fails(sys!(msgsnd, -1, 8, 1, 0), EFAULT);
    fails(sys!(msgsnd, -1, &msg, 1, 0), EINVAL);
    fails(sys!(msgsnd, 0x7fff_ffff, &msg, 1, 0), EINVAL);
    fails(sys!(msgsnd, queue.0, &msg, -1, 0), EINVAL);
    fails(queue.send(0, b"x", 0), EINVAL);
    fails(queue.send(-1, b"x", 0), EINVAL);
    fails(sys!(msgrcv, -1, 8, 1, 0, 0), EINVAL);
    fails(sys!(msgrcv, queue.0, 8, -1, 0, 0), EINVAL);
    fails(sys!(msgrcv, queue.0, 8, 1, 0, IPC_NOWAIT), ENOMSG);
    fails(sys!(msgrcv, 0x7fff_ffff, 8, 1, 0, 0), EINVAL);
    // Half of it can be read: no message. It is taken out before it turns out that it can't be written.
    let page = map(2 * PAGE, RW);
    unmap(page + PAGE, PAGE);
    poke64(page + PAGE - 8, 1);
    fails(sys!(msgsnd, queue.0, page + PAGE - 8, 4, 0), EFAULT);
    eq(queue.stat().count, 0);
    ok(queue.send(9, b"lost", 0));
    fails(sys!(msgrcv, queue.0, page + PAGE - 8, 64, 0, 0), EFAULT);
    eq(peek64(page + PAGE - 8), 9);
    eq(queue.stat().count, 0);
}

case!(a_receiver_waits_for_its_message: msgrcv, msgsnd);
fn a_receiver_waits_for_its_message() {
    let queue = Queue::new();
    let child = fork(|| eq(queue.receive(5, 64, 0), Ok((5, b"yes".to_vec()))));
    until_asleep(child.pid);
    ok(queue.send(4, b"no", 0));
    ok(queue.send(5, b"yes", 0));
    let pid = child.pid;
    child.succeeds();
    eq(queue.stat().receiver, pid);
    eq(queue.next(0), (4, "no".to_owned()));
}

case!(receivers_are_served_in_turn: msgrcv, msgsnd);
fn receivers_are_served_in_turn() {
    let queue = Queue::new();
    let [r, w] = pipe(0);
    let children: Vec<Child> = (0..4u8)
        .map(|n| {
            let child = fork(|| {
                let (_, text) = queue.receive(0, 64, 0).unwrap_or_default();
                write_all(w, &[b'0' + n, text.first().copied().unwrap_or(b'?')]);
            });
            until_asleep(child.pid);
            child
        })
        .collect();
    for text in [b"a", b"b", b"c", b"d"] {
        ok(queue.send(1, text, 0));
    }
    for child in children {
        child.succeeds();
    }
    let mut got: Vec<[u8; 2]> = read(r, 8).chunks(2).map(|pair| [pair[0], pair[1]]).collect();
    got.sort_unstable();
    eq(got, [*b"0a", *b"1b", *b"2c", *b"3d"]);
}

case!(a_small_buffer_loses_no_message: msgrcv, msgsnd);
fn a_small_buffer_loses_no_message() {
    let queue = Queue::new();
    let child = fork(|| fails(queue.receive(0, 2, 0).map(|_| 0), E2BIG));
    until_asleep(child.pid);
    ok(queue.send(1, b"long", 0));
    child.succeeds();
    eq(queue.next(0), (1, "long".to_owned()));
    let child = fork(|| eq(queue.receive(0, 2, NOERROR), Ok((1, b"lo".to_vec()))));
    until_asleep(child.pid);
    ok(queue.send(1, b"long", 0));
    child.succeeds();
    eq(queue.stat().count, 0);
}

/// A queue with room for so many bytes.
fn narrow(bytes: u64) -> Queue {
    let queue = Queue::new();
    let mut stat = queue.stat();
    stat.most_bytes = bytes;
    ok(sys!(msgctl, queue.0, IPC_SET, &stat));
    queue
}

case!(a_sender_waits_for_room: msgsnd, msgrcv);
fn a_sender_waits_for_room() {
    let queue = narrow(10);
    ok(queue.send(1, b"12345678", 0));
    fails(queue.send(1, b"abc", IPC_NOWAIT), EAGAIN);
    let child = fork(|| done(queue.send(2, b"abc", 0)));
    until_asleep(child.pid);
    // What fits goes past it.
    ok(queue.send(3, b"ab", IPC_NOWAIT));
    eq(queue.next(3), (3, "ab".to_owned()));
    eq(state(child.pid), 'S');
    eq(queue.next(1), (1, "12345678".to_owned()));
    let pid = child.pid;
    child.succeeds();
    let stat = queue.stat();
    eq((stat.count, stat.bytes, stat.sender), (1, 3, pid));
    eq(queue.next(0), (2, "abc".to_owned()));
}

case!(empty_messages_need_room_too: msgsnd);
fn empty_messages_need_room_too() {
    let queue = narrow(3);
    for _ in 0..3 {
        ok(queue.send(1, b"", IPC_NOWAIT));
    }
    fails(queue.send(1, b"", IPC_NOWAIT), EAGAIN);
    let stat = queue.stat();
    eq((stat.count, stat.bytes), (3, 0));
}

case!(more_room_lets_senders_in: msgctl, msgsnd);
fn more_room_lets_senders_in() {
    let queue = narrow(4);
    ok(queue.send(1, b"abcd", 0));
    let child = fork(|| done(queue.send(2, b"efgh", 0)));
    until_asleep(child.pid);
    let mut stat = queue.stat();
    stat.most_bytes = 8;
    ok(sys!(msgctl, queue.0, IPC_SET, &stat));
    child.succeeds();
    eq(queue.stat().bytes, 8);
}

case!(removal_ends_both_waits: msgctl, msgsnd, msgrcv);
fn removal_ends_both_waits() {
    let queue = narrow(4);
    ok(queue.send(1, b"abcd", 0));
    let sender = fork(|| fails(queue.send(1, b"e", 0), EIDRM));
    let receiver = fork(|| fails(queue.receive(7, 64, 0).map(|_| 0), EIDRM));
    until_asleep(sender.pid);
    until_asleep(receiver.pid);
    ok(sys!(msgctl, queue.0, IPC_RMID));
    sender.succeeds();
    receiver.succeeds();
    fails(queue.send(1, b"e", 0), EINVAL);
}

case!(signals_end_waits: msgsnd, msgrcv);
fn signals_end_waits() {
    let queue = narrow(1);
    ok(queue.send(1, b"a", 0));
    for flags in [0, SA_RESTART] {
        let children = [
            fork(|| {
                sig::on(SIGUSR1, nothing, flags);
                fails(queue.send(1, b"b", 0), EINTR);
            }),
            fork(|| {
                sig::on(SIGUSR1, nothing, flags);
                fails(queue.receive(2, 64, 0).map(|_| 0), EINTR);
            }),
        ];
        for child in children {
            until_asleep(child.pid);
            child.kill(SIGUSR1);
            child.succeeds();
        }
    }
    eq(queue.stat().count, 1);
}

case!(stops_do_not_end_waits: msgsnd, msgrcv);
fn stops_do_not_end_waits() {
    let queue = narrow(1);
    ok(queue.send(1, b"a", 0));
    let sender = fork(|| done(queue.send(3, b"c", 0)));
    let receiver = fork(|| eq(queue.receive(2, 64, 0), Ok((2, b"b".to_vec()))));
    for child in [&sender, &receiver] {
        until_asleep(child.pid);
        child.kill(SIGSTOP);
        until_state(child.pid, 'T');
        child.kill(SIGCONT);
        until_asleep(child.pid);
    }
    eq(queue.next(1), (1, "a".to_owned()));
    sender.succeeds();
    eq(queue.next(3), (3, "c".to_owned()));
    ok(queue.send(2, b"b", 0));
    receiver.succeeds();
}

extern "C" fn nothing(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {}

case!(copies_stay_in_the_queue: msgrcv);
fn copies_stay_in_the_queue() {
    let queue = four();
    let copy = |place, size, flags| queue.receive(place, size, flags | COPY);
    if copy(0, 64, IPC_NOWAIT).map(|_| 0) == Err(Errno(ENOSYS)) {
        skip("the kernel has no MSG_COPY");
    }
    eq(copy(0, 64, IPC_NOWAIT), Ok((3, b"a".to_vec())));
    eq(copy(3, 64, IPC_NOWAIT), Ok((1, b"d".to_vec())));
    eq(queue.stat().count, 4);
    fails(copy(4, 64, IPC_NOWAIT).map(|_| 0), ENOMSG);
    fails(copy(-1, 64, IPC_NOWAIT).map(|_| 0), ENOMSG);
    fails(copy(0, 64, 0).map(|_| 0), EINVAL);
    fails(copy(0, 64, IPC_NOWAIT | EXCEPT).map(|_| 0), EINVAL);
    fails(copy(0, 0, IPC_NOWAIT).map(|_| 0), E2BIG);
    // A copy is not cut.
    fails(copy(0, 0, IPC_NOWAIT | NOERROR).map(|_| 0), EINVAL);
    fails(sys!(msgrcv, queue.0, 8, 64, 0, IPC_NOWAIT | COPY), EFAULT);
}

case!(queues_have_keys: msgget);
fn queues_have_keys() {
    let key = key();
    fails(sys!(msgget, key, 0o600), ENOENT);
    let queue = Queue(ok_i32(sys!(msgget, key, IPC_CREAT | 0o620)));
    eq(sys!(msgget, key, 0), Ok(i64::from(queue.0)));
    eq(sys!(msgget, key, IPC_CREAT), Ok(i64::from(queue.0)));
    fails(sys!(msgget, key, IPC_CREAT | IPC_EXCL), EEXIST);
    eq((queue.stat().perm.key, queue.stat().perm.mode), (key, 0o620));
    ok(sys!(msgctl, queue.0, IPC_RMID));
    fails(sys!(msgget, key, 0), ENOENT);
}

case!(permissions_of_a_queue: msgget, msgsnd, msgrcv, msgctl; root);
fn permissions_of_a_queue() {
    let key = key();
    let queue = Queue(ok_i32(sys!(msgget, key, IPC_CREAT | 0o602)));
    in_child(|| {
        become_user(NOBODY);
        ok(queue.send(1, b"x", 0));
        fails(queue.receive(0, 64, IPC_NOWAIT).map(|_| 0), EACCES);
        fails(sys!(msgctl, queue.0, IPC_STAT, &mut super::MsgStat::default()), EACCES);
        fails(sys!(msgctl, queue.0 & 0x7fff, MSG_STAT, &mut super::MsgStat::default()), EACCES);
        fails(sys!(msgget, key, 0o400), EACCES);
        eq(sys!(msgget, key, 0o222), Ok(i64::from(queue.0)));
        fails(sys!(msgctl, queue.0, IPC_RMID), EPERM);
    });
    // Who waits is asked again when the queue changes.
    ok(queue.receive(0, 64, 0).map(|_| 0));
    let mut stat = queue.stat();
    stat.perm.mode = 0o606;
    ok(sys!(msgctl, queue.0, IPC_SET, &stat));
    let child = fork(|| {
        become_user(NOBODY);
        fails(queue.receive(0, 64, 0).map(|_| 0), EACCES);
    });
    until_asleep(child.pid);
    stat.perm.mode = 0o600;
    ok(sys!(msgctl, queue.0, IPC_SET, &stat));
    child.succeeds();
}

case!(messages_leave_traces: msgsnd, msgrcv, msgctl);
fn messages_leave_traces() {
    let begin = seconds();
    let pid = ok(sys!(getpid)) as i32;
    let queue = Queue::new();
    let stat = queue.stat();
    eq((stat.count, stat.bytes, stat.stime, stat.rtime, stat.sender, stat.receiver), (0, 0, 0, 0, 0, 0));
    eq(stat.most_bytes, text(c"/proc/sys/kernel/msgmnb").trim().parse().unwrap_or(0));
    ok(queue.send(1, b"four", 0));
    let stat = queue.stat();
    eq((stat.count, stat.bytes, stat.rtime, stat.sender, stat.receiver), (1, 4, 0, pid, 0));
    within("stime", stat.stime, begin - 1, begin + 100);
    ok(queue.receive(0, 64, 0).map(|_| 0));
    let stat = queue.stat();
    eq((stat.count, stat.bytes, stat.sender, stat.receiver), (0, 0, pid, pid));
    within("rtime", stat.rtime, begin - 1, begin + 100);
}
