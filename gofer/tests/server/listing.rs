use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;

use gofer_protocol::client::{Ahead, Listed as Told};
use gofer_protocol::{Errno, FileType, Handle, ReaddirFlags};

use crate::fixture::{Fixture, assert_attr};

struct Listed {
    ino: u64,
    kind: Option<FileType>,
    found: Option<gofer_protocol::Looked>,
}

/// The whole directory, and in how many requests.
fn list(t: &Fixture, dir: Handle, flags: ReaddirFlags) -> (BTreeMap<String, Listed>, usize) {
    let (mut all, mut cookie, mut requests) = (BTreeMap::new(), 0, 0);
    loop {
        requests += 1;
        let end = t.client().readdir(dir, cookie, flags, |entry| {
            let name = String::from_utf8(entry.name.as_bytes().to_vec()).unwrap();
            let listed = Listed { ino: entry.ino, kind: entry.kind, found: entry.found };
            cookie = entry.cookie;
            assert!(all.insert(name, listed).is_none(), "an entry came twice");
        });
        if end.unwrap() {
            return (all, requests);
        }
    }
}

#[test]
fn entries() {
    let t = Fixture::new();
    fs::create_dir(t.path("dir")).unwrap();
    fs::write(t.path("file"), "text").unwrap();
    symlink("file", t.path("link")).unwrap();
    let (all, requests) = list(&t, t.root(), ReaddirFlags::empty());
    assert_eq!(requests, 1);
    assert_eq!(all.keys().collect::<Vec<_>>(), ["dir", "file", "link"]);
    for (n, kind) in [("dir", FileType::Directory), ("file", FileType::Regular), ("link", FileType::Symlink)]
    {
        assert_eq!(all[n].kind, Some(kind));
        assert_eq!(all[n].ino, t.find(n).unwrap().attr.id.ino);
        assert!(all[n].found.is_none());
    }
    let (all, _) = list(&t, t.root(), ReaddirFlags::ATTR);
    for (n, listed) in &all {
        let found = listed.found.unwrap();
        assert_attr(&found.attr, &t.path(n));
        assert!(found.handle.is_none());
    }
    let (all, _) = list(&t, t.root(), ReaddirFlags::DIR_HANDLES);
    assert!(all["file"].found.unwrap().handle.is_none());
    let dir = all["dir"].found.unwrap().handle.unwrap();
    assert!(list(&t, dir, ReaddirFlags::empty()).0.is_empty());
    let error = |path| t.client().readdir(t.handle(path), 0, ReaddirFlags::empty(), |_| {}).err();
    assert_eq!(error("file"), Some(Errno::NOTDIR));
    assert_eq!(error("link"), Some(Errno::NOTDIR));
    t.end();
}

#[test]
fn many_entries() {
    let t = Fixture::new();
    let names: BTreeSet<String> = (0..6000).map(|i| format!("{i}{}", "x".repeat(i % 250))).collect();
    for n in &names {
        fs::write(t.path(n), "").unwrap();
    }
    for flags in [ReaddirFlags::empty(), ReaddirFlags::ATTR, ReaddirFlags::DIR_HANDLES] {
        let (all, requests) = list(&t, t.root(), flags);
        assert!(requests > 1);
        assert!(all.keys().eq(&names), "{} entries", all.len());
        assert!(all.values().all(|listed| listed.found.is_some() != flags.is_empty()));
    }
    t.end();
}

#[test]
fn from_any_cookie() {
    let t = Fixture::new();
    for i in 0..3000 {
        fs::write(t.path(&format!("entry number {i}")), "").unwrap();
    }
    let root = t.root();
    let mut all = Vec::new();
    let mut cookie = 0;
    while !t
        .client()
        .readdir(root, cookie, ReaddirFlags::empty(), |entry| {
            cookie = entry.cookie;
            all.push((entry.ino, entry.cookie));
        })
        .unwrap()
    {}
    assert_eq!(all.len(), 3000);
    // Back and forth, as two readers of one directory do.
    for at in [0, 2998, 1500, 1, 2999] {
        let mut next = None;
        t.client()
            .readdir(root, all[at].1, ReaddirFlags::empty(), |entry| {
                next.get_or_insert(entry.ino);
            })
            .unwrap();
        assert_eq!(next, all.get(at + 1).map(|entry| entry.0));
    }
    // Cookies that the host never gave: an error or some entries, but an answer.
    for cookie in [1, 12345, u64::MAX, 1 << 63] {
        let _ = t.client().readdir(root, cookie, ReaddirFlags::ATTR, |_| {});
    }
    assert_eq!(t.client().death(), None);
    t.end();
}

