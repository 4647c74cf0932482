//! Which levels the current thread holds, in debug builds.

#[cfg(debug_assertions)]
mod held {
    use std::cell::RefCell;

    thread_local! {
        static HELD: RefCell<Vec<(u16, &'static str)>> = const { RefCell::new(Vec::new()) };
    }

    #[track_caller]
    pub(crate) fn acquire(rank: u16, name: &'static str, nested: bool) {
        let top = HELD.with_borrow(|held| held.iter().max_by_key(|h| h.0).copied());
        if let Some((top, top_name)) = top {
            let in_order = top < rank || (nested && top == rank);
            assert!(in_order, "lock order: {name} ({rank}) taken while {top_name} ({top}) is held");
        }
        HELD.with_borrow_mut(|held| held.push((rank, name)));
    }

    pub(crate) fn release(rank: u16) {
        HELD.with_borrow_mut(|held| {
            if let Some(at) = held.iter().rposition(|h| h.0 == rank) {
                held.remove(at);
            }
        });
    }

    pub(crate) fn assert_none(doing: &str) {
        HELD.with_borrow(|held| assert!(held.is_empty(), "{doing} while {held:?} is held"));
    }
}

#[cfg(debug_assertions)]
pub(crate) use held::{acquire, release};

/// Release builds: nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn acquire(_rank: u16, _name: &'static str, _nested: bool) {}

/// Release builds: nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn release(_rank: u16) {}

/// Panics in debug builds when the thread holds a lock: call it before a user copy, a gofer request or a wait.
#[inline(always)]
pub fn assert_no_locks_held(doing: &str) {
    #[cfg(debug_assertions)]
    held::assert_none(doing);
    #[cfg(not(debug_assertions))]
    let _ = doing;
}
