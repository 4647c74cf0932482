//! The life of a guest thread: guest code, trap, answer, signals, and again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use abi::Errno;
use abi::signal::{SigInfo, Signal};
use platform::access::{MAX_INSTRUCTION, of_instruction};
use platform::{Access, PlatformError, Trap};

use super::current::LastFault;
use super::local::{set_current_task, take_waited};
use super::rseq::EnterCpu;
use super::usage::grow;
use super::{CurrentTask, work};
use crate::error::SysError;
use crate::mm::UserAddr;

/// Number of the x86 exception.
const PAGE_FAULT: u64 = 14;

/// Bits of its error code.
const WRITE_ACCESS: u64 = 2;
const USER_ACCESS: u64 = 4;
const FETCH: u64 = 16;

/// Why a run loop ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This thread exits with a wait status.
    Thread(i32),
}

impl CurrentTask {
    /// Runs until the thread exits, then takes it apart.
    pub(super) fn run(mut self) {
        set_current_task(Some(Arc::clone(self.task())));
        if self.thread_group().container.is_frozen() {
            // Made while the others were stopped.
            self.set_work(work::FREEZE);
        }
        self.task.cpu_time.start();
        let epoch = self.kernel().booted();
        let since = |now: Instant| now.saturating_duration_since(epoch).as_nanos() as u64;
        // When the kernel was last left or is about to be: reading the clock is a good part of what a short call takes.
        let mut now = Instant::now();
        let end = loop {
            if self.work() != 0 {
                self.do_work();
                now = Instant::now();
            }
            if let Some(end) = self.ended {
                break end;
            }
            match self.enter_cpu() {
                EnterCpu::Kept => {}
                EnterCpu::Taken => now = Instant::now(),
                EnterCpu::Not => continue,
            }
            self.publish_cpu();
            self.task.in_guest.enter(since(now));
            let trap = self.context.run(&self.space, &mut self.regs);
            let trapped = Instant::now();
            self.leave_cpu(since(trapped));
            self.task.in_guest.leave(since(trapped));
            self.waited = Duration::ZERO;
            let fault = matches!(trap, Ok(Trap::Fault { .. }));
            match trap {
                Ok(Trap::Syscall) => self.system_call(),
                Ok(Trap::Interrupted) => {
                    self.task.involuntary_switches.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Trap::Fault { address, access, signal, code }) => {
                    self.fault(address, access, signal, code)
                }
                Ok(Trap::Exception { signal, code, address }) => {
                    let signal = Signal::new(signal as u32).unwrap_or(Signal::SIGSEGV);
                    self.force_fault(signal, code, address);
                }
                Err(error) => self.platform_failed(&error),
            }
            now = Instant::now();
            let waited = self.waited + take_waited();
            let busy = now.saturating_duration_since(trapped).saturating_sub(waited).as_nanos() as u64;
            grow(&self.task.system_ns, busy);
            if fault {
                grow(&self.task.fault_ns, busy);
            }
        };
        let End::Thread(status) = end;
        set_current_task(None);
        self.exit(status);
    }

    fn do_work(&mut self) {
        if self.work() & work::FREEZE != 0 {
            self.stand_still();
        }
        if self.work() & work::NOTIFY != 0 {
            self.clear_work(work::NOTIFY);
            self.notified();
        }
        self.deliver_signals();
        if self.work() & work::ANSWERS != 0 {
            self.tell_answers();
        }
    }

    /// Tells the platform what it may answer by itself. Others change it and then say so, first in `work`, then to the
    /// platform: whichever of the two comes after the new answers, they do not stay when they are old.
    fn tell_answers(&mut self) {
        let table = self.kernel().table;
        while self.work() & work::ANSWERS != 0 {
            self.clear_work(work::ANSWERS);
            let answers = table.answers(self);
            self.context.set_answers(&answers);
        }
        self.lend_mask();
    }

    fn system_call(&mut self) {
        let number = self.regs.orig_rax;
        let args = [self.regs.rdi, self.regs.rsi, self.regs.rdx, self.regs.r10, self.regs.r8, self.regs.r9];
        let table = self.kernel().table;
        match table.dispatch(self, number, args) {
            Ok(value) => self.regs.rax = value,
            Err(SysError::Errno(errno)) => self.regs.rax = errno.to_return_value(),
            Err(SysError::Restart(restart)) => {
                // Looked at after signals: EINTR, or the call again.
                self.restart = Some(restart);
                self.regs.rax = Errno::EINTR.to_return_value();
                self.set_work(work::NOTIFY);
            }
        }
    }

    fn fault(&mut self, address: u64, access: Access, signal: i32, code: i32) {
        self.task.minor_faults.fetch_add(1, Ordering::Relaxed);
        let handled = self.mm().handle_fault(address, access, signal, code);
        if let Err(fault) = handled {
            let error = USER_ACCESS | self.error_code(access, address);
            self.last_fault = LastFault { trap: PAGE_FAULT, error, address };
            self.force_fault(fault.signal, fault.code, address);
        }
    }

    /// The bits of the CPU's error code that tell what was wanted. Where the platform can't, the instruction does.
    fn error_code(&self, access: Access, address: u64) -> u64 {
        let access = match access {
            Access::Unknown => {
                let mut code = [0; MAX_INSTRUCTION];
                // As much as there is.
                let len = (0..=code.len())
                    .rev()
                    .find(|&len| self.copy_in(UserAddr(self.regs.rip), &mut code[..len]).is_ok())
                    .unwrap_or(0);
                of_instruction(&code[..len], &self.regs, address)
            }
            known => known,
        };
        match access {
            Access::Write => WRITE_ACCESS,
            Access::Execute => FETCH,
            Access::Read | Access::Unknown => 0,
        }
    }

    fn platform_failed(&mut self, error: &PlatformError) {
        tracing::warn!(pid = self.tgid(), tid = self.tid(), %error, "guest thread lost");
        // As if the OOM killer had come: the process is killed, the sandbox lives.
        let info = SigInfo::kernel(Signal::SIGKILL);
        let _ = crate::signal::send_to_group(&Arc::clone(self.thread_group()), Signal::SIGKILL, info);
    }

    /// Before guest code runs again and something asked for a look: rseq, CPU time limits.
    fn notified(&mut self) {
        self.reconsider_cpu();
    }
}
