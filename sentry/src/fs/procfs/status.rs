//! What a process says of itself in lines: stat, statm, status, limits, io …

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::resource::RLIM_INFINITY;
use abi::signal::SigSet;

use crate::Result;
use crate::task::access::{self, Access};
use crate::task::{PidNamespace, RunState, Task, ThreadGroup, Usage, current_task};

/// Clock ticks of a time: 100 a second.
pub(super) fn ticks(ns: u64) -> u64 {
    ns / 10_000_000
}

/// Whether lines speak of a process or of one of its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Process,
    Thread,
}

struct Relations {
    parent: i32,
    group: i32,
    session: i32,
    tty: u64,
    foreground: i32,
    exit_signal: i32,
    children: Usage,
    zombie: Option<i32>,
}

fn relations(task: &Task, ns: &PidNamespace) -> Relations {
    let kernel = task.kernel();
    let tree = kernel.tree.lock();
    let mut relations = Relations {
        parent: 0,
        group: 0,
        session: 0,
        tty: 0,
        foreground: -1,
        exit_signal: 0,
        children: Usage::default(),
        zombie: None,
    };
    let Some(node) = tree.get(task.thread_group().id()) else { return relations };
    let parent = node.parent.and_then(|p| tree.get(p));
    relations.parent = match parent {
        Some(parent) => parent.group.pid.number_in(ns),
        None => kernel.own_init.as_ref().map_or(0, |init| init.number_in(ns)),
    };
    relations.group = node.process_group.pid.number_in(ns);
    relations.session = node.process_group.session.pid.number_in(ns);
    relations.exit_signal = node.exit_signal.map_or(0, |s| s.number() as i32);
    relations.children = node.children_usage;
    relations.zombie = node.zombie;
    drop(tree);
    let tty = task.thread_group().tty();
    if let Some(tty) = tty {
        relations.tty = tty.device();
        relations.foreground = tty.foreground().map_or(-1, |g| g.pid.number_in(ns));
    }
    relations
}

fn usage(task: &Task, scope: Scope) -> Usage {
    match scope {
        Scope::Process => task.thread_group().usage(),
        Scope::Thread => task.usage(),
    }
}

/// The state of a process is that of its leader; a leader that is gone while others live is a zombie.
fn state(task: &Task, relations: &Relations) -> RunState {
    if relations.zombie.is_some() { RunState::Zombie } else { task.state() }
}

struct Signals {
    pending: SigSet,
    shared: SigSet,
    blocked: SigSet,
    ignored: SigSet,
    caught: SigSet,
    queued: usize,
}

fn signals(task: &Task) -> Signals {
    let group = task.thread_group();
    let (ignored, caught) = group.actions().ignored_and_caught();
    let shared = group.signals.lock();
    let own = task.signals.lock();
    Signals {
        pending: own.pending.set(),
        shared: shared.pending.set(),
        blocked: own.mask.get(),
        ignored,
        caught,
        queued: own.pending.len() + shared.pending.len(),
    }
}

/// A device number in 32 bits, as stat shows it.
fn device_number(dev: u64) -> u32 {
    let (major, minor) = (abi::stat::major(dev), abi::stat::minor(dev));
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}

/// /proc/PID/stat.
pub(super) fn stat(task: &Arc<Task>, ns: &PidNamespace, scope: Scope) -> Result<Vec<u8>> {
    let group = task.thread_group();
    let r = relations(task, ns);
    let used = usage(task, scope);
    let s = signals(task);
    let number = task.pid().number_in(ns);
    let sched = *task.sched.lock();
    let mm = task.resources().map(|resources| resources.mm);
    // Addresses are for who may look into it.
    let shown = mm.as_ref().filter(|_| reader_may_look_into(task));
    let layout = shown.map(|mm| mm.layout()).unwrap_or_default();
    let size = mm.as_ref().map_or(0, |mm| mm.usage().total);
    let rss = mm.as_ref().map_or(0, |mm| mm.rss().total()) / 4096;
    let rss_limit = group.limit(abi::resource::RLIMIT_RSS).rlim_cur;
    let threads = group.threads().len();
    let priority = if sched.priority > 0 { -1 - sched.priority } else { 20 + sched.nice };
    let mut out = format!("{number} (").into_bytes();
    out.extend(task.comm());
    let tty = device_number(r.tty);
    let mut rest = format!(
        ") {} {} {} {} {tty} {} {} {} 0 0 0 {} {} {} {} {priority} {} {threads} 0 {} {size} {rss} {rss_limit}",
        state(task, &r).letter(),
        r.parent,
        r.group,
        r.session,
        r.foreground,
        0x0040_0000,
        used.minor_faults,
        ticks(used.user_ns),
        ticks(used.system_ns),
        ticks(r.children.user_ns),
        ticks(r.children.system_ns),
        sched.nice,
        ticks(task.start_ns),
    );
    let _ = writeln!(
        rest,
        " {} {} {} 0 0 {} {} {} {} 0 0 0 {} 0 {} {} 0 0 0 {} {} {} {} {} {} {} {}",
        layout.start_code,
        layout.end_code,
        layout.start_stack,
        s.pending.0 & 0x7fff_ffff,
        s.blocked.0 & 0x7fff_ffff,
        s.ignored.0 & 0x7fff_ffff,
        s.caught.0 & 0x7fff_ffff,
        r.exit_signal,
        sched.priority,
        sched.policy,
        layout.start_data,
        layout.end_data,
        layout.start_brk,
        layout.arg_start,
        layout.arg_end,
        layout.env_start,
        layout.env_end,
        r.zombie.unwrap_or(0),
    );
    out.extend(rest.into_bytes());
    Ok(out)
}

