//! Signals, statuses, and flags that share a word with something else.

use abi::clone::{CSIGNAL, CloneFlags};
use abi::elf::Personality;
use abi::futex::{FUTEX_CMD_MASK, FUTEX_OPS, FutexFlags};
use abi::mman::{MAP_HUGE_MASK, MAP_HUGE_SHIFT, MapFlags};
use sentry::mm::{UserAddr, UserRef};

use super::Arg;
use crate::row::When;
use crate::show::{ARRAY_LIMIT, STRING_LIMIT, ShowCx, bits, process, signal};

/// A signal number as the guest gave it: 0 and nonsense too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sig(pub i32);

impl Sig {
    /// The signal, `None` for 0 and for what is none.
    pub fn signal(self) -> Option<abi::Signal> {
        abi::Signal::new(self.0 as u32)
    }
}

impl Arg for Sig {
    fn decode(raw: u64) -> Self {
        Sig(raw as i32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        signal::signal_number(&mut cx.out, cx.args[index] as u32);
    }
}

/// What a process exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode(pub i32);

impl Arg for ExitCode {
    fn decode(raw: u64) -> Self {
        ExitCode(raw as i32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        <i32 as Arg>::show(cx, index);
    }
}

/// What personality(2) sets; all ones only ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonalityArg(pub u32);

impl Arg for PersonalityArg {
    fn decode(raw: u64) -> Self {
        PersonalityArg(raw as u32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        match cx.args[index] as u32 {
            u32::MAX => cx.text("0xffffffff"),
            bits => bits::flags::<Personality>(&mut cx.out, u64::from(bits), "PER_LINUX"),
        }
    }
}

/// Where wait4(2) puts a status.
#[derive(Clone, Copy)]
pub struct OutStatus(pub UserRef<i32>);

impl Arg for OutStatus {
    const WHEN: When = When::Exit;
    fn decode(raw: u64) -> Self {
        OutStatus(UserRef::new(UserAddr(raw)))
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let addr = cx.args[index];
        // Without a child (0 with WNOHANG) nothing was written.
        let written = addr != 0 && cx.result != Some(0);
        match if written { cx.read_obj::<i32>(addr) } else { None } {
            Some(status) => process::wait_status(&mut cx.out, status),
            None => cx.address(addr),
        }
    }
}

/// Flags and exit signal of clone(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloneArg(pub u64);

impl Arg for CloneArg {
    fn decode(raw: u64) -> Self {
        CloneArg(raw)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let raw = cx.args[index];
        let (flags, exit_signal) = (raw & !CSIGNAL, raw & CSIGNAL);
        bits::flags::<CloneFlags>(&mut cx.out, flags, "");
        if exit_signal != 0 || flags == 0 {
            if flags != 0 {
                cx.text("|");
            }
            signal::signal_number(&mut cx.out, exit_signal as u32);
        }
    }
}

/// Operation and flags of futex(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FutexOp(pub u32);

impl Arg for FutexOp {
    fn decode(raw: u64) -> Self {
        FutexOp(raw as u32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let raw = cx.args[index] as u32;
        bits::name(&mut cx.out, FUTEX_OPS, raw & FUTEX_CMD_MASK);
        if raw & FutexFlags::PRIVATE_FLAG.bits() != 0 {
            cx.text("_PRIVATE");
        }
        bits::more_flags::<FutexFlags>(&mut cx.out, u64::from(raw & FutexFlags::CLOCK_REALTIME.bits()));
    }
}

/// Type and flags of mmap(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapArg(pub u32);

impl Arg for MapArg {
    fn decode(raw: u64) -> Self {
        MapArg(raw as u32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let raw = cx.args[index] as u32;
        let huge =
            if raw & MapFlags::HUGETLB.bits() != 0 { raw >> MAP_HUGE_SHIFT & MAP_HUGE_MASK } else { 0 };
        bits::flags::<MapFlags>(&mut cx.out, u64::from(raw & !(huge << MAP_HUGE_SHIFT)), "0");
        if huge != 0 {
            cx.write(format_args!("|{huge}<<MAP_HUGE_SHIFT"));
        }
    }
}

/// Arguments or environment of execve(2): pointers to strings, the last one null.
#[derive(Clone, Copy)]
pub struct StringArray(pub UserRef<u64>);

impl Arg for StringArray {
    fn decode(raw: u64) -> Self {
        StringArray(UserRef::new(UserAddr(raw)))
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let addr = cx.args[index];
        let element = |cx: &ShowCx<'_>, i: usize| cx.read_obj::<u64>(addr.wrapping_add(i as u64 * 8));
        if addr == 0 || element(cx, 0).is_none() {
            return cx.address(addr);
        }
        let mut count = 0;
        while count < 100_000 && element(cx, count).is_some_and(|pointer| pointer != 0) {
            count += 1;
        }
        // The environment is long and seldom of interest: strace counts it, too.
        if index >= 2 {
            let plural = if count == 1 { "" } else { "s" };
            return cx.write(format_args!("{addr:#x} /* {count} var{plural} */"));
        }
        cx.text("[");
        for i in 0..count.min(ARRAY_LIMIT) {
            if i > 0 {
                cx.text(", ");
            }
            cx.c_string(element(cx, i).unwrap_or(0), STRING_LIMIT);
        }
        cx.text(if count > ARRAY_LIMIT { ", ...]" } else { "]" });
    }
}
