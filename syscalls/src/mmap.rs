//! Mappings of the caller: mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), mlock(2) and their relatives.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::capability::{CAP_IPC_LOCK, CAP_SYS_NICE};
use abi::elf::Personality;
use abi::mman::{
    MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, MAP_HUGE_MASK, MAP_HUGE_SHIFT, MAP_TYPE, MapFlags, MlockFlags,
    MlockallFlags, MremapFlags, MsyncFlags, ProtFlags,
};
use abi::resource::{RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK};
use sentry::SysResult;
use sentry::mm::{MapBacking, MapName, MapRequest, MmLimits, PAGE, Prot, UserAddr};
use sentry::task::{Access, CurrentTask};
use sentry::vfs::MountFlags;

use crate::arg::{Fd, Flags, IoVecs, Madvice, MapArg};
use crate::{iovec, pidfd};

/// MAP_SHARED, MAP_PRIVATE and MAP_SHARED_VALIDATE of [`MAP_TYPE`].
const SHARED: u32 = 1;
const PRIVATE: u32 = 2;
const SHARED_VALIDATE: u32 = 3;

/// Flags that MAP_SHARED_VALIDATE knows (LEGACY_MAP_MASK of Linux); it refuses others.
const KNOWN: MapFlags = MapFlags::SHARED
    .union(MapFlags::PRIVATE)
    .union(MapFlags::FIXED)
    .union(MapFlags::ANONYMOUS)
    .union(MapFlags::DENYWRITE)
    .union(MapFlags::EXECUTABLE)
    .union(MapFlags::UNINITIALIZED)
    .union(MapFlags::GROWSDOWN)
    .union(MapFlags::LOCKED)
    .union(MapFlags::NORESERVE)
    .union(MapFlags::POPULATE)
    .union(MapFlags::NONBLOCK)
    .union(MapFlags::STACK)
    .union(MapFlags::HUGETLB)
    .union(MapFlags::ADDR_32BIT)
    .union(MapFlags::from_bits_retain(MAP_ABOVE4G | 21 << MAP_HUGE_SHIFT | 30 << MAP_HUGE_SHIFT));

/// Not in the low 4 GiB, where mappings without an address never are.
const MAP_ABOVE4G: u32 = 0x80;

/// Logarithms of the sizes of huge pages on x86-64; 0 is the default size.
const HUGE_SIZES: [u32; 3] = [0, 21, 30];

/// What memory calls of the caller are checked against.
pub(crate) fn limits(task: &CurrentTask) -> MmLimits {
    let group = task.thread_group();
    MmLimits {
        address_space: group.limit(RLIMIT_AS).rlim_cur,
        data: group.limit(RLIMIT_DATA).rlim_cur,
        memlock: group.limit(RLIMIT_MEMLOCK).rlim_cur,
        may_lock: task.own_creds().has_cap(CAP_IPC_LOCK),
    }
}

/// What READ_IMPLIES_EXEC of personality(2) adds to a protection.
fn implied(task: &CurrentTask, prot: Prot, most: Prot) -> Prot {
    let implies = task.personality.load(Ordering::Relaxed) & Personality::READ_IMPLIES_EXEC.bits() != 0;
    if implies && prot.contains(Prot::READ) { Prot::EXEC & most } else { Prot::empty() }
}

/// mmap(2)
pub fn mmap(
    task: &mut CurrentTask,
    addr: UserAddr,
    len: u64,
    prot: Flags<ProtFlags>,
    flags: MapArg,
    fd: Fd,
    offset: u64,
) -> SysResult<UserAddr> {
    if !offset.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    let kind = flags.0 & MAP_TYPE;
    let mut map_flags = MapFlags::from_bits_retain(flags.0 & !MAP_TYPE);
    // Unknown bits of the protection are ignored here, unlike in mprotect.
    let mut prot = Prot::from_bits_truncate(prot.bits() as u32);
    let backing = if map_flags.contains(MapFlags::ANONYMOUS) {
        if map_flags.contains(MapFlags::HUGETLB) {
            let size = flags.0 >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
            // There are no huge pages in the pool, as on a machine that has set none aside.
            return Err(if HUGE_SIZES.contains(&size) { Errno::ENOMEM } else { Errno::EINVAL }.into());
        }
        match kind {
            SHARED if map_flags.contains(MapFlags::GROWSDOWN) => MapBacking::Refused(Errno::EINVAL),
            SHARED | PRIVATE => {
                prot |= implied(task, prot, Prot::all());
                MapBacking::Anonymous
            }
            _ => MapBacking::Refused(Errno::EINVAL),
        }
    } else {
        file_backing(task, fd, kind, &mut prot, map_flags, offset, len)?
    };
    map_flags |= if kind == PRIVATE { MapFlags::PRIVATE } else { MapFlags::SHARED };
    let request = MapRequest { addr, len, prot, flags: map_flags, backing, limits: limits(task) };
    Ok(task.mm().mmap(request)?)
}

