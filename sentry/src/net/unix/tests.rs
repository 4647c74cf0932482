//! What these expect was seen on Linux 6.18.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use abi::Errno;
use abi::poll::PollEvents;
use abi::socket::{AF_UNSPEC, MsgFlags, SHUT_RD, SHUT_RDWR, SHUT_WR, SO_PASSCRED};

use super::UnixSocket;
use crate::net::actor::Actor;
use crate::net::message::{Received, Rights, SendMessage, SenderCreds};
use crate::net::namespace::{Loopback, NetNamespace};
use crate::net::socket::{Connected, Socket, SocketKind};
use crate::task::{Pid, PidNamespace};
use crate::vfs::testkit::World;
use crate::vfs::{BufSink, BufSource, File, FileOps, FsContext, InternalFs};
use crate::wait::{Parker, Wake};

use SocketKind::{Datagram, SeqPacket, Stream};

const ALL: [SocketKind; 3] = [Stream, Datagram, SeqPacket];

struct Net {
    world: World,
    fs: Arc<FsContext>,
    pid: Arc<Pid>,
    net: Arc<NetNamespace>,
    internal: InternalFs,
}

impl Net {
    fn new() -> Net {
        let world = World::new();
        let user_ns = Arc::clone(&world.creds.user_ns);
        let pid = Pid::new(&PidNamespace::initial(Arc::clone(&user_ns)), &[]).expect("a pid");
        let fs = FsContext::new(world.roots.root.clone(), 0o022);
        Net { fs, pid, net: NetNamespace::new(1, user_ns, Loopback::Up), world, internal: InternalFs::new() }
    }

    fn actor(&self) -> Actor<'_> {
        Actor {
            pid: &self.pid,
            creds: &self.world.creds,
            vfs: &self.world.vfs,
            fs: &self.fs,
            task: None,
            fd_limit: 1024,
        }
    }

    fn socket(&self, kind: SocketKind) -> Socket {
        Socket::new(UnixSocket::new(&self.net, kind))
    }

    fn pair(&self, kind: SocketKind) -> (Socket, Socket) {
        let (a, b) = UnixSocket::new_pair(&self.net, kind, &self.actor());
        (Socket::new(a), Socket::new(b))
    }

    fn bind(&self, socket: &Socket, name: &[u8]) -> Result<(), Errno> {
        socket.ops().bind(&self.actor(), &address(name))
    }

    fn connect(&self, socket: &Socket, name: &[u8]) -> Result<Connected, Errno> {
        socket.ops().connect(&self.actor(), &address(name), true)
    }

    fn listen(&self, socket: &Socket, backlog: i32) -> Result<(), Errno> {
        socket.ops().listen(&self.actor(), backlog)
    }

    fn listener(&self, kind: SocketKind, name: &[u8], backlog: i32) -> Socket {
        let socket = self.socket(kind);
        self.bind(&socket, name).expect("bound");
        self.listen(&socket, backlog).expect("listening");
        socket
    }

    fn send_to(&self, socket: &Socket, bytes: &[u8], name: &[u8]) -> Result<usize, Errno> {
        let address = address(name);
        let mut message = SendMessage { address: Some(&address), ..SendMessage::default() };
        socket.ops().send(Some(&self.actor()), &mut BufSource::new(bytes), &mut message)
    }

    fn file(&self, socket: Socket) -> Arc<File> {
        self.internal.socket(Box::new(socket), abi::open::OpenFlags::empty(), &self.world.creds)
    }
}

fn address(name: &[u8]) -> Vec<u8> {
    let mut address = vec![1, 0];
    address.extend_from_slice(name);
    address
}

fn send(socket: &Socket, bytes: &[u8]) -> Result<usize, Errno> {
    socket.ops().send(None, &mut BufSource::new(bytes), &mut SendMessage::default())
}

fn receive_with(socket: &Socket, len: usize, flags: MsgFlags) -> Result<(Vec<u8>, Received), Errno> {
    let mut bytes = vec![0; len];
    let mut got = Received::default();
    let flags = flags | MsgFlags::DONTWAIT;
    let n = socket.ops().receive(&mut BufSink::new(&mut bytes), flags, &mut got)?;
    bytes.truncate(n);
    Ok((bytes, got))
}

