//! Bundles: config.json of the OCI runtime specification, and what it means for a sandbox.
//!
//! What engines write is read leniently, as runc reads it ([`lenient`]): unknown fields and names are left out with a note.
//! What would make a container other than it was asked for is refused ([`check`]).

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

pub mod check;
mod lenient;
pub mod limits;
pub mod mounts;
pub mod process;
pub mod seccomp;

/// Why a bundle can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// There is no config.json.
    #[error("JSON specification file {} not found; give a bundle with --bundle", .0.display())]
    Missing(PathBuf),
    /// There is no such file.
    #[error("specification of the process {} not found; name a file that is there", .0.display())]
    NoProcess(PathBuf),
    /// It can't be read.
    #[error("{}: {error}; make it readable", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The host's error.
        error: std::io::Error,
    },
    /// It is no JSON, or not of the specification's shape.
    #[error("{}: {error}; correct it, 'runsc spec' writes one to start from", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: serde_json::Error,
    },
    /// It asks for something that can't be had.
    #[error("{0}")]
    Unusable(String),
}

/// A bundle that was read.
#[derive(Debug)]
pub struct Bundle {
    /// Its directory, absolute.
    pub dir: PathBuf,
    /// What config.json says.
    pub spec: Spec,
    /// What was left out of it.
    pub notes: Vec<String>,
    /// Its text.
    pub text: Vec<u8>,
}

impl Bundle {
    /// Reads the config.json of the bundle at `dir`.
    pub fn load(dir: &Path) -> Result<Bundle, SpecError> {
        let dir =
            std::path::absolute(dir).map_err(|error| SpecError::Read { path: dir.to_owned(), error })?;
        let path = dir.join("config.json");
        let text = read(&path)?;
        let (spec, notes) = parse(&path, &text)?;
        Ok(Bundle { dir, spec, notes, text })
    }

    /// The root file system, absolute.
    pub fn rootfs(&self) -> Result<PathBuf, SpecError> {
        let root = self.spec.root().as_ref().map(|root| root.path());
        match root.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => Ok(self.dir.join(path)),
            None => Err(SpecError::Unusable("root.path is empty; name the root file system".to_owned())),
        }
    }
}

/// The text of a file of a bundle.
pub fn read(path: &Path) -> Result<Vec<u8>, SpecError> {
    std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => SpecError::Missing(path.to_owned()),
        _ => SpecError::Read { path: path.to_owned(), error },
    })
}

/// A configuration, and what was left out of it.
pub fn parse(path: &Path, text: &[u8]) -> Result<(Spec, Vec<String>), SpecError> {
    let syntax = |error| SpecError::Syntax { path: path.to_owned(), error };
    let mut value: serde_json::Value = serde_json::from_slice(text).map_err(syntax)?;
    if !value.is_object() {
        // Where a structure is wanted, serde takes a list of its fields as well.
        return Err(syntax(serde::de::Error::custom("invalid type: a JSON object is expected")));
    }
    let notes = lenient::patch(&mut value);
    Ok((serde_json::from_value(value).map_err(syntax)?, notes))
}

/// The process of `exec --process FILE`.
pub fn parse_process(path: &Path) -> Result<(oci_spec::runtime::Process, Vec<String>), SpecError> {
    let text = read(path).map_err(|error| match error {
        SpecError::Missing(path) => SpecError::NoProcess(path),
        other => other,
    })?;
    let syntax = |error| SpecError::Syntax { path: path.to_owned(), error };
    let process: serde_json::Value = serde_json::from_slice(&text).map_err(syntax)?;
    let mut value = serde_json::json!({ "process": process });
    let notes = lenient::patch(&mut value);
    Ok((serde_json::from_value(value["process"].take()).map_err(syntax)?, notes))
}
