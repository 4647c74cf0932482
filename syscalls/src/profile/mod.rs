//! Where the time of guest threads goes: guest code and the way to it and back, the run loop, faults, and each call.
//!
//! [`Profiler`] is the table with a watch on it. It is handed to the kernel in place of the plain [`Dispatcher`] when
//! somebody wants a profile, so that it costs nothing otherwise; [`Watchable`] is for a sandbox that is asked for one while it runs. Each
//! thread writes to a record of its own.
//!
//! Lock level: `Leaf`, the list of records as well as each record; never one inside of the other.

mod histogram;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use abi::signal::{SigInfo, Signal};
use sentry::profile::{forget_gofer, gofer_time, measure_gofer};
use sentry::task::{CurrentTask, Task, Times};
use sentry::{Answer, SysResult, SyscallTable};
use sync::Mutex;
use sync::levels::Leaf;

pub use histogram::Histogram;
pub use record::{Call, Program};

use crate::dispatch::Dispatcher;
use record::{Between, Record};

/// The records of threads that live, by thread id.
static RECORDS: Mutex<BTreeMap<i32, Arc<Mutex<Record, Leaf>>>, Leaf> = Mutex::new(BTreeMap::new());

/// What ended threads have done.
static ENDED: Mutex<Vec<Program>, Leaf> = Mutex::new(Vec::new());

/// Which measurement this is: records of another one count for nothing.
static PERIOD: AtomicU32 = AtomicU32::new(0);

