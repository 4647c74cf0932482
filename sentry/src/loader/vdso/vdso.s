# The vDSO of guests (vdso(7)): time and CPU number without a system call.
#
# The page in front of this object (`vvar`) is written by the Sentry and can only be read here; its layout is that of
# `time/vdso_clock.rs`:
#	 0  sequence number, odd while the rest is being written
#	 8  whether the clock may be used
#	16  time stamp counter at the base
#	24  monotonic time at the base, nanoseconds
#	32  nanoseconds for one count, 32.32 fixed point
#	40  real time minus monotonic time, nanoseconds
#	48  whether the base of the FS segment may be read, never changed
#	56  monotonic time at the base once more: seconds, and nanoseconds below one
#	72  real time at the base in the same form
# The page in front of that (`cpu_table`) has the CPU numbers of the program's threads, see `mm/cpu_table.rs`: 128 sets of four
# words, each the base of a thread's FS segment shifted up by 16, and its CPU.

	.set	CLOCK_GETTIME, 228
	.set	CLOCK_GETRES, 229
	.set	GETTIMEOFDAY, 96
	.set	TIME, 201
	.set	GETCPU, 309
	.set	NS_PER_SEC, 1000000000

	.hidden	vvar
	.hidden	cpu_table

# Nanoseconds in rax become seconds in rax and nanoseconds in rdx. Changes rcx. (A division of 64 bits takes longer than to read the
# counter: this multiplies by 2^75 / 5^9, rounded up, after the division by 2^9, which is right for all 64 bits.)
	.macro	split
	mov	%rax, %rcx
	shr	$9, %rax
	movabs	$0x44b82fa09b5a53, %rdx
	mul	%rdx
	shr	$11, %rdx
	mov	%rdx, %rax
	imul	$NS_PER_SEC, %rdx, %rdx
	sub	%rdx, %rcx
	mov	%rcx, %rdx
	.endm

	.text

# Nanoseconds since the base in rax, and the number of its state in r8d. Goes to `busy` while that is being changed, to `unusable`
# when the clock can't be used. Changes rcx, rdx.
	.macro	since_base busy, unusable
	mov	vvar(%rip), %r8d
	test	$1, %r8d
	jnz	\busy
	cmpq	$0, vvar+8(%rip)
	je	\unusable
	lfence
	rdtsc
	shl	$32, %rdx
	or	%rdx, %rax
	xor	%ecx, %ecx
	sub	vvar+16(%rip), %rax
	# Another CPU's counter may be a little behind the base.
	cmovs	%rcx, %rax
	mulq	vvar+32(%rip)
	shrd	$32, %rdx, %rax
	.endm

# Monotonic nanoseconds in rax and what real time is ahead of them in r10; carry set when the clock can't be used.
# Changes rcx, rdx, r8.
	.type	read_clock, @function
read_clock:
	.cfi_startproc
1:	since_base 2f, 3f
	add	vvar+24(%rip), %rax
	mov	vvar+40(%rip), %r10
	cmp	vvar(%rip), %r8d
	jne	1b
	clc
	ret
2:	pause
	jmp	1b
3:	stc
	ret
	.cfi_endproc
	.size	read_clock, . - read_clock

	.globl	__vdso_clock_gettime
	.type	__vdso_clock_gettime, @function
__vdso_clock_gettime:
	.cfi_startproc
	cmp	$7, %edi
	ja	4f
	# MONOTONIC 1, MONOTONIC_RAW 4, MONOTONIC_COARSE 6, BOOTTIME 7
	lea	vvar+56(%rip), %r9
	mov	$0xd2, %eax
	bt	%edi, %eax
	jc	1f
	# REALTIME 0, REALTIME_COARSE 5
	lea	vvar+72(%rip), %r9
	mov	$0x21, %eax
	bt	%edi, %eax
	jnc	4f
	# As in read_clock, but nothing is divided: the base is seldom more than two seconds ago.
1:	since_base 6f, 4f
	mov	(%r9), %r10
	add	8(%r9), %rax
	cmp	vvar(%rip), %r8d
	jne	1b
	mov	%rax, %rdx
	shr	$34, %rdx
	jnz	5f
	cmp	$NS_PER_SEC, %rax
	jb	3f
