//! Guest processes that show nothing yet, the master that they are forked from, and those that have to go.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use host::thread::{initial_affinity, run_anywhere, set_affinity};
use sync::levels::PlatformPool;
use sync::{Condvar, Mutex};

use super::area::Area;
use super::filter;
use super::layout::{AREA, Layout};
use super::servant::{Operation, Place, Servant};
use super::shm::Shm;
use super::stub::{self, Block};
use super::text::Texts;
use crate::MemoryFile;
use crate::api::{PlatformError, Title};
use crate::guest_process::placement::Placement;
use crate::guest_process::prepare::{self, Setup, Signals};
use crate::guest_process::xstate;
use crate::guest_process::{self, FORK_FLAGS, MAP_FLAGS, THREAD_FLAGS};

/// Makes a running guest thread stop. A host that sends it for reasons of its own sends it to processes with sockets.
pub(super) const KICK: i32 = libc::SIGURG;

/// Areas of ended threads that a process keeps for the next.
const MAX_ENDED: usize = 32;

/// Name of processes that show nothing.
const SPARE: &[u8] = b"[runsc-spare]";

/// No thread's id, and none that the host takes for one.
const NOBODY: i32 = 0;

/// Processes that may wait for their end.
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

/// A process that is about to be made, and its first guest thread.
struct Birth {
    place: Place,
    area: Area,
}

impl Birth {
    fn new(shm: &Arc<Shm>, layout: Layout, sentry: i32) -> Result<Birth, PlatformError> {
        let mut place = Place::new(shm, sentry)?;
        let area = Area::new(shm.take_area()?);
        place.send(&[map_area(shm, layout, &area), clone_thread(layout, &area)])?;
        Ok(Birth { place, area })
    }

    /// What the servant of the parent has to do.
    fn operation(&self, layout: Layout) -> Operation {
        let arguments = [FORK_FLAGS, 0, 0, 0, 0, 0];
        Operation { number: libc::SYS_clone, arguments, child: self.place.address(layout) }
    }

    /// The process, once it is there.
    fn process(self, pid: u64, cpu: Option<usize>) -> Process {
        let servant = self.place.servant(pid as i32, cpu);
        Process { servant, coming: Some(self.area), parked: Vec::new(), ended: Vec::new() }
    }

    /// The parent died meanwhile: nobody knows whether the child is there, nor its id. If it is, it ends; what it may use is
    /// not used again.
    fn abandon(self) {
        let Birth { place, area } = self;
        std::mem::forget(area);
        let mut stray = place.servant(0, None);
        // Its thread's id names it as well.
        if let Ok(Some(tid)) = stray.answer_in_time() {
            let _ = host::signal::kill(tid as i32, libc::SIGKILL);
        }
        std::mem::forget(stray);
    }
}

fn map_area(shm: &Shm, layout: Layout, area: &Area) -> Operation {
    let (at, offset) = area.place(layout);
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    Operation::call(libc::SYS_mmap, [at, AREA, prot, MAP_FLAGS, shm.raw_fd() as u64, offset])
}

fn clone_thread(layout: Layout, area: &Area) -> Operation {
    let arguments = [THREAD_FLAGS, 0, 0, 0, 0, 0];
    Operation { number: libc::SYS_clone, arguments, child: area.place(layout).0 }
}

/// A guest process.
pub(super) struct Process {
    servant: Servant,
    /// The servant makes a thread with this area just now, and will say so.
    coming: Option<Area>,
    /// Threads that no context has.
    pub(super) parked: Vec<Thread>,
    /// Threads that were told to end, or whose process is about to. The area of one that is gone can be another's.
    pub(super) ended: Vec<Thread>,
}

impl Process {
    pub(super) fn pid(&self) -> i32 {
        self.servant.pid()
    }

    /// Ends it, on whatever processor has time for that.
    fn kill(&self) {
        let threads = self.parked.iter().chain(&self.ended).map(|thread| thread.tid);
        for thread in threads.chain([self.pid()]).filter(|&thread| thread != NOBODY) {
            // A thread may have gone.
            let _ = set_affinity(thread, initial_affinity());
        }
        // An error means that it is dead already.
        let _ = host::process::kill_child(self.pid());
    }

    /// What the servant has to do, in its next order, for the host's tools to show a title.
    pub(super) fn title(&mut self, shared: &Shared, title: &Title) -> Result<[Operation; 3], PlatformError> {
        self.arrive()?;
        self.servant.title(shared.layout, shared.shm.raw_fd(), title)
    }

    /// Has host calls made in the process.
    pub(super) fn obey(&mut self, operations: &[Operation]) -> Result<io::Result<u64>, PlatformError> {
        self.arrive()?;
        self.servant.obey(operations)
    }

