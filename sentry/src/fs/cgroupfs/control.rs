//! The files of a group.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::signal::{SigInfo, Signal};

use super::Cgroup;
use super::grants::{self, Value};
use super::hierarchy::{Controllers, Hierarchy, Version};
use crate::fs::pseudo::{StaticDir, Text, TextFile};
use crate::signal::send_to_group;
use crate::task::{ThreadGroup, current_task};
use crate::vfs::{File, SuperBlock};
use crate::{Kernel, Result};

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    CloneChildren,
    Controllers,
    Events,
    Kill,
    MaxDepth,
    MaxDescendants,
    NotifyOnRelease,
    PidsCurrent,
    PidsEvents,
    PidsMax,
    Procs,
    SaneBehavior,
    Stat,
    SubtreeControl,
    Tasks,
    Threads,
    Type,
    /// Of the root alone.
    Granted(Value),
}

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    Root,
    All,
    /// All but the root.
    Groups,
    /// All but the root, of hierarchies with the controller.
    GroupsWith(Controllers),
}

/// Version, name, where it is, mode.
const FILES: [(Version, &str, In, u32, What); 18] = [
    (Version::One, "cgroup.clone_children", In::All, 0o644, What::CloneChildren),
    (Version::One, "cgroup.procs", In::All, 0o644, What::Procs),
    (Version::One, "cgroup.sane_behavior", In::Root, 0o444, What::SaneBehavior),
    (Version::One, "notify_on_release", In::All, 0o644, What::NotifyOnRelease),
    (Version::One, "tasks", In::All, 0o644, What::Tasks),
    (Version::One, "pids.current", In::GroupsWith(Controllers::PIDS), 0o444, What::PidsCurrent),
    (Version::One, "pids.events", In::GroupsWith(Controllers::PIDS), 0o444, What::PidsEvents),
    (Version::One, "pids.max", In::GroupsWith(Controllers::PIDS), 0o644, What::PidsMax),
    (Version::Two, "cgroup.controllers", In::All, 0o444, What::Controllers),
    (Version::Two, "cgroup.events", In::Groups, 0o444, What::Events),
    (Version::Two, "cgroup.kill", In::Groups, 0o200, What::Kill),
    (Version::Two, "cgroup.max.depth", In::All, 0o644, What::MaxDepth),
    (Version::Two, "cgroup.max.descendants", In::All, 0o644, What::MaxDescendants),
    (Version::Two, "cgroup.procs", In::All, 0o644, What::Procs),
    (Version::Two, "cgroup.stat", In::All, 0o444, What::Stat),
    (Version::Two, "cgroup.subtree_control", In::All, 0o644, What::SubtreeControl),
    (Version::Two, "cgroup.threads", In::All, 0o644, What::Threads),
    (Version::Two, "cgroup.type", In::Groups, 0o644, What::Type),
];

struct Control {
    kernel: Weak<Kernel>,
    hierarchy: Arc<Hierarchy>,
    cgroup: Arc<Cgroup>,
    what: What,
    mode: u32,
}

