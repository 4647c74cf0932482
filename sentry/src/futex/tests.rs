use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use abi::Errno;
use abi::futex::FUTEX_BITSET_MATCH_ANY as ANY;

use super::requeue::Look;
use super::wake::WakeOp;
use super::{FutexTable, Waiter};
use crate::mm::FutexKey;
use crate::wait::{Parker, Wake};

fn key(addr: u64) -> FutexKey {
    FutexKey::Private { space: 1, addr }
}

fn queue(table: &FutexTable, key: FutexKey, bitset: u32) -> Arc<Waiter> {
    let waiter = Waiter::new(Parker::for_current_thread() as Arc<dyn Wake>);
    assert_eq!(table.enqueue(key, bitset, &waiter, None, || Ok::<_, ()>(true)), Ok(true));
    waiter
}

#[test]
fn wakes_in_order_and_by_bitset() {
    let table = FutexTable::default();
    let waiters: Vec<_> = (0..4).map(|i| queue(&table, key(8), 1 << i)).collect();
    let other = queue(&table, key(16), ANY);
    assert_eq!(table.wake(key(8), 1, ANY), Ok(1));
    assert!(waiters[0].is_woken());
    assert_eq!(table.wake(key(8), 9, 4), Ok(1));
    assert!(waiters[2].is_woken() && !waiters[1].is_woken());
    assert_eq!(table.wake(key(8), 0, ANY), Ok(0));
    assert_eq!(table.wake(key(8), u32::MAX, ANY), Ok(2));
    assert_eq!(table.wake(key(8), 1, ANY), Ok(0));
    assert!(!other.is_woken());
    assert!(table.dequeue(&other).is_some());
    assert!(table.dequeue(&waiters[1]).is_none());
}

#[test]
fn a_wrong_value_does_not_queue() {
    let table = FutexTable::default();
    let waiter = Waiter::new(Parker::for_current_thread() as Arc<dyn Wake>);
    assert_eq!(table.enqueue(key(8), ANY, &waiter, None, || Ok::<_, ()>(false)), Ok(false));
    assert_eq!(table.wake(key(8), 1, ANY), Ok(0));
}

#[test]
fn requeue_moves_who_is_not_woken() {
    let table = FutexTable::default();
    let waiters: Vec<_> = (0..4).map(|_| queue(&table, key(8), ANY)).collect();
    let counts = table.requeue(key(8), key(4096), 1, 2, || Ok::<_, Errno>(true));
    assert_eq!(counts, Ok(Some((1, 2))));
    assert!(waiters[0].is_woken());
    assert_eq!(table.wake(key(4096), 9, ANY), Ok(2));
    assert!(waiters[1].is_woken() && waiters[2].is_woken());
    assert!(table.dequeue(&waiters[3]).is_some());
    let no = table.requeue(key(8), key(4096), 1, 2, || Ok::<_, Errno>(false));
    assert_eq!(no, Ok(None));
    let fault = table.requeue(key(8), key(4096), 1, 2, || Err::<bool, _>(Look::NotThere));
    assert!(matches!(fault, Err(Look::NotThere)));
}

#[test]
fn a_moved_waiter_can_leave() {
    let table = FutexTable::default();
    for addr in (4096..40960).step_by(4) {
        let waiter = queue(&table, key(8), ANY);
        table.requeue(key(8), key(addr), 0, 1, || Ok::<_, Errno>(true)).unwrap();
        assert!(table.dequeue(&waiter).is_some());
        assert_eq!(table.wake(key(addr), 1, ANY), Ok(0));
    }
}

#[test]
fn wake_op_arithmetic() {
    let op = |op: u32, operand: u32, cmp: u32, with: u32| {
        WakeOp::decode(op << 28 | cmp << 24 | (operand & 0xfff) << 12 | with & 0xfff)
    };
    assert_eq!(op(0, 5, 0, 0).unwrap().apply(9), 5);
    assert_eq!(op(1, -1i32 as u32, 0, 0).unwrap().apply(9), 8);
    assert_eq!(op(2, 6, 0, 0).unwrap().apply(9), 15);
    assert_eq!(op(3, 1, 0, 0).unwrap().apply(9), 8);
    assert_eq!(op(4, 1, 0, 0).unwrap().apply(8), 9);
    assert_eq!(op(8, 4, 0, 0).unwrap().apply(8), 16);
    assert_eq!(op(5, 0, 0, 0), Err(Errno::ENOSYS));
    assert_eq!(op(0, 0, 6, 0), Err(Errno::ENOSYS));
    assert!(op(0, 0, 2, -3i32 as u32).unwrap().matches(-4i32 as u32));
    assert!(!op(0, 0, 4, 7).unwrap().matches(7));
    assert!(op(0, 0, 5, 7).unwrap().matches(7));
}

/// A lock made of a word and this table, hammered by threads: no wake-up is lost.
#[test]
fn no_wake_up_is_lost() {
    let table = Arc::new(FutexTable::default());
    let word = Arc::new(AtomicU32::new(0));
    let inside = Arc::new(AtomicUsize::new(0));
    let total = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (table, word) = (table.clone(), word.clone());
            let (inside, total) = (inside.clone(), total.clone());
            std::thread::spawn(move || {
                let parker = Parker::for_current_thread();
                for _ in 0..2000 {
                    // 0: free, 1: taken, 2: taken and waited for.
                    let mut seen =
                        word.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|v| v);
                    while seen != 0 {
                        if seen == 2
                            || word.compare_exchange(1, 2, Ordering::SeqCst, Ordering::SeqCst) != Err(0)
                        {
                            let waiter = Waiter::new(parker.clone() as Arc<dyn Wake>);
                            let check = || Ok::<_, ()>(word.load(Ordering::SeqCst) == 2);
                            if table.enqueue(key(8), ANY, &waiter, None, check) == Ok(true) {
                                while !waiter.is_woken() {
                                    parker.park(Some(Duration::from_secs(10)));
                                }
                            }
                        }
                        seen = word
                            .compare_exchange(0, 2, Ordering::SeqCst, Ordering::SeqCst)
                            .unwrap_or_else(|v| v);
                    }
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    total.fetch_add(1, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    if word.swap(0, Ordering::SeqCst) == 2 {
                        table.wake(key(8), 1, ANY).unwrap();
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(total.load(Ordering::SeqCst), 8000);
}
