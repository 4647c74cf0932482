//! What is tested in the machine, as root and with systemd as the first process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::runtime::{
    Driver, Program, ROOT, Runtime, directories, directory, eventually, is_unified, run, succeeded,
};

/// Files that limits are written to: controller, and names in version 1 and 2.
const FILES: [(&str, &[&str], &[&str]); 4] = [
    (
        "memory",
        &[
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
            "memory.soft_limit_in_bytes",
            "memory.swappiness",
        ],
        &["memory.max", "memory.swap.max", "memory.low", "memory.high"],
    ),
    ("cpu", &["cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us"], &["cpu.max", "cpu.weight", "cpu.idle"]),
    ("cpuset", &["cpuset.cpus", "cpuset.mems"], &["cpuset.cpus", "cpuset.mems"]),
    (
        "blkio",
        &["blkio.throttle.read_bps_device", "blkio.throttle.write_iops_device", "blkio.bfq.weight"],
        &["io.max", "io.bfq.weight", "io.weight"],
    ),
];

/// Properties of the unit that belong to limits, or to how it is made.
const PROPERTIES: &str = "Slice,Delegate,DefaultDependencies,Description,MemoryAccounting,CPUAccounting,TasksAccounting,\
    IOAccounting,BlockIOAccounting,MemoryMax,MemoryLow,MemoryHigh,MemorySwapMax,MemoryLimit,CPUWeight,CPUShares,\
    CPUQuotaPerSecUSec,CPUQuotaPeriodUSec,AllowedCPUs,AllowedMemoryNodes,BlockIOWeight,TimeoutStopUSec";

/// A cgroupsPath for this driver.
fn cgroups_path(driver: Driver, name: &str) -> String {
    match driver {
        Driver::Files => format!("/tests/{name}"),
        Driver::Systemd => format!("tests-vm.slice:p:{name}"),
    }
}

fn unit(name: &str) -> String {
    format!("p-{name}.scope")
}

/// What the files of a container's process hold; with systemd, the properties of its unit too.
fn recorded(runtime: &Runtime, id: &str, name: &str) -> BTreeMap<String, String> {
    let pid = runtime.pid(id);
    let mut all = BTreeMap::new();
    for (controller, v1, v2) in FILES {
        let dir = directory(pid, controller);
        for file in if is_unified() { v2 } else { v1 } {
            if let Ok(text) = std::fs::read_to_string(dir.join(file)) {
                all.insert((*file).to_owned(), text);
            }
        }
    }
    if runtime.driver == Driver::Systemd {
        let text = run("systemctl", &["show", &unit(name), "--property", PROPERTIES]);
        all.extend(
            text.lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (format!("{name} (systemd)"), value.to_owned())),
        );
    }
    all
}

fn pids_max(runtime: &Runtime, id: &str) -> String {
    let dir = directory(runtime.pid(id), "pids");
    std::fs::read_to_string(dir.join("pids.max")).unwrap().trim().to_owned()
}

