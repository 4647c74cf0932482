//! The task of the calling thread, for those whom no [`CurrentTask`](super::CurrentTask) is passed: files whose
//! contents depend on who reads them.

use std::cell::RefCell;
use std::sync::Arc;

use super::Task;

thread_local! {
    static CURRENT: RefCell<Option<Arc<Task>>> = const { RefCell::new(None) };
}

/// The task that the calling thread runs; `None` on threads of the kernel itself.
pub fn current_task() -> Option<Arc<Task>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Notes the task of the calling thread, or that it has ended.
pub(super) fn set_current_task(task: Option<Arc<Task>>) {
    let old = CURRENT.with(|current| current.replace(task));
    drop(old);
}
