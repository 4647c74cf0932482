//! EROFS images: a file that holds a file system, made by mkfs.erofs.

use super::{mountinfo, names, own_mounts, set_xattr, xattr, xattrs};
use crate::kit::prelude::*;

/// The image of the kernel's own tests.
const IMAGE: &[u8] = include_bytes!("../../../sentry/src/fs/erofs/testdata/plain.erofs");
const CHUNKS: &[u8] = include_bytes!("../../../sentry/src/fs/erofs/testdata/chunks.erofs");

/// The same with compressed files.
const LZ4: &[u8] = include_bytes!("../../../sentry/src/fs/erofs/testdata/lz4.erofs");
/// Bigger files, each with another kind of index.
const INDEXES: [&[u8]; 3] = [
    include_bytes!("../../../sentry/src/fs/erofs/testdata/lz4_compact.erofs"),
    include_bytes!("../../../sentry/src/fs/erofs/testdata/lz4_big.erofs"),
    include_bytes!("../../../sentry/src/fs/erofs/testdata/lz4_full.erofs"),
];

/// Mounts it at `m`, or skips the case where the host can't mount an image without a block device.
#[track_caller]
fn mount_image(image: &[u8]) {
    own_mounts();
    put(c"image", image);
    mkdir(c"m");
    match sys!(mount, c"image", c"m", c"erofs", MS_RDONLY, 0) {
        Ok(_) => {}
        Err(Errno(ENODEV | ENOTBLK)) => skip("no erofs, or not from a file"),
        Err(e) => fail(format_args!("mount: {e:?}")),
    }
}

case!(an_image_shows_its_files: mount, openat, read, getdents64; root; disk);
fn an_image_shows_its_files() {
    for image in [IMAGE, CHUNKS, LZ4] {
        mount_image(image);
        eq(names(c"m"), ["dir", "empty", "exact", "file", "hard", "link", "null", "pipe"]);
        eq(content(c"m/file"), b"hello");
        eq(content(c"m/dir/big"), (0..10_000u32).map(|i| (i % 251) as u8).collect::<Vec<_>>());
        eq(content(c"m/link"), b"hello");
        eq(names(c"m/dir/sub").len(), 81);
        eq(names(c"m/empty"), [""; 0]);
        ok(sys!(umount2, c"m", 0));
        ok(sys!(rmdir, c"m"));
    }
}

case!(compressed_files_of_an_image: mount, read, pread64, mmap, fstat; root; disk);
fn compressed_files_of_an_image() {
    let mut sums = Vec::new();
    for image in INDEXES {
        mount_image(image);
        eq(content(c"m/tiny"), b"tiny");
        eq(content(c"m/short"), [b'a'; 4100]);
        check(content(c"m/zeros") == [0; 300_000], "zeros");
        let mixed = content(c"m/mixed");
        let fd = open(c"m/mixed", O_RDONLY);
        let mut part = [0u8; 5000];
        for at in [70_001, 3, mixed.len() - 5000, 4095] {
            eq(ok(sys!(pread64, fd, &mut part, 5000, at)), 5000);
            check(part == mixed[at..at + 5000], at);
        }
        let pages = mixed.len() / PAGE;
        let at = map_file(fd, 0, pages * PAGE, PROT_READ, MAP_PRIVATE);
        for page in (0..pages).rev() {
            eq_of(page, peek(at + page * PAGE + 77), mixed[page * PAGE + 77]);
        }
        unmap(at, pages * PAGE);
        close(fd);
        // FNV-1a.
        let sum = mixed.iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        sums.push((mixed.len(), sum));
        ok(sys!(umount2, c"m", 0));
        ok(sys!(rmdir, c"m"));
    }
    check(sums.iter().all(|sum| *sum == sums[0]), "the same file each time");
}

