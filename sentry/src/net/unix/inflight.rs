//! Descriptors in flight (SCM_RIGHTS), and the garbage they can become.
//!
//! A socket that was sent through a socket may be referred to by nothing but messages in queues, of itself even. Such
//! sockets would never be closed. So sockets in flight are counted, and whenever a socket is closed while there are
//! any, those are looked for that nobody can reach: all references to them come from queues of their own kind.
//!
//! Closing files closes sockets, whose queues hold files, whose closing closes sockets: a guest decides how deep. So
//! files of messages are closed from a list, not recursively.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::capability::{CAP_SYS_ADMIN, CAP_SYS_RESOURCE};
use sync::{Mutex, SleepMutex};

use super::{Role, UnixSocket};
use crate::net::actor::Actor;
use crate::net::socket::Socket;
use crate::vfs::File;

/// Sockets in flight, by file.
static TABLE: Mutex<Option<Table>, sync::levels::Leaf> = Mutex::new(None);
/// How many sockets are in flight.
static SOCKETS: AtomicUsize = AtomicUsize::new(0);
/// How many sockets have been closed since garbage was looked for.
static CLOSED: AtomicUsize = AtomicUsize::new(0);
/// The search costs as much as there are sockets in flight: with more than this it is not made at each close, but so
/// rarely that its share of a close stays the same.
const SEARCH_AT_ONCE: usize = 64;
/// One search for garbage at a time.
static COLLECTING: SleepMutex<()> = SleepMutex::new(());

#[derive(Default)]
struct Table {
    sockets: HashMap<u64, InFlight>,
    /// Descriptors in flight of each user.
    users: HashMap<u32, usize>,
}

struct InFlight {
    file: Weak<File>,
    count: usize,
}

/// Descriptors on their way from one process to another.
pub struct Rights {
    files: FileList,
    user: u32,
}

impl Rights {
    /// Sends files on behalf of a user. ETOOMANYREFS when too many of that user are on their way already.
    pub fn new(files: Vec<Arc<File>>, actor: &Actor<'_>) -> Result<Rights, Errno> {
        let user = actor.creds.uid;
        let files = FileList(files);
        {
            let mut table = TABLE.lock();
            let table = table.get_or_insert_default();
            let count = table.users.entry(user).or_default();
            let privileged = actor.creds.has_cap(CAP_SYS_RESOURCE) || actor.creds.has_cap(CAP_SYS_ADMIN);
            if *count as u64 > actor.fd_limit && !privileged {
                return Err(Errno::ETOOMANYREFS);
            }
            *count += files.0.len();
            for file in files.0.iter().filter(|file| as_unix(file).is_some()) {
                let new = || InFlight { file: Arc::downgrade(file), count: 0 };
                table.sockets.entry(file.id).or_insert_with(new).count += 1;
            }
            SOCKETS.store(table.sockets.len(), Ordering::Relaxed);
        }
        Ok(Rights { files, user })
    }

    /// The files, to be looked at (MSG_PEEK).
    pub fn peek(&self) -> FileList {
        FileList(self.files.0.clone())
    }

    /// They have arrived.
    pub fn arrive(mut self) -> FileList {
        FileList(std::mem::take(&mut self.landed().0))
    }

    fn landed(&mut self) -> FileList {
        let files = std::mem::take(&mut self.files);
        let mut table = TABLE.lock();
        let Some(table) = table.as_mut() else { return files };
        if let Some(count) = table.users.get_mut(&self.user) {
            *count = count.saturating_sub(files.0.len());
            if *count == 0 {
                table.users.remove(&self.user);
            }
        }
        for file in &files.0 {
            if let Some(entry) = table.sockets.get_mut(&file.id) {
                entry.count -= 1;
                if entry.count == 0 {
                    table.sockets.remove(&file.id);
                }
            }
        }
        SOCKETS.store(table.sockets.len(), Ordering::Relaxed);
        files
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        // The list closes them.
        drop(self.landed());
    }
}

/// Files that are closed, one after the other, when the list is dropped.
#[derive(Default)]
pub struct FileList(pub Vec<Arc<File>>);

thread_local! {
    /// Files still to be closed by the drop of a list further up this thread's stack.
    static CLOSING: RefCell<Option<Vec<Arc<File>>>> = const { RefCell::new(None) };
}

impl Drop for FileList {
    fn drop(&mut self) {
        let files = std::mem::take(&mut self.0);
        if files.is_empty() {
            return;
        }
        let nested = CLOSING.with_borrow_mut(|closing| match closing {
            Some(list) => {
                list.extend(files);
                true
            }
            None => {
                *closing = Some(files);
                false
            }
        });
        if nested {
            return;
        }
        while let Some(file) = CLOSING.with_borrow_mut(|closing| closing.as_mut().and_then(Vec::pop)) {
            drop(file);
        }
        CLOSING.set(None);
    }
}

