//! The client against Gofers that die or lie: EIO for ever after, no panic, nobody left waiting.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use gofer_protocol::client::{Ahead, ConnectError, Death, Listed};
use gofer_protocol::socket::{receive, send};
use gofer_protocol::{
    Attr, Bad, Client, Errno, FileId, FileType, Handle, Head, Leaf, List, Looked, MAX_MESSAGE, Name,
    OpenFlags, Packer, Perm, ReaddirFlags, Reply, Request, Time, TreeFlags, VERSION,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

fn attr(kind: FileType) -> Attr {
    let time = Time::new(0, 0).unwrap();
    Attr {
        id: FileId { dev: 1, ino: 2 },
        kind,
        perm: Perm::of_mode(0o644),
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: (0, 0),
        size: 0,
        blocks: 0,
        blksize: 4096,
        attributes: 0,
        attributes_mask: 0,
        atime: time,
        mtime: time,
        ctime: time,
        btime: None,
    }
}

/// A Gofer that greets, with `channels` more channels, and then answers what `answer` says (`None`: ends). Each channel
/// has its own thread.
fn gofer(
    channels: usize,
    answer: impl Fn(u32, Request<'_>, &OwnedFd) -> Option<()> + Send + Sync + 'static,
) -> Client {
    let (ours, theirs) = pair();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        let mut bytes = vec![0; MAX_MESSAGE];
        let greeting = receive(&theirs, &mut bytes).unwrap();
        assert!(matches!(
            Request::decode(greeting),
            (Some(Head { id: 1, .. }), Ok(Request::Hello { version: VERSION }))
        ));
        let pairs: Vec<_> = (0..channels).map(|_| pair()).collect();
        let fds: Vec<_> = pairs.iter().map(|(ours, _)| ours.as_fd()).collect();
        let mut packer = Packer::new();
        assert!(packer.push(&TreeFlags::empty()));
        let mut out = Vec::new();
        Reply::Hello { version: VERSION, max_handles: 10, trees: packer.list() }.encode(1, &mut out).unwrap();
        send(&theirs, &out, &fds).unwrap();
        drop(fds);
        let mut ends = vec![theirs];
        ends.extend(pairs.into_iter().map(|(_, theirs)| theirs));
        for end in ends {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                let mut bytes = vec![0; MAX_MESSAGE];
                while let Ok(message) = receive(&end, &mut bytes) {
                    let (head, request) = Request::decode(message);
                    if answer(head.unwrap().id, request.unwrap(), &end).is_none() {
                        break;
                    }
                }
            });
        }
    });
    Client::connect(ours).unwrap()
}

fn reply(socket: &OwnedFd, id: u32, reply: Reply<'_>) -> Option<()> {
    let mut out = Vec::new();
    reply.encode(id, &mut out).unwrap();
    send(socket, &out, &[]).ok()
}

fn handle(number: u64) -> Handle {
    Handle::new(number).unwrap()
}

fn assert_dead(client: &Client, death: Death) {
    assert_eq!(client.death(), Some(death));
    assert_eq!(client.stat(handle(1)).err(), Some(Errno::IO));
    assert_eq!(client.walk(handle(1), &[Name::new(b"a").unwrap()], Leaf::Attr).err(), Some(Errno::IO));
    client.release(handle(1));
    client.flush();
}

#[test]
fn many_threads_get_their_own_replies() {
    let client = gofer(2, |id, request, socket| {
        let Request::Stat { handle } = request else { return Some(()) };
        let mut attr = attr(FileType::Regular);
        attr.id.ino = handle.number();
        reply(socket, id, Reply::Attr { attr })
    });
    assert_eq!((client.channels(), client.max_handles(), client.trees().len()), (3, 10, 1));
    thread::scope(|scope| {
        for t in 1..=8u64 {
            let client = &client;
            scope.spawn(move || {
                for i in 1..500 {
                    let h = handle(t << 32 | i);
                    assert_eq!(client.stat(h).unwrap().id.ino, h.number());
                    client.release(h);
                }
            });
        }
    });
    client.flush();
    assert_eq!(client.death(), None);
}

#[test]
fn errors_are_no_death() {
    let client = gofer(0, |id, _, socket| reply(socket, id, Reply::Error { errno: Errno::NOTDIR }));
    assert_eq!(client.stat(handle(1)).err(), Some(Errno::NOTDIR));
    assert_eq!(client.readdir(handle(1), 0, ReaddirFlags::empty(), |_| {}).err(), Some(Errno::NOTDIR));
    assert_eq!(client.open(handle(1), OpenFlags::TRUNCATE).err(), Some(Errno::INVAL));
    assert_eq!(client.death(), None);
}

#[test]
fn a_gofer_that_ends() {
    let client = gofer(0, |_, _, _| None);
    assert_eq!(client.stat(handle(1)).err(), Some(Errno::IO));
    assert_dead(&client, Death::Closed);
}

