//! mremap, madvise, mlock, msync, mincore, and host I/O in place.

use std::os::fd::AsFd;

use abi::mman::{
    MADV_DODUMP, MADV_DONTDUMP, MADV_DONTNEED, MADV_FREE, MADV_HWPOISON, MADV_POPULATE_READ,
    MADV_POPULATE_WRITE, MADV_REMOVE, MlockallFlags, MremapFlags, MsyncFlags, ProtFlags,
};

use super::space::{guest_read, guest_write};
use super::*;
use crate::vfs::io::{IoSink, IoSource};

const UNLIMITED: MmLimits = MmLimits::UNLIMITED;
const SHARED_ANONYMOUS: MapFlags = MapFlags::SHARED.union(MapFlags::ANONYMOUS);

fn remap(mm: &MemoryManager, at: u64, old: u64, new: u64, flags: MremapFlags, to: u64) -> Result<u64, Errno> {
    let result = mm.mremap(UserAddr(at), old * PAGE, new * PAGE, flags, UserAddr(to), &UNLIMITED);
    result.map(|at| at.0)
}

#[test]
fn mremap_shrinks_grows_and_moves() {
    let mm = new_mm();
    let at = anonymous(&mm, 10, RW);
    guest_write(&mm, at, 1, true).expect("write");
    let (none, may) = (MremapFlags::empty(), MremapFlags::MAYMOVE);
    assert_eq!(remap(&mm, at, 10, 4, none, 0), Ok(at));
    assert!(guest_read(&mm, at + 4 * PAGE, true).is_err());
    assert_eq!(remap(&mm, at, 4, 8, none, 0), Ok(at));
    guest_write(&mm, at + 7 * PAGE, 2, true).expect("write");
    let _next = mm.mmap(MapRequest {
        addr: UserAddr(at + 8 * PAGE),
        ..request(PAGE, Prot::READ, MapFlags::PRIVATE | MapFlags::ANONYMOUS)
    });
    assert_eq!(remap(&mm, at, 8, 20, none, 0), Err(Errno::ENOMEM));
    let moved = remap(&mm, at, 8, 20, may, 0).expect("moves");
    assert_ne!(moved, at);
    assert_eq!((guest_read(&mm, moved, true), guest_read(&mm, moved + 7 * PAGE, true)), (Ok(1), Ok(2)));
    assert_eq!(guest_read(&mm, moved + 19 * PAGE, true), Ok(0));
    assert!(guest_read(&mm, at, true).is_err());
    assert_eq!(mm.usage().total, 21 * PAGE);
    assert_eq!(remap(&mm, at, 1, 1, none, 0), Err(Errno::EFAULT));
    assert_eq!(remap(&mm, moved, 1, 0, none, 0), Err(Errno::EINVAL));
    assert_eq!(remap(&mm, moved + 1, 1, 1, none, 0), Err(Errno::EINVAL));
    assert_eq!(remap(&mm, moved, 1, 1, MremapFlags::FIXED, 0), Err(Errno::EINVAL));
    assert_eq!(remap(&mm, moved, 30, 40, may, 0), Err(Errno::EFAULT));
    let to = moved + 10 * PAGE;
    assert_eq!(remap(&mm, moved, 20, 20, may | MremapFlags::FIXED, to), Err(Errno::EINVAL));
    assert_eq!(remap(&mm, moved, 0, 4, may, 0), Err(Errno::EINVAL));
}

#[test]
fn mremap_of_length_zero_doubles_a_shared_mapping() {
    let mm = new_mm();
    let at = mm.mmap(request(4 * PAGE, RW, SHARED_ANONYMOUS)).expect("mmap").0;
    let twin = remap(&mm, at, 0, 4, MremapFlags::MAYMOVE, 0).expect("mremap");
    guest_write(&mm, at + PAGE, 7, false).expect("write");
    assert_eq!(guest_read(&mm, twin + PAGE, false), Ok(7));
}

#[test]
fn mremap_dontunmap_leaves_an_empty_mapping() {
    let mm = new_mm();
    let at = anonymous(&mm, 4, RW);
    guest_write(&mm, at, 5, true).expect("write");
    let flags = MremapFlags::MAYMOVE | MremapFlags::DONTUNMAP;
    let moved = remap(&mm, at, 4, 4, flags, 0).expect("mremap");
    assert_eq!((guest_read(&mm, at, true), guest_read(&mm, moved, true)), (Ok(0), Ok(5)));
    assert_eq!(remap(&mm, at, 4, 3, flags, 0), Err(Errno::EINVAL));
}

