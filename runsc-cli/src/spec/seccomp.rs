//! A container's seccomp profile as a program of classic BPF, which the Sentry runs on the guest's calls.
//!
//! For each call of the profile, its rules in their order: the first whose conditions all hold gives the action. A call that no
//! rule takes gets the default. (libseccomp, which runc uses, also takes the first of rules with conditions; profiles have one
//! action a call in practice.)

use std::collections::BTreeMap;

use abi::seccomp::{
    AUDIT_ARCH_X86_64, BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_K, BPF_LD,
    BPF_RET, BPF_W,
};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Operator,
};

use super::SpecError;

/// An instruction: code, jumps for yes and no, operand.
type Instruction = (u16, u8, u8, u32);

/// Where things are in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The bit of x32 calls, which no program here makes.
const X32: u32 = 0x4000_0000;

const LOAD: u16 = BPF_LD | BPF_W | BPF_ABS;

/// A rule of one call.
struct Rule<'a> {
    conditions: &'a [LinuxSeccompArg],
    action: u32,
}

/// Makes the program.
pub fn compile(profile: &LinuxSeccomp, notes: &mut Vec<String>) -> Result<Vec<Instruction>, SpecError> {
    let default = action(profile.default_action(), profile.default_errno_ret());
    let mut calls: BTreeMap<u32, Vec<Rule<'_>>> = BTreeMap::new();
    let mut unknown = 0;
    for rule in profile.syscalls().as_deref().unwrap_or_default() {
        let action = action(rule.action(), rule.errno_ret());
        if rule.action() == Action::ScmpActNotify {
            return Err(SpecError::Unusable(
                "seccomp: SCMP_ACT_NOTIFY is not supported; choose another action".to_owned(),
            ));
        }
        for name in rule.names() {
            match syscalls::table::by_name(name) {
                Some(row) => calls
                    .entry(row.number)
                    .or_default()
                    .push(Rule { conditions: rule.args().as_deref().unwrap_or_default(), action }),
                // Of another architecture, or of the future.
                None => unknown += 1,
            }
        }
    }
    if unknown > 0 {
        notes.push(format!("seccomp: {unknown} calls of the profile are none of x86-64"));
    }
    let mut program = vec![
        (LOAD, 0, 0, ARCHITECTURE),
        (BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64),
        give(u32::from(Action::ScmpActKillProcess)),
        (LOAD, 0, 0, NUMBER),
        (BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32),
        give(default),
    ];
    for (number, rules) in calls {
        let mut body = Vec::new();
        for rule in rules {
            // Nothing after a rule without conditions counts.
            let last = rule.conditions.is_empty();
            rule.add_to(&mut body);
            if last {
                break;
            }
        }
        if body.len() == 1 {
            program.push((BPF_JMP | BPF_JEQ | BPF_K, 0, 1, number));
            program.append(&mut body);
            continue;
        }
        // The number has been overwritten when no rule was met.
        body.push((LOAD, 0, 0, NUMBER));
        program.push((BPF_JMP | BPF_JEQ | BPF_K, 1, 0, number));
        program.push((BPF_JMP | BPF_JA, 0, 0, body.len() as u32));
        program.append(&mut body);
    }
    program.push(give(default));
    if program.len() > usize::from(abi::seccomp::BPF_MAXINSNS) {
        return Err(SpecError::Unusable("seccomp: the profile is too long; use fewer rules".to_owned()));
    }
    Ok(program)
}

fn give(action: u32) -> Instruction {
    (BPF_RET | BPF_K, 0, 0, action)
}

/// The word that a filter returns. In newer profiles an action without a number means EPERM.
fn action(action: Action, errno: Option<u32>) -> u32 {
    action.as_u32(errno.or(Some(libc::EPERM as u32)))
}

impl Rule<'_> {
    fn add_to(&self, body: &mut Vec<Instruction>) {
        let mut rule: Vec<Instruction> = Vec::new();
        // From the last condition to the first, so that it is known how far "no" jumps: behind the whole rule.
        let mut tail = vec![give(self.action)];
        for condition in self.conditions.iter().rev() {
            let mut instructions = test(condition, tail.len());
            instructions.append(&mut tail);
            tail = instructions;
        }
        rule.append(&mut tail);
        body.append(&mut rule);
    }
}

