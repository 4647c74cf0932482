//! ELF files: headers, segments, interpreter.

use std::sync::Arc;

use abi::Errno;
use abi::elf::{
    ELFMAG, EM_X86_64, ET_DYN, ET_EXEC, Ehdr, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_PHDR, Phdr, SegmentFlags,
};
use abi::mman::MapFlags;
use platform::Prot;
use zerocopy::FromBytes;

use super::{LoadRequest, read_at};
use crate::mm::{MapBacking, MapName, MapRequest, MemoryManager, MmLimits, PAGE, TASK_SIZE, UserAddr};
use crate::vfs::File;

/// Where position-independent programs are placed, before it is moved at random (ELF_ET_DYN_BASE).
const PIE_BASE: u64 = TASK_SIZE / 3 * 2;
/// How many pages a program is moved by at random.
const PIE_RANDOM_PAGES: u64 = 1 << 28;
/// How far behind the program the heap starts, at random.
const BRK_RANDOM: u64 = 0x0200_0000;
/// The most bytes of program headers that are read.
const MAX_PHDR_BYTES: usize = 65536;
/// The longest interpreter path, its NUL included.
const PATH_MAX: u64 = 4096;

/// The headers of a file.
pub(super) struct Program {
    header: Ehdr,
    segments: Vec<Phdr>,
}

/// A program that has been mapped.
pub(super) struct Loaded {
    /// Where to start: the interpreter's entry if there is one.
    pub entry: u64,
    /// Entry of the program itself (AT_ENTRY).
    pub program_entry: u64,
    /// Where its program headers are in memory (AT_PHDR).
    pub headers: u64,
    /// How many there are (AT_PHNUM).
    pub header_count: u64,
    /// Where the interpreter is (AT_BASE), or 0.
    pub base: u64,
}

impl Program {
    /// Reads and checks the headers of a program: ENOEXEC if it is none for this machine.
    pub fn read(file: &Arc<File>) -> Result<Program, Errno> {
        Program::read_or(file, Errno::ENOEXEC, Errno::ENOEXEC)
    }

    /// The same for an interpreter: ELIBBAD, and EIO for a file that ends within the first header.
    pub fn read_interpreter(file: &Arc<File>) -> Result<Program, Errno> {
        Program::read_or(file, Errno::EIO, Errno::ELIBBAD)
    }

    fn read_or(file: &Arc<File>, short: Errno, bad: Errno) -> Result<Program, Errno> {
        let mut bytes = [0u8; size_of::<Ehdr>()];
        if read_at(file, 0, &mut bytes)? != bytes.len() {
            return Err(short);
        }
        let header = Ehdr::read_from_bytes(&bytes).map_err(|_| bad)?;
        let fits = header.e_ident.starts_with(&ELFMAG)
            && header.e_machine == EM_X86_64
            && (header.e_type == ET_EXEC || header.e_type == ET_DYN);
        let size = size_of::<Phdr>();
        let bytes = usize::from(header.e_phnum) * size;
        if !fits || usize::from(header.e_phentsize) != size || bytes == 0 || bytes > MAX_PHDR_BYTES {
            return Err(bad);
        }
        let mut table = vec![0u8; bytes];
        if header.e_phoff > i64::MAX as u64 || read_at(file, header.e_phoff, &mut table)? != bytes {
            // Linux says EIO or ENOEXEC for a table beyond the end, by kernel; ENOEXEC it is in 6.x for programs.
            return Err(bad);
        }
        let segments = table.chunks_exact(size).filter_map(|c| Phdr::read_from_bytes(c).ok()).collect();
        Ok(Program { header, segments })
    }

    /// The path of its interpreter.
    pub fn interpreter(&self, file: &Arc<File>) -> Result<Option<Vec<u8>>, Errno> {
        let Some(segment) = self.segments.iter().find(|s| s.p_type == PT_INTERP) else { return Ok(None) };
        if segment.p_filesz > PATH_MAX || segment.p_filesz < 2 {
            return Err(Errno::ENOEXEC);
        }
        let mut path = vec![0u8; segment.p_filesz as usize];
        if segment.p_offset > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        if read_at(file, segment.p_offset, &mut path)? != path.len() {
            return Err(Errno::EIO);
        }
        if path.last() != Some(&0) {
            return Err(Errno::ENOEXEC);
        }
        path.truncate(path.iter().position(|b| *b == 0).unwrap_or(0));
        Ok(Some(path))
    }

