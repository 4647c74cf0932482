//! Version 1: a hierarchy a controller.

use std::io;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{Cgroup, CgroupError, Files, failed, host_tasks, limit_rdma, set};

/// Makes a directory in the hierarchy with these controllers.
pub fn create(names: &str, dir: &Path) -> Result<(), CgroupError> {
    std::fs::create_dir_all(dir).map_err(failed(dir, "making it"))?;
    if names.split(',').any(|name| name == "cpuset") {
        inherit_cpus(dir)?;
    }
    Ok(())
}

/// A new cpuset has no CPUs and no memory, and takes no process: it gets its parent's, from the top down.
fn inherit_cpus(dir: &Path) -> Result<(), CgroupError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = std::fs::read_to_string(dir.join(file)).map_err(failed(dir, "reading its CPUs"))?;
        if !own.trim().is_empty() {
            continue;
        }
        let Some(parent) = dir.parent() else { continue };
        if std::fs::read_to_string(parent.join(file)).is_ok_and(|text| text.trim().is_empty()) {
            inherit_cpus(parent)?;
        }
        let from = std::fs::read_to_string(parent.join(file)).map_err(failed(parent, "reading its CPUs"))?;
        set(dir, file, from.trim())?;
    }
    Ok(())
}

/// Sets limits.
pub fn limit(cgroup: &Cgroup, resources: &LinuxResources) -> Result<(), CgroupError> {
    if resources.unified().as_ref().is_some_and(|unified| !unified.is_empty()) {
        return Err(CgroupError::Unusable(
            "linux.resources.unified: this host has cgroups of version 1; leave it out".to_owned(),
        ));
    }
    let files = |controller| Files { controller, dir: cgroup.of(controller).filter(|dir| dir.is_dir()) };
    if let Some(limits) = resources.memory() {
        memory(&files("memory"), limits)?;
    }
    if let Some(limits) = resources.cpu() {
        for (file, value) in [("cpuset.cpus", limits.cpus()), ("cpuset.mems", limits.mems())] {
            if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                files("cpuset").set(file, value)?;
            }
        }
        cpu(&files("cpu"), limits)?;
    }
    if let Some(limit) = resources.pids().and_then(|pids| host_tasks(pids.limit())) {
        files("pids").set("pids.max", limit)?;
    }
    if let Some(limits) = resources.block_io() {
        block_io(&files("blkio"), limits)?;
    }
    for limit in resources.hugepage_limits().as_deref().unwrap_or_default() {
        files("hugetlb").set(&format!("hugetlb.{}.limit_in_bytes", limit.page_size()), limit.limit())?;
    }
    if let Some(network) = resources.network() {
        files("net_cls").set_unless_zero("net_cls.classid", network.class_id().map(u64::from))?;
        for priority in network.priorities().as_deref().unwrap_or_default() {
            files("net_prio")
                .set("net_prio.ifpriomap", format!("{} {}", priority.name(), priority.priority()))?;
        }
    }
    limit_rdma(&files("rdma"), resources)
}

fn memory(files: &Files<'_>, limits: &LinuxMemory) -> Result<(), CgroupError> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";
    let limit = limits.limit().filter(|limit| *limit != 0);
    let swap = match limits.swap().filter(|swap| *swap != 0) {
        // No limit on memory and no word of swap: none on both. Swap may not be counted here.
        None if limit == Some(-1) && files.has(WITH_SWAP) => Some(-1),
        swap => swap,
    };
    match (limit, swap) {
        (Some(limit), Some(swap)) => {
            // The limit with swap may never be below the one without: which goes first depends on what is set.
            let current = files.read(LIMIT).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            if swap == -1 || current < swap.unsigned_abs() {
                files.set(WITH_SWAP, swap)?;
                files.set(LIMIT, limit)?;
            } else {
                files.set(LIMIT, limit)?;
                files.set(WITH_SWAP, swap)?;
            }
        }
        (Some(limit), None) => files.set(LIMIT, limit)?,
        (None, Some(swap)) => files.set(WITH_SWAP, swap)?,
        (None, None) => {}
    }
    if let Some(reservation) = limits.reservation().filter(|value| *value != 0) {
        files.set("memory.soft_limit_in_bytes", reservation)?;
    }
    // Engines write -1 for none, which is this where it is unsigned.
    if let Some(swappiness) = limits.swappiness().filter(|value| *value != u64::MAX) {
        if swappiness > 100 {
            return Err(CgroupError::Unusable(format!(
                "memory.swappiness {swappiness}: it goes from 0 to 100; choose such a value"
            )));
        }
        files.set("memory.swappiness", swappiness)?;
    }
    if limits.disable_oom_killer() == Some(true) {
        files.set("memory.oom_control", 1)?;
    }
    Ok(())
}

fn cpu(files: &Files<'_>, limits: &LinuxCpu) -> Result<(), CgroupError> {
    files.set_unless_zero("cpu.shares", limits.shares())?;
    if let Some(shares) = limits.shares().filter(|shares| *shares != 0) {
        // The kernel takes any, and the nearest that it has.
        let taken = files.read("cpu.shares").and_then(|text| text.parse::<u64>().ok()).unwrap_or(shares);
        let limit = if taken > shares { "minimum" } else { "maximum" };
        if taken != shares {
            return Err(CgroupError::Unusable(format!(
                "cpu.shares {shares}: the {limit} allowed cpu-shares is {taken}; choose such a value"
            )));
        }
    }
    let period = limits.period().filter(|value| *value != 0);
    let quota = limits.quota().filter(|value| *value != 0);
    // A period that is too short for the quota that is still set is refused: then the quota goes first.
    let late = match period.map(|period| files.set("cpu.cfs_period_us", period)) {
        Some(Err(CgroupError::Value { error, .. }))
            if error.raw_os_error() == Some(libc::EINVAL) && quota.is_some() =>
        {
            true
        }
        Some(Err(error)) => return Err(error),
        _ => false,
    };
    if let Some(quota) = quota {
        files.set("cpu.cfs_quota_us", quota)?;
    }
    if let (true, Some(period)) = (late, period) {
        files.set("cpu.cfs_period_us", period)?;
    }
    files.set_unless_zero("cpu.cfs_burst_us", limits.burst())?;
    files.set_unless_zero("cpu.rt_period_us", limits.realtime_period())?;
    if let Some(runtime) = limits.realtime_runtime().filter(|value| *value != 0) {
        files.set("cpu.rt_runtime_us", runtime)?;
    }
    Ok(())
}

