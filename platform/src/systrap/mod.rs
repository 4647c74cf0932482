//! The systrap back end: guest threads are threads of host processes under a seccomp filter that makes a signal of every
//! system call; a handler in the stub hands over to the Sentry through shared memory.
//!
//! See README.md in this folder for the design, the host calls of each operation, and figures.

mod address_space;
mod answers;
mod area;
mod context;
mod filter;
mod layout;
mod pool;
mod servant;
mod shm;
mod sites;
mod stub;
mod text;

use std::ops::Range;
use std::sync::Arc;

pub use filter::SENTRY_CALLS;

use self::address_space::SystrapSpace;
use self::context::SystrapContext;
use self::pool::Shared;
use crate::api::{AddressSpace, Context, Platform, PlatformError, XState};
use crate::{MemoryFile, guest_process};

/// Whether calls that a program makes often go to the Sentry without a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Rewriting {
    On,
    Off,
}

/// See the module.
pub struct SystrapPlatform {
    shared: Arc<Shared>,
}

impl SystrapPlatform {
    /// Makes the process that all guest processes are forked from. To be called once the Sentry has its final
    /// credentials and namespaces, before its seccomp filter, on a thread that lives as long as the Sentry: guest
    /// processes die with that thread.
    pub fn new(memory: Arc<MemoryFile>) -> Result<SystrapPlatform, PlatformError> {
        SystrapPlatform::with(memory, Rewriting::On)
    }

    /// The same, and whether calls are rewritten.
    pub fn with(memory: Arc<MemoryFile>, rewriting: Rewriting) -> Result<SystrapPlatform, PlatformError> {
        Ok(SystrapPlatform { shared: Arc::new(Shared::new(memory, rewriting == Rewriting::On)?) })
    }
}

impl Platform for SystrapPlatform {
    fn name(&self) -> &'static str {
        "systrap"
    }

    fn memory(&self) -> &Arc<MemoryFile> {
        &self.shared.memory
    }

    fn user_range(&self) -> Range<u64> {
        guest_process::user_range(self.shared.layout.base())
    }

    fn xstate(&self) -> XState {
        self.shared.extended.shape
    }

    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, PlatformError> {
        Ok(SystrapSpace::new(Arc::clone(&self.shared)))
    }

    fn new_context(&self) -> Result<Box<dyn Context>, PlatformError> {
        Ok(Box::new(SystrapContext::new(Arc::clone(&self.shared))))
    }
}

#[cfg(test)]
mod mask_tests;
#[cfg(test)]
mod tests;

#[cfg(test)]
mod text_tests;
