//! What the system tells about itself, and random numbers.

use abi::Errno;
use abi::capability::{CAP_SYS_ADMIN, CAP_SYS_BOOT, CAP_SYSLOG};
use abi::elf::Personality;
use abi::sysinfo::{GetrandomFlags, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, SysInfo};
use abi::utsname::{UTS_LEN, UtsName};
use sentry::system::{MACHINE, RELEASE, RELEASE_26, SYSNAME, VERSION, fill_random};
use sentry::task::CurrentTask;
use sentry::{Restart, SysError, SysResult};
use std::sync::atomic::Ordering;
use zerocopy::FromZeros;

use crate::arg::{Flags, InBuf, Out, OutBuf, PersonalityArg, RebootCommand};

/// uname(2)
pub fn uname(task: &mut CurrentTask, to: Out<UtsName>) -> SysResult<()> {
    let mut name = UtsName::new_zeroed();
    let uts = &task.namespaces().uts;
    let old = task.personality.load(Ordering::Relaxed) & Personality::UNAME26.bits() != 0;
    put(&mut name.sysname, SYSNAME.as_bytes());
    put(&mut name.nodename, &uts.hostname());
    put(&mut name.release, if old { RELEASE_26 } else { RELEASE }.as_bytes());
    put(&mut name.version, VERSION.as_bytes());
    put(&mut name.machine, MACHINE.as_bytes());
    put(&mut name.domainname, &uts.domainname());
    task.write_obj(*to, &name)?;
    Ok(())
}

/// A name with at least one NUL behind it.
fn put(field: &mut [u8; UTS_LEN], name: &[u8]) {
    let len = name.len().min(UTS_LEN - 1);
    field[..len].copy_from_slice(&name[..len]);
}

/// The name that sethostname(2) and setdomainname(2) are given.
fn new_uts_name(task: &CurrentTask, from: InBuf, len: i32) -> Result<Vec<u8>, Errno> {
    if !task.own_creds().has_cap_in(CAP_SYS_ADMIN, &task.namespaces().uts.user_ns) {
        return Err(Errno::EPERM);
    }
    if len < 0 || len as usize >= UTS_LEN {
        return Err(Errno::EINVAL);
    }
    let mut name = vec![0; len as usize];
    task.copy_in(*from, &mut name)?;
    // What is behind a NUL can't be seen.
    name.truncate(name.iter().position(|b| *b == 0).unwrap_or(name.len()));
    Ok(name)
}

/// sethostname(2)
pub fn sethostname(task: &mut CurrentTask, name: InBuf, len: i32) -> SysResult<()> {
    let name = new_uts_name(task, name, len)?;
    task.namespaces().uts.set_hostname(name);
    Ok(())
}

/// setdomainname(2)
pub fn setdomainname(task: &mut CurrentTask, name: InBuf, len: i32) -> SysResult<()> {
    let name = new_uts_name(task, name, len)?;
    task.namespaces().uts.set_domainname(name);
    Ok(())
}

/// sysinfo(2)
pub fn sysinfo(task: &mut CurrentTask, to: Out<SysInfo>) -> SysResult<()> {
    let kernel = task.kernel();
    let memory = kernel.memory_info();
    let info = SysInfo {
        uptime: (kernel.boot_ns() / 1_000_000_000) as i64,
        totalram: memory.total,
        freeram: memory.free,
        procs: kernel.task_count().min(u64::from(u16::MAX)) as u16,
        mem_unit: 1,
        ..SysInfo::default()
    };
    task.write_obj(*to, &info)?;
    Ok(())
}

/// getrandom(2)
pub fn getrandom(
    task: &mut CurrentTask,
    buf: OutBuf,
    len: usize,
    flags: Flags<GetrandomFlags>,
) -> SysResult<usize> {
    let flags = flags.known()?;
    if flags.contains(GetrandomFlags::RANDOM | GetrandomFlags::INSECURE) {
        return Err(Errno::EINVAL.into());
    }
    let len = len.min(i32::MAX as usize);
    if !buf.access_ok(len as u64) {
        return Err(Errno::EFAULT.into());
    }
    let mut bytes = [0; 4096];
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(bytes.len());
        fill_random(&mut bytes[..piece])?;
        if let Err(error) = task.copy_out(buf.add(done as u64)?, &bytes[..piece]) {
            return if done > 0 { Ok(done) } else { Err(error.into()) };
        }
        done += piece;
        // Long requests can be interrupted, short ones never are.
        if done < len && task.interrupted() {
            break;
        }
    }
    Ok(done)
}

/// getcpu(2): the third argument has been ignored since Linux 2.6.24.
pub fn getcpu(task: &mut CurrentTask, cpu: Out<u32>, node: Out<u32>, _cache: u64) -> SysResult<()> {
    let current = task.cpu();
    if let Some(cpu) = cpu.non_null() {
        task.write_obj(cpu, &current)?;
    }
    if let Some(node) = node.non_null() {
        task.write_obj(node, &0)?;
    }
    Ok(())
}

/// personality(2)
pub fn personality(task: &mut CurrentTask, new: PersonalityArg) -> SysResult<u32> {
    Ok(match new.0 {
        u32::MAX => task.personality.load(Ordering::Relaxed),
        new => task.personality.swap(new, Ordering::Relaxed),
    })
}

/// Bytes of the log's buffer.
const LOG_SIZE: usize = 1 << 17;

/// syslog(2): the log is always empty.
pub fn syslog(task: &mut CurrentTask, action: i32, buf: OutBuf, len: i32) -> SysResult<usize> {
    const READ: i32 = 2;
    const READ_ALL: i32 = 3;
    const READ_CLEAR: i32 = 4;
    const CONSOLE_LEVEL: i32 = 8;
    const SIZE_BUFFER: i32 = 10;
    if action != READ_ALL && action != SIZE_BUFFER {
        let (creds, user_ns) = (task.own_creds(), &task.kernel().user_ns);
        if !creds.has_cap_in(CAP_SYSLOG, user_ns) && !creds.has_cap_in(CAP_SYS_ADMIN, user_ns) {
            return Err(Errno::EPERM.into());
        }
    }
    match action {
        READ | READ_ALL | READ_CLEAR if buf.is_null() || len < 0 => Err(Errno::EINVAL.into()),
        READ | READ_ALL | READ_CLEAR if !buf.access_ok(len as u64) => Err(Errno::EFAULT.into()),
        READ if len > 0 => loop {
            // Waits for a message that never comes.
            if task.park(None).is_err() {
                return Err(SysError::Restart(Restart::Sys));
            }
        },
        CONSOLE_LEVEL if !(1..=8).contains(&len) => Err(Errno::EINVAL.into()),
        SIZE_BUFFER => Ok(LOG_SIZE),
        0..=9 => Ok(0),
        _ => Err(Errno::EINVAL.into()),
    }
}

/// reboot(2): the sandbox ends with its first process, not by this.
pub fn reboot(
    task: &mut CurrentTask,
    magic: u32,
    magic2: u32,
    _command: RebootCommand,
    _arg: u64,
) -> SysResult<()> {
    if !task.own_creds().has_cap_in(CAP_SYS_BOOT, &task.kernel().user_ns) {
        return Err(Errno::EPERM.into());
    }
    if magic != LINUX_REBOOT_MAGIC1 || !LINUX_REBOOT_MAGIC2.contains(&magic2) {
        return Err(Errno::EINVAL.into());
    }
    Err(Errno::EPERM.into())
}
