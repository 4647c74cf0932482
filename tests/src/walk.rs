//! The walk over all system calls with hostile arguments, compared between host and sandbox: which error wins is visible
//! to programs.
//!
//! The program with the cases makes the calls and prints a line each, `NUMBER LIST OUTCOME`; the same on the host every
//! time. Where the sandbox says ENOSYS to every list of a call it does not have that call, which is no difference but a
//! matter of the compat matrix.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::batch::wait_or_kill;
use crate::parallel;
use crate::place::Place;

/// Numbers that go to one process. (335 and 336 answer with signals, and differently from kernel to kernel.)
const PARTS: [(u32, u32); 6] = [(0, 79), (80, 159), (160, 239), (240, 334), (337, 424), (425, 469)];

/// Parts at a time.
const WORKERS: usize = 2;

/// A part takes a few seconds, on a busy machine many times that.
const LIMIT: Duration = Duration::from_secs(240);

/// The lists that begin with 1 and 2, which may be processes.
const LISTS_WITH_PIDS: [usize; 2] = [20, 21];

/// Calls whose answers may differ, with the reason.
const ACCEPTED: &str = include_str!("walk_accepted.txt");

/// The version that the sandbox says to be. Which error wins changes from version to version.
const IMITATED: &str = "6.18.";

/// Whether the host is of the version that the sandbox imitates, so that every difference is the sandbox's fault.
pub fn host_is_imitated() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|release| release.starts_with(IMITATED))
}

/// What became of each call: by number and list.
pub type Record = BTreeMap<(u32, usize), String>;

/// A call that answers otherwise in the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its number.
    pub number: u32,
    /// Argument list, native outcome, outcome in the sandbox.
    pub lists: Vec<(usize, String, String)>,
    /// Why it may differ.
    pub accepted: Option<String>,
}

/// Makes all the calls at a place.
pub fn record(place: &Place, program: &Path) -> Result<Record> {
    let parts =
        parallel::map(WORKERS, PARTS.iter(), |(first, last)| record_part(place, program, *first, *last));
    parts.into_iter().try_fold(Record::new(), |mut record, part| {
        record.extend(part?);
        Ok(record)
    })
}

fn record_part(place: &Place, program: &Path, first: u32, last: u32) -> Result<Record> {
    let mut command = place.command(program);
    command.args(["run-walk", &first.to_string(), &last.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("can't start {command:?}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let out = std::thread::spawn(move || drain(stdout));
    let err = std::thread::spawn(move || drain(stderr));
    let status = wait_or_kill(&mut child, LIMIT)?;
    let Some(status) = status else {
        bail!(
            "{place}: the walk over the calls {first} to {last} did not end within {} seconds",
            LIMIT.as_secs()
        );
    };
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    if !status.success() {
        bail!("{place}: the walk over the calls {first} to {last} ended with {status}: {}", err.trim());
    }
    parse(&out)
}

fn drain(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse(text: &str) -> Result<Record> {
    let line = |line: &str| -> Option<((u32, usize), String)> {
        let mut words = line.split(' ');
        let (number, list) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(((number, list), words.next()?.to_string()))
    };
    text.lines().map(|l| line(l).with_context(|| format!("not a line of a walk: {l:?}"))).collect()
}

/// Names by number, and the calls that may differ.
#[derive(Debug)]
pub struct Knowledge {
    names: BTreeMap<u32, String>,
    accepted: BTreeMap<String, String>,
}

impl Knowledge {
    /// From the program's list of calls and the list of accepted differences.
    pub fn load(program: &Path) -> Result<Knowledge> {
        let output =
            std::process::Command::new(program).arg("calls").output().context("can't list the calls")?;
        let text = String::from_utf8(output.stdout).context("the list of calls is not UTF-8")?;
        let pair =
            |l: &str| l.split_once(' ').and_then(|(n, name)| Some((n.parse().ok()?, name.to_string())));
        Ok(Knowledge { names: text.lines().filter_map(pair).collect(), accepted: accepted(ACCEPTED)? })
    }

    /// A call's name.
    pub fn name(&self, number: u32) -> &str {
        self.names.get(&number).map_or("?", String::as_str)
    }

    /// What differs.
    pub fn compare(&self, native: &Record, sandbox: &Record) -> Vec<Difference> {
        let mut by_call: BTreeMap<u32, Vec<(usize, String, String)>> = BTreeMap::new();
        for ((number, list), there) in native {
            let missing = "nothing".to_string();
            let here = sandbox.get(&(*number, *list)).unwrap_or(&missing);
            // The processes with low numbers are others': there may be none, and an ordinary user's sandbox has its own.
            let others = |o: &&String| *o == "ESRCH" || (*o == "EPERM" && !nix::unistd::geteuid().is_root());
            let other_pids = LISTS_WITH_PIDS.contains(list) && [there, here].iter().any(others);
            if there != here && !other_pids {
                by_call.entry(*number).or_default().push((*list, there.clone(), here.clone()));
            }
        }
        by_call.retain(|number, _| {
            sandbox.range((*number, 0)..(*number + 1, 0)).any(|(_, o)| o != "ENOSYS" && o != "left-out")
        });
        by_call
            .into_iter()
            .map(|(number, lists)| Difference {
                number,
                lists,
                accepted: self.accepted.get(self.name(number)).cloned(),
            })
            .collect()
    }

    /// A line for people.
    pub fn describe(&self, difference: &Difference) -> String {
        let lists: Vec<String> = difference
            .lists
            .iter()
            .map(|(list, native, here)| format!("{list}: {native}, not {here}"))
            .collect();
        format!("{} ({}): {}", self.name(difference.number), difference.number, lists.join("; "))
    }
}

/// Lines `NAME: REASON`.
fn accepted(text: &str) -> Result<BTreeMap<String, String>> {
    let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    let pair = |l: &str| l.split_once(": ").map(|(name, why)| (name.to_string(), why.to_string()));
    lines.map(|l| pair(l).with_context(|| format!("not a line of accepted differences: {l:?}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowledge() -> Knowledge {
        let names =
            BTreeMap::from([(0, "read".to_string()), (62, "kill".to_string()), (317, "seccomp".to_string())]);
        Knowledge { names, accepted: accepted("# why\nseccomp: no filters yet\n").unwrap() }
    }

    #[test]
    fn what_counts_as_a_difference() {
        let native =
            parse("0 0 EFAULT\n0 1 EBADF\n62 20 EPERM\n62 0 ok\n317 0 EINVAL\n9 0 ENOMEM\n9 1 ok\n").unwrap();
        let sandbox =
            parse("0 0 EBADF\n0 1 EBADF\n62 20 ESRCH\n62 0 ok\n317 0 ok\n9 0 ENOSYS\n9 1 ENOSYS\n").unwrap();
        let found = knowledge().compare(&native, &sandbox);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(knowledge().describe(&found[0]), "read (0): 0: EFAULT, not EBADF");
        assert_eq!(found[1].accepted.as_deref(), Some("no filters yet"));
    }

    #[test]
    fn the_list_of_accepted_differences_is_sound() {
        accepted(ACCEPTED).unwrap();
        assert!(accepted("no reason").is_err());
    }
}
