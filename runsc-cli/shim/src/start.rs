//! `start`: makes sure that a shim serves the container, and prints its address.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use prost::Message;
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::api::{RuntimeInfo, RuntimeVersion};
use crate::arguments::Arguments;
use crate::console;

/// Where shims have their sockets, as all of containerd's.
const SOCKETS: &str = "/run/containerd/s";

/// Begin of the sockets' names.
const PREFIX: &str = "runsc-";

/// File of the bundle with the address of the shim.
const ADDRESS: &str = "address";

/// Annotations that say which containers belong together, in the order of their weight.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// containerd's socket for events.
pub fn events_socket(arguments: &Arguments) -> Option<String> {
    let named = std::env::var("TTRPC_ADDRESS").ok().filter(|address| !address.is_empty());
    let usual = (!arguments.address.is_empty()).then(|| format!("{}.ttrpc", arguments.address));
    named.or(usual).map(|address| address.trim_start_matches("unix://").to_owned())
}

/// The id under which a container's shim is found: that of its pod, or its own.
fn group(spec: &[u8], id: &str) -> String {
    let spec: serde_json::Value = serde_json::from_slice(spec).unwrap_or_default();
    let annotation = |name: &&str| spec.get("annotations")?.get(*name)?.as_str().map(str::to_owned);
    GROUPS.iter().find_map(annotation).filter(|group| !group.is_empty()).unwrap_or_else(|| id.to_owned())
}

/// A name for a socket that is the same for the same containerd, namespace and group, and short: 128 bits of FNV-1a.
fn socket_path(address: &str, namespace: &str, group: &str) -> PathBuf {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for part in [address, namespace, group] {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
    Path::new(SOCKETS).join(format!("{PREFIX}{hash:032x}"))
}

pub fn start(arguments: &Arguments) -> Result<()> {
    let spec = std::fs::read("config.json")
        .context("can't read config.json in the working directory, the bundle")?;
    let path = socket_path(&arguments.address, &arguments.namespace, &group(&spec, &arguments.id));
    let folder = path.parent().context("the socket is in no folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    // Two containers of a pod may be started at once.
    let lock = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    // A start that was killed has left what nobody else knows of. An error: the next one may do better.
    if let Err(error) = sweep(folder) {
        eprintln!("containerd-shim-runsc-v1: start: {error:#}");
    }
    if UnixStream::connect(&path).is_err() {
        // Left by a shim that died, if it is there.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).with_context(|| format!("can't make {}", path.display()))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let started = launch(arguments, listener);
        if started.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        started?;
    }
    let address = format!("unix://{}", path.display());
    // containerd finds the shim again by this after a restart.
    write_atomically(Path::new(ADDRESS), address.as_bytes())?;
    let newest: u32 = std::env::var("MAX_SHIM_VERSION").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let answer = if newest >= 3 {
        serde_json::json!({ "version": 3, "address": address, "protocol": "ttrpc" }).to_string()
    } else {
        address
    };
    std::io::stdout().write_all(answer.as_bytes())?;
    Ok(())
}

/// The socket of the shim that serves a container: as the bundle says, or as its name is made where that is gone already.
pub fn socket_of(arguments: &Arguments, bundle: &Path) -> PathBuf {
    let address = std::fs::read_to_string(bundle.join(ADDRESS)).unwrap_or_default();
    match address.trim().strip_prefix("unix://") {
        Some(path) => PathBuf::from(path),
        None => {
            let spec = std::fs::read(bundle.join("config.json")).unwrap_or_default();
            socket_path(&arguments.address, &arguments.namespace, &group(&spec, &arguments.id))
        }
    }
}

/// Removes what shims that died have left in the sockets' folder: `own`, which is that of one that is known to be dead, and what
/// nobody listens at.
pub fn remove_dead_sockets(own: &Path) -> Result<()> {
    let folder = Path::new(SOCKETS);
    let lock = rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    // A pod's other containers may have a new shim already.
    if own.parent() == Some(folder) && UnixStream::connect(own).is_err() {
        remove_if_there(own)?;
    }
    sweep(folder)
}

/// The folder is locked: no shim is about to listen in it.
fn sweep(folder: &Path) -> Result<()> {
    let bound = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    for entry in std::fs::read_dir(folder)?.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let Some(name) = name.to_str() else { continue };
        let is_dead = match console::owner_of_socket(name) {
            // Made without the lock.
            Some(pid) => !Path::new("/proc").join(pid.to_string()).exists(),
            // Those of another network namespace are not listed: only who answers a connection is there.
            None => {
                let is_ours = name.starts_with(PREFIX);
                is_ours && !bound.contains(name) && UnixStream::connect(&path).is_err()
            }
        };
        if is_dead {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Starts the shim that serves.
fn launch(arguments: &Arguments, listener: UnixListener) -> Result<()> {
    let own = std::env::current_exe().context("can't find the shim's own program")?;
    let mut command = Command::new(own);
    command
        .args(["-namespace", &arguments.namespace, "-id", &arguments.id, "-address", &arguments.address])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if arguments.debug {
        command.arg("-debug");
    }
    let child = command.spawn().context("can't start the shim")?;
    write_atomically(Path::new("shim.pid"), child.id().to_string().as_bytes())?;
    protect(child.id());
    Ok(())
}

/// Under memory pressure the shim goes after containerd, not before.
fn protect(pid: u32) {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    if let Ok(score) = own.trim().parse::<i32>() {
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), (score + 1).min(1000).to_string());
    }
}

/// Writes a file whole or not at all: whoever reads it after a death finds the old one or the new one.
pub fn write_atomically(path: &Path, text: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text).with_context(|| format!("can't write {}", new.display()))?;
    std::fs::rename(&new, path).with_context(|| format!("can't write {}", path.display()))
}

/// `-info`: tells containerd 2.x what this is.
pub fn info() -> Result<()> {
    // The options come on standard input; the answer does not depend on them.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let version = RuntimeVersion { version: env!("CARGO_PKG_VERSION").to_owned() };
    let info = RuntimeInfo { name: "io.containerd.runsc.v1".to_owned(), version: Some(version) };
    std::io::stdout().write_all(&info.encode_to_vec())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_a_pod_have_one_shim() {
        let spec = br#"{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}"#;
        assert_eq!(group(spec, "a"), "pod");
        assert_eq!(group(b"{}", "a"), "a");
        assert_eq!(group(b"not json", "a"), "a");
        assert_ne!(socket_path("/a", "n", "x"), socket_path("/a", "nx", ""));
        assert!(socket_path("/a", "n", "x").as_os_str().len() < 100);
    }
}
