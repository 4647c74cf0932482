//! What guest code sees at which address.

use std::sync::Arc;

use super::guest::{CODE, DATA, DATA_PAGES, Guest, load, run_to_call, start, store};
use crate::{Backing, HostFile, PAGE_SIZE, Platform, Prot, Registers, Trap};

pub(crate) fn mapping_shows_the_memory_file(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, store());
    let mut context = guest.context();
    let mut regs = Registers { rdi: DATA + 0x108, rsi: 0x1122_3344_5566_7788, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!(guest.word(0x108), 0x1122_3344_5566_7788, "the Sentry sees what the guest wrote");
    platform.memory().write(guest.code.offset, load()).expect("write");
    guest.set_word(0x108, 99);
    regs = Registers { rdi: DATA + 0x108, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!(regs.rbx, 99, "the guest sees what the Sentry wrote");
}

/// What a load at `address` gives: the word, or `None` for a fault.
fn peek(guest: &Guest, context: &mut dyn crate::Context, address: u64) -> Option<u64> {
    let mut regs = Registers { rdi: address, ..start() };
    match context.run(&guest.space, &mut regs).expect("run") {
        Trap::Syscall => Some(regs.rbx),
        Trap::Fault { .. } => None,
        trap => panic!("unexpected {trap:?}"),
    }
}

pub(crate) fn changes_take_effect(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, load());
    let memory = platform.memory();
    let mut context = guest.context();
    for page in 0..DATA_PAGES {
        guest.set_word(page * PAGE_SIZE, page + 1);
    }
    assert_eq!(peek(&guest, &mut *context, DATA + PAGE_SIZE), Some(2));
    guest.space.unmap(DATA + PAGE_SIZE, PAGE_SIZE).expect("unmap");
    assert_eq!(peek(&guest, &mut *context, DATA + PAGE_SIZE), None);
    assert_eq!(peek(&guest, &mut *context, DATA), Some(1));
    guest.space.unmap(DATA + PAGE_SIZE, PAGE_SIZE).expect("unmap of nothing");
    // The same page at two places, one in the place of another.
    let backing = Backing::Memory(guest.data.offset + 3 * PAGE_SIZE);
    guest.space.map(DATA, PAGE_SIZE, Prot::READ, backing).expect("map");
    guest.space.map(0x1000_0000_0000, PAGE_SIZE, Prot::READ, backing).expect("map");
    assert_eq!(peek(&guest, &mut *context, DATA), Some(4));
    assert_eq!(peek(&guest, &mut *context, 0x1000_0000_0000), Some(4));
    guest.space.protect(DATA, PAGE_SIZE, Prot::empty()).expect("protect");
    assert_eq!(peek(&guest, &mut *context, DATA), None);
    guest.space.protect(DATA, PAGE_SIZE, Prot::READ).expect("protect");
    assert_eq!(peek(&guest, &mut *context, DATA), Some(4));
    // A run of memory that nobody has touched costs nothing and reads as zero.
    let large = memory.allocate(1 << 40).expect("allocate");
    let at = 0x2000_0000_0000;
    guest.space.map(at, large.len, Prot::READ | Prot::WRITE, Backing::Memory(large.offset)).expect("map");
    assert_eq!(peek(&guest, &mut *context, at + (1 << 39)), Some(0));
    guest.space.unmap(at, large.len).expect("unmap");
    assert_eq!(peek(&guest, &mut *context, at), None);
}

/// What an exec's loader does: a space is filled before anything runs there.
pub(crate) fn many_mappings_before_the_first_run(platform: &Arc<dyn Platform>) {
    const BASE: u64 = 0x7000_0000;
    let guest = Guest::new(platform, load());
    let memory = platform.memory();
    let pages = memory.allocate(40 * PAGE_SIZE).expect("allocate");
    let files: Vec<Arc<HostFile>> = (0..2)
        .map(|i: u64| {
            let file = tempfile::tempfile().expect("file");
            file.set_len(40 * PAGE_SIZE).expect("set_len");
            let file = Arc::new(HostFile::new(file.into(), true));
            for page in 0..40 {
                file.write(page * PAGE_SIZE, &(1000 * (i + 1) + page).to_le_bytes()).expect("write");
            }
            file
        })
        .collect();
    for page in 0..40 {
        memory.write(pages.offset + page * PAGE_SIZE, &page.to_le_bytes()).expect("write");
    }
    // Neighbours that continue each other and such that don't, protections in turn, files in turn.
    let mut expected = Vec::new();
    for page in 0..40u64 {
        let at = BASE + page * PAGE_SIZE;
        let prot = if page % 3 == 0 { Prot::READ | Prot::WRITE } else { Prot::READ };
        let source = if page % 5 == 4 { 39 - page } else { page };
        let (backing, value) = match page / 4 % 3 {
            0 => (Backing::Memory(pages.offset + source * PAGE_SIZE), source),
            1 => (Backing::File(&files[0], source * PAGE_SIZE), 1000 + source),
            _ => (Backing::File(&files[1], source * PAGE_SIZE), 2000 + source),
        };
        guest.space.map(at, PAGE_SIZE, prot, backing).expect("map");
        expected.push((at, Some(value)));
    }
    for page in [3, 17, 18] {
        guest.space.unmap(BASE + page * PAGE_SIZE, PAGE_SIZE).expect("unmap");
        expected[page as usize].1 = None;
    }
    guest.space.protect(BASE + 20 * PAGE_SIZE, 3 * PAGE_SIZE, Prot::empty()).expect("protect");
    expected[20..23].iter_mut().for_each(|e| e.1 = None);
    drop(files);
    let mut context = guest.context();
    for (at, value) in expected {
        assert_eq!(peek(&guest, &mut *context, at), value, "{at:x}");
    }
}

