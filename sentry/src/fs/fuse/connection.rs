//! What a mounted file system and its server share: requests on their way, and what the two have agreed on.
//!
//! **The server is a guest.** It may never answer, answer what nobody asked, or lie. So whoever waits for an answer can
//! be killed at any time, holds no levelled lock, and leaves nothing behind that grows; answers are taken only for
//! requests that are under way, and only of the length that fits.
//!
//! Lock levels: `FileState` for the queues, `Leaf` for the outcome of a request.

use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use abi::fuse::{
    FUSE_BATCH_FORGET, FUSE_CREATE, FUSE_FORGET, FUSE_INIT, FUSE_INTERRUPT, FUSE_KERNEL_MINOR_VERSION,
    FUSE_KERNEL_VERSION, FUSE_LINK, FUSE_LOOKUP, FUSE_MIN_READ_BUFFER, FUSE_MKDIR, FUSE_MKNOD, FUSE_OPEN,
    FUSE_OPENDIR, FUSE_RELEASE, FUSE_RELEASEDIR, FUSE_ROOT_ID, FUSE_SETXATTR, FUSE_SYMLINK,
    FuseBatchForgetIn, FuseEntryOut, FuseForgetOne, FuseInHeader, FuseInitIn, FuseInitOut, FuseOpenOut,
    FuseOutHeader, FuseReleaseIn, FuseWriteIn,
};
use abi::poll::PollEvents;
use sync::Mutex;
use zerocopy::{FromBytes, IntoBytes};

use super::terms::Terms;
use crate::Result;
use crate::task::{Credentials, Until, UserNamespace, current_task, wait_here};
use crate::vfs::SuperBlock;
use crate::wait::WaitQueue;

/// Requests whose asker was killed and that the server may still answer: so many are remembered.
const ABANDONED_MAX: usize = 1024;
/// With more requests waiting than this, those that nobody waits for are not made.
const BACKGROUND_MAX: usize = 4096;
/// Forgets in one message.
const BATCH_MAX: usize = 1024;

/// What is asked.
pub(super) struct Ask<'a> {
    /// `FUSE_*`
    pub opcode: u32,
    /// Of which node.
    pub node: u64,
    /// Arguments, one behind the other.
    pub parts: &'a [&'a [u8]],
    /// How long an answer may be.
    pub reply: RangeInclusive<usize>,
}

/// A request under way.
pub(super) struct Request {
    opcode: u32,
    unique: u64,
    node: u64,
    bytes: Vec<u8>,
    reply: RangeInclusive<usize>,
    /// A signal has come for whoever waits: the server is to be told.
    interrupted: AtomicBool,
    /// Nobody waits any more; what the answer brings is given back.
    abandoned: AtomicBool,
    outcome: Mutex<Option<Result<Vec<u8>>>, sync::levels::Leaf>,
    done: WaitQueue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not mounted yet.
    New,
    /// INIT is under way.
    Starting,
    /// In use.
    Open,
    /// The server has answered INIT with what can't be served.
    Refused,
    /// Unmounted, or the server has gone.
    Closed,
}

struct State {
    phase: Phase,
    devices: usize,
    next_unique: u64,
    pending: VecDeque<Arc<Request>>,
    sent: HashMap<u64, Arc<Request>>,
    interrupts: VecDeque<u64>,
    forgets: VecDeque<FuseForgetOne>,
    /// How many forgets may still go before a request.
    forgets_first: i32,
    abandoned: usize,
}

/// A connection.
pub(super) struct Connection {
    state: Mutex<State, sync::levels::FileState>,
    /// Readers of the device.
    pub readable: WaitQueue,
    /// Those who wait for INIT to be answered.
    started: WaitQueue,
    terms: OnceLock<Terms>,
    /// The user namespace of who mounted it: ids in messages are of that.
    user_ns: OnceLock<Arc<UserNamespace>>,
    sb: OnceLock<Weak<SuperBlock>>,
    /// Requests that the server does not know, a bit each.
    unknown: AtomicU64,
}

/// What a server reads.
pub(super) enum Message {
    /// A request; if it can't be delivered it has failed.
    Request(Arc<Request>),
    /// Something that has no answer.
    Bytes(Vec<u8>),
}

impl Message {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Message::Request(request) => &request.bytes,
            Message::Bytes(bytes) => bytes,
        }
    }
}

/// Ids in the header of a request.
#[derive(Clone, Copy, Default)]
struct Ids {
    uid: u32,
    gid: u32,
    pid: u32,
}

