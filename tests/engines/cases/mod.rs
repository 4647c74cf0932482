//! What is tried.

mod containerd;
mod files;
mod lifecycle;
mod limits;
mod output;
mod pods;
mod services;
mod terminal;
mod users;

use anyhow::Result;

use crate::client::Client;
use crate::lab::Lab;

/// Tries it with the runtime of this name.
type Run = dyn Fn(&mut Lab, &str) -> Result<()>;

/// One thing to try.
pub struct Case {
    pub engine: &'static str,
    pub name: &'static str,
    pub run: Box<Run>,
}

/// A case for every engine with Docker's command line.
type ForClient = (&'static str, fn(&Client) -> Result<()>);

/// A case for containerd.
type ForLab = (&'static str, fn(&mut Lab, &str) -> Result<()>);

/// All cases, an engine after the other.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, run) in containerd::CASES.iter().chain(pods::CASES) {
        cases.push(Case { engine: "containerd", name, run: Box::new(run) });
    }
    for (name, run) in services::CASES {
        cases.push(Case { engine: "none", name, run: Box::new(run) });
    }
    type Start = fn(&mut Lab, &str) -> Result<Client>;
    let engines: [(&'static str, Start); 3] =
        [("docker", Lab::docker), ("podman", Lab::podman), ("podman-rootless", Lab::podman_rootless)];
    for (engine, start) in engines {
        for list in
            [output::CASES, lifecycle::CASES, files::CASES, users::CASES, limits::CASES, terminal::CASES]
        {
            for (name, run) in list {
                cases.push(Case {
                    engine,
                    name,
                    run: Box::new(move |lab, runtime| run(&start(lab, runtime)?)),
                });
            }
        }
    }
    cases
}
