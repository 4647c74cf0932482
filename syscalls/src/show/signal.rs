//! Signals, sets, actions and where a signal comes from.

use abi::signal::{
    BUS_CODES, CLD_CODES, FPE_CODES, ILL_CODES, POLL_CODES, SEGV_CODES, SI_CODES, SI_TIMER, SI_TKILL,
    SI_USER, SIG_DFL, SIG_IGN, SYS_CODES, SaFlags, SigAction, SigInfo, SigSet, SigSetArg, SigStack, Signal,
    SsFlags, TRAP_CODES,
};

use super::{Show, ShowCx, bits, put};

/// Writes a signal by name, or the number where it is none.
pub fn signal_number(out: &mut String, number: u32) {
    match Signal::new(number) {
        Some(signal) => put(out, format_args!("{signal}")),
        None => put(out, format_args!("{}", number as i32)),
    }
}

impl Show for SigSet {
    fn show(&self, cx: &mut ShowCx<'_>) {
        // More than half: what is not in it is shorter.
        let (signals, inverted) =
            if self.0.count_ones() > 32 { (self.complement(), true) } else { (*self, false) };
        cx.text(if inverted { "~[" } else { "[" });
        for (i, signal) in signals.iter().enumerate() {
            if i > 0 {
                cx.text(" ");
            }
            match signal.name().and_then(|name| name.strip_prefix("SIG")) {
                Some(name) => cx.text(name),
                None => cx.write(format_args!("RT_{}", signal.number() - abi::signal::SIGRTMIN)),
            }
        }
        cx.text("]");
    }
}

impl Show for SigAction {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{sa_handler=");
        match self.sa_handler {
            SIG_DFL => cx.text("SIG_DFL"),
            SIG_IGN => cx.text("SIG_IGN"),
            handler => cx.address(handler),
        }
        cx.text(", sa_mask=");
        self.sa_mask.show(cx);
        cx.text(", sa_flags=");
        bits::flags::<SaFlags>(&mut cx.out, self.sa_flags, "0");
        if self.sa_flags & SaFlags::RESTORER.bits() != 0 {
            cx.text(", sa_restorer=");
            cx.address(self.sa_restorer);
        }
        cx.text("}");
    }
}

impl Show for SigStack {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{ss_sp=");
        cx.address(self.ss_sp);
        cx.text(", ss_flags=");
        bits::flags::<SsFlags>(&mut cx.out, u64::from(self.ss_flags), "0");
        cx.write(format_args!(", ss_size={}}}", self.ss_size));
    }
}

impl Show for SigSetArg {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{sigmask=");
        match cx.read_obj::<SigSet>(self.ss) {
            Some(set) => set.show(cx),
            None => cx.address(self.ss),
        }
        cx.write(format_args!(", sigsetsize={}}}", self.ss_len));
    }
}

impl Show for SigInfo {
    fn show(&self, cx: &mut ShowCx<'_>) {
        show_siginfo(&mut cx.out, self);
    }
}

