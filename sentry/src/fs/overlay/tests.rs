//! Tests of overlays over tmpfs layers: single cases, and random operations against a plain tmpfs that should show the
//! same.

use std::collections::HashMap;
use std::sync::Arc;

use abi::Errno;
use abi::stat::S_IFMT;
use platform::MemoryFile;

use super::{Layers, Redirects, new_root};
use crate::fs::tmpfs;
use crate::task::{Credentials, UserNamespace};
use crate::vfs::testkit::{World, read_at, write_at};
use crate::vfs::{Dentry, XattrSet};

const O_RDWR: u32 = 2;
const O_CREAT: u32 = 0o100;
const O_TRUNC: u32 = 0o1000;

/// Worlds for the layers, and one for the overlay of them.
struct Kit {
    upper: World,
    lowers: Vec<World>,
    overlay: World,
}

fn plain(memory: &Arc<MemoryFile>) -> World {
    let options = tmpfs::Options { max_bytes: None, max_inodes: None, mode: 0o755, ..Default::default() };
    World::with_root(Arc::clone(memory), tmpfs::new_root(memory, &options).unwrap())
}

fn kit(fill: impl Fn(usize, &World)) -> Kit {
    kit_of(1, fill)
}

fn kit_of(layers: usize, fill: impl Fn(usize, &World)) -> Kit {
    let memory = MemoryFile::new(None).unwrap();
    let upper = plain(&memory);
    upper.mkdir("upper").unwrap();
    upper.mkdir("work").unwrap();
    let lowers: Vec<World> = (0..layers).map(|_| plain(&memory)).collect();
    for (index, lower) in lowers.iter().enumerate() {
        fill(index, lower);
    }
    let overlay = remount(&memory, &upper, &lowers);
    Kit { upper, lowers, overlay }
}

fn remount(memory: &Arc<MemoryFile>, upper: &World, lowers: &[World]) -> World {
    let dir = |path: &str| Dentry::new_root(Arc::clone(upper.lookup(path).unwrap().inode()));
    let layers = Layers {
        upper: Some((dir("upper"), dir("work"))),
        lowers: lowers.iter().map(|lower| Arc::clone(&lower.roots.root.dentry)).collect(),
        redirects: Redirects::Made,
        user_marks: false,
        options: String::new(),
    };
    let creds = Arc::new(Credentials::for_user(0, 0, &[], UserNamespace::initial()));
    let root = new_root(layers, &upper.vfs, &creds).unwrap();
    World::with_root(Arc::clone(memory), root)
}

impl Kit {
    /// The same layers in a new overlay, which knows only what is in them.
    fn remounted(&self) -> World {
        remount(self.upper.vfs.memory(), &self.upper, &self.lowers)
    }
}

#[test]
fn layers_are_merged_and_the_lower_ones_never_change() {
    let k = kit(|_, w| {
        w.mkdir("d").unwrap();
        w.write("d/low", b"low").unwrap();
        w.write("f", b"lower").unwrap();
        w.symlink("f", "s").unwrap();
    });
    let o = &k.overlay;
    let before = o.stat("f").unwrap();
    assert_eq!(o.read("f").unwrap(), b"lower");
    let old = o.open("f", 0, 0).unwrap();
    o.write("d/new", b"new").unwrap();
    assert_eq!(o.list("d").unwrap(), ["low", "new"]);
    let file = o.open("f", O_RDWR, 0).unwrap();
    write_at(&file, 1, b"OW").unwrap();
    assert_eq!(o.read("f").unwrap(), b"lOWer");
    let after = o.stat("f").unwrap();
    assert_eq!((before.ino, before.mode, before.nlink), (after.ino, after.mode, after.nlink));
    // Opened before the copy: shows it all the same, as on Linux.
    let mut buffer = [0; 5];
    read_at(&old, 0, &mut buffer).unwrap();
    assert_eq!(&buffer, b"lOWer");
    o.unlink("d/low").unwrap();
    assert_eq!(o.list("d").unwrap(), ["new"]);
    assert_eq!(o.lookup("d/low").err(), Some(Errno::ENOENT));
    o.write("d/low", b"again").unwrap();
    assert_eq!(o.read("d/low").unwrap(), b"again");
    o.unlink("d/low").unwrap();
    o.unlink("d/new").unwrap();
    o.rmdir("d").unwrap();
    o.mkdir("d").unwrap();
    assert_eq!(o.list("d").unwrap(), Vec::<String>::new());
    o.unlink("s").unwrap();
    let l = &k.lowers[0];
    assert_eq!(l.list("d").unwrap(), ["low"]);
    assert_eq!(l.list("").err(), Some(Errno::ENOENT));
    assert_eq!(l.list("/").unwrap(), ["d", "f", "s"]);
    assert_eq!(l.read("f").unwrap(), b"lower");
    let again = k.remounted();
    assert_eq!(again.list("/").unwrap(), ["d", "f"]);
    assert_eq!(again.list("d").unwrap(), Vec::<String>::new());
    assert_eq!(again.read("f").unwrap(), b"lOWer");
}

