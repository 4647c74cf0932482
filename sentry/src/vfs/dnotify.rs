//! Signals for what happens in a directory: fcntl(2), F_NOTIFY.
//!
//! A request belongs to an open file and the table of descriptors that asked through it; it ends when that table closes
//! the file, or when it has been told, unless it is for more than once.
//!
//! Lock level: `Leaf`. Signals are sent without it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::fcntl::NotifyFlags;
use smallvec::SmallVec;
use sync::Mutex;

use super::file::File;
use super::inode::Inode;
use super::notify::{Events, listener_comes, listener_goes};
use crate::Kernel;
use crate::Result;
use crate::task::sigio;

/// One request.
struct Request {
    /// Which table of descriptors has asked.
    table: u64,
    file_id: u64,
    file: Weak<File>,
    /// The number that the signal tells.
    fd: i32,
    wanted: Events,
    /// It ends with the first event.
    once: bool,
    kernel: Weak<Kernel>,
}

/// The requests for one directory.
#[derive(Default)]
pub(super) struct Requests {
    /// All that any of them wants, to skip the lock.
    wanted: AtomicU64,
    list: Mutex<Vec<Request>, sync::levels::Leaf>,
}

/// The events that a request is for.
fn events(flags: NotifyFlags) -> Events {
    let pairs = [
        (NotifyFlags::ACCESS, Events::ACCESS),
        (NotifyFlags::MODIFY, Events::MODIFY),
        (NotifyFlags::ATTRIB, Events::ATTRIB),
        (NotifyFlags::CREATE, Events::CREATE | Events::MOVED_TO),
        (NotifyFlags::DELETE, Events::DELETE | Events::MOVED_FROM),
        (NotifyFlags::RENAME, Events::RENAME),
    ];
    pairs
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .fold(Events::empty(), |all, (_, events)| all | *events)
}

/// F_NOTIFY: whoever owns `file` gets a signal that tells `fd`. More than one request of one file and `table` are one;
/// no flags end it. ENOTDIR for what is no directory.
pub fn request(
    kernel: &Arc<Kernel>,
    table: u64,
    file: &Arc<File>,
    fd: i32,
    flags: NotifyFlags,
) -> Result<()> {
    let inode = file.path.inode();
    if (flags - NotifyFlags::MULTISHOT).is_empty() {
        end(inode, table, file.id);
        return Ok(());
    }
    if !inode.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    let requests = inode.requests();
    let once = !flags.contains(NotifyFlags::MULTISHOT);
    let mut list = requests.list.lock();
    match list.iter_mut().find(|request| request.table == table && request.file_id == file.id) {
        Some(request) => {
            request.fd = fd;
            request.wanted |= events(flags);
            request.once &= once;
        }
        None => {
            listener_comes();
            let (file_id, file, kernel) = (file.id, Arc::downgrade(file), Arc::downgrade(kernel));
            list.push(Request { table, file_id, file, fd, wanted: events(flags), once, kernel });
        }
    }
    requests.update(&list);
    Ok(())
}

/// `table` closes the file `file_id` of `inode`.
pub(super) fn end(inode: &Inode, table: u64, file_id: u64) {
    let Some(requests) = inode.requests_if_any() else { return };
    requests.take(|request| request.table == table && request.file_id == file_id);
}

impl Requests {
    fn update(&self, list: &[Request]) {
        let wanted = list.iter().fold(Events::empty(), |all, request| all | request.wanted);
        self.wanted.store(wanted.bits(), Ordering::Relaxed);
    }

    /// Ends those of which `which` says so.
    fn take(&self, which: impl FnMut(&mut Request) -> bool) {
        let mut list = self.list.lock();
        let ended: Vec<Request> = list.extract_if(.., which).collect();
        self.update(&list);
        drop(list);
        ended.iter().for_each(|_| listener_goes());
    }
}

/// Through which file a signal goes, the number it tells, and the kernel.
type Told = (Weak<File>, i32, Weak<Kernel>);

/// Something has happened to `dir` or in it.
pub(super) fn notify(dir: &Inode, events: Events) {
    let Some(requests) = dir.requests_if_any() else { return };
    if !Events::from_bits_retain(requests.wanted.load(Ordering::Relaxed)).intersects(events) {
        return;
    }
    let mut told = SmallVec::<[Told; 4]>::new();
    requests.take(|request| {
        if !request.wanted.intersects(events) {
            return false;
        }
        told.push((Weak::clone(&request.file), request.fd, Weak::clone(&request.kernel)));
        request.once
    });
    for (file, fd, kernel) in told {
        if let (Some(file), Some(kernel)) = (file.upgrade(), kernel.upgrade()) {
            sigio::directory_changed(&kernel, &file, fd);
        }
    }
}
