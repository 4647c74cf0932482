//! What goes with the bytes of a message.

use std::sync::Arc;

use crate::task::Pid;

pub use super::unix::inflight::{FileList, Rights};

/// Who sent a message (SCM_CREDENTIALS). Ids are the kernel's; the receiver's namespaces translate.
#[derive(Clone)]
pub struct SenderCreds {
    /// The process.
    pub pid: Arc<Pid>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl PartialEq for SenderCreds {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pid, &other.pid) && self.uid == other.uid && self.gid == other.gid
    }
}

/// What is sent beside bytes. What has been sent is taken out, so that a call that goes on sends nothing twice.
#[derive(Default)]
pub struct SendMessage<'a> {
    /// A destination, as the guest gave it.
    pub address: Option<&'a [u8]>,
    /// Descriptors.
    pub rights: Option<Rights>,
    /// What the sender says it is; checked.
    pub creds: Option<SenderCreds>,
    /// MSG_OOB
    pub out_of_band: bool,
}

/// What came with the bytes that a receive gave.
#[derive(Default)]
pub struct Received {
    /// The sender's address; `None`: it has none.
    pub address: Option<Arc<[u8]>>,
    /// Descriptors.
    pub rights: FileList,
    /// The sender, as far as known: `Some(None)` is a message that nobody stamped.
    pub creds: Option<Option<SenderCreds>>,
    /// When it was sent, nanoseconds since 1970, if the receiver wants to know (SO_TIMESTAMP).
    pub sent_ns: Option<i64>,
    /// Bytes of the message that did not fit (MSG_TRUNC).
    pub truncated: bool,
    /// Length of the whole message; for streams what was received.
    pub full_len: usize,
    /// Nothing may be added to what was received: it is a message, or another writer's data or descriptors follow.
    pub complete: bool,
}