#[test]
fn lower_directories_can_be_moved() {
    let k = kit(|_, w| {
        w.mkdir("d").unwrap();
        w.mkdir("d/e").unwrap();
        w.write("d/e/f", b"deep").unwrap();
        w.mkdir("other").unwrap();
        w.write("other/o", b"o").unwrap();
    });
    let o = &k.overlay;
    o.rename("d", "m", 0).unwrap();
    assert_eq!(o.read("m/e/f").unwrap(), b"deep");
    assert_eq!(o.lookup("d").err(), Some(Errno::ENOENT));
    o.rename("m/e", "n", 0).unwrap();
    assert_eq!(o.read("n/f").unwrap(), b"deep");
    o.write("n/f", b"changed").unwrap();
    o.mkdir("d").unwrap();
    assert_eq!(o.list("d").unwrap(), Vec::<String>::new());
    o.rename("n", "other", 0).unwrap_err();
    o.rename("n", "other", 2).unwrap();
    assert_eq!(o.list("other").unwrap(), ["f"]);
    assert_eq!(o.list("n").unwrap(), ["o"]);
    assert_eq!(o.rename("m", "d", 0), Ok(()));
    let again = k.remounted();
    for world in [o, &again] {
        assert_eq!(world.list("/").unwrap(), ["d", "n", "other"]);
        assert_eq!(world.read("other/f").unwrap(), b"changed");
        assert_eq!(world.read("n/o").unwrap(), b"o");
        assert_eq!(world.list("d").unwrap(), Vec::<String>::new());
    }
}

#[test]
fn hard_links_of_the_lower_layer_stay_links() {
    let k = kit(|_, w| {
        w.write("a", b"one").unwrap();
        w.link("a", "b").unwrap();
        w.link("a", "c").unwrap();
    });
    let o = &k.overlay;
    o.write("a", b"two").unwrap();
    assert_eq!(o.read("b").unwrap(), b"two");
    assert_eq!(o.stat("b").unwrap().nlink, 3);
    assert_eq!(o.stat("b").unwrap().ino, o.stat("a").unwrap().ino);
    o.unlink("a").unwrap();
    assert_eq!(o.stat("b").unwrap().nlink, 2);
    o.rename("b", "d", 0).unwrap();
    o.link("c", "e").unwrap();
    assert_eq!(o.stat("c").unwrap().nlink, 3);
    o.write("d", b"three").unwrap();
    assert_eq!(o.read("c").unwrap(), b"three");
    assert_eq!(o.read("e").unwrap(), b"three");
    assert_eq!(o.list("/").unwrap(), ["c", "d", "e"]);
}

#[test]
fn an_open_file_without_a_name_is_copied_up_all_the_same() {
    let k = kit(|_, w| w.write("f", b"data").unwrap());
    let o = &k.overlay;
    let file = o.open("f", 0, 0).unwrap();
    o.unlink("f").unwrap();
    o.caller().chmod(&file.path, 0o600).unwrap();
    let attr = file.path.inode().attr().unwrap();
    assert_eq!((attr.mode & 0o777, attr.nlink), (0o600, 0));
    assert_eq!(o.list("/").unwrap(), Vec::<String>::new());
    assert_eq!(k.upper.list("work").unwrap(), Vec::<String>::new());
}

