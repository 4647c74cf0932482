//! Signals: sending, dispositions, masks, waiting for them, returning from handlers.

use std::sync::Arc;
use std::time::Instant;

use abi::Errno;
use abi::capability::CAP_KILL;
use abi::signal::{
    MINSIGSTKSZ, SI_TKILL, SI_USER, SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK, SigAction, SigInfo, SigSet,
    SigStack, Signal, SsFlags,
};
use abi::time::Timespec;
use sentry::error::Restart;
use sentry::signal::{AltStack, SignalOrigin, is_ignored, send_to_group, send_to_task};
use sentry::task::{CurrentTask, Task, ThreadGroup, WaitEnd};
use sentry::{SysError, SysResult};

use crate::arg::{In, Out, Sig, SigmaskHow};
use crate::handler::Never;

const SIGSET_SIZE: u64 = size_of::<SigSet>() as u64;

pub fn rt_sigaction(
    task: &mut CurrentTask,
    sig: Sig,
    new: In<SigAction>,
    old: Out<SigAction>,
    size: u64,
) -> SysResult<()> {
    if size != SIGSET_SIZE {
        return Err(Errno::EINVAL.into());
    }
    let action = new.non_null().map(|new| task.read_obj(new)).transpose()?;
    let signal = sig.signal().ok_or(Errno::EINVAL)?;
    if action.is_some() && SigSet::UNBLOCKABLE.contains(signal) {
        return Err(Errno::EINVAL.into());
    }
    let group = Arc::clone(task.thread_group());
    let previous = match action {
        Some(mut action) => {
            action.sa_mask = action.sa_mask.difference(SigSet::UNBLOCKABLE);
            let previous = group.actions().set(signal, action);
            if is_ignored(signal, &action) {
                group.discard_pending(signal);
            }
            previous
        }
        None => group.actions().get(signal),
    };
    if let Some(old) = old.non_null() {
        task.write_obj(old, &previous)?;
    }
    Ok(())
}

pub fn rt_sigprocmask(
    task: &mut CurrentTask,
    how: SigmaskHow,
    new: In<SigSet>,
    old: Out<SigSet>,
    size: u64,
) -> SysResult<()> {
    if size != SIGSET_SIZE {
        return Err(Errno::EINVAL.into());
    }
    let before = task.mask();
    if let Some(new) = new.non_null() {
        let set: SigSet = task.read_obj(new)?;
        let mask = match how.0 {
            SIG_BLOCK => before.union(set),
            SIG_UNBLOCK => before.difference(set),
            SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL.into()),
        };
        task.set_mask(mask);
    }
    if let Some(old) = old.non_null() {
        task.write_obj(old, &before)?;
    }
    Ok(())
}

pub fn rt_sigreturn(task: &mut CurrentTask) -> SysResult<u64> {
    Ok(task.signal_return())
}

pub fn rt_sigpending(task: &mut CurrentTask, to: Out<SigSet>, size: u64) -> SysResult<()> {
    if size > SIGSET_SIZE {
        return Err(Errno::EINVAL.into());
    }
    let pending = task.pending_signals();
    task.copy_out(to.addr(), &pending.0.to_ne_bytes()[..size as usize])?;
    Ok(())
}

pub fn rt_sigsuspend(task: &mut CurrentTask, mask: In<SigSet>, size: u64) -> SysResult<Never> {
    if size != SIGSET_SIZE {
        return Err(Errno::EINVAL.into());
    }
    let mask: SigSet = task.read_obj(*mask)?;
    task.set_temporary_mask(mask);
    wait_for_handler(task)
}

pub fn pause(task: &mut CurrentTask) -> SysResult<Never> {
    wait_for_handler(task)
}

/// Waits until a handler has run: whatever else interrupts, the wait goes on.
fn wait_for_handler(task: &mut CurrentTask) -> SysResult<Never> {
    loop {
        if task.park(None).is_err() {
            return Err(SysError::Restart(Restart::NoHand));
        }
    }
}

