//! Threads in a ring that hand a byte on: each hop is a write, a read and a switch.

use crate::timing::per_call;

/// Nanoseconds for each hop around a ring of `threads`, this one among them.
pub fn ring(threads: usize) -> f64 {
    let pipes: Vec<[i32; 2]> = (0..threads)
        .map(|_| {
            let mut pipe = [0; 2];
            // SAFETY: the descriptors are filled.
            assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
            pipe
        })
        .collect();
    // They end with the process.
    for at in 1..threads {
        let (from, to) = (pipes[at][0], pipes[(at + 1) % threads][1]);
        std::thread::spawn(move || while pass_on(from, to) {});
    }
    let (from, to) = (pipes[0][0], pipes[1 % threads][1]);
    put(to);
    per_call(|| assert!(pass_on(from, to))) / threads as f64
}

fn put(to: i32) -> bool {
    // SAFETY: the buffer has the length that is passed.
    unsafe { libc::write(to, b"x".as_ptr().cast(), 1) == 1 }
}

fn pass_on(from: i32, to: i32) -> bool {
    let mut byte = [0u8; 1];
    // SAFETY: as above.
    unsafe { libc::read(from, byte.as_mut_ptr().cast(), 1) == 1 && put(to) }
}
