//! Directories: blocks of entries, sorted by name.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::dirent::{DT_CHR, DT_DIR};
use zerocopy::FromBytes;

use super::image::{CORRUPT, Image, Node};
use super::layout::Dirent;
use super::node::node;
use crate::Result;
use crate::vfs::{Blocking, File, FileOps, Inode, IoSink, SeekFrom};

/// One block of a directory, with its entries found.
struct Block {
    bytes: Vec<u8>,
    entries: Vec<Dirent>,
}

impl Block {
    /// Block number `index`.
    fn read(image: &Image, dir: &Node, index: u64) -> Result<Block> {
        let mut bytes = vec![0; image.block_size() as usize];
        let at = index.checked_mul(image.block_size()).ok_or(CORRUPT)?;
        let len = image.read_data(dir, at, &mut bytes)?;
        bytes.truncate(len);
        let size = size_of::<Dirent>();
        let first = Dirent::read_from_prefix(&bytes).map_err(|_| CORRUPT)?.0;
        let names = usize::from(first.name_offset.get());
        if names < size || names % size != 0 || names > bytes.len() {
            return Err(CORRUPT);
        }
        let entry = |chunk: &[u8]| Dirent::read_from_bytes(chunk).map_err(|_| CORRUPT);
        let entries = bytes[..names].chunks_exact(size).map(entry).collect::<Result<Vec<_>>>()?;
        Ok(Block { bytes, entries })
    }

    /// Name of entry `index`.
    fn name(&self, index: usize) -> Result<&[u8]> {
        let start = usize::from(self.entries.get(index).ok_or(CORRUPT)?.name_offset.get());
        let end = match self.entries.get(index + 1) {
            Some(next) => usize::from(next.name_offset.get()),
            None => self.bytes.len(),
        };
        let name = self.bytes.get(start..end).ok_or(CORRUPT)?;
        // The last one is padded.
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        if name.is_empty() || name.len() > abi::NAME_MAX || name.contains(&b'/') {
            return Err(CORRUPT);
        }
        Ok(name)
    }
}

fn blocks(image: &Image, dir: &Node) -> u64 {
    dir.attr.size.div_ceil(image.block_size())
}

/// The node number under `name`.
pub fn find(image: &Image, dir: &Node, name: &[u8]) -> Result<Option<u64>> {
    let (mut low, mut high) = (0, blocks(image, dir));
    while low < high {
        let middle = low + (high - low) / 2;
        let block = Block::read(image, dir, middle)?;
        let last = block.entries.len() - 1;
        if name < block.name(0)? {
            high = middle;
        } else if name > block.name(last)? {
            low = middle + 1;
        } else {
            for (index, entry) in block.entries.iter().enumerate() {
                if block.name(index)? == name {
                    return Ok(Some(entry.nid.get()));
                }
            }
            return Ok(None);
        }
    }
    Ok(None)
}

/// An open directory. A position is the block, and the entry in it.
pub struct ErofsDirFile(pub Arc<Inode>);

/// Bits of a position for the entry in a block of at most 64 KiB.
const ENTRY_BITS: u32 = 13;
/// Positions of `.` and `..`, which the VFS gives itself.
const FIRST: u64 = 2;

impl FileOps for ErofsDirFile {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, _file: &File, _dst: &mut dyn IoSink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        to.without_end(current)
    }

    fn read_dir(&self, _file: &File, offset: u64, emit: &mut crate::vfs::file::EmitEntry<'_>) -> Result<u64> {
        let image = &super::erofs_of(&self.0.sb)?.image;
        let dir = &node(&self.0)?.node;
        let mut position = offset.max(FIRST);
        loop {
            let at = position - FIRST;
            let (index, first) = (at >> ENTRY_BITS, (at & ((1 << ENTRY_BITS) - 1)) as usize);
            if index >= blocks(image, dir) {
                return Ok(position);
            }
            let block = Block::read(image, dir, index)?;
            for (entry, dirent) in block.entries.iter().enumerate().skip(first) {
                let next = FIRST + (index << ENTRY_BITS) + entry as u64 + 1;
                let name = block.name(entry)?;
                let kind = kind_of(dirent.file_type);
                if name != b"." && name != b".." && !emit(name, dirent.nid.get().max(1), next, kind) {
                    return Ok(position);
                }
                position = next;
            }
            position = FIRST + ((index + 1) << ENTRY_BITS);
        }
    }

    fn sync(&self, _file: &File, _data_only: bool) -> Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The `DT_` type for a type of the image.
fn kind_of(file_type: u8) -> u8 {
    match file_type {
        1 => 8,
        2 => DT_DIR,
        3 => DT_CHR,
        4 => 6,
        5 => 1,
        6 => 12,
        7 => 10,
        _ => 0,
    }
}
