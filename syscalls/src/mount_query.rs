//! What is mounted: statmount(2), listmount(2).

use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_SYS_ADMIN;
use abi::mount::{
    LSMT_ROOT, ListmountFlags, MNT_ID_REQ_SIZE_VER0, MntIdReq, MountFlags as Ms, StatmountMask as S,
};
use abi::stat::{major, minor};
use sentry::SysResult;
use sentry::mm::{PAGE, UserAddr, UserRef};
use sentry::task::CurrentTask;
use sentry::vfs::propagation::dominating_group;
use sentry::vfs::{Mount, Path};
use zerocopy::IntoBytes;

use crate::arg::Flags;

/// Ids up to this one never name a mount.
const NO_MOUNT: u64 = 1 << 32;
/// Ids that one listmount(2) may ask for.
const LIST_MAX: usize = 1_000_000;

fn request(task: &CurrentTask, from: UserAddr) -> Result<MntIdReq, Errno> {
    let size: u32 = task.read_obj(UserRef::new(from))?;
    let size = size as usize;
    if size > PAGE as usize {
        return Err(Errno::E2BIG);
    }
    if size < MNT_ID_REQ_SIZE_VER0 {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; size];
    task.copy_in(from, &mut bytes)?;
    let (known, rest) = bytes.split_at(size_of::<MntIdReq>().min(size));
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    let mut request = MntIdReq::default();
    request.as_mut_bytes()[..known.len()].copy_from_slice(known);
    if request.mnt_ns_fd != 0 || request.mnt_id <= NO_MOUNT {
        return Err(Errno::EINVAL);
    }
    let own = &task.namespaces().mount;
    if request.mnt_ns_id != 0 && request.mnt_ns_id != own.id {
        // Others can't be looked into.
        return Err(Errno::ENOENT);
    }
    Ok(request)
}

fn top(mount: &Arc<Mount>) -> Path {
    Path::new(Arc::clone(mount), Arc::clone(&mount.root))
}

fn find(task: &CurrentTask, id: u64) -> Result<Arc<Mount>, Errno> {
    let found = task.namespaces().mount.mounts().into_iter().find(|mount| mount.unique_id() == id);
    let mount = found.ok_or(Errno::ENOENT)?;
    let root = task.fs().roots().root.clone();
    let owner = &task.namespaces().mount.user_ns;
    if top(&mount).is_below(&root) || task.own_creds().has_cap_in(CAP_SYS_ADMIN, owner) {
        Ok(mount)
    } else {
        Err(Errno::EPERM)
    }
}

/// `struct statmount`, without the strings behind it.
#[repr(C)]
#[derive(Clone, Copy, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::FromZeros)]
struct Answer {
    size: u32,
    mnt_opts: u32,
    mask: u64,
    sb_dev_major: u32,
    sb_dev_minor: u32,
    sb_magic: u64,
    sb_flags: u32,
    fs_type: u32,
    mnt_id: u64,
    mnt_parent_id: u64,
    mnt_id_old: u32,
    mnt_parent_id_old: u32,
    mnt_attr: u64,
    mnt_propagation: u64,
    mnt_peer_group: u64,
    mnt_master: u64,
    propagate_from: u64,
    mnt_root: u32,
    mnt_point: u32,
    mnt_ns_id: u64,
    fs_subtype: u32,
    sb_source: u32,
    opt_num: u32,
    opt_array: u32,
    opt_sec_num: u32,
    opt_sec_array: u32,
    supported_mask: u64,
    spare: [u64; 45],
}

const _: () = assert!(size_of::<Answer>() == 512);

/// What is answered when asked for.
const SUPPORTED: S = S::SB_BASIC
    .union(S::MNT_BASIC)
    .union(S::PROPAGATE_FROM)
    .union(S::MNT_ROOT)
    .union(S::MNT_POINT)
    .union(S::FS_TYPE)
    .union(S::MNT_NS_ID)
    .union(S::MNT_OPTS)
    .union(S::SB_SOURCE)
    .union(S::OPT_ARRAY)
    .union(S::SUPPORTED_MASK);

/// Strings behind the structure.
struct Strings {
    bytes: Vec<u8>,
    room: usize,
}

impl Strings {
    /// Adds one; where it is. EOVERFLOW when there is no room.
    fn add(&mut self, text: &[u8]) -> Result<u32, Errno> {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        if self.bytes.len() > self.room { Err(Errno::EOVERFLOW) } else { Ok(at as u32) }
    }
}

/// statmount(2)
pub fn statmount(
    task: &mut CurrentTask,
    req: UserAddr,
    buf: UserAddr,
    size: usize,
    flags: u32,
) -> SysResult<()> {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let request = request(task, req)?;
    let mount = find(task, request.mnt_id)?;
    let asked = S::from_bits_retain(request.param);
    let mut strings = Strings { bytes: Vec::new(), room: size.saturating_sub(size_of::<Answer>()) };
    let mut answer = describe(task, &mount, asked, &mut strings)?;
    let copied = size.min(size_of::<Answer>());
    answer.size = (copied + strings.bytes.len()) as u32;
    if !strings.bytes.is_empty() {
        task.copy_out(buf.add(size_of::<Answer>() as u64)?, &strings.bytes)?;
    }
    Ok(task.copy_out(buf, &answer.as_bytes()[..copied])?)
}

