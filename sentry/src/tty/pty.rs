//! Pseudo-terminals (pty(7)): two ends with a line discipline between them.

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use abi::Errno;
use abi::ioctl as request;
use abi::ioctl::WinSize;
use abi::open::OpenFlags;
use abi::poll::PollEvents;
use abi::signal::Signal;
use abi::termios::{LocalFlags, PacketFlags, Termios, Termios2};
use sync::Mutex;

use super::line_discipline::{LineDiscipline, Readable};
use super::{Background, JobControl};
use crate::mm::{UserAddr, UserRef};
use crate::task::{ControllingTty, CurrentTask, ProcessGroup, Session};
use crate::time::TimerHandle;
use crate::vfs::resolve::{LookupFlags, lookup};
use crate::vfs::{Blocking, File, FileOps, IoSink, IoSource, OnExec, Path};
use crate::wait::{WaitQueue, Wake};
use crate::{Kernel, SysResult};

/// Bytes that one attempt moves.
const CHUNK: usize = 4096;
/// Major number of the slaves.
pub const SLAVE_MAJOR: u32 = 136;

/// One pair.
pub struct Pty {
    /// N of /dev/pts/N.
    pub index: u32,
    kernel: Weak<Kernel>,
    me: Weak<Pty>,
    state: Mutex<State, sync::levels::FileState>,
    /// Session and foreground group of the slave.
    pub jobs: JobControl,
    master_queue: WaitQueue,
    slave_queue: Arc<WaitQueue>,
    slaves: AtomicU32,
    /// Told when the master is gone: the slave's name goes too.
    on_close: Box<dyn Fn(u32) + Send + Sync>,
}

struct State {
    line: LineDiscipline,
    size: WinSize,
    /// grantpt/unlockpt: the slave can't be opened yet.
    locked: bool,
    packet_mode: bool,
    /// What the master has to be told in packet mode (`TIOCPKT_*`).
    packet_events: PacketFlags,
    exclusive: bool,
    master_gone: bool,
    /// Readers that waited when the master went: they get EIO, later ones the end of the file.
    cut_readers: usize,
    /// Hang-ups so far: files that were opened before the last one are dead.
    hang_ups: u64,
    /// A slave has been open: without one the master reads EIO.
    slave_seen: bool,
    /// When the wait of a read with VTIME ends.
    timed_read: Option<(Instant, TimerHandle)>,
}

