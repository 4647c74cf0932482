//! mmap(2).

use std::ops::Range;
use std::sync::Arc;

use abi::Errno;
use abi::mman::MapFlags;
use platform::{MemoryFile, Prot};

use super::arena::Growth;
use super::held_run::HeldRun;
use super::limits::{MAX_MAP_COUNT, MmLimits, overcommits};
use super::mappable::Mappable;
use super::numa::Policy;
use super::pma::Pma;
use super::shmem::Shmem;
use super::user::UserAddr;
use super::vma::{MapName, SHARED_ANONYMOUS, Source, Vma, VmaFlags};
use super::{Inner, MemoryManager, PAGE, Trash, page_up};

/// Private writable file mappings up to this size are copied at once: relocations write to them anyway, and a copy
/// costs less than a fault.
const COPY_AT_ONCE: u64 = 16 * PAGE;

/// Anonymous mappings above this get their frames piecewise, when touched.
pub(super) const EAGER_LIMIT: u64 = 64 << 30;

/// What is asked for.
pub struct MapRequest {
    /// Hint, or with MAP_FIXED the place.
    pub addr: UserAddr,
    /// Bytes, as the guest gave them.
    pub len: u64,
    /// Protection.
    pub prot: Prot,
    /// Flags; exactly one of SHARED and PRIVATE is set.
    pub flags: MapFlags,
    /// What to map.
    pub backing: MapBacking,
    /// Limits of the caller.
    pub limits: MmLimits,
}

/// What is mapped.
pub enum MapBacking {
    /// Zero-filled memory, private or shared.
    Anonymous,
    /// A file.
    File {
        /// The file's contents.
        file: Arc<dyn Mappable>,
        /// Page-aligned offset of the first byte.
        offset: u64,
        /// What mprotect may give: for a shared mapping no WRITE unless the file is open for writing, no EXEC on a
        /// noexec mount.
        max_prot: Prot,
        /// Its name in /proc/PID/maps.
        name: MapName,
    },
    /// A file that may not be mapped so: the error comes when the other arguments are good, as on Linux.
    Refused(Errno),
    /// Pages of the kernel's own (vdso, vvar).
    Special {
        /// Their contents.
        pages: Arc<dyn Mappable>,
        /// What mprotect, and with WRITE also a debugger, may do.
        max_prot: Prot,
        /// `[vdso]`, `[vvar]`.
        name: &'static str,
        /// More flags: [`VmaFlags::IO`] for pages that debuggers may not touch.
        flags: VmaFlags,
    },
}

impl MemoryManager {
    /// Maps what `request` says and answers where.
    pub fn mmap(&self, request: MapRequest) -> Result<UserAddr, Errno> {
        if request.len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = page_up(request.len).ok_or(Errno::ENOMEM)?;
        let vma = new_vma(&request, len);
        // Before the first page can be there: truncation has to find us.
        if let Some(mappings) = request_file(&request).and_then(|file| file.mappings()) {
            mappings.add(self.id, Arc::downgrade(&self.inner));
        }
        let mut trash = Trash::default();
        let mut prepared = vma.as_ref().ok().and_then(|vma| self.prepare(vma, len));
        let at = {
            let mut inner = self.inner.write();
            let at = inner.place(&request, len)?;
            inner.check_lock(&request, len)?;
            let mut vma = vma?;
            inner.check_room(&request, &vma, at..at + len)?;
            vma.flags |= inner.future_flags;
            if vma.is_shared() && vma.is_anonymous() {
                // Made only now: every check before it is cheap.
                let shmem = Shmem::new(&self.memory, len)?;
                vma.source = Source::File { file: shmem, name: MapName::Fixed(SHARED_ANONYMOUS) };
                prepared = prepared_run(&self.memory, &vma, len);
            }
            inner.map(at..at + len, vma, prepared.as_mut(), &mut trash)?;
            at
        };
        drop(trash);
        let populate =
            request.flags.contains(MapFlags::POPULATE) && !request.flags.contains(MapFlags::NONBLOCK);
        let locked = self.wants_populating(at);
        if populate || locked {
            self.populate(at..at + len);
        }
        Ok(UserAddr(at))
    }

