//! Who the caller is: credentials(7), capabilities(7).
//!
//! Ids of a call are those of the caller's user namespace; an id without a mapping there is EINVAL, and is shown as the
//! overflow id.

use abi::Errno;
use abi::capability::{
    _LINUX_CAPABILITY_VERSION_1, _LINUX_CAPABILITY_VERSION_2, _LINUX_CAPABILITY_VERSION_3, CapData,
    CapHeader, CapSet,
};
use sentry::SysResult;
use sentry::mm::UserRef;
use sentry::task::{Credentials, CurrentTask};

use crate::arg::{In, InOut, Out, OutArray, UserId};

/// The most supplementary groups.
const NGROUPS_MAX: i32 = 65536;

/// getuid(2)
pub fn getuid(task: &mut CurrentTask) -> SysResult<u32> {
    let creds = task.own_creds();
    Ok(creds.user_ns.uid_inside(creds.uid))
}

/// geteuid(2)
pub fn geteuid(task: &mut CurrentTask) -> SysResult<u32> {
    let creds = task.own_creds();
    Ok(creds.user_ns.uid_inside(creds.euid))
}

/// getgid(2)
pub fn getgid(task: &mut CurrentTask) -> SysResult<u32> {
    let creds = task.own_creds();
    Ok(creds.user_ns.gid_inside(creds.gid))
}

/// getegid(2)
pub fn getegid(task: &mut CurrentTask) -> SysResult<u32> {
    let creds = task.own_creds();
    Ok(creds.user_ns.gid_inside(creds.egid))
}

/// getresuid(2)
pub fn getresuid(task: &mut CurrentTask, ruid: Out<u32>, euid: Out<u32>, suid: Out<u32>) -> SysResult<()> {
    let creds = task.own_creds();
    let inside = |id| creds.user_ns.uid_inside(id);
    task.write_obj(*ruid, &inside(creds.uid))?;
    task.write_obj(*euid, &inside(creds.euid))?;
    task.write_obj(*suid, &inside(creds.suid))?;
    Ok(())
}

/// getresgid(2)
pub fn getresgid(task: &mut CurrentTask, rgid: Out<u32>, egid: Out<u32>, sgid: Out<u32>) -> SysResult<()> {
    let creds = task.own_creds();
    let inside = |id| creds.user_ns.gid_inside(id);
    task.write_obj(*rgid, &inside(creds.gid))?;
    task.write_obj(*egid, &inside(creds.egid))?;
    task.write_obj(*sgid, &inside(creds.sgid))?;
    Ok(())
}

/// The user id that the caller means; `None` for -1, EINVAL without a mapping.
fn uid_given(creds: &Credentials, id: UserId) -> Result<Option<u32>, Errno> {
    id.given().map(|id| creds.user_ns.uid_kernel(id).ok_or(Errno::EINVAL)).transpose()
}

/// As [`uid_given`], for groups.
fn gid_given(creds: &Credentials, id: UserId) -> Result<Option<u32>, Errno> {
    id.given().map(|id| creds.user_ns.gid_kernel(id).ok_or(Errno::EINVAL)).transpose()
}

/// setuid(2)
pub fn setuid(task: &mut CurrentTask, uid: UserId) -> SysResult<()> {
    let creds = task.own_creds();
    let new = creds.with_uid(uid_given(creds, uid)?.ok_or(Errno::EINVAL)?)?;
    task.commit_creds(new);
    Ok(())
}

/// setreuid(2)
pub fn setreuid(task: &mut CurrentTask, ruid: UserId, euid: UserId) -> SysResult<()> {
    let creds = task.own_creds();
    let new = creds.with_reuid(uid_given(creds, ruid)?, uid_given(creds, euid)?)?;
    task.commit_creds(new);
    Ok(())
}

/// setresuid(2)
pub fn setresuid(task: &mut CurrentTask, ruid: UserId, euid: UserId, suid: UserId) -> SysResult<()> {
    let creds = task.own_creds();
    let new = creds.with_resuid(uid_given(creds, ruid)?, uid_given(creds, euid)?, uid_given(creds, suid)?)?;
    task.commit_creds(new);
    Ok(())
}

/// setfsuid(2): answers the old id, whether it was changed or not.
pub fn setfsuid(task: &mut CurrentTask, uid: UserId) -> SysResult<u32> {
    let creds = task.own_creds();
    let old = creds.user_ns.uid_inside(creds.fsuid);
    if let Ok(Some(uid)) = uid_given(creds, uid)
        && let Some(new) = creds.with_fsuid(uid)
    {
        task.commit_creds(new);
    }
    Ok(old)
}

/// setgid(2)
pub fn setgid(task: &mut CurrentTask, gid: UserId) -> SysResult<()> {
    let creds = task.own_creds();
    let new = creds.with_gid(gid_given(creds, gid)?.ok_or(Errno::EINVAL)?)?;
    task.commit_creds(new);
    Ok(())
}

