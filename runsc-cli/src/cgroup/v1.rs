//! Version 1: a hierarchy a controller.

use std::io;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{Cgroup, CgroupError, failed, host_tasks, set};

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

/// Sets limits. A controller that is not mounted limits nothing, which is noted.
pub fn limit(
    cgroup: &Cgroup,
    resources: &LinuxResources,
    notes: &mut Vec<String>,
) -> Result<(), CgroupError> {
    let mut dir = |controller: &str| {
        let dir = cgroup.of(controller).filter(|dir| dir.is_dir());
        if dir.is_none() {
            notes.push(format!("there is no cgroup controller {controller}: its limits are not set"));
        }
        dir
    };
    if let Some(limits) = resources.memory()
        && let Some(dir) = dir("memory")
    {
        memory(dir, limits)?;
    }
    if let Some(limits) = resources.cpu() {
        if (limits.cpus().is_some() || limits.mems().is_some())
            && let Some(dir) = dir("cpuset")
        {
            for (file, value) in [("cpuset.cpus", limits.cpus()), ("cpuset.mems", limits.mems())] {
                if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
                    set(dir, file, value)?;
                }
            }
        }
        if let Some(dir) = dir("cpu") {
            cpu(dir, limits)?;
        }
    }
    if let Some(pids) = resources.pids()
        && let Some(dir) = dir("pids")
    {
        set(dir, "pids.max", host_tasks(pids.limit()))?;
    }
    if let Some(limits) = resources.block_io()
        && let Some(dir) = dir("blkio")
    {
        block_io(dir, limits)?;
    }
    for limit in resources.hugepage_limits().as_deref().unwrap_or_default() {
        if let Some(dir) = dir("hugetlb") {
            set(dir, &format!("hugetlb.{}.limit_in_bytes", limit.page_size()), limit.limit())?;
        }
    }
    Ok(())
}

fn memory(dir: &Path, limits: &LinuxMemory) -> Result<(), CgroupError> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";
    // Swap may not be counted here.
    let swap = limits.swap().filter(|swap| *swap != 0 && dir.join(WITH_SWAP).exists());
    match (limits.limit().filter(|limit| *limit != 0), swap) {
        (Some(limit), Some(swap)) => {
            // The limit with swap may never be below the one without: which way round depends on what is set.
            if let Err(CgroupError::Value { error, .. }) = set(dir, LIMIT, limit)
                && error.raw_os_error() == Some(libc::EINVAL)
            {
                set(dir, WITH_SWAP, swap)?;
                set(dir, LIMIT, limit)?;
            } else {
                set(dir, WITH_SWAP, swap)?;
            }
        }
        (Some(limit), None) => set(dir, LIMIT, limit)?,
        (None, Some(swap)) => set(dir, WITH_SWAP, swap)?,
        (None, None) => {}
    }
    if let Some(reservation) = limits.reservation().filter(|value| *value != 0) {
        set(dir, "memory.soft_limit_in_bytes", reservation)?;
    }
    if let Some(swappiness) = limits.swappiness().filter(|value| *value <= 100) {
        set(dir, "memory.swappiness", swappiness)?;
    }
    if limits.disable_oom_killer() == Some(true) {
        set(dir, "memory.oom_control", 1)?;
    }
    Ok(())
}

fn cpu(dir: &Path, limits: &LinuxCpu) -> Result<(), CgroupError> {
    if let Some(shares) = limits.shares().filter(|value| *value != 0) {
        set(dir, "cpu.shares", shares)?;
    }
    let period = limits.period().filter(|value| *value != 0);
    let quota = limits.quota().filter(|value| *value != 0);
    // A period that is too short for the quota that is still set is refused: then the quota goes first.
    let late = match period.map(|period| set(dir, "cpu.cfs_period_us", period)) {
        Some(Err(CgroupError::Value { error, .. }))
            if error.raw_os_error() == Some(libc::EINVAL) && quota.is_some() =>
        {
            true
        }
        Some(Err(error)) => return Err(error),
        _ => false,
    };
    if let Some(quota) = quota {
        set(dir, "cpu.cfs_quota_us", quota)?;
    }
    if let (true, Some(period)) = (late, period) {
        set(dir, "cpu.cfs_period_us", period)?;
    }
    for (file, value) in [
        ("cpu.rt_period_us", limits.realtime_period().filter(|v| *v != 0).map(|v| v as i64)),
        ("cpu.rt_runtime_us", limits.realtime_runtime().filter(|v| *v != 0)),
    ] {
        if let Some(value) = value {
            set(dir, file, value)?;
        }
    }
    Ok(())
}

fn block_io(dir: &Path, limits: &LinuxBlockIo) -> Result<(), CgroupError> {
    if let Some(weight) = limits.weight().filter(|weight| *weight != 0) {
        // The scheduler decides which of the two there is.
        let file = if dir.join("blkio.weight").exists() { "blkio.weight" } else { "blkio.bfq.weight" };
        set(dir, file, weight)?;
    }
    let throttles = [
        ("blkio.throttle.read_bps_device", limits.throttle_read_bps_device()),
        ("blkio.throttle.write_bps_device", limits.throttle_write_bps_device()),
        ("blkio.throttle.read_iops_device", limits.throttle_read_iops_device()),
        ("blkio.throttle.write_iops_device", limits.throttle_write_iops_device()),
    ];
    for (file, devices) in throttles {
        for device in devices.as_deref().unwrap_or_default() {
            set(dir, file, throttle(device))?;
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
