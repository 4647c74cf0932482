//! Compressed files: LZ4 blocks of whole disk blocks, each the bytes of one run of a file (an *extent*).
//!
//! A file is cut into logical clusters of a block; an index has an entry for each. The *head* of an extent says where in its
//! cluster the extent begins and which blocks hold it; the other entries lead back to their head. The index is *full*
//! (eight bytes an entry) or *compact* (packs of bits).
//!
//! Everything here comes from the image and is not believed: walks go one way and no further than an extent may be long,
//! and what is decompressed has at most [`MAX_EXTENT`] bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use abi::Errno;
use sync::Mutex;

use super::image::{CORRUPT, Image, Node};
use super::layout::{Data, FullIndex, MapHeader};
use crate::Result;

/// The longest extent that is understood, and the most compressed bytes of one. mkfs.erofs makes none of more than 4 MB.
const MAX_EXTENT: u64 = 8 << 20;

/// Flags of the header.
const COMPACTED_2B: u16 = 1;
const BIG_HEAD_1: u16 = 2;
const BIG_HEAD_2: u16 = 4;
const KNOWN_ADVICE: u16 = COMPACTED_2B | BIG_HEAD_1 | BIG_HEAD_2;

/// In the distance of the entry behind a head: that it is the number of its blocks.
const BLOCK_COUNT: u32 = 1 << 11;

/// The index of a compressed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Index {
    /// Where its entries begin.
    entries: u64,
    compact: bool,
    advice: u16,
    /// A logical cluster has `1 << bits` bytes.
    bits: u32,
}

/// What kind of cluster an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Head of bytes that are not compressed.
    Plain,
    Head1,
    /// It belongs to the head before it.
    Rest,
    Head2,
}

impl Kind {
    fn new(bits: u32) -> Kind {
        match bits & 3 {
            0 => Kind::Plain,
            1 => Kind::Head1,
            2 => Kind::Rest,
            _ => Kind::Head2,
        }
    }
}

/// An entry of the index.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// A head: where in its cluster the extent begins, and its first block.
    Head { kind: Kind, within: u64, block: u32 },
    /// Not one: how far back its head is, or for the first one behind a head, perhaps, how many blocks the extent has.
    Rest { back: u64, blocks: Option<u64> },
}

/// A run of a file that is compressed as a whole.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// First byte in the file.
    start: u64,
    len: u64,
    plain: bool,
    /// Where its blocks are in the image.
    at: u64,
    stored: u64,
}

/// Extents that were decompressed lately: pages are read one at a time.
static RECENT: Mutex<VecDeque<Recent>, sync::levels::Leaf> = Mutex::new(VecDeque::new());
const RECENT_MAX: usize = 16;
/// Longer ones are not kept.
const RECENT_LEN_MAX: usize = 1 << 20;

struct Recent {
    /// Image, node, and where in the file.
    key: (u64, u64, u64),
    bytes: Arc<[u8]>,
}

impl Index {
    /// The index behind a node, whose end is at `behind`: EOPNOTSUPP for what is not understood.
    pub fn read(image: &Image, behind: u64, compact: bool) -> Result<Index> {
        let at = behind.next_multiple_of(8);
        let header: MapHeader = image.structure(at)?;
        let advice = header.advice.get();
        // Files that lie in others, tails behind the node, other algorithms.
        if advice & !KNOWN_ADVICE != 0 || header.algorithms != 0 || header.cluster_bits & 0xf8 != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let bits = image.block_size().trailing_zeros() + u32::from(header.cluster_bits);
        if bits > 14 || (compact && (advice & BIG_HEAD_1 == 0) != (advice & BIG_HEAD_2 == 0)) {
            return Err(CORRUPT);
        }
        let header_len = size_of::<MapHeader>() as u64;
        // Eight bytes more are left free before a full index.
        let entries = at + header_len + if compact { 0 } else { 8 };
        Ok(Index { entries, compact, advice, bits })
    }

    fn entry(&self, image: &Image, node: &Node, cluster: u64) -> Result<Entry> {
        if cluster >= node.attr.size.div_ceil(1 << self.bits) {
            return Err(CORRUPT);
        }
        if self.compact { self.compact_entry(image, node, cluster) } else { self.full_entry(image, cluster) }
    }

    fn full_entry(&self, image: &Image, cluster: u64) -> Result<Entry> {
        let at =
            cluster.checked_mul(size_of::<FullIndex>() as u64).and_then(|at| at.checked_add(self.entries));
        let index: FullIndex = image.structure(at.ok_or(CORRUPT)?)?;
        let kind = Kind::new(u32::from(index.advice.get()));
        if kind != Kind::Rest {
            return self.head(kind, u64::from(index.within.get()), index.block.get());
        }
        self.rest(index.block.get() & 0xffff)
    }

