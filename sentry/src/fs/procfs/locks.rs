//! /proc/locks (proc_locks(5)).

use std::collections::HashSet;
use std::fmt::Write;

use abi::stat::{major, minor};

use super::net::each_open_file;
use crate::Kernel;
use crate::vfs::Inode;
use crate::vfs::lock::{Held, HeldKind, LockKind};

/// All locks and leases that some process has. Who waits for one is not shown.
pub(super) fn text(kernel: &Kernel) -> String {
    let mut out = String::new();
    let mut seen = HashSet::new();
    let mut number = 0;
    each_open_file(kernel, |file| {
        let inode = file.path.inode();
        let Some(locks) = inode.locks_if_any() else { return };
        if !seen.insert(std::ptr::from_ref::<Inode>(inode)) {
            return;
        }
        for held in locks.held() {
            number += 1;
            line(&mut out, number, &held, inode);
        }
    });
    out
}

fn line(out: &mut String, number: usize, held: &Held, inode: &Inode) {
    let class = match held.what {
        HeldKind::Posix(_) => "POSIX  ADVISORY ",
        HeldKind::Description(_) => "OFDLCK ADVISORY ",
        HeldKind::Flock => "FLOCK  ADVISORY ",
        HeldKind::Lease { breaking: false } => "LEASE  ACTIVE   ",
        HeldKind::Lease { breaking: true } => "LEASE  BREAKING ",
    };
    let kind = match held.kind {
        Some(LockKind::Shared) => "READ",
        Some(LockKind::Exclusive) => "WRITE",
        None => "UNLCK",
    };
    let (dev, ino) = (inode.sb.dev, inode.ino);
    let _ = write!(out, "{number}: {class} {kind} {} {:02x}:{:02x}:{ino} ", held.pid, major(dev), minor(dev));
    let _ = match held.what {
        HeldKind::Posix(range) | HeldKind::Description(range) if range.last != crate::vfs::lock::TO_END => {
            writeln!(out, "{} {}", range.start, range.last)
        }
        HeldKind::Posix(range) | HeldKind::Description(range) => writeln!(out, "{} EOF", range.start),
        _ => writeln!(out, "0 EOF"),
    };
}
