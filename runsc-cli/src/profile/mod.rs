//! Where the time goes. For `runsc do --profile` the Sentry measures and writes numbers into a memory file ([`store`]); the
//! command line makes a table and a picture of them when the sandbox is gone ([`Profile::load`]). For `runsc debug --profile` they
//! come as an answer of the sandbox.

mod flame;
mod table;
mod tree;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use syscalls::profile::{self, Histogram, Snapshot};

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// How long has been measured.
    wall_ns: u64,
    /// The way to guest code and back, with next to no guest code in between.
    hand_over_ns: u64,
    /// By name.
    programs: Vec<Program>,
}

/// Threads of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Program {
    name: String,
    stay_count: u64,
    stays_ns: u64,
    faults: u64,
    faults_ns: u64,
    loop_ns: u64,
    calls: Vec<Call>,
}

/// Calls of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Call {
    name: String,
    count: u64,
    errors: u64,
    busy_ns: u64,
    waited_ns: u64,
    longest_ns: u64,
    gofer_ns: u64,
    gofer_requests: u64,
    /// The 50th, 90th and 99th percentile.
    percentiles_ns: [u64; 3],
    /// Durations below two to the power of the first.
    doublings: Vec<(u32, u64)>,
}

impl Program {
    /// Guest code itself, as far as that can be told: stays without their hand-over.
    fn guest_ns(&self, hand_over_ns: u64) -> u64 {
        self.stays_ns.saturating_sub(self.hand_over_ns(hand_over_ns))
    }

    fn hand_over_ns(&self, hand_over_ns: u64) -> u64 {
        (self.stay_count * hand_over_ns).min(self.stays_ns)
    }

    fn busy_ns(&self) -> u64 {
        self.calls.iter().map(|call| call.busy_ns).sum()
    }

    fn waited_ns(&self) -> u64 {
        self.calls.iter().map(|call| call.waited_ns).sum()
    }

    fn all_ns(&self) -> u64 {
        self.stays_ns + self.faults_ns + self.loop_ns + self.busy_ns() + self.waited_ns()
    }
}

/// Writes what was measured so far.
pub fn store(snapshot: &Snapshot, to: OwnedFd) -> io::Result<()> {
    File::from(to).write_all(&serde_json::to_vec(&Profile::of(snapshot))?)
}

fn program(program: &profile::Program) -> Program {
    let name = |number: &u32| {
        let row = syscalls::dispatch::row(u64::from(*number));
        row.map_or_else(|| format!("syscall_{number}"), |row| row.name.to_owned())
    };
    let call = |(number, call): (&u32, &profile::Call)| Call {
        name: name(number),
        count: call.count,
        errors: call.errors,
        busy_ns: call.busy_ns,
        waited_ns: call.waited_ns,
        longest_ns: call.longest_ns,
        gofer_ns: call.gofer_ns.min(call.busy_ns),
        gofer_requests: call.gofer_requests,
        percentiles_ns: [50, 90, 99].map(|percent| call.durations.percentile_ns(percent)),
        doublings: call.durations.doublings(),
    };
    Program {
        name: String::from_utf8_lossy(&program.name).into_owned(),
        stay_count: program.stay_count,
        stays_ns: program.stays_ns,
        faults: program.faults,
        faults_ns: program.faults_ns,
        loop_ns: program.loop_ns,
        calls: program.calls.iter().map(call).collect(),
    }
}

impl Profile {
    /// Of what was measured.
    pub fn of(snapshot: &Snapshot) -> Profile {
        let mut stays = Histogram::default();
        snapshot.programs.iter().for_each(|program| stays.add(&program.stays));
        Profile {
            wall_ns: snapshot.wall_ns,
            // Most programs make calls with nothing in between now and then.
            hand_over_ns: stays.percentile_ns(5),
            programs: snapshot.programs.iter().map(program).collect(),
        }
    }

    /// Reads what [`store`] wrote; none when the Sentry did not come to it.
    pub fn load(from: OwnedFd) -> io::Result<Option<Profile>> {
        let (mut file, mut text) = (File::from(from), Vec::new());
        file.rewind()?;
        file.read_to_end(&mut text)?;
        if text.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(&text)?)) }
    }

    /// As text.
    pub fn table(&self) -> String {
        table::table(self)
    }

    /// As a flame graph (SVG).
    pub fn flame_graph(&self) -> String {
        flame::svg(&tree::of(self))
    }
}

/// The files that a profile is to be written to, and the memory file that the Sentry writes its numbers to.
pub struct Report {
    /// For the Sentry.
    pub numbers: OwnedFd,
    table: (PathBuf, File),
    flame_graph: (PathBuf, File),
}

impl Report {
    /// Makes OUT.txt and OUT.svg.
    pub fn create(out: &Path) -> anyhow::Result<Report> {
        let create = |extension: &str| {
            let mut path = out.as_os_str().to_owned();
            path.push(extension);
            let file = File::create(&path)
                .with_context(|| format!("--profile {}; choose another place", path.display()))?;
            Ok::<_, anyhow::Error>((PathBuf::from(path), file))
        };
        let numbers =
            rustix::fs::memfd_create("profile", rustix::fs::MemfdFlags::CLOEXEC).context("profile")?;
        Ok(Report { numbers, table: create(".txt")?, flame_graph: create(".svg")? })
    }

    /// Fills both files with what the Sentry has found.
    pub fn write(self) -> anyhow::Result<()> {
        let numbers = self.numbers.try_clone().context("profile")?;
        let Some(profile) = Profile::load(numbers).context("profile")? else {
            bail!("the sandbox ended without a profile; see whether the program was started");
        };
        self.write_this(&profile)
    }

    /// Fills both files.
    pub fn write_this(self, profile: &Profile) -> anyhow::Result<()> {
        let reports = [(self.table, profile.table()), (self.flame_graph, profile.flame_graph())];
        for ((path, mut file), text) in reports {
            file.write_all(text.as_bytes()).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// For reports.
fn ms(ns: u64) -> String {
    format!("{:.3}", ns as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        let call = |name: &str, waited_ns| Call {
            name: name.to_owned(),
            count: 10,
            busy_ns: 40_000,
            waited_ns,
            gofer_ns: 30_000,
            gofer_requests: 10,
            doublings: vec![(12, 10)],
            ..Call::default()
        };
        let program = Program {
            name: "a<b".to_owned(),
            stay_count: 20,
            stays_ns: 1_000_000,
            calls: vec![call("openat", 0), call("wait4", 5_000_000)],
            ..Program::default()
        };
        Profile { wall_ns: 7_000_000, hand_over_ns: 2_000, programs: vec![program] }
    }

    #[test]
    fn all_time_is_somewhere() {
        let tree = tree::of(&profile());
        assert_eq!(tree.ns, 6_080_000);
        let parts: u64 = tree.children[0].children.iter().map(|part| part.ns).sum();
        assert_eq!(parts, tree.ns);
    }

    #[test]
    fn reports_name_what_was_called() {
        let text = profile().table();
        for word in ["a<b", "openat", "wait4", "hand-over", "  4.1 us"] {
            assert!(text.contains(word), "no {word} in {text}");
        }
        let picture = profile().flame_graph();
        assert!(picture.contains("a&lt;b") && !picture.contains("a<b"));
        assert!(picture.contains("gofer"));
    }
}
