//! The protocol between kernel and server of a file system in user space: fuse(4), `linux/fuse.h`.

/// Version of the protocol that is spoken here.
pub const FUSE_KERNEL_VERSION: u32 = 7;
/// Its minor number.
pub const FUSE_KERNEL_MINOR_VERSION: u32 = 38;
/// Node of the root.
pub const FUSE_ROOT_ID: u64 = 1;
/// A server must read with a buffer of at least this size.
pub const FUSE_MIN_READ_BUFFER: usize = 8192;
/// Longest name in a listing.
pub const FUSE_NAME_MAX: usize = 4095;

constants! {
    /// Requests.
    pub table FUSE_OPCODES: u32 {
        FUSE_LOOKUP = 1;
        FUSE_FORGET = 2;
        FUSE_GETATTR = 3;
        FUSE_SETATTR = 4;
        FUSE_READLINK = 5;
        FUSE_SYMLINK = 6;
        FUSE_MKNOD = 8;
        FUSE_MKDIR = 9;
        FUSE_UNLINK = 10;
        FUSE_RMDIR = 11;
        FUSE_RENAME = 12;
        FUSE_LINK = 13;
        FUSE_OPEN = 14;
        FUSE_READ = 15;
        FUSE_WRITE = 16;
        FUSE_STATFS = 17;
        FUSE_RELEASE = 18;
        FUSE_FSYNC = 20;
        FUSE_SETXATTR = 21;
        FUSE_GETXATTR = 22;
        FUSE_LISTXATTR = 23;
        FUSE_REMOVEXATTR = 24;
        FUSE_FLUSH = 25;
        FUSE_INIT = 26;
        FUSE_OPENDIR = 27;
        FUSE_READDIR = 28;
        FUSE_RELEASEDIR = 29;
        FUSE_FSYNCDIR = 30;
        FUSE_ACCESS = 34;
        FUSE_CREATE = 35;
        FUSE_INTERRUPT = 36;
        FUSE_DESTROY = 38;
        FUSE_BATCH_FORGET = 42;
        FUSE_FALLOCATE = 43;
        FUSE_READDIRPLUS = 44;
        FUSE_RENAME2 = 45;
        FUSE_LSEEK = 46;
    }
}

constants! {
    /// What a server tells on its own account: the `error` of an answer to no request.
    pub table FUSE_NOTIFICATIONS: u32 {
        FUSE_NOTIFY_POLL = 1;
        FUSE_NOTIFY_INVAL_INODE = 2;
        FUSE_NOTIFY_INVAL_ENTRY = 3;
        FUSE_NOTIFY_STORE = 4;
        FUSE_NOTIFY_RETRIEVE = 5;
        FUSE_NOTIFY_DELETE = 6;
    }
}

/// ioctl(2) of /dev/fuse: serve the connection of another descriptor too.
pub const FUSE_DEV_IOC_CLONE: u32 = 0x8004_e500;

flags! {
    /// What the two sides can do, as INIT negotiates it.
    pub struct FuseInitFlags: u32, "FUSE_" {
        const ASYNC_READ = 1 << 0;
        const ATOMIC_O_TRUNC = 1 << 3;
        const BIG_WRITES = 1 << 5;
        const DONT_MASK = 1 << 6;
        const AUTO_INVAL_DATA = 1 << 12;
        const DO_READDIRPLUS = 1 << 13;
        const READDIRPLUS_AUTO = 1 << 14;
        const NO_OPEN_SUPPORT = 1 << 17;
        const PARALLEL_DIROPS = 1 << 18;
        const ABORT_ERROR = 1 << 21;
        const MAX_PAGES = 1 << 22;
        const NO_OPENDIR_SUPPORT = 1 << 24;
    }
}

flags! {
    /// What a SETATTR changes.
    pub struct FuseSetattr: u32, "FATTR_" {
        const MODE = 1 << 0;
        const UID = 1 << 1;
        const GID = 1 << 2;
        const SIZE = 1 << 3;
        const ATIME = 1 << 4;
        const MTIME = 1 << 5;
        const FH = 1 << 6;
        const ATIME_NOW = 1 << 7;
        const MTIME_NOW = 1 << 8;
    }
}

