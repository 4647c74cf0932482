//! Namespaces of the host that a bundle names. The sandbox has its own of every kind; of the host's, only the network matters:
//! hooks and engines set it up.

use std::fs::File;
use std::path::Path;

use host::namespace::{MountFlags, Namespaces};
use oci_spec::runtime::{LinuxNamespaceType as Kind, Spec};

use super::store::Store;
use super::{ContainerError, disk};
use crate::config::{PodNamespace, PodNamespaces};

/// Whether this process is the host's root, or as good as that: not root of an ordinary user's namespace.
pub fn is_hosts_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    // Engines of an ordinary user map that user's id to 0, and others behind it.
    rustix::process::geteuid().is_root()
        && map.lines().next().is_none_or(|line| line.split_whitespace().nth(1) == Some("0"))
}

/// Which network namespace the processes of a container are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// The runtime's.
    Host,
    /// A new one.
    New,
    /// The one at this path.
    At(std::path::PathBuf),
}

/// The network namespace that a bundle asks for. Every path that it names has to be there.
pub fn network(spec: &Spec) -> Result<Network, ContainerError> {
    let namespaces =
        spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    let mut network = Network::Host;
    for namespace in namespaces {
        if let Some(path) = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            std::fs::metadata(path).map_err(disk(path, "namespace"))?;
        }
        if namespace.typ() == Kind::Network {
            network = match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
                Some(path) => Network::At(path.clone()),
                None => Network::New,
            };
        }
    }
    Ok(network)
}

/// Which namespaces a further container of `sandbox` is in: its own where the bundle says nothing but their kind, another
/// container's where it names those of that container's process, and the first container's where it names none or what nobody
/// in the sandbox has, such as a network that an engine has set up for the pod.
pub fn of_pod(spec: &Spec, store: &Store, sandbox: &str) -> PodNamespaces {
    let namespaces =
        spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    let one = |kind: Kind| {
        let Some(named) = namespaces.iter().find(|namespace| namespace.typ() == kind) else {
            return PodNamespace::Pod;
        };
        match named.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            None => PodNamespace::New,
            Some(path) => process_of(path).map_or(PodNamespace::Pod, |pid| container_of(pid, store, sandbox)),
        }
    };
    PodNamespaces { pid: one(Kind::Pid), ipc: one(Kind::Ipc), net: one(Kind::Network) }
}

/// The process of a path `/proc/PID/ns/KIND`.
fn process_of(path: &Path) -> Option<i32> {
    let rest = path.strip_prefix("/proc").ok()?;
    let mut parts = rest.iter();
    let pid = parts.next()?.to_str()?.parse().ok()?;
    (parts.next()? == "ns").then_some(pid)
}

/// The container of a sandbox that a process of the host stands for.
fn container_of(pid: i32, store: &Store, sandbox: &str) -> PodNamespace {
    // Those that can't be read are not there any more, or not yet.
    let ids = store.ids().unwrap_or_default();
    let known = ids.into_iter().filter_map(|id| store.load(&id).ok());
    let mut others =
        known.map(|(_, saved)| saved).filter(|saved| saved.sandbox == sandbox && !saved.began_sandbox());
    let found = others.find(|saved| saved.monitor.as_ref().is_some_and(|monitor| monitor.pid == pid));
    found.map_or(PodNamespace::Pod, |saved| PodNamespace::Of(saved.id))
}

/// Namespaces besides that of the network which a bundle wants new, and in which createContainer hooks run.
pub fn own(spec: &Spec) -> Namespaces {
    let namespaces =
        spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    let new = |namespace: &&oci_spec::runtime::LinuxNamespace| {
        namespace.path().as_ref().is_none_or(|path| path.as_os_str().is_empty())
    };
    namespaces.iter().filter(new).fold(Namespaces::empty(), |all, namespace| {
        all | match namespace.typ() {
            Kind::Mount => Namespaces::MOUNT,
            Kind::Ipc => Namespaces::IPC,
            Kind::Uts => Namespaces::UTS,
            _ => Namespaces::empty(),
        }
    })
}

/// Makes namespaces for this process; an ordinary user goes without. What is mounted here stays here, but what is mounted
/// outside is seen.
pub fn make(namespaces: Namespaces) -> std::io::Result<()> {
    match host::namespace::unshare(namespaces) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
        Ok(()) if namespaces.contains(Namespaces::MOUNT) => {
            let flags = MountFlags::SLAVE | MountFlags::REC;
            host::namespace::mount(Path::new("none"), Path::new("/"), "", flags, "")
        }
        made => made,
    }
}

/// Moves this process there.
pub fn enter(network: &Network) -> std::io::Result<()> {
    match network {
        Network::Host => Ok(()),
        Network::New => host::namespace::unshare(Namespaces::NET),
        Network::At(path) => host::namespace::enter(File::open(path)?, Namespaces::NET),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_paths() {
        assert_eq!(process_of(Path::new("/proc/4711/ns/ipc")), Some(4711));
        for other in ["/proc/self/ns/ipc", "/proc/4711/root", "/proc/4711", "/run/netns/pod", "/proc"] {
            assert_eq!(process_of(Path::new(other)), None, "{other}");
        }
    }
}
