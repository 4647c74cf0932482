//! Trees that nobody would make by accident: whatever the guest does in them ends, with the error that Linux gives.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::guest::{Folder, Guest, has_python};

/// Entries of the large directory; a million with VOLUMES_HEAVY.
fn many() -> usize {
    if std::env::var_os("VOLUMES_HEAVY").is_some() { 1_000_000 } else { 20_000 }
}

/// So many of them are asked for at a time.
const PART: usize = 100_000;

/// How a tree of the host is shown: as a volume that others change, as one that nobody else does, and below a layer for changes.
pub const WAYS: [&str; 3] = ["shared", "exclusive", "layer"];

/// The flags for a folder at /v in one of these ways.
pub fn shown(folder: &Folder, way: &str) -> Vec<String> {
    let volume = format!("--volume={}:/v", folder.0.display());
    match way {
        "layer" => vec!["--overlay2=all:memory".to_owned(), volume],
        _ => vec![format!("{volume}:{way}")],
    }
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Only root can make it.
fn device(path: &Path, kind: &str, major: &str, minor: &str) -> bool {
    let made = Command::new("mknod").arg(path).args([kind, major, minor]).output();
    made.is_ok_and(|done| done.status.success())
}

#[test]
fn odd_files_hang_nothing() {
    if !has_python("odd_files_hang_nothing") {
        return;
    }
    for way in WAYS {
        let folder = Folder::new(&format!("odd-{way}"));
        let at = |name: &str| folder.0.join(name);
        symlink("self", at("self")).unwrap();
        symlink("y", at("x")).unwrap();
        symlink("x", at("y")).unwrap();
        for (from, to) in (0..60).zip(1..) {
            symlink(format!("l{to}"), at(&format!("l{from}"))).unwrap();
        }
        symlink("d/../d/../d/.", at("winding")).unwrap();
        symlink("../../../../../../etc/hostname", at("up")).unwrap();
        symlink("a".repeat(4095), at("long")).unwrap();
        fs::create_dir(at("d")).unwrap();
        fifo(&at("fifo"));
        fifo(&at("d/fifo"));
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let devices = device(&at("null"), "c", "1", "3") && device(&at("disk"), "b", "8", "0");
        fs::write(folder.0.join(OsStr::from_bytes(b"\xff\xfe\n\x01")), "odd name").unwrap();
        fs::write(at(&"n".repeat(255)), "long name").unwrap();
        fs::create_dir(at("closed")).unwrap();
        fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o0)).unwrap();

        let mut guest = Guest::start(&shown(&folder, way));
        for looped in ["/v/self", "/v/x/y", "/v/l0", "/v/self/a/b"] {
            guest.expect(&format!("os.stat('{looped}')"), "ELOOP");
            guest.expect(&format!("open('{looped}', 'w')"), "ELOOP");
        }
        guest.expect("os.path.isdir('/v/winding/../d')", "True");
        guest.expect("os.stat('/v/long')", "ENAMETOOLONG");
        guest.expect("len(os.readlink('/v/long'))", "4095");
        guest.expect("os.stat('/v/' + 'b' * 256)", "ENAMETOOLONG");
        guest.expect("os.stat('/v/' + 'd/../' * 818 + 'd').st_mode & 0o170000 == 0o40000", "True");
        guest.expect("os.stat('/v/' + 'd/../' * 819)", "ENAMETOOLONG");
        guest.expect("open('/v/' + 'n' * 255).read()", "'long name'");
        guest.expect("open(b'/v/\\xff\\xfe\\n\\x01').read()", "'odd name'");
        // The sandbox's own FIFO and socket have nothing to do with the host's.
        guest.expect("os.open('/v/fifo', os.O_WRONLY | os.O_NONBLOCK)", "ENXIO");
        guest.expect("os.read(os.open('/v/d/fifo', os.O_RDONLY | os.O_NONBLOCK), 5)", "b''");
        guest.expect("open('/v/socket')", "ENXIO");
        guest.ask("import socket; s = socket.socket(socket.AF_UNIX)");
        guest.expect("s.connect('/v/socket')", "ECONNREFUSED");
        if devices {
            for device in ["null", "disk"] {
                guest.expect(&format!("stat.S_ISREG(os.lstat('/v/{device}').st_mode)"), "False");
                let answer = guest.ask(&format!("open('/v/{device}', 'rb').read(1)"));
                // The first is the sandbox's own /dev/null, if its driver may be opened there; there is no disk.
                let allowed: &[&str] =
                    if device == "null" { &["b''", "EACCES", "ENXIO"] } else { &["EACCES", "ENXIO"] };
                assert!(allowed.contains(&answer.as_str()), "{device}: {answer}");
            }
        } else {
            eprintln!("*** SKIPPED a part of odd_files_hang_nothing: making device nodes needs root");
        }
        guest.expect("sum(len(files) + len(dirs) for _, dirs, files in os.walk('/v')) > 70", "True");
        // What changes things about such files, and what makes more of them.
        guest.expect(
            "os.rename('/v/self', '/v/self2'), os.link('/v/self2', '/v/self', follow_symlinks=False)",
            "(None, None)",
        );
        guest.expect("os.mkdir('/v/' + 'b' * 256)", "ENAMETOOLONG");
        guest.expect("os.symlink('a' * 4096, '/v/longer')", "ENAMETOOLONG");
        guest.expect("os.symlink('c' * 4095, '/v/new'), len(os.readlink('/v/new'))", "(None, 4095)");
        guest.expect("os.rename('/v/d', '/v/d/e')", "EINVAL");
        guest.expect("os.mkdir('/v/l0/x')", "ELOOP");
        guest.expect("os.rmdir('/v/x')", "ENOTDIR");
        guest.expect("os.unlink('/v/closed')", "EISDIR");
        guest.expect("os.truncate('/v/fifo', 0)", "EINVAL");
        guest.expect(
            "os.chmod('/v/fifo', 0o640), stat.filemode(os.stat('/v/fifo').st_mode)",
            "(None, 'prw-r-----')",
        );
        guest.expect(
            "[os.unlink('/v/' + name) for name in ('long', 'fifo', 'socket', 'x', 'n' * 255)]",
            "[None, None, None, None, None]",
        );
        guest.expect("os.path.lexists('/v/long'), os.path.lexists('/v/' + 'n' * 255)", "(False, False)");
        assert_eq!(guest.end().0, Some(0));
        fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_file_cut_short_under_a_mapping_is_sigbus_and_efault() {
    if !has_python("a_file_cut_short_under_a_mapping_is_sigbus_and_efault") {
        return;
    }
    for way in WAYS {
        let folder = Folder::new(&format!("cut-{way}"));
        let path = folder.0.join("m");
        fs::write(&path, vec![b'm'; 64 << 10]).unwrap();
        let mut guest = Guest::start(&shown(&folder, way));
        // Below a layer a file that is opened for writing would be another one.
        let (open, prot) = if way == "layer" { ("rb", "PROT_READ") } else { ("r+b", "PROT_WRITE") };
        guest.ask(&format!(
            "f = open('/v/m', '{open}'); m = mmap.mmap(f.fileno(), 65536, prot=mmap.PROT_READ | mmap.{prot}); r, w = os.pipe()"
        ));
        guest.expect("m[60000]", "109");
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(5000).unwrap();
        // The Sentry itself reads where nothing is any more, and so does a child, which it kills.
        guest.expect("os.write(w, memoryview(m)[40960:45056])", "EFAULT");
        guest.ask("pid = os.fork() or os._exit(m[40960])");
        guest.expect("os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])", "-7");
        guest.expect("m[4000]", "109");
        // Below a layer its size is known once for all.
        if way != "layer" {
            guest.expect("os.lseek(f.fileno(), 0, 2)", "5000");
        }
        assert_eq!(guest.end().0, Some(0));
    }
}

#[test]
fn a_directory_of_many_entries_is_walked_and_listed() {
    if !has_python("a_directory_of_many_entries_is_walked_and_listed") {
        return;
    }
    let folder = Folder::new("many");
    let many = many();
    for number in 0..many {
        fs::File::create(folder.0.join(format!("entry-{number}"))).unwrap();
    }
    for way in WAYS {
        let mut guest = Guest::start(&shown(&folder, way));
        guest.expect("len(os.listdir('/v'))", &many.to_string());
        guest.ask("import itertools; entries = os.scandir('/v')");
        // A million are too many for one answer.
        for part in (0..many).step_by(PART) {
            let ask =
                format!("sum(entry.stat().st_size == 0 for entry in itertools.islice(entries, {PART}))");
            guest.expect(&ask, &PART.min(many - part).to_string());
        }
        guest.expect("next(entries, None)", "None");
        guest.expect("os.path.exists('/v/entry-%d')", "False");
        assert_eq!(guest.end().0, Some(0));
    }
}
