//! The interfaces of a network namespace, as ioctl(2) on any socket tells of them and sets them (netdevice(7)): `lo` alone.

use std::sync::Arc;

use abi::Errno;
use abi::capability::CAP_NET_ADMIN;
use abi::ioctl::{
    SIOCGIFADDR, SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFMTU, SIOCGIFNAME,
    SIOCGIFNETMASK, SIOCSIFFLAGS,
};
use abi::socket::AF_INET;

use super::namespace::{Loopback, NetNamespace};
use crate::error::SysResult;
use crate::mm::{UserAddr, UserRef};
use crate::task::CurrentTask;

/// Bytes of an interface's name (IFNAMSIZ), and of `struct ifreq`.
const NAME: usize = 16;
const REQUEST: usize = 40;
/// The name, number and packet size of the loopback interface.
const LO: &[u8] = b"lo";
const LO_INDEX: i32 = 1;
const LO_MTU: i32 = 65_536;
/// ARPHRD_LOOPBACK
const LO_HARDWARE: u16 = 772;
/// IFF_UP, IFF_LOOPBACK, IFF_RUNNING
const UP: u16 = 0x1;
const LOOPBACK: u16 = 0x8;
const RUNNING: u16 = 0x40;

/// Answers a request; ENOTTY for one that is about something else.
pub(super) fn ioctl(
    net: &Arc<NetNamespace>,
    family: u32,
    task: &CurrentTask,
    request: u32,
    arg: u64,
) -> SysResult<u64> {
    match request {
        SIOCGIFADDR | SIOCGIFNETMASK if family != AF_INET => return Err(Errno::ENOTTY.into()),
        SIOCGIFCONF => return configuration(net, task, arg),
        SIOCGIFADDR | SIOCGIFNETMASK | SIOCGIFFLAGS | SIOCSIFFLAGS | SIOCGIFNAME | SIOCGIFINDEX
        | SIOCGIFMTU | SIOCGIFHWADDR => {}
        _ => return Err(Errno::ENOTTY.into()),
    }
    let mut wire: [u8; REQUEST] = task.read_obj(UserRef::new(UserAddr(arg)))?;
    if request == SIOCGIFNAME {
        if wire[NAME..NAME + 4] != LO_INDEX.to_ne_bytes() {
            return Err(Errno::ENODEV.into());
        }
        wire[..NAME].fill(0);
        wire[..LO.len()].copy_from_slice(LO);
        task.write_obj(UserRef::new(UserAddr(arg)), &wire)?;
        return Ok(0);
    }
    // The last byte of a name counts for nothing.
    let name = wire[..NAME - 1].split(|byte| *byte == 0).next().unwrap_or_default();
    let is_lo = name == LO;
    let value = &mut wire[NAME..];
    match request {
        SIOCSIFFLAGS => {
            if !task.own_creds().has_cap_in(CAP_NET_ADMIN, &net.user_ns) {
                return Err(Errno::EPERM.into());
            }
            if !is_lo {
                return Err(Errno::ENODEV.into());
            }
            let up = u16::from_ne_bytes([value[0], value[1]]) & UP != 0;
            net.set_loopback(if up { Loopback::Up } else { Loopback::Down });
            return Ok(0);
        }
        _ if !is_lo => return Err(Errno::ENODEV.into()),
        SIOCGIFFLAGS => {
            let flags = if net.loopback() == Loopback::Up { UP | LOOPBACK | RUNNING } else { LOOPBACK };
            value[..2].copy_from_slice(&flags.to_ne_bytes());
        }
        SIOCGIFINDEX => value[..4].copy_from_slice(&LO_INDEX.to_ne_bytes()),
        SIOCGIFMTU => value[..4].copy_from_slice(&LO_MTU.to_ne_bytes()),
        SIOCGIFHWADDR => {
            value[..16].fill(0);
            value[..2].copy_from_slice(&LO_HARDWARE.to_ne_bytes());
        }
        _ => {
            if net.loopback() == Loopback::Down {
                return Err(Errno::EADDRNOTAVAIL.into());
            }
            let address = if request == SIOCGIFADDR { [127, 0, 0, 1] } else { [255, 0, 0, 0] };
            value[..16].copy_from_slice(&inet(address));
        }
    }
    task.write_obj(UserRef::new(UserAddr(arg)), &wire)?;
    Ok(0)
}

/// A `sockaddr_in` without a port.
fn inet(address: [u8; 4]) -> [u8; 16] {
    let mut wire = [0; 16];
    wire[..2].copy_from_slice(&(AF_INET as u16).to_ne_bytes());
    wire[4..8].copy_from_slice(&address);
    wire
}

/// SIOCGIFCONF: the interfaces that have an address, as many as there is room for.
fn configuration(net: &NetNamespace, task: &CurrentTask, arg: u64) -> SysResult<u64> {
    let mut wire: [u8; 16] = task.read_obj(UserRef::new(UserAddr(arg)))?;
    let room = i32::from_ne_bytes([wire[0], wire[1], wire[2], wire[3]]);
    let to = u64::from_ne_bytes(wire[8..].try_into().unwrap_or_default());
    let up = net.loopback() == Loopback::Up;
    // Without a place to put them it says how long they are.
    let fits = up && (to == 0 || room >= REQUEST as i32);
    if fits && to != 0 {
        let mut entry = [0u8; REQUEST];
        entry[..LO.len()].copy_from_slice(LO);
        entry[NAME..NAME + 16].copy_from_slice(&inet([127, 0, 0, 1]));
        task.copy_out(UserAddr(to), &entry)?;
    }
    let len = if fits { REQUEST as i32 } else { 0 };
    wire[..4].copy_from_slice(&len.to_ne_bytes());
    task.write_obj(UserRef::new(UserAddr(arg)), &wire)?;
    Ok(0)
}