2:	inc	%r10
	sub	$NS_PER_SEC, %rax
	cmp	$NS_PER_SEC, %rax
	jae	2b
3:	mov	%r10, (%rsi)
	mov	%rax, 8(%rsi)
	xor	%eax, %eax
	ret
	# The sandbox has stood still for long.
5:	split
	add	%r10, %rax
	mov	%rax, (%rsi)
	mov	%rdx, 8(%rsi)
	xor	%eax, %eax
	ret
6:	pause
	jmp	1b
4:	mov	$CLOCK_GETTIME, %eax
	syscall
	ret
	.cfi_endproc
	.size	__vdso_clock_gettime, . - __vdso_clock_gettime

	.globl	__vdso_gettimeofday
	.type	__vdso_gettimeofday, @function
__vdso_gettimeofday:
	.cfi_startproc
	# A time zone is the kernel's business.
	test	%rsi, %rsi
	jnz	1f
	test	%rdi, %rdi
	jz	1f
	call	read_clock
	jc	1f
	add	%r10, %rax
	split
	mov	%rax, (%rdi)
	mov	%edx, %eax
	xor	%edx, %edx
	mov	$1000, %ecx
	div	%ecx
	mov	%rax, 8(%rdi)
	xor	%eax, %eax
	ret
1:	mov	$GETTIMEOFDAY, %eax
	syscall
	ret
	.cfi_endproc
	.size	__vdso_gettimeofday, . - __vdso_gettimeofday

	.globl	__vdso_time
	.type	__vdso_time, @function
__vdso_time:
	.cfi_startproc
	call	read_clock
	jc	2f
	add	%r10, %rax
	split
	test	%rdi, %rdi
	jz	1f
	mov	%rax, (%rdi)
1:	ret
2:	mov	$TIME, %eax
	syscall
	ret
	.cfi_endproc
	.size	__vdso_time, . - __vdso_time

	.globl	__vdso_clock_getres
	.type	__vdso_clock_getres, @function
__vdso_clock_getres:
	.cfi_startproc
	mov	$CLOCK_GETRES, %eax
	syscall
	ret
	.cfi_endproc
	.size	__vdso_clock_getres, . - __vdso_clock_getres

	.globl	__vdso_getcpu
	.type	__vdso_getcpu, @function
__vdso_getcpu:
	.cfi_startproc
	# CPU numbers are the sandbox's own (rseq(2)): the host's mean nothing here. A thread finds its own by the base of its
	# FS segment; one that has none, or that shares it, asks the kernel.
	cmpq	$0, vvar+48(%rip)
	je	3f
	rdfsbase %rax
	test	%rax, %rax
	jz	3f
	movabs	$0x9e3779b97f4a7c15, %rcx
	imul	%rax, %rcx
	shr	$57, %rcx
	shl	$5, %rcx
	lea	cpu_table(%rip), %r8
	add	%rcx, %r8
	mov	$4, %ecx
1:	mov	(%r8), %r9
	mov	%r9, %r10
	shr	$16, %r10
	cmp	%rax, %r10
	je	2f
	add	$8, %r8
	dec	%ecx
	jnz	1b
3:	mov	$GETCPU, %eax
	syscall
	ret
2:	movzwl	%r9w, %r9d
	test	%rdi, %rdi
	jz	4f
	mov	%r9d, (%rdi)
4:	test	%rsi, %rsi
	jz	5f
	movl	$0, (%rsi)
5:	xor	%eax, %eax
	ret
	.cfi_endproc
	.size	__vdso_getcpu, . - __vdso_getcpu

	.weak	clock_gettime
	.set	clock_gettime, __vdso_clock_gettime
	.weak	gettimeofday
	.set	gettimeofday, __vdso_gettimeofday
	.weak	time
	.set	time, __vdso_time
	.weak	clock_getres
	.set	clock_getres, __vdso_clock_getres
	.weak	getcpu
	.set	getcpu, __vdso_getcpu

	.section .note.GNU-stack,"",@progbits

	.section .note.linux,"a",@note
	.balign	4
	.long	6, 4, 0
	.asciz	"Linux"
	.balign	4
	.long	0x61200
