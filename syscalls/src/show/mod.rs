//! How values look in strace lines: the words and shapes of strace(1).

pub mod bits;
pub mod escape;
pub mod event;
pub mod file;
pub mod ipc;
pub mod process;
pub mod signal;
pub mod socket;
mod time;

use std::fmt::Write as _;

use zerocopy::{FromBytes, IntoBytes};

/// Guest memory, as far as looking goes.
pub trait GuestMemory {
    /// Copies bytes from `addr` on until `buf` is full or an address can't be read; answers how many.
    fn read(&self, addr: u64, buf: &mut [u8]) -> usize;
}

/// What a shown value may look at, and where it is written.
pub struct ShowCx<'a> {
    /// The raw arguments.
    pub args: [u64; 6],
    /// Guest memory.
    pub memory: &'a dyn GuestMemory,
    /// What the call answered, at exit.
    pub result: Option<u64>,
    /// Where to write.
    pub out: String,
    /// Set by an argument that the call ignores: it is left out.
    pub omit: bool,
}

/// The most bytes of a buffer that are shown.
pub const STRING_LIMIT: usize = 32;
/// The most elements of an array that are shown.
pub const ARRAY_LIMIT: usize = 32;

impl<'a> ShowCx<'a> {
    /// At entry of a call.
    pub fn new(args: [u64; 6], memory: &'a dyn GuestMemory) -> ShowCx<'a> {
        ShowCx { args, memory, result: None, out: String::new(), omit: false }
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Writes an address, null as `NULL`.
    pub fn address(&mut self, addr: u64) {
        if addr == 0 {
            self.out.push_str("NULL");
        } else {
            self.write(format_args!("{addr:#x}"));
        }
    }

    /// Writes anything that formats.
    pub fn write(&mut self, args: std::fmt::Arguments<'_>) {
        put(&mut self.out, args);
    }

    /// Reads a structure.
    pub fn read_obj<T: FromBytes + IntoBytes>(&self, addr: u64) -> Option<T> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        (self.memory.read(addr, bytes) == bytes.len()).then_some(value)
    }

    /// Writes `len` bytes of memory as a string, at most [`STRING_LIMIT`] of them.
    pub fn buffer(&mut self, addr: u64, len: u64) {
        let shown = len.min(STRING_LIMIT as u64) as usize;
        let mut bytes = [0; STRING_LIMIT];
        if addr == 0 || self.memory.read(addr, &mut bytes[..shown]) < shown {
            return self.address(addr);
        }
        escape::quote(&mut self.out, &bytes[..shown]);
        if len > shown as u64 {
            self.out.push_str("...");
        }
    }

    /// Writes a NUL-terminated string, at most `limit` bytes of it.
    pub fn c_string(&mut self, addr: u64, limit: usize) {
        let mut bytes = vec![0; limit + 1];
        let got = if addr == 0 { 0 } else { self.memory.read(addr, &mut bytes) };
        match bytes[..got].iter().position(|b| *b == 0) {
            Some(end) => escape::quote(&mut self.out, &bytes[..end]),
            None if got > limit => {
                escape::quote(&mut self.out, &bytes[..limit]);
                self.out.push_str("...");
            }
            None => self.address(addr),
        }
    }

    /// Writes a path in full.
    pub fn path(&mut self, addr: u64) {
        self.c_string(addr, abi::PATH_MAX);
    }

    /// Writes an array, at most [`ARRAY_LIMIT`] elements, `each` writing one.
    pub fn array<T: FromBytes + IntoBytes>(
        &mut self,
        addr: u64,
        count: u64,
        mut each: impl FnMut(&mut Self, &T),
    ) {
        if addr == 0 {
            return self.address(addr);
        }
        self.out.push('[');
        for i in 0..count {
            if i > 0 {
                self.out.push_str(", ");
            }
            if i == ARRAY_LIMIT as u64 {
                self.out.push_str("...");
                break;
            }
            let at = addr.wrapping_add(i.wrapping_mul(size_of::<T>() as u64));
            match self.read_obj::<T>(at) {
                Some(value) => each(self, &value),
                None => {
                    self.write(format_args!("... /* {at:#x} */"));
                    break;
                }
            }
        }
        self.out.push(']');
    }
}

/// Appends formatted text.
pub(crate) fn put(out: &mut String, args: std::fmt::Arguments<'_>) {
    out.write_fmt(args).expect("writing to a string does not fail");
}

/// A wire structure that has a shape in strace lines.
pub trait Show: FromBytes + IntoBytes {
    /// Writes it.
    fn show(&self, cx: &mut ShowCx<'_>);
}

macro_rules! show_numbers {
    ($($ty:ty),*) => {$(impl Show for $ty {
        fn show(&self, cx: &mut ShowCx<'_>) {
            cx.write(format_args!("[{self}]"));
        }
    })*};
}

show_numbers!(i32, u32, i64, u64);

/// Two descriptors: pipe(2), socketpair(2).
impl Show for [i32; 2] {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("[{}, {}]", self[0], self[1]));
    }
}

