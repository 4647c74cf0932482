//! Rewritten programs: copies of a file's code in which system calls jump to the stub.
//!
//! Nearly every call of a C library is made by `mov eax, NUMBER` right before `syscall`. The first of the two, five bytes long, becomes a
//! jump to a few instructions behind the code, in what is left of its last page; they say which call it was and where, and go to the
//! stub's gate. The `syscall` itself stays: who jumps there makes the call as ever, and a thread that is stopped anywhere
//! on the way can be said to be right before it.
//!
//! Others have their number in a register (syscall(3), read(2), futex waits of the C library; Go): there the `syscall` itself becomes a short
//! jump to padding behind the end of a function nearby, and that has a jump to where the others go as well. Two bytes
//! take the place of two, so nobody returns into the middle; and the padding is run by nobody else.
//!
//! A copy is made once per sandbox, of files that nobody can write, when one of their calls has been seen often; address spaces that map the
//! same part of the file later get it at once. What the kernel reads of a process is the file's own; only a guest that reads its
//! own code sees the jumps. A program is never changed under the feet of a guest: a copy is complete before it is shown.

use std::sync::Arc;

use sync::Mutex;
use sync::levels::Leaf;

use super::sites::{self, HOP, IN_RAX, SYSCALL, Site};
use crate::api::{PAGE_SIZE, Registers};
use crate::{Frames, HostFile, MemoryFile};

/// A call is told to the gate in 32 bits: its number, and below that where it returns to, counted from the start of the mapping.
pub(super) const PLACE_BITS: u32 = 23;

/// Largest code that is rewritten.
const MAX_LEN: u64 = 1 << PLACE_BITS;
/// Most memory for all copies, and most of them, in a sandbox.
const MAX_BYTES: u64 = 64 << 20;
const MAX_FILES: usize = 256;
/// Most files that are looked at for that.
const MAX_LOOKED_AT: usize = 1024;

/// Calls that programs make often: where there is not room for all, these come first.
const FREQUENT: [libc::c_long; 57] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_open,
    libc::SYS_close,
    libc::SYS_stat,
    libc::SYS_fstat,
    libc::SYS_lstat,
    libc::SYS_poll,
    libc::SYS_lseek,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_brk,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_ioctl,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_access,
    libc::SYS_sched_yield,
    libc::SYS_madvise,
    libc::SYS_dup2,
    libc::SYS_getpid,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_wait4,
    libc::SYS_kill,
    libc::SYS_fcntl,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_unlink,
    libc::SYS_readlink,
    libc::SYS_umask,
    libc::SYS_getuid,
    libc::SYS_getgid,
    libc::SYS_geteuid,
    libc::SYS_getegid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_futex,
    libc::SYS_getdents64,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_ctl,
    libc::SYS_tgkill,
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_ppoll,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_statx,
    libc::SYS_getrandom,
];

/// Behind the code: `lea r11, [start]`, `mov rax, GATE`, `jmp rax`; …
const COMMON: usize = 7 + 10 + 2;
/// … for calls with their number in rax `lea r11, [start]`, `lea r11, [r11 + rcx]`, `mov rcx, GATE`, `jmp rcx`, …
const COMMON_BY_RAX: usize = 7 + 4 + 10 + 2;
/// … the last of which is this far from the first, …
const JUMP_BY_RAX: usize = COMMON_BY_RAX - 2;
/// … and for each call `mov ecx, CALL`, and a short jump to a longer one to what is common.
const ENTRY: usize = 5 + 2;
/// How many entries a hop is near enough to.
const GROUP: usize = 18;

/// What is mapped: the file as it was then, and a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
    offset: u64,
    len: u64,
}

impl Key {
    /// `None` where there is nothing to rewrite.
    pub(super) fn new(file: &HostFile, offset: u64, len: u64) -> Option<Key> {
        if !file.is_fixed() || len > MAX_LEN {
            return None;
        }
        let stat = host::file::stat(file.fd()).ok()?;
        let host::file::Stat { dev, ino, size, mtime, ctime, .. } = stat;
        Some(Key { dev, ino, size, mtime, ctime, offset, len })
    }

    /// How many calls from one place are worth a copy. One that comes as a signal takes some 2.5 µs longer than one that is rewritten, and 1.4 MB of a
    /// C library take 5 ms, in which the first program of a sandbox has a processor less: it may be over before.
    pub(super) fn worth(&self) -> u32 {
        if self.len <= AT_ONCE { 64 } else { 512 }
    }

