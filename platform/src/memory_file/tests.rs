use std::collections::HashMap;
use std::io::{Read, Seek, Write};

use super::*;

fn file() -> Arc<MemoryFile> {
    MemoryFile::new(None).expect("memory file")
}

const PAGE: u64 = PAGE_SIZE;

#[test]
fn fresh_pages_are_zero_and_hold_what_is_written() {
    let m = file();
    let f = m.allocate(4 * PAGE).expect("allocate");
    let mut bytes = vec![1u8; 3 * PAGE as usize];
    m.read(f.offset + 100, &mut bytes).expect("read");
    assert!(bytes.iter().all(|&b| b == 0));
    m.write(f.offset + PAGE - 3, b"across pages").expect("write");
    m.read(f.offset + PAGE - 3, &mut bytes[..12]).expect("read");
    assert_eq!(&bytes[..12], b"across pages");
    m.copy(f.offset, f.offset + 2 * PAGE, 2 * PAGE).expect("copy");
    m.read(f.offset + 3 * PAGE, &mut bytes[..9]).expect("read");
    assert_eq!(&bytes[..9], b"oss pages");
    m.zero(f.offset + 3 * PAGE, 3).expect("zero");
    m.read(f.offset + 3 * PAGE, &mut bytes[..4]).expect("read");
    assert_eq!(&bytes[..4], b"\0\0\0 ");
}

#[test]
fn fresh_pages_are_copied_to() {
    let m = file();
    let from = m.allocate(3 * PAGE).expect("allocate");
    m.write(from.offset + PAGE - 2, b"text").expect("write");
    let to = m.allocate(3 * PAGE).expect("allocate");
    m.copy_to_fresh(from.offset, to.offset, to.len).expect("copy");
    let mut bytes = [0; 6];
    m.read(to.offset + PAGE - 3, &mut bytes).expect("read");
    assert_eq!(&bytes, b"\0text\0");
    assert!(m.copy_to_fresh(from.offset, m.size() - PAGE, 2 * PAGE).is_err());
    let disk = tempfile::tempfile().expect("file");
    disk.set_len(PAGE + 10).expect("set_len");
    let disk = crate::HostFile::new(disk.into(), true);
    disk.write(PAGE, b"0123456789").expect("write");
    m.write_pieces(to.offset, &disk.pieces([(0, 2 * PAGE)]).expect("pieces").read_only()).expect("copy");
    m.read(to.offset + PAGE + 6, &mut bytes).expect("read");
    assert_eq!(&bytes, b"6789\0\0");
    let beyond = disk.pieces([(PAGE, 2 * PAGE)]).expect("pieces").read_only();
    assert!(m.write_pieces(to.offset, &beyond).is_err());
}

#[test]
fn words_are_atomic_and_aligned() {
    let m = file();
    let f = m.allocate(PAGE).expect("allocate");
    assert_eq!(m.compare_exchange_u32(f.offset + 8, 0, 7), Ok(Ok(0)));
    assert_eq!(m.compare_exchange_u32(f.offset + 8, 0, 9), Ok(Err(7)));
    assert_eq!(m.load_u32(f.offset + 8), Ok(7));
    assert_eq!(m.load_u32(f.offset + 9), Err(CopyFault));
}

#[test]
fn beyond_the_end_is_a_fault() {
    let m = file();
    assert_eq!(m.read(m.size() - 1, &mut [0; 2]), Err(CopyFault));
    assert_eq!(m.write(u64::MAX, &[0; 2]), Err(CopyFault));
    assert_eq!(m.zero(u64::MAX - 1, 5), Err(CopyFault));
    assert_eq!(m.load_u32(m.size()), Err(CopyFault));
    assert_eq!(m.allocate(m.size() + PAGE), Err(OutOfMemory));
    assert_eq!(m.allocate(0), Err(OutOfMemory));
    assert_eq!(m.allocate(5), Err(OutOfMemory));
}

