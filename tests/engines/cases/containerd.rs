//! containerd through its own command line, `ctr`: with the stock shim of runc, and with this project's shim.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::ForLab;
use crate::client::new_name;
use crate::command::{self, Background, Output, eventually};
use crate::image;
use crate::lab::Lab;
use crate::pty::Session;

pub const CASES: &[ForLab] = &[
    ("stock_shim_run", |lab, runtime| run(&Ctr::stock(lab, runtime)?)),
    ("stock_shim_tasks", |lab, runtime| tasks(&Ctr::stock(lab, runtime)?)),
    ("stock_shim_terminal", |lab, runtime| terminal(&Ctr::stock(lab, runtime)?)),
    ("run", |lab, runtime| run(&Ctr::own(lab, runtime)?)),
    ("input", |lab, runtime| input(&Ctr::own(lab, runtime)?)),
    ("tasks", |lab, runtime| tasks(&Ctr::own(lab, runtime)?)),
    ("terminal", |lab, runtime| terminal(&Ctr::own(lab, runtime)?)),
    ("events", |lab, runtime| events(&Ctr::own(lab, runtime)?)),
    ("out_of_memory", |lab, runtime| out_of_memory(&Ctr::own(lab, runtime)?)),
    ("shim_killed", |lab, runtime| shim_killed(&Ctr::own(lab, runtime)?)),
    ("shims_killed_at_random", |lab, runtime| {
        if runtime == "runc" {
            anyhow::bail!(crate::skip::reason("a runc that is killed leaves control groups"));
        }
        shims_killed_at_random(&Ctr::own(lab, runtime)?)
    }),
    ("group", |lab, runtime| group(&Ctr::own(lab, runtime)?)),
    ("many_at_once", |lab, runtime| many_at_once(&Ctr::own(lab, runtime)?)),
];

/// `ctr` with one runtime.
struct Ctr {
    socket: String,
    /// Flags of `run` that name shim and runtime.
    flags: Vec<String>,
}

impl Ctr {
    fn stock(lab: &mut Lab, runtime: &str) -> Result<Ctr> {
        let socket = lab.containerd()?;
        let program = lab.runtimes.iter().find(|r| r.name == runtime).context("no such runtime")?;
        let flags = vec!["--runc-binary".to_owned(), program.program.display().to_string()];
        Ok(Ctr { socket, flags })
    }

    fn own(lab: &mut Lab, runtime: &str) -> Result<Ctr> {
        let socket = lab.containerd()?;
        let runtime = lab.runtimes.iter().find(|r| r.name == runtime).context("no such runtime")?;
        let config = lab.shim_config(runtime)?;
        let flags = ["--runtime", "io.containerd.runsc.v1", "--runtime-config-path", &config];
        Ok(Ctr { socket, flags: flags.map(str::to_owned).to_vec() })
    }

    fn call(&self, args: &[&str]) -> Result<Output> {
        command::run(&mut self.command(args), "")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.args(["-a", &self.socket]).args(args);
        command
    }

    fn arguments<'a>(&'a self, flags: &[&'a str], name: &'a str, program: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["run"];
        args.extend(self.flags.iter().map(String::as_str));
        args.extend(flags);
        args.extend([image::NAME, name]);
        args.extend(program);
        args
    }

    fn start(&self, flags: &[&str], program: &[&str]) -> Result<Task<'_>> {
        let task = Task { ctr: self, name: new_name() };
        let mut all = vec!["-d"];
        all.extend(flags);
        self.call(&self.arguments(&all, &task.name, program))?.status(0)?;
        Ok(task)
    }
}

/// A running task; task and container are removed when this is dropped.
struct Task<'a> {
    ctr: &'a Ctr,
    name: String,
}

