//! The controller `pids`: how many threads a group and those in it may have.
//!
//! Nobody counts until somebody sets a limit; then each thread that is to be made counts those of the limited groups above
//! it, with the tree of processes locked, so that no two get the last place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::Errno;

use super::Cgroup;
use crate::task::{ThreadGroup, Tree};
use crate::{Kernel, Result};

/// More than any number of threads (PID_MAX_LIMIT).
const PID_MAX: i64 = 4 << 20;

/// pids.max and what came of it.
pub(super) struct Limit {
    /// `u32::MAX` is `max`.
    max: AtomicU32,
    /// How often a thread was refused.
    refused: AtomicU64,
}

impl Default for Limit {
    fn default() -> Limit {
        Limit { max: AtomicU32::new(u32::MAX), refused: AtomicU64::new(0) }
    }
}

impl Limit {
    pub(super) fn max(&self) -> String {
        match self.max.load(Ordering::Relaxed) {
            u32::MAX => "max\n".to_owned(),
            max => format!("{max}\n"),
        }
    }

    pub(super) fn set(&self, text: &str) -> Result<()> {
        let max = match text {
            "max" => u32::MAX,
            text => match text.parse::<i64>().map_err(|_| Errno::EINVAL)? {
                max @ 0..=PID_MAX => max as u32,
                _ => return Err(Errno::EINVAL),
            },
        };
        self.max.store(max, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn events(&self) -> String {
        format!("max {}\n", self.refused.load(Ordering::Relaxed))
    }
}

impl Kernel {
    /// Threads in a group and those in it.
    pub(super) fn threads_in(&self, cgroup: &Arc<Cgroup>) -> usize {
        self.members_of(cgroup, true).iter().map(|group| group.threads().len()).sum()
    }
}

/// Whether a process may get one thread more, in itself or in a child: EAGAIN when a group above it is full.
pub fn may_have_one_more(tree: &Tree, group: &ThreadGroup) -> Result<()> {
    for own in group.cgroups() {
        for above in own.upwards() {
            let max = above.pids.max.load(Ordering::Relaxed);
            if max == u32::MAX {
                continue;
            }
            let threads: usize = tree
                .iter()
                .filter(|node| above.holds(&node.group, true))
                .map(|node| node.group.threads().len())
                .sum();
            if threads >= max as usize {
                above.pids.refused.fetch_add(1, Ordering::Relaxed);
                return Err(Errno::EAGAIN);
            }
        }
    }
    Ok(())
}
