//! /proc/PID/fd and fdinfo.

use std::sync::{Arc, Weak};

use abi::Errno;

use super::root::number;
use super::task::owner;
use crate::Result;
use crate::fs::pseudo::{Children, Entry, PseudoLink, Text, TextFile};
use crate::task::Task;
use crate::vfs::inode::Link;
use crate::vfs::permission::generic_permission;
use crate::vfs::{Caller, File, Inode, OnExec, Want};

const DT_LNK: u8 = 10;
const DT_REG: u8 = 8;

fn open_file(task: &Weak<Task>, fd: i32) -> Result<(Arc<Task>, Arc<File>)> {
    let task = task.upgrade().ok_or(Errno::ENOENT)?;
    let file = task.resources().and_then(|r| r.files.get(fd)).ok_or(Errno::ENOENT)?;
    Ok((task, file))
}

fn entries(task: &Weak<Task>, position: u64, kind: u8) -> Vec<Entry> {
    let Some(files) = task.upgrade().and_then(|t| t.resources()).map(|r| r.files) else { return Vec::new() };
    let mut list = Vec::new();
    let mut from = position as u32;
    while let Some((fd, _)) = files.next_open(from) {
        list.push(Entry {
            name: fd.to_string().into_bytes(),
            ino: u64::from(fd) + 1,
            kind,
            position: u64::from(fd),
        });
        from = fd + 1;
    }
    list
}

/// /proc/PID/fd.
pub(super) struct FdDir(pub Weak<Task>);

impl Children for FdDir {
    fn find(&self, dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        let Some(fd) = number(name) else { return Ok(None) };
        let Ok((_, file)) = open_file(&self.0, fd) else { return Ok(None) };
        let mut mode = 0o100;
        mode |= if file.access().read { 0o400 } else { 0 };
        mode |= if file.access().write { 0o200 } else { 0 };
        let mode = if file.is_path() { 0o100 } else { mode };
        let [found, said, owned] = [(); 3].map(|()| Weak::clone(&self.0));
        let link = PseudoLink::magic(
            &dir.sb,
            move || owner(&owned, mode),
            move |caller| {
                let (task, file) = open_file(&found, fd)?;
                super::link::may_look_into(caller, &task)?;
                Ok(Link::Place(file.path.clone()))
            },
            move |caller| {
                let (task, file) = open_file(&said, fd)?;
                super::link::may_look_into(caller, &task)?;
                Ok(super::link::text_of(&file, caller))
            },
        );
        Ok(Some(link))
    }

    fn list(&self, _dir: &Arc<Inode>, position: u64) -> Result<Vec<Entry>> {
        Ok(entries(&self.0, position, DT_LNK))
    }

    fn owner(&self) -> (u32, u32, u32) {
        owner(&self.0, 0o500)
    }

    fn permission(&self, dir: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        // Whatever its user has become, a process may see its own.
        let is_own = || Some(caller.task?.thread_group().id() == self.0.upgrade()?.thread_group().id());
        generic_permission(dir, caller.creds, want)
            .or_else(|e| is_own().filter(|own| *own).map(drop).ok_or(e))
    }
}

/// /proc/PID/fdinfo.
pub(super) struct FdInfoDir(pub Weak<Task>);

impl Children for FdInfoDir {
    fn find(&self, dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        let Some(fd) = number(name) else { return Ok(None) };
        if open_file(&self.0, fd).is_err() {
            return Ok(None);
        }
        Ok(Some(TextFile::inode(&dir.sb, FdInfo { task: Weak::clone(&self.0), fd })))
    }

    fn list(&self, _dir: &Arc<Inode>, position: u64) -> Result<Vec<Entry>> {
        Ok(entries(&self.0, position, DT_REG))
    }

    fn owner(&self) -> (u32, u32, u32) {
        owner(&self.0, 0o555)
    }

    fn permission(&self, dir: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        super::link::may_look_into(caller, &*self.0.upgrade().ok_or(Errno::ESRCH)?)?;
        generic_permission(dir, caller.creds, want)
    }
}

struct FdInfo {
    task: Weak<Task>,
    fd: i32,
}

impl Text for FdInfo {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        let (task, file) = open_file(&self.task, self.fd)?;
        let mut flags = file.flags().bits() | u32::from(file.access().write) | 0o100_000;
        if file.access().write && file.access().read {
            flags = flags & !3 | 2;
        }
        let on_exec = task.resources().and_then(|r| r.files.on_exec(self.fd));
        if on_exec == Some(OnExec::Close) {
            flags |= abi::open::OpenFlags::CLOEXEC.bits();
        }
        let text = format!(
            "pos:\t{}\nflags:\t0{flags:o}\nmnt_id:\t{}\nino:\t{}\n{}",
            *file.position(),
            file.path.mount.id,
            file.path.inode().ino,
            file.ops().fdinfo(&file)
        );
        Ok(text.into_bytes())
    }

    fn owner(&self) -> (u32, u32, u32) {
        owner(&self.task, 0o444)
    }
}
