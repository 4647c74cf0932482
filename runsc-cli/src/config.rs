//! What the command line hands to the Sentry and the Gofer: plain data, written as JSON into a memory file that the
//! process reads before it confines itself.
//!
//! Both processes are this same program, so the format has no versions.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Descriptors of Sentry and Gofer, besides standard error, which is their log.
pub mod fd {
    use std::os::fd::RawFd;

    /// The process's configuration, a memory file.
    pub const CONFIG: RawFd = 3;
    /// Messages between the command line and the Sentry.
    pub const CONTROL: RawFd = 4;
    /// The connection between Sentry and Gofer.
    pub const GOFER: RawFd = 5;
    /// From the Gofer to the command line: a byte comes once its ids are mapped, a line goes when it can't go on.
    pub const GO: RawFd = 6;
    /// The connection between the Gofer of an ordinary user and the process that knows owners.
    pub const OWNERS: RawFd = 7;
    /// Standard input, output and error of the program: three in a row.
    pub const STDIO: [RawFd; 3] = [6, 7, 8];
    /// Where `--strace` lines go.
    pub const STRACE: RawFd = 9;
    /// Where the profile goes, a memory file; only with `--profile`.
    pub const PROFILE: RawFd = 10;
    /// The socket on which the Sentry of a container is asked for things.
    pub const LISTENER: RawFd = 11;
}

/// Everything the Sentry has to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SentryConfig {
    /// When the command was started, on CLOCK_MONOTONIC, for the timeline in the log.
    pub started_ns: u64,
    /// Whether there is a log.
    pub log: bool,
    /// As whom the Sentry runs on the host.
    pub identity: Identity,
    /// What runs guest code.
    pub platform: PlatformName,
    /// Host name in the sandbox.
    pub hostname: Text,
    /// Whether every system call is printed.
    pub strace: bool,
    /// Whether there is a profile to be made.
    pub profile: bool,
    /// Mounts besides those every sandbox has, parents first. The root comes first.
    pub mounts: Vec<Mount>,
    /// What the caller knows of the standard streams.
    pub streams: [Stream; 3],
    /// Whether there is a file of the host for layers: the last descriptor that comes with the order to start.
    pub has_store: bool,
    /// Whether a tree may have sockets that programs of the host can reach.
    pub binds_sockets: bool,
    /// What to run; none in a self-test and in a container.
    pub process: Option<Process>,
    /// The first container of a sandbox that engines run.
    pub container: Option<Container>,
}

/// Everything the Gofer has to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GoferConfig {
    /// Whether there is a log.
    pub log: bool,
    /// As whom the caller starts sandboxes: the Gofer of an ordinary user needs a user namespace to confine itself.
    pub identity: Identity,
    /// The trees it serves; a [`Mount`] names one by its place here.
    pub trees: Vec<Tree>,
    /// The container's user namespace, if it has one: user ids, group ids.
    pub id_maps: Option<[Vec<IdMap>; 2]>,
}

/// Ids of a container's user namespace and what they are on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// First id in the container.
    pub inside: u32,
    /// First id on the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A host directory or file that the Gofer serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Absolute path on the host.
    pub source: Text,
    /// Whether the Gofer refuses every change.
    pub read_only: bool,
    /// Directories below it that are shown empty.
    pub hide: Vec<Text>,
    /// Whether the program may connect to the Unix sockets in it.
    pub host_sockets: bool,
    /// Whether programs of the host can reach the Unix sockets that the program makes in it.
    pub bound_sockets: bool,
    /// Whether the program may open the FIFOs in it.
    pub host_fifos: bool,
}

/// A tree of the Gofer's, mounted in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the sandbox.
    pub target: Text,
    /// Place in [`GoferConfig::trees`].
    pub tree: usize,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// The layer above it that changes go to, if there is one.
    pub overlay: Option<Upper>,
    /// Whether somebody else may change the tree.
    pub sharing: Sharing,
}

/// A layer for the changes of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upper {
    /// Whether what is in its files lies in the file of the host for that; otherwise in the sandbox's memory.
    pub on_disk: bool,
    /// Bytes that it holds at most.
    pub size: Option<u64>,
}

/// Whether a tree of the host is the sandbox's alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// Nobody else changes it while the sandbox runs: names, attributes and what is not there are kept in mind.
    Exclusive,
    /// Somebody may: every lookup and stat asks, so that their changes are seen at once.
    Shared,
}

