//! What a container's cgroups say of its use, in the shape of `runc events`.

use std::path::Path;

use serde_json::{Value, json};

use super::{Cgroup, v1};

/// Use of a container, as far as its cgroups tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time, nanoseconds: all, in programs, in the kernel.
    pub cpu_ns: Option<(u64, u64, u64)>,
    /// Memory now, at most, the limit, the page cache in it, and how often the limit was hit.
    pub memory: Option<(u64, u64, u64, u64, u64)>,
    /// Times that a quota stopped it: periods, of them throttled, nanoseconds.
    pub throttled: (u64, u64, u64),
    /// Processes killed for lack of memory.
    pub oom_kills: u64,
}

pub fn of_v1(cgroup: &Cgroup) -> Stats {
    let mut stats = Stats::default();
    if let Some(dir) = cgroup.of("cpuacct") {
        let total = v1::number(dir, "cpuacct.usage").ok();
        let user = v1::number(dir, "cpuacct.usage_user").unwrap_or(0);
        let system = v1::number(dir, "cpuacct.usage_sys").unwrap_or(0);
        stats.cpu_ns = total.map(|total| (total, user, system));
    }
    if let Some(dir) = cgroup.of("cpu") {
        let file = keyed(dir, "cpu.stat");
        stats.throttled = (file("nr_periods"), file("nr_throttled"), file("throttled_time"));
    }
    if let Some(dir) = cgroup.of("memory")
        && let Ok(usage) = v1::number(dir, "memory.usage_in_bytes")
    {
        let number = |file| v1::number(dir, file).unwrap_or(0);
        stats.memory = Some((
            usage,
            number("memory.max_usage_in_bytes"),
            number("memory.limit_in_bytes"),
            keyed(dir, "memory.stat")("cache"),
            number("memory.failcnt"),
        ));
        stats.oom_kills = keyed(dir, "memory.oom_control")("oom_kill");
    }
    stats
}

pub fn of_v2(dir: &Path) -> Stats {
    let mut stats = Stats::default();
    let cpu = keyed(dir, "cpu.stat");
    if dir.join("cpu.stat").exists() {
        stats.cpu_ns = Some((cpu("usage_usec") * 1000, cpu("user_usec") * 1000, cpu("system_usec") * 1000));
        stats.throttled = (cpu("nr_periods"), cpu("nr_throttled"), cpu("throttled_usec") * 1000);
    }
    if let Ok(usage) = v1::number(dir, "memory.current") {
        let events = keyed(dir, "memory.events");
        stats.memory = Some((
            usage,
            v1::number(dir, "memory.peak").unwrap_or(0),
            v1::number(dir, "memory.max").unwrap_or(u64::MAX),
            keyed(dir, "memory.stat")("file"),
            events("max"),
        ));
        stats.oom_kills = events("oom_kill");
    }
    stats
}

/// The values of a file of `name value` lines.
fn keyed(dir: &Path, file: &str) -> impl Fn(&str) -> u64 + use<> {
    let text = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
    move |name| {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(key, _)| *key == name).and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
    }
}

impl Stats {
    /// As `runc events` prints it, with the sandbox's own figures where the host has none.
    pub fn to_json(self, threads: u64, max_threads: u64, time_ns: (u64, u64), guest_memory: u64) -> Value {
        let (total, user, system) = self.cpu_ns.unwrap_or((time_ns.0 + time_ns.1, time_ns.0, time_ns.1));
        let (usage, max, limit, cache, failures) = self.memory.unwrap_or((guest_memory, 0, 0, 0, 0));
        json!({
            "cpu": {
                "usage": {"total": total, "kernel": system, "user": user},
                "throttling": {
                    "periods": self.throttled.0,
                    "throttledPeriods": self.throttled.1,
                    "throttledTime": self.throttled.2,
                },
            },
            "cpuset": {},
            "memory": {
                "cache": cache,
                "usage": {"limit": limit, "usage": usage, "max": max, "failcnt": failures},
                "swap": {"limit": 0, "failcnt": 0},
                "kernel": {"limit": 0, "failcnt": 0},
                "kernelTCP": {"limit": 0, "failcnt": 0},
                "raw": {},
            },
            "pids": {"current": threads, "limit": max_threads},
            "blkio": {},
            "hugetlb": {},
            "intel_rdt": {},
            "network_interfaces": null,
        })
    }
}
