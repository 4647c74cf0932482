//! Builds a seccomp program from a list of calls.
//!
//! The call is found by a binary search over its number, so that the program is short on every path: the host runs it
//! once a number when it is installed (to remember which calls are always allowed), and at every call whose arguments
//! matter.

use crate::seccomp::Instruction;

/// What happens to a call that is on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed, whatever its arguments.
    Allow,
    /// Allowed when the low 32 bits of this argument (0 to 5) are one of these: the most frequent first.
    Only(u8, &'static [u32]),
    /// Allowed when this argument has none of these bits.
    Without(u8, u32),
    /// Refused with this error number.
    Refuse(i32),
}

/// What happens at a call that is not on the list, or not with these arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The host kills the process.
    Kill,
    /// The process gets SIGSYS, so that a handler can say which call it was before the process ends.
    Trap,
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;

/// `AUDIT_ARCH_X86_64`.
const X86_64: u32 = 0xc000_003e;

// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn give(action: u32) -> Instruction {
    op(RETURN, 0, 0, action)
}

/// A program that treats each call as its verdict says and every other one, and every other architecture's (x32
/// included), as `otherwise` says. A number that is listed twice has its first verdict.
pub fn build(calls: &[(u32, Verdict)], otherwise: Otherwise) -> Vec<Instruction> {
    let otherwise = match otherwise {
        Otherwise::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        Otherwise::Trap => libc::SECCOMP_RET_TRAP,
    };
    let mut calls = calls.to_vec();
    calls.sort_by_key(|&(number, _)| number);
    calls.dedup_by_key(|&mut (number, _)| number);

    // Runs of numbers with the same fate: where each begins, and the fate.
    let mut runs: Vec<(u32, Option<Verdict>)> = vec![(0, None)];
    let mut begin = |number, fate| match runs.last_mut() {
        Some((_, last)) if *last == fate => {}
        Some((first, last)) if *first == number => *last = fate,
        _ => runs.push((number, fate)),
    };
    for (i, &(number, verdict)) in calls.iter().enumerate() {
        begin(number, Some(verdict));
        if calls.get(i + 1).is_none_or(|&(next, _)| next != number + 1) {
            begin(number + 1, None);
        }
    }
    let mut program = vec![
        op(LOAD, 0, 0, ARCHITECTURE),
        op(IF_EQUAL, 1, 0, X86_64),
        give(libc::SECCOMP_RET_KILL_PROCESS),
        op(LOAD, 0, 0, NUMBER),
    ];
    program.extend(search(&runs, otherwise));
    program
}

/// Finds the run of the number that is loaded.
fn search(runs: &[(u32, Option<Verdict>)], otherwise: u32) -> Vec<Instruction> {
    if let [(_, fate)] = runs {
        return leaf(*fate, otherwise);
    }
    let (below, from) = runs.split_at(runs.len() / 2);
    let (left, right) = (search(below, otherwise), search(from, otherwise));
    let mut code = match u8::try_from(left.len()) {
        Ok(over) => vec![op(IF_AT_LEAST, over, 0, from[0].0)],
        Err(_) => vec![op(IF_AT_LEAST, 0, 1, from[0].0), op(JUMP, 0, 0, left.len() as u32)],
    };
    code.extend(left);
    code.extend(right);
    code
}

fn leaf(fate: Option<Verdict>, otherwise: u32) -> Vec<Instruction> {
    let argument = |index: u8| op(LOAD, 0, 0, ARGUMENTS + 8 * u32::from(index));
    match fate {
        None => vec![give(otherwise)],
        Some(Verdict::Allow) => vec![give(libc::SECCOMP_RET_ALLOW)],
        Some(Verdict::Refuse(errno)) => {
            vec![give(libc::SECCOMP_RET_ERRNO | (errno as u32 & libc::SECCOMP_RET_DATA))]
        }
        Some(Verdict::Without(index, bits)) => {
            vec![argument(index), op(IF_ANY_BIT, 1, 0, bits), give(libc::SECCOMP_RET_ALLOW), give(otherwise)]
        }
        Some(Verdict::Only(index, values)) => {
            let mut code = vec![argument(index)];
            // An own answer behind each comparison: no jump is too long, however many there are.
            for &value in values {
                code.extend([op(IF_EQUAL, 0, 1, value), give(libc::SECCOMP_RET_ALLOW)]);
            }
            code.push(give(otherwise));
            code
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the host does.
    fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let (mut at, mut accumulator) = (0, 0u32);
        loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |condition| usize::from(if condition { jt } else { jf });
            match code {
                LOAD if k == NUMBER => accumulator = number,
                LOAD if k == ARCHITECTURE => accumulator = architecture,
                LOAD => accumulator = arguments[(k - ARGUMENTS) as usize / 8] as u32,
                RETURN => return k,
                JUMP => at += k as usize,
                IF_EQUAL => at += jump(accumulator == k),
                IF_AT_LEAST => at += jump(accumulator >= k),
                IF_ANY_BIT => at += jump(accumulator & k != 0),
                _ => panic!("unknown operation {code:#x}"),
            }
        }
    }

    const MANY: [u32; 300] = {
        let mut many = [0; 300];
        let mut i = 0;
        while i < 300 {
            many[i] = 7 * i as u32 + 1;
            i += 1;
        }
        many
    };

    #[test]
    fn every_number_has_its_fate() {
        let calls = [
            (0, Verdict::Allow),
            (1, Verdict::Allow),
            (5, Verdict::Only(1, &MANY)),
            (6, Verdict::Without(0, 0x30)),
            (9, Verdict::Refuse(libc::ENOSYS)),
            (10, Verdict::Allow),
            (400, Verdict::Allow),
            (9, Verdict::Allow),
        ];
        let program = build(&calls, Otherwise::Trap);
        let fate = |number, arguments| run(&program, X86_64, number, arguments);
        let refused = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        for number in (0..600).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
            let expected = match number {
                0 | 1 | 10 | 400 => libc::SECCOMP_RET_ALLOW,
                9 => refused,
                6 => libc::SECCOMP_RET_ALLOW,
                _ => libc::SECCOMP_RET_TRAP,
            };
            assert_eq!(fate(number, [0; 6]), expected, "{number}");
        }
        for value in 0..2200 {
            let allowed = MANY.contains(&value);
            let expected = if allowed { libc::SECCOMP_RET_ALLOW } else { libc::SECCOMP_RET_TRAP };
            assert_eq!(fate(5, [0, value.into(), 0, 0, 0, 0]), expected, "{value}");
        }
        assert_eq!(fate(6, [0x20, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_TRAP);
        assert_eq!(fate(6, [0xff_0000_0000_0000, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_ALLOW);
        assert_eq!(run(&program, 0x4000_0003, 0, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        let program = build(&[], Otherwise::Kill);
        assert_eq!(run(&program, X86_64, 0, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
    }
}
