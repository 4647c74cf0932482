//! Command lines that are wrong, or come at the wrong time: the exit status is that of runc, and what is told is one line.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::{OURS, Place, cannot, describe, is_foreign, oracle};

/// Containers `created`, `running`, `stopped` and `paused` are there; `bundle`, `empty` and `broken.json` are in the working
/// directory.
const CASES: &str = "
--nosuch list
nosuch
help nosuch
--log-format xml list
--log /nonexistent/dir/log list
--log-format json state nope
--root
create
create a b
create --nosuch x
create -b /nonexistent x
create -b empty x
create -b bundle a/b
create -b bundle ../x
create -b bundle running
create -b bundle --pid-file /nonexistent/pid x
create -b bundle --console-socket /nonexistent/sock x
create -b bundle --preserve-fds x y
create -b bundle --no-pivot
run
run a b
run -b empty x
run -b bundle running
run -b bundle --console-socket /nonexistent/sock x
run -d -b bundle --pid-file /nonexistent/pid x
start
start nope
start running
start stopped
start paused
start a b
start --nosuch x
state
state nope
state a b
state --nosuch running
state a/b
kill
kill nope
kill nope KILL
kill running NOSUCH
kill running 0
kill running 65
kill running -1
kill stopped KILL
kill stopped
kill stopped 0
kill --all stopped KILL
kill --all running 0
kill running TERM extra
kill --nosuch running
kill created WINCH
kill paused WINCH
delete
delete nope
delete running
delete paused
delete --force nope
delete --nosuch running
delete a/b
delete nope1 nope2
list --format xml
list extra
list --nosuch
list --quiet --format json
ps
ps nope
ps stopped
ps --format json stopped
ps --format xml running
ps running --nosuch
ps created
pause
pause nope
pause stopped
pause paused
pause a b
resume
resume nope
resume running
resume stopped
resume created
events
events nope
events --stats stopped
events --interval 0s running
events --interval foo running
events --stats nope
events --stats created
update
update nope
update --memory foo running
update --cpu-quota foo running
update --resources /nonexistent running
update --resources broken.json running
update --pids-limit foo running
update stopped
update --memory 128m stopped
update --blkio-weight 70000 running
update --l3-cache-schema x running
exec
exec nope true
exec running
exec stopped true
exec created
exec running nosuch
exec running /nosuch
exec running /etc
exec --nosuch running true
exec --process /nonexistent running
exec --process broken.json running
exec --process nothing.json running
exec --user nosuch running true
exec --user 1:x running true
exec --user -1 running true
exec --cwd /nonexistent running true
exec --cwd relative running true
exec --env BROKEN running true
exec --env =x running true
exec --cap NOSUCH running true
exec --additional-gids x running true
exec -d -t running true
exec --console-socket /nonexistent/s -t -d running true
exec --console-socket /nonexistent/s running true
exec --preserve-fds x running true
exec --cgroup nosuch running true
exec --pid-file /nonexistent/p running true
exec -d --pid-file /nonexistent/p running true
spec --nosuch
spec -b /nonexistent
spec extra
spec -b bundle
features extra
features --nosuch
checkpoint
checkpoint nope
restore
";

/// The four containers, made anew.
fn set_up(place: &Place, bundle: &str) {
    for (id, then) in [
        ("created", &[][..]),
        ("running", &["start"]),
        ("stopped", &["start", "kill"]),
        ("paused", &["start", "pause"]),
    ] {
        place.ok(&["delete", "--force", id]);
        place.detached(&["create", "--bundle", bundle, id]);
        for command in then {
            if *command == "kill" {
                place.ok(&["kill", id, "KILL"]);
                place.becomes(id, "stopped");
            } else {
                place.ok(&[command, id]);
            }
        }
    }
}

fn is_set_up(place: &Place) -> bool {
    let list: Value = serde_json::from_str(&place.ok(&["list", "--format", "json"])).unwrap();
    let all = list.as_array().unwrap();
    all.len() == 4 && all.iter().all(|container| container["id"] == container["status"])
}

