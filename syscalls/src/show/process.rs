//! Tasks, limits, schedules and what the system tells about itself.

use abi::capability::{CAPABILITY_VERSIONS, CapData, CapHeader};
use abi::clone::{CloneArgs, CloneFlags};
use abi::futex::{Futex2Flags, FutexWaitv, RobustListHead};
use abi::ipc::MqAttr;
use abi::resource::{RLIM_INFINITY, RLimit, RUsage};
use abi::sched::{SCHED_POLICIES, SchedAttr, SchedFlags, SchedParam};
use abi::sysinfo::SysInfo;
use abi::utsname::UtsName;

use super::{Show, ShowCx, bits, escape, put, signal};

impl Show for MqAttr {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{mq_flags={:#x}, mq_maxmsg={}, ", self.mq_flags, self.mq_maxmsg));
        cx.write(format_args!("mq_msgsize={}, mq_curmsgs={}}}", self.mq_msgsize, self.mq_curmsgs));
    }
}

impl Show for CloneArgs {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{flags=");
        bits::flags::<CloneFlags>(&mut cx.out, self.flags, "0");
        for (name, value) in
            [("pidfd", self.pidfd), ("child_tid", self.child_tid), ("parent_tid", self.parent_tid)]
        {
            if value != 0 {
                cx.write(format_args!(", {name}={value:#x}"));
            }
        }
        cx.text(", exit_signal=");
        signal::signal_number(&mut cx.out, self.exit_signal as u32);
        cx.text(", stack=");
        cx.address(self.stack);
        cx.write(format_args!(", stack_size={:#x}", self.stack_size));
        if self.flags & CloneFlags::SETTLS.bits() != 0 {
            cx.write(format_args!(", tls={:#x}", self.tls));
        }
        if self.set_tid != 0 || self.set_tid_size != 0 {
            cx.write(format_args!(", set_tid={:#x}, set_tid_size={}", self.set_tid, self.set_tid_size));
        }
        if self.flags & CloneFlags::INTO_CGROUP.bits() != 0 {
            cx.write(format_args!(", cgroup={}", self.cgroup));
        }
        cx.text("}");
    }
}

fn limit(out: &mut String, value: u64) {
    match value {
        RLIM_INFINITY => out.push_str("RLIM64_INFINITY"),
        _ if value > 1024 && value.is_multiple_of(1024) => put(out, format_args!("{}*1024", value / 1024)),
        _ => put(out, format_args!("{value}")),
    }
}

impl Show for RLimit {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{rlim_cur=");
        limit(&mut cx.out, self.rlim_cur);
        cx.text(", rlim_max=");
        limit(&mut cx.out, self.rlim_max);
        cx.text("}");
    }
}

impl Show for RUsage {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{ru_utime=");
        self.ru_utime.show(cx);
        cx.text(", ru_stime=");
        self.ru_stime.show(cx);
        cx.text(", ...}");
    }
}

impl Show for SchedParam {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("[{}]", self.sched_priority));
    }
}

impl Show for SchedAttr {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{size={}, sched_policy=", self.size));
        bits::name(&mut cx.out, SCHED_POLICIES, self.sched_policy);
        cx.text(", sched_flags=");
        bits::flags::<SchedFlags>(&mut cx.out, self.sched_flags, "0");
        cx.write(format_args!(", sched_nice={}, sched_priority={}", self.sched_nice, self.sched_priority));
        cx.write(format_args!(", sched_runtime={}", self.sched_runtime));
        cx.write(format_args!(
            ", sched_deadline={}, sched_period={}}}",
            self.sched_deadline, self.sched_period
        ));
    }
}

impl Show for CapHeader {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{version=");
        bits::name(&mut cx.out, CAPABILITY_VERSIONS, self.version);
        cx.write(format_args!(", pid={}}}", self.pid));
    }
}