/// setregid(2)
pub fn setregid(task: &mut CurrentTask, rgid: UserId, egid: UserId) -> SysResult<()> {
    let creds = task.own_creds();
    let new = creds.with_regid(gid_given(creds, rgid)?, gid_given(creds, egid)?)?;
    task.commit_creds(new);
    Ok(())
}

/// setresgid(2)
pub fn setresgid(task: &mut CurrentTask, rgid: UserId, egid: UserId, sgid: UserId) -> SysResult<()> {
    let creds = task.own_creds();
    let new = creds.with_resgid(gid_given(creds, rgid)?, gid_given(creds, egid)?, gid_given(creds, sgid)?)?;
    task.commit_creds(new);
    Ok(())
}

/// setfsgid(2): answers the old id, whether it was changed or not.
pub fn setfsgid(task: &mut CurrentTask, gid: UserId) -> SysResult<u32> {
    let creds = task.own_creds();
    let old = creds.user_ns.gid_inside(creds.fsgid);
    if let Ok(Some(gid)) = gid_given(creds, gid)
        && let Some(new) = creds.with_fsgid(gid)
    {
        task.commit_creds(new);
    }
    Ok(old)
}

/// getgroups(2)
pub fn getgroups(task: &mut CurrentTask, size: i32, list: OutArray<u32>) -> SysResult<usize> {
    let creds = task.own_creds();
    let count = creds.groups.len();
    if size < 0 || size != 0 && (size as usize) < count {
        return Err(Errno::EINVAL.into());
    }
    if size != 0 {
        for (i, gid) in creds.groups.iter().enumerate() {
            task.write_obj(list.at(i as u64)?, &creds.user_ns.gid_inside(*gid))?;
        }
    }
    Ok(count)
}

/// setgroups(2)
pub fn setgroups(task: &mut CurrentTask, size: i32, list: UserRef<u32>) -> SysResult<()> {
    let creds = task.own_creds();
    if !creds.may_set_groups() {
        return Err(Errno::EPERM.into());
    }
    if !(0..=NGROUPS_MAX).contains(&size) {
        return Err(Errno::EINVAL.into());
    }
    let mut groups = Vec::with_capacity(size as usize);
    for i in 0..size as u64 {
        let gid = task.read_obj(list.at(i)?)?;
        groups.push(creds.user_ns.gid_kernel(gid).ok_or(Errno::EINVAL)?);
    }
    let new = creds.with_groups(groups);
    task.commit_creds(new);
    Ok(())
}

/// How many [`CapData`] a version of the header has. EINVAL for one that is not known, the newest being put in.
fn cap_words(task: &CurrentTask, header: UserRef<CapHeader>) -> Result<u64, Errno> {
    match task.read_obj(header.cast::<u32>())? {
        _LINUX_CAPABILITY_VERSION_1 => Ok(1),
        _LINUX_CAPABILITY_VERSION_2 | _LINUX_CAPABILITY_VERSION_3 => Ok(2),
        _ => {
            task.write_obj(header.cast::<u32>(), &_LINUX_CAPABILITY_VERSION_3)?;
            Err(Errno::EINVAL)
        }
    }
}

/// capget(2)
pub fn capget(task: &mut CurrentTask, header: InOut<CapHeader>, data: Out<[CapData; 2]>) -> SysResult<()> {
    let words = match cap_words(task, *header) {
        // Asking for the version.
        Err(Errno::EINVAL) if data.is_null() => return Ok(()),
        words => words?,
    };
    if data.is_null() {
        return Ok(());
    }
    let pid = task.read_obj(*header)?.pid;
    if pid < 0 {
        return Err(Errno::EINVAL.into());
    }
    let creds = if pid == 0 || pid == task.tid() {
        task.own_creds().clone()
    } else {
        task.pid().namespace().task(pid).ok_or(Errno::ESRCH)?.creds()
    };
    let low = |set: CapSet, word: u64| (set.0 >> (32 * word)) as u32;
    for word in 0..words {
        let part = CapData {
            effective: low(creds.cap_effective, word),
            permitted: low(creds.cap_permitted, word),
            inheritable: low(creds.cap_inheritable, word),
        };
        task.write_obj(data.cast::<CapData>().at(word)?, &part)?;
    }
    Ok(())
}

/// capset(2)
pub fn capset(task: &mut CurrentTask, header: InOut<CapHeader>, data: In<[CapData; 2]>) -> SysResult<()> {
    let words = cap_words(task, *header)?;
    let pid = task.read_obj(*header)?.pid;
    if pid != 0 && pid != task.tid() {
        return Err(Errno::EPERM.into());
    }
    let (mut effective, mut permitted, mut inheritable) = (0, 0, 0);
    for word in 0..words {
        let part = task.read_obj(data.cast::<CapData>().at(word)?)?;
        effective |= u64::from(part.effective) << (32 * word);
        permitted |= u64::from(part.permitted) << (32 * word);
        inheritable |= u64::from(part.inheritable) << (32 * word);
    }
    let known = |bits: u64| CapSet(bits & CapSet::ALL.0);
    let new = task.own_creds().with_caps(known(effective), known(permitted), known(inheritable))?;
    task.commit_creds(new);
    Ok(())
}
