//! Finding the program in the sandbox and starting it as the kernel's main process.

use std::sync::Arc;

use abi::Errno;
use abi::open::AtFlags;
use abi::resource::RLimit;
use abi::seccomp::SockFilter;
use abi::signal::{SigSet, Signal};
use sentry::fs::cgroupfs::Cgroup;
use sentry::loader::LoadError;
use sentry::seccomp::Program;
use sentry::task::{
    Container, ControllingTty, Credentials, Limits, Namespaces, Pid, Place, ProcessSpec, ThreadGroup,
};
use sentry::vfs::{Caller, FdTable, File, FsContext, open_exec};
use sentry::{Kernel, Result as KernelResult, Watcher};

use crate::config::{Process, Text};

/// Where a program is looked for when there is no PATH: execvp(3).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Why a program does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// There is no such file.
    Missing(Errno),
    /// There is, but it can't be executed.
    NotExecutable(Errno),
    /// Its headers are sound but its segments can't be mapped: Linux kills the process with this signal.
    Killed(Signal),
}

impl NotStarted {
    /// Why, and what to do.
    pub fn text(self) -> String {
        let (NotStarted::Missing(errno) | NotStarted::NotExecutable(errno)) = self else {
            return "its segments can't be mapped; the file is damaged or cut off".to_owned();
        };
        let why = errno.message().to_lowercase();
        let advice = match (self, errno) {
            (NotStarted::Missing(_), _) => "check the name, PATH and --root",
            (_, Errno::EACCES) => "check its mode and the rights to the directories above it",
            (_, Errno::ENOEXEC) => {
                "a script needs a first line such as #!/bin/sh, a program the x86-64 architecture"
            }
            (_, Errno::ENOENT) => "its interpreter or dynamic linker is missing in the sandbox",
            (_, Errno::E2BIG) => "fewer or shorter arguments and environment variables are needed",
            (_, Errno::EISDIR) => "give a file",
            _ => "see --strace",
        };
        format!("{why}; {advice}")
    }
}

/// What the program is given besides what [`Process`] says.
pub struct Surroundings {
    /// Its credentials.
    pub creds: Arc<Credentials>,
    /// Root and working directory.
    pub fs: Arc<FsContext>,
    /// Its standard streams.
    pub files: Arc<FdTable>,
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// The terminal, if any of its streams is one.
    pub tty: Option<Arc<dyn ControllingTty>>,
    /// Its identity, if that was made before it.
    pub pid: Option<Arc<Pid>>,
    /// What it belongs to.
    pub container: Arc<Container>,
    /// Its cgroups in the sandbox, where they are not the roots.
    pub cgroups: Vec<Arc<Cgroup>>,
    /// What it is to the sandbox.
    pub place: Place,
    /// Is told of its stops and its end.
    pub watcher: Watcher,
}

/// Starts the program.
pub fn start(
    kernel: &Arc<Kernel>,
    process: &Process,
    surroundings: Surroundings,
) -> Result<Arc<ThreadGroup>, NotStarted> {
    let roots = surroundings.fs.roots();
    let creds = Arc::clone(&surroundings.creds);
    let open = |path: &[u8]| -> KernelResult<Arc<File>> {
        let caller = Caller { creds: &creds, vfs: &kernel.vfs, roots: &roots, umask: 0, task: None };
        let opened = open_exec(&caller, &roots.cwd, path, AtFlags::empty());
        if let Err(errno) = &opened {
            tracing::debug!("program {}: {errno}", String::from_utf8_lossy(path));
        }
        opened
    };
    let name = process.args.first().map_or(&[][..], Text::as_bytes);
    let (path, file) = find(name, search_path(&process.env), &open)?;
    let seccomp = process.seccomp.as_deref().map(filter).transpose().map_err(NotStarted::NotExecutable)?;
    let bytes = |texts: &[Text]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let spec = ProcessSpec {
        file,
        open: &open,
        name: path,
        argv: bytes(&process.args),
        envp: bytes(&process.env),
        creds: Credentials::clone(&creds),
        limits: limits(&process.limits),
        mask: SigSet(process.blocked_signals),
        ignored: SigSet(process.ignored_signals),
        files: surroundings.files,
        fs: surroundings.fs,
        namespaces: surroundings.namespaces,
        tty: surroundings.tty,
        pid: surroundings.pid,
        container: surroundings.container,
        cgroups: surroundings.cgroups,
        oom_score_adj: process.oom_score_adj,
        nice: process.nice,
        seccomp,
        place: surroundings.place,
        watcher: surroundings.watcher,
    };
    kernel.start_process(spec).map_err(|error| match error {
        LoadError::Errno(errno) => NotStarted::NotExecutable(errno),
        LoadError::Fatal(signal) => NotStarted::Killed(signal),
    })
}

