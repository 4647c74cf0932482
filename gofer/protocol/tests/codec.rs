//! Every message survives the way to bytes and back; nothing else is taken for a message.

use gofer_protocol::reply::Look;
use gofer_protocol::{
    Attr, Bad, Below, Bytes, Changes, Entry, Errno, FileId, FileType, Handle, Head, Leaf, Looked,
    MAX_MESSAGE, Name, NewTime, Node, NodeKind, Op, OpenFlags, Owner, Packer, Perm, Place, ReaddirFlags,
    RenameFlags, Reply, ReplyKind, Request, SetMode, SocketKind, StatfsReply, SyncKind, Target, Time,
    TreeFlags, UnlinkKind, VERSION, XattrName,
};

const HEAD: Head = Head { id: 1, cpu: Some(0) };

fn handle(number: u64) -> Handle {
    Handle::new(number).unwrap()
}

fn name(bytes: &[u8]) -> Name<'_> {
    Name::new(bytes).unwrap()
}

fn attr(kind: FileType) -> Attr {
    let time = |s| Time::new(s, 999_999_999).unwrap();
    Attr {
        id: FileId { dev: 8 << 32 | 1, ino: u64::MAX },
        kind,
        perm: Perm::of_mode(0o7755),
        nlink: 3,
        uid: 1000,
        gid: 65534,
        rdev: (1, 3),
        size: i64::MAX as u64,
        blocks: 8,
        blksize: 4096,
        attributes: 1 << 13,
        attributes_mask: u64::MAX,
        atime: time(-1),
        mtime: time(i64::MIN),
        ctime: time(i64::MAX),
        btime: (kind == FileType::Directory).then(|| time(7)),
    }
}

/// One of each kind at least, with lists that are empty and not.
fn requests(packers: &mut [Packer; 3]) -> Vec<Request<'_>> {
    let [names, places, handles] = packers;
    for n in [b"usr".as_slice(), b"lib", &[b'x'; 255]] {
        assert!(names.push(&name(n)));
        assert!(places.push(&Place { dir: handle(9), name: name(n) }));
    }
    assert!(handles.push(&handle(1)) && handles.push(&handle(u64::MAX)));
    let (perm, owner) = (Perm::of_mode(0o4644), Owner::new(0, 1000).unwrap());
    let (dir, file, user_x) = (handle(1), handle(1 << 40), XattrName::new(b"user.x").unwrap());
    let changes = Changes {
        size: Some(4096),
        uid: Some(0),
        gid: None,
        perm: Some(perm),
        atime: Some(NewTime::Now),
        mtime: Some(NewTime::At(Time::new(-5, 1).unwrap())),
    };
    vec![
        Request::Hello { version: VERSION },
        Request::Attach { tree: 7 },
        Request::Walk { dir, leaf: Leaf::Open, names: names.list() },
        Request::Walk { dir, leaf: Leaf::Attr, names: gofer_protocol::List::empty() },
        Request::Look { places: places.list() },
        Request::Stat { handle: file },
        Request::Open { handle: file, flags: OpenFlags::READ | OpenFlags::NOATIME },
        Request::Create { dir, name: name(b"\xff\n"), perm, owner, flags: OpenFlags::WRITE },
        Request::CreateUnnamed { dir, perm, owner },
        Request::Mkdir { dir, name: name(b"d"), perm, owner },
        Request::Mknod { dir, name: name(b"..."), kind: NodeKind::Fifo, perm, owner },
        Request::Symlink { dir, name: name(b"l"), owner, target: Target::new(&[b'/'; 4095]).unwrap() },
        Request::Link { handle: file, dir, name: name(b"n") },
        Request::Unlink { dir, name: name(b"n"), kind: UnlinkKind::Directory },
        Request::Rename {
            old_dir: dir,
            old_name: name(b"a"),
            new_dir: file,
            new_name: name(b"b"),
            flags: RenameFlags::EXCHANGE,
        },
        Request::Readlink { handle: file },
        Request::Readdir {
            handle: dir,
            cookie: u64::MAX,
            bytes: 4096,
            flags: ReaddirFlags::ATTR,
            ahead: 3,
            next: handles.list(),
        },
        Request::SetAttr { handle: file, changes },
        Request::SetAttr { handle: file, changes: Changes::default() },
        Request::Statfs { handle: dir },
        Request::GetXattr { handle: file, name: user_x },
        Request::SetXattr { handle: file, name: user_x, mode: SetMode::Replace, value: Bytes(&[0; 65536]) },
        Request::ListXattr { handle: file },
        Request::RemoveXattr { handle: file, name: user_x },
        Request::Sync { handle: dir, kind: SyncKind::FileSystem },
        Request::Connect { handle: file, kind: SocketKind::Seqpacket },
        Request::Bind { dir: file, name: name(b"s"), kind: SocketKind::Stream, perm, owner },
        Request::Close { handles: handles.list() },
    ]
}