fn file_backing(
    task: &CurrentTask,
    fd: Fd,
    kind: u32,
    prot: &mut Prot,
    flags: MapFlags,
    offset: u64,
    len: u64,
) -> Result<MapBacking, Errno> {
    let file = task.file(fd.0)?;
    if flags.contains(MapFlags::HUGETLB) {
        return Err(Errno::EINVAL);
    }
    let refused = |errno| Ok(MapBacking::Refused(errno));
    // Regular files end at a signed offset, other files where the numbers do.
    let most = if file.path.inode().is_regular() { i64::MAX as u64 } else { u64::MAX };
    let rounded = len.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
    if most.checked_sub(rounded).is_none_or(|last| offset / PAGE > last / PAGE) {
        return refused(Errno::EOVERFLOW);
    }
    let shared = match kind {
        SHARED => true,
        SHARED_VALIDATE if !KNOWN.contains(flags) => return refused(Errno::EOPNOTSUPP),
        SHARED_VALIDATE => true,
        PRIVATE => false,
        _ => return refused(Errno::EINVAL),
    };
    let access = file.access();
    let mut max_prot = Prot::all();
    if shared {
        if prot.contains(Prot::WRITE) && !access.write {
            return refused(Errno::EACCES);
        }
        if !access.write {
            max_prot -= Prot::WRITE;
        }
    }
    if !access.read {
        return refused(Errno::EACCES);
    }
    if file.path.mount.flags().contains(MountFlags::NOEXEC) {
        if prot.contains(Prot::EXEC) {
            return refused(Errno::EPERM);
        }
        max_prot -= Prot::EXEC;
    }
    *prot |= implied(task, *prot, max_prot);
    let contents = match file.ops().mappable(&file) {
        Ok(contents) => contents,
        Err(errno) => return refused(errno),
    };
    if flags.contains(MapFlags::GROWSDOWN) {
        return refused(Errno::EINVAL);
    }
    if contents.is_zero_device() {
        return Ok(MapBacking::Anonymous);
    }
    match contents.may_map(shared, *prot) {
        Ok(most) => max_prot &= most,
        Err(errno) => return refused(errno),
    }
    Ok(MapBacking::File { file: contents, offset, max_prot, name: MapName::File(Arc::clone(&file) as _) })
}

/// munmap(2)
pub fn munmap(task: &mut CurrentTask, addr: UserAddr, len: u64) -> SysResult<()> {
    Ok(task.mm().munmap(addr, len)?)
}

/// mprotect(2)
pub fn mprotect(task: &mut CurrentTask, addr: UserAddr, len: u64, prot: Flags<ProtFlags>) -> SysResult<()> {
    let mut prot = prot.retain();
    if !implied(task, Prot::from_bits_truncate(prot.bits() as u32), Prot::all()).is_empty() {
        prot |= ProtFlags::EXEC;
    }
    Ok(task.mm().mprotect(addr, len, prot, &limits(task))?)
}

/// pkey_mprotect(2): without protection keys only the key -1 exists, and means mprotect.
pub fn pkey_mprotect(
    task: &mut CurrentTask,
    addr: UserAddr,
    len: u64,
    prot: Flags<ProtFlags>,
    key: i32,
) -> SysResult<()> {
    if key != -1 {
        return Err(Errno::EINVAL.into());
    }
    mprotect(task, addr, len, prot)
}

/// pkey_alloc(2): as on a processor without protection keys.
pub fn pkey_alloc(_task: &mut CurrentTask, flags: u64, rights: u64) -> SysResult<i32> {
    let known = u64::from(abi::mman::PKEY_DISABLE_ACCESS | abi::mman::PKEY_DISABLE_WRITE);
    Err(if flags != 0 || rights & !known != 0 { Errno::EINVAL } else { Errno::ENOSPC }.into())
}

/// pkey_free(2): no key was ever given out.
pub fn pkey_free(_task: &mut CurrentTask, _key: i32) -> SysResult<()> {
    Err(Errno::EINVAL.into())
}

