//! A file whose pages the host makes many at once.
//!
//! A fault that makes a page of a file in memory costs the host twice what one of anonymous memory does: 2.1 us against 1.2 where this
//! was measured (Linux 6.18). A file of a tmpfs mounted with `huge=within_size` gets *large folios* from fallocate(2), naturally
//! aligned blocks of up to 2 MiB (since Linux 6.14; before, 2 MiB or single pages): 0.1 us a page, and the first touch of a block
//! shows all of it. A memfd gets them only where the administrator has said so for the whole machine
//! (`/sys/kernel/mm/transparent_hugepage/shmem_enabled`).
//!
//! The host takes the largest block around the offset that holds no page yet, however little was asked for. So a run begins with
//! pages that guests have touched one by one, and what is asked for next at most doubles it.
//!
//! Nobody may get such a block by touching a page, or each page touched would take 2 MiB: that is what PR_SET_THP_DISABLE says, for
//! this process and, as forks inherit it, for those of the guests.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};

/// Makes such a file, of no size, without a name anywhere. Takes the right to mount, which a process has in its own
/// namespaces.
pub(super) fn create() -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "huge", "within_size")?;
    // Without this a tmpfs takes half of the machine's memory at most; guest memory has no limit of that kind.
    fsconfig_set_string(&context, "size", "0")?;
    fsconfig_create(&context)?;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = openat(&root, ".", flags, Mode::RUSR | Mode::WUSR)?;
    host::prctl::set_thp_disabled(true)?;
    Ok(file)
}
