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

/// Images have their servers log to /dev/stdout, whatever the engine made that.
#[test]
fn standard_streams_are_opened_again_by_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = runsc().get_program().to_owned();
    let run = |sandbox: bool, script: &str| {
        let before = if sandbox { format!("{} do", program.display()) } else { String::new() };
        let script = format!("rm -f out; printf 'one\\ntwo\\n' >in; {}", script.replace("RUN", &before));
        let output = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for script in [
        "RUN sh -c 'echo a >/dev/stdout; echo b; echo c >>/dev/stdout' | cat",
        "RUN sh -c 'echo a >/dev/stderr' 2>&1 | cat",
        "cat in | RUN cat /dev/stdin",
        "cat in | RUN sh -c 'read a </dev/stdin; read b; echo $a $b'",
        "(sleep 0.2; echo late) | RUN cat /proc/self/fd/0",
        "RUN cat /dev/stdin <in",
        // A position of its own, from the beginning.
        "RUN sh -c 'read a; cat /dev/stdin; cat' <in",
        "RUN sh -c 'echo abc; echo a >>/dev/stdout; echo b >>/dev/stdout' >out; cat out",
        "RUN sh -c 'echo abcdef; echo a >/dev/stdout; echo b' >out; od -c out",
        "RUN sh -c 'tail -c 4 /dev/stdin' <in",
        "RUN sh -c 'exec 9<>/dev/stdout; echo a >&9' 1<>out; cat out",
        "RUN sh -c 'echo a >/dev/stdout' >/dev/null",
    ] {
        assert_eq!(run(true, script), run(false, script), "{script}");
    }
    // What a descriptor may not do can't be had by opening it again.
    let (_, text) = run(true, "RUN sh -c '(echo x >>/dev/stdin) 2>/dev/null || echo denied' <in; cat in");
    assert_eq!(text, "denied\none\ntwo\n");
}
