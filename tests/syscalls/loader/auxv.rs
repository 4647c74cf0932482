//! The auxiliary vector.

use std::collections::HashMap;

use crate::kit::prelude::*;

/// Of a fresh program, as hexadecimal words by number.
fn fresh(prepare: impl FnOnce()) -> HashMap<u64, u64> {
    parse(&probe(c"auxv", prepare))
}

fn parse(text: &str) -> HashMap<u64, u64> {
    text.split_whitespace()
        .filter_map(|pair| pair.split_once('='))
        .filter_map(|(k, v)| Some((u64::from_str_radix(k, 16).ok()?, u64::from_str_radix(v, 16).ok()?)))
        .collect()
}

#[track_caller]
fn value(all: &HashMap<u64, u64>, key: u64) -> u64 {
    match all.get(&key) {
        Some(value) => *value,
        None => fail(format_args!("the vector has no entry {key}")),
    }
}

/// An entry of this very program.
#[track_caller]
fn mine(key: u64) -> usize {
    let words = text_words();
    match words.chunks_exact(2).find(|pair| pair[0] == key) {
        Some(pair) => pair[1] as usize,
        None => fail(format_args!("the vector has no entry {key}")),
    }
}

fn text_words() -> Vec<u64> {
    content(c"/proc/self/auxv")
        .chunks_exact(8)
        .map(|b| b.iter().rev().fold(0u64, |v, x| v << 8 | u64::from(*x)))
        .collect()
}

case!(machine: execve);
fn machine() {
    let all = fresh(|| {});
    eq(value(&all, AT_PAGESZ), 4096);
    eq(value(&all, AT_CLKTCK), 100);
    check(value(&all, AT_HWCAP) & 1 != 0, "an FPU");
    let platform = mine(AT_PLATFORM);
    let name: Vec<u8> = (0..6).map(|i| peek(platform + i)).collect();
    eq(name, b"x86_64");
    check(value(&all, 51) >= 2048, "AT_MINSIGSTKSZ");
}

case!(identity: execve, setresuid; root);
fn identity() {
    let all = fresh(|| {});
    eq([AT_UID, AT_EUID, AT_GID, AT_EGID, AT_SECURE].map(|k| value(&all, k)), [0; 5]);
    let all = fresh(|| {
        ok(sys!(setresgid, 11, 12, 12));
        ok(sys!(setresuid, 21, 22, 22));
    });
    eq([AT_UID, AT_EUID, AT_GID, AT_EGID].map(|k| value(&all, k)), [21, 22, 11, 12]);
    // Two identities are a reason for care.
    eq(value(&all, AT_SECURE), 1);
}

case!(program_and_headers: execve);
fn program_and_headers() {
    let all = fresh(|| {});
    eq((value(&all, AT_PHENT), value(&all, AT_BASE), value(&all, AT_FLAGS)), (56, 0, 0));
    let (phdr, count) = (mine(AT_PHDR), mine(AT_PHNUM));
    check(count > 1, "headers");
    // The first loaded segment contains the entry or lies below it, and the headers can be read.
    let kinds: Vec<u32> = (0..count).map(|i| peek64(phdr + i * 56) as u32).collect();
    check(kinds.contains(&1), "a segment to load");
    eq(value(&all, AT_ENTRY), mine(AT_ENTRY) as u64);
}

case!(name_of_the_file: execve, execveat);
fn name_of_the_file() {
    let at = mine(AT_EXECFN);
    let name: Vec<u8> = (0..).map(|i| peek(at + i)).take_while(|b| *b != 0).collect();
    eq(name, program().to_bytes());
}

case!(random_bytes: execve);
fn random_bytes() {
    let a = probe(c"random", || {});
    let b = probe(c"random", || {});
    eq((a.len(), b.len()), (32, 32));
    check(a != b, "two programs, two seeds");
}

case!(same_in_proc: execve, openat);
fn same_in_proc() {
    let words = text_words();
    eq(words[words.len() - 2..].to_vec(), vec![0, 0]);
    let from_stack = crate::kit::probe::auxv();
    eq(words, from_stack);
}

case!(interpreter_base: execve);
fn interpreter_base() {
    use crate::kit::elf::{Image, exit_42, stop};
    Image::pie(stop()).write(c"interp");
    Image::pie(exit_42()).interpreter(b"./interp\0").write(c"program");
    let child = fork(|| done(exec(c"./program", &[c"program"], &[])));
    wait_for(child.pid, WUNTRACED);
    let auxv = std::fs::read(format!("/proc/{}/auxv", child.pid)).unwrap_or_default();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.pid)).unwrap_or_default();
    child.end();
    let words: Vec<u64> =
        auxv.chunks_exact(8).map(|b| b.iter().rev().fold(0u64, |v, x| v << 8 | u64::from(*x))).collect();
    let of = |key: u64| words.chunks_exact(2).find(|p| p[0] == key).map_or(0, |p| p[1]);
    let first = |name: &str| {
        let line = maps.lines().find(|l| l.ends_with(name)).unwrap_or_default();
        u64::from_str_radix(line.split('-').next().unwrap_or_default(), 16).unwrap_or(1)
    };
    eq(of(AT_BASE), first("/interp"));
    eq(of(AT_ENTRY), first("/program") + 0x1000);
    eq((of(AT_PHDR), of(AT_PHNUM)), (first("/program") + 64, 3));
}
