//! fanotify(7).

flags! {
    /// Flags of fanotify_init(2).
    pub struct FanInit: u32, "FAN_" {
        const CLOEXEC = 0x0001;
        const NONBLOCK = 0x0002;
        const CLASS_CONTENT = 0x0004;
        const CLASS_PRE_CONTENT = 0x0008;
        const UNLIMITED_QUEUE = 0x0010;
        const UNLIMITED_MARKS = 0x0020;
        const ENABLE_AUDIT = 0x0040;
        const REPORT_PIDFD = 0x0080;
        const REPORT_TID = 0x0100;
        const REPORT_FID = 0x0200;
        const REPORT_DIR_FID = 0x0400;
        const REPORT_NAME = 0x0800;
        const REPORT_TARGET_FID = 0x1000;
        const REPORT_FD_ERROR = 0x2000;
        const REPORT_MNT = 0x4000;
    }
}

flags! {
    /// Flags of fanotify_mark(2).
    pub struct FanMark: u32, "FAN_MARK_" {
        const ADD = 0x0001;
        const REMOVE = 0x0002;
        const DONT_FOLLOW = 0x0004;
        const ONLYDIR = 0x0008;
        const MOUNT = 0x0010;
        const IGNORED_MASK = 0x0020;
        const IGNORED_SURV_MODIFY = 0x0040;
        const FLUSH = 0x0080;
        const FILESYSTEM = 0x0100;
        const EVICTABLE = 0x0200;
        const IGNORE = 0x0400;
    }
}

flags! {
    /// Events, and to which files those of a mark apply. The first twelve bits are those of inotify(7).
    pub struct FanMask: u64, "FAN_" {
        const ACCESS = 0x0001;
        const MODIFY = 0x0002;
        const ATTRIB = 0x0004;
        const CLOSE_WRITE = 0x0008;
        const CLOSE_NOWRITE = 0x0010;
        const OPEN = 0x0020;
        const MOVED_FROM = 0x0040;
        const MOVED_TO = 0x0080;
        const CREATE = 0x0100;
        const DELETE = 0x0200;
        const DELETE_SELF = 0x0400;
        const MOVE_SELF = 0x0800;
        const OPEN_EXEC = 0x1000;
        const Q_OVERFLOW = 0x4000;
        const FS_ERROR = 0x8000;
        const OPEN_PERM = 0x0001_0000;
        const ACCESS_PERM = 0x0002_0000;
        const OPEN_EXEC_PERM = 0x0004_0000;
        const PRE_ACCESS = 0x0010_0000;
        const MNT_ATTACH = 0x0100_0000;
        const MNT_DETACH = 0x0200_0000;
        const EVENT_ON_CHILD = 0x0800_0000;
        const RENAME = 0x1000_0000;
        const ONDIR = 0x4000_0000;
    }
}

/// `vers` of the metadata.
pub const FANOTIFY_METADATA_VERSION: u8 = 3;
/// `fd` of an event without a descriptor.
pub const FAN_NOFD: i32 = -1;
/// `pidfd` of a process that has gone.
pub const FAN_NOPIDFD: i32 = -1;
/// `pidfd` that could not be made.
pub const FAN_EPIDFD: i32 = -2;

constants! {
    /// What a record behind an event is.
    pub table FAN_INFO_TYPES: u8 {
        FAN_EVENT_INFO_TYPE_FID = 1;
        FAN_EVENT_INFO_TYPE_DFID_NAME = 2;
        FAN_EVENT_INFO_TYPE_DFID = 3;
        FAN_EVENT_INFO_TYPE_PIDFD = 4;
        FAN_EVENT_INFO_TYPE_MNT = 7;
        FAN_EVENT_INFO_TYPE_OLD_DFID_NAME = 10;
        FAN_EVENT_INFO_TYPE_NEW_DFID_NAME = 12;
    }
}

constants! {
    /// Answers to permission events.
    pub table FAN_RESPONSES: u32 {
        FAN_ALLOW = 1;
        FAN_DENY = 2;
        FAN_AUDIT = 0x10;
        FAN_INFO = 0x20;
    }
}

/// The only record behind an answer.
pub const FAN_RESPONSE_INFO_AUDIT_RULE: u8 = 1;

wire! {
    /// `struct fanotify_event_metadata`: the head of an event.
    pub struct FanotifyEventMetadata {
        pub event_len: u32,
        pub vers: u8,
        pub reserved: u8,
        pub metadata_len: u16,
        pub mask: u64,
        pub fd: i32,
        pub pid: i32,
    }

    /// `struct fanotify_event_info_header`: the head of a record.
    pub struct FanotifyEventInfoHeader {
        pub info_type: u8,
        pub pad: u8,
        pub len: u16,
    }

    /// `struct fanotify_event_info_fid`; a `struct file_handle` follows, and for some types a name.
    pub struct FanotifyEventInfoFid {
        pub hdr: FanotifyEventInfoHeader,
        pub fsid: [i32; 2],
    }

    /// `struct fanotify_event_info_pidfd`.
    pub struct FanotifyEventInfoPidfd {
        pub hdr: FanotifyEventInfoHeader,
        pub pidfd: i32,
    }

    /// `struct fanotify_response`: the answer to a permission event.
    pub struct FanotifyResponse {
        pub fd: i32,
        pub response: u32,
    }

    /// `struct fanotify_response_info_audit_rule`.
    pub struct FanotifyResponseInfoAuditRule {
        pub hdr: FanotifyEventInfoHeader,
        pub rule_number: u32,
        pub subj_trust: u32,
        pub obj_trust: u32,
    }
}
