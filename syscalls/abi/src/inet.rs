//! Options and structures of the Internet protocols.

constants! {
    /// Options at level IPPROTO_IP.
    pub table IP_OPTIONS: u32 {
        IP_TOS = 1;
        IP_TTL = 2;
        IP_MTU_DISCOVER = 10;
        IP_FREEBIND = 15;
        IP_BIND_ADDRESS_NO_PORT = 24;
        IP_MULTICAST_TTL = 33;
        IP_MULTICAST_LOOP = 34;
    }
}

constants! {
    /// Options at level IPPROTO_IPV6.
    pub table IPV6_OPTIONS: u32 {
        IPV6_UNICAST_HOPS = 16;
        IPV6_MULTICAST_HOPS = 18;
        IPV6_MULTICAST_LOOP = 19;
        IPV6_MTU_DISCOVER = 23;
        IPV6_V6ONLY = 26;
        IPV6_TCLASS = 67;
    }
}

constants! {
    /// Options at level IPPROTO_TCP.
    pub table TCP_OPTIONS: u32 {
        TCP_NODELAY = 1;
        TCP_MAXSEG = 2;
        TCP_CORK = 3;
        TCP_KEEPIDLE = 4;
        TCP_KEEPINTVL = 5;
        TCP_KEEPCNT = 6;
        TCP_SYNCNT = 7;
        TCP_LINGER2 = 8;
        TCP_INFO = 11;
        TCP_QUICKACK = 12;
        TCP_CONGESTION = 13;
        TCP_USER_TIMEOUT = 18;
        TCP_NOTSENT_LOWAT = 25;
    }
}

wire! {
    /// The first part of `struct tcp_info`, which all versions of Linux have.
    pub struct TcpInfo {
        pub tcpi_state: u8,
        pub tcpi_ca_state: u8,
        pub tcpi_retransmits: u8,
        pub tcpi_probes: u8,
        pub tcpi_backoff: u8,
        pub tcpi_options: u8,
        pub tcpi_wscale: u8,
        pub tcpi_flags: u8,
        pub tcpi_rto: u32,
        pub tcpi_ato: u32,
        pub tcpi_snd_mss: u32,
        pub tcpi_rcv_mss: u32,
        pub tcpi_unacked: u32,
        pub tcpi_sacked: u32,
        pub tcpi_lost: u32,
        pub tcpi_retrans: u32,
        pub tcpi_fackets: u32,
        pub tcpi_last_data_sent: u32,
        pub tcpi_last_ack_sent: u32,
        pub tcpi_last_data_recv: u32,
        pub tcpi_last_ack_recv: u32,
        pub tcpi_pmtu: u32,
        pub tcpi_rcv_ssthresh: u32,
        pub tcpi_rtt: u32,
        pub tcpi_rttvar: u32,
        pub tcpi_snd_ssthresh: u32,
        pub tcpi_snd_cwnd: u32,
        pub tcpi_advmss: u32,
        pub tcpi_reordering: u32,
        pub tcpi_rcv_rtt: u32,
        pub tcpi_rcv_space: u32,
        pub tcpi_total_retrans: u32,
    }
}