    fn head(&self, kind: Kind, within: u64, block: u32) -> Result<Entry> {
        if within >= 1 << self.bits { Err(CORRUPT) } else { Ok(Entry::Head { kind, within, block }) }
    }

    /// An entry that is no head, from its distance.
    fn rest(&self, distance: u32) -> Result<Entry> {
        if distance & BLOCK_COUNT == 0 {
            return Ok(Entry::Rest { back: u64::from(distance), blocks: None });
        }
        if self.advice & (BIG_HEAD_1 | BIG_HEAD_2) == 0 {
            return Err(CORRUPT);
        }
        Ok(Entry::Rest { back: 1, blocks: Some(u64::from(distance & !BLOCK_COUNT)) })
    }

    /// Packs of two entries in eight bytes, so that those of 16 in 32 bytes begin at a multiple of that; and behind those,
    /// where fewer than 16 are left, packs of two again.
    fn compact_entry(&self, image: &Image, node: &Node, cluster: u64) -> Result<Entry> {
        let total = node.attr.size.div_ceil(image.block_size());
        let before = (32 - self.entries % 32) / 4 % 8;
        let dense = match self.advice & COMPACTED_2B != 0 && before < total {
            true => (total - before) / 16 * 16,
            false => 0,
        };
        let (at, in_dense) = if cluster < before {
            (cluster * 4, false)
        } else if cluster - before < dense {
            (before * 4 + (cluster - before) * 2, true)
        } else {
            (before * 4 + dense * 2 + (cluster - before - dense) * 4, false)
        };
        if in_dense && self.bits > 12 {
            return Err(Errno::EOPNOTSUPP);
        }
        let at = self.entries.checked_add(at).ok_or(CORRUPT)?;
        let (size, count) = if in_dense { (32u64, 16u32) } else { (8, 2) };
        let index = (at % size) as u32 / (size as u32 / count);
        let mut bytes = [0u8; 36];
        image.read(at - at % size, &mut bytes[..size as usize])?;
        let pack =
            Pack { bytes, low_bits: self.bits.max(12), entry_bits: (size as u32 - 4) * 8 / count, count };
        self.entry_of_pack(&pack, index)
    }

    fn entry_of_pack(&self, pack: &Pack, index: u32) -> Result<Entry> {
        let (kind, low) = pack.at(index);
        if kind != Kind::Rest {
            let block = pack.base().checked_add(self.blocks_before(pack, index)?).ok_or(CORRUPT)?;
            return self.head(kind, u64::from(low), block);
        }
        if low & BLOCK_COUNT != 0 || index + 1 != pack.count {
            return self.rest(low);
        }
        // The last one of a pack looks ahead: how far its head is says the one before.
        let back = match pack.at(index - 1) {
            (Kind::Rest, low) if low & BLOCK_COUNT != 0 => 2,
            (Kind::Rest, low) => u64::from(low) + 1,
            _ => 1,
        };
        Ok(Entry::Rest { back, blocks: None })
    }

    /// How many blocks lie between the base of a pack and those of the head at `index`.
    fn blocks_before(&self, pack: &Pack, index: u32) -> Result<u32> {
        let big = self.advice & BIG_HEAD_1 != 0;
        let mut blocks = u32::from(!big);
        let mut at = i64::from(index);
        while at > 0 {
            at -= 1;
            let (kind, low) = pack.at(at as u32);
            if !big {
                if kind == Kind::Rest {
                    at -= i64::from(low);
                }
                if at >= 0 {
                    blocks += 1;
                }
            } else if kind != Kind::Rest {
                blocks += 1;
            } else if low & BLOCK_COUNT != 0 {
                at -= 1;
                blocks += low & !BLOCK_COUNT;
            } else if low <= 1 {
                return Err(CORRUPT);
            } else {
                at -= i64::from(low) - 2;
            }
        }
        Ok(blocks)
    }

