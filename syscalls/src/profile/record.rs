//! What one thread has done, by the name it had.

use std::collections::BTreeMap;

use super::Histogram;

/// The threads of one name.
#[derive(Clone, Default)]
pub struct Program {
    /// The name (PR_SET_NAME; that of the program's file at first).
    pub name: Vec<u8>,
    /// Stays in the platform: to guest code, there, and back.
    pub stays: Histogram,
    /// How many.
    pub stay_count: u64,
    /// Their sum.
    pub stays_ns: u64,
    /// Faults that the kernel has looked at.
    pub faults: u64,
    /// What they took.
    pub faults_ns: u64,
    /// The run loop between platform and calls: signals, stops, work.
    pub loop_ns: u64,
    /// Calls, by number.
    pub calls: BTreeMap<u32, Call>,
}

/// All calls of one number.
#[derive(Clone, Default)]
pub struct Call {
    /// How many.
    pub count: u64,
    /// How many of them have failed or were interrupted.
    pub errors: u64,
    /// What they took, waiting left out.
    pub busy_ns: u64,
    /// The longest, waiting left out.
    pub longest_ns: u64,
    /// How long they have waited.
    pub waited_ns: u64,
    /// The part of `busy_ns` that the Gofer was asked in.
    pub gofer_ns: u64,
    /// Requests to it.
    pub gofer_requests: u64,
    /// Durations, waiting left out.
    pub durations: Histogram,
}

impl Call {
    pub(super) fn add_one(&mut self, busy_ns: u64, waited_ns: u64, failed: bool) {
        self.count += 1;
        self.errors += u64::from(failed);
        self.busy_ns += busy_ns;
        self.longest_ns = self.longest_ns.max(busy_ns);
        self.waited_ns += waited_ns;
        self.durations.add_one(busy_ns);
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Call) {
        self.count += other.count;
        self.errors += other.errors;
        self.busy_ns += other.busy_ns;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        self.waited_ns += other.waited_ns;
        self.gofer_ns += other.gofer_ns;
        self.gofer_requests += other.gofer_requests;
        self.durations.add(&other.durations);
    }
}

/// Names that are told apart. Guests can think up any number of them.
const MOST_NAMES: usize = 200;
/// Stands for the others.
const OTHERS: &[u8] = b"(others)";

/// The place for a name in a list.
pub(super) fn place(programs: &mut Vec<Program>, name: &[u8]) -> usize {
    let find = |programs: &[Program], name: &[u8]| programs.iter().position(|p| p.name == name);
    if let Some(there) = find(programs, name) {
        return there;
    }
    let name = if programs.len() < MOST_NAMES { name } else { OTHERS };
    find(programs, name).unwrap_or_else(|| {
        programs.push(Program { name: name.to_vec(), ..Program::default() });
        programs.len() - 1
    })
}

/// Adds a list to another, by name.
pub(super) fn merge(sum: &mut Vec<Program>, programs: &[Program]) {
    for program in programs {
        let at = place(sum, &program.name);
        sum[at].add(program);
    }
}

impl Program {
    /// Adds another's.
    pub fn add(&mut self, other: &Program) {
        self.stays.add(&other.stays);
        self.stay_count += other.stay_count;
        self.stays_ns += other.stays_ns;
        self.faults += other.faults;
        self.faults_ns += other.faults_ns;
        self.loop_ns += other.loop_ns;
        for (number, call) in &other.calls {
            self.calls.entry(*number).or_default().add(call);
        }
    }
}

/// What happened between two calls of a thread.
#[derive(Default)]
pub(super) struct Between {
    pub stay_ns: u64,
    pub faults_ns: u64,
    pub faults: u64,
    pub loop_ns: u64,
}

/// One thread's.
pub(super) struct Record {
    programs: Vec<Program>,
    /// Which of them it is now.
    now: usize,
}

impl Record {
    pub fn new(name: Vec<u8>) -> Record {
        Record { programs: vec![Program { name, ..Program::default() }], now: 0 }
    }

    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Stays, faults, and how many of these, over all names.
    pub fn sums(&self) -> (u64, u64, u64) {
        let sum = |of: fn(&Program) -> u64| self.programs.iter().map(of).sum();
        (sum(|p| p.stays_ns), sum(|p| p.faults_ns), sum(|p| p.faults))
    }

    pub fn rename(&mut self, name: Vec<u8>) {
        self.now = place(&mut self.programs, &name);
    }

    pub fn between(&mut self, between: Between) {
        let program = &mut self.programs[self.now];
        // With faults in between there were several stays: their sum says nothing about one.
        if between.faults == 0 {
            program.stays.add_one(between.stay_ns);
        }
        program.stay_count += 1 + between.faults;
        program.stays_ns += between.stay_ns;
        program.faults += between.faults;
        program.faults_ns += between.faults_ns;
        program.loop_ns += between.loop_ns;
    }

    pub fn call(&mut self, number: u32) -> &mut Call {
        self.programs[self.now].calls.entry(number).or_default()
    }
}
