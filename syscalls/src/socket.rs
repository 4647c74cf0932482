//! Sockets: socket(2), bind(2), connect(2), accept(2) and what goes with them. Messages are in `message`.

use std::sync::Arc;

use abi::Errno;
use abi::clone::PidfdFlags;
use abi::open::OpenFlags;
use abi::socket::{
    SO_ACCEPTCONN, SO_DOMAIN, SO_ERROR, SO_PEERGROUPS, SO_PEERNAME, SO_PEERPIDFD, SO_PROTOCOL, SO_TYPE,
    SOCK_TYPE_MASK, SOCKADDR_STORAGE_SIZE, SOL_SOCKET, SockFlags,
};
use sentry::SysResult;
use sentry::mm::{UserAddr, UserRef};
use sentry::net::options::OptionValue;
use sentry::net::socket::Socket;
use sentry::net::unix::UnixSocket;
use sentry::net::{self, Actor, io};
use sentry::task::CurrentTask;
use sentry::vfs::{File, OnExec};
use smallvec::SmallVec;

use crate::arg::{
    AddressFamily, Fd, Flags, InAddress, InOutLen, Out, OutAddress, ShutdownHow, SocketLevel, SocketOption,
    SocketType,
};

/// An address, copied in.
pub(crate) type Address = SmallVec<[u8; SOCKADDR_STORAGE_SIZE]>;

/// Copies an address in: EINVAL for an absurd length, EFAULT.
pub(crate) fn read_address(task: &CurrentTask, addr: UserAddr, len: i32) -> Result<Address, Errno> {
    let len = usize::try_from(len).ok().filter(|len| *len <= SOCKADDR_STORAGE_SIZE).ok_or(Errno::EINVAL)?;
    let mut address = Address::from_elem(0, len);
    task.copy_in(addr, &mut address)?;
    Ok(address)
}

/// Copies an address out, cut to the length at `len`, and stores its real length there.
pub(crate) fn write_address(
    task: &CurrentTask,
    address: &[u8],
    to: UserAddr,
    len: UserRef<i32>,
) -> Result<(), Errno> {
    let room = usize::try_from(task.read_obj(len)?).map_err(|_| Errno::EINVAL)?;
    task.copy_out(to, &address[..address.len().min(room)])?;
    task.write_obj(len, &(address.len() as i32))
}

/// The open file of a socket: EBADF, ENOTSOCK.
pub(crate) fn file(task: &CurrentTask, fd: Fd) -> Result<Arc<File>, Errno> {
    let file = task.file(fd.0)?;
    io::of_file(&file)?;
    Ok(file)
}

/// The type, and the flags as of open(2): EINVAL for others.
fn split(kind: SocketType) -> Result<(u32, OpenFlags), Errno> {
    let flags = SockFlags::from_bits(kind.0 & !SOCK_TYPE_MASK).ok_or(Errno::EINVAL)?;
    Ok((kind.0 & SOCK_TYPE_MASK, OpenFlags::from_bits_retain(flags.bits())))
}

fn open(task: &CurrentTask, socket: Socket, flags: OpenFlags) -> Arc<File> {
    task.kernel().internal.socket(Box::new(socket), flags, task.own_creds())
}

/// socket(2)
pub fn socket(
    task: &mut CurrentTask,
    family: AddressFamily,
    kind: SocketType,
    protocol: u32,
) -> SysResult<Fd> {
    let (kind, flags) = split(kind)?;
    let socket = net::new_socket(&task.namespaces().net, family.0, kind, protocol)?;
    let fd = task.reserve_fd(OnExec::from_flags(flags))?;
    Ok(Fd(fd.fill(open(task, socket, flags))))
}

/// socketpair(2)
pub fn socketpair(
    task: &mut CurrentTask,
    family: AddressFamily,
    kind: SocketType,
    protocol: u32,
    fds: Out<[i32; 2]>,
) -> SysResult<()> {
    let (kind, flags) = split(kind)?;
    let on_exec = OnExec::from_flags(flags);
    let first = task.reserve_fd(on_exec)?;
    let second = task.reserve_fd(on_exec)?;
    task.write_obj(fds.0, &[first.fd(), second.fd()])?;
    let (a, b) = net::new_pair(&task.namespaces().net, family.0, kind, protocol, &Actor::of(task))?;
    first.fill(open(task, a, flags));
    second.fill(open(task, b, flags));
    Ok(())
}

/// bind(2)
pub fn bind(task: &mut CurrentTask, fd: Fd, address: InAddress, len: i32) -> SysResult<()> {
    let file = file(task, fd)?;
    let address = read_address(task, address.0, len)?;
    Ok(io::of_file(&file)?.ops().bind(&Actor::of(task), &address)?)
}

/// connect(2)
pub fn connect(task: &mut CurrentTask, fd: Fd, address: InAddress, len: i32) -> SysResult<()> {
    // Whether it is a socket is seen only after the address, unlike in bind.
    let file = task.file(fd.0)?;
    let address = read_address(task, address.0, len)?;
    io::of_file(&file)?;
    task.connect(&file, &address)
}

/// listen(2)
pub fn listen(task: &mut CurrentTask, fd: Fd, backlog: i32) -> SysResult<()> {
    let file = file(task, fd)?;
    Ok(io::of_file(&file)?.ops().listen(&Actor::of(task), backlog)?)
}

/// accept(2)
pub fn accept(task: &mut CurrentTask, fd: Fd, address: OutAddress, len: InOutLen) -> SysResult<Fd> {
    accept_with(task, fd, address, len, SockFlags::empty())
}

