//! The stub: the one page of code that every guest process has beside the guest's own.
//!
//! It is read-only and position-independent. A guest may read it and jump to any place in it; what it can do there is up
//! to the filter (`filter.rs`), not to this code.
//!
//! Two kinds of thread run it:
//!
//! - the **servant**, the first thread of every process. It carries out orders (`servant.rs`), which it reads from memory
//!   that the guest can't write; it keeps all else in registers, writes no memory, and takes no signal. One of its
//!   registers holds the secret that the filter asks for.
//! - **guest threads**. A signal takes them out of guest code into `handler`, or a rewritten call (`text.rs`) into `gate`.
//!   Both hand over to the Sentry and wait until they are told to return, `handler` with all signals blocked, `gate` with none.

use std::arch::{asm, global_asm};
use std::{io, ptr};

use super::area::control;
use super::layout::{
    ANSWERS, AREA, AREAS, BLOCK, DONE, FAILED, FILE, KNOWN, KNOWNS, LOW, LOW_BITS, Layout, MAX_ORDERS, ORDER,
    ORDERS,
};
use super::servant::order;
use super::text::Gates;
use crate::api::PAGE_SIZE;
use crate::guest_process::TASK_SIZE;

/// Bytes of struct robust_list_head (linux/futex.h).
const ROBUST_LIST_HEAD: usize = 24;

const _: () = assert!(FILE < i32::MAX as u64 && MAX_ORDERS * ORDER == ORDERS && DONE > FAILED && LOW > 0);

