//! Extended state.

use std::sync::Arc;

use super::guest::{DATA, Guest, call_loop, guest_code, run_to_call, start};
use crate::{Platform, Registers};

const MXCSR: usize = 24;
const XMM0: usize = 160;
const XSTATE_BV: usize = 512;

guest_code! {
    // Loads vector registers from [rdi], makes two system calls, stores them at [rsi].
    vectors:
        "movups xmm0, [rdi]" "vmovdqu ymm15, [rdi + 64]" "fld qword ptr [rdi]" "ldmxcsr [rdi + 128]"
        "syscall" "syscall"
        "movups [rsi], xmm0" "vmovdqu [rsi + 64], ymm15" "fstp qword ptr [rsi + 32]" "stmxcsr [rsi + 128]"
        "syscall"
}
guest_code! {
    vectors512:
        "vmovdqu64 zmm31, [rdi]" "kmovw k3, [rdi]" "syscall" "syscall"
        "vmovdqu64 [rsi], zmm31" "kmovw [rsi + 64], k3" "syscall"
}

fn pattern(guest: &Guest) {
    for i in 0..32 {
        guest.set_word(i * 8, 0x3ff0_1234_5678_9a00 + i);
    }
    guest.set_word(128, 0x1fa0);
}

pub(crate) fn vector_registers_survive_traps(platform: &Arc<dyn Platform>) {
    if !std::arch::is_x86_feature_detected!("avx") {
        return;
    }
    let guest = Guest::new(platform, vectors());
    pattern(&guest);
    let mut context = guest.context();
    let mut regs = Registers { rdi: DATA, rsi: DATA + 0x400, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    // Once left in the CPU, once read, once through a change of the mappings.
    guest.space.unmap(DATA + 0x2000, 4096).expect("unmap");
    run_to_call(&mut *context, &guest.space, &mut regs);
    context.fpu().expect("fpu");
    run_to_call(&mut *context, &guest.space, &mut regs);
    for i in [0, 1, 8, 9, 10, 11] {
        assert_eq!(guest.word(0x400 + i * 8), guest.word(i * 8), "word {i}");
    }
    assert_eq!(guest.word(0x420), guest.word(0), "x87");
    assert_eq!(guest.word(0x480) as u32, 0x1fa0, "MXCSR");
    if !std::arch::is_x86_feature_detected!("avx512f") || platform.xstate().features & 0xe0 != 0xe0 {
        return;
    }
    let guest = Guest::new(platform, vectors512());
    pattern(&guest);
    let mut regs = Registers { rdi: DATA, rsi: DATA + 0x400, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    let area = context.fpu().expect("fpu").to_vec();
    context.reset_fpu().expect("reset");
    context.set_fpu(&area).expect("set");
    run_to_call(&mut *context, &guest.space, &mut regs);
    run_to_call(&mut *context, &guest.space, &mut regs);
    for i in 0..8 {
        assert_eq!(guest.word(0x400 + i * 8), guest.word(i * 8), "word {i}");
    }
    assert_eq!(guest.word(0x440) as u16, guest.word(0) as u16, "mask register");
}

guest_code! {
    add_one: "movups [rdi], xmm0" "paddq xmm0, xmm1" "syscall" "jmp guest_add_one"
}

pub(crate) fn the_area_is_read_and_set(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, add_one());
    let mut context = guest.context();
    let mut regs = Registers { rdi: DATA, ..start() };
    assert_eq!(platform.xstate().size, context.fpu().expect("fpu").len());
    let mut area = context.fpu().expect("fpu").to_vec();
    area[XSTATE_BV] |= 2;
    area[XMM0] = 40;
    area[XMM0 + 16] = 1;
    context.set_fpu(&area).expect("set");
    assert_eq!(context.fpu().expect("fpu")[XMM0], 40, "what is set can be read before it runs");
    for expected in [40, 41, 42] {
        run_to_call(&mut *context, &guest.space, &mut regs);
        assert_eq!(guest.word(0), expected);
        assert_eq!(u64::from(context.fpu().expect("fpu")[XMM0]), expected + 1);
    }
    context.reset_fpu().expect("reset");
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!(guest.word(0), 0);
}

pub(crate) fn a_hostile_area_is_tamed(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, call_loop());
    let mut context = guest.context();
    let size = platform.xstate().size;
    let mut regs = start();
    for (fill, len) in
        [(0xff, size), (0xff, 512), (0xff, 0), (0x5a, size + 4096), (0xff, 576), (0xa5, size - 1)]
    {
        context.set_fpu(&vec![fill; len]).expect("set");
        run_to_call(&mut *context, &guest.space, &mut regs);
        let xstate = platform.xstate();
        let area = context.fpu().expect("fpu");
        assert!(xstate.accepts(area));
        // Bit 17 is AMD's misaligned mode.
        assert_eq!((area[MXCSR + 2] & !2, area[MXCSR + 3]), (0, 0), "reserved bits");
    }
    assert!(!platform.xstate().accepts(&vec![0xff; size]));
    assert!(!platform.xstate().accepts(&[0xff; 512]));
    assert!(platform.xstate().accepts(&[0; 576]));
    // MXCSR counts even when the registers are in their initial state.
    let mut area = vec![0; size];
    area[MXCSR..MXCSR + 4].copy_from_slice(&0x1f81_u32.to_le_bytes());
    context.set_fpu(&area).expect("set");
    run_to_call(&mut *context, &guest.space, &mut regs);
    assert_eq!(context.fpu().expect("fpu")[MXCSR..MXCSR + 4], 0x1f81_u32.to_le_bytes());
}

pub(crate) fn a_new_context_starts_clean(platform: &Arc<dyn Platform>) {
    let guest = Guest::new(platform, vectors());
    pattern(&guest);
    let mut context = guest.context();
    let mut regs = Registers { rdi: DATA, rsi: DATA + 0x400, ..start() };
    run_to_call(&mut *context, &guest.space, &mut regs);
    let child = guest.space.fork().expect("fork");
    drop(context);
    // The child's host thread, and the one that was left behind, have old contents.
    for space in [&child, &guest.space] {
        let mut context = guest.context();
        let mut regs = Registers { rdi: DATA, rsi: DATA + 0x400, rip: start().rip, ..start() };
        platform.memory().write(guest.code.offset, call_loop()).expect("write");
        run_to_call(&mut *context, space, &mut regs);
        let area = context.fpu().expect("fpu");
        assert_eq!(area[XMM0..XMM0 + 256], [0; 256]);
        assert_eq!(area[MXCSR..MXCSR + 4], 0x1f80_u32.to_le_bytes());
        assert_eq!(area[..2], 0x37f_u16.to_le_bytes());
    }
}
