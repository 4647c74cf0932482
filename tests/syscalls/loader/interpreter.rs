//! Programs that name an interpreter (PT_INTERP), as dynamic ones do.

use crate::kit::elf::{Image, exit_42, exit_43, exit_alignment, exit_registers, put_program};
use crate::kit::prelude::*;

fn program(interpreter: &[u8]) -> Image {
    Image::pie(exit_42()).interpreter(interpreter)
}

fn run(image: &Image) -> Child {
    image.write(c"program");
    fork(|| done(exec(c"./program", &[c"program"], &[])))
}

#[track_caller]
fn refused(image: &Image, errno: i32) {
    image.write(c"program");
    fails(exec(c"./program", &[c"program"], &[]), errno);
}

case!(runs_in_place_of_the_program: execve; disk);
fn runs_in_place_of_the_program() {
    Image::pie(exit_43()).write(c"interp");
    run(&program(b"./interp\0")).exits_with(43);
    // One at a fixed place does as well.
    Image::new(exit_43()).write(c"interp");
    run(&program(b"./interp\0")).exits_with(43);
    // Even at the place of the program itself.
    run(&Image::new(exit_42()).interpreter(b"./interp\0")).exits_with(43);
}

case!(starts_with_clear_registers: execve);
fn starts_with_clear_registers() {
    Image::pie(exit_registers()).write(c"interp");
    run(&program(b"./interp\0")).exits_with(0);
    Image::pie(exit_alignment()).write(c"interp");
    run(&program(b"./interp\0")).exits_with(0);
}

case!(missing: execve; disk);
fn missing() {
    refused(&program(b"./missing\0"), ENOENT);
    refused(&program(b"./program/x\0"), ENOTDIR);
    // An empty name is the current directory.
    refused(&program(b"\0\0"), EACCES);
}

case!(not_executable: execve; disk);
fn not_executable() {
    put(c"interp", &Image::pie(exit_43()).bytes());
    refused(&program(b"./interp\0"), EACCES);
    mkdir(c"dir");
    refused(&program(b"./dir\0"), EACCES);
}

case!(bad_names: execve);
fn bad_names() {
    // No end, too short, too long.
    refused(&program(b"./interp"), ENOEXEC);
    refused(&program(b"\0"), ENOEXEC);
    refused(&program(b""), ENOEXEC);
    let mut long = vec![b'a'; 5000];
    long.push(0);
    let mut image = program(b"x\0");
    image.segments[0].file_size = 5001;
    image.content.push((0x4000, long));
    image.segments[0].offset = 0x4000;
    refused(&image, ENOEXEC);
    // Beyond the end of the file.
    let mut image = program(b"./interp\0");
    image.segments[0].offset = 0x10_0000;
    refused(&image, EIO);
}

case!(is_no_program_itself: execve);
fn is_no_program_itself() {
    put_program(c"interp", &[b'x'; 5000]);
    refused(&program(b"./interp\0"), ELIBBAD);
    put_program(c"interp", b"#!/bin/sh\n");
    refused(&program(b"./interp\0"), EIO);
    put_program(c"interp", &Image::pie(exit_43()).bytes()[..40]);
    refused(&program(b"./interp\0"), EIO);
    Image { machine: 183, ..Image::pie(exit_43()) }.write(c"interp");
    refused(&program(b"./interp\0"), ELIBBAD);
}

case!(has_no_interpreter_of_its_own: execve);
fn has_no_interpreter_of_its_own() {
    Image::pie(exit_43()).interpreter(b"./missing\0").write(c"interp");
    run(&program(b"./interp\0")).exits_with(43);
}

case!(lies_about_its_segments: execve);
fn lies_about_its_segments() {
    let mut interp = Image::pie(exit_43());
    interp.segments[0].mem_size = 16;
    interp.write(c"interp");
    run(&program(b"./interp\0")).dies_of(SIGSEGV);
    let mut interp = Image::pie(exit_43());
    interp.segments[0].mem_size = 1 << 47;
    interp.write(c"interp");
    run(&program(b"./interp\0")).dies_of(SIGSEGV);
}

case!(two_of_them: execve);
fn two_of_them() {
    // The first one counts.
    Image::pie(exit_43()).write(c"interp");
    let mut image = program(b"./interp\0");
    let mut second = image.segments[0];
    second.offset = 0x900;
    image.content.push((0x900, b"./miss_\0\0".to_vec()));
    image.segments.insert(1, second);
    run(&image).exits_with(43);
}

case!(dynamic_programs_of_the_system: execve);
fn dynamic_programs_of_the_system() {
    let out = exec_output(c"/bin/echo", &[c"echo", c"dynamic"], &[], || {});
    eq(out, "dynamic\n");
    let maps = exec_output(c"/bin/cat", &[c"cat", c"/proc/self/maps"], &[], || {});
    check(maps.contains("libc.so"), "the C library is mapped");
    check(maps.contains("[stack]") && maps.contains("[vdso]"), "stack and vDSO");
}
