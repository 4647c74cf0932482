//! Filters that guests put on their own system calls (seccomp(2)).
//!
//! Filters form a chain, newest first, that tasks share: a child has its parent's, and adds to it alone. All of the chain
//! are asked on every call, and the strictest answer counts. There is no user notification: SECCOMP_RET_USER_NOTIF is
//! not available.
//!
//! Lock order: `Signal` (who adds to a chain) → `Leaf` (a task's filter).

mod program;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use abi::Errno;
use abi::seccomp::{
    AUDIT_ARCH_X86_64, SECCOMP_MODE_DISABLED, SECCOMP_MODE_FILTER, SECCOMP_MODE_STRICT,
    SECCOMP_RET_ACTION_FULL, SECCOMP_RET_ALLOW, SECCOMP_RET_DATA, SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_THREAD,
    SECCOMP_RET_LOG, SECCOMP_RET_TRACE, SECCOMP_RET_TRAP, SECCOMP_RET_USER_NOTIF, SeccompData,
};
use abi::signal::{SIG_DFL, SigInfo, Signal};
use sync::Mutex;

pub use program::Program;

use crate::task::{CurrentTask, PrctlFlags, Task};

/// The most instructions that the filters of one task may have together, each filter counting four more.
const MAX_CHAIN: usize = 32_768;
const FILTER_COST: usize = 4;
/// The largest error number that a filter can give.
const MAX_ERRNO: u32 = 4095;

/// One filter of a chain.
pub struct Filter {
    program: Program,
    older: Option<Arc<Filter>>,
    /// Instructions of it and all older ones.
    cost: usize,
}

impl Drop for Filter {
    fn drop(&mut self) {
        // A long chain must not recurse.
        let mut older = self.older.take();
        while let Some(filter) = older {
            older = Arc::into_inner(filter).and_then(|mut filter| filter.older.take());
        }
    }
}

impl Filter {
    /// The action of the strictest filter, with its data.
    fn ask(self: &Arc<Filter>, data: &SeccompData) -> u32 {
        // Signed: KILL_PROCESS is below KILL_THREAD.
        let strictness = |answer: u32| (answer & SECCOMP_RET_ACTION_FULL) as i32;
        let mut answer = SECCOMP_RET_ALLOW;
        let mut at = Some(self);
        while let Some(filter) = at {
            let own = filter.program.run(data);
            if strictness(own) < strictness(answer) {
                answer = own;
            }
            at = filter.older.as_ref();
        }
        answer
    }

    /// Whether `old` is this filter or an older one of its chain.
    fn follows(self: &Arc<Filter>, old: &Arc<Filter>) -> bool {
        let mut at = Some(self);
        while let Some(filter) = at {
            if Arc::ptr_eq(filter, old) {
                return true;
            }
            at = filter.older.as_ref();
        }
        false
    }

    fn count(self: &Arc<Filter>) -> usize {
        let mut count = 0;
        let mut at = Some(self);
        while let Some(filter) = at {
            count += 1;
            at = filter.older.as_ref();
        }
        count
    }
}

/// What a task may call.
#[derive(Default)]
pub struct Seccomp {
    mode: AtomicU32,
    filter: Mutex<Option<Arc<Filter>>, sync::levels::Leaf>,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered as always.
    Go,
    /// It is not made; this is in rax.
    Skip(u64),
    /// It is not made; the thread or the process ends.
    Killed,
}

impl Seccomp {
    /// `SECCOMP_MODE_*`.
    #[inline]
    pub fn mode(&self) -> u32 {
        self.mode.load(Ordering::Relaxed)
    }

    /// How many filters there are (Seccomp_filters of /proc/PID/status).
    pub fn filter_count(&self) -> usize {
        self.filter.lock().as_ref().map_or(0, Filter::count)
    }

    /// For a task that has not run yet: the filter that its container is given.
    pub(crate) fn begin_with(&self, program: Program) {
        let cost = program.len() + FILTER_COST;
        self.put(SECCOMP_MODE_FILTER, Some(Arc::new(Filter { program, older: None, cost })));
    }

    /// A child starts with the same.
    pub fn inherit(&self, parent: &Seccomp) {
        let filter = parent.filter.lock().clone();
        self.put(parent.mode(), filter);
    }

    fn put(&self, mode: u32, filter: Option<Arc<Filter>>) {
        let old = std::mem::replace(&mut *self.filter.lock(), filter);
        self.mode.store(mode, Ordering::Relaxed);
        drop(old);
    }

