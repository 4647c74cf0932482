//! The end of threads and processes (exit(2), exit_group(2), fatal signals).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use abi::poll::PollEvents;
use abi::signal::{SI_KERNEL, SI_USER, SIG_IGN, SaFlags, SigInfo, Signal};
use platform::AddressSpace;

use super::run::End;
use super::{CurrentTask, ProcessGroup, RunState, Task, ThreadGroup, Tree};
use crate::Kernel;
use crate::mm::UserAddr;
use crate::signal::{StopState, flags, kill_group, send_to_group, send_to_process_group, send_to_task};
use crate::wait::HeldWakes;

/// What has to be sent once the tree lock is let go.
#[derive(Default)]
struct Afterwards {
    /// Process groups that became orphaned with a stopped member: SIGHUP and SIGCONT.
    orphaned: Vec<Arc<ProcessGroup>>,
    /// Threads whose parent died: PR_SET_PDEATHSIG.
    parent_died: Vec<(Arc<Task>, Signal)>,
    /// Processes that were reaped at once.
    reaped: Vec<super::Node>,
}

impl Afterwards {
    /// Takes a process out that nobody waits for; its number names nobody from now on.
    fn reap(&mut self, tree: &mut Tree, id: u64) {
        if let Some(node) = tree.remove(id) {
            node.group.pid.set_task(Weak::new());
            node.group.pid.set_thread_group(Weak::new());
            self.reaped.push(node);
        }
    }
}

impl CurrentTask {
    /// exit(2): this thread only.
    pub fn exit_thread(&mut self, code: i32) {
        self.ended = Some(End::Thread(abi::wait::exited(code)));
    }

    /// This thread only, as if `signal` had killed it (seccomp).
    pub(crate) fn exit_thread_by(&mut self, signal: Signal) {
        self.ended = Some(End::Thread(abi::wait::killed(signal.number(), false)));
    }

    /// exit_group(2) or a fatal signal: all threads, with this wait status.
    pub fn start_group_exit(&mut self, status: i32) {
        let group = Arc::clone(self.thread_group());
        {
            let mut state = group.signals.lock();
            kill_group(&mut state, status);
        }
        group.mark_exiting();
        self.exit_with_group();
    }

    /// The process is ending: this thread too.
    pub(crate) fn exit_with_group(&mut self) {
        let state = self.thread_group().signals.lock();
        // Without a group exit, another thread's exec is what kills this one.
        let status = state.group_exit.unwrap_or(0);
        drop(state);
        self.ended = Some(End::Thread(status));
    }

    /// Takes the thread apart.
    pub(super) fn exit(self, status: i32) {
        // Nobody finds the thread any more when a process of the host is ended, which takes longer than a parent needs to look for it.
        let rest = self.take_apart(status);
        drop(rest);
    }

    /// Answers the address space, where ending that has been left for later.
    fn take_apart(mut self, status: i32) -> Option<Arc<dyn AddressSpace>> {
        self.leave_group_stop();
        self.forget_rseq();
        self.withdraw_cpu();
        // While there still is a process of the host that has used it.
        self.thread_group().settle();
        self.release_robust_futexes();
        self.clear_child_tid();
        self.signal_vfork_done();
        let task = Arc::clone(&self.task);
        let group = Arc::clone(self.thread_group());
        let kernel = Arc::clone(self.kernel());
        task.exit_code.store(status, Ordering::Relaxed);
        task.leave_undo_list();
        // Files, locks and memory go before the parent hears of it.
        task.set_resources(None);
        let CurrentTask { context, space, resources, .. } = self;
        drop(context);
        drop(resources);
        // The last reference: what it takes to end a process of the host comes when the parent knows.
        let rest = (Arc::strong_count(&space) == 1 && space.reserve_end()).then_some(space);
        task.cpu_time.end();
        finish(&kernel, &group, &task, status);
        rest
    }

    fn clear_child_tid(&mut self) {
        let address = self.clear_child_tid.swap(0, Ordering::Relaxed);
        if address == 0 {
            return;
        }
        // Errors are the guest's: Linux ignores them too.
        let _ = self.copy_out(UserAddr(address), &0u32.to_ne_bytes());
        crate::futex::wake_address(self, UserAddr(address), 1);
    }
}

