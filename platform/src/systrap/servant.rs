//! What the Sentry wants done inside a guest process is done by the first thread of that process.
//!
//! The thread reads its orders from memory that the guest can only read, holds everything else in registers, and
//! answers with a host call that only it can make: neither order nor answer can be forged. Its calls carry a secret that
//! the filter asks for (`filter.rs`); orders don't show it, and no guest thread ever has it in a register.
//!
//! It runs on the processor of the Sentry thread that waits for it: waking an idle processor costs tens of microseconds.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use host::event::EventFd;
use host::thread::{CpuSet, current_cpu, set_affinity};

use super::layout::{DONE, FAILED, Layout, ORDER};
use super::shm::{Part, Shm};
use crate::api::{PAGE_SIZE, PlatformError, Title};
use crate::guest_process::USER_START;

/// Places in an order.
pub(super) mod order {
    /// Counts orders; a servant waits for the next.
    pub(in crate::systrap) const NUMBER: u64 = 0;
    /// How many operations.
    pub(in crate::systrap) const COUNT: u64 = 4;
    /// Descriptor to answer with.
    pub(in crate::systrap) const ANSWER_FD: u64 = 8;
    /// Process id of the Sentry.
    pub(in crate::systrap) const SENTRY: u64 = 16;
    /// The operations: eight words each (call, six arguments, what a clone gives to the other side).
    pub(in crate::systrap) const OPERATIONS: u64 = 64;
}

/// Most operations of an order.
pub(super) const MAX_OPERATIONS: usize = ((ORDER - order::OPERATIONS - title::BYTES) / 64) as usize;

/// How often a waiting Sentry thread looks whether the process is still there.
const LOOK: Duration = Duration::from_millis(100);

/// One of the servant's host calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) number: libc::c_long,
    pub(super) arguments: [u64; 6],
    /// For clone: address of the area or order of what is made. Else 0.
    pub(super) child: u64,
}

impl Operation {
    pub(super) fn call(number: libc::c_long, arguments: [u64; 6]) -> Operation {
        Operation { number, arguments, child: 0 }
    }

    /// Makes a small mapping one whose pages the process has at once.
    pub(super) fn populate_few(&mut self) {
        const FEW: u64 = 32 * PAGE_SIZE;
        self.populate_up_to(FEW);
    }

    /// The same for a mapping of pages that are there.
    pub(super) fn populate_present(&mut self) {
        const MANY: u64 = 128 * PAGE_SIZE;
        self.populate_up_to(MANY);
    }

    fn populate_up_to(&mut self, most: u64) {
        let [_, len, _, flags, ..] = &mut self.arguments;
        if self.number == libc::SYS_mmap && *len <= most {
            *flags |= libc::MAP_POPULATE as u64;
        }
    }
}

/// See the module.
pub(super) struct Servant {
    pid: i32,
    order: Part,
    answers: EventFd,
    /// Of the last order.
    number: u32,
    /// The upper part of an answer whose lower part is to come.
    told: u64,
    /// The one processor that it may use.
    cpu: Option<usize>,
    /// It is left where the host likes it: nobody waits for it.
    free: bool,
}

/// Behind the operations: what the calls that set a title read.
mod title {
    use super::ORDER;

    /// Bytes of all of it.
    pub(super) const BYTES: u64 = 17 * 64;
    /// A name, ended by NUL.
    pub(super) const NAME: u64 = ORDER - BYTES;
    /// Bytes of it.
    pub(super) const NAME_BYTES: usize = 16;
    /// A `struct prctl_mm_map` (linux/prctl.h).
    pub(super) const MAP: u64 = NAME + NAME_BYTES as u64;
    /// Bytes of it.
    pub(super) const MAP_BYTES: u64 = 104;
    /// The command line.
    pub(super) const LINE: u64 = MAP + MAP_BYTES;
    /// Most bytes of it.
    pub(super) const LINE_BYTES: usize = (ORDER - LINE) as usize;
}

/// What a servant needs before it exists.
pub(super) struct Place {
    order: Part,
    answers: EventFd,
    number: u32,
}

/// Writes an order. The servant does not look at it before its number changes.
fn write(order: &Part, operations: &[Operation]) -> Result<(), PlatformError> {
    let mut bytes = [0u8; ORDER as usize];
    let words = operations
        .iter()
        .flat_map(|o| std::iter::once(o.number as u64).chain(o.arguments).chain(std::iter::once(o.child)));
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let count = operations.len().min(MAX_OPERATIONS);
    let (shm, at) = (order.shm(), order.offset());
    shm.write(at + order::OPERATIONS, &bytes[..count * 64])?;
    shm.store(at + order::COUNT, count as u32);
    Ok(())
}

impl Place {
    pub(super) fn new(shm: &std::sync::Arc<Shm>, sentry: i32) -> Result<Place, PlatformError> {
        let answers =
            EventFd::new().map_err(|_| PlatformError::Exhausted("descriptors for guest processes"))?;
        let order = shm.take_order()?;
        let at = order.offset();
        shm.store(at + order::ANSWER_FD, answers.as_fd().as_raw_fd() as u32);
        shm.store(at + order::SENTRY, sentry as u32);
        Ok(Place { order, answers, number: 0 })
    }

