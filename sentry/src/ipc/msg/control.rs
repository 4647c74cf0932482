//! msgctl(2).

use std::sync::atomic::Ordering;

use abi::Errno;
use abi::capability::CAP_SYS_RESOURCE;
use abi::ipc::{IpcPerm, MsgInfo, MsqidDs};

use super::{End, Inner, Woken};
use crate::Result;
use crate::ipc::permission::now;
use crate::ipc::{Anybody, Asker, IpcNamespace, Limits};

/// Numbers that Linux tells and does not use: MSGSSZ, MSGSEG.
const SEGMENT_SIZE: i32 = 16;
const SEGMENTS: u16 = 0xffff;

impl Inner {
    fn describe(&self, asker: &Asker<'_>) -> MsqidDs {
        MsqidDs {
            msg_perm: asker.shown(&self.perm),
            msg_stime: self.sent_at,
            msg_rtime: self.received_at,
            msg_ctime: self.changed_at,
            msg_cbytes: self.bytes,
            msg_qnum: self.messages.len() as u64,
            msg_qbytes: self.most_bytes,
            msg_lspid: asker.number(&self.last_sender),
            msg_lrpid: asker.number(&self.last_receiver),
            unused4: 0,
            unused5: 0,
        }
    }
}

impl IpcNamespace {
    /// IPC_INFO: the limits; MSG_INFO, where `usage`: what is in use. With it the highest place.
    pub fn msg_info(&self, usage: bool) -> (i32, MsgInfo) {
        let limit = |limit: &std::sync::atomic::AtomicU32| limit.load(Ordering::Relaxed) as i32;
        let defaults = Limits::default();
        let queue_bytes = limit(&defaults.msgmnb);
        let (msgpool, msgmap, msgtql) = if usage {
            let (mut queues, mut messages, mut bytes) = (0, 0, 0);
            for (_, queue) in self.msg.queues.all() {
                let inner = queue.inner.lock();
                queues += 1;
                messages += inner.messages.len();
                bytes += inner.bytes;
            }
            (queues, messages as i32, bytes as i32)
        } else {
            // In units of 1024 bytes, all queues full.
            let all = u64::from(defaults.msgmni.into_inner()) * queue_bytes as u64 / 1024;
            (all as i32, queue_bytes, queue_bytes)
        };
        let info = MsgInfo {
            msgpool,
            msgmap,
            msgmax: limit(&self.limits.msgmax),
            msgmnb: limit(&self.limits.msgmnb),
            msgmni: limit(&self.limits.msgmni),
            msgssz: SEGMENT_SIZE,
            msgtql,
            msgseg: SEGMENTS,
            pad: 0,
        };
        (self.msg.queues.highest(), info)
    }

    /// IPC_STAT.
    pub fn msg_stat(&self, id: i32, asker: Asker<'_>) -> Result<MsqidDs> {
        let queue = self.msg.queues.find(id)?;
        let inner = queue.inner.lock();
        asker.may(&inner.perm, 0o444)?;
        inner.check()?;
        Ok(inner.describe(&asker))
    }

    /// MSG_STAT and MSG_STAT_ANY: the queue in a place, with its id.
    pub fn msg_stat_place(&self, place: i32, anybody: Anybody, asker: Asker<'_>) -> Result<(i32, MsqidDs)> {
        let (id, queue) = self.msg.queues.find_place(place)?;
        let inner = queue.inner.lock();
        if anybody == Anybody::No {
            asker.may(&inner.perm, 0o444)?;
        }
        inner.check()?;
        Ok((id, inner.describe(&asker)))
    }

    /// IPC_SET: owner, mode, and bytes at most.
    pub fn msg_set(&self, id: i32, new: &IpcPerm, most_bytes: u64, asker: Asker<'_>) -> Result<()> {
        let queue = self.msg.queues.find(id)?;
        let wish = asker.wish(new);
        let mut woken = Woken::default();
        {
            let mut inner = queue.inner.lock();
            asker.may_control(&inner.perm)?;
            inner.check()?;
            // Linux takes it for an int.
            let most_bytes = u64::from(most_bytes as u32);
            let raises = most_bytes > u64::from(self.limits.msgmnb.load(Ordering::Relaxed));
            // Of the first user namespace, as Linux asks for it.
            if raises && !(asker.creds.has_cap(CAP_SYS_RESOURCE) && asker.creds.user_ns.parent().is_none()) {
                return Err(Errno::EPERM);
            }
            wish.fulfil(&mut inner.perm)?;
            inner.most_bytes = most_bytes;
            inner.changed_at = now();
            // Who waits may not be allowed to any more.
            for receiver in std::mem::take(&mut inner.receivers) {
                woken.serve(&receiver.slot, receiver.waker, End::Again);
            }
            inner.admit(&mut woken);
        }
        woken.wake();
        Ok(())
    }

    /// IPC_RMID.
    pub fn msg_remove(&self, id: i32, asker: Asker<'_>) -> Result<()> {
        let (queue, (woken, messages)) = self.msg.queues.remove(id, |queue| {
            let mut inner = queue.inner.lock();
            asker.may_control(&inner.perm)?;
            let mut woken = Woken::default();
            let messages = inner.end(&mut woken);
            Ok((woken, messages))
        })?;
        woken.wake();
        drop((queue, messages));
        Ok(())
    }
}
