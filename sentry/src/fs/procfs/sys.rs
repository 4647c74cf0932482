//! /proc/sys: what programs read there, and the little they write.

use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_SYS_ADMIN;
use abi::inet;
use abi::socket::{IPPROTO_IP, IPPROTO_TCP};

use super::ipc;
use crate::fs::pseudo::{PseudoDir, StaticDir, Text, TextFile};
use crate::net::options::DEFAULT_BUFFER;
use crate::task::current_task;
use crate::uts::UtsNamespace;
use crate::vfs::file::open_files;
use crate::vfs::{Caller, File, Inode, SuperBlock, Want, fanotify, inotify};
use crate::{Kernel, Result};

/// What limits open files as a whole: nothing does.
const FILE_MAX: i64 = i64::MAX;

/// A number or text that can only be read.
struct Value<F>(F);

impl<F: Fn() -> String + Send + Sync + 'static> Text for Value<F> {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        Ok(format!("{}\n", self.0()).into_bytes())
    }

    fn owner(&self) -> (u32, u32, u32) {
        (0o444, 0, 0)
    }

    fn permission(&self, inode: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        by_mode_alone(inode, caller, want)
    }
}

/// No capability overrides the mode of a setting.
fn by_mode_alone(inode: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
    let (mode, uid, gid) = inode.owner();
    let shift = match caller.creds {
        creds if creds.euid == uid => 6,
        creds if creds.egid == gid || creds.groups.binary_search(&gid).is_ok() => 3,
        _ => 0,
    };
    if want.bits() & !(mode >> shift) & 7 == 0 { Ok(()) } else { Err(Errno::EACCES) }
}

fn value(sb: &Arc<SuperBlock>, text: String) -> Arc<Inode> {
    TextFile::inode(sb, Value(move || text.clone()))
}

fn dir(sb: &Arc<SuperBlock>, entries: Vec<(&str, Arc<Inode>)>) -> Arc<Inode> {
    let mut dir = StaticDir::default();
    for (name, inode) in entries {
        dir.add(name, inode);
    }
    PseudoDir::inode(sb, dir)
}

