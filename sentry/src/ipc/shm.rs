//! System V shared memory (shmget(2), shmop(2), shmctl(2)).
//!
//! A [`Segment`] is what mappings hold; how many do is its count of attachments. The table holds those that have not been
//! removed. A removed one lives on, without a key, until nobody has it attached.
//!
//! Lock levels: `FileState` for the table, `Leaf` for a segment. Segments are dropped after the lock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::capability::CAP_IPC_LOCK;
use abi::ipc::{IPC_PRIVATE, IpcFlags, IpcPerm, ShmFlags, ShmInfo, ShmInfo64, ShmidDs};
use platform::MemoryFile;
use sync::Mutex;

use super::permission::{Anybody, Asker, now};
use super::{IpcNamespace, Limits};
use crate::Result;
use crate::mm::shmem::Shmem;
use crate::mm::{Mappable, PAGE, Run};
use crate::task::PidTrace;

/// The bits of an id that are its place in the table.
const PLACE_BITS: u32 = 15;
/// Numbers of use that an id can tell apart.
const SEQUENCE: u16 = 0x7fff;

/// A segment, as mappings see it.
pub struct Segment {
    memory: Arc<Shmem>,
    size: u64,
    /// What shmctl(2) tells and changes.
    state: Mutex<State, sync::levels::Leaf>,
}

#[derive(Clone)]
struct State {
    perm: IpcPerm,
    attached_at: i64,
    detached_at: i64,
    changed_at: i64,
    creator: Option<Arc<PidTrace>>,
    last: Option<Arc<PidTrace>>,
}

/// The segments of a namespace.
#[derive(Default)]
pub struct ShmTable {
    slots: Mutex<Slots, sync::levels::FileState>,
}

#[derive(Default)]
struct Slots {
    all: Vec<Slot>,
    sequence: u16,
}

#[derive(Default)]
struct Slot {
    id: i32,
    held: Option<Arc<Segment>>,
    /// Of one that was removed and is attached still.
    removed: Weak<Segment>,
}

impl Slot {
    fn segment(&self) -> Option<Arc<Segment>> {
        self.held.clone().or_else(|| self.removed.upgrade())
    }
}

impl ShmTable {
    fn get(
        &self,
        memory: &Arc<MemoryFile>,
        (key, size, flags): (i32, u64, u32),
        limits: &Limits,
        asker: Asker<'_>,
    ) -> Result<i32> {
        let how = IpcFlags::from_bits_truncate(flags);
        let mut slots = self.slots.lock();
        let known = slots.all.iter().find_map(|slot| {
            let segment = slot.held.as_ref()?;
            (key != IPC_PRIVATE && segment.state.lock().perm.key == key).then_some((slot.id, segment))
        });
        if let Some((id, segment)) = known {
            if how.contains(IpcFlags::CREAT | IpcFlags::EXCL) {
                return Err(Errno::EEXIST);
            }
            let perm = segment.state.lock().perm;
            if size > segment.size {
                return Err(Errno::EINVAL);
            }
            return asker.may(&perm, flags & 0o777).map(|()| id);
        }
        if key != IPC_PRIVATE && !how.contains(IpcFlags::CREAT) {
            return Err(Errno::ENOENT);
        }
        // No file is larger than a signed offset tells.
        let most_bytes = limits.shmmax.load(Ordering::Relaxed);
        if size == 0 || size > most_bytes || i64::try_from(size).is_err() {
            return Err(Errno::EINVAL);
        }
        let pages = |bytes: u64| bytes.div_ceil(PAGE);
        let used: u64 = slots.all.iter().filter_map(Slot::segment).map(|segment| pages(segment.size)).sum();
        if used.saturating_add(pages(size)) > limits.shmall.load(Ordering::Relaxed) {
            return Err(Errno::ENOSPC);
        }
        // There are no huge pages in the pool, as on a machine that has set none aside. Their size stands in the upper bits.
        if flags & ShmFlags::HUGETLB.bits() != 0 {
            if !matches!(flags >> 26 & 0x3f, 0 | 21 | 30) {
                return Err(Errno::EINVAL);
            }
            return Err(Errno::ENOMEM);
        }
        let free = |slot: &Slot| slot.held.is_none() && slot.removed.strong_count() == 0;
        let place = match slots.all.iter().position(free) {
            Some(place) => place,
            None => slots.all.len(),
        };
        let most = (limits.shmmni.load(Ordering::Relaxed) as usize).min(1 << PLACE_BITS);
        if slots.all.iter().filter(|slot| !free(slot)).count() >= most {
            return Err(Errno::ENOSPC);
        }
        let perm = IpcPerm { seq: slots.sequence, ..asker.new_perm(key, flags) };
        let state = State {
            perm,
            attached_at: 0,
            detached_at: 0,
            changed_at: now(),
            creator: Some(asker.trace()),
            last: None,
        };
        let segment = Segment { memory: Shmem::new(memory, size)?, size, state: Mutex::new(state) };
        let id = i32::from(slots.sequence) << PLACE_BITS | place as i32;
        slots.sequence = (slots.sequence + 1) & SEQUENCE;
        if place == slots.all.len() {
            slots.all.push(Slot::default());
        }
        if let Some(slot) = slots.all.get_mut(place) {
            *slot = Slot { id, held: Some(Arc::new(segment)), removed: Weak::new() };
        }
        Ok(id)
    }

