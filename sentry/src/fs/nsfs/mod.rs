//! Namespaces as files (namespaces(7)): what the links in /proc/PID/ns lead to, can be opened, mounted elsewhere, and given to
//! setns(2).
//!
//! A file holds its namespace. Mount namespaces can be mounted only in older ones, so that none holds itself.

use std::any::Any;
use std::sync::Arc;

use abi::Errno;
use abi::clone::CloneFlags;
use abi::ioctl::{NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_PARENT, NS_GET_USERNS};
use abi::open::OpenFlags;
use abi::stat::S_IFREG;

use crate::Result;
use crate::error::SysResult;
use crate::fs::cgroupfs::CgroupNamespace;
use crate::ipc::IpcNamespace;
use crate::mm::{UserAddr, UserRef};
use crate::net::NetNamespace;
use crate::task::{Credentials, CurrentTask, PidNamespace, UserNamespace};
use crate::uts::UtsNamespace;
use crate::vfs::permission::generic_permission;
use crate::vfs::{
    Attr, Blocking, Caller, Dentry, File, FileOps, Inode, InodeOps, Mount, MountFlags, MountNamespace,
    OnExec, Path, SetAttr, StatFs, SuperBlock, SuperBlockOps, Want,
};

/// What statfs says (NSFS_MAGIC).
const MAGIC: i64 = 0x6e73_6673;
/// What file systems of the kind call themselves.
pub const KIND: &str = "nsfs";

/// A namespace of any kind.
#[derive(Clone)]
pub enum Namespace {
    /// cgroup_namespaces(7)
    Cgroup(Arc<CgroupNamespace>),
    /// ipc_namespaces(7)
    Ipc(Arc<IpcNamespace>),
    /// mount_namespaces(7)
    Mount(Arc<MountNamespace>),
    /// network_namespaces(7)
    Net(Arc<NetNamespace>),
    /// pid_namespaces(7)
    Pid(Arc<PidNamespace>),
    /// time_namespaces(7), of which there is one; with the user namespace that owns it.
    Time(Arc<UserNamespace>),
    /// user_namespaces(7)
    User(Arc<UserNamespace>),
    /// uts_namespaces(7)
    Uts(Arc<UtsNamespace>),
}

/// The number of the one time namespace.
const TIME_ID: u64 = 0xefff_fffa;

impl Namespace {
    /// CLONE_NEW* of its kind.
    pub fn kind(&self) -> CloneFlags {
        match self {
            Namespace::Cgroup(_) => CloneFlags::NEWCGROUP,
            Namespace::Ipc(_) => CloneFlags::NEWIPC,
            Namespace::Mount(_) => CloneFlags::NEWNS,
            Namespace::Net(_) => CloneFlags::NEWNET,
            Namespace::Pid(_) => CloneFlags::NEWPID,
            Namespace::Time(_) => CloneFlags::NEWTIME,
            Namespace::User(_) => CloneFlags::NEWUSER,
            Namespace::Uts(_) => CloneFlags::NEWUTS,
        }
    }

    /// Its number, which is that of its file's inode.
    pub fn id(&self) -> u64 {
        match self {
            Namespace::Cgroup(ns) => ns.id,
            Namespace::Ipc(ns) => ns.id,
            Namespace::Mount(ns) => ns.id,
            Namespace::Net(ns) => ns.id,
            Namespace::Pid(ns) => ns.id,
            Namespace::Time(_) => TIME_ID,
            Namespace::User(ns) => ns.id,
            Namespace::Uts(ns) => ns.id,
        }
    }

    /// What links to it say, such as `net:[4026531833]`.
    pub fn text(&self) -> String {
        let kind = match self {
            Namespace::Cgroup(_) => "cgroup",
            Namespace::Ipc(_) => "ipc",
            Namespace::Mount(_) => "mnt",
            Namespace::Net(_) => "net",
            Namespace::Pid(_) => "pid",
            Namespace::Time(_) => "time",
            Namespace::User(_) => "user",
            Namespace::Uts(_) => "uts",
        };
        format!("{kind}:[{}]", self.id())
    }

    /// The user namespace that owns it; of a user namespace its parent, `None` for the first.
    pub fn owner(&self) -> Option<&Arc<UserNamespace>> {
        match self {
            Namespace::Cgroup(ns) => Some(&ns.user_ns),
            Namespace::Ipc(ns) => Some(&ns.user_ns),
            Namespace::Mount(ns) => Some(&ns.user_ns),
            Namespace::Net(ns) => Some(&ns.user_ns),
            Namespace::Pid(ns) => Some(&ns.user_ns),
            Namespace::Time(owner) => Some(owner),
            Namespace::User(ns) => ns.parent(),
            Namespace::Uts(ns) => Some(&ns.user_ns),
        }
    }
}

/// The file system, which is mounted nowhere as a whole.
pub struct NsFs {
    mount: Arc<Mount>,
}

struct Super;

impl SuperBlockOps for Super {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn statfs(&self) -> Result<StatFs> {
        Ok(StatFs::uncounted(MAGIC))
    }
}

/// The inode of a namespace, or of the root that nobody sees.
struct Node(Option<Namespace>);

/// An open namespace.
struct OpenNamespace(Namespace);

