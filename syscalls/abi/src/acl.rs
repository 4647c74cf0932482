//! POSIX access control lists, as extended attributes hold them.

wire! {
    /// `struct posix_acl_xattr_header`
    pub struct PosixAclXattrHeader {
        pub a_version: u32,
    }
}

wire! {
    /// `struct posix_acl_xattr_entry`
    pub struct PosixAclXattrEntry {
        pub e_tag: u16,
        pub e_perm: u16,
        pub e_id: u32,
    }
}

/// `a_version`
pub const POSIX_ACL_XATTR_VERSION: u32 = 2;

/// The file's owner.
pub const ACL_USER_OBJ: u16 = 0x01;
/// A user by id.
pub const ACL_USER: u16 = 0x02;
/// The file's group.
pub const ACL_GROUP_OBJ: u16 = 0x04;
/// A group by id.
pub const ACL_GROUP: u16 = 0x08;
/// What named users and all groups get at most.
pub const ACL_MASK: u16 = 0x10;
/// Everybody else.
pub const ACL_OTHER: u16 = 0x20;

/// In place of an id where there is none.
pub const ACL_UNDEFINED_ID: u32 = u32::MAX;
