//! Tests of path resolution, names and mounts over tmpfs.

use std::sync::Arc;

use abi::Errno;
use abi::open::ResolveFlags;

use super::MountFlags;
use super::fd_table::{FdTable, OnExec};
use super::open::How;
use super::testkit::World;

const O_CREAT: u32 = 0o100;
const O_EXCL: u32 = 0o200;
const O_RDWR: u32 = 2;
const O_DIRECTORY: u32 = 0o200000;
const O_NOFOLLOW: u32 = 0o400000;
const O_PATH: u32 = 0o10000000;
const O_TMPFILE: u32 = 0o20200000;

#[test]
fn files_are_made_written_and_found_again() {
    let w = World::new();
    w.mkdir("a").unwrap();
    w.mkdir("a/b").unwrap();
    w.write("a/b/file", b"hello").unwrap();
    assert_eq!(w.read("/a/./b//file").unwrap(), b"hello");
    assert_eq!(w.read("a/b/../b/file").unwrap(), b"hello");
    assert_eq!(w.list("a").unwrap(), ["b"]);
    assert_eq!(w.stat("a").unwrap().nlink, 3);
    assert_eq!(w.open("a/b/file", O_CREAT | O_EXCL, 0).err(), Some(Errno::EEXIST));
    assert_eq!(w.lookup("a/nothing/x").err(), Some(Errno::ENOENT));
    assert_eq!(w.lookup("a/b/file/x").err(), Some(Errno::ENOTDIR));
    assert_eq!(w.lookup("a/b/file/").err(), Some(Errno::ENOTDIR));
    assert_eq!(w.open("a/b/file", O_DIRECTORY, 0).err(), Some(Errno::ENOTDIR));
    assert_eq!(w.open("a", O_RDWR, 0).err(), Some(Errno::EISDIR));
    assert_eq!(w.open("a", O_CREAT, 0).err(), Some(Errno::EISDIR));
    assert_eq!(w.open("new/", O_CREAT, 0).err(), Some(Errno::EISDIR));
    assert_eq!(w.open("", 0, 0).err(), Some(Errno::ENOENT));
    assert_eq!(w.open(&"x".repeat(256), 0, 0).err(), Some(Errno::ENAMETOOLONG));
    assert_eq!(w.open(&"x".repeat(256), O_CREAT, 0).err(), Some(Errno::ENAMETOOLONG));
}

#[test]
fn symbolic_links_are_followed_where_linux_follows_them() {
    let w = World::new();
    w.mkdir("d").unwrap();
    w.write("d/file", b"1").unwrap();
    w.symlink("d", "dir-link").unwrap();
    w.symlink("/d/file", "file-link").unwrap();
    w.symlink("d/new", "dangling").unwrap();
    w.symlink("loop", "loop").unwrap();
    assert_eq!(w.read("dir-link/file").unwrap(), b"1");
    assert_eq!(w.read("file-link").unwrap(), b"1");
    assert_eq!(w.open("file-link", O_NOFOLLOW, 0).err(), Some(Errno::ELOOP));
    assert_eq!(w.open("dir-link", O_NOFOLLOW | O_DIRECTORY, 0).err(), Some(Errno::ENOTDIR));
    assert!(w.open("file-link", O_NOFOLLOW | O_PATH, 0).unwrap().path.inode().is_symlink());
    assert!(w.lookup_no_follow("dir-link/").unwrap().inode().is_dir());
    assert_eq!(w.lookup("loop").err(), Some(Errno::ELOOP));
    assert_eq!(w.lookup("loop/x").err(), Some(Errno::ELOOP));
    assert_eq!(w.lookup("file-link/").err(), Some(Errno::ENOTDIR));
    assert_eq!(w.lookup("dangling").err(), Some(Errno::ENOENT));
    assert_eq!(w.open("dangling", O_CREAT | O_EXCL, 0).err(), Some(Errno::EEXIST));
    w.open("dangling", O_CREAT, 0o644).unwrap();
    assert!(w.lookup("d/new").is_ok());
    assert_eq!(w.readlink("file-link").unwrap(), b"/d/file");
    assert_eq!(w.unlink("dir-link/").err(), Some(Errno::ENOTDIR));
    assert_eq!(w.rmdir("dir-link").err(), Some(Errno::ENOTDIR));
    w.unlink("dir-link").unwrap();
    for i in 0..40 {
        let target = if i == 0 { "d".to_owned() } else { format!("chain{}", i - 1) };
        w.symlink(&target, &format!("chain{i}")).unwrap();
    }
    assert!(w.lookup("chain39").is_ok());
    w.symlink("chain39", "chain40").unwrap();
    assert_eq!(w.lookup("chain40").err(), Some(Errno::ELOOP));
}