#[test]
fn the_copy_keeps_everything() {
    let k = kit(|_, w| {
        w.mkdir("d").unwrap();
        w.write("d/f", &[7; 10_000]).unwrap();
        let place = w.lookup("d/f").unwrap();
        w.caller().set_xattr(&place, b"user.x", b"y", XattrSet::Any).unwrap();
        w.caller().chown(&place, Some(5), Some(6)).unwrap();
        w.caller().chmod(&place, 0o4711).unwrap();
        let at = |secs| crate::vfs::set_attr::NewTime::At(crate::vfs::Timestamp { secs, nanos: 3 });
        w.caller().set_times(&place, at(1), at(2)).unwrap();
        w.caller().set_times(&w.lookup("d").unwrap(), at(3), at(4)).unwrap();
    });
    let o = &k.overlay;
    let before = (o.stat("d").unwrap(), o.stat("d/f").unwrap());
    drop(o.open("d/f", O_RDWR, 0).unwrap());
    let after = (o.stat("d").unwrap(), o.stat("d/f").unwrap());
    assert_eq!(k.upper.list("upper/d").unwrap(), ["f"]);
    for (old, new) in [(before.0, after.0), (before.1, after.1)] {
        assert_eq!((old.mode, old.uid, old.gid, old.ino), (new.mode, new.uid, new.gid, new.ino));
        assert_eq!((old.atime, old.mtime, old.size), (new.atime, new.mtime, new.size));
    }
    let place = o.lookup("d/f").unwrap();
    assert_eq!(o.caller().get_xattr(&place, b"user.x").unwrap(), b"y");
    assert_eq!(o.caller().list_xattr(&place).unwrap(), [b"user.x".to_vec()]);
    let again = k.remounted();
    assert_eq!(again.stat("d/f").unwrap().mtime, after.1.mtime);
    drop(o.open("d/f", O_RDWR | O_TRUNC, 0).unwrap());
    assert_eq!(o.stat("d/f").unwrap().size, 0);
}

#[test]
fn several_lower_layers_hide_each_other() {
    let k = kit_of(3, |index, w| {
        w.mkdir("d").unwrap();
        w.write(&format!("d/only{index}"), b"").unwrap();
        w.write("d/all", format!("{index}").as_bytes()).unwrap();
        w.mkdir("opaque").unwrap();
        w.write(&format!("opaque/{index}"), b"").unwrap();
        match index {
            0 => {
                w.caller().mknod(w.at(), b"d/only2", crate::vfs::NewKind::CharDevice(0), 0).map(drop).unwrap()
            }
            1 => {
                let place = w.lookup("opaque").unwrap();
                w.caller().set_xattr(&place, b"trusted.overlay.opaque", b"y", XattrSet::Any).unwrap();
                w.write("file-or-dir", b"file").unwrap();
            }
            _ => w.mkdir("file-or-dir").unwrap(),
        }
    });
    let o = &k.overlay;
    assert_eq!(o.list("d").unwrap(), ["all", "only0", "only1"]);
    assert_eq!(o.read("d/all").unwrap(), b"0");
    assert_eq!(o.list("opaque").unwrap(), ["0", "1"]);
    assert_eq!(o.read("file-or-dir").unwrap(), b"file");
    o.unlink("d/all").unwrap();
    assert_eq!(o.lookup("d/all").err(), Some(Errno::ENOENT));
    assert_eq!(o.rmdir("d").err(), Some(Errno::ENOTEMPTY));
    o.unlink("d/only0").unwrap();
    o.unlink("d/only1").unwrap();
    o.rmdir("d").unwrap();
    assert_eq!(o.list("/").unwrap(), ["file-or-dir", "opaque"]);
    o.rename("opaque", "moved", 0).unwrap();
    assert_eq!(k.remounted().list("moved").unwrap(), ["0", "1"]);
}

/// A small generator of random numbers, seeded.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
    fn path(&mut self) -> String {
        let names = ["a", "b", "c", "d"];
        let depth = 1 + self.below(3);
        let parts: Vec<&str> = (0..depth).map(|_| names[self.below(4) as usize]).collect();
        parts.join("/")
    }
}

