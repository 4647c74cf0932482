//! What kernel and server agree on at the start (INIT).

use abi::fuse::{FUSE_KERNEL_VERSION, FuseInitFlags, FuseInitOut};
use platform::PAGE_SIZE;
use zerocopy::{FromBytes, IntoBytes};

/// What the kernel offers.
pub(super) const OFFERED: FuseInitFlags = FuseInitFlags::ASYNC_READ
    .union(FuseInitFlags::BIG_WRITES)
    .union(FuseInitFlags::DONT_MASK)
    .union(FuseInitFlags::AUTO_INVAL_DATA)
    .union(FuseInitFlags::DO_READDIRPLUS)
    .union(FuseInitFlags::READDIRPLUS_AUTO)
    .union(FuseInitFlags::NO_OPEN_SUPPORT)
    .union(FuseInitFlags::PARALLEL_DIROPS)
    .union(FuseInitFlags::ABORT_ERROR)
    .union(FuseInitFlags::MAX_PAGES)
    .union(FuseInitFlags::NO_OPENDIR_SUPPORT);

/// Bytes of one READ at most.
pub(super) const MAX_READ: u32 = 128 * 1024;
/// Pages of one WRITE, unless the server says, and at most.
const PAGES: u16 = 32;
const PAGES_MAX: u16 = 256;

/// The agreement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Minor version of the server's protocol.
    pub minor: u32,
    /// What both can do.
    pub flags: FuseInitFlags,
    /// Bytes of one WRITE at most.
    pub max_write: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { minor: 0, flags: FuseInitFlags::empty(), max_write: PAGE_SIZE as usize }
    }
}

impl Terms {
    /// From the server's answer; `None` when it speaks another protocol.
    pub fn from_reply(reply: &[u8]) -> Option<Terms> {
        let mut out = FuseInitOut::default();
        // Old servers say less.
        let known = reply.len().min(size_of::<FuseInitOut>());
        out.as_mut_bytes()[..known].copy_from_slice(&reply[..known]);
        let (major, rest) = u32::read_from_prefix(reply).ok()?;
        let (minor, _) = u32::read_from_prefix(rest).ok()?;
        // Before 7.9 attributes were shorter.
        if major != FUSE_KERNEL_VERSION || minor < 9 {
            return None;
        }
        let flags = FuseInitFlags::from_bits_truncate(out.flags) & OFFERED;
        let pages =
            if flags.contains(FuseInitFlags::MAX_PAGES) { out.max_pages.clamp(1, PAGES_MAX) } else { PAGES };
        let most = usize::from(pages) * PAGE_SIZE as usize;
        let max_write = (out.max_write as usize).clamp(PAGE_SIZE as usize, most);
        Some(Terms { minor, flags, max_write })
    }
}
