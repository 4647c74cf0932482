//! Who is measured.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A name and the words in front of the program.
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

    /// The `NAME=COMMAND PREFIX` of a `--peer`.
    pub fn peer(text: &str) -> Result<Subject> {
        let (name, prefix) = text.split_once('=').context("--peer takes NAME=COMMAND PREFIX")?;
        let prefix: Vec<String> = prefix.split_whitespace().map(str::to_owned).collect();
        if name.is_empty() || prefix.is_empty() {
            bail!("--peer {text}: neither name nor command may be empty");
        }
        Ok(Subject { name: name.to_owned(), prefix })
    }

    /// This sandbox on each platform that works here.
    pub fn own(runsc: &Path) -> Result<Vec<Subject>> {
        let output = Command::new(runsc).arg("platforms").stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut found = Vec::new();
        for line in text.lines().skip(1) {
            let mut words = line.split_whitespace();
            let (Some(platform), _, works) = (words.next(), words.next(), words.next()) else { continue };
            if works == Some("yes") {
                let flag = format!("--platform={platform}");
                let prefix = [runsc.to_string_lossy().as_ref(), "do", &flag, "--"].map(str::to_owned);
                found.push(Subject { name: format!("runsc-{platform}"), prefix: prefix.to_vec() });
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
        command
    }
}
