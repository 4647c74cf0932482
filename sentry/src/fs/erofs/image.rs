//! Reading an image: bytes, the super block, nodes. Everything is checked here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;
use abi::stat::{FileType, S_IFMT, makedev};
use zerocopy::FromBytes;

use super::compressed::{self, Index};
use super::layout::{
    ALGORITHMS, ChunkIndex, Compact, Data, Extended, KNOWN_FEATURES, LZ4_PADDED, NODE_SLOT, SUPER_MAGIC,
    SUPER_OFFSET, Super, XattrHead,
};
use crate::Result;
use crate::mm::Mappable;
use crate::vfs::{Attr, BufSink, File, SeekFrom, Timestamp};

/// What an image contradicts itself with.
pub const CORRUPT: Errno = Errno::EUCLEAN;

/// LZ4 in the super block's set of algorithms.
const LZ4: u16 = 1;

/// Where an image's bytes come from.
pub trait Source: Send + Sync {
    /// How many there are.
    fn size(&self) -> u64;
    /// Reads all of `buffer` at `offset`, which lies in it.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;
    /// Its pages, if they can be mapped.
    fn mappable(&self) -> Option<Arc<dyn Mappable>>;
}

/// An image in a file.
pub struct FileImage {
    file: Arc<File>,
    size: u64,
}

impl FileImage {
    /// As large as the file is now.
    pub fn new(file: Arc<File>) -> Result<FileImage> {
        let size = file.ops().seek(&file, 0, SeekFrom::End(0))?;
        Ok(FileImage { file, size })
    }
}

impl Source for FileImage {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let rest = &mut buffer[done..];
            match self.file.ops().read(&self.file, &mut BufSink::new(rest), offset + done as u64)? {
                // Somebody has cut it off.
                0 => return Err(Errno::EIO),
                n => done += n,
            }
        }
        Ok(())
    }

    fn mappable(&self) -> Option<Arc<dyn Mappable>> {
        self.file.ops().mappable(&self.file).ok()
    }
}

/// An image whose super block has been checked.
pub struct Image {
    /// No other image has it.
    pub id: u64,
    source: Box<dyn Source>,
    head: Super,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A node of the image.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    pub nid: u64,
    pub attr: Attr,
    pub data: Data,
    /// Extended attributes: where they begin, and how many bytes there are.
    pub xattrs: (u64, u64),
}

