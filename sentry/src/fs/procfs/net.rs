//! /proc/PID/net: the sockets of a network namespace, and its one interface.
//!
//! Those are listed that some process has open, and connections that wait to be accepted; one that is only on its way in a message is not.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::socket::{IPPROTO_TCP, IPPROTO_UDP};

use crate::fs::pseudo::{StaticDir, Text, TextFile};
use crate::net::listing::{Shown, ShownInet, ShownUnix};
use crate::net::{Loopback, NetNamespace, Socket};
use crate::task::Task;
use crate::vfs::{File, SuperBlock};
use crate::{Kernel, Result};

/// Bytes of a line of /proc/net/tcp and udp, without the newline.
const TCP_LINE: usize = 149;
const UDP_LINE: usize = 127;

/// State of TCP that waits for connections.
const LISTEN: u8 = 10;

/// What is in the directory.
pub(super) fn files(sb: &Arc<SuperBlock>, task: &Arc<Task>) -> StaticDir {
    let mut files = StaticDir::default();
    for (name, say) in [("arp", arp as Say), ("dev", devices), ("if_inet6", addresses), ("route", routes)] {
        files.add(name, TextFile::inode(sb, Lines { task: Arc::downgrade(task), say }));
    }
    for table in [Table::Tcp, Table::Tcp6, Table::Udp, Table::Udp6, Table::Unix] {
        files.add(table.name(), TextFile::inode(sb, Sockets { task: Arc::downgrade(task), table }));
    }
    files
}

#[derive(Clone, Copy)]
enum Table {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
    Unix,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Table::Tcp => "tcp",
            Table::Tcp6 => "tcp6",
            Table::Udp => "udp",
            Table::Udp6 => "udp6",
            Table::Unix => "unix",
        }
    }

    fn has(self, shown: &ShownInet) -> bool {
        match self {
            Table::Tcp => shown.protocol == IPPROTO_TCP && !shown.v6,
            Table::Tcp6 => shown.protocol == IPPROTO_TCP && shown.v6,
            Table::Udp => shown.protocol == IPPROTO_UDP && !shown.v6,
            Table::Udp6 => shown.protocol == IPPROTO_UDP && shown.v6,
            Table::Unix => false,
        }
    }
}

/// What a file says of a network namespace.
type Say = fn(&NetNamespace) -> String;

/// A file about the interfaces.
struct Lines {
    task: Weak<Task>,
    say: Say,
}

impl Text for Lines {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        Ok((self.say)(&*namespace(&self.task)?).into_bytes())
    }

    fn owner(&self) -> (u32, u32, u32) {
        (0o444, 0, 0)
    }
}

/// The network namespace of a task that is still there: EINVAL.
fn namespace(task: &Weak<Task>) -> Result<Arc<NetNamespace>> {
    let own = task.upgrade().and_then(|task| task.resources()).ok_or(Errno::EINVAL)?;
    Ok(Arc::clone(&own.namespaces.net))
}

/// /proc/net/dev: `lo` alone. Sockets hand over what they send themselves, so that no packet ever passes there.
fn devices(_: &NetNamespace) -> String {
    "Inter-|   Receive                                                |  Transmit\n \
     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
     lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0\n"
        .to_owned()
}

/// /proc/net/route: what is routed beyond the own addresses: nothing.
fn routes(_: &NetNamespace) -> String {
    const WIDTH: usize = 127;
    padded("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT", WIDTH)
}

/// /proc/net/if_inet6: address, number of the interface, length of the prefix, scope (of the host), flags (permanent), name.
fn addresses(net: &NetNamespace) -> String {
    match net.loopback() {
        Loopback::Up => format!("{:032x} 01 80 10 80       lo\n", 1),
        Loopback::Down => String::new(),
    }
}

/// /proc/net/arp: `lo` has no neighbours.
fn arp(_: &NetNamespace) -> String {
    "IP address       HW type     Flags       HW address            Mask     Device\n".to_owned()
}

struct Sockets {
    task: Weak<Task>,
    table: Table,
}