/// /proc/PID/task/TID/children: the processes that this thread has made, or was given.
pub(super) fn children(task: &Task, ns: &PidNamespace) -> Vec<u8> {
    let tree = task.kernel().tree.lock();
    let Some(node) = tree.get(task.thread_group().id()) else { return Vec::new() };
    let own =
        node.children.iter().filter_map(|id| tree.get(*id)).filter(|child| child.parent_thread == task.id);
    let numbers = own.map(|child| child.group.pid.number_in(ns)).filter(|number| *number > 0);
    numbers.map(|number| format!("{number} ")).collect::<String>().into_bytes()
}

/// /proc/PID/statm.
pub(super) fn statm(task: &Arc<Task>) -> Result<Vec<u8>> {
    let Some(resources) = task.resources() else { return Ok(b"0 0 0 0 0 0 0\n".to_vec()) };
    let (used, rss) = (resources.mm.usage(), resources.mm.rss());
    let shared = (rss.file + rss.shmem) / 4096;
    let text = format!(
        "{} {} {shared} {} 0 {} 0\n",
        used.total / 4096,
        rss.total() / 4096,
        used.code / 4096,
        (used.data + used.stack) / 4096
    );
    Ok(text.into_bytes())
}

/// /proc/PID/status.
pub(super) fn status(task: &Arc<Task>, ns: &PidNamespace) -> Result<Vec<u8>> {
    let group: &Arc<ThreadGroup> = task.thread_group();
    let r = relations(task, ns);
    let creds = task.creds();
    let user = &creds.user_ns;
    let run_state = state(task, &r);
    let name = match run_state {
        RunState::Running => "running",
        RunState::Sleeping => "sleeping",
        RunState::DiskSleep => "disk sleep",
        RunState::Stopped => "stopped",
        RunState::TracingStop => "tracing stop",
        RunState::Zombie => "zombie",
        RunState::Dead => "dead",
    };
    let mut out = b"Name:\t".to_vec();
    for byte in task.comm() {
        match byte {
            b'\n' => out.extend(b"\\n"),
            b'\\' => out.extend(b"\\\\"),
            byte => out.push(byte),
        }
    }
    out.push(b'\n');
    let mut text = String::new();
    let resources = task.resources();
    if let Some(resources) = &resources {
        let _ = writeln!(text, "Umask:\t{:04o}", resources.fs.umask());
    }
    let uid = |id| user.uid_inside(id);
    let gid = |id| user.gid_inside(id);
    let _ = write!(
        text,
        "State:\t{} ({name})\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t0\n\
         Uid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\nFDSize:\t{}\nGroups:\t",
        run_state.letter(),
        group.pid.number_in(ns),
        task.pid().number_in(ns),
        r.parent,
        uid(creds.uid),
        uid(creds.euid),
        uid(creds.suid),
        uid(creds.fsuid),
        gid(creds.gid),
        gid(creds.egid),
        gid(creds.sgid),
        gid(creds.fsgid),
        resources.as_ref().map_or(0, |r| r.files.size()),
    );
    for id in creds.groups.iter() {
        let _ = write!(text, "{} ", gid(*id));
    }
    let numbers = |pid: &crate::task::Pid| {
        pid.numbers().skip(ns.level as usize).map(|n| format!("\t{n}")).collect::<String>()
    };
    let _ = write!(
        text,
        "\nNStgid:{}\nNSpid:{}\nNSpgid:\t{}\nNSsid:\t{}\nKthread:\t0\n",
        numbers(&group.pid),
        numbers(&task.pid()),
        r.group,
        r.session
    );
    if let Some(resources) = &resources {
        memory_lines(&mut text, &resources.mm);
    }
    let s = signals(task);
    let threads = group.threads().len();
    let limit = group.limit(abi::resource::RLIMIT_SIGPENDING).rlim_cur;
    let _ = write!(
        text,
        "CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\nThreads:\t{threads}\nSigQ:\t{}/{limit}\nSigPnd:\t{:016x}\n\
         ShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\nCapInh:\t{:016x}\n\
         CapPrm:\t{:016x}\nCapEff:\t{:016x}\nCapBnd:\t{:016x}\nCapAmb:\t{:016x}\nNoNewPrivs:\t{}\nSeccomp:\t{}\n\
         Seccomp_filters:\t{}\n",
        s.queued,
        s.pending.0,
        s.shared.0,
        s.blocked.0,
        s.ignored.0,
        s.caught.0,
        creds.cap_inheritable.0,
        creds.cap_permitted.0,
        creds.cap_effective.0,
        creds.cap_bounding.0,
        creds.cap_ambient.0,
        u8::from(creds.no_new_privs),
        task.seccomp.mode(),
        task.seccomp.filter_count(),
    );
    let cpus = task.kernel().cpus.min(64);
    let mask = task.sched.lock().affinity[0] & if cpus == 64 { u64::MAX } else { (1 << cpus) - 1 };
    let list = (0..cpus).filter(|c| mask >> c & 1 == 1).map(|c| c.to_string()).collect::<Vec<_>>();
    let list = match (list.first(), list.last()) {
        (Some(first), Some(last)) if list.len() > 1 && list.len() == cpus as usize => {
            format!("{first}-{last}")
        }
        _ => list.join(","),
    };
    let used = task.usage();
    let _ = write!(
        text,
        "Speculation_Store_Bypass:\tnot vulnerable\nSpeculationIndirectBranch:\tunknown\nCpus_allowed:\t{mask:x}\n\
         Cpus_allowed_list:\t{list}\nMems_allowed:\t1\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t{}\n\
         nonvoluntary_ctxt_switches:\t{}\n",
        used.voluntary_switches, used.involuntary_switches
    );
    out.extend(text.into_bytes());
    Ok(out)
}

