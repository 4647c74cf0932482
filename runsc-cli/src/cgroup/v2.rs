//! Version 2: one hierarchy for all controllers.

use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{CgroupError, failed, host_tasks, set};

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

/// Sets limits.
pub fn limit(dir: &Path, resources: &LinuxResources) -> Result<(), CgroupError> {
    if let Some(limits) = resources.memory() {
        memory(dir, limits)?;
    }
    if let Some(limits) = resources.cpu() {
        cpu(dir, limits)?;
    }
    if let Some(pids) = resources.pids() {
        set(dir, "pids.max", host_tasks(pids.limit()))?;
    }
    if let Some(limits) = resources.block_io() {
        block_io(dir, limits)?;
    }
    for limit in resources.hugepage_limits().as_deref().unwrap_or_default() {
        set(dir, &format!("hugetlb.{}.max", limit.page_size()), limit.limit())?;
    }
    for (file, value) in resources.unified().iter().flatten() {
        let plain = !file.contains('/') && file != "..";
        if !plain {
            return Err(CgroupError::Path(file.clone()));
        }
        set(dir, file, value)?;
    }
    Ok(())
}

/// A limit of version 1, where -1 is none.
fn limit_text(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

fn memory(dir: &Path, limits: &LinuxMemory) -> Result<(), CgroupError> {
    let limit = limits.limit().filter(|value| *value != 0);
    if let Some(swap) = limits.swap().filter(|value| *value != 0) {
        // Memory and swap together in version 1, swap alone here.
        let swap = if swap > 0 { swap - limit.unwrap_or(0).max(0) } else { swap };
        set(dir, "memory.swap.max", limit_text(swap))?;
    }
    if let Some(limit) = limit {
        set(dir, "memory.max", limit_text(limit))?;
    }
    if let Some(reservation) = limits.reservation().filter(|value| *value != 0) {
        set(dir, "memory.low", limit_text(reservation))?;
    }
    Ok(())
}

fn cpu(dir: &Path, limits: &LinuxCpu) -> Result<(), CgroupError> {
    if let Some(shares) = limits.shares().filter(|value| *value != 0) {
        set(dir, "cpu.weight", weight(shares))?;
    }
    let quota = limits.quota().filter(|value| *value != 0);
    let period = limits.period().filter(|value| *value != 0);
    if quota.is_some() || period.is_some() {
        let quota = quota.map_or_else(|| "max".to_owned(), limit_text);
        set(dir, "cpu.max", format!("{quota} {}", period.unwrap_or(100_000)))?;
    }
    if let Some(idle) = limits.idle() {
        set(dir, "cpu.idle", idle)?;
    }
    for (file, value) in [("cpuset.cpus", limits.cpus()), ("cpuset.mems", limits.mems())] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            set(dir, file, value)?;
        }
    }
    Ok(())
}

/// Shares from 2 to 262144 as a weight from 1 to 10000.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn block_io(dir: &Path, limits: &LinuxBlockIo) -> Result<(), CgroupError> {
    if let Some(weight) = limits.weight().filter(|weight| *weight != 0) {
        if dir.join("io.bfq.weight").exists() {
            set(dir, "io.bfq.weight", weight)?;
        } else {
            // From 10 to 1000 becomes from 1 to 10000.
            set(dir, "io.weight", 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990)?;
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
            set(dir, "io.max", throttle(device, name))?;
        }
    }
    Ok(())
}

fn throttle(device: &LinuxThrottleDevice, name: &str) -> String {
    format!("{}:{} {name}={}", device.major(), device.minor(), device.rate())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights() {
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
    }
}
