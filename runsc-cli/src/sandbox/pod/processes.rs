//! What is told of a container's processes.

use std::sync::Arc;

use sentry::task::ThreadGroup;

use super::{Entry, Pod};
use crate::config::Text;
use crate::sandbox::control::{ProcessInfo, Stats, ThreadInfo};

/// Open files that are told of a process.
const MOST_FILES: usize = 256;

impl Pod {
    pub(super) fn processes(&self, entry: &Arc<Entry>) -> Vec<ProcessInfo> {
        self.kernel.processes_of(&entry.tag).iter().map(|group| self.process_info(entry, group)).collect()
    }

    fn process_info(&self, entry: &Entry, group: &Arc<ThreadGroup>) -> ProcessInfo {
        let ns = &entry.namespaces.pid_for_children;
        let ppid = {
            let tree = self.kernel.tree.lock();
            let parent =
                tree.get(group.id()).and_then(|node| node.parent).and_then(|parent| tree.get(parent));
            parent.map_or(0, |parent| parent.group.pid.number_in(ns))
        };
        let any = group.any_thread();
        // Of one that has ended, the leader is kept until it is reaped.
        let ended = if any.is_none() { group.pid.task() } else { None };
        let threads = group.threads().into_iter().chain(ended.clone()).map(|thread| ThreadInfo {
            tid: thread.pid().number_in(ns),
            name: thread.comm().into(),
            state: if ended.is_some() { 'Z' } else { thread.state().letter() },
        });
        let resources = any.as_ref().and_then(|thread| thread.resources());
        let usage = group.usage();
        let args = any.as_ref().map_or_else(Vec::new, |thread| {
            let line = sentry::fs::procfs::command_line(thread);
            let line = line.strip_suffix(b"\0").unwrap_or(&line);
            line.split(|byte| *byte == 0).map(|arg| Text::from(arg.to_vec())).collect()
        });
        let mut files = Vec::new();
        if let Some(resources) = &resources {
            let root = resources.fs.roots().root.clone();
            let mut from = 0;
            while let Some((fd, file)) = resources.files.next_open(from).filter(|_| files.len() < MOST_FILES)
            {
                files.push((fd as i32, Text::from(file.path.text(&root).for_proc())));
                from = fd + 1;
            }
        }
        ProcessInfo {
            pid: group.pid.number_in(ns),
            ppid,
            uid: any.as_ref().map_or_else(|| group.last_uid(), |thread| thread.creds().uid),
            threads: threads.collect(),
            start_s: any.as_ref().map_or(0, |thread| thread.start_ns / 1_000_000_000),
            cpu_ms: (usage.user_ns + usage.system_ns) / 1_000_000,
            rss: resources.as_ref().map_or(0, |resources| resources.mm.rss().total()),
            args,
            files,
            host_process: resources.as_ref().and_then(|resources| resources.mm.space().host_process()),
        }
    }

    pub(super) fn stats(&self, entry: &Arc<Entry>) -> Stats {
        let mut stats = Stats {
            threads: entry.tag.threads(),
            max_threads: entry.tag.max_threads(),
            memory: self.kernel.platform.memory().resident_bytes(),
            ..Stats::default()
        };
        (stats.user_ns, stats.system_ns) = self.kernel.time_of(&entry.tag);
        if stats.max_threads == u64::MAX {
            stats.max_threads = 0;
        }
        stats
    }
}
