//! Cost of the VFS itself: cached walks, opening, reading. `cargo bench -p sentry --bench paths`.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use platform::MemoryFile;
use sentry::fs::{overlay, tmpfs};
use sentry::task::{Credentials, UserNamespace};
use sentry::vfs::open::How;
use sentry::vfs::resolve::{LookupFlags, lookup};
use sentry::vfs::{
    BufSink, BufSource, Caller, Dentry, FdTable, FsContext, Mount, MountFlags, MountNamespace, OnExec, Vfs,
};

fn measure(what: &str, mut each: impl FnMut()) {
    let rounds = 200_000;
    for _ in 0..1000 {
        each();
    }
    let start = Instant::now();
    for _ in 0..rounds {
        each();
    }
    println!("{what:40} {:7.1} ns", start.elapsed().as_nanos() as f64 / f64::from(rounds));
}

fn main() {
    let memory = MemoryFile::new(None).expect("a memory file");
    let vfs = Vfs::new(Arc::clone(&memory));
    let user_ns = UserNamespace::initial();
    for user in [0, 1000] {
        let creds = Arc::new(Credentials::for_user(user, user, &[4, 24, 27], Arc::clone(&user_ns)));
        let options = tmpfs::Options { max_bytes: None, max_inodes: None, mode: 0o777, ..Default::default() };
        let root = tmpfs::new_root(&memory, &options).expect("a tmpfs");
        println!("tmpfs, user {user}");
        run(&vfs, root, &creds, &user_ns);
        let root = tmpfs::new_root(&memory, &options).expect("a tmpfs");
        let root_creds = Arc::new(Credentials::for_user(0, 0, &[], Arc::clone(&user_ns)));
        let root = overlay::over_memory(vec![root], &vfs, &root_creds).expect("an overlay");
        println!("overlay of tmpfs, user {user}");
        run(&vfs, root, &creds, &user_ns);
    }
}

fn run(vfs: &Arc<Vfs>, root: Arc<Dentry>, creds: &Arc<Credentials>, user_ns: &Arc<UserNamespace>) {
    let namespace =
        MountNamespace::new(1, Mount::new(root, b"root", MountFlags::RELATIME), Arc::clone(user_ns));
    let fs = FsContext::new(namespace.root(), 0o022);
    let roots = fs.roots();
    let caller = Caller { creds, vfs, roots: &roots, umask: 0o022, task: None };
    let at = &roots.root;
    for dir in ["usr", "usr/lib", "usr/lib/x86_64"] {
        caller.mkdir(at, dir.as_bytes(), 0o755).expect("a directory");
    }
    let create = How::open(0o102, 0o644).expect("flags");
    let path = b"/usr/lib/file.so.6";
    let file = caller.open(at, path, &create).and_then(|opening| opening.now()).expect("a file");
    file.ops().write(&file, &mut BufSource::new(&[7; 8192]), &mut 0).expect("a write");
    measure("roots of the task", || {
        black_box(fs.roots());
    });
    measure("lookup of 3 components", || {
        black_box(lookup(&caller, at, path, LookupFlags::FOLLOW).expect("it is there"));
    });
    measure("lookup of a missing file", || {
        black_box(lookup(&caller, at, b"/usr/lib/none", LookupFlags::FOLLOW).err());
    });
    measure("stat of 3 components", || {
        let place = lookup(&caller, at, path, LookupFlags::FOLLOW).expect("it is there");
        black_box(place.inode().attr().expect("attributes"));
    });
    let read = How::open(0, 0).expect("flags");
    measure("open and close of 3 components", || {
        black_box(caller.open(at, path, &read).and_then(|opening| opening.now()).expect("it is there"));
    });
    let table = FdTable::new();
    measure("add to and remove from a table", || {
        let fd = table.add(Arc::clone(&file), 1024, OnExec::Keep).expect("room");
        black_box(table.remove(fd));
    });
    let fd = table.add(Arc::clone(&file), 1024, OnExec::Keep).expect("room");
    measure("get from a table", || {
        black_box(table.get(fd));
    });
    let mut buffer = [0; 4096];
    measure("read of 4096 bytes", || {
        file.ops().read(&file, &mut BufSink::new(&mut buffer), 0).expect("a read");
    });
    measure("write of 4096 bytes", || {
        file.ops().write(&file, &mut BufSource::new(&buffer), &mut 0).expect("a write");
    });
    measure("create and unlink", || {
        drop(caller.open(at, b"/usr/lib/new", &create).and_then(|opening| opening.now()).expect("a file"));
        caller.unlink(at, b"/usr/lib/new").expect("it was made");
    });
}