impl Show for [CapData; 2] {
    fn show(&self, cx: &mut ShowCx<'_>) {
        let whole = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        cx.write(format_args!(
            "{{effective={:#x}, permitted={:#x}, inheritable={:#x}}}",
            whole(self[0].effective, self[1].effective),
            whole(self[0].permitted, self[1].permitted),
            whole(self[0].inheritable, self[1].inheritable)
        ));
    }
}

impl Show for FutexWaitv {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{val={:#x}, uaddr=", self.val));
        cx.address(self.uaddr);
        cx.text(", flags=");
        bits::flags::<Futex2Flags>(&mut cx.out, u64::from(self.flags), "0");
        cx.text("}");
    }
}

impl Show for RobustListHead {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{list=");
        cx.address(self.list);
        cx.write(format_args!(", futex_offset={}, list_op_pending=", self.futex_offset));
        cx.address(self.list_op_pending);
        cx.text("}");
    }
}

impl Show for UtsName {
    fn show(&self, cx: &mut ShowCx<'_>) {
        let text = |name: &[u8]| name.iter().position(|b| *b == 0).unwrap_or(name.len());
        cx.text("{sysname=");
        escape::quote(&mut cx.out, &self.sysname[..text(&self.sysname)]);
        cx.text(", nodename=");
        escape::quote(&mut cx.out, &self.nodename[..text(&self.nodename)]);
        cx.text(", ...}");
    }
}

impl Show for SysInfo {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{uptime={}, loads=[", self.uptime));
        cx.write(format_args!("{}, {}, {}], ", self.loads[0], self.loads[1], self.loads[2]));
        cx.write(format_args!("totalram={}, freeram={}, ", self.totalram, self.freeram));
        cx.write(format_args!("procs={}, mem_unit={}}}", self.procs, self.mem_unit));
    }
}

/// Writes the status of a child as wait4(2) gives it.
pub fn wait_status(out: &mut String, status: i32) {
    let signal = (status & 0x7f) as u32;
    if status == abi::wait::CONTINUED {
        out.push_str("[{WIFCONTINUED(s)}]");
    } else if signal == 0 {
        put(out, format_args!("[{{WIFEXITED(s) && WEXITSTATUS(s) == {}}}]", status >> 8 & 0xff));
    } else if signal == 0x7f {
        out.push_str("[{WIFSTOPPED(s) && WSTOPSIG(s) == ");
        signal::signal_number(out, (status >> 8 & 0x7f) as u32);
        if status >> 15 & 1 == 1 {
            out.push_str(" | 0x80");
        }
        out.push('}');
        if status >> 16 != 0 {
            out.push_str(" | ");
            match abi::ptrace::PTRACE_EVENTS.iter().find(|(event, _)| *event == (status >> 16) as u32) {
                Some((_, name)) => put(out, format_args!("{name} << 16")),
                None => put(out, format_args!("{:#x} << 16", status >> 16)),
            }
        }
        out.push(']');
    } else {
        out.push_str("[{WIFSIGNALED(s) && WTERMSIG(s) == ");
        signal::signal_number(out, signal);
        if status & 0x80 != 0 {
            out.push_str(" && WCOREDUMP(s)");
        }
        out.push_str("}]");
    }
}

#[cfg(test)]
mod tests {
    use abi::wait::{CONTINUED, exited, killed, stopped};

    #[test]
    fn wait_statuses() {
        let shown = |status| {
            let mut out = String::new();
            super::wait_status(&mut out, status);
            out
        };
        assert_eq!(shown(exited(3)), "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]");
        assert_eq!(shown(killed(9, false)), "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}]");
        assert_eq!(shown(killed(11, true)), "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}]");
        assert_eq!(shown(stopped(20)), "[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGTSTP}]");
        assert_eq!(
            shown(stopped(5) | 1 << 16),
            "[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGTRAP} | PTRACE_EVENT_FORK << 16]"
        );
        assert_eq!(shown(CONTINUED), "[{WIFCONTINUED(s)}]");
    }
}
