//! EROFS: read-only images, as mkfs.erofs makes them, with LZ4 or without compression.
//!
//! **The image is hostile.** Nothing in it is believed: `image` reads bytes and checks that they lie in it, `layout` has
//! its structures, and what does not fit together is EUCLEAN, as on Linux. Directories are a tree by construction: one is
//! only found where its own `..` says (an image with loops would hang whoever walks up).
//!
//! - [`Erofs`]: the file system; an inode a node number, made when it is looked up. Nothing is kept of contents: they are
//!   read from the image, and whole pages are mapped from it. Only the last piece of a file, which lies between metadata,
//!   is copied to be mapped.
//! - `dir`, `file`, `xattr`: what is in a node. `compressed`: files in LZ4 blocks.
//!
//! Not understood (EOPNOTSUPP at mount, as by a kernel without it): other algorithms than LZ4, tails and fragments
//! of compressed files elsewhere, several devices, 48-bit blocks.
//!
//! Lock levels: `InodeData` for copied pages, `Leaf` for the table of inodes.

mod compressed;
mod dir;
mod file;
mod image;
mod layout;
mod node;
#[cfg(test)]
mod tests;
mod xattr;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::open::OpenFlags;
use platform::MemoryFile;
use sync::Mutex;

use crate::Result;
use crate::vfs::open::Opening;
use crate::vfs::resolve::{LookupFlags, lookup};
use crate::vfs::{
    Caller, Dentry, File, FileSystemType, Inode, MountRequest, Path, StatFs, SuperBlock, SuperBlockOps, Want,
};
use image::{FileImage, Image, Source};

const MAGIC: i64 = 0xe0f5_e1e2;

/// One image, mounted.
struct Erofs {
    image: Image,
    memory: Arc<MemoryFile>,
    /// The one inode of each node that is known.
    inodes: Mutex<HashMap<u64, Weak<Inode>>, sync::levels::Leaf>,
}

/// Mounts the image that `file` holds: its root.
pub fn new_root(file: Arc<File>, memory: &Arc<MemoryFile>) -> Result<Arc<Dentry>> {
    mount(Box::new(FileImage::new(file)?), memory)
}

fn mount(source: Box<dyn Source>, memory: &Arc<MemoryFile>) -> Result<Arc<Dentry>> {
    let image = Image::open(source)?;
    let root = image.root();
    let erofs = Erofs { image, memory: Arc::clone(memory), inodes: Mutex::default() };
    let sb = SuperBlock::new(Box::new(erofs));
    sb.set_read_only(true);
    let inode = node::inode(&sb, root)?;
    if !inode.is_dir() {
        return Err(Errno::EINVAL);
    }
    Ok(Dentry::new_root(inode))
}

/// The image file at `place`, opened for [`new_root`].
pub fn open_image(place: Path, caller: &Caller<'_>) -> Result<Arc<File>> {
    if !place.inode().is_regular() {
        return Err(Errno::ENOTBLK);
    }
    match caller.open_place(place, OpenFlags::empty(), Want::READ)? {
        Opening::Done(file) => Ok(file),
        Opening::Waiting(_) | Opening::Leased(_) => Err(Errno::ENOTBLK),
    }
}

fn erofs_of(sb: &SuperBlock) -> Result<&Erofs> {
    sb.downcast::<Erofs>().ok_or(Errno::EXDEV)
}

impl SuperBlockOps for Erofs {
    fn kind(&self) -> &'static str {
        "erofs"
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs {
            magic: MAGIC,
            block_size: self.image.block_size(),
            blocks: self.image.blocks(),
            files: self.image.inodes(),
            name_max: abi::NAME_MAX as u64,
            ..StatFs::default()
        })
    }

    fn options(&self) -> String {
        "user_xattr,acl,cache_strategy=readaround".to_owned()
    }
}

/// The kind of file system: the source of a mount is the image's path.
pub struct ErofsType;

impl FileSystemType for ErofsType {
    fn name(&self) -> &'static str {
        "erofs"
    }

    fn needs_device(&self) -> bool {
        true
    }

    fn mount(&self, request: &MountRequest<'_>, caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        for option in request.options.split(|b| *b == b',').filter(|option| !option.is_empty()) {
            let strategy = option.strip_prefix(b"cache_strategy=");
            let known = matches!(option, b"user_xattr" | b"nouser_xattr" | b"acl" | b"noacl")
                || strategy.is_some_and(|s| matches!(s, b"disabled" | b"readahead" | b"readaround"));
            if !known {
                return Err(Errno::EINVAL);
            }
        }
        let place = lookup(caller, &caller.roots.cwd, request.source, LookupFlags::FOLLOW)?;
        new_root(open_image(place, caller)?, caller.vfs.memory())
    }
}