pub fn rt_sigtimedwait(
    task: &mut CurrentTask,
    set: In<SigSet>,
    info: Out<SigInfo>,
    timeout: In<Timespec>,
    size: u64,
) -> SysResult<i32> {
    if size != SIGSET_SIZE {
        return Err(Errno::EINVAL.into());
    }
    let set: SigSet = task.read_obj(*set)?;
    let set = set.difference(SigSet::UNBLOCKABLE);
    let deadline = match timeout.non_null() {
        Some(timeout) => {
            let timeout: Timespec = task.read_obj(timeout)?;
            let wait = crate::time::duration(&timeout).ok_or(Errno::EINVAL)?;
            Instant::now().checked_add(wait)
        }
        None => None,
    };
    let (signal, taken) = match task.wait_for_signal(set, deadline) {
        Ok(taken) => taken,
        Err(WaitEnd::TimedOut) => return Err(Errno::EAGAIN.into()),
        Err(WaitEnd::Interrupted) => return Err(Errno::EINTR.into()),
    };
    if let Some(info) = info.non_null() {
        task.write_obj(info, &taken)?;
    }
    Ok(signal.number() as i32)
}

pub fn sigaltstack(task: &mut CurrentTask, new: In<SigStack>, old: Out<SigStack>) -> SysResult<()> {
    let rsp = task.regs.rsp;
    let current = task.signals.lock().alt_stack;
    if let Some(new) = new.non_null() {
        let new: SigStack = task.read_obj(new)?;
        let flags = SsFlags::from_bits_retain(new.ss_flags);
        if current.in_use(rsp) {
            return Err(Errno::EPERM.into());
        }
        // SS_ONSTACK is taken for 0: so it is by Linux, and programs pass it.
        let mode = flags - SsFlags::AUTODISARM;
        if mode != SsFlags::DISABLE && mode != SsFlags::ONSTACK && !mode.is_empty() {
            return Err(Errno::EINVAL.into());
        }
        let same = AltStack { base: new.ss_sp, size: new.ss_size, flags };
        let stack = if same == current {
            // Nothing to change, and nothing to find fault with.
            same
        } else if mode == SsFlags::DISABLE {
            AltStack { base: 0, size: 0, flags }
        } else {
            if new.ss_size < MINSIGSTKSZ {
                return Err(Errno::ENOMEM.into());
            }
            AltStack { base: new.ss_sp, size: new.ss_size, flags: flags - SsFlags::ONSTACK }
        };
        task.signals.lock().alt_stack = stack;
    }
    if let Some(old) = old.non_null() {
        task.write_obj(old, &current.to_abi(rsp))?;
    }
    Ok(())
}

pub fn kill(task: &mut CurrentTask, pid: i32, sig: Sig) -> SysResult<()> {
    let kernel = Arc::clone(task.kernel());
    match pid {
        1.. => {
            let group =
                task.pid().namespace().find(pid).and_then(|p| p.thread_group()).ok_or(Errno::ESRCH)?;
            kill_group(task, &group, sig)
        }
        0 => {
            let group = task.process_group().ok_or(Errno::ESRCH)?;
            let members = kernel.tree.lock().members(group.id());
            kill_many(task, &members, sig)
        }
        -1 => {
            let own = task.thread_group().id();
            let ns = Arc::clone(task.pid().namespace());
            let all: Vec<_> = kernel.tree.lock().iter().map(|n| Arc::clone(&n.group)).collect();
            let others: Vec<_> =
                all.into_iter().filter(|g| g.id() != own && g.pid.number_in(&ns) > 1).collect();
            kill_many(task, &others, sig)
        }
        i32::MIN => Err(Errno::ESRCH.into()),
        _ => {
            let group =
                task.pid().namespace().find(-pid).and_then(|p| p.process_group()).ok_or(Errno::ESRCH)?;
            let members = kernel.tree.lock().members(group.id());
            kill_many(task, &members, sig)
        }
    }
}

/// Succeeds if one of them could be signalled; else EPERM if there is one, ESRCH if there is none.
pub(crate) fn kill_many(task: &CurrentTask, groups: &[Arc<ThreadGroup>], sig: Sig) -> SysResult<()> {
    let mut result = Err(Errno::ESRCH.into());
    for group in groups {
        match kill_group(task, group, sig) {
            Ok(()) => result = Ok(()),
            Err(error) if result.is_err() => result = Err(error),
            Err(_) => {}
        }
    }
    result
}

/// Looks at the signal's number only now: that there is nobody comes first.
fn kill_group(task: &CurrentTask, group: &Arc<ThreadGroup>, sig: Sig) -> SysResult<()> {
    let signal = wanted(sig)?;
    may_signal(task, group, signal)?;
    let Some(signal) = signal else { return Ok(()) };
    send_to_group(group, signal, origin(task).info(signal, SI_USER, group))?;
    Ok(())
}

