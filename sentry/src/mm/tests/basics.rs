//! One thing at a time.

use abi::mman::ProtFlags;
use abi::signal::{BUS_ADRERR, SEGV_ACCERR, SEGV_MAPERR, Signal};

use super::space::{guest_read, guest_write, host_mappings, mock};
use super::*;

const SEGV_UNMAPPED: FaultSignal = FaultSignal { signal: Signal::SIGSEGV, code: SEGV_MAPERR };
const SEGV_DENIED: FaultSignal = FaultSignal { signal: Signal::SIGSEGV, code: SEGV_ACCERR };
const BUS: FaultSignal = FaultSignal { signal: Signal::SIGBUS, code: BUS_ADRERR };

fn protect(mm: &MemoryManager, addr: u64, pages: u64, prot: ProtFlags) -> Result<(), Errno> {
    mm.mprotect(UserAddr(addr), pages * PAGE, prot, &MmLimits::UNLIMITED)
}

#[test]
fn anonymous_memory_is_zero_and_keeps_what_is_written() {
    let mm = new_mm();
    let at = anonymous(&mm, 4, RW);
    let calls = mock(&mm).calls();
    assert_eq!(guest_read(&mm, at, true), Ok(0));
    guest_write(&mm, at + 5000, 7, true).expect("write");
    let mut bytes = [9; 3];
    mm.copy_in(UserAddr(at + 4999), &mut bytes).expect("copy");
    assert_eq!(bytes, [0, 7, 0]);
    mm.copy_out(UserAddr(at + 4095), &[1, 2]).expect("copy across pages");
    assert_eq!(guest_read(&mm, at + 4096, true), Ok(2));
    assert_eq!(mock(&mm).calls(), calls, "all of it was shown at once");
    mm.munmap(UserAddr(at), 4 * PAGE).expect("munmap");
    assert_eq!(guest_read(&mm, at, false), Err(SEGV_UNMAPPED));
    assert_eq!(mm.copy_in(UserAddr(at), &mut bytes), Err(Errno::EFAULT));
    assert_eq!(mm.usage().total, 0);
}

#[test]
fn partial_copies_say_how_far_they_came() {
    let mm = new_mm();
    let at = anonymous(&mm, 2, RW);
    mm.munmap(UserAddr(at + PAGE), PAGE).expect("munmap");
    let mut bytes = [0; 100];
    assert_eq!(mm.copy_in_partial(UserAddr(at + PAGE - 10), &mut bytes), Ok(10));
    assert_eq!(mm.copy_out_partial(UserAddr(at + PAGE - 10), &bytes), Ok(10));
    assert_eq!(mm.copy_out_partial(UserAddr(at + PAGE), &bytes), Err(Errno::EFAULT));
    assert_eq!(mm.copy_in(UserAddr(at + PAGE - 10), &mut bytes), Err(Errno::EFAULT));
    assert_eq!(mm.copy_in(UserAddr::NULL, &mut []), Ok(()));
    assert_eq!(mm.copy_in_partial(UserAddr(u64::MAX), &mut bytes), Err(Errno::EFAULT));
    mm.copy_out(UserAddr(at + PAGE - 4), b"abc\0").expect("copy");
    assert_eq!(mm.copy_in_cstr(UserAddr(at + PAGE - 4), 4096).expect("string").as_slice(), b"abc");
    assert_eq!(mm.copy_in_cstr(UserAddr(at + PAGE - 4), 3), Err(CStrError::TooLong));
    mm.copy_out(UserAddr(at + PAGE - 1), b"d").expect("copy");
    assert_eq!(mm.copy_in_cstr(UserAddr(at + PAGE - 4), 4096), Err(CStrError::Fault));
}

