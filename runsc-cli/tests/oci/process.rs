//! What the process of a container is given.

use serde_json::json;

use crate::{Bundle, Place, cannot};

/// What a container whose process is `script` prints.
fn output(place: &Place, change: impl Fn(&mut Bundle), script: &str) -> String {
    let mut bundle = place.bundle(&["sh", "-c", script]);
    change(&mut bundle);
    bundle.write();
    place.ok(&["run", "--bundle", bundle.path(), "p"])
}

#[test]
fn identity_and_limits() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let text = output(
        &place,
        |bundle| {
            let process = &mut bundle.config["process"];
            process["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 7], "umask": 0o027});
            process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 111, "hard": 222}]);
            process["oomScoreAdj"] = json!(300);
            process["noNewPrivileges"] = json!(true);
        },
        "id -u; id -g; id -G; umask; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; \
         grep -E 'NoNewPrivs|CapBnd|CapEff' /proc/self/status; echo $HOME; hostname",
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["1000", "1001"]);
    assert!(lines[2].contains('5') && lines[2].contains('7'), "{text}");
    assert_eq!(lines[3..7], ["0027", "111", "222", "300"]);
    // CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID; an ordinary user has none after exec.
    assert!(text.contains("CapBnd:\t00000000000000e3"), "{text}");
    assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
    assert!(text.contains("NoNewPrivs:\t1"), "{text}");
    assert_eq!(lines[lines.len() - 2..], ["/home/user", "inside"]);
}

#[test]
fn the_root_keeps_what_is_written_unless_read_only() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let bundle = place.bundle(&["sh", "-c", "echo kept >/etc/new; mkdir /var; echo done"]);
    assert_eq!(place.ok(&["run", "--bundle", bundle.path(), "p"]), "done\n");
    assert_eq!(std::fs::read_to_string(bundle.dir.join("rootfs/etc/new")).unwrap(), "kept\n");
    let text = output(
        &place,
        |bundle| bundle.config["root"]["readonly"] = json!(true),
        "touch /etc/new 2>&1; test -e /etc/new || echo none; touch /dev/x && echo dev",
    );
    assert!(text.contains("Read-only file system") && text.ends_with("none\ndev\n"), "{text}");
}

/// `podman cp` writes to the root of the mount namespace of the pid that it was given.
#[test]
fn engines_that_enter_the_namespace_find_the_root() {
    if cannot() || !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::make();
    let (kept, given) = (place.path().join("kept"), place.path().join("given"));
    std::fs::create_dir(&kept).unwrap();
    std::fs::create_dir(&given).unwrap();
    std::fs::write(given.join("file"), "from outside\n").unwrap();
    let mut bundle = place.bundle(&["sleep", "1000"]);
    // A link that leads out, if somebody follows it on the host.
    std::os::unix::fs::symlink(&kept, bundle.dir.join("rootfs/link")).unwrap();
    let there = bundle.dir.join("rootfs").join(kept.strip_prefix("/").unwrap()).join("in");
    std::fs::create_dir_all(there).unwrap();
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.push(json!({"destination": "/link/in", "source": given, "options": ["rbind", "ro"]}));
    bundle.write();
    place.start(&bundle, "seen");
    let root = std::path::PathBuf::from(format!("/proc/{}/root", place.state("seen")["pid"]));
    std::fs::write(root.join("etc/copied"), "copied\n").unwrap();
    assert_eq!(place.ok(&["exec", "seen", "cat", "/etc/copied"]), "copied\n");
    assert_eq!(std::fs::read_to_string(bundle.dir.join("rootfs/etc/copied")).unwrap(), "copied\n");
    let inside = root.join(kept.strip_prefix("/").unwrap()).join("in");
    assert_eq!(std::fs::read_to_string(inside.join("file")).unwrap(), "from outside\n");
    assert!(std::fs::write(inside.join("more"), "").is_err(), "a read-only volume was written to");
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0, "a link of the image was followed on the host");
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(bundle.path()), "a mount is seen on the host: {mounts}");
}

