//! Servers that lie.

use super::fuse_server::{
    GETATTR, LOOKUP, OPENDIR, READ, READDIR, READLINK, Wire, answer, device, header, init_out, next, options,
};
use crate::filesystems::own_mounts;
use crate::kit::prelude::*;

/// Serves at `m`, with `lie` for what the usual answer is not.
#[track_caller]
fn liar(lie: impl Fn(u32, u64, &[u8]) -> Option<Result<Vec<u8>, i32>>) -> Child {
    own_mounts();
    mkdir(c"m");
    let fd = device();
    let child = fork(|| {
        while let Some(request) = next(fd) {
            let (opcode, unique, node) = header(&request);
            let usual = || match opcode {
                super::fuse_server::INIT => Some(Ok(init_out(0))),
                GETATTR if node == 1 => Some(Ok(attr_out(1, S_IFDIR | 0o755, 0))),
                GETATTR => Some(Ok(attr_out(node, S_IFREG | 0o644, 4096))),
                OPENDIR | super::fuse_server::OPEN => Some(Ok(vec![0; 16])),
                super::fuse_server::FORGET
                | super::fuse_server::BATCH_FORGET
                | super::fuse_server::INTERRUPT => None,
                _ => Some(Err(ENOSYS)),
            };
            let _ = match lie(opcode, node, &request[40..]).or_else(usual) {
                Some(Ok(body)) => answer(fd, unique, 0, &body),
                Some(Err(errno)) => answer(fd, unique, -errno, &[]),
                None => Ok(0),
            };
        }
    });
    ok(sys!(mount, c"liar", c"m", c"fuse", 0, options(fd, "").as_c_str()));
    close(fd);
    child
}

fn attr(wire: Wire, id: u64, mode: u32, size: u64) -> Vec<u8> {
    let wire = wire.w64(id).w64(size).w64(0).w64(0).w64(0).w64(0).w32(0).w32(0).w32(0);
    wire.w32(mode).w32(1).w32(0).w32(0).w32(0).w32(4096).w32(0).0
}

fn attr_out(id: u64, mode: u32, size: u64) -> Vec<u8> {
    attr(Wire::default().w64(0).w32(0).w32(0), id, mode, size)
}

fn entry(id: u64, mode: u32, size: u64) -> Vec<u8> {
    attr(Wire::default().w64(id).w64(0).w64(0).w64(0).w32(0).w32(0), id, mode, size)
}

#[track_caller]
fn over(child: Child) {
    ok(sys!(umount2, c"m", 0));
    child.succeeds();
}

case!(entries_that_cannot_be: newfstatat; root);
fn entries_that_cannot_be() {
    let child = liar(|opcode, _, body| match (opcode, body) {
        (LOOKUP, b"root\0") => Some(Ok(entry(1, S_IFDIR | 0o755, 0))),
        (LOOKUP, b"type\0") => Some(Ok(entry(2, 0o644, 0))),
        (LOOKUP, b"size\0") => Some(Ok(entry(3, S_IFREG | 0o644, u64::MAX))),
        (LOOKUP, b"short\0") => Some(Ok(vec![0; 20])),
        (LOOKUP, b"long\0") => Some(Ok(vec![0; 1000])),
        (LOOKUP, b"zero\0") => Some(Ok(entry(0, 0, 0))),
        _ => None,
    });
    let mut st: stat = zeroed();
    for (name, errno) in [
        (c"m/root", EIO),
        (c"m/type", EIO),
        (c"m/size", EIO),
        (c"m/short", EIO),
        (c"m/long", EIO),
        (c"m/zero", ENOENT),
    ] {
        fails(sys!(newfstatat, AT_FDCWD, name, &mut st, 0), errno);
    }
    over(child);
}

case!(files_that_become_directories: newfstatat; root);
fn files_that_become_directories() {
    let child = liar(|opcode, node, _| match opcode {
        LOOKUP => Some(Ok(entry(2, S_IFREG | 0o644, 4))),
        GETATTR if node == 2 => Some(Ok(attr_out(2, S_IFDIR | 0o755, 4))),
        _ => None,
    });
    let fd = open(c"m/f", O_RDONLY);
    let mut st: stat = zeroed();
    fails(sys!(newfstatat, fd, c"", &mut st, AT_EMPTY_PATH), EIO);
    fails(sys!(close, fd), EIO);
    over(child);
}