pub(crate) fn protection_skips_holes(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, load());
    let mut context = guest.context();
    // Once before the space has run, once after.
    for round in 0..2 {
        guest.space.unmap(DATA + PAGE_SIZE, PAGE_SIZE).expect("unmap");
        guest.space.protect(DATA - PAGE_SIZE, 6 * PAGE_SIZE, Prot::empty()).expect("protect");
        for page in 0..4 {
            assert_eq!(peek(&guest, &mut *context, DATA + page * PAGE_SIZE), None, "round {round}");
        }
        guest.space.protect(DATA, 4 * PAGE_SIZE, Prot::READ).expect("protect");
        for page in 0..4 {
            let seen = peek(&guest, &mut *context, DATA + page * PAGE_SIZE);
            assert_eq!(seen.is_some(), page != 1, "round {round}");
        }
    }
}

pub(crate) fn several_parts_are_protected_at_once(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, load());
    let mut context = guest.context();
    let part = |page: u64| DATA + page * PAGE_SIZE..DATA + (page + 1) * PAGE_SIZE;
    // Once before the space has run, once after.
    for round in 0..2 {
        let away = [(part(0), Prot::empty()), (part(2), Prot::READ), (part(3), Prot::empty())];
        guest.space.protect_all(&away).expect("protect");
        let seen = [0, 1, 2, 3].map(|page| peek(&guest, &mut *context, DATA + page * PAGE_SIZE).is_some());
        assert_eq!(seen, [false, true, true, false], "round {round}");
        // With a hole, and nothing at all.
        guest.space.unmap(DATA + PAGE_SIZE, PAGE_SIZE).expect("unmap");
        let back = [(part(0), Prot::READ), (part(1), Prot::READ), (part(3), Prot::READ)];
        guest.space.protect_all(&back).expect("protect");
        guest.space.protect_all(&[]).expect("protect");
        let seen = [0, 1, 2, 3].map(|page| peek(&guest, &mut *context, DATA + page * PAGE_SIZE).is_some());
        assert_eq!(seen, [true, false, true, true], "round {round}");
        let backing = Backing::Memory(guest.data.offset + PAGE_SIZE);
        guest.space.map(DATA + PAGE_SIZE, PAGE_SIZE, Prot::READ, backing).expect("map");
    }
    let outside = [(part(0), Prot::empty()), (0..PAGE_SIZE, Prot::READ)];
    assert!(guest.space.protect_all(&outside).is_err());
}

pub(crate) fn pages_that_are_there_are_shown(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, load());
    let mut context = guest.context();
    assert_eq!(peek(&guest, &mut *context, DATA), Some(0));
    let pages = platform.memory().allocate(200 * PAGE_SIZE).expect("allocate");
    for page in 0..200 {
        platform.memory().write(pages.offset + page * PAGE_SIZE, &(page + 1).to_le_bytes()).expect("write");
    }
    for len in [1, 100, 200] {
        let backing = Backing::Memory(pages.offset);
        guest.space.map_present(DATA, len * PAGE_SIZE, Prot::READ, backing).expect("map");
        for page in [0, len - 1] {
            assert_eq!(peek(&guest, &mut *context, DATA + page * PAGE_SIZE), Some(page + 1));
        }
    }
}

