//! Contexts of Linux native asynchronous I/O (io_setup(2)): requests, and the ring that their results come to.
//!
//! The ring is memory that the guest shares (`struct aio_ring` of Linux: a header, then `struct io_event`s). Programs may look at it and
//! take results from it by themselves, so what counts is what it says; but only its head is read back from it, and anything there is
//! taken modulo the size. Where results are put is known here alone.
//!
//! Requests are done when they are submitted, as Linux does those on the page cache, pipes and sockets. Only IOCB_CMD_POLL waits. What its
//! [`Wake`] is told is a hint: the file is asked again by whoever waits for results, or by the thread of the timers, which may hold
//! nothing. Registrations are left for the next call to take back.
//!
//! A context belongs to an address space and goes with it. What is outstanding, results that nobody has taken included, never exceeds the
//! ring. Lock level: `Leaf`; the host memory that a ring lies in is written under it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use abi::Errno;
use abi::aio::IoEvent;
use abi::poll::PollEvents;
use platform::MemoryFile;
use sync::Mutex;
use zerocopy::IntoBytes;

use crate::Kernel;
use crate::mm::{PAGE, Shmem};
use crate::time::TimerHandle;
use crate::vfs::File;
use crate::vfs::eventfd::EventFd;
use crate::wait::{WaitKey, WaitQueue, Wake};

/// /proc/sys/fs/aio-max-nr: what all contexts of the sandbox may ask for.
pub const MAX_REQUESTS: u64 = 65_536;

/// Requests that one context can't be asked for (in `aio.c`: events of 256 MiB).
const TOO_MANY: u32 = 0x1000_0000 / EVENT as u32;

/// Bytes of the header, and where its words are.
const HEADER: u64 = 32;
const HEAD: u64 = 8;
const TAIL: u64 = 12;
const MAGIC: u32 = 0xa10a_10a1;
const COMPAT_FEATURES: u32 = 1;

/// Bytes of an event.
const EVENT: u64 = size_of::<IoEvent>() as u64;

/// What all contexts of a sandbox were asked for at their making.
#[derive(Clone, Default)]
pub struct AioTotal(Arc<AtomicU64>);

impl AioTotal {
    /// /proc/sys/fs/aio-nr.
    pub fn requests(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn take(&self, count: u64) -> Result<(), Errno> {
        let add = |now: u64| now.checked_add(count).filter(|sum| *sum <= MAX_REQUESTS);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).map(drop).map_err(|_| Errno::EAGAIN)
    }
}

/// Contexts of an address space.
#[derive(Default)]
pub struct AioContexts(Mutex<Vec<Arc<AioContext>>, sync::levels::Leaf>);

impl AioContexts {
    /// The one whose ring was mapped at `id`.
    pub fn find(&self, id: u64) -> Option<Arc<AioContext>> {
        self.0.lock().iter().find(|context| context.id == id).cloned()
    }

    /// Adds one.
    pub fn add(&self, context: Arc<AioContext>) {
        self.0.lock().push(context);
    }

    /// Takes one out and ends it: EINVAL if it has gone.
    pub fn remove(&self, context: &Arc<AioContext>) -> Result<(), Errno> {
        {
            let mut all = self.0.lock();
            let at = all.iter().position(|other| Arc::ptr_eq(other, context)).ok_or(Errno::EINVAL)?;
            all.swap_remove(at);
        }
        context.end();
        Ok(())
    }
}

impl Drop for AioContexts {
    fn drop(&mut self) {
        let all = std::mem::take(&mut *self.0.lock());
        all.iter().for_each(|context| context.end());
    }
}

/// The memory of a ring, before it has a place in an address space.
pub struct Ring {
    memory: Arc<MemoryFile>,
    pages: Arc<Shmem>,
    /// Events that it has room for.
    entries: u32,
    asked: u64,
    total: AioTotal,
}

