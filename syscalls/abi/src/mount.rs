//! Mounting: mount(2), umount2(2) and the newer calls.

flags! {
    /// Flags of mount(2).
    pub struct MountFlags: u64, "MS_" {
        const RDONLY = 1;
        const NOSUID = 2;
        const NODEV = 4;
        const NOEXEC = 8;
        const SYNCHRONOUS = 16;
        const REMOUNT = 32;
        const MANDLOCK = 64;
        const DIRSYNC = 128;
        const NOSYMFOLLOW = 256;
        const NOATIME = 1024;
        const NODIRATIME = 2048;
        const BIND = 4096;
        const MOVE = 8192;
        const REC = 16384;
        const SILENT = 32768;
        const POSIXACL = 1 << 16;
        const UNBINDABLE = 1 << 17;
        const PRIVATE = 1 << 18;
        const SLAVE = 1 << 19;
        const SHARED = 1 << 20;
        const RELATIME = 1 << 21;
        const KERNMOUNT = 1 << 22;
        const I_VERSION = 1 << 23;
        const STRICTATIME = 1 << 24;
        const LAZYTIME = 1 << 25;
    }
}

/// The magic that old programs put in the high half of the flags.
pub const MS_MGC_VAL: u64 = 0xc0ed_0000;
/// Its mask.
pub const MS_MGC_MSK: u64 = 0xffff_0000;

flags! {
    /// Flags of umount2(2).
    pub struct UmountFlags: u32, "" {
        const MNT_FORCE = 1;
        const MNT_DETACH = 2;
        const MNT_EXPIRE = 4;
        const UMOUNT_NOFOLLOW = 8;
    }
}

flags! {
    /// Flags of open_tree(2), beside those of the `*at` calls and O_CLOEXEC.
    pub struct OpenTreeFlags: u32, "OPEN_TREE_" {
        const CLONE = 1;
        const CLOEXEC = 0o2000000;
    }
}

flags! {
    /// Flags of move_mount(2).
    pub struct MoveMountFlags: u32, "MOVE_MOUNT_" {
        const F_SYMLINKS = 0x01;
        const F_AUTOMOUNTS = 0x02;
        const F_EMPTY_PATH = 0x04;
        const T_SYMLINKS = 0x10;
        const T_AUTOMOUNTS = 0x20;
        const T_EMPTY_PATH = 0x40;
        const SET_GROUP = 0x100;
        const BENEATH = 0x200;
    }
}

flags! {
    /// Flags of fsopen(2).
    pub struct FsopenFlags: u32, "FSOPEN_" {
        const CLOEXEC = 1;
    }
}

flags! {
    /// Flags of fspick(2).
    pub struct FspickFlags: u32, "FSPICK_" {
        const CLOEXEC = 1;
        const SYMLINK_NOFOLLOW = 2;
        const NO_AUTOMOUNT = 4;
        const EMPTY_PATH = 8;
    }
}

flags! {
    /// Flags of fsmount(2).
    pub struct FsmountFlags: u32, "FSMOUNT_" {
        const CLOEXEC = 1;
    }
}

constants! {
    /// Commands of fsconfig(2).
    pub table FSCONFIG_COMMANDS: u32 {
        FSCONFIG_SET_FLAG = 0;
        FSCONFIG_SET_STRING = 1;
        FSCONFIG_SET_BINARY = 2;
        FSCONFIG_SET_PATH = 3;
        FSCONFIG_SET_PATH_EMPTY = 4;
        FSCONFIG_SET_FD = 5;
        FSCONFIG_CMD_CREATE = 6;
        FSCONFIG_CMD_RECONFIGURE = 7;
        FSCONFIG_CMD_CREATE_EXCL = 8;
    }
}

flags! {
    /// Attributes of mount_setattr(2) and fsmount(2). The time mode is a number: see [`MOUNT_ATTR__ATIME`].
    pub struct MountAttrFlags: u64, "MOUNT_ATTR_" {
        const RDONLY = 0x01;
        const NOSUID = 0x02;
        const NODEV = 0x04;
        const NOEXEC = 0x08;
        const NOATIME = 0x10;
        const STRICTATIME = 0x20;
        const NODIRATIME = 0x80;
        const IDMAP = 0x10_0000;
        const NOSYMFOLLOW = 0x20_0000;
    }
}

/// Mask of the time mode in [`MountAttrFlags`]; relatime is 0.
pub const MOUNT_ATTR__ATIME: u64 = 0x70;

/// Bytes of the first version of [`MountAttr`].
pub const MOUNT_ATTR_SIZE_VER0: usize = 32;
/// Bytes of the first version of [`MntIdReq`].
pub const MNT_ID_REQ_SIZE_VER0: usize = 24;
/// `mnt_id` of listmount(2) for the root of the namespace.
pub const LSMT_ROOT: u64 = u64::MAX;

flags! {
    /// What statmount(2) is asked for and has answered.
    pub struct StatmountMask: u64, "STATMOUNT_" {
        const SB_BASIC = 0x1;
        const MNT_BASIC = 0x2;
        const PROPAGATE_FROM = 0x4;
        const MNT_ROOT = 0x8;
        const MNT_POINT = 0x10;
        const FS_TYPE = 0x20;
        const MNT_NS_ID = 0x40;
        const MNT_OPTS = 0x80;
        const FS_SUBTYPE = 0x100;
        const SB_SOURCE = 0x200;
        const OPT_ARRAY = 0x400;
        const OPT_SEC_ARRAY = 0x800;
        const SUPPORTED_MASK = 0x1000;
        const MNT_UIDMAP = 0x2000;
        const MNT_GIDMAP = 0x4000;
    }
}

flags! {
    /// Flags of listmount(2).
    pub struct ListmountFlags: u32, "LISTMOUNT_" {
        const REVERSE = 1;
    }
}

wire! {
    /// `struct mnt_id_req` of statmount(2) and listmount(2).
    pub struct MntIdReq {
        pub size: u32,
        pub mnt_ns_fd: u32,
        pub mnt_id: u64,
        /// A [`StatmountMask`], or the id behind which listmount(2) goes on.
        pub param: u64,
        pub mnt_ns_id: u64,
    }

    /// `struct mount_attr`.
    pub struct MountAttr {
        pub attr_set: u64,
        pub attr_clr: u64,
        pub propagation: u64,
        pub userns_fd: u64,
    }
}
