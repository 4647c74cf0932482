//! fanotify.

use std::ffi::CStr;
use std::path::Path;

use crate::kit::elf::{Image, exit_42};
use crate::kit::prelude::*;

/// A record behind an event: its type, the handle and the name in it.
type Record = (u8, Vec<u8>, String);

/// An event as it is compared.
#[derive(Debug, PartialEq, Eq)]
struct Event {
    mask: u64,
    /// What its descriptor leads to, below the scratch directory.
    path: Option<String>,
    records: Vec<Record>,
}

fn event(mask: u64, path: &str) -> Event {
    Event { mask, path: Some(path.to_owned()), records: Vec::new() }
}

fn event_of(mask: u64, records: impl IntoIterator<Item = Record>) -> Event {
    Event { mask, path: None, records: records.into_iter().collect() }
}

/// A group that does not wait.
fn group(flags: u32) -> i32 {
    ok_i32(sys!(fanotify_init, flags | FAN_CLOEXEC | FAN_NONBLOCK, O_RDONLY | O_CLOEXEC))
}

fn mark(fd: i32, flags: u32, mask: u64, path: &CStr) {
    ok(sys!(fanotify_mark, fd, FAN_MARK_ADD | flags, mask, AT_FDCWD, path));
}

fn unmark(fd: i32, flags: u32, mask: u64, path: &CStr) {
    ok(sys!(fanotify_mark, fd, FAN_MARK_REMOVE | flags, mask, AT_FDCWD, path));
}

/// A descriptor's path below the scratch directory.
fn path_of(fd: i32) -> String {
    let at = std::env::current_dir().unwrap_or_default();
    let path = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    path.strip_prefix(&at).unwrap_or(Path::new(&path)).display().to_string()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}

/// The events in what was read, with what they say besides: descriptors and who did it.
fn split(bytes: &[u8]) -> Vec<(Event, i32, i32)> {
    let mut events = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let len = u32_at(bytes, at) as usize;
        eq((bytes[at + 4], bytes[at + 5], u16::from_ne_bytes([bytes[at + 6], bytes[at + 7]])), (3, 0, 24));
        let mask = u64::from(u32_at(bytes, at + 8)) | u64::from(u32_at(bytes, at + 12)) << 32;
        let (fd, pid) = (u32_at(bytes, at + 16) as i32, u32_at(bytes, at + 20) as i32);
        let mut records = Vec::new();
        let mut inside = at + 24;
        while inside < at + len {
            let record_len = u16::from_ne_bytes([bytes[inside + 2], bytes[inside + 3]]) as usize;
            let record = &bytes[inside..inside + record_len];
            if record[0] == FAN_EVENT_INFO_TYPE_PIDFD {
                records.push((record[0], record[4..8].to_vec(), String::new()));
            } else {
                let end = 20 + u32_at(record, 12) as usize;
                let name = record[end..].split(|byte| *byte == 0).next().unwrap_or_default();
                records.push((
                    record[0],
                    record[12..end].to_vec(),
                    String::from_utf8_lossy(name).into_owned(),
                ));
            }
            inside += record_len;
        }
        eq(inside, at + len);
        let path = (fd >= 0).then(|| path_of(fd));
        events.push((Event { mask, path, records }, fd, pid));
        at += len;
    }
    events
}

/// All events that wait; all done by this process, and their descriptors closed.
fn events(fd: i32) -> Vec<Event> {
    let mut buffer = vec![0u8; 65_536];
    let len = match sys!(read, fd, buffer.as_mut_ptr(), buffer.len()) {
        Err(Errno(EAGAIN)) => 0,
        len => ok(len) as usize,
    };
    let own = ok_i32(sys!(getpid));
    let close_it = |(event, fd, pid): (Event, i32, i32)| {
        eq(pid, own);
        if fd >= 0 {
            close(fd);
        }
        event
    };
    split(&buffer[..len]).into_iter().map(close_it).collect()
}

/// A file's handle as events have it: with its head.
fn handle(path: &CStr) -> Vec<u8> {
    let mut bytes = vec![0u8; 136];
    bytes[..4].copy_from_slice(&128u32.to_ne_bytes());
    let mut mount = 0i32;
    ok(sys!(name_to_handle_at, AT_FDCWD, path, bytes.as_mut_ptr(), &mut mount, 0));
    let len = u32_at(&bytes, 0) as usize;
    bytes.truncate(8 + len);
    bytes
}

fn fid(path: &CStr) -> Record {
    (FAN_EVENT_INFO_TYPE_FID, handle(path), String::new())
}

fn named(dir: &CStr, name: &str) -> Record {
    (FAN_EVENT_INFO_TYPE_DFID_NAME, handle(dir), name.to_owned())
}

case!(what_is_done_with_a_file: fanotify_init, fanotify_mark, read, write, openat, close; root; disk);
fn what_is_done_with_a_file() {
    close(create(c"f", b"12345"));
    let fd = group(FAN_CLASS_NOTIF);
    mark(fd, 0, FAN_OPEN | FAN_ACCESS | FAN_MODIFY | FAN_CLOSE, c"f");
    let f = open(c"f", O_RDWR);
    eq(events(fd), [event(FAN_OPEN, "f")]);
    read(f, 2);
    eq(events(fd), [event(FAN_ACCESS, "f")]);
    write_all(f, b"x");
    eq(events(fd), [event(FAN_MODIFY, "f")]);
    // A change of the size is nothing that a descriptor can be shown for.
    ok(sys!(ftruncate, f, 2));
    eq(events(fd), []);
    close(f);
    eq(events(fd), [event(FAN_CLOSE_WRITE, "f")]);
    // What is the same file and process becomes one event.
    let f = open(c"f", O_RDONLY);
    read(f, 1);
    close(f);
    eq(events(fd), [event(FAN_OPEN | FAN_ACCESS | FAN_CLOSE_NOWRITE, "f")]);
    close(open(c"f", O_PATH));
    eq(events(fd), []);
}