fn as_unix(file: &File) -> Option<&UnixSocket> {
    file.downcast::<Socket>()?.ops().as_any().downcast_ref()
}

/// Closes sockets that nobody can reach any more. To be called when a socket is closed, without a lock.
pub fn collect_if_any() {
    let sockets = SOCKETS.load(Ordering::Relaxed);
    if sockets == 0 || CLOSED.fetch_add(1, Ordering::Relaxed) < sockets / SEARCH_AT_ONCE {
        return;
    }
    // Whoever is at it looks again if need be: the next close of a socket.
    let Some(_one) = COLLECTING.try_lock() else { return };
    CLOSED.store(0, Ordering::Relaxed);
    let garbage = find_garbage();
    // The queues' messages: their rights are what keeps the sockets alive.
    let mut purged = Vec::new();
    for file in &garbage.0 {
        if let Some(socket) = as_unix(file).filter(|_| is_unreferenced(file)) {
            purged.extend(socket.purge_all());
        }
    }
    drop(_one);
    drop(purged);
    drop(garbage);
}

/// Whether all references to the file but ours come from messages.
fn is_unreferenced(file: &Arc<File>) -> bool {
    let table = TABLE.lock();
    let count = table.as_ref().and_then(|t| t.sockets.get(&file.id)).map_or(0, |entry| entry.count);
    Arc::strong_count(file) == count + 1
}

fn find_garbage() -> FileList {
    let snapshot: Vec<(Arc<File>, usize)> = {
        let table = TABLE.lock();
        let entries = table.iter().flat_map(|table| table.sockets.values());
        entries.filter_map(|entry| Some((entry.file.upgrade()?, entry.count))).collect()
    };
    // Candidates: nothing but messages (and this list) refers to them.
    let is_candidate = |(file, count): &&(Arc<File>, usize)| Arc::strong_count(file) == count + 1;
    let candidates: HashMap<u64, usize> =
        snapshot.iter().filter(is_candidate).map(|(file, count)| (file.id, *count)).collect();
    let mut outside = candidates.clone();
    let mut holds: HashMap<u64, Vec<u64>> = HashMap::new();
    for (file, _) in snapshot.iter().filter(|(file, _)| candidates.contains_key(&file.id)) {
        let Some(socket) = as_unix(file) else { continue };
        let held: Vec<u64> =
            socket.files_in_queues().into_iter().filter(|id| candidates.contains_key(id)).collect();
        for id in &held {
            if let Some(count) = outside.get_mut(id) {
                *count = count.saturating_sub(1);
            }
        }
        holds.insert(file.id, held);
    }
    // What is in a queue of something that can be reached can be reached.
    let mut reached: HashSet<u64> = HashSet::new();
    let mut todo: Vec<u64> = outside.iter().filter(|(_, count)| **count > 0).map(|(id, _)| *id).collect();
    while let Some(id) = todo.pop() {
        if reached.insert(id) {
            todo.extend(holds.get(&id).into_iter().flatten());
        }
    }
    let garbage = snapshot.iter().filter(|(f, _)| candidates.contains_key(&f.id) && !reached.contains(&f.id));
    let garbage = FileList(garbage.map(|(file, _)| Arc::clone(file)).collect());
    // References of others that went meanwhile may leave these as the last: closed from the list, too.
    drop(FileList(snapshot.into_iter().map(|(file, _)| file).collect()));
    garbage
}

impl UnixSocket {
    /// The queue of the socket and those of the connections it has not accepted.
    fn with_queues(&self, mut each: impl FnMut(&mut super::queue::ReceiveQueue)) {
        let waiting: Vec<Arc<UnixSocket>> = match &self.state.lock().role {
            Role::Listening(listener) => listener.waiting.iter().cloned().collect(),
            _ => Vec::new(),
        };
        each(&mut self.queue.lock());
        for connection in &waiting {
            each(&mut connection.queue.lock());
        }
    }

    fn files_in_queues(&self) -> Vec<u64> {
        let mut ids = Vec::new();
        self.with_queues(|queue| {
            let rights = queue.iter().filter_map(|message| message.rights.as_ref());
            ids.extend(rights.flat_map(|rights| rights.files.0.iter().map(|file| file.id)));
        });
        ids
    }

    fn purge_all(&self) -> Vec<super::queue::Message> {
        let mut messages = Vec::new();
        self.with_queues(|queue| messages.extend(queue.purge()));
        messages
    }
}
