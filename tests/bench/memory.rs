//! Memory of a process and all that descend from it.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::deadline;
use crate::subject::Subject;

/// How long a sandbox has to become idle.
const SETTLE: Duration = Duration::from_millis(1500);

/// What a tree of processes uses.
pub struct Tree {
    /// Proportional set size: shared pages are counted in parts.
    pub pss_kib: u64,
    /// How many there are.
    pub processes: u64,
}

/// Waits for the processes to settle, and adds them up.
pub fn settled(root: u32) -> Result<Tree> {
    std::thread::sleep(SETTLE);
    added_up(root)
}

/// The same without the process itself.
pub fn settled_below(root: u32) -> Result<Tree> {
    std::thread::sleep(SETTLE);
    let all = descendants(root)?;
    sum(all.into_iter().filter(|pid| *pid != root))
}

fn added_up(root: u32) -> Result<Tree> {
    sum(descendants(root)?)
}

fn sum(pids: impl IntoIterator<Item = u32>) -> Result<Tree> {
    let mut tree = Tree { pss_kib: 0, processes: 0 };
    for pid in pids {
        // What has ended, and nobody has waited for yet, has no memory.
        let Some(kib) = pss_kib(pid).with_context(|| format!("Pss of process {pid}"))? else { continue };
        tree.processes += 1;
        tree.pss_kib += kib;
    }
    Ok(tree)
}

/// Pss for each of so many idle sandboxes at the same time.
pub fn of_many(subject: &Subject, count: usize) -> Result<f64> {
    let one = deadline::spawn(&mut subject.command(&["sleep", "1000"]))?;
    let alone = settled(one.id());
    deadline::kill(one);
    let (needed, there) = (alone?.pss_kib * count as u64, available_kib()?);
    if needed > there / 2 {
        bail!("{count} take {} MiB, and {} MiB are free", needed >> 10, there >> 10);
    }
    let mut all = Vec::new();
    let mut start = || -> Result<f64> {
        for _ in 0..count {
            all.push(deadline::spawn(&mut subject.command(&["sleep", "1000"]))?);
        }
        // They share the machine while they start.
        std::thread::sleep(SETTLE + Duration::from_millis(40) * count as u32);
        let mut sum = 0;
        for child in &all {
            sum += added_up(child.id())?.pss_kib;
        }
        Ok(sum as f64 / count as f64)
    };
    let found = start();
    all.into_iter().for_each(deadline::kill);
    found
}

fn available_kib() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    kib_of(&text, "MemAvailable:").context("no MemAvailable in /proc/meminfo")
}

/// A process and all that descend from it.
pub fn descendants(root: u32) -> Result<Vec<u32>> {
    let parents = parents()?;
    Ok(parents.keys().copied().filter(|pid| descends(*pid, root, &parents)).collect())
}

fn descends(mut pid: u32, root: u32, parents: &HashMap<u32, u32>) -> bool {
    while pid != root {
        match parents.get(&pid) {
            Some(parent) if *parent != 0 => pid = *parent,
            _ => return false,
        }
    }
    true
}

/// The parent of every process.
fn parents() -> Result<HashMap<u32, u32>> {
    let mut parents = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse().ok()) else { continue };
        // It may be gone by now.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let after_name = stat.rsplit_once(')').map_or("", |s| s.1);
        if let Some(parent) = after_name.split_whitespace().nth(1).and_then(|p| p.parse().ok()) {
            parents.insert(pid, parent);
        }
    }
    Ok(parents)
}

fn pss_kib(pid: u32) -> Result<Option<u64>> {
    let rollup = match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => return Ok(None),
        read => read?,
    };
    kib_of(&rollup, "Pss:").context("no Pss line").map(Some)
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
