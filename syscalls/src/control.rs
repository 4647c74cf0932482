//! Control messages (cmsg(3)): descriptors and credentials beside the bytes.

use std::sync::Arc;

use abi::Errno;
use abi::capability::{CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN};
use abi::clone::PidfdFlags;
use abi::socket::{
    CMsgHdr, MsgFlags, SCM_CREDENTIALS, SCM_MAX_FD, SCM_PIDFD, SCM_RIGHTS, SO_PASSCRED, SO_PASSPIDFD,
    SO_TIMESTAMP, SO_TIMESTAMPNS, SOL_SOCKET, UCred,
};
use abi::time::Timeval;
use sentry::SysResult;
use sentry::mm::{UserAddr, UserRef};
use sentry::net::{Actor, Received, Rights, SenderCreds, io};
use sentry::task::{CurrentTask, OVERFLOW_ID};
use sentry::time::clock::ns_to_timespec;
use sentry::vfs::{File, OnExec};
use zerocopy::IntoBytes;

/// Bytes of the head of a control message.
const HEAD: u64 = size_of::<CMsgHdr>() as u64;
/// More than this is not copied in (net.core.optmem_max).
const MAX_CONTROL: u64 = 131_072;

fn align(len: u64) -> u64 {
    len.next_multiple_of(8)
}

/// What can be sent.
type Sent = (Option<Rights>, Option<SenderCreds>);

/// Reads the control messages of a message to send. EINVAL for what is malformed or unknown, EBADF, EPERM for
/// credentials that are not the caller's.
pub(crate) fn read(task: &CurrentTask, at: UserAddr, len: u64) -> Result<Sent, Errno> {
    if len > MAX_CONTROL {
        return Err(Errno::ENOBUFS);
    }
    let mut files: Vec<Arc<File>> = Vec::new();
    let mut creds = None;
    let mut offset = 0;
    while len >= HEAD && offset <= len - HEAD {
        let head: CMsgHdr = task.read_obj(UserRef::new(at.add(offset)?))?;
        if head.cmsg_len < HEAD || head.cmsg_len > len - offset {
            return Err(Errno::EINVAL);
        }
        let data = at.add(offset + HEAD)?;
        let data_len = head.cmsg_len - HEAD;
        if head.cmsg_level == SOL_SOCKET as i32 {
            match head.cmsg_type as u32 {
                SCM_RIGHTS => read_rights(task, data, data_len, &mut files)?,
                SCM_CREDENTIALS => creds = Some(read_creds(task, data, data_len)?),
                _ => return Err(Errno::EINVAL),
            }
        }
        offset += align(head.cmsg_len);
    }
    let rights = if files.is_empty() { None } else { Some(Rights::new(files, &Actor::of(task))?) };
    Ok((rights, creds))
}

fn read_rights(task: &CurrentTask, at: UserAddr, len: u64, files: &mut Vec<Arc<File>>) -> Result<(), Errno> {
    let count = len / 4;
    if count as usize + files.len() > SCM_MAX_FD {
        return Err(Errno::EINVAL);
    }
    for index in 0..count {
        let fd: i32 = task.read_obj(UserRef::new(at).at(index)?)?;
        files.push(task.file_or_path(fd)?);
    }
    Ok(())
}

fn read_creds(task: &CurrentTask, at: UserAddr, len: u64) -> Result<SenderCreds, Errno> {
    if len != size_of::<UCred>() as u64 {
        return Err(Errno::EINVAL);
    }
    let said: UCred = task.read_obj(UserRef::new(at))?;
    let creds = task.own_creds();
    let own_pid = &task.thread_group().pid;
    let pid_of_task = task.pid();
    let namespace = pid_of_task.namespace();
    let user_ns = &creds.user_ns;
    let uid = user_ns.uid_kernel(said.uid).ok_or(Errno::EINVAL)?;
    let gid = user_ns.gid_kernel(said.gid).ok_or(Errno::EINVAL)?;
    let is_own_pid = said.pid == own_pid.number_in(namespace);
    let pid_ok = is_own_pid || creds.has_cap_in(CAP_SYS_ADMIN, &namespace.user_ns);
    let uid_ok = [creds.uid, creds.euid, creds.suid].contains(&uid) || creds.has_cap(CAP_SETUID);
    let gid_ok = [creds.gid, creds.egid, creds.sgid].contains(&gid) || creds.has_cap(CAP_SETGID);
    if !(pid_ok && uid_ok && gid_ok) {
        return Err(Errno::EPERM);
    }
    let pid = if is_own_pid { Arc::clone(own_pid) } else { namespace.find(said.pid).ok_or(Errno::ESRCH)? };
    Ok(SenderCreds { pid, uid, gid })
}

/// Writes control messages into the room that a receiver gave.
pub(crate) struct ControlWriter {
    at: UserAddr,
    room: u64,
    written: u64,
    truncated: bool,
}