#[test]
fn removing_and_renaming_say_what_linux_says() {
    let w = World::new();
    w.mkdir("d").unwrap();
    w.mkdir("d/e").unwrap();
    w.write("f", b"f").unwrap();
    assert_eq!(w.rmdir("d").err(), Some(Errno::ENOTEMPTY));
    assert_eq!(w.rmdir("f").err(), Some(Errno::ENOTDIR));
    assert_eq!(w.unlink("d").err(), Some(Errno::EISDIR));
    assert_eq!(w.unlink("f/").err(), Some(Errno::ENOTDIR));
    assert_eq!(w.unlink("none").err(), Some(Errno::ENOENT));
    assert_eq!(w.rmdir("d/.").err(), Some(Errno::EINVAL));
    assert_eq!(w.rmdir("d/..").err(), Some(Errno::ENOTEMPTY));
    assert_eq!(w.rmdir("/").err(), Some(Errno::EBUSY));
    assert_eq!(w.mkdir("d/").err(), Some(Errno::EEXIST));
    assert_eq!(w.mkdir("d/.").err(), Some(Errno::EEXIST));
    assert_eq!(w.link("f", "g/").err(), Some(Errno::ENOENT));
    assert_eq!(w.rename("d", "d/e/x", 0).err(), Some(Errno::EINVAL));
    assert_eq!(w.rename("d/e", "d", 0).err(), Some(Errno::ENOTEMPTY));
    assert_eq!(w.rename("f", "d", 0).err(), Some(Errno::EISDIR));
    assert_eq!(w.rename("d", "f", 0).err(), Some(Errno::ENOTDIR));
    assert_eq!(w.rename("f", "d", 1).err(), Some(Errno::EEXIST));
    assert_eq!(w.rename("f", "g/", 0).err(), Some(Errno::ENOTDIR));
    assert_eq!(w.rename("d/.", "x", 0).err(), Some(Errno::EBUSY));
    assert_eq!(w.rename("f", "none", 2).err(), Some(Errno::ENOENT));
    assert_eq!(w.rename("f", "none", 3).err(), Some(Errno::EINVAL));
    let open = w.open("f", 0, 0).unwrap();
    w.rename("f", "d/e/g", 0).unwrap();
    assert_eq!(open.path.text(&w.roots.root).text, b"/d/e/g");
    w.rename("d/e", "e", 0).unwrap();
    assert_eq!(open.path.text(&w.roots.root).text, b"/e/g");
    assert_eq!(w.stat("d").unwrap().nlink, 2);
    assert_eq!(w.stat("/").unwrap().nlink, 4);
    w.write("h", b"h").unwrap();
    w.rename("h", "e", 2).unwrap();
    assert_eq!(w.read("e").unwrap(), b"h");
    assert_eq!(w.read("h/g").unwrap(), b"f");
    w.unlink("h/g").unwrap();
    let text = open.path.text(&w.roots.root);
    assert_eq!(text.for_proc(), b"/h/g (deleted)");
    assert_eq!(open.path.inode().attr().unwrap().nlink, 0);
    w.rmdir("h").unwrap();
}

#[test]
fn permissions_are_those_of_mode_bits_and_capabilities() {
    let root = World::new();
    root.mkdir("private").unwrap();
    root.write("private/f", b"").unwrap();
    root.mkdir("sticky").unwrap();
    let caller = root.caller();
    caller.chmod(&root.lookup("private").unwrap(), 0o700).unwrap();
    caller.chmod(&root.lookup("sticky").unwrap(), 0o1777).unwrap();
    let (ann, ben) = (root.user(1000, &[7]), root.user(1001, &[]));
    assert_eq!(ann.lookup("private/f").err(), Some(Errno::EACCES));
    assert_eq!(ann.lookup("private/none").err(), Some(Errno::EACCES));
    assert!(ann.lookup("private").is_ok());
    assert_eq!(ann.mkdir("private/x").err(), Some(Errno::EACCES));
    assert_eq!(ann.open("private", 0, 0).err(), Some(Errno::EACCES));
    assert_eq!(ann.write("f", b"").err(), Some(Errno::EACCES));
    ann.write("sticky/f", b"ann").unwrap();
    assert_eq!(ben.unlink("sticky/f").err(), Some(Errno::EPERM));
    assert_eq!(ben.rename("sticky/f", "sticky/g", 0).err(), Some(Errno::EPERM));
    assert_eq!(ben.open("sticky/f", 1, 0).err(), Some(Errno::EACCES));
    assert_eq!(ben.read("sticky/f").unwrap(), b"ann");
    let place = ben.lookup("sticky/f").unwrap();
    assert_eq!(ben.caller().chmod(&place, 0o777).err(), Some(Errno::EPERM));
    assert_eq!(ann.caller().chown(&place, Some(1001), None).err(), Some(Errno::EPERM));
    assert_eq!(ann.caller().chown(&place, None, Some(9)).err(), Some(Errno::EPERM));
    ann.caller().chmod(&place, 0o6755).unwrap();
    ann.caller().chown(&place, None, Some(7)).unwrap();
    let attr = ann.stat("sticky/f").unwrap();
    assert_eq!((attr.mode & 0o7777, attr.gid), (0o755, 7));
    ben.caller().set_times(&place, super::set_attr::NewTime::Now, super::set_attr::NewTime::Now).unwrap_err();
    root.unlink("sticky/f").unwrap();
    // A set-gid directory gives its group.
    root.caller().chown(&root.lookup("sticky").unwrap(), None, Some(7)).unwrap();
    root.caller().chmod(&root.lookup("sticky").unwrap(), 0o3777).unwrap();
    ben.mkdir("sticky/sub").unwrap();
    let attr = ben.stat("sticky/sub").unwrap();
    assert_eq!((attr.mode & 0o7777, attr.gid, attr.uid), (0o2755, 7, 1001));
}