fn replies(packers: &mut [Packer; 5]) -> Vec<Reply<'_>> {
    let [trees, found, looks, entries, below] = packers;
    let (dir, file) = (attr(FileType::Directory), attr(FileType::Regular));
    assert!(trees.push(&TreeFlags::READ_ONLY) && trees.push(&TreeFlags::empty()));
    assert!(found.push(&Looked { handle: Some(handle(3)), attr: dir }));
    assert!(found.push(&Looked { handle: None, attr: file }));
    assert!(looks.push(&Look(Ok(file))) && looks.push(&Look(Err(Errno::NOENT))));
    let entry = Entry { ino: 5, cookie: 1 << 62, kind: None, name: name(b"e"), found: None, target: None };
    assert!(entries.push(&entry));
    let target = Target::new(b"to").ok();
    let link = Looked { handle: None, attr: attr(FileType::Symlink) };
    assert!(entries.push(&Entry { found: Some(link), target, ..entry }));
    let looked = Looked { handle: Some(handle(8)), attr: dir };
    assert!(entries.push(&Entry { kind: Some(FileType::Directory), found: Some(looked), ..entry }));
    assert!(below.push(&Below { dir: handle(8), entries: 1 }));
    let node = Node { handle: handle(4), attr: file };
    let statfs = StatfsReply {
        fs_type: 0xef53,
        bsize: 4096,
        blocks: 1,
        bfree: 2,
        bavail: 3,
        files: 4,
        ffree: 5,
        namelen: 255,
        frsize: 4096,
        flags: 1,
    };
    vec![
        Reply::Error { errno: Errno::NAMETOOLONG },
        Reply::Done {},
        Reply::Hello { version: VERSION, max_handles: 1000, trees: trees.list() },
        Reply::Attached { node },
        Reply::Walked { found: found.list(), error: Some(Errno::NOENT), target: None, opened: true },
        Reply::Walked {
            found: found.list(),
            error: None,
            target: Some(Target::new(b"../x").unwrap()),
            opened: false,
        },
        Reply::Looks { looks: looks.list() },
        Reply::Attr { attr: dir },
        Reply::Found { node },
        Reply::Made { node, parent: dir },
        Reply::Linked { attr: file, parent: dir },
        Reply::Unlinked { parent: dir },
        Reply::Renamed { old_parent: dir, new_parent: dir },
        Reply::Target { target: Target::new(b"x").unwrap() },
        Reply::Entries { entries: entries.list(), end: true, below: below.list() },
        Reply::Statfs { statfs },
        Reply::Value { value: Bytes(b"") },
        Reply::Value { value: Bytes(&[7; 65536]) },
    ]
}

