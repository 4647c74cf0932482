//! Conformance cases, integration tests with real programs, benchmarks.

fn main() {}
