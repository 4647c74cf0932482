//! Control groups: what is written for limits, compared with what runc writes for the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{OURS, PATIENCE, Place, cannot, is_foreign, oracle};

/// Where hierarchies of version 1 are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// Files that limits are written to.
const FILES: [&str; 17] = [
    "memory/memory.limit_in_bytes",
    "memory/memory.memsw.limit_in_bytes",
    "memory/memory.soft_limit_in_bytes",
    "memory/memory.swappiness",
    "cpu/cpu.shares",
    "cpu/cpu.cfs_quota_us",
    "cpu/cpu.cfs_period_us",
    "cpu/cpu.rt_period_us",
    "cpu/cpu.rt_runtime_us",
    "cpuset/cpuset.cpus",
    "cpuset/cpuset.mems",
    "blkio/blkio.bfq.weight",
    "blkio/blkio.weight",
    "blkio/blkio.throttle.read_bps_device",
    "blkio/blkio.throttle.write_bps_device",
    "blkio/blkio.throttle.read_iops_device",
    "blkio/blkio.throttle.write_iops_device",
];

/// Whether there are no such hierarchies that can be written to.
fn no_cgroups() -> bool {
    let none = !rustix::process::geteuid().is_root()
        || ["memory", "cpu", "cpuset", "blkio", "pids"]
            .iter()
            .any(|name| std::fs::write(format!("{ROOT}/{name}/tasks"), "").is_err());
    if none {
        eprintln!("SKIPPED: needs root and writable cgroup hierarchies of version 1");
    }
    none
}

/// What the files of a container hold.
fn files(name: &str) -> BTreeMap<String, String> {
    let read = |file: &&str| {
        let (controller, file) = file.split_once('/').unwrap();
        let text = std::fs::read_to_string(format!("{ROOT}/{controller}{name}/{file}")).ok()?;
        Some((format!("{controller}/{file}"), text))
    };
    let mut all: BTreeMap<String, String> = FILES.iter().filter_map(read).collect();
    let oom = std::fs::read_to_string(format!("{ROOT}/memory{name}/memory.oom_control")).unwrap();
    all.insert("oom".to_owned(), oom.lines().next().unwrap().to_owned());
    all
}

/// Limits, and updates of them.
fn cases() -> Vec<(Value, Vec<Vec<&'static str>>)> {
    let disk = std::fs::read_to_string("/proc/partitions").unwrap();
    let disk: Option<(u64, u64)> = disk.lines().find_map(|line| {
        let mut fields = line.split_whitespace().map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    });
    let rate = |rate: u64| {
        disk.iter()
            .map(|(major, minor)| json!({"major": major, "minor": minor, "rate": rate}))
            .collect::<Vec<_>>()
    };
    vec![
        (json!({}), vec![]),
        (
            json!({
                "memory": {"limit": 268_435_456, "swap": 536_870_912, "reservation": 134_217_728, "swappiness": 30},
                "cpu": {"shares": 512, "quota": 50_000, "period": 200_000, "cpus": "0", "mems": "0"},
                "blockIO": {
                    "throttleReadBpsDevice": rate(1_000_000), "throttleWriteBpsDevice": rate(2_000_000),
                    "throttleReadIOPSDevice": rate(100), "throttleWriteIOPSDevice": rate(200),
                },
            }),
            vec![
                vec!["--memory", "1073741824", "--memory-swap", "2147483648"],
                vec!["--memory", "64m", "--memory-swap", "128M", "--memory-reservation", "32m"],
                vec!["--memory", "-1"],
                vec!["--cpu-quota", "20000", "--cpu-period", "50000", "--cpu-share", "100"],
                vec!["--cpu-quota", "-1"],
            ],
        ),
        (
            json!({"memory": {"limit": 268_435_456, "swap": -1, "disableOOMKiller": true}, "cpu": {"shares": 2}}),
            vec![],
        ),
        (
            json!({
                "memory": {"limit": 0, "swap": 0, "reservation": 0}, "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": ""},
                "blockIO": {"weight": 0}, "pids": {"limit": 0},
            }),
            vec![],
        ),
    ]
}