/// What a loader of libraries does while its program runs: all of a file, other parts of it over that, memory over its end.
pub(crate) fn long_file_mappings_change_before_they_are_touched(platform: &Arc<dyn Platform>) {
    const PAGES: u64 = 64;
    const AT: u64 = 0x7000_0000;
    let guest = Guest::new(platform, load());
    let mut context = guest.context();
    let file = tempfile::tempfile().expect("file");
    file.set_len(PAGES * PAGE_SIZE).expect("set_len");
    let file = Arc::new(HostFile::new(file.into(), true));
    for page in 0..PAGES {
        file.write(page * PAGE_SIZE, &(page + 100).to_le_bytes()).expect("write");
    }
    guest.set_word(0, 7);
    assert_eq!(peek(&guest, &mut *context, DATA), Some(7));
    let mut touched = |page: u64| peek(&guest, &mut *context, AT + page * PAGE_SIZE);
    let map = |page: u64, pages: u64, from: u64| {
        let backing = Backing::File(&file, from * PAGE_SIZE);
        guest.space.map(AT + page * PAGE_SIZE, pages * PAGE_SIZE, Prot::READ, backing).expect("map");
    };
    let unmap = |page: u64, pages: u64| {
        guest.space.unmap(AT + page * PAGE_SIZE, pages * PAGE_SIZE).expect("unmap");
    };
    // Gone before anybody has looked.
    map(0, PAGES, 0);
    unmap(0, PAGES);
    assert_eq!(touched(3), None);
    map(0, PAGES, 0);
    map(8, 20, 30);
    unmap(40, 8);
    guest.space.protect(AT + 50 * PAGE_SIZE, 4 * PAGE_SIZE, Prot::empty()).expect("protect");
    assert_eq!(
        [0, 8, 27, 28, 41, 50, 54, 63].map(&mut touched),
        [Some(100), Some(130), Some(149), Some(128), None, None, Some(154), Some(163)]
    );
    // Over what is shown, next to it, and memory over what waits.
    map(0, PAGES, 1);
    map(PAGES, PAGES, 0);
    let backing = Backing::Memory(guest.data.offset);
    guest.space.map(AT + 100 * PAGE_SIZE, PAGE_SIZE, Prot::READ, backing).expect("map");
    assert_eq!(
        [0, 41, 64, 100, 101, 127].map(&mut touched),
        [Some(101), Some(142), Some(100), Some(7), Some(137), Some(163)]
    );
    // A part that waits goes, with a part that is shown; a child has what its parent has not touched.
    map(128, 32, 0);
    unmap(120, 16);
    let child = guest.space.fork().expect("fork");
    assert_eq!([119, 127, 135, 136, 159].map(&mut touched), [Some(155), None, None, Some(108), Some(131)]);
    let mut regs = Registers { rdi: AT + 136 * PAGE_SIZE, ..start() };
    assert_eq!(guest.context().run(&child, &mut regs).expect("run"), Trap::Syscall);
    assert_eq!(regs.rbx, 108);
}

pub(crate) fn host_files_are_shown(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, load());
    let mut context = guest.context();
    let file = tempfile::tempfile().expect("file");
    file.set_len(3 * PAGE_SIZE).expect("set_len");
    let file = Arc::new(HostFile::new(file.into(), true));
    file.write(PAGE_SIZE + 8, &55u64.to_le_bytes()).expect("write");
    guest.space.map(DATA, PAGE_SIZE, Prot::READ, Backing::File(&file, PAGE_SIZE)).expect("map");
    assert_eq!(peek(&guest, &mut *context, DATA + 8), Some(55));
    // The mapping keeps the file, not the fd.
    drop(file);
    assert_eq!(peek(&guest, &mut *context, DATA + 8), Some(55));
}

pub(crate) fn bad_ranges_are_refused(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, load());
    let user = platform.user_range();
    let backing = Backing::Memory(guest.data.offset);
    let mut context = guest.context();
    for _ in 0..2 {
        for (addr, len) in [
            (DATA + 1, PAGE_SIZE),
            (DATA, 100),
            (DATA, 0),
            (0, PAGE_SIZE),
            (user.end - PAGE_SIZE, 2 * PAGE_SIZE),
            (user.end, PAGE_SIZE),
            (u64::MAX - 4095, PAGE_SIZE),
            (DATA, u64::MAX - 4095),
        ] {
            assert!(guest.space.map(addr, len, Prot::READ, backing).is_err(), "{addr:x} {len:x}");
            assert!(guest.space.unmap(addr, len).is_err(), "{addr:x} {len:x}");
            assert!(guest.space.protect(addr, len, Prot::READ).is_err(), "{addr:x} {len:x}");
        }
        assert_eq!(peek(&guest, &mut *context, CODE + 8).map(|_| ()), Some(()));
    }
}

pub(crate) fn the_whole_user_range_is_usable(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, load());
    let user = platform.user_range();
    let mut context = guest.context();
    for at in [user.start, user.end - PAGE_SIZE] {
        let backing = Backing::Memory(guest.data.offset);
        guest.space.map(at, PAGE_SIZE, Prot::READ, backing).expect("map");
        assert_eq!(peek(&guest, &mut *context, at), Some(0));
    }
}
