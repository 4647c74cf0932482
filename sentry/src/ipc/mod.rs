//! System V interprocess communication: shared memory ([`shm`]). Semaphores and message queues are not there yet.
//!
//! All processes of a sandbox are in one IPC namespace.

pub mod shm;
