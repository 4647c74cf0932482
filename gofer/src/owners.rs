//! The true owners of files, for an ordinary user's Gofer.
//!
//! Such a Gofer lives in a user namespace where only its user's ids have names, and the host shows it every other owner
//! as the overflow id. A second process of the same user stays outside of that namespace and tells what it sees there:
//! it is sent a descriptor and maybe a name, and answers with statx(2). It can do nothing else ([`CALLS`]), opens nothing,
//! and ends with the Gofer. What it tells is what the user could see without any sandbox; what may be *done* with a file
//! the host still decides by the Gofer's own ids.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use gofer_protocol::socket::{NoMessage, receive, receive_fds, send};
use gofer_protocol::{Errno, FileId};
use host::seccomp::Scope;
use host::seccomp_program::{self, Otherwise, Verdict};
use libc::{PROT_EXEC, c_long};
use rustix::fs::{AtFlags, StatxFlags, statx};

use Verdict::{Allow, Only, Without};

use crate::config::Refused;
use crate::error::GoferError;

/// Bytes of a name, and one that stands before it so that no message is empty.
const QUESTION: usize = 256;

/// What is answered: device and inode number of the file that it was, user and group; all ones where it can't be looked at.
type Answer = [u64; 4];

/// Bytes of an answer.
const ANSWER: usize = size_of::<Answer>();

const UNKNOWN: Answer = [u64::MAX; 4];

