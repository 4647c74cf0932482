use std::sync::Arc;
use super::File;
pub struct FdTable {}
impl FdTable {
    pub fn get(&self, _fd: i32) -> Option<Arc<File>> { None }
    pub fn fork(&self) -> Arc<FdTable> { Arc::new(FdTable {}) }
    pub fn close_on_exec(&self) {}
    pub fn remove(&self, _fd: i32) -> Option<Arc<File>> { None }
}
pub struct FsContext {}
impl FsContext { pub fn fork(&self) -> Arc<FsContext> { Arc::new(FsContext {}) } }
pub struct MountNamespace {}
