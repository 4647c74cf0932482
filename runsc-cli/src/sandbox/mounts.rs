//! The mounts of a sandbox: the trees of the Gofer, and the kernel's own file systems, which every sandbox has.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use abi::Errno;
use abi::open::OpenFlags;
use anyhow::Context;
use gofer_protocol::Client;
use platform::MemoryFile;
use sentry::Kernel;
use sentry::fs::gofer::Sharing;
use sentry::fs::overlay::{Store, over_store};
use sentry::task::Credentials;
use sentry::vfs::open::How;
use sentry::vfs::resolve::{LookupFlags, lookup};
use sentry::vfs::{Caller, Dentry, FsContext, Mount, MountFlags, MountNamespace, MountRequest, Path};

use crate::config;

/// A mount could not be made.
#[derive(Debug, thiserror::Error)]
#[error("mount {target}: {error}; {advice}")]
pub struct MountError {
    target: String,
    error: Errno,
    advice: &'static str,
}

const ADVICE_TREE: &str = "the gofer's part of --debug-log says why";
const ADVICE_IMAGE: &str = "it has to be an EROFS image, compressed with LZ4 or not at all";
const ADVICE_TARGET: &str = "the target has to be there, or its directory writable";
const ADVICE_REPORT: &str = "please report this";

/// One of the kernel's own file systems.
struct Own {
    target: &'static str,
    kind: &'static str,
    options: &'static str,
    flags: MountFlags,
}

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// Mounted in every sandbox, in this order. What the host has in these places is hidden.
const EVERY_SANDBOX: [Own; 6] = [
    Own { target: "/proc", kind: "proc", options: "", flags: SAFE },
    Own { target: "/sys", kind: "sysfs", options: "", flags: SAFE.union(MountFlags::RDONLY) },
    Own { target: "/dev", kind: "devtmpfs", options: "mode=755", flags: MountFlags::NOSUID },
    Own {
        target: "/dev/pts",
        kind: "devpts",
        options: "gid=5,mode=620,ptmxmode=666",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
    },
    Own {
        target: "/dev/shm",
        kind: "tmpfs",
        options: "mode=1777",
        flags: MountFlags::NOSUID.union(MountFlags::NODEV),
    },
    Own { target: "/dev/mqueue", kind: "mqueue", options: "", flags: SAFE },
];

/// Mounted where the root has nothing of its own there.
const WHERE_EMPTY: Own = Own {
    target: "/tmp",
    kind: "tmpfs",
    options: "mode=1777",
    flags: MountFlags::NOSUID.union(MountFlags::NODEV),
};

/// Makes the mount namespace of the first program. The first of `trees` is the root; `disk` holds the layers that are not
/// in memory.
pub fn build(
    kernel: &Kernel,
    trees: &[config::Mount],
    client: &Arc<Client>,
    disk: Option<&Arc<MemoryFile>>,
) -> Result<Arc<MountNamespace>, MountError> {
    let (root, volumes) = trees.split_first().ok_or_else(|| failed("/", ADVICE_REPORT)(Errno::EINVAL))?;
    let namespace = MountNamespace::new(
        kernel.next_namespace_id(),
        tree(kernel, root, client, disk)?,
        Arc::clone(&kernel.user_ns),
    );
    let builder = Builder::new(kernel, &namespace);
    for own in &EVERY_SANDBOX {
        builder.mount_own(own)?;
    }
    if builder.is_empty_directory(WHERE_EMPTY.target) {
        builder.mount_own(&WHERE_EMPTY)?;
    }
    for volume in volumes {
        let target = volume.target.display();
        let mount = tree(kernel, volume, client, disk)?;
        let is_dir = mount.root.inode.is_dir();
        let place =
            builder.place(volume.target.as_bytes(), is_dir).map_err(failed(&target, ADVICE_TARGET))?;
        namespace.attach(&mount, &place).map_err(failed(&target, ADVICE_TARGET))?;
    }
    Ok(namespace)
}

fn failed(target: &str, advice: &'static str) -> impl FnOnce(Errno) -> MountError {
    let target = target.to_owned();
    move |error| MountError { target, error, advice }
}

/// A tree of the Gofer's, with a layer in memory above it if that is wanted.
fn tree(
    kernel: &Kernel,
    mount: &config::Mount,
    client: &Arc<Client>,
    disk: Option<&Arc<MemoryFile>>,
) -> Result<Arc<Mount>, MountError> {
    let target = mount.target.display();
    let number = u16::try_from(mount.tree).map_err(|_| failed(&target, "too many volumes")(Errno::EINVAL))?;
    let sharing = match mount.sharing {
        config::Sharing::Exclusive => Sharing::Exclusive,
        config::Sharing::Shared => Sharing::Shared,
    };
    let lower = sentry::fs::gofer::mount(client, number, sharing).map_err(failed(&target, ADVICE_TREE))?;
    // A root that is no directory is an image of one.
    let lower = match mount.target.as_bytes() {
        b"/" if lower.inode.is_regular() => image(kernel, lower).map_err(failed(&target, ADVICE_IMAGE))?,
        _ => lower,
    };
    let (dentry, source) =
        under_layer(kernel, lower, mount.overlay, disk).map_err(failed(&target, ADVICE_REPORT))?;
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, mount.read_only);
    Ok(Mount::new(dentry, source, flags))
}

