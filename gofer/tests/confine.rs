//! The Gofer as a process of its own, confined. The test program starts itself again as the Gofer (`serve`), as a parent
//! that dies (`orphan`), and as an ordinary user's test program (`user`).

mod process;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use gofer_protocol::{
    Changes, Client, Errno, FileType, Leaf, Name, NewTime, NodeKind, OpenFlags, Owner, Perm, Place,
    ReaddirFlags, RenameFlags, SetMode, SocketKind, SyncKind, Target, UnlinkKind, XattrName,
};
use host::process::Status;
use host::spawn::Isolation;
use process::{Setting, serve};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// An ordinary user.
const USER: u32 = 12_345;

type Case = (&'static str, fn(&Setting));

const CASES: &[Case] = &[
    ("every_operation_passes_the_filter", every_operation),
    ("nothing_else_is_in_reach", nothing_else),
    ("hidden_directories_are_empty", hidden),
    ("mounts_below_a_tree_are_served", mounts_below),
    ("read_only_trees_are_read_only_mounts", read_only),
    ("it_ends_with_the_connection", ends_with_connection),
    ("it_ends_with_its_parent", ends_with_parent),
    ("a_start_that_can_not_be_is_an_error", failing_start),
    ("owners_without_a_name", overflow),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("serve") => serve(&args[1..]),
        Some("orphan") => orphan(&args[1..]),
        Some("user") => run(&args[1..], &Setting { isolation: Isolation::UserAndPid }),
        Some("--list") => {
            CASES.iter().for_each(|(name, _)| println!("{name}: test"));
            ExitCode::SUCCESS
        }
        _ => all(&args),
    }
}

fn all(args: &[String]) -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED the cases as root: this is not root");
        return as_user(args, &mut Command::new("/proc/self/exe"));
    }
    let status = run(args, &Setting { isolation: Isolation::Pid });
    if status != ExitCode::SUCCESS {
        return status;
    }
    // The same as an ordinary user, who may have to be let through to this program.
    let exe = std::env::current_exe().unwrap();
    as_user(args, Command::new(exe).uid(USER).gid(USER))
}

fn as_user(args: &[String], command: &mut Command) -> ExitCode {
    let probe = Command::new("unshare").args(["-Ur", "true"]).stderr(std::process::Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED the cases as an ordinary user: the host allows no user namespaces");
        return ExitCode::SUCCESS;
    }
    println!("as an ordinary user:");
    match command.arg("user").args(args).env("RUST_BACKTRACE", "0").status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("SKIPPED the cases as an ordinary user: this program can't be executed: {error}");
            ExitCode::SUCCESS
        }
    }
}

fn run(args: &[String], setting: &Setting) -> ExitCode {
    let wanted = args.iter().find(|arg| !arg.starts_with('-'));
    let mut failed = false;
    for (name, case) in
        CASES.iter().filter(|(name, _)| wanted.is_none_or(|wanted| name.contains(wanted.as_str())))
    {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(setting))).is_ok();
        println!("test {name} ... {}", if done { "ok" } else { "FAILED" });
        failed |= !done;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

fn me() -> Owner {
    Owner::new(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()).unwrap()
}