/// The directory.
pub(super) fn root(sb: &Arc<SuperBlock>, kernel: &Arc<Kernel>) -> Arc<Inode> {
    let number = |n: i64| value(sb, n.to_string());
    let text = |t: &str| value(sb, t.to_owned());
    let random = dir(
        sb,
        vec![
            ("boot_id", value(sb, kernel.boot_id.get_or_init(uuid).clone())),
            ("entropy_avail", number(256)),
            ("poolsize", number(256)),
            ("uuid", TextFile::inode(sb, Value(uuid))),
        ],
    );
    let pty = dir(sb, vec![("max", number(4096)), ("reserve", number(1024))]);
    let kernel_dir = dir(
        sb,
        vec![
            ("cap_last_cap", number(i64::from(abi::capability::CAP_LAST_CAP))),
            ("core_pattern", text("core")),
            ("core_uses_pid", number(0)),
            ("dmesg_restrict", number(1)),
            ("domainname", TextFile::inode(sb, Name { kernel: Arc::clone(kernel), domain: true })),
            ("hostname", TextFile::inode(sb, Name { kernel: Arc::clone(kernel), domain: false })),
            ("kptr_restrict", number(1)),
            ("modules_disabled", number(1)),
            ("msgmax", ipc::number(sb, kernel, 0..=i32::MAX as u32, |ipc| &ipc.limits.msgmax)),
            ("msgmnb", ipc::number(sb, kernel, 0..=i32::MAX as u32, |ipc| &ipc.limits.msgmnb)),
            ("msgmni", ipc::number(sb, kernel, 0..=ipc::MOST, |ipc| &ipc.limits.msgmni)),
            ("ngroups_max", number(65536)),
            ("osrelease", text(crate::system::RELEASE)),
            ("ostype", text("Linux")),
            ("overflowgid", number(65534)),
            ("overflowuid", number(65534)),
            ("panic", number(0)),
            ("perf_event_paranoid", number(4)),
            ("pid_max", number(i64::from(crate::task::PID_MAX))),
            ("printk", text("4\t4\t1\t7")),
            ("pty", pty),
            ("random", random),
            ("randomize_va_space", number(2)),
            ("sem", ipc::semaphores(sb, kernel)),
            ("shm_rmid_forced", number(0)),
            ("shmall", ipc::long_number(sb, kernel, |ipc| &ipc.limits.shmall)),
            ("shmmax", ipc::long_number(sb, kernel, |ipc| &ipc.limits.shmmax)),
            ("shmmni", ipc::number(sb, kernel, 0..=ipc::MOST, |ipc| &ipc.limits.shmmni)),
            ("tainted", number(0)),
            ("threads-max", number(kernel.max_tasks as i64)),
            ("version", text(crate::system::VERSION)),
        ],
    );
    let vm = dir(
        sb,
        vec![
            ("drop_caches", TextFile::inode(sb, DropCaches)),
            ("legacy_va_layout", number(0)),
            ("max_map_count", number(65530)),
            ("mmap_min_addr", number(65536)),
            ("nr_hugepages", number(0)),
            ("overcommit_kbytes", number(0)),
            ("overcommit_memory", number(0)),
            ("overcommit_ratio", number(50)),
            ("swappiness", number(60)),
        ],
    );
    let fanotify = dir(
        sb,
        vec![
            ("max_queued_events", number(fanotify::MAX_QUEUED as i64)),
            ("max_user_groups", number(fanotify::MAX_USER_GROUPS as i64)),
            ("max_user_marks", number(fanotify::MAX_USER_MARKS as i64)),
        ],
    );
    let inotify_dir = dir(
        sb,
        vec![
            ("max_queued_events", number(inotify::MAX_QUEUED as i64)),
            ("max_user_instances", number(inotify::MAX_USER_INSTANCES as i64)),
            ("max_user_watches", number(inotify::MAX_USER_WATCHES as i64)),
        ],
    );
    let epoll = dir(sb, vec![("max_user_watches", number(1_000_000))]);
    let setting = |range, slot| ipc::number(sb, kernel, range, slot);
    let mqueue = dir(
        sb,
        vec![
            ("msg_default", setting(1..=65_536, |ipc| &ipc.mqueues.limits.msg_default)),
            ("msg_max", setting(1..=65_536, |ipc| &ipc.mqueues.limits.msg_max)),
            ("msgsize_default", setting(128..=16_777_216, |ipc| &ipc.mqueues.limits.msgsize_default)),
            ("msgsize_max", setting(128..=16_777_216, |ipc| &ipc.mqueues.limits.msgsize_max)),
            ("queues_max", setting(0..=i32::MAX as u32, |ipc| &ipc.mqueues.limits.queues_max)),
        ],
    );
    let aio = kernel.aio.clone();
    let aio_nr = TextFile::inode(sb, Value(move || aio.requests().to_string()));
    let file_nr = TextFile::inode(sb, Value(|| format!("{}\t0\t{FILE_MAX}", open_files())));
    let fs = dir(
        sb,
        vec![
            ("aio-max-nr", number(crate::aio::MAX_REQUESTS as i64)),
            ("aio-nr", aio_nr),
            ("epoll", epoll),
            ("fanotify", fanotify),
            ("file-max", number(FILE_MAX)),
            ("file-nr", file_nr),
            ("inotify", inotify_dir),
            ("lease-break-time", number(45)),
            ("leases-enable", number(1)),
            ("mount-max", number(100_000)),
            ("mqueue", mqueue),
            ("nr_open", number(1_048_576)),
            ("overflowgid", number(65534)),
            ("overflowuid", number(65534)),
            ("pipe-max-size", number(1_048_576)),
            ("pipe-user-pages-hard", number(0)),
            ("pipe-user-pages-soft", number(16384)),
            ("protected_fifos", number(0)),
            ("protected_hardlinks", number(0)),
            ("protected_regular", number(0)),
            ("protected_symlinks", number(0)),
            ("suid_dumpable", number(0)),
        ],
    );
    let net = net(sb);
    dir(sb, vec![("fs", fs), ("kernel", kernel_dir), ("net", net), ("vm", vm)])
}

