//! `struct new_utsname`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of each name, its NUL included.
pub const UTS_LEN: usize = 65;

/// `struct new_utsname` of uname(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[allow(missing_docs)]
pub struct UtsName {
    pub sysname: [u8; UTS_LEN],
    pub nodename: [u8; UTS_LEN],
    pub release: [u8; UTS_LEN],
    pub version: [u8; UTS_LEN],
    pub machine: [u8; UTS_LEN],
    pub domainname: [u8; UTS_LEN],
}
