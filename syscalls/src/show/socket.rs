//! Addresses and messages.

use abi::socket::{
    ADDRESS_FAMILIES, AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, MMsgHdr, MsgFlags, MsgHdr, UCred,
};

use super::{Show, ShowCx, bits, escape, file};

/// Writes a socket address of `len` bytes.
pub fn address(cx: &mut ShowCx<'_>, addr: u64, len: u64) {
    let mut bytes = [0; abi::socket::SOCKADDR_STORAGE_SIZE];
    let len = len.min(bytes.len() as u64) as usize;
    if addr == 0 || len < 2 || cx.memory.read(addr, &mut bytes[..len]) < len {
        return cx.address(addr);
    }
    let family = u32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
    let data = &bytes[2..len];
    cx.text("{sa_family=");
    bits::name(&mut cx.out, ADDRESS_FAMILIES, family);
    let port = |data: &[u8]| u16::from_be_bytes([data[0], data[1]]);
    match family {
        AF_UNIX if data.is_empty() => {}
        AF_UNIX if data[0] == 0 => {
            cx.text(", sun_path=@");
            escape::quote(&mut cx.out, &data[1..]);
        }
        AF_UNIX => {
            cx.text(", sun_path=");
            let end = data.iter().position(|b| *b == 0).unwrap_or(data.len());
            escape::quote(&mut cx.out, &data[..end]);
        }
        AF_INET if data.len() >= 6 => {
            let [a, b, c, d] = [data[2], data[3], data[4], data[5]];
            cx.write(format_args!(", sin_port=htons({})", port(data)));
            cx.write(format_args!(", sin_addr=inet_addr(\"{a}.{b}.{c}.{d}\")"));
        }
        AF_INET6 if data.len() >= 22 => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&data[6..22]);
            cx.write(format_args!(", sin6_port=htons({})", port(data)));
            cx.write(format_args!(", sin6_addr=\"{}\"", std::net::Ipv6Addr::from(octets)));
        }
        AF_NETLINK if data.len() >= 10 => {
            let word = |at: usize| u32::from_ne_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
            cx.write(format_args!(", nl_pid={}, nl_groups={:08x}", word(2), word(6)));
        }
        _ => {
            cx.text(", sa_data=");
            escape::quote(&mut cx.out, data);
        }
    }
    cx.text("}");
}

/// Writes a message header; `bytes` of the message are shown.
pub fn message(cx: &mut ShowCx<'_>, header: &MsgHdr, bytes: u64) {
    cx.text("{msg_name=");
    address(cx, header.msg_name, header.msg_namelen.max(0) as u64);
    cx.write(format_args!(", msg_namelen={}, msg_iov=", header.msg_namelen));
    file::io_vec(cx, header.msg_iov, header.msg_iovlen, bytes);
    cx.write(format_args!(", msg_iovlen={}", header.msg_iovlen));
    if header.msg_control != 0 {
        cx.text(", msg_control=");
        cx.address(header.msg_control);
    }
    cx.write(format_args!(", msg_controllen={}, msg_flags=", header.msg_controllen));
    bits::flags::<MsgFlags>(&mut cx.out, u64::from(header.msg_flags), "0");
    cx.text("}");
}

impl Show for MsgHdr {
    fn show(&self, cx: &mut ShowCx<'_>) {
        let bytes = cx.result.unwrap_or(u64::MAX);
        message(cx, self, bytes);
    }
}

impl Show for MMsgHdr {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.text("{msg_hdr=");
        message(cx, &self.msg_hdr, if cx.result.is_some() { u64::from(self.msg_len) } else { u64::MAX });
        if cx.result.is_some() {
            cx.write(format_args!(", msg_len={}", self.msg_len));
        }
        cx.text("}");
    }
}

impl Show for UCred {
    fn show(&self, cx: &mut ShowCx<'_>) {
        cx.write(format_args!("{{pid={}, uid={}, gid={}}}", self.pid, self.uid, self.gid));
    }
}
