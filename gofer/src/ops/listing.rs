//! Listing directories.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use gofer_protocol::{
    Attr, Below, Entry, Errno, FileType, Handle, Leaf, List, Looked, Name, Packer, ReaddirFlags, Reply,
    Target,
};
use rustix::fs::{FileType as HostType, RawDir, SeekFrom, readlinkat_raw, seek};

use super::walk::find;
use super::{Answer, Scratch};
use crate::server::Server;
use crate::table::{Listing, Node};
use crate::tree::open_dir;

/// The least bytes that getdents64(2) is called with: the longest entry has 280.
const LEAST: usize = 512;

/// The most bytes that getdents64(2) is called with.
const MOST: usize = 32 * 1024;

/// An entry in the reply is at most as long as the host's, which is padded; its attributes make it up to six and a half
/// times as long.
const GROWTH: usize = 7;

/// Bytes of what a link points to that come along with a listing, and one.
const SHORT_TARGET: usize = 128;

/// The most directories that are listed along with one.
const AHEAD_MAX: usize = 256;

/// What is wanted of a listing.
pub struct Wanted<'r> {
    /// The most bytes that the entries may take.
    pub bytes: u32,
    pub flags: ReaddirFlags,
    /// How many more directories may be listed as well.
    pub ahead: u16,
    /// Those that come behind this one and what is below it.
    pub next: List<'r, Handle>,
}

/// Directories that were found in listings, with their handles: the next to be listed last.
type Found = Vec<(Handle, Arc<Node>)>;

/// A part of a directory, from `cookie` on. Host calls: openat2 the first time; lseek where the last request for this
/// directory did not end at `cookie`; getdents64 until the reply is full or the directory ends; statx (and openat2) for
/// each entry where attributes (and handles of directories) are wanted. The same for each directory that is listed as well.
pub fn readdir<'s>(
    server: &Server,
    scratch: &'s mut Scratch,
    handle: Handle,
    cookie: u64,
    wanted: Wanted<'_>,
) -> Result<Answer<'s>, Errno> {
    let dir = server.table.get(handle)?;
    if dir.kind != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    let Wanted { bytes, flags, ahead, next } = wanted;
    let mut held = dir.listing();
    let mut listing = match held.take() {
        Some(listing) => listing,
        None => Listing { fd: open_dir(&dir.fd)?, position: Some(0) },
    };
    if listing.position != Some(cookie) {
        seek(&listing.fd, SeekFrom::Start(cookie))?;
        listing.position = Some(cookie);
    }
    let Scratch { packer, below, names, bytes: buffer } = scratch;
    packer.clear((bytes as usize).max(GROWTH * LEAST));
    below.clear(usize::MAX);
    let mut found = Found::new();
    let end = read_all(server, &dir, &mut listing, packer, buffer, flags, &mut found)?;
    if !end {
        *held = Some(listing);
    } else if ahead > 0 {
        drop(held);
        let ahead = usize::from(ahead).min(AHEAD_MAX);
        // What is no directory is passed over, as what is no handle.
        let next = next.iter().take(ahead).filter_map(|next| Some((next, server.table.get(next).ok()?)));
        found.extend(next.filter(|(_, node)| node.kind == FileType::Directory));
        found.reverse();
        read_below(server, (packer, names), buffer, flags, found, ahead, below);
    }
    Ok(Reply::Entries { entries: packer.list(), end, below: below.list() }.into())
}

