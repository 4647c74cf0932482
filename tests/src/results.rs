//! What came out, kept as JSON for the compat matrix: `{"cases": {NAME: {"covers": […], "runs": {PLACE: OUTCOME}}}}`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::batch::Report;
use crate::build::target_dir;
use crate::catalog::Case;

/// Where the results of a whole run go.
pub fn path() -> Result<PathBuf> {
    Ok(target_dir()?.join("conformance/results.json"))
}

/// Results of one run.
#[derive(Debug, Default)]
pub struct Results {
    cases: serde_json::Map<String, Value>,
}

impl Results {
    /// No runs yet.
    pub fn new(cases: &[Case]) -> Results {
        let entry = |c: &Case| (c.name.clone(), json!({"covers": c.covers, "runs": {}}));
        Results { cases: cases.iter().map(entry).collect() }
    }

    /// Adds the reports of a place.
    pub fn add(&mut self, place: &str, reports: &[Report]) {
        for report in reports {
            if let Some(case) = self.cases.get_mut(&report.name) {
                case["runs"][place] = Value::from(report.outcome.word());
            }
        }
    }

    /// Writes the file; the same results give the same bytes.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
        }
        let text = serde_json::to_string_pretty(&json!({"cases": self.cases}))?;
        std::fs::write(path, text + "\n").with_context(|| format!("can't write {}", path.display()))
    }
}
