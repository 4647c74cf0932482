//! Pages of a mapping that the host shows to the guest, and where they are.

use std::sync::Arc;

use platform::{Backing, Frames, MemoryFile, Prot};

use super::mappable::Place;
use super::ranges::Piece;

/// A run of pages. As long as it exists the host shows exactly `place` at its addresses, with
/// [`host_prot`](Pma::host_prot); and it holds a reference on each page, where those are counted.
#[derive(Clone)]
pub(super) struct Pma {
    pub place: Place,
    /// Protection of the mapping it belongs to.
    pub prot: Prot,
    /// The pages are this address space's own (or, with `cow`, shared with relatives by fork): not a file's.
    pub private: bool,
    /// Must be copied, or taken back, before it is written.
    pub cow: bool,
}

impl Pma {
    /// Pages of anonymous memory, or a private copy of a file's.
    pub fn private(offset: u64, prot: Prot) -> Pma {
        Pma { place: Place::Memory(offset), prot, private: true, cow: false }
    }

    /// What the host is told: readable when accessible at all (as x86 pages are), and not writable before a copy.
    pub fn host_prot(&self) -> Prot {
        host_prot(self.prot, self.cow)
    }

    pub fn readable(&self) -> bool {
        !self.prot.is_empty()
    }

    pub fn writable(&self) -> bool {
        self.prot.contains(Prot::WRITE) && !self.cow
    }

    pub fn backing(&self) -> Backing<'_> {
        match &self.place {
            Place::Memory(offset) => Backing::Memory(*offset),
            Place::Host(file, offset) => Backing::File(file, *offset),
        }
    }

    /// The pages in the memory file, if they are there.
    pub fn frames(&self, len: u64) -> Option<Frames> {
        match self.place {
            Place::Memory(offset) => Some(Frames { offset, len }),
            Place::Host(..) => None,
        }
    }

    /// Takes one more reference on each page.
    pub fn incref(&self, memory: &MemoryFile, len: u64) {
        self.place.incref(memory, len);
    }

    /// Gives the references back.
    pub fn decref(&self, memory: &MemoryFile, len: u64) {
        self.place.decref(memory, len);
    }
}

/// Protection of the host mapping for pages of a mapping with `prot`.
pub(super) fn host_prot(prot: Prot, cow: bool) -> Prot {
    match (prot.is_empty(), cow) {
        (true, _) => prot,
        (false, true) => (prot | Prot::READ) - Prot::WRITE,
        (false, false) => prot | Prot::READ,
    }
}

impl Piece for Pma {
    fn advance(&mut self, bytes: u64) {
        match &mut self.place {
            Place::Memory(offset) | Place::Host(_, offset) => *offset += bytes,
        }
    }

    fn continued_by(&self, len: u64, next: &Self) -> bool {
        let follows = match (&self.place, &next.place) {
            (Place::Memory(a), Place::Memory(b)) => a + len == *b,
            (Place::Host(file, a), Place::Host(next_file, b)) => {
                Arc::ptr_eq(file, next_file) && a + len == *b
            }
            _ => false,
        };
        follows && self.prot == next.prot && self.private == next.private && self.cow == next.cow
    }
}
