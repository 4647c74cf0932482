//! Regular files of an image: reading and mapping.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use abi::Errno;
use platform::{Frames, MemoryFile, PAGE_SIZE, Prot};
use sync::Mutex;

use super::compressed::is_compressed;
use super::erofs_of;
use super::node::node;
use crate::Result;
use crate::mm::{Mappable, Place, Run, next_futex_id};
use crate::vfs::{Blocking, File, FileOps, Inode, IoSink, SeekFrom};

/// Bytes that are read at once.
const CHUNK: usize = 128 * 1024;

/// An open file.
pub struct ErofsFile(pub Arc<Inode>);

impl ErofsFile {
    fn size(&self) -> Result<u64> {
        Ok(node(&self.0)?.node.attr.size)
    }
}

impl FileOps for ErofsFile {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, offset: u64) -> Result<usize> {
        let image = &erofs_of(&self.0.sb)?.image;
        let node = &node(&self.0)?.node;
        let left = node.attr.size.saturating_sub(offset).min(dst.remaining() as u64) as usize;
        let mut buffer = vec![0; left.min(CHUNK)];
        let mut done = 0;
        while done < left {
            let len = (left - done).min(buffer.len());
            let part = &mut buffer[..len];
            let put = image.read_data(node, offset + done as u64, part).and_then(|n| dst.put(&part[..n]));
            match put {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        let size = self.size()?;
        let inside = |at: i64| u64::try_from(at).ok().filter(|at| *at < size).ok_or(Errno::ENXIO);
        let at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => (current as i64).checked_add(by).ok_or(Errno::EOVERFLOW)?,
            SeekFrom::End(by) => (size as i64).checked_add(by).ok_or(Errno::EOVERFLOW)?,
            SeekFrom::Data(at) => return inside(at),
            // Holes are not told of: there is one at the end.
            SeekFrom::Hole(at) => return inside(at).map(|_| size),
        };
        u64::try_from(at).map_err(|_| Errno::EINVAL)
    }

    fn direct(&self) -> bool {
        true
    }

    fn mappable(&self, _file: &File) -> Result<Arc<dyn Mappable>> {
        let memory = &erofs_of(&self.0.sb)?.memory;
        let pages = node(&self.0)?.pages.get_or_init(|| {
            Arc::new(Pages {
                inode: Arc::downgrade(&self.0),
                identity: (self.0.sb.dev, self.0.ino),
                memory: Arc::clone(memory),
                copies: Mutex::default(),
                futex_id: next_futex_id(),
            })
        });
        Ok(Arc::new(Mapped { inode: Arc::clone(&self.0), pages: Arc::clone(pages) }))
    }

    fn sync(&self, _file: &File, _data_only: bool) -> Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Pages of a file that can't be mapped from the image, copied when they are first touched: as many as the file has at
/// most, for as long as its inode is known.
pub struct Pages {
    inode: std::sync::Weak<Inode>,
    identity: (u64, u64),
    memory: Arc<MemoryFile>,
    copies: Mutex<BTreeMap<u64, Frames>, sync::levels::InodeData>,
    futex_id: u64,
}

impl Pages {
    /// The copy of page `page`, with a reference for the caller.
    fn copy(&self, page: u64) -> Result<u64> {
        if let Some(frames) = self.copies.lock().get(&page) {
            let frames = *frames;
            self.memory.incref(frames);
            return Ok(frames.offset);
        }
        let inode = self.inode.upgrade().ok_or(Errno::EIO)?;
        let mut bytes = vec![0; PAGE_SIZE as usize];
        erofs_of(&inode.sb)?.image.read_data(&node(&inode)?.node, page * PAGE_SIZE, &mut bytes)?;
        let frames = self.memory.allocate(PAGE_SIZE).map_err(|_| Errno::ENOMEM)?;
        if self.memory.write(frames.offset, &bytes).is_err() {
            self.memory.decref(frames);
            return Err(Errno::ENOMEM);
        }
        let mut copies = self.copies.lock();
        let kept = *copies.entry(page).or_insert(frames);
        drop(copies);
        if kept != frames {
            // Somebody else was faster.
            self.memory.decref(frames);
        }
        self.memory.incref(kept);
        Ok(kept.offset)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        for frames in std::mem::take(self.copies.get_mut()).into_values() {
            self.memory.decref(frames);
        }
    }
}

/// A file as it is mapped.
struct Mapped {
    inode: Arc<Inode>,
    pages: Arc<Pages>,
}

impl Mapped {
    /// The run from page-aligned `offset` on, where whole pages of the image are whole pages of the file.
    fn in_image(&self, offset: u64, len: u64) -> Result<Option<Run>> {
        let image = &erofs_of(&self.inode.sb)?.image;
        if is_compressed(&node(&self.inode)?.node) {
            return Ok(None);
        }
        let (place, together) = image.place(&node(&self.inode)?.node, offset)?;
        let whole = together.min(len) / PAGE_SIZE * PAGE_SIZE;
        let (Some(at), Some(source)) = (place, image.mappable()) else { return Ok(None) };
        if whole == 0 || at % PAGE_SIZE != 0 {
            return Ok(None);
        }
        source.translate(at, whole, false).map(Some)
    }
}

impl Mappable for Mapped {
    fn translate(&self, offset: u64, len: u64, _write: bool) -> Result<Run> {
        if offset >= node(&self.inode)?.node.attr.size {
            return Err(Errno::EFAULT);
        }
        // What is wrong in the image is SIGBUS.
        if let Some(run) = self.in_image(offset, len).map_err(|_| Errno::EFAULT)? {
            return Ok(run);
        }
        let place = self.pages.copy(offset / PAGE_SIZE).map_err(|errno| match errno {
            Errno::ENOMEM => errno,
            _ => Errno::EFAULT,
        })?;
        Ok(Run { place: Place::Memory(place), len: PAGE_SIZE })
    }

    fn may_change(&self) -> bool {
        false
    }

    fn is_eager(&self) -> bool {
        false
    }

    fn sync(&self, _offset: u64, _len: u64) -> Result<()> {
        Ok(())
    }

    fn may_map(&self, shared: bool, prot: Prot) -> Result<Prot> {
        let all = if shared { Prot::all() - Prot::WRITE } else { Prot::all() };
        if all.contains(prot) { Ok(all) } else { Err(Errno::EACCES) }
    }

    fn device_and_inode(&self) -> (u64, u64) {
        self.pages.identity
    }

    fn futex_id(&self) -> u64 {
        self.pages.futex_id
    }
}
