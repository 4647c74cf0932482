//! What a signal frame holds: `struct ucontext`, the machine context and the marks around the extended state.

use super::signal::{SigSet, SigStack};

wire! {
    /// `struct sigcontext_64`.
    pub struct SigContext {
        pub r8: u64,
        pub r9: u64,
        pub r10: u64,
        pub r11: u64,
        pub r12: u64,
        pub r13: u64,
        pub r14: u64,
        pub r15: u64,
        pub di: u64,
        pub si: u64,
        pub bp: u64,
        pub bx: u64,
        pub dx: u64,
        pub ax: u64,
        pub cx: u64,
        pub sp: u64,
        pub ip: u64,
        pub flags: u64,
        pub cs: u16,
        pub gs: u16,
        pub fs: u16,
        pub ss: u16,
        pub err: u64,
        pub trapno: u64,
        pub oldmask: u64,
        pub cr2: u64,
        /// Address of the XSAVE area, 64-byte aligned, or 0.
        pub fpstate: u64,
        pub reserved1: [u64; 8],
    }

    /// `struct ucontext` of the kernel (the C library's `ucontext_t` is longer).
    pub struct UContext {
        /// [`UcFlags`].
        pub uc_flags: u64,
        pub uc_link: u64,
        pub uc_stack: SigStack,
        pub uc_mcontext: SigContext,
        pub uc_sigmask: SigSet,
    }

    /// `struct _fpx_sw_bytes`: what the kernel leaves in the software bytes of the legacy region.
    pub struct FpxSwBytes {
        /// [`FP_XSTATE_MAGIC1`].
        pub magic1: u32,
        /// Bytes of the area and the [`FP_XSTATE_MAGIC2`] behind it.
        pub extended_size: u32,
        /// State components that are in the area.
        pub xfeatures: u64,
        /// Bytes of the area.
        pub xstate_size: u32,
        pub padding: [u32; 7],
    }
}

flags! {
    /// `uc_flags`.
    pub struct UcFlags: u64, "UC_" {
        const FP_XSTATE = 1;
        const SIGCONTEXT_SS = 2;
        const STRICT_RESTORE_SS = 4;
    }
}

/// First mark: the frame holds more than the legacy region.
pub const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
/// Second mark, behind the area.
pub const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Bytes of the second mark.
pub const FP_XSTATE_MAGIC2_SIZE: u32 = 4;
/// Bytes of the legacy (FXSAVE) region.
pub const FXSAVE_SIZE: usize = 512;
/// Where in the legacy region the software bytes are.
pub const FPX_SW_OFFSET: usize = 464;
/// Bytes of the XSAVE header behind the legacy region.
pub const XSAVE_HEADER_SIZE: usize = 64;