/// brk(2): never an error, but where the heap ends now.
pub fn brk(task: &mut CurrentTask, addr: UserAddr) -> SysResult<UserAddr> {
    Ok(task.mm().brk(addr, &limits(task)))
}

/// mremap(2)
pub fn mremap(
    task: &mut CurrentTask,
    addr: UserAddr,
    old_len: u64,
    new_len: u64,
    flags: Flags<MremapFlags>,
    new_addr: UserAddr,
) -> SysResult<UserAddr> {
    Ok(task.mm().mremap(addr, old_len, new_len, flags.retain(), new_addr, &limits(task))?)
}

/// remap_file_pages(2)
pub fn remap_file_pages(
    task: &mut CurrentTask,
    addr: UserAddr,
    len: u64,
    prot: u64,
    page: u64,
    flags: MapArg,
) -> SysResult<()> {
    if prot != 0 {
        return Err(Errno::EINVAL.into());
    }
    let nonblock = flags.0 & MapFlags::NONBLOCK.bits() != 0;
    Ok(task.mm().remap_file_pages(addr, len, page, nonblock, limits(task))?)
}

/// madvise(2)
pub fn madvise(task: &mut CurrentTask, addr: UserAddr, len: u64, advice: Madvice) -> SysResult<()> {
    Ok(task.mm().madvise(addr, len, advice.0)?)
}

/// process_madvise(2)
pub fn process_madvise(
    task: &mut CurrentTask,
    pidfd: Fd,
    ranges: IoVecs,
    count: u64,
    advice: Madvice,
    flags: u32,
) -> SysResult<u64> {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let ranges = iovec::read(task, ranges.array(), count)?;
    let other = pidfd::task(task, pidfd.0)?;
    task.may_look_into(&other, Access::Call)?;
    let theirs = other.resources().ok_or(Errno::ESRCH)?.mm;
    let own = Arc::ptr_eq(&theirs, task.mm());
    if !own && !matches!(advice.0, MADV_COLD | MADV_PAGEOUT | MADV_WILLNEED) {
        return Err(Errno::EINVAL.into());
    }
    if !own && !task.own_creds().has_cap(CAP_SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    let mut done = 0;
    for range in &ranges {
        match theirs.madvise(range.addr, range.len, advice.0) {
            Ok(()) => done += range.len,
            Err(errno) if done == 0 => return Err(errno.into()),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// mincore(2)
pub fn mincore(task: &mut CurrentTask, addr: UserAddr, len: u64, out: UserAddr) -> SysResult<()> {
    let mm = Arc::clone(task.mm());
    if !addr.0.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    if !addr.access_ok(len) {
        return Err(Errno::ENOMEM.into());
    }
    if !out.access_ok(len.div_ceil(PAGE)) {
        return Err(Errno::EFAULT.into());
    }
    let mut done = 0;
    Ok(mm.mincore(addr, len, |pages| {
        mm.copy_out(out.add(done)?, pages)?;
        done += pages.len() as u64;
        Ok(())
    })?)
}

/// msync(2)
pub fn msync(task: &mut CurrentTask, addr: UserAddr, len: u64, flags: Flags<MsyncFlags>) -> SysResult<()> {
    Ok(task.mm().msync(addr, len, flags.retain())?)
}

/// mlock(2)
pub fn mlock(task: &mut CurrentTask, addr: UserAddr, len: u64) -> SysResult<()> {
    Ok(task.mm().mlock(addr, len, false, &limits(task))?)
}

/// mlock2(2)
pub fn mlock2(task: &mut CurrentTask, addr: UserAddr, len: u64, flags: Flags<MlockFlags>) -> SysResult<()> {
    let on_fault = flags.known()?.contains(MlockFlags::ONFAULT);
    Ok(task.mm().mlock(addr, len, on_fault, &limits(task))?)
}

/// munlock(2)
pub fn munlock(task: &mut CurrentTask, addr: UserAddr, len: u64) -> SysResult<()> {
    Ok(task.mm().munlock(addr, len)?)
}

/// mlockall(2)
pub fn mlockall(task: &mut CurrentTask, flags: Flags<MlockallFlags>) -> SysResult<()> {
    Ok(task.mm().mlockall(flags.retain(), &limits(task))?)
}

/// munlockall(2)
pub fn munlockall(task: &mut CurrentTask) -> SysResult<()> {
    task.mm().munlockall();
    Ok(())
}