// `init`: r14 = the secret, r15 = the order of this process. Unmaps all but the block, and becomes a servant.
// `servant`: r13d = number of the last order, r12 = the next operation, ebp = how many are left. Of an operation: rax, the
//   arguments, and rbx, which is not zero for a clone: the area of the new thread, or the order of the new process.
// `handler`: rsp = the signal frame, which lies in the area.
// `gate`: rcx = number and place of the call, r11 = what the place counts from. Takes the place of a `syscall` instruction: it may
//   change rcx and r11, and nothing else. Until the registers are stored it uses rax (which the number goes to), rcx, r11 and no
//   instruction that changes flags. What a signal means there: `Place`.
// `gate_by_rax`: the same for rax = number of the call, r11 = where it returns to. rcx and r11 may change, rax stays.
// `wait`: rbx = the area. Waits for the thread's turn.
global_asm!(
    ".pushsection .rodata.runsc_systrap_stub,\"a\",@progbits",
    ".balign 64",
    ".hidden runsc_systrap_begin",
    ".globl runsc_systrap_begin",
    "runsc_systrap_begin:",
    "    mov eax, {munmap}",
    "    xor edi, edi",
    "    lea rsi, [rip + runsc_systrap_begin - {read_only}]",
    "    mov r9, r14",
    "    syscall",
    "    test rax, rax",
    "    jnz 90f",
    "    lea rdi, [rip + runsc_systrap_begin + {kept}]",
    "    mov rsi, {task_size}",
    "    sub rsi, rdi",
    "    jz 2f",
    "    mov eax, {munmap}",
    "    syscall",
    "    test rax, rax",
    "    jnz 90f",
    "2:  xor r13d, r13d",
    // The servant.
    "3:  mov edx, dword ptr [r15 + {number}]",
    "    cmp edx, r13d",
    "    jne 4f",
    "    mov eax, {futex}",
    "    lea rdi, [r15 + {number}]",
    "    xor esi, esi",
    "    xor r10d, r10d",
    "    syscall",
    "    jmp 3b",
    "4:  mov r13d, edx",
    "    mov ebp, dword ptr [r15 + {count}]",
    "    lea r12, [r15 + {operations}]",
    "    xor eax, eax",
    "5:  test ebp, ebp",
    "    jz 20f",
    "    mov rax, [r12]",
    "    mov rdi, [r12 + 8]",
    "    mov rsi, [r12 + 16]",
    "    mov rdx, [r12 + 24]",
    "    mov r10, [r12 + 32]",
    "    mov r8, [r12 + 40]",
    "    mov r9, [r12 + 48]",
    "    mov rbx, [r12 + 56]",
    "    cmp eax, {mmap}",
    "    jne 6f",
    // All six arguments are in use, two of them by half.
    "    mov rcx, r14",
    "    shr rcx, 32",
    "    shl rcx, 32",
    "    mov r10d, r10d",
    "    or r10, rcx",
    "    mov rcx, r14",
    "    shl rcx, 32",
    "    mov r8d, r8d",
    "    or r8, rcx",
    "    jmp 7f",
    "6:  mov r9, r14",
    "7:  syscall",
    "    test rbx, rbx",
    "    jz 8f",
    "    test rax, rax",
    "    jz 30f",
    "    jmp 9f",
    "8:  cmp rax, -4095",
    "    jae 10f",
    "    xor eax, eax",
    "9:  cmp rax, -4095",
    "    jae 10f",
    "    add r12, 64",
    "    dec ebp",
    "    jmp 5b",
    "10: neg eax",
    "    or eax, {failed}",
    // The answer: upper part if there is one, then the lower part, which says that it is all.
    "20: mov ebx, eax",
    "    shr eax, {low_bits}",
    "    jz 21f",
    "    lea rsi, [rip + runsc_systrap_begin - {high}]",
    "    lea rsi, [rsi + rax * 8]",
    "    mov edi, dword ptr [r15 + {answer_fd}]",
    "    mov edx, 8",
    "    mov r9, r14",
    "    mov eax, {write}",
    "    syscall",
    "21: and ebx, {low} - 1",
    "    lea rsi, [rip + runsc_systrap_begin - {answers}]",
    "    lea rsi, [rsi + rbx * 8]",
    "    mov edi, dword ptr [r15 + {answer_fd}]",
    "    mov edx, 8",
    "    mov r9, r14",
    "    mov eax, {write}",
    "    syscall",
    "    jmp 3b",
    // The other side of a clone: a thread of this process, or a process.
    "30: test edi, {clone_vm}",
    "    jnz 40f",
    "    mov r15, rbx",
    "    xor r13d, r13d",
    // The areas of the parent's threads are none of ours.
    "    mov eax, {munmap}",
    "    lea rdi, [rip + runsc_systrap_begin - {file}]",
    "    mov esi, {areas}",
    "    mov r9, r14",
    "    syscall",
    "    test rax, rax",
    "    jnz 90f",
    "    mov eax, {prctl}",
    "    mov edi, {set_pdeathsig}",
    "    mov esi, {sigkill}",
    "    mov r9, r14",
    "    syscall",
    "    mov eax, {getppid}",
    "    mov r9, r14",
    "    syscall",
    "    cmp eax, dword ptr [r15 + {sentry}]",
    "    jne 90f",
    "    jmp 3b",
    "90: mov edi, 1",
    "    mov eax, {exit_group}",
    "    mov r9, r14",
    "    syscall",
    "    hlt",
    // A guest thread: forgets the secret first.
    "40: xor r14d, r14d",
    "    xor r9d, r9d",
    "    xor r10d, r10d",
    "    xor r8d, r8d",
    "    xor ecx, ecx",
    "    jmp 50f",
    // The handler.
    ".balign 16",
    ".hidden runsc_systrap_handler",
    ".globl runsc_systrap_handler",
    "runsc_systrap_handler:",
    "    mov rbx, rsp",
    "    and rbx, -{area}",
    // A signal that somebody sent while the thread is in the Sentry's hands by way of the gate: it waits until that is over.
    "    mov rcx, [rdx + {saved_rip}]",
    "    lea rax, [rip + runsc_systrap_over]",
    "    cmp rcx, rax",
    "    jb 44f",
    "    lea rax, [rip + runsc_systrap_over_end]",
    "    cmp rcx, rax",
    "    jae 44f",
    "    cmp dword ptr [rsi + {si_code}], 0",
    "    jg 44f",
    "    cmp dword ptr [rbx + {turn}], {to_gate}",
    "    je 44f",
    // Nor is it there when its turn is that of the guest: then the guest has jumped there by itself.
    "    cmp dword ptr [rbx + {turn}], {to_guest}",
    "    je 44f",
    "    mov dword ptr [rbx + {kicked}], 1",
    "    add rsp, 8",
    "    jmp runsc_systrap_restorer",
    // A call with a known answer: back to guest code at once.
    "44: cmp edi, {sigsys}",
    "    jne 45f",
    "    cmp dword ptr [rsi + {si_code}], {by_filter}",
    "    jne 45f",
    "    cmp dword ptr [rsi + {si_arch}], {arch}",
    "    jne 45f",
    "    mov rax, [rdx + {saved_rax}]",
    "    mov rcx, rbx",
    "    lea r8, [rip + runsc_systrap_begin - {file}]",
    "    sub rcx, r8",
    "    shr rcx, {known_shift}",
    "    lea r8, [rip + runsc_systrap_begin - {known}]",
    "    add rcx, r8",
    "    mov r8d, eax",
    "    and r8d, {max_known} - 1",
    "    mov r9d, dword ptr [rcx + r8 * 8]",
    "    cmp rax, r9",
    "    jne 46f",
    // From time to time the Sentry sees one: else it would never know that the place is worth rewriting.
    "    inc dword ptr [rbx + {answered}]",
    "    test dword ptr [rbx + {answered}], {seldom} - 1",
    "    jz 45f",
    "    mov eax, dword ptr [rcx + r8 * 8 + 4]",
    "    mov [rdx + {saved_rax}], rax",
    "    add rsp, 8",
    "    jmp runsc_systrap_restorer",
    // One that the gate answers, but not here, where a fault would be the end of the process: on by the gate, if the thread can go through
    // it, as if its place had been rewritten.
    "46: cmp rax, {rt_sigprocmask}",
    "    jne 47f",
    "    cmp dword ptr [rcx + {mask_is_open}], 0",
    "    je 45f",
    "    jmp 48f",
    "47: cmp rax, {set_robust_list}",
    "    jne 45f",
    "    cmp dword ptr [rcx + {list_is_open}], 0",
    "    je 45f",
    "48: rdgsbase r8",
    "    cmp r8, rbx",
    "    jne 45f",
    "    test dword ptr [rdx + {saved_flags}], {trap_flag}",
    "    jnz 45f",
    "    inc dword ptr [rbx + {answered}]",
    "    test dword ptr [rbx + {answered}], {seldom} - 1",
    "    jz 45f",
    "    mov r8, [rdx + {saved_rip}]",
    "    mov [rdx + {saved_r11}], r8",
    "    lea r8, [rip + runsc_systrap_gate_by_rax]",
    "    mov [rdx + {saved_rip}], r8",
    "    add rsp, 8",
    "    jmp runsc_systrap_restorer",
    "45:",
    "    lea rax, [rsp + 8]",
    "    mov [rbx + {frame}], rax",
    "    mov dword ptr [rbx + {signal}], edi",
    "    rdfsbase rax",
    "    mov [rbx + {fs_base}], rax",
    "    rdgsbase rax",
    "    mov [rbx + {gs_base}], rax",
    "    xor eax, eax",
    "    xchg dword ptr [rbx + {turn}], eax",
    "    jmp runsc_systrap_over",
    // Back to guest code from the gate, with the answer in rax: all other registers are as they came.
    ".macro runsc_systrap_answer",
    "    mov rcx, rbx",
    "    mov r8, [rcx + {g_r8}]",
    "    mov rbx, [rcx + {g_rdi} + 24]",
    "    mov rdx, [rcx + {g_rdi} + 32]",
    "    popfq",
    "    mov rsp, [rcx + {g_rsp}]",
    "    mov r11, [rcx + {g_flags}]",
    "    mov rcx, [rcx + {g_rip}]",
    "    jmp rcx",
    ".endm",
    // Where a gate has put away the registers that it takes: the others that the Sentry reads. rcx = the area.
    ".macro runsc_systrap_store",
    "    pushfq",
    "    mov [rcx + {g_r8}], r8",
    "    mov [rcx + {g_r8} + 8], r9",
    "    mov [rcx + {g_r8} + 16], r10",
    "    mov [rcx + {g_r12}], r12",
    "    mov [rcx + {g_r12} + 8], r13",
    "    mov [rcx + {g_r12} + 16], r14",
    "    mov [rcx + {g_r12} + 24], r15",
    "    mov [rcx + {g_rdi}], rdi",
    "    mov [rcx + {g_rdi} + 8], rsi",
    "    mov [rcx + {g_rdi} + 16], rbp",
    "    mov [rcx + {g_rdi} + 24], rbx",
    "    mov [rcx + {g_rdi} + 32], rdx",
    ".endm",
    // The gate for calls with their number in rax.
    ".balign 64",
    ".hidden runsc_systrap_gate_by_rax",
    ".globl runsc_systrap_gate_by_rax",
    "runsc_systrap_gate_by_rax:",
    "    mov rcx, qword ptr gs:[{mark}]",
    "    lea rcx, [rcx + {unmark}]",
    "    jrcxz 82f",
    "    hlt",
    "82: mov qword ptr gs:[{g_rsp}], rsp",
    "    rdgsbase rcx",
    "    lea rsp, [rcx + {g_flags} + 8]",
    ".hidden runsc_systrap_gate_by_rax_switched",
    ".globl runsc_systrap_gate_by_rax_switched",
    "runsc_systrap_gate_by_rax_switched:",
    "    runsc_systrap_store",
    "    mov [rcx + {g_rip}], r11",
    "    mov [rcx + {g_rax}], rax",
    ".hidden runsc_systrap_gate_by_rax_saved",
    ".globl runsc_systrap_gate_by_rax_saved",
    "runsc_systrap_gate_by_rax_saved:",
    "    mov rbx, rcx",
    "    mov rdx, rax",
    "    jmp runsc_systrap_gate_saved",
    // The gate for calls that are told.
    ".balign 64",
    ".hidden runsc_systrap_gate",
    ".globl runsc_systrap_gate",
    "runsc_systrap_gate:",
    "    mov eax, ecx",
    "    mov rcx, qword ptr gs:[{mark}]",
    "    lea rcx, [rcx + {unmark}]",
    "    jrcxz 80f",
    // The guest has something else in GS. (Not `ud2`: many hypervisors intercept that, which takes ten times as long.)
    "    hlt",
    "80: mov qword ptr gs:[{g_rsp}], rsp",
    "    rdgsbase rcx",
    "    lea rsp, [rcx + {g_flags} + 8]",
    ".hidden runsc_systrap_gate_switched",
    ".globl runsc_systrap_gate_switched",
    "runsc_systrap_gate_switched:",
    "    runsc_systrap_store",
    ".hidden runsc_systrap_gate_stored",
    ".globl runsc_systrap_gate_stored",
    "runsc_systrap_gate_stored:",
    "    mov rbx, rcx",
    "    mov edx, eax",
    "    and edx, {place_mask}",
    "    add rdx, r11",
    "    mov [rbx + {g_rip}], rdx",
    "    mov edx, eax",
    "    shr edx, {place_bits}",
    "    mov [rbx + {g_rax}], rdx",
    ".hidden runsc_systrap_gate_saved",
    ".globl runsc_systrap_gate_saved",
    "runsc_systrap_gate_saved:",
    "    lea r8, [rip + runsc_systrap_begin - {file}]",
    "    sub rcx, r8",
    "    shr rcx, {known_shift}",
    "    lea r8, [rip + runsc_systrap_begin - {known}]",
    "    add rcx, r8",
    "    mov eax, edx",
    "    and eax, {max_known} - 1",
    "    mov r8d, dword ptr [rcx + rax * 8]",
    "    cmp rdx, r8",
    "    jne 81f",
    "    mov eax, dword ptr [rcx + rax * 8 + 4]",
    "    runsc_systrap_answer",
    // rt_sigprocmask(2), while the mask is open. Up to the exchange nothing is done that can't be done once more, so a signal or a
    // fault makes a call of it that is handed over: `set` and `oldset` must not be the same, nor overlap.
    "81: cmp rdx, {rt_sigprocmask}",
    "    jne 87f",
    "    cmp dword ptr [rcx + {mask_is_open}], 0",
    "    je runsc_systrap_hand_over",
    "    cmp r10, 8",
    "    jne runsc_systrap_hand_over",
    "    mov r8, [rbx + {g_rdi} + 32]",
    "    mov eax, esi",
    "    or eax, r8d",
    "    test al, 7",
    "    jnz runsc_systrap_hand_over",
    "    mov rdx, [rbx + {mask}]",
    "    test rsi, rsi",
    "    jz 86f",
    "    cmp rsi, r8",
    "    je runsc_systrap_hand_over",
    "    mov rax, [rsi]",
    "    and rax, {blockable}",
    "    cmp edi, {block}",
    "    je 84f",
    "    cmp edi, {set_mask}",
    "    je 85f",
    "    cmp edi, {unblock}",
    "    jne runsc_systrap_hand_over",
    "    not rax",
    "    and rax, rdx",
    "    jmp 85f",
    "84: or rax, rdx",
    "85: test r8, r8",
    "    jz 83f",
    "    mov [r8], rdx",
    // A full barrier, between the new mask and the look whether it is still open.
    "83: xchg [rbx + {mask}], rax",
    // Done, wherever it is stopped from here on.
    ".hidden runsc_systrap_done",
    ".globl runsc_systrap_done",
    "runsc_systrap_done:",
    "    cmp dword ptr [rcx + {mask_is_open}], 0",
    "    je 89f",
    "88: xor eax, eax",
    "    runsc_systrap_answer",
    // The Sentry may have looked at the old mask: to it, with a frame.
    "89: hlt",
    // Only asks.
    ".hidden runsc_systrap_done_end",
    ".globl runsc_systrap_done_end",
    "runsc_systrap_done_end:",
    "86: test r8, r8",
    "    jz 88b",
    "    mov [r8], rdx",
    "    jmp 88b",
    // set_robust_list(2), which can be done twice.
    "87: cmp rdx, {set_robust_list}",
    "    jne runsc_systrap_hand_over",
    "    cmp dword ptr [rcx + {list_is_open}], 0",
    "    je runsc_systrap_hand_over",
    "    cmp rsi, {robust_list_head}",
    "    jne runsc_systrap_hand_over",
    "    mov [rbx + {robust_list}], rdi",
    "    jmp 88b",
    ".hidden runsc_systrap_hand_over",
    ".globl runsc_systrap_hand_over",
    "runsc_systrap_hand_over:",
    "    rdfsbase rax",
    "    mov [rbx + {fs_base}], rax",
    "    mov [rbx + {gs_base}], rbx",
    "    mov dword ptr [rbx + {signal}], 0",
    "    xor eax, eax",
    "    xchg dword ptr [rbx + {turn}], eax",
    // Handed over.
    ".hidden runsc_systrap_over",
    ".globl runsc_systrap_over",
    "runsc_systrap_over:",
    "    cmp dword ptr [rbx + {sentry_waits}], 0",
    "    je 50f",
    "    mov eax, {futex}",
    "    lea rdi, [rbx + {turn}]",
    "    mov esi, 1",
    "    mov edx, 1",
    "    syscall",
    // Waits.
    "50: mov ecx, dword ptr [rbx + {spin}]",
    "51: mov eax, dword ptr [rbx + {turn}]",
    "    test eax, eax",
    "    jnz 60f",
    "    sub ecx, 1",
    "    jb 52f",
    "    pause",
    "    jmp 51b",
    "52: mov eax, 1",
    "    xchg dword ptr [rbx + {stub_waits}], eax",
    "53: mov eax, dword ptr [rbx + {turn}]",
    "    test eax, eax",
    "    jnz 60f",
    "    mov eax, {futex}",
    "    lea rdi, [rbx + {turn}]",
    "    xor esi, esi",
    "    xor edx, edx",
    "    xor r10d, r10d",
    "    syscall",
    "    jmp 53b",
    "60: mov dword ptr [rbx + {stub_waits}], 0",
    "    cmp eax, {to_gate}",
    "    je 65f",
    "    cmp eax, {to_frame}",
    "    je runsc_systrap_stop",
    "    cmp eax, {to_guest}",
    "    jne 70f",
    "    mov ecx, dword ptr [rbx + {set_bases}]",
    "    test ecx, ecx",
    "    jz 61f",
    "    mov rax, [rbx + {fs_base}]",
    "    wrfsbase rax",
    "    mov rax, [rbx + {gs_base}]",
    "    wrgsbase rax",
    "61: mov rsp, [rbx + {frame}]",
    ".hidden runsc_systrap_restorer",
    ".globl runsc_systrap_restorer",
    "runsc_systrap_restorer:",
    "    mov eax, {rt_sigreturn}",
    "    syscall",
    "    hlt",
    // Back to where the gate was entered from.
    "65: cmp dword ptr [rbx + {kicked}], 0",
    "    jne 66f",
    "    cmp dword ptr [rbx + {set_bases}], 0",
    "    je 67f",
    "    mov rax, [rbx + {fs_base}]",
    "    wrfsbase rax",
    "    mov rax, [rbx + {gs_base}]",
    "    wrgsbase rax",
    "67: lea rsp, [rbx + {g_flags}]",
    "    mov rcx, rbx",
    "    mov r8, [rcx + {g_r8}]",
    "    mov r9, [rcx + {g_r8} + 8]",
    "    mov r10, [rcx + {g_r8} + 16]",
    "    mov r12, [rcx + {g_r12}]",
    "    mov r13, [rcx + {g_r12} + 8]",
    "    mov r14, [rcx + {g_r12} + 16]",
    "    mov r15, [rcx + {g_r12} + 24]",
    "    mov rdi, [rcx + {g_rdi}]",
    "    mov rsi, [rcx + {g_rdi} + 8]",
    "    mov rbp, [rcx + {g_rdi} + 16]",
    "    mov rbx, [rcx + {g_rdi} + 24]",
    "    mov rdx, [rcx + {g_rdi} + 32]",
    "    mov rax, [rcx + {g_rax}]",
    "    popfq",
    "    mov rsp, [rcx + {g_rsp}]",
    "    mov r11, [rcx + {g_flags}]",
    "    mov rcx, [rcx + {g_rip}]",
    "    jmp rcx",
    "66: mov dword ptr [rbx + {kicked}], 0",
    // What the Sentry wants a signal frame of.
    ".hidden runsc_systrap_stop",
    ".globl runsc_systrap_stop",
    "runsc_systrap_stop:",
    "    hlt",
    "70: xor edi, edi",
    "    mov eax, {exit}",
    "    syscall",
    "    hlt",
    ".hidden runsc_systrap_over_end",
    ".globl runsc_systrap_over_end",
    "runsc_systrap_over_end:",
    ".hidden runsc_systrap_end",
    ".globl runsc_systrap_end",
    "runsc_systrap_end:",
    ".popsection",
    kept = const 2 * PAGE_SIZE,
    task_size = const TASK_SIZE,
    read_only = const ORDERS + KNOWNS + ANSWERS,
    known = const KNOWNS + ANSWERS,
    known_shift = const (AREA / KNOWN).ilog2(),
    max_known = const super::layout::MAX_KNOWN,
    answers = const ANSWERS,
    high = const ANSWERS - LOW * 8,
    file = const FILE,
    areas = const AREAS,
    area = const AREA,
    low = const LOW,
    low_bits = const LOW_BITS,
    failed = const FAILED,
    clone_vm = const libc::CLONE_VM,
    number = const order::NUMBER,
    count = const order::COUNT,
    answer_fd = const order::ANSWER_FD,
    sentry = const order::SENTRY,
    operations = const order::OPERATIONS,
    turn = const control::TURN,
    sentry_waits = const control::SENTRY_WAITS,
    stub_waits = const control::STUB_WAITS,
    spin = const control::SPIN,
    set_bases = const control::SET_BASES,
    signal = const control::SIGNAL,
    frame = const control::FRAME,
    fs_base = const control::FS_BASE,
    gs_base = const control::GS_BASE,
    mask = const control::MASK,
    mask_is_open = const super::layout::MASK_IS_OPEN,
    robust_list = const control::ROBUST_LIST,
    list_is_open = const super::layout::LIST_IS_OPEN,
    set_robust_list = const libc::SYS_set_robust_list,
    robust_list_head = const ROBUST_LIST_HEAD,
    rt_sigprocmask = const libc::SYS_rt_sigprocmask,
    blockable = const !(1i64 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1)),
    block = const libc::SIG_BLOCK,
    unblock = const libc::SIG_UNBLOCK,
    set_mask = const libc::SIG_SETMASK,
    kicked = const control::KICKED,
    answered = const control::ANSWERED,
    seldom = const super::answers::SELDOM,
    mark = const control::MARK,
    unmark = const -super::area::MARK,
    g_r8 = const control::REGISTERS,
    g_r12 = const control::REGISTERS + 4 * 8,
    g_rdi = const control::REGISTERS + 8 * 8,
    g_rax = const control::REGISTERS + 13 * 8,
    g_rsp = const control::REGISTERS + 15 * 8,
    g_rip = const control::REGISTERS + 16 * 8,
    g_flags = const control::REGISTERS + 17 * 8,
    place_bits = const super::text::PLACE_BITS,
    place_mask = const (1 << super::text::PLACE_BITS) - 1,
    saved_rip = const super::area::frame::RIP,
    saved_r11 = const super::area::frame::R11,
    saved_flags = const super::area::frame::EFLAGS,
    trap_flag = const super::area::TRAP_FLAG,
    to_gate = const super::area::TO_GATE,
    to_frame = const super::area::TO_FRAME,
    sigsys = const libc::SIGSYS,
    by_filter = const super::context::SYS_SECCOMP,
    arch = const crate::guest_process::bpf::AUDIT_ARCH_X86_64 as i32,
    si_code = const super::area::info::CODE,
    si_arch = const super::area::info::ARCHITECTURE,
    saved_rax = const super::area::frame::RAX,
    to_guest = const super::area::TO_GUEST,
    mmap = const libc::SYS_mmap,
    munmap = const libc::SYS_munmap,
    futex = const libc::SYS_futex,
    write = const libc::SYS_write,
    exit = const libc::SYS_exit,
    exit_group = const libc::SYS_exit_group,
    rt_sigreturn = const libc::SYS_rt_sigreturn,
    prctl = const libc::SYS_prctl,
    set_pdeathsig = const libc::PR_SET_PDEATHSIG,
    sigkill = const libc::SIGKILL,
    getppid = const libc::SYS_getppid,
);

