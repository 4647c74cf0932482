//! System V interprocess communication, and IPC namespaces.

use crate::kit::prelude::*;

mod msg_control;
mod msg_queues;
mod sem_control;
mod sem_undo;
mod semaphores;
mod shared_memory;
mod sysvipc_files;

/// `struct sembuf`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Op {
    number: u16,
    op: i16,
    flags: i16,
}

const NOWAIT: i16 = IPC_NOWAIT as i16;
const UNDO: i16 = SEM_UNDO as i16;
const STAT_ANY_SEM: i32 = 20;
const STAT_ANY_MSG: i32 = 13;
const STAT_SHM: i32 = 13;
const STAT_ANY_SHM: i32 = 15;

/// What shmctl(2) and the like find in an object of this process's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Perm {
    key: i32,
    uid: u32,
    gid: u32,
    cuid: u32,
    cgid: u32,
    mode: u32,
    seq: u16,
    pad: [u16; 3],
    unused: [u64; 2],
}

/// `struct semid64_ds`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct SemStat {
    perm: Perm,
    otime: i64,
    unused1: u64,
    ctime: i64,
    unused2: u64,
    count: u64,
    unused3: [u64; 2],
}

/// `struct msqid64_ds`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct MsgStat {
    perm: Perm,
    stime: i64,
    rtime: i64,
    ctime: i64,
    bytes: u64,
    count: u64,
    most_bytes: u64,
    sender: i32,
    receiver: i32,
    unused: [u64; 2],
}

/// `struct shmid64_ds`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct ShmStat {
    perm: Perm,
    size: u64,
    atime: i64,
    dtime: i64,
    ctime: i64,
    creator: i32,
    last: i32,
    attached: u64,
    unused: [u64; 2],
}

/// A set that is removed with the value.
struct Set(i32);

impl Set {
    #[track_caller]
    fn new(count: i32) -> Set {
        Set(ok_i32(sys!(semget, IPC_PRIVATE, count, 0o600)))
    }

    /// With these values.
    #[track_caller]
    fn with(values: &[u16]) -> Set {
        let set = Set::new(values.len() as i32);
        ok(sys!(semctl, set.0, 0, SETALL, values));
        set
    }

    fn op(&self, ops: &[Op]) -> Answer {
        sys!(semop, self.0, ops, ops.len())
    }

    /// One operation.
    fn one(&self, number: u16, op: i16, flags: i16) -> Answer {
        self.op(&[Op { number, op, flags }])
    }

    #[track_caller]
    fn value(&self, number: i32) -> i64 {
        ok(sys!(semctl, self.0, number, GETVAL))
    }

    #[track_caller]
    fn waiting(&self, number: i32, command: i32) -> i64 {
        ok(sys!(semctl, self.0, number, command))
    }

    #[track_caller]
    fn stat(&self) -> SemStat {
        let mut stat = SemStat::default();
        ok(sys!(semctl, self.0, 0, IPC_STAT, &mut stat));
        stat
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        // A case may have removed it.
        let _ = sys!(semctl, self.0, 0, IPC_RMID);
    }
}

/// `struct msgbuf`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Msg {
    kind: i64,
    text: [u8; 64],
}

/// A queue that is removed with the value.
struct Queue(i32);

impl Queue {
    #[track_caller]
    fn new() -> Queue {
        Queue(ok_i32(sys!(msgget, IPC_PRIVATE, 0o600)))
    }

    fn send(&self, kind: i64, text: &[u8], flags: i32) -> Answer {
        let mut msg = Msg { kind, text: [0; 64] };
        msg.text[..text.len()].copy_from_slice(text);
        sys!(msgsnd, self.0, &msg, text.len(), flags)
    }

    fn receive(&self, kind: i64, size: usize, flags: i32) -> Result<(i64, Vec<u8>), Errno> {
        let mut msg = Msg { kind: 0, text: [0; 64] };
        let n = sys!(msgrcv, self.0, &mut msg, size, kind, flags)?;
        Ok((msg.kind, msg.text[..n as usize].to_vec()))
    }

    /// The first message of a type, which is there.
    #[track_caller]
    fn next(&self, kind: i64) -> (i64, String) {
        match self.receive(kind, 64, IPC_NOWAIT) {
            Ok((kind, text)) => (kind, String::from_utf8_lossy(&text).into_owned()),
            Err(errno) => fail(format_args!("no message of type {kind}: {errno:?}")),
        }
    }

    #[track_caller]
    fn stat(&self) -> MsgStat {
        let mut stat = MsgStat::default();
        ok(sys!(msgctl, self.0, IPC_STAT, &mut stat));
        stat
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let _ = sys!(msgctl, self.0, IPC_RMID);
    }
}

/// A key that no other run has.
fn key() -> i32 {
    0x6361_0000 ^ ok_i32(sys!(getpid)) << 4
}

/// Seconds since 1970.
fn seconds() -> i64 {
    now_ns(CLOCK_REALTIME) / 1_000_000_000
}