    /// Waits for the thread that is coming.
    fn arrive(&mut self) -> Result<(), PlatformError> {
        let Some(area) = self.coming.take() else { return Ok(()) };
        let made = self.servant.answer();
        if let Some(thread) = self.made_thread(area, made)? {
            self.parked.push(thread);
        }
        Ok(())
    }

    /// What came of making a thread: `None` when the host had none to give.
    fn made_thread(
        &mut self,
        area: Area,
        made: Result<io::Result<u64>, PlatformError>,
    ) -> Result<Option<Thread>, PlatformError> {
        if let Ok(Ok(tid)) = made {
            return Ok(Some(Thread { tid: tid as i32, area }));
        }
        // It may be mapped or not, so it is nobody's until the process has gone.
        self.ended.push(Thread { tid: NOBODY, area });
        made.map(|_| None)
    }

    /// Forks: the child has the same mappings and one guest thread, which waits.
    pub(super) fn fork(&mut self, shared: &Shared) -> Result<Process, PlatformError> {
        self.arrive()?;
        let birth = Birth::new(&shared.shm, shared.layout, shared.sentry)?;
        match self.servant.obey(&[birth.operation(shared.layout)]) {
            Ok(Ok(pid)) => Ok(birth.process(pid, self.servant.cpu())),
            Ok(Err(_)) => Err(PlatformError::Exhausted("host processes")),
            Err(error) => {
                birth.abandon();
                Err(error)
            }
        }
    }

    /// A thread that waits, one that is there or a new one.
    pub(super) fn take_thread(&mut self, shared: &Shared) -> Result<Thread, PlatformError> {
        self.arrive()?;
        if let Some(thread) = self.parked.pop() {
            return Ok(thread);
        }
        let gone = self.ended.iter().position(|thread| thread.is_gone(self.servant.pid()));
        let (area, made) = if let Some(gone) = gone {
            let mut area = self.ended.swap_remove(gone).area;
            area.begin();
            let made = self.servant.obey(&[clone_thread(shared.layout, &area)]);
            (area, made)
        } else {
            let area = Area::new(shared.shm.take_area()?);
            let map = map_area(&shared.shm, shared.layout, &area);
            let made = self.servant.obey(&[map, clone_thread(shared.layout, &area)]);
            (area, made)
        };
        self.made_thread(area, made)?.ok_or(PlatformError::Exhausted("host threads"))
    }

    /// Ends a thread that waits.
    pub(super) fn end_thread(&mut self, shared: &Shared, thread: Thread) -> Result<(), PlatformError> {
        thread.area.end();
        self.ended.push(thread);
        if self.ended.len() > MAX_ENDED
            && let Some(gone) = self.ended.iter().position(|thread| thread.is_gone(self.servant.pid()))
        {
            let (at, _) = self.ended[gone].area.place(shared.layout);
            let unmapped = self.obey(&[Operation::call(libc::SYS_munmap, [at, AREA, 0, 0, 0, 0])])?;
            unmapped.map_err(|source| PlatformError::Host { what: "unmap a stub's area", source })?;
            self.ended.swap_remove(gone);
        }
        Ok(())
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
    /// Whether a process can say what the host's tools show of it.
    pub(super) shows_titles: bool,
    /// Rewritten programs; `None` when nothing is to be rewritten.
    pub(super) texts: Option<Arc<Texts>>,
    pool: Mutex<Pool, PlatformPool>,
    dying: Arc<Dying>,
}

struct Pool {
    master: Servant,
    /// What the master has been told to make, so that an exec need not wait for it.
    next: Option<Birth>,
}

/// Processes that nobody wants any more. Their areas and orders are in use until they are reaped, and so is what is kept for them. A
/// thread of the platform's own ends one after the other: a host takes as long to end a process as to make one.
#[derive(Default)]
struct Dying {
    state: Mutex<DyingState, PlatformPool>,
    changed: Condvar,
}

#[derive(Default)]
struct DyingState {
    queue: VecDeque<Zombie>,
    /// Those in the queue, the one that is waited for, and those that are expected.
    count: usize,
    /// The thread exists.
    reaped: bool,
    /// It has to end when the queue is empty.
    over: bool,
}

struct Zombie {
    process: Process,
    kept: Option<Box<dyn Any + Send>>,
}

impl Zombie {
    fn end(self) {
        self.process.kill();
        let _ = host::process::wait(self.process.pid(), libc::__WALL);
        drop(self.kept);
    }
}

impl Dying {
    /// Expects one more. When the host is slower to end them than guests are to make them, guests have to wait.
    fn reserve(&self) {
        let mut state = self.state.lock();
        while state.count >= MAX_ZOMBIES {
            self.changed.wait(&mut state);
        }
        state.count += 1;
    }

