//! Unix sockets in volumes: the sandbox's own, unless the user opens those of the host (`--host-uds`).

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept, bind, listen, recv, send, socket,
};

use crate::guest::{Folder, Guest, has_python};

fn start(folder: &Folder, mode: &str, uds: Option<&str>) -> Guest {
    let mut flags = vec![format!("--volume={}:/v:{mode}", folder.0.display())];
    flags.extend(uds.map(|uds| format!("--host-uds={uds}")));
    let mut guest = Guest::start(&flags);
    guest.ask("import socket, select, threading, time; U = socket.AF_UNIX; S = socket.SOCK_STREAM");
    guest
}

#[test]
fn sockets_of_the_host_are_refused_unless_they_are_opened() {
    if !has_python("sockets_of_the_host_are_refused_unless_they_are_opened") {
        return;
    }
    for uds in [None, Some("none"), Some("create")] {
        let folder = Folder::new("uds-none");
        let listener = UnixListener::bind(folder.0.join("s")).unwrap();
        let _receiver = UnixDatagram::bind(folder.0.join("d")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut guest = start(&folder, "shared", uds);
        guest.expect("socket.socket(U, S).connect('/v/s')", "ECONNREFUSED");
        guest.expect("socket.socket(U, socket.SOCK_SEQPACKET).connect('/v/s')", "ECONNREFUSED");
        guest.expect("socket.socket(U, socket.SOCK_DGRAM).connect('/v/d')", "ECONNREFUSED");
        guest.expect("socket.socket(U, socket.SOCK_DGRAM).sendto(b'x', '/v/d')", "ECONNREFUSED");
        guest.expect("socket.socket(U, S).connect('/v/none')", "ENOENT");
        assert!(listener.accept().is_err(), "somebody was connected");
        if uds != Some("create") {
            // What guests bind is theirs: a node for all others.
            guest.ask("l = socket.socket(U, S); l.bind('/v/own'); l.listen()");
            guest.expect("socket.socket(U, S).connect('/v/own')", "None");
            assert!(UnixStream::connect(folder.0.join("own")).is_err());
        }
        assert_eq!(guest.end().0, Some(0));
    }
}

#[test]
fn streams_of_the_host() {
    if !has_python("streams_of_the_host") {
        return;
    }
    for mode in ["shared", "exclusive"] {
        let folder = Folder::new(&format!("uds-stream-{mode}"));
        let listener = UnixListener::bind(folder.0.join("s")).unwrap();
        let mut guest = start(&folder, mode, Some("open"));
        guest.expect("socket.socket(U, socket.SOCK_DGRAM).connect('/v/s')", "EPROTOTYPE");
        guest.ask("c = socket.socket(U, S); c.connect('/v/s')");
        let (mut host, _) = listener.accept().unwrap();
        guest.expect("c.getpeername(), c.getsockname()", "('/v/s', '')");
        guest.expect("c.connect('/v/s')", "EISCONN");
        guest.expect("c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)", "0");
        guest.expect("c.send(b'from inside')", "11");
        let mut bytes = [0; 11];
        host.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"from inside");
        // Nothing there yet: not waiting, with poll, and waiting.
        guest.expect("c.recv(10, socket.MSG_DONTWAIT)", "EAGAIN");
        guest.ask("p = select.poll(); p.register(c, select.POLLIN | select.POLLOUT)");
        guest.expect("p.poll(0) == [(c.fileno(), select.POLLOUT)]", "True");
        guest.ask("e = select.epoll(); e.register(c, select.EPOLLIN)");
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            host.write_all(b"from outside").unwrap();
            host
        });
        guest.expect("e.poll() == [(c.fileno(), select.EPOLLIN)]", "True");
        let mut host = late.join().unwrap();
        guest.expect("c.recv(4, socket.MSG_PEEK), c.recv(100)", "(b'from', b'from outside')");
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            host.write_all(b"again").unwrap();
            host
        });
        guest.expect("c.recv(100)", "b'again'");
        let mut host = late.join().unwrap();
        // More than fits: the writer waits for the reader.
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            host.read_to_end(&mut all).unwrap();
            host.write_all(b"bye").unwrap();
            all.len()
        });
        guest.expect("c.sendall(bytes(5000000))", "None");
        guest.expect("c.shutdown(socket.SHUT_WR)", "None");
        assert_eq!(reader.join().unwrap(), 5_000_000);
        guest.expect("c.recv(10), c.recv(10)", "(b'bye', b'')");
        guest.expect("c.send(b'x')", "EPIPE");
        guest.expect("p.poll(0)[0][1] & select.POLLHUP != 0", "True");
        // Descriptors stay where they are.
        guest.ask("c = socket.socket(U, S); c.connect('/v/s')");
        let (host, _) = listener.accept().unwrap();
        guest.expect("socket.send_fds(c, [b'x'], [0])", "ENOTSUP");
        let file = std::fs::File::open("/etc/passwd").unwrap();
        let fds = [file.as_raw_fd()];
        let control = [nix::sys::socket::ControlMessage::ScmRights(&fds)];
        let bytes = [std::io::IoSlice::new(b"abc")];
        nix::sys::socket::sendmsg::<()>(host.as_raw_fd(), &bytes, &control, MsgFlags::empty(), None).unwrap();
        guest.expect("socket.recv_fds(c, 10, 4)[:2]", "(b'abc', [])");
        // Nobody listens any more.
        drop((host, listener));
        guest.expect("socket.socket(U, S).connect('/v/s')", "ECONNREFUSED");
        assert_eq!(guest.end().0, Some(0));
    }
}

