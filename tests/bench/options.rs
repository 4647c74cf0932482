//! The command line.

use anyhow::{Context, Result, bail};

use crate::metric::{CONTAINERS, METRICS, Metric, asked};
use crate::subject::Subject;

const USAGE: &str = "\
usage: bench [--rounds N] [--peer NAME=COMMAND PREFIX]... [--only WORD[,WORD]...] [--json FILE] [--svg FILE] [WORD]...
       bench --show FILE       print the table of an earlier --json FILE
       bench --list            print all groups and figures

A WORD is a figure, the beginning of figures, or a group: micro, start, macro, memory, host-calls, containers.
The containers are those of OCI runtimes: measured in a run of their own, beside runc; a peer is a runtime's command.
Figures are compared within one run only, never with those of another.

example: cargo run --release -p conformance --bin bench -- --peer 'gvisor=/usr/bin/runsc --network=none do' micro
         cargo run --release -p conformance --bin bench -- --peer 'gvisor=/usr/bin/runsc --network=none' containers";

/// What to do.
pub enum Action {
    /// Measure.
    Run(Options),
    /// Print an earlier result.
    Show(String),
    /// Print what can be measured.
    List,
}

/// How to measure.
pub struct Options {
    /// How often each figure is measured on each subject.
    pub rounds: usize,
    /// Subjects besides our own.
    pub peers: Vec<Subject>,
    /// Where results go as JSON.
    pub json: Option<String>,
    /// Where they go as a picture.
    pub svg: Option<String>,
    /// Whether all of it is measured on runtimes; otherwise nothing is.
    pub of_runtimes: bool,
    /// What is measured, in the order of the report.
    pub metrics: Vec<&'static Metric>,
}

/// Understands the arguments.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Action> {
    let mut options = Options {
        rounds: 5,
        peers: Vec::new(),
        json: None,
        svg: None,
        of_runtimes: false,
        metrics: Vec::new(),
    };
    let mut words: Vec<String> = Vec::new();
    let mut show: Vec<String> = Vec::new();
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "--rounds" => options.rounds = value()?.parse().context("--rounds takes a number")?,
            "--json" => options.json = Some(value()?),
            "--svg" => options.svg = Some(value()?),
            "--peer" => options.peers.push(Subject::peer(&value()?)?),
            "--only" => words.extend(value()?.split(',').map(str::to_owned)),
            "--show" => show.push(value()?),
            "--list" => return Ok(Action::List),
            flag if flag.starts_with('-') => bail!("{USAGE}"),
            _ => words.push(arg),
        }
    }
    match &show[..] {
        [] => {}
        [one] if words.is_empty() => return Ok(Action::Show(one.clone())),
        _ => bail!(
            "figures of different runs are not compared: the machine was another one each time; measure both in one \
             run, the other build as a --peer"
        ),
    }
    if options.rounds == 0 {
        bail!("--rounds takes a number above 0");
    }
    let mut wanted: Vec<&str> = Vec::new();
    for word in &words {
        let found = asked(word);
        if found.is_empty() {
            bail!("no figure and no group is called {word}; see --list\n{USAGE}");
        }
        wanted.extend(found.iter().map(|metric| metric.name));
    }
    let is_wanted = |metric: &&Metric| match words.is_empty() {
        true => metric.group != CONTAINERS,
        false => wanted.contains(&metric.name),
    };
    options.metrics = METRICS.iter().filter(is_wanted).collect();
    options.of_runtimes = options.metrics.iter().any(|metric| metric.group == CONTAINERS);
    if options.of_runtimes && options.metrics.iter().any(|metric| metric.group != CONTAINERS) {
        bail!("containers are compared with runc's: measure them in a run of their own");
    }
    Ok(Action::Run(options))
}
