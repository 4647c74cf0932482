//! Messages: sendto(2), recvfrom(2), sendmsg(2), recvmsg(2) and several of them at once.

use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use abi::socket::{MMsgHdr, MsgFlags, MsgHdr, SOCKADDR_STORAGE_SIZE, UIO_MAXIOV};
use abi::time::Timespec;
use abi::uio::IoVec;
use sentry::SysResult;
use sentry::mm::{UserAddr, UserRef, UserSlice};
use sentry::net::{Received, SendMessage};
use sentry::task::CurrentTask;
use sentry::time::clock::{deadline_after, ns_to_timespec, timespec_to_ns, to_ns};
use sentry::vfs::File;

use crate::arg::{Fd, Flags, InAddress, InBuf, InMessage, InOut, InOutLen, OutAddress, OutBuf, OutMessage};
use crate::control::{self, ControlWriter};
use crate::iovec::{self, Slices};
use crate::socket::{Address, file, read_address, write_address};

fn one(addr: UserAddr, len: u64) -> Result<[UserSlice; 1], Errno> {
    let len = len.min(abi::uio::MAX_RW_COUNT as u64);
    if addr.access_ok(len) { Ok([UserSlice { addr, len }]) } else { Err(Errno::EFAULT) }
}

/// sendto(2)
pub fn sendto(
    task: &mut CurrentTask,
    fd: Fd,
    buf: InBuf,
    len: u64,
    flags: Flags<MsgFlags>,
    address: InAddress,
    address_len: i32,
) -> SysResult<usize> {
    let slices = one(*buf, len)?;
    let file = file(task, fd)?;
    let address = match address.0.is_null() {
        true => None,
        false => Some(read_address(task, address.0, address_len)?),
    };
    let mut message = SendMessage { address: given(&address), ..SendMessage::default() };
    task.send(&file, &slices, flags.retain(), &mut message)
}

/// An address of no bytes is none.
fn given(address: &Option<Address>) -> Option<&[u8]> {
    address.as_deref().filter(|address| !address.is_empty())
}

/// recvfrom(2)
pub fn recvfrom(
    task: &mut CurrentTask,
    fd: Fd,
    buf: OutBuf,
    len: u64,
    flags: Flags<MsgFlags>,
    address: OutAddress,
    address_len: InOutLen,
) -> SysResult<usize> {
    let slices = one(*buf, len)?;
    let file = file(task, fd)?;
    let flags = flags.retain();
    let mut got = Received::default();
    let received = task.receive(&file, &slices, flags, &mut got)?;
    if !address.0.is_null() {
        let sender = got.address.take();
        write_address(task, sender.as_deref().unwrap_or_default(), address.0, address_len.0)?;
    }
    Ok(result_len(received, flags, &got))
}

/// With MSG_TRUNC the whole length of a message, even of what did not fit.
fn result_len(received: usize, flags: MsgFlags, got: &Received) -> usize {
    if flags.contains(MsgFlags::TRUNC) && got.truncated { got.full_len } else { received }
}

/// The head of a message, checked: EINVAL for a negative address length, EMSGSIZE for too many buffers.
fn head(task: &CurrentTask, at: UserRef<MsgHdr>) -> Result<(MsgHdr, Slices), Errno> {
    let mut head: MsgHdr = task.read_obj(at)?;
    if head.msg_name == 0 {
        head.msg_namelen = 0;
    }
    if head.msg_namelen < 0 {
        return Err(Errno::EINVAL);
    }
    head.msg_namelen = head.msg_namelen.min(SOCKADDR_STORAGE_SIZE as i32);
    if head.msg_iovlen > UIO_MAXIOV as u64 {
        return Err(Errno::EMSGSIZE);
    }
    let slices = iovec::read(task, UserRef::<IoVec>::new(UserAddr(head.msg_iov)), head.msg_iovlen)?;
    Ok((head, slices))
}

/// The flags of the calls with a `struct msghdr`: EINVAL for what only the kernel says of 32-bit callers.
fn for_messages(flags: Flags<MsgFlags>) -> Result<MsgFlags, Errno> {
    let flags = flags.retain();
    if flags.contains(MsgFlags::CMSG_COMPAT) { Err(Errno::EINVAL) } else { Ok(flags) }
}

/// sendmsg(2)
pub fn sendmsg(
    task: &mut CurrentTask,
    fd: Fd,
    message: InMessage,
    flags: Flags<MsgFlags>,
) -> SysResult<usize> {
    let flags = for_messages(flags)?;
    let file = file(task, fd)?;
    send_one(task, &file, message.0, flags)
}

fn send_one(
    task: &mut CurrentTask,
    file: &Arc<File>,
    at: UserRef<MsgHdr>,
    flags: MsgFlags,
) -> SysResult<usize> {
    let (head, slices) = head(task, at)?;
    let address = match head.msg_namelen {
        0 => None,
        len => Some(read_address(task, UserAddr(head.msg_name), len)?),
    };
    let control = control::read(task, UserAddr(head.msg_control), head.msg_controllen)?;
    let mut message = SendMessage { address: given(&address), ..SendMessage::default() };
    (message.rights, message.creds) = control;
    task.send(file, &slices, flags, &mut message)
}

