//! Tasks: how processes and threads begin, live and end.

mod call_sites;
mod capabilities;
mod clone;
mod creds;
mod exec;
mod exit;
mod fork;
mod futex;
mod futex_pi;
mod identity;
mod job_control;
mod membarrier;
mod pid_namespace;
mod pidfd;
mod prctl;
mod process_groups;
mod process_vm;
mod rlimits;
mod robust_list;
mod rseq;
mod sched;
mod seccomp;
mod system;
mod threads;
mod wait;