fn every_operation(setting: &Setting) {
    let dir = tree();
    symlink("target", dir.path().join("link")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let mut gofer = setting.start(&[(dir.path(), "sockets")]);
    let c = gofer.client();
    let root = c.attach(0).unwrap().handle;
    let (perm, rw) = (Perm::of_mode(0o4644), OpenFlags::READ | OpenFlags::WRITE);
    let (fd, file, _) = c.create(root, name("file"), perm, me(), rw).unwrap();
    assert_eq!(file.attr.perm, perm);
    rustix::io::write(&fd, b"text").unwrap();
    let (sub, _) = c.mkdir(root, name("dir"), Perm::of_mode(0o2755), me()).unwrap();
    c.mknod(sub.handle, name("fifo"), NodeKind::Fifo, perm, me()).unwrap();
    c.symlink(sub.handle, name("link"), me(), Target::new(b"x").unwrap()).unwrap();
    // Not every file system has it.
    if let Ok((fd, node)) = c.create_unnamed(root, Perm::of_mode(0o600), me()) {
        rustix::io::write(&fd, b"unnamed").unwrap();
        c.link(node.handle, sub.handle, name("named")).unwrap();
    }
    c.link(file.handle, sub.handle, name("hard")).unwrap();
    assert_eq!(c.walk(root, &[name("dir"), name("hard")], Leaf::Open).unwrap().found.len(), 2);
    assert_eq!(c.walk(root, &[name("link")], Leaf::Attr).unwrap().target.unwrap(), b"target");
    let link = c.walk(root, &[name("link")], Leaf::Handle).unwrap().found[0].handle.unwrap();
    assert_eq!(c.readlink(link).unwrap(), b"target");
    assert!(c.look(&[Place { dir: root, name: name("file") }]).unwrap()[0].is_ok());
    c.stat(file.handle).unwrap();
    c.open(file.handle, rw | OpenFlags::TRUNCATE).unwrap();
    for flags in [ReaddirFlags::empty(), ReaddirFlags::ATTR, ReaddirFlags::DIR_HANDLES] {
        let mut count = 0;
        let mut last = 0;
        c.readdir(sub.handle, 0, flags, |entry| {
            count += 1;
            last = entry.cookie;
        })
        .unwrap();
        assert!(count >= 3);
        c.readdir(sub.handle, last, flags, |_| {}).unwrap();
    }
    let changes = Changes {
        size: Some(2),
        uid: Some(me().uid()),
        gid: Some(me().gid()),
        perm: Some(Perm::of_mode(0o600)),
        atime: Some(NewTime::Now),
        mtime: Some(NewTime::Now),
    };
    assert_eq!(c.set_attr(file.handle, changes).unwrap().size, 2);
    c.statfs(root).unwrap();
    let user = XattrName::new(b"user.test").unwrap();
    if c.set_xattr(file.handle, user, SetMode::Any, b"v").is_ok() {
        assert_eq!(c.get_xattr(file.handle, user).unwrap(), b"v");
        assert!(!c.list_xattr(file.handle).unwrap().is_empty());
        c.remove_xattr(file.handle, user).unwrap();
    }
    for kind in [SyncKind::All, SyncKind::Data, SyncKind::FileSystem] {
        c.sync(file.handle, kind).unwrap();
        c.sync(sub.handle, kind).unwrap();
    }
    let socket = c.walk(root, &[name("socket")], Leaf::Handle).unwrap().found[0].handle.unwrap();
    drop(c.connect_socket(socket, SocketKind::Stream).unwrap());
    drop(listener);
    let (old, new) =
        (Place { dir: sub.handle, name: name("hard") }, Place { dir: root, name: name("moved") });
    c.rename(old, new, RenameFlags::NOREPLACE).unwrap();
    c.unlink(root, name("moved"), UnlinkKind::File).unwrap();
    assert_eq!(c.unlink(root, name("dir"), UnlinkKind::Directory).err(), Some(Errno::NOTEMPTY));
    // Many threads, more than there are channels.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..200).for_each(|_| drop(c.walk(root, &[name("file")], Leaf::Open).unwrap())));
        }
    });
    let handles = c.max_handles();
    assert!(handles > 500, "{handles}");
    c.release(sub.handle);
    c.flush();
    gofer.end(c);
}

fn nothing_else(setting: &Setting) {
    let dir = tree();
    fs::write(dir.path().join("inside"), "").unwrap();
    let other = tree();
    let mut gofer = setting.start(&[(dir.path(), "rw"), (other.path(), "ro")]);
    let client = gofer.client();

    if setting.isolation == Isolation::Pid {
        // Only root may look into a process that is not dumpable.
        let root = PathBuf::from(format!("/proc/{}/root", gofer.child.pid()));
        let mut names: Vec<_> =
            fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["0", "1", "fd"]);
        assert_eq!(fs::read_dir(root.join("0")).unwrap().count(), 1);
        let mounts = gofer.proc("mountinfo");
        let mut lines: Vec<(&str, &str)> = mounts
            .lines()
            .map(|line| {
                let mut fields = line.split(' ').skip(4);
                (fields.next().unwrap(), fields.next().unwrap())
            })
            .collect();
        lines.sort();
        let expected = [("/", "ro,"), ("/0", "rw,nosuid,nodev"), ("/1", "ro,nosuid,nodev"), ("/fd", "")];
        assert_eq!(lines.len(), expected.len(), "{mounts}");
        for ((point, options), (expected_point, expected_options)) in lines.into_iter().zip(expected) {
            assert!(point == expected_point && options.starts_with(expected_options), "{mounts}");
            assert!(!expected_options.contains("nodev") || options.contains("nosymfollow"), "{mounts}");
        }
        let caps = |field: &str| {
            let status = gofer.proc("status");
            let line = status.lines().find(|line| line.starts_with(field)).unwrap().to_owned();
            u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
        };
        let kept = 1 << 31 | 0b11011;
        assert_eq!(
            (caps("CapPrm") & !kept, caps("CapBnd") & !kept, caps("CapInh"), caps("CapAmb")),
            (0, 0, 0, 0)
        );
    }
    let status = gofer.proc("status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_once(':').unwrap().1.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), (vec!["1".to_owned()], vec!["2".to_owned()]));
    assert_eq!(field("NSpid").last().unwrap(), "1");
    assert_eq!(field("Threads"), ["4"]);
    // Slots of the table of descriptors: to get more later takes milliseconds.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX);
    assert!(field("FDSize")[0].parse::<u64>().unwrap() >= limit.min(4096), "{status}");
    let namespace = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    for kind in ["mnt", "pid", "ipc", "uts", "net", "cgroup"] {
        let own = namespace(&gofer.child.pid().to_string(), kind);
        assert_ne!(own, namespace("self", kind), "{kind}");
    }
    gofer.end(client);
}

