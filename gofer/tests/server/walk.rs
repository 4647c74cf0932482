use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;

use gofer_protocol::{Errno, FileType, Handle, Leaf, Place};

use crate::fixture::{Fixture, assert_attr, name, names};

#[test]
fn several_components_in_one_go() {
    let t = Fixture::new();
    fs::create_dir_all(t.path("a/b/c")).unwrap();
    fs::write(t.path("a/b/c/file"), "hello").unwrap();
    let walk = |path: &str, leaf| t.client().walk(t.root(), &names(path), leaf).unwrap();

    let walked = walk("a/b/c/file", Leaf::Handle);
    assert_eq!(walked.found.len(), 4);
    for (looked, path) in walked.found.iter().zip(["a", "a/b", "a/b/c", "a/b/c/file"]) {
        assert_attr(&looked.attr, &t.path(path));
        assert_eq!(t.client().stat(looked.handle.unwrap()).unwrap(), looked.attr);
    }
    assert!(walked.found[3].attr.btime.is_some());

    // No handle for a file of which only attributes are wanted; always one for a directory.
    assert!(walk("a/b/c/file", Leaf::Attr).found[3].handle.is_none());
    assert!(walk("a/b/c", Leaf::Attr).found[2].handle.is_some());
    // An open file, if it is one.
    let mut text = String::new();
    fs::File::from(walk("a/b/c/file", Leaf::Open).opened.unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    assert!(walk("a/b/c", Leaf::Open).opened.is_none());
    assert!(t.client().walk(t.root(), &[], Leaf::Open).unwrap().found.is_empty());
    t.end();
}

#[test]
fn where_it_ends() {
    let t = Fixture::new();
    fs::create_dir(t.path("d")).unwrap();
    fs::write(t.path("d/file"), "").unwrap();
    symlink("/etc", t.path("d/link")).unwrap();
    let walk = |path: &str| {
        let walked = t.client().walk(t.root(), &names(path), Leaf::Handle).unwrap();
        (walked.found.len(), walked.error, walked.target)
    };
    assert_eq!(walk("d/none"), (1, Some(Errno::NOENT), None));
    assert_eq!(walk("d/none/x/y"), (1, Some(Errno::NOENT), None));
    assert_eq!(walk("none"), (0, Some(Errno::NOENT), None));
    // A file in the way: the walk ends with it, and it is the caller's to say ENOTDIR.
    assert_eq!(walk("d/file/x"), (2, None, None));
    // A link: its target comes along, wherever it is.
    assert_eq!(walk("d/link"), (2, None, Some(b"/etc".to_vec())));
    assert_eq!(walk("d/link/passwd"), (2, None, Some(b"/etc".to_vec())));
    // All but the last have a handle, whatever they are.
    for path in ["d/link/x", "d/file/x"] {
        let walked = t.client().walk(t.root(), &names(path), Leaf::Attr).unwrap();
        assert!(walked.found[1].handle.is_some());
    }
    // From something that is no directory, and from nothing.
    let file = t.handle("d/file");
    assert_eq!(t.client().walk(file, &names("x"), Leaf::Attr).unwrap().error, Some(Errno::NOTDIR));
    let none = Handle::new(77 << 32 | 1).unwrap();
    assert_eq!(t.client().walk(none, &names("x"), Leaf::Attr).err(), Some(Errno::BADF));
    t.end();
}

#[test]
fn links_are_not_followed() {
    let t = Fixture::new();
    fs::create_dir(t.outside("secret")).unwrap();
    fs::write(t.outside("secret/file"), "secret").unwrap();
    for (link, target) in [
        ("absolute", t.outside("secret").to_str().unwrap()),
        ("up", "../secret"),
        ("file", "../secret/file"),
        ("magic", "/proc/self/root"),
        ("self", "self"),
    ] {
        symlink(target, t.path(link)).unwrap();
        for leaf in [Leaf::Attr, Leaf::Handle, Leaf::Open] {
            for path in [link.to_owned(), format!("{link}/file")] {
                let walked = t.client().walk(t.root(), &names(&path), leaf).unwrap();
                assert_eq!(walked.found.len(), 1);
                assert_eq!(walked.found[0].attr.kind, FileType::Symlink);
                assert_eq!(walked.target.as_deref(), Some(target.as_bytes()));
                assert!(walked.opened.is_none());
            }
        }
        let link = t.handle(link);
        assert_eq!(t.client().readlink(link).unwrap(), target.as_bytes());
        assert_eq!(t.client().walk(link, &names("file"), Leaf::Attr).unwrap().error, Some(Errno::NOTDIR));
    }
    assert_eq!(t.client().readlink(t.root()).err(), Some(Errno::INVAL));
    t.end();
}

#[test]
fn long_names_and_long_ways() {
    let t = Fixture::new();
    let longest = "n".repeat(255);
    fs::write(t.path(&longest), "").unwrap();
    assert_attr(&t.find(&longest).unwrap().attr, &t.path(&longest));
    // 2,000 directories deep: a path of 4,000 bytes, and a reply in several parts.
    let deep = vec!["d"; 2000].join("/");
    let mut at = t.path("");
    for _ in 0..20 {
        at.extend(vec!["d"; 100]);
        // The host takes paths of 4,095 bytes at most, the temporary directory's included.
        if fs::create_dir_all(&at).is_err() {
            break;
        }
    }
    let walked = t.client().walk(t.root(), &names(&deep), Leaf::Attr).unwrap();
    assert!(walked.found.len() >= 1900, "{}", walked.found.len());
    assert!(walked.found.iter().all(|looked| looked.handle.is_some()));
    // Names of 255 bytes, as many as a path can have.
    let long: Vec<&str> = vec![&longest; 15];
    let walked = t.client().walk(t.root(), &names(&long.join("/")), Leaf::Attr).unwrap();
    assert_eq!((walked.found.len(), walked.error), (1, None));
    t.end();
}

#[test]
fn looking_at_many_places() {
    let t = Fixture::new();
    fs::create_dir(t.path("d")).unwrap();
    fs::write(t.path("d/a"), "a").unwrap();
    symlink("a", t.path("d/l")).unwrap();
    let (root, dir) = (t.root(), t.handle("d"));
    let places = [(root, "d"), (dir, "a"), (dir, "none"), (dir, "l"), (Handle::new(99).unwrap(), "x")]
        .map(|(dir, n)| Place { dir, name: name(n) });
    let looks = t.client().look(&places).unwrap();
    assert_attr(looks[0].as_ref().unwrap(), &t.path("d"));
    assert_attr(looks[1].as_ref().unwrap(), &t.path("d/a"));
    assert_eq!(looks[2], Err(Errno::NOENT));
    assert_eq!(looks[3].unwrap().kind, FileType::Symlink);
    assert_eq!(looks[4], Err(Errno::BADF));
    let many = vec![places[1]; 5000];
    assert_eq!(t.client().look(&many).unwrap().len(), 5000);
    t.end();
}

#[test]
fn a_single_file_as_tree() {
    let t = Fixture::new();
    fs::write(t.outside("one"), "text").unwrap();
    let trees = [t.outside("one"), t.path("")];
    let trees = trees.map(|source| gofer::TreeConfig { source, read_only: true, ..Default::default() });
    let (server, socket) = crate::fixture::serve(trees.to_vec());
    let client = gofer_protocol::Client::connect(socket).unwrap();
    assert_eq!(client.trees().len(), 2);
    let node = client.attach(0).unwrap();
    assert_attr(&node.attr, &t.outside("one"));
    assert!(client.open(node.handle, gofer_protocol::OpenFlags::READ).is_ok());
    assert_eq!(client.walk(node.handle, &names("x"), Leaf::Attr).unwrap().error, Some(Errno::NOTDIR));
    assert_eq!(client.attach(1).unwrap().attr.kind, FileType::Directory);
    assert_eq!(client.attach(2).err(), Some(Errno::INVAL));
    drop(client);
    server.join().unwrap().unwrap();
}