impl Image {
    /// Checks the super block: EINVAL when it is no image, EOPNOTSUPP when it has what is not understood.
    pub fn open(source: Box<dyn Source>) -> Result<Image> {
        let mut bytes = [0; size_of::<Super>()];
        if source.size() < SUPER_OFFSET + bytes.len() as u64 {
            return Err(Errno::EINVAL);
        }
        source.read(SUPER_OFFSET, &mut bytes)?;
        let head = Super::read_from_bytes(&bytes).map_err(|_| Errno::EINVAL)?;
        if head.magic.get() != SUPER_MAGIC || !(9..=16).contains(&head.block_bits) {
            return Err(Errno::EINVAL);
        }
        let unknown = head.feature_incompat.get() & !KNOWN_FEATURES != 0;
        if unknown || head.dir_block_bits != 0 || head.extra_devices.get() != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        if head.feature_incompat.get() & ALGORITHMS != 0 && head.compression.get() & !LZ4 != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        Ok(Image { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), source, head })
    }

    /// Bytes of a block.
    pub fn block_size(&self) -> u64 {
        1 << self.head.block_bits
    }

    /// Number of blocks, as it says.
    pub fn blocks(&self) -> u64 {
        u64::from(self.head.blocks.get())
    }

    /// Number of nodes, as it says.
    pub fn inodes(&self) -> u64 {
        self.head.inodes.get()
    }

    /// Node number of the root.
    pub fn root(&self) -> u64 {
        u64::from(self.head.root_nid.get())
    }

    /// The source's pages.
    pub fn mappable(&self) -> Option<Arc<dyn Mappable>> {
        self.source.mappable()
    }

    /// Where shared extended attribute number `id` lies.
    pub fn shared_xattr(&self, id: u32) -> u64 {
        self.block_start(self.head.xattr_block.get()) + u64::from(id) * 4
    }

    /// Reads all of `buffer`; EUCLEAN where the image ends before.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        match offset.checked_add(buffer.len() as u64) {
            Some(end) if end <= self.source.size() => self.source.read(offset, buffer),
            _ => Err(CORRUPT),
        }
    }

    /// Reads a structure.
    pub fn structure<T: FromBytes>(&self, offset: u64) -> Result<T> {
        // All structures are smaller than a super block.
        let mut bytes = [0; size_of::<Super>()];
        let bytes = bytes.get_mut(..size_of::<T>()).ok_or(CORRUPT)?;
        self.read(offset, bytes)?;
        T::read_from_bytes(bytes).map_err(|_| CORRUPT)
    }

    /// Where a block begins.
    pub fn block_start(&self, block: u32) -> u64 {
        u64::from(block) << self.head.block_bits
    }

    /// Node number `nid`.
    pub fn node(&self, nid: u64) -> Result<Node> {
        let base = self.block_start(self.head.meta_block.get());
        let at = nid.checked_mul(NODE_SLOT).and_then(|slot| slot.checked_add(base)).ok_or(CORRUPT)?;
        let short: Compact = self.structure(at)?;
        let format = short.format.get();
        let (attr, start, len) = if format & 1 == 0 {
            (self.compact(nid, &short), short.start.get(), size_of::<Compact>() as u64)
        } else {
            let long: Extended = self.structure(at)?;
            (extended(nid, &long), long.start.get(), size_of::<Extended>() as u64)
        };
        let kind = FileType::from_mode(attr.mode).ok_or(CORRUPT)?;
        let xattr_at = at + len;
        let xattr_len = match u64::from(short.xattr_count.get()) {
            0 => 0,
            count => size_of::<XattrHead>() as u64 + 4 * (count - 1),
        };
        let behind = xattr_at + xattr_len;
        let mut attr =
            Attr { blocks: attr.size.div_ceil(self.block_size()) * (self.block_size() / 512), ..attr };
        let data = match (kind, (format >> 1) & 7) {
            (FileType::CharDevice | FileType::BlockDevice, _) => {
                attr.rdev = makedev((start & 0xf_ff00) >> 8, (start & 0xff) | ((start >> 12) & 0xf_ff00));
                Data::Plain(0)
            }
            (FileType::Fifo | FileType::Socket, _) => Data::Plain(0),
            (_, 0) => Data::Plain(self.block_start(start)),
            (_, 2) => Data::Inline(self.block_start(start), behind),
            (FileType::Regular, 4) => {
                let bits = u32::from(self.head.block_bits) + (start & 0x1f);
                let wide = start & 0x20 != 0;
                let unit = if wide { 8 } else { 4 };
                Data::Chunks { table: behind.next_multiple_of(unit), bits, wide }
            }
            (FileType::Regular, layout @ (1 | 3)) => {
                // Where it ends is only known of a block with its padding before it.
                if self.head.feature_incompat.get() & LZ4_PADDED == 0 {
                    return Err(Errno::EOPNOTSUPP);
                }
                attr.blocks = u64::from(start) * (self.block_size() / 512);
                Data::Compressed(Index::read(self, behind, layout == 3)?)
            }
            _ => return Err(CORRUPT),
        };
        if attr.size > i64::MAX as u64 {
            return Err(CORRUPT);
        }
        Ok(Node { nid, attr, data, xattrs: (xattr_at, xattr_len) })
    }

    fn compact(&self, nid: u64, node: &Compact) -> Attr {
        let time =
            Timestamp { secs: self.head.build_time.get() as i64, nanos: nanos(&self.head.build_time_nsec) };
        Attr {
            nlink: u32::from(node.links.get()),
            size: u64::from(node.size.get()),
            ..attr(nid, node.mode.get(), (u32::from(node.uid.get()), u32::from(node.gid.get())), time)
        }
    }

    /// Where the bytes of `node` from `offset` on lie: in the image, and how many lie together, at most up to its end.
    /// `None` for the place: a hole. The offset is below the size.
    pub fn place(&self, node: &Node, offset: u64) -> Result<(Option<u64>, u64)> {
        let left = node.attr.size.checked_sub(offset).ok_or(CORRUPT)?;
        match node.data {
            Data::Plain(start) => Ok((Some(start.checked_add(offset).ok_or(CORRUPT)?), left)),
            Data::Inline(start, tail) => {
                let whole = (node.attr.size.div_ceil(self.block_size()).max(1) - 1) << self.head.block_bits;
                if offset < whole {
                    return Ok((Some(start.checked_add(offset).ok_or(CORRUPT)?), whole - offset));
                }
                // It does not go over the end of a block.
                if tail % self.block_size() + (node.attr.size - whole) > self.block_size() {
                    return Err(CORRUPT);
                }
                Ok((Some(tail + (offset - whole)), left))
            }
            Data::Chunks { table, bits, wide } => {
                let chunk = offset.checked_shr(bits).unwrap_or(0);
                let within = if bits < 64 { offset & ((1 << bits) - 1) } else { offset };
                let room = 1u64.checked_shl(bits).map_or(u64::MAX, |size| size - within);
                let entry = chunk.checked_mul(if wide { 8 } else { 4 }).and_then(|at| at.checked_add(table));
                let entry = entry.ok_or(CORRUPT)?;
                let block = if wide {
                    let index: ChunkIndex = self.structure(entry)?;
                    if index.device.get() != 0 {
                        return Err(CORRUPT);
                    }
                    index.block.get()
                } else {
                    self.structure::<zerocopy::little_endian::U32>(entry)?.get()
                };
                let start = (block != u32::MAX).then(|| self.block_start(block) + within);
                Ok((start, left.min(room)))
            }
            // Nowhere as they are.
            Data::Compressed(_) => Err(CORRUPT),
        }
    }

    /// Reads data of `node` into `buffer`; how many bytes there were before its end.
    pub fn read_data(&self, node: &Node, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        if let Data::Compressed(index) = &node.data {
            return compressed::read_data(self, node, index, offset, buffer);
        }
        let mut done = 0;
        while done < buffer.len() {
            let at = offset.saturating_add(done as u64);
            if at >= node.attr.size {
                break;
            }
            let (place, together) = self.place(node, at)?;
            let len = (buffer.len() - done).min(together.min(usize::MAX as u64) as usize);
            if len == 0 {
                return Err(CORRUPT);
            }
            let part = &mut buffer[done..done + len];
            match place {
                Some(from) => self.read(from, part)?,
                None => part.fill(0),
            }
            done += len;
        }
        Ok(done)
    }
}

fn nanos(nanos: &zerocopy::little_endian::U32) -> u32 {
    nanos.get().min(999_999_999)
}

fn attr(nid: u64, mode: u16, (uid, gid): (u32, u32), time: Timestamp) -> Attr {
    let mode = u32::from(mode);
    debug_assert_eq!(mode & !(S_IFMT | 0o7777), 0);
    Attr { atime: time, mtime: time, ctime: time, btime: None, ..Attr::new(nid, mode, uid, gid) }
}

fn extended(nid: u64, node: &Extended) -> Attr {
    let time = Timestamp { secs: node.mtime.get() as i64, nanos: nanos(&node.mtime_nsec) };
    Attr {
        nlink: node.links.get(),
        size: node.size.get(),
        ..attr(nid, node.mode.get(), (node.uid.get(), node.gid.get()), time)
    }
}