/// The host ids of the Sentry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Those of the caller, an ordinary user.
    Caller {
        /// The caller's uid.
        uid: u32,
        /// The caller's gid.
        gid: u32,
    },
    /// Ids without any right on the host: the caller is root.
    Nobody {
        /// The uid.
        uid: u32,
        /// The gid.
        gid: u32,
    },
}

/// A standard stream as the caller sees it: the Sentry may have a description of its own with other flags, and its user
/// namespace has no names for most owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Owner of the file.
    pub uid: u32,
    /// Group of the file.
    pub gid: u32,
    /// Whether it is non-blocking.
    pub nonblocking: bool,
}

/// The program and how it starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Name and arguments, at least one.
    pub args: Vec<Text>,
    /// `NAME=value` strings.
    pub env: Vec<Text>,
    /// Working directory, absolute.
    pub cwd: Text,
    /// Ids in the sandbox.
    pub user: User,
    /// File mode creation mask.
    pub umask: u32,
    /// Resource limits: `RLIMIT_*` number, soft, hard (`u64::MAX`: none).
    pub limits: Vec<(u32, u64, u64)>,
    /// Blocked signals, bit `n - 1` for signal `n`.
    pub blocked_signals: u64,
    /// Ignored signals, likewise.
    pub ignored_signals: u64,
    /// Whether the caller's process group has a shell that can continue it: if not, terminal stop signals are dropped.
    pub job_control: bool,
    /// Whether the caller's process group is the foreground one of its terminal.
    pub foreground: bool,
    /// Capabilities; without a word root has all, and others none.
    pub capabilities: Option<Capabilities>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// /proc/PID/oom_score_adj.
    pub oom_score_adj: i32,
    /// Nice value to start with.
    pub nice: i32,
    /// Filter on its system calls: code, jumps for yes and no, operand of each instruction.
    pub seccomp: Option<Vec<(u16, u8, u8, u32)>>,
}

/// The five sets of capabilities, bit `n` for capability `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Upper bound of what exec can give.
    pub bounding: u64,
    /// In force.
    pub effective: u64,
    /// May be made effective.
    pub permitted: u64,
    /// Kept over exec of files that inherit them.
    pub inheritable: u64,
    /// Kept over exec of plain files.
    pub ambient: u64,
}

/// A namespace that a further container of a sandbox is in; the first has the sandbox's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodNamespace {
    /// That of the first container.
    #[default]
    Pod,
    /// One of its own.
    New,
    /// That of the container with this id.
    Of(String),
}

/// Namespaces that containers of a sandbox may share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodNamespaces {
    /// Processes.
    pub pid: PodNamespace,
    /// System V objects and POSIX message queues.
    pub ipc: PodNamespace,
    /// Interfaces, ports and abstract names.
    pub net: PodNamespace,
}

/// A container, as its Sentry has to know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Container {
    /// What the engine calls it.
    pub id: String,
    /// Host name; that of the sandbox without one.
    pub hostname: Option<Text>,
    /// NIS domain name.
    pub domainname: Option<Text>,
    /// Which namespaces of the sandbox it is in.
    pub namespaces: PodNamespaces,
    /// What is mounted, in this order. The root comes first.
    pub mounts: Vec<ContainerMount>,
    /// Whether the root is read-only once everything is mounted.
    pub read_only_root: bool,
    /// Device nodes of its /dev.
    pub devices: Vec<Device>,
    /// Paths that nobody in it may look into.
    pub masked_paths: Vec<Text>,
    /// Paths that nobody in it may change.
    pub read_only_paths: Vec<Text>,
    /// Values below /proc/sys.
    pub sysctl: Vec<(String, String)>,
    /// Whether its process may say that it is ready, in [`NOTIFY_DIR`].
    pub notifies: bool,
    /// What it is granted.
    pub limits: Limits,
    /// What the caller knows of the standard streams.
    pub streams: [Stream; 3],
    /// The same of the descriptors behind them.
    pub passed: Vec<Stream>,
    /// Whether there is a file of the host for layers: the descriptor behind those.
    pub has_store: bool,
    /// What runs in it.
    pub process: Process,
    /// What runs in it before that, each to its end.
    pub start_hooks: Vec<StartHook>,
}

