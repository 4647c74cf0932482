//! termios: what is set at first, and what each mode does to bytes.

use crate::kit::prelude::*;
use crate::kit::pty::{Pty, readable};

case!(modes_at_first: ioctl);
fn modes_at_first() {
    let modes = Pty::new().modes();
    eq(modes.input, ICRNL | IXON);
    eq(modes.output, OPOST | ONLCR);
    eq(modes.control & !CBAUD, CS8 | CREAD);
    let local = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
    eq((modes.local, modes.line), (local, 0));
    eq(modes.chars[..13].to_vec(), [3, 0x1c, 0x7f, 0x15, 4, 0, 1, 0, 0x11, 0x13, 0x1a, 0, 0x12]);
}

case!(modes_are_the_pairs: ioctl);
fn modes_are_the_pairs() {
    let pty = Pty::new();
    pty.change(|m| {
        m.local &= !ECHO;
        m.chars[VINTR] = 7;
    });
    let twin = open(&pty.name(), O_RDWR | O_NOCTTY);
    let mut modes = pty.modes();
    ok(sys!(ioctl, twin, TCGETS, &mut modes));
    eq((modes.local & ECHO, modes.chars[VINTR]), (0, 7));
    // Through the master the slave's are seen.
    ok(sys!(ioctl, pty.master, TCGETS, &mut modes));
    eq(modes.chars[VINTR], 7);
    ok(sys!(ioctl, pty.slave, TCSETSW, &modes));
    fails(sys!(ioctl, pty.slave, TCSETS, 8), EFAULT);
}

case!(output_newlines: write);
fn output_newlines() {
    let pty = Pty::new();
    write_all(pty.slave, b"a\nb\r\n");
    pty.screen(b"a\r\nb\r\r\n");
    pty.change(|m| m.output &= !ONLCR);
    write_all(pty.slave, b"a\n");
    pty.screen(b"a\n");
    pty.change(|m| m.output |= OCRNL);
    write_all(pty.slave, b"a\r");
    pty.screen(b"a\n");
    pty.change(|m| m.output = 0);
    write_all(pty.slave, b"a\r\n\t");
    pty.screen(b"a\r\n\t");
}

case!(output_returns: write);
fn output_returns() {
    // None at the start of a line.
    let pty = Pty::new();
    pty.change(|m| m.output = OPOST | ONOCR);
    write_all(pty.slave, b"\rab\r\rc");
    pty.screen(b"ab\rc");
}

case!(output_tabs: write);
fn output_tabs() {
    let pty = Pty::new();
    pty.change(|m| m.output |= TAB3);
    write_all(pty.slave, b"ab\tc\n\tx");
    pty.screen(b"ab      c\r\n        x");
}

case!(input_translation: read);
fn input_translation() {
    let pty = Pty::new().quiet();
    pty.type_in(b"a\r");
    eq(pty.line(), b"a\n");
    pty.change(|m| m.input = INLCR);
    pty.change(|m| m.local &= !ICANON);
    pty.type_in(b"x\ny\r");
    eq(pty.line(), b"x\ry\r");
    pty.change(|m| m.input = IGNCR);
    pty.type_in(b"x\ry");
    eq(pty.line(), b"xy");
    pty.change(|m| m.input = ISTRIP);
    pty.type_in(b"\xe1\xff");
    eq(pty.line(), b"a\x7f");
    pty.change(|m| m.input = IUCLC);
    pty.type_in(b"AbC");
    eq(pty.line(), b"abc");
}

case!(raw_bytes: read);
fn raw_bytes() {
    let pty = Pty::new();
    pty.change(|m| {
        m.input = 0;
        m.output = 0;
        m.local = 0;
        m.chars[VMIN] = 1;
        m.chars[VTIME] = 0;
    });
    let all: Vec<u8> = (0..=255).collect();
    pty.type_in(&all);
    let mut got = Vec::new();
    while got.len() < 256 {
        got.extend(pty.line());
    }
    eq(got, all);
    pty.screen(b"");
}

case!(minimum_of_bytes: read);
fn minimum_of_bytes() {
    let pty = Pty::new().quiet();
    pty.change(|m| {
        m.local &= !ICANON;
        m.chars[VMIN] = 3;
    });
    pty.type_in(b"ab");
    check(!pty.has_input(), "two are too few");
    let child = fork(|| eq(read(pty.slave, 100), b"abc"));
    until_asleep(child.pid);
    pty.type_in(b"c");
    child.succeeds();
    // No more than is wanted is waited for.
    pty.type_in(b"x");
    eq(read(pty.slave, 1), b"x");
}

case!(minimum_of_none: read);
fn minimum_of_none() {
    let pty = Pty::new().quiet();
    pty.change(|m| {
        m.local &= !ICANON;
        m.chars[VMIN] = 0;
        m.chars[VTIME] = 0;
    });
    eq(read(pty.slave, 10), b"");
    pty.type_in(b"x");
    check(readable(pty.slave, 5000), "input");
    eq(read(pty.slave, 10), b"x");
    pty.change(|m| m.chars[VTIME] = 1);
    let start = now_ns(CLOCK_MONOTONIC);
    eq(read(pty.slave, 10), b"");
    check(now_ns(CLOCK_MONOTONIC) - start >= 90_000_000, "a tenth of a second");
}

case!(time_between_bytes: read);
fn time_between_bytes() {
    let pty = Pty::new().quiet();
    pty.change(|m| {
        m.local &= !ICANON;
        m.chars[VMIN] = 10;
        m.chars[VTIME] = 1;
    });
    // Waits for the first, then no longer than that for the next.
    let child = fork(|| eq(read(pty.slave, 100), b"ab"));
    until_asleep(child.pid);
    pty.type_in(b"ab");
    child.succeeds();
}

case!(stop_and_go: write, ioctl);
fn stop_and_go() {
    let pty = Pty::new().quiet();
    ok(sys!(fcntl, pty.slave, F_SETFL, O_NONBLOCK));
    pty.type_in(b"\x13");
    sleep_ms(20);
    // Held back.
    fails(sys!(write, pty.slave, c"x", 1), EAGAIN);
    pty.type_in(b"\x11");
    eventually("it goes on", || sys!(write, pty.slave, c"y", 1).is_ok());
    pty.screen(b"y");
    // Neither key is input.
    check(!pty.has_input(), "no input");
    ok(sys!(ioctl, pty.slave, TCXONC, TCOOFF));
    fails(sys!(write, pty.slave, c"x", 1), EAGAIN);
    ok(sys!(ioctl, pty.slave, TCXONC, TCOON));
    eq(ok(sys!(write, pty.slave, c"z", 1)), 1);
    pty.screen(b"z");
    fails(sys!(ioctl, pty.slave, TCXONC, 9), EINVAL);
}
