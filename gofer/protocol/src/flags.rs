//! Flags and choices in messages.

use bitflags::bitflags;

use crate::wire::{Bad, Reader, Wire, Writer, wire_enum};

bitflags! {
    /// How a regular file is opened. At least one of READ and WRITE; TRUNCATE only with WRITE.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct OpenFlags: u16 {
        /// For reading.
        const READ = 1;
        /// For writing.
        const WRITE = 2;
        /// Cut to no bytes.
        const TRUNCATE = 4;
        /// Every write goes to the end (`O_APPEND`).
        const APPEND = 8;
        /// Past the page cache (`O_DIRECT`).
        const DIRECT = 16;
        /// A write returns when data and metadata are safe (`O_SYNC`).
        const SYNC = 32;
        /// A write returns when the data is safe (`O_DSYNC`).
        const DSYNC = 64;
        /// Reading leaves the access time as it is (`O_NOATIME`).
        const NOATIME = 128;
    }
}

impl OpenFlags {
    /// Whether the combination means something.
    pub fn is_legal(self) -> bool {
        self.intersects(OpenFlags::READ | OpenFlags::WRITE)
            && (self.contains(OpenFlags::WRITE) || !self.contains(OpenFlags::TRUNCATE))
    }
}

impl Wire<'_> for OpenFlags {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&self.bits());
    }
    fn get(from: &mut Reader<'_>) -> Result<OpenFlags, Bad> {
        OpenFlags::from_bits(from.get()?).filter(|flags| flags.is_legal()).ok_or(Bad::Value("open flags"))
    }
}

macro_rules! wire_flags {
    ($($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:expr])* $flag:ident = $value:literal;)* })*) => { $(
        bitflags! {
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub struct $name: u16 { $($(#[doc = $doc])* const $flag = $value;)* }
        }
        impl Wire<'_> for $name {
            fn put(&self, to: &mut Writer<'_>) {
                to.put(&self.bits());
            }
            fn get(from: &mut Reader<'_>) -> Result<$name, Bad> {
                $name::from_bits(from.get()?).ok_or(Bad::Value(stringify!($name)))
            }
        }
    )* };
}

wire_flags! {
    /// What renameat2(2) may do; which of them go together the host decides.
    RenameFlags {
        /// Refuse when the new name exists.
        NOREPLACE = 1;
        /// Swap the two.
        EXCHANGE = 2;
        /// Leave a whiteout behind.
        WHITEOUT = 4;
    }
    /// What else a listing is to bring.
    ReaddirFlags {
        /// The attributes of every entry.
        ATTR = 1;
        /// A handle for every directory (attributes come with it).
        DIR_HANDLES = 2;
        /// What symbolic links point to, where that is short and attributes come.
        TARGETS = 4;
    }
    /// What a tree is like.
    TreeFlags {
        /// Nothing in it can be changed.
        READ_ONLY = 1;
        /// Unix sockets of the host may be connected to.
        HOST_SOCKETS = 2;
        /// FIFOs of the host may be opened.
        HOST_FIFOS = 4;
        /// Unix sockets may be bound, so that programs of the host can reach them.
        BOUND_SOCKETS = 8;
    }
}

wire_enum! {
    /// What a walk brings for the last name.
    pub enum Leaf: u8 {
        /// Attributes. A directory gets a handle as well, anything else none.
        Attr = 0,
        /// Attributes and a handle.
        Handle = 1,
        /// Attributes, a handle and, for a regular file that the Gofer may read, an fd for reading.
        Open = 2,
    }
}

wire_enum! {
    /// What `Mknod` makes.
    pub enum NodeKind: u8 {
        /// Empty regular file.
        Regular = 0,
        /// FIFO.
        Fifo = 1,
        /// Unix socket that nobody listens on: a marker that the Sentry gives its meaning.
        Socket = 2,
        /// Character device 0:0, which stands for a removed file in an overlay's upper tree.
        Whiteout = 3,
    }
}

wire_enum! {
    /// What `Unlink` removes.
    pub enum UnlinkKind: u8 {
        /// Anything but a directory.
        File = 0,
        /// An empty directory.
        Directory = 1,
    }
}

wire_enum! {
    /// What `SetXattr` expects to find.
    pub enum SetMode: u8 {
        /// Either.
        Any = 0,
        /// No such attribute (`XATTR_CREATE`).
        Create = 1,
        /// Such an attribute (`XATTR_REPLACE`).
        Replace = 2,
    }
}

wire_enum! {
    /// What `Sync` makes safe.
    pub enum SyncKind: u8 {
        /// A file's or directory's contents and attributes.
        All = 0,
        /// Its contents.
        Data = 1,
        /// The whole file system that it is on.
        FileSystem = 2,
    }
}

wire_enum! {
    /// Kinds of Unix sockets, the values of `SOCK_*`.
    pub enum SocketKind: u8 {
        /// Stream.
        Stream = 1,
        /// Datagram.
        Datagram = 2,
        /// Messages in order.
        Seqpacket = 5,
    }
}