/// The number of the machine's disk.
fn disk() -> (u64, u64) {
    eventually("/dev/vda", || Path::new("/sys/block/vda/dev").exists());
    let text = std::fs::read_to_string("/sys/block/vda/dev").unwrap();
    let (major, minor) = text.trim().split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

fn limits() -> Value {
    let (major, minor) = disk();
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    json!({
        "memory": {"limit": 268_435_456, "swap": 402_653_184, "reservation": 134_217_728},
        "cpu": {"shares": 512, "quota": 50_000, "period": 200_000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 100},
        "blockIO": {"throttleReadBpsDevice": rate(1_048_576), "throttleWriteIOPSDevice": rate(200)},
    })
}

const UPDATES: [&[&str]; 8] = [
    &["--memory", "512m", "--memory-swap", "1g"],
    &["--memory-reservation", "64m"],
    // runc keeps the other half of these two only from one update to the next.
    &["--cpu-quota", "20000", "--cpu-period", "50000"],
    &["--cpu-quota", "40000"],
    &["--cpu-period", "100000"],
    &["--cpu-quota", "-1"],
    &["--cpu-share", "2048"],
    &["--cpuset-cpus", "0-1"],
];

/// What is there of a container at first, after each update, and after systemd has read its files again.
fn steps(program: Program, driver: Driver) -> Vec<BTreeMap<String, String>> {
    let runtime = Runtime::new(program, driver);
    let name = "limited";
    let path = cgroups_path(driver, name);
    let linux = [("cgroupsPath", json!(path)), ("resources", limits())];
    let bundle = runtime.bundle("bundle", &["sleep", "1000"], &linux);
    runtime.start(&bundle, "x");
    let mut all = vec![recorded(&runtime, "x", name)];
    let granted = if program == Program::Ours { 100 * 4 + 128 } else { 100 };
    assert_eq!(pids_max(&runtime, "x"), granted.to_string());
    for update in UPDATES {
        runtime.ok(&[&["update"], update, &["x"]].concat());
        all.push(recorded(&runtime, "x", name));
    }
    run("systemctl", &["daemon-reload"]);
    all.push(recorded(&runtime, "x", name));
    assert_eq!(pids_max(&runtime, "x"), granted.to_string());
    let dirs = directories(runtime.pid("x"));
    runtime.ok(&["delete", "--force", "x"]);
    if program == Program::Ours {
        nothing_is_left(&dirs, name);
    } else {
        // On a busy machine it gives up on some.
        eventually("the end of runc's", || {
            of_container(&dirs, name).iter().all(|dir| !dir.exists() || std::fs::remove_dir(dir).is_ok())
        });
    }
    all
}

/// Those of a process's directories that were made for its container.
fn of_container<'a>(dirs: &'a BTreeMap<String, PathBuf>, name: &str) -> Vec<&'a PathBuf> {
    dirs.values().filter(|dir| dir.ends_with(name) || dir.ends_with(unit(name))).collect()
}

/// No directory, and nothing that systemd remembers.
fn nothing_is_left(dirs: &BTreeMap<String, PathBuf>, name: &str) {
    let dirs = of_container(dirs, name);
    assert!(!dirs.is_empty());
    for dir in dirs {
        assert!(!dir.exists(), "{}", dir.display());
    }
    let units = run("systemctl", &["list-units", "--all", "--plain", "--no-legend", &unit(name)]);
    assert_eq!(units, "");
}

fn same_as_runc(driver: Driver) {
    let ours = steps(Program::Ours, driver);
    let theirs = steps(Program::Runc, driver);
    println!("{driver:?}, first step: {:#?}", ours[0]);
    for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "step {number}");
    }
}

#[test]
#[ignore = "runs in the virtual machine"]
fn limits_written_to_files_are_those_of_runc() {
    same_as_runc(Driver::Files);
}

#[test]
#[ignore = "runs in the virtual machine"]
fn limits_told_to_systemd_are_those_of_runc() {
    same_as_runc(Driver::Systemd);
}

/// The second peer writes some of the files.
#[test]
#[ignore = "runs in the virtual machine"]
fn limits_are_those_of_crun_too() {
    for driver in [Driver::Files, Driver::Systemd] {
        let first = |program| {
            let runtime = Runtime::new(program, driver);
            let path = cgroups_path(driver, "peer");
            let limits = json!({"memory": {"limit": 268_435_456}, "cpu": {"shares": 512, "quota": 50_000, "period": 200_000}});
            let linux = [("cgroupsPath", json!(path)), ("resources", limits)];
            let bundle = runtime.bundle("bundle", &["sleep", "1000"], &linux);
            runtime.start(&bundle, "x");
            let mut all = recorded(&runtime, "x", "peer");
            all.retain(|name, _| {
                ["memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us"]
                    .contains(&name.as_str())
            });
            runtime.ok(&["delete", "--force", "x"]);
            all
        };
        let ours = first(Program::Ours);
        assert!(!ours.is_empty());
        assert_eq!(ours, first(Program::Crun), "{driver:?}");
    }
}

#[test]
#[ignore = "runs in the virtual machine"]
fn what_only_version_2_has() {
    if !is_unified() {
        println!("SKIPPED: cgroups of version 1");
        return;
    }
    for driver in [Driver::Files, Driver::Systemd] {
        let record = |program| {
            let runtime = Runtime::new(program, driver);
            let path = cgroups_path(driver, "unified");
            let unified = json!({"unified": {
                "memory.high": "200000000", "memory.low": "100000", "cpu.weight": "77", "cpu.max": "30000 100000",
                "cpuset.cpus": "1", "memory.oom.group": "1",
            }});
            let linux = [("cgroupsPath", json!(path)), ("resources", unified)];
            let bundle = runtime.bundle("bundle", &["sleep", "1000"], &linux);
            runtime.start(&bundle, "x");
            run("systemctl", &["daemon-reload"]);
            let all = recorded(&runtime, "x", "unified");
            runtime.ok(&["delete", "--force", "x"]);
            all
        };
        let ours = record(Program::Ours);
        assert_eq!(ours["memory.high"], "199999488\n");
        assert_eq!(ours, record(Program::Runc), "{driver:?}");
    }
}

