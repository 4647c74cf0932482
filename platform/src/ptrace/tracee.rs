//! A host thread of a guest process, traced by the calling thread and stopped except inside `wait`.

use std::io;
use std::marker::PhantomData;

use host::ptrace::{self, Resume, Stop, options};

use super::stub::Stub;
use crate::api::{PAGE_SIZE, PlatformError, Registers};
use crate::guest_process::registers::{index, is_user_base, sanitised};
use crate::guest_process::{FORK_FLAGS, THREAD_FLAGS};

/// See the module. Dropped without [`park`](Self::park), it stays stopped until the tracing thread ends.
pub(super) struct Tracee {
    stub: Stub,
    pid: i32,
    tid: i32,
    /// What the thread holds. The general part only while `general_known`; segment parts always.
    held: Registers,
    general_known: bool,
    /// Only the tracing thread may make requests.
    not_send: PhantomData<*mut ()>,
}

/// One of the mappings of [`Tracee::map`]: page multiples, and `PROT_*`.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) addr: u64,
    pub(super) len: u64,
    pub(super) prot: u64,
    pub(super) offset: u64,
}

/// The most mappings of one [`Tracee::map`].
pub(super) const MAX_PIECES: usize = 3;

fn failed(what: &'static str) -> impl Fn(io::Error) -> PlatformError {
    move |source| match source.raw_os_error() {
        // The thread does not exist any more, or is dying: a stopped thread can go only by SIGKILL.
        Some(libc::ESRCH | libc::ECHILD) => PlatformError::Gone,
        _ => PlatformError::Host { what, source },
    }
}

impl Tracee {
    /// Takes over a parked thread.
    pub(super) fn seize(stub: Stub, pid: i32, tid: i32) -> Result<Tracee, PlatformError> {
        ptrace::seize(tid, options::EXIT_KILL | options::SYSCALL_GOOD)
            .map_err(failed("trace a guest thread"))?;
        ptrace::interrupt(tid).map_err(failed("stop a guest thread"))?;
        if ptrace::wait(tid).map_err(failed("wait for a guest thread"))? == Stop::Gone {
            return Err(PlatformError::Gone);
        }
        let mut held = Registers::default();
        ptrace::registers(tid, held.as_words_mut()).map_err(failed("read guest registers"))?;
        Ok(Tracee { stub, pid, tid, held, general_known: false, not_send: PhantomData })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) fn tid(&self) -> i32 {
        self.tid
    }

    /// Gives the thread these registers.
    pub(super) fn load(&mut self, regs: &Registers) -> Result<(), PlatformError> {
        let want = sanitised(regs);
        if self.general_known && want == self.held {
            return Ok(());
        }
        let (words, held) = (want.as_words(), *self.held.as_words());
        ptrace::set_registers(self.tid, &words[..index::GENERAL]).map_err(failed("set guest registers"))?;
        if words[index::GENERAL..] != held[index::GENERAL..] {
            for (i, &word) in words.iter().enumerate().skip(index::GENERAL) {
                // A guest can set a base by itself that the host does not take from us: such a one is left as it is.
                let is_base = i < index::GENERAL + 2;
                if word != held[i] && (!is_base || is_user_base(word)) {
                    ptrace::set_register(self.tid, i, word).map_err(failed("set guest segments"))?;
                    self.held.as_words_mut()[i] = word;
                }
            }
        }
        self.held.as_words_mut()[..index::GENERAL].copy_from_slice(&words[..index::GENERAL]);
        self.general_known = true;
        Ok(())
    }

    /// Reads the registers after a stop.
    pub(super) fn fetch(&mut self, regs: &mut Registers) -> Result<(), PlatformError> {
        ptrace::registers(self.tid, self.held.as_words_mut()).map_err(failed("read guest registers"))?;
        *regs = self.held;
        self.general_known = true;
        Ok(())
    }

    /// Lets guest code run.
    pub(super) fn resume_guest(&self) -> Result<(), PlatformError> {
        ptrace::resume(self.tid, Resume::SystemCallEmulation).map_err(failed("resume a guest thread"))
    }

    /// Waits until the thread stops.
    pub(super) fn wait(&self) -> Result<Stop, PlatformError> {
        match ptrace::wait(self.tid).map_err(failed("wait for a guest thread"))? {
            Stop::Gone => Err(PlatformError::Gone),
            stop => Ok(stop),
        }
    }

    /// What the thread stopped with.
    pub(super) fn signal_info(&self) -> Result<ptrace::SignalInfo, PlatformError> {
        ptrace::signal_info(self.tid).map_err(failed("read a guest signal"))
    }

    /// Reads the XSAVE area.
    pub(super) fn extended_state(&self, area: &mut [u8]) -> Result<usize, PlatformError> {
        ptrace::extended_state(self.tid, area).map_err(failed("read guest vector registers"))
    }

    /// Sets the XSAVE area.
    pub(super) fn set_extended_state(&self, area: &[u8]) -> Result<(), PlatformError> {
        ptrace::set_extended_state(self.tid, area).map_err(failed("set guest vector registers"))
    }

