//! Version 2: one hierarchy for all controllers.

use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{CgroupError, Files, failed, host_tasks, limit_rdma};

/// Makes a directory, with all controllers that can be had in it.
pub fn create(dir: &Path) -> Result<(), CgroupError> {
    std::fs::create_dir_all(dir).map_err(failed(dir, "making it"))?;
    let above: Vec<&Path> =
        dir.ancestors().skip(1).take_while(|dir| dir.join("cgroup.controllers").exists()).collect();
    for parent in above.into_iter().rev() {
        let controllers = std::fs::read_to_string(parent.join("cgroup.controllers"))
            .map_err(failed(parent, "reading its controllers"))?;
        for controller in controllers.split_whitespace() {
            // A parent with processes in it gives none away: limits that need one fail later.
            let _ = std::fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    Ok(())
}

/// Sets limits. A container's own limits are those of version 1 in the specification, and converted as runc converts them.
pub fn limit(dir: &Path, resources: &LinuxResources) -> Result<(), CgroupError> {
    let controllers = std::fs::read_to_string(dir.join("cgroup.controllers"))
        .map_err(failed(dir, "reading its controllers"))?;
    let has = |controller: &str| controllers.split_whitespace().any(|name| name == controller);
    let files = |controller| Files { controller, dir: has(controller).then_some(dir) };
    if let Some(limits) = resources.memory() {
        memory(&files("memory"), limits)?;
    }
    if let Some(limits) = resources.cpu() {
        cpu(&files("cpu"), limits)?;
        for (file, value) in [("cpuset.cpus", limits.cpus()), ("cpuset.mems", limits.mems())] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                files("cpuset").set(file, value)?;
            }
        }
    }
    if let Some(limit) = resources.pids().and_then(|pids| host_tasks(pids.limit())) {
        files("pids").set("pids.max", limit)?;
    }
    if let Some(limits) = resources.block_io() {
        block_io(&files("io"), limits)?;
    }
    for limit in resources.hugepage_limits().as_deref().unwrap_or_default() {
        files("hugetlb").set(&format!("hugetlb.{}.max", limit.page_size()), limit.limit())?;
    }
    limit_rdma(&files("rdma"), resources)?;
    // Not by name: net_cls and net_prio have no heirs here.
    if resources.network().as_ref().is_some_and(|network| network.class_id().is_some_and(|id| id != 0)) {
        return Err(CgroupError::Unusable(
            "linux.resources.network: this host has cgroups of version 2, which know no network classes; leave it out"
                .to_owned(),
        ));
    }
    for (file, value) in resources.unified().iter().flatten() {
        let Some((controller, _)) = file.split_once('.').filter(|_| !file.contains('/')) else {
            return Err(CgroupError::Unusable(format!(
                "linux.resources.unified {file:?}: no name of a file of a cgroup; write CONTROLLER.PARAMETER"
            )));
        };
        let dir = (controller == "cgroup" || has(controller)).then_some(dir);
        Files { controller, dir }.set(file, value)?;
    }
    Ok(())
}

