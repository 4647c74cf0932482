//! A Sentry that lies.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use gofer::TreeConfig;
use gofer_protocol::socket::{NoMessage, receive, receive_fds, send};
use gofer_protocol::{Client, Errno, Head, MAX_MESSAGE, Reply, Request, VERSION};

use crate::fixture::{Fixture, serve};

fn head(id: u32) -> Head {
    Head { id, cpu: None }
}

fn server() -> (tempfile::TempDir, std::thread::JoinHandle<Result<(), gofer::GoferError>>, OwnedFd) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("root")).unwrap();
    fs::write(dir.path().join("root/file"), "text").unwrap();
    fs::create_dir(dir.path().join("root/dir")).unwrap();
    let tree = TreeConfig { source: dir.path().join("root"), ..TreeConfig::default() };
    let (server, socket) = serve(vec![tree]);
    (dir, server, socket)
}

fn ask(socket: &OwnedFd, bytes: &[u8]) -> Result<(Option<u32>, Option<Errno>), NoMessage> {
    send(socket, bytes, &[]).map_err(NoMessage::Host)?;
    let mut inbox = vec![0; MAX_MESSAGE];
    let (id, reply) = Reply::decode(receive(socket, &mut inbox)?);
    Ok(match reply.unwrap() {
        Reply::Error { errno } => (id, Some(errno)),
        _ => (id, None),
    })
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[test]
fn noise() {
    let (dir, server, socket) = server();
    let mut random = Random(0x90153);
    let begun = Instant::now();
    let (mut done, mut refused) = (0, 0);
    let mut inbox = vec![0; MAX_MESSAGE];
    while begun.elapsed() < Duration::from_secs(1) {
        // A right head, so that many get further than that; small numbers, so that some are handles.
        let len = 8 + random.next() % 60;
        let mut bytes: Vec<u8> = (0..len)
            .map(|_| {
                if random.next().is_multiple_of(3) { random.next() as u8 } else { (random.next() % 4) as u8 }
            })
            .collect();
        // Not the greeting, which brings descriptors, nor what has no answer.
        bytes[6..8].copy_from_slice(&((random.next() % 28 + 2) as u16).to_le_bytes());
        if let (_, Ok(Request::Close { .. })) = Request::decode(&bytes) {
            continue;
        }
        send(&socket, &bytes, &[]).unwrap();
        let mut fds = Vec::new();
        let (reply, _) = receive_fds(&socket, &mut inbox, &mut fds).unwrap();
        match Reply::decode(reply).1.unwrap() {
            Reply::Error { .. } => refused += 1,
            _ => done += 1,
        }
    }
    println!("{refused} refused, {done} done");
    assert!(refused > 1000);
    // Still there.
    let client = Client::connect(socket).unwrap();
    assert!(client.attach(0).is_ok());
    drop(client);
    server.join().unwrap().unwrap();
    // Whatever was done was done inside.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn legal_requests_about_anything() {
    let (dir, server, socket) = server();
    let client = Client::connect(socket).unwrap();
    let mut random = Random(0xca11);
    let handle = |random: &mut Random| gofer_protocol::Handle::new(random.next() % 8 + 1).unwrap();
    let names = ["file", "dir", "x", "y"].map(|n| gofer_protocol::Name::new(n.as_bytes()).unwrap());
    let owner = crate::fixture::me();
    for _ in 0..5 {
        client.attach(0).unwrap();
    }
    for _ in 0..4000 {
        let (a, b, h) =
            (names[random.next() as usize % 4], names[random.next() as usize % 4], handle(&mut random));
        let perm = gofer_protocol::Perm::of_mode(0o700);
        let other = handle(&mut random);
        let place = |dir, name| gofer_protocol::Place { dir, name };
        match random.next() % 12 {
            0 => drop(client.walk(h, &[a, b], gofer_protocol::Leaf::Open)),
            1 => drop(client.mkdir(h, a, perm, owner)),
            2 => drop(client.create(h, a, perm, owner, gofer_protocol::OpenFlags::WRITE)),
            3 => drop(client.unlink(h, a, gofer_protocol::UnlinkKind::Directory)),
            4 => drop(client.unlink(h, a, gofer_protocol::UnlinkKind::File)),
            5 => drop(client.rename(place(h, a), place(other, b), gofer_protocol::RenameFlags::EXCHANGE)),
            6 => drop(client.rename(place(h, a), place(other, b), gofer_protocol::RenameFlags::empty())),
            7 => drop(client.link(h, other, b)),
            8 => drop(client.symlink(h, a, owner, gofer_protocol::Target::new(b"../..").unwrap())),
            9 => drop(client.readdir(h, random.next(), gofer_protocol::ReaddirFlags::DIR_HANDLES, |_| {})),
            10 => drop(client.open(h, gofer_protocol::OpenFlags::READ)),
            _ => client.release(h),
        }
        assert_eq!(client.death(), None);
    }
    drop(client);
    server.join().unwrap().unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn messages_that_are_none() {
    // Too short for an id: the channel ends.
    let (_dir, server, socket) = server();
    assert_eq!(ask(&socket, b"abc"), Err(NoMessage::End));
    assert!(server.join().unwrap().is_err());

    let (_dir, server, socket) = self::server();
    let long = vec![0; MAX_MESSAGE + 1];
    assert_eq!(ask(&socket, &long), Err(NoMessage::End));
    assert!(server.join().unwrap().is_err());

    let (_dir, server, socket) = self::server();
    assert_eq!(ask(&socket, &7u32.to_le_bytes()), Ok((Some(7), Some(Errno::PROTO))));
    assert_eq!(ask(&socket, b"\x08\0\0\0\0\0\xff\xff"), Ok((Some(8), Some(Errno::PROTO))));
    // Half a close has no answer to wait for, but is no close.
    assert_eq!(ask(&socket, b"\x09\0\0\0\0\0\x19\0\x05"), Ok((Some(9), Some(Errno::PROTO))));
    drop(socket);
    server.join().unwrap().unwrap();
}

#[test]
fn the_greeting_comes_once() {
    let (_dir, server, socket) = server();
    let mut bytes = Vec::new();
    Request::Hello { version: VERSION }.encode(head(1), &mut bytes).unwrap();
    let (mut inbox, mut fds) = (vec![0; MAX_MESSAGE], Vec::new());
    send(&socket, &bytes, &[]).unwrap();
    receive_fds(&socket, &mut inbox, &mut fds).unwrap();
    assert_eq!(fds.len(), 3);
    assert_eq!(ask(&socket, &bytes), Ok((Some(1), Some(Errno::ALREADY))));
    // The other channels serve as well, and end on their own.
    Request::Attach { tree: 0 }.encode(head(2), &mut bytes).unwrap();
    for fd in &fds {
        assert_eq!(ask(fd, &bytes), Ok((Some(2), None)));
    }
    fds.pop();
    for fd in &fds {
        assert_eq!(ask(fd, &bytes), Ok((Some(2), None)));
    }
    drop(socket);
    server.join().unwrap().unwrap();
    for fd in &fds {
        assert!(ask(fd, &bytes).is_err());
    }
}

#[test]
fn fds_that_are_sent_along_are_not_taken() {
    let (_dir, server, socket) = server();
    let (mut read, write) = std::io::pipe().unwrap();
    let mut bytes = Vec::new();
    Request::Attach { tree: 0 }.encode(head(1), &mut bytes).unwrap();
    send(&socket, &bytes, &[write.as_fd()]).unwrap();
    drop(write);
    let mut inbox = vec![0; MAX_MESSAGE];
    assert!(matches!(Reply::decode(receive(&socket, &mut inbox).unwrap()).1, Ok(Reply::Attached { .. })));
    assert_eq!(std::io::Read::read(&mut read, &mut [0]).unwrap(), 0);
    drop(socket);
    server.join().unwrap().unwrap();
}

#[test]
fn a_client_that_reads_no_replies() {
    let (_dir, server, socket) = server();
    rustix::io::ioctl_fionbio(&socket, true).unwrap();
    let mut bytes = Vec::new();
    Request::Attach { tree: 0 }.encode(head(1), &mut bytes).unwrap();
    // Until both directions are full: nothing grows without bound, and the server ends when the socket does.
    let mut sent = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        match send(&socket, &bytes, &[]) {
            Ok(()) => sent += 1,
            Err(Errno::AGAIN) => std::thread::sleep(Duration::from_millis(10)),
            Err(errno) => panic!("{errno}"),
        }
    }
    assert!(sent < 10_000);
    drop(socket);
    assert!(server.join().unwrap().is_ok());
}

#[test]
fn the_end_of_the_connection() {
    let t = Fixture::new();
    t.end();
}
