//! The directory of a process or thread.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use abi::Errno;
use sync::Mutex;

use super::fd::{FdDir, FdInfoDir};
use super::mem::MemNode;
use super::root::number;
use super::status::{self, Scope};
use super::write::{What, Writable};
use super::{link, maps, mounts};
use crate::Result;
use crate::fs::pseudo::{Children, Entry, PseudoDir, StaticDir, Text, TextFile};
use crate::task::{PidNamespace, RunState, Task};
use crate::vfs::permission::generic_permission;
use crate::vfs::{Caller, File, Inode, SuperBlock, Want};

const DT_DIR: u8 = 4;

/// What makes a text of a task.
type Say = fn(&Arc<Task>, &PidNamespace, Scope) -> Result<Vec<u8>>;

/// Who may look (ptrace(2), "Ptrace access mode checking").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    /// Whoever the mode lets.
    Mode,
    /// Who may look into the process: EACCES from open(2).
    Open,
    /// As [`Open`](Self::Open), when it is read, with this error.
    Read(Errno),
}

/// A read-only file of a task.
struct TaskText {
    task: Weak<Task>,
    ns: Arc<PidNamespace>,
    scope: Scope,
    mode: u32,
    guard: Guard,
    say: Say,
}

/// The task, unless it has been waited for.
pub(super) fn still_there(task: &Weak<Task>) -> Result<Arc<Task>> {
    task.upgrade().filter(|task| task.state() != RunState::Dead).ok_or(Errno::ESRCH)
}

impl Text for TaskText {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        let task = still_there(&self.task)?;
        if let Guard::Read(errno) = self.guard
            && !status::reader_may_look_into(&task)
        {
            return Err(errno);
        }
        (self.say)(&task, &self.ns, self.scope)
    }

    fn open(&self, caller: &Caller<'_>) -> Result<()> {
        if self.guard != Guard::Open {
            return Ok(());
        }
        super::link::may_look_into(caller, &*still_there(&self.task)?)
    }

    fn owner(&self) -> (u32, u32, u32) {
        owner(&self.task, self.mode)
    }
}

/// Files of a process belong to its effective user, or to root when it must not be looked into.
pub(super) fn owner(task: &Weak<Task>, mode: u32) -> (u32, u32, u32) {
    let Some(task) = task.upgrade() else { return (mode, 0, 0) };
    let dumpable = task.resources().is_none_or(|r| r.mm.dumpable() == 1);
    let creds = task.creds();
    if dumpable || mode == 0o555 { (mode, creds.euid, creds.egid) } else { (mode, 0, 0) }
}

/// The directory.
pub(super) struct TaskDir {
    task: Weak<Task>,
    files: StaticDir,
}

impl TaskDir {
    /// /proc/PID.
    pub fn process(sb: &Arc<SuperBlock>, task: &Arc<Task>, ns: &Arc<PidNamespace>) -> TaskDir {
        let mut dir = TaskDir::new(sb, task, ns, Scope::Process);
        let threads = Threads { task: Arc::downgrade(task), ns: Arc::clone(ns), known: Mutex::default() };
        dir.files.add("task", PseudoDir::inode(sb, threads));
        dir
    }

