//! The CPU numbers of an address space's threads, where the vDSO's getcpu finds them (`loader/vdso/vdso.s`).
//!
//! A thread knows itself by the base of its FS segment, which a C library gives each thread of a process for itself. The
//! page, which guest code can only read, holds for each thread that base and its CPU, in a word of 8 bytes that is
//! written in one piece: sets of four words, chosen by a hash. A thread that is not found there, because its set is full or
//! because two threads have the same base, asks the kernel.
//!
//! Numbers change, and words with them, only while their thread is not in guest code. When a word is lost to its thread
//! (another has taken it over for a while: vfork), [`generation`](CpuTable::generation) changes, and each thread looks
//! after its own on its way back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::Errno;
use platform::MemoryFile;
use sync::Mutex;

use super::PAGE;
use super::shmem::Shmem;

/// Words in a set.
const WAYS: usize = 4;
/// Sets in the page: 2 to this power.
const SET_BITS: u32 = 7;
const SETS: usize = 1 << SET_BITS;
/// Of Fibonacci hashing, as in `vdso.s`.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

const _: () = assert!(WAYS * SETS * size_of::<u64>() == PAGE as usize);

/// Who asks for a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A thread, by its id.
    Thread(u64),
    /// The child of a vfork, by its id: it has its parent's base, and the parent waits.
    VforkChild(u64),
}

impl Who {
    fn id(self) -> u64 {
        match self {
            Who::Thread(id) | Who::VforkChild(id) => id,
        }
    }
}

/// Whose a base is.
struct Owner {
    /// `None`: of several threads at once, none of which can be told apart.
    thread: Option<u64>,
    /// Place of the word.
    index: usize,
}

/// See the module.
pub struct CpuTable {
    page: Arc<Shmem>,
    memory: Arc<MemoryFile>,
    generation: AtomicU64,
    words: Mutex<Words, sync::levels::Leaf>,
}

#[derive(Default)]
struct Words {
    owners: HashMap<u64, Owner>,
    /// A bit for each word that is somebody's.
    taken: [u64; WAYS * SETS / 64],
}

impl Words {
    fn free_place(&self, base: u64) -> Option<usize> {
        let first = set_of(base) * WAYS;
        (first..first + WAYS).find(|index| self.taken[index / 64] >> (index % 64) & 1 == 0)
    }
}

fn set_of(base: u64) -> usize {
    (base.wrapping_mul(FACTOR) >> (64 - SET_BITS)) as usize
}

impl CpuTable {
    /// An empty one, with its page.
    pub fn new(memory: &Arc<MemoryFile>) -> Result<CpuTable, Errno> {
        Ok(CpuTable {
            page: Shmem::used_page(memory)?,
            memory: Arc::clone(memory),
            generation: AtomicU64::new(0),
            words: Mutex::default(),
        })
    }

    /// What is to be mapped.
    pub fn page(&self) -> &Arc<Shmem> {
        &self.page
    }

    /// Changes when threads have to look after their words.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Says that the thread with this base, which is not in guest code, is on `cpu`. It is not said where the thread can't
    /// be told from others.
    pub fn publish(&self, base: u64, cpu: u16, who: Who) {
        // None, or none that a word has room for.
        if base == 0 || base >> 48 != 0 {
            return;
        }
        let mut words = self.words.lock();
        let free = words.free_place(base);
        let Words { owners, taken } = &mut *words;
        let owner = match owners.entry(base) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let Some(index) = free else { return };
                taken[index / 64] |= 1 << (index % 64);
                entry.insert(Owner { thread: Some(who.id()), index })
            }
        };
        match owner.thread {
            None => return,
            Some(thread) if thread == who.id() => {}
            Some(_) => match who {
                Who::VforkChild(_) => {
                    owner.thread = Some(who.id());
                    self.generation.fetch_add(1, Ordering::Release);
                }
                Who::Thread(_) => {
                    owner.thread = None;
                    self.write(owner.index, 0);
                    return;
                }
            },
        }
        self.write(owner.index, base << 16 | u64::from(cpu));
    }

    /// The thread has another base now, or is gone.
    pub fn withdraw(&self, base: u64, who: u64) {
        let mut words = self.words.lock();
        if words.owners.get(&base).is_some_and(|owner| owner.thread == Some(who))
            && let Some(owner) = words.owners.remove(&base)
        {
            words.taken[owner.index / 64] &= !(1 << (owner.index % 64));
            self.write(owner.index, 0);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    fn write(&self, index: usize, word: u64) {
        let at = self.page.frames().offset + (index * size_of::<u64>()) as u64;
        if self.memory.write(at, &word.to_ne_bytes()).is_err() {
            tracing::error!("the page of cpu numbers is gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> CpuTable {
        CpuTable::new(&MemoryFile::new(None).expect("a memory file")).expect("a table")
    }

    /// What the vDSO finds.
    fn look(table: &CpuTable, base: u64) -> Option<u16> {
        (0..WAYS).find_map(|way| {
            let mut bytes = [0; 8];
            let index = (set_of(base) * WAYS + way) as u64;
            table.memory.read(table.page.frames().offset + index * 8, &mut bytes).expect("the page");
            let word = u64::from_ne_bytes(bytes);
            (word >> 16 == base).then_some(word as u16)
        })
    }

    #[test]
    fn each_thread_finds_its_own() {
        let table = table();
        for thread in 1..=100 {
            table.publish(0x7f00_0000_0740 + thread * 0x21000, thread as u16, Who::Thread(thread));
        }
        let found = (1..=100u64)
            .filter_map(|thread| {
                let cpu = look(&table, 0x7f00_0000_0740 + thread * 0x21000)?;
                assert_eq!(u64::from(cpu), thread);
                Some(cpu)
            })
            .count();
        assert!(found > 90, "{found} of 100 have a place");
        table.withdraw(0x7f00_0000_0740 + 0x21000, 1);
        assert_eq!(look(&table, 0x7f00_0000_0740 + 0x21000), None);
        // Nothing for those without a base.
        table.publish(0, 1, Who::Thread(1));
        table.publish(1 << 60, 1, Who::Thread(1));
    }

    #[test]
    fn threads_with_one_base_ask_the_kernel() {
        let table = table();
        table.publish(4096, 1, Who::Thread(1));
        table.publish(4096, 2, Who::Thread(2));
        assert_eq!(look(&table, 4096), None);
        table.publish(4096, 1, Who::Thread(1));
        assert_eq!(look(&table, 4096), None);
    }

    #[test]
    fn a_vfork_child_borrows_its_parents() {
        let table = table();
        table.publish(4096, 1, Who::Thread(1));
        let before = table.generation();
        table.publish(4096, 2, Who::VforkChild(2));
        assert_eq!(look(&table, 4096), Some(2));
        table.withdraw(4096, 2);
        assert_ne!(table.generation(), before);
        table.publish(4096, 1, Who::Thread(1));
        assert_eq!(look(&table, 4096), Some(1));
    }
}