fn hidden(setting: &Setting) {
    let dir = tree();
    fs::create_dir(dir.path().join("hidden")).unwrap();
    fs::write(dir.path().join("hidden/file"), "").unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    fs::create_dir(dir.path().join("shown")).unwrap();
    let mut gofer = setting.start(&[(dir.path(), "hide")]);
    let c = gofer.client();
    let root = c.attach(0).unwrap().handle;
    let walked = c.walk(root, &[name("hidden"), name("file")], Leaf::Handle).unwrap();
    assert_eq!((walked.found.len(), walked.error), (1, Some(Errno::NOENT)));
    let hidden = walked.found[0].handle.unwrap();
    assert!(c.readdir(hidden, 0, ReaddirFlags::empty(), |_| panic!("an entry")).unwrap());
    assert_eq!(c.mkdir(hidden, name("x"), Perm::of_mode(0o755), me()).err(), Some(Errno::ROFS));
    assert_eq!(c.walk(root, &[name("shown")], Leaf::Handle).unwrap().error, None);
    assert_eq!(c.walk(root, &[name("file")], Leaf::Handle).unwrap().error, None);
    gofer.end(c);
    // It is only hidden.
    assert!(dir.path().join("hidden/file").exists());
}

fn mounts_below(setting: &Setting) {
    // The host's root has mounts below it on every system.
    let mut gofer = setting.start(&[(Path::new("/"), "ro")]);
    let c = gofer.client();
    let root = c.attach(0).unwrap();
    let walked = c.walk(root.handle, &[name("proc"), name("sys")], Leaf::Attr).unwrap();
    assert_eq!(walked.error, None);
    assert_ne!(walked.found[0].attr.id.dev, root.attr.id.dev);
    // Magic links of the host's /proc are links like any other.
    let walked =
        c.walk(root.handle, &[name("proc"), name("1"), name("root"), name("etc")], Leaf::Attr).unwrap();
    assert!(walked.found.len() <= 3);
    // Its devices are there, and not to be opened.
    let walked = c.walk(root.handle, &[name("dev"), name("null")], Leaf::Handle).unwrap();
    let null = walked.found[1];
    assert_eq!(null.attr.kind, FileType::CharDevice);
    assert_eq!(c.open(null.handle.unwrap(), OpenFlags::READ).err(), Some(Errno::ACCESS));
    gofer.end(c);
}

fn read_only(setting: &Setting) {
    let dir = tree();
    fs::write(dir.path().join("file"), "").unwrap();
    let file = dir.path().join("file");
    let mut gofer = setting.start(&[(dir.path(), "ro"), (&file, "ro"), (&file, "rw")]);
    let c = gofer.client();
    let [root, ro, rw] = [0, 1, 2].map(|tree| c.attach(tree).unwrap());
    assert_eq!(c.mkdir(root.handle, name("d"), Perm::of_mode(0o755), me()).err(), Some(Errno::ROFS));
    assert_eq!((ro.attr.kind, rw.attr.kind), (FileType::Regular, FileType::Regular));
    assert_eq!(c.open(ro.handle, OpenFlags::WRITE).err(), Some(Errno::ROFS));
    let (fd, _) = c.open(rw.handle, OpenFlags::WRITE).unwrap();
    rustix::io::write(&fd, b"written").unwrap();
    assert_eq!(c.stat(ro.handle).unwrap().size, 7);
    gofer.end(c);
}

