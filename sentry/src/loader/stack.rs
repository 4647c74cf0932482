//! The first stack: strings, pointers, auxiliary vector (getauxval(3)).

use abi::Errno;
use abi::elf as key;
use abi::elf::MAX_ARG_STRLEN;
use abi::mman::MapFlags;
use abi::resource::RLIMIT_STACK;
use platform::Prot;

use super::LoadRequest;
use super::elf::{Loaded, Program, request as map_request};
use crate::mm::{MapBacking, MemoryManager, PAGE, UserAddr};
use crate::task::{Credentials, Limits};

/// The least room for arguments that Linux guarantees (ARG_MAX).
const ARG_MIN: u64 = 32 * PAGE;
/// The most: three quarters of the default stack.
const ARG_LIMIT: u64 = (8 << 20) / 4 * 3;
/// Stack that is mapped beyond the arguments; the rest grows.
const FIRST_STACK: u64 = 128 << 10;
/// More than the auxiliary vector and all else that is no argument takes.
const AUXILIARY: u64 = 1024;
/// How many pages below the end of user memory the stack may start, at random.
const STACK_RANDOM_PAGES: u64 = 0x3f_ffff;
/// Linux leaves a pointer's size free at the very top.
const TOP_GAP: u64 = 8;

/// E2BIG when strings and pointers are more than the stack limit allows (execve(2), "Limits on size").
pub(super) fn check_size(argv: &[Vec<u8>], envp: &[Vec<u8>], limits: &Limits) -> Result<(), Errno> {
    let stack = limits.get(RLIMIT_STACK).rlim_cur;
    let limit = ARG_LIMIT.min(stack / 4).max(ARG_MIN);
    let mut bytes = (argv.len().max(1) + envp.len()) as u64 * 8;
    for string in argv.iter().chain(envp) {
        if string.len() >= MAX_ARG_STRLEN {
            return Err(Errno::E2BIG);
        }
        bytes += string.len() as u64 + 1;
        if bytes > limit {
            return Err(Errno::E2BIG);
        }
    }
    Ok(())
}

fn page_up(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE)
}

/// Maps the stack and gives its top.
pub(super) fn map(
    mm: &MemoryManager,
    program: &Program,
    stack_limit: u64,
    request: &LoadRequest<'_>,
    exec_name: &[u8],
) -> Result<u64, Errno> {
    let end = request.kernel.platform.user_range().end.min(crate::mm::TASK_SIZE);
    let top = end - (1 + request.random() % STACK_RANDOM_PAGES) * PAGE;
    // Room for what `fill` writes, and a little more if the limit permits: the rest grows when it is touched.
    let strings =
        request.argv.iter().chain(&request.envp).map(|string| string.len() as u64 + 1 + 8).sum::<u64>();
    let filled = page_up(strings + exec_name.len() as u64 + AUXILIARY);
    let len = filled.max((filled + FIRST_STACK).min(stack_limit & !(PAGE - 1)));
    let mut prot = Prot::READ | Prot::WRITE;
    prot.set(Prot::EXEC, program.executable_stack());
    let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::GROWSDOWN | MapFlags::STACK;
    mm.mmap(map_request(UserAddr(top - len), len, prot, flags, MapBacking::Anonymous))?;
    mm.update_layout(|layout| {
        layout.mmap_base = crate::mm::layout::mmap_base(end, stack_limit, request.random());
    });
    Ok(top)
}

