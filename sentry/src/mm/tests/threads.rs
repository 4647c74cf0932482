//! Several threads in one address space.

use std::sync::atomic::{AtomicBool, Ordering};

use abi::mman::{MADV_DONTNEED, ProtFlags};

use super::space::{guest_read, guest_write};
use platform::Platform;

use super::*;

/// Threads that write disjoint bytes of the same pages, while another forks and drops children: no byte is lost.
fn write_while_another_thread_forks(platform: &Arc<dyn Platform>) {
    let real = platform.name() != "mock";
    let mm = MemoryManager::new(platform).expect("address space");
    let enter = || real.then(|| space::enter(platform));
    if real {
        space::put_code(&mm);
    }
    let at = anonymous(&mm, 64, RW);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (mm, stop) = (&mm, &stop);
            scope.spawn(move || {
                let _entered = enter();
                for round in 1..=100u8 {
                    for page in 0..64 {
                        let addr = at + page * PAGE + thread * 64;
                        if thread == 0 {
                            mm.copy_out(UserAddr(addr), &[round; 8]).expect("copy");
                        } else {
                            guest_write(mm, addr, round, thread == 1).expect("write");
                        }
                    }
                    for page in 0..64 {
                        let addr = at + page * PAGE + thread * 64;
                        assert_eq!(guest_read(mm, addr, true), Ok(round), "thread {thread}, page {page}");
                    }
                }
                stop.store(true, Ordering::Relaxed);
            });
        }
        scope.spawn(|| {
            let _entered = enter();
            while !stop.load(Ordering::Relaxed) {
                // As a guest that forks: the caller's context was here last.
                guest_read(&mm, at, true).expect("read");
                let child = mm.fork(crate::mm::Threads::Several).expect("fork");
                guest_write(&child, at, 255, true).expect("write");
            }
        });
    });
}

#[test]
fn no_write_is_lost_while_another_thread_forks() {
    write_while_another_thread_forks(&space::platform());
}

#[test]
fn no_write_is_lost_on_real_page_tables() {
    if let Some(platform) = space::real_platform() {
        write_while_another_thread_forks(&platform);
    }
}

/// A thread takes pages away and brings them back while others copy: each copy works or is EFAULT, and nothing panics.
#[test]
fn copies_race_with_changes_of_mappings() {
    let mm = new_mm();
    let at = anonymous(&mm, 16, RW);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut bytes = vec![0; 3 * PAGE as usize];
                while !stop.load(Ordering::Relaxed) {
                    let _ = mm.copy_in(UserAddr(at + 100), &mut bytes);
                    let _ = mm.copy_out(UserAddr(at + 5 * PAGE), &bytes);
                    let _ = mm.compare_exchange_u32(UserAddr(at + 8 * PAGE), 0, 1);
                    let mut pins = mm.pins(true);
                    pins.add(UserAddr(at), 16 * PAGE);
                }
            });
        }
        for round in 0..300 {
            let part = UserAddr(at + round % 13 * PAGE);
            match round % 4 {
                0 => mm.munmap(part, 3 * PAGE).expect("munmap"),
                1 => drop(mm.mprotect(part, 3 * PAGE, ProtFlags::READ, &MmLimits::UNLIMITED)),
                2 => drop(mm.madvise(part, 3 * PAGE, MADV_DONTNEED)),
                _ => {
                    let flags = MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED;
                    mm.mmap(MapRequest { addr: UserAddr(at), ..request(16 * PAGE, RW, flags) })
                        .expect("mmap");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    mm.unmap_all().expect("unmap");
    assert_eq!(mm.usage().total, 0);
}
