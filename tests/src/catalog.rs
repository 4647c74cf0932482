//! The cases that the program holds.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// `family/what_it_checks`
    pub name: String,
    /// The system calls that it covers.
    pub covers: Vec<String>,
}

/// Asks the program for its list.
pub fn load(program: &Path) -> Result<Vec<Case>> {
    let output =
        Command::new(program).arg("list").output().with_context(|| format!("can't start {program:?}"))?;
    let text = String::from_utf8(output.stdout).context("the list of cases is not UTF-8")?;
    let mut cases = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let (Some(name), Some(covers)) = (fields.next(), fields.next()) else {
            bail!("not a line of a list of cases: {line:?}");
        };
        cases.push(Case { name: name.to_string(), covers: covers.split(',').map(str::to_string).collect() });
    }
    for pair in cases.windows(2) {
        if pair[0].name == pair[1].name {
            bail!("two cases are called {}", pair[0].name);
        }
    }
    if cases.is_empty() {
        bail!("{program:?} holds no cases");
    }
    Ok(cases)
}

/// Those whose name contains one of the filters (or equals it); all if there is none.
pub fn select(cases: &[Case], filters: &[String], exact: bool) -> Vec<Case> {
    let wanted = |case: &&Case| {
        filters.is_empty()
            || filters.iter().any(|f| if exact { case.name == *f } else { case.name.contains(f) })
    };
    cases.iter().filter(wanted).cloned().collect()
}
