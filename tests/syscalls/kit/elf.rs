//! Small ELF files, right ones and lying ones, and what they do.

use std::ffi::CStr;
use std::slice;

use super::files::put;
use crate::sys;

/// A program header.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// PT_LOAD and so on.
    pub kind: u32,
    /// PF_ bits: 1 execute, 2 write, 4 read.
    pub flags: u32,
    /// Where in the file.
    pub offset: u64,
    /// Where in memory.
    pub addr: u64,
    /// Bytes from the file.
    pub file_size: u64,
    /// Bytes in memory.
    pub mem_size: u64,
    /// Alignment.
    pub align: u64,
}

/// An ELF file that can be bent before it is written.
#[derive(Clone, Debug)]
pub struct Image {
    /// Magic number, class, byte order, version, system.
    pub ident: [u8; 16],
    /// ET_EXEC is 2, ET_DYN is 3.
    pub kind: u16,
    /// EM_X86_64 is 62.
    pub machine: u16,
    /// Where it starts.
    pub entry: u64,
    /// Where the program headers are.
    pub ph_offset: u64,
    /// Size of a program header.
    pub ph_size: u16,
    /// Number of program headers; `None` for what there are.
    pub ph_count: Option<u16>,
    /// The program headers.
    pub segments: Vec<Segment>,
    /// What stands at an offset.
    pub content: Vec<(usize, Vec<u8>)>,
}

/// Where images are loaded that are not position independent.
pub const BASE: u64 = 0x1000_0000;
/// The offset of the code in file and memory.
pub const CODE: u64 = 0x1000;
/// PT_LOAD
pub const LOAD: u32 = 1;
/// PT_INTERP
pub const INTERP: u32 = 3;
/// PT_GNU_STACK
pub const GNU_STACK: u32 = 0x6474_e551;

impl Image {
    /// A static program at [`BASE`]: one segment with the headers and the code.
    pub fn new(code: &[u8]) -> Image {
        let mut ident = [0u8; 16];
        ident[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
        let size = CODE + code.len() as u64;
        Image {
            ident,
            kind: 2,
            machine: 62,
            entry: BASE + CODE,
            ph_offset: 64,
            ph_size: 56,
            ph_count: None,
            segments: vec![
                Segment {
                    kind: LOAD,
                    flags: 5,
                    offset: 0,
                    addr: BASE,
                    file_size: size,
                    mem_size: size,
                    align: 0x1000,
                },
                Segment {
                    kind: GNU_STACK,
                    flags: 6,
                    offset: 0,
                    addr: 0,
                    file_size: 0,
                    mem_size: 0,
                    align: 16,
                },
            ],
            content: vec![(CODE as usize, code.to_vec())],
        }
    }

    /// The same, position independent.
    pub fn pie(code: &[u8]) -> Image {
        let mut image = Image::new(code);
        image.kind = 3;
        image.entry = CODE;
        image.segments[0].addr = 0;
        image
    }

    /// Asks for an interpreter; `name` brings its own end.
    pub fn interpreter(mut self, name: &[u8]) -> Image {
        let at = 0x800;
        self.content.push((at, name.to_vec()));
        let size = name.len() as u64;
        let segment = Segment {
            kind: INTERP,
            flags: 4,
            offset: at as u64,
            addr: self.segments[0].addr + at as u64,
            file_size: size,
            mem_size: size,
            align: 1,
        };
        self.segments.insert(0, segment);
        self
    }

    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = self.ident.to_vec();
        head.extend(self.kind.to_le_bytes());
        head.extend(self.machine.to_le_bytes());
        head.extend(1u32.to_le_bytes());
        for word in [self.entry, self.ph_offset, 0] {
            head.extend(word.to_le_bytes());
        }
        head.extend(0u32.to_le_bytes());
        let count = self.ph_count.unwrap_or(self.segments.len() as u16);
        for half in [64, self.ph_size, count, 64, 0, 0] {
            head.extend(half.to_le_bytes());
        }
        let mut table = Vec::new();
        for s in &self.segments {
            table.extend(s.kind.to_le_bytes());
            table.extend(s.flags.to_le_bytes());
            for word in [s.offset, s.addr, s.addr, s.file_size, s.mem_size, s.align] {
                table.extend(word.to_le_bytes());
            }
        }
        let mut all = Vec::new();
        for (at, part) in [(0, head), (64, table)].iter().chain(&self.content) {
            if all.len() < at + part.len() {
                all.resize(at + part.len(), 0);
            }
            all[*at..at + part.len()].copy_from_slice(part);
        }
        all
    }

