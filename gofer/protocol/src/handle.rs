//! What the Sentry calls a file that the Gofer holds.

use std::num::NonZeroU64;

use crate::wire::{Bad, Reader, Wire, Writer};

/// Names an fd in the Gofer's table. Only the Gofer makes them and no number is ever used again, so that a late
/// [`Close`](crate::Request::Close) can't hit another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(NonZeroU64);

impl Handle {
    /// The handle with this number; 0 is none.
    pub fn new(number: u64) -> Option<Handle> {
        NonZeroU64::new(number).map(Handle)
    }
    /// Its number.
    pub fn number(self) -> u64 {
        self.0.get()
    }
}

impl Wire<'_> for Handle {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&self.number());
    }
    fn get(from: &mut Reader<'_>) -> Result<Handle, Bad> {
        Handle::new(from.get()?).ok_or(Bad::Value("handle"))
    }
}
