//! Starting a Gofer: the program that this is part of again, with `serve` as its first argument.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use gofer::{Config, Overflow, Refused, TreeConfig};
use gofer_protocol::Client;
use host::namespace::IdMap;
use host::process::{Child, Status};
use host::spawn::{Isolation, Spawn};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// Descriptors of the Gofer process.
const SOCKET: i32 = 3;
const GO: i32 = 4;

/// The Gofer: sources follow, each with its options.
pub fn serve(args: &[String]) -> ExitCode {
    host::prctl::set_parent_death_signal(9).unwrap();
    let socket = host::process::inherited_fd(SOCKET).unwrap();
    let go = host::process::inherited_fd(GO).unwrap();
    if rustix::io::read(&go, &mut [0; 1]) != Ok(1) {
        return ExitCode::FAILURE;
    }
    drop(go);
    let trees = args
        .chunks_exact(2)
        .map(|tree| TreeConfig {
            source: PathBuf::from(&tree[0]),
            read_only: tree[1].contains("ro"),
            hide: if tree[1].contains("hide") {
                ["/hidden", "none", "file"].map(PathBuf::from).into()
            } else {
                vec![]
            },
            host_sockets: tree[1].contains("sockets"),
            bound_sockets: false,
            host_fifos: false,
        })
        .collect();
    let config = Config { overflow: Overflow::Root, refused: Refused::Report, ..Config::new(trees) };
    match gofer::serve(&config, socket, None) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A Gofer process.
pub struct Gofer {
    pub child: Child,
    pub socket: Option<OwnedFd>,
    errors: std::io::PipeReader,
}

/// Who starts Gofers.
#[derive(Clone, Copy)]
pub struct Setting {
    /// How the process is started.
    pub isolation: Isolation,
}

impl Setting {
    /// Starts a Gofer over these trees.
    pub fn start(&self, trees: &[(&Path, &str)]) -> Gofer {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let (errors, stderr) = std::io::pipe().unwrap();
        let (child, write_go) = self.spawn(trees, theirs, stderr);
        rustix::io::write(&write_go, b"!").unwrap();
        Gofer { child, socket: Some(ours), errors }
    }

    pub fn spawn(&self, trees: &[(&Path, &str)], socket: OwnedFd, stderr: impl AsFd) -> (Child, OwnedFd) {
        let mut args = vec!["gofer".to_owned(), "serve".to_owned()];
        for (path, options) in trees {
            args.extend([path.to_str().unwrap().to_owned(), (*options).to_owned()]);
        }
        let args = args.into_iter().map(|arg| std::ffi::CString::new(arg).unwrap());
        let (read_go, write_go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let null = fs::File::options().read(true).write(true).open("/dev/null").unwrap();
        let mut spawn = Spawn::new(c"/proc/self/exe", args);
        spawn.isolation(self.isolation);
        for (fd, number) in
            [(null.as_fd(), 0), (null.as_fd(), 1), (stderr.as_fd(), 2), (socket.as_fd(), SOCKET)]
        {
            spawn.fd(fd, number).unwrap();
        }
        spawn.fd(read_go.as_fd(), GO).unwrap();
        let child = spawn.start().unwrap();
        if self.isolation == Isolation::UserAndPid {
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            let one = |id| [IdMap { inside: id, outside: id, count: 1 }];
            host::namespace::deny_setgroups(child.pid()).unwrap();
            host::namespace::write_uid_map(child.pid(), &one(uid)).unwrap();
            host::namespace::write_gid_map(child.pid(), &one(gid)).unwrap();
        }
        (child, write_go)
    }
}

impl Gofer {
    pub fn client(&mut self) -> Client {
        match Client::connect(self.socket.take().unwrap()) {
            Ok(client) => client,
            Err(error) => panic!("{error}: {}", self.errors()),
        }
    }

    /// What it wrote to standard error, once it has ended.
    pub fn errors(&mut self) -> String {
        let mut text = String::new();
        self.errors.read_to_string(&mut text).unwrap();
        text
    }

    /// Its end, which must come by itself.
    pub fn wait(&mut self) -> Status {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "the gofer does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Closes the connection; it must have had no trouble.
    pub fn end(mut self, client: Client) {
        drop(client);
        let status = self.wait();
        let errors = self.errors();
        assert_eq!((status, errors.as_str()), (Status::Exited(0), ""));
    }

    /// A file of its directory in /proc.
    pub fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.pid());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

impl Drop for Gofer {
    fn drop(&mut self) {
        let _ = self.child.kill(9);
    }
}