/// Removes a control group from all hierarchies: on a busy machine runc gives up on those whose last process is still ending.
fn remove_groups(name: &str) {
    let deadline = Instant::now() + PATIENCE;
    for hierarchy in std::fs::read_dir(ROOT).unwrap() {
        let group = hierarchy.unwrap().path().join(&name[1..]);
        while group.exists() && std::fs::remove_dir(&group).is_err() {
            assert!(Instant::now() < deadline, "{} is still in use", group.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What is written for each case and after each update.
fn record(runtime: &Path) -> Vec<BTreeMap<String, String>> {
    let place = Place::of(runtime);
    let mut all = Vec::new();
    for (number, (resources, updates)) in cases().into_iter().enumerate() {
        let name = format!("/runsc-limits-{}-{number}", std::process::id());
        let mut bundle = place.bundle(&["sleep", "1000"]);
        bundle.config["linux"]["cgroupsPath"] = json!(name);
        bundle.config["linux"]["resources"] = resources;
        bundle.write();
        let id = format!("limited{number}");
        place.start(&bundle, &id);
        all.push(files(&name));
        for update in updates {
            let args = [&["update"], &update[..], &[&id]].concat();
            place.ok(&args);
            all.push(files(&name));
        }
        place.ok(&["delete", "--force", &id]);
        if runtime == Path::new(OURS) {
            assert!(!Path::new(&format!("{ROOT}/memory{name}")).exists());
        } else {
            remove_groups(&name);
        }
    }
    all
}

#[test]
fn limits_are_written_as_runc_writes_them() {
    if cannot() || is_foreign() || no_cgroups() {
        return;
    }
    let ours = record(Path::new(OURS));
    assert_eq!(ours[1]["memory/memory.memsw.limit_in_bytes"], "536870912\n");
    let Some(runc) = oracle() else { return };
    for (number, (ours, theirs)) in ours.iter().zip(record(&runc)).enumerate() {
        assert_eq!(*ours, theirs, "step {number}");
    }
}

#[test]
fn limits_that_can_not_be_set_are_refused() {
    if cannot() || no_cgroups() {
        return;
    }
    let place = Place::make();
    let mut bundle = place.bundle(&["true"]);
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/runsc-refused-{}", std::process::id()));
    let mut cases = vec![
        (json!({"unified": {"memory.high": "1"}}), "version 1"),
        (json!({"memory": {"swappiness": 101}}), "0 to 100"),
        (json!({"cpu": {"cpus": "4000"}}), "cpuset.cpus"),
        (json!({"cpu": {"shares": 1}}), "minimum allowed cpu-shares is 2"),
        (json!({"cpu": {"shares": 300_000}}), "maximum allowed cpu-shares is 262144"),
        (json!({"memory": {"limit": 268_435_456, "swap": 1_000_000}}), "memory"),
    ];
    if !Path::new(ROOT).join("hugetlb").exists() {
        cases.push((json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4096}]}), "hugetlb"));
    }
    if !Path::new(ROOT).join("net_cls").exists() {
        cases.push((json!({"network": {"classID": 65537}}), "net_cls"));
    }
    for (resources, expected) in cases {
        bundle.config["linux"]["resources"] = resources;
        bundle.write();
        let (status, text) = place.fails(&["create", "--bundle", bundle.path(), "x"]);
        assert_eq!(status, 1, "{text}");
        assert!(is_foreign() || text.contains(expected), "{text:?} has no {expected:?}");
        assert!(place.ids().is_empty());
        let dir = format!("{ROOT}/memory/runsc-refused-{}", std::process::id());
        assert!(!Path::new(&dir).exists(), "{dir}");
    }
}

#[test]
fn without_systemd_it_makes_no_cgroups() {
    if cannot() {
        return;
    }
    if Path::new("/run/systemd/system").exists() {
        eprintln!("SKIPPED: systemd runs here; tests/vm tries it");
        return;
    }
    let place = Place::make();
    let mut bundle = place.bundle(&["sleep", "1000"]);
    bundle.config["linux"]["cgroupsPath"] = json!("system.slice:runsc:x");
    bundle.write();
    for command in ["create", "run"] {
        let (status, text) = place.fails(&["--systemd-cgroup", command, "--bundle", bundle.path(), "x"]);
        assert_eq!(status, 1);
        assert!(text.contains("systemd not running on this host"), "{text}");
    }
    assert!(place.ids().is_empty());
    bundle.config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    bundle.write();
    // Elsewhere it says nothing.
    place.start(&bundle, "x");
    place.ok(&["--systemd-cgroup", "state", "x"]);
    place.ok(&["--systemd-cgroup", "exec", "x", "true"]);
    place.ok(&["--systemd-cgroup", "delete", "--force", "x"]);
}

/// What a container with limits reads of them, at first and after an update.
fn told(runtime: &Path) -> Vec<String> {
    let place = Place::of(runtime);
    let name = format!("/runsc-told-{}", std::process::id());
    let mut bundle = place.bundle(&["sleep", "1000"]);
    bundle.config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
    }));
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
    bundle.config["linux"]["cgroupsPath"] = json!(name);
    bundle.config["linux"]["resources"] = json!({
        "memory": {"limit": 268_435_456},
        "cpu": {"shares": 512, "quota": 50_000, "period": 200_000},
        "pids": {"limit": 100},
    });
    bundle.write();
    place.start(&bundle, "told");
    let files = [
        "memory/memory.limit_in_bytes",
        "cpu/cpu.shares",
        "cpu/cpu.cfs_quota_us",
        "cpu/cpu.cfs_period_us",
        "pids/pids.max",
    ];
    let mut all = Vec::new();
    for update in [&["--memory", "128m", "--cpu-quota", "-1", "--pids-limit", "50"][..], &[]] {
        for file in files {
            let path = format!("/sys/fs/cgroup/{file}");
            all.push(format!("{file} {}", place.ok(&["exec", "told", "cat", &path])));
        }
        // Nobody in there gives itself more.
        let more = ["exec", "told", "sh", "-c", "echo 1000 >/sys/fs/cgroup/pids/pids.max"];
        assert!(!place.run(&more).status.success());
        if !update.is_empty() {
            place.ok(&[&["update"], update, &["told"]].concat());
        }
    }
    place.ok(&["delete", "--force", "told"]);
    if runtime != Path::new(OURS) {
        remove_groups(&name);
    }
    all
}

#[test]
fn a_container_is_told_what_it_is_granted() {
    if cannot() || is_foreign() || no_cgroups() {
        return;
    }
    let ours = told(Path::new(OURS));
    assert_eq!(ours[0], "memory/memory.limit_in_bytes 268435456\n");
    let Some(runc) = oracle() else { return };
    assert_eq!(ours, told(&runc));
}

#[test]
fn a_cgroup_with_processes_in_it_is_left_to_them() {
    if cannot() || is_foreign() || no_cgroups() {
        return;
    }
    let place = Place::make();
    let mut bundle = place.bundle(&["sleep", "1000"]);
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/runsc-taken-{}", std::process::id()));
    bundle.write();
    place.start(&bundle, "first");
    let (status, text) = place.fails(&["create", "--bundle", bundle.path(), "second"]);
    assert_eq!(status, 1);
    assert!(text.contains("is not empty"), "{text}");
    assert_eq!(place.ids(), ["first"]);
    assert_eq!(place.ok(&["exec", "first", "echo", "there"]), "there\n");
}
