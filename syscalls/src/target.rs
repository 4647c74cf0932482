//! Tasks that arguments name.

use std::sync::Arc;

use abi::Errno;
use sentry::task::{CurrentTask, Task, ThreadGroup};

/// The task with this thread id, the caller for 0. ESRCH without one, negative ids too.
pub(crate) fn task(current: &CurrentTask, tid: i32) -> Result<Arc<Task>, Errno> {
    if tid == 0 {
        return Ok(Arc::clone(current.task()));
    }
    current.pid().namespace().task(tid).ok_or(Errno::ESRCH)
}

/// All threads of the process group with this id, of the caller's for 0.
pub(crate) fn tasks_of_group(current: &CurrentTask, pgid: i32) -> Vec<Arc<Task>> {
    let group = match pgid {
        0 => current.process_group(),
        _ => current.pid().namespace().find(pgid).and_then(|pid| pid.process_group()),
    };
    let Some(group) = group else { return Vec::new() };
    let members = current.kernel().tree.lock().members(group.id());
    threads(&members)
}

/// All threads of a user's processes.
pub(crate) fn tasks_of_user(current: &CurrentTask, uid: u32) -> Vec<Arc<Task>> {
    let processes: Vec<Arc<ThreadGroup>> =
        current.kernel().tree.lock().iter().map(|node| Arc::clone(&node.group)).collect();
    let mut tasks = threads(&processes);
    tasks.retain(|task| task.creds().uid == uid);
    tasks
}

fn threads(processes: &[Arc<ThreadGroup>]) -> Vec<Arc<Task>> {
    processes.iter().flat_map(|process| process.threads()).collect()
}
