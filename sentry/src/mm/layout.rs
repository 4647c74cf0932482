//! Where the parts of a program are: what the loader sets and /proc/PID and prctl(PR_SET_MM) show.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use super::PAGE;

/// Addresses of a program's parts. All zero in a new address space but for the mmap area.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Layout {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    /// Where the heap starts.
    pub start_brk: u64,
    /// Where the heap ends, as brk(2) last set it.
    pub brk: u64,
    pub start_stack: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
    /// The auxiliary vector as the program got it: pairs of type and value.
    pub auxv: Arc<[u64]>,
    /// Address of the vdso, or 0.
    pub vdso: u64,
    /// Mappings without an address are placed below this, top down …
    pub mmap_base: u64,
    /// … or above this, bottom up (personality ADDR_COMPAT_LAYOUT, unlimited stack).
    pub mmap_bottom_up: bool,
}

/// Room between the stack's top and the first mapping: at least and at most.
const STACK_GAP: std::ops::RangeInclusive<u64> = (128 << 20)..=(u64::MAX / 8);

/// How many pages the mmap area is moved by at random: 28 bits (vm.mmap_rnd_bits).
const MMAP_RANDOM_PAGES: u64 = 1 << 28;

/// How many bytes the stack's top may lie below the end of user addresses.
const STACK_RANDOM: u64 = 16 << 30;

/// Where the mmap area begins below a stack limited to `stack_limit`, with `random` bits for ASLR (0 for none).
pub fn mmap_base(end: u64, stack_limit: u64, random: u64) -> u64 {
    let pad = super::STACK_GUARD_GAP + if random == 0 { 0 } else { STACK_RANDOM };
    let gap = stack_limit.saturating_add(pad).clamp(*STACK_GAP.start(), *STACK_GAP.end()).min(end / 6 * 5);
    (end - gap - (random % MMAP_RANDOM_PAGES) * PAGE) & !(PAGE - 1)
}

/// Random bits for address space layout: no secret beyond that.
pub fn aslr_random() -> u64 {
    RandomState::new().build_hasher().finish()
}