/// The files of `cgroup`.
pub(super) fn files(
    sb: &Arc<SuperBlock>,
    kernel: &Weak<Kernel>,
    hierarchy: &Arc<Hierarchy>,
    cgroup: &Arc<Cgroup>,
) -> StaticDir {
    let mut files = StaticDir::default();
    let mut add = |name: &str, mode: u32, what: What| {
        let (kernel, hierarchy, cgroup) = (Weak::clone(kernel), Arc::clone(hierarchy), Arc::clone(cgroup));
        files.add(name, TextFile::inode(sb, Control { kernel, hierarchy, cgroup, what, mode }));
    };
    for (version, name, place, mode, what) in FILES {
        let is_here = match place {
            In::All => true,
            In::Root => cgroup.is_root(),
            In::Groups => !cgroup.is_root(),
            In::GroupsWith(controller) => !cgroup.is_root() && hierarchy.has(controller),
        };
        if version == hierarchy.version && is_here {
            add(name, mode, what);
        }
    }
    for (version, controller, name, value) in grants::FILES {
        let is_here = version == Version::Two || hierarchy.has(controller);
        if version == hierarchy.version && cgroup.is_root() && is_here {
            add(name, 0o444, What::Granted(value));
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
        Ok(self.kernel()?.members_of(&self.cgroup, false))
    }

    /// A controller is to be on (`+pids`) or off for the groups below.
    fn switch(&self, word: &str) -> Result<()> {
        let (on, name) = match (word.strip_prefix('+'), word.strip_prefix('-')) {
            (Some(name), _) => (true, name),
            (_, Some(name)) => (false, name),
            _ => return Err(Errno::EINVAL),
        };
        let controller = Controllers::named(name.as_bytes()).ok_or(Errno::EINVAL)?;
        let is_here =
            self.cgroup.is_root() && self.kernel()?.cgroups.controllers(&self.hierarchy).contains(controller);
        match (on, is_here) {
            (false, _) => Ok(()),
            (true, false) => Err(Errno::ENOENT),
            (true, true) => Err(Errno::EOPNOTSUPP),
        }
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
            What::CloneChildren => match self.cgroup.clone_children.load(Ordering::Relaxed) {
                true => "1\n".to_owned(),
                false => "0\n".to_owned(),
            },
            // What the container was granted; no group gets a part of it.
            What::Controllers if self.cgroup.is_root() => {
                let names: Vec<&str> = kernel.cgroups.controllers(&self.hierarchy).names().collect();
                format!("{}\n", names.join(" "))
            }
            What::Controllers | What::SubtreeControl => "\n".to_owned(),
            What::Events => {
                let populated = !kernel.members_of(&self.cgroup, true).is_empty();
                format!("populated {}\nfrozen 0\n", i32::from(populated))
            }
            What::Granted(value) => {
                let task = current_task().ok_or(Errno::ESRCH)?;
                value.text(&kernel, &task.thread_group().container)
            }
            What::NotifyOnRelease | What::SaneBehavior => "0\n".to_owned(),
            What::PidsCurrent => format!("{}\n", kernel.threads_in(&self.cgroup)),
            What::PidsEvents => self.cgroup.pids.events(),
            What::PidsMax => self.cgroup.pids.max(),
            What::Kill => return Err(Errno::EINVAL),
            What::MaxDepth => limit(&self.cgroup.max_depth),
            What::MaxDescendants => limit(&self.cgroup.max_descendants),
            What::Procs => self.numbers(false)?,
            What::Tasks | What::Threads => self.numbers(true)?,
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
            What::CloneChildren | What::NotifyOnRelease => {
                let on = text.parse::<i64>().map_err(|_| Errno::EINVAL)? != 0;
                match self.what {
                    What::CloneChildren => self.cgroup.clone_children.store(on, Ordering::Relaxed),
                    // There is no process that an agent could be a child of.
                    _ if on => return Err(Errno::EOPNOTSUPP),
                    _ => {}
                }
                Ok(())
            }
            What::PidsMax => self.cgroup.pids.set(text),
            What::Procs => kernel.cgroups.enter(&Self::named(text)?, &self.cgroup),
            // A process is in one group with all its threads.
            What::Tasks => match Self::named(text)? {
                group if group.threads().len() > 1 => Err(Errno::EOPNOTSUPP),
                group => kernel.cgroups.enter(&group, &self.cgroup),
            },
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
            What::SubtreeControl => text.split_ascii_whitespace().try_for_each(|word| self.switch(word)),
            What::Threads => Err(Errno::EOPNOTSUPP),
            _ => Err(Errno::EINVAL),
        }
    }

    fn owner(&self) -> (u32, u32, u32) {
        (self.mode, 0, 0)
    }
}
