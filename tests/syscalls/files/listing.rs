//! getdents64 while the directory changes.

use std::collections::BTreeSet;

use crate::kit::prelude::*;

/// One call with this much room; names but `.` and `..`.
fn some(fd: i32, room: usize) -> Option<Vec<String>> {
    let mut buf = vec![0u8; room];
    let n = ok(sys!(getdents64, fd, buf.as_mut_ptr(), room)) as usize;
    if n == 0 {
        return None;
    }
    let mut names = Vec::new();
    let mut at = 0;
    while at < n {
        let len = u16::from_ne_bytes([buf[at + 16], buf[at + 17]]) as usize;
        let name = &buf[at + 19..at + len];
        let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        names.push(String::from_utf8_lossy(&name[..end]).into_owned());
        at += len;
    }
    names.retain(|name| name != "." && name != "..");
    Some(names)
}

fn all(fd: i32, room: usize) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(more) = some(fd, room) {
        names.extend(more);
    }
    names
}

fn name(i: usize) -> std::ffi::CString {
    std::ffi::CString::new(format!("d/file-{i}")).unwrap_or_default()
}

fn directory(count: usize) -> i32 {
    mkdir(c"d");
    for i in 0..count {
        put(&name(i), b"");
    }
    open(c"d", O_RDONLY | O_DIRECTORY)
}

case!(removal_while_listing: getdents64, unlinkat; disk);
fn removal_while_listing() {
    let fd = directory(300);
    let mut seen = Vec::new();
    // What has been listed is removed, as rm -r does.
    while let Some(names) = some(fd, 512) {
        for name in &names {
            let path = std::ffi::CString::new(format!("d/{name}")).unwrap_or_default();
            ok(sys!(unlinkat, AT_FDCWD, path.as_c_str(), 0));
        }
        seen.extend(names);
    }
    eq(seen.len(), 300);
    ok(sys!(unlinkat, AT_FDCWD, c"d", AT_REMOVEDIR));
}

case!(what_stays_is_listed_once: getdents64, openat, unlinkat; disk);
fn what_stays_is_listed_once() {
    let fd = directory(200);
    let mut seen = Vec::new();
    let mut step = 0;
    while let Some(names) = some(fd, 256) {
        seen.extend(names);
        // Others come and go meanwhile.
        put(&name(1000 + step), b"");
        if step > 0 {
            ok(sys!(unlinkat, AT_FDCWD, name(1000 + step - 1).as_c_str(), 0));
        }
        step += 1;
    }
    let stays: Vec<&String> = seen
        .iter()
        .filter(|n| n.strip_prefix("file-").and_then(|i| i.parse().ok()).is_some_and(|i: usize| i < 200))
        .collect();
    eq(stays.iter().collect::<BTreeSet<_>>().len(), 200);
    eq(stays.len(), 200);
}

case!(renames_while_listing: getdents64, renameat2; disk);
fn renames_while_listing() {
    let fd = directory(100);
    let first = some(fd, 256).unwrap_or_default();
    for i in 0..100 {
        let to = std::ffi::CString::new(format!("d/renamed-{i}")).unwrap_or_default();
        ok(sys!(renameat2, AT_FDCWD, name(i).as_c_str(), AT_FDCWD, to.as_c_str(), 0));
    }
    // Where the new names come is up to the file system, but none comes twice.
    let rest = all(fd, 256);
    let unique: BTreeSet<&String> = first.iter().chain(&rest).collect();
    eq(unique.len(), first.len() + rest.len());
}

case!(rewind_sees_news: getdents64, lseek; disk);
fn rewind_sees_news() {
    let fd = directory(3);
    eq(all(fd, 4096).len(), 3);
    put(c"d/new", b"");
    ok(sys!(lseek, fd, 0, SEEK_SET));
    let names = all(fd, 4096);
    check(names.contains(&"new".to_owned()) && names.len() == 4, "listed after rewinding");
}

case!(a_position_can_be_gone_back_to: getdents64, lseek; disk);
fn a_position_can_be_gone_back_to() {
    let fd = directory(50);
    some(fd, 512);
    let here = ok(sys!(lseek, fd, 0, SEEK_CUR));
    let rest = all(fd, 512);
    ok(sys!(lseek, fd, here, SEEK_SET));
    eq(all(fd, 512), rest);
}

case!(a_listing_of_what_is_gone: getdents64, unlinkat; disk);
fn a_listing_of_what_is_gone() {
    let fd = directory(2);
    ok(sys!(unlinkat, AT_FDCWD, name(0).as_c_str(), 0));
    ok(sys!(unlinkat, AT_FDCWD, name(1).as_c_str(), 0));
    ok(sys!(unlinkat, AT_FDCWD, c"d", AT_REMOVEDIR));
    fails(sys!(getdents64, fd, &mut [0u8; 512], 512), ENOENT);
    fails(sys!(openat, fd, c"x", O_CREAT | O_RDWR, 0o600), ENOENT);
}

case!(little_room_for_entries: getdents64; disk);
fn little_room_for_entries() {
    let fd = directory(1);
    fails(sys!(getdents64, fd, &mut [0u8; 8], 8), EINVAL);
    fails(sys!(getdents64, fd, 8, 4096), EFAULT);
    put(c"f", b"");
    fails(sys!(getdents64, open(c"f", O_RDONLY), &mut [0u8; 512], 512), ENOTDIR);
    fails(sys!(getdents64, open(c"d", O_PATH), &mut [0u8; 512], 512), EBADF);
}
