//! Changes of attributes.

use crate::attr::{Perm, Time};
use crate::wire::{Bad, Reader, Wire, Writer};

/// What a time is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NewTime {
    /// The host's clock.
    Now,
    /// This.
    At(Time),
}

/// What is to be changed; what is `None` stays. They are done in the order of the fields, and the first that fails
/// ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Changes {
    /// Cut or grow a regular file to this many bytes.
    pub size: Option<u64>,
    /// User; not -1.
    pub uid: Option<u32>,
    /// Group; not -1.
    pub gid: Option<u32>,
    /// Permission bits.
    pub perm: Option<Perm>,
    /// Time of last access.
    pub atime: Option<NewTime>,
    /// Time of last change.
    pub mtime: Option<NewTime>,
}

impl Wire<'_> for NewTime {
    fn put(&self, to: &mut Writer<'_>) {
        match self {
            NewTime::Now => to.put(&None::<Time>),
            NewTime::At(time) => to.put(&Some(*time)),
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<NewTime, Bad> {
        Ok(from.get::<Option<Time>>()?.map_or(NewTime::Now, NewTime::At))
    }
}

impl Wire<'_> for Changes {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&self.size);
        to.put(&self.uid);
        to.put(&self.gid);
        to.put(&self.perm);
        to.put(&self.atime);
        to.put(&self.mtime);
    }
    fn get(from: &mut Reader<'_>) -> Result<Changes, Bad> {
        let changes = Changes {
            size: from.get()?,
            uid: from.get()?,
            gid: from.get()?,
            perm: from.get()?,
            atime: from.get()?,
            mtime: from.get()?,
        };
        if changes.size.is_some_and(|size| size > i64::MAX as u64) {
            return Err(Bad::Value("size"));
        }
        if changes.uid == Some(u32::MAX) || changes.gid == Some(u32::MAX) {
            return Err(Bad::Value("owner"));
        }
        Ok(changes)
    }
}
