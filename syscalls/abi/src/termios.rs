//! Terminals: the kernel's `termios`, not the C library's.

/// Control characters in the kernel's structure.
pub const NCCS: usize = 19;

wire! {
    /// The kernel's `struct termios`: TCGETS and TCSETS.
    pub struct Termios {
        pub c_iflag: u32,
        pub c_oflag: u32,
        pub c_cflag: u32,
        pub c_lflag: u32,
        pub c_line: u8,
        pub c_cc: [u8; NCCS],
    }

    /// `struct termios2`: TCGETS2 and TCSETS2.
    pub struct Termios2 {
        pub c_iflag: u32,
        pub c_oflag: u32,
        pub c_cflag: u32,
        pub c_lflag: u32,
        pub c_line: u8,
        pub c_cc: [u8; NCCS],
        pub c_ispeed: u32,
        pub c_ospeed: u32,
    }
}

impl Termios2 {
    /// What TCGETS tells of these attributes.
    pub const fn without_speeds(&self) -> Termios {
        let Termios2 { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc, .. } = *self;
        Termios { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc }
    }

    /// What TCSETS makes of these attributes: the old structure has no speeds of its own, so those stay.
    pub const fn with_all_but_speeds(&self, new: &Termios) -> Termios2 {
        let Termios { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc } = *new;
        Termios2 { c_iflag, c_oflag, c_cflag, c_lflag, c_line, c_cc, ..*self }
    }
}

flags! {
    /// `c_iflag`.
    pub struct InputFlags: u32, "" {
        const IGNBRK = 0o1;
        const BRKINT = 0o2;
        const IGNPAR = 0o4;
        const PARMRK = 0o10;
        const INPCK = 0o20;
        const ISTRIP = 0o40;
        const INLCR = 0o100;
        const IGNCR = 0o200;
        const ICRNL = 0o400;
        const IUCLC = 0o1000;
        const IXON = 0o2000;
        const IXANY = 0o4000;
        const IXOFF = 0o10000;
        const IMAXBEL = 0o20000;
        const IUTF8 = 0o40000;
    }
}

flags! {
    /// `c_oflag`.
    pub struct OutputFlags: u32, "" {
        const OPOST = 0o1;
        const OLCUC = 0o2;
        const ONLCR = 0o4;
        const OCRNL = 0o10;
        const ONOCR = 0o20;
        const ONLRET = 0o40;
        const OFILL = 0o100;
        const OFDEL = 0o200;
        /// Tabs become spaces.
        const XTABS = 0o14000;
    }
}

/// Mask of the delay for tabs in `c_oflag`.
pub const TABDLY: u32 = 0o14000;

flags! {
    /// `c_cflag` without speed and size.
    pub struct ControlFlags: u32, "" {
        const CSTOPB = 0o100;
        const CREAD = 0o200;
        const PARENB = 0o400;
        const PARODD = 0o1000;
        const HUPCL = 0o2000;
        const CLOCAL = 0o4000;
    }
}

/// Mask of the speed in `c_cflag`.
pub const CBAUD: u32 = 0o10017;
/// 38400 bits a second, what a new terminal says.
pub const B38400: u32 = 0o17;
/// The speed is in `c_ospeed`.
pub const BOTHER: u32 = 0o10000;
/// Mask of the character size in `c_cflag`.
pub const CSIZE: u32 = 0o60;
/// Eight bits.
pub const CS8: u32 = 0o60;

flags! {
    /// `c_lflag`.
    pub struct LocalFlags: u32, "" {
        const ISIG = 0o1;
        const ICANON = 0o2;
        const XCASE = 0o4;
        const ECHO = 0o10;
        const ECHOE = 0o20;
        const ECHOK = 0o40;
        const ECHONL = 0o100;
        const NOFLSH = 0o200;
        const TOSTOP = 0o400;
        const ECHOCTL = 0o1000;
        const ECHOPRT = 0o2000;
        const ECHOKE = 0o4000;
        const FLUSHO = 0o10000;
        const PENDIN = 0o40000;
        const IEXTEN = 0o100000;
        const EXTPROC = 0o200000;
    }
}

constants! {
    /// Places in `c_cc`.
    pub table CONTROL_CHARS: usize {
        VINTR = 0;
        VQUIT = 1;
        VERASE = 2;
        VKILL = 3;
        VEOF = 4;
        VTIME = 5;
        VMIN = 6;
        VSWTC = 7;
        VSTART = 8;
        VSTOP = 9;
        VSUSP = 10;
        VEOL = 11;
        VREPRINT = 12;
        VDISCARD = 13;
        VWERASE = 14;
        VLNEXT = 15;
        VEOL2 = 16;
    }
}

constants! {
    /// What TCFLSH flushes.
    pub table TCFLUSH_QUEUES: u32 {
        TCIFLUSH = 0;
        TCOFLUSH = 1;
        TCIOFLUSH = 2;
    }
}

constants! {
    /// What TCXONC does.
    pub table TCFLOW_ACTIONS: u32 {
        TCOOFF = 0;
        TCOON = 1;
        TCIOFF = 2;
        TCION = 3;
    }
}

/// The line discipline of ordinary terminals.
pub const N_TTY: i32 = 0;

flags! {
    /// The control byte of a pseudo-terminal in packet mode.
    pub struct PacketFlags: u8, "TIOCPKT_" {
        const FLUSHREAD = 1;
        const FLUSHWRITE = 2;
        const STOP = 4;
        const START = 8;
        const NOSTOP = 16;
        const DOSTOP = 32;
        const IOCTL = 64;
    }
}
