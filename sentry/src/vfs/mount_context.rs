//! Configurations of file systems that are to be mounted, or mounted already: what fsopen(2) and fspick(2) give,
//! fsconfig(2) changes, and fsmount(2) makes a mount of.
//!
//! Lock level: `FileState`.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use abi::Errno;
use sync::Mutex;

use super::caller::Caller;
use super::dentry::Dentry;
use super::file::{Blocking, File, FileOps};
use super::io::IoSink;
use super::registry::{FileSystemType, MountRequest};
use super::super_block::SuperBlock;
use crate::Result;

/// Messages that are kept for read(2); older ones go.
const LOG_MAX: usize = 8;
/// Bytes of all options together.
const OPTIONS_MAX: usize = 4096;

/// What fsconfig(2) gives for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The key alone.
    Flag,
    /// A text.
    Text(&'a [u8]),
    /// Bytes, a path or a file: no file system here has such an option.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Options of a new file system are being collected.
    Create,
    /// It is there and waits to be mounted.
    Made,
    /// It is mounted; options of it are being collected.
    Reconfigure,
    /// It could not be made.
    Failed,
}

struct State {
    phase: Phase,
    source: Option<Vec<u8>>,
    options: Vec<u8>,
    read_only: Option<bool>,
    root: Option<Arc<Dentry>>,
    log: VecDeque<String>,
}

/// A configuration.
pub struct MountContext {
    kind: Arc<dyn FileSystemType>,
    state: Mutex<State, sync::levels::FileState>,
}

impl MountContext {
    fn new(kind: Arc<dyn FileSystemType>, phase: Phase, root: Option<Arc<Dentry>>) -> MountContext {
        let state =
            State { phase, source: None, options: Vec::new(), read_only: None, root, log: VecDeque::new() };
        MountContext { kind, state: Mutex::new(state) }
    }

    /// For a new file system of this kind.
    pub fn create(kind: Arc<dyn FileSystemType>) -> MountContext {
        Self::new(kind, Phase::Create, None)
    }

    /// For the file system that `root` is the root of.
    pub fn pick(kind: Arc<dyn FileSystemType>, root: Arc<Dentry>) -> MountContext {
        Self::new(kind, Phase::Reconfigure, Some(root))
    }

    /// The kind of file system.
    pub fn kind(&self) -> &Arc<dyn FileSystemType> {
        &self.kind
    }

    /// The file system, once there is one.
    pub fn sb(&self) -> Option<Arc<SuperBlock>> {
        self.state.lock().root.as_ref().map(|root| Arc::clone(&root.inode.sb))
    }