#[test]
fn protection_is_enforced_however_much_the_platform_knows() {
    for known in [false, true] {
        let mm = new_mm();
        let at = anonymous(&mm, 3, RW);
        guest_write(&mm, at + PAGE, 5, known).expect("write");
        protect(&mm, at + PAGE, 1, ProtFlags::READ).expect("mprotect");
        assert_eq!(guest_read(&mm, at + PAGE, known), Ok(5));
        assert_eq!(guest_write(&mm, at + PAGE, 6, known), Err(SEGV_DENIED));
        assert_eq!(mm.copy_out(UserAddr(at + PAGE), &[1]), Err(Errno::EFAULT));
        assert_eq!(mm.force_out(UserAddr(at + PAGE), &[8]), Ok(1));
        assert_eq!(guest_read(&mm, at + PAGE, known), Ok(8));
        protect(&mm, at, 3, ProtFlags::empty()).expect("mprotect");
        assert_eq!(guest_read(&mm, at, known), Err(SEGV_DENIED));
        protect(&mm, at, 3, ProtFlags::READ | ProtFlags::WRITE).expect("mprotect");
        guest_write(&mm, at + PAGE, 9, known).expect("write");
        assert_eq!(mm.inner.read().vmas.len(), 1, "all one mapping again");
    }
}

#[test]
fn mprotect_changes_what_lies_before_a_hole() {
    let mm = new_mm();
    let at = anonymous(&mm, 3, RW);
    mm.munmap(UserAddr(at + PAGE), PAGE).expect("munmap");
    assert_eq!(protect(&mm, at, 3, ProtFlags::READ), Err(Errno::ENOMEM));
    assert_eq!(guest_write(&mm, at, 1, true), Err(SEGV_DENIED));
    guest_write(&mm, at + 2 * PAGE, 1, true).expect("behind the hole nothing changed");
    assert_eq!(protect(&mm, at + 1, 1, ProtFlags::READ), Err(Errno::EINVAL));
    assert_eq!(protect(&mm, at, 0, ProtFlags::READ), Ok(()));
    assert_eq!(protect(&mm, at, 1, ProtFlags::from_bits_retain(0x100)), Err(Errno::EINVAL));
}

#[test]
fn reservations_cost_nothing_until_they_are_accessible() {
    let mm = new_mm();
    let at = anonymous(&mm, 1 << 24, Prot::empty());
    assert_eq!(mm.memory.allocated_bytes(), 0);
    assert_eq!(guest_read(&mm, at, false), Err(SEGV_DENIED));
    protect(&mm, at + 16 * PAGE, 4, ProtFlags::READ | ProtFlags::WRITE).expect("mprotect");
    guest_write(&mm, at + 17 * PAGE, 1, false).expect("write");
    assert_eq!(guest_write(&mm, at + 20 * PAGE, 1, false), Err(SEGV_DENIED));
    drop(mm);
}

#[test]
fn everything_is_given_back() {
    let platform = space::platform();
    let mm = MemoryManager::new(&platform).expect("address space");
    let at = anonymous(&mm, 100, RW);
    guest_write(&mm, at, 1, true).expect("write");
    let child = mm.fork(crate::mm::Threads::One).expect("fork");
    guest_write(&child, at, 2, true).expect("write");
    drop(mm);
    guest_write(&child, at + 50 * PAGE, 2, true).expect("write");
    drop(child);
    assert_eq!(platform.memory().allocated_bytes(), 0);
    platform.memory().trim();
    assert_eq!(platform.memory().resident_bytes(), 0);
}

#[test]
fn fork_shares_until_somebody_writes() {
    for known in [false, true] {
        let mm = new_mm();
        let at = anonymous(&mm, 64, RW);
        for page in 0..64 {
            guest_write(&mm, at + page * PAGE, page as u8, known).expect("write");
        }
        let child = mm.fork(crate::mm::Threads::One).expect("fork");
        guest_write(&child, at + 20 * PAGE, 99, known).expect("write");
        guest_write(&mm, at + 40 * PAGE, 98, known).expect("write");
        child.copy_out(UserAddr(at), &[77]).expect("the kernel's writes copy too");
        assert_eq!(guest_read(&mm, at, known), Ok(0));
        assert_eq!(guest_read(&mm, at + 20 * PAGE, known), Ok(20));
        assert_eq!(guest_read(&child, at + 40 * PAGE, known), Ok(40));
        assert_eq!(guest_read(&child, at + 20 * PAGE, known), Ok(99));
        drop(child);
        // Ownership comes back without a copy, for all of a run at once.
        let calls = mock(&mm).calls();
        guest_write(&mm, at + PAGE, 1, known).expect("write");
        guest_write(&mm, at + 30 * PAGE, 1, known).expect("write");
        assert!(mock(&mm).calls() <= calls + 2);
        for page in 2..30 {
            assert_eq!(guest_read(&mm, at + page * PAGE, known), Ok(page as u8));
        }
    }
}

