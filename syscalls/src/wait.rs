//! Waiting for children.

use abi::Errno;
use abi::resource::RUsage;
use abi::signal::SigInfo;
use abi::time::Timeval;
use abi::wait::{P_ALL, P_PGID, P_PID, P_PIDFD, WaitOptions};
use sentry::SysResult;
use sentry::mm::UserRef;
use sentry::task::{CurrentTask, Usage, WaitFor, WaitResult};
use zerocopy::FromZeros;

use crate::arg::{Flags, Out, OutStatus, WaitidType};

pub fn wait4(
    task: &mut CurrentTask,
    pid: i32,
    status: OutStatus,
    options: Flags<WaitOptions>,
    usage: Out<RUsage>,
) -> SysResult<i32> {
    use WaitOptions as W;
    let options = options.known()?;
    let allowed = W::WNOHANG | W::WUNTRACED | W::WCONTINUED | W::WNOTHREAD | W::WCLONE | W::WALL;
    if !allowed.contains(options) {
        return Err(Errno::EINVAL.into());
    }
    if pid == i32::MIN {
        return Err(Errno::ESRCH.into());
    }
    let which = match pid {
        -1 => WaitFor::Any,
        0 => own_group(task)?,
        1.. => process(task, pid)?,
        _ => group(task, -pid)?,
    };
    let Some(result) = task.wait_for_child(&which, options | W::WEXITED)? else { return Ok(0) };
    if !status.0.is_null() {
        task.write_obj(status.0, &result.status)?;
    }
    if let Some(to) = usage.non_null() {
        task.write_obj(to, &rusage(&result.usage))?;
    }
    Ok(result.pid)
}

pub fn waitid(
    task: &mut CurrentTask,
    kind: WaitidType,
    id: i32,
    info: Out<SigInfo>,
    options: Flags<WaitOptions>,
    usage: Out<RUsage>,
) -> SysResult<()> {
    let result = wait_for(task, kind, id, options);
    if let (Ok(Some(result)), Some(to)) = (&result, usage.non_null()) {
        task.write_obj(to, &rusage(&result.usage))?;
    }
    let Some(to) = info.non_null() else { return result.map(drop) };
    // Only the fields that Linux writes: no times, and all zero when there is nothing to tell, after an error too.
    let told = match &result {
        Ok(Some(r)) => SigInfo::child(r.code, r.pid, r.uid, r.value, 0, 0),
        _ => SigInfo::new_zeroed(),
    };
    let bytes = zerocopy::IntoBytes::as_bytes(&told);
    let prefix = bytes.get(..SIGINFO_CHILD_BYTES).unwrap_or(bytes);
    task.copy_out(UserRef::addr(to), prefix)?;
    result.map(drop)
}

fn wait_for(
    task: &mut CurrentTask,
    kind: WaitidType,
    id: i32,
    options: Flags<WaitOptions>,
) -> SysResult<Option<WaitResult>> {
    use WaitOptions as W;
    let options = options.known()?;
    if !options.intersects(W::WEXITED | W::WUNTRACED | W::WCONTINUED) {
        return Err(Errno::EINVAL.into());
    }
    let mut nonblocking = false;
    let which = match kind.0 {
        P_ALL => WaitFor::Any,
        P_PID if id > 0 => process(task, id)?,
        P_PGID if id == 0 => own_group(task)?,
        P_PGID if id > 0 => group(task, id)?,
        P_PIDFD if id >= 0 => {
            let pidfd = task.file(id)?;
            // A non-blocking descriptor waits no more than WNOHANG does, but says EAGAIN.
            nonblocking = pidfd.nonblocking() && !options.contains(W::WNOHANG);
            WaitFor::Process(crate::pidfd::of_file(&pidfd)?.identity)
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    let options = if nonblocking { options | W::WNOHANG } else { options };
    let result = task.wait_for_child(&which, options)?;
    if nonblocking && result.is_none() {
        return Err(Errno::EAGAIN.into());
    }
    Ok(result)
}

/// Up to and including `si_status`.
const SIGINFO_CHILD_BYTES: usize = 28;

fn own_group(task: &CurrentTask) -> Result<WaitFor, Errno> {
    Ok(WaitFor::Group(task.process_group().ok_or(Errno::ECHILD)?.id()))
}

/// A number that names nobody is nobody's child.
fn process(task: &CurrentTask, pid: i32) -> Result<WaitFor, Errno> {
    let found = task.pid().namespace().find(pid).ok_or(Errno::ECHILD)?;
    Ok(WaitFor::Process(found.identity))
}

fn group(task: &CurrentTask, pgid: i32) -> Result<WaitFor, Errno> {
    let found = task.pid().namespace().find(pgid).ok_or(Errno::ECHILD)?;
    Ok(WaitFor::Group(found.identity))
}

/// As getrusage(2) and wait4(2) report it.
pub(crate) fn rusage(usage: &Usage) -> RUsage {
    let mut out = RUsage::new_zeroed();
    out.ru_utime = timeval(usage.user_ns);
    out.ru_stime = timeval(usage.system_ns);
    out.ru_maxrss = usage.max_rss_kib as i64;
    out.ru_minflt = usage.minor_faults as i64;
    out.ru_nvcsw = usage.voluntary_switches as i64;
    out.ru_nivcsw = usage.involuntary_switches as i64;
    out
}

fn timeval(ns: u64) -> Timeval {
    Timeval { tv_sec: (ns / 1_000_000_000) as i64, tv_usec: (ns % 1_000_000_000 / 1000) as i64 }
}
