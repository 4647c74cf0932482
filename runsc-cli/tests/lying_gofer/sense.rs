//! Answers that could be, and are not so: the guest sees a strange tree, and every call in it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gofer_protocol::{Attr, Errno, FileType, Looked, Op, Packer, Reply};

use crate::nonsense::tree;
use crate::stand_in::{Answer, Lie, Sandbox, possible};

/// Changes the attributes in an answer that has some.
fn attributes(answer: &mut Answer, change: &dyn Fn(&mut Attr)) {
    let bytes = answer.bytes.clone();
    match Reply::decode(&bytes).1.unwrap() {
        Reply::Walked { found, error, target, opened } => {
            let mut packer = Packer::new();
            for mut looked in found {
                change(&mut looked.attr);
                assert!(packer.push(&looked));
            }
            answer.say(Reply::Walked { found: packer.list(), error, target, opened });
        }
        Reply::Entries { entries, end, below } => {
            let mut packer = Packer::new();
            for mut entry in entries {
                if let Some(Looked { attr, .. }) = &mut entry.found {
                    change(attr);
                }
                assert!(packer.push(&entry));
            }
            answer.say(Reply::Entries { entries: packer.list(), end, below });
        }
        Reply::Attr { mut attr } => {
            change(&mut attr);
            answer.say(Reply::Attr { attr });
        }
        Reply::Made { mut node, mut parent } => {
            change(&mut node.attr);
            change(&mut parent);
            answer.say(Reply::Made { node, parent });
        }
        _ => {}
    }
}

fn about_attributes(change: impl Fn(&mut Attr) + Send + Sync + 'static) -> Lie {
    Arc::new(move |_, answer| attributes(answer, &change))
}

/// What a guest may do in /v; each line ends, whatever its answer.
const DEEDS: &[&str] = &[
    "os.stat('/v/d/d/d/e/e').st_mode",
    "os.listdir('/v/d')",
    "os.listdir('/v/d/e/d')",
    "[len(files) for (_, _, files), n in zip(os.walk('/v'), range(200))][:1]",
    "os.mkdir('/v/d/new')",
    "os.mkdir('/v/d/e/new')",
    "open('/v/d/aa').read()",
    "open('/v/f', 'a').write('more')",
    "os.pread(os.open('/v/f', os.O_RDWR), 10, 1 << 62)",
    "os.lseek(os.open('/v/f', os.O_RDONLY), 0, os.SEEK_END)",
    "mmap.mmap(os.open('/v/f', os.O_RDWR), 4096)[0]",
    "mmap.mmap(os.open('/v/f', os.O_RDWR), 0)[0]",
    "os.truncate('/v/f', 5)",
    "os.link('/v/f', '/v/d/f2')",
    "os.rename('/v/d/e', '/v/e2')",
    "os.rename('/v/d', '/v/d/e/d')",
    "os.rename('/v/d/e', '/v/d')",
    "os.rename('/v/f', '/v/d/f')",
    "os.rmdir('/v/d/e')",
    "os.rmdir('/v/d')",
    "os.chdir('/v/d'); os.getcwd(); os.chdir('/')",
    "os.readlink('/v/l')",
    "os.stat('/v/l/f')",
    "os.symlink('x', '/v/d/link')",
    "os.mkfifo('/v/d/fifo')",
    "os.listxattr('/v/f')",
    "os.chmod('/v/d', 0o755)",
    "os.utime('/v/f', (1, 2))",
    "os.unlink('/v/d/bb')",
    "os.open('/v/d', os.O_TMPFILE | os.O_RDWR)",
    "os.statvfs('/v').f_bsize",
    "os.sync()",
];

/// All of these, in both kinds of trees: the guest gets an answer to each, and the sandbox ends as it should.
fn survives(what: &str, lie: &Lie) {
    for mode in ["shared", "exclusive"] {
        let folder = tree();
        let mut sandbox = Sandbox::start(folder.path(), mode, Arc::clone(lie));
        sandbox.expect("1 + 1", "2");
        sandbox.lie(true);
        for deed in DEEDS.iter().chain(DEEDS) {
            let answer = sandbox.ask(deed);
            assert!(!answer.is_empty(), "{what}, {mode}: {deed}");
        }
        sandbox.lie(false);
        sandbox.expect("open('/dev/shm/x', 'w').write('abc')", "3");
        assert!(sandbox.told() > 0, "{what}, {mode}: nothing was a lie");
        let (status, errors) = sandbox.end();
        assert_eq!(status, Some(0), "{what}, {mode}: {errors}");
    }
}

#[test]
fn sizes_and_numbers_at_the_edge() {
    if !possible("sizes_and_numbers_at_the_edge") {
        return;
    }
    survives("sizes of 2^63 - 1", &about_attributes(|attr| attr.size = i64::MAX as u64));
    survives(
        "the largest numbers",
        &about_attributes(|attr| {
            (attr.blocks, attr.blksize, attr.nlink) = (u64::MAX, u32::MAX, u32::MAX);
            (attr.uid, attr.gid, attr.rdev) = (u32::MAX, u32::MAX, (u32::MAX, u32::MAX));
            attr.mtime = gofer_protocol::Time::new(i64::MAX, 999_999_999).unwrap();
            attr.atime = gofer_protocol::Time::new(i64::MIN, 0).unwrap();
        }),
    );
    survives("nothing", &about_attributes(|attr| (attr.size, attr.blksize, attr.nlink) = (0, 0, 0)));
}