fn memory_lines(text: &mut String, mm: &crate::mm::MemoryManager) {
    let (used, rss) = (mm.usage(), mm.rss());
    let mut line = |name: &str, bytes: u64| {
        let _ = writeln!(text, "{name}:\t{:>8} kB", bytes / 1024);
    };
    line("VmPeak", used.peak);
    line("VmSize", used.total);
    line("VmLck", used.locked);
    line("VmPin", 0);
    line("VmHWM", mm.peak_rss_kib() * 1024);
    line("VmRSS", rss.total());
    line("RssAnon", rss.anonymous);
    line("RssFile", rss.file);
    line("RssShmem", rss.shmem);
    line("VmData", used.data);
    line("VmStk", used.stack);
    line("VmExe", used.code);
    line("VmLib", 0);
    line("VmPTE", used.total / 512);
    line("VmSwap", 0);
    line("HugetlbPages", 0);
}

/// /proc/PID/limits.
pub(super) fn limits(task: &Arc<Task>) -> Result<Vec<u8>> {
    use abi::resource as r;
    let rows: [(&str, u32, &str); 16] = [
        ("Max cpu time", r::RLIMIT_CPU, "seconds"),
        ("Max file size", r::RLIMIT_FSIZE, "bytes"),
        ("Max data size", r::RLIMIT_DATA, "bytes"),
        ("Max stack size", r::RLIMIT_STACK, "bytes"),
        ("Max core file size", r::RLIMIT_CORE, "bytes"),
        ("Max resident set", r::RLIMIT_RSS, "bytes"),
        ("Max processes", r::RLIMIT_NPROC, "processes"),
        ("Max open files", r::RLIMIT_NOFILE, "files"),
        ("Max locked memory", r::RLIMIT_MEMLOCK, "bytes"),
        ("Max address space", r::RLIMIT_AS, "bytes"),
        ("Max file locks", r::RLIMIT_LOCKS, "locks"),
        ("Max pending signals", r::RLIMIT_SIGPENDING, "signals"),
        ("Max msgqueue size", r::RLIMIT_MSGQUEUE, "bytes"),
        ("Max nice priority", r::RLIMIT_NICE, ""),
        ("Max realtime priority", r::RLIMIT_RTPRIO, ""),
        ("Max realtime timeout", r::RLIMIT_RTTIME, "us"),
    ];
    let mut out = format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let value = |v: u64| if v == RLIM_INFINITY { "unlimited".to_owned() } else { v.to_string() };
    for (name, which, unit) in rows {
        let limit = task.thread_group().limit(which);
        let _ = writeln!(
            out,
            "{name:<25} {:<20} {:<20} {unit:<10}",
            value(limit.rlim_cur),
            value(limit.rlim_max)
        );
    }
    Ok(out.into_bytes())
}

