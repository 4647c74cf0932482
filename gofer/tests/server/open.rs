use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use gofer::TreeConfig;
use gofer_protocol::{Errno, FileType, Leaf, NodeKind, OpenFlags, SocketKind, SyncKind};
use rustix::fs::{FileType as HostType, Mode, OFlags, fcntl_getfl, mknodat};

use crate::fixture::{Fixture, is_root, me, name, names, perm};

const READ: OpenFlags = OpenFlags::READ;
const WRITE: OpenFlags = OpenFlags::WRITE;

fn fifo(t: &Fixture, path: &str) {
    mknodat(rustix::fs::CWD, t.path(path), HostType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
}

#[test]
fn regular_files() {
    let t = Fixture::new();
    fs::write(t.path("f"), "contents").unwrap();
    let handle = t.handle("f");
    let (fd, attr) = t.client().open(handle, READ | WRITE).unwrap();
    assert_eq!(attr.size, 8);
    assert_eq!(fcntl_getfl(&fd).unwrap() & OFlags::ACCMODE, OFlags::RDWR);
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    assert_eq!(text, "contents");

    let (fd, _) = t.client().open(handle, WRITE | OpenFlags::APPEND | OpenFlags::DSYNC).unwrap();
    let flags = fcntl_getfl(&fd).unwrap();
    assert_eq!(flags & OFlags::ACCMODE, OFlags::WRONLY);
    assert!(flags.contains(OFlags::APPEND));
    assert_eq!(flags.bits() & libc::O_SYNC as u32, libc::O_DSYNC as u32);
    File::from(fd).write_all(b" and more").unwrap();
    assert_eq!(t.client().stat(handle).unwrap().size, 17);

    let (_, attr) = t.client().open(handle, READ | WRITE | OpenFlags::TRUNCATE).unwrap();
    assert_eq!((attr.size, fs::metadata(t.path("f")).unwrap().len()), (0, 0));

    // By the handle, whatever becomes of the name.
    fs::rename(t.path("f"), t.path("g")).unwrap();
    symlink("/etc/passwd", t.path("f")).unwrap();
    let (fd, _) = t.client().open(handle, WRITE).unwrap();
    File::from(fd).write_all(b"moved").unwrap();
    assert_eq!(fs::read(t.path("g")).unwrap(), b"moved");
    fs::remove_file(t.path("g")).unwrap();
    let (fd, attr) = t.client().open(handle, READ).unwrap();
    assert_eq!((attr.nlink, attr.size), (0, 5));
    drop(fd);
    t.client().sync(handle, SyncKind::All).unwrap();
    t.client().sync(handle, SyncKind::Data).unwrap();
    t.end();
}

#[test]
fn other_kinds_are_refused() {
    let t = Fixture::new();
    fs::create_dir(t.path("dir")).unwrap();
    symlink("dir", t.path("link")).unwrap();
    let _listener = UnixListener::bind(t.path("socket")).unwrap();
    fifo(&t, "fifo");
    let begun = Instant::now();
    for (path, errno) in
        [("dir", Errno::ISDIR), ("link", Errno::LOOP), ("socket", Errno::NXIO), ("fifo", Errno::NXIO)]
    {
        for flags in [READ, WRITE, READ | WRITE] {
            assert_eq!(t.client().open(t.handle(path), flags).err(), Some(errno), "{path}");
        }
        let walked = t.client().walk(t.root(), &names(path), Leaf::Open).unwrap();
        assert!(walked.opened.is_none());
    }
    // Nobody waited for the other end of the FIFO.
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(
        t.client().connect_socket(t.handle("socket"), SocketKind::Stream).err(),
        Some(Errno::CONNREFUSED)
    );
    assert_eq!(t.client().sync(t.handle("fifo"), SyncKind::All).err(), Some(Errno::INVAL));
    t.client().sync(t.handle("dir"), SyncKind::All).unwrap();
    t.client().sync(t.handle("dir"), SyncKind::FileSystem).unwrap();
    t.end();
}

#[test]
fn devices_are_never_opened() {
    if !is_root() {
        eprintln!("SKIPPED devices_are_never_opened: needs root to make a device node");
        return;
    }
    let t = Fixture::new();
    // /dev/null, /dev/kmsg, and a disk.
    for (path, kind, device) in [
        ("null", HostType::CharacterDevice, rustix::fs::makedev(1, 3)),
        ("kmsg", HostType::CharacterDevice, rustix::fs::makedev(1, 11)),
        ("disk", HostType::BlockDevice, rustix::fs::makedev(254, 0)),
    ] {
        mknodat(rustix::fs::CWD, t.path(path), kind, Mode::from_raw_mode(0o666), device).unwrap();
        let found = t.find(path).unwrap();
        assert!(matches!(found.attr.kind, FileType::CharDevice | FileType::BlockDevice));
        assert_eq!(rustix::fs::makedev(found.attr.rdev.0, found.attr.rdev.1), device);
        for flags in [READ, WRITE, READ | WRITE] {
            assert_eq!(t.client().open(found.handle.unwrap(), flags).err(), Some(Errno::ACCESS), "{path}");
        }
        assert!(t.client().walk(t.root(), &names(path), Leaf::Open).unwrap().opened.is_none());
    }
    t.end();
}

#[test]
fn sockets_and_fifos_where_they_are_allowed() {
    let t = Fixture::with(TreeConfig { host_sockets: true, host_fifos: true, ..TreeConfig::default() });
    let listener = UnixListener::bind(t.path("socket")).unwrap();
    let fd = t.client().connect_socket(t.handle("socket"), SocketKind::Stream).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    rustix::io::write(&fd, b"through").unwrap();
    drop(fd);
    let mut text = String::new();
    accepted.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
    assert_eq!(
        t.client().connect_socket(t.handle("socket"), SocketKind::Datagram).err(),
        Some(Errno::PROTOTYPE)
    );
    drop(listener);
    assert_eq!(
        t.client().connect_socket(t.handle("socket"), SocketKind::Stream).err(),
        Some(Errno::CONNREFUSED)
    );

    let bind = |t: &Fixture, at: &'static str| {
        t.client().bind_socket(t.root(), name(at), SocketKind::Stream, perm(0o640), me())
    };
    assert_eq!(bind(&t, "bound").err(), Some(Errno::ACCESS));
    let other = Fixture::with(TreeConfig { bound_sockets: true, ..TreeConfig::default() });
    let (fd, node, _) = bind(&other, "bound").unwrap();
    assert_eq!((node.attr.kind, node.attr.perm), (FileType::Socket, perm(0o640)));
    rustix::net::listen(&fd, 1).unwrap();
    let mut caller = std::os::unix::net::UnixStream::connect(other.path("bound")).unwrap();
    std::io::Write::write_all(&mut caller, b"x").unwrap();
    rustix::net::accept(&fd).unwrap();
    assert_eq!(bind(&other, "bound").err(), Some(Errno::EXIST));
    let connect = other.client().connect_socket(other.handle("bound"), SocketKind::Stream);
    assert_eq!(connect.err(), Some(Errno::CONNREFUSED));
    other.end();

    fifo(&t, "fifo");
    let handle = t.handle("fifo");
    assert_eq!(t.client().open(handle, WRITE).err(), Some(Errno::NXIO));
    let (reader, attr) = t.client().open(handle, READ).unwrap();
    assert_eq!(attr.kind, FileType::Fifo);
    let (writer, _) = t.client().open(handle, WRITE).unwrap();
    rustix::io::write(&writer, b"x").unwrap();
    assert_eq!(rustix::io::read(&reader, &mut [0u8; 4]), Ok(1));
    t.end();
}

