//! Address spaces of guests: mappings, their pages, faults, and copies to and from guest memory.
//!
//! See README.md beside this file for the invariants.

pub mod copy;
pub mod file_mappings;
pub mod futex_key;
pub mod layout;
pub mod limits;
pub mod mappable;
pub mod shmem;
pub mod user;

mod advise;
mod arena;
mod brk;
mod cow;
mod cpu_table;
mod fault;
mod fork;
mod held_run;
mod hot;
mod kept;
mod large;
mod limbo;
mod lock;
mod map;
mod maps;
mod mincore;
mod msync;
mod numa;
mod pages;
mod pin;
mod placement;
mod pma;
mod populate;
mod protect;
mod ranges;
mod remap;
mod remap_file_pages;
mod rss;
mod stack;
mod unmap;
mod user_io;
mod vma;
mod word;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::membarrier::MembarrierCmd;
use platform::{AddressSpace, MemoryFile, Platform, PlatformError};
use sync::{Mutex, RwLock};

pub use copy::{CStrError, UserString};
pub(crate) use cpu_table::{CpuTable, Who};
pub use fault::FaultSignal;
pub use file_mappings::FileMappings;
pub use fork::Threads;
pub use futex_key::FutexKey;
pub use layout::Layout;
pub use limits::{MmLimits, Usage, set_total_memory, total_memory};
pub use map::{MapBacking, MapRequest};
pub use mappable::{Mappable, Place, Run};
pub use maps::{LineName, MapsLine};
pub use numa::Policy;
pub use platform::Prot;
pub use rss::Rss;
pub use shmem::{Shmem, next_futex_id};
pub use user::{TASK_SIZE, UserAddr, UserCStr, UserRef, UserSlice};
pub use user_io::{UserSink, UserSource};
pub use vma::{MapName, MappedFile, VmaFlags};
pub use word::NotThere;

use cow::Copied;
use hot::Hot;
use pages::Pages;
use placement::HolesHint;
use ranges::Ranges;
use vma::Vma;

use crate::aio::AioContexts;
use crate::task::cpu_slots::CpuSlots;

/// Bytes in a page.
pub const PAGE: u64 = platform::PAGE_SIZE;

/// Below a stack this much stays free (stack_guard_gap of Linux).
pub const STACK_GUARD_GAP: u64 = 256 * PAGE;

/// Lowest address that can be mapped (vm.mmap_min_addr).
pub const MMAP_MIN_ADDR: u64 = 65536;

/// Number of the next address space.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// An address space and all that is in it. Tasks made with CLONE_VM share one.
pub struct MemoryManager {
    /// Different for each address space of the sandbox, ever.
    id: u64,
    memory: Arc<MemoryFile>,
    space: Arc<dyn AddressSpace>,
    inner: Arc<RwLock<Inner, sync::levels::Mm>>,
    /// Ranges that host I/O writes to at the moment: fork copies them at once.
    write_pins: Mutex<Vec<Range<u64>>, sync::levels::Leaf>,
    /// RLIMIT_STACK in bytes: faults have no other way to know it.
    stack_limit: AtomicU64,
    /// PR_SET_DUMPABLE.
    dumpable: AtomicU8,
    /// Where threads find their CPU numbers without a call.
    cpu_table: OnceLock<CpuTable>,
    /// CPU numbers of the threads that use rseq(2).
    cpu_slots: OnceLock<Arc<CpuSlots>>,
    /// What membarrier(2) was told.
    membarrier: AtomicU32,
    /// The highest resident size that was seen, in bytes.
    peak_rss: AtomicU64,
    /// Contexts of io_setup(2).
    pub aio: AioContexts,
    /// The file that was executed.
    exe: Mutex<Option<Arc<dyn Any + Send + Sync>>, sync::levels::Leaf>,
}

