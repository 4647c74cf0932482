//! Attributes that came with a listing: who only asks for them, or only looks a name up, gets what Linux says, whatever the guest has done
//! to the files since.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::guest::{Folder, Guest, has_python};
use crate::hostile::{WAYS, shown};

/// Trees, each with changes of its own.
const TREES: u32 = 16;

/// Defines `run(top, seed)`: changes of all kinds to the files below `top` (which are chosen by the seed), and after each of them the
/// attributes of some. Answers a line for each change.
const SCRIPT: &str = r#"
import os, random, stat, errno

def attributes(path, look):
    try:
        s = look(path)
    except OSError as error:
        return errno.errorcode[error.errno]
    if stat.S_ISDIR(s.st_mode):
        return oct(s.st_mode)
    # Times that nobody has set are not the same in two runs.
    when = s.st_mtime_ns if s.st_mtime < 10 ** 6 else 'now'
    return (oct(s.st_mode), s.st_nlink, s.st_size, s.st_uid, s.st_gid, when)

def change(kind, one, two, chance, opened, found):
    when = (chance.randrange(10 ** 15), chance.randrange(10 ** 15))
    fd = chance.choice(opened) if opened else -1
    path_fd = chance.choice(found) if found else -1
    match kind:
        case 0: os.chmod(one, chance.choice([0o600, 0o644, 0o755]))
        case 1: os.truncate(one, chance.randrange(9000))
        case 2: os.chown(one, 1000, 1001, follow_symlinks=False)
        case 3: os.utime(one, ns=when, follow_symlinks=False)
        case 4: os.rename(one, two)
        case 5: os.unlink(one)
        case 6: os.link(one, two, follow_symlinks=False)
        case 7: os.symlink(chance.choice(['3', '../b/4', 'nothing']), one)
        case 8: os.mkdir(one)
        case 9: os.rmdir(one)
        case 10 | 11: opened.append(os.open(one, os.O_RDWR | os.O_NOFOLLOW))
        case 12 | 13: os.pwrite(fd, b'x' * chance.randrange(1, 5000), chance.randrange(9000))
        case 14: os.ftruncate(fd, chance.randrange(9000))
        case 15: os.fchmod(fd, chance.choice([0o640, 0o666]))
        case 16: os.utime(fd, ns=when)
        case 17 if opened: os.close(opened.pop())
        case 18 | 19 | 20: found.append(os.open(one, os.O_PATH | os.O_NOFOLLOW))
        case 21 if found: os.close(found.pop(0))
        case 22: opened.append(os.open(f'/proc/self/fd/{path_fd}', os.O_RDWR))
        case 23: os.chmod(f'/proc/self/fd/{path_fd}', chance.choice([0o604, 0o640]))
        case 24: os.link(f'/proc/self/fd/{path_fd}', two, follow_symlinks=True)
        case 25: return os.readlink('', dir_fd=path_fd)
        case 26: return os.readlink(one), os.access(two, os.X_OK, follow_symlinks=False)

def run(top, seed):
    chance, lines, opened, found = random.Random(seed), [], [], []
    def name(): return f'{top}/{chance.choice("ab")}/{chance.randrange(40)}'
    for step in range(90):
        # The first look at a directory has it listed.
        seen = [(path, attributes(path, look)) for path in [name() for _ in range(12)] for look in (os.lstat, os.stat)]
        kind, one, two = chance.randrange(27), name(), name()
        try:
            done = change(kind, one, two, chance, opened, found)
        except OSError as error:
            done = errno.errorcode[error.errno]
        seen += [(path, attributes(path, os.lstat)) for path in (one, two)]
        seen += [attributes(fd, os.fstat) for fd in opened + found]
        lines.append(repr((step, kind, one, two, done, seen)).replace(top, ''))
    for fd in opened + found: os.close(fd)
    return lines
"#;

fn make_tree(top: &Path) {
    for folder in ["a", "b"] {
        fs::create_dir_all(top.join(folder)).unwrap();
        for number in 0..40 {
            let at = |number: u32| top.join(format!("{folder}/{number}"));
            match number % 8 {
                0 => symlink("1", at(number)).unwrap(),
                3 => fs::hard_link(at(number - 1), at(number)).unwrap(),
                _ => fs::write(at(number), vec![b'l'; number as usize * 100]).unwrap(),
            }
        }
    }
}

fn make_trees(folder: &Folder) {
    (0..TREES).for_each(|number| make_tree(&folder.0.join(number.to_string())));
}

/// What the script says of tree `number` in `folder` where there is no sandbox.
fn natively(folder: &Folder, number: u32) -> String {
    let program = format!("{SCRIPT}\nprint(run({:?}, {number}))", folder.0.join(number.to_string()));
    let mut python = Command::new("/usr/bin/python3");
    let mut child = python.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success());
    String::from_utf8(done.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn attributes_of_a_listing_are_those_of_the_files() {
    if !has_python("attributes_of_a_listing_are_those_of_the_files") {
        return;
    }
    let oracle = Folder::new("listed-natively");
    make_trees(&oracle);
    let expected: Vec<String> = (0..TREES).map(|number| natively(&oracle, number)).collect();
    for way in WAYS {
        let folder = Folder::new(&format!("listed-{way}"));
        make_trees(&folder);
        let mut guest = Guest::start(&shown(&folder, way));
        guest.expect(&format!("exec({SCRIPT:?})"), "None");
        for (number, expected) in (0..TREES).zip(&expected) {
            let seen = guest.ask(&format!("run('/v/{number}', {number})"));
            let differs =
                seen.split("\", \"").zip(expected.split("\", \"")).find(|(seen, expected)| seen != expected);
            assert_eq!(differs, None, "{way}: tree {number}, what is seen and what Linux says");
            assert_eq!(&seen, expected, "{way}: tree {number}");
        }
        assert_eq!(guest.end().0, Some(0));
    }
}
