//! /proc (proc(5)).
//!
//! Each mount is for one PID namespace. Files are made when they are read, from the kernel's objects; nothing is kept
//! but the inodes of tasks that somebody looks at.

mod fd;
mod link;
mod maps;
mod mounts;
mod root;
mod status;
mod sys;
mod task;
mod write;

use std::sync::Arc;

use crate::Kernel;
use crate::fs::pseudo::{PseudoDir, PseudoSuper};
use crate::task::PidNamespace;
use crate::vfs::{Dentry, SuperBlock};

/// A new /proc for `ns`: its root.
pub fn mount(kernel: &Arc<Kernel>, ns: &Arc<PidNamespace>) -> Arc<Dentry> {
    let sb = SuperBlock::new(Box::new(PseudoSuper { kind: "proc", magic: 0x9fa0, revalidate: true }));
    let root = root::Root::new(&sb, kernel, ns);
    Dentry::new_root(PseudoDir::inode(&sb, root))
}
