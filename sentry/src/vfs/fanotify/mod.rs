//! fanotify(7): who listens to which files, mounts and file systems, is told what happens, and may be asked before.
//!
//! - [`Fanotify`]: what fanotify_init(2) opens: a [`Group`], with its marks and a queue of events.
//! - `mark`: marks, which hang on inodes, mounts and super blocks.
//! - `tell`: which groups an event is for. `event`: the queue. `read`: events as they are read. `ask`: permission events.
//!
//! Pre-content events (FAN_PRE_ACCESS) are refused as on file systems that do not offer them.
//!
//! Lock levels: `FileState` for the marks of a group, `Leaf` for its queue, its questions and the list of an object.

mod ask;
mod event;
mod mark;
mod read;
mod tell;

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use abi::Errno;
use abi::fanotify::{FanInit, FanMark, FanMask};
use abi::open::OpenFlags;
use abi::poll::PollEvents;
use sync::Mutex;

use self::ask::Question;
use self::event::Queue;
pub use self::mark::{Kind, Marks, Object};
use self::mark::{Mark, Table};
pub use self::read::EVENT_FILE_FLAGS;
pub(super) use self::tell::{Happening, ask, cares_for_the_end_of, gone, tell, tell_with_parent};
use super::file::{Blocking, File, FileOps};
use super::handle;
use super::io::IoSource;
use crate::wait::WaitQueue;
use crate::{Result, SysResult};

/// Groups of one user at most (`/proc/sys/fs/fanotify/max_user_groups`).
pub const MAX_USER_GROUPS: usize = 128;
/// Marks of one user at most, those of groups with FAN_UNLIMITED_MARKS apart
/// (`/proc/sys/fs/fanotify/max_user_marks`), and of each of those.
pub const MAX_USER_MARKS: usize = 65_536;
/// Events that wait in a queue at most (`/proc/sys/fs/fanotify/max_queued_events`).
pub const MAX_QUEUED: usize = 16_384;
/// The same with FAN_UNLIMITED_QUEUE.
const MAX_QUEUED_UNLIMITED: usize = 65_536;

/// The groups and marks of a user.
#[derive(Clone, Copy, Default)]
struct Usage {
    groups: usize,
    marks: usize,
}

static USERS: LazyLock<Mutex<HashMap<u32, Usage>, sync::levels::Leaf>> = LazyLock::new(Mutex::default);

/// Who makes a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Founder {
    /// Effective user id, which the group counts for.
    pub uid: u32,
    /// Has CAP_SYS_ADMIN: else the group sees no files and of the processes only its own.
    pub privileged: bool,
}

/// An fanotify group as a file.
pub struct Fanotify {
    group: Arc<Group>,
}

/// What a group and its marks share.
pub struct Group {
    flags: FanInit,
    event_flags: OpenFlags,
    founder: Founder,
    queue: Mutex<Queue, sync::levels::Leaf>,
    waiters: WaitQueue,
    marks: Mutex<Table, sync::levels::FileState>,
    /// Permission events that have been read and wait for their answers.
    asked: Mutex<Vec<Arc<Question>>, sync::levels::Leaf>,
    /// Told when there is an answer.
    answered: WaitQueue,
}

/// What fanotify_mark(2) changes of a mark.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Events and to what they apply; or, as `flags` say, those to ignore.
    pub mask: FanMask,
    /// Bits that can't be taken off, and that alone keep no mark.
    pub fixed: FanMask,
    /// The flags of the call.
    pub flags: FanMark,
}

impl Fanotify {
    /// A group without marks. `event_flags`: how the files of events are opened. EMFILE when its user has too many.
    pub fn new(flags: FanInit, event_flags: OpenFlags, founder: Founder) -> Result<Fanotify> {
        {
            let mut users = USERS.lock();
            let usage = users.entry(founder.uid).or_default();
            if usage.groups >= MAX_USER_GROUPS {
                return Err(Errno::EMFILE);
            }
            usage.groups += 1;
        }
        let unlimited = flags.contains(FanInit::UNLIMITED_QUEUE);
        let group = Group {
            flags,
            event_flags,
            founder,
            queue: Mutex::new(Queue::new(if unlimited { MAX_QUEUED_UNLIMITED } else { MAX_QUEUED })),
            waiters: WaitQueue::new(),
            marks: Mutex::default(),
            asked: Mutex::default(),
            answered: WaitQueue::new(),
        };
        Ok(Fanotify { group: Arc::new(group) })
    }

    /// The flags of fanotify_init(2).
    pub fn flags(&self) -> FanInit {
        self.group.flags
    }

    /// Whether it was made with CAP_SYS_ADMIN.
    pub fn is_privileged(&self) -> bool {
        self.group.founder.privileged
    }

