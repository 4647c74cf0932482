//! chdir, fchdir, getcwd, chroot.

use crate::kit::prelude::*;

fn cwd() -> String {
    let mut buf = [0u8; 4096];
    let n = ok(sys!(getcwd, &mut buf, 4096)) as usize;
    eq(buf[n - 1], 0);
    String::from_utf8_lossy(&buf[..n - 1]).into_owned()
}

case!(there_and_back: chdir, fchdir, getcwd; disk);
fn there_and_back() {
    let top = cwd();
    let fd = open(c".", O_RDONLY);
    mkdir(c"d");
    ok(sys!(chdir, c"d"));
    eq(cwd(), format!("{top}/d"));
    ok(sys!(chdir, c".."));
    eq(cwd(), top.as_str());
    ok(sys!(chdir, c"/"));
    eq(cwd(), "/");
    ok(sys!(fchdir, fd));
    eq(cwd(), top);
}

case!(links_are_resolved: chdir, getcwd; disk);
fn links_are_resolved() {
    let top = cwd();
    mkdir(c"d");
    mkdir(c"d/e");
    ok(sys!(symlinkat, c"d/e", AT_FDCWD, c"l"));
    ok(sys!(chdir, c"l"));
    eq(cwd(), format!("{top}/d/e"));
    ok(sys!(chdir, c".."));
    eq(cwd(), format!("{top}/d"));
}

case!(cwd_errors: chdir, fchdir, getcwd; disk);
fn cwd_errors() {
    let file = create(c"f", b"");
    fails(sys!(chdir, c"missing"), ENOENT);
    fails(sys!(chdir, c"f"), ENOTDIR);
    fails(sys!(chdir, c""), ENOENT);
    fails(sys!(chdir, 8), EFAULT);
    fails(sys!(fchdir, file), ENOTDIR);
    fails(sys!(fchdir, 999), EBADF);
    fails(sys!(getcwd, &mut [0u8; 4], 4), ERANGE);
    fails(sys!(getcwd, &mut [0u8; 4], 0), ERANGE);
    fails(sys!(getcwd, 8, 4096), EFAULT);
    ok(sys!(chdir, c"/"));
    let mut two = [9u8; 2];
    eq(ok(sys!(getcwd, &mut two, 2)), 2);
    eq(two, *b"/\0");
}

case!(shared_and_copied: clone, chdir, unshare);
fn shared_and_copied() {
    mkdir(c"d");
    let top = cwd();
    in_child(|| done(sys!(chdir, c"d")));
    eq(cwd(), top.as_str());
    clone_child((CLONE_FS | SIGCHLD) as u64, || done(sys!(chdir, c"d"))).succeeds();
    eq(cwd(), format!("{top}/d"));
    // Threads share it, unless they say otherwise.
    thread::join(std::thread::spawn(|| {
        ok(sys!(chdir, c".."));
        ok(sys!(unshare, CLONE_FS));
        ok(sys!(chdir, c"/"));
    }));
    eq(cwd(), top);
}

case!(umask_is_shared_like_it: clone, umask);
fn umask_is_shared_like_it() {
    in_child(|| done(sys!(umask, 0o77)));
    eq(ok(sys!(umask, 0o22)), 0o22);
    clone_child((CLONE_FS | SIGCHLD) as u64, || done(sys!(umask, 0o77))).succeeds();
    eq(ok(sys!(umask, 0o22)), 0o77);
}

case!(another_root: chroot, openat, getcwd; root; disk);
fn another_root() {
    mkdir(c"r");
    mkdir(c"r/d");
    put(c"r/f", b"inside");
    put(c"f", b"outside");
    ok(sys!(symlinkat, c"/f", AT_FDCWD, c"r/l"));
    in_child(|| {
        let outside = open(c".", O_RDONLY);
        ok(sys!(chroot, c"r"));
        eq(content(c"/f"), b"inside");
        eq(content(c"/l"), b"inside");
        eq(content(c"/../f"), b"inside");
        // The current directory has stayed outside, and getcwd says so.
        eq(content(c"f"), b"outside");
        check(cwd().starts_with("(unreachable)"), cwd());
        ok(sys!(chdir, c"/d"));
        eq(cwd(), "/d");
        eq(content(c"../../../f"), b"inside");
        // An open descriptor is a way out.
        ok(sys!(fchdir, outside));
        eq(content(c"f"), b"outside");
    });
    // The parent has its own.
    eq(content(c"/proc/self/cwd/f"), b"outside");
}

case!(root_errors: chroot; root; disk);
fn root_errors() {
    put(c"f", b"");
    fails(sys!(chroot, c"f"), ENOTDIR);
    fails(sys!(chroot, c"missing"), ENOENT);
    fails(sys!(chroot, 8), EFAULT);
    unprivileged(|| fails(sys!(chroot, c"."), EPERM));
}
