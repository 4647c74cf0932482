//! null, zero, full, random, urandom, kmsg.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::minor;

use crate::Result;
use crate::SysResult;
use crate::mm::Mappable;
use crate::task::CurrentTask;
use crate::vfs::{Blocking, Caller, File, FileOps, IoSink, IoSource, Path, SeekFrom};
use crate::vfs::{Driver, OpenedOps};

/// Their major number.
pub(super) const MAJOR: u32 = 1;

/// Opens them.
pub(super) struct MemDriver;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Zero,
    Full,
    Random,
}

impl Driver for MemDriver {
    fn open(&self, place: &Path, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<OpenedOps> {
        let kind = match minor(place.inode().rdev()) {
            3 => Kind::Null,
            5 => Kind::Zero,
            7 => Kind::Full,
            8 | 9 => Kind::Random,
            _ => return Err(Errno::ENXIO),
        };
        Ok(OpenedOps::Ready(Box::new(MemFile { kind })))
    }
}

struct MemFile {
    kind: Kind,
}

impl FileOps for MemFile {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize> {
        let len = dst.remaining();
        match self.kind {
            Kind::Null => Ok(0),
            Kind::Zero | Kind::Full => dst.put_zeros(len),
            Kind::Random => random(dst, len),
        }
    }

    fn write(&self, _file: &File, src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize> {
        let len = src.remaining();
        match self.kind {
            Kind::Full => Err(Errno::ENOSPC),
            // Neither looks at what is written: a bad address is no error.
            Kind::Null | Kind::Zero => {
                src.advance(len);
                Ok(len)
            }
            // What is stirred in must be there.
            Kind::Random => {
                let mut buffer = [0u8; 256];
                let mut done = 0;
                while done < len {
                    match src.take(&mut buffer) {
                        Ok(0) => break,
                        Ok(n) => done += n,
                        Err(errno) if done == 0 => return Err(errno),
                        Err(_) => break,
                    }
                }
                Ok(done)
            }
        }
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        // null, zero and full are wherever one wants them to be.
        if self.kind != Kind::Random {
            return Ok(0);
        }
        to.without_end(current)
    }

    fn ioctl(&self, _file: &File, task: &mut CurrentTask, request: u32, arg: u64) -> SysResult<u64> {
        if self.kind == Kind::Random && request == abi::ioctl::RNDGETENTCNT {
            let to = crate::mm::UserRef::<i32>::new(crate::mm::UserAddr(arg));
            task.write_obj(to, &256)?;
            return Ok(0);
        }
        Err(Errno::ENOTTY.into())
    }

    fn mappable(&self, _file: &File) -> Result<Arc<dyn Mappable>> {
        match self.kind {
            // A mapping of zeros: private ones are anonymous memory, shared ones too.
            Kind::Zero => Ok(Arc::new(crate::mm::shmem::ZeroDevice)),
            _ => Err(Errno::ENODEV),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn random(dst: &mut dyn IoSink, len: usize) -> Result<usize> {
    let mut buffer = [0u8; 1024];
    let mut done = 0;
    while done < len {
        let n = (len - done).min(buffer.len());
        host::random::fill(&mut buffer[..n]).map_err(|_| Errno::EIO)?;
        match dst.put(&buffer[..n]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}
