//! Extended attributes of an image: shared ones by number, and a node's own behind it.

use super::image::{CORRUPT, Image, Node};
use super::layout::{XattrEntry, XattrHead};
use crate::Result;

/// What names begin with, by number.
const KINDS: [&[u8]; 7] = [
    b"",
    b"user.",
    b"system.posix_acl_access",
    b"system.posix_acl_default",
    b"trusted.",
    b"lustre.",
    b"security.",
];

/// Calls `tell` with each name, and what gets its value.
pub fn each(
    image: &Image,
    node: &Node,
    mut tell: impl FnMut(&[u8], &dyn Fn() -> Result<Vec<u8>>),
) -> Result<()> {
    let (start, len) = node.xattrs;
    if len == 0 {
        return Ok(());
    }
    let end = start + len;
    let head: XattrHead = image.structure(start)?;
    let ids = start + size_of::<XattrHead>() as u64;
    let mut at = ids + 4 * u64::from(head.shared);
    if at > end {
        return Err(CORRUPT);
    }
    for index in 0..u64::from(head.shared) {
        let id: zerocopy::little_endian::U32 = image.structure(ids + 4 * index)?;
        one(image, image.shared_xattr(id.get()), &mut tell)?;
    }
    // Whatever is left is padding when it is too short for an entry, or empty.
    while at + size_of::<XattrEntry>() as u64 <= end {
        at = one(image, at, &mut tell)?;
        if at > end {
            return Err(CORRUPT);
        }
    }
    Ok(())
}

/// The entry at `at`; where the next one is.
fn one(image: &Image, at: u64, tell: &mut impl FnMut(&[u8], &dyn Fn() -> Result<Vec<u8>>)) -> Result<u64> {
    let entry: XattrEntry = image.structure(at)?;
    let prefix = *KINDS.get(usize::from(entry.kind)).filter(|_| entry.kind > 0).ok_or(CORRUPT)?;
    let name_at = at + size_of::<XattrEntry>() as u64;
    let value_at = name_at + u64::from(entry.name_len);
    let value_len = usize::from(entry.value_len.get());
    let mut name = vec![0; prefix.len() + usize::from(entry.name_len)];
    name[..prefix.len()].copy_from_slice(prefix);
    image.read(name_at, &mut name[prefix.len()..])?;
    let value = || {
        let mut value = vec![0; value_len];
        image.read(value_at, &mut value)?;
        Ok(value)
    };
    if name.len() <= abi::xattr::XATTR_NAME_MAX && !name.contains(&0) {
        tell(&name, &value);
    }
    Ok((value_at + value_len as u64).next_multiple_of(4))
}
