//! The line discipline in canonical mode: editing and echo.

use crate::kit::prelude::*;
use crate::kit::pty::Pty;

case!(a_line_at_a_time: read);
fn a_line_at_a_time() {
    let pty = Pty::new().quiet();
    pty.type_in(b"one\ntwo\nthr");
    eq(pty.line(), b"one\n");
    eq(pty.line(), b"two\n");
    check(!pty.has_input(), "the third is not finished");
    pty.type_in(b"ee\n");
    // A reader with little room gets it in pieces.
    eq(read(pty.slave, 2), b"th");
    eq(read(pty.slave, 100), b"ree\n");
}

case!(echo: write, read);
fn echo() {
    let pty = Pty::new();
    pty.type_in(b"ab\x01\t\n");
    pty.screen(b"ab^A\t\r\n");
    eq(pty.line(), b"ab\x01\t\n");
    pty.change(|m| m.local &= !ECHO);
    pty.type_in(b"secret\n");
    pty.screen(b"");
    eq(pty.line(), b"secret\n");
    pty.change(|m| m.local |= ECHONL);
    pty.type_in(b"x\n");
    pty.screen(b"\r\n");
}

case!(erase_a_character: write, read);
fn erase_a_character() {
    let pty = Pty::new();
    pty.type_in(b"abc\x7f\x7fx\n");
    pty.screen(b"abc\x08 \x08\x08 \x08x\r\n");
    eq(pty.line(), b"ax\n");
    // Nothing before the line's start, nor a line that is finished.
    pty.type_in(b"\x7f\x7fy\n");
    pty.screen(b"y\r\n");
    eq(pty.line(), b"y\n");
    // A control character took two places.
    pty.type_in(b"\x01\x7f\n");
    pty.screen(b"^A\x08 \x08\x08 \x08\r\n");
    eq(pty.line(), b"\n");
}

case!(erase_without_rubbing_out: write, read);
fn erase_without_rubbing_out() {
    let pty = Pty::new();
    pty.change(|m| m.local &= !ECHOE);
    pty.type_in(b"ab\x7f\n");
    pty.screen(b"ab^?\r\n");
    eq(pty.line(), b"a\n");
}

case!(erase_utf8: write, read);
fn erase_utf8() {
    let pty = Pty::new().quiet();
    pty.type_in("ä\x7fb\n".as_bytes());
    // Without IUTF8 a byte goes at a time.
    eq(pty.line(), b"\xc3b\n");
    pty.change(|m| m.input |= IUTF8);
    pty.type_in("xä\x7fb\n".as_bytes());
    eq(pty.line(), b"xb\n");
}

case!(erase_a_word: write, read);
fn erase_a_word() {
    let pty = Pty::new();
    pty.type_in(b"one two  \x17\n");
    eq(pty.line(), b"one \n");
    pty.screen(b"one two  \x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\r\n");
    pty.change(|m| m.local &= !(IEXTEN | ECHO));
    pty.type_in(b"a\x17\n");
    eq(pty.line(), b"a\x17\n");
}

case!(erase_the_line: write, read);
fn erase_the_line() {
    let pty = Pty::new();
    pty.type_in(b"abc\x15x\n");
    pty.screen(b"abc\x08 \x08\x08 \x08\x08 \x08x\r\n");
    eq(pty.line(), b"x\n");
    pty.change(|m| m.local &= !ECHOKE);
    pty.type_in(b"ab\x15\n");
    pty.screen(b"ab^U\r\n\r\n");
    eq(pty.line(), b"\n");
}

case!(show_again: write, read);
fn show_again() {
    let pty = Pty::new();
    pty.type_in(b"abc\x12d\n");
    pty.screen(b"abc^R\r\nabcd\r\n");
    eq(pty.line(), b"abcd\n");
}

case!(take_the_next_as_it_is: write, read);
fn take_the_next_as_it_is() {
    let pty = Pty::new();
    pty.type_in(b"a\x16\x7f\x16\x03b\n");
    eq(pty.line(), b"a\x7f\x03b\n");
    pty.screen(b"a^\x08^?^\x08^Cb\r\n");
}

case!(end_of_file: read);
fn end_of_file() {
    let pty = Pty::new();
    pty.type_in(b"\x04");
    eq(pty.line(), b"");
    // After something it only sends that.
    pty.type_in(b"part\x04");
    eq(pty.line(), b"part");
    pty.type_in(b"rest\x04\x04");
    eq(pty.line(), b"rest");
    eq(pty.line(), b"");
    pty.screen(b"partrest");
}

case!(other_ends_of_line: read);
fn other_ends_of_line() {
    let pty = Pty::new().quiet();
    pty.change(|m| {
        m.chars[VEOL] = b';';
        m.chars[VEOL2] = b'!';
    });
    pty.type_in(b"a;b!c\n");
    eq((pty.line(), pty.line(), pty.line()), (b"a;".to_vec(), b"b!".to_vec(), b"c\n".to_vec()));
}

case!(longest_line: read, write);
fn longest_line() {
    let pty = Pty::new().quiet();
    // 4095 bytes and the line's end; more is dropped.
    pty.type_in(&[b'x'; 4000]);
    pty.type_in(&[b'y'; 1000]);
    pty.type_in(b"\n");
    let line = pty.line();
    eq((line.len(), line[4094], line[4095]), (4096, b'y', b'\n'));
    check(!pty.has_input(), "nothing more");
}

case!(switch_to_raw_keeps_what_is_typed: read, ioctl);
fn switch_to_raw_keeps_what_is_typed() {
    let pty = Pty::new().quiet();
    pty.type_in(b"early");
    pty.change(|m| m.local &= !ICANON);
    eq(pty.line(), b"early");
    pty.type_in(b"ab");
    pty.change(|m| m.local |= ICANON);
    pty.type_in(b"c\n");
    let mut all = pty.line();
    while all.len() < 4 {
        all.extend(pty.line());
    }
    eq(all, b"abc\n");
}

case!(characters_can_be_disabled: read);
fn characters_can_be_disabled() {
    let pty = Pty::new().quiet();
    pty.change(|m| m.chars[VERASE] = 0);
    pty.type_in(b"a\x7f\0\n");
    eq(pty.line(), b"a\x7f\0\n");
    pty.change(|m| m.chars[VERASE] = b'#');
    pty.type_in(b"ab#\n");
    eq(pty.line(), b"a\n");
}