/// A tree with the layer above it that it is to have, and what is shown as the source of the mount.
pub fn under_layer(
    kernel: &Kernel,
    lower: Arc<Dentry>,
    layer: Option<config::Upper>,
    disk: Option<&Arc<MemoryFile>>,
) -> Result<(Arc<Dentry>, &'static [u8]), Errno> {
    let Some(layer) = layer.filter(|_| lower.inode.is_dir()) else { return Ok((lower, b"gofer")) };
    let creds = Arc::new(Credentials::for_user(0, 0, &[], Arc::clone(&kernel.user_ns)));
    let contents = match layer.on_disk {
        true => disk.ok_or(Errno::EINVAL)?,
        false => kernel.vfs.memory(),
    };
    let store = Store { contents: Arc::clone(contents), max_bytes: layer.size };
    Ok((over_store(vec![lower], &store, &kernel.vfs, &creds)?, b"overlay"))
}

/// The memory file in a file of the host, for layers.
pub fn open_store(fd: OwnedFd) -> anyhow::Result<Arc<MemoryFile>> {
    MemoryFile::on_disk(fd).context(
        "the file for --overlay2; choose a directory whose file system knows sparse files, and has room",
    )
}

/// The root of the EROFS image in a file of the Gofer's.
fn image(kernel: &Kernel, file: Arc<Dentry>) -> Result<Arc<Dentry>, Errno> {
    let mount = Mount::new(Arc::clone(&file), b"image", MountFlags::empty());
    let place = Path::new(mount, file);
    let roots = FsContext::new(place.clone(), 0).roots();
    let creds = Arc::new(Credentials::for_user(0, 0, &[], Arc::clone(&kernel.user_ns)));
    let caller = Caller { creds: &creds, vfs: &kernel.vfs, roots: &roots, umask: 0, task: None };
    sentry::fs::erofs::new_root(sentry::fs::erofs::open_image(place, &caller)?, kernel.vfs.memory())
}

/// Changes a mount namespace before anybody is in it.
pub struct Builder<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    creds: Arc<Credentials>,
    fs: Arc<FsContext>,
    /// The namespace.
    pub namespace: &'a Arc<MountNamespace>,
}

impl<'a> Builder<'a> {
    /// For this namespace.
    pub fn new(kernel: &'a Kernel, namespace: &'a Arc<MountNamespace>) -> Builder<'a> {
        let creds = Arc::new(Credentials::for_user(0, 0, &[], Arc::clone(&kernel.user_ns)));
        Builder { kernel, creds, fs: FsContext::new(namespace.root(), 0), namespace }
    }

    /// Does something with all rights, from the root.
    pub fn as_kernel<T>(&self, act: impl FnOnce(&Caller<'_>, &Path) -> Result<T, Errno>) -> Result<T, Errno> {
        let roots = self.fs.roots();
        let vfs = &self.kernel.vfs;
        let caller = Caller { creds: &self.creds, vfs, roots: &roots, umask: 0, task: None };
        act(&caller, &roots.root)
    }

    fn mount_own(&self, own: &Own) -> Result<(), MountError> {
        let file_system = match self.file_system(own) {
            // Not built yet.
            Err(Errno::ENODEV) => {
                tracing::warn!("no {} at {}", own.kind, own.target);
                return Ok(());
            }
            found => found.map_err(failed(own.target, ADVICE_REPORT))?,
        };
        let mount = Mount::new(file_system, own.kind.as_bytes(), own.flags);
        match self.place(own.target.as_bytes(), true) {
            Ok(place) => self.namespace.attach(&mount, &place).map_err(failed(own.target, ADVICE_REPORT)),
            // A bare root without a layer: there is no place for it.
            Err(errno) => {
                tracing::warn!("no {} at {}: {errno}", own.kind, own.target);
                Ok(())
            }
        }
    }

    fn file_system(&self, own: &Own) -> Result<Arc<Dentry>, Errno> {
        let request = MountRequest {
            source: own.kind.as_bytes(),
            options: own.options.as_bytes(),
            read_only: own.flags.contains(MountFlags::RDONLY),
        };
        self.new_file_system(own.kind, &request)
    }

    /// A file system of the kernel's own; ENODEV when there is no such type.
    pub fn new_file_system(&self, kind: &str, request: &MountRequest<'_>) -> Result<Arc<Dentry>, Errno> {
        self.as_kernel(|caller, _| self.kernel.vfs.file_system_type(kind.as_bytes())?.mount(request, caller))
    }

    /// The place to mount at, made with the directories above it where it is missing.
    pub fn place(&self, target: &[u8], is_dir: bool) -> Result<Path, Errno> {
        self.as_kernel(|caller, root| {
            match lookup(caller, root, target, LookupFlags::FOLLOW) {
                Err(Errno::ENOENT) => {}
                found => return found,
            }
            for end in (1..target.len()).filter(|&at| target[at] == b'/') {
                match caller.mkdir(root, &target[..end], 0o755) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
            if is_dir {
                caller.mkdir(root, target, 0o755)?;
            } else {
                caller.mknod(root, target, sentry::vfs::NewKind::Regular, 0o644)?;
            }
            lookup(caller, root, target, LookupFlags::FOLLOW)
        })
    }

    /// Whether there is a directory with nothing in it, or nothing at all.
    fn is_empty_directory(&self, target: &str) -> bool {
        self.as_kernel(|caller, root| {
            let how = How::open(OpenFlags::DIRECTORY.bits(), 0)?;
            let file = caller.open(root, target.as_bytes(), &how)?.now()?;
            let mut empty = true;
            file.ops().read_dir(&file, 2, &mut |_, _, _, _| {
                empty = false;
                false
            })?;
            Ok(empty)
        })
        .unwrap_or(true)
    }
}