/// Writes a siginfo: `{si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=12, …}`.
pub fn show_siginfo(out: &mut String, info: &SigInfo) {
    out.push_str("{si_signo=");
    signal_number(out, info.si_signo as u32);
    out.push_str(", si_code=");
    let signal = Signal::new(info.si_signo as u32);
    let from_kernel = match signal {
        _ if info.si_code <= 0 || info.si_code == abi::signal::SI_KERNEL => None,
        Some(Signal::SIGCHLD) => Some(CLD_CODES),
        Some(Signal::SIGSEGV) => Some(SEGV_CODES),
        Some(Signal::SIGBUS) => Some(BUS_CODES),
        Some(Signal::SIGILL) => Some(ILL_CODES),
        Some(Signal::SIGFPE) => Some(FPE_CODES),
        Some(Signal::SIGTRAP) => Some(TRAP_CODES),
        Some(Signal::SIGSYS) => Some(SYS_CODES),
        Some(Signal::SIGIO) => Some(POLL_CODES),
        _ => None,
    };
    match from_kernel.unwrap_or(SI_CODES).iter().find(|(code, _)| *code == info.si_code) {
        Some((_, name)) => out.push_str(name),
        None => put(out, format_args!("{}", info.si_code)),
    }
    if info.si_errno != 0 {
        put(out, format_args!(", si_errno={}", info.si_errno));
    }
    let sender = |out: &mut String| put(out, format_args!(", si_pid={}, si_uid={}", info.pid(), info.uid()));
    match (from_kernel.and(signal), info.si_code) {
        (Some(Signal::SIGCHLD), code) => {
            sender(out);
            out.push_str(", si_status=");
            match code {
                abi::signal::CLD_EXITED => put(out, format_args!("{}", info.status())),
                _ => signal_number(out, info.status() as u32),
            }
            put(out, format_args!(", si_utime={}, si_stime={}", info.utime(), info.stime()));
        }
        (Some(Signal::SIGSYS), _) => {
            let name = crate::dispatch::row(info.syscall() as u64).map_or("?", |row| row.name);
            put(out, format_args!(", si_call_addr={:#x}, si_syscall=__NR_{name}", info.call_addr()));
        }
        (Some(Signal::SIGIO), _) => put(out, format_args!(", si_band={}, si_fd={}", info.band(), info.fd())),
        (Some(_), _) if info.addr() == 0 => out.push_str(", si_addr=NULL"),
        (Some(_), _) => put(out, format_args!(", si_addr={:#x}", info.addr())),
        (None, SI_USER | SI_TKILL) => sender(out),
        (None, SI_TIMER) => {
            put(out, format_args!(", si_timerid={:#x}, si_overrun={}", info.timer_id(), info.overrun()));
            put(out, format_args!(", si_value={:#x}", info.value()));
        }
        (None, code) if code < 0 => {
            sender(out);
            put(out, format_args!(", si_value={:#x}", info.value()));
        }
        (None, _) => {}
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::show_siginfo;
    use crate::show::fake::FakeMemory;
    use crate::show::{Show, ShowCx};
    use abi::signal::{CLD_EXITED, CLD_KILLED, SEGV_MAPERR, SI_USER, SigInfo, SigSet, Signal};

    fn shown(info: &SigInfo) -> String {
        let mut out = String::new();
        show_siginfo(&mut out, info);
        out
    }

    #[test]
    fn siginfo_by_its_layout() {
        assert_eq!(
            shown(&SigInfo::child(CLD_EXITED, 12, 1000, 3, 1, 2)),
            "{si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=12, si_uid=1000, si_status=3, si_utime=1, si_stime=2}"
        );
        assert_eq!(
            shown(&SigInfo::child(CLD_KILLED, 12, 0, 9, 0, 0)),
            "{si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=12, si_uid=0, si_status=SIGKILL, si_utime=0, si_stime=0}"
        );
        assert_eq!(
            shown(&SigInfo::fault(Signal::SIGSEGV, SEGV_MAPERR, 0)),
            "{si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL}"
        );
        assert_eq!(
            shown(&SigInfo::kill(Signal::SIGUSR1, SI_USER, 7, 0)),
            "{si_signo=SIGUSR1, si_code=SI_USER, si_pid=7, si_uid=0}"
        );
        assert_eq!(shown(&SigInfo::kernel(Signal::SIGINT)), "{si_signo=SIGINT, si_code=SI_KERNEL}");
        assert_eq!(
            shown(&SigInfo::sys(5, 0x401000, 2, 0xc000003e)),
            "{si_signo=SIGSYS, si_code=SYS_SECCOMP, si_errno=5, si_call_addr=0x401000, si_syscall=__NR_open}"
        );
    }

    #[test]
    fn sets_are_written_the_shorter_way() {
        let set = |set: SigSet| {
            let memory = FakeMemory::default();
            let mut cx = ShowCx::new([0; 6], &memory);
            set.show(&mut cx);
            cx.out
        };
        assert_eq!(set(SigSet::EMPTY), "[]");
        assert_eq!(set(SigSet::ALL), "~[]");
        assert_eq!(set(SigSet::of(&[Signal::SIGINT, Signal::SIGCHLD])), "[INT CHLD]");
        assert_eq!(set(SigSet::UNBLOCKABLE.complement()), "~[KILL STOP]");
        assert_eq!(set(SigSet(1 << 33)), "[RT_2]");
    }
}
