//! Walks all system call numbers with hostile arguments: wild pointers, absurd lengths, nonsense.
//!
//! `hostile ROUNDS SEED` makes ROUNDS calls of each number with arguments chosen by SEED, in a child a number, and prints
//! `survived` at the end. Only for a sandbox: natively, as root, it would do harm.

use std::time::{Duration, Instant};

use libc::{c_int, c_long, c_void};

/// One more than the highest number that is tried: some have no call.
const NUMBERS: c_long = 480;
/// Longest time for one number.
const LIMIT: Duration = Duration::from_secs(2);
/// An ordinary user, for calls that could take the whole sandbox down.
const NOBODY: u32 = 65534;
/// Bytes that pointers may point to.
const GOOD: usize = 65536;
const PAGE: usize = 4096;

/// Calls that end or block the child, or multiply it, by what they are for.
const LEFT_OUT: &[c_long] = &[
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_kill,
];

/// Calls that reach other processes: made by an ordinary user, who can't reach the parent.
const FAR_REACHING: &[c_long] = &[
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
    libc::SYS_ioctl,
    libc::SYS_fcntl,
    libc::SYS_prlimit64,
    libc::SYS_process_vm_writev,
    libc::SYS_setpriority,
    libc::SYS_ptrace,
];

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn map(len: usize, prot: c_int) -> usize {
    // SAFETY: a new mapping, wherever the kernel likes.
    unsafe {
        libc::mmap(std::ptr::null_mut(), len, prot, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) as usize
    }
}

/// Arguments that are worth trying.
struct Values {
    good: usize,
    values: Vec<u64>,
}

impl Values {
    fn new() -> Values {
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        let (good, read_only, edge) = (map(GOOD, rw), map(PAGE, libc::PROT_READ), map(2 * PAGE, rw));
        // SAFETY: the second half of a mapping that nobody uses.
        unsafe { libc::munmap((edge + PAGE) as *mut c_void, PAGE) };
        let small = [0, 1, 2, 3, 4, 7, 8, 16, 100, 4095, 4096, 4097, 65536];
        let limits =
            [i32::MAX as u64, 1 << 31, u64::from(u32::MAX), 1 << 32, 1 << 62, 1 << 63, i64::MAX as u64];
        let negative = [-1i64, -2, -100, -4096, i64::from(i32::MIN)].map(|v| v as u64);
        let addresses = [1 << 47, (1 << 47) - 4096, 0xffff_ffff_8000_0000, 0xffff_ffff_ff60_0000];
        let own = [good, good + 1, good + 4095, read_only, edge + 4090, edge + PAGE].map(|v| v as u64);
        let values = [&small[..], &limits, &negative, &addresses, &own].concat();
        Values { good, values }
    }

    fn pick(&self, random: &mut Random) -> u64 {
        match random.below(8) {
            0 => random.next(),
            1 => random.next() & 0xffff,
            _ => self.values[random.below(self.values.len())],
        }
    }

    /// Fills what good pointers point to with more of the same.
    fn fill(&self, random: &mut Random) {
        for at in (0..GOOD).step_by(8) {
            let value = match random.below(8) {
                0 | 1 => self.pick(random),
                2 => random.next(),
                _ => continue,
            };
            let word = (self.good + at) as *mut u64;
            // SAFETY: inside the mapping; a call may have taken it away, and then the child dies of it.
            unsafe { word.write_volatile(value) };
        }
    }
}

extern "C" fn interrupt(_: c_int) {}

/// What waits is interrupted after some milliseconds.
fn interrupt_waits() {
    // SAFETY: structures of integers; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = interrupt as extern "C" fn(c_int) as usize;
        libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut());
        let tick = libc::timeval { tv_sec: 0, tv_usec: 5000 };
        let timer = libc::itimerval { it_interval: tick, it_value: tick };
        libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &timer, 0);
    }
}

/// No terminal, no pipe to the harness: only /dev/null.
fn close_streams() {
    // SAFETY: numbers and a string.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for fd in 0..3 {
            libc::dup2(null, fd);
        }
    }
}

fn attack(number: c_long, rounds: u32, mut random: Random) -> ! {
    close_streams();
    if FAR_REACHING.contains(&number) {
        // SAFETY: numbers.
        unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) };
    }
    interrupt_waits();
    let values = Values::new();
    for _ in 0..rounds {
        values.fill(&mut random);
        let a: [u64; 6] = std::array::from_fn(|_| values.pick(&mut random));
        // SAFETY: none at all: whatever becomes of this process, it is a child made for that.
        unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    }
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(0) }
}

/// Waits for the child; kills it when it takes too long.
fn wait(pid: libc::pid_t) {
    let start = Instant::now();
    let mut status = 0;
    // SAFETY: a place for the status.
    while unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG | libc::__WALL) } == 0 {
        let waited = start.elapsed();
        if waited > LIMIT {
            // SAFETY: numbers.
            unsafe {
                libc::kill(-pid, libc::SIGKILL);
                libc::kill(pid, libc::SIGKILL);
            }
        }
        std::thread::sleep(if waited < LIMIT / 100 { Duration::from_micros(200) } else { LIMIT / 200 });
    }
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().ok());
    let (Some(Some(rounds)), Some(Some(seed))) = (args.next(), args.next()) else {
        eprintln!("usage: hostile ROUNDS SEED");
        std::process::exit(2);
    };
    for number in (0..NUMBERS).filter(|number| !LEFT_OUT.contains(number)) {
        let random = Random((seed << 16 | number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: numbers.
                unsafe { libc::setpgid(0, 0) };
                attack(number, rounds as u32, random)
            }
            -1 => {
                eprintln!("call {number}: fork failed: {}", std::io::Error::last_os_error());
                std::process::exit(1);
            }
            pid => wait(pid),
        }
    }
    println!("survived");
}