/// Guest memory made of pieces, for tests.
#[cfg(test)]
pub(crate) mod fake {
    use super::GuestMemory;

    /// Bytes at addresses.
    #[derive(Default)]
    pub struct FakeMemory(pub Vec<(u64, Vec<u8>)>);

    impl GuestMemory for FakeMemory {
        fn read(&self, addr: u64, buf: &mut [u8]) -> usize {
            for (start, bytes) in &self.0 {
                let Some(skip) = addr.checked_sub(*start) else { continue };
                if skip < bytes.len() as u64 {
                    let from = &bytes[skip as usize..];
                    let n = from.len().min(buf.len());
                    buf[..n].copy_from_slice(&from[..n]);
                    return n;
                }
            }
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ShowCx;
    use super::fake::FakeMemory;

    fn shown(bytes: &[u8], show: impl Fn(&mut ShowCx<'_>)) -> String {
        let memory = FakeMemory(vec![(0x1000, bytes.to_vec())]);
        let mut cx = ShowCx::new([0; 6], &memory);
        show(&mut cx);
        cx.out
    }

    #[test]
    fn strings_are_cut_and_bad_addresses_are_numbers() {
        assert_eq!(shown(b"hello\0", |cx| cx.path(0x1000)), "\"hello\"");
        assert_eq!(shown(b"hello", |cx| cx.path(0x1000)), "0x1000");
        assert_eq!(shown(b"", |cx| cx.path(0)), "NULL");
        assert_eq!(shown(&[b'a'; 40], |cx| cx.buffer(0x1000, 40)), format!("\"{}\"...", "a".repeat(32)));
        assert_eq!(shown(&[b'a'; 40], |cx| cx.buffer(0x1000, 32)), format!("\"{}\"", "a".repeat(32)));
        assert_eq!(shown(b"abc", |cx| cx.buffer(0x1000, 4)), "0x1000");
        assert_eq!(shown(b"abc", |cx| cx.c_string(0x1000, 2)), "\"ab\"...");
    }

    #[test]
    fn arrays_end_where_memory_ends() {
        let each = |cx: &mut ShowCx<'_>, v: &u32| cx.write(format_args!("{v}"));
        assert_eq!(shown(&[1, 0, 0, 0, 2, 0, 0, 0], |cx| cx.array(0x1000, 2, each)), "[1, 2]");
        assert_eq!(shown(&[1, 0, 0, 0, 2, 0, 0], |cx| cx.array(0x1000, 2, each)), "[1, ... /* 0x1004 */]");
        assert_eq!(shown(&[], |cx| cx.array(0x1000, u64::MAX, each)), "[... /* 0x1000 */]");
        assert_eq!(shown(&[], |cx| cx.array(0x1000, 0, each)), "[]");
    }
}
