//! Folders of the host that the sandbox mounts as volumes, where the file cases run on the Gofer's trees themselves.
//!
//! `NAME@exclusive` has its scratch directory in a volume that is the sandbox's alone, `NAME@shared` in one that others may
//! change. Natively both are ordinary folders: the oracle is the file system that the Gofer serves.
//!
//! `NAME@layer` has it in the sandbox's root, whose layer for changes is in a file of the host.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// The kinds of volumes, which are also the last part of a case's name.
pub const KINDS: [&str; 2] = ["exclusive", "shared"];

/// The folder for cases on a layer in a file, and the last part of their names.
const LAYER: &str = "layer";

/// Where the program is told that the volumes are: one folder of each kind.
pub const VARIABLE: &str = "CASES_VOLUMES";

/// Volumes for one run of the program; they go when this does.
#[derive(Debug)]
pub struct Volumes {
    top: PathBuf,
}

impl Volumes {
    /// Makes the folders, empty, on a disk file system.
    pub fn new() -> io::Result<Volumes> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let top = PathBuf::from(format!("/var/tmp/conformance-volumes.{}.{number}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        let volumes = Volumes { top };
        for kind in KINDS.into_iter().chain([LAYER]) {
            fs::create_dir_all(volumes.top.join(kind))?;
        }
        Ok(volumes)
    }

    /// What goes into [`VARIABLE`].
    pub fn top(&self) -> &std::path::Path {
        &self.top
    }

    /// Flags for `runsc do`: each folder at the same place inside.
    pub fn flags(&self) -> Vec<String> {
        let flag = |kind: &str| format!("--volume={0}:{0}:{kind}", self.top.join(kind).display());
        KINDS.into_iter().map(flag).collect()
    }

    /// Flags for cases on a layer: no volumes, and the layer of the root in a file.
    pub fn layer_flags(&self) -> Vec<String> {
        vec![format!("--overlay2=root:dir={}", self.top.display())]
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        // What can't be removed is left to whoever looks after /var/tmp.
        let _ = fs::remove_dir_all(&self.top);
    }
}

/// Whether a case runs on a volume, or on a layer.
pub fn wants_volume(case: &str) -> bool {
    wants_layer(case) || KINDS.iter().any(|kind| runs_at(case, kind))
}

/// Whether a case runs on a layer in a file.
pub fn wants_layer(case: &str) -> bool {
    runs_at(case, LAYER)
}

fn runs_at(case: &str, place: &str) -> bool {
    case.strip_suffix(place).is_some_and(|rest| rest.ends_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cases_on_volumes() {
        assert!(wants_volume("files/rename@shared") && wants_volume("files/rename@exclusive"));
        assert!(wants_layer("files/rename@layer") && !wants_layer("files/layer"));
        assert!(
            !wants_volume("files/rename")
                && !wants_volume("files/rename@disk")
                && !wants_volume("files/shared")
        );
    }
}
