//! mkdir, rmdir, getdents64.

use crate::kit::prelude::*;

/// `(name, kind, inode)` of all entries; the buffer takes a few at a time.
fn entries(fd: i32) -> Vec<(String, u8, u64)> {
    let mut all = Vec::new();
    let mut buf = [0u64; 32];
    loop {
        let n = ok(sys!(getdents64, fd, &mut buf, 256)) as usize;
        if n == 0 {
            return all;
        }
        let bytes: Vec<u8> = buf.iter().flat_map(|w| w.to_le_bytes()).collect();
        let mut at = 0;
        while at < n {
            let length = u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]) as usize;
            check(length.is_multiple_of(8) && length > 19 && at + length <= n, "a sound length");
            let name: Vec<u8> = bytes[at + 19..at + length].iter().copied().take_while(|b| *b != 0).collect();
            let inode = bytes[at..at + 8].iter().rev().fold(0u64, |v, b| v << 8 | u64::from(*b));
            all.push((String::from_utf8_lossy(&name).into_owned(), bytes[at + 18], inode));
            at += length;
        }
    }
}

fn names(path: &std::ffi::CStr) -> Vec<String> {
    let fd = open(path, O_RDONLY | O_DIRECTORY);
    let mut names: Vec<String> = entries(fd).into_iter().map(|e| e.0).collect();
    close(fd);
    names.sort();
    names
}

case!(mode_and_umask: mkdir, mkdirat; disk);
fn mode_and_umask() {
    ok(sys!(mkdir, c"a", 0o777));
    eq(stat(c"a").st_mode, S_IFDIR | 0o755);
    ok(sys!(umask, 0));
    ok(sys!(mkdirat, AT_FDCWD, c"b", 0o1777));
    eq(stat(c"b").st_mode, S_IFDIR | 0o1777);
    // The set-id bits are not taken.
    ok(sys!(mkdir, c"c", 0o6755));
    eq(stat(c"c").st_mode & 0o7777, 0o755);
    ok(sys!(mkdir, c"d/", 0o755));
}

case!(mkdir_errors: mkdir, mkdirat; disk);
fn mkdir_errors() {
    put(c"f", b"");
    ok(sys!(symlinkat, c"nowhere", AT_FDCWD, c"dangling"));
    for there in [c"f", c".", c"..", c"/", c"dangling", c"f/"] {
        fails(sys!(mkdir, there, 0o755), EEXIST);
    }
    fails(sys!(mkdir, c"", 0o755), ENOENT);
    fails(sys!(mkdir, c"missing/d", 0o755), ENOENT);
    fails(sys!(mkdir, c"f/d", 0o755), ENOTDIR);
    fails(sys!(mkdir, 8, 0o755), EFAULT);
    fails(sys!(mkdirat, 999, c"d", 0o755), EBADF);
}

case!(rmdir_errors: rmdir, unlinkat; disk);
fn rmdir_errors() {
    mkdir(c"d");
    put(c"d/f", b"");
    fails(sys!(rmdir, c"d"), ENOTEMPTY);
    fails(sys!(rmdir, c"d/f"), ENOTDIR);
    fails(sys!(rmdir, c"missing"), ENOENT);
    fails(sys!(rmdir, c"d/."), EINVAL);
    fails(sys!(rmdir, c"d/.."), ENOTEMPTY);
    fails(sys!(rmdir, c"/"), EBUSY);
    fails(sys!(rmdir, c""), ENOENT);
    ok(sys!(symlinkat, c"d", AT_FDCWD, c"l"));
    fails(sys!(rmdir, c"l"), ENOTDIR);
    ok(sys!(unlinkat, AT_FDCWD, c"d/f", 0));
    ok(sys!(rmdir, c"d/"));
    check(!exists(c"d"), "gone");
}

case!(removed_while_in_use: rmdir, getcwd, openat, getdents64; disk);
fn removed_while_in_use() {
    mkdir(c"d");
    let fd = open(c"d", O_RDONLY);
    ok(sys!(chdir, c"d"));
    ok(sys!(rmdir, c"../d"));
    fails(sys!(getcwd, &mut [0u8; 4096], 4096), ENOENT);
    fails(sys!(openat, AT_FDCWD, c"f", O_CREAT | O_RDWR, 0o600), ENOENT);
    fails(sys!(mkdirat, fd, c"e", 0o755), ENOENT);
    fails(sys!(getdents64, fd, &mut [0u64; 32], 256), ENOENT);
    // The way up is still there.
    stat(c"..");
}

case!(link_counts: mkdir, rmdir);
fn link_counts() {
    needs_tmpfs();
    mkdir(c"d");
    eq(stat(c"d").st_nlink, 2);
    mkdir(c"d/a");
    mkdir(c"d/b");
    eq(stat(c"d").st_nlink, 4);
    ok(sys!(rmdir, c"d/a"));
    eq(stat(c"d").st_nlink, 3);
}

