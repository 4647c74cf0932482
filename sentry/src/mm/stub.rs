use super::*;
use abi::Errno;
use platform::{Access, AddressSpace};
use std::sync::Arc;
pub struct MemoryManager {
    space: Arc<dyn AddressSpace>,
}
pub struct FaultSignal {
    pub signal: i32,
    pub code: i32,
}
impl MemoryManager {
    pub fn space(&self) -> &Arc<dyn AddressSpace> {
        &self.space
    }
    pub fn fork(&self) -> Result<Arc<Self>, Errno> {
        Err(Errno::ENOMEM)
    }
    pub fn peak_rss_kib(&self) -> u64 {
        0
    }
    pub fn dumpable(&self) -> u32 {
        1
    }
    pub fn copy_in(&self, _a: UserAddr, _d: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    pub fn copy_out(&self, _a: UserAddr, _d: &[u8]) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    pub fn read_obj<T: zerocopy::FromBytes + zerocopy::IntoBytes>(&self, _r: UserRef<T>) -> Result<T, Errno> {
        Err(Errno::EFAULT)
    }
    pub fn write_obj<T: zerocopy::IntoBytes + zerocopy::Immutable>(
        &self,
        _r: UserRef<T>,
        _v: &T,
    ) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    pub fn handle_fault(
        &self,
        _a: u64,
        _acc: Access,
        _s: i32,
        _c: i32,
        _rsp: u64,
    ) -> Result<(), FaultSignal> {
        Err(FaultSignal { signal: 11, code: 1 })
    }
}
