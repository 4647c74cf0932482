//! Scripts: `#!interpreter argument`.

use std::ffi::{CStr, CString};

use crate::kit::elf::put_program;
use crate::kit::prelude::*;

fn script(name: &CStr, first_line: &str) {
    put_program(name, format!("{first_line}\nnothing more is read\n").as_bytes());
}

fn this() -> &'static str {
    program().to_str().unwrap_or_default()
}

/// What arrives at the interpreter, which prints its arguments.
fn arguments(name: &CStr, argv: &[&CStr]) -> String {
    exec_output(name, argv, &[], || {})
}

case!(interpreter_with_an_argument: execve; disk);
fn interpreter_with_an_argument() {
    script(c"s", &format!("#!{} argv", this()));
    eq(arguments(c"./s", &[c"zero", c"one", c"two words"]), format!("{}|argv|./s|one|two words", this()));
    eq(arguments(&absolute("s"), &[c"zero"]), format!("{}|argv|{}", this(), absolute("s").to_string_lossy()));
}

case!(blanks: execve);
fn blanks() {
    let want = format!("{}|argv|./s", this());
    for line in ["#! {} argv", "#!{}  argv", "#!\t{}\t argv", "#!  {} argv  \t"] {
        script(c"s", &line.replace("{}", this()));
        eq_of(line, arguments(c"./s", &[c"s"]), want.as_str());
    }
    // One argument, whatever is in it.
    script(c"s", &format!("#!{} argv -x  'y z' ", this()));
    eq(arguments(c"./s", &[c"s"]), format!("{}|argv -x  'y z'|./s", this()));
}

case!(file_without_a_line_end: execve);
fn file_without_a_line_end() {
    put_program(c"s", format!("#!{} argv", this()).as_bytes());
    eq(arguments(c"./s", &[c"s"]), format!("{}|argv|./s", this()));
}

case!(no_arguments_for_a_script: execve);
fn no_arguments_for_a_script() {
    script(c"s", &format!("#!{} argv", this()));
    let out = exec_output(c"./s", &[], &[], || {});
    eq(out, format!("{}|argv|./s", this()));
}

case!(nested_scripts: execve);
fn nested_scripts() {
    script(c"s0", &format!("#!{} argv", this()));
    for i in 1..=5 {
        script(&CString::new(format!("s{i}")).unwrap_or_default(), &format!("#!./s{} a{i}", i - 1));
    }
    eq(arguments(c"./s2", &[c"x", c"y"]), format!("{}|argv|./s0|a1|./s1|a2|./s2|y", this()));
    check(arguments(c"./s4", &[c"x"]).ends_with("|a4|./s4"), "five in all");
    fails(exec(c"./s5", &[c"x"], &[]), ELOOP);
    script(c"self", "#!./self");
    fails(exec(c"./self", &[c"x"], &[]), ELOOP);
}

case!(bad_interpreters: execve; disk);
fn bad_interpreters() {
    mkdir(c"d");
    put(c"plain", b"x");
    put_program(c"junk", b"junk");
    for (line, errno) in [
        ("#!./missing", ENOENT),
        ("#!./missing argument", ENOENT),
        ("#!./d", EACCES),
        ("#!./plain", EACCES),
        ("#!./plain/x", ENOTDIR),
        ("#!./junk", ENOEXEC),
        ("#!/bin/sh\r", ENOENT),
        ("#!", ENOEXEC),
        ("#!  \t", ENOEXEC),
        ("#", ENOEXEC),
        (" #!/bin/sh", ENOEXEC),
    ] {
        script(c"s", line);
        match exec(c"./s", &[c"s"], &[]) {
            Err(e) if e.0 == errno => {}
            other => fail(format_args!("{line:?}: expected {:?}, got {other:?}", Errno(errno))),
        }
    }
    // Without a line end the name is empty, which Linux takes for the current directory.
    put_program(c"s", b"#!");
    fails(exec(c"./s", &[c"s"], &[]), EACCES);
}

case!(line_that_is_too_long: execve);
fn line_that_is_too_long() {
    // 256 bytes are looked at. A path that is not at its end there is not run.
    script(c"s", &format!("#!/{}", "a".repeat(300)));
    fails(exec(c"./s", &[c"s"], &[]), ENOEXEC);
    // An argument is cut off.
    let head = format!("#!{} argv", this());
    let fill = "x".repeat(400);
    script(c"s", &format!("{head}{fill}"));
    let seen = 256 - 1 - head.len() + 4;
    let out = arguments(c"./s", &[c"s"]);
    eq(out, format!("{}|argv{}|./s", this(), &fill[..seen - 4]));
    script(c"s", &format!("#!{}{}", " ".repeat(254), this()));
    fails(exec(c"./s", &[c"s"], &[]), ENOEXEC);
}

case!(bytes_that_are_no_text: execve);
fn bytes_that_are_no_text() {
    // A zero byte ends the path as a line end does.
    put_program(c"s", format!("#!{}\0 argv\n", this()).as_bytes());
    fork(|| {
        let null = open(c"/dev/null", O_WRONLY);
        ok(sys!(dup3, null, 2, 0));
        ok(exec(c"./s", &[c"s"], &[]));
    })
    .exits_with(2);
}

case!(what_the_process_is_called: execve, prctl);
fn what_the_process_is_called() {
    script(c"my_script", &format!("#!{} argv-name", this()));
    eq(exec_output(c"./my_script", &[c"x"], &[], || {}), format!("my_script {}", this()));
}

case!(by_a_descriptor: execveat; disk);
fn by_a_descriptor() {
    script(c"s", &format!("#!{} argv", this()));
    let argv = pointers(&[c"zero", c"one"]);
    let [r, w] = pipe(0);
    let fd = open(c"s", O_RDONLY);
    let child = fork(|| {
        ok(sys!(dup3, w, 1, 0));
        ok(sys!(execveat, fd, c"", argv.as_slice(), 0, AT_EMPTY_PATH));
    });
    close(w);
    let out = String::from_utf8_lossy(&read_to_end(r)).into_owned();
    eq(out, format!("{}|argv|/dev/fd/{fd}|one", this()));
    child.succeeds();
    // The interpreter could not open what is closed.
    let fd = open(c"s", O_RDONLY | O_CLOEXEC);
    fails(sys!(execveat, fd, c"", argv.as_slice(), 0, AT_EMPTY_PATH), ENOENT);
}

case!(set_id_bits_of_scripts: execve; root);
fn set_id_bits_of_scripts() {
    script(c"s", &format!("#!{} argv-creds", this()));
    ok(sys!(fchownat, AT_FDCWD, c"s", 1234, 1234, 0));
    ok(sys!(fchmodat, AT_FDCWD, c"s", 0o6755));
    let out = exec_output(c"./s", &[c"x"], &[], || become_user(NOBODY));
    eq(out, format!("{NOBODY} {NOBODY}"));
}

case!(shell_runs_what_the_kernel_refuses: execve);
fn shell_runs_what_the_kernel_refuses() {
    put_program(c"s", b"echo from a shell\n");
    fails(exec(c"./s", &[c"s"], &[]), ENOEXEC);
    eq(exec_output(c"/bin/sh", &[c"sh", c"-c", c"./s"], &[], || {}), "from a shell\n");
}
