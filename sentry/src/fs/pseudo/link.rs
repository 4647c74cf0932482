//! Symbolic links.

use std::sync::Arc;

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::S_IFLNK;

use super::attr;
use crate::Result;
use crate::vfs::inode::Link;
use crate::vfs::{Attr, Caller, FileOps, Inode, InodeOps, SuperBlock};

/// What a link leads to, found each time anew.
type Find = dyn Fn(&Caller<'_>) -> Result<Link> + Send + Sync;
/// What readlink(2) says.
type Say = dyn Fn(&Caller<'_>) -> Result<Vec<u8>> + Send + Sync;
/// Mode, owner and group now.
type Owner = dyn Fn() -> (u32, u32, u32) + Send + Sync;

/// A symbolic link.
pub struct PseudoLink {
    find: Box<Find>,
    say: Box<Say>,
    owner: Box<Owner>,
}

impl PseudoLink {
    /// A link whose text `say` gives, and that leads where the text says.
    pub fn text(
        sb: &Arc<SuperBlock>,
        say: impl Fn(&Caller<'_>) -> Result<Vec<u8>> + Send + Sync + Clone + 'static,
    ) -> Arc<Inode> {
        let text = say.clone();
        let find = move |caller: &Caller<'_>| Ok(Link::Text(text(caller)?.into()));
        Self::magic(sb, || (0o777, 0, 0), find, say)
    }

    /// A link that leads where `find` says, whatever the text. `owner` gives mode, owner and group.
    pub fn magic(
        sb: &Arc<SuperBlock>,
        owner: impl Fn() -> (u32, u32, u32) + Send + Sync + 'static,
        find: impl Fn(&Caller<'_>) -> Result<Link> + Send + Sync + 'static,
        say: impl Fn(&Caller<'_>) -> Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Arc<Inode> {
        let (mode, uid, gid) = owner();
        let ops = PseudoLink { find: Box::new(find), say: Box::new(say), owner: Box::new(owner) };
        let attr = attr(sb.next_ino(), S_IFLNK | mode, 1, uid, gid);
        Inode::new(sb, &attr, Box::new(ops))
    }
}

impl InodeOps for PseudoLink {
    fn attr(&self, inode: &Inode) -> Result<Attr> {
        let (mode, uid, gid) = (self.owner)();
        inode.set_owner(S_IFLNK | mode, uid, gid);
        Ok(attr(inode.ino, S_IFLNK | mode, 1, uid, gid))
    }

    fn read_link(&self, _inode: &Inode, caller: &Caller<'_>) -> Result<Arc<[u8]>> {
        Ok((self.say)(caller)?.into())
    }

    fn follow(&self, _inode: &Inode, caller: &Caller<'_>) -> Result<Link> {
        (self.find)(caller)
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        Err(Errno::ELOOP)
    }
}