#[test]
fn waiting_threads_are_woken_by_its_end() {
    let client = gofer(1, |_, _, _| {
        thread::sleep(std::time::Duration::from_millis(50));
        None
    });
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(client.stat(handle(1)).err(), Some(Errno::IO)));
        }
    });
    assert_dead(&client, Death::Closed);
}

#[test]
fn a_gofer_that_sends_noise() {
    let client = gofer(0, |_, _, socket| send(socket, b"\x01\0\0\0\xff\xff", &[]).ok());
    assert_eq!(client.stat(handle(1)).err(), Some(Errno::IO));
    // Its id is that of no request, but the noise comes first.
    assert_dead(&client, Death::Nonsense(Bad::Value("ReplyKind")));

    let client = gofer(0, |_, _, socket| send(socket, &vec![0; MAX_MESSAGE + 1], &[]).ok());
    assert_eq!(client.stat(handle(1)).err(), Some(Errno::IO));
    assert_dead(&client, Death::Nonsense(Bad::Long));
}

#[test]
fn a_gofer_that_answers_something_else() {
    let client = gofer(0, |id, _, socket| reply(socket, id + 1, Reply::Done {}));
    assert_eq!(client.stat(handle(1)).err(), Some(Errno::IO));
    assert_dead(&client, Death::WrongReply);

    let client = gofer(0, |id, _, socket| reply(socket, id, Reply::Done {}));
    assert_eq!(client.stat(handle(1)).err(), Some(Errno::IO));
    assert_dead(&client, Death::WrongReply);
}

#[test]
fn a_gofer_that_keeps_the_fd_or_gives_a_wrong_one() {
    let attr_reply = || Reply::Attr { attr: attr(FileType::Regular) };
    let client = gofer(0, move |id, _, socket| reply(socket, id, attr_reply()));
    assert_eq!(client.open(handle(1), OpenFlags::READ).err(), Some(Errno::IO));
    assert_dead(&client, Death::WrongReply);

    // A pipe that nobody writes to: a read would wait for ever.
    let client = gofer(0, move |id, _, socket| {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        let mut out = Vec::new();
        attr_reply().encode(id, &mut out).unwrap();
        send(socket, &out, &[read.as_fd()]).ok()
    });
    assert_eq!(client.open(handle(1), OpenFlags::READ).err(), Some(Errno::IO));
    assert_dead(&client, Death::WrongReply);
}

#[test]
fn fds_that_nobody_asked_for_are_closed() {
    let mut file = tempfile();
    file.write_all(b"x").unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    let write = std::sync::Mutex::new(Some(write));
    let client = gofer(0, move |id, _, socket| {
        let mut out = Vec::new();
        Reply::Attr { attr: attr(FileType::Regular) }.encode(id, &mut out).unwrap();
        let write = write.lock().unwrap().take();
        let fds: Vec<_> = write.iter().map(|fd| fd.as_fd()).collect();
        send(socket, &out, &fds).ok()
    });
    assert!(client.stat(handle(1)).is_ok());
    // The last writer was the fd that came along.
    assert_eq!(std::io::Read::read(&mut read, &mut [0]).unwrap(), 0);
}

fn tempfile() -> std::fs::File {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    rustix::fs::memfd_create("test", flags).unwrap().into()
}

#[test]
fn walks_that_can_not_be() {
    fn walk(found: &[Looked], opened: bool) -> Result<usize, Errno> {
        let found = found.to_vec();
        let client = gofer(0, move |id, _, socket| {
            let mut packer = Packer::new();
            assert!(found.iter().all(|looked| packer.push(looked)));
            reply(socket, id, Reply::Walked { found: packer.list(), error: None, target: None, opened })
        });
        let names = [Name::new(b"a").unwrap(), Name::new(b"b").unwrap()];
        client.walk(handle(1), &names, Leaf::Attr).map(|walked| walked.found.len())
    }
    let dir = Looked { handle: Some(handle(2)), attr: attr(FileType::Directory) };
    let file = Looked { handle: None, attr: attr(FileType::Regular) };
    let link = Looked { handle: None, attr: attr(FileType::Symlink) };
    assert_eq!(walk(&[dir, file], false), Ok(2));
    assert_eq!(walk(&[file], false), Ok(1));
    // Nothing and no reason; more than was asked; a way through a file; a link without its target; an fd too many.
    for (found, opened) in [
        (&[][..], false),
        (&[dir, dir, dir], false),
        (&[file, file], false),
        (&[link], false),
        (&[file], true),
    ] {
        assert_eq!(walk(found, opened), Err(Errno::IO), "{found:?}");
    }
}

