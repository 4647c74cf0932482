//! The vDSO (vdso(7)).

use std::sync::Arc;

use abi::Errno;

use crate::Kernel;
use crate::mm::MemoryManager;

/// Maps the vDSO and gives its address; 0 when there is none.
pub(super) fn map(_mm: &MemoryManager, _kernel: &Arc<Kernel>) -> Result<u64, Errno> {
    Ok(0)
}