    /// Gives the first order in advance: the servant begins with it.
    pub(super) fn send(&mut self, operations: &[Operation]) -> Result<(), PlatformError> {
        write(&self.order, operations)?;
        self.number = 1;
        self.order.shm().store(self.order.offset() + order::NUMBER, self.number);
        Ok(())
    }

    /// Address of its order.
    pub(super) fn address(&self, layout: Layout) -> u64 {
        layout.order(self.order.slot())
    }

    /// The servant that process `pid` begins as, on the processor that its parent could use.
    pub(super) fn servant(self, pid: i32, cpu: Option<usize>) -> Servant {
        let Place { order, answers, number } = self;
        Servant { pid, order, answers, number, told: 0, cpu, free: false }
    }
}

impl Servant {
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) fn cpu(&self) -> Option<usize> {
        self.cpu
    }

    /// Leaves it to the host where it runs, from the start.
    pub(super) fn set_free(&mut self) {
        self.free = true;
    }

    /// Writes a title where the operations that this gives, which are to be in the next order, find it; `fd` is the number
    /// of the file of orders.
    pub(super) fn title(
        &self,
        layout: Layout,
        fd: i32,
        title: &Title,
    ) -> Result<[Operation; 3], PlatformError> {
        let (shm, at) = (self.order.shm(), self.order.offset());
        let mut name = [0u8; title::NAME_BYTES];
        let mut line = [0u8; title::LINE_BYTES];
        let put = |text: &[u8], place: &mut [u8]| {
            // The last byte ends it.
            let len = text.len().min(place.len() - 1);
            place[..len].copy_from_slice(&text[..len]);
            len
        };
        put(&title.name, &mut name);
        let len = match put(&title.command_line, &mut line) as u64 {
            whole if whole == title.command_line.len() as u64 => whole,
            cut => cut + 1,
        };
        shm.write(at + title::NAME, &name)?;
        shm.write(at + title::LINE, &line)?;
        // Of the parts of the program, nobody looks at any but the arguments; there has to be a page of code.
        let (code, none, place) = ([USER_START, USER_START + PAGE_SIZE], [USER_START; 5], layout.title());
        // No auxiliary vector, and (the upper half of the last word) no file.
        let (line, end) = ([place, place + len, place + len, place + len], [0, 0xffff_ffff << 32]);
        let words = code.into_iter().chain(none).chain(line).chain(end);
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        debug_assert_eq!(bytes.len() as u64, title::MAP_BYTES);
        shm.write(at + title::MAP, &bytes)?;
        let order = layout.order(self.order.slot());
        let read = [fd as u64, place, title::LINE_BYTES as u64, at + title::LINE, 0, 0];
        let (map, map_bytes) = (order + title::MAP, title::MAP_BYTES);
        let set_map = [libc::PR_SET_MM as u64, libc::PR_SET_MM_MAP as u64, map, map_bytes, 0, 0];
        let set_name = [libc::PR_SET_NAME as u64, order + title::NAME, 0, 0, 0, 0];
        Ok([
            Operation::call(libc::SYS_pread64, read),
            Operation::call(libc::SYS_prctl, set_name),
            Operation::call(libc::SYS_prctl, set_map),
        ])
    }

    /// Has operations done, up to the first that fails; at most [`MAX_OPERATIONS`]. The result of a clone, if that is
    /// the last.
    pub(super) fn obey(&mut self, operations: &[Operation]) -> Result<io::Result<u64>, PlatformError> {
        self.send(operations)?;
        self.answer()
    }

    /// The same without waiting: [`answer`](Self::answer) has to be called before the next order.
    pub(super) fn send(&mut self, operations: &[Operation]) -> Result<(), PlatformError> {
        write(&self.order, operations)?;
        self.number = self.number.wrapping_add(1);
        if !self.free {
            let cpu = current_cpu();
            if self.cpu != Some(cpu) && set_affinity(self.pid, &CpuSet::single(cpu)).is_ok() {
                self.cpu = Some(cpu);
            }
        }
        let (shm, at) = (self.order.shm(), self.order.offset() + order::NUMBER);
        shm.swap(at, self.number);
        host::futex::wake(shm.word(at));
        Ok(())
    }

    /// What came of the last order.
    pub(super) fn answer(&mut self) -> Result<io::Result<u64>, PlatformError> {
        loop {
            if let Some(value) = self.look_for_answer()? {
                return Ok(if value & FAILED != 0 {
                    Err(io::Error::from_raw_os_error((value & !FAILED) as i32))
                } else {
                    Ok(value)
                });
            }
            if !host::process::is_running(self.pid) {
                return Err(PlatformError::Gone);
            }
        }
    }

    /// The same for a servant that may not exist: `None` if there is none in good time, or a failure.
    pub(super) fn answer_in_time(&mut self) -> Result<Option<u64>, PlatformError> {
        Ok(self.look_for_answer()?.filter(|value| value & FAILED == 0))
    }

    fn look_for_answer(&mut self) -> Result<Option<u64>, PlatformError> {
        while host::event::wait_readable(&self.answers, LOOK)
            .map_err(|source| PlatformError::Host { what: "wait for a stub", source })?
        {
            self.told += self.answers.take();
            if self.told & DONE != 0 {
                return Ok(Some(std::mem::take(&mut self.told) & !DONE));
            }
        }
        Ok(None)
    }
}
