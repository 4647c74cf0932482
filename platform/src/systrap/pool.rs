//! Guest processes that show nothing yet, the master that they are forked from, and those that have to go.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use sync::Mutex;
use sync::levels::PlatformPool;

use super::area::Area;
use super::filter;
use super::layout::{AREA, Layout};
use super::servant::{Operation, Place, Servant};
use super::shm::Shm;
use super::stub::{self, Block};
use crate::MemoryFile;
use crate::api::PlatformError;
use crate::guest_process::placement::Placement;
use crate::guest_process::prepare::{self, Setup, Signals};
use crate::guest_process::xstate;
use crate::guest_process::{FORK_FLAGS, MAP_FLAGS, THREAD_FLAGS};

/// Makes a running guest thread stop. A host that sends it for reasons of its own sends it to processes with sockets.
pub(super) const KICK: i32 = libc::SIGURG;

/// Areas of ended threads that a process keeps for the next.
const MAX_ENDED: usize = 32;

/// Dead processes that may wait to be reaped.
const MAX_ZOMBIES: usize = 64;

/// A guest thread that waits in the stub.
pub(super) struct Thread {
    pub(super) tid: i32,
    pub(super) area: Area,
}

impl Thread {
    /// Whether it has ended.
    fn is_gone(&self, pid: i32) -> bool {
        host::thread::tgkill(pid, self.tid, 0).is_err_and(|e| e.raw_os_error() == Some(libc::ESRCH))
    }
}

/// A guest process.
pub(super) struct Process {
    pub(super) servant: Servant,
    /// Threads that no context has.
    pub(super) parked: Vec<Thread>,
    /// Threads that were told to end, or whose process is about to. The area of one that is gone can be another's.
    pub(super) ended: Vec<Thread>,
}

impl Process {
    fn new(servant: Servant) -> Process {
        Process { servant, parked: Vec::new(), ended: Vec::new() }
    }

    pub(super) fn pid(&self) -> i32 {
        self.servant.pid()
    }

    /// Forks: the child has the same mappings and no guest thread.
    pub(super) fn fork(&mut self, shared: &Shared) -> Result<Process, PlatformError> {
        let place = Place::new(&shared.shm, shared.sentry)?;
        let operation = Operation {
            number: libc::SYS_clone,
            arguments: [FORK_FLAGS, 0, 0, 0, 0, 0],
            child: place.address(shared.layout),
        };
        let pid = self.servant.obey(&[operation])?.map_err(|_| PlatformError::Exhausted("host processes"))?;
        Ok(Process::new(place.servant(pid as i32, self.servant.cpu())))
    }

    /// A thread that waits, one that is there or a new one.
    pub(super) fn take_thread(&mut self, shared: &Shared) -> Result<Thread, PlatformError> {
        if let Some(thread) = self.parked.pop() {
            return Ok(thread);
        }
        let clone =
            |at| Operation { number: libc::SYS_clone, arguments: [THREAD_FLAGS, 0, 0, 0, 0, 0], child: at };
        let gone = self.ended.iter().position(|thread| thread.is_gone(self.servant.pid()));
        let (area, made) = match gone {
            Some(gone) => {
                let area = self.ended.swap_remove(gone).area;
                area.begin();
                let made = self.servant.obey(&[clone(area.place(shared.layout).0)])?;
                (area, made)
            }
            None => {
                let area = Area::new(shared.shm.take_area()?);
                let (at, offset) = area.place(shared.layout);
                let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
                let fd = shared.shm.raw_fd() as u64;
                let map = Operation::call(libc::SYS_mmap, [at, AREA, prot, MAP_FLAGS, fd, offset]);
                let made = self.servant.obey(&[map, clone(at)])?;
                (area, made)
            }
        };
        match made {
            Ok(tid) => Ok(Thread { tid: tid as i32, area }),
            Err(_) => {
                self.forget(shared, &area)?;
                Err(PlatformError::Exhausted("host threads"))
            }
        }
    }

    /// Ends a thread that waits.
    pub(super) fn end_thread(&mut self, shared: &Shared, thread: Thread) -> Result<(), PlatformError> {
        thread.area.end();
        self.ended.push(thread);
        if self.ended.len() > MAX_ENDED
            && let Some(gone) = self.ended.iter().position(|thread| thread.is_gone(self.servant.pid()))
        {
            let thread = self.ended.swap_remove(gone);
            self.forget(shared, &thread.area)?;
        }
        Ok(())
    }

    /// Takes an area out of the process.
    fn forget(&mut self, shared: &Shared, area: &Area) -> Result<(), PlatformError> {
        let (at, _) = area.place(shared.layout);
        let gone = self.servant.obey(&[Operation::call(libc::SYS_munmap, [at, AREA, 0, 0, 0, 0])])?;
        gone.map(drop).map_err(|source| PlatformError::Host { what: "unmap a stub's area", source })
    }
}