fn encode(answer: Answer) -> [u8; ANSWER] {
    let mut bytes = [0; ANSWER];
    for (place, word) in bytes.chunks_exact_mut(8).zip(answer) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Answer> {
    let mut words = bytes.chunks_exact(8).map(|word| word.try_into().ok().map(u64::from_ne_bytes));
    let answer = [words.next()??, words.next()??, words.next()??, words.next()??];
    (bytes.len() == ANSWER).then_some(answer)
}

/// The way to ask, for all threads of a Gofer.
#[derive(Debug)]
pub struct Owners(Mutex<OwnedFd>);

impl Owners {
    /// Over this line, whose other end [`serve`] has.
    pub fn new(line: OwnedFd) -> Owners {
        Owners(Mutex::new(line))
    }

    /// User and group of `name` in the directory `fd`, or with an empty name of `fd` itself, if that is the file `id`. EIO when
    /// there is nobody any more to tell: nothing is made up.
    pub fn of(&self, fd: impl AsFd, name: &[u8], id: FileId) -> Result<Option<(u32, u32)>, Errno> {
        let mut question = [0; QUESTION];
        question.get_mut(1..=name.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(name);
        let mut answer = [0; ANSWER];
        let line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        send(&*line, &question[..=name.len()], &[fd.as_fd()]).map_err(|_| Errno::IO)?;
        let bytes = receive(&*line, &mut answer).map_err(|_| Errno::IO)?;
        drop(line);
        let [dev, ino, uid, gid] = decode(bytes).ok_or(Errno::IO)?;
        let ids = (u32::try_from(uid).ok(), u32::try_from(gid).ok());
        Ok(match ids {
            (Some(uid), Some(gid)) if (dev, ino) == (id.dev, id.ino) => Some((uid, gid)),
            _ => None,
        })
    }
}

/// The list of the process that answers: each call with its reason.
#[rustfmt::skip]
const CALLS: &[(c_long, Verdict, &str)] = &[
    (libc::SYS_recvmsg,         Allow, "the next question, with the file"),
    (libc::SYS_statx,           Allow, "whose it is"),
    (libc::SYS_sendmsg,         Allow, "the answer"),
    (libc::SYS_close,           Allow, "the file again"),
    (libc::SYS_fcntl,           Only(1, &[libc::F_GETFD as u32]), "Rust, built with debug assertions, looks whether what it closes is open"),
    (libc::SYS_brk,             Allow, "the allocator"),
    (libc::SYS_mmap,            Without(2, PROT_EXEC as u32), "the allocator"),
    (libc::SYS_munmap,          Allow, "the allocator"),
    (libc::SYS_madvise,         Allow, "the allocator"),
    (libc::SYS_restart_syscall, Allow, "the host restarts a wait after a stop"),
    (libc::SYS_rt_sigreturn,    Allow, "return from a handler"),
    (libc::SYS_sigaltstack,     Allow, "Rust takes the overflow stack down"),
    (libc::SYS_exit_group,      Allow, "the process ends"),
    (libc::SYS_write,           Only(0, &[2]), "the log"),
    (libc::SYS_writev,          Only(0, &[2]), "the log"),
    (libc::SYS_clock_gettime,   Allow, "times in the log, without a vDSO"),
];

/// Answers until the Gofer has closed its end. To be called by a process with one thread, in the namespace whose ids are to
/// be told.
pub fn serve(line: OwnedFd, refused: Refused) -> Result<(), GoferError> {
    confine(refused)?;
    let mut question = [0; QUESTION];
    let mut fds = Vec::with_capacity(1);
    loop {
        let name = match receive_fds(&line, &mut question, &mut fds) {
            Ok((bytes, _)) => &bytes[1..],
            Err(NoMessage::End) => return Ok(()),
            Err(error) => return Err(GoferError::Receive(error)),
        };
        let answer = fds.first().and_then(|fd| look(fd, name)).unwrap_or(UNKNOWN);
        fds.clear();
        if send(&line, &encode(answer), &[]).is_err() {
            return Ok(());
        }
    }
}

/// One name, never more: nothing is reached but what the Gofer has reached.
fn look(fd: &OwnedFd, name: &[u8]) -> Option<Answer> {
    if name.contains(&b'/') || name == b"." || name == b".." {
        return None;
    }
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let flags = if name.is_empty() { flags | AtFlags::EMPTY_PATH } else { flags };
    let found = statx(fd, name, flags, StatxFlags::UID | StatxFlags::GID | StatxFlags::INO).ok()?;
    let dev = u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor);
    Some([dev, found.stx_ino, found.stx_uid.into(), found.stx_gid.into()])
}

fn confine(refused: Refused) -> Result<(), GoferError> {
    let step = |step: &'static str| {
        move |error: std::io::Error| GoferError::Confine { step, error, advice: "please report this" }
    };
    host::capabilities::drop_all().map_err(step("dropping capabilities"))?;
    host::prctl::set_no_new_privileges().map_err(step("no_new_privs"))?;
    host::prctl::set_dumpable(false).map_err(step("making it undumpable"))?;
    std::env::set_current_dir("/").map_err(step("leaving the working directory"))?;
    let otherwise = match refused {
        Refused::Kill => Otherwise::Kill,
        Refused::Report => {
            host::refused_call::report().map_err(step("reporting refused calls"))?;
            Otherwise::Trap
        }
    };
    let calls: Vec<_> = CALLS.iter().map(|&(number, verdict, _reason)| (number as u32, verdict)).collect();
    host::seccomp::install(&seccomp_program::build(&calls, otherwise), Scope::Process)
        .map_err(step("seccomp filter"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    /// As [`serve`], without the confinement, which would be this test's as well.
    fn answer_one(line: &OwnedFd) {
        let (mut question, mut fds) = ([0; QUESTION], Vec::new());
        let (bytes, _) = receive_fds(line, &mut question, &mut fds).unwrap();
        let answer = fds.first().and_then(|fd| look(fd, &bytes[1..])).unwrap_or(UNKNOWN);
        send(line, &encode(answer), &[]).unwrap();
    }

    #[test]
    fn files_and_names_have_owners() {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let owners = Owners::new(a);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "").unwrap();
        let fd = std::fs::File::open(dir.path()).unwrap();
        let meta = |path: &str| {
            let meta = std::fs::metadata(dir.path().join(path)).unwrap();
            let dev = u64::from(libc::major(meta.dev())) << 32 | u64::from(libc::minor(meta.dev()));
            (FileId { dev, ino: meta.ino() }, (meta.uid(), meta.gid()))
        };
        let (of_dir, of_file) = (meta("."), meta("f"));
        let other = FileId { ino: of_file.0.ino + 1, ..of_file.0 };
        let ask = |name: &[u8], id| {
            std::thread::scope(|scope| {
                scope.spawn(|| answer_one(&b));
                owners.of(fd.as_fd(), name, id)
            })
        };
        assert_eq!(ask(b"", of_dir.0), Ok(Some(of_dir.1)));
        assert_eq!(ask(b"f", of_file.0), Ok(Some(of_file.1)));
        // Another file than was asked for, one that is not there, and ways out.
        assert_eq!(ask(b"f", other), Ok(None));
        assert_eq!(ask(b"g", of_file.0), Ok(None));
        assert_eq!(ask(b"..", of_file.0), Ok(None));
        assert_eq!(ask(b"./f", of_file.0), Ok(None));
        assert_eq!(owners.of(fd.as_fd(), &[b'n'; 256], of_file.0), Err(Errno::NAMETOOLONG));
        drop(b);
        assert_eq!(owners.of(fd.as_fd(), b"", of_dir.0), Err(Errno::IO));
    }

    #[test]
    fn every_call_has_a_reason_and_is_there_once() {
        let numbers: std::collections::BTreeSet<_> = CALLS.iter().map(|(number, ..)| *number).collect();
        assert_eq!(numbers.len(), CALLS.len());
        assert!(CALLS.iter().all(|(_, _, reason)| !reason.is_empty()));
    }
}
