//! The line discipline of terminals: editing, echo, signals, output processing (termios(3), N_TTY of Linux).
//!
//! [`LineDiscipline`] is the state between the two ends of a pseudo-terminal: what was typed and what is to be shown. It
//! knows no files, tasks or locks; the pty holds it under its own.

use std::collections::VecDeque;

use abi::signal::Signal;
use abi::termios::{
    B38400, CS8, ControlFlags, InputFlags, LocalFlags, OutputFlags, Termios2, VEOF, VEOL, VEOL2, VERASE,
    VINTR, VKILL, VLNEXT, VMIN, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP, VTIME, VWERASE,
};

/// How much of what was typed is kept (N_TTY_BUF_SIZE).
const INPUT_MAX: usize = 4096;
/// The longest line that can be edited; the rest of the buffer is for its end.
const LINE_MAX: usize = INPUT_MAX - 1;
/// How much output waits for its reader.
const OUTPUT_MAX: usize = 65536;
/// Output that echo may add beyond that.
const ECHO_ROOM: usize = 4096;
/// `_POSIX_VDISABLE`: a control character that is none.
const DISABLED: u8 = 0;

/// One typed byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Byte(u8),
    /// The last byte of a line.
    End(u8),
    /// VEOF: ends a line without being part of it.
    Eof,
}

/// What a read finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    /// So many bytes, which may be zero: an end of file.
    Now(usize),
    /// Nothing yet.
    Wait,
    /// Nothing yet; after so many tenths of a second, an empty read.
    WaitTenths(u8),
}

/// See the module.
pub struct LineDiscipline {
    /// Attributes.
    pub termios: Termios2,
    input: VecDeque<Cell>,
    /// Cells of complete lines at the front of `input`.
    complete: usize,
    output: VecDeque<u8>,
    column: usize,
    /// Column where the line being edited began.
    line_column: usize,
    /// VLNEXT: the next character is no control character.
    literal: bool,
    /// VSTOP: output waits.
    stopped: bool,
}

/// What typing has caused besides input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caused {
    /// For the foreground process group.
    pub signal: Option<Signal>,
    /// Bytes taken.
    pub taken: usize,
}

/// Attributes of a new pseudo-terminal: Linux's `tty_std_termios`, but for HUPCL.
pub fn standard_termios() -> Termios2 {
    let mut c_cc = [0u8; abi::termios::NCCS];
    for (place, value) in [
        (VINTR, 0o3),
        (VQUIT, 0o34),
        (VERASE, 0o177),
        (VKILL, 0o25),
        (VEOF, 0o4),
        (VTIME, 0),
        (VMIN, 1),
        (VSTART, 0o21),
        (VSTOP, 0o23),
        (VSUSP, 0o32),
        (VREPRINT, 0o22),
        (abi::termios::VDISCARD, 0o17),
        (VWERASE, 0o27),
        (VLNEXT, 0o26),
    ] {
        c_cc[place] = value;
    }
    let lflag = LocalFlags::ISIG
        | LocalFlags::ICANON
        | LocalFlags::ECHO
        | LocalFlags::ECHOE
        | LocalFlags::ECHOK
        | LocalFlags::ECHOCTL
        | LocalFlags::ECHOKE
        | LocalFlags::IEXTEN;
    Termios2 {
        c_iflag: (InputFlags::ICRNL | InputFlags::IXON).bits(),
        c_oflag: (OutputFlags::OPOST | OutputFlags::ONLCR).bits(),
        c_cflag: B38400 | CS8 | ControlFlags::CREAD.bits(),
        c_lflag: lflag.bits(),
        c_line: 0,
        c_cc,
        c_ispeed: 38400,
        c_ospeed: 38400,
    }
}

impl Default for LineDiscipline {
    fn default() -> Self {
        LineDiscipline {
            termios: standard_termios(),
            input: VecDeque::new(),
            complete: 0,
            output: VecDeque::new(),
            column: 0,
            line_column: 0,
            literal: false,
            stopped: false,
        }
    }
}

impl LineDiscipline {
    fn iflag(&self, flag: InputFlags) -> bool {
        self.termios.c_iflag & flag.bits() != 0
    }

    fn oflag(&self, flag: OutputFlags) -> bool {
        self.termios.c_oflag & flag.bits() != 0
    }

    /// Whether a local flag is set.
    pub fn lflag(&self, flag: LocalFlags) -> bool {
        self.termios.c_lflag & flag.bits() != 0
    }