flags! {
    /// What an OPEN says of the open file.
    pub struct FuseOpenFlags: u32, "FOPEN_" {
        const DIRECT_IO = 1 << 0;
        const KEEP_CACHE = 1 << 1;
        const NONSEEKABLE = 1 << 2;
        const CACHE_DIR = 1 << 3;
        const STREAM = 1 << 4;
        const NOFLUSH = 1 << 5;
    }
}

/// `write_flags`: from the page cache, by nobody in particular.
pub const FUSE_WRITE_CACHE: u32 = 1;

/// `fsync_flags`: not the attributes.
pub const FUSE_FSYNC_FDATASYNC: u32 = 1;

wire! {
    /// `struct fuse_in_header`: begins each request.
    pub struct FuseInHeader {
        pub len: u32,
        pub opcode: u32,
        pub unique: u64,
        pub nodeid: u64,
        pub uid: u32,
        pub gid: u32,
        pub pid: u32,
        pub total_extlen: u16,
        pub padding: u16,
    }

    /// `struct fuse_out_header`: begins each answer.
    pub struct FuseOutHeader {
        pub len: u32,
        pub error: i32,
        pub unique: u64,
    }

    /// `struct fuse_attr`.
    pub struct FuseAttr {
        pub ino: u64,
        pub size: u64,
        pub blocks: u64,
        pub atime: u64,
        pub mtime: u64,
        pub ctime: u64,
        pub atimensec: u32,
        pub mtimensec: u32,
        pub ctimensec: u32,
        pub mode: u32,
        pub nlink: u32,
        pub uid: u32,
        pub gid: u32,
        pub rdev: u32,
        pub blksize: u32,
        pub flags: u32,
    }

    /// `struct fuse_entry_out`.
    pub struct FuseEntryOut {
        pub nodeid: u64,
        pub generation: u64,
        pub entry_valid: u64,
        pub attr_valid: u64,
        pub entry_valid_nsec: u32,
        pub attr_valid_nsec: u32,
        pub attr: FuseAttr,
    }

    /// `struct fuse_attr_out`.
    pub struct FuseAttrOut {
        pub attr_valid: u64,
        pub attr_valid_nsec: u32,
        pub dummy: u32,
        pub attr: FuseAttr,
    }

    /// `struct fuse_init_in`.
    pub struct FuseInitIn {
        pub major: u32,
        pub minor: u32,
        pub max_readahead: u32,
        pub flags: u32,
        pub flags2: u32,
        pub unused: [u32; 11],
    }

    /// `struct fuse_init_out`.
    pub struct FuseInitOut {
        pub major: u32,
        pub minor: u32,
        pub max_readahead: u32,
        pub flags: u32,
        pub max_background: u16,
        pub congestion_threshold: u16,
        pub max_write: u32,
        pub time_gran: u32,
        pub max_pages: u16,
        pub map_alignment: u16,
        pub flags2: u32,
        pub unused: [u32; 7],
    }

    /// `struct fuse_getattr_in`.
    pub struct FuseGetattrIn {
        pub getattr_flags: u32,
        pub dummy: u32,
        pub fh: u64,
    }

    /// `struct fuse_setattr_in`.
    pub struct FuseSetattrIn {
        pub valid: u32,
        pub padding: u32,
        pub fh: u64,
        pub size: u64,
        pub lock_owner: u64,
        pub atime: u64,
        pub mtime: u64,
        pub ctime: u64,
        pub atimensec: u32,
        pub mtimensec: u32,
        pub ctimensec: u32,
        pub mode: u32,
        pub unused4: u32,
        pub uid: u32,
        pub gid: u32,
        pub unused5: u32,
    }

    /// `struct fuse_mknod_in`.
    pub struct FuseMknodIn {
        pub mode: u32,
        pub rdev: u32,
        pub umask: u32,
        pub padding: u32,
    }

    /// `struct fuse_mkdir_in`.
    pub struct FuseMkdirIn {
        pub mode: u32,
        pub umask: u32,
    }

    /// `struct fuse_rename2_in`.
    pub struct FuseRename2In {
        pub newdir: u64,
        pub flags: u32,
        pub padding: u32,
    }

    /// `struct fuse_open_in`.
    pub struct FuseOpenIn {
        pub flags: u32,
        pub open_flags: u32,
    }

    /// `struct fuse_create_in`.
    pub struct FuseCreateIn {
        pub flags: u32,
        pub mode: u32,
        pub umask: u32,
        pub open_flags: u32,
    }

    /// `struct fuse_open_out`.
    pub struct FuseOpenOut {
        pub fh: u64,
        pub open_flags: u32,
        pub padding: u32,
    }

    /// `struct fuse_release_in`.
    pub struct FuseReleaseIn {
        pub fh: u64,
        pub flags: u32,
        pub release_flags: u32,
        pub lock_owner: u64,
    }

    /// `struct fuse_flush_in`.
    pub struct FuseFlushIn {
        pub fh: u64,
        pub unused: u32,
        pub padding: u32,
        pub lock_owner: u64,
    }

    /// `struct fuse_read_in`, of READDIR too.
    pub struct FuseReadIn {
        pub fh: u64,
        pub offset: u64,
        pub size: u32,
        pub read_flags: u32,
        pub lock_owner: u64,
        pub flags: u32,
        pub padding: u32,
    }

    /// `struct fuse_write_in`.
    pub struct FuseWriteIn {
        pub fh: u64,
        pub offset: u64,
        pub size: u32,
        pub write_flags: u32,
        pub lock_owner: u64,
        pub flags: u32,
        pub padding: u32,
    }

    /// `struct fuse_write_out`.
    pub struct FuseWriteOut {
        pub size: u32,
        pub padding: u32,
    }

    /// `struct fuse_kstatfs`.
    pub struct FuseKstatfs {
        pub blocks: u64,
        pub bfree: u64,
        pub bavail: u64,
        pub files: u64,
        pub ffree: u64,
        pub bsize: u32,
        pub namelen: u32,
        pub frsize: u32,
        pub padding: u32,
        pub spare: [u32; 6],
    }

    /// `struct fuse_fsync_in`.
    pub struct FuseFsyncIn {
        pub fh: u64,
        pub fsync_flags: u32,
        pub padding: u32,
    }

    /// `struct fuse_getxattr_in`, of LISTXATTR too, and as it is without SETXATTR_EXT of SETXATTR (flags for padding).
    pub struct FuseGetxattrIn {
        pub size: u32,
        pub padding: u32,
    }

    /// `struct fuse_access_in`.
    pub struct FuseAccessIn {
        pub mask: u32,
        pub padding: u32,
    }

    /// `struct fuse_forget_one`.
    pub struct FuseForgetOne {
        pub nodeid: u64,
        pub nlookup: u64,
    }

    /// `struct fuse_batch_forget_in`.
    pub struct FuseBatchForgetIn {
        pub count: u32,
        pub dummy: u32,
    }

    /// `struct fuse_fallocate_in`.
    pub struct FuseFallocateIn {
        pub fh: u64,
        pub offset: u64,
        pub length: u64,
        pub mode: u32,
        pub padding: u32,
    }

    /// `struct fuse_lseek_in`.
    pub struct FuseLseekIn {
        pub fh: u64,
        pub offset: u64,
        pub whence: u32,
        pub padding: u32,
    }

    /// `struct fuse_dirent`; the name follows, padded to eight bytes.
    pub struct FuseDirent {
        pub ino: u64,
        pub off: u64,
        pub namelen: u32,
        pub kind: u32,
    }

    /// `struct fuse_notify_inval_inode_out`.
    pub struct FuseNotifyInvalInode {
        pub ino: u64,
        pub off: i64,
        pub len: i64,
    }

    /// `struct fuse_notify_inval_entry_out`; the name follows.
    pub struct FuseNotifyInvalEntry {
        pub parent: u64,
        pub namelen: u32,
        pub flags: u32,
    }

    /// `struct fuse_notify_delete_out`; the name follows.
    pub struct FuseNotifyDelete {
        pub parent: u64,
        pub child: u64,
        pub namelen: u32,
        pub padding: u32,
    }
}