    /// Makes the thread make a host call of its own.
    pub(super) fn call(
        &mut self,
        number: libc::c_long,
        args: [u64; 6],
    ) -> Result<io::Result<u64>, PlatformError> {
        let call = self.call_registers(self.stub.call(), number, args);
        self.run_stub(&call)
    }

    /// Makes up to three mappings of `fd` with the same flags.
    pub(super) fn map(
        &mut self,
        fd: i32,
        flags: u64,
        pieces: &[Piece],
    ) -> Result<io::Result<u64>, PlatformError> {
        let Some(first) = pieces.first() else { return Ok(Ok(0)) };
        let args = [first.addr, first.len, first.prot, flags, fd as u64, first.offset];
        let mut call = self.call_registers(self.stub.maps(), libc::SYS_mmap, args);
        if let Some(second) = pieces.get(1) {
            (call.rbx, call.rbp, call.r12) = (second.addr | second.prot, second.len, second.offset);
        }
        if let Some(third) = pieces.get(2) {
            (call.r13, call.r14, call.r15) = (third.addr | third.prot, third.len, third.offset);
        }
        self.run_stub(&call)
    }

    fn call_registers(&self, entry: u64, number: libc::c_long, args: [u64; 6]) -> Registers {
        let [rdi, rsi, rdx, r10, r8, r9] = args;
        Registers { rax: number as u64, rip: entry, rdi, rsi, rdx, r10, r8, r9, ..self.blank() }
    }

    /// Runs code of the stub until it reports; its rax.
    fn run_stub(&mut self, call: &Registers) -> Result<io::Result<u64>, PlatformError> {
        self.general_known = false;
        let words = call.as_words();
        ptrace::set_registers(self.tid, &words[..index::GENERAL]).map_err(failed("set stub registers"))?;
        loop {
            ptrace::resume(self.tid, Resume::Continue).map_err(failed("resume a stub"))?;
            match self.wait()? {
                Stop::Signal(libc::SIGTRAP) => {
                    let mut after = Registers::default();
                    ptrace::registers(self.tid, after.as_words_mut())
                        .map_err(failed("read stub registers"))?;
                    // int3 is behind a system call of the entry; anything else is a signal that somebody sent.
                    if after.rip <= call.rip + 2 || after.rip >= self.stub.base + PAGE_SIZE {
                        continue;
                    }
                    let value = after.rax as i64;
                    return Ok(match value {
                        -4095..0 => Err(io::Error::from_raw_os_error(-value as i32)),
                        _ => Ok(after.rax),
                    });
                }
                Stop::Signal(libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGSYS) => {
                    return Err(PlatformError::Tampered("the stub faulted"));
                }
                // Late interrupts.
                _ => {}
            }
        }
    }

    /// General registers for code of the stub; segments as they are.
    fn blank(&self) -> Registers {
        sanitised(&Registers {
            fs_base: self.held.fs_base,
            gs_base: self.held.gs_base,
            ds: self.held.ds,
            es: self.held.es,
            fs: self.held.fs,
            gs: self.held.gs,
            ..Registers::default()
        })
    }

    /// Makes a process with the same mappings; its pid. Its one thread is parked.
    pub(super) fn fork(&mut self, sentry: i32) -> Result<io::Result<i32>, PlatformError> {
        let call = self.call_registers(self.stub.fork(), libc::SYS_clone, [FORK_FLAGS, 0, 0, 0, 0, 0]);
        let made = self.run_stub(&Registers { r12: sentry as u64, ..call })?;
        Ok(made.map(|pid| pid as i32))
    }

    /// Makes a thread of the same process; its tid. It is parked.
    pub(super) fn spawn_thread(&mut self) -> Result<io::Result<i32>, PlatformError> {
        let call = self.call_registers(self.stub.thread(), libc::SYS_clone, [THREAD_FLAGS, 0, 0, 0, 0, 0]);
        let made = self.run_stub(&call)?;
        Ok(made.map(|tid| tid as i32))
    }

    /// Leaves the thread waiting for another tracer.
    pub(super) fn park(self) -> Result<(), PlatformError> {
        let park = Registers { rip: self.stub.park(), ..self.blank() };
        let words = park.as_words();
        ptrace::set_registers(self.tid, &words[..index::GENERAL]).map_err(failed("set stub registers"))?;
        ptrace::detach(self.tid).map_err(failed("release a guest thread"))
    }

    /// Waits for the end of a thread whose process was killed.
    pub(super) fn reap(self) {
        while let Ok(_stop) = self.wait() {}
    }

    /// Ends the thread (not the leader of its process) and reaps it.
    pub(super) fn exit(mut self) -> Result<(), PlatformError> {
        match self.call(libc::SYS_exit, [0; 6]) {
            Err(PlatformError::Gone) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(PlatformError::Tampered("exit came back")),
        }
    }
}
