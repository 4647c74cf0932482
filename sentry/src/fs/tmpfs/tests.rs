//! tmpfs against the host's own file system, with random operations on both.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use abi::Errno;
use platform::{Frames, MemoryFile};
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, RenameFlags};

use crate::mm::Place;
use crate::vfs::testkit::{World, read_at, write_at};
use crate::vfs::{File, SeekFrom};

/// A small generator of random numbers, seeded.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

fn host_error(errno: rustix::io::Errno) -> Errno {
    Errno::new(errno.raw_os_error() as u32).unwrap_or(Errno::EIO)
}

fn unlimited() -> World {
    World::new()
}

/// A memory file on the host's disk.
fn disk() -> Arc<MemoryFile> {
    MemoryFile::on_disk(tempfile::tempfile().unwrap().into()).unwrap()
}

/// A tmpfs whose contents are on the host's disk, without limits.
fn on_disk(contents: &Arc<MemoryFile>) -> World {
    let options = super::Options { max_bytes: None, max_inodes: None, ..Default::default() };
    let memory = MemoryFile::new(None).unwrap();
    World::with_root(memory, super::new_root(contents, &options).unwrap())
}

fn allocate(file: &File, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
    file.ops().allocate(file, mode, offset, len)
}

#[test]
fn contents_are_those_of_a_host_file() {
    for seed in 1..=40 {
        same_as_a_host_file(seed, &unlimited());
    }
}

#[test]
fn contents_on_disk_are_those_of_a_host_file() {
    let contents = disk();
    for seed in 1..=40 {
        same_as_a_host_file(seed, &on_disk(&contents));
    }
    assert_eq!(contents.allocated_bytes(), 0);
    assert_eq!(contents.resident_bytes(), 0, "what is freed goes back to the disk");
}

#[test]
fn pages_on_disk_that_somebody_maps_are_given_to_nobody_else() {
    let contents = disk();
    let w = on_disk(&contents);
    let file = w.open("f", 0o102, 0o644).unwrap();
    write_at(&file, 0, &[7; 8192]).unwrap();
    let mapped = file.ops().mappable(&file).unwrap();
    let run = mapped.translate(4096, 4096, true).unwrap();
    let Place::Host(host, at) = run.place else { panic!("{run:?}") };
    ours_truncate(&file, 0);
    write_at(&w.open("g", 0o102, 0o644).unwrap(), 0, &[9; 1 << 20]).unwrap();
    let mut seen = [0; 4096];
    host.read(at, &mut seen).unwrap();
    assert!(seen.iter().all(|byte| *byte != 9), "somebody else's bytes");
    host.decref(Frames { offset: at, len: run.len });
    drop((file, mapped));
    w.unlink("f").unwrap();
    w.unlink("g").unwrap();
    assert_eq!(contents.allocated_bytes(), 0);
}

fn same_as_a_host_file(seed: u64, w: &World) {
    let dir = tempfile::tempdir().unwrap();
    {
        let ours = w.open("f", 0o102, 0o644).unwrap();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC;
        let host: OwnedFd = rustix::fs::open(dir.path().join("f"), flags, Mode::from(0o644)).unwrap();
        let mut r = Random(seed * 77 + 1);
        // Sizes around the borders of pages and chunks.
        let place = |r: &mut Random| {
            let unit = [1, 4096, 16_384, 65_536, 262_144, 2 << 20][r.below(6) as usize];
            (r.below(4) * unit + r.below(3)).saturating_sub(r.below(3))
        };
        for step in 0..60 {
            let (at, len) = (place(&mut r), place(&mut r).min(300_000));
            match r.below(7) {
                0..=2 => {
                    let bytes: Vec<u8> =
                        (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(step)).collect();
                    assert_eq!(write_at(&ours, at, &bytes).unwrap(), bytes.len());
                    let mut done = 0;
                    while done < bytes.len() {
                        done += rustix::io::pwrite(&host, &bytes[done..], at + done as u64).unwrap();
                    }
                }
                3 => {
                    ours.ops().truncate(&ours, at).unwrap();
                    rustix::fs::ftruncate(&host, at).unwrap();
                }
                4 if len > 0 => {
                    allocate(&ours, 3, at, len).unwrap();
                    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                    rustix::fs::fallocate(&host, punch, at, len).unwrap();
                }
                5 if len > 0 => {
                    allocate(&ours, 0, at, len).unwrap();
                    rustix::fs::fallocate(&host, FallocateFlags::empty(), at, len).unwrap();
                }
                _ => {}
            }
            let stat = rustix::fs::fstat(&host).unwrap();
            let attr = ours.path.inode().attr().unwrap();
            assert_eq!(attr.size, stat.st_size as u64, "seed {seed} step {step}");
            let (from, len) = (place(&mut r), 100_000);
            compare(&ours, &host, from, len, &format!("seed {seed} step {step}"));
        }
        let size = ours.path.inode().attr().unwrap().size;
        compare(&ours, &host, 0, size as usize + 1, &format!("seed {seed}"));
        check_map(&ours, size);
    }
    w.unlink("f").unwrap();
}

