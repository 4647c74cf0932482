use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

use gofer_protocol::{Changes, Errno, FileType, NodeKind, OpenFlags, Owner, Target};

use crate::fixture::{Fixture, assert_attr, is_root, me, name, perm};

const RW: OpenFlags = OpenFlags::READ.union(OpenFlags::WRITE);

#[test]
fn files() {
    let t = Fixture::new();
    let root = t.root();
    let (fd, node, parent) = t.client().create(root, name("f"), perm(0o640), me(), RW).unwrap();
    assert_attr(&node.attr, &t.path("f"));
    assert_attr(&parent, &t.path(""));
    assert_eq!(node.attr.perm, perm(0o640));
    let mut file = File::from(fd);
    file.write_all(b"new").unwrap();
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "new");
    assert_eq!(t.client().stat(node.handle).unwrap().size, 3);
    // The handle is no writer: the file can be executed.
    drop(file);
    fs::write(t.path("f"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(t.path("f"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(std::process::Command::new(t.path("f")).status().unwrap().success());

    // What exists is never opened, a link never followed.
    symlink(t.outside("victim"), t.path("link")).unwrap();
    fs::create_dir(t.path("dir")).unwrap();
    for taken in ["f", "link", "dir"] {
        assert_eq!(t.client().create(root, name(taken), perm(0o644), me(), RW).err(), Some(Errno::EXIST));
    }
    assert!(!t.outside("victim").exists());
    let file = t.handle("f");
    assert_eq!(t.client().create(file, name("x"), perm(0o644), me(), RW).err(), Some(Errno::NOTDIR));
    // Even one that may not be written may be made for writing.
    let (fd, node, _) =
        t.client().create(root, name("ro"), perm(0), me(), OpenFlags::WRITE | OpenFlags::TRUNCATE).unwrap();
    assert_eq!(node.attr.perm, perm(0));
    File::from(fd).write_all(b"x").unwrap();
    // Set-ID bits come too, and the sticky bit.
    let (.., node, _) = t.client().create(root, name("suid"), perm(0o7711), me(), RW).unwrap();
    assert_eq!(node.attr.perm, perm(0o7711));
    assert_attr(&node.attr, &t.path("suid"));
    t.end();
}

#[test]
fn files_without_names() {
    let t = Fixture::new();
    let (fd, node) = match t.client().create_unnamed(t.root(), perm(0o600), me()) {
        Err(Errno::OPNOTSUPP) => {
            eprintln!("SKIPPED files_without_names: the temporary directory's file system has no O_TMPFILE");
            return;
        }
        made => made.unwrap(),
    };
    assert_eq!((node.attr.nlink, node.attr.kind), (0, FileType::Regular));
    File::from(fd).write_all(b"later").unwrap();
    assert_eq!(fs::read_dir(t.path("")).unwrap().count(), 0);
    let (attr, parent) = t.client().link(node.handle, t.root(), name("named")).unwrap();
    assert_eq!((attr.nlink, attr.size), (1, 5));
    assert_attr(&attr, &t.path("named"));
    assert_attr(&parent, &t.path(""));
    t.end();
}

#[test]
fn directories() {
    let t = Fixture::new();
    let (node, parent) = t.client().mkdir(t.root(), name("d"), perm(0o1770), me()).unwrap();
    assert_attr(&node.attr, &t.path("d"));
    assert_attr(&parent, &t.path(""));
    assert_eq!((node.attr.kind, node.attr.perm, parent.nlink), (FileType::Directory, perm(0o1770), 3));
    let (below, _) = t.client().mkdir(node.handle, name("e"), perm(0o2755), me()).unwrap();
    assert_eq!(below.attr.perm, perm(0o2755));
    assert_attr(&below.attr, &t.path("d/e"));
    assert_eq!(t.client().mkdir(t.root(), name("d"), perm(0o755), me()).err(), Some(Errno::EXIST));
    fs::remove_dir_all(t.path("d")).unwrap();
    assert_eq!(t.client().mkdir(node.handle, name("x"), perm(0o755), me()).err(), Some(Errno::NOENT));
    t.end();
}

#[test]
fn other_nodes() {
    let t = Fixture::new();
    let root = t.root();
    for (kind, n, is) in [
        (NodeKind::Fifo, "fifo", FileType::Fifo),
        (NodeKind::Socket, "socket", FileType::Socket),
        (NodeKind::Regular, "file", FileType::Regular),
        (NodeKind::Whiteout, "whiteout", FileType::CharDevice),
    ] {
        let (node, parent) = t.client().mknod(root, name(n), kind, perm(0o620), me()).unwrap();
        assert_eq!((node.attr.kind, node.attr.perm, node.attr.rdev), (is, perm(0o620), (0, 0)));
        assert_attr(&node.attr, &t.path(n));
        assert_attr(&parent, &t.path(""));
        assert_eq!(t.client().mknod(root, name(n), kind, perm(0o620), me()).err(), Some(Errno::EXIST));
    }
    assert!(fs::symlink_metadata(t.path("fifo")).unwrap().file_type().is_fifo());
    assert!(fs::symlink_metadata(t.path("socket")).unwrap().file_type().is_socket());
    // Bits that have to wait for the owner.
    let (node, _) = t.client().mknod(root, name("s"), NodeKind::Fifo, perm(0o4711), me()).unwrap();
    assert_eq!(node.attr.perm, perm(0o4711));

    let longest = "t".repeat(4095);
    for (n, target) in [("l", "../outside"), ("long", longest.as_str())] {
        let target = Target::new(target.as_bytes()).unwrap();
        let (node, _) = t.client().symlink(root, name(n), me(), target).unwrap();
        assert_attr(&node.attr, &t.path(n));
        assert_eq!(t.client().readlink(node.handle).unwrap(), target.as_bytes());
        assert_eq!(t.client().symlink(root, name(n), me(), target).err(), Some(Errno::EXIST));
    }
    t.end();
}

#[test]
fn owners() {
    if !is_root() {
        eprintln!("SKIPPED owners: needs root to give files away");
        return;
    }
    let t = Fixture::new();
    let root = t.root();
    let other = Owner::new(1234, 4321).unwrap();
    let c = t.client();
    let (_, file, _) = c.create(root, name("f"), perm(0o6755), other, RW).unwrap();
    let (dir, _) = c.mkdir(root, name("d"), perm(0o3777), other).unwrap();
    let (fifo, _) = c.mknod(root, name("p"), NodeKind::Fifo, perm(0o4600), other).unwrap();
    let (link, _) = c.symlink(root, name("l"), other, Target::new(b"nowhere").unwrap()).unwrap();
    for (node, n, bits) in [(file, "f", 0o6755), (dir, "d", 0o3777), (fifo, "p", 0o4600), (link, "l", 0o777)]
    {
        assert_attr(&node.attr, &t.path(n));
        assert_eq!((node.attr.uid, node.attr.gid, node.attr.perm), (1234, 4321, perm(bits)), "{n}");
    }
    // A set-group-ID directory: the group that is asked for wins, as the caller has worked it out.
    let (below, _) = c.mkdir(dir.handle, name("e"), perm(0o755), Owner::new(5, 6).unwrap()).unwrap();
    assert_eq!((below.attr.uid, below.attr.gid, below.attr.perm), (5, 6, perm(0o755)));
    let changes = Changes { uid: Some(7), ..Changes::default() };
    assert_eq!(c.set_attr(link.handle, changes).unwrap().uid, 7);
    assert_eq!(fs::symlink_metadata(t.path("l")).unwrap().uid(), 7);
    t.end();
}
