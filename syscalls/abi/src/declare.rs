//! The two macros that most constants are declared with. Both leave a table of names behind: the strace lines and the
//! test against the C headers read the names from there.

/// A flag set whose bits have C names.
pub trait NamedFlags: bitflags::Flags + Copy {
    /// What the C names begin with, such as `O_`.
    const PREFIX: &'static str;
    /// The C names with their bits, in the order in which to print them: several bits before the single ones they hold.
    const NAMES: &'static [(Self::Bits, &'static str)];
}

/// Declares constants of one family and a table of `(value, name)`.
macro_rules! constants {
    ($(#[$meta:meta])* pub table $table:ident: $ty:ty { $($(#[$doc:meta])* $name:ident = $value:expr;)* }) => {
        $($(#[$doc])* #[allow(missing_docs)] pub const $name: $ty = $value;)*
        $(#[$meta])* pub static $table: &[($ty, &str)] = &[$(($name, stringify!($name))),*];
    };
}

/// Declares a flag set. Its bits are named without the prefix of the C names; a bit whose C name is no Rust name is given
/// it in parentheses.
macro_rules! flags {
    (@shown $prefix:literal, $flag:ident) => { concat!($prefix, stringify!($flag)) };
    (@shown $prefix:literal, $flag:ident, $shown:literal) => { $shown };
    ($(#[$meta:meta])* pub struct $name:ident: $ty:ty, $prefix:literal {
        $($(#[doc = $doc:literal])* const $flag:ident $(($shown:literal))? = $value:expr;)*
    }) => {
        bitflags::bitflags! {
            $(#[$meta])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
            pub struct $name: $ty { $($(#[doc = $doc])* #[allow(missing_docs)] const $flag = $value;)* }
        }
        impl $crate::NamedFlags for $name {
            const PREFIX: &'static str = $prefix;
            const NAMES: &'static [($ty, &'static str)] =
                &[$(($value, flags!(@shown $prefix, $flag $(, $shown)?))),*];
        }
    };
}

/// Declares wire structures: `repr(C)`, every byte named, so that copying one to a guest leaks nothing.
macro_rules! wire {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$doc:meta])* $vis:vis $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
        #[allow(missing_docs)]
        pub struct $name { $($(#[$doc])* $vis $field: $ty,)* }
    )*};
}
