//! Socket addresses, messages and types.

use abi::socket::{MsgHdr, SOCK_TYPE_MASK, SOCKET_TYPES, SockFlags};
use sentry::mm::{UserAddr, UserRef};

use super::Arg;
use crate::row::When;
use crate::show::{Show, ShowCx, bits, socket};

/// Type and flags of socket(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketType(pub u32);

impl Arg for SocketType {
    fn decode(raw: u64) -> Self {
        SocketType(raw as u32)
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let raw = cx.args[index] as u32;
        bits::name(&mut cx.out, SOCKET_TYPES, raw & SOCK_TYPE_MASK);
        bits::more_flags::<SockFlags>(&mut cx.out, u64::from(raw & !SOCK_TYPE_MASK));
    }
}

/// An address that the call reads; its length is the next argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InAddress(pub UserAddr);

impl Arg for InAddress {
    fn decode(raw: u64) -> Self {
        InAddress(UserAddr(raw))
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let len = cx.args.get(index + 1).map_or(0, |len| (*len as i32).max(0) as u64);
        socket::address(cx, cx.args[index], len);
    }
}

/// An address that the call writes; the next argument points to its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutAddress(pub UserAddr);

impl Arg for OutAddress {
    const WHEN: When = When::Exit;
    fn decode(raw: u64) -> Self {
        OutAddress(UserAddr(raw))
    }
    fn show(cx: &mut ShowCx<'_>, index: usize) {
        let pointer = cx.args.get(index + 1).copied().unwrap_or(0);
        let len = if pointer == 0 { None } else { cx.read_obj::<i32>(pointer) };
        socket::address(cx, cx.args[index], len.unwrap_or(0).max(0) as u64);
    }
}

/// A length that the call reads and writes.
pub type InOutLen = super::InOut<i32>;

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident, $when:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(pub UserRef<MsgHdr>);
        impl Arg for $name {
            const WHEN: When = When::$when;
            fn decode(raw: u64) -> Self {
                $name(UserRef::new(UserAddr(raw)))
            }
            fn show(cx: &mut ShowCx<'_>, index: usize) {
                let addr = cx.args[index];
                match if addr == 0 { None } else { cx.read_obj::<MsgHdr>(addr) } {
                    Some(header) => header.show(cx),
                    None => cx.address(addr),
                }
            }
        }
    )*};
}

messages! {
    /// A message to send.
    InMessage, Entry;
    /// A message to receive into.
    OutMessage, Exit;
}