/// Reads on until there is no more room; true when the directory has ended.
fn read_all(
    server: &Server,
    dir: &Node,
    listing: &mut Listing,
    packer: &mut Packer,
    buffer: &mut Vec<u8>,
    flags: ReaddirFlags,
    found: &mut Found,
) -> Result<bool, Errno> {
    let growth = if flags.is_empty() { 1 } else { GROWTH };
    loop {
        // So much that what it brings has room: the directory's position is then where the reply ends.
        let room = (packer.room() / growth).min(MOST);
        if room < LEAST {
            return Ok(false);
        }
        buffer.clear();
        // A failure half-way loses nothing: what is packed is answered, and the next request meets it first.
        match read_some(server, dir, listing, packer, (buffer, room), flags, found) {
            Ok(true) => {}
            Ok(false) => return Ok(true),
            Err(_) if !packer.is_empty() => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
}

/// Names of a directory that has not been looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Names {
    entries: Vec<NameOf>,
    bytes: Vec<u8>,
    /// The most that the entries take in a reply.
    size: usize,
}

/// One of them: what getdents64(2) says, the name as so many bytes behind those before.
#[derive(Debug)]
struct NameOf {
    ino: u64,
    cookie: u64,
    kind: Option<FileType>,
    len: u8,
}

impl Names {
    /// Reads all of a directory that has just been opened; false when it would not fit into `room` bytes. Host calls: getdents64.
    fn read(
        &mut self,
        dir: &OwnedFd,
        room: usize,
        buffer: &mut Vec<u8>,
        flags: ReaddirFlags,
    ) -> Result<bool, Errno> {
        self.size = 0;
        self.entries.clear();
        self.bytes.clear();
        buffer.clear();
        let mut listed = RawDir::new(dir, &mut buffer.spare_capacity_mut()[..MOST]);
        while let Some(entry) = listed.next() {
            let entry = entry?;
            let Ok(name) = Name::new(entry.file_name().to_bytes()) else { continue };
            let (kind, name) = (file_type(entry.file_type()), name.as_bytes());
            self.size += size_of_entry(name.len(), kind, flags);
            if self.size > room {
                return Ok(false);
            }
            let (ino, cookie) = (entry.ino(), entry.next_entry_cookie());
            self.entries.push(NameOf { ino, cookie, kind, len: name.len() as u8 });
            self.bytes.extend_from_slice(name);
        }
        Ok(true)
    }
}

/// The most bytes that an entry takes in a reply.
fn size_of_entry(name: usize, kind: Option<FileType>, flags: ReaddirFlags) -> usize {
    let bare = 8 + 8 + 2 + (1 + name) + 1 + 1;
    let looked = if flags.is_empty() { 0 } else { 9 + Attr::SIZE };
    let target = match kind {
        None | Some(FileType::Symlink) if flags.contains(ReaddirFlags::TARGETS) => 2 + SHORT_TARGET,
        _ => 0,
    };
    bare + looked + target
}

/// Lists `found`, the last first, and what is found there, in the order in which a walk comes there, as far as there is room. Nothing is looked at
/// of a directory that does not fit as a whole. What can't be listed is left out, and so is what would not even fit alone.
fn read_below(
    server: &Server,
    (packer, names): (&mut Packer, &mut Names),
    buffer: &mut Vec<u8>,
    flags: ReaddirFlags,
    mut found: Found,
    ahead: usize,
    below: &mut Packer,
) {
    while let Some((handle, dir)) = found.pop() {
        if below.len() == ahead || packer.room() < LEAST {
            return;
        }
        let Ok(fd) = open_dir(&dir.fd) else { continue };
        match names.read(&fd, packer.room(), buffer, flags) {
            Ok(true) => {}
            Ok(false) if names.size > MOST => continue,
            Ok(false) => return,
            Err(_) => continue,
        }
        let (mark, first) = (packer.mark(), found.len());
        let mut bytes = &names.bytes[..];
        let all = names.entries.iter().all(|entry| {
            let (name, rest) = bytes.split_at(entry.len.into());
            bytes = rest;
            Name::new(name)
                .is_ok_and(|name| pack(server, &dir, packer, entry, name, flags, &mut found).is_ok())
        });
        let entries = u16::try_from(names.entries.len());
        match entries {
            Ok(entries) if all && below.push(&Below { dir: handle, entries }) => found[first..].reverse(),
            _ => {
                packer.back_to(mark);
                server.table.remove(found.drain(first..).map(|(handle, _)| handle));
            }
        }
    }
}

/// One getdents64(2); false at the directory's end.
fn read_some(
    server: &Server,
    dir: &Node,
    listing: &mut Listing,
    packer: &mut Packer,
    (buffer, room): (&mut Vec<u8>, usize),
    flags: ReaddirFlags,
    found: &mut Found,
) -> Result<bool, Errno> {
    let spare = buffer.spare_capacity_mut();
    let room = room.min(spare.len());
    let mut entries = RawDir::new(&listing.fd, &mut spare[..room]);
    let mut any = false;
    let mut position = listing.position.take();
    // The iterator would call the host again when it comes to the end of what that brought.
    while !any || !entries.is_buffer_empty() {
        let entry = match entries.next() {
            Some(entry) => entry?,
            None => break,
        };
        any = true;
        let cookie = entry.next_entry_cookie();
        position = Some(cookie);
        // Leaves out `.` and `..`, and names that no guest could use (longer than 255 bytes).
        let Ok(name) = Name::new(entry.file_name().to_bytes()) else { continue };
        let kind = file_type(entry.file_type());
        let entry = NameOf { ino: entry.ino(), cookie, kind, len: 0 };
        pack(server, dir, packer, &entry, name, flags, found)?;
    }
    listing.position = position;
    Ok(any)
}

/// Looks at an entry as far as that is wanted, and packs it. An error when it has no room.
fn pack(
    server: &Server,
    dir: &Node,
    packer: &mut Packer,
    entry: &NameOf,
    name: Name<'_>,
    flags: ReaddirFlags,
    found: &mut Found,
) -> Result<(), Errno> {
    let (looked, held) =
        if flags.is_empty() { (None, Held::Nothing) } else { look(server, dir, name, entry.kind, flags) };
    let kind = looked.map(|looked| looked.attr.kind).or(entry.kind);
    let mut link_text = [MaybeUninit::uninit(); SHORT_TARGET];
    let target = match &held {
        Held::Link(link) => read_short_target(link, &mut link_text),
        _ => None,
    };
    let entry = Entry { ino: entry.ino, cookie: entry.cookie, kind, name, found: looked, target };
    if !packer.push(&entry) {
        server.table.remove(looked.and_then(|looked| looked.handle).into_iter());
        // Not even one more has room, though it was reckoned that all have: go on here the next time.
        return Err(Errno::OVERFLOW);
    }
    if let (Some(Looked { handle: Some(handle), .. }), Held::Directory(node)) = (looked, held) {
        found.push((handle, node));
    }
    Ok(())
}

/// What is held of an entry.
enum Held {
    Nothing,
    Directory(Arc<Node>),
    Link(OwnedFd),
}

/// Attributes (and a handle) of an entry that the directory `told` the type of, and what is held of it; no attributes when it has gone
/// again, or can't be looked at.
fn look(
    server: &Server,
    dir: &Node,
    name: Name<'_>,
    told: Option<FileType>,
    flags: ReaddirFlags,
) -> (Option<Looked>, Held) {
    let holds = match told {
        None | Some(FileType::Directory) => flags.contains(ReaddirFlags::DIR_HANDLES),
        Some(FileType::Symlink) => flags.contains(ReaddirFlags::TARGETS),
        Some(_) => false,
    };
    if !holds {
        // What has become a directory meanwhile is looked up when somebody wants it.
        let attr = server.ids.attr_at(&dir.fd, name).ok();
        return (attr.map(|attr| Looked { handle: None, attr }), Held::Nothing);
    }
    let leaf = if told.is_none() { Some(Leaf::Attr) } else { None };
    let Ok((attr, fd)) = find(server, dir, name, leaf) else { return (None, Held::Nothing) };
    let looked = Looked { handle: None, attr };
    match (attr.kind, fd) {
        (FileType::Directory, Some(fd)) if flags.contains(ReaddirFlags::DIR_HANDLES) => {
            let node = Arc::new(Node::new(fd, attr.kind, dir.options));
            let handle = server.table.insert(Arc::clone(&node)).ok();
            (Some(Looked { handle, ..looked }), Held::Directory(node))
        }
        (FileType::Symlink, Some(fd)) => (Some(looked), Held::Link(fd)),
        _ => (Some(looked), Held::Nothing),
    }
}

/// What a link that is held points to, if that is legal and short.
fn read_short_target<'t>(
    link: &OwnedFd,
    room: &'t mut [MaybeUninit<u8>; SHORT_TARGET],
) -> Option<Target<'t>> {
    let (target, rest) = readlinkat_raw(link, c"", room).ok()?;
    // Without room left it may be longer.
    if rest.is_empty() { None } else { Target::new(target).ok() }
}

fn file_type(host: HostType) -> Option<FileType> {
    match host {
        HostType::RegularFile => Some(FileType::Regular),
        HostType::Directory => Some(FileType::Directory),
        HostType::Symlink => Some(FileType::Symlink),
        HostType::Fifo => Some(FileType::Fifo),
        HostType::Socket => Some(FileType::Socket),
        HostType::CharacterDevice => Some(FileType::CharDevice),
        HostType::BlockDevice => Some(FileType::BlockDevice),
        HostType::Unknown => None,
    }
}
