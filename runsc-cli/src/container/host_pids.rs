//! The host processes of a sandbox's programs, by the numbers that the host's tools show.

use std::collections::BTreeMap;
use std::fs;

/// The children of a Sentry: their numbers in its own PID namespace, and in that of this process's /proc.
pub fn of_children(sentry: i32) -> BTreeMap<i32, i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        // An error: it has ended.
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        (number(&status, "PPid:")? == sentry).then(|| Some((number(&status, "NSpid:")?, pid)))?
    })
    .collect()
}

/// The last number of a line of /proc/PID/status; of NSpid that of the innermost namespace.
fn number(status: &str, name: &str) -> Option<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let status = "Name:\tNSpid: 7\nPPid:\t12\nNSpid:\t300\t4\nPPidX:\t1\n";
        assert_eq!(number(status, "PPid:"), Some(12));
        assert_eq!(number(status, "NSpid:"), Some(4));
        assert_eq!(number(status, "None:"), None);
    }

    #[test]
    fn own_children() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = child.id() as i32;
        assert!(of_children(std::process::id() as i32).values().any(|host| *host == pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