    /// Finds where a file's bytes are before the lock is taken (the file has locks of its own, of a lower level).
    /// Files that may be truncated under us are looked up when touched.
    fn prepare(&self, vma: &Vma, len: u64) -> Option<HeldRun<'_>> {
        let file = vma.file()?;
        if vma.prot.is_empty() || !file.is_eager() {
            return None;
        }
        prepared_run(&self.memory, vma, len)
    }

    fn wants_populating(&self, at: u64) -> bool {
        let inner = self.inner.read();
        inner.vmas.find(at).is_some_and(|(_, vma)| {
            vma.flags.contains(VmaFlags::LOCKED) && !vma.flags.contains(VmaFlags::LOCKONFAULT)
        })
    }
}

fn request_file(request: &MapRequest) -> Option<&Arc<dyn Mappable>> {
    match &request.backing {
        MapBacking::File { file, .. } => Some(file),
        _ => None,
    }
}

/// Asks the file for the run at the start of the mapping. Failure is no error: touching the page will tell.
pub(super) fn prepared_run<'a>(memory: &'a MemoryFile, vma: &Vma, len: u64) -> Option<HeldRun<'a>> {
    let write = vma.is_shared() && vma.max_prot.contains(Prot::WRITE);
    let run = vma.file()?.translate(vma.offset, len, write).ok()?;
    Some(HeldRun::new(memory, run))
}

fn new_vma(request: &MapRequest, len: u64) -> Result<Vma, Errno> {
    if let MapBacking::Refused(errno) = request.backing {
        return Err(errno);
    }
    if let MapBacking::File { offset, .. } = request.backing
        && offset.checked_add(len).is_none_or(|end| end > i64::MAX as u64)
    {
        return Err(Errno::EOVERFLOW);
    }
    let mut flags = VmaFlags::empty();
    let shared = request.flags.contains(MapFlags::SHARED);
    flags.set(VmaFlags::SHARED, shared);
    flags.set(VmaFlags::GROWSDOWN, request.flags.contains(MapFlags::GROWSDOWN));
    flags.set(VmaFlags::LOCKED, request.flags.contains(MapFlags::LOCKED));
    flags.set(VmaFlags::NORESERVE, request.flags.contains(MapFlags::NORESERVE));
    let (source, offset, max_prot) = match &request.backing {
        MapBacking::Anonymous | MapBacking::Refused(_) => (Source::Anonymous, 0, Prot::all()),
        MapBacking::File { file, offset, max_prot, name } => {
            (Source::File { file: Arc::clone(file), name: name.clone() }, *offset, *max_prot)
        }
        MapBacking::Special { pages, max_prot, name, flags: more } => {
            flags |= *more | VmaFlags::SPECIAL | VmaFlags::DONTEXPAND;
            (Source::File { file: Arc::clone(pages), name: MapName::Fixed(name) }, 0, *max_prot)
        }
    };
    let private_anonymous = !shared && matches!(request.backing, MapBacking::Anonymous);
    if flags.contains(VmaFlags::GROWSDOWN) && !private_anonymous {
        return Err(Errno::EINVAL);
    }
    if !max_prot.contains(request.prot) {
        return Err(Errno::EACCES);
    }
    Ok(Vma {
        prot: request.prot,
        max_prot,
        flags,
        source,
        offset,
        anon_name: None,
        policy: Policy::default(),
    })
}

impl Inner {
    /// Where the mapping goes.
    fn place(&mut self, request: &MapRequest, len: u64) -> Result<u64, Errno> {
        if self.vmas.len() >= MAX_MAP_COUNT {
            return Err(Errno::ENOMEM);
        }
        let all = self.user_range.clone();
        let no_replace = request.flags.contains(MapFlags::FIXED_NOREPLACE);
        if !request.flags.contains(MapFlags::FIXED) && !no_replace {
            let low = request.flags.contains(MapFlags::ADDR_32BIT);
            return self.find_free(request.addr.0, len, low).ok_or(Errno::ENOMEM);
        }
        let at = request.addr.0;
        if len > all.end || at > all.end - len {
            return Err(Errno::ENOMEM);
        }
        if !at.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        if at < all.start {
            return Err(Errno::EPERM);
        }
        if no_replace && !self.vmas.is_free(at..at + len) {
            return Err(Errno::EEXIST);
        }
        Ok(at)
    }

    /// RLIMIT_MEMLOCK for a mapping that will be locked.
    fn check_lock(&self, request: &MapRequest, len: u64) -> Result<(), Errno> {
        let limits = &request.limits;
        let locked = request.flags.contains(MapFlags::LOCKED);
        if locked && limits.memlock == 0 && !limits.may_lock {
            return Err(Errno::EPERM);
        }
        if locked || self.future_flags.contains(VmaFlags::LOCKED) {
            self.check_locked(len, limits)?;
        }
        Ok(())
    }