    /// The segment with this id.
    fn find(&self, id: i32) -> Result<Arc<Segment>> {
        let place = usize::try_from(id & ((1 << PLACE_BITS) - 1)).map_err(|_| Errno::EINVAL)?;
        let slots = self.slots.lock();
        let slot = slots.all.get(place).filter(|slot| id >= 0 && slot.id == id);
        slot.and_then(Slot::segment).ok_or(Errno::EINVAL)
    }

    /// shmat(2), but for the mapping: what is to be mapped. `wanted` are bits of a mode.
    pub fn attach(&self, id: i32, wanted: u32, asker: Asker<'_>) -> Result<Arc<Segment>> {
        let segment = self.find(id)?;
        let perm = segment.state.lock().perm;
        asker.may(&perm, wanted).map(|()| segment)
    }

    /// IPC_STAT.
    pub fn stat(&self, id: i32, asker: Asker<'_>) -> Result<ShmidDs> {
        let segment = self.find(id)?;
        let state = segment.state.lock().clone();
        asker.may(&state.perm, 0o444)?;
        Ok(describe(&segment, &state, &asker))
    }

    /// SHM_STAT and SHM_STAT_ANY: the segment in this place of the table, with its id.
    pub fn stat_place(&self, place: i32, anybody: Anybody, asker: Asker<'_>) -> Result<(i32, ShmidDs)> {
        let place = usize::try_from(place).map_err(|_| Errno::EINVAL)?;
        let found = {
            let slots = self.slots.lock();
            slots.all.get(place).and_then(|slot| Some((slot.id, slot.segment()?)))
        };
        let (id, segment) = found.ok_or(Errno::EINVAL)?;
        let state = segment.state.lock().clone();
        if anybody == Anybody::No {
            asker.may(&state.perm, 0o444)?;
        }
        Ok((id, describe(&segment, &state, &asker)))
    }

    /// Bytes of the segment in a place that are in memory.
    pub(super) fn resident_bytes(&self, place: i32) -> u64 {
        let found = usize::try_from(place).ok().and_then(|place| self.slots.lock().all.get(place)?.segment());
        found.map_or(0, |segment| segment.memory.resident_bytes())
    }

    /// IPC_SET: owner and mode.
    pub fn set(&self, id: i32, new: &IpcPerm, asker: Asker<'_>) -> Result<()> {
        let segment = self.find(id)?;
        let wish = asker.wish(new);
        let mut state = segment.state.lock();
        asker.may_control(&state.perm)?;
        wish.fulfil(&mut state.perm)?;
        state.changed_at = now();
        Ok(())
    }

    /// IPC_RMID.
    pub fn remove(&self, id: i32, asker: Asker<'_>) -> Result<()> {
        let segment = self.find(id)?;
        {
            let mut state = segment.state.lock();
            asker.may_control(&state.perm)?;
            state.perm.key = IPC_PRIVATE;
            state.perm.mode |= ShmFlags::DEST.bits();
        }
        let held = {
            let mut slots = self.slots.lock();
            slots.all.iter_mut().find(|slot| slot.id == id).and_then(|slot| {
                slot.removed = Arc::downgrade(&segment);
                slot.held.take()
            })
        };
        drop(held);
        Ok(())
    }