    /// Whether the thread could take over `filter`: it has none, or only older ones of the same chain.
    fn can_follow(&self, own: Option<&Arc<Filter>>) -> bool {
        match self.mode() {
            SECCOMP_MODE_DISABLED => true,
            SECCOMP_MODE_FILTER => match (self.filter.lock().as_ref(), own) {
                (None, _) => true,
                (Some(theirs), Some(own)) => own.follows(theirs),
                (Some(_), None) => false,
            },
            _ => false,
        }
    }
}

impl Task {
    /// SECCOMP_SET_MODE_STRICT.
    pub fn set_seccomp_strict(&self) -> Result<(), Errno> {
        if self.seccomp.mode() == SECCOMP_MODE_FILTER {
            return Err(Errno::EINVAL);
        }
        self.seccomp.put(SECCOMP_MODE_STRICT, None);
        self.answers_changed();
        Ok(())
    }
}

impl CurrentTask {
    /// Adds a filter. With `all_threads`, all threads of the process get it, or none: then the answer is the id of one
    /// that can't.
    pub fn add_seccomp_filter(&self, program: Program, all_threads: bool) -> Result<Option<i32>, Errno> {
        // Threads of the process add filters one after the other.
        let state = self.thread_group().signals.lock();
        if self.seccomp.mode() == SECCOMP_MODE_STRICT {
            return Err(Errno::EINVAL);
        }
        let older = self.seccomp.filter.lock().clone();
        let cost = older.as_ref().map_or(0, |filter| filter.cost) + program.len() + FILTER_COST;
        if cost > MAX_CHAIN {
            return Err(Errno::ENOMEM);
        }
        let others = || state.threads.iter().filter(|thread| all_threads && thread.id != self.id);
        if let Some(thread) = others().find(|thread| !thread.seccomp.can_follow(older.as_ref())) {
            return Ok(Some(thread.tid()));
        }
        let filter = Arc::new(Filter { program, older, cost });
        for thread in others() {
            if self.own_creds().no_new_privs {
                thread.set_prctl(PrctlFlags::NO_NEW_PRIVS, true);
            }
            thread.seccomp.put(SECCOMP_MODE_FILTER, Some(Arc::clone(&filter)));
            thread.answers_changed();
        }
        self.seccomp.put(SECCOMP_MODE_FILTER, Some(filter));
        self.answers_changed();
        Ok(None)
    }

    /// Asks the filters about a call. `strict` says whether the strict mode allows it.
    #[cold]
    pub fn check_seccomp(&mut self, number: u64, args: &[u64; 6], strict: bool) -> Verdict {
        if self.seccomp.mode() == SECCOMP_MODE_STRICT {
            if strict {
                return Verdict::Go;
            }
            self.exit_thread_by(Signal::SIGKILL);
            return Verdict::Killed;
        }
        let Some(filter) = self.seccomp.filter.lock().clone() else { return Verdict::Go };
        let data = SeccompData {
            nr: number as i32,
            arch: AUDIT_ARCH_X86_64,
            instruction_pointer: self.regs.rip,
            args: *args,
        };
        let answer = filter.ask(&data);
        let value = answer & SECCOMP_RET_DATA;
        match answer & SECCOMP_RET_ACTION_FULL {
            SECCOMP_RET_ALLOW | SECCOMP_RET_LOG => Verdict::Go,
            SECCOMP_RET_ERRNO => Verdict::Skip(u64::from(value.min(MAX_ERRNO)).wrapping_neg()),
            SECCOMP_RET_TRAP => {
                let info = SigInfo::sys(value as i32, data.instruction_pointer, data.nr, data.arch);
                crate::signal::force(self.task(), Signal::SIGSYS, info);
                Verdict::Skip(number)
            }
            // Nobody listens and nobody traces.
            SECCOMP_RET_USER_NOTIF | SECCOMP_RET_TRACE => Verdict::Skip(Errno::ENOSYS.to_return_value()),
            SECCOMP_RET_KILL_THREAD if self.thread_group().threads().len() > 1 => {
                self.exit_thread_by(Signal::SIGSYS);
                Verdict::Killed
            }
            _ => {
                let actions = self.thread_group().actions();
                let mut action = actions.get(Signal::SIGSYS);
                action.sa_handler = SIG_DFL;
                actions.set(Signal::SIGSYS, action);
                let info = SigInfo::sys(value as i32, data.instruction_pointer, data.nr, data.arch);
                crate::signal::force(self.task(), Signal::SIGSYS, info);
                Verdict::Skip(number)
            }
        }
    }
}
