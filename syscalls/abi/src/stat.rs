//! What files say about themselves: stat(2), statx(2), statfs(2), mode bits.

use super::time::StatxTimestamp;

wire! {
    /// The kernel's `struct stat` on x86-64.
    pub struct Stat {
        pub st_dev: u64,
        pub st_ino: u64,
        pub st_nlink: u64,
        pub st_mode: u32,
        pub st_uid: u32,
        pub st_gid: u32,
        pub pad0: u32,
        pub st_rdev: u64,
        pub st_size: i64,
        pub st_blksize: i64,
        pub st_blocks: i64,
        pub st_atime: i64,
        pub st_atime_nsec: i64,
        pub st_mtime: i64,
        pub st_mtime_nsec: i64,
        pub st_ctime: i64,
        pub st_ctime_nsec: i64,
        pub unused: [i64; 3],
    }

    /// `struct statx`.
    pub struct Statx {
        pub stx_mask: u32,
        pub stx_blksize: u32,
        pub stx_attributes: u64,
        pub stx_nlink: u32,
        pub stx_uid: u32,
        pub stx_gid: u32,
        pub stx_mode: u16,
        pub spare0: u16,
        pub stx_ino: u64,
        pub stx_size: u64,
        pub stx_blocks: u64,
        pub stx_attributes_mask: u64,
        pub stx_atime: StatxTimestamp,
        pub stx_btime: StatxTimestamp,
        pub stx_ctime: StatxTimestamp,
        pub stx_mtime: StatxTimestamp,
        pub stx_rdev_major: u32,
        pub stx_rdev_minor: u32,
        pub stx_dev_major: u32,
        pub stx_dev_minor: u32,
        pub stx_mnt_id: u64,
        pub stx_dio_mem_align: u32,
        pub stx_dio_offset_align: u32,
        pub stx_subvol: u64,
        pub stx_atomic_write_unit_min: u32,
        pub stx_atomic_write_unit_max: u32,
        pub stx_atomic_write_segments_max: u32,
        pub stx_dio_read_offset_align: u32,
        pub stx_atomic_write_unit_max_opt: u32,
        pub spare2: u32,
        pub spare3: [u64; 8],
    }

    /// `struct statfs`.
    pub struct Statfs {
        pub f_type: i64,
        pub f_bsize: i64,
        pub f_blocks: u64,
        pub f_bfree: u64,
        pub f_bavail: u64,
        pub f_files: u64,
        pub f_ffree: u64,
        pub f_fsid: [i32; 2],
        pub f_namelen: i64,
        pub f_frsize: i64,
        pub f_flags: i64,
        pub f_spare: [i64; 4],
    }
}

flags! {
    /// What statx(2) is asked for and answers.
    pub struct StatxMask: u32, "STATX_" {
        /// Everything stat(2) gives.
        const BASIC_STATS = 0x7ff;
        const TYPE = 0x001;
        const MODE = 0x002;
        const NLINK = 0x004;
        const UID = 0x008;
        const GID = 0x010;
        const ATIME = 0x020;
        const MTIME = 0x040;
        const CTIME = 0x080;
        const INO = 0x100;
        const SIZE = 0x200;
        const BLOCKS = 0x400;
        const BTIME = 0x800;
        const MNT_ID = 0x1000;
        const DIOALIGN = 0x2000;
        const MNT_ID_UNIQUE = 0x4000;
        const SUBVOL = 0x8000;
        const WRITE_ATOMIC = 0x1_0000;
        const DIO_READ_ALIGN = 0x2_0000;
    }
}

/// The bit of the statx mask that must be zero.
pub const STATX_RESERVED: u32 = 0x8000_0000;

flags! {
    /// `stx_attributes`.
    pub struct StatxAttributes: u64, "STATX_ATTR_" {
        const COMPRESSED = 0x4;
        const IMMUTABLE = 0x10;
        const APPEND = 0x20;
        const NODUMP = 0x40;
        const ENCRYPTED = 0x800;
        const AUTOMOUNT = 0x1000;
        const MOUNT_ROOT = 0x2000;
        const VERITY = 0x10_0000;
        const DAX = 0x20_0000;
        const WRITE_ATOMIC = 0x40_0000;
    }
}

constants! {
    /// Types of file, the high bits of a mode.
    pub table FILE_TYPES: u32 {
        S_IFSOCK = 0o140000;
        S_IFLNK = 0o120000;
        S_IFREG = 0o100000;
        S_IFBLK = 0o060000;
        S_IFDIR = 0o040000;
        S_IFCHR = 0o020000;
        S_IFIFO = 0o010000;
    }
}

/// Mask of the type in a mode.
pub const S_IFMT: u32 = 0o170000;

