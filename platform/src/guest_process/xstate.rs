//! Shape of the XSAVE area, its initial contents, and what of a guest's area is let through.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;

use crate::api::XState;

/// Legacy region; the header follows.
const LEGACY: usize = 512;
const HEADER_END: usize = 576;
/// Registers xmm0 to xmm15.
const XMM: std::ops::Range<usize> = 160..416;
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
const DEFAULT_MXCSR: u32 = 0x1f80;
/// When the CPU does not say which MXCSR bits exist.
const DEFAULT_MXCSR_MASK: u32 = 0xffbf;

const X87: u64 = 1;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const PKRU: u64 = 1 << 9;
/// AMX tiles: a process has to ask for them, which stubs don't.
const TILES: u64 = 3 << 17;

/// State components that are enabled.
fn xcr0() -> u64 {
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid_count(1, 0).ecx & OSXSAVE == 0 {
        return 0;
    }
    let (low, high): (u32, u32);
    // SAFETY: the instruction exists where CPUID says OSXSAVE; register 0 always does.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(low) | u64::from(high) << 32
}

/// The protection keys register of the calling thread; to be called where it is enabled.
fn pkru() -> u32 {
    const OSPKE: u32 = 1 << 4;
    if __cpuid_count(7, 0).ecx & OSPKE == 0 {
        return 0;
    }
    let value;
    // SAFETY: the instruction exists where CPUID says OSPKE.
    unsafe { asm!("rdpkru", in("ecx") 0, out("eax") value, out("edx") _, options(nomem, nostack)) };
    value
}

/// The area as host and guests see it.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) shape: XState,
    /// A new program's state, in the size that the host wants (at least `shape.size`).
    initial: Vec<u8>,
    /// Offset and size of each component (by its bit number), for those in `shape.features`.
    components: Vec<(u64, usize, usize)>,
    mxcsr_mask: u32,
}

