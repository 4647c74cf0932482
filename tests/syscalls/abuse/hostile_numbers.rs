//! System call numbers that mean nothing.

use crate::kit::prelude::*;

case!(numbers_without_a_call: getpid);
fn numbers_without_a_call() {
    for number in (337..387).chain(388..424).chain(480..600).chain([
        1000,
        4095,
        4096,
        65_535,
        i64::from(i32::MAX),
        u32::MAX.into(),
    ]) {
        match sys_number!(number, -1, -1, -1, -1, -1, -1) {
            Err(e) if e.0 == ENOSYS => {}
            other => fail(format_args!("call {number}: expected ENOSYS, got {other:?}")),
        }
    }
}

case!(negative_numbers: getpid);
fn negative_numbers() {
    for number in [-1, -2, -512, -4096, i64::from(i32::MIN), i64::MIN] {
        if number as i32 == 0 {
            continue;
        }
        match sys_number!(number, 0, 0, 0, 0, 0, 0) {
            Err(e) if e.0 == ENOSYS => {}
            other => fail(format_args!("call {number}: expected ENOSYS, got {other:?}")),
        }
    }
}

case!(upper_half_is_not_looked_at: getpid);
fn upper_half_is_not_looked_at() {
    // The number is 32 bits wide.
    eq(sys_number!(nr::getpid | 1 << 32), sys!(getpid));
    eq(sys_number!(nr::getpid | 0x7fff_ffff << 32), sys!(getpid));
    fails(sys_number!(1i64 << 32 | 1000), ENOSYS);
}

case!(other_ways_in: getpid);
fn other_ways_in() {
    // The 32-bit entry, number 20 of whose table is getpid, or nothing where the kernel has none.
    fork(|| {
        let result: i64;
        // SAFETY: the interrupt changes only rax, and r8 to r11, or kills this process.
        unsafe {
            std::arch::asm!(
                "int 0x80",
                inlateout("rax") 20i64 => result,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        let answers = [ok(sys!(getpid)), -i64::from(ENOSYS)];
        check(answers.contains(&i64::from(result as i32)), format_args!("got {result}"));
    })
    .status();
    // Whatever that did, this process goes on.
    ok(sys!(getpid));
}
