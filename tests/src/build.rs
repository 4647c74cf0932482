//! Finds the workspace and builds the programs that the tests need.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The workspace's top folder.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Cargo's output folder for the profile that this program was built with, and the profile's name.
pub fn profile_dir() -> Result<(PathBuf, String)> {
    let exe = std::env::current_exe().context("can't find this program's own path")?;
    let mut dir = exe.parent().context("this program has no folder")?;
    if dir.ends_with("deps") {
        dir = dir.parent().context("no folder above deps")?;
    }
    let name = dir.file_name().and_then(|n| n.to_str()).context("the output folder has no name")?;
    let profile = if name == "debug" { "dev" } else { name };
    Ok((dir.to_path_buf(), profile.to_string()))
}

/// Cargo's output folder, above the profiles.
pub fn target_dir() -> Result<PathBuf> {
    let (dir, _) = profile_dir()?;
    Ok(dir.parent().context("no folder above the profile")?.to_path_buf())
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.current_dir(workspace()).stdin(Stdio::null());
    cargo
}

fn run(mut command: Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("can't start {command:?}"))?;
    if !status.success() {
        bail!("building {what} failed ({status}); the command was {command:?}");
    }
    Ok(())
}

/// The static program with all cases. It has a target folder of its own because its flags differ.
pub fn cases() -> Result<PathBuf> {
    static_program("cases", false)
}

/// The static program that makes all calls with hostile arguments.
pub fn hostile() -> Result<PathBuf> {
    static_program("hostile", false)
}

/// The static program that attacks what the platform keeps in its process.
pub fn hostile_stub() -> Result<PathBuf> {
    static_program("hostile-stub", false)
}

/// The static program that the benchmark runs.
pub fn bench_guest() -> Result<PathBuf> {
    static_program("bench-guest", true)
}

fn static_program(name: &str, optimised: bool) -> Result<PathBuf> {
    let target = target_dir()?.join("cases");
    let mut build = cargo();
    if optimised {
        build.args(["build", "--release", "--bin", name]);
    } else {
        build.arg("build");
    }
    build
        .args(["--quiet", "-p", "conformance-cases", "--target", "x86_64-unknown-linux-gnu"])
        .arg("--target-dir")
        .arg(&target)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", "-C target-feature=+crt-static -C relocation-model=static");
    run(build, "the static programs")?;
    let folder = if optimised { "release" } else { "debug" };
    Ok(target.join("x86_64-unknown-linux-gnu").join(folder).join(name))
}

/// The sandbox: `$RUNSC`, or built from this workspace with the profile that is in use.
pub fn runsc() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("RUNSC") {
        return Ok(PathBuf::from(path));
    }
    program("runsc", "runsc")
}

/// containerd's shim, built from this workspace.
pub fn shim() -> Result<PathBuf> {
    program("containerd-shim-runsc-v1", "containerd-shim-runsc-v1")
}

fn program(package: &str, name: &str) -> Result<PathBuf> {
    let (dir, profile) = profile_dir()?;
    let mut build = cargo();
    build
        .args(["build", "--quiet", "-p", package, "--bin", name, "--profile", &profile])
        .arg("--target-dir")
        .arg(target_dir()?);
    run(build, name)?;
    Ok(dir.join(name))
}
