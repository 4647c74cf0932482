//! Vectors of buffers, flags of moving bytes.

wire! {
    /// `struct iovec`.
    pub struct IoVec {
        pub iov_base: u64,
        pub iov_len: u64,
    }
}

/// The most buffers in one call.
pub const IOV_MAX: usize = 1024;
/// The most bytes one read(2) or write(2) moves; longer requests are cut to it.
pub const MAX_RW_COUNT: usize = 0x7fff_f000;

flags! {
    /// Flags of preadv2(2) and pwritev2(2).
    pub struct RwFlags: u32, "RWF_" {
        const HIPRI = 0x01;
        const DSYNC = 0x02;
        const SYNC = 0x04;
        const NOWAIT = 0x08;
        const APPEND = 0x10;
        const NOAPPEND = 0x20;
        const ATOMIC = 0x40;
        const DONTCACHE = 0x80;
        const NOSIGNAL = 0x100;
    }
}

flags! {
    /// Flags of splice(2), tee(2) and vmsplice(2).
    pub struct SpliceFlags: u32, "SPLICE_F_" {
        const MOVE = 1;
        const NONBLOCK = 2;
        const MORE = 4;
        const GIFT = 8;
    }
}
