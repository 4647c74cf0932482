//! Structures of the image, little-endian.

use super::compressed::Index;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Where the super block lies.
pub const SUPER_OFFSET: u64 = 1024;
/// What it begins with.
pub const SUPER_MAGIC: u32 = 0xe0f5_e1e2;
/// LZ4 blocks have their padding before them.
pub const LZ4_PADDED: u32 = 0x1;
/// The super block says which algorithms there are; extents may have more than one block.
pub const ALGORITHMS: u32 = 0x2;
/// Files in chunks.
const CHUNKS: u32 = 0x4;
/// The features that are understood.
pub const KNOWN_FEATURES: u32 = LZ4_PADDED | ALGORITHMS | CHUNKS;

#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Super {
    pub magic: U32,
    pub checksum: U32,
    pub feature_compat: U32,
    pub block_bits: u8,
    pub extra_slots: u8,
    pub root_nid: U16,
    pub inodes: U64,
    pub build_time: U64,
    pub build_time_nsec: U32,
    pub blocks: U32,
    pub meta_block: U32,
    pub xattr_block: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub feature_incompat: U32,
    pub compression: U16,
    pub extra_devices: U16,
    pub device_slots: U16,
    pub dir_block_bits: u8,
    pub xattr_prefixes: u8,
    pub xattr_prefix_start: U32,
    pub packed_nid: U64,
    pub reserved: [u8; 24],
}

/// Nodes lie at multiples of this.
pub const NODE_SLOT: u64 = 32;

/// `erofs_inode_compact`
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Compact {
    pub format: U16,
    pub xattr_count: U16,
    pub mode: U16,
    pub links: U16,
    pub size: U32,
    pub reserved: U32,
    pub start: U32,
    pub ino: U32,
    pub uid: U16,
    pub gid: U16,
    pub reserved2: U32,
}

/// `erofs_inode_extended`
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Extended {
    pub format: U16,
    pub xattr_count: U16,
    pub mode: U16,
    pub reserved: U16,
    pub size: U64,
    pub start: U32,
    pub ino: U32,
    pub uid: U32,
    pub gid: U32,
    pub mtime: U64,
    pub mtime_nsec: U32,
    pub links: U32,
    pub reserved2: [u8; 16],
}

/// An entry of a directory block; names follow all entries.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Dirent {
    pub nid: U64,
    pub name_offset: U16,
    pub file_type: u8,
    pub reserved: u8,
}

/// Behind a node that has extended attributes; ids of shared ones follow, and then its own.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct XattrHead {
    pub filter: U32,
    pub shared: u8,
    pub reserved: [u8; 7],
}

/// An extended attribute; name and value follow.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct XattrEntry {
    pub name_len: u8,
    pub kind: u8,
    pub value_len: U16,
}

/// A chunk with the device it is on.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ChunkIndex {
    pub advice: U16,
    pub device: U16,
    pub block: U32,
}

/// Before the index of a compressed file.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct MapHeader {
    pub reserved: U32,
    pub advice: U16,
    /// Of heads of the first kind, and in the upper half of the second; 0 is LZ4.
    pub algorithms: u8,
    /// How many bits more a logical cluster has than a block.
    pub cluster_bits: u8,
}

/// An entry of a full index.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FullIndex {
    pub advice: U16,
    pub within: U16,
    /// Of a head; else two distances.
    pub block: U32,
}

/// How a node's data lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Block behind block from this byte of the image on.
    Plain(u64),
    /// The same, but the last piece lies behind the node, at the second byte.
    Inline(u64, u64),
    /// In chunks of `1 << bits` bytes; the table of their blocks is at `table`.
    Chunks { table: u64, bits: u32, wide: bool },
    /// Compressed.
    Compressed(Index),
}
