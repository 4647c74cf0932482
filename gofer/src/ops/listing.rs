//! Listing directories.

use std::sync::Arc;

use gofer_protocol::{Entry, Errno, FileType, Handle, Leaf, Looked, Name, Packer, ReaddirFlags, Reply};
use rustix::fs::{FileType as HostType, RawDir, SeekFrom, seek};

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

/// A part of a directory, from `cookie` on. Host calls: openat2 the first time; lseek where the last request for this
/// directory did not end at `cookie`; getdents64 until the reply is full or the directory ends; statx (and openat2) for
/// each entry where attributes (and handles of directories) are wanted.
pub fn readdir<'s>(
    server: &Server,
    scratch: &'s mut Scratch,
    handle: Handle,
    cookie: u64,
    bytes: u32,
    flags: ReaddirFlags,
) -> Result<Answer<'s>, Errno> {
    let dir = server.table.get(handle)?;
    if dir.kind != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    let mut held = dir.listing();
    let mut listing = match held.take() {
        Some(listing) => listing,
        None => Listing { fd: open_dir(&dir.fd)?, position: Some(0) },
    };
    if listing.position != Some(cookie) {
        seek(&listing.fd, SeekFrom::Start(cookie))?;
        listing.position = Some(cookie);
    }
    let Scratch { packer, bytes: buffer } = scratch;
    packer.clear((bytes as usize).max(GROWTH * LEAST));
    let growth = if flags.is_empty() { 1 } else { GROWTH };
    let end = loop {
        // So much that what it brings has room: the directory's position is then where the reply ends.
        let room = (packer.room() / growth).min(MOST);
        if room < LEAST {
            break false;
        }
        buffer.clear();
        // A failure half-way loses nothing: what is packed is answered, and the next request meets it first.
        match read_some(server, &dir, &mut listing, packer, (buffer, room), flags) {
            Ok(true) => {}
            Ok(false) => break true,
            Err(_) if !packer.is_empty() => break false,
            Err(errno) => return Err(errno),
        }
    };
    if !end {
        *held = Some(listing);
    }
    Ok(Reply::Entries { entries: packer.list(), end }.into())
}

/// One getdents64(2); false at the directory's end.
fn read_some(
    server: &Server,
    dir: &Node,
    listing: &mut Listing,
    packer: &mut Packer,
    (buffer, room): (&mut Vec<u8>, usize),
    flags: ReaddirFlags,
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
        let found = if flags.is_empty() { None } else { look(server, dir, name, flags) };
        let kind = found.map(|found| found.attr.kind).or(file_type(entry.file_type()));
        let entry = Entry { ino: entry.ino(), cookie, kind, name, found };
        if !packer.push(&entry) {
            // Not even one more has room, though it was reckoned that all have: go on here the next time.
            return Err(Errno::OVERFLOW);
        }
    }
    listing.position = position;
    Ok(any)
}

/// Attributes (and a handle) of an entry; `None` when it has gone again, or can't be looked at.
fn look(server: &Server, dir: &Node, name: Name<'_>, flags: ReaddirFlags) -> Option<Looked> {
    if !flags.contains(ReaddirFlags::DIR_HANDLES) {
        let attr = server.ids.attr_at(&dir.fd, name).ok()?;
        return Some(Looked { handle: None, attr });
    }
    let (attr, fd) = find(server, dir, name, Some(Leaf::Attr)).ok()?;
    let node = fd
        .filter(|_| attr.kind == FileType::Directory)
        .map(|fd| Arc::new(Node::new(fd, attr.kind, dir.options)));
    let handle = node.and_then(|node| server.table.insert(node).ok());
    Some(Looked { handle, attr })
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
