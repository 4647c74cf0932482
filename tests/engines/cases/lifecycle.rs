//! Stopping, killing, freezing, restarting.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::ForClient;
use crate::client::{Client, Container, Engine};
use crate::command::eventually;
use crate::{lab, skip};

pub const CASES: &[ForClient] = &[
    ("stop", stop),
    ("stop_by_force", stop_by_force),
    ("kill", kill),
    ("pause", pause),
    ("restart", restart),
    ("restart_policy", restart_policy),
    ("init", init),
    ("healthcheck", healthcheck),
    ("top", top),
    ("stats", stats),
    ("pid_lives_as_the_container", pid_lives_as_the_container),
    ("many_at_once", many_at_once),
];

/// A program that says what it is told.
const TRAPS: &str =
    "trap 'echo bye; exit 3' TERM; trap 'echo one' USR1; echo ready; while :; do sleep 0.05; done";

fn stop(client: &Client) -> Result<()> {
    let container = client.start(&[], &["sh", "-c", TRAPS])?;
    container.wait_for_log("ready")?;
    container.call("stop", &["-t", "30"], &[])?.status(0)?;
    ensure!(container.inspect(".State.ExitCode")? == "3");
    ensure!(container.logs()?.stdout.ends_with("bye\n"));
    Ok(())
}

fn stop_by_force(client: &Client) -> Result<()> {
    // Process 1 has no default actions: SIGTERM does nothing to it.
    let container = client.start(&[], &["sleep", "1000"])?;
    container.call("stop", &["-t", "1"], &[])?.status(0)?;
    ensure!(container.inspect(".State.ExitCode")? == "137");
    Ok(())
}

fn kill(client: &Client) -> Result<()> {
    let container = client.start(&[], &["sh", "-c", TRAPS])?;
    container.wait_for_log("ready")?;
    container.call("kill", &["--signal", "USR1"], &[])?.status(0)?;
    container.wait_for_log("one")?;
    container.call("kill", &[], &[])?.status(0)?;
    ensure!(container.wait()? == 137);
    ensure!(container.call("kill", &[], &[])?.status != 0, "a stopped container was killed");
    Ok(())
}

fn pause(client: &Client) -> Result<()> {
    if client.engine == Engine::PodmanRootless {
        anyhow::bail!(skip::reason("an ordinary user may not freeze on cgroup v1"));
    }
    let script = "i=0; while :; do i=$((i+1)); echo $i > /shared/count; sleep 0.02; done";
    let folder = tempfile::tempdir()?;
    let volume = format!("{}:/shared", folder.path().display());
    let container = client.start(&["-v", &volume], &["sh", "-c", script])?;
    let count =
        || Ok::<_, anyhow::Error>(fs::read_to_string(folder.path().join("count")).unwrap_or_default());
    let moves = |from: String| move || Ok(!count()?.is_empty() && count()? != from);
    eventually("it counts", moves(String::new()))?;
    container.call("pause", &[], &[])?.status(0)?;
    ensure!(container.inspect(".State.Status")? == "paused");
    let before = count()?;
    std::thread::sleep(Duration::from_millis(500));
    ensure!(count()? == before, "it counts while it is paused");
    container.call("unpause", &[], &[])?.status(0)?;
    eventually("it counts again", moves(before))?;
    Ok(())
}

fn restart(client: &Client) -> Result<()> {
    let container = client.start(&[], &["sh", "-c", "echo start >> /log; exec sleep 1000"])?;
    eventually("the first start", || Ok(container.shell("cat /log")?.stdout == "start\n"))?;
    container.call("restart", &["-t", "0"], &[])?.status(0)?;
    // The file is in the container's own layer.
    eventually("the second start", || Ok(container.shell("cat /log")?.stdout == "start\nstart\n"))?;
    container.call("stop", &["-t", "0"], &[])?.status(0)?;
    container.call("start", &[], &[])?.status(0)?;
    eventually("the third start", || Ok(container.shell("wc -l < /log")?.stdout.trim() == "3"))?;
    Ok(())
}

fn restart_policy(client: &Client) -> Result<()> {
    let flags = ["--restart", "on-failure:2"];
    let container = client.start(&flags, &["sh", "-c", "echo again; exit 5"])?;
    eventually("the last start", || Ok(container.logs()?.stdout.matches("again").count() == 3))?;
    eventually("the end", || Ok(container.inspect(".State.Status")? == "exited"))?;
    ensure!(container.inspect(".State.ExitCode")? == "5");
    Ok(())
}

