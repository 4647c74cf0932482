//! The files of a group.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::signal::{SigInfo, Signal};

use super::Cgroup;
use crate::fs::pseudo::{StaticDir, Text, TextFile};
use crate::signal::send_to_group;
use crate::task::{ThreadGroup, current_task};
use crate::vfs::{File, SuperBlock};
use crate::{Kernel, Result};

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Controllers,
    Events,
    Kill,
    MaxDepth,
    MaxDescendants,
    Procs,
    Stat,
    SubtreeControl,
    Threads,
    Type,
}

/// Name, whether the root has it too, mode.
const FILES: [(&str, bool, u32, What); 10] = [
    ("cgroup.controllers", true, 0o444, What::Controllers),
    ("cgroup.events", false, 0o444, What::Events),
    ("cgroup.kill", false, 0o200, What::Kill),
    ("cgroup.max.depth", true, 0o644, What::MaxDepth),
    ("cgroup.max.descendants", true, 0o644, What::MaxDescendants),
    ("cgroup.procs", true, 0o644, What::Procs),
    ("cgroup.stat", true, 0o444, What::Stat),
    ("cgroup.subtree_control", true, 0o644, What::SubtreeControl),
    ("cgroup.threads", true, 0o644, What::Threads),
    ("cgroup.type", false, 0o644, What::Type),
];

struct Control {
    kernel: Weak<Kernel>,
    cgroup: Arc<Cgroup>,
    what: What,
    mode: u32,
}

/// The files of `cgroup`.
pub(super) fn files(sb: &Arc<SuperBlock>, kernel: &Weak<Kernel>, cgroup: &Arc<Cgroup>) -> StaticDir {
    let mut files = StaticDir::default();
    for (name, in_root, mode, what) in FILES {
        if in_root || cgroup.parent.is_some() {
            let control = Control { kernel: Weak::clone(kernel), cgroup: Arc::clone(cgroup), what, mode };
            files.add(name, TextFile::inode(sb, control));
        }
    }
    files
}

impl Control {
    fn kernel(&self) -> Result<Arc<Kernel>> {
        if self.cgroup.removed.load(Ordering::Acquire) {
            return Err(Errno::ENODEV);
        }
        self.kernel.upgrade().ok_or(Errno::ENODEV)
    }

    fn members(&self) -> Result<Vec<Arc<ThreadGroup>>> {
        let kernel = self.kernel()?;
        Ok(kernel.cgroups.members(&kernel, &self.cgroup))
    }

    /// Numbers as the reader's PID namespace has them.
    fn numbers(&self, threads: bool) -> Result<String> {
        let task = current_task().ok_or(Errno::ESRCH)?;
        let pid = task.pid();
        let ns = pid.namespace();
        let mut numbers: Vec<i32> = Vec::new();
        for group in self.members()? {
            match threads {
                true => numbers.extend(group.threads().iter().map(|thread| thread.pid().number_in(ns))),
                false => numbers.push(group.pid.number_in(ns)),
            }
        }
        numbers.sort_unstable();
        Ok(numbers.iter().map(|number| format!("{number}\n")).collect())
    }

    /// The process whose number has been written, 0 for who writes.
    fn named(text: &str) -> Result<Arc<ThreadGroup>> {
        let number: i32 = text.parse().map_err(|_| Errno::EINVAL)?;
        let task = current_task().ok_or(Errno::ESRCH)?;
        match number {
            ..0 => Err(Errno::EINVAL),
            0 => Ok(Arc::clone(task.thread_group())),
            // A thread stands for its process.
            _ => Ok(Arc::clone(task.pid().namespace().task(number).ok_or(Errno::ESRCH)?.thread_group())),
        }
    }
}

fn limit(slot: &AtomicU32) -> String {
    match slot.load(Ordering::Relaxed) {
        u32::MAX => "max\n".to_owned(),
        limit => format!("{limit}\n"),
    }
}

fn set_limit(slot: &AtomicU32, text: &str) -> Result<()> {
    let limit = match text {
        "max" => u32::MAX,
        text => match text.parse::<i64>().map_err(|_| Errno::EINVAL)? {
            limit @ 0..=0x7fff_ffff => limit as u32,
            _ => return Err(Errno::ERANGE),
        },
    };
    slot.store(limit, Ordering::Relaxed);
    Ok(())
}

impl Text for Control {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        let kernel = self.kernel()?;
        let text = match self.what {
            // No group limits anything.
            What::Controllers | What::SubtreeControl => "\n".to_owned(),
            What::Events => {
                let groups: Vec<Arc<ThreadGroup>> =
                    kernel.tree.lock().iter().map(|node| Arc::clone(&node.group)).collect();
                let populated = groups.iter().filter(|group| group.any_thread().is_some()).any(|group| {
                    group.cgroup(&kernel).upwards().any(|above| Arc::ptr_eq(&above, &self.cgroup))
                });
                format!("populated {}\nfrozen 0\n", i32::from(populated))
            }
            What::Kill => return Err(Errno::EINVAL),
            What::MaxDepth => limit(&self.cgroup.max_depth),
            What::MaxDescendants => limit(&self.cgroup.max_descendants),
            What::Procs => self.numbers(false)?,
            What::Threads => self.numbers(true)?,
            What::Stat => {
                let below = self.cgroup.descendants.load(Ordering::Relaxed);
                format!("nr_descendants {below}\nnr_dying_descendants 0\n")
            }
            What::Type => "domain\n".to_owned(),
        };
        Ok(text.into_bytes())
    }

    fn write(&self, _file: &File, text: &[u8]) -> Result<()> {
        let kernel = self.kernel()?;
        let text = std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?.trim();
        match self.what {
            What::Procs => kernel.cgroups.enter(&Self::named(text)?, &self.cgroup),
            What::MaxDepth => set_limit(&self.cgroup.max_depth, text),
            What::MaxDescendants => set_limit(&self.cgroup.max_descendants, text),
            What::Kill => {
                match text.parse::<i32>().map_err(|_| Errno::EINVAL)? {
                    1 => {}
                    _ => return Err(Errno::ERANGE),
                }
                for group in self.members()? {
                    // Gone meanwhile is as good.
                    let _ = send_to_group(&group, Signal::SIGKILL, SigInfo::kernel(Signal::SIGKILL));
                }
                Ok(())
            }
            // There is none to be switched on.
            What::SubtreeControl if text.is_empty() => Ok(()),
            What::Threads => Err(Errno::EOPNOTSUPP),
            _ => Err(Errno::EINVAL),
        }
    }

    fn owner(&self) -> (u32, u32, u32) {
        (self.mode, 0, 0)
    }
}