/// The part of an exit that changes the tree.
fn finish(kernel: &Arc<Kernel>, group: &Arc<ThreadGroup>, task: &Arc<Task>, status: i32) {
    let mut afterwards = Afterwards::default();
    let usage = task.settled_usage();
    // A parent that waits takes the lock first.
    let wakes = HeldWakes::new();
    let mut tree = kernel.tree.lock();
    // Without a group exit the last thread to go gives the status, leader or not.
    let (last, final_status, exec_by) = {
        let mut state = group.signals.lock();
        state.threads.retain(|t| t.id != task.id);
        // Signals meant for the whole process that this thread was woken for find another one.
        let pending = state.pending.set();
        for thread in &state.threads {
            if !pending.difference(thread.signals.lock().mask.get()).is_empty() {
                thread.kick(super::work::SIGNAL);
            }
        }
        let last = state.threads.is_empty();
        if last {
            state.stop = StopState::Running;
        }
        (last, state.group_exit.unwrap_or(status), state.exec_by)
    };
    group.dead_threads.lock().add(&usage);
    group.container.thread_ended(&usage);
    if task.is_leader() {
        task.set_state(RunState::Zombie);
        group.keep_dead_leader(Some(Arc::clone(task)));
    } else {
        kernel.count_task(task.creds().uid, -1);
        task.set_state(RunState::Dead);
        let pid = task.pid();
        pid.set_task(Weak::new());
        pid.set_ended();
    }
    if let Some(by) = exec_by {
        for thread in group.threads().iter().filter(|t| t.id == by) {
            thread.unpark();
        }
    }
    if last {
        process_ended(kernel, &mut tree, group, final_status, &mut afterwards);
    }
    drop(tree);
    drop(wakes);
    // A thread that others see in the tables of its parent stays until it is reaped; what is sent goes out now.
    for (thread, signal) in afterwards.parent_died {
        let _ = send_to_task(&thread, signal, SigInfo::kill(signal, SI_USER, 0, 0));
    }
    for orphaned in afterwards.orphaned {
        send_to_process_group(kernel, &orphaned, Signal::SIGHUP, SigInfo::kernel(Signal::SIGHUP));
        send_to_process_group(kernel, &orphaned, Signal::SIGCONT, SigInfo::kernel(Signal::SIGCONT));
    }
    for node in afterwards.reaped {
        node.group.keep_dead_leader(None);
    }
    kernel.thread_ended(group, last.then_some(final_status));
}

/// All threads of a process are gone.
fn process_ended(
    kernel: &Arc<Kernel>,
    tree: &mut Tree,
    group: &Arc<ThreadGroup>,
    status: i32,
    afterwards: &mut Afterwards,
) {
    let id = group.id();
    if group.is_namespace_init() {
        end_namespace(tree, group);
    }
    session_leader_ended(kernel, tree, group);
    orphans_of_exit(tree, id, afterwards);
    give_children_away(tree, id, afterwards);
    group.timers.clear();
    group.pid.set_ended();
    let Some(node) = tree.get_mut(id) else { return };
    node.zombie = Some(status);
    let exit_signal = node.exit_signal;
    let parent = node.parent.and_then(|p| tree.get(p)).map(|n| Arc::clone(&n.group));
    match parent {
        Some(parent) => {
            if notify_parent(&parent, group, exit_signal, status) {
                afterwards.reap(tree, id);
            }
            parent.child_wait.notify(PollEvents::IN);
        }
        None => {
            // The sandbox itself is the parent: it keeps the status and reaps.
            afterwards.reaped.extend(tree.remove(id));
            group.pid.set_task(Weak::new());
        }
    }
}

/// Tells the parent; true when the parent does not want zombies, so that the child is reaped at once.
fn notify_parent(
    parent: &Arc<ThreadGroup>,
    child: &Arc<ThreadGroup>,
    signal: Option<Signal>,
    status: i32,
) -> bool {
    let Some(signal) = signal else { return false };
    let mut reap = false;
    let mut send = true;
    if signal == Signal::SIGCHLD {
        let action = parent.actions().get(signal);
        let no_wait = flags(&action).contains(SaFlags::NOCLDWAIT);
        reap = action.sa_handler == SIG_IGN || no_wait;
        send = action.sa_handler != SIG_IGN;
    }
    if send {
        let _ = send_to_group(parent, signal, child_info(parent, child, signal, status));
    }
    reap
}

fn child_info(parent: &ThreadGroup, child: &Arc<ThreadGroup>, signal: Signal, status: i32) -> SigInfo {
    let (code, value) = abi::wait::ended(status);
    let usage = *child.dead_threads.lock();
    let ticks = |ns: u64| (ns / 10_000_000) as i64;
    let pid = child.pid.number_in(parent.pid.namespace());
    let uid = child.last_uid();
    let mut info = SigInfo::child(code, pid, uid, value, ticks(usage.user_ns), ticks(usage.system_ns));
    info.si_signo = signal.number() as i32;
    info
}

/// The init of a PID namespace is gone: everything in the namespace is killed and nothing new is made in it.
fn end_namespace(tree: &Tree, init: &Arc<ThreadGroup>) {
    let ns = init.pid.namespace();
    ns.close();
    for node in tree.iter().filter(|n| n.group.id() != init.id() && n.group.pid.number_in(ns) != 0) {
        let info = SigInfo::new(Signal::SIGKILL, SI_KERNEL);
        let _ = send_to_group(&node.group, Signal::SIGKILL, info);
    }
}

