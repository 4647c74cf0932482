//! The command line that Docker and Podman share, with one runtime.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::command::{self, Output};

/// Which engine it is, where they differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    Docker,
    Podman,
    /// Podman of an ordinary user.
    PodmanRootless,
}

/// One engine with one runtime.
pub struct Client {
    pub engine: Engine,
    /// What comes before the engine's own arguments: the program, and those that say where its files are.
    pub prefix: Vec<String>,
    /// Flags that every container gets.
    pub flags: Vec<String>,
}

/// Makes names that no other container of this run has.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A new name for a container.
pub fn new_name() -> String {
    format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Client {
    /// The engine's program with these arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.prefix[0]);
        // conmon leaves a file where it was started, when memory runs out.
        command.args(&self.prefix[1..]).args(args).current_dir(std::env::temp_dir());
        command
    }

    /// Runs the engine's program with these arguments.
    pub fn call(&self, args: &[&str]) -> Result<Output> {
        self.call_with(args, "")
    }

    /// The same with something to read on standard input.
    pub fn call_with(&self, args: &[&str], input: &str) -> Result<Output> {
        command::run(&mut self.command(args), input)
    }

    /// The arguments of a `run` or `create` with the flags that every container gets.
    pub fn arguments<'a>(&'a self, verb: &'a str, flags: &[&'a str], program: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec![verb];
        args.extend(self.flags.iter().map(String::as_str));
        args.extend(flags);
        args.push("busybox");
        args.extend(program);
        args
    }

    /// A container that is gone when its program has ended.
    pub fn run(&self, flags: &[&str], program: &[&str]) -> Result<Output> {
        let mut all = vec!["--rm"];
        all.extend(flags);
        self.call(&self.arguments("run", &all, program))
    }

    /// The same with a line of shell.
    pub fn shell(&self, flags: &[&str], script: &str) -> Result<Output> {
        self.run(flags, &["sh", "-c", script])
    }

    /// A container that runs on.
    pub fn start(&self, flags: &[&str], program: &[&str]) -> Result<Container<'_>> {
        let container = Container { client: self, name: new_name() };
        let mut all = vec!["-d", "--name", &container.name];
        all.extend(flags);
        self.call(&self.arguments("run", &all, program))?.status(0)?;
        Ok(container)
    }
}

/// A container, removed by force when this is dropped.
pub struct Container<'a> {
    pub client: &'a Client,
    pub name: String,
}

impl Container<'_> {
    /// An engine's command about the container: `verb flags… name rest…`.
    pub fn call(&self, verb: &str, flags: &[&str], rest: &[&str]) -> Result<Output> {
        let mut args = vec![verb];
        args.extend(flags);
        args.push(&self.name);
        args.extend(rest);
        self.client.call(&args)
    }

    /// A program beside the container's own.
    pub fn exec(&self, flags: &[&str], program: &[&str]) -> Result<Output> {
        self.call("exec", flags, program)
    }

    /// A line of shell beside the container's own program.
    pub fn shell(&self, script: &str) -> Result<Output> {
        self.exec(&[], &["sh", "-c", script])
    }

    /// Removes it by force, at once.
    pub fn remove(&self) -> Result<Output> {
        let flags: &[&str] = if self.client.engine == Engine::Docker { &["-f"] } else { &["-f", "-t", "0"] };
        self.call("rm", flags, &[])
    }

    /// What the container has printed so far, on both streams.
    pub fn logs(&self) -> Result<Output> {
        self.call("logs", &[], &[])?.status(0)
    }

    /// A field of what the engine knows.
    pub fn inspect(&self, field: &str) -> Result<String> {
        self.call("inspect", &["--format", &format!("{{{{{field}}}}}")], &[])?.text()
    }

    /// The host's process that stands for the container.
    pub fn pid(&self) -> Result<u32> {
        self.inspect(".State.Pid")?.parse().context("the pid is no number")
    }

    /// The status that the container's program ended with, when it has.
    pub fn wait(&self) -> Result<i32> {
        self.call("wait", &[], &[])?.text()?.parse().context("the exit status is no number")
    }

    /// Waits until the logs hold a line.
    pub fn wait_for_log(&self, wanted: &str) -> Result<()> {
        command::eventually(&format!("{wanted:?} in the logs"), || Ok(self.logs()?.stdout.contains(wanted)))
    }

    /// Whether the process that stood for the container is still there.
    pub fn is_alive(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove().and_then(|out| out.status(0)) {
            eprintln!("engines: {} was not removed: {error:#}", self.name);
        }
    }
}
