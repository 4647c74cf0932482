//! Events as they are read.

use std::sync::Arc;

use abi::Errno;
use abi::clone::PidfdFlags;
use abi::fanotify as f;
use abi::fanotify::{
    FanInit, FanMask, FanotifyEventInfoFid, FanotifyEventInfoHeader, FanotifyEventInfoPidfd,
    FanotifyEventMetadata,
};
use abi::open::{FileHandle, OpenFlags};
use zerocopy::IntoBytes;

use super::Fanotify;
use super::event::{DirAndName, Event, Files, Handle, Subject};
use super::tell::FIDS;
use crate::mm::{UserSink, UserSlice};
use crate::task::io::{Patience, READABLE};
use crate::task::{CurrentTask, PidTrace};
use crate::vfs::fd_table::{OnExec, ReservedFd};
use crate::vfs::file::{AccessMode, Claim, File};
use crate::vfs::handle::{HANDLE_BYTES, HANDLE_TYPE};
use crate::vfs::io::IoSink;
use crate::vfs::path::Path;
use crate::{Result, SysResult};

/// Records are this much aligned.
const ALIGN: usize = 4;

/// The file of an event and its number to be.
type Shown = (ReservedFd, Arc<File>);

impl CurrentTask {
    /// read(2) of a group: as many whole events as there is room for, with files opened for the caller.
    pub(crate) fn read_fanotify(
        &mut self,
        file: &Arc<File>,
        slices: &[UserSlice],
        patience: Patience,
    ) -> SysResult<usize> {
        let Some(group) = file.downcast::<Fanotify>() else { return Err(Errno::EINVAL.into()) };
        self.retry_file(file, READABLE, patience, |task| {
            let mut sink = UserSink::new(task.mm(), slices);
            group.read_events(task, &mut sink)
        })
    }
}

impl Fanotify {
    fn read_events(&self, task: &CurrentTask, sink: &mut dyn IoSink) -> Result<usize> {
        let mut done = 0;
        loop {
            let event = {
                let mut queue = self.group.queue.lock();
                let Some(first) = queue.first() else { break };
                if self.len(first) > sink.remaining() {
                    if done == 0 {
                        return Err(Errno::EINVAL);
                    }
                    break;
                }
                queue.pop()
            };
            let Some(event) = event else { break };
            done += self.read_event(task, &event, sink)?;
        }
        if done > 0 { Ok(done) } else { Err(Errno::EAGAIN) }
    }

    fn read_event(&self, task: &CurrentTask, event: &Event, sink: &mut dyn IoSink) -> Result<usize> {
        let shown = match &event.subject {
            Subject::Path(path) => Some(self.open(task, path)),
            _ => None,
        };
        let has_pidfd = self.has_pidfd(event);
        let pidfd = has_pidfd.then(|| self.open_pidfd(task, event));
        let number = |shown: &Result<Shown>| match shown {
            Ok((reserved, _)) => reserved.fd(),
            Err(errno) if self.group.flags.contains(FanInit::REPORT_FD_ERROR) => -(errno.number() as i32),
            Err(_) => f::FAN_NOFD,
        };
        let fd = shown.as_ref().map_or(f::FAN_NOFD, number);
        let mut bytes = Vec::with_capacity(self.len(event));
        let head = FanotifyEventMetadata {
            event_len: self.len(event) as u32,
            vers: f::FANOTIFY_METADATA_VERSION,
            reserved: 0,
            metadata_len: size_of::<FanotifyEventMetadata>() as u16,
            mask: (event.mask - FanMask::EVENT_ON_CHILD).bits(),
            fd,
            pid: self.pid(task, event),
        };
        bytes.extend_from_slice(head.as_bytes());
        if let Subject::Files(files) = &event.subject {
            self.store_files(event, files, &mut bytes);
        }
        if let Some(pidfd) = &pidfd {
            let number = match pidfd {
                Ok((reserved, _)) => reserved.fd(),
                Err(Errno::ESRCH) => f::FAN_NOPIDFD,
                Err(errno) if self.group.flags.contains(FanInit::REPORT_FD_ERROR) => -(errno.number() as i32),
                Err(_) => f::FAN_EPIDFD,
            };
            let len = size_of::<FanotifyEventInfoPidfd>() as u16;
            let hdr = FanotifyEventInfoHeader { info_type: f::FAN_EVENT_INFO_TYPE_PIDFD, pad: 0, len };
            bytes.extend_from_slice(FanotifyEventInfoPidfd { hdr, pidfd: number }.as_bytes());
        }
        let stored = match sink.put(&bytes) {
            Ok(done) if done == bytes.len() => Ok(done),
            Ok(_) => Err(Errno::EFAULT),
            Err(errno) => Err(errno),
        };
        if let Some(question) = &event.question {
            if stored.is_ok() && fd >= 0 {
                self.group.question_read(Arc::clone(question), fd);
            } else {
                self.group.deny(question);
            }
        }
        stored?;
        for (reserved, file) in shown.into_iter().chain(pidfd).flatten() {
            reserved.fill(file);
        }
        Ok(bytes.len())
    }

    /// Who did it, as the reader sees him. An unprivileged reader only sees himself.
    fn pid(&self, task: &CurrentTask, event: &Event) -> i32 {
        let Some(pid) = &event.pid else { return 0 };
        if !self.group.founder.privileged && pid.identity != task.thread_group().pid.identity {
            return 0;
        }
        pid.number_in(task.pid().namespace())
    }

    fn has_pidfd(&self, event: &Event) -> bool {
        self.group.flags.contains(FanInit::REPORT_PIDFD) && !matches!(event.subject, Subject::Overflow)
    }

