//! System V shared memory, semaphores and message queues; POSIX message queues.

flags! {
    /// Flags of shmget(2), semget(2), msgget(2), with a mode in the low nine bits.
    pub struct IpcFlags: u32, "IPC_" {
        const CREAT = 0o1000;
        const EXCL = 0o2000;
        const NOWAIT = 0o4000;
    }
}

/// The key that always makes a new object.
pub const IPC_PRIVATE: i32 = 0;

constants! {
    /// Commands of shmctl(2), semctl(2), msgctl(2).
    pub table IPC_COMMANDS: u32 {
        IPC_RMID = 0;
        IPC_SET = 1;
        IPC_STAT = 2;
        IPC_INFO = 3;
    }
}

constants! {
    /// Commands of shmctl(2) alone.
    pub table SHM_COMMANDS: u32 {
        SHM_LOCK = 11;
        SHM_UNLOCK = 12;
        SHM_STAT = 13;
        SHM_INFO = 14;
        SHM_STAT_ANY = 15;
    }
}

constants! {
    /// Commands of semctl(2) alone.
    pub table SEM_COMMANDS: u32 {
        GETPID = 11;
        GETVAL = 12;
        GETALL = 13;
        GETNCNT = 14;
        GETZCNT = 15;
        SETVAL = 16;
        SETALL = 17;
        SEM_STAT = 18;
        SEM_INFO = 19;
        SEM_STAT_ANY = 20;
    }
}

constants! {
    /// Commands of msgctl(2) alone.
    pub table MSG_COMMANDS: u32 {
        MSG_STAT = 11;
        MSG_INFO = 12;
        MSG_STAT_ANY = 13;
    }
}

flags! {
    /// Flags of shmat(2), and of a segment's mode.
    pub struct ShmFlags: u32, "SHM_" {
        const DEST = 0o1000;
        const LOCKED = 0o2000;
        const HUGETLB = 0o4000;
        const RDONLY = 0o10000;
        const NORESERVE = 0o10000;
        const RND = 0o20000;
        const REMAP = 0o40000;
        const EXEC = 0o100000;
    }
}

/// Flag of a semaphore operation: undo it on exit.
pub const SEM_UNDO: u16 = 0x1000;

flags! {
    /// Flags of msgrcv(2), beside IPC_NOWAIT.
    pub struct MsgRcvFlags: u32, "MSG_" {
        const NOERROR = 0o10000;
        const EXCEPT = 0o20000;
        const COPY = 0o40000;
    }
}

wire! {
    /// `struct ipc64_perm`.
    pub struct IpcPerm {
        pub key: i32,
        pub uid: u32,
        pub gid: u32,
        pub cuid: u32,
        pub cgid: u32,
        pub mode: u32,
        pub seq: u16,
        pub pad2: [u16; 3],
        pub unused1: u64,
        pub unused2: u64,
    }

    /// `struct shmid64_ds`.
    pub struct ShmidDs {
        pub shm_perm: IpcPerm,
        pub shm_segsz: u64,
        pub shm_atime: i64,
        pub shm_dtime: i64,
        pub shm_ctime: i64,
        pub shm_cpid: i32,
        pub shm_lpid: i32,
        pub shm_nattch: u64,
        pub unused4: u64,
        pub unused5: u64,
    }

    /// `struct semid64_ds`.
    pub struct SemidDs {
        pub sem_perm: IpcPerm,
        pub sem_otime: i64,
        pub unused1: u64,
        pub sem_ctime: i64,
        pub unused2: u64,
        pub sem_nsems: u64,
        pub unused3: u64,
        pub unused4: u64,
    }

    /// `struct msqid64_ds`.
    pub struct MsqidDs {
        pub msg_perm: IpcPerm,
        pub msg_stime: i64,
        pub msg_rtime: i64,
        pub msg_ctime: i64,
        pub msg_cbytes: u64,
        pub msg_qnum: u64,
        pub msg_qbytes: u64,
        pub msg_lspid: i32,
        pub msg_lrpid: i32,
        pub unused4: u64,
        pub unused5: u64,
    }

    /// `struct sembuf`.
    pub struct SemBuf {
        pub sem_num: u16,
        pub sem_op: i16,
        pub sem_flg: u16,
    }

    /// `struct shminfo64` of IPC_INFO.
    pub struct ShmInfo64 {
        pub shmmax: u64,
        pub shmmin: u64,
        pub shmmni: u64,
        pub shmseg: u64,
        pub shmall: u64,
        pub unused: [u64; 4],
    }

    /// `struct shm_info` of SHM_INFO.
    pub struct ShmInfo {
        pub used_ids: i32,
        pub pad: u32,
        pub shm_tot: u64,
        pub shm_rss: u64,
        pub shm_swp: u64,
        pub swap_attempts: u64,
        pub swap_successes: u64,
    }

    /// `struct seminfo`.
    pub struct SemInfo {
        pub semmap: i32,
        pub semmni: i32,
        pub semmns: i32,
        pub semmnu: i32,
        pub semmsl: i32,
        pub semopm: i32,
        pub semume: i32,
        pub semusz: i32,
        pub semvmx: i32,
        pub semaem: i32,
    }

    /// `struct msginfo`.
    pub struct MsgInfo {
        pub msgpool: i32,
        pub msgmap: i32,
        pub msgmax: i32,
        pub msgmnb: i32,
        pub msgmni: i32,
        pub msgssz: i32,
        pub msgtql: i32,
        pub msgseg: u16,
        pub pad: u16,
    }

    /// `struct mq_attr`.
    pub struct MqAttr {
        pub mq_flags: i64,
        pub mq_maxmsg: i64,
        pub mq_msgsize: i64,
        pub mq_curmsgs: i64,
        pub reserved: [i64; 4],
    }
}