    /// Where in the file the mapping begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

/// A rewritten copy.
#[derive(Debug)]
pub(super) struct Text {
    memory: Arc<MemoryFile>,
    frames: Frames,
    /// Where the code behind the code begins, from the start of the mapping.
    extra: usize,
    jumps: Jumps,
}

/// Where a thread can be on its way to the gate, and the calls that this stands for.
#[derive(Debug, Default)]
struct Jumps {
    /// Behind the code.
    entries: Vec<(usize, u32)>,
    /// In padding.
    hops: Vec<(usize, u32)>,
}

impl Drop for Text {
    fn drop(&mut self) {
        self.memory.decref(self.frames);
    }
}

/// A rewritten call that a thread is about to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) number: u64,
    /// Where it returns to.
    pub(super) back: u64,
    /// The instruction itself is still where it was.
    pub(super) stays: bool,
}

impl Call {
    /// Its `syscall` instruction.
    pub(super) fn instruction(self) -> u64 {
        self.back.wrapping_sub(SYSCALL as u64)
    }

    /// As the gate is told.
    pub(super) fn of(told: u32, start: u64, rax: u64) -> Call {
        let back = start.wrapping_add((told & (MAX_LEN as u32 - 1)).into());
        match told >> PLACE_BITS {
            IN_RAX => Call::by_rax(rax, back),
            number => Call { number: number.into(), back, stays: true },
        }
    }

    /// With its number in rax.
    pub(super) fn by_rax(rax: u64, back: u64) -> Call {
        Call { number: rax, back, stays: false }
    }
}

impl Text {
    /// Where it is in the memory file.
    pub(super) fn offset(&self) -> u64 {
        self.frames.offset
    }

    /// Which call a thread is making that is at `at` of the mapping, which begins at `start`, with these registers.
    pub(super) fn call(&self, start: u64, at: u64, regs: &Registers) -> Option<Call> {
        let at = usize::try_from(at).ok()?;
        let Jumps { entries, hops } = &self.jumps;
        if at < self.extra {
            let hop = hops.binary_search_by_key(&at, |&(hop, _)| hop).ok()?;
            return hops.get(hop).map(|&(_, told)| Call::of(told, start, regs.rax));
        }
        if at == self.extra + COMMON + JUMP_BY_RAX {
            return Some(Call::by_rax(regs.rax, regs.r11));
        }
        let before = entries.partition_point(|&(entry, _)| entry <= at);
        let own = before.checked_sub(1).and_then(|i| entries.get(i));
        let told = match own {
            Some(&(entry, told)) if at < entry + ENTRY => told,
            _ => regs.rcx as u32,
        };
        Some(Call::of(told, start, regs.rax))
    }

    /// Makes one, if there is anything to rewrite.
    fn make(memory: &Arc<MemoryFile>, file: &HostFile, key: &Key, gates: Gates, seen: u64) -> Option<Text> {
        let segment = segment(file, key)?;
        let mut code = vec![0; key.len as usize];
        file.read(key.offset, &mut code).ok()?;
        let extra = segment.next_multiple_of(16);
        let mut found = sites::find(&code[..segment], seen as usize);
        // Where there is not room for all, the one that was seen often comes first.
        let seldom = |site: &Site| !FREQUENT.contains(&site.number.into());
        found.sort_by_key(|site| (site.back as u64 != seen, site.number != IN_RAX, seldom(site)));
        // The last group of each kind need not be full.
        let room = code.len().checked_sub(extra + COMMON + COMMON_BY_RAX + 2 * HOP)?;
        found.truncate(room * GROUP / (GROUP * ENTRY + HOP));
        if found.is_empty() {
            return None;
        }
        let jumps = rewrite(&mut code, extra, &found, gates)?;
        let frames = memory.allocate(key.len).ok()?;
        let text = Text { memory: Arc::clone(memory), frames, extra, jumps };
        memory.write(frames.offset, &code).ok()?;
        Some(text)
    }
}

