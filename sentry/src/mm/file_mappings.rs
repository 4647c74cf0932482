//! Which address spaces map a file whose pages are in the memory file: truncation and hole punching visit them.
//!
//! Order for the file: first change its own pages, then call [`FileMappings::truncate`] or
//! [`FileMappings::invalidate`], with no lock held of level `Mm` or above. A fault that asked the file before the change
//! notices by the generation that its answer is stale.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use platform::Prot;
use sync::RwLock;

use super::ranges::clip;
use super::vma::Vma;
use super::{Inner, PAGE, page_up};

/// The inside of an address space: a reference to it keeps no file open.
type Space = RwLock<Inner, sync::levels::Mm>;

/// Embedded in such a file.
#[derive(Default)]
pub struct FileMappings {
    generation: AtomicU64,
    spaces: sync::Mutex<Vec<(u64, Weak<Space>)>, sync::levels::FileMappings>,
}

impl FileMappings {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often pages have been taken away.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Notes that address space `id` maps the file. It stays noted until it has gone.
    pub(super) fn add(&self, id: u64, space: Weak<Space>) {
        let mut spaces = self.spaces.lock();
        if spaces.iter().any(|(known, _)| *known == id) {
            return;
        }
        // Doubling: those that have gone are found without a visit at each addition.
        if spaces.len() == spaces.capacity() {
            spaces.retain(|(_, space)| space.strong_count() > 0);
        }
        spaces.push((id, space));
    }

    /// Whether any address space has mapped the file and still exists.
    pub fn is_empty(&self) -> bool {
        !self.spaces.lock().iter().any(|(_, space)| space.strong_count() > 0)
    }

    /// The file now ends at `size`: whole pages behind it vanish from all address spaces, private copies included, and
    /// the next touch is SIGBUS.
    pub fn truncate(&self, size: u64) {
        if let Some(first) = page_up(size) {
            self.visit(first, u64::MAX, true);
        }
    }

    /// The file has other pages in `[offset, offset + len)` now (a hole was punched): the next touch finds them. Private
    /// copies stay. A `len` of `u64::MAX` means [`truncate`](Self::truncate) to `offset`.
    pub fn invalidate(&self, offset: u64, len: u64) {
        if len == u64::MAX {
            return self.truncate(offset);
        }
        let end = offset.saturating_add(len).saturating_add(PAGE - 1) / PAGE * PAGE;
        self.visit(offset / PAGE * PAGE, end, false);
    }

    /// Whether somebody has a shared mapping of the file that can be written, or be made so (F_SEAL_WRITE is EBUSY then).
    pub fn is_writable_somewhere(&self) -> bool {
        self.living().iter().any(|space| {
            let inner = space.read();
            let mut shared = inner.vmas.iter().filter(|(_, vma)| vma.is_shared() && is_of(vma, self));
            shared.any(|(_, vma)| vma.max_prot.contains(Prot::WRITE))
        })
    }

    fn living(&self) -> Vec<Arc<Space>> {
        self.spaces.lock().iter().filter_map(|(_, space)| space.upgrade()).collect()
    }

    fn visit(&self, start: u64, end: u64, copies_too: bool) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        for space in self.living() {
            space.write().forget_file_pages(self, start, end, copies_too);
        }
    }
}

fn is_of(vma: &Vma, mappings: &FileMappings) -> bool {
    vma.file().and_then(|file| file.mappings()).is_some_and(|known| std::ptr::eq(known, mappings))
}

impl Inner {
    /// Takes away the pages of a file's range `[start, end)`.
    pub fn forget_file_pages(&mut self, of: &FileMappings, start: u64, end: u64, copies_too: bool) {
        let mut gone = Vec::new();
        for (range, vma) in self.vmas.iter() {
            let vma_end = vma.offset.saturating_add(range.end - range.start);
            if !is_of(vma, of) || vma_end <= start || vma.offset >= end {
                continue;
            }
            let part = clip(&(vma.offset..vma_end), &(start..end));
            let shown = range.start + (part.start - vma.offset)..range.start + (part.end - vma.offset);
            if copies_too {
                gone.push(shown);
            } else {
                let pages = self.pages.pmas.clipped(shown);
                gone.extend(pages.into_iter().filter(|(_, pma)| !pma.private).map(|(at, _)| at));
            }
        }
        for range in gone {
            // The host could not take it away: the guest goes on seeing pages that it still holds references on.
            let _ = self.unmap_pages(range);
        }
    }
}
