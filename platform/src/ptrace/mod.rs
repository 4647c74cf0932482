//! The ptrace back end: each guest thread is a host thread that a Sentry thread traces.
//!
//! See README.md in this folder for the design, the host calls of each operation, and figures.

mod address_space;
mod context;
mod filter;
mod pool;
mod stub;
mod tracee;

use std::ops::Range;
use std::sync::Arc;

pub use filter::SENTRY_CALLS;

use self::address_space::PtraceSpace;
use self::context::PtraceContext;
use self::pool::Shared;
use self::stub::Stub;
use crate::api::{AddressSpace, Context, Platform, PlatformError, XState};
use crate::{MemoryFile, guest_process};

fn user_range(stub: Stub) -> Range<u64> {
    guest_process::user_range(stub.base)
}

/// See the module.
pub struct PtracePlatform {
    shared: Arc<Shared>,
}

impl PtracePlatform {
    /// Makes the process that all guest processes are forked from. To be called once the Sentry has its final
    /// credentials and namespaces, before its seccomp filter, on a thread that lives as long as the Sentry: guest
    /// processes die with that thread.
    pub fn new(memory: Arc<MemoryFile>) -> Result<PtracePlatform, PlatformError> {
        Ok(PtracePlatform { shared: Arc::new(Shared::new(memory)?) })
    }
}

impl Platform for PtracePlatform {
    fn name(&self) -> &'static str {
        "ptrace"
    }

    fn memory(&self) -> &Arc<MemoryFile> {
        &self.shared.memory
    }

    fn user_range(&self) -> Range<u64> {
        user_range(self.shared.stub)
    }

    fn xstate(&self) -> XState {
        self.shared.layout.shape
    }

    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, PlatformError> {
        Ok(PtraceSpace::new(Arc::clone(&self.shared)))
    }

    fn new_context(&self) -> Result<Box<dyn Context>, PlatformError> {
        Ok(Box::new(PtraceContext::new(Arc::clone(&self.shared))))
    }
}

#[cfg(test)]
mod tests;
