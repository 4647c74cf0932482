//! A container that tells a service manager that it is ready (sd_notify(3)).

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

use crate::{Bundle, PATIENCE, Place, cannot, is_foreign};

/// Says more than is asked for before it is ready, and again after that until nobody listens any more.
const PROGRAM: &str = "import os, socket, sys, time
end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
end.connect(os.environ['NOTIFY_SOCKET'])
for i in range(40): end.send(b'STATUS=%d' % i)
end.send(b'STATUS=NOT\\nREADY=0')
if len(sys.argv) > 1:
    end.send(b'READY=1\\nSTATUS=up')
    try:
        while True: end.send(b'WATCHDOG=1')
    except OSError: pass
    time.sleep(1000)
";

/// Whether the host has an interpreter for it.
fn cannot_notify() -> bool {
    let missing = cannot() || !Path::new("/usr/bin/python3").exists();
    if missing {
        eprintln!("SKIPPED: no /usr/bin/python3");
    }
    missing
}

/// A bundle with the host's programs; `words` are its arguments.
fn bundle(place: &Place, words: &[&str]) -> Bundle {
    let mut bundle = place.bundle(&[&["/usr/bin/python3", "-c", PROGRAM], words].concat());
    std::fs::create_dir(bundle.dir.join("rootfs/usr")).unwrap();
    std::fs::create_dir(bundle.dir.join("rootfs/run")).unwrap();
    for name in ["lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), bundle.dir.join("rootfs").join(name)).unwrap();
    }
    let usr = json!({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]});
    bundle.config["mounts"].as_array_mut().unwrap().push(usr);
    bundle.write();
    bundle
}

/// A service manager's socket.
fn manager(place: &Place) -> (UnixDatagram, String) {
    let path = place.path().join("manager");
    // Of the round before.
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (socket, path.to_str().unwrap().to_owned())
}

/// The last of what it is told. The barrier came to runc after 1.1.5.
fn last() -> &'static str {
    if is_foreign() { "MAINPID=" } else { "BARRIER=1" }
}

/// What it is told until the last, at once, as whoever tells it waits for that.
fn told(socket: &UnixDatagram) -> JoinHandle<Vec<String>> {
    let socket = socket.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut all: Vec<String> = Vec::new();
        while all.last().is_none_or(|text| !text.starts_with(last())) {
            let mut bytes = [0; 4096];
            // The descriptor that comes with the barrier is closed, which answers it.
            let count = socket.recv(&mut bytes).unwrap();
            all.push(String::from_utf8(bytes[..count].to_vec()).unwrap());
        }
        all
    })
}

fn is_ready(told: JoinHandle<Vec<String>>, pid: u64) {
    let all = told.join().unwrap();
    assert_eq!(all[..2], ["READY=1\n", &format!("MAINPID={pid}\n")]);
}

#[test]
fn a_container_is_ready() {
    if cannot_notify() {
        return;
    }
    let place = Place::make();
    let bundle = bundle(&place, &["ready"]);
    let (socket, path) = manager(&place);
    let with_manager = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    // Started apart: the command stays until then.
    assert!(with_manager(&["create", "--bundle", bundle.path(), "x"]).status().unwrap().success());
    let all = told(&socket);
    assert!(with_manager(&["start", "x"]).status().unwrap().success());
    is_ready(all, place.state("x")["pid"].as_u64().unwrap());
    place.ok(&["delete", "--force", "x"]);

    let args = ["run", "--detach", "--bundle", bundle.path(), "x"];
    let all = told(&socket);
    assert!(with_manager(&args).status().unwrap().success());
    is_ready(all, place.state("x")["pid"].as_u64().unwrap());
    place.ok(&["delete", "--force", "x"]);

    // The command that stays is the service.
    let mut run = with_manager(&["run", "--bundle", bundle.path(), "x"]).spawn().unwrap();
    is_ready(told(&socket), run.id().into());
    place.ok(&["kill", "x", "KILL"]);
    assert_eq!(run.wait().unwrap().code(), Some(137));
}

#[test]
fn a_container_that_never_is() {
    // runc waits for ever when it stays itself.
    if cannot_notify() || is_foreign() {
        return;
    }
    let place = Place::make();
    let bundle = bundle(&place, &[]);
    let (socket, path) = manager(&place);
    for args in
        [&["run", "--bundle", bundle.path(), "x"][..], &["run", "--detach", "--bundle", bundle.path(), "x"]]
    {
        let mut command = place.command(args);
        command.env("NOTIFY_SOCKET", &path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
        place.run(&["delete", "--force", "x"]);
    }
    socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let nothing = socket.recv(&mut [0; 16]).unwrap_err();
    assert!(matches!(nothing.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{nothing}");
}