    /// SHM_LOCK and SHM_UNLOCK. Nothing is ever swapped out here.
    pub fn lock(&self, id: i32, lock: Lock, asker: Asker<'_>) -> Result<()> {
        let segment = self.find(id)?;
        let mut state = segment.state.lock();
        if !asker.creds.has_cap_in(CAP_IPC_LOCK, asker.user_ns) && !asker.is_owner(&state.perm) {
            return Err(Errno::EPERM);
        }
        match lock {
            Lock::Lock => state.perm.mode |= ShmFlags::LOCKED.bits(),
            Lock::Unlock => state.perm.mode &= !ShmFlags::LOCKED.bits(),
        }
        Ok(())
    }

    /// IPC_INFO: the limits, and the highest place in use.
    pub fn limits(&self, limits: &Limits) -> (i32, ShmInfo64) {
        let most = u64::from(limits.shmmni.load(Ordering::Relaxed));
        let info = ShmInfo64 {
            shmmax: limits.shmmax.load(Ordering::Relaxed),
            shmmin: 1,
            shmmni: most,
            shmseg: most,
            shmall: limits.shmall.load(Ordering::Relaxed),
            unused: [0; 4],
        };
        (self.highest(), info)
    }

    /// SHM_INFO: what is in use, and the highest place.
    pub fn usage(&self) -> (i32, ShmInfo) {
        let segments: Vec<Arc<Segment>> = self.slots.lock().all.iter().filter_map(Slot::segment).collect();
        let pages = segments.iter().map(|segment| segment.memory.size() / PAGE).sum();
        let resident: u64 =
            segments.iter().map(|segment| segment.memory.resident_bytes()).sum::<u64>() / PAGE;
        let used_ids = segments.len() as i32;
        let info = ShmInfo {
            used_ids,
            pad: 0,
            shm_tot: pages,
            shm_rss: resident,
            shm_swp: 0,
            swap_attempts: 0,
            swap_successes: 0,
        };
        (self.highest(), info)
    }

    fn highest(&self) -> i32 {
        let slots = self.slots.lock();
        slots.all.iter().rposition(|slot| slot.segment().is_some()).unwrap_or(0) as i32
    }
}

/// SHM_LOCK or SHM_UNLOCK.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// SHM_LOCK.
    Lock,
    /// SHM_UNLOCK.
    Unlock,
}

fn describe(segment: &Arc<Segment>, state: &State, asker: &Asker<'_>) -> ShmidDs {
    // Besides the mappings: the caller, and the table where it still does.
    let held = state.perm.mode & ShmFlags::DEST.bits() == 0;
    let others = 1 + usize::from(held);
    ShmidDs {
        shm_perm: asker.shown(&state.perm),
        shm_segsz: segment.size,
        shm_atime: state.attached_at,
        shm_dtime: state.detached_at,
        shm_ctime: state.changed_at,
        shm_cpid: asker.number(&state.creator),
        shm_lpid: asker.number(&state.last),
        shm_nattch: Arc::strong_count(segment).saturating_sub(others) as u64,
        unused4: 0,
        unused5: 0,
    }
}

impl IpcNamespace {
    /// shmget(2): the id of the segment with this key, at least so many bytes long.
    pub fn shm_get(&self, memory: &Arc<MemoryFile>, asked: (i32, u64, u32), asker: Asker<'_>) -> Result<i32> {
        self.shm.get(memory, asked, &self.limits, asker)
    }
}

impl Segment {
    /// Bytes, as they were asked for.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// `process` has attached it.
    pub fn attached(&self, process: PidTrace) {
        let mut state = self.state.lock();
        state.attached_at = now();
        state.last = Some(Arc::new(process));
    }
}

impl Mappable for Segment {
    fn translate(&self, offset: u64, len: u64, write: bool) -> Result<Run> {
        self.memory.translate(offset, len, write)
    }

    fn sync(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }

    fn punch_hole(&self, offset: u64, len: u64) -> Result<()> {
        self.memory.punch_hole(offset, len)
    }

    fn segment_size(&self) -> Option<u64> {
        Some(self.memory.size())
    }

    fn segment_detached(&self, process: PidTrace) {
        let mut state = self.state.lock();
        state.detached_at = now();
        state.last = Some(Arc::new(process));
    }

    fn device_and_inode(&self) -> (u64, u64) {
        self.memory.device_and_inode()
    }

    fn futex_id(&self) -> u64 {
        self.memory.futex_id()
    }
}
