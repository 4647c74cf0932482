//! The root: what concerns the whole system, and a directory for each process.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Weak};

use abi::Errno;
use sync::Mutex;

use super::sys;
use super::task::TaskDir;
use crate::fs::pseudo::{Children, Entry, PseudoDir, PseudoLink, StaticDir, TextFile};
use crate::task::{PidNamespace, Task};
use crate::vfs::{Caller, Inode, SuperBlock};
use crate::{Kernel, Result};

const DT_DIR: u8 = 4;
/// Processes come after everything else.
const FIRST_PID: u64 = 1 << 20;

/// The root directory of one /proc.
pub(super) struct Root {
    kernel: Arc<Kernel>,
    ns: Arc<PidNamespace>,
    files: StaticDir,
    tasks: Mutex<HashMap<u64, Weak<Inode>>, sync::levels::Leaf>,
}

impl Root {
    pub fn new(sb: &Arc<SuperBlock>, kernel: &Arc<Kernel>, ns: &Arc<PidNamespace>) -> Root {
        let mut files = StaticDir::default();
        let mut text = |name: &str, say: fn(&Kernel) -> String| {
            let kernel = Arc::clone(kernel);
            files.add(name, TextFile::fixed(sb, 0o444, move || Ok(say(&kernel).into_bytes())));
        };
        text("cmdline", |_| "BOOT_IMAGE=/vmlinuz console=ttyS0\n".to_owned());
        text("cpuinfo", cpuinfo);
        text("devices", devices);
        text("filesystems", filesystems);
        text("loadavg", loadavg);
        text("locks", super::locks::text);
        text("meminfo", meminfo);
        text("stat", stat);
        text("swaps", |_| "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_owned());
        text("uptime", uptime);
        text("version", version);
        text("vmstat", vmstat);
        text("partitions", |_| "major minor  #blocks  name\n\n".to_owned());
        text("diskstats", |_| String::new());
        text("interrupts", interrupts);
        text("modules", |_| String::new());
        text("misc", |_| String::new());
        text("cgroups", |kernel| kernel.cgroups.summary());
        let own = Arc::clone(ns);
        let own_pid = move |caller: &Caller<'_>| -> Result<Vec<u8>> {
            let task = caller.task.ok_or(Errno::ENOENT)?;
            match task.thread_group().pid.number_in(&own) {
                0 => Err(Errno::ENOENT),
                pid => Ok(pid.to_string().into_bytes()),
            }
        };
        files.add("self", PseudoLink::text(sb, own_pid));
        let own = Arc::clone(ns);
        let own_thread = move |caller: &Caller<'_>| -> Result<Vec<u8>> {
            let task = caller.task.ok_or(Errno::ENOENT)?;
            let (tgid, tid) = (task.thread_group().pid.number_in(&own), task.pid().number_in(&own));
            if tid == 0 { Err(Errno::ENOENT) } else { Ok(format!("{tgid}/task/{tid}").into_bytes()) }
        };
        files.add("thread-self", PseudoLink::text(sb, own_thread));
        files.add("mounts", PseudoLink::text(sb, |_| Ok(b"self/mounts".to_vec())));
        files.add("net", PseudoLink::text(sb, |_| Ok(b"self/net".to_vec())));
        files.add("sys", sys::root(sb, kernel));
        files.add("sysvipc", super::ipc::sysvipc(sb, kernel));
        Root { kernel: Arc::clone(kernel), ns: Arc::clone(ns), files, tasks: Mutex::default() }
    }

    /// The directory of a task: the same inode for as long as somebody holds it.
    fn task_dir(&self, dir: &Arc<Inode>, task: &Arc<Task>) -> Arc<Inode> {
        if let Some(known) = self.tasks.lock().get(&task.id).and_then(Weak::upgrade) {
            return known;
        }
        let made = PseudoDir::inode(&dir.sb, TaskDir::process(&dir.sb, task, &self.ns));
        let mut tasks = self.tasks.lock();
        if tasks.len() == tasks.capacity() {
            tasks.retain(|_, inode| inode.strong_count() > 0);
        }
        // Somebody else may have been faster: theirs is the one then.
        match tasks.get(&task.id).and_then(Weak::upgrade) {
            Some(known) => {
                drop(tasks);
                known
            }
            None => {
                tasks.insert(task.id, Arc::downgrade(&made));
                made
            }
        }
    }
}