#[test]
fn a_long_way_is_walked_in_parts() {
    let client = gofer(0, |id, request, socket| {
        let Request::Walk { names, dir, .. } = request else { return None };
        let mut packer = Packer::new();
        for i in 0..names.len().min(3) as u64 {
            let handle = Some(handle(dir.number() + i + 1));
            assert!(packer.push(&Looked { handle, attr: attr(FileType::Directory) }));
        }
        let (found, error) = (packer.list(), (names.len() == 1).then_some(Errno::NOENT));
        let found = if error.is_some() { List::empty() } else { found };
        reply(socket, id, Reply::Walked { found, error, target: None, opened: false })
    });
    let names = [Name::new(b"d").unwrap(); 10];
    let walked = client.walk(handle(1), &names, Leaf::Handle).unwrap();
    let numbers: Vec<u64> = walked.found.iter().map(|looked| looked.handle.unwrap().number()).collect();
    assert_eq!(numbers, (2..=10).collect::<Vec<_>>());
    assert_eq!(walked.error, Some(Errno::NOENT));
}

/// A Gofer with one channel that answers once it is let, and tells what it was asked.
fn slow_gofer() -> (Client, Sender<()>, Receiver<String>) {
    let (let_it, may) = channel();
    let (tell, told) = channel();
    let shared = std::sync::Mutex::new((may, tell));
    let client = gofer(0, move |id, request, socket| {
        let (may, tell) = &*shared.lock().unwrap();
        tell.send(format!("{request:?}")).unwrap();
        if matches!(request, Request::Close { .. }) {
            return Some(());
        }
        may.recv().ok()?;
        let mut packer = Packer::new();
        assert!(packer.push(&Looked { handle: Some(handle(77)), attr: attr(FileType::Regular) }));
        let file = tempfile();
        let mut out = Vec::new();
        let opened = matches!(request, Request::Walk { leaf: Leaf::Open, .. });
        Reply::Walked { found: packer.list(), error: None, target: None, opened }
            .encode(id, &mut out)
            .unwrap();
        let fds = [file.as_fd()];
        send(socket, &out, if opened { &fds } else { &[] }).ok()
    });
    (client, let_it, told)
}

#[test]
fn who_gives_up_leaves_the_reply_to_nobody() {
    let (client, let_it, told) = slow_gofer();
    let walk = |leaf| client.walk(handle(1), &[Name::new(b"a").unwrap()], leaf).map(drop);
    // It is asked now and then, not at once; who has to wait waits.
    static DYING: AtomicBool = AtomicBool::new(false);
    client.give_up_when(|| DYING.load(Ordering::SeqCst));
    thread::scope(|scope| {
        let waits = scope.spawn(|| walk(Leaf::Handle));
        thread::sleep(Duration::from_millis(350));
        assert!(!waits.is_finished());
        DYING.store(true, Ordering::SeqCst);
        assert_eq!(waits.join().unwrap(), Err(Errno::INTR));
    });
    // The only channel is still in use: who waits for it gives up as well.
    assert_eq!(walk(Leaf::Handle), Err(Errno::INTR));
    client.release(handle(5));
    client.flush();
    assert_eq!(client.death(), None);
    DYING.store(false, Ordering::SeqCst);
    // The late reply is read by nobody, and the next one belongs to the next request.
    let_it.send(()).unwrap();
    let_it.send(()).unwrap();
    assert_eq!(walk(Leaf::Open), Ok(()));
    // What was to be closed meanwhile, and the handle in the late reply, are given back.
    client.flush();
    let_it.send(()).unwrap();
    assert_eq!(walk(Leaf::Handle), Ok(()));
    let told: Vec<String> = told.try_iter().collect();
    assert_eq!(told.iter().filter(|told| told.starts_with("Walk")).count(), 3, "{told:?}");
    let closed: Vec<&String> = told.iter().filter(|told| told.starts_with("Close")).collect();
    assert_eq!(closed.len(), 1, "{told:?}");
    assert_eq!(client.death(), None);
}

fn list_beside(client: &Client, dir: u64, next: &[u64]) -> (Result<bool, Errno>, Vec<Listed<'static>>) {
    let next: Vec<Handle> = next.iter().copied().map(handle).collect();
    let mut told = Vec::new();
    let ahead = Ahead { most: 8, next: &next };
    let end = client.readdir_beside(handle(dir), 0, ReaddirFlags::empty(), ahead, |listed| {
        match listed {
            Listed::Below(dir) => told.push(Listed::Below(dir)),
            Listed::Not(dir) => told.push(Listed::Not(dir)),
            Listed::Entry(_) => {}
        }
        true
    });
    (end, told)
}

