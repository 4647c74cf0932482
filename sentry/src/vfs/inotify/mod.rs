//! inotify(7): who watches which files, and is told what happens to them.
//!
//! - [`Inotify`]: what inotify_init(2) opens: a queue of events and the watches that fill it.
//! - `watch`: the watches of one inode, which hang on it; what happened is told by [`notify`] and its relatives
//!   (from `vfs::notify`).
//!
//! Lock levels: `FileState` for the watches of an instance, `Leaf` for its queue and for the list of an inode.

mod event;
mod watch;

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use abi::Errno;
use abi::inotify::{IN_ALL_EVENTS, InotifyMask};
use abi::poll::PollEvents;
use sync::Mutex;

use super::file::{Blocking, File, FileOps};
use super::inode::Inode;
use super::io::IoSink;
use crate::wait::WaitQueue;
use crate::{Result, SysResult};
pub(super) use event::Event;
pub use event::MAX_QUEUED;
use event::Queue;
use watch::Watch;
pub use watch::Watches;
pub(super) use watch::{gone, notify, notify_entry, notify_inode, notify_moved};

/// Instances of one user at most (`/proc/sys/fs/inotify/max_user_instances`).
pub const MAX_USER_INSTANCES: usize = 128;
/// Watches of one user at most (`/proc/sys/fs/inotify/max_user_watches`).
pub const MAX_USER_WATCHES: usize = 65_536;

/// The instances and watches of a user.
#[derive(Clone, Copy, Default)]
struct Usage {
    instances: usize,
    watches: usize,
}

/// By user id.
static USERS: LazyLock<Mutex<HashMap<u32, Usage>, sync::levels::Leaf>> = LazyLock::new(Mutex::default);

/// Takes back `instances` and `watches` of a user.
fn give_back(uid: u32, instances: usize, watches: usize) {
    let mut users = USERS.lock();
    if let Some(usage) = users.get_mut(&uid) {
        usage.instances -= instances;
        usage.watches -= watches;
        if usage.instances == 0 && usage.watches == 0 {
            users.remove(&uid);
        }
    }
}

/// An inotify instance.
pub struct Inotify {
    shared: Arc<Instance>,
}

/// What an instance and its watches share.
pub(super) struct Instance {
    queue: Mutex<Queue, sync::levels::Leaf>,
    waiters: WaitQueue,
    watches: Mutex<Table, sync::levels::FileState>,
    /// The user that it counts for.
    uid: u32,
}

#[derive(Default)]
struct Table {
    by_wd: HashMap<i32, Arc<Watch>>,
    last: i32,
}

impl Inotify {
    /// An instance that watches nothing, of the user `uid`. EMFILE when that one has too many.
    pub fn new(uid: u32) -> Result<Inotify> {
        {
            let mut users = USERS.lock();
            let usage = users.entry(uid).or_default();
            if usage.instances >= MAX_USER_INSTANCES {
                return Err(Errno::EMFILE);
            }
            usage.instances += 1;
        }
        let shared =
            Instance { queue: Mutex::default(), waiters: WaitQueue::new(), watches: Mutex::default(), uid };
        Ok(Inotify { shared: Arc::new(shared) })
    }

    /// inotify_add_watch(2): watches `inode`, or changes what it is watched for; answers the watch's number.
    pub fn watch(&self, inode: &Arc<Inode>, mask: InotifyMask) -> Result<i32> {
        let wanted = mask
            & (InotifyMask::from_bits_retain(IN_ALL_EVENTS)
                | InotifyMask::ONESHOT
                | InotifyMask::EXCL_UNLINK);
        let mut table = self.shared.watches.lock();
        if let Some(there) = inode.watches().of(&self.shared) {
            if mask.contains(InotifyMask::MASK_CREATE) {
                return Err(Errno::EEXIST);
            }
            let old = if mask.contains(InotifyMask::MASK_ADD) { there.mask() } else { InotifyMask::empty() };
            there.set_mask(old | wanted);
            inode.watches().update();
            return Ok(there.wd);
        }
        {
            let mut users = USERS.lock();
            let usage = users.entry(self.shared.uid).or_default();
            if usage.watches >= MAX_USER_WATCHES {
                return Err(Errno::ENOSPC);
            }
            usage.watches += 1;
        }
        // Numbers are not used again before all have been used.
        loop {
            table.last = table.last.checked_add(1).unwrap_or(1);
            if !table.by_wd.contains_key(&table.last) {
                break;
            }
        }
        let wd = table.last;
        let watch = Watch::new(wd, wanted, inode, &self.shared);
        inode.watches().add(&watch);
        table.by_wd.insert(wd, watch);
        Ok(wd)
    }

