//! What is different in each IPC namespace: /proc/sysvipc, limits in /proc/sys/kernel and /proc/sys/fs/mqueue.
//!
//! The namespace is that of who reads or writes.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use abi::Errno;

use crate::fs::pseudo::{PseudoDir, StaticDir, Text, TextFile};
use crate::ipc::{Asker, IpcNamespace, acting};
use crate::task::{Pid, current_task};
use crate::vfs::{File, Inode, SuperBlock};
use crate::{Kernel, Result};

/// Objects of a kind at most, whatever is set (IPCMNI).
pub(super) const MOST: u32 = 1 << 15;

/// A limit is for the root of the user namespace that owns the IPC namespace to change.
fn owner(kernel: &Kernel) -> (u32, u32, u32) {
    let owner = &acting(kernel).user_ns;
    (0o644, owner.uid_kernel(0).unwrap_or(0), owner.gid_kernel(0).unwrap_or(0))
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Result<T> {
    let text = std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    text.trim().parse().map_err(|_| Errno::EINVAL)
}

struct Number {
    kernel: Arc<Kernel>,
    slot: fn(&IpcNamespace) -> &AtomicU32,
    range: RangeInclusive<u32>,
}

impl Text for Number {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        let namespace = acting(&self.kernel);
        Ok(format!("{}\n", (self.slot)(&namespace).load(Ordering::Relaxed)).into_bytes())
    }

    fn write(&self, _file: &File, text: &[u8]) -> Result<()> {
        let value: u32 = parse(text)?;
        if !self.range.contains(&value) {
            return Err(Errno::EINVAL);
        }
        (self.slot)(&acting(&self.kernel)).store(value, Ordering::Relaxed);
        Ok(())
    }

    fn owner(&self) -> (u32, u32, u32) {
        owner(&self.kernel)
    }
}

/// A limit and the range that it stays in.
pub(super) fn number(
    sb: &Arc<SuperBlock>,
    kernel: &Arc<Kernel>,
    range: RangeInclusive<u32>,
    slot: fn(&IpcNamespace) -> &AtomicU32,
) -> Arc<Inode> {
    TextFile::inode(sb, Number { kernel: Arc::clone(kernel), slot, range })
}

struct LongNumber {
    kernel: Arc<Kernel>,
    slot: fn(&IpcNamespace) -> &AtomicU64,
}

impl Text for LongNumber {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        let namespace = acting(&self.kernel);
        Ok(format!("{}\n", (self.slot)(&namespace).load(Ordering::Relaxed)).into_bytes())
    }

    fn write(&self, _file: &File, text: &[u8]) -> Result<()> {
        (self.slot)(&acting(&self.kernel)).store(parse(text)?, Ordering::Relaxed);
        Ok(())
    }

    fn owner(&self) -> (u32, u32, u32) {
        owner(&self.kernel)
    }
}

/// A limit of 64 bits.
pub(super) fn long_number(
    sb: &Arc<SuperBlock>,
    kernel: &Arc<Kernel>,
    slot: fn(&IpcNamespace) -> &AtomicU64,
) -> Arc<Inode> {
    TextFile::inode(sb, LongNumber { kernel: Arc::clone(kernel), slot })
}

/// The four limits of semaphores.
struct Semaphores(Arc<Kernel>);

impl Semaphores {
    fn slots(namespace: &IpcNamespace) -> [&AtomicU32; 4] {
        let limits = &namespace.limits;
        [&limits.semmsl, &limits.semmns, &limits.semopm, &limits.semmni]
    }
}

impl Text for Semaphores {
    fn read(&self, _file: &File) -> Result<Vec<u8>> {
        let namespace = acting(&self.0);
        let numbers = Self::slots(&namespace).map(|slot| slot.load(Ordering::Relaxed).to_string());
        Ok(format!("{}\n", numbers.join("\t")).into_bytes())
    }

    fn write(&self, _file: &File, text: &[u8]) -> Result<()> {
        let namespace = acting(&self.0);
        let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let numbers: Vec<u32> = words.take(4).map(parse).collect::<Result<_>>()?;
        let most = [i32::MAX as u32, i32::MAX as u32, i32::MAX as u32, MOST];
        if numbers.iter().zip(most).any(|(number, most)| *number > most) {
            return Err(Errno::EINVAL);
        }
        for (slot, number) in Self::slots(&namespace).iter().zip(numbers) {
            slot.store(number, Ordering::Relaxed);
        }
        Ok(())
    }

    fn owner(&self) -> (u32, u32, u32) {
        owner(&self.0)
    }
}

/// /proc/sys/kernel/sem.
pub(super) fn semaphores(sb: &Arc<SuperBlock>, kernel: &Arc<Kernel>) -> Arc<Inode> {
    TextFile::inode(sb, Semaphores(Arc::clone(kernel)))
}

/// A table of objects.
struct Objects {
    kernel: Arc<Kernel>,
    show: fn(&IpcNamespace, Asker<'_>) -> String,
}

impl Text for Objects {
    fn read(&self, file: &File) -> Result<Vec<u8>> {
        let namespace = acting(&self.kernel);
        let task = current_task().ok_or(Errno::ESRCH)?;
        let process: &Arc<Pid> = &task.thread_group().pid;
        let asker = Asker { creds: &file.opener, user_ns: &namespace.user_ns, process };
        Ok((self.show)(&namespace, asker).into_bytes())
    }

    fn owner(&self) -> (u32, u32, u32) {
        (0o444, 0, 0)
    }
}

/// /proc/sysvipc.
pub(super) fn sysvipc(sb: &Arc<SuperBlock>, kernel: &Arc<Kernel>) -> Arc<Inode> {
    let table = |show| TextFile::inode(sb, Objects { kernel: Arc::clone(kernel), show });
    let mut dir = StaticDir::default();
    dir.add("msg", table(IpcNamespace::show_msg));
    dir.add("sem", table(IpcNamespace::show_sem));
    dir.add("shm", table(IpcNamespace::show_shm));
    PseudoDir::inode(sb, dir)
}
