//! What a container leaves on the host.

use std::path::{Path, PathBuf};

/// Living processes that execute this very file: every process that the runtime makes does, whatever else it hides.
pub fn processes(program: &Path) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // One that has ended and waits to be reaped has no such link any more.
    pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program))
        .collect()
}

/// A line for each, for a failed test.
pub fn describe(pids: &[i32]) -> String {
    let read = |pid: &i32, file: &str| {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default())
            .replace('\0', " ")
    };
    let lines = pids.iter().map(|pid| {
        let status = read(pid, "status");
        let lines = status.lines().filter(|line| ["State", "PPid"].iter().any(|name| line.starts_with(name)));
        format!("{pid} {:?} {:?} {}", read(pid, "cmdline"), lines.collect::<Vec<_>>(), read(pid, "wchan"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Mounts of this process's namespace that have to do with a directory.
pub fn mounts(dir: &Path) -> Vec<String> {
    let mark = dir.to_str().unwrap();
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|line| line.contains(mark)).map(str::to_owned).collect()
}

/// Control groups of this name, in all hierarchies.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let kinds = [" - cgroup ", " - cgroup2 "];
    let mounts = text.lines().filter(|line| kinds.iter().any(|kind| line.contains(kind)));
    let mut found = Vec::new();
    for root in mounts.filter_map(|line| line.split(' ').nth(4)) {
        search(Path::new(root), name, &mut found);
    }
    found
}

fn search(dir: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name() == name {
            found.push(entry.path());
        }
        search(&entry.path(), name, found);
    }
}

/// Names of what is in a directory; nothing where there is none.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
