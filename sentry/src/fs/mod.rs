//! File systems, one folder each.

pub mod cgroupfs;
pub mod devpts;
pub mod devtmpfs;
pub mod erofs;
pub mod fuse;
pub mod gofer;
pub mod host;
pub mod mqueue;
pub mod nsfs;
pub mod overlay;
pub mod procfs;
pub mod pseudo;
pub mod sysfs;
pub mod tmpfs;

use std::sync::Arc;

use crate::Kernel;

/// Makes the kinds of file systems that guests and the runtime mount by name known, and the drivers of devices.
pub fn register(kernel: &Arc<Kernel>) {
    let vfs = &kernel.vfs;
    for name in ["tmpfs", "ramfs"] {
        vfs.register_type(tmpfs::Tmpfs::new(name));
    }
    vfs.register_type(overlay::OverlayFs::new(vfs));
    vfs.register_type(procfs::ProcFs::new(kernel));
    vfs.register_type(sysfs::SysFs::new(kernel));
    vfs.register_type(Arc::new(devtmpfs::DevTmpfs));
    devpts::DevPts::register(kernel);
    vfs.register_type(Arc::new(erofs::ErofsType));
    vfs.register_type(cgroupfs::Cgroup1::new(kernel));
    vfs.register_type(cgroupfs::Cgroup2::new(kernel));
    vfs.register_type(mqueue::MqueueFs::new(kernel));
    fuse::register(vfs);
    crate::dev::register(vfs);
}
