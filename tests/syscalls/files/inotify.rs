//! inotify.

use crate::kit::prelude::*;

const ALL: u32 = 0xfff;

/// An event as it is compared: watch, what, and the name.
type Seen = (i32, u32, String);

fn instance() -> i32 {
    ok_i32(sys!(inotify_init1, IN_NONBLOCK | IN_CLOEXEC))
}

fn watch(fd: i32, path: &std::ffi::CStr, mask: u32) -> i32 {
    ok_i32(sys!(inotify_add_watch, fd, path, mask))
}

/// All events that wait, and their cookies.
fn events_and_cookies(fd: i32) -> (Vec<Seen>, Vec<u32>) {
    let mut available = 0i32;
    ok(sys!(ioctl, fd, FIONREAD, &mut available));
    if available == 0 {
        fails(sys!(read, fd, &mut [0u8; 300], 300), EAGAIN);
        return (Vec::new(), Vec::new());
    }
    let bytes = read(fd, 65_536);
    eq(bytes.len(), available as usize);
    let (mut seen, mut cookies) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        let word = |i: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at + 4 * i..at + 4 * i + 4]);
            u32::from_ne_bytes(word)
        };
        let len = word(3) as usize;
        eq(len % 16, 0);
        let name = &bytes[at + 16..at + 16 + len];
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        seen.push((word(0) as i32, word(1), String::from_utf8_lossy(name).into_owned()));
        cookies.push(word(2));
        at += 16 + len;
    }
    (seen, cookies)
}

fn events(fd: i32) -> Vec<Seen> {
    events_and_cookies(fd).0
}

fn e(wd: i32, mask: u32, name: &str) -> Seen {
    (wd, mask, name.to_owned())
}

case!(reading_and_writing: inotify_init1, inotify_add_watch, read, write, openat, close; disk);
fn reading_and_writing() {
    mkdir(c"d");
    close(create(c"d/f", b"12345"));
    let fd = instance();
    eq((watch(fd, c"d", ALL), watch(fd, c"d/f", ALL)), (1, 2));
    let f = open(c"d/f", O_RDWR);
    eq(events(fd), [e(1, IN_OPEN, "f"), e(2, IN_OPEN, "")]);
    read(f, 2);
    eq(events(fd), [e(1, IN_ACCESS, "f"), e(2, IN_ACCESS, "")]);
    write_all(f, b"x");
    ok(sys!(ftruncate, f, 2));
    // What is the same as the event before is not told twice, but the two watches take turns.
    eq(events(fd), [e(1, IN_MODIFY, "f"), e(2, IN_MODIFY, ""), e(1, IN_MODIFY, "f"), e(2, IN_MODIFY, "")]);
    close(f);
    eq(events(fd), [e(1, IN_CLOSE_WRITE, "f"), e(2, IN_CLOSE_WRITE, "")]);
    close(open(c"d/f", O_RDONLY));
    eq(
        events(fd),
        [e(1, IN_OPEN, "f"), e(2, IN_OPEN, ""), e(1, IN_CLOSE_NOWRITE, "f"), e(2, IN_CLOSE_NOWRITE, "")],
    );
    // A descriptor that is only a place is not told of.
    close(open(c"d/f", O_PATH));
    eq(events(fd), []);
}

case!(same_events_are_one: inotify_add_watch, write);
fn same_events_are_one() {
    let f = create(c"f", b"");
    let fd = instance();
    let wd = watch(fd, c"f", IN_MODIFY);
    for _ in 0..5 {
        write_all(f, b"x");
    }
    eq(events(fd), [e(wd, IN_MODIFY, "")]);
}

case!(attributes: inotify_add_watch, fchmod, fchown, utimensat, fsetxattr; disk);
fn attributes() {
    let f = create(c"f", b"");
    let fd = instance();
    let wd = watch(fd, c"f", IN_ATTRIB);
    let told = || eq(events(fd), [e(wd, IN_ATTRIB, "")]);
    ok(sys!(fchmod, f, 0o600));
    told();
    ok(sys!(fchown, f, -1, -1));
    eq(events(fd), []);
    ok(sys!(fchown, f, ok(sys!(geteuid)), -1));
    told();
    ok(sys!(utimensat, f, 0, 0, 0));
    told();
    ok(sys!(linkat, AT_FDCWD, c"f", AT_FDCWD, c"g", 0));
    told();
    ok(sys!(unlink, c"g"));
    told();
    if sys!(fsetxattr, f, c"user.a", c"b", 1, 0).is_ok() {
        told();
    } else {
        eq(events(fd), []);
    }
}