#[test]
fn madvise_gives_pages_back() {
    let mm = new_mm();
    let at = anonymous(&mm, 8, RW);
    let advise = |at: u64, pages: u64, advice: u32| mm.madvise(UserAddr(at), pages * PAGE, advice);
    for page in 0..8 {
        guest_write(&mm, at + page * PAGE, 9, true).expect("write");
    }
    let child = mm.fork(crate::mm::Threads::One).expect("fork");
    advise(at, 4, MADV_DONTNEED).expect("madvise");
    assert_eq!((guest_read(&mm, at, true), guest_read(&child, at, true)), (Ok(0), Ok(9)));
    drop(child);
    let before = mm.rss().anonymous;
    advise(at + 4 * PAGE, 4, MADV_FREE).expect("madvise");
    assert_eq!(mm.rss().anonymous, before - 4 * PAGE);
    assert_eq!(guest_read(&mm, at + 7 * PAGE, true), Ok(0));
    mm.munmap(UserAddr(at + PAGE), PAGE).expect("munmap");
    guest_write(&mm, at + 2 * PAGE, 3, true).expect("write");
    assert_eq!(advise(at, 8, MADV_DONTNEED), Err(Errno::ENOMEM));
    assert_eq!(guest_read(&mm, at + 2 * PAGE, true), Ok(0), "behind the hole as well");
    assert_eq!(advise(at + 1, 1, MADV_DONTNEED), Err(Errno::EINVAL));
    assert_eq!(advise(at, 1, 12345), Err(Errno::EINVAL));
    assert_eq!(advise(at, 1, MADV_HWPOISON), Err(Errno::EPERM));
    assert_eq!(advise(at, 1, MADV_REMOVE), Err(Errno::EINVAL));
    assert_eq!(advise(at, 1, MADV_POPULATE_WRITE), Ok(()));
    assert_eq!(advise(at, 8, MADV_POPULATE_READ), Err(Errno::ENOMEM));
    advise(at, 1, MADV_DONTDUMP).expect("madvise");
    assert!(mm.maps()[0].flags.contains(VmaFlags::DONTDUMP));
    advise(at, 1, MADV_DODUMP).expect("madvise");
    let shared = mm.mmap(request(2 * PAGE, RW, SHARED_ANONYMOUS)).expect("mmap").0;
    guest_write(&mm, shared, 4, true).expect("write");
    advise(shared, 1, MADV_DONTNEED).expect("madvise");
    assert_eq!(guest_read(&mm, shared, true), Ok(4), "shared memory keeps its contents");
    advise(shared, 1, MADV_REMOVE).expect("madvise");
    assert_eq!(guest_read(&mm, shared, true), Ok(0));
}

#[test]
fn locks_are_counted() {
    let mm = new_mm();
    let at = anonymous(&mm, 8, RW);
    let limits = MmLimits { memlock: 4 * PAGE, may_lock: false, ..UNLIMITED };
    let lock = |pages: u64| mm.mlock(UserAddr(at), pages * PAGE, false, &limits);
    assert_eq!(lock(5), Err(Errno::ENOMEM));
    assert_eq!(lock(3), Ok(()));
    assert_eq!(lock(4), Ok(()), "what is locked does not count twice");
    assert_eq!(mm.usage().locked, 4 * PAGE);
    assert_eq!(mm.madvise(UserAddr(at), PAGE, MADV_DONTNEED), Err(Errno::EINVAL));
    mm.munlock(UserAddr(at), 2 * PAGE).expect("munlock");
    assert_eq!(mm.usage().locked, 2 * PAGE);
    assert_eq!(mm.mlockall(MlockallFlags::CURRENT, &limits), Err(Errno::ENOMEM));
    mm.mlockall(MlockallFlags::CURRENT | MlockallFlags::FUTURE, &UNLIMITED).expect("mlockall");
    anonymous(&mm, 2, RW);
    assert_eq!(mm.usage().locked, 10 * PAGE);
    assert_eq!(mm.fork(crate::mm::Threads::One).expect("fork").usage().locked, 0);
    mm.munlockall();
    assert_eq!(mm.usage().locked, 0);
    let none = MmLimits { memlock: 0, may_lock: false, ..UNLIMITED };
    assert_eq!(mm.mlock(UserAddr(at), PAGE, false, &none), Err(Errno::EPERM));
    mm.mprotect(UserAddr(at), PAGE, ProtFlags::empty(), &UNLIMITED).expect("mprotect");
    assert_eq!(mm.mlock(UserAddr(at), PAGE, false, &UNLIMITED), Err(Errno::ENOMEM));
}

#[test]
fn mincore_and_msync_check_what_is_mapped() {
    let mm = new_mm();
    let at = anonymous(&mm, 4, RW);
    guest_write(&mm, at + 2 * PAGE, 1, true).expect("write");
    let mut seen = Vec::new();
    let mut emit = |pages: &[u8]| {
        seen.extend_from_slice(pages);
        Ok(())
    };
    mm.mincore(UserAddr(at), 4 * PAGE, &mut emit).expect("mincore");
    assert_eq!(mm.mincore(UserAddr(at), 5 * PAGE, &mut emit), Err(Errno::ENOMEM));
    assert_eq!(mm.mincore(UserAddr(at + 1), PAGE, &mut emit), Err(Errno::EINVAL));
    assert_eq!(seen[..4], [0, 0, 1, 0]);
    let sync = |pages: u64, flags: MsyncFlags| mm.msync(UserAddr(at), pages * PAGE, flags);
    assert_eq!(sync(4, MsyncFlags::SYNC), Ok(()));
    assert_eq!(sync(5, MsyncFlags::SYNC), Err(Errno::ENOMEM));
    assert_eq!(sync(4, MsyncFlags::SYNC | MsyncFlags::ASYNC), Err(Errno::EINVAL));
    mm.mlock(UserAddr(at), PAGE, false, &UNLIMITED).expect("mlock");
    assert_eq!(sync(1, MsyncFlags::INVALIDATE), Err(Errno::EBUSY));
}

