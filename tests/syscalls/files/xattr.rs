//! Extended attributes.

use crate::kit::prelude::*;

fn set(name: &std::ffi::CStr, value: &[u8], flags: i32) -> Answer {
    sys!(setxattr, c"f", name, value, value.len(), flags)
}

fn get(name: &std::ffi::CStr) -> Vec<u8> {
    let mut buf = [0u8; 256];
    let n = ok(sys!(getxattr, c"f", name, &mut buf, 256)) as usize;
    buf[..n].to_vec()
}

/// A file in the scratch directory, or a skipped case where its file system knows no such attributes.
fn file() -> i32 {
    let fd = create(c"f", b"");
    if sys!(setxattr, c"f", c"user.probe", c"x", 1, 0) == Err(Errno(EOPNOTSUPP)) {
        skip("the file system has no user attributes");
    }
    ok(sys!(removexattr, c"f", c"user.probe"));
    fd
}

case!(set_get_remove: setxattr, getxattr, removexattr, fgetxattr, fsetxattr, fremovexattr; disk);
fn set_get_remove() {
    let fd = file();
    ok(set(c"user.a", b"value", 0));
    eq(get(c"user.a"), b"value");
    ok(set(c"user.a", b"", 0));
    eq(get(c"user.a"), b"");
    ok(sys!(fsetxattr, fd, c"user.b", c"b", 1, 0));
    let mut buf = [0u8; 4];
    eq(ok(sys!(fgetxattr, fd, c"user.b", &mut buf, 4)), 1);
    ok(sys!(fremovexattr, fd, c"user.b"));
    fails(sys!(fgetxattr, fd, c"user.b", &mut buf, 4), ENODATA);
    fails(sys!(removexattr, c"f", c"user.b"), ENODATA);
}

case!(create_and_replace: setxattr; disk);
fn create_and_replace() {
    file();
    fails(set(c"user.a", b"1", XATTR_REPLACE), ENODATA);
    ok(set(c"user.a", b"1", XATTR_CREATE));
    fails(set(c"user.a", b"2", XATTR_CREATE), EEXIST);
    ok(set(c"user.a", b"2", XATTR_REPLACE));
    eq(get(c"user.a"), b"2");
    fails(set(c"user.a", b"2", 8), EINVAL);
}

case!(sizes_are_asked_for: getxattr, listxattr; disk);
fn sizes_are_asked_for() {
    file();
    ok(set(c"user.a", b"12345", 0));
    eq(ok(sys!(getxattr, c"f", c"user.a", 0, 0)), 5);
    fails(sys!(getxattr, c"f", c"user.a", &mut [0u8; 4], 4), ERANGE);
    let size = ok(sys!(listxattr, c"f", 0, 0));
    check(size >= 7, "room for the name");
    fails(sys!(listxattr, c"f", &mut [0u8; 3], 3), ERANGE);
}

case!(list: listxattr, llistxattr, flistxattr; disk);
fn list() {
    let fd = file();
    ok(set(c"user.one", b"1", 0));
    ok(set(c"user.two", b"2", 0));
    let mut buf = [0u8; 256];
    let n = ok(sys!(flistxattr, fd, &mut buf, 256)) as usize;
    let mut names: Vec<&[u8]> = buf[..n].split(|b| *b == 0).filter(|n| n.starts_with(b"user.")).collect();
    names.sort();
    eq(names, vec![&b"user.one"[..], &b"user.two"[..]]);
    eq(ok(sys!(llistxattr, c"f", &mut buf, 256)), n as i64);
}

