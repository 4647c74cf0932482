//! Memory of a process and all that descend from it.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

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
    let parents = parents()?;
    let mut tree = Tree { pss_kib: 0, processes: 0 };
    for pid in parents.keys().copied().filter(|pid| descends(*pid, root, &parents)) {
        tree.processes += 1;
        tree.pss_kib += pss_kib(pid).with_context(|| format!("Pss of process {pid}"))?;
    }
    Ok(tree)
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

fn pss_kib(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|l| l.strip_prefix("Pss:")).context("no Pss line")?;
    let number = line.trim().trim_end_matches("kB").trim();
    number.parse().with_context(|| format!("not a number: {number:?}"))
}