impl Task<'_> {
    fn exec(&self, flags: &[&str], program: &[&str]) -> Result<Output> {
        let id = new_name();
        let mut args = vec!["task", "exec", "--exec-id", &id];
        args.extend(flags);
        args.push(&self.name);
        args.extend(program);
        self.ctr.call(&args)
    }

    /// What containerd says of it.
    fn state(&self) -> Result<String> {
        let list = self.ctr.call(&["task", "ls"])?.text()?;
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(&self.name));
        Ok(line.and_then(|line| line.split_whitespace().nth(2)).unwrap_or("none").to_owned())
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        let _ = self.ctr.call(&["task", "kill", "-s", "KILL", &self.name]);
        let _ = self.ctr.call(&["task", "rm", "-f", &self.name]);
        if let Err(error) = self.ctr.call(&["container", "rm", &self.name]).and_then(|out| out.status(0)) {
            eprintln!("engines: {} was not removed: {error:#}", self.name);
        }
    }
}

fn run(ctr: &Ctr) -> Result<()> {
    let (name, script) = (new_name(), "echo out; echo err >&2; exit 7");
    let out = ctr.call(&ctr.arguments(&["--rm"], &name, &["sh", "-c", script]))?.status(7)?;
    ensure!(out.stdout == "out\n" && out.stderr.contains("err\n"), "{out}");
    let missing = ctr.call(&ctr.arguments(&["--rm"], &name, &["/no/such/program"]))?;
    ensure!(missing.status != 0 && missing.stderr.contains("no such file"), "{missing}");
    // Whatever was made for it is gone, so that the name is free.
    ctr.call(&ctr.arguments(&["--rm"], &name, &["true"]))?.status(0)?;
    Ok(())
}

fn tasks(ctr: &Ctr) -> Result<()> {
    let task = ctr.start(&["--memory-limit", "100000000"], &["sh", "-c", "sleep 300 & exec sleep 400"])?;
    ensure!(task.state()? == "RUNNING");
    task.exec(&[], &["sh", "-c", "echo inside; exit 3"])?.status(3)?.prints("inside")?;
    let metrics = ctr.call(&["task", "metrics", "--format", "json", &task.name])?.text()?;
    let metrics: serde_json::Value = serde_json::from_str(&metrics).with_context(|| metrics.clone())?;
    let usage = metrics.pointer("/memory/usage/usage").and_then(|v| v.as_u64()).unwrap_or(0);
    ensure!(usage > 0, "no memory is used: {metrics}");
    let processes = ctr.call(&["task", "ps", &task.name])?.text()?;
    ensure!(processes.lines().count() >= 2, "{processes}");
    ctr.call(&["task", "pause", &task.name])?.status(0)?;
    ensure!(task.state()? == "PAUSED");
    ctr.call(&["task", "resume", &task.name])?.status(0)?;
    ensure!(task.state()? == "RUNNING");
    ctr.call(&["task", "kill", "-s", "SIGKILL", &task.name])?.status(0)?;
    eventually("it is stopped", || Ok(task.state()? == "STOPPED"))?;
    let out = ctr.call(&["task", "rm", &task.name])?;
    ensure!(out.status == 137 || out.status == 0, "{out}");
    // A task can be made anew for the same container.
    ctr.call(&["task", "start", "-d", &task.name])?.status(0)?;
    ensure!(task.state()? == "RUNNING");
    Ok(())
}

fn terminal(ctr: &Ctr) -> Result<()> {
    let name = new_name();
    let mut session = Session::start(&ctr.command(&ctr.arguments(&["--rm", "-t"], &name, &["sh"])), 31, 71)?;
    session.expect("# ")?;
    session.send("while [ \"$(stty size)\" != '31 71' ]; do sleep 0.1; done; echo siz''ed\n")?;
    session.expect("sized")?;
    session.send("exit 5\n")?;
    let status = session.end()?;
    ensure!(status == 5, "status {status}");
    Ok(())
}

fn input(ctr: &Ctr) -> Result<()> {
    let (name, text) = (new_name(), "a line\n".repeat(20_000));
    let out =
        command::run(&mut ctr.command(&ctr.arguments(&["--rm"], &name, &["wc", "-c"])), &text)?.status(0)?;
    out.prints("140000")?;
    Ok(())
}