/// One random change; what it answered, as a text.
fn change(w: &World, r: &mut Random) -> String {
    let (one, two) = (r.path(), r.path());
    let done: Result<(), Errno> = match r.below(12) {
        0 | 1 => w
            .open(&one, O_RDWR | O_CREAT, 0o644)
            .and_then(|file| write_at(&file, r.below(5), format!("{one}{two}").as_bytes()).map(drop)),
        2 => w.open(&one, O_RDWR | O_TRUNC, 0).map(drop),
        3 => w.mkdir(&one),
        4 | 5 => w.unlink(&one),
        6 => w.rmdir(&one),
        7 | 8 => w.rename(&one, &two, 0),
        9 => w.rename(&one, &two, 2),
        10 => w.link(&one, &two),
        _ => w.lookup(&one).and_then(|place| w.caller().chmod(&place, 0o600 + r.below(0o100) as u32)),
    };
    format!("{one} {two}: {done:?}")
}

/// All that a guest can see of a tree, inode numbers replaced by the order in which they are met.
fn dump(w: &World) -> Vec<String> {
    let mut lines = Vec::new();
    let mut numbers: HashMap<u64, usize> = HashMap::new();
    let mut left = vec!["/".to_owned()];
    while let Some(path) = left.pop() {
        let attr = w.stat(&path).unwrap();
        let next = numbers.len();
        let number = *numbers.entry(attr.ino).or_insert(next);
        let is_dir = attr.mode & S_IFMT == abi::stat::S_IFDIR;
        let links = if is_dir { 0 } else { attr.nlink };
        let contents = if is_dir { Vec::new() } else { w.read(&path).unwrap() };
        lines.push(format!(
            "{path} {:o} #{number} {links} {:?}",
            attr.mode,
            String::from_utf8_lossy(&contents)
        ));
        if is_dir {
            let mut names = w.list(&path).unwrap();
            names.reverse();
            left.extend(names.into_iter().map(|name| format!("{}/{name}", path.trim_end_matches('/'))));
        }
    }
    lines
}

#[test]
fn random_changes_look_like_those_of_a_plain_file_system() {
    for seed in 1..=60 {
        let layers = 1 + (seed % 3) as usize;
        let k = kit_of(layers, |index, w| {
            let mut r = Random::new(seed * 100 + index as u64);
            for _ in 0..30 {
                change(w, &mut r);
            }
        });
        // What the overlay shows at first is what the plain one begins with.
        let model = plain(&MemoryFile::new(None).unwrap());
        copy_tree(&k.overlay, &model);
        assert_eq!(dump(&k.overlay), dump(&model), "seed {seed}");
        let (mut a, mut b) = (Random::new(seed), Random::new(seed));
        for step in 0..150 {
            let (got, expected) = (change(&k.overlay, &mut a), change(&model, &mut b));
            assert_eq!(got, expected, "seed {seed} step {step}");
            if step % 10 == 0 {
                assert_eq!(dump(&k.overlay), dump(&model), "seed {seed} step {step}: {got}");
            }
            if step % 40 == 39 {
                // Nothing may hang on what is cached.
                k.overlay.roots.root.inode().sb.drop_cached();
            }
        }
        assert_eq!(dump(&k.overlay), dump(&model), "seed {seed}");
        assert_eq!(k.upper.list("work").unwrap(), Vec::<String>::new());
    }
}

/// Makes in `to` what `from` shows.
fn copy_tree(from: &World, to: &World) {
    let mut seen: HashMap<u64, String> = HashMap::new();
    let mut left: Vec<String> = from.list("/").unwrap();
    while let Some(path) = left.pop() {
        let attr = from.stat(&path).unwrap();
        if attr.mode & S_IFMT == abi::stat::S_IFDIR {
            to.mkdir(&path).unwrap();
            left.extend(from.list(&path).unwrap().into_iter().map(|name| format!("{path}/{name}")));
        } else if let Some(first) = seen.get(&attr.ino) {
            to.link(first, &path).unwrap();
        } else {
            to.write(&path, &from.read(&path).unwrap()).unwrap();
            seen.insert(attr.ino, path.clone());
        }
        let place = to.lookup(&path).unwrap();
        to.caller().chmod(&place, attr.mode & 0o7777).unwrap();
    }
}

#[test]
fn an_inode_adds_little_to_that_of_its_layer() {
    assert!(size_of::<super::node::OverlayNode>() <= 120);
}