impl Connection {
    /// Of a device that has just been opened.
    pub fn new() -> Arc<Connection> {
        let state = State {
            phase: Phase::New,
            devices: 1,
            next_unique: 2,
            pending: VecDeque::new(),
            sent: HashMap::new(),
            interrupts: VecDeque::new(),
            forgets: VecDeque::new(),
            forgets_first: 0,
            abandoned: 0,
        };
        Arc::new(Connection {
            state: Mutex::new(state),
            readable: WaitQueue::new(),
            started: WaitQueue::new(),
            terms: OnceLock::new(),
            user_ns: OnceLock::new(),
            sb: OnceLock::new(),
            unknown: AtomicU64::new(0),
        })
    }

    /// The device is to serve a file system of `user_ns`: EINVAL when it does already. Once.
    pub fn claim(&self, user_ns: &Arc<UserNamespace>) -> Result<()> {
        let mut state = self.state.lock();
        if state.phase != Phase::New {
            return Err(Errno::EINVAL);
        }
        state.phase = Phase::Starting;
        drop(state);
        let _ = self.user_ns.set(Arc::clone(user_ns));
        Ok(())
    }

    /// The file system is there: asks for the terms.
    pub fn start(&self, sb: &Arc<SuperBlock>) {
        let _ = self.sb.set(Arc::downgrade(sb));
        let init = FuseInitIn {
            major: FUSE_KERNEL_VERSION,
            minor: FUSE_KERNEL_MINOR_VERSION,
            max_readahead: super::terms::MAX_READ,
            flags: super::terms::OFFERED.bits(),
            ..FuseInitIn::default()
        };
        let ask = Ask {
            opcode: FUSE_INIT,
            node: 0,
            parts: &[init.as_bytes()],
            reply: 8..=size_of::<FuseInitOut>(),
        };
        let _ = self.push(&ask, Ids::default());
    }

    /// The file system, while there is one.
    pub fn super_block(&self) -> Option<Arc<SuperBlock>> {
        self.sb.get().and_then(Weak::upgrade)
    }

    /// What has been agreed on; defaults until then.
    pub fn terms(&self) -> Terms {
        self.terms.get().copied().unwrap_or_default()
    }

    /// What has been agreed on, once it has.
    pub fn agreed_terms(&self) -> Result<Terms> {
        self.wait_started()?;
        Ok(self.terms())
    }

    /// The user namespace of the ids in messages.
    pub fn user_ns(&self) -> Option<&Arc<UserNamespace>> {
        self.user_ns.get()
    }

    /// Whether it was mounted, once.
    pub fn is_mounted(&self) -> bool {
        self.state.lock().phase != Phase::New
    }

