//! Rows with handlers that are never called: only their signatures matter.

use abi::Errno;
use abi::mman::ProtFlags;
use abi::open::AtFlags;
use abi::stat::Stat;
use sentry::mm::{UserAddr, UserCStr};
use sentry::task::CurrentTask;
use sentry::{Restart, SysError, SysResult};
use zerocopy::IntoBytes;

use super::Entry;
use crate::arg::{
    DirFd, FcntlArg, FcntlCommand, Fd, Flags, InBuf, InOut, IoctlArg, IoctlRequest, MapArg, ModeIfCreate,
    OpenArg, Out, OutBuf, PollFds,
};
use crate::handler::{Never, args_of, result_of};
use crate::row::{Level, Row};
use crate::show::fake::FakeMemory;

macro_rules! row {
    ($name:ident($($arg:ty),*) -> $ret:ty) => {{
        fn $name(_: &mut CurrentTask, $(_: $arg),*) -> SysResult<$ret> {
            Err(Errno::ENOSYS.into())
        }
        static ROW: Row = Row {
            number: 0,
            name: stringify!($name),
            level: Level::Full,
            note: "",
            call: crate::dispatch::no_handler,
            args: Some(args_of(&$name)),
            result: result_of(&$name),
        };
        &ROW
    }};
}

fn line(row: &'static Row, args: &[u64], memory: &FakeMemory, result: SysResult<u64>) -> String {
    let mut six = [0xdead; 6];
    six[..args.len()].copy_from_slice(args);
    let entry = Entry::new(Some(row), 0, six, memory);
    let head = entry.head.clone();
    head + &entry.finish(&result, memory)
}

fn failed(errno: Errno) -> SysResult<u64> {
    Err(SysError::Errno(errno))
}

#[test]
fn open_shows_its_mode_where_it_counts() {
    let row = row!(openat(DirFd, UserCStr, OpenArg, ModeIfCreate) -> Fd);
    let memory = FakeMemory(vec![(0x1000, b"/etc/passwd\0".to_vec())]);
    let at = -100i64 as u64;
    assert_eq!(
        line(row, &[at, 0x1000, 0o2000000, 0o7777], &memory, Ok(3)),
        "openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 3"
    );
    assert_eq!(
        line(row, &[5, 0x1000, 0o101, 0o644], &memory, failed(Errno::ENOENT)),
        "openat(5, \"/etc/passwd\", O_WRONLY|O_CREAT, 0644) = -1 ENOENT (No such file or directory)"
    );
    assert_eq!(
        line(row, &[at, 0x10, 0], &memory, failed(Errno::EFAULT)),
        "openat(AT_FDCWD, 0x10, O_RDONLY) = -1 EFAULT (Bad address)"
    );
}

#[test]
fn buffers_are_shown_by_what_moved() {
    let memory = FakeMemory(vec![(0x1000, b"hello, world".to_vec())]);
    let read = row!(read(Fd, OutBuf, usize) -> usize);
    assert_eq!(line(read, &[3, 0x1000, 100], &memory, Ok(5)), "read(3, \"hello\", 100) = 5");
    assert_eq!(line(read, &[3, 0x1000, 100], &memory, Ok(0)), "read(3, \"\", 100) = 0");
    assert_eq!(
        line(read, &[3, 0x1000, 100], &memory, failed(Errno::EBADF)),
        "read(3, 0x1000, 100) = -1 EBADF (Bad file descriptor)"
    );
    let write = row!(write(Fd, InBuf, usize) -> usize);
    assert_eq!(line(write, &[1, 0x1000, 12], &memory, Ok(5)), "write(1, \"hello, world\", 12) = 5");
    assert_eq!(
        line(read, &[0, 0x1000, 1], &memory, Err(SysError::Restart(Restart::Sys))),
        "read(0, 0x1000, 1) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)"
    );
}