/// Where a container has the socket that its process says in that it is ready: `notify.sock`, as with runc.
pub const NOTIFY_DIR: &str = "/run/notify";

/// A mount of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMount {
    /// Absolute path in the container.
    pub target: Text,
    /// What is mounted.
    pub what: MountKind,
    /// `ST_*` flags of the mount.
    pub flags: u64,
}

/// What a container is granted, or is to be granted from now on: `None` leaves as it is, and -1 is without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Threads: the Sentry sees to that.
    pub threads: Option<i64>,
    /// Bytes of memory: the host's control groups see to this and the others, and the guest is told.
    pub memory: Option<i64>,
    /// Microseconds of processor time in a period.
    pub cpu_quota_us: Option<i64>,
    /// Length of a period.
    pub cpu_period_us: Option<u64>,
    /// Part of the processors when others want them.
    pub cpu_shares: Option<u64>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A tree of the container's Gofer.
    Tree {
        /// Place in [`GoferConfig::trees`].
        tree: usize,
        /// The layer above it that changes go to, if there is one.
        overlay: Option<Upper>,
    },
    /// A file system of the sandbox's kernel.
    Own {
        /// Its type.
        kind: String,
        /// The source, as /proc/mounts shows it.
        source: Text,
        /// Its options.
        options: Text,
    },
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute path in the container.
    pub path: Text,
    /// Kind and permissions, `S_IF*` included.
    pub mode: u32,
    /// Device number.
    pub number: (u32, u32),
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A hook that runs in the container just before its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartHook {
    /// The program, in the container.
    pub path: Text,
    /// Its arguments, its name first.
    pub args: Vec<Text>,
    /// Its environment.
    pub env: Vec<Text>,
    /// The state of the container, for its standard input.
    pub state: Text,
    /// How long it may take.
    pub timeout_ms: Option<u64>,
}

/// Ids of a process in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Platforms by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PlatformName {
    /// The first of the others that works here.
    Auto,
    /// System calls become signals, which a stub in the guest's process hands over: the fastest.
    Systrap,
    /// The same without rewriting of programs, for comparison: each call is a signal.
    #[value(hide = true)]
    #[serde(rename = "systrap-signals")]
    SystrapSignals,
    /// Traces guest processes with ptrace(2): works everywhere, slowest.
    Ptrace,
}

impl PlatformName {
    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            PlatformName::Auto => "auto",
            PlatformName::Systrap => "systrap",
            PlatformName::SystrapSignals => "systrap-signals",
            PlatformName::Ptrace => "ptrace",
        }
    }
}

/// A string of the host: bytes, mostly UTF-8. In JSON a string where it is UTF-8, else an array of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// UTF-8.
    Utf8(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Text {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Utf8(text) => text.as_bytes(),
            Text::Bytes(bytes) => bytes,
        }
    }

    /// As the host's kind of string.
    pub fn into_os_string(self) -> OsString {
        OsString::from_vec(match self {
            Text::Utf8(text) => text.into_bytes(),
            Text::Bytes(bytes) => bytes,
        })
    }

    /// For messages.
    pub fn display(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Text {
        String::from_utf8(bytes).map_or_else(|error| Text::Bytes(error.into_bytes()), Text::Utf8)
    }
}

impl From<OsString> for Text {
    fn from(text: OsString) -> Text {
        text.into_vec().into()
    }
}

impl From<PathBuf> for Text {
    fn from(path: PathBuf) -> Text {
        path.into_os_string().into()
    }
}

/// Writes a configuration into a new memory file, ready to be read from its beginning.
pub fn store<T: Serialize>(config: &T) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("config", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(fd);
    file.write_all(&serde_json::to_vec(config)?)?;
    file.rewind()?;
    Ok(file.into())
}

/// Reads back what [`store`] wrote.
pub fn load<T: DeserializeOwned>(fd: OwnedFd) -> io::Result<T> {
    let mut text = Vec::new();
    File::from(fd).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Nanoseconds on CLOCK_MONOTONIC.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive() {
        for bytes in [&b"plain"[..], b"", b"\xff\xfe=\x80", "ümlaut".as_bytes()] {
            let texts = vec![Text::from(bytes.to_vec())];
            assert_eq!(load::<Vec<Text>>(store(&texts).unwrap()).unwrap(), texts);
            assert_eq!(texts[0].as_bytes(), bytes);
        }
    }
}
