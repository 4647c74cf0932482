//! Results of one run, as a table, as JSON and as a picture.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use crate::{Metric, Subject};

/// All values of one run.
pub struct Results {
    subjects: Vec<String>,
    metrics: Vec<(&'static str, &'static str)>,
    /// By metric, then by subject.
    values: Vec<Vec<Vec<u64>>>,
}

/// Median and extremes.
#[derive(Clone, Copy)]
struct Spread {
    low: u64,
    median: u64,
    high: u64,
}

fn spread(values: &[u64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    Some(Spread { low: *sorted.first()?, median: sorted[sorted.len() / 2], high: *sorted.last()? })
}

impl Results {
    pub fn new(subjects: &[Subject], metrics: &[&Metric]) -> Results {
        Results {
            subjects: subjects.iter().map(|s| s.name.clone()).collect(),
            metrics: metrics.iter().map(|m| (m.name, m.unit)).collect(),
            values: metrics.iter().map(|_| subjects.iter().map(|_| Vec::new()).collect()).collect(),
        }
    }

    pub fn add(&mut self, metric: usize, subject: usize, value: u64) {
        self.values[metric][subject].push(value);
    }

    /// How often the first subject's (the native run's) median fits into another's.
    fn ratio(&self, metric: usize, subject: usize) -> Option<f64> {
        let native = spread(&self.values[metric][0])?.median;
        let own = spread(&self.values[metric][subject])?.median;
        (native > 0).then(|| own as f64 / native as f64)
    }

    pub fn table(&self) -> String {
        let mut out = format!(
            "{:<20} {:<16} {:>10} {:>10} {:>10}  {:>9}\n",
            "metric", "subject", "median", "low", "high", "x native"
        );
        for (m, (name, unit)) in self.metrics.iter().enumerate() {
            for (s, subject) in self.subjects.iter().enumerate() {
                let Some(found) = spread(&self.values[m][s]) else {
                    let _ = writeln!(out, "{name:<20} {subject:<16} not measured");
                    continue;
                };
                let ratio = self.ratio(m, s).map_or(String::new(), |r| format!("{r:.2}"));
                let _ = writeln!(
                    out,
                    "{name:<20} {subject:<16} {:>10} {:>10} {:>10}  {ratio:>9} {unit}",
                    found.median, found.low, found.high
                );
            }
        }
        out
    }

    pub fn json(&self) -> Result<String> {
        let metrics: Vec<Value> = self
            .metrics
            .iter()
            .enumerate()
            .map(|(m, (name, unit))| {
                let subjects: Vec<Value> = self
                    .subjects
                    .iter()
                    .enumerate()
                    .map(|(s, subject)| {
                        let found = spread(&self.values[m][s]);
                        json!({
                            "subject": subject,
                            "median": found.map(|f| f.median),
                            "low": found.map(|f| f.low),
                            "high": found.map(|f| f.high),
                            "values": self.values[m][s],
                        })
                    })
                    .collect();
                json!({ "metric": name, "unit": unit, "subjects": subjects })
            })
            .collect();
        Ok(serde_json::to_string_pretty(&json!({ "metrics": metrics }))? + "\n")
    }

    /// Bars of the medians, on a logarithmic scale, as multiples of the native run.
    pub fn svg(&self) -> String {
        const BAR: usize = 14;
        const LEFT: usize = 260;
        const WIDTH: f64 = 480.0;
        let colours = ["#777", "#2a6fdb", "#d9822b", "#3a9d5d", "#a34bc4"];
        let rows: usize = self.metrics.len() * (self.subjects.len() + 1);
        let height = rows * BAR + 30;
        let highest = (0..self.metrics.len())
            .flat_map(|m| (0..self.subjects.len()).map(move |s| (m, s)))
            .filter_map(|(m, s)| self.ratio(m, s))
            .fold(10.0f64, f64::max);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
             <text x=\"4\" y=\"14\">median as a multiple of the native run (logarithmic)</text>\n",
            LEFT as f64 + WIDTH + 80.0
        );
        let mut y = 22;
        for (m, (name, _)) in self.metrics.iter().enumerate() {
            for (s, subject) in self.subjects.iter().enumerate() {
                let ratio = self.ratio(m, s);
                let length = ratio.map_or(0.0, |r| (r.max(1.0).ln() / highest.ln() * WIDTH).max(1.0));
                let label = ratio.map_or("not measured".to_owned(), |r| format!("{r:.1}"));
                let colour = colours[s % colours.len()];
                let _ = writeln!(
                    out,
                    "<text x=\"4\" y=\"{}\">{name} {subject}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.0}\" \
                     height=\"{}\" fill=\"{colour}\"/><text x=\"{:.0}\" y=\"{}\">{label}</text>",
                    y + BAR - 3,
                    BAR - 2,
                    LEFT as f64 + length + 4.0,
                    y + BAR - 3
                );
                y += BAR;
            }
            y += BAR;
        }
        out.push_str("</svg>\n");
        out
    }
}