/// Bytes of the program's segment that the mapping shows, if it shows exactly the pages of one that is code.
fn segment(file: &HostFile, key: &Key) -> Option<usize> {
    const HEADER: usize = 64;
    const PROGRAM_HEADER: usize = 56;
    const PT_LOAD: u64 = 1;
    const EXECUTABLE: u64 = 1;
    const WRITABLE: u64 = 2;
    let number = |bytes: &[u8], at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte))
    };
    let mut header = [0; HEADER];
    file.read(0, &mut header).ok()?;
    // 64-bit, little-endian, x86-64.
    if header[..6] != *b"\x7fELF\x02\x01" || number(&header, 18, 2) != 62 {
        return None;
    }
    let (first, size, count) = (number(&header, 32, 8), number(&header, 54, 2), number(&header, 56, 2));
    if size != PROGRAM_HEADER as u64 {
        return None;
    }
    for i in 0..count.min(64) {
        let mut header = [0; PROGRAM_HEADER];
        file.read(first.checked_add(i * size)?, &mut header).ok()?;
        let (kind, flags) = (number(&header, 0, 4), number(&header, 4, 4));
        let (offset, file_size, size) =
            (number(&header, 8, 8), number(&header, 32, 8), number(&header, 40, 8));
        let Some(end) = offset.checked_add(file_size) else { continue };
        let pages = offset / PAGE_SIZE * PAGE_SIZE..end.div_ceil(PAGE_SIZE).saturating_mul(PAGE_SIZE);
        if kind == PT_LOAD
            && flags & (EXECUTABLE | WRITABLE) == EXECUTABLE
            && file_size == size
            && pages == (key.offset..key.offset + key.len)
        {
            return usize::try_from(end - pages.start).ok();
        }
    }
    None
}

/// Where rewritten calls go in the stub.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gates {
    /// Calls that are told.
    pub(super) told: u64,
    /// Those with their number in rax.
    pub(super) by_rax: u64,
}

/// Writes the jumps, and what they lead to at `extra`.
fn rewrite(code: &mut [u8], extra: usize, sites: &[Site], gates: Gates) -> Option<Jumps> {
    let mut write = |at: usize, bytes: &[u8]| -> Option<()> {
        code.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
        Some(())
    };
    /// What is added to the address behind an instruction.
    fn distance(end: usize, to: usize) -> [u8; 4] {
        (to as i32 - end as i32).to_le_bytes()
    }
    write(extra, &[0x4c, 0x8d, 0x1d])?;
    write(extra + 3, &distance(extra + 7, 0))?;
    write(extra + 7, &[0x48, 0xb8])?;
    write(extra + 9, &gates.told.to_le_bytes())?;
    write(extra + 17, &[0xff, 0xe0])?;
    let by_rax = extra + COMMON;
    write(by_rax, &[0x4c, 0x8d, 0x1d])?;
    write(by_rax + 3, &distance(by_rax + 7, 0))?;
    write(by_rax + 7, &[0x4d, 0x8d, 0x1c, 0x0b, 0x48, 0xb9])?;
    write(by_rax + 13, &gates.by_rax.to_le_bytes())?;
    write(by_rax + JUMP_BY_RAX, &[0xff, 0xe1])?;
    let mut at = by_rax + COMMON_BY_RAX;
    let mut jumps = Jumps::default();
    let (plain, told): (Vec<Site>, Vec<Site>) = sites.iter().partition(|site| site.number == IN_RAX);
    for (common, sites) in [(by_rax, plain), (extra, told)] {
        for group in sites.chunks(GROUP) {
            let out = at + group.len() * ENTRY;
            for site in group {
                let told = site.number << PLACE_BITS | site.back as u32;
                write(at, &[0xb9])?;
                write(at + 1, &told.to_le_bytes())?;
                write(at + 5, &[0xeb, (out - at - ENTRY) as u8])?;
                let jump = if let Some(hop) = site.hop {
                    let distance = i8::try_from(hop as isize - site.back as isize).ok()?;
                    write(site.at, &[0xeb, distance as u8])?;
                    jumps.hops.push((hop, told));
                    hop
                } else {
                    site.at
                };
                write(jump, &[0xe9])?;
                write(jump + 1, &distance(jump + HOP, at))?;
                jumps.entries.push((at, told));
                at += ENTRY;
            }
            write(out, &[0xe9])?;
            write(out + 1, &distance(out + HOP, common))?;
            at = out + HOP;
        }
    }
    jumps.hops.sort_unstable();
    Some(jumps)
}

/// All copies of a sandbox.
pub(super) struct Texts {
    memory: Arc<MemoryFile>,
    gates: Gates,
    state: Mutex<State, Leaf>,
}

