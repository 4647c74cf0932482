//! Names of sockets: paths, abstract ones, automatic ones.

use crate::kit::prelude::*;
use crate::kit::socket::{Address, accept, bind, connect, listener, own_name, pair, send_to, socket};

case!(path_names: bind, getsockname);
fn path_names() {
    let fd = socket(SOCK_STREAM);
    let before = own_name(fd);
    eq((before.family(), before.len), (AF_UNIX as u16, 2));
    ok(bind(fd, &Address::path("s")));
    eq(own_name(fd).name(), b"s\0");
    let st = stat(c"s");
    eq(st.st_mode, S_IFSOCK | 0o755);
    fails(bind(fd, &Address::path("t")), EINVAL);
    fails(bind(socket(SOCK_STREAM), &Address::path("s")), EADDRINUSE);
    close(fd);
    // The name stays, and stays in the way.
    fails(bind(socket(SOCK_STREAM), &Address::path("s")), EADDRINUSE);
    ok(sys!(unlinkat, AT_FDCWD, c"s", 0));
    ok(bind(socket(SOCK_STREAM), &Address::path("s")));
}

case!(bad_paths: bind);
fn bad_paths() {
    let fd = socket(SOCK_STREAM);
    put(c"f", b"");
    fails(bind(fd, &Address::path("missing/s")), ENOENT);
    fails(bind(fd, &Address::path("f/s")), ENOTDIR);
    fails(bind(fd, &Address::path("f")), EADDRINUSE);
    mkdir(c"d");
    ok(sys!(fchmodat, AT_FDCWD, c"d", 0o555));
    unprivileged(|| fails(bind(socket(SOCK_STREAM), &Address::path("d/s")), EACCES));
    fails(bind(999, &Address::path("s")), EBADF);
    fails(bind(create(c"g", b""), &Address::path("s")), ENOTSOCK);
    fails(sys!(bind, fd, 8, 10), EFAULT);
    fails(sys!(bind, fd, Address::path("s").raw(), 111), EINVAL);
    fails(sys!(bind, fd, Address::path("s").raw(), 1), EINVAL);
    fails(sys!(bind, fd, &[99u8, 0, b's', 0], 4), EINVAL);
}

case!(longest_path: bind, getsockname);
fn longest_path() {
    // All 108 bytes, and no end; the kernel adds one.
    let fd = socket(SOCK_STREAM);
    let name = "x".repeat(108);
    let address = Address::path(&name[..107]);
    ok(bind(fd, &address));
    eq(own_name(fd).len, 110);
    let fd = socket(SOCK_DGRAM);
    let mut full = Address::path(&name);
    full.len = 110;
    ok(bind(fd, &full));
    eq(own_name(fd).len, 111);
    check(exists(&std::ffi::CString::new(name).unwrap_or_default()), "the file is there");
}

case!(abstract_names: bind, connect, close);
fn abstract_names() {
    let address = Address::hidden("name");
    let server = listener(SOCK_STREAM, &address, 5);
    eq(own_name(server).name(), address.name());
    fails(bind(socket(SOCK_STREAM), &address), EADDRINUSE);
    // Kinds have names of their own.
    ok(bind(socket(SOCK_DGRAM), &address));
    ok(connect(socket(SOCK_STREAM), &address));
    // Zero bytes count, as does the length.
    let mut longer = address;
    longer.len += 1;
    fails(connect(socket(SOCK_STREAM), &longer), ECONNREFUSED);
    ok(bind(socket(SOCK_STREAM), &longer));
    close(server);
    fails(connect(socket(SOCK_STREAM), &address), ECONNREFUSED);
    ok(bind(socket(SOCK_STREAM), &address));
}

case!(automatic_names: bind, getsockname);
fn automatic_names() {
    let (a, b) = (socket(SOCK_DGRAM), socket(SOCK_DGRAM));
    ok(bind(a, &Address::none()));
    ok(bind(b, &Address::none()));
    let (x, y) = (own_name(a), own_name(b));
    eq((x.len, y.len), (8, 8));
    check(x.name()[0] == 0 && x.name()[1..].iter().all(u8::is_ascii_hexdigit), "a zero and five digits");
    check(x.name() != y.name(), "two names");
    ok(send_to(b, b"x", &x));
}

case!(automatic_with_passcred: setsockopt, getsockname);
fn automatic_with_passcred() {
    let address = Address::hidden("server");
    let _server = listener(SOCK_STREAM, &address, 5);
    let fd = socket(SOCK_STREAM);
    ok(crate::kit::socket::set_option(fd, SO_PASSCRED, 1));
    ok(connect(fd, &address));
    eq(own_name(fd).len, 8);
}

case!(names_of_both_ends: getsockname, getpeername, accept);
fn names_of_both_ends() {
    let address = Address::path("s");
    let server = listener(SOCK_STREAM, &address, 5);
    let client = socket(SOCK_STREAM);
    let mine = Address::hidden("client");
    ok(bind(client, &mine));
    ok(connect(client, &address));
    let mut from = Address::room();
    let mut len = from.len;
    let conn = ok_i32(sys!(accept, server, from.raw_mut(), &mut len));
    from.len = len;
    eq(from.name(), mine.name());
    eq(own_name(conn).name(), b"s\0");
    let mut peer = Address::room();
    let mut len = peer.len;
    ok(sys!(getpeername, client, peer.raw_mut(), &mut len));
    peer.len = len;
    eq(peer.name(), b"s\0");
    let [a, _b] = pair(SOCK_STREAM);
    eq(own_name(a).len, 2);
}

case!(room_for_names: getsockname, accept);
fn room_for_names() {
    let fd = socket(SOCK_STREAM);
    ok(bind(fd, &Address::path("longname")));
    let mut small = [0xaau8; 8];
    let mut len = 5u32;
    // Cut to the room, with the true length told.
    ok(sys!(getsockname, fd, &mut small, &mut len));
    eq((len, &small[2..]), (11, &b"lon\xaa\xaa\xaa"[..]));
    fails(sys!(getsockname, fd, &mut small, &mut -1i32), EINVAL);
    fails(sys!(getsockname, fd, 8, &mut 10u32), EFAULT);
    fails(sys!(getsockname, fd, &mut small, 8), EFAULT);
    fails(sys!(getsockname, 999, &mut small, &mut 8u32), EBADF);
    fails(sys!(getsockname, create(c"f", b""), &mut small, &mut 8u32), ENOTSOCK);
}

case!(socket_can_be_renamed: rename, connect);
fn socket_can_be_renamed() {
    let server = listener(SOCK_STREAM, &Address::path("s"), 5);
    ok(sys!(rename, c"s", c"moved"));
    let client = socket(SOCK_STREAM);
    ok(connect(client, &Address::path("moved")));
    ok(accept(server));
    eq(own_name(server).name(), b"s\0");
    ok(sys!(symlinkat, c"moved", AT_FDCWD, c"link"));
    ok(connect(socket(SOCK_STREAM), &Address::path("link")));
    fails(bind(socket(SOCK_STREAM), &Address::path("link")), EADDRINUSE);
}
