//! /proc/sysvipc: a line an object.

use std::fmt::Write;

use super::{Anybody, Asker, IpcNamespace};

impl IpcNamespace {
    /// /proc/sysvipc/sem.
    pub fn show_sem(&self, asker: Asker<'_>) -> String {
        let mut out =
            "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"
                .to_owned();
        for (id, _) in self.sem.sets.all() {
            // One that has gone meanwhile is not there.
            let Ok((id, set)) = self.sem_stat_place(id, Anybody::Yes, asker) else { continue };
            let perm = set.sem_perm;
            let _ = writeln!(
                out,
                "{:>10} {id:>10}  {:>4o} {:>10} {:>5} {:>5} {:>5} {:>5} {:>10} {:>10}",
                perm.key,
                perm.mode,
                set.sem_nsems,
                perm.uid,
                perm.gid,
                perm.cuid,
                perm.cgid,
                set.sem_otime,
                set.sem_ctime
            );
        }
        out
    }

    /// /proc/sysvipc/msg.
    pub fn show_msg(&self, asker: Asker<'_>) -> String {
        let mut out =
            "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      \
                       stime      rtime      ctime\n"
                .to_owned();
        for (id, _) in self.msg.queues.all() {
            let Ok((id, queue)) = self.msg_stat_place(id, Anybody::Yes, asker) else { continue };
            let perm = queue.msg_perm;
            let _ = writeln!(
                out,
                "{:>10} {id:>10}  {:>4o}  {:>10} {:>10} {:>5} {:>5} {:>5} {:>5} {:>5} {:>5} {:>10} {:>10} {:>10}",
                perm.key,
                perm.mode,
                queue.msg_cbytes,
                queue.msg_qnum,
                queue.msg_lspid,
                queue.msg_lrpid,
                perm.uid,
                perm.gid,
                perm.cuid,
                perm.cgid,
                queue.msg_stime,
                queue.msg_rtime,
                queue.msg_ctime
            );
        }
        out
    }

    /// /proc/sysvipc/shm.
    pub fn show_shm(&self, asker: Asker<'_>) -> String {
        let mut out = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      \
                       atime      dtime      ctime                   rss                  swap\n"
            .to_owned();
        let (highest, _) = self.shm.limits(&self.limits);
        for place in 0..=highest {
            let Ok((id, segment)) = self.shm.stat_place(place, Anybody::Yes, asker) else { continue };
            let perm = segment.shm_perm;
            let _ = writeln!(
                out,
                "{:>10} {id:>10}  {:>4o} {:>21} {:>5} {:>5}  {:>5} {:>5} {:>5} {:>5} {:>5} {:>10} {:>10} {:>10} {:>21} {:>21}",
                perm.key,
                perm.mode,
                segment.shm_segsz,
                segment.shm_cpid,
                segment.shm_lpid,
                segment.shm_nattch,
                perm.uid,
                perm.gid,
                perm.cuid,
                perm.cgid,
                segment.shm_atime,
                segment.shm_dtime,
                segment.shm_ctime,
                self.shm.resident_bytes(place),
                0
            );
        }
        out
    }
}
