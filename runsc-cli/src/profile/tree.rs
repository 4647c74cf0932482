//! A profile as parts of parts.

use super::{Profile, Program};

/// Some time, and what it consists of. What the children don't cover is its own.
pub struct Node {
    /// What it is.
    pub name: String,
    /// How long.
    pub ns: u64,
    /// More to say.
    pub note: String,
    /// Parts.
    pub children: Vec<Node>,
}

fn leaf(name: &str, ns: u64, note: String) -> Node {
    Node { name: name.to_owned(), ns, note, children: Vec::new() }
}

fn with(name: &str, note: String, mut children: Vec<Node>) -> Node {
    children.retain(|child| child.ns > 0);
    children.sort_by_key(|child| std::cmp::Reverse(child.ns));
    Node { name: name.to_owned(), ns: children.iter().map(|child| child.ns).sum(), note, children }
}

/// All threads' time: by name, then by kind, then by call.
pub fn of(profile: &Profile) -> Node {
    let programs = profile.programs.iter().map(|p| program(p, profile.hand_over_ns)).collect();
    with("all threads", String::new(), programs)
}

fn program(program: &Program, hand_over_ns: u64) -> Node {
    let calls = program.calls.iter().map(|call| {
        let gofer = leaf("gofer", call.gofer_ns, format!("{} requests", call.gofer_requests));
        Node {
            name: call.name.clone(),
            ns: call.busy_ns,
            note: format!("{} times", call.count),
            children: if call.gofer_ns > 0 { vec![gofer] } else { Vec::new() },
        }
    });
    let waits = program.calls.iter().map(|call| leaf(&call.name, call.waited_ns, String::new()));
    let parts = vec![
        leaf("guest code", program.guest_ns(hand_over_ns), String::new()),
        leaf("hand-over", program.hand_over_ns(hand_over_ns), format!("{} times", program.stay_count)),
        leaf("run loop", program.loop_ns, String::new()),
        leaf("faults", program.faults_ns, format!("{} times", program.faults)),
        with("calls", String::new(), calls.collect()),
        with("waiting", String::new(), waits.collect()),
    ];
    with(&program.name, String::new(), parts)
}