/// /proc/PID/uid_map or gid_map.
pub(super) fn id_map(map: &[crate::task::IdExtent]) -> Vec<u8> {
    map.iter()
        .map(|e| format!("{:>10} {:>10} {:>10}\n", e.inside, e.kernel, e.count))
        .collect::<String>()
        .into_bytes()
}

/// A word of a task's own memory: `cmdline`, `environ`.
pub(super) fn memory_range(task: &Arc<Task>, start: u64, end: u64) -> Result<Vec<u8>> {
    const MOST: u64 = 8 << 20;
    let Some(resources) = task.resources() else { return Ok(Vec::new()) };
    let mut bytes = vec![0u8; end.saturating_sub(start).min(MOST) as usize];
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let n = match resources.mm.force_in(crate::mm::UserAddr(start), &mut bytes) {
        Ok(n) => n,
        Err(Errno::EFAULT) => 0,
        Err(errno) => return Err(errno),
    };
    bytes.truncate(n);
    Ok(bytes)
}

/// /proc/PID/cmdline. A program that has overwritten the NUL at the end of its arguments (setproctitle) shows what it
/// wrote, on into the environment.
pub(super) fn cmdline(task: &Arc<Task>) -> Result<Vec<u8>> {
    let Some(resources) = task.resources() else { return Ok(Vec::new()) };
    let layout = resources.mm.layout();
    let args = memory_range(task, layout.arg_start, layout.arg_end)?;
    if args.last().is_none_or(|b| *b == 0) {
        return Ok(args);
    }
    let mut all = memory_range(task, layout.arg_start, layout.env_end.max(layout.arg_end))?;
    let end = all.iter().position(|b| *b == 0).unwrap_or(all.len());
    all.truncate(end);
    Ok(all)
}

/// /proc/PID/io: of a process with those of its children that it has waited for. What reaches a disk is the host's doing: none of it
/// is this kernel's.
pub(super) fn io(task: &Arc<Task>, scope: Scope) -> Vec<u8> {
    let mut used = usage(task, scope);
    if scope == Scope::Process
        && let Some(node) = task.kernel().tree.lock().get(task.thread_group().id())
    {
        used.add(&node.children_usage);
    }
    let io = used.io;
    format!(
        "rchar: {}\nwchar: {}\nsyscr: {}\nsyscw: {}\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n",
        io.read_bytes, io.written_bytes, io.reads, io.writes
    )
    .into_bytes()
}

/// Whether the task that reads right now may look into `task`.
pub(super) fn reader_may_look_into(task: &Task) -> bool {
    current_task().is_none_or(|own| access::may_look_into(Some(&own), &own.creds(), task, Access::File))
}

/// /proc/PID/oom_score: how soon it would be killed for memory, from 0 to 2000 (oom_badness of Linux): by the part of the sandbox's
/// memory that is its, and what oom_score_adj moves that by. Tables of pages are the host's and do not count.
pub(super) fn oom_score(task: &Arc<Task>) -> Vec<u8> {
    const NEVER: i64 = -1000;
    let adj = i64::from(task.thread_group().oom_score_adj.load(Ordering::Relaxed));
    let score = match task.resources() {
        Some(resources) if adj != NEVER => {
            let total = (task.kernel().memory_info().total / 4096).max(1) as i64;
            let points = (resources.mm.rss().total() / 4096) as i64 + adj * (total / 1000);
            (1000 + points * 1000 / total) * 2 / 3
        }
        _ => 0,
    };
    format!("{}\n", score.max(0)).into_bytes()
}

/// /proc/PID/oom_score_adj.
pub(super) fn oom_score_adj(task: &Arc<Task>) -> Vec<u8> {
    format!("{}\n", task.thread_group().oom_score_adj.load(Ordering::Relaxed)).into_bytes()
}
