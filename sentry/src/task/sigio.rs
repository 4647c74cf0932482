//! Signals for input and output: what `O_ASYNC` and fcntl(F_SETOWN, F_SETSIG) ask for.
//!
//! A file that has `O_ASYNC` set has one waker with its own wait queue. It is told of events wherever they come from,
//! perhaps with locks held; the signal is sent a moment later by the thread of the timers, where there are none.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use abi::open::OpenFlags;
use abi::poll::PollEvents;
use abi::signal::{POLL_HUP, POLL_IN, POLL_MSG, POLL_OUT, POLL_PRI, SI_SIGIO, SigInfo, Signal};
use sync::Mutex;

use super::{Credentials, CurrentTask, Task, ThreadGroup};
use crate::Kernel;
use crate::error::Result;
use crate::signal::{send_to_group, send_to_task};
use crate::time::TimerHandle;
use crate::vfs::File;
use crate::vfs::file::{FileOwner, OwnerKind};
use crate::wait::Wake;

/// Signals whose codes mean something else: they say SI_SIGIO instead of what has happened.
const OWN_CODES: [Signal; 7] = [
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGTRAP,
    Signal::SIGCHLD,
    Signal::SIGSYS,
];

const INPUT: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
/// How pipes tell of more room when there has been some before.
const ROOM: PollEvents = PollEvents::MSG;
const OUTPUT: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);

struct AsyncFile {
    this: Weak<AsyncFile>,
    kernel: Weak<Kernel>,
    file: Weak<File>,
    fd: i32,
    /// Events that no signal has been sent for yet.
    pending: AtomicU32,
    timer: Mutex<Option<TimerHandle>, sync::levels::Leaf>,
}

impl CurrentTask {
    /// fcntl(F_SETFL), ioctl(FIONBIO, FIOASYNC): the flags of `file`, which has number `fd` here.
    pub fn set_file_flags(&self, file: &Arc<File>, fd: i32, flags: OpenFlags) -> Result<()> {
        file.set_flags(flags)?;
        let asks = file.flags().contains(OpenFlags::ASYNC);
        if asks && !file.has_async_waker() {
            let waker = Arc::new_cyclic(|this| AsyncFile {
                this: Weak::clone(this),
                kernel: Arc::downgrade(self.kernel()),
                file: Arc::downgrade(file),
                fd,
                pending: AtomicU32::new(0),
                timer: Mutex::new(None),
            });
            let all = INPUT | OUTPUT | PollEvents::PRI | ROOM;
            let key = file.ops().register(file, all, waker);
            file.set_async_waker(key);
        } else if !asks {
            file.set_async_waker(None);
        }
        Ok(())
    }
}

impl Wake for AsyncFile {
    fn wake(&self, events: PollEvents) -> bool {
        let before = self.pending.fetch_or(events.bits() | WAKING, Ordering::AcqRel);
        if before == 0
            && let (Some(this), Some(kernel)) = (self.this.upgrade(), self.kernel.upgrade())
        {
            let due = Arc::new(Due(this)) as Arc<dyn Wake>;
            // Without a thread for it there is no signal.
            let timer = kernel.timers.set(Instant::now(), due).ok();
            let old = std::mem::replace(&mut *self.timer.lock(), timer);
            drop(old);
        }
        // Whoever waits exclusively is not served by a signal.
        false
    }
}

/// Set in [`AsyncFile::pending`] while a signal is on its way.
const WAKING: u32 = 1 << 31;

/// Sends the signal for what has come.
struct Due(Arc<AsyncFile>);

impl Wake for Due {
    fn wake(&self, _events: PollEvents) -> bool {
        let events = PollEvents::from_bits_truncate(self.0.pending.swap(0, Ordering::AcqRel) & !WAKING);
        if let (Some(file), Some(kernel)) = (self.0.file.upgrade(), self.0.kernel.upgrade()) {
            send(&kernel, &file, self.0.fd, events);
        }
        true
    }
}

/// Tells whoever has a lease through `file` that somebody else wants the file.
pub(super) fn lease_broken(kernel: &Kernel, file: &File, fd: i32) {
    signal_owner(kernel, file, fd, POLL_MSG, INPUT | PollEvents::MSG);
}

/// Tells whoever owns `file` that something has happened in that directory.
pub(crate) fn directory_changed(kernel: &Kernel, file: &File, fd: i32) {
    signal_owner(kernel, file, fd, POLL_MSG, INPUT | PollEvents::MSG);
}

fn send(kernel: &Kernel, file: &File, fd: i32, mut events: PollEvents) {
    // Both ends of a pipe hear of everything that happens to it.
    let access = file.access();
    events.set(INPUT, access.read && events.intersects(INPUT));
    events.set(OUTPUT, access.write && events.intersects(OUTPUT | ROOM));
    let (code, band) = if events.intersects(INPUT) {
        (POLL_IN, INPUT)
    } else if events.intersects(OUTPUT) {
        (POLL_OUT, OUTPUT | PollEvents::WRBAND)
    } else if events.intersects(PollEvents::PRI) {
        (POLL_PRI, PollEvents::PRI | PollEvents::RDBAND)
    } else if events.contains(PollEvents::HUP) {
        (POLL_HUP, PollEvents::HUP | PollEvents::ERR)
    } else {
        return;
    };
    signal_owner(kernel, file, fd, code, band);
}

fn signal_owner(kernel: &Kernel, file: &File, fd: i32, code: i32, band: PollEvents) {
    let owner = file.owner.lock().clone();
    let Some((kind, pid)) = &owner.who else { return };
    let detailed = u32::try_from(owner.signal).ok().and_then(Signal::new).map(|signal| {
        let code = if OWN_CODES.contains(&signal) { SI_SIGIO } else { code };
        (signal, SigInfo::poll(signal, code, i64::from(band.bits()), fd))
    });
    let tell = |task: &Arc<Task>, whole_process: bool| {
        if !may_signal(&owner, &task.creds()) {
            return;
        }
        let send = |signal, info| match whole_process {
            true => send_to_group(task.thread_group(), signal, info),
            false => send_to_task(task, signal, info),
        };
        // Where there is no room for details, there is always some for the plain signal.
        if detailed.is_none_or(|(signal, info)| send(signal, info).is_err()) {
            let _ = send(Signal::SIGIO, SigInfo::kernel(Signal::SIGIO));
        }
    };
    let leader = |group: &Arc<ThreadGroup>| {
        if let Some(task) = group.any_thread() {
            tell(&task, true);
        }
    };
    match kind {
        OwnerKind::Thread => {
            if let Some(task) = pid.task() {
                tell(&task, false);
            }
        }
        OwnerKind::Process => {
            if let Some(group) = pid.thread_group() {
                leader(&group);
            }
        }
        OwnerKind::Group => {
            let members = pid.process_group().map(|group| kernel.tree.lock().members(group.id()));
            members.iter().flatten().for_each(leader);
        }
    }
}

/// Whether who named the owner may send it signals: as kill(2), but by the ids of then, and without capabilities.
fn may_signal(owner: &FileOwner, receiver: &Credentials) -> bool {
    let (uid, euid) = owner.by;
    euid == 0 || [uid, euid].iter().any(|id| *id == receiver.uid || *id == receiver.suid)
}