    fn is(&self, byte: u8, place: usize) -> bool {
        let control = self.termios.c_cc[place];
        control != DISABLED && byte == control
    }

    fn canonical(&self) -> bool {
        self.lflag(LocalFlags::ICANON)
    }

    /// New attributes. Leaving canonical mode makes everything typed readable; entering it makes it one line.
    pub fn set_termios(&mut self, new: Termios2) {
        let was = self.canonical();
        self.termios = new;
        if was != self.canonical() {
            if self.canonical() {
                self.complete = self.input.len();
            } else {
                self.input.retain(|c| *c != Cell::Eof);
                self.complete = 0;
            }
        }
        if !self.iflag(InputFlags::IXON) {
            self.stopped = false;
        }
    }

    /// Whether typed bytes still have room.
    pub fn takes_input(&self) -> bool {
        // A full line still takes its end, and editing.
        self.input.len() < INPUT_MAX || self.canonical() && self.complete == 0
    }

    /// Whether output still has room.
    pub fn takes_output(&self) -> bool {
        self.output.len() < OUTPUT_MAX && !self.stopped
    }

    /// Whether there is output to be shown.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Bytes of output that wait.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Takes typed bytes, up to and including the first that causes a signal.
    pub fn type_bytes(&mut self, bytes: &[u8]) -> Caused {
        let mut caused = Caused::default();
        for byte in bytes {
            if !self.takes_input() {
                break;
            }
            caused.taken += 1;
            caused.signal = self.type_byte(*byte);
            if caused.signal.is_some() {
                break;
            }
        }
        caused
    }

    fn type_byte(&mut self, mut byte: u8) -> Option<Signal> {
        if self.lflag(LocalFlags::EXTPROC) {
            self.store(byte);
            return None;
        }
        if self.iflag(InputFlags::ISTRIP) {
            byte &= 0x7f;
        }
        if self.iflag(InputFlags::IUCLC) && self.lflag(LocalFlags::IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if self.literal {
            self.literal = false;
            self.echo_visible(byte);
            self.store(byte);
            return None;
        }
        if self.stopped && self.iflag(InputFlags::IXANY) && !self.is(byte, VSTOP) {
            self.stopped = false;
        }
        if self.iflag(InputFlags::IXON) {
            if self.is(byte, VSTART) {
                self.stopped = false;
                return None;
            }
            if self.is(byte, VSTOP) {
                self.stopped = true;
                return None;
            }
        }
        if self.lflag(LocalFlags::ISIG) {
            let signal = [(VINTR, Signal::SIGINT), (VQUIT, Signal::SIGQUIT), (VSUSP, Signal::SIGTSTP)];
            if let Some((_, signal)) = signal.into_iter().find(|(place, _)| self.is(byte, *place)) {
                return Some(self.signal(byte, signal));
            }
        }
        match byte {
            b'\r' if self.iflag(InputFlags::IGNCR) => return None,
            b'\r' if self.iflag(InputFlags::ICRNL) => byte = b'\n',
            b'\n' if self.iflag(InputFlags::INLCR) => byte = b'\r',
            _ => {}
        }
        if self.canonical() {
            self.edit(byte)
        } else {
            self.plain(byte)
        }
        None
    }

    fn signal(&mut self, byte: u8, signal: Signal) -> Signal {
        if !self.lflag(LocalFlags::NOFLSH) {
            self.flush_input();
            self.flush_output();
        }
        self.stopped = false;
        if self.lflag(LocalFlags::ECHO) {
            self.echo_visible(byte);
        }
        signal
    }

    fn plain(&mut self, byte: u8) {
        if self.lflag(LocalFlags::ECHO) {
            self.echo(byte);
        }
        self.store(byte);
    }

    fn store(&mut self, byte: u8) {
        if self.input.len() < INPUT_MAX {
            self.input.push_back(Cell::Byte(byte));
        }
    }

    fn end_line(&mut self, end: Cell) {
        self.input.push_back(end);
        self.complete = self.input.len();
        self.line_column = self.column;
    }

    /// A byte of a line that can still be edited.
    fn edit(&mut self, byte: u8) {
        let extended = self.lflag(LocalFlags::IEXTEN);
        if self.is(byte, VERASE) {
            return self.erase_one();
        }
        if self.is(byte, VKILL) {
            return self.kill(byte);
        }
        if extended && self.is(byte, VWERASE) {
            return self.erase_word();
        }
        if extended && self.is(byte, VLNEXT) {
            self.literal = true;
            if self.lflag(LocalFlags::ECHO) && self.lflag(LocalFlags::ECHOCTL) {
                self.show(b'^');
                self.show(8);
            }
            return;
        }
        if extended && self.is(byte, VREPRINT) && self.lflag(LocalFlags::ECHO) {
            self.echo_visible(byte);
            self.show_raw(b'\n');
            let line: Vec<u8> = self.line().collect();
            line.into_iter().for_each(|b| self.echo_visible(b));
            return;
        }
        if byte == b'\n' {
            if self.lflag(LocalFlags::ECHO) || self.lflag(LocalFlags::ECHONL) {
                self.show_raw(b'\n');
            }
            return self.end_line(Cell::End(byte));
        }
        if self.is(byte, VEOF) {
            return self.end_line(Cell::Eof);
        }
        let ends = self.is(byte, VEOL) || extended && self.is(byte, VEOL2);
        if ends {
            if self.lflag(LocalFlags::ECHO) {
                self.echo_visible(byte);
            }
            return self.end_line(Cell::End(byte));
        }
        if self.input.len() >= LINE_MAX {
            // Too long: the bell, if wanted, and the byte is lost.
            if self.iflag(InputFlags::IMAXBEL) {
                self.show(7);
            }
            return;
        }
        if self.lflag(LocalFlags::ECHO) {
            self.echo(byte);
        }
        self.store(byte);
    }

    fn line(&self) -> impl Iterator<Item = u8> + '_ {
        self.input.iter().skip(self.complete).filter_map(|c| match c {
            Cell::Byte(b) | Cell::End(b) => Some(*b),
            Cell::Eof => None,
        })
    }

