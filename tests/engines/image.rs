//! A small image, made here: a static busybox in the archive form that all engines load.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::run;

/// The image's whole name.
pub const NAME: &str = "docker.io/library/busybox:latest";

/// Names that busybox goes by in the image.
const APPLETS: &[&str] = &[
    "awk", "cat", "chmod", "cp", "cut", "date", "dd", "df", "echo", "env", "false", "free", "grep", "head",
    "hostname", "id", "kill", "ln", "ls", "mkdir", "mount", "mv", "nc", "nproc", "ps", "pwd", "readlink",
    "rm", "sed", "seq", "sh", "sleep", "sort", "stat", "stty", "sync", "tail", "test", "touch", "tr", "true",
    "tty", "umount", "uname", "wc", "yes",
];

/// The file system tree of the image.
pub fn tree(at: &Path) -> Result<()> {
    for folder in ["bin", "dev", "etc", "home/user", "proc", "root", "sys", "tmp", "var"] {
        fs::create_dir_all(at.join(folder))?;
    }
    fs::copy("/bin/busybox", at.join("bin/busybox")).context("busybox-static is not installed")?;
    for name in APPLETS {
        symlink("busybox", at.join("bin").join(name))?;
    }
    fs::write(
        at.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    )?;
    fs::write(at.join("etc/group"), "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")?;
    fs::write(at.join("etc/not-a-program"), "text\n")?;
    Ok(())
}

/// Makes the archive in `folder`, and the tree beside it.
pub fn archive(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("rootfs");
    tree(&root)?;
    archive_of(folder, &root, NAME, &["/bin/sh"])
}

/// What pods begin with: it waits.
pub const PAUSE: &str = "docker.io/library/pause:latest";

/// The same tree under that name; its program waits.
pub fn pause_archive(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("rootfs");
    let folder = folder.join("pause");
    fs::create_dir(&folder)?;
    archive_of(&folder, &root, PAUSE, &["/bin/sleep", "1000000"])
}

/// An archive of a tree, under a name, that runs a program.
fn archive_of(folder: &Path, root: &Path, name: &str, program: &[&str]) -> Result<PathBuf> {
    let layer = folder.join("layer.tar");
    tar(root, &["."], &layer)?;
    let layer_hash = sha256(&layer)?;
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Cmd": program, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_hash}")] },
        "history": [{ "created_by": "tests" }],
    });
    let config_file = folder.join("config.json");
    fs::write(&config_file, config.to_string())?;
    let config_name = format!("{}.json", sha256(&config_file)?);
    fs::rename(config_file, folder.join(&config_name))?;
    let manifest =
        serde_json::json!([{ "Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"] }]);
    fs::write(folder.join("manifest.json"), manifest.to_string())?;
    let archive = folder.join("image.tar");
    tar(folder, &["manifest.json", &config_name, "layer.tar"], &archive)?;
    fs::remove_file(layer)?;
    Ok(archive)
}

fn tar(folder: &Path, names: &[&str], to: &Path) -> Result<()> {
    run(
        Command::new("tar").arg("-C").arg(folder).args(["--owner=0", "--group=0", "-cf"]).arg(to).args(names),
        "",
    )?
    .status(0)?;
    Ok(())
}

fn sha256(file: &Path) -> Result<String> {
    let text = run(Command::new("sha256sum").arg(file), "")?.text()?;
    Ok(text.split_whitespace().next().context("sha256sum printed nothing")?.to_owned())
}
