//! Extended attributes.

flags! {
    /// Flags of setxattr(2).
    pub struct XattrFlags: u32, "XATTR_" {
        const CREATE = 1;
        const REPLACE = 2;
    }
}

/// Bytes of the longest name.
pub const XATTR_NAME_MAX: usize = 255;
/// Bytes of the longest value.
pub const XATTR_SIZE_MAX: usize = 65536;
/// Bytes of the longest list of names.
pub const XATTR_LIST_MAX: usize = 65536;

wire! {
    /// `struct xattr_args` of setxattrat(2) and getxattrat(2).
    pub struct XattrArgs {
        pub value: u64,
        pub size: u32,
        pub flags: u32,
    }
}

/// Who may do what with a file, as a POSIX access control list.
pub const XATTR_POSIX_ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The list that files made in a directory inherit.
pub const XATTR_POSIX_ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