#[test]
fn a_full_queue_is_waited_for() {
    if !has_python("a_full_queue_is_waited_for") {
        return;
    }
    let folder = Folder::new("uds-queue");
    let path = folder.0.join("s");
    let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let mut guest = start(&folder, "shared", Some("open"));
    guest.ask("a = socket.socket(U, S); a.connect('/v/s')");
    guest.ask("b = socket.socket(U, S); b.setblocking(False)");
    guest.expect("b.connect('/v/s')", "EAGAIN");
    guest.ask("b.settimeout(None)");
    let accepting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        for _ in 0..2 {
            accept(listener.as_raw_fd()).unwrap();
        }
    });
    let begun = Instant::now();
    guest.expect("b.connect('/v/s')", "None");
    assert!(begun.elapsed() >= Duration::from_millis(200));
    accepting.join().unwrap();
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn packets_of_the_host() {
    if !has_python("packets_of_the_host") {
        return;
    }
    let folder = Folder::new("uds-packets");
    // Datagrams, as syslog(3) sends them.
    let receiver = UnixDatagram::bind(folder.0.join("log")).unwrap();
    let mut guest = start(&folder, "shared", Some("open"));
    guest.ask("d = socket.socket(U, socket.SOCK_DGRAM); d.connect('/v/log')");
    guest.expect("d.send(b'one'), d.send(b''), d.sendto(b'two', '/v/log')", "(3, 0, 3)");
    let mut bytes = [0; 10];
    let lengths = [(); 3].map(|()| receiver.recv(&mut bytes).unwrap());
    assert_eq!(lengths, [3, 0, 3]);
    guest.expect("socket.socket(U, socket.SOCK_DGRAM).sendto(b'three', '/v/log')", "5");
    assert_eq!(receiver.recv(&mut bytes).unwrap(), 5);
    guest.expect("d.send(bytes(1 << 20))", "EMSGSIZE");
    // Full: not waiting, and waiting until there is room.
    guest.ask("d.setblocking(False)");
    guest.expect("[d.send(b'x') for i in range(100000)]", "EAGAIN");
    guest.ask("d.setblocking(True)");
    let draining = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        receiver.set_nonblocking(true).unwrap();
        let mut count = 0;
        while receiver.recv(&mut [0; 10]).is_ok() {
            count += 1;
        }
        (receiver, count)
    });
    guest.expect("d.send(b'last')", "4");
    let (receiver, count) = draining.join().unwrap();
    assert!(count > 0);
    drop(receiver);
    guest.expect("d.send(b'x')", "ECONNREFUSED");

    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(listener.as_raw_fd(), &UnixAddr::new(&folder.0.join("q")).unwrap()).unwrap();
    listen(&listener, Backlog::new(4).unwrap()).unwrap();
    guest.ask("q = socket.socket(U, socket.SOCK_SEQPACKET); q.connect('/v/q')");
    let host = accept(listener.as_raw_fd()).unwrap();
    send(host, b"first packet", MsgFlags::empty()).unwrap();
    send(host, b"second", MsgFlags::empty()).unwrap();
    guest.expect("q.recvmsg(5)[0], q.recvmsg(5)[2] & socket.MSG_TRUNC != 0", "(b'first', True)");
    guest.expect("q.send(b'answer'), q.send(b'more')", "(6, 4)");
    assert_eq!(recv(host, &mut bytes, MsgFlags::empty()).unwrap(), 6);
    assert_eq!(recv(host, &mut bytes, MsgFlags::empty()).unwrap(), 4);
    nix::unistd::close(host).unwrap();
    guest.expect("q.recv(5)", "b''");
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn sockets_that_guests_make_on_the_host() {
    if !has_python("sockets_that_guests_make_on_the_host") {
        return;
    }
    for uds in ["create", "all"] {
        let folder = Folder::new(&format!("uds-{uds}"));
        let mut guest = start(&folder, "shared", Some(uds));
        guest.ask("os.umask(0o027); l = socket.socket(U, S); l.bind('/v/s'); l.listen(3)");
        assert_eq!(std::fs::metadata(folder.0.join("s")).unwrap().permissions().mode() & 0o777, 0o750);
        guest.expect("socket.socket(U, S).bind('/v/s')", "EADDRINUSE");
        guest.expect("l.getsockname(), l.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)", "('/v/s', 1)");
        guest.ask("l.setblocking(False)");
        guest.expect("l.accept()", "EAGAIN");
        guest.ask("l.setblocking(True)");
        let at = folder.0.join("s");
        let caller = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            let mut stream = UnixStream::connect(at).unwrap();
            stream.write_all(b"hello").unwrap();
            let mut all = String::new();
            stream.read_to_string(&mut all).unwrap();
            all
        });
        guest.ask("a, peer = l.accept()");
        guest.expect(
            "peer, a.getsockname(), a.recv(10), a.send(b'welcome'), a.close()",
            "('', '/v/s', b'hello', 7, None)",
        );
        assert_eq!(caller.join().unwrap(), "welcome");
        // Others of the sandbox come the same way, if the host's sockets are opened.
        let inside = if uds == "all" { "None" } else { "ECONNREFUSED" };
        guest.expect("socket.socket(U, S).connect('/v/s')", inside);
        guest.ask("r = socket.socket(U, socket.SOCK_DGRAM); r.bind('/v/d')");
        UnixDatagram::unbound().unwrap().send_to(b"packet", folder.0.join("d")).unwrap();
        guest.expect("r.recv(10)", "b'packet'");
        guest.ask("l.close()");
        assert!(UnixStream::connect(folder.0.join("s")).is_err());
        guest.expect("socket.socket(U, S).bind('/v/' + 'n' * 104)", "ENAMETOOLONG");
        assert_eq!(guest.end().0, Some(0));
    }
}