/// What the lock protects. Methods that change it are in the files named after what they do.
///
/// `pages` is the last field: frames are given back after the address space that showed them has gone.
struct Inner {
    space: Arc<dyn AddressSpace>,
    /// Addresses that can be mapped.
    user_range: Range<u64>,
    vmas: Ranges<Vma>,
    layout: Layout,
    usage: Usage,
    /// Flags of mappings to come (mlockall with MCL_FUTURE).
    future_flags: VmaFlags,
    holes_hint: Option<HolesHint>,
    /// What its children are likely to write.
    hot: Arc<Hot>,
    /// Copies on write since the last fork that are still looked at, and who wants to know: its parent if it is the child, or itself.
    learning: (u32, Arc<Hot>),
    /// The private file mapping that was written last, and how much of it was copied for that.
    copied: Copied,
    pages: Pages,
}

/// Mappings that are gone. Dropped after the lock: a file may close with its last mapping.
#[derive(Default)]
struct Trash(Vec<Vma>);

impl Drop for Trash {
    fn drop(&mut self) {
        tell_segments(self.0.iter());
    }
}

/// System V segments are told that mappings of them go.
fn tell_segments<'a>(vmas: impl Iterator<Item = &'a Vma>) {
    for file in vmas.filter_map(Vma::file).filter(|file| file.segment_size().is_some()) {
        if let Some(process) = crate::task::acting_process() {
            file.segment_detached(process);
        }
    }
}

impl MemoryManager {
    /// An empty address space.
    pub fn new(platform: &Arc<dyn Platform>) -> Result<Arc<Self>, Errno> {
        let space = platform.new_address_space().map_err(host_errno)?;
        let user = platform.user_range();
        let user_range = user.start.max(MMAP_MIN_ADDR)..user.end.min(TASK_SIZE);
        let memory = Arc::clone(platform.memory());
        let mmap_base = layout::mmap_base(user_range.end, 8 << 20, layout::aslr_random());
        let mut inner = Inner::new(memory, space, user_range);
        inner.layout.mmap_base = mmap_base;
        Ok(Self::assemble(inner))
    }

    fn assemble(inner: Inner) -> Arc<Self> {
        Arc::new(MemoryManager {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            memory: Arc::clone(&inner.pages.memory),
            space: Arc::clone(&inner.space),
            inner: Arc::new(RwLock::new(inner)),
            write_pins: Mutex::new(Vec::new()),
            stack_limit: AtomicU64::new(8 << 20),
            dumpable: AtomicU8::new(1),
            cpu_table: OnceLock::new(),
            cpu_slots: OnceLock::new(),
            membarrier: AtomicU32::new(0),
            peak_rss: AtomicU64::new(0),
            aio: AioContexts::default(),
            exe: Mutex::new(None),
        })
    }

    /// Number of this address space: never used again for another.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What contexts run in.
    pub fn space(&self) -> &Arc<dyn AddressSpace> {
        &self.space
    }

    /// Where the program's parts are.
    pub fn layout(&self) -> Layout {
        self.inner.read().layout.clone()
    }

    /// Changes where the program's parts are (the loader, prctl).
    pub fn update_layout(&self, change: impl FnOnce(&mut Layout)) {
        change(&mut self.inner.write().layout);
    }

    /// What the mappings add up to.
    pub fn usage(&self) -> Usage {
        self.inner.read().usage
    }

    /// Sets how far stacks may grow (RLIMIT_STACK, soft, in bytes).
    pub fn set_stack_limit(&self, bytes: u64) {
        self.stack_limit.store(bytes, Ordering::Relaxed);
    }

    /// The file that was executed, as the loader set it.
    pub fn exe(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.exe.lock().clone()
    }

    /// Sets the file that was executed; the old one is given back.
    pub fn set_exe(&self, exe: Option<Arc<dyn Any + Send + Sync>>) -> Option<Arc<dyn Any + Send + Sync>> {
        std::mem::replace(&mut *self.exe.lock(), exe)
    }

    /// Where its threads find their CPU numbers without a call, if the vDSO is mapped.
    #[inline]
    pub(crate) fn cpu_table(&self) -> Option<&CpuTable> {
        self.cpu_table.get()
    }

    /// Says where; once.
    pub(crate) fn set_cpu_table(&self, table: CpuTable) {
        let _ = self.cpu_table.set(table);
    }

