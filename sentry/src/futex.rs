//! Futexes (futex(2)).
use crate::mm::UserAddr;
use crate::task::CurrentTask;
pub fn wake_address(_task: &mut CurrentTask, _address: UserAddr, _count: u32) {}
impl CurrentTask {
    pub(crate) fn release_robust_futexes(&mut self) {}
}
