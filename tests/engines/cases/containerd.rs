//! containerd through its own command line, `ctr`: with the stock shim of runc.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::ForLab;
use crate::client::new_name;
use crate::command::{self, Output, eventually};
use crate::image;
use crate::lab::Lab;
use crate::pty::Session;

pub const CASES: &[ForLab] = &[
    ("stock_shim_run", |lab, runtime| run(&Ctr::stock(lab, runtime)?)),
    ("stock_shim_tasks", |lab, runtime| tasks(&Ctr::stock(lab, runtime)?)),
    ("stock_shim_terminal", |lab, runtime| terminal(&Ctr::stock(lab, runtime)?)),
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