fn receive(socket: &Socket, len: usize) -> Result<Vec<u8>, Errno> {
    receive_with(socket, len, MsgFlags::empty()).map(|(bytes, _)| bytes)
}

fn poll(socket: &Socket) -> u32 {
    socket.ops().poll().bits()
}

#[test]
fn fresh_sockets() {
    let net = Net::new();
    for kind in ALL {
        let s = net.socket(kind);
        assert_eq!(poll(&s), if kind == Datagram { 0x304 } else { 0x314 });
        assert_eq!(send(&s, b"x"), Err(Errno::ENOTCONN));
        let expected = [(Stream, Errno::EINVAL), (Datagram, Errno::EAGAIN), (SeqPacket, Errno::ENOTCONN)];
        let expected = expected.into_iter().find(|e| e.0 == kind).expect("one of them").1;
        assert_eq!(receive(&s, 1), Err(expected));
        assert_eq!(s.ops().peer_address(), Err(Errno::ENOTCONN));
        let no = if kind == Datagram { Errno::EOPNOTSUPP } else { Errno::EINVAL };
        assert_eq!(net.listen(&s, 1), Err(no));
        assert_eq!(s.ops().accept().err(), Some(no));
        assert_eq!(*s.ops().local_address().expect("an address"), [1, 0]);
        assert_eq!(net.connect(&s, b"nope"), Err(Errno::ENOENT));
        assert_eq!(net.connect(&s, b"\0nope"), Err(Errno::ECONNREFUSED));
        s.ops().shutdown(SHUT_RDWR).expect("shut");
        assert_eq!(poll(&s), 0x2355);
        assert_eq!(send(&s, b"x"), Err(if kind == Datagram { Errno::EPIPE } else { Errno::ENOTCONN }));
    }
}

#[test]
fn names() {
    let net = Net::new();
    for (i, kind) in ALL.into_iter().enumerate() {
        let path = format!("l{i}");
        let (l, s) = (net.socket(kind), net.socket(kind));
        assert_eq!(net.bind(&l, path.as_bytes()), Ok(()));
        assert_eq!(net.bind(&l, path.as_bytes()), Err(Errno::EADDRINUSE));
        assert_eq!(net.bind(&l, b"other"), Err(Errno::EINVAL));
        assert_eq!(net.world.open("other", 0o10000000, 0).err(), Some(Errno::ENOENT));
        assert_eq!(net.bind(&l, b"\0zz"), Err(Errno::EINVAL));
        assert_eq!(*l.ops().local_address().expect("bound"), *address(format!("l{i}\0").as_bytes()));
        let connected = net.connect(&s, path.as_bytes());
        assert_eq!(connected, if kind == Datagram { Ok(Connected::Yes) } else { Err(Errno::ECONNREFUSED) });
        let other = net.socket(if kind == SeqPacket { Stream } else { SeqPacket });
        assert_eq!(net.connect(&other, path.as_bytes()), Err(Errno::EPROTOTYPE));
        net.world.write("plain", b"").expect("written");
        assert_eq!(net.connect(&s, b"plain"), Err(Errno::ECONNREFUSED));
        assert_eq!(s.ops().bind(&net.actor(), &[2, 0, 65]), Err(Errno::EINVAL));
        assert_eq!(s.ops().bind(&net.actor(), &[1]), Err(Errno::EINVAL));
    }
    let auto = net.socket(Stream);
    assert_eq!(net.bind(&auto, b""), Ok(()));
    assert_eq!(auto.ops().local_address().expect("bound").len(), 8);
    let twin = net.socket(Stream);
    assert_eq!(net.bind(&twin, b"\0twin"), Ok(()));
    assert_eq!(net.bind(&net.socket(Stream), b"\0twin"), Err(Errno::EADDRINUSE));
    assert_eq!(net.bind(&net.socket(Datagram), b"\0twin"), Ok(()));
    drop(twin);
    assert_eq!(net.bind(&net.socket(Stream), b"\0twin"), Ok(()));
}