    /// Writes it as an executable file.
    #[track_caller]
    pub fn write(&self, name: &CStr) {
        put_program(name, &self.bytes());
    }
}

/// A file that may be executed.
#[track_caller]
pub fn put_program(name: &CStr, bytes: &[u8]) {
    put(name, bytes);
    super::check::ok(sys!(fchmodat, libc::AT_FDCWD, name, 0o755));
}

macro_rules! code {
    ($($(#[$doc:meta])* $name:ident $first:literal $end:literal: $($line:literal)+;)*) => {
        std::arch::global_asm!(
            ".pushsection .rodata",
            $(concat!($first, ":"), $($line,)+ concat!($end, ":"),)*
            ".popsection",
        );
        $($(#[$doc])*
        pub fn $name() -> &'static [u8] {
            unsafe extern "C" {
                #[link_name = $first]
                static FIRST: [u8; 0];
                #[link_name = $end]
                static END: [u8; 0];
            }
            let (first, end) = (&raw const FIRST as *const u8, &raw const END as *const u8);
            // SAFETY: the assembler puts both symbols round the same bytes of read-only data.
            unsafe { slice::from_raw_parts(first, end as usize - first as usize) }
        })*
    };
}

code! {
    /// Exits with 42.
    exit_42 "code_exit_42" "code_exit_42_end":
        "mov edi, 42"
        "mov eax, 60"
        "syscall";
    /// Exits with 43.
    exit_43 "code_exit_43" "code_exit_43_end":
        "mov edi, 43"
        "mov eax, 60"
        "syscall";
    /// Exits with argc.
    exit_argc "code_exit_argc" "code_exit_argc_end":
        "mov edi, [rsp]"
        "mov eax, 60"
        "syscall";
    /// Exits with the last four bits of the stack pointer.
    exit_alignment "code_exit_alignment" "code_exit_alignment_end":
        "mov rdi, rsp"
        "and edi, 15"
        "mov eax, 60"
        "syscall";
    /// Exits with 0 if every general register is zero, the flags are clear and the FPU is as new.
    exit_registers "code_exit_registers" "code_exit_registers_end":
        "or rax, rbx"
        "or rax, rcx"
        "or rax, rdx"
        "or rax, rsi"
        "or rax, rdi"
        "or rax, rbp"
        "or rax, r8"
        "or rax, r9"
        "or rax, r10"
        "or rax, r11"
        "or rax, r12"
        "or rax, r13"
        "or rax, r14"
        "or rax, r15"
        "mov edi, 1"
        "jnz 2f"
        "sub rsp, 16"
        "stmxcsr [rsp]"
        "fnstcw [rsp + 4]"
        "mov edi, 2"
        "cmp dword ptr [rsp], 0x1f80"
        "jne 2f"
        "mov edi, 3"
        "cmp word ptr [rsp + 4], 0x37f"
        "jne 2f"
        "movq rax, xmm0"
        "mov edi, 4"
        "test rax, rax"
        "jnz 2f"
        "mov eax, ds"
        "mov edx, es"
        "or eax, edx"
        "mov edx, fs"
        "or eax, edx"
        "mov edx, gs"
        "or eax, edx"
        "mov edi, 5"
        "jnz 2f"
        "xor edi, edi"
        "2: mov eax, 60"
        "syscall";
    /// Runs an `exit(44)` that it has put on the stack.
    run_on_stack "code_run_on_stack" "code_run_on_stack_end":
        "sub rsp, 64"
        "mov dword ptr [rsp], 0x00002cbf"
        "mov dword ptr [rsp + 4], 0x003cb800"
        "mov dword ptr [rsp + 8], 0x050f0000"
        "jmp rsp";
    /// Exits with the byte at BASE + 0x3800.
    exit_byte "code_exit_byte" "code_exit_byte_end":
        "mov eax, 0x10003800"
        "movzx edi, byte ptr [rax]"
        "mov eax, 60"
        "syscall";
    /// Stops itself, then exits with 0.
    stop "code_stop" "code_stop_end":
        "mov eax, 39"
        "syscall"
        "mov edi, eax"
        "mov esi, 19"
        "mov eax, 62"
        "syscall"
        "xor edi, edi"
        "mov eax, 60"
        "syscall";
}