#[test]
fn requests_survive_the_way() {
    let (mut packers, mut bytes) = (std::array::from_fn(|_| Packer::new()), Vec::new());
    let all = requests(&mut packers);
    for op in Op::ALL {
        assert!(all.iter().any(|request| request.kind() == *op), "no sample of {op:?}");
    }
    for (id, request) in all.iter().enumerate() {
        let head = Head { id: id as u32, cpu: id.checked_sub(1).map(|cpu| cpu as u16) };
        request.encode(head, &mut bytes).unwrap();
        assert!(bytes.len() <= MAX_MESSAGE);
        assert_eq!(Request::decode(&bytes), (Some(head), Ok(*request)));
    }
}

#[test]
fn replies_survive_the_way() {
    let (mut packers, mut bytes) = (std::array::from_fn(|_| Packer::new()), Vec::new());
    let all = replies(&mut packers);
    for kind in ReplyKind::ALL {
        assert!(all.iter().any(|reply| reply.kind() == *kind), "no sample of {kind:?}");
    }
    for (id, reply) in all.iter().enumerate() {
        reply.encode(id as u32, &mut bytes).unwrap();
        assert_eq!(Reply::decode(&bytes), (Some(id as u32), Ok(*reply)));
    }
}

#[test]
fn a_cut_message_is_none() {
    let (mut packers, mut bytes) = (std::array::from_fn(|_| Packer::new()), Vec::new());
    for request in requests(&mut packers) {
        request.encode(HEAD, &mut bytes).unwrap();
        for len in 0..bytes.len().min(2000) {
            assert!(Request::decode(&bytes[..len]).1.is_err(), "{request:?} cut to {len}");
        }
        bytes.push(0);
        assert!(Request::decode(&bytes).1.is_err(), "{request:?} with a byte behind it");
    }
    let mut packers = std::array::from_fn(|_| Packer::new());
    for reply in replies(&mut packers) {
        reply.encode(1, &mut bytes).unwrap();
        for len in 0..bytes.len().min(2000) {
            assert!(Reply::decode(&bytes[..len]).1.is_err(), "{reply:?} cut to {len}");
        }
        bytes.push(0);
        assert!(Reply::decode(&bytes).1.is_err(), "{reply:?} with a byte behind it");
    }
}

