//! Answers that can't be: the first one ends the connection, with EIO for the call and for all that come after.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use gofer_protocol::{Errno, List, Op, Packer, Reply};
use rustix::fs::{Mode, OFlags, open};

use crate::stand_in::{Answer, Lie, Sandbox, possible};

/// What the guest does when it is lied to.
const STAT: &str = "os.stat('/v/f').st_size";
const OPEN: &str = "os.close(os.open('/v/f', os.O_RDWR))";
const LIST: &str = "sorted(os.listdir('/v/d'))";
const LINK: &str = "os.readlink('/v/l')";
const MAKE: &str = "os.mkdir('/v/new')";
const XATTR: &str = "os.getxattr('/v/f', 'user.a')";

const ENDS: &str = "the gofer answered nonsense: message ends too early";
const VALUE: &str = "the gofer answered nonsense: illegal value for ";
const OTHER: &str = "the gofer answered something that was not asked";

/// A lie about the first answer to such a request.
fn about(op: Op, lie: impl Fn(&mut Answer) + Send + Sync + 'static) -> Lie {
    Arc::new(move |request, answer| {
        if request.kind() == op {
            lie(answer);
        }
    })
}

/// A tree with a bit of everything.
pub fn tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("f"), "content").unwrap();
    fs::create_dir(at("d")).unwrap();
    for name in ["aa", "bb", "cc"] {
        fs::write(at("d").join(name), name).unwrap();
    }
    fs::create_dir(at("d/e")).unwrap();
    symlink("f", at("l")).unwrap();
    folder
}

/// The guest does `line`, is lied to, gets EIO, and so it does from then on; `runsc` gives this reason.
#[track_caller]
fn ends_the_connection(what: &str, line: &str, lie: Lie, reason: &str) {
    let folder = tree();
    let mut sandbox = Sandbox::start(folder.path(), "shared", lie);
    sandbox.expect("1 + 1", "2");
    sandbox.lie(true);
    assert_eq!(sandbox.ask(line), "EIO", "{what}");
    sandbox.lie(false);
    for lost in [STAT, OPEN, LIST, LINK, MAKE, "open('/etc/some-file')"] {
        assert_eq!(sandbox.ask(lost), "EIO", "{what}: {lost}");
    }
    sandbox.expect("open('/dev/shm/x', 'w').write('abc')", "3");
    let (status, errors) = sandbox.end();
    assert_eq!(status, Some(0), "{what}: {errors}");
    let lines: Vec<&str> = errors.lines().collect();
    let [line] = lines[..] else { panic!("{what}: one line, not {errors:?}") };
    assert!(line.contains(reason), "{what}: {line}");
    assert!(line.ends_with("the host's files give i/o errors from now on"), "{what}: {line}");
}

/// Replaces the only place where `from` is.
fn replace(answer: &mut Answer, from: &[u8], to: &[u8]) {
    let at = answer.bytes.windows(from.len()).position(|window| window == from).expect("what is replaced");
    answer.bytes.splice(at..at + from.len(), to.iter().copied());
}

#[test]
fn messages_that_are_none() {
    if !possible("messages_that_are_none") {
        return;
    }
    for len in [1, 3, 4, 5, 6, 40] {
        let cut = about(Op::Walk, move |answer| answer.bytes.truncate(len));
        ends_the_connection(&format!("{len} bytes"), STAT, cut, ENDS);
    }
    let last = about(Op::Walk, |answer| answer.bytes.truncate(answer.bytes.len() - 1));
    ends_the_connection("all but the last byte", STAT, last, ENDS);
    let empty = about(Op::Walk, |answer| answer.bytes.clear());
    ends_the_connection("no byte", STAT, empty, "the gofer has closed the connection");
    let more = about(Op::Walk, |answer| answer.bytes.push(0));
    ends_the_connection(
        "one byte more",
        STAT,
        more,
        "the gofer answered nonsense: message has bytes behind its end",
    );
    let long = about(Op::Walk, |answer| answer.bytes.resize(100 << 10, 0));
    ends_the_connection("100 KiB", STAT, long, "the gofer answered nonsense: message would be too long");
    let kind = about(Op::Walk, |answer| answer.bytes[4..6].copy_from_slice(&[0xff; 2]));
    ends_the_connection("no kind of message", STAT, kind, VALUE);
}

#[test]
fn answers_to_something_else() {
    if !possible("answers_to_something_else") {
        return;
    }
    let id = about(Op::Walk, |answer| answer.bytes[0] ^= 1);
    ends_the_connection("another id", STAT, id, OTHER);
    let done = about(Op::Walk, |answer| answer.say(Reply::Done {}));
    ends_the_connection("done", STAT, done, OTHER);
    let value = about(Op::GetXattr, |answer| answer.say(Reply::Done {}));
    ends_the_connection("no value", XATTR, value, OTHER);
    let hello = about(Op::Mkdir, |answer| {
        answer.say(Reply::Hello { version: 2, max_handles: 0, trees: List::empty() });
    });
    ends_the_connection("a second greeting", MAKE, hello, OTHER);

    // The answers of two requests, in the wrong order: the later gets the earlier one's.
    let kept = Mutex::new(None);
    let late: Lie = Arc::new(move |_, answer: &mut Answer| {
        let now = answer.bytes.clone();
        if let Some(before) = kept.lock().unwrap().replace(now) {
            answer.bytes = before;
        }
    });
    ends_the_connection("the one before", "(os.lstat('/v/l').st_size, os.stat('/v/f'))", late, OTHER);
    let twice = about(Op::Walk, |answer| answer.times = 2);
    ends_the_connection("the same again", "(os.lstat('/v/l').st_size, os.stat('/v/f'))", twice, OTHER);
}

