//! What the Sentry may do, as the host's /proc tells it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::{SelfTest, as_each_user, root};

fn status(pid: i32) -> impl Fn(&str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    move |name| {
        let prefix = format!("{name}:");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).trim().to_owned()
    }
}

#[test]
fn the_sentry_has_no_rights() {
    as_each_user(|uid| {
        let test = SelfTest::start(uid);
        let field = status(test.sentry);
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        assert_eq!(field("NoNewPrivs"), "1");
        assert_eq!(field("Seccomp"), "2");
        let id = if uid == 0 { 65534 } else { uid };
        assert_eq!(field("Uid"), format!("{id}\t{id}\t{id}\t{id}"));
        assert_eq!(test.report["uid"], id);
        assert!(field("NSpid").ends_with("\t1"), "{}", field("NSpid"));
        assert_eq!(test.report["pid"], 1);
        if uid == 0 {
            assert_eq!(field("Groups"), "");
        }
    });
}

/// A table of descriptors that grows while others share it stops whoever opens something for milliseconds.
#[test]
fn there_is_room_for_descriptors_from_the_start() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let test = SelfTest::start(rustix::process::geteuid().as_raw());
    for (name, pid) in [("sentry", test.sentry), ("gofer", test.gofer)] {
        // The report is the Sentry's: the Gofer may still be on its way, of which the filter is the end.
        let deadline = Instant::now() + Duration::from_secs(20);
        while status(pid)("Seccomp") != "2" {
            assert!(Instant::now() < deadline, "the {name} has no filter");
            std::thread::sleep(Duration::from_millis(2));
        }
        let slots: u64 = status(pid)("FDSize").parse().unwrap();
        assert!(slots >= limit.min(4096), "{name}: {slots} of {limit}");
    }
}

#[test]
fn the_sentry_is_in_namespaces_of_its_own() {
    as_each_user(|uid| {
        let test = SelfTest::start(uid);
        for kind in ["user", "mnt", "pid", "ipc", "uts", "net", "cgroup"] {
            let link = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            assert_ne!(link(&test.sentry.to_string()), link("self"), "{kind}");
        }
        // One id, and not root's.
        let map = fs::read_to_string(format!("/proc/{}/uid_map", test.sentry)).unwrap();
        let id = if uid == 0 { 65534 } else { uid }.to_string();
        assert_eq!(map.split_whitespace().collect::<Vec<_>>(), [&id, &id, "1"]);
        // A session of its own: signals of the terminal don't reach it.
        let stat = fs::read_to_string(format!("/proc/{}/stat", test.sentry)).unwrap();
        let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
        assert_eq!(session, test.sentry.to_string());
    });
}

#[test]
fn the_sentry_sees_no_file() {
    as_each_user(|uid| {
        let test = SelfTest::start(uid);
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", test.sentry)).unwrap();
        assert_eq!(mounts.lines().count(), 1, "{mounts}");
        assert!(mounts.contains(" / / ro,"), "{mounts}");
        let entries = fs::read_dir(format!("/proc/{}/root/", test.sentry)).unwrap();
        assert_eq!(entries.count(), 0);
        let cwd = fs::read_link(format!("/proc/{}/cwd", test.sentry)).unwrap();
        assert_eq!(cwd, Path::new("/"));
        assert_eq!(fs::read(format!("/proc/{}/environ", test.sentry)).unwrap(), b"");
    });
}

/// statfs(2).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// The Sentry holds the null device, the connections and the standard streams, and guest memory; and neither it nor the
/// Gofer, which opens files, has what the caller had open.
#[test]
fn no_descriptor_leaks_into_the_sandbox() {
    // Not close-on-exec, as in a shell script that uses descriptors.
    let file = tempfile::NamedTempFile::new().unwrap();
    let stray = rustix::io::dup(file.as_file()).unwrap();
    if !root() {
        eprintln!("SKIPPED: only root may see the descriptors of Sentry and Gofer");
        return;
    }
    as_each_user(|uid| {
        let test = SelfTest::start(uid);
        for pid in [test.sentry, test.gofer] {
            let mut open: Vec<i32> = Vec::new();
            for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
                let entry = entry.unwrap();
                // It may be closed by now.
                let Ok(target) = fs::read_link(entry.path()) else { continue };
                assert_ne!(target, file.path(), "{entry:?}");
                // What the platform makes for itself: memory files, one of them on a tmpfs of its own without a name, and the
                // events of its stubs.
                let large = |target: &str| {
                    let on = rustix::fs::statfs(entry.path()).map(|found| found.f_type);
                    target.starts_with("/#") && target.ends_with(" (deleted)") && on == Ok(TMPFS_MAGIC)
                };
                let own = |target: &str| {
                    target.starts_with("/memfd:") || target == "anon_inode:[eventfd]" || large(target)
                };
                if !target.to_str().is_some_and(own) {
                    open.push(entry.file_name().to_str().unwrap().parse().unwrap());
                }
            }
            open.sort_unstable();
            if pid == test.sentry {
                assert_eq!(open, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
            }
        }
    });
    drop(stray);
}

#[test]
fn core_files_are_off() {
    as_each_user(|uid| {
        let test = SelfTest::start(uid);
        let limits = fs::read_to_string(format!("/proc/{}/limits", test.sentry)).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"]);
    });
}
