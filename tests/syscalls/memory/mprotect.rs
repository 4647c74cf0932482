//! mprotect and what each protection allows.

use crate::kit::prelude::*;

/// `mov eax, 42; ret`
const RETURN_42: [u8; 6] = [0xb8, 42, 0, 0, 0, 0xc3];

fn put_code(at: usize) {
    for (i, byte) in RETURN_42.iter().enumerate() {
        poke(at + i, *byte);
    }
}

case!(none_read_write: mprotect);
fn none_read_write() {
    let p = map(PAGE, RW);
    poke(p, 5);
    ok(sys!(mprotect, p, PAGE, PROT_READ));
    eq(peek(p), 5);
    faults(|| poke(p, 1), SIGSEGV, 2, p);
    ok(sys!(mprotect, p, PAGE, PROT_NONE));
    faults(|| touch(p + 3), SIGSEGV, 2, p + 3);
    ok(sys!(mprotect, p, PAGE, RW));
    eq(peek(p), 5);
    poke(p, 6);
}

case!(write_alone_can_be_read: mprotect, mmap);
fn write_alone_can_be_read() {
    let p = map(PAGE, PROT_WRITE);
    poke(p, 3);
    eq(peek(p), 3);
}

case!(exec_needs_the_bit: mprotect);
fn exec_needs_the_bit() {
    let p = map(PAGE, RW);
    put_code(p);
    faults(|| jump(p), SIGSEGV, 2, p);
    ok(sys!(mprotect, p, PAGE, PROT_READ | PROT_EXEC));
    eq(call(p), 42);
    ok(sys!(mprotect, p, PAGE, PROT_READ));
    faults(|| jump(p), SIGSEGV, 2, p);
}

case!(code_written_while_executable: mprotect, mmap);
fn code_written_while_executable() {
    let p = map(PAGE, RW | PROT_EXEC);
    put_code(p);
    eq(call(p), 42);
    poke(p + 1, 43);
    eq(call(p), 43);
}

case!(arguments: mprotect);
fn arguments() {
    let p = map(PAGE, RW);
    fails(sys!(mprotect, p + 1, PAGE, RW), EINVAL);
    fails(sys!(mprotect, p, PAGE, 0x40), EINVAL);
    fails(sys!(mprotect, p, PAGE, PROT_GROWSDOWN | PROT_GROWSUP), EINVAL);
    fails(sys!(mprotect, p, u64::MAX - 4095, RW), ENOMEM);
    // A length of zero succeeds anywhere, but not at an odd address.
    ok(sys!(mprotect, p, 0, RW));
    ok(sys!(mprotect, 0x1000_0000, 0, RW));
    fails(sys!(mprotect, p + 1, 0, RW), EINVAL);
}

case!(hole_stops_it_half_way: mprotect, munmap);
fn hole_stops_it_half_way() {
    let p = map(3 * PAGE, RW);
    unmap(p + PAGE, PAGE);
    fails(sys!(mprotect, p, 3 * PAGE, PROT_READ), ENOMEM);
    // What came before the hole has been changed, what comes after has not.
    faults(|| poke(p, 1), SIGSEGV, 2, p);
    poke(p + 2 * PAGE, 1);
    fails(sys!(mprotect, p + PAGE, PAGE, PROT_READ), ENOMEM);
}

case!(middle_of_a_mapping: mprotect);
fn middle_of_a_mapping() {
    let p = map(3 * PAGE, RW);
    ok(sys!(mprotect, p + PAGE, PAGE, PROT_NONE));
    poke(p, 1);
    poke(p + 2 * PAGE, 1);
    faults(|| poke(p + PAGE, 1), SIGSEGV, 2, p + PAGE);
}

case!(shared_file_opened_for_reading: mprotect, mmap);
fn shared_file_opened_for_reading() {
    put(c"f", &[1; PAGE]);
    let fd = open(c"f", O_RDONLY);
    fails(sys!(mmap, 0, PAGE, RW, MAP_SHARED, fd, 0), EACCES);
    let p = map_file(fd, 0, PAGE, PROT_READ, MAP_SHARED);
    fails(sys!(mprotect, p, PAGE, RW), EACCES);
    // A private mapping never writes to the file.
    let q = map_file(fd, 0, PAGE, PROT_READ, MAP_PRIVATE);
    ok(sys!(mprotect, q, PAGE, RW));
    poke(q, 2);
    eq(peek(p), 1);
}

case!(write_only_descriptor_cannot_be_mapped: mmap);
fn write_only_descriptor_cannot_be_mapped() {
    put(c"f", &[1; PAGE]);
    let fd = open(c"f", O_WRONLY);
    fails(sys!(mmap, 0, PAGE, PROT_WRITE, MAP_SHARED, fd, 0), EACCES);
    fails(sys!(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), EACCES);
}

case!(kernel_respects_protection: mprotect, read, write);
fn kernel_respects_protection() {
    let p = map(PAGE, RW);
    let [r, w] = pipe(0);
    ok(sys!(mprotect, p, PAGE, PROT_NONE));
    fails(sys!(write, w, p, 4), EFAULT);
    ok(sys!(mprotect, p, PAGE, PROT_READ));
    eq(ok(sys!(write, w, p, 4)), 4);
    fails(sys!(read, r, p, 4), EFAULT);
    ok(sys!(mprotect, p, PAGE, RW));
}

case!(pkey_calls_check_arguments: pkey_alloc, pkey_free, pkey_mprotect);
fn pkey_calls_check_arguments() {
    // Flags are checked before support.
    fails(sys!(pkey_alloc, 1, 0), EINVAL);
    fails(sys!(pkey_alloc, 0, 0xff), EINVAL);
    fails(sys!(pkey_free, -1), EINVAL);
    let p = map(PAGE, RW);
    // Key -1 is plain mprotect.
    ok(sys!(pkey_mprotect, p, PAGE, PROT_READ, -1));
    faults(|| poke(p, 1), SIGSEGV, 2, p);
    fails(sys!(pkey_mprotect, p, PAGE, RW, 15), EINVAL);
}
