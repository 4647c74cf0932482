//! The control groups that a process is in.

use std::path::{Path, PathBuf};

/// Where control groups are mounted.
const MOUNTED: &str = "/sys/fs/cgroup";

/// The control groups of one process.
pub struct Groups {
    lines: Vec<(String, String)>,
    top: PathBuf,
}

impl Groups {
    pub fn of(pid: u32) -> Option<Groups> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Some(Groups { lines: parse(&text), top: PathBuf::from(MOUNTED) })
    }

    /// The folder for a controller of version 1.
    pub fn v1(&self, controller: &str) -> Option<PathBuf> {
        let (_, path) =
            self.lines.iter().find(|(names, _)| names.split(',').any(|name| name == controller))?;
        let mount = self.top.join(controller);
        mount.is_dir().then(|| mount.join(path.trim_start_matches('/')))
    }

    /// The folder in the unified hierarchy, if that is the one with the controllers.
    pub fn v2(&self) -> Option<PathBuf> {
        let (_, path) = self.lines.iter().find(|(names, _)| names.is_empty())?;
        let folder = self.top.join(path.trim_start_matches('/'));
        folder.join("cgroup.controllers").is_file().then_some(folder)
    }
}

fn parse(text: &str) -> Vec<(String, String)> {
    let fields = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    text.lines().filter_map(fields).collect()
}

/// The number in a file; 0 when there is none, the largest for `max`.
pub fn number(folder: &Path, name: &str) -> u64 {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    match text.trim() {
        "max" => u64::MAX,
        digits => digits.parse().unwrap_or(0),
    }
}

/// A file of `name number` lines.
pub fn table(folder: &Path, name: &str) -> Vec<(String, u64)> {
    let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let pair = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// An entry of such a table, 0 when it is not there.
pub fn entry(table: &[(String, u64)], name: &str) -> u64 {
    table.iter().find(|(key, _)| key == name).map_or(0, |(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_versions_are_read() {
        let lines = parse("4:cpu,cpuacct:/a/b:c\n1:name=systemd:/\n0::/x\n");
        assert_eq!(lines[0], ("cpu,cpuacct".to_owned(), "/a/b:c".to_owned()));
        assert_eq!(lines[2], (String::new(), "/x".to_owned()));
    }
}