case!(bad_names_and_values: setxattr, getxattr; disk);
fn bad_names_and_values() {
    file();
    let long = std::ffi::CString::new([b"user.".to_vec(), vec![b'a'; 251]].concat()).unwrap_or_default();
    fails(set(&long, b"", 0), ERANGE);
    fails(set(c"", b"", 0), ERANGE);
    fails(set(c"user.", b"", 0), EINVAL);
    fails(set(c"nokind", b"", 0), EOPNOTSUPP);
    fails(set(c"other.a", b"", 0), EOPNOTSUPP);
    fails(sys!(setxattr, c"f", c"user.a", c"x", 65_537, 0), E2BIG);
    fails(sys!(setxattr, c"f", c"user.a", 8, 1, 0), EFAULT);
    fails(sys!(setxattr, c"f", 8, c"x", 1, 0), EFAULT);
    fails(sys!(setxattr, c"missing", c"user.a", c"x", 1, 0), ENOENT);
    fails(sys!(fsetxattr, 999, c"user.a", c"x", 1, 0), EBADF);
    fails(sys!(fgetxattr, open(c"f", O_PATH), c"user.a", 0, 0), EBADF);
}

case!(links_and_special_files: lsetxattr, lgetxattr, setxattr; disk);
fn links_and_special_files() {
    file();
    ok(sys!(symlinkat, c"f", AT_FDCWD, c"l"));
    ok(sys!(setxattr, c"l", c"user.a", c"x", 1, 0));
    eq(get(c"user.a"), b"x");
    // The user kind is for files and directories only.
    fails(sys!(lsetxattr, c"l", c"user.a", c"x", 1, 0), EPERM);
    fails(sys!(lgetxattr, c"l", c"user.a", 0, 0), ENODATA);
    ok(sys!(mknodat, AT_FDCWD, c"p", S_IFIFO | 0o600, 0));
    fails(sys!(setxattr, c"p", c"user.a", c"x", 1, 0), EPERM);
    mkdir(c"d");
    ok(sys!(setxattr, c"d", c"user.a", c"x", 1, 0));
}

case!(permission_for_attributes: setxattr, getxattr; root; disk);
fn permission_for_attributes() {
    file();
    ok(set(c"user.a", b"1", 0));
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0o644));
    unprivileged(|| {
        eq(get(c"user.a"), b"1");
        fails(set(c"user.a", b"2", 0), EACCES);
        fails(set(c"trusted.a", b"2", 0), EPERM);
        fails(sys!(getxattr, c"f", c"trusted.a", 0, 0), ENODATA);
    });
    ok(sys!(fchmodat, AT_FDCWD, c"f", 0));
    unprivileged(|| fails(sys!(getxattr, c"f", c"user.a", 0, 0), EACCES));
}

case!(kept_over_rename_and_link: rename, link, getxattr; disk);
fn kept_over_rename_and_link() {
    file();
    ok(set(c"user.a", b"1", 0));
    ok(sys!(link, c"f", c"g"));
    ok(sys!(rename, c"f", c"h"));
    ok(sys!(rename, c"g", c"f"));
    eq(get(c"user.a"), b"1");
}

case!(of_sockets_and_of_the_working_directory: fgetxattr, flistxattr, fsetxattr);
fn of_sockets_and_of_the_working_directory() {
    let name = c"system.sockprotoname";
    let mut value = [b'?'; 32];
    for (kind, protocol) in
        [(SOCK_STREAM, &b"UNIX-STREAM\0"[..]), (SOCK_DGRAM, b"UNIX\0"), (SOCK_SEQPACKET, b"UNIX\0")]
    {
        let fd = ok(sys!(socket, AF_UNIX, kind, 0)) as c_int;
        let len = ok(sys!(fgetxattr, fd, name, &mut value, 32)) as usize;
        eq(&value[..len], protocol);
        let len = ok(sys!(flistxattr, fd, &mut value, 32)) as usize;
        eq(&value[..len], name.to_bytes_with_nul());
        fails(sys!(flistxattr, fd, &mut value, 16), ERANGE);
    }
    // To get and to set, a descriptor is a directory and an empty path.
    fails(sys!(fgetxattr, AT_FDCWD, c"nonsense", 0, 0), EOPNOTSUPP);
    fails(sys!(fsetxattr, AT_FDCWD, c"nonsense", c"x", 1, 0), EOPNOTSUPP);
    fails(sys!(flistxattr, AT_FDCWD, 0, 0), EBADF);
    fails(sys!(fremovexattr, AT_FDCWD, c"nonsense"), EBADF);
    fails(sys!(fgetxattr, -1, c"nonsense", 0, 0), EBADF);
}
