//! Generates the published compat matrix from the table and the runs.

fn main() {}
