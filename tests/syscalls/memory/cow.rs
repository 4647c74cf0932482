//! Copy on write after fork, and what is shared across it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::kit::prelude::*;

const PAGES: usize = 64;

fn filled(value: u8) -> usize {
    let p = map(PAGES * PAGE, RW);
    for i in 0..PAGES {
        poke(p + i * PAGE, value);
        poke(p + i * PAGE + PAGE - 1, value);
    }
    p
}

#[track_caller]
fn holds(p: usize, value: u8) {
    for i in 0..PAGES {
        eq_of(format_args!("page {i}"), [peek(p + i * PAGE), peek(p + i * PAGE + PAGE - 1)], [value; 2]);
    }
}

fn fill(p: usize, value: u8) {
    for i in 0..PAGES {
        poke(p + i * PAGE, value);
        poke(p + i * PAGE + PAGE - 1, value);
    }
}

/// Lets two processes take turns.
#[derive(Default)]
struct Turns(AtomicU32);

impl Turns {
    #[track_caller]
    fn wait(&self, turn: u32) {
        eventually(format_args!("turn {turn}"), || self.0.load(Ordering::SeqCst) >= turn);
    }
    fn give(&self, turn: u32) {
        self.0.store(turn, Ordering::SeqCst);
    }
}

case!(child_writes_first: fork, mmap);
fn child_writes_first() {
    let turns = shared::<Turns>();
    let p = filled(1);
    let child = fork(|| {
        fill(p, 2);
        turns.give(1);
        turns.wait(2);
        holds(p, 2);
    });
    turns.wait(1);
    holds(p, 1);
    fill(p, 3);
    turns.give(2);
    child.succeeds();
    holds(p, 3);
}

case!(parent_writes_first: fork, mmap);
fn parent_writes_first() {
    let turns = shared::<Turns>();
    let p = filled(1);
    let child = fork(|| {
        turns.wait(1);
        holds(p, 1);
        fill(p, 2);
        turns.give(2);
        turns.wait(3);
        holds(p, 2);
    });
    fill(p, 3);
    turns.give(1);
    turns.wait(2);
    holds(p, 3);
    turns.give(3);
    child.succeeds();
    holds(p, 3);
}

case!(parent_writes_after_the_child_has_gone: fork, exit_group);
fn parent_writes_after_the_child_has_gone() {
    let p = filled(1);
    for round in 0..5u8 {
        in_child(|| {
            holds(p, 1 + round);
            poke(p, 99);
        });
        fill(p, 2 + round);
        holds(p, 2 + round);
    }
}

case!(child_writes_after_the_parent_has_gone: fork, exit_group);
fn child_writes_after_the_parent_has_gone() {
    let turns = shared::<Turns>();
    let p = filled(1);
    let child = fork(|| {
        fork(|| {
            turns.wait(1);
            holds(p, 1);
            fill(p, 2);
            holds(p, 2);
            turns.give(2);
        });
        poke(p, 5);
    });
    child.succeeds();
    turns.give(1);
    turns.wait(2);
    holds(p, 1);
}

case!(grandchildren_each_have_their_own: fork);
fn grandchildren_each_have_their_own() {
    let p = filled(1);
    in_child(|| {
        fill(p, 2);
        in_child(|| {
            holds(p, 2);
            fill(p, 3);
            in_child(|| {
                holds(p, 3);
                fill(p, 4);
            });
            holds(p, 3);
        });
        holds(p, 2);
    });
    holds(p, 1);
}

case!(many_children_of_one_page: fork, wait4);
fn many_children_of_one_page() {
    let p = filled(7);
    let children: Vec<Child> = (0..12u8)
        .map(|i| {
            fork(|| {
                holds(p, 7);
                fill(p, 100 + i);
                holds(p, 100 + i);
            })
        })
        .collect();
    fill(p, 8);
    children.into_iter().for_each(Child::succeeds);
    holds(p, 8);
}

case!(kernel_writes_copy_too: fork, read);
fn kernel_writes_copy_too() {
    let p = filled(1);
    let [r, w] = pipe(0);
    in_child(|| {
        write_all(w, &[5; 100]);
        eq(ok(sys!(read, r, p + PAGE - 50, 100)), 100);
        eq([peek(p + PAGE - 50), peek(p + PAGE + 49), peek(p + PAGE + 50)], [5, 5, 0]);
    });
    holds(p, 1);
    write_all(w, &[6; 100]);
    eq(ok(sys!(read, r, p + PAGE - 50, 100)), 100);
    eq([peek(p + PAGE - 1), peek(p + PAGE)], [6, 6]);
}

