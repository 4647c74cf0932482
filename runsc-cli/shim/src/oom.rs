//! Tells when a container has run out of memory.
//!
//! With control groups of version 1 an eventfd is registered with `memory.oom_control`; with version 2 the file
//! `memory.events` is watched by inotify. A thread a container waits; it ends with the group.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;

use crate::cgroup::{Groups, entry, table};

/// Calls `told` once for each time that the control group of a process runs out of memory.
pub fn watch(pid: u32, told: impl Fn() + Send + 'static) -> Result<()> {
    let groups = Groups::of(pid).context("the process has no control groups")?;
    if let Some(folder) = groups.v2() {
        return watch_v2(folder, told);
    }
    let folder = groups.v1("memory").context("there is no memory controller")?;
    watch_v1(&folder, told)
}

fn watch_v1(folder: &Path, told: impl Fn() + Send + 'static) -> Result<()> {
    use std::os::fd::AsRawFd;
    let event = eventfd(0, EventfdFlags::CLOEXEC)?;
    let control_path = folder.join("memory.oom_control");
    let control = std::fs::File::open(&control_path)
        .with_context(|| format!("can't open {}", control_path.display()))?;
    let order = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    std::fs::write(folder.join("cgroup.event_control"), order)?;
    spawn(move || {
        // An event comes, too, when the group is removed.
        while rustix::io::read(&event, &mut [0; 8]).is_ok() && control_path.exists() {
            told();
        }
    })
}

fn watch_v2(folder: PathBuf, told: impl Fn() + Send + 'static) -> Result<()> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let events = folder.join("memory.events");
    inotify::add_watch(&watch, &events, inotify::WatchFlags::MODIFY | inotify::WatchFlags::DELETE_SELF)?;
    spawn(move || {
        let mut before = 0;
        let mut space = [std::mem::MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(&watch, &mut space);
        while reader.next().is_ok() && events.exists() {
            let now = entry(&table(&folder, "memory.events"), "oom_kill");
            if now > before {
                told();
            }
            before = now;
        }
    })
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new().name("oom".to_owned()).stack_size(64 << 10).spawn(work)?;
    Ok(())
}
