//! /proc/locks.

use crate::kit::prelude::*;

const F_OFD_SETLK: c_int = 37;

/// The lines about a file, without their numbers and the file itself, in alphabetical order.
fn about(fd: c_int) -> Vec<String> {
    let stat = fstat(fd);
    let file = format!(" {:02x}:{:02x}:{} ", libc::major(stat.st_dev), libc::minor(stat.st_dev), stat.st_ino);
    let all = text(c"/proc/locks");
    let lines = all.lines().filter(|line| line.contains(&file));
    let mut lines: Vec<String> = lines
        .map(|line| {
            let (number, rest) = line.split_once(": ").unwrap_or(("", ""));
            check(number.parse::<u32>().is_ok_and(|number| number > 0), line);
            rest.replace(&file, " ")
        })
        .collect();
    lines.sort();
    lines
}

fn range(kind: i32, start: i64, len: i64) -> flock {
    let mut range: flock = zeroed();
    (range.l_type, range.l_start, range.l_len) = (kind as i16, start, len);
    range
}

case!(locks_are_listed: openat, flock, fcntl);
fn locks_are_listed() {
    let fd = create(c"f", b"x");
    let fd = {
        close(fd);
        open(c"f", O_RDWR)
    };
    let pid = ok(sys!(getpid));
    eq(about(fd), Vec::<String>::new());
    ok(sys!(flock, fd, LOCK_SH));
    eq(about(fd), [format!("FLOCK  ADVISORY  READ {pid} 0 EOF")]);
    ok(sys!(flock, fd, LOCK_EX));
    eq(about(fd), [format!("FLOCK  ADVISORY  WRITE {pid} 0 EOF")]);
    ok(sys!(fcntl, fd, F_SETLK, &range(F_WRLCK, 10, 5)));
    ok(sys!(fcntl, fd, F_SETLK, &range(F_RDLCK, 100, 0)));
    eq(
        about(fd),
        [
            format!("FLOCK  ADVISORY  WRITE {pid} 0 EOF"),
            format!("POSIX  ADVISORY  READ {pid} 100 EOF"),
            format!("POSIX  ADVISORY  WRITE {pid} 10 14"),
        ],
    );
    let other = open(c"f", O_RDWR);
    ok(sys!(fcntl, other, F_OFD_SETLK, &range(F_WRLCK, 20, 1)));
    check(about(fd).contains(&"OFDLCK ADVISORY  WRITE -1 20 20".to_owned()), "that of a description");
    // All locks of the process go with the descriptor, those of the other description stay.
    close(other);
    ok(sys!(flock, fd, LOCK_UN));
    eq(about(fd), Vec::<String>::new());
}

case!(locks_of_other_processes: openat, flock, fork);
fn locks_of_other_processes() {
    put(c"f", b"x");
    let fd = open(c"f", O_RDONLY);
    let [r, w] = pipe(0);
    let [done, end] = pipe(0);
    let child = fork(|| {
        let own = open(c"f", O_RDWR);
        ok(sys!(fcntl, own, F_SETLK, &range(F_WRLCK, 0, 0)));
        write_all(w, b"1");
        close(end);
        read(done, 1);
    });
    eq(read(r, 1), b"1");
    eq(about(fd), [format!("POSIX  ADVISORY  WRITE {} 0 EOF", child.pid)]);
    close(end);
    child.succeeds();
    eq(about(fd), Vec::<String>::new());
}

case!(leases_are_listed: openat, fcntl);
fn leases_are_listed() {
    put(c"f", b"x");
    let fd = open(c"f", O_RDONLY);
    let pid = ok(sys!(getpid));
    sig::block(sig::bit(SIGIO));
    ok(sys!(fcntl, fd, F_SETLEASE, F_RDLCK));
    eq(about(fd), [format!("LEASE  ACTIVE    READ {pid} 0 EOF")]);
    fails(sys!(openat, AT_FDCWD, c"f", O_RDWR | O_NONBLOCK), EAGAIN);
    eq(about(fd), [format!("LEASE  BREAKING  UNLCK {pid} 0 EOF")]);
    ok(sys!(fcntl, fd, F_SETLEASE, F_UNLCK));
    eq(about(fd), Vec::<String>::new());
}

case!(the_list_can_not_be_changed: openat, newfstatat);
fn the_list_can_not_be_changed() {
    eq(stat(c"/proc/locks").st_mode, S_IFREG | 0o444);
    unprivileged(|| fails(sys!(openat, AT_FDCWD, c"/proc/locks", O_WRONLY), EACCES));
}

case!(a_description_asks_for_its_own: fcntl);
fn a_description_asks_for_its_own() {
    const F_OFD_GETLK: c_int = 36;
    put(c"f", b"x");
    let fd = open(c"f", O_RDWR);
    let ask = |kind, start, len| {
        let mut found = range(kind, start, len);
        sys!(fcntl, fd, F_OFD_GETLK, &mut found)
            .map(|_| (i32::from(found.l_type), found.l_start, found.l_len))
    };
    ok(sys!(fcntl, fd, F_OFD_SETLK, &range(F_RDLCK, 10, 5)));
    ok(sys!(fcntl, fd, F_OFD_SETLK, &range(F_WRLCK, 20, 5)));
    match ask(F_UNLCK, 0, 0) {
        // Before Linux 6.8.
        Err(errno) if errno.0 == EINVAL => skip("this kernel does not tell"),
        first => eq(first, Ok((F_RDLCK, 10, 5))),
    }
    eq(ask(F_UNLCK, 15, 0), Ok((F_WRLCK, 20, 5)));
    eq(ask(F_UNLCK, 0, 10), Ok((F_UNLCK, 0, 10)));
    // Its own are in nobody's way.
    eq(ask(F_WRLCK, 0, 0), Ok((F_UNLCK, 0, 0)));
    let mut found = range(F_UNLCK, 0, 0);
    fails(sys!(fcntl, fd, F_GETLK, &mut found), EINVAL);
}
