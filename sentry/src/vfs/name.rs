//! Names of directory entries: short ones without an allocation of their own.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::OnceLock;

/// Bytes that fit without allocating.
const INLINE: usize = 22;

#[derive(Clone)]
enum Repr {
    Inline(u8, [u8; INLINE]),
    Heap(Box<[u8]>),
}

/// One component of a path, as an owner of its bytes. Never longer than `NAME_MAX` when it names an entry.
#[derive(Clone)]
pub struct Name(Repr);

impl Name {
    /// A copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Name {
        if bytes.len() <= INLINE {
            let mut inline = [0; INLINE];
            inline[..bytes.len()].copy_from_slice(bytes);
            Name(Repr::Inline(bytes.len() as u8, inline))
        } else {
            Name(Repr::Heap(bytes.into()))
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Name::new(bytes)
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name::new(text.as_bytes())
    }
}

impl AsRef<[u8]> for Name {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// Hash of names: folded multiplication of 64-bit words, keyed per process so that a guest can't make names collide on
/// purpose. Much cheaper than SipHash for the short keys of a path walk.
#[derive(Clone, Copy)]
pub struct NameHash(u64);

impl Default for NameHash {
    fn default() -> Self {
        static KEY: OnceLock<u64> = OnceLock::new();
        NameHash(*KEY.get_or_init(|| std::hash::RandomState::new().hash_one(0u64)))
    }
}

impl BuildHasher for NameHash {
    type Hasher = NameHasher;
    fn build_hasher(&self) -> NameHasher {
        NameHasher(self.0)
    }
}

/// State of a [`NameHash`].
pub struct NameHasher(u64);

impl NameHasher {
    fn fold(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (wide as u64) ^ ((wide >> 64) as u64);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut buffer = [0; 8];
            buffer.copy_from_slice(word);
            self.fold(u64::from_le_bytes(buffer));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut buffer = [0; 8];
            buffer[..rest.len()].copy_from_slice(rest);
            self.fold(u64::from_le_bytes(buffer));
        }
    }

    fn write_usize(&mut self, n: usize) {
        // The length that slices hash first.
        self.fold(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        self.fold(n);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_name_takes_no_more_than_a_vec() {
        assert_eq!(size_of::<Name>(), 24);
    }

    #[test]
    fn names_of_all_lengths_are_found_by_their_bytes() {
        let mut map: HashMap<Name, usize, NameHash> = HashMap::default();
        let long = [b'x'; 255];
        for len in 0..=255 {
            map.insert(Name::new(&long[..len]), len);
        }
        for len in 0..=255 {
            assert_eq!(map.get(&long[..len]), Some(&len));
        }
    }
}
