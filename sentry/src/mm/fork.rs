//! fork(2): a copy of an address space that shares private pages until they are written.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;

use super::arena::Growth;
use super::cpu_table::CpuTable;
use super::fault::FaultError;
use super::hot::LOOKED_AT;
use super::map::prepared_run;
use super::mappable::Mappable;
use super::pages::share;
use super::shmem::Shmem;
use super::vma::{Source, Vma, VmaFlags};
use super::{Inner, MemoryManager, Trash, host_errno};

/// A file that the child maps, with its generation when the pages were copied.
type Mapped = (Arc<dyn Mappable>, u64);

/// How many threads an address space has at a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The one that forks.
    One,
    /// Others might write while pages are copied, and the child see one write and not one before it.
    Several,
}

impl MemoryManager {
    /// The child's address space.
    pub fn fork(&self, threads: Threads) -> Result<Arc<Self>, Errno> {
        let mut files = Vec::new();
        let table = self.cpu_table().map(|_| CpuTable::new(&self.memory)).transpose()?;
        let child = {
            let mut inner = self.inner.write();
            let mut copied = self.write_pins.lock().clone();
            if threads == Threads::One {
                copied.extend(inner.hot_pages());
            }
            let mut child = inner.fork(&mut files, &copied)?;
            if let (Some(old), Some(new)) = (self.cpu_table(), &table) {
                child.show_instead(old.page(), new.page())?;
            }
            child
        };
        let child = Self::assemble(child);
        if let Some(table) = table {
            child.set_cpu_table(table);
        }
        child.stack_limit.store(self.stack_limit.load(Ordering::Relaxed), Ordering::Relaxed);
        child.dumpable.store(self.dumpable(), Ordering::Relaxed);
        child.register_membarrier(self.membarrier_registrations());
        child.set_exe(self.exe());
        child.note_files(files);
        Ok(child)
    }

    /// Notes the child in its files' lists. What was truncated since its pages were copied has not visited it.
    fn note_files(&self, files: Vec<Mapped>) {
        for (file, seen) in files {
            let Some(mappings) = file.mappings() else { continue };
            mappings.add(self.id, Arc::downgrade(&self.inner));
            if mappings.generation() != seen {
                self.inner.write().forget_file_pages(mappings, 0, u64::MAX, false);
            }
        }
    }
}

impl Inner {
    /// `copied`: what is not to be shared. Host I/O may write to it at this moment: then it stays the parent's, or the bytes still to come
    /// would be lost to it when it writes to its side.
    fn fork(&mut self, files: &mut Vec<Mapped>, copied: &[Range<u64>]) -> Result<Inner, Errno> {
        self.share_private_pages(copied)?;
        let space = self.space.fork().map_err(host_errno)?;
        let mut child = Inner::new(Arc::clone(&self.pages.memory), space, self.user_range.clone());
        child.layout = self.layout.clone();
        child.pages.pmas = self.pages.pmas.clone();
        share(&child.pages.memory, &child.pages.pmas);
        child.vmas = self.vmas.clone();
        child.usage = self.usage;
        let (mut wiped, mut left_out) = (Vec::new(), Vec::new());
        for (range, vma) in self.vmas.iter() {
            if vma.flags.contains(VmaFlags::DONTFORK) {
                left_out.push(range);
                continue;
            }
            if vma.flags.contains(VmaFlags::WIPEONFORK) {
                wiped.push((range, vma.prot));
            }
            if let Some(file) = vma.file()
                && let Some(mappings) = file.mappings()
            {
                files.push((Arc::clone(file), mappings.generation()));
            }
        }
        for range in left_out {
            // Not the last reference to a file: the parent has the mapping.
            child.unmap(range, &mut Trash::default())?;
        }
        if self.usage.locked > 0 {
            child.lock_all(VmaFlags::empty());
        }
        for (range, prot) in wiped {
            child.unmap_pages(range.clone())?;
            if !prot.is_empty() {
                child.fill_with_zero_pages(range, prot, Growth::Down)?;
            }
        }
        child.hot = Arc::clone(&self.hot);
        self.learning = (LOOKED_AT, Arc::clone(&self.hot));
        child.learning = (LOOKED_AT, Arc::clone(&self.hot));
        for range in copied {
            child.copy_shared(range.clone()).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(child)
    }

    /// In a child: shows `new` where `old` is mapped, if it still is.
    fn show_instead(&mut self, old: &Arc<Shmem>, new: &Arc<Shmem>) -> Result<(), Errno> {
        let is_old =
            |vma: &Vma| vma.file().is_some_and(|file| std::ptr::addr_eq(Arc::as_ptr(file), Arc::as_ptr(old)));
        let Some((range, vma)) = self.vmas.iter().find(|(_, vma)| is_old(vma)) else { return Ok(()) };
        let mut vma = vma.clone();
        if let Source::File { file, .. } = &mut vma.source {
            *file = Arc::clone(new) as Arc<dyn Mappable>;
        }
        let memory = Arc::clone(&self.pages.memory);
        let mut run = prepared_run(&memory, &vma, range.end - range.start);
        self.map(range, vma, run.as_mut(), &mut Trash::default())
    }

    /// Makes private pages read-only until somebody copies them or takes them back.
    fn share_private_pages(&mut self, copied: &[Range<u64>]) -> Result<(), Errno> {
        let stays = self.vmas.iter().filter(|(_, vma)| vma.flags.contains(VmaFlags::DONTFORK));
        let mut stays: Vec<Range<u64>> =
            stays.map(|(range, _)| range).chain(copied.iter().cloned()).collect();
        // A piece may reach over such a range: ask for the parts between.
        stays.sort_by_key(|range| range.start);
        let all = self.user_range.clone();
        let (mut parts, mut at) = (Vec::with_capacity(stays.len() + 1), all.start);
        for range in stays {
            if at < range.start {
                parts.push(at..range.start);
            }
            at = at.max(range.end);
        }
        if at < all.end {
            parts.push(at..all.end);
        }
        self.change_pages_in(&parts, |_, pma| pma.cow |= pma.private)
    }

    /// Gives a child its own copy of the pages in `range` that it shares with its parent.
    fn copy_shared(&mut self, range: Range<u64>) -> Result<(), FaultError> {
        let shared = self.pages.pmas.clipped(range);
        for (at, pma) in shared.into_iter().filter(|(_, pma)| pma.private) {
            let copy = self.copy_of(&at, &pma)?;
            self.replace_pages(at, copy).map_err(|_| FaultError::NoMemory)?;
        }
        Ok(())
    }
}