    /// Sets a parameter: EBUSY when it is too late, EINVAL for one that the file system does not know.
    pub fn set(&self, key: &[u8], value: Value<'_>) -> Result<()> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Create | Phase::Reconfigure) {
            return Err(Errno::EBUSY);
        }
        match key {
            b"ro" => state.read_only = Some(true),
            b"rw" => state.read_only = Some(false),
            // How eagerly things are written out: there is nothing that waits.
            b"sync" | b"async" | b"dirsync" | b"lazytime" | b"nolazytime" | b"mand" | b"nomand" => {}
            b"source" if state.phase == Phase::Create => match value {
                Value::Text(_) if state.source.is_some() => {
                    return Err(state.refuse("VFS: Multiple sources".to_owned()));
                }
                Value::Text(text) => state.source = Some(text.to_vec()),
                _ => return Err(state.refuse("VFS: Non-string source".to_owned())),
            },
            _ => {
                let mut option = key.to_vec();
                match value {
                    Value::Flag => {}
                    Value::Text(text) => {
                        option.push(b'=');
                        option.extend_from_slice(text);
                    }
                    Value::Other => return Err(state.unknown(self.kind.name(), key)),
                }
                // A comma would be the end of it for the file system.
                if option.contains(&b',') || state.options.len() + option.len() + 1 > OPTIONS_MAX {
                    return Err(Errno::EINVAL);
                }
                if let Err(errno) = self.kind.check_option(&option) {
                    let _ = state.unknown(self.kind.name(), key);
                    return Err(errno);
                }
                if !state.options.is_empty() {
                    state.options.push(b',');
                }
                state.options.extend_from_slice(&option);
            }
        }
        Ok(())
    }

    /// Whether a file system may be made now: EBUSY.
    pub fn may_create(&self) -> Result<()> {
        if self.state.lock().phase == Phase::Create { Ok(()) } else { Err(Errno::EBUSY) }
    }

    /// Makes the file system (FSCONFIG_CMD_CREATE).
    pub fn make(&self, caller: &Caller<'_>) -> Result<()> {
        let (source, options, read_only) = {
            let mut state = self.state.lock();
            if state.phase != Phase::Create {
                return Err(Errno::EBUSY);
            }
            // Nobody else makes it meanwhile.
            state.phase = Phase::Failed;
            let source = state.source.clone().unwrap_or_default();
            (source, std::mem::take(&mut state.options), state.read_only == Some(true))
        };
        let request = MountRequest { source: &source, options: &options, read_only };
        let root = self.kind.mount(&request, caller)?;
        if read_only {
            root.inode.sb.set_read_only(true);
        }
        root.inode.sb.set_owner(&caller.creds.user_ns);
        let mut state = self.state.lock();
        state.root = Some(root);
        state.phase = Phase::Made;
        Ok(())
    }

    /// Whether the file system may be changed now: EBUSY.
    pub fn may_reconfigure(&self) -> Result<()> {
        if self.state.lock().phase == Phase::Reconfigure { Ok(()) } else { Err(Errno::EBUSY) }
    }

    /// Gives the mounted file system the options collected (FSCONFIG_CMD_RECONFIGURE).
    pub fn reconfigure(&self) -> Result<()> {
        let (sb, options, read_only) = {
            let mut state = self.state.lock();
            if state.phase != Phase::Reconfigure {
                return Err(Errno::EBUSY);
            }
            let Some(root) = &state.root else { return Err(Errno::EINVAL) };
            let sb = Arc::clone(&root.inode.sb);
            (sb, std::mem::take(&mut state.options), state.read_only.take())
        };
        sb.reconfigure(&options, read_only.unwrap_or_else(|| sb.is_read_only()))
    }

    /// Root and source of the file system, to be mounted: EINVAL when there is none, EBUSY when it is mounted already.
    pub fn take_for_mount(&self) -> Result<(Arc<Dentry>, Vec<u8>)> {
        let mut state = self.state.lock();
        let root = state.root.clone().ok_or(Errno::EINVAL)?;
        if state.phase != Phase::Made {
            return Err(Errno::EBUSY);
        }
        state.phase = Phase::Reconfigure;
        state.read_only = None;
        Ok((root, state.source.clone().unwrap_or_else(|| b"none".to_vec())))
    }
}

impl State {
    fn refuse(&mut self, message: String) -> Errno {
        if self.log.len() == LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back(format!("e {message}\n"));
        Errno::EINVAL
    }

    fn unknown(&mut self, kind: &str, key: &[u8]) -> Errno {
        let key = String::from_utf8_lossy(key).into_owned();
        self.refuse(format!("{kind}: Unknown parameter '{key}'"))
    }
}

impl FileOps for MountContext {
    fn blocking(&self) -> Blocking {
        Blocking::Record
    }

    /// A message: what went wrong.
    fn read(&self, _file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize> {
        let message = {
            let mut state = self.state.lock();
            let message = state.log.front().ok_or(Errno::ENODATA)?;
            if message.len() > dst.remaining() {
                return Err(Errno::EMSGSIZE);
            }
            state.log.pop_front().ok_or(Errno::ENODATA)?
        };
        dst.put(message.as_bytes())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        "anon_inode:[fscontext]".to_owned()
    }
}

/// An open tree of mounts that is nowhere: it goes with the file unless it has been moved to a place.
pub struct DetachedTree {
    _tree: Arc<super::MountNamespace>,
}

impl DetachedTree {
    /// Holds `tree`.
    pub fn new(tree: Arc<super::MountNamespace>) -> DetachedTree {
        DetachedTree { _tree: tree }
    }
}

impl FileOps for DetachedTree {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
