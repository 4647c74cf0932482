//! Files of a process that can be written: comm, oom_score_adj, uid_map, gid_map, setgroups.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use abi::Errno;
use abi::capability::{CAP_SETGID, CAP_SETUID, CAP_SYS_NICE, CAP_SYS_RESOURCE};

use super::status;
use crate::Result;
use crate::fs::pseudo::Text;
use crate::task::{IdExtent, Task, current_task};
use crate::vfs::File;

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Comm,
    OomScoreAdj,
    OomAdj,
    UidMap,
    GidMap,
    Setgroups,
    TimerSlack,
}

/// A file of a task that can be written.
pub(super) struct Writable {
    pub task: Weak<Task>,
    pub what: What,
}

impl Writable {
    fn task(&self) -> Result<Arc<Task>> {
        super::task::still_there(&self.task)
    }
}

impl Text for Writable {
    fn read(&self, file: &File) -> Result<Vec<u8>> {
        let task = self.task()?;
        let ns = task.creds().user_ns.clone();
        Ok(match self.what {
            What::Comm => [&task.comm()[..], b"\n"].concat(),
            What::OomScoreAdj => status::oom_score_adj(&task),
            What::OomAdj => {
                let adj = task.thread_group().oom_score_adj.load(Ordering::Relaxed);
                let old = if adj == 1000 { 15 } else { adj * 17 / 1000 };
                format!("{old}\n").into_bytes()
            }
            What::UidMap => status::id_map(&ns.uid_map()),
            What::GidMap => status::id_map(&ns.gid_map()),
            What::Setgroups if ns.setgroups_denied() => b"deny\n".to_vec(),
            What::Setgroups => b"allow\n".to_vec(),
            What::TimerSlack => {
                may_set_slack(&task, file)?;
                format!("{}\n", task.timer_slack_ns.load(Ordering::Relaxed)).into_bytes()
            }
        })
    }

    fn write(&self, file: &File, text: &[u8]) -> Result<()> {
        let task = self.task()?;
        match self.what {
            What::Comm => {
                let name = text.split(|b| *b == b'\n').next().unwrap_or_default();
                task.set_comm(name);
                Ok(())
            }
            What::OomScoreAdj | What::OomAdj => {
                let value: i32 = trimmed(text).parse().map_err(|_| Errno::EINVAL)?;
                let value = match (self.what, value) {
                    (What::OomAdj, -17..=15) => {
                        if value == 15 {
                            1000
                        } else {
                            value * 1000 / 17
                        }
                    }
                    (What::OomScoreAdj, -1000..=1000) => value,
                    _ => return Err(Errno::EINVAL),
                };
                let group = task.thread_group();
                let (slot, least) = (&group.oom_score_adj, &group.oom_score_adj_min);
                // Making oneself harder to kill than one was made takes a privilege.
                if current_task().is_none_or(|own| own.creds().has_cap(CAP_SYS_RESOURCE)) {
                    least.store(value, Ordering::Relaxed);
                } else if value < least.load(Ordering::Relaxed) {
                    return Err(Errno::EACCES);
                }
                slot.store(value, Ordering::Relaxed);
                Ok(())
            }
            What::UidMap | What::GidMap => self.write_map(&task, file, text),
            What::Setgroups => {
                let deny = match trimmed(text) {
                    "deny" => true,
                    "allow" => false,
                    _ => return Err(Errno::EINVAL),
                };
                let ns = task.creds().user_ns.clone();
                if ns.set_setgroups(deny) { Ok(()) } else { Err(Errno::EPERM) }
            }
            What::TimerSlack => {
                let slack: u64 = number(text)?;
                may_set_slack(&task, file)?;
                let slack = if slack == 0 { DEFAULT_SLACK_NS } else { slack };
                task.timer_slack_ns.store(slack, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn owner(&self) -> (u32, u32, u32) {
        super::task::owner(&self.task, if self.what == What::TimerSlack { 0o666 } else { 0o644 })
    }
}

impl Writable {
    /// user_namespaces(7), "Defining user and group ID mappings".
    fn write_map(&self, task: &Arc<Task>, file: &File, text: &[u8]) -> Result<()> {
        const MOST_LINES: usize = 340;
        let ns = task.creds().user_ns.clone();
        let parent = ns.parent().ok_or(Errno::EPERM)?;
        let is_uid = self.what == What::UidMap;
        let mut map: Vec<IdExtent> = Vec::new();
        for line in std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?.lines() {
            let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
            let mut next = || numbers.next().and_then(std::result::Result::ok).ok_or(Errno::EINVAL);
            let (inside, outside, count) = (next()?, next()?, next()?);
            if count == 0 || inside.checked_add(count).is_none() || outside.checked_add(count).is_none() {
                return Err(Errno::EINVAL);
            }
            let kernel = if is_uid { parent.uid_kernel(outside) } else { parent.gid_kernel(outside) };
            let kernel = kernel.ok_or(Errno::EPERM)?;
            let overlaps = |e: &IdExtent| {
                let apart = |a: u32, b: u32| a.saturating_add(count) <= b || b.saturating_add(e.count) <= a;
                !apart(inside, e.inside) || !apart(kernel, e.kernel)
            };
            if map.iter().any(overlaps) || map.len() == MOST_LINES {
                return Err(Errno::EINVAL);
            }
            map.push(IdExtent { inside, kernel, count });
        }
        if map.is_empty() {
            return Err(Errno::EINVAL);
        }
        let opener = &file.opener;
        let own_id = if is_uid { opener.euid } else { opener.egid };
        let only_own = matches!(map[..], [IdExtent { kernel, count: 1, .. }] if kernel == own_id)
            && ns.owner() == opener.euid
            && (is_uid || ns.setgroups_denied());
        let cap = if is_uid { CAP_SETUID } else { CAP_SETGID };
        if !only_own && !opener.has_cap_in(cap, parent) {
            return Err(Errno::EPERM);
        }
        let set = if is_uid { ns.set_uid_map(map) } else { ns.set_gid_map(map) };
        if set { Ok(()) } else { Err(Errno::EPERM) }
    }
}

/// What a task sleeps too long by itself (prctl(2), PR_SET_TIMERSLACK); the first has it from nobody.
const DEFAULT_SLACK_NS: u64 = 50_000;

/// Another task's is for who may make it nicer: EPERM.
fn may_set_slack(task: &Arc<Task>, file: &File) -> Result<()> {
    let is_own = current_task().is_some_and(|own| Arc::ptr_eq(&own, task));
    let may = is_own || file.opener.has_cap_in(CAP_SYS_NICE, &task.creds().user_ns);
    if may { Ok(()) } else { Err(Errno::EPERM) }
}

/// A decimal number as the kernel takes it: at most a newline may follow.
pub(super) fn number(text: &[u8]) -> Result<u64> {
    let digits = text.strip_suffix(b"\n").unwrap_or(text);
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Errno::EINVAL);
    }
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Errno::ERANGE)
}

fn trimmed(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default().trim()
}