/// xorshift64*: the same numbers on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Whatever decodes, encodes to the same bytes: there is one form for each value, and no decoder panics.
fn check_any(bytes: &[u8]) {
    let mut again = Vec::new();
    if let (Some(head), Ok(request)) = Request::decode(bytes) {
        request.encode(head, &mut again).unwrap();
        assert_eq!(bytes, again);
    }
    if let (Some(id), Ok(reply)) = Reply::decode(bytes) {
        reply.encode(id, &mut again).unwrap();
        assert_eq!(bytes, again);
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let mut random = Random(0x5eed);
    for _ in 0..200_000 {
        let len = (random.next() % 96) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        // Where a reply has its number, and where a request has.
        for at in [4, 6] {
            if let Some(number) = bytes.get_mut(at..at + 2) {
                number.copy_from_slice(&[number[0] % 30, 0]);
            }
        }
        check_any(&bytes);
    }
}

#[test]
fn damaged_messages_do_no_harm() {
    let mut random = Random(0xbad);
    let mut samples = Vec::new();
    let mut bytes = Vec::new();
    let mut packers = std::array::from_fn(|_| Packer::new());
    for request in requests(&mut packers) {
        request.encode(HEAD, &mut bytes).unwrap();
        samples.push(bytes.clone());
    }
    let mut packers = std::array::from_fn(|_| Packer::new());
    for reply in replies(&mut packers) {
        reply.encode(1, &mut bytes).unwrap();
        samples.push(bytes.clone());
    }
    samples.retain(|sample| sample.len() < 5000);
    for _ in 0..100_000 {
        let mut damaged = samples[random.next() as usize % samples.len()].clone();
        for _ in 0..=random.next() % 3 {
            let at = 4 + random.next() as usize % (damaged.len() - 4);
            damaged[at] = match random.next() % 4 {
                0 => 0,
                1 => 0xff,
                2 => damaged[at] ^ 1 << (random.next() % 8),
                _ => random.next() as u8,
            };
        }
        check_any(&damaged);
    }
}

#[test]
fn names_are_single_components() {
    let long = [b'n'; 256];
    for (bytes, errno) in [
        (b"".as_slice(), Errno::NOENT),
        (b".", Errno::INVAL),
        (b"..", Errno::INVAL),
        (b"a/b", Errno::INVAL),
        (b"/", Errno::INVAL),
        (b"a\0", Errno::INVAL),
        (&long, Errno::NAMETOOLONG),
    ] {
        assert_eq!(Name::new(bytes), Err(errno), "{bytes:?}");
    }
    for bytes in [b"...".as_slice(), b" ", b"\xff\xfe", b"..a", &long[..255]] {
        assert!(Name::new(bytes).is_ok(), "{bytes:?}");
    }
    // And they are checked again on the other side.
    let mut bytes = Vec::new();
    Request::Unlink { dir: handle(1), name: name(b"ab"), kind: UnlinkKind::File }
        .encode(HEAD, &mut bytes)
        .unwrap();
    let at = bytes.windows(2).position(|two| two == b"ab").unwrap();
    for wrong in [b"..", b"a/", b"/b", b"\0b"] {
        bytes[at..at + 2].copy_from_slice(wrong);
        assert_eq!(Request::decode(&bytes).1, Err(Bad::Value("name")));
    }
}

#[test]
fn illegal_values_are_refused() {
    let mut bytes = Vec::new();
    // An errno of 0, and one that the kernel keeps for itself.
    Reply::Error { errno: Errno::NOENT }.encode(1, &mut bytes).unwrap();
    for number in [0u16, 512, 516, 4095, u16::MAX] {
        bytes[6..8].copy_from_slice(&number.to_le_bytes());
        assert_eq!(Reply::decode(&bytes).1, Err(Bad::Value("errno")));
    }
    // Handle 0.
    Request::Stat { handle: handle(1) }.encode(HEAD, &mut bytes).unwrap();
    bytes[8] = 0;
    assert_eq!(Request::decode(&bytes).1, Err(Bad::Value("handle")));
    // A list that claims more than there is.
    let mut packer = Packer::new();
    assert!(packer.push(&handle(1)));
    Request::Close { handles: packer.list() }.encode(HEAD, &mut bytes).unwrap();
    bytes[8..10].copy_from_slice(&u16::MAX.to_le_bytes());
    assert_eq!(Request::decode(&bytes).1, Err(Bad::Short));
    // Opening for nothing, and truncating what is only read.
    assert!(!OpenFlags::empty().is_legal());
    assert!(!(OpenFlags::READ | OpenFlags::TRUNCATE).is_legal());
    assert_eq!(Owner::new(u32::MAX, 0), None);
    assert_eq!(Time::new(0, 1_000_000_000), None);
}

#[test]
fn nothing_grows_past_the_longest_message() {
    let mut bytes = Vec::new();
    let value = vec![0; MAX_MESSAGE];
    let request = Request::SetXattr {
        handle: handle(1),
        name: XattrName::new(b"user.x").unwrap(),
        mode: SetMode::Any,
        value: Bytes(&value),
    };
    assert_eq!(request.encode(HEAD, &mut bytes), Err(Bad::Long));
    assert!(bytes.len() <= MAX_MESSAGE);
    let mut packer = Packer::new();
    let mut count = 0;
    while packer.push(&name(&[b'n'; 255])) {
        count += 1;
    }
    assert_eq!(packer.len(), count);
    let request = Request::Walk { dir: handle(1), leaf: Leaf::Attr, names: packer.list() };
    request.encode(HEAD, &mut bytes).unwrap();
    let (_, decoded) = Request::decode(&bytes);
    let Ok(Request::Walk { names, .. }) = decoded else { panic!("{decoded:?}") };
    assert_eq!(names.iter().count(), count);
}