/// All processes that are at work for a container.
fn processes_below(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        for task in std::fs::read_dir(format!("/proc/{}/task", all[at])).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        at += 1;
    }
    all
}

#[test]
#[ignore = "runs in the virtual machine"]
fn everything_of_a_sandbox_is_in_its_cgroups() {
    for driver in [Driver::Files, Driver::Systemd] {
        let runtime = Runtime::new(Program::Ours, driver);
        let path = cgroups_path(driver, "whole");
        let bundle = runtime.bundle("bundle", &["sleep", "1000"], &[("cgroupsPath", json!(path))]);
        runtime.start(&bundle, "x");
        let pid_file = runtime.path().join("pid");
        let args = ["exec", "--detach", "--pid-file", pid_file.to_str().unwrap(), "x", "sleep", "1000"];
        let quiet =
            |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(quiet(&mut runtime.command(&args)).success());
        let added: u32 = std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        let pid = runtime.pid("x");
        let place = directories(pid);
        let all = [processes_below(pid), processes_below(added)].concat();
        assert!(all.len() >= 4, "{all:?}");
        for process in all {
            let own = directories(process);
            for (names, dir) in &place {
                // Beside version 1, that of version 2 is systemd's alone.
                if is_unified() || !names.is_empty() {
                    assert_eq!(&own[names], dir, "{process}");
                }
            }
        }
        let name = if driver == Driver::Systemd { unit("whole") } else { "whole".to_owned() };
        assert!(directory(pid, "memory").ends_with(name));
        let stats: Value = serde_json::from_str(&runtime.ok(&["events", "--stats", "x"])).unwrap();
        assert!(stats["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 1_000_000, "{stats}");
        assert!(stats["data"]["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{stats}");
        assert_eq!(stats["data"]["pids"]["current"], 2, "{stats}");
        runtime.ok(&["pause", "x"]);
        assert_eq!(runtime.status("x"), "paused");
        runtime.ok(&["resume", "x"]);
        assert_eq!(runtime.status("x"), "running");
        assert!(runtime.ok(&["exec", "x", "cat", "/proc/self/status"]).contains("cat"));
        runtime.ok(&["delete", "--force", "x"]);
        nothing_is_left(&place, "whole");
    }
}

#[test]
#[ignore = "runs in the virtual machine"]
fn a_sandbox_that_was_killed_leaves_nothing_either() {
    for driver in [Driver::Files, Driver::Systemd] {
        let runtime = Runtime::new(Program::Ours, driver);
        let path = cgroups_path(driver, "killed");
        let linux = [("cgroupsPath", json!(path)), ("resources", json!({"memory": {"limit": 268_435_456}}))];
        let bundle = runtime.bundle("bundle", &["sleep", "1000"], &linux);
        runtime.start(&bundle, "x");
        let place = directories(runtime.pid("x"));
        run("kill", &["-KILL", &runtime.pid("x").to_string()]);
        eventually("stopped", || runtime.status("x") == "stopped");
        runtime.ok(&["delete", "x"]);
        nothing_is_left(&place, "killed");
        // The name is free again.
        let status = runtime.command(&["run", "--bundle", bundle.to_str().unwrap(), "y"]).spawn().unwrap();
        eventually("running", || runtime.command(&["state", "y"]).output().unwrap().status.success());
        eventually("running", || runtime.status("y") == "running");
        runtime.ok(&["kill", "y", "KILL"]);
        succeeded_with(status, 137);
        nothing_is_left(&place, "killed");
    }
}

fn succeeded_with(mut child: std::process::Child, status: i32) {
    assert_eq!(child.wait().unwrap().code(), Some(status));
}

#[test]
#[ignore = "runs in the virtual machine"]
fn a_unit_by_annotations_and_by_default() {
    let runtime = Runtime::new(Program::Ours, Driver::Systemd);
    let annotations = json!({"org.systemd.property.TimeoutStopSec": "uint64 7", "org.systemd.property.Documentation": "['man:a', 'man:b']"});
    let bundle = runtime.bundle("bundle", &["sleep", "1000"], &[("/annotations", annotations)]);
    runtime.start(&bundle, "plain");
    let shown = |property: &str| {
        run("systemctl", &["show", "runc-plain.scope", "--value", "--property", property]).trim().to_owned()
    };
    assert_eq!(shown("TimeoutStopUSec"), "7s");
    assert_eq!(shown("Documentation"), "man:a man:b");
    assert_eq!(shown("Slice"), "system.slice");
    assert_eq!(shown("ActiveState"), "active");
    runtime.ok(&["delete", "--force", "plain"]);
    assert_eq!(shown("ActiveState"), "inactive");
    let bundle =
        runtime.bundle("wrong", &["true"], &[("/annotations", json!({"org.systemd.property.Bogus": "5"}))]);
    let said = runtime.fails(&["run", "--bundle", bundle.to_str().unwrap(), "wrong"]);
    assert!(said.contains("Bogus") && said.lines().count() == 1, "{said}");
    assert_eq!(runtime.ok(&["list", "--quiet"]), "");
}

#[test]
#[ignore = "runs in the virtual machine"]
fn what_can_not_be_is_one_line() {
    let runtime = Runtime::new(Program::Ours, Driver::Systemd);
    let started = runtime.bundle("started", &["sleep", "1000"], &[("cgroupsPath", json!(":p:taken"))]);
    runtime.start(&started, "first");
    for (path, expected) in [
        (":p:taken", "p-taken.scope"),
        ("/docker/x", "slice:prefix:name"),
        ("nothing:p:x", "slice"),
        ("a.slice:p:../x", "cgroupsPath"),
    ] {
        let bundle =
            runtime.bundle(&path.replace(['/', ':'], "_"), &["true"], &[("cgroupsPath", json!(path))]);
        let said = runtime.fails(&["run", "--bundle", bundle.to_str().unwrap(), "second"]);
        assert!(said.contains(expected) && said.lines().count() == 1, "{path}: {said}");
    }
    // What was refused took nothing away.
    assert_eq!(runtime.status("first"), "running");
    assert!(Path::new(&format!("/proc/{}", runtime.pid("first"))).exists());
    runtime.ok(&["delete", "--force", "first"]);
}

/// Without a D-Bus daemon, systemd is asked itself.
#[test]
#[ignore = "runs in the virtual machine"]
fn without_a_bus() {
    let runtime = Runtime::new(Program::Ours, Driver::Systemd);
    let linux =
        [("cgroupsPath", json!(":p:private")), ("resources", json!({"memory": {"limit": 268_435_456}}))];
    let bundle = runtime.bundle("bundle", &["sleep", "1000"], &linux);
    let nowhere = |args: &[&str]| {
        let mut command = runtime.command(args);
        command
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere")
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        assert!(command.status().unwrap().success(), "{args:?}");
    };
    nowhere(&["create", "--bundle", bundle.to_str().unwrap(), "x"]);
    nowhere(&["start", "x"]);
    nowhere(&["update", "--memory", "512m", "x"]);
    let file = if is_unified() { "memory.max" } else { "memory.limit_in_bytes" };
    let dir = directory(runtime.pid("x"), "memory");
    assert!(dir.ends_with("p-private.scope"));
    assert_eq!(std::fs::read_to_string(dir.join(file)).unwrap(), "536870912\n");
    let place = directories(runtime.pid("x"));
    nowhere(&["delete", "--force", "x"]);
    nothing_is_left(&place, "private");
}

/// As a service of type notify: systemd sees it started when its process says so, and the monitor as its main process.
#[test]
#[ignore = "runs in the virtual machine"]
fn a_service_that_says_when_it_is_ready() {
    for driver in [Driver::Files, Driver::Systemd] {
        let runtime = Runtime::new(Program::Ours, driver);
        let path = cgroups_path(driver, "service");
        let program = "sleep 3; /bin/systemd-notify --ready; exec sleep 1000";
        let bind = |dir: &str| json!({"destination": dir, "type": "bind", "source": dir, "options": ["rbind", "ro"]});
        let mounts = json!([{"destination": "/proc", "type": "proc", "source": "proc"}, bind("/usr"), bind("/lib"), bind("/lib64")]);
        let linux = [("cgroupsPath", json!(path)), ("/mounts", mounts)];
        let bundle = runtime.bundle("bundle", &["sh", "-c", program], &linux);
        std::fs::copy("/bin/systemd-notify", bundle.join("rootfs/bin/systemd-notify")).unwrap();
        let command = runtime.command(&["run", "--detach", "--bundle", bundle.to_str().unwrap(), "served"]);
        let mut run_it = Command::new("systemd-run");
        run_it.args(["--unit", "served", "--service-type=notify", "--property=NotifyAccess=all", "--"]);
        run_it.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        let began = std::time::Instant::now();
        succeeded("systemd-run", &run_it.output().unwrap());
        assert!(began.elapsed().as_secs() >= 3);
        let shown = |property: &str| {
            run("systemctl", &["show", "served.service", "--value", "--property", property]).trim().to_owned()
        };
        assert_eq!(shown("ActiveState"), "active");
        assert_eq!(shown("MainPID"), runtime.pid("served").to_string());
        runtime.ok(&["delete", "--force", "served"]);
        eventually("the end of the service", || shown("ActiveState") != "active");
        run("systemctl", &["reset-failed"]);
    }
}

/// An ordinary user's containers are units of that user's systemd.
#[test]
#[ignore = "runs in the virtual machine"]
fn an_ordinary_users_systemd() {
    let runtime = Runtime::new(Program::Ours, Driver::Systemd);
    run("chmod", &["755", runtime.path().to_str().unwrap()]);
    let id = run("id", &["-u", "tester"]).trim().to_owned();
    let maps = json!([{"containerID": 0, "hostID": id.parse::<u32>().unwrap(), "size": 1}]);
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"];
    let linux = [
        ("cgroupsPath", json!(":p:rootless")),
        ("resources", json!({"memory": {"limit": 268_435_456}, "pids": {"limit": 50}})),
        ("namespaces", json!(namespaces.map(|kind| json!({"type": kind})))),
        ("uidMappings", maps.clone()),
        ("gidMappings", maps),
    ];
    let bundle = runtime.bundle("bundle", &["sleep", "1000"], &linux);
    run("chown", &["-R", "tester", runtime.path().to_str().unwrap()]);
    let session = format!("/run/user/{id}");
    eventually("a bus of the user", || Path::new(&session).join("bus").exists());
    let as_user = |args: &[&str]| {
        let mut command = Command::new("runuser");
        command.args(["-u", "tester", "--", "/test/runsc", "--root"]).arg(runtime.path().join("state"));
        command.arg("--systemd-cgroup").args(args).env("XDG_RUNTIME_DIR", &session).stdin(Stdio::null());
        command
    };
    let args = ["create", "--bundle", bundle.to_str().unwrap(), "x"];
    if !is_unified() {
        let output = as_user(&args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("cgroup v1"), "{said}");
        return;
    }
    let log = runtime.path().join("log");
    let made =
        as_user(&args).stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap()).status().unwrap();
    assert!(made.success(), "{}", std::fs::read_to_string(&log).unwrap());
    let ok = |args: &[&str]| succeeded(&format!("{args:?}"), &as_user(args).output().unwrap());
    ok(&["start", "x"]);
    let state: Value = serde_json::from_str(&ok(&["state", "x"])).unwrap();
    let place = directories(state["pid"].as_u64().unwrap() as u32);
    let dir = &place[""];
    let expected = format!("{ROOT}/user.slice/user-{id}.slice/user@{id}.service/user.slice/p-rootless.scope");
    assert_eq!(dir, Path::new(&expected));
    assert_eq!(std::fs::read_to_string(dir.join("memory.max")).unwrap(), "268435456\n");
    ok(&["update", "--memory", "512m", "x"]);
    assert_eq!(std::fs::read_to_string(dir.join("memory.max")).unwrap(), "536870912\n");
    assert_eq!(ok(&["exec", "x", "sh", "-c", "echo $((6 * 7))"]), "42\n");
    ok(&["delete", "--force", "x"]);
    eventually("the end of the scope", || !dir.exists());
}
