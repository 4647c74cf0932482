use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use gofer_protocol::{Changes, Errno, Handle, NewTime, NodeKind, Time};

use crate::fixture::{Fixture, assert_attr, me, name, perm};

#[test]
fn size() {
    let t = Fixture::new();
    fs::write(t.path("f"), "contents").unwrap();
    let (file, c) = (t.handle("f"), t.client());
    let size = |size| Changes { size: Some(size), ..Changes::default() };
    assert_eq!(c.set_attr(file, size(3)).unwrap().size, 3);
    assert_eq!(fs::read(t.path("f")).unwrap(), b"con");
    let attr = c.set_attr(file, size(1 << 30)).unwrap();
    assert_attr(&attr, &t.path("f"));
    assert_eq!(attr.size, 1 << 30);
    assert_eq!(c.set_attr(file, size(i64::MAX as u64)).err(), Some(Errno::FBIG));
    assert_eq!(c.set_attr(t.root(), size(0)).err(), Some(Errno::ISDIR));
    symlink("f", t.path("l")).unwrap();
    assert_eq!(c.set_attr(t.handle("l"), size(0)).err(), Some(Errno::INVAL));
    c.mknod(t.root(), name("p"), NodeKind::Fifo, perm(0o600), me()).unwrap();
    assert_eq!(c.set_attr(t.handle("p"), size(0)).err(), Some(Errno::INVAL));
    t.end();
}

#[test]
fn permissions_and_times() {
    let t = Fixture::new();
    fs::write(t.path("f"), "x").unwrap();
    fs::create_dir(t.path("d")).unwrap();
    symlink("f", t.path("l")).unwrap();
    t.client().mknod(t.root(), name("p"), NodeKind::Fifo, perm(0o600), me()).unwrap();
    let at = Time::new(1_000_000_007, 123_456_789).unwrap();
    let before_1970 = Time::new(-5, 1000).unwrap();
    for n in ["f", "d", "p"] {
        let changes = Changes {
            perm: Some(perm(0o1755)),
            atime: Some(NewTime::At(at)),
            mtime: Some(NewTime::At(before_1970)),
            ..Changes::default()
        };
        let attr = t.client().set_attr(t.handle(n), changes).unwrap();
        assert_attr(&attr, &t.path(n));
        assert_eq!((attr.perm, attr.atime, attr.mtime), (perm(0o1755), at, before_1970), "{n}");
    }
    // One time only; now.
    let changes = Changes { mtime: Some(NewTime::Now), ..Changes::default() };
    let attr = t.client().set_attr(t.handle("f"), changes).unwrap();
    assert_eq!(attr.atime, at);
    assert!(attr.mtime.seconds() > at.seconds());
    // A link's own times; it has no permissions of its own.
    let link = t.handle("l");
    let changes = Changes { mtime: Some(NewTime::At(at)), ..Changes::default() };
    assert_eq!(t.client().set_attr(link, changes).unwrap().mtime, at);
    assert_ne!(fs::metadata(t.path("f")).unwrap().mtime(), at.seconds());
    let changes = Changes { perm: Some(perm(0)), ..Changes::default() };
    assert_eq!(t.client().set_attr(link, changes).err(), Some(Errno::OPNOTSUPP));
    assert_eq!(fs::metadata(t.path("f")).unwrap().mode() & 0o7777, 0o1755);
    // Nothing at all is no error.
    assert!(t.client().set_attr(link, Changes::default()).is_ok());
    // A file that has no name any more.
    let file = t.handle("f");
    fs::remove_file(t.path("f")).unwrap();
    let changes = Changes { perm: Some(perm(0o600)), size: Some(0), ..Changes::default() };
    let attr = t.client().set_attr(file, changes).unwrap();
    assert_eq!((attr.perm, attr.size, attr.nlink), (perm(0o600), 0, 0));
    t.end();
}

#[test]
fn file_system() {
    let t = Fixture::new();
    let ours = t.client().statfs(t.root()).unwrap();
    let host = rustix::fs::statfs(t.path("")).unwrap();
    assert_eq!(
        (ours.fs_type, ours.bsize, ours.blocks, ours.files, ours.namelen),
        (host.f_type as u64, host.f_bsize as u64, host.f_blocks, host.f_files, host.f_namelen as u64)
    );
    t.end();
}

#[test]
fn handles() {
    let t = Fixture::new();
    fs::write(t.path("f"), "").unwrap();
    let file = t.handle("f");
    t.client().release(file);
    t.client().flush();
    // The channel that the request takes may be served before the one that carried the message.
    let mut answer = t.client().stat(file);
    for _ in 0..1000 {
        if answer == Err(Errno::BADF) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
        answer = t.client().stat(file);
    }
    assert_eq!(answer, Err(Errno::BADF));
    let other = t.handle("f");
    assert_ne!(file, other);
    for number in [1, u64::MAX, other.number() | 1 << 63] {
        assert_eq!(
            t.client().stat(Handle::new(number).unwrap()).is_ok(),
            number == t.root().number() || number == 1
        );
    }
    t.end();
}

#[test]
fn many_handles() {
    let t = Fixture::new();
    fs::write(t.path("f"), "").unwrap();
    let root = t.root();
    let names = [name("f")];
    let mut held = Vec::new();
    // Other tests of this process hold descriptors too.
    let bound = t.client().max_handles().min(100_000) as usize;
    for _ in 0..bound + 1 {
        let walked = t.client().walk(root, &names, gofer_protocol::Leaf::Handle).unwrap();
        match walked.error {
            None => held.extend(walked.found[0].handle),
            Some(errno) => {
                assert!(matches!(errno, Errno::MFILE | Errno::NFILE), "{errno}");
                break;
            }
        }
        if held.len() > 5000 {
            break;
        }
    }
    assert!(held.len() > 500);
    for handle in held.drain(..) {
        t.client().release(handle);
    }
    t.client().flush();
    assert!(t.find("f").is_ok());
    t.end();
}