#[test]
fn mounts_masks_and_sysctls() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let shared = place.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("given"), "from outside\n").unwrap();
    let text = output(
        &place,
        |bundle| {
            let mounts = bundle.config["mounts"].as_array_mut().unwrap();
            mounts.push(json!({"destination": "/shared/rw", "type": "bind", "source": shared, "options": ["rbind", "rw"]}));
            mounts.push(json!({"destination": "/shared/ro", "type": "bind", "source": shared, "options": ["bind", "ro"]}));
            mounts.push(json!({"destination": "/one", "type": "bind", "source": shared.join("given"), "options": ["bind"]}));
            mounts.push(json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "mode=700"]}));
            bundle.config["linux"]["maskedPaths"] = json!(["/etc/passwd", "/shared/ro", "/nowhere"]);
            bundle.config["linux"]["readonlyPaths"] = json!(["/etc", "/nowhere"]);
        },
        "cat /one; echo back >/shared/rw/made; cat /etc/passwd; ls /shared/ro; \
         touch /etc/x 2>&1; ls -ld /t | cut -c1-10; test -c /dev/null && echo null; ls -l /dev/fd | grep -o 'proc.*'",
    );
    assert_eq!(std::fs::read_to_string(shared.join("made")).unwrap(), "back\n");
    assert!(text.starts_with("from outside\ntouch: "), "{text}");
    assert!(text.contains("Read-only file system\ndrwx------\nnull\nproc/self/fd\n"), "{text}");
}

/// As images of servers have it, whose logs are links to it.
#[test]
fn standard_streams_have_names() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let script = "echo a >/dev/stdout; echo b >>/dev/stdout; cat /dev/stdin; echo c 2>/dev/null >/dev/stderr";
    assert_eq!(output(&place, |_| {}, script), "a\nb\n");
}

#[test]
fn seccomp_profiles_are_kept() {
    if cannot() {
        return;
    }
    let place = Place::make();
    let text = output(
        &place,
        |bundle| {
            bundle.config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
            });
        },
        "mkdir /tmp/x 2>&1; (mkdir /tmp/y 2>&1); cat /proc/self/status | while read n v; do test $n = Seccomp: && echo $v; done; true",
    );
    let refused =
        |name: &str| format!("mkdir: can't create directory '/tmp/{name}': Operation not supported\n");
    assert_eq!(text, refused("x") + &refused("y") + "2\n");
}

#[test]
fn cgroups_are_made_limited_and_removed() {
    if cannot()
        || !rustix::process::geteuid().is_root()
        || std::fs::write("/sys/fs/cgroup/pids/tasks", "").is_err()
    {
        eprintln!("SKIPPED: needs root and a writable cgroup hierarchy of version 1");
        return;
    }
    let place = Place::make();
    let name = format!("/runsc-test-{}", std::process::id());
    let mut bundle = place.bundle(&["sleep", "1000"]);
    bundle.config["linux"]["cgroupsPath"] = json!(name);
    bundle.config["linux"]["resources"] =
        json!({"memory": {"limit": 268_435_456}, "cpu": {"shares": 512}, "pids": {"limit": 20}});
    bundle.write();
    place.start(&bundle, "limited");
    let read = |file: &str| {
        std::fs::read_to_string(format!("/sys/fs/cgroup/{file}")).map(|text| text.trim().to_owned())
    };
    let memory = format!("memory{name}/memory.limit_in_bytes");
    assert_eq!(read(&memory).unwrap(), "268435456");
    assert_eq!(read(&format!("cpu{name}/cpu.shares")).unwrap(), "512");
    let pid = place.state("limited")["pid"].to_string();
    assert!(read(&format!("memory{name}/cgroup.procs")).unwrap().lines().any(|line| line == pid));
    place.ok(&["update", "--memory", "134217728", "limited"]);
    assert_eq!(read(&memory).unwrap(), "134217728");
    place.ok(&["delete", "--force", "limited"]);
    assert!(read(&memory).is_err());
}

#[test]
fn threads_are_limited() {
    if cannot() || crate::is_foreign() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: an ordinary user may not make control groups");
        return;
    }
    let place = Place::make();
    let mut bundle = place.bundle(&["sh", "-c", "sleep 5 & sleep 5 & true & echo fine"]);
    for (limit, fits) in [(3, false), (20, true)] {
        bundle.config["linux"]["resources"] = json!({"pids": {"limit": limit}});
        bundle.write();
        let output = place.run(&["run", "--bundle", bundle.path(), "p"]);
        let text = crate::describe(&output);
        assert_eq!(output.status.success(), fits, "{text}");
        assert_eq!(text.contains("can't fork"), !fits, "{text}");
    }
}