impl Ring {
    /// One for `requests` at a time, which is more than none, in a sandbox of `cpus`.
    pub fn new(memory: &Arc<MemoryFile>, total: &AioTotal, requests: u32, cpus: u32) -> Result<Ring, Errno> {
        // Linux keeps some for each CPU, hence the factors.
        let wanted = requests.max(cpus.saturating_mul(4)).wrapping_mul(2);
        if wanted > TOO_MANY {
            return Err(Errno::EINVAL);
        }
        if wanted == 0 {
            return Err(Errno::EAGAIN);
        }
        total.take(requests.into())?;
        // From here on it is given back when this is dropped.
        let size = (HEADER + EVENT * (u64::from(wanted) + 2)).next_multiple_of(PAGE);
        let pages = Shmem::new(memory, size);
        let Ok(pages) = pages else {
            total.0.fetch_sub(requests.into(), Ordering::Relaxed);
            return Err(Errno::ENOMEM);
        };
        let entries = ((size - HEADER) / EVENT) as u32;
        let ring =
            Ring { memory: Arc::clone(memory), pages, entries, asked: requests.into(), total: total.clone() };
        memory.populate(ring.pages.frames()).map_err(|_| Errno::ENOMEM)?;
        let header = [0, entries, 0, 0, MAGIC, COMPAT_FEATURES, 0, HEADER as u32];
        ring.write(0, header.as_bytes());
        Ok(ring)
    }

    /// To be mapped.
    pub fn pages(&self) -> &Arc<Shmem> {
        &self.pages
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        // The pages are there: if the host takes them away the guest loses what it asked for, and nobody else anything.
        let _ = self.memory.write(self.pages.frames().offset + offset, bytes);
    }

    /// Where the guest is to take the next result, or has taken it by itself.
    fn head(&self) -> u32 {
        self.memory.load_u32(self.pages.frames().offset + HEAD).unwrap_or(0) % self.entries
    }

    fn place(&self, index: u32) -> u64 {
        HEADER + EVENT * u64::from(index)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.total.0.fetch_sub(self.asked, Ordering::Relaxed);
    }
}

/// A context.
pub struct AioContext {
    /// Address that its ring was mapped at.
    id: u64,
    ring: Ring,
    state: Mutex<State, sync::levels::Leaf>,
    queue: WaitQueue,
    kernel: Weak<Kernel>,
}

#[derive(Default)]
struct State {
    tail: u32,
    /// Requests without a result.
    running: u32,
    next_poll: u64,
    polls: Vec<Poll>,
    /// Calls [`Due`] for polls that were woken.
    due: Option<TimerHandle>,
    /// Registrations to be taken back.
    spent: Vec<(Arc<File>, WaitKey)>,
    ended: bool,
}

/// What a request leaves in its result.
#[derive(Clone)]
pub struct Request {
    /// The guest's own value.
    pub data: u64,
    /// Address of its `struct iocb`.
    pub iocb: u64,
    /// Told with the result: an eventfd.
    pub eventfd: Option<Arc<File>>,
}

struct Poll {
    key: u64,
    request: Request,
    file: Arc<File>,
    wanted: PollEvents,
    registration: Option<WaitKey>,
    /// It may be ready.
    woken: bool,
}

/// Tells a poll of its context. The file that it is registered with must not keep the context.
struct PollWaker {
    context: Weak<AioContext>,
    key: u64,
    wanted: PollEvents,
}

impl Wake for PollWaker {
    fn wake(&self, events: PollEvents) -> bool {
        if events.intersects(self.wanted)
            && let Some(context) = self.context.upgrade()
        {
            context.woken(self.key);
        }
        // Whoever waits exclusively is not served by that.
        false
    }
}

/// Asks the files of polls that were woken.
struct Due(Arc<AioContext>);

impl Wake for Due {
    fn wake(&self, _events: PollEvents) -> bool {
        self.0.settle();
        true
    }
}

