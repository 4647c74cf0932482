//! Trying to use up everything: the guest meets a limit, and can go on when it lets go.

use crate::kit::prelude::*;

case!(descriptors: openat, dup, prlimit64);
fn descriptors() {
    let mut limit: rlimit = zeroed();
    ok(sys!(prlimit64, 0, RLIMIT_NOFILE, 0, &mut limit));
    limit.rlim_cur = limit.rlim_cur.min(1024);
    ok(sys!(prlimit64, 0, RLIMIT_NOFILE, &limit, 0));
    let mut count = 0;
    while sys!(eventfd2, 0, 0).is_ok() {
        count += 1;
        check(count <= 1024, "the limit holds");
    }
    fails(sys!(eventfd2, 0, 0), EMFILE);
    ok(sys!(close_range, 3, u32::MAX, 0));
    ok(sys!(eventfd2, 0, 0));
}

case!(memory: mmap, munmap);
fn memory() {
    // Address space runs out, not the machine.
    fork(|| {
        let mut count = 0;
        let full = loop {
            match sys!(mmap, 0, 1u64 << 40, PROT_NONE, ANON | MAP_NORESERVE, -1, 0) {
                Ok(_) => count += 1,
                full => break full,
            }
            check(count <= 128, "there is an end");
        };
        fails(full, ENOMEM);
        check(count > 16, "most of it can be had");
    })
    .succeeds();
    map(PAGE, RW);
}

case!(pieces_of_memory: mmap, madvise, mprotect, munmap, mlock, mremap);
fn pieces_of_memory() {
    let max: usize = text(c"/proc/sys/vm/max_map_count").trim().parse().unwrap_or_default();
    if max > 70_000 {
        skip("the host allows so many mappings that it would take too long");
    }
    fork(|| {
        let spare = map(8 * PAGE, PROT_NONE);
        // Every second page of another kind: no two can be joined.
        let pages = max + 100;
        let at = map(pages * PAGE, PROT_NONE);
        let mut made = 0;
        let full = (1..pages).step_by(2).find_map(|i| {
            made += 1;
            sys!(madvise, at + i * PAGE, PAGE, MADV_DONTDUMP).err()
        });
        eq(full, Some(Errno(EAGAIN)));
        within("pieces", 2 * made, max - 200, max + 10);
        // There may be room for one more, and then nothing can be cut.
        let _ = sys!(munmap, spare + PAGE, PAGE);
        fails(sys!(mprotect, spare + 3 * PAGE, PAGE, PROT_READ), ENOMEM);
        fails(sys!(munmap, spare + 5 * PAGE, PAGE), ENOMEM);
        fails(sys!(mlock, spare + 3 * PAGE, PAGE), ENOMEM);
        fails(sys!(mremap, spare + 3 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE), ENOMEM);
        // What makes no more pieces goes on, and all of it when they are gone.
        ok(sys!(munmap, spare, 8 * PAGE));
        ok(sys!(munmap, at, pages * PAGE));
        let again = map(3 * PAGE, RW);
        ok(sys!(mprotect, again + PAGE, PAGE, PROT_READ));
    })
    .succeeds();
}

case!(processes: fork, prlimit64; root);
fn processes() {
    in_child(|| {
        // An id that nobody else has.
        become_user(54_322);
        let limit = rlimit { rlim_cur: 10, rlim_max: 10 };
        ok(sys!(prlimit64, 0, RLIMIT_NPROC, &limit, 0));
        let mut children = Vec::new();
        let full = loop {
            match sys!(fork) {
                Ok(0) => {
                    let _ = sys!(pause);
                }
                Ok(pid) => children.push(Child { pid: pid as i32 }),
                full => break full,
            }
            check(children.len() < 20, "the limit holds");
        };
        fails(full, EAGAIN);
        eq(children.len(), 9);
        fails(sys!(clone, thread::THREAD, 0, 0, 0, 0), EAGAIN);
        children.into_iter().for_each(Child::end);
        fork(|| {}).succeeds();
    });
}

case!(long_vectors: readv, writev, process_vm_readv);
fn long_vectors() {
    let fd = open(c"/dev/zero", O_RDWR);
    let page = map(PAGE, RW);
    let part = iovec { iov_base: page as *mut _, iov_len: 1 << 62 };
    let many = vec![part; 1024];
    // The sum does not fit either.
    fails(sys!(readv, fd, many.as_slice(), 1024), EFAULT);
    fails(sys!(readv, fd, many.as_slice(), u64::MAX), EINVAL);
    let short = vec![iovec { iov_base: page as *mut _, iov_len: PAGE }; 1024];
    eq(ok(sys!(readv, fd, short.as_slice(), 1024)), 1024 * PAGE as i64);
}

case!(pipes_full_of_nothing: pipe2, fcntl, write);
fn pipes_full_of_nothing() {
    // A user without privileges may pin only so much in pipes.
    let mut kept = Vec::new();
    for _ in 0..200 {
        let ends = pipe(O_NONBLOCK);
        ok(sys!(write, ends[1], vec![1u8; 65_536].as_slice(), 65_536));
        kept.push(ends);
    }
    for [r, w] in kept {
        close(r);
        close(w);
    }
    let [r, w] = pipe(0);
    write_all(w, b"x");
    eq(read(r, 2), b"x");
}

case!(sparse_files_cost_nothing: ftruncate, pwrite64);
fn sparse_files_cost_nothing() {
    let fd = create(c"f", b"");
    ok(sys!(ftruncate, fd, 1i64 << 42));
    ok(sys!(pwrite64, fd, c"x", 1, (1i64 << 42) - 1));
    let st = fstat(fd);
    check(st.st_blocks < 1000, format_args!("{} blocks", st.st_blocks));
    let at = map_file(fd, 0, 1 << 30, RW, MAP_SHARED);
    poke(at + (1 << 29), 1);
    eq(peek(at + (1 << 29) - PAGE), 0);
}

case!(deep_signal_nesting: rt_sigaction, rt_sigprocmask);
fn deep_signal_nesting() {
    extern "C" fn again(_: c_int, _: *mut siginfo_t, _: *mut ucontext_t) {
        sig::raise(SIGUSR1);
    }
    // Handlers within handlers until the stack is at its end.
    fork(|| {
        let limit = rlimit { rlim_cur: 256 << 10, rlim_max: RLIM_INFINITY };
        ok(sys!(prlimit64, 0, RLIMIT_STACK, &limit, 0));
        sig::on(SIGUSR1, again, SA_NODEFER);
        sig::raise(SIGUSR1);
    })
    .dies_of(SIGSEGV);
}

case!(fork_in_a_row: fork, wait4, exit_group);
fn fork_in_a_row() {
    // Each the parent of the next.
    fn deeper(level: u32) {
        if level > 0 {
            in_child(|| deeper(level - 1));
        }
    }
    deeper(40);
}
