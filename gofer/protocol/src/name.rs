//! Strings in messages, each of a kind that says what it may hold.

use rustix::io::Errno;

use crate::NAME_MAX;
use crate::wire::{Bad, Reader, Wire, Writer};

/// One component of a path: 1 to 255 bytes, no slash, no NUL, neither `.` nor `..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Checks `bytes`; the error is what Linux would answer for such a component (`.` and `..` are the caller's to
    /// resolve: EINVAL).
    pub fn new(bytes: &'a [u8]) -> Result<Name<'a>, Errno> {
        match bytes {
            [] => Err(Errno::NOENT),
            b"." | b".." => Err(Errno::INVAL),
            _ if bytes.len() > NAME_MAX => Err(Errno::NAMETOOLONG),
            _ if bytes.iter().any(|&b| b == 0 || b == b'/') => Err(Errno::INVAL),
            _ => Ok(Name(bytes)),
        }
    }
    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Wire<'a> for Name<'a> {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&(self.0.len() as u8));
        to.raw(self.0);
    }
    fn get(from: &mut Reader<'a>) -> Result<Name<'a>, Bad> {
        let len = from.get::<u8>()?;
        Name::new(from.take(len.into())?).map_err(|_| Bad::Value("name"))
    }
}

macro_rules! strings {
    ($($(#[$doc:meta])* $name:ident $lengths:pat, $too_long:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name<'a>(&'a [u8]);

        impl<'a> $name<'a> {
            /// Checks `bytes`.
            pub fn new(bytes: &'a [u8]) -> Result<$name<'a>, Errno> {
                if !matches!(bytes.len(), $lengths) {
                    Err(if bytes.is_empty() { Errno::NOENT } else { Errno::$too_long })
                } else if bytes.contains(&0) {
                    Err(Errno::INVAL)
                } else {
                    Ok($name(bytes))
                }
            }
            /// The bytes.
            pub fn as_bytes(self) -> &'a [u8] {
                self.0
            }
        }

        impl<'a> Wire<'a> for $name<'a> {
            fn put(&self, to: &mut Writer<'_>) {
                to.put(&(self.0.len() as u16));
                to.raw(self.0);
            }
            fn get(from: &mut Reader<'a>) -> Result<$name<'a>, Bad> {
                let len = from.get::<u16>()?;
                $name::new(from.take(len.into())?).map_err(|_| Bad::Value(stringify!($name)))
            }
        }
    )* };
}

strings! {
    /// What a symbolic link points to: 1 to 4095 bytes, no NUL.
    Target 1..=4095, NAMETOOLONG;
    /// Name of an extended attribute, with its prefix: 1 to 255 bytes, no NUL.
    XattrName 1..=255, RANGE;
}

/// Any bytes: the value of an extended attribute, or a list of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Wire<'a> for Bytes<'a> {
    fn put(&self, to: &mut Writer<'_>) {
        // More than u32 holds is more than a message holds, so it is the writer that refuses it.
        to.put(&(self.0.len() as u32));
        to.raw(self.0);
    }
    fn get(from: &mut Reader<'a>) -> Result<Bytes<'a>, Bad> {
        let len = from.get::<u32>()?;
        from.take(len as usize).map(Bytes)
    }
}