#[test]
fn the_host_reads_and_writes_guest_memory_in_place() {
    let mm = new_mm();
    let at = anonymous(&mm, 100, RW);
    let file = TestFile::new(64);
    let fd = file.host.fd().as_fd();
    let child = mm.fork(crate::mm::Threads::One).expect("fork");
    for len in [10, 5000, 64 * PAGE as usize] {
        let mut sink = UserSink::at(&mm, UserAddr(at + 100), len);
        assert_eq!(sink.put_from_host(fd, Some(PAGE - 5), len), Ok(len.min(63 * PAGE as usize + 5)));
        assert_eq!(guest_read(&mm, at + 104, true), Ok(1));
        assert_eq!(guest_read(&mm, at + 105, true), Ok(2));
        assert_eq!(guest_read(&child, at + 105, true), Ok(0), "copied before");
    }
    // Scattered, and into a hole.
    mm.munmap(UserAddr(at + 50 * PAGE), PAGE).expect("munmap");
    let slices = [
        UserSlice { addr: UserAddr(at), len: 3 },
        UserSlice { addr: UserAddr(at + PAGE), len: 0 },
        UserSlice { addr: UserAddr(at + 40 * PAGE), len: 20 * PAGE },
    ];
    let mut sink = UserSink::new(&mm, &slices);
    assert_eq!(sink.put_from_host(fd, Some(0), usize::MAX), Ok(3 + 10 * PAGE as usize));
    let mut sink = UserSink::at(&mm, UserAddr(at + 50 * PAGE), 10);
    assert_eq!(sink.put_from_host(fd, Some(0), 10), Err(Errno::EFAULT));
    assert_eq!(sink.put_from_host(fd, Some(1 << 30), 10), Ok(0), "at the end of the file nothing is touched");
    let out = TestFile::new(0);
    let out_fd = out.host.fd().as_fd();
    let mut source = UserSource::new(&mm, &slices);
    assert_eq!(source.take_to_host(out_fd, Some(0), usize::MAX), Ok(3 + 10 * PAGE as usize));
    let mut bytes = [0; 4];
    out.host.read(3 + PAGE - 4, &mut bytes).expect("read");
    assert_eq!(bytes, [1, 2, 2, 2]);
    assert!(mm.write_pins.lock().is_empty());
}

#[test]
fn fork_leaves_pages_that_the_host_fills_to_the_parent() {
    let mm = new_mm();
    let at = anonymous(&mm, 8, RW);
    guest_write(&mm, at + PAGE, 1, true).expect("write");
    let mut pins = mm.pins(true);
    assert_eq!(pins.add(UserAddr(at + PAGE), 2 * PAGE), 2 * PAGE);
    let child = mm.fork(crate::mm::Threads::One).expect("fork");
    // The host writes now: the parent sees it although both write to their side first.
    guest_write(&mm, at + PAGE + 1, 2, true).expect("write");
    guest_write(&child, at + PAGE + 1, 3, true).expect("write");
    let file = TestFile::new(1);
    let mut pieces = pins.pieces().expect("pieces");
    host::io::preadv(file.host.fd(), &mut pieces, PAGE - 1, 0).expect("read");
    drop(pins);
    assert_eq!(guest_read(&mm, at + PAGE, true), Ok(1));
    assert_eq!(guest_read(&mm, at + PAGE + 1, true), Ok(2));
    assert_eq!(guest_read(&child, at + PAGE + 1, true), Ok(3));
    assert!(mm.write_pins.lock().is_empty());
}

#[test]
fn sinks_and_sources_reach_the_memory_file_directly() {
    let mm = new_mm();
    let at = anonymous(&mm, 4, RW);
    let frames = mm.memory.allocate(2 * PAGE).expect("frames");
    mm.memory.write(frames.offset + 10, b"hello").expect("write");
    let mut sink = UserSink::at(&mm, UserAddr(at + PAGE - 2), 100);
    assert_eq!(sink.put_memory(&mm.memory, frames.offset + 10, 5), Ok(5));
    assert_eq!(sink.put(b"!!"), Ok(2));
    assert_eq!(sink.put_zeros(1000), Ok(93));
    assert_eq!(sink.remaining(), 0);
    let mut source = UserSource::at(&mm, UserAddr(at + PAGE - 2), 7);
    let mut bytes = [0; 10];
    assert_eq!(source.peek(&mut bytes), Ok(7));
    assert_eq!(&bytes[..7], b"hello!!");
    assert_eq!(source.take(&mut bytes[..2]), Ok(2));
    assert_eq!(source.take_to_memory(&mm.memory, frames.offset, 100), Ok(5));
    mm.memory.read(frames.offset, &mut bytes[..5]).expect("read");
    assert_eq!(&bytes[..5], b"llo!!");
    mm.memory.decref(frames);
}