fn events(ctr: &Ctr) -> Result<()> {
    let log = tempfile::NamedTempFile::new()?;
    let _listener = Background::start(&mut ctr.command(&["events"]), log.path())?;
    // It listens once something is heard.
    let seen = || Ok::<_, anyhow::Error>(std::fs::read_to_string(log.path())?);
    let before = ctr.start(&[], &["true"])?;
    eventually("the listener listens", || {
        ctr.call(&["container", "label", &before.name, "a=b"])?;
        Ok(seen()?.contains(&before.name))
    })?;
    let task = ctr.start(&[], &["sleep", "1000"])?;
    task.exec(&[], &["sh", "-c", "exit 3"])?.status(3)?;
    ctr.call(&["task", "pause", &task.name])?.status(0)?;
    ctr.call(&["task", "resume", &task.name])?.status(0)?;
    ctr.call(&["task", "kill", "-s", "KILL", &task.name])?.status(0)?;
    eventually("it is stopped", || Ok(task.state()? == "STOPPED"))?;
    ctr.call(&["task", "rm", &task.name])?;
    let wanted =
        ["create", "start", "exec-added", "exec-started", "exit", "paused", "resumed", "exit", "delete"];
    let topics = || {
        let text = seen()?;
        let of_task = text.lines().filter(|line| line.contains(&task.name));
        let topics = of_task.filter_map(|line| line.split("/tasks/").nth(1)?.split_whitespace().next());
        Ok::<_, anyhow::Error>(topics.map(str::to_owned).collect::<Vec<_>>())
    };
    eventually("all events", || Ok(topics()?.len() >= wanted.len()))
        .with_context(|| format!("seen: {:?}", topics()))?;
    ensure!(topics()? == wanted, "{:?}", topics());
    Ok(())
}

fn out_of_memory(ctr: &Ctr) -> Result<()> {
    let log = tempfile::NamedTempFile::new()?;
    let _listener = Background::start(&mut ctr.command(&["events"]), log.path())?;
    let script = "sleep 2; exec tail /dev/zero";
    let task = ctr.start(&["--memory-limit", "33554432"], &["sh", "-c", script])?;
    eventually("it is stopped", || Ok(task.state()? == "STOPPED"))?;
    let told = || {
        let text = std::fs::read_to_string(log.path())?;
        Ok(text.lines().any(|line| line.contains("/tasks/oom") && line.contains(&task.name)))
    };
    eventually("it is told that memory ran out", told)
}

/// The process of the shim that serves a task.
fn shim_of(task: &Task<'_>) -> Result<u32> {
    let text = task.ctr.call(&["task", "ls"])?.text()?;
    let line =
        text.lines().find(|line| line.split_whitespace().next() == Some(&task.name)).context("not listed")?;
    let pid = line.split_whitespace().nth(1).context("no pid")?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).context("no parent")?;
    let parent = parent.parse()?;
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm"))?;
    ensure!(name.starts_with("containerd-shim"), "the parent of the container's process is {name}");
    Ok(parent)
}

/// Whether a process is there and no zombie.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn shim_killed(ctr: &Ctr) -> Result<()> {
    let task = ctr.start(&[], &["sleep", "1000"])?;
    let list = ctr.call(&["task", "ls"])?.text()?;
    let line = list.lines().find(|line| line.starts_with(&task.name)).context("not listed")?;
    let pid: u32 = line.split_whitespace().nth(1).context("no pid")?.parse()?;
    let shim = shim_of(&task)?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(shim)?),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    // containerd has what is left removed by `delete`.
    eventually("the container's process has ended", || Ok(!is_alive(pid)))?;
    eventually("the task is gone", || Ok(matches!(task.state()?.as_str(), "none" | "STOPPED" | "UNKNOWN")))?;
    // It can be started anew once containerd has forgotten the shim, which is the last that it does and shows nowhere else.
    eventually("it is started anew", || {
        let _ = ctr.call(&["task", "rm", "-f", &task.name])?;
        let started = ctr.call(&["task", "start", "-d", &task.name])?;
        if started.stderr.contains("already exists") {
            return Ok(false);
        }
        started.status(0)?;
        Ok(true)
    })?;
    ensure!(task.state()? == "RUNNING");
    Ok(())
}

