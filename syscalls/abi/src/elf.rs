//! ELF files and the auxiliary vector. Numbers in a file are as the file has them: hostile.

wire! {
    /// `Elf64_Ehdr`.
    pub struct Ehdr {
        pub e_ident: [u8; 16],
        pub e_type: u16,
        pub e_machine: u16,
        pub e_version: u32,
        pub e_entry: u64,
        pub e_phoff: u64,
        pub e_shoff: u64,
        pub e_flags: u32,
        pub e_ehsize: u16,
        pub e_phentsize: u16,
        pub e_phnum: u16,
        pub e_shentsize: u16,
        pub e_shnum: u16,
        pub e_shstrndx: u16,
    }

    /// `Elf64_Phdr`.
    pub struct Phdr {
        pub p_type: u32,
        pub p_flags: u32,
        pub p_offset: u64,
        pub p_vaddr: u64,
        pub p_paddr: u64,
        pub p_filesz: u64,
        pub p_memsz: u64,
        pub p_align: u64,
    }

    /// `Elf64_Nhdr`: name and description follow, each padded to 4 bytes.
    pub struct Nhdr {
        pub n_namesz: u32,
        pub n_descsz: u32,
        pub n_type: u32,
    }
}

/// The first four bytes.
pub const ELFMAG: [u8; 4] = *b"\x7fELF";
/// Place of the class in `e_ident`.
pub const EI_CLASS: usize = 4;
/// Place of the byte order in `e_ident`.
pub const EI_DATA: usize = 5;
/// 64 bits.
pub const ELFCLASS64: u8 = 2;
/// Little endian.
pub const ELFDATA2LSB: u8 = 1;
/// x86-64.
pub const EM_X86_64: u16 = 62;
/// 386.
pub const EM_386: u16 = 3;

constants! {
    /// `e_type`.
    pub table ELF_TYPES: u16 {
        ET_NONE = 0;
        ET_REL = 1;
        ET_EXEC = 2;
        ET_DYN = 3;
        ET_CORE = 4;
    }
}

constants! {
    /// `p_type`.
    pub table SEGMENT_TYPES: u32 {
        PT_NULL = 0;
        PT_LOAD = 1;
        PT_DYNAMIC = 2;
        PT_INTERP = 3;
        PT_NOTE = 4;
        PT_SHLIB = 5;
        PT_PHDR = 6;
        PT_TLS = 7;
        PT_GNU_EH_FRAME = 0x6474_e550;
        PT_GNU_STACK = 0x6474_e551;
        PT_GNU_RELRO = 0x6474_e552;
        PT_GNU_PROPERTY = 0x6474_e553;
    }
}

flags! {
    /// `p_flags`.
    pub struct SegmentFlags: u32, "PF_" {
        const R = 4;
        const W = 2;
        const X = 1;
    }
}

constants! {
    /// Keys of the auxiliary vector.
    pub table AUX_KEYS: u64 {
        AT_NULL = 0;
        AT_IGNORE = 1;
        AT_EXECFD = 2;
        AT_PHDR = 3;
        AT_PHENT = 4;
        AT_PHNUM = 5;
        AT_PAGESZ = 6;
        AT_BASE = 7;
        AT_FLAGS = 8;
        AT_ENTRY = 9;
        AT_NOTELF = 10;
        AT_UID = 11;
        AT_EUID = 12;
        AT_GID = 13;
        AT_EGID = 14;
        AT_PLATFORM = 15;
        AT_HWCAP = 16;
        AT_CLKTCK = 17;
        AT_SECURE = 23;
        AT_BASE_PLATFORM = 24;
        AT_RANDOM = 25;
        AT_HWCAP2 = 26;
        AT_RSEQ_FEATURE_SIZE = 27;
        AT_RSEQ_ALIGN = 28;
        AT_HWCAP3 = 29;
        AT_HWCAP4 = 30;
        AT_EXECFN = 31;
        AT_SYSINFO_EHDR = 33;
        AT_MINSIGSTKSZ = 51;
    }
}

constants! {
    /// Notes of core files and register sets of ptrace(2).
    pub table NOTE_TYPES: u32 {
        NT_PRSTATUS = 1;
        NT_PRFPREG = 2;
        NT_PRPSINFO = 3;
        NT_AUXV = 6;
        NT_X86_XSTATE = 0x202;
        NT_SIGINFO = 0x5349_4749;
        NT_FILE = 0x4649_4c45;
    }
}

flags! {
    /// Personality bits; the low byte is the domain, 0 being Linux.
    pub struct Personality: u32, "" {
        const UNAME26 = 0x002_0000;
        const ADDR_NO_RANDOMIZE = 0x004_0000;
        const FDPIC_FUNCPTRS = 0x008_0000;
        const MMAP_PAGE_ZERO = 0x010_0000;
        const ADDR_COMPAT_LAYOUT = 0x020_0000;
        const READ_IMPLIES_EXEC = 0x040_0000;
        const ADDR_LIMIT_32BIT = 0x080_0000;
        const SHORT_INODE = 0x100_0000;
        const WHOLE_SECONDS = 0x200_0000;
        const STICKY_TIMEOUTS = 0x400_0000;
        const ADDR_LIMIT_3GB = 0x800_0000;
    }
}

/// The most bytes of one argument or environment string, its NUL included.
pub const MAX_ARG_STRLEN: usize = 32 * 4096;
/// The most arguments.
pub const MAX_ARG_STRINGS: usize = 0x7fff_ffff;
/// Bytes of a script's first line that are looked at.
pub const BINPRM_BUF_SIZE: usize = 256;
