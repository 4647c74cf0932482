//! Descriptors that are waited for.

use abi::poll::{EpollEvent, EpollEvents, PollEvents, PollFd};
use abi::signal::SignalfdSiginfo;

use super::{Show, ShowCx, bits};

/// Writes the array of poll(2) as it is asked.
pub fn poll_fds(cx: &mut ShowCx<'_>, addr: u64, count: u64) {
    cx.array::<PollFd>(addr, count, |cx, poll| {
        cx.write(format_args!("{{fd={}, events=", poll.fd));
        bits::flags::<PollEvents>(&mut cx.out, u64::from(poll.events), "0");
        cx.text("}");
    });
}

/// Writes those of the array of poll(2) that have something to tell.
pub fn polled_fds(cx: &mut ShowCx<'_>, addr: u64, count: u64) {
    let mut separator = "";
    cx.text("[");
    // The array may be as long as the limit of open files: what is shown is bounded, and so is what is looked at.
    for i in 0..count.min(4096) {
        let Some(poll) = cx.read_obj::<PollFd>(addr.wrapping_add(i * size_of::<PollFd>() as u64)) else {
            break;
        };
        if poll.revents != 0 {
            cx.write(format_args!("{separator}{{fd={}, revents=", poll.fd));
            bits::flags::<PollEvents>(&mut cx.out, u64::from(poll.revents), "0");
            cx.text("}");
            separator = ", ";
        }
    }
    cx.text("]");
}

/// Writes a descriptor set of select(2).
pub fn fd_set(cx: &mut ShowCx<'_>, addr: u64, count: u64) {
    if addr == 0 {
        return cx.text("NULL");
    }
    let mut words = [0u8; 128];
    let len = (count.min(1024).div_ceil(64) * 8) as usize;
    if cx.memory.read(addr, &mut words[..len]) < len {
        return cx.address(addr);
    }
    cx.text("[");
    let mut separator = "";
    for fd in 0..count.min(1024) as usize {
        if words[fd / 8] >> (fd % 8) & 1 == 1 {
            cx.write(format_args!("{separator}{fd}"));
            separator = " ";
        }
    }
    cx.text("]");
}

impl Show for EpollEvent {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{events=");
        bits::flags::<EpollEvents>(&mut cx.out, u64::from(self.events), "0");
        let data = self.data;
        cx.write(format_args!(", data={data:#x}}}"));
    }
}

impl Show for SignalfdSiginfo {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{ssi_signo=");
        super::signal::signal_number(&mut cx.out, self.ssi_signo);
        cx.write(format_args!(", ssi_code={}, ssi_pid={}, ...}}", self.ssi_code, self.ssi_pid));
    }
}
