//! A platform without a host process: address spaces are tables, contexts follow a script. With it, kernel objects are
//! unit-tested without a sandbox. The memory file is a real one.
//!
//! ```
//! use platform::mock::{MockPlatform, syscall};
//! use platform::{Platform, Registers, Trap};
//!
//! let platform = MockPlatform::new();
//! platform.script(vec![syscall(39, [0; 6])]);
//! let (mut context, space) = (platform.new_context().unwrap(), platform.new_address_space().unwrap());
//! let mut regs = Registers::default();
//! assert_eq!(context.run(&space, &mut regs).unwrap(), Trap::Syscall);
//! assert_eq!(regs.orig_rax, 39);
//! ```

mod address_space;
mod context;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use sync::Mutex;
use sync::levels::Leaf;

pub use self::address_space::{Mapping, MockSpace, Shown};
use self::context::MockContext;
pub use self::context::{Step, fault, syscall};
use crate::MemoryFile;
use crate::api::{AddressSpace, Context, Platform, PlatformError, XState};

/// See the module.
pub struct MockPlatform {
    memory: Arc<MemoryFile>,
    /// For contexts to come, first come, first served.
    scripts: Mutex<VecDeque<Vec<Step>>, Leaf>,
}

impl MockPlatform {
    /// One with a memory file of its own.
    #[allow(clippy::new_without_default)]
    pub fn new() -> MockPlatform {
        let memory = MemoryFile::new(None).expect("a host that has memfd_create");
        MockPlatform { memory, scripts: Mutex::new(VecDeque::new()) }
    }

    /// What the next context that is made does, step by step. After the last step (and in a context without a
    /// script) it runs until it is interrupted.
    pub fn script(&self, steps: Vec<Step>) {
        self.scripts.lock().push_back(steps);
    }
}

impl Platform for MockPlatform {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn memory(&self) -> &Arc<MemoryFile> {
        &self.memory
    }

    fn user_range(&self) -> Range<u64> {
        0x10000..0x7fff_ffff_e000
    }

    fn xstate(&self) -> XState {
        // Legacy region and header: x87 and SSE.
        XState { size: 576, features: 3 }
    }

    fn new_address_space(&self) -> Result<Arc<dyn AddressSpace>, PlatformError> {
        Ok(Arc::new(MockSpace::new(Arc::clone(&self.memory), self.user_range())))
    }

    fn new_context(&self) -> Result<Box<dyn Context>, PlatformError> {
        let script = self.scripts.lock().pop_front().unwrap_or_default();
        Ok(Box::new(MockContext::new(script, self.xstate().size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backing, PAGE_SIZE, Prot, Registers, Trap};

    #[test]
    fn a_script_runs_and_is_interrupted() {
        let platform = MockPlatform::new();
        let space = platform.new_address_space().expect("space");
        let frames = platform.memory().allocate(2 * PAGE_SIZE).expect("frames");
        space.map(0x10000, frames.len, Prot::READ, Backing::Memory(frames.offset)).expect("map");
        platform.script(vec![
            syscall(1, [7, 8, 9, 10, 11, 12]),
            Box::new(|space, regs| {
                let mut bytes = [0; 4];
                space.load(regs.rdi, &mut bytes).expect("mapped");
                space.store(regs.rdi, &bytes).expect_err("read-only")
            }),
        ]);
        let mut context = platform.new_context().expect("context");
        let mut regs = Registers::default();
        assert_eq!(context.run(&space, &mut regs).expect("run"), Trap::Syscall);
        assert_eq!((regs.orig_rax, regs.rdi, regs.r9), (1, 7, 12));
        regs.rdi = 0x11000;
        assert!(matches!(
            context.run(&space, &mut regs).expect("run"),
            Trap::Fault { address: 0x11000, signal: libc::SIGSEGV, code: 2, .. }
        ));
        let interrupter = context.interrupter();
        std::thread::scope(|scope| {
            scope.spawn(|| interrupter.interrupt());
            assert_eq!(context.run(&space, &mut regs).expect("run"), Trap::Interrupted);
        });
    }

    #[test]
    fn spaces_are_tables() {
        let platform = MockPlatform::new();
        let space = platform.new_address_space().expect("space");
        let frames = platform.memory().allocate(4 * PAGE_SIZE).expect("frames");
        let rw = Prot::READ | Prot::WRITE;
        space.map(0x10000, 4 * PAGE_SIZE, rw, Backing::Memory(frames.offset)).expect("map");
        space.unmap(0x11000, PAGE_SIZE).expect("unmap");
        space.protect(0x10000, 3 * PAGE_SIZE, Prot::READ).expect("protect");
        let child = space.fork().expect("fork");
        space.unmap(0x10000, PAGE_SIZE).expect("unmap");
        let seen = |space: &Arc<dyn AddressSpace>| -> Vec<(u64, u64, Prot)> {
            let mock = space.as_any().downcast_ref::<MockSpace>().expect("mock");
            mock.mappings().iter().map(|m| (m.range.start, m.range.end, m.prot)).collect()
        };
        assert_eq!(seen(&space), [(0x12000, 0x13000, Prot::READ), (0x13000, 0x14000, rw)]);
        assert_eq!(seen(&child).len(), 3);
        assert!(space.map(0, PAGE_SIZE, rw, Backing::Memory(0)).is_err());
    }
}