#[test]
fn pages_go_back_to_the_host_with_the_last_reference() {
    let m = file();
    let f = m.allocate(8 * PAGE).expect("allocate");
    m.write(f.offset, &vec![1u8; 8 * PAGE as usize]).expect("write");
    assert_eq!((m.allocated_bytes(), m.resident_bytes()), (8 * PAGE, 8 * PAGE));
    let middle = Frames { offset: f.offset + 2 * PAGE, len: 3 * PAGE };
    m.incref(middle);
    assert_eq!(m.unique_prefix(f), (2 * PAGE, true));
    assert_eq!(m.unique_prefix(middle), (3 * PAGE, false));
    m.decref(f);
    m.trim();
    assert_eq!((m.allocated_bytes(), m.resident_bytes()), (3 * PAGE, 3 * PAGE));
    assert_eq!(m.unique_prefix(middle), (3 * PAGE, true));
    assert_eq!(m.resident(f), [false, false, true, true, true, false, false, false]);
    assert_eq!(m.resident_bytes_in(f), 3 * PAGE);
    m.decref(middle);
    m.trim();
    assert_eq!((m.allocated_bytes(), m.resident_bytes()), (0, 0));
    let again = m.allocate(8 * PAGE).expect("allocate");
    assert_eq!(again, f, "freed runs are joined and used again");
    let mut bytes = vec![1u8; 8 * PAGE as usize];
    m.read(again.offset, &mut bytes).expect("read");
    assert!(bytes.iter().all(|&b| b == 0));
}

#[test]
fn released_pages_read_as_zero() {
    let m = file();
    let f = m.allocate(2 * PAGE).expect("allocate");
    m.write(f.offset, b"abc").expect("write");
    m.zero_and_release(f);
    assert_eq!(m.resident_bytes(), 0);
    assert_eq!(m.load_u32(f.offset), Ok(0));
}

#[test]
fn large_runs_are_aligned_for_huge_pages() {
    let m = file();
    m.allocate(PAGE).expect("allocate");
    let large = m.allocate(3 * HUGE_PAGE_SIZE + PAGE).expect("allocate");
    assert_eq!(large.offset % HUGE_PAGE_SIZE, 0);
    let small = m.allocate(PAGE).expect("allocate");
    assert!(small.offset < large.offset, "what alignment skipped is used");
    m.allocate(1 << 40).expect("untouched memory costs nothing");
    assert_eq!(m.resident_bytes(), 0);
}

#[test]
fn the_limit_counts_touched_memory() {
    let m = MemoryFile::new(Some(1 << 20)).expect("memory file");
    m.allocate(1 << 40).expect("untouched memory does not count");
    let f = m.allocate(1 << 20).expect("allocate");
    m.write(f.offset, &vec![1u8; 1 << 20]).expect("write");
    assert_eq!(m.allocate(1 << 20), Err(OutOfMemory));
    m.decref(f);
    m.allocate(PAGE).expect("allocate");
}

#[test]
fn the_host_copies_straight_into_the_file() {
    let m = file();
    let f = m.allocate(2 * PAGE).expect("allocate");
    let mut disk = tempfile::tempfile().expect("file");
    disk.write_all(b"0123456789").expect("write");
    let mut pieces = m.pieces([(f.offset + 10, 4), (f.offset + PAGE, 100)]).expect("pieces");
    assert_eq!(host::io::preadv(&disk, &mut pieces, 0, 0).expect("preadv"), 10);
    let mut bytes = [0u8; 6];
    m.read(f.offset + PAGE, &mut bytes).expect("read");
    assert_eq!(&bytes, b"456789");
    let pieces = m.pieces([(f.offset + PAGE, 2), (f.offset + 10, 2)]).expect("pieces").read_only();
    disk.rewind().expect("rewind");
    assert_eq!(host::io::writev(&disk, &pieces).expect("writev"), 4);
    disk.rewind().expect("rewind");
    let mut text = String::new();
    disk.read_to_string(&mut text).expect("read");
    assert_eq!(text, "4501456789");
    assert!(m.pieces([(m.size(), 1)]).is_err());
}

