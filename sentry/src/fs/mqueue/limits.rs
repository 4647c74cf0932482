//! How many queues there may be, how large, and who has taken how much.
//!
//! A queue is charged to its maker's RLIMIT_MSGQUEUE for all that it may hold, when it is made. That limit can be raised
//! by who is privileged, so there is one for all users together as well: messages lie in the Sentry's own memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::Errno;
use abi::capability::CAP_SYS_RESOURCE;
use abi::resource::RLIMIT_MSGQUEUE;
use sync::Mutex;

use super::Shape;
use super::queue::PRIORITIES;
use crate::Result;
use crate::task::{Credentials, current_task};

/// What a privileged user may ask for at most.
const HARD_MESSAGES: i64 = 65_536;
const HARD_SIZE: i64 = 16 * 1024 * 1024;
/// Bytes that Linux counts for a message and for a priority beside the contents.
const OVERHEAD: u64 = 48;
/// Bytes of all queues together.
const TOTAL: u64 = 64 * 1024 * 1024;

/// Limits, and what is in use.
#[derive(Debug)]
pub struct Limits {
    /// /proc/sys/fs/mqueue/queues_max
    pub queues_max: AtomicU32,
    /// msg_max
    pub msg_max: AtomicU32,
    /// msgsize_max
    pub msgsize_max: AtomicU32,
    /// msg_default
    pub msg_default: AtomicU32,
    /// msgsize_default
    pub msgsize_default: AtomicU32,
    queues: AtomicU32,
    accounts: Arc<Accounts>,
}

/// Who has taken how much, in all namespaces.
#[derive(Debug, Default)]
pub struct Accounts {
    total: AtomicU64,
    by_user: Mutex<HashMap<u32, u64>, sync::levels::Leaf>,
}

impl Limits {
    /// Those of a new namespace.
    pub(super) fn new(accounts: Arc<Accounts>) -> Limits {
        Limits {
            queues_max: AtomicU32::new(256),
            msg_max: AtomicU32::new(10),
            msgsize_max: AtomicU32::new(8192),
            msg_default: AtomicU32::new(10),
            msgsize_default: AtomicU32::new(8192),
            queues: AtomicU32::new(0),
            accounts,
        }
    }

    /// Where users are charged.
    pub fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(&self.accounts)
    }
}

/// What a queue has been charged for; given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    limits: Arc<Limits>,
    user: u32,
    bytes: u64,
}

impl Limits {
    /// The shape of a new queue, and a charge for it.
    pub fn charge(self: &Arc<Limits>, asked: Option<Shape>, creds: &Credentials) -> Result<(Shape, Charge)> {
        let get = |value: &AtomicU32| i64::from(value.load(Ordering::Relaxed));
        let privileged = creds.has_cap(CAP_SYS_RESOURCE) && creds.user_ns.parent().is_none();
        if get(&self.queues) >= get(&self.queues_max) && !privileged {
            return Err(Errno::ENOSPC);
        }
        let shape = asked.unwrap_or_else(|| Shape {
            max_messages: get(&self.msg_max).min(get(&self.msg_default)),
            message_size: get(&self.msgsize_max).min(get(&self.msgsize_default)),
        });
        let (messages, size) = match privileged {
            true => (HARD_MESSAGES, HARD_SIZE),
            false => (get(&self.msg_max), get(&self.msgsize_max)),
        };
        if !(1..=messages).contains(&shape.max_messages) || !(1..=size).contains(&shape.message_size) {
            return Err(Errno::EINVAL);
        }
        // At most 2¹⁶ × 2²⁴: no overflow.
        let count = shape.max_messages as u64;
        let tree = (count + count.min(u64::from(PRIORITIES))) * OVERHEAD;
        let bytes = count * shape.message_size as u64 + tree;
        let limit = current_task().map_or(u64::MAX, |t| t.thread_group().limit(RLIMIT_MSGQUEUE).rlim_cur);
        if self.accounts.total.fetch_add(bytes, Ordering::Relaxed) + bytes > TOTAL {
            self.accounts.total.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Errno::EMFILE);
        }
        self.queues.fetch_add(1, Ordering::Relaxed);
        let charge = Charge { limits: Arc::clone(self), user: creds.uid, bytes };
        let of_user = {
            let mut users = self.accounts.by_user.lock();
            let used = users.entry(creds.uid).or_default();
            *used += bytes;
            *used
        };
        if of_user > limit { Err(Errno::EMFILE) } else { Ok((shape, charge)) }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.limits.queues.fetch_sub(1, Ordering::Relaxed);
        self.limits.accounts.total.fetch_sub(self.bytes, Ordering::Relaxed);
        let mut users = self.limits.accounts.by_user.lock();
        if let Some(used) = users.get_mut(&self.user) {
            *used -= self.bytes;
            if *used == 0 {
                users.remove(&self.user);
            }
        }
    }
}