    fn new(sb: &Arc<SuperBlock>, task: &Arc<Task>, ns: &Arc<PidNamespace>, scope: Scope) -> TaskDir {
        let weak = Arc::downgrade(task);
        let mut files = StaticDir::default();
        let mut text = |name: &str, mode: u32, say: Say| {
            let guard = match name {
                "auxv" | "environ" | "maps" | "smaps" | "smaps_rollup" => Guard::Open,
                "io" => Guard::Read(Errno::EACCES),
                "personality" => Guard::Read(Errno::EPERM),
                _ => Guard::Mode,
            };
            let text = TaskText { task: Weak::clone(&weak), ns: Arc::clone(ns), scope, mode, guard, say };
            files.add(name, TextFile::inode(sb, text));
        };
        text("auxv", 0o400, |task, _, _| Ok(auxv(task)));
        text("cgroup", 0o444, |task, _, _| {
            let group = task.thread_group();
            let reader = crate::task::current_task().and_then(|reader| reader.resources());
            let first = || Arc::clone(&group.kernel.cgroup_ns);
            let seen_from = reader.map_or_else(first, |own| Arc::clone(&own.namespaces.cgroup));
            Ok(group.kernel.cgroups.of(group, &seen_from))
        });
        if scope == Scope::Thread {
            text("children", 0o444, |task, ns, _| Ok(status::children(task, ns)));
        }
        text("cmdline", 0o444, |task, _, _| status::cmdline(task));
        text("environ", 0o400, |task, _, _| environ(task));
        text("io", 0o400, |task, _, scope| Ok(status::io(task, scope)));
        text("limits", 0o444, |task, _, _| status::limits(task));
        text("loginuid", 0o444, |_, _, _| Ok(b"4294967295".to_vec()));
        text("maps", 0o444, |task, _, _| maps::maps(task));
        text("mountinfo", 0o444, |task, _, _| mounts::mountinfo(task));
        text("mounts", 0o444, |task, _, _| mounts::mounts(task));
        text("oom_score", 0o444, |task, _, _| Ok(status::oom_score(task)));
        text("personality", 0o400, |task, _, _| {
            let personality = task.personality.load(std::sync::atomic::Ordering::Relaxed);
            Ok(format!("{personality:08x}\n").into_bytes())
        });
        text("sessionid", 0o444, |_, _, _| Ok(b"4294967295".to_vec()));
        text("smaps", 0o444, |task, _, _| maps::smaps(task));
        text("smaps_rollup", 0o444, |task, _, _| maps::rollup(task));
        text("stat", 0o444, status::stat);
        text("statm", 0o444, |task, _, _| status::statm(task));
        text("status", 0o444, |task, ns, _| status::status(task, ns));
        text("wchan", 0o444, |_, _, _| Ok(b"0".to_vec()));
        for (name, what) in [
            ("comm", What::Comm),
            ("gid_map", What::GidMap),
            ("oom_adj", What::OomAdj),
            ("oom_score_adj", What::OomScoreAdj),
            ("setgroups", What::Setgroups),
            ("timerslack_ns", What::TimerSlack),
            ("uid_map", What::UidMap),
        ] {
            files.add(name, TextFile::inode(sb, Writable { task: Weak::clone(&weak), what }));
        }
        files.add("mem", MemNode::inode(sb, task));
        files.add("cwd", link::place(sb, task, |r| Ok(r.fs.roots().cwd.clone())));
        files.add("root", link::place(sb, task, |r| Ok(r.fs.roots().root.clone())));
        files.add("exe", link::place(sb, task, link::exe));
        files.add("fd", PseudoDir::inode(sb, FdDir(Weak::clone(&weak))));
        files.add("fdinfo", PseudoDir::inode(sb, FdInfoDir(Weak::clone(&weak))));
        files.add("attr", OwnedDir::inode(sb, task, 0o555, attributes));
        files.add("ns", OwnedDir::inode(sb, task, 0o511, namespaces));
        files.add("net", OwnedDir::inode(sb, task, 0o555, super::net::files));
        TaskDir { task: weak, files }
    }
}

impl Children for TaskDir {
    fn find(&self, _dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        // A process that has been reaped has nothing any more.
        if still_there(&self.task).is_err() {
            return Ok(None);
        }
        Ok(self.files.get(name).cloned())
    }

    fn list(&self, _dir: &Arc<Inode>, position: u64) -> Result<Vec<Entry>> {
        Ok(self.files.entries(0).skip(position as usize).collect())
    }

    fn owner(&self) -> (u32, u32, u32) {
        owner(&self.task, 0o555)
    }

    fn links(&self) -> u32 {
        2 + 7
    }

    fn permission(&self, dir: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        // As a directory that is immutable.
        if want.contains(Want::WRITE) {
            return Err(Errno::EPERM);
        }
        generic_permission(dir, caller.creds, want)
    }
}

/// Makes the entries of a directory of a process.
type MakeFiles = fn(&Arc<SuperBlock>, &Arc<Task>) -> StaticDir;

/// A directory of a process whose entries never change and are no directories; they are made when one is looked for.
struct OwnedDir {
    task: Weak<Task>,
    mode: u32,
    make: MakeFiles,
    files: OnceLock<StaticDir>,
}

impl OwnedDir {
    fn inode(sb: &Arc<SuperBlock>, task: &Arc<Task>, mode: u32, make: MakeFiles) -> Arc<Inode> {
        PseudoDir::inode(sb, OwnedDir { task: Arc::downgrade(task), mode, make, files: OnceLock::new() })
    }

    fn files(&self, sb: &Arc<SuperBlock>) -> Option<&StaticDir> {
        if self.files.get().is_none() {
            let _ = self.files.set((self.make)(sb, &self.task.upgrade()?));
        }
        self.files.get()
    }
}

impl Children for OwnedDir {
    fn find(&self, dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        Ok(self.files(&dir.sb).and_then(|files| files.get(name)).cloned())
    }