case!(names_come_and_go: inotify_add_watch, mkdir, symlink, link, mknodat, unlink, rmdir; disk);
fn names_come_and_go() {
    mkdir(c"d");
    let fd = instance();
    let wd = watch(fd, c"d", IN_CREATE | IN_DELETE);
    close(create(c"d/f", b""));
    mkdir(c"d/sub");
    ok(sys!(symlinkat, c"x", AT_FDCWD, c"d/l"));
    ok(sys!(linkat, AT_FDCWD, c"d/f", AT_FDCWD, c"d/h", 0));
    ok(sys!(mknodat, AT_FDCWD, c"d/p", S_IFIFO | 0o600, 0));
    let dir = IN_CREATE | IN_ISDIR;
    let made = [("f", IN_CREATE), ("sub", dir), ("l", IN_CREATE), ("h", IN_CREATE), ("p", IN_CREATE)];
    eq(events(fd), made.map(|(name, mask)| e(wd, mask, name)));
    ok(sys!(unlink, c"d/f"));
    ok(sys!(rmdir, c"d/sub"));
    eq(events(fd), [e(wd, IN_DELETE, "f"), e(wd, IN_DELETE | IN_ISDIR, "sub")]);
}

case!(moves_have_a_cookie: inotify_add_watch, rename; disk);
fn moves_have_a_cookie() {
    mkdir(c"a");
    mkdir(c"b");
    close(create(c"a/f", b""));
    let fd = instance();
    let (a, b) = (watch(fd, c"a", ALL), watch(fd, c"b", ALL));
    let f = watch(fd, c"a/f", IN_MOVE_SELF);
    ok(sys!(renameat, AT_FDCWD, c"a/f", AT_FDCWD, c"b/g"));
    let (seen, cookies) = events_and_cookies(fd);
    eq(seen, [e(a, IN_MOVED_FROM, "f"), e(b, IN_MOVED_TO, "g"), e(f, IN_MOVE_SELF, "")]);
    check(cookies[0] != 0 && cookies[0] == cookies[1] && cookies[2] == 0, "one cookie for both sides");
    ok(sys!(renameat, AT_FDCWD, c"b/g", AT_FDCWD, c"b/h"));
    let (seen, again) = events_and_cookies(fd);
    eq(seen, [e(b, IN_MOVED_FROM, "g"), e(b, IN_MOVED_TO, "h"), e(f, IN_MOVE_SELF, "")]);
    check(again[0] != cookies[0], "a new cookie");
}

case!(the_end_of_what_is_watched: inotify_add_watch, unlink, rmdir; disk);
fn the_end_of_what_is_watched() {
    close(create(c"f", b""));
    mkdir(c"d");
    let fd = instance();
    let (f, d) = (watch(fd, c"f", ALL), watch(fd, c"d", ALL));
    let open_file = open(c"f", O_RDONLY);
    events(fd);
    ok(sys!(unlink, c"f"));
    eq(events(fd), [e(f, IN_ATTRIB, "")]);
    close(open_file);
    eq(events(fd), [e(f, IN_CLOSE_NOWRITE, ""), e(f, IN_DELETE_SELF, ""), e(f, IN_IGNORED, "")]);
    ok(sys!(rmdir, c"d"));
    eq(events(fd), [e(d, IN_DELETE_SELF, ""), e(d, IN_IGNORED, "")]);
    fails(sys!(inotify_rm_watch, fd, d), EINVAL);
}

case!(changing_and_ending_watches: inotify_add_watch, inotify_rm_watch);
fn changing_and_ending_watches() {
    mkdir(c"d");
    let fd = instance();
    let wd = watch(fd, c"d", IN_CREATE);
    eq(watch(fd, c"d", IN_DELETE), wd);
    close(create(c"d/a", b""));
    eq(events(fd), []);
    eq(watch(fd, c"d", IN_CREATE | IN_MASK_ADD), wd);
    close(create(c"d/b", b""));
    ok(sys!(unlink, c"d/a"));
    eq(events(fd), [e(wd, IN_CREATE, "b"), e(wd, IN_DELETE, "a")]);
    fails(sys!(inotify_add_watch, fd, c"d", IN_CREATE | IN_MASK_CREATE), EEXIST);
    ok(sys!(inotify_rm_watch, fd, wd));
    eq(events(fd), [e(wd, IN_IGNORED, "")]);
    fails(sys!(inotify_rm_watch, fd, wd), EINVAL);
    // Its number is not used again at once.
    check(watch(fd, c"d", IN_CREATE) != wd, "a new number");
}