    /// Whether it is in use now.
    pub fn is_open(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Starting | Phase::Open)
    }

    /// One more device serves it.
    pub fn device_comes(&self) {
        self.state.lock().devices += 1;
    }

    /// One less; without any it is over.
    pub fn device_goes(&self) {
        let mut state = self.state.lock();
        state.devices -= 1;
        let last = state.devices == 0;
        drop(state);
        if last {
            self.close();
        }
    }

    /// Ends it: what is under way fails, and so does all that follows.
    pub fn close(&self) {
        let (pending, sent) = {
            let mut state = self.state.lock();
            state.phase = Phase::Closed;
            state.forgets.clear();
            state.interrupts.clear();
            (std::mem::take(&mut state.pending), std::mem::take(&mut state.sent))
        };
        for request in pending.into_iter().chain(sent.into_values()) {
            request.finish(Err(Errno::ECONNABORTED));
        }
        self.readable.notify(PollEvents::IN | PollEvents::ERR | PollEvents::HUP);
        self.started.notify(PollEvents::IN);
    }

    /// Whether the server is known not to know `opcode`.
    pub fn is_unknown(&self, opcode: u32) -> bool {
        self.unknown.load(Ordering::Relaxed) >> (opcode % 64) & 1 != 0
    }

    /// Notes that the server does not know `opcode`.
    pub fn set_unknown(&self, opcode: u32) {
        self.unknown.fetch_or(1 << (opcode % 64), Ordering::Relaxed);
    }

    fn ids(&self, creds: Option<&Credentials>) -> Ids {
        let task = current_task();
        let own = task.as_ref().map(|task| task.creds());
        let Some(creds) = creds.or(own.as_deref()) else { return Ids::default() };
        let (uid, gid) = match self.user_ns.get() {
            Some(ns) => (ns.uid_inside(creds.fsuid), ns.gid_inside(creds.fsgid)),
            None => (creds.fsuid, creds.fsgid),
        };
        Ids { uid, gid, pid: task.map_or(0, |task| task.tid() as u32) }
    }

    fn push(&self, ask: &Ask<'_>, ids: Ids) -> Result<Arc<Request>> {
        let len = size_of::<FuseInHeader>() + ask.parts.iter().map(|part| part.len()).sum::<usize>();
        let mut bytes = Vec::with_capacity(len);
        let mut state = self.state.lock();
        match state.phase {
            Phase::Closed | Phase::New => return Err(Errno::ENOTCONN),
            Phase::Refused => return Err(Errno::ECONNREFUSED),
            Phase::Starting | Phase::Open => {}
        }
        let unique = state.next_unique;
        state.next_unique += 2;
        let header = FuseInHeader {
            len: len as u32,
            opcode: ask.opcode,
            unique,
            nodeid: ask.node,
            uid: ids.uid,
            gid: ids.gid,
            pid: ids.pid,
            ..FuseInHeader::default()
        };
        bytes.extend_from_slice(header.as_bytes());
        ask.parts.iter().for_each(|part| bytes.extend_from_slice(part));
        let request = Arc::new(Request {
            opcode: ask.opcode,
            unique,
            node: ask.node,
            bytes,
            reply: ask.reply.clone(),
            interrupted: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            outcome: Mutex::new(None),
            done: WaitQueue::new(),
        });
        state.pending.push_back(Arc::clone(&request));
        drop(state);
        self.readable.notify(PollEvents::IN | PollEvents::RDNORM);
        Ok(request)
    }

    /// Waits until INIT has been answered.
    pub fn wait_started(&self) -> Result<()> {
        let attempt = || (self.state.lock().phase != Phase::Starting).then_some(());
        wait_here(&self.started, Until::Death, attempt).map_err(|_| Errno::EINTR)
    }

    /// Asks, and waits for the answer. `creds` are those of who asks, if not the current task's.
    pub fn call(&self, ask: &Ask<'_>, creds: Option<&Credentials>) -> Result<Vec<u8>> {
        self.wait_started()?;
        if current_task().is_none_or(|task| task.is_dying()) {
            return Err(Errno::EINTR);
        }
        let request = self.push(ask, self.ids(creds))?;
        let outcome = || request.outcome.lock().take();
        if let Ok(outcome) = wait_here(&request.done, Until::Signal, outcome) {
            return outcome;
        }
        self.interrupt(&request);
        if let Ok(outcome) = wait_here(&request.done, Until::Death, outcome) {
            return outcome;
        }
        self.abandon(&request);
        Err(Errno::EINTR)
    }

    /// As [`call`](Self::call), on behalf of what can't be interrupted: a page fault.
    pub fn call_through(&self, ask: &Ask<'_>) -> Result<Vec<u8>> {
        self.wait_started()?;
        let request = self.push(ask, self.ids(None))?;
        let outcome = || request.outcome.lock().take();
        wait_here(&request.done, Until::Death, outcome).unwrap_or_else(|_| {
            self.abandon(&request);
            Err(Errno::EINTR)
        })
    }

    /// As [`call`](Self::call); an answer that the server does not know the request is remembered, and then given
    /// without asking.
    pub fn call_if_known(&self, ask: &Ask<'_>, creds: Option<&Credentials>) -> Result<Vec<u8>> {
        if self.is_unknown(ask.opcode) {
            return Err(Errno::ENOSYS);
        }
        let answer = self.call(ask, creds);
        if matches!(answer, Err(Errno::ENOSYS)) {
            self.set_unknown(ask.opcode);
        }
        answer
    }

    /// Asks for what nobody waits for.
    pub fn tell(&self, ask: &Ask<'_>) {
        let _ = self.push(ask, Ids::default());
    }

    /// As [`tell`](Self::tell), for `creds`, unless many requests wait already.
    pub fn tell_for(&self, ask: &Ask<'_>, creds: &Credentials) {
        if self.state.lock().pending.len() < BACKGROUND_MAX {
            let _ = self.push(ask, self.ids(Some(creds)));
        }
    }

    /// The server's references to a node are given back.
    pub fn forget(&self, node: u64, lookups: u64) {
        if lookups == 0 {
            return;
        }
        let mut state = self.state.lock();
        if state.phase == Phase::Closed {
            return;
        }
        state.forgets.push_back(FuseForgetOne { nodeid: node, nlookup: lookups });
        drop(state);
        self.readable.notify(PollEvents::IN | PollEvents::RDNORM);
    }

    fn interrupt(&self, request: &Arc<Request>) {
        request.interrupted.store(true, Ordering::SeqCst);
        let mut state = self.state.lock();
        if !state.sent.contains_key(&request.unique) || self.is_unknown(FUSE_INTERRUPT) {
            return;
        }
        state.interrupts.push_back(request.unique);
        drop(state);
        self.readable.notify(PollEvents::IN | PollEvents::RDNORM);
    }

    /// Nobody waits for `request` any more.
    fn abandon(&self, request: &Arc<Request>) {
        let mut state = self.state.lock();
        state.pending.retain(|waiting| !Arc::ptr_eq(waiting, request));
        state.interrupts.retain(|unique| *unique != request.unique);
        if !state.sent.contains_key(&request.unique) {
            return;
        }
        if state.abandoned < ABANDONED_MAX {
            state.abandoned += 1;
            request.abandoned.store(true, Ordering::SeqCst);
        } else {
            state.sent.remove(&request.unique);
        }
    }

    /// The next message for a server whose buffer takes `room` bytes.
    pub fn next(&self, room: usize) -> Result<Message> {
        let mut state = self.state.lock();
        match state.phase {
            Phase::New => return Err(Errno::EPERM),
            Phase::Closed => return Err(Errno::ENODEV),
            _ => {}
        }
        let terms = self.terms();
        let header = size_of::<FuseInHeader>() + size_of::<FuseWriteIn>();
        if room < FUSE_MIN_READ_BUFFER.max(header + terms.max_write) {
            return Err(Errno::EINVAL);
        }
        loop {
            if let Some(unique) = state.interrupts.pop_front() {
                return Ok(Message::Bytes(message(FUSE_INTERRUPT, unique | 1, 0, unique.as_bytes())));
            }
            let first = state.pending.is_empty() || state.forgets_first > 0;
            if !state.forgets.is_empty() && first {
                return Ok(Message::Bytes(state.take_forgets(room, &terms)));
            }
            let Some(request) = state.pending.pop_front() else { return Err(Errno::EAGAIN) };
            // Eight requests, then up to sixteen forgets.
            state.forgets_first = if state.forgets_first <= -8 { 16 } else { state.forgets_first - 1 };
            if request.bytes.len() > room {
                drop(state);
                let errno = if request.opcode == FUSE_SETXATTR { Errno::E2BIG } else { Errno::EIO };
                request.finish(Err(errno));
                state = self.state.lock();
                continue;
            }
            state.sent.insert(request.unique, Arc::clone(&request));
            if request.interrupted.load(Ordering::SeqCst) && !self.is_unknown(FUSE_INTERRUPT) {
                state.interrupts.push_back(request.unique);
            }
            return Ok(Message::Request(request));
        }
    }

    /// Whether there is something to read, and whether it is over.
    pub fn poll(&self) -> PollEvents {
        let state = self.state.lock();
        let out = PollEvents::OUT | PollEvents::WRNORM;
        match state.phase {
            Phase::New | Phase::Closed => PollEvents::ERR,
            _ if state.pending.is_empty() && state.forgets.is_empty() && state.interrupts.is_empty() => out,
            _ => out | PollEvents::IN | PollEvents::RDNORM,
        }
    }

    /// A message could not be stored where the server wanted it.
    pub fn undelivered(&self, message: &Message) {
        let Message::Request(request) = message else { return };
        let sent = self.state.lock().sent.remove(&request.unique);
        if let Some(request) = sent {
            self.finished(&request, Err(Errno::EIO));
        }
    }

    /// The request that the answer with this number is to, taken out; EINVAL for what can't be an answer, ENOENT for
    /// one to nothing. `None`: it is all done.
    pub fn answered(&self, header: &FuseOutHeader) -> Result<Option<Arc<Request>>> {
        if header.error > 0 || header.error <= -512 {
            return Err(Errno::EINVAL);
        }
        let mut state = self.state.lock();
        if state.phase == Phase::New {
            return Err(Errno::EPERM);
        }
        let unique = header.unique & !1;
        if header.unique & 1 != 0 {
            if !state.sent.contains_key(&unique) {
                return Err(Errno::ENOENT);
            }
            if header.len as usize != size_of::<FuseOutHeader>() {
                return Err(Errno::EINVAL);
            }
            match Errno::new(header.error.unsigned_abs()) {
                Some(Errno::ENOSYS) => self.set_unknown(FUSE_INTERRUPT),
                Some(Errno::EAGAIN) => state.interrupts.push_back(unique),
                _ => {}
            }
            return Ok(None);
        }
        let request = state.sent.remove(&unique).ok_or(Errno::ENOENT)?;
        state.interrupts.retain(|waiting| *waiting != unique);
        if request.abandoned.load(Ordering::SeqCst) {
            state.abandoned -= 1;
        }
        Ok(Some(request))
    }

    /// Hands the answer on.
    pub fn finished(&self, request: &Request, outcome: Result<Vec<u8>>) {
        if request.opcode == FUSE_INIT {
            return self.agreed(outcome);
        }
        if request.abandoned.load(Ordering::SeqCst) {
            if let Ok(reply) = &outcome {
                self.give_back(request, reply);
            }
            return;
        }
        request.finish(outcome);
    }

    fn agreed(&self, outcome: Result<Vec<u8>>) {
        let terms = outcome.ok().and_then(|reply| Terms::from_reply(&reply));
        if let Some(terms) = terms {
            let _ = self.terms.set(terms);
        }
        let mut state = self.state.lock();
        if state.phase == Phase::Starting {
            state.phase = if terms.is_some() { Phase::Open } else { Phase::Refused };
        }
        drop(state);
        self.started.notify(PollEvents::IN);
    }

    /// The server has done something for somebody who has gone meanwhile.
    fn give_back(&self, request: &Request, reply: &[u8]) {
        let entry = match request.opcode {
            FUSE_LOOKUP | FUSE_MKNOD | FUSE_MKDIR | FUSE_SYMLINK | FUSE_LINK | FUSE_CREATE => {
                FuseEntryOut::read_from_prefix(reply).ok().map(|(entry, _)| entry)
            }
            _ => None,
        };
        let opened = match request.opcode {
            FUSE_OPEN | FUSE_OPENDIR => FuseOpenOut::read_from_prefix(reply).ok().map(|(open, _)| open),
            FUSE_CREATE => FuseOpenOut::read_from_suffix(reply).ok().map(|(_, open)| open),
            _ => None,
        };
        if let Some(open) = opened {
            let release = FuseReleaseIn { fh: open.fh, ..FuseReleaseIn::default() };
            let node = entry.map_or(request.node, |entry| entry.nodeid);
            let opcode = if request.opcode == FUSE_OPENDIR { FUSE_RELEASEDIR } else { FUSE_RELEASE };
            let ask = Ask { opcode, node, parts: &[release.as_bytes()], reply: 0..=0 };
            self.tell(&ask);
        }
        if let Some(entry) = entry
            && entry.nodeid > FUSE_ROOT_ID
        {
            self.forget(entry.nodeid, 1);
        }
    }
}