/// What a thread remembers from one call to the next.
struct Mine {
    /// Which guest thread's calls they are: host threads run one after the other.
    task: u64,
    record: Arc<Mutex<Record, Leaf>>,
    tid: i32,
    period: u32,
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
        let tid = task.pid().outer_number();
        RECORDS.lock().insert(tid, Arc::clone(&record));
        Mine { task: task.id, record, tid, period: PERIOD.load(Ordering::Relaxed), last: None }
    }

    /// This thread's, for the measurement that is under way.
    fn take(task: &CurrentTask) -> Mine {
        let period = PERIOD.load(Ordering::Relaxed);
        let mine = MINE.take().filter(|mine| mine.task == task.id && mine.period == period);
        mine.unwrap_or_else(|| Mine::new(task))
    }

    /// A call begins: what has happened since the last one ended.
    fn begin(&mut self, now: &Sums) {
        let Some(last) = self.last else {
            if self.period > 0 {
                // How much of it was before the measurement is found in the end.
                return;
            }
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

impl Drop for Mine {
    fn drop(&mut self) {
        let mut records = RECORDS.lock();
        if records.get(&self.tid).is_some_and(|record| Arc::ptr_eq(record, &self.record)) {
            records.remove(&self.tid);
        }
        drop(records);
        if self.period == PERIOD.load(Ordering::Relaxed) {
            let programs = self.record.lock().programs().to_vec();
            record::merge(&mut ENDED.lock(), &programs);
        }
    }
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
        Snapshot { wall_ns: self.begun.elapsed().as_nanos() as u64, programs: so_far() }
    }
}

/// What has been written down.
fn so_far() -> Vec<Program> {
    let mut programs = ENDED.lock().clone();
    let records: Vec<_> = RECORDS.lock().values().cloned().collect();
    for record in records {
        let of_thread = record.lock().programs().to_vec();
        record::merge(&mut programs, &of_thread);
    }
    programs
}

/// The table that can be watched for a while. Otherwise it is the plain one, with one question more on the way.
///
/// Lock level of the measurement: `Leaf`, never held with those of the records.
pub struct Watchable {
    inner: Dispatcher,
    is_watched: AtomicBool,
    measurement: Mutex<Option<Measurement>, Leaf>,
}

/// A measurement that is under way.
struct Measurement {
    begun: Instant,
    /// What the threads had done before.
    before: Vec<(Arc<Task>, Times)>,
}

impl Watchable {
    /// Not watched yet.
    pub fn new(inner: Dispatcher) -> Watchable {
        Watchable { inner, is_watched: AtomicBool::new(false), measurement: Mutex::default() }
    }

    /// Begins to measure; `threads` are those that are there. False while a measurement is under way.
    pub fn begin(&self, threads: Vec<Arc<Task>>) -> bool {
        let before = threads.into_iter().map(|thread| {
            let times = thread.times_so_far();
            (thread, times)
        });
        let measurement = Measurement { begun: Instant::now(), before: before.collect() };
        {
            let mut current = self.measurement.lock();
            if current.is_some() {
                return false;
            }
            *current = Some(measurement);
        }
        PERIOD.fetch_add(1, Ordering::Relaxed);
        RECORDS.lock().clear();
        ENDED.lock().clear();
        measure_gofer();
        self.is_watched.store(true, Ordering::Relaxed);
        true
    }

    /// Ends it; `threads` are those that are there now. What they did between their last call and this moment is guest code, if they
    /// were in it; a call that is under way counts for nothing.
    pub fn end(&self, threads: &[Arc<Task>]) -> Option<Snapshot> {
        self.is_watched.store(false, Ordering::Relaxed);
        forget_gofer();
        let mut programs = so_far();
        let measurement = self.measurement.lock().take()?;
        let records = std::mem::take(&mut *RECORDS.lock());
        let known = |thread: &Arc<Task>| {
            let before = measurement.before.iter().find(|(other, _)| Arc::ptr_eq(thread, other));
            before.map_or_else(Times::default, |(_, times)| *times)
        };
        for thread in threads {
            let (before, now) = (known(thread), thread.times_so_far());
            let written = records.get(&thread.pid().outer_number()).map(|record| record.lock().sums());
            let (stays_ns, faults_ns, faults) = written.unwrap_or_default();
            let at = record::place(&mut programs, &thread.comm());
            let left =
                |now: u64, before: u64, written: u64| now.saturating_sub(before).saturating_sub(written);
            programs[at].stays_ns += left(now.stays_ns, before.stays_ns, stays_ns);
            programs[at].faults_ns += left(now.faults_ns, before.faults_ns, faults_ns);
            programs[at].faults += left(now.faults, before.faults, faults);
        }
        ENDED.lock().clear();
        programs.retain(|program| program.stays_ns > 0 || !program.calls.is_empty());
        Some(Snapshot { wall_ns: measurement.begun.elapsed().as_nanos() as u64, programs })
    }
}

impl SyscallTable for Watchable {
    #[inline]
    fn dispatch(&self, task: &mut CurrentTask, number: u64, args: [u64; 6]) -> SysResult<u64> {
        if self.is_watched.load(Ordering::Relaxed) {
            return watched(&self.inner, task, number, args);
        }
        self.inner.dispatch(task, number, args)
    }

    fn answers(&self, task: &mut CurrentTask) -> Vec<Answer> {
        self.inner.answers(task)
    }

    fn signal_delivered(&self, task: &CurrentTask, signal: Signal, info: &SigInfo) {
        self.inner.signal_delivered(task, signal, info);
    }

    fn process_ended(&self, pid: i32, status: i32) {
        self.inner.process_ended(pid, status);
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

/// A call with a watch on it.
fn watched(inner: &Dispatcher, task: &mut CurrentTask, number: u64, args: [u64; 6]) -> SysResult<u64> {
    let begun = Sums::of(task);
    // The cell is not held during the call: it may end in a panic handler's way or in another call.
    let mut mine = Mine::take(task);
    mine.begin(&begun);
    let gofer = gofer_time();
    let result = inner.dispatch(task, number, args);
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

impl SyscallTable for Profiler {
    fn dispatch(&self, task: &mut CurrentTask, number: u64, args: [u64; 6]) -> SysResult<u64> {
        watched(&self.inner, task, number, args)
    }

    fn signal_delivered(&self, task: &CurrentTask, signal: Signal, info: &SigInfo) {
        self.inner.signal_delivered(task, signal, info);
    }

    fn process_ended(&self, pid: i32, status: i32) {
        self.inner.process_ended(pid, status);
    }
}
