//! Trees of the host in the sandbox, the host being the oracle.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::{ORDINARY, root, runsc};

/// A shell script natively and in the sandbox, both with few descriptors: the same output and status.
#[track_caller]
fn same_with_few_descriptors(script: &str, dir: &Path) -> String {
    let user = if root() {
        format!("exec setpriv --reuid {ORDINARY} --regid {ORDINARY} --clear-groups ")
    } else {
        "exec ".to_owned()
    };
    let run = |program: &str| -> Output {
        let script = format!("ulimit -n 256; {user} {program} sh -c '{script}'");
        Command::new("sh").args(["-c", &script]).current_dir(dir).output().unwrap()
    };
    let runsc = runsc();
    let (native, sandbox) = (run(""), run(&format!("{} do", runsc.get_program().display())));
    let text = |output: &Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    assert_eq!((native.status.code(), text(&native)), (sandbox.status.code(), text(&sandbox)), "{script}");
    text(&native)
}

/// More files than the Gofer, or the Sentry, can hold open: what is only cached has to go.
#[test]
fn more_files_than_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for i in 0..20 {
        let sub = dir.path().join(i.to_string());
        fs::create_dir(&sub).unwrap();
        (0..50).for_each(|j| fs::write(sub.join(j.to_string()), format!("{i} {j}\n")).unwrap());
    }
    for script in [
        "ls -lR .",
        "find . -size +0 | wc -l",
        "cat */* | cksum",
        "find . -type f -exec cat {} + | sort | cksum",
    ] {
        assert!(!same_with_few_descriptors(script, dir.path()).is_empty());
    }
}