impl ControlWriter {
    pub(crate) fn new(at: UserAddr, room: u64) -> ControlWriter {
        ControlWriter { at, room: if at.is_null() { 0 } else { room }, written: 0, truncated: false }
    }

    /// Whether something did not fit (MSG_CTRUNC).
    pub(crate) fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Bytes written, padding included.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Everything that came with a message, in Linux's order.
    pub(crate) fn write_received(
        &mut self,
        task: &mut CurrentTask,
        file: &File,
        got: &mut Received,
        flags: MsgFlags,
    ) -> SysResult<()> {
        let options = io::of_file(file)?.ops().options();
        if let Some(ns) = got.sent_ns {
            let time = ns_to_timespec(ns);
            if options.is_on(SO_TIMESTAMPNS) {
                self.put(task, SO_TIMESTAMPNS, time.as_bytes())?;
            } else if options.is_on(SO_TIMESTAMP) {
                let time = Timeval { tv_sec: time.tv_sec, tv_usec: time.tv_nsec / 1000 };
                self.put(task, SO_TIMESTAMP, time.as_bytes())?;
            }
        }
        let creds = got.creds.take().flatten();
        if options.is_on(SO_PASSCRED) {
            self.put(task, SCM_CREDENTIALS, seen_by(task, creds.as_ref()).as_bytes())?;
        }
        if !got.rights.0.is_empty() {
            self.put_rights(task, got, flags);
        }
        if options.is_on(SO_PASSPIDFD)
            && let Some(creds) = &creds
        {
            self.put_pidfd(task, creds)?;
        }
        Ok(())
    }

    /// One message; what does not fit is cut.
    fn put(&mut self, task: &CurrentTask, kind: u32, data: &[u8]) -> Result<(), Errno> {
        if self.room < HEAD {
            self.truncated = true;
            return Ok(());
        }
        let whole = HEAD + data.len() as u64;
        let len = whole.min(self.room);
        self.truncated |= len < whole;
        let head = CMsgHdr { cmsg_len: len, cmsg_level: SOL_SOCKET as i32, cmsg_type: kind as i32 };
        task.write_obj(UserRef::new(self.at), &head)?;
        task.copy_out(self.at.add(HEAD)?, &data[..(len - HEAD) as usize])?;
        self.advance(whole);
        Ok(())
    }

    fn advance(&mut self, len: u64) {
        let space = align(len).min(self.room);
        self.at = UserAddr(self.at.0.saturating_add(space));
        self.room -= space;
        self.written += space;
    }

    /// Descriptors: as many as fit, in room and in the table; the others are closed.
    fn put_rights(&mut self, task: &CurrentTask, got: &mut Received, flags: MsgFlags) {
        let on_exec = if flags.contains(MsgFlags::CMSG_CLOEXEC) { OnExec::Close } else { OnExec::Keep };
        let fits = self.room.saturating_sub(HEAD) / 4;
        let mut put = 0;
        for file in &got.rights.0 {
            if put == fits {
                break;
            }
            let Ok(fd) = task.reserve_fd(on_exec) else { break };
            let at = UserAddr(self.at.0.saturating_add(HEAD + put * 4));
            if task.write_obj(UserRef::new(at), &fd.fd()).is_err() {
                break;
            }
            fd.fill(Arc::clone(file));
            put += 1;
        }
        self.truncated |= put < got.rights.0.len() as u64;
        if put == 0 {
            return;
        }
        let len = HEAD + put * 4;
        let head = CMsgHdr { cmsg_len: len, cmsg_level: SOL_SOCKET as i32, cmsg_type: SCM_RIGHTS as i32 };
        if task.write_obj(UserRef::new(self.at), &head).is_ok() {
            self.advance(len);
        }
    }

    fn put_pidfd(&mut self, task: &mut CurrentTask, creds: &SenderCreds) -> SysResult<()> {
        if self.room < HEAD + 4 {
            self.truncated = true;
            return Ok(());
        }
        let fd = match task.add_pidfd(&creds.pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            // The receiver sees the error in place of the descriptor.
            Err(errno) => -(errno.number() as i32),
        };
        Ok(self.put(task, SCM_PIDFD, fd.as_bytes())?)
    }
}

/// How the namespaces of the receiver show a sender.
fn seen_by(task: &CurrentTask, sender: Option<&SenderCreds>) -> UCred {
    let user_ns = &task.own_creds().user_ns;
    match sender {
        None => UCred { pid: 0, uid: OVERFLOW_ID, gid: OVERFLOW_ID },
        Some(sender) => UCred {
            pid: sender.pid.number_in(task.pid().namespace()),
            uid: user_ns.uid_inside(sender.uid),
            gid: user_ns.gid_inside(sender.gid),
        },
    }
}
