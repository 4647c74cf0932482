//! The system calls in some code that can be rewritten ([`text`](super::text)).
//!
//! To decode a C library takes 12 ms and more, in which the first program of a sandbox, which wants it rewritten, has a processor less. So calls
//! are found by their bytes, and only what is around them is decoded:
//!
//! - Where instructions begin is known when the decoder, begun at each of 16 bytes in a row well before, always comes to the same ones: at
//!   one of them an instruction begins. Calls around which it does not are left alone.
//! - Short jumps into a place come from nearby: any that one of those 16 decoders has met.
//! - Others come from anywhere. They are found by their bytes as well, wherever these are: that some are no instructions costs a place now
//!   and then, but none is overlooked.

use std::ops::Range;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use memchr::{memchr3_iter, memmem};

use super::text::PLACE_BITS;

/// Call numbers that are rewritten are smaller. (Those of x32 are not.)
const MAX_NUMBER: u32 = 1 << (32 - PLACE_BITS);
/// What stands for the number of a call that has it in rax.
pub(super) const IN_RAX: u32 = 0;
/// Calls that stay: all registers change, the Sentry wants those that only a signal frame holds (for a child), or the thread ends.
/// Unwinders know the bytes of the return from signals.
const STAYING: [libc::c_long; 7] = [
    libc::SYS_rt_sigreturn,
    libc::SYS_clone,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Bytes of `mov eax, imm32`, and of a jump that takes its place.
const MOVE: usize = 5;
/// Bytes of `syscall`.
pub(super) const SYSCALL: usize = 2;
/// Bytes of a jump in padding.
pub(super) const HOP: usize = 5;
/// What functions begin at multiples of, and padding leads up to.
const ALIGNMENT: usize = 16;

/// Bytes of the longest instruction, and one.
const LONGEST: usize = 16;
/// How long before a place the decoder begins. It is mostly in step after some 20 bytes.
const LEAD: usize = 192;
/// How far from a place a short jump can be that leads there.
const SHORT: usize = 128 + LONGEST;

/// A call that can be rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// What becomes a jump: its `mov`, or its `syscall`.
    pub(super) at: usize,
    /// Where it returns to.
    pub(super) back: usize,
    /// Or [`IN_RAX`].
    pub(super) number: u32,
    /// Padding that a `syscall` jumps to.
    pub(super) hop: Option<usize>,
}

/// Bits for the bytes of some code.
struct Marks(Vec<u64>);

impl Marks {
    fn new(len: usize) -> Marks {
        Marks(vec![0; len / 64 + 1])
    }

    fn set(&mut self, at: u64) {
        if let Some(word) = self.0.get_mut((at / 64) as usize) {
            *word |= 1 << (at % 64);
        }
    }

    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word & 1 << (at % 64) != 0)
    }

    fn any(&self, mut within: Range<usize>) -> bool {
        within.any(|at| self.has(at))
    }
}

/// Finds calls whose number is loaded by the instruction right before, and others that test for an error right after, or were `seen` (where
/// that one returns to). None that a jump leads into the middle of.
pub(super) fn find(code: &[u8], seen: usize) -> Vec<Site> {
    let mut search = Search::new(code, seen);
    for area in search.areas() {
        search.decode(area);
    }
    search.mark_far_targets();
    search.finish()
}

struct Search<'c> {
    code: &'c [u8],
    seen: usize,
    /// What jumps lead to, as far as it matters.
    targets: Marks,
    /// Calls whose number is loaded right before.
    found: Vec<Site>,
    /// Those with their number in rax.
    plain: Vec<Site>,
    /// Padding that nobody comes to but by a jump.
    holes: Vec<Range<usize>>,
}

