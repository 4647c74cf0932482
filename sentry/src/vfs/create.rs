//! New names: mkdir(2), mknod(2), symlink(2), link(2).

use std::sync::Arc;

use abi::Errno;
use abi::capability::{CAP_FSETID, CAP_MKNOD};
use abi::stat::{S_IALLUGO, S_IRWXUGO, S_ISGID, S_ISVTX, S_IXGRP};
use sync::SleepMutexGuard;

use super::attr::{NewKind, NewNode};
use super::caller::Caller;
use super::inode::Inode;
use super::notify::{Entry, Events, notify_entry, notify_inode};
use super::path::Path;
use super::permission::Want;
use super::resolve::{Last, lookup_parent};
use crate::Result;
use crate::fs::host::HostSocket;
use crate::net::SocketKind;

impl Caller<'_> {
    /// Makes a directory.
    pub fn mkdir(&self, at: &Path, path: &[u8], mode: u32) -> Result<()> {
        let permissions = mode & (S_IRWXUGO | S_ISVTX);
        self.create(at, path, NewKind::Directory, permissions).map(drop)
    }

    /// Makes a symbolic link.
    pub fn symlink(&self, target: &[u8], at: &Path, path: &[u8]) -> Result<()> {
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        self.create(at, path, NewKind::Symlink(target), S_IRWXUGO).map(drop)
    }

    /// Makes a file, FIFO, socket or device; answers its place (bind(2) of a socket wants that).
    pub fn mknod(&self, at: &Path, path: &[u8], kind: NewKind<'_>, mode: u32) -> Result<Path> {
        self.create(at, path, kind, mode & S_IALLUGO)
    }

    /// Makes the name of a socket (bind(2)); with the socket of the host that has it, where there is one.
    pub fn bind_socket(
        &self,
        at: &Path,
        path: &[u8],
        kind: SocketKind,
        mode: u32,
    ) -> Result<(Path, Option<HostSocket>)> {
        let mut host = None;
        let place =
            self.create_with(at, path, NewKind::Socket, mode & S_IALLUGO, |dir, name, node| {
                match dir.ops().bind_socket(dir, name, node, kind)? {
                    Some((inode, socket)) => {
                        host = Some(socket);
                        Ok(inode)
                    }
                    None => dir.ops().create(dir, name, node),
                }
            })?;
        Ok((place, host))
    }

    fn create(&self, at: &Path, path: &[u8], kind: NewKind<'_>, permissions: u32) -> Result<Path> {
        self.create_with(at, path, kind, permissions, |dir, name, node| dir.ops().create(dir, name, node))
    }

    fn create_with(
        &self,
        at: &Path,
        path: &[u8],
        kind: NewKind<'_>,
        permissions: u32,
        make: impl FnOnce(&Arc<Inode>, &[u8], &NewNode<'_>) -> Result<Arc<Inode>>,
    ) -> Result<Path> {
        let parent = lookup_parent(self, at, path)?;
        let Last::Name(name) = &parent.last else { return Err(Errno::EEXIST) };
        let (dir, name) = (parent.dir, name.as_bytes());
        let dir_inode = dir.inode();
        let lock = dir_inode.lock();
        self.check_vacant(&dir, name, &lock, parent.trailing_slash && kind != NewKind::Directory)?;
        self.may_create_in(&dir)?;
        let whiteout = kind == NewKind::CharDevice(0);
        if matches!(kind, NewKind::CharDevice(_) | NewKind::BlockDevice(_))
            && !whiteout
            && !dir_inode.sb_capable(self.creds, CAP_MKNOD)
        {
            return Err(Errno::EPERM);
        }
        let node = self.new_node(dir_inode, kind, permissions);
        let inode = make(dir_inode, name, &node)?;
        let dentry = dir.dentry.added(name, inode);
        drop(lock);
        notify_entry(Entry { dir: &dir.dentry, name }, &dentry.inode, Events::CREATE);
        Ok(Path::new(dir.mount, dentry))
    }

    /// link(2): one more name for what is at `target`.
    pub fn link(&self, target: &Path, at: &Path, path: &[u8]) -> Result<()> {
        let parent = lookup_parent(self, at, path)?;
        let Last::Name(name) = &parent.last else { return Err(Errno::EEXIST) };
        let (dir, name) = (parent.dir, name.as_bytes());
        let dir_inode = dir.inode();
        let lock = dir_inode.lock();
        self.check_vacant(&dir, name, &lock, parent.trailing_slash)?;
        if !Arc::ptr_eq(&target.mount, &dir.mount) {
            return Err(Errno::EXDEV);
        }
        self.may_create_in(&dir)?;
        let inode = target.inode();
        if inode.is_dir() {
            return Err(Errno::EPERM);
        }
        if !inode.is_linkable() && inode.attr()?.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        dir_inode.ops().link(dir_inode, name, inode)?;
        inode.set_linkable(false);
        dir.dentry.added(name, Arc::clone(inode));
        drop(lock);
        notify_inode(inode, Events::ATTRIB);
        notify_entry(Entry { dir: &dir.dentry, name }, inode, Events::CREATE);
        Ok(())
    }

    /// A new name must not be there yet; and slashes behind it ask for a directory that is not there.
    fn check_vacant(
        &self,
        dir: &Path,
        name: &[u8],
        lock: &SleepMutexGuard<'_, ()>,
        slashes: bool,
    ) -> Result<()> {
        if dir.dentry.lookup_locked(name, self, lock)?.is_some() {
            return Err(Errno::EEXIST);
        }
        if slashes {
            return Err(Errno::ENOENT);
        }
        if dir.mount.is_read_only() { Err(Errno::EROFS) } else { Ok(()) }
    }

    /// Whether a name may be made in `dir`.
    pub(super) fn may_create_in(&self, dir: &Path) -> Result<()> {
        if dir.dentry.is_unlinked() {
            return Err(Errno::ENOENT);
        }
        dir.inode().permission(self, Want::WRITE | Want::EXEC)
    }

    /// The node that the caller makes in `dir`: whose it is, and with what mode.
    pub fn new_node<'n>(&self, dir: &Inode, kind: NewKind<'n>, mut permissions: u32) -> NewNode<'n> {
        let (dir_mode, _, dir_gid) = dir.owner();
        let mut gid = self.creds.fsgid;
        if dir_mode & S_ISGID != 0 {
            gid = dir_gid;
            if kind == NewKind::Directory {
                permissions |= S_ISGID;
            } else if permissions & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
                && !self.creds.in_group(dir_gid)
                && !dir.capable(self.creds, CAP_FSETID)
            {
                permissions &= !S_ISGID;
            }
        }
        let umask = if matches!(kind, NewKind::Symlink(_)) { 0 } else { self.umask };
        NewNode { kind, permissions, umask, uid: self.creds.fsuid, gid }
    }
}
