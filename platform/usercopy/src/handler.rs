//! The process-wide handler for SIGSEGV and SIGBUS.

use std::io;
use std::sync::OnceLock;

use libc::{c_int, c_void, siginfo_t};

/// Sets the handler, once; later calls return what the first one did. Threads made by Rust's standard library have
/// an alternate stack, on which the handler runs, so that a stack overflow is reported too.
pub fn install() -> io::Result<()> {
    static DONE: OnceLock<Result<(), i32>> = OnceLock::new();
    DONE.get_or_init(|| set_handler().map_err(|e| e.raw_os_error().unwrap_or(libc::EINVAL)))
        .map_err(io::Error::from_raw_os_error)
}

fn set_handler() -> io::Result<()> {
    // SAFETY: an all-zero sigaction is a valid value of that C structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fault as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: `on_fault` has the signature that SA_SIGINFO asks for and is async-signal-safe.
        if unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid ucontext to an SA_SIGINFO handler, ours alone while the handler runs.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let rip = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
    let begin = &raw const super::runsc_usercopy_begin as u64;
    let end = &raw const super::runsc_usercopy_end as u64;
    // SAFETY: as for `context`.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as u64) };
    if code > 0 && (begin..end).contains(&(*rip as u64)) {
        *rip = &raw const super::runsc_usercopy_fixup as i64;
        return;
    }
    report(signal, code, address, *rip as u64, context.uc_mcontext.gregs[libc::REG_RSP as usize] as u64);
    // SAFETY: plain calls; both are async-signal-safe. The faulting instruction runs again under the default action;
    // a signal that somebody sent does not come again by itself.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        if code <= 0 {
            libc::raise(signal);
        }
    }
}

/// One line on stderr, without allocation.
fn report(signal: c_int, code: c_int, address: u64, rip: u64, rsp: u64) {
    let mut line = Line { bytes: [0; 192], len: 0 };
    line.text(match signal {
        libc::SIGBUS => b"fatal: SIGBUS",
        _ => b"fatal: SIGSEGV",
    });
    if code > 0 && address.wrapping_sub(rsp.wrapping_sub(65536)) < 2 * 65536 {
        line.text(b" (stack overflow?)");
    }
    for (name, value) in
        [(&b" code "[..], code as u64), (b" address ", address), (b" rip ", rip), (b" rsp ", rsp)]
    {
        line.text(name);
        line.hex(value);
    }
    line.text(b"\n");
    // SAFETY: the buffer is valid for its length. A failing write can't be reported any other way.
    let _ = unsafe { libc::write(2, line.bytes.as_ptr().cast(), line.len) };
}

struct Line {
    bytes: [u8; 192],
    len: usize,
}

impl Line {
    fn text(&mut self, text: &[u8]) {
        for &byte in text {
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = byte;
                self.len += 1;
            }
        }
    }

    fn hex(&mut self, value: u64) {
        self.text(b"0x");
        let digits = (16 - value.leading_zeros() as usize / 4).max(1);
        for i in (0..digits).rev() {
            self.text(&[b"0123456789abcdef"[(value >> (4 * i)) as usize & 15]]);
        }
    }
}
