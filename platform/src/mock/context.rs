//! A context that follows a script.

use std::sync::Arc;

use sync::levels::Leaf;
use sync::{Condvar, Mutex};

use super::MockSpace;
use crate::api::{Access, AddressSpace, Context, Interrupter, PlatformError, Registers, Trap};

/// One stretch of guest code: it looks at memory and registers, changes them, and says how it ends.
pub type Step = Box<dyn FnOnce(&MockSpace, &mut Registers) -> Trap + Send>;

/// A system call with these arguments.
pub fn syscall(number: u64, args: [u64; 6]) -> Step {
    Box::new(move |_, regs| {
        regs.orig_rax = number;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
        regs.rip = regs.rip.wrapping_add(2);
        Trap::Syscall
    })
}

/// An access that faults with SIGSEGV.
pub fn fault(address: u64, access: Access, code: i32) -> Step {
    Box::new(move |_, _| Trap::Fault { address, access, signal: libc::SIGSEGV, code })
}

#[derive(Default)]
struct Wake {
    interrupted: Mutex<bool, Leaf>,
    changed: Condvar,
}

impl Interrupter for Wake {
    fn interrupt(&self) {
        *self.interrupted.lock() = true;
        self.changed.notify_all();
    }
}

/// See the module.
pub(super) struct MockContext {
    steps: std::vec::IntoIter<Step>,
    wake: Arc<Wake>,
    fpu: Vec<u8>,
}

impl MockContext {
    pub(super) fn new(steps: Vec<Step>, fpu_size: usize) -> MockContext {
        MockContext { steps: steps.into_iter(), wake: Arc::default(), fpu: vec![0; fpu_size] }
    }
}

impl Context for MockContext {
    fn run(&mut self, space: &Arc<dyn AddressSpace>, regs: &mut Registers) -> Result<Trap, PlatformError> {
        let Some(space) = space.as_any().downcast_ref::<MockSpace>() else {
            return Err(PlatformError::Tampered("run in an address space of another platform"));
        };
        if std::mem::take(&mut *self.wake.interrupted.lock()) {
            return Ok(Trap::Interrupted);
        }
        regs.orig_rax = u64::MAX;
        if let Some(step) = self.steps.next() {
            return Ok(step(space, regs));
        }
        let mut interrupted = self.wake.interrupted.lock();
        while !std::mem::take(&mut *interrupted) {
            self.wake.changed.wait(&mut interrupted);
        }
        Ok(Trap::Interrupted)
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::clone(&self.wake) as Arc<dyn Interrupter>
    }

    fn fpu(&mut self) -> Result<&[u8], PlatformError> {
        Ok(&self.fpu)
    }

    fn set_fpu(&mut self, area: &[u8]) -> Result<(), PlatformError> {
        self.fpu.fill(0);
        let len = area.len().min(self.fpu.len());
        self.fpu[..len].copy_from_slice(&area[..len]);
        Ok(())
    }

    fn reset_fpu(&mut self) -> Result<(), PlatformError> {
        self.fpu.fill(0);
        Ok(())
    }
}
