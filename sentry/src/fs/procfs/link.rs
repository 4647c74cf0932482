//! Magic links: exe, cwd, root, ns/*.

use std::sync::{Arc, Weak};

use abi::Errno;

use crate::Result;
use crate::fs::nsfs::Namespace;
use crate::fs::pseudo::PseudoLink;
use crate::task::access::{self, Access};
use crate::task::{Resources, Task};
use crate::vfs::inode::Link;
use crate::vfs::{Caller, File, Inode, Path, SuperBlock};

/// How /proc names an open file to `caller`.
pub(super) fn text_of(file: &Arc<File>, caller: &Caller<'_>) -> Vec<u8> {
    file.path.text(&caller.roots.root).for_proc()
}

/// Whether the caller may see what a task is working with (ptrace(2), "Ptrace access mode checking"): EACCES.
pub(super) fn may_look_into(caller: &Caller<'_>, task: &Task) -> Result<()> {
    let own = caller.task.map(AsRef::as_ref);
    if access::may_look_into(own, caller.creds, task, Access::File) { Ok(()) } else { Err(Errno::EACCES) }
}

/// A link to a place that `find` takes from what the task uses.
pub(super) fn place(
    sb: &Arc<SuperBlock>,
    task: &Arc<Task>,
    find: impl Fn(&Resources) -> Result<Path> + Send + Sync + Clone + 'static,
) -> Arc<Inode> {
    let task = Arc::downgrade(task);
    let at = move |task: &Weak<Task>, caller: &Caller<'_>| {
        let task = task.upgrade().ok_or(Errno::ENOENT)?;
        may_look_into(caller, &task)?;
        find(&task.resources().ok_or(Errno::ENOENT)?)
    };
    let (followed, read, owned) = (Weak::clone(&task), Weak::clone(&task), task);
    let say = at.clone();
    PseudoLink::magic(
        sb,
        move || super::task::owner(&owned, 0o777),
        move |caller| Ok(Link::Place(at(&followed, caller)?)),
        move |caller| Ok(say(&read, caller)?.text(&caller.roots.root).for_proc()),
    )
}

/// The program that the task runs.
pub(super) fn exe(resources: &Resources) -> Result<Path> {
    let exe = resources.mm.exe().ok_or(Errno::ENOENT)?;
    let file = exe.downcast::<File>().map_err(|_| Errno::ENOENT)?;
    Ok(file.path.clone())
}

/// A link of /proc/PID/ns.
pub(super) fn namespace(sb: &Arc<SuperBlock>, task: &Arc<Task>, kind: &'static str) -> Arc<Inode> {
    let task = Arc::downgrade(task);
    let at = move |task: &Weak<Task>, caller: &Caller<'_>| -> Result<Namespace> {
        let task = task.upgrade().ok_or(Errno::ENOENT)?;
        may_look_into(caller, &task)?;
        let namespaces = task.resources().ok_or(Errno::ENOENT)?.namespaces;
        Ok(match kind {
            "cgroup" => Namespace::Cgroup(Arc::clone(&namespaces.cgroup)),
            "ipc" => Namespace::Ipc(Arc::clone(&namespaces.ipc)),
            "mnt" => Namespace::Mount(Arc::clone(&namespaces.mount)),
            "net" => Namespace::Net(Arc::clone(&namespaces.net)),
            "pid" => Namespace::Pid(Arc::clone(task.pid().namespace())),
            "pid_for_children" => Namespace::Pid(Arc::clone(&namespaces.pid_for_children)),
            "user" => Namespace::User(Arc::clone(&task.creds().user_ns)),
            "uts" => Namespace::Uts(Arc::clone(&namespaces.uts)),
            _ => Namespace::Time(Arc::clone(&task.kernel().user_ns)),
        })
    };
    let (followed, read, owned) = (Weak::clone(&task), Weak::clone(&task), task);
    let find = move |caller: &Caller<'_>| {
        let namespace = at(&followed, caller)?;
        let kernel = followed.upgrade().ok_or(Errno::ENOENT)?;
        Ok(Link::Place(kernel.kernel().namespaces.path(&namespace)))
    };
    let say = move |caller: &Caller<'_>| Ok(at(&read, caller)?.text().into_bytes());
    PseudoLink::magic(sb, move || super::task::owner(&owned, 0o777), find, say)
}
