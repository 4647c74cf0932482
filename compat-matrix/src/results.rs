//! What came out of the conformance cases, as `conformance` leaves it or as the published matrix has it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::matrix::Count;

/// Cases that passed and that there are: by call, then by place (`native` or a platform).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Counts by call and place.
    pub by_call: BTreeMap<String, BTreeMap<String, Count>>,
    /// Counts of all cases by place; a case that covers several calls counts once.
    pub total: BTreeMap<String, Count>,
}

impl Results {
    /// From the file of a run: `{"cases": {NAME: {"covers": [CALL…], "runs": {PLACE: "pass"|"fail"|"skip"}}}}`.
    pub fn from_run(json: &Value) -> Result<Results> {
        let mut results = Results::default();
        let cases = json["cases"].as_object().context("results have no cases")?;
        for (name, case) in cases {
            let covers = case["covers"].as_array().with_context(|| format!("{name} has no covers"))?;
            let runs = case["runs"].as_object().with_context(|| format!("{name} has no runs"))?;
            for (place, outcome) in runs {
                let passed = match outcome.as_str() {
                    Some("pass") => true,
                    Some("fail" | "skip") => false,
                    _ => bail!("{name} on {place}: {outcome} is no outcome"),
                };
                results.total.entry(place.clone()).or_default().add(passed);
                for call in covers {
                    let call = call.as_str().with_context(|| format!("{name} covers no name"))?;
                    let places = results.by_call.entry(call.to_string()).or_default();
                    places.entry(place.clone()).or_default().add(passed);
                }
            }
        }
        Ok(results)
    }

    /// From a published matrix.
    pub fn from_published(json: &Value) -> Result<Results> {
        let mut results = Results { by_call: BTreeMap::new(), total: counts(&json["cases"])? };
        for call in json["calls"].as_array().context("the matrix has no calls")? {
            let places = counts(&call["cases"])?;
            if !places.is_empty() {
                let name = call["name"].as_str().context("a call without a name")?;
                results.by_call.insert(name.to_string(), places);
            }
        }
        Ok(results)
    }
}

fn counts(json: &Value) -> Result<BTreeMap<String, Count>> {
    let Some(places) = json.as_object() else { return Ok(BTreeMap::new()) };
    let number = |value: &Value| value.as_u64().context("a count that is no number");
    let count = |place: &Value| -> Result<Count> {
        Ok(Count { passed: number(&place["passed"])?, total: number(&place["total"])? })
    };
    places.iter().map(|(name, place)| Ok((name.clone(), count(place)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_counts_for_each_call_it_covers_and_once_in_all() {
        let run = serde_json::json!({"cases": {
            "a": {"covers": ["read", "write"], "runs": {"native": "pass", "ptrace": "fail"}},
            "b": {"covers": ["read"], "runs": {"native": "skip", "ptrace": "pass"}},
        }});
        let results = Results::from_run(&run).unwrap();
        assert_eq!(results.by_call["read"]["native"], Count { passed: 1, total: 2 });
        assert_eq!(results.by_call["read"]["ptrace"], Count { passed: 1, total: 2 });
        assert_eq!(results.by_call["write"]["ptrace"], Count { passed: 0, total: 1 });
        assert_eq!(results.total["native"], Count { passed: 1, total: 2 });
    }

    #[test]
    fn rubbish_is_refused() {
        assert!(Results::from_run(&serde_json::json!({})).is_err());
        let run = serde_json::json!({"cases": {"a": {"covers": [], "runs": {"native": "maybe"}}}});
        assert!(Results::from_run(&run).is_err());
    }
}