impl Pty {
    /// A locked pair. `on_close` is told the index when the master is gone.
    pub fn new(kernel: &Arc<Kernel>, index: u32, on_close: Box<dyn Fn(u32) + Send + Sync>) -> Arc<Pty> {
        Arc::new_cyclic(|me| Pty {
            index,
            kernel: Arc::downgrade(kernel),
            me: Weak::clone(me),
            state: Mutex::new(State {
                line: LineDiscipline::default(),
                size: WinSize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 },
                locked: true,
                packet_mode: false,
                packet_events: PacketFlags::empty(),
                exclusive: false,
                master_gone: false,
                cut_readers: 0,
                hang_ups: 0,
                slave_seen: false,
                timed_read: None,
            }),
            jobs: JobControl::default(),
            master_queue: WaitQueue::new(),
            slave_queue: Arc::new(WaitQueue::new()),
            slaves: AtomicU32::new(0),
            on_close,
        })
    }

    /// The master's file.
    pub fn master(self: &Arc<Self>) -> Box<dyn FileOps> {
        Box::new(Master(Arc::clone(self)))
    }

    /// A slave's file: EIO while it is locked or after the master has gone.
    pub fn open_slave(self: &Arc<Self>) -> Result<Box<dyn FileOps>, Errno> {
        let mut state = self.state.lock();
        if state.locked || state.master_gone {
            return Err(Errno::EIO);
        }
        if state.exclusive {
            return Err(Errno::EBUSY);
        }
        state.slave_seen = true;
        let hang_ups = state.hang_ups;
        self.slaves.fetch_add(1, Ordering::AcqRel);
        drop(state);
        self.master_queue.notify(WRITABLE);
        Ok(Box::new(Slave { pty: Arc::clone(self), hang_ups }))
    }

    fn controlling(&self) -> Result<Arc<dyn ControllingTty>, Errno> {
        Ok(self.me.upgrade().ok_or(Errno::EIO)?)
    }

    fn signal(&self, signal: Signal) {
        if let Some(kernel) = self.kernel.upgrade() {
            self.jobs.signal_foreground(&kernel, signal);
        }
    }

    /// Tells both ends that something may have become possible.
    fn notify(&self) {
        self.master_queue.notify(READABLE | WRITABLE);
        self.slave_queue.notify(READABLE | WRITABLE);
    }

    fn has_slave(&self) -> bool {
        self.slaves.load(Ordering::Acquire) > 0
    }

    /// Requests that both ends answer alike.
    fn ioctl(&self, task: &mut CurrentTask, number: u32, arg: u64, is_slave: bool) -> SysResult<u64> {
        let to = UserAddr(arg);
        match number {
            request::TCGETS => {
                let old = self.state.lock().line.termios.without_speeds();
                task.write_obj(UserRef::new(to), &old)?;
            }
            request::TCGETS2 => {
                let termios = self.state.lock().line.termios;
                task.write_obj(UserRef::new(to), &termios)?;
            }
            request::TCSETS | request::TCSETSW | request::TCSETSF => {
                let t: Termios = task.read_obj(UserRef::new(to))?;
                let new = self.state.lock().line.termios.with_all_but_speeds(&t);
                self.set_termios(new, number == request::TCSETSF);
            }
            request::TCSETS2 | request::TCSETSW2 | request::TCSETSF2 => {
                let new: Termios2 = task.read_obj(UserRef::new(to))?;
                self.set_termios(new, number == request::TCSETSF2);
            }
            request::TIOCGWINSZ => {
                let size = self.state.lock().size;
                task.write_obj(UserRef::new(to), &size)?;
            }
            request::TIOCSWINSZ => {
                let size: WinSize = task.read_obj(UserRef::new(to))?;
                let old = std::mem::replace(&mut self.state.lock().size, size);
                if old != size {
                    self.signal(Signal::SIGWINCH);
                }
            }
            request::FIONREAD => {
                let state = self.state.lock();
                let count = if is_slave { state.line.input_len() } else { state.line.output_len() } as i32;
                drop(state);
                task.write_obj(UserRef::<i32>::new(to), &count)?;
            }
            request::TIOCOUTQ => {
                let count = if is_slave { self.state.lock().line.output_len() as i32 } else { 0 };
                task.write_obj(UserRef::<i32>::new(to), &count)?;
            }
            request::TCFLSH => {
                if arg > 2 {
                    return Err(Errno::EINVAL.into());
                }
                let mut state = self.state.lock();
                if arg != 1 {
                    state.line.flush_input();
                }
                if arg != 0 {
                    state.line.flush_output();
                }
                if state.packet_mode && is_slave {
                    state.packet_events.set(PacketFlags::FLUSHREAD, arg != 1);
                    state.packet_events.set(PacketFlags::FLUSHWRITE, arg != 0);
                }
                drop(state);
                self.notify();
            }
            request::TCXONC => {
                match arg {
                    0 | 1 => self.state.lock().line.set_stopped(arg == 0),
                    2 | 3 => {}
                    _ => return Err(Errno::EINVAL.into()),
                }
                self.notify();
            }
            request::TCSBRK | request::TCSBRKP | request::TIOCSBRK | request::TIOCCBRK => {}
            request::TIOCEXCL => self.state.lock().exclusive = true,
            request::TIOCNXCL => self.state.lock().exclusive = false,
            request::TIOCGEXCL => {
                let exclusive = i32::from(self.state.lock().exclusive);
                task.write_obj(UserRef::<i32>::new(to), &exclusive)?;
            }
            request::TIOCGETD => task.write_obj(UserRef::<i32>::new(to), &abi::termios::N_TTY)?,
            request::TIOCSETD => {
                let wanted: i32 = task.read_obj(UserRef::new(to))?;
                if wanted != abi::termios::N_TTY {
                    return Err(Errno::EINVAL.into());
                }
            }
            request::TIOCGDEV => {
                let device = SLAVE_MAJOR << 8 | self.index & 0xff;
                task.write_obj(UserRef::<u32>::new(to), &device)?;
            }
            request::TIOCSTI => {
                let byte: u8 = task.read_obj(UserRef::new(to))?;
                if !task.own_creds().has_cap(abi::capability::CAP_SYS_ADMIN) {
                    return Err(Errno::EIO.into());
                }
                self.type_bytes(&[byte]);
            }
            _ => return Err(Errno::ENOTTY.into()),
        }
        Ok(0)
    }

    fn set_termios(&self, new: Termios2, flush: bool) {
        let mut state = self.state.lock();
        if flush {
            state.line.flush_input();
        }
        state.line.set_termios(new);
        drop(state);
        self.notify();
    }

    /// Types bytes; how many there was room for.
    fn type_bytes(&self, bytes: &[u8]) -> usize {
        let mut done = 0;
        while done < bytes.len() {
            let caused = self.state.lock().line.type_bytes(&bytes[done..]);
            done += caused.taken;
            match caused.signal {
                Some(signal) => self.signal(signal),
                None => break,
            }
        }
        if done > 0 {
            // The time between bytes begins again.
            let timed = self.state.lock().timed_read.take();
            drop(timed);
            self.notify();
        }
        done
    }

    /// Cuts off all files of the slave that are open now; the session is told and has no terminal any more.
    fn cut_off(&self) {
        self.state.lock().hang_ups += 1;
        self.tell_hang_up();
        self.notify();
        self.slave_queue.notify(PollEvents::HUP | PollEvents::ERR);
    }

    /// SIGHUP and SIGCONT for the session's leader and the foreground; the session has no terminal any more.
    fn tell_hang_up(&self) {
        let session = self.jobs.session();
        self.signal(Signal::SIGHUP);
        self.signal(Signal::SIGCONT);
        if let Some(session) = session {
            if let Some(leader) = session.pid.thread_group() {
                for signal in [Signal::SIGHUP, Signal::SIGCONT] {
                    let info = abi::signal::SigInfo::kernel(signal);
                    let _ = crate::signal::send_to_group(&leader, signal, info);
                }
            }
            session.set_tty(None);
        }
        self.jobs.clear(None);
    }
}

