//! What a container's options say about the runtime: its program, its state's folder, its flags.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use prost::Message;

use crate::api::{Any, RuncOptions, RuntimeOptions};
use crate::start::write_atomically;

/// Read if the options name no other file.
const DEFAULT_FILE: &str = "/etc/containerd/runsc.toml";

/// The file of the note in the bundle.
const NOTE: &str = "runtime.json";

/// How the runtime is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub program: PathBuf,
    /// The folder of its state, if not the usual one.
    pub root: Option<PathBuf>,
    pub systemd_cgroup: bool,
    /// Further flags, before the command.
    pub flags: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        // An installation has both in one folder; PATH is for all others.
        let beside =
            std::env::current_exe().ok().map(|own| own.with_file_name("runsc")).filter(|p| p.is_file());
        let program = beside.unwrap_or_else(|| PathBuf::from("runsc"));
        Config { program, root: None, systemd_cgroup: false, flags: Vec::new() }
    }
}

impl Config {
    /// From the options of a container.
    pub fn of(options: Option<&Any>) -> Result<Config> {
        let mut config = Config::default();
        let Some(options) = options else {
            config.read_file(DEFAULT_FILE, false)?;
            return Ok(config);
        };
        match options.type_url.rsplit('/').next().unwrap_or_default() {
            "containerd.runc.v1.Options" => {
                let given = RuncOptions::decode(options.value.as_slice()).context("the runtime's options")?;
                if given.no_pivot_root {
                    bail!("no_pivot_root is not supported: leave it out of the runtime's options");
                }
                if !given.binary_name.is_empty() {
                    config.program = PathBuf::from(given.binary_name);
                }
                if !given.root.is_empty() {
                    config.root = Some(PathBuf::from(given.root));
                }
                config.systemd_cgroup = given.systemd_cgroup;
            }
            "runtimeoptions.v1.Options" => {
                let given =
                    RuntimeOptions::decode(options.value.as_slice()).context("the runtime's options")?;
                if !given.config_body.is_empty() {
                    let text =
                        String::from_utf8(given.config_body).context("the runtime's options are no text")?;
                    config.read(&text)?;
                } else if given.config_path.is_empty() {
                    config.read_file(DEFAULT_FILE, false)?;
                } else {
                    config.read_file(&given.config_path, true)?;
                }
            }
            other => bail!("options of type {other:?} are not known; give runtimeoptions.v1.Options"),
        }
        Ok(config)
    }

    /// Leaves a note of it in the bundle, for a `delete` after the shim's death.
    pub fn leave_note(&self, bundle: &Path) -> Result<()> {
        let note = serde_json::json!({
            "program": self.program,
            "root": self.root,
            "systemd_cgroup": self.systemd_cgroup,
            "flags": self.flags,
        });
        write_atomically(&bundle.join(NOTE), note.to_string().as_bytes())
    }

    /// What such a note says; without one, what there is without options.
    pub fn of_note(bundle: &Path) -> Result<Config> {
        let Ok(text) = std::fs::read(bundle.join(NOTE)) else {
            return Config::of(None);
        };
        let note: serde_json::Value =
            serde_json::from_slice(&text).with_context(|| format!("{NOTE} is broken"))?;
        let path = |name: &str| note.get(name).and_then(|value| value.as_str()).map(PathBuf::from);
        let flags = note.get("flags").and_then(|value| value.as_array()).into_iter().flatten();
        let default = Config::default();
        Ok(Config {
            program: path("program").unwrap_or(default.program),
            root: path("root"),
            systemd_cgroup: note.get("systemd_cgroup").and_then(|value| value.as_bool()).unwrap_or(false),
            flags: flags.filter_map(|flag| flag.as_str().map(str::to_owned)).collect(),
        })
    }

    fn read_file(&mut self, path: &str, must_be_there: bool) -> Result<()> {
        match std::fs::read_to_string(path) {
            Ok(text) => self.read(&text).with_context(|| format!("in {path}")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_be_there => Ok(()),
            Err(error) => Err(error).with_context(|| format!("can't read {path}")),
        }
    }

    /// The part of TOML that such files need: `key = value` lines, and the table `[runsc_config]` with flags.
    fn read(&mut self, text: &str) -> Result<()> {
        let mut table = "";
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                table = name;
                continue;
            }
            let (key, value) = line
                .split_once('=')
                .with_context(|| format!("line {}: neither `key = value` nor a table", number + 1))?;
            let (key, value) = (key.trim(), value.trim().trim_matches('"'));
            match (table, key) {
                ("", "binary_name") => self.program = PathBuf::from(value),
                ("", "root") => self.root = Some(PathBuf::from(value)),
                ("", "systemd_cgroup") => self.systemd_cgroup = value == "true",
                ("runsc_config", flag) => self.flags.push(format!("--{flag}={value}")),
                // Those of other shims' files.
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_program_root_and_flags() {
        let text =
            "# ours\nbinary_name = \"/opt/runsc\"\nroot=\"/run/x\"\n\n[runsc_config]\nplatform = \"kvm\"\n";
        let body = RuntimeOptions { config_path: String::new(), config_body: text.as_bytes().to_vec() };
        let any = Any { type_url: "runtimeoptions.v1.Options".to_owned(), value: body.encode_to_vec() };
        let config = Config::of(Some(&any)).expect("it is right");
        assert_eq!(config.program, PathBuf::from("/opt/runsc"));
        assert_eq!(config.root, Some(PathBuf::from("/run/x")));
        assert_eq!(config.flags, ["--platform=kvm"]);
    }

    #[test]
    fn a_note_says_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config {
            program: PathBuf::from("/p"),
            root: Some(PathBuf::from("/r")),
            systemd_cgroup: true,
            flags: vec!["--x=y".to_owned()],
        };
        config.leave_note(folder.path()).expect("it is written");
        assert_eq!(Config::of_note(folder.path()).expect("it is read"), config);
    }

    #[test]
    fn options_of_runc_name_the_program() {
        let options =
            RuncOptions { binary_name: "/b".to_owned(), systemd_cgroup: true, ..RuncOptions::default() };
        let any = Any { type_url: "containerd.runc.v1.Options".to_owned(), value: options.encode_to_vec() };
        let config = Config::of(Some(&any)).expect("it is right");
        assert!(config.systemd_cgroup && config.program == Path::new("/b"));
        let other = Any { type_url: "something.Else".to_owned(), value: Vec::new() };
        assert!(Config::of(Some(&other)).is_err());
    }
}