#[test]
fn a_read_only_tree() {
    let t = Fixture::with(TreeConfig { read_only: true, ..TreeConfig::default() });
    fs::write(t.path("f"), "text").unwrap();
    let (root, file) = (t.root(), t.handle("f"));
    let c = t.client();
    assert!(c.open(file, READ).is_ok());
    let rofs = Some(Errno::ROFS);
    assert_eq!(c.open(file, WRITE).err(), rofs);
    assert_eq!(c.open(file, READ | WRITE | OpenFlags::TRUNCATE).err(), rofs);
    assert_eq!(c.create(root, name("n"), perm(0o644), me(), WRITE).err(), rofs);
    assert_eq!(c.create_unnamed(root, perm(0o644), me()).err(), rofs);
    assert_eq!(c.mkdir(root, name("n"), perm(0o755), me()).err(), rofs);
    assert_eq!(c.mknod(root, name("n"), NodeKind::Fifo, perm(0o644), me()).err(), rofs);
    let target = gofer_protocol::Target::new(b"t").unwrap();
    assert_eq!(c.symlink(root, name("n"), me(), target).err(), rofs);
    assert_eq!(c.link(file, root, name("n")).err(), rofs);
    assert_eq!(c.unlink(root, name("f"), gofer_protocol::UnlinkKind::File).err(), rofs);
    let place = |n| gofer_protocol::Place { dir: root, name: name(n) };
    assert_eq!(c.rename(place("f"), place("n"), gofer_protocol::RenameFlags::empty()).err(), rofs);
    let changes = gofer_protocol::Changes { perm: Some(perm(0)), ..Default::default() };
    assert_eq!(c.set_attr(file, changes).err(), rofs);
    let xattr = gofer_protocol::XattrName::new(b"user.a").unwrap();
    assert_eq!(c.set_xattr(file, xattr, gofer_protocol::SetMode::Any, b"v").err(), rofs);
    assert_eq!(c.remove_xattr(file, xattr).err(), rofs);
    assert_eq!(fs::read_dir(t.path("")).unwrap().count(), 1);
    assert!(fs::metadata(t.path("f")).unwrap().file_type().is_file());
    assert!(!fs::metadata(t.path("f")).unwrap().file_type().is_fifo());
    t.end();
}