    /// Whether it asks for an executable stack (PT_GNU_STACK with PF_X).
    pub fn executable_stack(&self) -> bool {
        let stack = self.segments.iter().rfind(|s| s.p_type == PT_GNU_STACK);
        stack.is_some_and(|s| s.p_flags & SegmentFlags::X.bits() != 0)
    }

    fn is_pie(&self) -> bool {
        self.header.e_type == ET_DYN
    }

    fn loads(&self) -> impl Iterator<Item = &Phdr> {
        self.segments.iter().filter(|s| s.p_type == PT_LOAD)
    }

    /// The addresses from the first to the last byte of all segments, as the file says.
    fn span(&self) -> Result<(u64, u64), Errno> {
        let mut low = u64::MAX;
        let mut high = 0;
        for segment in self.loads() {
            let end = segment.p_vaddr.checked_add(segment.p_memsz).ok_or(Errno::EINVAL)?;
            if end > TASK_SIZE || segment.p_filesz > segment.p_memsz {
                return Err(Errno::ENOMEM);
            }
            low = low.min(page_down(segment.p_vaddr));
            high = high.max(end);
        }
        if low >= high { Err(Errno::EINVAL) } else { Ok((low, page_up(high)?)) }
    }

    fn alignment(&self) -> u64 {
        let aligns = self.loads().map(|s| s.p_align).filter(|a| a.is_power_of_two());
        aligns.max().unwrap_or(PAGE).clamp(PAGE, 1 << 30)
    }

    /// Where the program headers are, relative to the load bias.
    fn headers_at(&self) -> u64 {
        if let Some(segment) = self.segments.iter().find(|s| s.p_type == PT_PHDR) {
            return segment.p_vaddr;
        }
        let offset = self.header.e_phoff;
        let holds = |s: &&Phdr| s.p_offset <= offset && offset - s.p_offset < s.p_filesz;
        self.loads().find(holds).map_or(0, |s| s.p_vaddr.wrapping_add(offset - s.p_offset))
    }
}

/// Maps program and interpreter.
pub(super) fn map(
    mm: &MemoryManager,
    program: &Program,
    load: &LoadRequest<'_>,
    interpreter: Option<&(Program, Arc<File>)>,
) -> Result<Loaded, Errno> {
    let (low, high) = program.span()?;
    let bias = if program.is_pie() {
        let random = load.random() % PIE_RANDOM_PAGES * PAGE;
        let at = page_down(PIE_BASE) + random;
        (at & !(program.alignment() - 1)).wrapping_sub(low)
    } else {
        0
    };
    map_segments(mm, program, &load.file, bias)?;
    set_layout(mm, program, bias, high.wrapping_add(bias) + page_down(load.random() % BRK_RANDOM));
    let program_entry = program.header.e_entry.wrapping_add(bias);
    let mut loaded = Loaded {
        entry: program_entry,
        program_entry,
        headers: program.headers_at().wrapping_add(bias),
        header_count: u64::from(program.header.e_phnum),
        base: 0,
    };
    if let Some((program, file)) = interpreter {
        let bias = if program.is_pie() { reserve(mm, program)? } else { 0 };
        map_segments(mm, program, file, bias)?;
        loaded.base = bias;
        loaded.entry = program.header.e_entry.wrapping_add(bias);
    }
    Ok(loaded)
}

/// Finds room for all of an interpreter where mmap would place it, and gives the bias.
fn reserve(mm: &MemoryManager, program: &Program) -> Result<u64, Errno> {
    let (low, high) = program.span()?;
    let align = program.alignment();
    let len = (high - low).checked_add(align - PAGE).ok_or(Errno::ENOMEM)?;
    let at =
        mm.mmap(request(UserAddr::NULL, len, Prot::empty(), MapFlags::PRIVATE, MapBacking::Anonymous))?;
    mm.munmap(at, len)?;
    Ok((at.0.checked_add(align - 1).ok_or(Errno::ENOMEM)? & !(align - 1)).wrapping_sub(low))
}

