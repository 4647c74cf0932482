//! Sockets: families, types, options, addresses, messages. Options of the Internet families are in [`inet`](crate::inet).

constants! {
    /// Address families.
    pub table ADDRESS_FAMILIES: u32 {
        AF_UNSPEC = 0;
        AF_UNIX = 1;
        AF_INET = 2;
        AF_INET6 = 10;
        AF_NETLINK = 16;
        AF_PACKET = 17;
        AF_ALG = 38;
        AF_VSOCK = 40;
    }
}

constants! {
    /// Types of socket.
    pub table SOCKET_TYPES: u32 {
        SOCK_STREAM = 1;
        SOCK_DGRAM = 2;
        SOCK_RAW = 3;
        SOCK_RDM = 4;
        SOCK_SEQPACKET = 5;
        SOCK_DCCP = 6;
        SOCK_PACKET = 10;
    }
}

/// Mask of the type; the rest are [`SockFlags`].
pub const SOCK_TYPE_MASK: u32 = 0xf;

flags! {
    /// Flags beside the type, and of accept4(2).
    pub struct SockFlags: u32, "SOCK_" {
        const NONBLOCK = 0o4000;
        const CLOEXEC = 0o2000000;
    }
}

constants! {
    /// Protocols of the Internet families.
    pub table IP_PROTOCOLS: u32 {
        IPPROTO_IP = 0;
        IPPROTO_ICMP = 1;
        IPPROTO_TCP = 6;
        IPPROTO_UDP = 17;
        IPPROTO_IPV6 = 41;
        IPPROTO_ICMPV6 = 58;
        IPPROTO_RAW = 255;
    }
}

/// Level of the options below.
pub const SOL_SOCKET: u32 = 1;

constants! {
    /// Options at level SOL_SOCKET.
    pub table SOCKET_OPTIONS: u32 {
        SO_DEBUG = 1;
        SO_REUSEADDR = 2;
        SO_TYPE = 3;
        SO_ERROR = 4;
        SO_DONTROUTE = 5;
        SO_BROADCAST = 6;
        SO_SNDBUF = 7;
        SO_RCVBUF = 8;
        SO_KEEPALIVE = 9;
        SO_OOBINLINE = 10;
        SO_NO_CHECK = 11;
        SO_PRIORITY = 12;
        SO_LINGER = 13;
        SO_BSDCOMPAT = 14;
        SO_REUSEPORT = 15;
        SO_PASSCRED = 16;
        SO_PEERCRED = 17;
        SO_RCVLOWAT = 18;
        SO_SNDLOWAT = 19;
        SO_RCVTIMEO = 20;
        SO_SNDTIMEO = 21;
        SO_BINDTODEVICE = 25;
        SO_ATTACH_FILTER = 26;
        SO_DETACH_FILTER = 27;
        SO_PEERNAME = 28;
        SO_TIMESTAMP = 29;
        SO_ACCEPTCONN = 30;
        SO_PEERSEC = 31;
        SO_SNDBUFFORCE = 32;
        SO_RCVBUFFORCE = 33;
        SO_PASSSEC = 34;
        SO_TIMESTAMPNS = 35;
        SO_MARK = 36;
        SO_TIMESTAMPING = 37;
        SO_PROTOCOL = 38;
        SO_DOMAIN = 39;
        SO_RXQ_OVFL = 40;
        SO_WIFI_STATUS = 41;
        SO_PEEK_OFF = 42;
        SO_NOFCS = 43;
        SO_LOCK_FILTER = 44;
        SO_SELECT_ERR_QUEUE = 45;
        SO_BUSY_POLL = 46;
        SO_MAX_PACING_RATE = 47;
        SO_BPF_EXTENSIONS = 48;
        SO_INCOMING_CPU = 49;
        SO_ATTACH_BPF = 50;
        SO_ATTACH_REUSEPORT_CBPF = 51;
        SO_ATTACH_REUSEPORT_EBPF = 52;
        SO_CNX_ADVICE = 53;
        SO_MEMINFO = 55;
        SO_INCOMING_NAPI_ID = 56;
        SO_COOKIE = 57;
        SO_PEERGROUPS = 59;
        SO_ZEROCOPY = 60;
        SO_TXTIME = 61;
        SO_BINDTOIFINDEX = 62;
        SO_TIMESTAMP_NEW = 63;
        SO_TIMESTAMPNS_NEW = 64;
        SO_TIMESTAMPING_NEW = 65;
        SO_RCVTIMEO_NEW = 66;
        SO_SNDTIMEO_NEW = 67;
        SO_DETACH_REUSEPORT_BPF = 68;
        SO_PREFER_BUSY_POLL = 69;
        SO_BUSY_POLL_BUDGET = 70;
        SO_NETNS_COOKIE = 71;
        SO_BUF_LOCK = 72;
        SO_RESERVE_MEM = 73;
        SO_TXREHASH = 74;
        SO_RCVMARK = 75;
        SO_PASSPIDFD = 76;
        SO_PEERPIDFD = 77;
    }
}

