//! What containers find of files: device nodes that the configuration lists, layers for changes, sockets of the host.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::{Place, cannot, is_foreign};

#[test]
fn fuse_is_there_when_it_is_listed() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let script = "echo /dev/f*; test -c /dev/fuse && ls -ln /dev/fuse; echo; test -c /dev/null && echo null";
    let mut bundle = place.bundle(&["sh", "-c", script]);
    let run = |bundle: &crate::Bundle, id: &str| place.ok(&["run", "--bundle", bundle.path(), id]);
    let shown = run(&bundle, "without");
    assert!(shown.ends_with("\nnull\n") && !shown.contains("fuse"), "{shown}");
    if !rustix::process::geteuid().is_root() {
        return;
    }
    bundle.config["linux"]["devices"] = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4}]);
    bundle.write();
    let shown = run(&bundle, "with");
    assert!(shown.contains("crw-r-----") && shown.contains(" 3 ") && shown.contains("10, 229"), "{shown}");
}

#[test]
fn layers_keep_changes_back() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let volume = place.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("file"), "old\n").unwrap();
    let script = "echo root >/etc/new && echo new >/tmp/file && cat /etc/new /tmp/file";
    let mut bundle = place.bundle(&["sh", "-c", script]);
    bundle.config["mounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"destination": "/tmp", "type": "bind", "source": volume, "options": ["rbind", "rw"]}));
    bundle.own_what_is_made();
    bundle.write();
    let store = place.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let run = |flag: &str, id: &str| place.ok(&[flag, "run", "--bundle", bundle.path(), id]);
    let (made, file) = (bundle.dir.join("rootfs/etc/new"), volume.join("file"));
    for (number, medium) in
        ["memory".to_owned(), "self".to_owned(), format!("dir={},size=1M", store.display())]
            .iter()
            .enumerate()
    {
        assert_eq!(
            run(&format!("--overlay2=all:{medium}"), &format!("all{number}")),
            "root\nnew\n",
            "{medium}"
        );
        assert!(!made.exists(), "{medium}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "old\n", "{medium}");
    }
    assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0);
    assert_eq!(run("--overlay2=root:memory", "root"), "root\nnew\n");
    assert!(!made.exists());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "new\n");
    assert_eq!(run("--overlay2=none", "none"), "root\nnew\n");
    assert!(made.exists());
    let (_, said) =
        place.fails(&["--overlay2=root:dir=/nowhere/at/all", "run", "--bundle", bundle.path(), "wrong"]);
    assert!(said.contains("/nowhere/at/all"), "{said}");
    assert!(place.ids().is_empty(), "nothing is left of it");
}

#[test]
fn sockets_lead_to_the_host_when_they_are_opened() {
    if cannot() || is_foreign() {
        return;
    }
    let place = Place::make();
    let volume = place.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let listener = UnixListener::bind(volume.join("s")).unwrap();
    // busybox has nc for Unix sockets in some builds only: python does it where it is there.
    if !std::path::Path::new("/usr/bin/python3").exists() {
        eprintln!("SKIPPED: no python3");
        return;
    }
    let text = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/tmp/s'); s.send(b'in'); print(s.recv(9))";
    let mut bundle = place.bundle(&["/usr/bin/python3", "-c", text]);
    for (dir, to) in
        [("/usr", "/usr"), ("/lib", "/lib"), ("/lib64", "/lib64"), (volume.to_str().unwrap(), "/tmp")]
    {
        if std::path::Path::new(dir).exists() {
            let options = if to == "/tmp" { json!(["rbind", "rw"]) } else { json!(["rbind", "ro"]) };
            bundle.config["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({"destination": to, "type": "bind", "source": dir, "options": options}));
        }
    }
    bundle.own_what_is_made();
    bundle.write();
    let host = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 2];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(b"out").unwrap();
        bytes
    });
    let refused = place.run(&["run", "--bundle", bundle.path(), "refused"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ConnectionRefusedError"), "{refused:?}");
    assert_eq!(place.ok(&["--host-uds=open", "run", "--bundle", bundle.path(), "open"]), "b'out'\n");
    assert_eq!(&host.join().unwrap(), b"in");
}