#[test]
fn connections() {
    let net = Net::new();
    for (kind, name) in [(Stream, b"\0a"), (SeqPacket, b"\0b")] {
        let l = net.listener(kind, name, 1);
        let clients: Vec<Socket> = (0..4).map(|_| net.socket(kind)).collect();
        let results: Vec<_> = clients.iter().map(|c| net.connect(c, name)).collect();
        use Connected::{Busy, Yes};
        assert_eq!(results, [Ok(Yes), Ok(Yes), Ok(Busy), Ok(Busy)]);
        assert_eq!(poll(&l), 0x41);
        assert_eq!(net.connect(&clients[0], name), Ok(Busy));
        let server = l.ops().accept().expect("a connection");
        assert_eq!(net.connect(&clients[0], name), Err(Errno::EISCONN));
        assert_eq!(*server.ops().local_address().expect("named"), *address(name));
        assert_eq!(*server.ops().peer_address().expect("connected"), [1, 0]);
        assert_eq!(*clients[0].ops().peer_address().expect("connected"), *address(name));
        send(&clients[0], b"hello").expect("sent");
        assert_eq!(receive(&server, 9).expect("received"), b"hello");
        drop(l);
        assert_eq!(poll(&clients[0]), 0x304);
        assert_eq!(poll(&clients[1]), 0x235d);
        if kind == Stream {
            assert_eq!(send(&clients[1], b"x"), Err(Errno::EPIPE));
        }
        assert_eq!(receive(&clients[1], 1), Err(Errno::ECONNRESET));
        assert_eq!(receive(&clients[1], 1), Ok(vec![]));
    }
}

#[test]
fn a_busy_listener_tells_who_waits() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(&self, _events: PollEvents) -> bool {
            self.0.fetch_add(1, Ordering::SeqCst);
            true
        }
    }
    let net = Net::new();
    let l = net.listener(Stream, b"\0busy", 0);
    let (first, second) = (net.socket(Stream), net.socket(Stream));
    assert_eq!(net.connect(&first, b"\0busy"), Ok(Connected::Yes));
    assert_eq!(net.connect(&second, b"\0busy"), Ok(Connected::Busy));
    let count = Arc::new(Count(AtomicUsize::new(0)));
    second.ops().wait_queue().register(PollEvents::OUT, count.clone());
    l.ops().accept().expect("the first");
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
    assert_eq!(net.connect(&second, b"\0busy"), Ok(Connected::Yes));
}

#[test]
fn shutting_and_closing() {
    let net = Net::new();
    for kind in ALL {
        let stream = kind != Datagram;
        let (a, b) = net.pair(kind);
        a.ops().shutdown(SHUT_WR).expect("shut");
        assert_eq!((poll(&a), poll(&b)), (0x304, if stream { 0x2345 } else { 0x304 }));
        assert_eq!(send(&a, b"x"), Err(Errno::EPIPE));
        assert_eq!(receive(&b, 1), if stream { Ok(vec![]) } else { Err(Errno::EAGAIN) });
        assert_eq!(send(&b, b"y"), Ok(1));
        assert_eq!(receive(&a, 5).expect("received"), b"y");
        let (a, b) = net.pair(kind);
        a.ops().shutdown(SHUT_RD).expect("shut");
        assert_eq!((poll(&a), poll(&b)), (0x2345, 0x304));
        assert_eq!(send(&b, b"y"), Err(Errno::EPIPE));
        assert_eq!(send(&a, b"y"), Ok(1));
        let (a, b) = net.pair(kind);
        send(&a, b"q").expect("sent");
        drop(a);
        assert_eq!(poll(&b), if stream { 0x2355 } else { 0x345 });
        assert_eq!(receive(&b, 5).expect("received"), b"q");
        assert_eq!(receive(&b, 5), if stream { Ok(vec![]) } else { Err(Errno::EAGAIN) });
        assert_eq!(send(&b, b"y"), Err(if stream { Errno::EPIPE } else { Errno::ECONNREFUSED }));
        assert_eq!(send(&b, b"y"), Err(if stream { Errno::EPIPE } else { Errno::ENOTCONN }));
        assert_eq!(b.ops().shutdown(3), Err(Errno::EINVAL));
    }
}