case!(files_of_events_are_silent: fanotify_init, fanotify_mark, read; root);
fn files_of_events_are_silent() {
    close(create(c"f", b"12345"));
    let fd = ok_i32(sys!(fanotify_init, FAN_NONBLOCK, O_RDWR | O_APPEND));
    mark(fd, 0, FAN_OPEN | FAN_ACCESS | FAN_MODIFY | FAN_CLOSE, c"f");
    let watcher = ok_i32(sys!(inotify_init1, IN_NONBLOCK));
    ok(sys!(inotify_add_watch, watcher, c"f", IN_ALL_EVENTS));
    close(open(c"f", O_RDONLY));
    let seen = split(&read(fd, 1000));
    eq(seen.len(), 1);
    read(watcher, 1000);
    let shown = seen[0].1;
    eq(ok_i32(sys!(fcntl, shown, F_GETFL)) & (O_ACCMODE | O_APPEND), O_RDWR | O_APPEND);
    eq(ok_i32(sys!(fcntl, shown, F_GETFD)), 0);
    eq(read(shown, 5), b"12345");
    write_all(shown, b"6");
    close(shown);
    eq(events(fd), []);
    fails(sys!(read, watcher, &mut [0u8; 100], 100), EAGAIN);
    eq(content(c"f"), b"123456");
}

case!(directories_and_what_is_in_them: fanotify_mark, getdents64; root; disk);
fn directories_and_what_is_in_them() {
    mkdir(c"d");
    mkdir(c"d/sub");
    put(c"d/f", b"");
    let fd = group(FAN_CLASS_NOTIF);
    mark(fd, 0, FAN_OPEN, c"d");
    let look = || {
        close(open(c"d", O_RDONLY));
        close(open(c"d/f", O_RDONLY));
        close(open(c"d/sub", O_RDONLY));
    };
    look();
    eq(events(fd), []);
    mark(fd, 0, FAN_EVENT_ON_CHILD, c"d");
    look();
    eq(events(fd), [event(FAN_OPEN, "d/f")]);
    mark(fd, FAN_MARK_ONLYDIR, FAN_ONDIR | FAN_ACCESS, c"d");
    look();
    eq(events(fd), [event(FAN_OPEN, "d"), event(FAN_OPEN, "d/f"), event(FAN_OPEN, "d/sub")]);
    unmark(fd, 0, FAN_EVENT_ON_CHILD | FAN_OPEN, c"d");
    look();
    eq(events(fd), []);
    let d = open(c"d", O_RDONLY | O_DIRECTORY);
    ok(sys!(getdents64, d, &mut [0u8; 1000], 1000));
    eq(events(fd), [event(FAN_ACCESS, "d")]);
    fails(sys!(fanotify_mark, fd, FAN_MARK_ADD | FAN_MARK_ONLYDIR, FAN_OPEN, AT_FDCWD, c"d/f"), ENOTDIR);
}

case!(mounts_and_file_systems: fanotify_mark, mount, umount2; root);
fn mounts_and_file_systems() {
    if sys!(unshare, CLONE_NEWNS) == Err(Errno(EPERM)) {
        skip("no mount namespaces here");
    }
    ok(sys!(mount, 0, c"/", 0, MS_REC | MS_PRIVATE, 0));
    mkdir(c"m");
    mkdir(c"n");
    ok(sys!(mount, c"t", c"m", c"tmpfs", 0, 0));
    put(c"m/f", b"");
    ok(sys!(mount, c"m", c"n", 0, MS_BIND, 0));
    let by_mount = group(FAN_CLASS_NOTIF);
    mark(by_mount, FAN_MARK_MOUNT, FAN_OPEN, c"m");
    let by_system = group(FAN_CLASS_NOTIF);
    mark(by_system, FAN_MARK_FILESYSTEM, FAN_OPEN, c"m");
    let look = || {
        close(open(c"m/f", O_RDONLY));
        close(open(c"n/f", O_RDONLY));
        close(open(c"m", O_RDONLY));
    };
    look();
    eq(events(by_mount), [event(FAN_OPEN, "m/f")]);
    eq(events(by_system), [event(FAN_OPEN, "m/f"), event(FAN_OPEN, "n/f")]);
    mark(by_mount, FAN_MARK_MOUNT, FAN_ONDIR, c"m/f");
    look();
    eq(events(by_mount), [event(FAN_OPEN, "m/f"), event(FAN_OPEN, "m")]);
    events(by_system);
    // Each kind of mark is one of its own.
    fails(sys!(fanotify_mark, by_mount, FAN_MARK_REMOVE, FAN_OPEN, AT_FDCWD, c"m"), ENOENT);
    ok(sys!(fanotify_mark, by_mount, FAN_MARK_FLUSH, 0u64, AT_FDCWD, c"m"));
    look();
    eq(events(by_mount).len(), 2);
    ok(sys!(fanotify_mark, by_mount, FAN_MARK_FLUSH | FAN_MARK_MOUNT, 0, AT_FDCWD, 0));
    look();
    eq(events(by_mount), []);
    // A mark keeps no mount, but an event that was not read does.
    eq(events(by_system).len(), 2);
    ok(sys!(umount2, c"n", 0));
    close(open(c"m/f", O_RDONLY));
    fails(sys!(umount2, c"m", 0), EBUSY);
    eq(events(by_system), [event(FAN_OPEN, "m/f")]);
    ok(sys!(umount2, c"m", 0));
    fails(
        sys!(fanotify_mark, by_system, FAN_MARK_REMOVE | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, c"m"),
        ENOENT,
    );
}