/// What each command line does.
fn record(runtime: &Path) -> Vec<(&'static str, Output)> {
    let place = Place::of(runtime);
    let bundle = place.bundle(&["sleep", "1000"]);
    std::os::unix::fs::symlink(&bundle.dir, place.path().join("bundle")).unwrap();
    std::fs::create_dir(place.path().join("empty")).unwrap();
    std::fs::write(place.path().join("broken.json"), "{\n").unwrap();
    std::fs::write(place.path().join("nothing.json"), "{}\n").unwrap();
    let mut outputs = Vec::new();
    set_up(&place, bundle.path());
    for line in CASES.trim().lines() {
        let mut command = place.command(&line.split(' ').collect::<Vec<_>>());
        // A file, since a container that is made nevertheless keeps it open.
        let (out, err) = (place.path().join("out"), place.path().join("err"));
        command.stdin(Stdio::null()).stdout(std::fs::File::create(&out).unwrap());
        command.stderr(std::fs::File::create(&err).unwrap()).current_dir(place.path());
        let status = command.status().unwrap();
        let output =
            Output { status, stdout: std::fs::read(out).unwrap(), stderr: std::fs::read(err).unwrap() };
        outputs.push((line, output));
        if !is_set_up(&place) {
            place.ok(&["delete", "--force", "x", "y"]);
            set_up(&place, bundle.path());
        }
    }
    outputs
}

#[test]
fn statuses_are_those_of_runc_and_errors_are_one_line() {
    if cannot() || is_foreign() {
        return;
    }
    let ours = record(Path::new(OURS));
    for (line, output) in &ours {
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            continue;
        }
        assert_eq!(text.lines().count(), 1, "{line}: {text}");
        let said: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if line.contains("--log-format json") {
            assert_eq!(said["level"], "error", "{text}");
            continue;
        }
        assert!(text.starts_with("runsc: "), "{line}: {text}");
        // What to do, which is more than runc says.
        assert!(
            text.contains("; ") || text.contains(": use ") || text.contains("not supported yet"),
            "{line}: {text}"
        );
        assert!(output.stdout.is_empty(), "{line}: {}", describe(output));
    }
    let Some(runc) = oracle() else { return };
    let theirs = record(&runc);
    let statuses = |all: &[(&'static str, Output)]| {
        all.iter().map(|(line, output)| format!("{line}: {:?}", output.status.code())).collect::<Vec<_>>()
    };
    for (our, their) in statuses(&ours).iter().zip(statuses(&theirs)) {
        assert_eq!(*our, their);
    }
}

/// The flags that a help names: `--long`, and `-s` where there is a short form.
fn flags(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| {
        // The names come before a gap.
        let names = line.split("  ").next().unwrap_or_default();
        names.split([' ', ',']).filter(|word| word.starts_with('-')).map(str::to_owned).collect::<Vec<_>>()
    });
    words.collect()
}

#[test]
fn every_flag_of_runc_is_known() {
    if cannot() || is_foreign() {
        return;
    }
    let Some(runc) = oracle() else { return };
    let help = |runtime: &Path, command: &[&str]| {
        let output = Command::new(runtime).args(command).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let commands = help(&runc, &[]);
    let listed = commands.split("COMMANDS:").nth(1).unwrap().split("GLOBAL").next().unwrap();
    let commands: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 15, "{commands:?}");
    // What is not supported yet takes any flag.
    let taken = commands.iter().filter(|name| !["checkpoint", "restore", "help,"].contains(*name));
    for command in taken.map(std::slice::from_ref).chain([&[][..]]) {
        let ours = flags(&help(Path::new(OURS), command));
        for flag in flags(&help(&runc, command)) {
            assert!(ours.contains(&flag), "{command:?} {flag} is not among {ours:?}");
        }
    }
}

/// Global flags that an engine gives every time.
struct Engine<'a> {
    place: &'a Place,
    flags: Vec<String>,
}