case!(entries_and_kinds: getdents64; disk);
fn entries_and_kinds() {
    mkdir(c"d");
    mkdir(c"d/dir");
    put(c"d/file", b"");
    ok(sys!(symlinkat, c"x", AT_FDCWD, c"d/link"));
    ok(sys!(mknodat, AT_FDCWD, c"d/fifo", S_IFIFO | 0o600, 0));
    ok(sys!(mknodat, AT_FDCWD, c"d/socket", S_IFSOCK | 0o600, 0));
    let mut all = entries(open(c"d", O_RDONLY));
    all.sort();
    let kinds: Vec<(&str, u8)> = all.iter().map(|e| (e.0.as_str(), e.1)).collect();
    eq(
        kinds,
        vec![
            (".", DT_DIR),
            ("..", DT_DIR),
            ("dir", DT_DIR),
            ("fifo", DT_FIFO),
            ("file", DT_REG),
            ("link", DT_LNK),
            ("socket", DT_SOCK),
        ],
    );
    for (name, _, inode) in &all {
        let path = std::ffi::CString::new(format!("d/{name}")).unwrap_or_default();
        eq_of(name, *inode, lstat(&path).st_ino);
    }
}

case!(long_listing_is_complete: getdents64; disk);
fn long_listing_is_complete() {
    mkdir(c"d");
    let mut want: Vec<String> = (0..500).map(|i| format!("entry-{i:04}{}", "x".repeat(i % 60))).collect();
    for name in &want {
        put(&std::ffi::CString::new(format!("d/{name}")).unwrap_or_default(), b"");
    }
    want.extend([".".to_string(), "..".to_string()]);
    want.sort();
    eq(names(c"d"), want);
}

case!(removing_while_listing: getdents64, unlinkat; disk);
fn removing_while_listing() {
    mkdir(c"d");
    for i in 0..200 {
        put(&std::ffi::CString::new(format!("d/{i}")).unwrap_or_default(), b"");
    }
    // As rm -r does it: read a few, remove them, read on.
    let fd = open(c"d", O_RDONLY);
    let mut buf = [0u64; 32];
    let mut removed = 0;
    loop {
        let n = ok(sys!(getdents64, fd, &mut buf, 256)) as usize;
        if n == 0 {
            break;
        }
        let bytes: Vec<u8> = buf.iter().flat_map(|w| w.to_le_bytes()).collect();
        let mut at = 0;
        while at < n {
            let length = u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]) as usize;
            let name: Vec<u8> = bytes[at + 19..at + length].iter().copied().take_while(|b| *b != 0).collect();
            at += length;
            if name != b"." && name != b".." {
                let name = std::ffi::CString::new(name).unwrap_or_default();
                ok(sys!(unlinkat, fd, name.as_c_str(), 0));
                removed += 1;
            }
        }
    }
    eq(removed, 200);
    ok(sys!(rmdir, c"d"));
}

case!(listing_errors: getdents64; disk);
fn listing_errors() {
    let file = create(c"f", b"");
    let fd = open(c".", O_RDONLY);
    fails(sys!(getdents64, file, &mut [0u64; 32], 256), ENOTDIR);
    fails(sys!(getdents64, 999, &mut [0u64; 32], 256), EBADF);
    fails(sys!(getdents64, fd, &mut [0u64; 32], 0), EINVAL);
    fails(sys!(getdents64, fd, &mut [0u64; 32], 16), EINVAL);
    fails(sys!(getdents64, fd, 8, 256), EFAULT);
    // None of that has lost an entry.
    eq(entries(fd).len(), 3);
}

case!(old_listing: getdents; disk);
fn old_listing() {
    put(c"f", b"");
    let fd = open(c".", O_RDONLY);
    let mut buf = [0u64; 64];
    let n = ok(sys!(getdents, fd, &mut buf, 512)) as usize;
    let bytes: Vec<u8> = buf.iter().flat_map(|w| w.to_le_bytes()).collect();
    let (mut at, mut found) = (0, Vec::new());
    while at < n {
        let length = u16::from_le_bytes([bytes[at + 16], bytes[at + 17]]) as usize;
        let name: Vec<u8> = bytes[at + 18..at + length].iter().copied().take_while(|b| *b != 0).collect();
        // The kind is the record's last byte.
        found.push((String::from_utf8_lossy(&name).into_owned(), bytes[at + length - 1]));
        at += length;
    }
    found.sort();
    eq(found, vec![(".".to_string(), DT_DIR), ("..".to_string(), DT_DIR), ("f".to_string(), DT_REG)]);
}

case!(names_of_any_bytes: openat, getdents64, mkdir; disk);
fn names_of_any_bytes() {
    mkdir(c"d");
    for name in [c"d/\xff\xfe", c"d/ ", c"d/new\nline", c"d/...", c"d/-rf", c"d/\xc3\xa4"] {
        put(name, b"");
    }
    let fd = open(c"d", O_RDONLY);
    eq(entries(fd).len(), 8);
    check(exists(c"d/\xff\xfe"), "found again");
    check(!exists(c"d/\xff"), "not another");
}

case!(deep_trees: mkdirat, openat, rmdir);
fn deep_trees() {
    // Deeper than a path can say, by steps.
    let depth = 60;
    let name = std::ffi::CString::new(vec![b'n'; 100]).unwrap_or_default();
    for _ in 0..depth {
        mkdir(&name);
        ok(sys!(chdir, name.as_c_str()));
    }
    fails(sys!(getcwd, &mut [0u8; 16384], 16384), ENAMETOOLONG);
    put(c"f", b"deep");
    eq(content(c"f"), b"deep");
    ok(sys!(unlinkat, AT_FDCWD, c"f", 0));
    for _ in 0..depth {
        ok(sys!(chdir, c".."));
        ok(sys!(rmdir, name.as_c_str()));
    }
}
