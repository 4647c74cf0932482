//! `runsc update`: other limits for a container that is there.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};

use crate::config::Limits;
use crate::container::status::{Status, status};
use crate::container::store::Store;
use crate::container::{ContainerError, Settings, ask};
use crate::sandbox::control::Request;
use crate::spec;

/// Options of `update`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc update --memory 268435456 web")]
pub struct Args {
    /// File with resources of the specification, `-` for standard input; the flags below then mean nothing
    #[arg(long, short = 'r', value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Weight of block I/O, 10 to 1000
    #[arg(long, value_name = "N")]
    blkio_weight: Option<u16>,
    /// Length of a CPU period, microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<u64>,
    /// CPU time in a period, microseconds
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// Weight of CPU time
    #[arg(long, value_name = "N")]
    cpu_share: Option<u64>,
    /// Length of a real-time period, microseconds
    #[arg(long, value_name = "US")]
    cpu_rt_period: Option<u64>,
    /// Real-time in a period, microseconds
    #[arg(long, value_name = "US", allow_hyphen_values = true)]
    cpu_rt_runtime: Option<i64>,
    /// CPUs
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory: bytes, or a number with k, m, g or t
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory: Option<i64>,
    /// Memory that is left when it gets scarce
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory_reservation: Option<i64>,
    /// Memory and swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    memory_swap: Option<i64>,
    /// Accepted and without effect: the host no longer has it
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    kernel_memory: Option<i64>,
    /// Accepted and without effect: the host no longer has it
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    kernel_memory_tcp: Option<i64>,
    /// Threads in the container
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Not supported: part of the processor's cache
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Not supported: part of the memory's bandwidth
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// A size as Docker's tools write it: a number, and k, m, g, t or p for powers of 1024, b or ib behind that. -1 is none.
fn size(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let wrong = || "no size; write it like 268435456 or 256m".to_owned();
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let number: f64 = lower[..digits].parse().map_err(|_| wrong())?;
    let power = match lower[digits..].trim_start() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(wrong()),
    };
    let bytes = number * 1024f64.powi(power);
    if bytes < i64::MAX as f64 { Ok(bytes as i64) } else { Err(wrong()) }
}

/// Sets them.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    for (flag, schema) in [("l3-cache-schema", &args.l3_cache_schema), ("mem-bw-schema", &args.mem_bw_schema)]
    {
        if schema.as_ref().is_some_and(|schema| !schema.is_empty()) {
            bail!("--{flag}: Intel RDT is not supported; leave it out");
        }
    }
    let resources = resources(args)?;
    let store = Store::new(&settings.root);
    let _locked = store.lock(&args.id)?;
    let (_, saved) = store.load(&args.id)?;
    if status(&store, &saved) == Status::Stopped {
        return Err(ContainerError::NotRunning.into());
    }
    match &saved.cgroup {
        Some(cgroup) => cgroup.limit(&resources)?,
        None if resources.memory().is_some()
            || resources.cpu().is_some()
            || resources.block_io().is_some() =>
        {
            bail!(
                "the container has no cgroup; create it with linux.cgroupsPath, and without --ignore-cgroups"
            )
        }
        None => {}
    }
    let limits = spec::limits::of(&resources, saved.cgroup.is_some());
    if limits != Limits::default() {
        ask::ask(&store.dir(&saved.sandbox)?, &Request::Limit { container: args.id.clone(), limits })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn resources(args: &Args) -> anyhow::Result<LinuxResources> {
    let mut value = match &args.resources {
        None => json!({}),
        Some(path) if path.as_os_str() == "-" => {
            serde_json::from_reader(std::io::stdin()).context("resources on standard input; write JSON")?
        }
        Some(path) => {
            let text = std::fs::read(path)
                .with_context(|| format!("resources {}; name a file that can be read", path.display()))?;
            serde_json::from_slice(&text)
                .with_context(|| format!("resources {}; write JSON", path.display()))?
        }
    };
    if args.resources.is_some() {
        return serde_json::from_value(value).context("resources");
    }
    let Value::Object(fields) = &mut value else { bail!("resources are no object; write one") };
    let mut set = |kind: &str, name: &str, value: Option<Value>| {
        let (Some(value), Value::Object(kind)) =
            (value, fields.entry(kind).or_insert_with(|| Value::Object(Map::new())))
        else {
            return;
        };
        kind.insert(name.to_owned(), value);
    };
    set("blockIO", "weight", args.blkio_weight.map(Value::from));
    set("cpu", "period", args.cpu_period.map(Value::from));
    set("cpu", "quota", args.cpu_quota.map(Value::from));
    set("cpu", "shares", args.cpu_share.map(Value::from));
    set("cpu", "realtimePeriod", args.cpu_rt_period.map(Value::from));
    set("cpu", "realtimeRuntime", args.cpu_rt_runtime.map(Value::from));
    set("cpu", "cpus", args.cpuset_cpus.clone().map(Value::from));
    set("cpu", "mems", args.cpuset_mems.clone().map(Value::from));
    set("memory", "limit", args.memory.map(Value::from));
    set("memory", "reservation", args.memory_reservation.map(Value::from));
    set("memory", "swap", args.memory_swap.map(Value::from));
    set("pids", "limit", args.pids_limit.map(Value::from));
    // What nothing was said of is not there.
    fields.retain(|_, value| value.as_object().is_none_or(|object| !object.is_empty()));
    serde_json::from_value(value).context("resources")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("268435456", 268_435_456),
            ("64m", 64 << 20),
            ("1.5G", 3 << 29),
            ("2 KiB", 2048),
            ("-1", -1),
            ("7b", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "m", "-2", "1x", "9999999999999p", "1e3"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
