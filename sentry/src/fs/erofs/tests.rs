//! Images as mkfs.erofs makes them, and the same with bytes changed.

use std::collections::HashSet;
use std::sync::Arc;

use abi::Errno;
use abi::open::OpenFlags;
use platform::MemoryFile;

use super::image::Source;
use super::mount;
use crate::Result;
use crate::mm::Mappable;
use crate::vfs::testkit::{World, read_at};
use crate::vfs::{Dentry, File, Inode, Mount, MountFlags, Path};

const PLAIN: &[u8] = include_bytes!("testdata/plain.erofs");
const CHUNKS: &[u8] = include_bytes!("testdata/chunks.erofs");

/// The same, compressed.
const LZ4: &[u8] = include_bytes!("testdata/lz4.erofs");
/// Bigger files, with each kind of index: `mkfs.erofs -zlz4hc`, with `-C16384`, with `-Elegacy-compress`.
const COMPACT: &[u8] = include_bytes!("testdata/lz4_compact.erofs");
const BIG: &[u8] = include_bytes!("testdata/lz4_big.erofs");
const FULL: &[u8] = include_bytes!("testdata/lz4_full.erofs");

struct Bytes(Vec<u8>);

impl Source for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        buffer.copy_from_slice(&self.0[offset as usize..offset as usize + buffer.len()]);
        Ok(())
    }

    fn mappable(&self) -> Option<Arc<dyn Mappable>> {
        None
    }
}

fn root_of(image: &[u8], memory: &Arc<MemoryFile>) -> Result<Arc<Dentry>> {
    mount(Box::new(Bytes(image.to_vec())), memory)
}

#[test]
fn images_show_what_is_in_them() {
    for image in [PLAIN, CHUNKS, LZ4] {
        let memory = MemoryFile::new(None).unwrap();
        let root = root_of(image, &memory).unwrap();
        let w = World::with_root(memory, root);
        let names = ["dir", "empty", "exact", "file", "hard", "link", "null", "pipe"];
        assert_eq!(w.list("/").unwrap(), names);
        assert_eq!(w.read("file").unwrap(), b"hello");
        assert_eq!(w.read("dir/big").unwrap(), (0..10_000u32).map(|i| (i % 251) as u8).collect::<Vec<_>>());
        assert_eq!(w.read("exact").unwrap(), (0..8192u32).map(|i| (i % 7) as u8).collect::<Vec<_>>());
        assert_eq!(w.readlink("link").unwrap(), b"file");
        let file = w.stat("file").unwrap();
        assert_eq!((file.ino, file.nlink, file.uid, file.gid), (w.stat("hard").unwrap().ino, 2, 1000, 1001));
        assert_eq!(w.stat("dir/big").unwrap().uid, 70_000);
        assert_eq!(w.stat("null").unwrap().rdev, abi::stat::makedev(1, 3));
        let subs = w.list("dir/sub").unwrap();
        assert_eq!(subs.len(), 81);
        assert!(subs.iter().all(|name| w.stat(&format!("dir/sub/{name}")).is_ok_and(|attr| attr.size == 0)));
        assert_eq!(w.lookup("dir/sub/an-entry").err(), Some(Errno::ENOENT));
        assert_eq!(w.lookup("zzz").err(), Some(Errno::ENOENT));
        let inode = Arc::clone(w.lookup("file").unwrap().inode());
        assert_eq!(inode.ops().get_xattr(&inode, b"user.a").unwrap(), b"value");
        assert_eq!(inode.ops().get_xattr(&inode, b"trusted.b").unwrap(), b"secret");
        assert_eq!(inode.ops().get_xattr(&inode, b"user.b").err(), Some(Errno::ENODATA));
        let mut listed = inode.ops().list_xattr(&inode).unwrap();
        listed.sort();
        assert_eq!(listed, [b"trusted.b".to_vec(), b"user.a".to_vec()]);
        assert_eq!(w.write("file", b"x").err(), Some(Errno::EROFS));
    }
}

