//! Blocks that files share (ioctl_ficlone(2)), where they are, and pages that are not kept of them.

use crate::kit::prelude::*;

const FIBMAP: u32 = 1;
const FIOQSIZE: u32 = 0x5460;
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

case!(what_has_no_blocks: ioctl);
fn what_has_no_blocks() {
    let events = || ok_i32(sys!(eventfd2, 0, 0));
    let (epoll, first, second) = (ok_i32(sys!(epoll_create1, 0)), events(), events());
    fails(sys!(ioctl, first, FICLONE, second), EINVAL);
    let mut request: DedupeRange = [0, 4096, 1, second as u64, 0, 0, 0];
    fails(sys!(ioctl, first, FIDEDUPERANGE, &mut request), EINVAL);
    fails(sys!(ioctl, first, FIBMAP, 8), ENOTTY);
    fails(sys!(ioctl, epoll, FIBMAP, 8), EINVAL);
    fails(sys!(ioctl, first, FIOQSIZE, &mut 0u64), ENOTTY);
}

/// Whether the scratch directory is on a file system of disks with blocks, or on one in memory; other ones skip the case.
#[track_caller]
fn has_blocks() -> bool {
    const EXT4: i64 = 0xef53;
    const XFS: i64 = 0x5846_5342;
    const BTRFS: i64 = 0x9123_683e;
    // SAFETY: a structure of integers.
    let mut st: libc::statfs = unsafe { std::mem::zeroed() };
    ok(sys!(statfs, c".", &mut st));
    match st.f_type {
        EXT4 | XFS | BTRFS => true,
        libc::TMPFS_MAGIC => false,
        _ => skip("what this file system asks of O_DIRECT is its own business"),
    }
}

case!(where_direct_bytes_may_lie: openat, pread64, pwrite64, preadv, pwritev, read, write, fcntl; disk);
fn where_direct_bytes_may_lie() {
    const BLOCK: usize = 4096;
    let asks = has_blocks();
    create(c"f", &[b'x'; 2 * BLOCK]);
    let fd = match sys!(openat, AT_FDCWD, c"f", O_RDWR | O_DIRECT, 0) {
        Err(Errno(EINVAL)) => skip("no O_DIRECT on this file system"),
        answer => ok_i32(answer),
    };
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    let at = ok(sys!(mmap, 0, 16 * BLOCK, PROT_READ | PROT_WRITE, flags, -1, 0)) as usize;
    let expect = |answer: Answer, bytes: usize| match asks {
        true => fails(answer, EINVAL),
        false => eq(ok(answer), bytes as i64),
    };
    for call in [libc::SYS_pread64, libc::SYS_pwrite64] {
        let io = |addr: usize, len: usize, offset: usize| match call {
            libc::SYS_pread64 => sys!(pread64, fd, addr, len, offset),
            _ => sys!(pwrite64, fd, addr, len, offset),
        };
        for (offset, len) in [(0, BLOCK), (0, 2 * BLOCK), (BLOCK, BLOCK), (1, 0)] {
            eq(ok(io(at, len, offset)), len as i64);
        }
        expect(io(at + 1, BLOCK, 0), BLOCK);
        expect(io(at, 100, 0), 100);
        expect(io(at, BLOCK, 100), BLOCK);
        // That wins over memory that is not there.
        match asks {
            true => fails(io(BLOCK, BLOCK, 100), EINVAL),
            false => fails(io(BLOCK, BLOCK, 100), EFAULT),
        }
        fails(io(BLOCK, BLOCK, 0), EFAULT);
    }
    // Each piece of several.
    let piece = |at: usize, len: usize| libc::iovec { iov_base: at as *mut _, iov_len: len };
    let whole = [piece(at, BLOCK), piece(at + 1, 0), piece(at + 2 * BLOCK, BLOCK)];
    eq(ok(sys!(preadv, fd, &whole, 3, 0, 0)), 2 * BLOCK as i64);
    eq(ok(sys!(pwritev, fd, &whole, 3, 0, 0)), 2 * BLOCK as i64);
    let parts = [piece(at, 100), piece(at + 2 * BLOCK, BLOCK - 100)];
    expect(sys!(preadv, fd, &parts, 2, 0, 0), BLOCK);
    expect(sys!(pwritev, fd, &parts, 2, 0, 0), BLOCK);
    // At the end nothing is read, wherever that is.
    ok(sys!(ftruncate, fd, 1000));
    for (offset, len) in [(1000, 100), (BLOCK, BLOCK), (BLOCK + 1, 100)] {
        eq(ok(sys!(pread64, fd, at, len, offset)), 0);
    }
    eq(ok(sys!(pread64, fd, at, BLOCK, 0)), 1000);
    // From where the position is, and from where the end is.
    ok(sys!(lseek, fd, 100, SEEK_SET));
    expect(sys!(read, fd, at, BLOCK), 900);
    let end = open(c"f", O_WRONLY | O_APPEND | O_DIRECT);
    expect(sys!(write, end, at, BLOCK), BLOCK);
    eq(fstat(fd).st_size, if asks { 1000 } else { 1000 + BLOCK as i64 });
    // Without the flag, which comes and goes, nothing matters.
    ok(sys!(fcntl, fd, F_SETFL, 0));
    eq(ok(sys!(pread64, fd, at + 1, 100, 3)), 100);
    let plain = open(c"f", O_RDONLY);
    eq(ok(sys!(pread64, plain, at + 1, 100, 3)), 100);
    ok(sys!(fcntl, plain, F_SETFL, O_DIRECT));
    expect(sys!(pread64, plain, at + 1, 100, 3), 100);
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