case!(names_by_handle: fanotify_init, fanotify_mark, name_to_handle_at; root; disk);
fn names_by_handle() {
    mkdir(c"d");
    let fd = group(FAN_REPORT_DFID_NAME);
    let all = FAN_CREATE | FAN_DELETE | FAN_MOVE | FAN_ONDIR;
    mark(fd, 0, all, c"d");
    close(create(c"d/f", b""));
    eq(events(fd), [event_of(FAN_CREATE, [named(c"d", "f")])]);
    mkdir(c"d/sub");
    eq(events(fd), [event_of(FAN_CREATE | FAN_ONDIR, [named(c"d", "sub")])]);
    ok(sys!(linkat, AT_FDCWD, c"d/f", AT_FDCWD, c"d/g", 0));
    ok(sys!(unlink, c"d/f"));
    ok(sys!(rmdir, c"d/sub"));
    let d = |name| [named(c"d", name)];
    eq(
        events(fd),
        [
            event_of(FAN_CREATE, d("g")),
            event_of(FAN_DELETE, d("f")),
            event_of(FAN_DELETE | FAN_ONDIR, d("sub")),
        ],
    );
    ok(sys!(renameat, AT_FDCWD, c"d/g", AT_FDCWD, c"d/h"));
    eq(events(fd), [event_of(FAN_MOVED_FROM, d("g")), event_of(FAN_MOVED_TO, d("h"))]);
    // A name that comes and goes is one event.
    close(create(c"d/x", b""));
    ok(sys!(unlink, c"d/x"));
    eq(events(fd), [event_of(FAN_CREATE | FAN_DELETE, d("x"))]);
}

case!(handles_of_files_and_directories: fanotify_init, fanotify_mark; root; disk);
fn handles_of_files_and_directories() {
    mkdir(c"d");
    put(c"d/f", b"1");
    mkdir(c"d/sub");
    let (d, f, sub) = (c"d", c"d/f", c"d/sub");
    let dir = |path| (FAN_EVENT_INFO_TYPE_DFID, handle(path), String::new());
    let dir_and_child = FAN_REPORT_DIR_FID | FAN_REPORT_FID;
    let everything = FAN_REPORT_DFID_NAME | FAN_REPORT_FID;
    let of_f = [
        (FAN_REPORT_FID, vec![fid(f)]),
        (FAN_REPORT_DIR_FID, vec![dir_of_child(d)]),
        (dir_and_child, vec![dir(d), fid(f)]),
        (FAN_REPORT_DFID_NAME, vec![named(d, "f")]),
        (everything, vec![named(d, "f"), fid(f)]),
    ];
    for (flags, of_f) in of_f {
        let fd = group(flags);
        mark(fd, 0, FAN_OPEN | FAN_ATTRIB | FAN_EVENT_ON_CHILD | FAN_ONDIR, d);
        let of_dir = |path| match flags {
            FAN_REPORT_FID => fid(path),
            flags if flags & FAN_REPORT_NAME != 0 => named(path, "."),
            _ => dir(path),
        };
        close(open(f, O_RDONLY));
        eq(events(fd), [event_of(FAN_OPEN, of_f.clone())]);
        close(open(sub, O_RDONLY));
        eq(events(fd), [event_of(FAN_OPEN | FAN_ONDIR, [of_dir(sub)])]);
        close(open(d, O_RDONLY));
        eq(events(fd), [event_of(FAN_OPEN | FAN_ONDIR, [of_dir(d)])]);
        ok(sys!(fchmodat, AT_FDCWD, f, 0o600));
        eq(events(fd), [event_of(FAN_ATTRIB, of_f)]);
        close(fd);
    }
}

/// What groups with FAN_REPORT_DIR_FID alone are told of a file in a directory.
fn dir_of_child(dir: &CStr) -> Record {
    (FAN_EVENT_INFO_TYPE_FID, handle(dir), String::new())
}

case!(entries_in_groups_without_names: fanotify_mark; root; disk);
fn entries_in_groups_without_names() {
    mkdir(c"d");
    for (flags, kind) in
        [(FAN_REPORT_FID, FAN_EVENT_INFO_TYPE_FID), (FAN_REPORT_DIR_FID, FAN_EVENT_INFO_TYPE_DFID)]
    {
        let fd = group(flags);
        mark(fd, 0, FAN_CREATE | FAN_DELETE | FAN_ONDIR, c"d");
        put(c"d/a", b"");
        put(c"d/b", b"");
        mkdir(c"d/sub");
        ok(sys!(unlink, c"d/a"));
        ok(sys!(unlink, c"d/b"));
        ok(sys!(rmdir, c"d/sub"));
        let of_d = || [(kind, handle(c"d"), String::new())];
        let both = FAN_CREATE | FAN_DELETE;
        eq(events(fd), [event_of(both, of_d()), event_of(both | FAN_ONDIR, of_d())]);
        close(fd);
    }
}