fn block_io(files: &Files<'_>, limits: &LinuxBlockIo) -> Result<(), CgroupError> {
    // The scheduler decides which of the two there is.
    let (weight, device) = if files.has("blkio.weight") {
        ("blkio.weight", "blkio.weight_device")
    } else {
        ("blkio.bfq.weight", "blkio.bfq.weight_device")
    };
    files.set_unless_zero(weight, limits.weight().map(u64::from))?;
    files.set_unless_zero("blkio.leaf_weight", limits.leaf_weight().map(u64::from))?;
    for limit in limits.weight_device().as_deref().unwrap_or_default() {
        for (file, weight) in [(device, limit.weight()), ("blkio.leaf_weight_device", limit.leaf_weight())] {
            if let Some(weight) = weight.filter(|weight| *weight != 0) {
                files.set(file, format!("{}:{} {weight}", limit.major(), limit.minor()))?;
            }
        }
    }
    let throttles = [
        ("blkio.throttle.read_bps_device", limits.throttle_read_bps_device()),
        ("blkio.throttle.write_bps_device", limits.throttle_write_bps_device()),
        ("blkio.throttle.read_iops_device", limits.throttle_read_iops_device()),
        ("blkio.throttle.write_iops_device", limits.throttle_write_iops_device()),
    ];
    for (file, devices) in throttles {
        for device in devices.as_deref().unwrap_or_default() {
            files.set(file, throttle(device))?;
        }
    }
    Ok(())
}

fn throttle(device: &LinuxThrottleDevice) -> String {
    format!("{}:{} {}", device.major(), device.minor(), device.rate())
}

/// A number of a file of one line.
pub fn number(dir: &Path, file: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(dir.join(file))?;
    text.trim().parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    /// Directories of some controllers, and what setting these resources does.
    fn limited(
        controllers: &[&str],
        resources: serde_json::Value,
    ) -> (tempfile::TempDir, Result<(), CgroupError>) {
        let root = tempfile::tempdir().unwrap();
        let v1: Vec<(String, PathBuf)> = controllers
            .iter()
            .map(|name| {
                let dir = root.path().join(name);
                std::fs::create_dir(&dir).unwrap();
                ((*name).to_owned(), dir)
            })
            .collect();
        let resources = serde_json::from_value(resources).unwrap();
        let result = limit(&Cgroup { v1, v2: None, unit: None }, &resources);
        (root, result)
    }

    fn read(root: &tempfile::TempDir, file: &str) -> String {
        std::fs::read_to_string(root.path().join(file)).unwrap_or_default()
    }

    #[test]
    fn what_this_machine_may_not_have_is_written_too() {
        let (root, result) = limited(
            &["hugetlb", "net_cls", "net_prio", "rdma", "blkio", "cpu"],
            json!({
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
                "network": {"classID": 1_048_577, "priorities": [{"name": "eth0", "priority": 5}]},
                "rdma": {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 10}},
                "blockIO": {
                    "weight": 300, "leafWeight": 200,
                    "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 0}],
                },
                "cpu": {"realtimePeriod": 1_000_000, "realtimeRuntime": 950_000, "shares": 0},
            }),
        );
        result.unwrap();
        for (file, value) in [
            ("hugetlb/hugetlb.2MB.limit_in_bytes", "4194304"),
            ("net_cls/net_cls.classid", "1048577"),
            ("net_prio/net_prio.ifpriomap", "eth0 5"),
            ("rdma/rdma.max", "mlx5_0 hca_handle=3 hca_object=10"),
            ("blkio/blkio.bfq.weight", "300"),
            ("blkio/blkio.leaf_weight", "200"),
            ("blkio/blkio.bfq.weight_device", "8:0 500"),
            ("cpu/cpu.rt_period_us", "1000000"),
            ("cpu/cpu.rt_runtime_us", "950000"),
            ("cpu/cpu.shares", ""),
        ] {
            assert_eq!(read(&root, file), value, "{file}");
        }
    }

    #[test]
    fn a_limit_of_a_controller_that_is_not_there_is_an_error() {
        let limits = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]});
        let text = limited(&["cpu"], limits).1.unwrap_err().to_string();
        assert!(text.contains("no cgroup controller hugetlb"), "{text}");
        // What says nothing needs none.
        let nothing = json!({"blockIO": {"weight": 0}, "cpu": {"shares": 0, "cpus": ""}, "memory": {}, "pids": {"limit": 0}});
        limited(&[], nothing).1.unwrap();
        let unified = json!({"unified": {"memory.high": "1"}});
        assert!(limited(&["memory"], unified).1.unwrap_err().to_string().contains("version 1"));
        let swappiness = json!({"memory": {"swappiness": 101}});
        assert!(limited(&["memory"], swappiness).1.is_err());
    }
}