/// A limit of version 1, where -1 is none.
fn limit_text(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

fn memory(files: &Files<'_>, limits: &LinuxMemory) -> Result<(), CgroupError> {
    let limit = limits.limit().filter(|value| *value != 0);
    // An update of swap alone is about the limit that is set.
    let current = || files.read("memory.max").and_then(|text| text.parse().ok());
    let with_swap = limits.swap().filter(|value| *value != 0);
    let known = if with_swap.is_some() { limit.or_else(current) } else { limit };
    if let Some(swap) = swap(known, with_swap)? {
        files.set("memory.swap.max", limit_text(swap))?;
    }
    if let Some(limit) = limit {
        files.set("memory.max", limit_text(limit))?;
    }
    if let Some(reservation) = limits.reservation().filter(|value| *value != 0) {
        files.set("memory.low", limit_text(reservation))?;
    }
    Ok(())
}

/// The limit on swap for one on memory and one on memory and swap together, which is what version 1 has.
pub fn swap(memory: Option<i64>, with_swap: Option<i64>) -> Result<Option<i64>, CgroupError> {
    let nonsense = |text: &str| Err(CgroupError::Unusable(text.to_owned()));
    match (memory, with_swap) {
        // No limit on memory and no word of swap: none on both.
        (Some(..0), None) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (_, Some(..0)) => Ok(Some(-1)),
        (None | Some(..0), _) => nonsense("memory.swap: there is no limit on memory; set one too"),
        (Some(memory), Some(both)) if both < memory => {
            nonsense("memory.swap is less than memory.limit: it counts both; raise it")
        }
        (Some(memory), Some(both)) => Ok(Some(both - memory)),
    }
}

fn cpu(files: &Files<'_>, limits: &LinuxCpu) -> Result<(), CgroupError> {
    if let Some(shares) = limits.shares().filter(|value| *value != 0) {
        files.set("cpu.weight", weight(shares))?;
    }
    let quota = limits.quota().filter(|value| *value != 0);
    let period = limits.period().filter(|value| *value != 0);
    if quota.is_some() || period.is_some() {
        files.set("cpu.max", max_of_cpu(quota, period, files.read("cpu.max").as_deref()))?;
    }
    files.set_unless_zero("cpu.max.burst", limits.burst())?;
    if let Some(idle) = limits.idle() {
        files.set("cpu.idle", idle)?;
    }
    Ok(())
}

/// The line of cpu.max: the half that nothing is said of stays as it is.
fn max_of_cpu(quota: Option<i64>, period: Option<u64>, current: Option<&str>) -> String {
    let mut current = current.unwrap_or_default().split_whitespace();
    let (old_quota, old_period) = (current.next().unwrap_or("max"), current.next().unwrap_or("100000"));
    let quota = quota.map_or_else(|| old_quota.to_owned(), limit_text);
    let period = period.map_or_else(|| old_period.to_owned(), |period| period.to_string());
    format!("{quota} {period}")
}

/// Shares from 2 to 262144 as a weight from 1 to 10000.
pub fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// A weight of block I/O from 10 to 1000 as one from 1 to 10000.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990
}

fn block_io(files: &Files<'_>, limits: &LinuxBlockIo) -> Result<(), CgroupError> {
    const BFQ: &str = "io.bfq.weight";
    let bfq = files.has(BFQ);
    if let Some(weight) = limits.weight().filter(|weight| *weight != 0) {
        if bfq {
            files.set(BFQ, weight)?;
        } else {
            files.set("io.weight", io_weight(weight))?;
        }
    }
    for device in limits.weight_device().as_deref().unwrap_or_default() {
        // Only the one scheduler has weights of devices.
        if let Some(weight) = device.weight().filter(|weight| *weight != 0 && bfq) {
            files.set(BFQ, format!("{}:{} {weight}", device.major(), device.minor()))?;
        }
    }
    let throttles = [
        ("rbps", limits.throttle_read_bps_device()),
        ("wbps", limits.throttle_write_bps_device()),
        ("riops", limits.throttle_read_iops_device()),
        ("wiops", limits.throttle_write_iops_device()),
    ];
    for (name, devices) in throttles {
        for device in devices.as_deref().unwrap_or_default() {
            files.set("io.max", throttle(device, name))?;
        }
    }
    Ok(())
}

