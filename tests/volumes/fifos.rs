//! FIFOs in volumes: the sandbox's own, unless the user opens those of the host.

use std::fs;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::guest::{Folder, Guest, has_python};

fn make(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

fn flags(folder: &Folder, mode: &str, more: &[&str]) -> Vec<String> {
    let mut flags = vec![format!("--volume={}:/v:{mode}", folder.0.display())];
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    flags
}

#[test]
fn opened_fifos_lead_to_the_host() {
    if !has_python("opened_fifos_lead_to_the_host") {
        return;
    }
    for mode in ["shared", "exclusive"] {
        let folder = Folder::new(&format!("fifos-{mode}"));
        let path = folder.0.join("p");
        make(&path);
        let mut guest = Guest::start(&flags(&folder, mode, &["--host-fifo=open"]));
        guest.expect("os.open('/v/p', os.O_WRONLY | os.O_NONBLOCK)", "ENXIO");
        // From the host to the guest, up to the end.
        let at = path.clone();
        let writer = std::thread::spawn(move || fs::write(at, "from outside").unwrap());
        guest.expect("open('/v/p').read()", "'from outside'");
        writer.join().unwrap();
        // Opening waits for a writer, also one that says nothing, and for nobody with O_NONBLOCK.
        guest.ask("f = os.open('/v/p', os.O_RDONLY | os.O_NONBLOCK)");
        guest.expect("os.read(f, 5), os.close(f)", "(b'', None)");
        for says in ["", "late"] {
            let at = path.clone();
            let writer = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(300));
                let mut writer = OpenOptions::new().write(true).open(at).unwrap();
                writer.write_all(says.as_bytes()).unwrap();
                // Not gone before the guest has seen it.
                std::thread::sleep(Duration::from_millis(300));
            });
            let begun = Instant::now();
            guest.ask("f = os.open('/v/p', os.O_RDONLY)");
            let waited = begun.elapsed();
            assert!(
                waited >= Duration::from_millis(250) && waited < Duration::from_millis(590),
                "{waited:?}"
            );
            guest.expect("os.read(f, 10), os.close(f)", &format!("(b'{says}', None)"));
            writer.join().unwrap();
        }
        // A signal ends the wait, and others of the sandbox are not kept waiting by it.
        guest.ask("import signal, time; signal.signal(signal.SIGALRM, lambda *a: 1 / 0)");
        guest.ask("signal.setitimer(signal.ITIMER_REAL, .2)");
        guest.expect("os.open('/v/p', os.O_RDONLY)", "!! ZeroDivisionError('division by zero')");
        guest.expect("os.listdir('/v')", "['p']");
        // Back; the guest waits until somebody reads.
        let at = path.clone();
        let reader = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(200));
            fs::read_to_string(at).unwrap()
        });
        guest.expect("open('/v/p', 'w').write('from inside')", "11");
        assert_eq!(reader.join().unwrap(), "from inside");
        // Nobody reads any more.
        // Opened for both, it need not wait.
        let mut host = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        guest.ask("f = os.open('/v/p', os.O_WRONLY)");
        guest.expect("os.write(f, b'abc')", "3");
        let mut bytes = [0; 10];
        assert_eq!(host.read(&mut bytes).unwrap(), 3);
        drop(host);
        guest.expect("os.write(f, b'abc')", "EPIPE");
        assert_eq!(guest.end().0, Some(0));
    }
}

#[test]
fn other_fifos_stay_in_the_sandbox() {
    if !has_python("other_fifos_stay_in_the_sandbox") {
        return;
    }
    let folder = Folder::new("fifos-own");
    let path = folder.0.join("p");
    make(&path);
    let mut host = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    host.write_all(b"secret").unwrap();
    let mut guest = Guest::start(&flags(&folder, "shared", &[]));
    guest.ask("f = os.open('/v/p', os.O_RDWR | os.O_NONBLOCK)");
    guest.expect("os.read(f, 10)", "EAGAIN");
    guest.expect("os.write(f, b'inside')", "6");
    let mut bytes = [0; 20];
    assert_eq!(host.read(&mut bytes).unwrap(), 6);
    assert_eq!(&bytes[..6], b"secret");
    guest.expect("os.read(f, 10)", "b'inside'");
    assert_eq!(guest.end().0, Some(0));
}
