//! Who is measured.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::programs;

/// A name and the words in front of the program; for a runtime, in front of its command.
#[derive(Clone)]
pub struct Subject {
    /// Name, as in the report.
    pub name: String,
    prefix: Vec<String>,
}

impl Subject {
    /// Programs as they are.
    pub fn native() -> Subject {
        Subject { name: "native".to_owned(), prefix: Vec::new() }
    }

    /// The runtime that all engines come with.
    pub fn runc() -> Subject {
        Subject { name: "runc".to_owned(), prefix: vec!["runc".to_owned()] }
    }

    /// The `NAME=COMMAND PREFIX` of a `--peer`.
    pub fn peer(text: &str) -> Result<Subject> {
        let (name, prefix) = text.split_once('=').context("--peer takes NAME=COMMAND PREFIX")?;
        let prefix: Vec<String> = prefix.split_whitespace().map(str::to_owned).collect();
        if name.is_empty() || prefix.is_empty() {
            bail!("--peer {text}: neither name nor command may be empty");
        }
        Ok(Subject { name: name.to_owned(), prefix })
    }

    /// `runsc do` on each platform that works here.
    pub fn own(runsc: &Path) -> Result<Vec<Subject>> {
        Subject::on_platforms(runsc, |platform| {
            ["do", &format!("--platform={platform}"), "--"].map(str::to_owned).to_vec()
        })
    }

    /// `runsc` as an OCI runtime on each platform that works here.
    pub fn own_runtimes(runsc: &Path) -> Result<Vec<Subject>> {
        Subject::on_platforms(runsc, |platform| vec![format!("--platform={platform}")])
    }

    fn on_platforms(runsc: &Path, flags: impl Fn(&str) -> Vec<String>) -> Result<Vec<Subject>> {
        let output = Command::new(runsc).arg("platforms").stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut found = Vec::new();
        for line in text.lines().skip(1) {
            let mut words = line.split_whitespace();
            let (Some(platform), _, works) = (words.next(), words.next(), words.next()) else { continue };
            if works == Some("yes") {
                let prefix = [vec![runsc.to_string_lossy().into_owned()], flags(platform)].concat();
                found.push(Subject { name: format!("runsc-{platform}"), prefix });
            } else {
                eprintln!("bench: platform {platform} does not work here: {line}");
            }
        }
        Ok(found)
    }

    /// The command that runs `program` on it.
    pub fn command(&self, program: &[&str]) -> Command {
        let words: Vec<&str> =
            self.prefix.iter().map(String::as_str).chain(program.iter().copied()).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("PATH", programs::path());
        command
    }
}