case!(both_sides_of_a_rename: fanotify_mark, rename; root; disk);
fn both_sides_of_a_rename() {
    mkdir(c"a");
    mkdir(c"b");
    put(c"a/f", b"");
    let file = handle(c"a/f");
    let fd = group(FAN_REPORT_DFID_NAME_TARGET);
    mark(fd, 0, FAN_RENAME, c"a");
    let old = |name: &str| (FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, handle(c"a"), name.to_owned());
    let new = |name: &str| (FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, handle(c"b"), name.to_owned());
    let target = || (FAN_EVENT_INFO_TYPE_FID, file.clone(), String::new());
    // Each side is told to who listens to it.
    ok(sys!(renameat, AT_FDCWD, c"a/f", AT_FDCWD, c"b/g"));
    eq(events(fd), [event_of(FAN_RENAME, [old("f"), target()])]);
    mark(fd, 0, FAN_RENAME, c"b");
    ok(sys!(renameat, AT_FDCWD, c"b/g", AT_FDCWD, c"a/f"));
    events(fd);
    ok(sys!(renameat, AT_FDCWD, c"a/f", AT_FDCWD, c"b/g"));
    eq(events(fd), [event_of(FAN_RENAME, [old("f"), new("g"), target()])]);
    unmark(fd, 0, FAN_RENAME, c"a");
    ok(sys!(renameat, AT_FDCWD, c"b/g", AT_FDCWD, c"a/f"));
    events(fd);
    ok(sys!(renameat, AT_FDCWD, c"a/f", AT_FDCWD, c"b/g"));
    eq(events(fd), [event_of(FAN_RENAME, [new("g"), target()])]);
}

case!(handles_of_targets: fanotify_mark; root; disk);
fn handles_of_targets() {
    mkdir(c"d");
    let fd = group(FAN_REPORT_DFID_NAME_TARGET);
    mark(fd, 0, FAN_CREATE | FAN_DELETE | FAN_MOVE, c"d");
    close(create(c"d/f", b""));
    let file = handle(c"d/f");
    let target = || (FAN_EVENT_INFO_TYPE_FID, file.clone(), String::new());
    eq(events(fd), [event_of(FAN_CREATE, [named(c"d", "f"), target()])]);
    ok(sys!(renameat, AT_FDCWD, c"d/f", AT_FDCWD, c"d/g"));
    let (from, to) = ([named(c"d", "f"), target()], [named(c"d", "g"), target()]);
    eq(events(fd), [event_of(FAN_MOVED_FROM, from), event_of(FAN_MOVED_TO, to.clone())]);
    ok(sys!(unlink, c"d/g"));
    eq(events(fd), [event_of(FAN_DELETE, to)]);
}

case!(the_file_itself_moves_and_ends: fanotify_mark, unlink, rename; root; disk);
fn the_file_itself_moves_and_ends() {
    put(c"f", b"");
    mkdir(c"d");
    let fd = group(FAN_REPORT_FID);
    let mask = FAN_ATTRIB | FAN_MOVE_SELF | FAN_DELETE_SELF;
    mark(fd, 0, mask, c"f");
    mark(fd, 0, mask | FAN_ONDIR, c"d");
    let (f, d) = (fid(c"f"), fid(c"d"));
    ok(sys!(renameat, AT_FDCWD, c"f", AT_FDCWD, c"g"));
    eq(events(fd), [event_of(FAN_MOVE_SELF, [f.clone()])]);
    let held = open(c"g", O_RDONLY);
    ok(sys!(unlink, c"g"));
    eq(events(fd), [event_of(FAN_ATTRIB, [f.clone()])]);
    close(held);
    eq(events(fd), [event_of(FAN_DELETE_SELF, [f])]);
    ok(sys!(rmdir, c"d"));
    eq(events(fd), [event_of(FAN_DELETE_SELF | FAN_ONDIR, [d])]);
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    check(!info.contains("fanotify ino:"), info);
}

case!(what_is_ignored: fanotify_mark; root; disk);
fn what_is_ignored() {
    mkdir(c"d");
    put(c"d/f", b"1");
    put(c"d/g", b"1");
    let fd = group(FAN_CLASS_NOTIF);
    mark(fd, 0, FAN_OPEN | FAN_MODIFY | FAN_EVENT_ON_CHILD, c"d");
    mark(fd, FAN_MARK_IGNORED_MASK, FAN_OPEN, c"d/f");
    let look = || {
        close(open(c"d/f", O_RDONLY));
        close(open(c"d/g", O_RDONLY));
    };
    look();
    eq(events(fd), [event(FAN_OPEN, "d/g")]);
    // A change ends it.
    put_more(c"d/f");
    eq(events(fd), [event(FAN_MODIFY, "d/f")]);
    look();
    eq(events(fd), [event(FAN_OPEN, "d/f"), event(FAN_OPEN, "d/g")]);
    // Unless it is to survive.
    mark(fd, FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY, FAN_OPEN | FAN_MODIFY, c"d/f");
    put_more(c"d/f");
    look();
    eq(events(fd), [event(FAN_OPEN, "d/g")]);
    unmark(fd, FAN_MARK_IGNORED_MASK, FAN_OPEN | FAN_MODIFY, c"d/f");
    look();
    eq(events(fd), [event(FAN_OPEN, "d/f"), event(FAN_OPEN, "d/g")]);
    // The newer way has its own reach.
    mark(fd, FAN_MARK_IGNORE_SURV, FAN_OPEN, c"d");
    look();
    eq(events(fd).len(), 2);
    mark(fd, FAN_MARK_IGNORE_SURV, FAN_OPEN | FAN_EVENT_ON_CHILD, c"d");
    look();
    eq(events(fd), []);
    let add = |flags, path| sys!(fanotify_mark, fd, FAN_MARK_ADD | flags, FAN_OPEN, AT_FDCWD, path);
    fails(add(FAN_MARK_IGNORED_MASK, c"d"), EEXIST);
    fails(add(FAN_MARK_IGNORE, c"d"), EISDIR);
    fails(add(FAN_MARK_IGNORE | FAN_MARK_MOUNT, c"d"), EINVAL);
    ok(add(FAN_MARK_IGNORE_SURV, c"d/g"));
    fails(add(FAN_MARK_IGNORE, c"d/g"), EEXIST);
    fails(add(FAN_MARK_IGNORE | FAN_MARK_IGNORED_MASK, c"d"), EINVAL);
}