#[test]
fn while_it_changes() {
    let t = Fixture::new();
    let stay: BTreeSet<String> = (0..500).map(|i| format!("stay{i}")).collect();
    for n in &stay {
        fs::write(t.path(n), "").unwrap();
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let path = t.path(&format!("come and go {}", i % 100));
                fs::write(&path, "").unwrap();
                if i % 3 == 0 {
                    fs::remove_file(&path).unwrap();
                }
            }
        });
        for _ in 0..50 {
            let (all, _) = list(&t, t.root(), ReaddirFlags::ATTR);
            assert!(stay.iter().all(|n| all.contains_key(n)));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    t.end();
}

/// The names in `dir`, and those in each directory that is listed along with it, with the handle by which it is told, in order.
fn list_ahead(t: &Fixture, dir: Handle, ahead: Ahead<'_>) -> Vec<(Handle, BTreeMap<String, Option<Handle>>)> {
    let mut all = vec![(dir, BTreeMap::new())];
    let end = t.client().readdir_ahead(dir, 0, ReaddirFlags::DIR_HANDLES, ahead, |told| note(&mut all, told));
    assert!(end.unwrap());
    all
}

fn note(all: &mut Vec<(Handle, BTreeMap<String, Option<Handle>>)>, told: Told<'_>) -> bool {
    match told {
        Told::Entry(entry) => {
            let name = String::from_utf8(entry.name.as_bytes().to_vec()).unwrap();
            all.last_mut().unwrap().1.insert(name, entry.found.unwrap().handle);
        }
        Told::Below(dir) => all.push((dir, BTreeMap::new())),
        Told::Not(dir) => panic!("{dir:?}"),
    }
    true
}

#[test]
fn directories_beside() {
    let t = Fixture::new();
    for dir in 0..9 {
        fs::create_dir(t.path(&format!("{dir}"))).unwrap();
        fs::write(t.path(&format!("{dir}/file {dir}")), "").unwrap();
    }
    let handles: Vec<Handle> = (0..9).map(|dir| t.handle(&format!("{dir}"))).collect();
    let ahead = Ahead { most: 20, next: &handles[1..] };
    let mut all = vec![(handles[0], BTreeMap::new())];
    let end = t
        .client()
        .readdir_beside(handles[0], 0, ReaddirFlags::DIR_HANDLES, ahead, |told| note(&mut all, told));
    assert!(end.unwrap());
    // Each once, with what is in it; two requests have shared them.
    let told: Vec<usize> =
        all.iter().map(|(dir, _)| handles.iter().position(|handle| handle == dir).unwrap()).collect();
    assert_eq!(told, [0, 2, 4, 6, 8, 1, 3, 5, 7]);
    for (dir, (_, names)) in told.iter().zip(&all) {
        assert_eq!(names.keys().collect::<Vec<_>>(), [&format!("file {dir}")]);
    }
    t.end();
}

#[test]
fn what_can_not_be_listed_beside() {
    let t = Fixture::new();
    for dir in ["small", "large", "next"] {
        fs::create_dir(t.path(dir)).unwrap();
    }
    for i in 0..2000 {
        fs::create_dir(t.path(&format!("large/{i}"))).unwrap();
    }
    fs::write(t.path("file"), "").unwrap();
    let (large, next, file) = (t.handle("large"), t.handle("next"), t.handle("file"));
    let beside = |dir: Handle, first: Handle| {
        let (mut not, mut entries) = (Vec::new(), 0);
        let ahead = Ahead { most: 9, next: &[first, next] };
        let end = t.client().readdir_beside(dir, 0, ReaddirFlags::DIR_HANDLES, ahead, |told| {
            match told {
                Told::Not(dir) => not.push(dir),
                Told::Entry(_) => entries += 1,
                Told::Below(_) => {}
            }
            true
        });
        (end.unwrap(), not, entries)
    };
    let small = t.handle("small");
    assert_eq!(beside(small, file), (true, vec![file], 0));
    for _ in 0..10 {
        assert_eq!(beside(small, large), (true, vec![large], 0));
    }
    // What was held for it is given back.
    t.client().make_room().unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 1000, "{open} descriptors");
    assert_eq!(t.client().death(), None);
    t.end();
}

