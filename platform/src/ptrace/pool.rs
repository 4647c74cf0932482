//! Guest processes that show nothing yet, and the master that they are forked from.

use std::collections::VecDeque;
use std::sync::Arc;

use sync::Mutex;
use sync::levels::PlatformPool;

use super::stub::{self, Stub};
use super::tracee::Tracee;
use crate::MemoryFile;
use crate::api::PlatformError;
use crate::guest_process;
use crate::guest_process::placement::Placement;
use crate::guest_process::xstate::Layout;

/// Bare processes that are kept for the next address space.
const MAX_BARE: usize = 4;

/// Dead processes that may wait to be reaped.
const MAX_ZOMBIES: usize = 64;

/// A guest process: its threads that nobody traces are parked in the stub.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// Threads that nobody traces.
    pub(super) parked: Vec<i32>,
}

/// What all address spaces and contexts of the platform share.
pub(super) struct Shared {
    pub(super) memory: Arc<MemoryFile>,
    pub(super) stub: Stub,
    pub(super) layout: Layout,
    pub(super) sentry: i32,
    pub(super) placement: Arc<Placement>,
    pool: Mutex<Pool, PlatformPool>,
}

struct Pool {
    master: i32,
    bare: Vec<Process>,
    /// Killed, not yet reaped.
    zombies: VecDeque<i32>,
}

impl Shared {
    pub(super) fn new(memory: Arc<MemoryFile>) -> Result<Shared, PlatformError> {
        let host = |what| move |source| PlatformError::Host { what, source };
        host::signal::no_child_stop_signals().map_err(host("set the disposition of SIGCHLD"))?;
        let (stub, master) = stub::spawn_master().map_err(host("make the first stub process"))?;
        // Larger than any state that a CPU has today.
        let mut area = vec![0u8; 1 << 16];
        let size = host::ptrace::extended_state(master, &mut area).map_err(host("read vector registers"))?;
        area.truncate(size);
        let layout = Layout::from_area(&area);
        host::ptrace::detach(master).map_err(host("release the first stub process"))?;
        let sentry = std::process::id() as i32;
        let pool = Mutex::new(Pool { master, bare: Vec::new(), zombies: VecDeque::new() });
        Ok(Shared { memory, stub, layout, sentry, placement: Placement::new(false), pool })
    }

    /// A process that shows nothing.
    pub(super) fn take_bare(&self) -> Result<Process, PlatformError> {
        let mut pool = self.pool.lock();
        guest_process::need_master(pool.master);
        if let Some(process) = pool.bare.pop() {
            return Ok(process);
        }
        // The master is traced just for this by whoever comes along.
        let mut master = Tracee::seize(self.stub, pool.master, pool.master)?;
        let made = master.fork(self.sentry)?;
        master.park()?;
        let pid = made.map_err(|_| PlatformError::Exhausted("host processes"))?;
        Ok(Process { pid, parked: vec![pid] })
    }

    /// Takes back a process that shows nothing, if there is use for it.
    pub(super) fn give_back(&self, tracee: Tracee, mut process: Process) {
        let (pid, tid) = (tracee.pid(), tracee.tid());
        let wanted = self.pool.lock().bare.len() < MAX_BARE;
        if !wanted {
            self.discard(pid);
            // A leader is reaped with its process; another thread only by its tracer.
            if tid != pid {
                tracee.reap();
            }
        } else if tracee.park().is_ok() {
            process.parked.push(tid);
            self.pool.lock().bare.push(process);
        } else {
            self.discard(pid);
        }
    }

    /// Kills a process. It is reaped later, when it has had time to go.
    pub(super) fn discard(&self, pid: i32) {
        // An error means that it is dead already.
        let _ = host::process::kill_child(pid);
        let mut pool = self.pool.lock();
        pool.zombies.push_back(pid);
        // They go roughly in turn.
        while let Some(&oldest) = pool.zombies.front()
            && !matches!(host::process::wait(oldest, libc::__WALL | libc::WNOHANG), Ok(None))
        {
            pool.zombies.pop_front();
        }
        // When the host is slower to end them than guests are to make them, guests have to wait.
        let oldest = if pool.zombies.len() > MAX_ZOMBIES { pool.zombies.pop_front() } else { None };
        drop(pool);
        if let Some(pid) = oldest {
            let _ = host::process::wait(pid, libc::__WALL);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.placement.end();
        let pool = self.pool.get_mut();
        let pids: Vec<i32> = pool.bare.iter().map(|p| p.pid).chain([pool.master]).collect();
        for &pid in &pids {
            let _ = host::process::kill_child(pid);
        }
        for pid in pids.into_iter().chain(pool.zombies.drain(..)) {
            let _ = host::process::wait(pid, libc::__WALL);
        }
    }
}
