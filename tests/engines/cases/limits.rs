//! Memory, processors, processes.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::ForClient;
use crate::client::{Client, Container, Engine};
use crate::skip;

pub const CASES: &[ForClient] = &[
    ("memory", memory),
    ("out_of_memory", out_of_memory),
    ("cpus", cpus),
    ("pids", pids),
    ("resource_limits", resource_limits),
];

fn needs_cgroups(client: &Client) -> Result<()> {
    if client.engine == Engine::PodmanRootless {
        anyhow::bail!(skip::reason("an ordinary user has no control groups of version 1"));
    }
    Ok(())
}

/// A setting of the control group that the container's process is in, on the host.
fn setting(container: &Container<'_>, controller: &str, name: &str) -> Result<String> {
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    let path = groups
        .lines()
        .find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|c| c == controller).then_some(path)
        })
        .context("the controller is not mounted")?;
    let file = format!("/sys/fs/cgroup/{controller}{path}/{name}");
    Ok(fs::read_to_string(&file).with_context(|| format!("can't read {file}"))?.trim().to_owned())
}

fn memory(client: &Client) -> Result<()> {
    needs_cgroups(client)?;
    let container = client.start(&["--memory", "64m"], &["sleep", "1000"])?;
    ensure!(setting(&container, "memory", "memory.limit_in_bytes")? == "67108864");
    if client.engine == Engine::Docker {
        container.call("update", &["--memory", "80m", "--memory-swap", "160m"], &[])?.status(0)?;
        ensure!(setting(&container, "memory", "memory.limit_in_bytes")? == "83886080");
    }
    Ok(())
}

fn out_of_memory(client: &Client) -> Result<()> {
    needs_cgroups(client)?;
    let flags = ["--memory", "32m", "--memory-swap", "32m"];
    // The shim sets its watch once `start` has answered: no sooner is memory to run out.
    let container = client.start(&flags, &["sh", "-c", "sleep 2; exec tail /dev/zero"])?;
    let status = container.wait()?;
    ensure!(status == 137, "status {status}; {}", container.logs()?);
    // Podman does not say it on a host with control groups of both versions, with runc neither.
    let told = client.engine != Engine::Docker || container.inspect(".State.OOMKilled")? == "true";
    ensure!(told, "not said to have run out of memory");
    Ok(())
}

fn cpus(client: &Client) -> Result<()> {
    needs_cgroups(client)?;
    let container = client.start(&["--cpus", "0.5", "--cpuset-cpus", "0"], &["sleep", "1000"])?;
    let quota: f64 = setting(&container, "cpu", "cpu.cfs_quota_us")?.parse()?;
    let period: f64 = setting(&container, "cpu", "cpu.cfs_period_us")?.parse()?;
    ensure!((quota / period - 0.5).abs() < 0.01, "{quota} of {period}");
    ensure!(setting(&container, "cpuset", "cpuset.cpus")? == "0");
    Ok(())
}

fn pids(client: &Client) -> Result<()> {
    needs_cgroups(client)?;
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 2 & done; echo all";
    let out = client.shell(&["--pids-limit", "10"], script)?;
    ensure!(out.stderr.contains("fork"), "twenty processes where ten may be: {out}");
    client.shell(&["--pids-limit", "100"], script)?.status(0)?.prints("all")?;
    Ok(())
}

fn resource_limits(client: &Client) -> Result<()> {
    let flags = ["--ulimit", "nofile=100:200", "--ulimit", "nproc=1024:1024"];
    client.shell(&flags, "ulimit -Sn; ulimit -Hn")?.status(0)?.prints("100\n200")?;
    Ok(())
}
