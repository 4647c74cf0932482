//! sysfs(5): the little of /sys that programs in containers look at.

use std::sync::{Arc, Weak};

use abi::Errno;

use crate::fs::pseudo::{PseudoDir, PseudoSuper, StaticDir, TextFile};
use crate::vfs::{Caller, Dentry, Inode, SuperBlock};
use crate::vfs::{FileSystemType, MountRequest};
use crate::{Kernel, Result};

/// The kind of file system.
pub struct SysFs {
    kernel: Weak<Kernel>,
}

impl SysFs {
    /// For this kernel.
    pub fn new(kernel: &Arc<Kernel>) -> Arc<SysFs> {
        Arc::new(SysFs { kernel: Arc::downgrade(kernel) })
    }
}

impl FileSystemType for SysFs {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn allowed_in_user_ns(&self) -> bool {
        true
    }

    fn mount(&self, _request: &MountRequest<'_>, _caller: &Caller<'_>) -> Result<Arc<Dentry>> {
        let kernel = self.kernel.upgrade().ok_or(Errno::EIO)?;
        let sb =
            SuperBlock::new(Box::new(PseudoSuper { kind: "sysfs", magic: 0x6265_6572, revalidate: false }));
        Ok(Dentry::new_root(root(&sb, &kernel)))
    }
}

fn text(sb: &Arc<SuperBlock>, text: impl Into<String>) -> Arc<Inode> {
    let line = format!("{}\n", text.into()).into_bytes();
    TextFile::fixed(sb, 0o444, move || Ok(line.clone()))
}

fn dir(sb: &Arc<SuperBlock>, entries: Vec<(&str, Arc<Inode>)>) -> Arc<Inode> {
    let mut dir = StaticDir::default();
    for (name, inode) in entries {
        dir.add(name, inode);
    }
    PseudoDir::inode(sb, dir)
}

fn root(sb: &Arc<SuperBlock>, kernel: &Arc<Kernel>) -> Arc<Inode> {
    let cpus = kernel.cpus;
    let list = if cpus > 1 { format!("0-{}", cpus - 1) } else { "0".to_owned() };
    let mut cpu_dir = StaticDir::default();
    for name in ["online", "possible", "present"] {
        cpu_dir.add(name, text(sb, list.clone()));
    }
    cpu_dir.add("offline", text(sb, ""));
    cpu_dir.add("kernel_max", text(sb, "8191"));
    for cpu in 0..cpus {
        let mask = text(sb, format!("{:x}", 1u64 << (cpu % 64)));
        let topology = dir(
            sb,
            vec![
                ("core_id", text(sb, cpu.to_string())),
                ("core_siblings_list", text(sb, list.clone())),
                ("physical_package_id", text(sb, "0")),
                ("thread_siblings", mask),
                ("thread_siblings_list", text(sb, cpu.to_string())),
            ],
        );
        cpu_dir.add(&format!("cpu{cpu}"), dir(sb, vec![("topology", topology)]));
    }
    let cpu = PseudoDir::inode(sb, cpu_dir);
    let node0 = dir(sb, vec![("cpulist", text(sb, list.clone())), ("distance", text(sb, "10"))]);
    let node = dir(sb, vec![("node0", node0), ("online", text(sb, "0")), ("possible", text(sb, "0"))]);
    let system = dir(sb, vec![("cpu", cpu), ("node", node)]);
    let devices = dir(sb, vec![("system", system), ("virtual", dir(sb, vec![]))]);
    let thp = dir(
        sb,
        vec![("enabled", text(sb, "always [madvise] never")), ("hpage_pmd_size", text(sb, "2097152"))],
    );
    let kernel_mm = dir(sb, vec![("hugepages", dir(sb, vec![])), ("transparent_hugepage", thp)]);
    let fs = dir(sb, vec![("cgroup", dir(sb, vec![]))]);
    let empty = || dir(sb, vec![]);
    dir(
        sb,
        vec![
            ("block", empty()),
            ("bus", empty()),
            ("class", dir(sb, vec![("net", empty()), ("tty", empty())])),
            ("dev", dir(sb, vec![("block", empty()), ("char", empty())])),
            ("devices", devices),
            ("firmware", empty()),
            ("fs", fs),
            ("kernel", dir(sb, vec![("mm", kernel_mm)])),
            ("module", empty()),
            ("power", empty()),
        ],
    )
}
