//! The lock order: a thread that holds a lock may only take locks further down this list.
//!
//! Never held across: a user copy, a gofer request, a wait, the drop of a file (see `assert_no_locks_held`).

/// A class of lock, with its place in the order.
pub trait Level: 'static {
    /// Place in the order: higher is taken later.
    const RANK: u16;
    /// Name in messages.
    const NAME: &'static str;
}

macro_rules! levels {
    ($($(#[$doc:meta])* $name:ident = $rank:literal;)*) => {
        $($(#[$doc])* #[derive(Debug)] pub enum $name {}
        impl Level for $name { const RANK: u16 = $rank; const NAME: &'static str = stringify!($name); })*
    };
}

levels! {
    /// Sandbox-wide operations: start, exit, checkpoint.
    Kernel = 10;
    /// The process tree: parents, children, process groups, sessions, pid tables, exit and wait states, stops.
    TaskSet = 20;
    /// State shared by the threads of a process (limits, timers, exec state).
    ThreadGroup = 30;
    /// One task's state that others read (credentials, name, stop state).
    Task = 40;
    /// Signal dispositions and pending queues of a process.
    Signal = 50;
    /// Mask and private pending queue of a thread.
    SignalTask = 52;
    /// Rename lock of a file system: held while a tree changes shape.
    Rename = 60;
    /// Mount tree of a mount namespace.
    Mount = 64;
    /// Directory entries below one dentry.
    Dentry = 70;
    /// An inode's own state (attributes, contents of a directory).
    Inode = 74;
    /// An inode's data (page map of a tmpfs file, size).
    InodeData = 76;
    /// Position and flags of an open file description.
    File = 80;
    /// Epoll sets that watch each other.
    EpollTree = 82;
    /// What a file that is no tree node holds: pipes, sockets, eventfds, ttys, epoll sets.
    FileState = 84;
    /// A second object of that kind, further in (a tty below its pty, a socket's peer's queue).
    FileStateInner = 86;
    /// File locks of an inode.
    FileLock = 90;
    /// A process's table of open files.
    FdTable = 94;
    /// File system context: root, working directory, umask.
    FsContext = 96;
    /// A bucket of the futex table: the word is looked at under it.
    Futex = 98;
    /// Mappings of an address space.
    Mm = 100;
    /// Which address spaces map a file.
    FileMappings = 104;
    /// Timers.
    Timer = 120;
    /// A connection to a Gofer.
    Gofer = 130;
    /// Address space of a platform: its pending host calls.
    PlatformSpace = 140;
    /// Pool of stubs.
    PlatformPool = 142;
    /// Reference counts of the memory file.
    MemoryFile = 150;
    /// Lists of waiters: always innermost but for the wake-up itself.
    WaitQueue = 160;
    /// A thread's parking place.
    Parker = 170;
    /// Anything that takes no other lock while it is held.
    Leaf = 200;
}