fn init(client: &Client) -> Result<()> {
    let name = if client.engine == Engine::Docker { "docker-init" } else { "catatonit" };
    if lab::program(name).is_none() && !std::path::Path::new("/usr/libexec/podman/catatonit").exists() {
        anyhow::bail!(skip::reason(format!("{name} is not installed")));
    }
    client.shell(&["--init"], "test $$ != 1 && cat /proc/1/comm")?.status(0)?;
    // It reaps what others leave.
    let script = "sh -c '(sleep 0.1; true) & exit 0'; sleep 1; cat /proc/[0-9]*/stat | grep -c ') Z '; true";
    client.shell(&["--init"], script)?.status(0)?.prints("0")?;
    Ok(())
}

fn healthcheck(client: &Client) -> Result<()> {
    let flags = ["--health-cmd", "test -f /well", "--health-interval", "1s", "--health-retries", "1"];
    let container = client.start(&flags, &["sh", "-c", "touch /well; exec sleep 1000"])?;
    if client.engine == Engine::Docker {
        eventually("healthy", || Ok(container.inspect(".State.Health.Status")? == "healthy"))?;
        container.shell("rm /well")?.status(0)?;
        eventually("unhealthy", || Ok(container.inspect(".State.Health.Status")? == "unhealthy"))?;
        return Ok(());
    }
    // Podman has timers of systemd do it; without one, it is done by hand.
    eventually("healthy", || Ok(client.call(&["healthcheck", "run", &container.name])?.status == 0))?;
    container.shell("rm /well")?.status(0)?;
    ensure!(
        client.call(&["healthcheck", "run", &container.name])?.status != 0,
        "it is well without the file"
    );
    Ok(())
}

fn top(client: &Client) -> Result<()> {
    let container = client.start(&[], &["sh", "-c", "sleep 700 & echo ready; exec sleep 800"])?;
    container.wait_for_log("ready")?;
    let list = || container.call("top", &[], &[])?.text();
    let both = || list().map(|list| list.contains("sleep 700") && list.contains("sleep 800"));
    eventually("both programs are listed", both).with_context(|| format!("listed: {:?}", list()))?;
    // What makes a container is no part of it.
    let list = list()?;
    ensure!(!["boot", "gofer", "create"].iter().any(|own| list.contains(own)), "{list}");
    Ok(())
}

fn stats(client: &Client) -> Result<()> {
    if client.engine == Engine::PodmanRootless {
        anyhow::bail!(skip::reason("an ordinary user has no control groups of version 1"));
    }
    let container = client.start(&["--memory", "100m"], &["sh", "-c", "while :; do :; done"])?;
    let format = "{{.MemUsage}};{{.PIDs}}";
    let text = container.call("stats", &["--no-stream", "--format", format], &[])?.text()?;
    let (memory, pids) = text.split_once(';').context("no two fields")?;
    ensure!(!memory.starts_with("0B /") && memory.contains('/'), "no memory is used: {text}");
    ensure!(pids.trim().parse::<u32>().is_ok_and(|pids| pids > 0), "no processes: {text}");
    Ok(())
}

fn pid_lives_as_the_container(client: &Client) -> Result<()> {
    let container = client.start(&[], &["sleep", "1000"])?;
    let pid = container.pid()?;
    ensure!(Container::is_alive(pid), "process {pid} is not there");
    // The host's own way to end it.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(pid)?),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    ensure!(container.wait()? == 137);
    ensure!(!Container::is_alive(pid), "process {pid} outlives the container");
    Ok(())
}

/// What containers leave when something goes wrong: mounts and control groups.
fn traces() -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for line in fs::read_to_string("/proc/self/mounts")?.lines() {
        found.extend(line.split(' ').nth(1).map(str::to_owned));
    }
    for controller in ["memory", "cpu", "pids", "freezer", "devices", "cpuset", "unified"] {
        for parent in ["docker", "libpod_parent", "machine.slice"] {
            let folder = format!("/sys/fs/cgroup/{controller}/{parent}");
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry?.path();
                if path.is_dir() {
                    found.insert(path.display().to_string());
                }
            }
        }
    }
    Ok(found)
}

fn many_at_once(client: &Client) -> Result<()> {
    const COUNT: usize = 10;
    // The engine's own mounts are made by the first container.
    client.run(&[], &["true"])?.status(0)?;
    let before = traces()?;
    let ends: Vec<Result<()>> = std::thread::scope(|scope| {
        let one = |number: usize| {
            let text = format!("number {number}");
            client.run(&[], &["echo", &text])?.status(0)?.prints(&text)?;
            Ok(())
        };
        let threads: Vec<_> = (0..COUNT).map(|number| scope.spawn(move || one(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    ends.into_iter().collect::<Result<()>>()?;
    eventually("nothing is left", || Ok(traces()?.difference(&before).next().is_none())).with_context(|| {
        format!("left: {:?}", traces().map(|now| now.difference(&before).cloned().collect::<Vec<_>>()))
    })
}
