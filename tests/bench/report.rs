//! Results of one run, as a table and as JSON.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::measure::Measured;
use crate::metric::Metric;
use crate::subject::Subject;

/// All values of one run.
pub struct Results {
    subjects: Vec<String>,
    /// Name and unit.
    metrics: Vec<(String, String)>,
    /// By metric, then by subject.
    cells: Vec<Vec<Cell>>,
}

/// A figure of a subject.
#[derive(Clone, Default)]
struct Cell {
    values: Vec<f64>,
    note: Option<String>,
    error: Option<String>,
}

/// Median and extremes.
#[derive(Clone, Copy)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Cell {
    fn spread(&self) -> Option<Spread> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        Some(Spread { low: *sorted.first()?, median: sorted[sorted.len() / 2], high: *sorted.last()? })
    }
}

/// Four digits or so.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl Results {
    pub fn new(subjects: &[Subject], metrics: &[&Metric]) -> Results {
        Results {
            subjects: subjects.iter().map(|s| s.name.clone()).collect(),
            metrics: metrics.iter().map(|m| (m.name.to_owned(), m.unit.to_owned())).collect(),
            cells: metrics.iter().map(|_| vec![Cell::default(); subjects.len()]).collect(),
        }
    }

    pub fn add(&mut self, metric: usize, subject: usize, measured: Measured) {
        let cell = &mut self.cells[metric][subject];
        cell.values.push(measured.value);
        cell.note = measured.note.filter(|note| !note.is_empty()).or(cell.note.take());
    }

    pub fn fail(&mut self, metric: usize, subject: usize, why: String) {
        self.cells[metric][subject].error = Some(why);
    }

    pub fn failed(&self, metric: usize, subject: usize) -> bool {
        self.cells[metric][subject].error.is_some()
    }

    /// Names of the subjects, that which others are compared with first.
    pub fn subjects(&self) -> &[String] {
        &self.subjects
    }

    /// Names of the figures.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.metrics.iter().map(|(name, _)| name.as_str())
    }

    /// How often the first subject's (the native run's, or runc's) median fits into another's.
    pub fn ratio(&self, metric: usize, subject: usize) -> Option<f64> {
        let native = self.cells[metric][0].spread()?.median;
        let own = self.cells[metric][subject].spread()?.median;
        (native > 0.0).then(|| own / native)
    }

    pub fn table(&self) -> String {
        let mut out = format!(
            "{:<24} {:<16} {:>10} {:>10} {:>10}  {:>9}\n",
            "figure",
            "subject",
            "median",
            "low",
            "high",
            format!("x {}", self.subjects[0])
        );
        for (m, (name, unit)) in self.metrics.iter().enumerate() {
            for (s, subject) in self.subjects.iter().enumerate() {
                let cell = &self.cells[m][s];
                let Some(found) = cell.spread() else {
                    let why = cell.error.as_deref().unwrap_or("no value");
                    let _ = writeln!(out, "{name:<24} {subject:<16} NOT MEASURED: {why}");
                    continue;
                };
                let ratio = self.ratio(m, s).map_or(String::new(), |r| format!("{r:.2}"));
                let _ = write!(
                    out,
                    "{name:<24} {subject:<16} {:>10} {:>10} {:>10}  {ratio:>9} {unit}",
                    digits(found.median),
                    digits(found.low),
                    digits(found.high)
                );
                let _ = match &cell.note {
                    Some(note) => writeln!(out, "  ({note})"),
                    None => writeln!(out),
                };
            }
        }
        out
    }

    pub fn json(&self) -> Result<String> {
        let subject = |m: usize, s: usize| {
            let cell = &self.cells[m][s];
            let found = cell.spread();
            json!({
                "subject": self.subjects[s],
                "median": found.map(|f| f.median),
                "low": found.map(|f| f.low),
                "high": found.map(|f| f.high),
                "times_native": self.ratio(m, s),
                "values": cell.values,
                "note": cell.note,
                "error": cell.error,
            })
        };
        let metrics: Vec<Value> = (0..self.metrics.len())
            .map(|m| {
                let (name, unit) = &self.metrics[m];
                let subjects: Vec<Value> = (0..self.subjects.len()).map(|s| subject(m, s)).collect();
                json!({ "metric": name, "unit": unit, "subjects": subjects })
            })
            .collect();
        let value = json!({ "subjects": self.subjects, "metrics": metrics });
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }

    /// Reads back what [`json`](Self::json) wrote.
    pub fn from_json(text: &str) -> Result<Results> {
        fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
            value[name].as_array().with_context(|| format!("no list {name}"))
        }
        let string = |value: &Value| value.as_str().map(str::to_owned);
        let value: Value = serde_json::from_str(text)?;
        let subjects = list(&value, "subjects")?.iter().filter_map(string).collect();
        let (mut metrics, mut cells) = (Vec::new(), Vec::new());
        for metric in list(&value, "metrics")? {
            let (name, unit) = (string(&metric["metric"]), string(&metric["unit"]));
            metrics.push((name.context("a figure has no name")?, unit.context("a figure has no unit")?));
            let mut row = Vec::new();
            for subject in list(metric, "subjects")? {
                row.push(Cell {
                    values: list(subject, "values")?.iter().filter_map(Value::as_f64).collect(),
                    note: string(&subject["note"]),
                    error: string(&subject["error"]),
                });
            }
            cells.push(row);
        }
        Ok(Results { subjects, metrics, cells })
    }
}