    fn list(&self, dir: &Arc<Inode>, position: u64) -> Result<Vec<Entry>> {
        let files = self.files(&dir.sb).into_iter();
        Ok(files.flat_map(|files| files.entries(0)).skip(position as usize).collect())
    }

    fn owner(&self) -> (u32, u32, u32) {
        owner(&self.task, self.mode)
    }
}

/// /proc/PID/ns.
fn namespaces(sb: &Arc<SuperBlock>, task: &Arc<Task>) -> StaticDir {
    let mut links = StaticDir::default();
    for kind in
        ["cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "time_for_children", "user", "uts"]
    {
        links.add(kind, link::namespace(sb, task, kind));
    }
    links
}

/// /proc/PID/attr: what a security module calls the process. There is none, and nothing to read or to set: EINVAL, as on a Linux without.
fn attributes(sb: &Arc<SuperBlock>, task: &Arc<Task>) -> StaticDir {
    let mut files = StaticDir::default();
    for name in ["current", "exec", "fscreate", "keycreate", "prev", "sockcreate"] {
        let mode = if name == "prev" { 0o444 } else { 0o666 };
        files.add(name, TextFile::inode(sb, Attribute { task: Arc::downgrade(task), mode }));
    }
    files
}

struct Attribute {
    task: Weak<Task>,
    mode: u32,
}

impl Text for Attribute {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        still_there(&self.task)?;
        Err(Errno::EINVAL)
    }

    fn write(&self, _file: &File, _text: &[u8]) -> Result<()> {
        let task = still_there(&self.task)?;
        let own = crate::task::current_task().ok_or(Errno::EPERM)?;
        if !Arc::ptr_eq(own.thread_group(), task.thread_group()) {
            return Err(Errno::EPERM);
        }
        Err(if Arc::ptr_eq(&own, &task) { Errno::EINVAL } else { Errno::EACCES })
    }

    fn owner(&self) -> (u32, u32, u32) {
        owner(&self.task, self.mode)
    }
}

/// /proc/PID/task.
struct Threads {
    task: Weak<Task>,
    ns: Arc<PidNamespace>,
    known: Mutex<HashMap<u64, Weak<Inode>>, sync::levels::Leaf>,
}

impl Children for Threads {
    fn find(&self, dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        let Some(own) = self.task.upgrade() else { return Ok(None) };
        let Some(thread) = number(name).and_then(|tid| self.ns.task(tid)) else { return Ok(None) };
        if thread.thread_group().id() != own.thread_group().id() {
            return Ok(None);
        }
        if let Some(known) = self.known.lock().get(&thread.id).and_then(Weak::upgrade) {
            return Ok(Some(known));
        }
        let made = PseudoDir::inode(&dir.sb, TaskDir::new(&dir.sb, &thread, &self.ns, Scope::Thread));
        let mut known = self.known.lock();
        // Somebody else may have been faster: theirs is the one then.
        if let Some(first) = known.get(&thread.id).and_then(Weak::upgrade) {
            drop(known);
            return Ok(Some(first));
        }
        known.retain(|_, inode| inode.strong_count() > 0);
        known.insert(thread.id, Arc::downgrade(&made));
        Ok(Some(made))
    }

    fn list(&self, _dir: &Arc<Inode>, position: u64) -> Result<Vec<Entry>> {
        let Some(own) = self.task.upgrade() else { return Ok(Vec::new()) };
        let mut numbers: Vec<i32> =
            own.thread_group().threads().iter().map(|t| t.pid().number_in(&self.ns)).collect();
        numbers.sort_unstable();
        let entry = |tid: i32| Entry {
            name: tid.to_string().into_bytes(),
            ino: tid as u64 + 1,
            kind: DT_DIR,
            position: tid as u64,
        };
        Ok(numbers.into_iter().filter(|t| *t > 0 && *t as u64 >= position).map(entry).collect())
    }

    fn owner(&self) -> (u32, u32, u32) {
        owner(&self.task, 0o555)
    }

    fn links(&self) -> u32 {
        2 + self.task.upgrade().map_or(0, |t| t.thread_group().threads().len()) as u32
    }
}

fn auxv(task: &Arc<Task>) -> Vec<u8> {
    let Some(resources) = task.resources() else { return Vec::new() };
    resources.mm.layout().auxv.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn environ(task: &Arc<Task>) -> Result<Vec<u8>> {
    let Some(resources) = task.resources() else { return Ok(Vec::new()) };
    let layout = resources.mm.layout();
    status::memory_range(task, layout.env_start, layout.env_end)
}
