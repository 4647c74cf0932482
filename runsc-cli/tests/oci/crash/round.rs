//! One round: something is set up, one process is killed, and what is left is looked at.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Random;
use super::left;
use super::site::{Kind, SETTLED, Site};
use super::steps::{self, Role, Traced};

/// Whether anything was killed, or it had ended before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    Yes,
    No,
}

/// What a container is doing before a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Absent,
    Created,
    Running,
    Paused,
    Stopped,
}

/// A command that is killed.
#[derive(Debug)]
struct Verb {
    name: &'static str,
    /// `ID`, `BUNDLE`, `SHORT`, `INIT`, `EXEC` and `PROFILE` stand for what the round has there.
    args: &'static [&'static str],
    before: Before,
    /// What may be afterwards. What comes later in the list may follow on what comes before, as the command's end, but not
    /// the other way round.
    after: &'static [&'static str],
}

const VERBS: [Verb; 19] = [
    Verb {
        name: "create",
        args: &["create", "--bundle", "BUNDLE", "--pid-file", "INIT", "ID"],
        before: Before::Absent,
        after: &["absent", "created", "stopped"],
    },
    Verb { name: "start", args: &["start", "ID"], before: Before::Created, after: &["created", "running"] },
    Verb {
        name: "run",
        args: &["run", "--bundle", "SHORT", "ID"],
        before: Before::Absent,
        after: &["created", "running", "stopped", "absent"],
    },
    Verb {
        name: "run --keep",
        args: &["run", "--keep", "--bundle", "SHORT", "ID"],
        before: Before::Absent,
        after: &["absent", "created", "running", "stopped"],
    },
    Verb {
        name: "run --detach",
        args: &["run", "--detach", "--bundle", "BUNDLE", "--pid-file", "INIT", "ID"],
        before: Before::Absent,
        after: &["absent", "created", "running", "stopped"],
    },
    Verb { name: "exec", args: &["exec", "ID", "true"], before: Before::Running, after: &["running"] },
    Verb {
        name: "exec --detach",
        args: &["exec", "--detach", "--pid-file", "EXEC", "ID", "sleep", "1000"],
        before: Before::Running,
        after: &["running"],
    },
    Verb {
        name: "kill",
        args: &["kill", "ID", "KILL"],
        before: Before::Running,
        after: &["running", "stopped"],
    },
    Verb { name: "delete", args: &["delete", "ID"], before: Before::Stopped, after: &["stopped", "absent"] },
    Verb {
        name: "delete --force",
        args: &["delete", "--force", "ID"],
        before: Before::Running,
        after: &["running", "stopped", "absent"],
    },
    Verb { name: "pause", args: &["pause", "ID"], before: Before::Running, after: &["running", "paused"] },
    Verb { name: "resume", args: &["resume", "ID"], before: Before::Paused, after: &["paused", "running"] },
    Verb {
        name: "update",
        args: &["update", "--pids-limit", "99", "ID"],
        before: Before::Running,
        after: &["running"],
    },
    Verb { name: "state", args: &["state", "ID"], before: Before::Running, after: &["running"] },
    Verb { name: "list", args: &["list"], before: Before::Running, after: &["running"] },
    Verb { name: "ps", args: &["ps", "ID"], before: Before::Running, after: &["running"] },
    Verb { name: "events", args: &["events", "--stats", "ID"], before: Before::Running, after: &["running"] },
    Verb { name: "debug", args: &["debug", "ID"], before: Before::Running, after: &["running"] },
    Verb {
        name: "debug --profile",
        args: &["debug", "--profile", "PROFILE", "--duration", "60ms", "ID"],
        before: Before::Running,
        after: &["running"],
    },
];