/// Goes on behind itself when the condition holds, and over `rest` more instructions when not.
fn test(condition: &LinuxSeccompArg, rest: usize) -> Vec<Instruction> {
    let at = ARGUMENTS + 8 * condition.index() as u32;
    let (low, high) = (at, at + 4);
    let value = condition.value();
    let (value_low, value_high) = (value as u32, (value >> 32) as u32);
    let jump = |kind: u16, yes: usize, no: usize, operand: u32| {
        (BPF_JMP | kind | BPF_K, yes as u8, no as u8, operand)
    };
    let masked = |mask: u64, wanted: u64| {
        vec![
            (LOAD, 0, 0, high),
            (BPF_ALU | BPF_AND | BPF_K, 0, 0, (mask >> 32) as u32),
            jump(BPF_JEQ, 0, rest + 3, (wanted >> 32) as u32),
            (LOAD, 0, 0, low),
            (BPF_ALU | BPF_AND | BPF_K, 0, 0, mask as u32),
            jump(BPF_JEQ, 0, rest, wanted as u32),
        ]
    };
    match condition.op() {
        Operator::ScmpCmpEq => vec![
            (LOAD, 0, 0, high),
            jump(BPF_JEQ, 0, rest + 2, value_high),
            (LOAD, 0, 0, low),
            jump(BPF_JEQ, 0, rest, value_low),
        ],
        Operator::ScmpCmpNe => vec![
            (LOAD, 0, 0, high),
            jump(BPF_JEQ, 0, 2, value_high),
            (LOAD, 0, 0, low),
            jump(BPF_JEQ, rest, 0, value_low),
        ],
        // Greater, or not less: decided by the high half unless the halves are equal.
        Operator::ScmpCmpGt | Operator::ScmpCmpGe => {
            let kind = if condition.op() == Operator::ScmpCmpGt { BPF_JGT } else { BPF_JGE };
            vec![
                (LOAD, 0, 0, high),
                jump(BPF_JGT, 3, 0, value_high),
                jump(BPF_JEQ, 0, rest + 2, value_high),
                (LOAD, 0, 0, low),
                jump(kind, 0, rest, value_low),
            ]
        }
        Operator::ScmpCmpLt | Operator::ScmpCmpLe => {
            let kind = if condition.op() == Operator::ScmpCmpLt { BPF_JGE } else { BPF_JGT };
            vec![
                (LOAD, 0, 0, high),
                jump(BPF_JGT, rest + 3, 0, value_high),
                jump(BPF_JEQ, 0, 2, value_high),
                (LOAD, 0, 0, low),
                jump(kind, rest, 0, value_low),
            ]
        }
        // The mask comes first, then what is left under it.
        Operator::ScmpCmpMaskedEq => masked(value, condition.value_two().unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use abi::seccomp::{SeccompData, SockFilter};
    use sentry::seccomp::Program;
    use serde_json::json;

    use super::*;

    fn program(profile: serde_json::Value) -> Program {
        let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
        let program = compile(&profile, &mut Vec::new()).unwrap();
        let instructions = program.into_iter().map(|(code, jt, jf, k)| SockFilter { code, jt, jf, k });
        Program::new(instructions.collect()).unwrap()
    }

    fn run(program: &Program, name: &str, args: [u64; 6]) -> u32 {
        let nr = syscalls::table::by_name(name).unwrap().number as i32;
        program.run(&SeccompData { nr, arch: AUDIT_ARCH_X86_64, instruction_pointer: 0, args })
    }

    const ALLOW: u32 = 0x7fff_0000;

    #[test]
    fn rules_are_followed() {
        let program = program(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
                {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 0xffff_ffffu64, "op": "SCMP_CMP_EQ"}]},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 2_114_060_288u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
                {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
            ],
        }));
        let none = [0; 6];
        assert_eq!(run(&program, "read", none), ALLOW);
        assert_eq!(run(&program, "write", none), 0x0005_0001);
        assert_eq!(run(&program, "mkdir", none), 0x0005_000d);
        assert_eq!(run(&program, "personality", none), 0x0005_0001);
        assert_eq!(run(&program, "personality", [8, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(&program, "personality", [0xffff_ffff, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(&program, "clone", [0x11, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(&program, "clone", [0x1000_0000, 0, 0, 0, 0, 0]), 0x0005_0001);
    }

    #[test]
    fn every_comparison() {
        let value = (5u64 << 32) + 7;
        let around = [0, 7, value - 1, value, value + 1, (4 << 32) + 9, (6 << 32) + 1, u64::MAX];
        type Compare = fn(u64, u64) -> bool;
        let operators: [(&str, Compare); 6] = [
            ("EQ", |a, b| a == b),
            ("NE", |a, b| a != b),
            ("GT", |a, b| a > b),
            ("GE", |a, b| a >= b),
            ("LT", |a, b| a < b),
            ("LE", |a, b| a <= b),
        ];
        for (name, compare) in operators {
            let program = program(json!({
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_ALLOW", "args": [
                    {"index": 2, "value": value, "op": format!("SCMP_CMP_{name}")},
                    {"index": 1, "value": 1, "op": "SCMP_CMP_EQ"},
                ]}],
            }));
            for argument in around {
                let allowed = run(&program, "getpid", [0, 1, argument, 0, 0, 0]) == ALLOW;
                assert_eq!(allowed, compare(argument, value), "{argument:#x} {name} {value:#x}");
                assert_ne!(run(&program, "getpid", [0, 2, argument, 0, 0, 0]), ALLOW);
            }
        }
    }
}
