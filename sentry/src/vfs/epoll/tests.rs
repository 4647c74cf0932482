use std::sync::Arc;

use abi::Errno;
use abi::poll::{EpollEvent, EpollEvents, PollEvents};

use super::{Control, Epoll};
use crate::vfs::eventfd::EventFd;
use crate::vfs::file::{File, test_file};
use crate::vfs::pipe::new_pipe;
use crate::wait::{Parker, Wake};

const IN: EpollEvents = EpollEvents::IN;
const ET: EpollEvents = EpollEvents::ET;

fn set() -> Arc<File> {
    test_file(Epoll::new())
}

fn event() -> Arc<File> {
    test_file(EventFd::new(0, false))
}

fn signal(file: &File) {
    file.downcast::<EventFd>().expect("an eventfd").signal(1);
}

fn drain(file: &File) {
    let mut bytes = [0; 8];
    file.ops().read(file, &mut crate::vfs::BufSink::new(&mut bytes), 0).expect("a count");
}

fn control(set: &Arc<File>, fd: i32, file: &Arc<File>, control: Control) -> Result<(), Errno> {
    Epoll::control(set, fd, file, control)
}

fn add(set: &Arc<File>, fd: i32, file: &Arc<File>, events: EpollEvents) -> Result<(), Errno> {
    control(set, fd, file, Control::Add { events, data: fd as u64 })
}

fn modify(set: &Arc<File>, fd: i32, file: &Arc<File>, events: EpollEvents) -> Result<(), Errno> {
    control(set, fd, file, Control::Modify { events, data: fd as u64 })
}

fn collect(set: &Arc<File>, max: usize) -> Vec<(u32, u64)> {
    let mut events = Vec::new();
    let mut emit = |event: EpollEvent| {
        events.push((event.events, event.data));
        true
    };
    set.downcast::<Epoll>().expect("a set").collect(max, &mut emit);
    events
}

#[test]
fn level_triggered_stays_until_it_is_read() {
    let (set, a) = (set(), event());
    add(&set, 3, &a, IN).unwrap();
    assert_eq!(collect(&set, 8), []);
    signal(&a);
    assert_eq!(collect(&set, 8), [(1, 3)]);
    assert_eq!(collect(&set, 8), [(1, 3)]);
    assert!(set.poll().contains(PollEvents::IN));
    drain(&a);
    assert_eq!(set.poll(), PollEvents::empty());
    assert_eq!(collect(&set, 8), []);
}

#[test]
fn edge_triggered_comes_once_an_event() {
    let (set, a) = (set(), event());
    signal(&a);
    add(&set, 3, &a, IN | ET).unwrap();
    assert_eq!(collect(&set, 8), [(1, 3)]);
    assert_eq!(collect(&set, 8), []);
    signal(&a);
    assert_eq!(collect(&set, 8), [(1, 3)]);
    modify(&set, 3, &a, IN | ET).unwrap();
    assert_eq!(collect(&set, 8), [(1, 3)]);
}

#[test]
fn oneshot_has_to_be_armed_again() {
    let (set, a) = (set(), event());
    add(&set, 3, &a, IN | EpollEvents::ONESHOT).unwrap();
    signal(&a);
    assert_eq!(collect(&set, 8), [(1, 3)]);
    signal(&a);
    assert_eq!(collect(&set, 8), []);
    modify(&set, 3, &a, IN | EpollEvents::ONESHOT).unwrap();
    assert_eq!(collect(&set, 8), [(1, 3)]);
}

#[test]
fn few_at_a_time_take_turns() {
    let set = set();
    let files: Vec<_> = (0..5).map(|_| event()).collect();
    for (fd, file) in files.iter().enumerate() {
        add(&set, fd as i32, file, IN).unwrap();
        signal(file);
    }
    let mut seen: Vec<u64> = (0..5).flat_map(|_| collect(&set, 1)).map(|e| e.1).collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    assert_eq!(collect(&set, 9).len(), 5);
}

#[test]
fn control_errors() {
    let (set, a) = (set(), event());
    assert_eq!(modify(&set, 3, &a, IN), Err(Errno::ENOENT));
    assert_eq!(control(&set, 3, &a, Control::Delete), Err(Errno::ENOENT));
    add(&set, 3, &a, IN).unwrap();
    assert_eq!(add(&set, 3, &a, IN), Err(Errno::EEXIST));
    add(&set, 4, &a, IN).unwrap();
    assert_eq!(add(&set, 5, &set.clone(), IN), Err(Errno::EINVAL));
    assert_eq!(modify(&set, 3, &a, IN | EpollEvents::EXCLUSIVE), Err(Errno::EINVAL));
    add(&set, 6, &a, IN | EpollEvents::EXCLUSIVE).unwrap();
    assert_eq!(modify(&set, 6, &a, IN), Err(Errno::EINVAL));
    let oneshot = IN | EpollEvents::EXCLUSIVE | EpollEvents::ONESHOT;
    assert_eq!(add(&set, 7, &a, oneshot), Err(Errno::EINVAL));
    control(&set, 3, &a, Control::Delete).unwrap();
    signal(&a);
    assert_eq!(collect(&set, 8), [(1, 4), (1, 6)]);
}