/// Writes everything a program finds on its stack and gives the stack pointer.
#[allow(clippy::too_many_arguments)]
pub(super) fn fill(
    mm: &MemoryManager,
    top: u64,
    loaded: &Loaded,
    request: &LoadRequest<'_>,
    exec_name: &[u8],
    vdso: u64,
    creds: &Credentials,
    secure: bool,
) -> Result<u64, Errno> {
    // Strings, from the top down: name, environment, arguments, so that arguments are lowest.
    let mut argv: Vec<&[u8]> = request.argv.iter().map(Vec::as_slice).collect();
    if argv.is_empty() {
        // Linux gives every program an argv[0].
        argv.push(b"");
    }
    let envp: Vec<&[u8]> = request.envp.iter().map(Vec::as_slice).collect();
    let mut strings = Vec::new();
    let mut offsets = Vec::with_capacity(argv.len() + envp.len() + 1);
    for string in argv.iter().chain(&envp).chain([&exec_name]) {
        offsets.push(strings.len() as u64);
        strings.extend_from_slice(string);
        strings.push(0);
    }
    let strings_at = top - TOP_GAP - strings.len() as u64;
    mm.copy_out(UserAddr(strings_at), &strings)?;
    let address = |index: usize| strings_at + offsets[index];
    let env_at = argv.len();
    let name_at = argv.len() + envp.len();

    // Below them: the platform's name and 16 random bytes.
    let platform_at = strings_at - 7;
    mm.copy_out(UserAddr(platform_at), b"x86_64\0")?;
    let random_at = (platform_at - 16) & !15;
    let mut random = [0u8; 16];
    host::random::fill(&mut random).map_err(|_| Errno::EIO)?;
    mm.copy_out(UserAddr(random_at), &random)?;

    let ids = &creds.user_ns;
    let (hwcap, hwcap2) = host::process::hardware_capabilities();
    let xstate = request.kernel.xstate();
    let mut auxv: Vec<u64> = Vec::new();
    let mut add = |key: u64, value: u64| auxv.extend([key, value]);
    if vdso != 0 {
        add(key::AT_SYSINFO_EHDR, vdso);
    }
    // What a frame takes besides the XSAVE area, rounded up as Linux does (sigframe size and alignment).
    add(key::AT_MINSIGSTKSZ, (xstate.size as u64 + 4 + 440 + 64 + 16 + 63) & !63);
    add(key::AT_HWCAP, hwcap);
    add(key::AT_PAGESZ, PAGE);
    add(key::AT_CLKTCK, 100);
    add(key::AT_PHDR, loaded.headers);
    add(key::AT_PHENT, size_of::<abi::elf::Phdr>() as u64);
    add(key::AT_PHNUM, loaded.header_count);
    add(key::AT_BASE, loaded.base);
    add(key::AT_FLAGS, 0);
    add(key::AT_ENTRY, loaded.program_entry);
    add(key::AT_UID, u64::from(ids.uid_inside(creds.uid)));
    add(key::AT_EUID, u64::from(ids.uid_inside(creds.euid)));
    add(key::AT_GID, u64::from(ids.gid_inside(creds.gid)));
    add(key::AT_EGID, u64::from(ids.gid_inside(creds.egid)));
    add(key::AT_SECURE, u64::from(secure));
    add(key::AT_RANDOM, random_at);
    add(key::AT_HWCAP2, hwcap2);
    add(key::AT_RSEQ_FEATURE_SIZE, abi::rseq::RSEQ_FEATURE_SIZE);
    add(key::AT_RSEQ_ALIGN, u64::from(abi::rseq::ORIG_RSEQ_SIZE));
    add(key::AT_EXECFN, address(name_at));
    add(key::AT_PLATFORM, platform_at);
    add(key::AT_NULL, 0);

    let mut words: Vec<u64> = vec![argv.len() as u64];
    words.extend((0..argv.len()).map(address));
    words.push(0);
    words.extend((env_at..name_at).map(address));
    words.push(0);
    words.extend(&auxv);
    let rsp = (random_at - words.len() as u64 * 8) & !15;
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
    mm.copy_out(UserAddr(rsp), &bytes)?;

    mm.update_layout(|layout| {
        layout.start_stack = rsp;
        layout.arg_start = address(0);
        layout.arg_end = address(env_at);
        layout.env_start = address(env_at);
        layout.env_end = address(name_at);
        layout.auxv = auxv.into();
        layout.vdso = vdso;
    });
    Ok(rsp)
}
