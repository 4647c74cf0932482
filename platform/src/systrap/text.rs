//! Rewritten programs: copies of a file's code in which system calls jump to the stub.
//!
//! Nearly every call of a C library is made by `mov eax, NUMBER` right before `syscall`. The first of the two, five bytes long, becomes a
//! jump to a few instructions behind the code, in what is left of its last page; they say which call it was and where, and go to the
//! stub's gate. The `syscall` itself stays: who jumps there makes the call as ever, and a thread that is stopped anywhere
//! on the way can be said to be right before it.
//!
//! A copy is made once per sandbox, of files that nobody can write, when one of their calls has been seen often; address spaces that map the
//! same part of the file later get it at once. What the kernel reads of a process is the file's own; only a guest that reads its
//! own code sees the jumps. A program is never changed under the feet of a guest: a copy is complete before it is shown.

use std::sync::Arc;

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, OpKind, Register};
use sync::Mutex;
use sync::levels::Leaf;

use crate::api::PAGE_SIZE;
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

/// Call numbers that are rewritten are smaller. (Those of x32 are not.)
const MAX_NUMBER: u32 = 1 << (32 - PLACE_BITS);
/// Signal handlers return by it: unwinders know its bytes, and all registers change.
const RT_SIGRETURN: u32 = libc::SYS_rt_sigreturn as u32;

/// Bytes of `mov eax, imm32`, and of a jump that takes its place.
const MOVE: usize = 5;
/// Bytes of `syscall`.
const SYSCALL: usize = 2;

/// Behind the code: `lea r11, [start]`, `mov rax, GATE`, `jmp rax` …
const COMMON: usize = 7 + 10 + 2;
/// … and for each call `mov ecx, CALL`, and a short jump to a longer one to what is common.
const ENTRY: usize = 5 + 2;
const HOP: usize = 5;
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
    /// Where the entries are there, and the calls they stand for.
    entries: Vec<(usize, u32)>,
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
}

impl Call {
    /// Its `syscall` instruction.
    pub(super) fn instruction(self) -> u64 {
        self.back.wrapping_sub(SYSCALL as u64)
    }

    /// As the gate is told.
    pub(super) fn of(told: u32, start: u64) -> Call {
        let place = told & (MAX_LEN as u32 - 1);
        Call { number: (told >> PLACE_BITS).into(), back: start.wrapping_add(place.into()) }
    }
}

impl Text {
    /// Where it is in the memory file.
    pub(super) fn offset(&self) -> u64 {
        self.frames.offset
    }

    /// Where the pages with the code behind the code begin.
    pub(super) fn extra_page(&self) -> u64 {
        self.extra as u64 / PAGE_SIZE * PAGE_SIZE
    }

    /// Which call a thread is making that is at `at` of the mapping, which begins at `start`, with `rcx`.
    pub(super) fn call(&self, start: u64, at: u64, rcx: u64) -> Option<Call> {
        let at = usize::try_from(at).ok().filter(|&at| at >= self.extra)?;
        let before = self.entries.partition_point(|&(entry, _)| entry <= at);
        let own = before.checked_sub(1).and_then(|i| self.entries.get(i));
        let told = match own {
            Some(&(entry, told)) if at < entry + ENTRY => told,
            _ => rcx as u32,
        };
        Some(Call::of(told, start))
    }

    /// Makes one, if there is anything to rewrite.
    fn make(memory: &Arc<MemoryFile>, file: &HostFile, key: &Key, gate: u64, seen: u64) -> Option<Text> {
        let segment = segment(file, key)?;
        let mut code = vec![0; key.len as usize];
        file.read(key.offset, &mut code).ok()?;
        let extra = segment.next_multiple_of(16);
        // Calls on the last page stay: that page is the last to go when the copy is taken away.
        let rewritable = extra / PAGE_SIZE as usize * PAGE_SIZE as usize;
        let mut found = sites(&code[..segment]);
        found.retain(|site| site.at + MOVE + SYSCALL <= rewritable);
        // Where there is not room for all, the one that was seen often comes first.
        found.sort_by_key(|site| (site.at + MOVE + SYSCALL) as u64 != seen);
        let room = code.len().checked_sub(extra + COMMON)?;
        let groups = room / (GROUP * ENTRY + HOP);
        let rest = (room % (GROUP * ENTRY + HOP)).saturating_sub(HOP) / ENTRY;
        found.truncate(groups * GROUP + rest);
        if found.is_empty() {
            return None;
        }
        let entries = rewrite(&mut code, extra, &found, gate)?;
        let frames = memory.allocate(key.len).ok()?;
        let text = Text { memory: Arc::clone(memory), frames, extra, entries };
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

/// A call that can be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Site {
    /// Where its `mov` is.
    at: usize,
    number: u32,
}

/// Finds calls whose number is loaded by the instruction right before. None that a jump leads into the middle of.
fn sites(code: &[u8]) -> Vec<Site> {
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    let mut targets = vec![0u64; code.len() / 64 + 1];
    let mut found = Vec::new();
    let mut before: Option<Site> = None;
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let at = instruction.ip() as usize;
        if instruction.op_count() == 1
            && matches!(instruction.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32)
            && let Some(word) = targets.get_mut(instruction.near_branch_target() as usize / 64)
        {
            *word |= 1 << (instruction.near_branch_target() % 64);
        }
        if instruction.code() == Code::Syscall {
            // Two bytes, not a prefix more.
            found.extend(before.filter(|site| site.at + MOVE == at && instruction.len() == SYSCALL));
        }
        let loads = instruction.code() == Code::Mov_r32_imm32
            && instruction.op0_register() == Register::EAX
            && instruction.len() == MOVE
            && instruction.immediate32() < MAX_NUMBER
            && instruction.immediate32() != RT_SIGRETURN
            // Were the decoder out of step, a prefix would make it another register.
            && at.checked_sub(1).and_then(|at| code.get(at)).is_none_or(|byte| byte & 0xf0 != 0x40);
        before = loads.then(|| Site { at, number: instruction.immediate32() });
    }
    let is_target = |at: usize| targets.get(at / 64).is_some_and(|word| word & 1 << (at % 64) != 0);
    found.retain(|site| !(site.at + 1..site.at + MOVE).any(is_target));
    found
}