fn put_more(path: &CStr) {
    let fd = open(path, O_WRONLY | O_APPEND);
    write_all(fd, b"more");
    close(fd);
}

case!(reading_and_waiting: fanotify_init, read, poll, ioctl, write; root);
fn reading_and_waiting() {
    put(c"f", b"");
    put(c"g", b"");
    let fd = ok_i32(sys!(fanotify_init, FAN_CLASS_NOTIF, O_RDONLY));
    mark(fd, 0, FAN_OPEN, c"f");
    mark(fd, 0, FAN_OPEN, c"g");
    let mut waits = pollfd { fd, events: POLLIN | POLLOUT, revents: 0 };
    eq(ok(sys!(poll, &mut waits, 1, 0)), 0);
    let child = fork(|| {
        sleep_ms(50);
        close(open(c"f", O_RDONLY));
    });
    let seen = split(&read(fd, 100));
    eq((seen.len(), &seen[0].0, seen[0].2), (1, &event(FAN_OPEN, "f"), child.pid));
    child.succeeds();
    close(open(c"f", O_RDONLY));
    close(open(c"g", O_RDONLY));
    eq(ok(sys!(poll, &mut waits, 1, 0)), 1);
    eq(waits.revents, POLLIN);
    let mut available = 0i32;
    ok(sys!(ioctl, fd, FIONREAD, &mut available));
    eq(available, 48);
    // Too little room for an event, and room for one of two.
    fails(sys!(read, fd, &mut [0u8; 23], 23), EINVAL);
    let first = split(&read(fd, 47));
    eq((first.len(), &first[0].0), (1, &event(FAN_OPEN, "f")));
    // What can't be stored is lost.
    fails(sys!(read, fd, 8, 100), EFAULT);
    eq(ok(sys!(poll, &mut waits, 1, 0)), 0);
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default();
    eq(link.display().to_string(), "anon_inode:[fanotify]");
    fails(sys!(ioctl, fd, TCGETS, 0), ENOTTY);
}

case!(too_many_events: fanotify_mark, read, mknodat; root);
fn too_many_events() {
    mkdir(c"d");
    let fd = group(FAN_REPORT_DFID_NAME);
    mark(fd, 0, FAN_CREATE, c"d");
    let limit = std::fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events").unwrap_or_default();
    let limit: usize = limit.trim().parse().unwrap_or_default();
    if !(1..=20_000).contains(&limit) {
        skip("the queue has another length here");
    }
    let mut name = *b"d/00000\0";
    for number in 0..limit + 3 {
        name[2..7].copy_from_slice(format!("{number:05}").as_bytes());
        ok(sys!(mknodat, AT_FDCWD, name.as_ptr(), S_IFREG | 0o600, 0));
    }
    let mut seen = 0;
    let mut last = None;
    loop {
        let mut buffer = vec![0u8; 65_536];
        let len = match sys!(read, fd, buffer.as_mut_ptr(), buffer.len()) {
            Err(Errno(EAGAIN)) => break,
            len => ok(len) as usize,
        };
        let all = split(&buffer[..len]);
        seen += all.len();
        last = all.into_iter().last();
    }
    eq(seen, limit + 1);
    eq(last, Some((event_of(FAN_Q_OVERFLOW, []), FAN_NOFD, 0)));
    // And on it goes.
    ok(sys!(mknodat, AT_FDCWD, c"d/more", S_IFREG | 0o600, 0));
    eq(events(fd), [event_of(FAN_CREATE, [named(c"d", "more")])]);
}

case!(who_has_done_it: fanotify_init, clone; root);
fn who_has_done_it() {
    put(c"f", b"");
    let by_thread = group(FAN_REPORT_TID);
    let by_pidfd = group(FAN_REPORT_PIDFD);
    mark(by_thread, 0, FAN_OPEN, c"f");
    mark(by_pidfd, 0, FAN_OPEN, c"f");
    let (tid, handle) = thread::spawn(|| close(open(c"f", O_RDONLY)));
    thread::join(handle);
    let seen = split(&read(by_thread, 100));
    eq((seen.len(), seen[0].2), (1, tid));
    let seen = split(&read(by_pidfd, 100));
    eq((seen.len(), seen[0].2), (1, ok_i32(sys!(getpid))));
    let (kind, pidfd, _) = &seen[0].0.records[0];
    eq(*kind, FAN_EVENT_INFO_TYPE_PIDFD);
    let pidfd = u32_at(pidfd, 0) as i32;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{pidfd}")).unwrap_or_default();
    check(info.contains(&format!("Pid:\t{}\n", ok(sys!(getpid)))), info.clone());
    eq(ok_i32(sys!(fcntl, pidfd, F_GETFD)), FD_CLOEXEC);
    // Of a process that has gone there is none.
    fork(|| close(open(c"f", O_RDONLY))).succeeds();
    let seen = split(&read(by_pidfd, 100));
    eq(u32_at(&seen[0].0.records[0].1, 0) as i32, FAN_NOPIDFD);
}