fn compare(ours: &File, host: &OwnedFd, at: u64, len: usize, what: &str) {
    let (mut a, mut b) = (vec![1; len], vec![2; len]);
    let got = read_at(ours, at, &mut a).unwrap();
    let mut expected = 0;
    loop {
        match rustix::io::pread(host, &mut b[expected..], at + expected as u64).unwrap() {
            0 => break,
            n => expected += n,
        }
    }
    assert_eq!(got, expected, "{what}: read of {len} at {at}");
    assert!(a[..got] == b[..got], "{what}: contents at {at}");
}

/// Holes hold zeros, and data and holes take turns up to the end.
fn check_map(file: &File, size: u64) {
    let ops = file.ops();
    let mut at = 0;
    while at < size {
        let data = match ops.seek(file, 0, SeekFrom::Data(at as i64)) {
            Ok(data) => data,
            Err(errno) => {
                assert_eq!(errno, Errno::ENXIO);
                size
            }
        };
        assert!(data >= at && data <= size);
        let mut hole = vec![1; (data - at) as usize];
        assert_eq!(read_at(file, at, &mut hole).unwrap(), hole.len());
        assert!(hole.iter().all(|byte| *byte == 0));
        if data == size {
            break;
        }
        at = ops.seek(file, 0, SeekFrom::Hole(data as i64)).unwrap();
        assert!(at > data && at <= size);
    }
    assert_eq!(ops.seek(file, 0, SeekFrom::Data(size as i64)), Err(Errno::ENXIO));
    assert_eq!(ops.seek(file, 0, SeekFrom::Hole(size as i64)), Err(Errno::ENXIO));
}

/// One random operation on names, on both sides; what each answered.
fn change(w: &World, host: &OwnedFd, r: &mut Random) -> (String, String) {
    let mut path = || {
        let names = ["a", "b", "c", ".", "..", "l"];
        let depth = 1 + r.below(3);
        let mut path: Vec<&str> = vec!["t"];
        path.extend((0..depth).map(|_| names[r.below(6) as usize]));
        let slash = if r.below(8) == 0 { "/" } else { "" };
        format!("{}{slash}", path.join("/"))
    };
    let (one, two) = (path(), path());
    let c = |path: &str| CString::new(path).unwrap();
    let (a, b) = (c(&one), c(&two));
    let fd = host.as_fd();
    let (what, ours, theirs): (&str, Result<(), Errno>, rustix::io::Result<()>) = match r.below(13) {
        0 | 1 => (
            "create",
            w.open(&one, 0o101, 0o644).map(drop),
            rustix::fs::openat(fd, &a, OFlags::CREATE | OFlags::WRONLY, Mode::from(0o644)).map(drop),
        ),
        2 => (
            "create exclusively",
            w.open(&one, 0o301, 0o644).map(drop),
            rustix::fs::openat(fd, &a, OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, Mode::from(0o644))
                .map(drop),
        ),
        3 => (
            "open",
            w.open(&one, 0o400000, 0).map(drop),
            rustix::fs::openat(fd, &a, OFlags::NOFOLLOW, Mode::empty()).map(drop),
        ),
        4 | 5 => ("mkdir", w.mkdir(&one), rustix::fs::mkdirat(fd, &a, Mode::from(0o755))),
        6 => ("unlink", w.unlink(&one), rustix::fs::unlinkat(fd, &a, AtFlags::empty())),
        7 => ("rmdir", w.rmdir(&one), rustix::fs::unlinkat(fd, &a, AtFlags::REMOVEDIR)),
        8 | 9 => {
            let flags = [0, 0, 1, 2][r.below(4) as usize];
            let theirs = rustix::fs::renameat_with(fd, &a, fd, &b, RenameFlags::from_bits_retain(flags));
            ("rename", w.rename(&one, &two, flags), theirs)
        }
        10 => ("link", w.link(&one, &two), rustix::fs::linkat(fd, &a, fd, &b, AtFlags::empty())),
        11 => {
            let target = ["a", "../b", "/t/c", "l", "c/"][r.below(5) as usize];
            // Absolute links would leave the host's directory.
            let target = target.trim_start_matches('/');
            ("symlink", w.symlink(target, &one), rustix::fs::symlinkat(c(target), fd, &a))
        }
        _ => ("lookup", w.lookup(&one).map(drop), rustix::fs::statat(fd, &a, AtFlags::empty()).map(drop)),
    };
    let theirs = theirs.map_err(host_error);
    (format!("{what} {one} {two}: {ours:?}"), format!("{what} {one} {two}: {theirs:?}"))
}