/// What `mixed` holds: noise and patterns in turn.
fn mixed() -> Vec<u8> {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut bytes = Vec::new();
    for _ in 0..60 {
        let r = random.next();
        let len = (r % 3000 + 1) as usize;
        if (r >> 32) & 3 == 0 {
            bytes.extend((0..len).map(|_| (random.next() >> 24) as u8));
        } else {
            let pattern = [(r >> 40) as u8, (r >> 48) as u8, (r >> 56) as u8];
            bytes.extend(pattern.iter().cycle().take(len));
        }
    }
    bytes
}

#[test]
fn compressed_files_are_read_from_anywhere() {
    let expected = mixed();
    for image in [COMPACT, BIG, FULL] {
        let memory = MemoryFile::new(None).unwrap();
        let w = World::with_root(Arc::clone(&memory), root_of(image, &memory).unwrap());
        assert_eq!(w.read("mixed").unwrap(), expected);
        assert_eq!(w.read("zeros").unwrap(), vec![0; 300_000]);
        assert_eq!(w.read("short").unwrap(), [b'a'; 4100]);
        assert_eq!(w.read("tiny").unwrap(), b"tiny");
        assert!(w.stat("zeros").unwrap().blocks * 512 < 100_000);
        let file = w.open("mixed", 0, 0).unwrap();
        let mut random = Random(7);
        for _ in 0..300 {
            let (at, len) = (random.below(expected.len()), random.below(9000));
            let mut buffer = vec![0; len];
            let n = read_at(&file, at as u64, &mut buffer).unwrap();
            assert_eq!(n, len.min(expected.len() - at));
            assert_eq!(buffer[..n], expected[at..at + n]);
        }
        let mapped = file.ops().mappable(&file).unwrap();
        for page in (0..expected.len() as u64 / 4096).rev() {
            let run = mapped.translate(page * 4096, 4096, false).unwrap();
            let crate::mm::Place::Memory(at) = run.place else { panic!("{run:?}") };
            let mut bytes = [0; 4096];
            memory.read(at, &mut bytes).unwrap();
            assert_eq!(bytes[..], expected[page as usize * 4096..][..4096]);
            memory.decref(platform::Frames { offset: at, len: 4096 });
        }
    }
}

#[test]
fn mapped_pages_are_the_file() {
    let memory = MemoryFile::new(None).unwrap();
    let w = World::with_root(Arc::clone(&memory), root_of(PLAIN, &memory).unwrap());
    let file = w.open("dir/big", 0, 0).unwrap();
    let mapped = file.ops().mappable(&file).unwrap();
    for page in 0..3u64 {
        let run = mapped.translate(page * 4096, 1 << 20, false).unwrap();
        let crate::mm::Place::Memory(at) = run.place else { panic!("{run:?}") };
        let mut bytes = [1u8; 4096];
        memory.read(at, &mut bytes).unwrap();
        for (index, byte) in bytes.iter().enumerate() {
            let position = page * 4096 + index as u64;
            assert_eq!(*byte, if position < 10_000 { (position % 251) as u8 } else { 0 });
        }
        memory.decref(platform::Frames { offset: at, len: 4096 });
    }
    assert_eq!(mapped.translate(3 * 4096, 4096, false).err(), Some(Errno::EFAULT));
}

/// A generator that needs no crate.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Looks at everything; answers how many inodes there were.
fn visit_all(w: &World, root: &Arc<Dentry>) -> usize {
    let mut left = vec![Arc::clone(&root.inode)];
    let mut seen = HashSet::new();
    while let Some(inode) = left.pop() {
        if inode.is_dir() && !seen.insert(inode.ino) {
            panic!("a directory that is found twice");
        }
        assert!(seen.len() < 10_000);
        visit(w, root, &inode);
        if !inode.is_dir() {
            continue;
        }
        let mut names = Vec::new();
        if let Some(dir) = opened(w, root, &inode) {
            let mut at = 2;
            while let Ok(next) = dir.ops().read_dir(&dir, at, &mut |name, _, _, _| {
                names.push(name.to_vec());
                names.len() < 5000
            }) {
                if next == at || names.len() >= 5000 {
                    break;
                }
                at = next;
            }
        }
        for name in names {
            if let Ok(Some(found)) = inode.ops().lookup(&inode, &name, &w.caller()) {
                left.push(found);
            }
        }
    }
    seen.len()
}