case!(programs_are_opened_to_be_executed: fanotify_mark, execve; root);
fn programs_are_opened_to_be_executed() {
    // One that nobody else executes.
    Image::new(exit_42()).write(c"p");
    let fd = group(FAN_CLASS_NOTIF);
    mark(fd, 0, FAN_OPEN | FAN_OPEN_EXEC | FAN_CLOSE, c"p");
    close(open(c"p", O_RDONLY));
    let seen: Vec<u64> = split(&read(fd, 1000)).iter().map(|seen| seen.0.mask).collect();
    eq(seen, [FAN_OPEN | FAN_CLOSE_NOWRITE]);
    let child = fork(|| done(exec(c"p", &[c"p"], &[])));
    let pid = child.pid;
    child.exits_with(42);
    let seen: Vec<_> = split(&read(fd, 1000)).iter().map(|seen| (seen.0.mask, seen.2)).collect();
    eq(seen, [(FAN_OPEN | FAN_OPEN_EXEC | FAN_CLOSE_NOWRITE, pid)]);
}

case!(marks_in_fdinfo: fanotify_init, fanotify_mark; root);
fn marks_in_fdinfo() {
    mkdir(c"d");
    put(c"f", b"");
    let fd = ok_i32(sys!(fanotify_init, FAN_REPORT_DFID_NAME | FAN_NONBLOCK, O_RDWR | O_LARGEFILE));
    mark(fd, 0, FAN_CREATE | FAN_ONDIR, c"d");
    mark(fd, 0, FAN_OPEN, c"f");
    mark(fd, FAN_MARK_IGNORE_SURV, FAN_OPEN, c"f");
    mark(fd, FAN_MARK_MOUNT, FAN_OPEN, c"f");
    mark(fd, FAN_MARK_FILESYSTEM | FAN_MARK_IGNORED_MASK, FAN_OPEN, c"f");
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    let lines: Vec<&str> = info.lines().skip_while(|line| !line.starts_with("fanotify ")).collect();
    eq(lines[0], "fanotify flags:c02 event-flags:8002");
    let mount = stat_mount(c"f");
    // Device numbers as the kernel has them inside.
    let dev = stat(c"f").st_dev;
    let dev = u64::from(major(dev)) << 20 | u64::from(minor(dev));
    let line = |masks: &str, path: &CStr| {
        let bytes = handle(path);
        let hex: String = bytes[8..].iter().map(|byte| format!("{byte:02x}")).collect();
        let kind = u32_at(&bytes, 4);
        format!(
            "fanotify ino:{:x} sdev:{dev:x} {masks} fhandle-bytes:{:x} fhandle-type:{kind:x} f_handle:{hex}",
            stat(path).st_ino,
            bytes.len() - 8
        )
    };
    eq(lines[1], format!("fanotify sdev:{dev:x} mflags:0 mask:0 ignored_mask:20"));
    eq(lines[2], format!("fanotify mnt_id:{mount:x} mflags:0 mask:8000020 ignored_mask:0"));
    eq(lines[3], line("mflags:440 mask:8000020 ignored_mask:20", c"f"));
    eq(lines[4], line("mflags:0 mask:40000100 ignored_mask:0", c"d"));
    eq(lines.len(), 5);
}

/// The number of the mount that a file is on.
fn stat_mount(path: &CStr) -> u64 {
    let mut st: statx = zeroed();
    ok(sys!(statx, AT_FDCWD, path, 0, STATX_MNT_ID, &mut st));
    st.stx_mnt_id
}

case!(wrong_groups: fanotify_init; root);
fn wrong_groups() {
    let init = |flags: u32, event_flags: i32| sys!(fanotify_init, flags, event_flags);
    for flags in [
        0x8000,
        FAN_CLASS_CONTENT | FAN_CLASS_PRE_CONTENT,
        FAN_CLASS_CONTENT | FAN_REPORT_FID,
        FAN_REPORT_NAME,
        FAN_REPORT_NAME | FAN_REPORT_FID,
        FAN_REPORT_TARGET_FID,
        FAN_REPORT_TARGET_FID | FAN_REPORT_DFID_NAME,
    ] {
        fails(init(flags, O_RDONLY), EINVAL);
    }
    for event_flags in [O_ACCMODE, O_CREAT, O_TRUNC, O_DIRECTORY, O_PATH] {
        fails(init(0, event_flags), EINVAL);
    }
    for event_flags in
        [O_WRONLY, O_RDWR | O_APPEND | O_NONBLOCK, O_SYNC | O_NOATIME | O_LARGEFILE | O_CLOEXEC]
    {
        close(ok_i32(init(0, event_flags)));
    }
    close(ok_i32(init(FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS | FAN_CLASS_PRE_CONTENT, O_RDONLY)));
}