fn describe(
    task: &CurrentTask,
    mount: &Arc<Mount>,
    asked: S,
    strings: &mut Strings,
) -> Result<Answer, Errno> {
    let mut answer: Answer = zerocopy::FromZeros::new_zeroed();
    let namespace = &task.namespaces().mount;
    let root = task.fs().roots().root.clone();
    let sb = mount.sb();
    let mut done =
        asked & (S::SB_BASIC | S::MNT_BASIC | S::PROPAGATE_FROM | S::MNT_NS_ID | S::SUPPORTED_MASK);
    if asked.contains(S::SB_BASIC) {
        (answer.sb_dev_major, answer.sb_dev_minor) = (major(sb.dev), minor(sb.dev));
        answer.sb_magic = sb.ops().statfs()?.magic as u64;
        answer.sb_flags = u32::from(sb.is_read_only());
    }
    if asked.contains(S::MNT_BASIC) {
        let parent = mount.mount_point().map_or_else(|| Arc::clone(mount), |point| point.mount);
        answer.mnt_id = mount.unique_id();
        answer.mnt_parent_id = parent.unique_id();
        (answer.mnt_id_old, answer.mnt_parent_id_old) = (mount.id as u32, parent.id as u32);
        answer.mnt_attr = crate::mount_api::attributes(mount.flags()).bits();
        let propagation = mount.propagation();
        let mut spreads = Ms::empty();
        spreads.set(Ms::SHARED, propagation.group != 0);
        spreads.set(Ms::SLAVE, propagation.master != 0);
        spreads.set(Ms::UNBINDABLE, propagation.unbindable);
        answer.mnt_propagation = if spreads.is_empty() { Ms::PRIVATE } else { spreads }.bits();
        (answer.mnt_peer_group, answer.mnt_master) = (propagation.group, propagation.master);
    }
    if asked.contains(S::PROPAGATE_FROM) && mount.propagation().master != 0 {
        answer.propagate_from = dominating_group(mount, |peer| namespace.holds(peer));
    }
    if asked.contains(S::MNT_NS_ID) {
        answer.mnt_ns_id = namespace.id;
    }
    if asked.contains(S::SUPPORTED_MASK) {
        answer.supported_mask = SUPPORTED.bits();
    }
    let mut text = |flag: S, text: Vec<u8>, slot: &mut u32| -> Result<(), Errno> {
        if asked.contains(flag) && !text.is_empty() {
            *slot = strings.add(&text)?;
            done |= flag;
        }
        Ok(())
    };
    text(S::FS_TYPE, sb.kind().as_bytes().to_vec(), &mut answer.fs_type)?;
    let shown = task.namespaces().cgroup.root_of(mount).unwrap_or_else(|| mount.root_text());
    text(S::MNT_ROOT, shown, &mut answer.mnt_root)?;
    text(S::MNT_POINT, top(mount).text(&root).text, &mut answer.mnt_point)?;
    text(S::MNT_OPTS, sb.ops().options().into_bytes(), &mut answer.mnt_opts)?;
    text(S::SB_SOURCE, mount.source.to_vec(), &mut answer.sb_source)?;
    let options = sb.ops().options();
    let list: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
    text(S::OPT_ARRAY, list.join("\0").into_bytes(), &mut answer.opt_array)?;
    if done.contains(S::OPT_ARRAY) {
        answer.opt_num = list.len() as u32;
    }
    answer.mask = done.bits();
    Ok(answer)
}

/// listmount(2)
pub fn listmount(
    task: &mut CurrentTask,
    req: UserAddr,
    ids: UserAddr,
    count: usize,
    flags: Flags<ListmountFlags>,
) -> SysResult<usize> {
    let flags = flags.known()?;
    if count > LIST_MAX {
        return Err(Errno::EOVERFLOW.into());
    }
    if !ids.access_ok(count as u64 * 8) {
        return Err(Errno::EFAULT.into());
    }
    let request = request(task, req)?;
    let after = request.param;
    if after != 0 && after <= NO_MOUNT {
        return Err(Errno::EINVAL.into());
    }
    let below = if request.mnt_id == LSMT_ROOT {
        task.fs().roots().root.clone()
    } else {
        top(&find(task, request.mnt_id)?)
    };
    let mut found: Vec<u64> = task
        .namespaces()
        .mount
        .mounts()
        .iter()
        .filter(|mount| mount.unique_id() != request.mnt_id && top(mount).is_below(&below))
        .map(|mount| mount.unique_id())
        .collect();
    found.sort_unstable();
    if flags.contains(ListmountFlags::REVERSE) {
        found.reverse();
        found.retain(|id| after == 0 || *id < after);
    } else {
        found.retain(|id| *id > after);
    }
    found.truncate(count);
    task.copy_out(ids, found.as_bytes())?;
    Ok(found.len())
}