    /// Checks limits for a new mapping at `range`, which may replace others.
    fn check_room(&self, request: &MapRequest, vma: &Vma, range: Range<u64>) -> Result<(), Errno> {
        let limits = &request.limits;
        let len = range.end - range.start;
        let replaced: u64 = self.vmas.overlapping(range.clone()).map(|(at, _)| overlap(&at, &range)).sum();
        self.check_growth(vma, len, replaced, limits)?;
        let accounted = if vma.is_shared() { vma.is_anonymous() } else { vma.prot.contains(Prot::WRITE) };
        if accounted && !vma.flags.contains(VmaFlags::NORESERVE) && overcommits(len) {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// RLIMIT_MEMLOCK for `more` bytes to lock.
    pub fn check_locked(&self, more: u64, limits: &MmLimits) -> Result<(), Errno> {
        let fits = limits.may_lock || self.usage.locked.saturating_add(more) <= limits.memlock;
        if fits { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// RLIMIT_AS and RLIMIT_DATA for a mapping of `len` bytes like `vma` that replaces `replaced` bytes.
    pub fn check_growth(&self, vma: &Vma, len: u64, replaced: u64, limits: &MmLimits) -> Result<(), Errno> {
        let total = self.usage.total.saturating_add(len) - replaced;
        let data = self.usage.data.saturating_add(len);
        if total > limits.address_space || (vma.is_data() && data > limits.data) {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// Puts `vma` at `range` in place of what is there, and shows as many of its pages as can be shown at once.
    pub fn map(
        &mut self,
        range: Range<u64>,
        vma: Vma,
        prepared: Option<&mut HeldRun<'_>>,
        trash: &mut Trash,
    ) -> Result<(), Errno> {
        let len = range.end - range.start;
        let private_anonymous = vma.is_anonymous() && !vma.is_shared();
        if private_anonymous
            && self.vmas.is_free(range.clone())
            && let Some(shown) = self.show_beginning(&range, &vma)
        {
            shown?;
            self.add_vma(range, vma);
            return Ok(());
        }
        let shown = match &vma.source {
            _ if vma.prot.is_empty() => 0,
            Source::Anonymous if len <= EAGER_LIMIT => len,
            Source::Anonymous => 0,
            Source::File { .. } => prepared.as_ref().map_or(0, |run| run.len().min(len)),
        };
        if shown < len {
            self.unmap(range.clone(), trash)?;
        }
        // When all of it is shown at once, the new host mapping takes the place of the old one in the same call.
        let old_pages = self.forget_pages(range.clone());
        self.forget_vmas(range.clone(), trash);
        let result = self.show(range.start..range.start + shown, &vma, prepared);
        if result.is_ok() {
            self.pages.give_back(old_pages);
            self.add_vma(range, vma);
        } else if self.space.unmap(range.start, len).is_ok() {
            let new_pages = self.forget_pages(range);
            self.pages.give_back(new_pages);
            self.pages.give_back(old_pages);
        }
        result
    }

    /// Adds a mapping to the books.
    pub fn add_vma(&mut self, range: Range<u64>, vma: Vma) {
        self.usage.add(&vma, range.end - range.start);
        self.vmas.insert(range, vma);
    }

    fn show(
        &mut self,
        range: Range<u64>,
        vma: &Vma,
        prepared: Option<&mut HeldRun<'_>>,
    ) -> Result<(), Errno> {
        if range.is_empty() {
            return Ok(());
        }
        if vma.is_anonymous() {
            return self.fill_with_zero_pages(range, vma.prot, Growth::Down);
        }
        let len = range.end - range.start;
        let Some(place) = prepared.and_then(|run| run.take(len)) else { return Ok(()) };
        let private = !vma.is_shared();
        let pma = Pma { place, prot: vma.prot, private: false, cow: private };
        let may_change = vma.file().is_some_and(|file| file.may_change());
        if private && vma.prot.contains(Prot::WRITE) && len <= COPY_AT_ONCE && !may_change {
            // Past the end of the file there is nothing to copy: then a fault decides.
            if let Ok(copy) = self.copy_of(&range, &pma) {
                pma.decref(&self.pages.memory, len);
                return self.map_pages(range, copy);
            }
        }
        self.map_pages(range, pma)
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> u64 {
    a.end.min(b.end) - a.start.max(b.start)
}
