//! A disk that is full: ENOSPC, and nothing that was synced is lost.

use std::fs;
use std::process::Command;

use crate::guest::{Folder, Guest, has_python};

/// A small file system of its own; needs root.
pub struct Small(pub Folder);

impl Small {
    pub fn mount() -> Option<Small> {
        let folder = Folder::new("full");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m,nr_inodes=200", "none"]).arg(&folder.0);
        mount.output().is_ok_and(|done| done.status.success()).then_some(Small(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0.0).status();
    }
}

#[test]
fn a_full_disk_is_enospc_and_loses_nothing() {
    if !has_python("a_full_disk_is_enospc_and_loses_nothing") {
        return;
    }
    for mode in ["shared", "exclusive"] {
        let Some(small) = Small::mount() else {
            eprintln!("*** SKIPPED a_full_disk_is_enospc_and_loses_nothing: mounting a tmpfs needs root");
            return;
        };
        let top = &small.0.0;
        let mut guest = Guest::start(&[format!("--volume={}:/v:{mode}", top.display())]);
        guest.ask(
            "f = open('/v/synced', 'wb', buffering=0); f.write(b'keep me' * 1000); os.fsync(f.fileno())",
        );
        guest.ask("g = open('/v/big', 'wb', buffering=0)");
        guest.expect("[g.write(bytes(100000)) for i in range(100)]", "ENOSPC");
        guest.expect("os.posix_fallocate(f.fileno(), 0, 3 << 20)", "ENOSPC");
        guest.expect("os.pwrite(f.fileno(), b'x', 2 << 20)", "ENOSPC");
        guest.expect("os.fsync(f.fileno())", "None");
        assert_eq!(fs::read(top.join("synced")).unwrap(), b"keep me".repeat(1000));
        // With room again it goes on; and inodes run out as well.
        guest.ask("g.truncate(0)");
        guest.expect("f.write(b'more')", "4");
        guest.expect("[open('/v/n%d' % i, 'w').close() for i in range(300)]", "ENOSPC");
        guest.expect("os.mkdir('/v/d')", "ENOSPC");
        assert_eq!(fs::read(top.join("synced")).unwrap().len(), 7004);
        assert_eq!(guest.end().0, Some(0));
    }
}
