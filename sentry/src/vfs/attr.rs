//! Attributes of inodes, and changes to them.

pub use abi::stat::FileType;
use abi::time::Timespec;

/// A point in time, for file times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub secs: i64,
    /// Nanoseconds, below 10⁹.
    pub nanos: u32,
}

impl Timestamp {
    /// The time now, on the real-time clock.
    pub fn now() -> Timestamp {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Timestamp { secs: since.as_secs() as i64, nanos: since.subsec_nanos() },
            Err(_) => Timestamp::default(),
        }
    }
}

impl From<Timestamp> for Timespec {
    fn from(t: Timestamp) -> Timespec {
        Timespec { tv_sec: t.secs, tv_nsec: i64::from(t.nanos) }
    }
}

/// What stat(2) tells of an inode, except `st_dev`, which is its super block's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Number of names.
    pub nlink: u32,
    /// Owner, as the sandbox's first user namespace knows it.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
    /// Device number of a device node, as `abi::stat::makedev`.
    pub rdev: u64,
    /// Size in bytes.
    pub size: u64,
    /// Memory or disk used, in 512-byte units.
    pub blocks: u64,
    /// Preferred size of reads and writes.
    pub block_size: u32,
    /// Last read.
    pub atime: Timestamp,
    /// Last change of the contents.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Creation, where it is known.
    pub btime: Option<Timestamp>,
}

impl Attr {
    /// Attributes of a new inode with one name, all times now.
    pub fn new(ino: u64, mode: u32, uid: u32, gid: u32) -> Attr {
        let now = Timestamp::now();
        Attr {
            ino,
            mode,
            nlink: 1,
            uid,
            gid,
            rdev: 0,
            size: 0,
            blocks: 0,
            block_size: 4096,
            atime: now,
            mtime: now,
            ctime: now,
            btime: Some(now),
        }
    }

    /// Makes the changes of `change`, size excepted.
    pub fn apply(&mut self, change: &SetAttr) {
        if let Some(permissions) = change.permissions {
            self.mode = (self.mode & abi::stat::S_IFMT) | (permissions & abi::stat::S_IALLUGO);
        }
        self.uid = change.uid.unwrap_or(self.uid);
        self.gid = change.gid.unwrap_or(self.gid);
        self.atime = change.atime.unwrap_or(self.atime);
        self.mtime = change.mtime.unwrap_or(self.mtime);
        self.ctime = change.ctime;
    }
}

/// A change of attributes. Permission has been checked; set-id bits that the change clears are already part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits, the low twelve of the mode.
    pub permissions: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size: truncates or extends with zeros. Only regular files.
    pub size: Option<u64>,
    /// Last read.
    pub atime: Option<Timestamp>,
    /// Last change of the contents.
    pub mtime: Option<Timestamp>,
    /// The time of this change.
    pub ctime: Timestamp,
    /// Times come from UTIME_NOW alone: a remote file system may use its own clock.
    pub times_are_now: bool,
}

impl Default for SetAttr {
    fn default() -> Self {
        SetAttr {
            permissions: None,
            uid: None,
            gid: None,
            size: None,
            atime: None,
            mtime: None,
            ctime: Timestamp::now(),
            times_are_now: false,
        }
    }
}

/// What a new node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewKind<'a> {
    /// An empty regular file.
    Regular,
    /// An empty directory.
    Directory,
    /// A symbolic link to this text.
    Symlink(&'a [u8]),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device with this number (0:0 is overlayfs's whiteout).
    CharDevice(u64),
    /// A block device with this number.
    BlockDevice(u64),
}

impl NewKind<'_> {
    /// The type of file it makes.
    pub fn file_type(&self) -> FileType {
        match self {
            NewKind::Regular => FileType::Regular,
            NewKind::Directory => FileType::Directory,
            NewKind::Symlink(_) => FileType::Symlink,
            NewKind::Fifo => FileType::Fifo,
            NewKind::Socket => FileType::Socket,
            NewKind::CharDevice(_) => FileType::CharDevice,
            NewKind::BlockDevice(_) => FileType::BlockDevice,
        }
    }

    /// The device number of a device.
    pub fn rdev(&self) -> u64 {
        match self {
            NewKind::CharDevice(rdev) | NewKind::BlockDevice(rdev) => *rdev,
            _ => 0,
        }
    }
}

/// A node to be made. Set-gid directories and the caller's ids are already worked in; the umask is not, because it
/// counts for nothing where the directory has a default access control list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewNode<'a> {
    /// What.
    pub kind: NewKind<'a>,
    /// Permission bits (0o777 for symbolic links), before the umask.
    pub permissions: u32,
    /// Bits that it doesn't get, unless a default access control list says which it does.
    pub umask: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl NewNode<'_> {
    /// Type and permission bits where there are no access control lists.
    pub fn mode(&self) -> u32 {
        self.kind.file_type().mode() | self.masked_permissions()
    }

    /// Permission bits after the umask.
    pub fn masked_permissions(&self) -> u32 {
        self.permissions & !self.umask
    }
}

/// What statfs(2) tells, apart from mount flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatFs {
    /// `f_type`.
    pub magic: i64,
    /// `f_bsize`, and `f_frsize` where that is not given.
    pub block_size: u64,
    /// `f_frsize`: what blocks are counted in.
    pub fragment_size: Option<u64>,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free.
    pub blocks_free: u64,
    /// Blocks free for ordinary users.
    pub blocks_available: u64,
    /// Inodes in all.
    pub files: u64,
    /// Inodes free.
    pub files_free: u64,
    /// Longest name.
    pub name_max: u64,
}

impl StatFs {
    /// What a file system without blocks and inodes of its own to count says (simple_statfs of Linux).
    pub fn uncounted(magic: i64) -> StatFs {
        StatFs { magic, block_size: 4096, name_max: 255, ..StatFs::default() }
    }
}
