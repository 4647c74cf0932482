//! What the Gofer does for each request: one file a group, one function a request.

mod attributes;
mod create;
mod listing;
mod names;
mod open;
mod socket;
mod walk;
mod xattr;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gofer_protocol::{Errno, Packer, Reply, Request, VERSION};

use crate::server::Server;
use crate::table::Node;

/// Bytes of scratch room: the longest value of an extended attribute.
const SCRATCH: usize = 64 * 1024;

/// Room that replies are made in, one for each channel.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// For lists.
    pub packer: Packer,
    /// For the list of directories that were listed along with another.
    pub below: Packer,
    /// For the names of one of those, before it is looked at.
    pub names: listing::Names,
    /// For strings; never grows.
    pub bytes: Vec<u8>,
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch {
            packer: Packer::new(),
            below: Packer::new(),
            names: listing::Names::default(),
            bytes: Vec::with_capacity(SCRATCH),
        }
    }
}

/// A reply and the fds that go with it.
#[derive(Debug)]
pub(crate) struct Answer<'s> {
    pub reply: Reply<'s>,
    pub gift: Gift,
}

/// Fds that are given away.
#[derive(Debug)]
pub(crate) enum Gift {
    None,
    File(OwnedFd),
    Channels(Vec<OwnedFd>),
}

impl Gift {
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let fds = match self {
            Gift::None => &[],
            Gift::File(fd) => std::slice::from_ref(fd),
            Gift::Channels(fds) => fds.as_slice(),
        };
        fds.iter().map(OwnedFd::as_fd)
    }
}

impl<'s> From<Reply<'s>> for Answer<'s> {
    fn from(reply: Reply<'s>) -> Answer<'s> {
        Answer { reply, gift: Gift::None }
    }
}

/// Does what a request asks for. `Close` has no reply and an empty answer.
pub(crate) fn perform<'s>(
    server: &Server,
    scratch: &'s mut Scratch,
    request: Request<'_>,
) -> Result<Option<Answer<'s>>, Errno> {
    let answer = match request {
        Request::Hello { version: _ } => hello(server, scratch)?,
        Request::Attach { tree } => walk::attach(server, tree)?,
        Request::Walk { dir, leaf, names } => walk::walk(server, scratch, dir, leaf, names)?,
        Request::Look { places } => walk::look(server, scratch, places)?,
        Request::Stat { handle } => attributes::stat(server, handle)?,
        Request::Open { handle, flags } => open::open(server, handle, flags)?,
        Request::Create { dir, name, perm, owner, flags } => {
            create::file(server, dir, name, create::New { perm, owner }, flags)?
        }
        Request::CreateUnnamed { dir, perm, owner } => {
            create::unnamed(server, dir, create::New { perm, owner })?
        }
        Request::Mkdir { dir, name, perm, owner } => {
            create::directory(server, dir, name, create::New { perm, owner })?
        }
        Request::Mknod { dir, name, kind, perm, owner } => {
            create::node(server, dir, name, kind, create::New { perm, owner })?
        }
        Request::Symlink { dir, name, owner, target } => create::symlink(server, dir, name, owner, target)?,
        Request::Link { handle, dir, name } => names::link(server, handle, dir, name)?,
        Request::Unlink { dir, name, kind } => names::unlink(server, dir, name, kind)?,
        Request::Rename { old_dir, old_name, new_dir, new_name, flags } => {
            names::rename(server, (old_dir, old_name), (new_dir, new_name), flags)?
        }
        Request::Readlink { handle } => walk::readlink(server, scratch, handle)?,
        Request::Readdir { handle, cookie, bytes, flags, ahead, next } => {
            let wanted = listing::Wanted { bytes, flags, ahead, next };
            listing::readdir(server, scratch, handle, cookie, wanted)?
        }
        Request::SetAttr { handle, changes } => attributes::set(server, handle, changes)?,
        Request::Statfs { handle } => attributes::statfs(server, handle)?,
        Request::GetXattr { handle, name } => xattr::get(server, scratch, handle, name)?,
        Request::SetXattr { handle, name, mode, value } => xattr::set(server, handle, name, mode, value)?,
        Request::ListXattr { handle } => xattr::list(server, scratch, handle)?,
        Request::RemoveXattr { handle, name } => xattr::remove(server, handle, name)?,
        Request::Sync { handle, kind } => open::sync(server, handle, kind)?,
        Request::Connect { handle, kind } => socket::connect(server, handle, kind)?,
        Request::Bind { dir, name, kind, perm, owner } => {
            socket::bind(server, dir, name, kind, create::New { perm, owner })?
        }
        Request::Close { handles } => {
            server.table.remove(handles.iter());
            return Ok(None);
        }
    };
    Ok(Some(answer))
}

/// The greeting. It comes once; the other ends of the further channels are given away with the answer.
fn hello<'s>(server: &Server, scratch: &'s mut Scratch) -> Result<Answer<'s>, Errno> {
    let channels = server.take_channels().ok_or(Errno::ALREADY)?;
    scratch.packer.clear(usize::MAX);
    for tree in &server.trees {
        if !scratch.packer.push(&tree.root.options.flags()) {
            return Err(Errno::TOOBIG);
        }
    }
    let max_handles = u32::try_from(server.table.max()).unwrap_or(u32::MAX);
    let reply = Reply::Hello { version: VERSION, max_handles, trees: scratch.packer.list() };
    Ok(Answer { reply, gift: Gift::Channels(channels) })
}

/// EROFS in a tree that may not change.
fn check_writable(node: &Node) -> Result<(), Errno> {
    if node.options.read_only { Err(Errno::ROFS) } else { Ok(()) }
}
