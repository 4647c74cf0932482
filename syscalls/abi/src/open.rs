//! Opening files and looking up paths: flags of open(2), openat2(2) and of the `*at` calls.

flags! {
    /// Flags of open(2), x86-64 values. The access mode is a number, not bits: see [`O_ACCMODE`].
    pub struct OpenFlags: u32, "O_" {
        const WRONLY = 1;
        const RDWR = 2;
        const CREAT = 0o100;
        const EXCL = 0o200;
        const NOCTTY = 0o400;
        const TRUNC = 0o1000;
        const APPEND = 0o2000;
        const NONBLOCK = 0o4000;
        /// Holds DSYNC.
        const SYNC = 0o4010000;
        const DSYNC = 0o10000;
        const ASYNC("FASYNC") = 0o20000;
        const DIRECT = 0o40000;
        const LARGEFILE = 0o100000;
        /// Holds DIRECTORY.
        const TMPFILE = 0o20200000;
        const DIRECTORY = 0o200000;
        const NOFOLLOW = 0o400000;
        const NOATIME = 0o1000000;
        const CLOEXEC = 0o2000000;
        const PATH = 0o10000000;
    }
}

/// Mask of the access mode.
pub const O_ACCMODE: u32 = 3;
/// Read only; what no access bit means.
pub const O_RDONLY: u32 = 0;
/// Write only.
pub const O_WRONLY: u32 = 1;
/// Read and write.
pub const O_RDWR: u32 = 2;
/// The bit of O_TMPFILE that O_DIRECTORY has not.
pub const O_TMPFILE_BIT: u32 = 0o20000000;

/// The directory descriptor that means the working directory.
pub const AT_FDCWD: i32 = -100;

flags! {
    /// Flags of the `*at` calls. Two meanings share 0x200: REMOVEDIR for unlinkat(2), EACCESS for faccessat2(2); and
    /// HANDLE_FID for name_to_handle_at(2).
    pub struct AtFlags: u32, "AT_" {
        const SYMLINK_NOFOLLOW = 0x100;
        const REMOVEDIR = 0x200;
        const EACCESS = 0x200;
        const HANDLE_FID = 0x200;
        const SYMLINK_FOLLOW = 0x400;
        const NO_AUTOMOUNT = 0x800;
        const EMPTY_PATH = 0x1000;
        const STATX_FORCE_SYNC = 0x2000;
        const STATX_DONT_SYNC = 0x4000;
        const RECURSIVE = 0x8000;
        const EXECVE_CHECK = 0x10000;
    }
}

/// Mask of the two bits with which statx(2) says how fresh the answer must be.
pub const AT_STATX_SYNC_TYPE: u32 = 0x6000;

flags! {
    /// `resolve` of openat2(2).
    pub struct ResolveFlags: u64, "RESOLVE_" {
        const NO_XDEV = 0x01;
        const NO_MAGICLINKS = 0x02;
        const NO_SYMLINKS = 0x04;
        const BENEATH = 0x08;
        const IN_ROOT = 0x10;
        const CACHED = 0x20;
    }
}

wire! {
    /// `struct open_how` of openat2(2).
    pub struct OpenHow {
        pub flags: u64,
        pub mode: u64,
        pub resolve: u64,
    }

    /// Head of `struct file_handle`; `handle_bytes` bytes follow.
    pub struct FileHandle {
        pub handle_bytes: u32,
        pub handle_type: i32,
    }
}

/// Bytes of the first version of [`OpenHow`].
pub const OPEN_HOW_SIZE_VER0: usize = 24;
/// The largest handle name_to_handle_at(2) knows.
pub const MAX_HANDLE_SZ: u32 = 128;

flags! {
    /// What access(2) asks for; no bit asks whether the file is there.
    pub struct AccessMode: u32, "" {
        const R_OK = 4;
        const W_OK = 2;
        const X_OK = 1;
    }
}

flags! {
    /// Flags of close_range(2).
    pub struct CloseRangeFlags: u32, "CLOSE_RANGE_" {
        const UNSHARE = 2;
        const CLOEXEC = 4;
    }
}

flags! {
    /// Flags of renameat2(2).
    pub struct RenameFlags: u32, "RENAME_" {
        const NOREPLACE = 1;
        const EXCHANGE = 2;
        const WHITEOUT = 4;
    }
}

constants! {
    /// Where lseek(2) counts from.
    pub table SEEK_WHENCE: u32 {
        SEEK_SET = 0;
        SEEK_CUR = 1;
        SEEK_END = 2;
        SEEK_DATA = 3;
        SEEK_HOLE = 4;
    }
}

flags! {
    /// Modes of fallocate(2).
    pub struct FallocateMode: u32, "FALLOC_FL_" {
        const KEEP_SIZE = 0x01;
        const PUNCH_HOLE = 0x02;
        const NO_HIDE_STALE = 0x04;
        const COLLAPSE_RANGE = 0x08;
        const ZERO_RANGE = 0x10;
        const INSERT_RANGE = 0x20;
        const UNSHARE_RANGE = 0x40;
        const WRITE_ZEROES = 0x80;
    }
}

constants! {
    /// Advice of posix_fadvise(2).
    pub table FADVICE: u32 {
        POSIX_FADV_NORMAL = 0;
        POSIX_FADV_RANDOM = 1;
        POSIX_FADV_SEQUENTIAL = 2;
        POSIX_FADV_WILLNEED = 3;
        POSIX_FADV_DONTNEED = 4;
        POSIX_FADV_NOREUSE = 5;
    }
}

flags! {
    /// Flags of sync_file_range(2).
    pub struct SyncFileRangeFlags: u32, "SYNC_FILE_RANGE_" {
        const WAIT_BEFORE = 1;
        const WRITE = 2;
        const WAIT_AFTER = 4;
    }
}
