//! What the Sentry asks for. This table is the protocol: number, name, fields.

use crate::attr::{Owner, Perm};
use crate::change::Changes;
use crate::flags::{
    Leaf, NodeKind, OpenFlags, ReaddirFlags, RenameFlags, SetMode, SocketKind, SyncKind, UnlinkKind,
};
use crate::handle::Handle;
use crate::list::List;
use crate::message::messages;
use crate::name::{Bytes, Name, Target, XattrName};
use crate::node::Place;
use crate::wire::{Bad, Reader, Wire, Writer};

/// What a request begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The reply has the same.
    pub id: u32,
    /// The processor on which the asker waits, if it told: the reply comes soonest from there. Only a hint.
    pub cpu: Option<u16>,
}

impl Head {
    /// In place of a processor.
    const UNKNOWN: u16 = u16::MAX;
}

impl Wire<'_> for Head {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&self.id);
        to.put(&self.cpu.unwrap_or(Head::UNKNOWN));
    }
    fn get(from: &mut Reader<'_>) -> Result<Head, Bad> {
        let id = from.get()?;
        // What ends here already has an id at least; that it is no request will be seen next.
        let cpu = from.get().ok().filter(|&cpu| cpu != Head::UNKNOWN);
        Ok(Head { id, cpu })
    }
}

