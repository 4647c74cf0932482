//! Files, directories, pipes, and waiting for them.

mod attributes;
mod cwd;
mod descriptors;
mod directories;
mod epoll;
mod eventfd;
mod fifo;
mod inotify;
mod links;
mod locks;
mod memfd;
mod mounts;
mod open;
mod openat2;
mod paths;
mod permissions;
mod pipes;
mod poll;
mod read_write;
mod rename;
mod seek;
mod transfer;
mod truncate;
mod xattr;