#[test]
fn the_first_fork_copies_what_is_likely_to_be_written() {
    let mm = new_mm();
    let data = anonymous(&mm, 2, RW);
    let large = anonymous(&mm, 40, RW);
    // Apart from it.
    protect(&mm, large + 39 * PAGE, 1, ProtFlags::READ).expect("mprotect");
    guest_write(&mm, data, 7, false).expect("write");
    let child = mm.fork(crate::mm::Threads::One).expect("fork");
    let calls = (mock(&mm).calls(), mock(&child).calls());
    guest_write(&mm, data, 8, false).expect("write");
    guest_write(&child, data, 9, false).expect("write");
    assert_eq!((mock(&mm).calls(), mock(&child).calls()), calls);
    assert_eq!((guest_read(&mm, data, false), guest_read(&child, data, false)), (Ok(8), Ok(9)));
    // What one of the family had to copy, a child of its child has from the start.
    guest_write(&child, large + 20 * PAGE, 9, false).expect("write");
    let grandchild = child.fork(crate::mm::Threads::One).expect("fork");
    let calls = (mock(&child).calls(), mock(&grandchild).calls());
    guest_write(&child, large + 20 * PAGE, 8, false).expect("write");
    guest_write(&grandchild, large + 20 * PAGE, 7, false).expect("write");
    assert_eq!((mock(&child).calls(), mock(&grandchild).calls()), calls);
    assert_eq!(guest_read(&child, large + 20 * PAGE, false), Ok(8));
    // Several threads: everything is shared until it is written.
    let child = mm.fork(crate::mm::Threads::Several).expect("fork");
    let calls = mock(&child).calls();
    guest_write(&child, data, 1, false).expect("write");
    assert!(mock(&child).calls() > calls);
}

#[test]
fn private_file_pages_are_copied_when_written() {
    let mm = new_mm();
    let file = TestFile::new(40);
    let at = map_file(&mm, &file, 42, Prot::READ, MapFlags::PRIVATE);
    assert_eq!(guest_read(&mm, at + 3 * PAGE, false), Ok(4));
    assert_eq!(guest_write(&mm, at, 1, false), Err(SEGV_DENIED));
    protect(&mm, at, 42, ProtFlags::READ | ProtFlags::WRITE).expect("mprotect");
    guest_write(&mm, at + 39 * PAGE, 200, false).expect("write to the last page");
    assert_eq!(guest_write(&mm, at + 40 * PAGE, 1, false), Err(BUS));
    assert_eq!(guest_read(&mm, at + 41 * PAGE, false), Err(BUS));
    assert_eq!(mm.copy_in(UserAddr(at + 40 * PAGE), &mut [0]), Err(Errno::EFAULT));
    let mut byte = [0];
    file.host.read(39 * PAGE, &mut byte).expect("read");
    assert_eq!(byte, [40], "the file itself is as before");
    assert_eq!(guest_read(&mm, at + 39 * PAGE, false), Ok(200));
}

#[test]
fn the_more_of_a_file_mapping_is_written_the_more_is_copied_at_once() {
    let mm = new_mm();
    let file = TestFile::new(200);
    // Windows are aligned, so the mapping is.
    let at = anonymous(&mm, 1024, RW).next_multiple_of(512 * PAGE);
    let backing = MapBacking::File {
        file: Arc::clone(&file) as Arc<dyn crate::mm::Mappable>,
        offset: 0,
        max_prot: Prot::all(),
        name: MapName::None,
    };
    let fixed = request(200 * PAGE, RW, MapFlags::PRIVATE | MapFlags::FIXED);
    mm.mmap(MapRequest { addr: UserAddr(at), backing, ..fixed }).expect("mmap");
    let calls = mock(&mm).calls();
    // Not in order, one write for each window of the least size.
    for window in (0..12).map(|i| i * 5 % 12) {
        guest_write(&mm, at + (window * 16 + 3) * PAGE, 250, false).expect("write");
    }
    assert!(mock(&mm).calls() - calls <= 7, "{} calls", mock(&mm).calls() - calls);
    for page in 0..200 {
        let expected = if page < 192 && page % 16 == 3 { 250 } else { page as u8 + 1 };
        assert_eq!(guest_read(&mm, at + page * PAGE, false), Ok(expected), "{page}");
    }
    // Another mapping begins anew: what is copied for one write is not much.
    let other = map_file(&mm, &file, 200, RW, MapFlags::PRIVATE);
    let before = mm.rss().anonymous;
    guest_write(&mm, other + 100 * PAGE, 1, false).expect("write");
    assert!(mm.rss().anonymous - before <= 16 * PAGE);
}