impl<'c> Search<'c> {
    fn new(code: &'c [u8], seen: usize) -> Search<'c> {
        let (targets, holes) = (Marks::new(code.len()), Vec::new());
        Search { code, seen, targets, found: Vec::new(), plain: Vec::new(), holes }
    }

    /// What has to be decoded.
    fn areas(&self) -> Vec<Range<usize>> {
        let around = |at: usize| {
            let back = at + SYSCALL;
            let is_plain = back == self.seen || tests_for_error(self.code, back);
            let is_told = at.checked_sub(MOVE).is_some_and(|load| self.code[load] == 0xb8);
            // A hole is as far as a short jump can reach, and has its own short jumps.
            let reach = if is_plain { 2 * SHORT } else { SHORT };
            (is_plain || is_told).then(|| at.saturating_sub(reach)..(back + reach).min(self.code.len()))
        };
        let mut all: Vec<Range<usize>> =
            memmem::find_iter(self.code, &[0x0f, 0x05]).filter_map(around).collect();
        all.sort_unstable_by_key(|area| area.start);
        let mut areas: Vec<Range<usize>> = Vec::new();
        for area in all {
            match areas.last_mut() {
                Some(last) if area.start <= last.end + LEAD => last.end = last.end.max(area.end),
                _ => areas.push(area),
            }
        }
        areas
    }

    /// Looks at an area, if it can be said where its instructions begin.
    fn decode(&mut self, area: Range<usize>) {
        let code = self.code;
        let start = area.start.saturating_sub(LEAD);
        let mut begins = Marks::new(area.end - start);
        let counts = (self.found.len(), self.plain.len(), self.holes.len());
        self.decode_from(start, &area, |at| begins.set((at - start) as u64));
        // Code begins where it begins. Everywhere else an instruction begins at one of these.
        let others = if start == 0 { 0..0 } else { start + 1..start + LONGEST };
        for other in others {
            let mut decoder = Decoder::with_ip(64, &code[other..], other as u64, DecoderOptions::NONE);
            let mut instruction = Instruction::default();
            while !begins.has(decoder.ip() as usize - start) {
                if decoder.ip() as usize >= area.start {
                    self.found.truncate(counts.0);
                    self.plain.truncate(counts.1);
                    self.holes.truncate(counts.2);
                    return;
                }
                decoder.decode_out(&mut instruction);
                self.mark_target(&instruction);
            }
        }
    }

    /// Decodes from `start` to the end of `area`, and notes what is in the area. `tell` is told where each instruction begins.
    fn decode_from(&mut self, start: usize, area: &Range<usize>, mut tell: impl FnMut(usize)) {
        let code = self.code;
        let mut decoder = Decoder::with_ip(64, &code[start..], start as u64, DecoderOptions::NONE);
        let mut before = Before::Other;
        // Where nobody comes to but by a jump, and padding from there on.
        let mut unreached: Option<usize> = None;
        let mut instruction = Instruction::default();
        while decoder.can_decode() && (decoder.ip() as usize) < area.end {
            decoder.decode_out(&mut instruction);
            self.mark_target(&instruction);
            let at = instruction.ip() as usize;
            tell(at);
            let back = at + instruction.len();
            // Two bytes, not a prefix more.
            if instruction.code() == Code::Syscall && instruction.len() == SYSCALL && at >= area.start {
                match before {
                    Before::Load(site) if site.back == back => self.found.push(site),
                    Before::Load(_) | Before::Other if back == self.seen || tests_for_error(code, back) => {
                        self.plain.push(Site { at, back, number: IN_RAX, hop: None });
                    }
                    _ => {}
                }
            }
            before = load(code, &instruction);
            let ends = instruction.flow_control();
            if let FlowControl::Return | FlowControl::UnconditionalBranch | FlowControl::IndirectBranch = ends
            {
                unreached = Some(back);
            } else if instruction.mnemonic() != Mnemonic::Nop
                && let Some(start) = unreached.take()
                && at.is_multiple_of(ALIGNMENT)
                && start >= area.start
            {
                self.holes.push(start..at);
            }
        }
    }

    fn mark_target(&mut self, instruction: &Instruction) {
        if instruction.op_count() == 1
            && matches!(instruction.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32)
        {
            self.targets.set(instruction.near_branch_target());
        }
    }

    /// Marks what jumps and calls with a distance of 32 bits lead to, of what is to be changed.
    fn mark_far_targets(&mut self) {
        let mut wanted = Marks::new(self.code.len());
        let told = self.found.iter().map(|site| site.at + 1..site.at + MOVE);
        let plain = self.plain.iter().map(|site| site.at + 1..site.back);
        told.chain(plain).chain(self.holes.iter().cloned()).flatten().for_each(|at| wanted.set(at as u64));
        let mut mark = |distance: usize| {
            let Some(bytes) = self.code.get(distance..distance + 4) else { return };
            let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
            let target = (distance as i64 + 4) + i64::from(i32::from_le_bytes(bytes));
            if usize::try_from(target).is_ok_and(|target| wanted.has(target)) {
                self.targets.set(target as u64);
            }
        };
        // call, jmp; the first byte of jcc
        for at in memchr3_iter(0xe8, 0xe9, 0x0f, self.code) {
            if self.code[at] != 0x0f {
                mark(at + 1);
            } else if self.code.get(at + 1).is_some_and(|next| next & 0xf0 == 0x80) {
                mark(at + 2);
            }
        }
        // xbegin
        memmem::find_iter(self.code, &[0xc7, 0xf8]).for_each(|at| mark(at + 2));
    }

    fn finish(self) -> Vec<Site> {
        let Search { targets, mut found, plain, mut holes, .. } = self;
        found.retain(|site| !targets.any(site.at + 1..site.at + MOVE));
        holes.retain(|hole| hole.len() >= HOP && !targets.any(hole.clone()));
        // A short jump adds this to where it ends.
        let reach = i8::MIN as isize..=i8::MAX as isize;
        for mut site in plain {
            let first = holes.partition_point(|hole| hole.end + 128 < site.back);
            let near = holes.iter_mut().skip(first).take_while(|hole| hole.start <= site.back + 127);
            let hole = near
                .filter(|hole| hole.len() >= HOP)
                .find(|hole| reach.contains(&(hole.start as isize - site.back as isize)));
            if let Some(hole) = hole
                && !targets.any(site.at + 1..site.back)
            {
                site.hop = Some(hole.start);
                hole.start += HOP;
                found.push(site);
            }
        }
        found
    }
}

/// What is before an instruction.
#[derive(Clone, Copy)]
enum Before {
    /// The number of a call.
    Load(Site),
    /// The number of a call that stays.
    Staying,
    Other,
}

/// Whether an instruction says which call is made by the next one.
fn load(code: &[u8], instruction: &Instruction) -> Before {
    let at = instruction.ip() as usize;
    let (number, register) = (instruction.immediate32(), instruction.op0_register());
    match instruction.code() {
        Code::Mov_r32_imm32 if register == Register::EAX && STAYING.contains(&number.into()) => {
            Before::Staying
        }
        Code::Mov_rm64_imm32 if register == Register::RAX && STAYING.contains(&number.into()) => {
            Before::Staying
        }
        Code::Mov_r32_imm32
            if register == Register::EAX
                && instruction.len() == MOVE
                && (IN_RAX + 1..MAX_NUMBER).contains(&number)
                // Were the decoder out of step, a prefix would make it another register.
                && at.checked_sub(1).and_then(|at| code.get(at)).is_none_or(|byte| byte & 0xf0 != 0x40) =>
        {
            Before::Load(Site { at, back: at + MOVE + SYSCALL, number, hop: None })
        }
        _ => Before::Other,
    }
}

/// Whether rax is compared with the lowest error there (`cmp rax, -4095`, or -4096): so that was a call.
fn tests_for_error(code: &[u8], at: usize) -> bool {
    let errors = [[0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff], [0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff]];
    code.get(at..at + 6).is_some_and(|next| errors.iter().any(|test| test == next))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// As they are found by decoding everything.
    fn find_slowly(code: &[u8]) -> Vec<Site> {
        let mut search = Search::new(code, 0);
        search.decode_from(0, &(0..code.len()), |_| ());
        search.finish()
    }

    /// The executable segments of a program or library.
    fn segments(path: &Path) -> Vec<Vec<u8>> {
        let file = fs::read(path).unwrap_or_default();
        let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
        if !file.starts_with(b"\x7fELF\x02\x01") {
            return Vec::new();
        }
        let count = usize::from(u16::from_le_bytes(file[56..58].try_into().unwrap()));
        let headers = (0..count).map(|i| word(32) + i * 56);
        let code = headers.filter(|header| file[*header..*header + 8] == [1, 0, 0, 0, 5, 0, 0, 0]);
        code.map(|header| file[word(header + 8)..][..word(header + 32)].to_vec()).collect()
    }

    #[test]
    fn hardly_any_is_missed_in_real_programs() {
        let libraries = ["/lib/x86_64-linux-gnu", "/lib64", "/usr/lib"].map(Path::new);
        let names = ["libc.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0", "libresolv.so.2"];
        let paths = libraries.iter().flat_map(|dir| names.map(|name| dir.join(name)));
        let own = std::env::current_exe().unwrap();
        let (mut all, mut missed, mut programs) = (0, 0, 0);
        for path in paths.chain([own]) {
            for code in segments(&path) {
                programs += 1;
                let (fast, slow) = (find(&code, 0), find_slowly(&code));
                let is_known = |site: &&Site| {
                    !slow.iter().any(|other| (other.at, other.number) == (site.at, site.number))
                };
                assert_eq!(fast.iter().find(is_known), None, "{}", path.display());
                all += slow.len();
                missed += slow.len() - fast.len();
            }
        }
        assert!(programs > 0);
        assert!(missed * 50 <= all, "{missed} of {all}");
    }

    #[test]
    fn jumps_from_far_away_are_seen() {
        let mut code = vec![0x90; 1 << 16];
        let call = [0xb8, 95, 0, 0, 0, 0x0f, 0x05];
        for at in [1000, 5000, 9000, 13000, 17000] {
            code[at..at + 7].copy_from_slice(&call);
        }
        let mut jump = |at: usize, bytes: &[u8], to: usize| {
            code[at..at + bytes.len()].copy_from_slice(bytes);
            let end = at + bytes.len() + 4;
            code[end - 4..end].copy_from_slice(&(to as i32 - end as i32).to_le_bytes());
        };
        jump(40000, &[0xe9], 1003);
        jump(50000, &[0x0f, 0x84], 5001);
        // In the middle of an instruction: as good as a jump.
        jump(60000, &[0x48, 0xb8, 0xe8], 9004);
        jump(30000, &[0xc7, 0xf8], 13002);
        // To the `mov`, and to the instruction itself.
        jump(20000, &[0xe8], 17000);
        jump(20100, &[0xe8], 17005);
        assert_eq!(find(&code, 0).iter().map(|site| site.at).collect::<Vec<_>>(), [17000]);
    }

    #[test]
    fn where_instructions_begin_has_to_be_known() {
        // Instructions of ten bytes that are others when one begins within them: the decoder never comes in step.
        let mut code = [0x48, 0xb8, 0x48, 0xb8, 0x48, 0xb8, 0x48, 0xb8, 0x48, 0xb8].repeat(200);
        code.extend([0xb8, 95, 0, 0, 0, 0x0f, 0x05, 0xc3]);
        code.extend([0x90; 800]);
        assert_eq!(find(&code, 0), []);
        code.extend([0xb8, 96, 0, 0, 0, 0x0f, 0x05, 0xc3]);
        assert_eq!(find(&code, 0).iter().map(|site| site.number).collect::<Vec<_>>(), [96]);
    }

    #[test]
    fn any_bytes_are_looked_at() {
        let mut state = 1u64;
        for len in (0..4000).step_by(37) {
            let code: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let picks =
                        [0xb8, 95, 0, 0, 0, 0x0f, 0x05, 0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0xc3, 0x90];
                    let pick = (state >> 40) as usize;
                    if pick.is_multiple_of(7) { (state >> 33) as u8 } else { picks[pick % picks.len()] }
                })
                .collect();
            for site in find(&code, len / 2) {
                assert!(site.at < site.back && site.back <= len, "{site:?}");
            }
        }
    }

    #[test]
    fn calls_with_their_number_right_before_are_found() {
        let code = [
            &[0xb8, 95, 0, 0, 0, 0x0f, 0x05, 0xc3][..],      // umask
            &[0x41, 0xb8, 1, 0, 0, 0, 0x0f, 0x05, 0xc3],     // mov r8d
            &[0xb8, 39, 0, 0, 0, 0x90, 0x0f, 0x05, 0xc3],    // not right before
            &[0xb8, 15, 0, 0, 0, 0x0f, 0x05],                // rt_sigreturn
            &[0xb8, 56, 0, 0, 0, 0x0f, 0x05],                // clone
            &[0xb8, 1, 0, 0, 0x40, 0x0f, 0x05],              // x32
            &[0xeb, 2, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3], // jumps into the middle
            &[0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xfc],    // jumps to the `syscall`
        ]
        .concat();
        let found: Vec<_> = find(&code, 0).iter().map(|site| site.number).collect();
        assert_eq!(found, [95, 39]);
    }
}
