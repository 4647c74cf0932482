//! `cases transcript files SEED STEPS DIRECTORY`: random calls on a tree of files and on the contents of some (what fsstress
//! and fsx do), a line each with what they answered. The host's lines are what the sandbox has to print on a file system of
//! the same kind (`tests/transcripts.rs` compares).
//!
//! What file systems are free to choose is not printed: sizes and link counts of directories, blocks, times that the kernel
//! set, inode numbers, the order of entries.

use std::ffi::CString;
use std::fmt::Write;
use std::path::Path;

use crate::kit::files::{open_up, remove_tree};
use crate::kit::prelude::*;

/// Names in a directory.
const NAMES: usize = 5;
/// Descriptors that are open at a time.
const OPEN: usize = 8;
/// Bytes that a file has at most.
const SIZE: usize = 160 * 1024;

struct Fuzz {
    random: u64,
    open: [c_int; OPEN],
    line: String,
    root: bool,
}

/// Runs; gives the exit status.
pub fn run(words: &[&str]) -> c_int {
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
    let (Some(seed), Some(steps), Some(directory)) = (number(0), number(1), words.get(2)) else {
        crate::kit::check::say("usage: cases transcript files SEED STEPS DIRECTORY");
        return 2;
    };
    let top = CString::new(format!("{directory}/transcript.{seed}")).unwrap_or_default();
    ok(sys!(umask, 0o22));
    // A FIFO that nobody reads is written to.
    sig::block(sig::bit(SIGPIPE));
    // Of a run that was cut off.
    remove_tree(&format!("{directory}/transcript.{seed}"));
    ok(sys!(mkdirat, AT_FDCWD, top.as_c_str(), 0o755));
    ok(sys!(chdir, top.as_c_str()));
    let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut fuzz = Fuzz { random, open: [-1; OPEN], line: String::new(), root: is_root() };
    let mut all = String::new();
    for step in 0..steps {
        fuzz.line.clear();
        let answer = fuzz.step();
        let _ = match answer {
            Ok(value) => writeln!(all, "{step} {} = {value}", fuzz.line),
            Err(errno) => writeln!(all, "{step} {} = {errno:?}", fuzz.line),
        };
    }
    fuzz.tree(&mut all, ".");
    // For whoever removes it.
    open_up(Path::new(&format!("{directory}/transcript.{seed}")));
    write_all(1, all.as_bytes());
    0
}

/// FNV-1a, to tell contents apart.
fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

