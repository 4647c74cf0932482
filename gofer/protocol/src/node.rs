//! Parts of replies: files that were found, entries of directories, figures of a file system.

use crate::attr::{Attr, FileType};
use crate::handle::Handle;
use crate::name::{Name, Target};
use crate::wire::{Bad, Reader, Wire, Writer};

macro_rules! wire_struct {
    ($($(#[$meta:meta])* $name:ident $(<$a:lifetime>)? { $($(#[$doc:meta])* $field:ident: $ty:ty,)* })*) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name $(<$a>)? { $($(#[$doc])* pub $field: $ty,)* }
        impl<'w $(, $a)?> Wire<'w> for $name $(<$a>)? where $('w: $a, $a: 'w)? {
            fn put(&self, to: &mut Writer<'_>) {
                $(to.put(&self.$field);)*
            }
            fn get(from: &mut Reader<'w>) -> Result<Self, Bad> {
                Ok($name { $($field: from.get()?,)* })
            }
        }
    )* };
}

wire_struct! {
    /// A file that the Gofer now holds.
    Node {
        /// Its handle.
        handle: Handle,
        /// Its attributes.
        attr: Attr,
    }
    /// A file that a walk went through.
    Looked {
        /// Its handle, unless only attributes were wanted.
        handle: Option<Handle>,
        /// Its attributes.
        attr: Attr,
    }
    /// A name in a directory.
    Place<'a> {
        /// The directory.
        dir: Handle,
        /// The name.
        name: Name<'a>,
    }
    /// An entry of a directory; `.` and `..` don't come.
    Entry<'a> {
        /// Inode number, as the directory has it (that of the directory below, where something is mounted on it).
        ino: u64,
        /// Where to go on after this entry.
        cookie: u64,
        /// Type, where the directory says so.
        kind: Option<FileType>,
        /// Name.
        name: Name<'a>,
        /// Handle and attributes, if wanted and still there.
        found: Option<Looked>,
        /// If these are of a symbolic link: what it points to, if wanted and short.
        target: Option<Target<'a>>,
    }
    /// A directory that was listed along with another.
    Below {
        /// The directory.
        dir: Handle,
        /// How many entries it has.
        entries: u16,
    }
    /// Figures of a file system, as statfs(2) has them.
    StatfsReply {
        /// Type, `*_MAGIC`.
        fs_type: u64,
        /// Preferred size of reads and writes.
        bsize: u64,
        /// Size, in `frsize` units.
        blocks: u64,
        /// Free.
        bfree: u64,
        /// Free for those without privilege.
        bavail: u64,
        /// Inodes.
        files: u64,
        /// Free inodes.
        ffree: u64,
        /// Longest name.
        namelen: u64,
        /// Unit of `blocks`.
        frsize: u64,
        /// `ST_*` flags of the mount.
        flags: u64,
    }
}
