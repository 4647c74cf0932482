//! Files, directories, pipes, and waiting for them.

mod attributes;
mod cwd;
mod descriptors;
mod directories;
mod epoll;
mod eventfd;
mod fifo;
mod links;
mod locks;
mod memfd;
mod open;
mod openat2;
mod paths;
mod permissions;
mod pipes;
mod poll;
mod read_write;
mod rename;
mod seek;
pub mod swap;
pub mod transcript;
mod transfer;
mod truncate;
mod xattr;