case!(shared_anonymous_is_shared: mmap, fork);
fn shared_anonymous_is_shared() {
    let p = ok(sys!(mmap, 0, 4 * PAGE, RW, SHARED_ANON, -1, 0)) as usize;
    poke(p, 1);
    in_child(|| {
        eq(peek(p), 1);
        poke(p, 2);
        poke(p + 3 * PAGE, 3);
        in_child(|| poke(p + PAGE, 4));
    });
    eq([peek(p), peek(p + PAGE), peek(p + 3 * PAGE)], [2, 4, 3]);
}

case!(shared_anonymous_after_unmap_in_the_parent: mmap, munmap, fork);
fn shared_anonymous_after_unmap_in_the_parent() {
    let turns = shared::<Turns>();
    let p = ok(sys!(mmap, 0, PAGE, RW, SHARED_ANON, -1, 0)) as usize;
    poke(p, 1);
    let child = fork(|| {
        turns.wait(1);
        eq(peek(p), 1);
    });
    unmap(p, PAGE);
    turns.give(1);
    child.succeeds();
}

case!(private_mapping_of_a_file_after_fork: mmap, fork);
fn private_mapping_of_a_file_after_fork() {
    let fd = create(c"f", &[1; 2 * PAGE]);
    let p = map_file(fd, 0, 2 * PAGE, RW, MAP_PRIVATE);
    poke(p, 2);
    in_child(|| {
        eq([peek(p), peek(p + PAGE)], [2, 1]);
        poke(p, 3);
        poke(p + PAGE, 3);
    });
    eq([peek(p), peek(p + PAGE)], [2, 1]);
    eq(content(c"f"), vec![1; 2 * PAGE]);
}

case!(read_only_page_made_writable_in_the_child: fork, mprotect);
fn read_only_page_made_writable_in_the_child() {
    let p = filled(1);
    ok(sys!(mprotect, p, PAGES * PAGE, PROT_READ));
    in_child(|| {
        ok(sys!(mprotect, p, PAGES * PAGE, RW));
        fill(p, 2);
        holds(p, 2);
    });
    holds(p, 1);
    faults(|| poke(p, 1), SIGSEGV, 2, p);
}

case!(unmapped_in_the_child_only: fork, munmap);
fn unmapped_in_the_child_only() {
    let p = filled(1);
    in_child(|| {
        unmap(p + PAGE, PAGE);
        faults(|| poke(p + PAGE, 1), SIGSEGV, 1, p + PAGE);
        let q = ok(sys!(mmap, p + PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0)) as usize;
        eq(peek(q), 0);
    });
    holds(p, 1);
}

case!(untouched_pages_after_fork: fork, mmap);
fn untouched_pages_after_fork() {
    let p = map(PAGES * PAGE, RW);
    in_child(|| fill(p, 1));
    holds(p, 0);
    let child = fork(|| holds(p, 0));
    fill(p, 2);
    child.succeeds();
}

case!(exec_lets_go: fork, execve);
fn exec_lets_go() {
    let p = filled(1);
    let child = fork(|| {
        ok(exec(c"/bin/true", &[c"true"], &[]));
    });
    child.succeeds();
    fill(p, 2);
    holds(p, 2);
}

case!(dontfork_is_not_copied: madvise, fork);
fn dontfork_is_not_copied() {
    let p = filled(1);
    ok(sys!(madvise, p + PAGE, PAGE, MADV_DONTFORK));
    in_child(|| {
        eq(peek(p), 1);
        faults(|| poke(p + PAGE, 1), SIGSEGV, 1, p + PAGE);
    });
    ok(sys!(madvise, p + PAGE, PAGE, MADV_DOFORK));
    in_child(|| holds(p, 1));
}

case!(wipeonfork_is_zero_in_the_child: madvise, fork);
fn wipeonfork_is_zero_in_the_child() {
    let p = filled(1);
    ok(sys!(madvise, p, PAGES * PAGE, MADV_WIPEONFORK));
    in_child(|| {
        holds(p, 0);
        fill(p, 3);
        // It stays marked for the next generation.
        in_child(|| holds(p, 0));
    });
    holds(p, 1);
    ok(sys!(madvise, p, PAGES * PAGE, MADV_KEEPONFORK));
    in_child(|| holds(p, 1));
}