    /// inotify_rm_watch(2).
    pub fn unwatch(&self, wd: i32) -> Result<()> {
        let watch = self.shared.watches.lock().by_wd.get(&wd).cloned().ok_or(Errno::EINVAL)?;
        self.shared.remove(&watch);
        Ok(())
    }
}

impl Instance {
    /// Something has happened to what `watch` watches.
    fn tell(&self, event: Event) {
        if self.queue.lock().push(event) {
            self.waiters.notify(PollEvents::IN | PollEvents::RDNORM);
        }
    }

    /// Ends a watch, and says so in the queue.
    fn remove(&self, watch: &Arc<Watch>) {
        let removed = self.watches.lock().by_wd.remove(&watch.wd);
        if removed.is_none() {
            return;
        }
        give_back(self.uid, 0, 1);
        watch.detach();
        self.tell(Event { wd: watch.wd, mask: InotifyMask::IGNORED, cookie: 0, name: None });
        drop(removed);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        give_back(self.uid, 1, self.watches.get_mut().by_wd.len());
    }
}

impl FileOps for Inotify {
    fn has_write(&self) -> bool {
        false
    }

    fn blocking(&self) -> Blocking {
        Blocking::Record
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize> {
        let (bytes, events) = {
            let mut queue = self.shared.queue.lock();
            if queue.is_empty() {
                return Err(Errno::EAGAIN);
            }
            queue.take(dst.remaining())
        };
        if bytes.is_empty() {
            return Err(Errno::EINVAL);
        }
        match dst.put(&bytes) {
            Ok(done) if done == bytes.len() => Ok(done),
            stored => {
                // Nothing is lost but what was half stored.
                self.shared.queue.lock().put_back(events);
                stored?;
                Err(Errno::EFAULT)
            }
        }
    }

    fn poll(&self, _file: &File) -> PollEvents {
        if self.shared.queue.lock().is_empty() {
            PollEvents::empty()
        } else {
            PollEvents::IN | PollEvents::RDNORM
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.shared.waiters)
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
        let bytes = self.shared.queue.lock().bytes() as i32;
        task.write_obj(crate::mm::UserRef::new(crate::mm::UserAddr(arg)), &bytes)?;
        Ok(0)
    }

    fn release(&self, _file: &File) {
        let watches = std::mem::take(&mut self.shared.watches.lock().by_wd);
        give_back(self.shared.uid, 0, watches.len());
        for watch in watches.values() {
            watch.detach();
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        "anon_inode:inotify".to_owned()
    }

    fn fdinfo(&self, _file: &File) -> String {
        let mut watches: Vec<Arc<Watch>> = self.shared.watches.lock().by_wd.values().cloned().collect();
        watches.sort_by_key(|watch| std::cmp::Reverse(watch.wd));
        let line = |watch: &Arc<Watch>| {
            let inode = watch.inode();
            let (wd, mask) = (watch.wd, watch.mask().bits() & IN_ALL_EVENTS);
            format!(
                "inotify wd:{wd:x} ino:{:x} sdev:{:x} mask:{mask:x} ignored_mask:0 \n",
                inode.ino, inode.sb.dev
            )
        };
        watches.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::testkit::World;

    #[test]
    fn watches_of_a_user_are_limited() {
        // A user of nobody else's: the figures are the kernel's.
        const USER: u32 = 4711;
        let world = World::new();
        world.write("watched", b"").unwrap();
        world.write("other", b"").unwrap();
        let inode = |name: &str| Arc::clone(world.lookup(name).unwrap().inode());
        let instance = Inotify::new(USER).unwrap();
        let wd = instance.watch(&inode("watched"), InotifyMask::MODIFY).unwrap();
        USERS.lock().get_mut(&USER).unwrap().watches = MAX_USER_WATCHES;
        assert_eq!(instance.watch(&inode("other"), InotifyMask::MODIFY), Err(Errno::ENOSPC));
        // Changing one that there is takes none.
        assert_eq!(instance.watch(&inode("watched"), InotifyMask::ATTRIB), Ok(wd));
        assert_eq!(
            Inotify::new(USER).unwrap().watch(&inode("other"), InotifyMask::MODIFY),
            Err(Errno::ENOSPC)
        );
        assert!(Inotify::new(USER + 1).unwrap().watch(&inode("other"), InotifyMask::MODIFY).is_ok());
        instance.unwatch(wd).unwrap();
        assert!(instance.watch(&inode("other"), InotifyMask::MODIFY).is_ok());
        USERS.lock().get_mut(&USER).unwrap().watches = 1;
        drop(instance);
        assert!(!USERS.lock().contains_key(&USER));
    }
}