#[test]
fn mounts_hide_and_show() {
    let w = World::new();
    w.mkdir("m").unwrap();
    w.mkdir("m/below").unwrap();
    let inside = w.mount_tmpfs("m", MountFlags::empty()).unwrap();
    assert_eq!(w.list("m").unwrap(), Vec::<String>::new());
    w.write("m/f", b"in").unwrap();
    assert_eq!(w.lookup("m/..").unwrap(), w.roots.root);
    assert_eq!(inside.text(&w.roots.root).text, b"/m");
    assert_eq!(w.rmdir("m").err(), Some(Errno::EBUSY));
    assert_eq!(w.rename("m", "n", 0).err(), Some(Errno::EBUSY));
    assert_eq!(w.rename("m/f", "f", 0).err(), Some(Errno::EXDEV));
    assert_eq!(w.link("m/f", "f").err(), Some(Errno::EXDEV));
    w.mkdir("n").unwrap();
    let (m, n) = (w.lookup("m").unwrap(), w.lookup("n").unwrap());
    drop(w.namespace.bind(&m, super::namespace::Recursive::No, &n).unwrap());
    drop((m, n));
    let bound = w.lookup("n").unwrap().mount;
    assert_eq!(w.read("n/f").unwrap(), b"in");
    w.write("n/g", b"").unwrap();
    assert!(w.lookup("m/g").is_ok());
    bound.set_flags(MountFlags::RDONLY);
    assert_eq!(w.write("n/h", b"").err(), Some(Errno::EROFS));
    assert_eq!(w.unlink("n/none").err(), Some(Errno::EROFS));
    assert_eq!(w.mkdir("n/g").err(), Some(Errno::EEXIST));
    assert_eq!(w.open("n/g", O_RDWR, 0).err(), Some(Errno::EROFS));
    w.write("m/h", b"").unwrap();
    let none = abi::mount::UmountFlags::empty();
    let open = w.open("m/f", 0, 0).unwrap();
    drop(inside);
    assert_eq!(
        w.namespace.unmount(w.lookup("m").unwrap(), &w.roots.root, none).err().map(|e| e.name()),
        Some("EBUSY")
    );
    drop(open);
    drop(w.namespace.unmount(w.lookup("m").unwrap(), &w.roots.root, none).unwrap());
    assert_eq!(w.list("m").unwrap(), ["below"]);
    assert!(w.namespace.unmount(w.lookup("m").unwrap(), &w.roots.root, none).is_err());
    assert!(w.lookup("n/f").is_ok());
    drop(bound);
    drop(w.namespace.unmount(w.lookup("n").unwrap(), &w.roots.root, none).unwrap());
    assert_eq!(w.namespace.mount_count(), 2);
}

#[test]
fn pivot_root_exchanges_the_root() {
    let w = World::new();
    w.mkdir("new").unwrap();
    let new = w.mount_tmpfs("new", MountFlags::empty()).unwrap();
    w.mkdir("new/old").unwrap();
    let old = w.lookup("new/old").unwrap();
    assert!(w.namespace.pivot_root(&w.roots.root, &w.roots.root, &old).is_err());
    drop(w.namespace.pivot_root(&w.roots.root, &new, &old).unwrap());
    assert_eq!(w.namespace.root(), new);
    assert_eq!(w.roots.root.text(&new).text, b"/old");
    let (copy, map) = w.namespace.copy(9, Arc::clone(&w.creds.user_ns));
    assert_eq!(copy.mount_count(), w.namespace.mount_count());
    assert_eq!(map.translate(&new), copy.root());
    assert_ne!(copy.root(), new);
}