constants! {
    /// Permission bits of a mode.
    pub table MODE_BITS: u32 {
        S_ISUID = 0o4000;
        S_ISGID = 0o2000;
        S_ISVTX = 0o1000;
        S_IRWXU = 0o700;
        S_IRUSR = 0o400;
        S_IWUSR = 0o200;
        S_IXUSR = 0o100;
        S_IRWXG = 0o070;
        S_IRGRP = 0o040;
        S_IWGRP = 0o020;
        S_IXGRP = 0o010;
        S_IRWXO = 0o007;
        S_IROTH = 0o004;
        S_IWOTH = 0o002;
        S_IXOTH = 0o001;
    }
}

/// All permission bits, set-id and sticky included.
pub const S_IALLUGO: u32 = 0o7777;
/// Read, write and execute for all.
pub const S_IRWXUGO: u32 = 0o777;
/// Execute for anyone.
pub const S_IXUGO: u32 = 0o111;

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// Ordinary file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
}

impl FileType {
    /// The type in a mode; `None` where the bits are no type (0 among them).
    pub const fn from_mode(mode: u32) -> Option<FileType> {
        Some(match mode & S_IFMT {
            S_IFREG => FileType::Regular,
            S_IFDIR => FileType::Directory,
            S_IFLNK => FileType::Symlink,
            S_IFIFO => FileType::Fifo,
            S_IFSOCK => FileType::Socket,
            S_IFCHR => FileType::CharDevice,
            S_IFBLK => FileType::BlockDevice,
            _ => return None,
        })
    }

    /// The bits of a mode.
    pub const fn mode(self) -> u32 {
        match self {
            FileType::Regular => S_IFREG,
            FileType::Directory => S_IFDIR,
            FileType::Symlink => S_IFLNK,
            FileType::Fifo => S_IFIFO,
            FileType::Socket => S_IFSOCK,
            FileType::CharDevice => S_IFCHR,
            FileType::BlockDevice => S_IFBLK,
        }
    }

    /// `d_type` of a directory entry.
    pub const fn dirent_type(self) -> u8 {
        (self.mode() >> 12) as u8
    }
}

/// A device number of two parts, in the form in which the kernel passes it in `st_dev` and takes it in mknod(2).
pub const fn makedev(major: u32, minor: u32) -> u64 {
    (minor & 0xff) as u64
        | ((major & 0xfff) as u64) << 8
        | ((minor & !0xff) as u64) << 12
        | ((major & !0xfff) as u64) << 32
}

/// The major part of a device number.
pub const fn major(dev: u64) -> u32 {
    (dev >> 8 & 0xfff) as u32 | (dev >> 32) as u32 & !0xfff
}

/// The minor part of a device number.
pub const fn minor(dev: u64) -> u32 {
    (dev & 0xff) as u32 | (dev >> 12) as u32 & !0xff
}

constants! {
    /// `f_type`: which file system.
    pub table FS_MAGIC: i64 {
        TMPFS_MAGIC = 0x0102_1994;
        RAMFS_MAGIC = 0x8584_58f6;
        PROC_SUPER_MAGIC = 0x9fa0;
        SYSFS_MAGIC = 0x6265_6572;
        DEVPTS_SUPER_MAGIC = 0x1cd1;
        PIPEFS_MAGIC = 0x5049_5045;
        SOCKFS_MAGIC = 0x534f_434b;
        ANON_INODE_FS_MAGIC = 0x0904_1934;
        OVERLAYFS_SUPER_MAGIC = 0x794c_7630;
        EXT4_SUPER_MAGIC = 0xef53;
        CGROUP_SUPER_MAGIC = 0x27_e0eb;
        CGROUP2_SUPER_MAGIC = 0x6367_7270;
        MQUEUE_MAGIC = 0x1980_0202;
        FUSE_SUPER_MAGIC = 0x6573_5546;
        HUGETLBFS_MAGIC = 0x9584_58f6;
        NSFS_MAGIC = 0x6e73_6673;
        V9FS_MAGIC = 0x0102_1997;
        EROFS_SUPER_MAGIC_V1 = 0xe0f5_e1e2;
        PID_FS_MAGIC = 0x5049_4446;
    }
}

flags! {
    /// `f_flags` of statfs(2).
    pub struct StatfsFlags: u64, "ST_" {
        const RDONLY = 1;
        const NOSUID = 2;
        const NODEV = 4;
        const NOEXEC = 8;
        const SYNCHRONOUS = 16;
        /// The kernel filled the field.
        const VALID = 32;
        const MANDLOCK = 64;
        const NOATIME = 1024;
        const NODIRATIME = 2048;
        const RELATIME = 4096;
        const NOSYMFOLLOW = 8192;
    }
}
