//! Mappings of the caller: mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), mlock(2) and their relatives.

use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_IPC_LOCK;
use abi::mman::{
    MAP_HUGE_MASK, MAP_HUGE_SHIFT, MAP_TYPE, MapFlags, MlockFlags, MlockallFlags, MremapFlags, MsyncFlags,
    ProtFlags,
};
use abi::resource::{RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK};
use sentry::SysResult;
use sentry::mm::{MapBacking, MapName, MapRequest, MmLimits, PAGE, Prot, UserAddr};
use sentry::task::CurrentTask;
use sentry::vfs::MountFlags;

use crate::arg::{Fd, Flags, Madvice, MapArg};

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
    .union(MapFlags::ADDR_32BIT);

/// Logarithms of the sizes of huge pages on x86-64; 0 is the default size.
const HUGE_SIZES: [u32; 3] = [0, 21, 30];

/// What memory calls of the caller are checked against.
fn limits(task: &CurrentTask) -> MmLimits {
    let group = task.thread_group();
    MmLimits {
        address_space: group.limit(RLIMIT_AS).rlim_cur,
        data: group.limit(RLIMIT_DATA).rlim_cur,
        memlock: group.limit(RLIMIT_MEMLOCK).rlim_cur,
        may_lock: task.own_creds().has_cap(CAP_IPC_LOCK),
    }
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
    let prot = Prot::from_bits_truncate(prot.bits());
    let backing = if map_flags.contains(MapFlags::ANONYMOUS) {
        if map_flags.contains(MapFlags::HUGETLB) {
            let size = flags.0 >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
            // There are no huge pages in the pool, as on a machine that has set none aside.
            return Err(if HUGE_SIZES.contains(&size) { Errno::ENOMEM } else { Errno::EINVAL }.into());
        }
        match kind {
            SHARED if map_flags.contains(MapFlags::GROWSDOWN) => MapBacking::Refused(Errno::EINVAL),
            SHARED | PRIVATE => MapBacking::Anonymous,
            _ => MapBacking::Refused(Errno::EINVAL),
        }
    } else {
        file_backing(task, fd, kind, prot, map_flags, offset)?
    };
    map_flags |= if kind == PRIVATE { MapFlags::PRIVATE } else { MapFlags::SHARED };
    let request = MapRequest { addr, len, prot, flags: map_flags, backing, limits: limits(task) };
    Ok(task.mm().mmap(request)?)
}

fn file_backing(
    task: &CurrentTask,
    fd: Fd,
    kind: u32,
    prot: Prot,
    flags: MapFlags,
    offset: u64,
) -> Result<MapBacking, Errno> {
    let file = task.file(fd.0)?;
    if flags.contains(MapFlags::HUGETLB) {
        return Err(Errno::EINVAL);
    }
    let refused = |errno| Ok(MapBacking::Refused(errno));
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
    let contents = match file.ops().mappable(&file) {
        Ok(contents) => contents,
        Err(errno) => return refused(errno),
    };
    if flags.contains(MapFlags::GROWSDOWN) {
        return refused(Errno::EINVAL);
    }
    match contents.may_map(shared, prot) {
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
    Ok(task.mm().mprotect(addr, len, prot.retain(), &limits(task))?)
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

/// madvise(2)
pub fn madvise(task: &mut CurrentTask, addr: UserAddr, len: u64, advice: Madvice) -> SysResult<()> {
    Ok(task.mm().madvise(addr, len, advice.0)?)
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
