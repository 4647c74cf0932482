//! Address spaces of guests: mappings, their pages, faults, and copies to and from guest memory.

pub mod mappable;
mod stub;
pub mod user;
pub use stub::*;

pub use mappable::{Mappable, Place, Run};
pub use user::{TASK_SIZE, UserAddr, UserCStr, UserRef, UserSlice};

/// Which address spaces map a file.
#[derive(Default)]
pub struct FileMappings {}
