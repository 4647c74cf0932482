//! The bytes of a message: a reader that checks every length, a writer that never grows past the longest message, and
//! how numbers lie in them (little-endian, unaligned).

use rustix::io::Errno;

use crate::MAX_MESSAGE;

/// Bytes that are not a message of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// The message ends in the middle of a field.
    #[error("message ends too early")]
    Short,
    /// Bytes are left behind the last field.
    #[error("message has bytes behind its end")]
    Trailing,
    /// A field holds a value that it may not hold.
    #[error("illegal value for {0}")]
    Value(&'static str),
    /// More was to be sent than a message holds.
    #[error("message would be too long")]
    Long,
}

/// Takes fields from the front of a message.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader of all of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }
    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Bad> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Bad::Short)?;
        self.0 = rest;
        Ok(head)
    }
    /// The next field.
    pub fn get<T: Wire<'a>>(&mut self) -> Result<T, Bad> {
        T::get(self)
    }
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Checks that nothing is left.
    pub fn finish(self) -> Result<(), Bad> {
        if self.0.is_empty() { Ok(()) } else { Err(Bad::Trailing) }
    }
}

/// Adds fields to the end of a message.
#[derive(Debug)]
pub struct Writer<'b> {
    bytes: &'b mut Vec<u8>,
    limit: usize,
    full: bool,
}

impl<'b> Writer<'b> {
    /// A writer of a message; `bytes` is emptied first (and keeps its room, so that nothing is allocated).
    pub fn message(bytes: &'b mut Vec<u8>) -> Writer<'b> {
        bytes.clear();
        Writer { bytes, limit: MAX_MESSAGE, full: false }
    }
    /// A writer that appends to `bytes` up to `limit` bytes in all.
    pub fn append(bytes: &'b mut Vec<u8>, limit: usize) -> Writer<'b> {
        Writer { bytes, limit, full: false }
    }
    /// Adds bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        if self.full || self.limit.saturating_sub(self.bytes.len()) < bytes.len() {
            self.full = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }
    /// Adds a field.
    pub fn put<'a, T: Wire<'a>>(&mut self, value: &T) {
        value.put(self);
    }
    /// Whether all that was put has found room.
    pub fn finish(self) -> Result<(), Bad> {
        if self.full { Err(Bad::Long) } else { Ok(()) }
    }
}

/// A value that has a form on the wire.
pub trait Wire<'a>: Sized {
    /// Adds it to a message.
    fn put(&self, to: &mut Writer<'_>);
    /// Takes it from a message, checked.
    fn get(from: &mut Reader<'a>) -> Result<Self, Bad>;
}

macro_rules! numbers {
    ($($ty:ty),*) => { $(
        impl Wire<'_> for $ty {
            fn put(&self, to: &mut Writer<'_>) {
                to.raw(&self.to_le_bytes());
            }
            fn get(from: &mut Reader<'_>) -> Result<$ty, Bad> {
                let (bytes, _) = from.take(size_of::<$ty>())?.split_first_chunk().ok_or(Bad::Short)?;
                Ok(<$ty>::from_le_bytes(*bytes))
            }
        }
    )* };
}
numbers!(u8, u16, u32, u64, i64);

impl Wire<'_> for bool {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&u8::from(*self));
    }
    fn get(from: &mut Reader<'_>) -> Result<bool, Bad> {
        match from.get::<u8>()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Bad::Value("bool")),
        }
    }
}

impl<'a, T: Wire<'a>> Wire<'a> for Option<T> {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&self.is_some());
        if let Some(value) = self {
            value.put(to);
        }
    }
    fn get(from: &mut Reader<'a>) -> Result<Option<T>, Bad> {
        Ok(if from.get()? { Some(from.get()?) } else { None })
    }
}

impl Wire<'_> for Errno {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&(self.raw_os_error() as u16));
    }
    fn get(from: &mut Reader<'_>) -> Result<Errno, Bad> {
        match from.get::<u16>()? {
            // 1 to MAX_ERRNO. What the kernel keeps for itself (ERESTARTSYS and friends, 512 up) never leaves a host
            // call, so it can't be meant.
            number @ 1..512 => Ok(Errno::from_raw_os_error(i32::from(number))),
            _ => Err(Bad::Value("errno")),
        }
    }
}

/// Gives enums without fields a wire form, their value.
macro_rules! wire_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident: $ty:ty { $($(#[$doc:meta])* $variant:ident = $value:expr),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr($ty)]
        $vis enum $name { $($(#[$doc])* $variant = $value),* }
        impl $name {
            /// All values.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            /// The value with this number.
            pub fn from_number(number: $ty) -> Option<$name> {
                $(if number == $value { return Some($name::$variant); })*
                None
            }
        }
        impl $crate::wire::Wire<'_> for $name {
            fn put(&self, to: &mut $crate::wire::Writer<'_>) {
                to.put(&(*self as $ty));
            }
            fn get(from: &mut $crate::wire::Reader<'_>) -> Result<$name, $crate::wire::Bad> {
                $name::from_number(from.get()?).ok_or($crate::wire::Bad::Value(stringify!($name)))
            }
        }
    };
}
pub(crate) use wire_enum;
