//! The mounts that make a container's root, as containerd's snapshotter asks for them.

use std::path::Path;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::api::Mount;

/// The options of a mount that are flags; all others are the file system's own.
fn split(options: &[String]) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut data: Vec<&str> = Vec::new();
    for option in options {
        match option.as_str() {
            "ro" => flags |= MountFlags::RDONLY,
            "rw" | "defaults" | "async" | "suid" | "dev" | "exec" => {}
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "dirsync" => flags |= MountFlags::DIRSYNC,
            "noatime" => flags |= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "strictatime" => flags |= MountFlags::STRICTATIME,
            "bind" => flags |= MountFlags::BIND,
            "rbind" => flags |= MountFlags::BIND | MountFlags::REC,
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

/// Mounts all of them on one folder, the later ones above the earlier.
pub fn mount_all(mounts: &[Mount], target: &Path) -> Result<()> {
    if mounts.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(target).with_context(|| format!("can't make {}", target.display()))?;
    for one in mounts {
        mount_one(one, target).with_context(|| {
            format!("can't mount {:?} of type {} on {}", one.source, one.kind, target.display())
        })?;
    }
    Ok(())
}

fn mount_one(one: &Mount, target: &Path) -> Result<()> {
    let (flags, data) = split(&one.options);
    let data = std::ffi::CString::new(data)?;
    mount(one.source.as_str(), target, one.kind.as_str(), flags, data.as_c_str())?;
    // A bind mount takes no other flags at first.
    let others = flags - MountFlags::BIND - MountFlags::REC;
    if flags.contains(MountFlags::BIND) && !others.is_empty() {
        mount_remount(target, flags, "")?;
    }
    Ok(())
}

/// Undoes all mounts on a folder.
pub fn unmount_all(target: &Path) {
    // Whoever looks at the folder now keeps what he sees.
    while unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_from_options_of_the_file_system() {
        let options = ["rbind", "ro", "lowerdir=/a:/b", "userxattr"].map(str::to_owned);
        let (flags, data) = split(&options);
        assert_eq!(flags, MountFlags::BIND | MountFlags::REC | MountFlags::RDONLY);
        assert_eq!(data, "lowerdir=/a:/b,userxattr");
    }
}
