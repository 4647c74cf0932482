//! One function for each request.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType as HostType, fstat};
use rustix::io::Errno;

use super::channel::{Answer, Channel, Failure};
use super::{Client, Death, Taken};
use crate::attr::{Attr, FileType, Owner, Perm};
use crate::change::Changes;
use crate::flags::{
    Leaf, NodeKind, OpenFlags, ReaddirFlags, RenameFlags, SetMode, SocketKind, SyncKind, UnlinkKind,
};
use crate::handle::Handle;
use crate::list::{List, Packer};
use crate::name::{Bytes, Name, Target, XattrName};
use crate::node::{Below, Entry, Looked, Node, Place, StatfsReply};
use crate::reply::{Look, Reply};
use crate::request::Request;

/// Places that are looked at in one request: names of 255 bytes each, and their attributes, fit into a message.
const LOOK_BATCH: usize = 200;

/// How far a walk came.
#[derive(Debug)]
pub struct Walked {
    /// The files, in the order of their names. All but the last are directories with a handle.
    pub found: Vec<Looked>,
    /// Why the next name could not be followed. With none and fewer files than names, the last one is not a directory.
    pub error: Option<Errno>,
    /// If the last file is a symbolic link: what it points to.
    pub target: Option<Vec<u8>>,
    /// The last file, open for reading, if that was wanted, it is a regular file and the Gofer may read it.
    pub opened: Option<OwnedFd>,
}

/// What is to be listed along with a directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ahead<'a> {
    /// How many directories at most.
    pub most: u16,
    /// Those that come behind it. What is below it, and below each of these, comes as well.
    pub next: &'a [Handle],
}

/// A request for a directory and those ahead, of which as many are told as fit.
fn list_request<'p>(
    packer: &'p mut Packer,
    handle: Handle,
    cookie: u64,
    flags: ReaddirFlags,
    ahead: Ahead<'_>,
) -> Request<'p> {
    packer.clear(usize::MAX);
    let _ = ahead.next.iter().all(|next| packer.push(next));
    let next = packer.list();
    Request::Readdir { handle, cookie, bytes: u32::MAX, flags, ahead: ahead.most, next }
}

/// Tells `each` what has come, `most` further directories at most; whether the first has ended.
fn turn_listing(answer: &Answer<'_>, most: u16, each: &mut dyn FnMut(Listed<'_>) -> bool) -> Turned<bool> {
    let Reply::Entries { entries, end, below } = answer.reply else { return Err(Wrong) };
    let below_count: usize = below.iter().map(|below| usize::from(below.entries)).sum();
    let own = entries.len().checked_sub(below_count).ok_or(Wrong)?;
    if below.len() > usize::from(most) || !below.is_empty() && !end {
        return Err(Wrong);
    }
    let mut rest = entries.iter();
    let makes_sense = rest.by_ref().take(own).all(|entry| each(Listed::Entry(&entry)))
        && below.iter().all(|Below { dir, entries }| {
            each(Listed::Below(dir))
                && rest.by_ref().take(entries.into()).all(|entry| each(Listed::Entry(&entry)))
        });
    if makes_sense { Ok(Ok(end || entries.is_empty())) } else { Err(Wrong) }
}

/// What a listing brings, one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Listed<'a> {
    /// An entry.
    Entry(&'a Entry<'a>),
    /// The entries behind this are all those of the directory with this handle.
    Below(Handle),
    /// This directory can't be listed along with another.
    Not(Handle),
}

/// Not the reply that belongs to the request.
struct Wrong;

/// What a reply is turned into: a result for the caller, or the end of the connection.
type Turned<R> = Result<Result<R, Errno>, Wrong>;

impl Client {
    /// Sends a request with a list, which is packed into the channel's own room, and turns its reply into a result. The
    /// closures run while the channel is taken.
    fn ask<R>(
        &self,
        build: impl for<'a> FnOnce(&'a mut Packer) -> Result<Request<'a>, Errno>,
        turn: impl FnOnce(&mut Answer<'_>) -> Turned<R>,
    ) -> Result<R, Errno> {
        self.ask_on(&mut self.take(&|| self.gives_up())?, build, turn)
    }