case!(once_and_no_more: inotify_add_watch);
fn once_and_no_more() {
    mkdir(c"d");
    let fd = instance();
    let wd = watch(fd, c"d", IN_CREATE | IN_ONESHOT);
    close(create(c"d/a", b""));
    close(create(c"d/b", b""));
    eq(events(fd), [e(wd, IN_CREATE, "a"), e(wd, IN_IGNORED, "")]);
}

case!(unlinked_children_can_be_left_out: inotify_add_watch);
fn unlinked_children_can_be_left_out() {
    mkdir(c"d");
    let fd = instance();
    let f = create(c"d/f", b"");
    let wd = watch(fd, c"d", IN_MODIFY | IN_EXCL_UNLINK);
    write_all(f, b"x");
    eq(events(fd), [e(wd, IN_MODIFY, "f")]);
    ok(sys!(unlink, c"d/f"));
    write_all(f, b"y");
    eq(events(fd), []);
}

case!(watching_errors: inotify_init1, inotify_add_watch, inotify_rm_watch);
fn watching_errors() {
    fails(sys!(inotify_init1, 1), EINVAL);
    let fd = instance();
    put(c"f", b"");
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"l"));
    fails(sys!(inotify_add_watch, fd, c"none", IN_OPEN), ENOENT);
    fails(sys!(inotify_add_watch, fd, c"f", 0), EINVAL);
    fails(sys!(inotify_add_watch, fd, c"f", IN_OPEN | IN_ONLYDIR), ENOTDIR);
    fails(sys!(inotify_add_watch, fd, c"f", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE), EINVAL);
    fails(sys!(inotify_add_watch, 999, c"f", IN_OPEN), EBADF);
    fails(sys!(inotify_add_watch, open(c"f", O_RDONLY), c"f", IN_OPEN), EINVAL);
    fails(sys!(inotify_add_watch, fd, 8, IN_OPEN), EFAULT);
    fails(sys!(inotify_rm_watch, fd, 1), EINVAL);
    fails(sys!(inotify_rm_watch, 999, 1), EBADF);
    // The link itself is another file than what it leads to.
    check(watch(fd, c"l", IN_OPEN) != watch(fd, c"l", IN_OPEN | IN_DONT_FOLLOW), "two watches");
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o200));
    ok(sys!(fchmodat, AT_FDCWD, c".", 0o755));
    if is_root() {
        unprivileged(|| fails(sys!(inotify_add_watch, fd, c"f", IN_OPEN), EACCES));
    }
}

case!(readiness_and_waiting: inotify_init1, poll, read);
fn readiness_and_waiting() {
    let fd = ok_i32(sys!(inotify_init1, 0));
    mkdir(c"d");
    let wd = watch(fd, c"d", IN_CREATE);
    let mut waits = pollfd { fd, events: POLLIN | POLLOUT, revents: 0 };
    eq(ok(sys!(poll, &mut waits, 1, 0)), 0);
    let child = fork(|| {
        sleep_ms(50);
        mkdir(c"d/sub");
    });
    let bytes = read(fd, 100);
    child.succeeds();
    eq((bytes.len(), bytes[0] as i32), (32, wd));
    ok(sys!(rmdir, c"d/sub"));
    mkdir(c"d/other");
    eq(ok(sys!(poll, &mut waits, 1, 0)), 1);
    eq(waits.revents, POLLIN);
    // Too little room for the event.
    fails(sys!(read, fd, &mut [0u8; 20], 20), EINVAL);
    fails(sys!(write, fd, c"x", 1), EBADF);
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    eq(link.display().to_string(), "anon_inode:inotify");
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    check(info.contains(&format!("inotify wd:{wd:x} ino:")), info.clone());
}

case!(a_user_has_so_many: inotify_init1, inotify_add_watch; root);
fn a_user_has_so_many() {
    let limit: usize = text(c"/proc/sys/fs/inotify/max_user_instances").trim().parse().unwrap_or_default();
    if !(1..=900).contains(&limit) {
        skip("more instances than descriptors");
    }
    in_child(move || {
        // Nobody else's.
        become_user(1_234_567);
        let mut last = -1;
        for _ in 0..limit {
            last = ok_i32(sys!(inotify_init1, IN_CLOEXEC));
        }
        fails(sys!(inotify_init1, 0), EMFILE);
        // A copy counts for nothing, and does not let it end.
        let copy = ok_i32(sys!(dup, last));
        close(last);
        fails(sys!(inotify_init1, 0), EMFILE);
        close(copy);
        eventually("the room of one that was closed", || sys!(inotify_init1, 0).is_ok());
    });
}