#[test]
fn directories_ahead() {
    let t = Fixture::new();
    for dir in ["a/b/c", "a/d", "e/f", "g"] {
        fs::create_dir_all(t.path(dir)).unwrap();
        fs::write(t.path(dir).join("file"), "").unwrap();
    }
    let (a, e) = (t.handle("a"), t.handle("e"));
    // Nothing unless it is wanted.
    assert_eq!(list_ahead(&t, a, Ahead { most: 0, next: &[e] }).len(), 1);
    let all = list_ahead(&t, a, Ahead { most: 100, next: &[e] });
    let names: Vec<Vec<&str>> =
        all.iter().map(|(_, names)| names.keys().map(String::as_str).collect()).collect();
    assert_eq!(names.len(), 6, "{names:?}");
    assert_eq!(names[0], ["b", "d"]);
    assert_eq!(names[4..], [vec!["f"], vec!["file"]]);
    // Each is told by a handle that came before: what is below a directory right behind it.
    let b = all[0].1["b"].unwrap();
    let at = all.iter().position(|(handle, _)| *handle == b).unwrap();
    assert_eq!(names[at], ["c"]);
    assert_eq!(all[at + 1].0, all[at].1["c"].unwrap());
    assert_eq!(all[4].0, e);
    // As many as are wanted, and what is no directory is passed over.
    assert_eq!(list_ahead(&t, a, Ahead { most: 2, next: &[e] }).len(), 3);
    let file = t.handle("g/file");
    let unknown = Handle::new(1 << 40 | 77).unwrap();
    let all = list_ahead(&t, t.handle("g"), Ahead { most: 9, next: &[file, unknown, e] });
    assert_eq!(all.iter().map(|(handle, _)| *handle).skip(1).collect::<Vec<_>>()[0], e);
    t.end();
}

#[test]
fn directories_ahead_have_to_fit() {
    let t = Fixture::new();
    for dir in ["small", "large", "next"] {
        fs::create_dir(t.path(dir)).unwrap();
    }
    for i in 0..2000 {
        fs::create_dir(t.path(&format!("large/{i}"))).unwrap();
    }
    fs::write(t.path("next/file"), "").unwrap();
    let (large, next) = (t.handle("large"), t.handle("next"));
    let all = list_ahead(&t, t.handle("small"), Ahead { most: 9, next: &[large, next] });
    // The large one is left out as a whole, and its directories are not held.
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].0, next);
    assert!(all[1].1.contains_key("file"));
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 1000, "{open} descriptors");
    t.end();
}

#[test]
fn as_many_directories_ahead_as_fit() {
    let t = Fixture::new();
    for dir in 0..12 {
        fs::create_dir(t.path(&format!("{dir}"))).unwrap();
        for i in 0..100 {
            fs::write(t.path(&format!("{dir}/file {i}")), "").unwrap();
        }
    }
    let handles: Vec<Handle> = (0..12).map(|dir| t.handle(&format!("{dir}"))).collect();
    let (mut at, mut requests) = (0, 0);
    while at < handles.len() {
        let all = list_ahead(&t, handles[at], Ahead { most: 50, next: &handles[at + 1..] });
        // Each as a whole, in their order, and no room for another one is left over.
        let told: Vec<Handle> = all.iter().map(|(handle, _)| *handle).collect();
        assert_eq!(told, handles[at..at + told.len()]);
        assert!(all.iter().all(|(_, names)| names.len() == 100));
        at += told.len();
        requests += 1;
    }
    // An entry takes some 150 bytes, a message has 64 KiB for them.
    assert_eq!(requests, 3);
    t.end();
}

#[test]
fn what_links_point_to() {
    let t = Fixture::new();
    fs::write(t.path("file"), "").unwrap();
    symlink("file", t.path("short")).unwrap();
    symlink("x".repeat(1000), t.path("long")).unwrap();
    for (flags, wanted) in [(ReaddirFlags::TARGETS, Some(&b"file"[..])), (ReaddirFlags::ATTR, None)] {
        let flags = flags | ReaddirFlags::DIR_HANDLES;
        let mut seen = 0;
        let end = t.client().readdir(t.root(), 0, flags, |entry| {
            let target = entry.target.map(|target| target.as_bytes());
            match entry.name.as_bytes() {
                b"short" => assert_eq!(target, wanted),
                // Too long to come along with each listing.
                _ => assert_eq!(target, None),
            }
            assert!(entry.found.is_some());
            seen += 1;
        });
        assert!(end.unwrap());
        assert_eq!(seen, 3);
    }
    t.end();
}
