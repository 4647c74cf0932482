//! Lists in messages. A list is checked as a whole when it is decoded and then read element by element from the bytes
//! of the message; it is built with a [`Packer`] whose room is used again and again. So neither side allocates.

use std::marker::PhantomData;

use crate::wire::{Bad, Reader, Wire, Writer};

/// A list of `T` in wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a, T> {
    count: u16,
    bytes: &'a [u8],
    of: PhantomData<fn() -> T>,
}

impl<'a, T: Wire<'a>> List<'a, T> {
    /// The list without elements.
    pub fn empty() -> List<'a, T> {
        List { count: 0, bytes: &[], of: PhantomData }
    }
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.count.into()
    }
    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// The elements.
    pub fn iter(&self) -> Iter<'a, T> {
        Iter { reader: Reader::new(self.bytes), of: PhantomData }
    }
}

impl<'a, T: Wire<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Elements of a [`List`].
#[derive(Clone, Debug)]
pub struct Iter<'a, T> {
    reader: Reader<'a>,
    of: PhantomData<fn() -> T>,
}

impl<'a, T: Wire<'a>> Iterator for Iter<'a, T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        // The bytes were checked when the list was made, so an error can only be the end.
        if self.reader.is_empty() { None } else { self.reader.get().ok() }
    }
}

impl<'a, T: Wire<'a>> Wire<'a> for List<'a, T> {
    fn put(&self, to: &mut Writer<'_>) {
        to.put(&self.count);
        to.put(&(self.bytes.len() as u32));
        to.raw(self.bytes);
    }
    fn get(from: &mut Reader<'a>) -> Result<List<'a, T>, Bad> {
        let (count, len) = (from.get::<u16>()?, from.get::<u32>()?);
        let bytes = from.take(len as usize)?;
        let mut elements = Reader::new(bytes);
        for _ in 0..count {
            // An element without bytes would make a short message count as a long list.
            if elements.is_empty() {
                return Err(Bad::Short);
            }
            elements.get::<T>()?;
        }
        elements.finish()?;
        Ok(List { count, bytes, of: PhantomData })
    }
}

/// Builds a [`List`].
#[derive(Debug)]
pub struct Packer {
    count: u16,
    bytes: Vec<u8>,
    limit: usize,
}

impl Packer {
    /// A packer for a list that leaves a page of the longest message to other fields.
    pub fn new() -> Packer {
        Packer { count: 0, bytes: Vec::new(), limit: crate::MAX_MESSAGE - 4096 }
    }
    /// Forgets the elements and sets the most bytes that the list may take; the room is kept.
    pub fn clear(&mut self, limit: usize) {
        self.count = 0;
        self.bytes.clear();
        self.limit = limit.min(crate::MAX_MESSAGE - 4096);
    }
    /// Bytes that still have room.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }
    /// Adds an element; false (and no change) when it has no room.
    #[must_use]
    pub fn push<'a, T: Wire<'a>>(&mut self, element: &T) -> bool {
        if self.count == u16::MAX {
            return false;
        }
        let before = self.bytes.len();
        let mut writer = Writer::append(&mut self.bytes, self.limit);
        element.put(&mut writer);
        if writer.finish().is_err() {
            self.bytes.truncate(before);
            return false;
        }
        self.count += 1;
        true
    }
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.count.into()
    }
    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// Where the next element comes.
    pub fn mark(&self) -> Mark {
        Mark { count: self.count, bytes: self.bytes.len() }
    }
    /// Takes back what was packed since `mark` was got.
    pub fn back_to(&mut self, mark: Mark) {
        self.count = self.count.min(mark.count);
        self.bytes.truncate(mark.bytes);
    }
    /// What was packed. `T` is the type that was pushed.
    pub fn list<'a, T: Wire<'a>>(&'a self) -> List<'a, T> {
        List { count: self.count, bytes: &self.bytes, of: PhantomData }
    }
}

/// A place between two elements of a [`Packer`].
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    count: u16,
    bytes: usize,
}

impl Default for Packer {
    fn default() -> Packer {
        Packer::new()
    }
}