    /// The extent that byte `offset` of the file is in.
    fn extent(&self, image: &Image, node: &Node, offset: u64) -> Result<Extent> {
        let mut cluster = offset >> self.bits;
        let mut found = self.entry(image, node, cluster)?;
        // Before the head of its cluster: the rest of the extent before.
        if let Entry::Head { within, .. } = found
            && (cluster << self.bits | within) > offset
        {
            cluster = cluster.checked_sub(1).ok_or(CORRUPT)?;
            found = self.entry(image, node, cluster)?;
        }
        let (kind, within, block) = loop {
            match found {
                Entry::Head { kind, within, block } => break (kind, within, block),
                Entry::Rest { back: 0, .. } => return Err(CORRUPT),
                Entry::Rest { back, .. } => cluster = cluster.checked_sub(back).ok_or(CORRUPT)?,
            }
            if offset - (cluster << self.bits) > MAX_EXTENT {
                return Err(CORRUPT);
            }
            found = self.entry(image, node, cluster)?;
        };
        let start = cluster << self.bits | within;
        let is_big = match kind {
            Kind::Head1 => self.advice & BIG_HEAD_1 != 0,
            Kind::Head2 => self.advice & BIG_HEAD_2 != 0,
            Kind::Plain | Kind::Rest => false,
        };
        let mut blocks = 1;
        let mut next = cluster + 1;
        let end = loop {
            if next << self.bits >= node.attr.size {
                break node.attr.size;
            }
            if (next << self.bits) - start > MAX_EXTENT {
                return Err(CORRUPT);
            }
            match self.entry(image, node, next)? {
                Entry::Head { within, .. } => break (next << self.bits | within).min(node.attr.size),
                Entry::Rest { blocks: Some(count), .. } if is_big && next == cluster + 1 => blocks = count,
                Entry::Rest { .. } => {}
            }
            next += 1;
        };
        let plain = kind == Kind::Plain;
        let (at, stored) = (image.block_start(block), blocks.saturating_mul(image.block_size()));
        let wrong = end <= offset || end - start > MAX_EXTENT || stored == 0 || stored > MAX_EXTENT;
        if wrong || (plain && end - start > stored) {
            return Err(CORRUPT);
        }
        Ok(Extent { start, len: end - start, plain, at, stored })
    }
}

/// Some entries of a compact index, bit behind bit, and the number of a block behind them.
struct Pack {
    /// As much is left free behind the longest one as an entry may reach over.
    bytes: [u8; 36],
    low_bits: u32,
    entry_bits: u32,
    count: u32,
}

impl Pack {
    fn at(&self, index: u32) -> (Kind, u32) {
        let position = index * self.entry_bits;
        let word = self.word((position / 8) as usize) >> (position % 8);
        (Kind::new(word >> self.low_bits), word & ((1 << self.low_bits) - 1))
    }

    fn base(&self) -> u32 {
        let len = (self.count * self.entry_bits / 8) as usize;
        self.word(len)
    }

    fn word(&self, at: usize) -> u32 {
        self.bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
    }
}

/// Reads data of a compressed `node` into `buffer`; how many bytes there were before its end.
pub fn read_data(image: &Image, node: &Node, index: &Index, offset: u64, buffer: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        let at = offset.saturating_add(done as u64);
        if at >= node.attr.size {
            break;
        }
        let extent = index.extent(image, node, at)?;
        let bytes = extent.bytes(image, node)?;
        let from = bytes.get((at - extent.start) as usize..).ok_or(CORRUPT)?;
        let len = from.len().min(buffer.len() - done);
        buffer[done..done + len].copy_from_slice(&from[..len]);
        done += len;
    }
    Ok(done)
}

impl Extent {
    /// What it holds.
    fn bytes(&self, image: &Image, node: &Node) -> Result<Arc<[u8]>> {
        let key = (image.id, node.nid, self.start);
        let known =
            RECENT.lock().iter().find(|recent| recent.key == key).map(|recent| Arc::clone(&recent.bytes));
        if let Some(known) = known.filter(|known| known.len() as u64 == self.len) {
            return Ok(known);
        }
        let bytes: Arc<[u8]> = self.decompress(image)?.into();
        if bytes.len() <= RECENT_LEN_MAX {
            let mut recent = RECENT.lock();
            recent.truncate(RECENT_MAX - 1);
            recent.push_front(Recent { key, bytes: Arc::clone(&bytes) });
        }
        Ok(bytes)
    }

    fn decompress(&self, image: &Image) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.len as usize];
        if self.plain {
            image.read(self.at, &mut bytes)?;
            return Ok(bytes);
        }
        let mut stored = vec![0; self.stored as usize];
        image.read(self.at, &mut stored)?;
        // Zeros are before it, so that it ends with its blocks.
        let first_block = &stored[..stored.len().min(image.block_size() as usize)];
        let start = first_block.iter().position(|byte| *byte != 0).ok_or(CORRUPT)?;
        let len = lz4_flex::block::decompress_into(&stored[start..], &mut bytes).map_err(|_| CORRUPT)?;
        if len == bytes.len() { Ok(bytes) } else { Err(CORRUPT) }
    }
}

/// Whether the pages of a file can't be mapped from the image.
pub fn is_compressed(node: &Node) -> bool {
    matches!(node.data, Data::Compressed(_))
}
