//! NUMA policies, on a machine of one node: set_mempolicy(2), get_mempolicy(2), mbind(2), migrate_pages(2), move_pages(2),
//! set_mempolicy_home_node(2).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use abi::Errno;
use abi::capability::CAP_SYS_NICE;
use abi::mman::{
    GetMempolicyFlags, MPOL_BIND, MPOL_DEFAULT, MPOL_INTERLEAVE, MPOL_LOCAL, MPOL_PREFERRED,
    MPOL_PREFERRED_MANY, MPOL_WEIGHTED_INTERLEAVE,
};
use sentry::SysResult;
use sentry::mm::{MemoryManager, PAGE, Policy, UserAddr, UserRef};
use sentry::task::{Access, CurrentTask};

use crate::arg::{Flags, MemoryPolicy};
use crate::target;

/// Nodes that the kernel could have (MAX_NUMNODES of Debian's).
const MAX_NODES: u64 = 1024;
/// The mask of the nodes that there are.
const ONLINE: u64 = 1;

const STATIC_NODES: u32 = 1 << 15;
const RELATIVE_NODES: u32 = 1 << 14;
const NUMA_BALANCING: u32 = 1 << 13;

/// MPOL_MF_STRICT, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL.
const MF_MOVE: u32 = 1 << 1;
const MF_MOVE_ALL: u32 = 1 << 2;
const MF_VALID: u32 = 1 | MF_MOVE | MF_MOVE_ALL;

/// Nodes whose numbers are kept; there are never so many.
const KEPT: u64 = (1 << 48) - 1;

/// A mask of nodes: its first bits, and whether any above is set.
struct Nodes {
    low: u64,
    more: bool,
}

impl Nodes {
    fn is_empty(&self) -> bool {
        self.low == 0 && !self.more
    }
}

fn read_nodes(task: &CurrentTask, mask: UserAddr, max_node: u64) -> Result<Nodes, Errno> {
    let mut nodes = Nodes { low: 0, more: false };
    // One more than the number of bits, for reasons lost.
    let bits = max_node.wrapping_sub(1);
    if bits == 0 || mask.is_null() {
        return Ok(nodes);
    }
    if bits > PAGE * 8 {
        return Err(Errno::EINVAL);
    }
    let words = task.mm().read_array(UserRef::<u64>::new(mask), bits.div_ceil(64) as usize)?;
    for (index, &word) in words.iter().enumerate() {
        let first = index as u64 * 64;
        let word = if bits - first < 64 { word & ((1 << (bits - first)) - 1) } else { word };
        if first >= MAX_NODES && word != 0 {
            return Err(Errno::EINVAL);
        }
        if index == 0 {
            nodes.low = word & KEPT;
        }
        nodes.more |= if index == 0 { word & !KEPT != 0 } else { word != 0 };
    }
    Ok(nodes)
}

/// Checks mode and flags by themselves; answers them apart.
fn split_mode(mode: u32) -> Result<(u32, u32), Errno> {
    let flags = mode & (STATIC_NODES | RELATIVE_NODES | NUMA_BALANCING);
    let kind = mode & !flags;
    if kind > MPOL_WEIGHTED_INTERLEAVE || flags & STATIC_NODES != 0 && flags & RELATIVE_NODES != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & NUMA_BALANCING != 0 && !matches!(kind, MPOL_BIND | MPOL_PREFERRED_MANY) {
        return Err(Errno::EINVAL);
    }
    Ok((kind, flags))
}

/// The policy of these; EINVAL for nodes that the mode can't have, or that do not exist.
fn policy((mut kind, flags): (u32, u32), nodes: &Nodes) -> Result<Policy, Errno> {
    let placed = flags & (STATIC_NODES | RELATIVE_NODES) != 0;
    match kind {
        MPOL_DEFAULT if !nodes.is_empty() => return Err(Errno::EINVAL),
        MPOL_DEFAULT => return Ok(Policy::default()),
        MPOL_PREFERRED if nodes.is_empty() && placed => return Err(Errno::EINVAL),
        MPOL_PREFERRED if nodes.is_empty() => kind = MPOL_LOCAL,
        MPOL_LOCAL if !nodes.is_empty() || placed => return Err(Errno::EINVAL),
        MPOL_LOCAL => {}
        _ if nodes.is_empty() => return Err(Errno::EINVAL),
        _ => {}
    }
    let relative = flags & RELATIVE_NODES != 0;
    // Only nodes that exist count; relative ones wrap around.
    let effective = if relative { ONLINE } else { nodes.low & ONLINE };
    if kind != MPOL_LOCAL && effective == 0 {
        return Err(Errno::EINVAL);
    }
    // With any flag the mask is answered as it was given.
    let kept = if flags != 0 { nodes.low } else { effective };
    Ok(Policy { mode: (kind | flags) as u16, nodes: if kind == MPOL_LOCAL { 0 } else { kept } })
}

/// set_mempolicy(2)
pub fn set_mempolicy(
    task: &mut CurrentTask,
    mode: MemoryPolicy,
    mask: UserAddr,
    max_node: u64,
) -> SysResult<()> {
    let mode = split_mode(mode.0)?;
    let policy = policy(mode, &read_nodes(task, mask, max_node)?)?;
    task.memory_policy.store(policy.pack(), Ordering::Relaxed);
    Ok(())
}