unsafe extern "C" {
    static runsc_systrap_begin: u8;
    static runsc_systrap_handler: u8;
    static runsc_systrap_restorer: u8;
    static runsc_systrap_gate_by_rax: u8;
    static runsc_systrap_gate_by_rax_switched: u8;
    static runsc_systrap_gate_by_rax_saved: u8;
    static runsc_systrap_gate: u8;
    static runsc_systrap_gate_switched: u8;
    static runsc_systrap_gate_stored: u8;
    static runsc_systrap_gate_saved: u8;
    static runsc_systrap_done: u8;
    static runsc_systrap_done_end: u8;
    static runsc_systrap_over: u8;
    static runsc_systrap_over_end: u8;
    static runsc_systrap_stop: u8;
    static runsc_systrap_end: u8;
}

fn address(layout: Layout, symbol: *const u8) -> u64 {
    layout.code() + (symbol as u64 - &raw const runsc_systrap_begin as u64)
}

/// Where the signal handler is.
pub(super) fn handler(layout: Layout) -> u64 {
    address(layout, &raw const runsc_systrap_handler)
}

/// Where a signal frame says that the handler returns to. The handler does not.
pub(super) fn restorer(layout: Layout) -> u64 {
    address(layout, &raw const runsc_systrap_restorer)
}