/// What all address spaces and contexts of the platform share.
pub(super) struct Shared {
    pub(super) memory: Arc<MemoryFile>,
    pub(super) layout: Layout,
    pub(super) extended: xstate::Layout,
    pub(super) shm: Arc<Shm>,
    pub(super) sentry: i32,
    pub(super) placement: Arc<Placement>,
    pool: Mutex<Pool, PlatformPool>,
}

struct Pool {
    master: Process,
    /// Killed, not yet reaped. Their areas and orders are in use until then.
    zombies: VecDeque<Process>,
}

fn host(what: &'static str) -> impl Fn(io::Error) -> PlatformError {
    move |source| PlatformError::Host { what, source }
}

fn unsupported(what: &'static str) -> PlatformError {
    PlatformError::Host { what, source: io::Error::from_raw_os_error(libc::EOPNOTSUPP) }
}

/// Bytes that the host needs for a signal frame, as far as it says.
fn frame_size() -> u64 {
    const AT_MINSIGSTKSZ: libc::c_ulong = 51;
    // SAFETY: looks a number up.
    unsafe { libc::getauxval(AT_MINSIGSTKSZ) }
}

impl Shared {
    pub(super) fn new(memory: Arc<MemoryFile>) -> Result<Shared, PlatformError> {
        const FSGSBASE: u64 = 1 << 1;
        if host::process::hardware_capabilities().1 & FSGSBASE == 0 {
            return Err(unsupported("use the instructions for segment bases (FSGSBASE, Linux 5.9)"));
        }
        let extended = xstate::Layout::of_cpu();
        if frame_size().max(extended.shape.size as u64 + 512) + 1024 > AREA {
            return Err(unsupported("fit a signal frame of this CPU into a stub's stack"));
        }
        host::signal::no_child_stop_signals().map_err(host("set the disposition of SIGCHLD"))?;
        let shm = Shm::new().map_err(host("make the memory of the stubs"))?;
        let sentry = std::process::id() as i32;
        let (layout, mut master) = spawn_master(&shm, sentry)?;
        // It answers when it is set up.
        match master.servant.obey(&[]) {
            Ok(_) => {}
            Err(PlatformError::Gone) => {
                let _ = host::process::wait(master.pid(), libc::__WALL);
                let what =
                    "set up the first stub process; the host needs seccomp filters with SECCOMP_RET_TRAP";
                return Err(PlatformError::Host { what, source: io::Error::other("it ended") });
            }
            Err(error) => return Err(error),
        }
        let pool = Mutex::new(Pool { master, zombies: VecDeque::new() });
        Ok(Shared { memory, layout, extended, shm, sentry, placement: Placement::new(true), pool })
    }

    /// A process that shows nothing.
    pub(super) fn take_bare(&self) -> Result<Process, PlatformError> {
        self.pool.lock().master.fork(self)
    }

    /// Kills a process. It is reaped later, when it has had time to go.
    pub(super) fn discard(&self, process: Process) {
        // An error means that it is dead already.
        let _ = host::process::kill_child(process.pid());
        let mut pool = self.pool.lock();
        pool.zombies.push_back(process);
        let mut reaped = Vec::new();
        // They go roughly in turn.
        while let Some(oldest) = pool.zombies.front()
            && !matches!(host::process::wait(oldest.pid(), libc::__WALL | libc::WNOHANG), Ok(None))
        {
            reaped.extend(pool.zombies.pop_front());
        }
        // When the host is slower to end them than guests are to make them, guests have to wait.
        let oldest = if pool.zombies.len() > MAX_ZOMBIES { pool.zombies.pop_front() } else { None };
        drop(pool);
        if let Some(oldest) = oldest {
            let _ = host::process::wait(oldest.pid(), libc::__WALL);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.placement.end();
        let pool = self.pool.get_mut();
        let _ = host::process::kill_child(pool.master.pid());
        for process in pool.zombies.iter().chain([&pool.master]) {
            let _ = host::process::wait(process.pid(), libc::__WALL);
        }
    }
}

/// Makes the process that all stubs are forked from. It dies with the calling thread.
fn spawn_master(shm: &Arc<Shm>, sentry: i32) -> Result<(Layout, Process), PlatformError> {
    let block = Block::new().map_err(host("find room for the stub"))?;
    let layout = block.0;
    let mut secret = [0u8; 8];
    rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| host("get random bytes")(e.into()))?;
    let secret = u64::from_le_bytes(secret);
    let place = Place::new(shm, sentry)?;
    let fd = shm.raw_fd();
    let pid = prepare::spawn(&Setup {
        signals: Signals::Handled {
            handler: stub::handler(layout),
            restorer: stub::restorer(layout),
            kick: KICK,
        },
        filter: &filter::program(layout, secret),
        more: &|| stub::show(layout, fd),
        enter: stub::enter,
        arguments: [layout.code(), secret, place.address(layout)],
    })
    .map_err(host("make the first stub process"))?;
    Ok((layout, Process::new(place.servant(pid, None))))
}
