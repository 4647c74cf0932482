//! Linux native asynchronous I/O: io_setup, io_submit, io_getevents, io_cancel, io_destroy, io_pgetevents.

use crate::kit::prelude::*;

/// `struct iocb`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    reqprio: i16,
    fd: i32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    reserved2: u64,
    flags: u32,
    resfd: i32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Event {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const FSYNC: u16 = 2;
const FDSYNC: u16 = 3;
const POLL: u16 = 5;
const PREADV: u16 = 7;
const PWRITEV: u16 = 8;
const RESFD: u32 = 1;
const IOPRIO: u32 = 2;

fn setup(requests: u32) -> u64 {
    let mut context = 0u64;
    eq(ok(sys!(io_setup, requests, &mut context)), 0);
    context
}

fn request(opcode: u16, fd: i32, buf: u64, nbytes: u64, offset: i64) -> Iocb {
    Iocb { data: 0x1234_0000 + u64::from(opcode), opcode, fd, buf, nbytes, offset, ..Iocb::default() }
}

fn submit(context: u64, iocb: &Iocb) -> Answer {
    sys!(io_submit, context, 1, &[std::ptr::from_ref(iocb)])
}

/// All results that there are.
fn reap(context: u64) -> Vec<Event> {
    let mut events = [Event::default(); 16];
    let now = timespec { tv_sec: 0, tv_nsec: 0 };
    let count = ok(sys!(io_getevents, context, 0, 16, &mut events, &now));
    events[..count as usize].to_vec()
}

/// What the one request that is outstanding came to.
fn result(context: u64, iocb: &Iocb) -> i64 {
    let mut event = Event::default();
    eq(ok(sys!(io_getevents, context, 1, 1, &mut event, 0)), 1);
    eq((event.data, event.obj, event.res2), (iocb.data, std::ptr::from_ref(iocb) as u64, 0));
    event.res
}

/// As [`result`], of a poll that had to wait: it may tell more than was asked for.
fn woken(context: u64, poll: &Iocb) -> i64 {
    result(context, poll) & !i64::from(POLLRDNORM)
}

fn comes_to(context: u64, iocb: &Iocb) -> i64 {
    eq(ok(submit(context, iocb)), 1);
    result(context, iocb)
}

case!(contexts: io_setup, io_destroy);
fn contexts() {
    let context = setup(4);
    let maps = text(c"/proc/self/maps");
    let start = format!("{context:x}-");
    let line = maps.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
    check(line.contains("rw-s") && line.ends_with("/[aio] (deleted)"), line);
    let requests: u64 = text(c"/proc/sys/fs/aio-nr").trim().parse().unwrap_or(0);
    check(requests >= 4, requests);
    let other = setup(1);
    check(other != context, "two contexts are one");
    eq(ok(sys!(io_destroy, context)), 0);
    fails(sys!(io_destroy, context), EINVAL);
    check(!text(c"/proc/self/maps").contains(&start), "the ring stays");
    eq(ok(sys!(io_destroy, other)), 0);
    fails(sys!(io_setup, 0, &mut 0u64), EINVAL);
    fails(sys!(io_setup, 1, &mut 1u64), EINVAL);
    fails(sys!(io_setup, 0, 8), EFAULT);
    fails(sys!(io_setup, 1, 8), EFAULT);
    fails(sys!(io_setup, 65_537, &mut 0u64), EAGAIN);
    fails(sys!(io_setup, 0x0100_0000, &mut 0u64), EINVAL);
    fails(sys!(io_setup, 0x8000_0000u32, &mut 0u64), EAGAIN);
    fails(sys!(io_destroy, 0), EINVAL);
    fails(sys!(io_destroy, &0u64), EINVAL);
}

case!(reads_and_writes: io_submit, io_getevents);
fn reads_and_writes() {
    let context = setup(8);
    let fd = create(c"file", b"");
    eq(comes_to(context, &request(PWRITE, fd, b"hello world".as_ptr() as u64, 11, 0)), 11);
    let mut back = [0u8; 20];
    eq(comes_to(context, &request(PREAD, fd, back.as_mut_ptr() as u64, 20, 6)), 5);
    eq(&back[..5], b"world");
    let (mut a, mut b) = ([0u8; 3], [0u8; 5]);
    let vector = [
        iovec { iov_base: a.as_mut_ptr().cast(), iov_len: 3 },
        iovec { iov_base: b.as_mut_ptr().cast(), iov_len: 5 },
    ];
    eq(comes_to(context, &request(PREADV, fd, vector.as_ptr() as u64, 2, 0)), 8);
    eq((&a, &b), (b"hel", b"lo wo"));
    eq(comes_to(context, &request(PWRITEV, fd, vector.as_ptr() as u64, 2, 11)), 8);
    eq(content(c"file"), b"hello worldhello wo");
    // The position is another matter, and past the end is nothing.
    eq(ok(sys!(lseek, fd, 0, SEEK_CUR)), 0);
    eq(comes_to(context, &request(PREAD, fd, back.as_mut_ptr() as u64, 20, 1000)), 0);
    // What fails while it is done is a result.
    eq(comes_to(context, &request(PREAD, fd, 8, 1, 0)), -i64::from(EFAULT));
    let [r, w] = pipe(O_NONBLOCK);
    eq(comes_to(context, &request(PREAD, r, back.as_mut_ptr() as u64, 1, 0)), -i64::from(EAGAIN));
    eq(comes_to(context, &request(PWRITE, w, b"xyz".as_ptr() as u64, 3, 77)), 3);
    eq(comes_to(context, &request(PREAD, r, back.as_mut_ptr() as u64, 20, 99)), 3);
    let appending = open(c"file", O_WRONLY | O_APPEND);
    eq(comes_to(context, &request(PWRITE, appending, b"!".as_ptr() as u64, 1, 0)), 1);
    eq(content(c"file"), b"hello worldhello wo!");
    ok(sys!(io_destroy, context));
}

case!(several_at_once: io_submit, io_getevents);
fn several_at_once() {
    let context = setup(8);
    let fd = create(c"file", b"0123456789");
    let mut bytes = [[0u8; 2]; 4];
    let iocbs: Vec<Iocb> = (0..4)
        .map(|n| {
            let buf = bytes[n].as_mut_ptr() as u64;
            Iocb { data: n as u64, ..request(PREAD, fd, buf, 2, n as i64 * 2) }
        })
        .collect();
    let mut list: Vec<*const Iocb> = iocbs.iter().map(std::ptr::from_ref).collect();
    eq(ok(sys!(io_submit, context, 4, list.as_ptr())), 4);
    let events = reap(context);
    eq(
        events.iter().map(|event| (event.data, event.res)).collect::<Vec<_>>(),
        [(0, 2), (1, 2), (2, 2), (3, 2)],
    );
    eq(bytes.concat(), b"01234567");
    // Those before the one that is refused are done.
    list[2] = std::ptr::without_provenance(8);
    eq(ok(sys!(io_submit, context, 4, list.as_ptr())), 2);
    eq(reap(context).len(), 2);
    fails(sys!(io_submit, context, 1, &list[2]), EFAULT);
    fails(sys!(io_submit, context, 1, 8), EFAULT);
    fails(sys!(io_submit, context, -1, list.as_ptr()), EINVAL);
    eq(ok(sys!(io_submit, context, 0, 8)), 0);
    fails(sys!(io_submit, 0, 0, 8), EINVAL);
    fails(sys!(io_submit, context + 1, 0, 8), EINVAL);
    eq(reap(context), []);
}

case!(refused_requests: io_submit);
fn refused_requests() {
    let context = setup(2);
    let fd = create(c"file", b"text");
    let mut buffer = [0u8; 8];
    let good = request(PREAD, fd, buffer.as_mut_ptr() as u64, 4, 0);
    let refused = |change: fn(&mut Iocb), errno| {
        let mut bad = good;
        change(&mut bad);
        fails(submit(context, &bad), errno);
    };
    refused(|iocb| iocb.reserved2 = 1, EINVAL);
    refused(|iocb| iocb.nbytes = 1 << 63, EINVAL);
    refused(|iocb| iocb.fd = -1, EBADF);
    refused(|iocb| iocb.opcode = 6, EINVAL);
    refused(|iocb| iocb.opcode = 4, EINVAL);
    refused(|iocb| iocb.opcode = 9, EINVAL);
    refused(|iocb| iocb.offset = -1, EINVAL);
    refused(|iocb| iocb.rw_flags = 0x8000_0000, EOPNOTSUPP);
    refused(|iocb| (iocb.flags, iocb.reqprio) = (IOPRIO, 7 << 13), EINVAL);
    refused(|iocb| iocb.opcode = FSYNC, EINVAL);
    refused(|iocb| (iocb.flags, iocb.resfd) = (RESFD, -1), EBADF);
    refused(|iocb| (iocb.flags, iocb.resfd) = (RESFD, iocb.fd), EINVAL);
    // Best effort, level 4.
    eq(comes_to(context, &Iocb { flags: IOPRIO, reqprio: 2 << 13 | 4, ..good }), 4);
    // Not for that.
    for (name, flags, opcode) in [(c"file", O_WRONLY, PREAD), (c"file", O_RDONLY, PWRITE)] {
        let wrong = open(name, flags);
        fails(submit(context, &Iocb { fd: wrong, opcode, ..good }), EBADF);
    }
    mkdir(c"dir");
    let dir = open(c"dir", O_RDONLY);
    fails(submit(context, &Iocb { fd: dir, ..good }), EINVAL);
    let path = open(c"file", O_PATH);
    fails(submit(context, &Iocb { fd: path, ..good }), EBADF);
    // A key that can't be written: the structure is in memory that can only be read.
    let page = map(PAGE, RW);
    // SAFETY: the page has just been mapped, and is larger than the structure.
    unsafe { (page as *mut Iocb).write(good) };
    ok(sys!(mprotect, page, PAGE, PROT_READ));
    fails(sys!(io_submit, context, 1, &page), EFAULT);
    eq(reap(context), []);
    // None of them took a place.
    eq(comes_to(context, &good), 4);
}

case!(syncing: io_submit);
fn syncing() {
    let context = setup(2);
    let fd = create(c"file", b"text");
    for opcode in [FSYNC, FDSYNC] {
        eq(comes_to(context, &request(opcode, fd, 0, 0, 0)), 0);
        fails(submit(context, &request(opcode, fd, 0, 1, 0)), EINVAL);
        fails(submit(context, &request(opcode, fd, 0, 0, 1)), EINVAL);
        fails(submit(context, &request(opcode, fd, 1, 0, 0)), EINVAL);
        let [r, _w] = pipe(0);
        fails(submit(context, &request(opcode, r, 0, 0, 0)), EINVAL);
    }
}

case!(eventfd_is_told: io_submit, eventfd2);
fn eventfd_is_told() {
    let context = setup(4);
    let fd = create(c"file", b"text");
    let told = ok_i32(sys!(eventfd2, 0, EFD_NONBLOCK));
    let mut buffer = [0u8; 8];
    let iocb = Iocb { flags: RESFD, resfd: told, ..request(PREAD, fd, buffer.as_mut_ptr() as u64, 4, 0) };
    let iocbs = [std::ptr::from_ref(&iocb); 3];
    eq(ok(sys!(io_submit, context, 3, &iocbs)), 3);
    let mut count = 0u64;
    eq(ok(sys!(read, told, &mut count, 8)), 8);
    eq(count, 3);
    eq(reap(context).len(), 3);
}

case!(polling: io_submit, io_getevents);
fn polling() {
    let context = setup(4);
    let [r, w] = pipe(0);
    let poll = request(POLL, r, POLLIN as u64, 0, 0);
    eq(ok(submit(context, &poll)), 1);
    eq(reap(context), []);
    write_all(w, b"x");
    eq(woken(context, &poll), i64::from(POLLIN));
    // Ready at once, and only once.
    eq(comes_to(context, &poll), i64::from(POLLIN));
    eq(reap(context), []);
    // Hang-ups are told, asked for or not.
    read(r, 1);
    let told = ok_i32(sys!(eventfd2, 0, EFD_NONBLOCK));
    let poll = Iocb { flags: RESFD, resfd: told, ..request(POLL, r, 0, 0, 0) };
    eq(ok(submit(context, &poll)), 1);
    fails(sys!(read, told, &mut 0u64, 8), EAGAIN);
    close(w);
    eq(result(context, &poll), i64::from(POLLHUP));
    eq(ok(sys!(read, told, &mut 0u64, 8)), 8);
    // What is always ready is.
    let fd = create(c"file", b"text");
    eq(comes_to(context, &request(POLL, fd, POLLIN as u64, 0, 0)), i64::from(POLLIN));
    fails(submit(context, &request(POLL, fd, 0x1_0000, 0, 0)), EINVAL);
    fails(submit(context, &request(POLL, fd, POLLIN as u64, 1, 0)), EINVAL);
    fails(submit(context, &request(POLL, fd, POLLIN as u64, 0, 1)), EINVAL);
    fails(submit(context, &Iocb { rw_flags: 1, ..request(POLL, fd, POLLIN as u64, 0, 0) }), EINVAL);
}

case!(polls_tell_of_their_own_end: io_submit, io_getevents);
fn polls_tell_of_their_own_end() {
    // What makes one end of a pipe ready is nothing to the other; and the ring tells without a call.
    let context = setup(4);
    let [r, w] = pipe(0);
    let tail = || peek64(context as usize + 8) >> 32;
    let [input, output] = [request(POLL, w, POLLIN as u64, 0, 0), request(POLL, r, POLLIN as u64, 0, 0)];
    eq(ok(submit(context, &input)), 1);
    eq(ok(submit(context, &output)), 1);
    eq(tail(), 0);
    write_all(w, b"x");
    eventually("there is a result", || tail() == 1);
    eq(woken(context, &output), i64::from(POLLIN));
    close(r);
    eventually("there is another", || tail() == 2);
    check(result(context, &input) & i64::from(POLLERR) != 0, "no error");
}

case!(cancelling: io_cancel, io_submit);
fn cancelling() {
    let context = setup(4);
    let [r, w] = pipe(0);
    let poll = request(POLL, r, POLLIN as u64, 0, 0);
    fails(sys!(io_cancel, context, &poll, &mut Event::default()), EINVAL);
    eq(ok(submit(context, &poll)), 1);
    fails(sys!(io_cancel, context, &poll, &mut Event::default()), EINPROGRESS);
    eq(result(context, &poll), 0);
    // It is gone.
    fails(sys!(io_cancel, context, &poll, 0), EINVAL);
    write_all(w, b"x");
    eq(reap(context), []);
    fails(sys!(io_cancel, context, 8, 0), EFAULT);
    fails(sys!(io_cancel, context, &Iocb { key: 1, ..poll }, 0), EINVAL);
    fails(sys!(io_cancel, 0, &poll, 0), EINVAL);
}

case!(waiting_for_results: io_getevents);
fn waiting_for_results() {
    let context = setup(4);
    let [r, w] = pipe(0);
    let poll = request(POLL, r, POLLIN as u64, 0, 0);
    eq(ok(submit(context, &poll)), 1);
    let mut events = [Event::default(); 4];
    let short = timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let before = now_ns(CLOCK_MONOTONIC);
    eq(ok(sys!(io_getevents, context, 1, 4, &mut events, &short)), 0);
    check(now_ns(CLOCK_MONOTONIC) - before >= 20_000_000, "it did not wait");
    // With fewer than asked for it waits to the end, and gives what there is.
    let fd = create(c"file", b"text");
    eq(ok(submit(context, &request(FSYNC, fd, 0, 0, 0))), 1);
    eq(ok(sys!(io_getevents, context, 2, 4, &mut events, &short)), 1);
    let (_, thread) = thread::spawn(move || {
        sleep_ms(20);
        write_all(w, b"x");
    });
    eq(woken(context, &poll), i64::from(POLLIN));
    thread::join(thread);
    // Less than no time is for ever.
    let child = fork(|| {
        let negative = timespec { tv_sec: -1, tv_nsec: 0 };
        let _ = sys!(io_getevents, setup(1), 1, 4, &mut [Event::default(); 4], &negative);
    });
    until_asleep(child.pid);
    child.end();
    fails(sys!(io_getevents, context, -1, 4, &mut events, &short), EINVAL);
    fails(sys!(io_getevents, context, 5, 4, &mut events, &short), EINVAL);
    fails(sys!(io_getevents, context, 1, 4, &mut events, 8), EFAULT);
    fails(sys!(io_getevents, 0, 1, 4, &mut events, &short), EINVAL);
    eq(ok(sys!(io_getevents, context, 0, 0, 8, 0)), 0);
    // What can't be stored stays.
    eq(ok(submit(context, &request(FSYNC, fd, 0, 0, 0))), 1);
    fails(sys!(io_getevents, context, 1, 1, 8, 0), EFAULT);
    eq(reap(context).len(), 1);
}

case!(signals_end_a_wait: io_getevents, io_pgetevents);
fn signals_end_a_wait() {
    let child = fork(|| {
        sig::on(SIGUSR1, sig::record, SA_RESTART);
        let context = setup(4);
        fails(sys!(io_getevents, context, 1, 1, &mut Event::default(), 0), EINTR);
        eq(sig::count(), 1);
    });
    until_asleep(child.pid);
    child.kill(SIGUSR1);
    child.succeeds();
    let context = setup(4);
    sig::on(SIGUSR1, sig::record, 0);
    sig::block(sig::bit(SIGUSR1));
    sig::raise(SIGUSR1);
    let limit = timespec { tv_sec: 5, tv_nsec: 0 };
    let none = 0u64;
    let mask = [std::ptr::from_ref(&none) as u64, 8];
    fails(sys!(io_pgetevents, context, 1, 1, &mut Event::default(), &limit, &mask), EINTR);
    eq((sig::count(), sig::mask()), (1, sig::bit(SIGUSR1)));
    let bad = [std::ptr::from_ref(&none) as u64, 4];
    fails(sys!(io_pgetevents, context, 1, 1, &mut Event::default(), &limit, &bad), EINVAL);
    fails(sys!(io_pgetevents, context, 1, 1, &mut Event::default(), &limit, 8), EFAULT);
    let short = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    eq(ok(sys!(io_pgetevents, context, 1, 1, &mut Event::default(), &short, 0)), 0);
}

case!(ring_can_be_looked_at: io_setup, io_submit);
fn ring_can_be_looked_at() {
    let context = setup(4);
    let word = |n: usize| peek64(context as usize + n / 2 * 8) >> (n % 2 * 32) & 0xffff_ffff;
    let [head, tail] = [2, 3];
    eq(word(4), 0xa10a_10a1);
    eq((word(5), word(6), word(7)), (1, 0, 32));
    let entries = word(1);
    check(entries >= 5, entries);
    eq((word(head), word(tail)), (0, 0));
    let fd = create(c"file", b"text");
    let iocb = request(FSYNC, fd, 0, 0, 0);
    eq(ok(submit(context, &iocb)), 1);
    eventually("the file is synced", || word(tail) == 1);
    eq(peek64(context as usize + 32), iocb.data);
    // Taken without a call.
    poke64(context as usize + 8, 1 | 1 << 32);
    eq(reap(context), []);
    // What programs write there is their own matter.
    poke64(context as usize + 8, u64::MAX);
    fails(sys!(io_getevents, context, 2, 1, 0, 0), EINVAL);
    ok(sys!(io_destroy, context));
    // A ring that is not there any more is no context.
    let context = setup(4);
    unmap(context as usize, PAGE);
    fails(submit(context, &iocb), EINVAL);
}

case!(a_ring_gets_full: io_submit, io_getevents);
fn a_ring_gets_full() {
    let context = setup(4);
    let entries = peek64(context as usize) >> 32;
    let fd = create(c"file", b"text");
    let mut buffer = [0u8; 4];
    let iocb = request(PREAD, fd, buffer.as_mut_ptr() as u64, 4, 0);
    let mut done = 0;
    while let Ok(1) = submit(context, &iocb) {
        done += 1;
        check(done < entries, "more than it has room for");
    }
    check(done >= 4, done);
    fails(submit(context, &iocb), EAGAIN);
    let mut events = [Event::default(); 16];
    let mut taken = 0;
    while taken < done {
        taken += ok(sys!(io_getevents, context, 1, 16, &mut events, 0)) as u64;
    }
    eq(taken, done);
    eq(reap(context), []);
    for _ in 0..3 * entries {
        eq(comes_to(context, &iocb), 4);
    }
}

case!(contexts_are_of_one_process: io_submit, fork);
fn contexts_are_of_one_process() {
    let context = setup(4);
    let fd = create(c"file", b"text");
    let iocb = request(FSYNC, fd, 0, 0, 0);
    fork(move || {
        fails(submit(context, &iocb), EINVAL);
        fails(sys!(io_destroy, context), EINVAL);
        let own = setup(4);
        ok(sys!(io_destroy, own));
    })
    .succeeds();
    eq(comes_to(context, &iocb), 0);
    // It ends with what it waits for.
    let [r, w] = pipe(0);
    fork(move || {
        let own = setup(4);
        eq(ok(submit(own, &request(POLL, r, POLLIN as u64, 0, 0))), 1);
    })
    .succeeds();
    write_all(w, b"x");
    eq(read(r, 1), b"x");
}

case!(a_wait_ends_with_its_context: io_destroy, io_getevents);
fn a_wait_ends_with_its_context() {
    let context = setup(4);
    let (tid, waiter) = thread::spawn(move || {
        fails(sys!(io_getevents, context, 1, 1, &mut Event::default(), 0), EINVAL);
    });
    until_asleep(tid);
    ok(sys!(io_destroy, context));
    thread::join(waiter);
}
