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
