//! inotify(7).

flags! {
    /// Events and watch options.
    pub struct InotifyMask: u32, "IN_" {
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
        const UNMOUNT = 0x2000;
        const Q_OVERFLOW = 0x4000;
        const IGNORED = 0x8000;
        const ONLYDIR = 0x0100_0000;
        const DONT_FOLLOW = 0x0200_0000;
        const EXCL_UNLINK = 0x0400_0000;
        const MASK_CREATE = 0x1000_0000;
        const MASK_ADD = 0x2000_0000;
        const ISDIR = 0x4000_0000;
        const ONESHOT = 0x8000_0000;
    }
}

/// The twelve events that can be watched for.
pub const IN_ALL_EVENTS: u32 = 0xfff;

flags! {
    /// Flags of inotify_init1(2).
    pub struct InotifyFlags: u32, "IN_" {
        const NONBLOCK = 0o4000;
        const CLOEXEC = 0o2000000;
    }
}

wire! {
    /// `struct inotify_event`; `len` bytes of name follow.
    pub struct InotifyEvent {
        pub wd: i32,
        pub mask: u32,
        pub cookie: u32,
        pub len: u32,
    }
}