fn ends_with_connection(setting: &Setting) {
    let dir = tree();
    let mut gofer = setting.start(&[(dir.path(), "rw")]);
    let client = gofer.client();
    let root = client.attach(0).unwrap().handle;
    // In the middle of requests.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while client.walk(root, &[name("none")], Leaf::Attr).is_ok() {}
                assert_eq!(client.stat(root).err(), Some(Errno::IO));
            });
        }
        std::thread::sleep(Duration::from_millis(50));
        gofer.child.kill(9).unwrap();
    });
    assert!(client.death().is_some());
    assert_eq!(gofer.wait(), Status::Signaled(9, false));

    let mut gofer = setting.start(&[(dir.path(), "rw")]);
    drop(gofer.socket.take());
    assert_eq!(gofer.wait(), Status::Exited(0));
}

fn ends_with_parent(setting: &Setting) {
    let dir = tree();
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let isolation = if setting.isolation == Isolation::Pid { "root" } else { "user" };
    let mut parent = Command::new("/proc/self/exe")
        .args(["orphan", isolation, dir.path().to_str().unwrap()])
        .stdin(std::process::Stdio::from(theirs))
        .spawn()
        .unwrap();
    let client = Client::connect(ours).unwrap();
    let root = client.attach(0).unwrap().handle;
    parent.kill().unwrap();
    parent.wait().unwrap();
    let begun = Instant::now();
    while client.stat(root).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the gofer outlives its parent");
    }
}

/// Starts a Gofer with standard input as its connection, and waits to be killed.
fn orphan(args: &[String]) -> ExitCode {
    let isolation = if args[0] == "root" { Isolation::Pid } else { Isolation::UserAndPid };
    let socket = rustix::io::dup(rustix::stdio::stdin()).unwrap();
    let (_child, go) = Setting { isolation }.spawn(&[(Path::new(&args[1]), "rw")], socket, std::io::stderr());
    rustix::io::write(&go, b"!").unwrap();
    std::thread::sleep(Duration::from_secs(60));
    ExitCode::FAILURE
}

fn failing_start(setting: &Setting) {
    let mut gofer = setting.start(&[(Path::new("/nonexistent/tree"), "rw")]);
    assert_eq!(gofer.wait(), Status::Exited(1));
    let errors = gofer.errors();
    assert!(errors.contains("opening /nonexistent/tree: No such file"), "{errors}");
    assert!(Client::connect(gofer.socket.take().unwrap()).is_err());

    // Not in a PID namespace of its own.
    let dir = tree();
    let mut gofer = Setting { isolation: Isolation::Inherited }.start(&[(dir.path(), "rw")]);
    assert_eq!(gofer.wait(), Status::Exited(1));
    assert!(gofer.errors().contains("PID namespace"));
}

fn overflow(setting: &Setting) {
    let dir = tree();
    let mut gofer = setting.start(&[(Path::new("/"), "ro"), (dir.path(), "rw")]);
    let c = gofer.client();
    // Root's on the host, and so it shows, whoever asks.
    let root = c.attach(0).unwrap();
    assert_eq!((root.attr.uid, fs::metadata("/").unwrap().uid()), (0, 0));
    let mine = c.attach(1).unwrap();
    assert_eq!((mine.attr.uid, mine.attr.gid), (me().uid(), me().gid()));
    if setting.isolation == Isolation::UserAndPid {
        let perm = Perm::of_mode(0o644);
        // For the sandbox's root: it is the user's, since it can be nobody else's.
        let (node, _) = c.mkdir(mine.handle, name("d"), perm, Owner::new(0, 0).unwrap()).unwrap();
        assert_eq!((node.attr.uid, node.attr.gid), (me().uid(), me().gid()));
        let other = Owner::new(1, 1).unwrap();
        assert_eq!(c.mkdir(mine.handle, name("e"), perm, other).err(), Some(Errno::PERM));
        assert_eq!(c.walk(mine.handle, &[name("e")], Leaf::Attr).unwrap().error, Some(Errno::NOENT));
        let changes = Changes { uid: Some(1), ..Changes::default() };
        assert_eq!(c.set_attr(node.handle, changes).err(), Some(Errno::PERM));
    }
    gofer.end(c);
}