case!(wrong_marks: fanotify_mark; root);
fn wrong_marks() {
    put(c"f", b"");
    mkdir(c"d");
    let fd = group(FAN_CLASS_NOTIF);
    let by_handle = group(FAN_REPORT_FID);
    let try_mark =
        |fd: i32, flags: u32, mask: u64, path: &CStr| sys!(fanotify_mark, fd, flags, mask, AT_FDCWD, path);
    let add = FAN_MARK_ADD;
    fails(try_mark(fd, 0, FAN_OPEN, c"f"), EINVAL);
    fails(try_mark(fd, add | FAN_MARK_REMOVE, FAN_OPEN, c"f"), EINVAL);
    fails(try_mark(fd, add | 0x8000, FAN_OPEN, c"f"), EINVAL);
    fails(try_mark(fd, FAN_MARK_FLUSH | FAN_MARK_ONLYDIR, 0, c"f"), EINVAL);
    fails(try_mark(fd, add, 0, c"f"), EINVAL);
    fails(try_mark(fd, add, FAN_Q_OVERFLOW, c"f"), EINVAL);
    fails(try_mark(fd, add, 1 << 40, c"f"), EINVAL);
    // Of what has no descriptor only handles can tell, and of names not a mount.
    for mask in [FAN_CREATE, FAN_ATTRIB, FAN_DELETE_SELF, FAN_MOVE] {
        fails(try_mark(fd, add, mask, c"d"), EINVAL);
        ok(try_mark(by_handle, add, mask, c"d"));
        fails(try_mark(by_handle, add | FAN_MARK_MOUNT, mask, c"d"), EINVAL);
    }
    fails(try_mark(by_handle, add, FAN_RENAME, c"d"), EINVAL);
    fails(try_mark(fd, add, FAN_FS_ERROR, c"d"), EINVAL);
    // A group of the lowest class is not asked.
    fails(try_mark(fd, add, FAN_OPEN_PERM, c"f"), EINVAL);
    fails(try_mark(fd, add | FAN_MARK_MOUNT | FAN_MARK_EVICTABLE, FAN_OPEN, c"f"), EINVAL);
    fails(try_mark(fd, FAN_MARK_REMOVE, FAN_OPEN, c"f"), ENOENT);
    fails(try_mark(fd, add, FAN_OPEN, c"none"), ENOENT);
    fails(sys!(fanotify_mark, fd, add, FAN_OPEN, AT_FDCWD, 8), EFAULT);
    fails(sys!(fanotify_mark, fd, add, FAN_OPEN, 999, 0), EBADF);
    fails(try_mark(999, add, FAN_OPEN, c"f"), EBADF);
    fails(try_mark(open(c"f", O_RDONLY), add, FAN_OPEN, c"f"), EINVAL);
    // A file can be marked by its descriptor.
    let f = open(c"f", O_RDONLY);
    ok(sys!(fanotify_mark, fd, add, FAN_CLOSE, f, 0));
    fails(sys!(fanotify_mark, fd, add | FAN_MARK_ONLYDIR, FAN_CLOSE, f, 0), ENOTDIR);
    close(f);
    eq(events(fd), [event(FAN_CLOSE_NOWRITE, "f")]);
    // Newer groups are strict about what is no directory.
    let strict = group(FAN_REPORT_DFID_NAME_TARGET);
    fails(try_mark(strict, add, FAN_CREATE, c"f"), ENOTDIR);
    fails(try_mark(strict, add, FAN_OPEN | FAN_ONDIR, c"f"), ENOTDIR);
    ok(try_mark(strict, add, FAN_OPEN, c"f"));
    // A mark that was not evictable does not become so.
    ok(try_mark(fd, add | FAN_MARK_EVICTABLE, FAN_OPEN, c"d"));
    ok(try_mark(fd, add, FAN_OPEN, c"d"));
    fails(try_mark(fd, add | FAN_MARK_EVICTABLE, FAN_OPEN, c"d"), EEXIST);
    // Marks of file systems without handles.
    fails(try_mark(by_handle, add | FAN_MARK_FILESYSTEM, FAN_OPEN, c"/proc"), EOPNOTSUPP);
}

case!(listeners_without_privileges: fanotify_init, fanotify_mark);
fn listeners_without_privileges() {
    put(c"f", b"");
    put(c"secret", b"");
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o666));
    ok(sys!(fchmodat, AT_FDCWD, c"secret", 0o200));
    let by_root = is_root().then(|| group(FAN_REPORT_FID));
    unprivileged(|| {
        for flags in
            [0, FAN_CLASS_CONTENT, FAN_UNLIMITED_QUEUE | FAN_REPORT_FID, FAN_REPORT_TID | FAN_REPORT_FID]
        {
            fails(sys!(fanotify_init, flags, O_RDONLY), EPERM);
        }
        fails(sys!(fanotify_init, FAN_REPORT_FID | 0x8000, O_RDONLY), EINVAL);
        let fd = group(FAN_REPORT_FID);
        for kind in [FAN_MARK_MOUNT, FAN_MARK_FILESYSTEM] {
            fails(sys!(fanotify_mark, fd, FAN_MARK_ADD | kind, FAN_OPEN, AT_FDCWD, c"f"), EPERM);
        }
        if let Some(by_root) = by_root {
            fails(
                sys!(fanotify_mark, by_root, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN, AT_FDCWD, c"f"),
                EPERM,
            );
            fails(sys!(fanotify_mark, fd, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, c"secret"), EACCES);
        }
        mark(fd, 0, FAN_OPEN, c"f");
        close(open(c"f", O_RDONLY));
        eq(events(fd), [event_of(FAN_OPEN, [fid(c"f")])]);
        // Of others it is not told who they are.
        fork(|| close(open(c"f", O_RDONLY))).succeeds();
        let seen = split(&read(fd, 1000));
        eq((seen.len(), &seen[0].0, seen[0].2), (1, &event_of(FAN_OPEN, [fid(c"f")]), 0));
    });
}

/// Answers the next question: what is asked, of which file, by whom.
fn answer(fd: i32, response: u32) -> (Event, i32) {
    let (event, shown, pid) = match split(&read(fd, 24)).pop() {
        Some(seen) => seen,
        None => fail("no question"),
    };
    let answer = fanotify_response { fd: shown, response };
    eq(ok(sys!(write, fd, &answer, 8)), 8);
    close(shown);
    (event, pid)
}

fn asked(flags: u32) -> i32 {
    ok_i32(sys!(fanotify_init, flags | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC))
}

