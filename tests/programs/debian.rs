//! A Debian root made by mmdebstrap, in which dpkg and apt install packages: natively under chroot(8) in a copy of it, and in
//! the sandbox with it as the root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use conformance::build;

use crate::Verdict;

/// Runs `programs/debian/packages.sh`.
pub fn packages(runsc: &Path) -> Result<Verdict> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Verdict::Skipped("making a Debian root needs root".to_owned()));
    }
    let root = match root()? {
        Ok(root) => root,
        Err(why) => return Ok(Verdict::Skipped(why)),
    };
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/debian");
    let copy = root.with_extension("native");
    remove(&copy)?;
    run(Command::new("cp").arg("-a").arg(&root).arg(&copy))?;
    std::fs::copy(scripts.join("packages.sh"), copy.join("tmp/packages.sh"))?;
    let native = said(Command::new("chroot").arg(&copy).args(["/bin/bash", "/tmp/packages.sh"]))?;
    remove(&copy)?;
    let mut sandboxed = Command::new(runsc);
    sandboxed.arg("do").arg("--root").arg(&root).arg(format!("--volume={}:/scripts:ro", scripts.display()));
    let sandbox = said(sandboxed.args(["--", "/bin/bash", "/scripts/packages.sh"]))?;
    if native == sandbox {
        return Ok(Verdict::Same);
    }
    Ok(Verdict::Differs(format!("--- native\n{native}\n--- sandbox\n{sandbox}\n")))
}

/// The root, made once; or why there is none.
fn root() -> Result<Result<PathBuf, String>> {
    let root = build::target_dir()?.join("debian/root");
    if root.join("usr/bin/apt-get").exists() {
        return Ok(Ok(root));
    }
    let parent = root.parent().context("a folder")?;
    std::fs::create_dir_all(parent)?;
    let new = parent.join("new");
    remove(&new)?;
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--mode=root", "--variant=apt", "--dpkgopt=force-unsafe-io", "bookworm"])
        .arg(&new)
        .stdin(Stdio::null());
    match make.output() {
        Err(error) => Ok(Err(format!("mmdebstrap: {error}"))),
        Ok(made) if !made.status.success() => {
            remove(&new)?;
            let said = String::from_utf8_lossy(&made.stderr);
            Ok(Err(format!("mmdebstrap could not make a root: {}", said.lines().last().unwrap_or_default())))
        }
        Ok(_) => {
            std::fs::rename(&new, &root)?;
            Ok(Ok(root))
        }
    }
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("can't remove {}", folder.display()))?;
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("can't run {command:?}"))?;
    anyhow::ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Exit status and what came out, in order as far as both streams are the same.
fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("can't run {command:?}"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ok(format!("{}\n{out}\n{err}", output.status))
}
