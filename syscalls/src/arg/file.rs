//! Descriptors, modes, flags of opening, and what depends on a command.

use abi::open::{AT_FDCWD, AtFlags, O_TMPFILE_BIT, OpenFlags};
use abi::{fcntl, ioctl};
use sentry::mm::UserAddr;

use super::Arg;
use crate::show::{Show, ShowCx, bits};

/// A file descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fd(pub i32);

impl Arg for Fd {
    fn decode(raw: u64) -> Self {
        Fd(raw as i32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        <i32 as Arg>::show(cx, index);
    }
}

/// A directory to start from, or [`AT_FDCWD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirFd(pub i32);

impl Arg for DirFd {
    fn decode(raw: u64) -> Self {
        DirFd(raw as i32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        match cx.args[index] as i32 {
            AT_FDCWD => cx.text("AT_FDCWD"),
            fd => cx.write(format_args!("{fd}")),
        }
    }
}

/// Permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Arg for Mode {
    fn decode(raw: u64) -> Self {
        Mode(raw as u32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        bits::mode(&mut cx.out, cx.args[index] as u32);
    }
}

/// Permission bits of open(2), which count only where its flags, the argument before, create a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeIfCreate(pub u32);

impl Arg for ModeIfCreate {
    fn decode(raw: u64) -> Self {
        ModeIfCreate(raw as u32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        if cx.args[index - 1] as u32 & (OpenFlags::CREAT.bits() | O_TMPFILE_BIT) == 0 {
            cx.omit = true;
        } else {
            bits::permissions(&mut cx.out, cx.args[index] as u32);
        }
    }
}

/// A device number as mknod(2) takes it: 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dev(pub u32);

impl Arg for Dev {
    fn decode(raw: u64) -> Self {
        Dev(raw as u32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        bits::device(&mut cx.out, cx.args[index] & 0xffff_ffff);
    }
}

/// A user or group id; all ones, shown as -1, means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserId(pub u32);

impl UserId {
    /// `None` where the guest said -1.
    pub fn given(self) -> Option<u32> {
        (self.0 != u32::MAX).then_some(self.0)
    }
}

impl Arg for UserId {
    fn decode(raw: u64) -> Self {
        UserId(raw as u32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        match cx.args[index] as u32 {
            u32::MAX => cx.text("-1"),
            id => cx.write(format_args!("{id}")),
        }
    }
}

/// Access mode and flags of open(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenArg(pub u32);

impl Arg for OpenArg {
    fn decode(raw: u64) -> Self {
        OpenArg(raw as u32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        bits::open_flags(&mut cx.out, cx.args[index] & 0xffff_ffff);
    }
}

/// Flags of faccessat2(2): 0x200 is AT_EACCESS here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessFlags(pub u32);

impl Arg for AccessFlags {
    fn decode(raw: u64) -> Self {
        AccessFlags(raw as u32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let names = [
            (AtFlags::EACCESS, "AT_EACCESS"),
            (AtFlags::SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW"),
            (AtFlags::EMPTY_PATH, "AT_EMPTY_PATH"),
        ];
        let names = names.into_iter().map(|(flag, name)| (u64::from(flag.bits()), name));
        bits::named_bits(&mut cx.out, cx.args[index] & 0xffff_ffff, "0", names);
    }
}

/// Mode of fallocate(2).
pub type FallocFlags = super::Flags<abi::open::FallocateMode>;

/// Operation of flock(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlockOp(pub u32);

impl Arg for FlockOp {
    fn decode(raw: u64) -> Self {
        FlockOp(raw as u32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let names = fcntl::FLOCK_OPS.iter().map(|(bit, name)| (u64::from(*bit), *name));
        bits::named_bits(&mut cx.out, cx.args[index] & 0xffff_ffff, "0", names);
    }
}

/// The last argument of fcntl(2): what it is depends on the command, the argument before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FcntlArg(pub u64);

impl FcntlArg {
    /// As an address.
    pub fn addr(self) -> UserAddr {
        UserAddr(self.0)
    }
}

impl Arg for FcntlArg {
    fn decode(raw: u64) -> Self {
        FcntlArg(raw)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let raw = cx.args[index];
        match cx.args[index - 1] as u32 {
            fcntl::F_GETFD
            | fcntl::F_GETFL
            | fcntl::F_GETOWN
            | fcntl::F_GETSIG
            | fcntl::F_GETLEASE
            | fcntl::F_GETPIPE_SZ
            | fcntl::F_GET_SEALS
            | fcntl::F_CREATED_QUERY => cx.omit = true,
            fcntl::F_SETFD => bits::named_bits(
                &mut cx.out,
                raw & 0xffff_ffff,
                "0",
                [(u64::from(fcntl::FD_CLOEXEC), "FD_CLOEXEC")].into_iter(),
            ),
            fcntl::F_SETFL => bits::open_flags(&mut cx.out, raw & 0xffff_ffff),
            fcntl::F_ADD_SEALS => bits::flags::<fcntl::Seals>(&mut cx.out, raw & 0xffff_ffff, "0"),
            fcntl::F_NOTIFY => bits::flags::<fcntl::NotifyFlags>(&mut cx.out, raw & 0xffff_ffff, "0"),
            fcntl::F_SETLEASE => bits::name(&mut cx.out, fcntl::LOCK_TYPES, raw as i16),
            fcntl::F_SETSIG => crate::show::signal::signal_number(&mut cx.out, raw as u32),
            fcntl::F_SETLK | fcntl::F_SETLKW | fcntl::F_GETLK => pointed::<fcntl::Flock>(cx, raw),
            fcntl::F_OFD_SETLK | fcntl::F_OFD_SETLKW | fcntl::F_OFD_GETLK => pointed::<fcntl::Flock>(cx, raw),
            fcntl::F_SETOWN_EX => pointed::<fcntl::FOwnerEx>(cx, raw),
            fcntl::F_GETOWN_EX | fcntl::F_GETOWNER_UIDS => cx.address(raw),
            _ => cx.write(format_args!("{}", raw as i64)),
        }
    }
}

/// The last argument of ioctl(2): what it is depends on the request, the argument before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoctlArg(pub u64);

impl IoctlArg {
    /// As an address.
    pub fn addr(self) -> UserAddr {
        UserAddr(self.0)
    }
}

impl Arg for IoctlArg {
    // What a request gives is more telling than what was there before.
    const WHEN: crate::row::When = crate::row::When::Exit;
    fn decode(raw: u64) -> Self {
        IoctlArg(raw)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let raw = cx.args[index];
        match cx.args[index - 1] as u32 {
            ioctl::TIOCGWINSZ | ioctl::TIOCSWINSZ => pointed::<ioctl::WinSize>(cx, raw),
            ioctl::TCGETS | ioctl::TCSETS | ioctl::TCSETSW | ioctl::TCSETSF => {
                pointed::<abi::termios::Termios>(cx, raw)
            }
            ioctl::TCGETS2 | ioctl::TCSETS2 | ioctl::TCSETSW2 | ioctl::TCSETSF2 => {
                pointed::<abi::termios::Termios2>(cx, raw);
            }
            ioctl::TIOCGPGRP
            | ioctl::TIOCSPGRP
            | ioctl::TIOCGSID
            | ioctl::FIONREAD
            | ioctl::TIOCOUTQ
            | ioctl::FIONBIO
            | ioctl::FIOASYNC
            | ioctl::TIOCGPTN
            | ioctl::TIOCSPTLCK => pointed::<i32>(cx, raw),
            ioctl::FIOCLEX | ioctl::FIONCLEX | ioctl::TIOCNOTTY => cx.omit = true,
            ioctl::TIOCSCTTY | ioctl::TCSBRK | ioctl::TCXONC | ioctl::TCFLSH | ioctl::TIOCGPTPEER => {
                cx.write(format_args!("{}", raw as i64));
            }
            _ => cx.write(format_args!("{raw:#x}")),
        }
    }
}

fn pointed<T: Show>(cx: &mut ShowCx<'_>, addr: u64) {
    match if addr == 0 { None } else { cx.read_obj::<T>(addr) } {
        Some(value) => value.show(cx),
        None => cx.address(addr),
    }
}
