//! /dev/fuse: where a server reads requests and writes answers.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use abi::Errno;
use abi::fuse::{FUSE_DEV_IOC_CLONE, FuseOutHeader};
use abi::open::OpenFlags;
use abi::poll::PollEvents;
use zerocopy::IntoBytes;

use super::connection::Connection;
use super::notify;
use crate::mm::{UserAddr, UserRef};
use crate::task::CurrentTask;
use crate::vfs::{Blocking, Caller, Driver, File, FileOps, IoSink, IoSource, OpenedOps, Path};
use crate::wait::WaitQueue;
use crate::{Result, SysResult};

/// A notification may bring this much along.
const NOTIFICATION_MAX: usize = 8192;

/// Opens /dev/fuse.
pub(super) struct FuseDriver;

impl Driver for FuseDriver {
    fn open(&self, _place: &Path, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<OpenedOps> {
        let device = FuseDevice { own: Connection::new(), cloned: OnceLock::new() };
        Ok(OpenedOps::Ready(Box::new(device)))
    }
}

/// An open device.
pub(super) struct FuseDevice {
    own: Arc<Connection>,
    /// That of another descriptor (FUSE_DEV_IOC_CLONE).
    cloned: OnceLock<Arc<Connection>>,
}

impl FuseDevice {
    /// The connection that it serves, or will.
    pub fn connection(&self) -> &Arc<Connection> {
        self.cloned.get().unwrap_or(&self.own)
    }
}

impl FileOps for FuseDevice {
    fn blocking(&self) -> Blocking {
        Blocking::Record
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize> {
        let connection = self.connection();
        let message = connection.next(dst.remaining())?;
        let bytes = message.bytes();
        match dst.put(bytes) {
            Ok(n) if n == bytes.len() => Ok(n),
            stored => {
                connection.undelivered(&message);
                Err(stored.err().unwrap_or(Errno::EFAULT))
            }
        }
    }

    fn write(&self, _file: &File, src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize> {
        let connection = self.connection();
        if !connection.is_mounted() {
            return Err(Errno::EPERM);
        }
        let total = src.remaining();
        let mut header = FuseOutHeader::default();
        let size = size_of::<FuseOutHeader>();
        if total < size {
            return Err(Errno::EINVAL);
        }
        if src.take(header.as_mut_bytes())? < size {
            return Err(Errno::EFAULT);
        }
        if header.len as usize != total {
            return Err(Errno::EINVAL);
        }
        let len = total - size;
        if header.unique == 0 {
            if len > NOTIFICATION_MAX {
                return Err(Errno::EINVAL);
            }
            notify::received(connection, header.error, &take(src, len)?)?;
            return Ok(total);
        }
        let Some(request) = connection.answered(&header)? else { return Ok(total) };
        let fits = if header.error == 0 { request.takes(len) } else { len == 0 };
        let body = if fits { take(src, len) } else { Err(Errno::EINVAL) };
        match body {
            Ok(body) => {
                let outcome = match header.error {
                    0 => Ok(body),
                    error => Err(Errno::new(error.unsigned_abs()).unwrap_or(Errno::EIO)),
                };
                connection.finished(&request, outcome);
                Ok(total)
            }
            Err(errno) => {
                connection.finished(&request, Err(Errno::EIO));
                Err(errno)
            }
        }
    }

    fn poll(&self, _file: &File) -> PollEvents {
        self.connection().poll()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.connection().readable)
    }

    fn ioctl(&self, _file: &File, task: &mut CurrentTask, request: u32, arg: u64) -> SysResult<u64> {
        if request != FUSE_DEV_IOC_CLONE {
            return Err(Errno::ENOTTY.into());
        }
        let fd: u32 = task.read_obj(UserRef::new(UserAddr(arg)))?;
        let other = task.file(fd as i32).map_err(|_| Errno::EINVAL)?;
        let device = other.downcast::<FuseDevice>().ok_or(Errno::EINVAL)?;
        let connection = device.connection();
        if !connection.is_mounted() {
            return Err(Errno::EPERM.into());
        }
        if self.own.is_mounted() {
            return Err(Errno::EINVAL.into());
        }
        connection.device_comes();
        if self.cloned.set(Arc::clone(connection)).is_err() {
            connection.device_goes();
            return Err(Errno::EINVAL.into());
        }
        Ok(0)
    }

    fn release(&self, _file: &File) {
        self.connection().device_goes();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn take(src: &mut dyn IoSource, len: usize) -> Result<Vec<u8>> {
    let mut body = vec![0; len];
    let mut done = 0;
    while done < len {
        match src.take(&mut body[done..])? {
            0 => return Err(Errno::EFAULT),
            n => done += n,
        }
    }
    Ok(body)
}