fn host_tree(path: &std::path::Path, prefix: &str, out: &mut Vec<String>) {
    let mut names: Vec<_> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = path.join(&name);
        let stat = rustix::fs::lstat(&path).unwrap();
        let shown = format!("{prefix}/{}", name.as_bytes().escape_ascii());
        let is_dir = stat.st_mode & abi::stat::S_IFMT == abi::stat::S_IFDIR;
        let links = if is_dir { 0 } else { stat.st_nlink as u64 };
        out.push(format!("{shown} {:o} {links}", stat.st_mode & abi::stat::S_IFMT));
        if is_dir {
            host_tree(&path, &shown, out);
        }
    }
}

fn our_tree(w: &World, prefix: &str, out: &mut Vec<String>) {
    for name in w.list(prefix).unwrap() {
        let path = format!("{prefix}/{name}");
        let attr = w.stat(&path).unwrap();
        let is_dir = attr.mode & abi::stat::S_IFMT == abi::stat::S_IFDIR;
        let links = if is_dir { 0 } else { u64::from(attr.nlink) };
        out.push(format!("{path} {:o} {links}", attr.mode & abi::stat::S_IFMT));
        if is_dir {
            our_tree(w, &path, out);
        }
    }
}

#[test]
fn names_behave_as_on_the_host() {
    for seed in 1..=60 {
        // Deep enough that no number of `..` in a path leads out.
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("x/y/z");
        std::fs::create_dir_all(base.join("t")).unwrap();
        let host: OwnedFd = rustix::fs::open(&base, OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut w = unlimited();
        for path in ["x", "x/y", "x/y/z", "x/y/z/t"] {
            w.mkdir(path).unwrap();
        }
        w.roots.cwd = w.lookup("x/y/z").unwrap();
        let mut r = Random(seed * 99 + 7);
        for step in 0..300 {
            let (ours, theirs) = change(&w, &host, &mut r);
            assert_eq!(ours, theirs, "seed {seed} step {step}");
        }
        let (mut a, mut b) = (Vec::new(), Vec::new());
        our_tree(&w, "/x", &mut a);
        host_tree(&dir.path().join("x"), "/x", &mut b);
        assert_eq!(a, b, "seed {seed}");
    }
}

#[test]
fn a_full_file_system_says_so_and_recovers() {
    let options = super::Options { max_bytes: Some(64 * 1024), max_inodes: Some(5), ..Default::default() };
    let memory = platform::MemoryFile::new(None).unwrap();
    let w = World::with_root(memory.clone(), super::new_root(&memory, &options).unwrap());
    let file = w.open("f", 0o102, 0o644).unwrap();
    assert_eq!(write_at(&file, 0, &[1; 100_000]), Ok(64 * 1024));
    assert_eq!(write_at(&file, 64 * 1024, &[1]), Err(Errno::ENOSPC));
    assert_eq!(allocate(&file, 0, 1 << 20, 4096), Err(Errno::ENOSPC));
    let free = || file.path.inode().sb.ops().statfs().unwrap().blocks_free;
    assert_eq!(free(), 0);
    ours_truncate(&file, 10_000);
    assert_eq!(free(), 13);
    assert_eq!(write_at(&file, 1 << 30, &[1; 10]), Ok(10));
    assert_eq!(file.path.inode().attr().unwrap().blocks, 4 * 8);
    for name in ["a", "b", "c"] {
        w.write(name, b"").unwrap();
    }
    assert_eq!(w.write("d", b"").err(), Some(Errno::ENOSPC));
    assert_eq!(w.link("b", "e").err(), Some(Errno::ENOSPC));
    w.unlink("a").unwrap();
    w.link("b", "e").unwrap();
    assert_eq!(w.write("d", b"").err(), Some(Errno::ENOSPC));
    w.unlink("b").unwrap();
    w.write("d", b"").unwrap();
    drop(file);
    w.unlink("f").unwrap();
    let stat = w.roots.root.inode().sb.ops().statfs().unwrap();
    assert_eq!((stat.blocks_free, stat.files_free), (16, 1));
    assert_eq!(memory.allocated_bytes(), 0);
}

fn ours_truncate(file: &File, size: u64) {
    file.ops().truncate(file, size).unwrap();
}

#[test]
fn listings_stay_stable_under_change() {
    let w = unlimited();
    for i in 0..500 {
        w.write(&format!("f{i}"), b"").unwrap();
    }
    let dir = w.open("/", 0o200000, 0).unwrap();
    let mut seen = std::collections::HashSet::new();
    let mut position = 2;
    let mut made = 0;
    loop {
        let mut got = Vec::new();
        let next = dir
            .ops()
            .read_dir(&dir, position, &mut |name, _, next, _| {
                got.push((String::from_utf8_lossy(name).into_owned(), next));
                got.len() < 7
            })
            .unwrap();
        if got.is_empty() {
            break;
        }
        // Half of what was given is taken back, and again new names come.
        let _ = next;
        for (name, next) in got {
            position = next;
            assert!(seen.insert(name.clone()), "{name} twice");
            if name.ends_with('3') {
                w.unlink(&name).unwrap();
            }
            w.write(&format!("new{made}"), b"").unwrap();
            made += 1;
        }
    }
    for i in 0..500 {
        assert!(seen.contains(&format!("f{i}")), "f{i} is missing");
    }
    assert!(made < 2000);
}

#[test]
fn writers_from_many_threads_append_whole_records() {
    let w = unlimited();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let w = &w;
            scope.spawn(move || {
                let file = w.open("log", 0o2101, 0o644).unwrap();
                for _ in 0..500 {
                    assert_eq!(write_at(&file, crate::vfs::file::AT_END, &[thread; 100]), Ok(100));
                }
            });
        }
    });
    let all = w.read("log").unwrap();
    assert_eq!(all.len(), 4 * 500 * 100);
    assert!(all.chunks(100).all(|record| record.iter().all(|byte| *byte == record[0])));
}

#[test]
fn many_threads_in_one_directory() {
    let w = unlimited();
    w.mkdir("d").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let w = &w;
            scope.spawn(move || {
                let mut r = Random(thread * 1000 + 3);
                for _ in 0..3000 {
                    let (one, two) = (format!("d/{}", r.below(6)), format!("d/{}", r.below(6)));
                    let _ = match r.below(6) {
                        0 | 1 => w.write(&one, b"x"),
                        2 => w.unlink(&one),
                        3 => w.rename(&one, &two, 0),
                        4 => w.link(&one, &two),
                        _ => w.read(&one).map(drop),
                    };
                }
            });
        }
    });
    // What is cached is what is there.
    let names = w.list("d").unwrap();
    for i in 0..6 {
        assert_eq!(w.lookup(&format!("d/{i}")).is_ok(), names.contains(&i.to_string()));
    }
    for name in names {
        w.unlink(&format!("d/{name}")).unwrap();
    }
    w.rmdir("d").unwrap();
}
