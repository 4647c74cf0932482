//! Cost of the memory manager's hot paths: `cargo bench -p sentry --bench guest_memory`. Prints nanoseconds, checks nothing.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use abi::mman::MapFlags;
use platform::mock::MockPlatform;
use platform::{Access, Platform, Prot};
use sentry::mm::{MapBacking, MapRequest, MemoryManager, MmLimits, PAGE, UserAddr, UserRef};

const RW: Prot = Prot::READ.union(Prot::WRITE);

fn map(mm: &MemoryManager, pages: u64, prot: Prot) -> u64 {
    let request = MapRequest {
        addr: UserAddr::NULL,
        len: pages * PAGE,
        prot,
        flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS,
        backing: MapBacking::Anonymous,
        limits: MmLimits::UNLIMITED,
    };
    mm.mmap(request).expect("mmap").0
}

fn time(what: &str, count: u64, mut step: impl FnMut(u64)) {
    for i in 0..count / 10 {
        step(i);
    }
    let start = Instant::now();
    for i in 0..count {
        step(i);
    }
    println!("{what:<50} {:>9.1} ns", start.elapsed().as_nanos() as f64 / count as f64);
}

fn main() {
    let platform: Arc<dyn Platform> = Arc::new(MockPlatform::new());
    for mappings in [4, 100, 3000] {
        let mm = MemoryManager::new(&platform).expect("address space");
        let areas: Vec<u64> =
            (0..mappings).map(|i| map(&mm, 4, if i % 2 == 0 { RW } else { Prot::READ })).step_by(2).collect();
        let at = areas[areas.len() / 2];
        println!("{mappings} mappings");
        let mut small = [0u8; 16];
        time("  copy_in 16 bytes", 2_000_000, |_| {
            mm.copy_in(UserAddr(at), black_box(&mut small)).expect("in")
        });
        time("  copy_out 16 bytes", 2_000_000, |_| {
            mm.copy_out(UserAddr(at), black_box(&small)).expect("out")
        });
        time("  copy_in 16 bytes, 8 places in turn", 2_000_000, |i| {
            let at = areas[(i as usize * 7) % areas.len().min(8)];
            mm.copy_in(UserAddr(at), black_box(&mut small)).expect("in");
        });
        time("  read_obj of 8 bytes", 2_000_000, |_| {
            black_box(mm.read_obj(UserRef::<u64>::new(UserAddr(at))).expect("in"));
        });
        let mut page = [0u8; 4096];
        time("  copy_in a page", 500_000, |_| mm.copy_in(UserAddr(at), black_box(&mut page)).expect("in"));
        time("  copy_out a page", 500_000, |_| mm.copy_out(UserAddr(at), black_box(&page)).expect("out"));
        mm.copy_out(UserAddr(at), b"/usr/lib/x86_64-linux-gnu/libc.so.6\0").expect("out");
        time("  copy_in_cstr of 35 bytes", 1_000_000, |_| {
            black_box(mm.copy_in_cstr(UserAddr(at), 4096).expect("string"));
        });
        time("  load_u32", 2_000_000, |_| {
            black_box(mm.load_u32(UserAddr(at)).expect("word"));
        });
        time("  mmap and munmap of 16 pages", 50_000, |_| {
            let at = map(&mm, 16, RW);
            mm.munmap(UserAddr(at), 16 * PAGE).expect("munmap");
        });
        time("  fork and drop", 2_000, |_| drop(mm.fork(sentry::mm::Threads::One).expect("fork")));
        time("  fork, one copy on write, drop", 2_000, |_| {
            let child = mm.fork(sentry::mm::Threads::One).expect("fork");
            child.handle_fault(at, Access::Write, 11, 2).expect("fault");
        });
        time("  ownership taken back after a fork", 2_000, |_| {
            drop(mm.fork(sentry::mm::Threads::One).expect("fork"));
            mm.handle_fault(at, Access::Write, 11, 2).expect("fault");
        });
    }
}
