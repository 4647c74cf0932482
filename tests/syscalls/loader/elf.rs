//! ELF files: right ones, and ones that are cut off, foreign, or lie.

use crate::kit::elf::{BASE, CODE, GNU_STACK, Image, LOAD, Segment, exit_42, exit_byte, put_program, stop};
use crate::kit::prelude::*;

fn run(image: &Image) -> Child {
    image.write(c"program");
    fork(|| done(exec(c"./program", &[c"program"], &[])))
}

/// The call itself must fail: the caller lives on.
#[track_caller]
fn refused(image: &Image, errno: i32) {
    image.write(c"program");
    fails(exec(c"./program", &[c"program"], &[]), errno);
}

#[track_caller]
fn refused_bytes(bytes: &[u8]) {
    put_program(c"program", bytes);
    fails(exec(c"./program", &[c"program"], &[]), ENOEXEC);
}

fn image() -> Image {
    Image::new(exit_42())
}

fn load(image: &mut Image) -> &mut Segment {
    &mut image.segments[0]
}

case!(static_program: execve; disk);
fn static_program() {
    run(&image()).exits_with(42);
}

case!(position_independent_without_interpreter: execve; disk);
fn position_independent_without_interpreter() {
    run(&Image::pie(exit_42())).exits_with(42);
}

case!(position_independent_moves: execve);
fn position_independent_moves() {
    let image = Image::pie(stop());
    let places: Vec<String> = (0..4)
        .map(|_| {
            let child = run(&image);
            wait_for(child.pid, WUNTRACED);
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.pid)).unwrap_or_default();
            child.end();
            let line = maps.lines().find(|l| l.ends_with("/program")).unwrap_or_default();
            line.split('-').next().unwrap_or_default().to_string()
        })
        .collect();
    check(!places[0].is_empty(), "the program is in its maps");
    check(places[1..].iter().any(|p| *p != places[0]), format_args!("not always at {}", places[0]));
}

case!(too_short: execve; disk);
fn too_short() {
    let whole = image().bytes();
    for length in [0, 1, 4, 16, 63] {
        refused_bytes(&whole[..length]);
    }
    // Header, but no program headers.
    refused_bytes(&whole[..64]);
    refused_bytes(&whole[..100]);
}

case!(other_files: execve; disk);
fn other_files() {
    refused_bytes(b"plain text\n");
    refused_bytes(&[0; 4096]);
    refused_bytes(b"\x7fELF");
    refused_bytes(b"\x7fELG\x02\x01\x01");
}

case!(foreign: execve);
fn foreign() {
    for machine in [0, 3, 8, 40, 183, 243, 0xffff] {
        // What says to be for the 80386 is only tried by its own loader, which finds no 32-bit headers.
        refused(&Image { machine, ..image() }, ENOEXEC);
    }
}

case!(other_kinds: execve);
fn other_kinds() {
    for kind in [0, 1, 4, 0xfe00, 0xffff] {
        refused(&Image { kind, ..image() }, ENOEXEC);
    }
}

case!(class_and_order_are_not_looked_at: execve);
fn class_and_order_are_not_looked_at() {
    let mut odd = image();
    odd.ident[4..].fill(0xee);
    run(&odd).exits_with(42);
}

case!(lying_program_headers: execve);
fn lying_program_headers() {
    for size in [0, 32, 55, 57, 0xffff] {
        refused(&Image { ph_size: size, ..image() }, ENOEXEC);
    }
    refused(&Image { ph_count: Some(0), ..image() }, ENOEXEC);
    refused(&Image { ph_count: Some(0xffff), ..image() }, ENOEXEC);
    refused(&Image { ph_count: Some(1171), ..image() }, ENOEXEC);
    for offset in [0x10_0000, u64::MAX, u64::MAX - 100, i64::MAX as u64] {
        refused(&Image { ph_offset: offset, ..image() }, ENOEXEC);
    }
}

case!(more_from_the_file_than_in_memory: execve);
fn more_from_the_file_than_in_memory() {
    let mut bad = image();
    load(&mut bad).mem_size = 16;
    // The old program is gone when that is found.
    run(&bad).dies_of(SIGSEGV);
}

case!(segment_outside_user_space: execve);
fn segment_outside_user_space() {
    for addr in [0x7fff_ffff_f000, 0x8000_0000_0000, 0xffff_8000_0000_0000, u64::MAX - 0xfff] {
        let mut bad = image();
        load(&mut bad).addr = addr;
        run(&bad).dies_of(SIGSEGV);
    }
}

case!(segment_of_absurd_size: execve);
fn segment_of_absurd_size() {
    for size in [1 << 47, 1 << 62, u64::MAX] {
        let mut bad = image();
        load(&mut bad).mem_size = size;
        run(&bad).dies_of(SIGSEGV);
    }
}

case!(segment_off_its_page: execve);
fn segment_off_its_page() {
    let mut bad = image();
    load(&mut bad).addr += 8;
    run(&bad).dies_of(SIGSEGV);
}

