//! What the processor says of itself (CPUID).

use std::arch::x86_64::{__cpuid, __cpuid_count, _fxsave64, CpuidResult};
use std::sync::OnceLock;

/// A description, as /proc/cpuinfo has it.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// `GenuineIntel`, `AuthenticAMD` …
    pub vendor: String,
    /// Brand string.
    pub name: String,
    /// Family, with the extended part.
    pub family: u32,
    /// Model, with the extended part.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
    /// Highest basic leaf.
    pub level: u32,
    /// Names of features, separated by blanks.
    pub flags: String,
    /// Width of physical addresses.
    pub physical_bits: u32,
    /// Width of virtual addresses.
    pub virtual_bits: u32,
}

/// Bits that may be set in MXCSR.
pub fn mxcsr_mask() -> u32 {
    #[repr(align(16))]
    struct Area([u8; 512]);
    static MASK: OnceLock<u32> = OnceLock::new();
    *MASK.get_or_init(|| {
        let mut area = Area([0; 512]);
        // SAFETY: the area has the size and alignment that the instruction wants; every x86-64 CPU has it.
        unsafe { _fxsave64(area.0.as_mut_ptr()) };
        match u32::from_le_bytes([area.0[28], area.0[29], area.0[30], area.0[31]]) {
            // What a CPU that does not say has.
            0 => 0xffbf,
            mask => mask,
        }
    })
}

const LEAF1_EDX: [&str; 32] = [
    "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "", "sep", "mtrr", "pge", "mca",
    "cmov", "pat", "pse36", "pn", "clflush", "", "dts", "acpi", "mmx", "fxsr", "sse", "sse2", "ss", "ht",
    "tm", "ia64", "pbe",
];
const EXT_EDX: [(u32, &str); 7] = [
    (11, "syscall"),
    (20, "nx"),
    (22, "mmxext"),
    (25, "fxsr_opt"),
    (26, "pdpe1gb"),
    (27, "rdtscp"),
    (29, "lm"),
];
const LEAF1_ECX: [&str; 32] = [
    "pni",
    "pclmulqdq",
    "dtes64",
    "monitor",
    "ds_cpl",
    "vmx",
    "smx",
    "est",
    "tm2",
    "ssse3",
    "cid",
    "sdbg",
    "fma",
    "cx16",
    "xtpr",
    "pdcm",
    "",
    "pcid",
    "dca",
    "sse4_1",
    "sse4_2",
    "x2apic",
    "movbe",
    "popcnt",
    "tsc_deadline_timer",
    "aes",
    "xsave",
    "",
    "avx",
    "f16c",
    "rdrand",
    "hypervisor",
];
const EXT_ECX: [(u32, &str); 8] = [
    (0, "lahf_lm"),
    (4, "cr8_legacy"),
    (5, "abm"),
    (6, "sse4a"),
    (7, "misalignsse"),
    (8, "3dnowprefetch"),
    (9, "osvw"),
    (22, "topoext"),
];
const LEAF7_EBX: [&str; 32] = [
    "fsgsbase",
    "tsc_adjust",
    "",
    "bmi1",
    "hle",
    "avx2",
    "",
    "smep",
    "bmi2",
    "erms",
    "invpcid",
    "rtm",
    "cqm",
    "mpx",
    "rdt_a",
    "",
    "avx512f",
    "avx512dq",
    "rdseed",
    "adx",
    "smap",
    "avx512ifma",
    "",
    "clflushopt",
    "clwb",
    "intel_pt",
    "avx512pf",
    "avx512er",
    "avx512cd",
    "sha_ni",
    "avx512bw",
    "avx512vl",
];
const LEAF7_ECX: [(u32, &str); 12] = [
    (1, "avx512vbmi"),
    (2, "umip"),
    (3, "pku"),
    (4, "ospke"),
    (6, "avx512_vbmi2"),
    (8, "gfni"),
    (9, "vaes"),
    (10, "vpclmulqdq"),
    (11, "avx512_vnni"),
    (12, "avx512_bitalg"),
    (14, "avx512_vpopcntdq"),
    (22, "rdpid"),
];

fn leaf(number: u32) -> CpuidResult {
    __cpuid(number)
}

/// Asks this machine's processor.
pub fn describe() -> Cpu {
    let basic = leaf(0);
    let mut vendor = Vec::new();
    for register in [basic.ebx, basic.edx, basic.ecx] {
        vendor.extend(register.to_le_bytes());
    }
    let version = leaf(1);
    let (family, model) = (version.eax >> 8 & 0xf, version.eax >> 4 & 0xf);
    let highest = leaf(0x8000_0000).eax;
    let mut name = Vec::new();
    if highest >= 0x8000_0004 {
        for number in 0x8000_0002..=0x8000_0004u32 {
            let part = leaf(number);
            for register in [part.eax, part.ebx, part.ecx, part.edx] {
                name.extend(register.to_le_bytes());
            }
        }
    }
    let (mut physical_bits, mut virtual_bits) = (36, 48);
    if highest >= 0x8000_0008 {
        let sizes = leaf(0x8000_0008).eax;
        (physical_bits, virtual_bits) = (sizes & 0xff, sizes >> 8 & 0xff);
    }
    Cpu {
        vendor: text(&vendor),
        name: text(&name),
        family: if family == 0xf { family + (version.eax >> 20 & 0xff) } else { family },
        model: if family == 6 || family == 0xf { model | (version.eax >> 12 & 0xf0) } else { model },
        stepping: version.eax & 0xf,
        level: basic.eax,
        flags: flags(basic.eax, highest, version),
        physical_bits,
        virtual_bits,
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

fn flags(highest: u32, highest_extended: u32, version: CpuidResult) -> String {
    let mut names: Vec<&str> = Vec::new();
    let dense = |names: &mut Vec<&'static str>, register: u32, table: &[&'static str; 32]| {
        names.extend(
            table
                .iter()
                .enumerate()
                .filter(|(bit, n)| register >> bit & 1 == 1 && !n.is_empty())
                .map(|n| *n.1),
        );
    };
    let sparse = |names: &mut Vec<&'static str>, register: u32, table: &[(u32, &'static str)]| {
        names.extend(table.iter().filter(|(bit, _)| register >> bit & 1 == 1).map(|n| n.1));
    };
    dense(&mut names, version.edx, &LEAF1_EDX);
    let extended = if highest_extended >= 0x8000_0001 { Some(leaf(0x8000_0001)) } else { None };
    if let Some(extended) = extended {
        sparse(&mut names, extended.edx, &EXT_EDX);
    }
    dense(&mut names, version.ecx, &LEAF1_ECX);
    if let Some(extended) = extended {
        sparse(&mut names, extended.ecx, &EXT_ECX);
    }
    if highest >= 7 {
        let features = __cpuid_count(7, 0);
        dense(&mut names, features.ebx, &LEAF7_EBX);
        sparse(&mut names, features.ecx, &LEAF7_ECX);
    }
    names.join(" ")
}

/// The time stamp counter now. Not ordered against what is around it.
pub fn time_stamp() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and the host lets user code use it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// Whether the counter runs at one rate whatever the processor does, and is the same on all of them.
pub fn has_invariant_time_stamp() -> bool {
    leaf(0x8000_0000).eax >= 0x8000_0007 && leaf(0x8000_0007).edx >> 8 & 1 == 1
}
