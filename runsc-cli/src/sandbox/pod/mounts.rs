//! The mounts of a container: the trees of its Gofer and the kernel's own file systems, as its bundle lists them, and what is
//! hidden or made read-only after that.

use std::sync::Arc;

use abi::Errno;
use abi::open::{O_WRONLY, OpenFlags};
use abi::stat::{S_IFBLK, S_IFCHR, S_IFIFO, S_IFMT, makedev};
use anyhow::{Context, anyhow, bail};
use gofer_protocol::Client;
use platform::MemoryFile;
use sentry::Kernel;
use sentry::fs::gofer::Sharing;
use sentry::vfs::io::BufSource;
use sentry::vfs::namespace::Recursive;
use sentry::vfs::open::How;
use sentry::vfs::resolve::{LookupFlags, lookup};
use sentry::vfs::{Mount, MountFlags, MountNamespace, MountRequest, NewKind, Path};

use crate::config::{Container, ContainerMount, Device, MountKind, Text, Upper};
use crate::sandbox::mounts::{Builder, under_layer};

/// What a path that must not be looked into shows.
const MASK: &str = "mode=555,nr_inodes=1,size=4k";

/// Makes the mount namespace of a container.
pub fn build(
    kernel: &Kernel,
    container: &Container,
    client: &Arc<Client>,
    disk: Option<&Arc<MemoryFile>>,
) -> anyhow::Result<Arc<MountNamespace>> {
    let (root, others) =
        container.mounts.split_first().ok_or_else(|| anyhow!("no root; please report this"))?;
    let MountKind::Tree { tree, overlay } = root.what else {
        bail!("the root is no tree; please report this")
    };
    let root = tree_mount(kernel, (client, disk), tree, overlay, root.flags)
        .map_err(|errno| anyhow!("root: {errno}; the gofer's part of the debug log says why"))?;
    let id = kernel.next_namespace_id();
    let namespace = MountNamespace::new(id, Arc::clone(&root), Arc::clone(&kernel.user_ns));
    let builder = Builder::new(kernel, &namespace);
    for mount in others {
        attach(&builder, mount, (client, disk))
            .with_context(|| format!("mount {}", mount.target.display()))?;
    }
    // A FUSE device only where the configuration lists it; with what it says of it.
    let own_dev = |mount: &&ContainerMount| {
        mount.target.as_bytes() == b"/dev"
            && matches!(&mount.what, MountKind::Own { kind, .. } if kind == "devtmpfs")
    };
    if others.iter().any(|mount| own_dev(&mount)) {
        builder.as_kernel(|caller, root| caller.unlink(root, b"/dev/fuse")).context("/dev/fuse")?;
    }
    for device in &container.devices {
        make_device(&builder, device).with_context(|| format!("device {}", device.path.display()))?;
    }
    for (name, value) in &container.sysctl {
        set_sysctl(&builder, name, value).with_context(|| format!("sysctl {name}={value}"))?;
    }
    for path in &container.read_only_paths {
        make_read_only(&builder, path).with_context(|| format!("read-only path {}", path.display()))?;
    }
    for path in &container.masked_paths {
        mask(&builder, path).with_context(|| format!("masked path {}", path.display()))?;
    }
    if container.read_only_root {
        root.set_flags(root.flags() | MountFlags::RDONLY);
    }
    Ok(namespace)
}

/// Shows a terminal of the host, which the devpts of the container has a name for, as /dev/console.
pub fn show_console(kernel: &Kernel, namespace: &Arc<MountNamespace>, terminal: &Path) -> anyhow::Result<()> {
    let builder = Builder::new(kernel, namespace);
    let place = builder.place(b"/dev/console", false).map_err(|errno| anyhow!("/dev/console: {errno}"))?;
    drop(namespace.bind(terminal, Recursive::No, &place).map_err(|errno| anyhow!("/dev/console: {errno}"))?);
    Ok(())
}

fn tree_mount(
    kernel: &Kernel,
    (client, disk): (&Arc<Client>, Option<&Arc<MemoryFile>>),
    tree: usize,
    overlay: Option<Upper>,
    flags: u64,
) -> Result<Arc<Mount>, Errno> {
    let number = u16::try_from(tree).map_err(|_| Errno::E2BIG)?;
    let sharing = if overlay.is_some() { Sharing::Exclusive } else { Sharing::Shared };
    let lower = sentry::fs::gofer::mount(client, number, sharing)?;
    let (dentry, source) = under_layer(kernel, lower, overlay, disk)?;
    Ok(Mount::new(dentry, source, MountFlags::from_bits_truncate(flags)))
}