    fn last(&self) -> Option<u8> {
        if self.input.len() == self.complete {
            return None;
        }
        match self.input.back() {
            Some(Cell::Byte(b)) => Some(*b),
            _ => None,
        }
    }

    /// Takes the last character of the line away: with IUTF8, all bytes of it.
    fn erase_one(&mut self) {
        let mut taken = 0;
        let mut first = 0;
        while let Some(byte) = self.last() {
            self.input.pop_back();
            taken += 1;
            first = byte;
            if !(self.iflag(InputFlags::IUTF8) && byte & 0xc0 == 0x80) {
                break;
            }
        }
        if taken > 0 {
            self.unshow(first);
        }
    }

    fn erase_word(&mut self) {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
        while self.last().is_some_and(|b| !is_word(b)) {
            self.erase_one();
        }
        while self.last().is_some_and(is_word) {
            self.erase_one();
        }
    }

    fn kill(&mut self, byte: u8) {
        let visual =
            self.lflag(LocalFlags::ECHOKE) && self.lflag(LocalFlags::ECHOE) && self.lflag(LocalFlags::ECHOK);
        if visual {
            while self.last().is_some() {
                self.erase_one();
            }
            return;
        }
        self.input.truncate(self.complete);
        if self.lflag(LocalFlags::ECHO) {
            self.echo_visible(byte);
            if self.lflag(LocalFlags::ECHOK) {
                self.show_raw(b'\n');
            }
        }
    }

    /// Takes a shown character off the screen.
    fn unshow(&mut self, byte: u8) {
        if !self.lflag(LocalFlags::ECHO) {
            return;
        }
        if !self.lflag(LocalFlags::ECHOE) {
            let erase = self.termios.c_cc[VERASE];
            return self.echo_visible(erase);
        }
        let width = if byte == b'\t' {
            // Back to where the tab began: what the line shows up to there.
            let mut column = self.line_column;
            for b in self.line() {
                column = advance(column, b, self.lflag(LocalFlags::ECHOCTL));
            }
            self.column.saturating_sub(column)
        } else if byte.is_ascii_control() {
            if self.lflag(LocalFlags::ECHOCTL) { 2 } else { 0 }
        } else {
            1
        };
        for _ in 0..width {
            if byte == b'\t' {
                self.show(8);
            } else {
                [8, b' ', 8].into_iter().for_each(|b| self.show(b));
            }
        }
    }

    fn echo(&mut self, byte: u8) {
        if byte == b'\n' || byte == b'\t' || !byte.is_ascii_control() {
            self.show_raw(byte);
        } else {
            self.echo_visible(byte);
        }
    }