/// Where rewritten calls go.
pub(super) fn gates(layout: Layout) -> Gates {
    Gates {
        told: address(layout, &raw const runsc_systrap_gate),
        by_rax: address(layout, &raw const runsc_systrap_gate_by_rax),
    }
}

/// Where a thread stops that is to have a signal frame.
pub(super) fn stop(layout: Layout) -> u64 {
    address(layout, &raw const runsc_systrap_stop)
}

/// How far a thread has come on its way through the gate, and so where its guest's registers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// All in registers; the number in rax, where it returns to in r11.
    ByRax,
    /// The same, but rsp is in the area.
    ByRaxSwitched,
    /// All in registers; the call in rcx.
    Entered,
    /// All in registers; the call in rax.
    Taken,
    /// The same, but rsp is in the area.
    Switched,
    /// In the area; the call in rax.
    Stored,
    /// In the area.
    Saved,
    /// In the area, and the call is made; it answers 0.
    Done,
    /// The Sentry has had its turn.
    Over,
}

/// Which place of the gate an address is.
pub(super) fn place(layout: Layout, rip: u64) -> Option<Place> {
    let Gates { told: gate, by_rax } = gates(layout);
    let end = address(layout, &raw const runsc_systrap_over_end);
    if rip < by_rax || rip >= end {
        return None;
    }
    Some(match rip {
        _ if rip < address(layout, &raw const runsc_systrap_gate_by_rax_switched) => Place::ByRax,
        _ if rip < address(layout, &raw const runsc_systrap_gate_by_rax_saved) => Place::ByRaxSwitched,
        _ if rip < gate => Place::Saved,
        _ if rip == gate => Place::Entered,
        _ if rip < address(layout, &raw const runsc_systrap_gate_switched) => Place::Taken,
        _ if rip < address(layout, &raw const runsc_systrap_gate_stored) => Place::Switched,
        _ if rip < address(layout, &raw const runsc_systrap_gate_saved) => Place::Stored,
        _ if rip < address(layout, &raw const runsc_systrap_done) => Place::Saved,
        _ if rip < address(layout, &raw const runsc_systrap_done_end) => Place::Done,
        _ if rip < address(layout, &raw const runsc_systrap_over) => Place::Saved,
        _ => Place::Over,
    })
}