    /// The same on a channel that is taken already.
    fn ask_on<R>(
        &self,
        taken: &mut Taken<'_>,
        build: impl for<'a> FnOnce(&'a mut Packer) -> Result<Request<'a>, Errno>,
        turn: impl FnOnce(&mut Answer<'_>) -> Turned<R>,
    ) -> Result<R, Errno> {
        let channel = taken.channel()?;
        let request = build(&mut channel.packer)?;
        self.conclude(channel.line.exchange(&request, &|| self.gives_up()), turn)
    }

    /// [`ask`](Self::ask) for a request without lists.
    fn call<R>(
        &self,
        request: Request<'_>,
        turn: impl FnOnce(&mut Answer<'_>) -> Turned<R>,
    ) -> Result<R, Errno> {
        let mut taken = self.take(&|| self.gives_up())?;
        self.conclude(taken.channel()?.line.exchange(&request, &|| self.gives_up()), turn)
    }

    fn conclude<R>(
        &self,
        answer: Result<Answer<'_>, Failure>,
        turn: impl FnOnce(&mut Answer<'_>) -> Turned<R>,
    ) -> Result<R, Errno> {
        match answer {
            Ok(mut answer) => turn(&mut answer).unwrap_or_else(|Wrong| Err(self.die(Death::WrongReply))),
            Err(Failure::Refused(errno) | Failure::Local(errno)) => Err(errno),
            Err(Failure::GivenUp) => Err(Errno::INTR),
            Err(Failure::Dead(death)) => Err(self.die(death)),
        }
    }

    /// Gives handles back at once; EINTR when the Gofer does not read.
    pub(super) fn send_close(&self, handles: &[Handle]) -> Result<(), Errno> {
        if handles.is_empty() {
            return Ok(());
        }
        self.send_close_on(self.take(&|| true)?.channel()?, handles, &|| true)
    }

    /// Gives handles back, and asks for nothing on the same channel: the answer comes when they are closed.
    pub(super) fn close_and_wait(&self, handles: &[Handle]) -> Result<(), Errno> {
        let mut taken = self.take(&|| self.gives_up())?;
        let channel = taken.channel()?;
        self.send_close_on(channel, handles, &|| self.gives_up())?;
        let nothing = Request::Look { places: List::empty() };
        self.conclude(channel.line.exchange(&nothing, &|| self.gives_up()), |answer| match answer.reply {
            Reply::Looks { looks } if looks.is_empty() => Ok(Ok(())),
            _ => Err(Wrong),
        })
    }

    fn send_close_on(
        &self,
        channel: &mut Channel,
        handles: &[Handle],
        gives_up: &dyn Fn() -> bool,
    ) -> Result<(), Errno> {
        let mut rest = handles;
        while !rest.is_empty() {
            channel.packer.clear(usize::MAX);
            let fit = rest.iter().take_while(|&handle| channel.packer.push(handle)).count();
            rest = &rest[fit..];
            let request = Request::Close { handles: channel.packer.list() };
            match channel.line.send(&request, gives_up) {
                Ok(()) => {}
                Err(Failure::Refused(errno) | Failure::Local(errno)) => return Err(errno),
                Err(Failure::GivenUp) => return Err(Errno::INTR),
                Err(Failure::Dead(death)) => return Err(self.die(death)),
            }
        }
        Ok(())
    }

    /// The root of a tree.
    pub fn attach(&self, tree: u16) -> Result<Node, Errno> {
        self.call(Request::Attach { tree }, |answer| match answer.reply {
            Reply::Attached { node } => Ok(Ok(node)),
            _ => Err(Wrong),
        })
    }

    /// Follows `names` from `dir` as far as they exist, without following symbolic links.
    pub fn walk(&self, dir: Handle, names: &[Name<'_>], leaf: Leaf) -> Result<Walked, Errno> {
        let mut walked = self.walk_some(dir, names, leaf)?;
        // A reply holds some hundred files; a longer way goes on from the last of them.
        while let Some(&Looked { handle: Some(dir), attr }) = walked.found.last()
            && attr.kind == FileType::Directory
            && walked.error.is_none()
            && let Some(rest @ [_, ..]) = names.get(walked.found.len()..)
        {
            match self.walk_some(dir, rest, leaf) {
                Ok(more) => {
                    walked.found.extend(more.found);
                    walked = Walked { found: walked.found, ..more };
                }
                Err(errno) => walked.error = Some(errno),
            }
        }
        Ok(walked)
    }

    fn walk_some(&self, dir: Handle, names: &[Name<'_>], leaf: Leaf) -> Result<Walked, Errno> {
        self.ask(
            |packer| {
                packer.clear(usize::MAX);
                if !names.iter().all(|name| packer.push(name)) {
                    return Err(Errno::NAMETOOLONG);
                }
                Ok(Request::Walk { dir, leaf, names: packer.list() })
            },
            |answer| {
                let Reply::Walked { found, error, target, opened } = answer.reply else { return Err(Wrong) };
                let found: Vec<Looked> = found.iter().collect();
                let (last, way) = match found.split_last() {
                    Some((last, way)) => (Some(last.attr.kind), way),
                    None => (None, &[][..]),
                };
                let symlink = last == Some(FileType::Symlink);
                let legal = found.len() <= names.len()
                    && (!found.is_empty() || names.is_empty() || error.is_some())
                    && way.iter().all(|node| node.handle.is_some() && node.attr.kind == FileType::Directory)
                    && (target.is_none() || symlink)
                    && (!symlink || target.is_some() || error.is_some())
                    && (!opened || leaf == Leaf::Open && last == Some(FileType::Regular));
                if !legal {
                    return Err(Wrong);
                }
                let target = target.map(|target| target.as_bytes().to_vec());
                // A lost fd is no reason to fail: it was a favour.
                let opened = if opened { donated_file(answer)?.ok() } else { None };
                Ok(Ok(Walked { found, error, target, opened }))
            },
        )
    }

    /// The attributes of files at `places`, one result each.
    pub fn look(&self, places: &[Place<'_>]) -> Result<Vec<Result<Attr, Errno>>, Errno> {
        let mut all = Vec::with_capacity(places.len());
        for places in places.chunks(LOOK_BATCH) {
            self.ask(
                |packer| {
                    packer.clear(usize::MAX);
                    if !places.iter().all(|place| packer.push(place)) {
                        return Err(Errno::TOOBIG);
                    }
                    Ok(Request::Look { places: packer.list() })
                },
                |answer| match answer.reply {
                    Reply::Looks { looks } if looks.len() == places.len() => {
                        all.extend(looks.iter().map(|Look(look)| look));
                        Ok(Ok(()))
                    }
                    _ => Err(Wrong),
                },
            )?;
        }
        Ok(all)
    }

    /// Attributes of a file.
    pub fn stat(&self, handle: Handle) -> Result<Attr, Errno> {
        self.call(Request::Stat { handle }, attr)
    }

    /// Opens a regular file.
    pub fn open(&self, handle: Handle, flags: OpenFlags) -> Result<(OwnedFd, Attr), Errno> {
        if !flags.is_legal() {
            return Err(Errno::INVAL);
        }
        self.call(Request::Open { handle, flags }, |answer| {
            let Reply::Attr { attr } = answer.reply else { return Err(Wrong) };
            Ok(match attr.kind {
                FileType::Regular => donated_file(answer)?,
                FileType::Fifo => donated(answer)?,
                _ => return Err(Wrong),
            }
            .map(|fd| (fd, attr)))
        })
    }

    /// Makes and opens a regular file: the fd, the file, the attributes of its directory.
    pub fn create(
        &self,
        dir: Handle,
        name: Name<'_>,
        perm: Perm,
        owner: Owner,
        flags: OpenFlags,
    ) -> Result<(OwnedFd, Node, Attr), Errno> {
        if !flags.is_legal() {
            return Err(Errno::INVAL);
        }
        self.call(Request::Create { dir, name, perm, owner, flags }, |answer| {
            let Reply::Made { node, parent } = answer.reply else { return Err(Wrong) };
            Ok(donated_file(answer)?.map(|fd| (fd, node, parent)))
        })
    }

    /// Makes and opens a regular file without a name, on the file system of `dir`.
    pub fn create_unnamed(&self, dir: Handle, perm: Perm, owner: Owner) -> Result<(OwnedFd, Node), Errno> {
        self.call(Request::CreateUnnamed { dir, perm, owner }, |answer| {
            let Reply::Found { node } = answer.reply else { return Err(Wrong) };
            Ok(donated_file(answer)?.map(|fd| (fd, node)))
        })
    }

    /// Makes a directory: it, and the attributes of the one above.
    pub fn mkdir(
        &self,
        dir: Handle,
        name: Name<'_>,
        perm: Perm,
        owner: Owner,
    ) -> Result<(Node, Attr), Errno> {
        self.call(Request::Mkdir { dir, name, perm, owner }, made)
    }

    /// Makes a FIFO, a socket's node, an empty file or a whiteout.
    pub fn mknod(
        &self,
        dir: Handle,
        name: Name<'_>,
        kind: NodeKind,
        perm: Perm,
        owner: Owner,
    ) -> Result<(Node, Attr), Errno> {
        self.call(Request::Mknod { dir, name, kind, perm, owner }, made)
    }

    /// Makes a symbolic link.
    pub fn symlink(
        &self,
        dir: Handle,
        name: Name<'_>,
        owner: Owner,
        target: Target<'_>,
    ) -> Result<(Node, Attr), Errno> {
        self.call(Request::Symlink { dir, name, owner, target }, made)
    }

    /// Gives a file one more name: attributes of the file and of the directory.
    pub fn link(&self, handle: Handle, dir: Handle, name: Name<'_>) -> Result<(Attr, Attr), Errno> {
        self.call(Request::Link { handle, dir, name }, |answer| match answer.reply {
            Reply::Linked { attr, parent } => Ok(Ok((attr, parent))),
            _ => Err(Wrong),
        })
    }

    /// Takes a name away: attributes of the directory.
    pub fn unlink(&self, dir: Handle, name: Name<'_>, kind: UnlinkKind) -> Result<Attr, Errno> {
        self.call(Request::Unlink { dir, name, kind }, |answer| match answer.reply {
            Reply::Unlinked { parent } => Ok(Ok(parent)),
            _ => Err(Wrong),
        })
    }

    /// Moves a file: attributes of the old and the new directory.
    pub fn rename(&self, old: Place<'_>, new: Place<'_>, flags: RenameFlags) -> Result<(Attr, Attr), Errno> {
        let request = Request::Rename {
            old_dir: old.dir,
            old_name: old.name,
            new_dir: new.dir,
            new_name: new.name,
            flags,
        };
        self.call(request, |answer| match answer.reply {
            Reply::Renamed { old_parent, new_parent } => Ok(Ok((old_parent, new_parent))),
            _ => Err(Wrong),
        })
    }

    /// What a symbolic link points to.
    pub fn readlink(&self, handle: Handle) -> Result<Vec<u8>, Errno> {
        self.call(Request::Readlink { handle }, |answer| match answer.reply {
            Reply::Target { target } => Ok(Ok(target.as_bytes().to_vec())),
            _ => Err(Wrong),
        })
    }

    /// Lists a directory from `cookie` on (0: from its beginning), as much as one message brings; true when that was the
    /// end. `each` must not use this client.
    pub fn readdir(
        &self,
        handle: Handle,
        cookie: u64,
        flags: ReaddirFlags,
        mut each: impl FnMut(Entry<'_>),
    ) -> Result<bool, Errno> {
        self.readdir_ahead(handle, cookie, flags, Ahead::default(), |listed| {
            if let Listed::Entry(entry) = listed {
                each(*entry);
            }
            true
        })
    }

    /// As [`readdir`](Self::readdir), and lists other directories as well, if this one ends in the same message. When
    /// `each` answers false the Gofer has told nonsense, and the connection ends.
    pub fn readdir_ahead(
        &self,
        handle: Handle,
        cookie: u64,
        flags: ReaddirFlags,
        ahead: Ahead<'_>,
        mut each: impl FnMut(Listed<'_>) -> bool,
    ) -> Result<bool, Errno> {
        self.ask(
            |packer| Ok(list_request(packer, handle, cookie, flags, ahead)),
            |answer| turn_listing(answer, ahead.most, &mut each),
        )
    }

    /// As [`readdir_ahead`](Self::readdir_ahead), but every other one of those behind the directory is asked for at the same time on another
    /// channel, whose thread is rather on another processor. These come even if the directory does not end.
    pub fn readdir_beside(
        &self,
        handle: Handle,
        cookie: u64,
        flags: ReaddirFlags,
        ahead: Ahead<'_>,
        mut each: impl FnMut(Listed<'_>) -> bool,
    ) -> Result<bool, Errno> {
        let mut taken = self.take(&|| self.gives_up())?;
        // The other channel comes second, and is not waited for: who holds one and waits for another might do so for ever.
        let pick = |skip| ahead.next.iter().skip(skip).step_by(2).copied().collect::<Vec<Handle>>();
        let (far, near) = (pick(0), pick(1));
        let half = ahead.most / 2;
        let mut beside = match far[..] {
            [first, ref next @ ..] if !near.is_empty() && half > 0 => {
                let ahead = Ahead { most: half, next };
                self.begin_beside(first, flags, ahead).map(|on| (first, on))
            }
            _ => None,
        };
        let ahead = if beside.is_some() { Ahead { most: half, next: &near } } else { ahead };
        let end = self.ask_on(
            &mut taken,
            |packer| Ok(list_request(packer, handle, cookie, flags, ahead)),
            |answer| turn_listing(answer, ahead.most, &mut each),
        )?;
        drop(taken);
        if let Some((first, taken)) = &mut beside {
            let answer = taken.channel()?.line.wait(&|| self.gives_up());
            match self.conclude(answer, |answer| self.turn_beside(answer, *first, half, &mut each)) {
                Ok(()) => {}
                Err(errno) if self.death().is_some() => return Err(errno),
                Err(_) => drop(each(Listed::Not(*first))),
            }
        }
        Ok(end)
    }

    /// Asks for a directory beside another request of the calling thread, if that can be done at once: the channel on which the reply will come.
    fn begin_beside(&self, first: Handle, flags: ReaddirFlags, ahead: Ahead<'_>) -> Option<Taken<'_>> {
        let (channel, cpu) = self.take_another()?;
        let mut taken = Taken { client: self, channel: Some(channel) };
        let Channel { packer, line } = taken.channel().ok()?;
        match line.send_ahead(cpu, &list_request(packer, first, 0, flags, ahead)) {
            Ok(()) => Some(taken),
            Err(failure) => {
                if let Failure::Dead(death) = failure {
                    self.die(death);
                }
                None
            }
        }
    }

    /// Tells of directory `first` and those that came along.
    fn turn_beside(
        &self,
        answer: &Answer<'_>,
        first: Handle,
        most: u16,
        each: &mut dyn FnMut(Listed<'_>) -> bool,
    ) -> Turned<()> {
        if let Reply::Entries { entries, end: false, .. } = answer.reply {
            let held = entries.iter().filter_map(|entry| entry.found?.handle);
            held.for_each(|handle| self.release(handle));
            return if each(Listed::Not(first)) { Ok(Ok(())) } else { Err(Wrong) };
        }
        if !each(Listed::Below(first)) {
            return Err(Wrong);
        }
        turn_listing(answer, most, each).map(|end| end.map(drop))
    }

    /// Changes attributes: what they are then.
    pub fn set_attr(&self, handle: Handle, changes: Changes) -> Result<Attr, Errno> {
        self.call(Request::SetAttr { handle, changes }, attr)
    }

    /// Figures of the file system that a file is on.
    pub fn statfs(&self, handle: Handle) -> Result<StatfsReply, Errno> {
        self.call(Request::Statfs { handle }, |answer| match answer.reply {
            Reply::Statfs { statfs } => Ok(Ok(statfs)),
            _ => Err(Wrong),
        })
    }

    /// Value of an extended attribute.
    pub fn get_xattr(&self, handle: Handle, name: XattrName<'_>) -> Result<Vec<u8>, Errno> {
        self.call(Request::GetXattr { handle, name }, value)
    }

    /// Sets an extended attribute.
    pub fn set_xattr(
        &self,
        handle: Handle,
        name: XattrName<'_>,
        mode: SetMode,
        value: &[u8],
    ) -> Result<(), Errno> {
        self.call(Request::SetXattr { handle, name, mode, value: Bytes(value) }, done)
    }

    /// Names of the extended attributes, each with a NUL behind it.
    pub fn list_xattr(&self, handle: Handle) -> Result<Vec<u8>, Errno> {
        self.call(Request::ListXattr { handle }, value)
    }

    /// Removes an extended attribute.
    pub fn remove_xattr(&self, handle: Handle, name: XattrName<'_>) -> Result<(), Errno> {
        self.call(Request::RemoveXattr { handle, name }, done)
    }

    /// Makes changes safe where there is no fd to call fsync(2) on.
    pub fn sync(&self, handle: Handle, kind: SyncKind) -> Result<(), Errno> {
        self.call(Request::Sync { handle, kind }, done)
    }

    /// Connects to a Unix socket of the host.
    pub fn connect_socket(&self, handle: Handle, kind: SocketKind) -> Result<OwnedFd, Errno> {
        self.call(Request::Connect { handle, kind }, |answer| match answer.reply {
            Reply::Done {} => donated(answer),
            _ => Err(Wrong),
        })
    }

    /// Makes a Unix socket that programs of the host can reach: it, its node, and the attributes of the directory.
    pub fn bind_socket(
        &self,
        dir: Handle,
        name: Name<'_>,
        kind: SocketKind,
        perm: Perm,
        owner: Owner,
    ) -> Result<(OwnedFd, Node, Attr), Errno> {
        self.call(Request::Bind { dir, name, kind, perm, owner }, |answer| {
            let Reply::Made { node, parent } = answer.reply else { return Err(Wrong) };
            Ok(donated(answer)?.map(|fd| (fd, node, parent)))
        })
    }
}

fn attr(answer: &mut Answer<'_>) -> Turned<Attr> {
    match answer.reply {
        Reply::Attr { attr } => Ok(Ok(attr)),
        _ => Err(Wrong),
    }
}

fn made(answer: &mut Answer<'_>) -> Turned<(Node, Attr)> {
    match answer.reply {
        Reply::Made { node, parent } => Ok(Ok((node, parent))),
        _ => Err(Wrong),
    }
}

fn value(answer: &mut Answer<'_>) -> Turned<Vec<u8>> {
    match answer.reply {
        Reply::Value { value } => Ok(Ok(value.0.to_vec())),
        _ => Err(Wrong),
    }
}

fn done(answer: &mut Answer<'_>) -> Turned<()> {
    match answer.reply {
        Reply::Done {} => Ok(Ok(())),
        _ => Err(Wrong),
    }
}

/// The one fd that belongs to a reply.
fn donated(answer: &mut Answer<'_>) -> Turned<OwnedFd> {
    match answer.fds.pop() {
        Some(fd) => Ok(Ok(fd)),
        None if answer.lost_fds => Ok(Err(Errno::MFILE)),
        None => Err(Wrong),
    }
}

/// The one fd that belongs to a reply, which must be a regular file: reading anything else could wait for ever.
fn donated_file(answer: &mut Answer<'_>) -> Turned<OwnedFd> {
    match donated(answer)? {
        Ok(fd) => match fstat(&fd) {
            Ok(stat) if HostType::from_raw_mode(stat.st_mode) == HostType::RegularFile => Ok(Ok(fd)),
            _ => Err(Wrong),
        },
        Err(errno) => Ok(Err(errno)),
    }
}
