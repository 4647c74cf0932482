//! Linux native asynchronous input/output: io_submit(2).

wire! {
    /// `struct iocb`.
    pub struct Iocb {
        pub aio_data: u64,
        pub aio_key: u32,
        pub aio_rw_flags: u32,
        pub aio_lio_opcode: u16,
        pub aio_reqprio: i16,
        pub aio_fildes: u32,
        pub aio_buf: u64,
        pub aio_nbytes: u64,
        pub aio_offset: i64,
        pub aio_reserved2: u64,
        pub aio_flags: u32,
        pub aio_resfd: u32,
    }

    /// `struct io_event`.
    pub struct IoEvent {
        pub data: u64,
        pub obj: u64,
        pub res: i64,
        pub res2: i64,
    }
}

constants! {
    /// `aio_lio_opcode`.
    pub table IOCB_COMMANDS: u16 {
        IOCB_CMD_PREAD = 0;
        IOCB_CMD_PWRITE = 1;
        IOCB_CMD_FSYNC = 2;
        IOCB_CMD_FDSYNC = 3;
        IOCB_CMD_POLL = 5;
        IOCB_CMD_NOOP = 6;
        IOCB_CMD_PREADV = 7;
        IOCB_CMD_PWRITEV = 8;
    }
}

/// Flag of an iocb: tell the eventfd in `aio_resfd`.
pub const IOCB_FLAG_RESFD: u32 = 1;
/// Flag of an iocb: `aio_reqprio` is set.
pub const IOCB_FLAG_IOPRIO: u32 = 2;