impl Text for Sockets {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        let task = self.task.upgrade().ok_or(Errno::EINVAL)?;
        let net = namespace(&self.task)?;
        let mut out = Vec::new();
        let header = match self.table {
            Table::Unix => "Num       RefCount Protocol Flags    Type St Inode Path\n".to_owned(),
            Table::Tcp => padded(HEADER_TCP, TCP_LINE),
            Table::Udp => padded(HEADER_UDP, UDP_LINE),
            Table::Tcp6 => format!("{HEADER_TCP6}\n"),
            Table::Udp6 => format!("{HEADER_UDP6}\n"),
        };
        out.extend(header.into_bytes());
        let mut number = 0;
        each_socket(task.kernel(), &net, |file, socket| {
            let inode = file.path.inode();
            let (_, uid, _) = inode.owner();
            match socket.ops().shown() {
                Shown::Unix(shown) if matches!(self.table, Table::Unix) => unix(&mut out, &shown, inode.ino),
                Shown::Inet(all) => {
                    for shown in all.iter().filter(|shown| self.table.has(shown)) {
                        out.extend(inet(self.table, number, shown, uid, inode.ino).into_bytes());
                        number += 1;
                    }
                }
                Shown::Unix(_) => {}
            }
        });
        Ok(out)
    }

    fn owner(&self) -> (u32, u32, u32) {
        (0o444, 0, 0)
    }
}

const HEADER_TCP: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const HEADER_UDP: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops";
const HEADER_TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const HEADER_UDP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops";

fn padded(line: &str, width: usize) -> String {
    format!("{line:<width$}\n")
}

/// A line of /proc/net/tcp or udp, IPv6 or not. Nothing is ever on its way or lost here, so that no timer runs; the last numbers
/// of TCP are those of a connection that has just begun.
fn inet(table: Table, number: usize, shown: &ShownInet, uid: u32, ino: u64) -> String {
    let (place, received) = (shown.place(), shown.received);
    let ino = if shown.accepted { ino } else { 0 };
    let common = format!("{place} {:08X}:{received:08X} 00:{:08X} {:08X} {uid:5} {:8} {ino}", 0, 0, 0, 0);
    let pointer = "0".repeat(16);
    match table {
        Table::Tcp | Table::Tcp6 => {
            let rest = if shown.state == LISTEN { "100 0 0 10 0" } else { "20 0 0 10 -1" };
            let line = format!("{number:4}: {common} 1 {pointer} {rest}");
            if matches!(table, Table::Tcp) { padded(&line, TCP_LINE) } else { line + "\n" }
        }
        _ => {
            let line = format!("{number:5}: {common} 2 {pointer} 0");
            if matches!(table, Table::Udp) { padded(&line, UDP_LINE) } else { line + "\n" }
        }
    }
}

fn unix(out: &mut Vec<u8>, shown: &ShownUnix, ino: u64) {
    const ACCEPTS: u32 = 1 << 16;
    const UNCONNECTED: u8 = 1;
    const CONNECTED: u8 = 3;
    let flags = if shown.listens { ACCEPTS } else { 0 };
    let (references, state) = if shown.connected { (3, CONNECTED) } else { (2, UNCONNECTED) };
    let mut line = String::new();
    // Pointers of the kernel are nobody's business (kernel.kptr_restrict).
    let _ = write!(
        line,
        "{:016}: {references:08X} {:08X} {flags:08X} {:04X} {state:02X} {ino:5}",
        0, 0, shown.kind
    );
    out.extend(line.into_bytes());
    if let Some(name) = shown.name() {
        out.push(b' ');
        out.extend(name);
    }
    out.push(b'\n');
}

/// Every socket of a namespace that some process has open, once.
fn each_socket(kernel: &Kernel, net: &Arc<NetNamespace>, mut tell: impl FnMut(&File, &Socket)) {
    let mut seen = HashSet::new();
    each_open_file(kernel, |file| {
        if let Some(socket) = file.ops().as_any().downcast_ref::<Socket>()
            && Arc::ptr_eq(socket.ops().net(), net)
            && seen.insert(file.id)
        {
            tell(file, socket);
        }
    });
}

/// Every open file of every process, as often as it is in a table.
pub(super) fn each_open_file(kernel: &Kernel, mut tell: impl FnMut(&Arc<File>)) {
    let groups: Vec<_> = kernel.tree.lock().iter().map(|node| Arc::clone(&node.group)).collect();
    let mut seen = HashSet::new();
    for group in groups {
        for thread in group.threads() {
            let Some(files) = thread.resources().map(|own| Arc::clone(&own.files)) else { continue };
            if !seen.insert(Arc::as_ptr(&files)) {
                continue;
            }
            let mut from = 0;
            while let Some((fd, file)) = files.next_open(from) {
                tell(&file);
                from = fd + 1;
            }
        }
    }
}
