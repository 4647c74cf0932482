//! fcntl(2), flock(2) and file leases.

constants! {
    /// Commands of fcntl(2).
    pub table FCNTL_COMMANDS: u32 {
        F_DUPFD = 0;
        F_GETFD = 1;
        F_SETFD = 2;
        F_GETFL = 3;
        F_SETFL = 4;
        F_GETLK = 5;
        F_SETLK = 6;
        F_SETLKW = 7;
        F_SETOWN = 8;
        F_GETOWN = 9;
        F_SETSIG = 10;
        F_GETSIG = 11;
        F_SETOWN_EX = 15;
        F_GETOWN_EX = 16;
        F_GETOWNER_UIDS = 17;
        F_OFD_GETLK = 36;
        F_OFD_SETLK = 37;
        F_OFD_SETLKW = 38;
        F_SETLEASE = 1024;
        F_GETLEASE = 1025;
        F_NOTIFY = 1026;
        F_DUPFD_QUERY = 1027;
        F_CREATED_QUERY = 1028;
        F_CANCELLK = 1029;
        F_DUPFD_CLOEXEC = 1030;
        F_SETPIPE_SZ = 1031;
        F_GETPIPE_SZ = 1032;
        F_ADD_SEALS = 1033;
        F_GET_SEALS = 1034;
        F_GET_RW_HINT = 1035;
        F_SET_RW_HINT = 1036;
        F_GET_FILE_RW_HINT = 1037;
        F_SET_FILE_RW_HINT = 1038;
    }
}

/// The highest of the hints of F_SET_RW_HINT.
pub const RWH_WRITE_LIFE_EXTREME: u32 = 5;

/// The one flag of a descriptor.
pub const FD_CLOEXEC: u32 = 1;

constants! {
    /// Types of lock and lease.
    pub table LOCK_TYPES: i16 {
        F_RDLCK = 0;
        F_WRLCK = 1;
        F_UNLCK = 2;
    }
}

constants! {
    /// Types of owner in [`FOwnerEx`].
    pub table OWNER_TYPES: i32 {
        F_OWNER_TID = 0;
        F_OWNER_PID = 1;
        F_OWNER_PGRP = 2;
    }
}

flags! {
    /// Seals of a memfd.
    pub struct Seals: u32, "F_SEAL_" {
        const SEAL = 0x01;
        const SHRINK = 0x02;
        const GROW = 0x04;
        const WRITE = 0x08;
        const FUTURE_WRITE = 0x10;
        const EXEC = 0x20;
    }
}

constants! {
    /// Operations of flock(2), to which LOCK_NB may be added.
    pub table FLOCK_OPS: u32 {
        LOCK_SH = 1;
        LOCK_EX = 2;
        LOCK_NB = 4;
        LOCK_UN = 8;
        LOCK_MAND = 32;
    }
}

wire! {
    /// `struct flock`.
    pub struct Flock {
        pub l_type: i16,
        pub l_whence: i16,
        pub pad0: u32,
        pub l_start: i64,
        pub l_len: i64,
        pub l_pid: i32,
        pub pad1: u32,
    }

    /// `struct f_owner_ex`.
    pub struct FOwnerEx {
        pub r#type: i32,
        pub pid: i32,
    }
}

flags! {
    /// What F_NOTIFY asks for.
    pub struct NotifyFlags: u32, "DN_" {
        const ACCESS = 0x01;
        const MODIFY = 0x02;
        const CREATE = 0x04;
        const DELETE = 0x08;
        const RENAME = 0x10;
        const ATTRIB = 0x20;
        const MULTISHOT = 0x8000_0000;
    }
}