impl State {
    /// One FORGET, or many in a BATCH_FORGET.
    fn take_forgets(&mut self, room: usize, terms: &Terms) -> Vec<u8> {
        if self.forgets.len() == 1 || terms.minor < 16 {
            let one = self.forgets.pop_front().unwrap_or_default();
            self.forgets_first -= 1;
            let unique = self.next_unique;
            self.next_unique += 2;
            return message(FUSE_FORGET, unique, one.nodeid, one.nlookup.as_bytes());
        }
        let head = size_of::<FuseInHeader>() + size_of::<FuseBatchForgetIn>();
        let fits = room.saturating_sub(head) / size_of::<FuseForgetOne>();
        let count = self.forgets.len().min(fits).min(BATCH_MAX);
        self.forgets_first -= count as i32;
        let mut body = FuseBatchForgetIn { count: count as u32, dummy: 0 }.as_bytes().to_vec();
        self.forgets.drain(..count).for_each(|one| body.extend_from_slice(one.as_bytes()));
        let unique = self.next_unique;
        self.next_unique += 2;
        message(FUSE_BATCH_FORGET, unique, 0, &body)
    }
}

fn message(opcode: u32, unique: u64, node: u64, body: &[u8]) -> Vec<u8> {
    let len = size_of::<FuseInHeader>() + body.len();
    let header = FuseInHeader { len: len as u32, opcode, unique, nodeid: node, ..FuseInHeader::default() };
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

impl Request {
    /// Whether an answer of `len` bytes fits.
    pub fn takes(&self, len: usize) -> bool {
        self.reply.contains(&len)
    }

    fn finish(&self, outcome: Result<Vec<u8>>) {
        *self.outcome.lock() = Some(outcome);
        self.done.notify(PollEvents::IN);
    }
}
