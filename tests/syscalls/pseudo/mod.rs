//! /proc, /dev, and what else is no file on a disk.

mod dev_files;
mod proc_access;
mod proc_fd;
mod proc_figures;
mod proc_files;
mod proc_locks;
mod proc_net;
mod proc_pid;
mod proc_sys;
mod random;
mod system_info;
