//! `cargo run -p compat-matrix`: writes the matrix; with `--check`, compares instead.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use compat_matrix::{Matrix, Results, html, markdown};

const USAGE: &str = "\
usage: compat-matrix [--check] [--results FILE]

Writes matrix.md, matrix.json and index.html from the system call table and the results of the conformance cases.
Without --results, the results that the published matrix has are kept and only what the table says is brought up to date.

  --check         writes nothing; fails where the published matrix is not what would be written
  --results FILE  what the conformance cases left, such as target/conformance/results.json

example: cargo test -p conformance && cargo run -p compat-matrix -- --results target/conformance/results.json";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compat-matrix: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut check = false;
    let mut results = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--check" => check = true,
            "--results" => results = Some(PathBuf::from(args.next().context("--results needs a file")?)),
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => bail!("{other} is no option; see compat-matrix --help"),
        }
    }
    let folder = folder();
    let results = match results {
        Some(file) => Results::from_run(&read_json(&file)?)?,
        None => published_results(&folder)?,
    };
    let matrix = Matrix::new(syscalls::table(), results)?;
    let json = serde_json::to_string_pretty(&matrix.to_json())? + "\n";
    let files = [("matrix.md", markdown(&matrix)), ("matrix.json", json), ("index.html", html(&matrix))];
    for (name, text) in files {
        let path = folder.join(name);
        if !check {
            std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
        } else if std::fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            bail!("{name} is not up to date; run: {}", USAGE.lines().last().unwrap_or_default());
        }
    }
    Ok(())
}

/// Where the published matrix is: in this crate's folder, which cargo names.
fn folder() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("compat-matrix"), PathBuf::from)
}

fn published_results(folder: &Path) -> Result<Results> {
    let path = folder.join("matrix.json");
    if !path.exists() {
        return Ok(Results::default());
    }
    Results::from_published(&read_json(&path)?)
}

fn read_json(path: &Path) -> Result<serde_json::Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}
