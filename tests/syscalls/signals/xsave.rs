//! Floating-point and vector registers across calls, signals and fork.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::kit::prelude::*;

fn has_avx() -> bool {
    std::arch::is_x86_feature_detected!("avx")
}

case!(xmm_is_kept_over_calls: getpid, sched_yield);
fn xmm_is_kept_over_calls() {
    let mut out = [0u64; 32];
    let values: [u64; 32] = std::array::from_fn(|i| 0x0101_0101_0101_0101 * (i as u64 + 1));
    // SAFETY: loads and stores 16 registers around a call.
    unsafe {
        asm!(
            "movups xmm0, [{v}]", "movups xmm1, [{v} + 16]", "movups xmm7, [{v} + 112]", "movups xmm8, [{v} + 128]",
            "movups xmm15, [{v} + 240]",
            "syscall",
            "movups [{o}], xmm0", "movups [{o} + 16], xmm1", "movups [{o} + 112], xmm7", "movups [{o} + 128], xmm8",
            "movups [{o} + 240], xmm15",
            v = in(reg) &values, o = in(reg) &mut out,
            inlateout("rax") nr::sched_yield => _, out("rcx") _, out("r11") _,
            out("xmm0") _, out("xmm1") _, out("xmm7") _, out("xmm8") _, out("xmm15") _,
        );
    }
    for i in [0, 1, 2, 3, 14, 15, 16, 17, 30, 31] {
        eq_of(format_args!("word {i}"), out[i], values[i]);
    }
}

case!(ymm_is_kept_over_calls_and_sleep: nanosleep);
fn ymm_is_kept_over_calls_and_sleep() {
    if !has_avx() {
        skip("no AVX");
    }
    let values = [0x11u64, 0x22, 0x33, 0x44];
    let mut out = [0u64; 4];
    let t = timespec { tv_sec: 0, tv_nsec: 2_000_000 };
    // SAFETY: AVX is there; ymm3 is named as clobbered.
    unsafe {
        asm!(
            "vmovups ymm3, [{v}]", "syscall", "vmovups [{o}], ymm3", "vzeroupper",
            v = in(reg) &values, o = in(reg) &mut out, in("rdi") &t, in("rsi") 0,
            inlateout("rax") nr::nanosleep => _, out("rcx") _, out("r11") _, out("xmm3") _,
        );
    }
    eq(out, values);
}

case!(zmm_is_kept_over_calls: sched_yield);
fn zmm_is_kept_over_calls() {
    if !std::arch::is_x86_feature_detected!("avx512f") {
        skip("no AVX-512");
    }
    let values: [u64; 8] = std::array::from_fn(|i| 0x1000 + i as u64);
    let mut out = [0u64; 8];
    let mask: u64;
    // SAFETY: AVX-512 is there; what is used is named as clobbered.
    unsafe {
        asm!(
            "vmovups zmm20, [{v}]", "mov eax, 0x55", "kmovw k3, eax", "mov eax, 24", "syscall",
            "vmovups [{o}], zmm20", "kmovw {m:e}, k3",
            v = in(reg) &values, o = in(reg) &mut out, m = out(reg) mask,
            out("rax") _, out("rcx") _, out("r11") _, out("xmm20") _, out("k3") _,
        );
    }
    eq(out, values);
    eq(mask as u32, 0x55);
}

case!(control_words_are_kept: sched_yield);
fn control_words_are_kept() {
    let (mxcsr, control): (u32, u16) = (0x1f80 | 0x6000, 0x037f & !0x300);
    let (mut mxcsr_out, mut control_out) = (0u32, 0u16);
    // SAFETY: rounding modes are put back at once.
    unsafe {
        asm!(
            "ldmxcsr [{a}]", "fldcw [{b}]", "syscall", "stmxcsr [{c}]", "fnstcw [{d}]",
            "mov dword ptr [rsp - 16], 0x1f80", "ldmxcsr [rsp - 16]", "fninit",
            a = in(reg) &mxcsr, b = in(reg) &control, c = in(reg) &mut mxcsr_out, d = in(reg) &mut control_out,
            inlateout("rax") nr::sched_yield => _, out("rcx") _, out("r11") _,
        );
    }
    eq((mxcsr_out & 0xffc0, control_out), (mxcsr & 0xffc0, control));
}

