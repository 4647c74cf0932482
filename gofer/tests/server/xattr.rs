use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use gofer_protocol::{Errno, SetMode, XattrName};

use crate::fixture::{Fixture, is_root};

fn xattr(name: &str) -> XattrName<'_> {
    XattrName::new(name.as_bytes()).unwrap()
}

fn names(list: &[u8]) -> BTreeSet<&[u8]> {
    list.split(|&b| b == 0).filter(|name| name.starts_with(b"user.")).collect()
}

#[test]
fn user_attributes() {
    let t = Fixture::new();
    fs::write(t.path("f"), "").unwrap();
    fs::create_dir(t.path("d")).unwrap();
    let c = t.client();
    for n in ["f", "d"] {
        let h = t.handle(n);
        match c.set_xattr(h, xattr("user.a"), SetMode::Any, b"value") {
            Err(Errno::OPNOTSUPP) => {
                eprintln!("SKIPPED user_attributes: the temporary directory's file system has none");
                return;
            }
            done => done.unwrap(),
        }
        assert_eq!(c.get_xattr(h, xattr("user.a")).unwrap(), b"value");
        assert_eq!(c.set_xattr(h, xattr("user.a"), SetMode::Create, b"").err(), Some(Errno::EXIST));
        assert_eq!(c.set_xattr(h, xattr("user.b"), SetMode::Replace, b"").err(), Some(Errno::NODATA));
        c.set_xattr(h, xattr("user.b"), SetMode::Create, b"").unwrap();
        c.set_xattr(h, xattr("user.a"), SetMode::Replace, b"new\0").unwrap();
        assert_eq!(c.get_xattr(h, xattr("user.a")).unwrap(), b"new\0");
        assert_eq!(c.get_xattr(h, xattr("user.b")).unwrap(), b"");
        let list = c.list_xattr(h).unwrap();
        assert_eq!(names(&list), BTreeSet::from([&b"user.a"[..], b"user.b"]));
        c.remove_xattr(h, xattr("user.a")).unwrap();
        assert_eq!(c.remove_xattr(h, xattr("user.a")).err(), Some(Errno::NODATA));
        assert_eq!(c.get_xattr(h, xattr("user.a")).err(), Some(Errno::NODATA));
        assert_eq!(names(&c.list_xattr(h).unwrap()).len(), 1);
    }
    // A file that may not even be read, and one without a name.
    let h = t.handle("f");
    fs::remove_file(t.path("f")).unwrap();
    c.set_xattr(h, xattr("user.late"), SetMode::Any, b"1").unwrap();
    assert_eq!(c.get_xattr(h, xattr("user.late")).unwrap(), b"1");
    t.end();
}

#[test]
fn a_link_s_attributes_are_its_own() {
    let t = Fixture::new();
    fs::write(t.path("f"), "").unwrap();
    symlink("f", t.path("l")).unwrap();
    let (link, file, c) = (t.handle("l"), t.handle("f"), t.client());
    assert!(c.set_xattr(link, xattr("user.a"), SetMode::Any, b"x").is_err());
    if is_root() && c.set_xattr(link, xattr("trusted.gofer"), SetMode::Any, b"link").is_ok() {
        assert_eq!(c.get_xattr(link, xattr("trusted.gofer")).unwrap(), b"link");
        assert_eq!(c.get_xattr(file, xattr("trusted.gofer")).err(), Some(Errno::NODATA));
    }
    assert!(names(&c.list_xattr(file).unwrap()).is_empty());
    t.end();
}

#[test]
fn long_values() {
    let t = Fixture::new();
    fs::write(t.path("f"), "").unwrap();
    let (h, c) = (t.handle("f"), t.client());
    for len in [1000, 65536, 65537] {
        let value = vec![b'v'; len];
        match c.set_xattr(h, xattr("user.long"), SetMode::Any, &value) {
            Ok(()) => assert_eq!(c.get_xattr(h, xattr("user.long")).unwrap(), value),
            Err(errno) => {
                assert!(matches!(errno, Errno::NOSPC | Errno::TOOBIG | Errno::OPNOTSUPP), "{errno}")
            }
        }
    }
    assert_eq!(c.death(), None);
    t.end();
}
