//! Installing seccomp filters. The programs are built elsewhere, from lists.

use std::io::{Error, Result};

use crate::check;

/// One instruction of a classic BPF program (`struct sock_filter`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump when true.
    pub jt: u8,
    /// Jump when false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Which threads a filter is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The calling thread, and those it makes later.
    Thread,
    /// All threads of the process.
    Process,
}

/// Sets `program` on top of the filters in force. Needs `no_new_privs` (see
/// [`prctl::set_no_new_privileges`](crate::prctl::set_no_new_privileges)) or CAP_SYS_ADMIN. There is no way back.
pub fn install(program: &[Instruction], scope: Scope) -> Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| Error::from_raw_os_error(libc::EINVAL))?;
    // The layouts of `Instruction` and `sock_filter` are the same; the kernel only reads.
    let filter = program.as_ptr().cast_mut().cast::<libc::sock_filter>();
    let program = libc::sock_fprog { len, filter };
    let flags = match scope {
        Scope::Thread => 0,
        Scope::Process => libc::SECCOMP_FILTER_FLAG_TSYNC,
    };
    // SAFETY: the structure and the instructions it points to are valid for the call.
    let done = check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    })?;
    match done {
        0 => Ok(()),
        // With TSYNC: the id of a thread that could not be brought along.
        _ => Err(Error::from_raw_os_error(libc::ESRCH)),
    }
}
