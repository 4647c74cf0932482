//! Magic links: exe, cwd, root, ns/*.

use std::sync::{Arc, Weak};

use abi::Errno;

use crate::Result;
use crate::fs::pseudo::PseudoLink;
use crate::task::{Resources, Task};
use crate::vfs::inode::Link;
use crate::vfs::{Caller, File, Inode, Path, SuperBlock};

/// How /proc names an open file to `caller`.
pub(super) fn text_of(file: &Arc<File>, caller: &Caller<'_>) -> Vec<u8> {
    file.path.text(&caller.roots.root).for_proc()
}

/// A link to a place that `find` takes from what the task uses.
pub(super) fn place(
    sb: &Arc<SuperBlock>,
    task: &Arc<Task>,
    find: impl Fn(&Resources) -> Result<Path> + Send + Sync + Clone + 'static,
) -> Arc<Inode> {
    let creds = task.creds();
    let task = Arc::downgrade(task);
    let at = move |task: &Weak<Task>| {
        let resources = task.upgrade().and_then(|t| t.resources()).ok_or(Errno::ENOENT)?;
        find(&resources)
    };
    let (followed, read) = (Weak::clone(&task), task);
    let say = at.clone();
    PseudoLink::magic(
        sb,
        0o777,
        (creds.euid, creds.egid),
        move |_| Ok(Link::Place(at(&followed)?)),
        move |caller| Ok(say(&read)?.text(&caller.roots.root).for_proc()),
    )
}

/// The program that the task runs.
pub(super) fn exe(resources: &Resources) -> Result<Path> {
    let exe = resources.mm.exe().ok_or(Errno::ENOENT)?;
    let file = exe.downcast::<File>().map_err(|_| Errno::ENOENT)?;
    Ok(file.path.clone())
}

/// A link of /proc/PID/ns: only its text means something yet.
pub(super) fn namespace(sb: &Arc<SuperBlock>, task: &Arc<Task>, kind: &'static str) -> Arc<Inode> {
    let creds = task.creds();
    let task = Arc::downgrade(task);
    let say = move |_: &Caller<'_>| -> Result<Vec<u8>> {
        let task = task.upgrade().ok_or(Errno::ENOENT)?;
        let resources = task.resources().ok_or(Errno::ENOENT)?;
        let id = match kind {
            "mnt" => resources.namespaces.mount.id,
            "uts" => resources.namespaces.uts.id,
            "pid" => task.pid().namespace().id,
            "pid_for_children" => resources.namespaces.pid_for_children.id,
            "user" => task.creds().user_ns.id,
            "ipc" => 0xefff_ffff,
            "net" => 0xf000_0000 - 0x75,
            "cgroup" => 0xefff_fffb,
            _ => 0xefff_fffa,
        };
        let name = if kind == "pid_for_children" { "pid" } else { kind };
        Ok(format!("{name}:[{id}]").into_bytes())
    };
    PseudoLink::magic(sb, 0o777, (creds.euid, creds.egid), |_| Err(Errno::EACCES), say)
}
