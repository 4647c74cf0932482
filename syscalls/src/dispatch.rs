//! From a number and six registers to a handler.

use std::io::Write;

use abi::Errno;
use abi::seccomp::SECCOMP_MODE_DISABLED;
use abi::signal::{SigInfo, Signal};
use sentry::mm::UserAddr;
use sentry::task::CurrentTask;
use sentry::{Answer, SysResult, SyscallTable};

use crate::counters;
use crate::row::Row;
use crate::show::GuestMemory;
use crate::strace::{Entry, Tracer};
use crate::table::BY_NUMBER;

/// The row of a number. Linux looks at the low 32 bits only; numbers of the x32 ABI have none here.
#[inline]
pub fn row(number: u64) -> Option<&'static Row> {
    *BY_NUMBER.get(number as u32 as usize)?
}

/// Calls that tell a task which one it is: getpid, gettid, getppid, getpgrp. What they answer changes with exec, when the parent ends,
/// and when anybody moves the process to another group.
const OF_PROCESS: [u32; 4] = [39, 186, 110, 111];

/// Calls that tell a task whose it is: getuid, getgid, geteuid, getegid. What they answer changes with its credentials.
const OF_USER: [u32; 4] = [102, 104, 107, 108];

/// The table as the kernel takes it.
pub struct Dispatcher {
    tracer: Option<Tracer>,
}

impl Dispatcher {
    /// With strace lines written to `strace`, if anywhere.
    pub fn new(strace: Option<Box<dyn Write + Send>>) -> Dispatcher {
        Dispatcher { tracer: strace.map(Tracer::new) }
    }
}

impl SyscallTable for Dispatcher {
    #[inline]
    fn dispatch(&self, task: &mut CurrentTask, number: u64, args: [u64; 6]) -> SysResult<u64> {
        match &self.tracer {
            None => call(task, number, &args),
            Some(tracer) => traced(tracer, task, number, &args),
        }
    }

    fn answers(&self, task: &mut CurrentTask) -> Vec<Answer> {
        // Filters and strace lines are for every call.
        if self.tracer.is_some() || task.seccomp.mode() != SECCOMP_MODE_DISABLED {
            return Vec::new();
        }
        // Elsewhere the mapping of ids may come later, from a task that knows nothing of this one.
        let mapped = task.own_creds().user_ns.parent().is_none();
        let numbers = OF_PROCESS.iter().chain(OF_USER.iter().filter(|_| mapped));
        let answer = |&number: &u32| {
            let value = (row(number.into())?.call)(task, &[0; 6]).ok()?;
            Some(Answer { number, value: value as u32 })
        };
        numbers.filter_map(answer).collect()
    }

    fn signal_delivered(&self, task: &CurrentTask, _signal: Signal, info: &SigInfo) {
        if let Some(tracer) = &self.tracer {
            tracer.signal(task.tid(), info);
        }
    }

    fn process_ended(&self, pid: i32, status: i32) {
        if let Some(tracer) = &self.tracer {
            tracer.exit(pid, status);
        }
    }
}

fn call(task: &mut CurrentTask, number: u64, args: &[u64; 6]) -> SysResult<u64> {
    if task.seccomp.mode() != SECCOMP_MODE_DISABLED
        && let Some(result) = crate::seccomp::stops(task, number, args)
    {
        return result;
    }
    match row(number) {
        Some(row) => {
            counters::count(row.number);
            (row.call)(task, args)
        }
        None => {
            counters::count_unknown();
            Err(Errno::ENOSYS.into())
        }
    }
}

#[cold]
fn traced(tracer: &Tracer, task: &mut CurrentTask, number: u64, args: &[u64; 6]) -> SysResult<u64> {
    // The thread id may change: exec of a thread that is not the first.
    let tid = task.tid();
    let entry = Entry::new(row(number), number, *args, &TaskMemory(task));
    tracer.enter(tid, &entry);
    let result = call(task, number, args);
    let name = entry.name();
    let rest = entry.finish(&result, &TaskMemory(task));
    tracer.leave(tid, &name, &rest);
    result
}

/// The handler of rows that have none.
pub(crate) fn no_handler(_: &mut CurrentTask, _: &[u64; 6]) -> SysResult<u64> {
    Err(Errno::ENOSYS.into())
}

/// The memory of a task.
struct TaskMemory<'a>(&'a CurrentTask);

impl GuestMemory for TaskMemory<'_> {
    fn read(&self, addr: u64, buf: &mut [u8]) -> usize {
        // Page by page: what is read up to a bad page counts.
        let mut done = 0;
        while done < buf.len() {
            let Some(at) = addr.checked_add(done as u64) else { break };
            let n = (buf.len() - done).min((abi::PAGE_SIZE - at % abi::PAGE_SIZE) as usize);
            if self.0.copy_in(UserAddr(at), &mut buf[done..done + n]).is_err() {
                break;
            }
            done += n;
        }
        done
    }
}
