//! The options of `do`, each by what the program sees of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{ORDINARY, as_each_user, root, runsc};

/// What a program prints, run with these options; it must succeed.
fn output(uid: u32, options: &[&str], program: &[&str]) -> String {
    let mut command = runsc();
    command.arg("do").args(options).arg("--").args(program).stdin(Stdio::null()).current_dir("/");
    if uid != rustix::process::geteuid().as_raw() {
        command.uid(uid).gid(uid);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{options:?} {program:?}: {:?}\n{stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A directory that everybody may write to.
fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    dir
}

#[test]
fn what_is_written_stays_in_the_sandbox() {
    let dir = open_dir();
    let file = dir.path().join("file");
    fs::write(&file, "old\n").unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    let script = format!(
        "cd {} && cat file && echo new >file && cat file && echo more >other && mkdir d && rm file && ls",
        dir.path().display()
    );
    as_each_user(|uid| {
        assert_eq!(output(uid, &[], &["sh", "-c", &script]), "old\nnew\nd\nother\n");
        assert_eq!(fs::read_to_string(&file).unwrap(), "old\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    });
}

#[test]
fn volumes_are_the_way_out() {
    as_each_user(|uid| {
        let dir = open_dir();
        fs::write(dir.path().join("in"), "from the host\n").unwrap();
        let source = dir.path().display();
        let script = "cat /vol/in; echo out >/vol/out && mkdir /vol/d && echo deep >/vol/d/file";
        assert_eq!(
            output(uid, &["--volume", &format!("{source}:/vol")], &["sh", "-c", script]),
            "from the host\n"
        );
        assert_eq!(fs::read_to_string(dir.path().join("out")).unwrap(), "out\n");
        assert_eq!(fs::read_to_string(dir.path().join("d/file")).unwrap(), "deep\n");

        let script = "cat /a/b/in; (echo x >/a/b/out) 2>/dev/null || echo refused; touch /a/b/new 2>&1";
        let mut command = runsc();
        command.args(["do", "--volume", &format!("{source}:/a/b:ro"), "--", "sh", "-c", script]);
        let told = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert_eq!(told, "from the host\nrefused\ntouch: cannot touch '/a/b/new': Read-only file system\n");
        assert_eq!(fs::read_to_string(dir.path().join("out")).unwrap(), "out\n");
    });
}

#[test]
fn a_single_file_is_a_volume_too() {
    as_each_user(|uid| {
        let dir = open_dir();
        let file = dir.path().join("file");
        fs::write(&file, "text\n").unwrap();
        let volume = format!("{}:/etc/motd-of-test:ro", file.display());
        assert_eq!(output(uid, &["--volume", &volume], &["cat", "/etc/motd-of-test"]), "text\n");
    });
}

#[test]
fn environment_and_working_directory() {
    as_each_user(|uid| {
        let told = output(uid, &["--env", "A=1", "--env", "B=two words"], &["sh", "-c", "echo $A-$B; pwd"]);
        assert_eq!(told, "1-two words\n/\n");
        assert_eq!(output(uid, &["--cwd", "/usr/bin"], &["pwd"]), "/usr/bin\n");
    });
    // The caller's, where nothing else is said.
    let told = runsc().args(["do", "pwd"]).current_dir("/usr").output().unwrap();
    assert_eq!(String::from_utf8(told.stdout).unwrap(), "/usr\n");
    let told =
        Command::new("nice").args(["-n", "3", env!("CARGO_BIN_EXE_runsc"), "do", "nice"]).output().unwrap();
    let own = Command::new("nice").args(["-n", "3", "nice"]).output().unwrap();
    assert_eq!(told.stdout, own.stdout);
    let told = runsc().args(["do", "--cwd", "/no/such", "pwd"]).output().unwrap();
    assert_eq!(told.status.code(), Some(125));
    let line = String::from_utf8(told.stderr).unwrap();
    assert!(line.starts_with("runsc: do: working directory /no/such: "), "{line}");
}

#[test]
fn host_name() {
    as_each_user(|uid| {
        assert_eq!(output(uid, &["--hostname", "elsewhere"], &["uname", "-n"]), "elsewhere\n");
    });
    let host = String::from_utf8(Command::new("uname").arg("-n").output().unwrap().stdout).unwrap();
    assert_eq!(output(rustix::process::geteuid().as_raw(), &[], &["uname", "-n"]), host);
}

#[test]
fn users() {
    let ids = ["sh", "-c", "id -u; id -g; id -G"];
    as_each_user(|uid| {
        let first = output(uid, &[], &["id", "-u"]);
        assert_eq!(first, format!("{uid}\n"));
        assert_eq!(output(uid, &["--user", "7:9"], &ids), "7\n9\n9\n");
        assert_eq!(output(uid, &["--user", "daemon"], &ids), "1\n1\n1\n");
        assert_eq!(output(uid, &["--user", "0"], &["id", "-u"]), "0\n");
    });
    // Rights are those of the user in the sandbox.
    if root() {
        let told =
            output(0, &["--user", "daemon"], &["sh", "-c", "cat /etc/shadow >/dev/null 2>&1 || echo denied"]);
        assert_eq!(told, "denied\n");
    }
    // An ordinary user sees whose files are, too, and may do with them what that user may.
    as_each_user(|uid| {
        let owner = ["stat", "-c", "%u:%g %a", "/etc/passwd", "/etc/shadow", "/"];
        let native = Command::new(owner[0]).args(&owner[1..]).output().unwrap();
        assert_eq!(output(uid, &[], &owner), String::from_utf8(native.stdout).unwrap());
    });
    // And root in an ordinary user's sandbox reads no more than that user.
    if root() {
        let script = "cat /etc/shadow >/dev/null 2>&1 || echo denied";
        assert_eq!(output(ORDINARY, &["--user", "0"], &["sh", "-c", script]), "denied\n");
    }
}

#[test]
fn another_root() {
    as_each_user(|uid| {
        let dir = open_dir();
        for made in ["bin", "etc"] {
            fs::create_dir(dir.path().join(made)).unwrap();
        }
        let Some(busybox) = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|p| Path::new(p).exists())
        else {
            eprintln!("*** SKIPPED: busybox (package busybox-static) is not installed");
            return;
        };
        fs::copy(busybox, dir.path().join("bin/busybox")).unwrap();
        let root = dir.path().to_str().unwrap();
        assert_eq!(output(uid, &["--root", root], &["/bin/busybox", "pwd"]), "/\n");
        let told = output(uid, &["--root", root], &["/bin/busybox", "ls", "/"]);
        assert!(told.contains("bin\n") && !told.contains("usr\n"), "{told}");
    });
}

#[test]
fn strace_goes_to_standard_error_or_the_log() {
    let output = runsc().args(["do", "--strace", "--", "cat", "/etc/hostname"]).output().unwrap();
    let lines = String::from_utf8(output.stderr).unwrap();
    assert!(lines.contains("openat(AT_FDCWD, \"/etc/hostname\", O_RDONLY) = 3"), "{lines}");
    assert!(lines.contains("exit_group(0)"), "{lines}");

    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = runsc();
    command.args(["do", "--strace", "--debug-log"]).arg(log.path()).args(["--", "true"]);
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let lines = fs::read_to_string(log.path()).unwrap();
    assert!(lines.contains("exit_group(0)") && lines.contains("start-up: "), "{lines}");
}

#[test]
fn a_profile_is_a_table_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("profile");
    let script = "cat /etc/hostname >/dev/null; exit 3";
    let mut command = runsc();
    command.args(["do", "--profile"]).arg(&out).args(["--", "sh", "-c", script]).stdin(Stdio::null());
    let done = command.output().unwrap();
    assert_eq!((done.status.code(), done.stderr), (Some(3), Vec::new()));
    let table = fs::read_to_string(out.with_extension("txt")).unwrap();
    for word in ["hand-over", "\nsh ", "\ncat ", "openat", "wait4", "below"] {
        assert!(table.contains(word), "no {word:?} in {table}");
    }
    let picture = fs::read_to_string(out.with_extension("svg")).unwrap();
    assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"), "{picture}");

    let nowhere = runsc().args(["do", "--profile", "/nowhere/at/all", "--", "true"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(125));
    let said = String::from_utf8(nowhere.stderr).unwrap();
    assert!(said.contains("--profile /nowhere/at/all.txt") && said.lines().count() == 1, "{said}");
}

#[test]
fn options_behind_the_program_are_its_own() {
    let told = runsc().args(["do", "echo", "--strace", "--help", "-u"]).output().unwrap();
    assert_eq!(String::from_utf8(told.stdout).unwrap(), "--strace --help -u\n");
    assert_eq!(told.stderr, b"");
}

/// Whiteouts, and marks that the Gofer may set.
#[test]
fn an_overlay_in_the_sandbox_can_write_to_a_volume() {
    if !root() {
        eprintln!("*** SKIPPED: mounting takes root in the sandbox");
        return;
    }
    let dir = open_dir();
    let script = "mkdir -p /tmp/o/l/d /tmp/o/l/e /tmp/o/m /v/u /v/w && cd /tmp/o && echo lower >l/f && echo a >l/d/a &&
        mount -t overlay o -o lowerdir=l,upperdir=/v/u,workdir=/v/w m && rm m/f && rm -r m/d && mkdir m/d && ls m/d &&
        echo new >m/e/new && umount m && mount -t overlay o -o lowerdir=l,upperdir=/v/u,workdir=/v/w m && ls m m/d";
    let volume = format!("{}:/v", dir.path().display());
    assert_eq!(output(0, &["--volume", &volume], &["sh", "-c", script]), "m:\nd\ne\n\nm/d:\n");
    let upper = dir.path().join("u");
    let kind = fs::symlink_metadata(upper.join("f")).unwrap().file_type();
    assert!(std::os::unix::fs::FileTypeExt::is_char_device(&kind));
    assert_eq!(fs::read_to_string(upper.join("e/new")).unwrap(), "new\n");
}

#[test]
fn an_image_can_be_the_root() {
    let dir = open_dir();
    let (tree, image) = (dir.path().join("tree"), dir.path().join("image"));
    let made =
        fs::create_dir_all(tree.join("bin")).and_then(|()| fs::copy("/bin/busybox", tree.join("bin/sh")));
    let mkfs = made.and_then(|_| Command::new("mkfs.erofs").args([&image, &tree]).output());
    if !mkfs.is_ok_and(|output| output.status.success()) {
        eprintln!("*** SKIPPED: no busybox, or no mkfs.erofs, to make an image with");
        return;
    }
    as_each_user(|uid| {
        let options = ["--rootfs-image", image.to_str().unwrap()];
        let script = "echo written >/tmp/new && read -r line </tmp/new && echo \"$line\" && echo /*";
        assert_eq!(output(uid, &options, &["/bin/sh", "-c", script]), "written\n/bin /dev /proc /sys /tmp\n");
    });
}