fn attach(
    builder: &Builder<'_>,
    wanted: &ContainerMount,
    sources: (&Arc<Client>, Option<&Arc<MemoryFile>>),
) -> anyhow::Result<()> {
    let target = wanted.target.as_bytes();
    if let MountKind::Own { kind, source, .. } = &wanted.what
        && kind == "cgroup"
    {
        return attach_hierarchies(builder, target, source, MountFlags::from_bits_truncate(wanted.flags));
    }
    let mount = match &wanted.what {
        MountKind::Tree { tree, overlay } => {
            tree_mount(builder.kernel, sources, *tree, *overlay, wanted.flags)
                .map_err(|errno| anyhow!("{errno}; the gofer's part of the debug log says why"))?
        }
        MountKind::Own { kind, source, options } => {
            match own_mount(builder, kind, source, options, wanted.flags) {
                Err(Errno::ENODEV) => bail!("no file system type {kind}; leave this mount out"),
                Err(errno) => {
                    bail!("{kind} with options {:?}: {errno}; correct the options", options.display())
                }
                Ok(mount) => mount,
            }
        }
    };
    let place = match builder.place(target, mount.root.inode.is_dir()) {
        Ok(place) => place,
        Err(errno) if matches!(&wanted.what, MountKind::Own { kind, .. } if kind == "cgroup2") => {
            tracing::warn!("no place for cgroups at {}: {errno}", wanted.target.display());
            return Ok(());
        }
        Err(errno) => bail!("{errno}; the target has to be there, or its directory writable"),
    };
    builder
        .namespace
        .attach(&mount, &place)
        .map_err(|errno| anyhow!("{errno}; the target is of another kind"))
}

/// Hierarchies of version 1, each below a directory in memory, as hosts have them.
const HIERARCHIES: [(&str, &str); 6] = [
    ("cpu", "cpu"),
    ("cpuacct", "cpuacct"),
    ("cpuset", "cpuset"),
    ("memory", "memory"),
    ("pids", "pids"),
    ("systemd", "none,name=systemd"),
];

/// Mounts them. A container without a place for them has none.
fn attach_hierarchies(
    builder: &Builder<'_>,
    target: &[u8],
    source: &Text,
    flags: MountFlags,
) -> anyhow::Result<()> {
    let place = match builder.place(target, true) {
        Ok(place) => place,
        Err(errno) => {
            tracing::warn!("no place for cgroups at {}: {errno}", target.escape_ascii());
            return Ok(());
        }
    };
    let new = |kind: &str, options: &str, source: &Text| {
        let writable = (flags - MountFlags::RDONLY).bits();
        own_mount(builder, kind, source, &Text::Utf8(options.to_owned()), writable)
            .map_err(|errno| anyhow!("{kind} {options}: {errno}"))
    };
    let mut mounts = Vec::new();
    let mut attach = |mount: Arc<Mount>, place: &Path| {
        builder.namespace.attach(&mount, place).map_err(|errno| anyhow!("attaching it: {errno}"))?;
        mounts.push(mount);
        Ok::<_, anyhow::Error>(())
    };
    attach(new("tmpfs", "mode=755", &Text::Utf8("tmpfs".to_owned()))?, &place)?;
    for (name, options) in HIERARCHIES {
        let at = [target, b"/", name.as_bytes()].concat();
        let place = builder.place(&at, true).map_err(|errno| anyhow!("{name}: {errno}"))?;
        attach(new("cgroup", options, source)?, &place)?;
    }
    if flags.contains(MountFlags::RDONLY) {
        mounts.iter().for_each(|mount| mount.set_flags(mount.flags() | MountFlags::RDONLY));
    }
    Ok(())
}

fn own_mount(
    builder: &Builder<'_>,
    kind: &str,
    source: &Text,
    options: &Text,
    flags: u64,
) -> Result<Arc<Mount>, Errno> {
    let flags = MountFlags::from_bits_truncate(flags);
    let (kind, options): (&str, &[u8]) = match kind {
        "cgroup2" => (kind, b""),
        "mqueue" if builder.kernel.vfs.file_system_type(b"mqueue").is_err() => {
            tracing::warn!("no message queues: an empty directory stands for them");
            ("tmpfs", b"mode=1777")
        }
        _ => (kind, options.as_bytes()),
    };
    let read_only = flags.contains(MountFlags::RDONLY);
    let request = MountRequest { source: source.as_bytes(), options, read_only };
    let root = builder.new_file_system(kind, &request)?;
    Ok(Mount::new(root, source.as_bytes(), flags))
}

