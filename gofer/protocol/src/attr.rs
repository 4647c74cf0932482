//! Attributes of a file, as statx(2) knows them.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::wire::{Bad, Reader, Wire, Writer, wire_enum};

wire_enum! {
    /// The type of a file; the values are those of `S_IFMT`, shifted down by 12.
    pub enum FileType: u8 {
        /// FIFO.
        Fifo = 1,
        /// Character device.
        CharDevice = 2,
        /// Directory.
        Directory = 4,
        /// Block device.
        BlockDevice = 6,
        /// Regular file.
        Regular = 8,
        /// Symbolic link.
        Symlink = 10,
        /// Unix socket.
        Socket = 12,
    }
}

/// Permission bits, set-user-ID, set-group-ID and sticky bit included: at most 07777.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Perm(u16);

impl Perm {
    /// The permission bits of a mode; other bits are dropped.
    pub const fn of_mode(mode: u32) -> Perm {
        Perm(mode as u16 & 0o7777)
    }
    /// The bits.
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl Wire<'_> for Perm {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&self.0);
    }
    fn get(from: &mut Reader<'_>) -> Result<Perm, Bad> {
        match from.get::<u16>()? {
            bits @ 0..=0o7777 => Ok(Perm(bits)),
            _ => Err(Bad::Value("permissions")),
        }
    }
}

/// User and group of a file. Neither can be -1, which means "leave as it is" to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    /// This user and group, if both are ids.
    pub const fn new(uid: u32, gid: u32) -> Option<Owner> {
        if uid == u32::MAX || gid == u32::MAX { None } else { Some(Owner { uid, gid }) }
    }
    /// User id.
    pub const fn uid(self) -> u32 {
        self.uid
    }
    /// Group id.
    pub const fn gid(self) -> u32 {
        self.gid
    }
}

impl Wire<'_> for Owner {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&self.uid);
        to.put(&self.gid);
    }
    fn get(from: &mut Reader<'_>) -> Result<Owner, Bad> {
        Owner::new(from.get()?, from.get()?).ok_or(Bad::Value("owner"))
    }
}

/// A point in time since 1970, in seconds and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Time {
    seconds: i64,
    nanoseconds: u32,
}

impl Time {
    /// This time, if `nanoseconds` are less than a second.
    pub const fn new(seconds: i64, nanoseconds: u32) -> Option<Time> {
        if nanoseconds < 1_000_000_000 { Some(Time { seconds, nanoseconds }) } else { None }
    }
    /// Whole seconds.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }
    /// Nanoseconds of the next second.
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }
}

impl Wire<'_> for Time {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&self.seconds);
        to.put(&self.nanoseconds);
    }
    fn get(from: &mut Reader<'_>) -> Result<Time, Bad> {
        Time::new(from.get()?, from.get()?).ok_or(Bad::Value("time"))
    }
}

/// What tells two files apart: the host's device and inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Major device number in the upper half, minor in the lower.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// Attributes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Device and inode.
    pub id: FileId,
    /// Type.
    pub kind: FileType,
    /// Permission bits.
    pub perm: Perm,
    /// Number of hard links.
    pub nlink: u32,
    /// Owner. The overflow id (65534) where the Gofer's user namespace has no name for the host's.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
    /// Device number of a device node: major, minor.
    pub rdev: (u32, u32),
    /// Bytes; at most `i64::MAX`.
    pub size: u64,
    /// Blocks of 512 bytes that are in use.
    pub blocks: u64,
    /// Preferred size of reads and writes.
    pub blksize: u32,
    /// `STATX_ATTR_*` that are set.
    pub attributes: u64,
    /// `STATX_ATTR_*` that the file system knows.
    pub attributes_mask: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of the contents.
    pub mtime: Time,
    /// Last change of the attributes.
    pub ctime: Time,
    /// When it was made, where the file system keeps that.
    pub btime: Option<Time>,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct TimeWire {
    seconds: I64,
    nanoseconds: U32,
}

/// The absent time: more nanoseconds than there can be.
const NO_TIME: u32 = u32::MAX;

impl TimeWire {
    fn new(time: Time) -> TimeWire {
        TimeWire { seconds: time.seconds.into(), nanoseconds: time.nanoseconds.into() }
    }
    fn check(self) -> Result<Time, Bad> {
        Time::new(self.seconds.get(), self.nanoseconds.get()).ok_or(Bad::Value("time"))
    }
}

/// [`Attr`] on the wire.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct AttrWire {
    dev: U64,
    ino: U64,
    size: U64,
    blocks: U64,
    attributes: U64,
    attributes_mask: U64,
    atime: TimeWire,
    mtime: TimeWire,
    ctime: TimeWire,
    btime: TimeWire,
    nlink: U32,
    uid: U32,
    gid: U32,
    rdev_major: U32,
    rdev_minor: U32,
    blksize: U32,
    mode: U16,
}

impl Attr {
    /// Bytes that attributes take on the wire.
    pub const SIZE: usize = size_of::<AttrWire>();
}

impl Wire<'_> for Attr {
    fn put(&self, to: &mut Writer<'_>) {
        let none = TimeWire { seconds: 0.into(), nanoseconds: NO_TIME.into() };
        let wire = AttrWire {
            dev: self.id.dev.into(),
            ino: self.id.ino.into(),
            size: self.size.into(),
            blocks: self.blocks.into(),
            attributes: self.attributes.into(),
            attributes_mask: self.attributes_mask.into(),
            atime: TimeWire::new(self.atime),
            mtime: TimeWire::new(self.mtime),
            ctime: TimeWire::new(self.ctime),
            btime: self.btime.map_or(none, TimeWire::new),
            nlink: self.nlink.into(),
            uid: self.uid.into(),
            gid: self.gid.into(),
            rdev_major: self.rdev.0.into(),
            rdev_minor: self.rdev.1.into(),
            blksize: self.blksize.into(),
            mode: ((self.kind as u16) << 12 | self.perm.bits()).into(),
        };
        to.raw(wire.as_bytes());
    }

    fn get(from: &mut Reader<'_>) -> Result<Attr, Bad> {
        let bytes = from.take(size_of::<AttrWire>())?;
        let wire = AttrWire::read_from_bytes(bytes).map_err(|_| Bad::Short)?;
        let mode = wire.mode.get();
        if wire.size.get() > i64::MAX as u64 {
            return Err(Bad::Value("size"));
        }
        let btime = match wire.btime.nanoseconds.get() {
            NO_TIME if wire.btime.seconds.get() == 0 => None,
            _ => Some(wire.btime.check()?),
        };
        Ok(Attr {
            id: FileId { dev: wire.dev.get(), ino: wire.ino.get() },
            kind: FileType::from_number((mode >> 12) as u8).ok_or(Bad::Value("file type"))?,
            perm: Perm(mode & 0o7777),
            nlink: wire.nlink.get(),
            uid: wire.uid.get(),
            gid: wire.gid.get(),
            rdev: (wire.rdev_major.get(), wire.rdev_minor.get()),
            size: wire.size.get(),
            blocks: wire.blocks.get(),
            blksize: wire.blksize.get(),
            attributes: wire.attributes.get(),
            attributes_mask: wire.attributes_mask.get(),
            atime: wire.atime.check()?,
            mtime: wire.mtime.check()?,
            ctime: wire.ctime.check()?,
            btime,
        })
    }
}
