//! Pieces of guest code, and a guest to run them in.

use std::sync::Arc;

use crate::{AddressSpace, Backing, Context, Frames, PAGE_SIZE, Platform, Prot, Registers, Trap};

/// Where guest code is put.
pub(crate) const CODE: u64 = 0x40_0000;
/// A few pages of data.
pub(crate) const DATA: u64 = 0x60_0000;
/// Pages at [`DATA`].
pub(crate) const DATA_PAGES: u64 = 4;

/// A function that returns the bytes of a piece of position-independent code.
macro_rules! guest_code {
    ($(#[$doc:meta])* $name:ident: $($line:literal)*) => {
        std::arch::global_asm!(
            concat!(".pushsection .rodata.guest_", stringify!($name), ",\"a\",@progbits"),
            concat!(".hidden guest_", stringify!($name)),
            concat!(".globl guest_", stringify!($name)),
            concat!("guest_", stringify!($name), ":"),
            $($line,)*
            concat!(".hidden guest_", stringify!($name), "_end"),
            concat!(".globl guest_", stringify!($name), "_end"),
            concat!("guest_", stringify!($name), "_end:"),
            ".popsection",
        );

        $(#[$doc])*
        pub(crate) fn $name() -> &'static [u8] {
            unsafe extern "C" {
                #[link_name = concat!("guest_", stringify!($name))]
                static BEGIN: u8;
                #[link_name = concat!("guest_", stringify!($name), "_end")]
                static END: u8;
            }
            let (begin, end) = (&raw const BEGIN, &raw const END);
            // SAFETY: the code lies between the two symbols, and is never written.
            unsafe { std::slice::from_raw_parts(begin, end as usize - begin as usize) }
        }
    };
}

pub(crate) use guest_code;

guest_code! {
    /// Makes system call `rbx` over and over.
    call_loop: "2: mov rax, rbx" "syscall" "jmp 2b"
}
guest_code! {
    /// Counts in rbx for ever.
    spin: "2: inc rbx" "jmp 2b"
}
guest_code! {
    /// Counts at [rdi] for ever.
    count_in_memory: "2: lock inc qword ptr [rdi]" "jmp 2b"
}
guest_code! {
    /// Counts at [rdi], with a system call each time.
    count_and_call: "2: lock inc qword ptr [rdi]" "mov eax, 24" "syscall" "jmp 2b"
}
guest_code! {
    /// Loads from [rdi], then a system call.
    load: "mov rbx, [rdi]" "syscall"
}
guest_code! {
    /// Stores rsi at [rdi], then a system call.
    store: "mov [rdi], rsi" "syscall"
}
guest_code! {
    /// Jumps to rdi.
    jump: "jmp rdi"
}

/// An address space with code and data, and what is needed to run there.
pub(crate) struct Guest {
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) space: Arc<dyn AddressSpace>,
    pub(crate) code: Frames,
    pub(crate) data: Frames,
}

impl Guest {
    /// `code` at [`CODE`], zeros at [`DATA`].
    pub(crate) fn new(platform: &Arc<dyn Platform>, code: &[u8]) -> Guest {
        let memory = platform.memory();
        let space = platform.new_address_space().expect("space");
        let code_frames = memory.allocate(PAGE_SIZE).expect("code");
        memory.write(code_frames.offset, code).expect("write");
        let data = memory.allocate(DATA_PAGES * PAGE_SIZE).expect("data");
        let backing = Backing::Memory(code_frames.offset);
        space.map(CODE, PAGE_SIZE, Prot::READ | Prot::EXEC, backing).expect("map");
        space.map(DATA, data.len, Prot::READ | Prot::WRITE, Backing::Memory(data.offset)).expect("map");
        Guest { platform: platform.clone(), space, code: code_frames, data }
    }

    pub(crate) fn context(&self) -> Box<dyn Context> {
        self.platform.new_context().expect("context")
    }

    /// A word at [`DATA`].
    pub(crate) fn word(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        self.platform.memory().read(self.data.offset + offset, &mut bytes).expect("read");
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn set_word(&self, offset: u64, value: u64) {
        self.platform.memory().write(self.data.offset + offset, &value.to_le_bytes()).expect("write");
    }
}

/// Registers to start the code with.
pub(crate) fn start() -> Registers {
    Registers { rip: CODE, ..Registers::default() }
}

/// Runs once and expects a system call.
#[track_caller]
pub(crate) fn run_to_call(context: &mut dyn Context, space: &Arc<dyn AddressSpace>, regs: &mut Registers) {
    assert_eq!(context.run(space, regs).expect("run"), Trap::Syscall, "{regs:x?}");
}