#[test]
fn small_writable_file_mappings_are_copied_at_once() {
    let mm = new_mm();
    let file = TestFile::new(4);
    let calls = mock(&mm).calls();
    let at = map_file(&mm, &file, 4, RW, MapFlags::PRIVATE);
    guest_write(&mm, at, 9, false).expect("write");
    assert_eq!(guest_read(&mm, at + PAGE, false), Ok(2));
    assert_eq!(mock(&mm).calls(), calls + 1);
    // With a page behind the end of the file the host decides.
    let at = map_file(&mm, &file, 5, RW, MapFlags::PRIVATE);
    guest_write(&mm, at + 3 * PAGE, 9, false).expect("write");
    assert_eq!(guest_read(&mm, at + 4 * PAGE, false), Err(BUS));
}

#[test]
fn private_pages_follow_a_file_that_may_change_until_they_are_written() {
    let mm = new_mm();
    let file = TestFile::with(4, true);
    let at = map_file(&mm, &file, 4, RW, MapFlags::PRIVATE);
    guest_write(&mm, at, 9, false).expect("write");
    file.host.write(PAGE, &[77]).expect("write");
    file.host.write(1, &[77]).expect("write");
    assert_eq!((guest_read(&mm, at + 1, false), guest_read(&mm, at + PAGE, false)), (Ok(1), Ok(77)));
}

#[test]
fn shared_file_pages_are_the_file() {
    let mm = new_mm();
    let file = TestFile::new(4);
    let at = map_file(&mm, &file, 4, RW, MapFlags::SHARED);
    let child = mm.fork(crate::mm::Threads::One).expect("fork");
    guest_write(&child, at, 50, false).expect("write");
    assert_eq!(guest_read(&mm, at, false), Ok(50));
    let mut byte = [0];
    file.host.read(0, &mut byte).expect("read");
    assert_eq!(byte, [50]);
}

#[test]
fn shared_anonymous_memory_is_seen_by_children() {
    let mm = new_mm();
    let at = mm.mmap(request(3 * PAGE, RW, MapFlags::SHARED | MapFlags::ANONYMOUS)).expect("mmap").0;
    let child = mm.fork(crate::mm::Threads::One).expect("fork");
    guest_write(&child, at + PAGE, 4, false).expect("write");
    assert_eq!(guest_read(&mm, at + PAGE, false), Ok(4));
    assert_eq!(mm.compare_exchange_u32(UserAddr(at + PAGE), 4, 6), Ok(Ok(4)));
    assert_eq!(child.load_u32(UserAddr(at + PAGE)), Ok(6));
    assert_eq!(child.compare_exchange_u32(UserAddr(at + PAGE), 4, 7), Ok(Err(6)));
}

#[test]
fn stacks_grow_down_to_their_limit() {
    let mm = new_mm();
    mm.set_stack_limit(64 * PAGE);
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::GROWSDOWN | MapFlags::FIXED;
    let top = 0x7000_0000_0000;
    let first = MapRequest { addr: UserAddr(top - 4 * PAGE), ..request(4 * PAGE, RW, flags) };
    mm.mmap(first).expect("mmap");
    guest_write(&mm, top - 5 * PAGE, 1, false).expect("grows");
    guest_write(&mm, top - 64 * PAGE, 1, false).expect("grows to the limit");
    assert_eq!(guest_write(&mm, top - 64 * PAGE - 1, 1, false), Err(SEGV_UNMAPPED));
    assert_eq!(mm.usage().stack, 64 * PAGE);
    // A neighbour keeps its distance.
    mm.set_stack_limit(u64::MAX);
    let fixed = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
    let below = top - 64 * PAGE - STACK_GUARD_GAP - 4 * PAGE;
    mm.mmap(MapRequest { addr: UserAddr(below), ..request(PAGE, RW, fixed) }).expect("mmap");
    mm.copy_out(UserAddr(top - 66 * PAGE), &[1]).expect("the kernel's copies grow it too");
    assert_eq!(guest_write(&mm, top - 68 * PAGE, 1, false), Err(SEGV_UNMAPPED));
}

