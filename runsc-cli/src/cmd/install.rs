//! `runsc install` and `runsc uninstall`: the runtime's entry in the configuration of Docker and containerd. Everything else in
//! the files stays as it is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

use crate::container::state_file::write_whole;

/// Options of both.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  runsc install --runtime runsc -- --platform ptrace\n  runsc uninstall")]
pub struct Args {
    /// Docker's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/docker/daemon.json")]
    config_file: PathBuf,
    /// containerd's configuration, changed if it is named or there
    #[arg(long, value_name = "FILE")]
    containerd_config: Option<PathBuf>,
    /// Name of the runtime
    #[arg(long, value_name = "NAME", default_value = "runsc")]
    runtime: String,
    /// Make it the default (or take that away)
    #[arg(long)]
    default: bool,
    /// Global flags that the engines are to give
    #[arg(last = true, value_name = "FLAG")]
    flags: Vec<OsString>,
}

const CONTAINERD: &str = "/etc/containerd/config.toml";

/// Writes the entry.
pub fn install(args: &Args) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("the path of this program")?;
    let flags: Vec<String> = args.flags.iter().map(|flag| flag.to_string_lossy().into_owned()).collect();
    change_docker(&args.config_file, |config| {
        let runtimes = config.entry("runtimes").or_insert_with(|| json!({}));
        let Value::Object(runtimes) = runtimes else { bail!("\"runtimes\" is no object; correct it") };
        let mut entry = json!({"path": program});
        if !flags.is_empty() {
            entry["runtimeArgs"] = json!(flags);
        }
        runtimes.insert(args.runtime.clone(), entry);
        if args.default {
            config.insert("default-runtime".to_owned(), json!(args.runtime));
        }
        Ok(())
    })?;
    change_containerd(args, Some(&program))?;
    super::print(&format!(
        "runtime {} is in {}; restart the engine",
        args.runtime,
        args.config_file.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Removes it.
pub fn uninstall(args: &Args) -> anyhow::Result<ExitCode> {
    if args.config_file.exists() {
        change_docker(&args.config_file, |config| {
            if let Some(Value::Object(runtimes)) = config.get_mut("runtimes") {
                runtimes.remove(&args.runtime);
                if runtimes.is_empty() {
                    config.remove("runtimes");
                }
            }
            if config.get("default-runtime").is_some_and(|name| *name == args.runtime) {
                config.remove("default-runtime");
            }
            Ok(())
        })?;
    }
    change_containerd(args, None)?;
    super::print(&format!(
        "runtime {} is no longer in {}; restart the engine",
        args.runtime,
        args.config_file.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn change_docker(
    path: &Path,
    change: impl FnOnce(&mut Map<String, Value>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}".to_owned(),
        text => text.with_context(|| path.display().to_string())?,
    };
    let text = if text.trim().is_empty() { "{}".to_owned() } else { text };
    let mut config: Value =
        serde_json::from_str(&text).with_context(|| format!("{}; correct its JSON first", path.display()))?;
    let Value::Object(fields) = &mut config else { bail!("{}: no object; correct it first", path.display()) };
    change(fields)?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    let mut text = serde_json::to_string_pretty(&config)?;
    text.push('\n');
    write_whole(path, text.as_bytes()).with_context(|| path.display().to_string())
}

/// The part of containerd's file that is ours is a block of lines, told by its header: the rest is not touched, comments and all.
fn change_containerd(args: &Args, program: Option<&Path>) -> anyhow::Result<()> {
    let path = args.containerd_config.clone().unwrap_or_else(|| PathBuf::from(CONTAINERD));
    if args.containerd_config.is_none() && !path.exists() {
        return Ok(());
    }
    let old = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| path.display().to_string())?,
    };
    let mut new = without_blocks(&old, &args.runtime);
    if let Some(program) = program {
        if !new.lines().any(|line| line.trim_start().starts_with("version")) {
            new.insert_str(0, "version = 2\n");
        }
        let header = header(&args.runtime);
        new.push_str(&format!(
            "[{header}]\n  runtime_type = \"io.containerd.runc.v2\"\n[{header}.options]\n  BinaryName = {:?}\n",
            program.display().to_string()
        ));
    }
    if new == old {
        return Ok(());
    }
    write_whole(&path, new.as_bytes()).with_context(|| path.display().to_string())
}

fn header(runtime: &str) -> String {
    format!("plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.{runtime}")
}

/// The text without the tables of a runtime.
fn without_blocks(text: &str, runtime: &str) -> String {
    let own = header(runtime);
    let mut ours = false;
    let mut kept = String::new();
    for line in text.lines() {
        if let Some(name) = line.trim().strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            ours = name == own || name.strip_prefix(&own).is_some_and(|rest| rest.starts_with('.'));
        }
        if !ours {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path) -> Args {
        Args {
            config_file: dir.join("docker/daemon.json"),
            containerd_config: Some(dir.join("config.toml")),
            runtime: "runsc".to_owned(),
            default: false,
            flags: vec!["--debug".into()],
        }
    }

    #[test]
    fn what_was_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let args = args(dir.path());
        let toml = "version = 2\n# a comment\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  x = 1\n";
        std::fs::write(dir.path().join("config.toml"), toml).unwrap();
        std::fs::create_dir(dir.path().join("docker")).unwrap();
        std::fs::write(&args.config_file, r#"{"debug": true, "runtimes": {"other": {"path": "/x"}}}"#)
            .unwrap();
        let docker =
            || serde_json::from_str::<Value>(&std::fs::read_to_string(&args.config_file).unwrap()).unwrap();
        install(&args).unwrap();
        install(&args).unwrap();
        let made = docker();
        assert_eq!(made["debug"], true);
        assert_eq!(made["runtimes"]["other"]["path"], "/x");
        assert_eq!(made["runtimes"]["runsc"]["runtimeArgs"], json!(["--debug"]));
        let text = std::fs::read_to_string(dir.path().join("config.toml")).unwrap();
        assert!(text.starts_with(toml) && text.matches("BinaryName").count() == 1, "{text}");
        uninstall(&args).unwrap();
        assert_eq!(docker(), json!({"debug": true, "runtimes": {"other": {"path": "/x"}}}));
        assert_eq!(std::fs::read_to_string(dir.path().join("config.toml")).unwrap(), toml);
    }
}