#[test]
fn numbers_that_can_not_be() {
    if !possible("numbers_that_can_not_be") {
        return;
    }
    // Number of elements and bytes of the list of files that a walk found.
    let count = about(Op::Walk, |answer| answer.bytes[6..8].copy_from_slice(&[0xff; 2]));
    ends_the_connection("65,535 files", STAT, count, ENDS);
    let bytes = about(Op::Walk, |answer| answer.bytes[8..12].copy_from_slice(&[0xff; 4]));
    ends_the_connection("4 GiB of files", STAT, bytes, ENDS);
    let fewer = about(Op::Walk, |answer| answer.bytes[6..8].copy_from_slice(&[0; 2]));
    ends_the_connection("no files of some bytes", STAT, fewer, "message has bytes behind its end");
    // Behind one that says whether there is a handle, and the handle: device, inode, size.
    let size = about(Op::Walk, |answer| {
        let at = 12 + 1 + 8 + 16;
        answer.bytes[at..at + 8].copy_from_slice(&(1u64 << 63).to_le_bytes());
    });
    ends_the_connection("a size of 2^63", STAT, size, "illegal value for size");
    for errno in [0u16, 512, 513, 0xffff] {
        let error = about(Op::Walk, move |answer| {
            answer.say(Reply::Error { errno: Errno::IO });
            answer.bytes[6..8].copy_from_slice(&errno.to_le_bytes());
        });
        ends_the_connection(&format!("error {errno}"), STAT, error, "illegal value for errno");
    }
    let value = about(Op::GetXattr, |answer| {
        answer.say(Reply::Value { value: gofer_protocol::Bytes(b"abcd") });
        answer.bytes[6..10].copy_from_slice(&[0xff; 4]);
    });
    ends_the_connection("4 GiB of a value", XATTR, value, ENDS);
}

#[test]
fn names_that_are_none() {
    if !possible("names_that_are_none") {
        return;
    }
    let names: [&[u8]; 6] = [b"\x02..", b"\x02a/", b"\x02/a", b"\x02a\0", b"\x02\0a", b"\x02./"];
    for name in names {
        let lie = about(Op::Readdir, |answer| replace(answer, b"\x02aa", name));
        ends_the_connection(&format!("{name:?}"), LIST, lie, "illegal value for name");
    }
    let longer = about(Op::Readdir, |answer| replace(answer, b"\x02aa", b"\xffaa"));
    ends_the_connection("a name that ends later", LIST, longer, "the gofer answered nonsense");
    let target = about(Op::Walk, |answer| {
        // A link's target is its 16-bit length and its bytes.
        replace(answer, b"\x01\0f", b"\x01\0\0");
    });
    ends_the_connection("a NUL in a target", LINK, target, "illegal value for Target");
}

fn opened(path: &str, flags: OFlags) -> OwnedFd {
    open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

#[test]
fn descriptors_that_are_not_the_file() {
    if !possible("descriptors_that_are_not_the_file") {
        return;
    }
    let none = about(Op::Open, |answer| answer.fds.clear());
    ends_the_connection("none", OPEN, none, OTHER);
    type Make = fn() -> OwnedFd;
    let others: [(&str, Make); 5] = [
        ("a directory", || opened("/var/tmp", OFlags::RDONLY)),
        ("a device", || opened("/dev/zero", OFlags::RDWR)),
        ("a pipe", || rustix::pipe::pipe().unwrap().0),
        ("a directory's path", || opened("/", OFlags::PATH)),
        ("a socket", || std::os::unix::net::UnixDatagram::unbound().unwrap().into()),
    ];
    for (what, make) in others {
        let lie = about(Op::Open, move |answer| answer.fds = vec![make()]);
        ends_the_connection(what, OPEN, lie, OTHER);
    }
    let kind = about(Op::Open, |answer| {
        let Reply::Attr { mut attr } = Reply::decode(&answer.bytes.clone()).1.unwrap() else { return };
        attr.kind = gofer_protocol::FileType::Directory;
        answer.say(Reply::Attr { attr });
    });
    ends_the_connection("an open directory", OPEN, kind, OTHER);
}

#[test]
fn more_directories_than_were_asked_for() {
    if !possible("more_directories_than_were_asked_for") {
        return;
    }
    let below = about(Op::Readdir, |answer| {
        let bytes = answer.bytes.clone();
        let Reply::Entries { entries, end, .. } = Reply::decode(&bytes).1.unwrap() else { return };
        let mut packer = Packer::new();
        let dir = gofer_protocol::Handle::new(1).unwrap();
        assert!(packer.push(&gofer_protocol::Below { dir, entries: 1 }));
        answer.say(Reply::Entries { entries, end, below: packer.list() });
    });
    ends_the_connection("another directory", LIST, below, OTHER);
}
