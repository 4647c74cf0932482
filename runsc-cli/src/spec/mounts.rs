//! The mounts of a container: which trees its Gofer serves, and what its Sentry mounts where.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount};
use sentry::vfs::MountFlags;

use super::{Bundle, SpecError};
use crate::config::{ContainerMount, Device, MountKind, Text, Tree, Upper};
use crate::overlay::Overlays;

/// Trees and mounts of a container.
#[derive(Debug, Default)]
pub struct Mounts {
    /// For the Gofer.
    pub trees: Vec<Tree>,
    /// For the Sentry, the root first.
    pub mounts: Vec<ContainerMount>,
}

/// What the options of a mount say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    flags: MountFlags,
    bind: bool,
    /// Those that are the file system's own.
    own: Vec<String>,
}

/// Options that say nothing here: propagation to and from the host, and what is so anyway.
const WITHOUT_MEANING: [&str; 25] = [
    "defaults",
    "rw",
    "suid",
    "dev",
    "exec",
    "atime",
    "diratime",
    "norelatime",
    "nostrictatime",
    "strictatime",
    "async",
    "sync",
    "dirsync",
    "loud",
    "silent",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "unbindable",
    "runbindable",
    "tmpcopyup",
    "symfollow",
];

const FLAGS: [(&str, MountFlags); 9] = [
    ("ro", MountFlags::RDONLY),
    ("rro", MountFlags::RDONLY),
    ("nosuid", MountFlags::NOSUID),
    ("nodev", MountFlags::NODEV),
    ("noexec", MountFlags::NOEXEC),
    ("noatime", MountFlags::NOATIME),
    ("nodiratime", MountFlags::NODIRATIME),
    ("relatime", MountFlags::RELATIME),
    ("nosymfollow", MountFlags::NOSYMFOLLOW),
];

impl Options {
    fn parse(options: &[String]) -> Options {
        let mut parsed = Options::default();
        for option in options {
            match option.as_str() {
                "bind" | "rbind" => parsed.bind = true,
                // Undoes an earlier one.
                "rw" => parsed.flags.remove(MountFlags::RDONLY),
                "suid" => parsed.flags.remove(MountFlags::NOSUID),
                "dev" => parsed.flags.remove(MountFlags::NODEV),
                "exec" => parsed.flags.remove(MountFlags::NOEXEC),
                name if WITHOUT_MEANING.contains(&name) => {}
                name => match FLAGS.iter().find(|(known, _)| *known == name) {
                    Some((_, flag)) => parsed.flags |= *flag,
                    None => parsed.own.push(option.clone()),
                },
            }
        }
        parsed
    }
}

/// The trees and mounts of a bundle, and which of them have layers for changes.
pub fn convert(bundle: &Bundle, overlays: &Overlays) -> Result<Mounts, SpecError> {
    let spec = &bundle.spec;
    let rootfs = bundle.rootfs()?;
    match std::fs::metadata(&rootfs) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            return Err(SpecError::Unusable(format!(
                "rootfs {}: not a directory; unpack an image there",
                rootfs.display()
            )));
        }
        Err(error) => {
            return Err(SpecError::Unusable(format!(
                "rootfs {}: {}; unpack an image there",
                rootfs.display(),
                plain(&error)
            )));
        }
    }
    let read_only = spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false);
    let overlay = overlays.of_root();
    let mut mounts = Mounts::default();
    let kind = mounts.tree(rootfs.clone(), overlay.is_some() || read_only, overlay);
    mounts.mounts.push(ContainerMount { target: Text::Utf8("/".to_owned()), what: kind, flags: 0 });
    for mount in spec.mounts().as_deref().unwrap_or_default() {
        mounts.add(bundle, mount, overlays)?;
    }
    Ok(mounts)
}

/// An error of the host without its number.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string().to_lowercase();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

impl Mounts {
    fn tree(&mut self, source: PathBuf, read_only: bool, overlay: Option<Upper>) -> MountKind {
        self.trees.push(Tree {
            source: source.into(),
            read_only,
            hide: Vec::new(),
            host_sockets: false,
            bound_sockets: false,
            host_fifos: false,
        });
        MountKind::Tree { tree: self.trees.len() - 1, overlay }
    }

    fn add(&mut self, bundle: &Bundle, mount: &Mount, overlays: &Overlays) -> Result<(), SpecError> {
        let target = mount.destination();
        let options = Options::parse(mount.options().as_deref().unwrap_or_default());
        let kind = mount.typ().as_deref().unwrap_or("");
        let what = if options.bind || kind == "bind" || kind == "rbind" {
            let Some(source) = mount.source() else {
                return Err(SpecError::Unusable(format!(
                    "mount {}: a bind mount without a source; name one",
                    target.display()
                )));
            };
            let source = bundle.dir.join(source);
            let found = std::fs::metadata(&source).map_err(|error| {
                SpecError::Unusable(format!(
                    "mount {}: source {}: {}; give one that exists",
                    target.display(),
                    source.display(),
                    plain(&error)
                ))
            })?;
            let overlay = overlays.of_others().filter(|_| found.is_dir());
            let read_only = options.flags.contains(MountFlags::RDONLY);
            self.tree(source, read_only || overlay.is_some(), overlay)
        } else {
            let source = mount.source().as_ref().map_or(kind, |source| source.to_str().unwrap_or(kind));
            let kind = match kind {
                // With the nodes and links that every container has.
                "tmpfs" if target == Path::new("/dev") => "devtmpfs",
                "cgroup" if host_is_unified() => "cgroup2",
                _ => kind,
            };
            MountKind::Own {
                kind: kind.to_owned(),
                source: Text::Utf8(source.to_owned()),
                options: Text::Utf8(options.own.join(",")),
            }
        };
        self.mounts.push(ContainerMount { target: target.clone().into(), what, flags: options.flags.bits() });
        Ok(())
    }
}

/// Whether the host has control groups of version 2 alone: containers find what it has.
fn host_is_unified() -> bool {
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type == CGROUP2_SUPER_MAGIC)
}

/// A device of the specification.
pub fn device(device: &LinuxDevice) -> Device {
    let kind = match device.typ() {
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        _ => libc::S_IFCHR,
    };
    Device {
        path: device.path().clone().into(),
        mode: kind | device.file_mode().unwrap_or(0o666) & 0o7777,
        number: (device.major() as u32, device.minor() as u32),
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_mounts() {
        let parse = |list: &[&str]| Options::parse(&list.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>());
        let options = parse(&["nosuid", "strictatime", "mode=755", "size=65536k", "ro"]);
        assert_eq!(options.flags, MountFlags::NOSUID | MountFlags::RDONLY);
        assert_eq!(options.own, ["mode=755", "size=65536k"]);
        assert!(parse(&["rbind", "rprivate"]).bind);
        assert_eq!(parse(&["ro", "rw"]).flags, MountFlags::empty());
    }
}
