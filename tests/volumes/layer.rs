//! Changes to the root that go to a file of the host (`--overlay2`): its size, a disk that is full, and what it costs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::full::Small;
use crate::guest::{Folder, Guest, has_python};

/// Maps a page of `f` in a child, writes to it, and tells how that ended.
const TOUCH: &str = "
def touch(f, at):
    pid = os.fork()
    if pid == 0:
        mmap.mmap(f.fileno(), 4096, offset=at)[0] = 1
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
";

fn define(guest: &mut Guest, text: &str) {
    guest.expect(&format!("exec({text:?})"), "None");
}

#[test]
fn the_size_that_was_chosen_is_the_size() {
    if !has_python("the_size_that_was_chosen_is_the_size") {
        return;
    }
    let folder = Folder::new("layer");
    for medium in ["memory".to_owned(), format!("dir={}", folder.0.display())] {
        let mut guest = Guest::start(&[format!("--overlay2=root:{medium},size=4M")]);
        guest.expect("(lambda s: s.f_blocks * s.f_frsize)(os.statvfs('/'))", &(4 << 20).to_string());
        guest.ask("f = open('/var/tmp/f', 'wb', buffering=0)");
        guest.expect("f.write(b'x' * (3 << 20)), f.write(b'y' * (3 << 20)) <= 1 << 20", "(3145728, True)");
        guest.expect("f.write(b'z')", "ENOSPC");
        guest.expect("open('/var/tmp/f', 'rb').read(3 << 20) == b'x' * (3 << 20)", "True");
        guest.ask("f.truncate(1 << 20)");
        guest.expect("os.posix_fallocate(f.fileno(), 2 << 20, 1 << 20)", "None");
        guest.expect("os.posix_fallocate(f.fileno(), 3 << 20, 4 << 20)", "ENOSPC");
        assert_eq!(guest.end().0, Some(0));
    }
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_full_host_disk_is_enospc_and_loses_nothing() {
    if !has_python("a_full_host_disk_is_enospc_and_loses_nothing") {
        return;
    }
    let Some(small) = Small::mount() else {
        eprintln!("*** SKIPPED a_full_host_disk_is_enospc_and_loses_nothing: mounting a tmpfs needs root");
        return;
    };
    let mut guest = Guest::start(&[format!("--overlay2=root:dir={}", small.0.0.display())]);
    define(&mut guest, TOUCH);
    guest.ask(
        "s = open('/var/tmp/synced', 'w+b', buffering=0); s.write(b'keep me' * 1000); os.fsync(s.fileno())",
    );
    guest.ask("m = mmap.mmap(s.fileno(), 7000); m[0:4] = b'KEEP'; m.flush()");
    guest.ask("g = open('/var/tmp/big', 'w+b', buffering=0)");
    guest.expect("[g.write(b'g' * 100000) for i in range(100)]", "ENOSPC");
    guest.expect("os.posix_fallocate(s.fileno(), 0, 3 << 20)", "ENOSPC");
    guest.expect("os.statvfs('/').f_bavail < 64", "True");
    // A hole can't be filled through a mapping; what is there can be written.
    guest.ask("g.truncate(64 << 20)");
    guest.expect("touch(g, 32 << 20)", "-7");
    guest.expect("touch(g, 4096), touch(s, 0)", "(0, 0)");
    guest.expect("os.pread(s.fileno(), 9, 0), m[7:14], s.seek(0, 2)", "(b'\\x01EEP meke', b'keep me', 7000)");
    // Copying up what does not fit leaves the old file as it is.
    guest.expect("open('/bin/bash', 'r+b')", "ENOSPC");
    guest.expect("open('/bin/bash', 'rb').read(4)", "b'\\x7fELF'");
    guest.ask("g.truncate(0)");
    guest.expect("s.write(b'more'), os.pread(g.fileno(), 1, 0)", "(4, b'')");
    guest.expect("g.write(b'h' * 1000000), touch(g, 0)", "(1000000, 0)");
    assert_eq!(guest.end().0, Some(0));
}

/// Bytes that the Sentry's descriptors hold: in files of `dir`, and in other files without a name, which are memory.
fn held(guest: &Guest, dir: &str) -> Option<(u64, u64)> {
    let (sentry, _) = guest.processes().into_iter().find(|(_, line)| line.contains("boot"))?;
    let (mut memory, mut disk) = (0, 0);
    for entry in fs::read_dir(format!("/proc/{sentry}/fd")).ok()?.flatten() {
        let name = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        let meta = fs::metadata(entry.path()).ok()?;
        let bytes = meta.blocks() * 512;
        if name.starts_with(dir) {
            disk = bytes;
        } else if meta.is_file() && meta.nlink() == 0 {
            memory += bytes;
        }
    }
    Some((memory, disk))
}

#[test]
fn what_is_written_takes_room_on_the_disk_and_no_memory() {
    const BYTES: u64 = 256 << 20;
    let test = "what_is_written_takes_room_on_the_disk_and_no_memory";
    if !has_python(test) {
        return;
    }
    let folder = Folder::new("layer-disk");
    let dir = folder.0.display().to_string();
    for (medium, on_disk) in [("memory".to_owned(), false), (format!("dir={dir}"), true)] {
        let mut guest = Guest::start(&[format!("--overlay2=root:{medium}")]);
        guest.ask("f = open('/var/tmp/f', 'wb', buffering=0)");
        guest.ask(&format!("for i in range({}): f.write(bytes([i % 251 + 1]) * (1 << 20))", BYTES >> 20));
        let Some((memory, disk)) = held(&guest, &dir) else {
            eprintln!("*** SKIPPED {test}: another process's descriptors need root");
            return;
        };
        eprintln!("{medium}: {} MiB in memory, {} MiB on disk", memory >> 20, disk >> 20);
        assert_eq!(memory >= BYTES, !on_disk, "{memory} bytes in memory");
        assert_eq!(disk >= BYTES, on_disk, "{disk} bytes on disk");
        guest.ask("f.close(); os.unlink('/var/tmp/f')");
        let (memory, disk) = held(&guest, &dir).unwrap();
        assert!(memory < BYTES / 4 && disk < BYTES / 16, "{memory} and {disk} bytes are left");
        assert_eq!(guest.end().0, Some(0));
    }
}

#[test]
fn mappings_never_show_pages_of_other_files() {
    if !has_python("mappings_never_show_pages_of_other_files") {
        return;
    }
    let folder = Folder::new("layer-reuse");
    let mut guest = Guest::start(&[format!("--overlay2=root:dir={}", folder.0.display())]);
    // One process looks at a file that another cuts off, digs holes into and fills again, while a third writes others.
    let text = "
import time, ctypes, random, signal
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
def run(seconds):
    end = time.monotonic() + seconds
    f = os.open('/var/tmp/mine', os.O_RDWR | os.O_CREAT)
    os.pwrite(f, b'm' * (1 << 20), 0)
    def child(work):
        pid = os.fork()
        if pid == 0:
            status = 9
            try:
                status = work()
            finally:
                os._exit(status)
        return pid
    def look():
        # Past the end is a SIGBUS: then once more, in another child.
        while time.monotonic() < end:
            def once():
                try:
                    m = mmap.mmap(f, 1 << 20, mmap.MAP_SHARED)
                except ValueError:
                    return 0
                while time.monotonic() < end:
                    for at in range(0, 1 << 20, 4096):
                        if m[at] not in b'm\\0':
                            return 3
                return 0
            status = os.waitpid(child(once), 0)[1]
            if status not in (0, signal.SIGBUS):
                return 3
        return 0
    def cut():
        r = random.Random(1)
        while time.monotonic() < end:
            at = r.randrange(256) * 4096
            if r.random() < .5:
                libc.fallocate(f, 3, at, r.randrange(1, 64) * 4096)
            else:
                os.ftruncate(f, at)
            os.ftruncate(f, 1 << 20)
            os.pwrite(f, b'm' * 65536, at & 0xf0000)
        return 0
    def others():
        n = 0
        while time.monotonic() < end:
            n += 1
            name = '/var/tmp/o%d' % (n % 8)
            if os.path.exists(name):
                os.unlink(name)
            g = os.open(name, os.O_RDWR | os.O_CREAT)
            os.write(g, b'o' * 300000)
            os.close(g)
        return 0
    children = [child(work) for work in (look, cut, others)]
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
";
    define(&mut guest, text);
    guest.expect("run(5)", "[0, 0, 0]");
    assert_eq!(guest.end().0, Some(0));
}

#[test]
fn trees_and_media_of_overlay2() {
    let folder = Folder::new("overlay2");
    fs::create_dir(folder.0.join("v")).unwrap();
    fs::write(folder.0.join("v/file"), "old\n").unwrap();
    let runsc = conformance::build::runsc().expect("runsc");
    let run = |flags: &[&str], script: &str| {
        let volume = format!("--volume={}/v:/mnt", folder.0.display());
        let done = Command::new(&runsc)
            .arg("do")
            .arg(volume)
            .args(flags)
            .args(["--", "/bin/sh", "-c", script])
            .output();
        let done = done.expect("runsc");
        (done.status.code(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    // Volumes below a layer stay as they are.
    let script = "echo new >/mnt/file && cat /mnt/file && echo x >/var/tmp/x && cat /var/tmp/x";
    for medium in ["all:memory".to_owned(), format!("all:dir={},size=1M", folder.0.display())] {
        assert_eq!(
            run(&[&format!("--overlay2={medium}")], script),
            (Some(0), "new\nx\n".to_owned()),
            "{medium}"
        );
        assert_eq!(fs::read_to_string(folder.0.join("v/file")).unwrap(), "old\n");
    }
    // Without any layer, volumes can be written, and the root can't.
    let (status, said) = run(&["--overlay2=none"], "echo newer >/mnt/file; cat /mnt/file; echo x >/etc/x");
    assert!(
        status == Some(2) && said.starts_with("newer\n") && said.contains("ead-only file system"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(folder.0.join("v/file")).unwrap(), "newer\n");
    for wrong in ["root:dir=/nowhere/at/all", "root:dir=relative", "some:memory", "root:memory,size=0"] {
        let (status, said) = run(&[&format!("--overlay2={wrong}")], "true");
        assert_eq!((status, said.lines().count()), (Some(125), 1), "{wrong}: {said}");
    }
}
