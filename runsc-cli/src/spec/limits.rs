//! Limits of the specification, as far as the sandbox's kernel has to know them.

use oci_spec::runtime::LinuxResources;

use crate::config::Limits;

/// Memory is counted in pages.
const PAGE: i64 = 4096;

/// What resources say; without control groups of the host nobody sees to most of it.
pub fn of(resources: &LinuxResources, has_cgroup: bool) -> Limits {
    let threads = resources.pids().map(|pids| if pids.limit() > 0 { pids.limit() } else { -1 });
    if !has_cgroup {
        return Limits { threads, ..Limits::default() };
    }
    let memory = resources.memory().as_ref().and_then(|memory| memory.limit());
    let cpu = resources.cpu().as_ref();
    // Zero is a value that is not given.
    Limits {
        threads,
        memory: memory
            .filter(|limit| *limit != 0)
            .map(|limit| if limit < 0 { -1 } else { limit / PAGE * PAGE }),
        cpu_quota_us: cpu.and_then(|cpu| cpu.quota()).filter(|quota| *quota != 0),
        cpu_period_us: cpu.and_then(|cpu| cpu.period()).filter(|period| *period != 0),
        cpu_shares: cpu.and_then(|cpu| cpu.shares()).filter(|shares| *shares != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_told() {
        let of_json = |text: &str, has| of(&serde_json::from_str(text).unwrap(), has);
        let text = r#"{"memory": {"limit": 67109000}, "cpu": {"quota": 50000, "period": 0, "shares": 512},
            "pids": {"limit": 0}}"#;
        let told = of_json(text, true);
        assert_eq!(told.memory, Some(67_108_864));
        assert_eq!((told.cpu_quota_us, told.cpu_period_us, told.cpu_shares), (Some(50_000), None, Some(512)));
        assert_eq!(told.threads, Some(-1));
        assert_eq!(of_json(text, false), Limits { threads: Some(-1), ..Limits::default() });
        assert_eq!(of_json(r#"{"memory": {"limit": -1}}"#, true).memory, Some(-1));
        assert_eq!(of_json("{}", true), Limits::default());
    }
}
