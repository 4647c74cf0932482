//! What cargo says about the workspace.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// A crate of the workspace.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Names of all it depends on, tests and build scripts included.
    pub dependencies: Vec<String>,
    /// Those among them that the crate itself is linked with.
    pub linked: Vec<String>,
    /// The root files of its library and its programs.
    pub roots: Vec<PathBuf>,
}

/// All crates of the workspace.
pub fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(conformance::build::workspace())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    list(&value["packages"]).iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let dependencies = list(&value["dependencies"]);
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    Package {
        name: text(&value["name"]),
        folder: manifest.parent().expect("a manifest lies in a folder").to_path_buf(),
        dependencies: dependencies.iter().map(|d| text(&d["name"])).collect(),
        linked: dependencies.iter().filter(|d| d["kind"].is_null()).map(|d| text(&d["name"])).collect(),
        roots: list(&value["targets"])
            .iter()
            .filter(|t| list(&t["kind"]).iter().any(|k| k == "lib" || k == "bin"))
            .map(|t| PathBuf::from(text(&t["src_path"])))
            .collect(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo writes a list here")
}

fn text(value: &Value) -> String {
    value.as_str().expect("cargo writes a string here").to_string()
}