#[test]
fn openat2_keeps_its_promises() {
    let w = World::new();
    w.mkdir("box").unwrap();
    w.mkdir("box/sub").unwrap();
    w.write("box/f", b"in").unwrap();
    w.write("f", b"out").unwrap();
    w.symlink("/f", "box/abs").unwrap();
    w.symlink("../f", "box/up").unwrap();
    w.symlink("f", "box/in").unwrap();
    w.mkdir("box/m").unwrap();
    w.mount_tmpfs("box/m", MountFlags::empty()).unwrap();
    let at = w.lookup("box").unwrap();
    let open = |path: &str, resolve: ResolveFlags| {
        let how = How::openat2(0, 0, resolve.bits())?;
        w.caller().open(&at, path.as_bytes(), &how)?.now()
    };
    use ResolveFlags as R;
    assert_eq!(open("/f", R::BENEATH).err(), Some(Errno::EXDEV));
    assert_eq!(open("abs", R::BENEATH).err(), Some(Errno::EXDEV));
    assert_eq!(open("up", R::BENEATH).err(), Some(Errno::EXDEV));
    assert_eq!(open("../f", R::BENEATH).err(), Some(Errno::EXDEV));
    assert_eq!(open("sub/../../f", R::BENEATH).err(), Some(Errno::EXDEV));
    assert!(open("in", R::BENEATH).is_ok());
    assert!(open("sub/../f", R::BENEATH).is_ok());
    for path in ["/f", "abs", "up", "../../../f", "in"] {
        let file = open(path, R::IN_ROOT).unwrap();
        assert_eq!(file.path.text(&w.roots.root).text, b"/box/f", "{path}");
    }
    assert_eq!(open("in", R::NO_SYMLINKS).err(), Some(Errno::ELOOP));
    assert!(open("f", R::NO_SYMLINKS).is_ok());
    assert_eq!(open("m", R::NO_XDEV).err(), Some(Errno::EXDEV));
    assert!(open("m", R::empty()).is_ok());
    assert!(open("f", R::CACHED).is_ok());
    assert_eq!(open("f", R::BENEATH | R::IN_ROOT).err(), Some(Errno::EINVAL));
    assert_eq!(How::openat2(1 << 40, 0, 0).err(), Some(Errno::EINVAL));
    assert_eq!(How::openat2(0, 0o644, 0).err(), Some(Errno::EINVAL));
}

#[test]
fn unnamed_files_get_a_name_unless_exclusive() {
    let w = World::new();
    let file = w.open(".", O_TMPFILE | O_RDWR, 0o600).unwrap();
    assert_eq!(file.path.inode().attr().unwrap().nlink, 0);
    w.caller().link(&file.path, w.at(), b"named").unwrap();
    assert_eq!(w.stat("named").unwrap().nlink, 1);
    let file = w.open(".", O_TMPFILE | O_RDWR | O_EXCL, 0o600).unwrap();
    assert_eq!(w.caller().link(&file.path, w.at(), b"other").err(), Some(Errno::ENOENT));
    assert_eq!(w.open(".", O_TMPFILE, 0o600).err(), Some(Errno::EINVAL));
}

#[test]
fn deep_trees_are_no_recursion() {
    let w = World::new();
    w.mkdir("m").unwrap();
    w.mount_tmpfs("m", MountFlags::empty()).unwrap();
    let mut at = w.lookup("m").unwrap();
    for _ in 0..100_000 {
        w.caller().mkdir(&at, b"d", 0o755).unwrap();
        at = super::resolve::lookup(&w.caller(), &at, b"d", super::resolve::LookupFlags::empty()).unwrap();
    }
    drop(at);
    let place = w.lookup("m").unwrap();
    let detach = abi::mount::UmountFlags::MNT_DETACH;
    drop(w.namespace.unmount(place, &w.roots.root, detach).unwrap());
}

#[test]
fn negative_entries_do_not_outlive_a_creation() {
    let w = World::new();
    for i in 0..100 {
        let name = format!("n{i}");
        assert_eq!(w.lookup(&name).err(), Some(Errno::ENOENT));
        w.write(&name, b"x").unwrap();
        assert!(w.lookup(&name).is_ok());
        w.unlink(&name).unwrap();
        assert_eq!(w.lookup(&name).err(), Some(Errno::ENOENT));
    }
}

#[test]
fn who_looks_at_a_table_does_not_use_it() {
    let w = World::new();
    w.write("f", b"x").unwrap();
    let table = FdTable::new();
    table.join();
    let looker = Arc::clone(&table);
    assert!(!table.is_shared());
    let fd = table.add(w.open("f", 0, 0).unwrap(), 10, OnExec::Keep).unwrap();
    let file = Arc::downgrade(&looker.get(fd).unwrap());
    table.join();
    assert!(table.is_shared());
    table.leave();
    assert!(looker.get(fd).is_some());
    table.leave();
    assert!(looker.get(fd).is_none(), "closed with its last task");
    assert!(file.upgrade().is_none());
}