pub fn tkill(task: &mut CurrentTask, tid: i32, sig: Sig) -> SysResult<()> {
    if tid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    send_to_thread(task, None, tid, sig, None)
}

pub fn tgkill(task: &mut CurrentTask, tgid: i32, tid: i32, sig: Sig) -> SysResult<()> {
    if tgid <= 0 || tid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    send_to_thread(task, Some(tgid), tid, sig, None)
}

pub fn rt_sigqueueinfo(task: &mut CurrentTask, pid: i32, sig: Sig, info: In<SigInfo>) -> SysResult<()> {
    let mut info: SigInfo = task.read_obj(*info)?;
    let group = task.pid().namespace().find(pid).and_then(|p| p.thread_group());
    // Only a process itself may look like the kernel or kill(2).
    let own = group.as_ref().is_some_and(|g| g.id() == task.thread_group().id());
    if (info.si_code >= 0 || info.si_code == SI_TKILL) && !own {
        return Err(Errno::EPERM.into());
    }
    let group = group.ok_or(Errno::ESRCH)?;
    let signal = wanted(sig)?;
    may_signal(task, &group, signal)?;
    let Some(signal) = signal else { return Ok(()) };
    info.si_signo = signal.number() as i32;
    send_to_group(&group, signal, info)?;
    Ok(())
}

pub fn rt_tgsigqueueinfo(
    task: &mut CurrentTask,
    tgid: i32,
    tid: i32,
    sig: Sig,
    info: In<SigInfo>,
) -> SysResult<()> {
    let info: SigInfo = task.read_obj(*info)?;
    if tgid <= 0 || tid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    if (info.si_code >= 0 || info.si_code == SI_TKILL) && task.tid() != tid {
        return Err(Errno::EPERM.into());
    }
    send_to_thread(task, Some(tgid), tid, sig, Some(info))
}

fn send_to_thread(
    task: &CurrentTask,
    tgid: Option<i32>,
    tid: i32,
    sig: Sig,
    info: Option<SigInfo>,
) -> SysResult<()> {
    let ns = Arc::clone(task.pid().namespace());
    let target: Arc<Task> = ns.task(tid).ok_or(Errno::ESRCH)?;
    let group = Arc::clone(target.thread_group());
    if tgid.is_some_and(|tgid| group.pid.number_in(&ns) != tgid) {
        return Err(Errno::ESRCH.into());
    }
    let signal = wanted(sig)?;
    may_signal(task, &group, signal)?;
    let Some(signal) = signal else { return Ok(()) };
    let info = match info {
        Some(mut info) => {
            info.si_signo = signal.number() as i32;
            info
        }
        None => origin(task).info(signal, SI_TKILL, &group),
    };
    send_to_task(&target, signal, info)?;
    Ok(())
}

/// `None` for signal 0, which only checks.
pub(crate) fn wanted(sig: Sig) -> Result<Option<Signal>, Errno> {
    if sig.0 == 0 { Ok(None) } else { sig.signal().map(Some).ok_or(Errno::EINVAL) }
}

pub(crate) fn origin(task: &CurrentTask) -> SignalOrigin {
    SignalOrigin { pid: Arc::clone(&task.thread_group().pid), uid: task.own_creds().uid }
}

/// kill(2), "for a process to have permission".
pub(crate) fn may_signal(
    task: &CurrentTask,
    group: &Arc<ThreadGroup>,
    signal: Option<Signal>,
) -> Result<(), Errno> {
    if group.id() == task.thread_group().id() {
        return Ok(());
    }
    let own = task.own_creds();
    let Some(target) = group.any_thread() else { return Ok(()) };
    let theirs = target.creds();
    let same = [own.euid, own.uid].iter().any(|id| *id == theirs.uid || *id == theirs.suid);
    if same || own.has_cap_in(CAP_KILL, &theirs.user_ns) {
        return Ok(());
    }
    // SIGCONT may go to any process of the same session.
    if signal == Some(Signal::SIGCONT) {
        let tree = task.kernel().tree.lock();
        let sessions = (tree.session(task.thread_group().id()), tree.session(group.id()));
        if let (Some(own), Some(theirs)) = sessions
            && Arc::ptr_eq(&own, &theirs)
        {
            return Ok(());
        }
    }
    Err(Errno::EPERM)
}