/// The code.
#[cfg(test)]
pub(super) fn bytes() -> &'static [u8] {
    let code = &raw const runsc_systrap_begin;
    // SAFETY: the code lies between the two symbols, and is never written.
    unsafe { std::slice::from_raw_parts(code, &raw const runsc_systrap_end as usize - code as usize) }
}

/// The block in the Sentry, with a copy of the code at the place where the guests will have it. Nothing else is
/// accessible.
pub(super) struct Block(pub(super) Layout);

impl Block {
    /// As high as there is room, at a random place.
    pub(super) fn new() -> io::Result<Block> {
        let mut random = [0u8; 2];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let mut layout = Layout::new(u64::from(u16::from_ne_bytes(random)));
        // The Sentry's own stack may be up there: go down until the place is free.
        for _ in 0..1024 {
            if let Some(block) = Block::at(layout)? {
                return Ok(block);
            }
            layout = layout.lower();
        }
        Err(io::Error::from_raw_os_error(libc::ENOMEM))
    }

    fn at(layout: Layout) -> io::Result<Option<Block>> {
        let want = ptr::without_provenance_mut(layout.base() as usize);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: with MAP_FIXED_NOREPLACE no existing mapping is touched.
        let at = unsafe { libc::mmap(want, BLOCK as usize, libc::PROT_NONE, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::EEXIST) { Ok(None) } else { Err(error) };
        }
        // A host that does not know the flag placed it elsewhere.
        let block = Block(Layout::at(at as u64));
        if at != want {
            return Ok(None);
        }
        let code = &raw const runsc_systrap_begin;
        let code_len = &raw const runsc_systrap_end as usize - code as usize;
        assert!(code_len <= PAGE_SIZE as usize, "the stub fits in its page");
        let page = ptr::without_provenance_mut::<u8>(layout.code() as usize);
        // The title's page comes after that of the code, and stays as it is.
        let both = 2 * PAGE_SIZE as usize;
        // SAFETY: the pages are part of the new mapping, which nobody else knows; the code lies between the two symbols.
        let done = unsafe {
            if libc::mprotect(page.cast(), both, libc::PROT_READ | libc::PROT_WRITE) == 0 {
                ptr::copy_nonoverlapping(code, page, code_len);
                libc::mprotect(page.cast(), PAGE_SIZE as usize, libc::PROT_READ | libc::PROT_EXEC)
            } else {
                -1
            }
        };
        if done == 0 { Ok(Some(block)) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let at = ptr::without_provenance_mut(self.0.base() as usize);
        // SAFETY: the block is ours, and nobody has a reference into it.
        unsafe { libc::munmap(at, BLOCK as usize) };
    }
}

/// Maps what a stub shows of the file, in a process that has just been forked.
pub(super) fn show(layout: Layout, fd: i32) -> Option<()> {
    let range = layout.read_only();
    let at = ptr::without_provenance_mut(range.start as usize);
    let flags = libc::MAP_SHARED | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let offset = (range.start - layout.base()) as i64;
    // SAFETY: the range is part of the block, where nothing is accessible and nobody has a reference.
    let shown =
        unsafe { libc::mmap(at, (range.end - range.start) as usize, libc::PROT_READ, flags, fd, offset) };
    (shown == at).then_some(())
}

/// Goes on as a stub, in the process that has just been forked.
pub(super) fn enter([code, secret, order]: [u64; 3]) -> ! {
    // SAFETY: the stub is mapped at `code` and begins with its set-up code, which does not come back and uses no
    // stack.
    unsafe {
        asm!(
            "jmp {code}",
            code = in(reg) code,
            in("r14") secret,
            in("r15") order,
            options(noreturn)
        )
    }
}