/// A session leader gives its terminal back: the foreground group gets SIGHUP and SIGCONT.
fn session_leader_ended(kernel: &Arc<Kernel>, tree: &Tree, group: &Arc<ThreadGroup>) {
    let Some(session) = tree.session(group.id()) else { return };
    if session.pid.identity != group.pid.identity {
        return;
    }
    if let Some(tty) = session.set_tty(None) {
        kernel.hang_up_later(tty, session);
    }
}

/// Process groups that lose their link to a parent in the session when `id` exits, with a stopped member.
fn orphans_of_exit(tree: &Tree, id: u64, afterwards: &mut Afterwards) {
    let Some(node) = tree.get(id) else { return };
    let has_stopped = |group: &ProcessGroup| {
        tree.members(group.id()).iter().any(|m| matches!(m.signals.lock().stop, StopState::Stopped { .. }))
    };
    let mut seen: Vec<u64> = Vec::new();
    let own = Arc::clone(&node.process_group);
    // Its own group may be orphaned by its going …
    if !tree.is_orphaned(own.id(), None) && tree.is_orphaned(own.id(), Some(id)) && has_stopped(&own) {
        seen.push(own.id());
        afterwards.orphaned.push(Arc::clone(&own));
    }
    // … and those of its children in the same session, when it was their link.
    for child in node.children.iter().filter_map(|c| tree.get(*c)) {
        let group = &child.process_group;
        if group.id() == own.id() || seen.contains(&group.id()) {
            continue;
        }
        let linked_elsewhere = tree.members(group.id()).iter().any(|m| {
            let Some(member) = tree.get(m.id()) else { return false };
            member.zombie.is_none()
                && member.parent != Some(id)
                && member.parent.and_then(|p| tree.get(p)).is_some_and(|p| {
                    p.process_group.id() != group.id()
                        && Arc::ptr_eq(&p.process_group.session, &group.session)
                })
        });
        if Arc::ptr_eq(&group.session, &own.session) && !linked_elsewhere && has_stopped(group) {
            seen.push(group.id());
            afterwards.orphaned.push(Arc::clone(group));
        }
    }
}

/// Children of a process that is gone get the nearest subreaper, or the init of their PID namespace, as parent.
fn give_children_away(tree: &mut Tree, id: u64, afterwards: &mut Afterwards) {
    let Some(node) = tree.get_mut(id) else { return };
    let children = std::mem::take(&mut node.children);
    if children.is_empty() {
        return;
    }
    let reaper = find_reaper(tree, id);
    for child in children {
        let Some(node) = tree.get_mut(child) else { continue };
        node.parent = reaper;
        node.exit_signal = Some(Signal::SIGCHLD);
        let group = Arc::clone(&node.group);
        let zombie = node.zombie;
        for thread in group.threads() {
            thread.answers_changed();
            let signal = thread.parent_death_signal.load(Ordering::Relaxed);
            if let Some(signal) = Signal::new(signal) {
                afterwards.parent_died.push((thread, signal));
            }
        }
        match reaper.and_then(|r| tree.get_mut(r)) {
            Some(reaper) => {
                reaper.children.push(child);
                let reaper = Arc::clone(&reaper.group);
                if let Some(status) = zombie {
                    if notify_parent(&reaper, &group, Some(Signal::SIGCHLD), status) {
                        afterwards.reap(tree, child);
                    }
                    reaper.child_wait.notify(PollEvents::IN);
                }
            }
            None if zombie.is_some() => {
                afterwards.reap(tree, child);
            }
            None => {}
        }
    }
}

/// Who takes the children of `id`: the nearest living ancestor that is a subreaper, else the namespace's init.
fn find_reaper(tree: &Tree, id: u64) -> Option<u64> {
    let own = tree.get(id)?;
    let ns_id = own.group.pid.namespace().id;
    let mut at = own.parent;
    while let Some(ancestor) = at.and_then(|a| tree.get(a)) {
        if ancestor.group.pid.namespace().id != ns_id {
            break;
        }
        if ancestor.subreaper && ancestor.zombie.is_none() && !ancestor.group.is_exiting() {
            return Some(ancestor.group.id());
        }
        at = ancestor.parent;
    }
    let init = own.group.pid.namespace().thread_group(1)?;
    (init.id() != id && tree.get(init.id()).is_some_and(|n| n.zombie.is_none())).then(|| init.id())
}

/// Undoes a task that never ran: its host thread could not be started.
pub(super) fn abandon(kernel: &Arc<Kernel>, group: &Arc<ThreadGroup>, task: &Arc<Task>) {
    task.leave_undo_list();
    task.set_resources(None);
    finish(kernel, group, task, abi::wait::killed(Signal::SIGKILL.number(), false));
}
