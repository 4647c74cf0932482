//! maps, smaps, smaps_rollup.

use std::fmt::Write;
use std::sync::Arc;

use abi::stat::{major, minor};
use platform::Prot;

use crate::Result;
use crate::mm::{MapsLine, VmaFlags};
use crate::task::Task;

fn line(out: &mut Vec<u8>, map: &MapsLine) {
    let bit = |on: bool, letter: char| if on { letter } else { '-' };
    let mut head = format!(
        "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ",
        map.range.start,
        map.range.end,
        bit(map.prot.contains(Prot::READ), 'r'),
        bit(map.prot.contains(Prot::WRITE), 'w'),
        bit(map.prot.contains(Prot::EXEC), 'x'),
        if map.flags.contains(VmaFlags::SHARED) { 's' } else { 'p' },
        map.offset,
        major(map.device),
        minor(map.device),
        map.inode,
    );
    let name = map.name.text();
    if !name.is_empty() {
        // Names begin in column 74, as on Linux.
        while head.len() < 73 {
            head.push(' ');
        }
    }
    out.extend(head.into_bytes());
    for byte in name {
        // A line break in a name would look like another mapping.
        match byte {
            b'\n' => out.extend(b"\\012"),
            byte => out.push(byte),
        }
    }
    out.push(b'\n');
}

/// /proc/PID/maps.
pub(super) fn maps(task: &Arc<Task>) -> Result<Vec<u8>> {
    let Some(resources) = task.resources() else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for map in resources.mm.maps() {
        line(&mut out, &map);
    }
    Ok(out)
}

/// /proc/PID/smaps.
pub(super) fn smaps(task: &Arc<Task>) -> Result<Vec<u8>> {
    let Some(resources) = task.resources() else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for map in resources.mm.maps() {
        line(&mut out, &map);
        let rss = resources.mm.rss_of(map.range.clone());
        let mut text = figures(map.range.end - map.range.start, rss.total(), rss.anonymous, &map);
        let _ = write!(text, "THPeligible:           0\nVmFlags: {}\n", flags(&map));
        out.extend(text.into_bytes());
    }
    Ok(out)
}

/// /proc/PID/smaps_rollup.
pub(super) fn rollup(task: &Arc<Task>) -> Result<Vec<u8>> {
    let Some(resources) = task.resources() else { return Ok(Vec::new()) };
    let maps = resources.mm.maps();
    let (Some(first), Some(last)) = (maps.first(), maps.last()) else { return Ok(Vec::new()) };
    let rss = resources.mm.rss();
    let head = format!("{:08x}-{:08x} ---p 00000000 00:00 0 ", first.range.start, last.range.end);
    let mut out = format!("{head:<73}[rollup]\n");
    let all = figures(0, rss.total(), rss.anonymous, first);
    // The roll-up has no size and page sizes.
    out.extend(
        all.lines().filter(|l| !l.starts_with("Size") && !l.contains("PageSize")).map(|l| format!("{l}\n")),
    );
    Ok(out.into_bytes())
}

fn figures(size: u64, rss: u64, anonymous: u64, map: &MapsLine) -> String {
    let mut out = String::new();
    let mut row = |name: &str, bytes: u64| {
        let _ = writeln!(out, "{:<16}{:>8} kB", format!("{name}:"), bytes / 1024);
    };
    let locked = if map.flags.contains(VmaFlags::LOCKED) { rss } else { 0 };
    row("Size", size);
    row("KernelPageSize", 4096);
    row("MMUPageSize", 4096);
    row("Rss", rss);
    row("Pss", rss);
    row("Pss_Dirty", anonymous);
    row("Shared_Clean", 0);
    row("Shared_Dirty", 0);
    row("Private_Clean", rss - anonymous.min(rss));
    row("Private_Dirty", anonymous);
    row("Referenced", rss);
    row("Anonymous", anonymous);
    for name in [
        "KSM",
        "LazyFree",
        "AnonHugePages",
        "ShmemPmdMapped",
        "FilePmdMapped",
        "Shared_Hugetlb",
        "Private_Hugetlb",
        "Swap",
        "SwapPss",
    ] {
        row(name, 0);
    }
    row("Locked", locked);
    out
}

fn flags(map: &MapsLine) -> String {
    let mut out = String::new();
    let mut add = |on: bool, name: &str| {
        if on {
            out.push_str(name);
            out.push(' ');
        }
    };
    add(map.prot.contains(Prot::READ), "rd");
    add(map.prot.contains(Prot::WRITE), "wr");
    add(map.prot.contains(Prot::EXEC), "ex");
    add(map.flags.contains(VmaFlags::SHARED), "sh");
    add(map.max_prot.contains(Prot::READ), "mr");
    add(map.max_prot.contains(Prot::WRITE), "mw");
    add(map.max_prot.contains(Prot::EXEC), "me");
    add(map.flags.contains(VmaFlags::GROWSDOWN), "gd");
    add(map.flags.contains(VmaFlags::LOCKED), "lo");
    add(map.flags.contains(VmaFlags::IO), "io");
    add(map.flags.contains(VmaFlags::DONTFORK), "dc");
    add(map.flags.contains(VmaFlags::DONTEXPAND), "de");
    add(map.flags.contains(VmaFlags::DONTDUMP), "dd");
    add(map.flags.contains(VmaFlags::WIPEONFORK), "wf");
    out
}