/// Answers requests for directories, 13 and 66 apart, with nothing in them.
fn nothing_in_it(id: u32, request: Request<'_>, socket: &OwnedFd) -> Option<()> {
    let Request::Readdir { handle, .. } = request else { return Some(()) };
    match handle.number() {
        13 => reply(socket, id, Reply::Error { errno: Errno::NOTDIR }),
        66 => reply(socket, id, Reply::Done {}),
        _ => reply(socket, id, Reply::Entries { entries: List::empty(), end: true, below: List::empty() }),
    }
}

#[test]
fn more_threads_than_channels_list_beside() {
    let client = gofer(2, nothing_in_it);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let (end, told) = list_beside(&client, 1, &[2, 3]);
                    assert_eq!(end, Ok(true));
                    // Where there is no other channel, one request is all.
                    assert!(matches!(told[..], [] | [Listed::Below(_)]), "{told:?}");
                }
            });
        }
    });
    assert_eq!(client.death(), None);
}

#[test]
fn of_two_listings_one_fails() {
    let client = gofer(1, nothing_in_it);
    assert!(
        matches!(list_beside(&client, 1, &[13, 3]), (Ok(true), told) if matches!(told[..], [Listed::Not(_)]))
    );
    for _ in 0..5 {
        assert_eq!(list_beside(&client, 13, &[2, 3]).0, Err(Errno::NOTDIR));
    }
    // Nobody reads what has come to the other channel, and the next one gets its own.
    assert!(matches!(list_beside(&client, 1, &[2, 3]), (Ok(true), told) if told.len() <= 1));
    assert_eq!(client.death(), None);
    while list_beside(&client, 1, &[66, 3]).0 == Ok(true) {}
    assert_dead(&client, Death::WrongReply);
}

#[test]
fn a_gofer_that_reads_nothing_holds_nobody_who_closes() {
    let (ours, theirs) = pair();
    let mut out = Vec::new();
    let (version, trees) = (VERSION, List::empty());
    Reply::Hello { version, max_handles: 0, trees }.encode(1, &mut out).unwrap();
    send(&theirs, &out, &[]).unwrap();
    let client = Client::connect(ours).unwrap();
    // Until its queue is full, and some more.
    let begun = std::time::Instant::now();
    for number in 1..=100_000 {
        client.release(handle(number));
        if begun.elapsed() > Duration::from_secs(1) {
            break;
        }
    }
    client.flush();
    assert_eq!(client.death(), None);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_gofer_that_does_not_answer_holds_nobody_who_closes_many() {
    static DYING: AtomicBool = AtomicBool::new(true);
    let (client, _let_it, _told) = slow_gofer();
    client.give_up_when(|| DYING.load(Ordering::SeqCst));
    // Its only channel is waiting for an answer from now on.
    assert_eq!(client.stat(handle(1)).err(), Some(Errno::INTR));
    let begun = std::time::Instant::now();
    (2..2000).for_each(|number| client.release(handle(number)));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(client.death(), None);
}

#[test]
fn a_late_reply_that_is_none_ends_the_connection() {
    static DYING: AtomicBool = AtomicBool::new(true);
    let (let_it, may) = channel::<()>();
    let may = std::sync::Mutex::new(may);
    let client = gofer(0, move |id, _, socket| {
        may.lock().unwrap().recv().ok()?;
        reply(socket, id + 1, Reply::Done {})
    });
    client.give_up_when(|| DYING.load(Ordering::SeqCst));
    assert_eq!(client.stat(handle(1)).err(), Some(Errno::INTR));
    DYING.store(false, Ordering::SeqCst);
    let_it.send(()).unwrap();
    assert_eq!(client.stat(handle(1)).err(), Some(Errno::IO));
    assert_dead(&client, Death::WrongReply);
}

#[test]
fn sockets_that_never_wait_end_the_connection() {
    let (ours, theirs) = pair();
    let mut out = Vec::new();
    let (version, trees) = (VERSION, List::empty());
    Reply::Hello { version, max_handles: 0, trees }.encode(1, &mut out).unwrap();
    send(&theirs, &out, &[]).unwrap();
    // As who has sent this end could do it.
    rustix::io::ioctl_fionbio(&ours, true).unwrap();
    let client = Client::connect(ours).unwrap();
    assert_eq!(client.stat(handle(1)).err(), Some(Errno::IO));
    assert_dead(&client, Death::Host(Errno::AGAIN));
}

#[test]
fn greetings_that_fail() {
    let (ours, theirs) = pair();
    drop(theirs);
    assert_eq!(Client::connect(ours).err(), Some(ConnectError::Dead(Death::Closed)));

    let (ours, theirs) = pair();
    let mut out = Vec::new();
    let (version, trees) = (VERSION + 1, List::empty());
    Reply::Hello { version, max_handles: 0, trees }.encode(1, &mut out).unwrap();
    send(&theirs, &out, &[]).unwrap();
    assert_eq!(Client::connect(ours).err(), Some(ConnectError::Version(version)));
}
