//! What the Gofer answers.

use rustix::io::Errno;

use crate::attr::Attr;
use crate::flags::TreeFlags;
use crate::handle::Handle;
use crate::list::List;
use crate::message::messages;
use crate::name::{Bytes, Target};
use crate::node::{Below, Entry, Looked, Node, StatfsReply};

messages! {
    /// A reply; see [`Request`](crate::Request) for which belongs to what.
    Reply<'a>, u32,
    /// The kinds of replies.
    ReplyKind;

    /// The request failed and changed nothing, but where its description says otherwise.
    1 Error {
        /// Why.
        errno: Errno,
    }
    /// It is done.
    2 Done {}
    /// The server's side of the greeting.
    3 Hello {
        /// [`VERSION`](crate::VERSION).
        version: u32,
        /// Handles that the Sentry may hold at a time.
        max_handles: u32,
        /// One for each tree.
        trees: List<'a, TreeFlags>,
    }
    /// The root of a tree.
    4 Attached {
        /// Handle and attributes.
        node: Node,
    }
    /// How far a walk came. Fewer files than names and no error: the last one is not a directory, or it is one and the
    /// reply has no room for more (go on from there).
    5 Walked {
        /// The files, in the order of their names.
        found: List<'a, Looked>,
        /// Why the next name could not be followed (ENOENT: there is none).
        error: Option<Errno>,
        /// If the last file is a symbolic link: what it points to.
        target: Option<Target<'a>>,
        /// Whether an fd for the last file comes along.
        opened: bool,
    }
    /// One for each place that was asked for.
    6 Looks {
        /// Attributes, or why there are none.
        looks: List<'a, Look>,
    }
    /// Attributes as they now are.
    7 Attr {
        /// The attributes.
        attr: Attr,
    }
    /// A file without a name.
    8 Found {
        /// Handle and attributes.
        node: Node,
    }
    /// A new file.
    9 Made {
        /// Handle and attributes.
        node: Node,
        /// Attributes of the directory it is in.
        parent: Attr,
    }
    /// A new name for a file.
    10 Linked {
        /// Attributes of the file.
        attr: Attr,
        /// Attributes of the directory.
        parent: Attr,
    }
    /// A name is gone.
    11 Unlinked {
        /// Attributes of the directory.
        parent: Attr,
    }
    /// A file has moved.
    12 Renamed {
        /// Attributes of the directory it was in.
        old_parent: Attr,
        /// Attributes of the directory it is in.
        new_parent: Attr,
    }
    /// What a symbolic link points to.
    13 Target {
        /// The target.
        target: Target<'a>,
    }
    /// Entries of a directory. An empty list ends it as well as `end` does.
    14 Entries {
        /// The entries, and behind them all those of the directories in `below`.
        entries: List<'a, Entry<'a>>,
        /// Whether these are the last.
        end: bool,
        /// Directories that were listed as well, as a whole, in the order of their entries. Each is one of those that come next in the
        /// request, or this reply brings a handle of it in what is listed before.
        below: List<'a, Below>,
    }
    /// Figures of a file system.
    15 Statfs {
        /// The figures.
        statfs: StatfsReply,
    }
    /// Value of an extended attribute, or the names of all.
    16 Value {
        /// The bytes.
        value: Bytes<'a>,
    }
}

impl Reply<'_> {
    /// Tells of every new handle in it.
    pub fn each_handle(&self, mut tell: impl FnMut(Handle)) {
        match self {
            Reply::Attached { node } | Reply::Found { node } | Reply::Made { node, .. } => tell(node.handle),
            Reply::Walked { found, .. } => found.iter().filter_map(|looked| looked.handle).for_each(tell),
            Reply::Entries { entries, .. } => {
                entries.iter().filter_map(|entry| entry.found?.handle).for_each(tell);
            }
            _ => {}
        }
    }
}

/// Attributes, or why there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look(pub Result<Attr, Errno>);

impl crate::wire::Wire<'_> for Look {
    fn put(&self, to: &mut crate::wire::Writer<'_>) {
        to.put(&self.0.is_ok());
        match &self.0 {
            Ok(attr) => to.put(attr),
            Err(errno) => to.put(errno),
        }
    }
    fn get(from: &mut crate::wire::Reader<'_>) -> Result<Look, crate::wire::Bad> {
        Ok(Look(if from.get()? { Ok(from.get()?) } else { Err(from.get()?) }))
    }
}
