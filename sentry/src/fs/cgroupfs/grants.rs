//! What the root of a hierarchy tells of its controllers: what the container of the reader was granted, and uses.

use std::sync::Arc;

use super::hierarchy::{Controllers, Version};
use crate::Kernel;
use crate::task::{Container, Grants};

/// In place of a limit of version 1: the most that fits, in whole pages.
const NO_LIMIT: u64 = 0x7fff_ffff_ffff_f000;
const DEFAULT_PERIOD_US: u64 = 100_000;
const DEFAULT_SHARES: u64 = 1024;
/// Ticks of `cpuacct.stat` are hundredths of a second.
const NS_PER_TICK: u64 = 10_000_000;

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    CpuMax,
    CpuPeriod,
    CpuQuota,
    CpuShares,
    CpuStat,
    CpuTicks,
    CpuUsage,
    CpuWeight,
    Cpus,
    MemoryLimit,
    MemoryMax,
    MemoryNodes,
    MemoryUsage,
    PidsCurrent,
    PidsMax,
    Yes,
}

/// Version, controller, name, value.
pub(super) const FILES: [(Version, Controllers, &str, Value); 23] = [
    (Version::One, Controllers::CPU, "cpu.cfs_period_us", Value::CpuPeriod),
    (Version::One, Controllers::CPU, "cpu.cfs_quota_us", Value::CpuQuota),
    (Version::One, Controllers::CPU, "cpu.shares", Value::CpuShares),
    (Version::One, Controllers::CPUACCT, "cpuacct.stat", Value::CpuTicks),
    (Version::One, Controllers::CPUACCT, "cpuacct.usage", Value::CpuUsage),
    (Version::One, Controllers::CPUSET, "cpuset.cpus", Value::Cpus),
    (Version::One, Controllers::CPUSET, "cpuset.effective_cpus", Value::Cpus),
    (Version::One, Controllers::CPUSET, "cpuset.effective_mems", Value::MemoryNodes),
    (Version::One, Controllers::CPUSET, "cpuset.mems", Value::MemoryNodes),
    (Version::One, Controllers::MEMORY, "memory.limit_in_bytes", Value::MemoryLimit),
    (Version::One, Controllers::MEMORY, "memory.usage_in_bytes", Value::MemoryUsage),
    (Version::One, Controllers::MEMORY, "memory.use_hierarchy", Value::Yes),
    (Version::One, Controllers::PIDS, "pids.current", Value::PidsCurrent),
    (Version::One, Controllers::PIDS, "pids.max", Value::PidsMax),
    (Version::Two, Controllers::CPU, "cpu.max", Value::CpuMax),
    (Version::Two, Controllers::CPU, "cpu.weight", Value::CpuWeight),
    (Version::Two, Controllers::CPU, "cpu.stat", Value::CpuStat),
    (Version::Two, Controllers::CPUSET, "cpuset.cpus.effective", Value::Cpus),
    (Version::Two, Controllers::CPUSET, "cpuset.mems.effective", Value::MemoryNodes),
    (Version::Two, Controllers::MEMORY, "memory.current", Value::MemoryUsage),
    (Version::Two, Controllers::MEMORY, "memory.max", Value::MemoryMax),
    (Version::Two, Controllers::PIDS, "pids.current", Value::PidsCurrent),
    (Version::Two, Controllers::PIDS, "pids.max", Value::PidsMax),
];

impl Value {
    pub(super) fn text(self, kernel: &Kernel, container: &Arc<Container>) -> String {
        let grants = container.grants();
        let period = grants.cpu_period_us.unwrap_or(DEFAULT_PERIOD_US);
        match self {
            Value::CpuMax => match grants.cpu_quota_us {
                Some(quota) => format!("{quota} {period}\n"),
                None => format!("max {period}\n"),
            },
            Value::CpuPeriod => format!("{period}\n"),
            Value::CpuQuota => match grants.cpu_quota_us {
                Some(quota) => format!("{quota}\n"),
                None => "-1\n".to_owned(),
            },
            Value::CpuShares => format!("{}\n", grants.cpu_shares.unwrap_or(DEFAULT_SHARES)),
            Value::CpuWeight => format!("{}\n", weight(grants)),
            Value::CpuStat => {
                let (user, system) = kernel.time_of(container);
                let (user, system) = (user / 1000, system / 1000);
                format!("usage_usec {}\nuser_usec {user}\nsystem_usec {system}\n", user + system)
            }
            Value::CpuTicks => {
                let (user, system) = kernel.time_of(container);
                format!("user {}\nsystem {}\n", user / NS_PER_TICK, system / NS_PER_TICK)
            }
            Value::CpuUsage => {
                let (user, system) = kernel.time_of(container);
                format!("{}\n", user + system)
            }
            Value::Cpus => match kernel.cpus {
                0 | 1 => "0\n".to_owned(),
                cpus => format!("0-{}\n", cpus - 1),
            },
            Value::MemoryLimit => format!("{}\n", grants.memory.unwrap_or(NO_LIMIT)),
            Value::MemoryMax => match grants.memory {
                Some(limit) => format!("{limit}\n"),
                None => "max\n".to_owned(),
            },
            Value::MemoryNodes => "0\n".to_owned(),
            Value::MemoryUsage => format!("{}\n", kernel.platform.memory().resident_bytes()),
            Value::PidsCurrent => format!("{}\n", container.threads()),
            Value::PidsMax => match container.max_threads() {
                u64::MAX => "max\n".to_owned(),
                max => format!("{max}\n"),
            },
            Value::Yes => "1\n".to_owned(),
        }
    }
}

/// Shares (2 to 262144) as a weight (1 to 10000), as runtimes convert them.
fn weight(grants: Grants) -> u64 {
    match grants.cpu_shares {
        None => 100,
        Some(shares) => 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_as_in_runc() {
        let of = |shares| weight(Grants { cpu_shares: shares, ..Grants::default() });
        assert_eq!([of(None), of(Some(2)), of(Some(1024)), of(Some(262_144))], [100, 1, 39, 10_000]);
    }
}
