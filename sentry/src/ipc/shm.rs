//! System V shared memory (shmget(2), shmop(2), shmctl(2)).
//!
//! A [`Segment`] is what mappings hold; how many do is its count of attachments. The table holds those that have not been
//! removed. A removed one lives on, without a key, until nobody has it attached.
//!
//! Lock levels: `FileState` for the table, `Leaf` for a segment. Segments are dropped after the lock.

use std::sync::{Arc, Weak};

use abi::Errno;
use abi::capability::{CAP_IPC_OWNER, CAP_SYS_ADMIN};
use abi::ipc::{IPC_PRIVATE, IpcFlags, IpcPerm, ShmFlags, ShmInfo, ShmInfo64, ShmidDs};
use platform::MemoryFile;
use sync::Mutex;

use crate::Result;
use crate::mm::shmem::Shmem;
use crate::mm::{Mappable, PAGE, Run};
use crate::task::Credentials;
use crate::vfs::Timestamp;

/// Segments at most (/proc/sys/kernel/shmmni).
const MOST: usize = 4096;
/// Bytes of a segment at most, and pages of all (/proc/sys/kernel/shmmax, shmall).
const MOST_BYTES: u64 = u64::MAX - (1 << 24);
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

#[derive(Clone, Copy)]
struct State {
    perm: IpcPerm,
    attached_at: i64,
    detached_at: i64,
    changed_at: i64,
    creator: i32,
    last: i32,
}

/// All segments of a sandbox.
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

/// Who asks.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// Credentials.
    pub creds: &'a Credentials,
    /// Process id.
    pub pid: i32,
}

impl Asker<'_> {
    /// Whether the mode bits of `perm` allow all of `wanted` (bits as in a mode, in any of the three places).
    fn may(&self, perm: &IpcPerm, wanted: u32) -> bool {
        let wanted = (wanted >> 6 | wanted >> 3 | wanted) & 7;
        let granted = if self.is_owner(perm) {
            perm.mode >> 6
        } else if self.creds.in_egroup(perm.gid) || self.creds.in_egroup(perm.cgid) {
            perm.mode >> 3
        } else {
            perm.mode
        };
        wanted & !granted == 0 || self.creds.has_cap(CAP_IPC_OWNER)
    }

    fn is_owner(&self, perm: &IpcPerm) -> bool {
        self.creds.euid == perm.uid || self.creds.euid == perm.cuid
    }
}