impl Children for Root {
    fn find(&self, dir: &Arc<Inode>, name: &[u8], _caller: &Caller<'_>) -> Result<Option<Arc<Inode>>> {
        if let Some(file) = self.files.get(name) {
            return Ok(Some(Arc::clone(file)));
        }
        let Some(number) = number(name) else { return Ok(None) };
        // Threads have directories here as well, though no listing shows them.
        let task = self.ns.task(number);
        Ok(task.map(|task| self.task_dir(dir, &task)))
    }

    fn list(&self, dir: &Arc<Inode>, position: u64) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = self.files.entries(0).skip(position as usize).collect();
        let first = position.saturating_sub(FIRST_PID) as i32;
        for pid in self.ns.numbers().into_iter().filter(|n| *n >= first) {
            if self.ns.thread_group(pid).is_some() {
                let position = FIRST_PID + pid as u64;
                entries.push(Entry {
                    name: pid.to_string().into_bytes(),
                    ino: dir.ino + position,
                    kind: DT_DIR,
                    position,
                });
            }
        }
        Ok(entries)
    }

    fn links(&self) -> u32 {
        self.kernel.tree.lock().len() as u32 + self.files.links()
    }
}

/// A decimal number without leading zeros, as process directories are named.
pub(super) fn number(name: &[u8]) -> Option<i32> {
    if name.first() == Some(&b'0') && name.len() > 1 {
        return None;
    }
    std::str::from_utf8(name).ok().filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

fn cpuinfo(kernel: &Kernel) -> String {
    let cpu = platform::cpu::describe();
    let mut out = String::new();
    for index in 0..kernel.cpus {
        let cores = kernel.cpus;
        let _ = write!(
            out,
            "processor\t: {index}\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\nmodel name\t: {}\n\
             stepping\t: {}\nmicrocode\t: 0xffffffff\ncpu MHz\t\t: 2000.000\ncache size\t: {} KB\nphysical id\t: 0\n\
             siblings\t: {cores}\ncore id\t\t: {index}\ncpu cores\t: {cores}\napicid\t\t: {index}\n\
             initial apicid\t: {index}\nfpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: {}\nwp\t\t: yes\n\
             flags\t\t: {}\nbugs\t\t: \nbogomips\t: 4000.00\nclflush size\t: 64\ncache_alignment\t: 64\n\
             address sizes\t: {} bits physical, {} bits virtual\npower management:\n\n",
            cpu.vendor,
            cpu.family,
            cpu.model,
            cpu.name,
            cpu.stepping,
            512,
            cpu.level,
            cpu.flags,
            cpu.physical_bits,
            cpu.virtual_bits,
        );
    }
    out
}

fn devices(_: &Kernel) -> String {
    "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n 10 misc\n136 pts\n\nBlock devices:\n".to_owned()
}

fn filesystems(kernel: &Kernel) -> String {
    let kinds = kernel.vfs.file_system_types();
    kinds
        .iter()
        .map(|kind| format!("{}\t{}\n", if kind.needs_device() { "" } else { "nodev" }, kind.name()))
        .collect()
}

fn loadavg(kernel: &Kernel) -> String {
    let (mut running, mut all) = (0, 0);
    for node in kernel.tree.lock().iter() {
        for thread in node.group.threads() {
            all += 1;
            running += u32::from(thread.state() == crate::task::RunState::Running);
        }
    }
    let load = host::system::load_average();
    format!("{:.2} {:.2} {:.2} {running}/{all} {}\n", load[0], load[1], load[2], kernel.pid_ns.last())
}

fn meminfo(kernel: &Kernel) -> String {
    let total = crate::mm::total_memory().min(host::system::memory().total) / 1024;
    let used = kernel.platform.memory().resident_bytes() / 1024;
    let free = (host::system::memory().free / 1024).min(total.saturating_sub(used));
    let available = total.saturating_sub(used).min(host::system::memory().free / 1024);
    let mut out = String::new();
    let mut line = |name: &str, kib: u64| {
        let _ = writeln!(out, "{:<16}{kib:>8} kB", format!("{name}:"));
    };
    line("MemTotal", total);
    line("MemFree", free);
    line("MemAvailable", available.max(free));
    for name in ["Buffers", "Cached", "SwapCached"] {
        line(name, 0);
    }
    line("Active", used);
    line("Inactive", 0);
    line("Active(anon)", used);
    for name in [
        "Inactive(anon)",
        "Active(file)",
        "Inactive(file)",
        "Unevictable",
        "Mlocked",
        "SwapTotal",
        "SwapFree",
    ] {
        line(name, 0);
    }
    line("Dirty", 0);
    line("Writeback", 0);
    line("AnonPages", used);
    for name in
        ["Mapped", "Shmem", "KReclaimable", "Slab", "SReclaimable", "SUnreclaim", "KernelStack", "PageTables"]
    {
        line(name, 0);
    }
    line("CommitLimit", total / 2);
    line("Committed_AS", kernel.platform.memory().allocated_bytes() / 1024);
    line("VmallocTotal", 34_359_738_367);
    line("VmallocUsed", 0);
    line("VmallocChunk", 0);
    let _ = write!(
        out,
        "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\nHugePages_Surp:        0\n\
         Hugepagesize:       2048 kB\nHugetlb:               0 kB\n"
    );
    out
}

fn stat(kernel: &Kernel) -> String {
    let mut usage = crate::task::Usage::default();
    let (mut running, mut blocked) = (0, 0);
    let groups: Vec<_> = kernel.tree.lock().iter().map(|node| Arc::clone(&node.group)).collect();
    for group in groups {
        for thread in group.threads() {
            match thread.state() {
                crate::task::RunState::Running => running += 1,
                crate::task::RunState::DiskSleep => blocked += 1,
                _ => {}
            }
        }
        usage.add(&group.usage());
    }
    let (user, system) = (super::status::ticks(usage.user_ns), super::status::ticks(usage.system_ns));
    let up = kernel.boot_ns() / 10_000_000;
    let idle = (up * u64::from(kernel.cpus)).saturating_sub(user + system);
    let mut out = format!("cpu  {user} 0 {system} {idle} 0 0 0 0 0 0\n");
    for cpu in 0..u64::from(kernel.cpus) {
        let n = u64::from(kernel.cpus);
        let _ = writeln!(out, "cpu{cpu} {} 0 {} {} 0 0 0 0 0 0", user / n, system / n, idle / n);
    }
    let boot = (kernel.clocks.realtime_ns() as i128 - i128::from(kernel.boot_ns())) / 1_000_000_000;
    let _ = write!(
        out,
        "intr 0\nctxt 0\nbtime {boot}\nprocesses {}\nprocs_running {running}\nprocs_blocked {blocked}\n\
         softirq 0 0 0 0 0 0 0 0 0 0 0\n",
        kernel.fork_count()
    );
    out
}

fn uptime(kernel: &Kernel) -> String {
    let seconds = kernel.boot_ns() as f64 / 1e9;
    format!("{seconds:.2} {:.2}\n", seconds * f64::from(kernel.cpus))
}

fn version(_: &Kernel) -> String {
    use crate::system::{RELEASE, VERSION};
    format!("Linux version {RELEASE} (runsc) (rustc, ld) {VERSION}\n")
}

fn vmstat(kernel: &Kernel) -> String {
    let pages = kernel.platform.memory().resident_bytes() / 4096;
    format!(
        "nr_free_pages 0\nnr_anon_pages {pages}\npgpgin 0\npgpgout 0\npswpin 0\npswpout 0\npgfault 0\npgmajfault 0\n"
    )
}

fn interrupts(kernel: &Kernel) -> String {
    let heads: Vec<String> = (0..kernel.cpus).map(|c| format!("{:>10}", format!("CPU{c}"))).collect();
    format!("     {}\n", heads.join(" "))
}
