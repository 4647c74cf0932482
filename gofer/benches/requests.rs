//! What requests cost, to a confined Gofer in its own process, beside the same work done by the host directly.
//! `cargo bench -p gofer`; as root, or as an ordinary user who may have user namespaces.

#[path = "../tests/process/mod.rs"]
mod process;

use std::fs;
use std::hint::black_box;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use gofer_protocol::{
    Client, Handle, Leaf, Name, NodeKind, OpenFlags, Owner, Perm, Place, ReaddirFlags, UnlinkKind,
};
use host::spawn::Isolation;

/// Time for one measurement.
const TIME: Duration = Duration::from_millis(400);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "serve") {
        return process::serve(&args[1..]);
    }
    let isolation = if rustix::process::geteuid().is_root() { Isolation::Pid } else { Isolation::UserAndPid };
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b/c/d");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "contents").unwrap();
    fs::create_dir(dir.path().join("many")).unwrap();
    for i in 0..1000 {
        fs::write(dir.path().join(format!("many/entry-{i}")), "").unwrap();
    }
    let begun = Instant::now();
    let mut gofer = process::Setting { isolation }.start(&[(dir.path(), "rw")]);
    let client = gofer.client();
    println!("start to greeting: {} µs", begun.elapsed().as_micros());
    all(dir.path(), &client);
    // Only root may ask that of a process that is not dumpable.
    if isolation == Isolation::Pid {
        let rollup = gofer.proc("smaps_rollup");
        let field =
            |name: &str| rollup.lines().find(|line| line.starts_with(name)).unwrap_or(name).to_owned();
        println!("memory: {}, {}", field("Pss:"), field("Pss_Anon:"));
    }
    gofer.end(client);
    ExitCode::SUCCESS
}

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

/// Microseconds for one call of `work`.
fn time(mut work: impl FnMut()) -> f64 {
    (0..20).for_each(|_| work());
    let begun = Instant::now();
    let mut count = 0u32;
    while begun.elapsed() < TIME {
        (0..50).for_each(|_| work());
        count += 50;
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(count)
}

fn line(what: &str, ours: impl FnMut(), host: impl FnMut()) {
    println!("{what:48} {:8.2} µs   host {:8.2} µs", time(ours), time(host));
}

fn all(dir: &Path, client: &Client) {
    let root = client.attach(0).unwrap().handle;
    let path = ["a", "b", "c", "d", "file"].map(name);
    let deep = client.walk(root, &path, Leaf::Handle).unwrap();
    let handle = |at: usize| deep.found[at].handle.unwrap();
    let (d, file) = (handle(3), handle(4));
    let host_file = dir.join("a/b/c/d/file");
    let give_back = |handles: &[Option<Handle>]| handles.iter().flatten().for_each(|h| client.release(*h));

    line(
        "stat by handle",
        || {
            black_box(client.stat(file).unwrap());
        },
        || {
            black_box(fs::metadata(&host_file).unwrap().ino());
        },
    );
    line(
        "look at 1 place",
        || drop(client.look(&[Place { dir: d, name: name("file") }]).unwrap()),
        || {
            black_box(fs::symlink_metadata(&host_file).unwrap().ino());
        },
    );
    let places = [Place { dir: d, name: name("file") }; 100];
    line(
        "look at 100 places",
        || drop(client.look(&places).unwrap()),
        || {
            (0..100).for_each(|_| assert!(black_box(fs::symlink_metadata(&host_file)).is_ok()));
        },
    );
    line(
        "walk 1 name, attributes",
        || drop(client.walk(d, &path[4..], Leaf::Attr).unwrap()),
        || {
            black_box(fs::symlink_metadata(&host_file).unwrap().ino());
        },
    );
    line(
        "walk a missing name",
        || drop(client.walk(d, &[name("none")], Leaf::Attr).unwrap()),
        || {
            black_box(fs::symlink_metadata(dir.join("none")).is_err());
        },
    );
    let walk = |from, names: &[Name<'_>], leaf| {
        let walked = client.walk(from, names, leaf).unwrap();
        walked.found.iter().for_each(|looked| give_back(&[looked.handle]));
    };
    line("walk 1 name, handle", || walk(d, &path[4..], Leaf::Handle), || drop(fs::File::open(&host_file)));
    line("walk 5 names, handles", || walk(root, &path, Leaf::Handle), || drop(fs::File::open(&host_file)));
    line("walk 1 name and open", || walk(d, &path[4..], Leaf::Open), || drop(fs::File::open(&host_file)));
    line(
        "open by handle",
        || drop(client.open(file, OpenFlags::READ).unwrap()),
        || {
            drop(fs::File::open(&host_file));
        },
    );
    let (perm, me) = (Perm::of_mode(0o644), {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Owner::new(uid, gid).unwrap()
    });
    let new = dir.join("new");
    line(
        "create, close, unlink (2 requests)",
        || {
            let (_, node, _) = client.create(root, name("new"), perm, me, OpenFlags::WRITE).unwrap();
            client.unlink(root, name("new"), UnlinkKind::File).unwrap();
            give_back(&[Some(node.handle)]);
        },
        || {
            drop(fs::File::create(&new).unwrap());
            fs::remove_file(&new).unwrap();
        },
    );
    line(
        "mknod, unlink (2 requests)",
        || {
            let (node, _) = client.mknod(root, name("new"), NodeKind::Regular, perm, me).unwrap();
            client.unlink(root, name("new"), UnlinkKind::File).unwrap();
            give_back(&[Some(node.handle)]);
        },
        || {
            drop(fs::File::create(&new).unwrap());
            fs::remove_file(&new).unwrap();
        },
    );
    listing(dir, client, root);
    parallel(client, d);
}

fn listing(dir: &Path, client: &Client, root: Handle) {
    let list = |handle, flags| {
        let (mut cookie, mut count) = (0, 0);
        while !client
            .readdir(handle, cookie, flags, |entry| {
                cookie = entry.cookie;
                count += 1;
            })
            .unwrap()
        {}
        count
    };
    let walk = |n| client.walk(root, &[name(n)], Leaf::Handle).unwrap().found[0].handle.unwrap();
    let (many, a) = (walk("many"), walk("a"));
    let host_list = |path: &Path| black_box(fs::read_dir(path).unwrap().count());
    line(
        "list 1 entry",
        || assert_eq!(list(a, ReaddirFlags::empty()), 1),
        || assert_eq!(host_list(&dir.join("a")), 1),
    );
    line(
        "list 1000 entries",
        || assert_eq!(list(many, ReaddirFlags::empty()), 1000),
        || {
            host_list(&dir.join("many"));
        },
    );
    line(
        "list 1000 entries with attributes",
        || assert_eq!(list(many, ReaddirFlags::ATTR), 1000),
        || {
            let stat = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().metadata().unwrap().ino();
            black_box(fs::read_dir(dir.join("many")).unwrap().map(stat).sum::<u64>());
        },
    );
}

fn parallel(client: &Client, dir: Handle) {
    for threads in [1, 2, 4, 8] {
        let begun = Instant::now();
        let total = std::thread::scope(|scope| {
            let work = || {
                let mut count = 0u64;
                while begun.elapsed() < TIME {
                    client.walk(dir, &[name("file")], Leaf::Attr).unwrap();
                    count += 1;
                }
                count
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
        });
        println!("{threads} threads: {:.0} requests a second", total as f64 / TIME.as_secs_f64());
    }
}