fn word(area: &[u8], at: usize) -> u64 {
    area.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

fn half(area: &[u8], at: usize) -> u32 {
    area.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

impl Layout {
    /// As the CPU and this process have it.
    pub(crate) fn of_cpu() -> Layout {
        let features = xcr0() & !TILES;
        // Larger than any state that a CPU has today.
        let mut area = vec![0u8; 1 << 16];
        area[464..472].copy_from_slice(&features.to_le_bytes());
        if features & PKRU != 0 {
            let at = __cpuid_count(0xd, PKRU.trailing_zeros()).ebx as usize;
            if let Some(place) = area.get_mut(at..at + 4) {
                place.copy_from_slice(&pkru().to_le_bytes());
            }
        }
        let mut layout = Layout::from_area(&area);
        layout.initial.truncate(layout.shape.size);
        layout
    }

    /// Makes an area that the host has written to a signal frame what [`XState`] promises: components that are in
    /// their initial state look like it.
    pub(crate) fn normalise(&self, area: &mut [u8]) {
        let present = word(area, LEGACY);
        if present & X87 == 0 {
            area[..24].copy_from_slice(&self.initial[..24]);
            area[32..XMM.start].fill(0);
        }
        if present & SSE == 0 {
            area[XMM].fill(0);
        }
        for &(bit, offset, len) in &self.components {
            if present & bit == 0 {
                area[offset..offset + len].copy_from_slice(&self.initial[offset..offset + len]);
            }
        }
        area[XMM.end..LEGACY].copy_from_slice(&self.initial[XMM.end..LEGACY]);
        area[MXCSR_MASK..MXCSR_MASK + 4].copy_from_slice(&self.mxcsr_mask.to_le_bytes());
        let mxcsr = half(area, MXCSR) & self.mxcsr_mask;
        area[MXCSR..MXCSR + 4].copy_from_slice(&mxcsr.to_le_bytes());
        area[LEGACY..LEGACY + 8].copy_from_slice(&(present & self.shape.features).to_le_bytes());
        area[LEGACY + 8..HEADER_END].fill(0);
    }

    /// From the area of a process that never used vector registers, as the host shows it.
    pub(crate) fn from_area(area: &[u8]) -> Layout {
        // The host tells its features in bytes that the CPU leaves to software (struct _fpx_sw_bytes without magic).
        let told = word(area, 464);
        let features = if told & X87 != 0 { told & !TILES } else { X87 | SSE };
        let mut components = Vec::new();
        let mut size = HEADER_END;
        for bit in (2..63).filter(|bit| features >> bit & 1 == 1) {
            let leaf = __cpuid_count(0xd, bit);
            let (offset, len) = (leaf.ebx as usize, leaf.eax as usize);
            if offset >= HEADER_END && offset + len <= area.len() {
                components.push((1 << bit, offset, len));
                size = size.max(offset + len);
            }
        }
        let features = components.iter().fold(features & (X87 | SSE), |all, c| all | c.0);
        let mxcsr_mask = match half(area, MXCSR_MASK) {
            0 => DEFAULT_MXCSR_MASK,
            mask => mask,
        };
        let mut initial = area.to_vec();
        initial[..LEGACY].fill(0);
        initial[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        initial[MXCSR..MXCSR + 4].copy_from_slice(&DEFAULT_MXCSR.to_le_bytes());
        initial[MXCSR_MASK..MXCSR_MASK + 4].copy_from_slice(&mxcsr_mask.to_le_bytes());
        initial[464..LEGACY].copy_from_slice(&area[464..LEGACY]);
        initial[LEGACY..].fill(0);
        let layout = Layout { shape: XState { size, features }, initial: Vec::new(), components, mxcsr_mask };
        layout.keep_pkru(&mut initial, area);
        Layout { initial, ..layout }
    }

    /// A new program's state, in the host's size.
    pub(crate) fn initial(&self) -> &[u8] {
        &self.initial
    }

    /// Protection keys are no register that a guest may lose through a signal frame: they always are as the host
    /// gave them.
    fn keep_pkru(&self, area: &mut [u8], from: &[u8]) {
        if let Some(&(bit, offset, len)) = self.components.iter().find(|c| c.0 == PKRU) {
            area[offset..offset + len].copy_from_slice(&from[offset..offset + len]);
            let present = word(area, LEGACY) | bit;
            area[LEGACY..LEGACY + 8].copy_from_slice(&present.to_le_bytes());
        }
    }

    /// Writes what a guest gave into `area` (the host's size), such that the host takes it whatever it was.
    pub(crate) fn sanitise(&self, given: &[u8], area: &mut Vec<u8>) {
        area.clear();
        area.extend_from_slice(&self.initial);
        if given.len() < LEGACY {
            return;
        }
        // Software bytes stay as the host has them.
        area[..464].copy_from_slice(&given[..464]);
        let mxcsr = half(given, MXCSR) & self.mxcsr_mask;
        area[MXCSR..MXCSR + 4].copy_from_slice(&mxcsr.to_le_bytes());
        area[MXCSR_MASK..MXCSR_MASK + 4].copy_from_slice(&self.mxcsr_mask.to_le_bytes());
        let mut present = if given.len() < HEADER_END { X87 | SSE } else { word(given, LEGACY) };
        present &= self.shape.features & !PKRU;
        let mut kept = present & (X87 | SSE);
        for &(bit, offset, len) in &self.components {
            if present & bit != 0 && given.len() >= offset + len {
                area[offset..offset + len].copy_from_slice(&given[offset..offset + len]);
                kept |= bit;
            }
        }
        // The CPU would load MXCSR even when it is told that the SSE registers are in their initial state; the host does
        // so only with the registers.
        if kept & (SSE | AVX) == 0 && mxcsr != DEFAULT_MXCSR {
            area[XMM].fill(0);
            kept |= SSE;
        }
        area[LEGACY..LEGACY + 8].copy_from_slice(&kept.to_le_bytes());
        area[LEGACY + 8..HEADER_END].fill(0);
        self.keep_pkru(area, &self.initial);
    }
}