const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);

impl ControllingTty for Pty {
    fn foreground(&self) -> Option<Arc<ProcessGroup>> {
        self.jobs.foreground()
    }

    fn session_begins(&self, session: &Arc<Session>, foreground: &Arc<ProcessGroup>) {
        self.jobs.set(session, Arc::clone(foreground));
    }

    fn session_gone(&self, session: &Arc<Session>) {
        self.jobs.clear(Some(session));
    }

    fn hang_up(&self) {
        self.cut_off();
    }

    fn device(&self) -> u64 {
        abi::stat::makedev(SLAVE_MAJOR, self.index)
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The end that a terminal emulator holds.
pub struct Master(Arc<Pty>);

impl Master {
    /// The pair.
    pub fn pty(&self) -> &Arc<Pty> {
        &self.0
    }
}

impl FileOps for Master {
    fn signals_io(&self) -> bool {
        true
    }

    fn blocking(&self) -> Blocking {
        Blocking::Stream
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize, Errno> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let (bytes, packet) = {
            let mut state = self.0.state.lock();
            if state.packet_mode && !state.packet_events.is_empty() {
                let events = std::mem::take(&mut state.packet_events);
                drop(state);
                return dst.put(&[events.bits()]);
            }
            if !state.line.has_output() || state.line.is_stopped() {
                let hung_up = state.slave_seen && !self.0.has_slave();
                return Err(if hung_up && !state.line.has_output() { Errno::EIO } else { Errno::EAGAIN });
            }
            let max = dst.remaining().min(CHUNK) - usize::from(state.packet_mode);
            (state.line.take_output(max), state.packet_mode)
        };
        self.0.slave_queue.notify(WRITABLE);
        if packet {
            dst.put(&[0])?;
        }
        // The reader's buffer was there for the first byte; a fault behind it loses what it can't take.
        Ok(dst.put(&bytes)? + usize::from(packet))
    }

    fn write(&self, _file: &File, src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize, Errno> {
        let mut bytes = vec![0u8; src.remaining().min(CHUNK)];
        let n = src.peek(&mut bytes)?;
        if n == 0 {
            return Ok(0);
        }
        let taken = self.0.type_bytes(&bytes[..n]);
        if taken == 0 {
            return Err(Errno::EAGAIN);
        }
        src.advance(taken);
        Ok(taken)
    }

    fn poll(&self, _file: &File) -> PollEvents {
        let state = self.0.state.lock();
        let mut ready = PollEvents::empty();
        if state.line.has_output() && !state.line.is_stopped() {
            ready |= READABLE;
        }
        if state.packet_mode && !state.packet_events.is_empty() {
            ready |= READABLE | PollEvents::PRI;
        }
        if state.slave_seen && !self.0.has_slave() {
            ready |= PollEvents::HUP;
        }
        if state.line.takes_input() {
            ready |= WRITABLE;
        }
        ready
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.0.master_queue)
    }

    fn ioctl(&self, file: &File, task: &mut CurrentTask, number: u32, arg: u64) -> SysResult<u64> {
        let pty = &self.0;
        let to = UserAddr(arg);
        match number {
            request::TIOCGPTPEER => return Ok(open_peer(file, pty, task, arg as u32)? as u64),
            request::TIOCGPTN => task.write_obj(UserRef::<u32>::new(to), &pty.index)?,
            request::TIOCSPTLCK => {
                let lock: i32 = task.read_obj(UserRef::new(to))?;
                pty.state.lock().locked = lock != 0;
            }
            request::TIOCGPTLCK => {
                let locked = i32::from(pty.state.lock().locked);
                task.write_obj(UserRef::<i32>::new(to), &locked)?;
            }
            request::TIOCPKT => {
                let on: i32 = task.read_obj(UserRef::new(to))?;
                let mut state = pty.state.lock();
                state.packet_mode = on != 0;
                state.packet_events = PacketFlags::empty();
            }
            request::TIOCGPKT => {
                let on = i32::from(pty.state.lock().packet_mode);
                task.write_obj(UserRef::<i32>::new(to), &on)?;
            }
            request::TIOCSIG => {
                let signal = Signal::new(arg as u32).ok_or(Errno::EINVAL)?;
                if !matches!(signal, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTSTP) {
                    return Err(Errno::EINVAL.into());
                }
                pty.signal(signal);
            }
            // The master sees the slave's foreground group, whoever asks.
            request::TIOCGPGRP => {
                let ns = task.pid();
                let number = pty.jobs.foreground().map_or(0, |g| g.pid.number_in(ns.namespace()));
                task.write_obj(UserRef::<i32>::new(to), &number)?;
            }
            request::TIOCGSID => {
                let ns = task.pid();
                let session = pty.jobs.session().ok_or(Errno::ENOTTY)?;
                task.write_obj(UserRef::<i32>::new(to), &session.pid.number_in(ns.namespace()))?;
            }
            _ => return pty.ioctl(task, number, arg, false),
        }
        Ok(0)
    }

    fn release(&self, _file: &File) {
        let mut state = self.0.state.lock();
        state.master_gone = true;
        state.cut_readers = self.0.slave_queue.len();
        drop(state);
        // The session's leader and the foreground hear of it.
        self.0.tell_hang_up();
        (self.0.on_close)(self.0.index);
        self.0.notify();
        self.0.slave_queue.notify(PollEvents::HUP | PollEvents::ERR);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        "/dev/ptmx".to_owned()
    }

    fn fdinfo(&self, _file: &File) -> String {
        format!("tty-index:\t{}\n", self.0.index)
    }
}

/// Opens the slave of a master without its name having to be in reach (TIOCGPTPEER).
fn open_peer(master: &File, pty: &Arc<Pty>, task: &CurrentTask, flags: u32) -> Result<i32, Errno> {
    let flags = OpenFlags::from_bits_truncate(flags);
    let mount = &master.path.mount;
    let top = Path::new(Arc::clone(mount), Arc::clone(&mount.root));
    let roots = task.fs().roots();
    let name = pty.index.to_string();
    let place = lookup(&task.caller(&roots), &top, name.as_bytes(), LookupFlags::empty())?;
    let file = File::new(pty.open_slave()?, place, flags, Arc::clone(task.own_creds()));
    task.add_file(file, OnExec::from_flags(flags))
}

/// The end that programs run on.
pub struct Slave {
    pty: Arc<Pty>,
    /// Hang-ups before it was opened.
    hang_ups: u64,
}

impl Slave {
    /// The pair.
    pub fn pty(&self) -> &Arc<Pty> {
        &self.pty
    }

    /// Whether a hang-up has come since it was opened.
    fn is_dead(&self, state: &State) -> bool {
        state.hang_ups != self.hang_ups
    }

    /// Begins or goes on with the wait of a read that has a time limit; true when it is over.
    fn timed_out(&self, tenths: u8) -> bool {
        let mut state = self.pty.state.lock();
        if let Some((deadline, _)) = &state.timed_read {
            let over = *deadline <= Instant::now();
            let old = if over { state.timed_read.take() } else { None };
            drop(state);
            drop(old);
            return over;
        }
        let Some(deadline) = Instant::now().checked_add(Duration::from_millis(u64::from(tenths) * 100))
        else {
            return false;
        };
        drop(state);
        let waker = Arc::new(Alarm(Arc::clone(&self.pty.slave_queue)));
        let timer = self.pty.kernel.upgrade().and_then(|k| k.timers.set(deadline, waker).ok());
        let Some(timer) = timer else { return true };
        self.pty.state.lock().timed_read = Some((deadline, timer));
        false
    }
}

struct Alarm(Arc<WaitQueue>);

impl Wake for Alarm {
    fn wake(&self, _events: PollEvents) -> bool {
        self.0.notify(READABLE);
        true
    }
}

impl FileOps for Slave {
    fn signals_io(&self) -> bool {
        true
    }

    fn blocking(&self) -> Blocking {
        Blocking::Stream
    }

    fn before_io(&self, _file: &File, task: &CurrentTask, writes: bool) -> SysResult<()> {
        if !writes {
            return self.pty.jobs.check(task, Background::Read);
        }
        let to_stop = self.pty.state.lock().line.lflag(LocalFlags::TOSTOP);
        if to_stop { self.pty.jobs.check(task, Background::Change) } else { Ok(()) }
    }

    fn read(&self, _file: &File, dst: &mut dyn IoSink, _offset: u64) -> Result<usize, Errno> {
        let wanted = dst.remaining();
        if wanted == 0 {
            return Ok(0);
        }
        let mut state = self.pty.state.lock();
        if self.is_dead(&state) {
            return Ok(0);
        }
        match state.line.readable(wanted) {
            Readable::Now(_) => {
                let bytes = state.line.read(wanted);
                let timed = state.timed_read.take();
                drop(state);
                drop(timed);
                self.pty.master_queue.notify(WRITABLE);
                if bytes.is_empty() { Ok(0) } else { dst.put(&bytes) }
            }
            _ if state.master_gone && state.cut_readers > 0 => {
                state.cut_readers -= 1;
                Err(Errno::EIO)
            }
            _ if state.master_gone => Ok(0),
            Readable::Wait => Err(Errno::EAGAIN),
            Readable::WaitTenths(tenths) => {
                drop(state);
                if !self.timed_out(tenths) {
                    return Err(Errno::EAGAIN);
                }
                let bytes = self.pty.state.lock().line.read(wanted);
                if bytes.is_empty() { Ok(0) } else { dst.put(&bytes) }
            }
        }
    }

    fn write(&self, _file: &File, src: &mut dyn IoSource, _offset: &mut u64) -> Result<usize, Errno> {
        let mut bytes = vec![0u8; src.remaining().min(CHUNK)];
        let n = src.peek(&mut bytes)?;
        let mut state = self.pty.state.lock();
        if state.master_gone || self.is_dead(&state) {
            return Err(Errno::EIO);
        }
        if n == 0 {
            return Ok(0);
        }
        let taken = state.line.write(&bytes[..n]);
        drop(state);
        if taken == 0 {
            return Err(Errno::EAGAIN);
        }
        src.advance(taken);
        self.pty.master_queue.notify(READABLE);
        Ok(taken)
    }

    fn poll(&self, _file: &File) -> PollEvents {
        let state = self.pty.state.lock();
        if state.master_gone || self.is_dead(&state) {
            return PollEvents::HUP | PollEvents::ERR | READABLE | WRITABLE;
        }
        let mut ready = PollEvents::empty();
        if state.line.has_input() {
            ready |= READABLE;
        }
        if state.line.takes_output() {
            ready |= WRITABLE;
        }
        ready
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pty.slave_queue)
    }

    fn ioctl(&self, _file: &File, task: &mut CurrentTask, number: u32, arg: u64) -> SysResult<u64> {
        let pty = &self.pty;
        let state = pty.state.lock();
        if state.master_gone || self.is_dead(&state) {
            return Err(Errno::EIO.into());
        }
        drop(state);
        if let Some(result) = pty.jobs.ioctl(&pty.controlling()?, task, number, arg) {
            return result;
        }
        let changes = matches!(
            number,
            request::TCSETS
                | request::TCSETSW
                | request::TCSETSF
                | request::TCSETS2
                | request::TCSETSW2
                | request::TCSETSF2
                | request::TCFLSH
                | request::TCXONC
                | request::TCSBRK
                | request::TCSBRKP
                | request::TIOCSETD
        );
        if changes {
            pty.jobs.check(task, Background::Change)?;
        }
        pty.ioctl(task, number, arg, true)
    }

    fn release(&self, _file: &File) {
        if self.pty.slaves.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.pty.master_queue.notify(PollEvents::HUP | READABLE);
        }
    }

    fn opened(&self, task: &CurrentTask) {
        if let Ok(tty) = self.pty.controlling() {
            self.pty.jobs.opened(&tty, task);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn anonymous_name(&self) -> String {
        format!("/dev/pts/{}", self.pty.index)
    }
}