    /// Control characters as `^X`, if ECHOCTL says so.
    fn echo_visible(&mut self, byte: u8) {
        if !self.lflag(LocalFlags::ECHO) {
            return;
        }
        if byte.is_ascii_control() && byte != b'\t' && self.lflag(LocalFlags::ECHOCTL) {
            self.show(b'^');
            self.show(byte ^ 0o100);
        } else {
            self.show_raw(byte);
        }
    }

    /// Echo goes through output processing.
    fn show_raw(&mut self, byte: u8) {
        if self.output.len() < OUTPUT_MAX + ECHO_ROOM {
            self.put(byte);
        }
    }

    fn show(&mut self, byte: u8) {
        if self.output.len() < OUTPUT_MAX + ECHO_ROOM {
            match byte {
                8 => self.column = self.column.saturating_sub(1),
                7 => {}
                _ => self.column += 1,
            }
            self.output.push_back(byte);
        }
    }

    /// Takes output of a program; how many bytes there was room for.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        for byte in bytes {
            if !self.takes_output() {
                break;
            }
            self.put(*byte);
            taken += 1;
        }
        self.line_column = self.column;
        taken
    }

    fn put(&mut self, byte: u8) {
        if !self.oflag(OutputFlags::OPOST) {
            self.output.push_back(byte);
            return;
        }
        match byte {
            b'\n' => {
                if self.oflag(OutputFlags::ONLCR) {
                    self.output.push_back(b'\r');
                    self.column = 0;
                }
                if self.oflag(OutputFlags::ONLRET) {
                    self.column = 0;
                }
                self.output.push_back(b'\n');
            }
            b'\r' => {
                if self.oflag(OutputFlags::ONOCR) && self.column == 0 {
                    return;
                }
                if self.oflag(OutputFlags::OCRNL) {
                    return self.output.push_back(b'\n');
                }
                self.column = 0;
                self.output.push_back(b'\r');
            }
            b'\t' => {
                let spaces = 8 - self.column % 8;
                self.column += spaces;
                if self.termios.c_oflag & abi::termios::TABDLY == OutputFlags::XTABS.bits() {
                    self.output.extend(std::iter::repeat_n(b' ', spaces));
                } else {
                    self.output.push_back(b'\t');
                }
            }
            8 => {
                self.column = self.column.saturating_sub(1);
                self.output.push_back(8);
            }
            _ => {
                let byte = if self.oflag(OutputFlags::OLCUC) { byte.to_ascii_uppercase() } else { byte };
                // Bytes inside a UTF-8 character take no column of their own.
                let inside = self.iflag(InputFlags::IUTF8) && byte & 0xc0 == 0x80;
                self.column += usize::from(!byte.is_ascii_control() && !inside);
                self.output.push_back(byte);
            }
        }
    }

    /// Takes output away, to be shown.
    pub fn take_output(&mut self, max: usize) -> Vec<u8> {
        let n = max.min(self.output.len());
        self.output.drain(..n).collect()
    }

    /// Bytes a read would get.
    pub fn readable(&self, wanted: usize) -> Readable {
        if self.canonical() {
            if self.complete == 0 {
                return Readable::Wait;
            }
            let line = self.input.iter().position(|c| !matches!(c, Cell::Byte(_)));
            let bytes = match line {
                Some(at) => at + usize::from(self.input[at] != Cell::Eof),
                None => self.complete,
            };
            return Readable::Now(bytes.min(wanted));
        }
        let (min, tenths) = (usize::from(self.termios.c_cc[VMIN]), self.termios.c_cc[VTIME]);
        let there = self.input.len();
        if there > 0 && (there >= min.min(wanted) || tenths > 0 && min > 0 && there >= min) {
            return Readable::Now(there.min(wanted));
        }
        match (min, tenths) {
            (0, 0) => Readable::Now(0),
            (0, tenths) => Readable::WaitTenths(tenths),
            // The time runs from byte to byte, once there is one.
            (_, tenths) if tenths > 0 && there > 0 => Readable::WaitTenths(tenths),
            _ => Readable::Wait,
        }
    }

    /// Whether poll says that input is there.
    pub fn has_input(&self) -> bool {
        if self.canonical() {
            return self.complete > 0;
        }
        let (min, tenths) = (usize::from(self.termios.c_cc[VMIN]), self.termios.c_cc[VTIME]);
        let enough = if tenths == 0 && min > 0 { min } else { 1 };
        self.input.len() >= enough
    }

    /// Bytes that FIONREAD counts.
    pub fn input_len(&self) -> usize {
        if !self.canonical() {
            return self.input.len();
        }
        self.input.iter().take(self.complete).filter(|c| **c != Cell::Eof).count()
    }

    /// Takes input away: one line at most in canonical mode.
    pub fn read(&mut self, wanted: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.canonical() {
            let n = wanted.min(self.input.len());
            bytes.extend(self.input.drain(..n).filter_map(|c| match c {
                Cell::Byte(b) | Cell::End(b) => Some(b),
                Cell::Eof => None,
            }));
            return bytes;
        }
        while self.complete > 0 {
            match self.input.front() {
                Some(Cell::Eof) => {
                    // Belongs to the line before it, when that is read to its end.
                    self.pop();
                    break;
                }
                _ if bytes.len() == wanted => break,
                Some(Cell::End(byte)) => {
                    bytes.push(*byte);
                    self.pop();
                    break;
                }
                Some(Cell::Byte(byte)) => {
                    bytes.push(*byte);
                    self.pop();
                }
                None => break,
            }
        }
        bytes
    }

    fn pop(&mut self) {
        self.input.pop_front();
        self.complete -= 1;
    }

    /// Throws what was typed away.
    pub fn flush_input(&mut self) {
        self.input.clear();
        self.complete = 0;
        self.literal = false;
    }

    /// Throws output away.
    pub fn flush_output(&mut self) {
        self.output.clear();
    }

    /// Stops or continues output (TCOOFF, TCOON).
    pub fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
    }

    /// Output to the reader waits: VSTOP or TCOOFF.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }
}