    /// FAN_MARK_ADD: ENOSPC for one mark too many, EEXIST for a change that a mark can't make.
    pub fn add(&self, object: Object, change: &Change) -> Result<()> {
        self.group.add(object, change)
    }

    /// FAN_MARK_REMOVE: ENOENT when there is no such mark.
    pub fn remove(&self, object: &Object, change: &Change) -> Result<()> {
        self.group.remove_from(object, change)
    }

    /// FAN_MARK_FLUSH: removes all marks of one kind.
    pub fn flush(&self, kind: Kind) {
        self.group.flush(|object| object.kind() == kind);
    }
}

impl Group {
    /// Those with a higher one are told first.
    fn priority(&self) -> u32 {
        (self.flags & (FanInit::CLASS_CONTENT | FanInit::CLASS_PRE_CONTENT)).bits()
    }

    fn count_mark(&self) -> Result<()> {
        if self.flags.contains(FanInit::UNLIMITED_MARKS) {
            return Ok(());
        }
        let mut users = USERS.lock();
        let usage = users.entry(self.founder.uid).or_default();
        if usage.marks >= MAX_USER_MARKS {
            return Err(Errno::ENOSPC);
        }
        usage.marks += 1;
        Ok(())
    }

    fn count_off_marks(&self, marks: usize) {
        if !self.flags.contains(FanInit::UNLIMITED_MARKS)
            && let Some(usage) = USERS.lock().get_mut(&self.founder.uid)
        {
            usage.marks -= marks;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let mut users = USERS.lock();
        if let Some(usage) = users.get_mut(&self.founder.uid) {
            usage.groups -= 1;
            if usage.groups == 0 && usage.marks == 0 {
                users.remove(&self.founder.uid);
            }
        }
    }
}

impl FileOps for Fanotify {
    fn blocking(&self) -> Blocking {
        Blocking::Record
    }

    fn write(&self, _file: &File, src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize> {
        self.group.take_answer(src)
    }

    fn poll(&self, _file: &File) -> PollEvents {
        if self.group.queue.lock().is_empty() {
            PollEvents::empty()
        } else {
            PollEvents::IN | PollEvents::RDNORM
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.group.waiters)
    }

    fn ioctl(
        &self,
        _file: &File,
        task: &mut crate::task::CurrentTask,
        request: u32,
        arg: u64,
    ) -> SysResult<u64> {
        if request != abi::ioctl::FIONREAD {
            return Err(Errno::ENOTTY.into());
        }
        // Only the heads count.
        let bytes = self.group.queue.lock().len() * size_of::<abi::fanotify::FanotifyEventMetadata>();
        task.write_obj(crate::mm::UserRef::new(crate::mm::UserAddr(arg)), &(bytes as i32))?;
        Ok(0)
    }

    fn release(&self, _file: &File) {
        self.group.flush(|_| true);
        let left = self.group.queue.lock().close();
        let asked = std::mem::take(&mut *self.group.asked.lock());
        // Whoever waits for an answer may go on.
        left.iter().filter_map(event::Event::question).chain(&asked).for_each(|question| question.allow());
        self.group.answered.notify(PollEvents::IN);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        "anon_inode:[fanotify]".to_owned()
    }

    fn fdinfo(&self, _file: &File) -> String {
        let group = &self.group;
        let mut text =
            format!("fanotify flags:{:x} event-flags:{:x}\n", group.flags.bits(), group.event_flags.bits());
        for mark in group.marks_newest_first() {
            describe(&mark, &mut text);
        }
        text
    }
}

/// A line of fdinfo.
fn describe(mark: &Mark, text: &mut String) {
    let state = mark.state();
    let (flags, mask, ignored) = (state.flags.bits(), state.mask.bits(), state.ignored.bits());
    let masks = format!("mflags:{flags:x} mask:{mask:x} ignored_mask:{ignored:x}");
    // Writing to a string does not fail.
    let _ = match &mark.object {
        Object::Inode(inode) => {
            let bytes = handle::HANDLE_BYTES;
            let hex =
                handle::bytes(inode).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            writeln!(
                text,
                "fanotify ino:{:x} sdev:{:x} {masks} fhandle-bytes:{bytes:x} fhandle-type:{:x} f_handle:{hex}",
                inode.ino,
                inode.sb.dev,
                handle::HANDLE_TYPE
            )
        }
        Object::Mount(mount) => match mount.upgrade() {
            Some(mount) => writeln!(text, "fanotify mnt_id:{:x} {masks}", mount.id),
            None => Ok(()),
        },
        Object::FileSystem(sb) => match sb.upgrade() {
            Some(sb) => writeln!(text, "fanotify sdev:{:x} {masks}", sb.dev),
            None => Ok(()),
        },
    };
}
