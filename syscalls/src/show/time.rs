//! Times and timers.

use abi::time::{
    Itimerspec, Itimerval, SIGEV_NOTIFY, SIGEV_THREAD_ID, SigEvent, Timespec, Timeval, Timex, Timezone, Tms,
    UTIME_NOW, UTIME_OMIT, Utimbuf,
};

use super::{Show, ShowCx, bits};

impl Show for Timespec {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{tv_sec={}, tv_nsec={}}}", self.tv_sec, self.tv_nsec));
    }
}

/// The two times of utimensat(2).
impl Show for [Timespec; 2] {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("[");
        for (i, time) in self.iter().enumerate() {
            if i > 0 {
                cx.text(", ");
            }
            match time.tv_nsec {
                UTIME_NOW => cx.text("UTIME_NOW"),
                UTIME_OMIT => cx.text("UTIME_OMIT"),
                _ => time.show(cx),
            }
        }
        cx.text("]");
    }
}

impl Show for Timeval {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{tv_sec={}, tv_usec={}}}", self.tv_sec, self.tv_usec));
    }
}

/// The two times of utimes(2).
impl Show for [Timeval; 2] {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("[");
        self[0].show(cx);
        cx.text(", ");
        self[1].show(cx);
        cx.text("]");
    }
}

impl Show for Itimerspec {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{it_interval=");
        self.it_interval.show(cx);
        cx.text(", it_value=");
        self.it_value.show(cx);
        cx.text("}");
    }
}

impl Show for Itimerval {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{it_interval=");
        self.it_interval.show(cx);
        cx.text(", it_value=");
        self.it_value.show(cx);
        cx.text("}");
    }
}

impl Show for Timezone {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{tz_minuteswest={}, tz_dsttime={}}}", self.tz_minuteswest, self.tz_dsttime));
    }
}

impl Show for Tms {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!(
            "{{tms_utime={}, tms_stime={}, tms_cutime={}, tms_cstime={}}}",
            self.tms_utime, self.tms_stime, self.tms_cutime, self.tms_cstime
        ));
    }
}

impl Show for Utimbuf {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{actime={}, modtime={}}}", self.actime, self.modtime));
    }
}

impl Show for Timex {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{modes={:#x}, offset={}, freq={}, ", self.modes, self.offset, self.freq));
        cx.write(format_args!("maxerror={}, esterror={}, ", self.maxerror, self.esterror));
        cx.write(format_args!("status={:#x}, constant={}, time=", self.status, self.constant));
        self.time.show(cx);
        cx.write(format_args!(", tick={}, ...}}", self.tick));
    }
}

impl Show for SigEvent {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{sigev_value={:#x}, sigev_signo=", self.sigev_value));
        super::signal::signal_number(&mut cx.out, self.sigev_signo as u32);
        cx.text(", sigev_notify=");
        bits::name(&mut cx.out, SIGEV_NOTIFY, self.sigev_notify);
        if self.sigev_notify == SIGEV_THREAD_ID {
            cx.write(format_args!(", sigev_notify_thread_id={}", self.sigev_notify_thread_id));
        }
        cx.text("}");
    }
}