/// A process that stands for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Monitor,
    Sentry,
    Gofer,
    /// What tells an ordinary user's Gofer whose files are.
    Owners,
    Guest,
    ExecMonitor,
}

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// A command.
    Command(&'static Verb),
    /// A process that the command starts, while it starts it.
    Begun(&'static Verb, Role),
    /// A process of a container that runs.
    Standing(Standing),
}

/// The victims of successive rounds: what has the most to lose comes more often.
fn victim(round: u64) -> Victim {
    let mut all: Vec<Victim> = VERBS.iter().map(Victim::Command).collect();
    let verb = |name: &str| VERBS.iter().find(|verb| verb.name == name).unwrap();
    for role in [Role::Command, Role::Monitor, Role::First, Role::Second] {
        all.push(Victim::Begun(verb("create"), role));
        all.push(Victim::Begun(verb("run --detach"), role));
    }
    all.extend([Role::Command, Role::Monitor].map(|role| Victim::Begun(verb("exec --detach"), role)));
    all.extend(["start", "delete --force"].map(|name| Victim::Begun(verb(name), Role::Command)));
    all.extend(
        [Standing::Monitor, Standing::Sentry, Standing::Gofer, Standing::Guest, Standing::ExecMonitor]
            .map(Victim::Standing),
    );
    if !rustix::process::geteuid().is_root() {
        all.push(Victim::Standing(Standing::Owners));
    }
    all[(round % all.len() as u64) as usize]
}

/// How long commands take here, and how many calls their processes make.
#[derive(Debug)]
pub struct Costs {
    time: HashMap<(&'static str, bool), Duration>,
    calls: HashMap<(&'static str, Role, bool), u64>,
}

impl Costs {
    /// Runs everything once to its end.
    pub fn measure(site: Site) -> Costs {
        let mut site = site;
        let mut costs = Costs { time: HashMap::new(), calls: HashMap::new() };
        for member in [false, true] {
            site.prepare(Kind { member, cgroup: true });
            if member {
                site.make_pod();
            }
            for verb in &VERBS {
                verb.before.set_up(&site);
                let begun = Instant::now();
                site.ok(&strs(&verb.fill(&site)));
                costs.time.insert((verb.name, member), begun.elapsed());
                site.delete_wholly();
                for role in [Role::Command, Role::Monitor, Role::First, Role::Second] {
                    verb.before.set_up(&site);
                    match steps::run(&site.command(&strs(&verb.fill(&site))), role, u64::MAX) {
                        Traced::Ended { well: true, calls } => {
                            costs.calls.insert((verb.name, role, member), calls);
                        }
                        other => panic!("{} traced: {other:?}", verb.name),
                    }
                    site.delete_wholly();
                    // Only some start anything.
                    if !matches!(verb.name, "create" | "run --detach" | "exec --detach") {
                        break;
                    }
                }
            }
        }
        site.close();
        costs
    }

    fn calls(&self, verb: &Verb, role: Role, member: bool) -> u64 {
        self.calls.get(&(verb.name, role, member)).copied().unwrap_or(0)
    }
}

impl Verb {
    fn fill(&self, site: &Site) -> Vec<String> {
        let fill = |arg: &&str| match *arg {
            "ID" => site.id.clone(),
            "BUNDLE" => site.bundle().to_owned(),
            "SHORT" => site.short_bundle().to_owned(),
            "INIT" => site.pid_file("init"),
            "EXEC" => site.pid_file("exec"),
            "PROFILE" => site.place.path().join("profile").to_str().unwrap().to_owned(),
            other => other.to_owned(),
        };
        self.args.iter().map(fill).collect()
    }
}

fn strs(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

impl Before {
    fn set_up(self, site: &Site) {
        if self == Before::Absent {
            return;
        }
        site.create();
        if self == Before::Created {
            return;
        }
        site.ok(&["start", &site.id]);
        match self {
            Before::Paused => drop(site.ok(&["pause", &site.id])),
            Before::Stopped => {
                site.ok(&["kill", &site.id, "KILL"]);
                eventually(|| site.status() == "stopped", || format!("{} after its kill", site.status()));
            }
            _ => {}
        }
    }
}

fn eventually(mut is_so: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let deadline = Instant::now() + SETTLED;
    while !is_so() {
        assert!(Instant::now() < deadline, "{}", otherwise());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn kill(pid: i32) {
    // An error: it has gone by itself.
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

/// What it was, and whether it was killed.
pub fn run(site: &mut Site, round: u64, random: &mut Random, costs: &Costs) -> (String, Killed) {
    let victim = victim(round);
    let kind = Kind { member: random.below(4) == 0, cgroup: random.below(2) == 0 };
    site.prepare(kind);
    if kind.member {
        site.make_pod();
    }
    let (what, after, killed) = match victim {
        Victim::Command(verb) => {
            let typical = costs.time[&(verb.name, kind.member)].as_micros() as u64;
            let moment = Duration::from_micros(random.below(typical));
            (format!("{}, by time", verb.name), verb.after, kill_command(site, verb, moment))
        }
        Victim::Begun(verb, role) => {
            let step = random.below(costs.calls(verb, role, kind.member));
            verb.before.set_up(site);
            let killed = match steps::run(&site.command(&strs(&verb.fill(site))), role, step) {
                Traced::Killed(mut child) => {
                    child.wait().unwrap();
                    Killed::Yes
                }
                Traced::Ended { .. } => Killed::No,
            };
            let after = if role == Role::Command || verb.name == "exec --detach" {
                verb.after
            } else {
                &["absent", "created", "running", "stopped"]
            };
            (format!("{}, {role:?} by steps", verb.name), after, killed)
        }
        Victim::Standing(who) => {
            let after: &[&str] = match who {
                Standing::ExecMonitor => &["running"],
                _ => &["running", "stopped"],
            };
            (format!("running, {who:?}"), after, kill_standing(site, who, kind, random))
        }
    };
    println!("crash: round {round}: {what}, {kind:?}, {killed:?}");
    if matches!(victim, Victim::Standing(Standing::Monitor | Standing::Sentry | Standing::Gofer)) {
        // The others follow.
        eventually(|| site.status() == "stopped", || format!("{} without it", site.status()));
    }
    check(site, after);
    site.delete_wholly();
    if kind.member {
        site.make_pod();
    }
    // The same can be made anew.
    site.create();
    assert_eq!(site.status(), "created");
    site.delete_wholly();
    (what, killed)
}

fn kill_command(site: &Site, verb: &Verb, moment: Duration) -> Killed {
    verb.before.set_up(site);
    let mut command = site.command(&strs(&verb.fill(site)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(moment);
    child.kill().unwrap();
    match child.wait().unwrap().code() {
        None => Killed::Yes,
        Some(0) => Killed::No,
        Some(status) => panic!("{} fails with status {status}", verb.name),
    }
}

/// Kills a process of a container that runs, while other commands are about.
fn kill_standing(site: &Site, who: Standing, kind: Kind, random: &mut Random) -> Killed {
    Before::Running.set_up(site);
    let named = site.named(&site.id);
    let sentry = if kind.member { site.named(&site.pod)[1] } else { named[1] };
    let victim = match who {
        Standing::Monitor => named[0],
        Standing::Sentry => sentry,
        Standing::Gofer => named[if kind.member { 1 } else { 2 }],
        Standing::Owners => match named.get(if kind.member { 2 } else { 3 }) {
            Some(owners) => *owners,
            // Root's Gofer sees for itself whose files are.
            None => return Killed::No,
        },
        Standing::Guest => {
            // Of a pod, that may be the other container's.
            let guests = site.guests(sentry);
            random.one_of(&guests)
        }
        Standing::ExecMonitor => {
            let file = site.pid_file("exec");
            site.ok(&["exec", "--detach", "--pid-file", &file, &site.id, "sleep", "1000"]);
            std::fs::read_to_string(file).unwrap().parse().unwrap()
        }
    };
    let moment = Duration::from_micros(random.below(30_000));
    let about = random.one_of(&[
        ["state", "ID"].as_slice(),
        &["list"],
        &["exec", "ID", "true"],
        &["ps", "ID"],
        &["events", "--stats", "ID"],
        &["update", "--pids-limit", "99", "ID"],
        &["debug", "ID"],
    ]);
    let about: Vec<&str> = about.iter().map(|arg| if *arg == "ID" { &site.id } else { *arg }).collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // It may fail, and not hang.
                site.run(&about);
            }
        });
        std::thread::sleep(moment);
        kill(victim);
        eventually(
            || !left::processes(&site.program).contains(&victim),
            || format!("it lives: {}", left::describe(&[victim])),
        );
        over.store(true, Ordering::Relaxed);
    });
    if who == Standing::ExecMonitor {
        let sleeps = || site.ok(&["ps", &site.id]).matches("sleep").count();
        eventually(|| sleeps() == 1, || format!("{} processes without the monitor of one", sleeps()));
    }
    Killed::Yes
}

/// Whether all commands agree with what there is.
fn check(site: &Site, after: &[&str]) {
    let id = site.id.as_str();
    let rank = |status: &str| {
        let rank = after.iter().position(|known| *known == status);
        rank.unwrap_or_else(|| panic!("{status} is none of {after:?}"))
    };
    // Its maker was killed, and its monitor has not been given a processor yet to see that.
    eventually(|| site.status() != "creating", || "is still being created".to_owned());
    let status = site.status();
    let first = rank(&status);
    // What the command was killed over may still be under way, in the Sentry for example: then it comes to its end, and nothing
    // goes backwards.
    let later = |what: &str| {
        let moved_on = || rank(&site.status()) > first;
        eventually(moved_on, || format!("{status}, but {what}, and still {}", site.status()));
    };
    match status.as_str() {
        "running" => {
            let mut output = site.run(&["exec", id, "true"]);
            if output.status.code() == Some(137) {
                // It was its own host process that was killed, ahead of time.
                output = site.run(&["exec", id, "true"]);
            }
            if !output.status.success() {
                later(&crate::describe(&output));
            }
        }
        "created" => {
            let output = site.run(&["start", id]);
            if !output.status.success() {
                later(&crate::describe(&output));
            }
        }
        "paused" => {
            let output = site.run(&["resume", id]);
            if !output.status.success() {
                later(&crate::describe(&output));
            }
        }
        "stopped" => {
            assert!(!site.run(&["start", id]).status.success());
            assert!(!site.run(&["exec", id, "true"]).status.success());
            assert_eq!(site.status(), "stopped");
        }
        "absent" => assert!(!site.run(&["delete", id]).status.success()),
        other => panic!("{other}"),
    }
    let state = site.state(id);
    let list = site.ok(&["list", "--quiet"]);
    let listed = list.lines().any(|line| line == id);
    if let Some(state) = &state {
        assert!(listed, "not listed: {state}");
        let pid = state["pid"].as_i64().unwrap() as i32;
        assert_eq!(pid == 0, state["status"] == "stopped", "{state}");
    } else {
        assert!(!listed);
    }
}