#[test]
fn files_that_change_what_they_are() {
    if !possible("files_that_change_what_they_are") {
        return;
    }
    let kinds = FileType::ALL;
    let turn = AtomicU64::new(0);
    let any = about_attributes(move |attr| {
        attr.kind = kinds[turn.fetch_add(1, Ordering::Relaxed) as usize % kinds.len()];
    });
    survives("another type each time", &any);
    survives("all directories", &about_attributes(|attr| attr.kind = FileType::Directory));
    survives("all files", &about_attributes(|attr| attr.kind = FileType::Regular));
    survives("all sockets", &about_attributes(|attr| attr.kind = FileType::Socket));
    let next = AtomicU64::new(1);
    survives(
        "another file each time",
        &about_attributes(move |attr| {
            attr.id.ino = next.fetch_add(1, Ordering::Relaxed);
            attr.id.dev = attr.id.ino << 20;
        }),
    );
}

#[test]
fn directories_in_themselves() {
    if !possible("directories_in_themselves") {
        return;
    }
    let first = AtomicU64::new(0);
    let all_one = about_attributes(move |attr| {
        if attr.kind == FileType::Directory {
            let _ = first.compare_exchange(0, attr.id.ino, Ordering::Relaxed, Ordering::Relaxed);
            attr.id.ino = first.load(Ordering::Relaxed);
        }
    });
    survives("every directory is the same", &all_one);
    survives("every file is the same", &about_attributes(|attr| attr.id.ino = 1));
    let turn = AtomicU64::new(0);
    survives(
        "two that are in each other",
        &about_attributes(move |attr| {
            if attr.kind == FileType::Directory {
                attr.id.ino = 1 + turn.fetch_add(1, Ordering::Relaxed) % 2;
            }
        }),
    );
}

#[test]
fn errors_of_any_number() {
    if !possible("errors_of_any_number") {
        return;
    }
    let turn = AtomicU64::new(0);
    let any: Lie = Arc::new(move |_, answer| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        if !turn.is_multiple_of(3) {
            answer.say(Reply::Error { errno: Errno::from_raw_os_error((turn % 511 + 1) as i32) });
        }
    });
    survives("any error", &any);
    // No room, however much is made.
    let full: Lie = Arc::new(|_, answer| answer.say(Reply::Error { errno: Errno::MFILE }));
    survives("no room for a handle, ever", &full);
}

#[test]
fn a_listing_without_an_end_ends() {
    if !possible("a_listing_without_an_end_ends") {
        return;
    }
    for mode in ["shared", "exclusive"] {
        let folder = tree();
        let endless: Lie = Arc::new(|request, answer| {
            if request.kind() != Op::Readdir {
                return;
            }
            // As many as a message holds, with the longest names, and never the last.
            let name = [b'n'; 255];
            let entry = gofer_protocol::Entry {
                ino: 1,
                cookie: 1,
                kind: Some(FileType::Regular),
                name: gofer_protocol::Name::new(&name).unwrap(),
                found: None,
                target: None,
            };
            let mut packer = Packer::new();
            while packer.push(&entry) {}
            let below = gofer_protocol::List::empty();
            answer.say(Reply::Entries { entries: packer.list(), end: false, below });
        });
        let mut sandbox = Sandbox::start(folder.path(), mode, endless);
        sandbox.expect("1 + 1", "2");
        sandbox.lie(true);
        sandbox.expect("os.listdir('/v/d')", "ENOMEM");
        sandbox.expect("os.path.exists('/v/f')", "True");
        sandbox.lie(false);
        sandbox.expect("len(os.listdir('/v/d'))", "4");
        assert_eq!(sandbox.end().0, Some(0));
    }
}

#[test]
fn descriptors_too_many_are_closed() {
    if !possible("descriptors_too_many_are_closed") {
        return;
    }
    let folder = tree();
    let many: Lie = Arc::new(|_, answer| {
        while answer.fds.len() < 16 {
            answer.fds.insert(0, std::fs::File::open("/dev/null").unwrap().into());
        }
    });
    let mut sandbox = Sandbox::start(folder.path(), "shared", many);
    sandbox.expect("1 + 1", "2");
    let descriptors = format!("/proc/{}/fd", sandbox.sentry());
    let count = || std::fs::read_dir(&descriptors).unwrap().count();
    sandbox.expect("os.stat('/v/f').st_size", "7");
    let before = count();
    sandbox.lie(true);
    for _ in 0..50 {
        sandbox.expect("os.stat('/v/f').st_size", "7");
        sandbox.expect("open('/v/f').read()", "'content'");
    }
    sandbox.lie(false);
    assert!(count() <= before + 4, "{} descriptors, then {}", before, count());
    assert_eq!(sandbox.end().0, Some(0));
}