/// A number below `limit`, from a state that the caller keeps (xorshift64).
fn random(state: &mut u64, limit: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % limit.max(1)
}

/// Rounds of the case below.
const SHIM_ROUNDS: usize = 24;

/// A shim is killed at any moment: containerd's `delete` leaves nothing, and the name is free. `CRASH_SEED=N` repeats a run.
fn shims_killed_at_random(ctr: &Ctr) -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let seed = std::env::var("CRASH_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = seed.unwrap_or(now.as_nanos() as u64 % 1_000_000_000);
    let mut state = seed | 1 << 40;
    let mut killed = [0, 0];
    let began = std::time::Instant::now();
    drop(ctr.start(&[], &["sleep", "1000"])?);
    let typical = began.elapsed().as_micros() as u64 / 2;
    // Of other runs on this machine.
    let known = dead_sockets()?;
    for round in 0..SHIM_ROUNDS {
        // Before the container runs, or while something is done with it.
        let early = random(&mut state, 3) > 0;
        let moment =
            std::time::Duration::from_micros(random(&mut state, if early { typical } else { 50_000 }));
        let about = random(&mut state, 3);
        // Found in other texts, so none that may be part of something else.
        let name = format!("shim-killed-{}-{round}", std::process::id());
        kill_shim(ctr, &name, early.then_some(moment), (moment, about))
            .and_then(|()| nothing_left(ctr, &name, &known))
            .with_context(|| {
                format!("round {round} of CRASH_SEED={seed}, early: {early}, {moment:?}, {about}")
            })?;
        killed[usize::from(early)] += 1;
    }
    println!("engines: CRASH_SEED={seed}: {} shims killed at work, {} before", killed[0], killed[1]);
    Ok(())
}

/// Runs a container and kills its shim after `early`, or at a moment after the begin of an action.
fn kill_shim(
    ctr: &Ctr,
    name: &str,
    early: Option<std::time::Duration>,
    (moment, about): (std::time::Duration, u64),
) -> Result<()> {
    let log = tempfile::NamedTempFile::new()?;
    let mut run =
        Background::start(&mut ctr.command(&ctr.arguments(&["-d"], name, &["sleep", "1000"])), log.path())?;
    let mut other = None;
    match early {
        Some(early) => std::thread::sleep(early),
        None => {
            eventually("it runs", || Ok(!run.is_running()?))?;
            let id = new_name();
            let args: &[&str] = match about {
                0 => &["task", "exec", "--exec-id", &id, name, "sleep", "1000"],
                1 => &["task", "kill", "-s", "KILL", name],
                _ => &["task", "pause", name],
            };
            let log = tempfile::NamedTempFile::new()?;
            other = Some(Background::start(&mut ctr.command(args), log.path())?);
            std::thread::sleep(moment);
        }
    }
    let mut shims = Vec::new();
    eventually("there is a shim", || {
        shims = processes_with(name, |line| {
            line.contains("containerd-shim-runsc-v1") && !line.contains("delete")
        })?;
        // What it was asked to do may have ended it.
        Ok(!shims.is_empty() || !run.is_running()?)
    })?;
    for shim in shims {
        // An error: it has just ended.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL);
    }
    eventually("the client ends", || {
        let other = other.as_mut().map(Background::is_running).transpose()?;
        Ok(!run.is_running()? && other != Some(true))
    })
}

