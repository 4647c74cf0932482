//! A file that was opened for reading while only a lower layer had it: once it has been copied up, it shows the copy, as
//! on Linux. Mappings of it show the old contents.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use abi::open::OpenFlags;

use super::node::node;
use super::overlay_of;
use crate::Result;
use crate::SysResult;
use crate::mm::Mappable;
use crate::task::CurrentTask;
use crate::vfs::{Blocking, File, FileOps, Inode, IoSink, SeekFrom};

/// The open file.
pub struct OverlayFile {
    inode: Arc<Inode>,
    flags: OpenFlags,
    lower: Box<dyn FileOps>,
    upper: OnceLock<Box<dyn FileOps>>,
}

impl OverlayFile {
    /// `lower` is the layer's own open file.
    pub fn new(inode: Arc<Inode>, flags: OpenFlags, lower: Box<dyn FileOps>) -> OverlayFile {
        OverlayFile { inode, flags, lower, upper: OnceLock::new() }
    }

    /// The layer's file that counts now.
    fn now(&self) -> &dyn FileOps {
        if let Some(upper) = self.upper.get() {
            return &**upper;
        }
        match self.open_upper() {
            // Should another thread have been faster, theirs is taken.
            Ok(Some(opened)) => &**self.upper.get_or_init(|| opened),
            _ => &*self.lower,
        }
    }

    fn open_upper(&self) -> Result<Option<Box<dyn FileOps>>> {
        let Some(upper) = node(&self.inode)?.upper.get() else { return Ok(None) };
        let overlay = overlay_of(&self.inode.sb)?;
        upper.ops().open(upper, self.flags, &overlay.caller()).map(Some)
    }
}

impl FileOps for OverlayFile {
    fn blocking(&self) -> Blocking {
        self.lower.blocking()
    }

    fn seekable(&self) -> bool {
        self.lower.seekable()
    }

    fn read(&self, file: &File, dst: &mut dyn IoSink, offset: u64) -> Result<usize> {
        self.now().read(file, dst, offset)
    }

    fn seek(&self, file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        self.now().seek(file, current, to)
    }

    fn ioctl(&self, file: &File, task: &mut CurrentTask, request: u32, arg: u64) -> SysResult<u64> {
        self.now().ioctl(file, task, request, arg)
    }

    fn direct(&self) -> bool {
        true
    }

    fn mappable(&self, file: &File) -> Result<Arc<dyn Mappable>> {
        self.lower.mappable(file)
    }

    fn sync(&self, file: &File, data_only: bool) -> Result<()> {
        self.now().sync(file, data_only)
    }

    fn flags_changed(&self, file: &File, flags: OpenFlags) -> Result<()> {
        self.now().flags_changed(file, flags)
    }

    fn release(&self, file: &File) {
        self.lower.release(file);
        if let Some(upper) = self.upper.get() {
            upper.release(file);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self.now().as_any()
    }
}
