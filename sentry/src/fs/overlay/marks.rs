//! The extended attributes in which overlayfs keeps what it has to know, and how a guest's own of such names are kept.

use std::sync::Arc;

use crate::Result;
use crate::vfs::{Inode, XattrSet};

/// Names of the marks: those of the administrator, or (`userxattr`) those of everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    prefix: &'static [u8],
    opaque: &'static [u8],
    redirect: &'static [u8],
}

/// `trusted.overlay.*`
pub const TRUSTED: Marks = Marks {
    prefix: b"trusted.overlay.",
    opaque: b"trusted.overlay.opaque",
    redirect: b"trusted.overlay.redirect",
};

/// `user.overlay.*`
pub const USER: Marks =
    Marks { prefix: b"user.overlay.", opaque: b"user.overlay.opaque", redirect: b"user.overlay.redirect" };

/// Behind the prefix: the name is the guest's own, and has the prefix itself.
const ESCAPE: &[u8] = b"overlay.";

impl Marks {
    /// Whether the overlay keeps something of its own under this name of a layer.
    pub fn is_own(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.prefix).is_some_and(|rest| !rest.starts_with(ESCAPE))
    }

    /// Under which name a layer keeps what the guest calls `name`.
    pub fn in_layer(&self, name: &[u8]) -> Vec<u8> {
        match name.strip_prefix(self.prefix) {
            Some(rest) => [self.prefix, ESCAPE, rest].concat(),
            None => name.to_vec(),
        }
    }

    /// What the guest calls what a layer keeps under `name`; `None` for the overlay's own.
    pub fn in_guest(&self, name: Vec<u8>) -> Option<Vec<u8>> {
        match name.strip_prefix(self.prefix) {
            None => Some(name),
            Some(rest) => rest.strip_prefix(ESCAPE).map(|rest| [self.prefix, rest].concat()),
        }
    }

    /// Whether a directory of a layer hides what is below it.
    pub fn is_opaque(&self, inode: &Inode) -> bool {
        inode.ops().get_xattr(inode, self.opaque).is_ok_and(|value| value == b"y")
    }

    /// Makes a directory of the upper layer hide what is below it.
    pub fn set_opaque(&self, inode: &Arc<Inode>) -> Result<()> {
        inode.ops().set_xattr(inode, self.opaque, b"y", XattrSet::Any)
    }

    /// Where the lower directories of a moved one are: a path from the layer's root, or a name beside it.
    pub fn redirect(&self, inode: &Inode) -> Option<Vec<u8>> {
        inode.ops().get_xattr(inode, self.redirect).ok().filter(|value| !value.is_empty())
    }

    /// Says where the lower directories of a moved one are.
    pub fn set_redirect(&self, inode: &Arc<Inode>, path: &[u8]) -> Result<()> {
        inode.ops().set_xattr(inode, self.redirect, path, XattrSet::Any)
    }

    /// Which marks a layer can keep that `dir` is in: a tree of the host only those of everyone, as the Gofer has no right
    /// to others. Where neither go, what would need one fails.
    pub fn kept_by(dir: &Arc<Inode>) -> Marks {
        let keeps = |marks: &Marks| {
            let probe = [marks.prefix, b"probe"].concat();
            let kept = dir.ops().set_xattr(dir, &probe, b"y", XattrSet::Any).is_ok();
            kept && dir.ops().remove_xattr(dir, &probe).is_ok()
        };
        [TRUSTED, USER].into_iter().find(keeps).unwrap_or(TRUSTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_kept_apart_from_the_guests() {
        assert!(TRUSTED.is_own(b"trusted.overlay.opaque"));
        assert!(!TRUSTED.is_own(b"trusted.overlay.overlay.opaque"));
        assert!(!TRUSTED.is_own(b"user.overlay.opaque"));
        for name in
            [&b"trusted.overlay.opaque"[..], b"trusted.overlay.overlay.x", b"user.a", b"user.overlay.opaque"]
        {
            for marks in [TRUSTED, USER] {
                let kept = marks.in_layer(name);
                assert!(!marks.is_own(&kept));
                assert_eq!(marks.in_guest(kept).as_deref(), Some(name));
            }
        }
        assert_eq!(TRUSTED.in_guest(b"trusted.overlay.opaque".to_vec()), None);
    }
}