/// Whether there is such a program for this user: what a container's creation looks at, so that the engine is told before the
/// start.
pub fn look_for(
    kernel: &Kernel,
    process: &Process,
    fs: &FsContext,
    creds: &Arc<Credentials>,
) -> Result<(), NotStarted> {
    let roots = fs.roots();
    let caller = Caller { creds, vfs: &kernel.vfs, roots: &roots, umask: 0, task: None };
    let open = |path: &[u8]| open_exec(&caller, &roots.cwd, path, AtFlags::empty());
    let name = process.args.first().map_or(&[][..], Text::as_bytes);
    find(name, search_path(&process.env), &open).map(drop)
}

fn filter(instructions: &[(u16, u8, u8, u32)]) -> Result<Program, Errno> {
    let instructions = instructions.iter().map(|&(code, jt, jf, k)| SockFilter { code, jt, jf, k });
    Program::new(instructions.collect())
}

/// The value of PATH in an environment.
fn search_path(env: &[Text]) -> &[u8] {
    env.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH)
}

/// Opens the program as execvp(3) would find it: a name with a slash as it is, any other in the directories of
/// `search`. Also the path that it was found at.
fn find<F>(
    name: &[u8],
    search: &[u8],
    open: &dyn Fn(&[u8]) -> Result<F, Errno>,
) -> Result<(Vec<u8>, F), NotStarted> {
    if name.is_empty() {
        return Err(NotStarted::Missing(Errno::ENOENT));
    }
    if name.contains(&b'/') {
        return match open(name) {
            Ok(file) => Ok((name.to_vec(), file)),
            Err(errno @ (Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG)) => {
                Err(NotStarted::Missing(errno))
            }
            Err(errno) => Err(NotStarted::NotExecutable(errno)),
        };
    }
    let mut denied = None;
    for dir in search.split(|&byte| byte == b':') {
        // An empty entry is the working directory.
        let path = match dir {
            b"" => name.to_vec(),
            _ => [dir, b"/", name].concat(),
        };
        match open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(Errno::EACCES) => denied = Some(Errno::EACCES),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::ESTALE | Errno::ENODEV) => {}
            Err(errno) => return Err(NotStarted::NotExecutable(errno)),
        }
    }
    Err(denied.map_or(NotStarted::Missing(Errno::ENOENT), NotStarted::NotExecutable))
}

fn limits(inherited: &[(u32, u64, u64)]) -> Limits {
    let mut limits = Limits::default();
    for &(resource, soft, hard) in inherited {
        limits.set(resource, RLimit { rlim_cur: soft, rlim_max: hard });
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What [`find`] does with a host where these paths give these errors, and all others ENOENT.
    fn find_among(
        name: &str,
        search: &str,
        known: &[(&str, Result<(), Errno>)],
    ) -> Result<String, NotStarted> {
        let open = |path: &[u8]| {
            known.iter().find(|(p, _)| p.as_bytes() == path).map_or(Err(Errno::ENOENT), |(_, result)| *result)
        };
        find(name.as_bytes(), search.as_bytes(), &open).map(|(path, ())| String::from_utf8(path).unwrap())
    }

    #[test]
    fn the_path_is_searched_like_execvp_does() {
        let known =
            [("/a/x", Err(Errno::EACCES)), ("/b/x", Ok(())), ("y", Ok(())), ("/c/z", Err(Errno::EACCES))];
        let find = |name, search| find_among(name, search, &known);
        assert_eq!(find("x", "/a:/b"), Ok("/b/x".into()));
        assert_eq!(find("x", "/a"), Err(NotStarted::NotExecutable(Errno::EACCES)));
        assert_eq!(find("y", "/a::/b"), Ok("y".into()));
        assert_eq!(find("z", "/a:/c:/nowhere"), Err(NotStarted::NotExecutable(Errno::EACCES)));
        assert_eq!(find("w", "/a:/b"), Err(NotStarted::Missing(Errno::ENOENT)));
        assert_eq!(find("/a/x", "/b"), Err(NotStarted::NotExecutable(Errno::EACCES)));
        assert_eq!(find("./w", "/b"), Err(NotStarted::Missing(Errno::ENOENT)));
        assert_eq!(find("", "/b"), Err(NotStarted::Missing(Errno::ENOENT)));
    }

    #[test]
    fn messages_say_what_to_do() {
        let text = NotStarted::Missing(Errno::ENOENT).text();
        assert_eq!(text, "no such file or directory; check the name, PATH and --root");
    }
}