impl AioContext {
    /// With a ring that was mapped at `id`.
    pub fn new(kernel: &Arc<Kernel>, id: u64, ring: Ring) -> Arc<AioContext> {
        let kernel = Arc::downgrade(kernel);
        Arc::new(AioContext { id, ring, state: Mutex::default(), queue: WaitQueue::new(), kernel })
    }

    /// Address that its ring was mapped at.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Bytes of its ring.
    pub fn ring_size(&self) -> u64 {
        self.ring.pages.size()
    }

    /// Requests at most, and results of the ring at most.
    pub fn entries(&self) -> u32 {
        self.ring.entries
    }

    /// Notified when there is a result, and at the end.
    pub fn wait_queue(&self) -> &WaitQueue {
        &self.queue
    }

    /// Sets a place in the ring aside for a request: EAGAIN without one. It has to be [completed](Self::complete), or
    /// [given up](Self::give_up).
    pub fn begin(&self) -> Result<(), Errno> {
        self.take_back_registrations();
        let head = self.ring.head();
        let mut state = self.state.lock();
        let waiting = (state.tail + self.ring.entries - head) % self.ring.entries;
        if state.ended || waiting + state.running >= self.ring.entries - 1 {
            return Err(Errno::EAGAIN);
        }
        state.running += 1;
        Ok(())
    }

    /// A request that has been begun was none.
    pub fn give_up(&self) {
        self.state.lock().running -= 1;
    }

    /// Puts in the result of a request.
    pub fn complete(&self, request: &Request, result: i64) {
        {
            let mut state = self.state.lock();
            self.put(&mut state, request, result);
        }
        self.tell(request);
    }

    fn put(&self, state: &mut State, request: &Request, result: i64) {
        let event = IoEvent { data: request.data, obj: request.iocb, res: result, res2: 0 };
        self.ring.write(self.ring.place(state.tail), event.as_bytes());
        state.tail = (state.tail + 1) % self.ring.entries;
        state.running -= 1;
        self.ring.write(TAIL, &state.tail.to_ne_bytes());
    }

    fn tell(&self, request: &Request) {
        if let Some(eventfd) = request.eventfd.as_ref().and_then(|file| file.downcast::<EventFd>()) {
            eventfd.signal(1);
        }
        self.queue.notify(PollEvents::IN);
    }

    /// Begins to wait for `wanted` of a file; the request has been begun.
    pub fn poll(self: &Arc<Self>, request: Request, file: &Arc<File>, wanted: PollEvents) {
        let key = {
            let mut state = self.state.lock();
            if state.ended {
                state.running -= 1;
                return;
            }
            let key = state.next_poll;
            state.next_poll += 1;
            let file = Arc::clone(file);
            state.polls.push(Poll { key, request, file, wanted, registration: None, woken: true });
            key
        };
        let waker = Arc::new(PollWaker { context: Arc::downgrade(self), key, wanted });
        if let Some(registration) = file.ops().register(file, wanted, waker) {
            let mut state = self.state.lock();
            match state.polls.iter_mut().find(|poll| poll.key == key) {
                Some(poll) => poll.registration = Some(registration),
                // It has its result already, or the context has ended.
                None => state.spent.push((Arc::clone(file), registration)),
            }
        }
        self.settle();
        self.take_back_registrations();
    }

    /// A poll may be ready. Its file is not asked here: whoever tells of it may hold locks.
    fn woken(self: &Arc<Self>, key: u64) {
        {
            let mut state = self.state.lock();
            let Some(poll) = state.polls.iter_mut().find(|poll| poll.key == key) else { return };
            if std::mem::replace(&mut poll.woken, true) {
                return;
            }
        }
        if let Some(kernel) = self.kernel.upgrade() {
            // Without a thread for it, it is seen when somebody asks for results.
            let timer = kernel.timers.set(Instant::now(), Arc::new(Due(Arc::clone(self)))).ok();
            let old = std::mem::replace(&mut self.state.lock().due, timer);
            drop(old);
        }
        self.queue.notify(PollEvents::IN);
    }

