//! Requests of ioctl(2) that the kernel here knows or names.

constants! {
    /// Terminal and file requests.
    pub table IOCTLS: u32 {
        TCGETS = 0x5401;
        TCSETS = 0x5402;
        TCSETSW = 0x5403;
        TCSETSF = 0x5404;
        TCGETA = 0x5405;
        TCSETA = 0x5406;
        TCSETAW = 0x5407;
        TCSETAF = 0x5408;
        TCSBRK = 0x5409;
        TCXONC = 0x540a;
        TCFLSH = 0x540b;
        TIOCEXCL = 0x540c;
        TIOCNXCL = 0x540d;
        TIOCSCTTY = 0x540e;
        TIOCGPGRP = 0x540f;
        TIOCSPGRP = 0x5410;
        TIOCOUTQ = 0x5411;
        TIOCSTI = 0x5412;
        TIOCGWINSZ = 0x5413;
        TIOCSWINSZ = 0x5414;
        TIOCMGET = 0x5415;
        TIOCMBIS = 0x5416;
        TIOCMBIC = 0x5417;
        TIOCMSET = 0x5418;
        TIOCGSOFTCAR = 0x5419;
        EPIOCSPARAMS = 0x4008_8a01;
        EPIOCGPARAMS = 0x8008_8a02;
        TIOCSSOFTCAR = 0x541a;
        FIONREAD = 0x541b;
        TIOCLINUX = 0x541c;
        TIOCCONS = 0x541d;
        TIOCGSERIAL = 0x541e;
        TIOCSSERIAL = 0x541f;
        TIOCPKT = 0x5420;
        FIONBIO = 0x5421;
        TIOCNOTTY = 0x5422;
        TIOCSETD = 0x5423;
        TIOCGETD = 0x5424;
        TCSBRKP = 0x5425;
        TIOCSBRK = 0x5427;
        TIOCCBRK = 0x5428;
        TIOCGSID = 0x5429;
        TCGETS2 = 0x802c_542a;
        TCSETS2 = 0x402c_542b;
        TCSETSW2 = 0x402c_542c;
        TCSETSF2 = 0x402c_542d;
        TIOCGPTN = 0x8004_5430;
        TIOCSPTLCK = 0x4004_5431;
        TIOCGDEV = 0x8004_5432;
        TIOCSIG = 0x4004_5436;
        TIOCVHANGUP = 0x5437;
        TIOCGPKT = 0x8004_5438;
        TIOCGPTLCK = 0x8004_5439;
        TIOCGEXCL = 0x8004_5440;
        TIOCGPTPEER = 0x5441;
        FIONCLEX = 0x5450;
        FIOCLEX = 0x5451;
        FIOASYNC = 0x5452;
        FIOQSIZE = 0x5460;
        FIOSETOWN = 0x8901;
        SIOCSPGRP = 0x8902;
        FIOGETOWN = 0x8903;
        SIOCGPGRP = 0x8904;
        SIOCATMARK = 0x8905;
        SIOCGSTAMP_OLD = 0x8906;
        SIOCGSTAMPNS_OLD = 0x8907;
        SIOCGIFNAME = 0x8910;
        SIOCGIFCONF = 0x8912;
        SIOCGIFFLAGS = 0x8913;
        SIOCSIFFLAGS = 0x8914;
        SIOCGIFADDR = 0x8915;
        SIOCGIFNETMASK = 0x891b;
        SIOCGIFMTU = 0x8921;
        SIOCGIFHWADDR = 0x8927;
        SIOCGIFINDEX = 0x8933;
        SIOCUNIXFILE = 0x89e0;
        FIBMAP = 1;
        FIGETBSZ = 2;
        FIFREEZE = 0xc004_5877;
        FITHAW = 0xc004_5878;
        FICLONE = 0x4004_9409;
        FICLONERANGE = 0x4020_940d;
        FIDEDUPERANGE = 0xc018_9436;
        FS_IOC_GETFLAGS = 0x8008_6601;
        FS_IOC_SETFLAGS = 0x4008_6602;
        FS_IOC_GETVERSION = 0x8008_7601;
        FS_IOC_FIEMAP = 0xc020_660b;
        FS_IOC_FSGETXATTR = 0x801c_581f;
        FS_IOC_FSSETXATTR = 0x401c_5820;
        RNDGETENTCNT = 0x8004_5200;
        BLKGETSIZE = 0x1260;
        BLKGETSIZE64 = 0x8008_1272;
        NS_GET_USERNS = 0xb701;
        NS_GET_PARENT = 0xb702;
        NS_GET_NSTYPE = 0xb703;
        NS_GET_OWNER_UID = 0xb704;
    }
}

wire! {
    /// `struct winsize`.
    pub struct WinSize {
        pub ws_row: u16,
        pub ws_col: u16,
        pub ws_xpixel: u16,
        pub ws_ypixel: u16,
    }

    /// `struct file_clone_range`.
    pub struct FileCloneRange {
        pub src_fd: i64,
        pub src_offset: u64,
        pub src_length: u64,
        pub dest_offset: u64,
    }
}