impl Fuzz {
    fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let _ = self.line.write_fmt(what);
    }

    /// A path of one to three names; sometimes with dots, or with slashes at the end.
    fn path(&mut self) -> CString {
        let mut path = String::new();
        for _ in 0..self.pick(&[1, 1, 1, 2, 2, 3]) {
            let name = (b'a' + self.below(NAMES) as u8) as char;
            match self.below(16) {
                0 => path.push_str("../"),
                1 => path.push_str("./"),
                _ => {}
            }
            path.push(name);
            path.push('/');
        }
        if !self.one_in(15) {
            path.pop();
        }
        // Never above the top: the walk begins there, and a name goes down first.
        while path.starts_with("../") {
            path.replace_range(..3, "");
        }
        if path.contains("../..") { c("a") } else { c(&path) }
    }

    fn slot(&mut self) -> (usize, c_int) {
        // Mostly one that is open.
        for _ in 0..12 {
            let slot = self.below(OPEN);
            if self.open[slot] >= 0 {
                return (slot, self.open[slot]);
            }
        }
        (0, self.open[0])
    }

    fn step(&mut self) -> Answer {
        match self.below(33) {
            0..=2 => self.open(),
            3 => {
                let (path, mode) = (self.path(), self.pick(&[0o755, 0o777, 0o2775, 0o1777, 0o700]));
                self.note(format_args!("mkdir {path:?} {mode:o}"));
                sys!(mkdirat, AT_FDCWD, path.as_c_str(), mode)
            }
            4 | 5 => {
                let (path, flags) = (self.path(), self.pick(&[0, 0, 0, AT_REMOVEDIR]));
                self.note(format_args!("unlink {path:?} {flags:x}"));
                sys!(unlinkat, AT_FDCWD, path.as_c_str(), flags)
            }
            6..=8 => {
                let (from, to) = (self.path(), self.path());
                let flags = self.pick(&[0, 0, 0, 1, 2, 3]);
                self.note(format_args!("rename {from:?} {to:?} {flags}"));
                sys!(renameat2, AT_FDCWD, from.as_c_str(), AT_FDCWD, to.as_c_str(), flags)
            }
            9 => {
                let (from, to) = (self.path(), self.path());
                let flags = self.pick(&[0, 0, AT_SYMLINK_FOLLOW]);
                self.note(format_args!("link {from:?} {to:?} {flags:x}"));
                sys!(linkat, AT_FDCWD, from.as_c_str(), AT_FDCWD, to.as_c_str(), flags)
            }
            10 => {
                let (target, path) = (self.path(), self.path());
                self.note(format_args!("symlink {target:?} {path:?}"));
                sys!(symlinkat, target.as_c_str(), AT_FDCWD, path.as_c_str())
            }
            11 => self.read_link(),
            12 => {
                let (path, kind) = (self.path(), self.pick(&[S_IFIFO, S_IFREG, S_IFSOCK]));
                self.note(format_args!("mknod {path:?} {kind:o}"));
                sys!(mknodat, AT_FDCWD, path.as_c_str(), kind | 0o644, 0)
            }
            13 => {
                let (path, mode) = (self.path(), self.below(0o10000));
                self.note(format_args!("chmod {path:?} {mode:o}"));
                sys!(fchmodat, AT_FDCWD, path.as_c_str(), mode)
            }
            14 if self.root => {
                let (path, flags) = (self.path(), self.pick(&[0, AT_SYMLINK_NOFOLLOW]));
                let (uid, gid) = (self.pick(&[0, 5, u32::MAX]), self.pick(&[0, 7, u32::MAX]));
                self.note(format_args!("chown {path:?} {uid} {gid} {flags:x}"));
                sys!(fchownat, AT_FDCWD, path.as_c_str(), uid, gid, flags)
            }
            14 | 15 => {
                let (path, at) = (self.path(), self.below(1 << 30) as i64);
                let times = [at, at / 3 % 1_000_000_000, at / 2, UTIME_OMIT];
                self.note(format_args!("utimens {path:?} {at}"));
                sys!(utimensat, AT_FDCWD, path.as_c_str(), &times, 0)
            }
            16 | 17 => {
                let (path, flags) = (self.path(), self.pick(&[0, AT_SYMLINK_NOFOLLOW]));
                self.note(format_args!("stat {path:?} {flags:x}"));
                self.stat(AT_FDCWD, &path, flags)
            }
            18 => {
                let (slot, fd) = self.slot();
                self.note(format_args!("fstat #{slot}"));
                self.stat(fd, c"", AT_EMPTY_PATH)
            }
            19 => {
                let (path, len) = (self.path(), self.below(SIZE));
                self.note(format_args!("truncate {path:?} {len}"));
                sys!(truncate, path.as_c_str(), len)
            }
            20 => self.attribute(),
            21 => {
                let path = self.path();
                self.note(format_args!("list {path:?} "));
                let list = self.list(&path)?;
                self.note(format_args!("{}", list.join(" ")));
                Ok(list.len() as i64)
            }
            _ => self.contents(),
        }
    }

    fn open(&mut self) -> Answer {
        let slot = self.below(OPEN);
        if self.open[slot] >= 0 {
            close(self.open[slot]);
            self.open[slot] = -1;
        }
        let mut flags = self.pick(&[O_RDWR, O_RDWR, O_RDONLY, O_WRONLY]) | O_NONBLOCK;
        for (one_in, flag) in [
            (2, O_CREAT),
            (6, O_EXCL),
            (6, O_TRUNC),
            (6, O_APPEND),
            (12, O_NOFOLLOW),
            (15, O_DIRECTORY),
            (15, O_PATH),
        ] {
            flags |= if self.one_in(one_in) { flag } else { 0 };
        }
        let (path, mode) = (self.path(), self.pick(&[0o644, 0o666, 0o4755, 0o600]));
        self.note(format_args!("open #{slot} {path:?} {flags:o} {mode:o}"));
        let fd = sys!(openat, AT_FDCWD, path.as_c_str(), flags | O_CLOEXEC, mode)?;
        self.open[slot] = fd as c_int;
        Ok(0)
    }

    fn read_link(&mut self) -> Answer {
        let path = self.path();
        let mut target = [0u8; 64];
        self.note(format_args!("readlink {path:?}"));
        let n = sys!(readlinkat, AT_FDCWD, path.as_c_str(), &mut target, 64)?;
        self.note(format_args!(" {}", String::from_utf8_lossy(&target[..n as usize])));
        Ok(n)
    }

    fn stat(&mut self, dir: c_int, path: &std::ffi::CStr, flags: c_int) -> Answer {
        let mut st: libc::stat = zeroed();
        sys!(newfstatat, dir, path, &mut st, flags)?;
        let (size, links) = match st.st_mode & S_IFMT {
            S_IFDIR => (0, 0),
            _ => (st.st_size, st.st_nlink),
        };
        self.note(format_args!(" {:o} {links} {}:{} {size}", st.st_mode, st.st_uid, st.st_gid));
        Ok(0)
    }

    fn attribute(&mut self) -> Answer {
        let path = self.path();
        let name = self.pick(&[c"user.one", c"user.two"]);
        let mut value = [0u8; 64];
        match self.below(4) {
            0 | 1 => {
                let (len, flags) = (self.below(40), self.pick(&[0, 0, 1, 2]));
                self.note(format_args!("setxattr {path:?} {name:?} {len} {flags}"));
                sys!(setxattr, path.as_c_str(), name, &[7u8; 64], len, flags)
            }
            2 => {
                self.note(format_args!("getxattr {path:?} {name:?}"));
                sys!(getxattr, path.as_c_str(), name, &mut value, 64)
            }
            _ => {
                self.note(format_args!("removexattr {path:?} {name:?}"));
                sys!(removexattr, path.as_c_str(), name)
            }
        }
    }

    /// Names with their types, in order.
    fn list(&mut self, path: &std::ffi::CStr) -> Result<Vec<String>, Errno> {
        let fd = sys!(openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)? as c_int;
        let mut names = Vec::new();
        let mut buf = [0u8; 1024];
        loop {
            let n = match sys!(getdents64, fd, &mut buf, 1024) {
                Ok(0) => break,
                Ok(n) => n as usize,
                Err(errno) => {
                    close(fd);
                    return Err(errno);
                }
            };
            let mut at = 0;
            while at + 19 < n {
                let len = usize::from(u16::from_le_bytes([buf[at + 16], buf[at + 17]]));
                let name: Vec<u8> = buf[at + 19..at + len].iter().copied().take_while(|b| *b != 0).collect();
                names.push(format!("{}:{}", String::from_utf8_lossy(&name), buf[at + 18]));
                at += len;
            }
        }
        close(fd);
        names.sort();
        Ok(names)
    }

    /// What is done with an open file.
    fn contents(&mut self) -> Answer {
        let (slot, fd) = self.slot();
        let (at, len) = (self.below(SIZE), 1 + self.below(24 * 1024));
        match self.below(14) {
            0 | 1 => {
                let bytes = self.bytes(len);
                self.note(format_args!("pwrite #{slot} {at} {len}"));
                sys!(pwrite64, fd, bytes.as_ptr(), len, at)
            }
            2 => {
                let bytes = self.bytes(len);
                self.note(format_args!("write #{slot} {len}"));
                sys!(write, fd, bytes.as_ptr(), len)
            }
            3..=5 => {
                let mut bytes = vec![0u8; len];
                self.note(format_args!("pread #{slot} {at} {len}"));
                let n = sys!(pread64, fd, bytes.as_mut_ptr(), len, at)?;
                self.note(format_args!(" {:x}", digest(&bytes[..n as usize])));
                Ok(n)
            }
            6 => {
                let len = self.below(SIZE);
                self.note(format_args!("ftruncate #{slot} {len}"));
                sys!(ftruncate, fd, len)
            }
            7 => {
                let mode = self.pick(&[0, 1, 3, 3]);
                self.note(format_args!("fallocate #{slot} {mode} {at} {len}"));
                sys!(fallocate, fd, mode, at, len)
            }
            8..=10 => self.mapped(slot, fd, at, len),
            11 => {
                let (whence, to) = (self.pick(&[SEEK_SET, SEEK_CUR, SEEK_END]), at as i64 / 2 - 100);
                self.note(format_args!("lseek #{slot} {to} {whence}"));
                sys!(lseek, fd, to, whence)
            }
            12 => {
                let (other, to) = self.slot();
                let mut offsets = [at as i64, self.below(SIZE) as i64];
                self.note(format_args!("copy_file_range #{slot} #{other} {offsets:?} {len}"));
                let [from_at, to_at] = &mut offsets;
                sys!(copy_file_range, fd, from_at, to, to_at, len, 0)
            }
            _ => {
                self.note(format_args!("fsync #{slot}"));
                sys!(fsync, fd)
            }
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let first = self.below(256);
        (0..len).map(|i| (first + i * 7) as u8).collect()
    }

    /// Reads or writes a page through a mapping, as far as the file goes.
    fn mapped(&mut self, slot: usize, fd: c_int, at: usize, len: usize) -> Answer {
        let kind = self.pick(&[MAP_SHARED, MAP_SHARED, MAP_PRIVATE]);
        let writes = self.one_in(2);
        let page = at / PAGE * PAGE;
        self.note(format_args!("mmap #{slot} {page} {len} {kind} {writes}"));
        let mut st: libc::stat = zeroed();
        sys!(newfstatat, fd, c"", &mut st, AT_EMPTY_PATH)?;
        let prot = if writes { RW } else { PROT_READ };
        let area = sys!(mmap, 0, len, prot, kind, fd, page)? as usize;
        let there = (st.st_size as usize).saturating_sub(page).min(len);
        let mut seen = Vec::with_capacity(there);
        for i in 0..there {
            if writes && i % 5 == 0 {
                poke(area + i, (i + at) as u8);
            }
            seen.push(peek(area + i));
        }
        unmap(area, len);
        self.note(format_args!(" {:x}", digest(&seen)));
        Ok(there as i64)
    }

    /// The whole tree with contents, at the end.
    fn tree(&mut self, all: &mut String, dir: &str) {
        let Ok(names) = self.list(&c(dir)) else { return };
        for name in names {
            let (name, kind) = name.split_once(':').unwrap_or((&name, ""));
            if name == "." || name == ".." {
                continue;
            }
            let path = format!("{dir}/{name}");
            self.line.clear();
            let _ = self.stat(AT_FDCWD, &c(&path), AT_SYMLINK_NOFOLLOW);
            let line = std::mem::take(&mut self.line);
            // What an ordinary user has taken the right to read from.
            let readable = sys!(faccessat, AT_FDCWD, c(&path).as_c_str(), R_OK).is_ok();
            let sum = if kind == "8" && readable { digest(&content(&c(&path))) } else { 0 };
            let _ = writeln!(all, "{path} {kind}{line} {sum:x}");
            if kind == "4" {
                self.tree(all, &path);
            }
        }
    }
}