case!(asked_for_permission_to_open: fanotify_mark, read, write, openat; root; disk);
fn asked_for_permission_to_open() {
    put(c"f", b"12345");
    let fd = asked(FAN_CLASS_CONTENT);
    mark(fd, 0, FAN_OPEN_PERM, c"f");
    let child = fork(|| {
        close(open(c"f", O_RDONLY));
        fails(sys!(openat, AT_FDCWD, c"f", O_WRONLY | O_TRUNC, 0), EPERM);
        eq(stat(c"f").st_size, 5);
        close(open(c"f", O_PATH));
    });
    eq(answer(fd, FAN_ALLOW), (event(FAN_OPEN_PERM, "f"), child.pid));
    eq(answer(fd, FAN_DENY), (event(FAN_OPEN_PERM, "f"), child.pid));
    child.succeeds();
    // Also what is opened because it was just made.
    mkdir(c"d");
    mark(fd, 0, FAN_OPEN_PERM | FAN_EVENT_ON_CHILD, c"d");
    let child = fork(|| close(create(c"d/new", b"")));
    eq(answer(fd, FAN_ALLOW).0, event(FAN_OPEN_PERM, "d/new"));
    child.succeeds();
    // Its end is a yes for all who wait.
    let child = fork(|| {
        close(fd);
        close(open(c"f", O_RDONLY));
    });
    until_asleep_or_waiting(child.pid);
    close(fd);
    child.succeeds();
}

/// Waits until a process waits, be it for something that signals don't end.
fn until_asleep_or_waiting(pid: i32) {
    eventually("it waits", || matches!(state(pid), 'S' | 'D'));
}

case!(asked_for_permission_to_read: fanotify_mark, read, write, getdents64, pread64; root);
fn asked_for_permission_to_read() {
    put(c"f", b"12345");
    mkdir(c"d");
    let fd = asked(FAN_CLASS_CONTENT);
    mark(fd, 0, FAN_ACCESS_PERM, c"f");
    mark(fd, 0, FAN_ACCESS_PERM | FAN_ONDIR, c"d");
    let child = fork(|| {
        let f = open(c"f", O_RDWR);
        eq(read(f, 5), b"12345");
        fails(sys!(pread64, f, &mut [0u8; 5], 5, 0), EPERM);
        write_all(f, b"6");
        let d = open(c"d", O_RDONLY);
        fails(sys!(getdents64, d, &mut [0u8; 100], 100), EPERM);
    });
    eq(answer(fd, FAN_ALLOW).0, event(FAN_ACCESS_PERM, "f"));
    eq(answer(fd, FAN_DENY).0, event(FAN_ACCESS_PERM, "f"));
    eq(answer(fd, FAN_DENY).0, event(FAN_ACCESS_PERM, "d"));
    child.succeeds();
}

case!(asked_for_permission_to_execute: fanotify_mark, execve; root);
fn asked_for_permission_to_execute() {
    // One that nobody else executes.
    Image::new(exit_42()).write(c"p");
    let fd = asked(FAN_CLASS_PRE_CONTENT);
    mark(fd, 0, FAN_OPEN_EXEC_PERM, c"p");
    let child = fork(|| {
        close(open(c"p", O_RDONLY));
        fails(exec(c"p", &[c"p"], &[]), EPERM);
    });
    let (seen, pid) = answer(fd, FAN_DENY);
    eq((seen.mask, pid), (FAN_OPEN_EXEC_PERM, child.pid));
    child.succeeds();
}

case!(wrong_answers: fanotify_mark, write, kill; root);
fn wrong_answers() {
    put(c"f", b"");
    let fd = asked(FAN_CLASS_CONTENT);
    mark(fd, 0, FAN_OPEN_PERM, c"f");
    let answer = |fd: i32, shown: i32, response: u32, len: usize| {
        let answer = fanotify_response { fd: shown, response };
        sys!(write, fd, &answer, len)
    };
    fails(answer(fd, 5, FAN_ALLOW, 7), EINVAL);
    fails(answer(fd, 5, 0, 8), EINVAL);
    fails(answer(fd, 5, FAN_ALLOW | FAN_DENY, 8), EINVAL);
    fails(answer(fd, 5, FAN_ALLOW | 0x1000, 8), EINVAL);
    fails(answer(fd, 5, FAN_ALLOW | FAN_AUDIT, 8), EINVAL);
    fails(answer(fd, -5, FAN_ALLOW, 8), EINVAL);
    fails(answer(fd, 5, FAN_ALLOW, 8), ENOENT);
    fails(sys!(write, fd, 8, 8), EFAULT);
    // Who waits for an answer can be killed, before and after it was asked.
    let child = fork(|| close(open(c"f", O_RDONLY)));
    let mut waits = pollfd { fd, events: POLLIN, revents: 0 };
    eq(ok(sys!(poll, &mut waits, 1, 10_000)), 1);
    child.kill(SIGKILL);
    child.dies_of(SIGKILL);
    eq(ok(sys!(poll, &mut waits, 1, 0)), 0);
    let child = fork(|| close(open(c"f", O_RDONLY)));
    let (_, shown, _) = split(&read(fd, 24)).remove(0);
    child.kill(SIGKILL);
    child.dies_of(SIGKILL);
    eq(ok(answer(fd, shown, FAN_ALLOW, 8)), 8);
    fails(answer(fd, shown, FAN_ALLOW, 8), ENOENT);
    close(shown);
    // One of a higher class is asked first.
    let higher = asked(FAN_CLASS_PRE_CONTENT | FAN_NONBLOCK);
    mark(higher, 0, FAN_OPEN_PERM, c"f");
    let child = fork(|| fails(sys!(openat, AT_FDCWD, c"f", O_RDONLY, 0), EPERM));
    let mut waits = pollfd { fd: higher, events: POLLIN, revents: 0 };
    eq(ok(sys!(poll, &mut waits, 1, 10_000)), 1);
    let (_, shown, _) = split(&read(higher, 24)).remove(0);
    eq(ok(answer(higher, shown, FAN_DENY, 8)), 8);
    child.succeeds();
    let mut waits = pollfd { fd, events: POLLIN, revents: 0 };
    eq(ok(sys!(poll, &mut waits, 1, 0)), 0);
}
