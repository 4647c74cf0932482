//! Directory entries as getdents64(2) gives them.

wire! {
    /// Head of `struct linux_dirent64` as far as it is aligned; `d_type` and the name with its NUL follow at
    /// [`DIRENT64_TYPE_OFFSET`] and [`DIRENT64_NAME_OFFSET`], and the whole is padded to 8 bytes.
    pub struct Dirent64 {
        pub d_ino: u64,
        pub d_off: i64,
    }
}

/// Where `d_reclen` (u16) is in an entry, of both kinds.
pub const DIRENT_RECLEN_OFFSET: usize = 16;
/// Where `d_type` is in an entry of getdents64(2).
pub const DIRENT64_TYPE_OFFSET: usize = 18;
/// Where the name begins in an entry of getdents64(2).
pub const DIRENT64_NAME_OFFSET: usize = 19;
/// Where the name begins in an entry of the old getdents(2), whose `d_type` is its last byte.
pub const DIRENT_NAME_OFFSET: usize = 18;

constants! {
    /// `d_type`.
    pub table DIRENT_TYPES: u8 {
        DT_UNKNOWN = 0;
        DT_FIFO = 1;
        DT_CHR = 2;
        DT_DIR = 4;
        DT_BLK = 6;
        DT_REG = 8;
        DT_LNK = 10;
        DT_SOCK = 12;
        DT_WHT = 14;
    }
}
