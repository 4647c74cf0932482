//! The matrix itself.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use syscalls::{Level, Row};

use crate::results::Results;

/// How many cases passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that passed.
    pub passed: u64,
    /// All of them; those that could not run here are among them.
    pub total: u64,
}

impl Count {
    /// One more case.
    pub fn add(&mut self, passed: bool) {
        self.total += 1;
        self.passed += u64::from(passed);
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Number on x86-64.
    pub number: u32,
    /// Name.
    pub name: &'static str,
    /// How much of it there is.
    pub level: Level,
    /// What is missing.
    pub note: &'static str,
    /// Cases by place.
    pub cases: BTreeMap<String, Count>,
}

/// All calls, with the cases that cover them.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// In the order of their numbers.
    pub calls: Vec<Call>,
    /// All cases by place.
    pub total: BTreeMap<String, Count>,
}

impl Matrix {
    /// From the table and what the cases gave. A case that covers a call that is not in the table is an error.
    pub fn new(rows: &[Row], mut results: Results) -> Result<Matrix> {
        let calls = rows
            .iter()
            .map(|row| Call {
                number: row.number,
                name: row.name,
                level: row.level,
                note: row.note,
                cases: results.by_call.remove(row.name).unwrap_or_default(),
            })
            .collect();
        if let Some(unknown) = results.by_call.keys().next() {
            bail!("a case says that it covers {unknown}, which is no system call; correct its `covers`");
        }
        Ok(Matrix { calls, total: results.total })
    }

    /// Where cases ran: `native` first.
    pub fn places(&self) -> Vec<&str> {
        let all: BTreeSet<&str> = self.total.keys().map(String::as_str).collect();
        let native = all.get("native").copied();
        native.into_iter().chain(all.iter().copied().filter(|place| *place != "native")).collect()
    }

    /// How many calls have this level.
    pub fn count(&self, level: Level) -> usize {
        self.calls.iter().filter(|call| call.level == level).count()
    }

    /// As the published JSON has it.
    pub fn to_json(&self) -> Value {
        let counts = |cases: &BTreeMap<String, Count>| -> Value {
            cases
                .iter()
                .map(|(place, count)| (place.clone(), json!({"passed": count.passed, "total": count.total})))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let calls: Vec<Value> = self
            .calls
            .iter()
            .map(|call| {
                json!({
                    "number": call.number,
                    "name": call.name,
                    "support": call.level.as_str(),
                    "note": call.note,
                    "cases": counts(&call.cases),
                })
            })
            .collect();
        json!({
            "support": {
                "full": self.count(Level::Full),
                "partial": self.count(Level::Partial),
                "none": self.count(Level::None),
            },
            "cases": counts(&self.total),
            "calls": calls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read_back() {
        let run = json!({"cases": {"a": {"covers": ["read"], "runs": {"native": "pass", "ptrace": "fail"}}}});
        let results = Results::from_run(&run).unwrap();
        let matrix = Matrix::new(syscalls::table(), results.clone()).unwrap();
        assert_eq!(matrix.places(), ["native", "ptrace"]);
        assert_eq!(Results::from_published(&matrix.to_json()).unwrap(), results);
    }

    #[test]
    fn a_case_of_an_unknown_call_is_an_error() {
        let run = json!({"cases": {"a": {"covers": ["raed"], "runs": {"native": "pass"}}}});
        assert!(Matrix::new(syscalls::table(), Results::from_run(&run).unwrap()).is_err());
    }
}