case!(segment_beyond_the_file: execve; disk);
fn segment_beyond_the_file() {
    let mut bad = image();
    load(&mut bad).offset = 0x10_0000;
    // It can be mapped; there is nothing in it.
    run(&bad).dies_of(SIGBUS);
}

case!(truncated_in_its_code: execve; disk);
fn truncated_in_its_code() {
    put_program(c"program", &image().bytes()[..CODE as usize]);
    fork(|| done(exec(c"./program", &[c"program"], &[]))).dies_of(SIGBUS);
}

case!(entry_nowhere: execve);
fn entry_nowhere() {
    for entry in [0, BASE - 0x1000, BASE + 0x10_0000, 0xffff_8000_0000_0000, u64::MAX] {
        run(&Image { entry, ..image() }).dies_of(SIGSEGV);
    }
}

case!(entry_in_data: execve);
fn entry_in_data() {
    let mut bad = image();
    load(&mut bad).flags = 6;
    run(&bad).dies_of(SIGSEGV);
}

case!(nothing_to_load: execve);
fn nothing_to_load() {
    let mut bad = image();
    load(&mut bad).kind = 0;
    run(&bad).dies_of(SIGSEGV);
}

case!(unknown_headers_do_not_matter: execve);
fn unknown_headers_do_not_matter() {
    let mut odd = image();
    let junk = |kind| Segment {
        kind,
        flags: u32::MAX,
        offset: u64::MAX,
        addr: u64::MAX,
        file_size: u64::MAX,
        mem_size: 1,
        align: 3,
    };
    odd.segments.extend([junk(4), junk(0x6000_0000), junk(6)]);
    run(&odd).exits_with(42);
}

/// A second segment for data, at BASE + 0x3000, with garbage in the file behind its end.
fn with_data(file_size: u64, mem_size: u64) -> Image {
    let mut image = Image::new(exit_byte());
    image.content.push((0x3000, vec![0xaa; 0x2000]));
    image.segments.push(Segment {
        kind: LOAD,
        flags: 6,
        offset: 0x3000,
        addr: BASE + 0x3000,
        file_size,
        mem_size,
        align: 0x1000,
    });
    image
}

case!(data_and_zeros: execve; disk);
fn data_and_zeros() {
    run(&with_data(0x1000, 0x1000)).exits_with(0xaa);
    // What is beyond the part from the file is zero, in its last page too.
    run(&with_data(0x700, 0x1000)).exits_with(0);
    run(&with_data(0x700, 0x9000)).exits_with(0);
    run(&with_data(0, 0x1000)).exits_with(0);
    // Where memory ends with the file the rest of the page is the file's.
    run(&with_data(0x700, 0x700)).exits_with(0xaa);
}

case!(segments_as_the_file_says: execve);
fn segments_as_the_file_says() {
    let mut image = Image::new(stop());
    image.content.push((0x3000, vec![1; 0x1000]));
    let data = Segment {
        kind: LOAD,
        flags: 6,
        offset: 0x3000,
        addr: BASE + 0x3000,
        file_size: 0x1000,
        mem_size: 0x3000,
        align: 0x1000,
    };
    image.segments.extend([data, Segment { flags: 4, addr: BASE + 0x8000, mem_size: 0x1000, ..data }]);
    let child = run(&image);
    wait_for(child.pid, WUNTRACED);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.pid)).unwrap_or_default();
    child.end();
    let seen: Vec<String> = maps
        .lines()
        .filter(|l| l.starts_with("1000"))
        .map(|l| l.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
        .collect();
    eq(
        seen,
        vec![
            "10000000-10002000 r-xp 00000000",
            "10003000-10004000 rw-p 00003000",
            "10004000-10006000 rw-p 00000000",
            "10008000-10009000 r--p 00003000",
        ],
    );
}

case!(permission_and_mounts: execve);
fn permission_and_mounts() {
    image().write(c"program");
    ok(sys!(fchmodat, AT_FDCWD, c"program", 0o644));
    fails(exec(c"./program", &[c"program"], &[]), EACCES);
    // Execution needs no permission to read.
    ok(sys!(fchmodat, AT_FDCWD, c"program", 0o111));
    unprivileged(|| {
        fork(|| done(exec(c"./program", &[c"program"], &[]))).exits_with(42);
    });
    ok(sys!(fchmodat, AT_FDCWD, c"program", 0o700));
    if is_root() {
        unprivileged(|| fails(exec(c"./program", &[c"program"], &[]), EACCES));
    }
}

case!(headers_at_the_end: execve);
fn headers_at_the_end() {
    let mut odd = image();
    let table = odd.bytes()[64..64 + 2 * 56].to_vec();
    odd.content.push((0x1800, table));
    odd.content.push((64, vec![0xff; 112]));
    odd.ph_offset = 0x1800;
    run(&odd).exits_with(42);
}

case!(stack_header_alone_changes_nothing_else: execve);
fn stack_header_alone_changes_nothing_else() {
    let mut odd = image();
    odd.segments.retain(|s| s.kind != GNU_STACK);
    run(&odd).exits_with(42);
}
