//! Where the time of guest threads goes: guest code and the way to it and back, the run loop, faults, and each call.
//!
//! [`Profiler`] is the table with a watch on it. It is handed to the kernel in place of the plain [`Dispatcher`] when
//! somebody wants a profile, so that it costs nothing otherwise. Each thread writes to a record of its own.
//!
//! Lock level: `Leaf`, the list of records as well as each record; never one inside of the other.

mod histogram;
mod record;

use std::sync::Arc;
use std::time::Instant;

use abi::signal::{SigInfo, Signal};
use sentry::profile::{gofer_time, measure_gofer};
use sentry::task::CurrentTask;
use sentry::{SysResult, SyscallTable};
use sync::Mutex;
use sync::levels::Leaf;

pub use histogram::Histogram;
pub use record::{Call, Program};

use crate::dispatch::Dispatcher;
use record::{Between, Record};

/// The records of all threads, ended ones among them.
static RECORDS: Mutex<Vec<Arc<Mutex<Record, Leaf>>>, Leaf> = Mutex::new(Vec::new());

/// What a thread remembers from one call to the next.
struct Mine {
    /// Which guest thread's calls they are: host threads run one after the other.
    task: u64,
    record: Arc<Mutex<Record, Leaf>>,
    /// Sums at the end of the last call.
    last: Option<Sums>,
}

/// Sums that the kernel keeps for a thread.
#[derive(Clone, Copy)]
struct Sums {
    at: Instant,
    stays_ns: u64,
    faults_ns: u64,
    faults: u64,
}

impl Sums {
    fn of(task: &CurrentTask) -> Sums {
        let times = task.times();
        Sums {
            at: Instant::now(),
            stays_ns: times.stays_ns,
            faults_ns: times.faults_ns,
            faults: times.faults,
        }
    }
}

impl Mine {
    fn new(task: &CurrentTask) -> Mine {
        let record = Arc::new(Mutex::new(Record::new(task.comm())));
        RECORDS.lock().push(Arc::clone(&record));
        Mine { task: task.id, record, last: None }
    }

    /// A call begins: what has happened since the last one ended.
    fn begin(&mut self, now: &Sums) {
        let Some(last) = self.last else {
            // The thread's first call. What it took to start it is nobody's.
            self.record.lock().between(Between { stay_ns: now.stays_ns, ..Between::default() });
            return;
        };
        let stay_ns = now.stays_ns.saturating_sub(last.stays_ns);
        let faults_ns = now.faults_ns.saturating_sub(last.faults_ns);
        let all_ns = now.at.saturating_duration_since(last.at).as_nanos() as u64;
        let faults = now.faults.saturating_sub(last.faults);
        let loop_ns = all_ns.saturating_sub(stay_ns).saturating_sub(faults_ns);
        self.record.lock().between(Between { stay_ns, faults_ns, faults, loop_ns });
    }
}

thread_local! {
    static MINE: std::cell::RefCell<Option<Mine>> = const { std::cell::RefCell::new(None) };
}

/// The table with a watch on it.
pub struct Profiler {
    inner: Dispatcher,
    begun: Instant,
}

impl Profiler {
    /// From now on.
    pub fn new(inner: Dispatcher) -> Profiler {
        measure_gofer();
        Profiler { inner, begun: Instant::now() }
    }

    /// What all threads have done so far.
    pub fn snapshot(&self) -> Snapshot {
        let records = RECORDS.lock().clone();
        let mut programs: Vec<Program> = Vec::new();
        for record in records {
            for program in record.lock().programs() {
                match programs.iter_mut().find(|p| p.name == program.name) {
                    Some(sum) => sum.add(program),
                    None => programs.push(program.clone()),
                }
            }
        }
        Snapshot { wall_ns: self.begun.elapsed().as_nanos() as u64, programs }
    }
}

/// A profile.
pub struct Snapshot {
    /// How long has been measured.
    pub wall_ns: u64,
    /// By the name of the thread.
    pub programs: Vec<Program>,
}

/// Numbers of calls that may change the name of a thread.
const RENAMING: [u64; 3] = [59, 322, 157];

impl SyscallTable for Profiler {
    fn dispatch(&self, task: &mut CurrentTask, number: u64, args: [u64; 6]) -> SysResult<u64> {
        let begun = Sums::of(task);
        // The cell is not held during the call: it may end in a panic handler's way or in another call.
        let mut mine = MINE.take().filter(|mine| mine.task == task.id).unwrap_or_else(|| Mine::new(task));
        mine.begin(&begun);
        let gofer = gofer_time();
        let result = self.inner.dispatch(task, number, args);
        let ended = Sums::of(task);
        let spent = gofer_time().since(gofer);
        let waited_ns = task.times().waited_ns;
        let total_ns = ended.at.saturating_duration_since(begun.at).as_nanos() as u64;
        let name = RENAMING.contains(&number).then(|| task.comm());
        {
            let mut record = mine.record.lock();
            let call = record.call(number as u32);
            call.add_one(total_ns.saturating_sub(waited_ns), waited_ns, result.is_err());
            call.gofer_ns += spent.ns;
            call.gofer_requests += spent.requests;
            if let Some(name) = name {
                record.rename(name);
            }
        }
        mine.last = Some(ended);
        MINE.set(Some(mine));
        result
    }

    fn signal_delivered(&self, task: &CurrentTask, signal: Signal, info: &SigInfo) {
        self.inner.signal_delivered(task, signal, info);
    }

    fn process_ended(&self, pid: i32, status: i32) {
        self.inner.process_ended(pid, status);
    }
}