/// Random operations against a page-by-page model.
#[test]
fn counts_agree_with_a_model() {
    let m = file();
    let mut model: HashMap<u64, u32> = HashMap::new();
    let mut held: Vec<Frames> = Vec::new();
    let mut seed = 12345u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    for _ in 0..4000 {
        match random(5) {
            0 | 1 if held.len() < 200 => {
                let len = (1 + random(20)) * PAGE;
                let large = if random(3) == 0 { m.allocate_large(len, 7 * PAGE) } else { None };
                let f = large.unwrap_or_else(|| m.allocate(len).expect("allocate"));
                for page in 0..f.len / PAGE {
                    assert_eq!(model.insert(f.offset + page * PAGE, 1), None, "given out twice");
                }
                held.push(f);
            }
            2 | 3 if !held.is_empty() => {
                let f = held.swap_remove(random(held.len() as u64) as usize);
                let cut = random(f.len / PAGE + 1) * PAGE;
                let (gone, kept) = (
                    Frames { offset: f.offset, len: cut },
                    Frames { offset: f.offset + cut, len: f.len - cut },
                );
                if gone.len > 0 {
                    m.decref(gone);
                }
                for page in 0..gone.len / PAGE {
                    let at = gone.offset + page * PAGE;
                    let count = model.get_mut(&at).expect("owned");
                    *count -= 1;
                    if *count == 0 {
                        model.remove(&at);
                    }
                }
                if kept.len > 0 {
                    held.push(kept);
                }
            }
            _ if !held.is_empty() => {
                let f = held[random(held.len() as u64) as usize];
                let first = random(f.len / PAGE) * PAGE;
                let part = Frames { offset: f.offset + first, len: f.len - first };
                m.incref(part);
                for page in 0..part.len / PAGE {
                    *model.get_mut(&(part.offset + page * PAGE)).expect("owned") += 1;
                }
                held.push(part);
            }
            _ => {}
        }
        if let Some(&f) = held.last() {
            let (len, unique) = m.unique_prefix(f);
            let mut expected = 0;
            let first = model[&f.offset] == 1;
            while expected < f.len && (model[&(f.offset + expected)] == 1) == first {
                expected += PAGE;
            }
            assert_eq!((len, unique), (expected, first));
        }
        assert_eq!(m.allocated_bytes(), model.len() as u64 * PAGE);
    }
    for f in held {
        m.decref(f);
    }
    assert_eq!(m.allocated_bytes(), 0);
}

#[test]
fn populated_pages_are_resident_and_keep_their_bytes() {
    let m = MemoryFile::new(None).expect("file");
    let f = m.allocate(4 * PAGE).expect("allocate");
    m.write(f.offset + PAGE, b"kept").expect("write");
    m.populate(f).expect("populate");
    assert_eq!(m.resident(f), [true; 4]);
    let mut bytes = [0; 4];
    m.read(f.offset + PAGE, &mut bytes).expect("read");
    assert_eq!(&bytes, b"kept");
    m.decref(f);
}

#[test]
fn used_runs_come_back_only_to_those_who_overwrite_them() {
    let m = file();
    let f = m.allocate(4 * PAGE).expect("allocate");
    m.write(f.offset, &[9; 100]).expect("write");
    m.decref(f);
    let fresh = m.allocate(4 * PAGE).expect("allocate");
    let mut bytes = [1; 100];
    m.read(fresh.offset, &mut bytes).expect("read");
    assert_eq!(bytes, [0; 100]);
    assert_eq!(m.allocate_used(3 * PAGE), Some(Frames { offset: f.offset, len: 3 * PAGE }));
    assert_eq!(m.unique_prefix(Frames { offset: f.offset, len: 3 * PAGE }), (3 * PAGE, true));
    assert_eq!(m.allocate_used(2 * PAGE), None);
    assert_eq!(m.allocated_bytes(), 7 * PAGE);
}