fn map_segments(mm: &MemoryManager, program: &Program, file: &Arc<File>, bias: u64) -> Result<(), Errno> {
    let (low, high) = program.span()?;
    let end = high.wrapping_add(bias);
    if low.wrapping_add(bias) > end || end > TASK_SIZE {
        return Err(Errno::ENOMEM);
    }
    for segment in program.loads() {
        map_segment(mm, segment, file, bias)?;
    }
    Ok(())
}

fn map_segment(mm: &MemoryManager, segment: &Phdr, file: &Arc<File>, bias: u64) -> Result<(), Errno> {
    let prot = protection(segment.p_flags);
    let start = segment.p_vaddr.wrapping_add(bias);
    let at = page_down(start);
    let in_page = start - at;
    let file_end = start + segment.p_filesz;
    let memory_end = page_up(start + segment.p_memsz)?;
    let mut mapped_end = at;
    if segment.p_filesz > 0 {
        let offset = segment.p_offset.checked_sub(in_page).ok_or(Errno::EINVAL)?;
        if offset % PAGE != 0 {
            return Err(Errno::EINVAL);
        }
        let backing = MapBacking::File {
            file: file.ops().mappable(file)?,
            offset,
            max_prot: Prot::READ | Prot::WRITE | Prot::EXEC,
            name: MapName::File(Arc::clone(file) as Arc<dyn crate::mm::MappedFile>),
        };
        let len = segment.p_filesz + in_page;
        mm.mmap(request(UserAddr(at), len, prot, MapFlags::PRIVATE | MapFlags::FIXED, backing))?;
        mapped_end = page_up(file_end)?;
        // What is behind the file's bytes in the last page is zero, if the program can write there.
        let tail = mapped_end.min(start + segment.p_memsz.max(segment.p_filesz)) - file_end;
        if segment.p_memsz > segment.p_filesz && prot.contains(Prot::WRITE) && mapped_end > file_end {
            let tail =
                if memory_end > mapped_end { mapped_end - file_end } else { tail.max(mapped_end - file_end) };
            mm.zero_out(UserAddr(file_end), tail)?;
        }
    }
    if memory_end > mapped_end {
        let len = memory_end - mapped_end;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED;
        mm.mmap(request(UserAddr(mapped_end), len, prot, flags, MapBacking::Anonymous))?;
    }
    Ok(())
}

fn set_layout(mm: &MemoryManager, program: &Program, bias: u64, brk: u64) {
    mm.update_layout(|layout| {
        layout.start_code = u64::MAX;
        for segment in program.loads() {
            let start = segment.p_vaddr.wrapping_add(bias);
            let end = start.wrapping_add(segment.p_filesz);
            layout.start_code = layout.start_code.min(start);
            layout.start_data = layout.start_data.max(start);
            if segment.p_flags & SegmentFlags::X.bits() != 0 {
                layout.end_code = layout.end_code.max(end);
            }
            layout.end_data = layout.end_data.max(end);
        }
        layout.start_brk = brk;
        layout.brk = brk;
    });
}

fn protection(flags: u32) -> Prot {
    let flags = SegmentFlags::from_bits_retain(flags);
    let mut prot = Prot::empty();
    prot.set(Prot::READ, flags.contains(SegmentFlags::R));
    prot.set(Prot::WRITE, flags.contains(SegmentFlags::W));
    prot.set(Prot::EXEC, flags.contains(SegmentFlags::X));
    prot
}

pub(super) fn request(
    addr: UserAddr,
    len: u64,
    prot: Prot,
    flags: MapFlags,
    backing: MapBacking,
) -> MapRequest {
    MapRequest { addr, len, prot, flags, backing, limits: MmLimits::UNLIMITED }
}

fn page_down(address: u64) -> u64 {
    address & !(PAGE - 1)
}

fn page_up(address: u64) -> Result<u64, Errno> {
    Ok(address.checked_add(PAGE - 1).ok_or(Errno::ENOMEM)? & !(PAGE - 1))
}
