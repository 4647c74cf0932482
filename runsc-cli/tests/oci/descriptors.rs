//! Descriptors that a command was started with, and that the process in the container gets.

use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::{Place, cannot, describe, is_foreign, runtime};

/// Runs the runtime below a shell that makes `before` of it, with these redirections.
fn redirected(place: &Place, before: &str, redirections: &str, args: &[&str]) -> Output {
    let script = format!("{before} exec \"$@\" {redirections}");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &script, "sh"])
        .arg(runtime())
        .arg("--root")
        .arg(place.path().join("state"))
        .args(args);
    command.current_dir(place.path()).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", describe(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it prints of its descriptors: of files that were passed on what is in them.
const SCRIPT: &str = "read a <&3; read b <&4; echo $a $b; echo back >&5; echo $LISTEN_FDS $LISTEN_PID; \
                      test -e /proc/self/fd/6 || echo no more";

#[test]
fn descriptors_are_preserved() {
    if cannot() {
        return;
    }
    let place = Place::make();
    std::fs::write(place.path().join("one"), "first\n").unwrap();
    std::fs::write(place.path().join("two"), "second\n").unwrap();
    let all = "3<one 4<two 5>out 6</dev/null";
    let bundle = place.bundle(&["sh", "-c", SCRIPT]);
    let back = || std::fs::read_to_string(place.path().join("out")).unwrap();
    let output = redirected(&place, "", all, &["run", "--preserve-fds", "3", "--bundle", bundle.path(), "x"]);
    assert_eq!(text(&output), "first second\n\nno more\n");
    assert_eq!(back(), "back\n");

    // Those of systemd come first, and are told of.
    let listen = "export LISTEN_FDS=2 LISTEN_PID=$$;";
    let output =
        redirected(&place, listen, all, &["run", "--preserve-fds", "1", "--bundle", bundle.path(), "x"]);
    assert_eq!(text(&output), "first second\n2 1\nno more\n");
    // Of another process they are nobody's.
    let listen = "export LISTEN_FDS=2 LISTEN_PID=1;";
    let output =
        redirected(&place, listen, all, &["run", "--preserve-fds", "3", "--bundle", bundle.path(), "x"]);
    assert_eq!(text(&output), "first second\n\nno more\n");

    // The container keeps the standard streams of this one.
    let quiet = format!("{all} >/dev/null 2>&1");
    let args = ["create", "--preserve-fds", "3", "--bundle", bundle.path(), "x"];
    assert_eq!(text(&redirected(&place, "", &quiet, &args)), "");
    place.ok(&["start", "x"]);
    place.becomes("x", "stopped");
    place.ok(&["delete", "x"]);
    assert_eq!(back(), "back\n");

    let bundle = place.bundle(&["sleep", "1000"]);
    place.start(&bundle, "x");
    let output = redirected(&place, "", all, &["exec", "--preserve-fds", "3", "x", "sh", "-c", SCRIPT]);
    assert_eq!(text(&output), "first second\n\nno more\n");
    assert_eq!(back(), "back\n");
}

#[test]
fn many_descriptors_are_preserved() {
    if cannot() {
        return;
    }
    let place = Place::make();
    // More than the first message of a sandbox has numbers for. A shell names one digit only.
    let open = "python3 - \"$@\" <<'END'\nimport os, sys\n\
        for fd in range(3, 63):\n    r, w = os.pipe(); os.write(w, b'%d\\n' % fd); os.close(w); os.dup2(r, fd); os.set_inheritable(fd, True)\n\
        os.execvp(sys.argv[1], sys.argv[1:])\nEND\nexit; ";
    let script = "for fd in 3 31 32 33 62; do cat <&$fd; done; test -e /proc/self/fd/63 || echo no more";
    let bundle = place.bundle(&["sh", "-c", script]);
    let output =
        redirected(&place, open, "", &["run", "--preserve-fds", "60", "--bundle", bundle.path(), "x"]);
    assert_eq!(text(&output), "3\n31\n32\n33\n62\nno more\n");
}

#[test]
fn what_can_not_be_preserved() {
    // runc passes on whatever has that number by chance.
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["true"]);
    for (redirections, count, why) in [
        ("3</dev/null", "2", "descriptor 4 is not open"),
        ("3</tmp", "1", "descriptor 3: a directory of the host"),
        ("3</dev/null", "4000000000", "are the most"),
    ] {
        let args = ["run", "--preserve-fds", count, "--bundle", bundle.path(), "x"];
        let output = redirected(&place, "", redirections, &args);
        let said = describe(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{said}");
        assert!(place.ids().is_empty());
    }
}

/// What the container closes is closed: neither its monitor nor what is left of the command keeps it open.
#[test]
fn nobody_keeps_descriptors_open() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sh", "-c", "exec 3>&-; exec sleep 1000"]);
    let script = "\"$@\" 3>&1 7>&1 >/dev/null 2>&1 </dev/null && \"$1\" --root state start x >/dev/null 2>&1 </dev/null; echo end";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).arg(runtime());
    command.args(["--root", "state", "create", "--preserve-fds", "1", "--bundle", bundle.path(), "x"]);
    // Reading ends only when nobody has the pipe any more.
    let output = command.current_dir(place.path()).stdin(Stdio::null()).output().unwrap();
    assert_eq!(text(&output), "end\n");
    assert_eq!(place.state("x")["status"], "running");
}

#[test]
fn further_containers_of_a_sandbox_have_them_too() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let mut first = place.bundle(&["sleep", "1000"]);
    let pod =
        |kind: &str| json!({"io.kubernetes.cri.container-type": kind, "io.kubernetes.cri.sandbox-id": "pod"});
    first.config["annotations"] = pod("sandbox");
    first.write();
    place.start(&first, "pod");
    std::fs::write(place.path().join("one"), "first\n").unwrap();
    let mut second =
        place.bundle(&["sh", "-c", "read a <&3; echo $a; test -e /proc/self/fd/4 || echo no more"]);
    second.config["annotations"] = pod("container");
    second.write();
    let args = ["run", "--preserve-fds", "1", "--bundle", second.path(), "x"];
    assert_eq!(text(&redirected(&place, "", "3<one", &args)), "first\nno more\n");
}