/// A run whose pages the host makes many at once. `None`, loudly, where this process may not mount: everything goes without.
fn large_run(m: &MemoryFile, pages: u64) -> Option<Frames> {
    let run = m.allocate_large(pages * PAGE, 3 * HUGE_PAGE_SIZE);
    if run.is_none() {
        eprintln!("SKIPPED: no large pages here (a tmpfs with huge=within_size takes the right to mount)");
    }
    run
}

#[test]
fn provided_pages_are_zero_and_come_in_proportion() {
    let m = file();
    let Some(f) = large_run(&m, 4096) else { return };
    assert_eq!(f.offset % HUGE_PAGE_SIZE, 0);
    for page in 0..16 {
        m.write(f.offset + page * PAGE, &[7]).expect("write");
    }
    assert_eq!(m.resident_bytes(), 16 * PAGE, "a touch makes one page");
    m.provide(Frames { offset: f.offset + 16 * PAGE, len: 16 * PAGE }, true);
    assert_eq!(m.resident_bytes(), 33 * PAGE, "and one page alone stops what is provided");
    m.provide(Frames { offset: f.offset + 33 * PAGE, len: 23 * PAGE }, true);
    assert_eq!(m.resident_bytes(), 57 * PAGE);
    m.provide(Frames { offset: f.offset + 57 * PAGE, len: PAGE }, false);
    assert!(m.resident_bytes() <= 64 * PAGE);
    let mut bytes = vec![1; 40 * PAGE as usize];
    m.read(f.offset + 16 * PAGE, &mut bytes).expect("read");
    assert!(bytes.iter().all(|byte| *byte == 0));
    m.read(f.offset, &mut bytes[..1]).expect("read");
    assert_eq!(bytes[0], 7);
}

#[test]
fn large_runs_start_where_they_are_to_be_shown() {
    let m = file();
    let Some(aligned) = large_run(&m, 100) else { return };
    assert_eq!(aligned.offset % HUGE_PAGE_SIZE, 0);
    let f = m.allocate_large(600 * PAGE, (1 << 40) + 5 * PAGE + 7).expect("allocate");
    assert_eq!(f.offset % HUGE_PAGE_SIZE, 5 * PAGE);
    m.decref(f);
    assert_eq!(m.allocate_large(600 * PAGE, 5 * PAGE), Some(f));
}

#[test]
fn parts_of_large_pieces_are_given_back_and_made_again() {
    let m = file();
    let Some(f) = large_run(&m, 1024) else { return };
    m.write(f.offset, &[7; 16 * PAGE_SIZE as usize]).expect("write");
    m.provide(f, false);
    m.write(f.offset, &vec![7; f.len as usize]).expect("write");
    let part = Frames { offset: f.offset + 100 * PAGE, len: 200 * PAGE };
    m.zero_and_release(part);
    let mut bytes = vec![1; f.len as usize];
    m.read(f.offset, &mut bytes).expect("read");
    let (from, to) = (100 * PAGE as usize, 300 * PAGE as usize);
    assert!(bytes[from..to].iter().all(|byte| *byte == 0));
    assert!(bytes[..from].iter().chain(&bytes[to..]).all(|byte| *byte == 7));
    m.decref(f);
    assert_eq!((m.allocated_bytes(), m.resident_bytes()), (0, 0));
    assert_eq!(m.allocate_large(f.len, 0), Some(f), "whole runs are used again");
    m.read(f.offset, &mut bytes).expect("read");
    assert!(bytes.iter().all(|byte| *byte == 0));
}

#[test]
fn other_runs_are_not_provided() {
    let m = file();
    let f = m.allocate(64 * PAGE).expect("allocate");
    m.provide(f, false);
    assert_eq!(m.resident_bytes(), 0);
}