/// get_mempolicy(2)
pub fn get_mempolicy(
    task: &mut CurrentTask,
    mode: UserRef<i32>,
    mask: UserAddr,
    max_node: u64,
    addr: UserAddr,
    flags: Flags<GetMempolicyFlags>,
) -> SysResult<()> {
    if !mask.is_null() && max_node < 1 {
        return Err(Errno::EINVAL.into());
    }
    let flags = flags.known()?;
    let (answer, nodes) = answer(task, addr, flags)?;
    if let Some(mode) = mode.non_null() {
        task.write_obj(mode, &answer)?;
    }
    if !mask.is_null() {
        write_nodes(task, mask, max_node, nodes)?;
    }
    Ok(())
}

fn answer(task: &CurrentTask, addr: UserAddr, flags: GetMempolicyFlags) -> Result<(i32, u64), Errno> {
    if flags.contains(GetMempolicyFlags::MEMS_ALLOWED) {
        let alone = flags == GetMempolicyFlags::MEMS_ALLOWED;
        return if alone { Ok((0, ONLINE)) } else { Err(Errno::EINVAL) };
    }
    let own = Policy::unpack(task.memory_policy.load(Ordering::Relaxed));
    let by_address = flags.contains(GetMempolicyFlags::ADDR);
    let policy = match by_address {
        true => task.mm().policy_at(addr)?.unwrap_or_default(),
        false if !addr.is_null() => return Err(Errno::EINVAL),
        false => own,
    };
    if !flags.contains(GetMempolicyFlags::NODE) {
        return Ok((i32::from(policy.mode), policy.nodes));
    }
    if by_address {
        // Node 0, of a page that is faulted in for the answer.
        task.mm().copy_in(addr, &mut [0])?;
        return Ok((0, policy.nodes));
    }
    match u32::from(policy.mode & 0xff) {
        MPOL_INTERLEAVE | MPOL_WEIGHTED_INTERLEAVE => Ok((0, policy.nodes)),
        _ => Err(Errno::EINVAL),
    }
}

fn write_nodes(task: &CurrentTask, mask: UserAddr, max_node: u64, nodes: u64) -> Result<(), Errno> {
    let bytes = (max_node - 1).checked_next_multiple_of(64).ok_or(Errno::EINVAL)? / 8;
    if bytes > PAGE {
        return Err(Errno::EINVAL);
    }
    if bytes > 8 {
        task.mm().zero_out(mask.add(8)?, bytes - 8)?;
    }
    let word = nodes.to_ne_bytes();
    task.copy_out(mask, &word[..bytes.min(8) as usize])
}

/// mbind(2)
pub fn mbind(
    task: &mut CurrentTask,
    addr: UserAddr,
    len: u64,
    mode: MemoryPolicy,
    mask: UserAddr,
    max_node: u64,
    flags: u32,
) -> SysResult<()> {
    let mode = split_mode(mode.0)?;
    let nodes = read_nodes(task, mask, max_node)?;
    if flags & !MF_VALID != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & MF_MOVE_ALL != 0 && !task.own_creds().has_cap(CAP_SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    if !addr.0.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL.into());
    }
    if len.wrapping_add(PAGE - 1) < PAGE {
        return Ok(());
    }
    Ok(task.mm().set_policy(addr, len, policy(mode, &nodes)?)?)
}

/// migrate_pages(2): there is nowhere to go.
pub fn migrate_pages(
    task: &mut CurrentTask,
    pid: i32,
    max_node: u64,
    from: UserAddr,
    to: UserAddr,
) -> SysResult<u64> {
    read_nodes(task, from, max_node)?;
    let to = read_nodes(task, to, max_node)?;
    memory_of(task, pid)?;
    let elsewhere = to.low & !ONLINE != 0 || to.more;
    if elsewhere && !task.own_creds().has_cap(CAP_SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    if to.low & ONLINE == 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}

/// move_pages(2): tells where pages are, which is node 0.
pub fn move_pages(
    task: &mut CurrentTask,
    pid: i32,
    count: u64,
    pages: UserRef<u64>,
    nodes: UserRef<i32>,
    status: UserRef<i32>,
    flags: u32,
) -> SysResult<()> {
    if flags & !(MF_MOVE | MF_MOVE_ALL) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & MF_MOVE_ALL != 0 && !task.own_creds().has_cap(CAP_SYS_NICE) {
        return Err(Errno::EPERM.into());
    }
    let mm = memory_of(task, pid)?;
    for index in 0..count {
        let page = UserAddr(task.read_obj(pages.at(index)?)?);
        if !nodes.is_null() && task.read_obj(nodes.at(index)?)? != 0 {
            return Err(Errno::ENODEV.into());
        }
        let found = mm.page_status(page).map_or_else(|errno| -(errno.number() as i32), |()| 0);
        task.write_obj(status.at(index)?, &found)?;
    }
    Ok(())
}

/// set_mempolicy_home_node(2)
pub fn set_mempolicy_home_node(
    task: &mut CurrentTask,
    addr: UserAddr,
    len: u64,
    node: u64,
    flags: u64,
) -> SysResult<()> {
    if !addr.0.is_multiple_of(PAGE) || flags != 0 || node != 0 {
        return Err(Errno::EINVAL.into());
    }
    Ok(task.mm().check_home_node(addr, len)?)
}

fn memory_of(task: &CurrentTask, pid: i32) -> Result<Arc<MemoryManager>, Errno> {
    if pid == 0 {
        return Ok(Arc::clone(task.mm()));
    }
    let other = target::task(task, pid)?;
    task.may_look_into(&other, Access::Call)?;
    Ok(other.resources().ok_or(Errno::EINVAL)?.mm)
}
