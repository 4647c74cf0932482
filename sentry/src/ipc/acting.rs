//! Which namespace a thread works for.

use std::cell::RefCell;
use std::sync::Arc;

use super::IpcNamespace;
use crate::Kernel;
use crate::task::current_task;

thread_local! {
    /// That of a container which a thread of the runtime sets up.
    static SET_UP: RefCell<Option<Arc<IpcNamespace>>> = const { RefCell::new(None) };
}

/// Does something for a container that has no task yet: files whose contents depend on the namespace are that one's.
pub fn on_behalf_of<R>(namespace: &Arc<IpcNamespace>, work: impl FnOnce() -> R) -> R {
    let before = SET_UP.replace(Some(Arc::clone(namespace)));
    let result = work();
    drop(SET_UP.replace(before));
    result
}

/// The namespace of the calling thread's task, or of what it sets up; otherwise the first.
pub(crate) fn acting(kernel: &Kernel) -> Arc<IpcNamespace> {
    if let Some(resources) = current_task().and_then(|task| task.resources()) {
        return Arc::clone(&resources.namespaces.ipc);
    }
    SET_UP.with_borrow(Clone::clone).unwrap_or_else(|| Arc::clone(&kernel.ipc))
}