/// /proc/sys/net: what sockets do here.
fn net(sb: &Arc<SuperBlock>) -> Arc<Inode> {
    use crate::net::inet::options::default_of;
    use crate::net::inet::{ports, tcp};
    let number = |n: i64| value(sb, n.to_string());
    let initial = |level, option| number(default_of(level, option).into());
    let core = dir(
        sb,
        vec![
            ("rmem_default", number(DEFAULT_BUFFER.into())),
            ("rmem_max", number(DEFAULT_BUFFER.into())),
            ("somaxconn", number(crate::net::MAX_BACKLOG.into())),
            ("wmem_default", number(DEFAULT_BUFFER.into())),
            ("wmem_max", number(DEFAULT_BUFFER.into())),
        ],
    );
    let (first, last) = (ports::EPHEMERAL.start(), ports::EPHEMERAL.end());
    let ipv4 = dir(
        sb,
        vec![
            ("ip_default_ttl", initial(IPPROTO_IP, inet::IP_TTL)),
            ("ip_local_port_range", value(sb, format!("{first}\t{last}"))),
            ("ip_unprivileged_port_start", number(tcp::FIRST_FREE_PORT.into())),
            // Nobody: there are no such sockets.
            ("ping_group_range", value(sb, "1\t0".to_owned())),
            ("tcp_available_congestion_control", value(sb, tcp::CONGESTION.to_owned())),
            ("tcp_congestion_control", value(sb, tcp::CONGESTION.to_owned())),
            ("tcp_fin_timeout", initial(IPPROTO_TCP, inet::TCP_LINGER2)),
            ("tcp_keepalive_intvl", initial(IPPROTO_TCP, inet::TCP_KEEPINTVL)),
            ("tcp_keepalive_probes", initial(IPPROTO_TCP, inet::TCP_KEEPCNT)),
            ("tcp_keepalive_time", initial(IPPROTO_TCP, inet::TCP_KEEPIDLE)),
            ("tcp_syn_retries", initial(IPPROTO_TCP, inet::TCP_SYNCNT)),
        ],
    );
    let unix = dir(sb, vec![("max_dgram_qlen", number(crate::net::unix::MAX_QUEUE as i64))]);
    dir(sb, vec![("core", core), ("ipv4", ipv4), ("unix", unix)])
}

/// vm.drop_caches: takes what to drop, and says nothing.
struct DropCaches;

impl Text for DropCaches {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        Err(Errno::EACCES)
    }

    fn write(&self, _file: &File, text: &[u8]) -> Result<()> {
        match super::write::number(text)? {
            0 => return Err(Errno::EINVAL),
            _ => crate::vfs::drop_all_cached(),
        }
        Ok(())
    }

    fn owner(&self) -> (u32, u32, u32) {
        (0o200, 0, 0)
    }

    fn permission(&self, inode: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        by_mode_alone(inode, caller, want)
    }
}

/// A random UUID (version 4).
fn uuid() -> String {
    let mut bytes = [0u8; 16];
    // Without random bytes it is all zero: not unique, but still of the right form.
    let _ = host::random::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// hostname and domainname.
struct Name {
    kernel: Arc<Kernel>,
    domain: bool,
}

impl Name {
    /// The namespace of whoever reads or writes.
    fn uts(&self) -> Arc<UtsNamespace> {
        let resources = current_task().and_then(|task| task.resources());
        resources.map_or_else(|| Arc::clone(&self.kernel.uts_ns), |r| Arc::clone(&r.namespaces.uts))
    }
}

impl Text for Name {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        let uts = self.uts();
        let mut name = if self.domain { uts.domainname() } else { uts.hostname() };
        name.push(b'\n');
        Ok(name)
    }

    fn write(&self, file: &File, text: &[u8]) -> Result<()> {
        if !file.opener.has_cap(CAP_SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        let name: Vec<u8> = text.iter().copied().take_while(|b| *b != b'\n' && *b != 0).take(64).collect();
        if self.domain {
            self.uts().set_domainname(name);
        } else {
            self.uts().set_hostname(name);
        }
        Ok(())
    }

    fn owner(&self) -> (u32, u32, u32) {
        (0o644, 0, 0)
    }
}
