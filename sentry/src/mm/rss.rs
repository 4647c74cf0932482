//! How much memory an address space has touched.
//!
//! Pages are shown before they are touched and the host fills them without telling us, so it is asked which ones exist:
//! only when somebody wants to know.

use std::ops::Range;
use std::sync::atomic::Ordering;

use platform::Frames;

use super::mappable::Place;
use super::pma::Pma;
use super::{MemoryManager, PAGE};

/// Bytes in memory, by kind (RssAnon, RssFile, RssShmem of proc_pid_status(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rss {
    /// Private memory.
    pub anonymous: u64,
    /// Pages of files.
    pub file: u64,
    /// Shared memory and tmpfs.
    pub shmem: u64,
}

impl Rss {
    /// All of it (VmRSS).
    pub fn total(self) -> u64 {
        self.anonymous + self.file + self.shmem
    }
}

impl MemoryManager {
    /// What is in memory now. Also raises the peak.
    pub fn rss(&self) -> Rss {
        let rss = self.rss_of(0..u64::MAX);
        self.peak_rss.fetch_max(rss.total(), Ordering::Relaxed);
        rss
    }

    /// The most that was in memory at any time somebody asked, in KiB (VmHWM, ru_maxrss).
    pub fn peak_rss_kib(&self) -> u64 {
        self.rss();
        self.peak_rss.load(Ordering::Relaxed) / 1024
    }

    /// What is in memory of a range of addresses.
    pub fn rss_of(&self, range: Range<u64>) -> Rss {
        let pages = self.inner.read().pages.pmas.clipped(range);
        let mut rss = Rss::default();
        let mut anonymous = Vec::new();
        for (at, pma) in &pages {
            let len = at.end - at.start;
            match (pma.frames(len), pma.private) {
                (Some(frames), true) => anonymous.push(frames),
                (Some(frames), false) => rss.shmem += self.memory.resident_bytes_in(frames),
                (None, _) => rss.file += file_bytes(pma, len),
            }
        }
        anonymous.sort_unstable_by_key(|run: &Frames| run.offset);
        let mut at = 0;
        while at < anonymous.len() {
            let mut run = anonymous[at];
            at += 1;
            // Neighbours are asked for together.
            while at < anonymous.len() && run.offset + run.len == anonymous[at].offset {
                run.len += anonymous[at].len;
                at += 1;
            }
            rss.anonymous += self.memory.resident_bytes_in(run);
        }
        rss
    }
}

/// Mappings of files up to this size (libraries) count as a whole: asking costs more than it tells.
const SMALL_FILE: u64 = 4 << 20;

/// Pages of the file that the host has in memory, mapped or not.
fn file_bytes(pma: &Pma, len: u64) -> u64 {
    let Place::Host(file, offset) = &pma.place else { return 0 };
    if len <= SMALL_FILE {
        return len;
    }
    let resident = file.resident(*offset, (len / PAGE) as usize).unwrap_or_default();
    resident.iter().filter(|page| **page).count() as u64 * PAGE
}
