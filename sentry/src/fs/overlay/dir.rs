//! Listing directories of an overlay.
//!
//! What is merged of several layers is put together when the listing begins, and kept by the open directory until it is
//! read from the beginning again.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use abi::Errno;
use abi::dirent::{DT_CHR, DT_DIR};
use abi::open::OpenFlags;
use sync::Mutex;

use super::layer::is_whiteout;
use super::node::node;
use super::{Key, Overlay, overlay_of};
use crate::Result;
use crate::vfs::{Blocking, File, FileOps, Inode, IoSink, Name, NameHash, SeekFrom};

/// A name, its inode number, its type.
type Entry = (Name, u64, u8);

/// An open directory.
pub struct OverlayDirFile {
    inode: Arc<Inode>,
    listing: Mutex<Option<Arc<Vec<Entry>>>, sync::levels::FileState>,
}

impl OverlayDirFile {
    pub fn new(inode: Arc<Inode>) -> OverlayDirFile {
        OverlayDirFile { inode, listing: Mutex::new(None) }
    }

    fn listing(&self, from_start: bool) -> Result<Arc<Vec<Entry>>> {
        if !from_start && let Some(listing) = &*self.listing.lock() {
            return Ok(Arc::clone(listing));
        }
        let new = Arc::new(list(&self.inode)?);
        let old = self.listing.lock().replace(Arc::clone(&new));
        drop(old);
        Ok(new)
    }
}

/// The first position behind the dots.
const FIRST: u64 = 2;

impl FileOps for OverlayDirFile {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, _file: &File, _dst: &mut dyn IoSink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        to.without_end(current)
    }

    fn read_dir(&self, _file: &File, offset: u64, emit: &mut crate::vfs::file::EmitEntry<'_>) -> Result<u64> {
        let listing = self.listing(offset <= FIRST)?;
        let mut position = offset.max(FIRST);
        let start = usize::try_from(position - FIRST).unwrap_or(usize::MAX);
        for (name, ino, kind) in listing.get(start..).unwrap_or_default() {
            if !emit(name.as_bytes(), *ino, position + 1, *kind) {
                break;
            }
            position += 1;
        }
        Ok(position)
    }

    fn sync(&self, _file: &File, _data_only: bool) -> Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// All that the guest sees in a directory.
pub fn list(dir: &Arc<Inode>) -> Result<Vec<Entry>> {
    let overlay = overlay_of(&dir.sb)?;
    let this = node(dir)?;
    let mut entries = Vec::new();
    let mut seen: HashSet<Name, NameHash> = HashSet::default();
    let layers = this.lowers().len() + usize::from(this.upper.get().is_some());
    let mut left = layers;
    if let Some(upper) = this.upper.get() {
        left -= 1;
        let layer = overlay.upper_layer()?;
        for (name, ino, kind) in list_layer(overlay, layer, upper)? {
            if kind == DT_CHR && is_hidden(overlay, upper, &name)? {
                seen.insert(name);
                continue;
            }
            // A directory that is merged has the number of its lower one.
            let number = match kind {
                DT_DIR if !this.lowers().is_empty() => number_of(dir, overlay, &name, ino),
                _ => overlay.number(Key::Upper(ino)),
            };
            if left > 0 {
                seen.insert(name.clone());
            }
            entries.push((name, number, kind));
        }
    }
    for (index, lower) in this.lowers() {
        left -= 1;
        let Some(layer) = overlay.lowers.get(usize::from(*index)) else { continue };
        for (name, ino, kind) in list_layer(overlay, layer, lower)? {
            if seen.contains(&name) {
                continue;
            }
            if left > 0 {
                seen.insert(name.clone());
            }
            if kind == DT_CHR && is_hidden(overlay, lower, &name)? {
                continue;
            }
            entries.push((name, overlay.number(Key::Lower(*index, ino)), kind));
        }
    }
    Ok(entries)
}

fn number_of(dir: &Arc<Inode>, overlay: &Overlay, name: &Name, ino: u64) -> u64 {
    let found = super::lookup::lookup_run(dir, &[name.as_bytes()]).ok();
    match found.and_then(|run| run.found.into_iter().next()) {
        Some(inode) => inode.ino,
        None => overlay.number(Key::Upper(ino)),
    }
}

fn is_hidden(overlay: &Overlay, dir: &Arc<Inode>, name: &Name) -> Result<bool> {
    let found = dir.ops().lookup(dir, name.as_bytes(), &overlay.caller())?;
    Ok(found.is_none_or(|inode| is_whiteout(&inode)))
}

pub(super) fn list_layer(
    overlay: &Overlay,
    layer: &super::layer::Layer,
    dir: &Arc<Inode>,
) -> Result<Vec<Entry>> {
    let file = layer.open(overlay, dir, OpenFlags::DIRECTORY)?;
    let mut entries = Vec::new();
    let mut position = FIRST;
    loop {
        let before = entries.len();
        position = file.ops().read_dir(&file, position, &mut |name, ino, _, kind| {
            entries.push((Name::new(name), ino, kind));
            true
        })?;
        if entries.len() == before {
            return Ok(entries);
        }
    }
}