#[test]
fn closing_takes_the_item_out() {
    let set = set();
    let (r, w) = new_pipe();
    let (r, w) = (test_file(r), test_file(w));
    add(&set, 3, &r, IN).unwrap();
    drop(w);
    assert_eq!(collect(&set, 8), [(PollEvents::HUP.bits(), 3)]);
    let kept = r.clone();
    drop(r);
    assert_eq!(collect(&set, 8), [(PollEvents::HUP.bits(), 3)]);
    drop(kept);
    assert_eq!(collect(&set, 8), []);
    assert!(set.downcast::<Epoll>().unwrap().set.items.lock().is_empty());
}

#[test]
fn a_closed_set_leaves_no_waker() {
    let (set, a) = (set(), event());
    add(&set, 3, &a, IN).unwrap();
    assert!(!a.ops().wait_queue().unwrap().is_empty());
    drop(set);
    assert!(a.ops().wait_queue().unwrap().is_empty());
}

#[test]
fn nested_sets() {
    let (outer, inner, a) = (set(), set(), event());
    add(&inner, 3, &a, IN).unwrap();
    add(&outer, 4, &inner, IN).unwrap();
    assert_eq!(collect(&outer, 8), []);
    signal(&a);
    assert_eq!(collect(&outer, 8), [(1, 4)]);
    assert_eq!(collect(&inner, 8), [(1, 3)]);
    drain(&a);
    assert_eq!(collect(&outer, 8), []);
    assert_eq!(add(&inner, 5, &outer, IN), Err(Errno::ELOOP));
    control(&outer, 4, &inner, Control::Delete).unwrap();
    add(&inner, 5, &outer, IN).unwrap();
}

#[test]
fn nests_are_not_deep() {
    let sets: Vec<_> = (0..7).map(|_| set()).collect();
    let results: Vec<_> = sets.windows(2).map(|pair| add(&pair[0], 1, &pair[1], IN)).collect();
    let first_error = results.iter().position(|r| r.is_err());
    assert_eq!(first_error, Some(4));
    assert_eq!(results[4], Err(Errno::ELOOP));
}

#[test]
fn exclusive_items_wake_one_waiting_set() {
    let a = event();
    let sets: Vec<_> = (0..3).map(|_| set()).collect();
    let parkers: Vec<_> = (0..3).map(|_| Parker::for_current_thread()).collect();
    for (set, parker) in sets.iter().zip(&parkers) {
        add(set, 3, &a, IN | EpollEvents::EXCLUSIVE).unwrap();
        let waiters = set.downcast::<Epoll>().unwrap().waiters();
        waiters.register_exclusive(PollEvents::IN, Arc::clone(parker) as Arc<dyn Wake>);
    }
    signal(&a);
    let woken = sets.iter().filter(|s| s.downcast::<Epoll>().unwrap().may_be_ready()).count();
    assert_eq!(woken, 1);
}

#[test]
fn what_could_not_be_stored_stays() {
    let (set, a) = (set(), event());
    add(&set, 3, &a, IN | ET).unwrap();
    signal(&a);
    assert_eq!(set.downcast::<Epoll>().unwrap().collect(8, &mut |_| false), 0);
    assert_eq!(collect(&set, 8), [(1, 3)]);
}

#[test]
fn events_are_not_lost_between_threads() {
    let (set, a) = (set(), event());
    add(&set, 3, &a, IN | ET).unwrap();
    let rounds = 20_000;
    let signaller = {
        let a = a.clone();
        std::thread::spawn(move || (0..rounds).for_each(|_| signal(&a)))
    };
    let parker = Parker::for_current_thread();
    let epoll = set.downcast::<Epoll>().unwrap();
    epoll.waiters().register_exclusive(PollEvents::IN, parker.clone());
    let mut total = 0;
    while total < rounds {
        if collect(&set, 1).is_empty() {
            parker.park(Some(std::time::Duration::from_secs(5)));
            continue;
        }
        let mut bytes = [0; 8];
        if a.ops().read(&a, &mut crate::vfs::BufSink::new(&mut bytes), 0).is_ok() {
            total += u64::from_ne_bytes(bytes);
        }
    }
    assert_eq!(total, rounds);
    signaller.join().unwrap();
}