/// recvmsg(2)
pub fn recvmsg(
    task: &mut CurrentTask,
    fd: Fd,
    message: OutMessage,
    flags: Flags<MsgFlags>,
) -> SysResult<usize> {
    let flags = for_messages(flags)?;
    let file = file(task, fd)?;
    receive_one(task, &file, message.0, flags)
}

fn receive_one(
    task: &mut CurrentTask,
    file: &Arc<File>,
    at: UserRef<MsgHdr>,
    flags: MsgFlags,
) -> SysResult<usize> {
    let (head, slices) = head(task, at)?;
    let mut got = Received::default();
    let received = task.receive(file, &slices, flags, &mut got)?;
    let mut answer = flags & (MsgFlags::CMSG_CLOEXEC | MsgFlags::CMSG_COMPAT);
    answer.set(MsgFlags::TRUNC, got.truncated);
    let mut control = ControlWriter::new(UserAddr(head.msg_control), head.msg_controllen);
    control.write_received(task, file, &mut got, flags)?;
    answer.set(MsgFlags::CTRUNC, control.is_truncated());
    if head.msg_name != 0 {
        let len = UserRef::new(at.addr().add(std::mem::offset_of!(MsgHdr, msg_namelen) as u64)?);
        let sender = got.address.take();
        write_address(task, sender.as_deref().unwrap_or_default(), UserAddr(head.msg_name), len)?;
    }
    let field = |offset: usize| at.addr().add(offset as u64);
    let flags_at = field(std::mem::offset_of!(MsgHdr, msg_flags))?;
    task.write_obj(UserRef::new(flags_at), &answer.bits())?;
    let control_len = field(std::mem::offset_of!(MsgHdr, msg_controllen))?;
    task.write_obj(UserRef::new(control_len), &control.written())?;
    Ok(result_len(received, flags, &got))
}

/// sendmmsg(2)
pub fn sendmmsg(
    task: &mut CurrentTask,
    fd: Fd,
    messages: UserRef<MMsgHdr>,
    count: u32,
    flags: Flags<MsgFlags>,
) -> SysResult<usize> {
    let flags = for_messages(flags)?;
    let file = file(task, fd)?;
    each(task, messages, count, |task, at, _| send_one(task, &file, at, flags))
}

/// recvmmsg(2)
pub fn recvmmsg(
    task: &mut CurrentTask,
    fd: Fd,
    messages: UserRef<MMsgHdr>,
    count: u32,
    flags: Flags<MsgFlags>,
    timeout: InOut<Timespec>,
) -> SysResult<usize> {
    let flags = for_messages(flags)?;
    let mut deadline = None;
    if let Some(timeout) = timeout.non_null() {
        let ns = timespec_to_ns(&task.read_obj(timeout)?).ok_or(Errno::EINVAL)?;
        deadline = Some(deadline_after(ns));
    }
    let file = file(task, fd)?;
    let received = each(task, messages, count, |task, at, done| {
        let mut flags = flags;
        let for_one = flags.contains(MsgFlags::WAITFORONE);
        flags -= MsgFlags::WAITFORONE;
        if done > 0 {
            if for_one {
                flags |= MsgFlags::DONTWAIT;
            }
            // The time-out is only looked at between messages, as on Linux.
            if deadline.flatten().is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Errno::EAGAIN.into());
            }
        }
        receive_one(task, &file, at, flags)
    })?;
    if let (Some(timeout), Some(Some(deadline))) = (timeout.non_null(), deadline) {
        let left = to_ns(deadline.saturating_duration_since(Instant::now()));
        task.write_obj(timeout, &ns_to_timespec(left))?;
    }
    Ok(received)
}

/// Does something with each message and stores its length; answers how many worked, or why the first did not.
fn each(
    task: &mut CurrentTask,
    messages: UserRef<MMsgHdr>,
    count: u32,
    mut with: impl FnMut(&mut CurrentTask, UserRef<MsgHdr>, usize) -> SysResult<usize>,
) -> SysResult<usize> {
    let count = count.min(UIO_MAXIOV as u32) as usize;
    for done in 0..count {
        let mut one = |task: &mut CurrentTask| -> SysResult<()> {
            let at = messages.at(done as u64)?;
            let len = with(task, at.cast(), done)?;
            let len_at = at.addr().add(std::mem::offset_of!(MMsgHdr, msg_len) as u64)?;
            Ok(task.write_obj(UserRef::new(len_at), &(len as u32))?)
        };
        if let Err(error) = one(task) {
            return if done > 0 { Ok(done) } else { Err(error) };
        }
    }
    Ok(count)
}
