//! mounts, mountinfo, mountstats.

use std::fmt::Write;
use std::sync::Arc;

use abi::stat::{major, minor};

use crate::Result;
use crate::task::Task;
use crate::vfs::propagation::dominating_group;
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
        (MountFlags::NOSYMFOLLOW, ",nosymfollow"),
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

/// The optional fields: how changes spread.
fn spreading(mount: &Mount, is_seen: impl Fn(&Mount) -> bool) -> String {
    let propagation = mount.propagation();
    let mut out = String::new();
    if propagation.group != 0 {
        let _ = write!(out, " shared:{}", propagation.group);
    }
    if propagation.master != 0 {
        let _ = write!(out, " master:{}", propagation.master);
        match dominating_group(mount, is_seen) {
            0 => {}
            from => {
                let _ = write!(out, " propagate_from:{from}");
            }
        }
    }
    if propagation.unbindable {
        out.push_str(" unbindable");
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
        let _ = writeln!(
            out,
            "{} {} {} {options} 0 0",
            escaped(&mount.source),
            escaped(&at),
            mount.sb().full_kind()
        );
    }
    Ok(out.into_bytes())
}

/// /proc/PID/mountinfo.
pub(super) fn mountinfo(task: &Arc<Task>) -> Result<Vec<u8>> {
    let mut out = String::new();
    let seen = visible(task);
    let reader = crate::task::current_task().and_then(|reader| reader.resources());
    let cgroups = reader.map(|own| Arc::clone(&own.namespaces.cgroup));
    let is_seen = |peer: &Mount| seen.iter().any(|(mount, _)| mount.id == peer.id);
    for (mount, at) in &seen {
        let parent = mount.mount_point().map_or(mount.id, |p| p.mount.id);
        let dev = mount.sb().dev;
        let of_cgroup = |mount: &Mount| cgroups.as_ref()?.root_of(mount);
        let _ = writeln!(
            out,
            "{} {parent} {}:{} {} {} {}{} - {} {} {}",
            mount.id,
            major(dev),
            minor(dev),
            escaped(&of_cgroup(mount).unwrap_or_else(|| mount.root_text())),
            escaped(at),
            options(mount),
            spreading(mount, is_seen),
            mount.sb().full_kind(),
            escaped(&mount.source),
            super_options(mount)
        );
    }
    Ok(out.into_bytes())
}