    fn add(self: &Arc<Self>, zombie: Zombie, reserved: bool) {
        if !reserved {
            self.reserve();
        }
        let mut state = self.state.lock();
        if !state.reaped {
            let this = Arc::clone(self);
            let reaper = std::thread::Builder::new().name("reaper".into()).stack_size(128 << 10);
            if reaper.spawn(move || this.reap()).is_err() {
                drop(state);
                zombie.end();
                self.state.lock().count -= 1;
                self.changed.notify_all();
                return;
            }
            state.reaped = true;
        }
        state.queue.push_back(zombie);
        drop(state);
        self.changed.notify_all();
    }

    fn reap(&self) {
        run_anywhere();
        let mut state = self.state.lock();
        loop {
            if let Some(zombie) = state.queue.pop_front() {
                drop(state);
                zombie.end();
                state = self.state.lock();
                state.count -= 1;
                self.changed.notify_all();
            } else if state.over {
                return;
            } else {
                self.changed.wait(&mut state);
            }
        }
    }

    /// Waits until all are gone.
    fn end(&self) {
        let mut state = self.state.lock();
        state.over = true;
        self.changed.notify_all();
        while state.count > 0 {
            self.changed.wait(&mut state);
        }
    }
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
    pub(super) fn new(memory: Arc<MemoryFile>, rewrites: bool) -> Result<Shared, PlatformError> {
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
        match master.obey(&[]) {
            Ok(_) => {}
            Err(PlatformError::Gone) => {
                let _ = host::process::wait(master.pid(), libc::__WALL);
                let what =
                    "set up the first stub process; the host needs seccomp filters with SECCOMP_RET_TRAP";
                return Err(PlatformError::Host { what, source: io::Error::other("it ended") });
            }
            Err(error) => return Err(error),
        }
        // What is shown of processes without a guest's program. Hosts without checkpoints (CONFIG_CHECKPOINT_RESTORE) can't.
        let spare = Title { name: SPARE.to_vec(), command_line: [SPARE, b"\0"].concat() };
        let operations = master.title(layout, shm.raw_fd(), &spare)?;
        let shows_titles = master.obey(&operations)?.is_ok();
        let placement = Placement::new(true);
        let pool = Mutex::new(Pool { master, next: None });
        let texts = rewrites.then(|| Arc::new(Texts::new(&memory, stub::gates(layout))));
        Ok(Shared {
            memory,
            layout,
            extended,
            shm,
            sentry,
            placement,
            shows_titles,
            texts,
            pool,
            dying: Arc::default(),
        })
    }

    /// A process that shows nothing.
    pub(super) fn take_bare(&self) -> Result<Process, PlatformError> {
        let birth = || Birth::new(&self.shm, self.layout, self.sentry);
        let mut pool = self.pool.lock();
        let Pool { master, next, .. } = &mut *pool;
        guest_process::need_master(master.pid());
        let this = match next.take() {
            Some(birth) => birth,
            None => {
                let birth = birth()?;
                master.send(&[birth.operation(self.layout)])?;
                birth
            }
        };
        let pid = match master.answer() {
            Ok(Ok(pid)) => pid,
            Ok(Err(_)) => return Err(PlatformError::Exhausted("host processes")),
            Err(error) => {
                guest_process::need_master(master.pid());
                this.abandon();
                return Err(error);
            }
        };
        if let Ok(birth) = birth()
            && master.send(&[birth.operation(self.layout)]).is_ok()
        {
            *next = Some(birth);
        }
        Ok(this.process(pid, None))
    }

    /// Before [`discard`](Self::discard): waits until there is room for one more.
    pub(super) fn reserve_end(&self) {
        self.dying.reserve();
    }

    /// Has a process ended; `kept` is dropped when it has gone. `reserved`: there is room for it.
    pub(super) fn discard(&self, process: Process, kept: Option<Box<dyn Any + Send>>, reserved: bool) {
        self.dying.add(Zombie { process, kept }, reserved);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.placement.end();
        let pool = self.pool.get_mut();
        let mut pids = vec![pool.master.pid()];
        if pool.next.is_some()
            && let Ok(Ok(pid)) = pool.master.answer()
        {
            pids.push(pid as i32);
        }
        for &pid in &pids {
            let _ = host::process::kill_child(pid);
        }
        for pid in pids {
            let _ = host::process::wait(pid, libc::__WALL);
        }
        self.dying.end();
    }
}

/// Makes the process that all stubs are forked from. It dies with the calling thread.
fn spawn_master(shm: &Arc<Shm>, sentry: i32) -> Result<(Layout, Servant), PlatformError> {
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
    let mut master = place.servant(pid, None);
    master.set_free();
    Ok((layout, master))
}