#[test]
fn structures_addresses_and_flags() {
    let mut memory = FakeMemory(vec![(0x1000, b"f\0".to_vec())]);
    let stat = Stat { st_mode: 0o100644, st_size: 7, ..Stat::default() };
    memory.0.push((0x2000, stat.as_bytes().to_vec()));
    let newfstatat = row!(newfstatat(DirFd, UserCStr, Out<Stat>, Flags<AtFlags>) -> ());
    assert_eq!(
        line(newfstatat, &[3, 0x1000, 0x2000, 0x100], &memory, Ok(0)),
        "newfstatat(3, \"f\", {st_mode=S_IFREG|0644, st_size=7, ...}, AT_SYMLINK_NOFOLLOW) = 0"
    );
    let mmap = row!(mmap(UserAddr, usize, Flags<ProtFlags>, MapArg, Fd, i64) -> UserAddr);
    assert_eq!(
        line(mmap, &[0, 4096, 3, 0x22, u64::MAX, 0], &memory, Ok(0x7f00_0000_0000)),
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000"
    );
    let exit_group = row!(exit_group(i32) -> Never);
    assert_eq!(line(exit_group, &[1], &memory, Ok(0)), "exit_group(1) = ?");
    let getpid = row!(getpid() -> i32);
    assert_eq!(line(getpid, &[], &memory, Ok(12)), "getpid() = 12");
}

#[test]
fn the_last_argument_may_depend_on_the_one_before() {
    let memory = FakeMemory(vec![(0x1000, vec![24, 0, 80, 0, 0, 0, 0, 0])]);
    let fcntl = row!(fcntl(Fd, FcntlCommand, FcntlArg) -> u64);
    assert_eq!(line(fcntl, &[3, 1], &memory, Ok(1)), "fcntl(3, F_GETFD) = 1");
    assert_eq!(line(fcntl, &[3, 2, 1], &memory, Ok(0)), "fcntl(3, F_SETFD, FD_CLOEXEC) = 0");
    assert_eq!(line(fcntl, &[3, 4, 0o4002], &memory, Ok(0)), "fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0");
    let ioctl = row!(ioctl(Fd, IoctlRequest, IoctlArg) -> u64);
    assert_eq!(
        line(ioctl, &[0, 0x5413, 0x1000], &memory, Ok(0)),
        "ioctl(0, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}) = 0"
    );
    assert_eq!(line(ioctl, &[0, 0x5451, 7], &memory, Ok(0)), "ioctl(0, FIOCLEX) = 0");
    assert_eq!(
        line(ioctl, &[0, 0x12345678, 7], &memory, failed(Errno::ENOTTY)),
        "ioctl(0, 0x12345678, 0x7) = -1 ENOTTY (Inappropriate ioctl for device)"
    );
}

#[test]
fn what_became_of_an_argument_comes_behind_the_result() {
    let memory = FakeMemory(vec![(0x1000, vec![3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4, 0, 4, 0])]);
    let poll = row!(poll(PollFds, u32, i32) -> i32);
    assert_eq!(
        line(poll, &[0x1000, 2, u64::MAX], &memory, Ok(1)),
        "poll([{fd=3, events=POLLIN}, {fd=4, events=POLLOUT}], 2, -1) = 1 ([{fd=4, revents=POLLOUT}])"
    );
    assert_eq!(line(poll, &[0x1000, 0, 5], &memory, Ok(0)), "poll([], 0, 5) = 0 (Timeout)");
    let length = row!(length(InOut<i32>) -> ());
    let before = Entry::new(Some(length), 0, [0x1000; 6], &memory);
    let changed = FakeMemory(vec![(0x1000, vec![7, 0, 0, 0])]);
    assert_eq!(before.head.clone() + &before.finish(&Ok(0), &changed), "length([3 => 7]) = 0");
    assert_eq!(line(length, &[0x1000], &memory, Ok(0)), "length([3]) = 0");
    assert_eq!(line(length, &[0], &memory, Ok(0)), "length(NULL) = 0");
    let adjust = row!(adjust(InOut<abi::time::Timeval>, i32) -> ());
    let memory = FakeMemory(vec![(0x1000, vec![0; 16])]);
    let before = Entry::new(Some(adjust), 0, [0x1000; 6], &memory);
    assert_eq!(before.head, "adjust(");
    let changed = FakeMemory(vec![(0x1000, vec![1; 16])]);
    let expected =
        "{tv_sec=0, tv_usec=0} => {tv_sec=72340172838076673, tv_usec=72340172838076673}, 4096) = 0";
    assert_eq!(before.finish(&Ok(0), &changed), expected);
}

#[test]
fn calls_without_a_handler_show_raw_arguments() {
    let memory = FakeMemory::default();
    let entry = Entry::new(None, 0x1ff, [1, 2, 3, 4, 5, 6], &memory);
    let head = entry.head.clone();
    assert_eq!(
        head + &entry.finish(&failed(Errno::ENOSYS), &memory),
        "syscall_0x1ff(0x1, 0x2, 0x3, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)"
    );
}
