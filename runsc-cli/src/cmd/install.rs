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
    replace(path, &text)
}

/// Writes a file that may be there: then its rights stay, and where it is a link, the link.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let rights = std::fs::metadata(&path).map(|meta| meta.permissions());
    write_whole(&path, text.as_bytes())
        .and_then(|()| rights.map_or(Ok(()), |rights| std::fs::set_permissions(&path, rights)))
        .with_context(|| path.display().to_string())
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
        let header = header(version(&new), &args.runtime);
        if new.trim().is_empty() {
            new.insert_str(0, "version = 2\n");
        }
        new.push_str(&format!(
            "[{header}]\n  runtime_type = \"io.containerd.runc.v2\"\n[{header}.options]\n  BinaryName = {:?}\n",
            program.display().to_string()
        ));
    }
    if new == old {
        return Ok(());
    }
    replace(&path, &new)
}

/// Version of the form of containerd's file: what is said before the first table; that of a new file is ours to say.
fn version(text: &str) -> u32 {
    if text.trim().is_empty() {
        return 2;
    }
    let before_tables = text.lines().map(str::trim).take_while(|line| !line.starts_with('['));
    let mut values =
        before_tables.filter_map(|line| line.strip_prefix("version")?.trim_start().strip_prefix('='));
    let value = values.next().and_then(|value| value.split('#').next()?.trim().parse().ok());
    value.unwrap_or(1)
}

/// The table of a runtime.
fn header(version: u32, runtime: &str) -> String {
    let plugin = match version {
        ..2 => "cri",
        2 => "\"io.containerd.grpc.v1.cri\"",
        3.. => "\"io.containerd.cri.v1.runtime\"",
    };
    format!("plugins.{plugin}.containerd.runtimes.{runtime}")
}

/// The text without the tables of a runtime. What is said behind them, about the next table, stays.
fn without_blocks(text: &str, runtime: &str) -> String {
    let plain = |name: &str| name.replace(['"', '\'', ' '], "");
    let own = plain(&header(version(text), runtime));
    let mut ours = false;
    let mut kept = String::new();
    let mut remarks = String::new();
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            let name = plain(name);
            ours = name == own || name.strip_prefix(&own).is_some_and(|rest| rest.starts_with('.'));
            kept.push_str(&std::mem::take(&mut remarks));
        } else if ours && !trimmed.is_empty() && !trimmed.starts_with('#') {
            remarks.clear();
        } else if ours {
            remarks.push_str(line);
        }
        if !ours {
            kept.push_str(line);
        }
    }
    kept + &remarks
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

    #[test]
    fn files_of_all_versions() {
        let dir = tempfile::tempdir().unwrap();
        let args = args(dir.path());
        let file = dir.path().join("config.toml");
        let cases = [
            ("", "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runsc]"),
            ("[debug]\nlevel = \"info\"\n", "[plugins.cri.containerd.runtimes.runsc]"),
            ("version = 3 # new\n", "[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runsc]"),
        ];
        for (before, wanted) in cases {
            std::fs::write(&file, before).unwrap();
            install(&args).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.contains(wanted), "{text}");
            uninstall(&args).unwrap();
            let after = std::fs::read_to_string(&file).unwrap();
            assert!(after == before || before.is_empty() && after == "version = 2\n", "{after}");
        }
    }

    #[test]
    fn remarks_and_rights_and_links_stay() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let args = args(dir.path());
        let (file, link) = (dir.path().join("real.toml"), dir.path().join("config.toml"));
        let rest = "\n# about the next\n[plugins.x]\n";
        let ours = "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runsc]\n# a remark\na = 1\n";
        std::fs::write(&file, format!("version = 2\n{ours}{rest}")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("real.toml", &link).unwrap();
        uninstall(&args).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("version = 2\n{rest}"));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
