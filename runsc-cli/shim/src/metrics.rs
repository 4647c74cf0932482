//! What a container uses, in containerd's messages for control groups of either version.

use prost::Message;

use crate::api::Any;
use crate::cgroup::{Groups, entry, number, table};

#[derive(Clone, Copy, PartialEq, Message)]
struct Pids {
    #[prost(uint64, tag = "1")]
    current: u64,
    #[prost(uint64, tag = "2")]
    limit: u64,
}

#[derive(Clone, PartialEq, Message)]
struct V1 {
    #[prost(message, optional, tag = "2")]
    pids: Option<Pids>,
    #[prost(message, optional, tag = "3")]
    cpu: Option<V1Cpu>,
    #[prost(message, optional, tag = "4")]
    memory: Option<V1Memory>,
}

#[derive(Clone, PartialEq, Message)]
struct V1Cpu {
    #[prost(message, optional, tag = "1")]
    usage: Option<V1CpuUsage>,
    #[prost(message, optional, tag = "2")]
    throttling: Option<V1Throttling>,
}

#[derive(Clone, PartialEq, Message)]
struct V1CpuUsage {
    #[prost(uint64, tag = "1")]
    total_ns: u64,
    #[prost(uint64, tag = "2")]
    kernel_ns: u64,
    #[prost(uint64, tag = "3")]
    user_ns: u64,
    #[prost(uint64, repeated, tag = "4")]
    per_cpu_ns: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct V1Throttling {
    #[prost(uint64, tag = "1")]
    periods: u64,
    #[prost(uint64, tag = "2")]
    throttled_periods: u64,
    #[prost(uint64, tag = "3")]
    throttled_ns: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct V1Memory {
    #[prost(uint64, tag = "1")]
    cache: u64,
    #[prost(uint64, tag = "2")]
    rss: u64,
    #[prost(uint64, tag = "4")]
    mapped_file: u64,
    #[prost(uint64, tag = "9")]
    faults: u64,
    #[prost(uint64, tag = "10")]
    major_faults: u64,
    #[prost(uint64, tag = "11")]
    inactive_anon: u64,
    #[prost(uint64, tag = "12")]
    active_anon: u64,
    #[prost(uint64, tag = "13")]
    inactive_file: u64,
    #[prost(uint64, tag = "14")]
    active_file: u64,
    #[prost(uint64, tag = "16")]
    hierarchical_limit: u64,
    #[prost(uint64, tag = "18")]
    total_cache: u64,
    #[prost(uint64, tag = "19")]
    total_rss: u64,
    #[prost(uint64, tag = "25")]
    total_faults: u64,
    #[prost(uint64, tag = "26")]
    total_major_faults: u64,
    #[prost(uint64, tag = "29")]
    total_inactive_file: u64,
    #[prost(uint64, tag = "30")]
    total_active_file: u64,
    #[prost(message, optional, tag = "33")]
    usage: Option<V1MemoryEntry>,
    #[prost(message, optional, tag = "34")]
    swap: Option<V1MemoryEntry>,
    #[prost(message, optional, tag = "35")]
    kernel: Option<V1MemoryEntry>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct V1MemoryEntry {
    #[prost(uint64, tag = "1")]
    limit: u64,
    #[prost(uint64, tag = "2")]
    usage: u64,
    #[prost(uint64, tag = "3")]
    max: u64,
    #[prost(uint64, tag = "4")]
    failures: u64,
}

#[derive(Clone, PartialEq, Message)]
struct V2 {
    #[prost(message, optional, tag = "1")]
    pids: Option<Pids>,
    #[prost(message, optional, tag = "2")]
    cpu: Option<V2Cpu>,
    #[prost(message, optional, tag = "4")]
    memory: Option<V2Memory>,
    #[prost(message, optional, tag = "8")]
    events: Option<V2Events>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct V2Cpu {
    #[prost(uint64, tag = "1")]
    usage_us: u64,
    #[prost(uint64, tag = "2")]
    user_us: u64,
    #[prost(uint64, tag = "3")]
    system_us: u64,
    #[prost(uint64, tag = "4")]
    periods: u64,
    #[prost(uint64, tag = "5")]
    throttled_periods: u64,
    #[prost(uint64, tag = "6")]
    throttled_us: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct V2Memory {
    #[prost(uint64, tag = "1")]
    anon: u64,
    #[prost(uint64, tag = "2")]
    file: u64,
    #[prost(uint64, tag = "11")]
    inactive_anon: u64,
    #[prost(uint64, tag = "12")]
    active_anon: u64,
    #[prost(uint64, tag = "13")]
    inactive_file: u64,
    #[prost(uint64, tag = "14")]
    active_file: u64,
    #[prost(uint64, tag = "18")]
    faults: u64,
    #[prost(uint64, tag = "19")]
    major_faults: u64,
    #[prost(uint64, tag = "32")]
    usage: u64,
    #[prost(uint64, tag = "33")]
    limit: u64,
    #[prost(uint64, tag = "34")]
    swap_usage: u64,
    #[prost(uint64, tag = "35")]
    swap_limit: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct V2Events {
    #[prost(uint64, tag = "1")]
    low: u64,
    #[prost(uint64, tag = "2")]
    high: u64,
    #[prost(uint64, tag = "3")]
    max: u64,
    #[prost(uint64, tag = "4")]
    oom: u64,
    #[prost(uint64, tag = "5")]
    oom_kill: u64,
}

/// What the control groups of a process say; `None` without any.
pub fn of(pid: u32) -> Option<Any> {
    let groups = Groups::of(pid)?;
    if groups.v2().is_some() {
        let value = v2(&groups)?.encode_to_vec();
        return Some(Any { type_url: "io.containerd.cgroups.v2.Metrics".to_owned(), value });
    }
    Some(Any { type_url: "io.containerd.cgroups.v1.Metrics".to_owned(), value: v1(&groups).encode_to_vec() })
}

fn v1(groups: &Groups) -> V1 {
    let pids = groups
        .v1("pids")
        .map(|at| Pids { current: number(&at, "pids.current"), limit: limit(number(&at, "pids.max")) });
    let throttling = groups.v1("cpu").map(|at| {
        let stat = table(&at, "cpu.stat");
        V1Throttling {
            periods: entry(&stat, "nr_periods"),
            throttled_periods: entry(&stat, "nr_throttled"),
            throttled_ns: entry(&stat, "throttled_time"),
        }
    });
    let usage = groups.v1("cpuacct").map(|at| {
        let per_cpu = std::fs::read_to_string(at.join("cpuacct.usage_percpu")).unwrap_or_default();
        V1CpuUsage {
            total_ns: number(&at, "cpuacct.usage"),
            kernel_ns: number(&at, "cpuacct.usage_sys"),
            user_ns: number(&at, "cpuacct.usage_user"),
            per_cpu_ns: per_cpu.split_whitespace().filter_map(|n| n.parse().ok()).collect(),
        }
    });
    let memory = groups.v1("memory").map(|at| {
        let stat = table(&at, "memory.stat");
        let get = |name| entry(&stat, name);
        let part = |name: &str| {
            let file = |what: &str| number(&at, &format!("memory.{name}{what}"));
            V1MemoryEntry {
                limit: file("limit_in_bytes"),
                usage: file("usage_in_bytes"),
                max: file("max_usage_in_bytes"),
                failures: file("failcnt"),
            }
        };
        V1Memory {
            cache: get("cache"),
            rss: get("rss"),
            mapped_file: get("mapped_file"),
            faults: get("pgfault"),
            major_faults: get("pgmajfault"),
            inactive_anon: get("inactive_anon"),
            active_anon: get("active_anon"),
            inactive_file: get("inactive_file"),
            active_file: get("active_file"),
            hierarchical_limit: get("hierarchical_memory_limit"),
            total_cache: get("total_cache"),
            total_rss: get("total_rss"),
            total_faults: get("total_pgfault"),
            total_major_faults: get("total_pgmajfault"),
            total_inactive_file: get("total_inactive_file"),
            total_active_file: get("total_active_file"),
            usage: Some(part("")),
            swap: Some(part("memsw.")),
            kernel: Some(part("kmem.")),
        }
    });
    V1 { pids, cpu: Some(V1Cpu { usage, throttling }), memory }
}

fn v2(groups: &Groups) -> Option<V2> {
    let at = groups.v2()?;
    let (cpu, stat, events) =
        (table(&at, "cpu.stat"), table(&at, "memory.stat"), table(&at, "memory.events"));
    let get = |name| entry(&stat, name);
    Some(V2 {
        pids: Some(Pids { current: number(&at, "pids.current"), limit: limit(number(&at, "pids.max")) }),
        cpu: Some(V2Cpu {
            usage_us: entry(&cpu, "usage_usec"),
            user_us: entry(&cpu, "user_usec"),
            system_us: entry(&cpu, "system_usec"),
            periods: entry(&cpu, "nr_periods"),
            throttled_periods: entry(&cpu, "nr_throttled"),
            throttled_us: entry(&cpu, "throttled_usec"),
        }),
        memory: Some(V2Memory {
            anon: get("anon"),
            file: get("file"),
            inactive_anon: get("inactive_anon"),
            active_anon: get("active_anon"),
            inactive_file: get("inactive_file"),
            active_file: get("active_file"),
            faults: get("pgfault"),
            major_faults: get("pgmajfault"),
            usage: number(&at, "memory.current"),
            limit: number(&at, "memory.max"),
            swap_usage: number(&at, "memory.swap.current"),
            swap_limit: number(&at, "memory.swap.max"),
        }),
        events: Some(V2Events {
            low: entry(&events, "low"),
            high: entry(&events, "high"),
            max: entry(&events, "max"),
            oom: entry(&events, "oom"),
            oom_kill: entry(&events, "oom_kill"),
        }),
    })
}

/// No limit is 0 here.
fn limit(number: u64) -> u64 {
    if number == u64::MAX { 0 } else { number }
}