fn inode(sb: &Arc<SuperBlock>, namespace: Option<Namespace>) -> Arc<Inode> {
    let number = namespace.as_ref().map_or(1, Namespace::id);
    let mode = if namespace.is_some() { S_IFREG | 0o444 } else { abi::stat::S_IFDIR | 0o555 };
    Inode::new(sb, &Attr::new(number, mode, 0, 0), Box::new(Node(namespace)))
}

impl NsFs {
    /// Made once in a kernel.
    pub fn new() -> NsFs {
        let sb = SuperBlock::new(Box::new(Super));
        let root = inode(&sb, None);
        NsFs { mount: Mount::new(Dentry::new_root(root), KIND.as_bytes(), MountFlags::empty()) }
    }

    /// The file of a namespace.
    pub fn path(&self, namespace: &Namespace) -> Path {
        let inode = inode(self.mount.sb(), Some(namespace.clone()));
        let dentry = Dentry::new_unnamed(inode, None, namespace.text().as_bytes());
        Path::new(Arc::clone(&self.mount), dentry)
    }

    /// The same, opened.
    fn file(&self, namespace: &Namespace, creds: &Arc<Credentials>) -> Arc<File> {
        let ops = Box::new(OpenNamespace(namespace.clone()));
        File::new(ops, self.path(namespace), OpenFlags::empty(), Arc::clone(creds))
    }
}

impl Default for NsFs {
    fn default() -> Self {
        Self::new()
    }
}

/// The namespace that an inode stands for.
pub fn of_inode(inode: &Inode) -> Option<&Namespace> {
    inode.downcast::<Node>().and_then(|node| node.0.as_ref())
}

/// The namespace that an open file stands for.
pub fn of_file(file: &File) -> Option<&Namespace> {
    file.downcast::<OpenNamespace>().map(|open| &open.0)
}

impl InodeOps for Node {
    fn attr(&self, inode: &Inode) -> Result<Attr> {
        let mode = if self.0.is_some() { S_IFREG | 0o444 } else { abi::stat::S_IFDIR | 0o555 };
        Ok(Attr { btime: None, ..Attr::new(inode.ino, mode, 0, 0) })
    }

    fn permission(&self, inode: &Inode, caller: &Caller<'_>, want: Want) -> Result<()> {
        // As a file that is immutable.
        if want.contains(Want::WRITE) {
            return Err(Errno::EPERM);
        }
        generic_permission(inode, caller.creds, want)
    }

    fn set_attr(&self, _inode: &Arc<Inode>, _change: &SetAttr) -> Result<()> {
        Err(Errno::EPERM)
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: OpenFlags, _caller: &Caller<'_>) -> Result<Box<dyn FileOps>> {
        let namespace = self.0.clone().ok_or(Errno::ENXIO)?;
        Ok(Box::new(OpenNamespace(namespace)))
    }
}

/// Whether `ns` is `above` or in it.
fn is_in(ns: &Arc<UserNamespace>, above: &Arc<UserNamespace>) -> bool {
    std::iter::successors(Some(ns), |ns| ns.parent()).any(|ns| Arc::ptr_eq(ns, above))
}

impl OpenNamespace {
    /// What NS_GET_USERNS and NS_GET_PARENT find: EPERM for what the caller is not in.
    fn related(&self, task: &CurrentTask, request: u32) -> Result<Namespace> {
        let found = match (request, &self.0) {
            (NS_GET_PARENT, Namespace::Pid(ns)) => {
                let parent = ns.parent().ok_or(Errno::EPERM)?;
                let own = task.pid();
                let own = own.namespace();
                let seen =
                    std::iter::successors(Some(parent), |ns| ns.parent()).any(|ns| Arc::ptr_eq(ns, own));
                return if seen { Ok(Namespace::Pid(Arc::clone(parent))) } else { Err(Errno::EPERM) };
            }
            (NS_GET_USERNS, namespace) | (NS_GET_PARENT, namespace @ Namespace::User(_)) => namespace.owner(),
            _ => return Err(Errno::EINVAL),
        };
        let found = found.ok_or(Errno::EPERM)?;
        if is_in(found, &task.own_creds().user_ns) {
            Ok(Namespace::User(Arc::clone(found)))
        } else {
            Err(Errno::EPERM)
        }
    }
}

impl FileOps for OpenNamespace {
    fn blocking(&self) -> Blocking {
        Blocking::Never
    }

    fn ioctl(&self, _file: &File, task: &mut CurrentTask, request: u32, arg: u64) -> SysResult<u64> {
        match request {
            NS_GET_USERNS | NS_GET_PARENT => {
                let found = self.related(task, request)?;
                let reserved = task.reserve_fd(OnExec::from_flags(OpenFlags::CLOEXEC))?;
                let file = task.kernel().namespaces.file(&found, task.own_creds());
                Ok(reserved.fill(file) as u64)
            }
            NS_GET_NSTYPE => Ok(self.0.kind().bits()),
            NS_GET_OWNER_UID => {
                let Namespace::User(ns) = &self.0 else { return Err(Errno::EINVAL.into()) };
                let owner = task.own_creds().user_ns.uid_inside(ns.owner());
                task.write_obj(UserRef::new(UserAddr(arg)), &owner)?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY.into()),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
