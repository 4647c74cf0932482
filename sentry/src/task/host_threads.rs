//! The host threads behind guest threads. One whose guest thread has ended waits a while for another to be run: making a
//! host thread and taking it apart costs the host a dozen calls, several of which change mappings.
//!
//! A host thread that waits has nothing of the guest thread that it ran: what that had was dropped at its exit.
//!
//! Lock level: `Leaf`.

use std::ffi::CString;
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

use host::thread::{affinity, gettid, set_affinity};
use sync::Mutex;
use sync::levels::Leaf;

/// Bytes of stack of the host thread behind a guest thread.
const HOST_STACK: usize = 512 << 10;
/// Most threads that wait.
const MAX_IDLE: usize = 8;
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// The life of a guest thread.
type Life = Box<dyn FnOnce() + Send>;

/// A thread that waits.
struct Idle {
    thread: Thread,
    tid: i32,
    next: Mutex<Option<(CString, Life)>, Leaf>,
}

/// All those that wait, of a kernel.
#[derive(Default)]
pub(crate) struct HostThreads {
    idle: Mutex<Vec<Arc<Idle>>, Leaf>,
}

impl HostThreads {
    /// Runs `life` on a thread that is called `name`, on the processors that the caller may use now.
    pub(super) fn run(
        self: &Arc<Self>,
        name: String,
        life: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let waiting = self.idle.lock().pop();
        let Some(idle) = waiting else {
            let this = Arc::clone(self);
            let thread = std::thread::Builder::new().name(name).stack_size(HOST_STACK);
            thread.spawn(move || {
                life();
                this.wait();
            })?;
            return Ok(());
        };
        // As a new thread would inherit it: a platform holds threads that hand over to each other on one processor. An error
        // leaves it where it may be.
        let _ = affinity(0).and_then(|own| set_affinity(idle.tid, &own));
        *idle.next.lock() = Some((CString::new(name).unwrap_or_default(), Box::new(life)));
        idle.thread.unpark();
        Ok(())
    }

    /// Runs what comes, until nothing has come for long.
    fn wait(self: Arc<Self>) {
        let own = Arc::new(Idle { thread: std::thread::current(), tid: gettid(), next: Mutex::default() });
        loop {
            {
                let mut idle = self.idle.lock();
                if idle.len() >= MAX_IDLE {
                    return;
                }
                idle.push(Arc::clone(&own));
            }
            let Some((name, life)) = self.next(&own) else { return };
            // Nothing depends on it.
            let _ = host::prctl::set_name(&name);
            life();
        }
    }

    fn next(&self, own: &Arc<Idle>) -> Option<(CString, Life)> {
        let until = Instant::now() + PATIENCE;
        loop {
            let next = own.next.lock().take();
            if next.is_some() {
                return next;
            }
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                std::thread::park_timeout(left);
                continue;
            }
            let mut idle = self.idle.lock();
            if let Some(at) = idle.iter().position(|other| Arc::ptr_eq(other, own)) {
                idle.remove(at);
                return None;
            }
            drop(idle);
            // Somebody has taken it, and is about to say what for.
            std::thread::park();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use super::{HostThreads, MAX_IDLE};

    fn until(done: impl Fn() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_thread_that_waits_runs_the_next() {
        let threads = Arc::new(HostThreads::default());
        let (said, told) = channel();
        for name in ["one", "two"] {
            let said = said.clone();
            let life = move || {
                let name = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
                said.send((host::thread::gettid(), name)).unwrap();
            };
            threads.run(name.to_owned(), life).unwrap();
            until(|| threads.idle.lock().len() == 1);
        }
        let (one, two) = (told.recv().unwrap(), told.recv().unwrap());
        assert_eq!((one.1.as_str(), two.1.as_str()), ("one\n", "two\n"));
        assert_eq!(one.0, two.0);
    }

    #[test]
    fn all_run_at_once_and_few_wait() {
        let threads = Arc::new(HostThreads::default());
        for _ in 0..3 {
            let barrier = Arc::new(std::sync::Barrier::new(3 * MAX_IDLE + 1));
            for _ in 0..3 * MAX_IDLE {
                let barrier = Arc::clone(&barrier);
                threads
                    .run("many".to_owned(), move || {
                        barrier.wait();
                    })
                    .unwrap();
            }
            barrier.wait();
            until(|| threads.idle.lock().len() == MAX_IDLE);
        }
    }
}
