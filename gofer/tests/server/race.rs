//! A tree that changes while it is walked through.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gofer_protocol::{Leaf, Name, OpenFlags, Place, ReaddirFlags, UnlinkKind};
use rustix::fs::{CWD, RenameFlags, fstat, renameat_with};

use crate::fixture::{Fixture, me, name, names, perm};

/// How long the race goes; longer where one asks for it.
fn duration() -> Duration {
    let seconds = std::env::var("GOFER_RACE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(3))
}

/// Two threads swap a directory with a link that leads outside, and a file with a link to a file outside, while clients
/// do all they can on the names. Nothing outside may be seen or changed.
#[test]
fn swapping_directories_and_links() {
    let t = Fixture::new();
    fs::create_dir_all(t.path("inside/d")).unwrap();
    fs::write(t.path("inside/d/file"), "inside").unwrap();
    fs::create_dir_all(t.outside("outside/d")).unwrap();
    fs::write(t.outside("outside/d/file"), "outside").unwrap();
    fs::write(t.outside("outside/victim"), "untouched").unwrap();
    symlink(t.outside("outside/d"), t.path("inside/link")).unwrap();
    symlink("../../outside/d", t.path("inside/relative")).unwrap();
    let outside: Vec<u64> = ["outside", "outside/d", "outside/d/file", "outside/victim"]
        .iter()
        .map(|path| fs::metadata(t.outside(path)).unwrap().ino())
        .collect();
    let before = state(&t);

    let stop = AtomicBool::new(false);
    let (swaps, reached, ended) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for link in ["inside/link", "inside/relative"] {
            let (t, stop, swaps) = (&t, &stop, &swaps);
            scope.spawn(move || {
                let (d, link) = (t.path("inside/d"), t.path(link));
                while !stop.load(Ordering::Relaxed) {
                    renameat_with(CWD, &d, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let (root, inside, c) = (t.root(), t.handle("inside"), t.client());
                let not_outside = |ino| assert!(!outside.contains(&ino), "reached inode {ino} outside");
                let inode_of = |fd: &OwnedFd| fstat(fd).unwrap().st_ino;
                while !stop.load(Ordering::Relaxed) {
                    let walked = c.walk(root, &names("inside/d/file"), Leaf::Open).unwrap();
                    walked.found.iter().for_each(|looked| not_outside(looked.attr.id.ino));
                    match &walked.opened {
                        Some(fd) => {
                            not_outside(inode_of(fd));
                            reached.fetch_add(1, Ordering::Relaxed);
                        }
                        None => drop(ended.fetch_add(1, Ordering::Relaxed)),
                    }
                    if let Some(file) = walked.found.get(2).and_then(|looked| looked.handle)
                        && let Ok((fd, attr)) = c.open(file, OpenFlags::READ | OpenFlags::WRITE)
                    {
                        not_outside(attr.id.ino);
                        not_outside(inode_of(&fd));
                    }
                    // What `d` is at this moment: a directory that we hold, or a link that nobody follows.
                    if let Some(dir) = walked.found.get(1).and_then(|looked| looked.handle) {
                        let rw = OpenFlags::READ | OpenFlags::WRITE;
                        if let Ok((fd, node, parent)) = c.create(dir, name("new"), perm(0o600), me(), rw) {
                            not_outside(parent.id.ino);
                            not_outside(inode_of(&fd));
                            c.release(node.handle);
                        }
                        let _ = c.unlink(dir, name("new"), UnlinkKind::File);
                        let _ = c.readdir(dir, 0, ReaddirFlags::DIR_HANDLES, |entry| not_outside(entry.ino));
                        c.release(dir);
                    }
                    let d = Place { dir: inside, name: name("d") };
                    for look in c.look(&[d]).unwrap().into_iter().flatten() {
                        not_outside(look.id.ino);
                    }
                    let victim = Name::new(b"victim").unwrap();
                    let _ = c.unlink(inside, victim, UnlinkKind::File);
                    let _ = c.mkdir(inside, name("d"), perm(0o700), me());
                    walked
                        .found
                        .iter()
                        .filter_map(|looked| looked.handle)
                        .for_each(|handle| c.release(handle));
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < duration() {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (swaps, reached, ended) = (swaps.into_inner(), reached.into_inner(), ended.into_inner());
    println!("{swaps} swaps, {reached} walks to the end, {ended} ended at a link");
    assert!(swaps > 100 && reached > 10 && ended > 10, "no race: {swaps} swaps, {reached} and {ended} walks");
    assert_eq!(state(&t), before);
    assert_eq!(t.client().death(), None);
    t.end();
}

/// Names, contents and times of change of all that is outside.
fn state(t: &Fixture) -> Vec<(String, String, i64, i64)> {
    let mut all = Vec::new();
    for dir in ["outside", "outside/d"] {
        let mut entries: Vec<_> = fs::read_dir(t.outside(dir)).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        entries.push(t.outside(dir));
        for path in entries {
            let meta = fs::symlink_metadata(&path).unwrap();
            let text = fs::read_to_string(&path).unwrap_or_default();
            all.push((path.display().to_string(), text, meta.ctime(), meta.ctime_nsec()));
        }
    }
    all
}

/// Files are made and moved by many threads at a time, each sees its own.
#[test]
fn many_clients() {
    let t = Fixture::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let t = &t;
            scope.spawn(move || {
                let (root, c) = (t.root(), t.client());
                for i in 0..150 {
                    let n = format!("{thread}-{i}");
                    let (fd, node, _) =
                        c.create(root, name(&n), perm(0o600), me(), OpenFlags::WRITE).unwrap();
                    rustix::io::write(&fd, n.as_bytes()).unwrap();
                    let moved = format!("{n}-moved");
                    let place = |n| Place { dir: root, name: n };
                    c.rename(place(name(&n)), place(name(&moved)), gofer_protocol::RenameFlags::NOREPLACE)
                        .unwrap();
                    let found = t.find(&moved).unwrap();
                    assert_eq!((found.attr.id, found.attr.size), (node.attr.id, n.len() as u64));
                    c.unlink(root, name(&moved), UnlinkKind::File).unwrap();
                    c.release(node.handle);
                    c.release(found.handle.unwrap());
                }
            });
        }
    });
    assert_eq!(fs::read_dir(t.path("")).unwrap().count(), 0);
    t.end();
}