/// accept4(2)
pub fn accept4(
    task: &mut CurrentTask,
    fd: Fd,
    address: OutAddress,
    len: InOutLen,
    flags: Flags<SockFlags>,
) -> SysResult<Fd> {
    accept_with(task, fd, address, len, flags.retain())
}

fn accept_with(
    task: &mut CurrentTask,
    fd: Fd,
    address: OutAddress,
    len: InOutLen,
    flags: SockFlags,
) -> SysResult<Fd> {
    let listener = task.file(fd.0)?;
    if !(SockFlags::CLOEXEC | SockFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL.into());
    }
    io::of_file(&listener)?;
    let flags = OpenFlags::from_bits_retain(flags.bits());
    let reserved = task.reserve_fd(OnExec::from_flags(flags))?;
    let socket = task.accept(&listener)?;
    if !address.0.is_null() {
        let peer = socket.ops().peer_address().map_err(|_| Errno::ECONNABORTED)?;
        write_address(task, &peer, address.0, len.0)?;
    }
    Ok(Fd(reserved.fill(open(task, socket, flags))))
}

/// getsockname(2)
pub fn getsockname(task: &mut CurrentTask, fd: Fd, address: OutAddress, len: InOutLen) -> SysResult<()> {
    let file = file(task, fd)?;
    let own = io::of_file(&file)?.ops().local_address()?;
    Ok(write_address(task, &own, address.0, len.0)?)
}

/// getpeername(2)
pub fn getpeername(task: &mut CurrentTask, fd: Fd, address: OutAddress, len: InOutLen) -> SysResult<()> {
    let file = file(task, fd)?;
    let peer = io::of_file(&file)?.ops().peer_address()?;
    Ok(write_address(task, &peer, address.0, len.0)?)
}

/// shutdown(2)
pub fn shutdown(task: &mut CurrentTask, fd: Fd, how: ShutdownHow) -> SysResult<()> {
    let file = file(task, fd)?;
    Ok(io::of_file(&file)?.ops().shutdown(how.0)?)
}

/// The most bytes of an option that are looked at.
const MAX_OPTION: usize = 256;

/// setsockopt(2)
pub fn setsockopt(
    task: &mut CurrentTask,
    fd: Fd,
    level: SocketLevel,
    option: SocketOption,
    value: UserAddr,
    len: i32,
) -> SysResult<()> {
    let file = file(task, fd)?;
    let ops = io::of_file(&file)?.ops();
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    if level.0 == SOL_SOCKET && len < size_of::<i32>() {
        return Err(Errno::EINVAL.into());
    }
    let mut bytes: SmallVec<[u8; 32]> = SmallVec::from_elem(0, len.min(MAX_OPTION));
    task.copy_in(value, &mut bytes)?;
    if level.0 == SOL_SOCKET {
        ops.options().set(option.0, &bytes, task.own_creds())?;
        ops.options_changed();
    } else {
        ops.set_option(task, level.0, option.0, &bytes)?;
    }
    Ok(())
}

/// getsockopt(2)
pub fn getsockopt(
    task: &mut CurrentTask,
    fd: Fd,
    level: SocketLevel,
    option: SocketOption,
    value: UserAddr,
    len: InOutLen,
) -> SysResult<()> {
    let file = file(task, fd)?;
    let ops = io::of_file(&file)?.ops();
    if level.0 != SOL_SOCKET {
        let known = ops.option(task, level.0, option.0);
        // A family without options of its own looks at nothing else.
        if let Err(errno) = &known
            && *errno == Errno::EOPNOTSUPP
        {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let room = usize::try_from(task.read_obj(len.0)?).map_err(|_| Errno::EINVAL)?;
        return give(task, &known?.0, room, value, len);
    }
    let room = usize::try_from(task.read_obj(len.0)?).map_err(|_| Errno::EINVAL)?;
    let known = match option.0 {
        SO_TYPE => Some(OptionValue::number(ops.kind().number() as i32)),
        SO_DOMAIN => Some(OptionValue::number(ops.family() as i32)),
        SO_PROTOCOL => Some(OptionValue::number(ops.protocol() as i32)),
        SO_ERROR => Some(OptionValue::number(ops.take_error().map_or(0, |errno| errno.number() as i32))),
        SO_ACCEPTCONN => Some(OptionValue::number(i32::from(ops.is_listening()))),
        SO_PEERNAME => {
            let peer = ops.peer_address().map_err(|_| Errno::ENOTCONN)?;
            if peer.len() < room {
                return Err(Errno::EINVAL.into());
            }
            Some(OptionValue(SmallVec::from_slice(&peer)))
        }
        SO_PEERPIDFD => {
            let unix = ops.as_any().downcast_ref::<UnixSocket>().ok_or(Errno::EOPNOTSUPP)?;
            let pid = unix.peer_pid().ok_or(Errno::ENODATA)?;
            Some(OptionValue::number(task.add_pidfd(&pid, PidfdFlags::empty())?))
        }
        _ => ops.options().get(option.0),
    };
    let bytes = match known {
        Some(known) => known.0,
        None => ops.option(task, level.0, option.0)?.0,
    };
    if option.0 == SO_PEERGROUPS && room < bytes.len() {
        task.write_obj(len.0, &(bytes.len() as i32))?;
        return Err(Errno::ERANGE.into());
    }
    give(task, &bytes, room, value, len)
}

/// Stores an option's value, cut to the room for it, and its length.
fn give(task: &CurrentTask, bytes: &[u8], room: usize, value: UserAddr, len: InOutLen) -> SysResult<()> {
    let given = bytes.len().min(room);
    task.copy_out(value, &bytes[..given])?;
    task.write_obj(len.0, &(given as i32))?;
    Ok(())
}
