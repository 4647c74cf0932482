//! /proc/sysvipc, and the limits in /proc/sys/kernel.

use std::ffi::CStr;

use super::{Queue, Set};
use crate::kit::prelude::*;

/// The words of the line that has `id` in its second column.
#[track_caller]
fn line(file: &CStr, id: i32) -> Vec<String> {
    let all = text(file);
    let found = all.lines().find(|line| line.split_whitespace().nth(1) == Some(&id.to_string()));
    match found {
        Some(line) => line.split_whitespace().map(str::to_owned).collect(),
        None => fail(format_args!("{id} is not in {file:?}:\n{all}")),
    }
}

case!(sets_are_listed: semget);
fn sets_are_listed() {
    let set = Set::with(&[1, 2, 3]);
    let (uid, gid) = (ok(sys!(geteuid)).to_string(), ok(sys!(getegid)).to_string());
    let words = line(c"/proc/sysvipc/sem", set.0);
    eq(&words[..8], ["0", &set.0.to_string(), "600", "3", &uid, &gid, &uid, &gid]);
    eq((&*words[8], words.len()), ("0", 10));
    eq(
        text(c"/proc/sysvipc/sem").lines().next(),
        Some("       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime"),
    );
}

case!(queues_are_listed: msgget);
fn queues_are_listed() {
    let queue = Queue::new();
    ok(queue.send(1, b"seven b", 0));
    let pid = ok(sys!(getpid)).to_string();
    let words = line(c"/proc/sysvipc/msg", queue.0);
    eq(&words[..7], ["0", &queue.0.to_string(), "600", "7", "1", &pid, "0"]);
    eq(words.len(), 14);
    eq(
        text(c"/proc/sysvipc/msg").lines().next().map(str::len),
        Some("       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime".len()),
    );
}

case!(segments_are_listed: shmget);
fn segments_are_listed() {
    let id = ok_i32(sys!(shmget, IPC_PRIVATE, 5000, 0o640));
    let pid = ok(sys!(getpid)).to_string();
    let words = line(c"/proc/sysvipc/shm", id);
    ok(sys!(shmctl, id, IPC_RMID));
    eq(&words[..7], ["0", &id.to_string(), "640", "5000", &pid, "0", "0"]);
    eq(words.len(), 16);
}

case!(lines_have_columns: semget);
fn lines_have_columns() {
    let set = Set::new(1);
    let all = text(c"/proc/sysvipc/sem");
    let id = format!(" {:>10} ", set.0);
    let line = all.lines().find(|line| line.contains(&id)).unwrap_or_default();
    eq(&line[..38], format!("{:>10} {:>10}  {:>4} {:>10}", 0, set.0, 600, 1));
}
