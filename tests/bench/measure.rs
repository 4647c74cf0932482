//! One figure on one subject, once.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::metric::{How, Metric};
use crate::subject::Subject;
use crate::{containers, deadline, host_calls, memory, programs};

/// A value in the metric's unit, and what else is worth saying.
pub struct Measured {
    /// The value.
    pub value: f64,
    /// A line about it.
    pub note: Option<String>,
}

/// Why a figure is not measured at all on this machine.
pub fn obstacle(metric: &Metric) -> Option<String> {
    let needs = match metric.how {
        How::Start(program) | How::Inside(_, program) => &program[..1],
        How::Script(name) => programs::script(name).map_or(&[][..], |script| script.needs),
        How::ContainerRun | How::ContainerExec | How::ContainersPss(_) => return containers::obstacle(),
        How::HostCalls(..) => return host_calls::obstacle(),
        _ => &[],
    };
    let by_name: Vec<&str> = needs.iter().copied().filter(|name| !name.starts_with('/')).collect();
    programs::missing(&by_name).map(|program| format!("{program} is not installed"))
}

/// Measures.
pub fn measure(subject: &Subject, metric: &Metric, guest: &str) -> Result<Measured> {
    const NS_PER_MS: f64 = 1e6;
    let value = match metric.how {
        How::Start(program) => {
            let begun = Instant::now();
            deadline::output(subject.command(program).stderr(Stdio::null()))?;
            begun.elapsed().as_secs_f64() * 1e3
        }
        How::Guest => number(subject, &[guest, metric.name])?,
        How::Inside(times, program) => {
            let times = times.to_string();
            number(subject, &[&[guest, "run", &times], program].concat())? / NS_PER_MS
        }
        How::Script(name) => {
            let script = programs::script(name).context("no such script")?;
            let folder = programs::folder()?;
            let text = format!("cd '{}'; GUEST='{guest}'; {}", folder.display(), script.text);
            number(subject, &["sh", "-c", &text])? / NS_PER_MS
        }
        How::IdlePss => idle(subject)?.pss_kib as f64,
        How::IdleProcesses => idle(subject)?.processes as f64,
        How::ManyPss(count) => memory::of_many(subject, count)?,
        How::PssOf(kind, count) => {
            let with = |count: u64| held(subject, guest, kind, count);
            (with(count)? - with(0)?) / count as f64
        }
        How::ContainerRun => containers::run(subject)?,
        How::ContainerExec => containers::exec(subject)?,
        How::ContainersPss(count) => containers::idle_pss(subject, count)?,
        How::HostCalls(operation, times) => return host_calls::count(subject, guest, operation, times),
    };
    Ok(Measured { value, note: None })
}

/// What a command prints.
fn number(subject: &Subject, program: &[&str]) -> Result<f64> {
    let mut command = subject.command(program);
    let output = deadline::output(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("it said {text:?}"))
}

fn idle(subject: &Subject) -> Result<memory::Tree> {
    let child = deadline::spawn(&mut subject.command(&["sleep", "1000"]))?;
    let found = memory::settled(child.id());
    deadline::kill(child);
    found
}

/// Pss with so many processes or threads of the guest.
fn held(subject: &Subject, guest: &str, kind: &str, count: u64) -> Result<f64> {
    let held = Held::start(subject, &[guest, "hold", kind, &count.to_string()])?;
    let found = memory::settled(held.child.id());
    held.end();
    Ok(found?.pss_kib as f64)
}

/// A guest program that says `ready` and waits to be told to go on.
pub struct Held {
    /// The command.
    pub child: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Held {
    /// Starts it and waits until it is ready.
    pub fn start(subject: &Subject, program: &[&str]) -> Result<Held> {
        let mut command = subject.command(program);
        let mut child = deadline::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("no pipes to the guest program");
        };
        let mut held = Held { child, input, lines: BufReader::new(output) };
        held.until_ready()?;
        Ok(held)
    }

    /// Lets it go on, until it is ready again.
    pub fn go_on(&mut self) -> Result<()> {
        self.input.write_all(b"g")?;
        self.until_ready()
    }

    fn until_ready(&mut self) -> Result<()> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        if line.trim() != "ready" {
            bail!("the guest program ended early");
        }
        Ok(())
    }

    /// Ends it.
    pub fn end(self) {
        deadline::kill(self.child);
    }
}