    /// CPU numbers of its threads that use rseq(2): there are `cpus` of them.
    pub(crate) fn cpu_slots(&self, cpus: u32) -> Arc<CpuSlots> {
        Arc::clone(self.cpu_slots.get_or_init(|| Arc::new(CpuSlots::new(cpus))))
    }

    /// Registrations of membarrier(2).
    pub fn membarrier_registrations(&self) -> MembarrierCmd {
        MembarrierCmd::from_bits_retain(self.membarrier.load(Ordering::Relaxed))
    }

    /// Notes a registration of membarrier(2).
    pub fn register_membarrier(&self, command: MembarrierCmd) {
        self.membarrier.fetch_or(command.bits(), Ordering::Relaxed);
    }

    /// PR_GET_DUMPABLE: 0, 1 or 2.
    pub fn dumpable(&self) -> u8 {
        self.dumpable.load(Ordering::Relaxed)
    }

    /// PR_SET_DUMPABLE.
    pub fn set_dumpable(&self, value: u8) {
        self.dumpable.store(value, Ordering::Relaxed);
    }
}

impl Inner {
    fn new(memory: Arc<MemoryFile>, space: Arc<dyn AddressSpace>, user_range: Range<u64>) -> Inner {
        let hot = Arc::<Hot>::default();
        Inner {
            space,
            user_range,
            learning: (0, Arc::clone(&hot)),
            hot,
            vmas: Ranges::default(),
            layout: Layout::default(),
            usage: Usage::default(),
            future_flags: VmaFlags::empty(),
            holes_hint: None,
            copied: Copied::default(),
            pages: Pages::new(memory),
        }
    }
}

/// Private memory of a process that ends may be given back later, up to so many bytes.
const LATER: u64 = 64 << 20;

impl MemoryManager {
    /// Leaves it to the platform to give back `pages`; gives them back where it does not.
    fn retire(&self, pages: Pages) -> Option<Pages> {
        let own = pages.pmas.iter().filter(|(_, pma)| pma.private && !pma.cow);
        if own.map(|(range, _)| range.end - range.start).sum::<u64>() > LATER {
            return Some(pages);
        }
        let kept = self.space.retire(Box::new(pages)).err()?;
        kept.downcast().ok().map(|pages| *pages)
    }
}

impl Drop for MemoryManager {
    fn drop(&mut self) {
        let vmas = {
            let mut inner = self.inner.write();
            let none = Pages::new(Arc::clone(&inner.pages.memory));
            let pages = std::mem::replace(&mut inner.pages, none);
            if let Some(pages) = self.retire(pages) {
                inner.pages = pages;
                // Usually the last reference, so that the host mappings go with it, before the frames do. If not, nothing may
                // show the frames any more when others get them.
                let ours = 2;
                let all = inner.user_range.clone();
                if Arc::strong_count(&self.space) > ours
                    && let Err(error) = self.space.unmap(all.start, all.end - all.start)
                {
                    tracing::warn!(%error, "an address space could not be emptied: its memory is given back later");
                    let none = Pages::new(Arc::clone(&inner.pages.memory));
                    limbo::keep(Arc::clone(&self.space), std::mem::replace(&mut inner.pages, none));
                }
            }
            inner.vmas.take()
        };
        limbo::empty();
        // Here and not with `inner`, which a truncation may be visiting under locks of the very files.
        tell_segments(vmas.iter().map(|(_, vma)| vma));
        drop(vmas);
    }
}

/// What the guest sees when the host refuses: out of memory, as when Linux can't split a mapping.
fn host_errno(error: PlatformError) -> Errno {
    tracing::debug!(%error, "address space");
    Errno::ENOMEM
}

/// Rounds up to a page, or None on overflow.
fn page_up(bytes: u64) -> Option<u64> {
    Some(bytes.checked_add(PAGE - 1)? & !(PAGE - 1))
}

/// Rounds down to a page.
fn page_down(bytes: u64) -> u64 {
    bytes & !(PAGE - 1)
}