#[test]
fn the_heap_grows_and_shrinks() {
    let mm = new_mm();
    let base = 0x5555_0000_0000;
    mm.update_layout(|layout| (layout.start_brk, layout.brk) = (base, base));
    let unlimited = MmLimits::UNLIMITED;
    assert_eq!(mm.brk(UserAddr::NULL, &unlimited), UserAddr(base));
    for step in 1..50 {
        let end = UserAddr(base + step * 33 * PAGE + 10);
        assert_eq!(mm.brk(end, &unlimited), end);
        guest_write(&mm, end.0 - 1, 1, false).expect("write");
    }
    assert_eq!(host_mappings(&mm), 1);
    let limited = MmLimits { data: 100 * PAGE, ..unlimited };
    let end = UserAddr(base + 49 * 33 * PAGE + 10);
    assert_eq!(mm.brk(UserAddr(end.0 + PAGE), &limited), end);
    assert_eq!(mm.brk(UserAddr(base + 100), &limited), UserAddr(base + 100));
    assert_eq!(guest_write(&mm, base + PAGE, 1, false), Err(SEGV_UNMAPPED));
    assert_eq!(mm.brk(UserAddr(base - 1), &unlimited), UserAddr(base + 100));
}

#[test]
fn neighbours_in_memory_share_a_host_mapping() {
    let mm = new_mm();
    let first = anonymous(&mm, 10, RW);
    for step in 1..100 {
        assert_eq!(anonymous(&mm, 10, RW), first - step * 10 * PAGE, "top down");
    }
    assert_eq!(host_mappings(&mm), 1);
    let child = mm.fork(crate::mm::Threads::One).expect("fork");
    // Scattered copies end as one mapping when they meet.
    for page in (0..1000).step_by(48).chain((0..1000).step_by(16)).chain([999]) {
        guest_write(&child, first - 990 * PAGE + page * PAGE, 1, true).expect("write");
    }
    // One, or two where a chunk of the memory file ended.
    assert!(host_mappings(&child) <= 2, "{}", host_mappings(&child));
}

#[test]
fn placement_follows_the_rules() {
    let mm = new_mm();
    let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    let map = |addr: u64, len: u64, flags: MapFlags| {
        mm.mmap(MapRequest { addr: UserAddr(addr), ..request(len, RW, private | flags) }).map(|at| at.0)
    };
    assert_eq!(map(0x10_0000, PAGE, MapFlags::empty()), Ok(0x10_0000));
    assert_ne!(map(0x10_0000, PAGE, MapFlags::empty()), Ok(0x10_0000));
    assert_eq!(map(0x10_0000, PAGE, MapFlags::FIXED), Ok(0x10_0000));
    assert_eq!(map(0x10_0000, PAGE, MapFlags::FIXED_NOREPLACE), Err(Errno::EEXIST));
    assert_eq!(map(0x10_1000, PAGE, MapFlags::FIXED_NOREPLACE), Ok(0x10_1000));
    assert_eq!(map(1, PAGE, MapFlags::empty()), Ok(MMAP_MIN_ADDR));
    assert_eq!(map(0x1001, PAGE, MapFlags::FIXED), Err(Errno::EINVAL));
    assert_eq!(map(0x1000, PAGE, MapFlags::FIXED), Err(Errno::EPERM));
    assert_eq!(map(0, 0, MapFlags::empty()), Err(Errno::EINVAL));
    assert_eq!(map(0, u64::MAX, MapFlags::empty()), Err(Errno::ENOMEM));
    assert_eq!(map(TASK_SIZE, PAGE, MapFlags::FIXED), Err(Errno::ENOMEM));
    let low = map(0, PAGE, MapFlags::ADDR_32BIT).expect("mmap");
    assert_eq!(low, 0x4000_0000);
    // The highest hole that is large enough.
    let a = map(0, 8 * PAGE, MapFlags::empty()).expect("mmap");
    mm.munmap(UserAddr(a + 2 * PAGE), 4 * PAGE).expect("munmap");
    assert_eq!(map(0, 2 * PAGE, MapFlags::empty()), Ok(a + 4 * PAGE));
    assert_eq!(map(0, 3 * PAGE, MapFlags::empty()), Ok(a - 3 * PAGE));
}

