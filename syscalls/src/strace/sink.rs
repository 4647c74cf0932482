//! Where lines go, one writer at a time.
//!
//! Lock level: `Leaf`.

use std::io::Write;

use abi::SigInfo;
use sync::Mutex;
use sync::levels::Leaf;

use super::line::Entry;
use crate::show::put;
use crate::show::signal::{show_siginfo, signal_number};

/// Writes the lines of all threads.
pub struct Tracer {
    sink: Mutex<Sink, Leaf>,
}

struct Sink {
    out: Box<dyn Write + Send>,
    /// The thread whose line has been begun and is still the last one.
    open: Option<i32>,
}

impl Tracer {
    /// Writes to `out`. Errors of writing are passed over: a full disk must not change what the guest sees.
    pub fn new(out: Box<dyn Write + Send>) -> Tracer {
        Tracer { sink: Mutex::new(Sink { out, open: None }) }
    }

    /// A call begins.
    pub fn enter(&self, tid: i32, entry: &Entry) {
        let mut sink = self.sink.lock();
        let mut text = sink.interrupt();
        prefix(&mut text, tid);
        text.push_str(&entry.head);
        sink.write(&text);
        sink.open = Some(tid);
    }

    /// A call named `name` ends; `rest` is what was not written yet.
    pub fn leave(&self, tid: i32, name: &str, rest: &str) {
        let mut sink = self.sink.lock();
        let mut text = String::new();
        if sink.open != Some(tid) {
            text = sink.interrupt();
            prefix(&mut text, tid);
            put(&mut text, format_args!("<... {name} resumed>"));
        }
        put(&mut text, format_args!("{rest}\n"));
        sink.open = None;
        sink.write(&text);
    }

    /// A signal is about to be delivered.
    pub fn signal(&self, tid: i32, info: &SigInfo) {
        let mut text = String::from("--- ");
        signal_number(&mut text, info.si_signo as u32);
        text.push(' ');
        show_siginfo(&mut text, info);
        text.push_str(" ---");
        self.event(tid, &text);
    }

    /// A thread is gone, with the status that wait4(2) gives.
    pub fn exit(&self, tid: i32, status: i32) {
        let signal = status & 0x7f;
        let mut text = String::from("+++ ");
        if signal == 0 {
            put(&mut text, format_args!("exited with {}", status >> 8 & 0xff));
        } else {
            text.push_str("killed by ");
            signal_number(&mut text, signal as u32);
            if status & 0x80 != 0 {
                text.push_str(" (core dumped)");
            }
        }
        text.push_str(" +++");
        self.event(tid, &text);
    }

    /// Anything else, on a line of its own.
    pub fn event(&self, tid: i32, event: &str) {
        let mut sink = self.sink.lock();
        let mut text = sink.interrupt();
        prefix(&mut text, tid);
        put(&mut text, format_args!("{event}\n"));
        sink.write(&text);
    }
}

fn prefix(text: &mut String, tid: i32) {
    put(text, format_args!("[pid {tid:>3}] "));
}

impl Sink {
    /// What ends the line that has been begun, if there is one.
    fn interrupt(&mut self) -> String {
        if self.open.take().is_some() { String::from(" <unfinished ...>\n") } else { String::new() }
    }

    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::Tracer;
    use crate::show::fake::FakeMemory;
    use crate::strace::Entry;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_another_thread_breaks_is_resumed() {
        let out = Shared::default();
        let tracer = Tracer::new(Box::new(out.clone()));
        let entry = Entry::new(None, 0x200, [0; 6], &FakeMemory::default());
        tracer.enter(1, &entry);
        tracer.leave(1, "x", ") = 0");
        tracer.enter(12, &entry);
        tracer.exit(3, 9);
        tracer.leave(12, "x", ") = 0");
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let call = "syscall_0x200(0x0, 0x0, 0x0, 0x0, 0x0, 0x0";
        let expected = format!(
            "[pid   1] {call}) = 0\n[pid  12] {call} <unfinished ...>\n[pid   3] +++ killed by SIGKILL +++\n\
             [pid  12] <... x resumed>) = 0\n"
        );
        assert_eq!(text, expected);
    }
}
