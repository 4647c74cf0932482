//! From one process or thread to another and back.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::timing::per_call;

/// A byte to another process and back.
fn round_trip(there: [i32; 2], back: [i32; 2]) -> f64 {
    let mut byte = [0u8; 1];
    // SAFETY: descriptors are those that the caller has made; the child only uses read, write and _exit.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            libc::close(there[1]);
            while libc::read(there[0], byte.as_mut_ptr().cast(), 1) == 1 {
                libc::write(back[1], byte.as_ptr().cast(), 1);
            }
            libc::_exit(0);
        }
        let ns = per_call(|| {
            assert_eq!(libc::write(there[1], byte.as_ptr().cast(), 1), 1);
            assert_eq!(libc::read(back[0], byte.as_mut_ptr().cast(), 1), 1);
        });
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, null_mut(), 0);
        ns
    }
}

pub fn pipe_round_trip() -> f64 {
    let (mut there, mut back) = ([0; 2], [0; 2]);
    // SAFETY: the descriptors are filled.
    unsafe {
        assert_eq!(libc::pipe(there.as_mut_ptr()), 0);
        assert_eq!(libc::pipe(back.as_mut_ptr()), 0);
    }
    round_trip(there, back)
}

pub fn unix_round_trip() -> f64 {
    let mut pair = [0; 2];
    // SAFETY: the descriptors are filled.
    unsafe {
        assert_eq!(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()), 0);
    }
    round_trip([pair[1], pair[0]], [pair[0], pair[1]])
}

fn futex(word: &AtomicU32, operation: i32, value: u32) {
    // SAFETY: the word lives as long as the call.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), operation | libc::FUTEX_PRIVATE_FLAG, value, 0usize)
    };
}

/// Hands a word to the other side, which waits for it.
fn hand_over(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Release);
    futex(word, libc::FUTEX_WAKE, 1);
}

fn wait_for(word: &AtomicU32, value: u32) {
    loop {
        let now = word.load(Ordering::Acquire);
        if now == value {
            return;
        }
        futex(word, libc::FUTEX_WAIT, now);
    }
}

/// A thread wakes another, which wakes the first.
pub fn futex_round_trip() -> f64 {
    static THERE: AtomicU32 = AtomicU32::new(0);
    static BACK: AtomicU32 = AtomicU32::new(0);
    static DONE: AtomicBool = AtomicBool::new(false);
    let other = std::thread::spawn(|| {
        let mut turn = 0u32;
        loop {
            turn = turn.wrapping_add(1);
            wait_for(&THERE, turn);
            if DONE.load(Ordering::Acquire) {
                return;
            }
            hand_over(&BACK, turn);
        }
    });
    let mut turn = 0u32;
    let ns = per_call(|| {
        turn = turn.wrapping_add(1);
        hand_over(&THERE, turn);
        wait_for(&BACK, turn);
    });
    DONE.store(true, Ordering::Release);
    hand_over(&THERE, turn.wrapping_add(1));
    other.join().expect("the thread ends");
    ns
}

/// kill(2) of oneself, the handler, and the return from it.
pub fn signal() -> f64 {
    static SEEN: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler(_: i32) {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler only counts.
    unsafe {
        libc::signal(libc::SIGUSR1, handler as extern "C" fn(i32) as libc::sighandler_t);
        let own = libc::getpid();
        let mut sent = 0u32;
        per_call(|| {
            sent = sent.wrapping_add(1);
            assert_eq!(libc::kill(own, libc::SIGUSR1), 0);
            assert_eq!(SEEN.load(Ordering::Relaxed), sent);
        })
    }
}

/// epoll_wait(2) with so many files, one of them ready.
pub fn epoll_wait(files: usize) -> f64 {
    // SAFETY: structures are filled before they are read; the array has the length that is passed.
    unsafe {
        let epoll = libc::epoll_create1(0);
        assert!(epoll >= 0);
        for i in 0..files {
            let fd = libc::eventfd(u32::from(i == 0), 0);
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: i as u64 };
            assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event), 0);
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        per_call(|| assert_eq!(libc::epoll_wait(epoll, events.as_mut_ptr(), 8, -1), 1))
    }
}