    /// Gives polls that were woken their results, where they are ready.
    fn settle(&self) {
        let woken: Vec<_> = {
            let mut state = self.state.lock();
            let woken = state.polls.iter_mut().filter_map(|poll| {
                std::mem::take(&mut poll.woken).then(|| (poll.key, Arc::clone(&poll.file), poll.wanted))
            });
            woken.collect()
        };
        for (key, file, wanted) in woken {
            let now = file.poll() & wanted;
            if !now.is_empty() {
                self.end_poll(key, now);
            }
        }
    }

    /// A poll has its result, unless it has had one.
    fn end_poll(&self, key: u64, events: PollEvents) {
        let request = {
            let mut state = self.state.lock();
            let Some(at) = state.polls.iter().position(|poll| poll.key == key) else { return };
            self.end_poll_at(&mut state, at, events)
        };
        self.tell(&request);
    }

    fn end_poll_at(&self, state: &mut State, at: usize, events: PollEvents) -> Request {
        let poll = state.polls.swap_remove(at);
        state.spent.extend(poll.registration.map(|registration| (poll.file, registration)));
        self.put(state, &poll.request, i64::from(events.bits()));
        poll.request
    }

    /// Ends the poll whose `struct iocb` is at `iocb`, with a result of no events: EINVAL without one.
    pub fn cancel(&self, iocb: u64) -> Result<(), Errno> {
        let request = {
            let mut state = self.state.lock();
            let at = state.polls.iter().position(|poll| poll.request.iocb == iocb).ok_or(Errno::EINVAL)?;
            self.end_poll_at(&mut state, at, PollEvents::empty())
        };
        self.tell(&request);
        self.take_back_registrations();
        Ok(())
    }

    /// The first results, `most` of them at most, and where they begin.
    pub fn results(&self, most: usize) -> Result<(u32, Vec<IoEvent>), Errno> {
        self.settle();
        self.take_back_registrations();
        let head = self.ring.head();
        let state = self.state.lock();
        if state.ended {
            return Err(Errno::EINVAL);
        }
        let waiting = (state.tail + self.ring.entries - head) % self.ring.entries;
        let count = (waiting as usize).min(most).min(AT_ONCE);
        let mut events = vec![IoEvent::default(); count];
        for (n, event) in events.iter_mut().enumerate() {
            let at = self.ring.place((head + n as u32) % self.ring.entries);
            let from = self.ring.pages.frames().offset + at;
            self.ring.memory.read(from, event.as_mut_bytes()).map_err(|_| Errno::EFAULT)?;
        }
        Ok((head, events))
    }

    /// Takes `count` results from `head` on; false when another has been quicker.
    pub fn take(&self, head: u32, count: usize) -> bool {
        let _state = self.state.lock();
        let is_first = self.ring.head() == head;
        if is_first {
            let next = (head + count as u32) % self.ring.entries;
            self.ring.write(HEAD, &next.to_ne_bytes());
        }
        is_first
    }

    /// Ends it: nothing is waited for any more.
    fn end(&self) {
        let (polls, due) = {
            let mut state = self.state.lock();
            state.ended = true;
            let polls = std::mem::take(&mut state.polls);
            state.running -= polls.len() as u32;
            (polls, state.due.take())
        };
        for Poll { file, registration, .. } in &polls {
            if let Some(registration) = registration {
                file.ops().unregister(file, *registration);
            }
        }
        drop((polls, due));
        self.take_back_registrations();
        self.queue.notify(PollEvents::IN);
    }

    fn take_back_registrations(&self) {
        let spent = {
            let mut state = self.state.lock();
            if state.spent.is_empty() {
                return;
            }
            std::mem::take(&mut state.spent)
        };
        for (file, key) in spent {
            file.ops().unregister(&file, key);
        }
    }
}

/// Results that are copied out at once.
const AT_ONCE: usize = 64;