extern "C" fn clobber(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
    // SAFETY: clobbers registers that the frame must bring back.
    unsafe {
        asm!("xorps xmm0, xmm0", "xorps xmm5, xmm5", "fninit", "fld1", out("xmm0") _, out("xmm5") _);
        if has_avx() {
            asm!("vxorps ymm3, ymm3, ymm3", "vzeroall", out("xmm3") _, out("xmm4") _);
        }
    }
}

case!(kept_over_a_handler: rt_sigreturn, tgkill);
fn kept_over_a_handler() {
    if !has_avx() {
        skip("no AVX");
    }
    sig::on(SIGUSR1, clobber, 0);
    let (pid, tid) = (ok(sys!(getpid)), ok(sys!(gettid)));
    let values = [1u64, 2, 3, 4];
    let mut out = [0u64; 4];
    // SAFETY: AVX is there; tgkill to this thread, the handler runs on the way back.
    unsafe {
        asm!(
            "vmovups ymm3, [{v}]", "syscall", "vmovups [{o}], ymm3", "vzeroupper",
            v = in(reg) &values, o = in(reg) &mut out,
            inlateout("rax") nr::tgkill => _, in("rdi") pid, in("rsi") tid, in("rdx") SIGUSR1,
            out("rcx") _, out("r11") _, out("xmm3") _,
        );
    }
    eq(out, values);
}

static STATE: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

extern "C" fn change(_: c_int, _: *mut siginfo_t, context: *mut ucontext_t) {
    // SAFETY: the kernel passes a context with an FXSAVE area, and XSAVE behind it if the magic number says so.
    unsafe {
        let area = (*context).uc_mcontext.fpregs.cast::<u8>();
        let word = |offset: usize| area.add(offset).cast::<u32>().read_unaligned();
        // sw_reserved: magic, extended size, features, size.
        STATE[0].store(u64::from(word(464)), Ordering::SeqCst);
        STATE[1].store(u64::from(word(468)), Ordering::SeqCst);
        STATE[2].store(area.add(472).cast::<u64>().read_unaligned(), Ordering::SeqCst);
        let size = word(480) as usize;
        STATE[3].store(size as u64, Ordering::SeqCst);
        // The second magic number follows the state.
        STATE[4].store(u64::from(word(size)), Ordering::SeqCst);
        STATE[5].store(area.add(512).cast::<u64>().read_unaligned(), Ordering::SeqCst);
        // xmm3, low half; and the high half of ymm3 where CPUID says it lies.
        area.add(160 + 3 * 16).cast::<u64>().write_unaligned(0xabcd);
        if has_avx() {
            let at = __cpuid_count(0xd, 2).ebx as usize;
            area.add(at + 3 * 16).cast::<u64>().write_unaligned(0xef01);
            let present = area.add(512).cast::<u64>();
            present.write_unaligned(present.read_unaligned() | 4 | 2);
        }
    }
}