#[test]
fn closing_with_unread_data_resets() {
    let net = Net::new();
    let (a, b) = net.pair(Stream);
    send(&b, b"q").expect("sent");
    drop(a);
    assert_eq!(poll(&b), 0x235d);
    assert_eq!(send(&b, b"y"), Err(Errno::EPIPE));
    assert_eq!(receive(&b, 5), Err(Errno::ECONNRESET));
    assert_eq!(receive(&b, 5), Ok(vec![]));
    let (a, b) = net.pair(SeqPacket);
    send(&b, b"q").expect("sent");
    drop(a);
    assert_eq!(send(&b, b"y"), Err(Errno::ECONNRESET));
    assert_eq!(send(&b, b"y"), Err(Errno::EPIPE));
}

#[test]
fn streams_glue_and_messages_do_not() {
    let net = Net::new();
    let peek = |s: &Socket, len| receive_with(s, len, MsgFlags::PEEK).map(|(bytes, _)| bytes);
    let (a, b) = net.pair(Stream);
    send(&a, b"hello").expect("sent");
    send(&a, b"world").expect("sent");
    assert_eq!(peek(&b, 8).expect("peeked"), b"hellowor");
    assert_eq!(receive(&b, 3).expect("received"), b"hel");
    assert_eq!(receive(&b, 20).expect("received"), b"loworld");
    assert_eq!(send(&a, b""), Ok(0));
    assert_eq!(receive(&b, 4), Err(Errno::EAGAIN));
    for kind in [Datagram, SeqPacket] {
        let (a, b) = net.pair(kind);
        send(&a, b"hello").expect("sent");
        send(&a, b"world").expect("sent");
        assert_eq!(peek(&b, 8).expect("peeked"), b"hello");
        let (bytes, got) = receive_with(&b, 3, MsgFlags::empty()).expect("received");
        assert_eq!((&*bytes, got.truncated, got.full_len), (&b"hel"[..], true, 5));
        assert_eq!(receive(&b, 20).expect("received"), b"world");
        assert_eq!(send(&a, b""), Ok(0));
        assert_eq!(receive(&b, 4).expect("an empty message"), b"");
    }
}

#[test]
fn buffers_fill_as_on_linux() {
    let net = Net::new();
    for kind in ALL {
        let (a, b) = net.pair(kind);
        let sent = (0..).take_while(|_| send(&a, b"x").is_ok()).count();
        assert_eq!(sent, 278);
        assert_eq!(poll(&a) & 4, 0);
        // Room for a write comes with the first message that is read, poll's only when three quarters are free.
        receive(&b, 1).expect("received");
        assert_eq!(send(&a, b"x"), Ok(1));
        assert_eq!(poll(&a) & 4, 0);
        for _ in 0..210 {
            receive(&b, 1).expect("received");
        }
        assert_eq!(poll(&a) & 4, 4);
    }
    let (a, _b) = net.pair(Datagram);
    assert_eq!(send(&a, &vec![0; 212_992 - 31]), Err(Errno::EMSGSIZE));
    assert_eq!(send(&a, &vec![0; 212_992 - 32]), Ok(212_992 - 32));
    let (a, b) = net.pair(Stream);
    let data: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
    let sent = send(&a, &data).expect("sent");
    assert!((200_000..300_000).contains(&sent));
    assert_eq!(receive(&b, 300_000).expect("received"), data[..sent]);
}