#[test]
fn limits_are_checked() {
    let mm = new_mm();
    let private = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    let map = |len: u64, prot: Prot, limits: MmLimits| {
        mm.mmap(MapRequest { limits, ..request(len, prot, private) }).map(drop)
    };
    let unlimited = MmLimits::UNLIMITED;
    let small = MmLimits { address_space: 10 * PAGE, ..unlimited };
    assert_eq!(map(11 * PAGE, RW, small), Err(Errno::ENOMEM));
    assert_eq!(map(10 * PAGE, RW, small), Ok(()));
    assert_eq!(map(PAGE, RW, small), Err(Errno::ENOMEM));
    let little_data = MmLimits { data: 12 * PAGE, ..unlimited };
    assert_eq!(map(3 * PAGE, RW, little_data), Err(Errno::ENOMEM));
    assert_eq!(map(3 * PAGE, Prot::READ, little_data), Ok(()));
    let locked = |limits: MmLimits| {
        mm.mmap(MapRequest { limits, ..request(4 * PAGE, RW, private | MapFlags::LOCKED) }).map(drop)
    };
    assert_eq!(locked(MmLimits { memlock: 0, may_lock: false, ..unlimited }), Err(Errno::EPERM));
    assert_eq!(locked(MmLimits { memlock: PAGE, may_lock: false, ..unlimited }), Err(Errno::EAGAIN));
    assert_eq!(locked(MmLimits { memlock: 4 * PAGE, may_lock: false, ..unlimited }), Ok(()));
    assert_eq!(mm.usage().locked, 4 * PAGE);
}

#[test]
fn a_host_that_refuses_leaves_things_as_they_were() {
    let mm = new_mm();
    let at = anonymous(&mm, 4, RW);
    guest_write(&mm, at, 3, true).expect("write");
    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS;
    mock(&mm).refuse(1);
    assert_eq!(mm.mmap(request(PAGE, RW, flags)), Err(Errno::ENOMEM));
    mock(&mm).refuse(1);
    let over = MapRequest { addr: UserAddr(at), ..request(PAGE, RW, flags | MapFlags::FIXED) };
    assert_eq!(mm.mmap(over), Err(Errno::ENOMEM));
    assert_eq!(guest_read(&mm, at, true), Err(SEGV_UNMAPPED));
    assert_eq!(mm.usage().total, 3 * PAGE);
}

#[test]
fn scattered_writes_after_a_fork_stay_below_the_hosts_limit() {
    let mm = new_mm();
    let pages = 1 << 20;
    let at = anonymous(&mm, pages, RW);
    let child = mm.fork(crate::mm::Threads::One).expect("fork");
    let mut page = 1;
    for _ in 0..6000 {
        // A walk that visits pages in no order.
        page = page * 5 % 1_048_573;
        guest_write(&mm, at + page * PAGE, 1, true).expect("write");
    }
    assert!(host_mappings(&mm) < 10_000, "{}", host_mappings(&mm));
    drop(child);
}

#[test]
fn pages_that_the_host_still_shows_are_given_back_later() {
    let platform = space::platform();
    let memory = Arc::clone(platform.memory());
    let before = memory.allocated_bytes();
    let mm = MemoryManager::new(&platform).expect("address space");
    let at = anonymous(&mm, 4, RW);
    mm.copy_out(UserAddr(at), &[1; 4 * PAGE as usize]).expect("write");
    let thread = Arc::clone(mm.space());
    space::mock(&mm).refuse(1);
    drop(mm);
    assert!(memory.allocated_bytes() > before, "a thread may still see them");
    drop(thread);
    drop(MemoryManager::new(&platform).expect("address space"));
    assert_eq!(memory.allocated_bytes(), before);
}