fn throttle(device: &LinuxThrottleDevice, name: &str) -> String {
    format!("{}:{} {name}={}", device.major(), device.minor(), device.rate())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A directory with these controllers.
    fn cgroup(controllers: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cgroup.controllers"), controllers).unwrap();
        dir
    }

    fn set_in(dir: &tempfile::TempDir, resources: serde_json::Value) -> Result<(), CgroupError> {
        limit(dir.path(), &serde_json::from_value(resources).unwrap())
    }

    fn read(dir: &tempfile::TempDir, file: &str) -> String {
        std::fs::read_to_string(dir.path().join(file)).unwrap_or_default()
    }

    const ALL: &str = "cpuset cpu io memory hugetlb pids rdma\n";

    #[test]
    fn shares_become_weights() {
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
        assert_eq!((io_weight(10), io_weight(500), io_weight(1000)), (1, 4950, 10_000));
    }

    #[test]
    fn swap_is_what_is_left_of_both() {
        assert_eq!(swap(Some(100), Some(300)).unwrap(), Some(200));
        // The same value: no swap.
        assert_eq!(swap(Some(100), Some(100)).unwrap(), Some(0));
        assert_eq!(swap(Some(100), Some(-1)).unwrap(), Some(-1));
        assert_eq!(swap(Some(-1), None).unwrap(), Some(-1));
        assert_eq!(swap(Some(100), None).unwrap(), None);
        assert_eq!(swap(None, None).unwrap(), None);
        for (memory, both) in [(Some(100), Some(50)), (None, Some(50)), (Some(-1), Some(50))] {
            assert!(swap(memory, both).is_err(), "{memory:?} {both:?}");
        }
    }

    #[test]
    fn quotas_keep_the_other_half() {
        assert_eq!(max_of_cpu(Some(50_000), None, None), "50000 100000");
        assert_eq!(max_of_cpu(None, Some(20_000), Some("max 100000")), "max 20000");
        assert_eq!(max_of_cpu(Some(-1), None, Some("5000 20000")), "max 20000");
        assert_eq!(max_of_cpu(Some(7000), Some(9000), Some("5000 20000")), "7000 9000");
    }

    #[test]
    fn every_limit_has_its_file() {
        let dir = cgroup(ALL);
        let device = |rate: u64| json!([{"major": 8, "minor": 16, "rate": rate}]);
        set_in(
            &dir,
            json!({
                "memory": {"limit": 1000, "swap": 3000, "reservation": 500},
                "cpu": {"shares": 1024, "quota": 50_000, "period": 200_000, "cpus": "0-1", "mems": "0", "idle": 1, "burst": 10},
                "pids": {"limit": 10},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
                "blockIO": {"weight": 500, "throttleWriteIOPSDevice": device(7)},
                "rdma": {"mlx5_0": {"hcaHandles": 3}},
                "unified": {"memory.high": "900", "cgroup.freeze": "0"},
            }),
        )
        .unwrap();
        for (file, value) in [
            ("memory.max", "1000"),
            ("memory.swap.max", "2000"),
            ("memory.low", "500"),
            ("memory.high", "900"),
            ("cpu.weight", "39"),
            ("cpu.max", "50000 200000"),
            ("cpu.max.burst", "10"),
            ("cpu.idle", "1"),
            ("cpuset.cpus", "0-1"),
            ("cpuset.mems", "0"),
            // Four host threads for one of the guest, and what a sandbox needs.
            ("pids.max", "168"),
            ("hugetlb.2MB.max", "4096"),
            ("io.weight", "4950"),
            ("io.max", "8:16 wiops=7"),
            ("rdma.max", "mlx5_0 hca_handle=3"),
            ("cgroup.freeze", "0"),
        ] {
            assert_eq!(read(&dir, file), value, "{file}");
        }
        // An update.
        set_in(&dir, json!({"memory": {"limit": -1}, "cpu": {"quota": -1}, "pids": {"limit": -1}})).unwrap();
        assert_eq!(read(&dir, "memory.max") + &read(&dir, "memory.swap.max"), "maxmax");
        assert_eq!(read(&dir, "cpu.max"), "max 200000");
        assert_eq!(read(&dir, "pids.max"), "max");
        set_in(&dir, json!({"memory": {"limit": 1000}})).unwrap();
        set_in(&dir, json!({"memory": {"swap": 1500}})).unwrap();
        assert_eq!(read(&dir, "memory.swap.max"), "500");
        std::fs::write(dir.path().join("io.bfq.weight"), "").unwrap();
        set_in(&dir, json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 700}]}}))
            .unwrap();
        assert_eq!(read(&dir, "io.bfq.weight"), "8:0 700");
    }

    #[test]
    fn what_can_not_be_set_is_told() {
        let dir = cgroup("cpu pids\n");
        let error = |resources| set_in(&dir, resources).unwrap_err().to_string();
        for (resources, controller) in [
            (json!({"memory": {"limit": 1000}}), "memory"),
            (json!({"cpu": {"cpus": "0"}}), "cpuset"),
            (json!({"blockIO": {"weight": 500}}), "io"),
            (json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4096}]}), "hugetlb"),
            (json!({"unified": {"io.latency": "x"}}), "io"),
        ] {
            let text = error(resources);
            assert!(text.contains(&format!("no cgroup controller {controller};")), "{text}");
        }
        assert!(error(json!({"unified": {"../pids.max": "1"}})).contains("no name of a file"));
        assert!(error(json!({"unified": {"pids": "1"}})).contains("no name of a file"));
        assert!(error(json!({"network": {"classID": 1}})).contains("version 2"));
        set_in(&dir, json!({"memory": {}, "blockIO": {"weight": 0}, "network": {"classID": 0}})).unwrap();
        assert!(limit(&dir.path().join("nowhere"), &LinuxResources::default()).is_err());
    }

    #[test]
    fn controllers_are_given_down() {
        let root = cgroup("cpu memory\n");
        let dir = root.path().join("a");
        create(&dir).unwrap();
        assert!(dir.is_dir());
        // A real one takes each; a file keeps the last.
        assert_eq!(read(&root, "cgroup.subtree_control"), "+memory");
    }
}