messages! {
    /// A request. The reply that belongs to it is named after it; instead of it, any request can get
    /// [`Reply::Error`](crate::Reply::Error).
    Request<'a>, Head,
    /// The kinds of requests.
    Op;

    /// First message on the first channel. Reply: `Hello`, with an fd for every further channel.
    1 Hello {
        /// [`VERSION`](crate::VERSION).
        version: u32,
    }
    /// The root of a tree (mount) of the configuration. Reply: `Attached`.
    2 Attach {
        /// Its place in the configuration's list.
        tree: u16,
    }
    /// Follows names from a directory as far as they exist, without following symlinks. Reply: `Walked`, which brings
    /// an fd if `leaf` asked for one.
    3 Walk {
        /// Where to begin.
        dir: Handle,
        /// What is wanted of the last one. All before it get a handle.
        leaf: Leaf,
        /// The names, one below the other.
        names: List<'a, Name<'a>>,
    }
    /// The attributes of files at these places, which are independent of each other: whether cached ones still hold.
    /// Reply: `Looks`.
    4 Look {
        /// The places.
        places: List<'a, Place<'a>>,
    }
    /// Attributes. Reply: `Attr`.
    5 Stat {
        /// The file.
        handle: Handle,
    }
    /// Opens a regular file (a FIFO only where the tree's options say so; nothing else). Reply: `Attr`, with the fd.
    6 Open {
        /// The file.
        handle: Handle,
        /// How.
        flags: OpenFlags,
    }
    /// Makes and opens a regular file; EEXIST if the name is taken. Reply: `Made`, with the fd.
    7 Create {
        /// Where.
        dir: Handle,
        /// Name.
        name: Name<'a>,
        /// Its permission bits.
        perm: Perm,
        /// Its owner.
        owner: Owner,
        /// How it is opened.
        flags: OpenFlags,
    }
    /// Makes and opens a regular file without a name (`O_TMPFILE`), for reading and writing. Reply: `Found`, with the fd.
    8 CreateUnnamed {
        /// On whose file system.
        dir: Handle,
        /// Its permission bits.
        perm: Perm,
        /// Its owner.
        owner: Owner,
    }
    /// Makes a directory. Reply: `Made`.
    9 Mkdir {
        /// Where.
        dir: Handle,
        /// Name.
        name: Name<'a>,
        /// Its permission bits.
        perm: Perm,
        /// Its owner.
        owner: Owner,
    }
    /// Makes a node of another kind. Reply: `Made`.
    10 Mknod {
        /// Where.
        dir: Handle,
        /// Name.
        name: Name<'a>,
        /// What.
        kind: NodeKind,
        /// Its permission bits.
        perm: Perm,
        /// Its owner.
        owner: Owner,
    }
    /// Makes a symbolic link. Reply: `Made`.
    11 Symlink {
        /// Where.
        dir: Handle,
        /// Name.
        name: Name<'a>,
        /// Its owner.
        owner: Owner,
        /// What it points to.
        target: Target<'a>,
    }
    /// Gives a file one more name. Reply: `Linked`.
    12 Link {
        /// The file.
        handle: Handle,
        /// Where.
        dir: Handle,
        /// Name.
        name: Name<'a>,
    }
    /// Takes a name away. Reply: `Unlinked`.
    13 Unlink {
        /// Where.
        dir: Handle,
        /// Name.
        name: Name<'a>,
        /// What it must be.
        kind: UnlinkKind,
    }
    /// Moves a file from one name to another. Reply: `Renamed`.
    14 Rename {
        /// From.
        old_dir: Handle,
        /// Its name there.
        old_name: Name<'a>,
        /// To.
        new_dir: Handle,
        /// Its name there.
        new_name: Name<'a>,
        /// How.
        flags: RenameFlags,
    }
    /// What a symbolic link points to. Reply: `Target`.
    15 Readlink {
        /// The link.
        handle: Handle,
    }
    /// Lists a directory. Reply: `Entries`.
    16 Readdir {
        /// The directory.
        handle: Handle,
        /// Where to go on; 0 is the beginning.
        cookie: u64,
        /// The most bytes that the entries may take in the reply.
        bytes: u32,
        /// What else.
        flags: ReaddirFlags,
        /// How many more directories may be listed as well, where this one ends in the reply and handles are wanted: those that a walk
        /// over the tree would come to next, below this one and then `next`.
        ahead: u16,
        /// Directories that come behind this one, and what is below each.
        next: List<'a, Handle>,
    }
    /// Changes attributes. Reply: `Attr`.
    17 SetAttr {
        /// The file.
        handle: Handle,
        /// What.
        changes: Changes,
    }
    /// Figures of the file system that the file is on. Reply: `Statfs`.
    18 Statfs {
        /// The file.
        handle: Handle,
    }
    /// Value of an extended attribute. Reply: `Value`.
    19 GetXattr {
        /// The file.
        handle: Handle,
        /// The attribute.
        name: XattrName<'a>,
    }
    /// Sets an extended attribute. Reply: `Done`.
    20 SetXattr {
        /// The file.
        handle: Handle,
        /// The attribute.
        name: XattrName<'a>,
        /// What must be there before.
        mode: SetMode,
        /// The value.
        value: Bytes<'a>,
    }
    /// Names of the extended attributes. Reply: `Value`, each name with a NUL behind it.
    21 ListXattr {
        /// The file.
        handle: Handle,
    }
    /// Removes an extended attribute. Reply: `Done`.
    22 RemoveXattr {
        /// The file.
        handle: Handle,
        /// The attribute.
        name: XattrName<'a>,
    }
    /// Makes changes safe, where no fd was donated (directories, whole file systems). Reply: `Done`.
    23 Sync {
        /// The file.
        handle: Handle,
        /// What.
        kind: SyncKind,
    }
    /// Connects to a Unix socket of the host, where the tree's options allow it. Reply: `Done`, with the fd.
    24 Connect {
        /// The socket's node.
        handle: Handle,
        /// What kind of socket.
        kind: SocketKind,
    }
    /// Makes a Unix socket that programs of the host can reach, where the tree's options allow it. Reply: `Made`, with the fd.
    26 Bind {
        /// The directory.
        dir: Handle,
        /// Its name there.
        name: Name<'a>,
        /// What kind of socket.
        kind: SocketKind,
        /// Its permissions.
        perm: Perm,
        /// Its owner.
        owner: Owner,
    }
    /// Gives handles back. The only request without a reply; unknown handles are passed over.
    25 Close {
        /// Which.
        handles: List<'a, Handle>,
    }
}
