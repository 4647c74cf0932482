//! What files tell about themselves, and vectors of buffers.

use abi::aio::{IOCB_COMMANDS, Iocb};
use abi::dirent::DIRENT_RECLEN_OFFSET;
use abi::fcntl::{FOwnerEx, Flock, LOCK_TYPES, OWNER_TYPES};
use abi::inotify::{InotifyEvent, InotifyMask};
use abi::ioctl::WinSize;
use abi::mount::{MountAttr, MountAttrFlags, MountFlags};
use abi::open::{OpenHow, ResolveFlags, SEEK_WHENCE};
use abi::stat::{FS_MAGIC, Stat, Statfs, StatfsFlags, Statx, StatxMask};
use abi::termios::{Termios, Termios2};
use abi::uio::IoVec;
use abi::xattr::{XattrArgs, XattrFlags};

use super::{Show, ShowCx, bits};

impl Show for Iocb {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{aio_lio_opcode=");
        bits::name(&mut cx.out, IOCB_COMMANDS, self.aio_lio_opcode);
        cx.write(format_args!(", aio_fildes={}, aio_buf=", self.aio_fildes as i32));
        cx.address(self.aio_buf);
        cx.write(format_args!(", aio_nbytes={}, aio_offset={}}}", self.aio_nbytes, self.aio_offset));
    }
}

impl Show for Stat {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{st_mode=");
        bits::mode(&mut cx.out, self.st_mode);
        match abi::stat::FileType::from_mode(self.st_mode) {
            Some(abi::stat::FileType::CharDevice | abi::stat::FileType::BlockDevice) => {
                cx.text(", st_rdev=");
                bits::device(&mut cx.out, self.st_rdev);
            }
            _ => cx.write(format_args!(", st_size={}", self.st_size)),
        }
        cx.text(", ...}");
    }
}

impl Show for Statx {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{stx_mask=");
        bits::flags::<StatxMask>(&mut cx.out, u64::from(self.stx_mask), "0");
        cx.write(format_args!(", stx_attributes={:#x}, stx_mode=", self.stx_attributes));
        bits::mode(&mut cx.out, u32::from(self.stx_mode));
        cx.write(format_args!(", stx_size={}, ...}}", self.stx_size));
    }
}

impl Show for Statfs {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{f_type=");
        bits::name(&mut cx.out, FS_MAGIC, self.f_type);
        cx.write(format_args!(
            ", f_bsize={}, f_blocks={}, f_bfree={}, f_bavail={}, f_files={}, f_ffree={}, ",
            self.f_bsize, self.f_blocks, self.f_bfree, self.f_bavail, self.f_files, self.f_ffree
        ));
        cx.write(format_args!("f_fsid={{val=[{:#x}, {:#x}]}}, ", self.f_fsid[0], self.f_fsid[1]));
        cx.write(format_args!("f_namelen={}, f_frsize={}, f_flags=", self.f_namelen, self.f_frsize));
        bits::flags::<StatfsFlags>(&mut cx.out, self.f_flags as u64, "0");
        cx.text("}");
    }
}

impl Show for MountAttr {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{attr_set=");
        bits::flags::<MountAttrFlags>(&mut cx.out, self.attr_set, "0");
        cx.text(", attr_clr=");
        bits::flags::<MountAttrFlags>(&mut cx.out, self.attr_clr, "0");
        cx.text(", propagation=");
        bits::flags::<MountFlags>(&mut cx.out, self.propagation, "0");
        cx.write(format_args!(", userns_fd={}}}", self.userns_fd as i64));
    }
}

impl Show for XattrArgs {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{value={:#x}, size={}, flags=", self.value, self.size));
        bits::flags::<XattrFlags>(&mut cx.out, u64::from(self.flags), "0");
        cx.text("}");
    }
}

impl Show for OpenHow {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{flags=");
        bits::open_flags(&mut cx.out, self.flags);
        if self.mode != 0 {
            cx.text(", mode=");
            bits::permissions(&mut cx.out, self.mode as u32);
        }
        cx.text(", resolve=");
        bits::flags::<ResolveFlags>(&mut cx.out, self.resolve, "0");
        cx.text("}");
    }
}

impl Show for Flock {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{l_type=");
        bits::name(&mut cx.out, LOCK_TYPES, self.l_type);
        cx.text(", l_whence=");
        bits::name(&mut cx.out, SEEK_WHENCE, self.l_whence as u32);
        cx.write(format_args!(", l_start={}, l_len={}, l_pid={}}}", self.l_start, self.l_len, self.l_pid));
    }
}

impl Show for FOwnerEx {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{type=");
        bits::name(&mut cx.out, OWNER_TYPES, self.r#type);
        cx.write(format_args!(", pid={}}}", self.pid));
    }
}

impl Show for WinSize {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!(
            "{{ws_row={}, ws_col={}, ws_xpixel={}, ws_ypixel={}}}",
            self.ws_row, self.ws_col, self.ws_xpixel, self.ws_ypixel
        ));
    }
}

impl Show for Termios {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!(
            "{{c_iflag={:#x}, c_oflag={:#x}, c_cflag={:#x}, c_lflag={:#x}, ...}}",
            self.c_iflag, self.c_oflag, self.c_cflag, self.c_lflag
        ));
    }
}

impl Show for Termios2 {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!(
            "{{c_iflag={:#x}, c_oflag={:#x}, c_cflag={:#x}, c_lflag={:#x}, ...}}",
            self.c_iflag, self.c_oflag, self.c_cflag, self.c_lflag
        ));
    }
}

impl Show for InotifyEvent {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{wd={}, mask=", self.wd));
        bits::flags::<InotifyMask>(&mut cx.out, u64::from(self.mask), "0");
        cx.write(format_args!(", cookie={}, len={}}}", self.cookie, self.len));
    }
}

/// Writes how many entries of getdents(2) or getdents64(2) there are in `bytes` bytes.
pub fn directory_entries(cx: &mut ShowCx<'_>, addr: u64, bytes: u64) {
    let mut entries = 0;
    let mut at = 0;
    while at < bytes {
        let length = cx.read_obj::<u16>(addr.wrapping_add(at + DIRENT_RECLEN_OFFSET as u64)).unwrap_or(0);
        if length == 0 {
            break;
        }
        entries += 1;
        at += u64::from(length);
    }
    let plural = if entries == 1 { "y" } else { "ies" };
    cx.write(format_args!("{addr:#x} /* {entries} entr{plural} */"));
}

/// Writes a vector of buffers; `bytes` of them in all are shown, as strings.
pub fn io_vec(cx: &mut ShowCx<'_>, addr: u64, count: u64, mut bytes: u64) {
    cx.array::<IoVec>(addr, count, |cx, vec| {
        cx.text("{iov_base=");
        cx.buffer(vec.iov_base, vec.iov_len.min(bytes));
        bytes = bytes.saturating_sub(vec.iov_len);
        cx.write(format_args!(", iov_len={}}}", vec.iov_len));
    });
}