#[test]
fn hostile_peers_and_guests() {
    if !has_python("hostile_peers_and_guests") {
        return;
    }
    let folder = Folder::new("uds-hostile");
    let listener = UnixListener::bind(folder.0.join("s")).unwrap();
    // A host program that sends, reads nothing, and goes at any moment.
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            if number % 3 == 0 {
                continue;
            }
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(&[number as u8; 100_000]);
            if number % 3 == 1 {
                let _ = stream.read(&mut [0; 10]);
            }
        }
    });
    let mut guest = start(&folder, "shared", Some("all"));
    let text = "
def work(n):
    for i in range(60):
        c = socket.socket(U, S)
        try:
            c.connect('/v/s')
            ts = [threading.Thread(target=f) for f in (lambda: quiet(lambda: c.recv(65536)), lambda: quiet(lambda: c.send(bytes(1000))),
                lambda: quiet(lambda: c.shutdown(i % 3)), lambda: quiet(lambda: c.connect('/v/s')), lambda: quiet(lambda: c.listen(1)),
                lambda: quiet(lambda: c.bind('/v/b%d_%d' % (n, i))))]
            [t.start() for t in ts]
            if i % 2: c.close()
            [t.join() for t in ts]
        except OSError:
            pass
def quiet(f):
    try:
        f()
    except OSError:
        pass
";
    guest.expect(&format!("exec({text:?}, globals())"), "None");
    guest.ask("ts = [threading.Thread(target=work, args=(n,)) for n in range(4)]");
    guest.expect("[t.start() for t in ts] and None", "None");
    guest.expect("[t.join() for t in ts] and len(os.listdir('/proc/self/fd')) < 20", "True");
    assert_eq!(guest.end().0, Some(0));
}