#[derive(Default)]
struct State {
    /// What has been looked at, and the copy, if one could be made. The files stay open, so that their numbers stay theirs.
    known: Vec<(Key, Arc<HostFile>, Option<Arc<Text>>)>,
    bytes: u64,
    /// What other threads are looking at.
    making: Vec<Key>,
}

/// Code up to this size is rewritten by the thread that has made the calls: what that takes is not worth another thread.
const AT_ONCE: u64 = 64 << 10;
/// Most threads that rewrite code.
const MAX_MAKING: usize = 2;

impl Texts {
    pub(super) fn new(memory: &Arc<MemoryFile>, gates: Gates) -> Texts {
        Texts { memory: Arc::clone(memory), gates, state: Mutex::default() }
    }

    /// What is known: `None` if the file has not been looked at, `Some(None)` if there is no copy.
    pub(super) fn find(&self, key: &Key) -> Option<Option<Arc<Text>>> {
        let state = self.state.lock();
        state.known.iter().find(|(known, ..)| known == key).map(|(.., text)| text.clone())
    }

    /// The copy, if there is one; else one will be made, which takes milliseconds and which nobody waits for. See [`make`](Self::make).
    pub(super) fn make_later(
        self: &Arc<Self>,
        key: &Key,
        file: &Arc<HostFile>,
        seen: u64,
    ) -> Option<Arc<Text>> {
        if key.len <= AT_ONCE {
            return self.make(key, file, seen);
        }
        if let Some(known) = self.find(key) {
            return known;
        }
        {
            let mut state = self.state.lock();
            if state.making.len() >= MAX_MAKING || state.making.contains(key) {
                return None;
            }
            state.making.push(*key);
        }
        let (this, key, file) = (Arc::clone(self), *key, Arc::clone(file));
        let made = move |this: &Texts| this.state.lock().making.retain(|other| *other != key);
        let own = Arc::clone(self);
        let make = move || {
            host::thread::run_anywhere();
            this.make(&key, &file, seen);
            made(&this);
        };
        if std::thread::Builder::new().name("rewriter".into()).stack_size(256 << 10).spawn(make).is_err() {
            made(&own);
        }
        None
    }

    /// The copy, made now if there is none yet. `seen`: the place that a call seen often returns to, from the start of the
    /// mapping. To be called without locks: it takes milliseconds.
    pub(super) fn make(&self, key: &Key, file: &Arc<HostFile>, seen: u64) -> Option<Arc<Text>> {
        if let Some(known) = self.find(key) {
            return known;
        }
        {
            let state = self.state.lock();
            let copies = state.known.iter().filter(|(.., text)| text.is_some()).count();
            if copies >= MAX_FILES || state.known.len() >= MAX_LOOKED_AT || state.bytes + key.len > MAX_BYTES
            {
                return None;
            }
        }
        let began = std::time::Instant::now();
        let text = Text::make(&self.memory, file, key, self.gates, seen).map(Arc::new);
        let calls = text.as_ref().map_or(0, |text| text.jumps.entries.len());
        tracing::debug!(ino = key.ino, len = key.len, calls, took = ?began.elapsed(), "program rewritten");
        let mut state = self.state.lock();
        // Another thread may have made one meanwhile: all get the same.
        if let Some((.., other)) = state.known.iter().find(|(known, ..)| known == key) {
            let other = other.clone();
            drop(state);
            return other;
        }
        state.bytes += if text.is_some() { key.len } else { 0 };
        state.known.push((*key, Arc::clone(file), text.clone()));
        text
    }
}

#[cfg(test)]
mod tests {
    use iced_x86::{Code, Decoder, DecoderOptions};

    use super::*;

