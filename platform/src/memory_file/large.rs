//! A file whose pages the host makes many at once.
//!
//! A fault that makes a page of a file in memory costs the host twice what one of anonymous memory does: 2.1 us against 1.2 where this
//! was measured (Linux 6.18). A file of a tmpfs mounted with `huge=within_size` gets *large folios* from fallocate(2), naturally
//! aligned blocks of up to 2 MiB (since Linux 6.14; before, 2 MiB or single pages): 0.1 us a page, and the first touch of a block
//! shows all of it. A memfd gets them only where the administrator has said so for the whole machine
//! (`/sys/kernel/mm/transparent_hugepage/shmem_enabled`).
//!
//! The host takes the largest block around the offset that holds no page yet, however little was asked for. So a single page is made
//! first where a block has to end.
//!
//! Nobody may get such a block by touching a page, or each page touched would take 2 MiB: that is what PR_SET_THP_DISABLE says, for
//! this process and, as forks inherit it, for those of the guests.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};

/// Such a file, of no size yet, without a name anywhere.
#[derive(Debug)]
pub struct LargeFile(OwnedFd);

impl LargeFile {
    /// Makes one. Takes the right to mount, which a process has in its own namespaces.
    pub fn new() -> io::Result<LargeFile> {
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "huge", "within_size")?;
        // Without this a tmpfs takes half of the machine's memory at most; guest memory has no limit of that kind.
        fsconfig_set_string(&context, "size", "0")?;
        fsconfig_create(&context)?;
        let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        Ok(LargeFile(openat(&root, ".", flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// The same file once more.
    pub fn try_clone(&self) -> io::Result<LargeFile> {
        Ok(LargeFile(self.0.try_clone()?))
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.0
    }
}
