//! The whole system call table with hostile arguments. (335 and 336 are for the probes of perf: newer kernels answer them with
//! a signal.)

use crate::kit::numbers::ALL;
use crate::kit::prelude::*;
use crate::kit::walk::{Outcome, VECTORS, harmlessly, walk};

#[track_caller]
fn survive(first: i64, last: i64) {
    let numbers: Vec<i64> = (first..=last).collect();
    harmlessly(|| {
        let mut made = 0;
        walk(&numbers, |number, list, outcome| {
            made += 1;
            if !ALL.iter().any(|(_, n)| *n == number) {
                eq_of(format_args!("call {number}, list {list}"), outcome, Outcome::Error(ENOSYS));
            }
        });
        eq(made, numbers.len() * VECTORS);
        // This process, and its file system, have come through.
        eq(content(c"path"), b"content");
        in_child(|| done(sys!(getpid)));
    });
}

macro_rules! walks {
    ($($name:ident $first:literal $last:literal)*) => {
        $(
            case!($name: getpid);
            fn $name() {
                survive($first, $last);
            }
        )*
    };
}

walks! {
    calls_000_to_031 0 31
    calls_032_to_063 32 63
    calls_064_to_095 64 95
    calls_096_to_127 96 127
    calls_128_to_159 128 159
    calls_160_to_191 160 191
    calls_192_to_223 192 223
    calls_224_to_255 224 255
    calls_256_to_287 256 287
    calls_288_to_319 288 319
    calls_320_to_334 320 334
    calls_337_to_351 337 351
    calls_352_to_383 352 383
    calls_384_to_415 384 415
    calls_416_to_447 416 447
    calls_448_to_469 448 469
}