case!(attributes_in_an_image: fstat, getxattr, listxattr, statfs; root; disk);
fn attributes_in_an_image() {
    mount_image(IMAGE);
    let st = stat(c"m/file");
    eq(
        (st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_size, st.st_blocks),
        (S_IFREG | 0o644, 2, 1000, 1001, 5, 8),
    );
    eq(st.st_ino, stat(c"m/hard").st_ino);
    eq((stat(c"m/dir/big").st_uid, stat(c"m/dir/big").st_blocks), (70_000, 24));
    eq((lstat(c"m/null").st_mode & S_IFMT, lstat(c"m/null").st_rdev), (S_IFCHR, 0x103));
    eq(lstat(c"m/pipe").st_mode & S_IFMT, S_IFIFO);
    eq(xattrs(c"m/file"), ["trusted.b", "user.a"]);
    eq(xattr(c"m/file", c"user.a"), Some(b"value".to_vec()));
    eq(xattr(c"m/dir", c"user.d"), Some(b"dir".to_vec()));
    fails(sys!(lgetxattr, c"m/file", c"user.none", 0, 0), ENODATA);
    let mut fs: statfs = zeroed();
    ok(sys!(statfs, c"m", &mut fs));
    eq((fs.f_type, fs.f_bsize, fs.f_bfree, fs.f_namelen), (0xe0f5_e1e2, 4096, 0, 255));
    eq(mountinfo("m").1, "erofs");
}

case!(nothing_in_an_image_changes: openat, unlink, mount; root; disk);
fn nothing_in_an_image_changes() {
    mount_image(IMAGE);
    fails(sys!(openat, AT_FDCWD, c"m/file", O_RDWR, 0), EROFS);
    fails(sys!(openat, AT_FDCWD, c"m/new", O_CREAT | O_RDWR, 0o644), EROFS);
    fails(sys!(unlink, c"m/file"), EROFS);
    fails(sys!(fchmodat, AT_FDCWD, c"m/file", 0o600), EROFS);
    fails(set_xattr(c"m/file", c"user.a", b"x"), EROFS);
}

case!(images_can_be_mapped: mmap; root; disk);
fn images_can_be_mapped() {
    mount_image(IMAGE);
    let fd = open(c"m/dir/big", O_RDONLY);
    let at = map_file(fd, 0, 4 * PAGE, PROT_READ, MAP_SHARED);
    for position in [0usize, 1, 4095, 4096, 8191, 8192, 9999] {
        eq_of(position, peek(at + position), (position % 251) as u8);
    }
    eq(peek(at + 10_000), 0);
    fork(|| {
        peek(at + 3 * PAGE);
    })
    .dies_of(SIGBUS);
    let private = map_file(fd, 0, 3 * PAGE, RW, MAP_PRIVATE);
    poke(private + 8192, 77);
    eq((peek(private + 8192), peek(at + 8192)), (77, (8192 % 251) as u8));
    fails(sys!(mmap, 0, PAGE, RW, MAP_SHARED, fd, 0), EACCES);
}

case!(what_is_no_image: mount; root; disk);
fn what_is_no_image() {
    own_mounts();
    mkdir(c"m");
    put(c"empty", b"");
    put(c"zeros", &[0; 8192]);
    let mut broken = IMAGE.to_vec();
    broken[1024] ^= 1;
    put(c"broken", &broken);
    for file in [c"empty", c"zeros", c"broken"] {
        match sys!(mount, file, c"m", c"erofs", MS_RDONLY, 0) {
            Err(Errno(EINVAL)) => {}
            Err(Errno(ENODEV | ENOTBLK)) => skip("no erofs, or not from a file"),
            other => fail(format_args!("{file:?}: {other:?}")),
        }
    }
    fails(sys!(mount, c"none", c"m", c"erofs", MS_RDONLY, 0), ENOENT);
    fails(sys!(mount, c".", c"m", c"erofs", MS_RDONLY, 0), ENOTBLK);
    put(c"image", IMAGE);
    fails(sys!(mount, c"image", c"m", c"erofs", MS_RDONLY, c"nonsense"), EINVAL);
}

case!(an_overlay_over_an_image: mount, openat, unlink; root; disk);
fn an_overlay_over_an_image() {
    mount_image(IMAGE);
    mkdir(c"t");
    ok(sys!(mount, c"none", c"t", c"tmpfs", 0, 0));
    for dir in [c"t/u", c"t/w", c"t/m"] {
        mkdir(dir);
    }
    ok(sys!(mount, c"none", c"t/m", c"overlay", 0, c"lowerdir=m,upperdir=t/u,workdir=t/w"));
    let fd = open(c"t/m/dir/big", O_RDWR);
    ok(sys!(pwrite64, fd, c"X", 1, 5000));
    let changed = content(c"t/m/dir/big");
    eq((changed.len(), changed[5000], changed[5001]), (10_000, b'X', (5001 % 251) as u8));
    ok(sys!(unlink, c"t/m/dir/sub/an-entry-with-a-rather-long-name-150"));
    eq(names(c"t/m/dir/sub").len(), 80);
    eq(stat(c"t/m/dir/big").st_uid, 70_000);
}
