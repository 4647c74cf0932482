//! What a guest claims to be addresses: never dereferenced, only given to copies that check.
//!
//! An address is not tested before it is touched: a zero-length read of NULL succeeds, as on Linux.

use std::fmt;
use std::marker::PhantomData;

use abi::Errno;

/// First address that can't be a user address (4-level paging): TASK_SIZE_MAX of Linux x86-64.
pub const TASK_SIZE: u64 = 0x7fff_ffff_f000;

/// A guest address as the guest gave it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UserAddr(pub u64);

impl UserAddr {
    /// The null pointer.
    pub const NULL: UserAddr = UserAddr(0);

    /// Whether it is the null pointer.
    pub fn is_null(self) -> bool {
        self.0 == 0
    }

    /// `self + bytes`, or EFAULT on overflow.
    #[allow(clippy::should_implement_trait)] // It can fail.
    pub fn add(self, bytes: u64) -> Result<UserAddr, Errno> {
        self.0.checked_add(bytes).map(UserAddr).ok_or(Errno::EFAULT)
    }

    /// Whether `[self, self + len)` lies below [`TASK_SIZE`] (access_ok of Linux).
    pub fn access_ok(self, len: u64) -> bool {
        self.0.checked_add(len).is_some_and(|end| end <= TASK_SIZE)
    }
}

impl fmt::Debug for UserAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_null() { f.write_str("NULL") } else { write!(f, "{:#x}", self.0) }
    }
}

/// A guest pointer to a `T` (a wire structure of `abi`, or an integer).
pub struct UserRef<T> {
    addr: UserAddr,
    what: PhantomData<fn() -> T>,
}

impl<T> Clone for UserRef<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for UserRef<T> {}

impl<T> Default for UserRef<T> {
    fn default() -> Self {
        UserRef::new(UserAddr::NULL)
    }
}

impl<T> UserRef<T> {
    /// A pointer at `addr`.
    pub const fn new(addr: UserAddr) -> Self {
        UserRef { addr, what: PhantomData }
    }
    /// The address.
    pub fn addr(self) -> UserAddr {
        self.addr
    }
    /// Whether it is the null pointer.
    pub fn is_null(self) -> bool {
        self.addr.is_null()
    }
    /// `None` for the null pointer.
    pub fn non_null(self) -> Option<Self> {
        (!self.is_null()).then_some(self)
    }
    /// Pointer to element `index` of an array that starts here.
    pub fn at(self, index: u64) -> Result<Self, Errno> {
        let bytes = index.checked_mul(size_of::<T>() as u64).ok_or(Errno::EFAULT)?;
        Ok(UserRef::new(self.addr.add(bytes)?))
    }
    /// The same address as a pointer to something else.
    pub fn cast<U>(self) -> UserRef<U> {
        UserRef::new(self.addr)
    }
}

impl<T> fmt::Debug for UserRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}

/// A guest pointer to a NUL-terminated string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserCStr(pub UserAddr);

/// One element of an `iovec` array, copied in and checked: the sum of lengths fits an `isize`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserSlice {
    /// First byte.
    pub addr: UserAddr,
    /// Bytes.
    pub len: u64,
}