    fn open_pidfd(&self, task: &CurrentTask, event: &Event) -> Result<Shown> {
        let by_thread = self.group.flags.contains(FanInit::REPORT_TID);
        let visible = |pid: &&PidTrace| pid.number_in(task.pid().namespace()) != 0;
        let pid = event.pid.as_ref().filter(visible).and_then(PidTrace::pid);
        let pid = pid.filter(|pid| pid.task().is_some() && !pid.has_ended()).ok_or(Errno::ESRCH)?;
        let flags = if by_thread { PidfdFlags::THREAD } else { PidfdFlags::empty() };
        let reserved = task.reserve_fd(OnExec::Close)?;
        Ok((reserved, task.pidfd_file(&pid, flags)))
    }

    /// The file of an event, as the flags of the group say, without asking whether the reader may.
    fn open(&self, task: &CurrentTask, path: &Path) -> Result<Shown> {
        let flags = self.group.event_flags;
        let reserved = task.reserve_fd(OnExec::from_flags(flags))?;
        let inode = path.inode();
        let writes = AccessMode::from_flags(flags).write;
        if writes {
            if inode.is_dir() {
                return Err(Errno::EISDIR);
            }
            if path.mount.is_read_only() {
                return Err(Errno::EROFS);
            }
            inode.get_write()?;
        }
        let roots = task.fs().roots();
        let opened = inode.ops().open(inode, flags, &task.caller(&roots));
        let ops = opened.inspect_err(|_| {
            if writes {
                inode.put_write();
            }
        })?;
        let claim = if writes { Claim::Write } else { Claim::None };
        Ok((reserved, File::silent(ops, path.clone(), flags, Arc::clone(task.own_creds()), claim)))
    }

    /// Bytes of an event as it is read.
    fn len(&self, event: &Event) -> usize {
        let mut len = size_of::<FanotifyEventMetadata>();
        if let Subject::Files(files) = &event.subject {
            let names = files.dir.iter().chain(&files.new_dir).map(|dir| record_len(dir.1.as_deref()));
            len += names.sum::<usize>();
            if files.file.is_some() {
                len += record_len(self.kind_of_file(event, files).1);
            }
        }
        if self.has_pidfd(event) {
            len += size_of::<FanotifyEventInfoPidfd>();
        }
        len
    }

    /// What the record of the file itself is, and its name: a directory is called by `.` where there are names.
    fn kind_of_file(&self, event: &Event, files: &Files) -> (u8, Option<&'static [u8]>) {
        let fids = self.group.flags & FIDS;
        let on_dir = event.mask.contains(FanMask::ONDIR);
        let entry_events = FanMask::CREATE | FanMask::DELETE | FanMask::MOVED_FROM | FanMask::MOVED_TO;
        if fids == FanInit::REPORT_FID || files.dir.is_some() || files.new_dir.is_some() {
            (f::FAN_EVENT_INFO_TYPE_FID, None)
        } else if fids.contains(FanInit::REPORT_NAME) && on_dir {
            (f::FAN_EVENT_INFO_TYPE_DFID_NAME, Some(b"."))
        } else if on_dir || event.mask.intersects(entry_events) {
            (f::FAN_EVENT_INFO_TYPE_DFID, None)
        } else {
            (f::FAN_EVENT_INFO_TYPE_FID, None)
        }
    }

    fn store_files(&self, event: &Event, files: &Files, into: &mut Vec<u8>) {
        let is_rename = event.mask.contains(FanMask::RENAME);
        let with_name =
            if is_rename { f::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME } else { f::FAN_EVENT_INFO_TYPE_DFID_NAME };
        let mut store_dir = |info_type: u8, (handle, name): &DirAndName| {
            let info_type = if name.is_some() { info_type } else { f::FAN_EVENT_INFO_TYPE_DFID };
            store_record(info_type, files.fsid, handle, name.as_deref(), into);
        };
        if let Some(dir) = &files.dir {
            store_dir(with_name, dir);
        }
        if let Some(dir) = &files.new_dir {
            store_dir(f::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, dir);
        }
        if let Some(handle) = &files.file {
            let (info_type, name) = self.kind_of_file(event, files);
            store_record(info_type, files.fsid, handle, name, into);
        }
    }
}

fn record_len(name: Option<&[u8]>) -> usize {
    let name_len = name.map_or(0, |name| name.len() + 1);
    let fixed = size_of::<FanotifyEventInfoFid>() + size_of::<FileHandle>() + HANDLE_BYTES;
    (fixed + name_len).next_multiple_of(ALIGN)
}

fn store_record(info_type: u8, fsid: [i32; 2], handle: &Handle, name: Option<&[u8]>, into: &mut Vec<u8>) {
    let len = record_len(name);
    let end = into.len() + len;
    let hdr = FanotifyEventInfoHeader { info_type, pad: 0, len: len as u16 };
    into.extend_from_slice(FanotifyEventInfoFid { hdr, fsid }.as_bytes());
    let head = FileHandle { handle_bytes: HANDLE_BYTES as u32, handle_type: HANDLE_TYPE };
    into.extend_from_slice(head.as_bytes());
    into.extend_from_slice(handle);
    into.extend_from_slice(name.unwrap_or_default());
    into.resize(end, 0);
}

/// Flags of the files of events that fanotify_init(2) knows, the access mode apart.
pub const EVENT_FILE_FLAGS: OpenFlags = OpenFlags::APPEND
    .union(OpenFlags::NONBLOCK)
    .union(OpenFlags::SYNC)
    .union(OpenFlags::DSYNC)
    .union(OpenFlags::CLOEXEC)
    .union(OpenFlags::LARGEFILE)
    .union(OpenFlags::NOATIME);