#[test]
fn datagrams_wait_for_a_full_queue() {
    let net = Net::new();
    let (l, c) = (net.socket(Datagram), net.socket(Datagram));
    net.bind(&l, b"\0d").expect("bound");
    net.connect(&c, b"\0d").expect("connected");
    assert_eq!((0..).take_while(|_| send(&c, b"x") == Ok(1)).count(), 11);
    assert_eq!(poll(&c), 0);
    let parker = Parker::for_current_thread();
    c.ops().wait_queue().register(PollEvents::OUT, parker.clone());
    receive(&l, 1).expect("received");
    parker.park(Some(std::time::Duration::from_secs(5)));
    assert_eq!(poll(&c), 0x304);
    assert_eq!(send(&c, b"x"), Ok(1));
    let d = net.socket(Datagram);
    assert_eq!(net.send_to(&d, b"x", b"\0d"), Err(Errno::EAGAIN));
    assert_eq!(poll(&d), 0x304);
    // Connected to itself, it takes messages from nobody else.
    net.connect(&l, b"\0d").expect("connected");
    assert_eq!(net.send_to(&d, b"x", b"\0d"), Err(Errno::EPERM));
    assert_eq!(send(&c, b"x"), Err(Errno::EPERM));
    assert_eq!(send(&l, b"me"), Ok(2));
    drop(l);
    assert_eq!(send(&c, b"x"), Err(Errno::ECONNREFUSED));
    assert_eq!(send(&c, b"x"), Err(Errno::ENOTCONN));
}

#[test]
fn disconnecting_a_datagram_socket() {
    let net = Net::new();
    let (a, b) = net.pair(Datagram);
    send(&a, b"1").expect("sent");
    let nowhere = (AF_UNSPEC as u16).to_ne_bytes();
    assert_eq!(b.ops().connect(&net.actor(), &nowhere, true), Ok(Connected::Yes));
    assert_eq!(receive(&b, 1), Err(Errno::EAGAIN));
    assert_eq!(a.ops().take_error(), Some(Errno::ECONNRESET));
    assert_eq!(send(&a, b"x"), Ok(1));
    assert_eq!(receive(&b, 4).expect("received"), b"x");
    assert_eq!(send(&b, b"x"), Err(Errno::ENOTCONN));
}

#[test]
fn writers_are_not_glued_when_creds_are_passed() {
    let net = Net::new();
    let (a, b) = net.pair(Stream);
    b.ops().options().set(SO_PASSCRED, &1i32.to_ne_bytes(), &net.world.creds).expect("set");
    let send_as = |uid: u32, bytes: &[u8]| {
        let creds = Some(SenderCreds { pid: Arc::clone(&net.pid), uid, gid: 0 });
        let mut message = SendMessage { creds, ..SendMessage::default() };
        a.ops().send(Some(&net.actor()), &mut BufSource::new(bytes), &mut message)
    };
    send_as(1, b"one").expect("sent");
    send_as(1, b"more").expect("sent");
    send_as(2, b"two").expect("sent");
    let (bytes, got) = receive_with(&b, 99, MsgFlags::empty()).expect("received");
    assert_eq!(bytes, b"onemore");
    assert_eq!(got.creds.flatten().map(|creds| creds.uid), Some(1));
    assert_eq!(receive(&b, 99).expect("received"), b"two");
}

fn send_files(net: &Net, socket: &Socket, files: Vec<Arc<File>>) -> Result<usize, Errno> {
    let rights = Some(Rights::new(files, &net.actor())?);
    let mut message = SendMessage { rights, ..SendMessage::default() };
    socket.ops().send(Some(&net.actor()), &mut BufSource::new(b"fd"), &mut message)
}

#[test]
fn descriptors_arrive_with_their_bytes() {
    let net = Net::new();
    for kind in ALL {
        let (a, b) = net.pair(kind);
        let (r, _w) = net.internal.pipe(abi::open::OpenFlags::empty(), &net.world.creds);
        send_files(&net, &a, vec![r.clone(), r.clone()]).expect("sent");
        send(&a, b"after").expect("sent");
        let (_, got) = receive_with(&b, 99, MsgFlags::PEEK).expect("peeked");
        assert_eq!(got.rights.0.len(), 2);
        let (bytes, got) = receive_with(&b, 99, MsgFlags::empty()).expect("received");
        assert_eq!((&*bytes, got.rights.0.len()), (&b"fd"[..], 2));
        assert!(Arc::ptr_eq(&got.rights.0[0], &r));
        assert_eq!(receive(&b, 99).expect("received"), b"after");
    }
}