fn opened(w: &World, root: &Arc<Dentry>, inode: &Arc<Inode>) -> Option<Arc<File>> {
    let ops = inode.ops().open(inode, OpenFlags::empty(), &w.caller()).ok()?;
    let mount = Mount::new(Arc::clone(root), b"image", MountFlags::empty());
    let path = Path::new(mount, Dentry::new_unnamed(Arc::clone(inode), None, b"x"));
    Some(File::new(ops, path, OpenFlags::empty(), Arc::clone(&w.creds)))
}

fn visit(w: &World, root: &Arc<Dentry>, inode: &Arc<Inode>) {
    for name in inode.ops().list_xattr(inode).unwrap_or_default() {
        let _ = inode.ops().get_xattr(inode, &name);
    }
    let _ = inode.ops().read_link(inode, &w.caller());
    let Some(file) = opened(w, root, inode).filter(|_| inode.is_regular()) else { return };
    let size = inode.attr().unwrap().size;
    let mut buffer = vec![0; 20_000];
    for offset in [0, 4095, 9000, size.saturating_sub(1), size, u64::MAX >> 1] {
        let _ = read_at(&file, offset, &mut buffer);
    }
    let mapped = file.ops().mappable(&file).unwrap();
    for offset in [0, 4096, 8192, size & !4095] {
        if let Ok(run) = mapped.translate(offset, 1 << 16, false)
            && let crate::mm::Place::Memory(offset) = run.place
        {
            w.vfs.memory().decref(platform::Frames { offset, len: run.len });
        }
    }
}

/// Images with bytes changed: nothing panics, nothing goes on for ever, no directory is in two places.
#[test]
fn changed_images_do_no_harm() {
    let memory = MemoryFile::new(None).unwrap();
    let w = World::with_root(Arc::clone(&memory), root_of(PLAIN, &memory).unwrap());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut mounted = 0;
    for round in 0..3000 {
        let mut image = [PLAIN, CHUNKS, LZ4, COMPACT, BIG, FULL][round % 6].to_vec();
        if round % 10 == 9 {
            image.truncate(random.below(image.len()));
        }
        for _ in 0..=random.below(12) {
            if image.is_empty() {
                break;
            }
            // Where metadata is, more often than not.
            let end = if random.below(3) > 0 { image.len().min(12_000) } else { image.len() };
            let at = random.below(end);
            image[at] = match random.below(4) {
                0 => 0,
                1 => 0xff,
                2 => image[at] ^ (1 << random.below(8)),
                _ => random.next() as u8,
            };
        }
        if let Ok(root) = root_of(&image, &memory) {
            mounted += 1;
            visit_all(&w, &root);
        }
    }
    assert!(mounted > 1000, "{mounted}");
}

/// An entry that leads up again is not followed.
#[test]
fn loops_are_refused() {
    let memory = MemoryFile::new(None).unwrap();
    let good = World::with_root(Arc::clone(&memory), root_of(PLAIN, &memory).unwrap());
    let (root, dir) = (good.stat("/").unwrap().ino, good.stat("dir/sub").unwrap().ino);
    // The entry of `dir/sub` leads to the root.
    let mut image = PLAIN.to_vec();
    let entry = dir.to_le_bytes();
    let mut changed = 0;
    for at in 0..image.len() - 12 {
        // A node number, and the type of a directory two bytes behind it.
        if image[at..at + 8] == entry && image[at + 10] == 2 {
            image[at..at + 8].copy_from_slice(&root.to_le_bytes());
            changed += 1;
        }
    }
    assert!(changed > 0);
    let w = World::with_root(Arc::clone(&memory), root_of(&image, &memory).unwrap());
    assert_eq!(w.lookup("dir/sub").err(), Some(Errno::EUCLEAN));
    assert_eq!(w.read("file").unwrap(), b"hello");
}
