//! What operations of the memory file cost, in microseconds: median (10th .. 90th of 100) of the means of batches.
//! `cargo bench -p platform --bench memory_file [NAME]`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use platform::{Frames, MemoryFile, PAGE_SIZE};

/// Prints the cost of `each`, from batches of `count`.
fn measure(name: &str, count: u32, mut each: impl FnMut()) {
    if std::env::args().skip(1).any(|a| !a.starts_with('-') && !name.contains(&a)) {
        return;
    }
    let mut means = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) || means.len() < 20 {
        let batch = Instant::now();
        for _ in 0..count {
            each();
        }
        means.push(batch.elapsed().as_secs_f64() * 1e6 / f64::from(count));
    }
    means.sort_by(f64::total_cmp);
    let at = |part: usize| means[(means.len() - 1) * part / 100];
    println!("{name:50} {:9.4}  ({:.4} .. {:.4})", at(50), at(10), at(90));
}

fn main() {
    let m = MemoryFile::new(None).expect("memory file");
    let page = m.allocate(16 * PAGE_SIZE).expect("allocate");
    let mut bytes = vec![1u8; 1 << 16];
    m.write(page.offset, &bytes).expect("write");
    for len in [8, 144, 1024, 4096, 65536] {
        measure(&format!("read {len}"), 1000, || m.read(page.offset, &mut bytes[..len]).expect("read"));
        measure(&format!("write {len}"), 1000, || m.write(page.offset, &bytes[..len]).expect("write"));
    }
    measure("load_u32", 1000, || _ = black_box(m.load_u32(page.offset)));
    measure("unique_prefix", 1000, || _ = black_box(m.unique_prefix(page)));
    measure("incref, decref", 1000, || {
        m.incref(page);
        m.decref(page);
    });
    measure("allocate, decref, untouched", 1000, || m.decref(m.allocate(PAGE_SIZE).expect("allocate")));
    for pages in [1, 4, 16, 64] {
        let from = m.allocate(pages * PAGE_SIZE).expect("allocate");
        m.write(from.offset, &vec![1; from.len as usize]).expect("write");
        measure(&format!("copy on write of {pages} pages, and back"), 100, || {
            let to = m.allocate(from.len).expect("allocate");
            m.copy_to_fresh(from.offset, to.offset, from.len).expect("copy");
            m.decref(to);
        });
        let to = m.allocate(from.len).expect("allocate");
        m.copy(from.offset, to.offset, from.len).expect("copy");
        measure(&format!("copy of {pages} pages to pages that are there"), 100, || {
            m.copy(from.offset, to.offset, from.len).expect("copy");
        });
    }
    // Many processes' worth of pieces.
    let many: Vec<Frames> = (0..20_000).map(|_| m.allocate(2 * PAGE_SIZE).expect("allocate")).collect();
    for frames in many.iter().step_by(2) {
        m.incref(*frames);
    }
    measure("incref, decref among 20,000 runs", 1000, || {
        m.incref(many[777]);
        m.decref(many[777]);
    });
    measure("copy on write among 20,000 runs", 1000, || {
        let to = m.allocate(PAGE_SIZE).expect("allocate");
        m.copy(page.offset, to.offset, PAGE_SIZE).expect("copy");
        m.decref(to);
    });
    let large = m.allocate(1 << 30).expect("allocate");
    measure("resident_bytes_in 1 GiB, nothing touched", 100, || _ = black_box(m.resident_bytes_in(large)));
    for at in (0..64 << 20).step_by(4096) {
        m.write(large.offset + at, &[1]).expect("write");
    }
    measure("resident_bytes_in 1 GiB, 64 MiB touched", 10, || _ = black_box(m.resident_bytes_in(large)));
    measure("resident_bytes", 100, || _ = black_box(m.resident_bytes()));
}