/// Writes the jumps, and what they lead to at `extra`. Where the entries are, and the calls they stand for.
fn rewrite(code: &mut [u8], extra: usize, sites: &[Site], gate: u64) -> Option<Vec<(usize, u32)>> {
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
    write(extra + 9, &gate.to_le_bytes())?;
    write(extra + 17, &[0xff, 0xe0])?;
    let mut at = extra + COMMON;
    let mut entries = Vec::with_capacity(sites.len());
    for group in sites.chunks(GROUP) {
        let hop = at + group.len() * ENTRY;
        for site in group {
            let told = site.number << PLACE_BITS | (site.at + MOVE + SYSCALL) as u32;
            write(at, &[0xb9])?;
            write(at + 1, &told.to_le_bytes())?;
            write(at + 5, &[0xeb, (hop - at - ENTRY) as u8])?;
            write(site.at, &[0xe9])?;
            write(site.at + 1, &distance(site.at + MOVE, at))?;
            entries.push((at, told));
            at += ENTRY;
        }
        write(hop, &[0xe9])?;
        write(hop + 1, &distance(hop + HOP, extra))?;
        at = hop + HOP;
    }
    Some(entries)
}

/// All copies of a sandbox.
pub(super) struct Texts {
    memory: Arc<MemoryFile>,
    gate: u64,
    state: Mutex<State, Leaf>,
}

#[derive(Default)]
struct State {
    /// What has been looked at, and the copy, if one could be made. The files stay open, so that their numbers stay theirs.
    known: Vec<(Key, Arc<HostFile>, Option<Arc<Text>>)>,
    bytes: u64,
}

impl Texts {
    /// `gate`: where the calls are to go.
    pub(super) fn new(memory: &Arc<MemoryFile>, gate: u64) -> Texts {
        Texts { memory: Arc::clone(memory), gate, state: Mutex::default() }
    }

    /// What is known: `None` if the file has not been looked at, `Some(None)` if there is no copy.
    pub(super) fn find(&self, key: &Key) -> Option<Option<Arc<Text>>> {
        let state = self.state.lock();
        state.known.iter().find(|(known, ..)| known == key).map(|(.., text)| text.clone())
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
        let text = Text::make(&self.memory, file, key, self.gate, seen).map(Arc::new);
        let calls = text.as_ref().map_or(0, |text| text.entries.len());
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
    use super::*;

    #[test]
    fn calls_with_their_number_right_before_are_found() {
        let code = [
            &[0xb8, 95, 0, 0, 0, 0x0f, 0x05, 0xc3][..],      // umask
            &[0x41, 0xb8, 1, 0, 0, 0, 0x0f, 0x05, 0xc3],     // mov r8d
            &[0xb8, 39, 0, 0, 0, 0x90, 0x0f, 0x05, 0xc3],    // not right before
            &[0xb8, 15, 0, 0, 0, 0x0f, 0x05],                // rt_sigreturn
            &[0xb8, 1, 0, 0, 0x40, 0x0f, 0x05],              // x32
            &[0xeb, 2, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3], // jumps into the middle
            &[0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xfc],    // jumps to the `syscall`
        ]
        .concat();
        let found: Vec<_> = sites(&code).iter().map(|site| site.number).collect();
        assert_eq!(found, [95, 39]);
    }

    #[test]
    fn entries_know_their_calls() {
        let mut code = vec![0x90; 3 * PAGE_SIZE as usize];
        for i in 0..60u8 {
            let at = usize::from(i) * 16;
            code[at..at + 7].copy_from_slice(&[0xb8, i + 100, 0, 0, 0, 0x0f, 0x05]);
        }
        let found = sites(&code[..8000]);
        assert_eq!(found.len(), 60);
        let entries = rewrite(&mut code, 8192, &found, 0x7fff_1234_5678).expect("room");
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
            let call = Call::of(rcx, 0x1000);
            assert_eq!(call.number, i as u64 + 100);
            assert_eq!(call.instruction(), 0x1000 + site.at as u64 + 5);
        }
    }
}