flags! {
    /// Flags of sending and receiving, and of a received message.
    pub struct MsgFlags: u32, "MSG_" {
        const OOB = 0x01;
        const PEEK = 0x02;
        const DONTROUTE = 0x04;
        const CTRUNC = 0x08;
        const PROBE = 0x10;
        const TRUNC = 0x20;
        const DONTWAIT = 0x40;
        const EOR = 0x80;
        const WAITALL = 0x100;
        const FIN = 0x200;
        const SYN = 0x400;
        const CONFIRM = 0x800;
        const RST = 0x1000;
        const ERRQUEUE = 0x2000;
        const NOSIGNAL = 0x4000;
        const MORE = 0x8000;
        const WAITFORONE = 0x1_0000;
        const BATCH = 0x4_0000;
        const ZEROCOPY = 0x400_0000;
        const FASTOPEN = 0x2000_0000;
        const CMSG_CLOEXEC = 0x4000_0000;
        const CMSG_COMPAT = 0x8000_0000;
    }
}

constants! {
    /// How shutdown(2) shuts.
    pub table SHUTDOWN_HOW: u32 {
        SHUT_RD = 0;
        SHUT_WR = 1;
        SHUT_RDWR = 2;
    }
}

constants! {
    /// Control messages at level SOL_SOCKET.
    pub table SCM_TYPES: u32 {
        SCM_RIGHTS = 1;
        SCM_CREDENTIALS = 2;
        SCM_SECURITY = 3;
        SCM_PIDFD = 4;
    }
}

/// The most descriptors one control message carries.
pub const SCM_MAX_FD: usize = 253;
/// Bytes in `sun_path`.
pub const UNIX_PATH_MAX: usize = 108;
/// The most messages in one sendmmsg(2), and segments in one message.
pub const UIO_MAXIOV: usize = 1024;
/// The longest backlog by default.
pub const SOMAXCONN: u32 = 4096;
/// Bytes of the largest address.
pub const SOCKADDR_STORAGE_SIZE: usize = 128;

wire! {
    /// `struct user_msghdr`.
    pub struct MsgHdr {
        pub msg_name: u64,
        pub msg_namelen: i32,
        pub pad0: u32,
        pub msg_iov: u64,
        pub msg_iovlen: u64,
        pub msg_control: u64,
        pub msg_controllen: u64,
        pub msg_flags: u32,
        pub pad1: u32,
    }

    /// `struct mmsghdr`.
    pub struct MMsgHdr {
        pub msg_hdr: MsgHdr,
        pub msg_len: u32,
        pub pad: u32,
    }

    /// `struct cmsghdr`; the data follow, padded to 8 bytes.
    pub struct CMsgHdr {
        /// This head and the data, without padding.
        pub cmsg_len: u64,
        pub cmsg_level: i32,
        pub cmsg_type: i32,
    }

    /// `struct ucred`.
    pub struct UCred {
        pub pid: i32,
        pub uid: u32,
        pub gid: u32,
    }

    /// `struct linger`.
    pub struct Linger {
        pub l_onoff: i32,
        pub l_linger: i32,
    }

    /// `struct sockaddr_in`; port and address in network order.
    pub struct SockAddrIn {
        pub sin_family: u16,
        pub sin_port: [u8; 2],
        pub sin_addr: [u8; 4],
        pub sin_zero: [u8; 8],
    }

    /// `struct sockaddr_in6`; port, flow and address in network order.
    pub struct SockAddrIn6 {
        pub sin6_family: u16,
        pub sin6_port: [u8; 2],
        pub sin6_flowinfo: [u8; 4],
        pub sin6_addr: [u8; 16],
        pub sin6_scope_id: u32,
    }

    /// `struct sockaddr_nl`.
    pub struct SockAddrNl {
        pub nl_family: u16,
        pub nl_pad: u16,
        pub nl_pid: u32,
        pub nl_groups: u32,
    }
}

/// `struct sockaddr_un`.
#[repr(C)]
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    zerocopy::FromBytes,
    zerocopy::IntoBytes,
    zerocopy::Immutable,
    zerocopy::KnownLayout,
)]
pub struct SockAddrUn {
    /// AF_UNIX.
    pub sun_family: u16,
    /// A path, or a NUL and an abstract name whose length the address length gives.
    pub sun_path: [u8; UNIX_PATH_MAX],
}
