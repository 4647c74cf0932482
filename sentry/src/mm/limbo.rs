//! Pages of address spaces that ended while the host could not take them out of a guest's sight: its process did not
//! obey (a guest that attacks its stub brings that about), and threads had not left it yet. Others get the frames once
//! the last thread is gone, and the host process with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use platform::AddressSpace;
use sync::Mutex;

use super::pages::Pages;

/// In the order of the fields: the host process goes before the frames do.
struct Ended {
    space: Arc<dyn AddressSpace>,
    #[expect(dead_code, reason = "given back when dropped")]
    pages: Pages,
}

static ENDED: Mutex<Vec<Ended>, sync::levels::Leaf> = Mutex::new(Vec::new());
/// Length of that list, to pass it by while it is empty.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Keeps `pages` until nobody else has `space`.
pub(super) fn keep(space: Arc<dyn AddressSpace>, pages: Pages) {
    let mut ended = ENDED.lock();
    ended.push(Ended { space, pages });
    COUNT.store(ended.len(), Ordering::Release);
}

/// Gives back what has become free.
pub(super) fn empty() {
    if COUNT.load(Ordering::Acquire) == 0 {
        return;
    }
    let free: Vec<_> = {
        let mut ended = ENDED.lock();
        // Nobody makes a reference from ours.
        let free = ended.extract_if(.., |one| Arc::strong_count(&one.space) == 1).collect();
        COUNT.store(ended.len(), Ordering::Release);
        free
    };
    drop(free);
}