impl ShmTable {
    /// shmget(2): the id of the segment with this key.
    pub fn get(
        &self,
        memory: &Arc<MemoryFile>,
        (key, size, flags): (i32, u64, u32),
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
            return if asker.may(&perm, flags & 0o777) { Ok(id) } else { Err(Errno::EACCES) };
        }
        if key != IPC_PRIVATE && !how.contains(IpcFlags::CREAT) {
            return Err(Errno::ENOENT);
        }
        // No file is larger than a signed offset tells.
        if size == 0 || size > MOST_BYTES || i64::try_from(size).is_err() {
            return Err(Errno::EINVAL);
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
            None if slots.all.len() < MOST => slots.all.len(),
            None => return Err(Errno::ENOSPC),
        };
        let creds = asker.creds;
        let perm = IpcPerm {
            key,
            uid: creds.euid,
            gid: creds.egid,
            cuid: creds.euid,
            cgid: creds.egid,
            mode: flags & 0o777,
            seq: slots.sequence,
            pad2: [0; 3],
            unused1: 0,
            unused2: 0,
        };
        let state =
            State { perm, attached_at: 0, detached_at: 0, changed_at: now(), creator: asker.pid, last: 0 };
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
        if asker.may(&perm, wanted) { Ok(segment) } else { Err(Errno::EACCES) }
    }

    /// IPC_STAT.
    pub fn stat(&self, id: i32, asker: Asker<'_>) -> Result<ShmidDs> {
        let segment = self.find(id)?;
        let state = *segment.state.lock();
        if !asker.may(&state.perm, 0o444) {
            return Err(Errno::EACCES);
        }
        Ok(self.describe(&segment, state))
    }

    /// SHM_STAT and SHM_STAT_ANY: the segment in this place of the table, with its id.
    pub fn stat_place(&self, place: i32, anybody: Anybody, asker: Asker<'_>) -> Result<(i32, ShmidDs)> {
        let place = usize::try_from(place).map_err(|_| Errno::EINVAL)?;
        let found = {
            let slots = self.slots.lock();
            slots.all.get(place).and_then(|slot| Some((slot.id, slot.segment()?)))
        };
        let (id, segment) = found.ok_or(Errno::EINVAL)?;
        let state = *segment.state.lock();
        if anybody == Anybody::No && !asker.may(&state.perm, 0o444) {
            return Err(Errno::EACCES);
        }
        Ok((id, self.describe(&segment, state)))
    }

    fn describe(&self, segment: &Arc<Segment>, state: State) -> ShmidDs {
        // Besides the mappings: the caller, and the table where it still does.
        let held = state.perm.mode & ShmFlags::DEST.bits() == 0;
        let others = 1 + usize::from(held);
        ShmidDs {
            shm_perm: state.perm,
            shm_segsz: segment.size,
            shm_atime: state.attached_at,
            shm_dtime: state.detached_at,
            shm_ctime: state.changed_at,
            shm_cpid: state.creator,
            shm_lpid: state.last,
            shm_nattch: Arc::strong_count(segment).saturating_sub(others) as u64,
            unused4: 0,
            unused5: 0,
        }
    }

    /// IPC_SET: owner and mode.
    pub fn set(&self, id: i32, new: &IpcPerm, asker: Asker<'_>) -> Result<()> {
        let segment = self.find(id)?;
        let mut state = segment.state.lock();
        may_control(&state.perm, asker)?;
        if new.uid == u32::MAX || new.gid == u32::MAX {
            return Err(Errno::EINVAL);
        }
        (state.perm.uid, state.perm.gid) = (new.uid, new.gid);
        state.perm.mode = state.perm.mode & !0o777 | new.mode & 0o777;
        state.changed_at = now();
        Ok(())
    }

    /// IPC_RMID.
    pub fn remove(&self, id: i32, asker: Asker<'_>) -> Result<()> {
        let segment = self.find(id)?;
        {
            let mut state = segment.state.lock();
            may_control(&state.perm, asker)?;
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
        if !asker.creds.has_cap(abi::capability::CAP_IPC_LOCK) && !asker.is_owner(&state.perm) {
            return Err(Errno::EPERM);
        }
        match lock {
            Lock::Lock => state.perm.mode |= ShmFlags::LOCKED.bits(),
            Lock::Unlock => state.perm.mode &= !ShmFlags::LOCKED.bits(),
        }
        Ok(())
    }

    /// IPC_INFO: the limits, and the highest place in use.
    pub fn limits(&self) -> (i32, ShmInfo64) {
        let info = ShmInfo64 {
            shmmax: MOST_BYTES,
            shmmin: 1,
            shmmni: MOST as u64,
            shmseg: MOST as u64,
            shmall: MOST_BYTES,
            unused: [0; 4],
        };
        (self.highest(), info)
    }

    /// SHM_INFO: what is in use, and the highest place.
    pub fn usage(&self) -> (i32, ShmInfo) {
        let segments: Vec<Arc<Segment>> = self.slots.lock().all.iter().filter_map(Slot::segment).collect();
        let pages = segments.iter().map(|segment| segment.memory.size() / PAGE).sum();
        let used_ids = segments.len() as i32;
        let info = ShmInfo {
            used_ids,
            pad: 0,
            shm_tot: pages,
            shm_rss: pages,
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

/// Whether permission to read is not asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Anybody {
    /// SHM_STAT_ANY.
    Yes,
    /// SHM_STAT.
    No,
}

/// SHM_LOCK or SHM_UNLOCK.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// SHM_LOCK.
    Lock,
    /// SHM_UNLOCK.
    Unlock,
}

fn may_control(perm: &IpcPerm, asker: Asker<'_>) -> Result<()> {
    if asker.is_owner(perm) || asker.creds.has_cap(CAP_SYS_ADMIN) { Ok(()) } else { Err(Errno::EPERM) }
}

fn now() -> i64 {
    Timestamp::now().secs
}

impl Segment {
    /// Bytes, as they were asked for.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// `pid` has attached it.
    pub fn attached(&self, pid: i32) {
        let mut state = self.state.lock();
        state.attached_at = now();
        state.last = pid;
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

    fn segment_detached(&self, pid: i32) {
        let mut state = self.state.lock();
        state.detached_at = now();
        state.last = pid;
    }

    fn device_and_inode(&self) -> (u64, u64) {
        self.memory.device_and_inode()
    }

    fn futex_id(&self) -> u64 {
        self.memory.futex_id()
    }
}
