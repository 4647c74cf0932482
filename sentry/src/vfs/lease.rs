//! Leases (fcntl(2), F_SETLEASE): an open file is told before somebody else opens the file in a way that would matter
//! to it, and has time to give the lease up.
//!
//! Leases are kept with the locks of a file. Nothing here waits or signals: whoever opens breaks them, sends the signals
//! and waits on [`FileLocks::wait_queue`].

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use abi::Errno;

use super::file::File;
use super::inode::Inode;
use super::lock::{FileLocks, Held, HeldKind, LockKind};
use crate::Result;

/// How long a holder may take (`/proc/sys/fs/lease-break-time`).
const BREAK_TIME: Duration = Duration::from_secs(45);

/// A lease.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    id: u64,
    file: Weak<File>,
    fd: i32,
    /// The process that has taken it.
    pid: i32,
    kind: LockKind,
    /// It is to become this (`None`: to go) by then.
    breaking: Option<(Option<LockKind>, Instant)>,
}

impl Lease {
    /// As /proc/locks shows it.
    pub(super) fn held(&self) -> Held {
        let kind = self.breaking.map_or(Some(self.kind), |(to, _)| to);
        Held { what: HeldKind::Lease { breaking: self.breaking.is_some() }, kind, pid: self.pid }
    }

    pub(super) fn is_of(&self, file: u64) -> bool {
        self.id == file
    }
}

/// Somebody who is to be told that a lease must go.
pub struct Broken {
    /// The file with the lease.
    pub file: Arc<File>,
    /// Its number when the lease was taken.
    pub fd: i32,
}

/// What stands in the way of an open.
pub struct InTheWay {
    /// Who has just been told to give way.
    pub told: Vec<Broken>,
    /// When the last of those in the way is out of time.
    pub until: Instant,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file {}", self.id)
    }
}

impl FileLocks {
    /// Takes a lease for `file`, which process `pid` has as `fd`, or changes the one it has: EAGAIN when others have the file open in a way that does
    /// not go with it.
    pub fn set_lease(
        &self,
        inode: &Inode,
        file: &Arc<File>,
        (pid, fd): (i32, i32),
        kind: LockKind,
    ) -> Result<()> {
        let access = file.access();
        let busy = match kind {
            LockKind::Shared => inode.writers() != 0,
            LockKind::Exclusive => {
                let (own_writer, own_reader) = (u32::from(access.write), u32::from(!access.write));
                inode.writers() != own_writer || inode.readers() != own_reader
            }
        };
        if busy {
            return Err(Errno::EAGAIN);
        }
        self.change_leases(|leases| {
            for other in leases.iter().filter(|other| !other.is_of(file.id)) {
                if kind == LockKind::Exclusive || other.breaking.is_some() {
                    return Err(Errno::EAGAIN);
                }
            }
            match leases.iter_mut().find(|lease| lease.is_of(file.id)) {
                Some(own) => {
                    // What is being broken may only get weaker.
                    if own.breaking.is_some_and(|(to, _)| to != Some(kind)) {
                        return Err(Errno::EAGAIN);
                    }
                    (own.kind, own.breaking) = (kind, None);
                }
                None => {
                    let file_ref = Arc::downgrade(file);
                    leases.push(Lease { id: file.id, file: file_ref, fd, pid, kind, breaking: None });
                }
            }
            Ok(())
        })
    }

    /// Gives the lease of `file` up: EAGAIN when it has none.
    pub fn end_lease(&self, file: u64) -> Result<()> {
        self.change_leases(|leases| {
            let at = leases.iter().position(|lease| lease.is_of(file)).ok_or(Errno::EAGAIN)?;
            leases.swap_remove(at);
            Ok(())
        })
    }

    /// The lease of `file`: what it is, or is about to become.
    pub fn lease(&self, file: u64) -> Option<LockKind> {
        self.with_leases(|leases| {
            let lease = leases.iter().find(|lease| lease.is_of(file))?;
            lease.breaking.map_or(Some(lease.kind), |(to, _)| to)
        })
    }

    /// Whether an open (for writing, or a truncation, if `writes`) has to wait for a lease.
    pub fn has_lease_against(&self, writes: bool) -> bool {
        self.with_leases(|leases| leases.iter().any(|lease| conflicts(lease, writes)))
    }

    /// Breaks what is in the way of such an open; `None` when nothing is. Leases whose time is up go.
    pub fn break_leases(&self, writes: bool) -> Option<InTheWay> {
        let now = Instant::now();
        let to = if writes { None } else { Some(LockKind::Shared) };
        let mut told = Vec::new();
        let mut until = None;
        let changed = self.change_leases(|leases| {
            let before = leases.len();
            let is_over = |lease: &Lease| lease.breaking.is_some_and(|(_, end)| end <= now);
            // The time for becoming weaker is up too.
            leases.retain(|lease| !is_over(lease) || !conflicts(lease, writes));
            for lease in leases.iter_mut().filter(|lease| conflicts(lease, writes)) {
                let (_, end) = *lease.breaking.get_or_insert_with(|| {
                    told.extend(lease.file.upgrade().map(|file| Broken { file, fd: lease.fd }));
                    (to, now + BREAK_TIME)
                });
                if to.is_none() {
                    lease.breaking = Some((None, end));
                }
                until = until.max(Some(end));
            }
            if before == leases.len() { Err(Errno::EAGAIN) } else { Ok(()) }
        });
        let _ = changed;
        until.map(|until| InTheWay { told, until })
    }
}

fn conflicts(lease: &Lease, writes: bool) -> bool {
    writes || lease.kind == LockKind::Exclusive
}
