//! Registers and stack at the first instruction.

use crate::kit::elf::{Image, exit_alignment, exit_argc, exit_registers, run_on_stack};
use crate::kit::prelude::*;

fn run(image: &Image, argv: &[&std::ffi::CStr], env: &[&std::ffi::CStr]) -> Child {
    image.write(c"program");
    fork(|| done(exec(c"./program", argv, env)))
}

case!(registers_are_clear: execve);
fn registers_are_clear() {
    run(&Image::new(exit_registers()), &[c"a"], &[]).exits_with(0);
    run(&Image::pie(exit_registers()), &[c"a", c"b"], &[c"C=d"]).exits_with(0);
}

case!(stack_is_aligned: execve);
fn stack_is_aligned() {
    let image = Image::new(exit_alignment());
    for count in 1..6 {
        let args = vec![c"x"; count];
        run(&image, &args, &[]).exits_with(0);
        run(&image, &args, &[c"A=b", c"cc=d"]).exits_with(0);
    }
}

case!(count_of_arguments: execve);
fn count_of_arguments() {
    let image = Image::new(exit_argc());
    run(&image, &[c"a"], &[]).exits_with(1);
    run(&image, &[c"a", c"", c"c"], &[c"X=y"]).exits_with(3);
    // None at all becomes one empty one.
    image.write(c"program");
    fork(|| done(sys!(execve, c"./program", 0, 0))).exits_with(1);
    run(&image, &vec![c"x"; 200], &[]).exits_with(200);
}

case!(stack_is_not_executable: execve);
fn stack_is_not_executable() {
    run(&Image::new(run_on_stack()), &[c"a"], &[]).dies_of(SIGSEGV);
}

case!(stack_is_executable_where_the_file_asks: execve);
fn stack_is_executable_where_the_file_asks() {
    let mut image = Image::new(run_on_stack());
    image.segments[1].flags = 7;
    run(&image, &[c"a"], &[]).exits_with(44);
}

case!(stack_without_a_word_about_it: execve);
fn stack_without_a_word_about_it() {
    let mut image = Image::new(run_on_stack());
    image.segments.truncate(1);
    run(&image, &[c"a"], &[]).dies_of(SIGSEGV);
}