case!(answers_longer_than_asked_for: read, readlinkat; root);
fn answers_longer_than_asked_for() {
    let child = liar(|opcode, _, body| match (opcode, body) {
        (LOOKUP, b"l\0") => Some(Ok(entry(3, S_IFLNK | 0o777, 4))),
        (LOOKUP, _) => Some(Ok(entry(2, S_IFREG | 0o644, 4096))),
        (READ, _) => Some(Ok(vec![b'x'; 300_000])),
        (READLINK, _) => Some(Ok(vec![b'x'; 5000])),
        _ => None,
    });
    let fd = open(c"m/f", O_RDONLY);
    let mut buf = [0u8; 4096];
    fails(sys!(read, fd, &mut buf, buf.len()), EIO);
    close(fd);
    fails(sys!(readlinkat, AT_FDCWD, c"m/l", &mut buf, buf.len()), EIO);
    over(child);
}

case!(listings_that_are_none: getdents64; root);
fn listings_that_are_none() {
    let dirent = |name: &[u8], namelen: u32| {
        let mut bytes = Wire::default().w64(5).w64(1).w32(namelen).w32(8).0;
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    let child = liar(|opcode, node, body| match (opcode, body) {
        (LOOKUP, name) => Some(Ok(entry(u64::from(name[0]), S_IFDIR | 0o755, 0))),
        (GETATTR, _) if node != 1 => Some(Ok(attr_out(node, S_IFDIR | 0o755, 0))),
        (READDIR, _) if node == u64::from(b's') => Some(Ok(dirent(b"a/b", 3))),
        (READDIR, _) if node == u64::from(b'e') => Some(Ok(dirent(b"", 0))),
        (READDIR, _) if node == u64::from(b'l') => Some(Ok(dirent(b"abc", 5000))),
        _ => None,
    });
    let mut buf = [0u8; 4096];
    for name in [c"m/s", c"m/e", c"m/l"] {
        let fd = open(name, O_RDONLY | O_DIRECTORY);
        // The two dots may come first.
        let mut outcome = sys!(getdents64, fd, &mut buf, buf.len());
        if outcome.is_ok() {
            outcome = sys!(getdents64, fd, &mut buf, buf.len());
        }
        eq_of(format_args!("{name:?}"), outcome.map_err(|e| e.0), Err(EIO));
        close(fd);
    }
    over(child);
}

case!(answers_of_the_wrong_length: write, newfstatat; root);
fn answers_of_the_wrong_length() {
    own_mounts();
    mkdir(c"m");
    let fd = device();
    ok(sys!(mount, c"liar", c"m", c"fuse", 0, options(fd, "").as_c_str()));
    let Some(request) = next(fd) else { fail("no request") };
    ok(answer(fd, header(&request).1, 0, &init_out(0)));
    for (error, len) in [(0, 8), (0, 2000), (-ENOENT, 8)] {
        let child = fork(|| {
            let mut st: stat = zeroed();
            fails(sys!(newfstatat, AT_FDCWD, c"m", &mut st, 0), EIO);
        });
        let Some(request) = next(fd) else { fail("no request") };
        let unique = header(&request).1;
        fails(answer(fd, unique, error, &vec![0; len]), EINVAL);
        fails(answer(fd, unique, 0, &attr_out(1, S_IFDIR | 0o755, 0)), ENOENT);
        child.succeeds();
    }
    ok(sys!(umount2, c"m", 0));
}

case!(directories_in_each_other: chdir, newfstatat; root);
fn directories_in_each_other() {
    // Two directories, each of which is in the other; natively one that is above is not found below.
    let child = liar(|opcode, node, body| match (opcode, body) {
        (LOOKUP, b"a\0") => Some(Ok(entry(2, S_IFDIR | 0o755, 0))),
        (LOOKUP, b"b\0") => Some(Ok(entry(3, S_IFDIR | 0o755, 0))),
        (GETATTR, _) if node != 1 => Some(Ok(attr_out(node, S_IFDIR | 0o755, 0))),
        _ => None,
    });
    let mut st: stat = zeroed();
    ok(sys!(newfstatat, AT_FDCWD, c"m/a/b", &mut st, 0));
    for _ in 0..200 {
        let _ = sys!(newfstatat, AT_FDCWD, c"m/a/b/a/b/a/b", &mut st, 0);
        let _ = sys!(newfstatat, AT_FDCWD, c"m/b/a/b/a/b/a", &mut st, 0);
    }
    ok(sys!(newfstatat, AT_FDCWD, c"m/a", &mut st, 0));
    over(child);
}