/// A device node. The devices that every container has are there already; others belong to no driver, and opening
/// them fails.
fn make_device(builder: &Builder<'_>, device: &Device) -> anyhow::Result<()> {
    let number = makedev(device.number.0, device.number.1);
    let kind = match device.mode & S_IFMT {
        S_IFCHR => NewKind::CharDevice(number),
        S_IFBLK => NewKind::BlockDevice(number),
        S_IFIFO => NewKind::Fifo,
        other => bail!("mode {other:o} is no device; give type c, b, u or p"),
    };
    let path = device.path.as_bytes();
    let made = builder.as_kernel(|caller, root| {
        for end in (1..path.len()).filter(|&at| path[at] == b'/') {
            match caller.mkdir(root, &path[..end], 0o755) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        let place = caller.mknod(root, path, kind, device.mode & 0o7777)?;
        caller.chown(&place, Some(device.uid), Some(device.gid))
    });
    match made {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        // /dev is a directory of the host.
        Err(errno) => {
            tracing::warn!("no device {}: {errno}", device.path.display());
            Ok(())
        }
    }
}

fn set_sysctl(builder: &Builder<'_>, name: &str, value: &str) -> anyhow::Result<()> {
    let path = [b"sys/", name.replace('.', "/").as_bytes()].concat();
    let written = (|| -> Result<(), Errno> {
        let request = MountRequest { source: b"proc", options: b"", read_only: false };
        let root = builder.new_file_system("proc", &request)?;
        let mount = Mount::new(Arc::clone(&root), b"proc", MountFlags::empty());
        let proc = Path::new(mount, root);
        let file =
            builder.as_kernel(|caller, _| caller.open(&proc, &path, &How::open(O_WRONLY, 0)?)?.now())?;
        file.ops().write(&file, &mut BufSource::new(value.as_bytes()), &mut 0).map(drop)
    })();
    match written {
        Ok(()) => Ok(()),
        // Settings of the network that its stack does not have leave the container as good as before.
        Err(errno) if name.starts_with("net.") => {
            tracing::warn!("sysctl {name} is not set: {errno}");
            Ok(())
        }
        Err(Errno::ENOENT) => bail!("there is no such setting; leave it out"),
        Err(errno) => bail!("{errno}; it can't be changed"),
    }
}

/// The place, or nothing where there is none.
fn find(builder: &Builder<'_>, path: &Text) -> Result<Option<Path>, Errno> {
    match builder.as_kernel(|caller, root| lookup(caller, root, path.as_bytes(), LookupFlags::FOLLOW)) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        found => found.map(Some),
    }
}

fn make_read_only(builder: &Builder<'_>, path: &Text) -> anyhow::Result<()> {
    let Some(place) = find(builder, path)? else { return Ok(()) };
    let flags = place.mount.flags();
    drop(builder.namespace.bind(&place, Recursive::Yes, &place)?);
    // What is on top of it now.
    if let Some(top) = find(builder, path)? {
        top.mount.set_flags(flags | MountFlags::RDONLY);
    }
    Ok(())
}

fn mask(builder: &Builder<'_>, path: &Text) -> anyhow::Result<()> {
    let Some(place) = find(builder, path)? else { return Ok(()) };
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    if place.inode().is_dir() {
        let request = MountRequest { source: b"tmpfs", options: MASK.as_bytes(), read_only: true };
        let mount = Mount::new(builder.new_file_system("tmpfs", &request)?, b"tmpfs", flags);
        return Ok(builder.namespace.attach(&mount, &place)?);
    }
    match find(builder, &Text::Utf8("/dev/null".to_owned()))? {
        Some(null) => {
            drop(builder.namespace.bind(&null, Recursive::No, &place)?);
            Ok(())
        }
        None => bail!("there is no /dev/null to put over it; mount a /dev"),
    }
}

/// Makes the working directory where the image has none, as engines expect.
pub fn make_directory(kernel: &Kernel, namespace: &Arc<MountNamespace>, path: &Text) {
    let builder = Builder::new(kernel, namespace);
    let how = builder.as_kernel(|caller, root| {
        let how = How::open(OpenFlags::DIRECTORY.bits(), 0)?;
        caller.open(root, path.as_bytes(), &how)?.now()
    });
    if matches!(how, Err(Errno::ENOENT))
        && let Err(errno) = builder.place(path.as_bytes(), true)
    {
        tracing::debug!("working directory {}: {errno}", path.display());
    }
}
