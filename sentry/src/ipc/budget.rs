//! How much of the Sentry's own memory semaphores and messages may take.
//!
//! Linux counts them as memory of the kernel, of which a machine has much. Here all namespaces of a sandbox share one sum,
//! so that no guest makes the Sentry grow by making more of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;

use crate::Result;

/// Bytes of all semaphores, undo records and messages together.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// IPC namespaces at most, the first included.
const MOST_NAMESPACES: u64 = 4096;

/// What is in use.
#[derive(Debug, Default)]
pub struct Budget {
    bytes: AtomicU64,
    namespaces: AtomicU64,
}

/// Bytes that are in use; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

/// A namespace's place among all; given back when this is dropped.
#[derive(Debug)]
pub(super) struct NamespacePlace(Arc<Budget>);

impl Budget {
    /// Takes bytes: ENOMEM when there are no more.
    pub(super) fn charge(self: &Arc<Self>, bytes: u64) -> Result<Charge> {
        let charge = Charge { budget: Arc::clone(self), bytes };
        if self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > MOST_BYTES {
            // Dropping the charge takes it back.
            return Err(Errno::ENOMEM);
        }
        Ok(charge)
    }

    /// Takes the place of a namespace: ENOSPC when there are too many.
    pub(super) fn namespace(self: &Arc<Self>) -> Result<NamespacePlace> {
        let place = NamespacePlace(Arc::clone(self));
        if self.namespaces.fetch_add(1, Ordering::Relaxed) >= MOST_NAMESPACES {
            return Err(Errno::ENOSPC);
        }
        Ok(place)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for NamespacePlace {
    fn drop(&mut self) {
        self.0.namespaces.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_had_again() {
        let budget = Arc::new(Budget::default());
        let all = budget.charge(MOST_BYTES).expect("all of it");
        assert_eq!(budget.charge(1).err(), Some(Errno::ENOMEM));
        drop(all);
        assert!(budget.charge(MOST_BYTES).is_ok());
        assert!(budget.charge(u64::MAX).is_err());
        assert_eq!(budget.bytes.load(Ordering::Relaxed), 0);
    }
}