/// Living processes whose command line names a container and is as wanted.
fn processes_with(name: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|pid| pid.parse().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(name) && !line.starts_with("ctr ") && wanted(&line) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// What a container has left on the host, apart from containerd's own knowledge of it.
fn left(name: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for pid in processes_with(name, |_| true)? {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        left.push(format!("process {pid} {}", line.replace('\0', " ")));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    left.extend(mounts.lines().filter(|line| line.contains(name)).map(str::to_owned));
    let state = format!("/run/containerd/runsc/default/{name}");
    if std::path::Path::new(&state).exists() {
        left.push(state);
    }
    let find = |top: &str, what: &[&str]| command::run(Command::new("find").arg(top).args(what), "");
    left.extend(find("/sys/fs/cgroup", &["-name", name])?.stdout.lines().map(str::to_owned));
    Ok(left)
}

/// Sockets of shims that nobody listens at.
fn dead_sockets() -> Result<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir("/run/containerd/s")?.flatten();
    let own = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("runsc-"));
    let paths = own.map(|entry| entry.path());
    Ok(paths.filter(|path| std::os::unix::net::UnixStream::connect(path).is_err() && path.exists()).collect())
}

fn nothing_left(ctr: &Ctr, name: &str, known: &[std::path::PathBuf]) -> Result<()> {
    eventually("containerd has forgotten it", || {
        let _ = ctr.call(&["task", "rm", "-f", name])?;
        let _ = ctr.call(&["container", "rm", name])?;
        let containers = ctr.call(&["container", "ls", "-q"])?.text()?;
        let tasks = ctr.call(&["task", "ls", "-q"])?.text()?;
        Ok(![containers, tasks].iter().any(|list| list.lines().any(|line| line == name)))
    })?;
    let mut last = Vec::new();
    eventually("nothing is left", || {
        last = left(name)?;
        Ok(last.is_empty())
    })
    .with_context(|| format!("left: {last:#?}"))?;
    eventually("the name is free", || {
        let out = ctr.call(&ctr.arguments(&["--rm"], name, &["true"]))?;
        if out.stderr.contains("already exists") {
            let _ = ctr.call(&["container", "rm", name])?;
            return Ok(false);
        }
        out.status(0)?;
        Ok(true)
    })?;
    // What a start has left that was killed goes with the next. One that starts elsewhere is not listened at for a moment.
    let mut dead = Vec::new();
    eventually("no socket is left", || {
        dead = dead_sockets()?;
        dead.retain(|path| !known.contains(path));
        Ok(dead.is_empty())
    })
    .with_context(|| format!("left: {dead:?}"))
}

fn group(ctr: &Ctr) -> Result<()> {
    let first = ctr.start(&[], &["sleep", "1000"])?;
    let label = format!("io.containerd.runc.v2.group={}", first.name);
    let second = ctr.start(&["--annotation", &label], &["sleep", "1000"]);
    // An older ctr has no such flag.
    let Ok(second) = second else {
        anyhow::bail!(crate::skip::reason("this ctr sets no annotations"));
    };
    ensure!(shim_of(&first)? == shim_of(&second)?, "they have different shims");
    Ok(())
}

fn many_at_once(ctr: &Ctr) -> Result<()> {
    const COUNT: usize = 50;
    let ends: Vec<Result<()>> = std::thread::scope(|scope| {
        let one = |number: usize| {
            let (name, text) = (new_name(), format!("number {number}"));
            let out = ctr.call(&ctr.arguments(&["--rm"], &name, &["echo", &text]))?.status(0)?;
            out.prints(&text)?;
            Ok(())
        };
        let threads: Vec<_> = (0..COUNT).map(|number| scope.spawn(move || one(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    ends.into_iter().collect::<Result<()>>()?;
    ctr.call(&["task", "ls", "-q"])?.status(0)?.prints("")?;
    let shims = || {
        let all = command::run(
            Command::new("pgrep").args(["-f", "containerd-shim-runsc-v1.*-namespace default"]),
            "",
        )?;
        Ok::<_, anyhow::Error>(all.stdout)
    };
    eventually("no shim is left", || Ok(shims()?.is_empty())).with_context(|| format!("left: {:?}", shims()))
}