impl Engine<'_> {
    fn with<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        self.flags.iter().map(String::as_str).chain(args.iter().copied()).collect()
    }

    fn ok(&self, args: &[&str]) {
        self.place.ok(&self.with(args));
    }

    fn detached(&self, args: &[&str]) {
        self.place.detached(&self.with(args));
    }
}

#[test]
fn flags_of_engines_are_taken() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    let log = place.path().join("log");
    let log = log.to_str().unwrap();
    let file = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let process = json!({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
    std::fs::write(file("process"), process.to_string()).unwrap();
    std::fs::write(file("resources"), "{}").unwrap();
    let (pid, process, resources) = (file("pid"), file("process"), file("resources"));
    // containerd's shim and Docker.
    let global = ["--log", log, "--log-format", "json"];
    let flags: Vec<String> = global.iter().map(|flag| (*flag).to_owned()).collect();
    let engine = Engine { place: &place, flags };
    engine.detached(&["create", "--bundle", bundle.path(), "--pid-file", &pid, "a"]);
    engine.ok(&["start", "a"]);
    engine.ok(&["exec", "--process", &process, "--pid-file", &pid, "a"]);
    engine.detached(&["exec", "--process", &process, "--detach", "--pid-file", &pid, "a"]);
    engine.ok(&["ps", "--format", "json", "a"]);
    engine.ok(&["pause", "a"]);
    engine.ok(&["resume", "a"]);
    engine.ok(&["events", "--stats", "a"]);
    engine.ok(&["update", "--resources", &resources, "a"]);
    engine.ok(&["state", "a"]);
    engine.ok(&["kill", "--all", "a", "9"]);
    engine.ok(&["delete", "--force", "a"]);
    // conmon and Podman.
    let conmon = ["--rootless=auto", "--debug", "--log-format=json", &format!("--log={log}")];
    let flags: Vec<String> = conmon.iter().map(|flag| (*flag).to_owned()).collect();
    let engine = Engine { place: &place, flags };
    engine.detached(&[
        "create",
        "--bundle",
        bundle.path(),
        "--pid-file",
        &pid,
        "--no-pivot",
        "--no-new-keyring",
        "--preserve-fds",
        "0",
        "b",
    ]);
    engine.ok(&["start", "b"]);
    engine.ok(&["exec", "--pid-file", &pid, "--process", &process, "--preserve-fds", "0", "b"]);
    engine.ok(&["kill", "b", "15"]);
    engine.ok(&["delete", "--force", "b"]);
    place.ok(&["--version"]);
    let run = ["run", "--detach", "--keep", "--no-subreaper", "--bundle", bundle.path(), "c"];
    engine.detached(&run);
    place.ok(&["delete", "--force", "c"]);
}

/// Engines look at the last line of level error, also for what they did wrong.
#[test]
fn wrong_flags_are_in_the_log() {
    if cannot() {
        return;
    }
    let place = Place::make();
    for args in [&["create", "--nosuch", "x"][..], &["state"], &["nosuch"], &["exec", "nope", "true"]] {
        let log = place.path().join("log");
        let mut command = Command::new(crate::runtime());
        command.arg("--log").arg(&log).args(["--log-format", "json", "--root"]).arg(place.path()).args(args);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        let text = std::fs::read_to_string(&log).unwrap();
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["level"], "error", "{args:?}: {text}");
        assert!(last["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{args:?}: {text}");
        assert!(!output.stderr.is_empty());
        std::fs::remove_file(log).unwrap();
    }
}

#[test]
fn paused_before_the_start() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sleep", "1000"]);
    place.create(&bundle, "x");
    place.ok(&["pause", "x"]);
    assert_eq!(place.state("x")["status"], "paused");
    let (status, text) = place.fails(&["start", "x"]);
    assert!(status == 1 && text.contains("cannot start a container in the paused state"), "{text}");
    place.ok(&["resume", "x"]);
    assert_eq!(place.state("x")["status"], "created");
    place.ok(&["start", "x"]);
    assert_eq!(place.state("x")["status"], "running");
}
