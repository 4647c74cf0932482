//! A shared volume shows at once what others do; an exclusive one may keep what it knows.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::guest::{Folder, Guest, has_python};

fn volume(folder: &Folder, mode: &str) -> Vec<String> {
    vec![format!("--volume={}:/v:{mode}", folder.0.display())]
}

#[test]
fn what_others_do_is_seen_at_once() {
    if !has_python("what_others_do_is_seen_at_once") {
        return;
    }
    let folder = Folder::new("shared");
    let at = |name: &str| folder.0.join(name);
    let mut guest = Guest::start(&volume(&folder, "shared"));

    // What is not there comes, grows, changes its mode, and goes.
    for round in 0..3 {
        guest.expect("open('/v/new').read()", "ENOENT");
        fs::write(at("new"), format!("round {round}")).unwrap();
        guest.expect("open('/v/new').read()", &format!("'round {round}'"));
        fs::OpenOptions::new().append(true).open(at("new")).unwrap().write_all(b" and more").unwrap();
        guest.expect("os.stat('/v/new').st_size", "16");
        fs::set_permissions(at("new"), fs::Permissions::from_mode(0o640)).unwrap();
        guest.expect("oct(os.stat('/v/new').st_mode)", "'0o100640'");
        fs::remove_file(at("new")).unwrap();
        guest.expect("os.path.lexists('/v/new')", "False");
        guest.expect("os.listdir('/v')", "[]");
    }

    // Directories that change places, links that turn.
    for name in ["a", "b"] {
        fs::create_dir_all(at(name).join("deep/er")).unwrap();
        fs::write(at(name).join("deep/er/f"), name).unwrap();
    }
    symlink("a", at("link")).unwrap();
    guest.expect("(open('/v/a/deep/er/f').read(), open('/v/link/deep/er/f').read())", "('a', 'a')");
    fs::rename(at("a"), at("t")).unwrap();
    fs::rename(at("b"), at("a")).unwrap();
    guest.expect("(open('/v/a/deep/er/f').read(), open('/v/link/deep/er/f').read())", "('b', 'b')");
    fs::remove_file(at("link")).unwrap();
    symlink("t", at("link")).unwrap();
    guest.expect("open('/v/link/deep/er/f').read()", "'a'");
    guest.expect("sorted(os.listdir('/v'))", "['a', 'link', 't']");

    // A file that is replaced: the open one stays what it was, the name is the new one.
    fs::write(at("f"), "old").unwrap();
    guest.ask("f = open('/v/f')");
    fs::write(at("f2"), "newer").unwrap();
    fs::rename(at("f2"), at("f")).unwrap();
    guest.expect("(f.read(), open('/v/f').read(), os.fstat(f.fileno()).st_nlink)", "('old', 'newer', 0)");
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn mappings_follow_outside_writers_and_writers_follow_mappings() {
    if !has_python("mappings_follow_outside_writers_and_writers_follow_mappings") {
        return;
    }
    for mode in ["shared", "exclusive"] {
        let folder = Folder::new(&format!("mapped-{mode}"));
        let path = folder.0.join("m");
        fs::write(&path, vec![b'.'; 8192]).unwrap();
        let mut guest = Guest::start(&volume(&folder, mode));
        guest.ask("f = open('/v/m', 'r+b'); m = mmap.mmap(f.fileno(), 8192)");
        guest.expect("m[4096:4100]", "b'....'");
        let mut outside = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        outside.seek(SeekFrom::Start(4096)).unwrap();
        outside.write_all(b"host").unwrap();
        guest.expect("m[4096:4100]", "b'host'");
        guest.ask("m[0:5] = b'guest'");
        assert_eq!(&fs::read(&path).unwrap()[..5], b"guest");
        guest.expect("(f.seek(4096), f.read(4))", "(4096, b'host')");
        assert_eq!(guest.end().0, Some(0));
    }
}

#[test]
fn two_sandboxes_append_without_loss() {
    if !has_python("two_sandboxes_append_without_loss") {
        return;
    }
    let folder = Folder::new("append");
    let mut guests = [Guest::start(&volume(&folder, "shared")), Guest::start(&volume(&folder, "shared"))];
    for guest in &mut guests {
        guest.ask("f = open('/v/log', 'ab', buffering=0)");
    }
    std::thread::scope(|scope| {
        for (number, guest) in guests.iter_mut().enumerate() {
            let line = format!("[f.write(b'line {number}\\n') for i in range(2000)].count(7)");
            scope.spawn(move || guest.expect(&line, "2000"));
        }
    });
    let log = fs::read_to_string(folder.0.join("log")).unwrap();
    assert_eq!((log.len(), log.lines().count()), (28_000, 4_000));
    for number in 0..2 {
        assert_eq!(log.lines().filter(|line| *line == format!("line {number}")).count(), 2000);
    }
}

#[test]
fn a_read_only_volume_refuses_and_several_volumes_stand_side_by_side() {
    if !has_python("a_read_only_volume_refuses_and_several_volumes_stand_side_by_side") {
        return;
    }
    let (one, two) = (Folder::new("one"), Folder::new("two"));
    fs::write(one.0.join("f"), "one").unwrap();
    let flags = [
        format!("--volume={}:/one:ro:exclusive", one.0.display()),
        format!("--volume={}:/two", two.0.display()),
        format!("--volume={}:/two/one", one.0.display()),
        format!("--volume={}:/two/file:ro", one.0.join("f").display()),
    ];
    let mut guest = Guest::start(&flags);
    for refused in [
        "open('/one/g', 'w')",
        "open('/one/f', 'a')",
        "os.unlink('/one/f')",
        "os.mkdir('/one/d')",
        "os.chmod('/one/f', 0)",
        "os.rename('/one/f', '/one/g')",
        "os.truncate('/one/f', 0)",
        "os.link('/one/f', '/one/l')",
        "open('/two/file', 'w')",
    ] {
        guest.expect(refused, "EROFS");
    }
    guest.expect("(open('/one/f').read(), open('/two/file').read())", "('one', 'one')");
    guest.expect("open('/two/one/g', 'w').write('seen')", "4");
    assert_eq!(fs::read_to_string(one.0.join("g")).unwrap(), "seen");
    guest.expect("os.rename('/two/one/g', '/two/g')", "EXDEV");
    guest.expect("open('/two/own', 'w').write('x')", "1");
    assert!(two.0.join("own").exists());
    assert_eq!(guest.end().0, Some(0));
}