#[test]
fn cycles_of_sockets_are_collected() {
    let net = Net::new();
    let (r, w) = net.internal.pipe(abi::open::OpenFlags::empty(), &net.world.creds);
    {
        let (a, b) = net.pair(Stream);
        let (a, b) = (net.file(a), net.file(b));
        let send = |from: &Arc<File>, files: Vec<Arc<File>>| {
            send_files(&net, from.downcast::<Socket>().expect("a socket"), files).expect("sent");
        };
        // Each is in the other's queue, with the pipe's writing end.
        send(&a, vec![b.clone(), w.clone()]);
        send(&b, vec![a.clone()]);
    }
    drop(w);
    // As on Linux, the next close of a socket finds them (other tests have sockets in flight at the same time).
    let hung_up = |_: &i32| {
        drop(net.pair(Stream));
        r.poll().contains(PollEvents::HUP)
    };
    assert!((0..100_000).find(hung_up).is_some(), "the cycle keeps the pipe open");
}

#[test]
fn sockets_that_can_be_reached_are_kept() {
    let net = Net::new();
    let (outer_a, outer_b) = net.pair(Stream);
    let (r, w) = net.internal.pipe(abi::open::OpenFlags::empty(), &net.world.creds);
    {
        let (a, b) = net.pair(Stream);
        let (a, b) = (net.file(a), net.file(b));
        let from = a.downcast::<Socket>().expect("a socket");
        send_files(&net, from, vec![a.clone(), w]).expect("sent");
        send_files(&net, &outer_a, vec![b]).expect("sent");
    }
    // Closing some other socket starts the search.
    drop(net.pair(Stream));
    assert!(!r.poll().contains(PollEvents::HUP));
    let (_, got) = receive_with(&outer_b, 9, MsgFlags::empty()).expect("received");
    let b = got.rights.0[0].clone();
    drop(got);
    let (bytes, inner) =
        receive_with(b.downcast::<Socket>().expect("a socket"), 9, MsgFlags::empty()).expect("received");
    assert_eq!((&*bytes, inner.rights.0.len()), (&b"fd"[..], 2));
}

#[test]
fn deep_nests_close_without_recursion() {
    let net = Net::new();
    let mut inner: Option<Arc<File>> = None;
    for _ in 0..5_000 {
        let (a, b) = net.pair(Datagram);
        if let Some(file) = inner.take() {
            send_files(&net, &a, vec![file]).expect("sent");
        }
        inner = Some(net.file(b));
    }
    drop(inner);
}

#[test]
fn nothing_is_lost_between_threads() {
    let net = Net::new();
    let (a, b) = net.pair(Stream);
    let total = 2_000_000usize;
    let writer = std::thread::spawn(move || {
        let parker = Parker::for_current_thread();
        let file_events = PollEvents::OUT;
        let key = a.ops().wait_queue().register(file_events, parker.clone());
        let mut at = 0;
        while at < total {
            let len = (at * 7 + 13) % 50_000 + 1;
            let data: Vec<u8> = (at..(at + len).min(total)).map(|i| (i % 251) as u8).collect();
            match send(&a, &data) {
                Ok(n) => at += n,
                Err(_) => parker.park(Some(std::time::Duration::from_secs(5))),
            }
        }
        a.ops().wait_queue().unregister(key);
    });
    let parker = Parker::for_current_thread();
    b.ops().wait_queue().register(PollEvents::IN, parker.clone());
    let mut at = 0;
    loop {
        match receive(&b, (at * 5) % 70_000 + 1) {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => {
                for byte in bytes {
                    assert_eq!(byte, (at % 251) as u8);
                    at += 1;
                }
            }
            Err(_) => parker.park(Some(std::time::Duration::from_secs(5))),
        }
    }
    assert_eq!(at, total);
    writer.join().expect("the writer");
}

#[test]
fn read_and_write_as_a_file() {
    let net = Net::new();
    let (a, b) = net.pair(Stream);
    let (a, b) = (net.file(a), net.file(b));
    assert_eq!(a.ops().write(&a, &mut BufSource::new(b"hi"), &mut 0), Ok(2));
    let mut bytes = [0; 2];
    assert_eq!(b.ops().read(&b, &mut BufSink::new(&mut bytes), 0), Ok(2));
    assert_eq!(&bytes, b"hi");
    assert!(b.downcast::<Socket>().is_some_and(FileOps::pollable));
}
