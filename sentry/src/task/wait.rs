//! Waiting for children (wait4(2), waitid(2)).

use std::sync::Arc;

use abi::Errno;
use abi::poll::PollEvents;
use abi::signal::{CLD_CONTINUED, CLD_STOPPED, Signal};
use abi::wait::WaitOptions;

use super::{CurrentTask, Node, ProcessGroup, Tree, Usage};
use crate::error::{Restart, SysResult};
use crate::signal::StopState;

/// Which children.
#[derive(Clone)]
pub enum WaitFor {
    /// Any.
    Any,
    /// One, by its identity.
    Process(u64),
    /// Those of a process group.
    Group(u64),
}

/// What happened to a child.
#[derive(Clone, Copy, Debug)]
pub struct WaitResult {
    /// Its process id, in the waiter's namespace.
    pub pid: i32,
    /// Its real user id.
    pub uid: u32,
    /// As wait4 reports it.
    pub status: i32,
    /// `CLD_*`, as waitid reports it.
    pub code: i32,
    /// Exit code or signal, as waitid reports it.
    pub value: i32,
    /// What it has used.
    pub usage: Usage,
}

enum Found {
    Event(WaitResult),
    /// There are children to wait for, none ready.
    Waiting,
    /// There are none.
    NoChild,
}

impl CurrentTask {
    /// Waits for a change of a child. `Ok(None)`: WNOHANG and nothing to report. ECHILD: nobody to wait for.
    /// `options` holds at least one of WEXITED, WUNTRACED/WSTOPPED, WCONTINUED.
    pub fn wait_for_child(&mut self, which: &WaitFor, options: WaitOptions) -> SysResult<Option<WaitResult>> {
        let group = Arc::clone(self.thread_group());
        let found = self.wait_for(&group.child_wait, PollEvents::IN, None, |task| {
            match task.look_for_child(which, options) {
                Found::Event(event) => Some(Ok(Some(event))),
                Found::NoChild => Some(Err(Errno::ECHILD)),
                Found::Waiting if options.contains(WaitOptions::WNOHANG) => Some(Ok(None)),
                Found::Waiting => None,
            }
        });
        match found {
            Ok(result) => Ok(result?),
            Err(end) => Err(end.into_error(Restart::Sys, Errno::EINTR)),
        }
    }

    fn look_for_child(&self, which: &WaitFor, options: WaitOptions) -> Found {
        let kernel = self.kernel();
        let mut tree = kernel.tree.lock();
        let Some(own) = tree.get(self.thread_group().id()) else { return Found::NoChild };
        let mut any = false;
        let mut event = None;
        for id in &own.children {
            let Some(child) = tree.get(*id) else { continue };
            if !self.eligible(child, which, options) {
                continue;
            }
            any = true;
            event = self.child_event(child, options);
            if event.is_some() {
                break;
            }
        }
        let Some((id, result)) = event else {
            return if any { Found::Waiting } else { Found::NoChild };
        };
        let mut reaped = None;
        if !options.contains(WaitOptions::WNOWAIT) {
            reaped = self.consume(&mut tree, id, &result);
        }
        drop(tree);
        // The last references to the child's process may go here: not under the lock.
        drop(reaped);
        Found::Event(result)
    }

    fn eligible(&self, child: &Node, which: &WaitFor, options: WaitOptions) -> bool {
        let matches = match which {
            WaitFor::Any => true,
            WaitFor::Process(identity) => child.group.pid.identity == *identity,
            WaitFor::Group(group) => child.process_group.id() == *group,
        };
        if !matches {
            return false;
        }
        if options.contains(WaitOptions::WNOTHREAD) && child.parent_thread != self.id {
            return false;
        }
        let is_clone = child.exit_signal != Some(Signal::SIGCHLD);
        options.contains(WaitOptions::WALL) || is_clone == options.contains(WaitOptions::WCLONE)
    }

    fn child_event(&self, child: &Node, options: WaitOptions) -> Option<(u64, WaitResult)> {
        let id = child.group.id();
        let make = |status: i32, code: i32, value: i32| {
            let ns = self.pid();
            let mut usage = child.group.settled_usage();
            usage.add(&child.children_usage);
            let uid = child.group.any_thread().map_or(child.group.last_uid(), |t| t.creds().uid);
            let pid = child.group.pid.number_in(ns.namespace());
            Some((id, WaitResult { pid, uid, status, code, value, usage }))
        };
        if let Some(status) = child.zombie {
            if !options.contains(WaitOptions::WEXITED) {
                return None;
            }
            let (code, value) = abi::wait::ended(status);
            return make(status, code, value);
        }
        let state = child.group.signals.lock();
        let stopped = state.stop_report.filter(|_| matches!(state.stop, StopState::Stopped { .. }));
        let continued = state.continue_report;
        drop(state);
        if let (Some(signal), true) = (stopped, options.contains(WaitOptions::WUNTRACED)) {
            let number = signal.number();
            return make(abi::wait::stopped(number), CLD_STOPPED, number as i32);
        }
        if continued && options.contains(WaitOptions::WCONTINUED) {
            return make(abi::wait::CONTINUED, CLD_CONTINUED, Signal::SIGCONT.number() as i32);
        }
        None
    }

    /// Takes the event away: reaps a zombie, marks a stop or continuation as reported.
    fn consume(&self, tree: &mut Tree, id: u64, result: &WaitResult) -> Option<Node> {
        match result.code {
            CLD_STOPPED => {
                tree.get(id)?.group.signals.lock().stop_report = None;
                None
            }
            CLD_CONTINUED => {
                tree.get(id)?.group.signals.lock().continue_report = false;
                None
            }
            _ => {
                if let Some(own) = tree.get_mut(self.thread_group().id()) {
                    own.children_usage.add(&result.usage);
                }
                let node = tree.remove(id)?;
                node.group.keep_dead_leader(None);
                node.group.pid.set_task(std::sync::Weak::new());
                node.group.pid.set_thread_group(std::sync::Weak::new());
                Some(node)
            }
        }
    }

    /// The process group this task is in.
    pub fn process_group(&self) -> Option<Arc<ProcessGroup>> {
        self.kernel().tree.lock().process_group(self.thread_group().id())
    }
}
