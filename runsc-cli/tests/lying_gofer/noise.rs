//! Answers with random bytes changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gofer_protocol::Reply;

use crate::nonsense::tree;
use crate::stand_in::{Answer, Lie, Sandbox, possible};

/// Changed answers, by default; `LYING_GOFER_ROUNDS` says otherwise.
const ROUNDS: u64 = 3000;

/// The most that a Sentry may have held in memory at a time, in KiB. A small sandbox has a tenth of that.
const MEMORY: u64 = 512 << 10;

/// One round of the guest: a bit of everything, whatever comes of it.
const DEEDS: &str = "
def attempt(deed):
    try: deed()
    except (OSError, ValueError, RecursionError): pass
def touch(path):
    with open(path, 'a+') as f: f.write('x'); f.flush(); os.fsync(f.fileno()); f.seek(0); f.read(100)
def show(path):
    fd = os.open(path, os.O_RDWR)
    try: attempt(lambda: os.pread(fd, 100, 0)); attempt(lambda: os.ftruncate(fd, 5000)); m = mmap.mmap(fd, 4096); os.write(w, m[:1]); os.read(r, 1)
    finally: os.close(fd)
r, w = os.pipe()
def round(n):
    attempt(lambda: os.listdir('/v')); attempt(lambda: os.listdir('/v/d'))
    attempt(lambda: [e.stat() for e in os.scandir('/v/d')])
    for p in ['/v/f', '/v/d/aa', '/v/l', '/v/d/e', '/v/none', f'/v/d/e/{n}', '/v/d/e/x/y/z']:
        attempt(lambda: os.stat(p)); attempt(lambda: os.lstat(p)); attempt(lambda: os.readlink(p))
        attempt(lambda: os.listxattr(p)); attempt(lambda: os.setxattr(p, 'user.a', b'1')); attempt(lambda: os.getxattr(p, 'user.a'))
    for p in ['/v/f', '/v/d/bb', f'/v/d/e/{n}']: attempt(lambda: touch(p)); attempt(lambda: show(p))
    attempt(lambda: os.mkdir(f'/v/m{n}')); attempt(lambda: os.rename(f'/v/m{n}', '/v/d/m')); attempt(lambda: os.rmdir('/v/d/m'))
    attempt(lambda: os.link('/v/f', f'/v/k{n}')); attempt(lambda: os.rename(f'/v/k{n}', '/v/k')); attempt(lambda: os.unlink('/v/k'))
    attempt(lambda: os.symlink('f', f'/v/s{n}')); attempt(lambda: os.unlink(f'/v/s{n}'))
    attempt(lambda: os.mkfifo('/v/fifo')); attempt(lambda: os.unlink('/v/fifo'))
    attempt(lambda: os.chmod('/v/f', 0o600 + n % 64)); attempt(lambda: os.utime('/v/f', (n, n))); attempt(lambda: os.truncate('/v/f', n))
    attempt(lambda: os.statvfs('/v')); attempt(lambda: [f for (_, _, f), _ in zip(os.walk('/v'), range(50))])
";

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Changes a few bytes to what may matter.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        // The id stays most of the time: another one ends the connection, whatever else is wrong.
        let first = if self.below(64) == 0 { 0 } else { 6 };
        let at = first + self.below(bytes.len().saturating_sub(first));
        let values = [0, 1, 2, 4, 0x7f, 0xff, self.next() as u8];
        let value = values[self.below(values.len())];
        match self.below(16) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), value),
            _ => {
                let len = [1, 2, 4, 8][self.below(4)];
                bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = value);
            }
        }
    }
}

/// Changes an answer, most of the time so that it is still a message.
fn distort(random: &mut Random, answer: &mut Answer) {
    let anything = random.below(40) == 0;
    for _ in 0..20 {
        let mut bytes = answer.bytes.clone();
        random.change(&mut bytes);
        if anything || Reply::decode(&bytes).1.is_ok() {
            answer.bytes = bytes;
            break;
        }
    }
    if random.below(100) == 0 {
        answer.fds.clear();
    }
}

#[test]
fn changed_at_random() {
    if !possible("changed_at_random") {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let rounds = number("LYING_GOFER_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("LYING_GOFER_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 16 | 1);
    println!("LYING_GOFER_SEED={seed}");
    let changed = Arc::new(AtomicU64::new(0));
    let (mut sandboxes, mut lost) = (0, 0);
    while changed.load(Ordering::Relaxed) < rounds {
        let random = Mutex::new(Random(seed + sandboxes));
        let counter = Arc::clone(&changed);
        let lie: Lie = Arc::new(move |_, answer| {
            let mut random = random.lock().unwrap();
            if random.below(3) != 0 {
                distort(&mut random, answer);
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let folder = tree();
        let mode = ["shared", "exclusive"][sandboxes as usize % 2];
        let mut sandbox = Sandbox::start(folder.path(), mode, lie);
        sandbox.expect(&format!("exec({DEEDS:?})"), "None");
        let sentry = sandbox.sentry();
        sandbox.lie(true);
        let what = format!("sandbox {sandboxes} of seed {seed}, {mode}");
        for round in 0..10 {
            sandbox.order(&format!("round({round})"));
            let answer = sandbox.answer(crate::stand_in::PATIENCE);
            assert_eq!(answer.as_deref(), Some("None"), "{what}, round {round}");
        }
        sandbox.lie(false);
        let status = std::fs::read_to_string(format!("/proc/{sentry}/status")).expect("a Sentry");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(peak < MEMORY, "{what}: {peak} KiB");
        let (status, errors) = sandbox.end();
        assert_eq!(status, Some(0), "{what}: {errors}");
        // Either nobody has noticed, or one line says it.
        assert!(errors.lines().count() <= 1, "{what}: {errors}");
        lost += errors.lines().count();
        sandboxes += 1;
    }
    println!(
        "{} answers changed, {sandboxes} sandboxes, {lost} connections ended",
        changed.load(Ordering::Relaxed)
    );
}
