//! `runsc events`: what a container uses, and when it runs out of memory.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use serde_json::{Value, json};

use crate::container::status::{Status, status};
use crate::container::store::Store;
use crate::container::{ContainerError, Settings, ask};
use crate::sandbox::control::{Answer, Request};

/// Options of `events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc events --stats web")]
pub struct Args {
    /// Time between two events of type stats
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    interval: String,
    /// Print one event of type stats, and end
    #[arg(long)]
    stats: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// Prints events until the container has ended.
pub fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    let interval = duration(&args.interval)?;
    let store = Store::new(&settings.root);
    let (_, saved) = store.load(&args.id)?;
    if status(&store, &saved) == Status::Stopped {
        return Err(ContainerError::NotRunning.into());
    }
    let mut kills = saved.cgroup.as_ref().map_or(0, |cgroup| cgroup.stats().oom_kills);
    loop {
        let (stats, oom_kills) = match stats(&store, &args.id) {
            // It has ended.
            Err(_) if !args.stats => return Ok(ExitCode::SUCCESS),
            found => found?,
        };
        if oom_kills > kills {
            kills = oom_kills;
            super::print(&json!({"type": "oom", "id": args.id}).to_string())?;
        }
        super::print(&json!({"type": "stats", "id": args.id, "data": stats}).to_string())?;
        if args.stats {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(interval);
    }
}

/// What a container uses, as runc prints it, and how many of its processes were killed for lack of memory.
fn stats(store: &Store, id: &str) -> anyhow::Result<(Value, u64)> {
    let (_, saved) = store.load(id)?;
    let answer = ask::ask(&store.dir(&saved.sandbox)?, &Request::Stats { container: id.to_owned() })?;
    let Answer::Stats(own) = answer else { bail!("the sandbox answered {answer:?}; please report this") };
    let host = saved.cgroup.as_ref().map(|cgroup| cgroup.stats()).unwrap_or_default();
    Ok((host.to_json(own.threads, own.max_threads, (own.user_ns, own.system_ns), own.memory), host.oom_kills))
}

/// A duration as Go writes it: `5s`, `100ms`, `1m30s`.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let wrong = || anyhow!("--interval {text}: no duration above zero; write it like 5s or 100ms");
    let mut sum = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let seconds = match &rest[digits..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        sum += Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        rest = &rest[unit_end..];
    }
    if sum.is_zero() { Err(wrong()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("5s").unwrap(), Duration::from_secs(5));
        assert_eq!(duration("1m30s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        for wrong in ["", "5", "s", "0s", "-1s", "5x"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
