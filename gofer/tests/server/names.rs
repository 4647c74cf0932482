use std::fs;
use std::os::unix::fs::symlink;

use gofer_protocol::{Errno, Place, RenameFlags, UnlinkKind};

use crate::fixture::{Fixture, assert_attr, name};

#[test]
fn links() {
    let t = Fixture::new();
    fs::create_dir(t.path("d")).unwrap();
    fs::write(t.path("f"), "text").unwrap();
    symlink("f", t.path("l")).unwrap();
    let (root, dir, file) = (t.root(), t.handle("d"), t.handle("f"));
    let (attr, parent) = t.client().link(file, dir, name("g")).unwrap();
    assert_eq!(attr.nlink, 2);
    assert_attr(&attr, &t.path("d/g"));
    assert_attr(&parent, &t.path("d"));
    assert_eq!(t.client().link(file, dir, name("g")).err(), Some(Errno::EXIST));
    assert_eq!(t.client().link(dir, root, name("h")).err(), Some(Errno::PERM));
    assert_eq!(t.client().link(file, file, name("h")).err(), Some(Errno::NOTDIR));
    // A symbolic link itself, not what it points to.
    t.client().link(t.handle("l"), root, name("l2")).unwrap();
    assert_eq!(fs::read_link(t.path("l2")).unwrap().to_str(), Some("f"));
    // One that has lost its last name has no way back.
    fs::remove_file(t.path("f")).unwrap();
    fs::remove_file(t.path("d/g")).unwrap();
    assert_eq!(t.client().link(file, root, name("back")).err(), Some(Errno::NOENT));
    t.end();
}

#[test]
fn unlink() {
    let t = Fixture::new();
    fs::create_dir_all(t.path("d/full")).unwrap();
    fs::create_dir(t.path("empty")).unwrap();
    fs::write(t.path("f"), "").unwrap();
    symlink("d", t.path("l")).unwrap();
    let (root, c) = (t.root(), t.client());
    let unlink = |n, kind| c.unlink(root, name(n), kind);
    assert_eq!(unlink("d", UnlinkKind::File).err(), Some(Errno::ISDIR));
    assert_eq!(unlink("d", UnlinkKind::Directory).err(), Some(Errno::NOTEMPTY));
    assert_eq!(unlink("f", UnlinkKind::Directory).err(), Some(Errno::NOTDIR));
    assert_eq!(unlink("l", UnlinkKind::Directory).err(), Some(Errno::NOTDIR));
    assert_eq!(unlink("none", UnlinkKind::File).err(), Some(Errno::NOENT));
    assert_eq!(c.unlink(t.handle("f"), name("x"), UnlinkKind::File).err(), Some(Errno::NOTDIR));
    assert_attr(&unlink("l", UnlinkKind::File).unwrap(), &t.path(""));
    assert_attr(&unlink("f", UnlinkKind::File).unwrap(), &t.path(""));
    assert_attr(&unlink("empty", UnlinkKind::Directory).unwrap(), &t.path(""));
    let left: Vec<_> = fs::read_dir(t.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["d"]);
    t.end();
}

#[test]
fn rename() {
    let t = Fixture::new();
    fs::create_dir(t.path("a")).unwrap();
    fs::create_dir(t.path("b")).unwrap();
    fs::write(t.path("a/f"), "one").unwrap();
    fs::write(t.path("b/g"), "two").unwrap();
    let (root, a, b, c) = (t.root(), t.handle("a"), t.handle("b"), t.client());
    let place = |dir, n: &'static str| Place { dir, name: name(n) };
    let none = RenameFlags::empty();
    assert_eq!(c.rename(place(a, "f"), place(b, "g"), RenameFlags::NOREPLACE).err(), Some(Errno::EXIST));
    c.rename(place(a, "f"), place(b, "g"), RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read(t.path("a/f")).unwrap(), b"two");
    let (old, new) = c.rename(place(a, "f"), place(b, "g"), none).unwrap();
    assert_attr(&old, &t.path("a"));
    assert_attr(&new, &t.path("b"));
    assert_eq!(fs::read(t.path("b/g")).unwrap(), b"two");
    assert!(!t.path("a/f").exists());
    assert_eq!(c.rename(place(a, "f"), place(b, "h"), none).err(), Some(Errno::NOENT));
    assert_eq!(c.rename(place(root, "a"), place(a, "x"), none).err(), Some(Errno::INVAL));
    assert_eq!(c.rename(place(root, "a"), place(b, "g"), none).err(), Some(Errno::NOTDIR));
    assert_eq!(c.rename(place(root, "a"), place(root, "b"), none).err(), Some(Errno::NOTEMPTY));
    let both = RenameFlags::EXCHANGE | RenameFlags::NOREPLACE;
    assert_eq!(c.rename(place(b, "g"), place(b, "h"), both).err(), Some(Errno::INVAL));
    // The handles move along.
    c.rename(place(root, "a"), place(b, "moved"), none).unwrap();
    fs::write(t.path("b/moved/new"), "").unwrap();
    assert!(c.unlink(a, name("new"), UnlinkKind::File).is_ok());
    t.end();
}