case!(handler_changes_vector_registers: rt_sigreturn);
fn handler_changes_vector_registers() {
    if !has_avx() {
        skip("no AVX");
    }
    sig::on(SIGUSR1, change, 0);
    let (pid, tid) = (ok(sys!(getpid)), ok(sys!(gettid)));
    let values = [1u64, 2, 3, 4];
    let mut out = [0u64; 4];
    // SAFETY: as above; the handler writes ymm3 in the frame.
    unsafe {
        asm!(
            "vmovups ymm3, [{v}]", "syscall", "vmovups [{o}], ymm3", "vzeroupper",
            v = in(reg) &values, o = in(reg) &mut out,
            inlateout("rax") nr::tgkill => _, in("rdi") pid, in("rsi") tid, in("rdx") SIGUSR1,
            out("rcx") _, out("r11") _, out("xmm3") _,
        );
    }
    eq(out, [0xabcd, 2, 0xef01, 4]);
    let word = |i: usize| STATE[i].load(Ordering::SeqCst);
    eq_of("first magic number", word(0), 0x4650_5853);
    eq_of("second magic number", word(4), 0x4650_5845);
    check(word(2) & 7 == 7, "x87, SSE and AVX are saved");
    check(word(1) == word(3) + 4, "the extended size counts the second magic number");
    check(word(5) & !word(2) == 0, "nothing is present that is not saved");
}

extern "C" fn bad_mxcsr(_: c_int, _: *mut siginfo_t, context: *mut ucontext_t) {
    // SAFETY: the kernel passes a context with an FXSAVE area.
    unsafe { (*context).uc_mcontext.fpregs.cast::<u32>().add(6).write_unaligned(0xffff_ffff) };
}

case!(reserved_bits_in_the_frame: rt_sigreturn);
fn reserved_bits_in_the_frame() {
    sig::on(SIGUSR1, bad_mxcsr, 0);
    let status = fork(|| sig::raise(SIGUSR1)).status();
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, describe(status));
}

extern "C" fn no_state(_: c_int, _: *mut siginfo_t, context: *mut ucontext_t) {
    // SAFETY: the kernel passes a context.
    unsafe { (*context).uc_mcontext.fpregs = std::ptr::null_mut() };
}

case!(no_state_in_the_frame_means_fresh: rt_sigreturn);
fn no_state_in_the_frame_means_fresh() {
    sig::on(SIGUSR1, no_state, 0);
    let (pid, tid) = (ok(sys!(getpid)), ok(sys!(gettid)));
    let mut out = [7u64; 2];
    // SAFETY: as above.
    unsafe {
        asm!(
            "pcmpeqd xmm3, xmm3", "syscall", "movups [{o}], xmm3",
            o = in(reg) &mut out,
            inlateout("rax") nr::tgkill => _, in("rdi") pid, in("rsi") tid, in("rdx") SIGUSR1,
            out("rcx") _, out("r11") _, out("xmm3") _,
        );
    }
    eq(out, [0, 0]);
}

case!(child_inherits_vector_registers: fork);
fn child_inherits_vector_registers() {
    let mut out = [0u64; 2];
    let pid: i64;
    // SAFETY: fork; both sides go on behind the call with registers of their own.
    unsafe {
        asm!(
            "mov {t}, 0x7777", "movq xmm6, {t}", "syscall", "movups [{o}], xmm6",
            t = out(reg) _, o = in(reg) &mut out,
            inlateout("rax") nr::fork => pid, out("rcx") _, out("r11") _, out("xmm6") _,
        );
    }
    if pid == 0 {
        eq(out, [0x7777, 0]);
        exit_now(0);
    }
    eq(out, [0x7777, 0]);
    Child { pid: pid as c_int }.succeeds();
}

case!(threads_do_not_mix: sched_yield);
fn threads_do_not_mix() {
    let spin = |seed: u64| {
        move || {
            for round in 0..200u64 {
                let value = seed << 32 | round;
                let mut out = [0u64; 2];
                // SAFETY: as above.
                unsafe {
                    asm!(
                        "movq xmm9, {v}", "syscall", "movups [{o}], xmm9",
                        v = in(reg) value, o = in(reg) &mut out,
                        inlateout("rax") nr::sched_yield => _, out("rcx") _, out("r11") _, out("xmm9") _,
                    );
                }
                eq(out[0], value);
            }
        }
    };
    let handles: Vec<_> = (1..5).map(|i| std::thread::spawn(spin(i))).collect();
    handles.into_iter().for_each(thread::join);
}
