//! Files whose text is made when they are read, and some that can be written.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::open::OpenFlags;
use abi::stat::S_IFREG;
use sync::Mutex;

use super::attr;
use crate::Result;
use crate::vfs::permission::{Want, generic_permission};
use crate::vfs::{
    Attr, Blocking, Caller, File, FileOps, Inode, InodeOps, IoSink, IoSource, SeekFrom, SetAttr, SuperBlock,
};

/// The longest text that a write can bring at once.
const MAX_WRITE: usize = 4096;

/// What a text file says and takes.
pub trait Text: Send + Sync + Any {
    /// Its text now, as `file`'s opener may see it.
    fn read(&self, file: &File) -> Result<Vec<u8>>;

    /// Takes a text; EINVAL where nothing can be written (a mode without write bits comes first).
    fn write(&self, _file: &File, _text: &[u8]) -> Result<()> {
        Err(Errno::EINVAL)
    }

    /// Mode, owner and group now.
    fn owner(&self) -> (u32, u32, u32);

    /// Whether `caller` may open it at all, beyond what modes say.
    fn open(&self, _caller: &Caller<'_>) -> Result<()> {
        Ok(())
    }

    /// Whether `caller` may do what it `want`s; the inode has the owner of now.
    fn permission(&self, inode: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        generic_permission(inode, caller.creds, want)
    }
}

/// A text without a state: what it says comes from a function.
struct Fixed<F> {
    mode: u32,
    say: F,
}

impl<F: Fn() -> Result<Vec<u8>> + Send + Sync + 'static> Text for Fixed<F> {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        (self.say)()
    }

    fn owner(&self) -> (u32, u32, u32) {
        (self.mode, 0, 0)
    }
}

/// A regular file with a text.
pub struct TextFile<T>(pub T);

impl<T: Text> TextFile<T> {
    /// Its inode.
    pub fn inode(sb: &Arc<SuperBlock>, text: T) -> Arc<Inode> {
        let (mode, uid, gid) = text.owner();
        let attr = attr(sb.next_ino(), S_IFREG | mode, 1, uid, gid);
        Inode::new(sb, &attr, Box::new(TextFile(text)))
    }
}

impl TextFile<()> {
    /// A file of root's that everyone may read.
    pub fn fixed(
        sb: &Arc<SuperBlock>,
        mode: u32,
        say: impl Fn() -> Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Arc<Inode> {
        TextFile::inode(sb, Fixed { mode, say })
    }
}

impl<T: Text> InodeOps for TextFile<T> {
    fn attr(&self, inode: &Inode) -> Result<Attr> {
        let (mode, uid, gid) = self.0.owner();
        inode.set_owner(S_IFREG | mode, uid, gid);
        Ok(attr(inode.ino, S_IFREG | mode, 1, uid, gid))
    }

    fn set_attr(&self, _inode: &Arc<Inode>, change: &SetAttr) -> Result<()> {
        // Truncation by O_TRUNC means nothing here; the rest is refused.
        let truncates = change.size.is_some();
        let others = change.permissions.is_some() || change.uid.is_some() || change.gid.is_some();
        if truncates && !others { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn permission(&self, inode: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        let (mode, uid, gid) = self.0.owner();
        inode.set_owner(S_IFREG | mode, uid, gid);
        self.0.permission(inode, caller, want)
    }

    fn open(&self, inode: &Arc<Inode>, _flags: OpenFlags, caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        self.0.open(caller)?;
        Ok(Box::new(OpenText::<T> {
            inode: Arc::clone(inode),
            text: Mutex::default(),
            what: std::marker::PhantomData,
        }))
    }
}

/// An open text: what it said when reading began at the front.
struct OpenText<T> {
    inode: Arc<Inode>,
    text: Mutex<Option<Arc<[u8]>>, sync::levels::FileState>,
    what: std::marker::PhantomData<fn() -> T>,
}

impl<T: Text> OpenText<T> {
    fn source(&self) -> Result<&T> {
        Ok(&self.inode.downcast::<TextFile<T>>().ok_or(Errno::EIO)?.0)
    }

    fn text(&self, file: &File, offset: u64) -> Result<Arc<[u8]>> {
        if offset != 0
            && let Some(text) = self.text.lock().clone()
        {
            return Ok(text);
        }
        let text: Arc<[u8]> = self.source()?.read(file)?.into();
        *self.text.lock() = Some(Arc::clone(&text));
        Ok(text)
    }
}

impl<T: Text> FileOps for OpenText<T> {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn seekable(&self) -> bool {
        true
    }

    fn read(&self, file: &File, dst: &mut dyn IoSink, offset: u64) -> Result<usize> {
        let text = self.text(file, offset)?;
        match text.get(offset.min(usize::MAX as u64) as usize..) {
            Some(rest) if !rest.is_empty() => dst.put(rest),
            _ => Ok(0),
        }
    }

    fn write(&self, file: &File, src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize> {
        let mut buffer = vec![0u8; src.remaining().min(MAX_WRITE)];
        let n = src.take(&mut buffer)?;
        self.source()?.write(file, &buffer[..n])?;
        Ok(n)
    }

    fn seek(&self, _file: &File, current: u64, to: SeekFrom) -> Result<u64> {
        to.without_end(current)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