    #[test]
    fn entries_know_their_calls() {
        let mut code = vec![0x90; 3 * PAGE_SIZE as usize];
        for i in 0..60u8 {
            let at = usize::from(i) * 16;
            code[at..at + 7].copy_from_slice(&[0xb8, i + 100, 0, 0, 0, 0x0f, 0x05]);
        }
        let found = sites::find(&code[..8000], 0);
        assert_eq!(found.len(), 60);
        let gates = Gates { told: 0x7fff_1234_5678, by_rax: 1 };
        let entries = rewrite(&mut code, 8192, &found, gates).expect("room").entries;
        // Runs what has become of each call, up to the gate.
        for (i, site) in found.iter().enumerate() {
            assert_eq!(code[site.at + 5..site.at + 7], [0x0f, 0x05], "the instruction stays");
            let mut at = site.at as u64;
            let (mut rcx, mut r11, mut rax, mut steps) = (0, 0, 0, 0);
            while rax == 0 {
                let code = &code[at as usize..];
                let instruction = Decoder::with_ip(64, code, at, DecoderOptions::NONE).decode();
                at = instruction.next_ip();
                match instruction.code() {
                    Code::Jmp_rel32_64 | Code::Jmp_rel8_64 => at = instruction.near_branch_target(),
                    Code::Mov_r32_imm32 => rcx = instruction.immediate32(),
                    Code::Lea_r64_m => r11 = instruction.ip_rel_memory_address(),
                    Code::Mov_r64_imm64 => rax = instruction.immediate64(),
                    other => panic!("{other:?}"),
                }
                steps += 1;
                assert!(steps < 8);
            }
            assert_eq!((r11, rax, entries[i].1), (0, 0x7fff_1234_5678, rcx));
            let call = Call::of(rcx, 0x1000, 1);
            assert_eq!(call.number, i as u64 + 100);
            assert_eq!(call.instruction(), 0x1000 + site.at as u64 + 5);
        }
    }

    #[test]
    fn calls_with_their_number_in_a_register_jump_to_padding() {
        const TEST: [u8; 6] = [0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff];
        let mut code = vec![0xcc; PAGE_SIZE as usize * 2];
        let put = |code: &mut Vec<u8>, at: usize, parts: &[&[u8]]| {
            let bytes = parts.concat();
            code[at..at + bytes.len()].copy_from_slice(&bytes);
        };
        // xor eax, eax; syscall; cmp; ret; 12 bytes of padding.
        put(&mut code, 0, &[&[0x31, 0xc0, 0x0f, 0x05], &TEST, &[0xc3]]);
        put(&mut code, 11, &[&[0x0f, 0x1f, 0x44, 0, 0]]);
        // Another.
        put(&mut code, 16, &[&[0x0f, 0x05], &TEST, &[0xc3], &[0x90; 23]]);
        // Nothing that tests for an error, unless it was seen; and the return from signals.
        put(&mut code, 48, &[&[0x0f, 0x05, 0xc3, 0xb8, 15, 0, 0, 0, 0x0f, 0x05], &TEST]);
        // Too far away from all.
        put(&mut code, 400, &[&[0x0f, 0x05], &TEST]);
        // Padding that something jumps to.
        put(&mut code, 800, &[&[0x0f, 0x05], &TEST, &[0xc3], &[0x90; 7], &[0xeb, 0xfd - 4]]);
        let places = |seen| {
            sites::find(&code[..4000], seen).iter().map(|site| (site.at, site.hop)).collect::<Vec<_>>()
        };
        assert_eq!(places(0), [(2, Some(11)), (16, Some(25))]);
        assert_eq!(places(50), [(2, Some(11)), (16, Some(25)), (48, Some(30))]);
        let found = sites::find(&code[..4000], 50);
        let gates = Gates { told: 1, by_rax: 0x7fff_1234_5678 };
        let jumps = rewrite(&mut code, 4096, &found, gates).expect("room");
        assert_eq!((jumps.hops.len(), jumps.entries.len()), (3, 3));
        for (site, &(_, told)) in found.iter().zip(&jumps.entries) {
            let (mut at, mut rcx, mut r11) = (site.at as u64, 0, 0);
            let mut steps = 0;
            while rcx != gates.by_rax {
                let code = &code[at as usize..];
                let instruction = Decoder::with_ip(64, code, at, DecoderOptions::NONE).decode();
                at = instruction.next_ip();
                match instruction.code() {
                    Code::Jmp_rel32_64 | Code::Jmp_rel8_64 => at = instruction.near_branch_target(),
                    Code::Mov_r32_imm32 => rcx = instruction.immediate32().into(),
                    Code::Lea_r64_m if instruction.is_ip_rel_memory_operand() => {
                        r11 = instruction.ip_rel_memory_address()
                    }
                    Code::Lea_r64_m => r11 += rcx,
                    Code::Mov_r64_imm64 => rcx = instruction.immediate64(),
                    other => panic!("{other:?}"),
                }
                steps += 1;
                assert!(steps < 10);
            }
            assert_eq!(r11, site.back as u64);
            let call = Call::of(told, 0x1000, 700);
            assert_eq!((call.number, call.instruction()), (700, 0x1000 + site.at as u64));
        }
    }
}
