//! mounts, mountinfo, mountstats.

use std::fmt::Write;
use std::sync::Arc;

use abi::stat::{major, minor};

use crate::Result;
use crate::task::Task;
use crate::vfs::{Mount, MountFlags, Path};

/// Paths in these files have blanks, tabs, line breaks and backslashes as octal numbers.
fn escaped(text: &[u8]) -> String {
    let mut out = String::new();
    for byte in text {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => {
                let _ = write!(out, "\\{byte:03o}");
            }
            _ => out.push(char::from(*byte)),
        }
    }
    out
}

fn options(mount: &Mount) -> String {
    let flags = mount.flags();
    let mut out = if flags.contains(MountFlags::RDONLY) { "ro" } else { "rw" }.to_owned();
    for (flag, name) in [
        (MountFlags::NOSUID, ",nosuid"),
        (MountFlags::NODEV, ",nodev"),
        (MountFlags::NOEXEC, ",noexec"),
        (MountFlags::NOATIME, ",noatime"),
        (MountFlags::NODIRATIME, ",nodiratime"),
        (MountFlags::RELATIME, ",relatime"),
    ] {
        if flags.contains(flag) {
            out.push_str(name);
        }
    }
    out
}

fn super_options(mount: &Mount) -> String {
    let own = mount.sb().ops().options();
    let mut out = if mount.sb().is_read_only() { "ro" } else { "rw" }.to_owned();
    if !own.is_empty() {
        out.push(',');
        out.push_str(&own);
    }
    out
}

/// All mounts that the task's root leads to, with where they are as seen from there.
fn visible(task: &Arc<Task>) -> Vec<(Arc<Mount>, Vec<u8>)> {
    let Some(resources) = task.resources() else { return Vec::new() };
    let root = resources.fs.roots().root.clone();
    let mut list = Vec::new();
    for mount in resources.namespaces.mount.mounts() {
        let place = Path::new(Arc::clone(&mount), Arc::clone(&mount.root));
        let text = place.text(&root);
        if text.reachable {
            list.push((mount, text.text));
        }
    }
    list
}

/// /proc/PID/mounts.
pub(super) fn mounts(task: &Arc<Task>) -> Result<Vec<u8>> {
    let mut out = String::new();
    for (mount, at) in visible(task) {
        let mut options = options(&mount);
        let own = mount.sb().ops().options();
        if !own.is_empty() {
            options = format!("{options},{own}");
        }
        let _ =
            writeln!(out, "{} {} {} {options} 0 0", escaped(&mount.source), escaped(&at), mount.sb().kind());
    }
    Ok(out.into_bytes())
}

/// /proc/PID/mountinfo.
pub(super) fn mountinfo(task: &Arc<Task>) -> Result<Vec<u8>> {
    let mut out = String::new();
    for (mount, at) in visible(task) {
        let parent = mount.mount_point().map_or(mount.id, |p| p.mount.id);
        let dev = mount.sb().dev;
        // Where in its file system the mount begins.
        let mut inner: Vec<u8> = Vec::new();
        let mut dentry = Arc::clone(&mount.root);
        while let Some(up) = dentry.parent() {
            let name = dentry.name();
            inner = [b"/", name.as_bytes(), &inner[..]].concat();
            dentry = up;
        }
        if inner.is_empty() {
            inner.push(b'/');
        }
        let _ = writeln!(
            out,
            "{} {parent} {}:{} {} {} {} - {} {} {}",
            mount.id,
            major(dev),
            minor(dev),
            escaped(&inner),
            escaped(&at),
            options(&mount),
            mount.sb().kind(),
            escaped(&mount.source),
            super_options(&mount)
        );
    }
    Ok(out.into_bytes())
}
