//! Blocks that files share (ioctl_ficlone(2)), where they are, and pages that are not kept of them.

use crate::kit::prelude::*;

const FIBMAP: u32 = 1;
const FICLONE: u32 = 0x4004_9409;
const FICLONERANGE: u32 = 0x4020_940d;
const FIDEDUPERANGE: u32 = 0xc018_9436;
const FS_IOC_FIEMAP: u32 = 0xc020_660b;
const RWF_DONTCACHE: i32 = 0x80;

/// `struct file_clone_range`: descriptor, offset, length, offset.
type CloneRange = [u64; 4];
/// `struct file_dedupe_range` with one target.
type DedupeRange = [u64; 7];

/// Skips the case where files share blocks.
#[track_caller]
fn not_shared(answer: Answer) {
    if answer.is_ok() {
        skip("this file system shares blocks");
    }
    fails(answer, EOPNOTSUPP);
}

case!(blocks_are_not_shared: ioctl; disk);
fn blocks_are_not_shared() {
    let (from, to) = (create(c"from", &[b'x'; 8192]), create(c"to", &[b'y'; 4096]));
    not_shared(sys!(ioctl, to, FICLONE, from));
    let range: CloneRange = [from as u64, 0, 0, 0];
    fails(sys!(ioctl, to, FICLONERANGE, &range), EOPNOTSUPP);
    fails(sys!(ioctl, to, FICLONE, to), EOPNOTSUPP);
    eq(content(c"to"), vec![b'y'; 4096]);
}

case!(what_is_wrong_with_sharing: ioctl; disk);
fn what_is_wrong_with_sharing() {
    let (from, to) = (create(c"from", &[b'x'; 8192]), create(c"to", b""));
    let clone = |to: i32, from: i32| sys!(ioctl, to, FICLONE, from);
    fails(clone(to, -1), EBADF);
    fails(clone(to, open(c"from", O_PATH)), EBADF);
    fails(sys!(ioctl, to, FICLONERANGE, 8), EFAULT);
    fails(sys!(ioctl, to, FICLONERANGE, &[u64::MAX, 0, 0, 0]), EBADF);
    let dir = open(c".", O_RDONLY);
    fails(clone(to, dir), EISDIR);
    fails(clone(dir, from), EISDIR);
    // What they were opened for comes after what they are, and that after where they are.
    fails(clone(open(c"to", O_RDONLY), from), EBADF);
    fails(clone(open(c"to", O_WRONLY | O_APPEND), from), EBADF);
    fails(clone(to, open(c"from", O_WRONLY)), EBADF);
    let [r, w] = pipe(0);
    fails(clone(to, r), EXDEV);
    fails(clone(w, from), EXDEV);
    fails(clone(w, r), EINVAL);
    fails(clone(open(c"to", O_RDONLY), r), EXDEV);
}

case!(the_same_bytes_twice: ioctl);
fn the_same_bytes_twice() {
    let (from, to) = (create(c"from", &[b'x'; 4096]), create(c"to", &[b'x'; 4096]));
    let request = |reserved: u64| -> DedupeRange { [0, 4096, 1 | reserved, to as u64, 0, 0, 0] };
    not_shared(sys!(ioctl, from, FIDEDUPERANGE, &mut request(0)));
    fails(sys!(ioctl, from, FIDEDUPERANGE, &mut request(1 << 16)), EINVAL);
    fails(sys!(ioctl, from, FIDEDUPERANGE, &mut request(1 << 32)), EINVAL);
    fails(sys!(ioctl, open(c"from", O_WRONLY), FIDEDUPERANGE, &mut request(0)), EINVAL);
    fails(sys!(ioctl, open(c".", O_RDONLY), FIDEDUPERANGE, &mut request(0)), EISDIR);
    fails(sys!(ioctl, pipe(0)[0], FIDEDUPERANGE, &mut request(0)), EINVAL);
    fails(sys!(ioctl, from, FIDEDUPERANGE, 8), EFAULT);
    // More targets than a page has room for, which is seen before they are read.
    fails(sys!(ioctl, from, FIDEDUPERANGE, &mut [0u64, 4096, 128]), ENOMEM);
}

case!(nobody_says_where_they_are: ioctl);
fn nobody_says_where_they_are() {
    needs_tmpfs();
    let fd = create(c"f", &[b'x'; 4096]);
    let mut map = [0u64, u64::MAX, 0, 0];
    fails(sys!(ioctl, fd, FS_IOC_FIEMAP, &mut map), EOPNOTSUPP);
    fails(sys!(ioctl, fd, FS_IOC_FIEMAP, 8), EOPNOTSUPP);
    fails(sys!(ioctl, pipe(0)[0], FS_IOC_FIEMAP, &mut map), EOPNOTSUPP);
    fails(sys!(ioctl, open(c".", O_RDONLY), FIBMAP, &mut 0i32), ENOTTY);
    if is_root() {
        fails(sys!(ioctl, fd, FIBMAP, &mut 0i32), EINVAL);
        fails(sys!(ioctl, fd, FIBMAP, 8), EFAULT);
    }
    unprivileged(|| fails(sys!(ioctl, fd, FIBMAP, 8), EPERM));
}

case!(pages_that_are_not_kept: preadv2, pwritev2);
fn pages_that_are_not_kept() {
    needs_tmpfs();
    let mut buf = [0u8; 4];
    let vec = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let read = |fd: i32, flags: i32| sys!(preadv2, fd, &vec, 1, -1i64, -1i64, flags);
    let write = |fd: i32, flags: i32| sys!(pwritev2, fd, &vec, 1, -1i64, -1i64, flags);
    let file = create(c"f", b"0123456789");
    let [r, w] = pipe(0);
    let [a, b] = crate::kit::socket::pair(SOCK_STREAM);
    for (from, to) in
        [(file, file), (r, w), (a, b), (open(c"/dev/zero", O_RDONLY), open(c"/dev/null", O_WRONLY))]
    {
        fails(read(from, RWF_DONTCACHE), EOPNOTSUPP);
        fails(write(to, RWF_DONTCACHE), EOPNOTSUPP);
        // Without bytes nobody asks.
        let nothing = libc::iovec { iov_len: 0, ..vec };
        eq(ok(sys!(pwritev2, to, &nothing, 1, -1i64, -1i64, RWF_DONTCACHE)), 0);
    }
    fails(write(r, RWF_DONTCACHE), EBADF);
    eq(ok(sys!(lseek, file, 0, SEEK_CUR)), 0);
}