fn advance(column: usize, byte: u8, control_shown: bool) -> usize {
    match byte {
        b'\t' => column + 8 - column % 8,
        _ if byte.is_ascii_control() => column + if control_shown { 2 } else { 0 },
        _ => column + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> LineDiscipline {
        let mut line = LineDiscipline::default();
        assert_eq!(line.type_bytes(bytes).taken, bytes.len());
        line
    }

    #[test]
    fn a_line_is_there_only_when_it_has_ended() {
        let mut line = typed(b"ab");
        assert_eq!(line.readable(10), Readable::Wait);
        line.type_bytes(b"c\r");
        assert_eq!(line.readable(2), Readable::Now(2));
        assert_eq!(line.read(2), b"ab");
        assert_eq!(line.read(10), b"c\n");
        assert_eq!(line.take_output(100), b"abc\r\n");
    }

    #[test]
    fn erase_word_and_kill() {
        let mut line = typed(b"one two\x17x\x7fthree\n");
        assert_eq!(line.read(100), b"one three\n");
        let mut line = typed(b"gone\x15here\n");
        assert_eq!(line.read(100), b"here\n");
    }

    #[test]
    fn end_of_file() {
        let mut line = typed(b"ab\x04");
        assert_eq!(line.read(100), b"ab");
        assert_eq!(line.readable(10), Readable::Wait);
        line.type_bytes(b"\x04");
        assert_eq!(line.readable(10), Readable::Now(0));
        assert_eq!(line.read(10), b"");
        assert_eq!(line.readable(10), Readable::Wait);
    }

    #[test]
    fn interrupt_flushes_and_signals() {
        let mut line = LineDiscipline::default();
        let caused = line.type_bytes(b"ab\x03cd\n");
        assert_eq!((caused.signal, caused.taken), (Some(Signal::SIGINT), 3));
        line.type_bytes(b"cd\n");
        assert_eq!(line.read(100), b"cd\n");
    }

    #[test]
    fn raw_mode() {
        let mut line = LineDiscipline::default();
        let mut raw = line.termios;
        raw.c_lflag = 0;
        raw.c_iflag = 0;
        raw.c_cc[VMIN] = 3;
        line.set_termios(raw);
        line.type_bytes(b"\x03\x04");
        assert_eq!(line.readable(10), Readable::Wait);
        line.type_bytes(b"x");
        assert_eq!(line.readable(10), Readable::Now(3));
        assert_eq!(line.read(10), b"\x03\x04x");
    }

    #[test]
    fn output_is_processed() {
        let mut line = LineDiscipline::default();
        line.write(b"a\nb\tc");
        assert_eq!(line.take_output(100), b"a\r\nb\tc");
        let mut raw = line.termios;
        raw.c_oflag = 0;
        line.set_termios(raw);
        line.write(b"\n");
        assert_eq!(line.take_output(100), b"\n");
    }
}
